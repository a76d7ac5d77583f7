//! Whom to trust: trust anchors, pins, or nobody's word (design: verification is synchronous).
//!
//! | anchors | pins | the leaf must |
//! |---|---|---|
//! | yes | no | chain to an anchor, be in time, and (of a server) carry the name |
//! | yes | yes | all that, and fit a pin |
//! | no | yes | fit a pin: name and time do not matter |
//! | no | no | impossible, unless verification is off |
//!
//! With verification off chains are not looked at, pins still are. Where the application judges (`Verify::Ask`), the same
//! holds: it is asked when TLS is done, and told what this table says (`judge`). The handshake signature always is checked.

use std::sync::Arc;

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, PeerIncompatible, RootCertStore,
    SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::{
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};

use super::{
    Digest,
    judge::{Judge, Law},
    provider::Sources,
};
use crate::{
    error::{PinMismatch, TlsError},
    identity::{check_certificate, pem_certificates},
    pin::Pin,
};

/// Trust anchors.
#[derive(Clone, Debug, Default)]
pub enum Roots {
    /// None: pins decide.
    #[default]
    None,
    /// Certificates in DER.
    Der(Vec<Vec<u8>>),
    /// CERTIFICATE sections in PEM; other sections are skipped.
    Pem(String),
}

impl Roots {
    fn store(&self) -> Result<RootCertStore, TlsError> {
        let certificates = match self {
            Self::None => Vec::new(),
            Self::Der(certificates) => certificates.clone(),
            Self::Pem(text) => {
                pem_certificates(text.as_bytes()).map_err(|(index, fault)| TlsError::Root { index, fault })?
            }
        };
        let mut store = RootCertStore::empty();
        for (index, der) in certificates.into_iter().enumerate() {
            let der = CertificateDer::from(der);
            check_certificate(&der).map_err(|fault| TlsError::Root { index, fault })?;
            store.add(der)?;
        }
        Ok(store)
    }
}

/// Whether the peer's certificate chain is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Verify {
    /// By trust anchors and pins.
    #[default]
    Default,
    /// Only by pins, if there are any: whoever answers is believed.
    None,
    /// By pins, if there are any, and by the application once TLS is done: whoever drives the session holds it back until
    /// then. The number tells one judge from another: what a ticket of one stands for is worth nothing to the next.
    Ask(u64),
}

impl Verify {
    /// Chains are looked at while TLS runs.
    const fn is_default(self) -> bool {
        matches!(self, Self::Default)
    }
}

/// The trust a set of options asks for.
#[derive(Clone, Debug)]
pub(super) struct Trust<'a> {
    pub(super) roots: &'a Roots,
    pub(super) verify: Verify,
    pub(super) pins: &'a [Pin],
}

