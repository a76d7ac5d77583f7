//! Endpoints that are relays: what they pass on, how it leaves, and what no stranger gets out of them (traversal V4,
//! T-30…T-34; attacks G11).
//!
//! Every host is a real endpoint with one address on a network that takes 10 ms a hop; nobody helps the relays.

use std::{collections::{BTreeMap, BTreeSet}, net::SocketAddr, sync::Arc, time::Duration};

use qbase::{Direction, Ecn, FourTuple, PathId, StreamId, Timestamp, limits};
use qconnection::{
    ClientConfig, ConnectionHandle, Endpoint, EndpointConfig, Received, SendLimits, ServerConfig, TransportConfig,
    config::Spin,
    endpoint::{AddressRange, BlockList, nat::{NatNews, RunFate, StunAsk, Ticket}, pathways::Registration},
};
use qevent::DropReason;
use qsim::Failure;
use qtraversal::{
    forward::{ForwardHeader, Stamp},
    relay::{Dropped, Relay, RelayConfig},
    stun::{Form, Forms, Patience},
};

use crate::common;
use common::{ends::{self, failure}, ms, secs};

#[test]
fn two_clients_of_a_relay_talk_through_it() -> Result<(), Failure> {
    let mut net = Net::new(&[R1])?;
    net.admit(R1, ALICE)?;
    net.admit(R1, BOB)?;
    let handle = net.connect(behind(R1, ALICE), behind(R1, BOB))?;
    net.run_until(secs(5), |net| net.is_confirmed(handle))?;
    let stream = net.write(handle, 250_000)?;
    net.run_until(secs(10), |net| net.received(stream) == 250_000)?;
    let (into, out): (Vec<_>, Vec<_>) = (net.hops_to(R1), net.hops_from(R1));
    assert!(out.len() > 200 && into.starts_with(&out), "byte for byte, in order, nothing of its own");
    assert!(net.hops.iter().filter(|hop| hop.from == address(R1)).all(|hop| hop.hop_limit == Some(64)), "T-32");
    assert!(net.hops.iter().all(|hop| [hop.from, hop.to].contains(&address(R1))), "all of it goes over the relay");
    let initials: Vec<_> = into.iter().filter_map(|bytes| ForwardHeader::strip(bytes)).filter(|inner| inner.quic[0] & 0xf0 == 0xc0).collect();
    assert!(initials.len() > 1 && initials.iter().all(|inner| inner.quic.len() >= limits::MIN_INITIAL));
    let forwarded = net.relay(R1)?.forwarded();
    assert_eq!((forwarded.datagrams, net.relay(R1)?.drops().total()), (out.len() as u64, 0));
    Ok(())
}

/// Each sends to the other's relay, which is the first that knows where the other is (traversal T-2).
#[test]
fn peers_behind_different_relays_talk_through_both() -> Result<(), Failure> {
    let mut net = Net::new(&[R1, R2])?;
    net.admit(R1, ALICE)?;
    net.admit(R2, BOB)?;
    let handle = net.connect(behind(R1, ALICE), behind(R2, BOB))?;
    net.run_until(secs(5), |net| net.is_confirmed(handle))?;
    let stream = net.write(handle, 100_000)?;
    net.run_until(secs(10), |net| net.received(stream) == 100_000)?;
    for relay in [R1, R2] {
        assert!(net.hops_to(relay).starts_with(&net.hops_from(relay)));
        assert!(net.relay(relay)?.forwarded().datagrams > 10);
    }
    Ok(())
}

/// traversal V4, T-30: a client hands its relay what is for a client of another one.
#[test]
fn a_chain_of_two_relays_passes_a_datagram_on_unchanged() -> Result<(), Failure> {
    let mut net = Net::new(&[R1, R2])?;
    net.admit(R1, ALICE)?;
    net.admit(R2, BOB)?;
    let datagram = forwarded(behind(R1, ALICE), behind(R2, BOB), &nonsense(1_200));
    net.inject(ALICE, R1, Ecn::Ect0, &datagram);
    net.settle()?;
    let way: Vec<_> = net.hops.iter().map(|hop| (hop.from, hop.to, hop.ecn, hop.bytes.clone())).collect();
    let hop = |from: &str, to: &str| (address(from), address(to), Ecn::Ect0, datagram.clone());
    assert_eq!(way, [hop(ALICE, R1), hop(R1, R2), hop(R2, BOB)], "with the mark it had");
    Ok(())
}

