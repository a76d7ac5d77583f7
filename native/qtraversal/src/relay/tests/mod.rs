//! The relay's rules: who is forwarded to, and what never happens (traversal V4, attacks G11).

use std::{net::IpAddr, time::Duration};

use proptest::prelude::*;

use super::*;
use crate::address::{
    tests::{address, any_endpoint, endpoint},
    wire::Family,
};

mod moves;

const R1: &str = "9.1.1.1:3478";
const R2: &str = "9.2.2.2:3478";
const ALICE: &str = "8.1.1.1:40001";
const BOB: &str = "8.2.2.2:40002";

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(seconds * 1_000)
}

fn relay_with(agent: &str, config: RelayConfig) -> Relay {
    Relay::new(RelayConfig { agent: vec![address(agent)], ..config }, 1)
}

fn relay(agent: &str, clients: &[&str]) -> Relay {
    let mut relay = relay_with(agent, RelayConfig::default());
    for client in clients {
        relay.registrations_mut().register(address(client), None, at(0)).unwrap();
        relay.registrations_mut().on_keep_alive(address(client), at(0)).unwrap();
    }
    relay
}

fn datagram(source: &str, destination: &str, quic: &[u8]) -> Vec<u8> {
    let stamp = ForwardHeader { source: endpoint(source), destination: endpoint(destination) }.stamp().unwrap();
    let mut datagram = vec![0; stamp.size()];
    datagram.extend_from_slice(quic);
    stamp.fill(&mut datagram).unwrap();
    datagram
}

fn behind(agent: &str, outer: &str) -> String {
    format!("{agent}-{outer}")
}

/// Where the agent of every test has its socket: behind a NAT of one address to one.
const SOCKET: &str = "10.1.1.1:3478";

fn route_train<'a>(relay: &mut Relay, now: Timestamp, from: &str, mut train: &'a [u8], segment_len: usize) -> Vec<(Run<'a>, Route)> {
    let link = FourTuple { local: address(SOCKET), remote: address(from) };
    let mut routes = Vec::new();
    while let Some(run) = Run::first(train, segment_len) {
        train = &train[run.bytes.len()..];
        routes.push((run, relay.route(now, link, &run)));
    }
    routes
}

fn route(relay: &mut Relay, now: Timestamp, from: &str, datagram: &[u8]) -> Route {
    let routes = route_train(relay, now, from, datagram, datagram.len());
    assert_eq!(routes.len(), 1);
    assert_eq!(routes[0].0.bytes, datagram, "byte for byte");
    routes[0].1
}

/// traversal V4, T-30, T-33.
#[test]
fn a_datagram_for_a_registered_client_goes_to_it() {
    let mut relay = relay(R1, &[BOB]);
    let datagram = datagram("8.9.9.9:1000", &behind(R1, BOB), &[0x45; 1_200]);
    assert_eq!(route(&mut relay, at(1), "8.9.9.9:1000", &datagram), Route::Send(address(BOB)));
    assert_eq!(relay.forwarded(), Forwarded { datagrams: 1, bytes: 1_220 });
    assert_eq!(relay.drops().total(), 0);
}

/// traversal V4, T-33, attacks G11: no open relay.
#[test]
fn attack_g11_nobody_but_a_registered_and_living_client_is_forwarded_to() {
    let datagram = datagram("8.9.9.9:1000", &behind(R1, BOB), b"quic");
    let mut fresh = relay(R1, &[]);
    assert_eq!(route(&mut fresh, at(0), "8.9.9.9:1000", &datagram), Route::Drop(Dropped::NotRegistered));
    // A keep-alive without credentials registers nobody.
    fresh.registrations_mut().on_keep_alive(address(BOB), at(0)).unwrap();
    assert_eq!(route(&mut fresh, at(0), "8.9.9.9:1000", &datagram), Route::Drop(Dropped::NotRegistered));
    // Credentials without a keep-alive neither.
    fresh.registrations_mut().register(address(BOB), Some(at(100)), at(0)).unwrap();
    assert_eq!(route(&mut fresh, at(0), "8.9.9.9:1000", &datagram), Route::Drop(Dropped::Silent));
    fresh.registrations_mut().on_keep_alive(address(BOB), at(1)).unwrap();
    assert_eq!(route(&mut fresh, at(61), "8.9.9.9:1000", &datagram), Route::Send(address(BOB)));
    assert_eq!(route(&mut fresh, at(62), "8.9.9.9:1000", &datagram), Route::Drop(Dropped::Silent));
    fresh.registrations_mut().on_keep_alive(address(BOB), at(99)).unwrap();
    assert_eq!(route(&mut fresh, at(99), "8.9.9.9:1000", &datagram), Route::Send(address(BOB)));
    assert_eq!(route(&mut fresh, at(100), "8.9.9.9:1000", &datagram), Route::Drop(Dropped::NotRegistered), "credentials ended");
    fresh.registrations_mut().register(address(BOB), None, at(101)).unwrap();
    assert_eq!(route(&mut fresh, at(101), "8.9.9.9:1000", &datagram), Route::Send(address(BOB)));
    fresh.registrations_mut().remove(address(BOB));
    assert_eq!(route(&mut fresh, at(101), "8.9.9.9:1000", &datagram), Route::Drop(Dropped::NotRegistered));
    assert_eq!(fresh.drops().of(Dropped::NotRegistered), 4);
    assert_eq!(fresh.drops().of(Dropped::Silent), 2);
    assert_eq!(Dropped::NotRegistered.name(), "not_registered");
}

