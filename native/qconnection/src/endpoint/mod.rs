//! Many connections behind one set of sockets: routing, accepting, timers, transmission turns (RFC 9000 §5.2).
//!
//! | file | job |
//! |---|---|
//! | `route` | connection id → connection and path |
//! | `accept` | first Initial of a client → connection |
//! | `admission` | attempts that wait for the application's word |
//! | `crowd` | connections accepted, by address |
//! | `block_list` | addresses that are not heard |
//! | `polarity` | protocols whose connections have parts to play |
//! | `early` | 0-RTT packets before the first Initial |
//! | `connect` | connection of our own |
//! | `rivals` | several attempts that look like one connection |
//! | `version` | Version Negotiation |
//! | `retry`, `token` | address validation without state |
//! | `reset` | stateless resets, both ways |
//! | `refuse` | CONNECTION_CLOSE to clients there is no room for |
//! | `memory` | whose turn it is when memory is short |
//! | `answer` | how many of these may go out |
//! | `nat` | STUN, asked and answered; what NATs do; temporary sockets |
//! | `qlog` | logs of connections, the dead ones included |
//! | `punch` | what punches of connections want of the endpoint |
//! | `send_failure` | why a socket refused a burst, by name |
//! | `unreachable` | ports where nobody listens |
//! | `turn` | who sends next, whose timer is next |
//!
//! Called by the driver (datagrams, timers, sockets' answers) and by the application between them. One owner, no locks.

mod accept;
mod active;
mod admission;
mod answer;
pub mod block_list;
mod connect;
mod crowd;
mod early;
mod events;
pub(crate) mod memory;
pub mod nat;
pub mod pathways;
mod polarity;
mod punch;
mod qlog;
mod refuse;
pub(crate) mod reset;
mod retry;
mod rivals;
pub mod route;
mod send_failure;
mod slots;
mod stats;
mod token;
mod turn;
mod unreachable;
mod version;

pub use admission::{Admission, Attempt, AttemptId, EndpointNews};
pub use block_list::{AddressRange, BlockList};
pub use connect::ConnectError;
pub use qlog::{LogEnd, LogPiece};
pub use send_failure::SendFailure;
pub use stats::EndpointStatistics;

use crate::{
    burst::Burst,
    cid::CidShape,
    config::{EndpointConfig, ServerConfig},
    connection::{Connection, Polarity},
    handle::ConnectionHandle,
};
use nat::RunFate;
use qbase::{ConnectionId, Ecn, FourTuple, StandIn, Timestamp, packet::{self, ProtectedHeader}};
use qevent::{DropCounters, DropReason};
use qrecovery::buffer::pool::BufferPool;
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use qtraversal::budget::{BudgetOptions, PortSearch, ProbeBudget};
use rand_core::RngCore;
use route::{Route, Routes};
use slots::Slots;
use std::{collections::VecDeque, sync::Arc};

/// Ids drawn anew at most until one is free.
const CID_DRAWS: usize = 16;

/// What a datagram was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// QUIC, or what claims to be.
    Quic,
    /// Something else that shares the socket, for the application: a punch, STUN that nobody here asked for.
    NotQuic,
    /// What the endpoint's own services about NATs waited for.
    Nat,
}

/// A set of connections, client and server at once.
pub struct Endpoint {
    server: Option<Arc<ServerConfig>>,
    slots: Slots,
    routes: Routes,
    turns: turn::Turns,
    pool: BufferPool,
    /// Who has some of the pool for a while.
    loans: memory::Loans,
    random: ChaCha8Rng,
    /// What our connection ids look like.
    shape: CidShape,
    /// Who is not heard.
    blocked: BlockList,
    /// Protocols with parts to play.
    polarities: Arc<[Polarity]>,
    /// Connections accepted and alive.
    crowd: crowd::Crowd,
    drops: DropCounters,
    counters: stats::Counters,
    /// Answers without state that wait to be sent.
    answers: VecDeque<answer::Answer>,
    rations: Rations,
    /// 0-RTT packets that wait for their client's first Initial.
    early: early::EarlyDatagrams,
    /// Key of our stateless reset tokens.
    reset_key: [u8; 32],
    /// Reset tokens of peers.
    reset_tokens: reset::ResetTokens,
    tokens: token::Tokens,
    rivals: rivals::Rivals,
    /// Connections of our own; the last one may wait for its first answer.
    dialled: Vec<ConnectionHandle>,
    /// Attempts that wait for the application.
    admission: admission::Attempts,
    /// Ways through relays.
    pathways: pathways::Pathways,
    /// STUN and NATs.
    nat: nat::Nat,
    /// What may be sent where nobody asked for it, all connections together (attacks G1).
    probes: ProbeBudget,
    /// Logs, if connections write any.
    logs: Option<qlog::Logs>,
}

