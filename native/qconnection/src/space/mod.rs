//! Packet-number spaces: what was sent, what was received, and what an acknowledgement says about both.
//!
//! RFC 9000 §12.3, RFC 9002. One [`Space`] stands for Initial, one for Handshake and one for each path id's application
//! packets (multipath MP-17). Called by the connection's input and by the burst writer. Never looks into frames: records
//! of what a packet carried are handed back as they were booked.

pub mod handshake;

pub use handshake::HandshakeSpace;

use crate::burst::record::SentFrame;
use qbase::{PacketNumber, Timestamp, varint};
use qcongestion::ack_policy::AckPolicy;
use qrecovery::{received::ReceivedPackets, sent::SentPackets};
use std::time::Duration;

/// One packet-number space.
#[derive(Debug)]
pub struct Space {
    /// Number of the next packet.
    next_number: PacketNumber,
    /// The number that is left out next, so that acknowledgements sent ahead of receipt show (attacks C2).
    skip_at: PacketNumber,
    /// The number that no packet may have any more (RFC 9000 §12.3).
    last_number: PacketNumber,
    /// Packets the peer has not settled yet.
    pub sent: SentPackets<SentFrame>,
    /// Numbers the peer sent.
    pub received: ReceivedPackets,
    /// When the next acknowledgement is due.
    pub acks: AckPolicy,
    /// When the earliest packet counts as lost by time.
    pub loss_time: Option<Timestamp>,
    /// Ack-eliciting packets owed since a PTO (burst B-60).
    pub probes_owed: u8,
}

impl Space {
    /// An unused space that keeps at most `ack_ranges` received ranges (attacks L5).
    #[must_use]
    pub fn new(ack_ranges: usize, max_ack_delay: Duration, first_skip: PacketNumber) -> Self {
        Self {
            next_number: 0,
            skip_at: first_skip,
            last_number: varint::MAX,
            sent: SentPackets::new(),
            received: ReceivedPackets::new(ack_ranges),
            acks: AckPolicy::new(max_ack_delay),
            loss_time: None,
            probes_owed: 0,
        }
    }

    /// Its numbers end at `last`, if that is told, in place of 2^62-1.
    pub fn end_at(&mut self, last: Option<PacketNumber>) {
        self.last_number = last.unwrap_or(varint::MAX);
    }

    /// No number is left: nothing may be sent any more, not even a word about it (RFC 9000 §12.3).
    #[must_use]
    pub const fn is_used_up(&self) -> bool {
        self.next_number >= self.last_number
    }

    /// The number the next packet will have.
    #[must_use]
    pub fn peek_number(&self) -> PacketNumber {
        if self.next_number == self.skip_at { self.next_number.saturating_add(1) } else { self.next_number }
    }

    /// The lowest number never given to a packet.
    #[must_use]
    pub const fn unused_number(&self) -> PacketNumber {
        self.next_number
    }

    /// Takes the next number; `skip_distance` tells how far away the next skipped number lies.
    pub fn take_number(&mut self, skip_distance: impl FnOnce() -> u64) -> PacketNumber {
        let number = self.peek_number();
        self.next_number = number.saturating_add(1);
        if self.skip_at < self.next_number {
            self.skip_at = self.next_number.saturating_add(skip_distance().max(1));
        }
        number
    }

    /// Gives back the number taken last, if its packet stayed empty (burst B-23).
    pub fn return_number(&mut self, number: PacketNumber) {
        if number.saturating_add(1) == self.next_number {
            self.next_number = number;
        }
    }

    /// Something ack-eliciting is on its way.
    #[must_use]
    pub fn is_waiting_for_ack(&self) -> bool {
        self.sent.ack_eliciting_in_flight() > 0
    }
}
