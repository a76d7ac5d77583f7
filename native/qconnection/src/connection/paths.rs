//! The life of paths: opening, connection ids, validation, status, failover, abandonment (multipath sections C, F to I, M).
//!
//! Called by the dispatch, the timers and the application's verbs. The state of each path stands in `path/`.

use super::{
    Connection,
    events::{Cause, EndpointAction, Event, OpenFailure, PathEvent, PathEventKind, WaitingFor},
    input::Opened,
};
use crate::path::{Network, PathState, amplify::Amplification, entry::Abandon, validate::Validation};
use qbase::{
    ConnectionId, EncryptionLevel, ErrorCode, FourTuple, PathId, TransportError, Timestamp,
    frame::{self, PathStatusKind},
    limits,
};
use rand_core::RngCore;
use std::collections::VecDeque;

/// Records copied to other paths when a path falls silent, so many packets at once at most: more than any window holds.
const REINJECT_PACKETS: usize = 1 << 16;

/// A request to open a path that waits for ids or limits (multipath MP-81).
#[derive(Clone, Copy, Debug)]
pub(crate) struct PendingOpen {
    pub(crate) ticket: u64,
    pub(crate) four_tuple: FourTuple,
    pub(crate) status: PathStatusKind,
    /// What the application was last told.
    pub(crate) told: Option<WaitingFor>,
}

/// Requests that wait, first come first served; bounded by [`limits::OPEN_PATHS`].
pub(crate) type PendingOpens = VecDeque<PendingOpen>;

impl Connection {
    /// Sets up path 0 for the handshake.
    pub(super) fn start_first_path(&mut self, four_tuple: FourTuple) {
        let amplification = if self.role.is_client() { Amplification::unlimited() } else { Amplification::limited() };
        self.install_network(PathId::ZERO, four_tuple, amplification);
    }

