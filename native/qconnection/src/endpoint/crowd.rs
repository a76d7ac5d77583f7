//! How many accepted connections live, in all and of each client address (attacks L28).
//!
//! An address is an IPv4 address, or the first 64 bits of an IPv6 address: whoever has one of those has all behind it. A
//! connection counts for the address it was accepted from as long as it lives, wherever it goes. There are never more
//! addresses here than connections. Called by the accept step and when a connection is buried. Never refuses by itself.

use super::route::Seeded;
use qbase::StandIn;
use std::{collections::HashMap, net::IpAddr};

/// Who counts as one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Place {
    V4(u32),
    /// The upper half of the address.
    V6(u64),
    /// A way through a relay: every peer has an address of its own that stands for it.
    Relayed(u128),
}

impl Place {
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(way) if StandIn::is_claimed(address) => Self::Relayed(way.to_bits().into()),
            IpAddr::V6(way) if StandIn::is_claimed(address) => Self::Relayed(way.to_bits()),
            IpAddr::V4(address) => Self::V4(address.to_bits()),
            IpAddr::V6(address) => Self::V6((address.to_bits() >> 64) as u64),
        }
    }
}

/// Accepted connections, counted.
#[derive(Debug)]
pub(super) struct Crowd {
    by_place: HashMap<Place, usize, Seeded>,
    /// By slot: where the connection in it came from.
    places: Vec<Option<Place>>,
    len: usize,
}

impl Crowd {
    pub(super) fn new(seed: u64) -> Self {
        Self { by_place: HashMap::with_hasher(Seeded(seed)), places: Vec::new(), len: 0 }
    }

    /// All of them.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Those that came from this address.
    pub(super) fn of(&self, address: IpAddr) -> usize {
        self.by_place.get(&Place::of(address)).copied().unwrap_or(0)
    }

    /// The connection in this slot came from there.
    pub(super) fn enter(&mut self, slot: u32, address: IpAddr) {
        self.leave(slot);
        let at = slot as usize;
        if self.places.len() <= at {
            self.places.resize(at.saturating_add(1), None);
        }
        let Some(place) = self.places.get_mut(at) else { return };
        *place = Some(Place::of(address));
        let count = self.by_place.entry(Place::of(address)).or_default();
        *count = count.saturating_add(1);
        self.len = self.len.saturating_add(1);
    }

    /// The connection in this slot is gone; of our own ones nothing is known.
    pub(super) fn leave(&mut self, slot: u32) {
        let Some(place) = self.places.get_mut(slot as usize).and_then(Option::take) else { return };
        self.len = self.len.saturating_sub(1);
        if let Some(count) = self.by_place.get_mut(&place) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.by_place.remove(&place);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("address")
    }

    #[test]
    fn connections_count_for_an_address_until_they_are_gone() {
        let mut crowd = Crowd::new(3);
        crowd.enter(0, address("192.0.2.1"));
        crowd.enter(5, address("192.0.2.1"));
        crowd.enter(2, address("192.0.2.2"));
        assert_eq!((crowd.len(), crowd.of(address("192.0.2.1")), crowd.of(address("192.0.2.2"))), (3, 2, 1));
        crowd.leave(5);
        crowd.leave(5);
        crowd.leave(77);
        assert_eq!((crowd.len(), crowd.of(address("192.0.2.1"))), (2, 1));
        crowd.enter(0, address("192.0.2.3"));
        assert_eq!((crowd.len(), crowd.of(address("192.0.2.1")), crowd.of(address("192.0.2.3"))), (2, 0, 1));
    }

    #[test]
    fn addresses_of_one_64_bit_network_are_one_client_and_mapped_ones_are_ipv4() {
        let mut crowd = Crowd::new(3);
        crowd.enter(0, address("2001:db8::1"));
        crowd.enter(1, address("2001:db8::ffff:1"));
        crowd.enter(2, address("2001:db8:0:1::1"));
        crowd.enter(3, address("::ffff:192.0.2.1"));
        assert_eq!(crowd.of(address("2001:db8::2")), 2);
        assert_eq!(crowd.of(address("2001:db8:0:1::9")), 1);
        assert_eq!(crowd.of(address("192.0.2.1")), 1);
    }

    #[test]
    fn attack_l28_no_address_is_remembered_longer_than_its_connections() {
        let mut crowd = Crowd::new(3);
        for round in 0..1_000_u32 {
            for slot in 0..10 {
                crowd.enter(slot, std::net::Ipv4Addr::from_bits(round * 10 + slot).into());
            }
            assert_eq!((crowd.by_place.len(), crowd.places.len()), (10, 10));
        }
        (0..10).for_each(|slot| crowd.leave(slot));
        assert_eq!((crowd.len(), crowd.by_place.len()), (0, 0));
    }
}
