//! Congestion control over one bottleneck: what is left of its rate, how long its queue grows, what silence and reordering
//! do (RFC 9002 §7, RFC 9438, draft-ietf-tcpm-hystartplusplus-04, draft-ietf-ccwg-bbr; attacks C9, C16).

use std::time::Duration;

use qbase::Direction::Unidirectional;
use qcongestion::Algorithm;
use qconnection::{TransportConfig, PathView, connection::Statistics};
use qsim::{Failure, LinkDirection, LinkShape, LinkStatistics, Pair, PairConfig, Queue, Reorder};

use crate::common;
use common::{FIRST, delay, forth, ms, secs};

/// Bits per second of the bottleneck.
const RATE: u64 = 50_000_000;
/// Bytes a round trip of 40 ms holds at that rate.
const BDP: u64 = RATE / 8 / 25;
const LOSS_BASED: [Algorithm; 2] = [Algorithm::NewReno, Algorithm::Cubic];

#[test]
fn a_bulk_transfer_keeps_its_bottleneck_busy() -> Result<(), Failure> {
    for algorithm in Algorithm::UNCOUPLED {
        let mut pair = bulk(with(algorithm), bottleneck(1))?;
        pair.run_for(secs(3))?;
        let share = share_of(&mut pair, secs(8))?;
        assert!(share > 0.9, "{algorithm:?}: {share}");
    }
    Ok(())
}

#[test]
fn random_losses_slow_bbr_little_and_the_others_much() -> Result<(), Failure> {
    for (algorithm, least, most) in [(Algorithm::Bbr3, 0.8, 1.0), (Algorithm::Cubic, 0.0, 0.2), (Algorithm::NewReno, 0.0, 0.2)] {
        let mut pair = bulk(with(algorithm), bottleneck(1).with_loss(0.02))?;
        pair.run_for(secs(3))?;
        let share = share_of(&mut pair, secs(10))?;
        assert!(share >= least && share <= most, "{algorithm:?}: {share}");
    }
    Ok(())
}

#[test]
fn bbr_keeps_queues_short_and_empties_them() -> Result<(), Failure> {
    for products in [1, 8] {
        let mut pair = bulk(with(Algorithm::Bbr3), bottleneck(products))?;
        pair.run_for(secs(3))?;
        let (mut sum, mut least) = (0, u64::MAX);
        for _ in 0..700 {
            pair.run_for(ms(10))?;
            sum += pair.network().queued_bytes(FIRST, LinkDirection::AToB);
            least = least.min(view(&pair).map_or(0, |path| path.bytes_in_flight));
        }
        assert!(sum / 700 < BDP / 5, "queue of {products}: {} bytes wait on average", sum / 700);
        assert!(least < BDP * 55 / 100, "ProbeRTT: at least {least} bytes in flight");
    }
    Ok(())
}

#[test]
fn delivery_and_pacing_rates_are_those_of_the_bottleneck() -> Result<(), Failure> {
    for algorithm in Algorithm::UNCOUPLED {
        let mut pair = bulk(with(algorithm), bottleneck(2))?;
        pair.run_for(secs(4))?;
        let path = view(&pair);
        let (delivery, pacing) = path.map_or((0, 0), |path| (path.delivery_rate.unwrap_or(0) * 8, path.pacing_rate * 8));
        assert!(delivery > RATE * 8 / 10 && delivery <= RATE * 11 / 10, "{algorithm:?}: {delivery} bits per second");
        assert!(pacing > RATE * 8 / 10 && pacing <= RATE * 3 / 2, "{algorithm:?}: {pacing} bits per second");
    }
    Ok(())
}

#[test]
fn slow_start_ends_before_a_deep_queue_is_full() -> Result<(), Failure> {
    for algorithm in LOSS_BASED {
        for (hystart, full) in [(true, false), (false, true)] {
            let mut pair = bulk(TransportConfig { hystart, ..with(algorithm) }, bottleneck(4))?;
            pair.run_for(secs(1))?;
            let refused = link(&pair).queue_full;
            assert_eq!(refused > 0, full, "{algorithm:?}, HyStart++ {hystart}: {refused} refused");
        }
    }
    Ok(())
}

// attacks C9
#[test]
fn attack_c9_reordering_costs_little_and_spurious_losses_are_counted() -> Result<(), Failure> {
    for algorithm in Algorithm::UNCOUPLED {
        // At 50 Mbit/s, 1 ms is about five packets.
        for (by, least) in [(1, 0.9), (5, 0.8), (13, 0.7)] {
            let reorder = Some(Reorder { probability: 0.02, by: ms(by) });
            let mut pair = bulk(with(algorithm), LinkShape { reorder, ..bottleneck(1) })?;
            pair.run_for(secs(3))?;
            let share = share_of(&mut pair, secs(8))?;
            let (all, path) = (statistics(&pair), view(&pair));
            assert!(all.packets_spuriously_lost > 0 && all.packets_spuriously_lost <= all.packets_lost, "{all:?}");
            assert_eq!(path.map(|path| path.counters.packets_spuriously_lost), Some(all.packets_spuriously_lost));
            assert!(share > least, "{algorithm:?}, reordering by {by} ms: {share}");
        }
    }
    Ok(())
}

