//! What can go wrong with keys and TLS, as kinds that callers match on.
//!
//! Packet errors mean "drop", [`TlsError`] means "the options are bad" and comes before any packet; what closes a
//! connection is a [`qbase::TransportError`].

/// Why a packet could not be protected or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CryptoError {
    /// Fewer bytes than header, tag or sample need.
    #[error("packet too short")]
    TooShort,
    /// The AEAD refused to seal: payload too long or packet number out of range.
    #[error("packet cannot be sealed")]
    Seal,
    /// The packet is not authentic: forged, damaged, or sealed with other keys.
    #[error("packet is not authentic")]
    Open,
}

/// Why TLS options or a server name cannot be used. Told before any packet is sent.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TlsError {
    /// The own certificate chain or key.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// A trust anchor.
    #[error("trust anchor {index}: {fault}")]
    Root {
        /// Which of them, from 0.
        index: usize,
        /// What is wrong with it.
        fault: IdentityFault,
    },
    /// Neither trust anchors nor pins, and verification is on.
    #[error("nobody to trust: neither trust anchors nor pins")]
    NoTrust,
    /// No ALPN protocol, or one that is empty or longer than 255 bytes (RFC 9001 §8.1).
    #[error("ALPN needs protocols of 1 to 255 bytes")]
    Alpn,
    /// A server without a certificate.
    #[error("a server needs a certificate and its key")]
    NoIdentity,
    /// Neither a DNS name nor an IP address.
    #[error("{name:?} is neither a DNS name nor an IP address")]
    ServerName {
        /// What was given.
        name: String,
    },
    /// A QUIC version that has no TLS labels here.
    #[error("QUIC version 0x{version:x} is not supported")]
    Version {
        /// What was given.
        version: u32,
    },
    /// Any other refusal of the TLS library.
    #[error("TLS: {0}")]
    Library(rustls::Error),
}

impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> Self {
        Self::Library(error)
    }
}

/// Which certificate or key cannot be used, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{part} {index}: {fault}")]
pub struct IdentityError {
    /// The certificate chain or the key.
    pub part: IdentityPart,
    /// Which certificate of the chain, from 0; 0 for a key.
    pub index: usize,
    /// What is wrong with it.
    pub fault: IdentityFault,
}

/// The two halves of an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityPart {
    /// The certificate chain, option `cert`.
    Certificate,
    /// The private key, option `key`.
    Key,
}

impl std::fmt::Display for IdentityPart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Certificate => "cert",
            Self::Key => "key",
        })
    }
}

/// What is wrong with a certificate or a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityFault {
    /// No bytes at all.
    #[error("is empty")]
    Empty,
    /// PEM, but no section with a label that fits.
    #[error("no PEM section {expected:?}, only {found:?}")]
    Label {
        /// The label wanted.
        expected: &'static str,
        /// The labels there, in order.
        found: Vec<String>,
    },
    /// The PEM frame or its base64 is broken.
    #[error("bad PEM: {0}")]
    Pem(String),
    /// The bytes inside are not what their label says.
    #[error("bad DER: {0}")]
    Der(String),
    /// The key's kind or parameters are not supported.
    #[error("unsupported key: {0}")]
    UnsupportedKey(String),
    /// The key does not belong to the first certificate.
    #[error("does not belong to the certificate")]
    Mismatch,
}

/// Why a peer's certificate was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CertificateFault {
    /// Its time is over.
    Expired,
    /// Its time has not come.
    NotYetValid,
    /// No trust anchor vouches for it.
    UnknownIssuer,
    /// It is for other names.
    Name,
    /// No pin fits.
    Pin,
    /// Its issuer took it back.
    Revoked,
    /// It is for another use.
    Purpose,
    /// A signature is wrong or of an unsupported kind.
    Signature,
    /// It cannot be read.
    Encoding,
    /// There is none.
    Missing,
    /// Anything else.
    Other,
}

impl CertificateFault {
    /// The reason in the option table's words, for people and programs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::NotYetValid => "not yet valid",
            Self::UnknownIssuer => "unknown issuer",
            Self::Name => "name",
            Self::Pin => "pin",
            Self::Revoked => "revoked",
            Self::Purpose => "purpose",
            Self::Signature => "signature",
            Self::Encoding => "encoding",
            Self::Missing => "missing",
            Self::Other => "other",
        }
    }

    /// The fault behind an error of the TLS library; `None` if a certificate is not to blame.
    pub(crate) fn of(error: &rustls::Error) -> Option<Self> {
        use rustls::CertificateError as E;
        let fault = match error {
            rustls::Error::NoCertificatesPresented => return Some(Self::Missing),
            rustls::Error::InvalidCertificate(fault) => fault,
            _ => return None,
        };
        Some(match fault {
            E::BadEncoding | E::UnhandledCriticalExtension => Self::Encoding,
            E::Expired | E::ExpiredContext { .. } => Self::Expired,
            E::NotValidYet | E::NotValidYetContext { .. } => Self::NotYetValid,
            E::Revoked => Self::Revoked,
            E::UnknownIssuer => Self::UnknownIssuer,
            E::NotValidForName | E::NotValidForNameContext { .. } => Self::Name,
            E::InvalidPurpose | E::InvalidPurposeContext { .. } => Self::Purpose,
            E::BadSignature
            | E::UnsupportedSignatureAlgorithmContext { .. }
            | E::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => Self::Signature,
            E::Other(other) if other.0.is::<PinMismatch>() => Self::Pin,
            _ => Self::Other,
        })
    }
}

/// Marks a refusal by pin inside an error of the TLS library.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("no pin fits the certificate")]
pub(crate) struct PinMismatch;
