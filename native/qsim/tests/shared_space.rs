//! Shared-space mode: one application packet-number space over all paths (multipath section O; burst B-87, B-102, B-104;
//! attacks L5).

use std::time::Duration;

use qbase::{Direction::{Bidirectional, Unidirectional}, ErrorCode, PathId, Role, SpaceId, frame::PathStatusKind, limits};
use qcongestion::algorithm::Algorithm;
use qconnection::{
    Event, Multipath, Scheduler, TransportConfig,
    connection::{SpaceView, events::{EarlyStatus, PathEventKind}},
    path::{EcnState, PathMode, PathState, PathView},
};
use qsim::{Failure, LinkShape, Pair, PairConfig, Paths, Random, Reorder, pair::TlsSetup};

use crate::common;
use common::{FIRST, SECOND, back, delay, for_each_seed, forth, ms, secs};

const ONE: PathId = PathId(1);

fn shared() -> TransportConfig {
    TransportConfig { multipath: Multipath::SharedSpace, ..TransportConfig::default() }
}

fn config(seed: u64, links: Vec<LinkShape>) -> PairConfig {
    PairConfig { client: shared(), server: shared(), ..PairConfig::new(seed, links) }
}

fn mode(pair: &Pair, role: Role) -> Option<PathMode> {
    pair.host(role).connection().map(|connection| connection.path_mode())
}

fn view(pair: &Pair, role: Role, path: PathId) -> Option<PathView> {
    pair.host(role).connection().and_then(|connection| connection.path(path))
}

fn space(pair: &Pair, role: Role, path: PathId) -> Option<SpaceView> {
    pair.host(role).connection().and_then(|connection| connection.space(SpaceId::Application(path)))
}

fn is_abandoned(pair: &Pair, role: Role, path: PathId) -> bool {
    let gone = |event: &Event| matches!(event, Event::Path(event) if event.path == path && matches!(event.kind, PathEventKind::Abandoned(_)));
    pair.host(role).first(gone).is_some()
}

/// Packets declared lost, and those of them that came after all.
fn losses(pair: &Pair, role: Role) -> (u64, u64) {
    let statistics = pair.host(role).connection().map(|connection| connection.statistics());
    statistics.map_or((0, 0), |statistics| (statistics.packets_lost, statistics.packets_spuriously_lost))
}

/// multipath MP-98, MP-99
#[test]
fn both_ends_must_offer_it_and_nobody_else_is_disturbed() -> Result<(), Failure> {
    use Multipath::{Auto, Off, SharedSpace};
    for (client, server, expected) in [
        (SharedSpace, SharedSpace, PathMode::SharedSpace),
        (SharedSpace, Auto, PathMode::None),
        (Auto, SharedSpace, PathMode::None),
        (SharedSpace, Off, PathMode::None),
        (Off, SharedSpace, PathMode::None),
        (Auto, Auto, PathMode::Ietf),
    ] {
        let transport = |multipath| TransportConfig { multipath, ..TransportConfig::default() };
        let links = vec![delay(10), delay(10)];
        let mut pair = Pair::new(PairConfig { client: transport(client), server: transport(server), ..PairConfig::new(1, links) })?;
        pair.client_mut().traffic_mut().send(Bidirectional, 50_000);
        pair.run_until_delivered(secs(5))?;
        pair.run_for(secs(1))?;
        for role in [Role::Client, Role::Server] {
            assert_eq!(mode(&pair, role), Some(expected), "{client:?} to {server:?}");
            let open = view(&pair, role, ONE).is_some_and(|path| path.state == PathState::Open);
            assert_eq!(open, expected != PathMode::None, "{client:?} to {server:?}");
        }
    }
    Ok(())
}

