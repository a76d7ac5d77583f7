//! Rules of the multipath extension that no other topic shows: path ids and their connection ids, acknowledgements,
//! status, abandonment towards a client that is made by hand; timers, windows and reasons between two of ours
//! (multipath sections C, E, F, H, I, K, M).

use std::collections::BTreeSet;

use qbase::{
    Direction::Unidirectional, EncryptionLevel, PathId, Role, Timestamp,
    frame::{self, Fin, Frame, PathStatusKind, table},
    limits,
};
use qconnection::{Event, PathView, TransportConfig, path::PathState};
use qsim::{Directions, Failure, LinkDirection, Pair, PairConfig, Paths};

use crate::common;
use common::{
    FIRST, SECOND, delay,
    evil::{ack, arena::{Arena, Setup}, encode, new_cid, stream},
    for_each_seed, forth, ms, secs, two_paths, write,
};
use EncryptionLevel::OneRtt;

const ONE: PathId = PathId(1);
const TWO: PathId = PathId(2);

// ---- path ids and their connection ids ----

/// multipath MP-15, MP-17, MP-18, MP-26: a path is its id. It has the addresses of another, numbers of its own, and takes
/// data at once; nothing of the other path changes.
#[test]
fn two_paths_may_share_their_addresses_and_nothing_else() -> Result<(), Failure> {
    let mut arena = two_paths()?;
    let before = view(&arena, PathId::ZERO)?;
    assert_eq!(view(&arena, ONE)?.four_tuple, before.four_tuple);
    arena.say_on(ONE, &[stream(2, 0, b"first", Fin::No)])?;
    arena.say(&[new_cid(Some(TWO), 0, 0)])?;
    arena.say_on(TWO, &[stream(2, 5, b"second", Fin::No)])?;
    let after = view(&arena, PathId::ZERO)?;
    assert_eq!((after.four_tuple, after.state, after.min_rtt), (before.four_tuple, before.state, before.min_rtt));
    let stream = qbase::StreamId(2);
    assert_eq!(arena.read(stream)?, b"firstsecond");
    arena.wait(secs(1))?;
    let lowest = |path| arena.evil.numbers.get(&path).and_then(BTreeSet::first).copied();
    assert!(lowest(ONE) <= Some(1) && lowest(TWO) <= Some(1), "{:?} {:?}: each id counts from 0", lowest(ONE), lowest(TWO));
    Ok(())
}

/// multipath MP-22: a server that has no id for a path cannot answer there. It does when it has one.
#[test]
fn a_path_for_which_there_is_no_id_yet_is_answered_when_one_comes() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::default())?;
    arena.forget_heard();
    arena.say_on(ONE, &[common::challenge(7)])?;
    let answers = |arena: &Arena| arena.count(|frame| matches!(frame, Frame::PathResponse(response) if response.data == [7; 8]));
    assert_eq!((answers(&arena), arena.close_code()), (0, None));
    arena.say(&[new_cid(Some(ONE), 0, 0)])?;
    arena.wait(ms(50))?;
    let on: BTreeSet<PathId> = arena.evil.heard.iter().filter(|packet| packet.frames().iter().any(|frame| matches!(frame, Frame::PathResponse(_)))).map(|packet| packet.path).collect();
    assert_eq!((answers(&arena), on), (1, BTreeSet::from([ONE])), "multipath MP-23");
    Ok(())
}

/// multipath MP-11, MP-44, MP-47: each path id the client allows has ids, counted from 0, without holes and unasked.
#[test]
fn every_path_id_has_connection_ids_of_its_own_from_the_start() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::default())?;
    arena.wait(secs(1))?;
    for path in 1..=limits::INITIAL_MAX_PATH_ID {
        let sequences: Vec<u64> = arena.evil.ids.keys().filter(|(of, _)| *of == PathId(path)).map(|(_, sequence)| *sequence).collect();
        assert_eq!(sequences.first(), Some(&0), "path id {path}: {sequences:?}");
        let limit = limits::REMOTE_CIDS_PER_PATH as usize;
        assert!(sequences.len() <= limit, "path id {path}: {sequences:?}");
    }
    let spare = arena.evil.ids.keys().filter(|(of, sequence)| *of == PathId::ZERO && *sequence > 0).count();
    assert!(spare >= 1, "and the path in use has a spare");
    Ok(())
}

