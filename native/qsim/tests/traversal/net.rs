//! Two endpoints of the real machine behind translators, a relay and a STUN server between them, in virtual time.
//!
//! ```text
//!   client ── translator ══ net (8 routers) ══ translator ── server
//!                             ║
//!                         relay, STUN server
//! ```
//! The connection begins over the relay. What is here is the application of both ends: it asks for outer addresses, announces
//! them, sends a pattern and checks it. Decides nothing about punches.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use crate::lab::classified;
use evil::ends;
use qbase::{Direction, Ecn, FourTuple, StandIn, StreamId, Timestamp};
use qconnection::{
    Connection, ConnectionHandle, Endpoint, EndpointConfig, Event, PathView, SendLimits, TransportConfig, TraversalNews, TraversalSettings,
    connection::traversal::AnnouncedAddress,
    endpoint::{
        nat::{NatNews, SocketWish, StunAsk, Ticket},
        pathways::Registration,
    },
    path::PathState,
};
use qsim::{
    Failure, LinkShape,
    wires::DEFAULT_TTL,
    world::{Addressing, NatKind, NodeId, Plug, Side, World},
};
use qtraversal::{
    address::{Prefix, ProbePolicy},
    forward::ForwardHeader,
    frame::AddressKind,
    stun::{Form, Forms, Patience, ServerConfig},
};

/// Milliseconds.
pub const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Seconds.
pub const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub const CLIENT: usize = 0;
pub const SERVER: usize = 1;
/// The socket a connection begins with.
pub const PORT: u16 = 5_000;
/// A second one that an end may go on with.
pub const OTHER_PORT: u16 = 6_000;
const STUN_PORT: u16 = 3_478;
const RELAY_PORT: u16 = 4_434;
const ROUTERS: u8 = 8;
/// Of the access of either end, bit/s.
const RATE: u64 = 20_000_000;
/// What a client says to the relay so that its translator knows it.
const HERE: &[u8] = b"!here";

/// The networks of a world are reached from everywhere in it.
pub fn policy() -> ProbePolicy {
    ProbePolicy::default().allowing(Prefix { ip: IpAddr::from([198, 18, 0, 0]), bits: 15 })
}

pub fn settings() -> TraversalSettings {
    TraversalSettings { policy: policy(), ..TraversalSettings::default() }
}

pub fn transport() -> TransportConfig {
    TransportConfig { traversal: Some(settings()), ..TransportConfig::default() }
}

#[derive(Clone)]
pub struct Setup {
    pub kinds: [NatKind; 2],
    pub seed: u64,
    /// Of client and server.
    pub transports: [TransportConfig; 2],
    /// One way between the translators.
    pub direct: Duration,
    /// One way more to the relay.
    pub relay: Duration,
}

impl Setup {
    pub fn new(a: NatKind, b: NatKind, seed: u64) -> Self {
        Self { kinds: [a, b], seed, transports: [transport(), transport()], direct: ms(25), relay: ms(15) }
    }

    pub fn with(mut self, change: impl Fn(&mut TransportConfig)) -> Self {
        self.transports.iter_mut().for_each(change);
        self
    }
}

/// Which datagrams between the ends go nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    Nothing,
    /// All that do not go by the relay.
    Straight,
    /// Of those, what belongs to this socket of the server.
    OfServer(u16),
}

/// A datagram that named its time to live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SentProbe {
    pub at: Timestamp,
    pub end: usize,
    pub four_tuple: FourTuple,
    pub ttl: u8,
    pub len: usize,
    pub dcid: [u8; 8],
}

pub struct End {
    pub endpoint: Endpoint,
    pub handle: Option<ConnectionHandle>,
    host: NodeId,
    pub ip: IpAddr,
    kind: NatKind,
    ports: BTreeSet<u16>,
    /// As the relay sees the first socket.
    relayed: Option<SocketAddr>,
    /// As the STUN server sees sockets, by port.
    pub mapped: BTreeMap<u16, SocketAddr>,
    pub events: Vec<(Timestamp, Event)>,
    /// Connection ids in the short headers of what went over paths.
    pub dcids: BTreeSet<[u8; 8]>,
    pub received: u64,
    /// When bytes were read.
    pub reads: Vec<Timestamp>,
    incoming: Vec<(StreamId, u64)>,
    outgoing: Option<(StreamId, u64, u64)>,
}

