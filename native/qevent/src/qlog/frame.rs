//! Frames as qlog objects (draft-ietf-quic-qlog-quic-events, QUIC Frames).
//!
//! Called for every frame of every packet while a log is written. Frames of the extensions have the names of
//! their types in small letters, those of multipath `path_id`. Never writes payload, tokens of any kind or challenge data beyond
//! what the path validation frames hold (attacks I12).

use std::time::Duration;

use qbase::{
    Direction,
    frame::{Ack, CloseKind, ConnectionClose, Frame, PathStatusKind},
};

use super::json::Json;

/// Writes one frame of `length` bytes. `exponent` is that of the end which sent it: 2^`exponent` µs a unit of ACK Delay.
pub fn write(json: &mut Json, frame: &Frame<'_>, length: usize, exponent: u8) {
    json.object(|json| {
        members(json, frame, exponent);
        json.key("raw").object(|json| {
            json.key("length").number(length as u64);
            if let Some(payload) = payload(frame) {
                json.key("payload_length").number(payload as u64);
            }
        });
    });
}

/// Bytes of data in the frame, if it carries any.
const fn payload(frame: &Frame<'_>) -> Option<usize> {
    match frame {
        Frame::Crypto(crypto) => Some(crypto.data.len()),
        Frame::Stream(stream) => Some(stream.data.len()),
        Frame::Datagram(datagram) => Some(datagram.data.len()),
        Frame::Padding(padding) => Some(padding.len),
        _ => None,
    }
}

fn members(json: &mut Json, frame: &Frame<'_>, exponent: u8) {
    match frame {
        Frame::Padding(_) => kind(json, "padding"),
        Frame::Ping => kind(json, "ping"),
        Frame::Ack(ack) => acknowledgement(json, ack, exponent),
        Frame::Crypto(crypto) => {
            kind(json, "crypto");
            json.key("offset").number(crypto.offset);
        }
        Frame::NewToken(new) => {
            kind(json, "new_token");
            json.key("token").object(|json| {
                json.key("type").text("resumption");
                json.key("raw").object(|json| json.key("length").number(new.token.len() as u64));
            });
        }
        Frame::HandshakeDone => kind(json, "handshake_done"),
        Frame::ImmediateAck => kind(json, "immediate_ack"),
        Frame::AckFrequency(wish) => {
            kind(json, "ack_frequency");
            json.key("sequence_number").number(wish.sequence);
            json.key("ack_eliciting_threshold").number(wish.threshold);
            json.key("requested_max_ack_delay").number(wish.max_ack_delay_micros);
            json.key("reordering_threshold").number(wish.reordering);
        }
        Frame::Datagram(_) => kind(json, "datagram"),
        Frame::ConnectionClose(close) => closing(json, close),
        Frame::Stream(_)
        | Frame::ResetStream(_)
        | Frame::StopSending(_)
        | Frame::MaxData(_)
        | Frame::MaxStreamData(_)
        | Frame::MaxStreams(_)
        | Frame::DataBlocked(_)
        | Frame::StreamDataBlocked(_)
        | Frame::StreamsBlocked(_) => streams(json, frame),
        _ => paths(json, frame),
    }
}

fn kind(json: &mut Json, name: &str) {
    json.key("frame_type").text(name);
}

fn acknowledgement(json: &mut Json, ack: &Ack<'_>, exponent: u8) {
    kind(json, if ack.path.is_some() { "path_ack" } else { "ack" });
    if let Some(path) = ack.path {
        json.key("path_id").number(u64::from(path.0));
    }
    let micros = ack.delay.saturating_mul(1_u64 << exponent.min(20));
    json.key("ack_delay").millis(Duration::from_micros(micros));
    json.key("acked_ranges").list(|json| {
        for range in ack.ranges.clone() {
            json.list(|json| {
                json.number(*range.start());
                if range.start() != range.end() {
                    json.number(*range.end());
                }
            });
        }
    });
    if let Some(ecn) = &ack.ecn {
        json.key("ect1").number(ecn.ect1);
        json.key("ect0").number(ecn.ect0);
        json.key("ce").number(ecn.ce);
    }
}

fn closing(json: &mut Json, close: &ConnectionClose<'_>) {
    kind(json, "connection_close");
    match close.kind {
        CloseKind::Transport { frame_type } => {
            json.key("error_space").text("transport");
            transport_error(json, "error", close.code);
            json.key("trigger_frame_type").number(frame_type);
        }
        CloseKind::Application => {
            json.key("error_space").text("application");
            json.key("error").text("unknown");
            json.key("error_code").number(close.code);
        }
    }
    match std::str::from_utf8(close.reason) {
        Ok(reason) => json.key("reason").text(reason),
        Err(_) => json.key("reason_bytes").hex(close.reason),
    }
}

