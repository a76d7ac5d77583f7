//! What every controller must keep, whichever way it grows.

use std::time::Duration;

use proptest::prelude::*;
use qbase::Timestamp;

use super::{Algorithm, SlowStart};
use crate::{
    Acked, AppLimited, Controller, Lost, Persistence, Phase, RttEstimator,
    controller::{MAX_WINDOW, initial_window, minimum_window},
};

pub(super) const MTU: u64 = 1_200;
/// The loss-based ones.
const BOTH: [Algorithm; 2] = [Algorithm::NewReno, Algorithm::Cubic];

fn build(algorithm: Algorithm, mtu: u64) -> Box<dyn Controller> {
    super::build(algorithm, SlowStart::Hystart, mtu)
}

pub(super) const fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

pub(super) fn sampled(rtt: Duration) -> RttEstimator {
    let mut estimator = RttEstimator::new(Duration::from_millis(333));
    estimator.on_sample(at(1), rtt, Duration::ZERO);
    estimator
}

pub(super) fn rtt_100ms() -> RttEstimator {
    sampled(Duration::from_millis(100))
}

/// An ACK for `bytes` of packets sent at `sent_at`, of a sender that used its window.
pub(super) fn acked(bytes: u64, sent_at: Timestamp) -> Acked {
    Acked { bytes, newest_sent_at: sent_at, bytes_in_flight: 0, app_limited: AppLimited::No, rtt_sample: None }
}

/// The loss of one datagram sent at `sent_at`.
pub(super) fn lost(sent_at: Timestamp) -> Lost {
    Lost { bytes: MTU, newest_sent_at: sent_at, persistent: Persistence::None }
}

pub(super) fn persistent(sent_at: Timestamp) -> Lost {
    Lost { persistent: Persistence::Established, ..lost(sent_at) }
}

#[test]
fn new_path_starts_with_ten_datagrams_within_the_byte_limit() {
    for (mtu, expected) in [(1_200, 12_000), (1_452, 14_520), (1_472, 14_720), (1_500, 14_720), (9_000, 18_000), (500, 12_000)] {
        for algorithm in BOTH {
            let controller = build(algorithm, mtu);
            assert_eq!((controller.window(), controller.ssthresh(), controller.phase()), (expected, u64::MAX, Phase::SlowStart), "{mtu}");
        }
    }
}

#[test]
fn names_are_those_of_the_options() {
    for algorithm in Algorithm::ALL {
        assert_eq!(build(algorithm, MTU).name(), algorithm.name());
    }
}

#[test]
fn slow_start_doubles_per_round_trip() {
    for algorithm in BOTH {
        let mut controller = build(algorithm, MTU);
        for round in 1..=5_u64 {
            controller.on_acked(at(100 * round), &acked(controller.window(), at(100 * round - 100)), &rtt_100ms());
        }
        assert_eq!(controller.window(), 12_000 * 32);
    }
}

#[test]
fn first_loss_ends_slow_start_at_once() {
    for (algorithm, left) in [(Algorithm::NewReno, 60_000), (Algorithm::Cubic, 84_000)] {
        let mut controller = build(algorithm, MTU);
        controller.on_acked(at(100), &acked(108_000, at(0)), &rtt_100ms());
        controller.on_lost(at(200), &lost(at(100)));
        assert_eq!((controller.window(), controller.ssthresh(), controller.phase()), (left, left, Phase::Recovery));
        controller.on_acked(at(300), &acked(1_200, at(201)), &rtt_100ms());
        assert_eq!(controller.phase(), Phase::CongestionAvoidance);
        assert!(controller.window() <= left + MTU);
    }
}

#[test]
fn one_round_trip_is_cut_once() {
    for algorithm in BOTH {
        let mut controller = build(algorithm, MTU);
        controller.on_lost(at(200), &lost(at(100)));
        let once = controller.window();
        controller.on_lost(at(210), &lost(at(150)));
        controller.on_ecn_ce(at(220), at(200));
        assert_eq!(controller.window(), once, "packets sent before the cut");
        controller.on_lost(at(320), &lost(at(201)));
        assert!(controller.window() < once, "a packet sent after the cut");
    }
}

