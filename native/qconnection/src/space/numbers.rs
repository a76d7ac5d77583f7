//! Numbers of packets to send: which is next, which is left out, which is the last (RFC 9000 §12.3).
//!
//! Called by the burst writer for each packet. One row for each packet-number space, whoever uses it.

use qbase::{PacketNumber, varint};

/// A row of packet numbers.
#[derive(Clone, Copy, Debug)]
pub struct Numbers {
    /// The next one.
    next: PacketNumber,
    /// The one that is left out next, so that acknowledgements sent ahead of receipt show (attacks C2).
    skip_at: PacketNumber,
    /// The one that no packet may have any more.
    last: PacketNumber,
}

impl Numbers {
    /// A row that begins with 0 and leaves `first_skip` out.
    #[must_use]
    pub const fn new(first_skip: PacketNumber) -> Self {
        Self { next: 0, skip_at: first_skip, last: varint::MAX }
    }

    /// They end at `last`, if that is told, in place of 2^62-1.
    pub fn end_at(&mut self, last: Option<PacketNumber>) {
        self.last = last.unwrap_or(varint::MAX);
    }

    /// None is left: nothing may be sent any more, not even a word about it.
    #[must_use]
    pub const fn is_used_up(&self) -> bool {
        self.next >= self.last
    }

    /// The lowest number that neither a packet had nor was passed over.
    #[must_use]
    pub const fn unused(&self) -> PacketNumber {
        self.next
    }

    /// Takes the next one, unless they are used up; `skip_distance` is how far away the next one left out lies.
    pub fn take(&mut self, skip_distance: u64) -> Option<PacketNumber> {
        if self.is_used_up() {
            return None;
        }
        let number = if self.next == self.skip_at { self.next.saturating_add(1) } else { self.next };
        self.next = number.saturating_add(1);
        if self.skip_at < self.next {
            self.skip_at = self.next.saturating_add(skip_distance.max(1));
        }
        Some(number)
    }

    /// Gives back the number taken last, if its packet stayed empty (burst B-23).
    pub fn give_back(&mut self, number: PacketNumber) {
        if number.saturating_add(1) == self.next {
            self.next = number;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_rise_one_is_left_out_and_an_empty_packet_gives_its_own_back() {
        let mut numbers = Numbers::new(2);
        assert_eq!([(); 3].map(|()| numbers.take(2)), [Some(0), Some(1), Some(3)]);
        numbers.give_back(3);
        assert_eq!((numbers.unused(), numbers.take(2)), (3, Some(3)));
        numbers.give_back(1);
        assert_eq!([(); 3].map(|()| numbers.take(2)), [Some(4), Some(5), Some(7)]);
    }

    #[test]
    fn no_number_comes_after_the_last() {
        let mut numbers = Numbers::new(u64::MAX);
        numbers.end_at(Some(2));
        assert_eq!([(); 3].map(|()| numbers.take(9)), [Some(0), Some(1), None]);
        assert!(numbers.is_used_up());
    }
}
