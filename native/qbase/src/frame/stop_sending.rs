//! STOP_SENDING (RFC 9000 §19.5): the receiver asks the sender to give up a stream.
//!
//! ```text
//! type 0x05 · stream id (i) · application error code (i)
//! ```
//!
//! Called by the frame decoder and the stream parts. Never checks stream states.

use super::{malformed::Malformed, table};
use crate::{Reader, StreamId, Writer, varint};

/// Incoming bytes of a stream are discarded; please stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StopSending {
    /// The stream.
    pub stream: StreamId,
    /// Why, in the application's codes, 0 ..= 2^62-1.
    pub code: u64,
}

impl StopSending {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { stream: StreamId(reader.varint()?), code: reader.varint()? })
    }

    /// Bytes on the wire.
    #[must_use]
    pub fn size(&self) -> usize {
        varint::sizes([table::STOP_SENDING, self.stream.0, self.code])
    }

    /// Writes the frame.
    pub fn write(&self, writer: &mut Writer<'_>) {
        writer.varint(table::STOP_SENDING);
        writer.varint(self.stream.0);
        writer.varint(self.code);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Frame, testing::check};

    #[test]
    fn known_bytes_are_read_and_written() {
        check(&Frame::StopSending(StopSending { stream: StreamId(70), code: 9 }), &[0x05, 0x40, 0x46, 0x09]);
    }
}
