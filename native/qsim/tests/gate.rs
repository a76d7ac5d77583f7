//! Reversed connections in whole: the accept gate, streams of the wrong way, credit for streams that comes later (mux R50,
//! R51; reverse V2, V20 to V24). What streams alone do stands in `qconnection`, `stream/tests/gate.rs`.

use qbase::{Direction::{Bidirectional, Unidirectional}, Role, StreamId, frame::PathStatusKind};
use qconnection::{
    Connection, TransportConfig,
    connection::{PathTicket, SendDatagram, events::{ClosedBy, EarlyStatus}},
    path::PathState,
    stream::{Requester, ReverseError},
};
use qevent::BlockReason;
use qsim::{Failure, Host, LinkShape, LossModel, Pair, PairConfig, Paths, Reorder, pair::TlsSetup, traffic::OutgoingState};

use crate::common;
use common::{SECOND, delay, ends::failure, for_each_seed, ms, secs};

/// The code for streams of the wrong way.
const WRONG_WAY: u64 = 5;

fn polarised(seed: u64, links: Vec<LinkShape>) -> PairConfig {
    PairConfig { wrong_way: Some(WRONG_WAY), ..PairConfig::new(seed, links) }
}

/// A pair that has reversed itself after a word on a stream of the client's; the client's gate is still shut.
fn reversed(config: PairConfig) -> Result<Pair, Failure> {
    let mut pair = Pair::new(config)?;
    pair.client_mut().traffic_mut().send(Bidirectional, 100);
    pair.server_mut().traffic_mut().reply_with(50);
    pair.run_until_confirmed(secs(5))?;
    pair.run_until_delivered(secs(5))?;
    for role in [Role::Server, Role::Client] {
        assert_eq!(connection(&mut pair, role)?.reverse(), Ok(()));
    }
    Ok(pair)
}

fn connection(pair: &mut Pair, role: Role) -> Result<&mut Connection, Failure> {
    pair.host_mut(role).connection_mut().ok_or_else(|| failure("no connection"))
}

/// Streams of the peer that the application was told of, in that order.
fn opened(host: &Host) -> &[StreamId] {
    host.traffic().told()
}

fn of_server(index: u64) -> StreamId {
    StreamId::new(Role::Server, Bidirectional, index)
}

/// mux R50; reverse V2.
#[test]
fn a_connection_is_reversed_once_and_only_when_it_is_open() -> Result<(), Failure> {
    let mut pair = Pair::new(polarised(1, vec![delay(10)]))?;
    assert_eq!(connection(&mut pair, Role::Client)?.reverse(), Err(ReverseError::NotOpen));
    pair.run_until_confirmed(secs(1))?;
    let requesters = |pair: &mut Pair| -> Result<_, Failure> { Ok([connection(pair, Role::Client)?.requester(), connection(pair, Role::Server)?.requester()]) };
    assert_eq!(requesters(&mut pair)?, [Requester::Local, Requester::Peer]);
    for role in [Role::Client, Role::Server] {
        assert_eq!(connection(&mut pair, role)?.reverse(), Ok(()));
        assert_eq!(connection(&mut pair, role)?.reverse(), Err(ReverseError::Again));
        assert_eq!(connection(&mut pair, role)?.role(), role, "roles stay");
    }
    assert_eq!(requesters(&mut pair)?, [Requester::Peer, Requester::Local]);
    let words = connection(&mut pair, Role::Client)?.explain(qbase::Timestamp::ZERO).join("\n");
    assert!(words.contains("polarity: the peer asks, gate shut with 0 streams before it"), "{words}");
    let mut ordinary = Pair::new(PairConfig::new(1, vec![delay(10)]))?;
    ordinary.run_until_confirmed(secs(1))?;
    assert_eq!(connection(&mut ordinary, Role::Server)?.reverse(), Err(ReverseError::Ordinary));
    Ok(())
}

