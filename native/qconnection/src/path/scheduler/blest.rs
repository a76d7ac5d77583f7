//! Blocking estimation: a slow path rests while its data would fill the send window that the quick path needs meanwhile.
//!
//! After Ferlin, Alay, Mehani and Boreli, "BLEST: Blocking Estimation-based MPTCP Scheduler for Heterogeneous Networks"
//! (IFIP Networking 2016): over one round trip of the slow path the quick one sends its window once a round trip, one
//! packet more each time. If that is more than the send window leaves beside the slow path's data, the slow path would
//! block it. A correction grows with every blocking that happened all the same.

use super::{Candidate, Decision, Demand, Reason, min_rtt::quickest};

/// The correction 1, in thousandths.
const ONE: u64 = 1_000;
/// The correction moves by this much at once, within its bounds.
const STEP: u64 = 10;
/// Its bounds.
const BOUNDS: (u64, u64) = (ONE, 2 * ONE);

/// How much more than estimated the quick path turned out to need.
#[derive(Clone, Copy, Debug)]
pub(super) struct Correction(u64);

impl Default for Correction {
    fn default() -> Self {
        Self(ONE)
    }
}

pub(super) fn decide<'a>(candidates: impl Iterator<Item = &'a Candidate> + Clone, demand: Demand, correction: &mut Correction) -> Decision {
    let Some(quick) = quickest(candidates.clone()) else { return Decision::Full };
    if quick.has_room() {
        // The quick path could send and the peer's window is nearly used up: something blocks it.
        let blocked = demand.credit < quick.mtu && demand.queued > demand.again;
        let moved = if blocked { correction.0.saturating_add(STEP) } else { correction.0.saturating_sub(1) };
        correction.0 = moved.clamp(BOUNDS.0, BOUNDS.1);
        return Decision::send(quick.path, Reason::LowestRtt);
    }
    let Some(slow) = quickest(candidates.filter(|candidate| candidate.has_room())) else { return Decision::Full };
    let window = demand.credit.saturating_add(demand.outstanding);
    let left = window.saturating_sub(slow.in_flight.saturating_add(slow.mtu));
    if needs(quick, slow).saturating_mul(correction.0) / ONE > left {
        return Decision::Wait(Reason::WouldBlock);
    }
    Decision::send(slow.path, Reason::BlocksNothing)
}

/// Bytes the quick path sends in one round trip of the slow one.
fn needs(quick: &Candidate, slow: &Candidate) -> u64 {
    let rounds = slow.smoothed_rtt.as_nanos().checked_div(quick.smoothed_rtt.as_nanos().max(1)).unwrap_or(1).max(1);
    let rounds = u64::try_from(rounds).unwrap_or(u64::MAX);
    let growth = quick.mtu.saturating_mul(rounds.saturating_sub(1)) / 2;
    quick.window.saturating_add(growth).saturating_mul(rounds)
}

#[cfg(test)]
mod tests {
    use super::super::{Memory, Scheduler, Standing::Available, decide, tests::candidate};
    use super::*;

    fn decided(credit: u64) -> Decision {
        let paths = [candidate(0, Available, 20, 0), candidate(1, Available, 100, 12_000)];
        let demand = Demand { queued: 1 << 20, again: 0, credit, outstanding: 12_000 };
        decide(Scheduler::Blest, &paths, demand, &mut Memory::default())
    }

    #[test]
    fn a_slow_path_rests_while_the_quick_one_needs_the_window() {
        // five rounds of 12,000 bytes and two packets on average: 72,000 bytes
        assert_eq!(decided(61_000), Decision::Wait(Reason::WouldBlock));
        assert_eq!(decided(61_200), Decision::send(qbase::PathId(1), Reason::BlocksNothing));
    }

    #[test]
    fn blocking_that_happened_makes_it_more_careful_and_time_less() {
        let mut correction = Correction::default();
        let quick = [candidate(0, Available, 20, 12_000)];
        for _ in 0..10 {
            let demand = Demand { queued: 9_000, again: 0, credit: 0, outstanding: 0 };
            let _ = super::decide(quick.iter(), demand, &mut correction);
        }
        assert_eq!(correction.0, ONE + 10 * STEP);
        for _ in 0..1_000 {
            let _ = super::decide(quick.iter(), Demand { queued: 9_000, credit: 90_000, ..Demand::default() }, &mut correction);
        }
        assert_eq!(correction.0, ONE);
    }
}
