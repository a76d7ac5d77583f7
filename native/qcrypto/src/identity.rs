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
        let key =
            any_supported_type(&key).map_err(|error| key_error(IdentityFault::UnsupportedKey(error.to_string())))?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::certificate;

    fn error(certificate: &str, key: &str) -> IdentityError {
        Identity::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap_err()
    }

    #[test]
    fn chain_and_key_are_read_from_pem_and_der() {
        let own = certificate(1, &["a.example"]);
        let chain = format!("some words\n{}{}", own.cert_pem, certificate(2, &["b.example"]).cert_pem);
        let identity = Identity::from_pem(chain.as_bytes(), own.key_pem.as_bytes()).unwrap();
        assert_eq!(identity.chain().count(), 2);
        assert_eq!(identity.leaf(), own.cert_der);

        let key = PrivateKeyDer::from_pem_slice(own.key_pem.as_bytes()).unwrap();
        let identity = Identity::from_bytes(&own.cert_der, key.secret_der()).unwrap();
        assert_eq!(identity.leaf(), own.cert_der);
        assert!(Identity::from_bytes(own.cert_pem.as_bytes(), own.key_pem.as_bytes()).is_ok());
    }

    #[test]
    fn key_of_another_certificate_is_a_mismatch() {
        let (a, b) = (certificate(1, &["a.example"]), certificate(2, &["a.example"]));
        let error = error(&a.cert_pem, &b.key_pem);
        assert_eq!(error, key_error(IdentityFault::Mismatch));
        assert_eq!(error.to_string(), "key 0: does not belong to the certificate");
    }

    #[test]
    fn swapped_certificate_and_key_are_told_by_their_labels() {
        let own = certificate(1, &["a.example"]);
        assert_eq!(
            error(&own.key_pem, &own.cert_pem),
            certificate_error(
                0,
                IdentityFault::Label { expected: "CERTIFICATE", found: vec!["PRIVATE KEY".to_owned()] }
            )
        );
        assert_eq!(
            error(&own.cert_pem, &own.cert_pem),
            key_error(IdentityFault::Label { expected: "PRIVATE KEY", found: vec!["CERTIFICATE".to_owned()] })
        );
    }

    #[test]
    fn encrypted_key_is_told_by_its_label() {
        let own = certificate(1, &["a.example"]);
        let locked = own.key_pem.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
        let found = vec!["ENCRYPTED PRIVATE KEY".to_owned()];
        assert_eq!(error(&own.cert_pem, &locked), key_error(IdentityFault::Label { expected: "PRIVATE KEY", found }));
    }

    #[test]
    fn bad_certificate_is_told_by_its_index() {
        let own = certificate(1, &["a.example"]);
        let bad_der = format!("{}-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n", own.cert_pem);
        let error = Identity::from_pem(bad_der.as_bytes(), own.key_pem.as_bytes()).unwrap_err();
        assert_eq!((error.part, error.index), (IdentityPart::Certificate, 1));
        assert!(matches!(error.fault, IdentityFault::Der(_)));

        let bad_base64 = format!("{}-----BEGIN CERTIFICATE-----\n*\n-----END CERTIFICATE-----\n", own.cert_pem);
        let error = Identity::from_pem(bad_base64.as_bytes(), own.key_pem.as_bytes()).unwrap_err();
        assert_eq!((error.part, error.index), (IdentityPart::Certificate, 1));
        assert!(matches!(error.fault, IdentityFault::Pem(_)));
    }

    #[test]
    fn cut_pem_and_bad_keys_are_told() {
        let own = certificate(1, &["a.example"]);
        let cut = own.cert_pem.replace("-----END CERTIFICATE-----", "");
        assert_eq!(
            error(&cut, &own.key_pem),
            certificate_error(0, IdentityFault::Pem("a section has no end".to_owned()))
        );
        let nonsense = "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n";
        assert!(matches!(error(&own.cert_pem, nonsense).fault, IdentityFault::UnsupportedKey(_)));
        assert_eq!(error("", &own.key_pem), certificate_error(0, IdentityFault::Empty));
        assert_eq!(error(&own.cert_pem, ""), key_error(IdentityFault::Empty));
        assert!(matches!(
            Identity::from_der(vec![own.cert_der], &[0x30, 0x00]).unwrap_err().fault,
            IdentityFault::Der(_)
        ));
        assert_eq!(Identity::from_der(vec![], &[]).unwrap_err(), key_error(IdentityFault::Empty));
    }
}
