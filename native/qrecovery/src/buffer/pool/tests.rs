//! The pool under load, and its queue (mux R1 to R5, R12, R20, R22).

use super::*;
use proptest::prelude::*;

const BLOCK: u64 = BLOCK_LEN as u64;

/// A pool with `blocks` blocks beside the reserve.
fn pool_of(blocks: usize) -> BufferPool {
    BufferPool::new((blocks + TRANSMIT_RESERVE) * BLOCK_LEN)
}

/// A pool whose every block but one is in use for receiving, so that there is one to send with beside the reserve.
fn all_but_the_reserve(pool: &mut BufferPool) -> Vec<Block> {
    let whole = pool.max_bytes() / BLOCK;
    (0..whole).map(|_| pool.take(BLOCK_LEN).unwrap()).collect()
}

/// mux R1: one maximum for both directions, and two buffers that only transmit gets.
#[test]
fn reception_never_takes_the_last_two_blocks_from_transmit() {
    let mut pool = pool_of(4);
    assert_eq!(pool.free_for_sending(), 6 * BLOCK, "the maximum is hard");
    let held = all_but_the_reserve(&mut pool);
    assert_eq!(pool.free_for_sending(), 2 * BLOCK);
    let one = pool.settle_sending(0, 1);
    assert_eq!((one, pool.sending(), pool.free_for_sending()), (BLOCK, BLOCK, BLOCK));
    let two = pool.settle_sending(one, BLOCK + 1);
    assert_eq!((two, pool.free_for_sending()), (2 * BLOCK, 0));
    held.into_iter().for_each(|block| pool.give(block));
    assert_eq!((pool.settle_sending(two, 0), pool.free_for_sending()), (0, 6 * BLOCK));
}

/// mux R2: an answer at once, whatever there is; and one place in the line, however often one asks.
#[test]
fn an_empty_pool_answers_at_once_and_gives_one_place_in_line() {
    let mut pool = pool_of(1);
    let held = pool.settle_sending(0, 3 * BLOCK);
    assert_eq!(pool.free_for_sending(), 0);
    for _ in 0..3 {
        pool.wait(Waiter(7));
    }
    assert_eq!((pool.waiting(), pool.poll_woken()), (1, None));
    pool.settle_sending(held, 0);
    assert_eq!((pool.poll_woken(), pool.poll_woken()), (Some(Waiter(7)), None));
    pool.wait(Waiter(7));
    assert_eq!((pool.waiting(), pool.take_reserved(Waiter(7)), pool.take_reserved(Waiter(7))), (0, BLOCK, 0));
}

#[test]
fn a_block_that_comes_back_is_used_again() {
    let mut pool = pool_of(4);
    let block = pool.take(BLOCK_LEN).unwrap();
    let address = block.bytes().as_ptr();
    pool.give(block);
    assert_eq!(pool.take(BLOCK_LEN).unwrap().bytes().as_ptr(), address);
}

#[test]
fn pieces_are_the_next_power_of_two_and_come_back_to_their_size() {
    let mut pool = pool_of(4);
    for (len, size) in [(0, 1_024), (1, 1_024), (1_024, 1_024), (1_025, 2_048), (9_000, 16_384), (99_999, 16_384)] {
        let block = pool.take(len).unwrap();
        assert_eq!((block.len(), pool.used(), pool.used_bytes()), (size, 1, size));
        pool.give(block);
    }
    assert_eq!(pool.free_bytes(), 1_024 + 2_048 + 16_384, "each size was made once");
}

/// mux R12, R20: what overcommit can lead to is an answer, and is counted.
#[test]
fn credited_bytes_are_kept_up_to_twice_the_maximum_and_only_the_maximum_is_held_for_reuse() {
    let mut pool = pool_of(4);
    let blocks: Vec<Block> = std::iter::from_fn(|| pool.take(BLOCK_LEN)).collect();
    assert_eq!((blocks.len(), pool.refused()), (12, 1));
    assert_eq!(pool.pressure(), Pressure::Full);
    blocks.into_iter().for_each(|block| pool.give(block));
    assert_eq!((pool.used(), pool.free_bytes() as u64), (0, pool.max_bytes()));
}

#[test]
fn blocks_given_to_another_pool_come_home() {
    let (mut home, mut other) = (pool_of(4), pool_of(4));
    for _ in 0..3 {
        other.give(home.take(BLOCK_LEN).unwrap());
    }
    assert_eq!((home.used(), other.used()), (3, 0));
    home.absorb(&mut other);
    assert_eq!((home.used(), home.free_bytes(), other.free_bytes()), (0, 3 * BLOCK_LEN, 0));
}

