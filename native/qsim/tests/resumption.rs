//! Tickets, identities and ciphers through whole handshakes (RFC 9001 §4.5; attacks B16, L18).

use std::sync::{Arc, mpsc};

use qbase::{Direction::Bidirectional, ErrorCode, Role};
use qconnection::{Connection, TransportConfig, connection::{State, events::{ClosedBy, Layer}}};
use qcrypto::{Cipher, ClientAuth, KeyLog, Resumption, Roots, ServerSessions, Verify};
use qsim::{Failure, LinkDirection, Pair, PairConfig, pair::{SERVER_NAME, TlsSetup, server_identity}};

use crate::common;
use common::{FIRST, delay, for_each_seed, ms, secs};

fn pair(seed: u64) -> Result<Pair, Failure> {
    Pair::new(PairConfig::new(seed, vec![delay(10)]))
}

fn is_resumed(pair: &Pair, role: Role) -> bool {
    pair.host(role).connection().is_some_and(Connection::is_resumed)
}

fn offered(pair: &Pair, direction: LinkDirection) -> u64 {
    pair.network().statistics(FIRST, direction).offered
}

#[test]
fn the_second_connection_to_a_server_is_resumed() -> Result<(), Failure> {
    let mut pair = pair(1)?;
    pair.finish_first()?;
    pair.redial()?;
    assert_eq!(pair.run_until_confirmed(secs(1))?, ms(40));
    assert!(is_resumed(&pair, Role::Client) && is_resumed(&pair, Role::Server));
    Ok(())
}

#[test]
fn tickets_last_for_many_connections_one_after_the_other() -> Result<(), Failure> {
    let mut pair = pair(2)?;
    let key = format!("{SERVER_NAME}:{}|qsim", qsim::pair::SERVER_PORT);
    pair.finish_first()?;
    for round in 0..10 {
        pair.redial()?;
        pair.client_mut().traffic_mut().send(Bidirectional, 3_000);
        pair.run_until_delivered(secs(1))?;
        assert!(is_resumed(&pair, Role::Client), "round {round}");
        pair.finish_first()?;
        let sessions = pair.tls().client.sessions.clone();
        let kept = sessions.map_or(0, |sessions| sessions.tickets(&key));
        assert!((1..=qbase::limits::TICKETS_PER_NAME).contains(&kept), "round {round}: {kept} tickets");
    }
    Ok(())
}

#[test]
fn a_server_that_forgot_or_gives_no_tickets_makes_full_handshakes() -> Result<(), Failure> {
    let mut forgetful = pair(3)?;
    forgetful.finish_first()?;
    forgetful.set_tls(|tls| tls.server.sessions = Some(ServerSessions::new()))?;
    forgetful.redial()?;
    forgetful.run_until_confirmed(secs(1))?;
    assert!(!is_resumed(&forgetful, Role::Client));

    let tls = TlsSetup { resumption: Resumption::Off, ..TlsSetup::default() };
    let mut plain = Pair::new(PairConfig { tls, ..PairConfig::new(4, vec![delay(10)]) })?;
    plain.finish_first()?;
    plain.redial()?;
    plain.run_until_confirmed(secs(1))?;
    assert!(!is_resumed(&plain, Role::Client));
    Ok(())
}

#[test]
fn resumption_survives_loss() -> Result<(), Failure> {
    for_each_seed(0..60, |seed| {
        let mut pair = Pair::new(PairConfig::new(seed, vec![delay(10).with_loss(0.1)]))?;
        pair.run_until_confirmed(secs(30))?;
        pair.run_for(secs(3))?;
        pair.hang_up()?;
        pair.redial()?;
        pair.client_mut().traffic_mut().send(Bidirectional, 20_000);
        pair.run_until_delivered(secs(30))?;
        assert!(is_resumed(&pair, Role::Client), "seed {seed}: tickets are repeated until they arrive");
        Ok(())
    })
}

#[test]
fn resumed_connections_of_one_seed_leave_one_trace() -> Result<(), Failure> {
    for_each_seed(0..20, |seed| {
        let run = || {
            let mut pair = Pair::new(PairConfig::new(seed, vec![delay(10).with_loss(0.05)]))?;
            pair.finish_first()?;
            pair.redial()?;
            pair.client_mut().traffic_mut().send(Bidirectional, 20_000);
            pair.run_until_delivered(secs(30))?;
            Ok::<_, Failure>(pair.trace_hash())
        };
        assert_eq!(run()?, run()?, "seed {seed}");
        Ok(())
    })
}

#[test]
fn a_new_certificate_is_for_new_connections_and_old_ones_live() -> Result<(), Failure> {
    let mut pair = pair(5)?;
    pair.run_until_confirmed(secs(1))?;
    let leaf = |connection: &Connection| connection.tls().peer_certificates().into_iter().next();
    let old = pair.client().connection().and_then(leaf);
    let first = pair.client().endpoint().handles().next().ok_or_else(|| common::ends::failure("no connection"))?;
    let (identity, pin) = server_identity(&[77; 32]).map_err(common::ends::failure)?;
    let fresh = identity.leaf().to_vec();
    pair.set_tls(|tls| {
        tls.client.pins.push(pin);
        tls.server.identity = Some(identity);
    })?;
    pair.redial()?;
    pair.run_until_confirmed(secs(1))?;
    assert_eq!(pair.client().connection().and_then(leaf), Some(fresh));
    pair.run_for(secs(1))?;
    let first = pair.client().endpoint().connection(first);
    assert_eq!(first.map(Connection::state), Some(State::Open), "the connection of before goes on");
    assert_eq!(first.and_then(leaf), old);
    Ok(())
}

