//! One burst a path, in turn.

use super::{Candidate, Decision, Reason};
use qbase::PathId;

pub(super) fn decide<'a>(candidates: impl Iterator<Item = &'a Candidate> + Clone, last: Option<PathId>) -> Decision {
    let open = candidates.filter(|candidate| candidate.has_room()).map(|candidate| candidate.path);
    let after = open.clone().filter(|path| last.is_none_or(|last| *path > last)).min();
    match after.or_else(|| open.min()) {
        Some(path) => Decision::send(path, Reason::NextInTurn),
        None => Decision::Full,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Scheduler, Standing::Available, tests::{candidate, chosen}};

    #[test]
    fn it_goes_on_after_the_last_path_and_skips_full_ones() {
        let paths = [candidate(0, Available, 20, 9_000), candidate(1, Available, 5, 0), candidate(3, Available, 9, 9_000)];
        assert_eq!(chosen(Scheduler::RoundRobin, &paths, None), Some(0));
        assert_eq!(chosen(Scheduler::RoundRobin, &paths, Some(0)), Some(3));
        assert_eq!(chosen(Scheduler::RoundRobin, &paths, Some(3)), Some(0));
    }
}
