//! BBR on a bottleneck, after the draft's list of test cases.

use std::time::Duration;

use super::*;
use crate::{
    Algorithm, SlowStart,
    algorithm::{
        link::{self, Shape, World, bottleneck, ms, secs},
        tests::{acked, at, lost, rtt_100ms},
    },
};

fn world(shape: Shape, flows: usize) -> World {
    let mut world = World::new(shape);
    for _ in 0..flows {
        world.add(Algorithm::Bbr3, SlowStart::Hystart);
    }
    world
}

/// The state of a flow, out of what it prints.
fn state(world: &World) -> String {
    let text = format!("{:?}", world.flows[0].controller);
    let from = text.find(" state: ").expect("a state") + 8;
    text[from..].chars().take_while(|letter| letter.is_alphanumeric()).collect()
}

/// The states of the first flow in their order, looked at every half round trip.
fn states(world: &mut World, time: Duration) -> Vec<String> {
    let mut seen: Vec<String> = Vec::new();
    for _ in 0..time.as_millis() / 20 {
        world.run(ms(20));
        let state = state(world);
        if seen.last() != Some(&state) {
            seen.push(state);
        }
    }
    seen
}

#[test]
fn a_bottleneck_is_used_and_its_queue_stays_short() {
    for products in [1, 4, 20] {
        let mut world = world(bottleneck(products), 1);
        world.run(secs(3));
        let before = world.flows[0].delivered;
        let (mut sum, mut count) = (0, 0);
        world.run_watched(secs(20), |world| {
            sum += world.queued();
            count += 1;
        });
        let share = (world.flows[0].delivered - before) as f64 * 8.0 / 20.0 / 50e6;
        let mean = sum as f64 / f64::from(count) / world.shape.bdp() as f64;
        assert!(share > 0.93 && mean < 0.15, "queue of {products}: {share} of the rate, {mean} products wait");
    }
}

#[test]
fn random_losses_up_to_the_threshold_cost_little() {
    for (lost_per_million, least) in [(1_000, 0.93), (10_000, 0.9), (20_000, 0.85)] {
        let mut world = world(Shape { lost_per_million, ..bottleneck(1) }, 1);
        world.run(secs(3));
        let share = world.shares(secs(20))[0];
        assert!(share > least, "{lost_per_million} of a million lost: {share}");
        assert!(world.refused < 200, "and the queue is not the cause: {}", world.refused);
    }
}

#[test]
fn startup_finds_the_rate_within_a_second() {
    let mut world = world(bottleneck(4), 1);
    let seen = states(&mut world, secs(1));
    assert!(seen.starts_with(&["Startup".to_owned(), "Drain".to_owned()]) && seen.ends_with(&["Cruise".to_owned()]), "{seen:?}");
    let paced = world.flows[0].controller.pacing_rate().unwrap_or(0) * 8;
    assert!((48_000_000..51_000_000).contains(&paced), "{paced} bits per second");
    assert_eq!(world.refused, 0);
}

#[test]
fn probes_for_bandwidth_come_in_cycles() {
    let mut world = world(bottleneck(4), 1);
    world.run(secs(1));
    let seen = states(&mut world, secs(30));
    let cycle = ["Cruise", "Refill", "Up", "Down"];
    let probes = seen.windows(4).filter(|states| *states == cycle).count();
    assert!((6..=15).contains(&probes), "{probes} in 30 s: {seen:?}");
}

#[test]
fn the_queue_is_emptied_every_five_seconds() {
    let mut world = world(bottleneck(4), 1);
    world.run(secs(1));
    let mut least = u64::MAX;
    let mut probes = 0;
    for _ in 0..4 {
        let mut began = 0;
        for step in 0..300 {
            world.run(ms(20));
            if state(&world) == "ProbeRtt" {
                began += 1;
                least = least.min(world.flows[0].in_flight);
                assert!(world.queued() <= world.shape.bdp() / 2 + link::MTU, "{step}");
            }
        }
        probes += u32::from(began > 0);
        assert!(began < 30, "ProbeRTT lasts 200 ms and a round trip: {} ms", began * 20);
    }
    assert!(probes >= 3, "{probes} in 24 s");
    assert!(least < world.shape.bdp() * 55 / 100, "{least} bytes in flight");
}

#[test]
fn two_flows_come_near_each_other() {
    let mut world = world(bottleneck(1), 1);
    world.run(secs(10));
    world.add(Algorithm::Bbr3, SlowStart::Hystart);
    world.run(secs(50));
    let shares = world.shares(secs(20));
    assert!(shares.iter().sum::<f64>() > 0.93, "{shares:?}");
    assert!(shares.iter().all(|share| *share > 0.3), "{shares:?}");
}

