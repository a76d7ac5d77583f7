//! Nobody listens at a port that was dialled (RFC 9000 §14.2.1; attacks A24).
//!
//! Called by the endpoint, which has checked that the word is about a datagram of this connection. Ends a handshake only if
//! every address pair that it could take is closed, and only before anything of the server came.

use crate::{connection::{Connection, close::CloseCause}, endpoint::SendFailure, path::side::is_same_address};
use qbase::Timestamp;
use std::net::SocketAddr;

impl Connection {
    /// The host of `remote` says so.
    pub(crate) fn on_port_unreachable(&mut self, now: Timestamp, remote: SocketAddr) {
        if !self.is_unanswered() {
            return;
        }
        let Some(candidates) = self.candidates.as_deref() else { return };
        let is_hit = |at: &usize| candidates.list.get(*at).is_some_and(|entry| entry.facts.is_trying() && is_same_address(entry.four_tuple.remote, remote));
        let hit: Vec<usize> = (0..candidates.list.len()).filter(is_hit).collect();
        // One of several attempts has one pair of its own; what becomes of the others is not its concern.
        let is_own_end = candidates.is_rival && hit.contains(&candidates.current);
        for at in hit {
            self.on_attempt_refused(now, at, SendFailure::Refused);
        }
        let is_over = self.candidates.as_deref().is_some_and(|candidates| candidates.list.iter().all(|entry| entry.facts.has_failed()));
        if is_own_end || is_over {
            self.close_silently(now, CloseCause::Refused);
        }
    }
}
