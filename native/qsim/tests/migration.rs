//! Paths that go over to other addresses: NAT rebinding, migration, copies by attackers (RFC 9000 §9; multipath MP-27;
//! attacks A20, E10 to E17).

use std::net::SocketAddr;

use qbase::{
    Direction, EncryptionLevel, FourTuple, PathId, Role,
    frame::{self, Frame},
    limits,
};
use qconnection::{
    Event, Multipath, TransportConfig,
    connection::{MigrateError, Migration, events::{OpenFailure, PathEventKind}},
    path::PathState,
};
use qsim::{Failure, LinkId, LinkShape, Pair, PairConfig, Paths};

use crate::common;
use common::{
    FIRST, SECOND, delay,
    evil::{arena::{Arena, Setup, addresses}, encode, new_cid},
    for_each_seed, ms, secs,
};

use Direction::Unidirectional;

// ---- NAT rebinding ----

/// Shows 9000-9-4, 9000-9.3-1 and 9000-9.3-2. attacks E17
#[test]
fn attack_e17_a_nat_that_forgets_at_any_instant_ends_no_transfer() -> Result<(), Failure> {
    for_each_seed(0..60, |seed| {
        let lossy = if seed % 2 == 0 { 0.0 } else { 0.1 };
        let mut pair = single(seed, delay(10).at_rate(10_000_000).with_loss(lossy))?;
        pair.client_mut().traffic_mut().send(Unidirectional, 600_000);
        pair.server_mut().traffic_mut().send(Unidirectional, 600_000);
        pair.run_for(ms(100 + 20 * seed))?;
        let outside = if seed % 3 == 0 { other_host(seed) } else { other_port(seed) };
        rebind(&mut pair, outside);
        pair.run_until_delivered(secs(60))?;
        Ok(())
    })
}

/// Shows 9000-9.4-3.
#[test]
fn a_path_whose_port_changed_keeps_what_it_measured() -> Result<(), Failure> {
    let mut pair = single(1, delay(10).at_rate(10_000_000))?;
    pair.server_mut().traffic_mut().send(Unidirectional, 3_000_000);
    pair.run_until(|pair| pair.client().traffic().received() > 1_000_000, secs(20))?;
    let before = view(&pair, Role::Server, PathId::ZERO);
    rebind(&mut pair, other_port(1));
    pair.run_until(|pair| moved_to(pair, other_port(1)), secs(2))?;
    let after = view(&pair, Role::Server, PathId::ZERO);
    assert_eq!(after.min_rtt, before.min_rtt);
    assert!(after.congestion_window >= before.congestion_window, "{} bytes, {} before", after.congestion_window, before.congestion_window);
    pair.run_until_delivered(secs(20)).map(|_| ())
}

/// Shows 9000-9.4-1 and 9000-9.4-2.
#[test]
fn a_path_whose_host_changed_measures_anew() -> Result<(), Failure> {
    let mut pair = single(1, delay(10).at_rate(10_000_000))?;
    pair.server_mut().traffic_mut().send(Unidirectional, 3_000_000);
    pair.run_until(|pair| pair.client().traffic().received() > 1_000_000, secs(20))?;
    assert!(view(&pair, Role::Server, PathId::ZERO).min_rtt < ms(100));
    rebind(&mut pair, other_host(1));
    pair.run_until(|pair| moved_to(pair, other_host(1)), secs(2))?;
    let after = view(&pair, Role::Server, PathId::ZERO);
    assert_eq!(after.smoothed_rtt, limits::INITIAL_RTT);
    assert!(after.bytes_in_flight <= 1_200, "{} bytes", after.bytes_in_flight);
    assert!(after.congestion_window <= 14_720, "{} bytes", after.congestion_window);
    pair.run_until_delivered(secs(20)).map(|_| ())
}

