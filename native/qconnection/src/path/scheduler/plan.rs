//! Schedulers outside of the machine: a plan that holds until the next one, or a choice for every burst.
//!
//! A plan is set at the pace of round trips (`Connection::set_plan`); a picker is asked for every burst and so lives only
//! where the machine runs in one thread with it, in the simulator. Neither overrules the congestion window.

use super::{Candidate, Decision, Demand, Reason, Standing, min_rtt, weighted};
use crate::path::PathView;
use qbase::{PathId, StreamId, Timestamp, limits::OPEN_PATHS};
use std::{fmt::Debug, time::Duration};

/// What an external scheduler decided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SchedulerPlan {
    /// The first with room sends; paths left out send no data.
    pub order: Vec<PathId>,
    /// With these: shares of the listed paths in place of the order, each at least 1.
    pub weights: Vec<(PathId, u32)>,
    /// All data is copied on these.
    pub duplicate_on: Vec<PathId>,
    /// Streams whose data keeps to one path while it lives; the pin ends with the plan, and one of the application goes before it.
    pub pins: Vec<(StreamId, PathId)>,
    /// Data that waits so long for its acknowledgement is copied to another path.
    pub reinject_after: Option<Duration>,
    /// Words for `explain` and traces.
    pub reason: String,
}

/// Why a plan is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// It names more paths than can be open, or more pins than [`SchedulerPlan::PINS`].
    #[error("the plan is too long")]
    TooLong,
}

impl SchedulerPlan {
    /// Pins of one plan at most.
    pub const PINS: usize = 256;

    /// Whether the plan is within its bounds.
    ///
    /// # Errors
    /// It is not.
    pub fn check(&self) -> Result<(), PlanError> {
        let longest = self.order.len().max(self.weights.len()).max(self.duplicate_on.len());
        if longest > OPEN_PATHS || self.pins.len() > Self::PINS { Err(PlanError::TooLong) } else { Ok(()) }
    }

    /// The share of a path; 1 where nothing is said.
    #[must_use]
    pub fn weight_of(&self, path: PathId) -> Option<u32> {
        self.weights.iter().find(|(listed, _)| *listed == path).map(|(_, weight)| (*weight).max(1))
    }

    /// Chooses among `candidates`. A suspect path is left out while the plan names another one.
    #[must_use]
    pub fn decide(&self, candidates: &[Candidate]) -> Decision {
        let named = |path: PathId| if self.weights.is_empty() { self.order.contains(&path) } else { self.weight_of(path).is_some() };
        let known = || candidates.iter().filter(|candidate| named(candidate.path));
        let lives = known().any(|candidate| candidate.standing != Standing::Suspect);
        let usable = || known().filter(|candidate| candidate.standing != Standing::Suspect || !lives);
        if !lives && candidates.iter().any(|candidate| candidate.standing != Standing::Suspect) {
            let others = candidates.iter().filter(|candidate| candidate.standing != Standing::Suspect);
            return fallback(min_rtt::decide(others));
        }
        if usable().next().is_none() {
            return fallback(min_rtt::decide(candidates.iter()));
        }
        if !self.weights.is_empty() {
            return match weighted::decide(usable()) {
                Decision::Send(choice) => Decision::send(choice.path, Reason::PlanShare),
                other => other,
            };
        }
        let first = self.order.iter().find(|path| usable().any(|candidate| candidate.path == **path && candidate.has_room()));
        first.map_or(Decision::Full, |path| Decision::send(*path, Reason::PlanOrder))
    }
}

/// The same decision, as one that the plan did not make.
const fn fallback(decision: Decision) -> Decision {
    match decision {
        Decision::Send(choice) => Decision::send(choice.path, Reason::PlanFallback),
        other => other,
    }
}

/// What a picker sees.
#[derive(Clone, Copy, Debug)]
pub struct SchedulerView<'a> {
    /// The instant.
    pub now: Timestamp,
    /// Open paths, by rising id.
    pub paths: &'a [Candidate],
    /// What else is known of the connection's paths, open or not.
    pub facts: &'a [PathView],
    /// What waits to be sent.
    pub demand: Demand,
}

