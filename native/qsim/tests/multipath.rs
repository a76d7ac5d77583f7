//! Several paths: sharing, abandoning, silent death, backup, all dark (multipath sections C, H, I, M; attacks F17 to F21).

use std::time::Duration;

use qbase::{Direction, ErrorCode, PathId, Role, Timestamp, frame::PathStatusKind, limits};
use qconnection::{
    AckPath, Event, Scheduler, TransportConfig,
    connection::events::{PathEventKind, WaitingFor},
    endpoint::SendFailure,
    path::PathState,
};
use qsim::{Directions, Failure, Interface, LinkShape, Pair, PairConfig, Paths};

use crate::common;
use common::{FIRST, SECOND, back, delay, for_each_seed, forth, ms, secs};

use Direction::Unidirectional;

#[test]
fn two_paths_both_carry_data_and_are_faster_than_one() -> Result<(), Failure> {
    let link = delay(10).at_rate(10_000_000);
    let one = transfer_time(vec![link.clone()], 3_000_000)?;
    let mut pair = Pair::new(PairConfig::new(1, vec![link.clone(), link]))?;
    pair.client_mut().traffic_mut().send(Unidirectional, 3_000_000);
    let two = pair.run_until_delivered(secs(20))?;
    let (first, second) = (forth(&pair, FIRST), forth(&pair, SECOND));
    assert!(first > 1_000_000 && second > 1_000_000, "{first} and {second} bytes");
    assert!(two.as_secs_f64() < 0.65 * one.as_secs_f64(), "{two:?} on two, {one:?} on one");
    Ok(())
}

#[test]
fn both_ends_use_both_paths() -> Result<(), Failure> {
    let link = delay(10).at_rate(10_000_000);
    let mut pair = Pair::new(PairConfig::new(1, vec![link.clone(), link]))?;
    pair.client_mut().traffic_mut().send(Unidirectional, 2_000_000);
    pair.server_mut().traffic_mut().send(Unidirectional, 2_000_000);
    pair.run_until_delivered(secs(20))?;
    for link in [FIRST, SECOND] {
        assert!(forth(&pair, link) > 600_000 && back(&pair, link) > 600_000, "link {}", link.0);
    }
    Ok(())
}

#[test]
fn every_scheduler_delivers_and_spreads_as_it_says() -> Result<(), Failure> {
    for scheduler in Scheduler::ALL {
        let config = TransportConfig { scheduler, ..TransportConfig::default() };
        // Copies take what data leave of the paths' windows: the peer must allow less data than both could carry.
        let stream_window = if scheduler == Scheduler::Redundant { 64 * 1_024 } else { limits::STREAM_WINDOW };
        let max_stream_window = if scheduler == Scheduler::Redundant { stream_window } else { limits::MAX_STREAM_WINDOW };
        let server = TransportConfig { stream_window, max_stream_window, ..TransportConfig::default() };
        let links = vec![delay(10).at_rate(20_000_000), delay(15).at_rate(20_000_000)];
        let mut pair = Pair::new(PairConfig { client: config, server, ..PairConfig::new(1, links) })?;
        pair.client_mut().traffic_mut().send(Unidirectional, 4_000_000);
        pair.run_until_delivered(secs(20))?;
        let (first, second) = (forth(&pair, FIRST), forth(&pair, SECOND));
        let fair = match scheduler {
            Scheduler::MinRtt => first >= second,
            Scheduler::RoundRobin | Scheduler::Blest | Scheduler::Ecf | Scheduler::Deadline(_) => second * 2 > first,
            Scheduler::Weighted => first.abs_diff(second) < 200_000,
            Scheduler::Backup => second < 20_000,
            // Copies still waiting when the last byte arrives are never sent.
            Scheduler::Redundant => first > 2_000_000 && second > 2_000_000 && first + second > 5_000_000,
        };
        assert!(fair, "{}: {first} and {second} bytes", scheduler.name());
    }
    Ok(())
}

