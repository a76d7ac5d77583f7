//! Packets in the log: sent, received, dropped, lost (draft-ietf-quic-qlog-quic-events).
//!
//! Called behind a test of [`Connection::is_logged`]: for sent packets between their frames and their seal, for received
//! ones when they are opened.

use super::super::{Connection, input::Opened};
use qbase::{
    ConnectionId, EncryptionLevel, PacketNumber, PathId, Timestamp,
    limits::TAG_LEN,
    packet::{self, KeyPhase, PacketType, ProtectedHeader, version_negotiation},
};
use qevent::{
    DropReason,
    qlog::{BurstKind, Header, Json, Written, checksum::crc32c, packet as events},
};
use qrecovery::sent::SentPacket;
use std::{ops::Range, time::Duration};

/// The spin bit in the first byte of a short header (RFC 9000 §17.4).
const SPIN: u8 = 0x20;

/// A packet whose frames are written and that is not sealed.
pub(crate) struct Plain<'a> {
    pub(crate) path: PathId,
    /// Segment of its burst.
    pub(crate) segment: u16,
    pub(crate) level: EncryptionLevel,
    pub(crate) number: PacketNumber,
    /// Header and frames.
    pub(crate) bytes: &'a [u8],
    /// Where the frames begin.
    pub(crate) header_len: usize,
}

impl Connection {
    /// A burst of `path` is about to be written.
    pub(crate) fn log_burst(&mut self, path: PathId) {
        if let Some(log) = &mut self.qlog {
            log.out.begin_burst(path);
        }
    }

