//! Variable-length integers (RFC 9000 §16).
//!
//! | first two bits | bytes | usable bits | range |
//! |---|---|---|---|
//! | 00 | 1 | 6 | 0 ..= 63 |
//! | 01 | 2 | 14 | 0 ..= 16383 |
//! | 10 | 4 | 30 | 0 ..= 2^30-1 |
//! | 11 | 8 | 62 | 0 ..= 2^62-1 |

/// Largest value a varint can carry: 2^62 - 1.
pub const MAX: u64 = (1 << 62) - 1;

/// Bytes the shortest encoding of `value` takes; values above [`MAX`] are counted as 8.
#[must_use]
pub const fn size(value: u64) -> usize {
    if value < 1 << 6 {
        1
    } else if value < 1 << 14 {
        2
    } else if value < 1 << 30 {
        4
    } else {
        8
    }
}

/// Bytes the shortest encodings of all `values` take together.
#[must_use]
pub fn sizes<const N: usize>(values: [u64; N]) -> usize {
    values.into_iter().fold(0, |sum: usize, value| sum.saturating_add(size(value)))
}
