//! Lies where all paths share one packet-number space (multipath section O; attacks B24, C1, C2, L5).

use qbase::{
    EncryptionLevel, ErrorCode, PathId, SpaceId,
    frame::{self, Fin, Frame, table},
    limits,
    param::TransportParameters,
};
use qconnection::{
    Multipath, TransportConfig,
    path::{PathMode, PathState},
};
use qevent::DropReason;
use qsim::Failure;

use crate::common;
use common::evil::{ack, arena::{Arena, Setup}, encode, new_cid, stream};

const ONE: PathId = PathId(1);
const SPACE: SpaceId = SpaceId::Application(PathId::ZERO);

fn setup() -> Setup {
    let plain = Setup::default();
    Setup {
        server: TransportConfig { multipath: Multipath::SharedSpace, ..plain.server },
        parameters: TransportParameters { initial_max_path_id: None, shared_space_max_path_id: Some(PathId(7)), ..plain.parameters },
        ..plain
    }
}

/// Opens path 1 and answers the server's challenge.
fn open_path(arena: &mut Arena) -> Result<(), Failure> {
    arena.say(&[new_cid(Some(ONE), 0, 0), new_cid(Some(ONE), 1, 0)])?;
    arena.say_on(ONE, &[Frame::Ping])?;
    let mut answers = Vec::new();
    for packet in &arena.evil.heard {
        answers.extend(packet.frames().into_iter().filter_map(|frame| match frame {
            Frame::PathChallenge(challenge) => Some(Frame::PathResponse(frame::PathResponse { data: challenge.data })),
            _ => None,
        }));
    }
    arena.say_on(ONE, &answers)?;
    assert_eq!(arena.connection()?.path(ONE).map(|path| path.state), Some(PathState::Open));
    Ok(())
}

/// multipath MP-99
#[test]
fn whoever_offers_both_ways_is_refused_whatever_the_server_offers() -> Result<(), Failure> {
    for multipath in [Multipath::Off, Multipath::Auto, Multipath::SharedSpace] {
        let server = TransportConfig { multipath, ..TransportConfig::default() };
        let change = |parameters: &mut TransportParameters| parameters.initial_max_path_id = Some(PathId(7));
        let arena = Arena::new(&Setup { server, change, ..Setup { stage: Setup::during_handshake().stage, ..setup() } })?;
        assert_eq!(arena.close_code().map(|(code, _)| code), Some(ErrorCode::TRANSPORT_PARAMETER_ERROR.0), "{multipath:?}");
    }
    Ok(())
}

/// multipath MP-104
#[test]
fn a_path_ack_is_an_unknown_frame() -> Result<(), Failure> {
    for path in [PathId::ZERO, ONE] {
        let mut arena = Arena::new(&setup())?;
        assert_eq!(arena.connection()?.path_mode(), PathMode::SharedSpace);
        arena.say(&[ack(Some(path), &(0..=0))])?;
        assert_eq!(arena.close_code(), Some((ErrorCode::FRAME_ENCODING_ERROR.0, table::PATH_ACK)));
    }
    Ok(())
}

/// multipath MP-100, MP-71, MP-53
#[test]
fn the_rules_for_path_ids_hold_as_with_the_extension() -> Result<(), Failure> {
    let above = PathId(limits::INITIAL_MAX_PATH_ID + 1);
    for bad in [
        Frame::PathAbandon(frame::PathAbandon { path: above, code: 0 }),
        new_cid(Some(above), 0, 0),
        Frame::MaxPathId(frame::MaxPathId { maximum: PathId(6) }),
        Frame::PathsBlocked(frame::PathsBlocked { maximum: above }),
    ] {
        let mut arena = Arena::new(&setup())?;
        arena.say(std::slice::from_ref(&bad))?;
        assert_eq!(arena.close_code(), Some((ErrorCode::PROTOCOL_VIOLATION.0, bad.frame_type())), "{}", bad.name());
    }
    Ok(())
}

