//! Session tickets: what makes the next handshake with the same peer shorter (RFC 9001 §4.5, §4.6).
//!
//! | file | job |
//! |---|---|
//! | `client` | tickets got from servers, by the caller's key |
//! | `server` | what given tickets stand for; taking one out is the replay filter |
//!
//! Called by TLS while it reads a handshake. Both stores are bounded, shared by clones, and belong to one process: the
//! TLS library does not turn a ticket into bytes. Never draws randomness, never reads a clock.

mod client;
mod server;

pub use client::ClientSessions;
pub(crate) use client::{ClientSlot, Offer, TrustPair};
pub use server::ServerSessions;

use std::sync::{MutexGuard, PoisonError};

/// The lock of a store. The TLS library demands stores that any thread may use; one thread does.
#[expect(clippy::disallowed_types, reason = "the TLS library's store traits take &self and demand Sync")]
type Lock<T> = std::sync::Mutex<T>;

/// Opens a lock, whatever happened to its last holder: every change to a store is complete in itself.
fn open<T>(lock: &Lock<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}
