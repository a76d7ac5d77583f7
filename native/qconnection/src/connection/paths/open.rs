//! Opening paths: requests that wait, ids and limits, the first packet of a peer (multipath sections C, G, H, MP-81).
//!
//! Called by the application's verbs, by the dispatch and whenever an id or a limit came. Never sends anything itself.

use super::PendingOpen;
use crate::{
    config::TransportConfig,
    connection::{
        AddressProof, Connection,
        app::OpenPathError,
        events::{Cause, Event, OpenFailure, PathEvent, PathEventKind, WaitingFor},
        input::Opened,
    },
    path::{Network, PathState, amplify::Amplification, spin::SpinState},
};
use qbase::{FourTuple, PathId, TransportError, Timestamp, frame};
use std::sync::Arc;

impl Connection {
    /// Sets up path 0 for the handshake.
    pub(in crate::connection) fn start_first_path(&mut self, four_tuple: FourTuple, proof: AddressProof) {
        let amplification = match proof {
            AddressProof::Chosen | AddressProof::Token => Amplification::unlimited(),
            AddressProof::Missing => Amplification::limited(),
        };
        self.install_network(PathId::ZERO, four_tuple, amplification);
    }

    fn install_network(&mut self, path: PathId, four_tuple: FourTuple, amplification: Amplification) {
        let skip = self.random_u64() % 256;
        let mut network = Network::new(&self.config, four_tuple, amplification, skip.saturating_add(16));
        network.search.on_peer_limit(self.peer_parameters.max_udp_payload_size);
        network.space.numbers.end_at(self.config.last_packet_number);
        if let Some(asked) = self.ack_wishes.of_new_path() {
            network.space.acks.on_asked(asked);
        }
        network.spin = SpinState::new(self.config.spin, self.random_u64());
        // Paths to one peer differ less than a path differs from the default for an unknown peer.
        let known = self.paths.iter().filter_map(|entry| entry.network.as_deref());
        let known = known.filter(|known| known.rtt.first_sample_at().is_some()).map(|known| known.rtt.smoothed()).max();
        if let Some(known) = known {
            network.rtt.suggest_initial(known.saturating_mul(2).min(self.config.initial_rtt));
        }
        if let Some(entry) = self.paths.get_mut(path) {
            entry.network = Some(Box::new(network));
            entry.state = PathState::Validating;
        }
    }

    /// Opens the paths that were asked for, as far as ids and limits allow. Called whenever one of them may have changed.
    pub(in crate::connection) fn start_waiting_opens(&mut self, now: Timestamp) {
        while let Some(open) = self.opens.front().copied() {
            let Some(reason) = self.why_open_waits() else {
                self.opens.pop_front();
                self.begin_path(now, open);
                continue;
            };
            if self.confirmed && !self.path_mode.has_paths() {
                self.opens.pop_front();
                self.keep_spare(now, open);
                continue;
            }
            if open.told != Some(reason) {
                self.path_event(PathId::ZERO, Some(open.ticket), PathEventKind::Waiting(reason), Cause::Local, "path id or connection id missing");
                if let Some(open) = self.opens.front_mut() {
                    open.told = Some(reason);
                }
                self.tell_peer_we_are_blocked(reason);
            }
            return;
        }
    }

    fn why_open_waits(&self) -> Option<WaitingFor> {
        if !self.confirmed {
            return Some(WaitingFor::Handshake);
        }
        if self.paths.next_openable().is_some() && !self.paths.is_full() {
            return None;
        }
        let maximum = self.paths.usable_maximum().unwrap_or_default();
        let unused_left = self.paths.iter().any(|entry| entry.state == PathState::Unused && entry.id <= maximum)
            || self.paths.iter().next_back().is_some_and(|entry| entry.id < maximum);
        Some(if unused_left && !self.paths.is_full() { WaitingFor::PeerCids } else { WaitingFor::PathIdLimit })
    }

    /// PATHS_BLOCKED or PATH_CIDS_BLOCKED, once per reason (multipath MP-54, MP-81).
    fn tell_peer_we_are_blocked(&mut self, reason: WaitingFor) {
        match reason {
            WaitingFor::PathIdLimit => self.paths.blocked_owed = true,
            WaitingFor::PeerCids => {
                let maximum = self.paths.usable_maximum().unwrap_or_default();
                let missing = self.paths.iter().find(|entry| entry.state == PathState::Unused && entry.id <= maximum).map(|entry| entry.id);
                if let Some(path) = missing {
                    self.owe_cids_blocked(path);
                }
            }
            WaitingFor::Handshake => {}
        }
    }

