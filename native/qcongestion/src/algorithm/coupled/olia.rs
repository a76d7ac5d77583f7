//! Opportunistic linked increases: Pareto-optimal, and quick to use what others leave.
//!
//! A path whose losses say that it is good while its window is small (`collected`) gets a share of growth that the paths
//! with the largest windows give up (draft-khalili-mptcp-congestion-control §3).

use super::{Subflow, Terms, total_rate};

pub(super) fn terms(own: &Subflow, all: &[Subflow]) -> Terms {
    let total = total_rate(all);
    let linked = own.rate() / own.seconds() / (total * total);
    Terms { increase: linked + alpha(own, all) / own.packets().max(1.0), decrease: 0.5 }
}

/// What a path gets beyond its linked share, or gives: packets for each window acknowledged.
fn alpha(own: &Subflow, all: &[Subflow]) -> f64 {
    let counted = || all.iter().filter(|flow| !flow.rtt.is_zero());
    let largest = counted().map(Subflow::packets).fold(0.0, f64::max);
    let best = counted().map(quality).fold(0.0, f64::max);
    let has_largest = |flow: &Subflow| flow.packets() >= largest;
    let is_collected = |flow: &Subflow| quality(flow) >= best && !has_largest(flow);
    let collected = counted().filter(|flow| is_collected(flow)).count();
    if collected == 0 {
        return 0.0;
    }
    let paths = counted().count() as f64;
    if is_collected(own) {
        1.0 / (paths * collected as f64)
    } else if has_largest(own) {
        -1.0 / (paths * counted().filter(|flow| has_largest(flow)).count().max(1) as f64)
    } else {
        0.0
    }
}

/// `l^2 / rtt`: how well the path would do with a window of its own.
fn quality(flow: &Subflow) -> f64 {
    let bytes = flow.between_losses as f64;
    bytes * bytes / flow.seconds()
}
