//! The application's word on the peer while the handshake waits (attacks B16).

use qbase::{Direction::Unidirectional, ErrorCode, Role, limits};
use qconnection::{Connection, Event, TransportConfig, connection::{Verdict, events::ClosedBy}};
use qsim::{Failure, Host, Pair, PairConfig};

use crate::common;
use common::{delay, for_each_seed, ms, secs};

/// A pair in which this end is asked about the other.
fn asked(role: Role, seed: u64) -> Result<Pair, Failure> {
    let held = TransportConfig { hold_for_verdict: true, ..TransportConfig::default() };
    let mut config = PairConfig::new(seed, vec![delay(10)]);
    if role.is_client() {
        config.client = held;
    } else {
        config.server = held;
    }
    Pair::new(config)
}

fn was_asked(host: &Host) -> bool {
    host.first(|event| matches!(event, Event::VerdictWanted { .. })).is_some()
}

fn answer(pair: &mut Pair, role: Role, verdict: Verdict) {
    let now = pair.now();
    if let Some(connection) = pair.host_mut(role).connection_mut() {
        connection.verdict(now, verdict);
    }
}

fn is_complete(pair: &Pair, role: Role) -> bool {
    pair.host(role).connection().is_some_and(Connection::is_handshake_complete)
}

#[test]
fn a_client_that_waits_sends_no_finished_and_no_data() -> Result<(), Failure> {
    let mut pair = asked(Role::Client, 1)?;
    pair.client_mut().traffic_mut().send(Unidirectional, 10_000);
    pair.run_for(secs(3))?;
    assert!(was_asked(pair.client()));
    assert!(!is_complete(&pair, Role::Client) && !is_complete(&pair, Role::Server));
    assert_eq!(pair.server().traffic().received(), 0);
    let chain = pair.client().news().iter().find_map(|(_, event)| match event {
        Event::VerdictWanted { chain } => Some(chain.clone()),
        _ => None,
    });
    let shown = pair.tls().server.identity.as_ref().map(|identity| vec![identity.leaf().to_vec()]);
    assert_eq!(chain, shown);
    answer(&mut pair, Role::Client, Verdict::Accept);
    pair.run_until_delivered(ms(200))?;
    pair.run_until_confirmed(ms(200)).map(|_| ())
}

#[test]
fn a_server_that_waits_delivers_nothing_and_confirms_nothing() -> Result<(), Failure> {
    for_each_seed(0..20, |seed| {
        let mut pair = asked(Role::Server, seed)?;
        pair.client_mut().traffic_mut().send(Unidirectional, 3_000 + 5_000 * seed);
        pair.run_for(secs(3))?;
        assert!(was_asked(pair.server()), "seed {seed}");
        assert!(is_complete(&pair, Role::Client) && !is_complete(&pair, Role::Server), "seed {seed}");
        assert!(!pair.client().connection().is_some_and(Connection::is_confirmed), "seed {seed}: HANDSHAKE_DONE waits");
        assert_eq!(pair.server().traffic().received(), 0, "seed {seed}");
        answer(&mut pair, Role::Server, Verdict::Accept);
        pair.run_until_delivered(secs(5))?;
        pair.run_until_confirmed(secs(1)).map(|_| ())
    })
}

/// attacks B16.
#[test]
fn attack_b16_a_refused_peer_is_closed_with_0x12a() -> Result<(), Failure> {
    for role in [Role::Client, Role::Server] {
        let mut pair = asked(role, 2)?;
        pair.run_until(|pair| was_asked(pair.host(role)), secs(1))?;
        answer(&mut pair, role, Verdict::Refuse);
        pair.run_until(|pair| pair.host(role.peer()).ended().is_some(), secs(1))?;
        let end = pair.host(role.peer()).ended().map(|end| (end.by, end.code));
        assert_eq!(end, Some((ClosedBy::Peer, ErrorCode::crypto(42).0)), "{role:?}");
    }
    Ok(())
}

/// attacks B16.
#[test]
fn attack_b16_an_answer_that_never_comes_is_a_handshake_timeout_and_a_late_one_is_ignored() -> Result<(), Failure> {
    for role in [Role::Client, Role::Server] {
        let mut pair = asked(role, 3)?;
        pair.run_until(|pair| pair.host(role).ended().is_some(), secs(60))?;
        assert_eq!(pair.host(role).ended().map(|end| end.by), Some(ClosedBy::HandshakeTimeout), "{role:?}");
        assert!(pair.elapsed() <= limits::HANDSHAKE_TIMEOUT + ms(100), "{role:?}");
        answer(&mut pair, role, Verdict::Accept);
        assert!(!is_complete(&pair, role));
    }
    Ok(())
}

#[test]
fn answers_before_the_question_and_second_ones_change_nothing() -> Result<(), Failure> {
    let mut pair = asked(Role::Client, 4)?;
    answer(&mut pair, Role::Client, Verdict::Refuse);
    pair.run_until(|pair| was_asked(pair.client()), secs(1))?;
    answer(&mut pair, Role::Client, Verdict::Accept);
    answer(&mut pair, Role::Client, Verdict::Refuse);
    pair.run_until_confirmed(secs(1)).map(|_| ())
}

#[test]
fn a_ticket_stands_for_the_answer_given_before() -> Result<(), Failure> {
    let mut pair = asked(Role::Client, 5)?;
    pair.run_until(|pair| was_asked(pair.client()), secs(1))?;
    answer(&mut pair, Role::Client, Verdict::Accept);
    pair.finish_first()?;
    pair.redial()?;
    pair.run_until_confirmed(secs(1))?;
    assert!(!was_asked(pair.client()));
    Ok(())
}
