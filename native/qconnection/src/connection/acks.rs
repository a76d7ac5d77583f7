//! Acknowledgements and losses: RTT, congestion control and the fate of every frame (RFC 9002; multipath section E).
//!
//! Called by the dispatch (ACK, PATH_ACK) and the loss timer. Frames go back to the part that owns them.

use super::{Connection, events::DatagramFate, input::Opened, one_space::keep_unmeasured};
use crate::{burst::SentFrame, path::{Network, mtu, PathState, set::Known}};
use qbase::{Ecn, EncryptionLevel, PacketNumber, PathId, SpaceId, TransportError, Timestamp, frame::Ack, limits};
use qcongestion::{Acked, AppLimited, Lost, Persistence};
use qrecovery::sent::{AckOutcome, Frames, NewestAcked, SentPacket};
use std::time::Duration;

impl Connection {
    /// ACK or PATH_ACK.
    pub(super) fn on_ack(&mut self, opened: &Opened, ack: &Ack<'_>) -> Result<(), TransportError> {
        let path = ack.path.unwrap_or(PathId::ZERO);
        if ack.path.is_some() {
            self.check_path_limit(path)?;
        }
        if self.early.is_some() && opened.level == EncryptionLevel::OneRtt {
            self.check_early_ack(path, ack)?;
        }
        let delay = self.decode_ack_delay(ack.delay);
        self.pings.on_ack_delay(delay);
        if self.one_space.is_some() && opened.level == EncryptionLevel::OneRtt {
            return self.on_shared_ack(opened, ack, delay);
        }
        if self.space_mut(opened.level, path).is_none() {
            // If the path is gone, its packets were settled when it went (multipath MP-41).
            let unused = self.paths.get(path).is_some_and(|entry| entry.state == PathState::Unused);
            if unused || self.paths.known(path) == Known::Fresh {
                return Err(TransportError::violation("acknowledged packets of a path that was never used"));
            }
            return Ok(());
        }
        self.apply_ack(opened, path, ack, delay)
    }

