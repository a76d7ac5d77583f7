//! Connection ids over the life of a connection: rotation, renewal, and the bits of headers that follow them
//! (RFC 9000 §5.1, §17.4; RFC 9287; multipath section F; attacks A9, E4).

use std::collections::BTreeSet;

use qbase::{
    ConnectionId, Direction, EncryptionLevel, ErrorCode, PathId, Role,
    frame::{self, Frame},
    packet::Spin,
};
use qconnection::{Event, Multipath, TransportConfig, config::Spin as SpinPolicy, connection::events::PathEventKind};
use qsim::{Failure, Pair, PairConfig};

use crate::common;
use common::{
    delay,
    evil::{arena::{Arena, Setup}, encode, new_cid},
    ms, secs,
};

use Direction::Unidirectional;

/// Shows 9000-9.5-1, 9000-5.1.1-1, 9000-5.1.1-3 and 9000-5.1.1-7.
#[test]
fn ids_may_be_changed_for_ever_and_none_comes_twice() -> Result<(), Failure> {
    for multipath in [Multipath::Off, Multipath::Auto] {
        let mut pair = pair(multipath, SpinPolicy::Random)?;
        pair.run_until_confirmed(secs(1))?;
        let mut seen: BTreeSet<ConnectionId> = ids(&pair, Role::Server).into_iter().collect();
        let mut changes = 0;
        while changes < 300 {
            let rotated = pair.client_mut().connection_mut().is_some_and(|connection| connection.rotate_cid(PathId::ZERO));
            changes += u32::from(rotated);
            pair.run_for(ms(10))?;
            seen.extend(ids(&pair, Role::Server));
        }
        assert!(seen.len() >= 300, "{} ids for 300 changes", seen.len());
        assert!(ids(&pair, Role::Server).len() <= 3);
        let moved = |event: &Event| matches!(event, Event::Path(event) if matches!(event.kind, PathEventKind::Rebound(_) | PathEventKind::Migrated(_)));
        assert!(pair.server().first(moved).is_none(), "a change of id is no move (multipath MP-28)");
        pair.client_mut().traffic_mut().send(Unidirectional, 10_000);
        pair.run_until_delivered(secs(2))?;
    }
    Ok(())
}

/// Shows 9000-5.1.1-5, 9000-5.1.2-2, 9000-5.1.2-4 and 9000-5.1.2-8.
#[test]
fn ids_are_renewed_on_demand_in_the_middle_of_a_transfer() -> Result<(), Failure> {
    for role in [Role::Client, Role::Server] {
        let mut pair = pair(Multipath::Auto, SpinPolicy::Random)?;
        pair.client_mut().traffic_mut().send(Unidirectional, 2_000_000);
        pair.server_mut().traffic_mut().send(Unidirectional, 2_000_000);
        pair.run_for(ms(200))?;
        for _ in 0..5 {
            let before = ids(&pair, role);
            assert!(renew(&mut pair, role));
            assert!(!renew(&mut pair, role), "not before the first request is answered");
            pair.run_for(ms(200))?;
            assert!(ids(&pair, role).iter().all(|cid| !before.contains(cid)), "all are new");
        }
        pair.run_until_delivered(secs(20))?;
    }
    Ok(())
}

/// Shows 9000-5.1.1-4 for the least limit there is, and 9000-5.1.1-7.
#[test]
fn a_peer_gets_no_more_ids_than_it_takes() -> Result<(), Failure> {
    let mut setup = Setup::single_path();
    setup.parameters.active_connection_id_limit = 2;
    let mut arena = Arena::new(&setup)?;
    arena.ack()?;
    let issued = |arena: &Arena| arena.evil.ids.keys().map(|(_, sequence)| *sequence).max();
    assert_eq!(issued(&arena), Some(1), "two with that of the handshake");
    let second = arena.evil.ids.get(&(PathId::ZERO, 1)).copied();
    let retire = encode(&[Frame::RetireConnectionId(frame::RetireConnectionId { path: None, sequence: 0 })]);
    let packet = arena.evil.seal(EncryptionLevel::OneRtt, PathId::ZERO, second, 0, &retire)?;
    arena.deliver(packet)?;
    assert_eq!(issued(&arena), Some(2), "one for one");
    Ok(())
}

/// attacks E4
#[test]
fn attack_e4_the_id_that_carries_its_own_retirement_closes_the_connection() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::single_path())?;
    arena.say(&[Frame::RetireConnectionId(frame::RetireConnectionId { path: None, sequence: 0 })])?;
    assert_eq!(arena.close_code().map(|(code, _)| code), Some(ErrorCode::PROTOCOL_VIOLATION.0));
    Ok(())
}

/// Shows 9000-5.1.2-4.
#[test]
fn ids_a_peer_asks_back_are_given_back_before_others_count() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::single_path())?;
    arena.say(&[new_cid(None, 1, 0), new_cid(None, 2, 0), new_cid(None, 3, 0)])?;
    arena.forget_heard();
    arena.say(&[new_cid(None, 4, 4)])?;
    arena.ack()?;
    assert_eq!(arena.close_code(), None, "four are held before and one after");
    let mut given = Vec::new();
    for packet in &arena.evil.heard {
        given.extend(packet.frames().iter().filter_map(|frame| match frame {
            Frame::RetireConnectionId(retire) => Some(retire.sequence),
            _ => None,
        }));
    }
    given.sort_unstable();
    assert_eq!(given, [0, 1, 2, 3]);
    assert!(arena.evil.heard.iter().all(|packet| packet.dcid == common::evil::own_cid(PathId::ZERO, 4)));
    Ok(())
}

