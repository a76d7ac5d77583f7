//! One question to a STUN server: sent until answered or given up (traversal T-45, RFC 8489 §6.2.1).
//!
//! Decides when to send again and whose answer counts. Called by keep-alive and detection, which put the bytes on a socket.
//! Never draws an id and never changes it: all sends of a transaction are equal.

use std::{net::SocketAddr, time::Duration};

use qbase::Timestamp;

use super::{Change, Class, Message};

/// How often to ask and how long to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// The waiting time doubles from `rto`; after the last of `sends` it is `rto` times `last_wait` (RFC 8489 §6.2.1).
    Doubling {
        /// First waiting time.
        rto: Duration,
        /// Sends in all, at least 1 (Rc).
        sends: u8,
        /// The last waiting time in units of `rto` (Rm).
        last_wait: u8,
    },
    /// `sends` times, each `every` after the one before, and as long after the last.
    Steady {
        /// Sends in all, at least 1.
        sends: u8,
        /// Waiting time.
        every: Duration,
    },
}

impl Patience {
    /// What RFC 8489 asks for: 7 sends over 31.5 s, 39.5 s in all.
    pub const STANDARD: Self = Self::Doubling { rto: Duration::from_millis(500), sends: 7, last_wait: 16 };
    /// Is there an answer at all? (traversal §4)
    pub const MAPPING: Self = Self::Steady { sends: 30, every: Duration::from_millis(300) };
    /// A question to a server that was heard of, or whose silence is one of several rounds.
    pub const FURTHER: Self = Self::Steady { sends: 10, every: Duration::from_millis(300) };
    /// Does a filter let it in? Silence is a result, so it must not be loss: 5 sends, where upstream has 3 (traversal §4).
    pub const FILTER: Self = Self::Steady { sends: 5, every: Duration::from_millis(300) };
    /// Keep-alives (traversal T-46).
    pub const SHORT: Self = Self::Steady { sends: 3, every: Duration::from_millis(300) };

    const fn sends(self) -> u8 {
        match self {
            Self::Doubling { sends, .. } | Self::Steady { sends, .. } => sends,
        }
    }

    /// Time after the `sent`-th send, counted from 1.
    fn wait(self, sent: u8) -> Duration {
        match self {
            Self::Steady { every, .. } => every,
            Self::Doubling { rto, sends, last_wait } if sent >= sends => rto.saturating_mul(last_wait.into()),
            Self::Doubling { rto, .. } => {
                let factor = 1_u32.checked_shl(sent.saturating_sub(1).into()).unwrap_or(u32::MAX);
                rto.saturating_mul(factor)
            }
        }
    }
}

/// From where an answer counts (traversal T-45).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// From the address asked.
    Asked,
    /// From an address that differs from the one asked in this way.
    Changed(Change),
    /// From just this address.
    From(SocketAddr),
    /// From anywhere: whoever knows the id.
    Anyone,
}

/// A transaction's next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send the request to the server now, and ask again.
    Send(Message),
    /// Nothing to do before this instant.
    Wait(Timestamp),
    /// Nobody answered in time.
    Silent,
}

/// What came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The response, a success or an error.
    pub message: Message,
    /// Who sent it.
    pub from: SocketAddr,
    /// Since the request; `None` where it was sent more than once and the answer may be to any of them.
    pub round_trip: Option<Duration>,
    /// Requests sent.
    pub sent: u8,
}

/// One question.
#[derive(Clone, Copy, Debug)]
pub struct Transaction {
    request: Message,
    server: SocketAddr,
    expect: Expect,
    patience: Patience,
    sent: u8,
    /// When to send or to give up.
    due: Timestamp,
    last_sent: Timestamp,
}

impl Transaction {
    /// A question to `server`, due at once.
    #[must_use]
    pub const fn new(request: Message, server: SocketAddr, expect: Expect, patience: Patience, now: Timestamp) -> Self {
        Self { request, server, expect, patience, sent: 0, due: now, last_sent: now }
    }

    /// Whom to send to.
    #[must_use]
    pub const fn server(&self) -> SocketAddr {
        self.server
    }

    /// Requests sent so far.
    #[must_use]
    pub const fn sent(&self) -> u8 {
        self.sent
    }

    /// What to do now. After [`Step::Send`] the request counts as sent.
    pub fn poll(&mut self, now: Timestamp) -> Step {
        if now < self.due {
            return Step::Wait(self.due);
        }
        if self.sent >= self.patience.sends() {
            return Step::Silent;
        }
        self.sent = self.sent.saturating_add(1);
        self.last_sent = now;
        self.due = now + self.patience.wait(self.sent);
        Step::Send(self.request)
    }

    /// When [`Transaction::poll`] has something to do.
    #[must_use]
    pub const fn next_timer(&self) -> Timestamp {
        self.due
    }

    /// A message came in. `None`: it is not the answer; the transaction goes on. An error counts only from the address asked.
    #[must_use]
    pub fn on_message(&self, message: &Message, from: SocketAddr, now: Timestamp) -> Option<Answer> {
        let right_place = match (message.class, self.expect) {
            (Class::Request | Class::Indication, _) => return None,
            (Class::Error, _) | (_, Expect::Asked) => from == self.server,
            (_, Expect::Changed(change)) => change.fits(self.server, from),
            (_, Expect::From(address)) => from == address,
            (_, Expect::Anyone) => true,
        };
        if self.sent == 0 || message.form != self.request.form || message.id != self.request.id || !right_place {
            return None;
        }
        // An answer that needs more understanding than we have is none (RFC 8489 §6.3.3).
        if message.class == Class::Success && (!message.unknown.is_empty() || message.mapped.is_none()) {
            return None;
        }
        let round_trip = (self.sent == 1).then(|| now.saturating_since(self.last_sent));
        Some(Answer { message: *message, from, round_trip, sent: self.sent })
    }
}
