//! One path against the other: who pulls traffic over, never answers, or sits on one of them (attacks F10, F14, F15,
//! F17, F23; multipath MP-33, MP-34, MP-38, MP-64, MP-83).

use std::time::Duration;

use qbase::{
    Direction::Unidirectional, ErrorCode, PathId, Role,
    frame::{self, Frame},
};
use qconnection::{
    Event,
    connection::events::PathEventKind,
    PathView, path::PathState,
};
use qsim::{Directions, Failure, LinkDirection, LinkId, LinkShape, Pair, PairConfig};

use crate::common;
use common::{
    FIRST, SECOND, delay,
    evil::{ack, arena::Arena},
    for_each_seed, forth, ms, secs, two_paths, write,
};

const ONE: PathId = PathId(1);

// ---- F10 ----

/// The numbers that no packet has are there on every path: an acknowledgement of one of them is a lie told on that path.
#[test]
fn attack_f10_acknowledging_ahead_on_one_path_closes_the_connection() -> Result<(), Failure> {
    let mut arena = two_paths()?;
    for _ in 0..400 {
        arena.say_on(ONE, &[Frame::Ping, common::challenge(1)])?;
        arena.ack()?;
    }
    assert_eq!(arena.close_code(), None);
    let numbers = arena.evil.numbers.get(&ONE).cloned().unwrap_or_default();
    let last = numbers.last().copied().unwrap_or_default();
    let skipped = (0..last).find(|number| !numbers.contains(number));
    let skipped = skipped.ok_or_else(|| Failure::new(format!("no number below {last} was skipped on path 1")))?;
    arena.say(&[ack(Some(ONE), &(skipped..=skipped))])?;
    assert_eq!(arena.close_code().map(|(code, _)| code), Some(ErrorCode::PROTOCOL_VIOLATION.0));
    Ok(())
}

/// A receiver that answers for path 1 at once and for path 0 late steers the sender. What path 1 gains in one of its
/// round trips is its congestion window's growth: twice at most.
#[test]
fn attack_f10_a_path_that_is_acknowledged_early_gains_no_more_than_its_window() -> Result<(), Failure> {
    let mut arena = two_paths()?;
    write(&mut arena, 4_000_000)?;
    let on = |arena: &Arena, path| arena.evil.numbers.get(&path).map_or(0, |numbers| numbers.len() as u64);
    let started = on(&arena, ONE);
    let mut before = (started, view(&arena, ONE)?.congestion_window);
    for round in 0..12 {
        arena.wait(ms(20))?;
        let numbers = arena.evil.numbers.get(&ONE).cloned().unwrap_or_default();
        let (Some(first), Some(last)) = (numbers.first(), numbers.last()) else { break };
        for run in runs(*first, *last, &numbers) {
            arena.say_on(ONE, &[ack(Some(ONE), &run)])?;
        }
        let after = (on(&arena, ONE), view(&arena, ONE)?.congestion_window);
        assert!(after.1 <= 2 * before.1 + 3_000, "round {round}: window {} after {}", after.1, before.1);
        let gained = (after.0 - before.0) * 1_200;
        assert!(gained <= 2 * before.1 + 3_000, "round {round}: {gained} bytes with a window of {}", before.1);
        before = after;
    }
    assert_eq!(arena.close_code(), None, "{}", arena.close_reason());
    assert!(before.0 > started + 100, "the sender followed: {} packets", before.0 - started);
    Ok(())
}

// ---- F14 ----

#[test]
fn attack_f14_a_path_whose_abandonment_is_never_answered_is_forgotten_after_three_ptos() -> Result<(), Failure> {
    for acknowledges in [true, false] {
        let mut arena = two_paths()?;
        let now = arena.now;
        arena.connection_mut()?.abandon_path(now, ONE, 0).map_err(common::ends::failure)?;
        arena.pump()?;
        let said = |arena: &Arena| arena.count(|frame| matches!(frame, Frame::PathAbandon(abandon) if abandon.path == ONE));
        assert_eq!(said(&arena), 1, "said at once");
        if acknowledges {
            arena.ack()?;
        }
        assert_eq!(arena.connection()?.path(ONE).map(|path| path.state), Some(PathState::Abandoning));
        // The handshake without a delay measured a PTO below 30 ms; the rest is for probes that repeat the frame.
        arena.wait(secs(4))?;
        assert!(arena.connection()?.path(ONE).is_none(), "acknowledged {acknowledges}: forgotten without an answer");
        let told = arena.events.iter().any(|event| matches!(event, Event::Path(path) if path.path == ONE && matches!(path.kind, PathEventKind::Abandoned(0))));
        assert!(told, "acknowledged {acknowledges}");
        assert_eq!(arena.close_code(), None, "acknowledged {acknowledges}: the connection lives");
        arena.say(&[Frame::PathAbandon(frame::PathAbandon { path: ONE, code: 0 })])?;
        assert_eq!(arena.close_code(), None, "acknowledged {acknowledges}: a late answer is nothing");
    }
    Ok(())
}

