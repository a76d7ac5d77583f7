//! Silence: when it ends a connection, what restarts the count, and what keeps a connection alive (RFC 9000 §10.1).

use std::time::Duration;

use qbase::{Role, Timestamp, frame::Frame};
use qconnection::{Event, TransportConfig, connection::events::ClosedBy, path::PathState};
use qsim::{Failure, Pair, PairConfig};

use crate::common;
use common::{
    delay,
    evil::arena::{Arena, Setup},
    ms, secs, write,
};

fn idle(timeout: Duration) -> TransportConfig {
    TransportConfig { idle_timeout: timeout, ..TransportConfig::default() }
}

/// When an end heard that the connection is over for its silence.
fn ended_at(pair: &Pair, role: Role) -> Option<Timestamp> {
    pair.host(role).first(|event| matches!(event, Event::Closed(info) if info.by == ClosedBy::IdleTimeout))
}

#[test]
fn the_smaller_of_both_timeouts_counts_and_zero_is_none() -> Result<(), Failure> {
    let never = Duration::ZERO;
    let cases = [(secs(2), secs(5), Some(secs(2))), (secs(5), secs(2), Some(secs(2))), (never, secs(3), Some(secs(3))), (secs(3), never, Some(secs(3))), (never, never, None)];
    for (client, server, expected) in cases {
        let mut pair = Pair::new(PairConfig { client: idle(client), server: idle(server), ..PairConfig::new(1, vec![delay(10)]) })?;
        pair.run_until_confirmed(secs(1))?;
        // Connection ids, tickets and probes of the path MTU are through.
        pair.run_for(ms(500))?;
        let quiet = pair.now();
        pair.run_for(secs(600))?;
        for role in [Role::Client, Role::Server] {
            let after = ended_at(&pair, role).map(|at| at.saturating_since(quiet));
            let fits = match (after, expected) {
                (Some(after), Some(expected)) => after <= expected && after + ms(500) >= expected,
                (after, expected) => after.is_none() && expected.is_none(),
            };
            assert!(fits, "{client:?} and {server:?}: the {role:?} ended after {after:?}");
        }
    }
    Ok(())
}

/// When the server of an arena ended, counted from `start`.
fn silence_until_end(arena: &mut Arena, start: Timestamp) -> Result<Duration, Failure> {
    let ended = |event: &Event| matches!(event, Event::Closed(info) if info.by == ClosedBy::IdleTimeout);
    for _ in 0..10_000 {
        if arena.events.iter().any(ended) {
            return Ok(arena.now.saturating_since(start));
        }
        arena.wait(ms(10))?;
        arena.pump()?;
    }
    Err(Failure::new("it never ended".to_owned()))
}

fn silent(timeout: Duration) -> Result<Arena, Failure> {
    let plain = Setup::single_path();
    let mut arena = Arena::new(&Setup { server: TransportConfig { idle_timeout: timeout, ..plain.server.clone() }, ..plain })?;
    arena.ack()?;
    arena.ack()?;
    Ok(arena)
}

#[test]
fn only_the_first_packet_sent_since_one_was_received_restarts_the_count() -> Result<(), Failure> {
    let mut arena = silent(secs(4))?;
    arena.wait(secs(1))?;
    let first = arena.now;
    // The first counts; others, and the probes for them, do not.
    for _ in 0..3 {
        write(&mut arena, 100)?;
        arena.wait(secs(1))?;
    }
    let after = silence_until_end(&mut arena, first)?;
    assert!(after >= secs(4) && after <= ms(4_050), "{after:?} after the first");
    Ok(())
}

#[test]
fn every_packet_that_is_received_restarts_the_count() -> Result<(), Failure> {
    let mut arena = silent(secs(4))?;
    for _ in 0..3 {
        write(&mut arena, 100)?;
        arena.wait(secs(3))?;
        // Not even one that asks for nothing is too little.
        arena.say(&[Frame::Padding(qbase::frame::Padding { len: 30 })])?;
    }
    let heard = arena.now;
    arena.wait(secs(1))?;
    write(&mut arena, 100)?;
    let after = silence_until_end(&mut arena, heard)?;
    // What was written in the meantime went out as probes at once, so that the count began again there at the latest.
    assert!(after >= secs(4) && after <= ms(5_050), "{after:?} after the last packet");
    Ok(())
}

/// multipath MP-74: probes into a cut path are no sign of life; the other path keeps the connection.
#[test]
fn a_keep_alive_goes_over_the_path_that_is_left() -> Result<(), Failure> {
    for cut in [common::FIRST, common::SECOND] {
        let client = TransportConfig { keep_alive: secs(2), ..idle(secs(6)) };
        let mut pair = Pair::new(PairConfig { client, server: idle(secs(6)), ..PairConfig::new(1, vec![delay(10), delay(10)]) })?;
        pair.run_until(|pair| pair.client().connection().is_some_and(|connection| connection.paths().filter(|path| path.state == PathState::Open).count() == 2), secs(1))?;
        pair.run_for(secs(3))?;
        pair.cut(cut);
        pair.run_for(secs(40))?;
        assert!(ended_at(&pair, Role::Client).is_none() && ended_at(&pair, Role::Server).is_none(), "{cut:?}");
    }
    Ok(())
}

#[test]
fn a_keep_alive_goes_out_when_the_connection_was_silent_so_long_and_not_before() -> Result<(), Failure> {
    let client = TransportConfig { keep_alive: secs(1), ..idle(secs(3)) };
    let mut pair = Pair::new(PairConfig { client, server: idle(secs(3)), ..PairConfig::new(1, vec![delay(10)]) })?;
    pair.run_until_confirmed(secs(1))?;
    pair.run_for(secs(2))?;
    let before = pair.client().sent().datagrams;
    pair.run_for(secs(20))?;
    assert!(ended_at(&pair, Role::Client).is_none() && ended_at(&pair, Role::Server).is_none());
    let sent = pair.client().sent().datagrams - before;
    assert!((18..=21).contains(&sent), "{sent} datagrams in 20 s");
    // Traffic takes their place: with a packet every 300 ms there is none.
    let before = pair.client().connection().map(|connection| connection.statistics().packets_sent).unwrap_or_default();
    for _ in 0..10 {
        pair.client_mut().traffic_mut().send(qbase::Direction::Unidirectional, 10);
        pair.run_for(ms(300))?;
    }
    let sent = pair.client().connection().map(|connection| connection.statistics().packets_sent).unwrap_or_default() - before;
    assert!(sent <= 22, "{sent} packets for ten messages");
    Ok(())
}