/// The header is no part of the datagram: Initials keep 1,200 bytes, and what the narrow hop behind the relay carries is found by
/// probes from end to end (burst B-79, traversal T-24).
#[test]
fn the_size_of_a_relayed_path_is_that_of_its_narrowest_hop() -> Result<(), Failure> {
    let mut net = Net::new(&[R1])?;
    net.admit(R1, ALICE)?;
    net.admit(R1, BOB)?;
    net.narrow = Some((address(BOB), 1_300));
    let handle = net.connect(behind(R1, ALICE), behind(R1, BOB))?;
    net.run_until(secs(5), |net| net.is_confirmed(handle))?;
    for _ in 0..20 {
        let stream = net.write(handle, 250_000)?;
        net.run_until(secs(10), |net| net.received(stream) == 250_000)?;
    }
    let path = net.host(ALICE)?.connection(handle).and_then(|connection| connection.paths().find(|path| path.id == PathId::ZERO));
    let mtu = path.ok_or_else(|| failure("no path"))?.mtu;
    assert!((1_200..=1_300 - 26).contains(&mtu), "{mtu}");
    assert!(mtu > 1_250, "{mtu}: it was searched for");
    assert!(net.lost_to_size > 0);
    Ok(())
}

/// Where connections of the relay's own come in by the same socket (traversal T-12): a known connection id wins.
#[test]
fn a_relay_has_connections_of_its_own_and_their_spin_bit_is_no_header() -> Result<(), Failure> {
    let mut net = Net::new(&[R1])?;
    net.admit(R1, ALICE)?;
    let direct = FourTuple { local: address(ALICE), remote: address(R1) };
    let (now, config) = (net.now, Arc::clone(&net.config));
    let handle = net.host(ALICE)?.connect(now, &config, ends::NAME, direct).map_err(failure)?;
    net.run_until(secs(5), |net| net.is_confirmed(handle))?;
    let stream = net.write(handle, 200_000)?;
    net.run_until(secs(10), |net| net.received(stream) == 200_000)?;
    let spun = net.hops_to(R1).iter().filter(|bytes| bytes[0] & 0xe0 == 0x60).count();
    assert!(spun > 10, "{spun} packets with the bit set");
    let relay = net.relay(R1)?;
    assert_eq!((relay.forwarded().datagrams, relay.drops().total()), (0, 0));
    Ok(())
}

#[test]
fn the_end_of_a_registration_is_the_end_of_forwarding() -> Result<(), Failure> {
    let mut net = Net::new(&[R1])?;
    net.admit(R1, ALICE)?;
    net.admit(R1, BOB)?;
    let handle = net.connect(behind(R1, ALICE), behind(R1, BOB))?;
    net.run_until(secs(5), |net| net.is_confirmed(handle))?;
    net.relay(R1)?.registrations_mut().remove(address(BOB));
    let sent = net.hops_from(R1).len();
    let _ = net.write(handle, 10_000)?;
    let until = net.now + secs(2);
    net.run_until(secs(3), |net| net.now >= until)?;
    assert_eq!(net.hops_from(R1).iter().skip(sent).filter(|bytes| destination(bytes) == Some(address(BOB))).count(), 0);
    assert!(net.relay(R1)?.drops().of(Dropped::NotRegistered) > 0);
    Ok(())
}

/// traversal T-33: STUN answered on the relay's socket is a sign of life, and lasts for a minute.
#[test]
fn a_client_is_forwarded_to_while_it_asks_the_relay_by_stun() -> Result<(), Failure> {
    let mut net = Net::new(&[R1])?;
    let server = qtraversal::stun::ServerConfig { sockets: vec![address(R1)], neighbours: Vec::new() };
    net.host(R1)?.serve_stun(Some(server), Forms::ALL);
    let now = net.now;
    net.relay(R1)?.registrations_mut().register(address(BOB), None, now).map_err(failure)?;
    net.host(BOB)?.add_registration(Registration { local: address(BOB), own: behind(R1, BOB) }).map_err(failure)?;
    let datagram = forwarded(direct(STRANGER), behind(R1, BOB), &nonsense(100));
    for (wait, keeps, reaches) in [(ms(0), false, 0), (ms(0), true, 1), (secs(59), false, 2), (secs(2), false, 2), (ms(0), true, 3)] {
        net.now += wait;
        if keeps {
            let (now, patience) = (net.now, Patience::SHORT);
            let ask = StunAsk { ticket: Ticket(1), local: address(BOB), server: address(R1), form: Form::Rfc, patience };
            net.host(BOB)?.ask_stun(ask, now);
            net.settle()?;
            let answered = std::iter::from_fn(|| net.host(BOB).ok()?.poll_nat_news()).any(|news| matches!(news, NatNews::Answer { mapped, .. } if mapped == address(BOB)));
            assert!(answered, "the relay tells its client how it sees it");
        }
        net.inject(STRANGER, R1, Ecn::NotEct, &datagram);
        net.settle()?;
        let came = net.hops.iter().filter(|hop| hop.to == address(BOB) && hop.bytes == datagram).count();
        assert_eq!(came, reaches, "after {wait:?}");
    }
    assert_eq!(net.relay(R1)?.drops().of(Dropped::Silent), 2);
    Ok(())
}