/// multipath MP-36, MP-45: with multipath the multipath frames are sent for path 0 too, and the plain ones are taken.
#[test]
fn plain_frames_mean_path_0_and_are_not_sent() -> Result<(), Failure> {
    let mut arena = two_paths()?;
    arena.forget_heard();
    arena.say(&[new_cid(None, 1, 1), stream(2, 0, b"x", Fin::No), Frame::RetireConnectionId(frame::RetireConnectionId { path: None, sequence: 1 })])?;
    write(&mut arena, 3_000)?;
    let all: Vec<u64> = arena.evil.numbers.get(&PathId::ZERO).into_iter().flatten().copied().collect();
    for number in all {
        arena.say(&[ack(None, &(number..=number))])?;
    }
    arena.wait(ms(100))?;
    assert_eq!(arena.close_code(), None, "{}", arena.close_reason());
    assert_eq!(view(&arena, PathId::ZERO)?.bytes_in_flight, 0, "ACK counted for path 0");
    let is_plain = |frame: &Frame<'_>| matches!(frame.frame_type(), table::ACK | table::ACK_ECN | table::NEW_CONNECTION_ID | table::RETIRE_CONNECTION_ID);
    assert_eq!(arena.count(is_plain), 0);
    assert!(arena.count(|frame| matches!(frame, Frame::RetireConnectionId(retire) if retire.path == Some(PathId::ZERO) && retire.sequence == 0)) >= 1);
    Ok(())
}

/// multipath MP-51: ids of a path in use are replaced as they go; when all are gone the path is still there.
#[test]
fn retired_ids_of_an_open_path_are_replaced_and_the_path_stays() -> Result<(), Failure> {
    let mut arena = two_paths()?;
    for _ in 0..10 {
        let of_one: Vec<u64> = arena.evil.ids.keys().filter(|(of, _)| *of == ONE).map(|(_, sequence)| *sequence).collect();
        let before = of_one.last().copied().unwrap_or_default();
        for sequence in of_one {
            arena.evil.ids.remove(&(ONE, sequence));
            arena.say(&[Frame::RetireConnectionId(frame::RetireConnectionId { path: Some(ONE), sequence })])?;
        }
        arena.ack()?;
        arena.wait(ms(20))?;
        assert!(arena.evil.ids.keys().any(|(of, sequence)| *of == ONE && *sequence > before), "replaced after {before}");
        assert_eq!(view(&arena, ONE)?.state, PathState::Open);
    }
    arena.say_on(ONE, &[stream(2, 0, b"here", Fin::No)])?;
    assert_eq!(arena.read(qbase::StreamId(2))?, b"here");
    Ok(())
}

// ---- acknowledgements ----

/// multipath MP-36, MP-82: what came on a path is acknowledged there.
#[test]
fn packets_are_acknowledged_on_the_path_they_came_on() -> Result<(), Failure> {
    let mut arena = two_paths()?;
    arena.forget_heard();
    arena.say_on(ONE, &[Frame::Ping])?;
    arena.say_on(ONE, &[Frame::Ping])?;
    arena.wait(ms(50))?;
    let on = acked_on(&arena, ONE);
    assert_eq!(on, BTreeSet::from([ONE]));
    Ok(())
}

/// multipath MP-65: what came on a path that was abandoned at once is acknowledged on another.
#[test]
fn the_last_packets_of_an_abandoned_path_are_acknowledged_on_another() -> Result<(), Failure> {
    let mut arena = two_paths()?;
    arena.forget_heard();
    let last = arena.evil.seal(OneRtt, ONE, None, 0, &encode(&[stream(2, 0, b"last", Fin::No)]))?;
    let end = arena.evil.seal(OneRtt, PathId::ZERO, None, 0, &encode(&[Frame::PathAbandon(frame::PathAbandon { path: ONE, code: 0 })]))?;
    let from = arena.evil.four_tuple;
    arena.inject(last, from);
    arena.inject(end, from);
    arena.pump()?;
    arena.wait(ms(30))?;
    assert_eq!(acked_on(&arena, ONE), BTreeSet::from([PathId::ZERO]));
    assert_eq!(arena.read(qbase::StreamId(2))?, b"last");
    Ok(())
}

/// multipath MP-41, MP-71: acknowledgements of a path that is forgotten are nothing; MP-66: nobody waits for an answer.
#[test]
fn acknowledgements_of_a_forgotten_path_are_ignored() -> Result<(), Failure> {
    let mut arena = two_paths()?;
    let now = arena.now;
    arena.connection_mut()?.abandon_path(now, ONE, 0).map_err(common::ends::failure)?;
    arena.pump()?;
    arena.wait(secs(5))?;
    assert!(arena.connection()?.path(ONE).is_none());
    arena.say(&[ack(Some(ONE), &(0..=0)), ack(Some(ONE), &(900..=1_000))])?;
    assert_eq!(arena.close_code(), None);
    Ok(())
}