#[test]
fn an_abandoned_path_takes_no_byte_with_it() -> Result<(), Failure> {
    for_each_seed(0..40, |seed| {
        let link = delay(10 + seed % 7).at_rate(10_000_000);
        let mut pair = Pair::new(PairConfig::new(seed, vec![link.clone(), link]))?;
        pair.client_mut().traffic_mut().send(Unidirectional, 1_500_000);
        pair.server_mut().traffic_mut().send(Unidirectional, 1_500_000);
        pair.run_until(|pair| pair.server().traffic().received() > 400_000, secs(20))?;
        let path = PathId(u32::from(seed % 2 == 1));
        let role = if seed % 4 < 2 { Role::Client } else { Role::Server };
        let now = pair.now();
        if let Some(connection) = pair.host_mut(role).connection_mut() {
            connection.abandon_path(now, path, ErrorCode::APPLICATION_ABANDON_PATH.0).unwrap();
        }
        pair.run_until_delivered(secs(20))?;
        pair.run_until(
            |pair| is_abandoned(pair, Role::Client, path) && is_abandoned(pair, Role::Server, path),
            secs(5),
        )?;
        Ok(())
    })
}

#[test]
fn nothing_is_sent_on_a_path_that_is_gone() -> Result<(), Failure> {
    let link = delay(10).at_rate(10_000_000);
    let mut pair = Pair::new(PairConfig::new(1, vec![link.clone(), link]))?;
    pair.client_mut().traffic_mut().send(Unidirectional, 3_000_000);
    pair.run_until(|pair| pair.server().traffic().received() > 400_000, secs(20))?;
    let now = pair.now();
    if let Some(connection) = pair.client_mut().connection_mut() {
        connection.abandon_path(now, PathId::ZERO, 0).unwrap();
    }
    pair.run_until(|pair| is_abandoned(pair, Role::Client, PathId::ZERO), secs(5))?;
    let before = pair.network().statistics(FIRST, qsim::LinkDirection::AToB).offered;
    pair.run_until_delivered(secs(20))?;
    assert_eq!(pair.network().statistics(FIRST, qsim::LinkDirection::AToB).offered, before);
    Ok(())
}

#[test]
fn attack_f17_a_silently_dead_path_stalls_the_transfer_for_two_ptos_at_most() -> Result<(), Failure> {
    for_each_seed(0..40, |seed| {
        let link = delay(10).at_rate(10_000_000);
        let mut pair = Pair::new(PairConfig::new(seed, vec![link.clone(), link]))?;
        pair.client_mut().traffic_mut().send(Unidirectional, 3_000_000);
        pair.run_until(|pair| pair.server().traffic().received() > 300_000 + 10_000 * seed, secs(20))?;
        let dead = if seed % 2 == 0 { FIRST } else { SECOND };
        pair.cut(dead);
        let bound = 2 * pto(&pair, Role::Client, PathId(dead.0));
        let now = pair.now();
        pair.server_mut().traffic_mut().watch_stalls(now);
        pair.run_until_delivered(secs(20))?;
        // The copies wait in the queue of the other link, which holds 100 ms.
        let (stall, bound) = (pair.server().traffic().longest_stall(), bound.max(ms(300)) + ms(100));
        assert!(stall <= bound, "seed {seed}: stalled for {stall:?}, allowed are {bound:?} (attacks F17)");
        Ok(())
    })
}

#[test]
fn a_path_that_comes_back_is_used_again() -> Result<(), Failure> {
    let link = delay(10).at_rate(5_000_000);
    let mut pair = Pair::new(PairConfig::new(1, vec![link.clone(), link]))?;
    pair.client_mut().traffic_mut().send(Unidirectional, 6_000_000);
    pair.run_until(|pair| pair.server().traffic().received() > 500_000, secs(20))?;
    pair.cut(SECOND);
    pair.run_for(secs(2))?;
    pair.restore(SECOND);
    let before = forth(&pair, SECOND);
    pair.run_for(secs(1))?;
    let after = forth(&pair, SECOND) - before;
    assert!(after > 200_000, "{after} bytes in the second after it came back");
    pair.run_until_delivered(secs(20)).map(|_| ())
}