// attacks C9
#[test]
fn attack_c9_packets_overtaken_by_thousands_end_nothing() -> Result<(), Failure> {
    for by in [100, 700] {
        let reorder = Some(Reorder { probability: 0.01, by: ms(by) });
        let mut pair = Pair::new(config(TransportConfig::default(), LinkShape { reorder, ..bottleneck(1) }))?;
        pair.client_mut().traffic_mut().send(Unidirectional, 20_000_000);
        pair.run_until_delivered(secs(60))?;
    }
    Ok(())
}

/// Shows 9002-7.8-1.
#[test]
fn a_window_that_is_not_used_does_not_grow() -> Result<(), Failure> {
    for algorithm in LOSS_BASED {
        let mut pair = Pair::new(config(with(algorithm), delay(20)))?;
        pair.run_until_confirmed(secs(1))?;
        let before = view(&pair).map(|path| path.congestion_window);
        for _ in 0..100 {
            pair.client_mut().traffic_mut().send(Unidirectional, 3_000);
            pair.run_for(ms(100))?;
        }
        assert_eq!(view(&pair).map(|path| path.congestion_window), before, "{algorithm:?}");
        assert!(statistics(&pair).bytes_sent > 300_000);
    }
    Ok(())
}

/// Shows 9002-7.8-2.
#[test]
fn a_window_that_only_the_pacer_holds_back_grows() -> Result<(), Failure> {
    for algorithm in LOSS_BASED {
        let mut pair = bulk(with(algorithm), delay(20))?;
        pair.run_for(secs(1))?;
        let window = view(&pair).map_or(0, |path| path.congestion_window);
        assert!(window > 4_000_000, "{algorithm:?}: {window} bytes after a second without a bottleneck");
    }
    Ok(())
}

/// Shows 9002-7.7-2. Shows 9002-7.7-3.
#[test]
fn what_follows_silence_is_paced() -> Result<(), Failure> {
    for algorithm in Algorithm::UNCOUPLED {
        let mut pair = Pair::new(config(with(algorithm), delay(20)))?;
        pair.client_mut().traffic_mut().send(Unidirectional, 20_000_000);
        pair.run_until_delivered(secs(20))?;
        pair.run_for(secs(3))?;
        let window = view(&pair).map_or(0, |path| path.congestion_window);
        assert!(window > 1_000_000, "{algorithm:?}: {window} bytes");
        let before = link(&pair).offered_bytes;
        pair.client_mut().traffic_mut().send(Unidirectional, 1_000_000);
        let start = pair.now();
        while pair.next_event().is_some_and(|at| at == start) {
            pair.step()?;
        }
        let burst = link(&pair).offered_bytes - before;
        assert!(burst > 10_000 && burst <= 14_720, "{algorithm:?}: {burst} bytes at once");
        pair.run_until_delivered(ms(200))?;
    }
    Ok(())
}

// ---- helpers ----

fn with(algorithm: Algorithm) -> TransportConfig {
    TransportConfig { congestion: algorithm, ..TransportConfig::default() }
}

/// The bottleneck, 40 ms there and back, with a queue of so many round trips.
fn bottleneck(products: u64) -> LinkShape {
    LinkShape { queue: Queue::TailDrop { bytes: BDP * products }, ..delay(20) }.at_rate(RATE)
}

/// One link, and windows and buffers that limit nothing.
fn config(client: TransportConfig, shape: LinkShape) -> PairConfig {
    const MUCH: u64 = 1 << 26;
    let client =
        TransportConfig { send_buffer: MUCH as usize, connection_send_buffer: MUCH as usize, ..client };
    let server = TransportConfig { stream_window: MUCH, connection_window: MUCH, ..TransportConfig::default() };
    PairConfig { client, server, ..PairConfig::new(1, vec![shape]) }
}

/// A client that sends for ever.
fn bulk(client: TransportConfig, shape: LinkShape) -> Result<Pair, Failure> {
    let mut pair = Pair::new(config(client, shape))?;
    pair.client_mut().traffic_mut().send(Unidirectional, 1 << 40);
    Ok(pair)
}

/// Share of the rate that is carried in the time that follows.
fn share_of(pair: &mut Pair, time: Duration) -> Result<f64, Failure> {
    let before = pair.server().traffic().received();
    pair.run_for(time)?;
    let read = pair.server().traffic().received() - before;
    assert!(forth(pair, FIRST) > read);
    Ok(read as f64 * 8.0 / time.as_secs_f64() / RATE as f64)
}

fn link(pair: &Pair) -> LinkStatistics {
    pair.network().statistics(FIRST, LinkDirection::AToB)
}

fn statistics(pair: &Pair) -> Statistics {
    pair.client().connection().map(|connection| connection.statistics()).unwrap_or_default()
}

fn view(pair: &Pair) -> Option<PathView> {
    pair.client().connection()?.paths().next()
}
