//! Conclusions from observations: pure functions (RFC 4787 §4, RFC 5780 §4.3).
//!
//! Called by detections and by whoever wants to draw other conclusions from the same raw data.

use std::net::SocketAddr;

use crate::nat::{Mapping, PortAllocation};

/// One server and the mapped address that it saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The server.
    pub server: SocketAddr,
    /// The socket as it saw it.
    pub mapped: SocketAddr,
}

/// How one socket is mapped, from what several servers saw of it. `local`: its own address, where it is not a wildcard.
///
/// Servers that differ in IP only with different mappings cannot tell whether the port counts too: the stricter is said.
#[must_use]
pub fn mapping(local: Option<SocketAddr>, seen: &[Seen]) -> Mapping {
    let pairs = || {
        let with_rest = |(n, a): (usize, &Seen)| {
            let a = *a;
            seen.iter().skip(n.saturating_add(1)).map(move |b| (a, *b))
        };
        seen.iter().enumerate().flat_map(with_rest).filter(|(a, b)| a.server != b.server)
    };
    let is_other_ip = |(a, b): &(Seen, Seen)| a.server.ip() != b.server.ip();
    if !seen.is_empty() && seen.iter().all(|seen| Some(seen.mapped) == local) {
        return Mapping::None;
    }
    if pairs().any(|(a, b)| a.server.ip() == b.server.ip() && a.mapped != b.mapped) {
        return Mapping::AddressAndPortDependent;
    }
    if pairs().any(|(a, b)| a.mapped != b.mapped) {
        let same_ip_seen = pairs().any(|pair| !is_other_ip(&pair));
        return if same_ip_seen { Mapping::AddressDependent } else { Mapping::AddressAndPortDependent };
    }
    // All alike; one server, or several ports of one IP, say too little.
    if pairs().any(|pair| is_other_ip(&pair)) { Mapping::EndpointIndependent } else { Mapping::Unknown }
}

/// One fresh mapping: the port inside and the port outside, in the order in which they were made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// Of the socket.
    pub inside: u16,
    /// Of the mapping.
    pub outside: u16,
}

/// Fewer samples than these say nothing but "preserving", which one shows by chance once in 60,000 times.
const MIN_SAMPLES: usize = 4;
/// A larger step is no step.
const MAX_STEP: i32 = 128;

/// How ports are chosen, from mappings made one after the other.
///
/// Other hosts behind the same NAT make mappings in between: a step counts when two thirds of the gaps are that step.
#[must_use]
pub fn ports(samples: &[Ports]) -> PortAllocation {
    let kept = samples.iter().filter(|ports| ports.inside == ports.outside).count();
    // Where a port was taken another one was given.
    if !samples.is_empty() && is_most(kept, samples.len()) {
        return PortAllocation::Preserving;
    }
    if samples.len() < MIN_SAMPLES {
        return PortAllocation::Unknown;
    }
    if let Some(step) = step(samples) {
        return PortAllocation::Sequential { step };
    }
    let same_parity = |ports: &Ports| ports.inside & 1 == ports.outside & 1;
    let both_parities = samples.iter().any(|ports| ports.inside & 1 == 0) && samples.iter().any(|ports| ports.inside & 1 == 1);
    // Six samples of no rule look like this once in 64 times.
    if samples.len() >= 6 && both_parities && samples.iter().all(same_parity) {
        return PortAllocation::Parity;
    }
    PortAllocation::Random
}

fn step(samples: &[Ports]) -> Option<i32> {
    let gaps = || {
        samples.iter().zip(samples.iter().skip(1)).map(|(a, b)| i32::from(b.outside).saturating_sub(i32::from(a.outside)))
    };
    let total = gaps().count();
    let (step, count) = gaps().map(|gap| (gap, gaps().filter(|other| *other == gap).count())).max_by_key(|(_, count)| *count)?;
    (step != 0 && step.saturating_abs() <= MAX_STEP && is_most(count, total)).then_some(step)
}

/// Two thirds or more.
fn is_most(count: usize, of: usize) -> bool {
    count.saturating_mul(3) >= of.saturating_mul(2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::tests::address;

    fn seen(servers: &[(&str, &str)]) -> Vec<Seen> {
        servers.iter().map(|(server, mapped)| Seen { server: address(server), mapped: address(mapped) }).collect()
    }

    /// traversal T-51, RFC 5780 §4.3.
    #[test]
    fn a_mapping_is_what_servers_of_other_addresses_and_ports_saw() {
        const A: &str = "192.0.2.1:1";
        const B: &str = "192.0.2.1:2";
        const C: &str = "192.0.2.2:1";
        const D: &str = "192.0.2.2:2";
        let (x, y, z) = ("198.51.100.1:1", "198.51.100.1:2", "198.51.100.1:3");
        let local = Some(address("10.0.0.1:5"));
        let cases: [(&[(&str, &str)], Mapping); 12] = [
            (&[], Mapping::Unknown),
            (&[(A, x)], Mapping::Unknown),
            (&[(A, x), (B, x)], Mapping::Unknown),
            (&[(A, x), (B, y)], Mapping::AddressAndPortDependent),
            (&[(A, x), (D, x)], Mapping::EndpointIndependent),
            (&[(A, x), (D, y)], Mapping::AddressAndPortDependent),
            (&[(A, x), (D, x), (C, x), (B, x)], Mapping::EndpointIndependent),
            (&[(A, x), (D, y), (C, y), (B, x)], Mapping::AddressDependent),
            (&[(A, x), (D, y), (C, y)], Mapping::AddressDependent),
            (&[(A, x), (D, y), (C, z), (B, z)], Mapping::AddressAndPortDependent),
            (&[(A, "10.0.0.1:5")], Mapping::None),
            (&[(A, "10.0.0.1:5"), (D, "10.0.0.1:5")], Mapping::None),
        ];
        for (servers, expected) in cases {
            assert_eq!(mapping(local, &seen(servers)), expected, "{servers:?}");
        }
        assert_eq!(mapping(None, &seen(&[(A, x), (D, x)])), Mapping::EndpointIndependent);
    }

    /// RFC 4787 §4.2.
    #[test]
    fn port_allocation_is_told_from_mappings_in_a_row() {
        use PortAllocation::{Parity, Preserving, Random, Sequential, Unknown};
        let cases: [(&[(u16, u16)], PortAllocation); 9] = [
            (&[], Unknown),
            (&[(5, 5)], Preserving),
            (&[(5, 5), (6, 6), (7, 9_000)], Preserving),
            (&[(5, 100), (9, 101), (2, 102)], Unknown),
            (&[(5, 100), (9, 101), (2, 102), (8, 103)], Sequential { step: 1 }),
            (&[(5, 100), (9, 98), (2, 96), (8, 94)], Sequential { step: -2 }),
            (&[(5, 100), (9, 101), (2, 104), (8, 105), (7, 106), (1, 107)], Sequential { step: 1 }),
            (&[(5, 4_001), (9, 807), (2, 30_000), (8, 9_004), (7, 777), (1, 1_233)], Parity),
            (&[(5, 4_000), (9, 807), (2, 30_000), (8, 9_004), (7, 777), (1, 1_233)], Random),
        ];
        for (samples, expected) in cases {
            let samples: Vec<Ports> = samples.iter().map(|&(inside, outside)| Ports { inside, outside }).collect();
            assert_eq!(ports(&samples), expected, "{samples:?}");
        }
    }
}
