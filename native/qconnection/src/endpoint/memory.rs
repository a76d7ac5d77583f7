//! Memory goes round among the connections of an endpoint (mux R1 to R5, R13, R22).
//!
//! The pool is the endpoint's; a connection is settled with it after everything that happened to it, and those whose turn
//! it is are told: first what is received, that is a larger window, then what is sent. At most one connection is in the
//! application's hands at a time, so what the pool has left may be lent to it as a whole. Called by the endpoint's verbs.

use super::Endpoint;
use crate::handle::ConnectionHandle;
use qbase::Timestamp;
use qrecovery::buffer::Waiter;
use std::{collections::VecDeque, time::Duration};

/// How long a block is kept for a connection whose application was told and does not write.
const OFFER_KEPT: Duration = Duration::from_secs(1);

/// What the endpoint remembers of loans and offers.
#[derive(Debug, Default)]
pub(super) struct Loans {
    /// The connection that the application had in its hands last.
    lent: Option<ConnectionHandle>,
    /// The latest instant any verb was told.
    now: Timestamp,
    /// Someone was woken after the application's turn.
    news: bool,
    /// Blocks offered, by the instant until which they are kept.
    offers: VecDeque<(Timestamp, ConnectionHandle)>,
}

impl Loans {
    /// When something is due: at once when someone was woken, or when an offer ends.
    pub(super) fn next_timer(&self) -> Option<Timestamp> {
        if self.news { Some(self.now) } else { self.offers.front().map(|(until, _)| *until) }
    }
}

/// The number that a connection waits under.
pub(crate) fn waiter(handle: ConnectionHandle) -> Waiter {
    Waiter(u64::from(handle.generation) << 32 | u64::from(handle.index))
}

/// The connection that waits under this number.
fn handle_of(waiter: Waiter) -> ConnectionHandle {
    let bits = |shift: u32| u32::try_from(waiter.0 >> shift & u64::from(u32::MAX)).unwrap_or_default();
    ConnectionHandle { index: bits(0), generation: bits(32) }
}

impl Endpoint {
    /// The application takes a connection into its hands: the pool lends it what nobody has claimed.
    pub(super) fn lend(&mut self, handle: ConnectionHandle) {
        self.settle_lent();
        if let Some(connection) = self.slots.get_mut(handle) {
            connection.streams.lend(self.pool.free_for_sending());
            self.loans.lent = Some(handle);
        }
    }

    /// The latest instant any verb was told.
    pub(super) const fn latest(&self) -> Timestamp {
        self.loans.now
    }

    /// The application is done with the connection it had last.
    pub(super) fn settle_lent(&mut self) {
        if let Some(handle) = self.loans.lent.take() {
            self.settle_memory(handle);
        }
    }

    /// A verb with a time was called.
    pub(super) fn note_time(&mut self, now: Timestamp) {
        self.loans.now = now;
        self.settle_lent();
    }

    /// Something happened to a connection: what it holds and wants is told to the pool, and what came free goes to those
    /// who wait.
    pub(super) fn settle_memory(&mut self, handle: ConnectionHandle) {
        // Of several attempts another one may carry on with what was written.
        let may_carry_on = self.rivals.has(handle);
        if let Some(connection) = self.slots.get_mut(handle) {
            if !may_carry_on {
                connection.drop_unacked();
            }
            connection.settle_memory(&mut self.pool);
        }
        self.wake_waiting();
    }

    /// Tells those for whom memory is kept, and those who may have a larger window.
    pub(super) fn wake_waiting(&mut self) {
        if !self.pool.has_waiters() {
            return;
        }
        // First what is received, then what is sent (mux R13).
        while let Some(waiter) = self.pool.poll_grower() {
            let handle = handle_of(waiter);
            if let Some(connection) = self.slots.get_mut(handle) {
                connection.settle_window(&mut self.pool);
                self.tell_woken(handle);
            }
        }
        while let Some(waiter) = self.pool.poll_woken() {
            let handle = handle_of(waiter);
            let Some(connection) = self.slots.get_mut(handle) else {
                self.pool.leave(waiter);
                continue;
            };
            connection.streams.on_memory(self.pool.take_reserved(waiter));
            self.loans.offers.push_back((self.loans.now + OFFER_KEPT, handle));
            self.tell_woken(handle);
        }
    }

    fn tell_woken(&mut self, handle: ConnectionHandle) {
        self.turns.mark(handle.index);
        self.loans.news = true;
    }

    /// Blocks that were offered and not used go to the next.
    pub(super) fn expire_offers(&mut self, now: Timestamp) {
        self.loans.news = false;
        while let Some((_, handle)) = self.loans.offers.front().copied().filter(|(until, _)| *until <= now) {
            self.loans.offers.pop_front();
            if let Some(connection) = self.slots.get_mut(handle).filter(|connection| connection.streams.has_offer()) {
                connection.streams.take_back_offer();
                self.settle_memory(handle);
            }
        }
    }

    /// A connection is gone with all that it held.
    pub(super) fn leave_pool(&mut self, handle: ConnectionHandle) {
        self.pool.leave(waiter(handle));
        self.pool.leave_growth(waiter(handle));
        self.wake_waiting();
    }
}
