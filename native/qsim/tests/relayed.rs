//! Connections over relays: headers on every datagram, paths like any other, and what strangers can do with them
//! (burst B-75…B-79a; traversal T-12, T-20…T-23; attacks G11…G13).

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use qbase::{Direction, Ecn, FourTuple, PathId, StandIn, StreamId, Timestamp, frame::PathStatusKind, limits};
use qconnection::{
    ConnectionHandle, Endpoint, EndpointConfig, SendLimits, TransportConfig,
    config::Spin,
    connection::State,
    endpoint::pathways::{NoPathway, Registration},
    path::PathState,
};
use qevent::DropReason;
use qsim::Failure;
use qtraversal::{
    Pathway,
    forward::{ForwardHeader, Stamp},
};

use crate::common;
use common::{ends::{self, failure}, ms, secs};

/// A connection whose only way leads through a relay; burst B-75, B-76, B-77.
#[test]
fn a_transfer_goes_through_a_relay_with_a_header_on_every_datagram() -> Result<(), Failure> {
    for (family, header) in [(Family::V4, 26), (Family::V6, 74)] {
        let mut net = Net::new(family)?;
        let handle = net.connect()?;
        net.run_until(secs(5), |net| net.is_confirmed(handle))?;
        let stream = net.write(handle, 250_000)?;
        net.run_until(secs(10), |net| net.received(stream) == 250_000)?;
        assert!(net.seen.iter().all(|seen| seen.header == header && seen.source_is_agent), "{family:?}");
        assert_eq!(net.beside, 0, "nothing went beside the relay");
        let initials: Vec<_> = net.seen.iter().filter(|seen| seen.first & 0xf0 == 0xc0).collect();
        assert!(!initials.is_empty() && initials.iter().all(|seen| seen.datagram >= limits::MIN_INITIAL), "{family:?}: whole datagrams behind the header");
        assert!(net.seen.iter().map(|seen| seen.datagram + seen.header).max() <= Some(family.largest()), "{family:?}: no larger than the link");
        assert!(net.longest_burst > 4, "segments share a send call");
        let path = net.path(handle, PathId::ZERO)?;
        let pathway = net.client.pathway_of(path).ok_or_else(|| failure("no pathway"))?;
        assert_eq!((pathway.local.outer(), pathway.remote.outer()), (family.outer(CLIENT), family.outer(SERVER)));
    }
    Ok(())
}

/// The first byte of the header has the low bits of the datagram's; burst B-77.
#[test]
fn the_first_byte_of_a_header_follows_the_datagram() -> Result<(), Failure> {
    let mut net = Net::new(Family::V4)?;
    let handle = net.connect()?;
    net.run_until(secs(5), |net| net.is_confirmed(handle))?;
    assert!(net.seen.len() > 2 && net.seen.iter().all(|seen| seen.mark == 0x60 | (seen.first & 0x1f)));
    Ok(())
}

/// burst B-79.
#[test]
fn the_end_of_a_connection_goes_through_the_relay_too() -> Result<(), Failure> {
    let mut net = Net::new(Family::V4)?;
    let handle = net.connect()?;
    net.run_until(secs(5), |net| net.is_confirmed(handle))?;
    let before = net.seen.len();
    let now = net.now;
    net.client.connection_mut(handle).ok_or_else(|| failure("no connection"))?.close(now, 7, b"done");
    net.run_until(secs(5), |net| net.server.handles().all(|far| net.server.connection(far).is_none_or(|far| matches!(far.state(), State::Draining | State::Drained))))?;
    assert!(net.seen.len() > before && net.beside == 0);
    Ok(())
}

/// A path through a relay and one beside it: two paths of one connection (multipath MP-19).
#[test]
fn a_direct_path_joins_a_relayed_one() -> Result<(), Failure> {
    let mut net = Net::new(Family::V4)?;
    let handle = net.connect()?;
    net.run_until(secs(5), |net| net.is_confirmed(handle))?;
    let direct = FourTuple { local: net.family.bound(CLIENT), remote: net.family.bound(SERVER) };
    let now = net.now;
    let connection = net.client.connection_mut(handle).ok_or_else(|| failure("no connection"))?;
    connection.open_path(now, direct, PathStatusKind::Available).map_err(failure)?;
    net.run_until(secs(5), |net| net.client.connection(handle).is_some_and(|connection| connection.paths().filter(|path| path.state == PathState::Open).count() == 2))?;
    let before = net.beside;
    net.client.connection_mut(handle).ok_or_else(|| failure("no connection"))?.set_path_status(PathId::ZERO, PathStatusKind::Backup).map_err(failure)?;
    let stream = net.write(handle, 200_000)?;
    net.run_until(secs(10), |net| net.received(stream) == 200_000)?;
    assert!(net.beside > before + 100, "the direct path carries them");
    Ok(())
}