#[test]
fn an_endpoint_that_is_no_relay_any_more_forwards_nothing_and_one_that_is_again_knows_nobody() -> Result<(), Failure> {
    let mut net = Net::new(&[R1])?;
    net.admit(R1, BOB)?;
    let datagram = forwarded(STRANGER.parse().map_err(failure)?, behind(R1, BOB), &nonsense(100));
    net.host(R1)?.serve_relay(None);
    assert!(net.host(R1)?.relay().is_none());
    net.inject(STRANGER, R1, Ecn::NotEct, &datagram);
    net.settle()?;
    assert!(net.hops.iter().all(|hop| hop.to != address(BOB)));
    net.host(R1)?.serve_relay(Some(config(R1)));
    net.inject(STRANGER, R1, Ecn::NotEct, &datagram);
    net.settle()?;
    assert!(net.hops.iter().all(|hop| hop.to != address(BOB)));
    assert_eq!(net.relay(R1)?.drops().of(Dropped::NotRegistered), 1);
    Ok(())
}

/// traversal T-32: a whole GRO train is judged at once, and cut where fates differ; what is the endpoint's own stays.
#[test]
fn a_train_is_cut_into_runs_of_one_fate() -> Result<(), Failure> {
    let mut net = Net::new(&[R1])?;
    net.admit(R1, ALICE)?;
    net.admit(R1, BOB)?;
    let stranger: qtraversal::Endpoint = STRANGER.parse().map_err(failure)?;
    let to = |client: &str, first: u8| forwarded(stranger, behind(R1, client), &[&[first][..], &[7; 79]].concat());
    let quic = |first: u8| [&[first][..], &[0x55; 99]].concat();
    let mut train = [to(BOB, 0x41), to(BOB, 0x5f), to(ALICE, 0x44), quic(0x43), quic(0xc3), quic(0x63), to("8.4.4.4:4", 0x41), to(BOB, 0x42)].concat();
    train.extend_from_slice(&to(BOB, 0x43)[..50]);
    let link = FourTuple { local: address(R1), remote: address(STRANGER) };
    let now = net.now;
    let host = net.host(R1)?;
    let (mut runs, mut rest) = (Vec::new(), &train[..]);
    while !rest.is_empty() {
        let run = host.route_run(now, link, rest, 100);
        runs.push((run.len, run.fate));
        rest = &rest[run.len..];
    }
    let (bob, alice) = (RunFate::Forward(address(BOB)), RunFate::Forward(address(ALICE)));
    assert_eq!(runs, [(200, bob), (100, alice), (200, RunFate::Take), (100, RunFate::Take), (100, RunFate::Drop), (150, bob)]);
    let statistics = host.statistics();
    assert_eq!((statistics.datagrams_received, statistics.datagrams_sent, statistics.bytes_sent), (6, 5, 450));
    host.on_unsent(2, 150);
    assert_eq!(host.statistics().datagrams_sent, 3);
    assert_eq!(net.relay(R1)?.drops().of(Dropped::NoRoom), 2);
    Ok(())
}

