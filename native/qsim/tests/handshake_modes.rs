//! Handshakes over several address pairs: what each mode sends where, who wins, and what becomes of the others
//! (multipath section N; burst section 13; attacks B27).

use std::time::Duration;

use qbase::{
    Direction::{Bidirectional, Unidirectional},
    FourTuple, PathId, Role, VERSION_1, VERSION_2,
    frame::PathStatusKind,
    limits,
};
use qconnection::{
    Connection, Event, HandshakeMode, RetryPolicy, TransportConfig,
    connection::{AttemptState, StepKind, events::PathEventKind},
    path::PathState,
};
use qsim::{Directions, Failure, Host, LinkDirection, LinkId, LinkShape, LossModel, Pair, PairConfig};

use crate::common;
use common::{FIRST, SECOND, back, delay, for_each_seed, ms, secs};

/// All modes, with the one that makes an attempt for each pair.
const MODES: [HandshakeMode; 5] =
    [HandshakeMode::Single, HandshakeMode::Stagger(limits::STAGGER), HandshakeMode::Race, HandshakeMode::Shared, HandshakeMode::Independent];
/// The modes in which all pairs start at once.
const PARALLEL: [HandshakeMode; 3] = [HandshakeMode::Race, HandshakeMode::Shared, HandshakeMode::Independent];
/// The modes with one connection.
const ONE: [HandshakeMode; 4] = [HandshakeMode::Single, HandshakeMode::Stagger(limits::STAGGER), HandshakeMode::Race, HandshakeMode::Shared];

const THIRD: LinkId = LinkId(2);

// ---- how long it takes ----

/// multipath MP-87…MP-91.
#[test]
fn a_dead_first_pair_costs_what_the_mode_promises() -> Result<(), Failure> {
    for (mode, most) in [
        (HandshakeMode::Single, ms(1_100)),
        (HandshakeMode::Stagger(limits::STAGGER), limits::STAGGER + ms(50)),
        (HandshakeMode::Stagger(ms(400)), ms(450)),
        (HandshakeMode::Race, ms(50)),
        (HandshakeMode::Shared, ms(50)),
        (HandshakeMode::Independent, ms(50)),
    ] {
        for_each_seed(0..10, |seed| {
            let round_trip = 40;
            let mut pair = pair(mode, seed, vec![delay(10), delay(round_trip / 2)])?;
            pair.cut(FIRST);
            pair.run_until(is_complete, secs(5))?;
            let time = complete_at(&pair);
            assert!(time <= ms(round_trip) + most, "{mode:?}, seed {seed}: {time:?}");
            pair.client_mut().traffic_mut().send(Bidirectional, 10_000);
            pair.run_until_delivered(secs(5)).map(|_| ())
        })?;
    }
    Ok(())
}

/// Of one network only one direction may be dead: the server's answers then go another way (multipath MP-96).
#[test]
fn a_first_pair_whose_answers_vanish_is_no_trap() -> Result<(), Failure> {
    for mode in MODES {
        for_each_seed(0..10, |seed| {
            let mut pair = pair(mode, seed, vec![delay(5), delay(20)])?;
            let now = pair.now();
            pair.network_mut().cut(now, FIRST, Directions::BToA);
            pair.run_until_confirmed(secs(5)).map(|_| ())
        })?;
    }
    Ok(())
}

#[test]
fn two_clean_pairs_take_no_longer_than_one_and_hardly_more_datagrams() -> Result<(), Failure> {
    let datagrams = |pair: &Pair| -> u64 {
        pair.links().iter().flat_map(|link| [LinkDirection::AToB, LinkDirection::BToA].map(|way| pair.network().statistics(*link, way).offered)).sum()
    };
    for (first, second) in [(20, 20), (20, 30), (20, 60)] {
        // What the confirmation itself starts is not counted.
        let until_confirmed = |mut pair: Pair| -> Result<(Duration, u64), Failure> {
            let mut before = 0;
            while !pair.is_confirmed() {
                before = datagrams(&pair);
                pair.step()?;
            }
            Ok((pair.elapsed(), before))
        };
        let (single, plain) = until_confirmed(pair(HandshakeMode::Single, 1, vec![delay(first)])?)?;
        for extra in 1..=3 {
            for mode in ONE {
                let links = std::iter::once(delay(first)).chain((0..extra).map(|_| delay(second))).collect();
                let (time, datagrams) = until_confirmed(pair(mode, 1, links)?)?;
                assert!(time <= single + single / 20, "{mode:?}: {time:?} for {single:?}");
                let more = datagrams.saturating_sub(plain);
                assert!(more < 2 * extra, "{mode:?}: {more} more datagrams for {extra} further pairs");
            }
        }
    }
    Ok(())
}