/// The relay sees the client under another address from now on, as after a change of the NAT's mapping: the server proves
/// the new way (traversal T-23, RFC 9000 §9.3), and what it still sends by the old one is heard.
#[test]
fn a_client_whose_outer_address_changes_is_followed() -> Result<(), Failure> {
    let mut net = Net::new(Family::V4)?;
    let handle = net.connect()?;
    net.run_until(secs(5), |net| net.is_confirmed(handle))?;
    let (near, far) = (net.path(handle, PathId::ZERO)?, net.server_path()?);
    let moved = SocketAddr::from(([203, 0, 113, 99], 7_777));
    net.outers.insert(moved, CLIENT);
    let (local, agent) = (net.family.bound(CLIENT), net.family.relay());
    net.client.add_registration(Registration { local, own: qtraversal::Endpoint::Agent { agent, outer: moved } }).map_err(failure)?;
    let stream = net.write(handle, 100_000)?;
    net.run_until(secs(10), |net| net.received(stream) == 100_000)?;
    assert_eq!(net.path(handle, PathId::ZERO)?, near, "the client's own way is what it was");
    let now = net.server_path()?;
    assert_ne!(now, far);
    assert_eq!(net.server.pathway_of(now).map(|pathway| pathway.remote.outer()), Some(moved));
    Ok(())
}

/// The end that was dialled moves: it goes on under the name that the client dialled, which the relay leads to where it is
/// (traversal T-36). The client sees no change, since it would not believe in a server of another address (RFC 9000 §9.6).
#[test]
fn a_server_whose_outer_address_changes_goes_on_under_the_name_that_was_dialled() -> Result<(), Failure> {
    let mut net = Net::new(Family::V4)?;
    let handle = net.connect()?;
    net.run_until(secs(5), |net| net.is_confirmed(handle))?;
    let (near, far) = (net.path(handle, PathId::ZERO)?, net.server_path()?);
    let (local, agent, old) = (net.family.bound(SERVER), net.family.relay(), net.family.outer(SERVER));
    let moves = [7_777, 7_778].map(|port| SocketAddr::from(([203, 0, 113, 99], port)));
    // All datagrams for the old name are lost until the relay and the server know of the change.
    let lost = net.write(handle, 100_000)?;
    net.outers.remove(&old);
    let now = net.now;
    let until = net.run_until(ms(300), |net| net.received(lost) == 100_000);
    assert!(until.is_err() && net.now > now, "it waits");
    for moved in moves {
        net.server.add_registration(Registration { local, own: qtraversal::Endpoint::Agent { agent, outer: moved } }).map_err(failure)?;
        net.outers.insert(old, SERVER);
        net.outers.insert(moved, SERVER);
        let stream = net.write(handle, 100_000)?;
        net.run_until(secs(20), |net| net.received(stream) == 100_000 && net.received(lost) == 100_000)?;
        assert_eq!((net.path(handle, PathId::ZERO)?, net.server_path()?), (near, far), "to QUIC nothing has changed");
        assert_eq!(net.server.pathway_of(far).map(|pathway| pathway.local.outer()), Some(old), "its headers name what was dialled");
    }
    // Who dials it now is answered under the name that it knows, be it of before or of now.
    for (name, has_moved) in [(old, false), (moves[1], true)] {
        let remote = qtraversal::Endpoint::Agent { agent, outer: name };
        let way = net.client.pathway_to(net.family.bound(CLIENT), remote).map_err(failure)?;
        assert_eq!(way != near, has_moved);
        let again = net.client.connect(net.now, &net.config, ends::NAME, way).map_err(failure)?;
        net.run_until(secs(5), |net| net.is_confirmed(again))?;
    }
    let registered: Vec<_> = net.server.registrations().map(|known| known.own.outer()).collect();
    assert_eq!(registered, [moves[1]]);
    Ok(())
}

