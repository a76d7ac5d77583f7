//! Ways through NATs: addresses that may lie behind a relay, what is said about them, and who answers whom.
//!
//! Decides how traversal is spoken (traversal spec: forward header, STUN, frames), what a NAT is from what was observed, and
//! what a relay passes on. Called by the connection, the endpoint and the relay. Never does I/O, never reads a clock or a
//! generator of its own: `now` and random bytes are arguments. Never panics on bytes.

// Every byte here may come from a stranger (attacks R1).
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

pub mod address;
pub mod book;
pub mod budget;
pub mod classify;
pub mod forward;
pub mod frame;
pub mod nat;
pub mod probe;
pub mod punch;
pub mod random;
mod rate;
pub mod relay;
pub mod stun;
pub mod traversal;

pub use address::{Endpoint, Link, Pathway};
pub use frame::{AddressKind, Profile, TraversalFrame};
pub use nat::NatType;
pub use traversal::{Traversal, TraversalConfig};
