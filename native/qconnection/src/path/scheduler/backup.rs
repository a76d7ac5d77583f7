//! One path alone: the lowest id of the best standing. The others wait until it is suspected or gone.

use super::{Candidate, Decision, Reason};

pub(super) fn decide<'a>(candidates: impl Iterator<Item = &'a Candidate>) -> Decision {
    match candidates.min_by_key(|candidate| candidate.path) {
        None => Decision::Full,
        Some(primary) if primary.has_room() => Decision::send(primary.path, Reason::Primary),
        Some(_) => Decision::Wait(Reason::PrimaryFull),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Scheduler, Standing::{Available, Suspect}, tests::{candidate, chosen}};

    #[test]
    fn the_others_rest_even_when_the_primary_is_full_until_it_is_suspected() {
        let paths = [candidate(0, Available, 50, 0), candidate(1, Available, 5, 9_000)];
        assert_eq!(chosen(Scheduler::Backup, &paths, None), None);
        let paths = [candidate(0, Suspect, 50, 9_000), candidate(1, Available, 5, 9_000)];
        assert_eq!(chosen(Scheduler::Backup, &paths, None), Some(1));
    }
}