/// The peer really spins, and its packets look like forward datagrams half of the time (traversal T-12).
#[test]
fn a_spinning_peer_is_heard_by_an_endpoint_that_takes_forward_datagrams() -> Result<(), Failure> {
    let spinning = TransportConfig { spin: Spin::On, ..TransportConfig::default() };
    let mut net = Net::with(Family::V4, spinning)?;
    let direct = FourTuple { local: net.family.bound(CLIENT), remote: net.family.bound(SERVER) };
    let handle = net.client.connect(net.now, &net.config, ends::NAME, direct).map_err(failure)?;
    net.run_until(secs(5), |net| net.is_confirmed(handle))?;
    let stream = net.write(handle, 200_000)?;
    net.run_until(secs(10), |net| net.received(stream) == 200_000)?;
    assert!(net.spun > 10, "{} packets with the bit set", net.spun);
    assert_eq!(net.server.statistics().drops.get(DropReason::Misrouted), 0);
    Ok(())
}

/// traversal T-12, burst B-89.
#[test]
fn a_path_through_a_relay_never_spins() -> Result<(), Failure> {
    let mut net = Net::with(Family::V4, TransportConfig { spin: Spin::On, ..TransportConfig::default() })?;
    let handle = net.connect()?;
    net.run_until(secs(5), |net| net.is_confirmed(handle))?;
    let stream = net.write(handle, 200_000)?;
    net.run_until(secs(10), |net| net.received(stream) == 200_000)?;
    assert!(net.seen.iter().all(|seen| seen.first & 0x80 != 0 || seen.first & 0x20 == 0));
    Ok(())
}

#[test]
fn a_way_needs_a_registration_and_a_peer_behind_a_relay() -> Result<(), Failure> {
    let mut net = Net::new(Family::V4)?;
    let family = net.family;
    let local = family.bound(CLIENT);
    assert_eq!(net.client.pathway_to(local, family.bound(SERVER).into()), Err(NoPathway::Direct));
    net.client.remove_registration(local, family.relay());
    assert_eq!(net.client.pathway_to(local, family.agent(SERVER)), Err(NoPathway::NotRegistered));
    let own = Registration { local, own: local.into() };
    assert_eq!(net.client.add_registration(own), Err(NoPathway::Direct));
    for number in 0..limits::RELAYS {
        let agent = SocketAddr::from(([203, 0, 113, 7], 5_000 + number as u16));
        let own = qtraversal::Endpoint::Agent { agent, outer: family.outer(CLIENT) };
        net.client.add_registration(Registration { local, own }).map_err(failure)?;
    }
    let own = qtraversal::Endpoint::Agent { agent: family.relay(), outer: family.outer(CLIENT) };
    assert_eq!(net.client.add_registration(Registration { local, own }), Err(NoPathway::TooMany), "one past the bound");
    Ok(())
}

// ---- attacks ----

/// Only relays that know us may hand us forwarded datagrams, and only for us.
#[test]
fn attack_g11_headers_of_strangers_and_for_others_are_dropped() -> Result<(), Failure> {
    let mut net = Net::new(Family::V4)?;
    let family = net.family;
    let good = Pathway { local: family.agent(CLIENT), remote: family.agent(SERVER) };
    let other = qtraversal::Endpoint::Agent { agent: SocketAddr::from(([203, 0, 113, 200], 4_434)), outer: family.outer(SERVER) };
    let cases = [
        (SocketAddr::from(([192, 0, 2, 66], 4_434)), good, "from a stranger"),
        (family.relay(), Pathway { remote: other, ..good }, "for a client of another relay"),
        (family.relay(), Pathway { local: SocketAddr::from(([192, 0, 2, 66], 9)).into(), ..good }, "from nobody behind a relay"),
    ];
    for (at, (from, pathway, what)) in (1..).zip(cases) {
        let four_tuple = FourTuple { local: family.bound(SERVER), remote: from };
        net.server.handle_datagram(net.now, four_tuple, Ecn::NotEct, &mut forwarded(&pathway, &[0x43; 1_200]));
        assert_eq!(net.server.statistics().drops.get(DropReason::Misrouted), at, "{what}");
        assert!(net.server.poll_transmit(net.now, &mut vec![0; 65_535], &SendLimits::default()).is_none(), "{what}");
    }
    Ok(())
}