/// Shows 9000-9.3-5.
#[test]
fn a_client_that_moved_gets_its_token_and_the_old_address_is_forgotten() -> Result<(), Failure> {
    let mut pair = single(3, delay(10))?;
    pair.run_for(secs(1))?;
    let tokens = |pair: &Pair| pair.client().news().iter().filter(|(_, event)| matches!(event, Event::NewToken(_))).count();
    let before = tokens(&pair);
    rebind(&mut pair, other_host(1));
    pair.client_mut().traffic_mut().send(Unidirectional, 1_000);
    pair.run_for(secs(5))?;
    assert_eq!(tokens(&pair), before + 1, "RFC 9000 §9.3");
    assert_eq!(view(&pair, Role::Server, PathId::ZERO).amplification_credit, u64::MAX);
    Ok(())
}

#[test]
fn a_rebinding_during_a_key_update_costs_nothing() -> Result<(), Failure> {
    for_each_seed(0..20, |seed| {
        let mut pair = single(seed, delay(10).at_rate(10_000_000))?;
        pair.client_mut().traffic_mut().send(Unidirectional, 500_000);
        pair.server_mut().traffic_mut().send(Unidirectional, 500_000);
        pair.run_for(ms(150))?;
        let now = pair.now();
        let role = if seed % 2 == 0 { Role::Client } else { Role::Server };
        assert!(pair.host_mut(role).connection_mut().is_some_and(|connection| connection.update_key(now)));
        pair.run_for(ms(seed))?;
        rebind(&mut pair, if seed % 4 < 2 { other_port(seed) } else { other_host(seed) });
        pair.run_until_delivered(secs(20)).map(|_| ())
    })
}

/// multipath MP-27.
#[test]
fn one_path_of_two_is_rebound_and_the_other_goes_on() -> Result<(), Failure> {
    for_each_seed(0..20, |seed| {
        let link = delay(10).at_rate(10_000_000);
        let mut pair = Pair::new(PairConfig::new(seed, vec![link.clone(), link]))?;
        pair.client_mut().traffic_mut().send(Unidirectional, 1_500_000);
        pair.server_mut().traffic_mut().send(Unidirectional, 1_500_000);
        pair.run_until(|pair| pair.server().traffic().received() > 300_000, secs(20))?;
        let before = view(&pair, Role::Server, PathId::ZERO).four_tuple;
        let outside = if seed % 2 == 0 { address([10, 77, 0, 2], 1_000) } else { address([10, 0, 2, 1], 1_000) };
        let inside = Pair::four_tuple(SECOND, Role::Client).local;
        pair.network_mut().map(inside, outside);
        pair.run_until_delivered(secs(20))?;
        assert_eq!(view(&pair, Role::Server, PathId::ZERO).four_tuple, before);
        assert_eq!(view(&pair, Role::Server, PathId(1)).four_tuple.remote, outside);
        assert_eq!(pair.server().connection().map(|connection| connection.paths().count()), Some(2));
        Ok(())
    })
}

