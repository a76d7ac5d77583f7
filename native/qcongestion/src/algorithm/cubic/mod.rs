//! CUBIC: the window grows along a cubic function of the time since the last congestion event (RFC 9438).
//!
//! Called through [`Controller`] by the path that owns it. Slow start is RFC 9002's with
//! HyStart++. All integers; fractions of a byte are
//! carried over. Never counts time in which the application did not use the window (RFC 9438 §5.8).

mod curve;

use qbase::Timestamp;

use super::{SlowStart, window::{Before, Window}};
use crate::{Acked, AppLimited, Controller, Lost, Persistence, Phase, RttEstimator, controller::MAX_WINDOW, later};

/// Multiplicative decrease `0.7`, as a fraction (RFC 9438 §4.6).
const BETA: (u64, u64) = (7, 10);
/// Decrease of `W_max` when the window fell short of it: `(1 + 0.7) / 2`, as a fraction (RFC 9438 §4.7).
const FAST_CONVERGENCE: (u64, u64) = (17, 20);
/// Additive increase in the Reno-friendly region: `3 * (1 - 0.7) / (1 + 0.7)`, as a fraction (RFC 9438 §4.3).
const ALPHA: (u64, u64) = (9, 17);

/// A stage of congestion avoidance: from the end of a recovery period to the next congestion event.
#[derive(Clone, Debug)]
struct Epoch {
    /// When it started, moved forward by the time that does not count.
    start: Timestamp,
    /// When the window last could have changed.
    last_acked_at: Timestamp,
    /// `W_max`: where the function has its plateau, bytes.
    plateau: u64,
    /// `K`: when it is reached, microseconds after `start`.
    plateau_at: u64,
    /// `W_est`: what Reno would have, bytes.
    reno: u64,
    /// Fraction of a byte that `reno` did not grow by yet, in `ALPHA` parts of a window.
    reno_carry: u64,
    /// Fraction of a byte the window did not grow by yet, in parts of a window.
    carry: u64,
}

impl Epoch {
    /// A stage that starts with `window`, after a congestion event at `w_max` (zero: none to return to).
    fn new(now: Timestamp, window: u64, w_max: u64, mtu: u64) -> Self {
        let plateau = w_max.max(window);
        Self {
            start: now,
            last_acked_at: now,
            plateau,
            plateau_at: curve::time_to_plateau(plateau.saturating_sub(window), mtu),
            reno: window,
            reno_carry: 0,
            carry: 0,
        }
    }

    /// Leaves the time since the last counted ACK out of `t`.
    fn skip_until(&mut self, now: Timestamp) {
        self.start = later(self.start, now.saturating_since(self.last_acked_at));
        self.last_acked_at = now.max(self.last_acked_at);
    }
}

/// CUBIC of one path.
#[derive(Clone, Debug)]
pub struct Cubic {
    window: Window,
    /// `W_max` of the last congestion event, bytes; zero before the first and after persistent congestion.
    w_max: u64,
    /// `cwnd_prior`: the window before the last congestion event, bytes.
    prior: u64,
    /// The stage of congestion avoidance, once its first ACK came.
    epoch: Option<Epoch>,
    /// What the newest congestion event changed, while it may turn out to have been none (RFC 9438 §4.9.2).
    undo: Option<Undo>,
}

/// The state before a congestion event.
#[derive(Clone, Debug)]
struct Undo {
    window: Before,
    w_max: u64,
    prior: u64,
    epoch: Option<Epoch>,
}

impl Cubic {
    /// A new path whose datagrams have at most `mtu` bytes.
    #[must_use]
    pub fn new(mtu: u64, slow_start: SlowStart) -> Self {
        Self::with(Window::new(mtu, slow_start))
    }

    const fn with(window: Window) -> Self {
        Self { window, w_max: 0, prior: 0, epoch: None, undo: None }
    }

    /// Congestion avoidance: follows the larger of the cubic function and Reno's window (RFC 9438 §4.2 to §4.5).
    fn avoid(&mut self, now: Timestamp, acked: u64, rtt: &RttEstimator) {
        let (window, mtu) = (self.window.bytes(), self.window.mtu());
        let acked = acked.min(MAX_WINDOW);
        let w_max = self.w_max;
        let epoch = self.epoch.get_or_insert_with(|| Epoch::new(now, window, w_max, mtu));
        epoch.last_acked_at = now.max(epoch.last_acked_at);

        let (alpha, parts) = if epoch.reno >= self.prior { (1, 1) } else { ALPHA };
        let whole = window.saturating_mul(parts);
        let grown = u128::from(acked.saturating_mul(alpha)).saturating_mul(u128::from(mtu)).saturating_add(u128::from(epoch.reno_carry));
        let (growth, carry) = divide(grown, whole);
        epoch.reno = epoch.reno.saturating_add(growth).min(MAX_WINDOW);
        epoch.reno_carry = carry;

        let elapsed = micros(now.saturating_since(epoch.start));
        let here = curve::window_at(elapsed, epoch.plateau_at, epoch.plateau, mtu);
        if here < epoch.reno {
            self.window.set(window.max(epoch.reno));
            return;
        }
        let ahead = elapsed.saturating_add(micros(rtt.smoothed()));
        let target = curve::window_at(ahead, epoch.plateau_at, epoch.plateau, mtu);
        let target = target.clamp(window, window.saturating_add(window / 2));
        let step = u128::from(target.saturating_sub(window)).saturating_mul(u128::from(acked)).saturating_add(u128::from(epoch.carry));
        let (growth, carry) = divide(step, window);
        epoch.carry = carry;
        self.window.set(window.saturating_add(growth));
    }