/// No host can claim an address that stands for a way.
#[test]
fn attack_g12_addresses_that_stand_for_ways_cannot_be_claimed() -> Result<(), Failure> {
    for family in [Family::V4, Family::V6] {
        let mut net = Net::new(family)?;
        let handle = net.connect()?;
        let Some((_, datagram)) = net.poll_client().into_iter().next() else { return Err(failure("nothing was sent")) };
        let bytes = ForwardHeader::strip(&datagram).ok_or_else(|| failure("no header"))?.quic;
        let claimed = StandIn { number: 0, header: 26 }.address(family.relay());
        net.server.handle_datagram(net.now, FourTuple { local: family.bound(SERVER), remote: claimed }, Ecn::NotEct, &mut bytes.to_vec());
        assert!(net.server.is_empty(), "{family:?}");
        assert!(net.client.connection(handle).is_some());
    }
    Ok(())
}

/// The size that counts is that of the datagram behind the header (RFC 9000 §14.1).
#[test]
fn attack_g13_an_initial_of_less_than_1200_bytes_is_dropped_however_long_its_header() -> Result<(), Failure> {
    for (family, len, dropped) in [(Family::V4, 1_199, 1), (Family::V6, 1_199, 1), (Family::V6, 1_200, 0)] {
        let mut net = Net::new(family)?;
        let pathway = Pathway { local: family.agent(CLIENT), remote: family.agent(SERVER) };
        let mut initial = vec![0xc0, 0, 0, 0, 1, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0];
        let rest = u16::try_from(len - 18).map_err(failure)?;
        initial.extend_from_slice(&(0x4000 | rest).to_be_bytes());
        initial.resize(len, 0x43);
        let mut datagram = forwarded(&pathway, &initial);
        assert!(datagram.len() > limits::MIN_INITIAL, "with its header it is long enough");
        let four_tuple = FourTuple { local: family.bound(SERVER), remote: family.relay() };
        net.server.handle_datagram(net.now, four_tuple, Ecn::NotEct, &mut datagram);
        assert_eq!(net.server.statistics().drops.get(DropReason::ShortInitial), dropped, "{family:?} {len}");
    }
    Ok(())
}

/// attacks R2: the bound, and far past it; the way in use is kept.
#[test]
fn attack_g11_a_flood_of_made_up_ways_is_bounded_and_harms_no_connection() -> Result<(), Failure> {
    let mut net = Net::new(Family::V4)?;
    let handle = net.connect()?;
    net.run_until(secs(5), |net| net.is_confirmed(handle))?;
    let family = net.family;
    let before = net.server_path()?;
    let four_tuple = FourTuple { local: family.bound(SERVER), remote: family.relay() };
    for number in 0..3 * limits::PATHWAYS as u32 {
        let outer = SocketAddr::from(([198, 51, 100, 7], 1)).ip();
        let outer = SocketAddr::new(outer, u16::try_from(1_024 + number % 60_000).unwrap_or(1_024));
        let agent = SocketAddr::from(([203, 0, 113, 60], 4_434));
        let remote = qtraversal::Endpoint::Agent { agent, outer };
        let pathway = Pathway { local: remote, remote: family.agent(SERVER) };
        net.server.handle_datagram(net.now, four_tuple, Ecn::NotEct, &mut forwarded(&pathway, &[0x43; 1_200]));
        assert!(net.server.pathways() <= limits::PATHWAYS);
    }
    assert_eq!(net.server_path()?, before, "the connection's way has its number still");
    let stream = net.write(handle, 50_000)?;
    net.run_until(secs(10), |net| net.received(stream) == 50_000)?;
    Ok(())
}

// ---- helpers ----

const CLIENT: usize = 0;
const SERVER: usize = 1;
const DELAY: Duration = ms(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

impl Family {
    fn host(self, number: u8, port: u16) -> SocketAddr {
        match self {
            Self::V4 => SocketAddr::from(([198, 51, 100, number], port)),
            Self::V6 => SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, number.into()], port)),
        }
    }

    fn bound(self, end: usize) -> SocketAddr {
        self.host(10 + end as u8, 4_433)
    }

    fn outer(self, end: usize) -> SocketAddr {
        self.host(20 + end as u8, 6_000)
    }

    fn relay(self) -> SocketAddr {
        self.host(1, 4_434)
    }

    fn agent(self, end: usize) -> qtraversal::Endpoint {
        qtraversal::Endpoint::Agent { agent: self.relay(), outer: self.outer(end) }
    }

    /// UDP payload that the link carries.
    const fn largest(self) -> usize {
        match self {
            Self::V4 => 1_472,
            Self::V6 => 1_452,
        }
    }
}

