//! Packet headers and the events of packets (draft-ietf-quic-qlog-quic-events, packet_sent to packet_lost).
//!
//! Called by the connection for every packet while a log is written. Frames are read from the packet's plaintext: what
//! stands in the log is what stood on the wire. Never writes payload.

use qbase::{
    ConnectionId, PacketNumber, PathId, Reader,
    frame::{Frame, traversal},
    packet::{KeyPhase, PacketType},
};

use super::{frame, json::Json};
use crate::DropReason;

/// A packet header, as far as it is known.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    /// The kind.
    pub kind: PacketType,
    /// The path whose number space a 1-RTT packet belongs to.
    pub path: PathId,
    /// The packet number.
    pub number: Option<PacketNumber>,
    /// Bytes it takes.
    pub number_len: usize,
    /// Version field; long headers only.
    pub version: Option<u32>,
    /// Destination connection id.
    pub dcid: Option<ConnectionId>,
    /// Source connection id; long headers only.
    pub scid: Option<ConnectionId>,
    /// Token's length, bytes; 0: none.
    pub token: usize,
    /// Key phase; short headers only.
    pub phase: Option<KeyPhase>,
    /// Spin bit; short headers only.
    pub spin: Option<bool>,
}

impl Header {
    /// A header of which only kind and path are known.
    #[must_use]
    pub const fn of_kind(kind: PacketType, path: PathId) -> Self {
        Self { kind, path, number: None, number_len: 0, version: None, dcid: None, scid: None, token: 0, phase: None, spin: None }
    }

    /// As a `header` member.
    pub fn write(&self, json: &mut Json) {
        json.key("header").object(|json| self.members(json));
    }

    fn members(&self, json: &mut Json) {
        json.key("packet_type").text(match self.kind {
            PacketType::Initial => "initial",
            PacketType::ZeroRtt => "0RTT",
            PacketType::Handshake => "handshake",
            PacketType::OneRtt => "1RTT",
            PacketType::Retry => "retry",
            PacketType::VersionNegotiation => "version_negotiation",
        });
        if let Some(spin) = self.spin {
            json.key("spin_bit").flag(spin);
        }
        if let Some(phase) = self.phase {
            json.key("key_phase_bit").flag(phase == KeyPhase::One);
        }
        if let Some(number) = self.number {
            if self.number_len > 0 {
                json.key("packet_number_length").number(self.number_len as u64);
            }
            json.key("packet_number").number(number);
        }
        if self.kind == PacketType::OneRtt {
            json.key("path_id").number(u64::from(self.path.0));
        }
        if self.token > 0 {
            let kind = (self.kind == PacketType::Retry).then_some("retry");
            json.key("token").object(|json| {
                if let Some(kind) = kind {
                    json.key("type").text(kind);
                }
                json.key("raw").object(|json| json.key("length").number(self.token as u64));
            });
        }
        if let Some(version) = self.version {
            json.key("version").hex(&version.to_be_bytes());
        }
        for (length, id, cid) in [("scil", "scid", self.scid), ("dcil", "dcid", self.dcid)] {
            if let Some(cid) = cid {
                json.key(length).number(cid.len() as u64);
                json.key(id).hex(cid.as_bytes());
            }
        }
    }
}

/// The members that packet_sent and packet_received share: header, frames of the plaintext `payload`, `size` on the wire.
/// `exponent` is the ACK delay exponent of the end that sent it.
pub fn members(json: &mut Json, header: &Header, payload: &[u8], size: usize, exponent: u8) {
    header.write(json);
    json.key("frames").list(|json| {
        let mut reader = Reader::new(payload);
        while !reader.is_empty() {
            let before = reader.remaining();
            // The frame that cannot be read is the last; what it costs stands in the event of the close.
            let Ok(frame) = Frame::decode(&mut reader) else {
                write_foreign(json, payload, before);
                break;
            };
            frame::write(json, &frame, before.saturating_sub(reader.remaining()), exponent);
        }
    });
    json.key("raw").object(|json| {
        json.key("length").number(size as u64);
        json.key("payload_length").number(payload.len() as u64);
    });
}

