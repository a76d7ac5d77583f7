//! QUIC versions (RFC 9000 §15, RFC 9368 §2, RFC 9369 §3.1).
//!
//! Called by headers, transport parameters and the endpoint. Never decides which version a connection takes.

/// QUIC version 1 (RFC 9000 §15).
pub const VERSION_1: u32 = 0x0000_0001;
/// QUIC version 2 (RFC 9369 §3.1): the same machine with other salts, labels and long-header types.
pub const VERSION_2: u32 = 0x6b33_43cf;
/// Every version that can be spoken here; each is compatible with each (RFC 9369 §4).
pub const SPOKEN: [u32; 2] = [VERSION_1, VERSION_2];

/// The version can be spoken here.
#[must_use]
pub const fn is_spoken(version: u32) -> bool {
    matches!(version, VERSION_1 | VERSION_2)
}

/// A version of the form 0x?a?a?a?a, which nobody ever speaks: it keeps peers tolerant (RFC 9000 §15).
#[must_use]
pub const fn reserved(random: u32) -> u32 {
    random & 0xf0f0_f0f0 | 0x0a0a_0a0a
}

/// The version has the form of [`reserved`] ones.
#[must_use]
pub const fn is_reserved(version: u32) -> bool {
    version & 0x0f0f_0f0f == 0x0a0a_0a0a
}

/// The first of `ours` that is also among `theirs`.
#[must_use]
pub fn choose(ours: &[u32], theirs: impl Iterator<Item = u32> + Clone) -> Option<u32> {
    ours.iter().copied().find(|version| theirs.clone().any(|their| their == *version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_order_decides_among_common_versions() {
        let theirs = [reserved(7), VERSION_1, VERSION_2];
        assert_eq!(choose(&[VERSION_2, VERSION_1], theirs.into_iter()), Some(VERSION_2));
        assert_eq!(choose(&[VERSION_1, VERSION_2], theirs.into_iter()), Some(VERSION_1));
        assert_eq!(choose(&[VERSION_2], [VERSION_1].into_iter()), None);
    }

    #[test]
    fn reserved_versions_have_their_form_and_are_not_spoken() {
        for random in [0, 1, 0xdead_beef, u32::MAX] {
            assert_eq!(reserved(random) & 0x0f0f_0f0f, 0x0a0a_0a0a);
            assert!(!is_spoken(reserved(random)) && is_reserved(reserved(random)));
        }
        assert!(SPOKEN.into_iter().all(is_spoken) && !SPOKEN.into_iter().any(is_reserved));
    }
}
