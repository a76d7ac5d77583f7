//! Packet headers: where a packet ends, whose it is, where its number stands (RFC 9000 §17, RFC 8999 §5).
//!
//! Decides which datagrams are dropped before any key is tried (attacks A4, A7 to A9). Called by the endpoint (routing) and the
//! connection (receiving and building packets). Never allocates, never touches keys, never keeps state.

pub mod coalesced;
pub mod long;
pub mod number;
pub mod retry;
pub mod short;
pub mod version_negotiation;

mod header;
mod invariant;

pub use header::{FixedBit, ProtectedHeader};
pub use invariant::InvariantHeader;
pub use long::{LongHeader, LongKind, LongStart};
pub use short::{KeyPhase, Spin};

use crate::EncryptionLevel;

/// First-byte bit of long headers.
pub(crate) const FORM: u8 = 0x80;
/// First-byte bit that is 1 unless the peer allows otherwise (RFC 9287).
pub(crate) const FIXED: u8 = 0x40;
/// Bytes needed from the packet number on: 4 to skip and 16 to sample (RFC 9001 §5.4.2).
pub const MIN_PROTECTED: usize = 20;

/// The kinds of packets (RFC 9000 §17.2 table 5, §17.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PacketType {
    /// First packets of a handshake.
    Initial,
    /// Early data.
    ZeroRtt,
    /// The rest of the handshake.
    Handshake,
    /// "Come again with this token."
    Retry,
    /// "I speak these versions."
    VersionNegotiation,
    /// Everything after the handshake; short header.
    OneRtt,
}

impl PacketType {
    /// What protects packets of this kind; `None` for those without packet protection.
    #[must_use]
    pub const fn level(self) -> Option<EncryptionLevel> {
        match self {
            Self::Initial => Some(EncryptionLevel::Initial),
            Self::ZeroRtt => Some(EncryptionLevel::ZeroRtt),
            Self::Handshake => Some(EncryptionLevel::Handshake),
            Self::OneRtt => Some(EncryptionLevel::OneRtt),
            Self::Retry | Self::VersionNegotiation => None,
        }
    }

    /// The name that logs use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Initial => "initial",
            Self::ZeroRtt => "0RTT",
            Self::Handshake => "handshake",
            Self::Retry => "retry",
            Self::VersionNegotiation => "versionNegotiation",
            Self::OneRtt => "1RTT",
        }
    }
}

/// Why a packet is dropped unseen. The connection lives on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum PacketError {
    /// The datagram ends inside the header.
    #[error("the header is cut short")]
    Truncated,
    /// The fixed bit is 0 and nobody allowed that (RFC 9000 §17.2, RFC 9287 §3).
    #[error("the fixed bit is 0")]
    FixedBitClear,
    /// A version we do not speak; [`InvariantHeader::parse`] has the connection ids for the answer.
    #[error("unknown version 0x{version:08x}")]
    UnknownVersion {
        /// The version.
        version: u32,
    },
    /// A connection id longer than 20 bytes in version 1.
    #[error("a connection id is longer than 20 bytes")]
    CidTooLong,
    /// The Length field reaches beyond the datagram.
    #[error("the length reaches beyond the datagram")]
    LengthTooLarge,
    /// Too short to sample for header protection (RFC 9001 §5.4.2).
    #[error("too short for header protection")]
    TooShort,
    /// A Retry without a token (RFC 9000 §17.2.5.2).
    #[error("a Retry without a token")]
    EmptyRetryToken,
    /// The packet is not of the kind asked for.
    #[error("not a packet of this kind")]
    WrongType,
    /// A Version Negotiation packet without versions, or with a piece of one (attacks A13).
    #[error("a malformed list of versions")]
    MalformedVersions,
    /// A coalesced packet for another connection than the first one's (RFC 9000 §12.2, attacks A6).
    #[error("coalesced with packets of another connection")]
    OtherConnection,
}

impl PacketError {
    /// The name that counters and logs use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Truncated => "headerTruncated",
            Self::FixedBitClear => "fixedBitClear",
            Self::UnknownVersion { .. } => "unknownVersion",
            Self::CidTooLong => "cidTooLong",
            Self::LengthTooLarge => "lengthTooLarge",
            Self::TooShort => "tooShort",
            Self::EmptyRetryToken => "emptyRetryToken",
            Self::WrongType => "wrongType",
            Self::MalformedVersions => "malformedVersions",
            Self::OtherConnection => "otherConnection",
        }
    }
}

impl From<crate::UnexpectedEnd> for PacketError {
    fn from(_: crate::UnexpectedEnd) -> Self {
        Self::Truncated
    }
}

/// The destination connection id of a datagram's first packet, whatever its version: enough to route it.
/// Ours have `local_cid_len` bytes; `None` if the datagram ends inside it.
#[must_use]
#[inline]
pub fn destination_cid(datagram: &[u8], local_cid_len: usize) -> Option<&[u8]> {
    let (first, rest) = datagram.split_first()?;
    if first & FORM == 0 {
        return rest.get(..local_cid_len);
    }
    let (len, rest) = rest.get(4..)?.split_first()?;
    rest.get(..usize::from(*len))
}

/// Source connection id of a datagram that begins with a long header, without looking at anything else; of one that
/// begins otherwise, or is cut off before its end, none.
#[must_use]
pub fn source_cid(datagram: &[u8]) -> Option<&[u8]> {
    let (first, rest) = datagram.split_first()?;
    if first & FORM == 0 {
        return None;
    }
    let (len, rest) = rest.get(4..)?.split_first()?;
    let (len, rest) = rest.get(usize::from(*len)..)?.split_first()?;
    rest.get(..usize::from(*len))
}

/// The reserved bits of an unprotected first byte are 0. If not, and only after the packet was authenticated, the
/// connection must be closed with PROTOCOL_VIOLATION (RFC 9000 §17.2, §17.3.1; attacks A10).
#[must_use]
pub const fn reserved_bits_are_zero(first: u8) -> bool {
    if first & FORM == 0 { first & 0x18 == 0 } else { first & 0x0c == 0 }
}

/// Bytes of the packet number, 1 to 4, as an unprotected first byte tells.
#[must_use]
pub const fn number_len(first: u8) -> usize {
    match first & 0x03 {
        0 => 1,
        1 => 2,
        2 => 3,
        _ => 4,
    }
}

/// Clears the fixed bit of a packet that is not yet sealed. Only for peers that sent `grease_quic_bit` (RFC 9287 §3.1).
pub fn clear_fixed_bit(packet: &mut [u8]) {
    if let Some(first) = packet.first_mut() {
        *first &= !FIXED;
    }
}

#[cfg(test)]
mod tests;
