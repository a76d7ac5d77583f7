//! Resumption and early data between two sessions in memory (RFC 9001 §4.5, §4.6).

use std::sync::Arc;

use qbase::{EncryptionLevel, ErrorCode, VERSION_1, VERSION_2, limits, param::TransportParameters, Role, PathId};

use crate::{
    Cipher, ClientAuth, ClientSessions, ClientTls, ClientTlsOptions, EarlyStatus, Resumption, Roots, ServerSessions,
    ServerTls, ServerTlsOptions, Session,
    testing::{CLIENT_PARAMETERS, End, certificate, handshake, identity_of, options},
};

const KEY: &str = "localhost:4433|test";

/// Options with a shared store on each side and early data on.
fn resumable() -> (ClientTlsOptions, ServerTlsOptions) {
    let (mut client, mut server) = options();
    client.sessions = Some(ClientSessions::new());
    client.early_data = true;
    server.sessions = Some(ServerSessions::new());
    server.early_data = true;
    (client, server)
}

fn parameters(data: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    TransportParameters { initial_max_data: data, initial_max_path_id: Some(PathId(7)), ..TransportParameters::default() }
        .write(&mut bytes, Role::Server, None);
    bytes
}

fn ends(client: &ClientTls, server: &ServerTls, version: u32) -> (Session, Session) {
    (
        Session::resume(client, KEY, "localhost", CLIENT_PARAMETERS, version).unwrap(),
        Session::server(server, &parameters(1_000), version).unwrap(),
    )
}

/// A connection between the two, which must work.
fn connect(client: &ClientTls, server: &ServerTls) -> (End, End) {
    let (client, server) = ends(client, server, VERSION_1);
    let (client, server, result) = handshake(client, server);
    assert_eq!(result, Ok(()));
    (client, server)
}

#[test]
fn the_second_handshake_is_resumed_and_each_gives_two_tickets() {
    let (client_options, server_options) = resumable();
    let (client, server) = (ClientTls::new(&client_options).unwrap(), ServerTls::new(&server_options).unwrap());
    let sessions = client_options.sessions.unwrap();
    let (first, _) = connect(&client, &server);
    assert!(!first.session.is_resumed());
    assert_eq!(sessions.tickets(KEY), limits::TICKETS_GIVEN);
    for _ in 0..5 {
        let (client, server) = connect(&client, &server);
        assert!(client.session.is_resumed() && server.session.is_resumed());
        assert!(!client.session.peer_certificates().is_empty(), "the chain is remembered");
        assert!(sessions.tickets(KEY) <= limits::TICKETS_PER_NAME, "attacks L18");
    }
    assert_eq!(sessions.tickets(KEY), limits::TICKETS_PER_NAME);
}

#[test]
fn a_connection_may_offer_no_ticket_and_keep_those_it_gets() {
    let (client_options, server_options) = resumable();
    let (client, server) = (ClientTls::new(&client_options).unwrap(), ServerTls::new(&server_options).unwrap());
    let (first, _) = connect(&client, &server);
    assert_eq!(first.session.tickets_received() as usize, limits::TICKETS_GIVEN);
    let (second, _) = connect(&client.clone().without_offer(), &server);
    assert!(!second.session.is_resumed());
    assert_eq!(second.session.tickets_received() as usize, limits::TICKETS_GIVEN);
    assert_eq!(client_options.sessions.unwrap().tickets(KEY), 2 * limits::TICKETS_GIVEN, "none was used up");
    let (third, _) = connect(&client, &server);
    assert!(third.session.is_resumed());
}

#[test]
fn a_resumed_first_flight_has_no_certificate() {
    let (client, server) = resumable();
    let (client, server) = (ClientTls::new(&client).unwrap(), ServerTls::new(&server).unwrap());
    let bytes = |end: &End| end.transcript.iter().filter(|(level, _)| *level == EncryptionLevel::Handshake).map(|(_, bytes)| bytes.len()).sum::<usize>();
    let full = bytes(&connect(&client, &server).1);
    let resumed = bytes(&connect(&client, &server).1);
    assert!(resumed * 2 < full, "{resumed} of {full} bytes");
}