/// Shows 9000-17.4-3.
#[test]
fn the_spin_bit_spins_once_a_round_trip_where_it_is_asked_to() -> Result<(), Failure> {
    // The period of a path that spins is its round trip; one path in sixteen does not.
    let mut spinning = 0;
    for seed in 0..8 {
        let transport = TransportConfig { multipath: Multipath::Off, spin: SpinPolicy::On, ..TransportConfig::default() };
        let config = PairConfig { client: transport.clone(), server: transport, ..PairConfig::new(seed, vec![delay(10)]) };
        let mut pair = Pair::new(config)?;
        pair.run_for(ms(200))?;
        pair.network_mut().keep_payloads();
        for _ in 0..40 {
            pair.client_mut().traffic_mut().send(Unidirectional, 1_000);
            pair.server_mut().traffic_mut().send(Unidirectional, 1_000);
            pair.run_for(ms(5))?;
        }
        let edges = edges(&pair);
        assert!(edges <= 11, "{edges} edges in ten round trips");
        spinning += u32::from(edges >= 6);
    }
    assert!(spinning >= 5, "{spinning} of 8 spin");
    for (policy, seed) in [(SpinPolicy::Off, 1), (SpinPolicy::Random, 1), (SpinPolicy::Random, 2)] {
        let transport = TransportConfig { multipath: Multipath::Off, spin: policy, ..TransportConfig::default() };
        let config = PairConfig { client: transport.clone(), server: transport, ..PairConfig::new(seed, vec![delay(10)]) };
        let mut pair = Pair::new(config)?;
        pair.run_for(ms(200))?;
        pair.network_mut().keep_payloads();
        pair.client_mut().traffic_mut().send(Unidirectional, 200_000);
        pair.run_for(ms(200))?;
        assert_eq!(edges(&pair), 0, "{policy:?}");
    }
    Ok(())
}

/// Shows 9287-clearing-the-quic-bit-1, 9287-clearing-the-quic-bit-3, 9287-clearing-the-quic-bit-4, 9287-clearing-the-quic-bit-6 and
/// 9287-the-grease-quic-bit-transport-parameter-2. attacks A9
/// multipath MP-85.
#[test]
fn attack_a9_the_fixed_bit_is_anything_where_both_ends_said_so_and_1_elsewhere() -> Result<(), Failure> {
    for (client, server) in [(true, true), (true, false), (false, true), (false, false)] {
        let greasing = |grease_quic_bit| TransportConfig { grease_quic_bit, ..TransportConfig::default() };
        let mut pair = Pair::new(PairConfig { client: greasing(client), server: greasing(server), ..PairConfig::new(5, vec![delay(10)]) })?;
        pair.network_mut().keep_payloads();
        pair.client_mut().traffic_mut().send(Unidirectional, 200_000);
        pair.server_mut().traffic_mut().send(Unidirectional, 200_000);
        pair.run_until_delivered(secs(5))?;
        let server_port = qsim::pair::SERVER_PORT;
        for to_server in [true, false] {
            let firsts = pair.network().kept().iter().filter(|(four_tuple, _)| (four_tuple.local.port() == server_port) == to_server);
            let clear: Vec<usize> = firsts.enumerate().filter(|(_, (_, bytes))| bytes.first().is_some_and(|first| first & 0x40 == 0)).map(|(at, _)| at).collect();
            let share = clear.len();
            if client && server {
                assert!(share > 20, "{share} datagrams with a clear bit");
                assert!(!to_server || clear.first().is_some_and(|at| *at > 0), "never before the server's parameters are known");
            } else {
                assert_eq!(share, 0);
            }
        }
    }
    Ok(())
}

/// attacks A9
#[test]
fn attack_a9_a_clear_fixed_bit_that_nobody_allowed_is_dropped() -> Result<(), Failure> {
    for allowed in [false, true] {
        let plain = Setup::single_path();
        let server = TransportConfig { grease_quic_bit: allowed, ..plain.server.clone() };
        let mut arena = Arena::new(&Setup { server, ..plain })?;
        let before = arena.connection()?.statistics().packets_received;
        let packet = arena.evil.seal(EncryptionLevel::OneRtt, PathId::ZERO, None, 0x40, &encode(&[Frame::Ping]))?;
        arena.deliver(packet)?;
        let taken = arena.connection()?.statistics().packets_received > before;
        assert_eq!((taken, arena.close_code()), (allowed, None));
        let mut noise = vec![0x21; 60];
        noise.resize(200, 0x33);
        assert_eq!(arena.server.handle_datagram(arena.now, arena.evil.four_tuple, qbase::Ecn::NotEct, &mut noise), qconnection::Received::NotQuic);
    }
    Ok(())
}

// ---- helpers ----

fn pair(multipath: Multipath, spin: SpinPolicy) -> Result<Pair, Failure> {
    let transport = TransportConfig { multipath, spin, ..TransportConfig::default() };
    Pair::new(PairConfig { client: transport.clone(), server: transport, ..PairConfig::new(1, vec![delay(10).at_rate(20_000_000)]) })
}

fn ids(pair: &Pair, role: Role) -> Vec<ConnectionId> {
    pair.host(role).connection().map(|connection| connection.local_cids_of(PathId::ZERO)).unwrap_or_default()
}

fn renew(pair: &mut Pair, role: Role) -> bool {
    pair.host_mut(role).connection_mut().is_some_and(|connection| connection.renew_cids(PathId::ZERO))
}

/// How often the spin bit of the client's datagrams changes.
fn edges(pair: &Pair) -> usize {
    let to_server = pair.network().kept().iter().filter(|(four_tuple, _)| four_tuple.local.port() == qsim::pair::SERVER_PORT);
    let bits: Vec<Spin> = to_server.filter_map(|(_, bytes)| bytes.first().map(|first| Spin::of(*first))).collect();
    bits.windows(2).filter(|pair| pair.first() != pair.last()).count()
}
