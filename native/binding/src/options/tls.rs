//! `NativeTls`: who we are and whom we trust.

use std::{collections::BTreeMap, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use qcrypto::{
    Cipher, ClientAuth, ClientSessions, ClientTls, ClientTlsOptions, Identity, IdentityPart, KeyLog, Pin, Provider, Roots,
    ServerSessions, ServerTls, ServerTlsOptions, TlsError, Verify,
};
use qsim::Random;
use serde::Deserialize;

use crate::{
    error::NativeError,
    lock::{Lock, lock},
};

/// Options as they cross.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    alpn: Vec<String>,
    cert: Option<Vec<Pem>>,
    key: Option<Pem>,
    ca: Option<Anchors>,
    #[serde(default)]
    pins: Vec<String>,
    verify: Option<VerifyMode>,
    /// JavaScript judges the peer; the number tells one function from another.
    judge: Option<u64>,
    #[serde(default)]
    ciphers: Vec<String>,
    client_auth: Option<Demand>,
    /// Identities by the name a client asks for.
    #[serde(default)]
    sni: BTreeMap<String, Named>,
    /// Client: use a ticket's early keys. Server: take early data.
    #[serde(default)]
    early_data: bool,
}

/// An identity of the table of names.
#[derive(Debug, Deserialize)]
struct Named {
    cert: Vec<Pem>,
    key: Pem,
}