#[test]
fn early_keys_of_both_ends_fit_before_the_handshake_is_over() {
    for cipher in Cipher::ALL {
        let (mut client, mut server) = resumable();
        (client.ciphers, server.ciphers) = (vec![cipher], vec![cipher]);
        let (client, server) = (ClientTls::new(&client).unwrap(), ServerTls::new(&server).unwrap());
        assert!(ends(&client, &server, VERSION_1).0.early_keys().is_none(), "no ticket, no keys");
        connect(&client, &server);
        let (mut client, mut server) = ends(&client, &server, VERSION_1);
        assert_eq!(client.early_status(), EarlyStatus::Sent);
        assert_eq!(client.peer_parameters(), None, "remembered is not present");
        assert_eq!(client.remembered_parameters(), Some(parameters(1_000).as_slice()));
        let sealing = client.early_keys().unwrap();
        let mut hello = Vec::new();
        client.write(&mut hello);
        assert!(server.early_keys().is_none());
        server.read(EncryptionLevel::Initial, &hello).unwrap();
        assert_eq!(server.early_status(), EarlyStatus::Accepted);
        let opening = server.early_keys().unwrap();
        let mut packet = b"header early data".to_vec();
        packet.resize(packet.len() + limits::TAG_LEN, 0);
        sealing.packet.seal(PathId::ZERO, 0, &mut packet, 7).unwrap();
        let plain = opening.packet.open(PathId::ZERO, 0, &mut packet, 7).unwrap();
        assert_eq!(&packet[plain], b"early data");
        let (client, _, result) = handshake(client, server);
        assert_eq!(result, Ok(()));
        assert_eq!(client.session.early_status(), EarlyStatus::Accepted);
        assert_eq!(client.session.remembered_parameters(), None);
    }
}

/// Shows 9001-5.6-1.
#[test]
fn without_a_wish_for_early_data_there_are_no_early_keys() {
    let (mut client, server) = resumable();
    client.early_data = false;
    let (client, server) = (ClientTls::new(&client).unwrap(), ServerTls::new(&server).unwrap());
    connect(&client, &server);
    let (session, _) = ends(&client, &server, VERSION_1);
    assert!(session.early_keys().is_none());
    assert_eq!(session.early_status(), EarlyStatus::None);
    assert!(connect(&client, &server).0.session.is_resumed());
}

/// Shows 9001-4.6.1-1.
#[test]
fn a_server_that_takes_no_early_data_offers_none_and_one_that_forgot_rejects() {
    let (client, mut server) = resumable();
    let client = ClientTls::new(&client).unwrap();
    server.early_data = false;
    let modest = ServerTls::new(&server).unwrap();
    assert!(!modest.takes_early_data());
    connect(&client, &modest);
    assert_eq!(ends(&client, &modest, VERSION_1).0.early_status(), EarlyStatus::None);
    server.early_data = true;
    let keen = ServerTls::new(&server).unwrap();
    connect(&client, &keen);
    server.sessions.as_ref().unwrap().clear();
    let (client, server) = connect(&client, &keen);
    assert_eq!(client.session.early_status(), EarlyStatus::Rejected);
    assert_eq!(server.session.early_status(), EarlyStatus::Rejected);
    assert!(!client.session.is_resumed());
}

#[test]
fn a_replayed_hello_gets_no_early_keys() {
    let (client, server) = resumable();
    let (client, server) = (ClientTls::new(&client).unwrap(), ServerTls::new(&server).unwrap());
    connect(&client, &server);
    let (mut client, _) = ends(&client, &server, VERSION_1);
    let mut hello = Vec::new();
    client.write(&mut hello);
    let accepted = (0..100).filter(|_| {
        let mut session = Session::server(&server, &parameters(1_000), VERSION_1).unwrap();
        session.read(EncryptionLevel::Initial, &hello).unwrap();
        session.early_status() == EarlyStatus::Accepted
    });
    assert_eq!(accepted.count(), 1, "attacks B19");
}

#[test]
fn options_made_anew_from_the_same_values_may_use_the_tickets() {
    let (client, server) = resumable();
    connect(&ClientTls::new(&client).unwrap(), &ServerTls::new(&server).unwrap());
    let renewed = connect(&ClientTls::new(&client).unwrap(), &ServerTls::new(&server).unwrap());
    assert!(renewed.0.session.is_resumed());
    let other = certificate(9, &["localhost"]);
    let stranger = ClientTlsOptions {
        roots: Roots::Der(vec![client.roots_der(), other.cert_der]),
        ..client
    };
    let strange = connect(&ClientTls::new(&stranger).unwrap(), &ServerTls::new(&server).unwrap());
    assert!(!strange.0.session.is_resumed(), "trust was different when the ticket came");
}

impl ClientTlsOptions {
    fn roots_der(&self) -> Vec<u8> {
        match &self.roots {
            Roots::Der(certificates) => certificates[0].clone(),
            _ => Vec::new(),
        }
    }
}

#[test]
fn a_ticket_got_without_a_certificate_does_not_pass_a_server_that_demands_one() {
    let (client, mut server) = resumable();
    let client = ClientTls::new(&client).unwrap();
    connect(&client, &ServerTls::new(&server).unwrap());
    server.client_auth = ClientAuth::Require;
    server.roots = Roots::Der(vec![certificate(5, &["client"]).cert_der]);
    let (client, server) = ends(&client, &ServerTls::new(&server).unwrap(), VERSION_1);
    let (_, server, result) = handshake(client, server);
    assert_eq!(result.map_err(|error| error.code), Err(ErrorCode::crypto(116)));
    assert!(!server.session.is_resumed());
}

