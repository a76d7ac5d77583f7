//! Queues of what goes anywhere, and of what keeps to one path (burst B-101).
//!
//! Decides which queue the next frame of a packet comes from. A stream that is pinned stands in the lane of its path, all
//! others in the shared queue; a packet of a path takes from that path's lane and, if the scheduler chose the path, from the
//! shared queue: by urgency, in turns where it is equal. Called by the rooms of streams in place of a single [`Schedule`].

use super::{
    map::{StreamMap, Ticket},
    schedule::{Schedule, Turn},
    send::SendPart,
};
use qbase::PathId;

/// Whose packet asks for stream data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    /// The path of the packet.
    pub path: PathId,
    /// What it may carry.
    pub takes: Takes,
}

/// What a packet may carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Everything that goes on its path.
    All,
    /// Only what is pinned to its path.
    Pinned,
}

impl Asker {
    /// A packet of the path that the scheduler chose.
    #[must_use]
    pub const fn chosen(path: PathId) -> Self {
        Self { path, takes: Takes::All }
    }
}

/// The queue of one path.
#[derive(Debug)]
struct Lane {
    path: PathId,
    schedule: Schedule,
    /// The shared queue had the last turn at equal urgency.
    has_turn: bool,
}

/// All queues.
#[derive(Debug)]
pub(super) struct Lanes {
    shared: Schedule,
    /// At most one a path in use.
    own: Vec<Lane>,
}

impl Lanes {
    pub const fn with(shared: Schedule) -> Self {
        Self { shared, own: Vec::new() }
    }

    /// The queue of a lane, made if there is none.
    pub fn open(&mut self, path: PathId) {
        if !self.own.iter().any(|lane| lane.path == path) {
            self.own.push(Lane { path, schedule: Schedule::new(), has_turn: true });
        }
    }

    /// Nothing keeps to this path any more.
    pub fn close(&mut self, path: PathId) {
        self.own.retain(|lane| lane.path != path);
    }

    /// Some stream keeps to some path.
    #[inline]
    pub const fn is_any(&self) -> bool {
        !self.own.is_empty()
    }

    fn own(&self, path: PathId) -> Option<&Schedule> {
        self.own.iter().find(|lane| lane.path == path).map(|lane| &lane.schedule)
    }

    /// The queue a part stands in.
    #[inline]
    pub fn of(&mut self, lane: Option<PathId>) -> &mut Schedule {
        let Self { shared, own } = self;
        let found = lane.and_then(|path| own.iter_mut().find(|lane| lane.path == path));
        found.map_or(shared, |lane| &mut lane.schedule)
    }

    fn visible(&self, asker: Asker) -> [Option<&Schedule>; 2] {
        [self.own(asker.path), (asker.takes == Takes::All).then_some(&self.shared)]
    }

    /// Some stream has fresh bytes and stream credit for them, wherever it may send them.
    #[inline]
    pub fn has_fresh(&self) -> bool {
        self.shared.has_fresh() || self.own.iter().any(|lane| lane.schedule.has_fresh())
    }

    /// Some stream has something to send that needs no credit.
    #[inline]
    pub fn has_again(&self) -> bool {
        self.shared.has_again() || self.own.iter().any(|lane| lane.schedule.has_again())
    }

    /// The queue of what goes anywhere.
    #[inline]
    pub const fn shared(&self) -> &Schedule {
        &self.shared
    }

    /// The queue of what keeps to this path.
    #[inline]
    pub fn pinned(&self, path: PathId) -> Option<&Schedule> {
        if self.own.is_empty() { None } else { self.own(path) }
    }

    /// Fresh bytes for such a packet.
    #[inline]
    pub fn has_fresh_for(&self, asker: Asker) -> bool {
        self.visible(asker).into_iter().flatten().any(Schedule::has_fresh)
    }

    /// Something that needs no credit, for such a packet.
    #[inline]
    pub fn has_again_for(&self, asker: Asker) -> bool {
        self.visible(asker).into_iter().flatten().any(Schedule::has_again)
    }

