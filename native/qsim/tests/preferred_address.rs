//! A server that would rather be elsewhere (RFC 9000 §9.6; multipath MP-12, MP-13; attacks E15).

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use qbase::{ConnectionId, Direction, EncryptionLevel, FourTuple, PathId, ResetToken, Role, frame::Frame, param::PreferredAddress};
use qconnection::{Event, FollowPreferred, Multipath, PreferredAddresses, TransportConfig, connection::{Migration, events::PathEventKind}};
use qsim::{Failure, LinkId, LinkShape, Pair, PairConfig, Paths};

use crate::common;
use common::{
    FIRST, delay,
    evil::{arena::{Arena, Setup, addresses}, encode, stage::{Play, Stage}},
    for_each_seed, ms, secs,
};

use Direction::Unidirectional;

/// Where the server would rather be.
const BETTER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 0, 1, 9), 4_433);

/// Shows 9000-9.6.1-2, 9000-9.6.1-3, 9000-9.6.2-1 and 9000-9.6.2-3.
#[test]
fn both_ends_go_where_the_server_prefers_after_the_handshake() -> Result<(), Failure> {
    for multipath in [Multipath::Off, Multipath::Auto] {
        for_each_seed(0..10, |seed| {
            let lossy = if seed % 2 == 0 { 0.0 } else { 0.05 };
            let (mut pair, better) = pair(seed, multipath, delay(10).at_rate(10_000_000).with_loss(lossy), TransportConfig::default())?;
            pair.client_mut().traffic_mut().send(Unidirectional, 400_000);
            pair.server_mut().traffic_mut().send(Unidirectional, 400_000);
            pair.run_until(|pair| remote(pair) == Some(BETTER.into()), secs(5))?;
            pair.run_until(|pair| home(pair) == Some(BETTER.into()), secs(5))?;
            pair.run_until_delivered(secs(30))?;
            pair.run_for(secs(4))?;
            assert!(pair.carried(better, qsim::LinkDirection::BToA) > 300_000, "the server sends from there");
            assert!(pair.client().first(|event| matches!(event, Event::Path(event) if matches!(event.kind, PathEventKind::Migrated(_)))).is_some());
            let before = pair.network().statistics(FIRST, qsim::LinkDirection::AToB).offered;
            pair.client_mut().traffic_mut().send(Unidirectional, 10_000);
            pair.run_until_delivered(secs(5))?;
            assert_eq!(pair.network().statistics(FIRST, qsim::LinkDirection::AToB).offered, before, "nothing goes to the old address");
            Ok(())
        })?;
    }
    Ok(())
}

/// Shows 9000-9.6.1-4.
#[test]
fn a_preferred_address_that_does_not_answer_is_forgotten() -> Result<(), Failure> {
    let (mut pair, better) = pair(1, Multipath::Off, delay(10).at_rate(10_000_000), TransportConfig::default())?;
    pair.cut(better);
    pair.client_mut().traffic_mut().send(Unidirectional, 400_000);
    pair.run_until_delivered(secs(5))?;
    pair.run_for(secs(5))?;
    assert_eq!(remote(&pair), Some(Pair::four_tuple(FIRST, Role::Client).remote));
    let failed = |event: &Event| matches!(event, Event::Path(event) if matches!(event.kind, PathEventKind::MigrationFailed(_)));
    assert!(pair.client().first(failed).is_some());
    Ok(())
}

/// RFC 9000 §9.6: `disable_active_migration` does not speak of the preferred address (§18.2).
#[test]
fn a_server_that_forbids_migration_is_followed_to_its_preferred_address() -> Result<(), Failure> {
    let server = TransportConfig { disable_active_migration: true, ..TransportConfig::default() };
    let (mut pair, _) = pair(1, Multipath::Off, delay(10), server)?;
    pair.client_mut().traffic_mut().send(Unidirectional, 100_000);
    pair.run_until(|pair| home(pair) == Some(BETTER.into()), secs(5))?;
    let local = SocketAddr::from(([10, 50, 0, 1], 51_000));
    pair.network_mut().link(local.ip(), (*BETTER.ip()).into(), &delay(10));
    pair.run_for(secs(1))?;
    let now = pair.now();
    let moved = pair.client_mut().connection_mut().map(|connection| connection.migrate(now, PathId::ZERO, local, Migration::WhenProved));
    assert_eq!(moved, Some(Ok(())), "from there a client may move");
    pair.run_until_delivered(secs(5)).map(|_| ())
}

