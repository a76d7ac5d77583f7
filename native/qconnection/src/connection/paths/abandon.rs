//! The end of paths and the silence before it: suspicion, PATH_ABANDON, forgetting (multipath section I, MP-83).
//!
//! Called by the dispatch, the timers and the application's verbs. No byte is lost: frames go back to their owners.

use crate::{
    connection::{
        Connection,
        events::{Cause, EndpointAction, OpenFailure, PathEventKind},
    },
    path::{PathState, entry::Abandon, status::Silence},
    stream::PathChange,
};
use qbase::{ErrorCode, PathId, TransportError, Timestamp, frame};

impl Connection {
    /// PATH_ABANDON of the peer (multipath MP-64, MP-67).
    pub(in crate::connection) fn on_path_abandon(&mut self, now: Timestamp, abandon: frame::PathAbandon) -> Result<(), TransportError> {
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
    pub(in crate::connection) fn begin_abandon(&mut self, now: Timestamp, path: PathId, code: u64, by: Cause, reason: &'static str) {
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
        self.streams.on_paths(self.paths.open_count());
        self.streams.on_path_change(path, PathChange::Gone);
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
            (network.validation, network.left, network.candidate) = (None, None, None);
        }
        for frame in settled.drain(..) {
            self.on_frame_lost(frame);
        }
        self.settled = settled;
    }

    /// Our PATH_ABANDON arrived; the rest is forgotten when the peer's came too and 3 PTO passed, or at `forget_at`.
    pub(in crate::connection) fn on_abandon_acked(&mut self, now: Timestamp, path: PathId) {
        let forget_at = now + self.largest_pto().saturating_mul(3);
        if let Some(abandon) = self.paths.get_mut(path).and_then(|entry| entry.abandon.as_mut())
            && abandon.received
        {
            abandon.forget_at = abandon.forget_at.min(forget_at);
        }
    }

    /// Drops the rest of abandoned paths whose time is over.
    pub(in crate::connection) fn forget_abandoned(&mut self, now: Timestamp) {
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
    pub(in crate::connection) fn suspect_path(&mut self, now: Timestamp, path: PathId) {
        let sibling = self.has_live_sibling(path);
        let max_ack_delay = self.peer_max_ack_delay();
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
            self.streams.on_path_change(path, PathChange::Suspect);
            let bytes = self.reinject_all(path);
            if let Some(network) = self.network_mut(path) {
                network.counters.bytes_reinjected = network.counters.bytes_reinjected.saturating_add(bytes);
            }
            self.counters.bytes_reinjected = self.counters.bytes_reinjected.saturating_add(bytes);
            return;
        }
        let silent = network.suspect_since.map(|since| now.saturating_since(since)).unwrap_or_default();
        // When the second PTO in a row would be due with its whole back-off: suspicion and its probes come earlier than that.
        if silent >= network.pto(max_ack_delay).saturating_mul(2) {
            entry.status.set_silent(Silence::Lasting);
        }
        if silent >= self.config.abandon_after {
            self.begin_abandon(now, path, ErrorCode::PATH_UNSTABLE_OR_POOR.0, Cause::Timer, "silent for too long");
        }
    }

    /// An acknowledgement arrived for a suspect path.
    pub(in crate::connection) fn on_path_recovered(&mut self, path: PathId) {
        self.streams.on_path_change(path, PathChange::Answers);
        self.join_shares(path);
        if let Some(entry) = self.paths.get_mut(path) {
            entry.status.set_silent(Silence::Over);
        }
        let ticket = self.paths.get(path).and_then(|entry| entry.ticket);
        self.path_event(path, ticket, PathEventKind::Recovered, Cause::Peer, "it answered again");
    }
}
