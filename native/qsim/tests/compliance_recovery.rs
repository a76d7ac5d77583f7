//! MUSTs of RFC 9002: what is measured, when probes go out and what stays in flight (docs/compliance).

use qbase::{
    Direction, EncryptionLevel, PathId,
    frame::{self, Frame},
};
use qcongestion::AckEliciting;
use qconnection::TransportConfig;
use qconnection::{TimerName, connection::events::ClosedBy, path::PathView};
use qsim::{Failure, Pair, PairConfig};

use crate::common;
use common::{
    delay,
    evil::arena::{Arena, Setup},
    ms, secs,
};

fn path(arena: &Arena) -> Result<PathView, Failure> {
    arena.connection()?.path(PathId::ZERO).ok_or_else(|| Failure::new("no path".to_owned()))
}

/// Shows 9002-5.3-5.
#[test]
fn no_more_than_the_announced_ack_delay_is_taken_off_a_sample() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::default())?;
    arena.ack()?;
    arena.wait(secs(1))?;
    arena.ack()?;
    let before = path(&arena)?.smoothed_rtt;
    arena.say(&[Frame::PathChallenge(frame::PathChallenge { data: [1; 8] })])?;
    let number = arena.evil.numbers.get(&PathId::ZERO).and_then(|numbers| numbers.last().copied()).unwrap_or_default();
    arena.wait(ms(100))?;
    let claimed = frame::Ack {
        path: Some(PathId::ZERO),
        largest: number,
        delay: 100_000 >> 3,
        ranges: frame::AckRanges::one(&(number..=number)),
        ecn: None,
    };
    arena.say(&[Frame::Ack(claimed)])?;
    // A sample of 100 ms, of which the peer may claim 25.
    assert_eq!(path(&arena)?.smoothed_rtt, (before * 7 + ms(75)) / 8);
    Ok(())
}

/// Shows 9002-6.2-1, 9002-6.2.4-1, 9002-6.2.4-3 and 9002-7.5-2.
#[test]
fn a_pto_sends_probes_that_ask_for_an_answer_and_loses_nothing() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::single_path())?;
    arena.ack()?;
    arena.wait(secs(1))?;
    arena.ack()?;
    let connection = arena.connection_mut()?;
    let stream = connection.open(Direction::Unidirectional).ok_or_else(|| Failure::new("no stream".to_owned()))?;
    connection.write(stream, &[7; 500]).map_err(common::ends::failure)?;
    arena.pump()?;
    let before = arena.connection()?.statistics();
    assert!(before.bytes_in_flight > 500);
    arena.forget_heard();
    while arena.connection()?.statistics().ptos == before.ptos {
        arena.wait(ms(1))?;
    }
    let after = arena.connection()?.statistics();
    assert_eq!(after.packets_lost, before.packets_lost);
    assert!(after.bytes_in_flight > before.bytes_in_flight, "the probes count as well");
    assert!(!arena.evil.heard.is_empty());
    for packet in &arena.evil.heard {
        assert_eq!(packet.level, EncryptionLevel::OneRtt);
        assert!(packet.frames().iter().any(Frame::is_ack_eliciting), "{packet:?}");
    }
    Ok(())
}

/// Shows 9002-6.2.2-4.
#[test]
fn ptos_of_the_handshake_are_forgotten_with_its_keys() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::during_handshake())?;
    arena.wait(secs(2))?;
    assert!(path(&arena)?.pto_count > 0);
    arena.send(EncryptionLevel::Handshake, &[Frame::Ping])?;
    assert_eq!(path(&arena)?.pto_count, 0, "the Initial keys are gone");
    arena.wait(secs(2))?;
    assert!(path(&arena)?.pto_count > 0);
    arena.send_flight()?;
    assert_eq!(path(&arena)?.pto_count, 0, "the Handshake keys are gone");
    Ok(())
}

/// Shows 9002-6.4-1 and 9002-6.4-2.
#[test]
fn nothing_of_the_handshake_stays_in_flight() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::during_handshake())?;
    let flight = path(&arena)?.bytes_in_flight;
    assert!(flight > 0, "nobody acknowledges the server's flight");
    arena.send_flight()?;
    arena.ack()?;
    assert!(arena.connection()?.is_confirmed());
    assert_eq!(path(&arena)?.bytes_in_flight, 0);
    Ok(())
}

/// Shows 9002-6.2.2.1-1.
#[test]
fn a_server_without_credit_arms_no_pto_until_the_client_is_heard() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::during_handshake())?;
    arena.wait(secs(5))?;
    let quiet = arena.connection()?.statistics();
    assert!(quiet.ptos > 0, "while there was credit");
    arena.wait(secs(3))?;
    assert_eq!(arena.connection()?.statistics().ptos, quiet.ptos);
    assert_ne!(arena.server.next_timer().map(|(_, name)| name), Some(TimerName::Pto));
    arena.send(EncryptionLevel::Initial, &[Frame::Padding(frame::Padding { len: 3 })])?;
    assert_eq!(arena.server.next_timer().map(|(_, name)| name), Some(TimerName::Pto), "heard again");
    Ok(())
}

