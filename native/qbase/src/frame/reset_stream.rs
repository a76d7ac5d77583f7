//! RESET_STREAM (RFC 9000 §19.4): the sender gives up a stream.
//!
//! ```text
//! type 0x04 · stream id (i) · application error code (i) · final size (i)
//! ```
//!
//! Called by the frame decoder and the stream parts. Never checks stream states.

use super::{malformed::Malformed, table};
use crate::{Reader, StreamId, Writer, varint};

/// The sending part of a stream ends without all its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResetStream {
    /// The stream.
    pub stream: StreamId,
    /// Why, in the application's codes, 0 ..= 2^62-1.
    pub code: u64,
    /// Bytes of the stream that count for flow control (RFC 9000 §4.5).
    pub final_size: u64,
}

impl ResetStream {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { stream: StreamId(reader.varint()?), code: reader.varint()?, final_size: reader.varint()? })
    }

    /// Bytes on the wire.
    #[must_use]
    pub fn size(&self) -> usize {
        varint::sizes([table::RESET_STREAM, self.stream.0, self.code, self.final_size])
    }

    /// Writes the frame.
    pub fn write(&self, writer: &mut Writer<'_>) {
        writer.varint(table::RESET_STREAM);
        writer.varint(self.stream.0);
        writer.varint(self.code);
        writer.varint(self.final_size);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Frame, testing::check};

    #[test]
    fn known_bytes_are_read_and_written() {
        let frame = ResetStream { stream: StreamId(4), code: 0x100, final_size: 1_000_000 };
        check(&Frame::ResetStream(frame), &[0x04, 0x04, 0x41, 0x00, 0x80, 0x0f, 0x42, 0x40]);
    }
}