/// What passed the relay.
struct Seen {
    header: usize,
    source_is_agent: bool,
    /// First byte of the header.
    mark: u8,
    /// First byte and length of what is behind it.
    first: u8,
    datagram: usize,
}

/// Two endpoints, each behind an address that only the relay knows, and the relay.
struct Net {
    family: Family,
    now: Timestamp,
    client: Endpoint,
    server: Endpoint,
    config: std::sync::Arc<qconnection::ClientConfig>,
    /// Datagrams on their way, by arrival: to which end, from where.
    wire: BTreeMap<(Timestamp, u64), (usize, FourTuple, Vec<u8>)>,
    next: u64,
    outers: BTreeMap<SocketAddr, usize>,
    seen: Vec<Seen>,
    /// Datagrams that went from end to end.
    beside: usize,
    longest_burst: usize,
    /// Those of them that look like forward datagrams.
    spun: usize,
    read: BTreeMap<StreamId, usize>,
}

impl Net {
    fn new(family: Family) -> Result<Self, Failure> {
        Self::with(family, TransportConfig::default())
    }

    fn with(family: Family, transport: TransportConfig) -> Result<Self, Failure> {
        let (config, server) = ends::configs(1, transport, TransportConfig::default())?;
        let endpoint = |seed: u8| Endpoint::new(EndpointConfig::default(), [seed; 32]);
        let (mut near, mut far) = (endpoint(5), endpoint(6));
        far.listen(Some(server));
        for (end, endpoint) in [(CLIENT, &mut near), (SERVER, &mut far)] {
            endpoint.add_registration(Registration { local: family.bound(end), own: family.agent(end) }).map_err(failure)?;
        }
        Ok(Self {
            family,
            now: Timestamp::from_millis(1_000),
            client: near,
            server: far,
            config,
            wire: BTreeMap::new(),
            next: 0,
            outers: [(family.outer(CLIENT), CLIENT), (family.outer(SERVER), SERVER)].into(),
            seen: Vec::new(),
            beside: 0,
            longest_burst: 0,
            spun: 0,
            read: BTreeMap::new(),
        })
    }

    fn connect(&mut self) -> Result<ConnectionHandle, Failure> {
        let way = self.client.pathway_to(self.family.bound(CLIENT), self.family.agent(SERVER)).map_err(failure)?;
        self.client.connect(self.now, &self.config, ends::NAME, way).map_err(failure)
    }

    fn is_confirmed(&self, handle: ConnectionHandle) -> bool {
        self.client.connection(handle).is_some_and(|connection| connection.is_confirmed())
    }

    fn path(&self, handle: ConnectionHandle, path: PathId) -> Result<FourTuple, Failure> {
        let path = self.client.connection(handle).and_then(|connection| connection.path(path));
        path.map(|path| path.four_tuple).ok_or_else(|| failure("no path"))
    }

    fn server_path(&self) -> Result<FourTuple, Failure> {
        let connection = self.server.handles().find_map(|handle| self.server.connection(handle));
        let path = connection.and_then(|connection| connection.path(PathId::ZERO));
        path.map(|path| path.four_tuple).ok_or_else(|| failure("no path"))
    }

    fn write(&mut self, handle: ConnectionHandle, bytes: usize) -> Result<StreamId, Failure> {
        let connection = self.client.connection_mut(handle).ok_or_else(|| failure("no connection"))?;
        let stream = connection.open(Direction::Unidirectional).ok_or_else(|| failure("no stream"))?;
        let written = connection.write(stream, &vec![7; bytes]).map_err(failure)?;
        if written < bytes {
            return Err(failure(format!("{written} of {bytes} bytes were taken")));
        }
        connection.finish(stream).map_err(failure)?;
        Ok(stream)
    }

    fn received(&self, stream: StreamId) -> usize {
        self.read.get(&stream).copied().unwrap_or_default()
    }

    /// All that the client sends now, as it is on the wire.
    fn poll_client(&mut self) -> Vec<(FourTuple, Vec<u8>)> {
        self.poll(CLIENT)
    }

