//! What a client sends to which address pair, byte by byte, in each mode of the handshake (multipath MP-87…MP-91; burst
//! B-110, B-111; attacks B27).

use std::{net::SocketAddr, time::Duration};

use qbase::{Ecn, FourTuple, Reader, Role, Timestamp, VERSION_1, frame::{Frame, PathStatusKind}, limits, packet::ProtectedHeader};
use qconnection::{
    ConnectionHandle, Endpoint, EndpointConfig, HandshakeMode, SendLimits, ServerConfig, TransportConfig,
    connection::{Afterwards, Attempt, Candidate},
};
use qcrypto::Keys;
use qsim::Failure;

use crate::common;
use common::{ends::{self, failure}, evil::wire, ms};

type Flight = Vec<(FourTuple, Vec<u8>)>;

/// multipath MP-89.
#[test]
fn in_a_race_every_pair_gets_byte_identical_copies_and_repetitions() -> Result<(), Failure> {
    let mut wire = Wire::new(HandshakeMode::Race, 3)?;
    let first = wire.poll()?;
    let repeated = wire.time_out()?;
    for flight in [first, repeated] {
        let of = |number: u8| flight.iter().filter(|(to, _)| *to == addresses(number)).map(|(_, bytes)| bytes.clone()).collect::<Vec<_>>();
        assert!(!of(1).is_empty());
        assert_eq!((of(1), of(1)), (of(2), of(3)));
    }
    assert_eq!(wire.attempts().iter().map(|attempt| attempt.copies > 0).collect::<Vec<_>>(), [false, true, true]);
    Ok(())
}

/// multipath MP-88.
#[test]
fn a_staggered_pair_gets_what_was_sent_before_it_started() -> Result<(), Failure> {
    let mut wire = Wire::new(HandshakeMode::Stagger(ms(300)), 3)?;
    let first = wire.poll()?;
    assert!(first.iter().all(|(to, _)| *to == addresses(1)));
    for number in [2, 3] {
        let copies = wire.time_out()?;
        assert_eq!(copies.iter().map(|(_, bytes)| bytes).collect::<Vec<_>>(), first.iter().map(|(_, bytes)| bytes).collect::<Vec<_>>());
        assert!(copies.iter().all(|(to, _)| *to == addresses(number)), "pair {number} is next");
    }
    let repeated = wire.time_out()?;
    assert_eq!(repeated.len() % 3, 0, "the repetition goes to all three");
    Ok(())
}

/// multipath MP-90; burst B-110, B-111.
#[test]
fn shared_pairs_get_packets_of_their_own_with_the_whole_hello() -> Result<(), Failure> {
    let mut wire = Wire::new(HandshakeMode::Shared, 4)?;
    let mut seen: Vec<Vec<u8>> = Vec::new();
    for flight in [wire.poll()?, wire.time_out()?] {
        for number in 1..=4 {
            assert!(flight.iter().any(|(to, _)| *to == addresses(number)), "pair {number}");
        }
        for (to, bytes) in flight {
            assert!(!seen.contains(&bytes), "no packet goes twice");
            let hello = wire.hello_of(to, &bytes)?;
            assert!(hello.len() > 200);
            assert_eq!(hello, wire.hello(), "all of the ClientHello");
            seen.push(bytes);
        }
    }
    Ok(())
}

/// multipath MP-87.
#[test]
fn a_single_handshake_tries_the_pairs_round_robin() -> Result<(), Failure> {
    let mut wire = Wire::new(HandshakeMode::Single, 3)?;
    let mut order = vec![wire.poll()?];
    for _ in 0..4 {
        order.push(wire.time_out()?);
    }
    for (flight, number) in order.iter().zip([1, 2, 3, 1, 2]) {
        assert!(!flight.is_empty() && flight.iter().all(|(to, _)| *to == addresses(number)), "{number}");
    }
    Ok(())
}

/// multipath MP-91.
#[test]
fn independent_pairs_get_attempts_with_ids_and_keys_of_their_own() -> Result<(), Failure> {
    let mut wire = Wire::new(HandshakeMode::Independent, 3)?;
    let flight = wire.poll()?;
    let of = |number: u8| flight.iter().find(|(to, _)| *to == addresses(number)).map(|(_, bytes)| bytes.get(6..14).unwrap_or_default().to_vec());
    let ids = [of(1), of(2), of(3)];
    assert!(ids.iter().all(Option::is_some) && ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2], "{ids:?}");
    Ok(())
}

