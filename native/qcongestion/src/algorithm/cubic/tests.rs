//! CUBIC against the formulas of RFC 9438.

use std::time::Duration;

use qbase::Timestamp;

use super::Cubic;
use crate::{
    Acked, AppLimited, Controller, Phase, RttEstimator,
    algorithm::{SlowStart, tests::{MTU, acked, at, lost, persistent, rtt_100ms, sampled}},
};

/// Acknowledges a window per round trip, in ACKs of two datagrams spread over it, for `rounds`; returns the end.
fn run(controller: &mut Cubic, start: Timestamp, rtt: &RttEstimator, rounds: u64) -> Timestamp {
    let round_trip = rtt.smoothed();
    let mut now = start;
    for _ in 0..rounds {
        let window = controller.window();
        let acks = (window / (2 * MTU)).max(1);
        let gap = round_trip / u32::try_from(acks).expect("few ACKs");
        for _ in 0..acks {
            now += gap;
            controller.on_acked(now, &acked(window / acks, now - round_trip), rtt);
        }
    }
    now
}

/// A controller whose window of `segments` was just cut at 1 s.
fn cut_at(segments: u64) -> Cubic {
    let mut controller = Cubic::new(MTU, SlowStart::Plain);
    controller.on_acked(at(900), &acked(segments * MTU - controller.window(), at(800)), &rtt_100ms());
    assert_eq!(controller.window(), segments * MTU);
    controller.on_lost(at(1_000), &lost(at(900)));
    controller
}

/// `W_cubic(t)` in segments.
fn formula(seconds: f64, w_max: f64, start: f64) -> f64 {
    let k = ((w_max - start) / 0.4).cbrt();
    0.4 * (seconds - k).powi(3) + w_max
}

#[test]
fn loss_leaves_seven_tenths() {
    let controller = cut_at(1_000);
    assert_eq!((controller.window(), controller.ssthresh()), (700 * MTU, 700 * MTU));
}

#[test]
fn avoidance_follows_the_cubic_function_up_to_its_plateau_and_beyond() {
    let rtt = rtt_100ms();
    let mut controller = cut_at(1_000);
    let start = at(1_101);
    let mut now = start;
    let mut seconds = 0.0;
    while seconds < 16.0 {
        now = run(&mut controller, now, &rtt, 5);
        seconds = now.saturating_since(start).as_secs_f64();
        let (window, expected) = (controller.window() as f64 / MTU as f64, formula(seconds, 1_000.0, 700.0));
        assert!((window - expected).abs() < 0.01 * expected, "at {seconds:.1} s: {window:.1} segments, expected {expected:.1}");
    }
    assert!(controller.window() > 1_100 * MTU, "the convex part was reached");
}

#[test]
fn window_stands_nearly_still_at_the_plateau() {
    let rtt = rtt_100ms();
    let mut controller = cut_at(1_000);
    let now = run(&mut controller, at(1_101), &rtt, 85);
    let before = controller.window();
    run(&mut controller, now, &rtt, 10);
    assert!(controller.window() - before <= MTU, "{} bytes in a second around K", controller.window() - before);
}

#[test]
fn short_round_trips_follow_reno() {
    // 20 segments, 10 ms: Reno's estimate leads by far.
    let rtt = sampled(Duration::from_millis(10));
    let mut controller = cut_at(20);
    let rounds = 5;
    run(&mut controller, at(1_011), &rtt, rounds);
    // alpha = 9/17 of a segment per round trip from 14 segments on.
    let expected = 14.0 + 9.0 / 17.0 * rounds as f64;
    let window = controller.window() as f64 / MTU as f64;
    assert!((window - expected).abs() < 0.3, "{window} segments, expected {expected}");
}

#[test]
fn reno_estimate_grows_by_a_whole_segment_above_the_prior_window() {
    let rtt = sampled(Duration::from_millis(1));
    let mut controller = cut_at(20);
    let mut now = at(1_002);
    while controller.window() < 20 * MTU {
        now = run(&mut controller, now, &rtt, 1);
    }
    let before = controller.window();
    run(&mut controller, now, &rtt, 10);
    let grown = (controller.window() - before) as f64 / MTU as f64;
    assert!((9.0..=10.2).contains(&grown), "{grown} segments in 10 round trips");
}