#[test]
fn a_backup_path_rests_until_it_is_needed() -> Result<(), Failure> {
    let link = delay(10).at_rate(10_000_000);
    let config = PairConfig { paths: Paths::First, ..PairConfig::new(1, vec![link.clone(), link]) };
    let mut pair = Pair::new(config)?;
    pair.open_path(SECOND, PathStatusKind::Backup)?;
    pair.client_mut().traffic_mut().send(Unidirectional, 3_000_000);
    pair.server_mut().traffic_mut().send(Unidirectional, 3_000_000);
    pair.run_until(|pair| pair.server().traffic().received() > 1_000_000, secs(20))?;
    assert!(forth(&pair, SECOND) < 30_000, "{} bytes on the backup path (multipath MP-57)", forth(&pair, SECOND));
    assert!(back(&pair, SECOND) < 60_000, "{} bytes back on the backup path", back(&pair, SECOND));
    pair.cut(FIRST);
    pair.run_until_delivered(secs(20))?;
    assert!(forth(&pair, SECOND) > 1_000_000, "{} bytes after the first path died", forth(&pair, SECOND));
    Ok(())
}

#[test]
fn attack_f18_all_paths_dark_is_survived_and_forgotten_within_a_second() -> Result<(), Failure> {
    for outage in [1, 5, 29] {
        let link = delay(10).at_rate(10_000_000);
        let mut pair = Pair::new(PairConfig::new(outage, vec![link.clone(), link]))?;
        pair.client_mut().traffic_mut().send(Unidirectional, 3_000_000);
        pair.run_until(|pair| pair.server().traffic().received() > 500_000, secs(5))?;
        pair.cut(FIRST);
        pair.cut(SECOND);
        pair.run_for(secs(outage))?;
        pair.restore(FIRST);
        pair.restore(SECOND);
        let before = pair.server().traffic().received();
        let resumed = pair.run_until(|pair| pair.server().traffic().received() > before, secs(60))?;
        assert!(resumed <= secs(1), "resumed {resumed:?} after {outage} s of darkness (attacks F18)");
        pair.run_until_delivered(secs(30))?;
    }
    Ok(())
}

#[test]
fn attack_f19_a_path_with_a_hundred_times_the_delay_does_not_drag_a_good_one_down() -> Result<(), Failure> {
    assert_harmless(delay(1_000).at_rate(20_000_000))
}

#[test]
fn attack_f19_a_path_with_a_hundredth_of_the_rate_does_not_drag_a_good_one_down() -> Result<(), Failure> {
    assert_harmless(delay(10).at_rate(200_000))
}

#[test]
fn attack_f19_a_path_that_loses_half_does_not_drag_a_good_one_down() -> Result<(), Failure> {
    assert_harmless(delay(10).at_rate(20_000_000).with_loss(0.5))
}

#[test]
fn attack_f21_an_interface_that_goes_down_costs_one_path_and_no_byte() -> Result<(), Failure> {
    let link = delay(10).at_rate(10_000_000);
    let mut pair = Pair::new(PairConfig::new(1, vec![link.clone(), link]))?;
    pair.client_mut().traffic_mut().send(Unidirectional, 3_000_000);
    pair.run_until(|pair| pair.server().traffic().received() > 500_000, secs(5))?;
    let (now, local) = (pair.now(), Pair::four_tuple(FIRST, Role::Client).local.ip());
    pair.network_mut().set_interface(now, local, Interface::Down);
    pair.server_mut().traffic_mut().watch_stalls(now);
    pair.run_until_delivered(secs(20))?;
    assert!(pair.client().sent().refused > 0);
    let told = pair.client().first(|event| kind(event) == Some(PathEventKind::SendError(SendFailure::NetworkDown)));
    assert!(told.is_some(), "attacks F21");
    assert!(pair.server().traffic().longest_stall() <= ms(300), "{:?}", pair.server().traffic().longest_stall());
    Ok(())
}

