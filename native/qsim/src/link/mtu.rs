//! Longest datagram a link carries. Longer ones vanish without a word, as behind a router that sends no ICMP.

/// UDP payload of an Ethernet frame over IPv4, bytes: 1,500 less 20 and 8 bytes of headers.
pub const DEFAULT: usize = 1_472;

/// A datagram of `len` bytes fits.
#[must_use]
pub const fn fits(len: usize, mtu: usize) -> bool {
    len <= mtu
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_datagram_fits_and_one_byte_more_does_not() {
        assert!(fits(DEFAULT, DEFAULT));
        assert!(!fits(DEFAULT + 1, DEFAULT));
    }
}
