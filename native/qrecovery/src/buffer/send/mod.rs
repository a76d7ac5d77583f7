//! The send buffer of a stream: bytes from the application until the peer has acknowledged them (RFC 9000 §13.3).
//!
//! Decides which bytes are fresh, which must be sent again and which can be forgotten. Called by the sending part of a
//! stream and by CRYPTO streams. Never decides how much may be sent: flow control and congestion come first. A byte can
//! be on its way several times; the first acknowledgement counts, and a loss of a byte already acknowledged is nothing.

use super::{BLOCK_LEN, SpareBlocks, spare::SMALL_BLOCK};
use crate::RangeSet;
use bytes::Bytes;
use std::{collections::VecDeque, ops::Range};

/// Chunks shorter than this are copied behind the last one instead of being kept as they are: a small chunk may hold a
/// large allocation alive.
const SMALL_CHUNK: usize = 512;

/// Places for chunks that a buffer keeps from stream to stream.
const KEPT_PLACES: usize = 8;

/// Where a chunk's bytes are.
#[derive(Debug)]
enum Memory {
    /// Copied from the application; the last chunk may grow up to its capacity.
    Owned(Vec<u8>),
    /// Handed over by the application.
    Shared(Bytes),
}

/// Bytes that lie together.
#[derive(Debug)]
struct Chunk {
    /// Offset of the first byte.
    start: u64,
    memory: Memory,
}

impl Chunk {
    #[inline]
    fn bytes(&self) -> &[u8] {
        match &self.memory {
            Memory::Owned(bytes) => bytes,
            Memory::Shared(bytes) => bytes,
        }
    }

    #[inline]
    fn end(&self) -> u64 {
        self.start.saturating_add(self.bytes().len() as u64)
    }
}

/// Written bytes of one stream that are not all acknowledged.
///
/// ```text
/// 0 ...... acked_to ............ sent ......... written
///   freed           in flight,         fresh
///                   acknowledged
///                   in parts, or lost
/// ```
#[derive(Debug, Default)]
pub struct SendBuffer {
    /// Chunks of the bytes from `acked_to` (or a little below) to `written`.
    chunks: VecDeque<Chunk>,
    /// Index of the chunk read last: the next read is mostly there or behind it.
    hint: usize,
    /// Everything below is acknowledged.
    acked_to: u64,
    /// Acknowledged beyond `acked_to`.
    acked: RangeSet,
    /// To be sent again; never acknowledged, never beyond `sent`.
    lost: RangeSet,
    /// Bytes in `lost`.
    lost_bytes: u64,
    /// Everything below was sent at least once.
    sent: u64,
    /// Everything below was written.
    written: u64,
}

impl SendBuffer {
    /// An empty buffer at offset 0; takes no memory.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins again at offset 0 for another stream. The places for a few chunks are kept, their bytes go to `spare`.
    pub fn restart(&mut self, spare: &mut SpareBlocks) {
        self.clear(spare);
        let chunks = std::mem::take(&mut self.chunks);
        *self = Self { chunks: if chunks.capacity() <= KEPT_PLACES { chunks } else { VecDeque::new() }, ..Self::default() };
    }

    /// Copies `data` behind what was written.
    pub fn write(&mut self, data: &[u8], spare: &mut SpareBlocks) {
        let mut rest = data;
        while !rest.is_empty() {
            let room = self.tail_room();
            if room == 0 {
                self.push_block(rest.len(), spare);
                continue;
            }
            let (head, behind) = rest.split_at_checked(room).unwrap_or((rest, &[]));
            if let Some(Chunk { memory: Memory::Owned(block), .. }) = self.chunks.back_mut() {
                block.extend_from_slice(head);
            }
            self.written = self.written.saturating_add(head.len() as u64);
            rest = behind;
        }
    }

    /// Takes `chunk` over behind what was written, without a copy unless it is small.
    pub fn write_chunk(&mut self, chunk: Bytes, spare: &mut SpareBlocks) {
        if chunk.len() < SMALL_CHUNK {
            return self.write(&chunk, spare);
        }
        let start = self.written;
        self.written = start.saturating_add(chunk.len() as u64);
        self.chunks.push_back(Chunk { start, memory: Memory::Shared(chunk) });
    }

