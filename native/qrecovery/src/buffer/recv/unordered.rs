//! Bytes taken in any order: what is here goes out, whatever is missing before it (RFC 9000 §2.2).
//!
//! Called by the receive buffer once its application asked for it; there is no way back. A byte is handed out once, and
//! a block is given back when no byte in it waits.

use super::{BLOCK, BLOCK_LEN, RecvBuffer, place_in_block};
use crate::{RangeSet, buffer::BufferPool};
use std::ops::Range;

/// What was received and not taken.
#[derive(Debug, Default)]
pub(super) struct Unread {
    ranges: RangeSet,
    bytes: u64,
}

impl Unread {
    /// Bytes that were never here have come.
    pub fn add(&mut self, range: Range<u64>) {
        self.bytes = self.bytes.saturating_add(self.ranges.insert(range));
    }

    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub fn clear(&mut self) {
        self.ranges = RangeSet::new();
        self.bytes = 0;
    }

    pub fn memory(&self) -> usize {
        self.ranges.memory()
    }

    fn take(&mut self, range: Range<u64>) {
        self.bytes = self.bytes.saturating_sub(self.ranges.remove(range));
    }
}

impl RecvBuffer {
    /// Bytes are taken in any order, by [`RecvBuffer::read_unordered`] only.
    #[must_use]
    pub const fn is_unordered(&self) -> bool {
        self.unread.is_some()
    }

    /// Takes bytes that follow each other into `out`, the lowest that are here, and answers the offset of the first and
    /// how many; `None` if none is here or `out` is empty. From then on the order is nobody's.
    pub fn read_unordered(&mut self, out: &mut [u8], pool: &mut BufferPool) -> Option<(u64, usize)> {
        let (read, contiguous) = (self.read, self.contiguous);
        let ahead = &self.ahead;
        let unread = self.unread.get_or_insert_with(|| {
            let mut unread = Box::<Unread>::default();
            unread.add(read..contiguous);
            ahead.iter().for_each(|range| unread.add(range));
            unread
        });
        let first = unread.ranges.first()?;
        let len = first.end.saturating_sub(first.start).min(out.len() as u64);
        if len == 0 {
            return None;
        }
        let taken = first.start..first.start.saturating_add(len);
        unread.take(taken.clone());
        self.blocks.copy(taken.start, out.get_mut(..usize::try_from(len).ok()?)?);
        for number in taken.start / BLOCK..=taken.end / BLOCK {
            let start = number.saturating_mul(BLOCK);
            if !unread.ranges.contains_any(start..start.saturating_add(BLOCK)) {
                self.blocks.release(number, pool);
            }
        }
        // What may still come lies at or behind `contiguous`.
        self.read = unread.ranges.min().unwrap_or(contiguous).min(contiguous);
        self.blocks.release_before(self.read / BLOCK, pool);
        if unread.bytes == 0 {
            self.blocks.clear(pool);
        }
        Some((taken.start, usize::try_from(len).ok()?))
    }
}

impl super::Blocks {
    /// Copies bytes that are here, from `offset` on.
    fn copy(&self, offset: u64, out: &mut [u8]) {
        let (mut offset, mut out) = (offset, out);
        while !out.is_empty() {
            let start = place_in_block(offset);
            let len = out.len().min(BLOCK_LEN.saturating_sub(start));
            let (head, rest) = out.split_at_mut(len);
            let index = usize::try_from((offset / BLOCK).saturating_sub(self.first)).unwrap_or(usize::MAX);
            let block = self.slots.get(index).and_then(Option::as_ref);
            if let Some(from) = block.and_then(|block| block.bytes().get(start..start.saturating_add(len))) {
                head.copy_from_slice(from);
            }
            offset = offset.saturating_add(len as u64);
            out = rest;
        }
    }

    /// Gives one block back and keeps its place.
    fn release(&mut self, number: u64, pool: &mut BufferPool) {
        let index = number.checked_sub(self.first).and_then(|index| usize::try_from(index).ok());
        let slot = index.and_then(|index| self.slots.get_mut(index));
        if let Some(block) = slot.and_then(Option::take) {
            pool.give(block);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn byte(offset: u64) -> u8 {
        (offset.wrapping_mul(0x9e37_79b9) >> 9) as u8
    }

    fn bytes(range: Range<u64>) -> Vec<u8> {
        range.map(byte).collect()
    }

    #[test]
    fn what_is_here_goes_out_before_what_is_missing() {
        let mut pool = BufferPool::default();
        let mut buffer = RecvBuffer::new();
        buffer.write(100, &bytes(100..200), &mut pool).unwrap();
        assert_eq!(buffer.readable(), 0, "in order nothing can be taken");
        let mut out = [0; 60];
        assert_eq!(buffer.read_unordered(&mut out, &mut pool), Some((100, 60)));
        assert_eq!(out.as_slice(), bytes(100..160));
        assert_eq!((buffer.readable(), buffer.held(), buffer.is_unordered()), (40, 40, true));
        buffer.write(0, &bytes(0..130), &mut pool).unwrap();
        assert_eq!(buffer.held(), 140, "bytes that were taken do not come back");
        assert_eq!(buffer.read_unordered(&mut [0; 500], &mut pool), Some((0, 100)));
        assert_eq!(buffer.read_unordered(&mut [0; 500], &mut pool), Some((160, 40)));
        assert_eq!((buffer.read_unordered(&mut [0; 500], &mut pool), pool.used()), (None, 0));
    }

    #[test]
    fn a_hole_at_the_front_holds_no_block_of_what_was_taken_behind_it() {
        let mut pool = BufferPool::default();
        let mut buffer = RecvBuffer::new();
        let mut out = vec![0; BLOCK_LEN];
        for number in 1..200 {
            let start = number * BLOCK;
            buffer.write(start, &bytes(start..start + BLOCK), &mut pool).unwrap();
            assert_eq!(buffer.read_unordered(&mut out, &mut pool), Some((start, BLOCK_LEN)));
            assert_eq!(pool.used(), 0);
        }
    }

    proptest! {
        #[test]
        fn every_byte_goes_out_once_and_is_right(
            pieces in proptest::collection::vec((0u64..60_000, 1usize..3_000), 1..120), sizes in proptest::collection::vec(1usize..5_000, 1..120),
        ) {
            let mut pool = BufferPool::default();
            let mut buffer = RecvBuffer::new();
            let (mut seen, mut sent) = (RangeSet::new(), RangeSet::new());
            let mut out = vec![0; 5_000];
            let mut sizes = sizes.into_iter().cycle();
            for (start, len) in pieces {
                let end = start + len as u64;
                buffer.write(start, &bytes(start..end), &mut pool).unwrap();
                sent.insert(start..end);
                for _ in 0..2 {
                    let size = sizes.next().unwrap();
                    if let Some((offset, len)) = buffer.read_unordered(&mut out[..size], &mut pool) {
                        let range = offset..offset + len as u64;
                        prop_assert!(out[..len] == bytes(range.clone())[..], "wrong bytes at {}", offset);
                        prop_assert_eq!(seen.insert(range), len as u64, "twice");
                    }
                }
                prop_assert_eq!(buffer.held(), sent.count() - seen.count());
            }
            while let Some((offset, len)) = buffer.read_unordered(&mut out, &mut pool) {
                prop_assert_eq!(seen.insert(offset..offset + len as u64), len as u64);
            }
            prop_assert_eq!(seen.count(), sent.count());
            prop_assert_eq!((buffer.held(), pool.used()), (0, 0));
        }
    }
}