/// multipath MP-100, MP-101
#[test]
fn numbers_are_one_row_over_both_paths_and_every_path_shows_the_one_space() -> Result<(), Failure> {
    let link = delay(10).at_rate(10_000_000);
    let mut pair = Pair::new(config(1, vec![link.clone(), link]))?;
    pair.client_mut().traffic_mut().send(Unidirectional, 2_000_000);
    pair.server_mut().traffic_mut().send(Unidirectional, 2_000_000);
    pair.run_until_delivered(secs(20))?;
    pair.run_for(secs(1))?;
    for role in [Role::Client, Role::Server] {
        let (first, second) = (space(&pair, role, PathId::ZERO), space(&pair, role, ONE));
        assert!(first.is_some() && first == second);
        let peer = space(&pair, role.peer(), PathId::ZERO);
        assert_eq!(first.as_ref().map(|space| space.largest_sent), peer.map(|space| space.largest_received));
        let sent: u64 = [PathId::ZERO, ONE].iter().filter_map(|path| view(&pair, role, *path)).map(|path| path.counters.packets_sent).sum();
        let numbers = first.and_then(|space| space.largest_sent).unwrap_or_default();
        // Some are left out (attacks C2), a few packets had numbers of the handshake.
        assert!(numbers > sent - 30 && numbers < sent + sent / 50 + 20, "{numbers} numbers for {sent} packets");
    }
    for link in [FIRST, SECOND] {
        assert!(forth(&pair, link) > 600_000 && back(&pair, link) > 600_000, "link {}", link.0);
    }
    Ok(())
}

/// burst B-102, B-104; multipath MP-102, MP-105
#[test]
fn paths_of_very_different_delay_lose_nothing_by_it_and_each_knows_its_own_round_trip() -> Result<(), Failure> {
    for algorithm in [Algorithm::Cubic, Algorithm::NewReno, Algorithm::Bbr3] {
        for (near, far) in [(5, 150), (10, 40), (100, 5)] {
            let transport = || TransportConfig { scheduler: Scheduler::RoundRobin, congestion: algorithm, ..shared() };
            // Queues that never overflow: what is declared lost is declared wrongly.
            let links = vec![delay(near).at_rate(20_000_000), delay(far).at_rate(20_000_000)];
            let server = TransportConfig { stream_window: 1 << 20, connection_window: 1 << 20, max_stream_window: 1 << 20, max_connection_window: 1 << 20, ..transport() };
            let mut pair = Pair::new(PairConfig { client: transport(), server, ..config(1, links) })?;
            pair.run_until_confirmed(secs(5))?;
            pair.run_for(secs(1))?;
            pair.client_mut().traffic_mut().send(Unidirectional, 8_000_000);
            pair.run_until_delivered(secs(60))?;
            let name = format!("{algorithm:?}, {near} and {far} ms");
            let (lost, spurious) = losses(&pair, Role::Client);
            assert!(spurious == 0, "{name}: {lost} lost, {spurious} of them wrongly");
            for (path, delay) in [(PathId::ZERO, near), (ONE, far)] {
                let path = view(&pair, Role::Client, path).ok_or_else(|| common::ends::failure("no path"))?;
                let rtt = path.min_rtt;
                assert!(rtt >= ms(2 * delay) && rtt < ms(2 * delay + 15), "{name}: min_rtt {rtt:?}");
                assert!(path.latest_rtt >= ms(2 * delay), "{name}: the latest is {:?}", path.latest_rtt);
            }
            assert!(forth(&pair, FIRST).min(forth(&pair, SECOND)) > 60_000, "{name}: both carried data");
        }
    }
    Ok(())
}

