//! Receive windows: they grow to what a path needs and no further, and only into memory that is there (mux R20 to R22;
//! design §3.9, §7.11).

use std::time::Duration;

use qbase::{Direction, Role, StreamId, frame::Frame, limits};
use qconnection::TransportConfig;
use qsim::{Failure, LinkShape, Pair, PairConfig, Queue, traffic::Reading};

use crate::common;
use common::{
    delay,
    evil::{
        arena::{Arena, Setup},
        stream,
    },
    ms, secs,
};

use Direction::Unidirectional;

const MIB: u64 = 1_024 * 1_024;

/// mux R21: with an update per half a window, a window of twice the path's product carried half the rate.
#[test]
fn one_stream_fills_210_mbit_per_second_at_40_ms() -> Result<(), Failure> {
    let mut pair = bulk(delay(20), 210_000_000, 200_000_000)?;
    let rate = rate_between(&mut pair, secs(2), secs(1))?;
    assert!(rate >= 0.9 * 210e6, "{:.1} Mbit/s", rate / 1e6);
    let window = window(&pair);
    assert!((2 * MIB..=4 * MIB).contains(&window), "a window of {window} bytes for a product of 1 MiB");
    Ok(())
}

#[test]
fn a_window_that_may_not_grow_is_used_to_three_quarters() -> Result<(), Failure> {
    let fixed = TransportConfig { stream_window: MIB, max_stream_window: MIB, connection_window: 4 * MIB, ..TransportConfig::default() };
    let shape = LinkShape { queue: Queue::TailDrop { bytes: 4_000_000 }, ..delay(20) }.at_rate(1_000_000_000);
    let mut pair = Pair::new(PairConfig { server: fixed, ..PairConfig::new(1, vec![shape]) })?;
    pair.client_mut().traffic_mut().send(Unidirectional, 200_000_000);
    let rate = rate_between(&mut pair, secs(2), secs(2))?;
    let whole = MIB as f64 * 8.0 / 0.040;
    assert!(rate >= 0.7 * whole, "{:.1} of {:.1} Mbit/s", rate / 1e6, whole / 1e6);
    Ok(())
}

#[test]
fn a_long_fat_path_is_filled_by_the_largest_window() -> Result<(), Failure> {
    let mut pair = bulk(delay(50), 400_000_000, 1_000_000_000)?;
    let rate = rate_between(&mut pair, secs(3), secs(1))?;
    assert!(rate >= 0.9 * 400e6, "{:.1} Mbit/s", rate / 1e6);
    Ok(())
}

#[test]
fn between_processes_of_one_machine_the_window_stays_near_a_mebibyte() -> Result<(), Failure> {
    let mut pair = bulk(LinkShape::delayed(Duration::from_micros(40)), 8_000_000_000, 100_000_000)?;
    pair.run_until_delivered(secs(5))?;
    let window = window(&pair);
    assert!((MIB..=2 * MIB).contains(&window), "{window} bytes");
    Ok(())
}

#[test]
fn a_slow_path_keeps_its_first_window() -> Result<(), Failure> {
    let mut pair = bulk(delay(20), 10_000_000, 5_000_000)?;
    pair.run_until_delivered(secs(20))?;
    assert_eq!(window(&pair), limits::CONNECTION_WINDOW);
    Ok(())
}

#[test]
fn a_reader_who_stops_keeps_the_window_as_it_is() -> Result<(), Failure> {
    let mut pair = bulk(delay(20), 210_000_000, 200_000_000)?;
    pair.run_for(secs(2))?;
    let before = window(&pair);
    for _ in 0..20 {
        pair.server_mut().traffic_mut().set_reading(Reading::Paused);
        pair.run_for(secs(1))?;
        pair.server_mut().traffic_mut().set_reading(Reading::Eager);
        pair.run_for(ms(1))?;
    }
    assert!(window(&pair) <= 2 * before, "{} after {before}", window(&pair));
    let held = pair.server().connection().map_or(0, |connection| connection.stream_facts().statistics().held);
    assert!(held <= window(&pair), "{held} bytes are held");
    Ok(())
}

#[test]
fn many_streams_share_a_connection_window_that_grows_for_all_of_them() -> Result<(), Failure> {
    let shape = LinkShape { queue: Queue::TailDrop { bytes: 2_000_000 }, ..delay(20) }.at_rate(210_000_000);
    let mut pair = Pair::new(PairConfig::new(1, vec![shape]))?;
    for _ in 0..20 {
        pair.client_mut().traffic_mut().send(Unidirectional, 10_000_000);
    }
    let rate = rate_between(&mut pair, secs(2), secs(2))?;
    assert!(rate >= 0.9 * 210e6, "{:.1} Mbit/s", rate / 1e6);
    Ok(())
}

