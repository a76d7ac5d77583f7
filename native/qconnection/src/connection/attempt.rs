//! What a server may ask of a client before it answers: come again with a token, or in another version
//! (RFC 9000 §6.2, §17.2.5; RFC 9368 §2.1; multipath MP-92, MP-93; attacks A13, A14).
//!
//! Called by the input for Retry and Version Negotiation packets, neither of which is protected: whatever does not fit
//! changes nothing. Over with the first authentic packet.

use super::{Connection, HandshakeCids, candidates::StepKind, State, close::CloseCause, input::{Arrival, Stop}, versions::Reaction};
use crate::config::{ClientConfig, ServerConfig, TransportConfig};
use qbase::{
    ConnectionId, FourTuple, PathId, Role, Timestamp, VERSION_1, limits,
    packet::{ProtectedHeader, retry, version_negotiation}, param, version,
};
use qcrypto::{Keys, Session, TlsError};
use qevent::DropReason;
use rand_core::RngCore;
use std::sync::Arc;

/// Which end a connection is, and the settings of that end.
pub(crate) enum Side {
    /// It was dialled.
    Client(Box<Dial>),
    /// It was accepted.
    Server(Arc<ServerConfig>),
}

impl Side {
    pub(crate) const fn role(&self) -> Role {
        match self {
            Self::Client(_) => Role::Client,
            Self::Server(_) => Role::Server,
        }
    }

    pub(crate) fn transport(&self) -> &Arc<TransportConfig> {
        match self {
            Self::Client(dial) => &dial.config.transport,
            Self::Server(server) => &server.transport,
        }
    }
}

/// What is known of the peer's address when the connection begins (RFC 9000 §8.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AddressProof {
    /// We chose it.
    Chosen,
    /// A token vouches for it.
    Token,
    /// Nothing.
    Missing,
}

/// What a client needs to begin anew.
pub(crate) struct Dial {
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) server_name: String,
    /// With the name it tells which tickets fit.
    pub(crate) port: u16,
    /// Receive window that the endpoint's pool granted, bytes (mux R20).
    pub(crate) window: u64,
}

impl Dial {
    /// A TLS session for a first flight of `version`; for a reserved one, which nobody will answer with packets, that of version 1.
    pub(crate) fn session(&self, cids: &HandshakeCids, version: u32) -> Result<Session, TlsError> {
        let config = &self.config;
        let mut parameters = config.transport.parameters_within(self.window);
        parameters.initial_source_connection_id = Some(cids.local);
        parameters.version_information =
            Some(param::VersionInformation { chosen: version, available: compatible(&config.versions, version) });
        let mut encoded = Vec::new();
        // A reserved parameter of the form 31 * N + 27 keeps peers tolerant (RFC 9000 §18.1).
        let grease = param::id::reserved(u64::from(cids.original_dcid.as_bytes().first().copied().unwrap_or_default()));
        parameters.write(&mut encoded, Role::Client, Some(grease));
        if !version::is_spoken(version) {
            // The answer is a new first flight: no key or ticket of this session is ever used.
            return Session::client(&config.tls, &self.server_name, &encoded, VERSION_1);
        }
        let key = config.tls.session_key(&self.server_name, self.port);
        if config.versions.len() > 1 {
            return Session::resume_compatible(&config.tls, &key, &self.server_name, &encoded, version);
        }
        Session::resume(&config.tls, &key, &self.server_name, &encoded, version)
    }
}

/// The versions a first flight of `version` can be turned into, `version` included.
fn compatible(offered: &[u32], version: u32) -> Vec<u32> {
    offered.iter().copied().filter(|offered| version::is_spoken(*offered) || *offered == version).collect()
}

impl HandshakeCids {
    /// The id that Initial keys are made from: DCID of the client's first Initial, or of the first after a Retry.
    pub(crate) fn initial_dcid(&self) -> ConnectionId {
        self.retry.unwrap_or(self.original_dcid)
    }
}

impl Connection {
    /// Nothing of the server was taken yet.
    pub(crate) fn is_unanswered(&self) -> bool {
        self.role.is_client() && self.state == State::Handshaking && !self.has_received() && self.cids.retry.is_none()
    }

    /// The address is one that was dialled (multipath MP-93).
    fn was_dialled(&self, from: FourTuple) -> bool {
        self.candidates.as_ref().is_some_and(|candidates| candidates.was_dialled(from.remote))
    }

