//! Versions 1 and 2 of QUIC, and how two ends find one (RFC 9000 §6, RFC 9368, RFC 9369; attacks A11 to A13, B17, B18).

use qbase::{
    ConnectionId, Direction::Unidirectional, ErrorCode, FourTuple, Role, VERSION_1, VERSION_2, Writer, limits,
    packet::{ProtectedHeader, version_negotiation},
    version,
};
use qconnection::{Connection, RetryPolicy, TransportConfig, connection::events::ClosedBy};
use qsim::{Failure, Host, LinkShape, LossModel, Pair, PairConfig, Reorder};

use crate::common;
use common::{FIRST, SECOND, delay, for_each_seed, ms, secs};

const BOTH: [u32; 2] = [VERSION_1, VERSION_2];

fn versions(seed: u64, client: &[u32], server: &[u32]) -> PairConfig {
    let config = PairConfig::new(seed, vec![delay(10)]);
    PairConfig { client_versions: client.to_vec(), server_versions: server.to_vec(), ..config }
}

fn version_of(host: &Host) -> Option<u32> {
    host.connection().map(Connection::version)
}

/// Both ends finish and move data in this version; returns how long the handshake took.
fn finish(pair: &mut Pair, version: u32) -> Result<std::time::Duration, Failure> {
    let time = pair.run_until_confirmed(secs(30))?;
    assert_eq!((version_of(pair.client()), version_of(pair.server())), (Some(version), Some(version)));
    pair.client_mut().traffic_mut().send(Unidirectional, 20_000);
    pair.server_mut().traffic_mut().send(Unidirectional, 20_000);
    pair.run_until_delivered(secs(60))?;
    Ok(time)
}

/// RFC 9000 §6.3: a reserved version draws the server's list.
#[test]
fn a_reserved_first_version_is_answered_with_the_versions_of_the_server() -> Result<(), Failure> {
    for (server, version) in [(BOTH.as_slice(), VERSION_1), (&[VERSION_2], VERSION_2)] {
        let config = PairConfig { first_version: Some(version::reserved(0)), ..versions(1, &BOTH, server) };
        // One round trip more than without.
        assert_eq!(finish(&mut Pair::new(config)?, version)?, ms(60));
    }
    Ok(())
}

#[test]
fn two_ends_that_speak_version_2_only_speak_it() -> Result<(), Failure> {
    let mut pair = Pair::new(versions(1, &[VERSION_2], &[VERSION_2]))?;
    assert_eq!(finish(&mut pair, VERSION_2)?, ms(40));
    Ok(())
}

#[test]
fn the_client_keeps_its_version_where_the_server_does_not_prefer_another() -> Result<(), Failure> {
    for (client, server, version) in
        [(BOTH, BOTH, VERSION_1), ([VERSION_2, VERSION_1], [VERSION_2, VERSION_1], VERSION_2)]
    {
        let mut pair = Pair::new(versions(1, &client, &server))?;
        assert_eq!(finish(&mut pair, version)?, ms(40));
    }
    Ok(())
}

/// Shows 9369-compatible-negotiation-requirements-5, 9369-compatible-negotiation-requirements-8 and
/// 9368-compatible-version-negotiation-compat-vn-1.
#[test]
fn a_server_that_prefers_another_version_changes_to_it_without_a_round_trip() -> Result<(), Failure> {
    for (first, preferred) in [(VERSION_1, VERSION_2), (VERSION_2, VERSION_1)] {
        let mut pair = Pair::new(versions(1, &[first, preferred], &[preferred, first]))?;
        pair.network_mut().keep_payloads();
        assert_eq!(finish(&mut pair, preferred)?, ms(40), "to {preferred:x}");
        let to_client = Pair::four_tuple(FIRST, Role::Client);
        let long = |bytes: &[u8]| bytes.first().is_some_and(|first| first & 0x80 != 0);
        let version = |bytes: &[u8]| bytes.get(1..5).map(<[u8]>::to_vec);
        for (four_tuple, bytes) in pair.network().kept().iter().filter(|(_, bytes)| long(bytes)).skip(1) {
            assert_eq!(version(bytes), Some(preferred.to_be_bytes().to_vec()), "{:?}", *four_tuple == to_client);
        }
    }
    Ok(())
}

#[test]
fn a_client_that_offers_one_version_is_not_led_to_another() -> Result<(), Failure> {
    let mut pair = Pair::new(versions(1, &[VERSION_1], &[VERSION_2, VERSION_1]))?;
    assert_eq!(finish(&mut pair, VERSION_1)?, ms(40));
    Ok(())
}

