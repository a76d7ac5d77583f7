//! One turn of the I/O thread: wait, read, timers, held bursts, application, transmit.
//!
//! Every step has a budget, so that a flood on one socket delays neither timers nor other sockets (attacks A2, A23): a
//! socket that still has datagrams makes the next wait a glance. Time is read once per batch read and once per burst
//! sent. Called by the driver's thread. Decides nothing about packets.

use std::{io, time::Duration};

use mio::event::Event;
use qbase::{FourTuple, Timestamp, limits};

use super::{
    BELL,
    failures::Failures,
    intake::Intake,
    kernel::Kernel,
    io::{Application, Io, Wishes},
    machine::{Departure, Machine, SendFailure},
    outbox::Reason,
    raw::RawInbox,
    refusal::failure_of,
    sockets::Sockets,
    stats::DriverStatistics,
    wishes::{Served, serve},
};
use crate::{
    clock::Clock,
    poller::{self, Poller},
    socket::{Hearing, ReceiveArena, Sent, Stop, receive},
    tcp::TcpConnections,
    waker::Waker,
};

/// Messages read per socket and turn (attacks A2).
const READS_PER_TURN: usize = 64;
/// Bytes after which a socket is left for this turn even if more messages wait: answers should not wait either.
const BYTES_PER_TURN: usize = 512 * 1_024;
/// Errors of one socket after which it is left alone until it reports again.
const ERRORS_PER_TURN: usize = 8;
/// Words about sent datagrams that are read per socket and turn.
const WORDS_PER_TURN: usize = 16;
/// Bursts sent per turn before sockets are read again.
const BURSTS_PER_TURN: usize = 64;

/// Everything the thread owns.
pub(super) struct Loop<M: Machine, A> {
    machine: M,
    application: A,
    sockets: Sockets<M::Burst>,
    /// Connections that the application has handed over.
    tcp: TcpConnections,
    failures: Failures<M::Burst>,
    poller: Poller,
    waker: Waker,
    clock: Clock,
    /// The last reading of the clock.
    now: Timestamp,
    arena: ReceiveArena,
    /// Where bursts are written.
    buffer: Box<[u8]>,
    raw: RawInbox,
    statistics: DriverStatistics,
    wishes: Wishes,
    /// The machine's timer, as of the last wait.
    timer: Option<Timestamp>,
    /// Bursts are left that the last turn had no budget for.
    more_to_send: bool,
    /// Sockets came or went after the last bursts.
    served: Served,
    /// Socket that reads first in the next turn.
    first: usize,
}

impl<M: Machine, A: Application<M>> Loop<M, A> {
    pub(super) fn new(
        machine: M,
        application: A,
        sockets: Sockets<M::Burst>,
        poller: Poller,
        waker: Waker,
    ) -> Self {
        Self {
            machine,
            application,
            sockets,
            tcp: TcpConnections::default(),
            failures: Failures::new(),
            poller,
            waker,
            clock: Clock::start(),
            now: Timestamp::ZERO,
            arena: ReceiveArena::new(),
            buffer: vec![0; limits::MAX_BURST_BYTES].into_boxed_slice(),
            raw: RawInbox::default(),
            statistics: DriverStatistics::default(),
            wishes: Wishes::default(),
            timer: None,
            // The machine may have been used before it came here: the first turn does not wait.
            more_to_send: true,
            served: Served::Nothing,
            first: 0,
        }
    }

    /// Takes turns until told to stop.
    pub(super) fn run(mut self) -> io::Result<()> {
        poller::sharpen_timers();
        loop {
            self.wait()?;
            let last = self.waker.is_stopped();
            self.turn();
            if last || self.wishes.stop {
                return Ok(());
            }
        }
    }

    /// One turn without the wait.
    pub(super) fn turn(&mut self) {
        self.statistics.turns = self.statistics.turns.saturating_add(1);
        self.read();
        self.fire_timers();
        self.send_held();
        self.call_application();
        self.transmit();
        self.served = self.serve_wishes();
        self.watch_full_sockets();
    }

    /// Naps until a socket, the bell or the earliest deadline; only glances when work is left.
    pub(super) fn wait(&mut self) -> io::Result<()> {
        let nap = self.nap();
        if nap != Some(Duration::ZERO) && self.waker.gate().try_nap() {
            self.poller.wait(nap)?;
        } else {
            self.poller.wait(Some(Duration::ZERO))?;
        }
        self.waker.gate().rise();
        self.now = self.clock.now();
        for event in self.poller.events() {
            if !self.tcp.note(event) {
                note(&mut self.sockets, event);
            }
        }
        Ok(())
    }

