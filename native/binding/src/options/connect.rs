//! `NativeConnect`: one connection of our own.

use std::{net::IpAddr, sync::Arc};

use bytes::Bytes;
use qbase::limits;
use qconnection::{ClientConfig, HandshakeMode, TransportConfig};
use rustls_pki_types::DnsName;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    from_hex, millis, unavailable,
    tls::{Surroundings, Tls},
    transport::{Transport, TransportSettings},
};
use crate::{error::NativeError, messages::{nat::Remote, orders::PathSpec}};

/// Options as they cross.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Connect<'a> {
    id: String,
    remotes: Vec<Remote>,
    server_name: String,
    #[serde(borrow)]
    tls: &'a RawValue,
    transport: Transport,
    paths: Vec<PathSpec>,
    handshake: Handshake,
    /// What an earlier connection's `token` event brought, hex.
    token: Option<String>,
    /// Offer a ticket, if there is one.
    #[serde(default)]
    ticket: bool,
}

/// How several address pairs are tried.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Handshake {
    mode: String,
    stagger_ms: Option<f64>,
    max_candidates: Option<usize>,
}

impl Handshake {
    /// The machine's mode.
    fn mode(&self) -> Result<HandshakeMode, NativeError> {
        Ok(match self.mode.as_str() {
            "single" => HandshakeMode::Single,
            "stagger" => HandshakeMode::Stagger(self.stagger_ms.map_or(Ok(limits::STAGGER), |value| millis("handshake.staggerMs", value))?),
            "race" => HandshakeMode::Race,
            "shared" => HandshakeMode::Shared,
            "independent" => HandshakeMode::Independent,
            _ => return Err(unavailable("handshake")),
        })
    }
}

/// A connection to start.
pub struct Dial {
    /// Its name in logs, hex.
    pub id: String,
    /// Addresses of the one server, best first; never empty. Those behind relays need a registration there.
    pub remotes: Vec<Remote>,
    /// SNI and name to check.
    pub server_name: String,
    /// Name of the handshake mode.
    pub mode: &'static str,
    /// What the machine needs.
    pub config: Arc<ClientConfig>,
    /// What the engine needs.
    pub transport: TransportSettings,
    /// The first one carries the handshake; never empty.
    pub paths: Vec<PathSpec>,
}

/// The TLS options of the last connection, read: most connections of a program have the same, and reading a hundred
/// trust anchors takes longer than a handshake.
#[derive(Default)]
pub struct TlsCache {
    text: String,
    tls: Option<qcrypto::ClientTls>,
}

impl TlsCache {
    /// Forgets: the surroundings changed.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    fn read(&mut self, text: &str, surroundings: &Surroundings) -> Result<qcrypto::ClientTls, NativeError> {
        if let Some(tls) = &self.tls
            && self.text == text
        {
            return Ok(tls.clone());
        }
        let tls = serde_json::from_str::<Tls>(text)?.client(surroundings)?;
        text.clone_into(&mut self.text);
        Ok(self.tls.insert(tls).clone())
    }
}

impl Dial {
    /// Reads and checks options.
    ///
    /// # Errors
    /// QB_TLS_IDENTITY, QB_OPTION_INVALID.
    pub fn read(json: &str, cache: &mut TlsCache, surroundings: &Surroundings) -> Result<Self, NativeError> {
        let options: Connect<'_> = serde_json::from_str(json)?;
        check_name(&options.server_name)?;
        let mut transport = options.transport.settings()?;
        let handshake = options.handshake.mode()?;
        let max_candidates = options.handshake.max_candidates.unwrap_or(limits::HANDSHAKE_CANDIDATES);
        let tls = cache.read(options.tls.get(), surroundings)?;
        transport.config = Arc::new(TransportConfig { handshake, max_candidates, hold_for_verdict: tls.asks(), ..(*transport.config).clone() });
        let tls = if options.ticket { tls } else { tls.without_offer() };
        if options.remotes.is_empty() || options.paths.is_empty() {
            return Err(NativeError::internal("a connection without an address or a path"));
        }
        let (versions, first_version) = (options.transport.versions()?, options.transport.first_version()?);
        let token = options.token.as_deref().and_then(from_hex).map(Bytes::from);
        let config = Arc::new(ClientConfig { versions, first_version, token, ..ClientConfig::new(tls, Arc::clone(&transport.config)) });
        Ok(Self {
            id: options.id,
            remotes: options.remotes,
            server_name: options.server_name,
            mode: handshake.name(),
            config,
            transport,
            paths: options.paths,
        })
    }
}

/// A DNS name or an IP address.
fn check_name(name: &str) -> Result<(), NativeError> {
    if name.parse::<IpAddr>().is_ok() || DnsName::try_from(name).is_ok() {
        return Ok(());
    }
    Err(NativeError::option("serverName", format_args!("{name:?} is neither a DNS name nor an IP address")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(name: &str) -> String {
        format!(
            r#"{{"id":"ab","remotes":["127.0.0.1:4433"],"serverName":"{name}","tls":{{"alpn":["x"],"verify":"none"}},
            "transport":{{"limits":{{"sendBufferBytes":1,"connectionSendBufferBytes":1}}}},"paths":[{{}}],"handshake":{{"mode":"single"}}}}"#
        )
    }

    #[test]
    fn options_are_read_and_tls_is_read_once() {
        let (mut cache, surroundings) = (TlsCache::default(), Surroundings::default());
        let dial = Dial::read(&json("localhost"), &mut cache, &surroundings).unwrap_or_else(|error| panic!("{error:?}"));
        assert_eq!((dial.id.as_str(), dial.remotes.len(), dial.paths.len()), ("ab", 1, 1));
        assert!(cache.text.contains("verify"));
        assert!(Dial::read(&json("127.0.0.1"), &mut cache, &surroundings).is_ok());
    }

    #[test]
    fn names_that_are_none_are_refused() {
        for name in ["", "two words", "-"] {
            let error = Dial::read(&json(name), &mut TlsCache::default(), &Surroundings::default()).err();
            assert_eq!(error.and_then(|error| error.facts().field.clone()).as_deref(), Some("serverName"), "{name}");
        }
    }
}
