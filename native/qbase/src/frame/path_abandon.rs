//! PATH_ABANDON (draft-ietf-quic-multipath-21 §4.2; multipath MP-62): the sender closes a path.
//!
//! ```text
//! 0x3e75 · path id (i) · error code (i)
//! ```
//!
//! Called by the frame decoder and the path parts. Never judges the code: unknown ones are numbers (multipath MP-3).

use super::{malformed::Malformed, table};
use crate::{PathId, Reader, Writer, varint};

/// The end of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathAbandon {
    /// The path.
    pub path: PathId,
    /// Why, a transport error code, 0 ..= 2^62-1.
    pub code: u64,
}

impl PathAbandon {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { path: super::path_id(reader)?, code: reader.varint()? })
    }

    /// Bytes on the wire.
    #[must_use]
    pub fn size(&self) -> usize {
        varint::sizes([table::PATH_ABANDON, self.path.0.into(), self.code])
    }

    /// Writes the frame.
    pub fn write(&self, writer: &mut Writer<'_>) {
        writer.varint(table::PATH_ABANDON);
        writer.varint(self.path.0.into());
        writer.varint(self.code);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Frame, testing::check};

    #[test]
    fn known_bytes_are_read_and_written() {
        let frame = PathAbandon { path: PathId(2), code: 0x3e76 };
        check(&Frame::PathAbandon(frame), &[0x7e, 0x75, 0x02, 0x7e, 0x76]);
    }

    #[test]
    fn an_unknown_code_is_kept_as_a_number() {
        // multipath MP-3
        let frame = PathAbandon { path: PathId(0), code: varint::MAX };
        check(&Frame::PathAbandon(frame), &[&[0x7e, 0x75, 0x00], [0xff; 8].as_slice()].concat());
    }
}
