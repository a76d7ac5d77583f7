//! Handshake messages of TLS, as far as their boundaries and kinds go (RFC 8446 §4).
//!
//! Called by the session for every CRYPTO byte. Never looks into a message.

use qbase::{ErrorCode, TransportError};

use super::alert::DECODE_ERROR;

/// Type and length before the body of a TLS handshake message.
const MESSAGE_HEADER_LEN: usize = 4;
/// Longest handshake message we collect, bytes. The TLS library stops at the same length.
const MAX_MESSAGE_LEN: usize = 0xffff + MESSAGE_HEADER_LEN;

/// client_hello, a kind of message (RFC 8446 §4).
pub(super) const CLIENT_HELLO: u8 = 1;
/// new_session_ticket, a kind of message.
pub(super) const NEW_SESSION_TICKET: u8 = 4;
/// encrypted_extensions, a kind of message.
pub(super) const ENCRYPTED_EXTENSIONS: u8 = 8;
/// certificate_request, a kind of message.
pub(super) const CERTIFICATE_REQUEST: u8 = 13;

/// Length of the message that begins here, header included; `None` if the header is incomplete.
pub(super) fn message_len(bytes: &[u8]) -> Option<usize> {
    let [_, a, b, c] = *bytes.first_chunk::<MESSAGE_HEADER_LEN>()?;
    let body = usize::try_from(u32::from_be_bytes([0, a, b, c])).ok()?;
    body.checked_add(MESSAGE_HEADER_LEN)
}

/// A whole message lies at the front of `bytes`.
pub(super) fn starts_with_whole_message(bytes: &[u8]) -> Result<bool, TransportError> {
    match message_len(bytes) {
        Some(len) if len > MAX_MESSAGE_LEN => {
            Err(TransportError::new(ErrorCode::crypto(DECODE_ERROR), "TLS message too long"))
        }
        Some(len) => Ok(len <= bytes.len()),
        None => Ok(false),
    }
}
