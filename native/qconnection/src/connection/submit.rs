//! What became of a written burst: booked as sent, or taken back (burst B-7, section 15).
//!
//! Called by the endpoint with the socket's answer.

use super::{Connection, close::CloseCause};
use crate::{
    burst::{SentFrame, record::{PendingBurst, PendingPacket}},
    path::{scheduler::served_by, validate::Validation},
};
use qbase::{Ecn, EncryptionLevel, PathId, SpaceId, Timestamp, limits};
use qevent::qlog::BurstKind;
use qrecovery::sent::SentPacket;

impl Connection {
    /// The socket took the first `segments` of the open burst of `path`; the others are taken back.
    pub(crate) fn on_submitted(&mut self, path: PathId, segments: usize, now: Timestamp) {
        if self.on_copy_submitted(now, path, segments) {
            return;
        }
        let Some(network) = self.network_mut(path) else { return };
        let mut pending = std::mem::take(&mut network.pending);
        if self.is_logged() {
            let kind = if pending.mtu_probe { BurstKind::MtuProbe } else { BurstKind::Data };
            self.log_sent(now, path, segments, kind);
        }
        let mut frames = 0_usize;
        let mut eliciting = false;
        for packet in &pending.packets {
            let from = frames;
            frames = frames.saturating_add(usize::from(packet.frames));
            let carried = pending.frames.get(from..frames).unwrap_or_default();
            if usize::from(packet.segment) >= segments {
                self.note_unsent(packet.space, packet.number);
                for frame in carried {
                    self.on_frame_cancelled(path, *frame, &pending, now);
                }
                continue;
            }
            if pending.segment_size < limits::MIN_INITIAL
                && carried.contains(&SentFrame::PathChallenge)
                && let Some(validation) = self.validation_mut(path, &pending)
            {
                validation.on_sent_small();
            }
            eliciting |= packet.weight.ack_eliciting;
            self.book_sent(path, packet, carried, &pending, now);
        }
        self.datagrams.send.on_submitted(path);
        self.counters.on_sent(&pending, segments);
        self.trace_burst(path, segments, &pending);
        self.note_flight(now, path, segments, &pending);
        self.settle_burst(path, segments, &pending, now);
        if eliciting {
            self.timers.on_ack_eliciting_sent(now);
            if self.network(path).is_some_and(|network| network.suspect_since.is_none()) {
                self.timers.on_alive(now);
            }
        }
        pending.clear();
        if let Some(network) = self.network_mut(path) {
            network.pending = pending;
        }
        if self.is_out_of_numbers(path) {
            self.close_silently(now, CloseCause::Numbers);
        }
        self.log_facts(now);
    }

    /// A frame never left: its owner may send it again, and nothing was lost.
    fn on_frame_cancelled(&mut self, path: PathId, frame: SentFrame, pending: &PendingBurst, now: Timestamp) {
        match frame {
            SentFrame::PathChallenge => {
                if let Some(validation) = self.validation_mut(path, pending) {
                    validation.on_cancelled();
                }
            }
            SentFrame::MtuProbe { path, id } => {
                if let Some(network) = self.network_mut(path) {
                    network.search.on_probe_cancelled(id);
                }
            }
            SentFrame::Ack { space, .. } => {
                let (level, of) = match space {
                    SpaceId::Initial => (EncryptionLevel::Initial, PathId::ZERO),
                    SpaceId::Handshake => (EncryptionLevel::Handshake, PathId::ZERO),
                    SpaceId::Application(of) => (EncryptionLevel::OneRtt, of),
                };
                if let Some(space) = self.space_mut(level, of) {
                    space.acks.on_ack_cancelled(now);
                }
            }
            SentFrame::Datagram { id, .. } => self.datagrams.send.take_back(id),
            frame => self.on_frame_lost(frame),
        }
    }

    /// The validation whose challenge a burst carries.
    fn validation_mut(&mut self, path: PathId, pending: &PendingBurst) -> Option<&mut Validation> {
        let network = self.network_mut(path)?;
        match pending.aside {
            Some(aside) => network.sides_mut().find(|side| side.four_tuple == aside)?.validation.as_mut(),
            None => network.validation.as_mut(),
        }
    }

    fn book_sent(&mut self, path: PathId, packet: &PendingPacket, frames: &[SentFrame], burst: &PendingBurst, now: Timestamp) {
        let ecn = burst.ecn;
        let (level, of) = match packet.space {
            SpaceId::Initial => (EncryptionLevel::Initial, PathId::ZERO),
            SpaceId::Handshake => (EncryptionLevel::Handshake, PathId::ZERO),
            SpaceId::Application(of) => (EncryptionLevel::OneRtt, of),
        };
        if packet.weight.ack_eliciting
            && !burst.mtu_probe
            && let Some(network) = self.network_mut(of)
            && !network.space.is_waiting_for_ack()
        {
            network.progress_at = now;
        }
        self.note_way(level, packet.number);
        if let Some(space) = self.space_mut(level, of) {
            let sent = SentPacket {
                number: packet.number,
                sent_at: now,
                size: packet.size,
                ack_eliciting: packet.weight.ack_eliciting,
                // One probe per round trip beside the window (RFC 8899 §3): lost alone, it would otherwise block a small window.
                in_flight: packet.weight.in_flight && !burst.mtu_probe,
                ecn,
                mtu_probe: burst.mtu_probe,
            };
            space.sent.push(sent, frames);
            if packet.weight.ack_eliciting {
                space.probes_owed = space.probes_owed.saturating_sub(1);
            }
        }
        if let Some(network) = self.network_mut(path) {
            if ecn == Ecn::Ect0 {
                network.ecn.on_marked_sent(now, level);
            }
            network.counters.packets_sent = network.counters.packets_sent.saturating_add(1);
            if packet.weight.ack_eliciting && !burst.mtu_probe {
                network.last_ack_eliciting_at = Some(now);
            }
        }
        // A client that sends Handshake packets needs its Initial keys no longer (RFC 9001 §4.9.1).
        if level == EncryptionLevel::Handshake && self.role.is_client() {
            self.discard(EncryptionLevel::Initial);
        }
    }

    /// Credit, window and pacer pay for the burst as a whole.
    fn settle_burst(&mut self, path: PathId, segments: usize, pending: &PendingBurst, now: Timestamp) {
        let in_flight_after = self.bytes_in_flight(path);
        let sent = pending.len.min(pending.segment_size.saturating_mul(segments)) as u64;
        let in_flight: u64 = pending
            .packets
            .iter()
            .filter(|packet| usize::from(packet.segment) < segments && packet.weight.in_flight)
            .map(|packet| u64::from(packet.size))
            .sum();
        let weight = self.weight_of(path);
        let Some(network) = self.network_mut(path) else { return };
        network.served = network.served.saturating_add(served_by(in_flight, weight));
        match pending.aside.and_then(|aside| network.sides_mut().find(|side| side.four_tuple == aside)) {
            Some(side) => side.amplification.on_sent(sent),
            None => network.amplification.on_sent(sent),
        }
        if in_flight > 0 {
            network.pacer.on_sent(in_flight);
            network.controller.on_sent(now, in_flight, in_flight_after);
        }
        if segments > 0 {
            network.counters.bytes_sent = network.counters.bytes_sent.saturating_add(sent);
            network.counters.bursts = network.counters.bursts.saturating_add(1);
            network.counters.segments = network.counters.segments.saturating_add(segments as u64);
        }
    }
}
