//! Pacing: how many bytes may leave now so that a window is spread over its round trip (RFC 9002 §7.7).
//!
//! A token bucket. It fills at the rate the controller names, or at 1.25 × window ÷ smoothed RTT, twice that window in slow
//! start, and holds what that rate sends in [`BURST_TIME`]: below that our timers cannot tell times apart, so on paths with
//! a shorter round trip the bucket holds whole windows and only the window limits. Before an RTT sample, and on slow paths,
//! it holds the initial window (burst B-18, attacks C16). Once empty it opens again for a batch worth a system call, not
//! for every packet.
//!
//! Called by the burst planner (burst B-42). Never holds back ACK-only packets or probes: the planner does not ask for them.

use std::time::Duration;

use qbase::Timestamp;

use crate::{
    Controller, Phase, RttEstimator,
    controller::{MAX_WINDOW, initial_window},
    later, nanos_of,
};

/// Time whose bytes the full bucket holds: two ticks of a millisecond timer, so that one late tick loses nothing.
pub const BURST_TIME: Duration = Duration::from_millis(2);
/// Time whose bytes an emptied bucket gathers before it opens.
pub const BATCH_TIME: Duration = Duration::from_micros(250);
/// Datagrams of a batch at most: those of one GSO call.
const BATCH_SEGMENTS: u64 = 64;
/// Bits of a byte's fraction in the bucket: less than a byte is lost in a million refills.
const FRACTION: u32 = 20;

/// Bytes per nanosecond as a fraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rate {
    bytes: u64,
    nanos: u64,
}

impl Rate {
    /// The controller's, or a little more than its window per round trip.
    fn of(controller: &dyn Controller, rtt: &RttEstimator) -> Self {
        if let Some(bytes) = controller.pacing_rate() {
            return Self { bytes, nanos: 1_000_000_000 };
        }
        let window = controller.window().min(MAX_WINDOW);
        let quarters: u64 = if controller.phase() == Phase::SlowStart { 8 } else { 5 };
        Self { bytes: window.saturating_mul(quarters), nanos: rtt.smoothed_nanos().saturating_mul(4) }
    }

    /// Bytes sent in `nanos`, in `2^-FRACTION` bytes, rounded down.
    fn in_time(self, nanos: u64) -> u128 {
        let scaled = u128::from(nanos).saturating_mul(u128::from(self.bytes)) << FRACTION;
        scaled.checked_div(u128::from(self.nanos)).unwrap_or(0)
    }

    /// Nanoseconds it takes to send `scaled` (`2^-FRACTION` bytes), rounded up.
    fn time_for(self, scaled: u128) -> u64 {
        let divisor = u128::from(self.bytes.max(1)) << FRACTION;
        u64::try_from(scaled.saturating_mul(u128::from(self.nanos)).div_ceil(divisor)).unwrap_or(u64::MAX)
    }
}

/// The token bucket of one path.
#[derive(Clone, Debug)]
pub struct Pacer {
    /// What may leave, `2^-FRACTION` bytes; never above `capacity`.
    tokens: u128,
    /// When `tokens` was true; `None` before the first call: the bucket is full.
    filled_at: Option<Timestamp>,
    /// At the last call.
    rate: Rate,
    /// At the last call, bytes.
    capacity: u64,
    /// At the last call: bytes an emptied bucket gathers before it opens.
    batch: u64,
    /// Least useful budget: one datagram, at the last call.
    mtu: u64,
    /// Emptied, and not yet opened again.
    shut: bool,
}

impl Pacer {
    /// A full bucket for a path whose datagrams have at most `mtu` bytes.
    #[must_use]
    pub fn new(mtu: u64) -> Self {
        let capacity = initial_window(mtu);
        Self {
            tokens: u128::from(capacity) << FRACTION,
            filled_at: None,
            rate: Rate { bytes: 0, nanos: 1 },
            capacity,
            batch: mtu,
            mtu,
            shut: false,
        }
    }

