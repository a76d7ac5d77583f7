//! Retry and address tokens (RFC 9000 §8.1, §17.2.5; multipath MP-93; attacks A14, B1, B4).

use qbase::{Direction::Unidirectional, FourTuple, Role, VERSION_1, VERSION_2, limits};
use qconnection::{HandshakeMode, Connection, Event, RetryPolicy, TransportConfig, connection::events::ClosedBy};
use qsim::{Failure, Host, LinkDirection, LinkShape, LossModel, Pair, PairConfig, Random, Reorder};

use crate::common;
use common::{FIRST, SECOND, back, delay, for_each_seed, forth, ms, secs};

fn always(seed: u64, links: Vec<LinkShape>) -> PairConfig {
    PairConfig { retry: RetryPolicy::Always, ..PairConfig::new(seed, links) }
}

/// Long enough for many losses.
fn patient(config: PairConfig) -> PairConfig {
    let transport =
        TransportConfig { idle_timeout: secs(120), handshake_timeout: secs(120), ..TransportConfig::default() };
    PairConfig { client: transport.clone(), server: transport, ..config }
}

fn used_retry(host: &Host) -> bool {
    host.connection().is_some_and(Connection::used_retry)
}

fn retries(pair: &Pair) -> u64 {
    pair.server().endpoint().statistics().retries
}

fn token(host: &Host) -> Option<bytes::Bytes> {
    host.news().iter().find_map(|(_, event)| match event {
        Event::NewToken(token) => Some(token.clone()),
        _ => None,
    })
}

/// The token that a client got in a connection of these versions.
fn token_of(seed: u64, version: u32) -> Result<bytes::Bytes, Failure> {
    let versions = vec![version];
    let config = PairConfig::new(seed, vec![delay(10)]);
    let mut pair = Pair::new(PairConfig { client_versions: versions.clone(), server_versions: versions, ..config })?;
    pair.run_until(|pair| token(pair.client()).is_some(), secs(2))?;
    token(pair.client()).ok_or_else(|| Failure::new("no token".to_owned()))
}

/// Shows 9000-8.1.2-1, 9000-7.2-4, 9000-7.3-2 and 9000-17.2.5.1-3.
#[test]
fn a_retry_costs_one_round_trip_and_nothing_else() -> Result<(), Failure> {
    let mut pair = Pair::new(always(1, vec![delay(10)]))?;
    pair.client_mut().traffic_mut().send(Unidirectional, 50_000);
    let time = pair.run_until_confirmed(secs(1))?;
    assert_eq!(time, ms(60), "two round trips and the one for Retry");
    assert!(used_retry(pair.client()) && used_retry(pair.server()));
    assert_eq!(retries(&pair), 1);
    pair.run_until_delivered(secs(5)).map(|_| ())
}

#[test]
fn the_server_keeps_nothing_for_a_client_without_a_token() -> Result<(), Failure> {
    let mut pair = Pair::new(always(1, vec![delay(10)]))?;
    pair.run_until(|pair| retries(pair) == 1, secs(1))?;
    let server = pair.server().endpoint();
    let statistics = server.statistics();
    assert_eq!((server.len(), statistics.routes, statistics.half_open, statistics.reset_tokens), (0, 0, 0, 0));
    assert!(pair.server().sent().bytes * 3 < pair.server().sent().received_bytes, "a Retry is small");
    Ok(())
}

/// Shows 9000-8.1.3-16.
#[test]
fn after_a_retry_the_address_is_proved_from_the_first_datagram() -> Result<(), Failure> {
    let mut pair = Pair::new(always(1, vec![delay(10)]))?;
    pair.run_until(|pair| pair.server().connection().is_some(), secs(1))?;
    let paths: Vec<_> = pair.server().connection().map(|connection| connection.paths().collect()).unwrap_or_default();
    assert_eq!(paths.first().map(|path| path.amplification_credit), Some(u64::MAX));
    Ok(())
}

