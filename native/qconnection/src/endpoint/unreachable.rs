//! Somebody says that nobody listens where a first flight went (ICMP port unreachable, RFC 9000 §14.2.1; attacks A24).
//!
//! Anybody can write ICMP. It is believed only if it quotes a connection id that this endpoint drew for a connection of
//! its own, to an address that was dialled, and only while nothing of the server has come: it ends no connection that has
//! heard its peer. Called by the driver. Systems that quote less than the ids change nothing; the handshake's timeout does.

use super::Endpoint;
use qbase::{Timestamp, packet};
use std::net::SocketAddr;

impl Endpoint {
    /// A connection of our own waits for its first answer.
    pub fn awaits_answer(&mut self) -> bool {
        while let Some(last) = self.dialled.last() {
            if self.slots.get(*last).is_some_and(crate::connection::Connection::is_unanswered) {
                return true;
            }
            self.dialled.pop();
        }
        false
    }

    /// Somebody says that nobody listens at `remote`; `quoted` is the beginning of what was sent there.
    pub fn on_port_unreachable(&mut self, now: Timestamp, remote: SocketAddr, quoted: &[u8]) {
        let Some(source) = packet::source_cid(quoted) else { return };
        let Some(handle) = self.routes.find(source).map(|route| route.handle) else { return };
        self.note_time(now);
        let Some(connection) = self.slots.get_mut(handle) else { return };
        connection.on_port_unreachable(now, remote);
        self.turns.mark(handle.index);
        let handle = self.settle_rivals(now, handle);
        self.settle_memory(handle);
        self.run_actions(handle);
    }
}
