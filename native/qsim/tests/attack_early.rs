//! 0-RTT against a server: replay, disorder, forbidden frames (attacks B19, B20, L1, L3; RFC 9001 §9.2).

use std::{net::SocketAddr, sync::Arc, time::Duration};

use qbase::{
    ConnectionId, Direction, Ecn, EncryptionLevel, ErrorCode, FourTuple, PathId, Role, StreamId, Timestamp, VERSION_1,
    frame::{self, Frame},
    limits,
    param::TransportParameters,
};
use qconnection::{
    ClientConfig, ConnectionHandle, Endpoint, EndpointConfig, Event, SendLimits, ServerConfig, TransportConfig,
    connection::events::{CloseInfo, EarlyStatus},
};
use qcrypto::{
    ClientSessions, ClientTls, ClientTlsOptions, Identity, Keys, Pin, Provider, ServerTls, ServerTlsOptions, Session,
    development,
};
use qevent::DropReason;
use qsim::Failure;

use crate::common;
use common::{ends::{NAME, failure}, evil::{ack, encode, wire::{Envelope, seal_long}}, ms, secs};

const UNIX_TIME: Duration = Duration::from_secs(1_735_689_600);

/// A client with a ticket and the server that gave it. What one sends the other has at once, unless the test says so.
struct World {
    now: Timestamp,
    client: Endpoint,
    server: Endpoint,
    dial: Arc<ClientConfig>,
    listen: Arc<ServerConfig>,
    heard: Vec<Event>,
}

fn addresses() -> FourTuple {
    FourTuple { local: SocketAddr::from(([198, 51, 100, 1], 51_000)), remote: SocketAddr::from(([192, 0, 2, 1], 4_433)) }
}

fn reverse(four_tuple: FourTuple) -> FourTuple {
    FourTuple { local: four_tuple.remote, remote: four_tuple.local }
}

/// Whether a server takes early data.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Early {
    Taken,
    Refused,
}

fn configs(early: Early) -> Result<(Arc<ClientConfig>, Arc<ServerConfig>), Failure> {
    let certificate = development::seeded(&[1; 32], &[NAME.to_owned()], 365, UNIX_TIME).map_err(failure)?;
    let identity = Identity::from_pem(certificate.cert_pem.as_bytes(), certificate.key_pem.as_bytes()).map_err(failure)?;
    let provider = Provider::Seeded { seed: [2; 32], unix_time: UNIX_TIME };
    let client = ClientTls::new(&ClientTlsOptions {
        pins: vec![Pin::of_certificate(&certificate.cert_der)],
        alpn: vec![b"qsim".to_vec()],
        provider: provider.clone(),
        sessions: Some(ClientSessions::new()),
        early_data: true,
        ..ClientTlsOptions::default()
    });
    let server = ServerTls::new(&ServerTlsOptions {
        identity: Some(identity),
        alpn: vec![b"qsim".to_vec()],
        provider,
        early_data: early == Early::Taken,
        ..ServerTlsOptions::default()
    });
    let transport = Arc::new(TransportConfig::default());
    let dial = ClientConfig { versions: vec![VERSION_1], ..ClientConfig::new(client.map_err(failure)?, Arc::clone(&transport)) };
    let listen = ServerConfig::new(server.map_err(failure)?, transport, 2_048);
    Ok((Arc::new(dial), Arc::new(listen)))
}

impl World {
    /// After a first connection, which has ended.
    fn new() -> Result<Self, Failure> {
        let (dial, listen) = configs(Early::Taken)?;
        let mut server = Endpoint::new(EndpointConfig::default(), [3; 32]);
        server.listen(Some(Arc::clone(&listen)));
        let client = Endpoint::new(EndpointConfig::default(), [4; 32]);
        let mut world = Self { now: Timestamp::from_millis(1_000), client, server, dial, listen, heard: Vec::new() };
        let first = world.connect()?;
        world.run(ms(300));
        let now = world.now;
        world.client.connection_mut(first).ok_or_else(|| failure("no connection"))?.close(now, 0, b"");
        world.run(secs(10));
        if !world.client.is_empty() || !world.server.is_empty() {
            return Err(failure("the first connection is still there"));
        }
        world.heard.clear();
        Ok(world)
    }

