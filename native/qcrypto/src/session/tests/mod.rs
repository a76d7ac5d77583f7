//! Handshakes in memory, good and bad (RFC 9001 §4, §8; attacks B11 to B14).

use std::{sync::Arc, time::Duration};

use proptest::prelude::*;
use qbase::VERSION_1;

use super::*;
use crate::{
    ClientAuth, ClientTls, ClientTlsOptions, Pin, Provider, Roots, ServerTls, ServerTlsOptions, Verify,
    testing::{
        CLIENT_PARAMETERS, End, SERVER_PARAMETERS, UNIX_TIME, certificate, handshake, handshake_in_pieces, hex,
        identity_of, options, provider, sessions, sessions_to,
    },
};

mod judge;
mod offers;

const INITIAL: EncryptionLevel = EncryptionLevel::Initial;
const HANDSHAKE: EncryptionLevel = EncryptionLevel::Handshake;
const ONE_RTT: EncryptionLevel = EncryptionLevel::OneRtt;
const KEY_UPDATE_MESSAGE: [u8; 5] = [24, 0, 0, 1, 0];
const END_OF_EARLY_DATA: [u8; 4] = [5, 0, 0, 0];

fn pair() -> (Session, Session) {
    let (client, server) = options();
    sessions(&client, &server)
}

/// A client and a server that have completed their handshake.
fn connected() -> (Session, Session) {
    let (client, server) = pair();
    let (client, server, result) = handshake(client, server);
    assert_eq!(result, Ok(()));
    (client.session, server.session)
}

/// Client and server with the server's flight under way, level by level.
fn server_flight() -> (End, End, Vec<(EncryptionLevel, Vec<u8>)>) {
    let (client, server) = pair();
    let (mut client, mut server) = (End::new(client), End::new(server));
    for (level, bytes) in client.drain() {
        server.session.read(level, &bytes).unwrap();
    }
    let flight = server.drain();
    (client, server, flight)
}

fn code(result: Result<(), TransportError>) -> Option<u64> {
    result.err().map(|error| error.code.0)
}

const PROTOCOL_VIOLATION: Option<u64> = Some(ErrorCode::PROTOCOL_VIOLATION.0);

#[test]
fn handshake_completes_and_both_ends_agree() {
    let (client, server) = pair();
    let (client, server, result) = handshake(client, server);
    assert_eq!(result, Ok(()));
    for end in [&client, &server] {
        assert!(!end.session.is_handshaking());
        assert_eq!(end.session.read_level(), ONE_RTT);
        assert_eq!(end.session.alpn(), Some(b"test".as_slice()));
        assert_eq!(end.session.cipher_name(), "TLS_AES_128_GCM_SHA256");
        assert!(matches!(end.changes[..], [KeyChange::Handshake(_), KeyChange::OneRtt(_)]));
    }
    assert_eq!(client.session.peer_parameters(), Some(SERVER_PARAMETERS));
    assert_eq!(server.session.peer_parameters(), Some(CLIENT_PARAMETERS));
    assert_eq!(server.session.server_name(), Some("localhost"));
    assert_eq!(client.session.server_name(), None);
    assert_eq!(client.session.peer_certificates().len(), 1);
    assert_eq!(server.session.peer_certificates().len(), 0);
}

#[test]
fn keys_of_both_ends_fit() {
    let (client, server) = pair();
    let (client, server, _) = handshake(client, server);
    for (ours, theirs) in client.changes.iter().zip(&server.changes) {
        if let (KeyChange::Handshake(ours), KeyChange::Handshake(theirs)) = (ours, theirs) {
            let mut packet = [0x11; 60];
            ours.local.packet.seal(qbase::PathId::ZERO, 3, &mut packet, 10).unwrap();
            ours.local.header.protect(&mut packet, 6).unwrap();
            assert_eq!(theirs.remote.header.unprotect(&mut packet, 6), Some(2));
            assert_eq!(theirs.remote.packet.open(qbase::PathId::ZERO, 3, &mut packet, 10), Ok(10..44));
        }
    }
}

/// attacks B11.
#[test]
fn attack_b11_handshake_completes_in_pieces_of_any_size() {
    for piece in [1, 2, 3, 5, 64, 300] {
        let (client, server) = pair();
        let (client, _, result) = handshake_in_pieces(client, server, piece);
        assert_eq!(result, Ok(()), "pieces of {piece}");
        assert!(!client.session.is_handshaking());
    }
}