// ---- status and abandonment ----

/// multipath MP-59: a status may come before its path.
#[test]
fn a_status_that_comes_before_its_path_counts_when_the_path_comes() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::default())?;
    let status = frame::PathStatus { path: ONE, status: PathStatusKind::Backup, sequence: 1 };
    arena.say(&[Frame::PathStatus(status), new_cid(Some(ONE), 0, 0)])?;
    arena.say_on(ONE, &[Frame::Ping])?;
    assert_eq!(view(&arena, ONE)?.peer_status, Some(PathStatusKind::Backup));
    Ok(())
}

/// multipath MP-69.
#[test]
fn a_lost_path_abandon_is_sent_again() -> Result<(), Failure> {
    let mut arena = two_paths()?;
    let now = arena.now;
    arena.connection_mut()?.abandon_path(now, ONE, 9).map_err(common::ends::failure)?;
    arena.pump()?;
    arena.wait(secs(3))?;
    let said = arena.count(|frame| matches!(frame, Frame::PathAbandon(abandon) if abandon.path == ONE && abandon.code == 9));
    assert!(said >= 2, "{said}");
    assert_eq!(arena.evil.heard.iter().filter(|packet| packet.frames().iter().any(|frame| matches!(frame, Frame::PathAbandon(_)))).map(|packet| packet.path).collect::<BTreeSet<_>>(), BTreeSet::from([PathId::ZERO]), "multipath MP-62: on another path");
    Ok(())
}

/// multipath MP-61, MP-83: whoever leaves a broken path for the backup tells the peer, which leaves it too.
#[test]
fn the_peer_is_told_to_leave_a_path_that_broke_one_way() -> Result<(), Failure> {
    let link = delay(10).at_rate(10_000_000);
    let config = PairConfig { paths: Paths::First, ..PairConfig::new(1, vec![link.clone(), link]) };
    let mut pair = Pair::new(config)?;
    pair.open_path(SECOND, PathStatusKind::Backup)?;
    pair.client_mut().traffic_mut().send(Unidirectional, 2_000_000);
    pair.run_until(|pair| pair.server().traffic().received() > 500_000, secs(5))?;
    let now = pair.now();
    pair.network_mut().cut(now, FIRST, Directions::AToB);
    pair.run_until(|pair| path(pair, Role::Server, PathId::ZERO).is_ok_and(|view| view.peer_status == Some(PathStatusKind::Backup)), secs(3))?;
    pair.run_until_delivered(secs(20)).map(|_| ())
}

// ---- timers ----

/// multipath MP-74: life on any path is life.
#[test]
fn what_comes_on_any_path_keeps_the_connection() -> Result<(), Failure> {
    let mut pair = Pair::new(PairConfig::new(1, vec![delay(10), delay(10)]))?;
    pair.run_for(secs(1))?;
    pair.cut(FIRST);
    for _ in 0..8 {
        pair.client_mut().traffic_mut().send(Unidirectional, 1_000);
        pair.run_for(secs(15))?;
    }
    assert!(pair.is_all_delivered() && pair.client().ended().is_none() && pair.server().ended().is_none());
    pair.run_for(secs(70))?;
    assert!(pair.client().ended().is_some() && pair.server().ended().is_some(), "and then it ends (RFC 9000 §10.1)");
    Ok(())
}

/// multipath MP-40, MP-75: the slowest path decides how long an end stays to answer stragglers.
#[test]
fn closing_lasts_three_ptos_of_the_slowest_path() -> Result<(), Failure> {
    let drained = |links: Vec<qsim::LinkShape>| -> Result<(f64, f64), Failure> {
        let mut pair = Pair::new(PairConfig::new(1, links))?;
        pair.client_mut().traffic_mut().send(Unidirectional, 200_000);
        pair.run_until_delivered(secs(20))?;
        pair.run_for(secs(4))?;
        let slowest = pair.client().connection().into_iter().flat_map(|connection| connection.paths().collect::<Vec<_>>()).map(|view| view.smoothed_rtt + (4 * view.rttvar).max(ms(1)) + limits::MAX_ACK_DELAY).max().unwrap_or_default();
        let now = pair.now();
        if let Some(connection) = pair.client_mut().connection_mut() {
            connection.close(now, 0, b"");
        }
        pair.run_until(|pair| pair.client().first(|event| *event == Event::Drained).is_some(), secs(20))?;
        let gone = pair.client().first(|event| *event == Event::Drained).map(|at: Timestamp| at.saturating_since(now)).unwrap_or_default();
        Ok((gone.as_secs_f64(), 3.0 * slowest.as_secs_f64()))
    };
    for links in [vec![delay(10), delay(400)], vec![delay(400), delay(10)], vec![delay(10), delay(10)]] {
        let (gone, expected) = drained(links)?;
        assert!((gone - expected).abs() < 0.25 * expected, "{gone:.3} s, three PTOs of the slowest path are {expected:.3} s");
    }
    Ok(())
}