/// reverse V20, V21, V23: three seconds, of which the idle timeout is one. Streams wait; a path is proved, keys change, limits,
/// pings and messages come and go, and nothing is lost or probed for.
#[test]
fn a_gate_that_is_shut_for_three_seconds_costs_no_packet_and_no_timeout() -> Result<(), Failure> {
    let transport = TransportConfig { idle_timeout: secs(1), max_datagram_frame: 65_535, ..TransportConfig::default() };
    let config = PairConfig { paths: Paths::First, client: transport.clone(), server: transport, ..polarised(2, vec![delay(10), delay(10)]) };
    let mut pair = reversed(config)?;
    pair.open_path(SECOND, PathStatusKind::Available).map(|_: PathTicket| ())?;
    pair.run_for(ms(100))?;
    let held = [30_000, 20_000, 10_000];
    for len in held {
        pair.server_mut().traffic_mut().send(Bidirectional, len);
    }
    pair.server_mut().traffic_mut().send(Unidirectional, 5_000);
    for round in 0..10_u64 {
        let now = pair.now();
        connection(&mut pair, Role::Server)?.ping();
        connection(&mut pair, Role::Server)?.send_datagram(now, vec![7; 100].into(), SendDatagram::default()).map_err(failure)?;
        if round == 5 {
            assert!(connection(&mut pair, Role::Client)?.update_key(now));
        }
        pair.run_for(ms(300))?;
    }
    assert!(pair.client().ended().is_none() && pair.server().ended().is_none());
    assert_eq!((opened(pair.client()).len(), pair.client().traffic().received()), (0, 50), "the answer on its own stream, and no more");
    let held_bytes: u64 = held.iter().sum::<u64>() + 5_000;
    let client = connection(&mut pair, Role::Client)?;
    let facts = client.stream_facts().statistics();
    assert_eq!((facts.at_gate, facts.held, client.statistics().key_updates), (4, held_bytes, 1));
    assert!(client.paths().all(|path| path.state == PathState::Open) && client.paths().count() == 2);
    assert!(std::iter::from_fn(|| client.receive_datagram()).count() >= 10, "messages pass");
    let server = connection(&mut pair, Role::Server)?;
    let (after, sent_again) = (server.statistics(), server.stream_facts().statistics().bytes_sent_again);
    // A copy for the other path, as the scheduler likes, is no retransmission.
    assert_eq!((after.packets_lost, after.ptos, sent_again - after.bytes_reinjected, after.bytes_in_flight), (0, 0, 0, 0));
    assert_eq!(server.stream_facts().unacked_bytes(), 0, "all of it was acknowledged");
    let now = pair.now();
    let cost = connection(&mut pair, Role::Client)?.blocks().cost(now, BlockReason::Gate);
    assert!(cost.count == 1 && cost.time > ms(2_950) && cost.time < secs(3), "{cost:?}");
    connection(&mut pair, Role::Client)?.open_gate();
    pair.run_until_delivered(secs(1))?;
    assert_eq!(opened(pair.client()), [of_server(0), of_server(1), of_server(2), StreamId::new(Role::Server, Unidirectional, 0)]);
    let (now, client) = (pair.now(), connection(&mut pair, Role::Client)?);
    assert!(!client.blocks().now().contains(BlockReason::Gate), "{:?}", client.blocks().now());
    assert!(client.blocks().cost(now, BlockReason::Gate).time < secs(3));
    Ok(())
}

/// reverse V23, on bad roads: in order of id, whole, and what comes later as it comes.
#[test]
fn held_streams_come_out_in_order_of_id_whatever_the_road_did_to_them() -> Result<(), Failure> {
    for_each_seed(0..20, |seed| {
        let mut road = LinkShape { reorder: Some(Reorder { probability: 0.2, by: ms(15) }), ..delay(10) };
        road.loss = LossModel::Independent(0.1);
        let mut pair = reversed(polarised(seed, vec![road]))?;
        for index in 0..20 {
            pair.server_mut().traffic_mut().send(Bidirectional, 500 + 700 * (19 - index));
        }
        pair.run_for(ms(400))?;
        assert!(opened(pair.client()).is_empty(), "seed {seed}");
        connection(&mut pair, Role::Client)?.open_gate();
        for _ in 0..5 {
            pair.server_mut().traffic_mut().send(Bidirectional, 3_000);
        }
        pair.run_until_delivered(secs(20))?;
        let expected: Vec<_> = (0..25).map(of_server).collect();
        assert_eq!(opened(pair.client()), expected, "seed {seed}");
        Ok(())
    })
}

/// reverse V24.
#[test]
fn the_end_of_the_connection_is_told_within_a_round_trip_though_the_gate_is_shut() -> Result<(), Failure> {
    let mut pair = reversed(polarised(3, vec![delay(10)]))?;
    pair.server_mut().traffic_mut().send(Bidirectional, 30_000);
    pair.run_for(ms(100))?;
    let now = pair.now();
    connection(&mut pair, Role::Server)?.close(now, 6, b"took too long");
    pair.run_until(|pair| pair.client().ended().is_some(), ms(20))?;
    assert!(pair.now().saturating_since(now) <= ms(11));
    let end = pair.client().ended().ok_or_else(|| failure("no end"))?;
    assert_eq!((end.by, end.code, end.reason.as_str()), (ClosedBy::Peer, 6, "took too long"));
    assert!(opened(pair.client()).is_empty());
    pair.run_for(secs(10))?;
    assert!(pair.client().endpoint().is_empty(), "nothing of it is left");
    Ok(())
}

/// reverse V24: nobody is there any more, and the gate is shut.
#[test]
fn silence_behind_the_gate_is_an_idle_timeout_as_ever() -> Result<(), Failure> {
    let transport = TransportConfig { idle_timeout: secs(2), ..TransportConfig::default() };
    let mut pair = reversed(PairConfig { client: transport, ..polarised(4, vec![delay(10)]) })?;
    pair.cut(common::FIRST);
    pair.run_until(|pair| pair.client().ended().is_some(), secs(3))?;
    assert_eq!(pair.client().ended().map(|end| end.by), Some(ClosedBy::IdleTimeout));
    Ok(())
}

