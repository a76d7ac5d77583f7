//! Holes become paths: the client opens one over them, relayed paths step back, and come forth again (traversal T-87, T-98, T-99,
//! T-102; attacks G9).
//!
//! ```text
//!   found ──client, no direct path──▶ asked ──challenge answered──▶ path ──gone──▶ forgotten, its socket closed
//!     └──────────── nobody came in time ───────┴─ not answered ──────────────────────┘
//! ```
//! With several paths the client takes a new path id over the hole, whichever side punched; without, it moves its only path there,
//! and back to the relay when the hole falls silent. Called once a turn. Never sends by itself.

use super::{Part, TraversalNews, TraversalState};
use crate::{
    connection::{
        Connection,
        app::PathTicket,
        events::EndpointAction,
    },
    path::{PathEntry, PathState},
};
use qbase::{FourTuple, PathId, StandIn, Timestamp, frame::PathStatusKind, limits};
use qtraversal::{
    budget::ProbeBudget,
    frame::PunchId,
    punch::{Hole, Socket},
};
use std::time::Duration;

/// A hole that nobody opened a path over is forgotten after this.
const KEPT: Duration = Duration::from_secs(30);
/// A path over a hole carries something at least so often, so that no NAT forgets it (traversal T-98).
const HEARTBEAT: Duration = Duration::from_secs(15);

/// A way through both NATs.
#[derive(Clone, Copy, Debug)]
struct Known {
    four_tuple: FourTuple,
    /// The temporary socket it begins at.
    made: Option<u64>,
    since: Timestamp,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Found,
    /// A path was asked for, or path 0 is on its way there.
    Asked(Option<PathTicket>),
    Path,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Holes {
    list: Vec<Known>,
    /// The relayed way that path 0 left, where there is but one path.
    home: Option<FourTuple>,
    /// A hole was none after all: its punch may be tried again.
    disappointed: bool,
    /// Whether a direct path answers.
    is_direct: bool,
}

impl Holes {
    /// When a hole is too old.
    pub(super) fn next_timer(&self) -> Option<Timestamp> {
        self.list.iter().filter(|known| known.stage == Stage::Found).map(|known| known.since + KEPT).min()
    }

    fn has(&self, seen: FourTuple) -> bool {
        self.list.iter().any(|known| crate::path::side::is_same_path(known.four_tuple, seen))
    }

    pub(super) const fn home(&self) -> Option<FourTuple> {
        self.home
    }
}

/// It goes straight to the peer and answers.
fn is_direct(entry: &PathEntry) -> bool {
    let goes_straight = entry.network.as_deref().is_some_and(|network| StandIn::of(network.four_tuple.remote).is_none());
    entry.state == PathState::Open && goes_straight && !entry.status.is_silent()
}

impl Connection {
    /// HELLO or DONE came through.
    pub(super) fn on_hole(&mut self, now: Timestamp, part: &mut Part, id: PunchId, hole: Hole) {
        let Some(local) = part.sockets.local(hole.from) else { return };
        let four_tuple = FourTuple { local, remote: hole.remote };
        let made = if let Socket::Made(number) = hole.from { Some(number) } else { None };
        if !part.holes.list.iter().any(|known| known.four_tuple == four_tuple) {
            if part.holes.list.len() >= limits::HOLES
                && let Some(at) = part.holes.list.iter().position(|known| known.stage == Stage::Found)
            {
                let oldest = part.holes.list.remove(at);
                self.close_made(part, oldest.made);
            }
            part.holes.list.push(Known { four_tuple, made, since: now, stage: Stage::Found });
        }
        self.traversal_event(TraversalNews::Hole { id, four_tuple });
    }

    fn close_made(&mut self, part: &mut Part, made: Option<u64>) {
        if let Some(socket) = made.filter(|socket| part.sockets.unmake(*socket)) {
            self.actions.push_back(EndpointAction::CloseSocket { socket });
        }
    }

    /// A direct path answers, or none does any more: the machine hears of each change, and relayed paths step back.
    pub(super) fn note_reach(&mut self, now: Timestamp, part: &mut Part, budget: &mut ProbeBudget) {
        let direct = self.paths.iter().any(is_direct);
        let was = std::mem::replace(&mut part.holes.is_direct, direct);
        if direct && !was {
            part.holes.disappointed = false;
            part.machine.on_direct_path(now, budget);
            self.rest_relayed_paths();
        } else if !direct && (was || std::mem::take(&mut part.holes.disappointed)) {
            part.machine.on_direct_lost(now, budget);
        }
    }

    /// Relayed paths are kept for bad times, and the peer is asked to do the same (traversal T-99).
    fn rest_relayed_paths(&mut self) {
        for entry in self.paths.iter_mut().filter(|entry| entry.is_live()) {
            if entry.network.as_deref().is_some_and(|network| StandIn::of(network.four_tuple.remote).is_some()) {
                entry.status.set_local(PathStatusKind::Backup);
            }
        }
    }

    /// Holes become paths, or are forgotten; paths over them stay alive.
    pub(super) fn mind_holes(&mut self, now: Timestamp) {
        let Some(mut part) = self.traversal.take() else { return };
        if part.state == TraversalState::On && !part.holes.list.is_empty() {
            self.follow_holes(now, &mut part);
        }
        self.traversal = Some(part);
        if self.role.is_client() {
            self.open_next_hole(now);
        }
        self.beat(now);
    }