/// multipath MP-105: the acknowledgements of the quick path do not take the samples of the slow one away.
#[test]
fn a_path_whose_round_trip_grows_notices_though_the_other_paths_acks_are_first() -> Result<(), Failure> {
    let transport = TransportConfig { scheduler: Scheduler::RoundRobin, ..shared() };
    let links = vec![delay(5).at_rate(20_000_000), delay(50).at_rate(20_000_000)];
    let mut pair = Pair::new(PairConfig { client: transport, ..config(1, links) })?;
    pair.client_mut().traffic_mut().send(Unidirectional, 30_000_000);
    pair.run_until(|pair| pair.server().traffic().received() > 2_000_000, secs(20))?;
    pair.set(SECOND, &delay(120).at_rate(20_000_000));
    pair.run_for(secs(2))?;
    let slow = view(&pair, Role::Client, ONE).ok_or_else(|| common::ends::failure("no path"))?;
    assert!(slow.smoothed_rtt > ms(230), "{:?}", slow.smoothed_rtt);
    Ok(())
}

#[test]
fn two_paths_are_as_fast_as_with_spaces_of_their_own() -> Result<(), Failure> {
    for (near, far) in [(10, 10), (10, 60)] {
        let time = |transport: fn() -> TransportConfig| -> Result<Duration, Failure> {
            let links = vec![delay(near).at_rate(20_000_000), delay(far).at_rate(20_000_000)];
            let mut pair = Pair::new(PairConfig { client: transport(), server: transport(), ..PairConfig::new(3, links) })?;
            pair.client_mut().traffic_mut().send(Unidirectional, 10_000_000);
            pair.run_until_delivered(secs(30))
        };
        let (own, one) = (time(TransportConfig::default)?, time(shared)?);
        assert!(one.as_secs_f64() < 1.1 * own.as_secs_f64(), "{near} and {far} ms: {one:?}, with spaces of their own {own:?}");
    }
    Ok(())
}

#[test]
fn lost_acknowledgements_cost_no_byte_and_no_more_wrong_losses_than_with_spaces_of_their_own() -> Result<(), Failure> {
    let sum = |transport: fn() -> TransportConfig| -> Result<(u64, u64), Failure> {
        let mut sum = (0, 0);
        for seed in 0..16 {
            let links = vec![delay(10).at_rate(20_000_000), delay(30).at_rate(20_000_000)];
            let mut pair = Pair::new(PairConfig { client: transport(), server: transport(), ..PairConfig::new(seed, links) })?;
            pair.run_until_confirmed(secs(5))?;
            pair.client_mut().traffic_mut().send(Unidirectional, 3_000_000);
            // A fifth of everything is lost on one path: acknowledgements too.
            let lossy = |millis| delay(millis).at_rate(20_000_000).with_loss(0.2);
            pair.run_for(ms(300))?;
            pair.set(if seed % 2 == 0 { FIRST } else { SECOND }, &lossy(if seed % 2 == 0 { 10 } else { 30 }));
            pair.run_until_delivered(secs(60))?;
            let (lost, spurious) = losses(&pair, Role::Client);
            sum = (sum.0 + lost, sum.1 + spurious);
        }
        Ok(sum)
    };
    let (own, one) = (sum(TransportConfig::default)?, sum(shared)?);
    assert!(one.1 <= own.1 + own.1 / 4 + 10, "lost and wrongly lost: {one:?}, with spaces of their own {own:?}");
    Ok(())
}

/// multipath MP-83; attacks F17
#[test]
fn a_path_that_falls_silent_stalls_nothing_for_longer_than_promised() -> Result<(), Failure> {
    for_each_seed(0..40, |seed| {
        let link = delay(10).at_rate(10_000_000);
        let mut pair = Pair::new(config(seed, vec![link.clone(), link]))?;
        pair.client_mut().traffic_mut().send(Unidirectional, 3_000_000);
        pair.run_until(|pair| pair.server().traffic().received() > 300_000 + 10_000 * seed, secs(20))?;
        pair.cut(if seed % 2 == 0 { FIRST } else { SECOND });
        let now = pair.now();
        pair.server_mut().traffic_mut().watch_stalls(now);
        pair.run_until_delivered(secs(20))?;
        let stall = pair.server().traffic().longest_stall();
        // The copies wait in the queue of the other link, which holds 100 ms.
        assert!(stall <= ms(300) + ms(100), "seed {seed}: {stall:?}");
        Ok(())
    })
}

