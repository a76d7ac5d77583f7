//! OBSERVED_ADDRESS: which address of yours I see on this path (draft-ietf-quic-address-discovery §4).
//!
//! ```text
//! type (i) = 0x9f81a6 IPv4, 0x9f81a7 IPv6 | sequence number (i) | IP (32 or 128) | port (16)
//! ```
//! Called by the profiles. Who asked for it and which number is the newest of a path is the connection's to know.

use std::net::SocketAddr;

use qbase::{Reader, Writer};

use super::{FrameError, Unwritable, code::discovery as code, put};
use crate::address::wire::{Family, read_address_ip_first, write_address_ip_first};

/// OBSERVED_ADDRESS. A hint: it may be a lie (attacks G6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ObservedAddress {
    /// Rising over the frames of a connection; an older one than seen on a path is ignored.
    pub seq: u64,
    /// The receiver's address as its peer sees it.
    pub address: SocketAddr,
}

impl ObservedAddress {
    /// The frame type is this frame's.
    #[must_use]
    pub const fn owns(frame_type: u64) -> bool {
        matches!(frame_type, code::OBSERVED_ADDRESS_V4 | code::OBSERVED_ADDRESS_V6)
    }

    /// Takes what follows the type.
    pub(super) fn read(frame_type: u64, reader: &mut Reader<'_>) -> Result<Self, FrameError> {
        let family = match frame_type {
            code::OBSERVED_ADDRESS_V4 => Family::V4,
            code::OBSERVED_ADDRESS_V6 => Family::V6,
            _ => return Err(FrameError::UnknownType),
        };
        Ok(Self { seq: reader.varint()?, address: read_address_ip_first(reader, family)? })
    }

    /// Puts the frame with its type.
    pub(super) fn put(&self, writer: &mut Writer<'_>) -> Result<(), Unwritable> {
        let frame_type = match Family::of(self.address) {
            Family::V4 => code::OBSERVED_ADDRESS_V4,
            Family::V6 => code::OBSERVED_ADDRESS_V6,
        };
        put(writer, [frame_type, self.seq])?;
        write_address_ip_first(writer, self.address);
        Ok(())
    }
}