// ---- F15 ----

/// multipath MP-34: what left in the old phase on a path of half a second arrives long after the update.
#[test]
fn attack_f15_a_key_update_with_a_slow_path_in_flight_loses_nothing() -> Result<(), Failure> {
    for_each_seed(0..20, |seed| {
        let slow = delay(250).at_rate(10_000_000);
        let mut pair = Pair::new(PairConfig::new(seed, vec![delay(5).at_rate(10_000_000), slow]))?;
        pair.client_mut().traffic_mut().send(Unidirectional, 4_000_000);
        pair.server_mut().traffic_mut().send(Unidirectional, 4_000_000);
        pair.run_until(|pair| pair.server().traffic().received() > 1_500_000, secs(30))?;
        let (now, role) = (pair.now(), if seed % 2 == 0 { Role::Client } else { Role::Server });
        let lost = lost(&pair);
        let in_flight = path(&pair, role, ONE)?.bytes_in_flight;
        assert!(in_flight > 20_000, "seed {seed}: {in_flight} bytes under way on the slow path");
        assert!(pair.host_mut(role).connection_mut().is_some_and(|connection| connection.update_key(now)), "seed {seed}");
        pair.run_for(secs(1))?;
        let refused = [Role::Client, Role::Server].map(|role| pair.host(role).connection().map(|connection| connection.drops().get(qevent::DropReason::Undecryptable)));
        assert_eq!(refused, [Some(0), Some(0)], "seed {seed}");
        let after = self::lost(&pair);
        let queues = [FIRST, SECOND].iter().map(|link| dropped(&pair, *link)).sum::<u64>();
        assert!(after - lost <= queues, "seed {seed}: {} packets lost with the update, {queues} dropped by queues", after - lost);
        // A second update only after three of the slow path's PTOs (multipath MP-34).
        let now = pair.now();
        let again = pair.host_mut(role).connection_mut().is_some_and(|connection| connection.update_key(now));
        assert!(!again || pto(&pair, role, ONE)? * 3 <= secs(1), "seed {seed}: updated again within three PTOs of the slow path");
        pair.run_until_delivered(secs(60)).map(|_| ())
    })
}

/// Both ends ask for new keys while packets of each are under way on paths of different length.
#[test]
fn attack_f15_both_ends_update_at_once_over_paths_of_different_length() -> Result<(), Failure> {
    for_each_seed(0..40, |seed| {
        let links = vec![delay(5 + seed % 3).at_rate(20_000_000).with_loss(0.01), delay(60 + 3 * seed).at_rate(10_000_000).with_loss(0.01)];
        let mut pair = Pair::new(PairConfig::new(seed, links))?;
        pair.client_mut().traffic_mut().send(Unidirectional, 6_000_000);
        pair.server_mut().traffic_mut().send(Unidirectional, 6_000_000);
        for _ in 0..6 {
            pair.run_for(ms(150 + 11 * seed))?;
            for role in [Role::Client, Role::Server] {
                let now = pair.now();
                let _ = pair.host_mut(role).connection_mut().is_some_and(|connection| connection.update_key(now));
            }
        }
        pair.run_until_delivered(secs(60))?;
        let updates = [Role::Client, Role::Server].map(|role| pair.host(role).connection().map_or(0, |connection| connection.statistics().key_updates));
        assert!(updates[0] >= 1 && updates[0] == updates[1], "seed {seed}: {updates:?}");
        Ok(())
    })
}

// ---- F17 ----

