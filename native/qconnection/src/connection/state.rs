//! Short ways to the parts: spaces by level, networks by path, facts that several parts ask for.
//!
//! Called by all other files of this room. Decides nothing.

use super::Connection;
use crate::{endpoint::SendFailure, path::{Network, PathMode, PathState, network::Siblings}, space::Space};
use qbase::{FourTuple, EncryptionLevel, PathId, packet::Spin};
use rand_core::RngCore;
use std::time::Duration;

/// Least time between two events `send-error` of one path: the counter has them all.
const SEND_ERROR_EVENTS: Duration = Duration::from_secs(1);

impl Connection {
    /// The network of a path in use.
    #[inline]
    pub(crate) fn network(&self, path: PathId) -> Option<&Network> {
        self.paths.get(path)?.network.as_deref()
    }

    /// The network of a path in use, to change.
    #[inline]
    pub(crate) fn network_mut(&mut self, path: PathId) -> Option<&mut Network> {
        self.paths.get_mut(path)?.network.as_deref_mut()
    }

    /// The space of a level; for 1-RTT that of `path`.
    pub(crate) fn space_mut(&mut self, level: EncryptionLevel, path: PathId) -> Option<&mut Space> {
        match level {
            EncryptionLevel::Initial => self.initial.as_mut().map(|space| &mut space.space),
            EncryptionLevel::Handshake => self.handshake.as_mut().map(|space| &mut space.space),
            EncryptionLevel::ZeroRtt | EncryptionLevel::OneRtt => self.network_mut(path).map(|network| &mut network.space),
        }
    }

    /// The largest PTO of all paths in use (multipath MP-34, MP-75).
    pub(crate) fn largest_pto(&self) -> Duration {
        let max_ack_delay = self.peer_max_ack_delay();
        self.paths
            .iter()
            .filter(|entry| entry.is_live())
            .filter_map(|entry| entry.network.as_deref())
            .map(|network| network.pto(max_ack_delay))
            .max()
            .unwrap_or(Duration::from_secs(1))
    }

    /// The least round trip of the longest open path: what a promise to the peer takes to come back as data.
    pub(crate) fn longest_round_trip(&self) -> Duration {
        let open = self.paths.iter().filter(|entry| entry.state == PathState::Open);
        let measured = open.filter_map(|entry| entry.network.as_deref()).filter(|network| network.rtt.first_sample_at().is_some());
        measured.map(|network| network.rtt.min()).max().unwrap_or_default()
    }

    /// Another path than `path` is open and answers.
    pub(super) fn has_live_sibling(&self, path: PathId) -> bool {
        self.paths.iter().any(|entry| {
            entry.id != path
                && entry.state == PathState::Open
                && entry.network.as_deref().is_some_and(|network| network.suspect_since.is_none() && network.pto_count == 0)
        })
    }

    /// How the other paths are.
    pub(super) fn siblings(&self, path: PathId) -> Siblings {
        if self.has_live_sibling(path) {
            Siblings::Live
        } else if self.paths.open_count() > 1 {
            Siblings::Silent
        } else {
            Siblings::None
        }
    }

    /// A random number from the connection's generator.
    pub(super) fn random_u64(&mut self) -> u64 {
        self.random.next_u64()
    }

    /// Both ends can use several paths at once, in whichever way.
    #[must_use]
    pub const fn is_multipath(&self) -> bool {
        self.path_mode.has_paths()
    }

    /// What both ends can do with several paths; known when the handshake is complete.
    #[must_use]
    pub const fn path_mode(&self) -> PathMode {
        self.path_mode
    }
}

impl Connection {
    /// The id of our long-header packets is sequence 0 of path 0 (RFC 9000 §5.1.1).
    pub(crate) fn adopt_local_cid(&mut self, cid: qbase::ConnectionId) {
        let token = qcrypto::reset_token(&self.reset_key, &cid);
        if let Some(entry) = self.paths.get_mut(PathId::ZERO) {
            entry.local_cids.issue_known(cid, token);
        }
    }

    /// DCID and SCID of a packet: before the peer's id is known, the client's first choice (burst B-80…B-83).
    pub(crate) fn header_cids(&self, level: EncryptionLevel, path: PathId) -> Option<(qbase::ConnectionId, qbase::ConnectionId)> {
        let bound = self.paths.get(path)?.remote_cids.active();
        let dcid = match level {
            EncryptionLevel::Initial | EncryptionLevel::ZeroRtt if self.role.is_client() => bound.unwrap_or(self.cids.initial_dcid()),
            _ => bound?,
        };
        Some((dcid, self.cids.local))
    }

