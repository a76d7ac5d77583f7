//! ACK (RFC 9000 §19.3) and PATH_ACK (draft-ietf-quic-multipath-21 §4.1, multipath MP-36).
//!
//! ```text
//! type      0x02 ACK, 0x03 ACK + ECN, 0x3e PATH_ACK, 0x3f PATH_ACK + ECN
//! [path id] (i)   0x3e and 0x3f only
//! largest   (i)   largest packet number acknowledged
//! delay     (i)   microseconds >> ack_delay_exponent of the sender
//! count     (i)   ranges after the first
//! first     (i)   packets before `largest` in the first range
//! { gap (i), length (i) } * count    next largest = smallest - gap - 2
//! [ECT(0) (i), ECT(1) (i), CE (i)]   0x03 and 0x3f only
//! ```
//!
//! Called by the frame decoder (read), by loss recovery (iterates the ranges) and by the packet builder ([`write()`]).
//! Never knows which numbers were sent and never allocates.

use super::{malformed::Malformed, table};
use crate::{PacketNumber, PathId, Reader, Writer, varint};
use std::ops::RangeInclusive;

/// An acknowledgement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack<'a> {
    /// The path id whose packet numbers are acknowledged; `None` in a plain ACK (the packet's own space).
    pub path: Option<PathId>,
    /// Largest packet number acknowledged.
    pub largest: PacketNumber,
    /// ACK Delay as it stands on the wire: microseconds divided by 2^`ack_delay_exponent` of the peer.
    pub delay: u64,
    /// What is acknowledged, from `largest` downwards; at least one range.
    pub ranges: AckRanges<'a>,
    /// Packets received per ECN mark in this space, if the peer reports them.
    pub ecn: Option<EcnCounts>,
}

/// Packets of one packet number space received with each ECN mark since the start (RFC 9000 §19.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct EcnCounts {
    /// Packets with ECT(0).
    pub ect0: u64,
    /// Packets with ECT(1).
    pub ect1: u64,
    /// Packets with ECN-CE.
    pub ce: u64,
}

impl EcnCounts {
    fn size(&self) -> usize {
        varint::sizes([self.ect0, self.ect1, self.ce])
    }
}

/// Iterator over acknowledged packet numbers: disjoint ranges, descending, with at least one number between two of them.
///
/// The encoding was checked when the frame was decoded, so every range is sound: no number below 0.
#[derive(Clone, Debug)]
pub struct AckRanges<'a> {
    /// The range to yield next; `None` after the last.
    next: Option<(PacketNumber, PacketNumber)>,
    /// Encoded `{ gap, length }` pairs after it.
    pairs: &'a [u8],
}

impl AckRanges<'_> {
    /// A single range; what an ACK without gaps carries.
    #[must_use]
    pub const fn one(range: &RangeInclusive<PacketNumber>) -> Self {
        Self { next: Some((*range.start(), *range.end())), pairs: &[] }
    }
}

impl PartialEq for AckRanges<'_> {
    /// The same packet numbers, however they are encoded.
    fn eq(&self, other: &Self) -> bool {
        self.clone().eq(other.clone())
    }
}

impl Eq for AckRanges<'_> {}

impl Iterator for AckRanges<'_> {
    type Item = RangeInclusive<PacketNumber>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let (smallest, largest) = self.next.take()?;
        if !self.pairs.is_empty() {
            let mut reader = Reader::new(self.pairs);
            self.next = range_below(&mut reader, smallest).ok();
            self.pairs = reader.rest();
        }
        Some(smallest..=largest)
    }
}

/// Reads one `{ gap, length }` pair: the range below `smallest`.
#[inline]
fn range_below(reader: &mut Reader<'_>, smallest: PacketNumber) -> Result<(PacketNumber, PacketNumber), Malformed> {
    let gap = reader.varint()?;
    let length = reader.varint()?;
    let below = smallest.checked_sub(gap).and_then(|number| number.checked_sub(2));
    let largest = below.ok_or(Malformed::Encoding("a gap reaches below packet number 0"))?;
    let smallest = largest.checked_sub(length).ok_or(Malformed::Encoding("a range reaches below packet number 0"))?;
    Ok((smallest, largest))
}

impl<'a> Ack<'a> {
    /// Reads what follows the type. Work is linear in the bytes read, whatever the count says.
    #[inline]
    pub(super) fn read(reader: &mut Reader<'a>, frame_type: u64) -> Result<Self, Malformed> {
        let path = match frame_type {
            table::PATH_ACK | table::PATH_ACK_ECN => Some(super::path_id(reader)?),
            _ => None,
        };
        let largest = reader.varint()?;
        let delay = reader.varint()?;
        let count = reader.varint()?;
        let first = reader.varint()?;
        let smallest =
            largest.checked_sub(first).ok_or(Malformed::Encoding("a range reaches below packet number 0"))?;
        let ranges = AckRanges { next: Some((smallest, largest)), pairs: read_pairs(reader, count, smallest)? };
        let ecn = match frame_type {
            table::ACK_ECN | table::PATH_ACK_ECN => {
                Some(EcnCounts { ect0: reader.varint()?, ect1: reader.varint()?, ce: reader.varint()? })
            }
            _ => None,
        };
        Ok(Self { path, largest, delay, ranges, ecn })
    }

    /// The type code [`Ack::write`] uses.
    #[must_use]
    pub const fn frame_type(&self) -> u64 {
        type_of(self.path, self.ecn.as_ref())
    }

