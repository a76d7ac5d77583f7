//! Which path carries data next, and why (burst B-101).
//!
//! Called by the connection's output once per burst. Acknowledgements, probes and path frames never ask it.
//! It looks at facts of the paths only; the congestion window is enforced later, whatever it answers.

use qbase::PathId;
use std::time::Duration;

/// The built-in choices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Scheduler {
    /// The path with the lowest smoothed RTT that has room.
    #[default]
    MinRtt,
    /// One burst a path, in turn, skipping paths without room.
    RoundRobin,
    /// As `MinRtt`, and every byte goes on all other paths too.
    Redundant,
}

impl Scheduler {
    /// The name in options and traces.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::MinRtt => "min-rtt",
            Self::RoundRobin => "round-robin",
            Self::Redundant => "redundant",
        }
    }

    /// The scheduler of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::MinRtt, Self::RoundRobin, Self::Redundant].into_iter().find(|scheduler| scheduler.name() == name)
    }
}

/// What a path may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Preferred: available on both sides and answering.
    Available,
    /// Only while no available path works (multipath MP-57).
    Backup,
    /// Silent for a PTO: no new data while another path lives (multipath MP-83).
    Suspect,
}

/// Facts of one open, validated path.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// The path.
    pub path: PathId,
    /// What it may be used for.
    pub standing: Standing,
    /// Smoothed RTT.
    pub smoothed_rtt: Duration,
    /// Bytes the window and the pacer allow.
    pub room: u64,
}

/// The answer: the path to fill next, with the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The path.
    pub path: PathId,
    /// In words, for traces.
    pub reason: &'static str,
}

/// Chooses among `candidates`; `last` is the path of the data burst before. `full` is the room a whole datagram needs.
///
/// Only paths of the best standing present are considered, so that a backup path rests while an available one works and
/// a suspect one gets new data only when nothing else is left. `None`: none of those has room.
#[must_use]
pub fn choose(scheduler: Scheduler, candidates: &[Candidate], last: Option<PathId>, full: u64) -> Option<Choice> {
    let standing = candidates.iter().map(|candidate| candidate.standing).min()?;
    let open = candidates.iter().filter(|candidate| candidate.standing == standing && candidate.room >= full);
    match scheduler {
        Scheduler::MinRtt | Scheduler::Redundant => open
            .min_by_key(|candidate| (candidate.smoothed_rtt, candidate.path))
            .map(|candidate| Choice { path: candidate.path, reason: "lowest rtt with room" }),
        Scheduler::RoundRobin => {
            let after = |candidate: &&Candidate| last.is_none_or(|last| candidate.path > last);
            open.clone()
                .filter(after)
                .min_by_key(|candidate| candidate.path)
                .or_else(|| open.min_by_key(|candidate| candidate.path))
                .map(|candidate| Choice { path: candidate.path, reason: "next in turn with room" })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(path: u32, standing: Standing, rtt: u64, room: u64) -> Candidate {
        Candidate { path: PathId(path), standing, smoothed_rtt: Duration::from_millis(rtt), room }
    }

    fn chosen(scheduler: Scheduler, candidates: &[Candidate], last: Option<u32>) -> Option<u32> {
        choose(scheduler, candidates, last.map(PathId), 1_200).map(|choice| choice.path.0)
    }

    #[test]
    fn min_rtt_takes_the_quickest_path_that_has_room() {
        use Standing::Available;
        let paths = [candidate(0, Available, 20, 9_000), candidate(1, Available, 5, 1_199), candidate(2, Available, 9, 1_200)];
        assert_eq!(chosen(Scheduler::MinRtt, &paths, None), Some(2));
        assert_eq!(chosen(Scheduler::MinRtt, &paths[1..2], None), None);
    }

    #[test]
    fn round_robin_goes_on_after_the_last_path_and_skips_full_ones() {
        use Standing::Available;
        let paths = [candidate(0, Available, 20, 9_000), candidate(1, Available, 5, 0), candidate(3, Available, 9, 9_000)];
        assert_eq!(chosen(Scheduler::RoundRobin, &paths, None), Some(0));
        assert_eq!(chosen(Scheduler::RoundRobin, &paths, Some(0)), Some(3));
        assert_eq!(chosen(Scheduler::RoundRobin, &paths, Some(3)), Some(0));
    }

    #[test]
    fn a_backup_or_suspect_path_rests_while_an_available_one_lives() {
        let paths = [candidate(0, Standing::Suspect, 1, 9_000), candidate(1, Standing::Backup, 2, 9_000), candidate(2, Standing::Available, 50, 0)];
        assert_eq!(chosen(Scheduler::MinRtt, &paths, None), None, "the available path is only waiting for its window");
        assert_eq!(chosen(Scheduler::MinRtt, &paths[..2], None), Some(1));
        assert_eq!(chosen(Scheduler::RoundRobin, &paths[..1], None), Some(0), "the last path is never given up");
    }
}
