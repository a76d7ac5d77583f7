//! The first Initial of a client (RFC 9000 §5.2.2, §7.2, §14.1).
//!
//! Called for Initial packets with an unknown DCID. Keeps no state for a packet that does not decrypt (attacks A3, A5).

use super::{Endpoint, route::{ORIGINAL, Route}};
use crate::connection::{Arrival, Birth, Connection, HandshakeCids};
use qbase::{Ecn, FourTuple, PathId, Role, Timestamp, VERSION_1, limits, packet::ProtectedHeader};
use qcrypto::Session;
use qevent::DropReason;

/// Shortest DCID a client may choose for its first packet (RFC 9000 §7.2).
const MIN_CLIENT_DCID: usize = 8;

impl Endpoint {
    /// Makes a connection for a client's first Initial, if it is one.
    pub(super) fn accept(&mut self, now: Timestamp, four_tuple: FourTuple, ecn: Ecn, header: &ProtectedHeader, bytes: &mut [u8]) {
        let Some(server) = self.server.clone() else { return self.drops.count(DropReason::NotListening) };
        if bytes.len() < limits::MIN_INITIAL {
            return self.drops.count(DropReason::ShortInitial);
        }
        if header.dcid.len() < MIN_CLIENT_DCID {
            return self.drops.count(DropReason::ShortConnectionId);
        }
        if self.slots.len() >= server.max_connections || self.counters.half_open >= limits::HALF_OPEN_MAX {
            return self.drops.count(DropReason::ConnectionLimit);
        }
        let local = self.new_cid();
        let mut parameters = server.transport.parameters();
        parameters.original_destination_connection_id = Some(header.dcid);
        parameters.initial_source_connection_id = Some(local);
        parameters.stateless_reset_token = Some(qcrypto::reset_token(&self.config.reset_key, &local));
        let mut encoded = Vec::new();
        parameters.write(&mut encoded, Role::Server, None);
        let Ok(tls) = Session::server(&server.tls, &encoded, VERSION_1) else { return self.drops.count(DropReason::Refused) };
        let handle = self.slots.reserve();
        let birth = Birth {
            handle,
            role: Role::Server,
            config: server.transport.clone(),
            tls,
            cids: HandshakeCids { original_dcid: header.dcid, local, remote: None },
            four_tuple,
            random: self.child_random(),
            reset_key: self.config.reset_key,
            now,
        };
        let mut connection = Box::new(Connection::new(birth));
        let route = Route { handle, path: PathId::ZERO, sequence: 0 };
        connection.adopt_local_cid(local);
        connection.handle_datagram(Arrival { now, four_tuple, ecn, size: bytes.len(), route }, bytes, &mut self.pool);
        if !connection.has_received() {
            self.drops.count(DropReason::Undecryptable);
            return;
        }
        self.counters.accepted = self.counters.accepted.saturating_add(1);
        self.counters.half_open = self.counters.half_open.saturating_add(1);
        self.routes.insert(header.dcid, Route { sequence: ORIGINAL, ..route });
        self.routes.insert(local, route);
        self.slots.insert(connection);
        self.turns.mark(handle.index);
        self.run_actions(handle);
    }
}
