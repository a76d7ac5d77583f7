//! Connection ids: floods, contradictions, retirements; and PATH_CHALLENGE floods (attacks E1 to E9, L8 to L10).

use std::collections::BTreeSet;

use qbase::{
    ConnectionId, EncryptionLevel, ErrorCode, PathId, ResetToken,
    frame::{self, Frame, table},
    limits,
};
use qsim::Failure;

use crate::common;
use common::{
    evil::{ack, arena::{Arena, Setup}, encode, new_cid, token, wire::Packet},
    ms, secs,
};

const ZERO: Option<PathId> = Some(PathId::ZERO);
const VIOLATION: ErrorCode = ErrorCode::PROTOCOL_VIOLATION;

fn retire(path: Option<PathId>, sequence: u64) -> Frame<'static> {
    Frame::RetireConnectionId(frame::RetireConnectionId { path, sequence })
}

fn issue(path: Option<PathId>, sequence: u64, cid: &[u8], reset_token: ResetToken) -> Frame<'static> {
    let cid = ConnectionId::new(cid).unwrap_or_default();
    Frame::NewConnectionId(frame::NewConnectionId { path, sequence, retire_prior_to: 0, cid, reset_token })
}

#[test]
fn attack_e3_one_id_more_than_the_limit_closes_the_connection() -> Result<(), Failure> {
    for (path, first) in [(None, 1), (ZERO, 1), (Some(PathId(3)), 0)] {
        let mut arena = Arena::new(&Setup::default())?;
        for sequence in first..limits::REMOTE_CIDS_PER_PATH {
            arena.say(&[new_cid(path, sequence, 0)])?;
            arena.say(&[new_cid(path, sequence, 0)])?;
        }
        assert_eq!(arena.close_code(), None, "{path:?}: as many as allowed, each twice");
        let last = new_cid(path, limits::REMOTE_CIDS_PER_PATH, 0);
        arena.say(std::slice::from_ref(&last))?;
        assert_eq!(arena.close_code(), Some((ErrorCode::CONNECTION_ID_LIMIT_ERROR.0, last.frame_type())), "{path:?}");
    }
    Ok(())
}

#[test]
fn attack_e2_malformed_and_contradicting_ids_close_the_connection() -> Result<(), Failure> {
    let id = |bytes: [u8; 4], len: u8| {
        let mut frame = vec![0x18];
        frame.extend_from_slice(&bytes[..2]);
        frame.push(len);
        frame.resize(frame.len() + usize::from(len) + 16, 0xcc);
        frame
    };
    let bytes = |frame: &Frame<'_>| encode(std::slice::from_ref(frame));
    let sample = || bytes(&issue(None, 1, b"sample-1", token(1)));
    let cases: Vec<(&str, Vec<Vec<u8>>, ErrorCode)> = vec![
        ("retire prior to above the sequence", vec![id([1, 2, 0, 0], 8)], ErrorCode::FRAME_ENCODING_ERROR),
        ("an empty id", vec![id([1, 0, 0, 0], 0)], ErrorCode::FRAME_ENCODING_ERROR),
        ("an id of 21 bytes", vec![id([1, 0, 0, 0], 21)], ErrorCode::FRAME_ENCODING_ERROR),
        ("one sequence, two ids", vec![sample(), bytes(&issue(None, 1, b"sample-2", token(1)))], VIOLATION),
        ("one sequence, two tokens", vec![sample(), bytes(&issue(None, 1, b"sample-1", token(2)))], VIOLATION),
        ("one id, two sequences", vec![sample(), bytes(&issue(None, 2, b"sample-1", token(1)))], VIOLATION),
        ("both frames, two ids", vec![sample(), bytes(&issue(ZERO, 1, b"sample-2", token(1)))], VIOLATION),
        ("one id, two paths", vec![sample(), bytes(&issue(Some(PathId(1)), 0, b"sample-1", token(1)))], VIOLATION),
    ];
    for (name, packets, code) in cases {
        let mut arena = Arena::new(&Setup::default())?;
        for packet in packets {
            assert_eq!(arena.close_code(), None, "{name}");
            arena.send_bytes(EncryptionLevel::OneRtt, &packet)?;
        }
        assert_eq!(arena.close_code().map(|(code, _)| code), Some(code.0), "{name}");
    }
    Ok(())
}

