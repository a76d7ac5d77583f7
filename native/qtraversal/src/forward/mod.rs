//! The forward header: what stands before a QUIC datagram on its way through a relay (traversal §3, burst B-75 to B-79).
//!
//! ```text
//! byte 0:  0 1 1 r r r r r      r = low 5 bits of the first byte of the carried QUIC datagram
//! byte 1:  v v v v 1 f s d      v = version (0), f = 0 IPv4 / 1 IPv6, s = source is Agent, d = destination is Agent
//! source endpoint, destination endpoint, each 6/12 (v4) or 18/36 (v6) bytes; then the QUIC datagram to the end
//! ```
//!
//! | source -> destination | IPv4 | IPv6 |
//! |---|---|---|
//! | Direct -> Agent | 20 | 56 |
//! | Agent -> Agent | 26 | 74 |
//! | Agent -> Direct (received only) | 20 | 56 |
//!
//! Called by the burst writer (how much to reserve, what to put there), the classifier (strip) and the relay (route). It is
//! neither authenticated nor encrypted: it selects a path, and only a packet that decrypts may create one (T-23). Never nested:
//! what stands behind it is QUIC, whatever it looks like (attacks L27).

use qbase::{Reader, Writer, limits};

use crate::address::{
    Endpoint, Pathway, Unusable, check_pair,
    wire::{Family, Shape, read_endpoint, write_endpoint},
};

/// First byte: `011` and five bits of the carried datagram.
const MARK: u8 = 0b0110_0000;
const MARK_BITS: u8 = 0b1110_0000;
/// Second byte.
const VERSION_BITS: u8 = 0b1111_0000;
const MARKER: u8 = 0b0000_1000;
const IPV6: u8 = 0b0000_0100;
const SOURCE_AGENT: u8 = 0b0000_0010;
const DESTINATION_AGENT: u8 = 0b0000_0001;
/// Both.
const HEAD: usize = 2;

/// A forward header: from whom, to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ForwardHeader {
    /// The sender, as it knows itself.
    pub source: Endpoint,
    /// Whom it is for.
    pub destination: Endpoint,
}

/// A datagram with its forward header taken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stripped<'a> {
    /// The header.
    pub header: ForwardHeader,
    /// The QUIC datagram, at least one byte. Size rules of QUIC are about it, not about the whole (T-24, attacks G13).
    pub quic: &'a [u8],
}

/// Bytes to keep free before every segment of this pathway: 0 where the remote end is Direct (T-20, burst B-75).
#[must_use]
pub fn reserve(pathway: &Pathway) -> usize {
    ForwardHeader::of(pathway).map_or(0, |header| header.size())
}

impl ForwardHeader {
    /// The header of datagrams sent on this pathway; `None`: they have none (T-20).
    #[must_use]
    pub const fn of(pathway: &Pathway) -> Option<Self> {
        if !pathway.is_forwarded() {
            return None;
        }
        Some(Self { source: pathway.local, destination: pathway.remote })
    }

    /// The pathway of who receives it: flipped (T-22).
    #[must_use]
    pub const fn pathway(&self) -> Pathway {
        Pathway { local: self.destination, remote: self.source }
    }

    /// All addresses must be of one family; the source may be Direct or Agent, at least one of the two is Agent.
    ///
    /// # Errors
    /// Two families.
    pub fn check(&self) -> Result<(), Unusable> {
        for address in [self.source.outer(), self.destination.next_hop(), self.destination.outer()] {
            if Family::of(address) != self.family() {
                return Err(Unusable::Families);
            }
        }
        Ok(())
    }

    /// Of the sender's (first) address, and so of all.
    const fn family(&self) -> Family {
        Family::of(self.source.next_hop())
    }

    /// Bytes it takes: 14 to 74; from our senders 20, 26, 56 or 74.
    #[must_use]
    pub fn size(&self) -> usize {
        let family = self.family();
        let source = Shape::of(&self.source).size(family);
        let destination = Shape::of(&self.destination).size(family);
        HEAD.saturating_add(source).saturating_add(destination)
    }

