//! One seed is one history: the same datagrams, byte for byte, at the same instants with the same fates.

use qbase::Direction;
use qsim::{Failure, LinkShape, Pair, PairConfig, Reorder};

use crate::common;
use common::{FIRST, delay, for_each_seed, ms, secs};

#[test]
fn the_same_seed_leaves_the_same_trace() -> Result<(), Failure> {
    for_each_seed(0..200, |seed| {
        let (first, second) = (run(seed)?, run(seed)?);
        assert_eq!(first, second, "seed {seed}: two runs differ");
        Ok(())
    })
}

#[test]
fn another_seed_leaves_another_trace() -> Result<(), Failure> {
    assert_ne!(run(1)?, run(2)?);
    Ok(())
}

/// A lossy transfer over two paths, the first of which dies half way. Returns the trace hash and the instant it ended.
fn run(seed: u64) -> Result<(String, std::time::Duration), Failure> {
    let shape = |millis| LinkShape {
        jitter: ms(3),
        duplicate: 0.02,
        reorder: Some(Reorder { probability: 0.05, by: ms(8) }),
        ..delay(millis).at_rate(20_000_000).with_loss(0.03)
    };
    let mut pair = Pair::new(PairConfig::new(seed, vec![shape(10), shape(25)]))?;
    pair.client_mut().traffic_mut().send(Direction::Bidirectional, 40_000);
    pair.server_mut().traffic_mut().reply_with(30_000);
    pair.run_until(|pair| pair.server().traffic().received() > 15_000, secs(60))?;
    pair.cut(FIRST);
    let time = pair.run_until_delivered(secs(60))?;
    Ok((pair.trace_hash(), time))
}