    fn connect(&mut self) -> Result<ConnectionHandle, Failure> {
        self.client.connect(self.now, &self.dial, NAME, addresses()).map_err(failure)
    }

    /// A second connection with early data: its first flight, which nobody has.
    fn early_flight(&mut self, len: usize) -> Result<Vec<Vec<u8>>, Failure> {
        let handle = self.connect()?;
        let connection = self.client.connection_mut(handle).ok_or_else(|| failure("no connection"))?;
        let stream = connection.open(Direction::Bidirectional).ok_or_else(|| failure("no early data"))?;
        connection.write(stream, &vec![7; len]).map_err(failure)?;
        Ok(take(&mut self.client, self.now))
    }

    fn give_server(&mut self, datagram: &[u8]) {
        give(&mut self.server, self.now, datagram);
        self.hear();
    }

    fn hear(&mut self) {
        while let Some((_, event)) = self.server.poll_event() {
            self.heard.push(event);
        }
        while self.client.poll_event().is_some() {}
    }

    /// Both ends talk for so long.
    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let forth = take(&mut self.client, self.now);
            forth.iter().for_each(|datagram| self.give_server(datagram));
            let back = take(&mut self.server, self.now);
            for datagram in &back {
                self.client.handle_datagram(self.now, addresses(), Ecn::NotEct, &mut datagram.clone());
            }
            self.hear();
            if !forth.is_empty() || !back.is_empty() {
                continue;
            }
            let timers = [self.client.next_timer(), self.server.next_timer()];
            match timers.into_iter().flatten().map(|(at, _)| at).min().filter(|at| *at <= end) {
                Some(at) => self.now = self.now.max(at),
                None => break,
            }
            self.client.on_timer(self.now);
            self.server.on_timer(self.now);
        }
        self.now = end;
    }

    fn accepted(&self) -> usize {
        self.heard.iter().filter(|event| **event == Event::EarlyData(EarlyStatus::Accepted)).count()
    }

    fn streams(&self) -> usize {
        self.heard.iter().filter(|event| matches!(event, Event::Stream(_))).count()
    }

    fn readable(&mut self) -> usize {
        let stream = StreamId::new(Role::Client, Direction::Bidirectional, 0);
        let handle = self.server.handles().next();
        let connection = handle.and_then(|handle| self.server.connection(handle));
        connection.map_or(0, |connection| connection.readable(stream))
    }

    fn closed(&self) -> Option<&CloseInfo> {
        self.heard.iter().find_map(|event| match event {
            Event::Closed(info) => Some(&**info),
            _ => None,
        })
    }
}

/// All datagrams an endpoint wants to send.
fn take(from: &mut Endpoint, now: Timestamp) -> Vec<Vec<u8>> {
    let mut buffer = vec![0; 65_535];
    let mut datagrams = Vec::new();
    while let Some(burst) = from.poll_transmit(now, &mut buffer, &SendLimits::default()) {
        datagrams.extend(buffer[..burst.len].chunks(burst.segment_size).map(<[u8]>::to_vec));
        from.on_submitted(&burst, burst.segments, now);
    }
    datagrams
}

fn give(server: &mut Endpoint, now: Timestamp, datagram: &[u8]) {
    server.handle_datagram(now, reverse(addresses()), Ecn::NotEct, &mut datagram.to_vec());
}

/// attacks B19.
#[test]
fn attack_b19_a_replayed_first_flight_is_taken_once_over_all_servers_that_share_tickets() -> Result<(), Failure> {
    let mut world = World::new()?;
    let flight = world.early_flight(2_000)?;
    flight.iter().for_each(|datagram| world.give_server(datagram));
    assert_eq!((world.accepted(), world.readable()), (1, 2_000));
    for round in 0..100 {
        let mut other = Endpoint::new(EndpointConfig::default(), [5; 32]);
        other.listen(Some(Arc::clone(&world.listen)));
        flight.iter().for_each(|datagram| give(&mut other, world.now, datagram));
        assert_eq!(other.len(), 1, "round {round}: a connection begins");
        while let Some((_, event)) = other.poll_event() {
            assert!(!matches!(event, Event::EarlyData(EarlyStatus::Accepted) | Event::Stream(_)), "round {round}: {event:?}");
        }
    }
    Ok(())
}

