//! Streams over one path: exact bytes at every loss, flow control, outages, the end (RFC 9000 §2 to §4, §10; attacks J).

use std::time::Duration;

use qbase::{Direction, Role, limits};
use qconnection::{TransportConfig, connection::events::ClosedBy};
use qsim::{
    Directions, Failure, LinkShape, LossModel, Pair, PairConfig, Queue, Reorder,
    script::{Action, When},
    traffic::Reading,
};

use crate::common;
use common::{FIRST, back, delay, for_each_seed, forth, ms, secs};

use Direction::{Bidirectional, Unidirectional};

#[test]
fn bytes_arrive_exactly_in_both_directions_and_kinds() -> Result<(), Failure> {
    let mut pair = Pair::new(PairConfig::new(1, vec![delay(10)]))?;
    pair.server_mut().traffic_mut().reply_with(70_000);
    for len in [0, 1, 1_199, 1_200, 65_536, 300_000] {
        pair.client_mut().traffic_mut().send(Bidirectional, len);
        pair.client_mut().traffic_mut().send(Unidirectional, len);
        pair.server_mut().traffic_mut().send(Bidirectional, len);
        pair.server_mut().traffic_mut().send(Unidirectional, len);
    }
    pair.run_until(|pair| pair.is_all_delivered() && pair.client().traffic().received() > 1_000_000, secs(10))?;
    Ok(())
}

#[test]
fn more_streams_than_credit_all_get_their_turn() -> Result<(), Failure> {
    let mut pair = Pair::new(PairConfig::new(1, vec![delay(5)]))?;
    for _ in 0..500 {
        pair.client_mut().traffic_mut().send(Unidirectional, 700);
        pair.server_mut().traffic_mut().send(Unidirectional, 700);
    }
    pair.server_mut().traffic_mut().reply_with(100);
    for _ in 0..300 {
        pair.client_mut().traffic_mut().send(Bidirectional, 300);
    }
    pair.run_until_delivered(secs(20)).map(|_| ())
}

#[test]
fn a_bulk_transfer_fills_its_link() -> Result<(), Failure> {
    let shape = delay(10).at_rate(50_000_000);
    let mut pair = Pair::new(PairConfig::new(1, vec![shape]))?;
    pair.client_mut().traffic_mut().send(Unidirectional, 8_000_000);
    let time = pair.run_until_delivered(secs(10))?;
    let ideal = 8_000_000.0 * 8.0 / 50e6;
    assert!(time.as_secs_f64() < ideal * 1.3, "{time:?} for {ideal} s of link time");
    assert!(forth(&pair, FIRST) < 8_000_000 * 12 / 10, "{} bytes on the wire", forth(&pair, FIRST));
    assert!(back(&pair, FIRST) < 8_000_000 / 12, "{} bytes of acknowledgements", back(&pair, FIRST));
    Ok(())
}

#[test]
fn attack_j1_transfers_complete_at_every_loss_up_to_half() -> Result<(), Failure> {
    for_each_seed(0..72, |seed| {
        let share = [0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5][seed as usize % 9];
        let loss = if seed / 9 % 2 == 0 { LossModel::Independent(share) } else { LossModel::bursty(share, 4.0) };
        let len = if share > 0.2 { 20_000 } else { 100_000 };
        let mut pair = Pair::new(patient(PairConfig::new(seed, vec![delay(15).losing(loss)])))?;
        pair.client_mut().traffic_mut().send(Bidirectional, len);
        pair.server_mut().traffic_mut().reply_with(len);
        pair.run_until_delivered(secs(900)).map(|_| ())
    })
}

#[test]
fn attack_j2_transfers_survive_reordering_duplicates_jitter_and_damage() -> Result<(), Failure> {
    for_each_seed(0..64, |seed| {
        let probability = (seed % 8) as f64 / 7.0;
        let shape = LinkShape {
            jitter: ms(seed % 20),
            duplicate: (seed % 5) as f64 / 4.0,
            reorder: Some(Reorder { probability, by: ms(1 + seed % 90) }),
            corrupt: (seed / 8 % 3) as f64 / 10.0,
            truncate: (seed / 24) as f64 / 10.0,
            ..delay(15)
        };
        let mut pair = Pair::new(patient(PairConfig::new(seed, vec![shape])))?;
        pair.client_mut().traffic_mut().send(Unidirectional, 200_000);
        pair.server_mut().traffic_mut().send(Unidirectional, 100_000);
        pair.run_until_delivered(secs(120)).map(|_| ())
    })
}

