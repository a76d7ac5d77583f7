//! Bursts that a socket could not take yet: kept whole, in order, until there is room (attacks J7, burst B-7).
//!
//! ```text
//!   open ──EAGAIN──▶ waiting for room ──writable, or 10 ms──▶ open
//!     └───ENOBUFS──▶ resting 1, 2, 4 … 10 ms ───────────────▶ open
//! ```
//! A socket that waits blocks no other. Its machine sees the held bursts as open, so there is at most one per path.
//! Called by [`super::turn`]. Never sends; never drops a burst without telling.

use std::{collections::VecDeque, time::Duration};

use qbase::Timestamp;

use super::machine::Departure;

/// Bursts held per socket; a socket with this many makes the loop stop asking for more.
const BURSTS: usize = 64;
/// Buffers kept for later bursts.
const SPARE_BUFFERS: usize = 8;
/// First rest after ENOBUFS; doubles each time (attacks J7).
const FIRST_REST: Duration = Duration::from_millis(1);
/// Longest rest after ENOBUFS, and longest trust in a report of writability.
const LONGEST_REST: Duration = Duration::from_millis(10);

/// One socket's bursts that wait.
#[derive(Debug)]
pub(super) struct Outbox<B> {
    queue: VecDeque<Held<B>>,
    pause: Option<Pause>,
    /// How long the next ENOBUFS makes us rest.
    rest: Duration,
    spare: Vec<Vec<u8>>,
}

/// A burst with a copy of its bytes.
#[derive(Debug)]
pub(super) struct Held<B> {
    pub(super) burst: B,
    pub(super) departure: Departure,
    pub(super) bytes: Vec<u8>,
}

/// Why nothing is sent now, and until when at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pause {
    reason: Reason,
    until: Timestamp,
}

/// What a socket waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// Room in its own buffer.
    Full,
    /// Buffers of the system.
    NoBuffers,
}

impl<B> Outbox<B> {
    pub(super) const fn new() -> Self {
        Self { queue: VecDeque::new(), pause: None, rest: FIRST_REST, spare: Vec::new() }
    }

    /// New bursts must queue up.
    pub(super) fn is_waiting(&self) -> bool {
        self.pause.is_some() || !self.queue.is_empty()
    }

    /// No more bursts should be made for this socket.
    pub(super) fn is_full(&self) -> bool {
        self.queue.len() >= BURSTS
    }

    /// Keeps a burst behind the others.
    pub(super) fn hold(&mut self, burst: B, departure: Departure, bytes: &[u8]) {
        let mut copy = self.spare.pop().unwrap_or_default();
        copy.clear();
        copy.extend_from_slice(bytes);
        self.queue.push_back(Held { burst, departure, bytes: copy });
    }

    /// The kernel said why it takes nothing now.
    pub(super) fn pause(&mut self, reason: Reason, now: Timestamp) {
        let wait = match reason {
            Reason::Full => LONGEST_REST,
            Reason::NoBuffers => self.rest,
        };
        if reason == Reason::NoBuffers {
            self.rest = self.rest.saturating_mul(2).min(LONGEST_REST);
        }
        self.pause = Some(Pause { reason, until: now + wait });
    }

    /// The selector reports room; a rest for the system's buffers goes on.
    pub(super) fn on_writable(&mut self) {
        if self.pause.is_some_and(|pause| pause.reason == Reason::Full) {
            self.pause = None;
        }
    }

    /// Whether the selector should report room.
    pub(super) fn wants_writable(&self) -> bool {
        self.pause.is_some_and(|pause| pause.reason == Reason::Full)
    }

    /// When to try again.
    pub(super) fn due(&self) -> Option<Timestamp> {
        self.pause.map(|pause| pause.until)
    }

    /// The burst to offer now, if one waits and it is time.
    pub(super) fn next(&mut self, now: Timestamp) -> Option<Held<B>> {
        if self.pause.is_some_and(|pause| now < pause.until) {
            return None;
        }
        self.pause = None;
        self.queue.pop_front()
    }

    /// The burst offered last was refused once more.
    pub(super) fn put_back(&mut self, held: Held<B>) {
        self.queue.push_front(held);
    }

    /// The kernel took something: rests start short again, the buffer is spare.
    pub(super) fn on_taken(&mut self, buffer: Option<Vec<u8>>) {
        self.rest = FIRST_REST;
        if let Some(buffer) = buffer
            && self.spare.len() < SPARE_BUFFERS
        {
            self.spare.push(buffer);
        }
    }

    /// Everything that waits, for a socket that goes away.
    pub(super) fn into_bursts(self) -> impl Iterator<Item = Held<B>> {
        self.queue.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use qbase::{Ecn, FourTuple};

    use super::*;

    const START: Timestamp = Timestamp::from_millis(1_000);

    #[test]
    fn a_full_socket_keeps_order_and_waits_for_room() {
        let mut outbox = Outbox::new();
        outbox.pause(Reason::Full, START);
        for number in 0..3 {
            outbox.hold(number, departure(), &[number]);
        }
        assert!(outbox.wants_writable());
        assert!(outbox.next(START).is_none());
        outbox.on_writable();
        let order: Vec<_> = std::iter::from_fn(|| outbox.next(START)).map(|held| (held.burst, held.bytes)).collect();
        assert_eq!(order, [(0, vec![0]), (1, vec![1]), (2, vec![2])]);
        assert!(!outbox.is_waiting());
    }

    #[test]
    fn a_report_of_room_that_never_comes_delays_by_10_ms_at_most() {
        let mut outbox = Outbox::new();
        outbox.pause(Reason::Full, START);
        outbox.hold(0, departure(), b"x");
        assert_eq!(outbox.due(), Some(START + Duration::from_millis(10)));
        assert!(outbox.next(START + Duration::from_millis(10)).is_some());
    }

    #[test]
    fn rests_for_buffers_double_from_1_to_10_ms_and_start_over_after_success() {
        let mut outbox = Outbox::<u8>::new();
        let mut rest = || {
            outbox.pause(Reason::NoBuffers, START);
            outbox.on_writable();
            outbox.due().expect("resting").saturating_since(START).as_millis()
        };
        assert_eq!([rest(), rest(), rest(), rest(), rest(), rest()], [1, 2, 4, 8, 10, 10]);
        outbox.on_taken(None);
        outbox.pause(Reason::NoBuffers, START);
        assert_eq!(outbox.due(), Some(START + Duration::from_millis(1)));
    }

    fn departure() -> Departure {
        let address = (Ipv4Addr::LOCALHOST, 1).into();
        let four_tuple = FourTuple { local: address, remote: address };
        Departure { four_tuple, ecn: Ecn::NotEct, hop_limit: None, len: 1, segment_size: 1, path: None }
    }
}
