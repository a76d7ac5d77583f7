//! The first Initial of a client (RFC 9000 §5.2.2, §7.2, §8.1, §14.1).
//!
//! Called for Initial packets with an unknown DCID. Keeps no state for a packet that does not decrypt (attacks A3, A5),
//! nor for a client that must prove its address first (attacks B1).

use super::{Endpoint, refuse::Refusal, route::{ORIGINAL, Route}, token::{Proof, Verdict}};
use crate::{
    config::ServerConfig,
    connection::{AddressProof, Arrival, Birth, Connection, HandshakeCids, Side, server_parameters},
};
use qbase::{Ecn, ErrorCode, FourTuple, PathId, Timestamp, limits, packet::ProtectedHeader};
use qcrypto::Session;
use qevent::DropReason;
use std::sync::Arc;

/// Shortest DCID a client may choose for its first packet (RFC 9000 §7.2).
const MIN_CLIENT_DCID: usize = 8;

impl Endpoint {
    /// 0-RTT packets without a connection are worth keeping: a server takes them, and takes newcomers unproved.
    pub(super) fn waits_for_initials(&self) -> bool {
        self.server.as_ref().is_some_and(|server| server.tls.takes_early_data() && !self.must_retry(server.retry))
    }

    /// Makes a connection for a client's first Initial, if it is one and the client may have one.
    pub(super) fn accept(&mut self, now: Timestamp, four_tuple: FourTuple, ecn: Ecn, header: &ProtectedHeader, bytes: &mut [u8]) {
        let Some(server) = self.server.clone() else { return self.drops.count(DropReason::NotListening) };
        if bytes.len() < limits::MIN_INITIAL {
            return self.drops.count(DropReason::ShortInitial);
        }
        if header.dcid.len() < MIN_CLIENT_DCID {
            return self.drops.count(DropReason::ShortConnectionId);
        }
        if self.admission.knows(&header.dcid) {
            return self.on_more_of_attempt(Arriving { now, four_tuple, ecn }, header, bytes);
        }
        if !server.versions.contains(&header.version) {
            return self.answer_version(now, four_tuple, bytes);
        }
        if self.half_open() >= limits::HALF_OPEN_MAX {
            return self.drops.count(DropReason::HalfOpenLimit);
        }
        let token = bytes.get(header.token.clone()).unwrap_or_default();
        let proof = match self.tokens.check(now, header.version, four_tuple, &header.dcid, token) {
            Verdict::Proved(proof) => Some(proof),
            Verdict::Nothing => None,
            Verdict::Invalid => {
                self.drops.count(DropReason::InvalidToken);
                return self.refuse(now, four_tuple, header, bytes, (ErrorCode::INVALID_TOKEN, "the token of the Retry is not good"));
            }
        };
        if let Some(refusal) = self.no_room_for(&server, four_tuple) {
            return self.refuse(now, four_tuple, header, bytes, refusal);
        }
        if proof.is_none() && self.must_retry(server.retry) {
            return self.answer_with_retry(now, four_tuple, header);
        }
        let arriving = Arriving { now, four_tuple, ecn };
        if self.admission.is_asked() {
            let address = if proof.is_some() { AddressProof::Token } else { AddressProof::Missing };
            return self.begin_attempt(arriving, address, header, bytes);
        }
        self.open(&server, proof, arriving, header, bytes);
    }

    /// Makes the connection and hands it its first datagram; without an authentic packet in it nothing stays.
    pub(super) fn open(&mut self, server: &Arc<ServerConfig>, proof: Option<Proof>, arriving: Arriving, header: &ProtectedHeader, bytes: &mut [u8]) {
        let Arriving { now, four_tuple, ecn } = arriving;
        let local = self.new_cid();
        let original = proof.and_then(|proof| proof.original_dcid);
        let cids = HandshakeCids {
            original_dcid: original.unwrap_or(header.dcid),
            retry: original.map(|_| header.dcid),
            local,
            remote: None,
            preferred: server.transport.preferred_address.is_any().then(|| self.new_cid()),
        };
        let window = self.pool.reserve_window(server.transport.connection_window);
        let encoded = server_parameters(server, &cids, &self.reset_key, header.version, window);
        let Ok(tls) = Session::server(&server.tls, &encoded, header.version) else {
            self.pool.release_window(window);
            return self.drops.count(DropReason::Refused);
        };
        let handle = self.slots.reserve();
        let birth = Birth {
            handle,
            side: Side::Server(Arc::clone(server)),
            version: header.version,
            tls,
            cids,
            four_tuple,
            address: if proof.is_some() { AddressProof::Token } else { AddressProof::Missing },
            random: self.child_random(),
            shape: self.shape,
            reset_key: self.reset_key,
            now,
            window,
            polarities: Arc::clone(&self.polarities),
        };
        let mut connection = Box::new(Connection::new(birth));
        let route = Route { handle, path: PathId::ZERO, sequence: 0 };
        connection.adopt_local_cid(local);
        if let Some(preferred) = cids.preferred {
            connection.adopt_local_cid(preferred);
        }
        self.begin_log(now, &mut connection);
        connection.handle_datagram(Arrival { now, four_tuple, ecn, size: bytes.len(), route }, bytes, &mut self.pool);
        if !connection.has_received() {
            self.drops.count(DropReason::Undecryptable);
            self.pool.release_window(connection.reserved_window);
            return;
        }
        for mut early in self.early.take(&header.dcid) {
            let arrival = Arrival { now, four_tuple: early.four_tuple, ecn: early.ecn, size: early.bytes.len(), route };
            connection.handle_datagram(arrival, &mut early.bytes, &mut self.pool);
        }
        connection.retry_waiting(now, &mut self.pool);
        if let Some(proof) = &proof {
            self.tokens.spend(now, proof);
        }
        self.counters.accepted = self.counters.accepted.saturating_add(1);
        self.counters.half_open = self.counters.half_open.saturating_add(1);
        self.routes.insert(header.dcid, Route { sequence: ORIGINAL, ..route });
        self.routes.insert(local, route);
        if let Some(preferred) = cids.preferred {
            self.routes.insert(preferred, Route { sequence: 1, ..route });
        }
        self.slots.insert(connection);
        self.crowd.enter(handle.index, four_tuple.remote.ip());
        self.turns.mark(handle.index);
        self.run_actions(handle);
    }

    /// Why no further connection is accepted from there, counted; `None`: there is room (attacks L28).
    pub(super) fn no_room_for(&mut self, server: &ServerConfig, four_tuple: FourTuple) -> Option<Refusal> {
        let reason = if self.crowd.len() >= server.max_connections {
            "no room for another connection"
        } else if self.crowd.of(four_tuple.remote.ip()) >= server.max_per_address {
            "too many connections from this address"
        } else {
            return None;
        };
        self.drops.count(DropReason::ConnectionLimit);
        Some((ErrorCode::CONNECTION_REFUSED, reason))
    }
}

/// When and where the datagram came.
#[derive(Clone, Copy)]
pub(super) struct Arriving {
    pub(super) now: Timestamp,
    pub(super) four_tuple: FourTuple,
    pub(super) ecn: Ecn,
}
