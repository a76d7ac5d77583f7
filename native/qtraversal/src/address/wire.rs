//! Bytes of socket addresses and endpoints (traversal T-5, T-6, T-100).
//!
//! | form | bytes |
//! |---|---|
//! | socket address, port first (forward header, STUN and frames of profile `dquic`) | port (16), IP (32 or 128) |
//! | socket address, IP first (profile `braid`, OBSERVED_ADDRESS) | IP (32 or 128), port (16) |
//! | endpoint | Direct: 1 socket address; Agent: the agent's, then the outer one; port first |
//!
//! The family is never part of it: the caller knows it from a frame type or a header bit. A scope id or flow label of an
//! IPv6 address is not carried. Called by the forward header, STUN and the frames.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use qbase::{Reader, UnexpectedEnd, Writer};

use super::Endpoint;

/// The IP version of addresses whose bytes do not say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// 32-bit addresses.
    V4,
    /// 128-bit addresses.
    V6,
}

impl Family {
    /// The family of an address.
    #[must_use]
    pub const fn of(address: SocketAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// Bytes of a socket address: 6 or 18.
    #[must_use]
    pub const fn address_size(self) -> usize {
        match self {
            Self::V4 => 6,
            Self::V6 => 18,
        }
    }
}

/// Whether a relay stands before an endpoint, which the bytes of it do not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shape {
    /// One address.
    Direct,
    /// Two addresses.
    Agent,
}

impl Shape {
    /// The shape of an endpoint.
    #[must_use]
    pub const fn of(endpoint: &Endpoint) -> Self {
        if endpoint.is_relayed() { Self::Agent } else { Self::Direct }
    }

    /// Bytes of an endpoint: 6, 12, 18 or 36 (traversal T-6).
    #[must_use]
    pub const fn size(self, family: Family) -> usize {
        match self {
            Self::Direct => family.address_size(),
            Self::Agent => family.address_size().saturating_mul(2),
        }
    }
}

/// Takes an IP address.
///
/// # Errors
/// The bytes end before it does.
pub fn read_ip(reader: &mut Reader<'_>, family: Family) -> Result<IpAddr, UnexpectedEnd> {
    Ok(match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::from(reader.array::<4>()?)),
        Family::V6 => IpAddr::V6(Ipv6Addr::from(reader.array::<16>()?)),
    })
}

/// Puts an IP address.
pub fn write_ip(writer: &mut Writer<'_>, ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => writer.bytes(&ip.octets()),
        IpAddr::V6(ip) => writer.bytes(&ip.octets()),
    }
}

/// Takes a socket address, port first (traversal T-5).
///
/// # Errors
/// The bytes end before it does.
pub fn read_address(reader: &mut Reader<'_>, family: Family) -> Result<SocketAddr, UnexpectedEnd> {
    let port = reader.u16()?;
    Ok(SocketAddr::new(read_ip(reader, family)?, port))
}

/// Puts a socket address, port first.
pub fn write_address(writer: &mut Writer<'_>, address: SocketAddr) {
    writer.u16(address.port());
    write_ip(writer, address.ip());
}

/// Takes a socket address, IP first (traversal T-100).
///
/// # Errors
/// The bytes end before it does.
pub fn read_address_ip_first(reader: &mut Reader<'_>, family: Family) -> Result<SocketAddr, UnexpectedEnd> {
    let ip = read_ip(reader, family)?;
    Ok(SocketAddr::new(ip, reader.u16()?))
}

/// Puts a socket address, IP first.
pub fn write_address_ip_first(writer: &mut Writer<'_>, address: SocketAddr) {
    write_ip(writer, address.ip());
    writer.u16(address.port());
}

/// Takes an endpoint (traversal T-6).
///
/// # Errors
/// The bytes end before it does.
pub fn read_endpoint(reader: &mut Reader<'_>, family: Family, shape: Shape) -> Result<Endpoint, UnexpectedEnd> {
    let first = read_address(reader, family)?;
    Ok(match shape {
        Shape::Direct => Endpoint::Direct(first),
        Shape::Agent => Endpoint::Agent { agent: first, outer: read_address(reader, family)? },
    })
}

/// Puts an endpoint.
pub fn write_endpoint(writer: &mut Writer<'_>, endpoint: &Endpoint) {
    match *endpoint {
        Endpoint::Direct(address) => write_address(writer, address),
        Endpoint::Agent { agent, outer } => {
            write_address(writer, agent);
            write_address(writer, outer);
        }
    }
}