#[test]
fn attack_j4_tiny_queues_slow_rates_and_rate_steps_only_take_longer() -> Result<(), Failure> {
    for (rate, bytes, len) in [(10_000, 3_000, 5_000), (200_000, 2_400, 50_000), (5_000_000, 2_400, 500_000)] {
        let shape = LinkShape { queue: Queue::TailDrop { bytes }, ..delay(10) }.at_rate(rate);
        let mut pair = Pair::new(patient(PairConfig::new(rate, vec![shape.clone()])))?;
        pair.client_mut().traffic_mut().send(Unidirectional, len);
        let slower = Action::Set(FIRST, Box::new(shape.at_rate(rate / 4)), Directions::Both);
        pair.plan(When::Received(Role::Server, len / 2), slower);
        pair.run_until_delivered(secs(600))?;
    }
    Ok(())
}

#[test]
fn attack_j3_a_delay_spike_closes_nothing() -> Result<(), Failure> {
    let mut pair = Pair::new(PairConfig::new(1, vec![delay(10)]))?;
    pair.client_mut().traffic_mut().send(Unidirectional, 3_000_000);
    let spike = Action::Set(FIRST, Box::new(delay(5_000)), Directions::Both);
    pair.plan(When::Received(Role::Server, 500_000), spike);
    let over = Action::Set(FIRST, Box::new(delay(10)), Directions::Both);
    pair.plan(When::At(qsim::Clock::START + secs(3)), over);
    pair.run_until_delivered(secs(60)).map(|_| ())
}

/// attacks J3: from a tenth of a millisecond to two seconds, the ways there and back unlike, and jitter of half the delay.
#[test]
fn attack_j3_any_round_trip_and_unlike_ways_carry_everything_and_close_nothing() -> Result<(), Failure> {
    for (there, back) in [(50, 50), (500, 20_000), (50_000, 1_000), (400_000, 100_000), (1_000_000, 1_000_000)] {
        let way = |micros: u64| LinkShape { jitter: Duration::from_micros(micros / 2), ..LinkShape::delayed(Duration::from_micros(micros)) };
        let mut pair = Pair::new(PairConfig::new(there, vec![way(there)]))?;
        pair.plan(When::At(qsim::Clock::START), Action::Set(FIRST, Box::new(way(back)), Directions::BToA));
        pair.client_mut().traffic_mut().send(Bidirectional, 300_000);
        pair.server_mut().traffic_mut().reply_with(300_000);
        pair.run_until_delivered(secs(60))?;
        let statistics = pair.client().connection().map(qconnection::Connection::statistics).unwrap_or_default();
        assert!(statistics.packets_lost <= statistics.packets_sent / 4, "{there} and {back} us: {statistics:?}");
    }
    Ok(())
}

/// attacks J14: a process that gets no CPU for half a second reads what has come before its timers ring: nothing is taken for lost.
#[test]
fn attack_j14_half_a_second_without_cpu_is_no_storm_of_losses() -> Result<(), Failure> {
    for role in [Role::Client, Role::Server] {
        let shape = LinkShape { queue: Queue::TailDrop { bytes: 50_000_000 }, ..delay(10) }.at_rate(100_000_000);
        let mut pair = Pair::new(PairConfig::new(1, vec![shape]))?;
        pair.client_mut().traffic_mut().send(Unidirectional, 30_000_000);
        for _ in 0..3 {
            pair.run_for(ms(400))?;
            pair.stall(role, ms(500));
            pair.run_for(ms(500))?;
        }
        pair.run_until_delivered(secs(10))?;
        let statistics = pair.client().connection().map(qconnection::Connection::statistics).unwrap_or_default();
        assert!(statistics.packets_lost <= statistics.packets_sent / 500, "{role:?}: {statistics:?}");
        assert!(pair.elapsed() < secs(3) + ms(1_500) + ms(1_000), "{role:?}: {:?}", pair.elapsed());
    }
    Ok(())
}

#[test]
fn a_reader_who_stops_stops_the_sender() -> Result<(), Failure> {
    let mut pair = Pair::new(PairConfig::new(1, vec![delay(10)]))?;
    pair.server_mut().traffic_mut().set_reading(Reading::Paused);
    pair.client_mut().traffic_mut().send(Unidirectional, 3 * limits::STREAM_WINDOW);
    pair.run_for(secs(10))?;
    let carried = forth(&pair, FIRST);
    assert!(carried >= limits::STREAM_WINDOW, "the window is used: {carried} bytes");
    assert!(carried < limits::STREAM_WINDOW * 5 / 4, "and kept: {carried} bytes (RFC 9000 §4.1)");
    pair.server_mut().traffic_mut().set_reading(Reading::Eager);
    pair.run_until_delivered(secs(10)).map(|_| ())
}