/// Connection ids longer than a header: every datagram of a run is looked at.
#[test]
fn a_train_for_a_connection_is_its_own_whatever_follows_it() -> Result<(), Failure> {
    let mut net = Net::new(&[R1])?;
    let host = net.host(R1)?;
    let link = FourTuple { local: address(R1), remote: address(STRANGER) };
    assert_eq!(host.route_run(Timestamp::from_millis(1), link, &[], 100).len, 0);
    let run = host.route_run(Timestamp::from_millis(1), link, &[0x41; 250], 100);
    assert_eq!((run.len, run.fate), (250, RunFate::Take));
    let mut plain = Endpoint::new(EndpointConfig::default(), [1; 32]);
    let run = plain.route_run(Timestamp::from_millis(1), link, &[0x61; 250], 100);
    assert_eq!((run.len, run.fate), (250, RunFate::Take), "no relay looks at nothing");
    Ok(())
}

// ---- attacks ----

/// Every way to make a relay send something somewhere that it should not. Nothing leaves it, and the reason is counted.
#[test]
fn attack_g11_no_way_through_a_relay_is_open() -> Result<(), Failure> {
    let private = "10.0.0.5:5000";
    let cases = [
        ("to a stranger", STRANGER, direct(STRANGER), behind(R1, "8.7.7.7:7000"), Dropped::NotRegistered),
        ("to a client that fell silent", STRANGER, direct(STRANGER), behind(R1, SILENT), Dropped::Silent),
        ("to a registered private address", STRANGER, direct(STRANGER), behind(R1, private), Dropped::NotGlobal),
        ("to a private address, by a client", ALICE, behind(R1, ALICE), direct(private), Dropped::NotGlobal),
        ("to loopback, by a client", ALICE, behind(R1, ALICE), direct("127.0.0.1:5000"), Dropped::NotGlobal),
        ("to a group, by a client", ALICE, behind(R1, ALICE), direct("224.0.0.1:5000"), Dropped::Unusable),
        ("to an address that stands for a way", ALICE, behind(R1, ALICE), direct("240.0.0.1:26"), Dropped::Unusable),
        ("to the other family, by a client", ALICE, behind(R1, ALICE), direct("8.7.7.7:0"), Dropped::Unusable),
        ("to itself, as a client", STRANGER, direct(STRANGER), behind(R1, R1), Dropped::Own),
        ("to itself, by a client", ALICE, behind(R1, ALICE), direct(R1), Dropped::Own),
        ("out, by a stranger", STRANGER, behind(R1, STRANGER), direct("8.7.7.7:7000"), Dropped::NotRegistered),
        ("out, in a client's name", STRANGER, behind(R1, ALICE), direct("8.7.7.7:7000"), Dropped::Spoofed),
        ("out, by a client in another's name", ALICE, behind(R1, BOB), direct("8.7.7.7:7000"), Dropped::Spoofed),
        ("to another relay, by a stranger", STRANGER, behind(R1, STRANGER), behind(R2, BOB), Dropped::NotRegistered),
        ("to another relay, in a client's name", STRANGER, behind(R1, ALICE), behind(R2, BOB), Dropped::Spoofed),
        ("around by another relay", R2, behind(R1, ALICE), behind(R1, BOB), Dropped::Loop),
        ("back to where it came from", ALICE, behind(R1, ALICE), behind(R1, ALICE), Dropped::Loop),
        ("from the relay itself", R1, direct(STRANGER), behind(R1, BOB), Dropped::Loop),
        ("for who is blocked", STRANGER, direct(STRANGER), behind(R1, BLOCKED), Dropped::Blocked),
        ("in the name of who is blocked", STRANGER, direct(BLOCKED), behind(R1, BOB), Dropped::Blocked),
    ];
    for (what, from, source, destination, reason) in cases {
        let mut net = Net::new(&[R1])?;
        for client in [ALICE, BOB, BLOCKED, private, R1] {
            net.admit(R1, client)?;
        }
        let now = net.now;
        net.relay(R1)?.registrations_mut().register(address(SILENT), None, now).map_err(failure)?;
        net.host(R1)?.block(BlockList::new(&[AddressRange::new(address(BLOCKED).ip(), address(BLOCKED).ip()).ok_or_else(|| failure("range"))?]));
        net.inject(from, R1, Ecn::NotEct, &forwarded(source, destination, &[0x45; 400]));
        net.settle()?;
        assert_eq!(net.hops_from(R1), [[0_u8; 0]; 0], "{what}");
        let relay = net.relay(R1)?;
        assert_eq!((relay.drops().of(reason), relay.drops().total()), (1, 1), "{what}: {:?}", relay.drops());
        assert_eq!(relay.forwarded().datagrams, 0, "{what}");
    }
    Ok(())
}

