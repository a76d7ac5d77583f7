//! Whose turn it is (burst B-32).
//!
//! Decides the order of streams that have something to send: what needs no credit first (lost bytes, a FIN alone), then
//! fresh bytes by urgency, and within one urgency in turns of 4096 bytes. Called by the output of the stream room.
//! Never holds bytes.

use super::{
    Incremental,
    map::{StreamMap, Ticket},
    queue::Queue,
    send::SendPart,
};

/// Bytes of one turn at most (burst B-32).
const TURN: u64 = 4_096;

/// A turn with less left than this ends: the frame would be mostly header.
const SHORTEST_TURN: u64 = 64;

/// Urgencies there are, 0 ..= 7.
const URGENCIES: usize = 8;

/// Streams of one urgency with fresh bytes and credit for them.
#[derive(Debug)]
struct Level {
    queue: Queue,
    /// Bytes left of the first stream's turn; it survives packets and bursts.
    turn_left: u64,
}

/// The queues.
#[derive(Debug)]
pub(super) struct Schedule {
    levels: [Level; URGENCIES],
    /// Streams in all levels that want to send.
    fresh: usize,
    /// Streams with something that needs no credit.
    again: Queue,
}

/// The stream whose turn it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    pub ticket: Ticket,
    urgency: u8,
    /// Bytes it may send before others come.
    pub budget: u64,
}

/// The budget of a stream that shares with nobody.
const WHOLE: u64 = u64::MAX;

impl Schedule {
    pub fn new() -> Self {
        let level = |_| Level { queue: Queue::default(), turn_left: TURN };
        Self { levels: std::array::from_fn(level), fresh: 0, again: Queue::default() }
    }

    /// Some stream has fresh bytes and stream credit for them.
    #[inline]
    pub const fn has_fresh(&self) -> bool {
        self.fresh > 0
    }

    /// The smallest urgency of a stream with fresh bytes.
    pub fn most_urgent(&self) -> Option<u8> {
        (0_u8..).zip(&self.levels).find(|(_, level)| level.queue.live() > 0).map(|(urgency, _)| urgency)
    }

    /// Some stream has something to send that needs no credit.
    #[inline]
    pub const fn has_again(&self) -> bool {
        self.again.live() > 0
    }

    /// The stream takes its place behind the others of its urgency, unless it has one.
    #[inline]
    pub fn add_fresh(&mut self, ticket: Ticket, part: &mut SendPart) {
        if let Some(level) = self.levels.get_mut(usize::from(part.urgency))
            && level.queue.add(ticket, &mut part.fresh)
        {
            self.fresh = self.fresh.saturating_add(1);
        }
    }

    /// The stream has no fresh bytes to send any more.
    #[inline]
    pub fn drop_fresh(&mut self, part: &mut SendPart) {
        if let Some(level) = self.levels.get_mut(usize::from(part.urgency))
            && level.queue.lose(&mut part.fresh)
        {
            self.fresh = self.fresh.saturating_sub(1);
        }
    }

    /// The stream waits for its turn to send what needs no credit, unless it does already.
    #[inline]
    pub fn add_again(&mut self, ticket: Ticket, part: &mut SendPart) {
        self.again.add(ticket, &mut part.again);
    }

    /// The stream has nothing of that kind any more.
    #[inline]
    pub fn drop_again(&mut self, part: &mut SendPart) {
        self.again.lose(&mut part.again);
    }

    /// The stream changes its urgency; if it waits, it waits behind those of the new one.
    pub fn set_urgency(&mut self, ticket: Ticket, part: &mut SendPart, urgency: u8) {
        let waits = part.fresh.waits;
        self.drop_fresh(part);
        if let Some(level) = self.levels.get_mut(usize::from(part.urgency)) {
            if level.queue.front() == Some(ticket) {
                level.turn_left = TURN;
            }
            level.queue.take_out(ticket, &mut part.fresh);
        }
        part.urgency = urgency.min(URGENCIES.saturating_sub(1) as u8);
        if waits {
            self.add_fresh(ticket, part);
        }
    }

    /// The stream with fresh bytes whose turn it is.
    #[inline]
    pub fn turn(&mut self, map: &mut StreamMap) -> Option<Turn> {
        let (urgency, level) = (0_u8..).zip(&mut self.levels).find(|(_, level)| level.queue.live() > 0)?;
        loop {
            let ticket = level.queue.front()?;
            if let Some(part) = map.by_ticket(ticket).and_then(|stream| stream.send.as_mut()) {
                if part.fresh.waits {
                    let shares = level.queue.live() > 1 && part.incremental == Incremental::Yes;
                    let budget = if shares { level.turn_left } else { WHOLE };
                    return Some(Turn { ticket, urgency, budget });
                }
                part.fresh.on_taken_out();
            }
            level.queue.pop();
            level.turn_left = TURN;
        }
    }

    /// The stream sent `bytes` in its turn. If it has no more to send, or its turn is over, the next one comes.
    #[inline]
    pub fn on_turn(&mut self, turn: Turn, bytes: u64, part: &mut SendPart) {
        let Some(level) = self.levels.get_mut(usize::from(turn.urgency)) else { return };
        if !part.has_fresh() {
            if level.queue.lose(&mut part.fresh) {
                self.fresh = self.fresh.saturating_sub(1);
            }
            part.fresh.on_taken_out();
            level.queue.pop();
            level.turn_left = TURN;
        } else if turn.budget != WHOLE {
            level.turn_left = level.turn_left.saturating_sub(bytes);
            if level.turn_left < SHORTEST_TURN {
                level.turn_left = TURN;
                level.queue.rotate();
            }
        }
    }

    /// The stream whose turn it is to send what needs no credit. It goes behind the others at once: a frame is a turn.
    pub fn turn_again(&mut self, map: &mut StreamMap) -> Option<Turn> {
        loop {
            let ticket = self.again.front()?;
            if let Some(part) = map.by_ticket(ticket).and_then(|stream| stream.send.as_mut()) {
                if part.again.waits {
                    self.again.rotate();
                    let budget = if self.again.live() > 1 { TURN } else { WHOLE };
                    return Some(Turn { ticket, urgency: part.urgency, budget });
                }
                part.again.on_taken_out();
            }
            self.again.pop();
        }
    }

    /// The stream goes to another queue: its tickets are taken out.
    pub fn take_out(&mut self, ticket: Ticket, part: &mut SendPart) {
        self.leave(part);
        if let Some(level) = self.levels.get_mut(usize::from(part.urgency)) {
            if level.queue.front() == Some(ticket) {
                level.turn_left = TURN;
            }
            level.queue.take_out(ticket, &mut part.fresh);
        }
        self.again.take_out(ticket, &mut part.again);
    }

    /// A stream is about to go.
    #[inline]
    pub fn leave(&mut self, part: &mut SendPart) {
        self.drop_fresh(part);
        self.drop_again(part);
    }

    /// A stream of this urgency has gone: its tickets may be swept.
    #[inline]
    pub fn sweep(&mut self, urgency: u8, map: &StreamMap) {
        if let Some(level) = self.levels.get_mut(usize::from(urgency)) {
            level.queue.sweep(|ticket| map.is_live(ticket));
        }
        self.again.sweep(|ticket| map.is_live(ticket));
    }

    /// Tickets in all queues, for tests of what streams leave behind.
    #[cfg(test)]
    pub fn tickets(&self) -> usize {
        self.levels.iter().map(|level| level.queue.len()).sum::<usize>() + self.again.len()
    }
}