#[test]
fn a_path_cut_in_one_direction_is_no_trap() -> Result<(), Failure> {
    for directions in [qsim::Directions::AToB, qsim::Directions::BToA] {
        for link in [FIRST, SECOND] {
            let shape = delay(10).at_rate(10_000_000);
            let mut pair = Pair::new(config(1, vec![shape.clone(), shape]))?;
            pair.client_mut().traffic_mut().send(Unidirectional, 2_000_000);
            pair.server_mut().traffic_mut().send(Unidirectional, 2_000_000);
            pair.run_until(|pair| pair.server().traffic().received() > 500_000, secs(5))?;
            let now = pair.now();
            pair.network_mut().cut(now, link, directions);
            pair.run_until_delivered(secs(20))?;
        }
    }
    Ok(())
}

/// multipath MP-104: an acknowledgement over one path tells what still came over the other before that was cut.
#[test]
fn what_came_over_a_path_before_it_died_is_not_sent_again() -> Result<(), Failure> {
    let again = |transport: fn() -> TransportConfig| -> Result<u64, Failure> {
        let config = PairConfig { client: transport(), server: transport(), ..PairConfig::new(1, vec![delay(10), delay(15)]) };
        let mut pair = Pair::new(config)?;
        pair.client_mut().traffic_mut().send(Unidirectional, 400_000);
        pair.run_until(|pair| pair.server().traffic().received() > 200_000, secs(10))?;
        pair.cut(FIRST);
        pair.run_until_delivered(secs(10))?;
        Ok(forth(&pair, FIRST) + forth(&pair, SECOND))
    };
    let (own, one) = (again(TransportConfig::default)?, again(shared)?);
    assert!(one <= own, "{one} bytes arrived, with spaces of their own {own}");
    Ok(())
}

/// multipath MP-62 to MP-65, MP-100
#[test]
fn paths_are_abandoned_in_any_order_and_the_space_goes_on() -> Result<(), Failure> {
    for_each_seed(0..40, |seed| {
        let link = delay(10 + seed % 7).at_rate(10_000_000);
        let mut pair = Pair::new(config(seed, vec![link.clone(), link]))?;
        pair.client_mut().traffic_mut().send(Unidirectional, 1_500_000);
        pair.server_mut().traffic_mut().send(Unidirectional, 1_500_000);
        pair.run_until(|pair| pair.server().traffic().received() > 400_000, secs(20))?;
        let (path, role) = (PathId(u32::from(seed % 3 == 1)), if seed % 4 < 2 { Role::Client } else { Role::Server });
        let now = pair.now();
        if let Some(connection) = pair.host_mut(role).connection_mut() {
            connection.abandon_path(now, path, ErrorCode::APPLICATION_ABANDON_PATH.0).unwrap();
        }
        pair.run_until_delivered(secs(20))?;
        pair.run_until(|pair| [Role::Client, Role::Server].into_iter().all(|role| is_abandoned(pair, role, path)), secs(5))?;
        let now = pair.now();
        let updated = pair.host_mut(role).connection_mut().is_some_and(|connection| connection.update_key(now));
        pair.client_mut().traffic_mut().send(Unidirectional, 200_000);
        pair.server_mut().traffic_mut().send(Unidirectional, 200_000);
        pair.run_until_delivered(secs(20))?;
        assert!(updated && space(&pair, role, path).is_none(), "seed {seed}");
        Ok(())
    })
}