#[test]
fn what_was_reserved_for_windows_comes_back_with_the_end() -> Result<(), Failure> {
    let mut pair = bulk(delay(20), 210_000_000, 60_000_000)?;
    pair.run_until_delivered(secs(10))?;
    let reserved = |pair: &Pair, role| pair.host(role).endpoint().statistics().windows_reserved;
    assert!(reserved(&pair, Role::Server) >= window(&pair));
    assert_eq!(reserved(&pair, Role::Client), limits::CONNECTION_WINDOW);
    let now = pair.now();
    if let Some(connection) = pair.client_mut().connection_mut() {
        connection.close(now, 0, b"");
    }
    pair.run_until(|pair| pair.client().endpoint().is_empty() && pair.server().endpoint().is_empty(), secs(5))?;
    assert_eq!((reserved(&pair, Role::Client), reserved(&pair, Role::Server)), (0, 0));
    Ok(())
}

/// mux R20, R22.
#[test]
fn attack_r4_a_full_pool_gives_newcomers_one_block_and_they_live_on_it() -> Result<(), Failure> {
    let server = TransportConfig { stream_window: 512 * 1_024, connection_window: 512 * 1_024, ..TransportConfig::default() };
    let mut arena = Arena::new(&Setup { server, pool_bytes: 768 * 1_024, ..Setup::default() })?;
    assert_eq!(arena.server.statistics().windows_reserved, 512 * 1_024);
    arena.add_honest()?;
    assert_eq!(arena.server.statistics().windows_reserved, 512 * 1_024, "the smallest window stands outside the sum");
    arena.honest_sends(&[7; 100_000])?;
    // The attacker fills its window and is not read: it gets all it was promised and no byte more.
    let data = [1; 1_024];
    for piece in 0..512 {
        arena.say(&[stream(2, piece * 1_024, &data, qbase::frame::Fin::No)])?;
    }
    assert_eq!(arena.close_code(), None);
    arena.honest_sends(&[8; 100_000])?;
    let held = arena.server.statistics().pool_bytes_used;
    assert!(held <= 768 * 1_024, "{held} bytes");
    Ok(())
}

#[test]
fn attack_c13_a_reader_of_single_bytes_is_no_reason_for_many_updates() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::default())?;
    let window = 64 * 1_024;
    let data = [3; 1_024];
    for piece in 0..48 {
        arena.say(&[stream(2, piece * 1_024, &data, qbase::frame::Fin::No)])?;
    }
    let mut byte = [0; 1];
    for _ in 0..48 * 1_024 {
        let connection = arena.connection_mut()?;
        assert_eq!(connection.read(StreamId(2), &mut byte), Ok(1));
        arena.pump()?;
    }
    let updates = arena.count(|frame| matches!(frame, Frame::MaxStreamData(_)));
    assert!(updates <= 48 * 1_024 / (window / 4), "{updates} updates");
    Ok(())
}

// ---- helpers ----

/// A client that sends `len` bytes over a link with a queue of one product, or a burst.
fn bulk(shape: LinkShape, rate: u64, len: u64) -> Result<Pair, Failure> {
    let product = (rate as f64 / 8.0 * shape.delay.as_secs_f64() * 2.0) as u64;
    let shape = LinkShape { queue: Queue::TailDrop { bytes: product.max(1_000_000) }, ..shape }.at_rate(rate);
    let mut pair = Pair::new(PairConfig::new(1, vec![shape]))?;
    pair.client_mut().traffic_mut().send(Unidirectional, len);
    Ok(pair)
}

/// Bits per second that the server's application got in `time`, after `before`.
fn rate_between(pair: &mut Pair, before: Duration, time: Duration) -> Result<f64, Failure> {
    pair.run_for(before)?;
    let first = pair.server().traffic().received();
    pair.run_for(time)?;
    Ok((pair.server().traffic().received() - first) as f64 * 8.0 / time.as_secs_f64())
}

/// The receive window of the server's connection.
fn window(pair: &Pair) -> u64 {
    pair.server().connection().map_or(0, |connection| connection.stream_facts().statistics().receive_window)
}
