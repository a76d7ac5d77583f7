//! Multipath frames that lie about path ids, limits and packets (attacks F1 to F9, F20; multipath sections F, G, I, J).

use qbase::{
    EncryptionLevel, ErrorCode, PathId,
    frame::{self, Fin, Frame, PathStatusKind},
    limits,
};
use qconnection::{Event, connection::events::PathEventKind, path::PathState};
use qsim::Failure;

use crate::common;
use common::{
    evil::{ack, arena::{Arena, Setup}, encode, new_cid, own_cid, stream, token},
    ms, secs,
};

const ONE: PathId = PathId(1);
const VIOLATION: ErrorCode = ErrorCode::PROTOCOL_VIOLATION;

fn abandon(path: u32) -> Frame<'static> {
    Frame::PathAbandon(frame::PathAbandon { path: PathId(path), code: 0 })
}

fn status(path: u32, status: PathStatusKind, sequence: u64) -> Frame<'static> {
    Frame::PathStatus(frame::PathStatus { path: PathId(path), status, sequence })
}

fn retire(path: u32, sequence: u64) -> Frame<'static> {
    Frame::RetireConnectionId(frame::RetireConnectionId { path: Some(PathId(path)), sequence })
}

fn max_path(maximum: u32) -> Frame<'static> {
    Frame::MaxPathId(frame::MaxPathId { maximum: PathId(maximum) })
}

fn paths_blocked(maximum: u32) -> Frame<'static> {
    Frame::PathsBlocked(frame::PathsBlocked { maximum: PathId(maximum) })
}

fn cids_blocked(path: u32, next_sequence: u64) -> Frame<'static> {
    Frame::PathCidsBlocked(frame::PathCidsBlocked { path: PathId(path), next_sequence })
}

/// Opens path 1 with ids of the evil client, and answers the server's challenge.
fn open_path(arena: &mut Arena) -> Result<(), Failure> {
    arena.say(&[new_cid(Some(ONE), 0, 0), new_cid(Some(ONE), 1, 0)])?;
    arena.say_on(ONE, &[Frame::Ping])?;
    answer_challenges(arena, ONE)?;
    assert_eq!(arena.connection()?.path(ONE).map(|path| path.state), Some(PathState::Open));
    Ok(())
}

fn answer_challenges(arena: &mut Arena, path: PathId) -> Result<(), Failure> {
    let mut answers = Vec::new();
    for packet in &arena.evil.heard {
        for frame in packet.frames() {
            if let Frame::PathChallenge(challenge) = frame {
                answers.push(Frame::PathResponse(frame::PathResponse { data: challenge.data }));
            }
        }
    }
    arena.say_on(path, &answers)
}

#[test]
fn attack_f3_any_frame_with_a_path_id_above_our_limit_closes_the_connection() -> Result<(), Failure> {
    let above = limits::INITIAL_MAX_PATH_ID + 1;
    for over in [above, u32::MAX] {
        for frame in [
            ack(Some(PathId(over)), &(0..=0)),
            abandon(over),
            status(over, PathStatusKind::Backup, 1),
            status(over, PathStatusKind::Available, 1),
            new_cid(Some(PathId(over)), 0, 0),
            retire(over, 0),
            paths_blocked(over),
            cids_blocked(over, 0),
        ] {
            let mut arena = Arena::new(&Setup::default())?;
            arena.say(std::slice::from_ref(&frame))?;
            assert_eq!(arena.close_code(), Some((VIOLATION.0, frame.frame_type())), "{} {over}", frame.name());
        }
    }
    Ok(())
}

