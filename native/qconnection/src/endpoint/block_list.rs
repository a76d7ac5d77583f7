//! Addresses whose datagrams are dropped unread: as if they had never come, but counted (`blocked`).
//!
//! Ranges of addresses, sorted and merged when they are given, so that a look-up is one binary search and a list without
//! ranges costs a comparison. Called for every datagram before anything else. Never answers one.

use std::net::IpAddr;

/// Addresses from one to another, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressRange {
    first: IpAddr,
    last: IpAddr,
}

impl AddressRange {
    /// `None`: the addresses are of different families, or the wrong way round.
    #[must_use]
    pub fn new(first: IpAddr, last: IpAddr) -> Option<Self> {
        let (first, last) = match (first.to_canonical(), last.to_canonical()) {
            (short, long) if short.is_ipv4() == long.is_ipv4() => (short, long),
            _ => (first, last),
        };
        (first.is_ipv4() == last.is_ipv4() && first <= last).then_some(Self { first, last })
    }

    /// The network of the first `bits` bits of an address. `None`: it has not so many.
    #[must_use]
    pub fn network(address: IpAddr, bits: u8) -> Option<Self> {
        match address {
            IpAddr::V4(address) => {
                let rest = u32::MAX.checked_shr(bits.into()).unwrap_or(0);
                let first = address.to_bits() & !rest;
                (bits <= 32).then(|| Self::new(std::net::Ipv4Addr::from_bits(first).into(), std::net::Ipv4Addr::from_bits(first | rest).into()))?
            }
            IpAddr::V6(address) => {
                let rest = u128::MAX.checked_shr(bits.into()).unwrap_or(0);
                let first = address.to_bits() & !rest;
                (bits <= 128).then(|| Self::new(std::net::Ipv6Addr::from_bits(first).into(), std::net::Ipv6Addr::from_bits(first | rest).into()))?
            }
        }
    }
}

/// Addresses that are not heard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockList {
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
}

impl BlockList {
    /// All addresses of these ranges. An IPv4 address and the IPv6 address it is mapped to are one.
    #[must_use]
    pub fn new(ranges: &[AddressRange]) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for range in ranges {
            match (range.first, range.last) {
                (IpAddr::V4(first), IpAddr::V4(last)) => v4.push((first.to_bits(), last.to_bits())),
                (IpAddr::V6(first), IpAddr::V6(last)) => v6.push((first.to_bits(), last.to_bits())),
                _ => {}
            }
        }
        Self { v4: merged(v4), v6: merged(v6) }
    }

    /// There is nobody on it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    /// This address is on it.
    #[must_use]
    pub fn has(&self, address: IpAddr) -> bool {
        if self.is_empty() {
            return false;
        }
        match address.to_canonical() {
            IpAddr::V4(address) => contains(&self.v4, address.to_bits()),
            IpAddr::V6(address) => contains(&self.v6, address.to_bits()),
        }
    }
}

/// Sorted, without overlaps.
fn merged<T: Ord + Copy>(mut ranges: Vec<(T, T)>) -> Vec<(T, T)> {
    ranges.sort_unstable();
    let mut merged: Vec<(T, T)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match merged.last_mut() {
            Some((_, end)) if first <= *end => *end = last.max(*end),
            _ => merged.push((first, last)),
        }
    }
    merged
}

fn contains<T: Ord + Copy>(ranges: &[(T, T)], value: T) -> bool {
    let after = ranges.partition_point(|(first, _)| *first <= value);
    after.checked_sub(1).and_then(|at| ranges.get(at)).is_some_and(|(_, last)| value <= *last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("address")
    }

    fn range(first: &str, last: &str) -> AddressRange {
        AddressRange::new(address(first), address(last)).expect("range")
    }

    fn network(first: &str, bits: u8) -> AddressRange {
        AddressRange::network(address(first), bits).expect("network")
    }

    #[test]
    fn ranges_and_networks_hold_their_ends_and_nothing_beyond() {
        let list = BlockList::new(&[
            range("192.0.2.10", "192.0.2.20"),
            range("192.0.2.15", "192.0.2.30"),
            network("10.1.2.3", 8),
            range("203.0.113.7", "203.0.113.7"),
            network("2001:db8::9", 32),
            range("fd00::1", "fd00::5"),
        ]);
        let blocked = ["192.0.2.10", "192.0.2.30", "192.0.2.22", "10.0.0.0", "10.255.255.255", "203.0.113.7", "::ffff:203.0.113.7", "2001:db8:ffff::1", "fd00::1", "fd00::5"];
        let free = ["192.0.2.9", "192.0.2.31", "9.255.255.255", "11.0.0.0", "203.0.113.8", "2001:db9::", "fd00::", "fd00::6", "::"];
        assert!(blocked.iter().all(|text| list.has(address(text))));
        for text in free {
            assert!(!list.has(address(text)), "{text}");
        }
    }

    #[test]
    fn the_whole_internet_and_single_addresses_are_networks_too() {
        assert!(BlockList::new(&[network("0.0.0.0", 0)]).has(address("255.255.255.255")));
        assert!(BlockList::new(&[network("::", 0)]).has(address("ffff::")));
        assert!(!BlockList::new(&[network("::", 0)]).has(address("192.0.2.1")), "families stay apart");
        let one = BlockList::new(&[network("192.0.2.1", 32), network("fd00::1", 128)]);
        assert!(one.has(address("192.0.2.1")) && !one.has(address("192.0.2.0")) && one.has(address("fd00::1")) && !one.has(address("fd00::2")));
        assert!(BlockList::default().is_empty() && !BlockList::default().has(address("192.0.2.1")));
    }

    #[test]
    fn what_is_no_range_is_refused_and_a_mapped_one_is_of_ipv4() {
        assert_eq!(AddressRange::new(address("192.0.2.2"), address("192.0.2.1")), None);
        assert_eq!(AddressRange::new(address("192.0.2.2"), address("fd00::1")), None);
        assert_eq!(AddressRange::network(address("192.0.2.2"), 33), None);
        assert_eq!(AddressRange::network(address("fd00::"), 129), None);
        assert!(BlockList::new(&[range("::ffff:192.0.2.1", "::ffff:192.0.2.9")]).has(address("192.0.2.5")));
    }

    #[test]
    fn a_long_list_of_ranges_is_searched_right() {
        let ranges: Vec<_> = (0..5_000_u32).map(|at| {
            let first = std::net::Ipv4Addr::from_bits(at * 10);
            AddressRange::new(first.into(), std::net::Ipv4Addr::from_bits(at * 10 + 4).into()).expect("range")
        }).collect();
        let list = BlockList::new(&ranges);
        assert!((0..50_000_u32).all(|bits| list.has(std::net::Ipv4Addr::from_bits(bits).into()) == (bits % 10 < 5)));
    }
}