/// traversal T-33: the explicit option for profile `dquic`.
#[test]
fn without_credentials_only_the_explicit_option_registers_by_keep_alive() {
    let mut relay = relay_with(R1, RelayConfig { admission: Admission::Anyone, ..RelayConfig::default() });
    let datagram = datagram("8.9.9.9:1000", &behind(R1, BOB), b"quic");
    assert_eq!(route(&mut relay, at(0), "8.9.9.9:1000", &datagram), Route::Drop(Dropped::NotRegistered));
    relay.registrations_mut().on_keep_alive(address(BOB), at(0)).unwrap();
    assert_eq!(route(&mut relay, at(0), "8.9.9.9:1000", &datagram), Route::Send(address(BOB)));
}

/// traversal T-31.
#[test]
fn attack_g11_return_traffic_goes_out_only_for_the_client_that_it_comes_from() {
    let mut relay = relay(R1, &[ALICE]);
    let out = datagram(&behind(R1, ALICE), "8.7.7.7:4433", b"quic");
    assert_eq!(route(&mut relay, at(1), ALICE, &out), Route::Send(address("8.7.7.7:4433")));
    assert_eq!(route(&mut relay, at(1), "8.6.6.6:1", &out), Route::Drop(Dropped::Spoofed), "a stranger names the client");
    let own_name = datagram(&behind(R1, "8.6.6.6:1"), "8.7.7.7:4433", b"quic");
    assert_eq!(route(&mut relay, at(1), "8.6.6.6:1", &own_name), Route::Drop(Dropped::NotRegistered));
    assert_eq!(route(&mut relay, at(1), ALICE, &own_name), Route::Drop(Dropped::Spoofed), "the client names another");
}

/// attacks G11, G2.
#[test]
fn attack_g11_the_relay_sends_to_no_private_and_no_own_address() {
    let own = address(R1);
    let config = || RelayConfig { outer: vec![address("9.1.1.1:9999")], ..RelayConfig::default() };
    let mut plain = relay_with(R1, config());
    let allowed = vec![Prefix { ip: "10.0.0.0".parse::<IpAddr>().unwrap(), bits: 8 }];
    let mut lenient = relay_with(R1, RelayConfig { allowed, ..config() });
    for relay in [&mut plain, &mut lenient] {
        for client in [ALICE, "10.0.0.5:5", "192.168.0.5:5", "127.0.0.1:5", "203.0.113.5:5", R1] {
            relay.registrations_mut().register(address(client), None, at(0)).unwrap();
            relay.registrations_mut().on_keep_alive(address(client), at(0)).unwrap();
        }
    }
    let cases = [
        ("10.0.0.5:5", Dropped::NotGlobal),
        ("192.168.0.5:5", Dropped::NotGlobal),
        ("127.0.0.1:5", Dropped::NotGlobal),
        ("203.0.113.5:5", Dropped::NotGlobal),
        (R1, Dropped::Own),
    ];
    for (target, reason) in cases {
        let to_client = datagram("8.9.9.9:1", &behind(R1, target), b"quic");
        let direct = datagram(&behind(R1, ALICE), target, b"quic");
        assert_eq!(route(&mut plain, at(1), "8.9.9.9:1", &to_client), Route::Drop(reason), "{target}");
        assert_eq!(route(&mut plain, at(1), ALICE, &direct), Route::Drop(reason), "{target}");
        let expected = if target.starts_with("10.") { Route::Send(address(target)) } else { Route::Drop(reason) };
        assert_eq!(route(&mut lenient, at(1), "8.9.9.9:1", &to_client), expected, "{target}");
    }
    for target in ["224.0.0.1:5", "255.255.255.255:5", "8.7.7.7:0", "0.0.0.0:5"] {
        let direct = datagram(&behind(R1, ALICE), target, b"quic");
        assert_eq!(route(&mut plain, at(1), ALICE, &direct), Route::Drop(Dropped::Unusable), "{target}");
    }
    let outer = datagram("8.9.9.9:1", &behind(R2, "9.1.1.1:9999"), b"quic");
    assert_eq!(route(&mut plain, at(1), "8.9.9.9:1", &outer), Route::Deliver, "its own outer address is its own (T-30)");
    assert_eq!(own, address(R1));
}

