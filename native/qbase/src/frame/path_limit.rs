//! MAX_PATH_ID, PATHS_BLOCKED, PATH_CIDS_BLOCKED (draft-ietf-quic-multipath-21 §4.6, §4.7; multipath MP-52 to MP-56).
//!
//! ```text
//! 0x3e7a MAX_PATH_ID · maximum path id (i)
//! 0x3e7b PATHS_BLOCKED · maximum path id (i)
//! 0x3e7c PATH_CIDS_BLOCKED · path id (i) · next sequence number (i)
//! ```
//!
//! Called by the frame decoder and the path parts. Never compares with announced limits.

use super::{malformed::Malformed, table};
use crate::{PathId, Reader, Writer, varint};

/// Credit for path ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxPathId {
    /// Largest path id the sender accepts.
    pub maximum: PathId,
}

impl MaxPathId {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { maximum: super::path_id(reader)? })
    }

    /// Bytes on the wire.
    #[must_use]
    pub fn size(&self) -> usize {
        varint::sizes([table::MAX_PATH_ID, self.maximum.0.into()])
    }

    /// Writes the frame.
    pub fn write(&self, writer: &mut Writer<'_>) {
        writer.varint(table::MAX_PATH_ID);
        writer.varint(self.maximum.0.into());
    }
}

/// The sender wants a path but has no path id left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathsBlocked {
    /// The limit that was reached.
    pub maximum: PathId,
}

impl PathsBlocked {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { maximum: super::path_id(reader)? })
    }

    /// Bytes on the wire.
    #[must_use]
    pub fn size(&self) -> usize {
        varint::sizes([table::PATHS_BLOCKED, self.maximum.0.into()])
    }

    /// Writes the frame.
    pub fn write(&self, writer: &mut Writer<'_>) {
        writer.varint(table::PATHS_BLOCKED);
        writer.varint(self.maximum.0.into());
    }
}

/// The sender wants a connection id of a path id but has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathCidsBlocked {
    /// The path id.
    pub path: PathId,
    /// The sequence number the sender expects next from the receiver.
    pub next_sequence: u64,
}

impl PathCidsBlocked {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { path: super::path_id(reader)?, next_sequence: reader.varint()? })
    }

    /// Bytes on the wire.
    #[must_use]
    pub fn size(&self) -> usize {
        varint::sizes([table::PATH_CIDS_BLOCKED, self.path.0.into(), self.next_sequence])
    }

    /// Writes the frame.
    pub fn write(&self, writer: &mut Writer<'_>) {
        writer.varint(table::PATH_CIDS_BLOCKED);
        writer.varint(self.path.0.into());
        writer.varint(self.next_sequence);
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
        check(&Frame::MaxPathId(MaxPathId { maximum: PathId(7) }), &[0x7e, 0x7a, 0x07]);
        check(&Frame::PathsBlocked(PathsBlocked { maximum: PathId(7) }), &[0x7e, 0x7b, 0x07]);
        let blocked = PathCidsBlocked { path: PathId(3), next_sequence: 300 };
        check(&Frame::PathCidsBlocked(blocked), &[0x7e, 0x7c, 0x03, 0x41, 0x2c]);
    }

    #[test]
    fn a_path_id_above_2_32_is_a_protocol_violation_in_every_frame() {
        // attacks F4, multipath MP-53, MP-55, MP-71
        let last = Frame::MaxPathId(MaxPathId { maximum: PathId(u32::MAX) });
        check(&last, &[0x7e, 0x7a, 0xc0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
        let above = [0xc0, 0, 0, 1, 0, 0, 0, 0];
        for low in 0x75..=0x7c {
            refuse(&[[0x7e, low].as_slice(), &above, &[0; 30]].concat(), ErrorCode::PROTOCOL_VIOLATION);
        }
        for path_ack in [0x3e, 0x3f] {
            refuse(&[[path_ack].as_slice(), &above, &[0; 30]].concat(), ErrorCode::PROTOCOL_VIOLATION);
        }
    }
}
