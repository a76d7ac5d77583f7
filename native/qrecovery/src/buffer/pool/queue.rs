//! Who waits for memory, and whose turn it is (mux R2 to R5).
//!
//! Two lines, each first in, first out and each connection in it once: for blocks to send with, and for larger windows. A
//! block that comes free is kept for the first in line, so nobody races for it; a window is asked for anew by the first in line,
//! once there is room for it. Called by the stream room (wait, leave) and by the endpoint, which
//! tells those who are woken. Holds no memory itself.

use super::{BLOCK_LEN, BufferPool};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Who waits: a number the endpoint gives each of its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Waiter(pub u64);

/// A line without repeats.
#[derive(Debug, Default)]
pub(super) struct Line {
    order: BTreeMap<u64, Waiter>,
    arrivals: BTreeMap<Waiter, u64>,
    /// Number the next arrival gets.
    next: u64,
}

impl Line {
    fn join(&mut self, waiter: Waiter) {
        if self.arrivals.contains_key(&waiter) {
            return;
        }
        self.order.insert(self.next, waiter);
        self.arrivals.insert(waiter, self.next);
        self.next = self.next.saturating_add(1);
    }

    fn leave(&mut self, waiter: Waiter) {
        if let Some(arrival) = self.arrivals.remove(&waiter) {
            self.order.remove(&arrival);
        }
    }

    fn pop(&mut self) -> Option<Waiter> {
        let (_, waiter) = self.order.pop_first()?;
        self.arrivals.remove(&waiter);
        Some(waiter)
    }
}

/// The line for memory to send, and those who have come to its end.
#[derive(Debug, Default)]
pub(super) struct Seats {
    line: Line,
    /// One block each is kept for them.
    reserved: BTreeSet<Waiter>,
    /// Those of them who must be told.
    woken: VecDeque<Waiter>,
}

/// The line for larger windows.
#[derive(Debug, Default)]
pub(super) struct Growers {
    line: Line,
    /// Bytes each has, and bytes it wants.
    wishes: BTreeMap<Waiter, (u64, u64)>,
}

impl Seats {
    /// Bytes kept for those who were woken and have not come yet.
    #[inline]
    pub(super) fn kept(&self) -> u64 {
        (self.reserved.len() as u64).saturating_mul(BLOCK_LEN as u64)
    }

    /// Somebody waits and has no block.
    #[inline]
    pub(super) fn is_waited_for(&self) -> bool {
        !self.line.order.is_empty()
    }
}

impl BufferPool {
    /// Puts `waiter` at the end of the line for a block to send with; asking again changes nothing (mux R2). A block that is
    /// free is kept for them at once.
    pub fn wait(&mut self, waiter: Waiter) {
        if self.seats.reserved.contains(&waiter) {
            return;
        }
        self.seats.line.join(waiter);
        self.wake();
    }

    /// The next waiter who has a block reserved and has not been told.
    pub fn poll_woken(&mut self) -> Option<Waiter> {
        self.seats.woken.pop_front()
    }

    /// The block that was kept for `waiter`, in bytes of send memory; 0 if none was. It counts as in use until
    /// [`BufferPool::settle_sending`] says otherwise.
    pub fn take_reserved(&mut self, waiter: Waiter) -> u64 {
        if !self.seats.reserved.remove(&waiter) {
            return 0;
        }
        self.seats.woken.retain(|woken| *woken != waiter);
        self.sending = self.sending.saturating_add(BLOCK_LEN as u64);
        BLOCK_LEN as u64
    }

    /// `waiter` wants no more memory to send, or is gone: its place in the line or its reserved block goes to the next (mux R4).
    pub fn leave(&mut self, waiter: Waiter) {
        self.seats.line.leave(waiter);
        if self.seats.reserved.remove(&waiter) {
            self.seats.woken.retain(|woken| *woken != waiter);
            self.wake();
        }
    }

    /// Puts `waiter` at the end of the line for larger windows: it has `granted` bytes and wants `wanted` (mux R22).
    pub fn wait_for_growth(&mut self, waiter: Waiter, granted: u64, wanted: u64) {
        self.growers.line.join(waiter);
        self.growers.wishes.insert(waiter, (granted, wanted));
    }

    /// `waiter` wants no larger window, or is gone.
    pub fn leave_growth(&mut self, waiter: Waiter) {
        if self.growers.wishes.remove(&waiter).is_some() {
            self.growers.line.leave(waiter);
        }
    }

    /// The first of those who wait for a larger window, once there is room for it. It must ask for it at once.
    pub fn poll_grower(&mut self) -> Option<Waiter> {
        let (_, first) = self.growers.line.order.first_key_value()?;
        let (granted, wanted) = self.growers.wishes.get(first).copied()?;
        if !self.may_grow(granted, wanted) {
            return None;
        }
        let waiter = self.growers.line.pop()?;
        self.growers.wishes.remove(&waiter);
        Some(waiter)
    }

    /// Connections that wait for memory to send and have none reserved.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.seats.line.order.len()
    }

    /// Connections that wait for a larger window.
    #[must_use]
    pub fn growing(&self) -> usize {
        self.growers.wishes.len()
    }

    /// Somebody stands in a line or must be told.
    #[must_use]
    #[inline]
    pub fn has_waiters(&self) -> bool {
        !self.seats.woken.is_empty() || self.seats.is_waited_for() || !self.growers.wishes.is_empty()
    }

    /// Keeps a block for the first in line while there is one.
    #[inline]
    pub(super) fn wake(&mut self) {
        while self.seats.is_waited_for() && self.unclaimed() >= BLOCK_LEN as u64 {
            let Some(waiter) = self.seats.line.pop() else { return };
            self.seats.reserved.insert(waiter);
            self.seats.woken.push_back(waiter);
        }
    }
}
