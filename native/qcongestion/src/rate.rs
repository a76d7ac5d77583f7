//! How fast a path delivers: samples for controllers that model it (draft-ietf-ccwg-bbr, Delivery Rate Samples), and a
//! meter for statistics.
//!
//! [`Sampler`] keeps one snapshot a burst, found again by the instant it was sent: all packets of a burst leave at one
//! instant, and the draft recommends state per aggregate. So records of packets hold nothing for it, and paths whose
//! controller does not sample pay nothing. [`Meter`] is two words and a comparison an ACK frame.
//!
//! Called by BBR (sampler) and by the path (meter). Never decides what a rate means.

use std::{collections::VecDeque, time::Duration};

use qbase::{Timestamp, limits};

use crate::{RttEstimator, nanos_of};

/// Nanoseconds of a second.
const SECOND: u64 = 1_000_000_000;
/// Shortest time a [`Meter`] averages over.
const METER_TIME: Duration = Duration::from_millis(100);

/// Bytes per second that `bytes` in `time` are; `None` in no time.
#[must_use]
pub fn per_second(bytes: u64, time: Duration) -> Option<u64> {
    let rate = u128::from(bytes).saturating_mul(u128::from(SECOND)).checked_div(time.as_nanos())?;
    Some(u64::try_from(rate).unwrap_or(u64::MAX))
}

/// Bytes that `rate` bytes per second are in `time`, rounded down.
#[must_use]
pub fn bytes_in(rate: u64, time: Duration) -> u64 {
    let scaled = u128::from(rate).saturating_mul(u128::from(nanos_of(time)));
    let bytes = scaled.checked_div(u128::from(SECOND)).unwrap_or(0);
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// The path when a burst was sent.
#[derive(Clone, Copy, Debug)]
struct Snapshot {
    sent_at: Timestamp,
    /// Bytes delivered by then.
    delivered: u64,
    /// When the newest of them were acknowledged.
    delivered_at: Timestamp,
    /// When the newest delivered packet was sent.
    first_sent_at: Timestamp,
    /// Bytes declared lost by then.
    lost: u64,
    /// Bytes in flight, the burst included.
    in_flight: u64,
    app_limited: bool,
}

/// What one ACK tells: about the time since its newest packet was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Sample {
    /// Bytes per second; 0 if the ACK gives no reliable rate.
    pub rate: u64,
    /// Bytes delivered in that time.
    pub delivered: u64,
    /// Bytes delivered before that packet was sent.
    pub prior_delivered: u64,
    /// Bytes declared lost in that time.
    pub lost: u64,
    /// Bytes in flight when that packet had been sent.
    pub in_flight: u64,
    /// The application had nothing to send meanwhile: the path may be faster.
    pub app_limited: bool,
}

/// Delivery rate samples of one path.
#[derive(Clone, Debug, Default)]
pub struct Sampler {
    delivered: u64,
    delivered_at: Timestamp,
    first_sent_at: Timestamp,
    lost: u64,
    /// Samples are application-limited until so many bytes are delivered; 0: they are not.
    app_limited_until: u64,
    /// One a burst, by the time of sending; at most [`limits::RATE_SNAPSHOTS`].
    bursts: VecDeque<Snapshot>,
}

