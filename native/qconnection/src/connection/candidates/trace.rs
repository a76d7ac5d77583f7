//! What a client did with each address pair of its handshake: facts, and each step as an event (multipath MP-97).
//!
//! Called by the other files of this room and when a burst was submitted. Changes nothing but the facts.

use super::Candidates;
use crate::{burst::record::PendingBurst, connection::{Connection, events::Event}};
use qbase::{EncryptionLevel, FourTuple, PathId, Timestamp, limits};

/// Where an address pair stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptState {
    /// Nothing was sent to it.
    Waiting,
    /// It gets packets.
    Trying,
    /// It carries the handshake.
    Locked,
    /// Another one does.
    Muted,
    /// It cannot be used.
    Failed,
}

/// One address pair of a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Its place in the order given, from 0.
    pub index: usize,
    /// Our address and the server's.
    pub four_tuple: FourTuple,
    /// When the first datagram left; `None`: none did.
    pub first_sent_at: Option<Timestamp>,
    /// Datagrams sent to it until the handshake was confirmed, copies included.
    pub datagrams: u32,
    /// Of those, byte-identical copies of what another pair got.
    pub copies: u32,
    /// UDP payload of all of them, bytes.
    pub bytes: u64,
    /// When its first authentic answer came.
    pub answered_at: Option<Timestamp>,
    /// Where it stands.
    pub state: AttemptState,
    /// Why, in words.
    pub reason: &'static str,
}

/// A step of a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandshakeStep {
    /// The pair's place in the order given, from 0; [`Connection::attempts`] tells its addresses.
    pub attempt: u8,
    /// What happened.
    pub kind: StepKind,
    /// In words.
    pub reason: &'static str,
}

/// What happened to an address pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepKind {
    /// It gets packets from now on.
    Started,
    /// Datagrams left.
    Flight {
        /// How many.
        datagrams: u16,
        /// Their UDP payload, bytes.
        bytes: u32,
        /// Levels of the packets in them: bit 0 Initial, 1 0-RTT, 2 Handshake, 3 1-RTT.
        levels: u8,
    },
    /// Its first authentic answer came.
    Answered,
    /// It carries the handshake.
    Locked,
    /// It carried the handshake and fell silent.
    Unlocked,
    /// Another one carries the handshake.
    Muted,
    /// It cannot be used.
    Failed,
    /// The server asked for a Retry.
    Retry,
    /// The server speaks other versions.
    VersionNegotiation,
    /// TLS has all it needs of the server.
    TlsFinished,
}

impl StepKind {
    /// The name in events and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Started => "attempt",
            Self::Flight { .. } => "flight",
            Self::Answered => "first-answer",
            Self::Locked => "locked",
            Self::Unlocked => "unlocked",
            Self::Muted => "muted",
            Self::Failed => "failed",
            Self::Retry => "retry",
            Self::VersionNegotiation => "version-negotiation",
            Self::TlsFinished => "tls-finished",
        }
    }
}

/// What is known of one pair.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    first_sent_at: Option<Timestamp>,
    datagrams: u32,
    copies: u32,
    bytes: u64,
    answered_at: Option<Timestamp>,
    state: AttemptState,
    reason: &'static str,
}

impl Facts {
    pub(super) const fn new() -> Self {
        Self { first_sent_at: None, datagrams: 0, copies: 0, bytes: 0, answered_at: None, state: AttemptState::Waiting, reason: "not tried yet" }
    }

    /// Nothing was sent to it yet, and may be.
    pub(super) fn is_waiting(&self) -> bool {
        self.state == AttemptState::Waiting
    }

    /// It gets packets while nobody has answered.
    pub(super) fn is_trying(&self) -> bool {
        self.state == AttemptState::Trying
    }

    /// When the first datagram for it left.
    pub(super) const fn first_sent_at(&self) -> Option<Timestamp> {
        self.first_sent_at
    }

    /// Something was meant for it.
    pub(super) fn is_started(&self) -> bool {
        self.state != AttemptState::Waiting
    }

    pub(super) fn has_failed(&self) -> bool {
        self.state == AttemptState::Failed
    }

    /// It is not tried any more.
    pub(super) const fn give_up(&mut self, reason: &'static str) {
        (self.state, self.reason) = (AttemptState::Failed, reason);
    }
}

/// The bit of a level in [`StepKind::Flight`].
const fn bit(level: EncryptionLevel) -> u8 {
    match level {
        EncryptionLevel::Initial => 1,
        EncryptionLevel::ZeroRtt => 2,
        EncryptionLevel::Handshake => 4,
        EncryptionLevel::OneRtt => 8,
    }
}

