//! Frames where they do not belong, types that do not exist, packets before their keys (attacks A6, A8, A19, B10, B13,
//! B21, B22, D16 to D20, F1).

use std::collections::BTreeSet;

use qbase::{
    Direction, EncryptionLevel, ErrorCode, PathId, StreamId,
    frame::{self, CloseKind, Fin, Frame, PathStatusKind, table},
    limits,
};
use qconnection::TransportConfig;
use qevent::DropReason;
use qsim::Failure;

use crate::common;
use common::{
    ends::failure,
    evil::{ack, arena::{Arena, Setup}, encode, new_cid, stream},
};
use EncryptionLevel::{Handshake, Initial, OneRtt};

const BIDI: StreamId = StreamId(0);

/// One frame of every type there is.
fn samples() -> Vec<Frame<'static>> {
    let close = |kind| Frame::ConnectionClose(frame::ConnectionClose { kind, code: 7, reason: b"sample" });
    vec![
        Frame::Padding(frame::Padding { len: 3 }),
        Frame::Ping,
        ack(None, &(0..=0)),
        Frame::ResetStream(frame::ResetStream { stream: BIDI, code: 1, final_size: 0 }),
        Frame::StopSending(frame::StopSending { stream: BIDI, code: 1 }),
        // The first byte of the ClientHello: where that was read, it is nothing new.
        Frame::Crypto(frame::Crypto { offset: 0, data: b"\x01" }),
        Frame::NewToken(frame::NewToken { token: b"token" }),
        stream(0, 0, b"data", Fin::No),
        Frame::MaxData(frame::MaxData { maximum: 5 }),
        Frame::MaxStreamData(frame::MaxStreamData { stream: BIDI, maximum: 5 }),
        Frame::MaxStreams(frame::MaxStreams { direction: Direction::Bidirectional, maximum: 5 }),
        Frame::DataBlocked(frame::DataBlocked { limit: 5 }),
        Frame::StreamDataBlocked(frame::StreamDataBlocked { stream: BIDI, limit: 5 }),
        Frame::StreamsBlocked(frame::StreamsBlocked { direction: Direction::Bidirectional, limit: 5 }),
        new_cid(None, 1, 0),
        Frame::RetireConnectionId(frame::RetireConnectionId { path: None, sequence: 1 }),
        Frame::PathChallenge(frame::PathChallenge { data: [1; 8] }),
        Frame::PathResponse(frame::PathResponse { data: [1; 8] }),
        close(CloseKind::Transport { frame_type: 0 }),
        close(CloseKind::Application),
        Frame::HandshakeDone,
        Frame::ImmediateAck,
        Frame::AckFrequency(frame::AckFrequency { sequence: 1, threshold: 9, max_ack_delay_micros: 5_000, reordering: 3 }),
        Frame::Datagram(frame::Datagram { data: b"datagram" }),
        ack(Some(PathId(0)), &(0..=0)),
        Frame::PathAbandon(frame::PathAbandon { path: PathId(1), code: 0 }),
        Frame::PathStatus(frame::PathStatus { path: PathId(1), status: PathStatusKind::Backup, sequence: 1 }),
        Frame::PathStatus(frame::PathStatus { path: PathId(1), status: PathStatusKind::Available, sequence: 2 }),
        new_cid(Some(PathId(1)), 0, 0),
        Frame::RetireConnectionId(frame::RetireConnectionId { path: Some(PathId(1)), sequence: 0 }),
        Frame::MaxPathId(frame::MaxPathId { maximum: PathId(9) }),
        Frame::PathsBlocked(frame::PathsBlocked { maximum: PathId(7) }),
        Frame::PathCidsBlocked(frame::PathCidsBlocked { path: PathId(1), next_sequence: 0 }),
    ]
}

#[test]
fn the_samples_have_every_frame_type() {
    let sampled: BTreeSet<u64> =
        samples().iter().filter_map(|frame| Some(table::spec(frame.frame_type())?.first)).collect();
    assert_eq!(sampled, table::TABLE.iter().map(|row| row.first).collect());
}

