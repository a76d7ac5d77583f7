//! What a connection holds of the endpoint's memory, and what it waits for (mux R1 to R5, R14, R22).
//!
//! Called by the endpoint after everything that happened to the connection. Decides nothing about memory: the pool does.

use super::{Connection, State};
use crate::endpoint::memory::waiter;
use qrecovery::buffer::BufferPool;

impl Connection {
    /// Tells the pool what is held now. Blocks the application gave back go home.
    pub(crate) fn settle_memory(&mut self, pool: &mut BufferPool) {
        pool.absorb(&mut self.returned);
        self.streams.settle_memory(waiter(self.handle), pool);
        if self.is_over() {
            pool.leave(waiter(self.handle));
            pool.leave_growth(waiter(self.handle));
        }
    }

    /// It is over, and nobody else carries on with what its application wrote: that is sent no more.
    pub(crate) fn drop_unacked(&mut self) {
        if self.is_over() {
            self.streams.drop_unacked();
        }
    }

    fn is_over(&self) -> bool {
        !matches!(self.state, State::Handshaking | State::Open)
    }

    /// Asks the pool for the receive window that the connection should have; without memory for it the connection waits
    /// until windows may grow (mux R22).
    pub(crate) fn settle_window(&mut self, pool: &mut BufferPool) {
        self.reserved_window = self.streams.settle_window(self.reserved_window, pool);
        match self.streams.waits_for_growth() {
            Some(wanted) => pool.wait_for_growth(waiter(self.handle), self.reserved_window, wanted),
            None => pool.leave_growth(waiter(self.handle)),
        }
    }
}