/// Shows 9000-9.6.3-2.
#[test]
fn a_client_that_moves_meanwhile_reaches_the_preferred_address_from_its_new_one() -> Result<(), Failure> {
    let (mut pair, better) = pair(1, Multipath::Off, delay(10), TransportConfig::default())?;
    pair.cut(better);
    pair.run_until_confirmed(secs(1))?;
    let local = SocketAddr::from(([10, 50, 0, 1], 51_000));
    let first = Pair::four_tuple(FIRST, Role::Client).remote;
    pair.network_mut().link(local.ip(), first.ip(), &delay(10));
    pair.network_mut().link(local.ip(), (*BETTER.ip()).into(), &delay(10));
    pair.run_for(ms(30))?;
    let now = pair.now();
    let moved = pair.client_mut().connection_mut().map(|connection| connection.migrate(now, PathId::ZERO, local, Migration::WhenProved));
    assert_eq!(moved, Some(Ok(())));
    pair.client_mut().traffic_mut().send(Unidirectional, 100_000);
    pair.run_until(|pair| home(pair) == Some(BETTER.into()) && remote(pair) == Some(BETTER.into()), secs(5))?;
    let at = pair.server().connection().and_then(|connection| connection.path(PathId::ZERO)).map(|path| path.four_tuple);
    assert_eq!(at, Some(FourTuple { local: BETTER.into(), remote: local }));
    pair.run_until_delivered(secs(5)).map(|_| ())
}

#[test]
fn a_client_that_wants_to_stay_stays() -> Result<(), Failure> {
    let client = TransportConfig { follow_preferred: FollowPreferred::Never, ..TransportConfig::default() };
    let server = TransportConfig { preferred_address: PreferredAddresses { ipv4: Some(BETTER), ipv6: None }, ..TransportConfig::default() };
    let mut pair = Pair::new(PairConfig { client, server, ..PairConfig::new(1, vec![delay(10)]) })?;
    pair.run_for(secs(2))?;
    assert_eq!(remote(&pair), Some(Pair::four_tuple(FIRST, Role::Client).remote));
    assert_eq!(pair.client().sent().refused, 0);
    Ok(())
}

/// attacks E15
#[test]
fn attack_e15_an_address_of_narrower_reach_is_not_even_asked() -> Result<(), Failure> {
    fn offer(ip: [u8; 4], port: u16) -> Option<PreferredAddress> {
        Some(PreferredAddress {
            ipv4: Some(SocketAddrV4::new(ip.into(), port)),
            ipv6: None,
            cid: ConnectionId::new(b"elsewhere").unwrap(),
            reset_token: ResetToken([9; 16]),
        })
    }
    type Change = fn(&mut qbase::param::TransportParameters);
    let plays: [(&str, Change, bool); 6] = [
        ("this host", |parameters| parameters.preferred_address = offer([127, 0, 0, 1], 80), false),
        ("a metadata service", |parameters| parameters.preferred_address = offer([169, 254, 169, 254], 80), false),
        ("a private network", |parameters| parameters.preferred_address = offer([192, 168, 0, 1], 80), false),
        ("many hosts", |parameters| parameters.preferred_address = offer([224, 0, 0, 1], 80), false),
        ("no port", |parameters| parameters.preferred_address = offer([203, 0, 113, 7], 0), false),
        ("the world", |parameters| parameters.preferred_address = offer([203, 0, 113, 7], 443), true),
    ];
    for (name, change, asked) in plays {
        let client = TransportConfig { multipath: Multipath::Off, ..TransportConfig::default() };
        let mut stage = Stage::new(&Play { client, change, ..Play::default() })?;
        stage.wait(secs(5))?;
        assert_eq!(stage.elsewhere > 0, asked, "{name}: {} datagrams", stage.elsewhere);
        assert_eq!(stage.close_code(), None, "{name}");
    }
    Ok(())
}

