//! Random worlds: two lossy paths, one of which may die, streams both ways. Whatever happens, the bytes are exact.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use qbase::{Direction, Role};
use qcongestion::algorithm::Algorithm;
use qconnection::{
    Connection, Event, Scheduler, SendLimits, TransportConfig, connection::events::PathEventKind, path::PathState,
};
use qsim::{
    Directions, EcnTreatment, Failure, Host, LinkShape, LossModel, Pair, PairConfig, Queue, Random, Reorder,
    script::{Action, When},
};

use crate::common;
use common::{FIRST, SECOND, for_each_seed, ms, secs};

#[test]
fn two_lossy_paths_of_which_one_dies_deliver_every_byte() -> Result<(), Failure> {
    let (worlds, with_two_paths) = (AtomicU64::new(0), AtomicU64::new(0));
    for_each_seed(0..2_000, |seed| {
        worlds.fetch_add(1, Ordering::Relaxed);
        if run(seed)? == Joined::ByBoth {
            with_two_paths.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    })?;
    let (worlds, with_two_paths) = (worlds.into_inner(), with_two_paths.into_inner());
    assert!(with_two_paths * 100 >= worlds * 98, "only {with_two_paths} of {worlds} worlds had two paths");
    Ok(())
}

/// How the hosts of a world were joined before the accident.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Joined {
    /// Over both links.
    ByBoth,
    /// Every challenge on the second link, or every answer, was lost.
    ByFirst,
}

/// One random world, from its seed alone.
fn run(seed: u64) -> Result<Joined, Failure> {
    let mut random = Random::labelled(seed, 0x7357);
    let config = config(seed, &mut random);
    let mut pair = Pair::new(config)?;
    let early = random.chance(0.5);
    let mut total = if early { transfers(&mut pair, &mut random) } else { 0 };
    pair.run_until(|pair| joined(pair).is_some(), secs(60))?;
    if !early {
        total = transfers(&mut pair, &mut random);
    }
    let joined = joined(&pair).unwrap_or(Joined::ByFirst);
    // A path that dies while it is the only one is another story.
    if joined == Joined::ByBoth {
        accident(&mut pair, &mut random, total);
    }
    pair.run_until_delivered(secs(300))?;
    Ok(joined)
}

/// How the hosts are joined, once both know.
fn joined(pair: &Pair) -> Option<Joined> {
    let gone = |event: &Event| match event {
        Event::Path(event) => matches!(event.kind, PathEventKind::Abandoned(_)),
        _ => false,
    };
    let hosts = [pair.client(), pair.server()];
    if hosts.iter().all(|host| host.first(gone).is_some()) {
        return Some(Joined::ByFirst);
    }
    let has_both = |host: &Host| {
        let open = |connection: &Connection| connection.paths().filter(|path| path.state == PathState::Open).count();
        host.connection().is_some_and(|connection| connection.is_confirmed() && open(connection) == 2)
    };
    hosts.into_iter().all(has_both).then_some(Joined::ByBoth)
}

fn config(seed: u64, random: &mut Random) -> PairConfig {
    let links = vec![shape(random), shape(random)];
    let transport = |random: &mut Random| TransportConfig {
        congestion: pick(random, &[Algorithm::Cubic, Algorithm::NewReno]),
        scheduler: pick(random, &[Scheduler::MinRtt, Scheduler::MinRtt, Scheduler::RoundRobin, Scheduler::Redundant]),
        stream_window: 16_000 + random.below(200_000),
        connection_window: 32_000 + random.below(400_000),
        bidirectional_streams: 1 + random.below(20),
        unidirectional_streams: 1 + random.below(20),
        initial_mtu: pick(random, &[1_200, 1_280, 1_452]),
        ..TransportConfig::default()
    };
    let limits = SendLimits { max_segments: pick(random, &[1, 2, 7, 64]) };
    let (client, server) = (transport(random), transport(random));
    PairConfig { client, server, limits, ..PairConfig::new(seed, links) }
}

fn shape(random: &mut Random) -> LinkShape {
    let share = random.fraction() * 0.1;
    let reorder = Reorder { probability: random.fraction() * 0.3, by: ms(random.below(80)) };
    LinkShape {
        delay: Duration::from_micros(200 + random.below(60_000)),
        jitter: ms(random.below(10)),
        rate_bits_per_sec: random.chance(0.7).then(|| 1_000_000 + random.below(40_000_000)),
        queue: pick(
            random,
            &[Queue::HundredMillis, Queue::TailDrop { bytes: 6_000 }, Queue::TailDrop { bytes: 60_000 }],
        ),
        loss: match random.below(4) {
            0 => LossModel::None,
            1 => LossModel::bursty(share, 1.0 + random.fraction() * 5.0),
            _ => LossModel::Independent(share),
        },
        duplicate: if random.chance(0.5) { random.fraction() * 0.2 } else { 0.0 },
        reorder: random.chance(0.5).then_some(reorder),
        ecn: pick(random, &[EcnTreatment::Pass, EcnTreatment::Mark, EcnTreatment::Bleach]),
        ..LinkShape::default()
    }
}

/// Starts transfers of 50 to 200 KB in all; returns what the server is to read.
fn transfers(pair: &mut Pair, random: &mut Random) -> u64 {
    let mut left = 50_000 + random.below(150_000);
    let mut forth = 0;
    while left > 0 {
        let len = (1 + random.below(60_000)).min(left);
        let direction = pick(random, &[Direction::Bidirectional, Direction::Unidirectional]);
        let role = pick(random, &[Role::Client, Role::Server]);
        pair.host_mut(role).traffic_mut().send(direction, len);
        left -= len;
        forth += if role.is_client() { len } else { 0 };
    }
    if random.chance(0.5) {
        pair.server_mut().traffic_mut().reply_with(random.below(10_000));
    }
    forth
}

/// One path dies for good, for a while, or in one direction; or nothing happens.
fn accident(pair: &mut Pair, random: &mut Random, total: u64) {
    let victim = pick(random, &[FIRST, SECOND]);
    let directions = pick(random, &[Directions::Both, Directions::Both, Directions::AToB, Directions::BToA]);
    // A first path that dies before the handshake is through is another story: the client has no second one yet.
    let at = qsim::Clock::START + ms(1_500 + random.below(1_000));
    let when =
        if random.chance(0.5) { When::At(at) } else { When::Received(Role::Server, 1 + random.below(total.max(1))) };
    if random.chance(0.8) {
        pair.plan(when, Action::Cut(victim, directions));
    }
    if random.chance(0.3) {
        pair.plan(When::At(at + ms(random.below(20_000))), Action::Restore(victim, Directions::Both));
    }
}

fn pick<T: Copy>(random: &mut Random, choices: &[T]) -> T {
    choices[usize::try_from(random.below(choices.len() as u64)).unwrap_or_default()]
}
