//! A path id goes over to other addresses, and back (RFC 9000 §9.3, §9.4, §9.5; multipath MP-27, MP-28).
//!
//! Called when the peer moved, when this end wants to, and when a validation ended. What is kept of further addresses
//! stands in `path/side`. Numbers, streams and other paths go on untouched.

use crate::{
    connection::{
        Connection,
        events::{Cause, PathEventKind},
    },
    path::{
        measured::Measured,
        side::{Purpose, Side, differs_by_port_only, is_same_path},
        validate::Validation,
    },
};
use qbase::{FourTuple, PathId, Timestamp};
use rand_core::RngCore;
use std::sync::Arc;

/// Why a path moves, for its event.
#[derive(Clone, Copy, Debug)]
pub(super) struct Why {
    pub(super) by: Cause,
    pub(super) meant: Meant,
    pub(super) reason: &'static str,
    /// Whether the address it leaves is asked if the peer is still there (RFC 9000 §9.3.3).
    pub(super) ask_left: AskLeft,
}

/// Whether an end wanted a move, or the network made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meant {
    Yes,
    No,
}

/// Whether the address a path leaves gets a challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AskLeft {
    /// It does, from this instant on.
    At(Timestamp),
    No,
}

impl Connection {
    /// A validation of one of a path's addresses; its first challenge leaves at `first_at`.
    pub(super) fn validation(&mut self, now: Timestamp, path: PathId, first_at: Timestamp) -> Option<Validation> {
        let mut data = [0; 8];
        self.random.fill_bytes(&mut data);
        let max_ack_delay = self.peer_max_ack_delay();
        let fresh = qcongestion::pto::interval(&qcongestion::RttEstimator::new(self.config.initial_rtt), max_ack_delay, 0);
        let pto = self.network(path)?.pto(max_ack_delay);
        let mut validation = Validation::starting(first_at, data, pto, pto.max(fresh));
        validation.on_timer(now);
        Some(validation)
    }

    /// When a validation that the peer's packets provoke may begin: one per PTO (attacks E11).
    pub(super) fn provoked_at(&mut self, now: Timestamp, path: PathId) -> Timestamp {
        let max_ack_delay = self.peer_max_ack_delay();
        let Some(network) = self.network_mut(path) else { return now };
        let earliest = network.challenged_at.map(|at| at + network.pto(max_ack_delay));
        let first_at = earliest.map_or(now, |earliest| earliest.max(now));
        network.challenged_at = Some(first_at);
        first_at
    }

    /// The path goes over to `side`. What it leaves is kept to come back to, if it was proved.
    pub(super) fn move_path(&mut self, now: Timestamp, path: PathId, side: Side, why: Why) {
        let Side { four_tuple, amplification, validation, cid, measured, .. } = side;
        let config = Arc::clone(&self.config);
        let question = match why.ask_left {
            AskLeft::At(first_at) if self.network(path).is_some_and(|network| network.amplification.is_validated()) => {
                self.validation(now, path, first_at)
            }
            _ => None,
        };
        let luck = self.random_u64();
        let Some(entry) = self.paths.get_mut(path) else { return };
        let before = entry.remote_cids.active_sequence();
        if cid != before {
            entry.remote_cids.switch_to(cid);
        }
        let Some(network) = entry.network.as_deref_mut() else { return };
        let mut left = Side::new(network.four_tuple, network.amplification, Purpose::Left { until: None });
        (left.cid, left.validation) = (before, question);
        if !differs_by_port_only(network.four_tuple, four_tuple) {
            let mut other = measured.unwrap_or_else(|| Measured::nothing(&config, four_tuple));
            network.exchange(now, &mut other);
            left.measured = Some(other);
            self.ack_wishes.on_move();
        }
        network.four_tuple = four_tuple;
        network.amplification = amplification;
        network.validation = validation;
        network.pto_count = 0;
        network.progress_at = now;
        network.peer_uses = None;
        if self.role.is_client() {
            // The server follows a packet that does not only probe (RFC 9000 §9.2).
            network.space.probes_owed = network.space.probes_owed.max(1);
        }
        if cid != before {
            network.spin.on_new_id(config.spin, luck);
        }
        let candidate = network.candidate.take();
        let forgotten = if left.amplification.is_validated() { network.left.replace(Box::new(left)).and_then(|older| older.cid) } else { before };
        self.release_cid(path, forgotten);
        self.release_cid(path, candidate.and_then(|candidate| candidate.cid));
        self.moves.has_sides = true;
        let ticket = self.paths.get(path).and_then(|entry| entry.ticket);
        let kind = if why.meant == Meant::Yes { PathEventKind::Migrated(four_tuple) } else { PathEventKind::Rebound(four_tuple) };
        self.path_event(path, ticket, kind, why.by, why.reason);
    }

    /// Gives a connection id back that no address of the path uses any more (RFC 9000 §5.1.2).
    fn release_cid(&mut self, path: PathId, cid: Option<u64>) {
        let Some(entry) = self.paths.get_mut(path) else { return };
        let Some(cid) = cid.filter(|cid| entry.remote_cids.active_sequence() != Some(*cid)) else { return };
        let in_use = entry.network.as_deref().is_some_and(|network| network.sides().any(|side| side.cid == Some(cid)));
        if !in_use {
            entry.remote_cids.retire(cid);
            self.announce_reset_tokens();
        }
    }

    /// Nobody answers where the path is: it goes back to where the peer was proved to be (RFC 9000 §9.3.2). `false`: there
    /// is no such address.
    pub(in crate::connection) fn go_back(&mut self, now: Timestamp, path: PathId) -> bool {
        let Some(left) = self.network_mut(path).and_then(|network| network.left.take()) else { return false };
        let failed = self.network(path).map(|network| network.four_tuple);
        if let Some(failed) = failed.filter(|_| self.role.is_client()) {
            self.tell_failed(path, failed);
        }
        let why = Why { by: Cause::Timer, meant: Meant::No, reason: "nobody answered at its new address", ask_left: AskLeft::No };
        self.move_path(now, path, Side { validation: None, ..*left }, why);
        true
    }