#[test]
fn ten_times_the_bandwidth_is_found_and_a_tenth_is_accepted() {
    let mut world = world(Shape { rate: 5_000_000, ..bottleneck(1) }, 1);
    world.run(secs(6));
    world.shape.rate = 50_000_000;
    world.run(secs(15));
    let share = world.shares(secs(5))[0];
    assert!(share > 0.85, "{share} after it grew");
    world.shape.rate = 5_000_000;
    world.run(secs(15));
    let share = world.shares(secs(5))[0];
    assert!(share > 0.85, "{share} after it fell");
    assert!(world.queued() < world.shape.queue / 2, "{} bytes wait", world.queued());
}

#[test]
fn less_than_a_packet_of_bandwidth_and_delay_keeps_moving() {
    let mut world = world(Shape { rate: 500_000, rtt: ms(10), queue: 15_000, lost_per_million: 0 }, 1);
    world.run(secs(5));
    let share = world.shares(secs(20))[0];
    assert!(share > 0.9, "{share}");
    assert!(world.flows[0].controller.window() >= 4 * link::MTU);
}

#[test]
fn an_application_that_sends_little_never_ends_startup() {
    let mut world = world(bottleneck(4), 1);
    world.flows[0].supply = 0;
    for _ in 0..100 {
        world.supply(0, 12_000);
        world.run(ms(50));
    }
    assert_eq!(state(&world), "Startup");
}

#[test]
fn silence_stands_in_for_a_probe_of_the_round_trip() {
    let mut world = world(bottleneck(4), 1);
    world.run(secs(3));
    world.flows[0].supply = 0;
    world.run(secs(6));
    world.supply(0, 20_000_000);
    assert!(!states(&mut world, ms(1_000)).contains(&"ProbeRtt".to_owned()));
}

/// In ProbeBW_UP with 4 % of the flight lost at 1,000 ms.
fn probing() -> Bbr3 {
    let mut controller = Bbr3::new(MIN_MTU);
    controller.on_sent(at(0), 12_000, 12_000);
    controller.on_acked(at(100), &Acked { rtt_sample: Some(ms(100)), ..acked(12_000, at(0)) }, &rtt_100ms());
    controller.full_pipe.ever = true;
    controller.state = State::Up;
    controller.probe.samples = true;
    controller.on_sent(at(900), 60_000, 60_000);
    controller
}

#[test]
fn too_many_losses_end_a_probe_and_bound_what_is_in_flight() {
    let mut controller = probing();
    controller.on_lost(at(1_000), &lost(at(900)));
    assert_eq!(controller.state, State::Up, "2 % of the flight are tolerated");
    controller.on_lost(at(1_001), &Lost { bytes: 1_200, ..lost(at(900)) });
    assert_eq!((controller.state, controller.probe.was_too_high), (State::Down, true));
    assert!(controller.model.inflight_longterm <= 60_000, "{}", controller.model.inflight_longterm);
}

#[test]
fn a_spurious_loss_brings_the_probe_back() {
    let mut controller = probing();
    let window = controller.window();
    controller.on_lost(at(1_000), &Lost { bytes: 2_400, ..lost(at(900)) });
    assert_eq!((controller.state, controller.phase()), (State::Down, Phase::Recovery));
    controller.on_late(at(1_010), 2_400);
    controller.on_spurious_loss(at(1_010));
    assert_eq!((controller.state, controller.model.inflight_longterm), (State::Refill, u64::MAX));
    assert!(controller.window() >= window && controller.phase() != Phase::Recovery);
}

#[test]
fn a_mark_ends_startup_and_is_not_undone() {
    let mut controller = Bbr3::new(MIN_MTU);
    controller.on_sent(at(0), 12_000, 12_000);
    controller.on_ecn_ce(at(100), at(0));
    controller.on_acked(at(100), &Acked { rtt_sample: Some(ms(100)), ..acked(12_000, at(0)) }, &rtt_100ms());
    assert_ne!(controller.state, State::Startup);
    controller.on_spurious_loss(at(110));
    assert_ne!(controller.state, State::Startup);
}

#[test]
fn persistent_congestion_leaves_two_datagrams_until_something_arrives() {
    let mut controller = probing();
    let window = controller.window();
    controller.on_lost(at(5_000), &Lost { persistent: Persistence::Established, ..lost(at(900)) });
    assert_eq!(controller.window(), 2_400);
    controller.on_sent(at(5_001), 1_200, 1_200);
    controller.on_acked(at(5_100), &acked(1_200, at(5_001)), &rtt_100ms());
    assert!(controller.window() > 2_400 && controller.window() <= window + 1_200);
}