impl Connection {
    /// What this client did with each address pair, in the order given. A server has none.
    pub fn attempts(&self) -> impl Iterator<Item = Attempt> + '_ {
        self.candidates.iter().flat_map(|candidates| candidates.list.iter().enumerate()).map(|(index, entry)| Attempt {
            index,
            four_tuple: entry.four_tuple,
            first_sent_at: entry.facts.first_sent_at,
            datagrams: entry.facts.datagrams,
            copies: entry.facts.copies,
            bytes: entry.facts.bytes,
            answered_at: entry.facts.answered_at,
            state: entry.facts.state,
            reason: entry.facts.reason,
        })
    }

    /// Something happened to a pair: remembered, told and logged.
    pub(super) fn tell_step(&mut self, now: Timestamp, attempt: usize, kind: StepKind, reason: &'static str) {
        let Some(candidates) = self.candidates.as_deref_mut() else { return };
        let Some(entry) = candidates.list.get_mut(attempt) else { return };
        let facts = &mut entry.facts;
        let state = match kind {
            StepKind::Started => Some(AttemptState::Trying),
            StepKind::Locked => Some(AttemptState::Locked),
            StepKind::Muted | StepKind::Unlocked => Some(AttemptState::Muted),
            StepKind::Failed => Some(AttemptState::Failed),
            _ => None,
        };
        if let Some(state) = state {
            (facts.state, facts.reason) = (state, reason);
        }
        if kind == StepKind::Answered {
            facts.answered_at.get_or_insert(now);
        }
        let four_tuple = entry.four_tuple;
        if candidates.list.len() > 1 {
            self.log_step(now, attempt, four_tuple, kind, reason);
        }
        if let Some(candidates) = self.candidates.as_deref_mut().filter(|candidates| candidates.told < limits::HANDSHAKE_STEPS) {
            candidates.told = candidates.told.saturating_add(1);
            let attempt = u8::try_from(attempt).unwrap_or(u8::MAX);
            self.events.push_back(Event::Handshake(HandshakeStep { attempt, kind, reason }));
        }
    }

    /// A step of the pair in use.
    pub(in crate::connection) fn tell_current_step(&mut self, now: Timestamp, kind: StepKind, reason: &'static str) {
        if let Some(current) = self.candidates.as_deref().map(|candidates| candidates.current) {
            self.tell_step(now, current, kind, reason);
        }
    }

    /// The pair in use gets its first packets.
    pub(super) fn tell_first_attempt(&mut self, now: Timestamp) {
        let Some(candidates) = self.candidates.as_deref() else { return };
        let current = candidates.current;
        if candidates.list.get(current).is_some_and(|entry| entry.facts.is_waiting()) {
            self.tell_step(now, current, StepKind::Started, "first in the order given");
        }
    }

    /// The socket took the first `segments` of a burst before the confirmation.
    pub(in crate::connection) fn note_flight(&mut self, now: Timestamp, path: PathId, segments: usize, pending: &PendingBurst) {
        if segments == 0 || path != PathId::ZERO || self.confirmed {
            return;
        }
        let Some(candidates) = self.candidates.as_deref_mut() else { return };
        let sent = pending.packets.iter().filter(|packet| usize::from(packet.segment) < segments);
        let levels = sent.fold(0, |levels, packet| levels | bit(packet.level));
        let bytes = pending.len.min(pending.segment_size.saturating_mul(segments));
        let current = candidates.current;
        candidates.count(now, current, segments, bytes, 0);
        if levels != bit(EncryptionLevel::OneRtt) {
            let flight = StepKind::Flight { datagrams: segments as u16, bytes: bytes as u32, levels };
            self.tell_step(now, current, flight, "");
        }
    }

    /// The socket took a copy.
    pub(in crate::connection) fn note_copy_sent(&mut self, now: Timestamp, attempt: usize, bytes: usize) {
        let Some(candidates) = self.candidates.as_deref_mut() else { return };
        candidates.count(now, attempt, 1, bytes, 1);
        let copy = StepKind::Flight { datagrams: 1, bytes: bytes as u32, levels: bit(EncryptionLevel::Initial) };
        self.tell_step(now, attempt, copy, "a copy");
        self.counters.on_copy_sent(bytes);
    }
}

impl Candidates {
    /// Counts what was sent to a pair.
    fn count(&mut self, now: Timestamp, attempt: usize, datagrams: usize, bytes: usize, copies: u32) {
        let Some(facts) = self.list.get_mut(attempt).map(|entry| &mut entry.facts) else { return };
        facts.first_sent_at.get_or_insert(now);
        facts.datagrams = facts.datagrams.saturating_add(u32::try_from(datagrams).unwrap_or(u32::MAX));
        facts.bytes = facts.bytes.saturating_add(bytes as u64);
        facts.copies = facts.copies.saturating_add(copies);
    }
}
