//! Round-trip time of one path: what RFC 9002 §5 keeps of its samples.
//!
//! Fed by whoever reads ACK frames of the path; read by loss detection, probe timeout, pacer, controllers and schedulers.
//! Never decides whether an ACK yields a sample (RFC 9002 §5.1) and never clamps the ACK delay to `max_ack_delay`: both
//! need knowledge of the connection.

use std::time::Duration;

use qbase::Timestamp;

use crate::{loss::GRANULARITY_NANOS, nanos_of};

/// Longest RTT that is told from any longer one: 18 years, far from the end of the arithmetic.
const MAX_NANOS: u64 = 1 << 59;

/// The RTT estimator of one path (RFC 9002 §5). `Copy`: take a copy where the path itself is borrowed.
#[derive(Clone, Copy, Debug)]
pub struct RttEstimator {
    /// Stands in for samples until there is one, nanoseconds.
    initial: u64,
    /// Newest sample, nanoseconds.
    latest: u64,
    /// Moving average of the adjusted samples, nanoseconds.
    smoothed: u64,
    /// Mean deviation, nanoseconds.
    rttvar: u64,
    /// Least sample, not adjusted, nanoseconds.
    min: u64,
    /// When the first sample came; `None` while there is none.
    first_sample_at: Option<Timestamp>,
}

impl RttEstimator {
    /// An estimator without samples that assumes `initial` (RFC 9002 §6.2.2: 333 ms when nothing better is known).
    #[must_use]
    pub fn new(initial: Duration) -> Self {
        let initial = nanos_of(initial).min(MAX_NANOS);
        Self { initial, latest: initial, smoothed: initial, rttvar: initial / 2, min: initial, first_sample_at: None }
    }

    /// Takes a sample: `latest` is the time from sending the largest acknowledged packet to its ACK, `ack_delay` the
    /// peer's decoded delay, already cut to `max_ack_delay` if the handshake is confirmed (RFC 9002 §5.3).
    ///
    /// The deviation is measured against the average before this sample (RFC 9002 §A.7, RFC 6298 §2.3).
    pub fn on_sample(&mut self, now: Timestamp, latest: Duration, ack_delay: Duration) {
        let latest = nanos_of(latest).min(MAX_NANOS);
        self.latest = latest;
        if self.first_sample_at.is_none() {
            self.first_sample_at = Some(now);
            self.min = latest;
            self.smoothed = latest;
            self.rttvar = latest / 2;
            return;
        }
        self.min = self.min.min(latest);
        let ack_delay = nanos_of(ack_delay).min(MAX_NANOS);
        let adjusted = if latest >= self.min.saturating_add(ack_delay) { latest.saturating_sub(ack_delay) } else { latest };
        let deviation = self.smoothed.abs_diff(adjusted);
        self.rttvar = self.rttvar.saturating_mul(3).saturating_add(deviation) / 4;
        self.smoothed = self.smoothed.saturating_mul(7).saturating_add(adjusted) / 8;
    }

    /// Newest sample; the initial RTT while there is none.
    #[must_use]
    pub const fn latest(&self) -> Duration {
        Duration::from_nanos(self.latest)
    }

    /// Moving average of the samples, adjusted for the peer's delay; the initial RTT while there is none.
    #[must_use]
    pub const fn smoothed(&self) -> Duration {
        Duration::from_nanos(self.smoothed)
    }

    /// Mean deviation of the samples; half the initial RTT while there is none.
    #[must_use]
    pub const fn rttvar(&self) -> Duration {
        Duration::from_nanos(self.rttvar)
    }

    /// Least sample seen since the last [`restart_min`](Self::restart_min); the initial RTT while there is none.
    #[must_use]
    pub const fn min(&self) -> Duration {
        Duration::from_nanos(self.min)
    }

    /// When the first sample came; `None` while there is none.
    #[must_use]
    pub const fn first_sample_at(&self) -> Option<Timestamp> {
        self.first_sample_at
    }

    /// `smoothed_rtt + max(4 * rttvar, granularity)`: a probe timeout without the peer's delay and without back-off.
    #[must_use]
    pub const fn pto_base(&self) -> Duration {
        let spread = self.rttvar.saturating_mul(4);
        let spread = if spread > GRANULARITY_NANOS { spread } else { GRANULARITY_NANOS };
        Duration::from_nanos(self.smoothed.saturating_add(spread))
    }

    /// Forgets all samples: the path goes over another network now (RFC 9000 §9.4).
    pub fn reset(&mut self) {
        *self = Self::new(Duration::from_nanos(self.initial));
    }

    /// Sets `min_rtt` to the newest sample: after persistent congestion (RFC 9002 §5.2), and when the path that carried
    /// the ACK of the least sample is gone (multipath MP-38).
    pub const fn restart_min(&mut self) {
        self.min = self.latest;
    }

    /// Replaces the assumed RTT while there is no sample: the delay of a Retry (RFC 9002 §6.3) or of a PATH_RESPONSE
    /// (§6.2.2). Does nothing once there is a sample.
    pub fn suggest_initial(&mut self, initial: Duration) {
        if self.first_sample_at.is_none() {
            *self = Self::new(initial);
        }
    }

    /// [`smoothed`](Self::smoothed) in nanoseconds, at least 1.
    pub(crate) const fn smoothed_nanos(&self) -> u64 {
        if self.smoothed == 0 { 1 } else { self.smoothed }
    }