/// multipath MP-76: packets that are only late cost copies of their contents, and none of them counts as lost.
#[test]
fn a_pto_declares_nothing_lost() -> Result<(), Failure> {
    let link = delay(10).at_rate(10_000_000);
    let mut pair = Pair::new(PairConfig::new(1, vec![link.clone(), link.clone()]))?;
    pair.client_mut().traffic_mut().send(Unidirectional, 100_000);
    pair.run_until_delivered(secs(5))?;
    pair.run_for(secs(1))?;
    let lost = |pair: &Pair| pair.client().connection().map(|connection| connection.statistics()).map(|statistics| (statistics.packets_lost, statistics.ptos));
    let before = lost(&pair);
    let mut late = link.clone();
    late.delay = ms(400);
    pair.set(FIRST, &late);
    pair.client_mut().traffic_mut().send(Unidirectional, 40_000);
    pair.run_until_delivered(secs(5))?;
    pair.run_for(secs(2))?;
    let after = lost(&pair);
    assert!(after.map(|(_, ptos)| ptos) > before.map(|(_, ptos)| ptos), "{before:?} {after:?}");
    assert_eq!(after.map(|(lost, _)| lost), before.map(|(lost, _)| lost));
    Ok(())
}

/// multipath MP-77: what one path suffers for seconds leaves the window of the other alone.
#[test]
fn persistent_congestion_of_one_path_is_not_the_other_s() -> Result<(), Failure> {
    let link = delay(20).at_rate(10_000_000);
    for seed in 1..=4 {
        let mut pair = Pair::new(PairConfig::new(seed, vec![link.clone(), link.clone()]))?;
        pair.client_mut().traffic_mut().send(Unidirectional, 30_000_000);
        pair.run_for(secs(3))?;
        let window = |pair: &Pair, id: PathId| path(pair, Role::Client, id).map_or(0, |path| path.congestion_window);
        let before = window(&pair, ONE);
        // What is sent meanwhile is lost, and the first answer afterwards tells so.
        pair.set(FIRST, &link.clone().with_loss(1.0));
        pair.run_for(secs(2))?;
        pair.set(FIRST, &link);
        pair.run_until(|pair| window(pair, PathId::ZERO) < 12_000, secs(2))?;
        assert!(window(&pair, ONE) * 2 > before, "seed {seed}: {} bytes on the other, {before} before", window(&pair, ONE));
    }
    Ok(())
}

// ---- windows ----

/// multipath MP-79: at every instant of a lossy transfer no path has more in flight than its window, but for probes and
/// what a window that just shrank finds under way.
#[test]
fn no_path_sends_beyond_its_window() -> Result<(), Failure> {
    for_each_seed(0..6, |seed| {
        let links = vec![delay(10).at_rate(8_000_000).with_loss(0.01), delay(40).at_rate(4_000_000).with_loss(0.02)];
        let mut pair = Pair::new(PairConfig::new(seed, links))?;
        pair.client_mut().traffic_mut().send(Unidirectional, 2_000_000);
        let mut before: Vec<(PathId, u64, u64)> = Vec::new();
        let mut looked = 0_u64;
        while !pair.is_all_delivered() || looked < 100 {
            pair.step()?;
            let Some(connection) = pair.client().connection() else { continue };
            let now: Vec<(PathId, u64, u64)> = connection.paths().map(|view| (view.id, view.bytes_in_flight, view.congestion_window)).collect();
            for (id, in_flight, window) in &now {
                let was = before.iter().find(|(of, ..)| of == id).map_or(0, |(_, in_flight, _)| *in_flight);
                let allowed = (*window).max(was) + 2 * 1_452;
                assert!(*in_flight <= allowed, "seed {seed}: path {} has {in_flight} bytes in flight, window {window}, before {was}", id.0);
            }
            before = now;
            looked += 1;
        }
        Ok(())
    })
}

