//! What NewReno and the coupled controllers have in common: slow start, recovery and cuts that are undone (RFC 9002 §7, §B).
//!
//! They differ in their [`Avoidance`]: how the window grows beyond the threshold, and what a congestion event leaves of it.
//! Called through [`Controller`] by the path that owns it. Never looks at the RTT.

use std::{fmt::Debug, time::Duration};

use qbase::Timestamp;

use super::{Subflow, SlowStart, window::{Before, Window}};
use crate::{Acked, AppLimited, Controller, Lost, Persistence, Phase, RttEstimator};

/// Congestion avoidance of one path.
pub trait Avoidance: Debug + Send {
    /// The window, bytes, after `acked` bytes of it were acknowledged beyond slow start.
    fn grow(&mut self, window: u64, mtu: u64, acked: u64) -> u64;
    /// What a congestion event leaves of the window, bytes. Growth begins anew.
    fn cut(&mut self, window: u64) -> u64;
    /// Growth that has not become bytes of the window yet is given up.
    fn start_over(&mut self);
    /// Of a new path.
    #[must_use]
    fn renewed(&self) -> Self;
    /// The controller's name as in options.
    fn name(&self) -> &'static str;
    /// Bytes were acknowledged, in whatever phase.
    fn on_acked(&mut self, _bytes: u64) {}
    /// See [`Controller::subflow`].
    fn subflow(&self, _window: u64, _mtu: u64, _rtt: Duration) -> Option<Subflow> {
        None
    }
    /// See [`Controller::couple`].
    fn couple(&mut self, _own: &Subflow, _all: &[Subflow]) {}
}

/// A controller of one path.
#[derive(Clone, Debug)]
pub struct Reno<A> {
    window: Window,
    pub(super) avoidance: A,
    /// What the newest congestion event changed, while it may turn out to have been none.
    undo: Option<Before>,
}

impl<A: Avoidance> Reno<A> {
    /// A new path whose datagrams have at most `mtu` bytes.
    pub(super) fn with(avoidance: A, mtu: u64, slow_start: SlowStart) -> Self {
        Self { window: Window::new(mtu, slow_start), avoidance, undo: None }
    }

    /// Cuts the window, once per round trip.
    fn on_congestion(&mut self, now: Timestamp, sent_at: Timestamp) {
        if self.window.starts_recovery(sent_at) {
            self.window.take_back_leap();
            let left = self.avoidance.cut(self.window.bytes());
            self.undo = Some(self.window.cut(now, left));
        }
    }
}

impl<A: Avoidance> Controller for Reno<A> {
    fn on_sent(&mut self, _now: Timestamp, _bytes: u64, _bytes_in_flight: u64) {}

    fn on_acked(&mut self, now: Timestamp, acked: &Acked, rtt: &RttEstimator) {
        self.avoidance.on_acked(acked.bytes);
        let phase = self.window.on_acked(acked.newest_sent_at);
        if acked.app_limited == AppLimited::Yes || phase == Phase::Recovery {
            return;
        }
        let left = if phase == Phase::SlowStart { self.window.slow_start(now, acked, rtt.min()) } else { acked.bytes };
        let grown = self.avoidance.grow(self.window.bytes(), self.window.mtu(), left);
        self.window.set(grown);
    }

    fn on_lost(&mut self, now: Timestamp, lost: &Lost) {
        self.on_congestion(now, lost.newest_sent_at);
        if lost.persistent == Persistence::Established {
            self.window.collapse();
            self.avoidance.start_over();
            self.undo = None;
        }
    }

    fn on_spurious_loss(&mut self, _now: Timestamp) {
        if let Some(before) = self.undo.take() {
            self.window.restore(before);
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
        self.avoidance.start_over();
    }

    fn reset(&mut self) {
        *self = Self { window: self.window.renewed(), avoidance: self.avoidance.renewed(), undo: None };
    }

    fn on_mtu(&mut self, mtu: u64) {
        self.window.on_mtu(mtu);
    }

    fn subflow(&self, rtt: Duration) -> Option<Subflow> {
        self.avoidance.subflow(self.window.bytes(), self.window.mtu(), rtt)
    }

    fn couple(&mut self, own: &Subflow, all: &[Subflow]) {
        self.avoidance.couple(own, all);
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
        self.avoidance.name()
    }
}
