//! A server follows its client: NAT rebinding, migration, probes, its own preferred address (RFC 9000 §9.1, §9.3, §9.6.2;
//! multipath MP-27; attacks A20, E10 to E13).
//!
//! Called by the dispatch after each packet that holds more than probing frames, and for challenges from elsewhere.
//! Never moves for an old packet, and never further than the peer has proved.

use super::moves::{AskLeft, Meant, Why};
use crate::{
    connection::{Connection, events::Cause, input::{Arrival, Opened}},
    endpoint::route::ORIGINAL,
    path::{
        amplify::Amplification,
        network::Network,
        side::{Purpose, Side, is_same_address, is_same_path},
    },
};
use qbase::{FourTuple, PathId, Timestamp, limits};
use std::{net::SocketAddr, time::Duration};

/// How long an address that a peer probed is remembered without a move.
const PROBED_KEPT: Duration = Duration::from_secs(10);

const _: () = assert!(limits::NETWORK_PATHS_PER_PATH == 2, "the path's own address and one candidate");

impl Connection {
    /// A packet that may move its path to another address: only the newest does (RFC 9000 §9.3; attacks A20).
    pub(in crate::connection) fn on_non_probing(&mut self, opened: &Opened) {
        let arrival = opened.arrival;
        let is_client = self.role.is_client();
        let Some(network) = self.network_mut(opened.path) else { return };
        if network.largest_non_probing.is_some_and(|largest| opened.number <= largest) {
            return;
        }
        network.largest_non_probing = Some(opened.number);
        // Only clients move; their servers stay where they are (RFC 9000 §9).
        if is_client {
            return;
        }
        if network.four_tuple == arrival.four_tuple {
            network.peer_uses = Some(arrival.route.sequence);
            return;
        }
        self.follow(opened);
    }

    /// The newest packet of a client came between other addresses than the path's.
    fn follow(&mut self, opened: &Opened) {
        let (arrival, path) = (opened.arrival, opened.path);
        let seen = arrival.four_tuple;
        let Some(network) = self.network(path) else { return };
        let own = network.four_tuple;
        if !is_same_address(own.local, seen.local) {
            if self.is_preferred(own.local) && !self.is_preferred(seen.local) {
                // Late packets to the address we went from (RFC 9000 §9.6.2).
                return;
            }
            if self.is_preferred(seen.local) && !self.is_preferred(own.local) {
                return self.follow_to_preferred(opened);
            }
            if is_same_address(own.remote, seen.remote) {
                return;
            }
        }
        if is_same_path(own, seen) {
            return;
        }
        let now = arrival.now;
        let first_at = self.provoked_at(now, path);
        let (meant, reason) = if self.network(path).is_some_and(|network| has_chosen_id(network, &arrival)) {
            (Meant::Yes, "the peer moved to another address")
        } else {
            (Meant::No, "a newer packet came from another address")
        };
        let why = Why { by: Cause::Peer, meant, reason, ask_left: AskLeft::At(first_at) };
        self.move_to(&arrival, first_at, why);
        if let Some(network) = self.network_mut(path) {
            network.peer_uses = Some(arrival.route.sequence);
        }
    }

    /// Moves a path to where a packet came from: an address known from before, or a new one.
    fn move_to(&mut self, arrival: &Arrival, first_at: Timestamp, why: Why) {
        let (now, path, seen) = (arrival.now, arrival.route.path, arrival.four_tuple);
        if let Some(left) = self.network_mut(path).and_then(|network| network.left.take_if(|left| left.four_tuple == seen)) {
            // Seen recently and proved: nothing is asked again (RFC 9000 §9.3).
            return self.move_path(now, path, Side { validation: None, ..*left }, why);
        }
        if self.network(path).and_then(|network| network.candidate.as_ref()).is_some_and(|candidate| candidate.four_tuple == seen) {
            return self.take_candidate(now, path, why);
        }
        let mut side = Side::new(seen, credit_of(arrival), Purpose::Probed { until: now + PROBED_KEPT });
        side.cid = self.cid_towards(arrival);
        side.validation = self.validation(now, path, first_at);
        self.move_path(now, path, side, why);
    }

    /// The peer's connection id to use towards a new address: the present one if only something on the way changed, a
    /// fresh one if the peer took one itself (RFC 9000 §9.5); `None` while it has given none.
    fn cid_towards(&mut self, arrival: &Arrival) -> Option<u64> {
        let entry = self.paths.get_mut(arrival.route.path)?;
        let meant = has_chosen_id(entry.network.as_deref()?, arrival);
        if meant && !entry.remote_cids.is_empty_id() {
            entry.remote_cids.take_unused().map(|taken| taken.sequence)
        } else {
            entry.remote_cids.active_sequence()
        }
    }

    /// The client's newest packet came to our preferred address: we go there once the client is proved to be behind it
    /// (RFC 9000 §9.6.2).
    fn follow_to_preferred(&mut self, opened: &Opened) {
        let (arrival, path) = (opened.arrival, opened.path);
        self.look_at(&arrival);
        self.moves.client_at = Some((path, arrival.four_tuple));
        let proved = self.network(path).and_then(|network| network.candidate.as_deref()).is_some_and(|candidate| {
            candidate.four_tuple == arrival.four_tuple && candidate.proved
        });
        if proved {
            let why = Why { by: Cause::Local, meant: Meant::Yes, reason: "the client is at the preferred address", ask_left: AskLeft::No };
            self.take_candidate(arrival.now, path, why);
        }
    }

