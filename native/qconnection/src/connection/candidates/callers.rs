//! Where a server answers a client whose handshake comes from several addresses (multipath MP-92, MP-96; burst B-112,
//! B-113; attacks B27, E10).
//!
//! It answers where it could first read a packet. It goes over to another address when the client shows, by a new packet to
//! an id of ours, that it wants so; when a new packet of the first flight comes and the address has been silent; and when
//! its own answer stays without one for a PTO. Each address has a credit of its own: three times what came from there.
//! Called by the input and the timers. Over when the handshake is complete.

use crate::{
    connection::{Connection, input::{Arrival, Opened}},
    endpoint::route::ORIGINAL,
    path::{amplify::Amplification, side::is_same_path},
};
use qbase::{EncryptionLevel, FourTuple, PathId, Timestamp, limits};

/// Packets of a server's flight that are repeated at another address, of each level: as much as its window holds.
const FLIGHT_PACKETS: usize = 64;

/// How an address made itself known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    /// By a copy of a packet that was there already: anybody who saw it can send one.
    Copy,
    /// By a packet of its own.
    New,
}

/// An address that a client's packets came from, beside the one that is answered.
#[derive(Debug)]
struct Caller {
    four_tuple: FourTuple,
    amplification: Amplification,
    heard: Heard,
}

/// All of them, at most [`limits::HANDSHAKE_ADDRESSES`] with the one that is answered.
#[derive(Debug, Default)]
pub(crate) struct Callers {
    others: Vec<Caller>,
    /// When the address that is answered was heard last.
    heard_at: Option<Timestamp>,
}

impl Callers {
    /// Remembers an address; `false`: there is no room. One that only sent copies makes room for one that sent more.
    fn remember(&mut self, arrival: &Arrival, heard: Heard) -> bool {
        if let Some(known) = self.others.iter_mut().find(|known| known.four_tuple.remote == arrival.four_tuple.remote) {
            if heard == Heard::New {
                known.heard = Heard::New;
            }
            return true;
        }
        if self.others.len().saturating_add(1) >= limits::HANDSHAKE_ADDRESSES {
            let Some(copy) = self.others.iter().position(|known| known.heard == Heard::Copy).filter(|_| heard == Heard::New) else { return false };
            self.others.remove(copy);
        }
        let mut amplification = Amplification::limited();
        amplification.on_received(arrival.size as u64);
        self.others.push(Caller { four_tuple: arrival.four_tuple, amplification, heard });
        true
    }
}

impl Connection {
    /// This server takes nothing from there before the handshake is complete (multipath MP-96, the option off).
    pub(in crate::connection) fn refuses_caller(&self, arrival: &Arrival) -> bool {
        if self.role.is_client() || self.handshake_complete || self.config.multi_address_handshake {
            return false;
        }
        self.network(PathId::ZERO).is_some_and(|network| self.has_received() && !is_same_path(network.four_tuple, arrival.four_tuple))
    }

    /// A new packet of a client's handshake came from somewhere (multipath MP-92, MP-96). Once an address is validated the
    /// handshake stays with it while it answers (RFC 9000 §9).
    pub(in crate::connection) fn follow_client(&mut self, opened: &Opened) {
        let arrival = opened.arrival;
        if self.role.is_client() || self.handshake_complete {
            return;
        }
        let Some(network) = self.network(PathId::ZERO) else { return };
        if network.four_tuple.remote == arrival.four_tuple.remote {
            self.callers.heard_at = Some(arrival.now);
            return;
        }
        let is_proved = network.amplification.is_validated();
        let is_unanswered = network.pto_count > 0;
        let patience = network.pto(std::time::Duration::ZERO).checked_div(2).unwrap_or_default();
        let is_silent = self.callers.heard_at.is_none_or(|at| arrival.now.saturating_since(at) >= patience);
        if !self.callers.remember(&arrival, Heard::New) {
            return;
        }
        // A client that knows our id has heard us and has a reason to come from elsewhere. One that does not may have sent
        // its first flight from several addresses at once.
        let meant = arrival.route.sequence != ORIGINAL;
        if if is_proved { is_unanswered && meant } else { meant || is_unanswered || is_silent } {
            self.answer_at(arrival.now, arrival.four_tuple);
        }
    }