/// Who is not heard gets nothing through either.
#[test]
fn attack_g11_who_is_blocked_sends_nothing_through_a_relay() -> Result<(), Failure> {
    let mut net = Net::new(&[R1])?;
    net.admit(R1, BOB)?;
    net.host(R1)?.block(BlockList::new(&[AddressRange::new(address(BLOCKED).ip(), address(BLOCKED).ip()).ok_or_else(|| failure("range"))?]));
    let datagram = forwarded(direct(BLOCKED), behind(R1, BOB), &[0x45; 400]);
    net.inject(BLOCKED, R1, Ecn::NotEct, &datagram);
    net.settle()?;
    let link = FourTuple { local: address(R1), remote: address(BLOCKED) };
    let now = net.now;
    assert_eq!(net.host(R1)?.route_run(now, link, &datagram, 0).fate, RunFate::Take, "where it is dropped and counted as all of his");
    assert!(net.hops_from(R1).is_empty());
    assert_eq!(net.host(R1)?.statistics().drops.get(DropReason::Blocked), 1);
    Ok(())
}

#[test]
fn attack_g11_too_long_datagrams_and_too_many_bytes_are_dropped() -> Result<(), Failure> {
    let mut net = Net::new(&[R1])?;
    net.host(R1)?.serve_relay(Some(RelayConfig { bytes_per_second: 10_000, burst_bytes: 3_000, ..config(R1) }));
    net.admit(R1, BOB)?;
    let datagram = |quic: usize| forwarded(direct(STRANGER), behind(R1, BOB), &vec![0x45; quic]);
    net.inject(STRANGER, R1, Ecn::NotEct, &datagram(limits::RELAY_DATAGRAM - 20 + 1));
    for _ in 0..5 {
        net.inject(STRANGER, R1, Ecn::NotEct, &datagram(980));
    }
    net.settle()?;
    assert_eq!(net.hops_from(R1).len(), 3);
    let relay = net.relay(R1)?;
    assert_eq!((relay.drops().of(Dropped::TooLong), relay.drops().of(Dropped::SourceRate)), (1, 2));
    Ok(())
}

/// Two relays, each registered with the other as if it were a client: nothing goes round.
#[test]
fn attack_g11_two_relays_that_know_each_other_send_nothing_in_circles() -> Result<(), Failure> {
    let mut net = Net::new(&[R1, R2])?;
    for (relay, client) in [(R1, R2), (R2, R1), (R1, ALICE), (R2, ALICE)] {
        net.admit(relay, client)?;
    }
    let sources = [behind(R1, ALICE), behind(R2, ALICE), behind(R1, R2), behind(R2, R1), direct(ALICE), direct(R1), direct(R2)];
    let destinations = [behind(R1, R2), behind(R2, R1), behind(R1, R1), behind(R2, R2), direct(R1), direct(R2), behind(R1, ALICE), behind(R2, ALICE)];
    for from in [ALICE, R1, R2] {
        for to in [R1, R2] {
            for source in sources {
                for destination in destinations {
                    net.hops.clear();
                    net.inject(from, to, Ecn::NotEct, &forwarded(source, destination, &nonsense(100)));
                    net.settle()?;
                    let out = |relay: &str| net.hops.iter().filter(|hop| hop.from == address(relay)).count();
                    // What was put in at a relay in its own name is the first hop of that relay.
                    let put_in = |relay: &str| usize::from(from == relay);
                    assert!(out(R1) <= 1 + put_in(R1) && out(R2) <= 1 + put_in(R2), "{from} {to} {source:?} {destination:?}");
                }
            }
        }
    }
    Ok(())
}

/// traversal T-34: what claims to be for this node, which is behind no relay, is not answered.
#[test]
fn attack_g11_a_forwarded_datagram_is_never_answered() -> Result<(), Failure> {
    let mut net = Net::new(&[R1])?;
    net.host(R1)?.serve_relay(Some(RelayConfig { outer: vec![address("9.1.1.1:9999")], ..config(R1) }));
    for first in [0x45, 0x65, 0xc5, 0xe5, 0x05] {
        for destination in [behind(R2, "9.1.1.1:9999"), behind(R2, "8.3.3.3:3"), direct("8.3.3.3:3")] {
            net.inject(STRANGER, R1, Ecn::NotEct, &forwarded(behind(R2, STRANGER), destination, &[&[first][..], &[1; 1_300]].concat()));
        }
    }
    net.settle()?;
    assert!(net.hops_from(R1).is_empty());
    assert_eq!(net.host(R1)?.statistics().drops.get(DropReason::Misrouted), 5);
    Ok(())
}

