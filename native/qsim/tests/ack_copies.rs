//! Copies of a slow path's acknowledgements on a much quicker one (multipath MP-37, MP-38, MP-82).

use qbase::{Direction::Unidirectional, PathId, Role};
use qconnection::stream::IfDead;
use qsim::{Failure, LinkDirection, LinkId, LinkShape, Pair, PairConfig};

use crate::common;
use common::{FIRST, SECOND, back, delay, forth, ms, secs};

/// The window of the slow path opens in rounds of 110 ms, and its round trip is told as what it is.
#[test]
fn a_slow_path_fills_sooner_beside_a_quick_one_and_keeps_its_own_round_trip() -> Result<(), Failure> {
    let mut pair = open(vec![delay(10).at_rate(20_000_000), delay(100).at_rate(10_000_000)])?;
    pair.client_mut().traffic_mut().send(Unidirectional, 4_000_000);
    let before = forth(&pair, SECOND);
    pair.run_for(ms(700))?;
    let carried = forth(&pair, SECOND) - before;
    assert!(carried > 200_000, "{carried} bytes in the first 700 ms");
    pair.run_until_delivered(secs(20))?;
    let slow = pair.client().connection().and_then(|connection| connection.path(PathId(1)));
    let (least, smoothed) = slow.map(|path| (path.min_rtt, path.smoothed_rtt)).unwrap_or_default();
    assert!(least >= ms(200) && least < ms(205) && smoothed >= ms(200), "{least:?}, {smoothed:?}");
    Ok(())
}

/// Sixteen a round trip, after the first ones.
#[test]
fn copies_are_few_and_small() -> Result<(), Failure> {
    let mut pair = open(vec![delay(10), delay(100).at_rate(20_000_000)])?;
    pin_bulk(&mut pair, 10_000_000)?;
    let counted = |pair: &Pair| pair.network().statistics(FIRST, LinkDirection::BToA);
    let before = counted(&pair);
    let took = pair.run_until(|pair| forth(pair, SECOND) > 6_000_000, secs(30))?;
    let (copies, bytes) = (counted(&pair).offered - before.offered, counted(&pair).offered_bytes - before.offered_bytes);
    let rounds = took.as_millis() as u64 / 200;
    assert!(copies >= 8 * rounds && copies <= 64 + 17 * (rounds + 1), "{copies} copies in {rounds} rounds");
    assert!(bytes <= copies * 100, "{bytes} bytes of {copies} copies");
    Ok(())
}

#[test]
fn paths_of_like_length_carry_only_their_own_acknowledgements() -> Result<(), Failure> {
    let mut pair = open(vec![delay(10), delay(19).at_rate(20_000_000)])?;
    pin_bulk(&mut pair, 10_000_000)?;
    let before = back(&pair, FIRST);
    pair.run_until(|pair| forth(pair, SECOND) > 3_000_000, secs(30))?;
    assert!(back(&pair, FIRST) - before < 2_000, "{} bytes back on the other path", back(&pair, FIRST) - before);
    Ok(())
}

/// multipath MP-82: a slow path does not depend on the quick one.
#[test]
fn a_quick_path_that_dies_does_not_take_the_slow_one_with_it() -> Result<(), Failure> {
    for at in [300, 600, 900, 1_200] {
        let mut pair = open(vec![delay(10).at_rate(20_000_000), delay(100).at_rate(10_000_000)])?;
        pair.client_mut().traffic_mut().send(Unidirectional, 5_000_000);
        pair.run_for(ms(at))?;
        pair.cut(FIRST);
        let mut suspected = false;
        for _ in 0..100 {
            pair.run_for(ms(10))?;
            suspected |= pair.client().connection().and_then(|connection| connection.path(PathId(1))).is_some_and(|path| path.suspect_since.is_some());
        }
        assert!(!suspected, "cut at {at} ms: the slow path was suspected");
        pair.run_until_delivered(secs(20))?;
    }
    Ok(())
}

// ---- helpers ----

/// Both paths are open at both ends.
fn open(links: Vec<LinkShape>) -> Result<Pair, Failure> {
    let mut pair = Pair::new(PairConfig::new(1, links))?;
    pair.run_until_confirmed(secs(5))?;
    pair.run_for(secs(1))?;
    Ok(pair)
}

/// A transfer on the second path alone.
fn pin_bulk(pair: &mut Pair, len: u64) -> Result<(), Failure> {
    let id = pair.client_mut().traffic_mut().send(Unidirectional, len);
    let stream = |pair: &Pair| pair.client().traffic().outgoing(id).and_then(|outgoing| outgoing.stream);
    pair.run_until(|pair| stream(pair).is_some(), secs(1))?;
    let path = pair.client().connection().and_then(|connection| connection.paths().find(|path| path.four_tuple == Pair::four_tuple(LinkId(1), Role::Client)).map(|path| path.id));
    if let (Some(stream), Some(path), Some(connection)) = (stream(pair), path, pair.client_mut().connection_mut()) {
        connection.pin_stream(stream, Some((path, IfDead::Move))).map_err(common::ends::failure)?;
    }
    Ok(())
}