/// attacks H7. reverse V22: a private end gives no credit for streams before ACCEPT; what comes after is told behind the gate.
#[test]
fn attack_h7_an_obedient_peer_sends_nothing_before_it_is_granted_streams() -> Result<(), Failure> {
    let client = TransportConfig { bidirectional_streams: 0, unidirectional_streams: 0, ..TransportConfig::default() };
    let mut pair = reversed(PairConfig { client, ..polarised(5, vec![delay(10)]) })?;
    for _ in 0..30 {
        pair.server_mut().traffic_mut().send(Bidirectional, 500);
    }
    pair.run_for(ms(500))?;
    let facts = connection(&mut pair, Role::Client)?.stream_facts().statistics();
    assert_eq!((facts.opened_peer, facts.held), (0, 0));
    let client = connection(&mut pair, Role::Client)?;
    client.grant_streams(Bidirectional, 10);
    client.open_gate();
    pair.run_until(|pair| opened(pair.client()).len() == 10, ms(31))?;
    pair.run_until_delivered(secs(5))?;
    assert_eq!(opened(pair.client()), (0..30).map(of_server).collect::<Vec<_>>());
    Ok(())
}

/// attacks H7. mux R51; reverse V2: before a client knows of the reversal it may open streams, of which the server's application never hears.
#[test]
fn attack_h7_streams_of_the_wrong_way_are_refused_with_their_code_and_the_connection_goes_on() -> Result<(), Failure> {
    let mut pair = Pair::new(polarised(6, vec![delay(10)]))?;
    pair.client_mut().traffic_mut().send(Bidirectional, 100);
    pair.run_until_confirmed(secs(1))?;
    pair.run_until_delivered(secs(1))?;
    connection(&mut pair, Role::Server)?.reverse().map_err(failure)?;
    let wrong = [pair.client_mut().traffic_mut().send(Bidirectional, 300_000), pair.client_mut().traffic_mut().send(Unidirectional, 300_000)];
    let failed = |pair: &Pair, id| pair.client().traffic().outgoing(id).is_some_and(|out| out.state == OutgoingState::Failed(format!("stopped: {WRONG_WAY}")));
    pair.run_until(|pair| wrong.iter().all(|id| failed(pair, *id)), ms(100))?;
    pair.run_for(ms(100))?;
    assert_eq!(opened(pair.server()), [StreamId::new(Role::Client, Bidirectional, 0)]);
    let facts = connection(&mut pair, Role::Server)?.stream_facts().statistics();
    assert_eq!((facts.wrong_way, facts.open, facts.held), (2, 0, 0));
    connection(&mut pair, Role::Client)?.reverse().map_err(failure)?;
    assert_eq!(connection(&mut pair, Role::Client)?.open(Bidirectional), None, "now it knows");
    connection(&mut pair, Role::Client)?.open_gate();
    let asked = pair.server_mut().traffic_mut().send(Bidirectional, 300_000);
    pair.run_until(|pair| pair.server().traffic().outgoing(asked).is_some_and(|out| pair.client().traffic().has(out)), secs(1)).map(|_| ())
}

/// reverse V4, V20: a word in 0-RTT is there at once, accepted or sent again, and the gate is shut behind it.
#[test]
fn early_data_knows_nothing_of_the_gate() -> Result<(), Failure> {
    for rejected in [false, true] {
        let tls = TlsSetup { early_data: true, ..TlsSetup::default() };
        let mut pair = Pair::new(PairConfig { tls, ..polarised(7, vec![delay(10)]) })?;
        pair.finish_first()?;
        if rejected {
            pair.tls().server.sessions.as_ref().ok_or_else(|| failure("no tickets"))?.clear();
        }
        pair.redial()?;
        let start = pair.now();
        pair.client_mut().traffic_mut().send(Bidirectional, 3_000);
        pair.server_mut().traffic_mut().reply_with(100);
        pair.run_until(|pair| pair.server().traffic().received() == 3_000, secs(1))?;
        let status = if rejected { EarlyStatus::Rejected } else { EarlyStatus::Accepted };
        assert!(rejected || pair.now().saturating_since(start) == ms(10));
        pair.run_until_confirmed(secs(1))?;
        pair.run_until_delivered(secs(1))?;
        for role in [Role::Server, Role::Client] {
            assert_eq!(connection(&mut pair, role)?.early_status(), status);
            connection(&mut pair, role)?.reverse().map_err(failure)?;
        }
        let client = connection(&mut pair, Role::Client)?;
        assert_eq!((client.open_parked(Bidirectional), client.streams().is_gate_shut()), (None, true));
        pair.server_mut().traffic_mut().send(Bidirectional, 1_000);
        pair.run_for(ms(100))?;
        assert!(opened(pair.client()).is_empty());
        connection(&mut pair, Role::Client)?.open_gate();
        pair.run_until_delivered(secs(1))?;
        assert_eq!(opened(pair.client()), [of_server(0)]);
    }
    Ok(())
}
