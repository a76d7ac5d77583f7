//! Handshakes in memory, good and bad.

use qbase::{EncryptionLevel, ErrorCode};

use super::*;
use crate::testing::{CLIENT_PARAMETERS, SERVER_PARAMETERS, End, handshake, handshake_in_pieces, options, sessions};

#[test]
fn handshake_completes_and_both_ends_agree() {
    let (client, server) = options();
    let (client, server) = sessions(&client, &server);
    let (client, server, result) = handshake(client, server);
    assert_eq!(result, Ok(()));
    for end in [&client, &server] {
        assert!(!end.session.is_handshaking());
        assert_eq!(end.session.alpn(), Some(b"test".as_slice()));
        assert_eq!(end.session.cipher_name(), "TLS_AES_128_GCM_SHA256");
        assert_eq!(end.changes.len(), 2);
    }
    assert_eq!(client.session.peer_parameters(), Some(SERVER_PARAMETERS));
    assert_eq!(server.session.peer_parameters(), Some(CLIENT_PARAMETERS));
    assert_eq!(server.session.server_name(), Some("localhost"));
    assert_eq!(client.session.peer_certificates().len(), 1);
}
