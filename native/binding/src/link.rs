//! What the two halves of an endpoint share beside the queues: keys, pages, the clock, addresses.
//!
//! Made by `endpoint`, read and written by both threads. Decides nothing but the next key.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
};

use qbase::Timestamp;
use qdriver::Clock;

use crate::{
    lock::{Lock, lock},
    stats::Pages,
};

/// Key log lines that wait for JavaScript (attacks L26): about 200 handshakes.
const KEYLOG_LINES: usize = 1_024;

/// Where an endpoint's time comes from.
#[derive(Clone, Debug)]
pub enum TimeSource {
    /// The system.
    Real(Clock),
    /// A simulated world.
    Virtual {
        /// The world's clock, ns.
        now: Arc<AtomicU64>,
        /// What it said when the endpoint was made.
        zero: Timestamp,
    },
}

impl TimeSource {
    /// The endpoint's zero on the clock of its machine.
    #[must_use]
    pub const fn zero(&self) -> Timestamp {
        match self {
            Self::Real(_) => Timestamp::ZERO,
            Self::Virtual { zero, .. } => *zero,
        }
    }

    /// Time since the endpoint was made.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match self {
            Self::Real(clock) => clock.now(),
            Self::Virtual { now, zero } => {
                let now = Timestamp::from_nanos(now.load(Ordering::Relaxed));
                Timestamp::ZERO + now.saturating_since(*zero)
            }
        }
    }
}

/// Shared between the JavaScript thread and the I/O thread of one endpoint.
#[derive(Debug)]
pub struct Link {
    /// The last connection key given away.
    keys: AtomicU32,
    /// Numbers to be read.
    pub pages: Pages,
    /// Zero when the endpoint was made.
    pub clock: TimeSource,
    /// Bound addresses.
    local: Lock<Vec<String>>,
    /// Key log lines on their way to the engine, at most [`KEYLOG_LINES`].
    keylog: Lock<Vec<String>>,
    /// Lines that found no room.
    keylog_lost: AtomicU64,
    /// The last record was published: nothing follows.
    ended: AtomicBool,
    /// JavaScript ends the thread without waiting for records.
    abandoned: AtomicBool,
    /// Memory of receive buffers, bytes.
    pub pool_bytes_max: u64,
}

impl Link {
    /// Of a new endpoint whose receive buffers hold `pool_bytes_max` bytes.
    #[cfg(test)]
    pub fn new(pool_bytes_max: u64) -> Self {
        Self::timed(pool_bytes_max, TimeSource::Real(Clock::start()))
    }

    /// The same on a clock of its own.
    #[must_use]
    pub fn timed(pool_bytes_max: u64, clock: TimeSource) -> Self {
        Self {
            keys: AtomicU32::new(0),
            pages: Pages::default(),
            clock,
            local: Lock::default(),
            keylog: Lock::default(),
            keylog_lost: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            abandoned: AtomicBool::new(false),
            pool_bytes_max,
        }
    }

    /// A key that no connection had or will have; `None` when they are used up.
    #[must_use]
    pub fn next_key(&self) -> Option<u32> {
        let next = |last: u32| last.checked_add(1);
        self.keys.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).ok().and_then(next)
    }

    /// Bound addresses with their real ports.
    #[must_use]
    pub fn local(&self) -> Vec<String> {
        lock(&self.local).clone()
    }

    /// Sockets were bound or closed.
    pub fn set_local(&self, addresses: Vec<String>) {
        *lock(&self.local) = addresses;
    }

    /// A key log line; the engine hands it over in this turn, or when JavaScript keeps up again. Of more than
    /// [`KEYLOG_LINES`] the newest are lost and counted.
    pub fn log_key(&self, line: &str) {
        let mut lines = lock(&self.keylog);
        if lines.len() < KEYLOG_LINES {
            lines.push(line.to_owned());
        } else {
            self.keylog_lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Lines lost since this was asked last.
    #[must_use]
    pub fn take_lost_keylog(&self) -> u64 {
        self.keylog_lost.swap(0, Ordering::Relaxed)
    }

    /// Key log lines that have come.
    #[must_use]
    pub fn take_keylog(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.keylog))
    }

    /// The last record was published.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }

    /// Nothing follows what was published.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// The thread will be ended by whoever owns it; nobody listens.
    pub fn abandon(&self) {
        self.abandoned.store(true, Ordering::Release);
    }

    /// Nobody listens any more.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// attacks L26.
    #[test]
    fn key_log_lines_that_nobody_takes_are_bounded_and_counted() {
        let link = Link::new(0);
        for _ in 0..KEYLOG_LINES {
            link.log_key("line");
        }
        assert_eq!(link.take_lost_keylog(), 0);
        link.log_key("one more");
        assert_eq!((link.take_lost_keylog(), link.take_keylog().len()), (1, KEYLOG_LINES));
        link.log_key("room again");
        assert_eq!((link.take_lost_keylog(), link.take_keylog().len()), (0, 1));
    }

    #[test]
    fn keys_begin_with_one_and_end_when_used_up() {
        let link = Link::new(0);
        assert_eq!((link.next_key(), link.next_key()), (Some(1), Some(2)));
        link.keys.store(u32::MAX - 1, Ordering::Relaxed);
        assert_eq!((link.next_key(), link.next_key(), link.next_key()), (Some(u32::MAX), None, None));
    }
}
