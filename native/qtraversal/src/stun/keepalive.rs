//! Keeps a NAT's mapping of one socket towards one server open, and says what it is (traversal T-46, T-47).
//!
//! Decides when to ask: 15 s apart at first, or 80 % of the mapping's life where that was measured, less where a mapping was
//! seen to change in between. Called by the socket's owner with every STUN message and every timer. Never measures a life
//! itself: that takes other sockets (`probe::life`), since a test on this one could lose it.

use std::{net::SocketAddr, time::Duration};

use qbase::Timestamp;
use rand_core::RngCore;

use super::{Answer, Class, Expect, Form, Message, Patience, Step, Transaction, TransactionId};
use crate::nat::MappingLife;

/// Between two exchanges, before anything is known.
const FIRST_INTERVAL: Duration = Duration::from_secs(15);
/// Shortest and longest interval.
const MIN_INTERVAL: Duration = Duration::from_secs(3);
const MAX_INTERVAL: Duration = Duration::from_secs(300);
/// After silence.
const AFTER_SILENCE: Duration = Duration::from_secs(1);

/// What changed about the mapping (traversal T-47).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MappingEvent {
    /// The socket is seen from outside as this: for the first time, or anew.
    Upsert(SocketAddr),
    /// The server does not answer: what it said before may be gone.
    Remove(SocketAddr),
    /// It ended.
    Closed,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepAliveStep {
    /// Send this to the server and ask again.
    Send(Message),
    /// Tell this and ask again.
    Event(MappingEvent),
    /// Nothing before this instant.
    Wait(Timestamp),
    /// Nothing, ever: closed.
    Nothing,
}

/// The keep-alive of a (socket, server).
#[derive(Clone, Debug)]
pub struct KeepAlive {
    form: Form,
    server: SocketAddr,
    interval: Duration,
    state: State,
    outer: Option<SocketAddr>,
    /// When the server last answered.
    answered: Option<Timestamp>,
    event: Option<MappingEvent>,
}

#[derive(Clone, Copy, Debug)]
#[expect(clippy::large_enum_variant, reason = "a keep-alive is one per socket and server, and asks again and again")]
enum State {
    /// Until the next exchange.
    Idle(Timestamp),
    Asking(Transaction),
    Closed,
}

impl KeepAlive {
    /// One that asks at once.
    #[must_use]
    pub const fn new(form: Form, server: SocketAddr, now: Timestamp) -> Self {
        let state = State::Idle(now);
        Self { form, server, interval: FIRST_INTERVAL, state, outer: None, answered: None, event: None }
    }

    /// Whom it asks.
    #[must_use]
    pub const fn server(&self) -> SocketAddr {
        self.server
    }

    /// The mapped address, while the server answers.
    #[must_use]
    pub const fn outer(&self) -> Option<SocketAddr> {
        self.outer
    }

    /// The server answered the last time it was asked.
    #[must_use]
    pub const fn is_active(&self) -> bool {
        self.outer.is_some()
    }

    /// Time between two exchanges.
    #[must_use]
    pub const fn interval(&self) -> Duration {
        self.interval
    }

    /// A measured life of mappings of this NAT: asks at 80 % of it from here on.
    pub fn learned(&mut self, life: MappingLife, now: Timestamp) {
        if life.at_least.is_zero() && life.below.is_none() {
            return;
        }
        let known = if life.at_least.is_zero() { half(life.below.unwrap_or_default()) } else { life.at_least };
        self.set_interval(share(known), now);
    }

    /// The socket was bound anew: everything restarts (T-47).
    pub fn restart(&mut self, now: Timestamp) {
        if let Some(outer) = self.outer.take() {
            self.event = Some(MappingEvent::Remove(outer));
        }
        self.answered = None;
        self.state = State::Idle(now);
    }

    /// Ends it.
    pub fn close(&mut self) {
        if !matches!(self.state, State::Closed) {
            self.state = State::Closed;
            self.outer = None;
            self.event = Some(MappingEvent::Closed);
        }
    }

    /// What to do now; ids are drawn from `random`.
    pub fn poll(&mut self, now: Timestamp, random: &mut dyn RngCore) -> KeepAliveStep {
        if let Some(event) = self.event.take() {
            return KeepAliveStep::Event(event);
        }
        loop {
            match &mut self.state {
                State::Closed => return KeepAliveStep::Nothing,
                State::Idle(due) if now < *due => return KeepAliveStep::Wait(*due),
                State::Idle(_) => {
                    let request = Message::request(self.form, TransactionId::random(random));
                    let question = Transaction::new(request, self.server, Expect::Asked, Patience::SHORT, now);
                    self.state = State::Asking(question);
                }
                State::Asking(question) => match question.poll(now) {
                    Step::Send(message) => return KeepAliveStep::Send(message),
                    Step::Wait(due) => return KeepAliveStep::Wait(due),
                    Step::Silent => {
                        self.state = State::Idle(now + AFTER_SILENCE);
                        if let Some(outer) = self.outer.take() {
                            return KeepAliveStep::Event(MappingEvent::Remove(outer));
                        }
                    }
                },
            }
        }
    }

    /// A STUN message came in on the socket. `None`: it is not about this; else the exchange's answer.
    pub fn on_message(&mut self, message: &Message, from: SocketAddr, now: Timestamp) -> Option<Answer> {
        let State::Asking(question) = &self.state else { return None };
        let answer = question.on_message(message, from, now)?;
        let mapped = message.mapped.filter(|_| message.class == Class::Success);
        let Some(mapped) = mapped else {
            // It refuses: as good as silent.
            self.state = State::Idle(now + AFTER_SILENCE);
            if let Some(outer) = self.outer.take() {
                self.event = Some(MappingEvent::Remove(outer));
            }
            return Some(answer);
        };
        if let (Some(before), Some(answered)) = (self.outer, self.answered)
            && before != mapped
        {
            // The mapping went in a silence no longer than this one.
            let silence = now.saturating_since(answered);
            self.interval = half(silence).min(self.interval).clamp(MIN_INTERVAL, MAX_INTERVAL);
        }
        if self.outer != Some(mapped) {
            self.outer = Some(mapped);
            self.event = Some(MappingEvent::Upsert(mapped));
        }
        self.answered = Some(now);
        self.state = State::Idle(now + self.interval);
        Some(answer)
    }

    fn set_interval(&mut self, interval: Duration, now: Timestamp) {
        self.interval = interval.clamp(MIN_INTERVAL, MAX_INTERVAL);
        if let (State::Idle(due), Some(answered)) = (&mut self.state, self.answered)
            && self.outer.is_some()
        {
            *due = (answered + self.interval).max(now);
        }
    }
}

/// 20 % less.
fn share(life: Duration) -> Duration {
    life.saturating_mul(4).checked_div(5).unwrap_or_default()
}

fn half(time: Duration) -> Duration {
    time.checked_div(2).unwrap_or_default()
}
