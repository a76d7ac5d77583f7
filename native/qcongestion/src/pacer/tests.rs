//! The pacer against its promises: never faster than the rate, never slower than the window.

use std::time::Duration;

use proptest::prelude::*;
use qbase::Timestamp;

use super::{BATCH_TIME, BURST_TIME, Pacer};
use crate::{Acked, Controller, Lost, Phase, RttEstimator};

const MTU: u64 = 1_452;
const MIB: u64 = 1_024 * 1_024;

/// A controller that stands still.
#[derive(Clone, Copy, Debug)]
struct Still {
    window: u64,
    phase: Phase,
}

impl Controller for Still {
    fn on_sent(&mut self, _: Timestamp, _: u64, _: u64) {}
    fn on_acked(&mut self, _: Timestamp, _: &Acked, _: &RttEstimator) {}
    fn on_lost(&mut self, _: Timestamp, _: &Lost) {}
    fn on_spurious_loss(&mut self, _: Timestamp) {}
    fn on_ecn_ce(&mut self, _: Timestamp, _: Timestamp) {}
    fn on_idle_restart(&mut self, _: Timestamp) {}
    fn reset(&mut self) {}
    fn on_mtu(&mut self, _: u64) {}
    fn window(&self) -> u64 {
        self.window
    }
    fn ssthresh(&self) -> u64 {
        u64::MAX
    }
    fn phase(&self) -> Phase {
        self.phase
    }
    fn name(&self) -> &'static str {
        "still"
    }
}

const fn avoiding(window: u64) -> Still {
    Still { window, phase: Phase::CongestionAvoidance }
}

fn sampled(rtt: Duration) -> RttEstimator {
    let mut estimator = RttEstimator::new(Duration::from_millis(333));
    estimator.on_sample(Timestamp::from_millis(1), rtt, Duration::ZERO);
    estimator
}

const fn micros(value: u64) -> Timestamp {
    Timestamp::from_micros(value)
}

/// Spends whole datagrams until the pacer shuts; returns the bytes.
fn drain(pacer: &mut Pacer, now: Timestamp, controller: &dyn Controller, rtt: &RttEstimator) -> u64 {
    let mut total = 0;
    loop {
        let budget = pacer.budget(now, controller, rtt, MTU) / MTU * MTU;
        if budget == 0 {
            return total;
        }
        pacer.on_sent(budget);
        total += budget;
    }
}

/// 10 Gbit/s over 20 ms: 25 MB.
fn ten_gigabit() -> (Still, RttEstimator) {
    (avoiding(25_000_000), sampled(Duration::from_millis(20)))
}

// burst B-18, attacks C16
#[test]
fn attack_c16_burst_before_the_first_sample_is_at_most_ten_datagrams() {
    let rtt = RttEstimator::new(Duration::from_millis(333));
    for window in [14_520, 64 * MTU, 25_000_000] {
        let controller = Still { window, phase: Phase::SlowStart };
        let mut pacer = Pacer::new(MTU);
        assert_eq!(drain(&mut pacer, micros(5), &controller, &rtt), 10 * MTU, "window {window}");
        assert!(drain(&mut pacer, micros(60_000_000), &controller, &rtt) <= 10 * MTU, "after a minute, window {window}");
    }
}

#[test]
fn one_budget_at_a_high_rate_fills_a_gso_call() {
    let (controller, rtt) = ten_gigabit();
    let mut pacer = Pacer::new(MTU);
    let mut now = micros(1_000);
    drain(&mut pacer, now, &controller, &rtt);
    for _ in 0..100 {
        now = pacer.next_at(now, MTU);
        let budget = pacer.budget(now, &controller, &rtt, MTU);
        assert!(budget >= 64 * MTU, "{budget}");
        pacer.on_sent(64 * MTU);
        drain(&mut pacer, now, &controller, &rtt);
    }
}

#[test]
fn emptied_bucket_opens_for_a_batch_that_follows_the_rate() {
    // (window over 40 ms, datagrams of a batch)
    for (window, datagrams) in [(50_000, 1), (500_000, 2), (5_000_000, 26), (50_000_000, 64)] {
        let (controller, rtt) = (avoiding(window), sampled(Duration::from_millis(40)));
        let mut pacer = Pacer::new(MTU);
        drain(&mut pacer, micros(1_000), &controller, &rtt);
        let at = pacer.next_at(micros(1_000), MTU);
        assert_eq!(pacer.clone().budget(at - Duration::from_nanos(2), &controller, &rtt, MTU), 0);
        assert_eq!(pacer.budget(at, &controller, &rtt, MTU) / MTU, datagrams, "window {window}");
        if datagrams > 1 {
            assert!(at <= micros(1_000) + BATCH_TIME + Duration::from_nanos(1), "window {window}: {at:?}");
        }
    }
}

