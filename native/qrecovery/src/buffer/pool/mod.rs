//! The block pool of an endpoint: fixed-size blocks, a hard maximum, and a fair queue of those who wait (mux R1 to R5).
//!
//! | file | has |
//! |---|---|
//! | `mod` | blocks of received bytes |
//! | `sending` | memory of bytes to send: counted here, kept by the connection |
//! | `queue` | who waits for either, and whose turn it is |
//! | `windows` | credit is memory: receive windows |
//!
//! Decides who gets memory for application bytes. Called by receive buffers (take, give), by the stream room (windows, send
//! memory) and by the endpoint (who was woken). Never blocks, never locks, and allocates only until the working set is
//! reached: blocks come back to a free list and leave it last in, first out, so that the same warm memory is used again.
//!
//! Besides whole blocks there are pieces of 1, 2, 4 and 8 KiB for the beginnings of streams: with whole blocks alone one
//! byte on each of many streams would hold 16 KiB each, and memory could outgrow credit without bound (mux R12).

mod queue;
mod sending;
mod windows;

pub use queue::Waiter;
pub use windows::Pressure;

use queue::{Growers, Seats};

/// Bytes in a whole block.
pub const BLOCK_LEN: usize = 16 * 1_024;

/// Bytes in the smallest piece.
pub const SMALLEST_PIECE: usize = 1_024;

/// Sizes there are: 1, 2, 4, 8 and 16 KiB.
const SIZES: usize = (BLOCK_LEN / SMALLEST_PIECE).ilog2() as usize + 1;

/// Default hard maximum of a pool, bytes (mux R1).
pub const DEFAULT_MAX_BYTES: usize = 64 * 1_024 * 1_024;

/// Blocks that only transmit may take (mux R1). What carries no application bytes (acknowledgements, resets, probes, path
/// frames) needs none: it is written where it leaves (mux R11).
const TRANSMIT_RESERVE: usize = 2;

/// Largest overcommit, percent (mux R20).
const MOST_OVERCOMMIT: u32 = 800;

/// A block of [`BLOCK_LEN`] bytes or a piece of half, a quarter … of that. Its contents are whatever its last owner
/// left.
pub struct Block(Box<[u8]>);

impl Block {
    /// A block outside any pool; give it to a pool or drop it.
    fn allocate(len: usize) -> Self {
        Self(vec![0; len].into_boxed_slice())
    }

    /// Bytes in this block.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// No block is empty; here because a length without it looks odd.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All bytes of the block.
    #[must_use]
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// All bytes of the block, to fill.
    #[must_use]
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl std::fmt::Debug for Block {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Block(..)")
    }
}

/// The pool. One per endpoint, with one owner.
#[derive(Debug)]
pub struct BufferPool {
    /// Blocks that were in use before and are not now, by size, the smallest first.
    free: [Vec<Block>; SIZES],
    /// Bytes of `free`.
    free_bytes: usize,
    /// Blocks of any size in somebody's hands.
    used: usize,
    /// Bytes of them.
    used_bytes: usize,
    /// Bytes of whole blocks that send buffers hold.
    sending: u64,
    /// Bytes at most, a multiple of whole blocks.
    max: usize,
    /// Bytes of receive windows handed out (mux R20).
    windows: u64,
    /// Bytes of them at most.
    windows_max: u64,
    /// Who waits for memory to send.
    seats: Seats,
    /// Who waits for a larger window.
    growers: Growers,
    /// Times that memory was missing behind credit (mux R20).
    refused: u64,
}

impl Default for BufferPool {
    fn default() -> Self {
        Self::new(DEFAULT_MAX_BYTES)
    }
}

impl BufferPool {
    /// An empty pool of at most `max_bytes` bytes, and at least one block beyond the reserve of transmit.
    #[must_use]
    pub fn new(max_bytes: usize) -> Self {
        let blocks = (max_bytes / BLOCK_LEN).max(TRANSMIT_RESERVE.saturating_add(1));
        let max = blocks.saturating_mul(BLOCK_LEN);
        Self {
            free: std::array::from_fn(|_| Vec::new()),
            free_bytes: 0,
            used: 0,
            used_bytes: 0,
            sending: 0,
            max,
            windows: 0,
            windows_max: max as u64,
            seats: Seats::default(),
            growers: Growers::default(),
            refused: 0,
        }
    }