    fn install_network(&mut self, path: PathId, four_tuple: FourTuple, amplification: Amplification) {
        let skip = self.random_u64() % 256;
        let mut network = Network::new(&self.config, four_tuple, amplification, skip.saturating_add(16));
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
    pub(super) fn start_waiting_opens(&mut self, now: Timestamp) {
        while let Some(open) = self.opens.front().copied() {
            let Some(reason) = self.why_open_waits() else {
                self.opens.pop_front();
                self.begin_path(now, open);
                continue;
            };
            if self.confirmed && !self.multipath {
                self.opens.pop_front();
                self.path_event(PathId::ZERO, Some(open.ticket), PathEventKind::Failed(OpenFailure::NoMultipath), Cause::Peer, "multipath was not negotiated");
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
        let Some(path) = self.paths.next_openable() else { return };
        self.install_network(path, open.four_tuple, Amplification::unlimited());
        if let Some(entry) = self.paths.get_mut(path) {
            entry.ticket = Some(open.ticket);
            entry.status.set_local(open.status);
        }
        self.challenge(now, path);
        self.issue_cids();
        self.path_event(path, Some(open.ticket), PathEventKind::Opening(open.four_tuple), Cause::Local, "asked for by the application");
    }

    /// The client began to use a path id (multipath MP-21).
    pub(super) fn accept_path(&mut self, opened: &Opened) {
        let arrival = opened.arrival;
        let mut amplification = Amplification::limited();
        // The datagram that opens a path counts for its address.
        amplification.on_received(arrival.size as u64);
        self.install_network(opened.path, arrival.four_tuple, amplification);
        self.challenge(arrival.now, opened.path);
        self.issue_cids();
        self.path_event(opened.path, None, PathEventKind::Opening(arrival.four_tuple), Cause::Peer, "opened by the peer");
    }

    /// Starts to validate a path's address (RFC 9000 §8.2).
    pub(super) fn challenge(&mut self, now: Timestamp, path: PathId) {
        let mut data = [0; 8];
        self.random.fill_bytes(&mut data);
        let max_ack_delay = self.peer_parameters.max_ack_delay;
        let fresh = qcongestion::pto::interval(&qcongestion::RttEstimator::new(self.config.initial_rtt), max_ack_delay, 0);
        if let Some(network) = self.network_mut(path) {
            let pto = network.pto(max_ack_delay);
            network.validation = Some(Validation::new(now, data, pto, pto.max(fresh)));
        }
    }

    /// PATH_CHALLENGE: answered on the path and address it came from (multipath MP-23, burst B-31).
    pub(super) fn on_path_challenge(&mut self, opened: &Opened, data: [u8; 8]) {
        let waiting: usize = self.paths.iter().filter_map(|entry| entry.network.as_deref()).map(|network| network.responses.len()).sum();
        if waiting >= limits::PATH_RESPONSES {
            // Over the connection's bound the oldest of the path that has most gives way (attacks L8).
            let fullest = self.paths.iter_mut().filter_map(|entry| entry.network.as_deref_mut()).max_by_key(|network| network.responses.len());
            if let Some(network) = fullest {
                network.responses.drop_oldest();
            }
        }
        let four_tuple = opened.arrival.four_tuple;
        if let Some(network) = self.network_mut(opened.path) {
            network.responses.push(data, four_tuple);
        }
    }

    /// PATH_RESPONSE: validates the path whose challenge it answers, wherever it arrives (RFC 9000 §8.2.3; attacks E8).
    pub(super) fn on_path_response(&mut self, now: Timestamp, data: [u8; 8]) {
        let matched = self.paths.iter_mut().find_map(|entry| {
            let network = entry.network.as_deref_mut()?;
            network.validation.as_mut()?.on_response(data).then(|| {
                let mtu_proved = network.validation.as_ref().is_some_and(|validation| validation.is_mtu_proved());
                network.validation = None;
                network.amplification.validate();
                (entry.id, mtu_proved)
            })
        });
        let Some((path, mtu_proved)) = matched else { return };
        if !mtu_proved {
            self.challenge(now, path);
        }
        let Some(entry) = self.paths.get_mut(path) else { return };
        let ticket = entry.ticket;
        if entry.state == PathState::Validating {
            entry.state = PathState::Open;
            self.path_event(path, ticket, PathEventKind::Validated, Cause::Peer, "the peer answered the challenge");
        }
        self.start_waiting_opens(now);
    }

    /// Gives the peer the connection ids it may need: one per unused path id, one spare per path in use (multipath MP-47).
    pub(super) fn issue_cids(&mut self) {
        if !self.handshake_complete {
            return;
        }
        let limit = self.peer_parameters.active_connection_id_limit.min(limits::REMOTE_CIDS_PER_PATH);
        let maximum = self.maximum_path();
        let mut path = PathId::ZERO;
        loop {
            if self.paths.get_or_create(path).is_some() {
                self.issue_cids_for(path, limit);
            }
            match path.next() {
                Some(next) if next <= maximum => path = next,
                _ => return,
            }
        }
    }

    fn issue_cids_for(&mut self, path: PathId, limit: u64) {
        loop {
            let Some(entry) = self.paths.get(path) else { return };
            let wanted = match entry.state {
                PathState::Unused => 1,
                PathState::Abandoning => 0,
                PathState::Validating | PathState::Open => limit.min(2),
            };
            if entry.local_cids.want(wanted) == 0 {
                return;
            }
            let cid = self.new_cid();
            let token = qcrypto::reset_token(&self.reset_key, &cid);
            let Some(entry) = self.paths.get_mut(path) else { return };
            let sequence = entry.local_cids.issue(cid, token);
            self.actions.push_back(EndpointAction::Route { cid, path, sequence });
        }
    }

    /// A fresh random connection id.
    fn new_cid(&mut self) -> ConnectionId {
        let mut bytes = [0; limits::LOCAL_CID_LEN];
        self.random.fill_bytes(&mut bytes);
        ConnectionId::new(&bytes).unwrap_or_default()
    }

    /// (PATH_)NEW_CONNECTION_ID.
    pub(super) fn on_new_connection_id(&mut self, now: Timestamp, new: &frame::NewConnectionId) -> Result<(), TransportError> {
        let path = new.path.unwrap_or_default();
        self.check_path_limit(path)?;
        if self.cids.remote.is_none_or(|cid| cid.is_empty()) {
            return Err(TransportError::violation("NEW_CONNECTION_ID to a peer with empty connection ids"));
        }
        let Some(entry) = self.paths.get_or_create(path) else { return Ok(()) };
        if entry.state == PathState::Abandoning {
            return Ok(());
        }
        entry.remote_cids.on_new(new.sequence, new.retire_prior_to, new.cid, new.reset_token)?;
        self.start_waiting_opens(now);
        Ok(())
    }

    /// (PATH_)RETIRE_CONNECTION_ID.
    pub(super) fn on_retire_connection_id(&mut self, opened: &Opened, retire: &frame::RetireConnectionId) -> Result<(), TransportError> {
        let path = retire.path.unwrap_or_default();
        self.check_path_limit(path)?;
        let route = opened.arrival.route;
        let carried = (route.path == path).then_some(route.sequence);
        let Some(entry) = self.paths.get_mut(path) else { return Ok(()) };
        if let Some(cid) = entry.local_cids.on_retire(retire.sequence, carried)? {
            self.actions.push_back(EndpointAction::Unroute(cid));
            self.issue_cids();
        }
        Ok(())
    }

    /// PATH_STATUS_AVAILABLE / PATH_STATUS_BACKUP.
    pub(super) fn on_path_status(&mut self, status: frame::PathStatus) -> Result<(), TransportError> {
        self.check_path_limit(status.path)?;
        let Some(entry) = self.paths.get_or_create(status.path) else { return Ok(()) };
        if entry.status.on_frame(status.status, status.sequence) {
            let ticket = entry.ticket;
            self.path_event(status.path, ticket, PathEventKind::Status(status.status), Cause::Peer, "the peer's advice");
        }
        Ok(())
    }

    /// MAX_PATH_ID (multipath MP-53).
    pub(super) fn on_max_path_id(&mut self, now: Timestamp, maximum: PathId) -> Result<(), TransportError> {
        if self.peer_parameters.initial_max_path_id.is_some_and(|initial| maximum < initial) {
            return Err(TransportError::violation("MAX_PATH_ID below initial_max_path_id"));
        }
        if self.paths.on_peer_maximum(maximum) {
            self.issue_cids();
            self.start_waiting_opens(now);
        }
        Ok(())
    }

    /// PATH_ABANDON of the peer (multipath MP-64, MP-67).
    pub(super) fn on_path_abandon(&mut self, now: Timestamp, abandon: frame::PathAbandon) -> Result<(), TransportError> {
        self.check_path_limit(abandon.path)?;
        if self.paths.get_or_create(abandon.path).is_none() {
            return Ok(());
        }
        self.begin_abandon(now, abandon.path, abandon.code, Cause::Peer, "the peer abandoned it");
        let forget_at = now + self.largest_pto().saturating_mul(3);
        if let Some(abandon) = self.paths.get_mut(abandon.path).and_then(|entry| entry.abandon.as_mut()) {
            abandon.received = true;
            abandon.forget_at = forget_at;
        }
        if self.paths.live_count() == 0 {
            return Err(TransportError::new(ErrorCode::NO_VIABLE_PATH, "the last path was abandoned"));
        }
        Ok(())
    }

    /// Ends a path: its data moves to the others and PATH_ABANDON is owed (multipath MP-43, MP-62, MP-63; burst B-85).
    pub(super) fn begin_abandon(&mut self, now: Timestamp, path: PathId, code: u64, by: Cause, reason: &'static str) {
        let forget_at = now + self.largest_pto().saturating_mul(3);
        let Some(entry) = self.paths.get_mut(path) else { return };
        if entry.state == PathState::Abandoning {
            return;
        }
        let was = entry.state;
        entry.state = PathState::Abandoning;
        entry.abandon = Some(Abandon { code, owed: true, received: false, forget_at });
        entry.remote_cids.retire_all();
        let ticket = entry.ticket;
        self.requeue_all(path);
        if was == PathState::Validating && ticket.is_some() {
            let failure = if code == ErrorCode::PATH_UNSTABLE_OR_POOR.0 && by == Cause::Timer { OpenFailure::Validation } else { OpenFailure::Abandoned };
            self.path_event(path, ticket, PathEventKind::Failed(failure), by, reason);
        }
        self.path_event(path, ticket, PathEventKind::Abandoning(code), by, reason);
    }

    /// Gives every unacknowledged frame of a path back to its owner.
    fn requeue_all(&mut self, path: PathId) {
        let mut settled = std::mem::take(&mut self.settled);
        settled.clear();
        if let Some(network) = self.network_mut(path) {
            network.space.sent.drain_all(|_, frames| settled.extend(frames));
            network.space.loss_time = None;
            network.space.probes_owed = 0;
            network.validation = None;
        }
        for frame in settled.drain(..) {
            self.on_frame_lost(frame);
        }
        self.settled = settled;
    }

    /// Our PATH_ABANDON arrived; the rest is forgotten when the peer's came too and 3 PTO passed, or at `forget_at`.
    pub(super) fn on_abandon_acked(&mut self, now: Timestamp, path: PathId) {
        let forget_at = now + self.largest_pto().saturating_mul(3);
        if let Some(abandon) = self.paths.get_mut(path).and_then(|entry| entry.abandon.as_mut())
            && abandon.received
        {
            abandon.forget_at = abandon.forget_at.min(forget_at);
        }
    }

    /// Drops the rest of abandoned paths whose time is over.
    pub(super) fn forget_abandoned(&mut self, now: Timestamp) {
        let due: Vec<PathId> = self
            .paths
            .iter()
            .filter(|entry| entry.abandon.is_some_and(|abandon| abandon.forget_at <= now && !abandon.owed))
            .map(|entry| entry.id)
            .collect();
        for path in due {
            let Some(entry) = self.paths.forget(path) else { continue };
            for cid in entry.local_cids.iter_active() {
                self.actions.push_back(EndpointAction::Unroute(cid));
            }
            let code = entry.abandon.map_or(0, |abandon| abandon.code);
            self.path_event(path, entry.ticket, PathEventKind::Abandoned(code), Cause::Timer, "both ends know");
            self.issue_cids();
            self.start_waiting_opens(now);
        }
    }

    /// A path was silent for a PTO while others live: its data goes to them (multipath MP-83).
    pub(super) fn suspect_path(&mut self, now: Timestamp, path: PathId) {
        let sibling = self.has_live_sibling(path);
        let Some(entry) = self.paths.get_mut(path) else { return };
        let ticket = entry.ticket;
        let Some(network) = entry.network.as_deref_mut() else { return };
        let first = network.suspect_since.is_none();
        if !sibling {
            return;
        }
        if first {
            network.suspect_since = Some(now);
            self.path_event(path, ticket, PathEventKind::Suspect, Cause::Timer, "silent for a PTO");
            let bytes = self.offer_again(EncryptionLevel::OneRtt, path, REINJECT_PACKETS);
            if let Some(network) = self.network_mut(path) {
                network.counters.bytes_reinjected = network.counters.bytes_reinjected.saturating_add(bytes);
            }
            self.counters.bytes_reinjected = self.counters.bytes_reinjected.saturating_add(bytes);
            return;
        }
        let silent = network.suspect_since.map(|since| now.saturating_since(since)).unwrap_or_default();
        if silent >= self.config.abandon_after {
            self.begin_abandon(now, path, ErrorCode::PATH_UNSTABLE_OR_POOR.0, Cause::Timer, "silent for too long");
        }
    }

    /// An acknowledgement arrived for a suspect path.
    pub(super) fn on_path_recovered(&mut self, path: PathId) {
        let ticket = self.paths.get(path).and_then(|entry| entry.ticket);
        self.path_event(path, ticket, PathEventKind::Recovered, Cause::Peer, "it answered again");
    }

    /// A packet that may move its path to another address (RFC 9000 §9.3; multipath MP-27).
    pub(super) fn on_non_probing(&mut self, opened: &Opened) {
        let four_tuple = opened.arrival.four_tuple;
        let (confirmed, role) = (self.confirmed, self.role);
        let Some(network) = self.network_mut(opened.path) else { return };
        let newest = network.largest_non_probing.is_none_or(|largest| opened.number > largest);
        if !newest {
            return;
        }
        network.largest_non_probing = Some(opened.number);
        if network.four_tuple.remote == four_tuple.remote || !confirmed || role.is_client() {
            return;
        }
        network.four_tuple = four_tuple;
        network.amplification = Amplification::limited();
        network.amplification.on_received(opened.arrival.size as u64);
        network.controller.reset();
        network.rtt.reset();
        network.persistent.reset();
        network.space.sent.on_network_change();
        network.pacer.reset();
        let ticket = self.paths.get(opened.path).and_then(|entry| entry.ticket);
        self.challenge(opened.arrival.now, opened.path);
        self.path_event(opened.path, ticket, PathEventKind::Rebound(four_tuple), Cause::Peer, "a newer packet came from another address");
    }

    /// Tells the application about a path.
    pub(super) fn path_event(&mut self, path: PathId, ticket: Option<u64>, kind: PathEventKind, by: Cause, reason: &'static str) {
        self.events.push_back(Event::Path(PathEvent { path, ticket, kind, by, reason }));
    }
}
