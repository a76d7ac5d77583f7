//! PATH_STATUS_BACKUP and PATH_STATUS_AVAILABLE (draft-ietf-quic-multipath-21 §4.3; multipath MP-57).
//!
//! ```text
//! 0x3e76 BACKUP, 0x3e77 AVAILABLE · path id (i) · status sequence number (i)
//! ```
//!
//! Called by the frame decoder and the path parts. Never decides which of two frames is newer.

use super::{malformed::Malformed, table};
use crate::{PathId, Reader, Writer, varint};

/// How a path should be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum PathStatusKind {
    /// Send on it.
    #[default]
    Available,
    /// Spare it while an available path works.
    Backup,
}

/// Advice to the peer how to use a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathStatus {
    /// The path; it may not be in use yet.
    pub path: PathId,
    /// The advice.
    pub status: PathStatusKind,
    /// Number of the advice, rising per path id over both frame types.
    pub sequence: u64,
}

impl PathStatus {
    pub(super) fn read(reader: &mut Reader<'_>, status: PathStatusKind) -> Result<Self, Malformed> {
        Ok(Self { path: super::path_id(reader)?, status, sequence: reader.varint()? })
    }

    /// The type code of this advice.
    #[must_use]
    pub const fn frame_type(&self) -> u64 {
        match self.status {
            PathStatusKind::Available => table::PATH_STATUS_AVAILABLE,
            PathStatusKind::Backup => table::PATH_STATUS_BACKUP,
        }
    }

    /// Bytes on the wire.
    #[must_use]
    pub fn size(&self) -> usize {
        varint::sizes([self.frame_type(), self.path.0.into(), self.sequence])
    }

    /// Writes the frame.
    pub fn write(&self, writer: &mut Writer<'_>) {
        writer.varint(self.frame_type());
        writer.varint(self.path.0.into());
        writer.varint(self.sequence);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Frame, testing::check};

    #[test]
    fn known_bytes_are_read_and_written() {
        let backup = PathStatus { path: PathId(1), status: PathStatusKind::Backup, sequence: 4 };
        check(&Frame::PathStatus(backup), &[0x7e, 0x76, 0x01, 0x04]);
        let available = PathStatus { path: PathId(1), status: PathStatusKind::Available, sequence: 64 };
        check(&Frame::PathStatus(available), &[0x7e, 0x77, 0x01, 0x40, 0x40]);
    }
}
