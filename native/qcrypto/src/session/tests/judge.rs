//! The application judges the peer (`Verify::Ask`): nothing but pins and the signature is checked while TLS runs.

use std::time::Duration;

use super::{code, options};
use crate::{
    CertificateFault, ClientAuth, ClientSessions, ClientTls, Pin, Provider, Roots, Session, Verify,
    testing::{CLIENT_PARAMETERS, UNIX_TIME, certificate, handshake, identity_of, sessions, sessions_to},
};
use qbase::VERSION_1;

#[test]
fn a_client_that_judges_hears_what_the_default_would_say_of_the_server() {
    let (mut client, server) = options();
    client.verify = Verify::Ask(1);
    let opinion = |name: &str, client: &crate::ClientTlsOptions| {
        let (near, far) = sessions_to(name, client, &server);
        let (near, _, result) = handshake(near, far);
        assert_eq!(result, Ok(()), "{name}");
        assert!(!near.session.peer_certificates().is_empty());
        near.session.default_fault()
    };
    assert_eq!(opinion("localhost", &client), None);
    let begins = |said: Option<String>, fault: &str| said.is_some_and(|said| said.starts_with(fault));
    assert!(begins(opinion("example.net", &client), "name"));
    let late = Provider::Seeded { seed: [2; 32], unix_time: UNIX_TIME + Duration::from_secs(15 * 86_400) };
    assert!(begins(opinion("localhost", &crate::ClientTlsOptions { provider: late, ..client.clone() }), "expired"));
    let roots = Roots::Der(vec![certificate(9, &["other"]).cert_der]);
    assert!(begins(opinion("localhost", &crate::ClientTlsOptions { roots, ..client.clone() }), "unknown issuer"));
    client.roots = Roots::None;
    assert!(begins(opinion("localhost", &client), "nobody to trust"));
    let own = certificate(1, &["localhost", "127.0.0.1", "::1"]);
    client.pins = vec![Pin::of_certificate(&own.cert_der)];
    assert_eq!(opinion("example.net", &client), None, "a pin alone is trust");
}

#[test]
fn pins_bind_whoever_judges() {
    let (mut client, server) = options();
    (client.verify, client.pins) = (Verify::Ask(1), vec![Pin::Certificate([0; 32])]);
    let (near, far) = sessions(&client, &server);
    let (near, _, result) = handshake(near, far);
    assert_eq!(code(result), Some(0x12e));
    assert_eq!(near.session.certificate_fault(), Some(CertificateFault::Pin));
}

#[test]
fn a_server_that_judges_needs_no_anchors_and_hears_of_the_clients_chain() {
    let mine = certificate(7, &["client.example"]);
    let (mut client, mut server) = options();
    client.identity = Some(identity_of(&mine));
    (server.client_auth, server.verify) = (ClientAuth::Require, Verify::Ask(1));
    let (near, far) = sessions(&client, &server);
    let (_, far, result) = handshake(near, far);
    assert_eq!(result, Ok(()));
    assert!(far.session.default_fault().is_some_and(|said| said.starts_with("nobody to trust")));
    server.roots = Roots::Der(vec![mine.cert_der.clone()]);
    let (near, far) = sessions(&client, &server);
    assert_eq!(handshake(near, far).1.session.default_fault(), None);
    server.roots = Roots::Der(vec![certificate(8, &["other"]).cert_der]);
    let (near, far) = sessions(&client, &server);
    assert!(handshake(near, far).1.session.default_fault().is_some_and(|said| said.starts_with("unknown issuer")));
}

/// A ticket stands for the word of the one who gave it.
#[test]
fn a_ticket_of_one_judge_is_worth_nothing_to_another() {
    let (mut client, server) = options();
    client.sessions = Some(ClientSessions::new());
    let server = crate::ServerTls::new(&server).unwrap();
    let mut resumed = |judge: u64| {
        client.verify = Verify::Ask(judge);
        let tls = ClientTls::new(&client).unwrap();
        let near = Session::resume(&tls, "key", "localhost", CLIENT_PARAMETERS, VERSION_1).unwrap();
        let far = Session::server(&server, crate::testing::SERVER_PARAMETERS, VERSION_1).unwrap();
        let (near, _, result) = handshake(near, far);
        assert_eq!(result, Ok(()));
        near.session.is_resumed()
    };
    assert_eq!([resumed(1), resumed(1), resumed(2), resumed(2)], [false, true, false, true]);
}