    /// The smallest urgency of fresh bytes for such a packet.
    pub fn most_urgent(&self, asker: Asker) -> Option<u8> {
        self.visible(asker).into_iter().flatten().filter_map(Schedule::most_urgent).min()
    }

    /// The stream with fresh bytes whose turn it is.
    #[inline]
    pub fn turn(&mut self, asker: Asker, map: &mut StreamMap) -> Option<Turn> {
        if self.own.is_empty() {
            return if asker.takes == Takes::All { self.shared.turn(map) } else { None };
        }
        let [own, shared] = self.visible(asker).map(|schedule| schedule.and_then(Schedule::most_urgent));
        let lane = match (own, shared) {
            (Some(own), Some(shared)) if own == shared => self.alternate(asker.path),
            (Some(own), Some(shared)) if shared < own => None,
            (Some(_), _) => Some(asker.path),
            (None, Some(_)) => None,
            (None, None) => return None,
        };
        self.of(lane).turn(map)
    }

    /// The stream whose turn it is to send what needs no credit.
    pub fn turn_again(&mut self, asker: Asker, map: &mut StreamMap) -> Option<Turn> {
        if self.own(asker.path).is_some_and(Schedule::has_again) {
            return self.of(Some(asker.path)).turn_again(map);
        }
        if asker.takes == Takes::All { self.shared.turn_again(map) } else { None }
    }

    /// Whose turn it is where urgencies are equal.
    fn alternate(&mut self, path: PathId) -> Option<PathId> {
        let lane = self.own.iter_mut().find(|lane| lane.path == path)?;
        lane.has_turn = !lane.has_turn;
        if lane.has_turn { None } else { Some(path) }
    }

    /// See [`Schedule::add_fresh`].
    #[inline]
    pub fn add_fresh(&mut self, ticket: Ticket, part: &mut SendPart) {
        self.of(part.lane()).add_fresh(ticket, part);
    }

    /// See [`Schedule::drop_fresh`].
    #[inline]
    pub fn drop_fresh(&mut self, part: &mut SendPart) {
        self.of(part.lane()).drop_fresh(part);
    }

    /// See [`Schedule::add_again`].
    #[inline]
    pub fn add_again(&mut self, ticket: Ticket, part: &mut SendPart) {
        self.of(part.lane()).add_again(ticket, part);
    }

    /// See [`Schedule::drop_again`].
    #[inline]
    pub fn drop_again(&mut self, part: &mut SendPart) {
        self.of(part.lane()).drop_again(part);
    }

    /// See [`Schedule::set_urgency`].
    pub fn set_urgency(&mut self, ticket: Ticket, part: &mut SendPart, urgency: u8) {
        self.of(part.lane()).set_urgency(ticket, part, urgency);
    }

    /// See [`Schedule::on_turn`].
    #[inline]
    pub fn on_turn(&mut self, turn: Turn, bytes: u64, part: &mut SendPart) {
        self.of(part.lane()).on_turn(turn, bytes, part);
    }

    /// See [`Schedule::leave`].
    #[inline]
    pub fn leave(&mut self, part: &mut SendPart) {
        self.of(part.lane()).leave(part);
    }

    /// The stream goes to another queue; it takes its place there when it is settled.
    pub fn move_to(&mut self, ticket: Ticket, part: &mut SendPart, standing: super::pins::Standing) {
        self.of(part.lane()).take_out(ticket, part);
        part.standing = standing;
    }

    /// See [`Schedule::sweep`].
    #[inline]
    pub fn sweep(&mut self, lane: Option<PathId>, urgency: u8, map: &StreamMap) {
        self.of(lane).sweep(urgency, map);
    }

    /// Tickets in all queues, for tests of what streams leave behind.
    #[cfg(test)]
    pub fn tickets(&self) -> usize {
        self.shared.tickets() + self.own.iter().map(|lane| lane.schedule.tickets()).sum::<usize>()
    }
}