impl Trust<'_> {
    /// A digest of the settings: equal settings, equal digest.
    pub(super) fn digest(&self, into: &mut Digest) {
        match self.roots {
            Roots::None => into.add(&[0]),
            Roots::Der(certificates) => {
                into.add(&[1]);
                certificates.iter().for_each(|der| into.add(der));
            }
            Roots::Pem(text) => {
                into.add(&[2]);
                into.add(text.as_bytes());
            }
        }
        match self.verify {
            Verify::Default => into.add(&[0]),
            Verify::None => into.add(&[1]),
            Verify::Ask(judge) => into.add(&judge.to_be_bytes()),
        }
        for pin in self.pins {
            match pin {
                Pin::PublicKey(hash) => into.add(&[&[0], hash.as_slice()].concat()),
                Pin::Certificate(hash) => into.add(&[&[1], hash.as_slice()].concat()),
            }
        }
    }

    /// Verifies servers, for clients.
    pub(super) fn of_servers(&self, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
        let chain = self.anchors()?.map(|store| server_chain(store, provider)).transpose()?;
        Ok(Arc::new(PeerVerifier::new(chain, self.pins, provider)))
    }

    /// Verifies clients, for servers.
    pub(super) fn of_clients(
        &self,
        provider: &Arc<CryptoProvider>,
        demand: Demand,
    ) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
        let chain = self.anchors()?.map(|store| client_chain(store, provider)).transpose()?;
        Ok(Arc::new(ClientVerifier { peer: PeerVerifier::new(chain, self.pins, provider), demand }))
    }

    /// What the table says of servers, for an application that judges itself; `None`: it does not.
    pub(super) fn judge_of_servers(&self, sources: &Sources) -> Result<Option<Judge>, TlsError> {
        self.judge(sources, |store| server_chain(store, &sources.crypto).map(Law::Servers))
    }

    /// The same of clients.
    pub(super) fn judge_of_clients(&self, sources: &Sources) -> Result<Option<Judge>, TlsError> {
        self.judge(sources, |store| client_chain(store, &sources.crypto).map(Law::Clients))
    }

    fn judge(&self, sources: &Sources, law: impl FnOnce(RootCertStore) -> Result<Law, TlsError>) -> Result<Option<Judge>, TlsError> {
        if !matches!(self.verify, Verify::Ask(_)) {
            return Ok(None);
        }
        let store = self.roots.store()?;
        let law = match (store.is_empty(), self.pins.is_empty()) {
            (true, true) => Law::Nobody,
            (true, false) => Law::Pins,
            (false, _) => law(store)?,
        };
        Ok(Some(Judge::new(law, Arc::clone(&sources.time))))
    }

    /// The anchors that chains must lead to; `None` if chains are not looked at.
    fn anchors(&self) -> Result<Option<RootCertStore>, TlsError> {
        if !self.verify.is_default() {
            return Ok(None);
        }
        let store = self.roots.store()?;
        match (store.is_empty(), self.pins.is_empty()) {
            (true, true) => Err(TlsError::NoTrust),
            (true, false) => Ok(None),
            (false, _) => Ok(Some(store)),
        }
    }
}

fn server_chain(store: RootCertStore, provider: &Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>, TlsError> {
    let built = WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::clone(provider)).build();
    Ok(built.map_err(|error| Error::General(error.to_string()))?)
}

fn client_chain(store: RootCertStore, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let built = WebPkiClientVerifier::builder_with_provider(Arc::new(store), Arc::clone(provider)).build();
    Ok(built.map_err(|error| Error::General(error.to_string()))?)
}

/// Whether a client must show a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Demand {
    Optional,
    Mandatory,
}

/// Chain, pins and signature of one kind of peer.
#[derive(Debug)]
struct PeerVerifier<C> {
    chain: Option<C>,
    pins: Vec<Pin>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl<C> PeerVerifier<C> {
    fn new(chain: Option<C>, pins: &[Pin], provider: &CryptoProvider) -> Self {
        Self { chain, pins: pins.to_vec(), algorithms: provider.signature_verification_algorithms }
    }

    fn check_pins(&self, leaf: &CertificateDer<'_>) -> Result<(), Error> {
        if self.pins.is_empty() || self.pins.iter().any(|pin| pin.fits(leaf)) {
            return Ok(());
        }
        Err(CertificateError::Other(OtherError(Arc::new(PinMismatch))).into())
    }

    fn check_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, leaf, signature, &self.algorithms)
    }
}

/// QUIC has no TLS 1.2 (RFC 9001 §4.2).
fn no_tls12() -> Result<HandshakeSignatureValid, Error> {
    Err(PeerIncompatible::Tls13RequiredForQuic.into())
}

impl ServerCertVerifier for PeerVerifier<Arc<WebPkiServerVerifier>> {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(chain) = &self.chain {
            chain.verify_server_cert(leaf, intermediates, name, ocsp, now)?;
        }
        self.check_pins(leaf)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, leaf, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// A verifier of clients and whether they must come with a certificate.
#[derive(Debug)]
struct ClientVerifier {
    peer: PeerVerifier<Arc<dyn ClientCertVerifier>>,
    demand: Demand,
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.demand == Demand::Mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.peer.chain.as_ref().map(|chain| chain.root_hint_subjects()).unwrap_or_default()
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if let Some(chain) = &self.peer.chain {
            chain.verify_client_cert(leaf, intermediates, now)?;
        }
        self.peer.check_pins(leaf)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.peer.check_signature(message, leaf, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.peer.algorithms.supported_schemes()
    }
}
