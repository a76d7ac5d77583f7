//! HyStart++: slow start ends when round trips grow longer, before packets are lost (draft-ietf-tcpm-hystartplusplus-04).
//!
//! ```text
//!  slow start --a round's RTT rose--> conservative slow start --5 rounds--> congestion avoidance
//!       ^----------an RTT below the baseline-----/
//! ```
//! Decides how far an ACK may grow the window below the threshold. Called by the window of the loss-based controllers,
//! and only while no threshold was found (§4.3: the initial slow start). Never sets a window itself. Our senders pace,
//! so the growth of one ACK is not limited (§4.2's `L` is infinite).
//!
//! One rule is ours: conservative slow start also ends in a later round whose least RTT is twice that before it began.
//! Samples lag a round, so the window holds two to four times the path when it begins; five rounds more would overflow
//! any queue shorter than five times the path, and no jitter lifts the least of eight samples so far, twice.

use std::time::Duration;

use qbase::Timestamp;

use crate::{Acked, nanos_of};

/// Least growth of the RTT that counts (MIN_RTT_THRESH).
const MIN_RTT_THRESHOLD: u64 = 4_000_000;
/// Growth of the RTT that always counts (MAX_RTT_THRESH).
const MAX_RTT_THRESHOLD: u64 = 16_000_000;
/// Samples of a round that tell enough (N_RTT_SAMPLE).
const SAMPLES: u32 = 8;
/// Conservative slow start grows by this part of what is acknowledged (CSS_GROWTH_DIVISOR).
const GROWTH_DIVISOR: u64 = 4;
/// Rounds of conservative slow start, the one it begins in included (CSS_ROUNDS).
const ROUNDS: u32 = 5;

/// How a path looks for its capacity at first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum SlowStart {
    /// Doubling until the RTT rises or a packet is lost, and leaps where packets sent together show that the path carries
    /// much more.
    #[default]
    Leaping,
    /// Doubling until the RTT rises or a packet is lost.
    Hystart,
    /// Doubling until a packet is lost.
    Plain,
}

/// What slow start does after an ACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It goes on.
    GoOn,
    /// The window is large enough: it becomes the threshold.
    Leave,
}

/// Conservative slow start: was the exit premature?
#[derive(Clone, Copy, Debug)]
struct Conservative {
    /// The least RTT of the round that made us careful, nanoseconds (cssBaselineMinRtt).
    baseline: u64,
    /// The RTT from which a queue is certain, nanoseconds.
    certain: u64,
    /// Rounds so far.
    rounds: u32,
}

/// Round trips of the initial slow start of one path.
#[derive(Clone, Debug)]
pub(super) struct Hystart {
    /// The round ends with the ACK of a packet sent from here on.
    round_start: Timestamp,
    /// Least RTT of the round before, nanoseconds (lastRoundMinRTT).
    last: Option<u64>,
    /// Least RTT of this round, nanoseconds (currentRoundMinRTT).
    current: Option<u64>,
    /// RTT samples in this round.
    samples: u32,
    conservative: Option<Conservative>,
}

impl Hystart {
    /// A path without samples.
    pub(super) const fn new() -> Self {
        Self { round_start: Timestamp::ZERO, last: None, current: None, samples: 0, conservative: None }
    }

    /// Bytes the window grows by when `acked` bytes are acknowledged.
    pub(super) const fn growth(&self, acked: u64) -> u64 {
        match self.conservative {
            Some(_) => acked / GROWTH_DIVISOR,
            None => acked,
        }
    }

    /// Round trips have not grown.
    pub(super) const fn is_calm(&self) -> bool {
        self.conservative.is_none()
    }

    /// Takes the ACK's sample, after the window has grown.
    pub(super) fn on_acked(&mut self, now: Timestamp, acked: &Acked) -> Verdict {
        if acked.newest_sent_at >= self.round_start {
            self.round_start = now;
            self.last = self.current.take();
            self.samples = 0;
            if let Some(conservative) = &mut self.conservative {
                conservative.rounds = conservative.rounds.saturating_add(1);
                if conservative.rounds >= ROUNDS {
                    return Verdict::Leave;
                }
            }
        }
        acked.rtt_sample.map_or(Verdict::GoOn, |sample| self.on_sample(sample))
    }