    /// Remembers where congestion struck and cuts the window, once per round trip (RFC 9438 §4.6, §4.7).
    fn on_congestion(&mut self, now: Timestamp, sent_at: Timestamp) {
        if !self.window.starts_recovery(sent_at) {
            return;
        }
        self.window.take_back_leap();
        let window = self.window.bytes();
        let (w_max, prior, epoch) = (self.w_max, self.prior, self.epoch.take());
        self.w_max = if window < self.w_max { part(window, FAST_CONVERGENCE) } else { window };
        self.prior = window;
        let before = self.window.cut(now, part(window, BETA));
        self.undo = Some(Undo { window: before, w_max, prior, epoch });
    }
}

impl Controller for Cubic {
    fn on_sent(&mut self, now: Timestamp, bytes: u64, bytes_in_flight: u64) {
        // Nothing was in flight before: the silence does not count.
        if bytes_in_flight <= bytes
            && let Some(epoch) = &mut self.epoch
        {
            epoch.skip_until(now);
        }
    }

    fn on_acked(&mut self, now: Timestamp, acked: &Acked, rtt: &RttEstimator) {
        let phase = self.window.on_acked(acked.newest_sent_at);
        if acked.app_limited == AppLimited::Yes {
            if let Some(epoch) = &mut self.epoch {
                epoch.skip_until(now);
            }
            return;
        }
        match phase {
            Phase::Recovery => {}
            Phase::SlowStart => {
                let left = self.window.slow_start(now, acked, rtt.min());
                if left > 0 {
                    self.avoid(now, left, rtt);
                }
            }
            Phase::CongestionAvoidance => self.avoid(now, acked.bytes, rtt),
        }
    }

    fn on_lost(&mut self, now: Timestamp, lost: &Lost) {
        self.on_congestion(now, lost.newest_sent_at);
        if lost.persistent == Persistence::Established {
            self.window.collapse();
            self.w_max = 0;
            self.epoch = None;
            self.undo = None;
        }
    }

    fn on_spurious_loss(&mut self, _now: Timestamp) {
        // RFC 9438 §4.9.2: only if the window has not found back by itself.
        if let Some(undo) = self.undo.take()
            && self.window.bytes() < self.prior
        {
            self.window.restore(undo.window);
            (self.w_max, self.prior, self.epoch) = (undo.w_max, undo.prior, undo.epoch);
        }
    }

    fn on_way_back(&mut self) {
        self.window.forget_round_trips();
    }

    fn on_ecn_ce(&mut self, now: Timestamp, sent_at: Timestamp) {
        self.on_congestion(now, sent_at);
        // A mark is never spurious.
        self.undo = None;
    }

    fn on_idle_restart(&mut self, _now: Timestamp) {
        self.window.restart();
        self.epoch = None;
    }

    fn reset(&mut self) {
        *self = Self::with(self.window.renewed());
    }

    fn on_mtu(&mut self, mtu: u64) {
        self.window.on_mtu(mtu);
        // The function's unit is the segment: start a new stage with the new one.
        self.epoch = None;
        if let Some(undo) = &mut self.undo {
            undo.epoch = None;
        }
    }

    fn window(&self) -> u64 {
        self.window.bytes()
    }

    fn ssthresh(&self) -> u64 {
        self.window.ssthresh()
    }

    fn phase(&self) -> Phase {
        self.window.phase()
    }

    fn name(&self) -> &'static str {
        "cubic"
    }
}

/// `value` times a fraction.
fn part(value: u64, (numerator, denominator): (u64, u64)) -> u64 {
    value.saturating_mul(numerator).checked_div(denominator).unwrap_or(value)
}

/// Whole microseconds of a duration.
fn micros(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// `value / whole` and what is left; windows are never zero.
fn divide(value: u128, whole: u64) -> (u64, u64) {
    let whole = u128::from(whole);
    let quotient = value.checked_div(whole).unwrap_or(0);
    let rest = value.checked_rem(whole).unwrap_or(0);
    (u64::try_from(quotient).unwrap_or(u64::MAX), u64::try_from(rest).unwrap_or(0))
}

#[cfg(test)]
mod tests;