    /// Takes the header off; `None`: the datagram has none and is QUIC's (T-11, T-21). Nothing but form is checked.
    #[must_use]
    pub fn strip(datagram: &[u8]) -> Option<Stripped<'_>> {
        let mut reader = Reader::new(datagram);
        let [first, second] = reader.array().ok()?;
        if first & MARK_BITS != MARK || second & VERSION_BITS != 0 || second & MARKER == 0 {
            return None;
        }
        let family = if second & IPV6 == 0 { Family::V4 } else { Family::V6 };
        let shape = |bit: u8| if second & bit == 0 { Shape::Direct } else { Shape::Agent };
        let source = read_endpoint(&mut reader, family, shape(SOURCE_AGENT)).ok()?;
        let destination = read_endpoint(&mut reader, family, shape(DESTINATION_AGENT)).ok()?;
        let quic = reader.take_rest();
        (!quic.is_empty()).then_some(Stripped { header: Self { source, destination }, quic })
    }

    /// The header's bytes, ready to stand before any datagram.
    ///
    /// # Errors
    /// Its addresses are of two families.
    pub fn stamp(&self) -> Result<Stamp, Unusable> {
        self.check()?;
        let mut bytes = [0; limits::FORWARD_HEADER];
        let mut writer = Writer::new(&mut bytes);
        let bit = |set: bool, bit: u8| if set { bit } else { 0 };
        writer.u8(MARK);
        writer.u8(
            MARKER
                | bit(self.family() == Family::V6, IPV6)
                | bit(self.source.is_relayed(), SOURCE_AGENT)
                | bit(self.destination.is_relayed(), DESTINATION_AGENT),
        );
        write_endpoint(&mut writer, &self.source);
        write_endpoint(&mut writer, &self.destination);
        let len = writer.len();
        Ok(Stamp { bytes, len })
    }
}

/// A header's bytes but for the five bits of the datagram behind it. Made once a path, put before every segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    bytes: [u8; limits::FORWARD_HEADER],
    len: usize,
}

/// The room before a segment does not fit the header, or nothing stands behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no room for the forward header, or nothing behind it")]
pub struct NoRoom;

impl Stamp {
    /// The stamp of a pathway; `None`: its datagrams have no header.
    ///
    /// # Errors
    /// What makes the pathway unusable (burst B-79a).
    pub fn of(pathway: &Pathway) -> Result<Option<Self>, Unusable> {
        check_pair(pathway.local.next_hop(), pathway.remote.next_hop())?;
        ForwardHeader::of(pathway).map(|header| header.stamp()).transpose()
    }

    /// Bytes it takes.
    #[must_use]
    pub const fn size(&self) -> usize {
        self.len
    }

    /// Fills the first [`Stamp::size`] bytes of a segment whose QUIC datagram, sealed, stands behind them (burst B-77).
    ///
    /// # Errors
    /// The segment ends before the QUIC datagram begins; nothing is written.
    pub fn fill(&self, segment: &mut [u8]) -> Result<(), NoRoom> {
        let (head, quic) = segment.split_at_mut_checked(self.len).ok_or(NoRoom)?;
        let first = quic.first().ok_or(NoRoom)?;
        head.copy_from_slice(self.bytes.get(..self.len).unwrap_or_default());
        if let Some(byte) = head.first_mut() {
            *byte |= first & !MARK_BITS;
        }
        Ok(())
    }

    /// [`Stamp::fill`] for every segment of a burst: all of `segment_len` bytes but the last, which may be shorter (burst B-78).
    ///
    /// # Errors
    /// One of the segments has no room; those before it are filled.
    pub fn fill_burst(&self, burst: &mut [u8], segment_len: usize) -> Result<(), NoRoom> {
        burst.chunks_mut(segment_len.max(1)).try_for_each(|segment| self.fill(segment))
    }
}

#[cfg(test)]
mod tests;
