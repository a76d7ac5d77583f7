//! DATA_BLOCKED, STREAM_DATA_BLOCKED, STREAMS_BLOCKED (RFC 9000 §19.12 to §19.14): the sender lacks credit.
//!
//! ```text
//! 0x14 DATA_BLOCKED · limit (i)
//! 0x15 STREAM_DATA_BLOCKED · stream id (i) · limit (i)
//! 0x16 STREAMS_BLOCKED bidirectional, 0x17 unidirectional · limit (i), at most 2^60
//! ```
//!
//! Called by the frame decoder and the flow control parts. Never asks for anything by itself: these frames inform.

use super::{malformed::Malformed, table};
use crate::{Direction, Reader, StreamId, Writer, varint};

/// The credit of the connection is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataBlocked {
    /// The limit that was reached, bytes.
    pub limit: u64,
}

impl DataBlocked {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { limit: reader.varint()? })
    }

    /// Bytes on the wire.
    #[must_use]
    pub fn size(&self) -> usize {
        varint::sizes([table::DATA_BLOCKED, self.limit])
    }

    /// Writes the frame.
    pub fn write(&self, writer: &mut Writer<'_>) {
        writer.varint(table::DATA_BLOCKED);
        writer.varint(self.limit);
    }
}

/// The credit of a stream is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamDataBlocked {
    /// The stream.
    pub stream: StreamId,
    /// The limit that was reached, bytes.
    pub limit: u64,
}

impl StreamDataBlocked {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { stream: StreamId(reader.varint()?), limit: reader.varint()? })
    }

    /// Bytes on the wire.
    #[must_use]
    pub fn size(&self) -> usize {
        varint::sizes([table::STREAM_DATA_BLOCKED, self.stream.0, self.limit])
    }

    /// Writes the frame.
    pub fn write(&self, writer: &mut Writer<'_>) {
        writer.varint(table::STREAM_DATA_BLOCKED);
        writer.varint(self.stream.0);
        writer.varint(self.limit);
    }
}

/// No more streams may be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamsBlocked {
    /// The kind of streams.
    pub direction: Direction,
    /// The limit that was reached, streams, 0 ..= 2^60.
    pub limit: u64,
}

impl StreamsBlocked {
    pub(super) fn read(reader: &mut Reader<'_>, direction: Direction) -> Result<Self, Malformed> {
        Ok(Self { direction, limit: super::stream_count(reader)? })
    }

    /// The type code of this direction.
    #[must_use]
    pub const fn frame_type(&self) -> u64 {
        match self.direction {
            Direction::Bidirectional => table::STREAMS_BLOCKED_BIDI,
            Direction::Unidirectional => table::STREAMS_BLOCKED_UNI,
        }
    }

    /// Bytes on the wire.
    #[must_use]
    pub fn size(&self) -> usize {
        varint::sizes([self.frame_type(), self.limit])
    }

    /// Writes the frame.
    pub fn write(&self, writer: &mut Writer<'_>) {
        writer.varint(self.frame_type());
        writer.varint(self.limit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ErrorCode,
        frame::{
            Frame,
            testing::{check, refuse},
        },
    };

    #[test]
    fn known_bytes_are_read_and_written() {
        let stream = StreamId(3);
        check(&Frame::DataBlocked(DataBlocked { limit: 1 << 20 }), &[0x14, 0x80, 0x10, 0x00, 0x00]);
        check(&Frame::StreamDataBlocked(StreamDataBlocked { stream, limit: 64 }), &[0x15, 0x03, 0x40, 0x40]);
        let (bidi, uni) = (Direction::Bidirectional, Direction::Unidirectional);
        check(&Frame::StreamsBlocked(StreamsBlocked { direction: bidi, limit: 100 }), &[0x16, 0x40, 0x64]);
        check(&Frame::StreamsBlocked(StreamsBlocked { direction: uni, limit: 1 }), &[0x17, 0x01]);
    }

    #[test]
    fn more_than_2_60_streams_are_a_frame_encoding_error() {
        // attacks D9, RFC 9000 §19.14
        for frame_type in [0x16, 0x17] {
            refuse(&[frame_type, 0xd0, 0, 0, 0, 0, 0, 0, 1], ErrorCode::FRAME_ENCODING_ERROR);
        }
    }
}
