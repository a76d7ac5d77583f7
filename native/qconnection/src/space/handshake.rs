//! The Initial and Handshake spaces: numbers, keys and the CRYPTO stream of one level (RFC 9000 §12.3, RFC 9001 §4).
//!
//! Called by the handshake, the input and the burst writer. Gone for good once discarded (RFC 9001 §4.9).

use super::Space;
use qbase::{EncryptionLevel, Timestamp, limits};
use qcrypto::{DirectionKeys, Keys};
use qrecovery::{crypto_stream::CryptoStream, received::ReceivedPackets};
use std::time::Duration;

/// Numbers, keys and handshake bytes of the Initial or the Handshake level.
#[derive(Debug)]
pub struct HandshakeSpace {
    /// Which of the two it is.
    pub level: EncryptionLevel,
    /// Keys of both ways.
    pub keys: Keys,
    /// Numbers and acknowledgements.
    pub space: Space,
    /// Handshake bytes of both ways.
    pub crypto: CryptoStream,
    /// When the first packet was processed, to tell that the peer uses these keys.
    pub first_received: Option<Timestamp>,
}

impl HandshakeSpace {
    /// A space for `level` with these keys.
    #[must_use]
    pub fn new(level: EncryptionLevel, keys: Keys) -> Self {
        let buffer = match level {
            EncryptionLevel::Initial => limits::CRYPTO_BUFFER_INITIAL,
            _ => limits::CRYPTO_BUFFER,
        };
        Self {
            level,
            keys,
            // Handshake numbers are never skipped: the few packets there are gain nothing from it.
            space: Space::new(limits::ACK_RANGES_HANDSHAKE, Duration::ZERO, u64::MAX),
            crypto: CryptoStream::new(buffer),
            first_received: None,
        }
    }

    /// Keys to open packets with, and the numbers received.
    #[must_use]
    pub const fn reader(&self) -> (&DirectionKeys, &ReceivedPackets) {
        (&self.keys.remote, &self.space.received)
    }

    /// An acknowledgement, handshake bytes or a probe wait to be sent.
    #[must_use]
    pub fn has_something_to_send(&self, now: Timestamp) -> bool {
        self.crypto.has_pending() || self.space.acks.due(now) || self.space.probes_owed > 0
    }
}
