//! PATH_CHALLENGE and PATH_RESPONSE (RFC 9000 §19.17, §19.18): is the peer at this address?
//!
//! ```text
//! 0x1a PATH_CHALLENGE · data (8 bytes)
//! 0x1b PATH_RESPONSE · data (8 bytes)
//! ```
//!
//! Called by the frame decoder and path validation. Never compares data.

use super::{malformed::Malformed, table};
use crate::{Reader, Writer};

/// Bytes of both frames.
const SIZE: usize = 9;

/// A question to the peer at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathChallenge {
    /// Unpredictable bytes to be sent back.
    pub data: [u8; 8],
}

impl PathChallenge {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { data: reader.array()? })
    }

    /// Bytes on the wire.
    #[must_use]
    pub const fn size(&self) -> usize {
        SIZE
    }

    /// Writes the frame.
    pub fn write(&self, writer: &mut Writer<'_>) {
        writer.varint(table::PATH_CHALLENGE);
        writer.bytes(&self.data);
    }
}

/// The answer to a [`PathChallenge`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathResponse {
    /// The bytes of the challenge.
    pub data: [u8; 8],
}

impl PathResponse {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { data: reader.array()? })
    }

    /// Bytes on the wire.
    #[must_use]
    pub const fn size(&self) -> usize {
        SIZE
    }

    /// Writes the frame.
    pub fn write(&self, writer: &mut Writer<'_>) {
        writer.varint(table::PATH_RESPONSE);
        writer.bytes(&self.data);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Frame, testing::check};

    #[test]
    fn known_bytes_are_read_and_written() {
        let data = *b"12345678";
        check(&Frame::PathChallenge(PathChallenge { data }), b"\x1a12345678");
        check(&Frame::PathResponse(PathResponse { data }), b"\x1b12345678");
    }
}