    /// The packets of one path that an ACK frame names: their frames, then RTT, window and losses of the path.
    pub(super) fn apply_ack(&mut self, opened: &Opened, path: PathId, ack: &Ack<'_>, delay: Duration) -> Result<(), TransportError> {
        let now = opened.arrival.now;
        let id = opened.level.space(path);
        let is_shared = self.one_space.is_some() && opened.level == EncryptionLevel::OneRtt;
        let mut settled = std::mem::take(&mut self.settled);
        settled.clear();
        let mut rows = std::mem::take(&mut self.acked_rows);
        rows.clear();
        let mut large = None;
        let Some(space) = self.space_mut(opened.level, path) else { return Ok(()) };
        let on_acked = |packet: &SentPacket, frames: Frames<'_, SentFrame>| {
            settled.extend(frames);
            if packet.ack_eliciting {
                rows.push((packet.number, packet.sent_at));
            }
            if packet.size > mtu::BASE {
                large = Some(packet.sent_at).max(large);
            }
        };
        let outcome = if is_shared {
            let outcome = space.sent.on_shared_ack(ack.ranges.clone(), ack.largest, on_acked);
            // What another path's ACK tells was as long on the way as that path is (multipath MP-105).
            let rtt_from = outcome.rtt_from.filter(|_| path == opened.path);
            Ok(AckOutcome { rtt_from, ..outcome })
        } else {
            space.sent.on_ack(ack.ranges.clone(), on_acked)
        };
        if let Some(network) = self.network_mut(path) {
            if let Some(sent_at) = large {
                network.search.on_large_acked(sent_at);
            }
            for (number, sent_at) in &rows {
                network.persistent.on_acked(id, *number, *sent_at);
            }
            if is_shared && path != opened.path {
                keep_unmeasured(network, &mut rows);
            }
        }
        self.acked_rows = rows;
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(error) => {
                self.settled = settled;
                return Err(error);
            }
        };
        for frame in settled.drain(..) {
            self.on_frame_acked(now, frame);
        }
        self.settled = settled;
        if outcome.newly_acked > 0 {
            self.on_marks_acked(opened, path, ack.ecn, &outcome);
            self.on_newly_acked(opened, path, (&outcome, ack.largest), delay)?;
            self.review_ack_wishes(opened, path, outcome.bytes_acked);
            self.detect_losses(now, opened.level, path);
            self.trace_ack(opened, path, ack, delay, &outcome);
        } else if opened.path == path {
            self.on_old_ack(opened, path, ack.largest, delay);
        }
        Ok(())
    }

    /// Packets were acknowledged: RTT, window, PTO count, suspicion.
    fn on_newly_acked(&mut self, opened: &Opened, path: PathId, (outcome, largest): (&AckOutcome, PacketNumber), delay: Duration) -> Result<(), TransportError> {
        let now = opened.arrival.now;
        let level = opened.level;
        let (confirmed, max_ack_delay) = (self.confirmed, self.peer_max_ack_delay());
        // A client whose Initial was acknowledged may still be unvalidated at the server (RFC 9002 §6.2.1).
        let validated = !self.role.is_client() || level != EncryptionLevel::Initial || self.confirmed;
        let in_flight = self.bytes_in_flight(path);
        let is_shared = self.one_space.is_some();
        let key_path = self.key_path(path);
        let late = outcome.late.map_or(0, |late| late.packets);
        self.counters.packets_spuriously_lost = self.counters.packets_spuriously_lost.saturating_add(late);
        self.couple(path);
        let Some(network) = self.network_mut(path) else { return Ok(()) };
        let rtt_sample = outcome.rtt_from.map(|sent_at| now.saturating_since(sent_at));
        if !is_shared && network.ack_ways.on_news(opened.path) {
            network.controller.on_way_back();
        }
        let measured_from = if opened.path == path {
            let before = if level == EncryptionLevel::OneRtt { network.ack_ways.on_own(largest) } else { None };
            outcome.rtt_from.or(before)
        } else {
            let patience = network.rtt.smoothed().saturating_mul(2).saturating_add(max_ack_delay);
            let unmeasured = network.rtt.first_sample_at().is_none();
            outcome.rtt_from.filter(|sent_at| network.ack_ways.on_elsewhere(now, (largest, *sent_at), patience) || unmeasured)
        };
        if let Some(sent_at) = measured_from {
            let delay = match level {
                EncryptionLevel::OneRtt if confirmed => delay.min(max_ack_delay),
                EncryptionLevel::OneRtt => delay,
                _ => Duration::ZERO,
            };
            measure(network, now, (opened.path, sent_at), delay);
        }
        if let Some(late) = &outcome.late {
            network.on_late(now, late);
        }
        if let (true, Some(NewestAcked { sent_at, .. })) = (outcome.bytes_acked > 0, outcome.largest_newly) {
            let app_limited = if network.app_limited { AppLimited::Yes } else { AppLimited::No };
            let bytes = outcome.bytes_acked;
            let rtt_sample = rtt_sample.or_else(|| network.unmeasured.take_sample());
            let acked = Acked { bytes, newest_sent_at: sent_at, bytes_in_flight: in_flight, app_limited, rtt_sample };
            network.controller.on_acked(now, &acked, &network.rtt);
            network.delivery.on_acked(now, bytes, &network.rtt);
        }
        if validated {
            network.pto_count = 0;
        }
        network.progress_at = now;
        if network.suspect_since.take().is_some() {
            self.on_path_recovered(path);
        }
        if level == EncryptionLevel::OneRtt {
            let pto = self.largest_pto();
            if let (Some(application), Some(largest)) = (&mut self.application, outcome.largest_newly) {
                application.keys.on_ack_received(key_path, largest.number, opened.generation, now, pto)?;
            }
        }
        Ok(())
    }

    /// An acknowledgement on the path of its packets tells what copies on other paths have told: it measures the path.
    fn on_old_ack(&mut self, opened: &Opened, path: PathId, largest: PacketNumber, delay: Duration) {
        let (now, delay) = (opened.arrival.now, delay.min(self.peer_max_ack_delay()));
        if opened.level == EncryptionLevel::OneRtt
            && let Some(network) = self.network_mut(path)
            && let Some(sent_at) = network.ack_ways.on_own(largest)
        {
            measure(network, now, (opened.path, sent_at), delay);
        }
    }

    /// Declares packets of a space lost and re-arms its loss timer (RFC 9002 §6.1).
    pub(super) fn detect_losses(&mut self, now: Timestamp, level: EncryptionLevel, path: PathId) {
        let max_ack_delay = self.peer_max_ack_delay();
        let Some(network) = self.network(path) else { return };
        let (delay, threshold) = (network.reordering.delay(&network.rtt), network.reordering.packet_threshold());
        let large_since = network.search.large_acked_at();
        let mut settled = std::mem::take(&mut self.settled);
        settled.clear();
        let mut rows = std::mem::take(&mut self.acked_rows);
        rows.clear();
        let mut log = self.qlog.take();
        let Some(space) = self.space_mut(level, path) else {
            self.settled = settled;
            self.qlog = log;
            return;
        };
        let (mut marked_lost, mut large_lost) = (0_u64, 0_u64);
        let outcome = space.sent.detect_lost(now, delay, threshold, |packet, frames| {
            if let Some(log) = &mut log {
                log.lost(now, (level, path), packet, delay);
            }
            marked_lost = marked_lost.saturating_add(u64::from(packet.ecn == Ecn::Ect0));
            if packet.ack_eliciting && !packet.mtu_probe {
                rows.push((packet.number, packet.sent_at));
            }
            large_lost = large_lost.saturating_add(u64::from(packet.size > mtu::BASE && !packet.mtu_probe && packet.sent_at > large_since));
            settled.extend(frames);
        });
        space.loss_time = outcome.next_loss_time;
        self.qlog = log;
        for frame in settled.drain(..) {
            self.on_frame_lost(frame);
        }
        self.settled = settled;
        self.counters.packets_lost = self.counters.packets_lost.saturating_add(outcome.packets);
        if outcome.packets > 0 {
            self.couple(path);
        }
        if let Some(network) = self.network_mut(path) {
            network.counters.packets_lost = network.counters.packets_lost.saturating_add(outcome.packets);
            if marked_lost > 0 {
                network.ecn.on_marked_lost(marked_lost);
            }
            for (_, sent_at) in &rows {
                network.persistent.on_lost(*sent_at, &network.rtt);
            }
            if let (Some(oldest), Some(newest_sent_at)) = (outcome.oldest_sent_at, outcome.newest_sent_at) {
                if network.episode.on_lost(now, outcome.in_flight, oldest, newest_sent_at) {
                    network.reordering.on_episode();
                }
                let persistent = network.persistent.verdict(&network.rtt, max_ack_delay);
                if persistent == Persistence::Established {
                    network.rtt.restart_min();
                }
                network.controller.on_lost(now, &Lost { bytes: outcome.bytes, newest_sent_at, persistent });
            }
        }
        self.acked_rows = rows;
        if large_lost > 0 {
            self.on_large_lost(path, large_lost);
        }
    }

    /// A frame arrived at the peer.
    pub(super) fn on_frame_acked(&mut self, now: Timestamp, frame: SentFrame) {
        match frame {
            SentFrame::Stream(record) => self.streams.on_acked(record),
            SentFrame::Crypto { level, offset, len } => {
                if let Some(crypto) = self.crypto_stream(level) {
                    crypto.on_acked(offset, u64::from(len));
                }
            }
            SentFrame::Ack { space: SpaceId::Application(_), largest, span, arrivals } if self.on_shared_report_acked(largest, span, arrivals) => {}
            SentFrame::Ack { space, largest, .. } => {
                let (level, path) = match space {
                    SpaceId::Initial => (EncryptionLevel::Initial, PathId::ZERO),
                    SpaceId::Handshake => (EncryptionLevel::Handshake, PathId::ZERO),
                    SpaceId::Application(path) => (EncryptionLevel::OneRtt, path),
                };
                if let Some(space) = self.space_mut(level, path) {
                    space.received.on_ack_of_ack(largest);
                }
            }
            SentFrame::NewCid { path, sequence } => {
                if let Some(entry) = self.paths.get_mut(path) {
                    entry.local_cids.on_acked(sequence);
                }
                // Replacements wait for the fate of earlier ones (attacks E5).
                self.issue_cids();
            }
            SentFrame::RetireCid { path, sequence } => {
                if let Some(entry) = self.paths.get_mut(path) {
                    entry.remote_cids.on_retire_acked(sequence);
                }
            }
            SentFrame::Datagram { id, path } => self.datagrams.send.settle(id, DatagramFate::Acknowledged, Some(path)),
            SentFrame::Echo { path, sent_at } => self.on_echo(now, path, sent_at),
            SentFrame::NewToken { serial } => self.control.new_token.on_acked(serial),
            SentFrame::PathAbandon(path) => self.on_abandon_acked(now, path),
            SentFrame::MtuProbe { path, id } => self.on_mtu_probe_acked(path, id),
            SentFrame::AckFrequency { sequence } => self.ack_wishes.on_acked(sequence),
            SentFrame::Traversal { serial, .. } => self.on_letter_acked(serial),
            SentFrame::Ping
            | SentFrame::ImmediateAck
            | SentFrame::HandshakeDone
            | SentFrame::PathChallenge
            | SentFrame::PathResponse
            | SentFrame::PathStatus { .. }
            | SentFrame::Observed { .. }
            | SentFrame::MaxPathId
            | SentFrame::PathsBlocked
            | SentFrame::PathCidsBlocked(_) => {}
        }
    }

    /// A frame was lost, or never left: its owner may send it again (RFC 9000 §13.3).
    pub(super) fn on_frame_lost(&mut self, frame: SentFrame) {
        match frame {
            SentFrame::Stream(record) => self.streams.on_lost(record),
            SentFrame::Crypto { level, offset, len } => {
                if let Some(crypto) = self.crypto_stream(level) {
                    crypto.on_lost(offset, u64::from(len));
                }
            }
            SentFrame::Datagram { id, path } => self.datagrams.send.settle(id, DatagramFate::Lost, Some(path)),
            SentFrame::Echo { path, .. } => self.on_echo_lost(path),
            SentFrame::HandshakeDone => self.control.handshake_done = true,
            SentFrame::NewToken { serial } => self.control.new_token.on_lost(serial),
            SentFrame::NewCid { path, sequence } => {
                if let Some(entry) = self.paths.get_mut(path) {
                    entry.local_cids.on_lost(sequence);
                }
                self.issue_cids();
            }
            SentFrame::RetireCid { path, sequence } => {
                if let Some(entry) = self.paths.get_mut(path) {
                    entry.remote_cids.on_retire_lost(sequence);
                }
            }
            SentFrame::MtuProbe { path, id } => self.on_mtu_probe_lost(path, id),
            SentFrame::PathAbandon(path) => {
                if let Some(abandon) = self.paths.get_mut(path).and_then(|entry| entry.abandon.as_mut()) {
                    abandon.owed = true;
                }
            }
            SentFrame::PathStatus { path, sequence } => {
                if let Some(entry) = self.paths.get_mut(path) {
                    entry.status.on_lost(sequence);
                }
            }
            SentFrame::MaxPathId => self.paths.maximum_owed = true,
            SentFrame::PathsBlocked => self.paths.blocked_owed = !self.opens.is_empty(),
            SentFrame::PathCidsBlocked(path) => self.owe_cids_blocked(path),
            SentFrame::AckFrequency { sequence } => self.ack_wishes.on_lost(sequence),
            SentFrame::Traversal { serial, .. } => self.on_letter_lost(serial),
            SentFrame::Observed { path, seq } => self.on_observation_lost(path, seq),
            SentFrame::Ack { .. } | SentFrame::Ping | SentFrame::ImmediateAck | SentFrame::PathChallenge | SentFrame::PathResponse => {}
        }
    }

    /// PATH_CIDS_BLOCKED is owed for this path id, once.
    pub(super) fn owe_cids_blocked(&mut self, path: PathId) {
        if !self.control.cids_blocked.contains(&path) && self.control.cids_blocked.len() < limits::OPEN_PATHS {
            self.control.cids_blocked.push_back(path);
        }
    }

    /// Puts copies of a path's unacknowledged frames, oldest first, into the queues of their owners (multipath MP-83).
    /// `packets` bounds how many packets are copied. Returns the stream bytes copied.
    pub(crate) fn offer_again(&mut self, level: EncryptionLevel, path: PathId, packets: usize) -> u64 {
        let mut settled = std::mem::take(&mut self.settled);
        settled.clear();
        if let Some(space) = self.space_mut(level, path) {
            space.sent.for_oldest_unacked(packets, |_, frames| settled.extend(frames));
        }
        let mut bytes = 0_u64;
        for frame in settled.drain(..) {
            match frame {
                SentFrame::Stream(record) => bytes = bytes.saturating_add(self.streams.mark_for_reinjection(record)),
                // A message is never copied, and what is only late is not lost (RFC 9221 §5).
                SentFrame::Datagram { .. } => {}
                other => self.on_frame_lost(other),
            }
        }
        self.settled = settled;
        bytes
    }

    /// Bytes in flight on a path, handshake packets included.
    pub(crate) fn bytes_in_flight(&self, path: PathId) -> u64 {
        let application = self.network(path).map_or(0, |network: &Network| network.space.sent.bytes_in_flight());
        let handshake = if path == PathId::ZERO { self.handshake_bytes_in_flight() } else { 0 };
        application.saturating_add(handshake)
    }

    /// Bytes of Initial and Handshake packets in flight, all on path 0.
    pub(super) fn handshake_bytes_in_flight(&self) -> u64 {
        [&self.initial, &self.handshake].into_iter().flatten().map(|space| space.space.sent.bytes_in_flight()).sum()
    }
}

/// Takes an RTT sample, of a packet that was sent then and whose acknowledgement came over this path.
fn measure(network: &mut Network, now: Timestamp, (via, sent_at): (PathId, Timestamp), delay: Duration) {
    let other = network.acked_via.replace(via).is_some_and(|before| before != via);
    if other {
        // The least sample may be of a way back that is not taken any more (multipath MP-38).
        network.rtt.restart_min();
    }
    network.rtt.on_sample(now, now.saturating_since(sent_at), delay);
    if other {
        network.rtt.restart_min();
    }
}
