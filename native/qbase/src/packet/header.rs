//! The header of a received packet, as far as it can be read without keys (RFC 9000 §17.2, §17.3).
//!
//! ```text
//! long   11TTRRPP · version (4) · DCID length (1) · DCID · SCID length (1) · SCID · …
//!        Initial:              token length (i) · token · length (i) · packet number …
//!        0-RTT, Handshake:     length (i) · packet number …
//!        Retry:                token · integrity tag (16)
//! short  01SRRKPP · DCID (as long as ours are) · packet number …
//! ```
//!
//! Called for every received packet. Never reads the bits that header protection hides (RR, K, PP, the number).

use super::{FIXED, FORM, InvariantHeader, MIN_PROTECTED, PacketError, PacketType, long};
use crate::{ConnectionId, Reader, VERSION_1, VERSION_2, limits::TAG_LEN};
use std::ops::Range;

/// A header that is still protected. All offsets count from the packet's first byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProtectedHeader {
    /// The kind of packet.
    pub kind: PacketType,
    /// The version: 0 in Version Negotiation; [`VERSION_1`] in short headers, which carry none.
    pub version: u32,
    /// Destination connection id.
    pub dcid: ConnectionId,
    /// Source connection id; empty in short headers.
    pub scid: ConnectionId,
    /// Where the token of an Initial or Retry stands; empty otherwise.
    pub token: Range<usize>,
    /// Where the packet number starts. In a Retry, the integrity tag; in Version Negotiation, the list of versions.
    pub pn_offset: usize,
    /// Where this packet ends and the next coalesced one starts.
    pub end: usize,
}

/// What the fixed bit of a packet may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FixedBit {
    /// 1; else the packet is dropped.
    Required,
    /// Anything: we announced `grease_quic_bit` (RFC 9287 §3).
    Ignored,
}

impl ProtectedHeader {
    /// Reads the header of the first packet in `rest`, the part of a datagram not yet consumed. Our connection ids have
    /// `local_cid_len` bytes, at most 20.
    ///
    /// # Errors
    /// The packet must be dropped; except for [`PacketError::UnknownVersion`], nothing is sent in return.
    #[inline]
    pub fn parse(rest: &[u8], local_cid_len: usize) -> Result<Self, PacketError> {
        Self::parse_with(rest, local_cid_len, FixedBit::Required)
    }

    /// As [`Self::parse`], with a choice about the fixed bit.
    ///
    /// # Errors
    /// See [`Self::parse`].
    #[inline]
    pub fn parse_with(rest: &[u8], local_cid_len: usize, fixed_bit: FixedBit) -> Result<Self, PacketError> {
        let header = Self::locate(rest, local_cid_len, fixed_bit)?;
        header.check_sample()?;
        Ok(header)
    }

    /// Finds the packet's bounds without asking whether it is long enough to be unprotected.
    #[inline]
    pub(super) fn locate(rest: &[u8], local_cid_len: usize, fixed_bit: FixedBit) -> Result<Self, PacketError> {
        let first = *rest.first().ok_or(PacketError::Truncated)?;
        if first & FORM != 0 {
            return Self::locate_long(rest, fixed_bit);
        }
        check_fixed_bit(first, fixed_bit)?;
        let mut reader = Reader::new(rest);
        reader.u8()?;
        let dcid = ConnectionId::new(reader.bytes(local_cid_len)?).ok_or(PacketError::CidTooLong)?;
        let pn_offset = reader.position();
        Ok(Self {
            kind: PacketType::OneRtt,
            version: VERSION_1,
            dcid,
            scid: ConnectionId::EMPTY,
            token: 0..0,
            pn_offset,
            end: rest.len(),
        })
    }

    fn locate_long(rest: &[u8], fixed_bit: FixedBit) -> Result<Self, PacketError> {
        let invariant = InvariantHeader::parse(rest).ok_or(PacketError::Truncated)?;
        let InvariantHeader { first, version, .. } = invariant;
        let kind = match version {
            0 => PacketType::VersionNegotiation,
            VERSION_1 | VERSION_2 => {
                check_fixed_bit(first, fixed_bit)?;
                long::packet_type(version, first)
            }
            _ => return Err(PacketError::UnknownVersion { version }),
        };
        let dcid = ConnectionId::new(invariant.dcid).ok_or(PacketError::CidTooLong)?;
        let scid = ConnectionId::new(invariant.scid).ok_or(PacketError::CidTooLong)?;
        let mut reader = Reader::new(rest);
        let start = rest.len().saturating_sub(invariant.rest.len());
        reader.bytes(start)?;
        let (token, pn_offset, end) = match kind {
            PacketType::VersionNegotiation | PacketType::OneRtt => (0..0, start, rest.len()),
            PacketType::Retry => retry_layout(start, rest.len())?,
            PacketType::Initial => {
                let token = reader.prefixed()?.len();
                let token_end = reader.position();
                let (pn_offset, end) = numbered_layout(&mut reader)?;
                (token_end.saturating_sub(token)..token_end, pn_offset, end)
            }
            PacketType::ZeroRtt | PacketType::Handshake => {
                let (pn_offset, end) = numbered_layout(&mut reader)?;
                (0..0, pn_offset, end)
            }
        };
        Ok(Self { kind, version, dcid, scid, token, pn_offset, end })
    }

    /// The packet has enough bytes to sample (attacks A7, A8).
    pub(super) fn check_sample(&self) -> Result<(), PacketError> {
        let protected = self.end.saturating_sub(self.pn_offset);
        if self.kind.level().is_some() && protected < MIN_PROTECTED { Err(PacketError::TooShort) } else { Ok(()) }
    }
}

/// The fixed bit is as it must be (RFC 9000 §17.2, attacks A9).
const fn check_fixed_bit(first: u8, fixed_bit: FixedBit) -> Result<(), PacketError> {
    match fixed_bit {
        FixedBit::Required if first & FIXED == 0 => Err(PacketError::FixedBitClear),
        FixedBit::Required | FixedBit::Ignored => Ok(()),
    }
}

/// Token and tag of a Retry: a token of at least one byte, then 16 bytes.
fn retry_layout(start: usize, len: usize) -> Result<(Range<usize>, usize, usize), PacketError> {
    let tag = len.checked_sub(TAG_LEN).filter(|tag| *tag >= start).ok_or(PacketError::Truncated)?;
    if tag == start { Err(PacketError::EmptyRetryToken) } else { Ok((start..tag, tag, len)) }
}

/// Reads Length: where the packet number and the end of the packet are. The varint may be longer than needed.
fn numbered_layout(reader: &mut Reader<'_>) -> Result<(usize, usize), PacketError> {
    let length = reader.varint()?;
    let pn_offset = reader.position();
    let length = usize::try_from(length).ok().filter(|length| *length <= reader.remaining());
    let end = length.and_then(|length| pn_offset.checked_add(length)).ok_or(PacketError::LengthTooLarge)?;
    Ok((pn_offset, end))
}