#[test]
fn attack_f4_max_path_id_only_rises_and_never_below_its_first_value() -> Result<(), Failure> {
    for (name, frames, closes) in [
        ("the first value again", vec![max_path(7)], false),
        ("higher", vec![max_path(20)], false),
        ("as high as it goes", vec![max_path(u32::MAX)], false),
        ("lower again, but not below the first", vec![max_path(20), max_path(9)], false),
        ("below the first value", vec![max_path(6)], true),
        ("below the first value after a higher one", vec![max_path(20), max_path(0)], true),
    ] {
        let mut arena = Arena::new(&Setup::default())?;
        arena.say(&frames)?;
        let expected = closes.then_some((VIOLATION.0, max_path(0).frame_type()));
        assert_eq!(arena.close_code(), expected, "{name}");
        assert!(closes || arena.count(|frame| matches!(frame, Frame::NewConnectionId(_))) <= 10, "{name}: our limit holds");
    }
    Ok(())
}

#[test]
fn attack_f2_the_largest_path_id_limit_there_is_is_taken() -> Result<(), Failure> {
    let mut setup = Setup::default();
    setup.parameters.initial_max_path_id = Some(PathId(u32::MAX));
    let arena = Arena::new(&setup)?;
    assert_eq!(arena.close_code(), None);
    assert!(arena.connection()?.is_multipath());
    Ok(())
}

#[test]
fn attack_f7_blocked_frames_are_taken_in_any_number_unless_their_values_cannot_be() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::default())?;
    arena.ack()?;
    arena.forget_heard();
    let events = arena.events.len();
    for _ in 0..5_000 {
        arena.say(&[paths_blocked(7), paths_blocked(0), cids_blocked(3, 0), cids_blocked(1, 1)])?;
    }
    assert_eq!(arena.close_code(), None);
    assert_eq!(arena.count(|frame| !matches!(frame, Frame::Ack(_) | Frame::Ping | Frame::Padding(_))), 0);
    assert_eq!(arena.events.len(), events);
    let impossible = cids_blocked(1, 9);
    arena.say(std::slice::from_ref(&impossible))?;
    assert_eq!(arena.close_code(), Some((VIOLATION.0, impossible.frame_type())));
    Ok(())
}

#[test]
fn attack_f8_ids_for_all_paths_are_kept_up_to_four_each() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::default())?;
    for path in 0..=limits::INITIAL_MAX_PATH_ID {
        for sequence in u64::from(path == 0)..limits::REMOTE_CIDS_PER_PATH {
            arena.say(&[new_cid(Some(PathId(path)), sequence, 0)])?;
        }
    }
    assert_eq!(arena.close_code(), None);
    let last = new_cid(Some(PathId(5)), limits::REMOTE_CIDS_PER_PATH, 0);
    arena.say(std::slice::from_ref(&last))?;
    assert_eq!(arena.close_code(), Some((ErrorCode::CONNECTION_ID_LIMIT_ERROR.0, last.frame_type())));
    Ok(())
}

#[test]
fn attack_f9_path_acks_for_numbers_or_paths_that_never_were_close_the_connection() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::default())?;
    open_path(&mut arena)?;
    arena.say(&[ack(Some(ONE), &(0..=0))])?;
    assert_eq!(arena.close_code(), None, "sent on path 1, acknowledged on path 0");
    arena.say(&[ack(Some(ONE), &(0..=500))])?;
    assert_eq!(arena.close_code().map(|(code, _)| code), Some(VIOLATION.0), "numbers of path 0 do not count on path 1");
    Ok(())
}

#[test]
fn attack_f5_frames_for_a_forgotten_path_are_ignored_for_ever() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::default())?;
    open_path(&mut arena)?;
    arena.say(&[abandon(1)])?;
    arena.ack()?;
    arena.wait(secs(10))?;
    arena.ack()?;
    assert!(arena.connection()?.path(ONE).is_none(), "forgotten");
    let routes = arena.server.statistics().routes;
    for frame in [
        ack(Some(ONE), &(0..=0)),
        ack(Some(ONE), &(900..=900)),
        abandon(1),
        status(1, PathStatusKind::Backup, 9),
        new_cid(Some(ONE), 5, 0),
        retire(1, 77),
        cids_blocked(1, 77),
    ] {
        arena.say(std::slice::from_ref(&frame))?;
        assert_eq!(arena.close_code(), None, "{}", frame.name());
    }
    let packet = arena.evil.seal(EncryptionLevel::OneRtt, ONE, None, 0, &encode(&[Frame::Ping]))?;
    arena.deliver(packet)?;
    assert_eq!((arena.close_code(), arena.server.statistics().routes), (None, routes));
    assert!(arena.connection()?.path(ONE).is_none());
    Ok(())
}

