//! What several paths are worth: downloads over fixed pairs of links, in numbers that can be compared with other stacks.
//!
//! Decides the cases (links, sender's controller, size) and how a run is counted; the targets stand in
//! `docs/guide/schedulers.md`. Called by the example `multipath`, which prints the table, and by the scenarios that
//! hold the targets. Never tunes the machine: everything but the case is its default.

mod homes;

pub use homes::{Home, Outcome};

use std::time::Duration;

use qbase::{Direction, PathId};
use qcongestion::Algorithm;
use qconnection::{AckPath, TransportConfig, path::PathState};

use crate::{failure::Failure, link::LinkShape, pair::{Pair, PairConfig}};

/// Bytes of a download.
pub const DOWNLOAD: u64 = 10_000_000;
/// Longest virtual time of a run.
const LIMIT: Duration = Duration::from_secs(300);

/// A pair of links and who sends over it.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its name in tables.
    pub name: &'static str,
    /// The links, the first with the handshake.
    pub links: Vec<LinkShape>,
    /// The sender's controller.
    pub congestion: Algorithm,
    /// Where the receiver sends its acknowledgements.
    pub ack_path: AckPath,
    /// What is to be reached.
    pub target: Target,
}

/// What is to be reached.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// So many Mbit/s.
    Throughput(f64),
    /// So many times the throughput of the first link alone.
    TimesSingle(f64),
}

impl Case {
    /// The cases of the table.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let link = |delay, rate| LinkShape::delayed(Duration::from_millis(delay)).at_rate(rate);
        let (fast, slow) = (link(10, 20_000_000), link(100, 10_000_000));
        let lossy = link(20, 20_000_000).with_loss(0.01);
        let case = |name, links: [&LinkShape; 2], congestion, target| {
            let links = links.into_iter().cloned().collect();
            Self { name, links, congestion, ack_path: AckPath::Same, target }
        };
        let (none, twenty) = (link(0, 20_000_000), link(20, 20_000_000));
        vec![
            case("equal-0ms", [&none, &none], Algorithm::Cubic, Target::Throughput(38.0)),
            case("equal-20ms", [&twenty, &twenty], Algorithm::Cubic, Target::Throughput(36.5)),
            case("hetero-fast-first", [&fast, &slow], Algorithm::Cubic, Target::Throughput(27.5)),
            case("hetero-slow-first", [&slow, &fast], Algorithm::Cubic, Target::Throughput(27.5)),
            case("loss-1pct-cubic", [&lossy, &lossy], Algorithm::Cubic, Target::TimesSingle(1.9)),
            case("loss-1pct-bbr", [&lossy, &lossy], Algorithm::Bbr3, Target::Throughput(30.0)),
        ]
    }

    /// The case with the first link only.
    #[must_use]
    pub fn single(&self) -> Self {
        Self { links: self.links.first().cloned().into_iter().collect(), ..self.clone() }
    }

    /// Mbit/s of a download, from the request to the last byte. The request waits for the paths.
    ///
    /// # Errors
    /// The machine broke a rule, or did not finish in five minutes of virtual time.
    pub fn run(&self, seed: u64) -> Result<f64, Failure> {
        let server = TransportConfig { congestion: self.congestion, ..TransportConfig::default() };
        let client = TransportConfig { ack_path: self.ack_path, ..TransportConfig::default() };
        let mut pair = Pair::new(PairConfig { client, server, ..PairConfig::new(seed, self.links.clone()) })?;
        pair.server_mut().traffic_mut().reply_with(DOWNLOAD);
        let paths = self.links.len();
        pair.run_until(|pair| pair.is_confirmed() && open_paths(pair) >= paths, LIMIT)?;
        pair.client_mut().traffic_mut().send(Direction::Bidirectional, 100);
        let took = pair.run_until(|pair| pair.client().traffic().received() >= DOWNLOAD, LIMIT)?;
        Ok(DOWNLOAD as f64 * 8.0 / took.as_secs_f64() / 1e6)
    }

    /// The runs of these seeds, the slowest first.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn runs(&self, seeds: impl IntoIterator<Item = u64>) -> Result<Vec<f64>, Failure> {
        let mut runs = seeds.into_iter().map(|seed| self.run(seed)).collect::<Result<Vec<_>, _>>()?;
        runs.sort_by(f64::total_cmp);
        Ok(runs)
    }
}

/// Middle of a sorted list; 0 of none.
#[must_use]
pub fn median(sorted: &[f64]) -> f64 {
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

/// Paths that both ends have validated.
fn open_paths(pair: &Pair) -> usize {
    let open = |host: &crate::host::Host| {
        let paths = host.connection().into_iter().flat_map(|connection| connection.paths().collect::<Vec<_>>());
        paths.filter(|path| path.state == PathState::Open || path.id == PathId::ZERO).count()
    };
    open(pair.client()).min(open(pair.server()))
}
