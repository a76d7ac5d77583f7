//! MUSTs about Retry, tokens, resets and versions on the wire of two honest ends, and of a client whose server lies
//! (docs/compliance).

use qbase::{
    ErrorCode, FourTuple, PathId, Role, VERSION_1, VERSION_2,
    frame::Frame,
    limits::LOCAL_CID_LEN,
    packet::{FixedBit, PacketType, ProtectedHeader},
    param::{TransportParameters, VersionInformation},
};
use qconnection::{Connection, Event, RetryPolicy};
use qcrypto::Keys;
use qsim::{Failure, LossModel, Pair, PairConfig};

use crate::common;
use common::{
    FIRST, delay,
    evil::{
        arena::{Arena, Setup},
        encode,
        stage::{Act, Play, Stage},
        wire,
    },
    secs,
};

/// A packet that an observer can open: the token in its header, its number and its CRYPTO bytes from offset 0.
#[derive(Clone, Debug)]
struct Seen {
    header: ProtectedHeader,
    token: Vec<u8>,
    number: u64,
    hello: Vec<u8>,
}

fn is_from(role: Role, four_tuple: &FourTuple) -> bool {
    *four_tuple == Pair::four_tuple(FIRST, role.peer())
}

/// The first packet of each long-header datagram that one end sent.
fn headers(pair: &Pair, role: Role) -> Vec<(ProtectedHeader, Vec<u8>)> {
    let of = pair.network().kept().iter().filter(|(four_tuple, _)| is_from(role, four_tuple));
    of.filter_map(|(_, bytes)| Some((ProtectedHeader::parse_with(bytes, LOCAL_CID_LEN, FixedBit::Ignored).ok()?, bytes.clone()))).collect()
}

/// The client's Initials, opened with the keys of `dcid` where they fit, else those of the id they go to.
fn initials(pair: &Pair) -> Vec<Seen> {
    let open = |(header, bytes): (ProtectedHeader, Vec<u8>)| {
        let token = bytes.get(header.token.clone()).unwrap_or_default().to_vec();
        let keys = Keys::initial(header.version, &header.dcid, Role::Server);
        let mut packet = bytes.get(..header.end)?.to_vec();
        let (number, payload) = wire::open_long(&keys, &mut packet, header.pn_offset, None)?;
        let mut reader = qbase::Reader::new(&payload);
        let mut hello = Vec::new();
        while let Ok(frame) = Frame::decode(&mut reader) {
            if let Frame::Crypto(crypto) = frame {
                hello.extend_from_slice(crypto.data);
            }
        }
        Some(Seen { header, token, number, hello })
    };
    let initials = headers(pair, Role::Client).into_iter().filter(|(header, _)| header.kind == PacketType::Initial);
    initials.filter_map(open).collect()
}

/// Bytes in front of a token that an application stores: the version it is for.
const VERSION_NOTE: usize = 4;

fn new_tokens(pair: &Pair) -> Vec<Vec<u8>> {
    let news = pair.client().news().iter();
    news.filter_map(|(_, event)| if let Event::NewToken(token) = event { Some(token.to_vec()) } else { None }).collect()
}

/// Shows 9000-8.1.2-1, 9000-8.1.3-3, 9000-8.1.3-12, 9000-17.2.5.1-1, 9000-17.2.5.1-3, 9000-17.2.5.1-5, 9000-17.2.5.2-5,
/// 9000-17.2.5.3-1, 9000-17.2.5.3-4, 9000-19.7-1, 9369-compatible-negotiation-requirements-1 and
/// 9369-compatible-negotiation-requirements-2.
#[test]
fn a_retry_changes_destination_and_token_and_nothing_else() -> Result<(), Failure> {
    for version in [VERSION_1, VERSION_2] {
        let config = PairConfig { retry: RetryPolicy::Always, ..PairConfig::new(1, vec![delay(10)]) };
        let versions = vec![version, VERSION_1 ^ VERSION_2 ^ version];
        let mut pair = Pair::new(PairConfig { client_versions: versions.clone(), server_versions: versions, ..config })?;
        pair.network_mut().keep_payloads();
        pair.run_until_confirmed(secs(2))?;
        pair.run_for(secs(1))?;

        let retries: Vec<_> = headers(&pair, Role::Server).into_iter().filter(|(header, _)| header.kind == PacketType::Retry).collect();
        let [(retry, bytes)] = &retries[..] else { return Err(Failure::new(format!("{} Retry packets", retries.len()))) };
        let token = bytes.get(retry.token.clone()).unwrap_or_default();
        let seen = initials(&pair);
        let [first, second, ..] = &seen[..] else { return Err(Failure::new("no second Initial".to_owned())) };
        assert!(first.token.is_empty());
        assert!(retry.scid != first.header.dcid && retry.version == version);
        assert_eq!(second.hello, first.hello, "the same ClientHello");
        assert!(second.number > first.number, "{} after {}", second.number, first.number);
        for after in headers(&pair, Role::Client).iter().skip(1).filter(|(header, _)| header.kind == PacketType::Initial) {
            assert_eq!((after.0.scid, after.0.version), (first.header.scid, version));
            assert_eq!(after.1.get(after.0.token.clone()), Some(token), "in every Initial that follows");
        }
        assert_eq!(second.header.dcid, retry.scid);
        let later = new_tokens(&pair);
        assert!(!later.is_empty() && later.iter().all(|later| !later.is_empty() && later != token), "{later:?}");
    }
    Ok(())
}