/// multipath MP-91.
#[test]
fn independent_attempts_may_reach_different_machines() -> Result<(), Failure> {
    for answers in [1, 2] {
        let mut wire = Wire::new(HandshakeMode::Independent, 2)?;
        let mut machines: Vec<Endpoint> = (0..2).map(|machine| wire.machine(machine)).collect();
        for _ in 0..10 {
            for (to, mut bytes) in wire.poll()? {
                let Some(number) = (1..=2_u8).find(|number| *number == answers && addresses(*number) == to) else { continue };
                let machine = &mut machines[usize::from(number) - 1];
                machine.handle_datagram(wire.now, reverse(to), Ecn::NotEct, &mut bytes);
            }
            for machine in &mut machines {
                for (to, mut bytes) in flight_of(machine, wire.now) {
                    wire.client.handle_datagram(wire.now, reverse(to), Ecn::NotEct, &mut bytes);
                }
            }
        }
        let connection = wire.client.connection(wire.handle).ok_or_else(|| failure("no connection"))?;
        assert!(connection.is_confirmed(), "machine {answers} answered");
        assert_eq!(connection.path(qbase::PathId::ZERO).map(|path| path.four_tuple), Some(addresses(answers)));
    }
    Ok(())
}

/// Another address of the server in place of the one a path was asked for: nothing is left to open.
#[test]
fn a_pair_in_place_of_another_fulfils_its_request() -> Result<(), Failure> {
    for mode in [HandshakeMode::Race, HandshakeMode::Shared, HandshakeMode::Independent, HandshakeMode::Stagger(ms(50))] {
        let mut wire = Wire::over(mode, &[Afterwards::Path(PathStatusKind::Available.into()), Afterwards::InsteadOf(0)])?;
        let mut server = wire.machine(0);
        let mut flight = wire.poll()?;
        flight.extend(wire.time_out()?);
        for _ in 0..20 {
            for (to, mut bytes) in flight.drain(..).filter(|(to, _)| *to == addresses(2)) {
                server.handle_datagram(wire.now, reverse(to), Ecn::NotEct, &mut bytes);
            }
            for (to, mut bytes) in flight_of(&mut server, wire.now) {
                wire.client.handle_datagram(wire.now, reverse(to), Ecn::NotEct, &mut bytes);
            }
            flight = wire.poll()?;
        }
        let connection = wire.client.connection(wire.handle).ok_or_else(|| failure("no connection"))?;
        assert!(connection.is_confirmed(), "{mode:?}");
        let paths: Vec<FourTuple> = connection.paths().map(|path| path.four_tuple).collect();
        assert_eq!(paths, [addresses(2)], "{mode:?}");
    }
    Ok(())
}

// ---- attacks ----

/// An attacker answers first: only what is authentic counts.
#[test]
fn attack_b27_garbage_that_comes_first_locks_no_pair() -> Result<(), Failure> {
    for mode in [HandshakeMode::Race, HandshakeMode::Shared, HandshakeMode::Stagger(ms(100)), HandshakeMode::Independent] {
        let mut wire = Wire::new(mode, 2)?;
        let flight = wire.poll()?;
        let (_, real) = flight.first().cloned().ok_or_else(|| failure("nothing was sent"))?;
        for seed in 0..200_u8 {
            let mut garbage = real.clone();
            for (at, byte) in garbage.iter_mut().enumerate().skip(usize::from(seed % 40)) {
                *byte ^= seed.wrapping_mul(at as u8 | 1);
            }
            wire.client.handle_datagram(wire.now, addresses(2), Ecn::NotEct, &mut garbage);
        }
        let mut reflected = real;
        wire.client.handle_datagram(wire.now, addresses(2), Ecn::NotEct, &mut reflected);
        assert!(wire.attempts().iter().all(|attempt| attempt.answered_at.is_none()), "{mode:?}");
        let mut server = wire.machine(0);
        for _ in 0..10 {
            for (to, mut bytes) in flight.iter().cloned().chain(wire.poll()?).filter(|(to, _)| *to == addresses(1)) {
                server.handle_datagram(wire.now, reverse(to), Ecn::NotEct, &mut bytes);
            }
            for (to, mut bytes) in flight_of(&mut server, wire.now) {
                wire.client.handle_datagram(wire.now, reverse(to), Ecn::NotEct, &mut bytes);
            }
        }
        assert!(wire.client.connection(wire.handle).is_some_and(|connection| connection.is_confirmed()), "{mode:?}");
    }
    Ok(())
}

