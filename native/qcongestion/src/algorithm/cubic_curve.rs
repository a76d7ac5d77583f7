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
    let cube = u128::from(bytes).saturating_mul(CUBIC_MICROS).saturating_mul(C.1) / u128::from(mtu.max(1)).saturating_mul(C.0);
    cube_root(cube)
}

/// `W(t)` for `elapsed` microseconds since the epoch; zero where the function is negative.
pub(super) fn window_at(elapsed: u64, plateau_at: u64, plateau: u64, mtu: u64) -> u64 {
    let offset = u128::from(elapsed.abs_diff(plateau_at).min(MAX_OFFSET));
    let cube = offset.saturating_mul(offset).saturating_mul(offset);
    let bytes = cube.saturating_mul(u128::from(mtu).saturating_mul(C.0)) / CUBIC_MICROS.saturating_mul(C.1);
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
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