/// attacks G11: the agent's socket has another address than the agent where a NAT stands before it.
#[test]
fn attack_g11_the_relay_sends_nothing_to_the_socket_it_came_by() {
    let allowed = vec![Prefix { ip: "10.0.0.0".parse::<IpAddr>().unwrap(), bits: 8 }];
    let mut relay = relay_with(R1, RelayConfig { allowed, ..RelayConfig::default() });
    for client in [ALICE, SOCKET] {
        relay.registrations_mut().register(address(client), None, at(0)).unwrap();
        relay.registrations_mut().on_keep_alive(address(client), at(0)).unwrap();
    }
    let direct = datagram(&behind(R1, ALICE), SOCKET, b"quic");
    assert_eq!(route(&mut relay, at(1), ALICE, &direct), Route::Drop(Dropped::Own));
    let around = datagram("8.9.9.9:1", &behind(R1, SOCKET), b"quic");
    assert_eq!(route(&mut relay, at(1), "8.9.9.9:1", &around), Route::Drop(Dropped::Own));
    assert_eq!(route(&mut relay, at(1), SOCKET, &datagram("8.9.9.9:1", &behind(R1, ALICE), b"quic")), Route::Drop(Dropped::Loop));
}

/// What was routed and did not leave is counted as dropped.
#[test]
fn a_run_without_room_is_dropped_and_not_forwarded() {
    let mut relay = relay(R1, &[BOB]);
    let train = datagram("8.9.9.9:1000", &behind(R1, BOB), &[0x45; 80]).repeat(4);
    assert_eq!(route_train(&mut relay, at(1), "8.9.9.9:1000", &train, 100).len(), 1);
    relay.on_unsent(3, 300);
    assert_eq!(relay.forwarded(), Forwarded { datagrams: 1, bytes: 100 });
    assert_eq!(relay.drops().of(Dropped::NoRoom), 3);
}

/// traversal V4, T-30: alice -> R1 -> R2 -> bob, and back.
#[test]
fn a_chain_of_two_relays_carries_a_datagram_unchanged() {
    let (mut first, mut second) = (relay(R1, &[ALICE]), relay(R2, &[BOB]));
    let there = datagram(&behind(R1, ALICE), &behind(R2, BOB), &[0x5a; 1_200]);
    assert_eq!(there.len(), 1_226);
    assert_eq!(route(&mut first, at(1), ALICE, &there), Route::Send(address(R2)));
    assert_eq!(route(&mut second, at(1), R1, &there), Route::Send(address(BOB)));
    let back = datagram(&behind(R2, BOB), &behind(R1, ALICE), &[0x5a; 1_200]);
    assert_eq!(route(&mut second, at(1), BOB, &back), Route::Send(address(R1)));
    assert_eq!(route(&mut first, at(1), R2, &back), Route::Send(address(ALICE)));
    // Straight to the other's relay works as well, and is what a sender does.
    assert_eq!(route(&mut second, at(1), ALICE, &there), Route::Send(address(BOB)));
    // Not for strangers: the next relay is reached by who is registered here.
    assert_eq!(route(&mut first, at(1), "8.6.6.6:1", &there), Route::Drop(Dropped::Spoofed));
}

