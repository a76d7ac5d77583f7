//! What a client offers in its first message, and answers to it that it must refuse (RFC 9001 §4.2, §4.4, §8.1,
//! §8.4).

use super::*;

/// Where the session id of a hello stands: behind type, length, version and random.
const SESSION_ID: usize = 4 + 2 + 32;
const SUPPORTED_VERSIONS: u16 = 43;
const APPLICATION_PROTOCOL: u16 = 16;

/// The body of an extension of a hello whose list of extensions begins at `start`.
fn extension(message: &[u8], start: usize, kind: u16) -> Option<&[u8]> {
    let mut rest = &message[start + 2..];
    while let [a, b, c, d, ..] = *rest {
        let len = usize::from(u16::from_be_bytes([c, d]));
        if u16::from_be_bytes([a, b]) == kind {
            return Some(&rest[4..4 + len]);
        }
        rest = &rest[4 + len..];
    }
    None
}

/// Shows 9001-4.2-1 and 9001-8.4-1.
#[test]
fn a_client_offers_tls_1_3_only_and_no_compatibility_mode() {
    let (mut client, _) = pair();
    let mut hello = Vec::new();
    client.write(&mut hello);
    assert_eq!(hello[SESSION_ID], 0, "a session id would be compatibility mode");
    let ciphers = usize::from(u16::from_be_bytes([hello[39], hello[40]]));
    let versions = extension(&hello, SESSION_ID + 1 + 2 + ciphers + 2, SUPPORTED_VERSIONS);
    assert_eq!(versions, Some(&[2, 3, 4][..]));
}

/// Shows 9001-4.2-2.
#[test]
fn a_server_that_chooses_an_older_tls_is_refused() {
    let (mut client, _, flight) = server_flight();
    // Without the extension the legacy field counts: TLS 1.2.
    let hello = without_extension(&flight[0].1, SESSION_ID + 1 + 2 + 1, SUPPORTED_VERSIONS);
    assert!(code(client.session.read(INITIAL, &hello)).is_some_and(|code| (0x100..0x200).contains(&code)));
}

/// Shows 9001-8.1-3.
#[test]
fn a_server_that_chooses_no_protocol_is_refused_with_0x178() {
    let (mut client, _, flight) = server_flight();
    client.session.read(INITIAL, &flight[0].1).unwrap();
    let (_, handshake) = &flight[1];
    let extensions = &handshake[..message_len(handshake).unwrap()];
    assert!(extension(extensions, 4, APPLICATION_PROTOCOL).is_some());
    let extensions = without_extension(extensions, 4, APPLICATION_PROTOCOL);
    assert_eq!(code(client.session.read(HANDSHAKE, &extensions)), Some(0x178));
}

/// Shows 9001-4.4-6.
#[test]
fn a_certificate_request_after_the_handshake_is_a_violation() {
    // An empty context and no extensions.
    let request = [13, 0, 0, 3, 0, 0, 0];
    let (mut client, _) = connected();
    assert_eq!(code(client.read(ONE_RTT, &request)), PROTOCOL_VIOLATION);
    let (mut client, _) = connected();
    assert_eq!(client.read(ONE_RTT, &request[..3]), Ok(()));
    assert_eq!(code(client.read(ONE_RTT, &request[3..])), PROTOCOL_VIOLATION, "in pieces");
}
