//! Randomness from a seed: random fields and X25519 key shares that repeat (design: "same seed, same bytes").
//!
//! The TLS library knows its generator only as a `'static` object, so the object here draws from a generator that a
//! session lends to its thread for the time of one call. Without a loan it refuses: nothing is ever drawn unseeded.

use std::cell::RefCell;

use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};
use ring::digest;
use rustls::{
    Error, NamedGroup, PeerMisbehaved,
    crypto::{ActiveKeyExchange, GetRandomFailed, SecureRandom, SharedSecret, SupportedKxGroup},
};

thread_local! {
    /// The generator of the session that is at work.
    static LENT: RefCell<Option<ChaCha20Rng>> = const { RefCell::new(None) };
}

/// Where a session's randomness comes from.
pub(crate) enum Randomness {
    /// The system.
    System,
    /// A generator of its own.
    Seeded(Box<ChaCha20Rng>),
}

impl Randomness {
    /// The generator of session number `session` of the side called `label`.
    pub(super) fn seeded(seed: &[u8; 32], label: &str, session: u64) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(seed);
        context.update(label.as_bytes());
        context.update(&session.to_be_bytes());
        let mut own = [0; 32];
        own.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
        Self::Seeded(Box::new(ChaCha20Rng::from_seed(own)))
    }

    /// Runs `call` with this generator in the hands of [`RANDOM`] and [`KEY_EXCHANGE`].
    pub(crate) fn lend<T>(&mut self, call: impl FnOnce() -> T) -> T {
        let Self::Seeded(generator) = self else { return call() };
        LENT.set(Some((**generator).clone()));
        let result = call();
        if let Some(back) = LENT.take() {
            **generator = back;
        }
        result
    }
}

/// Draws from the generator on loan.
fn fill(bytes: &mut [u8]) -> Result<(), GetRandomFailed> {
    LENT.with_borrow_mut(|lent| match lent {
        Some(generator) => {
            generator.fill_bytes(bytes);
            Ok(())
        }
        None => Err(GetRandomFailed),
    })
}

/// The random source of seeded sessions.
pub(super) static RANDOM: &dyn SecureRandom = &SeededRandom;

#[derive(Debug)]
struct SeededRandom;

impl SecureRandom for SeededRandom {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), GetRandomFailed> {
        fill(bytes)
    }
}

/// The key exchange of seeded sessions: X25519 (RFC 7748 §5).
pub(super) static KEY_EXCHANGE: &dyn SupportedKxGroup = &SeededX25519;

#[derive(Debug)]
struct SeededX25519;

impl SupportedKxGroup for SeededX25519 {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let mut secret = [0; 32];
        fill(&mut secret)?;
        let public = x25519_dalek::x25519(secret, x25519_dalek::X25519_BASEPOINT_BYTES);
        Ok(Box::new(KeyShare { secret, public }))
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

/// A key share that waits for the peer's.
struct KeyShare {
    secret: [u8; 32],
    public: [u8; 32],
}

impl ActiveKeyExchange for KeyShare {
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        let peer: [u8; 32] = peer.try_into().map_err(|_| PeerMisbehaved::InvalidKeyShare)?;
        let shared = x25519_dalek::x25519(self.secret, peer);
        // All zero: the peer's share has small order (RFC 8446 §7.4.2).
        if shared == [0; 32] {
            return Err(PeerMisbehaved::InvalidKeyShare.into());
        }
        Ok(SharedSecret::from(shared.as_slice()))
    }

    fn pub_key(&self) -> &[u8] {
        &self.public
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}