#[test]
fn retry_survives_loss_reordering_and_duplicates() -> Result<(), Failure> {
    for_each_seed(0..200, |seed| {
        let shape = LinkShape {
            jitter: ms(5),
            duplicate: 0.3,
            corrupt: 0.1,
            reorder: Some(Reorder { probability: 0.3, by: ms(60) }),
            ..delay(20).losing(LossModel::Independent(0.2))
        };
        let mut pair = Pair::new(patient(always(seed, vec![shape])))?;
        pair.client_mut().traffic_mut().send(Unidirectional, 5_000);
        pair.run_until_delivered(secs(110))?;
        assert!(used_retry(pair.server()), "seed {seed}");
        Ok(())
    })
}

#[test]
fn any_lost_datagram_only_delays_a_handshake_with_retry() -> Result<(), Failure> {
    for lost in 0..6 {
        for direction in [LinkDirection::AToB, LinkDirection::BToA] {
            let mut pair = Pair::new(always(lost, vec![delay(10)]))?;
            let now = pair.now();
            pair.network_mut().set(now, FIRST, &delay(10).losing(LossModel::list([lost])), direction.into());
            pair.run_until_confirmed(secs(5))?;
        }
    }
    Ok(())
}

/// multipath MP-92, MP-93.
#[test]
fn a_staggered_handshake_goes_on_with_the_pair_whose_retry_came_first() -> Result<(), Failure> {
    for_each_seed(0..20, |seed| {
        // The second pair starts after 150 ms and is answered first.
        let mut pair = Pair::new(always(seed, vec![delay(100), delay(10)]))?;
        pair.client_mut().traffic_mut().send(Unidirectional, 20_000);
        pair.run_until_delivered(secs(10))?;
        let path = pair.client().connection().and_then(|connection| connection.paths().next());
        assert_eq!(path.map(|path| path.four_tuple), Some(Pair::four_tuple(SECOND, Role::Client)), "seed {seed}");
        assert_eq!(retries(&pair), 2, "seed {seed}: each address got its own");
        Ok(())
    })
}

#[test]
fn a_dead_first_candidate_costs_a_staggered_handshake_with_retry_150_ms() -> Result<(), Failure> {
    for_each_seed(0..20, |seed| {
        let mut pair = Pair::new(always(seed, vec![delay(10), delay(20)]))?;
        pair.cut(FIRST);
        let time = pair.run_until_confirmed(secs(5))?;
        assert!(time <= ms(150 + 3 * 40 + 10), "seed {seed}: {time:?}");
        Ok(())
    })
}

#[test]
fn without_stagger_the_next_pair_is_tried_until_a_retry_comes() -> Result<(), Failure> {
    for_each_seed(0..20, |seed| {
        let client = TransportConfig { handshake: HandshakeMode::Single, ..TransportConfig::default() };
        let mut pair = Pair::new(PairConfig { client, ..always(seed, vec![delay(10), delay(20)]) })?;
        pair.cut(FIRST);
        pair.run_until_confirmed(secs(5))?;
        assert_eq!((forth(&pair, FIRST), back(&pair, FIRST)), (0, 0));
        Ok(())
    })
}

/// Shows 9000-8.1.3-1, 9000-8.1.3-9 and 9000-8.1.3-14.
#[test]
fn the_token_of_one_connection_saves_the_retry_of_the_next() -> Result<(), Failure> {
    let token = Some(token_of(1, VERSION_1)?);
    let mut pair = Pair::new(PairConfig { token, ..always(1, vec![delay(10)]) })?;
    let time = pair.run_until_confirmed(secs(1))?;
    assert_eq!((time, retries(&pair), used_retry(pair.client())), (ms(40), 0, false));
    Ok(())
}

/// Shows 9369-tls-resumption-and-new-token-tokens-1.
#[test]
fn a_token_is_not_used_for_another_version() -> Result<(), Failure> {
    let token = Some(token_of(1, VERSION_2)?);
    let config = PairConfig { token, client_versions: vec![VERSION_1], ..always(1, vec![delay(10)]) };
    let mut pair = Pair::new(config)?;
    pair.run_until_confirmed(secs(1))?;
    assert_eq!(retries(&pair), 1);
    Ok(())
}

