//! Numbers far ahead, ends in the open, packets of strangers during a handshake, offsets beyond all, acknowledgements that hardly
//! come (attacks A22, B26, B27, C8, C15, D4, R5).

use qbase::{
    Direction, EncryptionLevel, ErrorCode, PathId, SpaceId, StreamId,
    frame::{self, CloseKind, Fin, Frame},
    varint,
};
use qconnection::{Event, connection::events::ClosedBy, path::PathState};
use qevent::DropReason;
use qsim::Failure;

use crate::common;
use common::{
    ends::failure,
    evil::{
        ack,
        arena::{Arena, Setup, addresses},
        encode, new_cid, own_cid,
        stage::{Act, Play, Stage},
        stream,
    },
    ms, secs,
};

const ONE: PathId = PathId(1);

/// Lets everything run out; then nothing of the attack is left (attacks R5).
fn nothing_is_left(mut arena: Arena) -> Result<(), Failure> {
    arena.wait(secs(120))?;
    let left = arena.server.statistics();
    assert_eq!((left.connections, left.half_open, left.routes, left.reset_tokens, left.pool_bytes_used), (0, 0, 0, 0, 0));
    assert_eq!(arena.server.next_timer(), None);
    Ok(())
}

fn undecryptable(arena: &Arena) -> Result<u64, Failure> {
    Ok(arena.connection()?.drops().get(DropReason::Undecryptable))
}

#[test]
fn attack_a22_a_number_too_far_ahead_is_no_packet_and_moves_nothing() -> Result<(), Failure> {
    let space = SpaceId::Application(PathId::ZERO);
    let mut arena = Arena::new(&Setup::default())?;
    let honest = *arena.evil.next_number(space);
    for jump in [1_u64 << 32, 1 << 40, varint::MAX - 100] {
        *arena.evil.next_number(space) = honest + jump;
        let before = (undecryptable(&arena)?, arena.connection()?.statistics().packets_received);
        arena.say(&[Frame::Ping])?;
        let after = (undecryptable(&arena)?, arena.connection()?.statistics().packets_received);
        assert_eq!(after, (before.0 + 1, before.1), "a jump of {jump} cannot be told from its last four bytes");
    }
    *arena.evil.next_number(space) = honest;
    arena.say(&[stream(0, 0, b"on", Fin::No)])?;
    *arena.evil.next_number(space) = honest + (1 << 31) - 2;
    arena.say(&[stream(0, 2, b"wards", Fin::No)])?;
    *arena.evil.next_number(space) = honest + 1;
    arena.say(&[stream(0, 7, b", slowly", Fin::Yes)])?;
    arena.connection_mut()?.accept(Direction::Bidirectional);
    assert_eq!(arena.read(StreamId(0))?, b"onwards, slowly", "as far as four bytes reach, numbers may jump");
    assert_eq!(arena.close_code(), None);
    nothing_is_left(arena)
}

#[test]
fn attack_b26_an_end_that_an_observer_writes_is_reported_as_the_peers_at_once() -> Result<(), Failure> {
    let mut stage = Stage::new(&Play::from(Act::Silence))?;
    let close = frame::ConnectionClose { kind: CloseKind::Transport { frame_type: 0 }, code: ErrorCode::CONNECTION_REFUSED.0, reason: b"forged" };
    let before = stage.now;
    stage.send(EncryptionLevel::Initial, &[Frame::ConnectionClose(close)])?;
    let ended = stage.events.iter().find_map(|event| match event {
        Event::Closed(info) => Some((info.by, info.code, info.reason.clone())),
        _ => None,
    });
    assert_eq!(ended, Some((ClosedBy::Peer, ErrorCode::CONNECTION_REFUSED.0, "forged".to_owned())));
    assert_eq!(stage.now, before, "nobody waits for a timer");
    stage.wait(secs(60))?;
    let left = stage.client.statistics();
    assert_eq!((left.connections, left.routes, left.reset_tokens, left.pool_bytes_used), (0, 0, 0, 0));
    Ok(())
}

