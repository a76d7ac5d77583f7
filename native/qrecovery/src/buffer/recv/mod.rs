//! The receive buffer of a stream: bytes in any order in, bytes in order out (RFC 9000 §2.2).
//!
//! Decides where received bytes lie until the application takes them. Bytes go straight from the packet into the pool
//! block that covers their offset, so arrival in order costs one copy and a few additions. Called by the receiving part
//! of a stream. Never checks credit, never knows the final size, and never replaces a byte it has (attacks D7).

use super::pool::{BLOCK_LEN, Block, BufferPool};
use crate::RangeSet;
mod unordered;

use qbase::limits::{BYTES_PER_GAP, STREAM_GAPS};
use std::collections::VecDeque;

/// [`BLOCK_LEN`] as an offset.
const BLOCK: u64 = BLOCK_LEN as u64;

/// Places for blocks that a buffer keeps from stream to stream.
const KEPT_PLACES: usize = 8;

/// Why bytes could not be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecvBufferError {
    /// The bytes held are in too many pieces (attacks L6).
    TooManyGaps,
    /// The pool has no block: more credit was granted than memory exists (mux R12).
    NoBlock,
}

impl RecvBufferError {
    /// A word for the reason of the close.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::TooManyGaps => "gaps",
            Self::NoBlock => "no buffer",
        }
    }
}

/// Received bytes of one stream that the application has not taken.
///
/// Memory follows credit: a block exists only where bytes lie, and the first one of a stream is as small as its bytes
/// allow, so at most twice the credit used is held (attacks L7), and nothing when everything was taken (mux R16).
/// Offsets written must lie within the window granted, which the caller has checked.
#[derive(Debug, Default)]
pub struct RecvBuffer {
    blocks: Blocks,
    /// Everything below was taken by the application.
    read: u64,
    /// Everything below was received.
    contiguous: u64,
    /// What was received beyond `contiguous`.
    ahead: RangeSet,
    /// Bytes in `ahead`.
    ahead_bytes: u64,
    /// What was received and not taken, once bytes were taken in any order; `None`: they are taken in order.
    unread: Option<Box<unordered::Unread>>,
}

/// The blocks of a receive buffer by position.
#[derive(Debug, Default)]
struct Blocks {
    /// `None` where no byte lies.
    slots: VecDeque<Option<Block>>,
    /// Number of the front slot: its offset divided by [`BLOCK_LEN`]. Without meaning while there are no slots.
    first: u64,
}

impl RecvBuffer {
    /// An empty buffer at offset 0; takes no memory.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Keeps the bytes of `data` that are new and answers how many those were.
    ///
    /// # Errors
    /// See [`RecvBufferError`]; the buffer is of no use afterwards, the connection must close.
    #[inline]
    pub fn write(&mut self, offset: u64, data: &[u8], pool: &mut BufferPool) -> Result<u64, RecvBufferError> {
        if offset == self.contiguous && self.ahead.is_empty() {
            self.blocks.place(self.read, offset, data, pool)?;
            self.contiguous = end_of(offset, data);
            if let Some(unread) = &mut self.unread {
                unread.add(offset..self.contiguous);
            }
            return Ok(data.len() as u64);
        }
        self.write_any(offset, data, pool)
    }

    /// Bytes that can be taken: in order, or at all once the order does not matter.
    #[must_use]
    #[inline]
    pub fn readable(&self) -> u64 {
        self.unread.as_ref().map_or(self.contiguous.saturating_sub(self.read), |unread| unread.bytes())
    }

    /// Offset of the next byte the application takes.
    #[must_use]
    #[inline]
    pub const fn read_offset(&self) -> u64 {
        self.read
    }

    /// Offset of the first byte that has not been received.
    #[must_use]
    #[inline]
    pub const fn contiguous(&self) -> u64 {
        self.contiguous
    }

    /// Bytes received and not taken, in order or not.
    #[must_use]
    #[inline]
    pub fn held(&self) -> u64 {
        if self.unread.is_some() { self.readable() } else { self.readable().saturating_add(self.ahead_bytes) }
    }

    /// Gaps between the bytes held (attacks L6).
    #[must_use]
    #[inline]
    pub fn gaps(&self) -> usize {
        self.ahead.len()
    }

    /// Bytes of memory behind the buffer, blocks and records (attacks L7).
    #[must_use]
    pub fn memory(&self) -> usize {
        let unread = self.unread.as_ref().map_or(0, |unread| unread.memory());
        self.blocks.memory().saturating_add(self.ahead.memory()).saturating_add(unread)
    }