    /// Lets windows add up to so many percent of the maximum, 100 to 800: credit without memory behind it (mux R20).
    #[must_use]
    pub fn with_overcommit(mut self, percent: u32) -> Self {
        self.windows_max = (self.max as u64).saturating_mul(percent.clamp(100, MOST_OVERCOMMIT).into()) / 100;
        self
    }

    /// A block for received bytes of at least `len` bytes, and no more than twice that or the smallest piece; a whole one
    /// for more than [`BLOCK_LEN`].
    ///
    /// Bytes within the credit granted must be kept (mux R12), and without overcommit they can: windows add up to the
    /// maximum at most (mux R20), and memory behind them to twice that (attacks L7). `None` beyond that, which is counted.
    #[inline]
    pub fn take(&mut self, len: usize) -> Option<Block> {
        let size = len.clamp(SMALLEST_PIECE, BLOCK_LEN).next_power_of_two();
        if self.used_bytes.saturating_add(size) > self.max.saturating_mul(2) {
            self.refused = self.refused.saturating_add(1);
            return None;
        }
        Some(self.hand_out(size))
    }

    /// Takes a block back. If someone waits for memory, it is kept for the first in the queue (mux R3).
    #[inline]
    pub fn give(&mut self, block: Block) {
        self.used = self.used.saturating_sub(1);
        self.used_bytes = self.used_bytes.saturating_sub(block.len());
        self.keep(block);
        self.wake();
    }

    /// Takes over the free blocks of `other`: blocks of this pool that were given back to `other` while this one was
    /// not at hand.
    #[inline]
    pub fn absorb(&mut self, other: &mut Self) {
        if other.free_bytes == 0 {
            return;
        }
        for list in &mut other.free {
            while let Some(block) = list.pop() {
                self.give(block);
            }
        }
        other.free_bytes = 0;
    }

    /// Blocks of any size in use.
    #[must_use]
    pub const fn used(&self) -> usize {
        self.used
    }

    /// Bytes of the blocks in use.
    #[must_use]
    pub const fn used_bytes(&self) -> usize {
        self.used_bytes
    }

    /// Bytes of the blocks kept for reuse.
    #[must_use]
    pub const fn free_bytes(&self) -> usize {
        self.free_bytes
    }

    /// Times that memory was missing behind credit that was granted: only overcommit can do that (mux R20).
    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.refused
    }

    /// Hard maximum, bytes.
    #[must_use]
    pub const fn max_bytes(&self) -> u64 {
        self.max as u64
    }

    /// A block of exactly `size` bytes, a free one if there is.
    #[inline]
    fn hand_out(&mut self, size: usize) -> Block {
        self.used = self.used.saturating_add(1);
        self.used_bytes = self.used_bytes.saturating_add(size);
        match self.free.get_mut(size_index(size)).and_then(Vec::pop) {
            Some(block) => {
                self.free_bytes = self.free_bytes.saturating_sub(size);
                block
            }
            None => Block::allocate(size),
        }
    }

    /// Keeps a block for reuse, unless the pool would hold more than its maximum.
    #[inline]
    fn keep(&mut self, block: Block) {
        let total = self.used_bytes.saturating_add(self.free_bytes).saturating_add(block.len()) as u64;
        if total.saturating_add(self.sending) <= self.max_bytes()
            && let Some(list) = self.free.get_mut(size_index(block.len()))
        {
            self.free_bytes = self.free_bytes.saturating_add(block.len());
            list.push(block);
        }
    }
}

/// Place of a size among the free lists.
#[inline]
const fn size_index(size: usize) -> usize {
    (size / SMALLEST_PIECE).trailing_zeros() as usize
}

#[cfg(test)]
mod tests;
