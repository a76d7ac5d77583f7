//! The block pool of an endpoint: fixed-size blocks, a hard maximum, and a fair queue of those who wait (mux R1 to R5).
//!
//! Decides who gets memory for application bytes. Called by receive buffers (take, give) and by the endpoint (waiting,
//! windows). Never blocks, never locks, and allocates only until the working set is reached: blocks come back to a
//! free list and leave it last in, first out, so that the same warm memory is used again.
//!
//! Besides whole blocks there are pieces of 1, 2, 4 and 8 KiB for the beginnings of streams: with whole blocks alone one
//! byte on each of many streams would hold 16 KiB each, and memory could outgrow credit without bound (mux R12).

use std::collections::{BTreeMap, VecDeque};

/// Bytes in a whole block.
pub const BLOCK_LEN: usize = 16 * 1_024;

/// Bytes in the smallest piece.
pub const SMALLEST_PIECE: usize = 1_024;

/// Sizes there are: 1, 2, 4, 8 and 16 KiB.
const SIZES: usize = (BLOCK_LEN / SMALLEST_PIECE).ilog2() as usize + 1;

/// Default hard maximum of a pool, bytes (mux R1).
pub const DEFAULT_MAX_BYTES: usize = 64 * 1_024 * 1_024;

/// Blocks that only transmit may take, so that acknowledgements and resets can always be made (mux R1).
const TRANSMIT_RESERVE: usize = 2;

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

/// What a block is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Bytes one may wait with: the last two blocks are not for them.
    Receive,
    /// Bytes to send.
    Transmit,
    /// Received bytes within the credit granted: they must be kept (mux R12). Windows add up to the maximum at most
    /// (mux R20); the memory behind them may be twice that (attacks L7), and so far these go.
    Credited,
}

/// Who waits for a block: a number the endpoint gives each of its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Waiter(pub u64);

/// Where someone stands who asked for a block.
#[derive(Clone, Copy, Debug)]
enum Seat {
    /// In the queue under this number.
    Waiting(u64),
    /// A block is kept for them.
    Reserved,
}

