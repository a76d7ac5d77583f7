//! Random scenarios: two applications that open, write, reset, stop, update keys, open, move and give up paths, close and dial again
//! with early data, while links fail and corrupt and NATs forget. Whatever they do: every byte is exact, or its stream or connection ended at both ends; nothing goes on for ever; nothing is left behind.
//!
//! `QSIM_SCENARIOS=n` plays n seeds in place of a thousand, `QSIM_SEED=n` one. A failure prints its seed and the shortest
//! list of operations that still fails.

use std::panic::{self, AssertUnwindSafe};

use qconnection::Multipath;
use qsim::Failure;

use crate::common::for_each_seed;
use crate::interaction::{operation::{Operation, Scenario, scenario}, world};

/// Seeds in the tests.
const SCENARIOS: u64 = 1_000;
/// Scenarios played to shorten one.
const MAX_TRIES: usize = 300;

#[test]
fn whatever_two_ends_do_every_byte_is_exact_or_its_stream_ended_and_nothing_is_left() -> Result<(), Failure> {
    play_all(SCENARIOS, |scenario| scenario)
}

/// multipath section O
#[test]
fn the_same_holds_where_all_paths_share_one_packet_number_space() -> Result<(), Failure> {
    play_all(SCENARIOS / 2, |mut scenario| {
        scenario.config.client.multipath = Multipath::SharedSpace;
        scenario.config.server.multipath = Multipath::SharedSpace;
        scenario
    })
}

fn play_all(count: u64, change: impl Fn(Scenario) -> Scenario + Sync) -> Result<(), Failure> {
    let scenarios = std::env::var("QSIM_SCENARIOS").ok().and_then(|count| count.parse().ok()).unwrap_or(count);
    for_each_seed(0..scenarios, |seed| {
        let drawn = change(scenario(seed));
        let Err(failure) = play(&drawn) else { return Ok(()) };
        let (shrunk, failure) = shrink(drawn, failure);
        let list: Vec<String> = shrunk.operations.iter().map(|operation| format!("    {operation:?},")).collect();
        Err(Failure::new(format!("QSIM_SEED={seed}, shrunk to {} operations:\n{}\n{failure}", list.len(), list.join("\n"))))
    })
}

/// Plays a scenario; a panic is a failure too.
fn play(scenario: &Scenario) -> Result<(), Failure> {
    let played = panic::catch_unwind(AssertUnwindSafe(|| world::play(scenario)));
    played.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(Failure::new(format!("panic: {}", text.unwrap_or_default())))
    })
}

/// Leaves operations out as long as it still fails: halves, quarters, single ones.
fn shrink(mut scenario: Scenario, mut failure: Failure) -> (Scenario, Failure) {
    let mut piece = scenario.operations.len().div_ceil(2);
    let mut tries = 0;
    while piece > 0 && tries < MAX_TRIES {
        let mut start = 0;
        while start < scenario.operations.len() && tries < MAX_TRIES {
            tries += 1;
            let end = (start + piece).min(scenario.operations.len());
            let mut operations: Vec<Operation> = scenario.operations.clone();
            operations.drain(start..end);
            let shorter = Scenario { operations, ..scenario.clone() };
            match play(&shorter) {
                Err(again) => (scenario, failure) = (shorter, again),
                Ok(()) => start = end,
            }
        }
        piece /= 2;
    }
    (scenario, failure)
}
