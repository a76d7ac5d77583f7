//! Words and wire formats of QUIC: everything two rooms of the machine must agree on.
//!
//! Decides how bytes are laid out (RFC 9000 §12, §16 to §19, draft-ietf-quic-multipath-21 §4) and what things are
//! called. Called by every other crate. Never keeps connection state, never reads a clock, never panics on input.

// Bytes from the network may neither index past an end nor wrap a number (attacks R1).
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

pub mod address;
pub mod cid;
pub mod error;
pub mod frame;
pub mod limits;
pub mod packet;
pub mod param;
pub mod path_id;
pub mod random;
pub mod role;
pub mod space;
pub mod stream_id;
pub mod time;
pub mod varint;
pub mod version;
pub mod wire;

pub use address::{Ecn, FourTuple, StandIn};
pub use cid::{ConnectionId, ResetToken};
pub use error::{ErrorCode, TransportError};
pub use path_id::PathId;
pub use role::{Direction, Role};
pub use space::{EncryptionLevel, PacketNumber, SpaceId};
pub use stream_id::StreamId;
pub use time::Timestamp;
pub use version::{VERSION_1, VERSION_2};
pub use wire::{Reader, UnexpectedEnd, Writer};
