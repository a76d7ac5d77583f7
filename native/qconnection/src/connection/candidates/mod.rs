//! A handshake over one of several address pairs (multipath MP-87, MP-92, MP-96).
//!
//! Called by the PTO and the stagger timer (client: try the next pair), by the first answer (client: stay with its pair) and by the packets of
//! a client (server: answer where it is heard, credit counted per address). Over when the handshake is confirmed.

use super::{Connection, input::{Arrival, Opened}};
use crate::{burst::Burst, path::amplify::Amplification};
use qbase::{Ecn, FourTuple, PathId, Timestamp, limits};
use std::{collections::VecDeque, time::Duration};

/// Addresses of one client remembered beside the one that is answered.
const OTHER_ADDRESSES: usize = 4;

/// An address that a client's packets came from.
#[derive(Debug)]
pub(crate) struct OtherAddress {
    four_tuple: FourTuple,
    amplification: Amplification,
}

/// Byte-identical copies of the first flight for address pairs that start later (multipath MP-88, MP-89).
#[derive(Debug)]
pub(crate) struct Stagger {
    interval: Duration,
    /// When the next pair starts.
    next_at: Option<Timestamp>,
    /// Pairs that get copies: the first so many of the requests that wait.
    started: usize,
    /// Datagrams of the first flight with their marks, at most [`limits::FIRST_FLIGHT`]: whichever copy arrives first is
    /// counted by the peer.
    flight: Vec<(Ecn, Vec<u8>)>,
    /// Copies that wait to be sent: where to, and which datagram.
    owed: VecDeque<(FourTuple, usize)>,
}

impl Stagger {
    pub(super) const fn new(interval: Duration) -> Self {
        Self { interval, next_at: None, started: 0, flight: Vec::new(), owed: VecDeque::new() }
    }

    /// When the next pair starts.
    pub(super) const fn next_at(&self) -> Option<Timestamp> {
        self.next_at
    }
}

impl Connection {
    /// Keeps a datagram of the first flight, and owes copies to the pairs that have started.
    pub(super) fn note_first_flight(&mut self, now: Timestamp, path: PathId, bytes: &[u8], segment_size: usize) {
        if self.cids.remote.is_some() || self.opens.is_empty() {
            return;
        }
        let ecn = self.network(path).map_or(Ecn::NotEct, |network| network.pending.ecn);
        let Some(stagger) = &mut self.stagger else { return };
        if stagger.flight.is_empty() {
            stagger.next_at = Some(now + stagger.interval);
        }
        for datagram in bytes.chunks(segment_size.max(1)) {
            if stagger.flight.len() >= limits::FIRST_FLIGHT {
                return;
            }
            let index = stagger.flight.len();
            stagger.flight.push((ecn, datagram.to_vec()));
            stagger.owed.extend(self.opens.iter().take(stagger.started).map(|open| (open.four_tuple, index)));
        }
    }

    /// Starts the next address pair when its time has come and nobody has answered.
    pub(super) fn on_stagger_timer(&mut self, now: Timestamp) {
        let Some(stagger) = &mut self.stagger else { return };
        if stagger.next_at.is_none_or(|at| at > now) {
            return;
        }
        if let Some(open) = self.opens.get(stagger.started) {
            stagger.owed.extend((0..stagger.flight.len()).map(|index| (open.four_tuple, index)));
            stagger.started = stagger.started.saturating_add(1);
        }
        stagger.next_at = (stagger.started < self.opens.len()).then(|| now + stagger.interval);
    }

    /// The next copy of the first flight, if one waits.
    pub(super) fn poll_copy(&mut self, buffer: &mut [u8]) -> Option<Burst> {
        let busy = self.network(PathId::ZERO)?.pending.open;
        let stagger = self.stagger.as_mut().filter(|_| !busy)?;
        let (four_tuple, index) = stagger.owed.pop_front()?;
        let (ecn, datagram) = stagger.flight.get(index)?;
        let len = datagram.len();
        buffer.get_mut(..len)?.copy_from_slice(datagram);
        Some(Burst { connection: Some(self.handle), path: PathId::ZERO, four_tuple, ecn: *ecn, len, segment_size: len, segments: 1 })
    }