    /// Bytes that may leave now: 0, or at least one datagram of `mtu` bytes.
    ///
    /// Any number of calls for one `now` give the same answer until [`on_sent`](Self::on_sent).
    pub fn budget(&mut self, now: Timestamp, controller: &dyn Controller, rtt: &RttEstimator, mtu: u64) -> u64 {
        self.configure(controller, rtt, mtu);
        self.refill(now);
        let tokens = self.whole_tokens();
        if self.shut && tokens >= self.batch {
            self.shut = false;
        } else if tokens < self.mtu {
            self.shut = true;
        }
        if self.shut { 0 } else { tokens }
    }

    /// In-flight packets of `bytes` left: data within the budget, or probes beside it.
    pub fn on_sent(&mut self, bytes: u64) {
        self.tokens = self.tokens.saturating_sub(u128::from(bytes) << FRACTION);
    }

    /// When [`budget`](Self::budget) will be at least `wanted` bytes, or as much as the bucket holds, at the rate of its
    /// last call; `now` if it already is. Ask for one datagram: an emptied bucket gathers a batch by itself.
    #[must_use]
    pub fn next_at(&self, now: Timestamp, wanted: u64) -> Timestamp {
        let tokens = self.whole_tokens();
        let least = if self.shut || tokens < self.mtu { self.batch } else { self.mtu };
        let wanted = u128::from(wanted.max(least).min(self.capacity)) << FRACTION;
        let missing = wanted.saturating_sub(self.tokens);
        if missing == 0 {
            return now;
        }
        let from = self.filled_at.unwrap_or(now);
        now.max(later(from, Duration::from_nanos(self.rate.time_for(missing))))
    }

    /// Sending starts again after silence: at most the initial window leaves at once (RFC 9002 §7.7).
    pub fn restart(&mut self, now: Timestamp) {
        self.refill(now);
        self.tokens = self.tokens.min(u128::from(initial_window(self.mtu)) << FRACTION);
    }

    /// Bytes per second at which packets leave in the long run, with the controller as it is.
    #[must_use]
    pub fn rate(&self, controller: &dyn Controller, rtt: &RttEstimator) -> u64 {
        u64::try_from(Rate::of(controller, rtt).in_time(1_000_000_000) >> FRACTION).unwrap_or(u64::MAX)
    }

    /// A full bucket again: the path goes over another network now (RFC 9000 §9.4).
    pub fn reset(&mut self) {
        *self = Self::new(self.mtu);
    }

    /// Takes over rate and sizes from the path.
    fn configure(&mut self, controller: &dyn Controller, rtt: &RttEstimator, mtu: u64) {
        self.rate = Rate::of(controller, rtt);
        self.mtu = mtu;
        let floor = initial_window(mtu);
        self.capacity = match rtt.first_sample_at() {
            Some(_) => self.whole_bytes_in(BURST_TIME).max(floor),
            None => floor,
        };
        let batch = self.whole_bytes_in(BATCH_TIME).clamp(mtu, mtu.saturating_mul(BATCH_SEGMENTS));
        self.batch = batch.min(self.capacity);
    }

    /// Adds what the time since the last call is worth.
    fn refill(&mut self, now: Timestamp) {
        let capacity = u128::from(self.capacity) << FRACTION;
        match self.filled_at {
            Some(then) if now > then => {
                self.tokens = self.tokens.saturating_add(self.rate.in_time(nanos_of(now.saturating_since(then))));
                self.filled_at = Some(now);
            }
            Some(_) => {}
            None => self.filled_at = Some(now),
        }
        self.tokens = self.tokens.min(capacity);
    }

    /// Bytes the rate sends in a time.
    fn whole_bytes_in(&self, time: Duration) -> u64 {
        u64::try_from(self.rate.in_time(nanos_of(time)) >> FRACTION).unwrap_or(u64::MAX)
    }

    /// Tokens in bytes.
    fn whole_tokens(&self) -> u64 {
        u64::try_from(self.tokens >> FRACTION).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests;