/// Shows 9002-7-3.
#[test]
fn bytes_in_flight_stay_within_the_window() -> Result<(), Failure> {
    let mut pair = Pair::new(PairConfig::new(1, vec![delay(20).at_rate(20_000_000)]))?;
    pair.client_mut().traffic_mut().send(Direction::Unidirectional, 2_000_000);
    pair.run_until_confirmed(secs(1))?;
    let mut full = 0;
    while !pair.is_all_delivered() {
        let path = pair.client().connection().and_then(|connection| connection.path(PathId::ZERO));
        if let Some(path) = path.filter(|path| path.counters.packets_lost == 0) {
            assert!(path.bytes_in_flight <= path.congestion_window, "{path:?}");
            full += u32::from(path.bytes_in_flight + u64::from(path.mtu) > path.congestion_window);
        }
        pair.step()?;
    }
    assert!(full > 10, "the window was full {full} times");
    Ok(())
}

/// Shows 9002-6.2.1-2.
#[test]
fn of_two_spaces_in_flight_the_one_that_waits_longer_is_probed_first() -> Result<(), Failure> {
    // The server's flight does not fit into its credit: the rest of its Handshake packets goes out later than its Initial.
    let setup = Setup { chain_bytes: 5_000, ..Setup::during_handshake() };
    let mut arena = Arena::new(&setup)?;
    let start = arena.now;
    let flight = |arena: &Arena| [EncryptionLevel::Initial, EncryptionLevel::Handshake].map(|level| arena.evil.heard.iter().filter(|packet| packet.level == level).count());
    let first = flight(&arena);
    arena.wait(ms(300))?;
    // Bytes that nobody can read bring credit and acknowledge nothing.
    let mut garbage = arena.evil.seal(EncryptionLevel::Initial, PathId::ZERO, None, 0, &common::evil::encode(&[Frame::Ping]))?;
    garbage.resize(1_200, 0);
    for byte in garbage.iter_mut().skip(40) {
        *byte ^= 0x55;
    }
    for _ in 0..3 {
        arena.deliver(garbage.clone())?;
    }
    let second = flight(&arena);
    assert!(first[0] > 0 && second[0] == first[0] && second[1] > first[1], "{first:?}, later {second:?}");
    let (at, name) = arena.server.next_timer().ok_or_else(|| Failure::new("no timer".to_owned()))?;
    // Three times the initial RTT, without any delay of acknowledgements.
    assert_eq!((name, at.saturating_since(start)), (TimerName::Pto, ms(999)));
    Ok(())
}

/// An evil client that promises to acknowledge without delay, and a path of exactly 100 ms whose jitter has died away.
fn steady() -> Result<Arena, Failure> {
    let plain = Setup::single_path();
    let parameters = qbase::param::TransportParameters { max_ack_delay: ms(0), initial_max_streams_uni: 1_000, ..plain.parameters };
    let mut arena = Arena::new(&Setup { parameters, ..plain })?;
    for _ in 0..150 {
        common::write(&mut arena, 100)?;
        let written = arena.evil.numbers.get(&PathId::ZERO).and_then(|numbers| numbers.last().copied());
        arena.wait(ms(100))?;
        // Probes that came meanwhile would make the path look shorter.
        if let Some(numbers) = arena.evil.numbers.get_mut(&PathId::ZERO) {
            numbers.retain(|number| Some(*number) <= written);
        }
        arena.ack()?;
    }
    Ok(arena)
}

/// The server writes; what it sends is never acknowledged.
fn lose(arena: &mut Arena, len: usize) -> Result<(), Failure> {
    common::write(arena, len)?;
    arena.evil.numbers.clear();
    Ok(())
}

/// Shows 9002-6.2.1-6.
#[test]
fn no_pto_runs_beside_the_timer_of_a_loss() -> Result<(), Failure> {
    let mut arena = steady()?;
    let sent = arena.now;
    lose(&mut arena, 100)?;
    common::write(&mut arena, 100)?;
    arena.wait(ms(100))?;
    arena.ack()?;
    let before = arena.connection()?.statistics();
    let measured = path(&arena)?;
    let (pto, loss) = (measured.smoothed_rtt + (measured.rttvar * 4).max(ms(1)), measured.smoothed_rtt * 9 / 8);
    assert!(pto < loss, "a PTO would be the earlier one: {pto:?}, {loss:?}");
    let (at, name) = arena.server.next_timer().ok_or_else(|| Failure::new("no timer".to_owned()))?;
    assert_eq!(name, TimerName::Loss);
    assert!(at.saturating_since(sent).abs_diff(loss) < ms(1), "{:?}, not {loss:?}", at.saturating_since(sent));
    arena.wait(ms(20))?;
    let after = arena.connection()?.statistics();
    assert_eq!((after.ptos, after.packets_lost), (before.ptos, before.packets_lost + 1));
    Ok(())
}

