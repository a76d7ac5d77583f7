//! The window of a loss-based controller: bounds, threshold and recovery period (RFC 9002 §7.2, §7.3).
//!
//! Shared by NewReno, the coupled controllers and CUBIC, which differ in how far a congestion event cuts and how avoidance grows. Never grows by
//! itself outside slow start.

use std::time::Duration;

use qbase::Timestamp;

use super::{hystart::{Hystart, SlowStart, Verdict}, leap::Leaps};
use crate::{
    Acked, Phase,
    controller::{MAX_WINDOW, MIN_MTU, initial_window, minimum_window},
};

/// What a congestion event changes, as it was before (RFC 9438 §4.9.2).
#[derive(Clone, Copy, Debug)]
pub(super) struct Before {
    bytes: u64,
    ssthresh: u64,
    recovery_start: Option<Timestamp>,
}

/// Window, threshold and recovery period of one path.
#[derive(Clone, Debug)]
pub(super) struct Window {
    mtu: u64,
    bytes: u64,
    ssthresh: u64,
    /// Start of the newest recovery period; packets sent up to then cannot start another.
    recovery_start: Option<Timestamp>,
    /// No packet sent after `recovery_start` was acknowledged yet.
    recovering: bool,
    slow_start: SlowStart,
    hystart: Hystart,
    leaps: Leaps,
}

impl Window {
    /// A new path.
    pub(super) fn new(mtu: u64, slow_start: SlowStart) -> Self {
        let mtu = mtu.clamp(MIN_MTU, MAX_WINDOW / 2);
        Self {
            mtu,
            bytes: initial_window(mtu),
            ssthresh: u64::MAX,
            recovery_start: None,
            recovering: false,
            slow_start,
            hystart: Hystart::new(),
            leaps: Leaps::default(),
        }
    }

    /// A new path of the same MTU.
    pub(super) fn renewed(&self) -> Self {
        Self::new(self.mtu, self.slow_start)
    }

    pub(super) const fn mtu(&self) -> u64 {
        self.mtu
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) const fn ssthresh(&self) -> u64 {
        self.ssthresh
    }

    pub(super) const fn phase(&self) -> Phase {
        if self.recovering {
            Phase::Recovery
        } else if self.bytes < self.ssthresh {
            Phase::SlowStart
        } else {
            Phase::CongestionAvoidance
        }
    }

    /// Sets the window, within its bounds.
    pub(super) fn set(&mut self, bytes: u64) {
        self.bytes = bytes.clamp(minimum_window(self.mtu), MAX_WINDOW);
    }

    /// Notes that a packet sent at `sent_at` was acknowledged: ends the recovery period if it was sent after its start.
    pub(super) fn on_acked(&mut self, sent_at: Timestamp) -> Phase {
        if self.recovering && self.recovery_start.is_none_or(|start| sent_at > start) {
            self.recovering = false;
        }
        self.phase()
    }

    /// Grows by acknowledged bytes up to the threshold; returns the bytes left over for avoidance.
    ///
    /// While no threshold was found, rising round trips set one (HyStart++), and a path that carries much more is filled
    /// sooner; `least` is its least round trip.
    pub(super) fn slow_start(&mut self, now: Timestamp, acked: &Acked, least: Duration) -> u64 {
        if self.ssthresh == u64::MAX && self.slow_start != SlowStart::Plain {
            self.set(self.bytes.saturating_add(self.hystart.growth(acked.bytes)));
            if self.hystart.on_acked(now, acked) == Verdict::Leave {
                self.ssthresh = self.bytes;
            } else if self.slow_start == SlowStart::Leaping
                && self.hystart.is_calm()
                && let Some(bytes) = self.leaps.on_acked(now, acked, self.bytes, least)
            {
                self.set(bytes);
            }
            return 0;
        }
        let room = self.ssthresh.saturating_sub(self.bytes);
        let growth = acked.bytes.min(room);
        self.set(self.bytes.saturating_add(growth));
        acked.bytes.saturating_sub(growth)
    }

    /// Round trips are measured anew.
    pub(super) fn forget_round_trips(&mut self) {
        (self.hystart, self.leaps) = (Hystart::new(), Leaps::default());
    }

    /// A congestion event begins: what slow start has risked beyond doubling is taken back.
    pub(super) fn take_back_leap(&mut self) {
        let bytes = self.leaps.on_loss(self.bytes);
        self.set(bytes);
    }

    /// Whether the loss or mark of a packet sent at `sent_at` starts a recovery period.
    pub(super) fn starts_recovery(&self, sent_at: Timestamp) -> bool {
        self.recovery_start.is_none_or(|start| sent_at > start)
    }

    /// Starts a recovery period and cuts window and threshold to `bytes`. Returns what [`restore`](Self::restore) needs.
    pub(super) fn cut(&mut self, now: Timestamp, bytes: u64) -> Before {
        let before = Before { bytes: self.bytes, ssthresh: self.ssthresh, recovery_start: self.recovery_start };
        self.set(bytes);
        self.ssthresh = self.bytes;
        self.recovery_start = Some(now);
        self.recovering = true;
        before
    }

    /// The cut had no cause: the window is at least what it was, and packets sent before the cut may cause another.
    pub(super) fn restore(&mut self, before: Before) {
        self.set(self.bytes.max(before.bytes));
        self.ssthresh = before.ssthresh.max(minimum_window(self.mtu));
        self.recovery_start = before.recovery_start;
        self.recovering = false;
    }

    /// Persistent congestion: the least window, and any later loss counts again (RFC 9002 §B.8).
    pub(super) fn collapse(&mut self) {
        self.set(0);
        self.recovery_start = None;
        self.recovering = false;
    }

    /// After silence: at most the window of a new path.
    pub(super) fn restart(&mut self) {
        self.set(self.bytes.min(initial_window(self.mtu)));
    }

    /// A new MTU. A window that has not moved yet follows a smaller one (RFC 9002 §7.2); no window grows with a larger one
    /// (RFC 8899 §3), but for the floor of two datagrams.
    pub(super) fn on_mtu(&mut self, mtu: u64) {
        let untouched = self.ssthresh == u64::MAX && self.bytes == initial_window(self.mtu);
        self.mtu = mtu.clamp(MIN_MTU, MAX_WINDOW / 2);
        self.set(if untouched { self.bytes.min(initial_window(self.mtu)) } else { self.bytes });
        self.ssthresh = self.ssthresh.max(minimum_window(self.mtu));
    }
}
