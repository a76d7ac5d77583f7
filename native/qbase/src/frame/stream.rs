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