#[test]
fn attack_f5_frames_for_an_abandoned_path_are_ignored_until_it_is_forgotten() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::default())?;
    open_path(&mut arena)?;
    arena.say(&[abandon(1)])?;
    for frame in [ack(Some(ONE), &(0..=0)), abandon(1), status(1, PathStatusKind::Backup, 9), new_cid(Some(ONE), 3, 0)] {
        arena.say(std::slice::from_ref(&frame))?;
        assert_eq!(arena.close_code(), None, "{}", frame.name());
    }
    let answers = arena.count(|frame| matches!(frame, Frame::PathAbandon(abandon) if abandon.path == ONE));
    assert_eq!(answers, 1, "answered once (multipath MP-64)");
    Ok(())
}

#[test]
fn attack_f6_paths_opened_and_abandoned_at_once_stay_within_the_limit() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::default())?;
    let mut next = 1;
    let mut opened = 0;
    for _ in 0..40 {
        while arena.evil.ids.contains_key(&(PathId(next), 0)) {
            let path = PathId(next);
            arena.say(&[new_cid(Some(path), 0, 0)])?;
            arena.say_on(path, &[Frame::Ping])?;
            opened += 1;
            let live = arena.connection()?.paths().filter(|path| path.state != PathState::Abandoning).count();
            assert!(live <= limits::OPEN_PATHS, "{live} paths in use");
            arena.say(&[abandon(next)])?;
            next += 1;
        }
        assert!(arena.connection()?.paths().count() <= limits::OPEN_PATHS, "{:?}", arena.connection()?.paths().count());
        arena.ack()?;
        arena.evil.numbers.retain(|path, _| *path == PathId::ZERO);
        arena.wait(secs(1))?;
        // The evil client takes all ids of higher paths it is offered.
        arena.say(&[max_path(next + 7)])?;
    }
    assert_eq!(arena.close_code(), None);
    assert!(opened > 20, "{opened} paths: the limit is raised as paths are forgotten (multipath MP-56)");
    assert!(arena.server.statistics().routes < 40);
    Ok(())
}

#[test]
fn attack_f6_more_paths_than_may_be_open_are_not_opened() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::default())?;
    for path in 1..=limits::INITIAL_MAX_PATH_ID {
        arena.say(&[new_cid(Some(PathId(path)), 0, 0)])?;
        arena.say_on(PathId(path), &[Frame::Ping])?;
    }
    assert_eq!(arena.connection()?.paths().count(), limits::OPEN_PATHS);
    assert_eq!(arena.close_code(), None);
    Ok(())
}

/// multipath MP-67.
#[test]
fn attack_f13_abandoning_the_last_path_closes_the_connection_and_any_other_does_not() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::default())?;
    for path in 1..=limits::INITIAL_MAX_PATH_ID {
        arena.say(&[abandon(path)])?;
    }
    assert_eq!(arena.close_code(), None, "unused paths");
    arena.say(&[abandon(0)])?;
    assert!(matches!(
        arena.events.iter().find(|event| matches!(event, Event::Closed(_))),
        Some(Event::Closed(info)) if info.code == ErrorCode::NO_VIABLE_PATH.0
    ));
    Ok(())
}

#[test]
fn attack_f20_old_path_statuses_are_ignored_and_a_flood_makes_no_news() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::default())?;
    open_path(&mut arena)?;
    arena.say(&[status(1, PathStatusKind::Backup, 10)])?;
    arena.events.clear();
    for sequence in (0..=10).rev() {
        arena.say(&[status(1, PathStatusKind::Available, sequence)])?;
    }
    for sequence in 11..2_000 {
        arena.say(&[status(1, PathStatusKind::Backup, sequence)])?;
    }
    let peer_status = arena.connection()?.path(ONE).and_then(|path| path.peer_status);
    assert_eq!(peer_status, Some(PathStatusKind::Backup));
    let news = |event: &&Event| matches!(event, Event::Path(path) if matches!(path.kind, PathEventKind::Status(_)));
    assert_eq!(arena.events.iter().filter(news).count(), 0);
    assert_eq!(arena.close_code(), None);
    Ok(())
}

