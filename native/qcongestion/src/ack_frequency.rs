//! How often a sender wants acknowledgements: fewer where its window is large (draft-ietf-quic-ack-frequency §8, §9).
//!
//! Pure. Called by the connection with what it knows of its paths, at most once a round trip. Never decides whether the peer
//! takes such wishes.

use std::time::Duration;

use crate::AckFrequency;

/// Acknowledgements wanted for one window: HyStart++ needs eight samples a round, growth and loss detection news in time.
const ACKS_PER_WINDOW: u64 = 16;
/// Packets that may wait for an acknowledgement at most, whatever the window.
pub const MAX_THRESHOLD: u64 = 32;
/// The delay wanted is the smoothed RTT divided by this.
const DELAY_DIVISOR: u32 = 4;
/// Least delay wanted: shorter ones would cost more acknowledgements than a low threshold saves.
pub const LEAST_DELAY: Duration = Duration::from_millis(5);
/// Longest delay wanted.
pub const LONGEST_DELAY: Duration = Duration::from_millis(100);

/// What a path that carries data needs.
#[derive(Clone, Copy, Debug)]
pub struct PathNeeds {
    /// Congestion window, packets of full size.
    pub window_packets: u64,
    /// Smoothed RTT.
    pub smoothed_rtt: Duration,
    /// Packet threshold of its loss detection.
    pub packet_threshold: u64,
}

impl PathNeeds {
    /// What suits both paths: the frame has no path id, so the more demanding one counts.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            window_packets: self.window_packets.min(other.window_packets),
            smoothed_rtt: self.smoothed_rtt.min(other.smoothed_rtt),
            packet_threshold: self.packet_threshold.min(other.packet_threshold),
        }
    }

    /// What to ask a peer for that delays no less than `min_ack_delay`.
    #[must_use]
    pub fn wanted(&self, min_ack_delay: Duration) -> AckFrequency {
        let delay = self.smoothed_rtt.checked_div(DELAY_DIVISOR).unwrap_or_default();
        AckFrequency {
            threshold: self.window_packets.checked_div(ACKS_PER_WINDOW).unwrap_or_default().clamp(1, MAX_THRESHOLD),
            max_ack_delay: delay.clamp(LEAST_DELAY, LONGEST_DELAY).max(min_ack_delay),
            reordering: self.packet_threshold,
        }
    }
}

/// Whether `wanted` differs enough from what was `asked` for to say so. `None`: nothing was asked for yet, and only a window
/// that can do with fewer acknowledgements is worth a frame.
#[must_use]
pub fn is_news(asked: Option<&AckFrequency>, wanted: &AckFrequency) -> bool {
    let Some(asked) = asked else { return wanted.threshold > 1 };
    let fewer = wanted.threshold >= asked.threshold.saturating_mul(2);
    let more = wanted.threshold < asked.threshold && (wanted.threshold == 1 || wanted.threshold.saturating_mul(2) <= asked.threshold);
    let delay = wanted.max_ack_delay.abs_diff(asked.max_ack_delay) > asked.max_ack_delay.checked_div(2).unwrap_or_default();
    fewer || more || delay || wanted.reordering != asked.reordering
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn needs(window_packets: u64, rtt_millis: u64) -> PathNeeds {
        PathNeeds { window_packets, smoothed_rtt: Duration::from_millis(rtt_millis), packet_threshold: 3 }
    }

    #[test]
    fn a_large_window_wants_fewer_acknowledgements() {
        // (window in packets, packets that may wait)
        for (window, threshold) in [(0, 1), (10, 1), (31, 1), (32, 2), (160, 10), (512, 32), (1 << 40, 32)] {
            assert_eq!(needs(window, 40).wanted(Duration::ZERO).threshold, threshold, "{window}");
        }
    }

    #[test]
    fn the_delay_is_a_quarter_of_the_round_trip_within_bounds() {
        // (RTT, least delay of the peer, delay wanted), milliseconds
        for (rtt, least, wanted) in [(0, 1, 5), (20, 1, 5), (40, 1, 10), (200, 1, 50), (600, 1, 100), (40, 12, 12)] {
            let delay = needs(100, rtt).wanted(Duration::from_millis(least)).max_ack_delay;
            assert_eq!(delay, Duration::from_millis(wanted), "{rtt} {least}");
        }
    }

    #[test]
    fn the_more_demanding_of_two_paths_counts() {
        let both = needs(1_000, 10).and(PathNeeds { packet_threshold: 9, ..needs(64, 80) });
        assert_eq!(both.wanted(Duration::ZERO), AckFrequency { threshold: 4, max_ack_delay: LEAST_DELAY, reordering: 3 });
    }

    #[test]
    fn small_changes_are_not_worth_a_frame() {
        let wanted = |window, rtt| needs(window, rtt).wanted(Duration::ZERO);
        let asked = wanted(160, 40);
        for (window, rtt, news) in [(160, 40, false), (300, 40, false), (320, 40, true), (96, 40, false), (80, 40, true), (20, 40, true), (160, 55, false), (160, 80, true)] {
            assert_eq!(is_news(Some(&asked), &wanted(window, rtt)), news, "{window} {rtt}");
        }
        assert!(is_news(Some(&asked), &AckFrequency { reordering: 4, ..asked }));
        assert!(!is_news(None, &wanted(20, 40)) && is_news(None, &wanted(32, 40)));
    }
}
