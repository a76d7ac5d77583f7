//! How far an IP address reaches (IANA special-purpose address registries for IPv4 and IPv6, RFC 6890, RFC 8190).
//!
//! Decides which addresses a stranger may make us send to. IPv6 forms that carry an IPv4 address (6to4, NAT64) reach as far
//! as that one (attacks G2). What is not assigned for global use is not global. Called by policies and the relay. Never asks
//! the host's own interfaces.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How far an address reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Everywhere.
    Global,
    /// A site: RFC 1918, and unique local IPv6 (RFC 4193).
    Private,
    /// The network of one provider, behind its NAT (RFC 6598).
    Shared,
    /// One link.
    LinkLocal,
    /// This host.
    Loopback,
    /// A group.
    Multicast,
    /// Nobody outside of one domain: documentation, benchmarks, protocols' own, reserved and unassigned.
    Special,
}

/// A row of the IPv4 registry: network, length of the prefix, reach.
type Row4 = ([u8; 4], u8, Scope);
/// A row for IPv6: the first 64 bits suffice, except for loopback and two anycast addresses, which stand in the code.
type Row6 = ([u16; 4], u8, Scope);

/// IPv4: the first row that holds the address decides; none: global.
const IPV4: [Row4; 17] = [
    ([0, 0, 0, 0], 8, Scope::Special),        // this network
    ([10, 0, 0, 0], 8, Scope::Private),       // RFC 1918
    ([100, 64, 0, 0], 10, Scope::Shared),     // RFC 6598
    ([127, 0, 0, 0], 8, Scope::Loopback),
    ([169, 254, 0, 0], 16, Scope::LinkLocal), // RFC 3927
    ([172, 16, 0, 0], 12, Scope::Private),    // RFC 1918
    ([192, 0, 0, 9], 32, Scope::Global),      // PCP anycast, RFC 7723
    ([192, 0, 0, 10], 32, Scope::Global),     // TURN anycast, RFC 8155
    ([192, 0, 0, 0], 24, Scope::Special),     // protocol assignments
    ([192, 0, 2, 0], 24, Scope::Special),     // documentation
    ([192, 88, 99, 0], 24, Scope::Special),   // 6to4 relays, withdrawn by RFC 7526
    ([192, 168, 0, 0], 16, Scope::Private),   // RFC 1918
    ([198, 18, 0, 0], 15, Scope::Special),    // benchmarks
    ([198, 51, 100, 0], 24, Scope::Special),  // documentation
    ([203, 0, 113, 0], 24, Scope::Special),   // documentation
    ([224, 0, 0, 0], 4, Scope::Multicast),
    ([240, 0, 0, 0], 4, Scope::Special),      // reserved, and the broadcast address
];

/// IPv6: the first row that holds the address decides; none: special, since only 2000::/3 is given out.
const IPV6: [Row6; 13] = [
    ([0xff00, 0, 0, 0], 8, Scope::Multicast),
    ([0xfe80, 0, 0, 0], 10, Scope::LinkLocal),
    ([0xfec0, 0, 0, 0], 10, Scope::Private),     // site-local, withdrawn
    ([0xfc00, 0, 0, 0], 7, Scope::Private),      // unique local
    ([0x2001, 0x3, 0, 0], 32, Scope::Global),    // AMT
    ([0x2001, 0x4, 0x112, 0], 48, Scope::Global), // AS112
    ([0x2001, 0x20, 0, 0], 28, Scope::Global),   // ORCHIDv2
    ([0x2001, 0x30, 0, 0], 28, Scope::Global),   // drone identification
    ([0x2001, 0, 0, 0], 23, Scope::Special),     // Teredo, benchmarks, protocol assignments
    ([0x2001, 0xdb8, 0, 0], 32, Scope::Special), // documentation
    ([0x3ffe, 0, 0, 0], 16, Scope::Special),     // 6bone, given back
    ([0x3fff, 0, 0, 0], 20, Scope::Special),     // documentation, RFC 9637
    ([0x2000, 0, 0, 0], 3, Scope::Global),
];

impl Scope {
    /// How far `ip` reaches.
    #[must_use]
    pub fn of(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => of_v4(ip),
            IpAddr::V6(ip) => of_v6(ip),
        }
    }

    /// Only the ends of one site or provider can mean the same host by it.
    #[must_use]
    pub const fn is_private(self) -> bool {
        matches!(self, Self::Private | Self::Shared | Self::LinkLocal)
    }
}

/// A datagram to `ip` may cross the Internet, and who owns the address is the same everywhere.
#[must_use]
pub fn is_globally_routable(ip: IpAddr) -> bool {
    Scope::of(ip) == Scope::Global
}

fn of_v4(ip: Ipv4Addr) -> Scope {
    let bits = ip.to_bits();
    let holds = |net: [u8; 4], len: u8| {
        let shift = u32::from(32_u8.saturating_sub(len));
        (bits ^ u32::from_be_bytes(net)).checked_shr(shift).unwrap_or(0) == 0
    };
    IPV4.iter().find(|(net, len, _)| holds(*net, *len)).map_or(Scope::Global, |row| row.2)
}

fn of_v6(ip: Ipv6Addr) -> Scope {
    if ip == Ipv6Addr::LOCALHOST {
        return Scope::Loopback;
    }
    let [a, b, c, d, e, f, g, h] = ip.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match [a, b, c, d, e, f] {
        // IPv4-mapped and NAT64: the host is the IPv4 one.
        [0, 0, 0, 0, 0, 0xffff] | [0x64, 0xff9b, 0, 0, 0, 0] => return of_v4(v4(g, h)),
        [0x2002, high, low, ..] => return of_v4(v4(high, low)), // 6to4
        // PCP, TURN and DNS-SD anycast: 2001:1::1 to 2001:1::3.
        [0x2001, 1, 0, 0, 0, 0] if g == 0 && (1..=3).contains(&h) => return Scope::Global,
        _ => {}
    }
    let first = |[a, b, c, d]: [u16; 4]| u64::from(a) << 48 | u64::from(b) << 32 | u64::from(c) << 16 | u64::from(d);
    let bits = first([a, b, c, d]);
    let holds = |net: [u16; 4], len: u8| {
        let shift = u32::from(64_u8.saturating_sub(len));
        (bits ^ first(net)).checked_shr(shift).unwrap_or(0) == 0
    };
    IPV6.iter().find(|(net, len, _)| holds(*net, *len)).map_or(Scope::Special, |row| row.2)
}