#[test]
fn slow_path_sends_one_datagram_at_a_time_at_its_rate() {
    // 1.25 * 14,520 bytes in 100 ms: a datagram every 8 ms.
    let (controller, rtt) = (avoiding(14_520), sampled(Duration::from_millis(100)));
    let mut pacer = Pacer::new(MTU);
    let mut now = micros(1_000);
    assert_eq!(drain(&mut pacer, now, &controller, &rtt), 10 * MTU);
    for _ in 0..10 {
        let next = pacer.next_at(now, MTU);
        assert_eq!(next.saturating_since(now).as_micros(), 8_000);
        now = next;
        assert_eq!(drain(&mut pacer, now, &controller, &rtt), MTU);
    }
}

#[test]
fn slow_start_is_paced_at_twice_the_window() {
    let rtt = sampled(Duration::from_millis(100));
    for (phase, quarters) in [(Phase::SlowStart, 8), (Phase::Recovery, 5), (Phase::CongestionAvoidance, 5)] {
        let controller = Still { window: 400_000, phase };
        let mut pacer = Pacer::new(MTU);
        let mut now = micros(1_000);
        drain(&mut pacer, now, &controller, &rtt);
        let mut sent = 0;
        while now < micros(101_000) {
            now = pacer.next_at(now, MTU);
            sent += drain(&mut pacer, now, &controller, &rtt);
        }
        let expected = 100_000 * quarters;
        assert!(sent >= expected - 4 * MTU && sent <= expected + 10 * MTU, "{phase:?}: {sent}, expected {expected}");
    }
}

#[test]
fn budget_is_nothing_or_a_datagram() {
    let (controller, rtt) = (avoiding(500_000), sampled(Duration::from_millis(40)));
    let mut pacer = Pacer::new(MTU);
    let mut now = micros(1_000);
    for step in 0..2_000 {
        let budget = pacer.budget(now, &controller, &rtt, MTU);
        assert!(budget == 0 || budget >= MTU, "{budget}");
        assert_eq!(pacer.budget(now, &controller, &rtt, MTU), budget, "asking changes nothing");
        pacer.on_sent(budget.min(100 + step % 1_400));
        now += Duration::from_micros(step % 37);
    }
}

#[test]
fn next_at_answers_now_while_there_is_budget() {
    let (controller, rtt) = ten_gigabit();
    let mut pacer = Pacer::new(MTU);
    assert!(pacer.budget(micros(1_000), &controller, &rtt, MTU) >= MTU);
    assert_eq!(pacer.next_at(micros(1_000), MTU), micros(1_000));
}

#[test]
fn wish_beyond_the_bucket_waits_for_a_full_one() {
    let (controller, rtt) = ten_gigabit();
    let mut pacer = Pacer::new(MTU);
    drain(&mut pacer, micros(1_000), &controller, &rtt);
    let at = pacer.next_at(micros(1_000), u64::MAX);
    assert!(at.saturating_since(micros(1_000)) <= BURST_TIME + Duration::from_micros(1), "{at:?}");
}

#[test]
fn clock_that_stands_still_or_goes_back_yields_nothing() {
    let (controller, rtt) = ten_gigabit();
    let mut pacer = Pacer::new(MTU);
    drain(&mut pacer, micros(10_000), &controller, &rtt);
    for now in [10_000, 9_000, 0, 10_000] {
        assert_eq!(pacer.budget(micros(now), &controller, &rtt, MTU), 0);
    }
}

#[test]
fn tiny_refills_lose_nothing() {
    // A refill every 100 ns, each worth 3.3 bytes.
    let (controller, rtt) = (avoiding(1_048_583), sampled(Duration::from_nanos(39_999_999)));
    let mut pacer = Pacer::new(MTU);
    let start = micros(1_000);
    drain(&mut pacer, start, &controller, &rtt);
    let (mut now, mut sent) = (start, 0);
    while now < start + Duration::from_millis(100) {
        now += Duration::from_nanos(100);
        sent += drain(&mut pacer, now, &controller, &rtt);
    }
    let expected = 1_048_583 * 5 / 4 * 100_000_000 / 39_999_999_u64;
    assert!(expected - sent <= 10 * MTU, "{sent} of {expected}");
}