    /// Every pair of addresses that it uses or may come to use.
    pub(crate) fn four_tuples(&self) -> impl Iterator<Item = FourTuple> + '_ {
        let networks = self.paths.iter().filter_map(|entry| entry.network.as_deref());
        let paths = networks.flat_map(|network| std::iter::once(network.four_tuple).chain(network.sides().map(|side| side.four_tuple)));
        let candidates = self.candidates.iter().flat_map(|candidates| candidates.four_tuples());
        let home = self.traversal.iter().filter_map(|part| part.home());
        paths.chain(home).chain(candidates).chain(self.opens.iter().map(|open| open.four_tuple)).chain(self.spares.four_tuples())
    }

    /// The spin bit of the next packet on a path.
    pub(crate) fn spin(&self, path: PathId) -> Spin {
        // In front of a forward header's reader, a set bit would look like another header (traversal T-12).
        let spins = self.network(path).filter(|network| network.four_tuple.reserve() == 0);
        spins.map(|network| network.spin.value()).unwrap_or_default()
    }

    /// The peer has said that the fixed bit may be 0, and so have we (RFC 9287 §3.1).
    pub(crate) fn clears_fixed_bit(&self) -> bool {
        self.peer_parameters.grease_quic_bit && self.config.grease_quic_bit
    }

    /// The client's id that the endpoint routes by until ours is used.
    pub(crate) fn initial_dcid(&self) -> qbase::ConnectionId {
        self.cids.initial_dcid()
    }

    /// An authentic packet was received.
    pub(crate) const fn has_received(&self) -> bool {
        self.counters.packets_received > 0
    }

    /// Packets wait for their keys.
    pub(crate) fn has_waiting_packets(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Counts key updates and tells the application.
    pub(super) fn on_keys_updated(&mut self, now: qbase::Timestamp) {
        let until = now + self.largest_pto().saturating_mul(3);
        if let Some(application) = &mut self.application {
            application.keys.keep_previous_until(until);
        }
        // The first packet of the peer's answer ends an update that was counted when it began.
        let updates = self.application.as_ref().map_or(0, |application| application.keys.updates());
        if updates > self.counters.key_updates {
            self.counters.key_updates = updates;
            self.events.push_back(super::events::Event::KeyUpdated);
        }
    }

    /// Acknowledgements in a sealed 1-RTT packet let the peer update its keys again (RFC 9001 §6.1).
    pub(crate) fn note_acks_sent(&mut self, pending: &crate::burst::record::PendingBurst, from: usize, count: usize) {
        let is_shared = self.one_space.is_some();
        let Some(application) = self.application.as_mut().filter(|application| application.keys.awaits_ack_sent()) else { return };
        for frame in pending.frames.iter().skip(from).take(count) {
            if let crate::burst::SentFrame::Ack { space: qbase::SpaceId::Application(path), largest, .. } = frame {
                application.keys.on_ack_sent(if is_shared { PathId::ZERO } else { *path }, *largest);
            }
        }
    }

    /// Starts a key update before the AEAD limit is reached (RFC 9001 §6.6, multipath MP-33).
    pub(super) fn update_keys_if_needed(&mut self, now: qbase::Timestamp) {
        if let Some(application) = &mut self.application
            && application.keys.update_if_due(now)
        {
            self.on_keys_updated(now);
        }
    }

    /// A socket refused to send on this path. The burst counts as sent and will be missed by the peer, so that loss
    /// recovery paces the next try; with other paths alive its data moves to them at once (attacks F21). A burst that was
    /// too large is written again in smaller datagrams.
    pub(crate) fn on_send_error(&mut self, path: PathId, segments: usize, failure: SendFailure, now: qbase::Timestamp) {
        if self.on_copy_refused(now, path, failure) {
            return;
        }
        let aside = self.network(path).and_then(|network| network.pending.aside);
        if aside.is_none() && failure == SendFailure::TooLarge && self.on_datagram_refused(path, now) {
            return;
        }
        self.on_submitted(path, segments, now);
        if let Some(aside) = aside {
            // The path itself is as it was.
            return self.on_aside_refused(path, aside);
        }
        let ticket = self.paths.get(path).and_then(|entry| entry.ticket);
        let mut due = true;
        if let Some(network) = self.network_mut(path) {
            network.counters.send_errors = network.counters.send_errors.saturating_add(1);
            due = network.send_error_told_at.is_none_or(|told| now.saturating_since(told) >= SEND_ERROR_EVENTS);
            if due {
                network.send_error_told_at = Some(now);
            }
        }
        if due {
            let kind = super::events::PathEventKind::SendError(failure);
            self.path_event(path, ticket, kind, super::events::Cause::Local, "a socket refused to send");
        }
        if path == PathId::ZERO && !self.has_received() {
            self.on_first_flight_refused(now, failure);
        }
        if self.handshake_complete && self.has_live_sibling(path) && self.network(path).is_some_and(|network| network.suspect_since.is_none()) {
            self.suspect_path(now, path);
        }
    }
}