    /// The next bytes in order, up to the end of a block; empty when none can be taken.
    #[must_use]
    #[inline]
    pub fn front(&self) -> &[u8] {
        let Some(Some(block)) = self.blocks.slots.front() else { return &[] };
        let (start, available) = (place_in_block(self.read), self.readable());
        let len = (BLOCK_LEN.saturating_sub(start) as u64).min(available) as usize;
        block.bytes().get(start..start.saturating_add(len)).unwrap_or_default()
    }

    /// As [`Self::front`], with what lies in the blocks behind it, block by block; at least one piece, perhaps empty.
    pub fn fronts(&self) -> impl Iterator<Item = &[u8]> {
        let first = self.front();
        let mut left = self.readable().saturating_sub(first.len() as u64);
        let behind = self.blocks.slots.iter().skip(1).map_while(move |slot| {
            let len = left.min(BLOCK) as usize;
            left = left.saturating_sub(len as u64);
            slot.as_ref().and_then(|block| block.bytes().get(..len)).filter(|piece| !piece.is_empty())
        });
        std::iter::once(first).chain(behind)
    }

    /// Takes bytes in order into `out` and answers how many.
    pub fn read(&mut self, out: &mut [u8], pool: &mut BufferPool) -> usize {
        let mut done: usize = 0;
        while let Some(rest) = out.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let front = self.front();
            let len = front.len().min(rest.len());
            let (Some(from), Some(to)) = (front.get(..len), rest.get_mut(..len)) else { break };
            if from.is_empty() {
                break;
            }
            to.copy_from_slice(from);
            done = done.saturating_add(len);
            self.consume(len as u64, pool);
        }
        done
    }

    /// The application has taken `len` bytes; more than are readable counts as all of them. Blocks without bytes go
    /// back to the pool at once.
    #[inline]
    pub fn consume(&mut self, len: u64, pool: &mut BufferPool) {
        self.read = self.read.saturating_add(len).min(self.contiguous);
        let here = self.read / BLOCK;
        self.blocks.release_before(here, pool);
        if self.read == self.contiguous {
            match self.ahead.min() {
                None => self.blocks.clear(pool),
                Some(min) if min / BLOCK > here => self.blocks.release_front(here, pool),
                Some(_) => {}
            }
        }
    }

    /// Begins again at offset 0 for another stream. The places for a few blocks are kept; the blocks themselves must have
    /// gone back to the pool.
    pub fn restart(&mut self) {
        let slots = std::mem::take(&mut self.blocks.slots);
        debug_assert!(slots.iter().all(Option::is_none), "a stream ended with bytes in its buffer");
        let keep = slots.is_empty() && slots.capacity() <= KEPT_PLACES;
        *self = Self { blocks: Blocks { slots: if keep { slots } else { VecDeque::new() }, first: 0 }, ..Self::default() };
    }

    /// Drops what cannot be taken because bytes before it are missing.
    pub fn drop_ahead(&mut self, pool: &mut BufferPool) {
        if self.unread.is_some() {
            return;
        }
        self.ahead = RangeSet::new();
        self.ahead_bytes = 0;
        if self.readable() == 0 {
            return self.blocks.clear(pool);
        }
        self.blocks.release_behind(self.contiguous.saturating_sub(1) / BLOCK, pool);
    }

    /// Drops every byte held and gives the blocks back.
    pub fn clear(&mut self, pool: &mut BufferPool) {
        self.blocks.clear(pool);
        self.read = self.contiguous;
        self.ahead = RangeSet::new();
        self.ahead_bytes = 0;
        if let Some(unread) = &mut self.unread {
            unread.clear();
        }
    }

    /// Arrival out of order, or of bytes that are here already.
    fn write_any(&mut self, offset: u64, data: &[u8], pool: &mut BufferPool) -> Result<u64, RecvBufferError> {
        let end = end_of(offset, data);
        let start = offset.max(self.contiguous);
        if start >= end {
            return Ok(0);
        }
        for part in self.ahead.missing(start..end) {
            let from = usize::try_from(part.start.saturating_sub(offset)).unwrap_or(usize::MAX);
            let to = usize::try_from(part.end.saturating_sub(offset)).unwrap_or(usize::MAX);
            self.blocks.place(self.read, part.start, data.get(from..to).unwrap_or_default(), pool)?;
            if let Some(unread) = &mut self.unread {
                unread.add(part);
            }
        }
        let fresh = self.ahead.insert(start..end);
        self.ahead_bytes = self.ahead_bytes.saturating_add(fresh);
        if self.ahead.min() == Some(self.contiguous)
            && let Some(joined) = self.ahead.pop_min()
        {
            self.ahead_bytes = self.ahead_bytes.saturating_sub(joined.end.saturating_sub(joined.start));
            self.contiguous = joined.end;
        }
        let allowed = (self.held() / BYTES_PER_GAP).saturating_add(STREAM_GAPS as u64);
        if self.gaps() as u64 > allowed { Err(RecvBufferError::TooManyGaps) } else { Ok(fresh) }
    }
}

