//! Numbers and keys: packet-number spaces and encryption levels (RFC 9000 §12.3, RFC 9001 §2.1).

use crate::PathId;

/// A full packet number, 0 ..= 2^62-1.
pub type PacketNumber = u64;

/// What numbers a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SpaceId {
    /// Initial packets.
    Initial,
    /// Handshake packets.
    Handshake,
    /// 0-RTT and 1-RTT packets of one path id (multipath MP-17).
    Application(PathId),
}

/// What protects a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EncryptionLevel {
    /// Keys anyone can derive from the first DCID.
    Initial,
    /// Early data keys.
    ZeroRtt,
    /// Handshake keys.
    Handshake,
    /// Application keys.
    OneRtt,
}

impl EncryptionLevel {
    /// The space that numbers packets of this level on `path`.
    #[must_use]
    pub const fn space(self, path: PathId) -> SpaceId {
        match self {
            Self::Initial => SpaceId::Initial,
            Self::Handshake => SpaceId::Handshake,
            Self::ZeroRtt | Self::OneRtt => SpaceId::Application(path),
        }
    }
}