pub struct Net {
    pub now: Timestamp,
    pub world: World,
    pub ends: [End; 2],
    stun: Endpoint,
    service: NodeId,
    service_ip: IpAddr,
    config: std::sync::Arc<qconnection::ClientConfig>,
    pub probes: Vec<SentProbe>,
    /// What goes nowhere.
    pub cut: Cut,
    pub relayed: u64,
    keep_at: Timestamp,
    buffer: Vec<u8>,
}

fn byte_at(offset: u64) -> u8 {
    (offset.wrapping_mul(31) ^ offset >> 8) as u8
}

impl Net {
    /// Both ends are known to the relay and know how the STUN server sees them; the client has dialled and is confirmed.
    pub fn new(setup: Setup) -> Result<Self, Failure> {
        let mut net = Self::build(setup)?;
        net.meet_the_services()?;
        net.connect()?;
        net.run_until(secs(5), |net| [CLIENT, SERVER].iter().all(|end| net.connection(*end).is_some_and(Connection::is_confirmed)))?;
        Ok(net)
    }

    fn build(setup: Setup) -> Result<Self, Failure> {
        let start = Timestamp::from_millis(1_000);
        let mut world = World::new(setup.seed);
        let (net, service) = (world.router(), world.host());
        world.set_hops(net, ROUTERS);
        let plain = LinkShape::delayed(Duration::from_micros(100));
        world.link(start, service, net, &LinkShape::delayed(setup.relay), Addressing::default()).map_err(ends::failure)?;
        let service_ip = world.addresses(service).next().ok_or_else(|| ends::failure("no address"))?;
        let stun = SocketAddr::new(service_ip, STUN_PORT);
        let [mut client, mut server] = setup.transports.clone();
        for transport in [&mut client, &mut server] {
            if let Some(traversal) = &mut transport.traversal {
                traversal.stun = vec![stun];
            }
        }
        let (config, listening) = ends::configs(1, client, server)?;
        let mut made = Vec::new();
        for (index, kind) in setup.kinds.into_iter().enumerate() {
            let host = world.host();
            match kind.options() {
                None => {
                    world.link(start, host, net, &LinkShape::delayed(setup.direct / 2).at_rate(RATE), Addressing::default()).map_err(ends::failure)?;
                }
                Some(options) => {
                    let nat = world.nat(options);
                    world.link(start, host, Plug { node: nat, side: Side::Inside }, &plain, Addressing::default()).map_err(ends::failure)?;
                    world.link(start, nat, net, &LinkShape::delayed(setup.direct / 2).at_rate(RATE), Addressing::default()).map_err(ends::failure)?;
                }
            }
            let ip = world.addresses(host).next().ok_or_else(|| ends::failure("no address"))?;
            let seed = [(setup.seed as u8).wrapping_mul(2).wrapping_add(index as u8 + 1); 32];
            made.push(End {
                endpoint: Endpoint::new(EndpointConfig::default(), seed),
                handle: None,
                host,
                ip,
                kind,
                ports: BTreeSet::from([PORT, OTHER_PORT]),
                relayed: None,
                mapped: BTreeMap::new(),
                events: Vec::new(),
                dcids: BTreeSet::new(),
                received: 0,
                reads: Vec::new(),
                incoming: Vec::new(),
                outgoing: None,
            });
        }
        let mut ends: [End; 2] = made.try_into().map_err(|_| ends::failure("two ends"))?;
        ends[SERVER].endpoint.listen(Some(listening));
        let mut service_endpoint = Endpoint::new(EndpointConfig::default(), [99; 32]);
        service_endpoint.serve_stun(Some(ServerConfig { sockets: vec![stun], neighbours: Vec::new() }), Forms::NONE.with(Form::Rfc));
        Ok(Self {
            now: start,
            world,
            ends,
            stun: service_endpoint,
            service,
            service_ip,
            config,
            probes: Vec::new(),
            cut: Cut::Nothing,
            relayed: 0,
            keep_at: start,
            buffer: vec![0; 65_535],
        })
    }

