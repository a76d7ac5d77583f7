//! A simulated host: one endpoint of the real machine, sockets that are links, and an application that moves patterns.
//!
//! Called by the pair or the town once per turn, in the order of the real driver: datagrams in, timers, application, bursts out.
//! A burst is on the links, or refused by them, before the next one is asked for.

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc, time::Duration};

use qbase::{Ecn, FourTuple, Role, Timestamp};
use qconnection::{
    Burst, ClientConfig, Connection, ConnectionHandle, Endpoint, EndpointConfig, Event, SendLimits, ServerConfig,
    TimerName, connection::{Candidate, events::CloseInfo},
    Received,
    endpoint::{SendFailure, nat::{NatNews, SocketWish}},
};

use crate::{failure::Fault, log::Logs, network::SendError, pattern::Pattern, traffic::Traffic};

/// Bytes of the burst buffer: the longest UDP payload.
const BURST_BUFFER: usize = 65_535;
/// Bursts in one turn at most; more means that the machine never says "nothing".
const MAX_BURSTS: u32 = 10_000;
/// News kept for failure messages and tests.
const MAX_NEWS: usize = 10_000;

/// Where a host's datagrams go.
pub trait Outlet {
    /// Sends one datagram; `ttl` `None`: the system's default.
    ///
    /// # Errors
    /// What the host's operating system would say at once.
    fn send(&mut self, now: Timestamp, four_tuple: FourTuple, ecn: Ecn, ttl: Option<u8>, bytes: &[u8]) -> Result<(), SendError>;
}

/// A datagram that the machine left to the application.
pub type RawDatagram = (Timestamp, FourTuple, Vec<u8>);

/// One end of the pair.
#[derive(Debug)]
pub struct Host {
    role: Role,
    endpoint: Endpoint,
    connection: Option<ConnectionHandle>,
    traffic: Traffic,
    news: Vec<(Timestamp, Event)>,
    ended: Option<CloseInfo>,
    limits: SendLimits,
    buffer: Vec<u8>,
    /// Something happened that the application may want to answer.
    stirred: Stirred,
    sent: SentCounters,
    seed: [u8; 32],
    /// What it listens with, to do so again after a restart.
    server: Option<Arc<ServerConfig>>,
    writes: Writes,
    logs: Logs,
    /// Sockets that the machine wished for.
    temporary: BTreeSet<SocketAddr>,
    /// Those that were closed again.
    closed: BTreeSet<SocketAddr>,
    nat_news: Vec<(Timestamp, NatNews)>,
    raw: Vec<RawDatagram>,
}

/// The first port that a temporary socket without a wish gets.
const EPHEMERAL_PORT: u16 = 49_152;

/// Whether connections write qlogs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Writes {
    /// If the environment names a folder for them.
    #[default]
    Asked,
    /// In any case.
    Always,
}

/// What a restarted process remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// The endpoint's secret.
    SameSecret,
    /// Nothing.
    OtherSecret,
}

/// Time of day at the start of every world: 2025-01-01.
const UNIX_TIME: Duration = Duration::from_secs(1_735_689_600);

/// Settings of an endpoint with this secret.
fn machine(secret: [u8; 32]) -> EndpointConfig {
    EndpointConfig { secret, unix_at_zero: UNIX_TIME, ..EndpointConfig::default() }
}

/// Whether the application gets a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stirred {
    No,
    Yes,
}

/// What the host's sockets saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SentCounters {
    /// Bursts handed over.
    pub bursts: u64,
    /// Datagrams in them.
    pub datagrams: u64,
    /// UDP payload, bytes.
    pub bytes: u64,
    /// Bursts that a socket refused.
    pub refused: u64,
    /// Datagrams taken in.
    pub received: u64,
    /// UDP payload taken in, bytes.
    pub received_bytes: u64,
}

