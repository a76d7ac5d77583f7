//! The cubic function `W(t) = C * (t - K)^3 + W_max` in integers (RFC 9438 §4.2).
//!
//! Bytes and microseconds, so that it holds for windows of many megabytes and round trips of tens of microseconds alike.
//! Called by CUBIC. Never knows windows, epochs or acknowledgements.

/// `C = 0.4 segments / s^3`, as a fraction.
const C: (u128, u128) = (4, 10);
/// `1 s^3` in cubic microseconds.
const CUBIC_MICROS: u128 = 1_000_000_000_000_000_000;
/// Farthest from `K` the function is told apart, microseconds: half an hour, beyond any window.
const MAX_OFFSET: u64 = 1 << 31;

/// `K`: microseconds the function takes to grow by `bytes` to its plateau.
pub(super) fn time_to_plateau(bytes: u64, mtu: u64) -> u64 {
    let scaled = u128::from(bytes).saturating_mul(CUBIC_MICROS).saturating_mul(C.1);
    cube_root(scaled.checked_div(u128::from(mtu).saturating_mul(C.0)).unwrap_or(0))
}

/// `W(t)` for `elapsed` microseconds since the epoch; zero where the function is negative.
pub(super) fn window_at(elapsed: u64, plateau_at: u64, plateau: u64, mtu: u64) -> u64 {
    let offset = u128::from(elapsed.abs_diff(plateau_at).min(MAX_OFFSET));
    let cube = offset.saturating_mul(offset).saturating_mul(offset);
    let scaled = cube.saturating_mul(u128::from(mtu).saturating_mul(C.0));
    let bytes = u64::try_from(scaled.checked_div(CUBIC_MICROS.saturating_mul(C.1)).unwrap_or(0)).unwrap_or(u64::MAX);
    if elapsed < plateau_at { plateau.saturating_sub(bytes) } else { plateau.saturating_add(bytes) }
}

/// Largest integer whose cube is at most `value`.
fn cube_root(value: u128) -> u64 {
    // 2^42 cubed is the largest power of two whose cube plus the steps below stays inside 128 bits.
    let mut root: u128 = 0;
    let mut step: u128 = 1 << 41;
    while step > 0 {
        let next = root | step;
        if next.saturating_mul(next).saturating_mul(next) <= value {
            root = next;
        }
        step >>= 1;
    }
    u64::try_from(root).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The function in the RFC's units: segments and seconds.
    fn reference(elapsed: f64, plateau_at: f64, plateau: f64) -> f64 {
        0.4 * (elapsed - plateau_at).powi(3) + plateau
    }

    #[test]
    fn plateau_is_reached_after_the_cube_root() {
        // (segments below the plateau, milliseconds)
        for (segments, expected) in [(0.0, 0.0), (0.4, 1_000.0), (300.0, 9_085.6), (10_000.0, 29_240.2)] {
            let micros = time_to_plateau((segments * 1_200.0) as u64, 1_200) as f64;
            assert!((micros / 1_000.0 - expected).abs() < 0.1, "{segments}: {micros}");
        }
    }

    #[test]
    fn cube_roots_are_exact_floors() {
        for root in [0_u128, 1, 2, 3, 10, 999_999, 65_000_000, (1 << 42) - 1] {
            let cube = root * root * root;
            assert_eq!(u128::from(cube_root(cube)), root);
            if cube > 0 {
                assert_eq!(u128::from(cube_root(cube - 1)), root - 1);
            }
        }
        assert_eq!(cube_root(u128::MAX), (1 << 42) - 1);
    }

    proptest! {
        #[test]
        fn curve_matches_the_formula(elapsed in 0_u64..200_000_000, plateau_at in 0_u64..70_000_000, segments in 2_u64..100_000) {
            let bytes = window_at(elapsed, plateau_at, segments * 1_200, 1_200) as f64;
            let expected = reference(elapsed as f64 / 1e6, plateau_at as f64 / 1e6, segments as f64) * 1_200.0;
            prop_assert!((bytes - expected.max(0.0)).abs() <= 2.0 + expected.abs() * 1e-9, "{bytes} {expected}");
        }

        #[test]
        fn curve_never_falls_with_time(elapsed in any::<u64>(), step in any::<u64>(), plateau_at in any::<u64>(), plateau in any::<u64>(), mtu in any::<u64>()) {
            let later = elapsed.saturating_add(step);
            prop_assert!(window_at(elapsed, plateau_at, plateau, mtu) <= window_at(later, plateau_at, plateau, mtu));
        }

        #[test]
        fn plateau_time_never_overflows(bytes in any::<u64>(), mtu in any::<u64>()) {
            time_to_plateau(bytes, mtu);
        }
    }
}