/// A transport error code under `key`, by name if it has one in the schema.
pub fn transport_error(json: &mut Json, key: &str, code: u64) {
    const NAMES: [&str; 17] = [
        "no_error",
        "internal_error",
        "connection_refused",
        "flow_control_error",
        "stream_limit_error",
        "stream_state_error",
        "final_size_error",
        "frame_encoding_error",
        "transport_parameter_error",
        "connection_id_limit_error",
        "protocol_violation",
        "invalid_token",
        "application_error",
        "crypto_buffer_exceeded",
        "key_update_error",
        "aead_limit_reached",
        "no_viable_path",
    ];
    if let Some(name) = usize::try_from(code).ok().and_then(|at| NAMES.get(at)) {
        json.key(key).text(name);
    } else if (0x100..0x200).contains(&code) {
        json.key(key).text(&format!("crypto_error_{code:#05x}"));
    } else {
        json.key(key).text("unknown");
        json.key("error_code").number(code);
    }
}

const fn stream_type(direction: Direction) -> &'static str {
    match direction {
        Direction::Bidirectional => "bidirectional",
        Direction::Unidirectional => "unidirectional",
    }
}

fn streams(json: &mut Json, frame: &Frame<'_>) {
    match frame {
        Frame::Stream(stream) => {
            kind(json, "stream");
            json.key("stream_id").number(stream.stream.0);
            json.key("offset").number(stream.offset);
            if stream.fin {
                json.key("fin").flag(true);
            }
        }
        Frame::ResetStream(reset) => {
            kind(json, "reset_stream");
            json.key("stream_id").number(reset.stream.0);
            json.key("error").text("unknown");
            json.key("error_code").number(reset.code);
            json.key("final_size").number(reset.final_size);
        }
        Frame::StopSending(stop) => {
            kind(json, "stop_sending");
            json.key("stream_id").number(stop.stream.0);
            json.key("error").text("unknown");
            json.key("error_code").number(stop.code);
        }
        Frame::MaxData(max) => {
            kind(json, "max_data");
            json.key("maximum").number(max.maximum);
        }
        Frame::MaxStreamData(max) => {
            kind(json, "max_stream_data");
            json.key("stream_id").number(max.stream.0);
            json.key("maximum").number(max.maximum);
        }
        Frame::MaxStreams(max) => {
            kind(json, "max_streams");
            json.key("stream_type").text(stream_type(max.direction));
            json.key("maximum").number(max.maximum);
        }
        Frame::DataBlocked(blocked) => {
            kind(json, "data_blocked");
            json.key("limit").number(blocked.limit);
        }
        Frame::StreamDataBlocked(blocked) => {
            kind(json, "stream_data_blocked");
            json.key("stream_id").number(blocked.stream.0);
            json.key("limit").number(blocked.limit);
        }
        Frame::StreamsBlocked(blocked) => {
            kind(json, "streams_blocked");
            json.key("stream_type").text(stream_type(blocked.direction));
            json.key("limit").number(blocked.limit);
        }
        _ => unknown(json, frame),
    }
}

/// Connection ids, path validation and the frames of the multipath extension.
fn paths(json: &mut Json, frame: &Frame<'_>) {
    match frame {
        Frame::NewConnectionId(new) => {
            kind(json, if new.path.is_some() { "path_new_connection_id" } else { "new_connection_id" });
            if let Some(path) = new.path {
                json.key("path_id").number(u64::from(path.0));
            }
            json.key("sequence_number").number(new.sequence);
            json.key("retire_prior_to").number(new.retire_prior_to);
            json.key("connection_id_length").number(new.cid.len() as u64);
            json.key("connection_id").hex(new.cid.as_bytes());
        }
        Frame::RetireConnectionId(retire) => {
            kind(json, if retire.path.is_some() { "path_retire_connection_id" } else { "retire_connection_id" });
            if let Some(path) = retire.path {
                json.key("path_id").number(u64::from(path.0));
            }
            json.key("sequence_number").number(retire.sequence);
        }
        Frame::PathChallenge(challenge) => {
            kind(json, "path_challenge");
            json.key("data").hex(&challenge.data);
        }
        Frame::PathResponse(response) => {
            kind(json, "path_response");
            json.key("data").hex(&response.data);
        }
        Frame::PathAbandon(abandon) => {
            kind(json, "path_abandon");
            json.key("path_id").number(u64::from(abandon.path.0));
            json.key("error_code").number(abandon.code);
        }
        Frame::PathStatus(status) => {
            kind(json, if status.status == PathStatusKind::Backup { "path_status_backup" } else { "path_status_available" });
            json.key("path_id").number(u64::from(status.path.0));
            json.key("path_status_sequence_number").number(status.sequence);
        }
        Frame::MaxPathId(maximum) => {
            kind(json, "max_path_id");
            json.key("maximum").number(u64::from(maximum.maximum.0));
        }
        Frame::PathsBlocked(blocked) => {
            kind(json, "paths_blocked");
            json.key("maximum").number(u64::from(blocked.maximum.0));
        }
        Frame::PathCidsBlocked(blocked) => {
            kind(json, "path_cids_blocked");
            json.key("path_id").number(u64::from(blocked.path.0));
            json.key("next_sequence_number").number(blocked.next_sequence);
        }
        _ => unknown(json, frame),
    }
}

