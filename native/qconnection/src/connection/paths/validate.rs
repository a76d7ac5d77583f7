//! Proving addresses: challenges, responses, and a path whose peer moved (RFC 9000 §8.2, §9.3; multipath MP-20…MP-27).
//!
//! Called by the dispatch and the timers. The state machine of one validation stands in `path/validate`.

use crate::{
    connection::{
        Connection,
        events::{Cause, PathEventKind},
        input::Opened,
    },
    path::{PathState, amplify::Amplification, validate::Validation},
};
use qbase::{PathId, Timestamp, limits};
use rand_core::RngCore;

impl Connection {
    /// Starts to validate a path's address (RFC 9000 §8.2).
    pub(in crate::connection) fn challenge(&mut self, now: Timestamp, path: PathId) {
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
    pub(in crate::connection) fn on_path_challenge(&mut self, opened: &Opened, data: [u8; 8]) {
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
    pub(in crate::connection) fn on_path_response(&mut self, now: Timestamp, data: [u8; 8]) {
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
        } else if path == PathId::ZERO {
            // The client moved: the token it holds names its address of before.
            self.want_token(now);
        }
        self.start_waiting_opens(now);
    }

    /// A packet that may move its path to another address (RFC 9000 §9.3; multipath MP-27).
    pub(in crate::connection) fn on_non_probing(&mut self, opened: &Opened) {
        let four_tuple = opened.arrival.four_tuple;
        let (confirmed, role, ecn) = (self.confirmed, self.role, self.config.ecn);
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
        network.episode.reset();
        network.delivery = qcongestion::rate::Meter::new();
        network.reordering = qcongestion::Reordering::new();
        network.space.sent.on_network_change();
        network.pacer.reset();
        network.ecn.restart(ecn.into());
        network.search.reset();
        let mtu = network.mtu();
        network.controller.on_mtu(u64::from(mtu));
        let ticket = self.paths.get(opened.path).and_then(|entry| entry.ticket);
        self.challenge(opened.arrival.now, opened.path);
        self.path_event(opened.path, ticket, PathEventKind::Rebound(four_tuple), Cause::Peer, "a newer packet came from another address");
    }
}
