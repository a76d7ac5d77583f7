//! NEW_CONNECTION_ID, RETIRE_CONNECTION_ID (RFC 9000 §19.15, §19.16) and their multipath forms
//! PATH_NEW_CONNECTION_ID, PATH_RETIRE_CONNECTION_ID (draft-ietf-quic-multipath-21 §4.4, §4.5; multipath MP-45).
//!
//! ```text
//! 0x18, 0x3e78 · [path id (i)] · sequence (i) · retire prior to (i) · length (1 byte, 1..=20) · cid · reset token (16)
//! 0x19, 0x3e79 · [path id (i)] · sequence (i)
//! ```
//!
//! Called by the frame decoder and the connection id parts. Never knows which ids exist.

use super::{malformed::Malformed, table};
use crate::{ConnectionId, PathId, Reader, ResetToken, Writer, varint};

/// A connection id the receiver may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewConnectionId {
    /// The path id it belongs to; `None` in the plain frame, which means path id 0.
    pub path: Option<PathId>,
    /// Its number among the ids of the path id.
    pub sequence: u64,
    /// Ids of the path id below this number must be retired; at most `sequence`.
    pub retire_prior_to: u64,
    /// The id, 1 to 20 bytes.
    pub cid: ConnectionId,
    /// Token of a stateless reset that ends a connection using the id.
    pub reset_token: ResetToken,
}

/// Bytes of the length field and of the reset token.
const LENGTH_AND_TOKEN: usize = 17;

impl NewConnectionId {
    pub(super) fn read(reader: &mut Reader<'_>, path: Option<PathId>) -> Result<Self, Malformed> {
        let sequence = reader.varint()?;
        let retire_prior_to = reader.varint()?;
        if retire_prior_to > sequence {
            return Err(Malformed::Encoding("retire prior to is above the sequence number"));
        }
        let len = reader.u8()?;
        if len == 0 {
            return Err(Malformed::Encoding("the connection id is empty"));
        }
        let too_long = Malformed::Encoding("the connection id is longer than 20 bytes");
        if usize::from(len) > crate::cid::MAX_CID_LEN {
            return Err(too_long);
        }
        let cid = ConnectionId::new(reader.bytes(len.into())?).ok_or(too_long)?;
        Ok(Self { path, sequence, retire_prior_to, cid, reset_token: ResetToken(reader.array()?) })
    }

    /// The type code: plain or multipath.
    #[must_use]
    pub const fn frame_type(&self) -> u64 {
        if self.path.is_some() { table::PATH_NEW_CONNECTION_ID } else { table::NEW_CONNECTION_ID }
    }

    /// Bytes on the wire.
    #[must_use]
    pub fn size(&self) -> usize {
        varint::sizes([self.frame_type(), self.sequence, self.retire_prior_to])
            .saturating_add(super::path_size(self.path))
            .saturating_add(self.cid.len())
            .saturating_add(LENGTH_AND_TOKEN)
    }

    /// Writes the frame.
    pub fn write(&self, writer: &mut Writer<'_>) {
        writer.varint(self.frame_type());
        super::write_path(writer, self.path);
        writer.varint(self.sequence);
        writer.varint(self.retire_prior_to);
        writer.u8(self.cid.len() as u8);
        writer.bytes(self.cid.as_bytes());
        writer.bytes(&self.reset_token.0);
    }
}

/// The sender will not use a connection id any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetireConnectionId {
    /// The path id it belonged to; `None` in the plain frame, which means path id 0.
    pub path: Option<PathId>,
    /// Its number among the ids of the path id.
    pub sequence: u64,
}

impl RetireConnectionId {
    pub(super) fn read(reader: &mut Reader<'_>, path: Option<PathId>) -> Result<Self, Malformed> {
        Ok(Self { path, sequence: reader.varint()? })
    }

    /// The type code: plain or multipath.
    #[must_use]
    pub const fn frame_type(&self) -> u64 {
        if self.path.is_some() { table::PATH_RETIRE_CONNECTION_ID } else { table::RETIRE_CONNECTION_ID }
    }

    /// Bytes on the wire.
    #[must_use]
    pub fn size(&self) -> usize {
        varint::sizes([self.frame_type(), self.sequence]).saturating_add(super::path_size(self.path))
    }

    /// Writes the frame.
    pub fn write(&self, writer: &mut Writer<'_>) {
        writer.varint(self.frame_type());
        super::write_path(writer, self.path);
        writer.varint(self.sequence);
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

    const TOKEN: [u8; 16] = [0xaa; 16];

    fn new_id(path: Option<PathId>) -> NewConnectionId {
        let cid = ConnectionId::new(&[1, 2, 3, 4]).unwrap();
        NewConnectionId { path, sequence: 5, retire_prior_to: 2, cid, reset_token: ResetToken(TOKEN) }
    }

    #[test]
    fn known_bytes_are_read_and_written_in_both_forms() {
        let plain = [[0x18, 5, 2, 4, 1, 2, 3, 4].as_slice(), &TOKEN].concat();
        check(&Frame::NewConnectionId(new_id(None)), &plain);
        let multipath = [[0x7e, 0x78, 3, 5, 2, 4, 1, 2, 3, 4].as_slice(), &TOKEN].concat();
        check(&Frame::NewConnectionId(new_id(Some(PathId(3)))), &multipath);

        check(&Frame::RetireConnectionId(RetireConnectionId { path: None, sequence: 7 }), &[0x19, 7]);
        let of_path = RetireConnectionId { path: Some(PathId(64)), sequence: 7 };
        check(&Frame::RetireConnectionId(of_path), &[0x7e, 0x79, 0x40, 0x40, 7]);
    }

    #[test]
    fn ids_of_1_to_20_bytes_are_read_and_others_are_frame_encoding_errors() {
        // attacks E2, RFC 9000 §19.15
        for len in 0..=u8::MAX {
            let bytes = [[0x18, 0, 0, len].as_slice(), &vec![7; len.into()], &TOKEN].concat();
            if (1..=20).contains(&len) {
                let Ok(Frame::NewConnectionId(frame)) = Frame::decode(&mut Reader::new(&bytes)) else {
                    panic!("{len}")
                };
                assert_eq!(frame.cid.len(), usize::from(len));
            } else {
                refuse(&bytes, ErrorCode::FRAME_ENCODING_ERROR);
            }
        }
    }

    #[test]
    fn retire_prior_to_above_the_sequence_number_is_a_frame_encoding_error() {
        // attacks E2, RFC 9000 §19.15, multipath MP-49
        let tail = [[1, 7].as_slice(), &TOKEN].concat();
        refuse(&[[0x18, 4, 5].as_slice(), &tail].concat(), ErrorCode::FRAME_ENCODING_ERROR);
        refuse(&[[0x7e, 0x78, 0, 4, 5].as_slice(), &tail].concat(), ErrorCode::FRAME_ENCODING_ERROR);
    }
}