    /// Takes the next bytes to send again, lowest first, at most `max`.
    pub fn take_lost(&mut self, max: u64) -> Option<Range<u64>> {
        let first = self.lost.first()?;
        let range = first.start..first.end.min(first.start.saturating_add(max));
        self.lost_bytes = self.lost_bytes.saturating_sub(self.lost.remove(range.clone()));
        Some(range)
    }

    /// The next bytes to send again, if any, without taking them.
    #[must_use]
    #[inline]
    pub fn first_lost(&self) -> Option<Range<u64>> {
        self.lost.first()
    }

    /// Takes the next fresh bytes, at most `max`; they count as sent.
    #[inline]
    pub fn take_fresh(&mut self, max: u64) -> Range<u64> {
        let start = self.sent;
        self.sent = start.saturating_add(max).min(self.written);
        start..self.sent
    }

    /// Copies the bytes from `offset` on into `out`: one copy, or one more for every border of chunks. Answers whether
    /// all of them were there: bytes that are acknowledged or not written are not.
    #[must_use]
    #[inline]
    pub fn copy_range(&mut self, offset: u64, out: &mut [u8]) -> Copied {
        let Some(mut index) = self.chunk_at(offset) else { return Copied::Missing };
        let (mut offset, mut out) = (offset, out);
        while let Some(chunk) = self.chunks.get(index) {
            let from = usize::try_from(offset.saturating_sub(chunk.start)).unwrap_or(usize::MAX);
            let bytes = chunk.bytes().get(from..).unwrap_or_default();
            let len = bytes.len().min(out.len());
            let (Some(source), Some((to, rest))) = (bytes.get(..len), out.split_at_mut_checked(len)) else { break };
            to.copy_from_slice(source);
            self.hint = index;
            if rest.is_empty() {
                return Copied::All;
            }
            offset = offset.saturating_add(len as u64);
            out = rest;
            index = index.saturating_add(1);
        }
        Copied::Missing
    }

    /// A range was acknowledged; answers how many of its bytes were not before. Copies of it that wait to be sent
    /// again are dropped (multipath MP-83).
    pub fn on_acked(&mut self, range: Range<u64>, spare: &mut SpareBlocks) -> u64 {
        let range = range.start.max(self.acked_to)..range.end.min(self.sent);
        if range.is_empty() {
            return 0;
        }
        if !self.lost.is_empty() {
            self.lost_bytes = self.lost_bytes.saturating_sub(self.lost.remove(range.clone()));
        }
        if range.start > self.acked_to {
            return self.acked.insert(range);
        }
        let known = if self.acked.is_empty() { 0 } else { self.join_acked(range.end) };
        self.acked_to = self.acked_to.max(range.end);
        self.free_acked(spare);
        range.end.saturating_sub(range.start).saturating_sub(known)
    }

    /// A range was lost, or shall be sent on another path too: what of it is not acknowledged is to be sent again.
    /// Answers how many bytes were added to those that wait.
    pub fn on_lost(&mut self, range: Range<u64>) -> u64 {
        let range = range.start.max(self.acked_to)..range.end.min(self.sent);
        if range.is_empty() {
            return 0;
        }
        let added = self.acked.missing(range).map(|part| self.lost.insert(part)).sum();
        self.lost_bytes = self.lost_bytes.saturating_add(added);
        added
    }

    /// Forgets every byte: the stream was reset. The offsets stay as they are.
    pub fn clear(&mut self, spare: &mut SpareBlocks) {
        for chunk in self.chunks.drain(..) {
            if let Memory::Owned(block) = chunk.memory {
                spare.give(block);
            }
        }
        self.written = self.sent;
        self.acked_to = self.sent;
        self.acked = RangeSet::new();
        self.lost = RangeSet::new();
        self.lost_bytes = 0;
    }

    /// 0-RTT was rejected: nothing counts as sent any more. The peer has acknowledged nothing; bytes that a reset dropped
    /// stay dropped, and the stream ends at 0 for it.
    pub fn rewind(&mut self) {
        if self.acked_to > 0 {
            (self.acked_to, self.written) = (0, 0);
        }
        self.sent = 0;
        self.hint = 0;
        self.lost = RangeSet::new();
        self.lost_bytes = 0;
    }

