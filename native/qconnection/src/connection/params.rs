//! The peer's transport parameters: checks that need the handshake's connection ids, and what they switch on
//! (RFC 9000 §7.3, §7.4; multipath MP-5…MP-12).
//!
//! Called by the handshake as soon as TLS has them. Field checks stand in `qbase::param`.

use super::{Connection, HandshakeCids};
use crate::{config::{Multipath, ServerConfig}, path::PathMode};
use qbase::{ErrorCode, PathId, Role, TransportError, param::{PreferredAddress, TransportParameters, VersionInformation, id}};

/// The encoded parameters of a server that answers in `version` and may promise `window` bytes.
pub(crate) fn server_parameters(server: &ServerConfig, cids: &HandshakeCids, reset_key: &[u8; 32], version: u32, window: u64) -> Vec<u8> {
    let mut parameters = server.transport.parameters_within(window);
    parameters.original_destination_connection_id = Some(cids.original_dcid);
    parameters.initial_source_connection_id = Some(cids.local);
    parameters.retry_source_connection_id = cids.retry;
    parameters.stateless_reset_token = Some(qcrypto::reset_token(reset_key, &cids.local));
    parameters.preferred_address = cids.preferred.map(|cid| PreferredAddress {
        ipv4: server.transport.preferred_address.ipv4,
        ipv6: server.transport.preferred_address.ipv6,
        cid,
        reset_token: qcrypto::reset_token(reset_key, &cid),
    });
    parameters.version_information = Some(VersionInformation { chosen: version, available: server.versions.clone() });
    let mut encoded = Vec::new();
    // A parameter that means nothing, for peers that must ignore it (RFC 9000 §18.1).
    let grease = id::reserved(u64::from(cids.local.as_bytes().first().copied().unwrap_or_default()));
    parameters.write(&mut encoded, Role::Server, Some(grease));
    encoded
}

impl Connection {
    /// Reads the peer's parameters once they are there.
    pub(super) fn read_peer_parameters(&mut self) -> Result<(), TransportError> {
        if self.counters.has_peer_parameters {
            return Ok(());
        }
        let Some(bytes) = self.tls.peer_parameters() else { return Ok(()) };
        let parameters = TransportParameters::read(bytes, self.role.peer())?;
        self.check_cids(&parameters)?;
        self.check_versions(&parameters)?;
        if parameters.max_path_id().is_some() && (self.cids.local.is_empty() || self.cids.remote.is_none_or(|cid| cid.is_empty())) {
            return Err(TransportError::violation("multipath with an empty connection id"));
        }
        self.counters.has_peer_parameters = true;
        self.timers.on_peer_idle_timeout(parameters.max_idle_timeout);
        if !self.uses_remembered_limits() {
            self.streams.on_peer_parameters(&parameters);
        }
        if let Some(entry) = self.paths.get_mut(PathId::ZERO)
            && let Some(token) = parameters.stateless_reset_token
        {
            entry.remote_cids.set_handshake_token(token);
            self.announce_reset_tokens();
        }
        self.take_preferred_id(&parameters)?;
        self.peer_parameters = parameters;
        self.on_peer_datagram_limit();
        Ok(())
    }

    /// The id of `preferred_address` is number 1 of path 0 (RFC 9000 §18.2; multipath MP-13, MP-44).
    fn take_preferred_id(&mut self, parameters: &TransportParameters) -> Result<(), TransportError> {
        let Some(preferred) = parameters.preferred_address else { return Ok(()) };
        if self.cids.remote.is_none_or(|cid| cid.is_empty()) {
            return Err(TransportError::new(ErrorCode::TRANSPORT_PARAMETER_ERROR, "preferred_address with empty connection ids"));
        }
        let Some(entry) = self.paths.get_mut(PathId::ZERO) else { return Ok(()) };
        entry.remote_cids.on_new(1, 0, preferred.cid, preferred.reset_token)?;
        self.announce_reset_tokens();
        Ok(())
    }

    /// The handshake's connection ids must stand in the parameters (RFC 9000 §7.3; attacks B7).
    fn check_cids(&self, parameters: &TransportParameters) -> Result<(), TransportError> {
        let mismatch = |reason| Err(TransportError::new(ErrorCode::TRANSPORT_PARAMETER_ERROR, reason));
        if parameters.initial_source_connection_id != self.cids.remote {
            return mismatch("initial_source_connection_id does not match");
        }
        if self.role.is_client() {
            if parameters.original_destination_connection_id != Some(self.cids.original_dcid) {
                return mismatch("original_destination_connection_id does not match");
            }
            if parameters.retry_source_connection_id != self.cids.retry {
                return mismatch("retry_source_connection_id does not match");
            }
        }
        Ok(())
    }

    /// Several paths can be used if both ends offered it in the same way (multipath MP-5, MP-98); it counts from the handshake's completion (MP-14).
    pub(super) fn negotiate_multipath(&mut self) -> Result<(), TransportError> {
        let (ours, theirs) = (self.config.parameters(), &self.peer_parameters);
        let ietf = ours.initial_max_path_id.zip(theirs.initial_max_path_id);
        let shared = ours.shared_space_max_path_id.zip(theirs.shared_space_max_path_id);
        if ietf.is_some() {
            self.path_mode = PathMode::Ietf;
        } else if shared.is_some() {
            self.begin_one_space();
        } else if self.config.multipath == Multipath::Require {
            return Err(TransportError::new(ErrorCode::NO_ERROR, "the peer does not offer multipath"));
        }
        self.paths.local_maximum = None;
        if let Some((ours, theirs)) = ietf.or(shared) {
            self.paths.local_maximum = Some(ours);
            self.paths.on_peer_maximum(theirs);
        }
        Ok(())
    }

    /// The highest path id for which both ends may issue connection ids: 0 without multipath.
    pub(super) fn maximum_path(&self) -> PathId {
        if self.path_mode.has_paths() { self.paths.usable_maximum().unwrap_or_default() } else { PathId::ZERO }
    }

    /// Decodes an ACK Delay field of the peer (burst B-103; RFC 9000 §19.3).
    pub(super) fn decode_ack_delay(&self, raw: u64) -> std::time::Duration {
        let micros = raw.saturating_mul(1_u64 << self.peer_parameters.ack_delay_exponent.min(20));
        std::time::Duration::from_micros(micros.min(1 << 40))
    }
}