/// Shows multipath-21-relation-to-probing-and-migration-1.
/// multipath MP-50.
#[test]
fn a_path_of_several_that_moves_uses_connection_ids_of_its_own_path_id() -> Result<(), Failure> {
    let link = delay(10).at_rate(10_000_000);
    let mut pair = Pair::new(PairConfig::new(1, vec![link.clone(), link.clone()]))?;
    pair.run_for(ms(300))?;
    let local = address([10, 50, 0, 1], 51_000);
    let server = Pair::four_tuple(SECOND, Role::Server).local;
    pair.network_mut().link(local.ip(), server.ip(), &link);
    let ids = |pair: &Pair, role: Role, path: PathId| pair.host(role).connection().map(|connection| connection.local_cids_of(path)).unwrap_or_default();
    let known = [Role::Client, Role::Server].map(|role| [PathId::ZERO, PathId(1)].map(|path| ids(&pair, role, path)));
    pair.network_mut().keep_payloads();
    pair.client_mut().traffic_mut().send(Unidirectional, 300_000);
    pair.server_mut().traffic_mut().send(Unidirectional, 300_000);
    pair.run_for(ms(60))?;
    let now = pair.now();
    let moved = pair.client_mut().connection_mut().map(|connection| connection.migrate(now, PathId(1), local, Migration::WhenProved));
    assert_eq!(moved, Some(Ok(())));
    pair.run_until_delivered(secs(20))?;
    assert_eq!(view(&pair, Role::Server, PathId(1)).four_tuple.remote, local);
    let mut seen = [0; 2];
    for (four_tuple, bytes) in pair.network().kept().iter().filter(|(four_tuple, _)| four_tuple.local == local || four_tuple.remote == local) {
        let receiver = usize::from(four_tuple.remote == local);
        let id = bytes.get(1..9).and_then(qbase::ConnectionId::new).unwrap_or_default();
        assert!(known[receiver][1].contains(&id) && !known[receiver][0].contains(&id), "{id} between {four_tuple:?}");
        seen[receiver] += 1;
    }
    assert!(seen[0] > 10 && seen[1] > 10, "{seen:?} datagrams");
    Ok(())
}

// ---- migration by the client ----

/// Nothing but probes and acknowledgements came of a client that is quiet: its server knows the move for what it is.
#[test]
fn a_client_that_moves_before_it_has_sent_anything_is_not_taken_for_a_nat() -> Result<(), Failure> {
    for multipath in [Multipath::Off, Multipath::Auto] {
        let mut pair = pair_with(1, delay(10), multipath)?;
        let local = second_address(&mut pair, delay(10));
        pair.run_for(secs(1))?;
        assert_eq!(migrate(&mut pair, local, Migration::WhenProved), Ok(()));
        pair.run_until(|pair| moved_to(pair, local), secs(2))?;
        assert!(tells(&pair, Role::Server, |kind| matches!(kind, PathEventKind::Migrated(_))));
        assert!(!tells(&pair, Role::Server, |kind| matches!(kind, PathEventKind::Rebound(_))));
    }
    Ok(())
}

/// Shows 9000-9.1-1 and 9000-5.1.2-1.
#[test]
fn a_client_moves_when_the_server_has_answered_at_its_new_address() -> Result<(), Failure> {
    for multipath in [Multipath::Off, Multipath::Auto] {
        let mut pair = pair_with(1, delay(10).at_rate(10_000_000), multipath)?;
        let local = second_address(&mut pair, delay(10).at_rate(10_000_000));
        pair.client_mut().traffic_mut().send(Unidirectional, 2_000_000);
        pair.server_mut().traffic_mut().send(Unidirectional, 2_000_000);
        pair.run_until(|pair| pair.server().traffic().received() > 300_000, secs(20))?;
        let (ours, theirs) = (ids(&pair, Role::Client), ids(&pair, Role::Server));
        assert_eq!(migrate(&mut pair, local, Migration::WhenProved), Ok(()));
        pair.run_until(|pair| view(pair, Role::Client, PathId::ZERO).four_tuple.local == local, secs(2))?;
        pair.run_until(|pair| moved_to(pair, local), secs(2))?;
        pair.run_until_delivered(secs(20))?;
        pair.run_for(secs(4))?;
        assert!(tells(&pair, Role::Client, |kind| matches!(kind, PathEventKind::Migrated(_))));
        assert!(tells(&pair, Role::Server, |kind| matches!(kind, PathEventKind::Migrated(_))));
        assert!(!tells(&pair, Role::Server, |kind| matches!(kind, PathEventKind::Rebound(_))));
        let gone = |before: &[qbase::ConnectionId], after: &[qbase::ConnectionId]| before.first().is_some_and(|cid| !after.contains(cid));
        assert!(gone(&theirs, &ids(&pair, Role::Server)), "the id of the old address was given back");
        assert!(gone(&ours, &ids(&pair, Role::Client)), "by the server too");
    }
    Ok(())
}

