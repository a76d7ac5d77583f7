//! MUSTs of RFC 9002: what is measured, when probes go out and what stays in flight (docs/compliance).

use qbase::{
    Direction, EncryptionLevel, PathId,
    frame::{self, Frame},
};
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