/// A sender over a loop with `round_trip`, its bucket full, that wakes every `turn` with one clock reading, gets its ACKs, and sends all
/// that window and pacer allow. Returns the bytes sent in `turns`, with and without the pacer.
fn loopback(window: u64, round_trip: Duration, turn: Duration, turns: u32) -> (u64, u64) {
    let run = |mut pacer: Option<Pacer>| {
        let (controller, rtt) = (avoiding(window), sampled(round_trip));
        let mut flights: std::collections::VecDeque<(Timestamp, u64)> = std::collections::VecDeque::new();
        let (mut now, mut in_flight, mut total) = (micros(10_000), 0, 0);
        if let Some(pacer) = &mut pacer {
            pacer.budget(micros(1_000), &controller, &rtt, MTU);
        }
        for _ in 0..turns {
            while let Some(&(sent_at, bytes)) = flights.front()
                && sent_at + round_trip <= now
            {
                flights.pop_front();
                in_flight -= bytes;
            }
            loop {
                let budget = pacer.as_mut().map_or(u64::MAX, |pacer| pacer.budget(now, &controller, &rtt, MTU));
                let bytes = budget.min(window - in_flight).min(64 * MTU) / MTU * MTU;
                if bytes == 0 {
                    break;
                }
                if let Some(pacer) = &mut pacer {
                    pacer.on_sent(bytes);
                }
                flights.push_back((now, bytes));
                in_flight += bytes;
                total += bytes;
            }
            now += turn;
        }
        total
    };
    (run(Some(Pacer::new(MTU))), run(None))
}

#[test]
fn loopback_is_limited_by_its_window_alone() {
    for round_trip in [30, 50, 100, 200, 500] {
        for turn in [3, 20, 90, 400, 1_000] {
            for window in [64 * 1_024, MIB, 4 * MIB, 16 * MIB] {
                let (paced, free) = loopback(window, Duration::from_micros(round_trip), Duration::from_micros(turn), 300);
                assert_eq!(paced, free, "RTT {round_trip} us, turn {turn} us, window {window}");
            }
        }
    }
}

#[test]
fn millisecond_timers_reach_the_whole_window_on_long_paths() {
    for (round_trip, window) in [(5, MIB), (20, 25_000_000), (40, 500_000), (100, 12_000_000), (300, 3_000_000)] {
        // Every tick on time, and every second one left out.
        for turn in [1, 2] {
            let turns = u32::try_from(20 * round_trip / turn).expect("short");
            let (paced, free) = loopback(window, Duration::from_millis(round_trip), Duration::from_millis(turn), turns);
            // The pacer spreads the last window; all before it went out in time.
            assert!(paced + window >= free, "RTT {round_trip} ms, tick {turn} ms, window {window}: {paced} of {free}");
        }
    }
}

proptest! {
    #[test]
    fn any_interval_sends_at_most_rate_and_one_bucket(
        steps in prop::collection::vec((0_u64..3_000, 0_u64..200_000), 1..60),
        window in 2_400_u64..50_000_000,
        rtt_micros in 20_u64..500_000,
    ) {
        let (controller, rtt) = (avoiding(window), sampled(Duration::from_micros(rtt_micros)));
        let mut pacer = Pacer::new(MTU);
        let mut now = micros(1_000);
        let mut log: Vec<(Timestamp, u64)> = Vec::new();
        for (gap, wanted) in steps {
            now += Duration::from_micros(gap);
            let bytes = pacer.budget(now, &controller, &rtt, MTU).min(wanted);
            pacer.on_sent(bytes);
            log.push((now, bytes));
        }
        let rate = 1.25 * window as f64 / (rtt_micros as f64 / 1e6);
        let bucket = (rate * BURST_TIME.as_secs_f64()).max(14_520.0);
        for first in 0..log.len() {
            let mut sum = 0;
            for &(at, bytes) in &log[first..] {
                sum += bytes;
                let most = bucket + rate * at.saturating_since(log[first].0).as_secs_f64();
                prop_assert!(sum as f64 <= most * (1.0 + 1e-9) + 1.0, "{sum} > {most}");
            }
        }
    }

    #[test]
    fn next_at_is_when_the_budget_comes(window in 2_400_u64..50_000_000, rtt_micros in 20_u64..500_000, wanted in 0_u64..200_000) {
        let (controller, rtt) = (avoiding(window), sampled(Duration::from_micros(rtt_micros)));
        let mut pacer = Pacer::new(MTU);
        let now = micros(1_000);
        drain(&mut pacer, now, &controller, &rtt);
        let at = pacer.next_at(now, wanted);
        let mut early = pacer.clone();
        let budget = pacer.budget(at, &controller, &rtt, MTU);
        prop_assert!(budget >= wanted.min(pacer.capacity) && budget > 0, "{budget}");
        if at > now + Duration::from_nanos(1) {
            prop_assert!(early.budget(at - Duration::from_nanos(1), &controller, &rtt, MTU) < wanted.max(pacer.batch));
        }
    }

    #[test]
    fn extreme_values_never_panic(window in any::<u64>(), nanos in any::<u64>(), mtu in any::<u64>(), times in prop::collection::vec(any::<u64>(), 1..5)) {
        let controller = Still { window, phase: Phase::SlowStart };
        let rtt = sampled(Duration::from_nanos(nanos));
        let mut pacer = Pacer::new(mtu);
        for time in times {
            let now = Timestamp::from_nanos(time);
            let budget = pacer.budget(now, &controller, &rtt, mtu);
            pacer.on_sent(budget / 2);
            prop_assert!(pacer.next_at(now, u64::MAX) >= now);
        }
    }
}
