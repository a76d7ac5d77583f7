//! What a link is like: every quality a direction can have, and what it is when nothing is said.
//!
//! Called by whoever builds a world. A shape may be replaced while datagrams are under way: those keep the course they
//! are on, the rest of the queue follows the new rate.

use std::time::Duration;

use qbase::Timestamp;

use super::{loss::LossModel, mtu, rate::{Queue, RateTrace, serialization}, reorder::Reorder};

/// Qualities of one direction of a link. The default is perfect: no delay, no rate limit, no loss, 1,472 bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct LinkShape {
    /// One-way delay.
    pub delay: Duration,
    /// Up to this much is added to the delay of each datagram, evenly spread. It never changes the order.
    pub jitter: Duration,
    /// Bits of UDP payload per second; `None` is unlimited (and then there is no queue). 0 stands still.
    pub rate_bits_per_sec: Option<u64>,
    /// Rates by time since the shape came into force; takes the place of `rate_bits_per_sec`.
    pub rate_trace: Option<RateTrace>,
    /// Where datagrams wait for the rate.
    pub queue: Queue,
    /// What gets lost at the entrance.
    pub loss: LossModel,
    /// Share of datagrams that arrive twice, 0 to 1.
    pub duplicate: f64,
    /// Share of datagrams with one to four bytes changed, 0 to 1.
    pub corrupt: f64,
    /// Share of datagrams that lose their tail, 0 to 1.
    pub truncate: f64,
    /// Which datagrams are overtaken by later ones.
    pub reorder: Option<Reorder>,
    /// Longest UDP payload, bytes; longer ones vanish.
    pub mtu: usize,
    /// Longest UDP payload that the sender's own interface takes, bytes; longer ones are refused at once (EMSGSIZE).
    pub interface_mtu: usize,
    /// What happens to ECN marks.
    pub ecn: EcnTreatment,
}

impl LinkShape {
    /// A perfect link with this one-way delay.
    #[must_use]
    pub fn delayed(delay: Duration) -> Self {
        Self { delay, ..Self::default() }
    }

    /// Nothing ever waits.
    #[must_use]
    pub const fn is_unlimited(&self) -> bool {
        self.rate_bits_per_sec.is_none() && self.rate_trace.is_none()
    }

    /// Bits per second when the shape has been in force for this long; `None`: unlimited.
    #[must_use]
    pub fn rate_at(&self, elapsed: Duration) -> Option<u64> {
        self.rate_trace.as_ref().map_or(self.rate_bits_per_sec, |trace| Some(trace.rate_at(elapsed)))
    }

    /// When a datagram of `len` bytes has left that starts at `now`; the shape is in force `since` then. `None`: never.
    #[must_use]
    pub fn leaves_at(&self, since: Timestamp, now: Timestamp, len: usize) -> Option<Timestamp> {
        let time = match (&self.rate_trace, self.rate_bits_per_sec) {
            (Some(trace), _) => trace.serialization(now.saturating_since(since), len)?,
            (None, Some(rate)) => serialization(len, rate)?,
            (None, None) => Duration::ZERO,
        };
        Some(now + time)
    }

    /// The same with a rate and the default queue.
    #[must_use]
    pub const fn at_rate(mut self, bits_per_sec: u64) -> Self {
        self.rate_bits_per_sec = Some(bits_per_sec);
        self
    }

    /// The same with independent losses of this share, 0 to 1.
    #[must_use]
    pub fn with_loss(mut self, share: f64) -> Self {
        self.loss = LossModel::Independent(share);
        self
    }

    /// The same with this loss model.
    #[must_use]
    pub fn losing(mut self, loss: LossModel) -> Self {
        self.loss = loss;
        self
    }
}

impl Default for LinkShape {
    fn default() -> Self {
        Self {
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            rate_bits_per_sec: None,
            rate_trace: None,
            queue: Queue::default(),
            loss: LossModel::default(),
            duplicate: 0.0,
            corrupt: 0.0,
            truncate: 0.0,
            reorder: None,
            mtu: mtu::DEFAULT,
            interface_mtu: usize::MAX,
            ecn: EcnTreatment::Pass,
        }
    }
}

/// What a link does to the ECN field (RFC 3168).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum EcnTreatment {
    /// Nothing.
    #[default]
    Pass,
    /// ECN-capable datagrams that find the queue half full are marked CE.
    Mark,
    /// Every mark is cleared, as some routers do (RFC 9000 §13.4.2).
    Bleach,
    /// Marked datagrams vanish, as some firewalls let them (RFC 9000 §13.4.2).
    Drop,
    /// ECT(0) becomes ECT(1).
    Remark,
    /// Everything ECN-capable becomes CE.
    MarkAll,
}
