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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn field_counts_microseconds_in_units_of_the_exponent() {
        // (delay in us, exponent, field)
        let cases = [(0, 3, 0), (7, 3, 0), (8, 3, 1), (25_000, 3, 3_125), (25_000, 0, 25_000), (25_000, 20, 0)];
        for (micros, exponent, field) in cases {
            assert_eq!(encode(Duration::from_micros(micros), exponent), field, "{micros} {exponent}");
        }
    }

    // burst B-103: both sides may use exponents of their own.
    #[test]
    fn peers_exponent_decodes_what_the_peer_encoded() {
        assert_eq!(decode(encode(Duration::from_millis(25), 10), 10), Duration::from_micros(24 * 1_024));
    }

    // attacks C6
    #[test]
    fn largest_field_with_the_largest_exponent_saturates() {
        assert_eq!(decode((1 << 62) - 1, 20), Duration::from_micros(u64::MAX));
        assert_eq!(decode(u64::MAX, 255), Duration::from_micros(u64::MAX));
        assert_eq!(encode(Duration::MAX, 0), (1 << 62) - 1);
        assert_eq!(encode(Duration::MAX, 255), 0);
    }

    proptest! {
        #[test]
        fn round_trip_loses_less_than_one_unit(micros in 0_u64..1 << 40, exponent in 0_u8..=20) {
            let decoded = decode(encode(Duration::from_micros(micros), exponent), exponent);
            prop_assert!(decoded <= Duration::from_micros(micros));
            prop_assert!(decoded + Duration::from_micros(1 << exponent) > Duration::from_micros(micros));
        }
    }
}
