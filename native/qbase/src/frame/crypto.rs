//! CRYPTO (RFC 9000 §19.6): bytes of the TLS handshake.
//!
//! ```text
//! type 0x06 · offset (i) · length (i) · data
//! ```
//!
//! Called by the frame decoder and the packet builder ([`write_header`], then the bytes straight into the packet).
//! Never buffers.

use super::{malformed::Malformed, table};
use crate::{Reader, Writer, varint};

/// A piece of a level's handshake stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crypto<'a> {
    /// Where `data` starts in the stream of its level, bytes. `offset + data.len()` is at most 2^62-1.
    pub offset: u64,
    /// The bytes.
    pub data: &'a [u8],
}

impl<'a> Crypto<'a> {
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let offset = reader.varint()?;
        let data = reader.prefixed()?;
        super::check_end(offset, data)?;
        Ok(Self { offset, data })
    }

    /// Bytes before the data for a frame of `len` bytes at `offset`.
    #[must_use]
    pub fn header_size(offset: u64, len: usize) -> usize {
        varint::sizes([table::CRYPTO, offset, len as u64])
    }

    /// Bytes on the wire.
    #[must_use]
    pub fn size(&self) -> usize {
        Self::header_size(self.offset, self.data.len()).saturating_add(self.data.len())
    }

    /// Writes the frame.
    pub fn write(&self, writer: &mut Writer<'_>) {
        write_header(writer, self.offset, self.data.len());
        writer.bytes(self.data);
    }
}

/// Writes everything before the data of a frame that carries `len` bytes at `offset`.
pub fn write_header(writer: &mut Writer<'_>, offset: u64, len: usize) {
    writer.varint(table::CRYPTO);
    writer.varint(offset);
    writer.varint(len as u64);
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
        check(&Frame::Crypto(Crypto { offset: 0, data: b"hello" }), b"\x06\x00\x05hello");
        check(&Frame::Crypto(Crypto { offset: 0x1234, data: &[] }), &[0x06, 0x52, 0x34, 0x00]);
    }

    #[test]
    fn data_beyond_2_62_is_a_frame_encoding_error() {
        // attacks D4, RFC 9000 §19.6
        let at_the_end = Crypto { offset: varint::MAX - 1, data: &[7] };
        check(&Frame::Crypto(at_the_end), &[0x06, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe, 0x01, 0x07]);
        refuse(&[0x06, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0x07], ErrorCode::FRAME_ENCODING_ERROR);
    }
}
