//! Errors of the TLS library as error codes of QUIC (RFC 9001 §4.8).
//!
//! Called by the session when a message is refused.

use qbase::{ErrorCode, Role, TransportError};
use rustls::PeerMisbehaved;

/// What the connection closes with. `raised` is the alert of the library, if it raised one.
pub(super) fn transport_error(error: &rustls::Error, raised: Option<u8>, role: Role) -> TransportError {
    if let rustls::Error::PeerMisbehaved(PeerMisbehaved::InvalidMaxEarlyDataSize) = error {
        return TransportError::violation("max_early_data_size is not 0xffffffff");
    }
    let alert = match raised.unwrap_or_else(|| alert_of(error)) {
        // A server without an identity for the client's name says so by name (RFC 6066 §3).
        ACCESS_DENIED if role == Role::Server => UNRECOGNIZED_NAME,
        alert => alert,
    };
    TransportError { code: ErrorCode::crypto(alert), frame_type: None, reason: error.to_string().into() }
}

/// access_denied (RFC 8446 §6).
const ACCESS_DENIED: u8 = 49;
/// unrecognized_name.
const UNRECOGNIZED_NAME: u8 = 112;
/// unexpected_message (RFC 8446 §6).
pub(super) const UNEXPECTED_MESSAGE: u8 = 10;
/// decode_error.
pub(super) const DECODE_ERROR: u8 = 50;
/// internal_error.
const INTERNAL_ERROR: u8 = 80;
/// no_application_protocol (RFC 7301 §3.2).
pub(super) const NO_APPLICATION_PROTOCOL: u8 = 120;

/// The alert for errors that TLS raised without one.
fn alert_of(error: &rustls::Error) -> u8 {
    match error {
        rustls::Error::InappropriateMessage { .. } | rustls::Error::InappropriateHandshakeMessage { .. } => {
            UNEXPECTED_MESSAGE
        }
        rustls::Error::InvalidMessage(_) => DECODE_ERROR,
        rustls::Error::NoApplicationProtocol => NO_APPLICATION_PROTOCOL,
        _ => INTERNAL_ERROR,
    }
}