/// A socket that refuses is told at once, then once a second, whatever is refused (attacks F21).
#[test]
fn attack_f21_a_socket_that_goes_on_refusing_is_news_once_a_second() -> Result<(), Failure> {
    let link = delay(10).at_rate(10_000_000);
    let mut config = PairConfig::new(1, vec![link.clone(), link]);
    config.client.abandon_after = secs(60);
    config.server.abandon_after = secs(60);
    let mut pair = Pair::new(config)?;
    pair.client_mut().traffic_mut().send(Unidirectional, 3_000_000);
    pair.run_until(|pair| pair.server().traffic().received() > 500_000, secs(5))?;
    let (now, local) = (pair.now(), Pair::four_tuple(FIRST, Role::Client).local.ip());
    pair.network_mut().set_interface(now, local, Interface::Down);
    pair.run_for(secs(10))?;
    let told: Vec<Timestamp> = pair
        .client()
        .news()
        .iter()
        .filter(|(_, event)| matches!(kind(event), Some(PathEventKind::SendError(_))))
        .map(|(at, _)| *at)
        .collect();
    assert_eq!(told.first().copied().map(|at| at.saturating_since(now) < ms(100)), Some(true), "{told:?}");
    // News are taken a turn later: between two of them may be a little less than a second.
    assert!((3..=11).contains(&told.len()), "{told:?}");
    assert!(pair.client().sent().refused > told.len() as u64, "{} refused", pair.client().sent().refused);
    Ok(())
}

#[test]
fn eight_paths_carry_one_transfer() -> Result<(), Failure> {
    let links: Vec<LinkShape> = (0..8).map(|index| delay(10 + 3 * index).at_rate(5_000_000)).collect();
    let mut pair = Pair::new(PairConfig::new(1, links))?;
    pair.client_mut().traffic_mut().send(Unidirectional, 6_000_000);
    pair.run_until_delivered(secs(20))?;
    for link in pair.links() {
        assert!(forth(&pair, *link) > 200_000, "link {}: {} bytes", link.0, forth(&pair, *link));
    }
    Ok(())
}

#[test]
fn paths_may_come_and_go_many_times() -> Result<(), Failure> {
    let config = PairConfig { paths: Paths::First, ..PairConfig::new(1, vec![delay(5), delay(5)]) };
    let mut pair = Pair::new(config)?;
    pair.run_until_confirmed(secs(1))?;
    for round in 0..50_u64 {
        pair.open_path(SECOND, PathStatusKind::Available)?;
        pair.client_mut().traffic_mut().send(Unidirectional, 20_000);
        pair.run_until(|pair| opened(pair) > round, secs(5))?;
        let path = newest_path(&pair);
        let now = pair.now();
        if let Some(connection) = pair.client_mut().connection_mut() {
            connection.abandon_path(now, path, 0).unwrap();
        }
        pair.run_until(|pair| is_abandoned(pair, Role::Client, path) && pair.is_all_delivered(), secs(5))?;
    }
    Ok(())
}

/// multipath MP-16, MP-53, MP-56, MP-84; attacks F6: ids rise for ever, and what is remembered does not.
#[test]
fn a_thousand_paths_come_and_go_and_leave_nothing_behind() -> Result<(), Failure> {
    let config = PairConfig { paths: Paths::First, ..PairConfig::new(1, vec![delay(1), delay(1)]) };
    let mut pair = Pair::new(config)?;
    pair.run_until_confirmed(secs(1))?;
    let held = |pair: &Pair| {
        [Role::Client, Role::Server].map(|role| {
            let endpoint = pair.host(role).endpoint().statistics();
            (endpoint.routes, endpoint.reset_tokens, pair.host(role).connection().map(|connection| connection.paths().count()))
        })
    };
    let mut early = None;
    for round in 0..1_000_u64 {
        pair.open_path(SECOND, PathStatusKind::Available)?;
        let validated = |pair: &Pair, path: PathId| pair.client().connection().and_then(|connection| connection.path(path)).is_some_and(|path| path.state == PathState::Open);
        pair.run_until(|pair| newest_open(pair).is_some_and(|path| u64::from(path.0) > round && validated(pair, path)), secs(5))?;
        let (path, now) = (newest_open(&pair).unwrap_or_default(), pair.now());
        let role = if round % 3 == 0 { Role::Server } else { Role::Client };
        if let Some(connection) = pair.host_mut(role).connection_mut() {
            connection.abandon_path(now, path, 0).unwrap();
        }
        pair.run_until(|pair| [Role::Client, Role::Server].into_iter().all(|role| pair.host(role).connection().is_some_and(|connection| connection.path(path).is_none())), secs(5))?;
        if round == 51 {
            pair.run_for(secs(1))?;
            early = Some(held(&pair));
        }
    }
    pair.run_for(secs(1))?;
    assert_eq!(early, Some(held(&pair)));
    Ok(())
}