#[test]
fn attack_e1_rising_retire_prior_to_without_acknowledgements_ends_at_the_bound() -> Result<(), Failure> {
    for path in [None, Some(PathId(2))] {
        let mut arena = Arena::new(&Setup::default())?;
        let mut sequence = 1;
        while arena.close_code().is_none() && sequence < 1_000 {
            arena.say(&[new_cid(path, sequence, sequence)])?;
            sequence += 1;
        }
        assert_eq!(arena.close_code().map(|(code, _)| code), Some(ErrorCode::CONNECTION_ID_LIMIT_ERROR.0));
        assert!(sequence <= limits::RETIRE_CIDS_PER_PATH as u64 + 5, "{sequence} ids");
    }
    Ok(())
}

#[test]
fn attack_e1_the_same_with_acknowledgements_goes_on_for_ever() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::default())?;
    for sequence in 1..500 {
        arena.say(&[new_cid(None, sequence, sequence)])?;
        arena.ack()?;
        arena.wait(ms(30))?;
    }
    assert_eq!(arena.close_code(), None);
    let retired: BTreeSet<u64> = arena.evil.heard.iter().flat_map(Packet::frames).filter_map(|frame| match frame {
        Frame::RetireConnectionId(retire) => Some(retire.sequence),
        _ => None,
    }).collect();
    assert_eq!(retired.len(), 499, "each was given back");
    Ok(())
}

#[test]
fn attack_e4_retiring_what_was_not_issued_or_carries_the_frame_is_a_violation() -> Result<(), Failure> {
    for (name, frame) in [
        ("the id of the packet itself", retire(None, 0)),
        ("the same by the multipath frame", retire(ZERO, 0)),
        ("a number that was not issued", retire(None, 99)),
        ("one of an unused path", retire(Some(PathId(7)), 99)),
    ] {
        let mut arena = Arena::new(&Setup::default())?;
        arena.say(std::slice::from_ref(&frame))?;
        assert_eq!(arena.close_code(), Some((VIOLATION.0, frame.frame_type())), "{name}");
    }
    Ok(())
}

#[test]
fn attack_e4_retiring_for_a_path_id_we_issued_nothing_for_is_a_violation() -> Result<(), Failure> {
    let mut setup = Setup::default();
    setup.parameters.initial_max_path_id = Some(PathId(2));
    let mut arena = Arena::new(&setup)?;
    let frame = retire(Some(PathId(5)), 0);
    arena.say(std::slice::from_ref(&frame))?;
    assert_eq!(arena.close_code(), Some((VIOLATION.0, frame.frame_type())));
    Ok(())
}

/// Retires every id but the one in use as soon as it is heard, without acknowledging anything.
fn retire_all_heard(arena: &mut Arena, retired: &mut BTreeSet<(PathId, u64)>) -> Result<usize, Failure> {
    let fresh: Vec<(PathId, u64)> =
        arena.evil.ids.keys().copied().filter(|id| !retired.contains(id) && *id != (PathId::ZERO, 0)).collect();
    for (path, sequence) in &fresh {
        retired.insert((*path, *sequence));
        arena.say(&[retire(Some(*path), *sequence)])?;
    }
    Ok(fresh.len())
}

#[test]
fn attack_e5_a_peer_that_retires_every_id_at_once_gets_four_per_round_trip_and_path() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::default())?;
    let mut retired = BTreeSet::new();
    let routes = arena.server.statistics().routes;
    for round in 0..20 {
        let mut issued = 0;
        for _ in 0..50 {
            issued += retire_all_heard(&mut arena, &mut retired)?;
        }
        // At first the nine ids that were acknowledged in the handshake come on top.
        assert!(issued <= 8 * 4 + if round == 0 { 9 } else { 0 }, "round {round}: {issued} ids without one acknowledgement");
        assert!(round == 0 || issued > 0, "round {round}: acknowledged, so it goes on");
        assert!(arena.server.statistics().routes <= routes + 8, "routes of retired ids are gone");
        arena.ack()?;
        arena.wait(ms(20))?;
    }
    assert_eq!(arena.close_code(), None);
    Ok(())
}