/// multipath MP-16, MP-56, MP-100
#[test]
fn paths_come_and_go_and_their_ids_rise() -> Result<(), Failure> {
    let mut pair = Pair::new(PairConfig { paths: Paths::First, ..config(1, vec![delay(5), delay(5)]) })?;
    pair.run_until_confirmed(secs(1))?;
    for round in 1..=30_u32 {
        pair.open_path(SECOND, PathStatusKind::Available)?;
        pair.client_mut().traffic_mut().send(Unidirectional, 20_000);
        let path = PathId(round);
        pair.run_until(|pair| view(pair, Role::Client, path).is_some_and(|path| path.state == PathState::Open), secs(5))?;
        let now = pair.now();
        if let Some(connection) = pair.client_mut().connection_mut() {
            connection.abandon_path(now, path, 0).unwrap();
        }
        pair.run_until(|pair| is_abandoned(pair, Role::Client, path) && pair.is_all_delivered(), secs(5))?;
    }
    Ok(())
}

/// RFC 9001 §6; multipath MP-33, MP-106: one row of numbers tells old keys from new ones, whichever path a packet took.
#[test]
fn keys_are_updated_while_packets_of_both_phases_are_under_way_on_both_paths() -> Result<(), Failure> {
    for_each_seed(0..40, |seed| {
        let links = vec![delay(5 + seed % 5).at_rate(10_000_000).with_loss(0.02), delay(80).at_rate(10_000_000).with_loss(0.02)];
        let mut pair = Pair::new(config(seed, links))?;
        pair.client_mut().traffic_mut().send(Unidirectional, 1_000_000);
        pair.server_mut().traffic_mut().send(Unidirectional, 1_000_000);
        pair.run_until_confirmed(secs(20))?;
        pair.run_for(ms(300 + 7 * seed))?;
        let mut updates = 0;
        while !pair.is_all_delivered() && updates < 20 {
            let now = pair.now();
            let role = if (seed + updates) % 2 == 0 { Role::Client } else { Role::Server };
            updates += u64::from(pair.host_mut(role).connection_mut().is_some_and(|connection| connection.update_key(now)));
            pair.run_for(ms(100))?;
        }
        pair.run_until_delivered(secs(60))?;
        pair.run_for(secs(2))?;
        pair.client_mut().traffic_mut().send(Unidirectional, 20_000);
        pair.server_mut().traffic_mut().send(Unidirectional, 20_000);
        pair.run_until_delivered(secs(60))?;
        pair.run_for(secs(2))?;
        let of = |role| pair.host(role).connection().map(|connection| connection.statistics().key_updates);
        assert!(updates > 0 && of(Role::Client) == of(Role::Server), "seed {seed}: {:?} and {:?}", of(Role::Client), of(Role::Server));
        Ok(())
    })
}

/// multipath MP-33
#[test]
fn attack_b24_one_key_protects_no_more_packets_of_all_paths_than_it_may() -> Result<(), Failure> {
    for_each_seed(0..5, |seed| {
        let links = vec![delay(5).at_rate(20_000_000), delay(9).at_rate(20_000_000)];
        let client = TransportConfig { confidentiality_limit: Some(1_200), ..shared() };
        let mut pair = Pair::new(PairConfig { client, ..config(seed, links) })?;
        pair.client_mut().traffic_mut().send(Unidirectional, 6_000_000);
        pair.run_until_delivered(secs(30))?;
        let statistics = pair.client().connection().map(|connection| connection.statistics()).ok_or_else(|| common::ends::failure("no connection"))?;
        assert!(statistics.packets_sent > 3_600 && statistics.key_updates >= statistics.packets_sent / 1_200, "seed {seed}: {statistics:?}");
        Ok(())
    })
}

