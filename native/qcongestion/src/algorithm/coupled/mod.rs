//! Coupled controllers: the paths of one connection together take no more of a shared bottleneck than one flow would, and
//! move their load to the path with less congestion (RFC 6356 §2).
//!
//! | file | increase |
//! |---|---|
//! | `lia` | RFC 6356 §3 |
//! | `olia` | draft-khalili-mptcp-congestion-control §3 |
//! | `balia` | draft-walid-mptcp-congestion-control §3 |
//!
//! Slow start, recovery and bounds are those of NewReno, as is everything while the connection has one path. Called through
//! [`Controller`] by the path that owns it; the connection tells it before each ACK and loss what its siblings have
//! ([`Controller::couple`]). Never changes a sibling's window.

mod balia;
mod lia;
mod olia;

use std::time::Duration;

use qbase::Timestamp;

use super::{SlowStart, window::{Before, Window}};
use crate::{Acked, AppLimited, Controller, Lost, Persistence, Phase, RttEstimator};

/// How the windows of the paths of a connection are coupled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Coupling {
    /// Linked increases (RFC 6356).
    Lia,
    /// Opportunistic linked increases: unused capacity is found sooner.
    Olia,
    /// Balanced linked adaptation: between friendliness and response.
    Balia,
}

/// A path as its siblings see it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Subflow {
    /// Congestion window, bytes.
    pub window: u64,
    /// Largest datagram, bytes.
    pub mtu: u64,
    /// Smoothed round trip; zero: not measured, the path does not count.
    pub rtt: Duration,
    /// Bytes acknowledged between its last two losses, or since the last one, whichever is more (`olia`).
    pub between_losses: u64,
}

impl Subflow {
    /// Window in packets.
    fn packets(&self) -> f64 {
        self.window as f64 / self.mtu.max(1) as f64
    }

    /// Round trip, seconds; never zero.
    fn seconds(&self) -> f64 {
        self.rtt.as_secs_f64().max(1e-6)
    }

    /// Packets a second.
    fn rate(&self) -> f64 {
        self.packets() / self.seconds()
    }
}

/// What the siblings make of one path.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Terms {
    /// Bytes the window grows by for each byte acknowledged in congestion avoidance; may be less than nothing (`olia`).
    increase: f64,
    /// Part of the window that a congestion event takes.
    decrease: f64,
}

/// A coupled controller of one path.
#[derive(Clone, Debug)]
pub struct Coupled {
    coupling: Coupling,
    window: Window,
    /// `None` before anything is known of siblings: as NewReno.
    terms: Option<Terms>,
    /// Fraction of a byte the window did not change by yet.
    carry: f64,
    /// Bytes acknowledged since the last loss, and between the two before it.
    since_loss: u64,
    before_loss: u64,
    /// What the newest congestion event changed, while it may turn out to have been none.
    undo: Option<Before>,
}

impl Coupled {
    /// A new path whose datagrams have at most `mtu` bytes.
    #[must_use]
    pub fn new(coupling: Coupling, mtu: u64, slow_start: SlowStart) -> Self {
        Self::with(coupling, Window::new(mtu, slow_start))
    }

    const fn with(coupling: Coupling, window: Window) -> Self {
        Self { coupling, window, terms: None, carry: 0.0, since_loss: 0, before_loss: 0, undo: None }
    }

    fn on_congestion(&mut self, now: Timestamp, sent_at: Timestamp) {
        if !self.window.starts_recovery(sent_at) {
            return;
        }
        let decrease = self.terms.map_or(0.5, |terms| terms.decrease).clamp(0.0, 1.0);
        let left = self.window.bytes() as f64 * (1.0 - decrease);
        self.undo = Some(self.window.cut(now, left as u64));
        self.carry = 0.0;
        self.before_loss = std::mem::take(&mut self.since_loss);
    }

    fn avoid(&mut self, acked: u64) {
        let window = self.window.bytes();
        let reno = self.window.mtu() as f64 / window.max(1) as f64;
        // No path grows faster than a flow of its own would (RFC 6356 §3).
        let increase = self.terms.map_or(reno, |terms| terms.increase.min(reno));
        let change = increase * acked.min(window) as f64 + self.carry;
        let whole = change.trunc();
        self.carry = change - whole;
        let grown = if whole < 0.0 { window.saturating_sub((-whole) as u64) } else { window.saturating_add(whole as u64) };
        self.window.set(grown);
    }
}

impl Controller for Coupled {
    fn on_sent(&mut self, _now: Timestamp, _bytes: u64, _bytes_in_flight: u64) {}

    fn on_acked(&mut self, now: Timestamp, acked: &Acked, _rtt: &RttEstimator) {
        self.since_loss = self.since_loss.saturating_add(acked.bytes);
        let phase = self.window.on_acked(acked.newest_sent_at);
        if acked.app_limited == AppLimited::Yes || phase == Phase::Recovery {
            return;
        }
        let left = if phase == Phase::SlowStart { self.window.slow_start(now, acked) } else { acked.bytes };
        if left > 0 {
            self.avoid(left);
        }
    }

    fn on_lost(&mut self, now: Timestamp, lost: &Lost) {
        self.on_congestion(now, lost.newest_sent_at);
        if lost.persistent == Persistence::Established {
            self.window.collapse();
            self.carry = 0.0;
            self.undo = None;
        }
    }

    fn on_spurious_loss(&mut self, _now: Timestamp) {
        if let Some(before) = self.undo.take() {
            self.window.restore(before);
        }
    }

    fn on_ecn_ce(&mut self, now: Timestamp, sent_at: Timestamp) {
        self.on_congestion(now, sent_at);
        // A mark is never spurious.
        self.undo = None;
    }

    fn on_idle_restart(&mut self, _now: Timestamp) {
        self.window.restart();
        self.carry = 0.0;
    }

    fn reset(&mut self) {
        *self = Self::with(self.coupling, self.window.renewed());
    }

    fn on_mtu(&mut self, mtu: u64) {
        self.window.on_mtu(mtu);
    }

    fn subflow(&self, rtt: Duration) -> Option<Subflow> {
        let between_losses = self.since_loss.max(self.before_loss);
        Some(Subflow { window: self.window.bytes(), mtu: self.window.mtu(), rtt, between_losses })
    }

    fn couple(&mut self, own: &Subflow, all: &[Subflow]) {
        self.terms = (own.rtt > Duration::ZERO).then(|| match self.coupling {
            Coupling::Lia => lia::terms(own, all),
            Coupling::Olia => olia::terms(own, all),
            Coupling::Balia => balia::terms(own, all),
        });
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
        match self.coupling {
            Coupling::Lia => "lia",
            Coupling::Olia => "olia",
            Coupling::Balia => "balia",
        }
    }
}

/// Packets a second of all paths together; never zero.
fn total_rate(all: &[Subflow]) -> f64 {
    all.iter().filter(|flow| flow.rtt > Duration::ZERO).map(Subflow::rate).sum::<f64>().max(f64::MIN_POSITIVE)
}

#[cfg(test)]
mod tests;
