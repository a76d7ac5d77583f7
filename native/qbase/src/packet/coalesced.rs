//! The packets of one datagram, one after the other (RFC 9000 §12.2).
//!
//! Called by the receive path with the datagram it owns. Never yields bytes twice, so packets can be decrypted in place;
//! never yields packets of another connection than the first one's (attacks A6).

use super::{FixedBit, PacketError, ProtectedHeader};
use crate::ConnectionId;

/// Iterator over the packets of a datagram: header and bytes, or why a packet is dropped.
///
/// After a packet whose end is not known it ends; a packet that is only too short or of another connection is stepped over.
#[derive(Debug)]
pub struct Packets<'a> {
    rest: &'a mut [u8],
    local_cid_len: usize,
    fixed_bit: FixedBit,
    /// Destination connection id of the first packet.
    dcid: Option<ConnectionId>,
}

/// Splits a datagram into its packets. Our connection ids have `local_cid_len` bytes.
#[must_use]
pub const fn split(datagram: &mut [u8], local_cid_len: usize, fixed_bit: FixedBit) -> Packets<'_> {
    Packets { rest: datagram, local_cid_len, fixed_bit, dcid: None }
}

impl<'a> Iterator for Packets<'a> {
    type Item = Result<(ProtectedHeader, &'a mut [u8]), PacketError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let rest = std::mem::take(&mut self.rest);
        let header = match ProtectedHeader::locate(rest, self.local_cid_len, self.fixed_bit) {
            Ok(header) => header,
            Err(error) => return Some(Err(error)),
        };
        let (packet, rest) = rest.split_at_mut_checked(header.end)?;
        self.rest = rest;
        if *self.dcid.get_or_insert(header.dcid) != header.dcid {
            return Some(Err(PacketError::OtherConnection));
        }
        Some(header.check_sample().map(|()| (header, packet)))
    }
}