/// Two to eight paths, one dies without a word: the rest keep nine tenths of what they carry.
#[test]
fn attack_f17_one_dead_path_of_two_to_eight_leaves_the_others_nine_tenths_of_their_goodput() -> Result<(), Failure> {
    for_each_seed(0..7, |seed| {
        let count = 2 + seed % 7;
        let links: Vec<LinkShape> = (0..count).map(|index| delay(10 + 2 * index).at_rate(5_000_000)).collect();
        let mut pair = Pair::new(PairConfig::new(seed, links))?;
        pair.client_mut().traffic_mut().send(Unidirectional, 60_000_000);
        pair.run_for(secs(4))?;
        let dead = LinkId(u32::try_from(seed % count).unwrap_or_default());
        pair.cut(dead);
        let now = pair.now();
        pair.server_mut().traffic_mut().watch_stalls(now);
        pair.run_for(secs(1))?;
        let stall = pair.server().traffic().longest_stall();
        assert!(stall <= ms(300), "seed {seed}, {count} paths: stalled for {stall:?}");
        let before = pair.server().traffic().received();
        pair.run_for(secs(3))?;
        let goodput = (pair.server().traffic().received() - before) as f64 * 8.0 / 3.0;
        let rest = 5_000_000.0 * (count - 1) as f64;
        assert!(goodput >= 0.9 * rest, "seed {seed}, {count} paths: {:.1} of {:.1} Mbit/s", goodput / 1e6, rest / 1e6);
        Ok(())
    })
}

// ---- F23 ----

/// An attacker on path 0 drops a third of its packets for two seconds. The other path carries what it can; when the
/// losses end, the first has its share again within ten round trips of the time it takes to fill its queue.
#[test]
fn attack_f23_a_share_that_losses_took_away_comes_back_when_they_end() -> Result<(), Failure> {
    for_each_seed(0..10, |seed| {
        let link = delay(20).at_rate(10_000_000);
        let mut pair = Pair::new(PairConfig::new(seed, vec![link.clone(), link.clone()]))?;
        pair.client_mut().traffic_mut().send(Unidirectional, 60_000_000);
        pair.run_for(secs(3))?;
        let fair = span(&mut pair, secs(1))?;
        pair.set(FIRST, &link.clone().with_loss(0.3));
        pair.run_for(secs(1))?;
        let attacked = span(&mut pair, secs(1))?;
        assert!(attacked < 0.8 * fair, "seed {seed}: {attacked} bytes under attack, {fair} before");
        pair.set(FIRST, &link);
        let other = path(&pair, Role::Client, ONE)?;
        assert!(other.smoothed_rtt < ms(160) && other.congestion_window > 20_000, "seed {seed}: the other path is as it was: {other:?}");
        // Ten round trips with a full queue: 10 x (40 + 100) ms.
        pair.run_for(ms(1_400))?;
        let after = span(&mut pair, secs(1))?;
        assert!(after >= 0.8 * fair, "seed {seed}: {after} bytes after the attack, {fair} before");
        Ok(())
    })
}

/// Copies of path 0's packets, sent between path 1's addresses in both directions: path 1 is as if they were not.
#[test]
fn attack_f23_replays_of_one_path_between_the_addresses_of_another_change_neither() -> Result<(), Failure> {
    for_each_seed(0..10, |seed| {
        let link = delay(20).at_rate(10_000_000);
        let mut pair = Pair::new(PairConfig::new(seed, vec![link.clone(), link]))?;
        pair.client_mut().traffic_mut().send(Unidirectional, 6_000_000);
        pair.server_mut().traffic_mut().send(Unidirectional, 3_000_000);
        pair.run_for(ms(500))?;
        pair.network_mut().keep_payloads();
        pair.run_for(ms(500))?;
        let (client, server) = (Pair::four_tuple(FIRST, Role::Client), Pair::four_tuple(FIRST, Role::Server));
        let kept: Vec<_> = pair.network().kept().to_vec();
        let before = tuples(&pair)?;
        for (from, mut bytes) in kept.into_iter().step_by(3) {
            if from == client {
                pair.inject_from(Role::Server, Pair::four_tuple(SECOND, Role::Server), &mut bytes);
            } else if from == server {
                pair.inject_from(Role::Client, Pair::four_tuple(SECOND, Role::Client), &mut bytes);
            }
        }
        assert_eq!(tuples(&pair)?, before, "seed {seed}");
        pair.run_until_delivered(secs(30))?;
        assert_eq!(tuples(&pair)?, before, "seed {seed}");
        Ok(())
    })
}