    /// Starts to use the next path id towards a new address pair (multipath MP-20).
    fn begin_path(&mut self, now: Timestamp, open: PendingOpen) {
        if self.is_barred(open.four_tuple) {
            let failed = PathEventKind::Failed(OpenFailure::MigrationDisabled);
            return self.path_event(PathId::ZERO, Some(open.ticket), failed, Cause::Peer, "the server wants no second address of ours there");
        }
        let Some(path) = self.paths.next_openable() else { return };
        self.install_network(path, open.four_tuple, Amplification::unlimited());
        if let Some(entry) = self.paths.get_mut(path) {
            entry.ticket = Some(open.ticket);
            entry.status.set_local(open.terms.status);
            entry.weight = open.terms.weight.max(1);
        }
        self.challenge(now, path);
        self.issue_cids();
        self.path_event(path, Some(open.ticket), PathEventKind::Opening(open.four_tuple), Cause::Local, "asked for by the application");
    }

    /// The client began to use a path id (multipath MP-21).
    pub(in crate::connection) fn accept_path(&mut self, opened: &Opened) {
        let arrival = opened.arrival;
        let mut amplification = Amplification::limited();
        // The datagram that opens a path counts for its address.
        amplification.on_received(arrival.size as u64);
        self.install_network(opened.path, arrival.four_tuple, amplification);
        self.challenge(arrival.now, opened.path);
        self.issue_cids();
        self.path_event(opened.path, None, PathEventKind::Opening(arrival.four_tuple), Cause::Peer, "opened by the peer");
    }

    /// PATH_STATUS_AVAILABLE / PATH_STATUS_BACKUP.
    pub(in crate::connection) fn on_path_status(&mut self, status: frame::PathStatus) -> Result<(), TransportError> {
        self.check_path_limit(status.path)?;
        let Some(entry) = self.paths.get_or_create(status.path) else { return Ok(()) };
        if entry.status.on_frame(status.status, status.sequence) {
            let ticket = entry.ticket;
            self.path_event(status.path, ticket, PathEventKind::Status(status.status), Cause::Peer, "the peer's advice");
        }
        Ok(())
    }

    /// Wants more paths at once than before: MAX_PATH_ID rises by the difference. Fewer than before changes nothing, because no
    /// id is taken back (multipath MP-53).
    ///
    /// # Errors
    /// Multipath is not negotiated, or not yet.
    pub fn set_max_paths(&mut self, now: Timestamp, paths: u32) -> Result<(), OpenPathError> {
        let before = self.config.parameters().max_path_id().filter(|_| self.path_mode.has_paths()).ok_or(OpenPathError::NoMultipath)?;
        let config = TransportConfig { max_paths: paths, ..(*self.config).clone() };
        let more = config.parameters().max_path_id().map_or(0, |wanted| wanted.0.saturating_sub(before.0));
        if more > 0 {
            self.config = Arc::new(config);
            self.paths.raise_local_maximum(more);
            self.issue_cids();
            self.start_waiting_opens(now);
        }
        Ok(())
    }

    /// MAX_PATH_ID (multipath MP-53).
    pub(in crate::connection) fn on_max_path_id(&mut self, now: Timestamp, maximum: PathId) -> Result<(), TransportError> {
        if self.peer_parameters.max_path_id().is_some_and(|initial| maximum < initial) {
            return Err(TransportError::violation("MAX_PATH_ID below the first limit"));
        }
        if self.paths.on_peer_maximum(maximum) {
            self.issue_cids();
            self.start_waiting_opens(now);
        }
        Ok(())
    }

    /// Tells the application about a path.
    pub(in crate::connection) fn path_event(&mut self, path: PathId, ticket: Option<u64>, kind: PathEventKind, by: Cause, reason: &'static str) {
        let event = PathEvent { path, ticket, kind, by, reason };
        self.log_path_event(&event);
        self.events.push_back(Event::Path(Box::new(event)));
    }
}
