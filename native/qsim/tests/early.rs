//! 0-RTT through whole connections (RFC 9001 §4.6, RFC 9000 §7.4.1; burst section 4 row 2, B-21, B-48, E17).

use qbase::{Direction::{Bidirectional, Unidirectional}, Role, StreamId, limits, packet::PacketType};
use qconnection::{Connection, Event, TransportConfig, connection::events::EarlyStatus};
use qcrypto::ServerSessions;
use qevent::{BurstRecord, Event as Traced, Record, TraceMask};
use qsim::{Clock, Failure, LinkDirection, LinkShape, LossModel, Pair, PairConfig, Reorder, pair::TlsSetup};

use crate::common;
use common::{FIRST, SECOND, delay, for_each_seed, forth, ms, secs};

/// A pair whose client has a ticket with early keys; the second connection has not begun.
fn ready(seed: u64, links: Vec<LinkShape>) -> Result<Pair, Failure> {
    ready_with(seed, links, TransportConfig::default())
}

fn ready_with(seed: u64, links: Vec<LinkShape>, server: TransportConfig) -> Result<Pair, Failure> {
    let tls = TlsSetup { early_data: true, ..TlsSetup::default() };
    let mut pair = Pair::new(PairConfig { tls, server, ..PairConfig::new(seed, links) })?;
    pair.finish_first()?;
    Ok(pair)
}

fn status(pair: &Pair, role: Role) -> Option<EarlyStatus> {
    pair.host(role).connection().map(Connection::early_status)
}

fn first_stream() -> StreamId {
    StreamId::new(Role::Client, Bidirectional, 0)
}

/// The bursts a client has sent so far.
fn bursts(pair: &mut Pair) -> Vec<BurstRecord> {
    let Some(connection) = pair.client_mut().connection_mut() else { return Vec::new() };
    let records = std::iter::from_fn(|| connection.poll_trace());
    records.filter_map(|Record { event, .. }| match event {
        Traced::BurstSent(burst) => Some(*burst),
        _ => None,
    }).collect()
}

/// burst B-20, B-50, B-54.
#[test]
fn data_written_at_once_travels_in_the_first_datagram_behind_the_initial_packet() -> Result<(), Failure> {
    let mut pair = ready(1, vec![delay(10)])?;
    let before = pair.client().sent().datagrams;
    pair.redial()?;
    if let Some(connection) = pair.client_mut().connection_mut() {
        connection.set_trace(TraceMask::BURSTS);
    }
    pair.client_mut().traffic_mut().send(Bidirectional, 3_000);
    pair.step()?;
    assert_eq!(pair.client().sent().datagrams - before, 3, "3,000 bytes and a ClientHello");
    let bursts = bursts(&mut pair);
    let segments: Vec<_> = bursts.iter().flat_map(|burst| &burst.segments).collect();
    let kinds = |at: usize| segments[at].packets.iter().map(|packet| packet.kind).collect::<Vec<_>>();
    assert_eq!(kinds(0), [PacketType::Initial, PacketType::ZeroRtt]);
    assert!(segments[0].packets[1].frames.contains(&"STREAM"));
    assert_eq!(segments[0].bytes as usize, limits::MIN_INITIAL);
    for (at, segment) in segments.iter().enumerate().skip(1) {
        assert_eq!(kinds(at), [PacketType::ZeroRtt], "segment {at}");
        assert!(segment.packets.iter().all(|packet| packet.padding_bytes <= 16), "segment {at} is not filled up");
    }
    let numbers: Vec<_> = segments.iter().flat_map(|segment| &segment.packets).filter(|packet| packet.kind == PacketType::ZeroRtt).map(|packet| packet.number).collect();
    assert_eq!(numbers, (0..numbers.len() as u64).collect::<Vec<_>>());
    Ok(())
}