/// A frame that has no name here yet.
fn unknown(json: &mut Json, frame: &Frame<'_>) {
    kind(json, "unknown");
    json.key("frame_type_bytes").number(frame.frame_type());
}

#[cfg(test)]
mod tests {
    use super::*;
    use qbase::{
        ConnectionId, PathId, ResetToken, StreamId,
        frame::{AckFrequency, AckRanges, Crypto, EcnCounts, MaxPathId, MaxStreams, NewConnectionId, NewToken, PathAbandon, PathStatus, Stream},
    };

    fn written(frame: &Frame<'_>) -> String {
        let mut json = Json::default();
        write(&mut json, frame, 9, 3);
        String::from_utf8(json.into_bytes()).expect("UTF-8")
    }

    #[test]
    fn frames_have_the_fields_of_the_schema() {
        let ack = Ack { path: None, largest: 7, delay: 125, ranges: AckRanges::one(&(4..=7)), ecn: Some(EcnCounts { ect0: 3, ect1: 0, ce: 1 }) };
        let cases = [
            (Frame::Ping, r#"{"frame_type":"ping","raw":{"length":9}}"#),
            (Frame::Ack(ack.clone()), r#"{"frame_type":"ack","ack_delay":1,"acked_ranges":[[4,7]],"ect1":0,"ect0":3,"ce":1,"raw":{"length":9}}"#),
            (
                Frame::Ack(Ack { path: Some(PathId(2)), ranges: AckRanges::one(&(7..=7)), ecn: None, ..ack }),
                r#"{"frame_type":"path_ack","path_id":2,"ack_delay":1,"acked_ranges":[[7]],"raw":{"length":9}}"#,
            ),
            (Frame::Crypto(Crypto { offset: 5, data: b"abc" }), r#"{"frame_type":"crypto","offset":5,"raw":{"length":9,"payload_length":3}}"#),
            (
                Frame::Stream(Stream { stream: StreamId(4), offset: 10, fin: true, data: b"xy" }),
                r#"{"frame_type":"stream","stream_id":4,"offset":10,"fin":true,"raw":{"length":9,"payload_length":2}}"#,
            ),
            (
                Frame::MaxStreams(MaxStreams { direction: Direction::Unidirectional, maximum: 3 }),
                r#"{"frame_type":"max_streams","stream_type":"unidirectional","maximum":3,"raw":{"length":9}}"#,
            ),
            (Frame::ImmediateAck, r#"{"frame_type":"immediate_ack","raw":{"length":9}}"#),
            (
                Frame::AckFrequency(AckFrequency { sequence: 1, threshold: 9, max_ack_delay_micros: 5_000, reordering: 3 }),
                r#"{"frame_type":"ack_frequency","sequence_number":1,"ack_eliciting_threshold":9,"requested_max_ack_delay":5000,"reordering_threshold":3,"raw":{"length":9}}"#,
            ),
            (Frame::PathAbandon(PathAbandon { path: PathId(1), code: 62 }), r#"{"frame_type":"path_abandon","path_id":1,"error_code":62,"raw":{"length":9}}"#),
            (
                Frame::PathStatus(PathStatus { path: PathId(1), status: PathStatusKind::Backup, sequence: 2 }),
                r#"{"frame_type":"path_status_backup","path_id":1,"path_status_sequence_number":2,"raw":{"length":9}}"#,
            ),
            (Frame::MaxPathId(MaxPathId { maximum: PathId(7) }), r#"{"frame_type":"max_path_id","maximum":7,"raw":{"length":9}}"#),
        ];
        for (frame, text) in cases {
            assert_eq!(written(&frame), text);
        }
    }

    /// attacks I12.
    #[test]
    fn tokens_stay_out_of_the_log() {
        let token = written(&Frame::NewToken(NewToken { token: &[0xab; 4] }));
        assert!(!token.contains("abab"), "{token}");
        let cid = ConnectionId::new(&[1, 2]).expect("short");
        let new = NewConnectionId { path: None, sequence: 1, retire_prior_to: 0, cid, reset_token: ResetToken([0xab; 16]) };
        let id = written(&Frame::NewConnectionId(new));
        assert!(!id.contains("abab") && id.contains(r#""connection_id":"0102""#), "{id}");
    }

    #[test]
    fn closes_name_their_error() {
        let close = |kind, code, reason| written(&Frame::ConnectionClose(ConnectionClose { kind, code, reason }));
        let transport = CloseKind::Transport { frame_type: 6 };
        assert!(close(transport, 10, b"why \"so\"").contains(r#""error_space":"transport","error":"protocol_violation","trigger_frame_type":6,"reason":"why \"so\"""#));
        assert!(close(transport, 0x12a, b"").contains(r#""error":"crypto_error_0x12a""#));
        assert!(close(transport, 0x3e, b"").contains(r#""error":"unknown","error_code":62"#));
        assert!(close(CloseKind::Application, 3, &[0xff]).contains(r#""error":"unknown","error_code":3,"reason_bytes":"ff""#));
    }
}
