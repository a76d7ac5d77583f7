//! What ends declare about traversal in the handshake (traversal T-100; draft-ietf-quic-address-discovery §3).
//!
//! | parameter | value |
//! |---|---|
//! | 0x1d3b7c52e9a46f08, profile `braid` | role bits (i), max addresses (i), max punches (i); what follows is skipped |
//! | 0x9f81a176, address_discovery | 0 provides, 1 asks, 2 both (i), and nothing else |
//!
//! Called by reading and writing the parameters: these are the values, without id and length. Never decides what is
//! negotiated, except by [`AddressDiscovery::may_observe`].

use crate::{ErrorCode, Reader, TransportError, Writer, limits, varint};

/// What an end takes part in.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Roles(u64);

impl Roles {
    /// Announces addresses and answers punches.
    pub const PUNCH: Self = Self(1);
    /// Is a relay: registers the peer that asks for it.
    pub const RELAY: Self = Self(2);
    /// Takes part in port search and collision (traversal T-97).
    pub const PORT_SEARCH: Self = Self(4);

    /// The bits on the wire. Unknown ones are kept and mean nothing.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// From the wire.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// All roles of `other` are among these.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// These and those.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl std::fmt::Debug for Roles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Roles({:#b})", self.0)
    }
}

/// The transport parameter of profile `braid`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraversalParameter {
    /// What this end takes part in.
    pub roles: Roles,
    /// Addresses of the peer it keeps; more are ignored.
    pub max_addresses: u64,
    /// Punches with the peer it runs at once; 0: none.
    pub max_punches: u64,
}

impl Default for TraversalParameter {
    /// Punches within our limits (traversal T-67); no relay, no port search.
    fn default() -> Self {
        Self {
            roles: Roles::PUNCH,
            max_addresses: limits::TRAVERSAL_ADDRESSES as u64,
            max_punches: limits::PUNCHES_RUNNING as u64,
        }
    }
}

impl TraversalParameter {
    /// Reads the value.
    ///
    /// # Errors
    /// TRANSPORT_PARAMETER_ERROR: a field is missing.
    pub fn read(value: &[u8]) -> Result<Self, TransportError> {
        let mut reader = Reader::new(value);
        let mut number = || reader.varint().map_err(|_| bad("truncated traversal parameter"));
        Ok(Self { roles: Roles(number()?), max_addresses: number()?, max_punches: number()? })
    }

    /// Bytes of the value.
    #[must_use]
    pub fn size(&self) -> usize {
        varint::sizes([self.roles.0, self.max_addresses, self.max_punches])
    }

    /// Puts the value.
    pub fn write(&self, writer: &mut Writer<'_>) {
        for number in [self.roles.0, self.max_addresses, self.max_punches] {
            writer.varint(number);
        }
    }
}

/// The address_discovery parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AddressDiscovery {
    /// Tells the peer what it sees.
    Provides,
    /// Wants to be told.
    Asks,
    /// Both.
    Both,
}

impl AddressDiscovery {
    /// Reads the value.
    ///
    /// # Errors
    /// TRANSPORT_PARAMETER_ERROR: not 0, 1 or 2, or more than that.
    pub fn read(value: &[u8]) -> Result<Self, TransportError> {
        let mut reader = Reader::new(value);
        match (reader.varint(), reader.is_empty()) {
            (Ok(0), true) => Ok(Self::Provides),
            (Ok(1), true) => Ok(Self::Asks),
            (Ok(2), true) => Ok(Self::Both),
            _ => Err(bad("address_discovery is 0, 1 or 2")),
        }
    }

    /// The value, one byte on the wire.
    #[must_use]
    pub const fn to_wire(self) -> u8 {
        match self {
            Self::Provides => 0,
            Self::Asks => 1,
            Self::Both => 2,
        }
    }

    /// This end may send OBSERVED_ADDRESS to a peer that declared `peer`.
    #[must_use]
    pub fn may_observe(self, peer: Option<Self>) -> bool {
        matches!(self, Self::Provides | Self::Both) && matches!(peer, Some(Self::Asks | Self::Both))
    }
}

const fn bad(reason: &'static str) -> TransportError {
    TransportError::new(ErrorCode::TRANSPORT_PARAMETER_ERROR, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// traversal T-100.
    #[test]
    fn the_parameter_is_three_numbers_and_more_is_skipped() {
        let ours = TraversalParameter::default();
        let mut buffer = [0; 24];
        let mut writer = Writer::new(&mut buffer);
        ours.write(&mut writer);
        assert_eq!(writer.written(), [1, 16, 8]);
        assert_eq!(ours.size(), 3);
        assert_eq!(TraversalParameter::read(&[1, 16, 8]), Ok(ours));
        assert_eq!(TraversalParameter::read(&[1, 16, 8, 99, 99]), Ok(ours), "later fields");
        for cut in 0..3 {
            let error = TraversalParameter::read(&[1, 16, 8][..cut]).unwrap_err();
            assert_eq!(error.code, ErrorCode::TRANSPORT_PARAMETER_ERROR);
        }
        let all = Roles::PUNCH.and(Roles::RELAY).and(Roles::PORT_SEARCH);
        assert_eq!(all.bits(), 7);
        assert!(all.has(Roles::RELAY) && !Roles::PUNCH.has(Roles::RELAY));
        assert!(Roles::from_bits(0x39).has(Roles::PUNCH), "unknown bits mean nothing");
    }

    /// draft-ietf-quic-address-discovery §3.
    #[test]
    fn address_discovery_is_0_1_or_2() {
        for (byte, value) in [(0, AddressDiscovery::Provides), (1, AddressDiscovery::Asks), (2, AddressDiscovery::Both)] {
            assert_eq!(AddressDiscovery::read(&[byte]), Ok(value));
            assert_eq!(value.to_wire(), byte);
        }
        for bad in [&[][..], &[3], &[0, 0], &[0x40], &[0x40, 3]] {
            assert_eq!(AddressDiscovery::read(bad).unwrap_err().code, ErrorCode::TRANSPORT_PARAMETER_ERROR);
        }
        use AddressDiscovery::{Asks, Both, Provides};
        for (ours, peer, expected) in [
            (Provides, Some(Asks), true),
            (Both, Some(Both), true),
            (Both, Some(Provides), false),
            (Asks, Some(Asks), false),
            (Both, None, false),
        ] {
            assert_eq!(ours.may_observe(peer), expected, "{ours:?} to {peer:?}");
        }
    }
}
