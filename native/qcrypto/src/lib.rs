//! Secrets of a connection: the TLS session, the keys it yields, and how packets are protected with them.
//!
//! Decides RFC 9001 (keys, packet and header protection, key update, Retry tag), the nonce of the multipath extension
//! (multipath MP-30) and whom to trust. Called by `qconnection`. Never sends, never reads a clock for a timer, never
//! keeps packets.

// Packets and handshakes are a peer's words (attacks R1).
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

pub mod development;
pub mod error;
pub mod hello;
pub mod identity;
pub mod key_update;
pub mod keys;
pub mod pin;
pub mod protect;
pub mod reset;
pub mod retry;
mod rustls;
pub mod session;
pub mod token;
#[cfg(test)]
mod testing;
pub mod tickets;

pub use self::rustls::{
    ClientAuth, ClientTls, ClientTlsOptions, KeyLog, Provider, Resumption, Roots, ServerTls, ServerTlsOptions, Verify,
};
pub use error::{CertificateFault, CryptoError, IdentityError, IdentityFault, IdentityPart, TlsError};
pub use identity::Identity;
pub use key_update::{Generation, Incoming, OneRttKeys, OpenError, Opened};
pub use keys::{Cipher, DirectionKeys, Keys};
pub use pin::Pin;
pub use protect::{HeaderKey, PacketKey};
pub use reset::reset_token;
pub use retry::{is_retry_authentic, retry_tag};
pub use session::{EarlyStatus, KeyChange, Session};
pub use tickets::{ClientSessions, ServerSessions};
pub use token::{OpenedToken, TokenKey, derive_key};
