//! Retry packets (RFC 9000 §17.2.5).
//!
//! ```text
//! 11TTXXXX · version (4) · DCID length (1) · DCID · SCID length (1) · SCID · token, not empty · integrity tag (16)
//! ```
//!
//! Called by the endpoint (writes) and the client (reads). Never computes the tag: see `qcrypto`.

use super::{FIXED, FORM, FixedBit, PacketError, PacketType, ProtectedHeader, long};
use crate::{ConnectionId, Writer, limits::TAG_LEN};

/// A received Retry. The tag is not checked yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry<'a> {
    /// The version.
    pub version: u32,
    /// Destination connection id: ours.
    pub dcid: ConnectionId,
    /// Source connection id: the destination of the next Initial.
    pub scid: ConnectionId,
    /// The token to send back, at least one byte.
    pub token: &'a [u8],
    /// The packet without its tag: what the tag covers.
    pub untagged: &'a [u8],
    /// The integrity tag (RFC 9001 §5.8).
    pub tag: [u8; TAG_LEN],
}

/// Reads a Retry packet.
///
/// # Errors
/// It is no Retry, cut short, or has no token (attacks A14).
pub fn parse(packet: &[u8]) -> Result<Retry<'_>, PacketError> {
    let ProtectedHeader { kind, version, dcid, scid, token, pn_offset, .. } =
        ProtectedHeader::parse_with(packet, 0, FixedBit::Ignored)?;
    if kind != PacketType::Retry {
        return Err(PacketError::WrongType);
    }
    let (untagged, tag) = packet.split_at_checked(pn_offset).ok_or(PacketError::Truncated)?;
    let tag = *tag.first_chunk().ok_or(PacketError::Truncated)?;
    let token = packet.get(token).ok_or(PacketError::Truncated)?;
    Ok(Retry { version, dcid, scid, token, untagged, tag })
}

/// Writes a Retry without its tag, which the caller appends.
pub fn write(writer: &mut Writer<'_>, version: u32, dcid: &ConnectionId, scid: &ConnectionId, token: &[u8]) {
    // The unused bits are 1.
    writer.u8(FORM | FIXED | long::type_bits(version, PacketType::Retry) | 0x0f);
    long::write_ids(writer, version, dcid.as_bytes(), scid.as_bytes());
    writer.bytes(token);
}
