//! NewReno: one datagram more per window acknowledged, half at a congestion event (RFC 9002 §7, §B).
//!
//! Called by the controller that it is the avoidance of. Never looks at the RTT.

use super::{SlowStart, reno::{Avoidance, Reno}};

/// NewReno of one path.
pub type NewReno = Reno<Additive>;

/// One datagram more per window.
#[derive(Clone, Debug, Default)]
pub struct Additive {
    /// Bytes acknowledged in congestion avoidance since the window last grew (RFC 3465 §2.1).
    acked: u64,
}

impl NewReno {
    /// A new path whose datagrams have at most `mtu` bytes.
    #[must_use]
    pub fn new(mtu: u64, slow_start: SlowStart) -> Self {
        Self::with(Additive::default(), mtu, slow_start)
    }
}

impl Avoidance for Additive {
    fn grow(&mut self, window: u64, mtu: u64, acked: u64) -> u64 {
        let total = self.acked.saturating_add(acked);
        if total < window {
            self.acked = total;
            return window;
        }
        self.acked = total.saturating_sub(window).min(window);
        window.saturating_add(mtu)
    }

    fn cut(&mut self, window: u64) -> u64 {
        self.start_over();
        window / 2
    }

    fn start_over(&mut self) {
        self.acked = 0;
    }

    fn renewed(&self) -> Self {
        Self::default()
    }

    fn name(&self) -> &'static str {
        "newreno"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Controller, Phase};
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