/// multipath MP-37, MP-38.
#[test]
fn acknowledgements_take_the_fastest_path_if_the_receiver_wants_so() -> Result<(), Failure> {
    let least = |ack_path: AckPath, abandon: bool| -> Result<Duration, Failure> {
        let server = TransportConfig { ack_path, ..TransportConfig::default() };
        let client = TransportConfig { scheduler: Scheduler::RoundRobin, ..TransportConfig::default() };
        let links = vec![delay(100).at_rate(20_000_000), delay(5).at_rate(20_000_000)];
        let mut pair = Pair::new(PairConfig { client, server, ..PairConfig::new(1, links) })?;
        pair.run_for(secs(2))?;
        pair.server_mut().traffic_mut().send(Unidirectional, 50_000);
        pair.client_mut().traffic_mut().send(Unidirectional, 1_000_000);
        pair.run_until_delivered(secs(20))?;
        pair.run_for(secs(1))?;
        let fast = if pair.client().connection().and_then(|connection| connection.path(PathId::ZERO)).is_some_and(|path| path.four_tuple == Pair::four_tuple(FIRST, Role::Client)) { PathId(1) } else { PathId::ZERO };
        let slow = if fast == PathId::ZERO { PathId(1) } else { PathId::ZERO };
        if abandon {
            let now = pair.now();
            if let Some(connection) = pair.client_mut().connection_mut() {
                connection.abandon_path(now, fast, 0).unwrap();
            }
            pair.client_mut().traffic_mut().send(Unidirectional, 100_000);
            pair.run_until_delivered(secs(20))?;
            pair.run_for(secs(1))?;
        }
        Ok(pair.client().connection().and_then(|connection| connection.path(slow)).map_or(Duration::ZERO, |path| path.latest_rtt))
    };
    let (same, fastest, alone) = (least(AckPath::Same, false)?, least(AckPath::Fastest, false)?, least(AckPath::Fastest, true)?);
    assert!(same >= ms(200), "there and back on the slow path: {same:?}");
    assert!(fastest >= ms(105) && fastest < ms(150), "back on the fast one: {fastest:?}");
    assert!(alone >= ms(200), "which is gone: {alone:?}");
    Ok(())
}

/// multipath MP-54, MP-81.
#[test]
fn a_path_that_cannot_be_opened_yet_waits_and_says_for_what() -> Result<(), Failure> {
    let server = TransportConfig { max_paths: 1, ..TransportConfig::default() };
    let mut pair = Pair::new(PairConfig { server, ..PairConfig::new(1, vec![delay(10), delay(10)]) })?;
    pair.run_until_confirmed(secs(1))?;
    pair.run_for(secs(5))?;
    let waits: Vec<_> = pair.client().news().iter().filter_map(|(_, event)| kind(event)).filter(|kind| matches!(kind, PathEventKind::Waiting(_) | PathEventKind::Failed(_))).collect();
    assert_eq!(waits, [PathEventKind::Waiting(WaitingFor::Handshake), PathEventKind::Waiting(WaitingFor::PathIdLimit)]);
    Ok(())
}

