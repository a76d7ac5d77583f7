//! TLS over rustls: options in, configurations out.
//!
//! Decides protocols, ciphers, trust and randomness of sessions. Called by endpoints once per option object; the results
//! are cheap to clone and shared by all sessions. Tickets and early data are off.

mod captured;
mod client;
mod keylog;
mod provider;
mod seeded;
mod server;
mod verify;

pub(crate) use captured::Captured;
pub use client::{ClientTls, ClientTlsOptions};
pub use keylog::KeyLog;
pub use provider::Provider;
pub(crate) use seeded::Randomness;
pub use server::{ClientAuth, ServerTls, ServerTlsOptions};
pub use verify::{Roots, Verify};

use crate::error::TlsError;

/// Checks a list of ALPN protocols (RFC 7301 §3.1; RFC 9001 §8.1 makes it mandatory).
fn check_alpn(protocols: &[Vec<u8>]) -> Result<(), TlsError> {
    let fits = |protocol: &Vec<u8>| (1..=255).contains(&protocol.len());
    if protocols.is_empty() || !protocols.iter().all(fits) { Err(TlsError::Alpn) } else { Ok(()) }
}