    /// Compares this round with the last one, or with the baseline.
    fn on_sample(&mut self, sample: Duration) -> Verdict {
        let sample = nanos_of(sample);
        let current = self.current.map_or(sample, |current| current.min(sample));
        self.current = Some(current);
        self.samples = self.samples.saturating_add(1);
        if self.samples < SAMPLES {
            return Verdict::GoOn;
        }
        if let Some(conservative) = self.conservative {
            if current < conservative.baseline {
                self.conservative = None;
            } else if conservative.rounds > 0 && current >= conservative.certain {
                return Verdict::Leave;
            }
        } else if let Some(last) = self.last {
            let threshold = (last / 8).clamp(MIN_RTT_THRESHOLD, MAX_RTT_THRESHOLD);
            if current >= last.saturating_add(threshold) {
                let certain = last.saturating_add(last.max(MAX_RTT_THRESHOLD));
                self.conservative = Some(Conservative { baseline: current, certain, rounds: 0 });
            }
        }
        Verdict::GoOn
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algorithm::tests::{acked, at};

    /// Rounds of 100 ms with ten samples each, of these RTTs in milliseconds; the share of the acknowledged bytes that
    /// the window grew by in each round, and what the last ACK said.
    fn rounds(rtts: &[u64]) -> (Vec<u64>, Verdict) {
        let mut hystart = Hystart::new();
        let mut growth = Vec::new();
        let mut verdict = Verdict::GoOn;
        for (round, rtt) in (1..).zip(rtts) {
            for ack in 0..10 {
                let sample = Acked { rtt_sample: Some(Duration::from_millis(*rtt)), ..acked(400, at(100 * round + ack)) };
                if verdict == Verdict::GoOn {
                    verdict = hystart.on_acked(at(100 * round + 100 + ack), &sample);
                }
            }
            growth.push(hystart.growth(100));
        }
        (growth, verdict)
    }

    #[test]
    fn a_round_whose_rtt_rose_by_an_eighth_makes_slow_start_careful() {
        // (RTTs of the rounds in ms, growth per 100 bytes after each): an eighth, but at least 4 and at most 16 ms
        let cases: [(&[u64], &[u64]); 7] = [
            (&[80, 80, 80], &[100, 100, 100]),
            (&[80, 89], &[100, 100]),
            (&[80, 90], &[100, 25]),
            (&[8, 11], &[100, 100]),
            (&[8, 12], &[100, 25]),
            (&[400, 415], &[100, 100]),
            (&[400, 416], &[100, 25]),
        ];
        for (rtts, expected) in cases {
            assert_eq!(rounds(rtts).0, expected, "{rtts:?}");
        }
    }

    #[test]
    fn a_shorter_rtt_shows_that_the_exit_was_premature() {
        assert_eq!(rounds(&[80, 100, 99, 99]), (vec![100, 25, 100, 100], Verdict::GoOn));
        assert_eq!(rounds(&[80, 100, 80, 92]).0, [100, 25, 100, 25], "and slow start listens again");
    }

    #[test]
    fn five_rounds_of_longer_rtts_end_slow_start() {
        assert_eq!(rounds(&[80, 100, 100, 110, 120, 130]).1, Verdict::GoOn, "the round it began in counts");
        assert_eq!(rounds(&[80, 100, 100, 110, 120, 130, 130]).1, Verdict::Leave);
    }

    #[test]
    fn twice_the_rtt_in_a_later_round_ends_slow_start_at_once() {
        assert_eq!(rounds(&[80, 100, 159]).1, Verdict::GoOn);
        assert_eq!(rounds(&[80, 100, 160]).1, Verdict::Leave);
        assert_eq!(rounds(&[80, 200]).1, Verdict::GoOn, "one round may be a stall");
        assert_eq!(rounds(&[8, 14, 23]).1, Verdict::GoOn, "16 ms longer at least");
        assert_eq!(rounds(&[8, 14, 24]).1, Verdict::Leave);
    }

    #[test]
    fn fewer_than_eight_samples_decide_nothing() {
        let mut hystart = Hystart::new();
        for round in 1..20 {
            for ack in 0..7 {
                let rtt = Some(Duration::from_millis(50 * round));
                hystart.on_acked(at(100 * round + 100 + ack), &Acked { rtt_sample: rtt, ..acked(400, at(100 * round + ack)) });
            }
            assert_eq!(hystart.growth(100), 100);
        }
    }

    #[test]
    fn an_ack_without_a_sample_moves_rounds_only() {
        let mut hystart = Hystart::new();
        for round in 1..50 {
            assert_eq!(hystart.on_acked(at(100 * round + 100), &acked(4_000, at(100 * round))), Verdict::GoOn);
        }
        assert_eq!((hystart.current, hystart.samples), (None, 0));
    }
}
