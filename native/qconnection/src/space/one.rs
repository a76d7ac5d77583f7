//! The one application space of all paths (multipath MP-101 to MP-103): numbers, what was left out, what came.
//!
//! Begins when the handshake is complete, with what path 0 sent and received until then. What each path has in flight, when
//! it acknowledges and what it measured stays with the path. Called by the connection's shared-space part.

use super::{Numbers, Space};
use qbase::{Ecn, PacketNumber, Timestamp, TransportError, frame::ack::AckRanges, limits};
use qrecovery::{range_set::RangeSet, received::{Receipt, ReceivedPackets}};
use std::{collections::VecDeque, ops::{Range, RangeInclusive}};

/// Bytes of a packet number at most (RFC 9000 §17.1).
const LONGEST_NUMBER: usize = 4;

/// Rows of numbers without a packet that are remembered.
const SKIPPED_RANGES: usize = 64;

/// Numbers and received packets of all paths.
#[derive(Debug)]
pub struct OneSpace {
    /// Numbers of our packets.
    pub numbers: Numbers,
    /// Numbers below [`Numbers::unused`] that no packet had.
    skipped: RangeSet,
    /// Numbers the peer sent.
    received: ReceivedPackets,
    /// Packets received, modulo 2^32.
    arrivals: u32,
    /// Rows of numbers that came when a higher one had come, with the count of packets by then: reports of before do not
    /// have them. At most as many as ranges are kept.
    late: VecDeque<(Range<PacketNumber>, u32)>,
    /// The highest number the peer acknowledged.
    largest_acked: Option<PacketNumber>,
}

impl OneSpace {
    /// Takes over from path 0, whose space keeps what belongs to the path.
    #[must_use]
    pub fn begin(first: &mut Space) -> Self {
        Self {
            numbers: first.numbers,
            skipped: first.sent.take_skipped(),
            received: first.received.share(limits::ACK_RANGES_SHARED),
            arrivals: 0,
            late: VecDeque::new(),
            largest_acked: first.sent.largest_acked(),
        }
    }

    /// The number of the next packet on whichever path; see [`Numbers::take`].
    pub fn take_number(&mut self, skip_distance: u64) -> Option<PacketNumber> {
        let before = self.numbers.unused();
        let number = self.numbers.take(skip_distance)?;
        if before < number {
            self.leave_out(before..number);
        }
        Some(number)
    }

    /// The packet with this number never left.
    pub fn on_unsent(&mut self, number: PacketNumber) {
        self.leave_out(number..number.saturating_add(1));
    }

    fn leave_out(&mut self, numbers: Range<PacketNumber>) {
        self.skipped.insert(numbers);
        self.skipped.trim_to(SKIPPED_RANGES);
    }

    /// The peer acknowledges these numbers.
    ///
    /// # Errors
    /// PROTOCOL_VIOLATION for one that no packet had (attacks C1, C2; RFC 9000 §13.1).
    pub fn check_ack(&mut self, ranges: AckRanges<'_>) -> Result<(), TransportError> {
        for range in ranges {
            if *range.end() >= self.numbers.unused() {
                return Err(TransportError::violation("acknowledged a packet that was never sent"));
            }
            if self.skipped.contains_any(*range.start()..range.end().saturating_add(1)) {
                return Err(TransportError::violation("acknowledged a packet number that was skipped"));
            }
            self.largest_acked = self.largest_acked.max(Some(*range.end()));
        }
        Ok(())
    }

    /// What came over all paths.
    #[must_use]
    pub const fn received(&self) -> &ReceivedPackets {
        &self.received
    }

    /// What a truncated number of `len` bytes is read against when `own` is the largest number that came over its path: that
    /// one, or for the longest numbers the largest of all paths, since a path that rested may be further behind than four
    /// bytes reach.
    #[must_use]
    pub fn base(&self, own: Option<PacketNumber>, len: usize) -> Option<PacketNumber> {
        if len < LONGEST_NUMBER { own } else { self.received.largest().map(|largest| largest.number) }
    }

    /// Packets that came, modulo 2^32; what an ACK frame is remembered by.
    #[must_use]
    pub const fn arrivals(&self) -> u32 {
        self.arrivals
    }

    /// A packet was opened.
    pub fn on_packet(&mut self, number: PacketNumber, now: Timestamp) -> Receipt {
        let receipt = self.received.on_packet(number, now, Ecn::NotEct);
        if receipt == Receipt::Duplicate {
            return receipt;
        }
        self.arrivals = self.arrivals.wrapping_add(1);
        if receipt == Receipt::Late {
            match self.late.back_mut() {
                Some((row, at)) if row.end == number => (row.end, *at) = (number.saturating_add(1), self.arrivals),
                _ => self.late.push_back((number..number.saturating_add(1), self.arrivals)),
            }
            if self.late.len() > limits::ACK_RANGES_SHARED {
                self.late.pop_front();
            }
        }
        receipt
    }

    /// The peer has seen an ACK frame of ours with all that lay within `numbers` when so many packets had come (RFC 9000
    /// §13.2.4). On a slower path packets come later than reports of higher numbers: those are told all the same.
    pub fn on_report_acked(&mut self, numbers: RangeInclusive<PacketNumber>, arrivals: u32) {
        let is_old = |at: u32| arrivals.wrapping_sub(at) < u32::MAX / 2;
        while self.late.front().is_some_and(|(_, at)| is_old(*at)) {
            self.late.pop_front();
        }
        let within = |row: &Range<PacketNumber>| row.start <= *numbers.end() && *numbers.start() < row.end;
        let young = self.late.iter().filter(|(row, _)| within(row)).map(|(row, _)| row.clone());
        self.received.on_report_acked(&numbers, young);
    }

