//! DATAGRAM (RFC 9221 §4): bytes that are sent once.
//!
//! ```text
//! 0x30 · data to the end of the packet
//! 0x31 · length (i) · data
//! ```
//!
//! Called by the frame decoder and the datagram part. Never checks `max_datagram_frame_size`.

use super::{malformed::Malformed, table};
use crate::{Reader, Writer, varint};

/// An unreliable message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// The bytes; may be empty.
    pub data: &'a [u8],
}

impl<'a> Datagram<'a> {
    pub(super) fn read(reader: &mut Reader<'a>, frame_type: u64) -> Result<Self, Malformed> {
        let data = if frame_type == table::DATAGRAM { reader.take_rest() } else { reader.prefixed()? };
        Ok(Self { data })
    }

    /// Bytes before the data. `len` is the length to be written; `None` for a frame that extends to the packet's end.
    #[must_use]
    pub fn header_size(len: Option<usize>) -> usize {
        varint::size(table::DATAGRAM).saturating_add(len.map_or(0, |len| varint::size(len as u64)))
    }

    /// Bytes on the wire with a length.
    #[must_use]
    pub fn size(&self) -> usize {
        Self::header_size(Some(self.data.len())).saturating_add(self.data.len())
    }

    /// Writes the frame with a length.
    pub fn write(&self, writer: &mut Writer<'_>) {
        write_header(writer, Some(self.data.len()));
        writer.bytes(self.data);
    }
}

/// Writes everything before the data. With `len` `None` the data extends to the end of the packet, so it must be the
/// packet's last frame.
pub fn write_header(writer: &mut Writer<'_>, len: Option<usize>) {
    match len {
        Some(len) => {
            writer.varint(table::DATAGRAM_LEN);
            writer.varint(len as u64);
        }
        None => writer.varint(table::DATAGRAM),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Frame, testing::check};

    #[test]
    fn known_bytes_are_read_and_written() {
        check(&Frame::Datagram(Datagram { data: b"ab" }), b"\x31\x02ab");
        check(&Frame::Datagram(Datagram { data: b"" }), b"\x31\x00");
    }

    #[test]
    fn without_length_the_data_extends_to_the_end_of_the_packet() {
        for data in [b"ab".as_slice(), b""] {
            let mut buffer = [0; 8];
            let mut writer = Writer::new(&mut buffer);
            write_header(&mut writer, None);
            assert_eq!(writer.len(), Datagram::header_size(None));
            writer.bytes(data);
            assert_eq!(writer.written(), [b"\x30", data].concat());
            let mut reader = Reader::new(writer.written());
            assert_eq!(Frame::decode(&mut reader), Ok(Frame::Datagram(Datagram { data })));
            assert!(reader.is_empty());
        }
    }
}