/// The server must not answer where a later packet of a shared first flight came from (burst B-113).
#[test]
fn a_long_certificate_comes_over_the_pair_that_was_read_first() -> Result<(), Failure> {
    for mode in [HandshakeMode::Race, HandshakeMode::Shared] {
        for slow in [12, 15, 25, 100] {
            let tls = qsim::pair::TlsSetup { extra_certificates: 12, ..qsim::pair::TlsSetup::default() };
            let of = |links: Vec<LinkShape>| Pair::new(PairConfig { client: client(mode), tls: tls.clone(), ..PairConfig::new(1, links) });
            let alone = of(vec![delay(10)])?.run_until_confirmed(secs(5))?;
            let mut pair = of(vec![delay(10), delay(slow)])?;
            let time = pair.run_until_confirmed(secs(5))?;
            assert!(time <= alone + alone / 20, "{mode:?} beside {slow} ms: {time:?} for {alone:?}");
        }
    }
    Ok(())
}

/// multipath MP-92, burst B-115.
#[test]
fn pairs_that_lost_are_silent_until_the_confirmation() -> Result<(), Failure> {
    for mode in [HandshakeMode::Race, HandshakeMode::Shared] {
        let mut pair = pair(mode, 1, vec![delay(50), delay(10), delay(100)])?;
        let sent = |pair: &Pair| [FIRST, THIRD].map(|link| pair.network().statistics(link, LinkDirection::AToB).offered);
        pair.run_until(|pair| pair.client().connection().is_some_and(Connection::is_handshake_complete), secs(1))?;
        let before = sent(&pair);
        assert_eq!(before, [1, 1], "{mode:?}");
        pair.run_until(|pair| pair.server().connection().is_some_and(Connection::is_confirmed), secs(1))?;
        assert_eq!(sent(&pair), before, "{mode:?}");
        pair.run_until(|pair| open_paths(pair) == 3, secs(2))?;
        let statistics = pair.client().connection().map(|connection| connection.statistics().packets_lost);
        assert_eq!(statistics, Some(0), "{mode:?}: what went to others is not lost");
    }
    Ok(())
}

// ---- who wins, and the others ----

/// multipath MP-95.
#[test]
fn the_others_become_paths_in_their_order_with_the_status_asked_for() -> Result<(), Failure> {
    for mode in ONE {
        for winner in 0..4_u32 {
            let links = (0..4).map(|link| if link == winner { delay(5) } else { delay(30) }).collect();
            let mut pair = Pair::new(PairConfig { client: client(mode), paths: qsim::Paths::First, ..PairConfig::new(1, links) })?;
            if winner != 0 {
                pair.cut(FIRST);
            }
            let status = |link: u32| if link % 2 == 1 { PathStatusKind::Backup } else { PathStatusKind::Available };
            for link in 1..4 {
                if link != winner && matches!(mode, HandshakeMode::Single | HandshakeMode::Stagger(_)) {
                    pair.cut(LinkId(link));
                }
                pair.open_path(LinkId(link), status(link))?;
            }
            pair.run_until_confirmed(secs(10))?;
            (0..4).for_each(|link| pair.restore(LinkId(link)));
            pair.run_until(|pair| open_paths(pair) == 4, secs(5)).map_err(|failure| Failure::new(format!("{mode:?}, {winner} wins: {failure}")))?;
            let expected: Vec<u32> = std::iter::once(winner).chain((0..4).filter(|link| *link != winner)).collect();
            let connection = pair.client().connection().ok_or_else(|| common::ends::failure("no connection"))?;
            for (path, link) in connection.paths().zip(expected) {
                assert_eq!((path.four_tuple, path.status), (Pair::four_tuple(LinkId(link), Role::Client), status(link)), "{mode:?}, {winner} wins");
            }
            pair.run_for(ms(200))?;
            let server = pair.server().connection().ok_or_else(|| common::ends::failure("no connection"))?;
            for path in server.paths() {
                let backup = path.peer_status == Some(PathStatusKind::Backup);
                let link = Pair::four_tuple(LinkId(winner), Role::Server);
                assert!(path.id != PathId::ZERO || path.four_tuple == link);
                assert_eq!(backup, connection_status(&pair, path.id) == Some(PathStatusKind::Backup), "{mode:?}, {winner} wins: the server knows");
            }
        }
    }
    Ok(())
}

