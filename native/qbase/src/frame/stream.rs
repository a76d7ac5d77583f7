//! STREAM (RFC 9000 §19.8): bytes of a stream.
//!
//! ```text
//! type 0b00001XXX: 0x04 OFF, 0x02 LEN, 0x01 FIN
//! stream id (i) · [offset (i)] · [length (i)] · data (without LEN: to the end of the packet)
//! ```
//!
//! Called by the frame decoder and the packet builder ([`write_header`], then the bytes straight into the packet).
//! Never checks stream states or credit.

use super::{malformed::Malformed, table};
use crate::{Reader, StreamId, Writer, varint};

/// A piece of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream<'a> {
    /// The stream.
    pub stream: StreamId,
    /// Where `data` starts in the stream, bytes. `offset + data.len()` is at most 2^62-1.
    pub offset: u64,
    /// The stream ends with the last byte of `data`.
    pub fin: bool,
    /// The bytes; may be empty.
    pub data: &'a [u8],
}

/// Whether a STREAM frame ends its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fin {
    /// More may follow.
    No,
    /// The stream ends with this frame.
    Yes,
}

impl From<bool> for Fin {
    fn from(fin: bool) -> Self {
        if fin { Self::Yes } else { Self::No }
    }
}

const FIN: u64 = 0x01;
const LEN: u64 = 0x02;
const OFF: u64 = 0x04;

impl<'a> Stream<'a> {
    #[inline]
    pub(super) fn read(reader: &mut Reader<'a>, frame_type: u64) -> Result<Self, Malformed> {
        let stream = StreamId(reader.varint()?);
        let offset = if frame_type & OFF == 0 { 0 } else { reader.varint()? };
        let data = if frame_type & LEN == 0 { reader.take_rest() } else { reader.prefixed()? };
        super::check_end(offset, data)?;
        Ok(Self { stream, offset, fin: frame_type & FIN != 0, data })
    }

    /// Bytes before the data. `len` is the length to be written; `None` for a frame that extends to the packet's end.
    #[must_use]
    pub fn header_size(stream: StreamId, offset: u64, len: Option<usize>) -> usize {
        varint::sizes([table::STREAM, stream.0])
            .saturating_add(if offset == 0 { 0 } else { varint::size(offset) })
            .saturating_add(len.map_or(0, |len| varint::size(len as u64)))
    }

    /// The type code [`Stream::write`] uses: always with a length.
    #[must_use]
    pub fn frame_type(&self) -> u64 {
        type_of(self.offset, self.fin.into(), Some(self.data.len()))
    }

    /// Bytes on the wire with a length.
    #[must_use]
    pub fn size(&self) -> usize {
        let len = self.data.len();
        Self::header_size(self.stream, self.offset, Some(len)).saturating_add(len)
    }

    /// Writes the frame with a length.
    pub fn write(&self, writer: &mut Writer<'_>) {
        write_header(writer, self.stream, self.offset, self.fin.into(), Some(self.data.len()));
        writer.bytes(self.data);
    }
}

const fn type_of(offset: u64, fin: Fin, len: Option<usize>) -> u64 {
    let off = if offset == 0 { 0 } else { OFF };
    let len = if len.is_some() { LEN } else { 0 };
    let fin = if matches!(fin, Fin::Yes) { FIN } else { 0 };
    table::STREAM | off | len | fin
}

/// Writes everything before the data. With `len` `None` the data extends to the end of the packet, so it must be the
/// packet's last frame.
#[inline]
pub fn write_header(writer: &mut Writer<'_>, stream: StreamId, offset: u64, fin: Fin, len: Option<usize>) {
    writer.varint(type_of(offset, fin, len));
    writer.varint(stream.0);
    if offset != 0 {
        writer.varint(offset);
    }
    if let Some(len) = len {
        writer.varint(len as u64);
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

    fn stream(offset: u64, fin: Fin, data: &[u8]) -> Stream<'_> {
        Stream { stream: StreamId(4), offset, fin: fin == Fin::Yes, data }
    }

    #[test]
    fn known_bytes_are_read_and_written_for_every_combination_of_flags() {
        // With a length: what `write` makes.
        check(&Frame::Stream(stream(0, Fin::No, b"ab")), b"\x0a\x04\x02ab");
        check(&Frame::Stream(stream(0, Fin::Yes, b"ab")), b"\x0b\x04\x02ab");
        check(&Frame::Stream(stream(100, Fin::No, b"ab")), b"\x0e\x04\x40\x64\x02ab");
        check(&Frame::Stream(stream(100, Fin::Yes, b"")), b"\x0f\x04\x40\x64\x00");
        // Without: to the end of the packet.
        for (bytes, frame) in [
            (b"\x08\x04ab".as_slice(), stream(0, Fin::No, b"ab")),
            (b"\x09\x04ab", stream(0, Fin::Yes, b"ab")),
            (b"\x0c\x04\x40\x64ab", stream(100, Fin::No, b"ab")),
            (b"\x0d\x04\x40\x64", stream(100, Fin::Yes, b"")),
        ] {
            assert_eq!(Frame::decode(&mut Reader::new(bytes)), Ok(Frame::Stream(frame)));
            let mut buffer = [0; 16];
            let mut writer = Writer::new(&mut buffer);
            write_header(&mut writer, frame.stream, frame.offset, frame.fin.into(), None);
            assert_eq!(writer.len(), Stream::header_size(frame.stream, frame.offset, None));
            writer.bytes(frame.data);
            assert_eq!(writer.written(), bytes);
        }
    }

    #[test]
    fn an_explicit_offset_of_zero_is_read() {
        assert_eq!(
            Frame::decode(&mut Reader::new(b"\x0e\x04\x00\x02ab")),
            Ok(Frame::Stream(stream(0, Fin::No, b"ab")))
        );
    }

    #[test]
    fn a_header_cut_short_is_refused_also_without_length() {
        for bytes in [[0x08].as_slice(), &[0x08, 0x40], &[0x0c, 0x04], &[0x0c, 0x04, 0x40]] {
            refuse(bytes, ErrorCode::FRAME_ENCODING_ERROR);
        }
    }

    #[test]
    fn data_beyond_2_62_is_a_frame_encoding_error() {
        // attacks D4, RFC 9000 §19.8
        let largest = [0xff; 8];
        let with_len = [&[0x0e, 0x04], largest.as_slice(), &[0x01, 0x07]].concat();
        let without_len = [&[0x0c, 0x04], largest.as_slice(), &[0x07]].concat();
        refuse(&with_len, ErrorCode::FRAME_ENCODING_ERROR);
        refuse(&without_len, ErrorCode::FRAME_ENCODING_ERROR);
        check(
            &Frame::Stream(stream(varint::MAX, Fin::Yes, b"")),
            &[&[0x0f, 0x04], largest.as_slice(), &[0x00]].concat(),
        );
    }
}