#[test]
fn attack_e5_the_last_id_of_a_path_that_was_retired_is_replaced_once_the_peer_answers() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::single_path())?;
    let mut retired = BTreeSet::new();
    for _ in 0..10 {
        let fresh: Vec<u64> = arena.evil.ids.keys().map(|(_, sequence)| *sequence).collect();
        for sequence in fresh.into_iter().filter(|sequence| *sequence > 0) {
            if retired.insert(sequence) {
                arena.say(&[retire(None, sequence)])?;
            }
        }
    }
    let before = arena.evil.ids.len();
    arena.ack()?;
    arena.wait(secs(1))?;
    arena.ack()?;
    assert!(arena.evil.ids.len() > before, "{before} ids: all retired, none replaced");
    Ok(())
}

#[test]
fn attack_e7_challenge_flood_keeps_four_responses() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::default())?;
    arena.ack()?;
    arena.forget_heard();
    for number in 0..1_000_u64 {
        let challenge = Frame::PathChallenge(frame::PathChallenge { data: number.to_be_bytes() });
        let packet = arena.evil.seal(EncryptionLevel::OneRtt, PathId::ZERO, None, 0, &encode(&[challenge]))?;
        arena.inject(packet, arena.evil.four_tuple);
    }
    arena.pump()?;
    arena.wait(secs(5))?;
    let responses: Vec<u64> = arena.evil.heard.iter().flat_map(Packet::frames).filter_map(|frame| match frame {
        Frame::PathResponse(response) => Some(u64::from_be_bytes(response.data)),
        _ => None,
    }).collect();
    assert_eq!(responses, [996, 997, 998, 999], "the newest, each once, never again");
    assert_eq!(arena.close_code(), None);
    Ok(())
}

#[test]
fn attack_e7_a_flood_with_a_starved_window_stays_bounded() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::default())?;
    arena.forget_heard();
    for number in 0..20_000_u64 {
        arena.say(&[Frame::PathChallenge(frame::PathChallenge { data: number.to_be_bytes() })])?;
    }
    let path = arena.connection()?.path(PathId::ZERO).ok_or_else(|| Failure::new("no path".to_owned()))?;
    assert!(path.bytes_in_flight <= path.congestion_window + 5 * u64::from(path.mtu), "{path:?}");
    assert_eq!(arena.close_code(), None);
    Ok(())
}

#[test]
fn attack_e7_a_challenge_from_another_address_makes_no_turn_without_end() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::default())?;
    for number in 0..50_u8 {
        let challenge = Frame::PathChallenge(frame::PathChallenge { data: [number; 8] });
        let packet = arena.evil.seal(EncryptionLevel::OneRtt, PathId::ZERO, None, 0, &encode(&[challenge]))?;
        arena.inject_from(100 + number, packet);
        arena.pump()?;
    }
    arena.say(&[Frame::Ping])?;
    arena.wait(secs(1))?;
    assert_eq!(arena.close_code(), None);
    assert_eq!(arena.connection()?.path(PathId::ZERO).map(|path| path.four_tuple), Some(arena.evil.four_tuple));
    Ok(())
}

#[test]
fn attack_e8_responses_nobody_asked_for_are_ignored() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::default())?;
    for number in 0..1_000_u64 {
        arena.say(&[Frame::PathResponse(frame::PathResponse { data: number.to_be_bytes() })])?;
    }
    assert_eq!(arena.close_code(), None);
    Ok(())
}

#[test]
fn attack_e9_a_response_travels_in_a_full_datagram() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::default())?;
    arena.ack()?;
    arena.forget_heard();
    arena.say(&[Frame::PathChallenge(frame::PathChallenge { data: [1; 8] })])?;
    let has_response = |packet: &&Packet| packet.frames().iter().any(|frame| matches!(frame, Frame::PathResponse(_)));
    let sizes: Vec<usize> = arena.evil.heard.iter().filter(has_response).map(|packet| packet.datagram).collect();
    assert_eq!(sizes, [limits::MIN_INITIAL]);
    Ok(())
}