impl Sampler {
    /// A path on which nothing was sent.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            delivered: 0,
            delivered_at: Timestamp::ZERO,
            first_sent_at: Timestamp::ZERO,
            lost: 0,
            app_limited_until: 0,
            bursts: VecDeque::new(),
        }
    }

    /// A burst of `bytes` was sent; `in_flight` counts it already.
    pub fn on_sent(&mut self, now: Timestamp, bytes: u64, in_flight: u64) {
        if in_flight <= bytes {
            (self.first_sent_at, self.delivered_at) = (now, now);
        }
        if let Some(last) = self.bursts.back_mut().filter(|last| last.sent_at == now) {
            last.in_flight = in_flight;
            return;
        }
        if self.bursts.len() >= limits::RATE_SNAPSHOTS {
            self.bursts.pop_front();
        }
        self.bursts.push_back(Snapshot {
            sent_at: now,
            delivered: self.delivered,
            delivered_at: self.delivered_at,
            first_sent_at: self.first_sent_at,
            lost: self.lost,
            in_flight,
            app_limited: self.is_app_limited(),
        });
    }

    /// `bytes` were acknowledged, the newest of them sent at `newest_sent_at`. A time shorter than `min_rtt` gives no rate.
    pub fn on_acked(&mut self, now: Timestamp, newest_sent_at: Timestamp, bytes: u64, rtt: &RttEstimator, min_rtt: Duration) -> Sample {
        self.delivered = self.delivered.saturating_add(bytes);
        self.delivered_at = now;
        if self.delivered > self.app_limited_until {
            self.app_limited_until = 0;
        }
        let Some(burst) = self.burst_of(newest_sent_at) else { return Sample::default() };
        self.first_sent_at = self.first_sent_at.max(burst.sent_at);
        let send_time = burst.sent_at.saturating_since(burst.first_sent_at);
        let ack_time = now.saturating_since(burst.delivered_at);
        let time = send_time.max(ack_time);
        let delivered = self.delivered.saturating_sub(burst.delivered);
        let rate = if time < min_rtt { None } else { per_second(delivered, time) };
        self.forget_before(newest_sent_at, rtt);
        Sample {
            rate: rate.unwrap_or(0),
            delivered,
            prior_delivered: burst.delivered,
            lost: self.lost.saturating_sub(burst.lost),
            in_flight: burst.in_flight,
            app_limited: burst.app_limited,
        }
    }

    /// `bytes` that had been declared lost were acknowledged after all.
    pub const fn on_late(&mut self, bytes: u64) {
        self.delivered = self.delivered.saturating_add(bytes);
    }

    /// `bytes` were declared lost, the newest of them sent at `newest_sent_at`. Returns what the path was like when that
    /// was sent, and the bytes lost since; `None` when that is too long ago.
    pub fn on_lost(&mut self, newest_sent_at: Timestamp, bytes: u64) -> Option<Sample> {
        self.lost = self.lost.saturating_add(bytes);
        let burst = self.burst_of(newest_sent_at)?;
        Some(Sample {
            rate: 0,
            delivered: self.delivered.saturating_sub(burst.delivered),
            prior_delivered: burst.delivered,
            lost: self.lost.saturating_sub(burst.lost),
            in_flight: burst.in_flight,
            app_limited: burst.app_limited,
        })
    }

    /// There is nothing to send, with `in_flight` bytes on their way: samples say so until all these are delivered.
    pub fn on_app_limited(&mut self, in_flight: u64) {
        self.app_limited_until = self.delivered.saturating_add(in_flight).max(1);
    }

    /// Samples of what is sent now are application-limited.
    #[must_use]
    pub const fn is_app_limited(&self) -> bool {
        self.app_limited_until > 0
    }

    /// Bytes delivered so far.
    #[must_use]
    pub const fn delivered(&self) -> u64 {
        self.delivered
    }

    /// The burst that left at `sent_at`, or the last one before.
    fn burst_of(&self, sent_at: Timestamp) -> Option<Snapshot> {
        let after = self.bursts.partition_point(|burst| burst.sent_at <= sent_at);
        self.bursts.get(after.checked_sub(1)?).copied()
    }

    /// Drops bursts whose packets have their fate: those sent two round trips before an acknowledged one.
    fn forget_before(&mut self, newest_sent_at: Timestamp, rtt: &RttEstimator) {
        let margin = Duration::from_nanos(rtt.longest_nanos().saturating_mul(2));
        while self.bursts.front().is_some_and(|burst| newest_sent_at.saturating_since(burst.sent_at) > margin) {
            self.bursts.pop_front();
        }
    }
}

/// The delivery rate of one path for people: over a smoothed RTT, at least [`METER_TIME`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Meter {
    since: Timestamp,
    bytes: u64,
    rate: Option<u64>,
}

impl Meter {
    /// A path on which nothing was delivered.
    #[must_use]
    pub const fn new() -> Self {
        Self { since: Timestamp::ZERO, bytes: 0, rate: None }
    }

    /// `bytes` were acknowledged.
    pub fn on_acked(&mut self, now: Timestamp, bytes: u64, rtt: &RttEstimator) {
        self.bytes = self.bytes.saturating_add(bytes);
        let time = now.saturating_since(self.since);
        if time >= METER_TIME.max(rtt.smoothed()) {
            // The first stretch starts with the connection, and one after silence with the silence: neither is a rate.
            if time < METER_TIME.max(rtt.smoothed()).saturating_mul(4) {
                self.rate = per_second(self.bytes, time);
            }
            (self.since, self.bytes) = (now, 0);
        }
    }