/// attacks B12; RFC 9001 §4.1.3.
#[test]
fn attack_b12_bytes_left_in_the_initial_level_are_an_error_for_the_server() {
    for extra in [&[1][..], &END_OF_EARLY_DATA, &[2, 0, 0]] {
        let (mut client, mut server) = pair();
        let mut hello = Vec::new();
        client.write(&mut hello);
        hello.extend_from_slice(extra);
        assert_eq!(code(server.read(INITIAL, &hello)), PROTOCOL_VIOLATION);
    }
}

/// attacks B12; RFC 9001 §4.1.3.
#[test]
fn attack_b12_bytes_left_at_each_key_change_are_an_error_for_the_client() {
    for bad_level in [INITIAL, HANDSHAKE] {
        let (mut client, _, flight) = server_flight();
        let result = flight.into_iter().try_for_each(|(level, mut bytes)| {
            if level == bad_level {
                bytes.push(4);
            }
            client.session.read(level, &bytes)
        });
        assert_eq!(code(result), PROTOCOL_VIOLATION, "{bad_level:?}");
    }
}

#[test]
fn bytes_left_behind_the_client_finished_are_an_error() {
    let (mut client, mut server, flight) = server_flight();
    for (level, bytes) in flight {
        client.session.read(level, &bytes).unwrap();
    }
    let [(HANDSHAKE, finished)] = &mut client.drain()[..] else { panic!("one message of the Handshake level") };
    finished.extend([20, 0]);
    assert_eq!(code(server.session.read(HANDSHAKE, finished)), PROTOCOL_VIOLATION);
}

#[test]
fn bytes_of_a_level_that_is_over_are_an_error() {
    let (mut client, mut server) = connected();
    assert_eq!(code(client.read(HANDSHAKE, &[0])), PROTOCOL_VIOLATION);
    assert_eq!(code(server.read(INITIAL, &[0])), PROTOCOL_VIOLATION);
}

#[test]
fn bytes_of_a_level_to_come_are_an_error() {
    let (mut client, mut server) = pair();
    assert_eq!(code(client.read(ONE_RTT, &[0])), PROTOCOL_VIOLATION);
    assert_eq!(code(server.read(HANDSHAKE, &[0])), PROTOCOL_VIOLATION);
}

#[test]
fn first_error_is_the_last_word() {
    let (_, mut server) = pair();
    assert_eq!(code(server.read(HANDSHAKE, &[0])), PROTOCOL_VIOLATION);
    assert_eq!(code(server.read(INITIAL, &[])), PROTOCOL_VIOLATION);
}

/// attacks B13; RFC 9001 §6.
#[test]
fn tls_key_update_is_an_unexpected_message() {
    let (mut client, mut server) = connected();
    assert_eq!(code(client.read(ONE_RTT, &KEY_UPDATE_MESSAGE)), Some(0x10a));
    assert_eq!(code(server.read(ONE_RTT, &KEY_UPDATE_MESSAGE)), Some(0x10a));
}

#[test]
fn a_server_that_has_concluded_says_what_it_agreed_on_and_refuses_every_message() {
    let (mut client, mut server) = connected();
    let before = (server.alpn().map(<[u8]>::to_vec), server.server_name().map(str::to_owned), server.cipher(), server.early_status());
    server.conclude();
    let after = (server.alpn().map(<[u8]>::to_vec), server.server_name().map(str::to_owned), server.cipher(), server.early_status());
    assert_eq!(after, before);
    assert!(!server.is_handshaking() && !server.is_resumed() && server.peer_certificates().is_empty());
    assert!(server.write(&mut Vec::new()).is_none());
    assert_eq!(code(server.read(ONE_RTT, &KEY_UPDATE_MESSAGE)), Some(0x10a));
    client.conclude();
    assert!(client.peer_parameters().is_some(), "a client still reads tickets");
}

#[test]
fn a_server_does_not_conclude_before_its_handshake_is_complete() {
    let (_, mut server) = pair();
    server.conclude();
    assert!(server.is_handshaking());
}

/// attacks B13; RFC 9001 §8.3.
#[test]
fn end_of_early_data_is_an_unexpected_message() {
    let (_, mut server, _) = server_flight();
    assert_eq!(code(server.session.read(HANDSHAKE, &END_OF_EARLY_DATA)), Some(0x10a));
}