/// Shows 9000-9.5-2 and 9000-9.5-3.
#[test]
fn no_connection_id_is_seen_on_two_addresses_of_a_client_that_moves() -> Result<(), Failure> {
    let mut pair = pair_with(1, delay(10).at_rate(10_000_000), Multipath::Off)?;
    let local = second_address(&mut pair, delay(10).at_rate(10_000_000));
    pair.run_for(ms(200))?;
    pair.network_mut().keep_payloads();
    pair.client_mut().traffic_mut().send(Unidirectional, 200_000);
    pair.server_mut().traffic_mut().send(Unidirectional, 200_000);
    pair.run_for(ms(60))?;
    assert_eq!(migrate(&mut pair, local, Migration::WhenProved), Ok(()));
    pair.run_until_delivered(secs(20))?;
    let mut seen: std::collections::BTreeMap<Vec<u8>, FourTuple> = std::collections::BTreeMap::new();
    for (four_tuple, bytes) in pair.network().kept() {
        let id = bytes.get(1..9).unwrap_or_default().to_vec();
        assert_eq!(*seen.entry(id).or_insert(*four_tuple), *four_tuple, "one id, one pair of addresses");
    }
    assert_eq!(seen.len(), 4, "two each way: {seen:?}");
    Ok(())
}

/// Shows 9000-9.3.2-1 for the end that moved.
#[test]
fn a_client_that_moved_to_a_dead_network_comes_back() -> Result<(), Failure> {
    for when in [Migration::AtOnce, Migration::WhenProved] {
        let mut pair = single(1, delay(10).at_rate(10_000_000))?;
        let local = second_address(&mut pair, delay(10));
        pair.cut(SECOND);
        pair.client_mut().traffic_mut().send(Unidirectional, 2_000_000);
        pair.run_until(|pair| pair.server().traffic().received() > 300_000, secs(20))?;
        let before = view(&pair, Role::Client, PathId::ZERO).four_tuple;
        assert_eq!(migrate(&mut pair, local, when), Ok(()));
        pair.run_until_delivered(secs(20))?;
        assert_eq!(view(&pair, Role::Client, PathId::ZERO).four_tuple, before);
        pair.run_for(secs(5))?;
        assert!(tells(&pair, Role::Client, |kind| matches!(kind, PathEventKind::MigrationFailed(_))));
        assert!(!tells(&pair, Role::Server, |kind| matches!(kind, PathEventKind::Rebound(_) | PathEventKind::Migrated(_))));
    }
    Ok(())
}

#[test]
fn a_client_may_move_at_once() -> Result<(), Failure> {
    let mut pair = single(1, delay(10).at_rate(10_000_000))?;
    let local = second_address(&mut pair, delay(10).at_rate(10_000_000));
    pair.run_for(ms(200))?;
    pair.cut(FIRST);
    pair.server_mut().traffic_mut().send(Unidirectional, 500_000);
    pair.client_mut().traffic_mut().send(Unidirectional, 500_000);
    assert_eq!(migrate(&mut pair, local, Migration::AtOnce), Ok(()));
    pair.run_until_delivered(secs(10)).map(|_| ())
}