    /// A challenge came between addresses that are not the path's: whoever asks is asked too (RFC 9000 §9.6.3). `false`:
    /// there is no room for another address (attacks L12), and the challenge stays unanswered.
    pub(super) fn on_probe(&mut self, arrival: &Arrival) -> bool {
        let path = arrival.route.path;
        if self.known_addresses(path, arrival.four_tuple).is_some() {
            return true;
        }
        if self.role.is_client() {
            // An address we left, or never were at: an answer would show that both are ours (RFC 9000 §9.5).
            return false;
        }
        let Some(network) = self.network(path) else { return false };
        // Answers to the peer's proved address need no credit of their own.
        let at_home = is_same_address(network.four_tuple.remote, arrival.four_tuple.remote);
        self.look_at(arrival) || at_home
    }

    /// Keeps an address of the client as the path's candidate and asks whether the client is there. `false`: another one
    /// has begun to be asked less than a PTO ago.
    fn look_at(&mut self, arrival: &Arrival) -> bool {
        let (now, path, seen) = (arrival.now, arrival.route.path, arrival.four_tuple);
        let max_ack_delay = self.peer_max_ack_delay();
        let Some(network) = self.network(path) else { return false };
        if network.candidate.as_ref().is_some_and(|candidate| candidate.four_tuple == seen) {
            return true;
        }
        let too_soon = network.challenged_at.is_some_and(|at| now < at + network.pto(max_ack_delay));
        if too_soon && network.candidate.is_some() {
            return false;
        }
        let proved = network.amplification.is_validated() && is_same_address(network.four_tuple.remote, seen.remote);
        let amplification = if proved { Amplification::unlimited() } else { credit_of(arrival) };
        let purpose = if self.is_preferred(seen.local) && !self.is_preferred(network.four_tuple.local) {
            Purpose::AwaitsClient
        } else {
            Purpose::Probed { until: now + PROBED_KEPT }
        };
        let mut side = Side::new(seen, amplification, purpose);
        self.forget_candidate(path);
        side.cid = self.cid_towards(arrival);
        let first_at = self.provoked_at(now, path);
        side.validation = self.validation(now, path, first_at);
        if let Some(network) = self.network_mut(path) {
            network.candidate = Some(Box::new(side));
        }
        self.moves.has_sides = true;
        true
    }

    /// A packet from an address that the path does not know, in spite of `disable_active_migration`: what keeps its
    /// connection id is a NAT's doing and is followed, what changes it is not (RFC 9000 §9; attacks E12).
    pub(in crate::connection) fn refuses_move(&self, arrival: &Arrival, path: PathId) -> bool {
        if !self.config.disable_active_migration || self.role.is_client() || self.is_preferred(arrival.four_tuple.local) || self.is_hole(arrival.four_tuple) {
            return false;
        }
        match self.network(path) {
            Some(network) => {
                has_chosen_id(network, arrival) && self.known_addresses(path, arrival.four_tuple).is_none()
            }
            // A path id of its own, from an address of its own.
            None => !self.paths.iter().any(|entry| self.known_addresses(entry.id, arrival.four_tuple).is_some()),
        }
    }

    /// One of the addresses we announced as preferred.
    fn is_preferred(&self, local: SocketAddr) -> bool {
        let preferred = &self.config.preferred_address;
        preferred.is_any()
            && !self.role.is_client()
            && (preferred.ipv4.is_some_and(|v4| is_same_address(SocketAddr::V4(v4), local))
                || preferred.ipv6.is_some_and(|v6| is_same_address(SocketAddr::V6(v6), local)))
    }

    /// A client takes packets only from addresses it sent to (RFC 9000 §9).
    pub(in crate::connection) fn is_from_known_server(&self, seen: FourTuple) -> bool {
        let known = |four_tuple: FourTuple| is_same_address(four_tuple.remote, seen.remote);
        self.paths.iter().filter_map(|entry| entry.network.as_deref()).any(|network| {
            known(network.four_tuple) || network.sides().any(|side| known(side.four_tuple))
        }) || self.opens.iter().any(|open| known(open.four_tuple))
            || (!self.confirmed && self.candidates.as_ref().is_some_and(|candidates| candidates.was_dialled(seen.remote)))
    }
}

/// The peer took another connection id for this packet than for those before: what it does, it means (RFC 9000 §9.5).
/// Between its own first choice and the handshake's id it has none.
fn has_chosen_id(network: &Network, arrival: &Arrival) -> bool {
    let handshake = |sequence| if sequence == ORIGINAL { 0 } else { sequence };
    network.peer_uses.is_some_and(|sequence| handshake(sequence) != handshake(arrival.route.sequence))
}

/// The credit of an address that one datagram came from.
fn credit_of(arrival: &Arrival) -> Amplification {
    let mut amplification = Amplification::limited();
    amplification.on_received(arrival.size as u64);
    amplification
}