    /// Bytes written and never sent.
    #[must_use]
    #[inline]
    pub const fn unsent(&self) -> u64 {
        self.written.saturating_sub(self.sent)
    }

    /// Bytes written and not acknowledged.
    #[must_use]
    pub fn outstanding(&self) -> u64 {
        self.written.saturating_sub(self.acked_to).saturating_sub(self.acked.count())
    }

    /// Bytes that wait to be sent again.
    #[must_use]
    #[inline]
    pub const fn lost_bytes(&self) -> u64 {
        self.lost_bytes
    }

    /// Offset of the next fresh byte: what was charged to flow control.
    #[must_use]
    #[inline]
    pub const fn sent(&self) -> u64 {
        self.sent
    }

    /// Offset behind the last byte written.
    #[must_use]
    #[inline]
    pub const fn written(&self) -> u64 {
        self.written
    }

    /// Everything below is acknowledged.
    #[must_use]
    #[inline]
    pub const fn acked_to(&self) -> u64 {
        self.acked_to
    }

    /// Everything written is acknowledged.
    #[must_use]
    #[inline]
    pub const fn is_all_acked(&self) -> bool {
        self.acked_to == self.written
    }

    /// Bytes of memory behind the buffer.
    #[must_use]
    pub fn memory(&self) -> usize {
        let chunks: usize = self
            .chunks
            .iter()
            .map(|chunk| match &chunk.memory {
                Memory::Owned(block) => block.capacity(),
                Memory::Shared(bytes) => bytes.len(),
            })
            .sum();
        let records = self.chunks.capacity().saturating_mul(size_of::<Chunk>());
        chunks.saturating_add(records).saturating_add(self.acked.memory()).saturating_add(self.lost.memory())
    }

    /// Bytes the last chunk can still take.
    #[inline]
    fn tail_room(&self) -> usize {
        match self.chunks.back() {
            Some(Chunk { memory: Memory::Owned(block), .. }) => block.capacity().saturating_sub(block.len()),
            _ => 0,
        }
    }

    /// Opens a block for `wanted` bytes: small at first, full-sized once the stream has shown that it is busy.
    fn push_block(&mut self, wanted: usize, spare: &mut SpareBlocks) {
        let buffered = usize::try_from(self.written.saturating_sub(self.acked_to)).unwrap_or(usize::MAX);
        let block = spare.take(wanted.max(buffered).clamp(SMALL_BLOCK, BLOCK_LEN).next_power_of_two());
        self.chunks.push_back(Chunk { start: self.written, memory: Memory::Owned(block) });
    }

    /// Index of the chunk that holds the byte at `offset`.
    #[inline]
    fn chunk_at(&self, offset: u64) -> Option<usize> {
        let holds = |index: usize| {
            self.chunks.get(index).is_some_and(|chunk| chunk.start <= offset && offset < chunk.end())
        };
        if holds(self.hint) {
            return Some(self.hint);
        }
        let next = self.hint.saturating_add(1);
        if holds(next) {
            return Some(next);
        }
        let index = self.chunks.partition_point(|chunk| chunk.end() <= offset);
        holds(index).then_some(index)
    }

    /// Everything below `end` is acknowledged: what lies there or touches it leaves the set. Answers how many bytes below
    /// `end` were known.
    fn join_acked(&mut self, end: u64) -> u64 {
        let known = self.acked.overlap(0..end).map(|known| known.end.saturating_sub(known.start)).sum();
        self.acked.remove_below(end);
        if self.acked.min() == Some(end)
            && let Some(joined) = self.acked.pop_min()
        {
            self.acked_to = joined.end;
        }
        known
    }

    /// Frees the chunks whose bytes are all acknowledged.
    fn free_acked(&mut self, spare: &mut SpareBlocks) {
        while let Some(first) = self.chunks.front() {
            if first.end() > self.acked_to {
                return;
            }
            if let Some(Chunk { memory: Memory::Owned(block), .. }) = self.chunks.pop_front() {
                spare.give(block);
            }
            self.hint = self.hint.saturating_sub(1);
        }
    }
}

/// Whether a copy was complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copied {
    /// Every byte asked for.
    All,
    /// Some bytes are not in the buffer.
    Missing,
}

#[cfg(test)]
mod tests;