/// multipath MP-42: acknowledgements follow packets, two for one at most, whatever path they take.
#[test]
fn acknowledgements_do_not_flood_a_path() -> Result<(), Failure> {
    let links = vec![delay(10).at_rate(20_000_000), delay(60).at_rate(5_000_000)];
    let mut pair = Pair::new(PairConfig::new(1, links))?;
    pair.client_mut().traffic_mut().send(Unidirectional, 6_000_000);
    pair.run_until_delivered(secs(20))?;
    let count = |direction| [FIRST, SECOND].iter().map(|link| pair.network().statistics(*link, direction).offered).sum::<u64>();
    let (data, acks) = (count(LinkDirection::AToB), count(LinkDirection::BToA));
    assert!(acks * 2 <= data + 200, "{acks} datagrams back for {data}");
    Ok(())
}

// ---- tokens and reasons ----

/// multipath MP-29: each address that is proved brings a new token, which names all of them; no address brings two.
#[test]
fn a_client_gets_a_token_for_the_addresses_of_all_its_paths() -> Result<(), Failure> {
    let mut pair = Pair::new(PairConfig::new(1, vec![delay(10), delay(20), delay(40)]))?;
    pair.run_for(secs(2))?;
    let tokens: Vec<usize> = pair.client().news().iter().filter_map(|(_, event)| if let Event::NewToken(token) = event { Some(token.len()) } else { None }).collect();
    assert_eq!(tokens.len(), 3);
    assert!(tokens.is_sorted_by(|one, next| one + 5 == *next), "{tokens:?}: each names one more IPv4 address");
    let now = pair.now();
    if let Some(connection) = pair.client_mut().connection_mut() {
        connection.abandon_path(now, ONE, 0).map_err(common::ends::failure)?;
    }
    pair.run_for(secs(2))?;
    assert_eq!(pair.client().news().iter().filter(|(_, event)| matches!(event, Event::NewToken(_))).count(), 3);
    Ok(())
}

/// multipath MP-86.
#[test]
fn every_path_event_says_why() -> Result<(), Failure> {
    for_each_seed(0..10, |seed| {
        let link = delay(10 + seed).at_rate(10_000_000).with_loss(0.02);
        let client = TransportConfig { abandon_after: secs(2), ..TransportConfig::default() };
        let server = client.clone();
        let mut pair = Pair::new(PairConfig { client, server, ..PairConfig::new(seed, vec![link.clone(), link]) })?;
        pair.client_mut().traffic_mut().send(Unidirectional, 6_000_000);
        pair.run_for(secs(1))?;
        pair.cut(if seed % 2 == 0 { FIRST } else { SECOND });
        pair.run_until_delivered(secs(60))?;
        pair.run_for(secs(5))?;
        for role in [Role::Client, Role::Server] {
            let mut told = 0;
            for (_, event) in pair.host(role).news() {
                if let Event::Path(event) = event {
                    told += 1;
                    assert!(!event.reason.is_empty(), "seed {seed}, {role:?}: {:?}", event.kind);
                }
            }
            assert!(told >= 4, "seed {seed}, {role:?}: {told} events of a path that opened, fell silent and ended");
        }
        Ok(())
    })
}

/// multipath MP-20, MP-78: data that a large path lost fits a small one.
#[test]
fn data_lost_on_a_path_of_large_packets_moves_to_one_of_small_packets() -> Result<(), Failure> {
    let mut small = delay(15).at_rate(10_000_000);
    small.mtu = 1_250;
    let mut pair = Pair::new(PairConfig::new(1, vec![delay(10).at_rate(10_000_000), small]))?;
    pair.client_mut().traffic_mut().send(Unidirectional, 4_000_000);
    pair.run_for(secs(1))?;
    let sizes = [path(&pair, Role::Client, PathId::ZERO)?.mtu, path(&pair, Role::Client, ONE)?.mtu];
    assert!(sizes[0] > sizes[1], "{sizes:?} (multipath MP-80)");
    pair.cut(FIRST);
    pair.run_until_delivered(secs(20))?;
    assert!(forth(&pair, SECOND) > 1_500_000);
    Ok(())
}

// ---- helpers ----

/// Paths on which acknowledgements of this path's packets were heard.
fn acked_on(arena: &Arena, of: PathId) -> BTreeSet<PathId> {
    let names = |frame: &Frame<'_>| matches!(frame, Frame::Ack(ack) if ack.path == Some(of));
    arena.evil.heard.iter().filter(|packet| packet.frames().iter().any(names)).map(|packet| packet.path).collect()
}

fn view(arena: &Arena, path: PathId) -> Result<PathView, Failure> {
    arena.connection()?.path(path).ok_or_else(|| Failure::new(format!("no path {}", path.0)))
}

fn path(pair: &Pair, role: Role, path: PathId) -> Result<PathView, Failure> {
    let view = pair.host(role).connection().and_then(|connection| connection.path(path));
    view.ok_or_else(|| Failure::new(format!("{role:?} has no path {}", path.0)))
}
