//! Linked increases: `alpha` of the whole is shared by the paths (RFC 6356 §3).

use super::{Subflow, Terms, total_rate};

/// `alpha / sum(w)` for each packet acknowledged, with
/// `alpha = sum(w) * max(w_i / rtt_i^2) / sum(w_i / rtt_i)^2`, windows in packets.
pub(super) fn terms(_own: &Subflow, all: &[Subflow]) -> Terms {
    let steepest = all.iter().filter(|flow| !flow.rtt.is_zero()).map(|flow| flow.rate() / flow.seconds()).fold(0.0, f64::max);
    let total = total_rate(all);
    Terms { increase: steepest / (total * total), decrease: 0.5 }
}
