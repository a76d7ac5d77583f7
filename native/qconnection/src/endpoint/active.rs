//! Which connections something happened to, for an application that looks at those only.
//!
//! Called by the application once per turn of the driver, in place of [`Endpoint::poll_event`]:
//!
//! ```text
//!   while let Some(handle) = endpoint.active() { poll_event_of(handle) …; endpoint.settle(); }
//! ```
//! A connection is active after a datagram, a timer, a burst of its own, or a verb of the application.

use super::Endpoint;
use crate::handle::ConnectionHandle;

impl Endpoint {
    /// The connection to look at next; it stays the same until [`Endpoint::settle`].
    pub fn active(&mut self) -> Option<ConnectionHandle> {
        while let Some(index) = self.turns.talker() {
            let handle = self.slots.at(index).map(|connection| connection.handle());
            if let Some(handle) = handle.filter(|handle| !self.rivals.hides(*handle)) {
                return Some(handle);
            }
            self.turns.hush();
        }
        None
    }

    /// The connection of [`Endpoint::active`] was looked at. What happens to it later makes it active again.
    pub fn settle(&mut self) {
        self.turns.hush();
    }

    /// A connection may have something to send, or an answer without a connection waits.
    #[must_use]
    pub fn wants_to_send(&self) -> bool {
        !self.answers.is_empty() || self.turns.front().is_some()
    }
}