/// multipath MP-91, MP-95.
#[test]
fn of_independent_attempts_one_stays_and_the_server_hears_no_error() -> Result<(), Failure> {
    for_each_seed(0..10, |seed| {
        let fast = seed % 3;
        let links = (0..3).map(|link| if link == fast { delay(5) } else { delay(20) }).collect();
        let mut pair = pair(HandshakeMode::Independent, seed, links)?;
        pair.client_mut().traffic_mut().send(Bidirectional, 100_000);
        pair.server_mut().traffic_mut().reply_with(50_000);
        pair.run_until_delivered(secs(5))?;
        let own = pair.client().connection().and_then(|connection| connection.path(PathId::ZERO)).map(|path| path.four_tuple);
        assert_eq!(own, Some(Pair::four_tuple(LinkId(fast as u32), Role::Client)), "seed {seed}");
        pair.run_until(|pair| open_paths(pair) == 3, secs(2))?;
        assert!(pair.client().ended().is_none() && pair.server().ended().is_none());
        let completions = pair.client().news().iter().filter(|(_, event)| *event == Event::HandshakeComplete).count();
        assert_eq!(completions, 1, "the application saw one");
        pair.run_for(secs(10))?;
        assert_eq!((pair.client().endpoint().len(), pair.server().endpoint().len()), (1, 1), "seed {seed}: the others are forgotten");
        Ok(())
    })
}

#[test]
fn independent_attempts_end_together() -> Result<(), Failure> {
    let mut pair = pair(HandshakeMode::Independent, 1, vec![delay(10), delay(10)])?;
    pair.cut(FIRST);
    pair.cut(SECOND);
    pair.run_until(|pair| pair.client().ended().is_some(), secs(60))?;
    assert_eq!(pair.elapsed(), limits::HANDSHAKE_TIMEOUT);
    pair.run_until(|pair| pair.client().endpoint().is_empty(), secs(60))?;
    let ends = pair.client().news().iter().filter(|(_, event)| matches!(event, Event::Closed(_))).count();
    assert_eq!(ends, 1, "one end is told");

    let mut pair = self::pair(HandshakeMode::Independent, 2, vec![delay(100), delay(100)])?;
    pair.run_for(ms(50))?;
    let now = pair.now();
    if let Some(connection) = pair.client_mut().connection_mut() {
        connection.close(now, 7, b"not needed");
    }
    pair.run_until(|pair| pair.client().endpoint().is_empty(), secs(60))?;
    Ok(())
}

/// multipath MP-91.
#[test]
fn early_data_of_the_first_attempt_is_sent_again_by_the_one_that_stays() -> Result<(), Failure> {
    for_each_seed(0..10, |seed| {
        let mut pair = resumable(HandshakeMode::Independent, seed, vec![delay(10), delay(10)])?;
        pair.redial()?;
        pair.cut(FIRST);
        pair.client_mut().traffic_mut().send(Bidirectional, 3_000);
        pair.server_mut().traffic_mut().reply_with(3_000);
        pair.run_until_delivered(secs(5)).map(|_| ())
    })
}

// ---- a pair that falls silent ----