impl Host {
    /// A host without connections.
    #[must_use]
    pub fn new(role: Role, seed: [u8; 32], limits: SendLimits, writes: Writes) -> Self {
        let logs = Logs::from_environment();
        Self {
            role,
            endpoint: Endpoint::new(EndpointConfig { qlog: logs.has_folder() || writes == Writes::Always, ..machine(seed) }, seed),
            connection: None,
            traffic: Traffic::default(),
            news: Vec::new(),
            ended: None,
            limits,
            buffer: vec![0; BURST_BUFFER],
            stirred: Stirred::Yes,
            sent: SentCounters::default(),
            seed,
            server: None,
            writes,
            logs,
            temporary: BTreeSet::new(),
            closed: BTreeSet::new(),
            nat_news: Vec::new(),
            raw: Vec::new(),
        }
    }

    /// The process dies and starts anew: no connection is left, and it listens as before.
    pub fn restart(&mut self, restart: Restart) {
        let seed = self.seed.map(|byte| byte.wrapping_add(1));
        let secret = if restart == Restart::SameSecret { self.seed } else { seed };
        self.logs.take(&mut self.endpoint);
        let qlog = self.logs.has_folder() || self.writes == Writes::Always;
        self.endpoint = Endpoint::new(EndpointConfig { qlog, ..machine(secret) }, seed);
        self.endpoint.listen(self.server.clone());
        self.connection = None;
        self.traffic = Traffic::default();
        self.temporary.clear();
        self.stirred = Stirred::Yes;
    }

    /// Accepts connections from now on.
    pub fn listen(&mut self, config: ServerConfig) {
        self.server = Some(Arc::new(config));
        self.endpoint.listen(self.server.clone());
    }

    /// Starts a connection over one of these address pairs.
    ///
    /// # Errors
    /// The machine refuses.
    pub fn connect(
        &mut self,
        now: Timestamp,
        config: &Arc<ClientConfig>,
        name: &str,
        candidates: &[Candidate],
    ) -> Result<(), Fault> {
        let handle = self.endpoint.connect_over(now, config, name, candidates);
        self.connection = Some(handle.map_err(|error| Fault::Setup(format!("connect: {error}")))?);
        Ok(())
    }

    /// Forgets the connection and all that its application did: the next connection is the host's.
    pub fn start_over(&mut self) {
        self.connection = None;
        self.traffic = Traffic::default();
        self.news.clear();
        self.ended = None;
        self.stirred = Stirred::Yes;
    }

    /// Sockets that the machine wished for and has not closed.
    #[must_use]
    pub const fn temporary_sockets(&self) -> &BTreeSet<SocketAddr> {
        &self.temporary
    }

    /// Takes a datagram in; it is decrypted in place.
    pub fn receive(&mut self, now: Timestamp, four_tuple: FourTuple, ecn: Ecn, bytes: &mut [u8]) {
        self.sent.received = self.sent.received.saturating_add(1);
        self.sent.received_bytes = self.sent.received_bytes.saturating_add(bytes.len() as u64);
        if self.closed.contains(&four_tuple.local) {
            return;
        }
        if self.endpoint.handle_datagram(now, four_tuple, ecn, bytes) == Received::NotQuic && self.raw.len() < MAX_NEWS {
            self.raw.push((now, four_tuple, bytes.to_vec()));
        }
    }

    /// What the services about NATs told, with the instants, oldest first.
    #[must_use]
    pub fn nat_news(&self) -> &[(Timestamp, NatNews)] {
        &self.nat_news
    }

    /// Datagrams that the machine left to the application, oldest first.
    #[must_use]
    pub fn raw(&self) -> &[RawDatagram] {
        &self.raw
    }

    /// Timers, application, bursts out.
    ///
    /// # Errors
    /// Wrong bytes arrived, a burst is malformed, or the machine never stops sending.
    pub fn turn(&mut self, now: Timestamp, world: &Pattern, network: &mut impl Outlet) -> Result<(), Fault> {
        if self.endpoint.next_timer().is_some_and(|(at, _)| at <= now) {
            self.endpoint.on_timer(now);
        }
        self.hear(now);
        if self.stirred == Stirred::Yes {
            self.stirred = Stirred::No;
            let connection = self.connection.and_then(|handle| self.endpoint.connection_mut(handle));
            if let Some(connection) = connection {
                self.traffic.pump(world, connection, now)?;
            }
            self.hear(now);
        }
        self.serve_wishes(now);
        self.transmit(now, network)?;
        // Connections wish while it is their turn to send.
        while self.serve_wishes(now) > 0 {
            self.transmit(now, network)?;
        }
        self.logs.take(&mut self.endpoint);
        Ok(())
    }

