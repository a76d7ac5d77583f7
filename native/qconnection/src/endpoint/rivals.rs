//! Mode `independent`: several connection attempts that the application sees as one (multipath MP-91).
//!
//! ```text
//!  connect_over --> one attempt per address pair, the first of them in the slot that the application knows
//!     one is complete    --> it takes that slot; the others are closed with NO_ERROR, unseen
//!     the shown one ends --> another live one takes its slot; its end is told only if there is none
//! ```
//! Called by the endpoint after each datagram, timer and turn of an attempt. Early data is on the first pair's attempt
//! alone; another one that stays sends it again. Never lets the application see, or use, an attempt that is not shown.

use super::{Endpoint, route::Route};
use crate::{
    config::ClientConfig,
    connection::{Candidate, Connection, StepKind, events::Event},
    handle::ConnectionHandle,
};
use qbase::{PathId, Timestamp};
use std::sync::Arc;

/// Attempts at one connection.
#[derive(Debug)]
struct Group {
    /// By the place of their address pairs.
    members: Vec<ConnectionHandle>,
    /// The one in the slot that the application knows.
    shown: usize,
}

/// All attempts under way, and those that lost and are not forgotten yet.
#[derive(Debug, Default)]
pub(super) struct Rivals {
    groups: Vec<Group>,
    lost: Vec<ConnectionHandle>,
}

/// How an attempt stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    UnderWay,
    Complete,
    /// The application ended it.
    HungUp,
    Over,
}

impl Standing {
    fn of(attempt: Option<&Connection>) -> Self {
        match attempt {
            Some(attempt) if attempt.has_won() => Self::Complete,
            Some(attempt) if attempt.is_under_way() => Self::UnderWay,
            Some(attempt) if attempt.hung_up => Self::HungUp,
            _ => Self::Over,
        }
    }
}

impl Rivals {
    /// The application does not know this connection.
    pub(super) fn hides(&self, handle: ConnectionHandle) -> bool {
        let in_group = |group: &Group| group.members.iter().enumerate().any(|(at, member)| *member == handle && at != group.shown);
        self.lost.contains(&handle) || self.groups.iter().any(in_group)
    }

    /// A connection is gone.
    pub(super) fn forget(&mut self, handle: ConnectionHandle) {
        self.lost.retain(|lost| *lost != handle);
    }

    /// It is one of several attempts.
    pub(super) fn has(&self, handle: ConnectionHandle) -> bool {
        !self.groups.is_empty() && self.group_of(handle).is_some()
    }

    fn group_of(&self, handle: ConnectionHandle) -> Option<usize> {
        self.groups.iter().position(|group| group.members.contains(&handle))
    }

    fn is_empty(&self) -> bool {
        self.groups.is_empty() && self.lost.is_empty()
    }
}

impl Endpoint {
    /// Starts an attempt for each further pair; the first one's connection is `shown`.
    pub(super) fn start_rivals(&mut self, now: Timestamp, config: &Arc<ClientConfig>, server_name: &str, candidates: &[Candidate], shown: ConnectionHandle) {
        // Tickets and tokens serve once: they are the first pair's.
        let further = Arc::new(ClientConfig { tls: config.tls.clone().without_offer(), token: None, ..(**config).clone() });
        let mut members = vec![shown];
        for candidate in candidates.iter().skip(1) {
            match self.start(now, &further, server_name, candidate.four_tuple) {
                Ok(handle) => members.push(handle),
                Err(_) => break,
            }
        }
        for (at, member) in members.iter().enumerate() {
            if let Some(connection) = self.slots.get_mut(*member) {
                connection.become_rival(at, candidates);
            }
        }
        self.rivals.groups.push(Group { members, shown: 0 });
    }

    /// Looks whether an attempt has won or ended. Called whenever something happened to the one in this slot; answers the
    /// slot it is in afterwards.
    pub(super) fn settle_rivals(&mut self, now: Timestamp, handle: ConnectionHandle) -> ConnectionHandle {
        if self.rivals.is_empty() {
            return handle;
        }
        let Some(at) = self.rivals.group_of(handle) else {
            self.drain_lost(handle);
            return handle;
        };
        let name = self.slots.get(handle).map(|connection| connection.cids.local);
        self.pass_steps(at, handle);
        self.settle_group(now, at);
        name.and_then(|name| self.routes.find(name.as_bytes())).map_or(handle, |route| route.handle)
    }

