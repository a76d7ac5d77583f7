//! An own certificate chain and its key, checked before anything is sent: options `cert` and `key`.
//!
//! Decides whether PEM or DER bytes make an identity, and says which certificate or key is at fault and how. Called by
//! the options of clients and servers and by `development`. Never verifies the chain: that is the peer's business.

use std::sync::Arc;

use rustls::{
    crypto::ring::sign::any_supported_type,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject, SectionKind},
    },
    sign::CertifiedKey,
};

use crate::error::{IdentityError, IdentityFault, IdentityPart};

/// A certificate chain, leaf first, and the private key of its leaf. Cheap to clone.
#[derive(Clone)]
pub struct Identity {
    certified: Arc<CertifiedKey>,
}

impl Identity {
    /// From PEM or DER, whichever the bytes are. A DER `certificate` is a chain of one.
    ///
    /// # Errors
    /// Either cannot be read, or they do not belong together.
    pub fn from_bytes(certificate: &[u8], key: &[u8]) -> Result<Self, IdentityError> {
        let chain = match Form::of(certificate) {
            Form::Pem => pem_chain(certificate)?,
            Form::Der => vec![certificate.to_vec()],
        };
        match Form::of(key) {
            Form::Pem => Self::new(chain, pem_key(key)?),
            Form::Der => Self::from_der(chain, key),
        }
    }

    /// From PEM: `certificate` holds one or more CERTIFICATE sections, leaf first; `key` one PRIVATE KEY (PKCS #8),
    /// RSA PRIVATE KEY (PKCS #1) or EC PRIVATE KEY (SEC 1) section. Other sections are skipped.
    ///
    /// # Errors
    /// Either cannot be read, or they do not belong together.
    pub fn from_pem(certificate: &[u8], key: &[u8]) -> Result<Self, IdentityError> {
        Self::new(pem_chain(certificate)?, pem_key(key)?)
    }

    /// From DER: certificates, leaf first, and a key in PKCS #8, PKCS #1 or SEC 1 form.
    ///
    /// # Errors
    /// Either cannot be read, or they do not belong together.
    pub fn from_der(chain: Vec<Vec<u8>>, key: &[u8]) -> Result<Self, IdentityError> {
        if key.is_empty() {
            return Err(key_error(IdentityFault::Empty));
        }
        let key = PrivateKeyDer::try_from(key.to_vec()).map_err(|error| key_error(IdentityFault::Der(error.into())))?;
        Self::new(chain, key)
    }

    fn new(chain: Vec<Vec<u8>>, key: PrivateKeyDer<'static>) -> Result<Self, IdentityError> {
        if chain.is_empty() {
            return Err(certificate_error(0, IdentityFault::Empty));
        }
        let chain: Vec<CertificateDer<'static>> = chain.into_iter().map(CertificateDer::from).collect();
        for (index, certificate) in chain.iter().enumerate() {
            check_certificate(certificate).map_err(|fault| certificate_error(index, fault))?;
        }
        let key = any_supported_type(&key)
            .map_err(|error| key_error(IdentityFault::UnsupportedKey(error.to_string())))?;
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            Ok(()) => Ok(Self { certified: Arc::new(certified) }),
            Err(_) => Err(key_error(IdentityFault::Mismatch)),
        }
    }

    /// The certificates in DER, leaf first.
    pub fn chain(&self) -> impl Iterator<Item = &[u8]> {
        self.certified.cert.iter().map(|der| der.as_ref())
    }

    /// The leaf certificate in DER.
    #[must_use]
    pub fn leaf(&self) -> &[u8] {
        self.certified.cert.first().map(|der| der.as_ref()).unwrap_or_default()
    }

    pub(crate) fn certified(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.certified)
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({} certificates)", self.certified.cert.len())
    }
}

/// Can this certificate (DER) be read?
pub(crate) fn check_certificate(der: &CertificateDer<'_>) -> Result<(), IdentityFault> {
    if der.is_empty() {
        return Err(IdentityFault::Empty);
    }
    webpki::EndEntityCert::try_from(der).map(|_| ()).map_err(|error| IdentityFault::Der(error.to_string()))
}

/// All certificates in PEM bytes.
pub(crate) fn pem_certificates(bytes: &[u8]) -> Result<Vec<Vec<u8>>, (usize, IdentityFault)> {
    let mut chain = Vec::new();
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(bytes) {
        match section {
            Ok((SectionKind::Certificate, der)) => chain.push(der),
            Ok(_) => {}
            Err(error) => return Err((chain.len(), pem_fault(&error))),
        }
    }
    if chain.is_empty() { Err((0, no_section(bytes, "CERTIFICATE"))) } else { Ok(chain) }
}

fn pem_chain(bytes: &[u8]) -> Result<Vec<Vec<u8>>, IdentityError> {
    pem_certificates(bytes).map_err(|(index, fault)| certificate_error(index, fault))
}

fn pem_key(bytes: &[u8]) -> Result<PrivateKeyDer<'static>, IdentityError> {
    PrivateKeyDer::from_pem_slice(bytes).map_err(|error| {
        key_error(match error {
            pem::Error::NoItemsFound => no_section(bytes, "PRIVATE KEY"),
            error => pem_fault(&error),
        })
    })
}

/// How bytes are written.
enum Form {
    Pem,
    Der,
}

impl Form {
    /// DER begins with the tag of a SEQUENCE; anything else is taken for PEM, whose errors say more.
    fn of(bytes: &[u8]) -> Self {
        if bytes.first() == Some(&0x30) { Self::Der } else { Self::Pem }
    }
}

fn pem_fault(error: &pem::Error) -> IdentityFault {
    IdentityFault::Pem(match error {
        pem::Error::MissingSectionEnd { .. } => "a section has no end".into(),
        pem::Error::IllegalSectionStart { .. } => "a section begins badly".into(),
        pem::Error::Base64Decode(detail) => format!("base64: {detail}"),
        error => error.to_string(),
    })
}

fn no_section(bytes: &[u8], expected: &'static str) -> IdentityFault {
    if bytes.is_empty() {
        return IdentityFault::Empty;
    }
    let found = String::from_utf8_lossy(bytes)
        .lines()
        .filter_map(|line| line.trim().strip_prefix("-----BEGIN ")?.strip_suffix("-----").map(str::to_owned))
        .collect();
    IdentityFault::Label { expected, found }
}

fn certificate_error(index: usize, fault: IdentityFault) -> IdentityError {
    IdentityError { part: IdentityPart::Certificate, index, fault }
}

fn key_error(fault: IdentityFault) -> IdentityError {
    IdentityError { part: IdentityPart::Key, index: 0, fault }
}
