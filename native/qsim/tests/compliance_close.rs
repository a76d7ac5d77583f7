//! MUSTs about the end of connections that a server keeps (docs/compliance).

use qbase::{
    EncryptionLevel, ErrorCode, PathId,
    frame::{self, CloseKind, Frame},
};
use qsim::Failure;

use crate::common;
use common::{
    evil::{arena::{Arena, Setup}, encode},
    challenge, ms, secs, write,
};
use EncryptionLevel::{Initial, OneRtt};

/// Shows 9000-10.2.1-7.
#[test]
fn a_close_before_validation_keeps_to_three_times_what_came() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::during_handshake())?;
    let now = arena.now;
    arena.connection_mut()?.close(now, 0, b"no");
    arena.pump()?;
    for _ in 0..300 {
        let packet = arena.evil.seal(OneRtt, PathId::ZERO, None, 0, &encode(&[Frame::Ping]))?;
        arena.deliver(packet)?;
        let packet = arena.evil.seal(Initial, PathId::ZERO, None, 0, &encode(&[Frame::Ping]))?;
        arena.deliver(packet)?;
        let statistics = arena.server.statistics();
        assert!(statistics.bytes_sent <= 3 * statistics.bytes_received, "{statistics:?}");
    }
    assert!(arena.count(|frame| matches!(frame, Frame::ConnectionClose(_))) > 2, "it is repeated");
    Ok(())
}

/// Shows 9000-10.2.2-1 and 9000-10.2.2-3.
#[test]
fn a_draining_end_sends_nothing_more() -> Result<(), Failure> {
    for kind in [CloseKind::Application, CloseKind::Transport { frame_type: 0 }] {
        let mut arena = Arena::new(&Setup::default())?;
        write(&mut arena, 5_000)?;
        let close = frame::ConnectionClose { kind, code: 0, reason: b"" };
        arena.say(&[Frame::Ping, Frame::ConnectionClose(close)])?;
        let sent = arena.server.statistics().bytes_sent;
        for _ in 0..10 {
            arena.say(&[Frame::Ping, challenge(1)])?;
            arena.wait(ms(5))?;
        }
        arena.wait(secs(20))?;
        assert_eq!(arena.server.statistics().bytes_sent, sent, "{kind:?}");
    }
    Ok(())
}

/// Shows 9000-10.2.3-1.
#[test]
fn after_confirmation_a_close_travels_in_1rtt_packets_only() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::default())?;
    arena.forget_heard();
    arena.say(&[Frame::HandshakeDone])?;
    assert!(!arena.evil.heard.is_empty() && arena.evil.heard.iter().all(|packet| packet.level == OneRtt));
    assert!(arena.close_code().is_some());
    Ok(())
}

/// Shows 9000-10.2.3-6, 9000-10.2.3-7 and 9000-12.5-3.
#[test]
fn a_close_of_the_application_is_hidden_until_there_are_1rtt_keys() -> Result<(), Failure> {
    for (setup, hidden) in [(Setup::during_handshake(), true), (Setup::default(), false)] {
        let mut arena = Arena::new(&setup)?;
        let now = arena.now;
        arena.forget_heard();
        arena.connection_mut()?.close(now, 0x77, b"secret");
        arena.pump()?;
        let mut closes = 0;
        for packet in &arena.evil.heard {
            for frame in packet.frames() {
                let Frame::ConnectionClose(close) = frame else { continue };
                closes += 1;
                let expected = if packet.level == OneRtt {
                    (CloseKind::Application, 0x77, &b"secret"[..])
                } else {
                    (CloseKind::Transport { frame_type: 0 }, ErrorCode::APPLICATION_ERROR.0, &b""[..])
                };
                assert_eq!((close.kind, close.code, close.reason), expected, "{:?}", packet.level);
                assert_eq!(packet.level != OneRtt, hidden);
            }
        }
        assert!(closes > 0);
    }
    Ok(())
}

/// Shows 9001-6.6-4.
#[test]
fn a_connection_whose_keys_are_used_up_ends_and_only_resets_follow() -> Result<(), Failure> {
    let mut setup = Setup::single_path();
    setup.server.confidentiality_limit = Some(60);
    let mut arena = Arena::new(&setup)?;
    // The client acknowledges nothing, so that no second update is possible.
    for number in 0..2_000_u32 {
        if arena.close_code().is_some() {
            break;
        }
        arena.say(&[Frame::Ping, challenge(number.to_le_bytes()[0])])?;
        arena.wait(ms(30))?;
    }
    assert_eq!(arena.close_code().map(|(code, _)| code), Some(ErrorCode::AEAD_LIMIT_REACHED.0));
    arena.wait(secs(30))?;
    assert!(arena.server.is_empty());
    let before = arena.server.statistics();
    let packet = arena.evil.seal(OneRtt, PathId::ZERO, None, 0, &encode(&[Frame::Padding(frame::Padding { len: 80 })]))?;
    arena.deliver(packet)?;
    let after = arena.server.statistics();
    assert_eq!((after.resets - before.resets, after.bytes_sent > before.bytes_sent), (1, true));
    Ok(())
}