    /// The first flight stays unanswered: its repetition goes over the next address pair that was asked for, round robin
    /// (multipath MP-87). The pair tried before takes its place in the queue.
    pub(super) fn try_next_candidate(&mut self) {
        if self.cids.retry.is_some() {
            // The token of a Retry is bound to one address.
            return;
        }
        if self.stagger.is_some() {
            // Every pair that has started gets a copy of the repetition.
            return;
        }
        let Some(mut next) = self.opens.pop_front() else { return };
        if let Some(network) = self.network_mut(PathId::ZERO) {
            std::mem::swap(&mut network.four_tuple, &mut next.four_tuple);
        }
        self.opens.push_back(next);
    }

    /// The pair that brought the first authentic answer is the handshake's (multipath MP-92).
    pub(super) fn lock_candidate(&mut self, opened: &Opened) {
        if !self.role.is_client() || self.cids.remote.is_some() {
            return;
        }
        self.lock_to(opened.arrival.four_tuple);
    }

    /// The handshake stays with the pair of these addresses: further copies have no use, and a token is bound to it
    /// (multipath MP-93).
    pub(super) fn lock_to(&mut self, answered: FourTuple) {
        self.stagger = None;
        let Some(open) = self.opens.iter_mut().find(|open| open.four_tuple == answered) else { return };
        if let Some(network) = self.paths.get_mut(PathId::ZERO).and_then(|entry| entry.network.as_deref_mut()) {
            std::mem::swap(&mut network.four_tuple, &mut open.four_tuple);
        }
    }

    /// A new packet of a client's handshake came from another address: the answer goes there, within what that address
    /// may get (multipath MP-92, MP-96). Once an address is validated the handshake stays with it (RFC 9000 §9).
    pub(super) fn follow_client(&mut self, opened: &Opened) {
        let arrival = opened.arrival;
        if self.role.is_client() || self.handshake_complete {
            return;
        }
        let Some(network) = self.paths.get_mut(PathId::ZERO).and_then(|entry| entry.network.as_deref_mut()) else { return };
        if network.four_tuple.remote == arrival.four_tuple.remote || network.amplification.is_validated() {
            return;
        }
        let known = self.other_addresses.iter().position(|other| other.four_tuple.remote == arrival.four_tuple.remote);
        let mut next = match known {
            Some(at) => self.other_addresses.swap_remove(at),
            None if self.other_addresses.len() >= OTHER_ADDRESSES => return,
            None => {
                let mut amplification = Amplification::limited();
                amplification.on_received(arrival.size as u64);
                OtherAddress { four_tuple: arrival.four_tuple, amplification }
            }
        };
        std::mem::swap(&mut network.four_tuple, &mut next.four_tuple);
        std::mem::swap(&mut network.amplification, &mut next.amplification);
        self.other_addresses.push(next);
    }

    /// A client with Handshake keys got our Initial packet where we sent it: that address is proved (RFC 9000 §8.1). An address
    /// from which its packet came but to which nothing was sent is not: somebody may pass packets on (attacks B27, E10).
    pub(super) fn prove_answered_address(&mut self) {
        let Some(network) = self.paths.get_mut(PathId::ZERO).and_then(|entry| entry.network.as_deref_mut()) else { return };
        if network.amplification.has_sent() {
            return network.amplification.validate();
        }
        let mut answered = self.other_addresses.iter_mut().filter(|other| other.amplification.has_sent());
        if let (Some(only), None) = (answered.next(), answered.next()) {
            only.amplification.validate();
        }
    }

    /// The handshake ended at an address that it did not prove: a challenge does (RFC 9000 §8.2).
    pub(super) fn challenge_unproved_address(&mut self, now: Timestamp) {
        let unproved = self.network(PathId::ZERO).is_some_and(|network| !network.amplification.is_validated());
        if unproved && !self.role.is_client() {
            self.challenge(now, PathId::ZERO);
        }
    }

    /// Credits a datagram to the address it came from, if that is remembered (multipath MP-96).
    pub(super) fn credit_other_address(&mut self, arrival: &Arrival, size: usize) {
        if let Some(other) = self.other_addresses.iter_mut().find(|other| other.four_tuple.remote == arrival.four_tuple.remote) {
            other.amplification.on_received(size as u64);
        }
    }
}
