//! A handshake over one of several address pairs (multipath section N; burst section 13).
//!
//! | file | job |
//! |---|---|
//! | `start` | client: which pair gets what, and when the next one starts |
//! | `lock` | client: the pair that answers is the handshake's; one that falls silent is left once |
//! | `trace` | client: what was done with each pair, for people |
//! | `rivals` | client: one of several attempts (mode `independent`) |
//! | `callers` | server: where to answer, with a credit for each address |
//!
//! ```text
//!            first authentic answer          2 PTO of silence            answer
//!  Open ------------------------------> Locked --------------> Unlocked --------> Relocked
//!     \___________________________________\_______________________\_________________\--confirmed--> Over
//! ```
//! Called by the output (copies, loads), the timers, the input (answers) and the application's verbs. Over when the
//! handshake is confirmed: then the other pairs are requests to open paths like all others.

mod callers;
mod lock;
mod rivals;
mod start;
mod trace;
mod unreachable;

pub(crate) use callers::Callers;
pub use trace::{Attempt, AttemptState, HandshakeStep, StepKind};

use super::{Connection, app::{OpenPathError, PathTicket}, paths::PendingOpen};
use crate::{config::HandshakeMode, path::PathTerms};
use bytes::Bytes;
use qbase::{Ecn, EncryptionLevel, FourTuple, PacketNumber, Timestamp, frame::PathStatusKind, limits};
use std::collections::VecDeque;

/// An address pair that a handshake may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Our address and the server's.
    pub four_tuple: FourTuple,
    /// What becomes of it when another pair carries the handshake.
    pub afterwards: Afterwards,
}

/// What becomes of an address pair that does not carry the handshake (multipath MP-95).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Afterwards {
    /// It is opened as a path on these terms.
    Path(PathTerms),
    /// Nothing: it was for the handshake only.
    Nothing,
    /// Nothing, too: it is another way for the pair with this place. If it carries the handshake, that one's request is
    /// fulfilled.
    InsteadOf(usize),
}

/// How far the choice of a pair has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lock {
    /// Nobody answered yet.
    Open,
    /// One answered and carries the handshake.
    Locked,
    /// It fell silent, another one is tried.
    Unlocked,
    /// One answered after that.
    Relocked,
    /// The handshake is confirmed.
    Over,
}

/// One pair and what was done with it.
#[derive(Clone, Debug)]
struct Entry {
    /// The application's name for the request; 0 for the first pair.
    ticket: u64,
    four_tuple: FourTuple,
    afterwards: Afterwards,
    facts: trace::Facts,
}

/// A datagram for a further pair, the same bytes as the first pair got.
#[derive(Debug)]
struct Copy {
    attempt: usize,
    ecn: Ecn,
    bytes: Bytes,
}

/// The pairs of a client's handshake.
#[derive(Debug)]
pub(crate) struct Candidates {
    mode: HandshakeMode,
    /// In the order given; the first is the one that was dialled.
    list: Vec<Entry>,
    /// The pair that path 0 sends to.
    current: usize,
    lock: Lock,
    /// PTOs in a row since an authentic packet came.
    silent_ptos: u32,
    /// `stagger`: when the next pair starts.
    next_at: Option<Timestamp>,
    /// `stagger`, `race`: datagrams of the first flight for pairs that start later, at most [`limits::FIRST_FLIGHT`].
    flight: Vec<(Ecn, Bytes)>,
    /// Copies that wait to be sent.
    owed: VecDeque<Copy>,
    /// The copy that waits for its socket's answer.
    copying: Option<Copy>,
    /// `shared`: pairs that wait for a load of their own.
    loads: VecDeque<usize>,
    /// `shared`: which pair each packet went to.
    ways: Vec<(EncryptionLevel, PacketNumber, usize)>,
    /// Steps told so far.
    told: usize,
    /// `independent`: others try too, and none has won.
    is_rival: bool,
}

