//! The quickest path with room.

use super::{Candidate, Decision, Reason};

/// The quickest of those with room.
pub(super) fn quickest<'a>(candidates: impl Iterator<Item = &'a Candidate>) -> Option<&'a Candidate> {
    candidates.min_by_key(|candidate| (candidate.smoothed_rtt, candidate.path))
}

pub(super) fn decide<'a>(candidates: impl Iterator<Item = &'a Candidate>) -> Decision {
    match quickest(candidates.filter(|candidate| candidate.has_room())) {
        Some(candidate) => Decision::send(candidate.path, Reason::LowestRtt),
        None => Decision::Full,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Scheduler, Standing::Available, tests::{candidate, chosen}};

    #[test]
    fn the_quickest_path_that_has_room_is_taken() {
        let paths = [candidate(0, Available, 20, 9_000), candidate(1, Available, 5, 1_199), candidate(2, Available, 9, 1_200)];
        assert_eq!(chosen(Scheduler::MinRtt, &paths, None), Some(2));
        assert_eq!(chosen(Scheduler::MinRtt, &paths[1..2], None), None);
    }
}
