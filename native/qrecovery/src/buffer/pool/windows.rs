//! Credit is memory: receive windows come out of the pool (mux R20, R22).
//!
//! Called by the endpoint when a connection begins and ends, and by the stream room when a window should change. Never
//! takes back what was granted.

use super::{BLOCK_LEN, BufferPool};

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

impl BufferPool {
    /// Asks for a receive window of `wanted` bytes and answers how many may be granted: all of it, or one block when
    /// the windows of all connections would exceed the pool or it is nearly full (mux R20, R22). Give the answer back
    /// with [`BufferPool::release_window`] when the connection ends.
    #[must_use]
    pub fn reserve_window(&mut self, wanted: u64) -> u64 {
        let smallest = (BLOCK_LEN as u64).min(wanted);
        let total = self.windows.saturating_add(counted(wanted));
        if total > self.windows_max || self.pressure() == Pressure::Full {
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
        let may = self.may_grow(granted, wanted);
        if may {
            self.windows = self.exchanged(granted, wanted);
        }
        may
    }

    /// There is room for a larger window.
    pub(super) fn may_grow(&self, granted: u64, wanted: u64) -> bool {
        self.exchanged(granted, wanted) <= self.comfortable() && self.pressure() == Pressure::Low
    }

    /// The sum of all windows with one instead of another.
    const fn exchanged(&self, granted: u64, wanted: u64) -> u64 {
        self.windows.saturating_sub(counted(granted)).saturating_add(counted(wanted))
    }

    /// Exchanges a window for a smaller one, once the peer has used up what it was promised.
    pub fn shrink_window(&mut self, granted: u64, kept: u64) {
        self.windows = self.exchanged(granted, kept.min(granted));
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

    /// How full the pool is, with received bytes and bytes to send.
    #[must_use]
    pub fn pressure(&self) -> Pressure {
        let used = (self.used_bytes as u64).saturating_add(self.sending);
        let percent = used.saturating_mul(100).checked_div(self.max_bytes()).unwrap_or(100);
        match percent {
            0..=75 => Pressure::Low,
            76..=90 => Pressure::High,
            _ => Pressure::Full,
        }
    }

    /// Bytes that windows may have before they stop growing: three quarters.
    const fn comfortable(&self) -> u64 {
        self.windows_max.saturating_sub(self.windows_max / 4)
    }
}

/// What a window counts in their sum: the smallest one, a block, stands outside (mux R22).
const fn counted(window: u64) -> u64 {
    if window > BLOCK_LEN as u64 { window } else { 0 }
}