/// multipath MP-92.
#[test]
fn a_locked_pair_that_falls_silent_is_left_once() -> Result<(), Failure> {
    for mode in ONE {
        // The second pair hears nothing of the first flight, so that only the lock can lead there.
        for_each_seed(0..40, |seed| {
            let mut pair = pair(mode, seed, vec![delay(10), delay(15)])?;
            pair.client_mut().traffic_mut().send(Unidirectional, 20_000);
            pair.run_for(ms(seed))?;
            pair.cut(FIRST);
            let time = pair.run_until(|pair| pair.is_confirmed() && pair.is_all_delivered(), secs(8));
            let time = time.map_err(|failure| Failure::new(format!("{mode:?}, cut at {seed} ms: {failure}")))?;
            assert!(time <= ms(2_500), "{mode:?}, cut at {seed} ms: {time:?}");
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_pair_is_not_left_twice_nor_after_a_retry() -> Result<(), Failure> {
    let unlocked = |pair: &Pair| steps(pair).iter().filter(|(_, kind)| *kind == StepKind::Unlocked).count();
    let mut locked = pair(HandshakeMode::Race, 1, vec![delay(10), delay(15), delay(20)])?;
    locked.run_for(ms(25))?;
    [FIRST, SECOND, THIRD].into_iter().for_each(|link| locked.cut(link));
    assert!(locked.run_until(is_confirmed, secs(9)).is_err());
    assert_eq!(unlocked(&locked), 1);
    let config = PairConfig { retry: RetryPolicy::Always, ..config(HandshakeMode::Race, 1, vec![delay(10), delay(15)]) };
    let mut pair = Pair::new(config)?;
    pair.run_for(ms(45))?;
    pair.cut(FIRST);
    assert!(pair.run_until(is_confirmed, secs(9)).is_err(), "the token is for one address (multipath MP-93)");
    assert_eq!(unlocked(&pair), 0);
    Ok(())
}

// ---- Retry, Version Negotiation, early data ----

/// multipath MP-93.
#[test]
fn every_mode_takes_a_retry_of_the_pair_that_was_fastest() -> Result<(), Failure> {
    for mode in MODES {
        for_each_seed(0..10, |seed| {
            let mut pair = Pair::new(PairConfig { retry: RetryPolicy::Always, ..config(mode, seed, vec![delay(30), delay(10)]) })?;
            if matches!(mode, HandshakeMode::Single | HandshakeMode::Stagger(_)) {
                pair.cut(FIRST);
            }
            pair.client_mut().traffic_mut().send(Unidirectional, 20_000);
            pair.run_until_delivered(secs(5))?;
            let connection = pair.client().connection().ok_or_else(|| common::ends::failure("no connection"))?;
            assert!(connection.used_retry(), "{mode:?}");
            assert_eq!(connection.path(PathId::ZERO).map(|path| path.four_tuple), Some(Pair::four_tuple(SECOND, Role::Client)), "{mode:?}");
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn every_mode_takes_a_version_negotiation_of_the_pair_that_was_fastest() -> Result<(), Failure> {
    for mode in MODES {
        for_each_seed(0..10, |seed| {
            let config = config(mode, seed, vec![delay(30), delay(10)]);
            let mut pair = Pair::new(PairConfig { client_versions: vec![VERSION_2, VERSION_1], server_versions: vec![VERSION_1], ..config })?;
            if matches!(mode, HandshakeMode::Single | HandshakeMode::Stagger(_)) {
                pair.cut(FIRST);
            }
            pair.client_mut().traffic_mut().send(Unidirectional, 20_000);
            pair.run_until_delivered(secs(5))?;
            let connection = pair.client().connection().ok_or_else(|| common::ends::failure("no connection"))?;
            assert_eq!(connection.version(), VERSION_1, "{mode:?}");
            assert_eq!(connection.path(PathId::ZERO).map(|path| path.four_tuple), Some(Pair::four_tuple(SECOND, Role::Client)), "{mode:?}");
            Ok(())
        })?;
    }
    Ok(())
}

/// multipath MP-94.
#[test]
fn early_data_arrives_with_the_first_flight_in_every_mode() -> Result<(), Failure> {
    for mode in MODES {
        for_each_seed(0..10, |seed| {
            let mut pair = resumable(mode, seed, vec![delay(10), delay(20)])?;
            pair.redial()?;
            let start = pair.now();
            pair.client_mut().traffic_mut().send(Bidirectional, 3_000);
            pair.server_mut().traffic_mut().reply_with(100);
            pair.run_until(|pair| pair.server().traffic().received() >= 3_000, secs(1))?;
            let time = pair.now().saturating_since(start);
            // Of shared packets some went over the slower pair.
            assert!(time <= ms(20), "{mode:?}: {time:?}");
            pair.run_until_delivered(secs(5)).map(|_| ())
        })?;
    }
    Ok(())
}

/// multipath MP-94.
#[test]
fn early_data_survives_a_dead_first_pair_in_every_mode() -> Result<(), Failure> {
    for mode in MODES {
        for_each_seed(0..10, |seed| {
            let mut pair = resumable(mode, seed, vec![delay(10), delay(20)])?;
            pair.redial()?;
            pair.cut(FIRST);
            pair.client_mut().traffic_mut().send(Bidirectional, 8_000);
            pair.server_mut().traffic_mut().reply_with(100);
            let time = pair.run_until_delivered(secs(10))?;
            let most = if mode == HandshakeMode::Single { ms(1_300) } else { ms(400) };
            assert!(time <= most, "{mode:?}, seed {seed}: {time:?}");
            Ok(())
        })?;
    }
    Ok(())
}

// ---- the server ----

/// multipath MP-96; attacks B27.
#[test]
fn attack_b27_a_server_without_the_option_hears_one_address_before_the_confirmation() -> Result<(), Failure> {
    for mode in [HandshakeMode::Single, HandshakeMode::Race, HandshakeMode::Shared] {
        let server = TransportConfig { multi_address_handshake: false, ..TransportConfig::default() };
        let mut pair = Pair::new(PairConfig { server: server.clone(), ..config(mode, 1, vec![delay(10), delay(20)]) })?;
        pair.run_until_confirmed(secs(1))?;
        pair.run_until(|pair| open_paths(pair) == 2, secs(1))?;
        let mut pair = Pair::new(PairConfig { server, ..config(mode, 1, vec![delay(10), delay(20)]) })?;
        let now = pair.now();
        pair.network_mut().cut(now, FIRST, Directions::BToA);
        assert!(pair.run_until_confirmed(secs(9)).is_err(), "{mode:?}");
        assert_eq!(back(&pair, SECOND), 0, "{mode:?}: nothing goes to the other address");
    }
    Ok(())
}

// ---- what is told ----

/// multipath MP-97.
#[test]
fn every_attempt_leaves_a_trace() -> Result<(), Failure> {
    for mode in PARALLEL {
        let mut pair = pair(mode, 1, vec![delay(30), delay(10), delay(60)])?;
        pair.run_until_confirmed(secs(1))?;
        let attempts: Vec<_> = pair.client().connection().map(|connection| connection.attempts().collect()).unwrap_or_default();
        assert_eq!(attempts.iter().map(|attempt| attempt.state).collect::<Vec<_>>(), [AttemptState::Muted, AttemptState::Locked, AttemptState::Muted], "{mode:?}");
        assert!(attempts.iter().all(|attempt| attempt.first_sent_at == Some(qsim::Clock::START) && attempt.datagrams > 0 && attempt.bytes >= 1_200));
        assert_eq!(attempts[1].answered_at, Some(qsim::Clock::START + ms(20)), "{mode:?}");
        assert!(attempts[0].reason.contains("first"), "{mode:?}: {}", attempts[0].reason);
        let told = steps(&pair);
        for step in [(0, StepKind::Started), (1, StepKind::Answered), (1, StepKind::Locked), (2, StepKind::Muted)] {
            assert_eq!(told.iter().filter(|told| **told == step).count(), 1, "{mode:?}: {step:?} in {told:?}");
        }
        pair.run_until(|pair| open_paths(pair) == 3, secs(1))?;
        let usable = pair.client().news().iter().filter(|(_, event)| matches!(event, Event::Path(path) if path.kind == PathEventKind::Validated)).count();
        assert_eq!(usable, 2, "{mode:?}: each further path says when it is usable");
    }
    Ok(())
}

#[test]
fn steps_of_an_endless_handshake_are_told_in_a_bounded_number() -> Result<(), Failure> {
    let client = TransportConfig { handshake_timeout: Duration::ZERO, idle_timeout: Duration::ZERO, ..client(HandshakeMode::Race) };
    let mut pair = Pair::new(PairConfig { client, ..PairConfig::new(1, (0..8).map(|_| delay(10)).collect()) })?;
    (0..8).for_each(|link| pair.cut(LinkId(link)));
    pair.run_for(secs(3_600))?;
    assert_eq!(steps(&pair).len(), limits::HANDSHAKE_STEPS);
    Ok(())
}

// ---- loss ----

/// Every mode at every loss rate (attacks J1).
#[test]
fn every_mode_survives_loss_on_both_pairs() -> Result<(), Failure> {
    for mode in MODES {
        for percent in [1, 5, 10, 20, 30] {
            for_each_seed(0..12, |seed| {
                let rate = f64::from(percent) / 100.0;
                let loss = || if seed % 2 == 0 { LossModel::Independent(rate) } else { LossModel::bursty(rate, 2.0) };
                let patient = |transport: TransportConfig| TransportConfig { idle_timeout: secs(120), handshake_timeout: secs(120), ..transport };
                let links = vec![delay(10).losing(loss()), delay(10 + seed * 5).losing(loss()), delay(40).losing(loss())];
                let client = patient(client(mode));
                let mut pair = Pair::new(PairConfig { client, server: patient(TransportConfig::default()), ..PairConfig::new(seed, links) })?;
                pair.client_mut().traffic_mut().send(Bidirectional, 5_000);
                pair.run_until(|pair| pair.is_confirmed() && pair.is_all_delivered(), secs(100))
                    .map(|_| ())
                    .map_err(|failure| Failure::new(format!("{mode:?} at {percent} %: {failure}")))
            })?;
        }
    }
    Ok(())
}

/// A thousand in all.
#[test]
fn two_hundred_handshakes_of_each_mode_over_two_pairs() -> Result<(), Failure> {
    for mode in MODES {
        for_each_seed(0..200, |seed| pair(mode, seed, vec![delay(10), delay(10 + seed % 20)])?.run_until_confirmed(secs(1)).map(|_| ()))?;
    }
    Ok(())
}

/// Pairs may differ in both addresses and in IP version.
#[test]
fn pairs_of_both_ip_versions_race() -> Result<(), Failure> {
    for mode in ONE {
        for wins in [4, 6] {
            let mut pair = Pair::new(PairConfig { client: client(mode), paths: qsim::Paths::First, ..PairConfig::new(1, vec![delay(10)]) })?;
            let ip = |end: u16| std::net::IpAddr::V6(std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, end));
            let six = pair.network_mut().link(ip(1), ip(2), &delay(10));
            let four_tuple = FourTuple { local: (ip(1), qsim::pair::CLIENT_PORT).into(), remote: (ip(2), qsim::pair::SERVER_PORT).into() };
            let now = pair.now();
            let connection = pair.client_mut().connection_mut().ok_or_else(|| common::ends::failure("no connection"))?;
            connection.open_path(now, four_tuple, PathStatusKind::Available).map_err(common::ends::failure)?;
            pair.cut(if wins == 4 { six } else { FIRST });
            pair.run_until_confirmed(secs(5))?;
            let path = pair.client().connection().and_then(|connection| connection.path(PathId::ZERO));
            assert_eq!(path.map(|path| path.four_tuple.remote.is_ipv6()), Some(wins == 6), "{mode:?}");
            pair.restore(if wins == 4 { six } else { FIRST });
            pair.client_mut().traffic_mut().send(Unidirectional, 200_000);
            pair.run_until(|pair| pair.is_all_delivered() && open_paths(pair) == 2, secs(10))?;
        }
    }
    Ok(())
}

// ---- helpers ----

fn client(handshake: HandshakeMode) -> TransportConfig {
    TransportConfig { handshake, ..TransportConfig::default() }
}

fn config(mode: HandshakeMode, seed: u64, links: Vec<LinkShape>) -> PairConfig {
    PairConfig { client: client(mode), ..PairConfig::new(seed, links) }
}

fn pair(mode: HandshakeMode, seed: u64, links: Vec<LinkShape>) -> Result<Pair, Failure> {
    Pair::new(config(mode, seed, links))
}

/// A pair whose client has tickets for early data, between two connections.
fn resumable(mode: HandshakeMode, seed: u64, links: Vec<LinkShape>) -> Result<Pair, Failure> {
    let tls = qsim::pair::TlsSetup { early_data: true, ..qsim::pair::TlsSetup::default() };
    let mut pair = Pair::new(PairConfig { tls, ..config(mode, seed, links) })?;
    pair.finish_first()?;
    Ok(pair)
}

fn is_complete(pair: &Pair) -> bool {
    pair.client().connection().is_some_and(Connection::is_handshake_complete)
}

fn is_confirmed(pair: &Pair) -> bool {
    pair.is_confirmed()
}

fn complete_at(pair: &Pair) -> Duration {
    let at = pair.client().first(|event| *event == Event::HandshakeComplete);
    at.map_or(Duration::MAX, |at| at.saturating_since(qsim::Clock::START))
}

fn open_paths(pair: &Pair) -> usize {
    let open = |host: &Host| host.connection().map_or(0, |connection| connection.paths().filter(|path| path.state == PathState::Open).count());
    open(pair.client()).min(open(pair.server()))
}

fn connection_status(pair: &Pair, path: PathId) -> Option<PathStatusKind> {
    pair.client().connection().and_then(|connection| connection.path(path)).map(|path| path.status)
}

fn steps(pair: &Pair) -> Vec<(u8, StepKind)> {
    let step = |event: &Event| match event {
        Event::Handshake(step) => Some((step.attempt, step.kind)),
        _ => None,
    };
    pair.client().news().iter().filter_map(|(_, event)| step(event)).collect()
}
