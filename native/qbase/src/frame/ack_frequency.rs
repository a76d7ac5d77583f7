//! ACK_FREQUENCY (draft-ietf-quic-ack-frequency §4). IMMEDIATE_ACK (§5) is its type alone.
//!
//! ```text
//! 0xaf · sequence number (i) · ack-eliciting threshold (i) · requested max ack delay, microseconds (i) · reordering threshold (i)
//! ```
//!
//! Called by the frame decoder and the connection. Never decides whether a delay is acceptable.

use super::{malformed::Malformed, table};
use crate::{Reader, Writer, varint};

/// A sender's wish for other acknowledgements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AckFrequency {
    /// Number of the wish, rising: older ones are ignored.
    pub sequence: u64,
    /// Ack-eliciting packets that may wait without an acknowledgement.
    pub threshold: u64,
    /// Longest an acknowledgement may wait, microseconds.
    pub max_ack_delay_micros: u64,
    /// Packets later than a missing one that make an acknowledgement due; 0: none do.
    pub reordering: u64,
}

impl AckFrequency {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            sequence: reader.varint()?,
            threshold: reader.varint()?,
            max_ack_delay_micros: reader.varint()?,
            reordering: reader.varint()?,
        })
    }

    /// Bytes on the wire.
    #[must_use]
    pub fn size(&self) -> usize {
        varint::sizes([table::ACK_FREQUENCY, self.sequence, self.threshold, self.max_ack_delay_micros, self.reordering])
    }

    /// Writes the frame.
    pub fn write(&self, writer: &mut Writer<'_>) {
        for number in [table::ACK_FREQUENCY, self.sequence, self.threshold, self.max_ack_delay_micros, self.reordering] {
            writer.varint(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Frame, testing::check};

    #[test]
    fn known_bytes_are_read_and_written() {
        let wish = AckFrequency { sequence: 1, threshold: 10, max_ack_delay_micros: 25_000, reordering: 3 };
        check(&Frame::AckFrequency(wish), &[0x40, 0xaf, 0x01, 0x0a, 0x80, 0x00, 0x61, 0xa8, 0x03]);
        check(&Frame::ImmediateAck, &[0x1f]);
    }
}