    fn poll(&mut self, end: usize) -> Vec<(FourTuple, Vec<u8>)> {
        let mut buffer = vec![0; 65_535];
        let mut sent = Vec::new();
        let endpoint = if end == CLIENT { &mut self.client } else { &mut self.server };
        while let Some(burst) = endpoint.poll_transmit(self.now, &mut buffer, &SendLimits::default()) {
            endpoint.on_submitted(&burst, burst.segments, self.now);
            self.longest_burst = self.longest_burst.max(burst.segments);
            let datagrams = buffer[..burst.len].chunks(burst.segment_size);
            assert_eq!(datagrams.len(), burst.segments);
            sent.extend(datagrams.map(|datagram| (burst.four_tuple, datagram.to_vec())));
        }
        sent
    }

    /// Takes a datagram to where its bytes say.
    fn carry(&mut self, four_tuple: FourTuple, bytes: Vec<u8>) {
        let mut arrival = self.now + DELAY;
        let (end, from) = if four_tuple.remote == self.family.relay() {
            let Some(stripped) = ForwardHeader::strip(&bytes) else { panic!("a datagram without a header at the relay") };
            let (mark, inner, header) = (bytes[0], stripped.quic, stripped.header);
            let source_is_agent = header.source.is_relayed();
            self.seen.push(Seen { header: bytes.len() - inner.len(), source_is_agent, mark, first: inner[0], datagram: inner.len() });
            arrival += DELAY;
            let Some(end) = self.outers.get(&header.destination.outer()).copied() else { return };
            (end, self.family.relay())
        } else {
            self.beside += 1;
            self.spun += usize::from(bytes[0] & 0xe0 == 0x60);
            (usize::from(four_tuple.remote == self.family.bound(SERVER)), four_tuple.local)
        };
        self.next += 1;
        self.wire.insert((arrival, self.next), (end, FourTuple { local: self.family.bound(end), remote: from }, bytes));
    }

    fn run_until(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> Result<(), Failure> {
        let until = self.now + limit;
        while !done(self) {
            for end in [CLIENT, SERVER] {
                for (four_tuple, bytes) in self.poll(end) {
                    self.carry(four_tuple, bytes);
                }
            }
            self.drain();
            if done(self) {
                return Ok(());
            }
            let timers = [self.client.next_timer(), self.server.next_timer()].into_iter().flatten().map(|(at, _)| at);
            let Some(next) = timers.chain(self.wire.keys().next().map(|(at, _)| *at)).min() else { return Err(failure("nothing can happen")) };
            self.now = self.now.max(next);
            if self.now > until {
                return Err(failure(format!("not within {limit:?}: {} datagrams passed the relay", self.seen.len())));
            }
            self.client.on_timer(self.now);
            self.server.on_timer(self.now);
            while let Some(((at, _), _)) = self.wire.first_key_value().filter(|((at, _), _)| *at <= self.now) {
                let _ = at;
                let Some((_, (end, four_tuple, mut bytes))) = self.wire.pop_first() else { break };
                let endpoint = if end == CLIENT { &mut self.client } else { &mut self.server };
                endpoint.handle_datagram(self.now, four_tuple, Ecn::NotEct, &mut bytes);
            }
        }
        Ok(())
    }

    /// The server's application reads all there is.
    fn drain(&mut self) {
        while self.client.poll_event().is_some() {}
        while self.server.poll_event().is_some() {}
        let handles: Vec<_> = self.server.handles().collect();
        for handle in handles {
            let Some(connection) = self.server.connection_mut(handle) else { continue };
            while let Some(stream) = connection.accept(Direction::Unidirectional) {
                self.read.insert(stream, 0);
            }
            let mut buffer = [0; 16_384];
            for (stream, read) in &mut self.read {
                while let Ok(len @ 1..) = connection.read(*stream, &mut buffer) {
                    *read += len;
                }
            }
        }
    }
}

/// A forward datagram with this in it.
fn forwarded(pathway: &Pathway, quic: &[u8]) -> Vec<u8> {
    let stamp = Stamp::of(pathway).unwrap().unwrap();
    let mut bytes = vec![0; stamp.size()];
    bytes.extend_from_slice(quic);
    stamp.fill(&mut bytes).unwrap();
    bytes
}
