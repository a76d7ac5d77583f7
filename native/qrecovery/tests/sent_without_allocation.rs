//! Sending, acknowledging and losing packets in a steady flow takes no memory from the allocator.

use qbase::{Ecn, Timestamp};
use qrecovery::{
    RangeSet,
    sent::{SentPacket, SentPackets},
};
use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    ops::RangeInclusive,
    time::Duration,
};

const WINDOW: u64 = 512;
const ROUNDS: u64 = 20_000;

#[test]
fn a_steady_flow_without_loss_allocates_nothing() {
    let mut flow = Flow::default();
    flow.run(WINDOW * 4, |_| true);
    let before = allocations();
    flow.run(ROUNDS, |_| true);
    assert_eq!(allocations() - before, 0);
    assert_eq!(flow.handed_out, (WINDOW * 4 + ROUNDS - WINDOW) * 3, "every frame of every packet came back once");
}

#[test]
fn a_steady_flow_with_standing_holes_allocates_nothing() {
    let mut flow = Flow::default();
    let arrives = |number: u64| number % 7 != 3 && number % 31 != 8;
    flow.run(WINDOW * 8, arrives);
    let before = allocations();
    flow.run(ROUNDS, arrives);
    assert_eq!(allocations() - before, 0);
    assert!(flow.sent.records() <= 2 * WINDOW as usize + 2);
}

/// A sender with three frames in each packet and a receiver that repeats its last 32 ranges in every ACK.
struct Flow {
    sent: SentPackets<[u64; 4]>,
    received: RangeSet,
    number: u64,
    handed_out: u64,
}

impl Default for Flow {
    fn default() -> Self {
        let mut received = RangeSet::new();
        // Room for the ranges of the receiver, which is not what is measured.
        for number in 0..128 {
            received.insert_one(number * 2);
        }
        received.clear();
        Self { sent: SentPackets::new(), received, number: 0, handed_out: 0 }
    }
}

impl Flow {
    /// Sends this many packets; the one sent a window earlier reaches the peer if `arrives` says so.
    fn run(&mut self, packets: u64, arrives: impl Fn(u64) -> bool) {
        for _ in 0..packets {
            let now = Timestamp::from_micros(self.number * 10);
            self.sent.push(packet(self.number, now), &[[self.number; 4]; 3]);
            self.number += 1;
            if let Some(arrived) = self.number.checked_sub(WINDOW + 1)
                && arrives(arrived)
            {
                self.received.insert_one(arrived);
                self.received.trim_to(32);
                self.exchange(now);
            }
        }
    }

    fn exchange(&mut self, now: Timestamp) {
        let ranges = self.received.iter().rev().map(inclusive);
        let handed_out = &mut self.handed_out;
        let outcome = self.sent.on_ack(ranges, |_, frames| *handed_out += frames.len() as u64);
        assert!(outcome.is_ok(), "all these packets were sent");
        self.sent.detect_lost(now, Duration::from_millis(6), 3, |_, frames| *handed_out += frames.len() as u64);
    }
}

fn packet(number: u64, sent_at: Timestamp) -> SentPacket {
    SentPacket { number, sent_at, size: 1_452, ack_eliciting: true, in_flight: true, mtu_probe: false, ecn: Ecn::Ect0 }
}

fn inclusive(range: std::ops::Range<u64>) -> RangeInclusive<u64> {
    range.start..=range.end - 1
}

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn allocations() -> u64 {
    ALLOCATIONS.get()
}

/// Counts the requests of each thread.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[expect(unsafe_code, reason = "an allocator that counts can only be written with unsafe; it hands everything to the system's")]
// SAFETY: every method passes its arguments on to `System` unchanged; counting does not touch the memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps the contract of `GlobalAlloc::alloc`, which is also that of `System`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: as in `alloc`; `pointer` came from `System` with this layout.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `System` with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}
