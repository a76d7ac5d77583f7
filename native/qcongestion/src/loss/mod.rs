//! When an unacknowledged packet counts as lost (RFC 9002 §6.1), and when losses mean persistent congestion (§7.6).
//!
//! Read by the records of sent packets (`qrecovery`) and the loss timer of a path. Never walks packets itself.

mod episode;
mod persistent;
mod reordering;

use std::time::Duration;

pub use episode::{Cause, LossEpisode};
pub use persistent::PersistentCongestion;
pub use reordering::{MAX_PACKET_THRESHOLD, Reordering};

use crate::RttEstimator;

/// A packet is lost once one sent this many packets later is acknowledged (kPacketThreshold, RFC 9002 §6.1.1).
pub const PACKET_THRESHOLD: u64 = 3;
/// Timers are not set finer than this (kGranularity, RFC 9002 §6.1.2).
pub const GRANULARITY: Duration = Duration::from_nanos(GRANULARITY_NANOS);

/// [`GRANULARITY`] in nanoseconds.
pub(crate) const GRANULARITY_NANOS: u64 = 1_000_000;

/// How long a packet sent before an acknowledged one may stay unacknowledged: 9/8 of the larger of average and newest
/// RTT, at least [`GRANULARITY`] (RFC 9002 §6.1.2). More where the path is known to reorder: [`Reordering::delay`].
#[must_use]
pub fn delay(rtt: &RttEstimator) -> Duration {
    delay_of(rtt, 9)
}

/// So many eighths of the larger of average and newest RTT.
fn delay_of(rtt: &RttEstimator, eighths: u64) -> Duration {
    Duration::from_nanos((rtt.longest_nanos() / 8).saturating_mul(eighths).max(GRANULARITY_NANOS))
}

#[cfg(test)]
mod tests {
    use qbase::Timestamp;

    use super::*;

    #[test]
    fn loss_delay_is_nine_eighths_of_the_longer_of_average_and_newest_rtt() {
        // (samples in microseconds, delay in microseconds)
        let cases: [(&[u64], u64); 4] = [
            (&[], 374_625),
            (&[80_000], 90_000),
            (&[80_000, 160_000], 180_000),
            (&[100], 1_000),
        ];
        for (samples, expected) in cases {
            let mut rtt = RttEstimator::new(Duration::from_millis(333));
            for &sample in samples {
                rtt.on_sample(Timestamp::from_millis(1), Duration::from_micros(sample), Duration::ZERO);
            }
            assert_eq!(delay(&rtt), Duration::from_micros(expected), "{samples:?}");
        }
    }

    #[test]
    fn loss_delay_follows_the_average_after_one_short_sample() {
        let mut rtt = RttEstimator::new(Duration::from_millis(333));
        rtt.on_sample(Timestamp::from_millis(1), Duration::from_millis(80), Duration::ZERO);
        rtt.on_sample(Timestamp::from_millis(2), Duration::from_millis(40), Duration::ZERO);
        assert_eq!(delay(&rtt), Duration::from_millis(75) * 9 / 8);
    }
}