/// What may still be answered in the running second (attacks L20).
#[derive(Debug, Default)]
struct Rations {
    versions: answer::Ration,
    closes: answer::Ration,
    resets: answer::Ration,
}

impl Endpoint {
    /// An endpoint without connections. All randomness comes from `seed`.
    #[must_use]
    pub fn new(config: EndpointConfig, seed: [u8; 32]) -> Self {
        let mut random = ChaCha8Rng::from_seed(seed);
        let seed = random.next_u64();
        let (routes, crowd) = (Routes::new(seed), crowd::Crowd::new(seed.rotate_left(17)));
        Self {
            pool: BufferPool::new(config.pool_bytes).with_overcommit(config.overcommit_percent),
            loans: memory::Loans::default(),
            server: None,
            slots: Slots::new(),
            routes,
            turns: turn::Turns::new(if config.qlog { turn::Writers::Wanted } else { turn::Writers::Unwanted }),
            drops: DropCounters::default(),
            counters: stats::Counters::default(),
            answers: VecDeque::new(),
            rations: Rations::default(),
            early: early::EarlyDatagrams::default(),
            reset_key: qcrypto::derive_key(&config.secret, "quicbraid stateless reset"),
            reset_tokens: reset::ResetTokens::new(random.next_u64()),
            tokens: token::Tokens::new(&config.secret, config.unix_at_zero),
            rivals: rivals::Rivals::default(),
            dialled: Vec::new(),
            admission: admission::Attempts::default(),
            pathways: pathways::Pathways::new(random.next_u64()),
            nat: nat::Nat::default(),
            probes: ProbeBudget::new(BudgetOptions::new(PortSearch::Off)),
            logs: config.qlog.then(|| qlog::Logs::new(config.unix_at_zero)),
            shape: config.shape,
            blocked: config.blocked,
            polarities: Arc::default(),
            crowd,
            random,
        }
    }

    /// Accepts connections with these settings from now on, or refuses new ones (`None`).
    pub fn listen(&mut self, server: Option<Arc<ServerConfig>>) {
        self.server = server;
    }

    /// Hears nobody from these addresses from now on, connections they have included.
    pub fn block(&mut self, list: BlockList) {
        self.blocked = list;
    }

    /// Takes one UDP payload; it is decrypted in place. `four_tuple.local` is the address it arrived at.
    pub fn handle_datagram(&mut self, now: Timestamp, four_tuple: FourTuple, ecn: Ecn, bytes: &mut [u8]) -> Received {
        self.note_time(now);
        self.counters.datagrams_received = self.counters.datagrams_received.saturating_add(1);
        self.counters.bytes_received = self.counters.bytes_received.saturating_add(bytes.len() as u64);
        if self.blocked.has(four_tuple.remote.ip()) {
            self.drops.count(DropReason::Blocked);
            return Received::Quic;
        }
        if bytes.is_empty() {
            self.drops.count(DropReason::EmptyDatagram);
            return Received::Quic;
        }
        if StandIn::is_claimed(four_tuple.remote.ip()) {
            self.drops.count(DropReason::Misrouted);
            return Received::Quic;
        }
        if let Some(received) = self.take_stun(now, four_tuple, bytes) {
            return received;
        }
        if self.relay_datagram(now, four_tuple, ecn, bytes) != RunFate::Take {
            return Received::Quic;
        }
        let (four_tuple, bytes) = match self.take_header(four_tuple, bytes) {
            None => (four_tuple, bytes),
            Some(Ok((way, header))) => (way, bytes.get_mut(header..).unwrap_or_default()),
            Some(Err(reason)) => {
                self.drops.count(reason);
                return Received::Quic;
            }
        };
        let Some(first) = bytes.first().copied() else { return Received::Quic };
        if first & 0x40 == 0 && first & 0x80 == 0 && !self.is_for_greased(bytes) {
            return Received::NotQuic;
        }
        let Some(dcid) = packet::destination_cid(bytes, self.shape.len()) else {
            // Whatever it begins with, a datagram may be a reset by its end (RFC 9000 §10.3).
            if !self.take_reset(now, four_tuple, bytes) {
                self.drops.count(DropReason::MalformedHeader);
            }
            return Received::Quic;
        };
        match self.routes.find(dcid) {
            Some(route) => self.deliver(now, four_tuple, ecn, route, bytes),
            None => self.on_unknown_cid(now, four_tuple, ecn, bytes),
        }
        Received::Quic
    }

    /// A datagram whose fixed bit is 0 goes to a connection that allows it (RFC 9287 §3; attacks A9).
    fn is_for_greased(&mut self, bytes: &[u8]) -> bool {
        let connection = self.route_of(bytes).and_then(|route| self.slots.get(route.handle));
        connection.is_some_and(|connection| connection.fixed_bit() == packet::FixedBit::Ignored)
    }

