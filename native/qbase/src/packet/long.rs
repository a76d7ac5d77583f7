//! Writing long headers with a packet number: Initial, 0-RTT, Handshake (RFC 9000 §17.2).
//!
//! ```text
//! 11TT00PP · version (4) · DCID length (1) · DCID · SCID length (1) · SCID · [token length (i) · token] ·
//! length (2 bytes, patched when the payload is known) · packet number (1 to 4)
//! ```
//!
//! Called by the packet builder. Never protects: see `qcrypto`.

use super::{FIXED, FORM, PacketType, number};
use crate::{ConnectionId, PacketNumber, VERSION_2, Writer, varint};

/// The kinds of long headers that number their packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LongKind<'a> {
    /// Initial, with the token of a Retry or NEW_TOKEN; servers send none.
    Initial {
        /// The token; empty for none.
        token: &'a [u8],
    },
    /// 0-RTT.
    ZeroRtt,
    /// Handshake.
    Handshake,
}

impl LongKind<'_> {
    /// The packet type.
    #[must_use]
    pub const fn packet_type(self) -> PacketType {
        match self {
            Self::Initial { .. } => PacketType::Initial,
            Self::ZeroRtt => PacketType::ZeroRtt,
            Self::Handshake => PacketType::Handshake,
        }
    }
}

/// A long header to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LongHeader<'a> {
    /// The kind of packet.
    pub kind: LongKind<'a>,
    /// The version.
    pub version: u32,
    /// Destination connection id.
    pub dcid: ConnectionId,
    /// Source connection id.
    pub scid: ConnectionId,
}

/// Where in a packet the fields stand that are filled later; offsets from the packet's first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LongStart {
    /// The two-byte Length field.
    pub length_offset: usize,
    /// The packet number.
    pub pn_offset: usize,
}

/// Bytes of the first byte, the version, both id lengths and the Length field.
const FIXED_SIZE: usize = 9;

impl LongHeader<'_> {
    /// Bytes of the header with a packet number of `pn_len` bytes.
    #[must_use]
    pub fn size(&self, pn_len: usize) -> usize {
        let token = match self.kind {
            LongKind::Initial { token } => varint::size(token.len() as u64).saturating_add(token.len()),
            LongKind::ZeroRtt | LongKind::Handshake => 0,
        };
        [self.dcid.len(), self.scid.len(), token, pn_len].into_iter().fold(FIXED_SIZE, usize::saturating_add)
    }

    /// Writes the header with a Length of 0 and the last `pn_len` (1 to 4) bytes of `pn`. The writer stands at the
    /// packet's first byte, which need not be the first of its buffer.
    pub fn write(&self, writer: &mut Writer<'_>, pn: PacketNumber, pn_len: usize) -> LongStart {
        let start = writer.len();
        writer.u8(FORM | FIXED | type_bits(self.version, self.kind.packet_type()) | number::len_bits(pn_len));
        write_ids(writer, self.version, self.dcid.as_bytes(), self.scid.as_bytes());
        if let LongKind::Initial { token } = self.kind {
            writer.varint(token.len() as u64);
            writer.bytes(token);
        }
        let length_offset = writer.len().saturating_sub(start);
        writer.varint2(0);
        let pn_offset = writer.len().saturating_sub(start);
        number::write(writer, pn, pn_len);
        LongStart { length_offset, pn_offset }
    }
}

/// The type that the first byte of a long header names; version 2 counts from Retry (RFC 9000 §17.2, RFC 9369 §3.2).
pub(super) const fn packet_type(version: u32, first: u8) -> PacketType {
    let code = first >> 4 & 0x03;
    match if version == VERSION_2 { code.wrapping_sub(1) & 0x03 } else { code } {
        0 => PacketType::Initial,
        1 => PacketType::ZeroRtt,
        2 => PacketType::Handshake,
        _ => PacketType::Retry,
    }
}

/// The type bits of a first byte; the inverse of [`packet_type`].
pub(super) const fn type_bits(version: u32, kind: PacketType) -> u8 {
    let code: u8 = match kind {
        PacketType::Initial => 0,
        PacketType::ZeroRtt => 1,
        PacketType::Handshake => 2,
        PacketType::Retry | PacketType::VersionNegotiation | PacketType::OneRtt => 3,
    };
    (if version == VERSION_2 { code.wrapping_add(1) & 0x03 } else { code }) << 4
}

/// Writes version and connection ids, the part that all versions share. Ids longer than 255 bytes are cut.
pub(super) fn write_ids(writer: &mut Writer<'_>, version: u32, dcid: &[u8], scid: &[u8]) {
    writer.u32(version);
    for cid in [dcid, scid] {
        let len = u8::try_from(cid.len()).unwrap_or(u8::MAX);
        writer.u8(len);
        writer.bytes(cid.get(..usize::from(len)).unwrap_or_default());
    }
}

/// Sets the Length of a packet: bytes of packet number, payload and tag. `None`, and nothing changed, if it is above
/// 16383 or the packet is shorter than its header.
#[must_use]
pub fn patch_length(packet: &mut [u8], length_offset: usize, length: usize) -> Option<()> {
    let length = u16::try_from(length).ok().filter(|length| *length < 0x4000)?;
    let slot = packet.get_mut(length_offset..)?.first_chunk_mut::<2>()?;
    *slot = (length | 0x4000).to_be_bytes();
    Some(())
}
