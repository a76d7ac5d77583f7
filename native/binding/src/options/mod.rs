//! Options of JavaScript as the configurations of the machine, the driver and TLS.
//!
//! | file | reads |
//! |---|---|
//! | `endpoint` | `NativeEndpointOptions` |
//! | `tls` | `NativeTls` |
//! | `transport` | `NativeTransport` |
//! | `traversal` | `NativeTraversal` |
//! | `connect`, `server` | `NativeConnect`, `NativeServer` |
//!
//! JavaScript has checked types, ranges and names; what is refused here is what only the engine can know. Nothing is
//! bound or sent before all of it is read.

pub mod connect;
pub mod endpoint;
pub mod server;
pub mod tls;
pub mod transport;
pub mod traversal;

use std::{fmt::Write, time::Duration};

use crate::error::NativeError;

/// A duration from milliseconds.
///
/// # Errors
/// The number is negative, not a number or too large.
pub fn millis(field: &str, value: f64) -> Result<Duration, NativeError> {
    Duration::try_from_secs_f64(value / 1e3).map_err(|_| NativeError::option(field, "is no number of milliseconds"))
}

/// An option this engine has not.
#[must_use]
pub fn unavailable(field: &str) -> NativeError {
    NativeError::option(field, "not available in this version")
}

/// Bytes of an even number of hex digits.
#[must_use]
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

/// Hex digits of bytes.
#[must_use]
pub fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len().saturating_mul(2)), |mut text, byte| {
        // Writing into a String cannot fail.
        write!(text, "{byte:02x}").unwrap_or_default();
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_is_read_and_written() {
        assert_eq!(from_hex("00ffA5"), Some(vec![0, 255, 0xa5]));
        assert_eq!((from_hex("0"), from_hex("zz"), from_hex("é")), (None, None, None));
        assert_eq!(to_hex(&[0, 255, 0xa5]), "00ffa5");
    }

    #[test]
    fn milliseconds_have_fractions_and_a_range() {
        assert_eq!(millis("x", 1.5).expect("duration"), Duration::from_micros(1_500));
        for nonsense in [-1.0, f64::NAN, f64::INFINITY, 1e300] {
            assert!(millis("x", nonsense).is_err(), "{nonsense}");
        }
    }
}