#[test]
fn attack_d19_a_frame_in_the_wrong_packet_closes_the_connection_with_its_type() -> Result<(), Failure> {
    for level in [Initial, Handshake] {
        for sample in samples() {
            let mut arena = Arena::new(&Setup::during_handshake())?;
            arena.send(level, std::slice::from_ref(&sample))?;
            let name = format!("{} in {level:?}", sample.name());
            let expected = (!table::allowed(sample.frame_type(), level))
                .then_some((ErrorCode::PROTOCOL_VIOLATION.0, sample.frame_type()));
            assert_eq!(arena.close_code(), expected, "{name}");
        }
    }
    Ok(())
}

#[test]
fn attack_d19_b22_frames_that_only_a_server_sends_are_violations_and_all_others_are_taken() -> Result<(), Failure> {
    for sample in samples() {
        let mut arena = Arena::new(&Setup::default())?;
        arena.say(std::slice::from_ref(&sample))?;
        let forbidden = matches!(sample, Frame::HandshakeDone | Frame::NewToken(_));
        let expected = forbidden.then_some((ErrorCode::PROTOCOL_VIOLATION.0, sample.frame_type()));
        assert_eq!(arena.close_code(), expected, "{}", sample.name());
    }
    Ok(())
}

#[test]
fn attack_d19_early_data_is_nobodys_and_leaves_nothing() -> Result<(), Failure> {
    for sample in samples() {
        let mut arena = Arena::new(&Setup::during_handshake())?;
        arena.send(EncryptionLevel::ZeroRtt, &[sample])?;
        assert_eq!(arena.close_code(), None);
        assert_eq!(arena.connection()?.drops().get(DropReason::NoKeys), 1);
        arena.send_flight()?;
        assert!(arena.connection()?.is_confirmed(), "the handshake goes on");
    }
    Ok(())
}

/// multipath MP-72.
#[test]
fn attack_f1_multipath_frames_are_unknown_without_multipath() -> Result<(), Failure> {
    for sample in samples().into_iter().filter(|frame| table::is_multipath(frame.frame_type())) {
        let mut arena = Arena::new(&Setup::single_path())?;
        arena.say(std::slice::from_ref(&sample))?;
        let expected = Some((ErrorCode::FRAME_ENCODING_ERROR.0, sample.frame_type()));
        assert_eq!(arena.close_code(), expected, "{}", sample.name());
    }
    Ok(())
}

#[test]
fn attack_d16_d17_b22_bytes_that_are_no_frame_close_the_connection() -> Result<(), Failure> {
    const ENCODING: ErrorCode = ErrorCode::FRAME_ENCODING_ERROR;
    const VIOLATION: ErrorCode = ErrorCode::PROTOCOL_VIOLATION;
    let cases: &[(&str, &[u8], ErrorCode)] = &[
        ("PING in two bytes", &[0x40, 0x01], VIOLATION),
        ("STREAM in four bytes", &[0x80, 0, 0, 0x08, 0], VIOLATION),
        ("PATH_ACK in two bytes", &[0x40, 0x3e, 0, 0, 0, 0, 0], VIOLATION),
        ("MAX_PATH_ID in eight bytes", &[0xc0, 0, 0, 0, 0, 0, 0x3e, 0x7a, 9], VIOLATION),
        ("a type of one byte", &[0x20], ENCODING),
        ("a type of two bytes", &[0x5f, 0xff], ENCODING),
        ("a type of eight bytes", &[0xff; 8], ENCODING),
        ("half a type", &[0x7e], ENCODING),
        ("a cut RESET_STREAM", &[0x04, 0, 0], ENCODING),
        ("STREAM longer than its packet", &[0x0a, 0, 0x40, 0xff, 1], ENCODING),
        ("STREAM beyond 2^62-1", &[0x0e, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 1], ENCODING),
        ("MAX_STREAMS beyond 2^60", &[0x12, 0xd0, 0, 0, 0, 0, 0, 0, 1], ENCODING),
        ("an empty token", &[0x07, 0], ENCODING),
        ("ACK below packet number 0", &[0x02, 1, 0, 0, 2], ENCODING),
        ("ACK with a gap below packet number 0", &[0x02, 1, 0, 1, 0, 0, 0], ENCODING),
        ("ACK that counts more ranges than bytes", &[0x02, 1, 0, 0x7f, 0xff, 0], ENCODING),
        ("a path id above 2^32-1", &[0x7e, 0x7a, 0xc0, 0, 0, 1, 0, 0, 0, 0], VIOLATION),
    ];
    for (name, bytes, code) in cases {
        let mut arena = Arena::new(&Setup::default())?;
        arena.send_bytes(OneRtt, bytes)?;
        assert_eq!(arena.close_code().map(|(code, _)| code), Some(code.0), "{name}");
    }
    Ok(())
}

