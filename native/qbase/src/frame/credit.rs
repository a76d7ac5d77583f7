//! MAX_DATA, MAX_STREAM_DATA, MAX_STREAMS (RFC 9000 §19.9 to §19.11): what the peer may send.
//!
//! ```text
//! 0x10 MAX_DATA · maximum (i)
//! 0x11 MAX_STREAM_DATA · stream id (i) · maximum (i)
//! 0x12 MAX_STREAMS bidirectional, 0x13 unidirectional · maximum (i), at most 2^60
//! ```
//!
//! Called by the frame decoder and the flow control parts. Never compares with earlier credit.

use super::{malformed::Malformed, table};
use crate::{Direction, Reader, StreamId, Writer, varint};

/// Credit of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxData {
    /// Bytes the receiver may send on all streams together since the start.
    pub maximum: u64,
}

impl MaxData {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { maximum: reader.varint()? })
    }

    /// Bytes on the wire.
    #[must_use]
    pub fn size(&self) -> usize {
        varint::sizes([table::MAX_DATA, self.maximum])
    }

    /// Writes the frame.
    pub fn write(&self, writer: &mut Writer<'_>) {
        writer.varint(table::MAX_DATA);
        writer.varint(self.maximum);
    }
}

/// Credit of one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxStreamData {
    /// The stream.
    pub stream: StreamId,
    /// Bytes the receiver may send on it since its start.
    pub maximum: u64,
}

impl MaxStreamData {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { stream: StreamId(reader.varint()?), maximum: reader.varint()? })
    }

    /// Bytes on the wire.
    #[must_use]
    pub fn size(&self) -> usize {
        varint::sizes([table::MAX_STREAM_DATA, self.stream.0, self.maximum])
    }

    /// Writes the frame.
    pub fn write(&self, writer: &mut Writer<'_>) {
        writer.varint(table::MAX_STREAM_DATA);
        writer.varint(self.stream.0);
        writer.varint(self.maximum);
    }
}

/// Streams the receiver may open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxStreams {
    /// The kind of streams.
    pub direction: Direction,
    /// Streams of this kind since the start, 0 ..= 2^60.
    pub maximum: u64,
}

impl MaxStreams {
    pub(super) fn read(reader: &mut Reader<'_>, direction: Direction) -> Result<Self, Malformed> {
        Ok(Self { direction, maximum: super::stream_count(reader)? })
    }

    /// The type code of this direction.
    #[must_use]
    pub const fn frame_type(&self) -> u64 {
        match self.direction {
            Direction::Bidirectional => table::MAX_STREAMS_BIDI,
            Direction::Unidirectional => table::MAX_STREAMS_UNI,
        }
    }

    /// Bytes on the wire.
    #[must_use]
    pub fn size(&self) -> usize {
        varint::sizes([self.frame_type(), self.maximum])
    }

    /// Writes the frame.
    pub fn write(&self, writer: &mut Writer<'_>) {
        writer.varint(self.frame_type());
        writer.varint(self.maximum);
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
        check(&Frame::MaxData(MaxData { maximum: 1 << 20 }), &[0x10, 0x80, 0x10, 0x00, 0x00]);
        check(&Frame::MaxStreamData(MaxStreamData { stream, maximum: 63 }), &[0x11, 0x03, 0x3f]);
        let (bidi, uni) = (Direction::Bidirectional, Direction::Unidirectional);
        check(&Frame::MaxStreams(MaxStreams { direction: bidi, maximum: 100 }), &[0x12, 0x40, 0x64]);
        check(&Frame::MaxStreams(MaxStreams { direction: uni, maximum: 1 }), &[0x13, 0x01]);
    }

    #[test]
    fn more_than_2_60_streams_are_a_frame_encoding_error() {
        // attacks D9, RFC 9000 §19.11
        let most = MaxStreams { direction: Direction::Unidirectional, maximum: 1 << 60 };
        check(&Frame::MaxStreams(most), &[0x13, 0xd0, 0, 0, 0, 0, 0, 0, 0]);
        for frame_type in [0x12, 0x13] {
            refuse(&[frame_type, 0xd0, 0, 0, 0, 0, 0, 0, 1], ErrorCode::FRAME_ENCODING_ERROR);
        }
    }
}
