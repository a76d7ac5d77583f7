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
        let total = self.windows.saturating_add(wanted);
        if total > self.max_bytes() || self.pressure() == Pressure::Full {
            return smallest;
        }
        self.windows = total;
        wanted
    }

    /// Returns a window that [`BufferPool::reserve_window`] granted; the smallest one stands outside the sum.
    pub fn release_window(&mut self, granted: u64) {
        if granted > BLOCK_LEN as u64 {
            self.windows = self.windows.saturating_sub(granted);
        }
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

/// Place of a size among the free lists.
#[inline]
const fn size_index(size: usize) -> usize {
    (size / SMALLEST_PIECE).trailing_zeros() as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A pool with `blocks` blocks for reception.
    fn pool_of(blocks: usize) -> BufferPool {
        BufferPool::new((blocks + TRANSMIT_RESERVE) * BLOCK_LEN)
    }

    #[test]
    fn the_last_two_blocks_are_for_transmit_only() {
        let mut pool = pool_of(1);
        let block = pool.take(Purpose::Receive).unwrap();
        assert!(pool.take(Purpose::Receive).is_none());
        assert!(pool.take(Purpose::Transmit).is_some());
        assert!(pool.take(Purpose::Transmit).is_some());
        assert!(pool.take(Purpose::Transmit).is_none(), "the maximum is hard");
        pool.give(block);
        assert!(pool.take(Purpose::Receive).is_none(), "the reserve fills up first");
    }

    #[test]
    fn a_block_that_comes_back_is_used_again() {
        let mut pool = pool_of(4);
        let block = pool.take(Purpose::Receive).unwrap();
        let address = block.bytes().as_ptr();
        pool.give(block);
        assert_eq!(pool.take(Purpose::Receive).unwrap().bytes().as_ptr(), address);
    }

    #[test]
    fn pieces_are_the_next_power_of_two_and_come_back_to_their_size() {
        let mut pool = pool_of(4);
        for (len, size) in [(0, 1_024), (1, 1_024), (1_024, 1_024), (1_025, 2_048), (9_000, 16_384), (99_999, 16_384)] {
            let block = pool.take_sized(Purpose::Receive, len).unwrap();
            assert_eq!((block.len(), pool.used(), pool.used_bytes()), (size, 1, size));
            pool.give(block);
        }
        assert_eq!(pool.free_bytes(), 1_024 + 2_048 + 16_384, "each size was made once");
        pool.shrink(0);
        assert_eq!((pool.free_bytes(), pool.used_bytes()), (0, 0));
    }

    /// mux R12.
    #[test]
    fn credited_bytes_are_kept_up_to_twice_the_maximum_and_only_the_maximum_is_held_for_reuse() {
        let mut pool = pool_of(4);
        let blocks: Vec<Block> = std::iter::from_fn(|| pool.take(Purpose::Credited)).collect();
        assert_eq!((blocks.len(), pool.available()), (12, 0));
        assert_eq!(pool.pressure(), Pressure::Full);
        blocks.into_iter().for_each(|block| pool.give(block));
        assert_eq!((pool.used(), pool.free_bytes() as u64), (0, pool.max_bytes()));
    }

    #[test]
    fn blocks_given_to_another_pool_come_home() {
        let (mut home, mut other) = (pool_of(4), pool_of(4));
        for _ in 0..3 {
            other.give(home.take(Purpose::Receive).unwrap());
        }
        assert_eq!((home.used(), other.used()), (3, 0));
        home.absorb(&mut other);
        assert_eq!((home.used(), home.free_bytes(), other.free_bytes()), (0, 3 * BLOCK_LEN, 0));
    }

    /// mux R3.
    #[test]
    fn fifty_connections_share_one_block_in_turn() {
        let mut pool = pool_of(1);
        let mut held = pool.take(Purpose::Receive).unwrap();
        for waiter in 0..50 {
            pool.wait(Waiter(waiter));
            pool.wait(Waiter(waiter));
        }
        for waiter in 0..50 {
            pool.give(held);
            assert_eq!(pool.poll_woken(), Some(Waiter(waiter)));
            assert_eq!(pool.poll_woken(), None, "as many are woken as blocks came free");
            assert!(pool.take(Purpose::Receive).is_none(), "the block is reserved, not raced for");
            held = pool.take_reserved(Waiter(waiter)).unwrap();
        }
        assert_eq!(pool.waiting(), 0);
    }

    /// mux R4.
    #[test]
    fn a_waiter_who_leaves_passes_its_block_on() {
        let mut pool = pool_of(1);
        let held = pool.take(Purpose::Receive).unwrap();
        for waiter in [1, 2, 3] {
            pool.wait(Waiter(waiter));
        }
        pool.leave(Waiter(2));
        pool.give(held);
        pool.leave(Waiter(1));
        assert_eq!(pool.poll_woken(), Some(Waiter(3)));
        assert!(pool.take_reserved(Waiter(1)).is_none());
        assert!(pool.take_reserved(Waiter(3)).is_some());
    }

    /// mux R20, R22.
    #[test]
    fn windows_beyond_the_pool_shrink_to_one_block() {
        let mut pool = pool_of(62);
        let max = pool.max_bytes();
        assert_eq!(pool.reserve_window(max), max);
        assert_eq!(pool.reserve_window(100_000), BLOCK_LEN as u64);
        pool.release_window(max);
        assert_eq!(pool.reserve_window(100_000), 100_000);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Take,
        Give,
        Wait(u64),
        Leave(u64),
        Collect,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => Just(Step::Take),
            4 => Just(Step::Give),
            3 => (0..20_u64).prop_map(Step::Wait),
            1 => (0..20_u64).prop_map(Step::Leave),
            3 => Just(Step::Collect),
        ]
    }

    proptest! {
        /// mux R5.
        #[test]
        fn no_wake_up_is_lost_and_no_block_vanishes(steps in prop::collection::vec(step(), 1..4_000)) {
            let mut pool = pool_of(4);
            let total = pool.available();
            let mut held = Vec::new();
            for step in steps {
                match step {
                    Step::Take => held.extend(pool.take(Purpose::Receive)),
                    Step::Give => {
                        if let Some(block) = held.pop() {
                            pool.give(block);
                        }
                    }
                    Step::Wait(waiter) => pool.wait(Waiter(waiter)),
                    Step::Leave(waiter) => pool.leave(Waiter(waiter)),
                    Step::Collect => {
                        while let Some(waiter) = pool.poll_woken() {
                            held.extend(pool.take_reserved(waiter));
                        }
                    }
                }
                prop_assert_eq!(pool.used(), held.len());
                prop_assert_eq!(pool.available() + pool.used() + pool.reserved, total);
                prop_assert!(pool.waiting() == 0 || pool.available() <= TRANSMIT_RESERVE);
            }
        }
    }
}