#[test]
fn attack_b12_unexpected_messages_at_each_level_are_errors() {
    let finished = [20, 0, 0, 0];
    let (mut client, mut server) = pair();
    assert_eq!(code(server.read(INITIAL, &finished)), Some(0x10a));
    assert_eq!(code(client.read(INITIAL, &finished)), Some(0x10a));
    let (mut client, _, flight) = server_flight();
    client.session.read(INITIAL, &flight[0].1).unwrap();
    assert_eq!(code(client.session.read(HANDSHAKE, &finished)), Some(0x10a));
    let (mut client, mut server) = connected();
    assert_eq!(code(client.read(ONE_RTT, &finished)), Some(0x10a));
    assert_eq!(code(server.read(ONE_RTT, &finished)), Some(0x10a));
}

#[test]
fn attack_b15_message_of_more_than_64_kib_is_refused_at_its_header() {
    let (_, mut server) = pair();
    assert_eq!(code(server.read(INITIAL, &[1, 1, 0, 0])), Some(0x132));
    let (_, mut server) = pair();
    assert_eq!(server.read(INITIAL, &[1, 1]), Ok(()));
    assert_eq!(code(server.read(INITIAL, &[0, 0])), Some(0x132));
}

/// attacks B14; RFC 9001 §8.1.
#[test]
fn attack_b14_no_common_alpn_is_0x178() {
    let (client, mut server) = options();
    server.alpn = vec![b"other".to_vec()];
    let (client, server) = sessions(&client, &server);
    let (_, _, result) = handshake(client, server);
    assert_eq!(code(result), Some(0x178));
}

/// A handshake message without the extension of this type; `start` is where its list of extensions begins.
fn without_extension(message: &[u8], start: usize, kind: u16) -> Vec<u8> {
    let mut extensions = Vec::new();
    let mut rest = &message[start + 2..];
    while let [a, b, c, d, ..] = *rest {
        let len = 4 + usize::from(u16::from_be_bytes([c, d]));
        if u16::from_be_bytes([a, b]) != kind {
            extensions.extend_from_slice(&rest[..len]);
        }
        rest = &rest[len..];
    }
    let list_len = u16::try_from(extensions.len()).unwrap().to_be_bytes();
    let body = [&message[4..start], &list_len, &extensions].concat();
    let len = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[message[0]], &len[1..], &body].concat()
}

const TRANSPORT_PARAMETERS: u16 = 0x39;

/// attacks B14; RFC 9001 §8.2.
#[test]
fn attack_b14_client_hello_without_transport_parameters_is_0x16d() {
    let (mut client, mut server) = pair();
    let mut hello = Vec::new();
    client.write(&mut hello);
    // type, length, version, random, empty session id, cipher suites with their length, one compression method
    let ciphers = usize::from(u16::from_be_bytes([hello[39], hello[40]]));
    let hello = without_extension(&hello, 4 + 2 + 32 + 1 + 2 + ciphers + 2, TRANSPORT_PARAMETERS);
    assert_eq!(code(server.read(INITIAL, &hello)), Some(0x16d));
}

/// attacks B14; RFC 9001 §8.2.
#[test]
fn attack_b14_encrypted_extensions_without_transport_parameters_are_0x16d() {
    let (mut client, _, flight) = server_flight();
    client.session.read(INITIAL, &flight[0].1).unwrap();
    let (_, handshake) = &flight[1];
    let extensions = &handshake[..message_len(handshake).unwrap()];
    let extensions = without_extension(extensions, 4, TRANSPORT_PARAMETERS);
    assert_eq!(code(client.session.read(HANDSHAKE, &extensions)), Some(0x16d));
}

/// Runs a handshake that must fail at the client and tells code and fault.
fn refused(name: &str, client: &ClientTlsOptions, server: &ServerTlsOptions) -> (u64, CertificateFault) {
    let (client, server) = sessions_to(name, client, server);
    let (client, _, result) = handshake(client, server);
    (code(result).unwrap(), client.session.certificate_fault().unwrap())
}

#[test]
fn expired_certificate_is_refused_as_expired() {
    let (mut client, server) = options();
    for (unix_time, fault) in [
        (UNIX_TIME + Duration::from_secs(15 * 86_400), CertificateFault::Expired),
        (UNIX_TIME - Duration::from_secs(86_400), CertificateFault::NotYetValid),
    ] {
        client.provider = Provider::Seeded { seed: [2; 32], unix_time };
        assert_eq!(refused("localhost", &client, &server), (0x12d, fault));
    }
}