#[test]
fn attack_j5_an_outage_shorter_than_the_idle_timeout_is_survived() -> Result<(), Failure> {
    for outage in [1, 5, 29] {
        let mut pair = Pair::new(PairConfig::new(outage, vec![delay(10).at_rate(20_000_000)]))?;
        pair.client_mut().traffic_mut().send(Unidirectional, 4_000_000);
        pair.run_until(|pair| pair.server().traffic().received() > 1_000_000, secs(5))?;
        pair.cut(FIRST);
        pair.run_for(secs(outage))?;
        pair.restore(FIRST);
        let before = pair.server().traffic().received();
        let resumed = pair.run_until(|pair| pair.server().traffic().received() > before, secs(60))?;
        assert!(resumed <= secs(1), "resumed {resumed:?} after {outage} s of darkness (attacks F18)");
        pair.run_until_delivered(secs(30))?;
    }
    Ok(())
}

#[test]
fn attack_j5_a_longer_outage_is_an_idle_timeout_on_both_ends() -> Result<(), Failure> {
    let mut pair = Pair::new(PairConfig::new(1, vec![delay(10)]))?;
    pair.client_mut().traffic_mut().send(Unidirectional, 100_000_000);
    pair.run_until(|pair| pair.server().traffic().received() > 1_000_000, secs(5))?;
    pair.cut(FIRST);
    pair.run_for(secs(32))?;
    for host in [pair.client(), pair.server()] {
        assert_eq!(host.ended().map(|end| end.by), Some(ClosedBy::IdleTimeout), "{:?}", host.role());
    }
    pair.run_for(secs(10))?;
    assert!(pair.client().endpoint().is_empty() && pair.server().endpoint().is_empty());
    Ok(())
}

#[test]
fn an_idle_connection_ends_silently_and_keep_alive_prevents_it() -> Result<(), Failure> {
    let mut idle = Pair::new(PairConfig::new(1, vec![delay(10)]))?;
    idle.run_until_confirmed(secs(1))?;
    idle.run_for(secs(35))?;
    assert_eq!(idle.client().ended().map(|end| end.by), Some(ClosedBy::IdleTimeout));
    assert_eq!(idle.server().ended().map(|end| end.by), Some(ClosedBy::IdleTimeout));

    let client = TransportConfig { keep_alive: secs(10), ..TransportConfig::default() };
    let mut kept = Pair::new(PairConfig { client, ..PairConfig::new(1, vec![delay(10)]) })?;
    kept.run_for(secs(300))?;
    assert!(kept.client().ended().is_none() && kept.server().ended().is_none());
    Ok(())
}

#[test]
fn the_reason_of_a_close_reaches_the_other_end() -> Result<(), Failure> {
    for_each_seed(0..20, |seed| {
        let mut pair = Pair::new(PairConfig::new(seed, vec![delay(10)]))?;
        pair.client_mut().traffic_mut().send(Unidirectional, 10_000_000);
        pair.run_until(|pair| pair.server().traffic().received() > 100_000 * (1 + seed), secs(5))?;
        let (now, role) = (pair.now(), if seed % 2 == 0 { Role::Client } else { Role::Server });
        if let Some(connection) = pair.host_mut(role).connection_mut() {
            connection.close(now, 77, b"enough");
        }
        pair.run_until(|pair| pair.host(role.peer()).ended().is_some(), secs(1))?;
        let end = pair.host(role.peer()).ended().map(|end| (end.by, end.code, end.reason.clone()));
        assert_eq!(end, Some((ClosedBy::Peer, 77, "enough".to_owned())));
        pair.run_until(|pair| pair.client().endpoint().is_empty() && pair.server().endpoint().is_empty(), secs(10))?;
        Ok(())
    })
}

#[test]
fn nothing_moves_when_there_is_nothing_to_do() -> Result<(), Failure> {
    let mut pair = Pair::new(PairConfig::new(1, vec![delay(10)]))?;
    pair.client_mut().traffic_mut().send(Unidirectional, 10_000);
    pair.run_until_delivered(secs(1))?;
    pair.run_for(secs(1))?;
    let before = (forth(&pair, FIRST), back(&pair, FIRST));
    pair.run_for(secs(20))?;
    assert_eq!((forth(&pair, FIRST), back(&pair, FIRST)), before, "an idle connection is silent");
    Ok(())
}

// ---- helpers ----

/// Timeouts long enough for extreme loss (attacks J1).
fn patient(config: PairConfig) -> PairConfig {
    let transport =
        TransportConfig { idle_timeout: secs(120), handshake_timeout: secs(120), ..TransportConfig::default() };
    PairConfig { client: transport.clone(), server: transport, ..config }
}