#[test]
fn early_data_is_there_before_the_handshake_is_complete_and_marked() -> Result<(), Failure> {
    let mut pair = ready(2, vec![delay(10)])?;
    pair.redial()?;
    let start = pair.now();
    pair.client_mut().traffic_mut().send(Bidirectional, 3_000);
    pair.server_mut().traffic_mut().reply_with(100);
    pair.run_until(|pair| pair.server().traffic().received() == 3_000, secs(1))?;
    assert_eq!(pair.now().saturating_since(start), ms(10), "one way, not three");
    let server = pair.server().connection().ok_or_else(|| common::ends::failure("no connection"))?;
    assert!(!server.is_handshake_complete());
    assert!(server.is_early_stream(first_stream()));
    assert_eq!(server.early_status(), EarlyStatus::Accepted);
    pair.run_until_delivered(secs(1))?;
    pair.run_until_confirmed(secs(1))?;
    let news = pair.client().news().iter().map(|(_, event)| event.clone());
    let order: Vec<_> = news.filter(|event| !matches!(event, Event::Handshake(_))).collect();
    assert_eq!(order.first(), Some(&Event::EarlyData(EarlyStatus::Accepted)));
    assert!(order.contains(&Event::HandshakeComplete));
    assert_eq!(pair.server().first(|event| *event == Event::EarlyData(EarlyStatus::Accepted)), Some(start + ms(10)));
    Ok(())
}

#[test]
fn later_streams_of_the_same_connection_are_not_marked() -> Result<(), Failure> {
    let mut pair = ready(3, vec![delay(10)])?;
    pair.redial()?;
    pair.client_mut().traffic_mut().send(Bidirectional, 100);
    pair.run_until_confirmed(secs(1))?;
    pair.server_mut().traffic_mut().reply_with(3_000_000);
    pair.client_mut().traffic_mut().send(Bidirectional, 100);
    let second = StreamId::new(Role::Client, Bidirectional, 1);
    pair.run_until(|pair| pair.server().traffic().incoming(second).is_some(), secs(1))?;
    assert!(!pair.server().connection().is_some_and(|connection| connection.is_early_stream(second)));
    Ok(())
}

#[test]
fn early_data_is_acknowledged_with_the_first_flight_of_the_server() -> Result<(), Failure> {
    let mut pair = ready(4, vec![delay(10)])?;
    pair.redial()?;
    pair.client_mut().traffic_mut().send(Unidirectional, 5_000);
    pair.run_until(|pair| pair.client().connection().is_some_and(Connection::is_handshake_complete), secs(1))?;
    let unacked = pair.client().connection().map(|connection| connection.stream_facts().unacked_bytes());
    assert_eq!(unacked, Some(0), "burst B-27");
    Ok(())
}

/// Shows 9001-4.6.2-1.
#[test]
fn rejected_early_data_is_sent_again_and_arrives_once() -> Result<(), Failure> {
    for_each_seed(0..20, |seed| {
        let mut pair = ready(seed, vec![delay(10)])?;
        if seed % 2 == 0 {
            pair.tls().server.sessions.as_ref().map(ServerSessions::clear);
        } else {
            pair.set_tls(|tls| tls.server.sessions = Some(ServerSessions::new()))?;
        }
        pair.redial()?;
        pair.client_mut().traffic_mut().send(Bidirectional, 8_000);
        pair.client_mut().traffic_mut().send(Unidirectional, 0);
        pair.server_mut().traffic_mut().reply_with(500);
        pair.run_until(|pair| pair.client().connection().is_some_and(Connection::is_handshake_complete), secs(1))?;
        assert_eq!(pair.server().traffic().received(), 0, "seed {seed}: nothing of 0-RTT is taken");
        pair.run_until_delivered(secs(1))?;
        assert_eq!(status(&pair, Role::Client), Some(EarlyStatus::Rejected), "seed {seed}");
        assert_eq!(status(&pair, Role::Server), Some(EarlyStatus::Rejected), "seed {seed}");
        assert!(!pair.server().connection().is_some_and(|connection| connection.is_early_stream(first_stream())));
        let lost = pair.client().connection().map(|connection| connection.statistics().packets_lost);
        assert_eq!(lost, Some(0), "seed {seed}: what was rejected is not congestion");
        pair.run_until_confirmed(secs(1)).map(|_| ())
    })
}