    /// A packet of the open burst is complete but for its seal.
    pub(crate) fn log_written(&mut self, plain: &Plain<'_>) {
        let Some(mut log) = self.qlog.take() else { return };
        let first = plain.bytes.first().copied().unwrap_or_default();
        let kind = kind(plain.level);
        let long = kind != PacketType::OneRtt;
        let (dcid, scid) = self.header_cids(plain.level, plain.path).unzip();
        let version = plain.bytes.get(1..5).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes);
        let header = Header {
            number: Some(plain.number),
            number_len: packet::number_len(first),
            version: version.filter(|_| long),
            dcid,
            scid: scid.filter(|_| long),
            token: if kind == PacketType::Initial { self.token.len() } else { 0 },
            phase: (!long).then(|| KeyPhase::of(first)),
            spin: (!long).then_some(first & SPIN != 0),
            ..Header::of_kind(kind, plain.path)
        };
        let mut json = Json::default();
        let frames = plain.bytes.get(plain.header_len..).unwrap_or_default();
        events::members(&mut json, &header, frames, plain.bytes.len().saturating_add(TAG_LEN), self.config.parameters().ack_delay_exponent);
        log.out.packet_written(plain.path, Written { segment: plain.segment, members: json.into_bytes() });
        self.qlog = Some(log);
    }

    /// A segment of the open burst is sealed.
    pub(crate) fn log_segment(&mut self, path: PathId, datagram: &[u8]) {
        if let Some(log) = &mut self.qlog {
            log.out.segment_written(path, crc32c(datagram));
        }
    }

    /// The socket took the first `segments` of the open burst of `path`.
    pub(in crate::connection) fn log_sent(&mut self, now: Timestamp, path: PathId, segments: usize, kind: BurstKind) {
        self.log_facts(now);
        if let Some(log) = &mut self.qlog {
            log.out.burst_sent(now, path, segments, kind);
        }
    }

    /// A datagram arrived, still sealed.
    pub(in crate::connection) fn log_arrival(&mut self, datagram: Option<&[u8]>) {
        if let Some(log) = &mut self.qlog {
            log.arriving = datagram.map(crc32c);
        }
    }

    /// A packet was opened: `packet` is its header without protection and what follows, the plaintext at `payload`.
    pub(in crate::connection) fn log_received(&mut self, opened: &Opened, header: &ProtectedHeader, packet: &[u8], payload: Range<usize>) {
        let payload = packet.get(payload).unwrap_or_default();
        let now = opened.arrival.now;
        let Some(log) = &mut self.qlog else { return };
        let first = packet.first().copied().unwrap_or_default();
        let long = header.kind != PacketType::OneRtt;
        let written = Header {
            number: Some(opened.number),
            number_len: packet::number_len(first),
            phase: (!long).then(|| KeyPhase::of(first)),
            spin: (!long).then_some(first & SPIN != 0),
            token: header.token.len(),
            ..known(header, opened.path)
        };
        let checksum = log.arriving;
        let exponent = self.peer_parameters.ack_delay_exponent;
        log.out.event(now, Some(opened.path), "quic:packet_received", |json| {
            events::members(json, &written, payload, packet.len(), exponent);
            match checksum {
                Some(checksum) => json.key("datagram_payload_checksum").number(u64::from(checksum)),
                None => json.key("trigger").text("keys_available"),
            }
        });
    }

    /// A Retry or a Version Negotiation packet was acted upon.
    pub(in crate::connection) fn log_received_unprotected(&mut self, now: Timestamp, header: &ProtectedHeader, packet: &[u8]) {
        let Some(log) = &mut self.qlog else { return };
        let written = Header { token: header.token.len(), ..known(header, PathId::ZERO) };
        let checksum = log.arriving;
        log.out.event(now, Some(PathId::ZERO), "quic:packet_received", |json| {
            written.write(json);
            if let Some(offer) = version_negotiation::parse(packet).ok().filter(|_| header.kind == PacketType::VersionNegotiation) {
                json.key("supported_versions").list(|json| offer.versions().for_each(|version| json.hex(&version.to_be_bytes())));
            }
            json.key("raw").object(|json| json.key("length").number(packet.len() as u64));
            if let Some(checksum) = checksum {
                json.key("datagram_payload_checksum").number(u64::from(checksum));
            }
        });
    }

    /// Counts a packet that goes no further, and tells the log.
    pub(in crate::connection) fn drop_packet(&mut self, now: Timestamp, header: Option<&ProtectedHeader>, size: usize, reason: DropReason) {
        self.drops.count(reason);
        let Some(log) = &mut self.qlog else { return };
        let checksum = log.arriving;
        let kept = reason == DropReason::KeptForKeys;
        let name = if kept { "quic:packet_buffered" } else { "quic:packet_dropped" };
        log.out.event(now, None, name, |json| {
            if let Some(header) = header {
                known(header, PathId::ZERO).write(json);
            }
            json.key("raw").object(|json| json.key("length").number(size as u64));
            if let Some(checksum) = checksum {
                json.key("datagram_payload_checksum").number(u64::from(checksum));
            }
            json.key("trigger").text(if kept { "keys_unavailable" } else { events::trigger(reason) });
            if !kept {
                json.key("details").object(|json| json.key("reason").text(reason.name()));
            }
        });
    }
}

impl super::Log {
    /// A sent packet was declared lost; `delay` is how long loss detection waits.
    pub(in crate::connection) fn lost(&mut self, now: Timestamp, (level, path): (EncryptionLevel, PathId), packet: &SentPacket, delay: Duration) {
        let header = Header { number: Some(packet.number), ..Header::of_kind(kind(level), path) };
        let by_time = packet.sent_at + delay <= now;
        self.out.event(now, Some(path), "quic:packet_lost", |json| {
            header.write(json);
            if packet.mtu_probe {
                json.key("is_mtu_probe_packet").flag(true);
            }
            json.key("trigger").text(if by_time { "time_threshold" } else { "reordering_threshold" });
        });
    }
}

/// What a header says before its protection is removed.
fn known(header: &ProtectedHeader, path: PathId) -> Header {
    let long = header.kind != PacketType::OneRtt;
    let of_long = |cid: ConnectionId| long.then_some(cid);
    Header { version: long.then_some(header.version), dcid: Some(header.dcid), scid: of_long(header.scid), ..Header::of_kind(header.kind, path) }
}

const fn kind(level: EncryptionLevel) -> PacketType {
    match level {
        EncryptionLevel::Initial => PacketType::Initial,
        EncryptionLevel::ZeroRtt => PacketType::ZeroRtt,
        EncryptionLevel::Handshake => PacketType::Handshake,
        EncryptionLevel::OneRtt => PacketType::OneRtt,
    }
}