#[test]
fn loopback_round_trips_grow_at_least_like_reno() {
    let rtt = sampled(Duration::from_micros(50));
    let mut controller = cut_at(2_000);
    let before = controller.window();
    run(&mut controller, at(1_001), &rtt, 100);
    let grown = (controller.window() - before) as f64 / MTU as f64;
    assert!(grown > 0.9 * 100.0 * 9.0 / 17.0, "{grown} segments in 100 round trips");
}

#[test]
fn fast_convergence_lowers_the_plateau_when_the_window_fell_short() {
    let mut controller = cut_at(1_000);
    assert_eq!(controller.w_max, 1_000 * MTU);
    controller.on_lost(at(1_200), &lost(at(1_100)));
    assert_eq!((controller.w_max, controller.prior), (595 * MTU, 700 * MTU));
    assert_eq!(controller.window(), 490 * MTU);
}

#[test]
fn loss_above_the_last_maximum_becomes_the_new_one() {
    let rtt = rtt_100ms();
    let mut controller = cut_at(1_000);
    let now = run(&mut controller, at(1_101), &rtt, 160);
    let window = controller.window();
    assert!(window > 1_000 * MTU);
    controller.on_lost(now, &lost(now - rtt.smoothed()));
    assert_eq!(controller.w_max, window);
}

#[test]
fn window_never_grows_by_more_than_half_per_round_trip() {
    let rtt = rtt_100ms();
    let mut controller = cut_at(100);
    let now = run(&mut controller, at(1_101), &rtt, 1);
    // A minute without an ACK that counted as silence: the function is far ahead.
    let before = controller.window();
    run(&mut controller, now + Duration::from_secs(60), &rtt, 1);
    assert!(controller.window() > before);
    assert!(controller.window() <= before + before / 2 + before / 4, "{before} to {}", controller.window());
}

#[test]
fn silence_does_not_count_as_time() {
    let rtt = rtt_100ms();
    let (mut busy, mut idle) = (cut_at(1_000), cut_at(1_000));
    let now = run(&mut busy, at(1_101), &rtt, 20);
    run(&mut idle, at(1_101), &rtt, 20);
    let later = now + Duration::from_secs(60);
    idle.on_sent(later, 10 * MTU, 10 * MTU);
    run(&mut busy, now, &rtt, 20);
    run(&mut idle, later, &rtt, 20);
    assert_eq!(busy.window(), idle.window());
}

#[test]
fn application_limited_time_does_not_count() {
    let rtt = rtt_100ms();
    let (mut busy, mut limited) = (cut_at(1_000), cut_at(1_000));
    let mut now = run(&mut busy, at(1_101), &rtt, 20);
    run(&mut limited, at(1_101), &rtt, 20);
    run(&mut busy, now, &rtt, 20);
    for _ in 0..600 {
        now += Duration::from_millis(100);
        let few = Acked { app_limited: AppLimited::Yes, ..acked(MTU, now - rtt.smoothed()) };
        limited.on_acked(now, &few, &rtt);
    }
    run(&mut limited, now, &rtt, 20);
    assert_eq!(busy.window(), limited.window());
}

#[test]
fn stage_after_persistent_congestion_starts_at_its_own_plateau() {
    let rtt = rtt_100ms();
    let mut controller = cut_at(1_000);
    controller.on_lost(at(9_000), &persistent(at(8_000)));
    // The same event cut 700 segments before it collapsed them.
    assert_eq!((controller.window(), controller.ssthresh()), (2 * MTU, 490 * MTU));
    let mut now = at(9_100);
    while controller.phase() == Phase::SlowStart {
        now = run(&mut controller, now, &rtt, 1);
    }
    let epoch = controller.epoch.as_ref().map(|epoch| (epoch.plateau, epoch.plateau_at));
    assert_eq!(epoch, Some((490 * MTU, 0)), "K = 0 and W_max = the window it started with");
}

#[test]
fn small_acks_grow_as_much_as_large_ones() {
    let rtt = rtt_100ms();
    let (mut small, mut large) = (cut_at(1_000), cut_at(1_000));
    for step in 0..40_u64 {
        let now = at(1_101 + step * 100);
        let window = large.window();
        large.on_acked(now, &acked(window, now - rtt.smoothed()), &rtt);
        let window = small.window();
        for _ in 0..window / 10 {
            small.on_acked(now, &acked(10, now - rtt.smoothed()), &rtt);
        }
    }
    let difference = small.window().abs_diff(large.window());
    assert!(difference < large.window() / 100, "{} and {}", small.window(), large.window());
}