#[test]
fn attack_f12_a_response_on_one_path_validates_the_path_that_was_asked() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::default())?;
    arena.say(&[new_cid(Some(ONE), 0, 0), new_cid(Some(PathId(2)), 0, 0)])?;
    arena.say_on(ONE, &[Frame::Ping])?;
    let heard = std::mem::take(&mut arena.evil.heard);
    arena.say_on(PathId(2), &[Frame::Ping])?;
    let second = std::mem::replace(&mut arena.evil.heard, heard);
    answer_challenges(&mut arena, PathId::ZERO)?;
    let state = |arena: &Arena, path| arena.connection().ok().and_then(|connection| connection.path(path)).map(|path| path.state);
    assert_eq!((state(&arena, ONE), state(&arena, PathId(2))), (Some(PathState::Open), Some(PathState::Validating)));
    arena.evil.heard.extend(second);
    Ok(())
}

/// multipath MP-21.
#[test]
fn attack_f11_a_path_that_answers_no_challenge_gets_three_times_its_bytes_at_most() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::default())?;
    arena.say(&[new_cid(Some(ONE), 0, 0)])?;
    arena.forget_heard();
    let before = arena.server.statistics().bytes_sent;
    let packet = arena.evil.seal(EncryptionLevel::OneRtt, ONE, None, 0, &encode(&[Frame::Ping]))?;
    let received = packet.len() as u64;
    arena.inject_from(77, packet);
    arena.pump()?;
    arena.wait(secs(20))?;
    let on_path: usize = arena.evil.heard.iter().filter(|packet| packet.path == ONE).map(|packet| packet.datagram).sum();
    assert!(on_path as u64 <= 3 * received, "{on_path} bytes for {received}; {before}");
    Ok(())
}

#[test]
fn attack_r6_an_honest_neighbour_is_served_while_others_attack() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::default())?;
    arena.add_honest()?;
    let data: Vec<u8> = (0..60_000_u32).map(|byte| byte.to_le_bytes()[0]).collect();
    for round in 0..20_u64 {
        for number in 0..200 {
            arena.say(&[
                Frame::Ping,
                Frame::PathChallenge(frame::PathChallenge { data: [number; 8] }),
                stream(2, round * 7 % 1_000, b"", Fin::No),
                paths_blocked(7),
            ])?;
        }
        arena.say(&[stream(2, round * 7, b"useful!", Fin::No)])?;
        arena.ack()?;
        arena.wait(ms(10))?;
        arena.honest_sends(&data)?;
    }
    assert_eq!(arena.close_code(), None);
    arena.say(&[Frame::HandshakeDone])?;
    assert_eq!(arena.close_code().map(|(code, _)| code), Some(VIOLATION.0));
    arena.honest_sends(&data)?;
    Ok(())
}

#[test]
fn attack_e6_repeated_ids_together_with_a_moving_address_are_no_error() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::default())?;
    let twice = Frame::NewConnectionId(frame::NewConnectionId {
        path: None,
        sequence: 1,
        retire_prior_to: 0,
        cid: own_cid(PathId::ZERO, 1),
        reset_token: token(1),
    });
    for number in 0..20 {
        let frames = [twice.clone(), twice.clone(), new_cid(Some(PathId::ZERO), 1, 0), Frame::Ping];
        let packet = arena.evil.seal(EncryptionLevel::OneRtt, PathId::ZERO, None, 0, &encode(&frames))?;
        arena.inject_from(number, packet);
        arena.pump()?;
        arena.wait(ms(50))?;
    }
    assert_eq!(arena.close_code(), None);
    assert_eq!(arena.server.len(), 1);
    Ok(())
}