#[test]
fn certificate_of_an_unknown_issuer_is_refused() {
    let (mut client, server) = options();
    client.roots = Roots::Der(vec![certificate(9, &["localhost"]).cert_der]);
    // Same subject, other key: the signature does not fit.
    let (_, fault) = refused("localhost", &client, &server);
    assert!(matches!(fault, CertificateFault::Signature | CertificateFault::UnknownIssuer));
    client.roots = Roots::Der(vec![certificate(9, &["other"]).cert_der]);
    assert_eq!(refused("localhost", &client, &server), (0x130, CertificateFault::UnknownIssuer));
}

#[test]
fn certificate_for_another_name_is_refused() {
    let (client, server) = options();
    for name in ["example.net", "127.0.0.9"] {
        assert_eq!(refused(name, &client, &server), (0x12a, CertificateFault::Name));
    }
}

#[test]
fn certificate_that_no_pin_fits_is_refused() {
    let (mut client, server) = options();
    client.pins = vec![Pin::PublicKey([0; 32]), Pin::Certificate([0; 32])];
    assert_eq!(refused("localhost", &client, &server), (0x12e, CertificateFault::Pin));
    client.verify = Verify::None;
    assert_eq!(refused("localhost", &client, &server), (0x12e, CertificateFault::Pin));
}

/// The pin alone is trust: neither name nor time matter.
#[test]
fn fitting_pin_without_roots_is_enough() {
    let own = certificate(1, &["localhost", "127.0.0.1", "::1"]);
    for pin in [own.pin.parse().unwrap(), own.fingerprint.parse::<Pin>().unwrap()] {
        let (mut client, server) = options();
        client.roots = Roots::None;
        client.pins = vec![Pin::Certificate([0; 32]), pin];
        client.provider = Provider::Seeded { seed: [2; 32], unix_time: Duration::ZERO };
        let (client, server) = sessions_to("elsewhere.example", &client, &server);
        assert_eq!(handshake(client, server).2, Ok(()));
    }
}

#[test]
fn pin_beside_roots_does_not_replace_the_name() {
    let (mut client, server) = options();
    client.pins = vec![certificate(1, &["localhost", "127.0.0.1", "::1"]).pin.parse().unwrap()];
    assert_eq!(refused("example.net", &client, &server), (0x12a, CertificateFault::Name));
    let (client, server) = sessions(&client, &server);
    assert_eq!(handshake(client, server).2, Ok(()));
}

#[test]
fn verification_that_is_off_believes_anybody() {
    let (mut client, server) = options();
    client.roots = Roots::None;
    client.verify = Verify::None;
    let (client, server) = sessions_to("anybody.example", &client, &server);
    assert_eq!(handshake(client, server).2, Ok(()));
}

#[test]
fn addresses_are_names() {
    for name in ["127.0.0.1", "::1"] {
        let (client, server) = options();
        let (client, server) = sessions_to(name, &client, &server);
        let (_, server, result) = handshake(client, server);
        assert_eq!(result, Ok(()));
        assert_eq!(server.session.server_name(), None);
    }
}

#[test]
fn roots_may_be_pem() {
    let (mut client, server) = options();
    client.roots = Roots::Pem(certificate(1, &["localhost", "127.0.0.1", "::1"]).cert_pem);
    let (client, server) = sessions(&client, &server);
    assert_eq!(handshake(client, server).2, Ok(()));
}

/// attacks B16.
#[test]
fn required_client_certificate_is_demanded_and_verified() {
    let mine = certificate(7, &["client.example"]);
    let (mut client, mut server) = options();
    server.client_auth = ClientAuth::Require;
    server.roots = Roots::Der(vec![mine.cert_der.clone()]);

    let (without, listening) = sessions(&client, &server);
    let (_, listening, result) = handshake(without, listening);
    assert_eq!(code(result), Some(0x174));
    assert_eq!(listening.session.certificate_fault(), Some(CertificateFault::Missing));

    client.identity = Some(identity_of(&certificate(8, &["client.example"])));
    let (other, listening) = sessions(&client, &server);
    let (_, listening, result) = handshake(other, listening);
    assert!(result.is_err());
    assert!(listening.session.certificate_fault().is_some());

    client.identity = Some(identity_of(&mine));
    let (with, listening) = sessions(&client, &server);
    let (_, listening, result) = handshake(with, listening);
    assert_eq!(result, Ok(()));
    assert_eq!(listening.session.peer_certificates(), vec![mine.cert_der]);
}

