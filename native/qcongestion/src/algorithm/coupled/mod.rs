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
//! [`Controller`](crate::Controller) by the path that owns it; the connection tells it before each ACK and loss what its siblings have
//! ([`couple`](crate::Controller::couple)). Never changes a sibling's window.

mod balia;
mod lia;
mod olia;

use std::time::Duration;

use super::{SlowStart, reno::{Avoidance, Reno}};

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
pub type Coupled = Reno<Linked>;

/// Avoidance that knows of the siblings.
#[derive(Clone, Debug)]
pub struct Linked {
    coupling: Coupling,
    /// `None` before anything is known of siblings: as NewReno.
    terms: Option<Terms>,
    /// Fraction of a byte the window did not change by yet.
    carry: f64,
    /// Bytes acknowledged since the last loss, and between the two before it.
    since_loss: u64,
    before_loss: u64,
}

impl Coupled {
    /// A new path whose datagrams have at most `mtu` bytes.
    #[must_use]
    pub fn new(coupling: Coupling, mtu: u64, slow_start: SlowStart) -> Self {
        Self::with(Linked::new(coupling), mtu, slow_start)
    }
}

impl Linked {
    const fn new(coupling: Coupling) -> Self {
        Self { coupling, terms: None, carry: 0.0, since_loss: 0, before_loss: 0 }
    }
}

impl Avoidance for Linked {
    fn grow(&mut self, window: u64, mtu: u64, acked: u64) -> u64 {
        let reno = mtu as f64 / window.max(1) as f64;
        // No path grows faster than a flow of its own would (RFC 6356 §3).
        let increase = self.terms.map_or(reno, |terms| terms.increase.min(reno));
        let change = increase * acked.min(window) as f64 + self.carry;
        let whole = change.trunc();
        self.carry = change - whole;
        if whole < 0.0 { window.saturating_sub((-whole) as u64) } else { window.saturating_add(whole as u64) }
    }

    fn cut(&mut self, window: u64) -> u64 {
        self.start_over();
        self.before_loss = std::mem::take(&mut self.since_loss);
        let decrease = self.terms.map_or(0.5, |terms| terms.decrease).clamp(0.0, 1.0);
        (window as f64 * (1.0 - decrease)) as u64
    }

    fn start_over(&mut self) {
        self.carry = 0.0;
    }

    fn renewed(&self) -> Self {
        Self::new(self.coupling)
    }

    fn on_acked(&mut self, bytes: u64) {
        self.since_loss = self.since_loss.saturating_add(bytes);
    }

    fn subflow(&self, window: u64, mtu: u64, rtt: Duration) -> Option<Subflow> {
        Some(Subflow { window, mtu, rtt, between_losses: self.since_loss.max(self.before_loss) })
    }

    fn couple(&mut self, own: &Subflow, all: &[Subflow]) {
        self.terms = (own.rtt > Duration::ZERO).then(|| match self.coupling {
            Coupling::Lia => lia::terms(own, all),
            Coupling::Olia => olia::terms(own, all),
            Coupling::Balia => balia::terms(own, all),
        });
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