/// Shows 9000-17.2.5-1.
#[test]
fn the_unused_bits_of_a_retry_mean_nothing() -> Result<(), Failure> {
    for bits in [0x0, 0x5, 0xf] {
        let mut pair = Pair::new(PairConfig { retry: RetryPolicy::Never, ..PairConfig::new(1, vec![delay(10)]) })?;
        pair.network_mut().keep_payloads();
        pair.step()?;
        let sent = headers(&pair, Role::Client);
        let (initial, _) = sent.first().ok_or_else(|| Failure::new("no Initial".to_owned()))?;
        let scid = qbase::ConnectionId::new(b"serverid").unwrap_or_default();
        let mut buffer = vec![0; 200];
        let mut writer = qbase::Writer::new(&mut buffer);
        qbase::packet::retry::write(&mut writer, initial.version, &initial.scid, &scid, b"token");
        let mut retry = writer.written().to_vec();
        if let Some(first) = retry.first_mut() {
            *first = *first & 0xf0 | bits;
        }
        let tag = qcrypto::retry_tag(initial.version, &initial.dcid, &retry);
        retry.extend(tag);
        pair.inject_from(Role::Client, Pair::four_tuple(FIRST, Role::Client), &mut retry);
        assert!(pair.client().connection().is_some_and(Connection::used_retry), "bits {bits:x}");
    }
    Ok(())
}

/// Shows 9000-8.1.3-2, 9000-8.1.3-6 and 9000-8.1.3-7.
#[test]
fn a_token_of_a_frame_stands_in_every_initial_and_is_like_no_other() -> Result<(), Failure> {
    let mut tokens = Vec::new();
    for seed in 0..4 {
        let mut pair = Pair::new(PairConfig::new(seed, vec![delay(10)]))?;
        pair.run_until(|pair| !new_tokens(pair).is_empty(), secs(2))?;
        pair.run_for(secs(1))?;
        tokens.extend(new_tokens(&pair));
    }
    for (at, one) in tokens.iter().enumerate() {
        for other in tokens.iter().skip(at + 1) {
            // Same client address, same second: behind our note of the version and the byte that tells the kind all is random.
            let same = one.iter().zip(other).skip(VERSION_NOTE + 1).filter(|(a, b)| a == b).count();
            assert!(same <= 5, "{one:02x?} and {other:02x?} have {same} bytes in common");
        }
    }
    let token = tokens.first().cloned().ok_or_else(|| Failure::new("no token".to_owned()))?;
    let lossy = delay(10).losing(LossModel::list([0, 1, 2]));
    let config = PairConfig { token: Some(token.clone().into()), ..PairConfig::new(0, vec![delay(10)]) };
    let mut pair = Pair::new(config)?;
    let now = pair.now();
    pair.network_mut().set(now, FIRST, &lossy, qsim::LinkDirection::AToB.into());
    pair.network_mut().keep_payloads();
    pair.run_until_confirmed(secs(20))?;
    let seen: Vec<_> = headers(&pair, Role::Client).into_iter().filter(|(header, _)| header.kind == PacketType::Initial).collect();
    assert!(seen.len() >= 3, "{} Initials", seen.len());
    assert!(seen.iter().all(|(header, bytes)| bytes.get(header.token.clone()) == token.get(VERSION_NOTE..)));
    Ok(())
}

/// Shows 9000-11-4.
#[test]
fn a_packet_of_a_connection_that_lives_is_never_answered_with_a_reset() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::default())?;
    arena.ack()?;
    arena.wait(secs(1))?;
    let before = arena.server.statistics();
    for number in 0..50 {
        let mut packet = arena.evil.seal(qbase::EncryptionLevel::OneRtt, PathId::ZERO, None, 0, &encode(&[Frame::Ping]))?;
        packet.resize(60 + number, 0xaa);
        arena.deliver(packet)?;
    }
    let after = arena.server.statistics();
    assert_eq!((after.resets, after.bytes_sent), (before.resets, before.bytes_sent));
    assert_eq!(arena.close_code(), None);
    Ok(())
}