#[test]
fn congestion_mark_cuts_like_a_loss() {
    for algorithm in BOTH {
        let (mut marked, mut losing) = (build(algorithm, MTU), build(algorithm, MTU));
        marked.on_ecn_ce(at(200), at(100));
        losing.on_lost(at(200), &lost(at(100)));
        assert_eq!((marked.window(), marked.ssthresh(), marked.phase()), (losing.window(), losing.ssthresh(), losing.phase()));
    }
}

#[test]
fn persistent_congestion_leaves_two_datagrams_and_slow_start() {
    for algorithm in BOTH {
        let mut controller = build(algorithm, MTU);
        controller.on_acked(at(100), &acked(108_000, at(0)), &rtt_100ms());
        controller.on_lost(at(9_000), &persistent(at(8_000)));
        assert_eq!((controller.window(), controller.phase()), (2 * MTU, Phase::SlowStart));
        assert!(controller.ssthresh() >= 60_000, "slow start leads back to where congestion struck");
        controller.on_acked(at(9_100), &acked(2 * MTU, at(9_050)), &rtt_100ms());
        assert_eq!(controller.window(), 4 * MTU);
    }
}

#[test]
fn loss_after_persistent_congestion_counts_whenever_the_packet_was_sent() {
    for algorithm in BOTH {
        let mut controller = build(algorithm, MTU);
        controller.on_acked(at(100), &acked(108_000, at(0)), &rtt_100ms());
        controller.on_lost(at(9_000), &persistent(at(8_000)));
        controller.on_acked(at(9_100), &acked(24_000, at(8_900)), &rtt_100ms());
        let grown = controller.window();
        controller.on_lost(at(9_200), &lost(at(8_950)));
        assert!(controller.window() < grown);
        assert_eq!((controller.phase(), controller.ssthresh()), (Phase::Recovery, controller.window()));
    }
}

// attacks C10
#[test]
fn attack_c10_persistent_congestion_of_one_path_leaves_another_alone() {
    for algorithm in BOTH {
        let (mut struck, spared) = (build(algorithm, MTU), build(algorithm, MTU));
        struck.on_lost(at(9_000), &persistent(at(8_000)));
        assert_eq!(spared.window(), 12_000);
    }
}

#[test]
fn slow_start_stops_at_the_threshold() {
    for algorithm in BOTH {
        let mut controller = build(algorithm, MTU);
        controller.on_acked(at(100), &acked(108_000, at(0)), &rtt_100ms());
        controller.on_lost(at(9_000), &persistent(at(8_000)));
        let ssthresh = controller.ssthresh();
        controller.on_acked(at(9_100), &acked(10 * ssthresh, at(9_050)), &rtt_100ms());
        assert!(controller.window() >= ssthresh && controller.window() <= 2 * ssthresh);
        assert_eq!(controller.phase(), Phase::CongestionAvoidance);
    }
}

#[test]
fn application_limited_sender_does_not_grow() {
    for algorithm in BOTH {
        let mut controller = build(algorithm, MTU);
        let idle = Acked { app_limited: AppLimited::Yes, ..acked(6_000, at(0)) };
        controller.on_acked(at(100), &idle, &rtt_100ms());
        assert_eq!(controller.window(), 12_000, "slow start");
        controller.on_lost(at(200), &lost(at(100)));
        for round in 3..100 {
            let idle = Acked { app_limited: AppLimited::Yes, ..acked(6_000, at(100 * round - 50)) };
            controller.on_acked(at(100 * round), &idle, &rtt_100ms());
        }
        assert_eq!(controller.window(), controller.ssthresh(), "congestion avoidance");
    }
}

#[test]
fn idle_restart_keeps_the_threshold() {
    for algorithm in BOTH {
        let mut controller = build(algorithm, MTU);
        controller.on_acked(at(100), &acked(108_000, at(0)), &rtt_100ms());
        controller.on_lost(at(200), &lost(at(100)));
        let ssthresh = controller.ssthresh();
        controller.on_idle_restart(at(5_000));
        assert_eq!((controller.window(), controller.ssthresh()), (12_000, ssthresh));
    }
}

#[test]
fn reset_makes_a_new_path_of_the_same_mtu() {
    for algorithm in BOTH {
        let mut controller = build(algorithm, MTU);
        controller.on_mtu(1_452);
        controller.on_lost(at(200), &lost(at(100)));
        controller.reset();
        assert_eq!((controller.window(), controller.ssthresh(), controller.phase()), (14_520, u64::MAX, Phase::SlowStart), "of the new MTU");
    }
}