impl Candidates {
    pub(super) fn four_tuples(&self) -> impl Iterator<Item = FourTuple> + '_ {
        self.list.iter().map(|entry| entry.four_tuple)
    }

    /// A handshake over `first`; others may be added while nobody has answered.
    pub(super) fn new(mode: HandshakeMode, first: FourTuple) -> Self {
        Self {
            mode,
            list: vec![Entry::new(0, Candidate { four_tuple: first, afterwards: Afterwards::Path(PathTerms::AVAILABLE) })],
            current: 0,
            lock: Lock::Open,
            silent_ptos: 0,
            next_at: None,
            flight: Vec::new(),
            owed: VecDeque::new(),
            copying: None,
            loads: VecDeque::from([0]),
            ways: Vec::new(),
            told: 0,
            is_rival: false,
        }
    }

    /// When the next pair starts.
    pub(super) const fn next_at(&self) -> Option<Timestamp> {
        self.next_at
    }

    /// A pair to which something was sent goes to this address.
    pub(super) fn was_dialled(&self, from: std::net::SocketAddr) -> bool {
        self.list.iter().any(|entry| entry.facts.is_started() && crate::path::side::is_same_address(entry.four_tuple.remote, from))
    }

    /// The choice is not over.
    const fn is_undecided(&self) -> bool {
        matches!(self.lock, Lock::Open | Lock::Unlocked)
    }

    /// Every datagram of the first flight goes to every pair that has started.
    const fn copies(&self) -> bool {
        matches!(self.mode, HandshakeMode::Stagger(_) | HandshakeMode::Race)
    }
}

impl Entry {
    const fn new(ticket: u64, candidate: Candidate) -> Self {
        Self { ticket, four_tuple: candidate.four_tuple, afterwards: candidate.afterwards, facts: trace::Facts::new() }
    }

    /// The request to open it, if it is to be a path.
    const fn request(&self) -> Option<PendingOpen> {
        match self.afterwards {
            Afterwards::Path(terms) => Some(PendingOpen { ticket: self.ticket, four_tuple: self.four_tuple, terms, told: None }),
            Afterwards::Nothing | Afterwards::InsteadOf(_) => None,
        }
    }
}

impl Connection {
    /// Adds an address pair that the handshake may take, while nobody has answered; later it is a request like all others.
    ///
    /// # Errors
    /// As [`Connection::open_path`]; [`OpenPathError::TooMany`] too for a pair that only the handshake could have used.
    pub fn add_candidate(&mut self, now: Timestamp, candidate: Candidate) -> Result<PathTicket, OpenPathError> {
        if let Afterwards::Path(terms) = candidate.afterwards {
            return self.open_path(now, candidate.four_tuple, terms);
        }
        let open = self.candidates.as_ref().is_some_and(|candidates| candidates.lock == Lock::Open);
        if !open || self.candidates.as_ref().is_some_and(|candidates| candidates.list.len() >= self.config.max_candidates) {
            return Err(OpenPathError::TooMany);
        }
        if !candidate.four_tuple.is_one_family() {
            return Err(OpenPathError::MixedFamilies);
        }
        let ticket = self.counters.next_ticket();
        self.note_candidate(now, ticket, candidate);
        Ok(PathTicket(ticket))
    }

    /// A pair was asked for: the handshake may take it if nobody has answered.
    pub(super) fn note_candidate(&mut self, now: Timestamp, ticket: u64, candidate: Candidate) {
        let most = self.config.max_candidates.min(limits::OPEN_PATHS.saturating_add(1));
        let Some(candidates) = self.candidates.as_deref_mut().filter(|candidates| candidates.lock == Lock::Open) else { return };
        let index = candidates.list.len();
        if index >= most || candidates.is_rival {
            return;
        }
        candidates.list.push(Entry::new(ticket, candidate));
        candidates.loads.push_back(index);
        if !candidates.flight.is_empty() {
            self.start_late(now, index);
        }
    }

    /// The application takes a request back: its pair is not tried any more.
    pub(super) fn forget_candidate_of(&mut self, ticket: u64) {
        let Some(candidates) = self.candidates.as_deref_mut() else { return };
        let Some(at) = candidates.list.iter().position(|entry| entry.ticket == ticket && ticket != 0) else { return };
        if let Some(entry) = candidates.list.get_mut(at) {
            entry.afterwards = Afterwards::Nothing;
            entry.facts.give_up("taken back by the application");
        }
        candidates.loads.retain(|load| *load != at);
        candidates.owed.retain(|copy| copy.attempt != at);
    }

    /// The status that path 0 gets if the first pair carries the handshake.
    pub(super) fn set_first_status(&mut self, status: PathStatusKind) {
        let first = self.candidates.as_deref().and_then(|candidates| candidates.list.first()).and_then(Entry::request);
        let terms = first.map_or(PathTerms::AVAILABLE, |request| request.terms);
        self.set_first_use(Afterwards::Path(PathTerms { status, ..terms }));
    }

    /// What the first pair is for, beside the handshake.
    pub(crate) fn set_first_use(&mut self, afterwards: Afterwards) {
        let first = self.candidates.as_deref_mut().and_then(|candidates| candidates.list.first_mut());
        if let Some(first) = first {
            first.afterwards = afterwards;
        }
    }
}