/// PEM text, or DER in base64.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Pem {
    Text(String),
    Der { der: String },
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Anchors {
    Given(Vec<Pem>),
    Named(AnchorName),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum AnchorName {
    Default,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum VerifyMode {
    Default,
    None,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Demand {
    None,
    Request,
    Require,
}

/// What TLS options need beside themselves.
#[derive(Clone, Default)]
pub struct Surroundings {
    /// Anchors for `ca: 'default'`, PEM.
    pub default_roots: Option<Arc<str>>,
    /// Takes key log lines.
    pub keylog: Option<KeyLog>,
    /// Tickets of servers, of all connections of the endpoint.
    pub client_sessions: ClientSessions,
    /// What the tickets stand for that this endpoint gave: they outlive a change of the server's options.
    pub server_sessions: ServerSessions,
    /// Where randomness and time come from.
    pub providers: Providers,
}

/// Gives each set of TLS options its source of randomness and time.
#[derive(Clone, Default)]
pub enum Providers {
    /// The system.
    #[default]
    System,
    /// A simulated world: another seed each time.
    Seeded(Arc<Lock<Random>>),
}

impl Providers {
    /// The provider of the next set of options.
    fn next(&self) -> Provider {
        match self {
            Self::System => Provider::System,
            Self::Seeded(random) => Provider::Seeded { seed: lock(random).seed(), unix_time: qsim::world::UNIX_TIME },
        }
    }
}

impl Tls {
    /// Options of a client, checked.
    ///
    /// # Errors
    /// QB_TLS_IDENTITY, QB_OPTION_INVALID.
    pub fn client(&self, surroundings: &Surroundings) -> Result<ClientTls, NativeError> {
        let options = ClientTlsOptions {
            roots: self.roots(surroundings)?,
            verify: self.verify(),
            pins: self.pins()?,
            alpn: self.alpn(),
            identity: self.identity()?,
            ciphers: self.ciphers()?,
            keylog: surroundings.keylog.clone(),
            sessions: Some(surroundings.client_sessions.clone()),
            early_data: self.early_data,
            provider: surroundings.providers.next(),
        };
        ClientTls::new(&options).map_err(refusal)
    }

    /// Options of a server, checked.
    ///
    /// # Errors
    /// QB_TLS_IDENTITY, QB_OPTION_INVALID.
    pub fn server(&self, surroundings: &Surroundings) -> Result<ServerTls, NativeError> {
        let options = ServerTlsOptions {
            identity: self.identity()?,
            alpn: self.alpn(),
            client_auth: match self.client_auth {
                None | Some(Demand::None) => ClientAuth::None,
                Some(Demand::Request) => ClientAuth::Request,
                Some(Demand::Require) => ClientAuth::Require,
            },
            roots: self.roots(surroundings)?,
            verify: self.verify(),
            pins: self.pins()?,
            ciphers: self.ciphers()?,
            keylog: surroundings.keylog.clone(),
            sni: self.named()?,
            sessions: Some(surroundings.server_sessions.clone()),
            early_data: self.early_data,
            provider: surroundings.providers.next(),
            ..ServerTlsOptions::default()
        };
        ServerTls::new(&options).map_err(|error| match error {
            TlsError::ServerName { .. } => NativeError::option("sni", error),
            error => refusal(error),
        })
    }

    fn alpn(&self) -> Vec<Vec<u8>> {
        self.alpn.iter().map(|protocol| protocol.clone().into_bytes()).collect()
    }

    const fn verify(&self) -> Verify {
        match (self.judge, self.verify) {
            (Some(judge), _) => Verify::Ask(judge),
            (None, Some(VerifyMode::None)) => Verify::None,
            (None, Some(VerifyMode::Default) | None) => Verify::Default,
        }
    }

    fn roots(&self, surroundings: &Surroundings) -> Result<Roots, NativeError> {
        match &self.ca {
            None => Ok(Roots::None),
            Some(Anchors::Given(list)) => Ok(Roots::Pem(joined(list))),
            Some(Anchors::Named(AnchorName::Default)) => match &surroundings.default_roots {
                Some(pem) => Ok(Roots::Pem(pem.to_string())),
                None => Err(NativeError::internal("the default trust anchors were not given")),
            },
        }
    }

    fn pins(&self) -> Result<Vec<Pin>, NativeError> {
        let read = |(index, pin): (usize, &String)| {
            pin.parse().map_err(|error| NativeError::option(&format!("pins[{index}]"), error))
        };
        self.pins.iter().enumerate().map(read).collect()
    }

    fn ciphers(&self) -> Result<Vec<Cipher>, NativeError> {
        let read = |name: &String| match name.as_str() {
            "aes-128-gcm" => Ok(Cipher::Aes128Gcm),
            "aes-256-gcm" => Ok(Cipher::Aes256Gcm),
            "chacha20-poly1305" => Ok(Cipher::ChaCha20Poly1305),
            other => Err(NativeError::option("ciphers", format_args!("{other:?} is not known"))),
        };
        self.ciphers.iter().map(read).collect()
    }

    /// The own chain and key, if they were given.
    fn identity(&self) -> Result<Option<Identity>, NativeError> {
        let (Some(chain), Some(key)) = (&self.cert, &self.key) else { return Ok(None) };
        identity(chain, key, "").map(Some)
    }

    /// The identities by name.
    fn named(&self) -> Result<Vec<(String, Identity)>, NativeError> {
        let read = |(name, own): (&String, &Named)| Ok((name.clone(), identity(&own.cert, &own.key, &format!("sni.{name}."))?));
        self.sni.iter().map(read).collect()
    }
}

/// An identity of a chain and a key; `field`: what stands before `cert` and `key` in the option's path.
fn identity(chain: &[Pem], key: &Pem, field: &str) -> Result<Identity, NativeError> {
    let certificate = match chain {
        [Pem::Der { der }] => decode(&format!("{field}cert"), der)?,
        chain => joined(chain).into_bytes(),
    };
    let key = match key {
        Pem::Der { der } => decode(&format!("{field}key"), der)?,
        Pem::Text(text) => text.clone().into_bytes(),
    };
    Identity::from_bytes(&certificate, &key).map_err(|error| {
        refusal(error.into()).with(|facts| facts.field = facts.field.take().map(|part| format!("{field}{part}")))
    })
}

/// Certificates as one PEM text.
fn joined(list: &[Pem]) -> String {
    let text = |pem: &Pem| match pem {
        Pem::Text(text) => format!("{text}\n"),
        Pem::Der { der } => format!("-----BEGIN CERTIFICATE-----\n{der}\n-----END CERTIFICATE-----\n"),
    };
    list.iter().map(text).collect()
}

fn decode(field: &str, der: &str) -> Result<Vec<u8>, NativeError> {
    BASE64.decode(der).map_err(|error| NativeError::option(field, error))
}

/// What TLS refuses, by option.
fn refusal(error: TlsError) -> NativeError {
    match &error {
        TlsError::Identity(identity) => {
            let field = match identity.part {
                IdentityPart::Certificate => "cert",
                IdentityPart::Key => "key",
            };
            let message = format!("{identity}; give a PEM or DER certificate chain and the key that belongs to it");
            NativeError::new("QB_TLS_IDENTITY", message).with(|facts| facts.field = Some(field.to_owned()))
        }
        TlsError::Root { index, .. } => NativeError::option(&format!("ca[{index}]"), error),
        TlsError::NoTrust => NativeError::option("ca", error),
        TlsError::Alpn => NativeError::option("alpn", error),
        TlsError::NoIdentity => NativeError::option("cert", error),
        TlsError::ServerName { .. } => NativeError::option("serverName", error),
        TlsError::Version { .. } | TlsError::Library(_) => NativeError::option("ciphers", error),
    }
}

#[cfg(test)]
mod tests {
    use qcrypto::development::{DevelopmentCertificate, seeded};

    use super::*;

    fn certificate() -> DevelopmentCertificate {
        seeded(&[1; 32], &["localhost".to_owned()], 14, std::time::Duration::from_secs(1_800_000_000)).expect("certificate")
    }

    fn read(json: &serde_json::Value) -> Tls {
        serde_json::from_value(json.clone()).expect("options")
    }

    fn der_of(pem: &str) -> String {
        pem.lines().filter(|line| !line.starts_with("-----")).collect()
    }

    #[test]
    fn identities_are_read_from_pem_and_der() {
        let own = certificate();
        let (cert, key) = (serde_json::json!({"der": der_of(&own.cert_pem)}), serde_json::json!({"der": der_of(&own.key_pem)}));
        for (cert, key) in [
            (serde_json::json!([own.cert_pem]), serde_json::json!(own.key_pem)),
            (serde_json::json!([cert]), key.clone()),
            (serde_json::json!([own.cert_pem]), key),
            (serde_json::json!([cert, own.cert_pem]), serde_json::json!(own.key_pem)),
        ] {
            let tls = read(&serde_json::json!({"alpn": ["x"], "cert": cert, "key": key}));
            assert!(tls.server(&Surroundings::default()).is_ok(), "{tls:?}");
        }
    }

    #[test]
    fn a_key_that_does_not_belong_is_named() {
        let own = certificate();
        let other = seeded(&[2; 32], &["localhost".to_owned()], 14, std::time::Duration::ZERO).expect("certificate");
        let tls = read(&serde_json::json!({"alpn": ["x"], "cert": [own.cert_pem], "key": other.key_pem}));
        let error = tls.server(&Surroundings::default()).expect_err("refused");
        assert_eq!((error.facts().code, error.facts().field.as_deref()), ("QB_TLS_IDENTITY", Some("key")));
    }

    #[test]
    fn names_have_identities_of_their_own() {
        let own = certificate();
        let named = serde_json::json!({"cert": [own.cert_pem], "key": own.key_pem});
        let tls = read(&serde_json::json!({"alpn": ["x"], "sni": {"a.example": named, "*.b.example": named}}));
        assert!(tls.server(&Surroundings::default()).is_ok());
        let wrong = serde_json::json!({"cert": [own.cert_pem], "key": "nothing"});
        let tls = read(&serde_json::json!({"alpn": ["x"], "sni": {"a.example": wrong}}));
        let error = tls.server(&Surroundings::default()).expect_err("refused");
        assert_eq!((error.facts().code, error.facts().field.as_deref()), ("QB_TLS_IDENTITY", Some("sni.a.example.key")));
        let tls = read(&serde_json::json!({"alpn": ["x"], "sni": {"no name": named}}));
        assert_eq!(tls.server(&Surroundings::default()).expect_err("refused").facts().field.as_deref(), Some("sni"));
    }

    #[test]
    fn a_judge_needs_no_anchors() {
        let own = certificate();
        let tls = read(&serde_json::json!({"alpn": ["x"], "judge": 3, "cert": [own.cert_pem], "key": own.key_pem, "clientAuth": "require"}));
        assert!(tls.client(&Surroundings::default()).is_ok_and(|tls| tls.asks()));
        assert!(tls.server(&Surroundings::default()).is_ok_and(|tls| tls.asks()));
        let unasked = read(&serde_json::json!({"alpn": ["x"], "judge": 3, "cert": [own.cert_pem], "key": own.key_pem}));
        assert!(unasked.server(&Surroundings::default()).is_ok_and(|tls| !tls.asks()), "no certificate comes");
    }

    #[test]
    fn trust_is_by_anchors_pins_or_the_default() {
        let own = certificate();
        let roots = Surroundings { default_roots: Some(own.cert_pem.as_str().into()), ..Surroundings::default() };
        for json in [
            serde_json::json!({"alpn": ["x"], "ca": [own.cert_pem]}),
            serde_json::json!({"alpn": ["x"], "ca": "default"}),
            serde_json::json!({"alpn": ["x"], "pins": [own.pin]}),
            serde_json::json!({"alpn": ["x"], "verify": "none"}),
        ] {
            assert!(read(&json).client(&roots).is_ok(), "{json}");
        }
        let bad = serde_json::json!({"alpn": ["x"], "ca": ["nothing"]});
        assert_eq!(read(&bad).client(&roots).expect_err("refused").facts().field.as_deref(), Some("ca[0]"));
        let none = serde_json::json!({"alpn": ["x"]});
        assert_eq!(read(&none).client(&roots).expect_err("refused").facts().field.as_deref(), Some("ca"));
    }
}
