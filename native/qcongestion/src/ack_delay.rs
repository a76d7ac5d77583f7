//! The ACK Delay field: microseconds shifted by an exponent that each side announces (RFC 9000 §19.3).
//!
//! Called by whoever reads and writes ACK frames: encode with our exponent, decode with the peer's (burst B-103). Never
//! cuts a delay to `max_ack_delay`: that depends on the state of the handshake (RFC 9002 §5.3).

use std::time::Duration;

/// The field for a delay; larger than a varint becomes its maximum.
#[must_use]
pub fn encode(delay: Duration, exponent: u8) -> u64 {
    const MAX_VARINT: u64 = (1 << 62) - 1;
    let micros = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
    micros.checked_shr(u32::from(exponent)).unwrap_or(0).min(MAX_VARINT)
}

/// The delay a field stands for; saturates at 584,000 years (attacks C6).
#[must_use]
pub fn decode(field: u64, exponent: u8) -> Duration {
    let factor = 1_u64.checked_shl(u32::from(exponent)).unwrap_or(u64::MAX);
    Duration::from_micros(field.saturating_mul(factor))
}