#[test]
fn attack_c1_acknowledging_what_was_never_sent_closes_the_connection() -> Result<(), Failure> {
    for (name, path, range, closes) in [
        ("ACK far ahead", None, 1_000..=1_000, true),
        ("PATH_ACK far ahead", ZERO, 1_000..=1_000, true),
        ("a range that begins right and ends ahead", None, 0..=1_000, true),
        ("as far as varints go", ZERO, (1 << 62) - 1..=(1 << 62) - 1, true),
        ("a path that was never used", Some(PathId(3)), 0..=0, true),
        ("what was sent", None, 0..=0, false),
        ("what was sent, by PATH_ACK", ZERO, 0..=0, false),
    ] {
        let mut arena = Arena::new(&Setup::default())?;
        let frame = ack(path, &range);
        arena.say(std::slice::from_ref(&frame))?;
        assert_eq!(arena.close_code(), closes.then_some((VIOLATION.0, frame.frame_type())), "{name}");
    }
    Ok(())
}

#[test]
fn attack_c1_acknowledging_ahead_in_the_handshake_closes_it_too() -> Result<(), Failure> {
    for level in [EncryptionLevel::Initial, EncryptionLevel::Handshake] {
        let mut arena = Arena::new(&Setup::during_handshake())?;
        arena.send(level, &[ack(None, &(50..=50))])?;
        assert_eq!(arena.close_code(), Some((VIOLATION.0, table::ACK)), "{level:?}");
    }
    Ok(())
}

#[test]
fn attack_c2_acknowledging_a_skipped_number_closes_the_connection_within_its_first_numbers() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::default())?;
    for _ in 0..400 {
        arena.say(&[Frame::Ping, Frame::PathChallenge(frame::PathChallenge { data: [1; 8] })])?;
        arena.ack()?;
    }
    assert_eq!(arena.close_code(), None);
    let numbers = arena.evil.numbers.get(&PathId::ZERO).cloned().unwrap_or_default();
    let last = numbers.last().copied().unwrap_or_default();
    let skipped = (0..last).find(|number| !numbers.contains(number));
    let skipped = skipped.ok_or_else(|| Failure::new(format!("no number below {last} was skipped")))?;
    assert!(skipped <= 272, "{skipped}");
    arena.say(&[ack(None, &(skipped..=skipped))])?;
    assert_eq!(arena.close_code(), Some((VIOLATION.0, table::ACK)));
    Ok(())
}

#[test]
fn attack_c3_five_hundred_ranges_are_read_and_most_are_never_sent() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::default())?;
    let mut payload = vec![0; 1_300];
    let mut writer = qbase::Writer::new(&mut payload);
    let ranges = (0..500_u64).rev().map(|range| range * 2 + 10_000..=range * 2 + 10_000);
    frame::ack::write(&mut writer, None, ranges, 0, None, 1_300);
    let len = writer.len();
    payload.truncate(len);
    arena.send_bytes(EncryptionLevel::OneRtt, &payload)?;
    assert_eq!(arena.close_code(), Some((VIOLATION.0, table::ACK)));
    Ok(())
}

#[test]
fn attack_c4_every_second_number_missing_keeps_the_bound_of_ranges() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::default())?;
    for _ in 0..20_000 {
        *arena.evil.next_number(qbase::SpaceId::Application(PathId::ZERO)) += 1;
        arena.say(&[Frame::Ping])?;
    }
    let space = arena.connection()?.space(qbase::SpaceId::Application(PathId::ZERO));
    assert_eq!(space.map(|space| space.received.len()), Some(limits::ACK_RANGES));
    assert_eq!(arena.close_code(), None);
    Ok(())
}

#[test]
fn attack_c6_absurd_ack_delays_leave_the_rtt_alone() -> Result<(), Failure> {
    let mut setup = Setup::default();
    setup.parameters.ack_delay_exponent = 20;
    let mut arena = Arena::new(&setup)?;
    arena.wait(ms(10))?;
    arena.say(&[Frame::PathChallenge(frame::PathChallenge { data: [1; 8] })])?;
    arena.wait(ms(40))?;
    let last = arena.evil.numbers.get(&PathId::ZERO).and_then(BTreeSet::last).copied().unwrap_or_default();
    let absurd = frame::Ack {
        path: ZERO,
        largest: last,
        delay: (1 << 62) - 1,
        ranges: frame::AckRanges::one(&(last..=last)),
        ecn: None,
    };
    arena.say(&[Frame::Ack(absurd)])?;
    assert_eq!(arena.close_code(), None);
    let path = arena.connection()?.path(PathId::ZERO).ok_or_else(|| Failure::new("no path".to_owned()))?;
    assert!(path.smoothed_rtt >= path.min_rtt, "{path:?}");
    Ok(())
}
