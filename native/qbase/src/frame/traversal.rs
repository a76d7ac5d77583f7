//! Types of the frames about NATs: code, name, packets that may carry it, how it counts (traversal §5, T-66, T-100, T-102;
//! draft-ietf-quic-address-discovery §4).
//!
//! Called by the frame table. Their bytes are read by `qtraversal`, whose profiles own them: a connection asks it first for types
//! of four bytes, where such frames were negotiated. Never looks at a frame's fields.

use super::table::{Extension, FrameType};

/// All of them, by rising code. Profile `dquic`, address discovery, profile `braid`.
pub static TABLE: [FrameType; 11] = [
    FrameType::traversal(0x3d_7e90, "ADD_ADDRESS", Extension::TraversalDquic).up_to(0x3d_7e91),
    FrameType::traversal(0x3d_7e92, "PUNCH_ME_NOW", Extension::TraversalDquic).up_to(0x3d_7e93),
    FrameType::traversal(0x3d_7e94, "REMOVE_ADDRESS", Extension::TraversalDquic),
    FrameType::traversal(0x3d_7e95, "PUNCH_HELLO", Extension::TraversalDquic).not_ack_eliciting().probing(),
    FrameType::traversal(0x3d_7e96, "PUNCH_DONE", Extension::TraversalDquic).probing(),
    FrameType::traversal(0x9f_81a6, "OBSERVED_ADDRESS", Extension::AddressDiscovery).up_to(0x9f_81a7).probing(),
    FrameType::traversal(0x21b3_a1d0, "ADD_ADDRESS", Extension::TraversalBraid).up_to(0x21b3_a1d1),
    FrameType::traversal(0x21b3_a1d2, "PUNCH_ME_NOW", Extension::TraversalBraid).up_to(0x21b3_a1d3),
    FrameType::traversal(0x21b3_a1d4, "REMOVE_ADDRESS", Extension::TraversalBraid),
    FrameType::traversal(0x21b3_a1d5, "PUNCH_HELLO", Extension::TraversalBraid).not_ack_eliciting().probing(),
    FrameType::traversal(0x21b3_a1d6, "PUNCH_DONE", Extension::TraversalBraid).probing(),
];

/// The first byte of a payload may begin a type of four bytes, as all of these are.
#[must_use]
#[inline]
pub const fn may_begin(first: u8) -> bool {
    first & 0xc0 == 0x80
}

/// The row of a type code; `None` for other types.
#[must_use]
pub fn spec(frame_type: u64) -> Option<&'static FrameType> {
    let row = TABLE.partition_point(|row| row.last < frame_type);
    TABLE.get(row).filter(|row| row.first <= frame_type)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EncryptionLevel, frame::table, varint};

    /// traversal T-66, T-102 and the table of section 5: packets, acknowledgements, probing frames.
    #[test]
    fn every_type_has_four_bytes_and_goes_in_0rtt_and_1rtt_packets_alone() {
        for row in &TABLE {
            for code in row.first..=row.last {
                assert_eq!(varint::size(code), 4, "{code:#x}");
                assert!(may_begin((code >> 24) as u8 | 0x80));
                assert_eq!(table::spec(code), Some(row));
            }
            let levels = [EncryptionLevel::Initial, EncryptionLevel::Handshake, EncryptionLevel::ZeroRtt, EncryptionLevel::OneRtt];
            assert_eq!(levels.map(|level| row.allows(level)), [false, false, true, true], "{}", row.name);
            assert_eq!(row.ack_eliciting, row.name != "PUNCH_HELLO");
            assert_eq!(row.probing, ["PUNCH_HELLO", "PUNCH_DONE", "OBSERVED_ADDRESS"].contains(&row.name));
        }
        assert!(TABLE.is_sorted_by_key(|row| row.first));
        assert_eq!((table::spec(0x3d_7e97), table::spec(0x3d_7e8f), table::spec(0x9f_81a8)), (None, None, None));
    }
}