/// Frames about NATs are read elsewhere, and not all tell their length: from the first of them on the rest is one.
fn write_foreign(json: &mut Json, payload: &[u8], left: usize) {
    let Some(rest) = payload.get(payload.len().saturating_sub(left)..) else { return };
    let Ok(kind) = Reader::new(rest).varint() else { return };
    let Some(row) = traversal::spec(kind) else { return };
    json.object(|json| {
        json.key("frame_type").text("unknown");
        json.key("frame_type_bytes").number(kind);
        json.key("name").text(row.name);
        json.key("raw").object(|json| json.key("length").number(left as u64));
    });
}

/// The category of the schema that a reason falls into.
#[must_use]
pub const fn trigger(reason: DropReason) -> &'static str {
    match reason {
        DropReason::UnknownVersion | DropReason::UnexpectedVersionNegotiation => "unsupported",
        DropReason::Duplicate => "duplicate",
        DropReason::UnknownConnection | DropReason::Misrouted | DropReason::PathwayLimit | DropReason::OtherConnection | DropReason::NotListening | DropReason::UnknownPath => "connection_unknown",
        DropReason::Undecryptable => "decryption_failure",
        DropReason::NoKeys | DropReason::KeptForKeys | DropReason::UndecryptableLimit => "key_unavailable",
        DropReason::Blocked
        | DropReason::HalfOpenLimit
        | DropReason::ConnectionLimit
        | DropReason::Refused
        | DropReason::Closing
        | DropReason::Migration
        | DropReason::PathLimit
        | DropReason::Amplification
        | DropReason::AnswerLimit
        | DropReason::QueueFull
        | DropReason::EventsWaiting => "rejected",
        DropReason::ConnectionClosed => "general",
        _ => "invalid",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_have_the_fields_of_the_schema() {
        let cid = |byte| ConnectionId::new(&[byte; 2]);
        let long = Header { number: Some(3), number_len: 1, version: Some(1), dcid: cid(0xd), scid: cid(0x5), token: 7, ..Header::of_kind(PacketType::Initial, PathId::ZERO) };
        let mut json = Json::default();
        json.object(|json| members(json, &long, &[1, 0, 0], 30, 3));
        let expected = concat!(
            r#"{"header":{"packet_type":"initial","packet_number_length":1,"packet_number":3,"token":{"raw":{"length":7}},"version":"00000001","#,
            r#""scil":2,"scid":"0505","dcil":2,"dcid":"0d0d"},"frames":[{"frame_type":"ping","raw":{"length":1}},"#,
            r#"{"frame_type":"padding","raw":{"length":2,"payload_length":2}}],"raw":{"length":30,"payload_length":3}}"#,
        );
        assert_eq!(String::from_utf8(json.into_bytes()).expect("UTF-8"), expected);
        let short = Header { number: Some(9), number_len: 2, phase: Some(KeyPhase::One), ..Header::of_kind(PacketType::OneRtt, PathId(1)) };
        let mut json = Json::default();
        json.object(|json| short.write(json));
        let expected = r#"{"header":{"packet_type":"1RTT","key_phase_bit":true,"packet_number_length":2,"packet_number":9,"path_id":1}}"#;
        assert_eq!(String::from_utf8(json.into_bytes()).expect("UTF-8"), expected);
    }

    #[test]
    fn a_frame_that_cannot_be_read_ends_the_list() {
        let header = Header::of_kind(PacketType::OneRtt, PathId::ZERO);
        let mut json = Json::default();
        json.object(|json| members(json, &header, &[1, 0x21, 1], 30, 3));
        let text = String::from_utf8(json.into_bytes()).expect("UTF-8");
        assert!(text.contains(r#""frames":[{"frame_type":"ping","raw":{"length":1}}],"raw""#), "{text}");
    }

    #[test]
    fn every_drop_reason_has_a_category_of_the_schema() {
        let categories = ["internal_error", "rejected", "unsupported", "invalid", "duplicate", "connection_unknown", "decryption_failure", "key_unavailable", "general"];
        assert!(DropReason::ALL.iter().all(|reason| categories.contains(&trigger(*reason))));
    }
}
