//! Whose turn it is: connections with something to send, and whose timer is next.
//!
//! Called by the driver through the endpoint. Connections with work form a queue without repeats; timers are ordered by
//! instant, one per connection, recomputed once after each turn (design §7.11).

use super::{Endpoint, SendFailure};
use crate::{
    burst::{Burst, SendLimits},
    handle::ConnectionHandle,
};
use qbase::{ConnectionId, Timestamp};
use qevent::TimerName;
use std::collections::{BTreeMap, VecDeque};

/// Who has work and who waits.
#[derive(Debug, Default)]
pub(super) struct Turns {
    queue: VecDeque<u32>,
    /// By slot: it stands in the queue.
    queued: Vec<bool>,
    /// By slot: the instant its timer is set to.
    armed: Vec<Option<Timestamp>>,
    timers: BTreeMap<(Timestamp, u32), TimerName>,
    /// Slots that may have events, without repeats.
    talkers: VecDeque<u32>,
    /// By slot: it stands among the talkers.
    talking: Vec<bool>,
    /// Slots whose logs may have grown, without repeats; `None`: nobody writes logs.
    writers: Option<VecDeque<u32>>,
    /// By slot: it stands among the writers.
    writing: Vec<bool>,
}

/// Whether connections write logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writers {
    Wanted,
    Unwanted,
}

impl Turns {
    pub(super) fn new(writers: Writers) -> Self {
        Self { writers: (writers == Writers::Wanted).then(VecDeque::new), ..Self::default() }
    }

    /// The connection in this slot may have something to send.
    pub(super) fn mark(&mut self, index: u32) {
        let at = index as usize;
        if self.queued.len() <= at {
            self.queued.resize(at.saturating_add(1), false);
            self.armed.resize(at.saturating_add(1), None);
            self.talking.resize(at.saturating_add(1), false);
        }
        if let Some(talking) = self.talking.get_mut(at)
            && !*talking
        {
            *talking = true;
            self.talkers.push_back(index);
        }
        if self.writers.is_some() {
            self.mark_writer(index);
        }
        if let Some(queued) = self.queued.get_mut(at)
            && !*queued
        {
            *queued = true;
            self.queue.push_back(index);
        }
    }

    fn mark_writer(&mut self, index: u32) {
        let at = index as usize;
        if self.writing.len() <= at {
            self.writing.resize(at.saturating_add(1), false);
        }
        if let (Some(writers), Some(writing)) = (&mut self.writers, self.writing.get_mut(at))
            && !std::mem::replace(writing, true)
        {
            writers.push_back(index);
        }
    }

    /// The slot whose log to read next.
    pub(super) fn writer(&self) -> Option<u32> {
        self.writers.as_ref()?.front().copied()
    }

    /// The log of the slot read last has no more records.
    pub(super) fn read(&mut self) {
        if let Some(index) = self.writers.as_mut().and_then(VecDeque::pop_front)
            && let Some(writing) = self.writing.get_mut(index as usize)
        {
            *writing = false;
        }
    }

    pub(super) fn front(&self) -> Option<u32> {
        self.queue.front().copied()
    }

    /// The first in the queue goes to its end.
    fn rotate(&mut self) {
        if self.queue.len() > 1 {
            self.queue.rotate_left(1);
        }
    }

    /// The first in the queue has nothing to send.
    fn pop(&mut self) {
        if let Some(index) = self.queue.pop_front()
            && let Some(queued) = self.queued.get_mut(index as usize)
        {
            *queued = false;
        }
    }

    /// Sets the timer of a slot.
    fn arm(&mut self, index: u32, timer: Option<(Timestamp, TimerName)>) {
        let Some(armed) = self.armed.get_mut(index as usize) else { return };
        let at = timer.map(|(at, _)| at);
        if *armed == at {
            return;
        }
        if let Some(old) = *armed {
            self.timers.remove(&(old, index));
        }
        *armed = at;
        if let Some((at, name)) = timer {
            self.timers.insert((at, index), name);
        }
    }

    fn next(&self) -> Option<(Timestamp, TimerName)> {
        self.timers.first_key_value().map(|((at, _), name)| (*at, *name))
    }

    /// Takes a connection whose timer is due.
    fn take_due(&mut self, now: Timestamp) -> Option<u32> {
        let (&(at, index), _) = self.timers.first_key_value()?;
        if at > now {
            return None;
        }
        self.timers.pop_first();
        if let Some(armed) = self.armed.get_mut(index as usize) {
            *armed = None;
        }
        Some(index)
    }

    /// The slot to ask for events next.
    pub(super) fn talker(&self) -> Option<u32> {
        self.talkers.front().copied()
    }

    /// The slot asked last has no more events.
    pub(super) fn hush(&mut self) {
        if let Some(index) = self.talkers.pop_front()
            && let Some(talking) = self.talking.get_mut(index as usize)
        {
            *talking = false;
        }
    }

    /// A connection is gone.
    pub(super) fn forget(&mut self, index: u32) {
        self.arm(index, None);
    }
}