/// Shows 9368-version-information-vers-info-2 and 9369-version-negotiation-considerations-2.
#[test]
fn a_client_declares_its_version_among_those_it_offers() -> Result<(), Failure> {
    let stage = Stage::new(&Play::default())?;
    let declared = stage.evil.peer_parameters().ok_or_else(|| Failure::new("no parameters".to_owned()))?;
    let parameters = TransportParameters::read(declared, Role::Client).map_err(|error| Failure::new(format!("{error:?}")))?;
    let versions = parameters.version_information.ok_or_else(|| Failure::new("no version information".to_owned()))?;
    assert_eq!(versions.chosen, VERSION_1);
    assert!(versions.available.contains(&VERSION_1) && versions.available.contains(&VERSION_2), "{versions:?}");
    Ok(())
}

fn declare(parameters: &mut TransportParameters, chosen: u32, available: &[u32]) {
    parameters.version_information = Some(VersionInformation { chosen, available: available.to_vec() });
}

/// What a server does to its parameters.
type Change = fn(&mut TransportParameters);

/// Shows 9368-version-downgrade-prevention-downgrade-3, 9368-version-downgrade-prevention-downgrade-13,
/// 9368-version-downgrade-prevention-downgrade-18 and 9369-version-negotiation-considerations-2.
#[test]
fn a_server_that_declares_another_version_than_it_speaks_is_refused() -> Result<(), Failure> {
    let cases: [(Change, Option<ErrorCode>); 4] = [
        (|parameters| declare(parameters, VERSION_1, &[VERSION_1]), None),
        (|parameters| declare(parameters, VERSION_2, &[VERSION_1, VERSION_2]), Some(ErrorCode::VERSION_NEGOTIATION_ERROR)),
        (|parameters| declare(parameters, 0x1a2a_3a4a, &[VERSION_1]), Some(ErrorCode::VERSION_NEGOTIATION_ERROR)),
        (|parameters| declare(parameters, 0, &[VERSION_1]), Some(ErrorCode::TRANSPORT_PARAMETER_ERROR)),
    ];
    for (number, (change, code)) in cases.into_iter().enumerate() {
        let stage = Stage::new(&Play { act: Act::Complete, change, ..Play::default() })?;
        assert_eq!(stage.close_code(), code.map(|code| code.0), "case {number}");
    }
    Ok(())
}

/// Shows 9368-version-downgrade-prevention-downgrade-15, 9368-version-downgrade-prevention-downgrade-16,
/// 9368-version-downgrade-prevention-downgrade-17 and 9368-special-handling-for-quic-version-1-1.
#[test]
fn after_version_negotiation_a_client_checks_what_the_server_says_it_speaks() -> Result<(), Failure> {
    let cases: [(Change, Option<ErrorCode>); 4] = [
        (|parameters| declare(parameters, VERSION_1, &[VERSION_1]), None),
        (|parameters| parameters.version_information = None, None),
        (|parameters| declare(parameters, VERSION_1, &[VERSION_2, VERSION_1]), Some(ErrorCode::VERSION_NEGOTIATION_ERROR)),
        (|parameters| declare(parameters, VERSION_1, &[]), Some(ErrorCode::VERSION_NEGOTIATION_ERROR)),
    ];
    for (number, (change, code)) in cases.into_iter().enumerate() {
        let play = Play { versions: vec![VERSION_2, VERSION_1], listed: vec![VERSION_1], act: Act::Complete, change, ..Play::default() };
        let stage = Stage::new(&play)?;
        assert_eq!(stage.close_code(), code.map(|code| code.0), "case {number}");
        assert_eq!(stage.connection().is_ok_and(Connection::is_handshake_complete), code.is_none(), "case {number}");
    }
    Ok(())
}

/// Shows 9368-version-downgrade-prevention-downgrade-12 and 9368-version-downgrade-prevention-downgrade-14.
#[test]
fn after_version_negotiation_to_another_version_than_1_a_server_must_say_what_it_speaks() -> Result<(), Failure> {
    let cases: [(Change, Option<ErrorCode>); 2] = [
        (|parameters| declare(parameters, VERSION_2, &[VERSION_2]), None),
        (|parameters| parameters.version_information = None, Some(ErrorCode::VERSION_NEGOTIATION_ERROR)),
    ];
    for (number, (change, code)) in cases.into_iter().enumerate() {
        let play = Play { versions: vec![VERSION_1, VERSION_2], listed: vec![VERSION_2], act: Act::Complete, change, ..Play::default() };
        let stage = Stage::new(&play)?;
        assert_eq!(stage.close_code(), code.map(|code| code.0), "case {number}");
        assert_eq!(stage.connection().is_ok_and(Connection::is_handshake_complete), code.is_none(), "case {number}");
    }
    Ok(())
}
