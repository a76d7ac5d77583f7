//! Which stream goes first (burst B-32): urgency before all, then turns for those that share and one after another for
//! those that do not, over one path as over two.

use qbase::{Direction, StreamId};
use qconnection::{TransportConfig, stream::Incremental};
use qsim::{Failure, LinkShape, Pair, PairConfig, Queue, traffic::TransferId};

use crate::common;
use common::{delay, ms, secs};

use Direction::Unidirectional;

const LEN: u64 = 400_000;

#[test]
fn more_urgent_streams_end_first_whatever_their_order() -> Result<(), Failure> {
    let mut pair = pair_of(vec![narrow()])?;
    let ends = run(&mut pair, &[(5, Incremental::Yes), (0, Incremental::Yes), (7, Incremental::No), (2, Incremental::No)])?;
    assert!(ends[1] < ends[3] && ends[3] < ends[0] && ends[0] < ends[2], "{ends:?}");
    // The most urgent one has the link for itself.
    assert!(ends[1] < 0.35 * ends[2], "{ends:?}");
    Ok(())
}

#[test]
fn streams_that_share_end_together_and_others_one_after_another() -> Result<(), Failure> {
    let mut pair = pair_of(vec![narrow()])?;
    let shared = run(&mut pair, &[(3, Incremental::Yes); 4])?;
    let (first, last) = (shared.iter().copied().fold(f64::MAX, f64::min), shared.iter().copied().fold(0.0, f64::max));
    assert!(first > 0.85 * last, "{shared:?}");
    let mut pair = pair_of(vec![narrow()])?;
    let queued = run(&mut pair, &[(3, Incremental::No); 4])?;
    assert!(queued.is_sorted(), "in the order of their ids: {queued:?}");
    for (number, end) in (1_u32..).zip(&queued) {
        let fair = f64::from(number) / 4.0;
        assert!((end / queued[3] - fair).abs() < 0.1, "{queued:?}");
    }
    Ok(())
}

#[test]
fn urgency_holds_over_two_paths() -> Result<(), Failure> {
    let mut pair = pair_of(vec![narrow(), narrow()])?;
    pair.run_for(secs(1))?;
    let ends = run(&mut pair, &[(6, Incremental::Yes), (1, Incremental::Yes), (6, Incremental::Yes)])?;
    assert!(ends[1] < 0.6 * ends[0] && ends[1] < 0.6 * ends[2], "{ends:?}");
    Ok(())
}

#[test]
fn an_urgency_that_changes_under_way_counts_from_then_on() -> Result<(), Failure> {
    let mut pair = pair_of(vec![narrow()])?;
    let ids = start(&mut pair, &[(3, Incremental::Yes), (3, Incremental::Yes)])?;
    pair.run_for(ms(100))?;
    set(&mut pair, ids[1], 0, Incremental::Yes);
    let ends = finish(&mut pair, &ids)?;
    assert!(ends[1] < 0.7 * ends[0], "{ends:?}");
    Ok(())
}

#[test]
fn under_loss_every_stream_still_ends_and_the_urgent_one_first() -> Result<(), Failure> {
    for seed in 0..10 {
        let config = PairConfig { seed, ..PairConfig::new(seed, vec![narrow().with_loss(0.02)]) };
        let mut pair = pair_from(config)?;
        let ends = run(&mut pair, &[(7, Incremental::Yes), (0, Incremental::Yes), (7, Incremental::No)])?;
        assert!(ends[1] < ends[0] && ends[1] < ends[2], "seed {seed}: {ends:?}");
    }
    Ok(())
}

// ---- helpers ----

/// 8 Mbit/s and a queue that loses nothing.
fn narrow() -> LinkShape {
    LinkShape { queue: Queue::TailDrop { bytes: 4_000_000 }, ..delay(10) }.at_rate(8_000_000)
}

fn pair_of(links: Vec<LinkShape>) -> Result<Pair, Failure> {
    pair_from(PairConfig::new(1, links))
}

/// Streams may send all they have: only their priorities decide.
fn pair_from(config: PairConfig) -> Result<Pair, Failure> {
    let client = TransportConfig { send_buffer: 1 << 20, ..TransportConfig::default() };
    let server = TransportConfig { stream_window: 1 << 20, connection_window: 8 << 20, ..TransportConfig::default() };
    let mut pair = Pair::new(PairConfig { client, server, ..config })?;
    pair.run_until_confirmed(secs(9))?;
    Ok(pair)
}

/// Starts one transfer for each priority, and lets none send before all have theirs.
fn start(pair: &mut Pair, priorities: &[(u8, Incremental)]) -> Result<Vec<TransferId>, Failure> {
    let ids: Vec<TransferId> = priorities.iter().map(|_| pair.client_mut().traffic_mut().send(Unidirectional, LEN)).collect();
    pair.run_for(ms(1))?;
    for (id, (urgency, incremental)) in ids.iter().zip(priorities) {
        set(pair, *id, *urgency, *incremental);
    }
    Ok(ids)
}

fn set(pair: &mut Pair, id: TransferId, urgency: u8, incremental: Incremental) {
    let Some(stream) = stream_of(pair, id) else { return };
    if let Some(connection) = pair.client_mut().connection_mut() {
        connection.streams().set_priority(stream, urgency, incremental).unwrap();
    }
}

fn stream_of(pair: &Pair, id: TransferId) -> Option<StreamId> {
    pair.client().traffic().outgoing(id).and_then(|outgoing| outgoing.stream)
}

/// Seconds until each transfer had arrived as a whole.
fn finish(pair: &mut Pair, ids: &[TransferId]) -> Result<Vec<f64>, Failure> {
    let started = pair.now();
    let mut ends = vec![0.0; ids.len()];
    for _ in 0..6_000 {
        pair.run_for(ms(5))?;
        for (end, id) in ends.iter_mut().zip(ids) {
            let stream = stream_of(pair, *id);
            let received = stream.and_then(|stream| pair.server().traffic().incoming(stream)).map_or(0, |incoming| incoming.received);
            if *end == 0.0 && received == LEN {
                *end = pair.now().saturating_since(started).as_secs_f64();
            }
        }
        if ends.iter().all(|end| *end > 0.0) {
            return Ok(ends);
        }
    }
    Err(Failure::new(format!("not all transfers ended: {ends:?}")))
}

fn run(pair: &mut Pair, priorities: &[(u8, Incremental)]) -> Result<Vec<f64>, Failure> {
    let ids = start(pair, priorities)?;
    finish(pair, &ids)
}
