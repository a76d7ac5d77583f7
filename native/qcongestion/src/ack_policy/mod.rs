//! When received packets must be acknowledged (RFC 9000 §13.2.1, §13.2.2; draft-ietf-quic-ack-frequency §6).
//!
//! Fed with every accepted packet of a space, asked once per receive batch. Until the peer asks for something else, every
//! second ack-eliciting packet is due, gaps and congestion marks are due at once, anything else within `max_ack_delay`; a
//! flood of PINGs gets no more (attacks C12). Keeps the two numbers that the reordering threshold is about; which packets
//! came `qrecovery` knows and answers when it is asked.

use std::{ops::Range, time::Duration};

use qbase::{Ecn, PacketNumber, Timestamp, limits};

use crate::later;

/// What a peer may ask for: when it wants acknowledgements (ACK_FREQUENCY, draft-ietf-quic-ack-frequency §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AckFrequency {
    /// Ack-eliciting packets that may wait without an ACK; one more makes it due. 0: every one is acknowledged at once.
    pub threshold: u64,
    /// Longest an ACK waits.
    pub max_ack_delay: Duration,
    /// An ACK is due at once when so many packets later than a missing one have come. 1: at once when one is missing; 0:
    /// missing packets make no ACK due.
    pub reordering: u64,
}

impl AckFrequency {
    /// What holds until a peer asks for something else (RFC 9000 §13.2).
    #[must_use]
    pub const fn standard(max_ack_delay: Duration) -> Self {
        Self { threshold: 1, max_ack_delay, reordering: 1 }
    }
}

/// Whether a packet asks for an ACK (RFC 9000 §13.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AckEliciting {
    /// It does not.
    No,
    /// It holds a frame other than ACK, PADDING and CONNECTION_CLOSE.
    Yes,
    /// It holds IMMEDIATE_ACK.
    AtOnce,
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

/// A packet as far as its acknowledgement goes.
#[derive(Clone, Copy, Debug)]
pub struct Arrived {
    /// Its number.
    pub number: PacketNumber,
    /// Whether it asks for an ACK.
    pub ack_eliciting: AckEliciting,
    /// Where its number stands.
    pub order: Order,
    /// The mark of its datagram.
    pub ecn: Ecn,
    /// The path's smoothed RTT: after more than that without an ACK the peer wants news soon (draft §6.1).
    pub smoothed_rtt: Duration,
}

/// When the next ACK of one space is due.
#[derive(Clone, Debug)]
pub struct AckPolicy {
    /// Longest an ACK waits unless the peer asks for something else; zero for Initial and Handshake.
    max_ack_delay: Duration,
    /// What the peer asked for last; `None`: nothing.
    asked: Option<AckFrequency>,
    /// Ack-eliciting packets received since the last ACK.
    unacked: u32,
    /// When the ACK for them is due; `None` if there are none.
    due_at: Option<Timestamp>,
    /// Largest number of an ack-eliciting packet.
    largest_unacked: PacketNumber,
    /// Largest number in an ACK that was sent.
    largest_acked: Option<PacketNumber>,
    /// Packets out of order since the last ACK: each may be a range of its own, and none may be forgotten unsaid.
    out_of_order: u8,
    /// The mark of the newest packet.
    mark: Ecn,
    /// Twice the IMMEDIATE_ACK frames that are obeyed before other packets must come between.
    obedience: u8,
    /// When the last ACK was sent.
    acked_at: Option<Timestamp>,
}

impl AckPolicy {
    /// A space whose ACKs wait at most `max_ack_delay`, the value we announced.
    #[must_use]
    pub const fn new(max_ack_delay: Duration) -> Self {
        Self {
            max_ack_delay,
            asked: None,
            unacked: 0,
            due_at: None,
            largest_unacked: 0,
            largest_acked: None,
            out_of_order: 0,
            mark: Ecn::NotEct,
            obedience: limits::IMMEDIATE_ACKS * 2,
            acked_at: None,
        }
    }

    /// The Initial or Handshake space: every ack-eliciting packet is acknowledged at once (RFC 9000 §13.2.1).
    #[must_use]
    pub const fn immediate() -> Self {
        Self::new(Duration::ZERO)
    }

    /// The peer asks for other acknowledgements from now on.
    pub const fn on_asked(&mut self, asked: AckFrequency) {
        self.asked = Some(asked);
    }

