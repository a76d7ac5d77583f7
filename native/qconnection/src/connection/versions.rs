//! The version of a connection: what both ends say about it, and the change of version on the way
//! (RFC 9368 §2.3, §4; RFC 9369 §4; attacks B17, B18).
//!
//! ```text
//! client  first flight in its version ── first authentic Initial of another one we offered ──▶ that version
//!                                     └─ CRYPTO in the first version ────────────────────────▶ that stays
//! server  ClientHello complete ── one of the client's versions is preferred here ──▶ that version
//! ```
//!
//! Called by the handshake and the input. Versions 1 and 2 are compatible both ways; nothing else is spoken.

use super::{Connection, attempt::Dial, input::Stop, params::server_parameters};
use crate::config::ServerConfig;
use qbase::{
    EncryptionLevel, ErrorCode, Role, TransportError, limits,
    param::TransportParameters, version,
};
use qcrypto::{Keys, Session, hello::{self, Hello}};
use qevent::DropReason;
use std::sync::Arc;

/// Whether a Version Negotiation packet was acted upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reaction {
    None,
    Reacted,
}

/// Whether the version can still change without another round trip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Possible,
    Over,
}

/// Versions of one connection.
pub(crate) struct Versions {
    /// Ours, the preferred one first.
    pub(super) ours: Vec<u32>,
    /// Version of the first flight; after Version Negotiation of the one that was answered.
    first: u32,
    pub(super) reaction: Reaction,
    change: Change,
    /// Initial keys of the version we may change to (client) or changed from (server).
    other: Option<Box<(u32, Keys)>>,
    /// Server: what it needs to answer in another version, and the ClientHello so far.
    hello: Option<Box<Held>>,
}

/// A ClientHello that TLS has not seen.
struct Held {
    server: Arc<ServerConfig>,
    bytes: Vec<u8>,
}

impl Versions {
    /// A client that offers its versions, beginning with `first`.
    pub(super) fn of_client(dial: &Dial, first: u32) -> Self {
        let ours: Vec<u32> = dial.config.versions.iter().copied().filter(|version| version::is_spoken(*version)).collect();
        let change = if ours.len() > 1 { Change::Possible } else { Change::Over };
        Self { ours, first, reaction: Reaction::None, change, other: None, hello: None }
    }

    /// A server whose client began with `first`. Only one that prefers another version looks into the ClientHello.
    pub(super) fn of_server(server: &Arc<ServerConfig>, first: u32) -> Self {
        let ours = server.versions.clone();
        let hello = (ours.first() != Some(&first)).then(|| Box::new(Held { server: Arc::clone(server), bytes: Vec::new() }));
        Self { ours, first, reaction: Reaction::None, change: Change::Over, other: None, hello }
    }

    /// Version Negotiation: everything starts with this version.
    pub(super) fn begin_again(&mut self, version: u32) {
        (self.first, self.reaction, self.other) = (version, Reaction::Reacted, None);
    }

    /// The connection id of the Initial keys changed.
    pub(super) fn forget_other(&mut self) {
        self.other = None;
    }

    /// The Initial keys are gone.
    pub(super) fn settle(&mut self) {
        (self.change, self.other, self.hello) = (Change::Over, None, None);
    }

    /// The other version's Initial keys.
    pub(super) fn other_keys(&self, version: u32) -> Option<&Keys> {
        self.other.as_ref().filter(|other| other.0 == version).map(|other| &other.1)
    }

    /// Version of the first flight; 0-RTT packets have no other (RFC 9369 §4.1).
    pub(super) const fn first(&self) -> u32 {
        self.first
    }
}

impl Connection {
    /// QUIC version of the connection; final when the handshake is complete.
    #[must_use]
    pub const fn version(&self) -> u32 {
        self.version
    }

    /// The server asked for a Retry: the client's address is proved since before the handshake.
    #[must_use]
    pub const fn used_retry(&self) -> bool {
        self.cids.retry.is_some()
    }

    /// May this packet be opened, by its version? A client derives the keys of a version it offered when the first
    /// packet of it comes.
    pub(super) fn check_version(&mut self, level: EncryptionLevel, version: u32) -> Result<(), Stop> {
        if version == self.version {
            return Ok(());
        }
        let wrong = Err(Stop::Drop(DropReason::UnknownVersion));
        if level != EncryptionLevel::Initial {
            return wrong;
        }
        if self.versions.other_keys(version).is_some() {
            return Ok(());
        }
        if self.versions.change == Change::Possible && self.initial.is_some() && self.versions.ours.contains(&version) {
            let keys = Keys::initial(version, &self.cids.initial_dcid(), self.role);
            self.versions.other = Some(Box::new((version, keys)));
            return Ok(());
        }
        wrong
    }

