//! Packet-number spaces: what was sent, what was received, and what an acknowledgement says about both.
//!
//! RFC 9000 §12.3, RFC 9002. One [`Space`] stands for Initial, one for Handshake and one for each path id's application
//! packets (multipath MP-17); where all paths share numbers, [`OneSpace`] stands beside them. Called by the connection's input and by the burst writer. Never looks into frames: records
//! of what a packet carried are handed back as they were booked.

pub mod handshake;
pub mod numbers;
pub mod one;

pub use handshake::HandshakeSpace;
pub use numbers::Numbers;
pub use one::OneSpace;

use crate::burst::record::SentFrame;
use qbase::{PacketNumber, Timestamp};
use qcongestion::ack_policy::AckPolicy;
use qrecovery::{received::ReceivedPackets, sent::SentPackets};
use std::time::Duration;

/// One packet-number space.
#[derive(Debug)]
pub struct Space {
    /// Numbers of our packets.
    pub numbers: Numbers,
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
            numbers: Numbers::new(first_skip),
            sent: SentPackets::new(),
            received: ReceivedPackets::new(ack_ranges),
            acks: AckPolicy::new(max_ack_delay),
            loss_time: None,
            probes_owed: 0,
        }
    }

    /// Something ack-eliciting is on its way.
    #[must_use]
    pub fn is_waiting_for_ack(&self) -> bool {
        self.sent.ack_eliciting_in_flight() > 0
    }
}