    /// Bytes on the wire with every range in its shortest encoding.
    #[must_use]
    pub fn size(&self) -> usize {
        let mut ranges = self.ranges.clone();
        let Some((mut smallest, largest)) = ranges.next().map(RangeInclusive::into_inner) else { return 0 };
        let mut size = varint::size(largest.saturating_sub(smallest));
        let mut count: u64 = 0;
        for (start, end) in ranges.map(RangeInclusive::into_inner) {
            let gap = smallest.saturating_sub(end).saturating_sub(2);
            size = size.saturating_add(varint::sizes([gap, end.saturating_sub(start)]));
            count = count.saturating_add(1);
            smallest = start;
        }
        size.saturating_add(varint::size(count)).saturating_add(head_size(
            self.path,
            self.largest,
            self.delay,
            self.ecn.as_ref(),
        ))
    }

    /// Writes the frame with every range in its shortest encoding.
    pub fn write(&self, writer: &mut Writer<'_>) {
        let size = self.size();
        if writer.remaining() < size {
            // Refused as a whole and remembered by the writer, as every write without room.
            writer.zeros(size);
            return;
        }
        write(writer, self.path, self.ranges.clone(), self.delay, self.ecn, size);
    }
}

/// Checks `count` pairs and returns their bytes.
#[inline]
fn read_pairs<'a>(reader: &mut Reader<'a>, count: u64, mut smallest: PacketNumber) -> Result<&'a [u8], Malformed> {
    if count == 0 {
        return Ok(&[]);
    }
    let all = reader.rest();
    // A pair takes two bytes or more: a count that cannot be true costs nothing.
    if count > (all.len() / 2) as u64 {
        return Err(Malformed::Truncated);
    }
    for _ in 0..count {
        (smallest, _) = range_below(reader, smallest)?;
    }
    let used = all.len().saturating_sub(reader.remaining());
    Ok(all.get(..used).unwrap_or_default())
}

const fn type_of(path: Option<PathId>, ecn: Option<&EcnCounts>) -> u64 {
    match (path, ecn) {
        (None, None) => table::ACK,
        (None, Some(_)) => table::ACK_ECN,
        (Some(_), None) => table::PATH_ACK,
        (Some(_), Some(_)) => table::PATH_ACK_ECN,
    }
}

/// Bytes of everything but the count and the ranges.
fn head_size(path: Option<PathId>, largest: PacketNumber, delay: u64, ecn: Option<&EcnCounts>) -> usize {
    varint::sizes([type_of(path, ecn), largest, delay])
        .saturating_add(path.map_or(0, |path| varint::size(path.0.into())))
        .saturating_add(ecn.map_or(0, EcnCounts::size))
}

/// What [`write()`] put into the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Largest packet number acknowledged.
    pub largest: PacketNumber,
    /// Smallest packet number acknowledged: ranges below it did not fit or do not exist.
    pub smallest: PacketNumber,
    /// Ranges written.
    pub ranges: usize,
}

/// Largest count of further ranges that a one-byte varint holds, and a two-byte one.
const COUNT_1: u16 = 63;
const COUNT_2: u16 = 16_383;

/// Writes an ACK (`path` is `None`) or PATH_ACK with as many of `ranges`, newest first, as fit into `max_size` bytes
/// and the writer. `delay` is already divided by our exponent.
///
/// `ranges` are descending and disjoint with a gap between two of them; the first that breaks this ends the frame.
/// `None`, and nothing written, if there is no range or no room for the first.
pub fn write(
    writer: &mut Writer<'_>,
    path: Option<PathId>,
    mut ranges: impl Iterator<Item = RangeInclusive<PacketNumber>>,
    delay: u64,
    ecn: Option<EcnCounts>,
    max_size: usize,
) -> Option<Written> {
    let (mut smallest, largest) = ranges.next()?.into_inner();
    let first = largest.checked_sub(smallest)?;
    let needed = head_size(path, largest, delay, ecn.as_ref()).saturating_add(varint::sizes([0, first]));
    let mut room = max_size.min(writer.remaining()).checked_sub(needed)?;

    writer.varint(type_of(path, ecn.as_ref()));
    if let Some(path) = path {
        writer.varint(path.0.into());
    }
    writer.varint(largest);
    writer.varint(delay);
    let count_offset = writer.len();
    writer.u8(0);
    writer.varint(first);
    let mut count: u16 = 0;
    for (start, end) in ranges.map(RangeInclusive::into_inner) {
        let gap = smallest.checked_sub(end).and_then(|distance| distance.checked_sub(2));
        let (Some(gap), Some(length)) = (gap, end.checked_sub(start)) else { break };
        let wider_count = usize::from(count == COUNT_1);
        let Some(left) = room.checked_sub(varint::sizes([gap, length]).saturating_add(wider_count)) else { break };
        if count == COUNT_2 {
            break;
        }
        writer.varint(gap);
        writer.varint(length);
        room = left;
        count = count.saturating_add(1);
        smallest = start;
    }
    patch_count(writer, count_offset, count);
    if let Some(EcnCounts { ect0, ect1, ce }) = ecn {
        writer.varint(ect0);
        writer.varint(ect1);
        writer.varint(ce);
    }
    Some(Written { largest, smallest, ranges: usize::from(count).saturating_add(1) })
}

/// Sets the count, for which one byte was left; a wider one pushes the ranges behind it up by a byte.
fn patch_count(writer: &mut Writer<'_>, offset: usize, count: u16) {
    if count > COUNT_1 {
        writer.u8(0);
    }
    let Some(from_count) = writer.written_mut().get_mut(offset..) else { return };
    if count > COUNT_1 {
        from_count.rotate_right(1);
        if let Some(slot) = from_count.first_chunk_mut::<2>() {
            *slot = (count | 0x4000).to_be_bytes();
        }
    } else if let Some(slot) = from_count.first_mut() {
        *slot = count as u8;
    }
}

#[cfg(test)]
mod tests;
