//! A driver without a thread, a clock or a socket: whoever owns it gives time and datagrams and takes bursts.
//!
//! The same machine and the same application as on the I/O thread, in the order of its turns: datagrams, timers,
//! application, transmit. Called by the simulator, once per instant at which something happens to an endpoint. Decides
//! nothing about when that is, and never waits. Whoever cannot take bursts in the middle of a turn takes them one by one instead
//! ([`Manual::work`], [`Manual::offer`], [`Manual::settle`]): a carrier does, whose program runs between any two of them.

use std::fmt;

use qbase::{Ecn, FourTuple, Timestamp, limits};

use super::{
    failures::Failures,
    io::{Application, Io, Outside, Wishes},
    machine::{Departure, Machine, Received, SendFailure},
    raw::{Kept, RawInbox},
    stats::DriverStatistics,
    wishes::{Served, serve},
};

/// Bursts of one turn; a machine that has more gets another turn at once.
const BURSTS_PER_TURN: usize = 64;

/// Where a manual driver's bursts go.
pub trait Network<M: Machine>: Outside<M> {
    /// Takes a burst: all its segments, or none of them.
    ///
    /// # Errors
    /// Why it did not go, as a socket would say at once.
    fn send(&mut self, now: Timestamp, departure: &Departure, bytes: &[u8]) -> Result<(), SendFailure>;
}

/// What became of a burst that was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// So many of its segments were taken, the others are cancelled (burst B-7).
    Taken(usize),
    /// None of them, for this reason.
    Failed(SendFailure),
}

/// A machine and its application in the hands of a caller.
pub struct Manual<M: Machine, A> {
    machine: M,
    application: A,
    failures: Failures<M::Burst>,
    /// The burst that was offered and whose outcome is not known.
    open: Option<M::Burst>,
    /// Where bursts are written.
    buffer: Box<[u8]>,
    raw: RawInbox,
    statistics: DriverStatistics,
    wishes: Wishes,
    max_segments: usize,
    more_to_send: bool,
    /// Sockets came or went since the last bursts.
    served: Served,
}

impl<M: Machine, A: Application<M>> Manual<M, A> {
    /// A driver whose bursts have `max_segments` at most.
    #[must_use]
    pub fn new(machine: M, application: A, max_segments: usize) -> Self {
        Self {
            machine,
            application,
            failures: Failures::new(),
            open: None,
            buffer: vec![0; limits::MAX_BURST_BYTES].into_boxed_slice(),
            raw: RawInbox::default(),
            statistics: DriverStatistics::default(),
            wishes: Wishes::default(),
            max_segments: max_segments.clamp(1, limits::MAX_SEGMENTS),
            more_to_send: false,
            served: Served::Nothing,
        }
    }

    /// A datagram that has arrived, decrypted in place; belongs to the next turn.
    pub fn receive(&mut self, now: Timestamp, four_tuple: FourTuple, ecn: Ecn, datagram: &mut [u8]) {
        let statistics = &mut self.statistics;
        statistics.messages_received = statistics.messages_received.saturating_add(1);
        if datagram.is_empty() {
            statistics.empty_datagrams = statistics.empty_datagrams.saturating_add(1);
            return;
        }
        statistics.datagrams_received = statistics.datagrams_received.saturating_add(1);
        statistics.bytes_received = statistics.bytes_received.saturating_add(datagram.len() as u64);
        if self.machine.handle_datagram(now, four_tuple, ecn, datagram) == Received::NotQuic
            && self.raw.push(now, four_tuple, ecn, datagram) == Kept::No
        {
            self.statistics.raw_dropped = self.statistics.raw_dropped.saturating_add(1);
        }
    }

    /// One turn: what is due, the application, everything there is to send within a budget.
    pub fn turn(&mut self, now: Timestamp, network: &mut impl Network<M>) {
        self.work(now, network);
        self.transmit(now, network);
        self.served = serve(&mut self.machine, network, now);
    }

