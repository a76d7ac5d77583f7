//! How fast a machine hears that a way does not work: at once, then at most every 10 ms per four-tuple (attacks F21).
//!
//! A refused burst goes back into the machine, which may offer it again at once; on a way without a route that would
//! spin. The second failure within the interval is therefore told late, and until then the path's burst counts as open,
//! so only that path waits. Called by [`super::turn`]. Never keeps bytes.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use qbase::{FourTuple, Timestamp};

use super::machine::SendFailure;

/// Least time between two reports about one four-tuple.
const INTERVAL: Duration = Duration::from_millis(10);
/// Four-tuples remembered, and reports kept; beyond, failures are told at once.
const BOUND: usize = 4_096;

/// Failures told lately and failures to tell later.
#[derive(Debug)]
pub(super) struct Failures<B> {
    /// Until when a further failure of this four-tuple is told late.
    recent: BTreeMap<FourTuple, Timestamp>,
    /// In the order they are due.
    late: VecDeque<Late<B>>,
}

#[derive(Debug)]
struct Late<B> {
    due: Timestamp,
    burst: B,
    failure: SendFailure,
}

impl<B> Failures<B> {
    pub(super) const fn new() -> Self {
        Self { recent: BTreeMap::new(), late: VecDeque::new() }
    }

    /// A burst to `four_tuple` failed: returns it if the machine should hear it now.
    pub(super) fn on_failure(
        &mut self,
        burst: B,
        four_tuple: FourTuple,
        failure: SendFailure,
        now: Timestamp,
    ) -> Option<(B, SendFailure)> {
        let repeated = self.recent.get(&four_tuple).is_some_and(|until| now < *until);
        if self.recent.len() >= BOUND {
            self.recent.retain(|_, until| now < *until);
        }
        if self.recent.len() < BOUND {
            self.recent.insert(four_tuple, now + INTERVAL + INTERVAL);
        }
        if repeated && self.late.len() < BOUND {
            self.late.push_back(Late { due: now + INTERVAL, burst, failure });
            return None;
        }
        Some((burst, failure))
    }

    /// A failure whose time has come.
    pub(super) fn next(&mut self, now: Timestamp) -> Option<(B, SendFailure)> {
        if self.due()? > now {
            return None;
        }
        self.late.pop_front().map(|late| (late.burst, late.failure))
    }

    /// When the next failure is to be told.
    pub(super) fn due(&self) -> Option<Timestamp> {
        self.late.front().map(|late| late.due)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const START: Timestamp = Timestamp::from_millis(1_000);

    #[test]
    fn the_first_failure_is_told_at_once_and_the_next_10_ms_later() {
        let mut failures = Failures::new();
        assert!(failures.on_failure(1, way(1), SendFailure::Unreachable, START).is_some());
        assert!(failures.on_failure(2, way(1), SendFailure::Unreachable, START).is_none());
        assert!(failures.next(START).is_none());
        let due = failures.due().expect("one is due");
        assert_eq!(due, START + INTERVAL);
        assert_eq!(failures.next(due), Some((2, SendFailure::Unreachable)));
        assert!(failures.on_failure(3, way(1), SendFailure::Unreachable, due).is_none(), "it goes on failing");
    }

    #[test]
    fn one_bad_way_does_not_delay_news_of_another() {
        let mut failures = Failures::new();
        assert!(failures.on_failure(1, way(1), SendFailure::Unreachable, START).is_some());
        assert!(failures.on_failure(2, way(2), SendFailure::TooLarge, START).is_some());
    }

    #[test]
    fn a_way_that_recovered_is_told_at_once_again() {
        let mut failures = Failures::new();
        assert!(failures.on_failure(1, way(1), SendFailure::Other, START).is_some());
        let later = START + Duration::from_secs(1);
        assert!(failures.on_failure(2, way(1), SendFailure::Other, later).is_some());
    }

    #[test]
    fn many_bad_ways_are_forgotten_in_time() {
        let mut failures = Failures::new();
        for port in 0..5_000 {
            assert!(failures.on_failure(port, way(port), SendFailure::Other, START).is_some());
        }
        assert!(failures.recent.len() <= BOUND);
    }

    fn way(port: u16) -> FourTuple {
        FourTuple { local: (Ipv4Addr::LOCALHOST, 1).into(), remote: (Ipv4Addr::LOCALHOST, port).into() }
    }
}
