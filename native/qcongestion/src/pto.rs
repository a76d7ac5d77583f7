//! Probe timeout: how long to wait for an ACK before asking again (RFC 9002 §6.2).
//!
//! Called by the loss timer of a path. Never decides which space probes, what a probe holds, or when a path is given up.

use std::time::Duration;

use crate::RttEstimator;

/// Back-off ends here, unless a single timeout is longer: with every packet lost, one probe per this time (attacks C11).
pub const MAX_INTERVAL: Duration = Duration::from_secs(2);

/// Doublings after which any timeout has reached [`MAX_INTERVAL`]; also keeps the shift in range.
const MAX_DOUBLINGS: u32 = 20;

/// Time from the last ack-eliciting packet to the next probe after `pto_count` probe timeouts in a row (RFC 9002
/// §6.2.1). `max_ack_delay` is zero for Initial and Handshake packets.
#[must_use]
pub fn interval(rtt: &RttEstimator, max_ack_delay: Duration, pto_count: u32) -> Duration {
    let single = rtt.pto_base().saturating_add(max_ack_delay);
    let backed_off = single.saturating_mul(1 << pto_count.min(MAX_DOUBLINGS));
    backed_off.min(MAX_INTERVAL.max(single))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use qbase::Timestamp;

    use super::*;

    const fn micros(value: u64) -> Duration {
        Duration::from_micros(value)
    }

    fn sampled(rtt: Duration) -> RttEstimator {
        let mut estimator = RttEstimator::new(Duration::from_millis(333));
        estimator.on_sample(Timestamp::from_millis(1), rtt, Duration::ZERO);
        estimator
    }

    #[test]
    fn handshakes_start_with_a_timeout_of_one_second() {
        let rtt = RttEstimator::new(Duration::from_millis(333));
        assert_eq!(interval(&rtt, Duration::ZERO, 0), Duration::from_millis(999));
    }

    #[test]
    fn timeout_adds_spread_and_ack_delay_and_doubles() {
        // (sample in us, max_ack_delay in us, count, timeout in us)
        let cases = [
            (100_000, 0, 0, 300_000),
            (100_000, 25_000, 0, 325_000),
            (100_000, 25_000, 1, 650_000),
            (100_000, 25_000, 3, 2_000_000),
            (100, 25_000, 0, 26_100),
            (100, 0, 0, 1_100),
        ];
        for (sample, delay, count, expected) in cases {
            assert_eq!(interval(&sampled(micros(sample)), micros(delay), count), micros(expected), "{sample} {delay} {count}");
        }
    }

    #[test]
    fn back_off_ends_at_the_cap() {
        assert_eq!(interval(&sampled(micros(100_000)), micros(25_000), 60), MAX_INTERVAL);
        assert_eq!(interval(&sampled(micros(100_000)), micros(25_000), u32::MAX), MAX_INTERVAL);
    }

    #[test]
    fn path_slower_than_the_cap_waits_for_its_own_timeout() {
        assert_eq!(interval(&sampled(Duration::from_secs(20)), Duration::ZERO, 5), Duration::from_secs(60));
    }

    // attacks C11
    #[test]
    fn attack_c11_ten_minutes_without_an_answer_cost_one_probe_per_cap_interval() {
        let rtt = sampled(micros(30_000));
        let (mut now, mut count) = (Timestamp::ZERO, 0);
        loop {
            now += interval(&rtt, micros(25_000), count);
            if now > Timestamp::from_millis(600_000) {
                break;
            }
            count += 1;
        }
        assert!((300..=310).contains(&count), "{count} probes");
    }

    proptest! {
        #[test]
        fn timeout_never_shrinks_with_the_count(sample in any::<u64>(), delay in any::<u64>(), count in any::<u32>()) {
            let rtt = sampled(Duration::from_nanos(sample));
            let this = interval(&rtt, micros(delay), count);
            prop_assert!(this <= interval(&rtt, micros(delay), count.saturating_add(1)));
            prop_assert!(this >= crate::loss::GRANULARITY);
        }
    }
}
