//! `NativeEndpointOptions`: sockets, segments, memory, secret.

use std::{net::{IpAddr, SocketAddr}, time::Duration};

use qconnection::{
    EndpointConfig,
    cid::{CidShape, FirstOctet, ServerId, ShapeError},
    config::POOL_BLOCK_BYTES,
    endpoint::{AddressRange, BlockList},
};
use qdriver::{
    DriverConfig,
    socket::{BufferSizes, PortSharing, SocketConfig},
};
use ring::rand::{SecureRandom, SystemRandom};
use serde::Deserialize;

use super::{from_hex, unavailable};
use crate::error::NativeError;

/// Options as they cross.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointOptions {
    /// Addresses to bind at once.
    pub local: Vec<SocketAddr>,
    reuse_port: Option<bool>,
    send_buffer_bytes: Option<usize>,
    receive_buffer_bytes: Option<usize>,
    max_segments: Option<usize>,
    memory: Option<Memory>,
    secret: Option<String>,
    /// Addresses that are not heard.
    #[serde(default)]
    pub block: Vec<BlockedRange>,
    server_id: Option<ServerIdentity>,
    /// Bytes of the connection ids issued.
    connection_id_bytes: Option<usize>,
    /// JavaScript wants key log lines.
    #[serde(default)]
    pub keylog: bool,
    /// JavaScript wants qlogs.
    #[serde(default)]
    qlog: bool,
}

/// A rule of a `net.BlockList`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(untagged)]
pub enum BlockedRange {
    /// From one address to another.
    Range(IpAddr, IpAddr),
    /// The first bits of an address.
    Network(IpAddr, u8),
}

/// As the machine takes them; what is no range blocks nobody.
#[must_use]
pub fn block_list(rules: &[BlockedRange]) -> BlockList {
    let ranges: Vec<AddressRange> = rules
        .iter()
        .filter_map(|rule| match *rule {
            BlockedRange::Range(first, last) => AddressRange::new(first, last),
            BlockedRange::Network(address, bits) => AddressRange::network(address, bits),
        })
        .collect();
    BlockList::new(&ranges)
}

/// What stands in connection ids for a load balancer.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ServerIdentity {
    /// In hex.
    id: String,
    #[serde(default)]
    configuration: u8,
    #[serde(default)]
    tells_length: bool,
}

impl ServerIdentity {
    fn read(&self) -> Result<ServerId, NativeError> {
        let first = if self.tells_length { FirstOctet::Length } else { FirstOctet::Random };
        let id = from_hex(&self.id).ok_or_else(|| NativeError::option("serverId", "is not hex"))?;
        ServerId::new(&id, self.configuration, first).map_err(|error| shape_error(&error))
    }
}