    /// The larger of average and newest sample, nanoseconds.
    pub(crate) fn longest_nanos(&self) -> u64 {
        self.smoothed.max(self.latest)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn with_samples(samples: &[(u64, u64)]) -> RttEstimator {
        let mut rtt = RttEstimator::new(ms(333));
        for (index, &(latest, ack_delay)) in samples.iter().enumerate() {
            rtt.on_sample(Timestamp::from_millis(index as u64 + 1), ms(latest), ms(ack_delay));
        }
        rtt
    }

    #[test]
    fn initial_rtt_stands_in_until_there_is_a_sample() {
        let rtt = RttEstimator::new(ms(333));
        assert_eq!((rtt.smoothed(), rtt.rttvar(), rtt.first_sample_at()), (ms(333), Duration::from_micros(166_500), None));
    }

    #[test]
    fn first_sample_replaces_everything_and_ignores_the_ack_delay() {
        let rtt = with_samples(&[(100, 40)]);
        assert_eq!((rtt.latest(), rtt.min(), rtt.smoothed(), rtt.rttvar()), (ms(100), ms(100), ms(100), ms(50)));
        assert_eq!(rtt.first_sample_at(), Some(Timestamp::from_millis(1)));
    }

    #[test]
    fn later_samples_are_averaged_with_the_deviation_from_the_old_average() {
        let rtt = with_samples(&[(100, 0), (180, 0)]);
        // rttvar = 3/4 * 50 + 1/4 * |100 - 180|; smoothed = 7/8 * 100 + 1/8 * 180
        assert_eq!((rtt.rttvar(), rtt.smoothed()), (Duration::from_micros(57_500), ms(110)));
    }

    #[test]
    fn ack_delay_is_subtracted_unless_the_result_falls_below_min_rtt() {
        // (samples, adjusted newest sample)
        let cases: [(&[(u64, u64)], u64); 4] = [
            (&[(100, 0), (140, 25)], 115),
            (&[(100, 0), (125, 25)], 100),
            (&[(100, 0), (124, 25)], 124),
            (&[(100, 0), (80, 25)], 80),
        ];
        for (samples, adjusted) in cases {
            let smoothed = (ms(100) * 7 + ms(adjusted)) / 8;
            assert_eq!(with_samples(samples).smoothed(), smoothed, "{samples:?}");
        }
    }

    #[test]
    fn min_rtt_is_the_least_unadjusted_sample() {
        assert_eq!(with_samples(&[(100, 0), (140, 50), (90, 80), (120, 0)]).min(), ms(90));
    }

    #[test]
    fn min_rtt_can_be_restarted_at_the_newest_sample() {
        let mut rtt = with_samples(&[(20, 0), (140, 0)]);
        rtt.restart_min();
        assert_eq!(rtt.min(), ms(140));
    }

    #[test]
    fn reset_goes_back_to_the_initial_rtt() {
        let mut rtt = with_samples(&[(20, 0), (140, 0)]);
        rtt.reset();
        assert_eq!((rtt.smoothed(), rtt.first_sample_at()), (ms(333), None));
    }

    #[test]
    fn suggested_initial_rtt_counts_only_before_the_first_sample() {
        let mut rtt = RttEstimator::new(ms(333));
        rtt.suggest_initial(ms(50));
        assert_eq!((rtt.smoothed(), rtt.first_sample_at()), (ms(50), None));
        rtt.on_sample(Timestamp::from_millis(9), ms(70), Duration::ZERO);
        rtt.suggest_initial(ms(10));
        assert_eq!(rtt.smoothed(), ms(70));
    }

    #[test]
    fn pto_base_has_at_least_the_timer_granularity() {
        let mut rtt = RttEstimator::new(ms(333));
        for at in 1..200 {
            rtt.on_sample(Timestamp::from_millis(at), Duration::from_micros(100), Duration::ZERO);
        }
        assert_eq!(rtt.pto_base(), Duration::from_micros(1_100));
    }

    proptest! {
        // attacks C6: any delay, any sample.
        #[test]
        fn smoothed_rtt_never_falls_below_min_rtt(samples in prop::collection::vec((any::<u64>(), any::<u64>()), 1..50)) {
            let mut rtt = RttEstimator::new(ms(333));
            for (index, (latest, ack_delay)) in samples.into_iter().enumerate() {
                rtt.on_sample(Timestamp::from_millis(index as u64), Duration::from_nanos(latest), Duration::from_micros(ack_delay));
                // Rounding down may take a nanosecond a sample; the average then rises again.
                prop_assert!(rtt.smoothed() + Duration::from_nanos(8) >= rtt.min());
                prop_assert!(rtt.min() <= rtt.latest());
            }
        }

        #[test]
        fn equal_samples_converge_on_themselves(micros in 20_u64..2_000_000) {
            let mut rtt = RttEstimator::new(ms(333));
            for at in 0..100 {
                rtt.on_sample(Timestamp::from_millis(at), Duration::from_micros(micros), Duration::ZERO);
            }
            prop_assert_eq!(rtt.smoothed(), Duration::from_micros(micros));
            prop_assert!(rtt.rttvar() < Duration::from_nanos(micros.max(4)));
        }
    }
}
