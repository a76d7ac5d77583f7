//! The handshake over good, lossy and hostile links (RFC 9000 §7, §8, RFC 9001 §4; attacks J1).

use std::time::Duration;

use qbase::{Direction::Unidirectional, Role, limits};
use qconnection::{Connection, Event, HandshakeMode, TransportConfig, connection::events::ClosedBy};
use qsim::{Directions, Failure, Host, LinkDirection, LinkShape, LossModel, Pair, PairConfig, Reorder};

use crate::common;
use common::{FIRST, SECOND, delay, for_each_seed, forth, ms, secs};

#[test]
fn client_completes_after_one_round_trip_and_both_confirm_after_two() -> Result<(), Failure> {
    let mut pair = Pair::new(PairConfig::new(1, vec![delay(10)]))?;
    let confirmed = pair.run_until_confirmed(secs(1))?;
    assert_eq!(since_start(pair.client(), &Event::HandshakeComplete), Some(ms(20)));
    assert_eq!(since_start(pair.server(), &Event::HandshakeComplete), Some(ms(30)));
    assert_eq!(confirmed, ms(40));
    assert_eq!(pair.client().connection().and_then(Connection::alpn), Some(qsim::pair::ALPN));
    Ok(())
}

#[test]
fn flights_are_coalesced_into_few_datagrams() -> Result<(), Failure> {
    let mut pair = Pair::new(PairConfig::new(1, vec![delay(10)]))?;
    pair.run_until_confirmed(secs(1))?;
    let offered = |direction| pair.network().statistics(FIRST, direction).offered;
    assert!(offered(LinkDirection::AToB) <= 3, "{} datagrams of the client", offered(LinkDirection::AToB));
    assert!(offered(LinkDirection::BToA) <= 3, "{} datagrams of the server", offered(LinkDirection::BToA));
    let coalesced = |host: &Host| host.connection().map_or(0, |connection| connection.statistics().coalesced);
    assert!(coalesced(pair.server()) >= 1, "ServerHello and certificate leave in one datagram (burst B-30)");
    assert!(coalesced(pair.client()) >= 1, "the acknowledgement of ServerHello leaves with Finished");
    Ok(())
}

#[test]
fn datagrams_with_initial_packets_are_padded() -> Result<(), Failure> {
    let mut pair = Pair::new(PairConfig::new(1, vec![delay(10)]))?;
    pair.run_until(|pair| pair.elapsed() >= ms(20), secs(1))?;
    let events: Vec<_> = pair.network().trace().last().collect();
    let first_flights = events.iter().filter(|event| event.at <= qsim::Clock::START + ms(10));
    let lens: Vec<usize> = first_flights.map(|event| event.len).collect();
    assert!(lens.iter().all(|len| *len >= limits::MIN_INITIAL), "{lens:?}");
    Ok(())
}

#[test]
fn any_lost_datagram_only_delays_the_handshake() -> Result<(), Failure> {
    for lost in 0..6 {
        for direction in [LinkDirection::AToB, LinkDirection::BToA] {
            let mut pair = Pair::new(PairConfig::new(lost, vec![delay(10)]))?;
            let lossy = delay(10).losing(LossModel::list([lost]));
            let now = pair.now();
            pair.network_mut().set(now, FIRST, &lossy, direction.into());
            pair.client_mut().traffic_mut().send(qbase::Direction::Bidirectional, 1_000);
            pair.run_until(|pair| pair.is_confirmed() && pair.is_all_delivered(), secs(5))?;
        }
    }
    Ok(())
}

/// RFC 9002 §6.2.4: one or two probes a timeout, whatever the window has room for.
#[test]
fn a_timeout_sends_the_first_flight_twice_and_no_more() -> Result<(), Failure> {
    let mut pair = Pair::new(PairConfig::new(1, vec![delay(10).losing(LossModel::Independent(1.0))]))?;
    let offered = |pair: &Pair| pair.network().statistics(FIRST, LinkDirection::AToB).offered;
    assert!(pair.run_until(|pair| offered(pair) > 3, ms(2_500)).is_err());
    assert_eq!(offered(&pair), 3);
    Ok(())
}

/// A server that missed the ClientHello makes nothing of a PING.
#[test]
fn each_probe_of_a_timeout_carries_the_client_hello() -> Result<(), Failure> {
    for lost in [[0, 1], [0, 2]] {
        let mut pair = Pair::new(PairConfig::new(1, vec![delay(10)]))?;
        let now = pair.now();
        pair.network_mut().set(now, FIRST, &delay(10).losing(LossModel::list(lost)), LinkDirection::AToB.into());
        pair.run_until_confirmed(ms(1_200))?;
    }
    Ok(())
}

#[test]
fn the_handshake_completes_within_thirty_seconds_at_thirty_percent_loss() -> Result<(), Failure> {
    for_each_seed(0..200, |seed| {
        let loss = if seed % 2 == 0 { LossModel::Independent(0.3) } else { LossModel::bursty(0.3, 3.0) };
        let mut pair = Pair::new(patient(PairConfig::new(seed, vec![delay(20).losing(loss)])))?;
        pair.run_until_confirmed(secs(30)).map(|_| ())
    })
}

