//! Received packets where several paths share one packet-number space: one record of all numbers, and on each path only the
//! largest one (burst B-102; multipath MP-102, MP-103).
//!
//! Called instead of the verbs of a space of its own. Holes are no sign of loss here: they may be packets of another path.

use super::{Largest, Receipt, ReceivedPackets};
use qbase::{PacketNumber, Timestamp};
use std::ops::{Range, RangeInclusive};

impl ReceivedPackets {
    /// Begins the record of all paths with what came so far; `self` stays behind as the record of one path, which knows its
    /// largest number. At most `limit` ranges are kept from here on (attacks L5).
    #[must_use]
    pub fn share(&mut self, limit: usize) -> Self {
        let of_path = Self { largest: self.largest, ..Self::new(self.limit) };
        Self { limit, ..std::mem::replace(self, of_path) }
    }

    /// A new packet of the shared space came over this path. [`Receipt::Next`] if it is the newest of the path,
    /// [`Receipt::Late`] if the path carried a later one before: only that shows reordering.
    pub fn note_of_path(&mut self, number: PacketNumber, now: Timestamp) -> Receipt {
        if self.largest.is_some_and(|largest| number < largest.number) {
            return Receipt::Late;
        }
        self.largest = Some(Largest { number, received_at: now });
        Receipt::Next
    }

    /// What an ACK frame should report whose largest number is `largest`, one that came: highest range first.
    pub fn ranges_from(&self, largest: PacketNumber) -> impl Iterator<Item = RangeInclusive<PacketNumber>> + '_ {
        let highest = self.to_report.overlap(0..largest.saturating_add(1)).next_back();
        // A range that ends right below it belongs to it: two ranges of a frame have a number between them.
        let start = highest.filter(|range| range.end >= largest).map_or(largest, |range| range.start);
        let rest = self.to_report.overlap(0..start).rev().map(|range| range.start..=range.end.saturating_sub(1));
        std::iter::once(start..=largest).chain(rest)
    }

    /// The peer has seen an ACK frame of ours with these numbers and all that had come between them: they need no report any
    /// more, but for `young` ones that came later. Numbers below them may not have fitted into the frame.
    pub fn on_report_acked(&mut self, numbers: &RangeInclusive<PacketNumber>, young: impl Iterator<Item = Range<PacketNumber>>) {
        self.to_report.remove(*numbers.start()..numbers.end().saturating_add(1));
        for range in young {
            self.to_report.insert(range);
        }
        self.to_report.trim_to(self.limit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use qbase::Ecn;

    fn record(limit: usize, numbers: impl IntoIterator<Item = u64>) -> ReceivedPackets {
        let mut all = ReceivedPackets::new(64).share(limit);
        for number in numbers {
            all.on_packet(number, Timestamp::ZERO, Ecn::NotEct);
        }
        all
    }

    fn from(all: &ReceivedPackets, largest: u64) -> Vec<RangeInclusive<u64>> {
        all.ranges_from(largest).collect()
    }

    #[test]
    fn a_path_keeps_its_largest_number_and_the_record_of_all_what_came() {
        let mut path = ReceivedPackets::new(64);
        path.on_packet(3, Timestamp::from_millis(7), Ecn::NotEct);
        let all = path.share(512);
        assert!(all.is_duplicate(3) && !path.is_duplicate(3));
        assert_eq!(path.largest(), all.largest());
        assert_eq!(path.note_of_path(90, Timestamp::from_millis(8)), Receipt::Next);
        assert_eq!(path.note_of_path(80, Timestamp::from_millis(9)), Receipt::Late);
        assert_eq!(path.largest(), Some(Largest { number: 90, received_at: Timestamp::from_millis(8) }));
    }

    /// burst B-102
    #[test]
    fn a_report_begins_with_the_largest_of_a_path_and_goes_on_with_all_that_lies_below() {
        let all = record(512, [0, 1, 2, 5, 6, 7, 9, 20]);
        assert_eq!(from(&all, 20), [20..=20, 9..=9, 5..=7, 0..=2]);
        assert_eq!(from(&all, 9), [9..=9, 5..=7, 0..=2]);
        assert_eq!(from(&all, 6), [5..=6, 0..=2]);
        assert_eq!(from(&all, 0), [0..=0]);
    }

    /// multipath MP-103
    #[test]
    fn what_a_report_left_out_stays_to_be_reported() {
        let mut all = record(512, [0, 1, 2, 5, 6, 7, 9, 20]);
        all.on_report_acked(&(5..=9), std::iter::empty());
        assert_eq!(from(&all, 20), [20..=20, 0..=2]);
        assert_eq!(from(&all, 9), [9..=9, 0..=2], "the largest of a path is always said");
        all.on_packet(8, Timestamp::ZERO, Ecn::NotEct);
        assert_eq!(from(&all, 9), [8..=9, 0..=2], "and joined to the range it ends");
        assert!(all.is_duplicate(6), "said or not, it was seen");
        all.on_report_acked(&(0..=20), std::iter::once(8..9));
        assert_eq!(from(&all, 20), [20..=20, 8..=8], "8 came when the report was on its way");
    }

    #[test]
    fn attack_l5_every_second_number_keeps_as_many_ranges_as_the_record_may_and_one_more_drops_the_lowest() {
        let limit = qbase::limits::ACK_RANGES_SHARED;
        let mut all = record(limit, (0..limit as u64).map(|number| 2 * number));
        assert_eq!((all.held_ranges(), all.is_duplicate(1)), (limit, false));
        all.on_packet(2 * limit as u64, Timestamp::ZERO, Ecn::NotEct);
        assert_eq!((all.held_ranges(), from(&all, 2 * limit as u64).len()), (limit, limit), "without the lowest one");
        all.on_packet(2 * limit as u64 + 2, Timestamp::ZERO, Ecn::NotEct);
        assert!(all.is_duplicate(1) && !all.is_duplicate(3), "too old to tell");
    }
}
