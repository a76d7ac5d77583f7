//! One connection: a dozen parts and the routes between them (RFC 9000 §5, multipath sections B to K).
//!
//! | file | job |
//! |---|---|
//! | `input` | datagram → packets → opened payload |
//! | `dispatch` | frame → owner part |
//! | `acks` | acknowledgements, losses and the fate of frames |
//! | `ack_frequency` | how often either end wants acknowledgements |
//! | `couple` | what coupled controllers know of each other |
//! | `marks` | ECN: which mark goes out, what the peer counted |
//! | `mtu` | path MTU discovery: probes, black holes, refusals |
//! | `handshake`, `params` | TLS bytes, keys, transport parameters |
//! | `attempt`, `versions` | Retry, Version Negotiation, change of version |
//! | `candidates` | a handshake over several address pairs |
//! | `tokens`, `reset` | NEW_TOKEN; stateless resets that are meant for us |
//! | `early` | 0-RTT: offered, accepted, rejected |
//! | `polarity` | who asks, and when that changes |
//! | `verdict` | the application's word on the peer's certificates |
//! | `paths` | opening, validating, abandoning, failover |
//! | `choose`, `pins` | which path carries data: schedulers, plans, pins |
//! | `output` | what a path sends, what its situation is |
//! | `timers` | the next instant and what happens then |
//! | `close` | closing, draining, CONNECTION_CLOSE |
//! | `qlog` | the log of all that, for those who want one |
//! | `app` | the application's verbs |
//! | `datagrams` | DATAGRAM frames, both ways |
//! | `traversal` | ways through NATs |
//!
//! Called by the endpoint. One owner: nothing here is shared, locked or spawned.

mod ack_frequency;
mod acks;
mod app;
mod attempt;
mod blocks;
mod candidates;
mod choose;
mod close;
mod couple;
mod datagrams;
mod dispatch;
mod early;
pub mod events;
mod explain;
mod facts;
mod handshake;
mod hurry;
mod input;
mod marks;
mod memory;
mod mtu;
mod one_space;
mod output;
mod outside;
mod params;
mod paths;
mod pings;
mod pins;
mod polarity;
pub(crate) mod qlog;
mod reinject;
mod reset;
mod state;
mod stats;
mod submit;
mod timers;
mod tokens;
mod trace;
pub mod traversal;
mod verdict;
mod versions;

pub use app::{OpenPathError, PathTicket};
pub(crate) use attempt::{AddressProof, Dial, Side};
pub use candidates::{Afterwards, Attempt, AttemptState, Candidate, HandshakeStep, StepKind};
pub(crate) use input::Arrival;
pub(crate) use params::server_parameters;
pub use close::State;
pub use datagrams::{DatagramError, DatagramStatistics, Earliness, SendDatagram};
pub use facts::{SpaceState, SpaceView};
pub use paths::{MigrateError, Migration};
pub use pings::PingError;
pub use pins::PinError;
pub use polarity::Polarity;
pub use stats::Statistics;
pub use verdict::Verdict;

use crate::{
    cid::CidShape,
    burst::SentFrame,
    config::TransportConfig,
    handle::ConnectionHandle,
    path::{PathMode, PathSet},
    space::{HandshakeSpace, OneSpace},
    stream::{Streams, StreamsConfig},
};
use events::{EndpointAction, Event};
use qbase::{ConnectionId, Ecn, EncryptionLevel, FourTuple, PathId, ResetToken, Role, Timestamp, param::TransportParameters};
use qcrypto::{OneRttKeys, Session};
use qevent::{DropCounters, Signals, Trace};
use qrecovery::{buffer::pool::BufferPool, crypto_stream::CryptoStream};
use rand_chacha::ChaCha8Rng;
use std::{collections::VecDeque, sync::Arc};