/// traversal T-34, attacks G11: A -> B -> A.
#[test]
fn attack_g11_a_datagram_passes_a_relay_once() {
    let mut first = relay(R1, &[ALICE, BOB]);
    let around = datagram(&behind(R1, ALICE), &behind(R1, BOB), b"quic");
    assert_eq!(route(&mut first, at(1), ALICE, &around), Route::Send(address(BOB)));
    assert_eq!(route(&mut first, at(1), R2, &around), Route::Drop(Dropped::Loop), "it comes back by another relay");
    assert_eq!(route(&mut first, at(1), R1, &around), Route::Drop(Dropped::Loop), "from ourselves");
    assert_eq!(route(&mut first, at(1), "8.1.1.1:5", &around), Route::Send(address(BOB)), "a NAT gave a new port");
    // Two relays that point at each other by a client registered at both.
    let mut second = relay(R2, &[ALICE]);
    let ring = datagram(&behind(R2, ALICE), &behind(R2, R1), b"quic");
    assert_eq!(route(&mut second, at(1), ALICE, &ring), Route::Drop(Dropped::NotRegistered));
    // Two relays that are clients of each other.
    let (mut first, mut second) = (relay(R1, &[R2]), relay(R2, &[R1]));
    let ball = datagram(&behind(R2, R1), &behind(R1, R2), b"quic");
    assert_eq!(route(&mut first, at(1), R2, &ball), Route::Drop(Dropped::Loop), "back to where it came from");
    assert_eq!(route(&mut second, at(1), R1, &ball), Route::Drop(Dropped::Loop));
}

/// traversal T-30.
#[test]
fn a_node_that_is_no_agent_takes_what_is_its_own_and_forwards_nothing() {
    let mut node = Relay::new(RelayConfig { outer: vec![address(ALICE)], ..RelayConfig::default() }, 1);
    let direct = datagram(&behind(R2, BOB), "8.1.1.1:40001", b"quic");
    assert_eq!(route(&mut node, at(0), R2, &direct), Route::Deliver);
    let mine = datagram(&behind(R2, BOB), &behind(R1, ALICE), b"quic");
    assert_eq!(route(&mut node, at(0), R1, &mine), Route::Deliver);
    let others = datagram(&behind(R2, BOB), &behind(R1, BOB), b"quic");
    assert_eq!(route(&mut node, at(0), R1, &others), Route::Drop(Dropped::NoAgent));
}

/// traversal T-33: 1500 bytes.
#[test]
fn attack_g11_longer_datagrams_are_dropped() {
    let mut relay = relay(R1, &[BOB]);
    for (quic, expected) in [(1_480, Route::Send(address(BOB))), (1_481, Route::Drop(Dropped::TooLong))] {
        let datagram = datagram("8.9.9.9:1000", &behind(R1, BOB), &vec![0x45; quic]);
        assert_eq!(route(&mut relay, at(1), "8.9.9.9:1000", &datagram), expected, "{}", datagram.len());
    }
}

/// traversal T-33: token buckets of sources and of destinations.
#[test]
fn attack_g11_sources_and_destinations_have_a_rate() {
    let config = || RelayConfig { bytes_per_second: 1_000, burst_bytes: 3_000, ..RelayConfig::default() };
    let datagram = datagram("8.9.9.9:1000", &behind(R1, BOB), &[0x45; 980]);
    let ready = || {
        let mut relay = relay_with(R1, config());
        relay.registrations_mut().register(address(BOB), None, at(0)).unwrap();
        relay.registrations_mut().on_keep_alive(address(BOB), at(0)).unwrap();
        relay
    };
    let mut relay = ready();
    for _ in 0..3 {
        assert_eq!(route(&mut relay, at(1), "8.9.9.9:1000", &datagram), Route::Send(address(BOB)));
    }
    assert_eq!(route(&mut relay, at(1), "8.9.9.9:1001", &datagram), Route::Drop(Dropped::SourceRate));
    assert_eq!(route(&mut relay, at(2), "8.9.9.9:1001", &datagram), Route::Send(address(BOB)));
    let mut relay = ready();
    for n in 1..=3 {
        assert_eq!(route(&mut relay, at(1), &format!("8.9.{n}.9:1000"), &datagram), Route::Send(address(BOB)));
    }
    assert_eq!(route(&mut relay, at(1), "8.9.4.9:1000", &datagram), Route::Drop(Dropped::DestinationRate));
}

/// attacks R2: the table at its bound and one past it.
#[test]
fn as_many_clients_register_as_the_bound_and_silent_ones_make_room() {
    let mut relay = relay_with(R1, RelayConfig::default());
    let client = |n: usize| SocketAddr::from((std::net::Ipv4Addr::from(0x0800_0000 + n as u32), 5_000));
    let registrations = relay.registrations_mut();
    for n in 0..limits::RELAY_REGISTRATIONS {
        registrations.register(client(n), None, at(n as u64 / 1_000)).unwrap();
    }
    let extra = client(limits::RELAY_REGISTRATIONS);
    assert_eq!(registrations.register(extra, None, at(20)), Err(Full));
    assert_eq!(registrations.register(client(0), None, at(20)), Ok(()), "who is in renews");
    assert_eq!(registrations.len(), limits::RELAY_REGISTRATIONS);
    assert_eq!(registrations.register(extra, None, at(61) + Duration::from_millis(1)), Ok(()), "the silent ones went");
    assert!(registrations.len() < limits::RELAY_REGISTRATIONS);
    registrations.clean(at(1_000));
    assert!(registrations.is_empty());
}