/// Shows 9000-8.1.3-15.
#[test]
fn attack_b4_a_bad_token_of_a_frame_is_as_good_as_none() -> Result<(), Failure> {
    let good = token_of(1, VERSION_1)?;
    for at in 4..good.len() {
        let mut bad = good.to_vec();
        if let Some(byte) = bad.get_mut(at) {
            *byte ^= 0x40;
        }
        let mut pair = Pair::new(PairConfig { token: Some(bad.into()), ..PairConfig::new(1, vec![delay(10)]) })?;
        assert_eq!(pair.run_until_confirmed(secs(1))?, ms(40), "byte {at}");
        assert!(!used_retry(pair.server()));
    }
    // Of another server, and far too long to be carried.
    for other in [token_of(2, VERSION_1)?, vec![0; 4_000].into()] {
        let mut pair = Pair::new(PairConfig { token: Some(other), ..always(1, vec![delay(10)]) })?;
        pair.run_until_confirmed(secs(1))?;
        assert_eq!(retries(&pair), 1);
    }
    Ok(())
}

#[test]
fn new_tokens_arrive_whatever_is_lost() -> Result<(), Failure> {
    for_each_seed(0..50, |seed| {
        let lossy = delay(10).losing(LossModel::Independent(0.3));
        let mut pair = Pair::new(patient(PairConfig::new(seed, vec![lossy])))?;
        pair.run_until(|pair| token(pair.client()).is_some(), secs(60)).map(|_| ())
    })
}

// ---- forged Retries ----

/// A datagram of the server to the client: addresses as the client sees them.
fn to_client() -> FourTuple {
    Pair::four_tuple(FIRST, Role::Client)
}

/// The header of the client's first Initial, caught on its way.
fn first_initial(pair: &mut Pair) -> Result<qbase::packet::ProtectedHeader, Failure> {
    pair.network_mut().keep_payloads();
    pair.step()?;
    let bytes = pair.network().kept().first().map(|(_, bytes)| bytes.clone()).unwrap_or_default();
    qbase::packet::ProtectedHeader::parse(&bytes, limits::LOCAL_CID_LEN).map_err(|error| Failure::new(error.to_string()))
}

/// A Retry for the client with this token and id; its tag is right.
fn retry(version: u32, initial: &qbase::packet::ProtectedHeader, scid: &[u8], token: &[u8]) -> Vec<u8> {
    let mut buffer = vec![0; 2_000];
    let mut writer = qbase::Writer::new(&mut buffer);
    let scid = qbase::ConnectionId::new(scid).unwrap_or_default();
    qbase::packet::retry::write(&mut writer, version, &initial.scid, &scid, token);
    let tag = qcrypto::retry_tag(version, &initial.dcid, writer.written());
    writer.bytes(&tag);
    let len = writer.len();
    buffer.truncate(len);
    buffer
}

