//! The one place where real time enters: nanoseconds of a monotonic clock since the driver started (attacks J12).
//!
//! Called by the driver's and the relay's thread, once per batch of work (never per packet). Never reads wall time.

use std::time::Instant;

use qbase::Timestamp;

/// A monotonic clock that starts at [`Timestamp::ZERO`].
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock whose zero is this moment.
    #[must_use]
    pub fn start() -> Self {
        Self { start: read() }
    }

    /// Time since the start; never runs backwards.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let elapsed = read().saturating_duration_since(self.start);
        Timestamp::from_nanos(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX))
    }
}

#[expect(clippy::disallowed_methods, reason = "the driver is where time is read, and this is its only place")]
fn read() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_starts_at_zero_and_never_runs_backwards() {
        let clock = Clock::start();
        let mut last = Timestamp::ZERO;
        for _ in 0..1_000 {
            let now = clock.now();
            assert!(now >= last);
            last = now;
        }
    }
}