/// 1-RTT keys and the CRYPTO stream they protect.
#[derive(Debug)]
pub(crate) struct Application {
    /// Keys of all phases.
    pub(crate) keys: Box<OneRttKeys>,
    /// Post-handshake messages.
    pub(crate) crypto: CryptoStream,
}

/// Connection ids of the handshake, checked against the transport parameters (RFC 9000 §7.3).
#[derive(Clone, Copy, Debug)]
pub(crate) struct HandshakeCids {
    /// DCID of the client's first Initial packet.
    pub(crate) original_dcid: ConnectionId,
    /// SCID of the server's Retry, if there was one.
    pub(crate) retry: Option<ConnectionId>,
    /// SCID of our long-header packets.
    pub(crate) local: ConnectionId,
    /// SCID of the peer's first packet.
    pub(crate) remote: Option<ConnectionId>,
    /// The id of our `preferred_address`, number 1, if we announce one.
    pub(crate) preferred: Option<ConnectionId>,
}

/// Control frames of the whole connection that wait to be sent.
#[derive(Debug, Default)]
pub(crate) struct Control {
    /// HANDSHAKE_DONE.
    pub(crate) handshake_done: bool,
    /// NEW_TOKEN.
    pub(crate) new_token: tokens::Offer,
    /// PATH_CIDS_BLOCKED for these path ids, each at most once.
    pub(crate) cids_blocked: VecDeque<PathId>,
    /// A PING the application asked for.
    pub(crate) ping: bool,
}

/// A packet that waits for its keys (attacks L3).
#[derive(Debug)]
pub(crate) struct WaitingPacket {
    pub(crate) four_tuple: FourTuple,
    pub(crate) ecn: Ecn,
    pub(crate) bytes: Vec<u8>,
}