/// attacks R2: what waits to leave, at its bound and past it; the relay goes on afterwards.
#[test]
fn attack_g11_what_waits_in_a_relay_is_bounded() -> Result<(), Failure> {
    let mut net = Net::new(&[R1])?;
    net.admit(R1, BOB)?;
    let datagram = forwarded(direct(STRANGER), behind(R1, BOB), &nonsense(100));
    let link = FourTuple { local: address(R1), remote: address(STRANGER) };
    let now = net.now;
    for _ in 0..limits::RELAY_WAITING + 10 {
        assert_eq!(net.host(R1)?.handle_datagram(now, link, Ecn::NotEct, &mut datagram.clone()), Received::Quic);
    }
    net.settle()?;
    assert_eq!(net.hops_from(R1).len(), limits::RELAY_WAITING);
    assert_eq!(net.relay(R1)?.drops().of(Dropped::NoRoom), 10);
    assert_eq!(net.relay(R1)?.forwarded().datagrams, limits::RELAY_WAITING as u64);
    net.inject(STRANGER, R1, Ecn::NotEct, &datagram);
    net.settle()?;
    assert_eq!(net.hops_from(R1).len(), limits::RELAY_WAITING + 1);
    Ok(())
}

/// Garbage with the mark of forwarded datagrams, and headers with everything in them: the relay sends nothing, keeps nothing,
/// and serves its clients as before.
#[test]
fn attack_g11_a_flood_of_garbage_leaves_a_relay_as_it_was() -> Result<(), Failure> {
    let mut net = Net::new(&[R1])?;
    net.admit(R1, ALICE)?;
    net.admit(R1, BOB)?;
    let handle = net.connect(behind(R1, ALICE), behind(R1, BOB))?;
    net.run_until(secs(5), |net| net.is_confirmed(handle))?;
    let link = FourTuple { local: address(R1), remote: address(STRANGER) };
    let (now, mut state) = (net.now, 7_u64);
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u32
    };
    let host = net.host(R1)?;
    for _ in 0..50_000 {
        let mut bytes: Vec<u8> = (0..1 + random() % 90).map(|_| random() as u8).collect();
        bytes[0] = 0x60 | bytes[0] & 0x1f;
        if let Some(second) = bytes.get_mut(1) {
            *second = 0x08 | *second & 0x03;
        }
        host.handle_datagram(now, link, Ecn::NotEct, &mut bytes);
    }
    assert_eq!(net.relay(R1)?.registrations().len(), 2);
    let before = net.relay(R1)?.forwarded().datagrams;
    let stream = net.write(handle, 50_000)?;
    net.run_until(secs(10), |net| net.received(stream) == 50_000)?;
    assert!(net.relay(R1)?.forwarded().datagrams > before + 30);
    assert!(net.relay(R1)?.drops().total() > 1_000);
    assert!(net.hops.iter().filter(|hop| hop.from == address(R1)).all(|hop| [ALICE, BOB].map(address).contains(&hop.to) || hop.to == address(STRANGER)));
    Ok(())
}

// ---- helpers ----

const R1: &str = "9.1.1.1:3478";
const R2: &str = "9.2.2.2:3478";
const ALICE: &str = "8.1.1.1:40001";
const BOB: &str = "8.2.2.2:40002";
const SILENT: &str = "8.3.3.3:40003";
const BLOCKED: &str = "8.5.5.5:40005";
const STRANGER: &str = "8.9.9.9:9000";
const HOP: Duration = ms(10);

fn address(name: &str) -> SocketAddr {
    name.parse().unwrap()
}

fn direct(name: &str) -> qtraversal::Endpoint {
    address(name).into()
}

fn behind(agent: &str, outer: &str) -> qtraversal::Endpoint {
    qtraversal::Endpoint::Agent { agent: address(agent), outer: address(outer) }
}

fn config(agent: &str) -> RelayConfig {
    RelayConfig { agent: vec![address(agent)], ..RelayConfig::default() }
}

fn forwarded(source: qtraversal::Endpoint, destination: qtraversal::Endpoint, quic: &[u8]) -> Vec<u8> {
    let stamp: Stamp = ForwardHeader { source, destination }.stamp().unwrap();
    let mut bytes = vec![0; stamp.size()];
    bytes.extend_from_slice(quic);
    stamp.fill(&mut bytes).unwrap();
    bytes
}