impl Blocks {
    /// Copies `data` to where `offset` lies, taking blocks where there are none. Nothing below `read` is kept.
    #[inline]
    fn place(&mut self, read: u64, offset: u64, data: &[u8], pool: &mut BufferPool) -> Result<(), RecvBufferError> {
        let (mut offset, mut data) = (offset, data);
        if self.slots.is_empty() {
            self.first = read / BLOCK;
        }
        while !data.is_empty() {
            let start = place_in_block(offset);
            let len = data.len().min(BLOCK_LEN.saturating_sub(start));
            let (head, rest) = data.split_at_checked(len).unwrap_or((data, &[]));
            let end = start.saturating_add(len);
            let block = self.block_at(offset, end, pool)?;
            if let Some(to) = block.bytes_mut().get_mut(start..end) {
                to.copy_from_slice(head);
            }
            offset = offset.saturating_add(len as u64);
            data = rest;
        }
        Ok(())
    }

    /// The block that covers `offset`, with room for at least `needed` bytes.
    #[inline]
    fn block_at(&mut self, offset: u64, needed: usize, pool: &mut BufferPool) -> Result<&mut Block, RecvBufferError> {
        let number = offset / BLOCK;
        let index = usize::try_from(number.saturating_sub(self.first)).unwrap_or(usize::MAX);
        while self.slots.len() <= index {
            self.slots.push_back(None);
        }
        let slot = self.slots.get_mut(index).ok_or(RecvBufferError::NoBlock)?;
        if slot.as_ref().is_none_or(|block| block.len() < needed) {
            // Bytes further on have cost the peer a block of credit: only the first block can be a bargain.
            let wanted = if number == 0 { needed } else { BLOCK_LEN };
            let mut block = pool.take(wanted).ok_or(RecvBufferError::NoBlock)?;
            if let Some(old) = slot.take() {
                if let Some(to) = block.bytes_mut().get_mut(..old.len()) {
                    to.copy_from_slice(old.bytes());
                }
                pool.give(old);
            }
            *slot = Some(block);
        }
        slot.as_mut().ok_or(RecvBufferError::NoBlock)
    }

    /// Gives back every block below number `until`.
    #[inline]
    fn release_before(&mut self, until: u64, pool: &mut BufferPool) {
        while self.first < until {
            let Some(slot) = self.slots.pop_front() else { return };
            slot.into_iter().for_each(|block| pool.give(block));
            self.first = self.first.saturating_add(1);
        }
    }

    /// Gives back every block above number `last`.
    fn release_behind(&mut self, last: u64, pool: &mut BufferPool) {
        let kept = usize::try_from(last.saturating_sub(self.first).saturating_add(1)).unwrap_or(usize::MAX);
        while self.slots.len() > kept {
            self.slots.pop_back().flatten().into_iter().for_each(|block| pool.give(block));
        }
    }

    /// Gives the front block back and keeps its place, if it is number `here`.
    fn release_front(&mut self, here: u64, pool: &mut BufferPool) {
        if self.first == here
            && let Some(block) = self.slots.front_mut().and_then(Option::take)
        {
            pool.give(block);
        }
    }

    /// Gives every block back.
    #[inline]
    fn clear(&mut self, pool: &mut BufferPool) {
        self.slots.drain(..).flatten().for_each(|block| pool.give(block));
    }

    /// Bytes of memory, places included.
    fn memory(&self) -> usize {
        let blocks: usize = self.slots.iter().flatten().map(Block::len).sum();
        blocks.saturating_add(self.slots.capacity().saturating_mul(size_of::<Option<Block>>()))
    }
}

/// Position of an offset inside its block.
const fn place_in_block(offset: u64) -> usize {
    (offset % BLOCK) as usize
}

/// Offset behind the last byte of `data`.
const fn end_of(offset: u64, data: &[u8]) -> u64 {
    offset.saturating_add(data.len() as u64)
}

#[cfg(test)]
mod tests;
