//! Address pairs that a client keeps to go to when multipath was not negotiated (multipath MP-95; RFC 9000 §9.1).
//!
//! ```text
//!  asked for --confirmed, no multipath--> waiting --challenge answered--> proved --path 0 silent for 2 PTO--> path 0 is there
//!                                            \--no answer--> failed                    (and where it was is a spare)
//! ```
//! One pair is asked at a time. Only pairs to the address of the handshake: a client goes to no other one by its own will (RFC
//! 9000 §9). Called at the confirmation, when connection ids come, when a challenge ends and by the PTO.

use super::{Migration, PendingOpen};
use crate::{
    connection::{
        Connection,
        events::{Cause, OpenFailure, PathEventKind},
    },
    path::{
        PathState,
        side::{Purpose, is_same_address, is_same_path},
    },
};
use qbase::{FourTuple, PathId, Timestamp, limits};
use std::collections::VecDeque;

/// PTOs in a row after which path 0 goes to a spare.
pub(super) const SILENT_PTOS: u32 = 2;

/// Spare address pairs, at most [`limits::OPEN_PATHS`] of all kinds.
#[derive(Debug, Default)]
pub(crate) struct Spares {
    waiting: VecDeque<PendingOpen>,
    asked: Option<PendingOpen>,
    proved: VecDeque<FourTuple>,
}

impl Spares {
    pub(in crate::connection) fn four_tuples(&self) -> impl Iterator<Item = FourTuple> + '_ {
        self.waiting.iter().chain(&self.asked).map(|open| open.four_tuple).chain(self.proved.iter().copied())
    }

    fn len(&self) -> usize {
        self.waiting.len().saturating_add(self.proved.len()).saturating_add(usize::from(self.asked.is_some()))
    }
}

impl Connection {
    /// A request that cannot become a path: its pair is kept as a spare, if it can be one.
    pub(super) fn keep_spare(&mut self, now: Timestamp, open: PendingOpen) {
        let home = self.network(PathId::ZERO).map(|network| network.four_tuple);
        let fits = home.is_some_and(|home| is_same_address(home.remote, open.four_tuple.remote) && !is_same_path(open.four_tuple, home));
        if !fits || self.is_barred(open.four_tuple) || self.spares.len() >= limits::OPEN_PATHS {
            let failed = PathEventKind::Failed(OpenFailure::NoMultipath);
            return self.path_event(PathId::ZERO, Some(open.ticket), failed, Cause::Peer, "multipath was not negotiated");
        }
        self.spares.waiting.push_back(open);
        self.ask_next_spare(now);
    }

    /// Asks at the next spare, if path 0 asks nowhere else and there is a connection id to spare.
    pub(in crate::connection) fn ask_next_spare(&mut self, now: Timestamp) {
        if !self.confirmed || self.path_mode.has_paths() {
            return;
        }
        let candidate = self.network(PathId::ZERO).and_then(|network| network.candidate.as_deref());
        if candidate.is_none_or(|candidate| candidate.purpose != Purpose::Spare)
            && let Some(open) = self.spares.asked.take()
        {
            // The application asked for something else meanwhile.
            self.spares.waiting.push_front(open);
        }
        let entry = self.paths.get(PathId::ZERO).filter(|entry| entry.state == PathState::Open);
        if entry.and_then(|entry| entry.network.as_deref()).is_none_or(|network| network.candidate.is_some()) {
            return;
        }
        let Some(open) = self.spares.waiting.front().copied() else { return };
        let Some(side) = self.side_of(now, PathId::ZERO, open.four_tuple, Purpose::Spare) else { return };
        self.spares.waiting.pop_front();
        self.spares.asked = Some(open);
        self.set_candidate(PathId::ZERO, side);
    }

    /// The server answered at the spare that was asked.
    pub(super) fn on_spare_proved(&mut self, now: Timestamp) {
        self.forget_candidate(PathId::ZERO);
        if let Some(open) = self.spares.asked.take() {
            self.spares.proved.push_back(open.four_tuple);
            let proved = PathEventKind::SpareProved(open.four_tuple);
            self.path_event(PathId::ZERO, Some(open.ticket), proved, Cause::Peer, "kept to go to: multipath was not negotiated");
        }
        self.ask_next_spare(now);
    }

    /// It did not.
    pub(super) fn on_spare_failed(&mut self, now: Timestamp) {
        if let Some(open) = self.spares.asked.take() {
            let failed = PathEventKind::Failed(OpenFailure::Validation);
            self.path_event(PathId::ZERO, Some(open.ticket), failed, Cause::Timer, "challenges were not answered");
        }
        self.ask_next_spare(now);
    }

    /// Path 0 is silent: it goes to the next spare, and where it was becomes one.
    pub(in crate::connection) fn go_to_spare(&mut self, now: Timestamp) {
        let Some(network) = self.network(PathId::ZERO) else { return };
        let settled = network.validation.is_none() && network.left.is_none();
        if self.path_mode.has_paths() || network.pto_count < SILENT_PTOS || !settled {
            return;
        }
        let home = network.four_tuple;
        let Some(next) = self.spares.proved.pop_front() else { return };
        match self.migrate(now, PathId::ZERO, next.local, Migration::AtOnce) {
            Ok(()) => self.spares.proved.push_back(home),
            Err(_) => self.spares.proved.push_front(next),
        }
    }
}
