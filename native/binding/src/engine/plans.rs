//! When a scheduler of JavaScript's is asked for a plan (burst B-101; docs/spec/api.md, 2.5).
//!
//! Decides: once before the handshake is told to be complete; then while data waits or is under way, once a round trip of
//! the quickest path; and after every event of a path. Never more often than every 5 ms, and never again before the answer
//! came: whoever thinks for long is asked less often.

use std::time::Duration;

use qbase::Timestamp;
use qdriver::Io;

use super::Engine;
use crate::{
    messages::{events::Event, plans::{Plan, View}},
    options::transport::Planner,
};

/// Least time between two questions: 200 a second.
const LEAST_GAP: Duration = Duration::from_millis(5);
/// Longest round trip that sets the pace.
const MOST_GAP: Duration = Duration::from_secs(1);

/// Whether a connection has stream data that waits or is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Load {
    /// It has.
    Some,
    /// It has none.
    None,
}

/// What is known of one connection's plan.
#[derive(Clone, Copy, Debug, Default)]
pub struct Planning {
    asked_at: Option<Timestamp>,
    /// The answer has not come.
    is_open: bool,
    /// Something happened to a path since.
    has_news: bool,
    /// Messages were sent since.
    has_messages: bool,
    /// It stands in the list of those that are asked later.
    is_listed: bool,
}

impl Planning {
    /// Something happened to a path.
    pub const fn on_path_event(&mut self) {
        self.has_news = true;
    }

    /// A message is to be sent.
    pub const fn on_message(&mut self) {
        self.has_messages = true;
    }

    /// JavaScript has answered.
    pub const fn on_answer(&mut self) {
        self.is_open = false;
    }

    /// When the next question is due, at a pace of `rtt` under `load`; `None`: nothing has to be asked.
    fn due_at(&self, rtt: Duration, load: Load) -> Option<Timestamp> {
        let asked_at = self.asked_at?;
        if self.is_open {
            return None;
        }
        match (self.has_news, load == Load::Some || self.has_messages) {
            (true, _) => Some(asked_at + LEAST_GAP),
            (false, true) => Some(asked_at + rtt.clamp(LEAST_GAP, MOST_GAP)),
            (false, false) => None,
        }
    }
}

impl Engine {
    /// Asks for the first plan, before JavaScript hears that it may send.
    pub(super) fn ask_for_first_plan(&mut self, io: &mut Io<'_>, key: u32) {
        let plans = |planning: &Planning| planning.asked_at.is_none();
        if self.table.get(key).is_some_and(|connection| connection.settings.planner == Planner::JavaScript && plans(&connection.planning)) {
            self.ask_for_plan(io, key);
        }
    }

    /// Something happened to a connection: asks for a plan if it is time, or notes when it will be.
    pub(super) fn look_at_plan(&mut self, io: &mut Io<'_>, key: u32) {
        let Some(connection) = self.table.get(key).filter(|connection| connection.is_live()) else { return };
        if connection.settings.planner != Planner::JavaScript {
            return;
        }
        let Some(machine) = io.endpoint.connection(connection.handle) else { return };
        let rtt = machine.paths().map(|path| path.smoothed_rtt).min().unwrap_or(MOST_GAP);
        let streams = machine.stream_facts();
        let load = if streams.unacked_bytes() > 0 || streams.queued_bytes() > 0 { Load::Some } else { Load::None };
        let Some(due_at) = connection.planning.due_at(rtt, load) else { return };
        if due_at <= io.now {
            return self.ask_for_plan(io, key);
        }
        self.want_turn(due_at);
        if let Some(connection) = self.table.get_mut(key).filter(|connection| !connection.planning.is_listed) {
            connection.planning.is_listed = true;
            self.planners.push(key);
        }
    }

    /// Asks those for whose plan it is time now.
    pub(super) fn ask_planners(&mut self, io: &mut Io<'_>) {
        if self.planners.is_empty() || self.is_full() {
            return;
        }
        for key in std::mem::take(&mut self.planners) {
            if let Some(connection) = self.table.get_mut(key) {
                connection.planning.is_listed = false;
                self.look_at_plan(io, key);
            }
        }
    }

    /// JavaScript's answer; none: the plan before goes on.
    pub(super) fn obey_plan(&mut self, io: &mut Io<'_>, key: u32, plan: Option<Plan>) {
        let Some(connection) = self.table.get_mut(key) else { return };
        connection.planning.on_answer();
        if let (Some(plan), Some(machine)) = (plan, io.endpoint.connection_mut(connection.handle)) {
            // JavaScript has checked that it is not too long; one that is changes nothing.
            machine.set_plan(Some(plan.into())).unwrap_or_default();
        }
    }

    fn ask_for_plan(&mut self, io: &mut Io<'_>, key: u32) {
        let at_ms = self.out.at_ms(io.now);
        let Some(connection) = self.table.get_mut(key) else { return };
        let Some(machine) = io.endpoint.connection_mut(connection.handle) else { return };
        let (paths, demand) = machine.scheduler_facts(io.now);
        connection.planning = Planning { asked_at: Some(io.now), is_open: true, is_listed: connection.planning.is_listed, ..Planning::default() };
        let view = View::of(at_ms, paths.into_iter(), demand);
        self.out.event(key, &Event::Plan { at_ms, view });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(100);

    fn planning() -> Planning {
        Planning { asked_at: Some(NOW), ..Planning::default() }
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn data_is_planned_once_a_round_trip_within_bounds() {
        for (rtt, gap) in [(ms(1), 5), (ms(40), 40), (ms(9_000), 1_000)] {
            assert_eq!(planning().due_at(rtt, Load::Some), Some(NOW + ms(gap)));
            assert_eq!(Planning { has_messages: true, ..planning() }.due_at(rtt, Load::None), Some(NOW + ms(gap)));
        }
        assert_eq!(planning().due_at(ms(40), Load::None), None, "nothing to plan for");
    }

    #[test]
    fn events_of_paths_do_not_wait_for_a_round_trip() {
        let mut planning = planning();
        planning.on_path_event();
        assert_eq!(planning.due_at(ms(40), Load::None), Some(NOW + ms(5)));
    }

    #[test]
    fn nobody_is_asked_twice_before_the_answer() {
        let mut planning = Planning { is_open: true, has_news: true, ..planning() };
        assert_eq!(planning.due_at(ms(40), Load::Some), None);
        planning.on_answer();
        assert_eq!(planning.due_at(ms(40), Load::Some), Some(NOW + ms(5)));
    }
}
