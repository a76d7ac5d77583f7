//! MUSTs about the end of connections that a server keeps (docs/compliance).

use qbase::{
    Direction, EncryptionLevel, ErrorCode, PathId,
    frame::{self, CloseKind, Frame},
};
use qconnection::{Event, connection::events::ClosedBy};
use qsim::{Failure, Pair, PairConfig};

use crate::common;
use common::{
    evil::{arena::{Arena, Setup}, encode},
    challenge, delay, ms, secs, write,
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

/// reverse V47: who closes in order has said what arrived, or the peer would take that for lost and ask again elsewhere.
#[test]
fn a_close_of_the_application_says_what_has_arrived() -> Result<(), Failure> {
    for setup in [Setup::default(), Setup::single_path()] {
        let mut arena = Arena::new(&setup)?;
        // One in two is answered at once, the other waits.
        loop {
            arena.forget_heard();
            arena.say(&[Frame::Ping])?;
            if arena.count(|frame| matches!(frame, Frame::Ack(_))) == 0 {
                break;
            }
        }
        let now = arena.now;
        arena.forget_heard();
        let reason = [b'x'; 1_024];
        arena.connection_mut()?.close(now, 0x77, &reason);
        arena.pump()?;
        let packets: Vec<_> = arena.evil.heard.iter().filter(|packet| packet.level == OneRtt).collect();
        let frames = packets.first().map(|packet| packet.frames()).unwrap_or_default();
        assert!(matches!(frames.first(), Some(Frame::Ack(ack)) if ack.largest > 0), "{frames:?}");
        assert!(matches!(frames.get(1), Some(Frame::ConnectionClose(close)) if close.code == 0x77 && close.reason.len() == 1_024), "{frames:?}");
    }
    Ok(())
}

/// Shows 9000-12.3-3.
#[test]
fn attack_c14_a_connection_whose_packet_numbers_are_used_up_ends_without_a_word() -> Result<(), Failure> {
    let mut setup = Setup::single_path();
    setup.server.last_packet_number = Some(100);
    setup.parameters.initial_max_streams_uni = 1_000;
    let mut arena = Arena::new(&setup)?;
    let ended = |event: &Event| matches!(event, Event::Closed(info) if info.by == ClosedBy::Local);
    for _ in 0..100 {
        // So much that a burst of several packets meets the end.
        write(&mut arena, 20_000)?;
        arena.wait(ms(30))?;
        if arena.events.iter().any(ended) {
            break;
        }
        arena.ack()?;
        if arena.events.iter().any(ended) {
            break;
        }
    }
    let largest = arena.evil.numbers.get(&PathId::ZERO).and_then(|numbers| numbers.last().copied());
    assert!(largest.is_some_and(|largest| (98..100).contains(&largest)), "{largest:?}");
    assert_eq!(arena.count(|frame| matches!(frame, Frame::ConnectionClose(_))), 0);
    assert!(arena.events.iter().any(ended), "the application knows");
    let before = arena.server.statistics();
    let packet = arena.evil.seal(OneRtt, PathId::ZERO, None, 0, &encode(&[Frame::Padding(frame::Padding { len: 80 })]))?;
    arena.deliver(packet)?;
    assert_eq!(arena.server.statistics().resets - before.resets, 1, "others hear that it is gone");
    Ok(())
}

#[test]
fn what_a_close_takes_counts_as_sent() -> Result<(), Failure> {
    for links in [vec![delay(10)], vec![delay(10), delay(10)]] {
        let mut pair = Pair::new(PairConfig::new(1, links))?;
        pair.client_mut().traffic_mut().send(Direction::Unidirectional, 50_000);
        pair.run_until_delivered(secs(5))?;
        pair.run_for(secs(1))?;
        let now = pair.now();
        if let Some(connection) = pair.client_mut().connection_mut() {
            connection.close(now, 5, b"enough");
        }
        pair.run_for(ms(5))?;
        let (sent, connection) = (*pair.client().sent(), pair.client().connection());
        let statistics = connection.map(|connection| connection.statistics()).unwrap_or_default();
        assert_eq!((statistics.bytes_sent, statistics.datagrams_sent), (sent.bytes, sent.datagrams));
        let paths: u64 = connection.map_or(0, |connection| connection.paths().map(|path| path.counters.bytes_sent).sum());
        assert_eq!(paths, sent.bytes, "by path");
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