    /// Bytes per second in the newest full stretch of sending; `None` before the first.
    #[must_use]
    pub const fn rate(&self) -> Option<u64> {
        self.rate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn rtt_100ms() -> RttEstimator {
        let mut rtt = RttEstimator::new(ms(333));
        rtt.on_sample(at(1), ms(100), Duration::ZERO);
        rtt
    }

    fn acked(sampler: &mut Sampler, now: u64, sent_at: u64, bytes: u64) -> Sample {
        sampler.on_acked(at(now), at(sent_at), bytes, &rtt_100ms(), ms(100))
    }

    #[test]
    fn a_steady_flow_is_measured_exactly() {
        let mut sampler = Sampler::new();
        for step in 0..110 {
            if step >= 10 {
                let sample = acked(&mut sampler, 10 * step, 10 * step - 100, 1_000);
                assert!(!sample.app_limited && sample.rate <= 100_000, "{step}: {sample:?}");
                assert!(step < 20 || (sample.rate, sample.delivered) == (100_000, 10_000), "{step}: {sample:?}");
            }
            sampler.on_sent(at(10 * step), 1_000, 1_000 * (step + 1).min(10));
        }
        assert_eq!(sampler.delivered(), 100_000);
    }

    #[test]
    fn acknowledgements_that_come_at_once_are_no_faster_than_what_was_sent() {
        let mut sampler = Sampler::new();
        for step in 0..20 {
            sampler.on_sent(at(10 * step), 1_000, 1_000 * (step + 1));
        }
        acked(&mut sampler, 400, 0, 1_000);
        for step in 1..20 {
            let sample = acked(&mut sampler, 400, 10 * step, 1_000);
            assert!(sample.rate <= 100_000, "{step}: {sample:?}");
        }
    }

    #[test]
    fn a_time_shorter_than_the_least_rtt_gives_no_rate() {
        let mut sampler = Sampler::new();
        sampler.on_sent(at(0), 1_000, 1_000);
        assert_eq!(acked(&mut sampler, 99, 0, 1_000).rate, 0);
        sampler.on_sent(at(200), 1_000, 1_000);
        assert_eq!(acked(&mut sampler, 300, 200, 1_000).rate, 10_000);
    }

    #[test]
    fn samples_are_application_limited_until_the_gap_is_delivered() {
        let mut sampler = Sampler::new();
        sampler.on_sent(at(0), 2_000, 2_000);
        sampler.on_app_limited(2_000);
        sampler.on_sent(at(10), 1_000, 3_000);
        assert!(!acked(&mut sampler, 100, 0, 2_000).app_limited);
        assert!(sampler.is_app_limited());
        assert!(acked(&mut sampler, 110, 10, 1_000).app_limited);
        assert!(!sampler.is_app_limited());
    }

    #[test]
    fn losses_count_from_the_sending_of_the_packet_asked_about() {
        let mut sampler = Sampler::new();
        sampler.on_sent(at(0), 3_000, 3_000);
        assert_eq!(sampler.on_lost(at(0), 1_000).map(|sample| (sample.lost, sample.in_flight)), Some((1_000, 3_000)));
        sampler.on_sent(at(10), 1_000, 3_000);
        assert_eq!(acked(&mut sampler, 110, 10, 1_000).lost, 0);
        assert_eq!(sampler.on_lost(at(0), 500).map(|sample| sample.lost), Some(1_500));
    }

    #[test]
    fn snapshots_are_bounded_and_forgotten() {
        let mut sampler = Sampler::new();
        for step in 0..limits::RATE_SNAPSHOTS as u64 + 1 {
            sampler.on_sent(at(step), 1, step + 1);
        }
        assert_eq!(sampler.bursts.len(), limits::RATE_SNAPSHOTS);
        assert_eq!(sampler.on_lost(at(0), 1), None, "the oldest was dropped");
        acked(&mut sampler, 5_000, 4_000, 1);
        assert_eq!(sampler.bursts.front().map(|burst| burst.sent_at), Some(at(3_800)));
    }

    #[test]
    fn the_meter_shows_the_rate_of_sending_and_keeps_it_through_silence() {
        let mut meter = Meter::new();
        for step in 1..=50 {
            meter.on_acked(at(1_000 + 10 * step), 1_000, &rtt_100ms());
        }
        assert_eq!(meter.rate(), Some(100_000));
        meter.on_acked(at(9_000), 1_000, &rtt_100ms());
        assert_eq!(meter.rate(), Some(100_000));
    }
}
