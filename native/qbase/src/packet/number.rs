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
    } else if candidate > expected.saturating_add(half) || candidate > varint::MAX {
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_examples_of_rfc_9000_appendix_a2_take_2_and_3_bytes() {
        assert_eq!(encoded_len(0xac_5c02, Some(0xab_e8b3)), 2);
        assert_eq!(encoded_len(0xac_e8fe, Some(0xab_e8b3)), 3);
    }

    #[test]
    fn the_example_of_rfc_9000_appendix_a3_is_decoded() {
        assert_eq!(decode(0x9b32, 2, Some(0xa82f_30ea)), 0xa82f_9b32);
    }

    #[test]
    fn a_length_holds_more_than_twice_the_distance() {
        // RFC 9000 §17.1
        for (distance, len) in [(1, 1), (127, 1), (128, 2), (32_767, 2), (32_768, 3), (8_388_607, 3), (8_388_608, 4)] {
            assert_eq!(encoded_len(1_000 + distance, Some(1_000)), len, "{distance}");
            assert_eq!(encoded_len(distance - 1, None), len, "before an acknowledgement the whole number: {distance}");
        }
        assert_eq!(encoded_len(varint::MAX, Some(0)), 4);
        assert_eq!(encoded_len(5, Some(9)), 1, "a nonsensical order is no reason to panic");
    }

    #[test]
    fn attack_a22_numbers_at_the_edges_of_the_window_are_decoded() {
        // Window of one byte around the expected number 0x200: 0x181 to 0x280.
        for (truncated, number) in [(0x00, 0x200), (0xff, 0x1ff), (0x80, 0x280), (0x81, 0x181), (0x7f, 0x27f)] {
            assert_eq!(decode(truncated, 1, Some(0x1ff)), number, "{truncated:#x}");
        }
        // Below 0 and above 2^62-1 there are no numbers.
        assert_eq!(decode(0xff, 1, None), 0xff);
        assert_eq!(decode(0xff, 1, Some(3)), 0xff);
        assert_eq!(decode(0xff, 1, Some(varint::MAX)), varint::MAX);
        assert_eq!(decode(0x00, 1, Some(varint::MAX)), varint::MAX - 0xff, "not 2^62");
        let _does_not_panic = decode(0x05, 4, Some(u64::MAX));
    }

    /// The number congruent to `truncated` that is nearest to the expected one; of two equally near ones the larger.
    fn nearest(truncated: u64, len: usize, largest: Option<u64>) -> u64 {
        let window = 1_i128 << (8 * len);
        let expected = largest.map_or(0, |largest| i128::from(largest) + 1);
        let around = expected / window * window + i128::from(truncated);
        let candidates = [around - window, around, around + window];
        let real = candidates.into_iter().filter(|number| (0..1 << 62).contains(number));
        real.min_by_key(|number| ((number - expected).abs(), -number)).unwrap() as u64
    }

    proptest! {
        #[test]
        fn the_number_nearest_to_the_expected_one_is_meant(
            largest in prop_oneof![0..=varint::MAX, 0..100_000_u64, varint::MAX - 100_000..=varint::MAX, Just(varint::MAX)],
            has_largest in any::<bool>(),
            truncated in any::<u32>(),
            len in 1..=4_usize,
        ) {
            let largest = has_largest.then_some(largest);
            let truncated = u64::from(truncated) & (u64::MAX >> (64 - 8 * len));
            prop_assert_eq!(decode(truncated, len, largest), nearest(truncated, len, largest));
        }

        #[test]
        fn a_number_is_decoded_by_whoever_received_anything_since_the_largest_acknowledged(
            pn in 0..=varint::MAX,
            distance in prop_oneof![1..300_u64, 1..70_000_u64, 1..0x7fff_ffff_u64],
            seen in any::<prop::sample::Index>(),
        ) {
            let acked = pn.checked_sub(distance);
            let len = encoded_len(pn, acked);
            let truncated = pn & (u64::MAX >> (64 - 8 * len));
            if let Some(acked) = acked {
                let largest = acked + seen.index(distance as usize) as u64;
                prop_assert_eq!(decode(truncated, len, Some(largest)), pn);
                // Also after as many later packets as are outstanding (RFC 9000 §17.1, reordering).
                let later = (pn + distance - 1).min(varint::MAX);
                prop_assert_eq!(decode(truncated, len, Some(later)), pn);
            } else if pn < 0x7fff_ffff {
                prop_assert_eq!(truncated, pn, "before an acknowledgement the whole number is sent");
                prop_assert_eq!(decode(truncated, len, None), pn);
            }
        }

        #[test]
        fn the_last_bytes_are_written_and_read(pn in 0..=varint::MAX, len in 1..=4_usize) {
            let mut buffer = [0; 4];
            let mut writer = Writer::new(&mut buffer);
            write(&mut writer, pn, len);
            prop_assert_eq!(writer.len(), len);
            prop_assert_eq!(usize::from(len_bits(len)), len - 1);
            prop_assert_eq!(read(writer.written(), 0, len), Some(pn & (u64::MAX >> (64 - 8 * len))));
            prop_assert_eq!(read(writer.written(), 1, len), None);
        }
    }
}