    /// How long there is nothing to do; `None`: until something happens.
    fn nap(&mut self) -> Option<Duration> {
        self.timer = self.machine.next_timer();
        if self.more_to_send || self.served == Served::Something || self.sockets.has_readable() || self.waker.is_stopped() {
            return Some(Duration::ZERO);
        }
        let deadlines = [self.timer, self.wishes.wake_at, self.sockets.due(), self.failures.due()];
        let deadline = deadlines.into_iter().flatten().min()?;
        Some(deadline.saturating_since(self.clock.now()))
    }

    /// Reads every socket that may have something, each within its budget, another one first each turn.
    fn read(&mut self) {
        self.raw.clear();
        let count = self.sockets.len();
        if count == 0 {
            return;
        }
        self.first = self.first.wrapping_add(1) % count;
        for slot in (self.first..count).chain(0..self.first) {
            self.read_socket(slot);
        }
    }

    fn read_socket(&mut self, slot: usize) {
        self.hear(slot);
        let Some(entry) = self.sockets.get_mut(slot) else { return };
        let (mut reads, mut bytes, mut errors) = (0, 0, 0);
        while entry.readable && reads < READS_PER_TURN && bytes < BYTES_PER_TURN {
            let wanted = (READS_PER_TURN - reads).min(ReceiveArena::MESSAGES);
            self.statistics.receive_calls = self.statistics.receive_calls.saturating_add(1);
            let Ok(count) = entry.socket.receive(&mut self.arena, wanted) else {
                // The error belongs to no datagram we could blame (attacks J8); a socket that only fails is left alone.
                self.statistics.receive_errors = self.statistics.receive_errors.saturating_add(1);
                reads += 1;
                errors += 1;
                entry.readable = errors < ERRORS_PER_TURN;
                continue;
            };
            reads += count;
            entry.readable = !receive::is_drained(count, wanted);
            self.now = self.clock.now();
            self.statistics.messages_received = self.statistics.messages_received.saturating_add(count as u64);
            let mut intake = Intake {
                machine: &mut self.machine,
                raw: &mut self.raw,
                statistics: &mut self.statistics,
                now: self.now,
            };
            for message in self.arena.messages(count) {
                bytes += message.len();
                intake.take(entry, message);
            }
        }
    }

    /// Hands on what the network says about datagrams that nobody took (RFC 9000 §14.2.1).
    fn hear(&mut self, slot: usize) {
        let Some(entry) = self.sockets.get_mut(slot) else { return };
        for _ in 0..WORDS_PER_TURN {
            if !entry.words {
                return;
            }
            match entry.socket.next_word() {
                Some(Some(word)) => self.machine.on_port_unreachable(self.now, word.remote, word.quoted()),
                Some(None) => {}
                None => entry.words = false,
            }
        }
    }

    fn fire_timers(&mut self) {
        if self.timer.is_some_and(|at| at <= self.now) {
            self.timer = None;
            self.machine.on_timer(self.now);
        }
        while let Some((burst, failure)) = self.failures.next(self.now) {
            self.machine.on_send_error(&burst, failure, self.now);
        }
    }

    fn call_application(&mut self) {
        self.wishes = Wishes::default();
        let mut kernel = Kernel { sockets: &mut self.sockets, registry: self.poller.registry(), tcp: &mut self.tcp };
        let mut io = Io {
            endpoint: &mut self.machine,
            now: self.now,
            outside: &mut kernel,
            raw: &self.raw,
            statistics: &self.statistics,
            wishes: &mut self.wishes,
        };
        self.application.on_turn(&mut io);
        self.serve_wishes();
    }

    fn serve_wishes(&mut self) -> Served {
        let mut kernel = Kernel { sockets: &mut self.sockets, registry: self.poller.registry(), tcp: &mut self.tcp };
        serve(&mut self.machine, &mut kernel, self.now)
    }

    /// Offers bursts that wait for room once more, oldest first.
    fn send_held(&mut self) {
        let mut desk = Desk {
            machine: &mut self.machine,
            failures: &mut self.failures,
            statistics: &mut self.statistics,
            now: self.now,
        };
        for entry in self.sockets.iter_mut() {
            while let Some(held) = entry.outbox.next(desk.now) {
                let sent = entry.socket.send(&held.departure.parcel(&held.bytes));
                match desk.judge(&sent, held.bytes.len(), &held.departure) {
                    Judgement::Taken => {
                        desk.machine.on_submitted(&held.burst, sent.taken, desk.now);
                        entry.outbox.on_taken(Some(held.bytes));
                    }
                    Judgement::Wait => entry.outbox.put_back(held),
                    Judgement::Failed(failure) => desk.fail(held.burst, held.departure.four_tuple, failure),
                }
                if let Some(reason) = pause_after(&sent) {
                    entry.outbox.pause(reason, desk.now);
                }
            }
        }
    }

