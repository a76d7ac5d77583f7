//! Where each scheduler is at home: one world a scheduler, and one number in which less is better.
//!
//! Called by the scenarios, which compare each scheduler with `min-rtt` in its own world, and by the example `schedulers`.

use std::time::Duration;

use qbase::{Direction::Unidirectional, PathId, Timestamp};
use qconnection::{Scheduler, TransportConfig, path::scheduler::{DEFAULT_WEIGHT, Deadline}};

use super::{LIMIT, median, open_paths};
use crate::{
    failure::Failure,
    link::{Directions, LinkDirection, LinkShape},
    network::LinkId,
    pair::{Pair, PairConfig},
    random::Random,
    script::{Action, When},
    traffic::TransferId,
};

/// A world for one scheduler.
#[derive(Clone, Copy, Debug)]
pub struct Home {
    /// Whose home it is.
    pub scheduler: Scheduler,
    /// What is counted, with its unit.
    pub metric: &'static str,
    run: fn(Scheduler, u64) -> Result<Outcome, Failure>,
}

/// What a run brought.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Outcome {
    /// The number; less is better.
    pub value: f64,
    /// Copies of bytes that were under way, as a share of all stream bytes.
    pub extra: f64,
}

impl Home {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self { scheduler: Scheduler::RoundRobin, metric: "p99 of 64 short streams, ms", run: short_streams },
        Self { scheduler: Scheduler::Weighted, metric: "distance from 4:1, share", run: four_to_one },
        Self { scheduler: Scheduler::Backup, metric: "bytes on the backup, kB", run: spare_path },
        Self { scheduler: Scheduler::Redundant, metric: "p99 of 16 KiB messages, ms", run: lossy_messages },
        Self { scheduler: Scheduler::Blest, metric: "2 MB through 64 KiB, ms", run: small_window },
        Self { scheduler: Scheduler::Ecf, metric: "2 MB through 64 KiB, ms", run: small_window },
        Self { scheduler: Scheduler::Deadline(Deadline::DEFAULT), metric: "p99 of 1 MB chunks, ms", run: outages },
    ];

    /// One run with this scheduler.
    ///
    /// # Errors
    /// The machine broke a rule or did not finish.
    pub fn run(&self, scheduler: Scheduler, seed: u64) -> Result<Outcome, Failure> {
        (self.run)(scheduler, seed)
    }

    /// Medians over seeds: with the scheduler, and with `min-rtt`.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn compare(&self, seeds: impl Iterator<Item = u64> + Clone) -> Result<(Outcome, Outcome), Failure> {
        let of = |scheduler: Scheduler| {
            let runs = seeds.clone().map(|seed| self.run(scheduler, seed)).collect::<Result<Vec<_>, _>>()?;
            let mut values: Vec<f64> = runs.iter().map(|run| run.value).collect();
            let mut extras: Vec<f64> = runs.iter().map(|run| run.extra).collect();
            values.sort_by(f64::total_cmp);
            extras.sort_by(f64::total_cmp);
            Ok(Outcome { value: median(&values), extra: median(&extras) })
        };
        Ok((of(self.scheduler)?, of(Scheduler::MinRtt)?))
    }
}

/// Two links with both paths open; the client sends.
fn world(scheduler: Scheduler, seed: u64, links: [LinkShape; 2], server: TransportConfig) -> Result<Pair, Failure> {
    let client = TransportConfig { scheduler, send_buffer: 4 << 20, ..TransportConfig::default() };
    // Ways of a real network are never equal to the nanosecond.
    let links = links.map(|link| LinkShape { jitter: Duration::from_millis(1), ..link });
    let mut pair = Pair::new(PairConfig { client, server, ..PairConfig::new(seed, links.to_vec()) })?;
    pair.run_until(|pair| pair.is_confirmed() && open_paths(pair) >= 2, LIMIT)?;
    Ok(pair)
}

fn link(delay: u64, megabits: u64) -> LinkShape {
    LinkShape::delayed(Duration::from_millis(delay)).at_rate(megabits * 1_000_000)
}

fn outcome(pair: &Pair, value: f64) -> Outcome {
    let statistics = pair.client().connection().map(|connection| connection.statistics()).unwrap_or_default();
    let sent: u64 = pair.client().traffic().all_outgoing().map(|outgoing| outgoing.len).sum();
    Outcome { value, extra: statistics.bytes_reinjected as f64 / sent.max(1) as f64 }
}

/// Sends messages on streams of their own at these instants; the times until each was read, in milliseconds, sorted.
fn messages(pair: &mut Pair, len: u64, at: &[Duration]) -> Result<Vec<f64>, Failure> {
    let start = pair.now();
    let mut waiting: Vec<(TransferId, Timestamp)> = Vec::new();
    let mut times = Vec::new();
    let mut next = 0;
    while times.len() < at.len() {
        while let Some(due) = at.get(next).map(|after| start + *after).filter(|due| *due <= pair.now()) {
            waiting.push((pair.client_mut().traffic_mut().send(Unidirectional, len), due));
            next += 1;
        }
        let due = at.get(next).map(|after| start + *after);
        match due {
            Some(due) if pair.next_event().is_none_or(|event| event > due) => pair.run_for(due.saturating_since(pair.now()))?,
            _ => pair.step()?,
        }
        let (now, client, server) = (pair.now(), pair.client().traffic(), pair.server().traffic());
        waiting.retain(|(id, sent_at)| {
            let is_here = client.outgoing(*id).is_some_and(|outgoing| server.has(outgoing));
            if is_here {
                times.push(now.saturating_since(*sent_at).as_secs_f64() * 1e3);
            }
            !is_here
        });
    }
    times.sort_by(f64::total_cmp);
    Ok(times)
}