    /// The highest number the peer acknowledged.
    #[must_use]
    pub const fn largest_acked(&self) -> Option<PacketNumber> {
        self.largest_acked
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use qbase::packet::number;
    use std::time::Duration;

    /// A space whose packets have the numbers 0, 1, 3, 4, 6.
    fn space() -> OneSpace {
        let mut one = OneSpace::begin(&mut Space::new(limits::ACK_RANGES, Duration::ZERO, 2));
        let numbers: Vec<u64> = (0..5).filter_map(|_| one.take_number(1)).collect();
        assert_eq!(numbers, [0, 1, 3, 4, 6]);
        one
    }

    /// multipath MP-101: a path that rested while others sent more than 2^31 packets is read again, and what is on its way
    /// over a slow one behind them, too.
    #[test]
    fn numbers_more_than_two_to_the_31_apart_are_read_on_every_path() {
        let read = |one: &OneSpace, own: Option<u64>, number: u64, acked: Option<u64>| {
            let len = number::encoded_len(number, acked).max(2);
            number::decode(number & ((1_u64 << (8 * len)) - 1), len, one.base(own, len))
        };
        for (rested, newest) in [(7_u64, 5_000_000_000_u64), (7, 1 << 40), (1 << 33, (1 << 33) + (1 << 31) + 9)] {
            let mut one = OneSpace::begin(&mut Space::new(limits::ACK_RANGES, Duration::ZERO, 2));
            one.on_packet(newest, Timestamp::ZERO);
            // The rested path delivered `rested` last, and its peer knows that or less.
            for acked in [Some(rested), None] {
                for number in [newest + 1, newest + 1_000_000, newest - 1_000_000] {
                    assert_eq!(read(&one, Some(rested), number, acked), number, "{rested} {newest} {acked:?}");
                }
            }
            let four = (newest + 1) & 0xffff_ffff;
            assert_ne!(number::decode(four, 4, Some(rested)), newest + 1, "the path's own largest is too far behind");
            // A path that did not rest sends short numbers, read against what came over it.
            let own = newest - 40_000;
            assert_eq!(read(&one, Some(own), own + 100, Some(own)), own + 100);
        }
    }

    fn takes(one: &mut OneSpace, range: std::ops::RangeInclusive<u64>) -> bool {
        one.check_ack(AckRanges::one(&range)).is_ok()
    }

    /// multipath MP-104
    #[test]
    fn attack_c2_a_number_left_out_on_any_path_cannot_be_acknowledged() {
        let mut one = space();
        assert!(takes(&mut one, 0..=1) && takes(&mut one, 3..=4) && takes(&mut one, 6..=6));
        for bad in [2..=2, 1..=3, 5..=5, 0..=6] {
            assert!(!takes(&mut one, bad.clone()), "{bad:?}");
        }
    }

    #[test]
    fn attack_c1_numbers_never_sent_or_taken_back_cannot_be_acknowledged() {
        let mut one = space();
        assert!(!takes(&mut one, 7..=7) && !takes(&mut one, 6..=1 << 40));
        one.on_unsent(6);
        assert!(!takes(&mut one, 6..=6) && takes(&mut one, 4..=4));
    }

    /// RFC 9000 §13.2.4; multipath MP-103
    #[test]
    fn what_came_after_a_report_is_told_though_the_report_was_seen() {
        let mut one = space();
        for number in [0, 1, 8, 9] {
            one.on_packet(number, Timestamp::ZERO);
        }
        let report = one.arrivals();
        for number in [2, 3, 10] {
            one.on_packet(number, Timestamp::ZERO);
        }
        one.on_report_acked(0..=9, report);
        let told = |one: &OneSpace| one.received().ranges_from(10).collect::<Vec<_>>();
        assert_eq!(told(&one), [10..=10, 2..=3]);
        let report = one.arrivals();
        one.on_report_acked(0..=10, report);
        assert_eq!((told(&one), one.late.len()), (vec![10..=10], 0));
    }

    #[test]
    fn attack_l5_rows_that_came_late_are_remembered_up_to_a_bound() {
        let mut one = space();
        one.on_packet(1 << 20, Timestamp::ZERO);
        for number in 0..=limits::ACK_RANGES_SHARED as u64 {
            assert!(one.late.len() <= limits::ACK_RANGES_SHARED);
            one.on_packet(2 * number, Timestamp::ZERO);
        }
        assert_eq!(one.late.len(), limits::ACK_RANGES_SHARED);
    }

    #[test]
    fn attack_l5_rows_of_numbers_left_out_are_remembered_up_to_a_bound() {
        let mut one = OneSpace::begin(&mut Space::new(limits::ACK_RANGES, Duration::ZERO, u64::MAX));
        for number in 0..=2 * SKIPPED_RANGES as u64 {
            one.take_number(1);
            if number % 2 == 0 {
                one.on_unsent(number);
            }
        }
        assert_eq!(one.skipped.len(), SKIPPED_RANGES);
        assert!(takes(&mut one, 0..=1), "one more than the bound: the oldest is forgotten");
        assert!(!takes(&mut one, 2..=3));
    }
}
