//! Which path carries control frames and data: gathers what a scheduler may know, asks it, keeps its answer (burst B-101).
//!
//! Called by the output once per burst. Never sends; what is chosen is still subject to window, pacer and credit.

use super::{Connection, outside::Outside};
use crate::path::{
    PathState, PathView,
    scheduler::{self, Candidate, Choice, DEFAULT_WEIGHT, Decision, Demand, Memory, Pick, Reason, Scheduler, SchedulerPlan, SchedulerView, Standing},
};
use qbase::{PathId, Timestamp, limits::OPEN_PATHS};
use std::time::Duration;

/// The scheduler's side of a connection.
#[derive(Debug)]
pub(crate) struct Scheduling {
    /// What the built-in schedulers remember.
    pub(crate) memory: Memory,
    /// Who decides in their place.
    pub(crate) outside: Outside,
    /// When a picker that waits wants to be asked again.
    pub(crate) ask_at: Option<Timestamp>,
    /// The last answer.
    pub(crate) decision: Decision,
}

impl Default for Scheduling {
    fn default() -> Self {
        Self { memory: Memory::default(), outside: Outside::default(), ask_at: None, decision: Decision::Full }
    }
}

impl Scheduling {
    /// The plan that holds.
    pub(crate) fn plan(&self) -> Option<&SchedulerPlan> {
        self.outside.plan.as_deref()
    }

    /// Who decides, in a word.
    pub(crate) const fn name(&self, builtin: Scheduler) -> &'static str {
        match (&self.outside.picker, &self.outside.plan) {
            (Some(_), _) => "picker",
            (None, Some(_)) => "plan",
            (None, None) => builtin.name(),
        }
    }
}

/// Candidates without an allocation.
struct Candidates {
    list: [Candidate; OPEN_PATHS],
    count: usize,
}

impl Candidates {
    const NONE: Candidate = Candidate {
        path: PathId::ZERO,
        standing: Standing::Suspect,
        smoothed_rtt: Duration::ZERO,
        rttvar: Duration::ZERO,
        mtu: 0,
        window: 0,
        in_flight: 0,
        room: 0,
        weight: 1,
        served: 0,
    };

    const fn new() -> Self {
        Self { list: [Self::NONE; OPEN_PATHS], count: 0 }
    }

    fn push(&mut self, candidate: Candidate) {
        if let Some(slot) = self.list.get_mut(self.count) {
            *slot = candidate;
            self.count = self.count.saturating_add(1);
        }
    }

    fn all(&self) -> &[Candidate] {
        self.list.get(..self.count).unwrap_or_default()
    }
}

impl Connection {
    /// Asks the scheduler which path carries control frames and data.
    pub(super) fn choose_data_path(&mut self, now: Timestamp) -> Option<Choice> {
        self.scheduling.ask_at = None;
        if !self.sends_data() || !(self.streams.has_data() || self.datagrams.send.has_shared() || self.has_control()) {
            self.note_app_limited();
            return None;
        }
        let mut candidates = Candidates::new();
        for at in 0..self.paths.len() {
            let Some(path) = self.paths.id_at(at) else { break };
            if let Some(candidate) = self.candidate(now, path) {
                candidates.push(candidate);
            }
        }
        if !(self.streams.has_shared() || self.datagrams.send.has_shared() || self.has_control()) {
            self.note_passed_over(None);
            return None;
        }
        let decision = self.decide(now, candidates.all());
        self.scheduling.decision = decision;
        let choice = decision.choice();
        if candidates.count > 1 {
            self.note_passed_over(choice.map(|choice| choice.path));
        }
        choice
    }

    fn decide(&mut self, now: Timestamp, candidates: &[Candidate]) -> Decision {
        if self.scheduling.outside.picker.is_some() {
            return self.ask_picker(now, candidates);
        }
        let demand = if candidates.len() > 1 { self.demand() } else { Demand::default() };
        let Self { scheduling, config, .. } = self;
        let Scheduling { memory, outside, .. } = scheduling;
        match &outside.plan {
            Some(plan) => plan.decide(candidates),
            None => scheduler::decide(config.scheduler, candidates, demand, memory),
        }
    }

