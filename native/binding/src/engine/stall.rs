//! The longest time that a transfer stood still: what people see when a path dies (multipath MP-83).
//!
//! Called when a connection is looked at. Counts time from the last byte, while more are expected; the time before the
//! first byte counts, the time after the last one does not.

use std::time::Duration;

use qbase::Timestamp;

/// One direction of a connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stall {
    /// Bytes so far.
    total: u64,
    /// Since when the next byte is expected.
    since: Option<Timestamp>,
    /// The longest wait that ended with a byte.
    longest: Duration,
}

/// Whether more bytes are expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// They are.
    Yes,
    /// They are not.
    No,
}

impl Expected {
    /// More are expected if so many things are unfinished.
    #[must_use]
    pub const fn of(unfinished: u64) -> Self {
        if unfinished == 0 { Self::No } else { Self::Yes }
    }
}

impl Stall {
    /// So many bytes have come by now.
    pub fn look(&mut self, now: Timestamp, total: u64, more: Expected) {
        let progress = total > self.total;
        if let Some(since) = self.since
            && progress
        {
            self.longest = self.longest.max(now.saturating_since(since));
        }
        self.total = total;
        self.since = match more {
            Expected::No => None,
            Expected::Yes if progress => Some(now),
            Expected::Yes => Some(self.since.unwrap_or(now)),
        };
    }

    /// The longest wait.
    #[must_use]
    pub const fn longest(&self) -> Duration {
        self.longest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn the_longest_gap_between_bytes_counts() {
        let mut stall = Stall::default();
        for (millis, total) in [(0, 0), (10, 100), (12, 200), (300, 200), (350, 201), (360, 300)] {
            stall.look(at(millis), total, Expected::Yes);
        }
        assert_eq!(stall.longest(), Duration::from_millis(338));
    }

    #[test]
    fn time_without_anything_to_expect_is_no_stall() {
        let mut stall = Stall::default();
        stall.look(at(0), 0, Expected::Yes);
        stall.look(at(5), 100, Expected::No);
        stall.look(at(5_000), 100, Expected::Yes);
        stall.look(at(5_020), 200, Expected::No);
        assert_eq!(stall.longest(), Duration::from_millis(20));
    }
}