/// The option that asks for ids that cannot be.
fn shape_error(error: &ShapeError) -> NativeError {
    let field = match error {
        ShapeError::Length => "connection.limits.connectionIdBytes",
        ShapeError::ServerId | ShapeError::Configuration | ShapeError::TooShort { .. } => "serverId",
    };
    NativeError::option(field, format!("cannot be used: {error}"))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Memory {
    max_bytes: Option<usize>,
    buffer_bytes: Option<usize>,
    overcommit: Option<f64>,
}

/// How sockets of an endpoint are made, now and later.
#[derive(Clone, Copy, Debug)]
pub struct SocketStyle {
    sharing: PortSharing,
    buffers: BufferSizes,
}

impl SocketStyle {
    /// A socket at this address.
    #[must_use]
    pub const fn socket(&self, address: SocketAddr, interface: Option<String>) -> SocketConfig {
        SocketConfig { address, interface, sharing: self.sharing, buffers: self.buffers }
    }
}

impl EndpointOptions {
    /// How sockets are made.
    #[must_use]
    pub fn sockets(&self) -> SocketStyle {
        let default = BufferSizes::default();
        let shared = self.reuse_port.unwrap_or(false);
        SocketStyle {
            sharing: if shared { PortSharing::Shared } else { PortSharing::Exclusive },
            buffers: BufferSizes {
                send: self.send_buffer_bytes.unwrap_or(default.send),
                receive: self.receive_buffer_bytes.unwrap_or(default.receive),
            },
        }
    }

    /// What the I/O thread starts with.
    #[must_use]
    pub fn driver(&self) -> DriverConfig {
        let style = self.sockets();
        let default = DriverConfig::default();
        DriverConfig {
            sockets: self.local.iter().map(|address| style.socket(*address, None)).collect(),
            max_segments: self.max_segments(),
            ..default
        }
    }

    /// Segments of one burst at most.
    #[must_use]
    pub fn max_segments(&self) -> usize {
        self.max_segments.unwrap_or(DriverConfig::default().max_segments)
    }

    /// What the machine starts with.
    ///
    /// # Errors
    /// An option this engine has not, or a secret that is none.
    pub fn machine(&self, birth: &Birth) -> Result<EndpointConfig, NativeError> {
        let default = EndpointConfig::default();
        let pool_bytes = match &self.memory {
            None => default.pool_bytes,
            Some(Memory { buffer_bytes: Some(bytes), .. }) if *bytes != POOL_BLOCK_BYTES => return Err(unavailable("memory.bufferBytes")),
            Some(memory) => memory.max_bytes.unwrap_or(default.pool_bytes),
        };
        let secret = match &self.secret {
            Some(secret) => from_hex(secret)
                .and_then(|bytes| bytes.try_into().ok())
                .ok_or_else(|| NativeError::option("secret", "is not 32 bytes in hex"))?,
            None => birth.secret,
        };
        let overcommit = self.memory.as_ref().and_then(|memory| memory.overcommit).unwrap_or(1.0);
        if !(1.0..=8.0).contains(&overcommit) {
            return Err(NativeError::option("memory.overcommit", "is not between 1 and 8"));
        }
        let server = self.server_id.as_ref().map(ServerIdentity::read).transpose()?;
        let shape = CidShape::new(server, self.connection_id_bytes).map_err(|error| shape_error(&error))?;
        let blocked = block_list(&self.block);
        let overcommit_percent = (overcommit * 100.0).round() as u32;
        Ok(EndpointConfig { secret, pool_bytes, overcommit_percent, unix_at_zero: birth.unix_at_zero, qlog: self.qlog, shape, blocked })
    }
}

/// What an endpoint takes from the world it is born into.
#[derive(Clone, Copy, Debug)]
pub struct Birth {
    /// Everything random that it does by itself.
    pub seed: [u8; 32],
    /// Its secret, unless options name one.
    pub secret: [u8; 32],
    /// Time of day at the zero of the machine's clock, since 1970.
    pub unix_at_zero: Duration,
}

impl Birth {
    /// Of this moment and the system's generator: the clock of the machine starts with it.
    ///
    /// # Errors
    /// There is no randomness.
    pub fn now() -> Result<Self, NativeError> {
        Ok(Self { seed: random()?, secret: random()?, unix_at_zero: crate::certificate::unix_time() })
    }
}

/// 32 bytes of the system's generator.
///
/// # Errors
/// It gave none.
fn random() -> Result<[u8; 32], NativeError> {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).map_err(|_| NativeError::internal("the system has no randomness"))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> EndpointOptions {
        serde_json::from_str(json).expect("options")
    }

    #[test]
    fn absent_options_are_the_defaults_of_the_engine() {
        let options = read(r#"{"local":[]}"#);
        let (driver, machine) = (options.driver(), options.machine(&Birth::now().expect("birth")).expect("machine"));
        assert!(driver.sockets.is_empty());
        assert_eq!(driver.max_segments, DriverConfig::default().max_segments);
        assert_eq!(machine.pool_bytes, EndpointConfig::default().pool_bytes);
        assert_ne!(machine.secret, [0; 32], "drawn at random");
    }

    #[test]
    fn given_options_reach_sockets_and_machine() {
        let secret = "ab".repeat(32);
        let json = format!(
            r#"{{"local":["127.0.0.1:0"],"reusePort":true,"receiveBufferBytes":5000,"maxSegments":1,"memory":{{"maxBytes":1048576,"bufferBytes":16384,"overcommit":2.5}},"secret":"{secret}"}}"#
        );
        let options = read(&json);
        let (driver, machine) = (options.driver(), options.machine(&Birth::now().expect("birth")).expect("machine"));
        assert_eq!((driver.max_segments, driver.sockets.len()), (1, 1));
        assert_eq!((driver.sockets[0].sharing, driver.sockets[0].buffers.receive), (PortSharing::Shared, 5_000));
        assert_eq!((machine.secret, machine.pool_bytes, machine.overcommit_percent), ([0xab; 32], 1_048_576, 250));
    }

    #[test]
    fn rules_of_a_block_list_and_a_server_id_reach_the_machine() {
        let json = r#"{"local":[],"block":[["192.0.2.1","192.0.2.9"],["fd00::",8]],"serverId":{"id":"0a0b","configuration":2,"tellsLength":true}}"#;
        let machine = read(json).machine(&Birth::now().expect("birth")).expect("machine");
        let has = |text: &str| machine.blocked.has(text.parse().expect("address"));
        assert!(has("192.0.2.9") && has("fdff::1") && !has("192.0.2.10") && !has("fe00::"));
        assert_eq!(machine.shape.len(), 11);
    }

    #[test]
    fn what_the_engine_has_not_is_refused() {
        for (json, field) in [
            (r#"{"local":[],"memory":{"overcommit":9}}"#, "memory.overcommit"),
            (r#"{"local":[],"memory":{"bufferBytes":4096}}"#, "memory.bufferBytes"),
            (r#"{"local":[],"secret":"ab"}"#, "secret"),
            (r#"{"local":[],"serverId":{"id":"x"}}"#, "serverId"),
            (r#"{"local":[],"serverId":{"id":"0102","configuration":7}}"#, "serverId"),
            (r#"{"local":[],"serverId":{"id":"01020304"},"connectionIdBytes":8}"#, "serverId"),
            (r#"{"local":[],"connectionIdBytes":4}"#, "connection.limits.connectionIdBytes"),
        ] {
            assert_eq!(read(json).machine(&Birth::now().expect("birth")).expect_err("refused").facts().field.as_deref(), Some(field));
        }
    }
}