    /// A Retry: the same first flight again, with the token and to the server's id.
    pub(super) fn on_retry(&mut self, arrival: &Arrival, header: &ProtectedHeader, packet: &[u8]) -> Result<(), Stop> {
        let refused = Err(Stop::Drop(DropReason::InvalidRetry));
        if !self.is_unanswered() || header.version != self.version || !self.was_dialled(arrival.four_tuple) {
            return refused;
        }
        let Ok(retry) = retry::parse(packet) else { return refused };
        let original = self.cids.original_dcid;
        if retry.dcid != self.cids.local || retry.scid == original || retry.token.len() > limits::TOKEN_LEN {
            return refused;
        }
        if !qcrypto::is_retry_authentic(self.version, &original, packet) {
            return refused;
        }
        self.lock_to(arrival.now, arrival.four_tuple, "its Retry came first");
        self.tell_current_step(arrival.now, StepKind::Retry, "the server wants the address proved");
        self.cids.retry = Some(retry.scid);
        self.token = retry.token.to_vec();
        self.versions.forget_other();
        if let Some(initial) = &mut self.initial {
            // Numbers go on, keys do not (RFC 9000 §17.2.5.3).
            initial.keys = Keys::initial(self.version, &retry.scid, Role::Client);
            initial.space.sent.drain_all(|_, _| {});
            initial.space.loss_time = None;
            initial.space.probes_owed = 0;
            initial.crypto.send_again();
        }
        self.repeat_early();
        self.restart_recovery(arrival.now);
        Ok(())
    }

    /// A Version Negotiation packet: the first of our versions that the server speaks, in a new first flight.
    pub(super) fn on_version_negotiation(&mut self, arrival: &Arrival, packet: &[u8]) -> Result<(), Stop> {
        let refused = Err(Stop::Drop(DropReason::UnexpectedVersionNegotiation));
        let Ok(offer) = version_negotiation::parse(packet) else { return Err(Stop::Drop(DropReason::MalformedVersions)) };
        if !self.is_unanswered() || self.versions.reaction == Reaction::Reacted || !self.was_dialled(arrival.four_tuple) {
            return refused;
        }
        // Both ids must be echoed, and the version we began with is no news (RFC 9368 §4).
        let echoed = offer.dcid == self.cids.local.as_bytes() && offer.scid == self.cids.original_dcid.as_bytes();
        if !echoed || offer.versions().any(|version| version == self.version) {
            return refused;
        }
        match version::choose(&self.versions.ours, offer.versions()) {
            Some(version) => self.begin_again(arrival, version),
            None => {
                self.close_silently(arrival.now, CloseCause::Version);
                Ok(())
            }
        }
    }

    /// A new first flight: other version, id, keys and TLS session; what was sent before is forgotten.
    fn begin_again(&mut self, arrival: &Arrival, version: u32) -> Result<(), Stop> {
        self.lock_to(arrival.now, arrival.four_tuple, "its Version Negotiation came first");
        self.tell_current_step(arrival.now, StepKind::VersionNegotiation, "the server does not speak the version");
        let mut id = [0; limits::LOCAL_CID_LEN];
        self.random.fill_bytes(&mut id);
        self.cids.original_dcid = ConnectionId::new(&id).unwrap_or_default();
        let session = self.dial.as_ref().map(|dial| dial.session(&self.cids, version));
        let Some(Ok(session)) = session else {
            self.close_silently(arrival.now, CloseCause::Version);
            return Ok(());
        };
        self.tls = session;
        self.version = version;
        self.versions.begin_again(version);
        // A token belongs to the version it came with (RFC 9369 §5).
        self.token = Vec::new();
        if let Some(network) = self.network_mut(PathId::ZERO) {
            network.pending.clear();
        }
        self.withdraw_early();
        self.start_handshake();
        self.restart_recovery(arrival.now);
        Ok(())
    }

    /// The first flight goes out again at once; the time the server took is a first idea of the round trip
    /// (RFC 9002 §6.3).
    fn restart_recovery(&mut self, now: Timestamp) {
        let started = self.counters.started_at();
        if let Some(network) = self.network_mut(PathId::ZERO) {
            if network.pto_count == 0 {
                network.rtt.suggest_initial(now.saturating_since(started));
            }
            network.pto_count = 0;
            network.pto_fired_at = now;
            network.last_ack_eliciting_at = Some(now);
        }
    }
}
