//! `NativeServer`: connections of others.

use std::sync::Arc;

use qconnection::{RetryPolicy, ServerConfig, TransportConfig};
use serde::Deserialize;

use super::{
    tls::{Surroundings, Tls},
    transport::{Transport, TransportSettings},
    unavailable,
};
use crate::error::NativeError;

/// Accepted connections alive at once, unless options say less: memory is bounded by the pool.
const MAX_CONNECTIONS: usize = 1_000_000;

/// Options as they cross.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Server {
    tls: Tls,
    transport: Transport,
    max_connections: Option<MaxConnections>,
    retry: Option<String>,
    multi_address_handshake: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MaxConnections {
    total: Option<usize>,
    per_address: Option<usize>,
}

/// A server to start, or new options for newcomers.
pub struct Listen {
    /// What the machine needs.
    pub config: Arc<ServerConfig>,
    /// What the engine needs.
    pub transport: TransportSettings,
}

impl Listen {
    /// Reads and checks options.
    ///
    /// # Errors
    /// QB_TLS_IDENTITY, QB_OPTION_INVALID.
    pub fn read(json: &str, surroundings: &Surroundings) -> Result<Self, NativeError> {
        let options: Server = serde_json::from_str(json)?;
        let max_connections = match options.max_connections {
            Some(MaxConnections { per_address: Some(_), .. }) => return Err(unavailable("maxConnections.perAddress")),
            Some(MaxConnections { total, .. }) => total.unwrap_or(MAX_CONNECTIONS),
            None => MAX_CONNECTIONS,
        };
        let mut transport = options.transport.settings()?;
        if let Some(multi_address_handshake) = options.multi_address_handshake {
            transport.config = Arc::new(TransportConfig { multi_address_handshake, ..(*transport.config).clone() });
        }
        let tls = options.tls.server(surroundings)?;
        let retry = match options.retry.as_deref() {
            None | Some("auto") => RetryPolicy::Auto,
            Some("always") => RetryPolicy::Always,
            Some("never") => RetryPolicy::Never,
            Some(_) => return Err(unavailable("retry")),
        };
        let versions = options.transport.versions()?;
        let config = ServerConfig { retry, versions, ..ServerConfig::new(tls, Arc::clone(&transport.config), max_connections) };
        Ok(Self { config: Arc::new(config), transport })
    }
}
