//! Events of all connections, in the order of their turns; dead connections leave the table here.
//!
//! Called by the application once per turn of the driver.

use super::Endpoint;
use crate::{connection::events::Event, handle::ConnectionHandle};

impl Endpoint {
    /// The next event of a connection, if it has one. After [`Event::Drained`] the handle is dead.
    pub fn poll_event_of(&mut self, handle: ConnectionHandle) -> Option<Event> {
        let connection = self.slots.get_mut(handle)?;
        let event = connection.poll_event()?;
        match event {
            Event::HandshakeComplete if !connection.role().is_client() => {
                self.counters.half_open = self.counters.half_open.saturating_sub(1);
            }
            Event::Drained => self.bury(handle),
            _ => {}
        }
        Some(event)
    }

    /// The next event of any connection. Slots are asked in turn, so that none starves another.
    pub fn poll_event(&mut self) -> Option<(ConnectionHandle, Event)> {
        while let Some(index) = self.turns.talker() {
            if let Some(handle) = self.slots.at(index).map(|connection| connection.handle())
                && !self.rivals.hides(handle)
                && let Some(event) = self.poll_event_of(handle)
            {
                return Some((handle, event));
            }
            self.turns.hush();
        }
        None
    }

    /// Removes a drained connection and everything that named it.
    fn bury(&mut self, handle: ConnectionHandle) {
        self.run_actions(handle);
        if let Some(mut connection) = self.slots.remove(handle) {
            // What its punches held of the budget (traversal T-94).
            connection.drive_traversal(self.latest(), &mut self.probes);
            self.crowd.leave(handle.index);
            self.keep_log(handle, &mut connection);
            // What its streams held and what the application gave back last (attacks R5).
            connection.settle_memory(&mut self.pool);
            debug_assert_eq!((connection.streams.open_count(), connection.streams.send_memory()), (0, 0), "mux R45");
            self.pool.release_window(connection.reserved_window);
            self.routes.remove(&connection.initial_dcid(), handle);
            for token in connection.reset_tokens.drain(..) {
                self.reset_tokens.remove(&token, handle);
            }
            if !connection.role().is_client() && !connection.is_handshake_complete() {
                self.counters.half_open = self.counters.half_open.saturating_sub(1);
            }
        }
        self.leave_pool(handle);
        self.close_sockets_of(handle);
        self.rivals.forget(handle);
        self.turns.forget(handle.index);
    }
}