    fn ask_picker(&mut self, now: Timestamp, candidates: &[Candidate]) -> Decision {
        let facts: Vec<PathView> = self.paths().collect();
        let view = SchedulerView { now, paths: candidates, facts: &facts, demand: self.demand() };
        let Scheduling { memory, outside, ask_at, .. } = &mut self.scheduling;
        let Some(picker) = &mut outside.picker else { return Decision::Full };
        match picker.pick(view) {
            Pick::Send(path) if candidates.iter().any(|candidate| candidate.path == path && candidate.has_room()) => {
                Decision::Send(Choice { path, reason: Reason::Picked })
            }
            Pick::Send(_) => Decision::Full,
            Pick::Wait(until) => {
                *ask_at = (until > now).then_some(until);
                Decision::Wait(Reason::PickedNone)
            }
            Pick::Fallback => match scheduler::decide(Scheduler::MinRtt, candidates, view.demand, memory) {
                Decision::Send(Choice { path, .. }) => Decision::Send(Choice { path, reason: Reason::PickFallback }),
                other => other,
            },
        }
    }

    pub(super) fn demand(&mut self) -> Demand {
        let again = self.streams.retransmit_bytes();
        Demand {
            queued: self.streams.queued_bytes().saturating_add(again),
            again,
            credit: self.streams.credit_left(),
            outstanding: self.streams.outstanding(),
        }
    }

    /// What the scheduler may know about a path; `None` while it cannot carry data at all.
    fn candidate(&mut self, now: Timestamp, path: PathId) -> Option<Candidate> {
        let entry = self.paths.get(path)?;
        if entry.state != PathState::Open || entry.remote_cids.active().is_none() {
            return None;
        }
        let backup = entry.status.is_backup();
        let weight = self.weight_of(path);
        let in_flight = self.bytes_in_flight(path);
        let max_ack_delay = self.peer_max_ack_delay();
        let network = self.network_mut(path)?;
        if network.pending.open {
            return None;
        }
        if in_flight == 0 {
            network.restart_after_idle(now, max_ack_delay);
        }
        let standing = match (network.suspect_since, backup) {
            (Some(_), _) => Standing::Suspect,
            (None, true) => Standing::Backup,
            (None, false) => Standing::Available,
        };
        let window = network.window_room(in_flight);
        let mtu = u64::from(network.mtu());
        let paced = network.paced(now, mtu);
        if window < mtu || paced < mtu {
            network.search.on_data_waits(now);
        }
        network.note_use(now, window, paced);
        Some(Candidate {
            path,
            standing,
            smoothed_rtt: network.rtt.smoothed(),
            rttvar: network.rtt.rttvar(),
            mtu,
            window: network.controller.window(),
            in_flight,
            room: window.min(paced),
            weight,
            served: network.served,
        })
    }

    /// The share of a path, by the plan or by its own weight.
    pub(super) fn weight_of(&self, path: PathId) -> u32 {
        let planned = self.scheduling.plan().and_then(|plan| plan.weight_of(path));
        planned.or_else(|| self.paths.get(path).map(|entry| entry.weight)).unwrap_or(DEFAULT_WEIGHT)
    }

    /// The weights changed: shares are counted from here.
    pub(super) fn restart_shares(&mut self) {
        for entry in self.paths.iter_mut() {
            if let Some(network) = entry.network.as_deref_mut() {
                network.served = 0;
            }
        }
    }

    /// A path carries data from now on, or again: it owes the others nothing for the time before.
    pub(super) fn join_shares(&mut self, path: PathId) {
        let others = self.paths.iter().filter(|entry| entry.id != path && entry.state == PathState::Open);
        let least = others.filter_map(|entry| entry.network.as_deref().map(|network| network.served)).min();
        if let (Some(least), Some(network)) = (least, self.network_mut(path)) {
            network.served = network.served.max(least);
        }
    }

    /// With nothing to send no path's window was the limit, unless it is full (RFC 9002 §7.8).
    fn note_app_limited(&mut self) {
        let handshake = self.handshake_bytes_in_flight();
        for entry in self.paths.iter_mut() {
            if let Some(network) = entry.network.as_deref_mut() {
                let handshake = if entry.id == PathId::ZERO { handshake } else { 0 };
                let in_flight = network.space.sent.bytes_in_flight().saturating_add(handshake);
                network.note_nothing_to_send(in_flight);
            }
        }
    }

    /// A path that could send but was not chosen has nothing to send (RFC 9002 §7.8).
    fn note_passed_over(&mut self, chosen: Option<PathId>) {
        for at in 0..self.paths.len() {
            let Some(path) = self.paths.id_at(at).filter(|path| Some(*path) != chosen && !self.streams.has_pinned(*path)) else { continue };
            let in_flight = self.bytes_in_flight(path);
            if let Some(network) = self.network_mut(path).filter(|network| network.app_limited) {
                network.controller.on_app_limited(in_flight);
            }
        }
    }
}
