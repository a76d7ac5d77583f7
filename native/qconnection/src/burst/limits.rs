//! What cuts a burst: anti-amplification credit and congestion quota (burst B-40…B-45).
//!
//! Called by the output (to fill in) and the writer (to spend). Both shrink across the segments of one burst (B-17).

use qbase::limits::TAG_LEN;

/// What one burst may still spend, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Anti-amplification credit; `u64::MAX` towards a validated address.
    pub credit: u64,
    /// Smaller of the congestion window's and the pacer's room.
    pub quota: u64,
    /// Ack-eliciting packets that a PTO owes: they may leave without quota (RFC 9002 §7.5).
    pub probes: u8,
}

impl Budget {
    /// Whether packets that count in flight may fill a segment of `size` bytes (burst B-43).
    #[must_use]
    pub const fn allows_in_flight(&self, size: usize) -> bool {
        self.quota >= size as u64 || self.probes > 0
    }

    /// Bytes one segment may have.
    #[must_use]
    pub fn window(&self, datagram: usize) -> usize {
        usize::try_from(self.credit).map_or(datagram, |credit| datagram.min(credit))
    }

    /// Takes a segment out of the budget (burst B-41).
    pub const fn spend(&mut self, size: usize, in_flight: usize, eliciting_packets: u8) {
        if self.credit != u64::MAX {
            self.credit = self.credit.saturating_sub(size as u64);
        }
        self.quota = self.quota.saturating_sub(in_flight as u64);
        self.probes = self.probes.saturating_sub(eliciting_packets);
    }
}

/// Room for frames in a packet that starts in `window` bytes and has a header of `header` bytes, tag excluded.
#[must_use]
pub const fn frame_room(window: usize, header: usize) -> usize {
    window.saturating_sub(header).saturating_sub(TAG_LEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_passes_without_quota_and_only_as_often_as_owed() {
        let mut budget = Budget { credit: u64::MAX, quota: 0, probes: 2 };
        assert!(budget.allows_in_flight(1_200));
        budget.spend(1_200, 1_200, 1);
        budget.spend(1_200, 1_200, 1);
        assert!(!budget.allows_in_flight(1_200));
        assert_eq!(budget.credit, u64::MAX, "an unlimited credit is never spent");
    }

    #[test]
    fn credit_cuts_the_window_of_a_segment() {
        let budget = Budget { credit: 700, quota: 9_000, probes: 0 };
        assert_eq!(budget.window(1_200), 700);
        assert_eq!(Budget { credit: u64::MAX, ..budget }.window(1_200), 1_200);
    }
}
