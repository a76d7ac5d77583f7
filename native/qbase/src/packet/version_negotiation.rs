//! Version Negotiation packets (RFC 9000 §17.2.1, RFC 8999 §6).
//!
//! ```text
//! 11XXXXXX · version 0 (4) · DCID length (1) · DCID (0..=255) · SCID length (1) · SCID (0..=255) · { version (4) } +
//! ```
//!
//! Called by the endpoint (writes) and the client (reads). Never decides whether to answer or to believe.

use super::{FIXED, FORM, InvariantHeader, PacketError};
use crate::{Writer, packet::long};

/// A received Version Negotiation packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionNegotiation<'a> {
    /// Destination connection id: the source id of our packet.
    pub dcid: &'a [u8],
    /// Source connection id: the destination id of our packet.
    pub scid: &'a [u8],
    /// The list, at least one; see [`VersionNegotiation::versions`].
    list: &'a [[u8; 4]],
}

impl<'a> VersionNegotiation<'a> {
    /// The versions the server speaks, in its order.
    pub fn versions(&self) -> impl Iterator<Item = u32> + Clone + use<'a> {
        self.list.iter().map(|version| u32::from_be_bytes(*version))
    }
}

/// Reads a Version Negotiation packet.
///
/// # Errors
/// It is none, is cut short, or its list is empty or has a length that is no multiple of 4 (attacks A13).
pub fn parse(packet: &[u8]) -> Result<VersionNegotiation<'_>, PacketError> {
    let InvariantHeader { version, dcid, scid, rest, .. } =
        InvariantHeader::parse(packet).ok_or(PacketError::Truncated)?;
    if version != 0 {
        return Err(PacketError::WrongType);
    }
    match rest.as_chunks() {
        ([], _) => Err(PacketError::MalformedVersions),
        (list, []) => Ok(VersionNegotiation { dcid, scid, list }),
        _ => Err(PacketError::MalformedVersions),
    }
}

/// Bytes of a packet with these ids and this many versions.
#[must_use]
pub const fn size(dcid: &[u8], scid: &[u8], versions: usize) -> usize {
    7_usize.saturating_add(dcid.len()).saturating_add(scid.len()).saturating_add(versions.saturating_mul(4))
}

/// Writes a Version Negotiation packet in answer to a packet with source id `dcid` and destination id `scid`, which are
/// echoed whatever their length up to 255 bytes. `unused` is arbitrary; its low six bits go into the first byte.
pub fn write(writer: &mut Writer<'_>, unused: u8, dcid: &[u8], scid: &[u8], versions: &[u32]) {
    writer.u8(FORM | FIXED | unused);
    long::write_ids(writer, 0, dcid, scid);
    versions.iter().for_each(|version| writer.u32(*version));
}
