//! NewReno: one datagram more per window acknowledged, half at a congestion event (RFC 9002 §7, §B).
//!
//! Called through [`Controller`] by the path that owns it. Never looks at the RTT.

use qbase::Timestamp;

use super::{SlowStart, window::{Before, Window}};
use crate::{Acked, AppLimited, Controller, Lost, Persistence, Phase, RttEstimator};

/// NewReno of one path.
#[derive(Clone, Debug)]
pub struct NewReno {
    window: Window,
    /// Bytes acknowledged in congestion avoidance since the window last grew (RFC 3465 §2.1).
    acked: u64,
    /// What the newest congestion event changed, while it may turn out to have been none.
    undo: Option<Before>,
}

impl NewReno {
    /// A new path whose datagrams have at most `mtu` bytes.
    #[must_use]
    pub fn new(mtu: u64, slow_start: SlowStart) -> Self {
        Self { window: Window::new(mtu, slow_start), acked: 0, undo: None }
    }

    /// Halves the window, once per round trip.
    fn on_congestion(&mut self, now: Timestamp, sent_at: Timestamp) {
        if self.window.starts_recovery(sent_at) {
            self.undo = Some(self.window.cut(now, self.window.bytes() / 2));
            self.acked = 0;
        }
    }
}

impl Controller for NewReno {
    fn on_sent(&mut self, _now: Timestamp, _bytes: u64, _bytes_in_flight: u64) {}

    fn on_acked(&mut self, now: Timestamp, acked: &Acked, _rtt: &RttEstimator) {
        let phase = self.window.on_acked(acked.newest_sent_at);
        if acked.app_limited == AppLimited::Yes || phase == Phase::Recovery {
            return;
        }
        let left = if phase == Phase::SlowStart { self.window.slow_start(now, acked) } else { acked.bytes };
        let total = self.acked.saturating_add(left);
        if total >= self.window.bytes() {
            self.acked = total.saturating_sub(self.window.bytes()).min(self.window.bytes());
            self.window.set(self.window.bytes().saturating_add(self.window.mtu()));
        } else {
            self.acked = total;
        }
    }

    fn on_lost(&mut self, now: Timestamp, lost: &Lost) {
        self.on_congestion(now, lost.newest_sent_at);
        if lost.persistent == Persistence::Established {
            self.window.collapse();
            self.acked = 0;
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
        self.acked = 0;
    }

    fn reset(&mut self) {
        *self = Self { window: self.window.renewed(), acked: 0, undo: None };
    }

    fn on_mtu(&mut self, mtu: u64) {
        self.window.on_mtu(mtu);
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
        "newreno"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algorithm::tests::{MTU, acked, at, lost, rtt_100ms};

    /// In congestion avoidance with a window of 60,000 bytes since 200 ms.
    fn avoiding() -> NewReno {
        let mut controller = NewReno::new(MTU, SlowStart::Plain);
        controller.on_acked(at(100), &acked(108_000, at(0)), &rtt_100ms());
        controller.on_lost(at(200), &lost(at(100)));
        controller
    }

    #[test]
    fn avoidance_adds_one_datagram_per_window_acknowledged() {
        let mut controller = avoiding();
        for _ in 0..49 {
            controller.on_acked(at(300), &acked(1_200, at(250)), &rtt_100ms());
        }
        assert_eq!(controller.window(), 60_000);
        controller.on_acked(at(300), &acked(1_200, at(250)), &rtt_100ms());
        assert_eq!(controller.window(), 61_200);
    }

    #[test]
    fn one_large_ack_adds_at_most_one_datagram() {
        let mut controller = avoiding();
        controller.on_acked(at(300), &acked(60_000_000, at(250)), &rtt_100ms());
        assert_eq!(controller.window(), 61_200);
    }

    #[test]
    fn odd_sized_acks_lose_no_bytes() {
        let mut controller = avoiding();
        let mut total = 0;
        while controller.window() < 70_000 {
            controller.on_acked(at(300), &acked(777, at(250)), &rtt_100ms());
            total += 777;
        }
        let needed: u64 = (0..9).map(|step| 60_000 + step * MTU).sum();
        assert!(total >= needed && total < needed + 777, "{total} {needed}");
    }

    #[test]
    fn growth_starts_with_a_packet_sent_after_the_cut() {
        let mut controller = avoiding();
        controller.on_acked(at(250), &acked(60_000, at(200)), &rtt_100ms());
        assert_eq!((controller.window(), controller.phase()), (60_000, Phase::Recovery));
        controller.on_acked(at(301), &acked(60_000, at(201)), &rtt_100ms());
        assert_eq!((controller.window(), controller.phase()), (61_200, Phase::CongestionAvoidance));
    }

    #[test]
    fn repeated_losses_end_at_two_datagrams() {
        let mut controller = NewReno::new(MTU, SlowStart::Plain);
        for round in 1..20 {
            controller.on_lost(at(100 * round), &lost(at(100 * round - 1)));
        }
        assert_eq!((controller.window(), controller.ssthresh()), (2 * MTU, 2 * MTU));
    }
}