/// multipath MP-27, MP-100
#[test]
fn one_path_moves_behind_a_nat_and_the_other_does_not_notice() -> Result<(), Failure> {
    for_each_seed(0..20, |seed| {
        let link = delay(10).at_rate(10_000_000);
        let mut pair = Pair::new(config(seed, vec![link.clone(), link]))?;
        pair.client_mut().traffic_mut().send(Unidirectional, 3_000_000);
        pair.server_mut().traffic_mut().send(Unidirectional, 1_000_000);
        pair.run_until(|pair| pair.server().traffic().received() > 500_000, secs(20))?;
        let moved = if seed % 2 == 0 { FIRST } else { SECOND };
        let inside = Pair::four_tuple(moved, Role::Client).local;
        let outside = std::net::SocketAddr::from(([10, 77, 0, 9], 1_234));
        pair.network_mut().map(inside, outside);
        pair.run_until_delivered(secs(30))?;
        let seen: Vec<_> = pair.server().connection().into_iter().flat_map(|connection| connection.paths()).map(|path| path.four_tuple.remote).collect();
        assert!(seen.contains(&outside) && seen.len() == 2, "seed {seed}: {seen:?}");
        Ok(())
    })
}

/// multipath MP-99, MP-101: early data is part of the row of numbers, accepted or not.
#[test]
fn early_data_is_followed_by_paths_that_go_on_with_its_numbers() -> Result<(), Failure> {
    for rejected in [false, true] {
        let tls = TlsSetup { early_data: true, ..TlsSetup::default() };
        let mut pair = Pair::new(PairConfig { tls, ..config(4, vec![delay(20), delay(30)]) })?;
        pair.finish_first()?;
        if let (true, Some(sessions)) = (rejected, &pair.tls().server.sessions) {
            sessions.clear();
        }
        pair.redial()?;
        pair.client_mut().traffic_mut().send(Bidirectional, 8_000);
        pair.run_until_delivered(secs(5))?;
        let expected = if rejected { EarlyStatus::Rejected } else { EarlyStatus::Accepted };
        assert_eq!(pair.client().connection().map(|connection| connection.early_status()), Some(expected));
        pair.run_until(|pair| view(pair, Role::Client, ONE).is_some_and(|path| path.state == PathState::Open), secs(5))?;
        pair.client_mut().traffic_mut().send(Bidirectional, 500_000);
        pair.run_until_delivered(secs(10))?;
        assert_eq!(mode(&pair, Role::Client), Some(PathMode::SharedSpace));
    }
    Ok(())
}

/// multipath MP-107
#[test]
fn application_packets_are_not_marked() -> Result<(), Failure> {
    let link = delay(10).at_rate(10_000_000);
    let mut pair = Pair::new(config(1, vec![link.clone(), link]))?;
    pair.client_mut().traffic_mut().send(Unidirectional, 500_000);
    pair.run_until_delivered(secs(20))?;
    for path in [PathId::ZERO, ONE] {
        assert_eq!(view(&pair, Role::Client, path).map(|path| path.ecn), Some(EcnState::Failed));
    }
    Ok(())
}

#[test]
fn every_scheduler_and_handshake_mode_delivers() -> Result<(), Failure> {
    use qconnection::HandshakeMode::{Independent, Race, Shared, Single, Stagger};
    for scheduler in Scheduler::ALL {
        for handshake in [Single, Stagger(ms(50)), Race, Shared, Independent] {
            let transport = TransportConfig { scheduler, handshake, ..shared() };
            let links = vec![delay(10).at_rate(20_000_000), delay(25).at_rate(20_000_000)];
            let mut pair = Pair::new(PairConfig { client: transport.clone(), server: TransportConfig { scheduler, ..shared() }, ..config(1, links) })?;
            pair.client_mut().traffic_mut().send(Unidirectional, 1_000_000);
            pair.server_mut().traffic_mut().send(Unidirectional, 1_000_000);
            pair.run_until_delivered(secs(20))?;
            assert_eq!(mode(&pair, Role::Server), Some(PathMode::SharedSpace), "{} {}", scheduler.name(), handshake.name());
        }
    }
    Ok(())
}

