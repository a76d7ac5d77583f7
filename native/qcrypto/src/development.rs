//! Certificates for development and simulation: self-signed, trusted by their pin or as their own trust anchor.
//!
//! Called by the `cert` command, by tests and by simulated worlds. Never used for connections unless somebody hands the
//! result over as an identity. Drawing a P-256 or Ed25519 key is the one place of the house that asks the system for
//! randomness itself; [`seeded`] does not.

use std::{net::IpAddr, time::Duration};

use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, PKCS_ECDSA_P256_SHA256,
    PKCS_ED25519, SanType, date_time_ymd, string::Ia5String,
};
use ring::digest;

use crate::pin::{Pin, fingerprint};

/// Seconds of a day.
const DAY: u64 = 86_400;
/// Certificates are valid from a little before their making, for peers whose clocks are behind.
const BACKDATED: Duration = Duration::from_secs(3_600);
/// 9999-12-31 23:59:59, the last time that X.509 can write, since 1970.
const LAST_TIME: Duration = Duration::from_secs(253_402_300_799);

/// The kind of key of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum KeyKind {
    /// ECDSA on NIST P-256: understood everywhere.
    #[default]
    P256,
    /// Ed25519: signatures of one length that repeat.
    Ed25519,
}

/// What a certificate shall be.
#[derive(Clone, Debug)]
pub struct DevelopmentOptions {
    /// DNS names and IP addresses it is for; the first is its subject.
    pub names: Vec<String>,
    /// The kind of its key.
    pub kind: KeyKind,
    /// Days it is valid from `unix_time` on.
    pub days: u32,
    /// The time of its making, since 1970.
    pub unix_time: Duration,
}

/// A certificate with its key, and what to tell those who shall trust it.
#[derive(Clone, Debug)]
pub struct DevelopmentCertificate {
    /// The certificate, PEM.
    pub cert_pem: String,
    /// The private key, PEM, PKCS #8.
    pub key_pem: String,
    /// The certificate, DER.
    pub cert_der: Vec<u8>,
    /// SHA-256 of the certificate as openssl prints it, `AA:BB:…`.
    pub fingerprint: String,
    /// The pin of its public key, `sha256//BASE64`.
    pub pin: String,
}

/// Why no certificate could be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DevelopmentError {
    /// No name at all.
    #[error("a certificate needs a name")]
    NoName,
    /// A name is neither a DNS name nor an IP address.
    #[error("{0:?} is neither a DNS name nor an IP address")]
    Name(String),
    /// It would be valid beyond the year 9999.
    #[error("a certificate ends in the year 9999 at the latest")]
    Time,
    /// Key or certificate could not be made.
    #[error("certificate cannot be made: {0}")]
    Library(String),
}

impl From<rcgen::Error> for DevelopmentError {
    fn from(error: rcgen::Error) -> Self {
        Self::Library(error.to_string())
    }
}

/// Makes a self-signed certificate with a new key.
///
/// # Errors
/// There is no name, or one cannot stand in a certificate.
pub fn self_signed(options: &DevelopmentOptions) -> Result<DevelopmentCertificate, DevelopmentError> {
    let key = match options.kind {
        KeyKind::P256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?,
        KeyKind::Ed25519 => KeyPair::generate_for(&PKCS_ED25519)?,
    };
    sign(options, &key)
}

/// Makes a self-signed Ed25519 certificate whose every byte follows from `seed` and the arguments.
///
/// # Errors
/// There is no name, or one cannot stand in a certificate.
pub fn seeded(
    seed: &[u8; 32],
    names: &[String],
    days: u32,
    unix_time: Duration,
) -> Result<DevelopmentCertificate, DevelopmentError> {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(b"identity");
    context.update(seed);
    for name in names {
        context.update(name.as_bytes());
        context.update(&[0]);
    }
    let der = [ED25519_PKCS8.as_slice(), context.finish().as_ref()].concat();
    let key = KeyPair::try_from(der)?;
    sign(&DevelopmentOptions { names: names.to_vec(), kind: KeyKind::Ed25519, days, unix_time }, &key)
}

/// A PKCS #8 Ed25519 key up to its 32 secret bytes (RFC 8410 §7).
const ED25519_PKCS8: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

