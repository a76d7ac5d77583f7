//! Every fuzz target over its kept inputs, over changed ones and over random ones: `native/fuzz/corpus/<target>`.
//!
//! `EVIL_RUNS=n` multiplies the number of changed and random inputs by n; `EVIL_SEED=n` chooses where they begin.

use std::{fs, io, panic, path::PathBuf};

use evil::target::{ALL, Cost, Target};
use qsim::{Failure, Random};

/// Changed and random inputs of a target that takes microseconds.
const LIGHT_RUNS: u64 = 1_000;
/// The same of one that takes milliseconds.
const HEAVY_RUNS: u64 = 20;
/// Longest random input, bytes.
const MAX_LEN: u64 = 600;

#[test]
fn every_parser_stands_its_kept_and_random_inputs() -> Result<(), Failure> {
    replay(Cost::Light)
}

#[test]
fn every_machine_stands_its_kept_and_random_inputs() -> Result<(), Failure> {
    replay(Cost::Heavy)
}

#[test]
fn the_kept_inputs_are_few_and_each_folder_has_its_target() -> Result<(), Failure> {
    let (mut files, mut bytes) = (0, 0);
    for folder in fs::read_dir(corpus()).map_err(failure)? {
        let folder = folder.map_err(failure)?;
        let name = folder.file_name().to_string_lossy().into_owned();
        assert!(evil::target::find(&name).is_some(), "nobody runs the inputs of {name}");
        for input in kept(&name).map_err(failure)? {
            files += 1;
            bytes += input.1.len();
        }
    }
    assert!(ALL.iter().all(|target| kept(target.name).is_ok_and(|inputs| !inputs.is_empty())), "a target has no input");
    assert!(files <= 300 && bytes <= 300 * 1_024, "{files} files, {bytes} bytes");
    Ok(())
}

fn replay(cost: Cost) -> Result<(), Failure> {
    let variable = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let (times, first) = (variable("EVIL_RUNS").unwrap_or(1), variable("EVIL_SEED").unwrap_or(0));
    for target in ALL.iter().filter(|target| target.cost == cost) {
        let inputs = kept(target.name).map_err(failure)?;
        for (name, input) in &inputs {
            run(target, name, input)?;
        }
        let runs = if cost == Cost::Light { LIGHT_RUNS } else { HEAVY_RUNS } * times;
        for seed in first..first + runs {
            let input = random_input(seed, &inputs);
            run(target, &format!("seed {seed}"), &input)?;
        }
    }
    Ok(())
}

fn run(target: &Target, name: &str, input: &[u8]) -> Result<(), Failure> {
    let ended = panic::catch_unwind(|| (target.run)(input));
    ended.map_err(|_| Failure::new(format!("{} panics with {name}: {}", target.name, hex(input))))
}

/// A kept input with some bytes changed, or bytes without a sense.
fn random_input(seed: u64, inputs: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut random = Random::labelled(seed, 0xf022);
    let pick = |random: &mut Random, len: usize| usize::try_from(random.below(len.max(1) as u64)).unwrap_or_default();
    let mut input = vec![0; pick(&mut random, usize::try_from(MAX_LEN).unwrap_or_default())];
    random.fill(&mut input);
    if random.chance(0.7) && let Some((_, kept)) = inputs.get(pick(&mut random, inputs.len())) {
        input = kept.clone();
        for _ in 0..1 + random.below(8) {
            let at = pick(&mut random, input.len());
            match random.below(4) {
                0 => input.truncate(at.max(1)),
                1 => input.insert(at.min(input.len()), random.below(256) as u8),
                _ => input.get_mut(at).into_iter().for_each(|byte| *byte ^= 1 << random.below(8)),
            }
        }
    }
    input
}

/// Names and bytes of a target's kept inputs, by name.
fn kept(target: &str) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut inputs = Vec::new();
    for entry in fs::read_dir(corpus().join(target))? {
        let path = entry?.path();
        inputs.push((path.file_name().unwrap_or_default().to_string_lossy().into_owned(), fs::read(&path)?));
    }
    inputs.sort();
    Ok(inputs)
}

fn corpus() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn failure(error: io::Error) -> Failure {
    Failure::new(error.to_string())
}