    /// Where a datagram belongs by its destination connection id.
    fn route_of(&mut self, bytes: &[u8]) -> Option<Route> {
        let dcid = packet::destination_cid(bytes, self.shape.len())?;
        self.routes.find(dcid)
    }

    /// Hands a datagram to its connection.
    fn deliver(&mut self, now: Timestamp, four_tuple: FourTuple, ecn: Ecn, route: Route, bytes: &mut [u8]) {
        let Some(connection) = self.slots.get_mut(route.handle) else { return };
        let arrival = crate::connection::Arrival { now, four_tuple, ecn, size: bytes.len(), route };
        connection.handle_datagram(arrival, bytes, &mut self.pool);
        let waits = connection.has_waiting_packets();
        let handle = self.settle_rivals(now, route.handle);
        if waits && let Some(connection) = self.slots.get_mut(handle) {
            connection.retry_waiting(now, &mut self.pool);
        }
        self.settle_memory(handle);
        self.turns.mark(handle.index);
        self.run_actions(handle);
    }

    /// No connection has this id: the end of one, a newcomer, another version, or nothing of ours.
    fn on_unknown_cid(&mut self, now: Timestamp, four_tuple: FourTuple, ecn: Ecn, bytes: &mut [u8]) {
        if self.take_reset(now, four_tuple, bytes) {
            return;
        }
        if bytes.first().is_some_and(|first| first & 0x80 == 0) {
            return self.answer_with_reset(now, four_tuple, bytes);
        }
        match ProtectedHeader::parse(bytes, self.shape.len()) {
            Ok(header) if header.kind == packet::PacketType::Initial => self.accept(now, four_tuple, ecn, &header, bytes),
            Ok(header) if header.kind == packet::PacketType::ZeroRtt && self.waits_for_initials() => {
                let reason = self.early.keep(now, header.dcid, four_tuple, ecn, bytes);
                self.drops.count(reason);
            }
            Ok(_) => self.drops.count(DropReason::UnknownConnection),
            Err(packet::PacketError::UnknownVersion { .. }) => self.answer_version(now, four_tuple, bytes),
            Err(error) => self.drops.count(DropReason::from_packet_error(error)),
        }
    }

    /// A connection, to look at.
    #[must_use]
    pub fn connection(&self, handle: ConnectionHandle) -> Option<&Connection> {
        self.slots.get(handle)
    }

    /// A connection, to use. It gets a turn to send afterwards.
    pub fn connection_mut(&mut self, handle: ConnectionHandle) -> Option<&mut Connection> {
        self.lend(handle);
        let connection = self.slots.get_mut(handle)?;
        self.turns.mark(handle.index);
        Some(connection)
    }

    /// Handles of all connections, by slot.
    pub fn handles(&self) -> impl Iterator<Item = ConnectionHandle> + '_ {
        self.slots.handles()
    }

    /// Number of connections.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// There is no connection.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.len() == 0
    }

    /// The outcome of a burst: the socket took the first `segments` of it; the others are cancelled (burst B-7).
    pub fn on_submitted(&mut self, burst: &Burst, segments: usize, now: Timestamp) {
        self.counters.on_sent(burst, segments);
        if let Some(connection) = burst.connection.and_then(|handle| self.slots.get_mut(handle)) {
            connection.on_submitted(burst.path, segments.min(burst.segments), now);
            self.turns.mark(connection.handle().index);
        }
    }

    /// The socket refused a burst for good: the path loses these packets, the connection lives (attacks F21, J7).
    pub fn on_send_error(&mut self, burst: &Burst, failure: SendFailure, now: Timestamp) {
        if let Some(connection) = burst.connection.and_then(|handle| self.slots.get_mut(handle)) {
            connection.on_send_error(burst.path, burst.segments, failure, now);
            self.turns.mark(connection.handle().index);
        }
    }

    /// Fresh connection id, one that no connection has. Short nonces repeat: a few are drawn then.
    fn new_cid(&mut self) -> ConnectionId {
        let mut cid = self.shape.draw(&mut self.random);
        for _ in 0..CID_DRAWS {
            if self.routes.find(cid.as_bytes()).is_none() {
                break;
            }
            cid = self.shape.draw(&mut self.random);
        }
        cid
    }

    /// A generator of its own for one connection.
    fn child_random(&mut self) -> ChaCha8Rng {
        let mut seed = [0; 32];
        self.random.fill_bytes(&mut seed);
        ChaCha8Rng::from_seed(seed)
    }
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint").field("connections", &self.slots.len()).finish_non_exhaustive()
    }
}