/// Shows 9000-21.5.3-1.
#[test]
fn attack_e15_an_address_that_does_not_answer_gets_probes_alone() -> Result<(), Failure> {
    let change = |parameters: &mut qbase::param::TransportParameters| {
        let ipv4 = Some(SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, 7), 443));
        // An id by which the evil end finds the keys.
        let cid = common::evil::own_cid(PathId::ZERO, 1);
        parameters.preferred_address = Some(PreferredAddress { ipv4, ipv6: None, cid, reset_token: ResetToken([9; 16]) });
    };
    let client = TransportConfig { multipath: Multipath::Off, ..TransportConfig::default() };
    let mut stage = Stage::new(&Play { client, change, ..Play::default() })?;
    for _ in 0..20 {
        let connection = stage.connection_mut()?;
        if let Some(stream) = connection.open(Unidirectional) {
            connection.write(stream, b"what only the server may have").map_err(common::ends::failure)?;
        }
        stage.pump()?;
        stage.wait(ms(200))?;
    }
    assert!(!stage.heard_elsewhere.is_empty() && stage.heard_elsewhere.len() == stage.elsewhere, "{} of {}", stage.heard_elsewhere.len(), stage.elsewhere);
    for packet in &stage.heard_elsewhere {
        assert!(packet.frames().iter().all(Frame::is_probing), "{packet:?}");
    }
    Ok(())
}

/// Shows 9000-9.6.3-4 and 9000-9.6.2-2.
#[test]
fn who_comes_to_the_preferred_address_from_elsewhere_is_not_believed() -> Result<(), Failure> {
    let preferred = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 9), 4_433);
    let plain = Setup::single_path();
    let preferred_address = PreferredAddresses { ipv4: Some(preferred), ipv6: None };
    let server = TransportConfig { preferred_address, ..plain.server.clone() };
    let mut arena = Arena::new(&Setup { server, ..plain })?;
    arena.ack()?;
    arena.forget_heard();
    let home = arena.evil.four_tuple;
    let there = FourTuple { local: preferred.into(), remote: addresses(77).remote };
    let packet = arena.evil.seal(EncryptionLevel::OneRtt, PathId::ZERO, None, 0, &encode(&[Frame::Ping]))?;
    let received = packet.len();
    arena.inject(packet, there);
    let place = |arena: &Arena| arena.connection().ok().and_then(|connection| connection.path(PathId::ZERO)).map(|path| path.four_tuple);
    assert_eq!(place(&arena), Some(home), "nobody has proved to be there");
    assert_eq!(arena.pump_to(there)?, 1, "one challenge");
    let challenges = arena.evil.heard.iter().filter(|packet| packet.frames().iter().any(|frame| matches!(frame, Frame::PathChallenge(_))));
    assert!(challenges.map(|packet| packet.datagram).sum::<usize>() <= 3 * received);
    arena.wait(secs(10))?;
    assert_eq!((place(&arena), arena.close_code()), (Some(home), None));
    Ok(())
}

// ---- helpers ----

/// A client, a server that prefers [`BETTER`], and the link that joins them there.
fn pair(seed: u64, multipath: Multipath, link: LinkShape, server: TransportConfig) -> Result<(Pair, LinkId), Failure> {
    let preferred_address = PreferredAddresses { ipv4: Some(BETTER), ipv6: None };
    let server = TransportConfig { multipath, preferred_address, ..server };
    let client = TransportConfig { multipath, ..TransportConfig::default() };
    let config = PairConfig { client, server, paths: Paths::First, ..PairConfig::new(seed, vec![link.clone()]) };
    let mut pair = Pair::new(config)?;
    let local = Pair::four_tuple(FIRST, Role::Client).local;
    let better = pair.network_mut().link(local.ip(), (*BETTER.ip()).into(), &link);
    Ok((pair, better))
}

/// Where the client thinks the server is.
fn remote(pair: &Pair) -> Option<SocketAddr> {
    pair.client().connection()?.path(PathId::ZERO).map(|path| path.four_tuple.remote)
}

/// Where the server thinks it is.
fn home(pair: &Pair) -> Option<SocketAddr> {
    pair.server().connection()?.path(PathId::ZERO).map(|path| path.four_tuple.local)
}