/// attacks R2: where everybody may register, the table has the same bound.
#[test]
fn without_credentials_the_table_is_bounded_as_well() {
    let mut relay = relay_with(R1, RelayConfig { admission: Admission::Anyone, ..RelayConfig::default() });
    let client = |n: usize| SocketAddr::from((std::net::Ipv4Addr::from(0x0800_0000 + n as u32), 5_000));
    let registrations = relay.registrations_mut();
    for n in 0..limits::RELAY_REGISTRATIONS {
        registrations.on_keep_alive(client(n), at(0)).unwrap();
    }
    let extra = client(limits::RELAY_REGISTRATIONS);
    assert_eq!(registrations.on_keep_alive(extra, at(60)), Err(Full));
    assert_eq!(registrations.on_keep_alive(client(7), at(60)), Ok(()));
    assert_eq!(registrations.on_keep_alive(extra, at(61)), Ok(()));
    assert_eq!(registrations.len(), 2, "number 7 and the new one");
}

/// traversal T-32: a whole batch with one decision; neighbours with other headers are apart.
#[test]
fn a_train_is_cut_where_the_header_changes() {
    let mut relay = relay(R1, &[ALICE, BOB]);
    let to_bob = |first: u8| datagram("8.9.9.9:1000", &behind(R1, BOB), &[&[first][..], &[7; 79]].concat());
    let to_alice = datagram("8.9.9.9:1000", &behind(R1, ALICE), &[0x45; 80]);
    let mut train = [to_bob(0x41), to_bob(0x5f), to_alice, vec![0x41; 100], to_bob(0x42)].concat();
    train.extend_from_slice(&to_bob(0x43)[..50]);
    let routes: Vec<_> = route_train(&mut relay, at(1), "8.9.9.9:1000", &train, 100).into_iter().map(|(run, route)| (run.len(), run.bytes.len(), route)).collect();
    let (bob, alice) = (Route::Send(address(BOB)), Route::Send(address(ALICE)));
    assert_eq!(routes, [(2, 200, bob), (1, 100, alice), (1, 100, Route::Drop(Dropped::NoHeader)), (2, 150, bob)]);
    assert_eq!(relay.forwarded(), Forwarded { datagrams: 5, bytes: 450 });
    assert_eq!(relay.drops().of(Dropped::NoHeader), 1);
}

proptest! {
    /// attacks G11: bytes out never exceed bytes in, the runs are the train, and only registered clients are sent to.
    #[test]
    fn attack_g11_any_train_is_forwarded_at_most_once_and_only_to_clients(
        headers in prop::collection::vec((any_endpoint(Family::V4), prop::sample::select(vec![
            behind(R1, BOB), behind(R1, ALICE), behind(R2, BOB), BOB.to_owned(), R1.to_owned(), behind(R1, R1),
        ])), 1..6),
        junk in prop::collection::vec(any::<u8>(), 0..90),
        segment_len in 0..120_usize,
    ) {
        let mut relay = relay(R1, &[BOB]);
        let mut train = Vec::new();
        for (source, destination) in &headers {
            let header = ForwardHeader { source: *source, destination: destination.parse().unwrap() };
            let stamp = header.stamp().unwrap();
            let mut segment = vec![0x44; 60];
            stamp.fill(&mut segment).unwrap();
            train.extend_from_slice(&segment);
        }
        train.extend_from_slice(&junk);
        let mut sent = 0;
        let mut seen = Vec::new();
        let routes: Vec<_> = route_train(&mut relay, at(1), "8.9.9.9:1000", &train, segment_len);
        for (run, route) in routes {
            seen.extend_from_slice(run.bytes);
            if let Route::Send(target) = route {
                prop_assert_eq!(target, address(BOB));
                sent += run.bytes.len();
            }
        }
        prop_assert_eq!(&seen, &train);
        prop_assert!(sent <= train.len());
        prop_assert_eq!(relay.forwarded().bytes, sent as u64);
    }
}
