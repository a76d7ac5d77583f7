//! TLS options of clients.

use std::{fmt, sync::Arc};

use rustls::{
    ClientConfig,
    client::{ResolvesClientCert, Resumption},
    sign::{CertifiedKey, SingleCertAndKey},
    version::TLS13,
};

use super::{Captured, KeyLog, Provider, Randomness, Roots, Verify, check_alpn, keylog::Lines, provider::Sources, verify::Trust};
use crate::{error::TlsError, identity::Identity, keys::Cipher, pin::Pin};

/// What a client wants of TLS.
#[derive(Clone, Default)]
pub struct ClientTlsOptions {
    /// Trust anchors.
    pub roots: Roots,
    /// Whether the server's chain is verified.
    pub verify: Verify,
    /// Keys or certificates that the server must have one of; with no `roots` a pin alone is trust.
    pub pins: Vec<Pin>,
    /// Protocols in order of preference, at least one.
    pub alpn: Vec<Vec<u8>>,
    /// Shown when the server asks for a certificate.
    pub identity: Option<Identity>,
    /// Ciphers in order of preference; empty means all.
    pub ciphers: Vec<Cipher>,
    /// Takes the secrets; `None` keeps them.
    pub keylog: Option<KeyLog>,
    /// Randomness and time.
    pub provider: Provider,
}

impl fmt::Debug for ClientTlsOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTlsOptions")
            .field("verify", &self.verify)
            .field("pins", &self.pins)
            .finish_non_exhaustive()
    }
}

/// Checked options of clients, shared by their sessions. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
    sources: Sources,
}

impl ClientTls {
    /// Checks the options.
    ///
    /// # Errors
    /// No usable ALPN, nobody to trust, or a trust anchor that cannot be read.
    pub fn new(options: &ClientTlsOptions) -> Result<Self, TlsError> {
        check_alpn(&options.alpn)?;
        let sources = Sources::new(&options.provider, "client", &options.ciphers);
        let trust = Trust { roots: &options.roots, verify: options.verify, pins: &options.pins };
        let mut config = ClientConfig::builder_with_details(Arc::clone(&sources.crypto), Arc::clone(&sources.time))
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(trust.of_servers(&sources.crypto)?)
            .with_client_cert_resolver(resolver(options.identity.as_ref()));
        config.alpn_protocols.clone_from(&options.alpn);
        config.resumption = Resumption::disabled();
        if let Some(keylog) = &options.keylog {
            config.key_log = Arc::new(Lines(Arc::clone(keylog)));
        }
        Ok(Self { config: Arc::new(config), sources })
    }

    pub(crate) fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config)
    }

    /// The same options for one session whose QUIC version may change, and where its secrets will be.
    pub(crate) fn capturing(&self) -> (Arc<ClientConfig>, Arc<Captured>) {
        let mut config = ClientConfig::clone(&self.config);
        let captured = Arc::new(Captured::new(Arc::clone(&config.key_log)));
        let sink: Arc<Captured> = Arc::clone(&captured);
        config.key_log = sink;
        (Arc::new(config), captured)
    }

    pub(crate) fn randomness(&self) -> Randomness {
        self.sources.randomness()
    }
}

fn resolver(identity: Option<&Identity>) -> Arc<dyn ResolvesClientCert> {
    match identity {
        Some(identity) => Arc::new(SingleCertAndKey::from(CertifiedKey::clone(&identity.certified()))),
        None => Arc::new(NoIdentity),
    }
}

/// A client without a certificate.
#[derive(Debug)]
struct NoIdentity;

impl ResolvesClientCert for NoIdentity {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}