#[test]
fn attack_d18_a_packet_without_frames_is_a_violation_in_every_space() -> Result<(), Failure> {
    for (setup, level) in
        [(Setup::during_handshake(), Initial), (Setup::during_handshake(), Handshake), (Setup::default(), OneRtt)]
    {
        let mut arena = Arena::new(&setup)?;
        arena.send_bytes(level, &[])?;
        assert_eq!(arena.close_code(), Some((ErrorCode::PROTOCOL_VIOLATION.0, 0)), "{level:?}");
    }
    Ok(())
}

#[test]
fn attack_a10_reserved_bits_are_a_violation_once_the_packet_is_authentic() -> Result<(), Failure> {
    for (setup, level, bits) in [
        (Setup::during_handshake(), Initial, 0x0c),
        (Setup::during_handshake(), Handshake, 0x04),
        (Setup::default(), OneRtt, 0x18),
    ] {
        let mut arena = Arena::new(&setup)?;
        let packet = arena.evil.seal(level, PathId::ZERO, None, bits, &[1])?;
        arena.deliver(packet)?;
        assert_eq!(arena.close_code(), Some((ErrorCode::PROTOCOL_VIOLATION.0, 0)), "{level:?}");
        let mut forged = Arena::new(&setup)?;
        let mut packet = forged.evil.seal(level, PathId::ZERO, None, bits, &[1])?;
        let last = packet.len() - 1;
        if let Some(byte) = packet.get_mut(last) {
            *byte ^= 1;
        }
        forged.deliver(packet)?;
        assert_eq!(forged.close_code(), None, "{level:?}, not authentic");
    }
    Ok(())
}

#[test]
fn attack_d20_a_long_reason_is_cut_and_bad_utf_8_is_shown_all_the_same() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::default())?;
    let reason = [0xff; 1_100];
    arena.say(&[Frame::ConnectionClose(frame::ConnectionClose { kind: CloseKind::Application, code: 9, reason: &reason })])?;
    let closed = arena.events.iter().find_map(|event| match event {
        qconnection::Event::Closed(info) => Some(info.clone()),
        _ => None,
    });
    let closed = closed.ok_or_else(|| failure("no event"))?;
    assert_eq!((closed.code, closed.reason.chars().count()), (9, 1_024));
    assert_eq!(arena.close_code(), None, "a draining end says nothing");
    Ok(())
}

