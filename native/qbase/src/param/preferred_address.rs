//! preferred_address (RFC 9000 §9.6, §18.2 figure 22): where the server would rather be.
//!
//! ```text
//! IPv4 address (4) · IPv4 port (2) · IPv6 address (16) · IPv6 port (2) · CID length (1, 1..=20) · CID · reset token (16)
//! ```
//!
//! Called by reading and writing the parameters. Never decides to move.

use crate::{ConnectionId, Reader, ResetToken, UnexpectedEnd};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};

/// Another address of the server, with the connection id (sequence number 1) to use there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PreferredAddress {
    /// The IPv4 address; `None` where it is all zero on the wire.
    pub ipv4: Option<SocketAddrV4>,
    /// The IPv6 address; `None` where it is all zero on the wire.
    pub ipv6: Option<SocketAddrV6>,
    /// The id, 1 to 20 bytes.
    pub cid: ConnectionId,
    /// The reset token of the id.
    pub reset_token: ResetToken,
}

impl PreferredAddress {
    /// Reads the whole value; `None` inside if the id is empty or too long.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Option<Self>, UnexpectedEnd> {
        let (v4, v4_port) = (Ipv4Addr::from(reader.array::<4>()?), reader.u16()?);
        let (v6, v6_port) = (Ipv6Addr::from(reader.array::<16>()?), reader.u16()?);
        let len = reader.u8()?;
        let cid = ConnectionId::new(reader.bytes(len.into())?).filter(|cid| !cid.is_empty());
        let reset_token = ResetToken(reader.array()?);
        let is_v4 = !v4.is_unspecified() || v4_port != 0;
        let is_v6 = !v6.is_unspecified() || v6_port != 0;
        Ok(cid.map(|cid| Self {
            ipv4: is_v4.then(|| SocketAddrV4::new(v4, v4_port)),
            ipv6: is_v6.then(|| SocketAddrV6::new(v6, v6_port, 0, 0)),
            cid,
            reset_token,
        }))
    }

    /// Appends the value.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let v4 = self.ipv4.unwrap_or(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0));
        out.extend_from_slice(&v4.ip().octets());
        out.extend_from_slice(&v4.port().to_be_bytes());
        let v6 = self.ipv6.unwrap_or(SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, 0, 0, 0));
        out.extend_from_slice(&v6.ip().octets());
        out.extend_from_slice(&v6.port().to_be_bytes());
        out.push(self.cid.len() as u8);
        out.extend_from_slice(self.cid.as_bytes());
        out.extend_from_slice(&self.reset_token.0);
    }
}