impl Endpoint {
    /// The next burst, written into `buffer` (at least 65507 bytes). `None`: nothing can be sent now; then
    /// [`Endpoint::next_timer`] tells until when. Every burst must be answered by [`Endpoint::on_submitted`] or
    /// [`Endpoint::on_send_error`], each path's before its next one.
    pub fn poll_transmit(&mut self, now: Timestamp, buffer: &mut [u8], limits: &SendLimits) -> Option<Burst> {
        self.note_time(now);
        loop {
            let burst = self.poll_burst(now, buffer, limits)?;
            match self.put_headers(burst, buffer) {
                Some(burst) => return Some(burst),
                // The way was forgotten: nobody knows any more where that is.
                None => self.on_send_error(&burst, SendFailure::Unreachable, now),
            }
        }
    }

    /// The same without forward headers.
    fn poll_burst(&mut self, now: Timestamp, buffer: &mut [u8], limits: &SendLimits) -> Option<Burst> {
        if let Some(answer) = self.answers.pop_front() {
            return answer.write(buffer);
        }
        if let Some(burst) = self.poll_relayed(buffer) {
            return Some(burst);
        }
        while let Some(index) = self.turns.front() {
            if let Some(handle) = self.slots.at(index).map(|connection| connection.handle()) {
                self.settle_rivals(now, handle);
            }
            if let Some(connection) = self.slots.at(index) {
                if connection.has_traversal() {
                    connection.drive_traversal(now, &mut self.probes);
                }
                if let Some(burst) = connection.poll_transmit(now, buffer, limits) {
                    self.turns.rotate();
                    return Some(burst);
                }
                let handle = connection.handle();
                let timer = connection.next_timer();
                self.turns.arm(index, timer);
                self.run_actions(handle);
            }
            self.turns.pop();
        }
        None
    }

    /// When to call [`Endpoint::on_timer`] next, and for what.
    #[must_use]
    pub fn next_timer(&self) -> Option<(Timestamp, TimerName)> {
        let early = self.early.next_timer().map(|at| (at, TimerName::Handshake));
        let attempt = self.admission.next_timer().map(|at| (at, TimerName::Handshake));
        let memory = self.loans.next_timer().map(|at| (at, TimerName::Buffers));
        let nat = self.nat.next_timer().map(|at| (at, TimerName::Nat));
        [self.turns.next(), early, attempt, memory, nat].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    /// Does what is due. Connections with work get a turn to send.
    pub fn on_timer(&mut self, now: Timestamp) {
        self.note_time(now);
        self.expire_offers(now);
        self.early.expire(now);
        self.expire_attempts(now);
        if self.nat.next_timer().is_some_and(|at| at <= now) {
            self.run_nat(now);
        }
        while let Some(index) = self.turns.take_due(now) {
            let Some(connection) = self.slots.at(index) else { continue };
            connection.on_timer(now);
            let handle = connection.handle();
            self.turns.mark(index);
            let handle = self.settle_rivals(now, handle);
            self.settle_memory(handle);
            self.run_actions(handle);
        }
    }

    /// Does what connections asked of the endpoint: routes in and out, tokens.
    pub(super) fn run_actions(&mut self, handle: ConnectionHandle) {
        use crate::connection::events::EndpointAction;
        while let Some(action) = self.slots.get_mut(handle).and_then(|connection| connection.actions.pop_front()) {
            match action {
                EndpointAction::Route { cid, path, sequence } => self.route(cid, super::Route { handle, path, sequence }),
                EndpointAction::Unroute(cid) => self.routes.remove(&cid, handle),
                EndpointAction::Expect(token) => self.reset_tokens.insert(&token, handle),
                EndpointAction::Unexpect(token) => self.reset_tokens.remove(&token, handle),
                EndpointAction::OpenSocket { socket, beside, port } => self.open_punch_socket(handle, socket, beside, port),
                EndpointAction::LearnOuter { socket } => self.learn_punch_outer(handle, socket),
                EndpointAction::CloseSocket { socket } => self.close_punch_socket(handle, socket),
                EndpointAction::MakeToken { at, addresses } => {
                    let Some(connection) = self.slots.get_mut(handle) else { return };
                    let token = self.tokens.for_later(at, &mut self.random, connection.version(), &addresses);
                    connection.offer_token(token.unwrap_or_default());
                }
            }
        }
        // They come by the dozen with the handshake, and hardly ever after it.
        if let Some(connection) = self.slots.get_mut(handle) {
            connection.actions = std::collections::VecDeque::new();
        }
    }

    /// Packets to this id belong there. Where nonces are short, another connection may have drawn the same id before:
    /// it keeps it, and this one gets another as long as the peer knows of none.
    fn route(&mut self, cid: ConnectionId, route: super::Route) {
        let is_taken = self.routes.find(cid.as_bytes()).is_some_and(|known| known.handle != route.handle);
        if !is_taken {
            return self.routes.insert(cid, route);
        }
        let fresh = self.new_cid();
        if self.slots.get_mut(route.handle).is_some_and(|connection| connection.replace_cid(route.path, route.sequence, fresh)) {
            self.routes.insert(fresh, route);
        }
    }
}
