//! What an ACK frame or a run of loss detection changed: the figures RTT estimation and congestion control live on.
//!
//! Decides nothing. Filled in by `sent`; read by the path parts of `qconnection` (RFC 9002 §5.1, §7).

use super::SentPacket;
use qbase::{Ecn, PacketNumber, Timestamp};

/// The newest packet that one ACK frame acknowledged for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewestAcked {
    /// Its number.
    pub number: PacketNumber,
    /// When it was sent.
    pub sent_at: Timestamp,
    /// It was ack-eliciting.
    pub ack_eliciting: bool,
}

/// Packets that one ACK frame acknowledged after they had been declared lost: their losses were spurious.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Late {
    /// How many.
    pub packets: u64,
    /// Of these, packets that had been in flight.
    pub in_flight: u64,
    /// Their bytes that had been in flight.
    pub bytes: u64,
    /// When the oldest of them was sent.
    pub oldest_sent_at: Timestamp,
    /// How many packets of this space before the largest acknowledged one the oldest of them was.
    pub distance: u64,
}

/// What one ACK frame changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct AckOutcome {
    /// Packets acknowledged for the first time, late ones included.
    pub newly_acked: u64,
    /// Of these, packets that had been declared lost; `None` if there was none.
    pub late: Option<Late>,
    /// Bytes that left `bytes_in_flight`.
    pub bytes_acked: u64,
    /// At least one of the newly acknowledged packets was ack-eliciting.
    pub any_ack_eliciting: bool,
    /// Newly acknowledged packets that were sent with ECT(0) (RFC 9000 §13.4.2.1).
    pub ect0: u64,
    /// Newly acknowledged packets that were sent with ECT(1).
    pub ect1: u64,
    /// The frame raised the largest acknowledged number (RFC 9000 §13.4.2.1).
    pub raises_largest: bool,
    /// The newest of them; `None` if the frame told nothing new.
    pub largest_newly: Option<NewestAcked>,
    /// Send time to measure an RTT sample from; `None` if this frame gives no sample (RFC 9002 §5.1).
    pub rtt_from: Option<Timestamp>,
}

/// What one run of loss detection found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct LossOutcome {
    /// Packets declared lost; MTU probes left out, here and below (burst B-56).
    pub packets: u64,
    /// Of these, packets that were in flight.
    pub in_flight: u64,
    /// Bytes of them that left `bytes_in_flight`.
    pub bytes: u64,
    /// Send time of the oldest lost packet that was in flight.
    pub oldest_sent_at: Option<Timestamp>,
    /// Send time of the newest lost packet that was in flight.
    pub newest_sent_at: Option<Timestamp>,
    /// When the next packet will be lost by time alone (RFC 9002 §6.1.2); `None` if none is waiting.
    pub next_loss_time: Option<Timestamp>,
}

impl AckOutcome {
    /// Counts one packet whose loss was spurious, sent `distance` packets before the largest acknowledged one. The
    /// loss of an MTU probe cost nothing, so it has nothing to undo.
    pub(super) fn add_late(&mut self, packet: &SentPacket, distance: u64) {
        if packet.mtu_probe {
            return;
        }
        let late = self.late.get_or_insert(Late { packets: 0, in_flight: 0, bytes: 0, oldest_sent_at: packet.sent_at, distance });
        late.packets = late.packets.saturating_add(1);
        late.in_flight = late.in_flight.saturating_add(u64::from(packet.in_flight));
        late.bytes = late.bytes.saturating_add(packet.in_flight_bytes());
        late.oldest_sent_at = late.oldest_sent_at.min(packet.sent_at);
        late.distance = late.distance.max(distance);
    }

    /// Counts one newly acknowledged packet.
    pub(super) fn add(&mut self, packet: &SentPacket) {
        self.newly_acked = self.newly_acked.saturating_add(1);
        self.any_ack_eliciting |= packet.ack_eliciting;
        self.ect0 = self.ect0.saturating_add(u64::from(packet.ecn == Ecn::Ect0));
        self.ect1 = self.ect1.saturating_add(u64::from(packet.ecn == Ecn::Ect1));
        if self.largest_newly.is_none_or(|newest| newest.number < packet.number) {
            let &SentPacket { number, sent_at, ack_eliciting, .. } = packet;
            self.largest_newly = Some(NewestAcked { number, sent_at, ack_eliciting });
        }
    }
}