/// How full a pool is (mux R22).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pressure {
    /// Windows may grow.
    Low,
    /// Over 75 %: windows stop growing.
    High,
    /// Over 90 %: new connections get the smallest window.
    Full,
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
    /// Whole blocks kept for waiters who were woken and have not come yet.
    reserved: usize,
    /// Bytes at most, a multiple of whole blocks.
    max: usize,
    /// Bytes of receive windows handed out (mux R20).
    windows: u64,
    /// Waiters by arrival.
    queue: BTreeMap<u64, Waiter>,
    /// Every waiter's seat.
    seats: BTreeMap<Waiter, Seat>,
    /// Waiters who have a block reserved and must be told.
    woken: VecDeque<Waiter>,
    /// Number the next arrival gets.
    next_arrival: u64,
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
        Self {
            free: std::array::from_fn(|_| Vec::new()),
            free_bytes: 0,
            used: 0,
            used_bytes: 0,
            reserved: 0,
            max: blocks.saturating_mul(BLOCK_LEN),
            windows: 0,
            queue: BTreeMap::new(),
            seats: BTreeMap::new(),
            woken: VecDeque::new(),
            next_arrival: 0,
        }
    }

    /// A whole block at once, or `None` when the pool is empty for this purpose.
    #[inline]
    pub fn take(&mut self, purpose: Purpose) -> Option<Block> {
        self.take_sized(purpose, BLOCK_LEN)
    }

    /// A block of at least `len` bytes, and no more than twice that or the smallest piece; a whole one for more than
    /// [`BLOCK_LEN`].
    #[inline]
    pub fn take_sized(&mut self, purpose: Purpose, len: usize) -> Option<Block> {
        let size = len.clamp(SMALLEST_PIECE, BLOCK_LEN).next_power_of_two();
        if self.used_bytes.saturating_add(size) > self.limit(purpose) {
            return None;
        }
        Some(self.hand_out(size))
    }

    /// Takes a block back. If someone waits, it is kept for the first in the queue (mux R3).
    #[inline]
    pub fn give(&mut self, block: Block) {
        self.used = self.used.saturating_sub(1);
        self.used_bytes = self.used_bytes.saturating_sub(block.len());
        self.keep(block);
        if !self.queue.is_empty() {
            self.wake();
        }
    }

    /// Takes over the free blocks of `other`: blocks of this pool that were given back to `other` while this one was
    /// not at hand.
    pub fn absorb(&mut self, other: &mut Self) {
        for list in &mut other.free {
            while let Some(block) = list.pop() {
                self.give(block);
            }
        }
        other.free_bytes = 0;
    }

    /// Puts `waiter` at the end of the queue; asking again changes nothing (mux R2). A block that is free is kept for
    /// them at once.
    pub fn wait(&mut self, waiter: Waiter) {
        if self.seats.contains_key(&waiter) {
            return;
        }
        let arrival = self.next_arrival;
        self.next_arrival = arrival.saturating_add(1);
        self.queue.insert(arrival, waiter);
        self.seats.insert(waiter, Seat::Waiting(arrival));
        self.wake();
    }

    /// The next waiter who has a block reserved and has not been told.
    pub fn poll_woken(&mut self) -> Option<Waiter> {
        self.woken.pop_front()
    }

    /// The block that was kept for `waiter`; `None` if none was.
    pub fn take_reserved(&mut self, waiter: Waiter) -> Option<Block> {
        if !matches!(self.seats.get(&waiter), Some(Seat::Reserved)) {
            return None;
        }
        self.seats.remove(&waiter);
        self.woken.retain(|woken| *woken != waiter);
        self.reserved = self.reserved.saturating_sub(1);
        Some(self.hand_out(BLOCK_LEN))
    }

    /// `waiter` is gone: its place in the queue or its reserved block goes to the next (mux R4).
    pub fn leave(&mut self, waiter: Waiter) {
        match self.seats.remove(&waiter) {
            Some(Seat::Waiting(arrival)) => {
                self.queue.remove(&arrival);
            }
            Some(Seat::Reserved) => {
                self.woken.retain(|woken| *woken != waiter);
                self.reserved = self.reserved.saturating_sub(1);
                self.wake();
            }
            None => {}
        }
    }

    /// Asks for a receive window of `wanted` bytes and answers how many may be granted: all of it, or one block when
    /// the windows of all connections would exceed the pool or it is nearly full (mux R20, R22). Give the answer back
    /// with [`BufferPool::release_window`] when the connection ends.
    #[must_use]
    pub fn reserve_window(&mut self, wanted: u64) -> u64 {
        let smallest = (BLOCK_LEN as u64).min(wanted);
        let total = self.windows.saturating_add(counted(wanted));
        if total > self.max_bytes() || self.pressure() == Pressure::Full {
            return smallest;
        }
        self.windows = total;
        wanted
    }

    /// Returns a window that [`BufferPool::reserve_window`] granted; the smallest one stands outside the sum.
    pub fn release_window(&mut self, granted: u64) {
        self.windows = self.windows.saturating_sub(counted(granted));
    }

    /// Exchanges a window for a larger one, if three quarters of the pool hold it and all others; the last quarter is
    /// for connections to come (mux R20, R22). `false`: everything stays as it is.
    pub fn grow_window(&mut self, granted: u64, wanted: u64) -> bool {
        let total = self.windows.saturating_sub(counted(granted)).saturating_add(counted(wanted));
        let may = total <= self.comfortable() && self.pressure() == Pressure::Low;
        if may {
            self.windows = total;
        }
        may
    }

    /// Exchanges a window for a smaller one, once the peer has used up what it was promised.
    pub fn shrink_window(&mut self, granted: u64, kept: u64) {
        self.windows = self.windows.saturating_sub(counted(granted)).saturating_add(counted(kept.min(granted)));
    }

    /// Bytes of receive windows handed out.
    #[must_use]
    pub const fn windows(&self) -> u64 {
        self.windows
    }

    /// So much was promised or is in use that large windows should become smaller (mux R22).
    #[must_use]
    pub fn is_pressed(&self) -> bool {
        self.windows > self.comfortable() || self.pressure() > Pressure::Low
    }

    /// How full the pool is.
    #[must_use]
    pub fn pressure(&self) -> Pressure {
        let percent = self.used_bytes.saturating_mul(100).checked_div(self.max).unwrap_or(100);
        match percent {
            0..=75 => Pressure::Low,
            76..=90 => Pressure::High,
            _ => Pressure::Full,
        }
    }

    /// Lets go of all free blocks but `keep` whole ones, for quiet times.
    pub fn shrink(&mut self, keep: usize) {
        let mut whole = self.free.last_mut().map(std::mem::take).unwrap_or_default();
        whole.truncate(keep);
        self.free = std::array::from_fn(|_| Vec::new());
        self.free_bytes = 0;
        whole.into_iter().for_each(|block| self.keep(block));
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

    /// Whole blocks that may still be taken, the reserve of transmit included.
    #[must_use]
    pub const fn available(&self) -> usize {
        (self.max.saturating_sub(self.used_bytes) / BLOCK_LEN).saturating_sub(self.reserved)
    }

    /// Those who wait and have no block reserved.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Hard maximum, bytes.
    #[must_use]
    pub const fn max_bytes(&self) -> u64 {
        self.max as u64
    }

    /// Bytes that windows may have before they stop growing: three quarters.
    const fn comfortable(&self) -> u64 {
        self.max_bytes().saturating_sub(self.max_bytes() / 4)
    }

    /// Bytes that may be in use after taking for this purpose.
    #[inline]
    const fn limit(&self, purpose: Purpose) -> usize {
        let kept = self.reserved.saturating_mul(BLOCK_LEN);
        match purpose {
            Purpose::Receive => self.max.saturating_sub(kept).saturating_sub(TRANSMIT_RESERVE.saturating_mul(BLOCK_LEN)),
            Purpose::Transmit => self.max.saturating_sub(kept),
            Purpose::Credited => self.max.saturating_mul(2),
        }
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
        let total = self.used_bytes.saturating_add(self.free_bytes).saturating_add(block.len());
        if total <= self.max
            && let Some(list) = self.free.get_mut(size_index(block.len()))
        {
            self.free_bytes = self.free_bytes.saturating_add(block.len());
            list.push(block);
        }
    }

    /// Keeps a block for the first in the queue while there is one beyond the reserve.
    fn wake(&mut self) {
        while self.available() > TRANSMIT_RESERVE {
            let Some((_, waiter)) = self.queue.pop_first() else { return };
            self.seats.insert(waiter, Seat::Reserved);
            self.reserved = self.reserved.saturating_add(1);
            self.woken.push_back(waiter);
        }
    }
}

/// What a window counts in their sum: the smallest one, a block, stands outside (mux R22).
const fn counted(window: u64) -> u64 {
    if window > BLOCK_LEN as u64 { window } else { 0 }
}

/// Place of a size among the free lists.
#[inline]
const fn size_index(size: usize) -> usize {
    (size / SMALLEST_PIECE).trailing_zeros() as usize
}

#[cfg(test)]
mod tests;
