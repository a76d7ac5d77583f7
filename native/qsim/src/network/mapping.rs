//! Address translation in front of a host: what a NAT makes of one of its addresses.
//!
//! Called by the network for each datagram. Knows one outside address for an inside one; a new one takes the place of the
//! old, which leads nowhere from then on.

use std::{collections::BTreeMap, net::SocketAddr};

/// Inside addresses and what the world sees.
#[derive(Debug, Default)]
pub(super) struct Mappings {
    outside: BTreeMap<SocketAddr, SocketAddr>,
}

impl Mappings {
    pub(super) fn set(&mut self, inside: SocketAddr, outside: SocketAddr) {
        self.outside.insert(inside, outside);
    }

    /// What receivers see of a source.
    pub(super) fn seen(&self, source: SocketAddr) -> SocketAddr {
        self.outside.get(&source).copied().unwrap_or(source)
    }

    /// Where a datagram to this address arrives; `None`: nowhere.
    pub(super) fn reached(&self, destination: SocketAddr) -> Option<SocketAddr> {
        let inside = self.outside.iter().find(|(_, outside)| **outside == destination).map(|(inside, _)| *inside);
        inside.or_else(|| (!self.outside.contains_key(&destination)).then_some(destination))
    }
}
