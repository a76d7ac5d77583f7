//! TLS over rustls: options in, configurations out.
//!
//! Decides protocols, ciphers, trust, randomness and resumption of sessions. Called by endpoints once per option object;
//! the results are cheap to clone and shared by all sessions.

mod captured;
mod client;
mod identities;
mod judge;
mod keylog;
mod provider;
mod seeded;
mod server;
mod verify;

pub(crate) use captured::Captured;
pub use client::{ClientTls, ClientTlsOptions};
pub(crate) use client::{Capture, ClientSetup};
pub(crate) use judge::Judge;
pub use keylog::KeyLog;
pub use provider::Provider;
pub(crate) use seeded::Randomness;
pub use server::{ClientAuth, Resumption, ServerTls, ServerTlsOptions};
pub use verify::{Roots, Verify};

use crate::error::TlsError;

/// Checks a list of ALPN protocols (RFC 7301 §3.1; RFC 9001 §8.1 makes it mandatory).
fn check_alpn(protocols: &[Vec<u8>]) -> Result<(), TlsError> {
    let fits = |protocol: &Vec<u8>| (1..=255).contains(&protocol.len());
    if protocols.is_empty() || !protocols.iter().all(fits) { Err(TlsError::Alpn) } else { Ok(()) }
}

/// SHA-256 over fields, each with its length in front.
pub(crate) struct Digest(ring::digest::Context);

impl Digest {
    fn new(label: &str) -> Self {
        let mut digest = Self(ring::digest::Context::new(&ring::digest::SHA256));
        digest.add(label.as_bytes());
        digest
    }

    fn add(&mut self, field: &[u8]) {
        self.0.update(&(field.len() as u64).to_be_bytes());
        self.0.update(field);
    }

    fn finish(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes.iter_mut().zip(self.0.finish().as_ref()).for_each(|(to, from)| *to = *from);
        bytes
    }
}
