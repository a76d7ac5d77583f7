//! A queue of streams in which everyone stands once and may lose interest without leaving.
//!
//! Called by the schedule and by the list of owed control frames. Leaving is a mark on the stream, so a reset costs O(1)
//! however long the queue is; tickets without interest are skipped when their turn comes, and those of streams that are
//! gone are swept before they outnumber the others.

use super::map::Ticket;
use std::collections::VecDeque;

/// A stream's place in one queue.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seat {
    /// The stream wants its turn.
    pub waits: bool,
    /// A ticket of the stream is in the queue.
    ticket: bool,
}

impl Seat {
    /// The ticket was taken out.
    pub const fn on_taken_out(&mut self) {
        self.ticket = false;
    }
}

/// The queue.
#[derive(Debug, Default)]
pub(super) struct Queue {
    tickets: VecDeque<Ticket>,
    /// Streams that want their turn.
    live: usize,
}

/// Tickets a queue may hold beyond twice those that wait before it is swept.
const SLACK: usize = 32;

impl Queue {
    /// Streams that want their turn.
    #[inline]
    pub const fn live(&self) -> usize {
        self.live
    }

    /// Tickets in the queue, for tests of what streams leave behind.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.tickets.len()
    }

    /// The stream wants its turn; answers whether it did not before.
    #[inline]
    pub fn add(&mut self, ticket: Ticket, seat: &mut Seat) -> bool {
        if seat.waits {
            return false;
        }
        seat.waits = true;
        self.live = self.live.saturating_add(1);
        if !std::mem::replace(&mut seat.ticket, true) {
            self.tickets.push_back(ticket);
        }
        true
    }

    /// The stream does not want its turn any more; answers whether it did before.
    #[inline]
    pub fn lose(&mut self, seat: &mut Seat) -> bool {
        let did = std::mem::take(&mut seat.waits);
        if did {
            self.live = self.live.saturating_sub(1);
        }
        did
    }

    /// The first ticket.
    #[inline]
    pub fn front(&self) -> Option<Ticket> {
        self.tickets.front().copied()
    }

    /// Takes the first ticket out. Its stream's seat must be told by [`Seat::on_taken_out`].
    #[inline]
    pub fn pop(&mut self) -> Option<Ticket> {
        self.tickets.pop_front()
    }

    /// Moves the first ticket behind the others.
    #[inline]
    pub fn rotate(&mut self) {
        if let Some(ticket) = self.tickets.pop_front() {
            self.tickets.push_back(ticket);
        }
    }

    /// Takes the ticket of a stream out, wherever it stands.
    pub fn take_out(&mut self, ticket: Ticket, seat: &mut Seat) {
        self.lose(seat);
        seat.on_taken_out();
        self.tickets.retain(|other| *other != ticket);
    }

    /// Sweeps the tickets of streams that are gone, once they are many. Call after a stream has gone.
    pub fn sweep(&mut self, is_live: impl Fn(Ticket) -> bool) {
        if self.tickets.len() > self.live.saturating_mul(2).saturating_add(SLACK) {
            self.tickets.retain(|ticket| is_live(*ticket));
        }
    }
}