    /// A packet was received and processed; a change to CE is told at once (RFC 9000 §13.2.1, draft §6.3). `first_missing`
    /// answers which is the lowest number of a range that did not come.
    pub fn on_packet(&mut self, now: Timestamp, packet: &Arrived, first_missing: impl FnOnce(Range<PacketNumber>) -> Option<PacketNumber>) {
        if packet.order == Order::Duplicate {
            return;
        }
        let mark = std::mem::replace(&mut self.mark, packet.ecn);
        if packet.ack_eliciting == AckEliciting::No {
            return;
        }
        self.unacked = self.unacked.saturating_add(1);
        self.largest_unacked = self.largest_unacked.max(packet.number);
        if packet.order != Order::Next {
            self.out_of_order = self.out_of_order.saturating_add(1);
        }
        let asked = self.asked.unwrap_or(AckFrequency::standard(self.max_ack_delay));
        let marked = packet.ecn == Ecn::Ce && (asked.threshold <= 1 || mark != Ecn::Ce);
        let obeys = self.obeys(packet.ack_eliciting);
        let at_once = u64::from(self.unacked) > asked.threshold
            || obeys
            || marked
            || self.out_of_order >= limits::OUT_OF_ORDER_BEFORE_ACK
            || self.is_reordered(asked.reordering, packet, first_missing);
        let due_at = if at_once { now } else { later(now, self.patience(now, &asked, packet.smoothed_rtt)) };
        self.due_at = Timestamp::earliest(self.due_at, Some(due_at));
    }

    /// The packet, or one that is missing before it, lies outside the reordering that the peer expects (draft §6.2).
    fn is_reordered(&self, threshold: u64, packet: &Arrived, first_missing: impl FnOnce(Range<PacketNumber>) -> Option<PacketNumber>) -> bool {
        match threshold {
            0 => return false,
            1 => return packet.order != Order::Next,
            _ => {}
        }
        if packet.order == Order::Late && self.largest_acked.is_some_and(|acked| packet.number <= acked.saturating_sub(threshold)) {
            return true;
        }
        // What lies lower was told to be missing by an earlier ACK, so that the peer could declare it lost.
        let unreported = self.largest_acked.map_or(0, |acked| acked.saturating_sub(threshold).saturating_add(u64::from(acked >= threshold)));
        let missing = first_missing(unreported..self.largest_unacked);
        missing.is_some_and(|missing| self.largest_unacked.saturating_sub(missing) >= threshold)
    }

    /// How long the ACK of a packet in order waits: after a long silence not longer than without the peer's wish.
    fn patience(&self, now: Timestamp, asked: &AckFrequency, smoothed_rtt: Duration) -> Duration {
        let silent = self.acked_at.is_none_or(|at| now.saturating_since(at) > smoothed_rtt);
        if silent { asked.max_ack_delay.min(self.max_ack_delay) } else { asked.max_ack_delay }
    }

    /// The packet wants an ACK at once and gets it. A flood of such wishes is obeyed no more often than other packets come
    /// between, two for each (draft §5, attacks C12).
    const fn obeys(&mut self, ack_eliciting: AckEliciting) -> bool {
        if !matches!(ack_eliciting, AckEliciting::AtOnce) {
            if self.obedience < limits::IMMEDIATE_ACKS * 2 {
                self.obedience = self.obedience.saturating_add(1);
            }
            return false;
        }
        let Some(left) = self.obedience.checked_sub(2) else { return false };
        self.obedience = left;
        true
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

    /// Ack-eliciting packets that no ACK has told of.
    #[must_use]
    pub const fn waiting(&self) -> u32 {
        self.unacked
    }

    /// When an ACK is due; `None` while nothing waits for one.
    #[must_use]
    pub const fn deadline(&self) -> Option<Timestamp> {
        self.due_at
    }

    /// An ACK with everything received, up to `largest`, went out.
    pub fn on_ack_sent(&mut self, now: Timestamp, largest: PacketNumber) {
        self.unacked = 0;
        self.due_at = None;
        self.out_of_order = 0;
        self.largest_acked = Some(largest).max(self.largest_acked);
        self.acked_at = Some(now);
    }

    /// The ACK sent last may be lost: it goes out again with a packet that goes out anyway.
    pub fn repeat(&mut self) {
        self.unacked = self.unacked.max(1);
    }

    /// The ACK written last never left: what it told is due at once.
    pub fn on_ack_cancelled(&mut self, now: Timestamp) {
        self.unacked = self.unacked.max(1);
        self.due_at = Timestamp::earliest(self.due_at, Some(now));
    }
}

#[cfg(test)]
mod tests;