#[test]
fn requested_client_certificate_may_be_missing_but_not_wrong() {
    let (mut client, mut server) = options();
    server.client_auth = ClientAuth::Request;
    server.pins = vec![certificate(7, &["client.example"]).pin.parse().unwrap()];
    let (without, listening) = sessions(&client, &server);
    assert_eq!(handshake(without, listening).2, Ok(()));

    client.identity = Some(identity_of(&certificate(8, &["client.example"])));
    let (wrong, listening) = sessions(&client, &server);
    let (_, listening, result) = handshake(wrong, listening);
    assert_eq!(code(result), Some(0x12e));
    assert_eq!(listening.session.certificate_fault(), Some(CertificateFault::Pin));
}

#[test]
fn options_that_cannot_work_are_refused() {
    let (client, server) = options();
    let client_error = |change: fn(&mut ClientTlsOptions)| {
        let mut options = client.clone();
        change(&mut options);
        ClientTls::new(&options).err()
    };
    assert_eq!(client_error(|options| options.alpn.clear()), Some(TlsError::Alpn));
    assert_eq!(client_error(|options| options.alpn.push(vec![])), Some(TlsError::Alpn));
    assert_eq!(client_error(|options| options.alpn.push(vec![b'x'; 256])), Some(TlsError::Alpn));
    assert_eq!(client_error(|options| options.roots = Roots::None), Some(TlsError::NoTrust));
    assert!(matches!(
        client_error(|options| options.roots = Roots::Der(vec![certificate(1, &["a"]).cert_der, vec![0x30]])),
        Some(TlsError::Root { index: 1, .. })
    ));
    let mut nobody = server;
    nobody.identity = None;
    assert_eq!(ServerTls::new(&nobody).err(), Some(TlsError::NoIdentity));
}

#[test]
fn names_and_versions_that_cannot_work_are_refused() {
    let client = ClientTls::new(&options().0).unwrap();
    let error = |name, version| Session::client(&client, name, &[], version).err();
    assert_eq!(error("not a name", VERSION_1), Some(TlsError::ServerName { name: "not a name".to_owned() }));
    assert_eq!(error("localhost", 0x1a2a_3a4a), Some(TlsError::Version { version: 0x1a2a_3a4a }));
    assert_eq!(error("localhost", VERSION_2), None);
}

#[test]
fn everything_may_move_between_threads() {
    fn movable<T: Send + Sync>() {}
    movable::<ClientTls>();
    movable::<ServerTls>();
    movable::<Session>();
    movable::<OneRttKeys>();
    movable::<Keys>();
}

#[test]
fn cipher_is_the_first_that_both_have() {
    for cipher in Cipher::ALL {
        let (client, mut server) = options();
        server.ciphers = vec![cipher];
        let (client, server) = sessions(&client, &server);
        let (client, server, result) = handshake(client, server);
        assert_eq!(result, Ok(()));
        assert_eq!(client.session.cipher(), Some(cipher));
        assert_eq!(server.session.cipher(), Some(cipher));
    }
}

#[test]
fn key_log_holds_four_secrets_of_each_connection() {
    let (sender, lines) = std::sync::mpsc::channel();
    let (mut client, server) = options();
    client.keylog = Some(Arc::new(move |line: &str| sender.send(line.to_owned()).unwrap()));
    let (client, server) = sessions(&client, &server);
    assert_eq!(handshake(client, server).2, Ok(()));
    let lines: Vec<String> = lines.try_iter().collect();
    for label in [
        "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
        "SERVER_HANDSHAKE_TRAFFIC_SECRET",
        "CLIENT_TRAFFIC_SECRET_0",
        "SERVER_TRAFFIC_SECRET_0",
    ] {
        let line = lines.iter().find(|line| line.starts_with(label)).unwrap();
        let fields: Vec<&str> = line.split(' ').collect();
        assert_eq!((fields.len(), hex(fields[1]).len(), hex(fields[2]).len()), (3, 32, 32));
    }
}

