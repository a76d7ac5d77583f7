//! `NativeServer`: connections of others.

use std::{net::SocketAddr, sync::Arc};

use qbase::limits;
use qconnection::{PreferredAddresses, RetryPolicy, ServerConfig, TransportConfig};
use serde::Deserialize;

use super::{
    tls::{Surroundings, Tls},
    transport::{Transport, TransportSettings},
    unavailable,
};
use crate::error::NativeError;

/// Options as they cross.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Server {
    tls: Tls,
    transport: Transport,
    max_connections: Option<MaxConnections>,
    retry: Option<String>,
    multi_address_handshake: Option<bool>,
    #[serde(default)]
    preferred_address: Vec<SocketAddr>,
    new_tokens: Option<bool>,
    half_rtt_data: Option<bool>,
}

#[derive(Default, Deserialize)]
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
        let most = options.max_connections.unwrap_or_default();
        let max_connections = most.total.unwrap_or(limits::CONNECTIONS);
        let max_per_address = most.per_address.unwrap_or(limits::CONNECTIONS_PER_ADDRESS);
        let mut transport = options.transport.settings()?;
        if let Some(multi_address_handshake) = options.multi_address_handshake {
            transport.config = Arc::new(TransportConfig { multi_address_handshake, ..(*transport.config).clone() });
        }
        if !options.preferred_address.is_empty() {
            let preferred_address = preferred(&options.preferred_address);
            transport.config = Arc::new(TransportConfig { preferred_address, ..transport.config.as_ref().clone() });
        }
        let tls = options.tls.server(surroundings)?;
        transport.config = Arc::new(TransportConfig { hold_for_verdict: tls.asks(), half_rtt: options.half_rtt_data.unwrap_or(false), ..(*transport.config).clone() });
        let retry = match options.retry.as_deref() {
            None | Some("auto") => RetryPolicy::Auto,
            Some("always") => RetryPolicy::Always,
            Some("never") => RetryPolicy::Never,
            Some(_) => return Err(unavailable("retry")),
        };
        let versions = options.transport.versions()?;
        let new_tokens = options.new_tokens.unwrap_or(true);
        let config = ServerConfig { retry, versions, new_tokens, max_per_address, ..ServerConfig::new(tls, Arc::clone(&transport.config), max_connections) };
        Ok(Self { config: Arc::new(config), transport })
    }
}

/// The first address of each family.
fn preferred(addresses: &[SocketAddr]) -> PreferredAddresses {
    let v4 = addresses.iter().find_map(|address| if let SocketAddr::V4(v4) = address { Some(*v4) } else { None });
    let v6 = addresses.iter().find_map(|address| if let SocketAddr::V6(v6) = address { Some(*v6) } else { None });
    PreferredAddresses { ipv4: v4, ipv6: v6 }
}