    /// The qlogs of its connections so far: `<odcid>_<role>` and the records.
    #[must_use]
    pub fn logs(&self) -> &[(String, Vec<u8>)] {
        self.logs.all()
    }

    /// Somebody used the host since its last turn, so that it needs one at once.
    #[must_use]
    pub fn is_stirred(&self) -> bool {
        self.stirred == Stirred::Yes
    }

    /// When the machine wants to be woken, and for what.
    #[must_use]
    pub fn next_timer(&self) -> Option<(Timestamp, TimerName)> {
        self.endpoint.next_timer()
    }

    /// Which end this is.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.role
    }

    /// The machine.
    #[must_use]
    pub const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The machine, to use.
    pub const fn endpoint_mut(&mut self) -> &mut Endpoint {
        self.stirred = Stirred::Yes;
        &mut self.endpoint
    }

    /// The connection, while it lives.
    #[must_use]
    pub fn connection(&self) -> Option<&Connection> {
        self.endpoint.connection(self.connection?)
    }

    /// The connection, to use.
    pub fn connection_mut(&mut self) -> Option<&mut Connection> {
        self.stirred = Stirred::Yes;
        self.endpoint.connection_mut(self.connection?)
    }

    /// What the application sent and got.
    #[must_use]
    pub const fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// The application, to give it more to do.
    pub const fn traffic_mut(&mut self) -> &mut Traffic {
        self.stirred = Stirred::Yes;
        &mut self.traffic
    }

    /// Events but those of streams, with their instants, oldest first.
    #[must_use]
    pub fn news(&self) -> &[(Timestamp, Event)] {
        &self.news
    }

    /// When an event first happened that fits.
    pub fn first(&self, fits: impl Fn(&Event) -> bool) -> Option<Timestamp> {
        self.news.iter().find(|(_, event)| fits(event)).map(|(at, _)| *at)
    }

    /// How the connection ended, if it did.
    #[must_use]
    pub const fn ended(&self) -> Option<&CloseInfo> {
        self.ended.as_ref()
    }

    /// What the sockets saw.
    #[must_use]
    pub const fn sent(&self) -> &SentCounters {
        &self.sent
    }

    /// Lines for people: what this end thinks, and its last news.
    #[must_use]
    pub fn explain(&self, now: Timestamp) -> Vec<String> {
        let mut lines = self.connection().map_or_else(
            || vec![format!("no connection; it ended: {:?}", self.ended)],
            |connection| {
                let mut lines = connection.explain(now);
                lines.push(format!("{:?}", connection.statistics()));
                let drops: Vec<_> = connection.drops().iter().filter(|(_, count)| *count > 0).collect();
                lines.push(format!("drops: {drops:?}"));
                lines
            },
        );
        for outgoing in self.traffic.all_outgoing() {
            lines.push(format!("sends {outgoing:?}"));
        }
        lines.extend(self.traffic.all_incoming().map(|(stream, incoming)| format!("reads {stream:?}: {incoming:?}")));
        let from = self.news.len().saturating_sub(SHOWN_NEWS);
        lines.extend(self.news.iter().skip(from).map(|(at, event)| format!("{at:?} {event:?}")));
        lines
    }

    /// Its connection is past the handshake.
    fn is_complete(&self) -> bool {
        self.connection().is_some_and(|connection| connection.is_handshake_complete() || self.role.is_client())
    }

    /// Takes the machine's events.
    fn hear(&mut self, now: Timestamp) {
        while let Some(news) = self.endpoint.poll_nat_news() {
            if self.nat_news.len() < MAX_NEWS {
                self.nat_news.push((now, news));
            }
        }
        while let Some((handle, event)) = self.endpoint.poll_event() {
            self.connection.get_or_insert(handle);
            if event == Event::HandshakeComplete && !self.is_complete() {
                // Of several attempts of a client the one that is complete first is the connection.
                self.connection = Some(handle);
            }
            if self.connection != Some(handle) {
                continue;
            }
            self.stirred = Stirred::Yes;
            if let Event::Closed(info) = &event {
                self.ended = Some(CloseInfo::clone(info));
            }
            match event {
                Event::Stream(event) => self.traffic.on_event(event),
                event if self.news.len() < MAX_NEWS => self.news.push((now, event)),
                _ => {}
            }
        }
    }

    /// Opens and closes temporary sockets: names of its addresses, as all its sockets are. How many wishes there were.
    fn serve_wishes(&mut self, now: Timestamp) -> usize {
        let mut count = 0;
        while let Some(wish) = self.endpoint.poll_socket_wish() {
            count += 1;
            match wish {
                SocketWish::Open { id, beside, port } => {
                    let wanted = [port].into_iter().filter(|port| *port != 0).chain(EPHEMERAL_PORT..=u16::MAX);
                    let mut addresses = wanted.map(|port| SocketAddr::new(beside.ip(), port));
                    let local = addresses.find(|address| *address != beside && !self.temporary.contains(address));
                    self.temporary.extend(local);
                    self.closed.retain(|closed| Some(*closed) != local);
                    self.endpoint.on_socket(id, local, now);
                }
                SocketWish::Close { local } => {
                    self.closed.extend(self.temporary.take(&local));
                }
            }
        }
        count
    }

    /// Puts everything the machine wants to send on the links.
    fn transmit(&mut self, now: Timestamp, network: &mut impl Outlet) -> Result<(), Fault> {
        for _ in 0..MAX_BURSTS {
            let Some(burst) = self.endpoint.poll_transmit(now, &mut self.buffer, &self.limits) else { return Ok(()) };
            let bytes = check_burst(&burst, &self.buffer)?;
            // As with GSO, a burst is refused as a whole: its first datagram is its longest.
            let refused = bytes
                .chunks(burst.segment_size)
                .find_map(|datagram| network.send(now, burst.four_tuple, burst.ecn, burst.hop_limit, datagram).err());
            if let Some(error) = refused {
                let failure = match error {
                    SendError::TooLong => SendFailure::TooLarge,
                    SendError::InterfaceDown => SendFailure::NetworkDown,
                    SendError::NoRoute => SendFailure::Unreachable,
                };
                self.sent.refused = self.sent.refused.saturating_add(1);
                self.endpoint.on_send_error(&burst, failure, now);
            } else {
                self.sent.bursts = self.sent.bursts.saturating_add(1);
                self.sent.datagrams = self.sent.datagrams.saturating_add(burst.segments as u64);
                self.sent.bytes = self.sent.bytes.saturating_add(burst.len as u64);
                self.endpoint.on_submitted(&burst, burst.segments, now);
            }
        }
        Err(Fault::Livelock(format!("{:?} sent {MAX_BURSTS} bursts in one turn", self.role)))
    }
}

/// News shown in a failure message.
const SHOWN_NEWS: usize = 24;

/// The bytes of a burst, if it keeps the rules of every burst (burst B-2 to B-4).
fn check_burst<'a>(burst: &Burst, buffer: &'a [u8]) -> Result<&'a [u8], Fault> {
    let bytes = buffer.get(..burst.len).unwrap_or_default();
    let whole =
        burst.segment_size > 0 && !bytes.is_empty() && bytes.len().div_ceil(burst.segment_size) == burst.segments;
    let bounded = burst.segments <= qbase::limits::MAX_SEGMENTS && burst.len <= qbase::limits::MAX_BURST_BYTES;
    if whole && bounded { Ok(bytes) } else { Err(Fault::Burst(format!("{burst:?}"))) }
}
