//! Does a NAT turn packets round that go from inside to one of its own external addresses (RFC 4787 §6, RFC 5780 §4.5)?
//!
//! Decides by two sockets that send to each other's mapped address, both ways, so that a filter that wants a packet out
//! first is satisfied. Called by the detection.

use std::{net::SocketAddr, time::Duration};

use qbase::Timestamp;
use rand_core::RngCore;

use super::{Outgoing, SocketNumber, TTL};
use crate::{
    nat::Hairpin,
    stun::{Class, Form, Message, TransactionId},
};

/// One of the two sockets.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    pub(super) socket: SocketNumber,
    pub(super) mapped: SocketAddr,
}

/// The trial.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trial {
    ends: [End; 2],
    request: Message,
    /// Datagrams sent, two a round.
    sent: u8,
    due: Timestamp,
}

/// Rounds, and time between them.
const ROUNDS: u8 = 5;
const EVERY: Duration = Duration::from_millis(300);

#[expect(clippy::large_enum_variant, reason = "returned, never stored")]
pub(super) enum TrialStep {
    Send(Outgoing),
    Wait(Timestamp),
    Silent,
}

impl Trial {
    pub(super) fn new(form: Form, ends: [End; 2], random: &mut dyn RngCore, now: Timestamp) -> Self {
        Self { ends, request: Message::request(form, TransactionId::random(random)), sent: 0, due: now }
    }

    pub(super) const fn sent(&self) -> u8 {
        self.sent
    }

    /// Whose address was sent to first.
    pub(super) const fn target(&self) -> SocketAddr {
        let [first, _] = self.ends;
        first.mapped
    }

    pub(super) fn poll(&mut self, now: Timestamp) -> TrialStep {
        if now < self.due {
            return TrialStep::Wait(self.due);
        }
        if self.sent >= ROUNDS.saturating_mul(2) {
            return TrialStep::Silent;
        }
        let [first, second] = self.ends;
        let (from, to) = if self.sent & 1 == 0 { (second, first) } else { (first, second) };
        if self.sent & 1 == 1 {
            self.due = now + EVERY;
        }
        self.sent = self.sent.saturating_add(1);
        TrialStep::Send(Outgoing { socket: from.socket, to: to.mapped, ttl: TTL, message: self.request })
    }

    /// A message came in on one of the sockets: ours, turned round?
    pub(super) fn on_message(&self, socket: SocketNumber, message: &Message, from: SocketAddr) -> Option<Hairpin> {
        let [first, second] = self.ends;
        let other = match socket {
            _ if socket == first.socket => second,
            _ if socket == second.socket => first,
            _ => return None,
        };
        if message.class != Class::Request || message.id != self.request.id || self.sent == 0 {
            return None;
        }
        Some(if from.ip() == other.mapped.ip() { Hairpin::External } else { Hairpin::Internal })
    }
}
