//! Bytes that tell where they belong: every stream of either end has its own endless sequence.
//!
//! Called by the traffic on both ends. A byte at a wrong place, of another stream or of the other end is seen.

use qbase::{Role, StreamId};

use crate::random::Random;

/// Length of the table, bytes: a prime, so that no window or packet size divides it.
const LEN: u64 = 65_521;

/// The sequences of one world.
#[derive(Clone)]
pub struct Pattern {
    table: Vec<u8>,
}

impl Pattern {
    /// The sequences of this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut table = vec![0; usize::try_from(LEN).unwrap_or_default()];
        Random::labelled(seed, u64::MAX).fill(&mut table);
        Self { table }
    }

    /// Bytes of a stream from `offset` on: at least one, as many as lie together.
    #[must_use]
    pub fn chunk(&self, sender: Role, stream: StreamId, offset: u64) -> &[u8] {
        let salt = stream.0.wrapping_mul(7_919).wrapping_add(if sender.is_client() { 0 } else { 31_337 }) % LEN;
        let start = (salt.wrapping_add(offset % LEN)) % LEN;
        usize::try_from(start).ok().and_then(|start| self.table.get(start..)).unwrap_or_default()
    }

    /// Offset of the first of `bytes`, which stand at `offset` of a stream, that does not belong there.
    #[must_use]
    pub fn first_wrong(&self, sender: Role, stream: StreamId, mut offset: u64, mut bytes: &[u8]) -> Option<u64> {
        while !bytes.is_empty() {
            let expected = self.chunk(sender, stream, offset);
            let len = expected.len().min(bytes.len());
            let (now, later) = bytes.split_at_checked(len)?;
            if now != expected.get(..len).unwrap_or_default() {
                let place = now.iter().zip(expected).position(|(got, expected)| got != expected).unwrap_or_default();
                return Some(offset.saturating_add(place as u64));
            }
            offset = offset.saturating_add(len as u64);
            bytes = later;
        }
        None
    }
}

impl std::fmt::Debug for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pattern").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collect(pattern: &Pattern, sender: Role, stream: StreamId, from: u64, len: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < len {
            bytes.extend_from_slice(pattern.chunk(sender, stream, from + bytes.len() as u64));
        }
        bytes.truncate(len);
        bytes
    }

    #[test]
    fn a_sequence_fits_only_its_own_place() {
        let pattern = Pattern::new(1);
        let bytes = collect(&pattern, Role::Client, StreamId(4), 65_000, 2_000);
        assert_eq!(pattern.first_wrong(Role::Client, StreamId(4), 65_000, &bytes), None);
        assert!(pattern.first_wrong(Role::Client, StreamId(4), 65_001, &bytes).is_some());
        assert!(pattern.first_wrong(Role::Client, StreamId(8), 65_000, &bytes).is_some());
        assert!(pattern.first_wrong(Role::Server, StreamId(4), 65_000, &bytes).is_some());
    }

    #[test]
    fn the_first_wrong_byte_is_named() {
        let pattern = Pattern::new(1);
        let mut bytes = collect(&pattern, Role::Client, StreamId(0), 100, 500);
        bytes[321] ^= 1;
        assert_eq!(pattern.first_wrong(Role::Client, StreamId(0), 100, &bytes), Some(421));
    }
}
