//! Code points of traversal: the registry of frame types and transport parameters (traversal §5, T-100;
//! draft-ietf-quic-address-discovery).
//!
//! Called by the profiles and by whoever negotiates. The numbers of profile `braid` are ours alone, drawn once; those of
//! `dquic` are what its peers send. Never holds meaning.

/// One table a profile.
macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $value:literal),+ $(,)?) => {
        $($(#[$doc])* pub const $name: u64 = $value;)+
    };
}

/// Frame types of profile `dquic` (traversal §5).
pub mod dquic {
    codes! {
        /// ADD_ADDRESS, IPv4.
        ADD_ADDRESS_V4 = 0x3d7e90,
        /// ADD_ADDRESS, IPv6.
        ADD_ADDRESS_V6 = 0x3d7e91,
        /// PUNCH_ME_NOW, IPv4.
        PUNCH_ME_NOW_V4 = 0x3d7e92,
        /// PUNCH_ME_NOW, IPv6.
        PUNCH_ME_NOW_V6 = 0x3d7e93,
        /// REMOVE_ADDRESS.
        REMOVE_ADDRESS = 0x3d7e94,
        /// PUNCH_HELLO.
        PUNCH_HELLO = 0x3d7e95,
        /// PUNCH_DONE.
        PUNCH_DONE = 0x3d7e96,
    }
}

/// Frame types and parameter of profile `braid` (traversal T-100).
pub mod braid {
    codes! {
        /// ADD_ADDRESS, IPv4.
        ADD_ADDRESS_V4 = 0x21b3a1d0,
        /// ADD_ADDRESS, IPv6.
        ADD_ADDRESS_V6 = 0x21b3a1d1,
        /// PUNCH_ME_NOW, IPv4.
        PUNCH_ME_NOW_V4 = 0x21b3a1d2,
        /// PUNCH_ME_NOW, IPv6.
        PUNCH_ME_NOW_V6 = 0x21b3a1d3,
        /// REMOVE_ADDRESS.
        REMOVE_ADDRESS = 0x21b3a1d4,
        /// PUNCH_HELLO.
        PUNCH_HELLO = 0x21b3a1d5,
        /// PUNCH_DONE.
        PUNCH_DONE = 0x21b3a1d6,
        /// Transport parameter: [`TraversalParameter`](crate::frame::param::TraversalParameter).
        PARAMETER = 0x1d3b_7c52_e9a4_6f08,
    }
}

/// Address discovery, whatever the profile.
pub mod discovery {
    codes! {
        /// OBSERVED_ADDRESS, IPv4.
        OBSERVED_ADDRESS_V4 = 0x9f81a6,
        /// OBSERVED_ADDRESS, IPv6.
        OBSERVED_ADDRESS_V6 = 0x9f81a7,
        /// Transport parameter: [`AddressDiscovery`](crate::frame::param::AddressDiscovery).
        PARAMETER = 0x9f81a176,
    }
}