/// A QUIC connection.
pub struct Connection {
    pub(crate) handle: ConnectionHandle,
    pub(crate) role: Role,
    pub(crate) config: Arc<TransportConfig>,
    pub(crate) state: State,
    pub(crate) cids: HandshakeCids,
    /// Version of the packets we send.
    pub(crate) version: u32,
    pub(crate) versions: versions::Versions,
    /// What stands in our Initial packets: the token of a Retry, or of an earlier connection.
    pub(crate) token: Vec<u8>,
    /// What a client needs to begin anew; gone with the server's first packet.
    pub(crate) dial: Option<Box<Dial>>,
    /// A server that gives its clients tokens.
    pub(crate) offers_tokens: bool,
    pub(crate) tls: Session,
    /// Level of the handshake bytes TLS hands out now.
    pub(crate) write_level: EncryptionLevel,
    pub(crate) initial: Option<Box<HandshakeSpace>>,
    pub(crate) handshake: Option<Box<HandshakeSpace>>,
    pub(crate) application: Option<Application>,
    /// Whether the handshake waits for the application's word on the peer.
    pub(crate) hold: verdict::Hold,
    /// 0-RTT, if there is any.
    pub(crate) early: Option<Box<early::Early>>,
    pub(crate) handshake_complete: bool,
    /// Server: it sends data before the handshake is complete (0.5-RTT).
    pub(crate) half_rtt: bool,
    /// Server: its application was told that early data was refused.
    pub(crate) early_refused: bool,
    /// Pings of the application that wait for an answer.
    pub(crate) pings: pings::Pings,
    pub(crate) confirmed: bool,
    pub(crate) peer_parameters: TransportParameters,
    /// What both ends negotiated, from the handshake's completion on (multipath MP-5, MP-14, MP-98).
    pub(crate) path_mode: PathMode,
    /// The application space of all paths, if they share one.
    pub(crate) one_space: Option<Box<OneSpace>>,
    pub(crate) paths: PathSet,
    pub(crate) streams: Streams,
    /// Protocols with parts to play.
    pub(crate) polarities: Arc<[Polarity]>,
    pub(crate) datagrams: datagrams::Datagrams,
    pub(crate) control: Control,
    pub(crate) ack_wishes: ack_frequency::AckWishes,
    pub(crate) opens: paths::PendingOpens,
    pub(crate) moves: paths::Moves,
    /// Client without multipath: where path 0 may go.
    pub(crate) spares: paths::Spares,
    pub(crate) events: VecDeque<Event>,
    pub(crate) actions: VecDeque<EndpointAction>,
    pub(crate) waiting: VecDeque<WaitingPacket>,
    pub(crate) trace: Trace,
    /// The qlog, if one is written.
    pub(crate) qlog: Option<Box<qlog::Log>>,
    pub(crate) drops: DropCounters,
    /// How often each signal silenced a path.
    pub(crate) blocked_counts: qevent::SignalCounters,
    /// Why the application's bytes stand still.
    pub(crate) blocks: qevent::Blocks,
    pub(crate) timers: timers::Timers,
    pub(crate) counters: stats::Counters,
    pub(crate) random: ChaCha8Rng,
    /// What the ids we issue look like.
    pub(crate) shape: CidShape,
    pub(crate) reset_key: [u8; 32],
    /// Tokens of the peer's ids that the endpoint knows.
    pub(crate) reset_tokens: Vec<ResetToken>,
    /// Who chooses paths, and what was chosen.
    pub(crate) scheduling: choose::Scheduling,
    /// Where the next call of the output begins.
    pub(crate) cursor: usize,
    /// Server: addresses that a client's handshake came from, beside the one that is answered (multipath MP-96).
    pub(crate) callers: candidates::Callers,
    /// Client: the address pairs of its handshake.
    pub(crate) candidates: Option<Box<candidates::Candidates>>,
    /// When data that a slow path holds up may be copied to a quicker one.
    pub(crate) reinject_at: Option<Timestamp>,
    /// Server: flights repeated because the client asked again.
    hurried: u8,
    /// Why the last call of the output sent nothing.
    pub(crate) blocked: Signals,
    /// Reused list of frames whose fate became known.
    pub(crate) settled: Vec<SentFrame>,
    /// Reused list of packets (number, send time) whose fate became known.
    pub(crate) acked_rows: Vec<(qbase::PacketNumber, Timestamp)>,
    /// Blocks the application gave back since the last datagram; they go to the endpoint's pool with the next one.
    pub(crate) returned: BufferPool,
    /// It has ended and the application has heard everything.
    pub(crate) end_known: bool,
    /// Bytes of receive window that the endpoint's pool keeps for this connection (mux R20).
    pub(crate) reserved_window: u64,
    /// The application ended it.
    pub(crate) hung_up: bool,
    /// How it closes, once it does.
    pub(crate) closing: Option<Box<close::Closing>>,
    /// Its ways through NATs, if it looks for any.
    pub(crate) traversal: Option<Box<traversal::Part>>,
}

/// What the endpoint decided before a connection begins.
pub(crate) struct Birth {
    pub(crate) handle: ConnectionHandle,
    pub(crate) side: Side,
    /// Version of the first flight.
    pub(crate) version: u32,
    pub(crate) tls: Session,
    pub(crate) cids: HandshakeCids,
    pub(crate) four_tuple: FourTuple,
    pub(crate) address: AddressProof,
    pub(crate) random: ChaCha8Rng,
    pub(crate) shape: CidShape,
    pub(crate) reset_key: [u8; 32],
    pub(crate) now: Timestamp,
    /// Receive window that the endpoint's pool granted, bytes (mux R20).
    pub(crate) window: u64,
    /// Protocols with parts to play.
    pub(crate) polarities: Arc<[Polarity]>,
}