/// Shows 9000-9-1, 9000-9-2 and 9000-18.2-3. attacks E12
#[test]
fn attack_e12_a_client_does_not_move_when_it_must_not() -> Result<(), Failure> {
    let server = TransportConfig { disable_active_migration: true, ..TransportConfig::default() };
    let links = vec![delay(10), delay(10)];
    let mut pair = Pair::new(PairConfig { server, paths: Paths::First, ..PairConfig::new(1, links) })?;
    let local = second_address(&mut pair, delay(10));
    assert_eq!(migrate(&mut pair, local, Migration::AtOnce), Err(MigrateError::Handshake));
    pair.run_until_confirmed(secs(2))?;
    assert_eq!(migrate(&mut pair, local, Migration::AtOnce), Err(MigrateError::Disabled));
    let now = pair.now();
    let four_tuple = FourTuple { local, ..Pair::four_tuple(FIRST, Role::Client) };
    let opened = pair.client_mut().connection_mut().map(|connection| connection.open_path(now, four_tuple, frame::PathStatusKind::Available));
    assert!(opened.is_some_and(|opened| opened.is_ok()));
    pair.run_for(secs(1))?;
    assert!(tells(&pair, Role::Client, |kind| *kind == PathEventKind::Failed(OpenFailure::MigrationDisabled)), "multipath MP-12");
    assert!(pair.open_path(SECOND, frame::PathStatusKind::Available).is_ok());
    pair.run_for(secs(1))?;
    assert_eq!(pair.client().connection().map(|connection| connection.paths().count()), Some(2), "another address of the server");
    let connection = pair.server_mut().connection_mut();
    let refused = connection.map(|connection| connection.migrate(now, PathId::ZERO, local, Migration::AtOnce));
    assert_eq!(refused, Some(Err(MigrateError::Role)));
    Ok(())
}

/// Shows 9000-9.5-7 and 9000-5.1.1-11. attacks E14
#[test]
fn attack_e14_a_thousand_migrations_are_not_too_many() -> Result<(), Failure> {
    let mut pair = single(1, delay(2))?;
    let second = second_address(&mut pair, delay(2));
    pair.run_until_confirmed(secs(1))?;
    let first = view(&pair, Role::Client, PathId::ZERO).four_tuple.local;
    for round in 0..1_000_u32 {
        let local = if round % 2 == 0 { second } else { first };
        let mut patience = 100;
        while migrate(&mut pair, local, Migration::WhenProved) == Err(MigrateError::NoConnectionId) {
            // The id of the address before is being replaced.
            pair.run_for(ms(5))?;
            patience -= 1;
            assert!(patience > 0, "round {round}");
        }
        pair.client_mut().traffic_mut().send(Unidirectional, 100);
        pair.run_until(|pair| view(pair, Role::Client, PathId::ZERO).four_tuple.local == local && pair.is_all_delivered(), secs(5))?;
    }
    let routes = pair.server().endpoint().statistics().routes;
    assert!(routes < 24, "{routes} connection ids of the server are known");
    Ok(())
}

/// Shows 9000-9-7 and 9000-9.6-1.
#[test]
fn a_client_takes_nothing_from_other_addresses_of_its_server() -> Result<(), Failure> {
    let mut pair = single(1, delay(10))?;
    pair.run_until_confirmed(secs(1))?;
    pair.network_mut().keep_payloads();
    pair.cut(FIRST);
    pair.server_mut().traffic_mut().send(Unidirectional, 500);
    pair.run_for(ms(5))?;
    let (four_tuple, mut bytes) = pair.network().kept().first().cloned().unwrap();
    let received = |pair: &Pair| pair.client().connection().map(|connection| connection.statistics().packets_received);
    let before = received(&pair);
    pair.inject_from(Role::Client, FourTuple { remote: address([10, 9, 9, 9], 4_433), ..four_tuple }, &mut bytes.clone());
    assert_eq!(received(&pair), before);
    pair.inject_from(Role::Client, four_tuple, &mut bytes);
    assert_eq!(received(&pair), before.map(|count| count + 1), "the genuine one is no duplicate");
    Ok(())
}

// ---- attackers ----

