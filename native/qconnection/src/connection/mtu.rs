//! Path MTU discovery as the connection sees it: probes out, their fate, black holes, refusals (RFC 9000 §14, RFC 8899).
//!
//! Called by the output, the acknowledgements and the endpoint with a socket's refusal. The search stands in `path/mtu`.

use super::{Connection, events::{Cause, PathEventKind}};
use crate::{
    burst::{Plan, limits::Budget, plan::{Levels, Padding}, sources::Allow},
    path::PathState,
};
use qbase::{PathId, Timestamp};

impl Connection {
    /// The probe that `path` should send now: a burst of one segment with one packet (burst B-56). Only a validated path
    /// that answers is probed, within its window and its pacing (RFC 8899 §3).
    pub(super) fn mtu_probe(&mut self, now: Timestamp, path: PathId) -> Option<(Plan, Budget, Allow)> {
        let size = self.network(path)?.search.wants_probe()?;
        let entry = self.paths.get(path)?;
        if !self.confirmed || entry.state != PathState::Open || entry.remote_cids.active().is_none() {
            return None;
        }
        let in_flight = self.bytes_in_flight(path);
        let network = self.network_mut(path)?;
        if network.pending.open || network.suspect_since.is_some() || network.pto_count > 0 {
            return None;
        }
        let mtu = u64::from(network.mtu());
        let paced = network.paced(now, mtu);
        let quota = network.window_room(in_flight).min(paced);
        if quota < u64::from(size) || network.amplification.credit() != u64::MAX {
            return None;
        }
        let id = network.search.on_probe_written();
        let plan = Plan {
            window: usize::from(size),
            max_segments: 1,
            levels: Levels { one_rtt: true, ..Levels::default() },
            padding: Padding::Full,
            in_flight: true,
        };
        let allow = Allow { in_flight: true, probe: false, data: false, bundle: false, acks: false, control: false, mtu_probe: Some(id) };
        Some((plan, Budget { credit: u64::MAX, quota, probes: 0 }, allow))
    }

    /// A probe arrived.
    pub(super) fn on_mtu_probe_acked(&mut self, path: PathId, id: u32) {
        let changed = self.network_mut(path).and_then(|network| network.search.on_probe_acked(id));
        self.on_mtu_changed(path, changed, Cause::Peer, "a probe of this size arrived");
    }

    /// A probe was lost: no congestion (RFC 9000 §14.4), only a sign that it may have been too large.
    pub(super) fn on_mtu_probe_lost(&mut self, path: PathId, id: u32) {
        if let Some(network) = self.network_mut(path) {
            network.search.on_probe_lost(id);
        }
    }

    /// Packets above 1200 bytes were lost that were sent after the last one that arrived.
    pub(super) fn on_large_lost(&mut self, path: PathId, packets: u64) {
        let changed = self.network_mut(path).and_then(|network| network.search.on_large_lost(packets));
        self.on_mtu_changed(path, changed, Cause::Peer, "larger datagrams only vanish");
    }

    /// The socket refused the open burst of `path` as too large. `true`: it is taken back and smaller ones follow;
    /// `false`: it was as small as a datagram can be, so the path itself is at fault.
    pub(super) fn on_datagram_refused(&mut self, path: PathId, now: Timestamp) -> bool {
        let Some(network) = self.network_mut(path) else { return false };
        let size = u16::try_from(network.pending.segment_size).unwrap_or(u16::MAX);
        let probe = network.pending.mtu_probe;
        let changed = network.search.on_refused(size);
        if !probe && changed.is_none() {
            return false;
        }
        self.on_submitted(path, 0, now);
        self.on_mtu_changed(path, changed, Cause::Local, "the interface carries no larger datagram");
        true
    }

    /// The peer's `max_udp_payload_size` is known.
    pub(super) fn on_peer_datagram_limit(&mut self) {
        let limit = self.peer_parameters.max_udp_payload_size;
        for at in 0..self.paths.len() {
            let Some(path) = self.paths.id_at(at) else { return };
            let changed = self.network_mut(path).and_then(|network| network.search.on_peer_limit(limit));
            self.on_mtu_changed(path, changed, Cause::Peer, "the peer's max_udp_payload_size");
        }
    }

    /// Whoever counts in datagrams learns the new size.
    fn on_mtu_changed(&mut self, path: PathId, changed: Option<u16>, by: Cause, reason: &'static str) {
        let Some(mtu) = changed else { return };
        let Some(entry) = self.paths.get_mut(path) else { return };
        let ticket = entry.ticket;
        if let Some(network) = entry.network.as_deref_mut() {
            network.controller.on_mtu(u64::from(mtu));
        }
        self.path_event(path, ticket, PathEventKind::Mtu(mtu), by, reason);
    }
}