/// mux R3.
#[test]
fn fifty_connections_share_one_block_in_turn() {
    let mut pool = pool_of(1);
    let others = pool.settle_sending(0, 2 * BLOCK);
    let mut held = pool.settle_sending(0, BLOCK);
    for waiter in 0..50 {
        pool.wait(Waiter(waiter));
        pool.wait(Waiter(waiter));
    }
    for waiter in 0..50 {
        pool.settle_sending(held, 0);
        assert_eq!(pool.poll_woken(), Some(Waiter(waiter)));
        assert_eq!(pool.poll_woken(), None, "as many are woken as blocks came free");
        assert_eq!(pool.free_for_sending(), 0, "the block is reserved, not raced for");
        held = pool.take_reserved(Waiter(waiter));
        assert_eq!(held, BLOCK);
        pool.wait(Waiter(waiter));
    }
    assert_eq!((pool.waiting(), pool.sending()), (50, others + held));
}

/// mux R3, R13: a received block that comes back is as good as one of the senders'.
#[test]
fn a_block_of_received_bytes_that_comes_back_wakes_one_who_waits_to_send() {
    let mut pool = pool_of(1);
    let block = pool.take(BLOCK_LEN).unwrap();
    let held = pool.settle_sending(0, 2 * BLOCK);
    pool.wait(Waiter(1));
    assert_eq!(pool.poll_woken(), None);
    pool.give(block);
    assert_eq!((pool.poll_woken(), pool.take_reserved(Waiter(1))), (Some(Waiter(1)), BLOCK));
    assert_eq!(pool.sending(), held + BLOCK);
}

/// mux R4.
#[test]
fn a_waiter_who_leaves_passes_its_block_on() {
    let mut pool = pool_of(1);
    let held = pool.settle_sending(0, 3 * BLOCK);
    for waiter in [1, 2, 3] {
        pool.wait(Waiter(waiter));
    }
    pool.leave(Waiter(2));
    pool.settle_sending(held, 2 * BLOCK);
    pool.leave(Waiter(1));
    assert_eq!(pool.poll_woken(), Some(Waiter(3)));
    assert_eq!((pool.take_reserved(Waiter(1)), pool.take_reserved(Waiter(3))), (0, BLOCK));
}

/// mux R20, R22.
#[test]
fn windows_beyond_the_pool_shrink_to_one_block() {
    let mut pool = pool_of(62);
    let max = pool.max_bytes();
    assert_eq!(pool.reserve_window(max), max);
    assert_eq!(pool.reserve_window(100_000), BLOCK);
    pool.release_window(max);
    assert_eq!(pool.reserve_window(100_000), 100_000);
}

/// mux R20: up to eight times the memory, by option, and never more.
#[test]
fn overcommit_lets_windows_add_up_to_more_than_the_pool() {
    for (percent, times) in [(0, 1), (100, 1), (250, 2), (800, 8), (100_000, 8)] {
        let mut pool = pool_of(62).with_overcommit(percent);
        let max = pool.max_bytes();
        let granted = (0..20).take_while(|_| pool.reserve_window(max) == max).count();
        assert_eq!((granted, pool.max_bytes()), (times, max), "{percent} %");
    }
}

/// mux R20, R22.
#[test]
fn windows_grow_into_three_quarters_of_the_pool_and_shrink_without_a_trace() {
    let mut pool = pool_of(64);
    let max = pool.max_bytes();
    let first = pool.reserve_window(max / 4);
    assert!(pool.grow_window(first, max / 4 * 3));
    assert!(!pool.is_pressed());
    assert!(!pool.grow_window(max / 4 * 3, max / 4 * 3 + 1), "the last quarter is for newcomers");
    assert_eq!(pool.reserve_window(max / 8), max / 8);
    assert!(pool.is_pressed());
    pool.shrink_window(max / 4 * 3, max / 4);
    assert!(!pool.is_pressed());
    pool.release_window(max / 4);
    pool.release_window(max / 8);
    assert_eq!(pool.windows(), 0);
    let small = pool.reserve_window(1_000);
    assert_eq!((small, pool.windows()), (1_000, 0), "less than a block stands outside the sum");
    pool.release_window(small);
    assert_eq!(pool.windows(), 0);
}