#[test]
fn lower_limits_reject_early_data_and_then_hold() -> Result<(), Failure> {
    for_each_seed(0..10, |seed| {
        let mut pair = ready(seed, vec![delay(10)])?;
        let lower = TransportConfig {
            stream_window: 2_000,
            connection_window: 3_000,
            bidirectional_streams: 1,
            ..TransportConfig::default()
        };
        pair.set_server_transport(lower);
        pair.redial()?;
        for _ in 0..5 {
            pair.client_mut().traffic_mut().send(Bidirectional, 4_000);
        }
        pair.run_until_delivered(secs(10))?;
        assert_eq!(status(&pair, Role::Client), Some(EarlyStatus::Rejected), "seed {seed}");
        assert!(pair.client().ended().is_none() && pair.server().ended().is_none(), "seed {seed}: no limit was broken");
        Ok(())
    })
}

/// Shows 9000-7.4.1-10.
#[test]
fn remembered_limits_hold_for_early_data_and_larger_ones_after_it() -> Result<(), Failure> {
    let tight = TransportConfig { stream_window: 1_500, connection_window: 4_000, ..TransportConfig::default() };
    let mut pair = ready_with(5, vec![delay(10)], tight)?;
    pair.set_server_transport(TransportConfig::default());
    pair.redial()?;
    pair.client_mut().traffic_mut().send(Unidirectional, 50_000);
    pair.run_until(|pair| pair.server().traffic().received() > 0, secs(1))?;
    pair.run_for(ms(5))?;
    assert_eq!(pair.server().traffic().received(), 1_500, "the stream's remembered limit");
    pair.run_until_delivered(secs(1))?;
    assert_eq!(status(&pair, Role::Client), Some(EarlyStatus::Accepted));
    Ok(())
}

#[test]
fn any_lost_datagram_of_a_connection_with_early_data_is_made_good() -> Result<(), Failure> {
    for lost in 0..10 {
        for direction in [LinkDirection::AToB, LinkDirection::BToA] {
            let mut pair = ready(lost, vec![delay(10)])?;
            let now = pair.now();
            let offered = pair.network().statistics(FIRST, direction).offered;
            pair.network_mut().set(now, FIRST, &delay(10).losing(LossModel::list([lost + offered, lost])), direction.into());
            pair.redial()?;
            pair.client_mut().traffic_mut().send(Bidirectional, 5_000);
            pair.server_mut().traffic_mut().reply_with(5_000);
            pair.run_until(|pair| pair.is_confirmed() && pair.is_all_delivered(), secs(5))?;
        }
    }
    Ok(())
}

#[test]
fn early_data_over_bad_links_arrives_whole() -> Result<(), Failure> {
    for_each_seed(0..150, |seed| {
        let shape = LinkShape {
            jitter: ms(8),
            duplicate: 0.1,
            corrupt: 0.05,
            reorder: Some(Reorder { probability: 0.4, by: ms(40) }),
            ..delay(15).with_loss(0.1)
        };
        let mut pair = ready(seed, vec![delay(15)])?;
        let now = pair.now();
        pair.network_mut().set(now, FIRST, &shape, qsim::Directions::Both);
        if seed % 5 == 0 {
            pair.tls().server.sessions.as_ref().map(ServerSessions::clear);
        }
        pair.redial()?;
        pair.client_mut().traffic_mut().send(Bidirectional, 30_000);
        pair.client_mut().traffic_mut().send(Unidirectional, 10_000);
        pair.server_mut().traffic_mut().reply_with(10_000);
        pair.run_until_delivered(secs(60))?;
        let expected = if seed % 5 == 0 { EarlyStatus::Rejected } else { EarlyStatus::Accepted };
        let status = status(&pair, Role::Client);
        assert!(status == Some(expected), "seed {seed}: {status:?}");
        Ok(())
    })
}

