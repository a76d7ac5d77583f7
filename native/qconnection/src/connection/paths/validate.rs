//! Proving addresses: challenges and responses (RFC 9000 §8.2; multipath MP-20…MP-25).
//!
//! Called by the dispatch and the timers. The state machine of one validation stands in `path/validate`.

use crate::{
    connection::{
        Connection,
        events::{Cause, PathEventKind},
        input::Opened,
    },
    path::{PathState, side::Purpose, validate::Validation},
};
use qbase::{PathId, Timestamp, limits};
use rand_core::RngCore;

impl Connection {
    /// Starts to validate a path's address (RFC 9000 §8.2).
    pub(in crate::connection) fn challenge(&mut self, now: Timestamp, path: PathId) {
        let mut data = [0; 8];
        self.random.fill_bytes(&mut data);
        let max_ack_delay = self.peer_max_ack_delay();
        let fresh = qcongestion::pto::interval(&qcongestion::RttEstimator::new(self.config.initial_rtt), max_ack_delay, 0);
        if let Some(network) = self.network_mut(path) {
            let pto = network.pto(max_ack_delay);
            network.validation = Some(Validation::new(now, data, pto, pto.max(fresh)));
        }
    }

    /// PATH_CHALLENGE: answered on the path and address it came from (multipath MP-23, burst B-31).
    pub(in crate::connection) fn on_path_challenge(&mut self, opened: &Opened, data: [u8; 8]) {
        let waiting: usize = self.paths.iter().filter_map(|entry| entry.network.as_deref()).map(|network| network.responses.len()).sum();
        if waiting >= limits::PATH_RESPONSES {
            // Over the connection's bound the oldest of the path that has most gives way (attacks L8).
            let fullest = self.paths.iter_mut().filter_map(|entry| entry.network.as_deref_mut()).max_by_key(|network| network.responses.len());
            if let Some(network) = fullest {
                network.responses.drop_oldest();
            }
        }
        if !self.on_probe(&opened.arrival) {
            return;
        }
        let seen = opened.arrival.four_tuple;
        let four_tuple = self.known_addresses(opened.path, seen).unwrap_or(seen);
        if let Some(network) = self.network_mut(opened.path) {
            network.responses.push(data, four_tuple);
            self.moves.has_sides |= network.four_tuple != four_tuple;
        }
    }

    /// PATH_RESPONSE: validates the path whose challenge it answers, wherever it arrives (RFC 9000 §8.2.3; attacks E8).
    pub(in crate::connection) fn on_path_response(&mut self, now: Timestamp, data: [u8; 8]) {
        let aside = self.paths.iter_mut().find_map(|entry| {
            let network = entry.network.as_deref_mut()?;
            let mut sides = network.sides_mut();
            let side = sides.find_map(|side| side.validation.as_mut()?.on_response(data).then_some(side))?;
            let mtu_proved = side.validation.take().is_some_and(|validation| validation.is_mtu_proved());
            side.proved = true;
            side.amplification.validate();
            Some((entry.id, side.four_tuple, mtu_proved))
        });
        if let Some((path, four_tuple, mtu_proved)) = aside {
            if !mtu_proved {
                // The address is proved, but not that it carries 1200 bytes (RFC 9000 §8.2.1).
                let again = self.validation(now, path, now);
                let sides = self.network_mut(path).into_iter().flat_map(|network| network.sides_mut());
                sides.filter(|side| side.four_tuple == four_tuple && !matches!(side.purpose, Purpose::Left { .. })).for_each(|side| side.validation.clone_from(&again));
            }
            return self.on_side_proved(now, path, four_tuple);
        }
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
        let was_validating = entry.state == PathState::Validating;
        if was_validating {
            entry.state = PathState::Open;
            self.streams.on_paths(self.paths.open_count());
            self.join_shares(path);
            self.path_event(path, ticket, PathEventKind::Validated, Cause::Peer, "the peer answered the challenge");
        } else {
            self.on_moved_proved(now, path);
        }
        if !was_validating || !self.has_sibling_at_same_host(path) {
            // The client moved or came from a further network: the token it holds does not name this address.
            self.want_token(now, path);
        }
        self.start_waiting_opens(now);
    }
}
