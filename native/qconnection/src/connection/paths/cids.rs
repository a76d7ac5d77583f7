//! Connection ids of all path ids: which to issue, which were given, which are retired (multipath section F).
//!
//! Called by the handshake, the dispatch and when a path changes. The books of one path id stand in `cid/`.

use crate::{
    connection::{Connection, events::EndpointAction, input::Opened},
    path::{PathState, set::Known},
};
use qbase::{ConnectionId, PathId, TransportError, Timestamp, frame, limits};

impl Connection {
    /// Gives the peer the connection ids it may need: one per unused path id, one spare per path in use (multipath MP-47).
    pub(in crate::connection) fn issue_cids(&mut self) {
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
                // One in use, one for the address the peer may go to, one for that it has left (RFC 9000 §5.1.1, §9.5).
                PathState::Validating | PathState::Open => limit.min(3),
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

    /// Packets on a path carry another of the peer's connection ids from now on; the present one is given back
    /// (RFC 9000 §9.5; multipath MP-50). `false`: the peer has given no other.
    pub fn rotate_cid(&mut self, path: PathId) -> bool {
        let (policy, luck) = (self.config.spin, self.random_u64());
        let Some(entry) = self.paths.get_mut(path) else { return false };
        let rotated = entry.remote_cids.rotate().is_some();
        if let Some(network) = entry.network.as_deref_mut().filter(|_| rotated) {
            network.spin.on_new_id(policy, luck);
        }
        self.announce_reset_tokens();
        rotated
    }

    /// The peer gets fresh connection ids for a path and is asked to give back all it has (RFC 9000 §5.1.2; multipath
    /// MP-49). `false`: it has not answered the request before, or the path is not in use.
    pub fn renew_cids(&mut self, path: PathId) -> bool {
        let entry = self.paths.get_mut(path).filter(|entry| entry.is_live());
        let renewed = entry.is_some_and(|entry| entry.local_cids.renew());
        if renewed {
            self.issue_cids();
        }
        renewed
    }

    /// Another connection had the id first: this one gets `cid` in its place, unless the peer may know it already.
    pub(crate) fn replace_cid(&mut self, path: PathId, sequence: u64, cid: ConnectionId) -> bool {
        let token = qcrypto::reset_token(&self.reset_key, &cid);
        self.paths.get_mut(path).is_some_and(|entry| entry.local_cids.replace(sequence, cid, token))
    }

    /// A fresh connection id.
    fn new_cid(&mut self) -> ConnectionId {
        self.shape.draw(&mut self.random)
    }

    /// (PATH_)NEW_CONNECTION_ID.
    pub(in crate::connection) fn on_new_connection_id(&mut self, now: Timestamp, new: &frame::NewConnectionId) -> Result<(), TransportError> {
        let path = new.path.unwrap_or_default();
        self.check_path_limit(path)?;
        if self.cids.remote.is_none_or(|cid| cid.is_empty()) {
            return Err(TransportError::violation("NEW_CONNECTION_ID to a peer with empty connection ids"));
        }
        if self.paths.iter().any(|entry| entry.id != path && entry.remote_cids.holds(&new.cid)) {
            return Err(TransportError::violation("one connection id for two path ids"));
        }
        let Some(entry) = self.paths.get_or_create(path) else { return Ok(()) };
        if entry.state == PathState::Abandoning {
            return Ok(());
        }
        entry.remote_cids.on_new(new.sequence, new.retire_prior_to, new.cid, new.reset_token)?;
        self.announce_reset_tokens();
        self.start_waiting_opens(now);
        self.start_preferred(now);
        self.ask_next_spare(now);
        Ok(())
    }

    /// (PATH_)RETIRE_CONNECTION_ID.
    pub(in crate::connection) fn on_retire_connection_id(&mut self, opened: &Opened, retire: &frame::RetireConnectionId) -> Result<(), TransportError> {
        let path = retire.path.unwrap_or_default();
        self.check_path_limit(path)?;
        let route = opened.arrival.route;
        let carried = (route.path == path).then_some(route.sequence);
        if self.paths.known(path) == Known::Fresh {
            return Err(TransportError::violation("retired a connection id that was not issued"));
        }
        let Some(entry) = self.paths.get_mut(path) else { return Ok(()) };
        if let Some(cid) = entry.local_cids.on_retire(retire.sequence, carried)? {
            self.actions.push_back(EndpointAction::Unroute(cid));
            self.issue_cids();
        }
        Ok(())
    }
}
