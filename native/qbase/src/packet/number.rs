//! Packet numbers in headers: their last 1 to 4 bytes (RFC 9000 §17.1, appendices A.2 and A.3).
//!
//! Called by the packet builder (how many bytes) and the receive path (which number is meant). Never knows keys.

use crate::{PacketNumber, Writer, varint};

/// Bytes needed for `pn` when `largest_acked` is the largest number of its space that the peer acknowledged: 1 to 4.
///
/// They can hold more than twice the distance, so that the peer decodes the number whatever arrives before it.
#[must_use]
pub fn encoded_len(pn: PacketNumber, largest_acked: Option<PacketNumber>) -> usize {
    let unacknowledged = match largest_acked {
        Some(largest) => pn.saturating_sub(largest),
        None => pn.saturating_add(1),
    };
    match unacknowledged {
        0..0x80 => 1,
        0x80..0x8000 => 2,
        0x8000..0x80_0000 => 3,
        _ => 4,
    }
}

/// The number meant by its last `len` (1 to 4) bytes when `largest_received` is the largest authenticated one of its space:
/// the one nearest to the number expected next.
#[must_use]
pub fn decode(truncated: u64, len: usize, largest_received: Option<PacketNumber>) -> PacketNumber {
    let window = match len {
        ..=1 => 1_u64 << 8,
        2 => 1 << 16,
        3 => 1 << 24,
        _ => 1 << 32,
    };
    let mask = window.saturating_sub(1);
    let half = window >> 1;
    let expected = largest_received.map_or(0, |largest| largest.saturating_add(1));
    let candidate = expected & !mask | truncated & mask;
    let above = candidate.saturating_add(window);
    if expected >= half && candidate <= expected.saturating_sub(half) && above <= varint::MAX {
        above
    } else if candidate > expected.saturating_add(half) {
        candidate.checked_sub(window).unwrap_or(candidate)
    } else {
        candidate
    }
}

/// The number that stands in `packet`, as far as it is written there.
#[must_use]
pub fn read(packet: &[u8], pn_offset: usize, len: usize) -> Option<u64> {
    let bytes = packet.get(pn_offset..)?.get(..len)?;
    Some(bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

/// Puts the last `len` (1 to 4) bytes of a number.
pub(super) fn write(writer: &mut Writer<'_>, pn: PacketNumber, len: usize) {
    let [.., a, b, c, d] = pn.to_be_bytes();
    match len {
        ..=1 => writer.u8(d),
        2 => writer.bytes(&[c, d]),
        3 => writer.bytes(&[b, c, d]),
        _ => writer.bytes(&[a, b, c, d]),
    }
}

/// The length as it stands in the first byte.
pub(super) const fn len_bits(len: usize) -> u8 {
    match len {
        ..=1 => 0,
        2 => 1,
        3 => 2,
        _ => 3,
    }
}
