//! Pins: trust in one public key or one certificate, by its SHA-256.
//!
//! Two written forms: `sha256//BASE64` of the SubjectPublicKeyInfo (curl's) and 64 hex digits, colons allowed, of the
//! whole certificate (openssl's fingerprint). Called by the options and by certificate verification.

use std::{fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use ring::digest;

/// Bytes of a SHA-256.
const HASH_LEN: usize = 32;
/// Begins a pin of a public key.
const KEY_PREFIX: &str = "sha256//";

/// What a peer's leaf certificate must have.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pin {
    /// SHA-256 of its SubjectPublicKeyInfo.
    PublicKey([u8; HASH_LEN]),
    /// SHA-256 of the certificate.
    Certificate([u8; HASH_LEN]),
}

/// A pin is in neither written form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a pin is sha256//BASE64 of a public key or 64 hex digits of a certificate, not {0:?}")]
pub struct PinError(pub String);

impl Pin {
    /// The pin of the public key in a certificate (DER); `None` if it cannot be read.
    #[must_use]
    pub fn of_public_key(certificate: &[u8]) -> Option<Self> {
        let der = rustls::pki_types::CertificateDer::from(certificate);
        let leaf = webpki::EndEntityCert::try_from(&der).ok()?;
        Some(Self::PublicKey(sha256(&leaf.subject_public_key_info())))
    }

    /// The pin of a whole certificate (DER).
    #[must_use]
    pub fn of_certificate(certificate: &[u8]) -> Self {
        Self::Certificate(sha256(certificate))
    }

    /// The leaf certificate (DER) has what this pin asks for.
    #[must_use]
    pub fn fits(&self, certificate: &[u8]) -> bool {
        match self {
            Self::PublicKey(_) => Self::of_public_key(certificate) == Some(*self),
            Self::Certificate(_) => Self::of_certificate(certificate) == *self,
        }
    }
}

impl FromStr for Pin {
    type Err = PinError;

    fn from_str(text: &str) -> Result<Self, PinError> {
        let bad = || PinError(text.to_owned());
        if let Some(encoded) = text.strip_prefix(KEY_PREFIX) {
            let hash = BASE64.decode(encoded).map_err(|_| bad())?;
            return hash.try_into().map(Self::PublicKey).map_err(|_| bad());
        }
        hex_hash(text).map(Self::Certificate).ok_or_else(bad)
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PublicKey(hash) => write!(f, "{KEY_PREFIX}{}", BASE64.encode(hash)),
            Self::Certificate(hash) => hash.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
        }
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The fingerprint of a certificate (DER) as openssl prints it: `AA:BB:…`, 32 bytes.
#[must_use]
pub fn fingerprint(certificate: &[u8]) -> String {
    sha256(certificate).iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}

/// 64 hex digits, with or without colons between bytes.
fn hex_hash(text: &str) -> Option<[u8; HASH_LEN]> {
    let digits: Vec<u8> = text
        .chars()
        .filter(|c| *c != ':')
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect::<Option<_>>()?;
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    pairs.iter().map(|[high, low]| high << 4 | low).collect::<Vec<_>>().try_into().ok()
}

fn sha256(bytes: &[u8]) -> [u8; HASH_LEN] {
    let mut hash = [0; HASH_LEN];
    hash.iter_mut().zip(digest::digest(&digest::SHA256, bytes).as_ref()).for_each(|(to, from)| *to = *from);
    hash
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::certificate;

    #[test]
    fn pins_are_read_in_both_forms() {
        let own = certificate(1, &["a.example"]);
        let key: Pin = own.pin.parse().unwrap();
        let whole: Pin = own.fingerprint.parse().unwrap();
        assert_eq!(Some(key), Pin::of_public_key(&own.cert_der));
        assert_eq!(whole, Pin::of_certificate(&own.cert_der));
        assert_eq!(own.fingerprint.replace(':', "").to_lowercase().parse(), Ok(whole));
        for pin in [key, whole] {
            assert_eq!(pin.to_string().parse(), Ok(pin));
            assert!(pin.fits(&own.cert_der));
            assert!(!pin.fits(&certificate(2, &["a.example"]).cert_der));
            assert!(!pin.fits(b"no certificate"));
        }
    }

    /// The pin names the key, not the certificate around it.
    #[test]
    fn pin_of_a_key_survives_a_new_certificate() {
        let options = |days| crate::development::seeded(&[1; 32], &["a.example".to_owned()], days, UNIX_TIME).unwrap();
        let (old, new) = (options(3), options(9));
        assert_eq!(old.pin, new.pin);
        assert_ne!(old.fingerprint, new.fingerprint);
    }

    const UNIX_TIME: std::time::Duration = crate::testing::UNIX_TIME;

    #[test]
    fn other_forms_are_refused() {
        let long = "ab".repeat(33);
        let short = "ab".repeat(31);
        for text in ["", "sha256//", "sha256//AAAA", "sha256//*", "sha1//AAAA", &short, &long, &"zz".repeat(32)] {
            assert_eq!(text.parse::<Pin>(), Err(PinError(text.to_owned())));
        }
    }
}