    fn relay(&self) -> SocketAddr {
        SocketAddr::new(self.service_ip, RELAY_PORT)
    }

    pub fn bound(&self, end: usize, port: u16) -> SocketAddr {
        SocketAddr::new(self.ends[end].ip, port)
    }

    fn meet_the_services(&mut self) -> Result<(), Failure> {
        self.learn(CLIENT, PORT);
        self.learn(SERVER, PORT);
        self.run_until(secs(5), |net| net.ends.iter().all(|end| end.relayed.is_some() && end.mapped.contains_key(&PORT)))?;
        for end in [CLIENT, SERVER] {
            let outer = self.ends[end].relayed.ok_or_else(|| ends::failure("unknown to the relay"))?;
            let own = qtraversal::Endpoint::Agent { agent: self.relay(), outer };
            let local = self.bound(end, PORT);
            self.ends[end].endpoint.add_registration(Registration { local, own }).map_err(ends::failure)?;
        }
        Ok(())
    }

    /// Asks how the world sees a socket.
    pub fn learn(&mut self, end: usize, port: u16) {
        let (local, server) = (self.bound(end, port), SocketAddr::new(self.service_ip, STUN_PORT));
        let ask = StunAsk { ticket: Ticket(port.into()), local, server, form: Form::Rfc, patience: Patience::SHORT };
        self.ends[end].endpoint.ask_stun(ask, self.now);
    }

    fn connect(&mut self) -> Result<(), Failure> {
        let outer = self.ends[SERVER].relayed.ok_or_else(|| ends::failure("unknown to the relay"))?;
        let remote = qtraversal::Endpoint::Agent { agent: self.relay(), outer };
        let local = self.bound(CLIENT, PORT);
        let way = self.ends[CLIENT].endpoint.pathway_to(local, remote).map_err(ends::failure)?;
        let config = std::sync::Arc::clone(&self.config);
        let handle = self.ends[CLIENT].endpoint.connect(self.now, &config, ends::NAME, way).map_err(ends::failure)?;
        self.ends[CLIENT].handle = Some(handle);
        Ok(())
    }

    pub fn connection(&self, end: usize) -> Option<&Connection> {
        self.ends[end].endpoint.connection(self.ends[end].handle?)
    }

    pub fn connection_mut(&mut self, end: usize) -> Result<&mut Connection, Failure> {
        let end = &mut self.ends[end];
        let handle = end.handle.ok_or_else(|| ends::failure("no connection"))?;
        end.endpoint.connection_mut(handle).ok_or_else(|| ends::failure("no connection"))
    }

    /// Announces a socket as the STUN server sees it, with the type of its translator.
    pub fn announce(&mut self, end: usize, port: u16) -> Result<u64, Failure> {
        let address = *self.ends[end].mapped.get(&port).ok_or_else(|| ends::failure("its outer address is not known"))?;
        let (nat_type, ports) = classified(self.ends[end].kind);
        let (now, local) = (self.now, self.bound(end, port));
        let address = AnnouncedAddress { address, kind: AddressKind::Mapped, tier: 0, nat_type, ports };
        self.connection_mut(end)?.announce_address(now, local, address).map_err(ends::failure)
    }

    pub fn announce_both(&mut self) -> Result<(), Failure> {
        self.announce(CLIENT, PORT)?;
        self.announce(SERVER, PORT)?;
        Ok(())
    }

    pub fn paths(&self, end: usize) -> Vec<PathView> {
        self.connection(end).map(|connection| connection.paths().collect()).unwrap_or_default()
    }