    /// The address the path left is forgotten.
    pub(super) fn forget_left(&mut self, path: PathId) {
        if let Some(left) = self.network_mut(path).and_then(|network| network.left.take()) {
            self.release_cid(path, left.cid);
        }
    }

    /// The address the path might have gone to is forgotten.
    pub(super) fn forget_candidate(&mut self, path: PathId) {
        if let Some(candidate) = self.network_mut(path).and_then(|network| network.candidate.take()) {
            self.release_cid(path, candidate.cid);
        }
    }

    /// The address the path is at is proved.
    pub(super) fn on_moved_proved(&mut self, now: Timestamp, path: PathId) {
        self.part_from_left(now, path);
        if self.role.is_client() {
            self.start_preferred(now);
            self.ask_next_spare(now);
        }
    }

    /// The path is where it should be: the address it left is forgotten when late packets have come, and the peer has
    /// answered there or not (RFC 9000 §9.3.3).
    fn part_from_left(&mut self, now: Timestamp, path: PathId) {
        let is_client = self.role.is_client();
        let max_ack_delay = self.peer_max_ack_delay();
        let Some(network) = self.network_mut(path).filter(|network| network.amplification.is_validated()) else { return };
        let patience = network.pto(max_ack_delay).saturating_mul(3);
        if let Some(left) = network.left.as_mut().filter(|left| is_client || left.validation.is_none()) {
            left.purpose = Purpose::Left { until: Some(now + patience) };
        }
    }

    /// A further address of the path was proved by an answer to its challenge.
    pub(super) fn on_side_proved(&mut self, now: Timestamp, path: PathId, four_tuple: FourTuple) {
        let Some(network) = self.network_mut(path) else { return };
        if network.left.as_ref().is_some_and(|left| left.four_tuple == four_tuple) {
            return self.part_from_left(now, path);
        }
        let Some(purpose) = network.candidate.as_ref().map(|candidate| candidate.purpose) else { return };
        let why = match purpose {
            Purpose::Move => Why { by: Cause::Local, meant: Meant::Yes, reason: "asked for by the application", ask_left: AskLeft::No },
            Purpose::Preferred => Why { by: Cause::Local, meant: Meant::Yes, reason: "the server prefers this address", ask_left: AskLeft::No },
            Purpose::AwaitsClient if self.moves.client_is_at(path, four_tuple) => {
                Why { by: Cause::Local, meant: Meant::Yes, reason: "the client is at the preferred address", ask_left: AskLeft::No }
            }
            Purpose::Spare => return self.on_spare_proved(now),
            Purpose::AwaitsClient | Purpose::Probed { .. } | Purpose::Left { .. } => return,
        };
        self.take_candidate(now, path, why);
    }

    /// The path goes to its candidate.
    pub(super) fn take_candidate(&mut self, now: Timestamp, path: PathId, why: Why) {
        let Some(candidate) = self.network_mut(path).and_then(|network| network.candidate.take()) else { return };
        self.move_path(now, path, *candidate, why);
        if self.role.is_client() {
            self.on_moved_proved(now, path);
        }
    }

    /// Validations of further addresses go on, or end.
    pub(in crate::connection) fn on_side_timers(&mut self, now: Timestamp, path: PathId) {
        let Some(network) = self.network_mut(path) else { return };
        for side in network.sides_mut() {
            if let Some(validation) = &mut side.validation {
                validation.on_timer(now);
            }
        }
        let failed = |side: &Side| side.validation.as_ref().is_some_and(|validation| validation.has_failed());
        if network.left.as_deref().is_some_and(failed) {
            if let Some(left) = &mut network.left {
                left.validation = None;
            }
            self.part_from_left(now, path);
        }
        let over = |side: &Side| matches!(side.purpose, Purpose::Left { until: Some(until) } if until <= now);
        if self.network(path).and_then(|network| network.left.as_deref()).is_some_and(over) {
            self.forget_left(path);
        }
        let Some(candidate) = self.network(path).and_then(|network| network.candidate.as_deref()) else { return };
        let (four_tuple, purpose) = (candidate.four_tuple, candidate.purpose);
        let over = matches!(purpose, Purpose::Probed { until } if until <= now);
        if over || failed(candidate) {
            self.forget_candidate(path);
            match purpose {
                Purpose::Move => {
                    self.tell_failed(path, four_tuple);
                    self.start_preferred(now);
                }
                Purpose::Preferred => {
                    self.moves.follows_preferred = false;
                    self.tell_failed(path, four_tuple);
                    self.ask_next_spare(now);
                }
                Purpose::Spare => self.on_spare_failed(now),
                _ => {}
            }
        }
    }

    fn tell_failed(&mut self, path: PathId, four_tuple: FourTuple) {
        let ticket = self.paths.get(path).and_then(|entry| entry.ticket);
        self.path_event(path, ticket, PathEventKind::MigrationFailed(four_tuple), Cause::Timer, "nobody answered there");
    }

    /// The addresses of a path that these are, as the path knows them: its own, or further ones.
    pub(in crate::connection) fn known_addresses(&self, path: PathId, seen: FourTuple) -> Option<FourTuple> {
        let network = self.network(path)?;
        let own = is_same_path(network.four_tuple, seen).then_some(network.four_tuple);
        own.or_else(|| network.sides().find(|side| is_same_path(side.four_tuple, seen)).map(|side| side.four_tuple))
    }
}