/// Shows 9000-9.3.3-1, 9000-9.3.3-2 and 9000-9.3.2-1.
#[test]
fn a_copy_that_overtakes_its_original_takes_the_path_away_for_a_moment_only() -> Result<(), Failure> {
    let mut pair = single(1, delay(10))?;
    let thief = address([10, 66, 6, 6], 666);
    let server = Pair::four_tuple(FIRST, Role::Server).local;
    let link = pair.network_mut().link(thief.ip(), server.ip(), &delay(1));
    pair.cut(link);
    pair.run_for(secs(1))?;
    pair.network_mut().keep_payloads();
    pair.client_mut().traffic_mut().send(Unidirectional, 500);
    pair.run_for(ms(1))?;
    let (four_tuple, mut copy) = pair.network().kept().first().cloned().unwrap();
    pair.inject_from(Role::Server, FourTuple { remote: thief, ..four_tuple }, &mut copy);
    assert_eq!(view(&pair, Role::Server, PathId::ZERO).four_tuple.remote, thief);
    // The server asks where the client was, and the client's answer is no mere probe.
    pair.run_until(|pair| view(pair, Role::Server, PathId::ZERO).four_tuple == four_tuple, ms(60))?;
    assert_eq!(view(&pair, Role::Server, PathId::ZERO).amplification_credit, u64::MAX, "nothing is proved again");
    assert!(view(&pair, Role::Server, PathId::ZERO).min_rtt < ms(100), "and nothing is forgotten");
    pair.run_until_delivered(secs(1)).map(|_| ())
}

/// Shows 9000-9.3.2-1 and 9000-9.3-3. attacks E10
#[test]
fn attack_e10_an_address_that_does_not_answer_gets_three_times_its_bytes_and_is_left() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::single_path())?;
    arena.ack()?;
    arena.forget_heard();
    let home = arena.evil.four_tuple;
    let packet = arena.evil.seal(EncryptionLevel::OneRtt, PathId::ZERO, None, 0, &encode(&[Frame::Ping]))?;
    let received = packet.len() as u64;
    arena.inject_from(77, packet);
    assert_eq!(place(&arena)?, addresses(77));
    arena.pump()?;
    assert!(arena.connection()?.path(PathId::ZERO).is_some_and(|path| path.amplification_credit <= 3 * received));
    arena.wait(secs(5))?;
    assert_eq!(place(&arena)?, home, "back after three PTO");
    assert_eq!(arena.connection()?.path(PathId::ZERO).map(|path| path.amplification_credit), Some(u64::MAX));
    assert_eq!(arena.close_code(), None);
    Ok(())
}

/// attacks A20
#[test]
fn attack_a20_old_packets_from_elsewhere_move_nothing() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::single_path())?;
    let home = arena.evil.four_tuple;
    let old = arena.evil.seal(EncryptionLevel::OneRtt, PathId::ZERO, None, 0, &encode(&[Frame::Ping]))?;
    let late = arena.evil.seal(EncryptionLevel::OneRtt, PathId::ZERO, None, 0, &encode(&[Frame::Ping]))?;
    arena.say(&[Frame::Ping])?;
    arena.inject(old.clone(), home);
    arena.pump()?;
    arena.ack()?;
    arena.forget_heard();
    for _ in 0..100 {
        arena.inject_from(77, old.clone());
    }
    arena.inject_from(77, late);
    assert_eq!(place(&arena)?, home, "duplicates and reordered packets");
    arena.pump()?;
    assert!(arena.evil.heard.len() <= 1, "{} answers", arena.evil.heard.len());
    Ok(())
}

/// attacks E11, L12
#[test]
fn attack_e11_a_path_that_jumps_a_thousand_times_a_second_is_asked_once_per_pto() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::single_path())?;
    arena.ack()?;
    arena.forget_heard();
    let mut received = 0_u64;
    for jump in 0..1_000_u32 {
        let packet = arena.evil.seal(EncryptionLevel::OneRtt, PathId::ZERO, None, 0, &encode(&[Frame::Ping]))?;
        received += packet.len() as u64;
        let number = u8::try_from(50 + jump % 150).unwrap_or(50);
        arena.inject_from(number, packet);
        assert_eq!(place(&arena)?, addresses(number));
        arena.pump()?;
        arena.wait(ms(1))?;
    }
    let sent: usize = arena.evil.heard.iter().map(|packet| packet.datagram).sum();
    let challenges = arena.count(|frame| matches!(frame, Frame::PathChallenge(_)));
    assert!(challenges <= 40, "{challenges} challenges in a second");
    assert!(sent as u64 <= 3 * received + 8 * 1_200, "{sent} bytes for {received}");
    assert_eq!(arena.close_code(), None);
    arena.say(&[Frame::Ping])?;
    assert_eq!(place(&arena)?, addresses(1), "the genuine peer takes it back");
    Ok(())
}

