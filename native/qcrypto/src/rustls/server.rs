//! TLS options of servers.

use std::{fmt, sync::Arc};

use rustls::{
    ServerConfig,
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert},
    sign::CertifiedKey,
    version::TLS13,
};

use super::{
    KeyLog, Provider, Randomness, Roots, Verify, check_alpn,
    keylog::Lines,
    provider::Sources,
    verify::{Demand, Trust},
};
use crate::{error::TlsError, identity::Identity, keys::Cipher, pin::Pin};

/// What a server wants of TLS.
#[derive(Clone, Default)]
pub struct ServerTlsOptions {
    /// Shown whatever name the client asks for. Required.
    pub identity: Option<Identity>,
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
    /// Randomness and time.
    pub provider: Provider,
}

impl fmt::Debug for ServerTlsOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTlsOptions").field("client_auth", &self.client_auth).finish_non_exhaustive()
    }
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
        let identity = options.identity.as_ref().ok_or(TlsError::NoIdentity)?;
        let mut config = builder.with_cert_resolver(Arc::new(Identities { default: identity.certified() }));
        config.alpn_protocols.clone_from(&options.alpn);
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        if let Some(keylog) = &options.keylog {
            config.key_log = Arc::new(Lines(Arc::clone(keylog)));
        }
        Ok(Self { config: Arc::new(config), sources })
    }

    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    pub(crate) fn randomness(&self) -> Randomness {
        self.sources.randomness()
    }
}

/// Chooses the identity for a client: the place where names will matter.
#[derive(Debug)]
struct Identities {
    default: Arc<CertifiedKey>,
}

impl ResolvesServerCert for Identities {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.default))
    }
}
