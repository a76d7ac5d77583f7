//! What coupling promises: NewReno alone, no more than one flow together, the better path preferred.

use std::time::Duration;

use super::*;
use crate::Controller;
use crate::algorithm::{
    Algorithm,
    link::{Shape, World, ms, secs},
    tests::{MTU, acked, at, lost, rtt_100ms},
};

const ALL: [Coupling; 3] = [Coupling::Lia, Coupling::Olia, Coupling::Balia];

fn flow(packets: u64, rtt: u64, between_losses: u64) -> Subflow {
    Subflow { window: packets * MTU, mtu: MTU, rtt: Duration::from_millis(rtt), between_losses }
}

fn terms(coupling: Coupling, own: usize, all: &[Subflow]) -> Terms {
    let mut controller = Coupled::new(coupling, MTU, SlowStart::Plain);
    controller.couple(&all[own], all);
    controller.avoidance.terms.unwrap()
}

fn is_near(value: f64, expected: f64) -> bool {
    (value - expected).abs() <= 1e-9 * expected.abs().max(1.0)
}

#[test]
fn a_single_path_is_newreno() {
    for coupling in ALL {
        let alone = terms(coupling, 0, &[flow(50, 100, 9_000)]);
        assert!(is_near(alone.increase, 1.0 / 50.0) && is_near(alone.decrease, 0.5), "{coupling:?}: {alone:?}");
        let mut controller = Coupled::new(coupling, MTU, SlowStart::Plain);
        controller.on_acked(at(100), &acked(108_000, at(0)), &rtt_100ms());
        controller.on_lost(at(200), &lost(at(100)));
        assert_eq!(controller.window(), 60_000);
        for _ in 0..51 {
            controller.on_acked(at(300), &acked(1_200, at(250)), &rtt_100ms());
        }
        assert!(controller.window().abs_diff(61_200) < 40, "{coupling:?}: {}", controller.window());
    }
}

/// RFC 6356 §3: two paths of the same round trip and window share what one would have.
#[test]
fn two_equal_paths_grow_together_like_one() {
    let paths = [flow(50, 100, 60_000), flow(50, 100, 60_000)];
    for coupling in ALL {
        let terms = terms(coupling, 0, &paths);
        // One flow of 100 packets would grow by 1/100 for each packet; each of the two does by half of that.
        assert!(is_near(terms.increase, 1.0 / 200.0), "{coupling:?}: {terms:?}");
    }
}

#[test]
fn lia_takes_the_best_of_unequal_round_trips() {
    // rates 1000 and 250 packets a second; steepest 1000 / 0.02
    let paths = [flow(20, 20, 0), flow(50, 200, 0)];
    let expected = 50_000.0 / (1_250.0 * 1_250.0);
    assert!(is_near(terms(Coupling::Lia, 0, &paths).increase, expected));
    assert!(is_near(terms(Coupling::Lia, 1, &paths).increase, expected), "capped by Reno's only when it grows");
}

#[test]
fn olia_moves_growth_from_the_largest_window_to_the_best_path() {
    let paths = [flow(80, 100, 10_000), flow(20, 100, 90_000)];
    let linked = |packets: f64| packets / 0.01 / (1_000.0 * 1_000.0);
    assert!(is_near(terms(Coupling::Olia, 0, &paths).increase, linked(80.0) - 0.5 / 80.0), "gives");
    assert!(is_near(terms(Coupling::Olia, 1, &paths).increase, linked(20.0) + 0.5 / 20.0), "gets");
}

#[test]
fn balia_cuts_a_slow_path_deeper() {
    let paths = [flow(100, 100, 0), flow(20, 100, 0)];
    assert!(is_near(terms(Coupling::Balia, 0, &paths).decrease, 0.5));
    assert!(is_near(terms(Coupling::Balia, 1, &paths).decrease, 0.75));
}

#[test]
fn a_path_without_a_round_trip_counts_for_nothing() {
    for coupling in ALL {
        let mut controller = Coupled::new(coupling, MTU, SlowStart::Plain);
        let unmeasured = Subflow { rtt: Duration::ZERO, ..flow(10, 0, 0) };
        controller.couple(&unmeasured, &[unmeasured]);
        assert_eq!(controller.avoidance.terms, None);
        let with = terms(coupling, 0, &[flow(50, 100, 9_000), unmeasured]);
        assert!(is_near(with.increase, 1.0 / 50.0), "{coupling:?}: {with:?}");
    }
}

/// Share of a bottleneck that two flows of one connection take beside a single NewReno flow, over 60 s.
fn share(algorithm: Algorithm, seed: u64) -> f64 {
    let shape = Shape { rate: 20_000_000, rtt: ms(40), queue: 100_000, lost_per_million: 0 };
    let mut world = World::seeded(shape, seed);
    world.add(Algorithm::NewReno, SlowStart::Hystart);
    world.run(ms(300 + 97 * seed));
    for _ in 0..2 {
        world.add_to_group(algorithm, SlowStart::Hystart, 1);
        world.run(ms(13 * seed));
    }
    world.run(secs(10));
    let shares = world.shares(secs(60));
    (shares[1] + shares[2]) / shares.iter().sum::<f64>()
}

/// attacks F22.
#[test]
fn attack_f22_two_coupled_paths_take_no_more_than_1_3_shares_of_a_bottleneck() {
    for algorithm in [Algorithm::Lia, Algorithm::Olia, Algorithm::Balia] {
        for seed in 1..=10 {
            let taken = share(algorithm, seed) / 0.5;
            assert!(taken <= 1.3, "{algorithm:?}, seed {seed}: {taken:.3} shares");
        }
    }
    let uncoupled = share(Algorithm::NewReno, 1) / 0.5;
    assert!(uncoupled > 1.3, "{uncoupled:.3} shares without coupling: the bottleneck tells nothing");
}