#[test]
fn attack_b27_packets_from_another_source_id_are_not_the_servers() -> Result<(), Failure> {
    let mut stage = Stage::new(&Play::from(Act::Silence))?;
    let flight = stage.flight.clone();
    let (level, offset, hello) = flight.first().cloned().ok_or_else(|| failure("no flight"))?;
    stage.send(level, &[Frame::Crypto(frame::Crypto { offset, data: &hello[..20] })])?;
    let rest = Frame::Crypto(frame::Crypto { offset: offset + 20, data: &hello[20..] });
    stage.send_from(level, own_cid(PathId::ZERO, 9), std::slice::from_ref(&rest))?;
    let strange = frame::ConnectionClose { kind: CloseKind::Transport { frame_type: 0 }, code: 1, reason: b"" };
    stage.send_from(level, own_cid(PathId::ZERO, 9), &[Frame::ConnectionClose(strange)])?;
    assert!(!stage.connection()?.is_handshake_complete() && stage.close_code().is_none());
    stage.send_flight()?;
    assert!(stage.connection()?.is_handshake_complete(), "the real server is still heard");
    Ok(())
}

/// Until the handshake is confirmed a client is answered where it was heard last, with a credit for each address (multipath
/// MP-96).
#[test]
fn attack_b27_packets_that_a_stranger_passes_on_get_three_times_their_bytes_and_move_nothing_for_long() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::during_handshake())?;
    let home = arena.evil.four_tuple;
    let mut passed_on = 0;
    for _ in 0..5 {
        let packet = arena.evil.seal(EncryptionLevel::Handshake, PathId::ZERO, None, 0, &encode(&[Frame::Ping]))?;
        passed_on += packet.len() as u64;
        arena.inject(packet, addresses(9));
    }
    arena.pump()?;
    arena.wait(secs(3))?;
    let sent = arena.sent_to.get(&addresses(9).remote).copied().unwrap_or_default();
    assert!(sent <= 3 * passed_on, "{sent} bytes for {passed_on}");
    arena.send_flight()?;
    assert!(arena.connection()?.is_confirmed(), "the client at its first address goes on");
    assert_eq!(arena.connection()?.path(PathId::ZERO).map(|path| path.four_tuple), Some(home));
    nothing_is_left(arena)
}

/// A client that changed its address within the handshake must prove the new one before it gets more than three times its bytes.
#[test]
fn attack_b27_a_client_that_finishes_elsewhere_is_challenged_there() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::during_handshake())?;
    arena.forget_heard();
    for (level, offset, data) in arena.evil.take_flight() {
        let packet = arena.evil.seal(level, PathId::ZERO, None, 0, &encode(&[Frame::Crypto(frame::Crypto { offset, data: &data })]))?;
        arena.inject(packet, addresses(9));
    }
    arena.evil.four_tuple = addresses(9);
    arena.pump()?;
    assert!(arena.connection()?.is_confirmed());
    let view = arena.connection()?.path(PathId::ZERO).ok_or_else(|| failure("no path"))?;
    assert!(view.four_tuple == addresses(9) && view.amplification_credit < u64::MAX, "{view:?}");
    arena.say(&[Frame::Ping])?;
    let answers = answers(&arena);
    assert!(!answers.is_empty(), "a challenge came");
    let mut padded = vec![0; 1_100];
    let responses: Vec<Frame<'_>> = answers.iter().map(|data| Frame::PathResponse(frame::PathResponse { data: *data })).collect();
    padded.extend(encode(&responses));
    arena.send_bytes(EncryptionLevel::OneRtt, &padded)?;
    let view = arena.connection()?.path(PathId::ZERO).ok_or_else(|| failure("no path"))?;
    assert_eq!(view.amplification_credit, u64::MAX, "it proved its address");
    nothing_is_left(arena)
}

/// Data of all challenges heard.
fn answers(arena: &Arena) -> Vec<[u8; 8]> {
    let mut data = Vec::new();
    for packet in &arena.evil.heard {
        for frame in packet.frames() {
            if let Frame::PathChallenge(challenge) = frame {
                data.push(challenge.data);
            }
        }
    }
    data
}

/// What the server sends on a new stream.
fn write(arena: &mut Arena, len: usize) -> Result<(), Failure> {
    let connection = arena.connection_mut()?;
    let stream = connection.open(Direction::Unidirectional).ok_or_else(|| failure("no credit"))?;
    connection.write(stream, &vec![7; len]).map_err(failure)?;
    arena.pump()
}