/// Shows 9002-7.6.2-1.
#[test]
fn only_losses_of_packets_that_ask_for_an_answer_tell_persistent_congestion() -> Result<(), Failure> {
    let window_after = |first: AckEliciting| {
        // Nothing takes any time here, so that a row of losses need not last long.
        let mut arena = Arena::new(&Setup::single_path())?;
        arena.ack()?;
        arena.ack()?;
        if first == AckEliciting::Yes {
            lose(&mut arena, 100)?;
        } else {
            // Two PINGs are answered with a packet that holds an ACK alone.
            arena.forget_heard();
            arena.say(&[Frame::Ping])?;
            arena.say(&[Frame::Ping])?;
            assert!(arena.evil.heard.iter().any(|packet| packet.frames().iter().all(|frame| !frame.is_ack_eliciting())));
            arena.evil.numbers.clear();
        }
        arena.wait(secs(3))?;
        arena.evil.numbers.clear();
        lose(&mut arena, 100)?;
        // Acknowledged packets of the same instant would end the row.
        arena.wait(ms(1))?;
        for _ in 0..4 {
            common::write(&mut arena, 100)?;
        }
        arena.ack()?;
        let path = path(&arena)?;
        assert!(path.counters.packets_lost >= 2, "{path:?}");
        Ok::<_, Failure>(path.congestion_window / u64::from(path.mtu))
    };
    assert_eq!(window_after(AckEliciting::Yes)?, 2, "a row of three seconds");
    assert!(window_after(AckEliciting::No)? > 2, "one loss");
    Ok(())
}

/// Shows 9000-10.1-1.
#[test]
fn an_idle_timeout_is_never_shorter_than_three_ptos() -> Result<(), Failure> {
    let short = TransportConfig { idle_timeout: ms(50), ..TransportConfig::default() };
    let mut pair = Pair::new(PairConfig { client: short.clone(), server: short, ..PairConfig::new(1, vec![delay(100)]) })?;
    pair.run_until_confirmed(secs(5))?;
    // A PTO is at least a round trip.
    pair.run_for(ms(590))?;
    assert!(pair.client().ended().is_none() && pair.server().ended().is_none());
    pair.run_until(|pair| pair.client().ended().is_some(), secs(10))?;
    assert_eq!(pair.client().ended().map(|end| end.by), Some(ClosedBy::IdleTimeout));
    Ok(())
}

/// The levels of what was heard since the last call, with CRYPTO or without.
fn heard_crypto(arena: &mut Arena) -> Vec<EncryptionLevel> {
    let has_crypto = |frames: &[Frame<'_>]| frames.iter().any(|frame| matches!(frame, Frame::Crypto(_)));
    let levels = arena.evil.heard.iter().filter(|packet| has_crypto(&packet.frames())).map(|packet| packet.level).collect();
    arena.forget_heard();
    levels
}

/// Shows 9002-6.2.4-4; burst B-63.
#[test]
fn a_pto_of_the_handshake_brings_what_both_its_spaces_lack() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::during_handshake())?;
    for _ in 0..3 {
        let before = arena.connection()?.statistics().ptos;
        arena.forget_heard();
        while arena.connection()?.statistics().ptos == before {
            arena.wait(ms(1))?;
        }
        let levels = heard_crypto(&mut arena);
        assert!(levels.contains(&EncryptionLevel::Initial) && levels.contains(&EncryptionLevel::Handshake), "{levels:?}");
        // The next one needs credit.
        arena.send(EncryptionLevel::Initial, &[Frame::Padding(frame::Padding { len: 3 })])?;
    }
    Ok(())
}

/// Shows 9002-6.2.3-1.
#[test]
fn a_client_that_asks_again_is_answered_before_the_pto_but_not_for_ever() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::during_handshake())?;
    arena.forget_heard();
    arena.send(EncryptionLevel::Initial, &[Frame::Ping])?;
    assert_eq!(heard_crypto(&mut arena), [], "the first flight is still under way");
    let mut answered = 0;
    for _ in 0..10 {
        arena.wait(ms(200))?;
        arena.forget_heard();
        arena.send(EncryptionLevel::Initial, &[Frame::Ping])?;
        let levels = heard_crypto(&mut arena);
        answered += u8::from(levels.contains(&EncryptionLevel::Initial) && levels.contains(&EncryptionLevel::Handshake));
    }
    assert_eq!(answered, qbase::limits::HURRIED_FLIGHTS);
    Ok(())
}

/// burst B-62.
#[test]
fn the_third_pto_repeats_an_acknowledgement_that_may_be_lost() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::single_path())?;
    arena.ack()?;
    arena.wait(secs(1))?;
    arena.ack()?;
    arena.say(&[Frame::Ping])?;
    arena.wait(ms(100))?;
    let connection = arena.connection_mut()?;
    let stream = connection.open(Direction::Unidirectional).ok_or_else(|| Failure::new("no stream".to_owned()))?;
    connection.write(stream, &[7; 500]).map_err(common::ends::failure)?;
    arena.pump()?;
    let before = arena.connection()?.statistics().ptos;
    while arena.connection()?.statistics().ptos < before + 3 {
        arena.forget_heard();
        arena.wait(ms(1))?;
    }
    let acked = arena.evil.heard.iter().any(|packet| packet.frames().iter().any(|frame| matches!(frame, Frame::Ack(_))));
    assert!(acked, "{:?}", arena.evil.heard);
    Ok(())
}