/// Shows 9000-17.2.5.1-2, 9000-17.2.5.2-2, 9000-17.2.5.2-3, 9000-17.2.5.2-4 and
/// 9369-compatible-negotiation-requirements-1.
#[test]
fn attack_a14_forged_retries_change_nothing() -> Result<(), Failure> {
    let mut random = Random::new(3);
    let mut pair = Pair::new(PairConfig::new(1, vec![delay(10)]))?;
    let initial = first_initial(&mut pair)?;
    let own_id = initial.dcid;
    let mut forged = vec![
        retry(VERSION_1, &initial, own_id.as_bytes(), b"token"),
        retry(VERSION_1, &initial, b"serverid", b""),
        retry(VERSION_2, &initial, b"serverid", b"token"),
        retry(VERSION_1, &initial, b"serverid", &vec![7; limits::TOKEN_LEN + 1]),
    ];
    for _ in 0..64 {
        let mut wrong_tag = retry(VERSION_1, &initial, b"serverid", b"token");
        let bit = usize::try_from(random.below(8 * wrong_tag.len() as u64)).unwrap_or_default();
        if let Some(byte) = wrong_tag.get_mut(bit / 8) {
            *byte ^= 1 << (bit % 8);
        }
        forged.push(wrong_tag);
    }
    for mut packet in forged {
        pair.inject_from(Role::Client, to_client(), &mut packet);
    }
    let mut elsewhere = retry(VERSION_1, &initial, b"serverid", b"token");
    pair.inject_from(Role::Client, FourTuple { remote: ([203, 0, 113, 5], 4_433).into(), ..to_client() }, &mut elsewhere);
    assert!(!used_retry(pair.client()));
    assert_eq!(pair.run_until_confirmed(secs(1))?, ms(40));
    let mut late = retry(VERSION_1, &initial, b"serverid", b"token");
    pair.inject_from(Role::Client, to_client(), &mut late);
    pair.run_for(secs(1))?;
    assert!(pair.is_confirmed() && pair.client().ended().is_none() && !used_retry(pair.client()));
    Ok(())
}

/// Shows 9000-17.2.5.2-1 and, by the packets an observer sees, 9000-17.2.5.2-5 and 9000-17.2.5.3-4.
#[test]
fn after_a_retry_id_and_numbers_go_on() -> Result<(), Failure> {
    let mut pair = Pair::new(always(1, vec![delay(10)]))?;
    let first = first_initial(&mut pair)?;
    pair.run_until_confirmed(secs(1))?;
    let server = Pair::four_tuple(FIRST, Role::Server);
    let mut sent = pair.network().kept().iter().filter(|(four_tuple, _)| *four_tuple == server).map(|(_, bytes)| bytes.clone());
    let mut again = sent.nth(1).unwrap_or_default();
    let header = qbase::packet::ProtectedHeader::parse(&again, limits::LOCAL_CID_LEN)
        .map_err(|error| Failure::new(error.to_string()))?;
    assert_eq!(header.scid, first.scid);
    assert_ne!(header.dcid, first.dcid);
    let keys = qcrypto::Keys::initial(VERSION_1, &header.dcid, Role::Server);
    let len = keys.remote.header.unprotect(&mut again, header.pn_offset).unwrap_or_default();
    let number = qbase::packet::number::read(&again, header.pn_offset, len).unwrap_or_default();
    assert!(number > 0, "packet 0 was the one before the Retry");
    Ok(())
}

/// Shows 9000-17.2.5.2-1: one Retry, whatever comes after it.
#[test]
fn attack_a14_a_second_retry_is_ignored() -> Result<(), Failure> {
    let mut pair = Pair::new(always(1, vec![delay(10)]))?;
    let initial = first_initial(&mut pair)?;
    pair.run_until(|pair| used_retry(pair.client()), secs(1))?;
    let mut second = retry(VERSION_1, &initial, b"serverid", b"token");
    pair.inject_from(Role::Client, to_client(), &mut second);
    assert!(pair.run_until_confirmed(secs(1))? <= ms(60));
    Ok(())
}

/// Shows 9000-7.3-4: a Retry that the server did not send is found out by its parameters (attacks B7).
#[test]
fn attack_b7_a_retry_of_an_observer_ends_the_handshake() -> Result<(), Failure> {
    let config = PairConfig { retry: RetryPolicy::Never, ..PairConfig::new(1, vec![delay(10)]) };
    let mut pair = Pair::new(config)?;
    let initial = first_initial(&mut pair)?;
    let mut forged = retry(VERSION_1, &initial, b"observer", b"its token");
    pair.inject_from(Role::Client, to_client(), &mut forged);
    pair.run_until(|pair| pair.client().ended().is_some(), secs(20))?;
    let end = pair.client().ended().cloned();
    let code = end.map(|end| (end.by, end.code));
    assert_eq!(code, Some((ClosedBy::Local, qbase::ErrorCode::TRANSPORT_PARAMETER_ERROR.0)));
    Ok(())
}
