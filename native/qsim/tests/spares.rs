//! Address pairs of a client when multipath was not negotiated: validated, kept, and gone to when path 0 falls silent
//! (multipath MP-95; RFC 9000 §9).

use std::net::SocketAddr;

use qbase::{Direction::Unidirectional, FourTuple, PathId, Role, frame::PathStatusKind};
use qconnection::{
    Event, HandshakeMode, Multipath, TransportConfig,
    connection::events::{OpenFailure, PathEventKind},
};
use qsim::{Failure, LinkId, LinkShape, Pair, PairConfig, Paths};

use crate::common;
use common::{FIRST, SECOND, delay, for_each_seed, ms, secs};

#[test]
fn without_multipath_other_pairs_are_validated_kept_and_gone_to() -> Result<(), Failure> {
    for_each_seed(0..10, |seed| {
        let mut pair = world(seed, TransportConfig::default(), 2)?;
        let [near, far] = [local(0), local(1)];
        ask(&mut pair, near)?;
        ask(&mut pair, far)?;
        pair.run_until_confirmed(secs(1))?;
        pair.run_until(|pair| kinds(pair).iter().filter(|kind| matches!(kind, PathEventKind::SpareProved(_))).count() == 2, secs(2))?;
        assert_eq!(pair.client().connection().map(|connection| connection.paths().count()), Some(1), "they are no paths");
        pair.client_mut().traffic_mut().send(Unidirectional, 500_000);
        pair.server_mut().traffic_mut().send(Unidirectional, 500_000);
        pair.run_for(ms(60))?;
        // One after the other dies.
        pair.cut(FIRST);
        pair.run_until(|pair| at(pair) == near, secs(3))?;
        pair.run_for(ms(300))?;
        pair.cut(SECOND);
        pair.run_until(|pair| at(pair) == far, secs(5))?;
        pair.run_until_delivered(secs(20)).map(|_| ())
    })
}

#[test]
fn a_spare_that_does_not_answer_is_none_and_the_next_is_asked() -> Result<(), Failure> {
    let mut pair = world(1, TransportConfig::default(), 2)?;
    pair.cut(SECOND);
    ask(&mut pair, local(0))?;
    ask(&mut pair, local(1))?;
    pair.run_until(|pair| kinds(pair).contains(&PathEventKind::SpareProved(four_tuple(local(1)))), secs(10))?;
    assert!(kinds(&pair).contains(&PathEventKind::Failed(OpenFailure::Validation)));
    pair.cut(FIRST);
    pair.client_mut().traffic_mut().send(Unidirectional, 50_000);
    pair.run_until_delivered(secs(10))?;
    assert_eq!(at(&pair), local(1));
    Ok(())
}

/// RFC 9000 §9: a client goes to no other address of the server by its own will, and to none at all if the server says so.
#[test]
fn pairs_that_a_client_may_not_go_to_are_no_spares() -> Result<(), Failure> {
    let refused = |pair: &Pair| kinds(pair).iter().filter(|kind| **kind == PathEventKind::Failed(OpenFailure::NoMultipath)).count();
    let mut elsewhere = Pair::new(PairConfig { client: off(TransportConfig::default()), ..PairConfig::new(1, vec![delay(10), delay(20)]) })?;
    elsewhere.run_for(secs(1))?;
    assert_eq!(refused(&elsewhere), 1, "another address of the server");
    let mut forbidden = world(1, TransportConfig { disable_active_migration: true, ..TransportConfig::default() }, 1)?;
    ask(&mut forbidden, local(0))?;
    forbidden.run_for(secs(1))?;
    assert_eq!(refused(&forbidden), 1, "the server disabled migration");
    Ok(())
}

#[test]
fn a_path_that_went_to_a_spare_comes_back_when_that_dies() -> Result<(), Failure> {
    for_each_seed(0..10, |seed| {
        let mut pair = world(seed, TransportConfig::default(), 1)?;
        let home = Pair::four_tuple(FIRST, Role::Client).local;
        ask(&mut pair, local(0))?;
        pair.run_for(ms(500))?;
        pair.client_mut().traffic_mut().send(Unidirectional, 3_000_000);
        pair.run_for(ms(50))?;
        pair.cut(FIRST);
        pair.run_until(|pair| at(pair) == local(0), secs(3))?;
        pair.run_for(ms(300))?;
        pair.restore(FIRST);
        pair.cut(SECOND);
        pair.run_until(|pair| at(pair) == home, secs(5))?;
        pair.run_until_delivered(secs(20)).map(|_| ())
    })
}

// ---- helpers ----

fn off(transport: TransportConfig) -> TransportConfig {
    TransportConfig { multipath: Multipath::Off, handshake: HandshakeMode::Stagger(ms(150)), ..transport }
}

/// A client with one link to the server, and so many further local addresses with links to the same address of it.
fn world(seed: u64, server: TransportConfig, further: u8) -> Result<Pair, Failure> {
    let config = PairConfig { client: off(TransportConfig::default()), server, paths: Paths::First, ..PairConfig::new(seed, vec![shape()]) };
    let mut pair = Pair::new(config)?;
    let remote = Pair::four_tuple(FIRST, Role::Server).local;
    for number in 0..further {
        let link = pair.network_mut().link(local(number).ip(), remote.ip(), &shape());
        assert_eq!(link, LinkId(1 + u32::from(number)));
    }
    Ok(pair)
}

fn shape() -> LinkShape {
    delay(10).at_rate(10_000_000)
}

fn local(number: u8) -> SocketAddr {
    SocketAddr::from(([10, 50, number, 1], 51_000))
}

fn four_tuple(local: SocketAddr) -> FourTuple {
    FourTuple { local, remote: Pair::four_tuple(FIRST, Role::Client).remote }
}

fn ask(pair: &mut Pair, local: SocketAddr) -> Result<(), Failure> {
    let now = pair.now();
    let connection = pair.client_mut().connection_mut().ok_or_else(|| common::ends::failure("no connection"))?;
    connection.open_path(now, four_tuple(local), PathStatusKind::Available).map(|_| ()).map_err(common::ends::failure)
}

fn at(pair: &Pair) -> SocketAddr {
    let path = pair.client().connection().and_then(|connection| connection.path(PathId::ZERO));
    path.map_or(local(99), |path| path.four_tuple.local)
}

fn kinds(pair: &Pair) -> Vec<PathEventKind> {
    let kind = |event: &Event| match event {
        Event::Path(event) => Some(event.kind),
        _ => None,
    };
    pair.client().news().iter().filter_map(|(_, event)| kind(event)).collect()
}