/// mux R22: in the order of asking, and each only once there is room for what it wants.
#[test]
fn those_who_wait_for_a_larger_window_get_it_in_turn() {
    let mut pool = pool_of(62);
    let quarter = pool.max_bytes() / 4;
    let first = pool.reserve_window(3 * quarter);
    for waiter in [1, 2, 1] {
        pool.wait_for_growth(Waiter(waiter), 0, 2 * quarter);
    }
    assert_eq!((pool.growing(), pool.poll_grower()), (2, None));
    pool.shrink_window(first, quarter);
    assert_eq!(pool.poll_grower(), Some(Waiter(1)));
    assert!(pool.grow_window(0, 2 * quarter));
    assert_eq!(pool.poll_grower(), None, "there is no room for the second");
    pool.leave_growth(Waiter(2));
    assert!(!pool.has_waiters());
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Take,
    Give,
    Send(u64),
    Wait(u64),
    Leave(u64),
    Collect,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::Take),
        3 => Just(Step::Give),
        4 => (0..4 * BLOCK).prop_map(Step::Send),
        3 => (0..20_u64).prop_map(Step::Wait),
        1 => (0..20_u64).prop_map(Step::Leave),
        3 => Just(Step::Collect),
    ]
}

/// A pool, and what everybody has of it.
struct Model {
    pool: BufferPool,
    blocks: Vec<Block>,
    /// Send memory of one connection, whole blocks, and of those that were woken.
    own: u64,
    woken: Vec<u64>,
}

impl Model {
    fn new() -> Self {
        Self { pool: pool_of(4), blocks: Vec::new(), own: 0, woken: Vec::new() }
    }

    fn apply(&mut self, step: Step) {
        let pool = &mut self.pool;
        match step {
            Step::Take => self.blocks.extend((pool.used() < 8).then(|| pool.take(BLOCK_LEN)).flatten()),
            Step::Give => match (self.blocks.pop(), self.woken.pop()) {
                (Some(block), other) => {
                    pool.give(block);
                    self.woken.extend(other);
                }
                (None, Some(lease)) => assert_eq!(pool.settle_sending(lease, 0), 0),
                (None, None) => {}
            },
            Step::Send(bytes) => {
                let needed = bytes.min(self.own + pool.free_for_sending());
                self.own = pool.settle_sending(self.own, needed);
            }
            Step::Wait(waiter) => pool.wait(Waiter(waiter)),
            Step::Leave(waiter) => pool.leave(Waiter(waiter)),
            Step::Collect => {
                while let Some(waiter) = pool.poll_woken() {
                    self.woken.push(pool.take_reserved(waiter));
                }
            }
        }
    }

    /// Nothing has vanished, and nobody waits beside a free block.
    fn check(&self) {
        let pool = &self.pool;
        assert_eq!(pool.used(), self.blocks.len());
        assert_eq!(pool.sending(), self.own + self.woken.iter().sum::<u64>());
        let claimed = pool.sending() + pool.seats.kept();
        let in_use = pool.used_bytes() as u64 + claimed;
        assert!(claimed <= pool.max_bytes(), "{claimed}");
        assert!(in_use >= pool.max_bytes() || pool.unclaimed() >= pool.max_bytes() - in_use, "free + used = total");
        assert!(pool.waiting() == 0 || pool.unclaimed() < BLOCK, "{} wait while a block is free", pool.waiting());
    }
}

proptest! {
    /// mux R5.
    #[test]
    fn no_wake_up_is_lost_and_no_block_vanishes(steps in prop::collection::vec(step(), 1..4_000)) {
        let mut model = Model::new();
        for step in steps {
            model.apply(step);
            model.check();
        }
    }
}

/// mux R5: a million steps with fixed seeds.
#[test]
fn a_million_steps_lose_no_wake_up_and_no_block() {
    for seed in 1..=10_u64 {
        let mut model = Model::new();
        let mut state = seed;
        for _ in 0..100_000 {
            // An LCG's upper bits are good enough to choose steps by.
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let argument = state >> 40;
            model.apply(match (state >> 33) % 17 {
                0..3 => Step::Take,
                3..6 => Step::Give,
                6..10 => Step::Send(argument % (4 * BLOCK)),
                10..13 => Step::Wait(argument % 20),
                13 => Step::Leave(argument % 20),
                _ => Step::Collect,
            });
            model.check();
        }
    }
}