    /// The part of a turn that sends nothing: what is due, and the application.
    pub fn work(&mut self, now: Timestamp, outside: &mut impl Outside<M>) {
        self.statistics.turns = self.statistics.turns.saturating_add(1);
        self.fire_timers(now);
        self.wishes = Wishes::default();
        self.application.on_turn(&mut Io {
            endpoint: &mut self.machine,
            now,
            outside: &mut *outside,
            raw: &self.raw,
            statistics: &self.statistics,
            wishes: &mut self.wishes,
        });
        self.raw.clear();
        self.served = serve(&mut self.machine, outside, now);
    }

    /// The next burst and its bytes; nothing more is offered before [`Self::settle`] has heard what became of it.
    pub fn offer(&mut self, now: Timestamp) -> Option<(Departure, &[u8])> {
        if self.open.is_some() {
            return None;
        }
        let burst = self.machine.poll_transmit(now, &mut self.buffer, self.max_segments)?;
        let departure = M::departure(&burst);
        self.open = Some(burst);
        self.statistics.send_calls = self.statistics.send_calls.saturating_add(1);
        Some((departure, self.buffer.get(..departure.len).unwrap_or(&self.buffer)))
    }

    /// What became of the burst that was offered; without one nothing happens.
    pub fn settle(&mut self, now: Timestamp, outcome: Outcome) {
        let Some(burst) = self.open.take() else { return };
        let Departure { four_tuple, len, segment_size, .. } = M::departure(&burst);
        match outcome {
            Outcome::Taken(segments) => {
                let size = segment_size.max(1);
                let segments = segments.min(len.div_ceil(size).max(1));
                let bytes = segments.saturating_mul(size).min(len);
                self.statistics.datagrams_sent = self.statistics.datagrams_sent.saturating_add(segments as u64);
                self.statistics.bytes_sent = self.statistics.bytes_sent.saturating_add(bytes as u64);
                self.machine.on_submitted(&burst, segments, now);
            }
            Outcome::Failed(failure) => {
                self.statistics.send_errors = self.statistics.send_errors.saturating_add(1);
                if let Some((burst, failure)) = self.failures.on_failure(burst, four_tuple, failure, now) {
                    self.machine.on_send_error(&burst, failure, now);
                }
            }
        }
    }

    /// When the next turn is due if nothing arrives before; an instant that has passed means at once.
    #[must_use]
    pub fn next_turn(&self) -> Option<Timestamp> {
        if self.more_to_send || self.served == Served::Something {
            return Some(Timestamp::ZERO);
        }
        [self.machine.next_timer(), self.wishes.wake_at, self.failures.due()].into_iter().flatten().min()
    }

    /// The application has ended the driver.
    #[must_use]
    pub const fn is_stopped(&self) -> bool {
        self.wishes.stop
    }

    /// The application.
    pub const fn application_mut(&mut self) -> &mut A {
        &mut self.application
    }

    /// The machine.
    #[must_use]
    pub const fn machine(&self) -> &M {
        &self.machine
    }

    fn fire_timers(&mut self, now: Timestamp) {
        if self.machine.next_timer().is_some_and(|at| at <= now) {
            self.machine.on_timer(now);
        }
        while let Some((burst, failure)) = self.failures.next(now) {
            self.machine.on_send_error(&burst, failure, now);
        }
    }

    fn transmit(&mut self, now: Timestamp, network: &mut impl Network<M>) {
        self.more_to_send = false;
        for _ in 0..BURSTS_PER_TURN {
            let Some((departure, bytes)) = self.offer(now) else { return };
            let sent = network.send(now, &departure, bytes);
            self.settle(now, sent.map_or_else(Outcome::Failed, |()| Outcome::Taken(usize::MAX)));
        }
        self.more_to_send = true;
    }
}

impl<M: Machine, A> fmt::Debug for Manual<M, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manual").field("statistics", &self.statistics).finish_non_exhaustive()
    }
}