#[test]
fn a_ticket_stays_good_when_the_certificate_changes_and_the_store_does_not() -> Result<(), Failure> {
    let mut pair = pair(6)?;
    pair.finish_first()?;
    let (identity, _) = server_identity(&[78; 32]).map_err(common::ends::failure)?;
    pair.set_tls(|tls| tls.server.identity = Some(identity))?;
    pair.redial()?;
    pair.run_until_confirmed(secs(1))?;
    assert!(is_resumed(&pair, Role::Client), "the client never sees the certificate that its pin would refuse");
    Ok(())
}

#[test]
fn every_cipher_carries_a_whole_connection() -> Result<(), Failure> {
    for cipher in Cipher::ALL {
        let tls = TlsSetup { ciphers: vec![cipher], ..TlsSetup::default() };
        let links = vec![delay(5), delay(9)];
        let mut pair = Pair::new(PairConfig { tls, ..PairConfig::new(7, links) })?;
        pair.client_mut().traffic_mut().send(Bidirectional, 200_000);
        pair.server_mut().traffic_mut().reply_with(200_000);
        pair.run_until_delivered(secs(10))?;
        for role in [Role::Client, Role::Server] {
            let chosen = pair.host(role).connection().and_then(|connection| connection.tls().cipher());
            assert_eq!(chosen, Some(cipher), "{role:?}");
        }
    }
    Ok(())
}

#[test]
fn the_server_sees_the_clients_certificate_also_when_a_ticket_stands_for_it() -> Result<(), Failure> {
    let mut pair = pair(8)?;
    pair.finish_first()?;
    let (identity, pin) = server_identity(&[79; 32]).map_err(common::ends::failure)?;
    let leaf = identity.leaf().to_vec();
    pair.set_tls(|tls| {
        tls.client.identity = Some(identity);
        (tls.server.client_auth, tls.server.roots, tls.server.pins) = (ClientAuth::Require, Roots::None, vec![pin]);
    })?;
    for resumed in [false, true] {
        pair.redial()?;
        pair.run_until_confirmed(secs(1))?;
        let connection = pair.server().connection();
        assert_eq!(connection.map(Connection::is_resumed), Some(resumed), "tickets of before the change are worth nothing");
        assert_eq!(connection.map(|connection| connection.tls().peer_certificates()), Some(vec![leaf.clone()]));
        pair.finish_first()?;
    }
    Ok(())
}

/// attacks B16.
#[test]
fn attack_b16_a_client_without_the_demanded_certificate_is_closed_with_0x174() -> Result<(), Failure> {
    let mut pair = pair(9)?;
    pair.finish_first()?;
    pair.set_tls(|tls| (tls.server.client_auth, tls.server.verify) = (ClientAuth::Require, Verify::None))?;
    pair.redial()?;
    pair.run_until(|pair| pair.client().ended().is_some(), secs(5))?;
    let end = pair.client().ended().map(|end| (end.by, end.layer, end.code));
    assert_eq!(end, Some((ClosedBy::Peer, Layer::Transport, ErrorCode::crypto(116).0)));
    Ok(())
}

#[test]
fn a_key_log_lists_all_secrets_of_a_resumed_connection_with_early_data() -> Result<(), Failure> {
    let (sender, log) = mpsc::channel();
    let keylog: KeyLog = Arc::new(move |line: &str| drop(sender.send(line.to_owned())));
    let tls = TlsSetup { early_data: true, keylog: Some(keylog), ..TlsSetup::default() };
    let mut pair = Pair::new(PairConfig { tls, ..PairConfig::new(10, vec![delay(10)]) })?;
    pair.finish_first()?;
    let _ = log.try_iter().count();
    pair.redial()?;
    pair.client_mut().traffic_mut().send(Bidirectional, 100);
    pair.run_until_delivered(secs(1))?;
    let lines: Vec<String> = log.try_iter().collect();
    for label in [
        "CLIENT_EARLY_TRAFFIC_SECRET",
        "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
        "SERVER_HANDSHAKE_TRAFFIC_SECRET",
        "CLIENT_TRAFFIC_SECRET_0",
        "SERVER_TRAFFIC_SECRET_0",
    ] {
        let found = lines.iter().filter(|line| line.split(' ').next() == Some(label)).count();
        assert_eq!(found, 2, "{label}: once at each end");
    }
    Ok(())
}

#[test]
fn a_resumed_handshake_is_one_datagram_each_way() -> Result<(), Failure> {
    let mut pair = pair(11)?;
    pair.finish_first()?;
    pair.redial()?;
    let before = offered(&pair, LinkDirection::BToA);
    pair.run_until(|pair| pair.client().connection().is_some_and(Connection::is_handshake_complete), secs(1))?;
    assert_eq!(offered(&pair, LinkDirection::BToA) - before, 1);
    Ok(())
}

/// The server's limits may change between connections; without early data a ticket of larger ones means a full
/// handshake.
#[test]
fn a_ticket_of_larger_limits_is_not_redeemed() -> Result<(), Failure> {
    let mut pair = pair(12)?;
    pair.finish_first()?;
    pair.set_server_transport(TransportConfig { stream_window: 1_000, ..TransportConfig::default() });
    pair.redial()?;
    pair.run_until_confirmed(secs(1))?;
    assert!(!is_resumed(&pair, Role::Client));
    Ok(())
}
