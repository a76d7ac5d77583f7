//! `createDevCertificate`: self-signed, for development.

use std::time::{Duration, SystemTime};

use qcrypto::development::{DevelopmentError, DevelopmentOptions, KeyKind, self_signed};
use serde::{Deserialize, Serialize};

use crate::error::NativeError;

/// `NativeDevCertificateOptions`.
#[derive(Deserialize)]
struct Options {
    names: Vec<String>,
    kind: Kind,
    days: u32,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    P256,
    Ed25519,
}

/// `NativeDevCertificate`.
#[derive(Serialize)]
struct Certificate {
    cert: String,
    key: String,
    fingerprint: String,
    pin: String,
}

/// Makes a certificate: JSON in, JSON out.
///
/// # Errors
/// A name that cannot stand in a certificate, or a time beyond the calendar.
pub fn create(json: &str) -> Result<String, NativeError> {
    let Options { names, kind, days } = serde_json::from_str(json)?;
    let kind = match kind {
        Kind::P256 => KeyKind::P256,
        Kind::Ed25519 => KeyKind::Ed25519,
    };
    let made = self_signed(&DevelopmentOptions { names, kind, days, unix_time: unix_time() }).map_err(refusal)?;
    let certificate =
        Certificate { cert: made.cert_pem, key: made.key_pem, fingerprint: made.fingerprint, pin: made.pin };
    Ok(serde_json::to_string(&certificate)?)
}

fn refusal(error: DevelopmentError) -> NativeError {
    match error {
        DevelopmentError::NoName | DevelopmentError::Name(_) => NativeError::option("names", error),
        DevelopmentError::Time => NativeError::option("days", error),
        DevelopmentError::Library(_) => NativeError::internal(error),
    }
}

#[expect(clippy::disallowed_methods, reason = "a certificate has a calendar date")]
pub(crate) fn unix_time() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_made_of_names() {
        let json = create(r#"{"names":["localhost","127.0.0.1"],"kind":"p256","days":14}"#).expect("certificate");
        let made: serde_json::Value = serde_json::from_str(&json).expect("json");
        assert!(made["cert"].as_str().is_some_and(|cert| cert.starts_with("-----BEGIN CERTIFICATE")));
        assert!(made["pin"].as_str().is_some_and(|pin| pin.starts_with("sha256//")));
    }

    #[test]
    fn bad_names_and_times_are_refused() {
        for (json, field) in [
            (r#"{"names":["two words"],"kind":"p256","days":14}"#, "names"),
            (r#"{"names":["a"],"kind":"ed25519","days":4294967295}"#, "days"),
        ] {
            assert_eq!(create(json).expect_err("refused").facts().field.as_deref(), Some(field));
        }
    }
}
