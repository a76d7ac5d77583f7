//! Bytes that show where they belong: a table of a prime length, repeated.
//!
//! The length is prime so that no packet, buffer or window size divides it: bytes moved by any distance below it differ.

use std::sync::LazyLock;

/// Length of the table, bytes; a prime.
pub const PERIOD: usize = 65_521;

/// Byte `j` is bits 8 to 15 of `j * 40_503`.
static TABLE: LazyLock<Vec<u8>> =
    LazyLock::new(|| (0..PERIOD as u32).map(|j| (j.wrapping_mul(40_503) >> 8) as u8).collect());

/// The next patterned bytes from `offset` on, as many as are contiguous in the table.
#[must_use]
pub fn at(offset: u64) -> &'static [u8] {
    let start = (offset % PERIOD as u64) as usize;
    TABLE.get(start..).unwrap_or_default()
}

/// Whether `bytes` are the patterned bytes from `offset` on.
#[must_use]
pub fn matches(mut offset: u64, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        let expected = at(offset);
        let length = expected.len().min(bytes.len());
        let (head, tail) = bytes.split_at(length);
        if !expected.starts_with(head) {
            return false;
        }
        offset += length as u64;
        bytes = tail;
    }
    true
}