#[test]
fn a_second_path_opens_after_early_data_and_carries_the_rest() -> Result<(), Failure> {
    for_each_seed(0..10, |seed| {
        let mut pair = ready(seed, vec![delay(10), delay(15)])?;
        pair.redial()?;
        pair.client_mut().traffic_mut().send(Unidirectional, 400_000);
        pair.run_until(|pair| pair.server().traffic().received() > 200_000, secs(10))?;
        pair.cut(FIRST);
        pair.run_until_delivered(secs(10))?;
        assert!(forth(&pair, SECOND) > 100_000, "seed {seed}");
        assert!(pair.client().connection().is_some_and(Connection::is_multipath), "seed {seed}: asked for anew (multipath MP-10)");
        Ok(())
    })
}

/// attacks B29, B2.
#[test]
fn attack_b29_early_data_validates_no_address_and_buys_three_times_its_bytes() -> Result<(), Failure> {
    for_each_seed(0..20, |seed| {
        let mut pair = ready(seed, vec![delay(10)])?;
        let before = *pair.server().sent();
        pair.redial()?;
        pair.client_mut().traffic_mut().send(Bidirectional, 1_000 + 300 * seed);
        pair.server_mut().traffic_mut().reply_with(100_000);
        let now = pair.now();
        pair.network_mut().cut(now, FIRST, qsim::Directions::BToA);
        pair.run_until(|pair| pair.server().traffic().received() > 0, secs(1))?;
        for _ in 0..100 {
            let path = pair.server().connection().and_then(|connection| connection.path(qbase::PathId::ZERO));
            assert!(path.is_some_and(|path| path.amplification_credit < u64::MAX), "seed {seed}: not validated");
            let sent = pair.server().sent();
            let (out, taken) = (sent.bytes - before.bytes, sent.received_bytes - before.received_bytes);
            assert!(out <= 3 * taken, "seed {seed}: {out} bytes for {taken} (RFC 9000 §8.1)");
            pair.step()?;
            if pair.client().ended().is_some() || pair.server().connection().is_none() {
                break;
            }
        }
        Ok(())
    })
}

#[test]
fn early_data_of_one_seed_leaves_one_trace() -> Result<(), Failure> {
    for_each_seed(0..30, |seed| {
        let run = || {
            let mut pair = ready(seed, vec![delay(10).with_loss(0.05), delay(20)])?;
            pair.redial()?;
            pair.client_mut().traffic_mut().send(Bidirectional, 20_000);
            pair.server_mut().traffic_mut().reply_with(20_000);
            pair.run_until_delivered(secs(30))?;
            Ok::<_, Failure>((pair.trace_hash(), pair.now().saturating_since(Clock::START)))
        };
        assert_eq!(run()?, run()?, "seed {seed}");
        Ok(())
    })
}

#[test]
fn a_client_that_does_not_ask_for_early_data_sends_none() -> Result<(), Failure> {
    let mut pair = ready(6, vec![delay(10)])?;
    pair.set_tls(|tls| tls.client.early_data = false)?;
    pair.redial()?;
    pair.client_mut().traffic_mut().send(Bidirectional, 1_000);
    pair.run_until_delivered(secs(1))?;
    assert_eq!(status(&pair, Role::Client), Some(EarlyStatus::None));
    assert_eq!(status(&pair, Role::Server), Some(EarlyStatus::None));
    assert!(pair.client().connection().is_some_and(Connection::is_resumed));
    Ok(())
}

#[test]
fn nothing_is_left_when_a_client_gives_up_in_its_early_data() -> Result<(), Failure> {
    let mut pair = ready(7, vec![delay(10)])?;
    let idle = pair.server().endpoint().statistics().pool_bytes_used;
    pair.redial()?;
    pair.client_mut().traffic_mut().send(Bidirectional, 8_000);
    pair.run_until(|pair| pair.server().traffic().received() > 0, secs(1))?;
    pair.cut(FIRST);
    pair.run_until(|pair| pair.server().endpoint().is_empty() && pair.client().endpoint().is_empty(), secs(120))?;
    let after = pair.server().endpoint().statistics();
    assert_eq!((after.pool_bytes_used, after.half_open, after.routes, after.waiting_datagrams), (idle, 0, 0, 0), "attacks R5");
    Ok(())
}