/// multipath MP-53.
#[test]
fn an_end_that_began_with_one_path_may_want_more_later() -> Result<(), Failure> {
    for role in [Role::Client, Role::Server] {
        let link = delay(10).at_rate(10_000_000);
        let (one, many) = (TransportConfig { max_paths: 1, ..TransportConfig::default() }, TransportConfig::default());
        let (client, server) = if role == Role::Client { (one, many) } else { (many, one) };
        let mut pair = Pair::new(PairConfig { client, server, ..PairConfig::new(1, vec![link.clone(), link]) })?;
        pair.run_for(secs(1))?;
        assert_eq!(pair.client().connection().map(|connection| connection.paths().count()), Some(1));
        let now = pair.now();
        if let Some(connection) = pair.host_mut(role).connection_mut() {
            connection.set_max_paths(now, 2).unwrap();
        }
        pair.client_mut().traffic_mut().send(Unidirectional, 2_000_000);
        pair.run_until_delivered(secs(20))?;
        assert!(forth(&pair, FIRST) > 600_000 && forth(&pair, SECOND) > 600_000, "{role:?}");
    }
    Ok(())
}

#[test]
fn a_path_cut_in_one_direction_is_no_trap() -> Result<(), Failure> {
    for directions in [Directions::AToB, Directions::BToA] {
        let link = delay(10).at_rate(10_000_000);
        let mut pair = Pair::new(PairConfig::new(1, vec![link.clone(), link]))?;
        pair.client_mut().traffic_mut().send(Unidirectional, 2_000_000);
        pair.server_mut().traffic_mut().send(Unidirectional, 2_000_000);
        pair.run_until(|pair| pair.server().traffic().received() > 500_000, secs(5))?;
        let now = pair.now();
        pair.network_mut().cut(now, SECOND, directions);
        pair.run_until_delivered(secs(20))?;
    }
    Ok(())
}

// ---- helpers ----

/// A good path together with this one gives at least 95 % of what it gives alone (attacks F19).
fn assert_harmless(bad: LinkShape) -> Result<(), Failure> {
    let good = delay(10).at_rate(20_000_000);
    let alone = transfer_time(vec![good.clone()], 5_000_000)?;
    let together = transfer_time(vec![good, bad], 5_000_000)?;
    let share = alone.as_secs_f64() / together.as_secs_f64();
    assert!(share >= 0.95, "{share:.3} of the good path alone: {together:?} with both, {alone:?} without the bad one");
    Ok(())
}

/// Datagrams of 1200 bytes throughout: larger ones take longer on a slow link, and this is about schedulers.
fn transfer_time(links: Vec<LinkShape>, len: u64) -> Result<Duration, Failure> {
    let client = TransportConfig { max_mtu: 1_200, ..TransportConfig::default() };
    let mut pair = Pair::new(PairConfig { client, ..PairConfig::new(1, links) })?;
    pair.client_mut().traffic_mut().send(Unidirectional, len);
    pair.run_until_delivered(secs(120))
}

fn kind(event: &Event) -> Option<PathEventKind> {
    match event {
        Event::Path(event) => Some(event.kind),
        _ => None,
    }
}

fn is_abandoned(pair: &Pair, role: Role, path: PathId) -> bool {
    let gone = |event: &Event| match event {
        Event::Path(event) => event.path == path && matches!(event.kind, PathEventKind::Abandoned(_)),
        _ => false,
    };
    pair.host(role).first(gone).is_some()
}

/// Paths the client validated so far, the first one not counted.
fn opened(pair: &Pair) -> u64 {
    let validated = |event: &Event| match event {
        Event::Path(event) => event.path != PathId::ZERO && event.kind == PathEventKind::Validated,
        _ => false,
    };
    pair.client().news().iter().filter(|(_, event)| validated(event)).count() as u64
}

fn newest_open(pair: &Pair) -> Option<PathId> {
    pair.client().connection().and_then(|connection| connection.paths().map(|path| path.id).max())
}

fn newest_path(pair: &Pair) -> PathId {
    let paths = pair.client().connection().into_iter().flat_map(|connection| connection.paths().map(|path| path.id));
    paths.max().unwrap_or(PathId::ZERO)
}

/// smoothed_rtt + max(4 * rttvar, 1 ms) + max_ack_delay (RFC 9002 §6.2.1).
fn pto(pair: &Pair, role: Role, path: PathId) -> Duration {
    let view = pair.host(role).connection().and_then(|connection| connection.path(path));
    view.map_or(Duration::ZERO, |view| view.smoothed_rtt + (4 * view.rttvar).max(ms(1)) + ms(25))
}