/// Shows 9000-9.6.3-5: whoever asks from elsewhere is answered there and asked too, and nothing moves.
#[test]
fn probes_are_answered_where_they_came_from_and_move_nothing() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::single_path())?;
    let home = arena.evil.four_tuple;
    arena.say(&[new_cid(None, 1, 0), new_cid(None, 2, 0)])?;
    arena.forget_heard();
    let mut payload = encode(&[Frame::PathChallenge(frame::PathChallenge { data: *b"anyone??" })]);
    payload.resize(1_200, 0);
    let dcid = arena.evil.ids.get(&(PathId::ZERO, 1)).copied();
    let packet = arena.evil.seal(EncryptionLevel::OneRtt, PathId::ZERO, dcid, 0, &payload)?;
    arena.inject_from(77, packet);
    let elsewhere = arena.pump_to(addresses(77))?;
    assert_eq!(elsewhere, 1, "one datagram goes there");
    assert_eq!(place(&arena)?, home);
    let frames: Vec<_> = arena.evil.heard.iter().filter(|packet| packet.frames().iter().any(|frame| matches!(frame, Frame::PathResponse(response) if response.data == *b"anyone??"))).collect();
    let [answer] = frames.as_slice() else { panic!("{} answers", frames.len()) };
    assert_eq!(answer.datagram, 1_200);
    assert!(answer.frames().iter().any(|frame| matches!(frame, Frame::PathChallenge(_))), "asked too");
    assert!(answer.frames().iter().all(|frame| frame.is_probing()), "and nothing else is said there");
    assert_ne!(answer.dcid, common::evil::own_cid(PathId::ZERO, 0), "under another connection id");
    Ok(())
}

/// attacks L12
#[test]
fn attack_l12_of_many_probing_addresses_one_is_kept() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::single_path())?;
    arena.forget_heard();
    for number in 50..150 {
        let probe = encode(&[Frame::PathChallenge(frame::PathChallenge { data: [number; 8] })]);
        let packet = arena.evil.seal(EncryptionLevel::OneRtt, PathId::ZERO, None, 0, &probe)?;
        arena.inject_from(number, packet);
        arena.pump()?;
    }
    let answers = arena.count(|frame| matches!(frame, Frame::PathResponse(_)));
    assert_eq!(answers, 1, "the first; others are heard again when a PTO is over");
    assert_eq!(arena.close_code(), None);
    Ok(())
}

/// Shows 9000-9-3. attacks E12
#[test]
fn attack_e12_a_server_without_migration_follows_a_nat_and_nobody_else() -> Result<(), Failure> {
    let plain = Setup::single_path();
    let server = TransportConfig { disable_active_migration: true, ..plain.server.clone() };
    let mut arena = Arena::new(&Setup { server, ..plain })?;
    arena.say(&[Frame::Ping])?;
    let home = arena.evil.four_tuple;
    let other = arena.evil.ids.get(&(PathId::ZERO, 1)).copied();
    assert!(other.is_some());
    for frames in [vec![Frame::Ping], vec![Frame::PathChallenge(frame::PathChallenge { data: [1; 8] })]] {
        let packet = arena.evil.seal(EncryptionLevel::OneRtt, PathId::ZERO, other, 0, &encode(&frames))?;
        arena.forget_heard();
        arena.inject_from(77, packet);
        arena.pump()?;
        assert_eq!((place(&arena)?, arena.evil.heard.len()), (home, 0), "dropped without a word");
    }
    let packet = arena.evil.seal(EncryptionLevel::OneRtt, PathId::ZERO, None, 0, &encode(&[Frame::Ping]))?;
    arena.inject_from(77, packet);
    assert_eq!(place(&arena)?, addresses(77), "the same connection id from another port or host");
    assert_eq!(arena.close_code(), None);
    Ok(())
}

