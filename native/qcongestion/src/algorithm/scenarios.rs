//! Controllers over a bottleneck: how far slow start overshoots, what is left of the rate.

use super::{
    Algorithm, SlowStart,
    link::{Shape, World, bottleneck, ms, secs},
};
use crate::Phase;
use std::time::Duration;

/// The longest queue of a bulk transfer's slow start, in bandwidth-delay products, and the packets it lost.
fn slow_start(algorithm: Algorithm, slow_start: SlowStart, products: u64) -> (f64, u64) {
    let mut world = World::new(bottleneck(products));
    let flow = world.add(algorithm, slow_start);
    let mut longest = 0;
    for _ in 0..10_000 {
        if world.flows[flow].controller.phase() != Phase::SlowStart {
            break;
        }
        world.run_watched(ms(1), |world| longest = longest.max(world.queued()));
    }
    assert_ne!(world.flows[flow].controller.phase(), Phase::SlowStart);
    world.run(ms(400));
    (longest as f64 / world.shape.bdp() as f64, world.flows[flow].lost)
}

#[test]
fn rising_round_trips_end_slow_start_before_a_deep_queue_is_full() {
    for algorithm in [Algorithm::NewReno, Algorithm::Cubic] {
        let (plain, lost) = slow_start(algorithm, SlowStart::Plain, 4);
        assert!(plain > 3.9 && lost > 100, "{algorithm:?} without: {plain} products, {lost} lost");
        let (careful, lost) = slow_start(algorithm, SlowStart::Hystart, 4);
        assert!(careful < 3.5 && lost == 0, "{algorithm:?} with: {careful} products, {lost} lost");
    }
}

#[test]
fn a_bulk_transfer_keeps_its_bottleneck_busy() {
    for algorithm in [Algorithm::NewReno, Algorithm::Cubic] {
        for products in [1, 4] {
            let mut world = World::new(bottleneck(products));
            world.add(algorithm, SlowStart::Hystart);
            world.run(secs(2));
            let share: f64 = world.shares(secs(20)).iter().sum();
            assert!(share > 0.9, "{algorithm:?} with a queue of {products} products: {share}");
        }
    }
}

#[test]
fn bbr_and_cubic_leave_each_other_a_part_of_the_bottleneck() {
    for (products, least) in [(1, 0.1), (2, 0.15), (4, 0.15)] {
        for seed in 1..=2 {
            let mut world = World::seeded(bottleneck(products), seed);
            world.add(Algorithm::Cubic, SlowStart::Hystart);
            world.run(ms(211 * seed));
            world.add(Algorithm::Bbr3, SlowStart::Hystart);
            world.run(secs(10));
            let shares = world.shares(secs(60));
            assert!(shares.iter().all(|share| *share >= least), "queue of {products} products, seed {seed}: {shares:?}");
            assert!(shares.iter().sum::<f64>() > 0.9, "queue of {products} products, seed {seed}: {shares:?}");
        }
    }
}

/// A path with room for half a second of it in the queue, or for nearly nothing.
fn long_path(queue: Duration) -> Shape {
    let shape = Shape { rate: 20_000_000, rtt: ms(200), queue: 0, lost_per_million: 0 };
    Shape { queue: shape.rate / 8_000 * queue.as_millis() as u64, ..shape }
}

#[test]
fn leaps_fill_a_long_path_sooner() {
    for algorithm in [Algorithm::NewReno, Algorithm::Cubic] {
        let delivered = |slow_start| {
            let mut world = World::new(long_path(ms(100)));
            let flow = world.add(algorithm, slow_start);
            world.run(ms(1_000));
            world.flows[flow].delivered
        };
        let (doubling, leaping) = (delivered(SlowStart::Hystart), delivered(SlowStart::Leaping));
        assert!(leaping > 2 * doubling, "{algorithm:?}: {leaping} bytes in the first second, {doubling} without leaps");
    }
}

/// How the last doubling meets the end of the queue is luck: for a single queue it may be a little more.
#[test]
fn slow_start_with_leaps_loses_no_more_at_its_end() {
    for algorithm in [Algorithm::NewReno, Algorithm::Cubic] {
        let mut sums = (0, 0);
        for queue in [5, 10, 20, 50, 100, 200, 400] {
            let lost = |slow_start| {
                let mut world = World::new(long_path(ms(queue)));
                let flow = world.add(algorithm, slow_start);
                world.run(secs(4));
                world.flows[flow].lost
            };
            let (doubling, leaping) = (lost(SlowStart::Hystart), lost(SlowStart::Leaping));
            assert!(leaping <= doubling + doubling / 4, "{algorithm:?}, queue of {queue} ms: {leaping} lost, {doubling} without leaps");
            sums = (sums.0 + doubling, sums.1 + leaping);
        }
        assert!(sums.1 < sums.0, "{algorithm:?}: {} lost in all, {} without leaps", sums.1, sums.0);
    }
}

/// Six bulk transfers, to which four come one after the other.
#[test]
fn in_a_crowd_a_leaping_flow_costs_a_few_packets_more_than_a_doubling_one() {
    for products in [1, 2, 4] {
        let found = |slow_start| {
            let mut world = World::seeded(bottleneck(products), 7);
            let mut refused = Vec::new();
            for flow in 0..6_u64 {
                world.add(Algorithm::Cubic, SlowStart::Hystart);
                world.run(ms(700 + 13 * flow));
            }
            world.run(secs(5));
            for _ in 0..4 {
                let before = world.refused;
                world.add(Algorithm::Cubic, slow_start);
                world.run(secs(1));
                refused.push(world.refused - before);
                world.run(secs(3));
            }
            refused.iter().sum::<u64>()
        };
        let (doubling, leaping) = (found(SlowStart::Hystart), found(SlowStart::Leaping));
        // Of about 5,000 packets that pass in the second after each of the four.
        assert!(leaping <= doubling + 4 * 40, "queue of {products} products: {leaping} refused, {doubling} without leaps");
    }
}
