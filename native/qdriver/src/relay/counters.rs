//! What a link counts, readable from any thread while it runs.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::{Way, script::Act};

/// Counters of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineCounters {
    /// Datagrams that arrived at the line.
    pub datagrams_in: u64,
    /// Their UDP payload, bytes.
    pub bytes_in: u64,
    /// Datagrams that left it.
    pub datagrams_out: u64,
    /// Their UDP payload, bytes.
    pub bytes_out: u64,
    /// Datagrams lost by chance, by list or by their size.
    pub lost: u64,
    /// Datagrams that got a flipped bit.
    pub corrupted: u64,
    /// Datagrams dropped because the queue was full.
    pub overflowed: u64,
    /// Datagrams lost because the link was cut.
    pub cut: u64,
    /// Datagrams that the kernel refused at the far end.
    pub refused: u64,
    /// Send calls, for the cost of it.
    pub send_calls: u64,
}

/// Counters of a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkCounters {
    /// From clients to the target.
    pub up: LineCounters,
    /// From the target to clients.
    pub down: LineCounters,
}

/// The part of a link that its owner and its thread share.
#[derive(Debug, Default)]
pub(super) struct LinkState {
    cut: AtomicBool,
    up: Shared,
    down: Shared,
}

impl LinkState {
    pub(super) fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Acquire)
    }

    pub(super) fn apply(&self, act: Act) {
        self.cut.store(act == Act::Cut, Ordering::Release);
    }

    pub(super) fn counters(&self) -> LinkCounters {
        LinkCounters { up: self.up.load(), down: self.down.load() }
    }

    /// Publishes a line's counters; the thread alone writes.
    pub(super) fn publish(&self, way: Way, counters: &LineCounters) {
        match way {
            Way::Up => self.up.store(counters),
            Way::Down => self.down.store(counters),
        }
    }
}

/// [`LineCounters`] that one thread writes and others read. Each number is right by itself; together they may be from
/// two moments.
#[derive(Debug, Default)]
struct Shared {
    datagrams_in: AtomicU64,
    bytes_in: AtomicU64,
    datagrams_out: AtomicU64,
    bytes_out: AtomicU64,
    lost: AtomicU64,
    corrupted: AtomicU64,
    overflowed: AtomicU64,
    cut: AtomicU64,
    refused: AtomicU64,
    send_calls: AtomicU64,
}

impl Shared {
    fn store(&self, counters: &LineCounters) {
        let LineCounters {
            datagrams_in,
            bytes_in,
            datagrams_out,
            bytes_out,
            lost,
            corrupted,
            overflowed,
            cut,
            refused,
            send_calls,
        } = *counters;
        self.datagrams_in.store(datagrams_in, Ordering::Relaxed);
        self.bytes_in.store(bytes_in, Ordering::Relaxed);
        self.datagrams_out.store(datagrams_out, Ordering::Relaxed);
        self.bytes_out.store(bytes_out, Ordering::Relaxed);
        self.lost.store(lost, Ordering::Relaxed);
        self.corrupted.store(corrupted, Ordering::Relaxed);
        self.overflowed.store(overflowed, Ordering::Relaxed);
        self.cut.store(cut, Ordering::Relaxed);
        self.refused.store(refused, Ordering::Relaxed);
        self.send_calls.store(send_calls, Ordering::Relaxed);
    }

    fn load(&self) -> LineCounters {
        LineCounters {
            datagrams_in: self.datagrams_in.load(Ordering::Relaxed),
            bytes_in: self.bytes_in.load(Ordering::Relaxed),
            datagrams_out: self.datagrams_out.load(Ordering::Relaxed),
            bytes_out: self.bytes_out.load(Ordering::Relaxed),
            lost: self.lost.load(Ordering::Relaxed),
            corrupted: self.corrupted.load(Ordering::Relaxed),
            overflowed: self.overflowed.load(Ordering::Relaxed),
            cut: self.cut.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            send_calls: self.send_calls.load(Ordering::Relaxed),
        }
    }
}
