//! Virtual time: an instant that moves only when it is told to, and never backwards.
//!
//! Called by the harness between two events. Never reads the machine's clock.

use std::time::Duration;

use qbase::Timestamp;

/// The clock of one simulated world.
#[derive(Clone, Debug)]
pub struct Clock {
    now: Timestamp,
}

impl Clock {
    /// Where virtual time starts: one second after the machine's zero, so that code which subtracts a delay from the
    /// first instants does not hide behind saturation.
    pub const START: Timestamp = Timestamp::from_millis(1_000);

    /// A clock that stands at [`Self::START`].
    #[must_use]
    pub const fn new() -> Self {
        Self { now: Self::START }
    }

    /// The present instant.
    #[must_use]
    pub const fn now(&self) -> Timestamp {
        self.now
    }

    /// Virtual time since the start.
    #[must_use]
    pub const fn elapsed(&self) -> Duration {
        self.now.saturating_since(Self::START)
    }

    /// Moves to `at`; an instant in the past leaves the clock where it is.
    pub fn advance_to(&mut self, at: Timestamp) {
        self.now = self.now.max(at);
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_moves_forward_only() {
        let mut clock = Clock::new();
        clock.advance_to(Clock::START + Duration::from_millis(5));
        clock.advance_to(Clock::START);
        assert_eq!(clock.elapsed(), Duration::from_millis(5));
    }
}