#[expect(clippy::arithmetic_side_effects, reason = "both times lie before LAST_TIME, which the calendar has")]
fn sign(options: &DevelopmentOptions, key: &KeyPair) -> Result<DevelopmentCertificate, DevelopmentError> {
    let subject = options.names.first().ok_or(DevelopmentError::NoName)?;
    let mut params = CertificateParams::default();
    params.subject_alt_names = options.names.iter().map(|name| alternative_name(name)).collect::<Result<_, _>>()?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, subject.as_str());
    let end = options.unix_time.saturating_add(Duration::from_secs(u64::from(options.days).saturating_mul(DAY)));
    if end > LAST_TIME {
        return Err(DevelopmentError::Time);
    }
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + options.unix_time.saturating_sub(BACKDATED);
    params.not_after = epoch + end;
    params.is_ca = IsCa::ExplicitNoCa;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = params.self_signed(key)?;
    let der = certificate.der().to_vec();
    let pin = Pin::of_public_key(&der).ok_or_else(|| DevelopmentError::Library("unreadable result".to_owned()))?;
    Ok(DevelopmentCertificate {
        cert_pem: certificate.pem(),
        key_pem: key.serialize_pem(),
        fingerprint: fingerprint(&der),
        pin: pin.to_string(),
        cert_der: der,
    })
}

fn alternative_name(name: &str) -> Result<SanType, DevelopmentError> {
    let bad = || DevelopmentError::Name(name.to_owned());
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    // A wildcard stands for one label; the rest must be a name of its own.
    let host = name.strip_prefix("*.").unwrap_or(name);
    rustls::pki_types::DnsName::try_from(host).map_err(|_| bad())?;
    Ia5String::try_from(name).map(SanType::DnsName).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Identity, testing::UNIX_TIME};

    fn options(kind: KeyKind) -> DevelopmentOptions {
        let names = ["localhost", "*.example.net", "127.0.0.1", "::1"];
        DevelopmentOptions { names: names.map(str::to_owned).to_vec(), kind, days: 14, unix_time: UNIX_TIME }
    }

    fn contains(bytes: &[u8], part: &[u8]) -> bool {
        bytes.windows(part.len()).any(|window| window == part)
    }

    #[test]
    fn both_kinds_make_an_identity_with_names_and_addresses() {
        for kind in [KeyKind::P256, KeyKind::Ed25519] {
            let made = self_signed(&options(kind)).unwrap();
            let identity = Identity::from_pem(made.cert_pem.as_bytes(), made.key_pem.as_bytes()).unwrap();
            assert_eq!(identity.leaf(), made.cert_der);
            // GeneralName: [2] dNSName, [7] iPAddress of 4 or 16 bytes (RFC 5280 §4.2.1.6).
            for name in [&b"\x82\x09localhost"[..], b"\x82\x0d*.example.net", b"\x87\x04\x7f\x00\x00\x01"] {
                assert!(contains(&made.cert_der, name));
            }
            assert!(contains(&made.cert_der, &[&[0x87, 16][..], &[0; 15], &[1]].concat()));
        }
    }

    #[test]
    fn each_certificate_has_a_key_of_its_own() {
        for kind in [KeyKind::P256, KeyKind::Ed25519] {
            assert_ne!(self_signed(&options(kind)).unwrap().pin, self_signed(&options(kind)).unwrap().pin);
        }
    }

    #[test]
    fn fingerprint_is_written_as_openssl_does() {
        let made = self_signed(&options(KeyKind::P256)).unwrap();
        let parts: Vec<&str> = made.fingerprint.split(':').collect();
        assert_eq!(parts.len(), 32);
        assert!(parts.iter().all(|part| part.len() == 2 && *part == part.to_uppercase()));
        assert!(made.pin.starts_with("sha256//"));
    }

    #[test]
    fn seeded_certificate_repeats() {
        let make = |seed: u8, name: &str| seeded(&[seed; 32], &[name.to_owned()], 14, UNIX_TIME).unwrap();
        assert_eq!(make(1, "a").cert_der, make(1, "a").cert_der);
        assert_eq!(make(1, "a").key_pem, make(1, "a").key_pem);
        assert_ne!(make(1, "a").pin, make(2, "a").pin);
        assert_ne!(make(1, "a").pin, make(1, "b").pin);
    }

    #[test]
    fn certificate_may_not_outlive_the_calendar() {
        let options = DevelopmentOptions { days: u32::MAX, ..options(KeyKind::P256) };
        assert_eq!(self_signed(&options).unwrap_err(), DevelopmentError::Time);
    }

    #[test]
    fn names_that_cannot_stand_in_a_certificate_are_refused() {
        for name in ["", "two words", "ü.example", "*.", "1.2.3.4.5:6"] {
            let options = DevelopmentOptions { names: vec![name.to_owned()], ..options(KeyKind::P256) };
            assert_eq!(self_signed(&options).unwrap_err(), DevelopmentError::Name(name.to_owned()));
        }
        let options = DevelopmentOptions { names: vec![], ..options(KeyKind::P256) };
        assert_eq!(self_signed(&options).unwrap_err(), DevelopmentError::NoName);
    }
}
