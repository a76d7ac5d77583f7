//! TLS options of servers.

use std::{fmt, sync::Arc};

use qbase::{Role, limits::TICKETS_GIVEN, param::TransportParameters};
use rustls::{ServerConfig, server::NoServerSessionStorage, version::TLS13};

use super::{
    Digest, Judge, KeyLog, Provider, Randomness, Roots, Verify, check_alpn,
    identities::Identities,
    keylog::Lines,
    provider::Sources,
    verify::{Demand, Trust},
};
use crate::{error::TlsError, identity::Identity, keys::Cipher, pin::Pin, tickets::ServerSessions};

/// `max_early_data_size` of a QUIC server that takes early data (RFC 9001 §4.6.1).
const EARLY_DATA: u32 = u32::MAX;

/// What a server wants of TLS.
#[derive(Clone, Default)]
pub struct ServerTlsOptions {
    /// Shown when no name of `sni` fits. Required unless `sni` has names.
    pub identity: Option<Identity>,
    /// Identities by the name a client asks for: `example.net`, `*.example.net` (one label more) or `*` (any name, and
    /// none). The closest name counts.
    pub sni: Vec<(String, Identity)>,
    /// Protocols in order of preference, at least one.
    pub alpn: Vec<Vec<u8>>,
    /// Whether clients are asked for a certificate.
    pub client_auth: ClientAuth,
    /// Trust anchors for client certificates.
    pub roots: Roots,
    /// Whether chains of clients are verified.
    pub verify: Verify,
    /// Keys or certificates that a client must have one of; with no `roots` a pin alone is trust.
    pub pins: Vec<Pin>,
    /// Ciphers in order of preference; empty means all.
    pub ciphers: Vec<Cipher>,
    /// Takes the secrets; `None` keeps them.
    pub keylog: Option<KeyLog>,
    /// Whether tickets are given and redeemed.
    pub resumption: Resumption,
    /// What given tickets stand for. `None`: a store of its own, so that options made anew (another certificate, say)
    /// know no ticket given before.
    pub sessions: Option<ServerSessions>,
    /// Take early data of clients that redeem a ticket; each ticket once (RFC 9001 §9.2).
    pub early_data: bool,
    /// Randomness and time.
    pub provider: Provider,
}

impl fmt::Debug for ServerTlsOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTlsOptions").field("client_auth", &self.client_auth).finish_non_exhaustive()
    }
}

/// Whether a server shortens later handshakes with tickets (RFC 9001 §4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Resumption {
    /// Two tickets follow each handshake.
    #[default]
    On,
    /// Every handshake is a full one.
    Off,
}

/// Whether a server asks clients for a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ClientAuth {
    /// Not asked for.
    #[default]
    None,
    /// Asked for, verified if it comes.
    Request,
    /// No connection without one.
    Require,
}

/// Checked options of servers, shared by their sessions. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
    sources: Sources,
    sessions: Option<ServerSessions>,
    /// Digest of what decides which clients are let in: a ticket got under other rules is worth nothing.
    policy: [u8; 32],
    judge: Option<Judge>,
}

impl ServerTls {
    /// Checks the options.
    ///
    /// # Errors
    /// No identity, no usable ALPN, nobody to trust though clients are asked, or a trust anchor that cannot be read.
    pub fn new(options: &ServerTlsOptions) -> Result<Self, TlsError> {
        check_alpn(&options.alpn)?;
        let sources = Sources::new(&options.provider, "server", &options.ciphers);
        let trust = Trust { roots: &options.roots, verify: options.verify, pins: &options.pins };
        let builder = ServerConfig::builder_with_details(Arc::clone(&sources.crypto), Arc::clone(&sources.time))
            .with_protocol_versions(&[&TLS13])?;
        let builder = match options.client_auth {
            ClientAuth::None => builder.with_no_client_auth(),
            ClientAuth::Request => {
                builder.with_client_cert_verifier(trust.of_clients(&sources.crypto, Demand::Optional)?)
            }
            ClientAuth::Require => {
                builder.with_client_cert_verifier(trust.of_clients(&sources.crypto, Demand::Mandatory)?)
            }
        };
        let identities = Identities::new(options.identity.as_ref(), &options.sni)?;
        let mut config = builder.with_cert_resolver(Arc::new(identities));
        config.alpn_protocols.clone_from(&options.alpn);
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        let sessions = match options.resumption {
            Resumption::On => Some(options.sessions.clone().unwrap_or_default()),
            Resumption::Off => None,
        };
        if sessions.is_some() {
            config.send_tls13_tickets = TICKETS_GIVEN;
            config.max_early_data_size = if options.early_data { EARLY_DATA } else { 0 };
        }
        let mut policy = Digest::new("server");
        policy.add(&[options.client_auth as u8]);
        if options.client_auth != ClientAuth::None {
            trust.digest(&mut policy);
        }
        if let Some(keylog) = &options.keylog {
            config.key_log = Arc::new(Lines(Arc::clone(keylog)));
        }
        let judge = match options.client_auth {
            ClientAuth::None => None,
            ClientAuth::Request | ClientAuth::Require => trust.judge_of_clients(&sources)?,
        };
        Ok(Self { config: Arc::new(config), sources, sessions, policy: policy.finish(), judge })
    }

    /// Early data of clients with a ticket is taken.
    #[must_use]
    pub fn takes_early_data(&self) -> bool {
        self.config.max_early_data_size > 0
    }

    /// The configuration of a session of this QUIC version that sends these transport parameters (encoded).
    pub(crate) fn config(&self, version: u32, parameters: &[u8]) -> Arc<ServerConfig> {
        let Some(sessions) = &self.sessions else { return Arc::clone(&self.config) };
        let parameters = TransportParameters::read(parameters, Role::Server).unwrap_or_default();
        let mut config = ServerConfig::clone(&self.config);
        config.session_storage = sessions.slot(self.policy, version, &parameters);
        Arc::new(config)
    }

    /// The application judges the peer: the handshake has to wait for its word.
    #[must_use]
    pub const fn asks(&self) -> bool {
        self.judge.is_some()
    }

    /// The default check's opinion, where the application judges.
    pub(crate) fn judge(&self) -> Option<Judge> {
        self.judge.clone()
    }

    pub(crate) fn randomness(&self) -> Randomness {
        self.sources.randomness()
    }
}
