//! Shares of the bytes by weight: the path that is furthest behind its share sends.
//!
//! A path ahead of its share may send as well while those behind have no room, but only so far ahead that the shares stay
//! what the weights say: the connection is as fast as the slowest path can carry its share.

use super::{Candidate, Decision, Reason};

/// The weight of a path of which nothing was said; weights count against each other, so that this leaves room for fractions.
pub const DEFAULT_WEIGHT: u32 = 1_000;

/// What a byte counts on a path of weight 1.
const SCALE: u64 = 1 << 20;
/// A path may be ahead by so many bytes of the path with the least weight …
const LEAD_BYTES: u64 = 16 * 1_024;
/// … or by this part of what was carried, whichever is more.
const LEAD_PART: u64 = 64;

/// What `bytes` count on a path of this weight: compare sums of these.
#[must_use]
pub fn served_by(bytes: u64, weight: u32) -> u64 {
    bytes.saturating_mul(SCALE).checked_div(u64::from(weight.max(1))).unwrap_or(u64::MAX)
}

pub(super) fn decide<'a>(candidates: impl Iterator<Item = &'a Candidate> + Clone) -> Decision {
    let Some(least) = candidates.clone().map(|candidate| candidate.served).min() else { return Decision::Full };
    let lightest = candidates.clone().map(|candidate| candidate.weight).min().unwrap_or(DEFAULT_WEIGHT);
    let most = least.saturating_add(served_by(LEAD_BYTES, lightest).max(least / LEAD_PART));
    let open = candidates.filter(|candidate| candidate.has_room());
    match open.min_by_key(|candidate| (candidate.served, candidate.path)) {
        None => Decision::Full,
        Some(candidate) if candidate.served <= most => Decision::send(candidate.path, Reason::BehindItsShare),
        Some(_) => Decision::Wait(Reason::AheadOfItsShare),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Candidate, Scheduler, Standing::Available, tests::{candidate, chosen}};
    use super::*;

    fn having(path: u32, room: u64, bytes: u64, weight: u32) -> Candidate {
        Candidate { weight, served: served_by(bytes, weight), ..candidate(path, Available, 10, room) }
    }

    #[test]
    fn the_path_furthest_behind_its_share_sends() {
        let paths = [having(0, 9_000, 400_000, 4), having(1, 9_000, 90_000, 1)];
        assert_eq!(chosen(Scheduler::Weighted, &paths, None), Some(1));
        let paths = [having(0, 9_000, 400_000, 4), having(1, 9_000, 110_000, 1)];
        assert_eq!(chosen(Scheduler::Weighted, &paths, None), Some(0));
    }

    #[test]
    fn a_path_ahead_waits_for_one_that_has_no_room() {
        let near = [having(0, 0, 4_000_000, 4), having(1, 9_000, 1_015_000, 1)];
        assert_eq!(chosen(Scheduler::Weighted, &near, None), Some(1), "hardly ahead");
        let far = [having(0, 0, 4_000_000, 4), having(1, 9_000, 1_050_000, 1)];
        assert_eq!(chosen(Scheduler::Weighted, &far, None), None);
    }

    #[test]
    fn only_the_ratio_of_weights_counts() {
        for times in [1, 1_000, 1_000_000] {
            let far = [having(0, 0, 4_000_000, 4 * times), having(1, 9_000, 1_050_000, times)];
            assert_eq!(chosen(Scheduler::Weighted, &far, None), None, "{times}");
            let near = [having(0, 0, 4_000_000, 4 * times), having(1, 9_000, 1_010_000, times)];
            assert_eq!(chosen(Scheduler::Weighted, &near, None), Some(1), "{times}");
        }
    }

    #[test]
    fn a_weight_of_nothing_counts_as_one() {
        assert_eq!(served_by(100, 0), served_by(100, 1));
        assert_eq!(served_by(u64::MAX, 3), u64::MAX / 3);
    }
}
