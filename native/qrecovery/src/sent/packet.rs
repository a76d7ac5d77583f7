//! A sent packet: what its fate depends on.
//!
//! Decides what counts as in flight (RFC 9002 §2). Called by `sent` and by whoever sends packets.

use qbase::{Ecn, PacketNumber, Timestamp};
use std::time::Duration;

/// A sent packet, as the one who sent it describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SentPacket {
    /// Its number in this space.
    pub number: PacketNumber,
    /// When it was handed to the socket; never earlier than the packet before.
    pub sent_at: Timestamp,
    /// Bytes it took in the datagram.
    pub size: u16,
    /// The peer must acknowledge it (RFC 9000 §13.2).
    pub ack_eliciting: bool,
    /// It counts in `bytes_in_flight` (RFC 9002 §2). A packet that does not is one with nothing but ACK and close.
    pub in_flight: bool,
    /// ECN mark of its datagram.
    pub ecn: Ecn,
    /// It probes the path MTU: it does not count in flight, its loss is no congestion (RFC 9000 §14.4), and silence after it
    /// is no reason for a PTO.
    pub mtu_probe: bool,
}

impl SentPacket {
    /// Nobody waits for its acknowledgement: it held nothing but ACK or close.
    pub(super) const fn is_ack_only(&self) -> bool {
        !self.in_flight && !self.ack_eliciting
    }

    /// Silence after it is a reason for a PTO (RFC 9002 §6.2.1). A lost MTU probe is no silence.
    pub(super) const fn arms_pto(&self) -> bool {
        self.ack_eliciting && !self.mtu_probe
    }

    /// When it is lost by time if a later packet was acknowledged (RFC 9002 §6.1.2).
    pub(super) fn lost_at(&self, loss_delay: Duration) -> Timestamp {
        self.sent_at + loss_delay
    }

    /// What it counts in `bytes_in_flight`.
    pub(super) fn in_flight_bytes(&self) -> u64 {
        if self.in_flight { u64::from(self.size) } else { 0 }
    }
}

/// Sums over packets that stop being outstanding.
#[derive(Default)]
pub(super) struct Totals {
    pub packets: usize,
    pub bytes: u64,
    pub ack_eliciting: u64,
    pub ack_only: usize,
}

impl Totals {
    pub fn add(&mut self, packet: &SentPacket) {
        self.packets = self.packets.saturating_add(1);
        self.bytes = self.bytes.saturating_add(packet.in_flight_bytes());
        self.ack_eliciting = self.ack_eliciting.saturating_add(u64::from(packet.arms_pto()));
        self.ack_only = self.ack_only.saturating_add(usize::from(packet.is_ack_only()));
    }
}