    /// The open path that goes straight to the peer and answers.
    pub fn direct(&self, end: usize) -> Option<PathView> {
        self.paths(end).into_iter().find(|path| path.state == PathState::Open && StandIn::of(path.four_tuple.remote).is_none() && path.suspect_since.is_none())
    }

    pub fn is_direct(&self) -> bool {
        self.direct(CLIENT).is_some() && self.direct(SERVER).is_some()
    }

    pub fn news(&self, end: usize) -> impl Iterator<Item = (Timestamp, &TraversalNews)> {
        self.ends[end].events.iter().filter_map(|(at, event)| if let Event::Traversal(news) = event { Some((*at, &**news)) } else { None })
    }

    pub fn relayed_path(&self, end: usize) -> Option<PathView> {
        self.paths(end).into_iter().find(|path| StandIn::of(path.four_tuple.remote).is_some())
    }

    /// One end sends so many bytes of the pattern.
    pub fn send(&mut self, end: usize, bytes: u64) -> Result<(), Failure> {
        let stream = self.connection_mut(end)?.open(Direction::Unidirectional).ok_or_else(|| ends::failure("no stream"))?;
        self.ends[end].outgoing = Some((stream, 0, bytes));
        self.ends[1 - end].received = 0;
        self.ends[1 - end].reads.clear();
        self.pump(end)
    }

    fn pump(&mut self, end: usize) -> Result<(), Failure> {
        let Some((stream, mut sent, total)) = self.ends[end].outgoing else { return Ok(()) };
        let connection = self.connection_mut(end)?;
        while sent < total {
            let chunk: Vec<u8> = (sent..total.min(sent + 16_384)).map(byte_at).collect();
            let taken = connection.write(stream, &chunk).map_err(ends::failure)? as u64;
            sent += taken;
            if taken == 0 {
                break;
            }
        }
        if sent == total {
            connection.finish(stream).map_err(ends::failure)?;
        }
        self.ends[end].outgoing = (sent < total).then_some((stream, sent, total));
        Ok(())
    }

    /// The longest time without a byte since `from`, while bytes were to come.
    pub fn longest_pause(&self, end: usize, from: Timestamp) -> Duration {
        let reads: Vec<Timestamp> = self.ends[end].reads.iter().copied().filter(|at| *at >= from).collect();
        reads.windows(2).map(|pair| pair[1].saturating_since(pair[0])).max().unwrap_or_default()
    }

    pub fn run_for(&mut self, time: Duration) -> Result<(), Failure> {
        let until = self.now + time;
        match self.run_until(time, |_| false) {
            Err(_) if self.now >= until => Ok(()),
            outcome => outcome,
        }
    }