#[test]
fn a_change_of_version_survives_loss_reordering_and_damage() -> Result<(), Failure> {
    for_each_seed(0..200, |seed| {
        let shape = LinkShape {
            jitter: ms(5),
            duplicate: 0.3,
            corrupt: 0.1,
            reorder: Some(Reorder { probability: 0.4, by: ms(60) }),
            ..delay(20).losing(LossModel::Independent(0.15))
        };
        let transport =
            TransportConfig { idle_timeout: secs(120), handshake_timeout: secs(120), ..TransportConfig::default() };
        let config = versions(seed, &BOTH, &[VERSION_2, VERSION_1]);
        let config = PairConfig { links: vec![shape], client: transport.clone(), server: transport, ..config };
        finish(&mut Pair::new(config)?, VERSION_2).map(|_| ())
    })
}

/// Shows 9369-compatible-negotiation-requirements-4.
#[test]
fn a_change_of_version_comes_after_a_retry_in_the_first_version() -> Result<(), Failure> {
    let config = versions(1, &BOTH, &[VERSION_2, VERSION_1]);
    let mut pair = Pair::new(PairConfig { retry: RetryPolicy::Always, ..config })?;
    assert_eq!(finish(&mut pair, VERSION_2)?, ms(60));
    assert!(pair.client().connection().is_some_and(Connection::used_retry));
    Ok(())
}

#[test]
fn keys_of_a_changed_version_can_be_updated() -> Result<(), Failure> {
    let client = TransportConfig { confidentiality_limit: Some(1_200), ..TransportConfig::default() };
    let mut pair = Pair::new(PairConfig { client, links: vec![delay(5).at_rate(20_000_000)], ..versions(1, &BOTH, &[VERSION_2, VERSION_1]) })?;
    pair.client_mut().traffic_mut().send(Unidirectional, 5_000_000);
    pair.run_until_delivered(secs(30))?;
    assert!(pair.client().connection().is_some_and(|connection| connection.statistics().key_updates > 1));
    Ok(())
}

/// Shows 9368-incompatible-version-negotiation-incompat-vn-3 and 9368-incompatible-version-negotiation-incompat-vn-5.
#[test]
fn a_version_the_server_does_not_accept_costs_one_round_trip() -> Result<(), Failure> {
    for (first, other) in [(VERSION_1, VERSION_2), (VERSION_2, VERSION_1)] {
        for retry in [RetryPolicy::Never, RetryPolicy::Always] {
            let mut pair = Pair::new(PairConfig { retry, ..versions(1, &[first, other], &[other]) })?;
            let expected = if retry == RetryPolicy::Always { ms(80) } else { ms(60) };
            assert_eq!(finish(&mut pair, other)?, expected, "{first:x}, {retry:?}");
            assert_eq!(pair.server().endpoint().statistics().version_negotiations, 1);
        }
    }
    Ok(())
}

#[test]
fn version_negotiation_survives_stagger_loss_and_reordering() -> Result<(), Failure> {
    for_each_seed(0..50, |seed| {
        let shape = LinkShape { reorder: Some(Reorder { probability: 0.3, by: ms(60) }), ..delay(20) };
        let links = vec![shape.clone().losing(LossModel::Independent(0.2)), delay(40)];
        let transport =
            TransportConfig { idle_timeout: secs(120), handshake_timeout: secs(120), ..TransportConfig::default() };
        let config = versions(seed, &[VERSION_2, VERSION_1], &[VERSION_1]);
        let config = PairConfig { links, client: transport.clone(), server: transport, ..config };
        finish(&mut Pair::new(config)?, VERSION_1).map(|_| ())
    })
}

#[test]
fn in_stagger_the_pair_of_version_negotiation_is_that_of_the_handshake() -> Result<(), Failure> {
    let config = versions(1, &[VERSION_2, VERSION_1], &[VERSION_1]);
    let mut pair = Pair::new(PairConfig { links: vec![delay(200), delay(10)], ..config })?;
    finish(&mut pair, VERSION_1)?;
    let path = pair.client().connection().and_then(|connection| connection.paths().next());
    assert_eq!(path.map(|path| path.four_tuple), Some(Pair::four_tuple(SECOND, Role::Client)));
    Ok(())
}

/// Shows 9368-incompatible-version-negotiation-incompat-vn-4.
#[test]
fn without_a_common_version_the_attempt_ends_at_once() -> Result<(), Failure> {
    let mut pair = Pair::new(versions(1, &[VERSION_2], &[VERSION_1]))?;
    pair.run_until(|pair| pair.client().ended().is_some(), secs(1))?;
    assert_eq!(pair.client().ended().map(|end| end.by), Some(ClosedBy::Version));
    pair.run_until(|pair| pair.client().endpoint().is_empty(), secs(1))?;
    assert!(pair.server().endpoint().is_empty());
    Ok(())
}

// ---- forged Version Negotiation ----

/// What an observer of the client's first Initial can forge: a list of versions with these ids.
fn forge(dcid: &[u8], scid: &[u8], versions: &[u32]) -> Vec<u8> {
    let mut buffer = vec![0; 600];
    let mut writer = Writer::new(&mut buffer);
    version_negotiation::write(&mut writer, 0, dcid, scid, versions);
    let len = writer.len();
    buffer.truncate(len);
    buffer
}