/// A client's first flight, seen on its way and sent again from many addresses: each gets three times its bytes at most, and
/// the server remembers a bounded number of them.
#[test]
fn attack_b27_replays_from_other_addresses_get_three_times_their_bytes_each() -> Result<(), Failure> {
    for mode in [HandshakeMode::Race, HandshakeMode::Shared] {
        let mut wire = Wire::new(mode, 3)?;
        let mut server = wire.machine(0);
        let flight = wire.poll()?;
        let mut sent: std::collections::BTreeMap<SocketAddr, (u64, u64)> = std::collections::BTreeMap::new();
        for round in 0..60_u64 {
            let victims = (10..10 + 2 * limits::HANDSHAKE_ADDRESSES as u8).map(addresses);
            let from = flight.iter().map(|(to, _)| *to).chain(victims.filter(|_| round % 5 == 1));
            for (from, (_, bytes)) in from.zip(flight.iter().cycle()) {
                sent.entry(from.local).or_default().0 += bytes.len() as u64;
                server.handle_datagram(wire.now, reverse(from), Ecn::NotEct, &mut bytes.clone());
            }
            for (to, bytes) in flight_of(&mut server, wire.now) {
                sent.entry(to.remote).or_default().1 += bytes.len() as u64;
            }
            wire.now += ms(500);
            server.on_timer(wire.now);
        }
        assert!(sent.values().all(|(received, sent)| *sent <= 3 * received), "{mode:?}: {sent:?}");
        let answered = sent.values().filter(|(_, sent)| *sent > 0).count();
        assert!(answered > 1 && answered <= limits::HANDSHAKE_ADDRESSES, "{mode:?}: {answered} addresses got an answer");
    }
    Ok(())
}

/// The bound of addresses, and one past it: a client of its own is heard even if strangers took all places.
#[test]
fn attack_b27_copies_leave_room_for_the_client_itself() -> Result<(), Failure> {
    let mut wire = Wire::new(HandshakeMode::Single, 2)?;
    let mut server = wire.machine(0);
    let flight = wire.poll()?;
    for from in std::iter::once(1).chain(20..20 + limits::HANDSHAKE_ADDRESSES as u8).map(addresses) {
        for (_, bytes) in &flight {
            server.handle_datagram(wire.now, reverse(from), Ecn::NotEct, &mut bytes.clone());
        }
    }
    // What was answered so far never reaches the client; it goes on over its second pair.
    flight_of(&mut server, wire.now);
    let repeated = wire.time_out()?;
    assert!(repeated.iter().all(|(to, _)| *to == addresses(2)));
    for (to, mut bytes) in repeated {
        server.handle_datagram(wire.now, reverse(to), Ecn::NotEct, &mut bytes);
    }
    for _ in 0..10 {
        for (to, mut bytes) in flight_of(&mut server, wire.now) {
            wire.client.handle_datagram(wire.now, reverse(to), Ecn::NotEct, &mut bytes);
        }
        for (to, mut bytes) in wire.poll()? {
            server.handle_datagram(wire.now, reverse(to), Ecn::NotEct, &mut bytes);
        }
    }
    assert!(wire.client.connection(wire.handle).is_some_and(|connection| connection.is_confirmed()));
    Ok(())
}

// ---- helpers ----

/// A client that has dialled over some pairs, and no network.
struct Wire {
    now: Timestamp,
    client: Endpoint,
    handle: ConnectionHandle,
    server: std::sync::Arc<ServerConfig>,
    /// Destination of the client's first packets, by pair.
    hello: Option<Vec<u8>>,
}