impl Connection {
    /// A connection whose first packet is about to be sent or processed.
    pub(crate) fn new(birth: Birth) -> Self {
        let config = Arc::clone(birth.side.transport());
        let role = birth.side.role();
        let (versions, dial, token, offers_tokens) = match birth.side {
            Side::Client(dial) => {
                let stored = dial.config.token.as_deref().unwrap_or_default();
                let token = tokens::token_for(stored, birth.version);
                (versions::Versions::of_client(&dial, birth.version), Some(dial), token, false)
            }
            Side::Server(server) => (versions::Versions::of_server(&server, birth.version), None, Vec::new(), server.new_tokens),
        };
        let streams = Streams::new(StreamsConfig {
            role,
            bidirectional: config.bidirectional_streams,
            unidirectional: config.unidirectional_streams,
            stream_window: config.stream_window.min(birth.window),
            max_stream_window: config.max_stream_window,
            connection_window: birth.window,
            max_connection_window: config.max_connection_window,
            send_buffer: config.send_buffer,
            connection_send_buffer: config.connection_send_buffer,
            reset_delivery: config.reset_delivery,
        });
        let mut connection = Self {
            handle: birth.handle,
            role,
            state: State::Handshaking,
            cids: birth.cids,
            version: birth.version,
            versions,
            token,
            dial,
            offers_tokens,
            tls: birth.tls,
            write_level: EncryptionLevel::Initial,
            initial: None,
            handshake: None,
            application: None,
            hold: if config.hold_for_verdict { verdict::Hold::Armed } else { verdict::Hold::Off },
            early: None,
            handshake_complete: false,
            half_rtt: false,
            early_refused: false,
            pings: pings::Pings::default(),
            confirmed: false,
            peer_parameters: TransportParameters::default(),
            path_mode: PathMode::None,
            one_space: None,
            paths: PathSet::new(),
            streams,
            polarities: birth.polarities,
            datagrams: datagrams::Datagrams::default(),
            control: Control::default(),
            ack_wishes: ack_frequency::AckWishes::default(),
            opens: paths::PendingOpens::default(),
            moves: paths::Moves::default(),
            spares: paths::Spares::default(),
            events: VecDeque::new(),
            actions: VecDeque::new(),
            waiting: VecDeque::new(),
            trace: Trace::new(),
            qlog: None,
            drops: DropCounters::default(),
            blocked_counts: qevent::SignalCounters::default(),
            blocks: qevent::Blocks::default(),
            timers: timers::Timers::new(birth.now, &config),
            counters: stats::Counters::new(birth.now),
            random: birth.random,
            shape: birth.shape,
            reset_key: birth.reset_key,
            reset_tokens: Vec::new(),
            scheduling: choose::Scheduling::default(),
            cursor: 0,
            callers: candidates::Callers::default(),
            candidates: role.is_client().then(|| Box::new(candidates::Candidates::new(config.handshake, birth.four_tuple))),
            reinject_at: None,
            hurried: 0,
            blocked: Signals::NONE,
            settled: Vec::new(),
            acked_rows: Vec::new(),
            returned: BufferPool::new(usize::MAX),
            reserved_window: birth.window,
            end_known: false,
            hung_up: false,
            closing: None,
            traversal: None,
            config,
        };
        if let Some(settings) = connection.config.traversal.clone() {
            let seed = connection.random_u64();
            connection.traversal = Some(Box::new(traversal::Part::new(&settings, role, seed)));
        }
        connection.start_first_path(birth.four_tuple, birth.address);
        connection.start_handshake();
        connection
    }

    /// The connection's name inside its endpoint.
    #[must_use]
    pub const fn handle(&self) -> ConnectionHandle {
        self.handle
    }

    /// The next fact for the application.
    pub fn poll_event(&mut self) -> Option<Event> {
        if let Some(event) = self.events.pop_front() {
            return Some(event);
        }
        let event = self.streams.poll_event().map(Event::Stream).or_else(|| self.datagrams.poll_event());
        // The application knows all: what it wanted to read of a connection that has ended it could read before this call.
        self.end_known = event.is_none() && matches!(self.state, State::Closing | State::Draining);
        event
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("role", &self.role)
            .field("id", &self.cids.original_dcid)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}