    /// An authentic Initial of another version: to a client it names the version of the connection (RFC 9369 §4.1).
    pub(super) fn on_other_version(&mut self, version: u32) {
        if version == self.version || self.versions.change == Change::Over {
            return;
        }
        let Some(other) = self.versions.other.take() else { return };
        if let Some(initial) = &mut self.initial {
            initial.keys = other.1;
        }
        self.version = version;
        self.versions.settle();
        self.tls.change_version(version);
    }

    /// CRYPTO of the server: the version of its packet is that of the connection.
    pub(super) fn on_server_crypto(&mut self) {
        if self.role.is_client() && self.versions.change == Change::Possible {
            self.versions.settle();
            self.tls.keep_version();
        }
    }

    /// Handshake bytes of a client on their way to TLS. They are held until the ClientHello is whole if its parameters
    /// may name a version that is preferred here; then the session is made for that version.
    pub(super) fn choose_version(&mut self, level: EncryptionLevel, bytes: Vec<u8>) -> Result<Vec<u8>, TransportError> {
        if level != EncryptionLevel::Initial {
            return Ok(bytes);
        }
        let Some(mut held) = self.versions.hello.take() else { return Ok(bytes) };
        held.bytes.extend_from_slice(&bytes);
        match hello::parse(&held.bytes) {
            Hello::Incomplete if held.bytes.len() as u64 <= limits::CRYPTO_BUFFER_INITIAL => {
                self.versions.hello = Some(held);
                return Ok(Vec::new());
            }
            // Too long for us: TLS decides, in the client's version.
            Hello::Incomplete | Hello::Other => {}
            Hello::Parameters(parameters) => {
                // What is wrong with them is said when TLS has them.
                let information = TransportParameters::read(parameters, Role::Client).ok().and_then(|read| read.version_information);
                let available = information.filter(|information| information.chosen == self.version).map(|information| information.available);
                if let Some(version) = version::choose(&self.versions.ours, available.unwrap_or_default().into_iter())
                    && version != self.version
                {
                    self.answer_in(&held.server, version)?;
                }
            }
        }
        Ok(held.bytes)
    }

    /// Goes over to a version of the client's list before TLS has seen anything.
    fn answer_in(&mut self, server: &Arc<ServerConfig>, version: u32) -> Result<(), TransportError> {
        let encoded = server_parameters(server, &self.cids, &self.reset_key, version, self.reserved_window);
        self.tls = Session::server(&server.tls, &encoded, version).map_err(|_| TransportError::internal("no TLS session for the version"))?;
        if let Some(initial) = &mut self.initial {
            let keys = Keys::initial(version, &self.cids.initial_dcid(), self.role);
            let before = std::mem::replace(&mut initial.keys, keys);
            // The client uses them until it has heard of the change.
            self.versions.other = Some(Box::new((self.version, before)));
        }
        self.version = version;
        Ok(())
    }

    /// The peer's version information fits what happened (RFC 9368 §4).
    pub(super) fn check_versions(&self, parameters: &TransportParameters) -> Result<(), TransportError> {
        let error = |reason| Err(TransportError::new(ErrorCode::VERSION_NEGOTIATION_ERROR, reason));
        let reacted = self.versions.reaction == Reaction::Reacted;
        let Some(information) = &parameters.version_information else {
            // For version 1 a missing list counts as one of version 1 alone (RFC 9368 §8).
            let would_choose = version::choose(&self.versions.ours, [qbase::VERSION_1].into_iter());
            if reacted && (self.version != qbase::VERSION_1 || would_choose != Some(self.version)) {
                return error("no version information after Version Negotiation");
            }
            return Ok(());
        };
        if !self.role.is_client() {
            return if information.chosen == self.versions.first { Ok(()) } else { error("the client's choice is not its packets' version") };
        }
        if information.chosen != self.version {
            return error("the server's choice is not its packets' version");
        }
        if reacted {
            let deployed = information.available.iter().copied();
            let would_choose = version::choose(&self.versions.ours, deployed.clone().chain([self.version]));
            if deployed.len() == 0 || would_choose != Some(self.versions.first) {
                return error("Version Negotiation led to another version than the server's list would have");
            }
        }
        Ok(())
    }
}