/// Packets of path 0 that the attacker kept from their receiver and sends from path 1's address are authentic: the server
/// asks there and goes back when the client answers where it always was. Path 1 keeps its own window and its own RTT.
#[test]
fn attack_f23_packets_diverted_to_another_path_move_one_path_for_a_moment_and_the_other_never() -> Result<(), Failure> {
    for_each_seed(0..10, |seed| {
        let link = delay(20).at_rate(10_000_000);
        let mut pair = Pair::new(PairConfig::new(seed, vec![link.clone(), link]))?;
        pair.client_mut().traffic_mut().send(Unidirectional, 8_000_000);
        pair.server_mut().traffic_mut().send(Unidirectional, 8_000_000);
        pair.run_for(ms(1_500))?;
        pair.network_mut().keep_payloads();
        let now = pair.now();
        pair.network_mut().cut(now, FIRST, Directions::AToB);
        pair.run_for(ms(60))?;
        let now = pair.now();
        pair.network_mut().restore(now, FIRST, Directions::AToB);
        let before = (tuples(&pair)?, path(&pair, Role::Server, ONE)?);
        let client = Pair::four_tuple(FIRST, Role::Client);
        let held: Vec<_> = pair.network().kept().iter().filter(|(from, _)| *from == client).cloned().collect();
        assert!(!held.is_empty(), "seed {seed}");
        for (_, mut bytes) in held {
            pair.inject_from(Role::Server, Pair::four_tuple(SECOND, Role::Server), &mut bytes);
        }
        let other = path(&pair, Role::Server, ONE)?;
        assert_eq!((other.congestion_window, other.min_rtt), (before.1.congestion_window, before.1.min_rtt), "seed {seed}");
        pair.run_for(secs(2))?;
        assert_eq!(tuples(&pair)?, before.0, "seed {seed}: both paths are where they were");
        pair.run_until_delivered(secs(60)).map(|_| ())
    })
}

// ---- helpers ----

fn view(arena: &Arena, path: PathId) -> Result<PathView, Failure> {
    arena.connection()?.path(path).ok_or_else(|| Failure::new(format!("no path {}", path.0)))
}

/// What of these numbers was received, as ranges.
fn runs(first: u64, last: u64, numbers: &std::collections::BTreeSet<u64>) -> Vec<std::ops::RangeInclusive<u64>> {
    let mut runs: Vec<std::ops::RangeInclusive<u64>> = Vec::new();
    for number in numbers.range(first..=last) {
        match runs.last_mut() {
            Some(run) if run.end() + 1 == *number => *run = *run.start()..=*number,
            _ => runs.push(*number..=*number),
        }
    }
    runs
}

fn path(pair: &Pair, role: Role, path: PathId) -> Result<PathView, Failure> {
    let view = pair.host(role).connection().and_then(|connection| connection.path(path));
    view.ok_or_else(|| Failure::new(format!("{role:?} has no path {}", path.0)))
}

fn tuples(pair: &Pair) -> Result<Vec<qbase::FourTuple>, Failure> {
    let mut tuples = Vec::new();
    for role in [Role::Client, Role::Server] {
        for id in [PathId::ZERO, ONE] {
            tuples.push(path(pair, role, id)?.four_tuple);
        }
    }
    Ok(tuples)
}

fn lost(pair: &Pair) -> u64 {
    [Role::Client, Role::Server].iter().filter_map(|role| pair.host(*role).connection()).map(|connection| connection.statistics().packets_lost).sum()
}

fn dropped(pair: &Pair, link: LinkId) -> u64 {
    [LinkDirection::AToB, LinkDirection::BToA].iter().map(|direction| {
        let statistics = pair.network().statistics(link, *direction);
        statistics.queue_full
    }).sum()
}

fn pto(pair: &Pair, role: Role, id: PathId) -> Result<Duration, Failure> {
    let view = path(pair, role, id)?;
    Ok(view.smoothed_rtt + (4 * view.rttvar).max(ms(1)) + ms(25))
}

/// Bytes the server gets from link 0 in this time.
fn span(pair: &mut Pair, time: Duration) -> Result<f64, Failure> {
    let before = forth(pair, FIRST);
    pair.run_for(time)?;
    Ok((forth(pair, FIRST) - before) as f64)
}
