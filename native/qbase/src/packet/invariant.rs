//! What every version's long header says (RFC 8999 §5.1).
//!
//! ```text
//! 1XXXXXXX · version (4) · DCID length (1) · DCID (0..=255) · SCID length (1) · SCID (0..=255) · the version's own
//! ```
//!
//! Called where a version is unknown: a Version Negotiation packet must echo both ids whatever their length (attacks A4).
//! Never interprets anything else.

use super::FORM;
use crate::Reader;

/// The version-independent part of a long header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvariantHeader<'a> {
    /// The first byte.
    pub first: u8,
    /// The version; 0 is a Version Negotiation packet.
    pub version: u32,
    /// Destination connection id, 0 to 255 bytes.
    pub dcid: &'a [u8],
    /// Source connection id, 0 to 255 bytes.
    pub scid: &'a [u8],
    /// What follows, by the rules of the version.
    pub rest: &'a [u8],
}

impl<'a> InvariantHeader<'a> {
    /// Reads a long header; `None` if it is short or cut.
    #[must_use]
    pub fn parse(packet: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(packet);
        let first = reader.u8().ok().filter(|first| first & FORM != 0)?;
        let version = reader.u32().ok()?;
        let len = reader.u8().ok()?;
        let dcid = reader.bytes(len.into()).ok()?;
        let len = reader.u8().ok()?;
        let scid = reader.bytes(len.into()).ok()?;
        Some(Self { first, version, dcid, scid, rest: reader.rest() })
    }
}
