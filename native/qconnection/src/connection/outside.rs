//! Schedulers outside of the machine: the plan that holds, its pins, who is asked for every burst, and what they may know
//! (burst B-101).
//!
//! Called by the application's thread at the pace of round trips, and by the choice of a path. Never chooses one itself.

use super::Connection;
use crate::{
    path::{
        PathView,
        scheduler::{Chosen, Demand, Picker, PlanError, Reason, SchedulerPlan},
    },
    stream::IfDead,
};
use qbase::{PathId, StreamId, Timestamp};
use std::{borrow::Cow, sync::Arc};

/// Who decides from outside.
#[derive(Debug, Default)]
pub(crate) struct Outside {
    /// What somebody outside decided; takes the place of the built-in scheduler.
    pub(super) plan: Option<Box<SchedulerPlan>>,
    /// Its words.
    words: Option<Arc<str>>,
    /// Pins that the plan has set, at most [`SchedulerPlan::PINS`].
    pins: Vec<(StreamId, PathId)>,
    /// Who is asked for every burst; takes the place of both.
    pub(super) picker: Option<Box<dyn Picker>>,
}

impl Outside {
    /// The words of who decides.
    pub(crate) fn words(&self) -> Option<&str> {
        self.picker.as_ref().map(|picker| picker.reason()).or(self.words.as_deref())
    }

    /// The same, to be kept.
    fn kept_words(&self) -> Option<Arc<str>> {
        self.picker.as_ref().map(|picker| Arc::from(picker.reason())).or_else(|| self.words.clone())
    }

    /// Paths that get copies of all data; `None`: the built-in scheduler says.
    pub(crate) fn copies(&self) -> Option<&[PathId]> {
        self.picker.as_ref().map(|picker| picker.duplicate_on()).or_else(|| self.plan.as_ref().map(|plan| plan.duplicate_on.as_slice()))
    }

    /// Copies go to this path at once, whatever fresh data waits for the others.
    pub(crate) fn copies_to(&self, path: PathId) -> bool {
        self.copies().is_some_and(|paths| paths.contains(&path))
    }

    /// The application has its own word on a stream.
    pub(super) fn forget_pin(&mut self, stream: StreamId) {
        self.pins.retain(|(pinned, _)| *pinned != stream);
    }
}

impl Connection {
    /// Puts a plan in the place of the built-in scheduler, or takes it away. Its pins are set at once and end with it; those of
    /// paths that are not in use, of streams that are closed and of streams that the application has pinned are left out.
    ///
    /// # Errors
    /// The plan is longer than a plan may be.
    pub fn set_plan(&mut self, plan: Option<SchedulerPlan>) -> Result<(), PlanError> {
        if let Some(plan) = &plan {
            plan.check()?;
        }
        self.move_plan_pins(plan.as_ref().map(|plan| plan.pins.as_slice()).unwrap_or_default());
        let weights = |plan: Option<&SchedulerPlan>| plan.map(|plan| plan.weights.clone()).unwrap_or_default();
        let changed = weights(self.scheduling.plan()) != weights(plan.as_ref());
        let outside = &mut self.scheduling.outside;
        let words = plan.as_ref().map(|plan| plan.reason.as_str());
        if outside.words.as_deref() != words {
            outside.words = words.map(Arc::from);
        }
        outside.plan = plan.map(Box::new);
        if changed {
            self.restart_shares();
        }
        Ok(())
    }

    /// Asks `picker` for every burst of data from now on: for worlds in which the machine and the picker share a thread.
    pub fn set_picker(&mut self, picker: Option<Box<dyn Picker>>) {
        self.scheduling.outside.picker = picker;
        self.scheduling.ask_at = None;
    }

    /// What a scheduler outside may know now: each path with the bytes that its window and its pacer allow, and what waits.
    pub fn scheduler_facts(&mut self, now: Timestamp) -> (Vec<(PathView, u64)>, Demand) {
        let views: Vec<PathView> = self.paths().collect();
        let paths = views.into_iter().map(|view| (view, self.room_of(now, view.id))).collect();
        (paths, self.demand())
    }

    /// When a scheduler last chose this path, and why.
    #[must_use]
    pub fn last_choice(&self, path: PathId) -> Option<(Timestamp, Cow<'static, str>)> {
        let chosen = self.network(path)?.chosen.as_ref()?;
        Some((chosen.at, chosen.reason.words(chosen.words.as_deref())))
    }

    /// A burst of data goes out where a scheduler wanted it.
    pub(super) fn note_choice(&mut self, now: Timestamp, path: PathId, reason: Reason) {
        if !reason.is_choice() {
            return;
        }
        let words = if reason.is_from_outside() { self.scheduling.outside.kept_words() } else { None };
        if let Some(network) = self.network_mut(path) {
            network.chosen = Some(Chosen { at: now, reason, words });
        }
    }

    fn room_of(&mut self, now: Timestamp, path: PathId) -> u64 {
        let in_flight = self.bytes_in_flight(path);
        let Some(network) = self.network_mut(path) else { return 0 };
        let mtu = u64::from(network.mtu());
        let paced = network.pacer.budget(now, network.controller.as_ref(), &network.rtt, mtu);
        network.window_room(in_flight).min(paced)
    }

    /// Pins of the plan before end, those of the next one begin.
    fn move_plan_pins(&mut self, next: &[(StreamId, PathId)]) {
        let mut pins = std::mem::take(&mut self.scheduling.outside.pins);
        for (stream, path) in pins.extract_if(.., |pin| !next.contains(pin)) {
            if self.streams.pinned_to(stream) == Some(path) {
                // A stream that is closed has no pin to lose.
                self.streams.pin(stream, None).unwrap_or_default();
            }
        }
        for (stream, path) in next {
            let is_free = !pins.iter().any(|(pinned, _)| pinned == stream) && self.streams.pinned_to(*stream).is_none();
            let is_live = self.paths.get(*path).is_some_and(|entry| entry.is_live());
            if is_free && is_live && self.streams.pin(*stream, Some((*path, IfDead::Move))).is_ok() {
                pins.push((*stream, *path));
            }
        }
        self.scheduling.outside.pins = pins;
    }
}