/// What nobody answers: a Handshake packet of no connection.
fn nonsense(len: usize) -> Vec<u8> {
    [&[0xe5, 0, 0, 0, 1, 8][..], &vec![0x55; len - 6]].concat()
}

fn destination(bytes: &[u8]) -> Option<SocketAddr> {
    ForwardHeader::strip(bytes).map(|stripped| stripped.header.destination.outer())
}

/// A datagram on its way.
struct Hop {
    from: SocketAddr,
    to: SocketAddr,
    ecn: Ecn,
    hop_limit: Option<u8>,
    bytes: Vec<u8>,
}

/// Hosts by address: ALICE calls, everybody else answers.
struct Net {
    now: Timestamp,
    hosts: BTreeMap<SocketAddr, Endpoint>,
    config: Arc<ClientConfig>,
    wire: BTreeMap<(Timestamp, u64), Hop>,
    next: u64,
    /// All datagrams that were sent, in order.
    hops: Vec<Hop>,
    /// A host that gets datagrams up to this size only.
    narrow: Option<(SocketAddr, usize)>,
    lost_to_size: usize,
    read: BTreeMap<StreamId, usize>,
}

impl Net {
    fn new(relays: &[&str]) -> Result<Self, Failure> {
        let spinning = TransportConfig { spin: Spin::On, ..TransportConfig::default() };
        let (client, server): (_, Arc<ServerConfig>) = ends::configs(1, spinning, TransportConfig::default())?;
        let hosts: BTreeSet<&str> = [ALICE, BOB].into_iter().chain(relays.iter().copied()).collect();
        let hosts = hosts.into_iter().zip(1..).map(|(name, seed)| {
            let mut endpoint = Endpoint::new(EndpointConfig::default(), [seed; 32]);
            if relays.contains(&name) {
                endpoint.serve_relay(Some(config(name)));
            }
            if name != ALICE {
                endpoint.listen(Some(Arc::clone(&server)));
            }
            (address(name), endpoint)
        });
        Ok(Self {
            now: Timestamp::from_millis(1_000),
            hosts: hosts.collect(),
            config: client,
            wire: BTreeMap::new(),
            next: 0,
            hops: Vec::new(),
            narrow: None,
            lost_to_size: 0,
            read: BTreeMap::new(),
        })
    }

    fn host(&mut self, name: &str) -> Result<&mut Endpoint, Failure> {
        self.hosts.get_mut(&address(name)).ok_or_else(|| failure("no such host"))
    }

    fn relay(&mut self, name: &str) -> Result<&mut Relay, Failure> {
        self.host(name)?.relay().ok_or_else(|| failure("no relay"))
    }

    /// Registers a client that keeps alive, on both sides.
    fn admit(&mut self, relay: &str, client: &str) -> Result<(), Failure> {
        let now = self.now;
        let registrations = self.relay(relay)?.registrations_mut();
        registrations.register(address(client), None, now).map_err(failure)?;
        registrations.on_keep_alive(address(client), now).map_err(failure)?;
        if [ALICE, BOB].contains(&client) {
            let own = behind(relay, client);
            self.host(client)?.add_registration(Registration { local: address(client), own }).map_err(failure)?;
        }
        Ok(())
    }

    fn connect(&mut self, from: qtraversal::Endpoint, to: qtraversal::Endpoint) -> Result<ConnectionHandle, Failure> {
        let (now, config) = (self.now, Arc::clone(&self.config));
        let host = self.host(ALICE)?;
        let way = host.pathway_to(from.outer(), to).map_err(failure)?;
        host.connect(now, &config, ends::NAME, way).map_err(failure)
    }

    fn is_confirmed(&self, handle: ConnectionHandle) -> bool {
        self.hosts.get(&address(ALICE)).and_then(|host| host.connection(handle)).is_some_and(|connection| connection.is_confirmed())
    }

    fn write(&mut self, handle: ConnectionHandle, bytes: usize) -> Result<StreamId, Failure> {
        let connection = self.host(ALICE)?.connection_mut(handle).ok_or_else(|| failure("no connection"))?;
        let stream = connection.open(Direction::Unidirectional).ok_or_else(|| failure("no stream"))?;
        if connection.write(stream, &vec![7; bytes]).map_err(failure)? < bytes {
            return Err(failure("too much to write"));
        }
        self.read.insert(stream, 0);
        Ok(stream)
    }

