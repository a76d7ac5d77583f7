//! Which path carries data next, and why (burst B-101).
//!
//! | file | chooses |
//! |---|---|
//! | `min_rtt` | the quickest path with room; `redundant` and `deadline` send the first copy so |
//! | `round_robin` | one burst a path in turn |
//! | `weighted` | the path that is furthest behind its share |
//! | `backup` | one path alone while it lives |
//! | `blest`, `ecf` | as `min_rtt`, but waits for the quicker path where that is sooner |
//! | `plan` | what somebody outside of the machine has decided |
//!
//! Called by the connection's output once per burst. Acknowledgements, probes and path frames never ask it. It looks at
//! facts of the paths only; the congestion window is enforced later, whatever it answers. Allocates nothing.

mod backup;
mod blest;
mod deadline;
mod ecf;
mod min_rtt;
mod plan;
mod reason;
mod round_robin;
mod weighted;

pub use deadline::Deadline;
pub use plan::{Pick, Picker, PlanError, SchedulerPlan, SchedulerView};
pub use reason::{Chosen, Reason};
pub use weighted::{DEFAULT_WEIGHT, served_by};

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
    /// Shares of the bytes by the weights of the paths.
    Weighted,
    /// Only the available path with the lowest id; another one when it is suspected.
    Backup,
    /// As `MinRtt`, and every byte goes on all other paths too.
    Redundant,
    /// As `MinRtt`, but a slow path rests while its data would fill the window that the quick one needs.
    Blest,
    /// As `MinRtt`, but a slow path rests while the quick one would have sent everything sooner.
    Ecf,
    /// As `MinRtt`, and what is late is copied to another path, up to a share of all bytes.
    Deadline(Deadline),
}

impl Scheduler {
    /// All of them, with the parameters they have when nothing is said.
    pub const ALL: [Self; 8] = [
        Self::MinRtt,
        Self::RoundRobin,
        Self::Weighted,
        Self::Backup,
        Self::Redundant,
        Self::Blest,
        Self::Ecf,
        Self::Deadline(Deadline::DEFAULT),
    ];

    /// The name in options and traces.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::MinRtt => "min-rtt",
            Self::RoundRobin => "round-robin",
            Self::Weighted => "weighted",
            Self::Backup => "backup",
            Self::Redundant => "redundant",
            Self::Blest => "blest",
            Self::Ecf => "ecf",
            Self::Deadline(_) => "deadline",
        }
    }

    /// The scheduler of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scheduler| scheduler.name() == name)
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The path.
    pub path: PathId,
    /// What it may be used for.
    pub standing: Standing,
    /// Smoothed RTT.
    pub smoothed_rtt: Duration,
    /// RTT variation.
    pub rttvar: Duration,
    /// UDP payload of a full packet, bytes.
    pub mtu: u64,
    /// Congestion window, bytes.
    pub window: u64,
    /// Bytes in flight.
    pub in_flight: u64,
    /// Bytes the window and the pacer allow now.
    pub room: u64,
    /// Its share against those of other paths; at least 1, [`DEFAULT_WEIGHT`] if nothing was said.
    pub weight: u32,
    /// What it carried so far, divided by its weight (see [`served_by`]).
    pub served: u64,
}

impl Candidate {
    /// A full packet may go.
    #[must_use]
    pub const fn has_room(&self) -> bool {
        self.room >= self.mtu
    }
}

/// What waits to be sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// Stream bytes that wait, sent before or not.
    pub queued: u64,
    /// Of those, bytes that are sent again.
    pub again: u64,
    /// Fresh bytes the peer's flow control allows.
    pub credit: u64,
    /// Stream bytes sent and not acknowledged.
    pub outstanding: u64,
}

/// The answer: the path to fill next, with the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The path.
    pub path: PathId,
    /// Why this one.
    pub reason: Reason,
}