#[test]
fn attack_b10_crypto_bytes_ahead_are_bounded_in_every_space() -> Result<(), Failure> {
    for (setup, level, limit) in [
        (Setup::before_the_hello(), Initial, limits::CRYPTO_BUFFER_INITIAL),
        (Setup::during_handshake(), Handshake, limits::CRYPTO_BUFFER),
        (Setup::default(), OneRtt, limits::CRYPTO_BUFFER),
    ] {
        // What TLS has read already does not count: a hello of at most 2 KiB.
        let read = if level == Initial { 2_048 } else { 0 };
        let at = |offset| Frame::Crypto(frame::Crypto { offset, data: b"x" });
        let mut arena = Arena::new(&setup)?;
        arena.send(level, &[at(limit - 1)])?;
        assert_eq!(arena.close_code(), None, "{level:?} within the bound");
        arena.send(level, &[at(limit + read)])?;
        let expected = Some((ErrorCode::CRYPTO_BUFFER_EXCEEDED.0, table::CRYPTO));
        assert_eq!(arena.close_code(), expected, "{level:?} beyond it");

        let mut arena = Arena::new(&setup)?;
        arena.send(level, &[at((1 << 62) - 2)])?;
        assert_eq!(arena.close_code(), expected, "{level:?} as far as varints go");

        let mut arena = Arena::new(&setup)?;
        for gap in 0..limits::CRYPTO_GAPS as u64 {
            arena.send(level, &[at(read + 2 + 2 * gap)])?;
        }
        assert_eq!(arena.close_code(), None, "{level:?} with as many gaps as allowed");
        arena.send(level, &[at(read + 2 + 2 * limits::CRYPTO_GAPS as u64)])?;
        assert_eq!(arena.close_code(), expected, "{level:?} with one gap more");
    }
    Ok(())
}

#[test]
fn attack_b13_tls_messages_that_quic_forbids_are_unexpected() -> Result<(), Failure> {
    const UNEXPECTED_MESSAGE: u64 = 0x10a;
    for (name, message) in [
        ("KeyUpdate", &[24, 0, 0, 1, 0][..]),
        ("EndOfEarlyData", &[5, 0, 0, 0][..]),
    ] {
        let mut arena = Arena::new(&Setup::default())?;
        arena.say(&[Frame::Crypto(frame::Crypto { offset: 0, data: message })])?;
        let code = arena.close_code().map(|(code, _)| code).unwrap_or_default();
        assert!(code == UNEXPECTED_MESSAGE || code == ErrorCode::PROTOCOL_VIOLATION.0, "{name}: 0x{code:x}");
        assert!(name != "KeyUpdate" || code == UNEXPECTED_MESSAGE, "{name}: 0x{code:x}");
    }
    Ok(())
}

#[test]
fn attack_b21_packets_ahead_of_their_keys_are_kept_within_the_bound_and_never_after_completion() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::during_handshake())?;
    for byte in 0..10_000_u32 {
        let data = byte.to_be_bytes();
        let packet = arena.evil.seal(OneRtt, PathId::ZERO, None, 0, &encode(&[stream(2, u64::from(byte) * 4, &data, Fin::No)]))?;
        arena.inject(packet, arena.evil.four_tuple);
    }
    let drops = arena.connection()?.drops().clone();
    assert_eq!(drops.get(DropReason::KeptForKeys), limits::UNDECRYPTABLE_PACKETS as u64);
    assert_eq!(drops.get(DropReason::UndecryptableLimit), 10_000 - limits::UNDECRYPTABLE_PACKETS as u64);
    arena.send_flight()?;
    assert!(arena.connection()?.is_confirmed());
    assert_eq!(arena.read(StreamId(2))?.len(), 4 * limits::UNDECRYPTABLE_PACKETS, "the kept ones are taken now");
    arena.send(Handshake, &[Frame::Ping])?;
    arena.send(Initial, &[Frame::Ping])?;
    let after = arena.connection()?.drops().clone();
    assert_eq!(after.get(DropReason::KeptForKeys), drops.get(DropReason::KeptForKeys));
    assert_eq!(arena.close_code(), None);
    Ok(())
}

#[test]
fn attack_b21_big_packets_ahead_of_their_keys_are_bounded_in_bytes() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::during_handshake())?;
    for _ in 0..limits::UNDECRYPTABLE_PACKETS {
        let packet = arena.evil.seal(OneRtt, PathId::ZERO, None, 0, &vec![0; 4_000])?;
        arena.inject(packet, arena.evil.four_tuple);
    }
    let kept = arena.connection()?.drops().get(DropReason::KeptForKeys);
    assert_eq!(kept, limits::UNDECRYPTABLE_BYTES as u64 / 4_029);
    Ok(())
}