#[test]
fn tickets_of_one_quic_version_are_not_offered_in_another() {
    let (client, server) = resumable();
    let (client, server) = (ClientTls::new(&client).unwrap(), ServerTls::new(&server).unwrap());
    connect(&client, &server);
    let (second, listening) = ends(&client, &server, VERSION_2);
    let (second, _, result) = handshake(second, listening);
    assert_eq!(result, Ok(()));
    assert!(!second.session.is_resumed(), "RFC 9369 §5");
    let (third, listening) = ends(&client, &server, VERSION_2);
    let (third, _, _) = handshake(third, listening);
    assert!(third.session.is_resumed());
}

#[test]
fn a_server_without_resumption_gives_no_tickets() {
    let (client, mut server) = resumable();
    server.resumption = Resumption::Off;
    let sessions = client.sessions.clone().unwrap();
    connect(&ClientTls::new(&client).unwrap(), &ServerTls::new(&server).unwrap());
    assert_eq!(sessions.tickets(KEY), 0);
}

#[test]
fn attack_b25_a_flood_of_tickets_keeps_the_newest_and_long_ones_are_ignored() {
    let (client, server) = resumable();
    let sessions = client.sessions.clone().unwrap();
    let (mut client, _) = connect(&ClientTls::new(&client).unwrap(), &ServerTls::new(&server).unwrap());
    let before = sessions.tickets(KEY);
    client.session.read(EncryptionLevel::OneRtt, &ticket(limits::TICKET_MESSAGE + 1, None)).unwrap();
    assert_eq!(sessions.tickets(KEY), before, "too long");
    client.session.read(EncryptionLevel::OneRtt, &ticket(limits::TICKET_MESSAGE, None)).unwrap();
    assert_eq!(sessions.tickets(KEY), before + 1);
    for _ in 0..1_000 {
        client.session.read(EncryptionLevel::OneRtt, &ticket(100, None)).unwrap();
    }
    assert_eq!(sessions.tickets(KEY), limits::TICKETS_PER_NAME);
}

/// Shows 9001-4.6.1-2.
#[test]
fn a_ticket_with_another_early_data_size_is_a_violation() {
    let (client, server) = resumable();
    let (mut client, _) = connect(&ClientTls::new(&client).unwrap(), &ServerTls::new(&server).unwrap());
    let error = client.session.read(EncryptionLevel::OneRtt, &ticket(100, Some(16_384))).unwrap_err();
    assert_eq!(error.code, ErrorCode::PROTOCOL_VIOLATION);
}

/// A NewSessionTicket message of `len` bytes (RFC 8446 §4.6.1).
fn ticket(len: usize, early_data: Option<u32>) -> Vec<u8> {
    let extension = early_data.map(|size| [&[0, 42, 0, 4][..], &size.to_be_bytes()].concat()).unwrap_or_default();
    let filler = len - 4 - 4 - 4 - 1 - 2 - 2 - extension.len();
    let mut body = [&3_600_u32.to_be_bytes()[..], &[0; 4], &[0]].concat();
    body.extend_from_slice(&u16::try_from(filler).unwrap().to_be_bytes());
    body.resize(body.len() + filler, 7);
    body.extend_from_slice(&u16::try_from(extension.len()).unwrap().to_be_bytes());
    body.extend_from_slice(&extension);
    let mut message = vec![4];
    message.extend_from_slice(&u32::try_from(body.len()).unwrap().to_be_bytes()[1..]);
    message.extend_from_slice(&body);
    message
}

#[test]
fn the_key_log_has_the_early_secret_too() {
    let (sender, lines) = std::sync::mpsc::channel();
    let (mut client, mut server) = resumable();
    let log: crate::KeyLog = Arc::new(move |line: &str| sender.send(line.to_owned()).unwrap());
    client.keylog = Some(Arc::clone(&log));
    server.keylog = Some(log);
    let (client, server) = (ClientTls::new(&client).unwrap(), ServerTls::new(&server).unwrap());
    connect(&client, &server);
    connect(&client, &server);
    let early: Vec<String> = lines.try_iter().filter(|line: &String| line.starts_with("CLIENT_EARLY_TRAFFIC_SECRET ")).collect();
    assert_eq!(early.len(), 2, "one of each end");
    assert_eq!(early[0], early[1]);
}

#[test]
fn identities_are_chosen_by_name_and_a_name_without_one_is_unrecognized() {
    let own = certificate(7, &["inner.example"]);
    let (mut client, mut server) = options();
    client.roots = Roots::Der(vec![own.cert_der.clone()]);
    server.sni = vec![("*.example".to_owned(), identity_of(&own))];
    let (first, listening) = crate::testing::sessions_to("inner.example", &client, &server);
    let (first, _, result) = handshake(first, listening);
    assert_eq!(result, Ok(()));
    assert_eq!(first.session.peer_certificates(), vec![own.cert_der]);
    server.identity = None;
    let (second, listening) = crate::testing::sessions_to("other.test", &client, &server);
    let (_, _, result) = handshake(second, listening);
    assert_eq!(result.map_err(|error| error.code), Err(ErrorCode::crypto(112)));
}