    fn follow_holes(&mut self, now: Timestamp, part: &mut Part) {
        let mut list = std::mem::take(&mut part.holes.list);
        list.retain_mut(|known| {
            let is_used = self.is_on_some_path(known.four_tuple);
            let is_there = self.paths.iter().any(|entry| entry.is_live() && entry.network.as_deref().is_some_and(|network| network.four_tuple == known.four_tuple));
            let stays = match known.stage {
                _ if is_there => {
                    known.stage = Stage::Path;
                    true
                }
                Stage::Found => now < known.since + KEPT,
                Stage::Asked(Some(ticket)) => self.opens.iter().any(|open| open.ticket == ticket.0),
                Stage::Asked(None) | Stage::Path => is_used,
            };
            if !stays {
                part.holes.disappointed |= matches!(known.stage, Stage::Asked(_));
                self.close_made(part, known.made);
            }
            stays
        });
        part.holes.list = list;
    }

    /// The client takes the newest hole, while nothing is direct and it tries no other.
    fn open_next_hole(&mut self, now: Timestamp) {
        if !self.confirmed {
            return;
        }
        let Some(part) = self.traversal.as_ref().filter(|part| part.state == TraversalState::On && !part.holes.list.is_empty()) else { return };
        let is_busy = part.holes.list.iter().any(|known| matches!(known.stage, Stage::Asked(_)));
        if is_busy || part.holes.is_direct || self.is_validating_direct() {
            return;
        }
        let Some(at) = part.holes.list.iter().rposition(|known| known.stage == Stage::Found) else { return };
        let Some(four_tuple) = part.holes.list.get(at).map(|known| known.four_tuple) else { return };
        let asked = if self.path_mode.has_paths() {
            self.open_path(now, four_tuple, PathStatusKind::Available).map(Some).ok()
        } else {
            self.go_to_hole(now, four_tuple).then_some(None)
        };
        // Without room it is tried again in the next turn, until the hole is too old.
        let known = self.traversal.as_mut().and_then(|part| part.holes.list.get_mut(at));
        if let (Some(ticket), Some(known)) = (asked, known) {
            known.stage = Stage::Asked(ticket);
        }
    }

    /// A direct path waits for its proof.
    fn is_validating_direct(&self) -> bool {
        self.paths.iter().any(|entry| {
            entry.state == PathState::Validating && entry.network.as_deref().is_some_and(|network| StandIn::of(network.four_tuple.remote).is_none())
        })
    }

    /// Where there is but one path: it goes to the hole when the peer has answered there.
    fn go_to_hole(&mut self, now: Timestamp, four_tuple: FourTuple) -> bool {
        let home = self.network(PathId::ZERO).map(|network| network.four_tuple).filter(|home| StandIn::of(home.remote).is_some());
        let moves = self.move_to_hole(now, four_tuple);
        if let (true, Some(home), Some(part)) = (moves, home, &mut self.traversal) {
            part.holes.home = Some(home);
        }
        moves
    }

    /// The only path is silent at its hole: it goes back to the relay at once.
    pub(in crate::connection) fn go_home(&mut self, now: Timestamp) {
        let home = self.traversal.as_ref().and_then(|part| part.holes.home);
        let here = self.network(PathId::ZERO).map(|network| network.four_tuple);
        let (Some(home), Some(here)) = (home, here) else { return };
        if self.path_mode.has_paths() || here == home || !self.leave_for_home(now, home) {
            return;
        }
        if let Some(part) = &mut self.traversal {
            part.holes.home = None;
        }
    }

    /// A hole leads there: the peer may come from it, whatever is said about migration (attacks G8).
    pub(in crate::connection) fn is_hole(&self, seen: FourTuple) -> bool {
        self.traversal.as_ref().is_some_and(|part| part.holes.has(seen))
    }

    /// Paths over holes that are silent for long get a PING.
    fn beat(&mut self, now: Timestamp) {
        if self.next_heartbeat(now).is_none_or(|at| at > now) {
            return;
        }
        let Self { traversal, paths, .. } = self;
        let Some(part) = traversal.as_ref() else { return };
        for entry in paths.iter_mut().filter(|entry| entry.state == PathState::Open) {
            if let Some(network) = entry.network.as_deref_mut().filter(|network| part.holes.is_path(network.four_tuple))
                && network.last_ack_eliciting_at.is_none_or(|at| at + HEARTBEAT <= now)
            {
                network.ping_owed = true;
            }
        }
    }

    /// When a path over a hole needs a PING.
    pub(super) fn next_heartbeat(&self, now: Timestamp) -> Option<Timestamp> {
        let part = self.traversal.as_ref().filter(|part| part.state == TraversalState::On && !part.holes.list.is_empty())?;
        let open = self.paths.iter().filter(|entry| entry.state == PathState::Open).filter_map(|entry| entry.network.as_deref());
        let over_holes = open.filter(|network| part.holes.is_path(network.four_tuple) && !network.ping_owed);
        over_holes.map(|network| network.last_ack_eliciting_at.map_or(now, |at| at + HEARTBEAT)).min()
    }
}

impl Holes {
    fn is_path(&self, four_tuple: FourTuple) -> bool {
        self.list.iter().any(|known| known.stage == Stage::Path && known.four_tuple == four_tuple)
    }
}