/// A path that rests while millions of packets go elsewhere must still be read (multipath MP-101). Numbers are far beyond
/// two bytes apart here; beyond four the test stands in `native/qconnection/src/space/one.rs`.
#[test]
fn a_path_that_rested_while_the_other_sent_a_hundred_thousand_packets_is_read() -> Result<(), Failure> {
    let transport = || TransportConfig { scheduler: Scheduler::Backup, max_mtu: 1_200, ..shared() };
    let links = vec![delay(1).at_rate(400_000_000), delay(1).at_rate(400_000_000)];
    let mut pair = Pair::new(PairConfig { client: transport(), server: transport(), paths: Paths::First, ..config(1, links) })?;
    pair.open_path(SECOND, PathStatusKind::Backup)?;
    pair.client_mut().traffic_mut().send(Unidirectional, 90_000_000);
    pair.run_until_delivered(secs(60))?;
    let numbers = space(&pair, Role::Client, ONE).and_then(|space| space.largest_sent).unwrap_or_default();
    assert!(numbers > 1 << 16, "{numbers}");
    pair.cut(FIRST);
    pair.client_mut().traffic_mut().send(Unidirectional, 300_000);
    pair.run_until_delivered(secs(10)).map(|_| ())
}

/// attacks L5: holes of slower paths and of losses stay within the bound, and what is dropped costs time and no byte.
#[test]
fn attack_l5_ranges_stay_within_the_bound_of_the_shared_space() -> Result<(), Failure> {
    let links = vec![delay(5).at_rate(20_000_000).with_loss(0.3), delay(200).at_rate(20_000_000).with_loss(0.3)];
    let transport = TransportConfig { scheduler: Scheduler::RoundRobin, congestion: Algorithm::Bbr3, ..shared() };
    let mut pair = Pair::new(PairConfig { client: transport, ..config(5, links) })?;
    pair.client_mut().traffic_mut().send(Unidirectional, 3_000_000);
    while !pair.is_all_delivered() {
        pair.run_for(ms(50))?;
        let held = space(&pair, Role::Server, PathId::ZERO).map_or(0, |space| space.received.len());
        assert!(held <= limits::ACK_RANGES_SHARED, "{held} ranges");
    }
    Ok(())
}

/// Whatever the links do, every byte arrives (multipath section O).
#[test]
fn random_links_deliver_every_byte() -> Result<(), Failure> {
    for_each_seed(0..200, |seed| {
        let mut random = Random::labelled(seed, 0x0e5a);
        let shape = |random: &mut Random| LinkShape {
            jitter: ms(random.below(10)),
            duplicate: if random.chance(0.3) { 0.1 } else { 0.0 },
            reorder: random.chance(0.3).then_some(Reorder { probability: 0.1, by: ms(random.below(40)) }),
            ..delay(1 + random.below(150)).at_rate(1_000_000 + random.below(20_000_000)).with_loss(random.fraction() * 0.08)
        };
        let links: Vec<LinkShape> = (0..2 + random.below(2)).map(|_| shape(&mut random)).collect();
        let transport = |random: &mut Random| TransportConfig {
            scheduler: Scheduler::ALL[random.below(Scheduler::ALL.len() as u64) as usize],
            congestion: [Algorithm::Cubic, Algorithm::NewReno, Algorithm::Bbr3][random.below(3) as usize],
            ack_frequency: random.chance(0.5),
            ..shared()
        };
        let (client, server) = (transport(&mut random), transport(&mut random));
        let count = links.len() as u64;
        let mut pair = Pair::new(PairConfig { client, server, ..config(seed, links) })?;
        for _ in 0..1 + random.below(5) {
            pair.client_mut().traffic_mut().send(Unidirectional, random.below(200_000));
            pair.server_mut().traffic_mut().send(Unidirectional, random.below(200_000));
        }
        pair.run_for(ms(random.below(3_000)))?;
        let cut = qsim::LinkId(random.below(count) as u32);
        if random.chance(0.5) {
            pair.cut(cut);
        }
        pair.run_until_delivered(secs(120)).map(|_| ())
    })
}
