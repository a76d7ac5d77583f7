//! Controllers over a bottleneck: how far slow start overshoots, what is left of the rate.

use super::{
    Algorithm, SlowStart,
    link::{World, bottleneck, ms, secs},
};
use crate::Phase;

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