/// What a scheduler answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// This path.
    Send(Choice),
    /// None, although one has room.
    Wait(Reason),
    /// No path that may be used has room.
    Full,
}

impl Decision {
    /// The path, if there is one.
    #[must_use]
    pub const fn choice(self) -> Option<Choice> {
        match self {
            Self::Send(choice) => Some(choice),
            Self::Wait(_) | Self::Full => None,
        }
    }

    const fn send(path: PathId, reason: Reason) -> Self {
        Self::Send(Choice { path, reason })
    }
}

/// What the schedulers remember between two bursts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// Path of the last data burst.
    pub last: Option<PathId>,
    /// `ecf` waits for the quicker path.
    ecf_waits: bool,
    blest: blest::Correction,
}

/// Chooses among `candidates`.
///
/// Only paths of the best standing present are considered, so that a backup path rests while an available one works and
/// a suspect one gets new data only when nothing else is left.
#[must_use]
pub fn decide(scheduler: Scheduler, candidates: &[Candidate], demand: Demand, memory: &mut Memory) -> Decision {
    let Some(standing) = candidates.iter().map(|candidate| candidate.standing).min() else { return Decision::Full };
    let usable = candidates.iter().filter(|candidate| candidate.standing == standing);
    match scheduler {
        Scheduler::MinRtt | Scheduler::Redundant | Scheduler::Deadline(_) => min_rtt::decide(usable),
        Scheduler::RoundRobin => round_robin::decide(usable, memory.last),
        Scheduler::Weighted => weighted::decide(usable),
        Scheduler::Backup => backup::decide(usable),
        Scheduler::Blest => blest::decide(usable, demand, &mut memory.blest),
        Scheduler::Ecf => ecf::decide(usable, demand, &mut memory.ecf_waits),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub fn candidate(path: u32, standing: Standing, rtt: u64, room: u64) -> Candidate {
        Candidate {
            path: PathId(path),
            standing,
            smoothed_rtt: Duration::from_millis(rtt),
            rttvar: Duration::ZERO,
            mtu: 1_200,
            window: 12_000,
            in_flight: 12_000_u64.saturating_sub(room),
            room,
            weight: 1,
            served: 0,
        }
    }

    pub fn chosen(scheduler: Scheduler, candidates: &[Candidate], last: Option<u32>) -> Option<u32> {
        let mut memory = Memory { last: last.map(PathId), ..Memory::default() };
        decide(scheduler, candidates, Demand::default(), &mut memory).choice().map(|choice| choice.path.0)
    }

    #[test]
    fn every_name_is_its_own_scheduler() {
        for scheduler in Scheduler::ALL {
            assert_eq!(Scheduler::from_name(scheduler.name()), Some(scheduler));
        }
        assert_eq!(Scheduler::from_name("fastest"), None);
    }

    #[test]
    fn a_backup_or_suspect_path_rests_while_an_available_one_lives() {
        let paths = [candidate(0, Standing::Suspect, 1, 9_000), candidate(1, Standing::Backup, 2, 9_000), candidate(2, Standing::Available, 50, 0)];
        for scheduler in Scheduler::ALL {
            assert_eq!(chosen(scheduler, &paths, None), None, "{scheduler:?}: the available path is only waiting for its window");
            assert_eq!(chosen(scheduler, &paths[..2], None), Some(1), "{scheduler:?}");
            assert_eq!(chosen(scheduler, &paths[..1], None), Some(0), "{scheduler:?}: the last path is never given up");
            assert_eq!(chosen(scheduler, &[], None), None);
        }
    }

    #[test]
    fn room_is_counted_in_packets_of_the_path_itself() {
        let small = candidate(0, Standing::Available, 20, 1_300);
        let large = Candidate { mtu: 1_452, ..candidate(1, Standing::Available, 10, 1_300) };
        assert_eq!(chosen(Scheduler::MinRtt, &[small, large], None), Some(0));
    }
}
