//! How much reordering a path is known for: the thresholds of loss detection follow spurious losses (RFC 9002 §6.1.1,
//! §6.1.2; the idea of RFC 8985 §7.4).
//!
//! Fed by the path with late acknowledgements and with loss episodes. Read by loss detection. Never below the RFC's
//! thresholds, never above fixed ones: a peer that feigns reordering delays only its own repairs.

use std::time::Duration;

use super::{PACKET_THRESHOLD, delay_of};
use crate::{RttEstimator, nanos_of};

/// Largest packet threshold.
pub const MAX_PACKET_THRESHOLD: u64 = 128;
/// The RFC's time threshold, eighths of the RTT.
const TIME_THRESHOLD: u64 = 9;
/// Largest time threshold, eighths of the RTT.
const MAX_TIME_THRESHOLD: u64 = 16;
/// Episodes of real losses after which the RFC's thresholds hold again.
const MEMORY: u8 = 16;

/// Thresholds of one path.
#[derive(Clone, Copy, Debug)]
pub struct Reordering {
    /// Packets sent later that must be acknowledged.
    packets: u64,
    /// Eighths of the RTT that must pass.
    eighths: u64,
    /// Episodes since the last spurious loss.
    episodes: u8,
}

impl Default for Reordering {
    fn default() -> Self {
        Self::new()
    }
}

impl Reordering {
    /// The RFC's thresholds.
    #[must_use]
    pub const fn new() -> Self {
        Self { packets: PACKET_THRESHOLD, eighths: TIME_THRESHOLD, episodes: 0 }
    }

    /// A packet that had been declared lost was acknowledged `after` it was sent, when one sent `distance` packets
    /// later had been acknowledged.
    pub fn on_late(&mut self, distance: u64, after: Duration, rtt: &RttEstimator) {
        self.episodes = 0;
        self.packets = self.packets.max(distance.saturating_add(1)).min(MAX_PACKET_THRESHOLD);
        let eighth = (rtt.longest_nanos() / 8).max(1);
        let needed = nanos_of(after).div_ceil(eighth);
        if needed <= MAX_TIME_THRESHOLD {
            self.eighths = self.eighths.max(needed);
        }
    }

    /// A loss episode started.
    pub const fn on_episode(&mut self) {
        self.episodes = self.episodes.saturating_add(1);
        if self.episodes > MEMORY {
            *self = Self::new();
        }
    }

    /// Packets sent later that must be acknowledged before a packet counts as lost.
    #[must_use]
    pub const fn packet_threshold(&self) -> u64 {
        self.packets
    }

    /// How long a packet sent before an acknowledged one may stay unacknowledged.
    #[must_use]
    pub fn delay(&self, rtt: &RttEstimator) -> Duration {
        delay_of(rtt, self.eighths)
    }
}

#[cfg(test)]
mod tests {
    use qbase::Timestamp;

    use super::*;
    use crate::loss;

    fn rtt_100ms() -> RttEstimator {
        let mut rtt = RttEstimator::new(ms(333));
        rtt.on_sample(Timestamp::from_millis(1), ms(100), Duration::ZERO);
        rtt
    }

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn thresholds_follow_late_packets_within_their_bounds() {
        // (distance, ms after sending) -> (packet threshold, delay in ms)
        let cases = [
            ((0, 100), (3, 112)),
            ((5, 100), (6, 112)),
            ((2, 130), (3, 137)),
            ((64, 190), (65, 200)),
            ((64, 201), (65, 112)),
            ((127, 100), (128, 112)),
            ((128, 100), (128, 112)),
            ((3_000, 5_000), (MAX_PACKET_THRESHOLD, 112)),
        ];
        for ((distance, after), (packets, delay)) in cases {
            let mut reordering = Reordering::new();
            assert_eq!(reordering.delay(&rtt_100ms()), loss::delay(&rtt_100ms()));
            reordering.on_late(distance, ms(after), &rtt_100ms());
            let now = (reordering.packet_threshold(), reordering.delay(&rtt_100ms()).as_millis());
            assert_eq!(now, (packets, delay), "{distance} packets, {after} ms");
        }
    }

    #[test]
    fn sixteen_episodes_of_real_losses_bring_the_first_thresholds_back() {
        let mut reordering = Reordering::new();
        reordering.on_late(20, ms(150), &rtt_100ms());
        for _ in 0..16 {
            reordering.on_episode();
        }
        assert_eq!(reordering.packet_threshold(), 21);
        reordering.on_episode();
        assert_eq!((reordering.packet_threshold(), reordering.eighths), (PACKET_THRESHOLD, TIME_THRESHOLD));
    }
}