#[test]
fn attack_c8_a_peer_silent_for_thirty_seconds_that_then_acknowledges_all_is_served_again() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::single_path())?;
    write(&mut arena, 200_000)?;
    for _ in 0..10 {
        arena.wait(secs(3))?;
        arena.say(&[Frame::Ping])?;
    }
    let view = arena.connection()?.path(PathId::ZERO).ok_or_else(|| failure("no path"))?;
    assert!(view.pto_count > 3 && view.congestion_window >= 2 * 1_200, "{view:?}");
    arena.ack()?;
    for _ in 0..40 {
        arena.wait(ms(50))?;
        arena.ack()?;
    }
    let view = arena.connection()?.path(PathId::ZERO).ok_or_else(|| failure("no path"))?;
    assert_eq!((arena.close_code(), view.bytes_in_flight, view.pto_count), (None, 0, 0));
    assert!(view.congestion_window < 1 << 24, "{view:?}");
    nothing_is_left(arena)
}

#[test]
fn attack_c8_one_acknowledgement_in_a_hundred_packets_closes_nothing() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::single_path())?;
    write(&mut arena, 200_000)?;
    for round in 0..200_u64 {
        arena.wait(ms(100))?;
        let last = arena.evil.numbers.get(&PathId::ZERO).and_then(|numbers| numbers.last().copied()).unwrap_or_default();
        arena.say(&[ack(None, &(last..=last))])?;
        if round % 20 == 0 {
            write(&mut arena, 10)?;
        }
    }
    let view = arena.connection()?.path(PathId::ZERO).ok_or_else(|| failure("no path"))?;
    assert_eq!(arena.close_code(), None);
    assert!((2_400..1 << 24).contains(&view.congestion_window), "{view:?}");
    nothing_is_left(arena)
}

#[test]
fn attack_c15_what_a_path_owed_when_it_was_closed_troubles_nobody() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::default())?;
    arena.say(&[new_cid(Some(ONE), 0, 0), new_cid(Some(ONE), 1, 0)])?;
    arena.say_on(ONE, &[Frame::Ping])?;
    assert!(arena.count(|frame| matches!(frame, Frame::PathChallenge(_))) > 0, "a challenge is under way");
    arena.say(&[Frame::PathAbandon(frame::PathAbandon { path: ONE, code: 0 })])?;
    // Its challenge, its acknowledgement and its timers come to nothing, now and later.
    let answers = answers(&arena);
    for pause in [0, 10, 400, 5_000] {
        arena.wait(ms(pause))?;
        let responses: Vec<Frame<'_>> = answers.iter().map(|data| Frame::PathResponse(frame::PathResponse { data: *data })).collect();
        arena.say(&responses)?;
        arena.say(&[ack(Some(ONE), &(0..=0))])?;
        arena.ack()?;
    }
    assert_eq!(arena.close_code(), None);
    let open: Vec<PathId> = arena.connection()?.paths().filter(|path| path.state == PathState::Open).map(|path| path.id).collect();
    assert_eq!(open, [PathId::ZERO]);
    assert_eq!(arena.connection()?.statistics().bytes_in_flight, 0);
    nothing_is_left(arena)
}

#[test]
fn attack_d4_no_offset_ends_beyond_all_numbers() -> Result<(), Failure> {
    let cases = [
        (encode(&[stream(0, varint::MAX - 1, b"xx", Fin::No)]), 0x0e),
        (encode(&[stream(0, varint::MAX, b"x", Fin::Yes)]), 0x0f),
        (encode(&[Frame::Crypto(frame::Crypto { offset: varint::MAX, data: b"x" })]), 0x06),
    ];
    for (payload, frame_type) in cases {
        let mut arena = Arena::new(&Setup::default())?;
        arena.send_bytes(EncryptionLevel::OneRtt, &payload)?;
        assert_eq!(arena.close_code().map(|(code, at)| (code, at & !1)), Some((ErrorCode::FRAME_ENCODING_ERROR.0, frame_type & !1)));
        nothing_is_left(arena)?;
    }
    Ok(())
}
