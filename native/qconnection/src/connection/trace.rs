//! Telemetry of bursts, silences and acknowledgements: built only for a listener (design §3.8 of the architecture).
//!
//! Called by the output, the submission and the acknowledgements. Changes nothing of the connection but its trace.

use super::{Connection, input::Opened};
use crate::{
    burst::{record::{PendingBurst, SentFrame}, write::Written},
    path::scheduler::Reason,
};
use qbase::{EncryptionLevel, PathId, Timestamp, frame::Ack, packet::PacketType};
use qevent::{AckRecord, BlockedRecord, BurstRecord, Event, PacketRecord, Record, SegmentRecord, Signals, TraceMask};
use qrecovery::sent::AckOutcome;
use std::time::Duration;

impl Connection {
    /// Chooses what is traced from now on.
    pub fn set_trace(&mut self, mask: TraceMask) {
        self.trace.set_mask(mask);
    }

    /// The next trace record.
    pub fn poll_trace(&mut self) -> Option<Record> {
        self.trace.poll()
    }

    /// Records that were dropped because nobody took them.
    #[must_use]
    pub const fn trace_dropped(&self) -> u64 {
        self.trace.dropped()
    }

    /// Keeps the scheduler's words, the mark and the end of a burst until the socket has answered.
    pub(super) fn note_burst(&mut self, now: Timestamp, path: PathId, written: &Written, reason: Reason) {
        self.note_choice(now, path, reason);
        let ecn = self.take_mark(now, path);
        if let Some(network) = self.network_mut(path) {
            network.pending.ecn = ecn;
            network.pending.reason = reason;
            network.pending.ended_by = written.ended_by;
        }
    }

    /// A burst was handed to its socket.
    pub(super) fn trace_burst(&mut self, path: PathId, segments: usize, pending: &PendingBurst) {
        if !self.trace.enabled(TraceMask::BURSTS) || pending.packets.is_empty() {
            return;
        }
        let Some(four_tuple) = self.network(path).map(|network| network.four_tuple) else { return };
        let record = BurstRecord {
            path: Some(path),
            four_tuple,
            segment_bytes: pending.segment_size as u32,
            segments: segment_records(pending),
            bytes: pending.len as u32,
            ecn: pending.ecn,
            submitted: segments as u16,
            reason: pending.reason.words(self.scheduling.outside.words()),
            ended_by: pending.ended_by,
        };
        self.trace.push(pending.at, Event::BurstSent(Box::new(record)));
    }

    /// An acknowledgement was processed; the packets it made lost were left in the reused list.
    pub(super) fn trace_ack(&mut self, opened: &Opened, path: PathId, ack: &Ack<'_>, ack_delay: Duration, outcome: &AckOutcome) {
        if !self.trace.enabled(TraceMask::ACKS) {
            return;
        }
        let now = opened.arrival.now;
        let record = AckRecord {
            space: opened.level.space(path),
            ranges: ack.ranges.clone().collect(),
            ack_delay,
            via: opened.path,
            newly_acknowledged: outcome.newly_acked,
            lost: self.acked_rows.iter().map(|(number, _)| *number).collect(),
            rtt: outcome.rtt_from.map(|sent_at| now.saturating_since(sent_at)),
            ecn: ack.ecn,
        };
        self.trace.push(now, Event::AckReceived(Box::new(record)));
    }

    /// A path had nothing it could send.
    pub(super) fn trace_blocked(&mut self, now: Timestamp, path: PathId, signals: Signals) {
        self.blocked_counts.count(signals);
        if self.trace.enabled(TraceMask::BURSTS) {
            let timer = self.next_timer();
            let record = BlockedRecord { path: Some(path), signals, wake_at: timer.map(|(at, _)| at), timer: timer.map(|(_, name)| name) };
            self.trace.push(now, Event::BurstBlocked(record));
        }
    }
}

/// The packets of a burst, segment by segment.
fn segment_records(pending: &PendingBurst) -> Vec<SegmentRecord> {
    let mut segments: Vec<SegmentRecord> = Vec::new();
    let mut frames = pending.frames.iter();
    for packet in &pending.packets {
        while segments.len() <= usize::from(packet.segment) {
            segments.push(SegmentRecord { bytes: 0, forward_header_bytes: 0, packets: Vec::new() });
        }
        let mut names: Vec<&'static str> = frames.by_ref().take(usize::from(packet.frames)).map(|frame| frame.name()).collect();
        if packet.padding > 0 {
            names.push("PADDING");
        }
        let kind = match packet.level {
            EncryptionLevel::Initial => PacketType::Initial,
            EncryptionLevel::ZeroRtt => PacketType::ZeroRtt,
            EncryptionLevel::Handshake => PacketType::Handshake,
            EncryptionLevel::OneRtt => PacketType::OneRtt,
        };
        if let Some(segment) = segments.get_mut(usize::from(packet.segment)) {
            segment.bytes = segment.bytes.saturating_add(u32::from(packet.size));
            segment.packets.push(PacketRecord {
                kind,
                number: packet.number,
                bytes: u32::from(packet.size),
                padding_bytes: u32::from(packet.padding),
                ack_eliciting: packet.weight.ack_eliciting,
                in_flight: packet.weight.in_flight,
                frames: names,
            });
        }
    }
    segments
}

impl SentFrame {
    /// The frame's name in traces.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        use crate::stream::StreamRecord;
        match self {
            Self::Stream(record) => match record {
                StreamRecord::Data { .. } => "STREAM",
                StreamRecord::MaxData { .. } => "MAX_DATA",
                StreamRecord::MaxStreamData { .. } => "MAX_STREAM_DATA",
                StreamRecord::MaxStreams { .. } => "MAX_STREAMS",
                StreamRecord::Reset(_) => "RESET_STREAM",
                StreamRecord::Stop(_) => "STOP_SENDING",
                StreamRecord::DataBlocked { .. } => "DATA_BLOCKED",
                StreamRecord::StreamDataBlocked { .. } => "STREAM_DATA_BLOCKED",
                StreamRecord::StreamsBlocked { .. } => "STREAMS_BLOCKED",
            },
            Self::Crypto { .. } => "CRYPTO",
            Self::Ack { .. } => "ACK",
            Self::Datagram { .. } => "DATAGRAM",
            Self::Echo { .. } => "PING",
            Self::Ping | Self::MtuProbe { .. } => "PING",
            Self::AckFrequency { .. } => "ACK_FREQUENCY",
            Self::ImmediateAck => "IMMEDIATE_ACK",
            Self::HandshakeDone => "HANDSHAKE_DONE",
            Self::NewToken { .. } => "NEW_TOKEN",
            Self::NewCid { .. } => "NEW_CONNECTION_ID",
            Self::RetireCid { .. } => "RETIRE_CONNECTION_ID",
            Self::PathChallenge => "PATH_CHALLENGE",
            Self::PathResponse => "PATH_RESPONSE",
            Self::PathAbandon(_) => "PATH_ABANDON",
            Self::PathStatus { .. } => "PATH_STATUS",
            Self::Traversal { name, .. } => name,
            Self::Observed { .. } => "OBSERVED_ADDRESS",
            Self::MaxPathId => "MAX_PATH_ID",
            Self::PathsBlocked => "PATHS_BLOCKED",
            Self::PathCidsBlocked(_) => "PATH_CIDS_BLOCKED",
        }
    }
}

impl Connection {
    /// How often each signal silenced a path.
    #[must_use]
    pub const fn blocked_counts(&self) -> &qevent::SignalCounters {
        &self.blocked_counts
    }
}