/// Shows 8899-3-18.
#[test]
fn untouched_window_follows_a_smaller_mtu_and_none_grows_with_a_larger_one() {
    for algorithm in BOTH {
        let mut controller = build(algorithm, 1_452);
        controller.on_mtu(1_200);
        assert_eq!(controller.window(), 12_000);
        controller.on_mtu(1_452);
        assert_eq!(controller.window(), 12_000);
        controller.on_acked(at(100), &acked(12_000, at(0)), &rtt_100ms());
        controller.on_mtu(1_452);
        assert_eq!(controller.window(), 24_000);
    }
}

#[test]
fn a_spurious_loss_is_undone() {
    for algorithm in BOTH {
        let mut controller = build(algorithm, MTU);
        controller.on_acked(at(100), &acked(108_000, at(0)), &rtt_100ms());
        controller.on_lost(at(200), &lost(at(100)));
        controller.on_spurious_loss(at(210));
        assert_eq!((controller.window(), controller.ssthresh(), controller.phase()), (120_000, u64::MAX, Phase::SlowStart));
        controller.on_lost(at(220), &lost(at(150)));
        assert!(controller.window() < 120_000, "a packet sent before the cut that was undone may cause another");
    }
}

#[test]
fn an_undone_cut_in_avoidance_leaves_no_trace() {
    for algorithm in BOTH {
        let (mut struck, mut spared) = (build(algorithm, MTU), build(algorithm, MTU));
        for controller in [&mut struck, &mut spared] {
            controller.on_acked(at(100), &acked(108_000, at(0)), &rtt_100ms());
            controller.on_lost(at(200), &lost(at(100)));
            for round in 3..40 {
                controller.on_acked(at(100 * round), &acked(controller.window(), at(100 * round - 50)), &rtt_100ms());
            }
        }
        struck.on_lost(at(4_000), &lost(at(3_950)));
        assert!(struck.window() < spared.window());
        struck.on_spurious_loss(at(4_010));
        for round in 41..80 {
            let bytes = spared.window();
            for controller in [&mut struck, &mut spared] {
                controller.on_acked(at(100 * round), &acked(bytes, at(100 * round - 50)), &rtt_100ms());
            }
            assert_eq!((struck.window(), struck.ssthresh()), (spared.window(), spared.ssthresh()), "{algorithm:?} {round}");
        }
    }
}

#[test]
fn marks_persistent_congestion_and_undone_cuts_are_not_undone() {
    for algorithm in BOTH {
        let grown = || {
            let mut controller = build(algorithm, MTU);
            controller.on_acked(at(100), &acked(108_000, at(0)), &rtt_100ms());
            controller
        };
        let mut marked = grown();
        marked.on_lost(at(200), &lost(at(100)));
        marked.on_ecn_ce(at(210), at(150));
        let mut collapsed = grown();
        collapsed.on_lost(at(9_000), &persistent(at(8_000)));
        let mut twice = grown();
        twice.on_lost(at(200), &lost(at(100)));
        twice.on_spurious_loss(at(210));
        twice.on_ecn_ce(at(300), at(290));
        for mut controller in [marked, collapsed, twice] {
            let before = (controller.window(), controller.ssthresh());
            controller.on_spurious_loss(at(9_010));
            assert_eq!((controller.window(), controller.ssthresh()), before);
        }
    }
}

/// One call of a controller.
#[derive(Clone, Debug)]
enum Operation {
    Sent { bytes: u64, flight: u64 },
    Acked { bytes: u64, age: u64, app_limited: bool },
    Lost { age: u64, persistent: bool },
    Marked { age: u64 },
    Spurious,
    Mtu(u64),
    Idle,
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        4 => (0_u64..200_000, 0_u64..1_000_000).prop_map(|(bytes, flight)| Operation::Sent { bytes, flight: bytes + flight }),
        12 => (prop_oneof![0_u64..400_000, any::<u64>()], 0_u64..300, any::<bool>())
            .prop_map(|(bytes, age, app_limited)| Operation::Acked { bytes, age, app_limited }),
        3 => (0_u64..300, prop::bool::weighted(0.2)).prop_map(|(age, persistent)| Operation::Lost { age, persistent }),
        2 => (0_u64..300).prop_map(|age| Operation::Marked { age }),
        1 => Just(Operation::Spurious),
        1 => prop_oneof![1_200_u64..9_000, any::<u64>()].prop_map(Operation::Mtu),
        1 => Just(Operation::Idle),
    ]
}

