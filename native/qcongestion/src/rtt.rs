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

/// The RTT estimator of one path (RFC 9002 §5).
#[derive(Clone, Debug)]
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
