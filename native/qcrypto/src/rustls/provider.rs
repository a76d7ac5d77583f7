//! Where ciphers, key exchange, randomness and time of a session come from.
//!
//! The system's generator and clock for real connections; a seed and a fixed time for simulations, since a provider
//! draws its key shares from the system whatever its `secure_random` says.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rustls::{
    SupportedCipherSuite,
    crypto::{CryptoProvider, ring},
    pki_types::UnixTime,
    time_provider::{DefaultTimeProvider, TimeProvider},
};

use super::seeded::{self, Randomness};
use crate::keys::Cipher;

/// Randomness and time of sessions.
#[derive(Clone, Debug, Default)]
pub enum Provider {
    /// The system's generator and clock.
    #[default]
    System,
    /// Same seed, same bytes: everything a session draws comes from here. For simulations only: whoever knows the seed
    /// reads the connection.
    Seeded {
        /// Where all randomness comes from.
        seed: [u8; 32],
        /// The time at which certificates are judged, since 1970.
        unix_time: Duration,
    },
}

/// A provider made ready for one option object.
#[derive(Clone, Debug)]
pub(super) struct Sources {
    pub(super) crypto: Arc<CryptoProvider>,
    pub(super) time: Arc<dyn TimeProvider>,
    seeds: Option<Arc<Seeds>>,
}

/// Gives each session of an option object its own seed.
#[derive(Debug)]
struct Seeds {
    seed: [u8; 32],
    label: &'static str,
    sessions: AtomicU64,
}

impl Sources {
    /// `label` keeps clients and servers of one seed apart; no `ciphers` means all.
    pub(super) fn new(provider: &Provider, label: &'static str, ciphers: &[Cipher]) -> Self {
        let ciphers = if ciphers.is_empty() { &Cipher::ALL } else { ciphers };
        let cipher_suites = ciphers.iter().copied().map(suite).collect();
        let base = CryptoProvider { cipher_suites, ..ring::default_provider() };
        match provider {
            Provider::System => Self { crypto: Arc::new(base), time: Arc::new(DefaultTimeProvider), seeds: None },
            Provider::Seeded { seed, unix_time } => Self {
                crypto: Arc::new(CryptoProvider {
                    kx_groups: vec![seeded::KEY_EXCHANGE],
                    secure_random: seeded::RANDOM,
                    ..base
                }),
                time: Arc::new(FixedTime(UnixTime::since_unix_epoch(*unix_time))),
                seeds: Some(Arc::new(Seeds { seed: *seed, label, sessions: AtomicU64::new(0) })),
            },
        }
    }

    /// The randomness of the next session.
    pub(super) fn randomness(&self) -> Randomness {
        match &self.seeds {
            None => Randomness::System,
            Some(seeds) => {
                let session = seeds.sessions.fetch_add(1, Ordering::Relaxed);
                Randomness::seeded(&seeds.seed, seeds.label, session)
            }
        }
    }
}

fn suite(cipher: Cipher) -> SupportedCipherSuite {
    match cipher {
        Cipher::Aes128Gcm => ring::cipher_suite::TLS13_AES_128_GCM_SHA256,
        Cipher::Aes256Gcm => ring::cipher_suite::TLS13_AES_256_GCM_SHA384,
        Cipher::ChaCha20Poly1305 => ring::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    }
}

/// A clock that stands still.
#[derive(Debug)]
struct FixedTime(UnixTime);

impl TimeProvider for FixedTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(self.0)
    }
}
