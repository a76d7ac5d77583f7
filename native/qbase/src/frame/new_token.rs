//! NEW_TOKEN (RFC 9000 §19.7): an address token for a later connection.
//!
//! ```text
//! type 0x07 · length (i) · token, not empty
//! ```
//!
//! Called by the frame decoder and the server's token part. Never reads the token.

use super::{malformed::Malformed, table};
use crate::{Reader, Writer, varint};

/// A token for the client's next Initial packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewToken<'a> {
    /// Opaque bytes, at least one.
    pub token: &'a [u8],
}

impl<'a> NewToken<'a> {
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let token = reader.prefixed()?;
        if token.is_empty() {
            return Err(Malformed::Encoding("the token is empty"));
        }
        Ok(Self { token })
    }

    /// Bytes on the wire.
    #[must_use]
    pub fn size(&self) -> usize {
        varint::sizes([table::NEW_TOKEN, self.token.len() as u64]).saturating_add(self.token.len())
    }

    /// Writes the frame.
    pub fn write(&self, writer: &mut Writer<'_>) {
        writer.varint(table::NEW_TOKEN);
        writer.varint(self.token.len() as u64);
        writer.bytes(self.token);
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
        check(&Frame::NewToken(NewToken { token: b"abc" }), b"\x07\x03abc");
    }

    #[test]
    fn an_empty_token_is_a_frame_encoding_error() {
        refuse(&[0x07, 0x00], ErrorCode::FRAME_ENCODING_ERROR);
    }
}