/// multipath MP-104
#[test]
fn attack_c1_numbers_that_no_path_sent_cannot_be_acknowledged_on_any() -> Result<(), Failure> {
    for path in [PathId::ZERO, ONE] {
        let mut arena = Arena::new(&setup())?;
        open_path(&mut arena)?;
        let sent = arena.connection()?.space(SPACE).and_then(|space| space.largest_sent).unwrap_or_default();
        arena.say_on(path, &[ack(None, &(sent..=sent))])?;
        assert_eq!(arena.close_code(), None, "what was sent on one path may be acknowledged on another");
        let sent = arena.connection()?.space(SPACE).and_then(|space| space.largest_sent).unwrap_or_default();
        arena.say_on(path, &[ack(None, &(sent + 1..=sent + 1))])?;
        assert_eq!(arena.close_code(), Some((ErrorCode::PROTOCOL_VIOLATION.0, table::ACK)));
    }
    Ok(())
}

/// multipath MP-104: 300 packets have a number among them that was left out.
#[test]
fn attack_c2_a_number_left_out_cannot_be_acknowledged() -> Result<(), Failure> {
    let mut arena = Arena::new(&setup())?;
    open_path(&mut arena)?;
    for _ in 0..300 {
        arena.say(&[Frame::Ping])?;
        arena.say_on(ONE, &[Frame::Ping])?;
    }
    let sent = arena.connection()?.space(SPACE).and_then(|space| space.largest_sent).unwrap_or_default();
    let heard: usize = arena.evil.numbers.values().map(|numbers| numbers.len()).sum();
    assert!(sent >= 300 && (heard as u64) < sent + 1, "{heard} of {sent}");
    arena.say(&[ack(None, &(0..=sent))])?;
    assert_eq!(arena.close_code(), Some((ErrorCode::PROTOCOL_VIOLATION.0, table::ACK)));
    Ok(())
}

/// multipath MP-103
#[test]
fn attack_l5_every_second_number_missing_keeps_the_bound_of_the_shared_space() -> Result<(), Failure> {
    let mut arena = Arena::new(&setup())?;
    open_path(&mut arena)?;
    for number in 0..3_000 {
        *arena.evil.next_number(SPACE) += 1;
        arena.say_on(PathId(number % 2), &[Frame::Ping])?;
    }
    let space = arena.connection()?.space(SPACE);
    assert_eq!(space.map(|space| space.received.len()), Some(limits::ACK_RANGES_SHARED));
    assert_eq!(arena.close_code(), None);
    Ok(())
}

/// attacks A19: a number counts once, whichever path it came over and however long ago.
#[test]
fn attack_a19_copies_of_a_packet_are_one_packet_for_all_paths() -> Result<(), Failure> {
    let mut arena = Arena::new(&setup())?;
    open_path(&mut arena)?;
    let packet = arena.evil.seal(EncryptionLevel::OneRtt, ONE, None, 0, &encode(&[stream(2, 0, b"once", Fin::No)]))?;
    let before = arena.connection()?.drops().get(DropReason::Duplicate);
    for _ in 0..100 {
        arena.deliver(packet.clone())?;
    }
    for _ in 0..2 * limits::ACK_RANGES_SHARED {
        *arena.evil.next_number(SPACE) += 1;
        arena.say(&[Frame::Ping])?;
    }
    for _ in 0..100 {
        arena.deliver(packet.clone())?;
    }
    assert_eq!(arena.connection()?.drops().get(DropReason::Duplicate) - before, 199);
    assert_eq!(arena.close_code(), None);
    Ok(())
}

/// A packet of path 1 under the nonce of the extension is not authentic here (multipath MP-101).
#[test]
fn a_path_id_in_the_nonce_is_not_understood() -> Result<(), Failure> {
    let mut arena = Arena::new(&setup())?;
    open_path(&mut arena)?;
    let next = *arena.evil.next_number(SPACE);
    arena.evil.shares_space = false;
    *arena.evil.next_number(SpaceId::Application(ONE)) = next;
    let before = arena.connection()?.drops().get(DropReason::Undecryptable);
    arena.say_on(ONE, &[Frame::Ping])?;
    assert_eq!(arena.connection()?.drops().get(DropReason::Undecryptable), before + 1);
    Ok(())
}