    /// A copy of a packet that was there already came from somewhere: it counts as bytes received (multipath MP-96).
    pub(in crate::connection) fn note_copy_from(&mut self, arrival: &Arrival) {
        if self.role.is_client() || self.handshake_complete {
            return;
        }
        if self.network(PathId::ZERO).is_some_and(|network| network.four_tuple.remote != arrival.four_tuple.remote) {
            self.callers.remember(arrival, Heard::Copy);
        }
    }

    /// A packet of a first flight that came from elsewhere than where the answer goes: it is acknowledged by the next packet
    /// that is sent, and is no reason to send one (burst B-113).
    pub(in crate::connection) fn waits_for_carrier(&self, opened: &Opened) -> bool {
        opened.level == EncryptionLevel::Initial
            && !self.role.is_client()
            && self.network(PathId::ZERO).is_some_and(|network| network.four_tuple.remote != opened.arrival.four_tuple.remote)
    }

    /// Answers go there from now on, within what that address may get.
    fn answer_at(&mut self, now: Timestamp, there: FourTuple) {
        let Self { callers, paths, .. } = self;
        let Some(network) = paths.get_mut(PathId::ZERO).and_then(|entry| entry.network.as_deref_mut()) else { return };
        let Some(at) = callers.others.iter().position(|known| known.four_tuple.remote == there.remote) else { return };
        let mut next = callers.others.remove(at);
        std::mem::swap(&mut network.four_tuple, &mut next.four_tuple);
        std::mem::swap(&mut network.amplification, &mut next.amplification);
        next.heard = Heard::New;
        callers.others.push(next);
        callers.heard_at = Some(now);
        // Nobody knows what arrived where the answer went before.
        (network.pto_count, network.pto_fired_at) = (0, now);
        for level in [EncryptionLevel::Initial, EncryptionLevel::Handshake] {
            self.offer_again(level, PathId::ZERO, FLIGHT_PACKETS);
        }
    }

    /// The answer stayed without one for a PTO: the next address that can get one is tried, round robin.
    pub(in crate::connection) fn answer_next_caller(&mut self, now: Timestamp) {
        if self.role.is_client() || self.handshake_complete || self.network(PathId::ZERO).is_none_or(|network| network.amplification.is_validated()) {
            return;
        }
        let can_be_answered = |caller: &&Caller| caller.amplification.credit() >= limits::MIN_INITIAL as u64;
        if let Some(next) = self.callers.others.iter().find(can_be_answered).map(|caller| caller.four_tuple) {
            self.answer_at(now, next);
        }
    }

    /// Some address of a client that is not proved can get an answer.
    pub(in crate::connection) fn can_answer_some_caller(&self) -> bool {
        self.callers.others.iter().any(|caller| caller.amplification.credit() >= limits::MIN_INITIAL as u64)
    }

    /// A client with Handshake keys got our Initial packet where we sent it: that address is proved (RFC 9000 §8.1). An address
    /// from which its packet came but to which nothing was sent is not: somebody may pass packets on (attacks B27, E10).
    pub(in crate::connection) fn prove_answered_address(&mut self) {
        let Self { callers, paths, .. } = self;
        let Some(network) = paths.get_mut(PathId::ZERO).and_then(|entry| entry.network.as_deref_mut()) else { return };
        if network.amplification.has_sent() {
            return network.amplification.validate();
        }
        let mut answered = callers.others.iter_mut().filter(|other| other.amplification.has_sent());
        if let (Some(only), None) = (answered.next(), answered.next()) {
            only.amplification.validate();
        }
    }

    /// The handshake ended at an address that it did not prove: a challenge does (RFC 9000 §8.2).
    pub(in crate::connection) fn challenge_unproved_address(&mut self, now: Timestamp) {
        let unproved = self.network(PathId::ZERO).is_some_and(|network| !network.amplification.is_validated());
        if unproved && !self.role.is_client() {
            self.challenge(now, PathId::ZERO);
        }
    }

    /// Credits a datagram to the address it came from, if that is remembered (multipath MP-96).
    pub(in crate::connection) fn credit_caller(&mut self, arrival: &Arrival, size: usize) {
        if let Some(caller) = self.callers.others.iter_mut().find(|caller| caller.four_tuple.remote == arrival.four_tuple.remote) {
            caller.amplification.on_received(size as u64);
        }
    }

    /// The handshake is over: one address is left.
    pub(in crate::connection) fn forget_callers(&mut self) {
        self.callers = Callers::default();
    }
}