    fn received(&self, stream: StreamId) -> usize {
        self.read.get(&stream).copied().unwrap_or_default()
    }

    fn hops_to(&self, name: &str) -> Vec<Vec<u8>> {
        self.hops.iter().filter(|hop| hop.to == address(name)).map(|hop| hop.bytes.clone()).collect()
    }

    fn hops_from(&self, name: &str) -> Vec<Vec<u8>> {
        self.hops.iter().filter(|hop| hop.from == address(name)).map(|hop| hop.bytes.clone()).collect()
    }

    /// A datagram from anywhere, whoever is there.
    fn inject(&mut self, from: &str, to: &str, ecn: Ecn, bytes: &[u8]) {
        let hop = Hop { from: address(from), to: address(to), ecn, hop_limit: None, bytes: bytes.to_vec() };
        if from != to && !self.hosts.contains_key(&hop.from) || from == ALICE {
            self.hops.push(Hop { bytes: bytes.to_vec(), ..hop });
        }
        self.next += 1;
        self.wire.insert((self.now + HOP, self.next), hop);
    }

    /// All that hosts send now goes out.
    fn poll(&mut self) {
        let mut buffer = vec![0; 65_535];
        for (from, host) in &mut self.hosts {
            while let Some(burst) = host.poll_transmit(self.now, &mut buffer, &SendLimits::default()) {
                host.on_submitted(&burst, burst.segments, self.now);
                assert_eq!(burst.four_tuple.local, *from);
                for bytes in buffer[..burst.len].chunks(burst.segment_size) {
                    let (to, ecn, hop_limit) = (burst.four_tuple.remote, burst.ecn, burst.hop_limit);
                    self.hops.push(Hop { from: *from, to, ecn, hop_limit, bytes: bytes.to_vec() });
                    if self.narrow.is_some_and(|(host, largest)| host == to && bytes.len() > largest) {
                        self.lost_to_size += 1;
                        continue;
                    }
                    self.next += 1;
                    self.wire.insert((self.now + HOP, self.next), Hop { from: *from, to, ecn, hop_limit, bytes: bytes.to_vec() });
                }
            }
        }
    }

    fn arrive(&mut self) {
        while let Some(((at, _), _)) = self.wire.first_key_value() {
            if *at > self.now {
                return;
            }
            let Some((_, mut hop)) = self.wire.pop_first() else { return };
            if let Some(host) = self.hosts.get_mut(&hop.to) {
                host.handle_datagram(self.now, FourTuple { local: hop.to, remote: hop.from }, hop.ecn, &mut hop.bytes);
            }
        }
    }

    /// Until nothing is on its way; timers wait.
    fn settle(&mut self) -> Result<(), Failure> {
        for _ in 0..10 {
            self.poll();
            let Some((at, _)) = self.wire.keys().next().copied() else { return Ok(()) };
            self.now = at;
            self.arrive();
        }
        Err(failure("it goes round and round"))
    }

    fn run_until(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> Result<(), Failure> {
        let until = self.now + limit;
        while !done(self) {
            self.poll();
            self.drain();
            let timers = self.hosts.values().filter_map(|host| host.next_timer()).map(|(at, _)| at);
            let Some(next) = timers.chain(self.wire.keys().next().map(|(at, _)| *at)).min() else { return Err(failure("nothing can happen")) };
            self.now = self.now.max(next);
            if self.now > until {
                return Err(failure(format!("not within {limit:?}: {} datagrams were sent", self.hops.len())));
            }
            let now = self.now;
            self.hosts.values_mut().for_each(|host| host.on_timer(now));
            self.arrive();
            self.drain();
        }
        Ok(())
    }

    /// Applications that read all there is.
    fn drain(&mut self) {
        for (name, host) in &mut self.hosts {
            while host.poll_event().is_some() {}
            if *name == address(ALICE) {
                continue;
            }
            let handles: Vec<_> = host.handles().collect();
            let mut buffer = [0; 16_384];
            for handle in handles {
                let Some(connection) = host.connection_mut(handle) else { continue };
                while connection.accept(Direction::Unidirectional).is_some() {}
                for (stream, read) in &mut self.read {
                    while let Ok(len @ 1..) = connection.read(*stream, &mut buffer) {
                        *read += len;
                    }
                }
            }
        }
    }
}
