//! What was sent, what was received, and what it was good for: the memory behind loss recovery.
//!
//! Decides which sent packets are acknowledged or lost, which received packets are new, what a stream may send and what
//! it may still take in (RFC 9000 §2 to §4, §13; RFC 9002 §6.1). Called by `qconnection`. Never sends, never reads a
//! clock, never talks to congestion control.

// Every number here is moved by what a peer says (attacks R1).
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

pub mod buffer;
pub mod crypto_stream;
pub mod datagram;
pub mod flow;
pub mod range_set;
pub mod received;
pub mod sent;
pub mod stream;

pub use range_set::RangeSet;