#[test]
fn the_handshake_survives_reordering_duplicates_and_damage() -> Result<(), Failure> {
    for_each_seed(0..200, |seed| {
        let shape = LinkShape {
            jitter: ms(5),
            duplicate: 0.3,
            corrupt: 0.2,
            truncate: 0.1,
            reorder: Some(Reorder { probability: 0.5, by: ms(60) }),
            ..delay(20)
        };
        let mut pair = Pair::new(patient(PairConfig::new(seed, vec![shape])))?;
        pair.run_until_confirmed(secs(60)).map(|_| ())
    })
}

#[test]
fn the_server_sends_at_most_three_times_what_it_got_before_validation() -> Result<(), Failure> {
    for_each_seed(0..20, |seed| {
        let mut pair = Pair::new(PairConfig::new(seed, vec![delay(10)]))?;
        let now = pair.now();
        pair.network_mut().cut(now, FIRST, Directions::BToA);
        for _ in 0..200 {
            pair.step()?;
            let sent = pair.server().sent();
            assert!(sent.bytes <= 3 * sent.received_bytes, "seed {seed}: {sent:?} (RFC 9000 §8.1)");
            if pair.client().ended().is_some() {
                break;
            }
        }
        Ok(())
    })
}

#[test]
fn nobody_waits_longer_than_the_handshake_timeout() -> Result<(), Failure> {
    let mut pair = Pair::new(PairConfig::new(1, vec![delay(10)]))?;
    pair.cut(FIRST);
    let time = pair.run_until(|pair| pair.client().ended().is_some(), secs(60))?;
    assert_eq!(pair.client().ended().map(|end| end.by), Some(ClosedBy::HandshakeTimeout));
    assert_eq!(time, limits::HANDSHAKE_TIMEOUT);
    pair.run_until(|pair| pair.client().connection().is_none(), secs(60))?;
    assert!(pair.client().endpoint().is_empty());
    Ok(())
}

#[test]
fn a_deaf_client_costs_the_server_a_bounded_time() -> Result<(), Failure> {
    let mut pair = Pair::new(PairConfig::new(1, vec![delay(10)]))?;
    pair.run_until(|pair| pair.server().sent().bursts > 0, secs(1))?;
    pair.cut(FIRST);
    pair.run_until(|pair| pair.server().endpoint().is_empty() && pair.client().endpoint().is_empty(), secs(120))?;
    assert_eq!(pair.next_event(), None, "nothing is left to happen");
    Ok(())
}

#[test]
fn the_second_link_becomes_a_path_once_the_handshake_is_confirmed() -> Result<(), Failure> {
    let mut pair = Pair::new(PairConfig::new(1, vec![delay(10), delay(30)]))?;
    pair.run_until_confirmed(secs(1))?;
    assert_eq!(forth(&pair, SECOND), 0, "nothing leaves on another path before confirmation (multipath MP-19)");
    pair.run_until(
        |pair| validated_paths(pair, Role::Client) == 2 && validated_paths(pair, Role::Server) == 2,
        secs(1),
    )?;
    Ok(())
}

// ---- helpers ----

/// Timeouts long enough for extreme loss (attacks J1).
fn patient(config: PairConfig) -> PairConfig {
    let transport =
        TransportConfig { idle_timeout: secs(120), handshake_timeout: secs(120), ..TransportConfig::default() };
    PairConfig { client: transport.clone(), server: transport, ..config }
}

fn since_start(host: &Host, event: &Event) -> Option<Duration> {
    host.first(|news| news == event).map(|at| at.saturating_since(qsim::Clock::START))
}

fn validated_paths(pair: &Pair, role: Role) -> usize {
    let connection = pair.host(role).connection();
    connection.map_or(0, |connection| connection.paths().filter(|path| path.amplification_credit == u64::MAX).count())
}

#[test]
fn without_stagger_a_dead_first_candidate_costs_one_pto() -> Result<(), Failure> {
    for_each_seed(0..20, |seed| {
        let client = TransportConfig { handshake: HandshakeMode::Single, ..TransportConfig::default() };
        let mut pair = Pair::new(PairConfig { client, ..PairConfig::new(seed, vec![delay(10), delay(20)]) })?;
        pair.cut(FIRST);
        let time = pair.run_until_confirmed(secs(5))?;
        assert!(time <= ms(1_200), "seed {seed}: {time:?} (multipath MP-87)");
        Ok(())
    })
}

#[test]
fn a_staggered_handshake_costs_a_dead_first_candidate_150_ms() -> Result<(), Failure> {
    for_each_seed(0..20, |seed| {
        let mut pair = Pair::new(PairConfig::new(seed, vec![delay(10), delay(20)]))?;
        pair.cut(FIRST);
        let time = pair.run_until_confirmed(secs(5))?;
        assert!(time <= ms(150 + 2 * 40 + 10), "seed {seed}: {time:?} (multipath MP-88)");
        Ok(())
    })
}

#[test]
fn a_slow_first_candidate_that_answers_after_the_second_started_breaks_nothing() -> Result<(), Failure> {
    for_each_seed(0..20, |seed| {
        let mut pair = Pair::new(PairConfig::new(seed, vec![delay(90 + 7 * (seed % 5)), delay(10)]))?;
        pair.client_mut().traffic_mut().send(Unidirectional, 50_000);
        pair.run_until_delivered(secs(10)).map(|_| ())
    })
}