    /// Sends what the machine has to send, within the turn's budget.
    fn transmit(&mut self) {
        self.more_to_send = false;
        self.sockets.hear(if self.machine.awaits_answer() { Hearing::On } else { Hearing::Off });
        for _ in 0..BURSTS_PER_TURN {
            // A socket full of held bursts would only fill further; the machine keeps its data meanwhile.
            if self.sockets.is_congested() {
                return;
            }
            self.now = self.clock.now();
            let Some(burst) = self.machine.poll_transmit(self.now, &mut self.buffer, self.sockets.max_segments()) else {
                return;
            };
            self.dispatch(burst);
        }
        self.more_to_send = true;
    }

    /// One burst to its socket.
    fn dispatch(&mut self, burst: M::Burst) {
        let departure = M::departure(&burst);
        let bytes = self.buffer.get(..departure.len).unwrap_or(&self.buffer);
        let mut desk = Desk {
            machine: &mut self.machine,
            failures: &mut self.failures,
            statistics: &mut self.statistics,
            now: self.now,
        };
        let Some(entry) = self.sockets.find(departure.four_tuple) else {
            desk.count_error();
            return desk.fail(burst, departure.four_tuple, SendFailure::NoSocket);
        };
        if entry.outbox.is_waiting() {
            desk.count_held();
            return entry.outbox.hold(burst, departure, bytes);
        }
        let sent = entry.socket.send(&departure.parcel(bytes));
        match desk.judge(&sent, bytes.len(), &departure) {
            Judgement::Taken => {
                desk.machine.on_submitted(&burst, sent.taken, desk.now);
                entry.outbox.on_taken(None);
            }
            Judgement::Wait => {
                desk.count_held();
                entry.outbox.hold(burst, departure, bytes);
            }
            Judgement::Failed(failure) => desk.fail(burst, departure.four_tuple, failure),
        }
        if let Some(reason) = pause_after(&sent) {
            entry.outbox.pause(reason, desk.now);
        }
    }

    fn watch_full_sockets(&mut self) {
        let registry = self.poller.registry();
        for entry in self.sockets.iter_mut() {
            entry.watch(registry);
        }
    }

    /// The sockets, for tests that make them fail.
    #[cfg(test)]
    pub(super) fn parts(&mut self) -> (&mut M, &mut Sockets<M::Burst>, &DriverStatistics) {
        (&mut self.machine, &mut self.sockets, &self.statistics)
    }
}

/// Marks the socket that an event speaks of.
fn note<B>(sockets: &mut Sockets<B>, event: &Event) {
    if event.token() == BELL {
        return;
    }
    let Some(entry) = sockets.get_mut(event.token().0) else { return };
    // Errors are collected by reading, too.
    entry.readable |= event.is_readable() || event.is_error();
    entry.words |= event.is_error();
    if event.is_writable() {
        entry.outbox.on_writable();
    }
}

/// What became of a burst, as far as its machine and its socket care.
enum Judgement {
    /// Some or all segments went; the rest is cancelled.
    Taken,
    /// Nothing went, but will: see [`pause_after`].
    Wait,
    /// Nothing went, nor will.
    Failed(SendFailure),
}

/// What the socket waits for after a burst that went in part or not at all.
const fn pause_after(sent: &Sent) -> Option<Reason> {
    match sent.stop {
        Some(Stop::Full) => Some(Reason::Full),
        Some(Stop::NoBuffers) => Some(Reason::NoBuffers),
        _ => None,
    }
}

/// Where outcomes of sends are booked.
struct Desk<'a, M: Machine> {
    machine: &'a mut M,
    failures: &'a mut Failures<M::Burst>,
    statistics: &'a mut DriverStatistics,
    now: Timestamp,
}

impl<M: Machine> Desk<'_, M> {
    fn judge(&mut self, sent: &Sent, length: usize, departure: &Departure) -> Judgement {
        let statistics = &mut *self.statistics;
        statistics.send_calls = statistics.send_calls.saturating_add(1);
        if sent.taken > 0 {
            let bytes = sent.taken.saturating_mul(departure.segment_size.max(1)).min(length);
            statistics.datagrams_sent = statistics.datagrams_sent.saturating_add(sent.taken as u64);
            statistics.bytes_sent = statistics.bytes_sent.saturating_add(bytes as u64);
            return Judgement::Taken;
        }
        let Some(failure) = failure_of(sent.stop.as_ref()) else { return Judgement::Wait };
        self.count_error();
        Judgement::Failed(failure)
    }

    /// Tells the machine that a burst failed, now or a little later.
    fn fail(&mut self, burst: M::Burst, four_tuple: FourTuple, failure: SendFailure) {
        if let Some((burst, failure)) = self.failures.on_failure(burst, four_tuple, failure, self.now) {
            self.machine.on_send_error(&burst, failure, self.now);
        }
    }

    fn count_error(&mut self) {
        self.statistics.send_errors = self.statistics.send_errors.saturating_add(1);
    }

    fn count_held(&mut self) {
        self.statistics.bursts_held = self.statistics.bursts_held.saturating_add(1);
    }
}
