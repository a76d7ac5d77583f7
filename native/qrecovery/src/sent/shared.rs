//! The packets of one path where several paths share one packet-number space (burst B-102, B-104; multipath MP-101, MP-104).
//!
//! Each path has a journal of its own with those numbers it carried; an ACK frame is handed to all of them. Which numbers
//! were never sent is checked once for the space, not here. Called by the acknowledgements of `qconnection`.

use super::{AckOutcome, Frames, SentPacket, SentPackets};
use crate::RangeSet;
use qbase::PacketNumber;
use std::ops::RangeInclusive;

impl<F: Copy> SentPackets<F> {
    /// The numbers that were left out so far, for the check of the whole space; numbers left out from here on may belong to
    /// other paths.
    pub fn take_skipped(&mut self) -> RangeSet {
        std::mem::take(&mut self.skipped)
    }

    /// Applies those numbers of an ACK frame that this journal has. `largest` is the largest number of the frame: it gives an
    /// RTT sample if it is one of them and new.
    pub fn on_shared_ack(
        &mut self,
        ranges: impl IntoIterator<Item = RangeInclusive<PacketNumber>>,
        largest: PacketNumber,
        mut on_acked: impl FnMut(&SentPacket, Frames<'_, F>),
    ) -> AckOutcome {
        let mut outcome = AckOutcome::default();
        for range in ranges {
            self.ack_range(&range, &mut outcome, &mut on_acked);
        }
        let Some(newest) = outcome.largest_newly else { return outcome };
        if self.largest_acked < Some(newest.number) {
            self.largest_acked = Some(newest.number);
            outcome.raises_largest = true;
            self.largest_acked_position = self.ring.position_of(newest.number);
        }
        let measures = newest.number == largest && outcome.any_ack_eliciting && newest.number >= self.first_of_network;
        outcome.rtt_from = measures.then_some(newest.sent_at);
        self.forget_resolved();
        outcome
    }

    /// The number of the packet `packets` before the one with `number`, or of the oldest record.
    #[must_use]
    pub fn number_before(&self, number: PacketNumber, packets: u64) -> PacketNumber {
        let position = self.ring.position_of(number).saturating_sub(packets).max(self.ring.start());
        self.ring.get(position).map_or(number, |record| record.packet.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use qbase::{Ecn, Timestamp};
    use std::time::Duration;

    /// Two paths of one space: multiples of three went over the second one.
    fn two_journals(count: u64) -> [SentPackets<u64>; 2] {
        let mut journals = [SentPackets::new(), SentPackets::new()];
        for number in 0..count {
            let packet = SentPacket {
                number,
                sent_at: Timestamp::from_millis(number),
                size: 1_200,
                ack_eliciting: true,
                in_flight: true,
                ecn: Ecn::NotEct,
                mtu_probe: false,
            };
            journals[usize::from(number % 3 == 0)].push(packet, &[number]);
        }
        journals
    }

    fn ack(journal: &mut SentPackets<u64>, ranges: &[RangeInclusive<u64>]) -> (Vec<u64>, AckOutcome) {
        let mut acked = Vec::new();
        let largest = ranges.first().map_or(0, |range| *range.end());
        let outcome = journal.on_shared_ack(ranges.iter().cloned(), largest, |packet, _| acked.push(packet.number));
        (acked, outcome)
    }

    fn lost(journal: &mut SentPackets<u64>) -> Vec<u64> {
        let mut lost = Vec::new();
        journal.detect_lost(Timestamp::from_millis(100), Duration::from_secs(9), 3, |packet, _| lost.push(packet.number));
        lost
    }

    /// burst B-102
    #[test]
    fn each_journal_takes_its_own_numbers_of_a_frame_and_only_that_of_the_largest_measures() {
        let [mut first, mut second] = two_journals(12);
        let frame = [7..=10, 0..=3];
        let (acked, outcome) = ack(&mut first, &frame);
        assert_eq!((acked, outcome.rtt_from), (vec![7, 8, 10, 1, 2], Some(Timestamp::from_millis(10))));
        let (acked, outcome) = ack(&mut second, &frame);
        assert_eq!((acked, outcome.rtt_from), (vec![9, 0, 3], None));
        assert_eq!((first.bytes_in_flight(), second.bytes_in_flight()), (3 * 1_200, 1_200), "4, 5, 11 and 6");
        assert_eq!(second.largest_acked(), Some(9), "its own, not the frame's");
        let (acked, outcome) = ack(&mut second, &frame);
        assert_eq!((acked.len(), outcome.newly_acked, outcome.raises_largest), (0, 0, false));
    }

    /// burst B-104
    #[test]
    fn numbers_of_another_path_are_no_positions_of_this_one() {
        let [mut first, mut second] = two_journals(30);
        ack(&mut second, &[6..=6]);
        assert!(lost(&mut second).is_empty(), "0 and 3 are two positions behind at most");
        ack(&mut second, &[9..=9]);
        assert_eq!(lost(&mut second), [0], "three positions behind 9");
        ack(&mut first, &[29..=29]);
        assert_eq!(lost(&mut first).len(), 17, "all but 29 and the two before it");
    }

    #[test]
    fn the_number_so_many_packets_before_another_is_one_of_this_path() {
        let [first, second] = two_journals(30);
        assert_eq!((second.number_before(27, 2), second.number_before(9, 50), second.number_before(100, 1)), (21, 0, 27));
        assert_eq!(first.number_before(29, 2), 26);
        assert_eq!(SentPackets::<u64>::new().number_before(9, 2), 9);
    }
}