/// attacks B19.
#[test]
fn attack_b19_the_same_server_takes_a_first_flight_once_also_when_the_connection_is_gone() -> Result<(), Failure> {
    let mut world = World::new()?;
    let flight = world.early_flight(2_000)?;
    for round in 0..20 {
        for datagram in flight.iter().chain(&flight) {
            world.give_server(datagram);
        }
        assert_eq!(world.accepted(), 1, "round {round}");
        assert_eq!(world.server.len(), 1, "round {round}");
        world.client = Endpoint::new(EndpointConfig::default(), [6; 32]);
        world.run(secs(30));
        assert!(world.server.is_empty(), "round {round}: the handshake timed out");
        assert_eq!(world.streams(), 2, "round {round}: the stream was told of once, and that it is readable");
    }
    Ok(())
}

/// RFC 9000 §5.2.2, attacks L1.
#[test]
fn early_packets_that_overtake_the_initial_packet_are_taken_when_it_comes() -> Result<(), Failure> {
    let mut world = World::new()?;
    let flight = world.early_flight(4_000)?;
    assert!(flight.len() >= 4);
    flight.iter().skip(1).for_each(|datagram| world.give_server(datagram));
    assert!(world.server.is_empty(), "no connection begins with 0-RTT");
    assert_eq!(world.server.statistics().waiting_datagrams, flight.len() as u64 - 1);
    world.give_server(&flight[0]);
    assert_eq!(world.readable(), 4_000);
    assert_eq!(world.server.statistics().waiting_datagrams, 0);
    world.run(secs(1));
    assert!(world.heard.contains(&Event::Confirmed));
    Ok(())
}

/// attacks L1, L3, R5.
#[test]
fn attack_l3_early_packets_without_an_initial_packet_are_bounded_and_given_up() -> Result<(), Failure> {
    let mut world = World::new()?;
    let flight = world.early_flight(12_000)?;
    let last = flight.last().ok_or_else(|| failure("no flight"))?.clone();
    for _ in 0..100 {
        world.give_server(&last);
    }
    let waiting = world.server.statistics().waiting_datagrams;
    assert!((1..=limits::UNDECRYPTABLE_PACKETS as u64).contains(&waiting), "{waiting}");
    assert!(take(&mut world.server, world.now).is_empty(), "no answer (attacks R7)");
    world.client = Endpoint::new(EndpointConfig::default(), [6; 32]);
    world.run(secs(2));
    let after = world.server.statistics();
    assert_eq!((after.waiting_datagrams, after.connections, after.routes), (0, 0, 0));
    assert_eq!(world.server.next_timer(), None);

    let mut modest = Endpoint::new(EndpointConfig::default(), [7; 32]);
    modest.listen(Some(configs(Early::Refused)?.1));
    give(&mut modest, world.now, &last);
    assert_eq!(modest.statistics().waiting_datagrams, 0, "a server without early data keeps nothing");
    Ok(())
}

/// Shows 9001-4.9.3-4.
#[test]
fn early_packets_that_come_long_after_the_handshake_are_dropped() -> Result<(), Failure> {
    for (late, dropped) in [(ms(20), 0), (secs(5), 1)] {
        let mut world = World::new()?;
        let flight = world.early_flight(3_000)?;
        let (straggler, first) = flight.split_last().ok_or_else(|| failure("no flight"))?;
        first.iter().for_each(|datagram| world.give_server(datagram));
        world.run(late);
        let handle = world.server.handles().next().ok_or_else(|| failure("no connection"))?;
        world.give_server(straggler);
        let connection = world.server.connection(handle).ok_or_else(|| failure("no connection"))?;
        assert!(connection.is_handshake_complete());
        assert_eq!(connection.drops().get(DropReason::NoKeys), dropped, "{late:?}");
    }
    Ok(())
}

/// Shows 9001-5.6-6.
#[test]
fn a_client_drops_early_packets() -> Result<(), Failure> {
    let mut world = World::new()?;
    let mut flight = world.early_flight(3_000)?;
    let handle = world.client.handles().next().ok_or_else(|| failure("no connection"))?;
    let early = flight.pop().ok_or_else(|| failure("no flight"))?;
    // Back to the sender: its own id stands where the packet has its source.
    let mut mirrored = early.clone();
    let (dcid, scid) = (early[6..14].to_vec(), early[15..23].to_vec());
    mirrored[6..14].copy_from_slice(&scid);
    mirrored[15..23].copy_from_slice(&dcid);
    world.client.handle_datagram(world.now, addresses(), Ecn::NotEct, &mut mirrored);
    let connection = world.client.connection(handle).ok_or_else(|| failure("no connection"))?;
    assert_eq!(connection.drops().get(DropReason::NoKeys), 1);
    Ok(())
}