fn first_initial(pair: &mut Pair) -> Result<ProtectedHeader, Failure> {
    pair.network_mut().keep_payloads();
    pair.step()?;
    let bytes = pair.network().kept().first().map(|(_, bytes)| bytes.clone()).unwrap_or_default();
    ProtectedHeader::parse(&bytes, limits::LOCAL_CID_LEN).map_err(|error| Failure::new(error.to_string()))
}

fn inject(pair: &mut Pair, mut bytes: Vec<u8>) {
    pair.inject_from(Role::Client, Pair::four_tuple(FIRST, Role::Client), &mut bytes);
}

/// Shows 9000-6.2-2, 9000-6.2-3 and 9368-version-downgrade-prevention-downgrade-1.
#[test]
fn attack_a13_forged_version_negotiation_changes_nothing() -> Result<(), Failure> {
    let mut pair = Pair::new(versions(1, &BOTH, &BOTH))?;
    let initial = first_initial(&mut pair)?;
    let (ours, theirs) = (initial.scid, initial.dcid);
    let other = ConnectionId::new(b"other-id").unwrap_or_default();
    let unknown = [version::reserved(1), 0xff00_001d];
    inject(&mut pair, forge(ours.as_bytes(), theirs.as_bytes(), &[VERSION_2, VERSION_1]));
    inject(&mut pair, forge(ours.as_bytes(), theirs.as_bytes(), &[]));
    for cut in 1..4 {
        let mut bytes = forge(ours.as_bytes(), theirs.as_bytes(), &unknown);
        bytes.truncate(bytes.len() - cut);
        inject(&mut pair, bytes);
    }
    inject(&mut pair, forge(ours.as_bytes(), other.as_bytes(), &unknown));
    let mut elsewhere = forge(ours.as_bytes(), theirs.as_bytes(), &unknown);
    let from = FourTuple { remote: ([203, 0, 113, 5], 4_433).into(), ..Pair::four_tuple(FIRST, Role::Client) };
    pair.inject_from(Role::Client, from, &mut elsewhere);
    assert_eq!(pair.run_until_confirmed(secs(1))?, ms(40));
    inject(&mut pair, forge(ours.as_bytes(), theirs.as_bytes(), &unknown));
    pair.run_for(secs(1))?;
    assert!(pair.is_confirmed() && pair.client().ended().is_none());
    Ok(())
}

/// Shows 9368-version-downgrade-prevention-downgrade-15 and 9368-version-downgrade-prevention-downgrade-16.
#[test]
fn attack_b17_a_downgrade_by_forged_version_negotiation_is_found_out() -> Result<(), Failure> {
    let mut pair = Pair::new(versions(1, &[VERSION_2, VERSION_1], &[VERSION_2, VERSION_1]))?;
    let initial = first_initial(&mut pair)?;
    inject(&mut pair, forge(initial.scid.as_bytes(), initial.dcid.as_bytes(), &[VERSION_1]));
    assert_eq!(version_of(pair.client()), Some(VERSION_1), "the client reacts: it cannot know");
    pair.run_until(|pair| pair.client().ended().is_some(), secs(20))?;
    let end = pair.client().ended().map(|end| (end.by, end.code));
    assert_eq!(end, Some((ClosedBy::Local, ErrorCode::VERSION_NEGOTIATION_ERROR.0)));
    Ok(())
}

/// Shows 9368-version-downgrade-prevention-downgrade-2.
#[test]
fn a_second_version_negotiation_is_ignored() -> Result<(), Failure> {
    let mut pair = Pair::new(versions(1, &[VERSION_2, VERSION_1], &[VERSION_1]))?;
    let initial = first_initial(&mut pair)?;
    pair.run_until(|pair| version_of(pair.client()) == Some(VERSION_1), secs(1))?;
    for dcid in [initial.dcid, pair.client().connection().map(Connection::original_dcid).unwrap_or_default()] {
        inject(&mut pair, forge(initial.scid.as_bytes(), dcid.as_bytes(), &[VERSION_2]));
    }
    finish(&mut pair, VERSION_1).map(|_| ())
}

/// Shows 9000-6.1-1 and 9368-incompatible-version-negotiation-incompat-vn-6.
#[test]
fn attack_a12_version_negotiation_to_a_server_is_dropped() -> Result<(), Failure> {
    let mut pair = Pair::new(versions(1, &BOTH, &BOTH))?;
    pair.run_until_confirmed(secs(1))?;
    let sent = pair.server().sent().datagrams;
    for len in [0, 4, 1_200] {
        let mut bytes = forge(b"somebody", b"somebody", &[VERSION_1]);
        bytes.resize(bytes.len() + len, 1);
        pair.inject(Role::Server, FIRST, &mut bytes);
    }
    pair.run_for(ms(100))?;
    assert_eq!(pair.server().sent().datagrams, sent);
    Ok(())
}