/// What a picker answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// This path; if it is not in use or has no room, nothing is sent before that changes.
    Send(PathId),
    /// Nothing before something happens, or this instant.
    Wait(Timestamp),
    /// It cannot say: `min-rtt` chooses for this burst.
    Fallback,
}

/// A scheduler that is asked for every burst of data. It must not block; the same questions give the same answers, or the
/// simulator's runs do not repeat.
pub trait Picker: Send + Debug {
    /// The path for the next burst.
    fn pick(&mut self, view: SchedulerView<'_>) -> Pick;
    /// Why it picked last, in words.
    fn reason(&self) -> &str {
        ""
    }
    /// Paths that get copies of what it picked last.
    fn duplicate_on(&self) -> &[PathId] {
        &[]
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Standing::Available, tests::candidate};
    use super::*;

    fn order(paths: &[u32]) -> SchedulerPlan {
        SchedulerPlan { order: paths.iter().map(|path| PathId(*path)).collect(), ..SchedulerPlan::default() }
    }

    fn sent(plan: &SchedulerPlan, candidates: &[Candidate]) -> Option<(u32, Reason)> {
        plan.decide(candidates).choice().map(|choice| (choice.path.0, choice.reason))
    }

    #[test]
    fn the_first_of_the_order_with_room_sends_and_the_others_never() {
        let paths = [candidate(0, Available, 5, 9_000), candidate(1, Available, 50, 0), candidate(2, Available, 90, 9_000)];
        assert_eq!(sent(&order(&[1, 2]), &paths), Some((2, Reason::PlanOrder)));
        assert_eq!(sent(&order(&[1]), &paths), None, "path 0 is not in the plan");
    }

    #[test]
    fn a_plan_without_a_usable_path_falls_back_to_the_quickest() {
        let paths = [candidate(0, Available, 50, 9_000), candidate(1, Available, 5, 9_000)];
        assert_eq!(sent(&order(&[7]), &paths), Some((1, Reason::PlanFallback)));
        assert_eq!(sent(&order(&[]), &paths), Some((1, Reason::PlanFallback)));
    }

    #[test]
    fn a_suspect_path_of_the_plan_gives_way() {
        let paths = [candidate(0, Standing::Suspect, 5, 9_000), candidate(1, Available, 50, 9_000)];
        assert_eq!(sent(&order(&[0, 1]), &paths), Some((1, Reason::PlanOrder)));
        assert_eq!(sent(&order(&[0]), &paths), Some((1, Reason::PlanFallback)), "the only one named does not answer");
        assert_eq!(sent(&order(&[0]), &paths[..1]), Some((0, Reason::PlanOrder)), "there is no other");
    }

    #[test]
    fn weights_take_the_place_of_the_order() {
        let plan = SchedulerPlan { weights: vec![(PathId(0), 3), (PathId(1), 1)], ..order(&[1]) };
        let mut paths = [candidate(0, Available, 50, 9_000), candidate(1, Available, 5, 9_000)];
        paths[0].served = 5;
        assert_eq!(sent(&plan, &paths), Some((1, Reason::PlanShare)));
        paths[1].served = 9;
        assert_eq!(sent(&plan, &paths), Some((0, Reason::PlanShare)));
    }

    #[test]
    fn a_plan_that_is_too_long_is_refused() {
        let paths: Vec<u32> = (0..=OPEN_PATHS as u32).collect();
        assert_eq!(order(&paths).check(), Err(PlanError::TooLong));
        assert_eq!(order(&paths[1..]).check(), Ok(()));
        let pin = (StreamId::new(qbase::Role::Client, qbase::Direction::Bidirectional, 0), PathId(0));
        let pinned = |count| SchedulerPlan { pins: vec![pin; count], ..SchedulerPlan::default() };
        assert_eq!((pinned(256).check(), pinned(257).check()), (Ok(()), Err(PlanError::TooLong)));
    }
}