/// Pair `number` as the client sees it.
fn addresses(number: u8) -> FourTuple {
    FourTuple { local: SocketAddr::from(([192, 0, 2, number], 51_000)), remote: SocketAddr::from(([198, 51, 100, number], 4_433)) }
}

const fn reverse(four_tuple: FourTuple) -> FourTuple {
    FourTuple { local: four_tuple.remote, remote: four_tuple.local }
}

/// All that an endpoint sends now.
fn flight_of(endpoint: &mut Endpoint, now: Timestamp) -> Flight {
    let mut buffer = vec![0; 65_535];
    let mut flight = Vec::new();
    while let Some(burst) = endpoint.poll_transmit(now, &mut buffer, &SendLimits::default()) {
        endpoint.on_submitted(&burst, burst.segments, now);
        let datagrams = buffer[..burst.len].chunks(burst.segment_size);
        flight.extend(datagrams.map(|datagram| (burst.four_tuple, datagram.to_vec())));
    }
    flight
}

impl Wire {
    fn new(handshake: HandshakeMode, pairs: u8) -> Result<Self, Failure> {
        Self::over(handshake, &vec![Afterwards::Path(PathStatusKind::Available.into()); usize::from(pairs)])
    }

    fn over(handshake: HandshakeMode, pairs: &[Afterwards]) -> Result<Self, Failure> {
        let transport = TransportConfig { handshake, handshake_timeout: Duration::ZERO, idle_timeout: Duration::ZERO, ..TransportConfig::default() };
        let (client, server) = ends::configs(1, transport, TransportConfig::default())?;
        let mut endpoint = Endpoint::new(EndpointConfig::default(), [5; 32]);
        let candidates: Vec<Candidate> =
            (1..).zip(pairs).map(|(number, afterwards)| Candidate { four_tuple: addresses(number), afterwards: *afterwards }).collect();
        let now = Timestamp::from_millis(1_000);
        let handle = endpoint.connect_over(now, &client, ends::NAME, &candidates).map_err(failure)?;
        Ok(Self { now, client: endpoint, handle, server, hello: None })
    }

    /// A server of its own.
    fn machine(&self, seed: u8) -> Endpoint {
        let mut endpoint = Endpoint::new(EndpointConfig { secret: [seed; 32], ..EndpointConfig::default() }, [seed.wrapping_add(100); 32]);
        endpoint.listen(Some(std::sync::Arc::clone(&self.server)));
        endpoint
    }

    #[expect(clippy::unnecessary_wraps, reason = "reads like the other steps")]
    fn poll(&mut self) -> Result<Flight, Failure> {
        Ok(flight_of(&mut self.client, self.now))
    }

    /// What is sent when the next timer fires.
    fn time_out(&mut self) -> Result<Flight, Failure> {
        let (at, _) = self.client.next_timer().ok_or_else(|| failure("no timer"))?;
        self.now = self.now.max(at);
        self.client.on_timer(self.now);
        self.poll()
    }

    fn attempts(&self) -> Vec<Attempt> {
        self.client.connection(self.handle).map(|connection| connection.attempts().collect()).unwrap_or_default()
    }

    /// CRYPTO bytes of the Initial packet in a datagram of the client.
    fn hello_of(&mut self, to: FourTuple, datagram: &[u8]) -> Result<Vec<u8>, Failure> {
        let mut packet = datagram.to_vec();
        let header = ProtectedHeader::parse(&packet, limits::LOCAL_CID_LEN).map_err(|error| failure(format!("{to:?}: {error:?}")))?;
        let keys = Keys::initial(VERSION_1, &header.dcid, Role::Server);
        packet.truncate(header.end);
        let (_, payload) = wire::open_long(&keys, &mut packet, header.pn_offset, None).ok_or_else(|| failure("not an Initial packet"))?;
        let mut reader = Reader::new(&payload);
        let mut hello = Vec::new();
        while !reader.is_empty() {
            if let Frame::Crypto(crypto) = Frame::decode(&mut reader).map_err(|error| failure(format!("{error:?}")))? {
                hello.extend_from_slice(crypto.data);
            }
        }
        self.hello.get_or_insert_with(|| hello.clone());
        Ok(hello)
    }

    /// The first ClientHello that was seen.
    fn hello(&self) -> Vec<u8> {
        self.hello.clone().unwrap_or_default()
    }
}
