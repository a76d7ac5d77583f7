//! TLS options of clients.

use std::{fmt, sync::Arc};

use rustls::{
    ClientConfig,
    client::{ResolvesClientCert, Resumption, Tls12Resumption},
    sign::{CertifiedKey, SingleCertAndKey},
    version::TLS13,
};

use super::{
    Captured, Digest, Judge, KeyLog, Provider, Randomness, Roots, Verify, check_alpn, keylog::Lines, provider::Sources, verify::Trust,
};
use crate::{
    error::TlsError,
    identity::Identity,
    keys::Cipher,
    pin::Pin,
    tickets::{ClientSessions, ClientSlot, Offer, TrustPair},
};

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
    /// Where tickets are kept, shared by all connections of an endpoint; `None`: every handshake is a full one.
    pub sessions: Option<ClientSessions>,
    /// Use a ticket's early keys, where the server allows them. Early data can be replayed by others (RFC 9001 §9.2):
    /// only for what may happen twice.
    pub early_data: bool,
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
    sessions: Option<ClientSessions>,
    offer: Offer,
    judge: Option<Judge>,
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
        let make = || Ok((trust.of_servers(&sources.crypto)?, resolver(options.identity.as_ref())));
        let (verifier, own): TrustPair = match &options.sessions {
            Some(sessions) => {
                let mut digest = Digest::new("client");
                options.identity.iter().flat_map(Identity::chain).for_each(|der| digest.add(der));
                trust.digest(&mut digest);
                sessions.trust(digest.finish(), make)?
            }
            None => make()?,
        };
        let mut config = ClientConfig::builder_with_details(Arc::clone(&sources.crypto), Arc::clone(&sources.time))
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_cert_resolver(own);
        config.alpn_protocols.clone_from(&options.alpn);
        config.resumption = Resumption::disabled();
        config.enable_early_data = options.early_data;
        if let Some(keylog) = &options.keylog {
            config.key_log = Arc::new(Lines(Arc::clone(keylog)));
        }
        Ok(Self { config: Arc::new(config), sessions: options.sessions.clone(), offer: Offer::Newest, judge: trust.judge_of_servers(&sources)?, sources })
    }

    /// The same options for a connection that offers no ticket; those it gets are kept.
    #[must_use]
    pub fn without_offer(self) -> Self {
        Self { offer: Offer::Nothing, ..self }
    }

    /// The key under which tickets of a server are kept: `name:port|alpn,alpn`.
    #[must_use]
    pub fn session_key(&self, name: &str, port: u16) -> String {
        let protocols: Vec<_> =
            self.config.alpn_protocols.iter().map(|protocol| protocol.escape_ascii().to_string()).collect();
        format!("{name}:{port}|{}", protocols.join(","))
    }

    /// The configuration of a session whose tickets are kept under `key`; without one, or without a store, it makes a
    /// full handshake.
    pub(crate) fn setup(&self, key: Option<&str>, version: u32, capture: Capture) -> ClientSetup {
        let tickets = match (&self.sessions, key) {
            (Some(sessions), Some(key)) => Some(sessions.slot(key, version, self.offer)),
            _ => None,
        };
        if tickets.is_none() && capture == Capture::No {
            return ClientSetup { config: Arc::clone(&self.config), tickets: None, captured: None };
        }
        let mut config = ClientConfig::clone(&self.config);
        if let Some(slot) = &tickets {
            let store: Arc<ClientSlot> = Arc::clone(slot);
            config.resumption = Resumption::store(store).tls12_resumption(Tls12Resumption::Disabled);
        }
        let captured = (capture == Capture::Yes).then(|| Arc::new(Captured::new(Arc::clone(&config.key_log))));
        if let Some(captured) = &captured {
            let sink: Arc<Captured> = Arc::clone(captured);
            config.key_log = sink;
        }
        ClientSetup { config: Arc::new(config), tickets, captured }
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

/// Whether a session's QUIC version may change, so that its secrets must be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Capture {
    Yes,
    No,
}

/// What one client session is made of.
pub(crate) struct ClientSetup {
    pub(crate) config: Arc<ClientConfig>,
    /// Where its tickets go.
    pub(crate) tickets: Option<Arc<ClientSlot>>,
    /// Where its secrets will be.
    pub(crate) captured: Option<Arc<Captured>>,
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
