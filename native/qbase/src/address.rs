//! Network addresses of a path, addresses that stand for a way through a relay, and the ECN mark of a datagram.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

/// The two socket addresses a datagram travels between. A local port or IP of 0 means "not known yet".
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FourTuple {
    /// Our address.
    pub local: SocketAddr,
    /// The peer's address.
    pub remote: SocketAddr,
}

impl FourTuple {
    /// Both addresses are of one IP version; a path over two cannot exist (burst B-79a).
    #[must_use]
    pub const fn is_one_family(&self) -> bool {
        self.local.is_ipv4() == self.remote.is_ipv4()
    }

    /// Bytes that go in front of each datagram to the peer: the forward header of a way through a relay, else 0 (burst B-75).
    #[must_use]
    pub fn reserve(&self) -> usize {
        StandIn::of(self.remote).map_or(0, |stand_in| stand_in.header.into())
    }
}

/// An address that stands for a peer behind a relay, so that such a way is a four-tuple like any other.
///
/// One address of a peer is not enough to name it: there are two ends behind one or two relays. Who forwards keeps that, and
/// gives it a number; this is the number written as an address that no host can have. It never leaves the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StandIn {
    /// The number, below [`StandIn::NUMBERS`].
    pub number: u32,
    /// Length of the forward header of this way, bytes.
    pub header: u8,
}

impl StandIn {
    /// Numbers that there are; the last ones of 240.0.0.0/4 are left out for the sake of 255.255.255.255.
    pub const NUMBERS: u32 = 0x0fff_0000;
    /// 240.0.0.0/4, reserved (RFC 1112 §4).
    const V4: u32 = 0xf000_0000;
    /// 100:0:0:1::/64, for addresses that stand for something else (RFC 9780 §3).
    const V6: u128 = 0x0100_0000_0000_0001 << 64;

    /// The address, of the family of one of those it stands for.
    #[must_use]
    pub fn address(self, like: SocketAddr) -> SocketAddr {
        let number = self.number.min(Self::NUMBERS);
        let ip: IpAddr = if like.is_ipv4() { Ipv4Addr::from_bits(Self::V4 | number).into() } else { Ipv6Addr::from_bits(Self::V6 | u128::from(number)).into() };
        SocketAddr::new(ip, self.header.into())
    }

    /// What an address stands for, if it is no address of a host.
    #[must_use]
    #[inline]
    pub fn of(address: SocketAddr) -> Option<Self> {
        let number = match address.ip() {
            IpAddr::V4(ip) => ip.to_bits().checked_sub(Self::V4)?,
            IpAddr::V6(ip) => u32::try_from(ip.to_bits().checked_sub(Self::V6)?).ok()?,
        };
        let header = u8::try_from(address.port()).ok()?;
        (number < Self::NUMBERS).then_some(Self { number, header })
    }

    /// No host can have this address: who claims to is not answered.
    #[must_use]
    #[inline]
    pub fn is_claimed(ip: IpAddr) -> bool {
        match ip {
            IpAddr::V4(ip) => ip.to_bits() >= Self::V4,
            IpAddr::V6(ip) => ip.to_bits() >> 64 == Self::V6 >> 64,
        }
    }
}

impl fmt::Debug for FourTuple {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}", self.local, self.remote)
    }
}

/// The ECN field of the IP header (RFC 3168 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum Ecn {
    /// 00: not ECN-capable.
    #[default]
    NotEct = 0,
    /// 01: ECT(1).
    Ect1 = 1,
    /// 10: ECT(0).
    Ect0 = 2,
    /// 11: congestion experienced.
    Ce = 3,
}

impl Ecn {
    /// The mark in the low two bits of a TOS byte.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            1 => Self::Ect1,
            2 => Self::Ect0,
            3 => Self::Ce,
            _ => Self::NotEct,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stand_in_is_read_as_it_was_written_in_both_families() {
        for number in [0, 1, 0x0123_4567, StandIn::NUMBERS - 1] {
            for header in [20, 26, 56, 74] {
                for like in ["192.0.2.1:443", "[2001:db8::1]:443"] {
                    let like: SocketAddr = like.parse().unwrap();
                    let stand_in = StandIn { number, header };
                    let address = stand_in.address(like);
                    assert_eq!((StandIn::of(address), address.is_ipv4()), (Some(stand_in), like.is_ipv4()));
                    assert!(StandIn::is_claimed(address.ip()));
                }
            }
        }
    }

    /// burst B-75.
    #[test]
    fn addresses_of_hosts_stand_for_nothing_and_reserve_nothing() {
        for host in ["192.0.2.1:443", "239.255.255.255:26", "255.255.255.255:26", "[2001:db8::1]:26", "[100::1]:1", "[::ffff:240.0.0.1]:26", "240.0.0.1:443"] {
            let host: SocketAddr = host.parse().unwrap();
            assert_eq!(StandIn::of(host), None, "{host}");
            assert_eq!(FourTuple { local: host, remote: host }.reserve(), 0);
        }
        let remote = StandIn { number: 7, header: 26 }.address(SocketAddr::from(([192, 0, 2, 1], 443)));
        assert_eq!(FourTuple { local: remote, remote }.reserve(), 26);
    }
}
