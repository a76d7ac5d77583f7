//! A server answers a client that asks again before its own PTO would (RFC 9002 §6.2.3).
//!
//! A client repeats its Initial packets when the server's have not come, while the server's PTO may be backed off to
//! seconds: the datagram that acknowledges such a packet is full of padding anyway, so it carries the handshake instead.
//! Called for each Initial packet that asks for an acknowledgement, after its frames were taken. Never spends more than the
//! anti-amplification credit, and only so often on a connection.

use super::Connection;
use qbase::{EncryptionLevel, PathId, Timestamp, limits};

impl Connection {
    /// The client still sends Initial packets: what it may lack goes out again, if an answer to the last try would be here.
    pub(super) fn hurry_handshake(&mut self, now: Timestamp) {
        if self.role.is_client() || self.hurried >= limits::HURRIED_FLIGHTS {
            return;
        }
        let Some(answer_after) = self.network(PathId::ZERO).map(|network| network.rtt.smoothed().checked_div(2).unwrap_or_default()) else { return };
        let Some(space) = self.initial.as_ref() else { return };
        let last_try = space.space.sent.last_ack_eliciting_sent_at();
        let is_late = last_try.is_some_and(|at| now.saturating_since(at) >= answer_after);
        if !is_late || !space.crypto.has_unacked() || space.crypto.has_pending() {
            return;
        }
        self.hurried = self.hurried.saturating_add(1);
        self.offer_again(EncryptionLevel::Initial, PathId::ZERO, 2);
        self.offer_again(EncryptionLevel::Handshake, PathId::ZERO, 2);
    }
}