/// attacks E6
#[test]
fn attack_e6_ids_that_come_again_with_a_migration_are_no_error() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::single_path())?;
    let ids = [new_cid(None, 1, 0), new_cid(None, 2, 0), Frame::Ping];
    arena.say(&ids)?;
    let other = arena.evil.ids.get(&(PathId::ZERO, 1)).copied();
    for dcid in [None, other, None] {
        let packet = arena.evil.seal(EncryptionLevel::OneRtt, PathId::ZERO, dcid, 0, &encode(&ids))?;
        arena.inject_from(77, packet);
        arena.pump()?;
        assert_eq!((place(&arena)?, arena.close_code()), (addresses(77), None));
    }
    assert!(!arena.events.iter().any(|event| matches!(event, Event::Closed(_))));
    Ok(())
}

// ---- helpers ----

fn address(ip: [u8; 4], port: u16) -> SocketAddr {
    SocketAddr::from((ip, port))
}

fn other_port(seed: u64) -> SocketAddr {
    address([10, 0, 1, 1], 20_000 + (seed % 1_000) as u16)
}

fn other_host(seed: u64) -> SocketAddr {
    address([10, 77, 0, (seed % 200) as u8], 1_000)
}

fn single(seed: u64, link: LinkShape) -> Result<Pair, Failure> {
    pair_with(seed, link, Multipath::Off)
}

fn pair_with(seed: u64, link: LinkShape, multipath: Multipath) -> Result<Pair, Failure> {
    let transport = TransportConfig { multipath, ..TransportConfig::default() };
    Pair::new(PairConfig { client: transport.clone(), server: transport, ..PairConfig::new(seed, vec![link]) })
}

/// Another address of the client, joined to the server's first; that link is [`SECOND`].
fn second_address(pair: &mut Pair, link: LinkShape) -> SocketAddr {
    let server = Pair::four_tuple(FIRST, Role::Server).local;
    let local = address([10, 50, 0, 1], 51_000);
    let made = pair.network_mut().link(local.ip(), server.ip(), &link);
    assert!(made == SECOND || made == LinkId(2));
    local
}

fn rebind(pair: &mut Pair, outside: SocketAddr) {
    let inside = Pair::four_tuple(FIRST, Role::Client).local;
    pair.network_mut().map(inside, outside);
}

fn migrate(pair: &mut Pair, local: SocketAddr, when: Migration) -> Result<(), MigrateError> {
    let now = pair.now();
    let connection = pair.client_mut().connection_mut().ok_or(MigrateError::UnknownPath)?;
    connection.migrate(now, PathId::ZERO, local, when)
}

fn view(pair: &Pair, role: Role, path: PathId) -> qconnection::PathView {
    let connection = pair.host(role).connection().expect("a connection");
    connection.path(path).expect("a path in use")
}

fn moved_to(pair: &Pair, remote: SocketAddr) -> bool {
    view(pair, Role::Server, PathId::ZERO).four_tuple.remote == remote
}

fn tells(pair: &Pair, role: Role, fits: impl Fn(&PathEventKind) -> bool) -> bool {
    pair.host(role).first(|event| matches!(event, Event::Path(event) if fits(&event.kind))).is_some()
}

fn ids(pair: &Pair, role: Role) -> Vec<qbase::ConnectionId> {
    pair.host(role).connection().map(|connection| connection.local_cids_of(PathId::ZERO)).unwrap_or_default()
}

fn place(arena: &Arena) -> Result<FourTuple, Failure> {
    let path = arena.connection()?.path(PathId::ZERO).filter(|path| path.state == PathState::Open);
    path.map(|path| path.four_tuple).ok_or_else(|| Failure::new("no path 0".to_owned()))
}