/// The 99th of a hundred.
fn p99(sorted: &[f64]) -> f64 {
    let at = (sorted.len() * 99).div_ceil(100).saturating_sub(1);
    sorted.get(at).copied().unwrap_or_default()
}

/// 64 streams of 16 KiB at once over two equal paths.
fn short_streams(scheduler: Scheduler, seed: u64) -> Result<Outcome, Failure> {
    let mut pair = world(scheduler, seed, [link(20, 20), link(20, 20)], TransportConfig::default())?;
    let times = messages(&mut pair, 16 * 1_024, &[Duration::ZERO; 64])?;
    Ok(outcome(&pair, p99(&times)))
}

/// 10 MB with weights 4 and 1 over 20 and 5 Mbit/s.
fn four_to_one(scheduler: Scheduler, seed: u64) -> Result<Outcome, Failure> {
    let mut pair = world(scheduler, seed, [link(20, 20), link(20, 5)], TransportConfig::default())?;
    if let Some(connection) = pair.client_mut().connection_mut() {
        let _ = connection.set_path_weight(PathId::ZERO, 4 * DEFAULT_WEIGHT);
    }
    pair.client_mut().traffic_mut().send(Unidirectional, 10_000_000);
    pair.run_until_delivered(LIMIT)?;
    let carried = |link| pair.carried(LinkId(link), LinkDirection::AToB) as f64;
    let share = carried(0) / carried(1).max(1.0) / 4.0;
    Ok(outcome(&pair, (share - 1.0).abs()))
}

/// 5 MB over two equal paths, of which the second is to be spared.
fn spare_path(scheduler: Scheduler, seed: u64) -> Result<Outcome, Failure> {
    let mut pair = world(scheduler, seed, [link(20, 20), link(20, 20)], TransportConfig::default())?;
    let before = pair.carried(LinkId(1), LinkDirection::AToB);
    pair.client_mut().traffic_mut().send(Unidirectional, 5_000_000);
    pair.run_until_delivered(LIMIT)?;
    let carried = pair.carried(LinkId(1), LinkDirection::AToB) - before;
    Ok(outcome(&pair, carried as f64 / 1e3))
}

/// 100 messages of 16 KiB, one each 50 ms, over two paths that lose 5 %.
fn lossy_messages(scheduler: Scheduler, seed: u64) -> Result<Outcome, Failure> {
    let lossy = link(20, 20).with_loss(0.05);
    let mut pair = world(scheduler, seed, [lossy.clone(), lossy], TransportConfig::default())?;
    let at: Vec<Duration> = (0..100).map(|index| Duration::from_millis(50 * index)).collect();
    let times = messages(&mut pair, 16 * 1_024, &at)?;
    Ok(outcome(&pair, p99(&times)))
}

/// 2 MB into a receive window of 64 KiB, over a quick path and a slow one.
fn small_window(scheduler: Scheduler, seed: u64) -> Result<Outcome, Failure> {
    const WINDOW: u64 = 64 * 1_024;
    let server = TransportConfig {
        stream_window: WINDOW,
        max_stream_window: WINDOW,
        connection_window: WINDOW,
        max_connection_window: WINDOW,
        ..TransportConfig::default()
    };
    let mut pair = world(scheduler, seed, [link(10, 20), link(150, 5)], server)?;
    pair.client_mut().traffic_mut().send(Unidirectional, 2_000_000);
    let took = pair.run_until_delivered(LIMIT)?;
    Ok(outcome(&pair, took.as_secs_f64() * 1e3))
}

/// 30 chunks of 1 MB, each after the one before, while one link after the other is silent for 300 ms.
fn outages(scheduler: Scheduler, seed: u64) -> Result<Outcome, Failure> {
    let mut pair = world(scheduler, seed, [link(20, 10), link(20, 10)], TransportConfig::default())?;
    let mut random = Random::labelled(seed, 2);
    let mut at = pair.now();
    for turn in 0..40_u32 {
        at += Duration::from_millis(400) + random.duration_up_to(Duration::from_millis(800));
        let link = LinkId(turn % 2);
        pair.plan(When::At(at), Action::Cut(link, Directions::Both));
        at += Duration::from_millis(300);
        pair.plan(When::At(at), Action::Restore(link, Directions::Both));
    }
    let mut times = Vec::new();
    for _ in 0..30 {
        let start = pair.now();
        pair.client_mut().traffic_mut().send(Unidirectional, 1_000_000);
        pair.run_until_delivered(LIMIT)?;
        times.push(pair.now().saturating_since(start).as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    Ok(outcome(&pair, p99(&times)))
}
