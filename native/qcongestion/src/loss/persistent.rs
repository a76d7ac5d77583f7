//! Persistent congestion of one path: everything lost over a long span of sending times (RFC 9002 §7.6).
//!
//! Fed with the fate of ack-eliciting packets of all spaces of the path: first what an ACK frame newly acknowledged, then
//! what is lost because of it. Never looks at other paths (attacks C10) and never touches the window: it gives a verdict
//! for [`Lost::persistent`](crate::Lost::persistent).
//!
//! The rule asks whether any packet between two lost ones was acknowledged. Packets of one burst share a sending time, so
//! an acknowledged packet also separates at equal times: the verdict errs towards "no".

use std::time::Duration;

use qbase::{SpaceId, Timestamp};

use crate::{Persistence, RttEstimator};

/// Probe timeouts that a span of losses must exceed (kPersistentCongestionThreshold, RFC 9002 §7.6.1).
pub const THRESHOLD: u32 = 3;
/// Runs of acknowledged packets remembered. Older ones separate as if everything before them had been acknowledged.
const RUNS: usize = 16;

/// Consecutive packet numbers that were all acknowledged, with the times the outer two were sent.
#[derive(Clone, Copy, Debug)]
struct Run {
    space: SpaceId,
    low: u64,
    high: u64,
    low_sent_at: Timestamp,
    high_sent_at: Timestamp,
}

impl Run {
    /// Grows by a neighbour; false if `number` is none.
    fn take(&mut self, space: SpaceId, number: u64, sent_at: Timestamp) -> bool {
        if self.space != space {
            return false;
        }
        if self.high.checked_add(1) == Some(number) {
            self.high = number;
            self.high_sent_at = self.high_sent_at.max(sent_at);
            return true;
        }
        if number.checked_add(1) == Some(self.low) {
            self.low = number;
            self.low_sent_at = self.low_sent_at.min(sent_at);
            return true;
        }
        false
    }
}

/// Watches one path for persistent congestion (RFC 9002 §7.6.2).
#[derive(Clone, Debug, Default)]
pub struct PersistentCongestion {
    /// Sending times of the oldest and newest packet of the newest unbroken row of losses.
    span: Option<(Timestamp, Timestamp)>,
    /// Acknowledged packets, at most [`RUNS`] entries.
    acked: Vec<Run>,
    /// Entry that grew last; the next packet of an ACK range is its neighbour.
    cursor: usize,
    /// Losses before this time are never in one row with others: memory of forgotten runs.
    floor: Timestamp,
}

impl PersistentCongestion {
    /// A path without losses.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An ack-eliciting packet was newly acknowledged, also one that had counted as lost. Any order.
    pub fn on_acked(&mut self, space: SpaceId, number: u64, sent_at: Timestamp) {
        if let Some((oldest, newest)) = self.span
            && oldest <= sent_at
            && sent_at <= newest
        {
            self.span = (sent_at < newest).then_some((newest, newest));
        }
        if self.acked.get_mut(self.cursor).is_some_and(|run| run.take(space, number, sent_at)) {
            return;
        }
        if let Some(index) = self.acked.iter_mut().rposition(|run| run.take(space, number, sent_at)) {
            self.cursor = index;
            return;
        }
        if self.acked.len() >= RUNS {
            self.make_room();
        }
        self.cursor = self.acked.len();
        self.acked.push(Run { space, low: number, high: number, low_sent_at: sent_at, high_sent_at: sent_at });
    }

    /// An ack-eliciting packet was declared lost. Oldest first within a space, after [`on_acked`](Self::on_acked) for the
    /// same ACK frame. Ignored if it was sent before there was an RTT sample.
    pub fn on_lost(&mut self, sent_at: Timestamp, rtt: &RttEstimator) {
        if rtt.first_sample_at().is_none_or(|first| sent_at <= first) {
            return;
        }
        self.span = match self.span {
            None => Some((sent_at, sent_at)),
            Some((oldest, newest)) if sent_at > newest => {
                Some(if self.separated(newest, sent_at) { (sent_at, sent_at) } else { (oldest, sent_at) })
            }
            Some((oldest, newest)) if sent_at < oldest && !self.separated(sent_at, oldest) => Some((sent_at, newest)),
            span => span,
        };
    }

    /// The verdict once all losses of an event were fed. [`Persistence::Established`] is given once per row of losses;
    /// the caller then also restarts `min_rtt` (RFC 9002 §5.2).
    pub fn verdict(&mut self, rtt: &RttEstimator, max_ack_delay: Duration) -> Persistence {
        match self.span {
            Some((oldest, newest)) if newest.saturating_since(oldest) > duration(rtt, max_ack_delay) => {
                self.span = None;
                Persistence::Established
            }
            _ => Persistence::None,
        }
    }

    /// Forgets everything: the path goes over another network now (RFC 9000 §9.4).
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// Whether a packet sent from `older` to `newer` was acknowledged.
    fn separated(&self, older: Timestamp, newer: Timestamp) -> bool {
        older <= self.floor || self.acked.iter().any(|run| run.high_sent_at >= older && run.low_sent_at <= newer)
    }

    /// Joins runs that have met, then forgets the oldest if none had.
    fn make_room(&mut self) {
        self.acked.sort_unstable_by_key(|run| (run.space, run.low));
        self.acked.dedup_by(|next, run| {
            let met = next.space == run.space && next.low <= run.high.saturating_add(1);
            if met {
                run.high = run.high.max(next.high);
                run.high_sent_at = run.high_sent_at.max(next.high_sent_at);
            }
            met
        });
        if self.acked.len() < RUNS {
            return;
        }
        let oldest = self.acked.iter().enumerate().min_by_key(|(_, run)| run.high_sent_at).map(|(index, _)| index);
        if let Some(index) = oldest {
            let run = self.acked.swap_remove(index);
            self.floor = self.floor.max(run.high_sent_at);
        }
    }
}

/// How long a row of losses must last: the probe timeout with `max_ack_delay`, times [`THRESHOLD`] (RFC 9002 §7.6.1).
#[must_use]
fn duration(rtt: &RttEstimator, max_ack_delay: Duration) -> Duration {
    rtt.pto_base().saturating_add(max_ack_delay).saturating_mul(THRESHOLD)
}
