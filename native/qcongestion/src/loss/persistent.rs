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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use qbase::PathId;

    use super::*;

    const APPLICATION: SpaceId = SpaceId::Application(PathId::ZERO);
    /// With it the probe timeout of [`two_second_pto`] is 2 s and the duration 6 s.
    const MAX_ACK_DELAY: Duration = Duration::from_millis(200);

    const fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    /// First sample at `first_sample_at` milliseconds.
    fn two_second_pto(first_sample_at: u64) -> RttEstimator {
        let mut rtt = RttEstimator::new(Duration::from_millis(333));
        rtt.on_sample(at(first_sample_at), Duration::from_millis(600), Duration::ZERO);
        assert_eq!(rtt.pto_base() + MAX_ACK_DELAY, Duration::from_secs(2));
        rtt
    }

    /// Losses at these times, in order.
    fn lose(watch: &mut PersistentCongestion, rtt: &RttEstimator, times: &[u64]) {
        for &time in times {
            watch.on_lost(at(time), rtt);
        }
    }

    // RFC 9002 §7.6.3, with the RTT sample the example takes for granted before packet 2.
    #[test]
    fn losses_over_seven_seconds_with_a_duration_of_six_are_persistent() {
        let rtt = two_second_pto(500);
        let mut watch = PersistentCongestion::new();
        watch.on_acked(APPLICATION, 1, at(0));
        assert_eq!(watch.verdict(&rtt, MAX_ACK_DELAY), Persistence::None);
        watch.on_acked(APPLICATION, 9, at(12_000));
        lose(&mut watch, &rtt, &[1_000, 2_000, 3_000, 4_000, 5_000, 6_000, 8_000]);
        assert_eq!(watch.verdict(&rtt, MAX_ACK_DELAY), Persistence::Established);
        assert_eq!(watch.verdict(&rtt, MAX_ACK_DELAY), Persistence::None, "one verdict per row of losses");
    }

    #[test]
    fn duration_must_be_exceeded_and_includes_max_ack_delay() {
        let rtt = two_second_pto(0);
        // (newest loss in ms after the oldest, max_ack_delay in ms, verdict)
        let cases = [
            (6_000, 200, Persistence::None),
            (6_001, 200, Persistence::Established),
            (6_075, 225, Persistence::None),
            (6_076, 225, Persistence::Established),
        ];
        for (newest, delay, expected) in cases {
            let mut watch = PersistentCongestion::new();
            lose(&mut watch, &rtt, &[100, 3_000, 100 + newest]);
            assert_eq!(watch.verdict(&rtt, Duration::from_millis(delay)), expected, "{newest} {delay}");
        }
    }

    #[test]
    fn an_acknowledged_packet_between_losses_prevents_it() {
        let rtt = two_second_pto(0);
        for acked in [2_000, 5_000, 8_000] {
            let mut watch = PersistentCongestion::new();
            watch.on_acked(APPLICATION, 5, at(acked));
            lose(&mut watch, &rtt, &[1_000, 4_000, 6_000, 9_000]);
            assert_eq!(watch.verdict(&rtt, MAX_ACK_DELAY), Persistence::None, "acknowledged: {acked}");
        }
    }

    #[test]
    fn acknowledged_packet_of_another_space_counts_too() {
        let rtt = two_second_pto(0);
        let mut watch = PersistentCongestion::new();
        watch.on_acked(SpaceId::Handshake, 7, at(5_000));
        lose(&mut watch, &rtt, &[1_000, 9_000]);
        assert_eq!(watch.verdict(&rtt, MAX_ACK_DELAY), Persistence::None);
    }

    #[test]
    fn packets_acknowledged_outside_the_row_do_not_matter() {
        let rtt = two_second_pto(0);
        let mut watch = PersistentCongestion::new();
        for (number, time) in [(1, 500), (2, 900), (30, 9_500), (31, 9_600)] {
            watch.on_acked(APPLICATION, number, at(time));
        }
        lose(&mut watch, &rtt, &[1_000, 9_000]);
        assert_eq!(watch.verdict(&rtt, MAX_ACK_DELAY), Persistence::Established);
    }

    #[test]
    fn losses_declared_by_several_ack_frames_add_up() {
        let rtt = two_second_pto(0);
        let mut watch = PersistentCongestion::new();
        watch.on_acked(APPLICATION, 20, at(10_000));
        lose(&mut watch, &rtt, &[1_000, 4_000]);
        assert_eq!(watch.verdict(&rtt, MAX_ACK_DELAY), Persistence::None);
        watch.on_acked(APPLICATION, 21, at(10_100));
        lose(&mut watch, &rtt, &[8_000]);
        assert_eq!(watch.verdict(&rtt, MAX_ACK_DELAY), Persistence::Established);
    }

    #[test]
    fn losses_before_the_first_rtt_sample_do_not_count() {
        let rtt = two_second_pto(5_000);
        let mut watch = PersistentCongestion::new();
        lose(&mut watch, &rtt, &[1_000, 5_000, 6_000, 10_000]);
        assert_eq!(watch.verdict(&rtt, MAX_ACK_DELAY), Persistence::None);
        lose(&mut watch, &rtt, &[12_001]);
        assert_eq!(watch.verdict(&rtt, MAX_ACK_DELAY), Persistence::Established);
        let mut unsampled = PersistentCongestion::new();
        let rtt = RttEstimator::new(Duration::from_millis(333));
        lose(&mut unsampled, &rtt, &[1_000, 100_000]);
        assert_eq!(unsampled.verdict(&rtt, MAX_ACK_DELAY), Persistence::None);
    }

    #[test]
    fn late_acknowledgement_of_a_lost_packet_breaks_the_row() {
        let rtt = two_second_pto(0);
        let mut watch = PersistentCongestion::new();
        lose(&mut watch, &rtt, &[1_000, 3_000, 5_000]);
        watch.on_acked(APPLICATION, 2, at(3_000));
        lose(&mut watch, &rtt, &[9_000]);
        assert_eq!(watch.verdict(&rtt, MAX_ACK_DELAY), Persistence::None);
    }

    #[test]
    fn acknowledged_packets_take_constant_memory() {
        let rtt = two_second_pto(0);
        let mut watch = PersistentCongestion::new();
        for number in 0..10_000 {
            watch.on_acked(APPLICATION, 3 * number, at(1 + number));
        }
        assert!(watch.acked.len() <= RUNS);
        lose(&mut watch, &rtt, &[100, 9_000]);
        assert_eq!(watch.verdict(&rtt, MAX_ACK_DELAY), Persistence::None, "forgotten runs still separate");
        lose(&mut watch, &rtt, &[20_000, 27_000]);
        assert_eq!(watch.verdict(&rtt, MAX_ACK_DELAY), Persistence::Established);
    }

    #[test]
    fn descending_ranges_join_into_one_run() {
        let mut watch = PersistentCongestion::new();
        for frame in 0..100_u64 {
            for number in (frame * 10..frame * 10 + 10).rev() {
                watch.on_acked(APPLICATION, number, at(number));
            }
        }
        watch.make_room();
        assert_eq!(watch.acked.len(), 1);
        assert_eq!(watch.floor, Timestamp::ZERO, "nothing had to be forgotten");
    }

    proptest! {
        // Never a verdict that the packets' fates do not support.
        #[test]
        fn verdict_implies_an_unbroken_row_of_losses(fates in prop::collection::vec((1_u64..2_000, any::<bool>()), 2..80)) {
            let rtt = two_second_pto(0);
            let mut watch = PersistentCongestion::new();
            let mut time = 0;
            let packets: Vec<(u64, bool)> = fates.into_iter().map(|(gap, lost)| { time += gap; (time, lost) }).collect();
            for (number, &(sent_at, _)) in packets.iter().enumerate().rev().filter(|(_, packet)| !packet.1) {
                watch.on_acked(APPLICATION, number as u64, at(sent_at));
            }
            let mut verdict = Persistence::None;
            for &(sent_at, _) in packets.iter().filter(|packet| packet.1) {
                watch.on_lost(at(sent_at), &rtt);
                if watch.verdict(&rtt, MAX_ACK_DELAY) == Persistence::Established {
                    verdict = Persistence::Established;
                }
            }
            let longest = packets.split(|packet| !packet.1).filter_map(|row| Some(row.last()?.0 - row.first()?.0)).max().unwrap_or(0);
            let islands = packets.split(|packet| packet.1).filter(|row| !row.is_empty()).count();
            if verdict == Persistence::Established {
                prop_assert!(longest > 6_000);
            } else if islands <= RUNS {
                prop_assert!(longest <= 6_000, "missed a row of {longest} ms");
            }
        }
    }
}