    fn settle_group(&mut self, now: Timestamp, at: usize) {
        let Some(group) = self.rivals.groups.get(at) else { return };
        let shown = group.shown;
        let rivals: Vec<Standing> = group.members.iter().map(|member| Standing::of(self.slots.get(*member))).collect();
        let is = |member: usize, standing: Standing| rivals.get(member) == Some(&standing);
        if let Some(winner) = (0..rivals.len()).find(|member| is(*member, Standing::Complete)) {
            self.show(at, winner);
            return self.dissolve(now, at, winner);
        }
        let failed = |member: &usize| !is(*member, Standing::UnderWay);
        if failed(&shown) {
            let next = (0..rivals.len()).find(|member| !is(shown, Standing::HungUp) && !failed(member));
            let Some(next) = next else { return self.dissolve(now, at, shown) };
            self.show(at, next);
        }
        for member in (0..rivals.len()).filter(failed) {
            self.tell_shown(now, at, member, StepKind::Failed, "its attempt ended");
        }
    }

    /// A hidden attempt takes the slot that the application knows, and what the application did there.
    fn show(&mut self, group: usize, next: usize) {
        let Some(entry) = self.rivals.groups.get_mut(group) else { return };
        let shown = std::mem::replace(&mut entry.shown, next);
        if shown == next {
            return;
        }
        entry.members.swap(shown, next);
        // The one that was shown is in the slot nobody knows from now on.
        let (Some(hidden), Some(known)) = (entry.members.get(shown).copied(), entry.members.get(next).copied()) else { return };
        self.slots.swap(hidden, known);
        for (handle, before) in [(hidden, known), (known, hidden)] {
            let Some(connection) = self.slots.get_mut(handle) else { continue };
            connection.handle = handle;
            self.routes.rename(&connection.cids.local, before, Route { handle, path: PathId::ZERO, sequence: 0 });
            for token in &connection.reset_tokens {
                self.reset_tokens.remove(token, before);
                self.reset_tokens.insert(token, handle);
            }
            self.turns.mark(handle.index);
        }
        if let Some((old, new)) = self.slots.two(hidden, known) {
            new.take_over(old);
        }
    }

    /// One attempt is the connection: the others end, unseen.
    fn dissolve(&mut self, now: Timestamp, group: usize, winner: usize) {
        let Group { members, .. } = self.rivals.groups.remove(group);
        let facts: Vec<_> = members.iter().enumerate().map(|(at, member)| self.slots.get(*member).and_then(|rival| rival.facts_of(at))).collect();
        for (_, member) in members.iter().enumerate().filter(|(at, _)| *at != winner) {
            if let Some(connection) = self.slots.get_mut(*member) {
                connection.lose(now);
                self.rivals.lost.push(*member);
                self.turns.mark(member.index);
            }
        }
        if let Some(connection) = members.get(winner).and_then(|winner| self.slots.get_mut(*winner)) {
            connection.win(now, winner, facts);
        }
    }

    /// Steps of a hidden attempt are told by the shown one.
    fn pass_steps(&mut self, group: usize, handle: ConnectionHandle) {
        let shown = self.rivals.groups.get(group).and_then(|group| group.members.get(group.shown).copied());
        let Some(shown) = shown.filter(|shown| *shown != handle) else { return };
        let Some(connection) = self.slots.get_mut(handle) else { return };
        let mut steps = Vec::new();
        connection.events.retain(|event| {
            let is_step = matches!(event, Event::Handshake(_));
            if is_step {
                steps.push(event.clone());
            }
            !is_step
        });
        if let Some(shown) = self.slots.get_mut(shown).filter(|_| !steps.is_empty()) {
            shown.events.extend(steps);
            self.turns.mark(shown.handle().index);
        }
    }

    fn tell_shown(&mut self, now: Timestamp, group: usize, attempt: usize, kind: StepKind, reason: &'static str) {
        let shown = self.rivals.groups.get(group).and_then(|group| group.members.get(group.shown).copied());
        if let Some(shown) = shown.and_then(|shown| self.slots.get_mut(shown)) {
            shown.tell_step_once(now, attempt, kind, reason);
        }
    }

    /// Nobody hears the events of an attempt that lost.
    fn drain_lost(&mut self, handle: ConnectionHandle) {
        if !self.rivals.lost.contains(&handle) {
            return;
        }
        while self.poll_event_of(handle).is_some() {}
    }
}
