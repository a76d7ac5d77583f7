//! The pool under load, and its queue (mux R1 to R5, R12, R20, R22).

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
