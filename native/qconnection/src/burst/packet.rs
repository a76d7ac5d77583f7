//! One packet: its header, and its protection in place once its frames stand (RFC 9000 §17, RFC 9001 §5).
//!
//! Called by the segment writer and by a connection that closes; what stands between header and tag is theirs. Never
//! takes a packet number and never decides what is sent.

use crate::connection::Connection;
use qbase::{
    ConnectionId, EncryptionLevel, PacketNumber, PathId, TransportError, Writer,
    packet::{self, long::{self, LongHeader, LongKind}, short},
};

/// What a header says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Label {
    pub(crate) level: EncryptionLevel,
    pub(crate) path: PathId,
    pub(crate) dcid: ConnectionId,
    /// Of long headers.
    pub(crate) scid: ConnectionId,
    pub(crate) number: PacketNumber,
    /// Bytes the number is sent with, 1 ..= 4.
    pub(crate) number_len: usize,
    /// Of short headers.
    pub(crate) spin: short::Spin,
}

/// A header that was written: where its fields stand, from the start of the packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    pub(crate) level: EncryptionLevel,
    pub(crate) path: PathId,
    pub(crate) number: PacketNumber,
    pub(crate) number_len: usize,
    number_offset: usize,
    /// The Length field; long headers only.
    length_offset: Option<usize>,
}

/// Who seals, which matters where the keys are nearly used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Anything.
    Any,
    /// CONNECTION_CLOSE, for which the last packets of a key are kept.
    Close,
}

/// How a packet is protected.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Protection {
    pub(crate) purpose: Purpose,
    /// The fixed bit becomes 0 (RFC 9287 §3.1).
    pub(crate) clear_fixed: bool,
}

impl Head {
    /// Writes the header of a packet; its frames come next.
    pub(crate) fn write(connection: &Connection, label: &Label, writer: &mut Writer<'_>) -> Self {
        let Label { level, path, dcid, scid, number, number_len, spin } = *label;
        let (number_offset, length_offset) = if level == EncryptionLevel::OneRtt {
            let phase = connection.application.as_ref().map(|application| application.keys.seal_phase()).unwrap_or_default();
            (short::write(writer, &dcid, number, number_len, phase, spin), None)
        } else {
            let kind = match level {
                EncryptionLevel::Initial => LongKind::Initial { token: &connection.token },
                EncryptionLevel::ZeroRtt => LongKind::ZeroRtt,
                _ => LongKind::Handshake,
            };
            let start = LongHeader { kind, version: connection.version, dcid, scid }.write(writer, number, number_len);
            (start.pn_offset, Some(start.length_offset))
        };
        Self { level, path, number, number_len, number_offset, length_offset }
    }

    /// Bytes before the frames.
    pub(crate) const fn len(&self) -> usize {
        self.number_offset.saturating_add(self.number_len)
    }

    /// Protects the whole packet `bytes`, the tag's room at its end included.
    ///
    /// # Errors
    /// The keys are used up, or there are none.
    pub(crate) fn protect(&self, connection: &mut Connection, protection: Protection, bytes: &mut [u8]) -> Result<(), TransportError> {
        let internal = || TransportError::internal("a packet left its segment");
        if let Some(offset) = self.length_offset {
            long::patch_length(bytes, offset, bytes.len().saturating_sub(self.number_offset)).ok_or_else(internal)?;
        }
        if protection.clear_fixed {
            packet::clear_fixed_bit(bytes);
        }
        if self.level == EncryptionLevel::OneRtt {
            let path = connection.key_path(self.path);
            let keys = &mut connection.application.as_mut().ok_or_else(internal)?.keys;
            match protection.purpose {
                Purpose::Any => keys.seal(path, self.number, bytes, self.len())?,
                Purpose::Close => keys.seal_close(path, self.number, bytes, self.len())?,
            }
            return keys.local_header().protect(bytes, self.number_offset).map_err(|_| internal());
        }
        let keys = match self.level {
            EncryptionLevel::Initial => connection.initial.as_ref().map(|space| &space.keys.local),
            EncryptionLevel::ZeroRtt => connection.early.as_ref().and_then(|early| early.keys.as_ref()),
            _ => connection.handshake.as_ref().map(|space| &space.keys.local),
        };
        let keys = keys.ok_or_else(internal)?;
        keys.packet.seal(PathId::ZERO, self.number, bytes, self.len()).map_err(|_| internal())?;
        keys.header.protect(bytes, self.number_offset).map_err(|_| internal())
    }
}