#[test]
fn real_randomness_and_p256_work_too() {
    let own = crate::development::self_signed(&crate::development::DevelopmentOptions {
        names: vec!["localhost".to_owned()],
        kind: crate::development::KeyKind::P256,
        days: 1,
        unix_time: UNIX_TIME,
    })
    .unwrap();
    let (mut client, mut server) = options();
    (client.provider, server.provider) = (Provider::System, Provider::System);
    client.roots = Roots::None;
    client.pins = vec![own.pin.parse().unwrap()];
    server.identity = Some(identity_of(&own));
    let (first, listening) = sessions(&client, &server);
    let (first, _, result) = handshake(first, listening);
    assert_eq!(result, Ok(()));
    let (second, listening) = sessions(&client, &server);
    let (second, _, _) = handshake(second, listening);
    assert_ne!(first.transcript, second.transcript);
}

#[test]
fn same_seeds_make_the_same_handshake_byte_for_byte() {
    let run = |client_seed, server_seed| {
        let (mut client, mut server) = options();
        client.provider = provider(client_seed);
        server.provider = provider(server_seed);
        let (client, server) = sessions(&client, &server);
        let (client, server, result) = handshake(client, server);
        assert_eq!(result, Ok(()));
        (client.transcript, server.transcript)
    };
    let (client, server) = run(2, 3);
    assert_eq!(run(2, 3), (client.clone(), server.clone()));
    let hello = |transcript: &[(EncryptionLevel, Vec<u8>)]| transcript[0].1.clone();
    assert_ne!(hello(&run(4, 3).0), hello(&client));
    assert_eq!(hello(&run(2, 4).0), hello(&client));
    assert_ne!(hello(&run(2, 4).1), hello(&server));
}

#[test]
fn sessions_of_one_seed_differ_from_each_other() {
    let client = ClientTls::new(&options().0).unwrap();
    let hello = |client: &ClientTls| {
        let mut bytes = Vec::new();
        Session::client(client, "localhost", CLIENT_PARAMETERS, VERSION_1).unwrap().write(&mut bytes);
        bytes
    };
    assert_ne!(hello(&client), hello(&client.clone()));
}

/// A server whose only group is one that clients send no share for.
#[test]
fn hello_retry_request_stays_in_the_initial_level() {
    let (mut client, server) = options();
    client.provider = Provider::System;
    client.verify = Verify::None;
    let identity = server.identity.unwrap();
    let provider = rustls::crypto::CryptoProvider {
        kx_groups: vec![rustls::crypto::ring::kx_group::SECP384R1],
        ..rustls::crypto::ring::default_provider()
    };
    let mut config = rustls::ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(rustls::sign::CertifiedKey::clone(
            &identity.certified(),
        ))));
    config.alpn_protocols = vec![b"test".to_vec()];
    let inner = ServerConnection::new(Arc::new(config), Version::V1, SERVER_PARAMETERS.to_vec()).unwrap();
    let server = Session::new(Connection::Server(inner), Role::Server, Randomness::System);
    let client = Session::client(&ClientTls::new(&client).unwrap(), "localhost", CLIENT_PARAMETERS, VERSION_1).unwrap();
    let (client, server, result) = handshake(client, server);
    assert_eq!(result, Ok(()));
    let initials = |end: &End| end.transcript.iter().filter(|(level, _)| *level == INITIAL).count();
    assert_eq!((initials(&client), initials(&server)), (2, 2));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// attacks B12: whatever bytes come, the answer is Ok or an error of TLS, never a panic.
    #[test]
    fn noise_in_a_handshake_is_an_error_at_worst(
        flight in 0_usize..3,
        at in any::<prop::sample::Index>(),
        value: u8,
        cut in any::<prop::sample::Index>(),
    ) {
        let (mut client, mut server, flight_bytes) = server_flight();
        let damage = |bytes: &[u8]| {
            let mut bytes = bytes.to_vec();
            let at = at.index(bytes.len());
            bytes[at] = value;
            bytes.truncate(cut.index(bytes.len()) + 1);
            bytes
        };
        match flight {
            0 => {
                let hello = damage(&client.transcript[0].1);
                let _ = pair().1.read(INITIAL, &hello);
            }
            1 => {
                let _ = client.session.read(INITIAL, &damage(&flight_bytes[0].1));
            }
            _ => {
                client.session.read(INITIAL, &flight_bytes[0].1).unwrap();
                let _ = client.session.read(HANDSHAKE, &damage(&flight_bytes[1].1));
            }
        }
        let _ = server.session.read(HANDSHAKE, &[value; 40]);
    }
}