    pub fn run_until(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> Result<(), Failure> {
        let until = self.now + limit;
        loop {
            self.turn()?;
            if done(self) {
                return Ok(());
            }
            let Some(at) = self.next_event().filter(|at| *at <= until) else {
                self.now = until;
                return Err(self.failure(&format!("not within {limit:?}")));
            };
            self.now = self.now.max(at);
            self.deliver();
        }
    }

    fn next_event(&self) -> Option<Timestamp> {
        let timers = self.ends.iter().map(|end| &end.endpoint).chain([&self.stun]).filter_map(|endpoint| endpoint.next_timer()).map(|(at, _)| at);
        timers.chain(self.world.next_event()).chain([self.keep_at]).min()
    }

    /// Lets both ends act at this instant.
    pub fn turn_once(&mut self) -> Result<(), Failure> {
        self.turn()
    }

    fn turn(&mut self) -> Result<(), Failure> {
        let now = self.now;
        if self.keep_at <= now {
            self.keep_at = now + secs(15);
            for end in [CLIENT, SERVER] {
                let four_tuple = FourTuple { local: self.bound(end, PORT), remote: self.relay() };
                self.put(end, four_tuple, None, Ecn::NotEct, HERE);
            }
        }
        for end in [CLIENT, SERVER] {
            if self.ends[end].endpoint.next_timer().is_some_and(|(at, _)| at <= now) {
                self.ends[end].endpoint.on_timer(now);
            }
            self.hear(end)?;
            // What a wish or an event brought about leaves in the same turn.
            for _ in 0..3 {
                self.transmit(end);
                self.grant(end);
            }
            self.transmit(end);
        }
        self.stun.on_timer(now);
        self.answer();
        Ok(())
    }

    fn hear(&mut self, end: usize) -> Result<(), Failure> {
        let now = self.now;
        let peer = &mut self.ends[end];
        while let Some(news) = peer.endpoint.poll_nat_news() {
            if let NatNews::Answer { local, mapped, .. } = news {
                peer.mapped.insert(local.port(), mapped);
            }
        }
        while let Some((handle, event)) = peer.endpoint.poll_event() {
            peer.handle.get_or_insert(handle);
            peer.events.push((now, event));
        }
        if self.connection(end).is_none() {
            return Ok(());
        }
        self.read(end)?;
        self.pump(end)
    }

    fn read(&mut self, end: usize) -> Result<(), Failure> {
        let now = self.now;
        let mut incoming = std::mem::take(&mut self.ends[end].incoming);
        let connection = self.connection_mut(end)?;
        while let Some(stream) = connection.accept(Direction::Unidirectional) {
            incoming.push((stream, 0));
        }
        let (mut buffer, mut total, mut wrong) = (vec![0; 65_536], 0, None);
        for (stream, offset) in &mut incoming {
            while let Ok(len @ 1..) = connection.read(*stream, &mut buffer) {
                wrong = wrong.or_else(|| buffer[..len].iter().zip(*offset..).find(|(byte, at)| **byte != byte_at(*at)).map(|(_, at)| at));
                *offset += len as u64;
                total += len as u64;
            }
        }
        let reader = &mut self.ends[end];
        reader.incoming = incoming;
        reader.received += total;
        if total > 0 {
            reader.reads.push(now);
        }
        match wrong {
            Some(at) => Err(self.failure(&format!("the byte at {at} is wrong"))),
            None => Ok(()),
        }
    }

    /// Opens and closes the sockets that were wished for.
    fn grant(&mut self, end: usize) {
        while let Some(wish) = self.ends[end].endpoint.poll_socket_wish() {
            match wish {
                SocketWish::Open { id, port, .. } => {
                    let is_free = |port: &u16| *port != 0 && !self.ends[end].ports.contains(port);
                    let port = Some(port).filter(is_free).or_else(|| (20_000..).find(is_free));
                    let local = port.map(|port| self.bound(end, port));
                    self.ends[end].ports.extend(port);
                    self.ends[end].endpoint.on_socket(id, local, self.now);
                }
                SocketWish::Close { local } => {
                    self.ends[end].ports.remove(&local.port());
                }
            }
        }
    }

    fn transmit(&mut self, end: usize) {
        let mut buffer = std::mem::take(&mut self.buffer);
        while let Some(burst) = self.ends[end].endpoint.poll_transmit(self.now, &mut buffer, &SendLimits::default()) {
            for datagram in buffer[..burst.len].chunks(burst.segment_size) {
                let quic = if burst.four_tuple.remote == self.relay() { ForwardHeader::strip(datagram).map_or(datagram, |stripped| stripped.quic) } else { datagram };
                let dcid = quic.get(1..9).and_then(|dcid| dcid.try_into().ok()).unwrap_or_default();
                if let Some(ttl) = burst.hop_limit {
                    self.probes.push(SentProbe { at: self.now, end, four_tuple: burst.four_tuple, ttl, len: datagram.len(), dcid });
                } else if quic.first().is_some_and(|first| first & 0x80 == 0) {
                    self.ends[end].dcids.insert(dcid);
                }
                self.put(end, burst.four_tuple, burst.hop_limit, burst.ecn, datagram);
            }
            self.ends[end].endpoint.on_submitted(&burst, burst.segments, self.now);
        }
        self.buffer = buffer;
    }

    fn put(&mut self, end: usize, four_tuple: FourTuple, ttl: Option<u8>, ecn: Ecn, bytes: &[u8]) {
        assert!(!StandIn::is_claimed(four_tuple.remote.ip()), "an address that stands for a way left the endpoint");
        let goes_straight = four_tuple.remote.ip() != self.service_ip;
        let is_cut = match self.cut {
            Cut::Nothing => false,
            Cut::Straight => true,
            // Translators here preserve ports.
            Cut::OfServer(port) => if end == SERVER { four_tuple.local.port() == port } else { four_tuple.remote.port() == port },
        };
        if goes_straight && is_cut {
            return;
        }
        let host = self.ends[end].host;
        let _ = self.world.send_with_ttl(self.now, host, four_tuple, ecn, ttl.unwrap_or(DEFAULT_TTL), bytes);
    }

    fn answer(&mut self) {
        let mut buffer = vec![0; 2_048];
        while let Some(burst) = self.stun.poll_transmit(self.now, &mut buffer, &SendLimits::default()) {
            let four_tuple = FourTuple { local: SocketAddr::new(self.service_ip, STUN_PORT), remote: burst.four_tuple.remote };
            let _ = self.world.send(self.now, self.service, four_tuple, Ecn::NotEct, &buffer[..burst.len]);
            self.stun.on_submitted(&burst, 1, self.now);
        }
    }

    fn deliver(&mut self) {
        while let Some(mut delivery) = self.world.pop_delivery(self.now) {
            let FourTuple { local, remote } = delivery.four_tuple;
            if delivery.host != self.service {
                let end = usize::from(delivery.host == self.ends[SERVER].host);
                if let Some(outer) = delivery.bytes.strip_prefix(HERE) {
                    self.ends[end].relayed = std::str::from_utf8(outer).ok().and_then(|text| text.parse().ok());
                } else if self.ends[end].ports.contains(&local.port()) {
                    self.ends[end].endpoint.handle_datagram(self.now, delivery.four_tuple, delivery.ecn, &mut delivery.bytes);
                }
            } else if local.port() == STUN_PORT {
                self.stun.handle_datagram(self.now, delivery.four_tuple, Ecn::NotEct, &mut delivery.bytes);
            } else if delivery.bytes == HERE {
                let text = [HERE, remote.to_string().as_bytes()].concat();
                let _ = self.world.send(self.now, self.service, delivery.four_tuple, Ecn::NotEct, &text);
            } else if let Some(stripped) = ForwardHeader::strip(&delivery.bytes) {
                let to = stripped.header.destination.outer();
                if self.ends.iter().any(|end| end.relayed == Some(to)) {
                    self.relayed += 1;
                    let four_tuple = FourTuple { local, remote: to };
                    let _ = self.world.send(self.now, self.service, four_tuple, delivery.ecn, &delivery.bytes);
                }
            }
            self.world.recycle(delivery.bytes);
        }
    }

    pub fn failure(&self, what: &str) -> Failure {
        let mut lines = vec![format!("{:?}: {what}; {} probes, {} relayed", self.now, self.probes.len(), self.relayed)];
        for end in [CLIENT, SERVER] {
            lines.push(format!("--- {end}: {} bytes read", self.ends[end].received));
            lines.extend(self.connection(end).map(|connection| connection.explain(self.now)).unwrap_or_default());
            lines.extend(self.paths(end).iter().map(|path| format!("{} {:?} {:?}", path.id, path.state, path.four_tuple)));
            let shown = self.ends[end].events.iter().filter(|(_, event)| matches!(event, Event::Traversal(_) | Event::Path(_) | Event::Closed(_)));
            lines.extend(shown.map(|(at, event)| format!("{at:?} {event:?}")));
        }
        lines.extend(self.probes.iter().rev().take(30).map(|probe| format!("{probe:?}")));
        Failure::new(lines.join("\n"))
    }
}
