//! One of several attempts at one connection (multipath MP-91): what it knows of being one, and what passes from one to
//! another.
//!
//! Called by the endpoint, which holds the attempts and shows one of them to the application. Never ends by itself.

use super::{Candidate, Entry, Lock, StepKind, trace::Facts};
use crate::connection::{Connection, State, events::Event};
use qbase::{ErrorCode, TransportError, Timestamp, param::TransportParameters};
use qcrypto::EarlyStatus;

/// Facts of an address pair, to be shown by another attempt.
#[derive(Clone, Debug)]
pub(crate) struct RivalFacts(Facts);

impl Connection {
    /// This is the attempt over the pair `at` of all these.
    pub(crate) fn become_rival(&mut self, at: usize, all: &[Candidate]) {
        let Some(candidates) = self.candidates.as_deref_mut() else { return };
        candidates.list = (0..).zip(all).map(|(ticket, candidate)| Entry::new(ticket, *candidate)).collect();
        candidates.current = at;
        candidates.is_rival = true;
        self.counters.tickets = self.counters.tickets.max(all.len().saturating_sub(1) as u64);
    }

    /// Others try to become the connection too, and none has won.
    pub(crate) fn is_rival(&self) -> bool {
        self.candidates.as_deref().is_some_and(|candidates| candidates.is_rival)
    }

    /// All that the server must say was said: the attempt is complete, or waits for the application's word only.
    pub(crate) fn has_won(&self) -> bool {
        self.is_under_way() && (self.handshake_complete || self.awaits_verdict())
    }

    /// It has not ended.
    pub(crate) const fn is_under_way(&self) -> bool {
        matches!(self.state, State::Handshaking | State::Open)
    }

    /// Another attempt is complete: this one ends before any application data.
    pub(crate) fn lose(&mut self, now: Timestamp) {
        self.fail(now, TransportError::new(ErrorCode(0), "another attempt was complete first"));
    }

    /// What this attempt knows of the pair `at`.
    pub(crate) fn facts_of(&self, at: usize) -> Option<RivalFacts> {
        self.candidates.as_deref()?.list.get(at).map(|entry| RivalFacts(entry.facts.clone()))
    }

    /// This attempt, over the pair `at`, is the connection.
    pub(crate) fn win(&mut self, now: Timestamp, at: usize, facts: Vec<Option<RivalFacts>>) {
        let Some(candidates) = self.candidates.as_deref_mut() else { return };
        candidates.is_rival = false;
        for (entry, known) in candidates.list.iter_mut().zip(facts) {
            if let Some(RivalFacts(facts)) = known {
                entry.facts = facts;
            }
        }
        if !self.is_under_way() {
            return;
        }
        let Some(candidates) = self.candidates.as_deref_mut() else { return };
        candidates.lock = if candidates.lock == Lock::Open { Lock::Locked } else { candidates.lock };
        let losers: Vec<usize> = candidates.list.iter().enumerate().filter(|(other, entry)| *other != at && entry.facts.is_trying()).map(|(other, _)| other).collect();
        self.tell_step(now, at, StepKind::Locked, "its attempt was complete first");
        for loser in losers {
            self.tell_step(now, loser, StepKind::Muted, "another attempt was complete first");
        }
        self.settle_requests(at);
    }

    /// Takes over what the application did with the attempt that was shown before: news, requests, early data.
    pub(crate) fn take_over(&mut self, old: &mut Self) {
        let own = std::mem::take(&mut self.events);
        let (steps, others) = std::mem::take(&mut old.events).into_iter().partition(|event| matches!(event, Event::Handshake(_)));
        self.events = steps;
        old.events = others;
        self.events.extend(own);
        self.opens = std::mem::take(&mut old.opens);
        self.counters.tickets = self.counters.tickets.max(old.counters.tickets);
        self.config = std::sync::Arc::clone(&old.config);
        self.trace = std::mem::take(&mut old.trace);
        if let (Some(candidates), Some(before)) = (self.candidates.as_deref_mut(), old.candidates.as_deref()) {
            candidates.told = candidates.told.max(before.told);
        }
        if old.early_status() == EarlyStatus::None {
            return;
        }
        // The server of this attempt has none of it, whatever the other one's has read: it is sent again.
        std::mem::swap(&mut self.streams, &mut old.streams);
        self.polarise();
        let complete = self.handshake_complete;
        let none = TransportParameters::default();
        self.streams.rewind(if complete { &self.peer_parameters } else { &none });
        self.adopt_rejected_early(old);
    }

    /// A step of another attempt, unless that was told before.
    pub(crate) fn tell_step_once(&mut self, now: Timestamp, attempt: usize, kind: StepKind, reason: &'static str) {
        let known = self.candidates.as_deref().and_then(|candidates| candidates.list.get(attempt)).is_some_and(|entry| entry.facts.has_failed());
        if !known {
            self.tell_step(now, attempt, kind, reason);
        }
    }
}
