//! Questions to [`OneRttKeys`](super::OneRttKeys) and its answers: what is known of a packet, which keys opened it, why not.

use std::ops::Range;

use qbase::{PacketNumber, PathId, Timestamp, TransportError, packet::KeyPhase};

use crate::error::CryptoError;

/// What the unprotected short header says of a received packet, and what the path knows of earlier ones.
#[derive(Clone, Copy, Debug)]
pub struct Incoming {
    /// The path id that the destination connection id stands for.
    pub path: PathId,
    /// The full packet number.
    pub number: PacketNumber,
    /// The Key Phase bit.
    pub phase: KeyPhase,
    /// Largest packet number opened on this path before; `None` before the first.
    pub largest: Option<PacketNumber>,
}

/// The keys that opened a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    /// Keys of the phase before: a packet that the network delayed.
    Previous,
    /// Keys of the phase we send in.
    Current,
    /// The first packet of a phase, whoever began it. Its keys are current from here on; the caller says by
    /// [`keep_previous_until`](super::OneRttKeys::keep_previous_until) how long to keep the old ones.
    Fresh,
}

/// An opened packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Where the plaintext lies in the packet.
    pub plaintext: Range<usize>,
    /// The keys that opened it.
    pub generation: Generation,
}

/// Why a packet was not opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// Drop the packet; the connection lives.
    Drop(CryptoError),
    /// Close the connection.
    Close(TransportError),
}

/// Why a key update cannot begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpdateRefused {
    /// The handshake is not confirmed (RFC 9001 §6.1).
    #[error("the handshake is not confirmed")]
    Unconfirmed,
    /// The peer has acknowledged no packet of the current phase (RFC 9001 §6.1).
    #[error("the last key update is not acknowledged")]
    Unacknowledged,
    /// The last update was acknowledged less than 3 PTO ago (RFC 9001 §6.5, multipath MP-34).
    #[error("the last key update is too young")]
    TooSoon {
        /// When an update may begin.
        until: Timestamp,
    },
}
