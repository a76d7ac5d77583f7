//! Balanced linked adaptation: a path far slower than the quickest grows and falls more gently than it would under LIA
//! (draft-walid-mptcp-congestion-control §3).

use super::{Subflow, Terms, total_rate};

/// Most of half a window that a congestion event takes.
const MOST: f64 = 1.5;

pub(super) fn terms(own: &Subflow, all: &[Subflow]) -> Terms {
    let total = total_rate(all);
    let quickest = all.iter().filter(|flow| !flow.rtt.is_zero()).map(Subflow::rate).fold(0.0, f64::max);
    let alpha = (quickest / own.rate().max(f64::MIN_POSITIVE)).max(1.0);
    let increase = own.rate() / own.seconds() / (total * total) * ((1.0 + alpha) / 2.0) * ((4.0 + alpha) / 5.0);
    Terms { increase, decrease: alpha.min(MOST) / 2.0 }
}