/// What an evil client with a good ticket sends: a ClientHello, and these frames in a 0-RTT packet behind it.
fn evil_flight(world: &World, frames: &[Frame<'_>]) -> Result<Vec<u8>, Failure> {
    let cid = |bytes: &[u8]| ConnectionId::new(bytes).ok_or_else(|| failure("too long"));
    let (dcid, scid) = (cid(b"original")?, cid(b"evilevil")?);
    let parameters = TransportParameters { initial_source_connection_id: Some(scid), ..TransportParameters::default() };
    let mut encoded = Vec::new();
    parameters.write(&mut encoded, Role::Client, None);
    let key = world.dial.tls.session_key(NAME, addresses().remote.port());
    let mut tls = Session::resume(&world.dial.tls, &key, NAME, &encoded, VERSION_1).map_err(failure)?;
    let early = tls.early_keys().ok_or_else(|| failure("no early keys"))?;
    let mut hello = Vec::new();
    tls.write(&mut hello);
    let envelope = |level| Envelope { level, path: PathId::ZERO, dcid, scid, number: 0, first_bits: 0 };
    let initial = Keys::initial(VERSION_1, &dcid, Role::Client);
    let crypto = encode(&[Frame::Crypto(frame::Crypto { offset: 0, data: &hello })]);
    let mut datagram = seal_long(&envelope(EncryptionLevel::Initial), &initial, &crypto)?;
    let keys = Keys { local: early, remote: Keys::initial(VERSION_1, &dcid, Role::Client).remote };
    datagram.extend(seal_long(&envelope(EncryptionLevel::ZeroRtt), &keys, &encode(frames))?);
    datagram.resize(datagram.len().max(limits::MIN_INITIAL), 0);
    Ok(datagram)
}

/// attacks B20, B13.
/// Shows 9001-8.3-2.
#[test]
fn attack_b20_frames_that_0rtt_may_not_carry_are_violations() -> Result<(), Failure> {
    let frames = [
        ack(None, &(0..=0)),
        ack(Some(PathId::ZERO), &(0..=0)),
        Frame::Crypto(frame::Crypto { offset: 0, data: &[5, 0, 0, 0] }),
        Frame::HandshakeDone,
        Frame::NewToken(frame::NewToken { token: b"token" }),
        Frame::PathResponse(frame::PathResponse { data: [0; 8] }),
        Frame::RetireConnectionId(frame::RetireConnectionId { path: None, sequence: 0 }),
        Frame::MaxPathId(frame::MaxPathId { maximum: PathId(7) }),
    ];
    for forbidden in frames {
        let mut world = World::new()?;
        let flight = evil_flight(&world, std::slice::from_ref(&forbidden))?;
        world.give_server(&flight);
        assert_eq!(world.accepted(), 1, "{forbidden:?}");
        let end = world.closed().map(|end| (end.code, end.frame_type));
        assert_eq!(end, Some((ErrorCode::PROTOCOL_VIOLATION.0, Some(forbidden.frame_type()))), "{forbidden:?}");
    }
    Ok(())
}

#[test]
fn frames_that_0rtt_may_carry_are_taken_and_answered_only_after_the_handshake() -> Result<(), Failure> {
    let mut world = World::new()?;
    let stream = StreamId::new(Role::Client, Direction::Bidirectional, 0);
    let frames = [
        Frame::Ping,
        Frame::PathChallenge(frame::PathChallenge { data: [1; 8] }),
        Frame::Stream(frame::Stream { stream, offset: 0, fin: false, data: b"hello" }),
        Frame::MaxData(frame::MaxData { maximum: 5 }),
    ];
    let flight = evil_flight(&world, &frames)?;
    world.give_server(&flight);
    assert_eq!(world.closed(), None);
    assert_eq!(world.readable(), 5);
    let answer: usize = take(&mut world.server, world.now).iter().map(Vec::len).sum();
    assert!((1..=3 * flight.len()).contains(&answer), "{answer}");
    Ok(())
}
