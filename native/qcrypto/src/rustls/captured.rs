//! The traffic secrets of one session, for keys of another QUIC version than the session was made for (RFC 9369 §4.1).
//!
//! A client does not know the version of the connection when it makes its session, and a session derives the keys of its
//! own version only. Its secrets are the same in all versions; this sink takes them where the library tells them to key
//! logs. Each cell is written once and never locked.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use crate::{
    key_update::OneRttKeys,
    keys::{Cipher, Keys},
};
use qbase::Role;

/// Secrets of both ends, at two levels.
pub(crate) struct Captured {
    client_handshake: OnceLock<Vec<u8>>,
    server_handshake: OnceLock<Vec<u8>>,
    client_traffic: OnceLock<Vec<u8>>,
    server_traffic: OnceLock<Vec<u8>>,
    /// The key log of the options.
    onwards: Arc<dyn rustls::KeyLog>,
}

impl Captured {
    /// A sink that hands everything on.
    pub(super) fn new(onwards: Arc<dyn rustls::KeyLog>) -> Self {
        Self {
            client_handshake: OnceLock::new(),
            server_handshake: OnceLock::new(),
            client_traffic: OnceLock::new(),
            server_traffic: OnceLock::new(),
            onwards,
        }
    }

    /// A client's Handshake keys in `version`, once TLS has them.
    pub(crate) fn handshake_keys(&self, cipher: Cipher, version: u32) -> Option<Keys> {
        let (local, remote) = (self.client_handshake.get()?, self.server_handshake.get()?);
        Some(Keys::from_secrets(cipher, version, local, remote))
    }

    /// A client's 1-RTT keys in `version`, once TLS has them.
    pub(crate) fn one_rtt_keys(&self, cipher: Cipher, version: u32) -> Option<OneRttKeys> {
        let (local, remote) = (self.client_traffic.get()?, self.server_traffic.get()?);
        Some(OneRttKeys::from_secrets(cipher, version, Role::Client, local, remote))
    }
}

impl rustls::KeyLog for Captured {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let cell = match label {
            "CLIENT_HANDSHAKE_TRAFFIC_SECRET" => Some(&self.client_handshake),
            "SERVER_HANDSHAKE_TRAFFIC_SECRET" => Some(&self.server_handshake),
            "CLIENT_TRAFFIC_SECRET_0" => Some(&self.client_traffic),
            "SERVER_TRAFFIC_SECRET_0" => Some(&self.server_traffic),
            _ => None,
        };
        if let Some(cell) = cell {
            cell.get_or_init(|| secret.to_vec());
        }
        if self.onwards.will_log(label) {
            self.onwards.log(label, client_random, secret);
        }
    }
}

impl fmt::Debug for Captured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Captured(..)")
    }
}