/// Performs `operation`; the bool says whether the window may grow.
fn perform(controller: &mut dyn Controller, now: u64, operation: &Operation, rtt: &RttEstimator) -> bool {
    let ago = |age: u64| at(now.saturating_sub(age));
    match *operation {
        Operation::Sent { bytes, flight } => controller.on_sent(at(now), bytes, flight),
        Operation::Acked { bytes, age, app_limited } => {
            let app_limited = if app_limited { AppLimited::Yes } else { AppLimited::No };
            controller.on_acked(at(now), &Acked { app_limited, ..acked(bytes, ago(age)) }, rtt);
            return app_limited == AppLimited::No && controller.phase() != Phase::Recovery;
        }
        Operation::Lost { age, persistent: true } => controller.on_lost(at(now), &persistent(ago(age))),
        Operation::Lost { age, persistent: false } => controller.on_lost(at(now), &lost(ago(age))),
        Operation::Marked { age } => controller.on_ecn_ce(at(now), ago(age)),
        Operation::Mtu(mtu) => {
            controller.on_mtu(mtu);
            return true;
        }
        Operation::Spurious => {
            controller.on_spurious_loss(at(now));
            return true;
        }
        Operation::Idle => controller.on_idle_restart(at(now)),
    }
    false
}

proptest! {
    #[test]
    fn window_keeps_its_bounds_and_grows_only_by_used_windows_outside_recovery(
        operations in prop::collection::vec((0_u64..200, operation()), 1..200),
        micros in 20_u64..500_000,
    ) {
        for algorithm in BOTH {
            let mut controller = build(algorithm, MTU);
            let rtt = sampled(Duration::from_micros(micros));
            let (mut now, mut mtu) = (1_000, MTU);
            for (gap, operation) in &operations {
                now += gap;
                let before = controller.window();
                let may_grow = perform(&mut *controller, now, operation, &rtt);
                if let Operation::Mtu(new) = *operation {
                    mtu = new.min(MAX_WINDOW / 2);
                }
                prop_assert!(controller.window() >= minimum_window(mtu), "{operation:?}");
                prop_assert!(controller.ssthresh() >= minimum_window(mtu), "{operation:?}");
                prop_assert!(controller.window() <= MAX_WINDOW, "{operation:?}");
                prop_assert!(may_grow || controller.window() <= before, "{operation:?} grew {before} to {}", controller.window());
                if let Operation::Acked { bytes, .. } = *operation {
                    // Slow start grows by what was acknowledged; avoidance by less.
                    prop_assert!(controller.window() >= before);
                    prop_assert!(controller.window() - before <= bytes.saturating_add(mtu), "{operation:?}");
                }
            }
        }
    }

    #[test]
    fn whatever_happens_the_window_keeps_its_bounds(operations in prop::collection::vec((0_u64..200, operation()), 1..200)) {
        for algorithm in Algorithm::ALL {
            let mut controller = build(algorithm, MTU);
            let (mut now, mut mtu) = (1_000, MTU);
            for (gap, operation) in &operations {
                now += gap;
                perform(&mut *controller, now, operation, &rtt_100ms());
                if let Operation::Mtu(new) = *operation {
                    mtu = new.min(MAX_WINDOW / 2);
                }
                prop_assert!(controller.window() >= minimum_window(mtu) && controller.window() <= MAX_WINDOW, "{operation:?}");
                prop_assert!(controller.pacing_rate() != Some(0), "{operation:?}");
            }
        }
    }

    #[test]
    fn initial_window_is_never_below_the_minimum(mtu in any::<u64>()) {
        prop_assert!(initial_window(mtu) >= minimum_window(mtu));
        for algorithm in BOTH {
            prop_assert!(build(algorithm, mtu).window() >= minimum_window(mtu.min(MAX_WINDOW / 2)));
        }
    }
}
