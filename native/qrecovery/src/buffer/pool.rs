//! The block pool of an endpoint: fixed-size blocks, a hard maximum, and a fair queue of those who wait (mux R1 to R5).
//!
//! Decides who gets memory for application bytes. Called by receive buffers (take, give) and by the endpoint (waiting,
//! windows). Never blocks, never locks, and allocates only until the working set is reached: blocks come back to a
//! free list and leave it last in, first out, so that the same warm memory is used again.

use std::collections::{BTreeMap, VecDeque};

/// Bytes in a block.
pub const BLOCK_LEN: usize = 16 * 1_024;

/// Default hard maximum of a pool, bytes (mux R1).
pub const DEFAULT_MAX_BYTES: usize = 64 * 1_024 * 1_024;

/// Blocks that only transmit may take, so that acknowledgements and resets can always be made (mux R1).
const TRANSMIT_RESERVE: usize = 2;

/// One block of [`BLOCK_LEN`] bytes. Its contents are whatever its last owner left.
pub struct Block(Box<[u8]>);

impl Block {
    /// A block outside any pool; give it to a pool or drop it.
    fn allocate() -> Self {
        Self(vec![0; BLOCK_LEN].into_boxed_slice())
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
    /// Received bytes: the last two blocks are not for them.
    Receive,
    /// Bytes to send.
    Transmit,
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
    /// Blocks that were in use before and are not now.
    free: Vec<Block>,
    /// Blocks in somebody's hands.
    used: usize,
    /// Blocks kept for waiters who were woken and have not come yet.
    reserved: usize,
    /// Blocks at most.
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
        Self {
            free: Vec::new(),
            used: 0,
            reserved: 0,
            max: (max_bytes / BLOCK_LEN).max(TRANSMIT_RESERVE.saturating_add(1)),
            windows: 0,
            queue: BTreeMap::new(),
            seats: BTreeMap::new(),
            woken: VecDeque::new(),
            next_arrival: 0,
        }
    }

    /// A block at once, or `None` when the pool is empty for this purpose.
    #[inline]
    pub fn take(&mut self, purpose: Purpose) -> Option<Block> {
        let kept = match purpose {
            Purpose::Receive => TRANSMIT_RESERVE,
            Purpose::Transmit => 0,
        };
        if self.available() <= kept {
            return None;
        }
        self.used = self.used.saturating_add(1);
        Some(self.free.pop().unwrap_or_else(Block::allocate))
    }

    /// Takes a block back. If someone waits, it is kept for the first in the queue (mux R3).
    #[inline]
    pub fn give(&mut self, block: Block) {
        self.used = self.used.saturating_sub(1);
        self.free.push(block);
        if !self.queue.is_empty() {
            self.wake();
        }
    }

    /// Takes over the free blocks of `other`: blocks of this pool that were given back to `other` while this one was
    /// not at hand.
    pub fn absorb(&mut self, other: &mut Self) {
        while let Some(block) = other.free.pop() {
            self.give(block);
        }
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
        self.used = self.used.saturating_add(1);
        Some(self.free.pop().unwrap_or_else(Block::allocate))
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
        let percent = self.used.saturating_mul(100).checked_div(self.max).unwrap_or(100);
        match percent {
            0..=75 => Pressure::Low,
            76..=90 => Pressure::High,
            _ => Pressure::Full,
        }
    }

    /// Lets go of free blocks until at most `keep` remain, for quiet times.
    pub fn shrink(&mut self, keep: usize) {
        self.free.truncate(keep);
        self.free.shrink_to(keep);
    }

    /// Blocks in use.
    #[must_use]
    pub const fn used(&self) -> usize {
        self.used
    }

    /// Blocks that may still be taken, the reserve of transmit included.
    #[must_use]
    pub const fn available(&self) -> usize {
        self.max.saturating_sub(self.used).saturating_sub(self.reserved)
    }

    /// Those who wait and have no block reserved.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Hard maximum, bytes.
    #[must_use]
    pub const fn max_bytes(&self) -> u64 {
        (self.max as u64).saturating_mul(BLOCK_LEN as u64)
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
    fn blocks_given_to_another_pool_come_home() {
        let (mut home, mut other) = (pool_of(4), pool_of(4));
        for _ in 0..3 {
            other.give(home.take(Purpose::Receive).unwrap());
        }
        assert_eq!((home.used(), other.used()), (3, 0));
        home.absorb(&mut other);
        assert_eq!((home.used(), other.free.len()), (0, 0));
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
