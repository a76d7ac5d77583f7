//! Earliest completion first: a slow path rests while the quick one, though full now, would have sent everything sooner.
//!
//! After Lim, Nahum, Towsley and Gibbens, "ECF: An MPTCP Path Scheduler to Manage Heterogeneous Paths" (CoNEXT 2017): with
//! `k` bytes waiting, the quick path of window `w` and round trip `r` needs about `(1 + k / w) * r`, the slow one at least
//! its own round trip. A wait begins only if the slow path would need two round trips of the quick one for what waits,
//! and once begun ends a little later than it would begin.

use super::{Candidate, Decision, Demand, Reason, min_rtt::quickest};
use std::time::Duration;

/// A wait that has begun goes on while the comparison is no worse than this part off.
const HYSTERESIS: u32 = 4;

pub(super) fn decide<'a>(candidates: impl Iterator<Item = &'a Candidate> + Clone, demand: Demand, waits: &mut bool) -> Decision {
    let Some(quick) = quickest(candidates.clone()) else { return Decision::Full };
    if quick.has_room() {
        return Decision::send(quick.path, Reason::LowestRtt);
    }
    let Some(slow) = quickest(candidates.filter(|candidate| candidate.has_room())) else { return Decision::Full };
    let margin = quick.rttvar.max(slow.rttvar);
    let there = slow.smoothed_rtt.saturating_add(margin);
    let bound = if *waits { there.saturating_add(there.checked_div(HYSTERESIS).unwrap_or_default()) } else { there };
    if windows(demand.queued, quick).saturating_add(quick.smoothed_rtt) >= bound {
        *waits = false;
        return Decision::send(slow.path, Reason::SoonerThanWaiting);
    }
    if windows(demand.queued, slow) >= quick.smoothed_rtt.saturating_mul(2).saturating_add(margin) || *waits {
        *waits = true;
        return Decision::Wait(Reason::WaitingIsSooner);
    }
    Decision::send(slow.path, Reason::SoonerThanWaiting)
}

/// Time in which windows of the path carry `bytes`.
fn windows(bytes: u64, path: &Candidate) -> Duration {
    let nanos = path.smoothed_rtt.as_nanos().saturating_mul(u128::from(bytes)).checked_div(u128::from(path.window.max(1)));
    Duration::from_nanos(u64::try_from(nanos.unwrap_or_default()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::super::{Memory, Scheduler, Standing::Available, decide, tests::candidate};
    use super::*;

    /// With a memory of having sent, or of waiting.
    fn decided(queued: u64, mut memory: Memory) -> Decision {
        let paths = [candidate(0, Available, 20, 0), candidate(1, Available, 300, 12_000)];
        decide(Scheduler::Ecf, &paths, Demand { queued, ..Demand::default() }, &mut memory)
    }

    #[test]
    fn the_slow_path_rests_while_the_quick_one_is_sooner_through() {
        // 20 ms a window of 12,000 bytes: 60,000 bytes take 120 ms, the slow path 300 ms
        assert_eq!(decided(60_000, Memory::default()), Decision::Wait(Reason::WaitingIsSooner));
        assert_eq!(decided(180_000, Memory::default()), Decision::send(qbase::PathId(1), Reason::SoonerThanWaiting), "320 ms");
    }

    #[test]
    fn a_wait_that_has_begun_goes_on_a_little_longer() {
        let waiting = Memory { ecf_waits: true, ..Memory::default() };
        assert_eq!(decided(200_000, waiting), Decision::Wait(Reason::WaitingIsSooner));
        assert_eq!(decided(300_000, waiting), Decision::send(qbase::PathId(1), Reason::SoonerThanWaiting));
    }

    #[test]
    fn the_quick_path_with_room_needs_no_comparison() {
        let paths = [candidate(0, Available, 20, 1_200), candidate(1, Available, 300, 12_000)];
        let decision = decide(Scheduler::Ecf, &paths, Demand { queued: 1, ..Demand::default() }, &mut Memory::default());
        assert_eq!(decision, Decision::send(qbase::PathId(0), Reason::LowestRtt));
    }
}