#[test]
fn attack_a19_a_thousand_copies_of_a_packet_are_one_packet() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::default())?;
    let packet = arena.evil.seal(OneRtt, PathId::ZERO, None, 0, &encode(&[stream(2, 0, b"once", Fin::No)]))?;
    let received = arena.connection()?.statistics().packets_received;
    for _ in 0..1_000 {
        arena.deliver(packet.clone())?;
    }
    // Numbers far ahead push the packet's range out of the record: it still counts as received.
    for _ in 0..2 * limits::ACK_RANGES {
        *arena.evil.next_number(qbase::SpaceId::Application(PathId::ZERO)) += 1;
        arena.say(&[Frame::Ping])?;
    }
    for _ in 0..1_000 {
        arena.deliver(packet.clone())?;
    }
    let connection = arena.connection()?;
    assert_eq!(connection.statistics().packets_received - received, 1 + 2 * limits::ACK_RANGES as u64);
    assert_eq!(connection.drops().get(DropReason::Duplicate), 1_999);
    assert_eq!(arena.read(StreamId(2))?, b"once");
    assert_eq!(arena.close_code(), None);
    Ok(())
}

#[test]
fn attack_a6_packets_for_another_connection_in_the_same_datagram_are_ignored() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::during_handshake())?;
    let mut datagram = arena.evil.seal(Handshake, PathId::ZERO, None, 0, &[1])?;
    let stranger = qbase::ConnectionId::new(&[9; 8]);
    let before = arena.connection()?.statistics().packets_received;
    datagram.extend(arena.evil.seal(Handshake, PathId::ZERO, stranger, 0, &[1])?);
    datagram.extend(arena.evil.seal(Handshake, PathId::ZERO, None, 0, &[1])?);
    arena.deliver(datagram)?;
    let connection = arena.connection()?;
    assert_eq!(connection.statistics().packets_received - before, 2);
    assert_eq!(connection.drops().get(DropReason::OtherConnection), 1);
    Ok(())
}

#[test]
fn attack_a7_two_hundred_packets_in_one_datagram_are_all_taken() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::during_handshake())?;
    let before = arena.connection()?.statistics().packets_received;
    let mut datagram = Vec::new();
    for _ in 0..200 {
        datagram.extend(arena.evil.seal(Handshake, PathId::ZERO, None, 0, &[0])?);
    }
    arena.deliver(datagram)?;
    assert_eq!(arena.connection()?.statistics().packets_received - before, 200);
    assert_eq!(arena.close_code(), None);
    Ok(())
}

#[test]
fn attack_a21_forged_packets_cost_nothing_but_a_count() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::default())?;
    let heard = arena.evil.heard.len();
    for number in 0..10_000_u32 {
        let mut packet = arena.evil.seal(OneRtt, PathId::ZERO, None, 0, &encode(&[Frame::Ping]))?;
        let last = packet.len() - 1;
        if let Some(byte) = packet.get_mut(last) {
            *byte ^= u8::try_from(number % 255).unwrap_or_default().saturating_add(1);
        }
        arena.deliver(packet)?;
    }
    assert_eq!(arena.connection()?.drops().get(DropReason::Undecryptable), 10_000);
    assert_eq!((arena.close_code(), arena.evil.heard.len()), (None, heard), "no answer either");
    arena.say(&[Frame::Ping])?;
    Ok(())
}

#[test]
fn attack_c12_a_ping_in_every_packet_is_acknowledged_every_second_time_at_most() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup { server: TransportConfig::default(), ..Setup::default() })?;
    arena.ack()?;
    arena.forget_heard();
    for _ in 0..10_000 {
        arena.say(&[Frame::Ping])?;
    }
    let acks = arena.count(|frame| matches!(frame, Frame::Ack(_)));
    assert!(acks <= 5_001, "{acks} acknowledgements");
    assert_eq!(arena.close_code(), None);
    Ok(())
}
