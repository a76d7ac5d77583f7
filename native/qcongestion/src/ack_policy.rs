//! When received packets must be acknowledged (RFC 9000 §13.2.1, §13.2.2).
//!
//! Fed with every accepted packet of a space, asked once per receive batch. Every second ack-eliciting packet is due, gaps
//! and congestion marks are due at once, anything else within `max_ack_delay`; a flood of PINGs gets no more (attacks
//! C12). Never keeps packet numbers: `qrecovery` does.

use std::time::Duration;

use qbase::Timestamp;

/// Ack-eliciting packets that make an ACK due (RFC 9000 §13.2.2).
pub const THRESHOLD: u32 = 2;

/// Whether a packet asks for an ACK (RFC 9000 §13.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AckEliciting {
    /// It holds a frame other than ACK, PADDING and CONNECTION_CLOSE.
    Yes,
    /// It does not.
    No,
}

/// Where a packet's number stands among those received in its space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The number after the largest.
    Next,
    /// Above the number after the largest: some are missing.
    Gap,
    /// Below the largest: late, or fills a gap.
    Late,
    /// Received before; it has no effect (RFC 9000 §12.3).
    Duplicate,
}

/// The ECN field a packet arrived with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CongestionMark {
    /// Not marked.
    None,
    /// Congestion experienced: the sender wants to know at once (RFC 9000 §13.2.1).
    Experienced,
}

/// When the next ACK of one space is due.
#[derive(Clone, Debug)]
pub struct AckPolicy {
    /// Longest an ACK waits; zero for Initial and Handshake.
    max_ack_delay: Duration,
    /// Ack-eliciting packets received since the last ACK.
    unacked: u32,
    /// When the ACK for them is due; `None` if there are none.
    due_at: Option<Timestamp>,
}

impl AckPolicy {
    /// A space whose ACKs wait at most `max_ack_delay`, the value we announced.
    #[must_use]
    pub const fn new(max_ack_delay: Duration) -> Self {
        Self { max_ack_delay, unacked: 0, due_at: None }
    }

    /// The Initial or Handshake space: every ack-eliciting packet is acknowledged at once (RFC 9000 §13.2.1).
    #[must_use]
    pub const fn immediate() -> Self {
        Self::new(Duration::ZERO)
    }

    /// A packet was received and processed.
    pub fn on_packet(&mut self, now: Timestamp, ack_eliciting: AckEliciting, order: Order, mark: CongestionMark) {
        if ack_eliciting == AckEliciting::No || order == Order::Duplicate {
            return;
        }
        self.unacked = self.unacked.saturating_add(1);
        let at_once = self.unacked >= THRESHOLD || order != Order::Next || mark == CongestionMark::Experienced;
        let due_at = if at_once { now } else { now + self.max_ack_delay };
        self.due_at = Timestamp::earliest(self.due_at, Some(due_at));
    }

    /// Whether an ACK must go out now, in a packet of its own if need be.
    #[must_use]
    pub fn due(&self, now: Timestamp) -> bool {
        self.due_at.is_some_and(|due_at| due_at <= now)
    }

    /// Whether an ACK would tell the peer something it waits for: worth adding to a packet that goes out anyway.
    #[must_use]
    pub const fn pending(&self) -> bool {
        self.unacked > 0
    }

    /// When an ACK is due; `None` while nothing waits for one.
    #[must_use]
    pub const fn deadline(&self) -> Option<Timestamp> {
        self.due_at
    }

    /// An ACK with everything received went out.
    pub const fn on_ack_sent(&mut self) {
        self.unacked = 0;
        self.due_at = None;
    }
}
