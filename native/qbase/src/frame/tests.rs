//! All frames at once: layouts, types, levels, hostile bytes.

use super::{
    testing::{decodes_to, refuse, written},
    *,
};
use crate::{ConnectionId, EncryptionLevel, ErrorCode, ResetToken, StreamId};
use proptest::{collection::vec, prelude::*};

/// A field after the frame type.
#[derive(Clone, Debug)]
enum Field {
    /// A varint.
    Number(u64),
    /// Bytes as they are.
    Bytes(Vec<u8>),
}

use Field::{Bytes, Number};

/// A varint in at least `width` bytes.
fn varint_of(value: u64, width: usize) -> Vec<u8> {
    match width.max(varint::size(value)) {
        1 => vec![value as u8],
        2 => (value as u16 | 0x4000).to_be_bytes().to_vec(),
        4 => (value as u32 | 0x8000_0000).to_be_bytes().to_vec(),
        _ => (value | 0xc000_0000_0000_0000).to_be_bytes().to_vec(),
    }
}

/// A frame as RFC 9000 §19 lays it out, every number but the type in at least `width` bytes.
fn laid_out(frame_type: u64, fields: &[Field], width: usize) -> Vec<u8> {
    let mut bytes = varint_of(frame_type, 1);
    for field in fields {
        match field {
            Number(value) => bytes.extend(varint_of(*value, width)),
            Bytes(part) => bytes.extend(part),
        }
    }
    bytes
}

/// Numbers of every varint length, with the edges of each.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..1_u64 << 6,
        1_u64 << 6..1 << 14,
        1_u64 << 14..1 << 30,
        1_u64 << 30..=varint::MAX,
        prop::sample::select(vec![0, 63, 64, 16_383, 16_384, (1 << 30) - 1, 1 << 30, varint::MAX]),
    ]
}

fn path() -> impl Strategy<Value = PathId> {
    prop_oneof![0..64_u32, 64..16_384_u32, 16_384..1_u32 << 30, Just(u32::MAX)].prop_map(PathId)
}

/// Values from which every frame can be made.
#[derive(Clone, Debug)]
struct Values {
    a: u64,
    b: u64,
    c: u64,
    path: PathId,
    streams: u64,
    data: Vec<u8>,
    cid: Vec<u8>,
    token: [u8; 16],
}

fn values() -> impl Strategy<Value = Values> {
    let streams = prop_oneof![number().prop_map(|n| n.min(1 << 60)), Just(1 << 60)];
    (
        number(),
        number(),
        number(),
        path(),
        streams,
        vec(any::<u8>(), 1..70),
        vec(any::<u8>(), 1..=20),
        any::<[u8; 16]>(),
    )
        .prop_map(|(a, b, c, path, streams, data, cid, token)| Values { a, b, c, path, streams, data, cid, token })
}

/// The fields of a frame's data: length and bytes.
fn data(bytes: &[u8]) -> [Field; 2] {
    [Number(bytes.len() as u64), Bytes(bytes.to_vec())]
}

/// Every frame but PADDING and those that extend to the packet's end, with its layout written down independently.
fn layouts(v: &Values) -> Vec<(Frame<'_>, u64, Vec<Field>)> {
    let Values { a, b, c, path, streams, token, .. } = *v;
    let stream = StreamId(a);
    let offset = b.min(varint::MAX - 100);
    let retire_prior_to = b.min(c);
    let cid = ConnectionId::new(&v.cid).unwrap();
    let reset_token = ResetToken(token);
    let challenge = *token.first_chunk().unwrap();
    let (bidi, uni) = (Direction::Bidirectional, Direction::Unidirectional);
    let [len, bytes] = data(&v.data);
    let id_fields =
        [Number(c), Number(retire_prior_to), Bytes([&[v.cid.len() as u8], v.cid.as_slice(), &token].concat())];
    let p = Number(path.0.into());
    let close = |kind| Frame::ConnectionClose(ConnectionClose { kind, code: a, reason: &v.data });
    let new_id =
        |path| Frame::NewConnectionId(NewConnectionId { path, sequence: c, retire_prior_to, cid, reset_token });
    let stream_frame = |offset, fin| Frame::Stream(Stream { stream, offset, fin, data: &v.data });
    let mut rows = vec![
        (Frame::Ping, 0x01, vec![]),
        (
            Frame::ResetStream(ResetStream { stream, code: b, final_size: c }),
            0x04,
            vec![Number(a), Number(b), Number(c)],
        ),
        (Frame::StopSending(StopSending { stream, code: b }), 0x05, vec![Number(a), Number(b)]),
        (Frame::Crypto(Crypto { offset, data: &v.data }), 0x06, vec![Number(offset), len.clone(), bytes.clone()]),
        (Frame::NewToken(NewToken { token: &v.data }), 0x07, vec![len.clone(), bytes.clone()]),
        (stream_frame(0, false), 0x0a, vec![Number(a), len.clone(), bytes.clone()]),
        (stream_frame(0, true), 0x0b, vec![Number(a), len.clone(), bytes.clone()]),
        (Frame::MaxData(MaxData { maximum: a }), 0x10, vec![Number(a)]),
        (Frame::MaxStreamData(MaxStreamData { stream, maximum: b }), 0x11, vec![Number(a), Number(b)]),
        (Frame::MaxStreams(MaxStreams { direction: bidi, maximum: streams }), 0x12, vec![Number(streams)]),
        (Frame::MaxStreams(MaxStreams { direction: uni, maximum: streams }), 0x13, vec![Number(streams)]),
        (Frame::DataBlocked(DataBlocked { limit: a }), 0x14, vec![Number(a)]),
        (Frame::StreamDataBlocked(StreamDataBlocked { stream, limit: b }), 0x15, vec![Number(a), Number(b)]),
        (Frame::StreamsBlocked(StreamsBlocked { direction: bidi, limit: streams }), 0x16, vec![Number(streams)]),
        (Frame::StreamsBlocked(StreamsBlocked { direction: uni, limit: streams }), 0x17, vec![Number(streams)]),
        (new_id(None), 0x18, id_fields.to_vec()),
        (Frame::RetireConnectionId(RetireConnectionId { path: None, sequence: a }), 0x19, vec![Number(a)]),
        (Frame::PathChallenge(PathChallenge { data: challenge }), 0x1a, vec![Bytes(challenge.to_vec())]),
        (Frame::PathResponse(PathResponse { data: challenge }), 0x1b, vec![Bytes(challenge.to_vec())]),
        (close(CloseKind::Transport { frame_type: b }), 0x1c, vec![Number(a), Number(b), len.clone(), bytes.clone()]),
        (close(CloseKind::Application), 0x1d, vec![Number(a), len.clone(), bytes.clone()]),
        (Frame::HandshakeDone, 0x1e, vec![]),
        (Frame::Datagram(Datagram { data: &v.data }), 0x31, vec![len.clone(), bytes.clone()]),
        (Frame::PathAbandon(PathAbandon { path, code: a }), 0x3e75, vec![p.clone(), Number(a)]),
        (new_id(Some(path)), 0x3e78, [std::slice::from_ref(&p), &id_fields].concat()),
        (
            Frame::RetireConnectionId(RetireConnectionId { path: Some(path), sequence: a }),
            0x3e79,
            vec![p.clone(), Number(a)],
        ),
        (Frame::ImmediateAck, 0x1f, Vec::new()),
        (
            Frame::AckFrequency(AckFrequency { sequence: a, threshold: b, max_ack_delay_micros: c, reordering: a }),
            0xaf,
            vec![Number(a), Number(b), Number(c), Number(a)],
        ),
        (Frame::MaxPathId(MaxPathId { maximum: path }), 0x3e7a, vec![p.clone()]),
        (Frame::PathsBlocked(PathsBlocked { maximum: path }), 0x3e7b, vec![p.clone()]),
        (Frame::PathCidsBlocked(PathCidsBlocked { path, next_sequence: a }), 0x3e7c, vec![p.clone(), Number(a)]),
    ];
    for (status, code) in [(PathStatusKind::Backup, 0x3e76), (PathStatusKind::Available, 0x3e77)] {
        rows.push((Frame::PathStatus(PathStatus { path, status, sequence: a }), code, vec![p.clone(), Number(a)]));
    }
    if offset != 0 {
        for (fin, code) in [(false, 0x0e), (true, 0x0f)] {
            let fields = vec![Number(a), Number(offset), len.clone(), bytes.clone()];
            rows.push((stream_frame(offset, fin), code, fields));
        }
    }
    rows.extend(ack_layouts(v));
    rows
}

/// ACK and PATH_ACK with one range and with ECN counts; `ack/tests.rs` has the rest.
fn ack_layouts(v: &Values) -> Vec<(Frame<'_>, u64, Vec<Field>)> {
    let Values { a, b, c, path, .. } = *v;
    let smallest = a.min(b);
    let ack = |path, ecn| Frame::Ack(Ack { path, largest: b, delay: c, ranges: AckRanges::one(&(smallest..=b)), ecn });
    let fields = [Number(b), Number(c), Number(0), Number(b - smallest)];
    let counts = EcnCounts { ect0: a, ect1: b, ce: c };
    let ecn = [Number(a), Number(b), Number(c)];
    let p = Number(path.0.into());
    vec![
        (ack(None, None), 0x02, fields.to_vec()),
        (ack(None, Some(counts)), 0x03, [fields.as_slice(), &ecn].concat()),
        (ack(Some(path), None), 0x3e, [std::slice::from_ref(&p), &fields].concat()),
        (ack(Some(path), Some(counts)), 0x3f, [&[p], fields.as_slice(), &ecn].concat()),
    ]
}

proptest! {
    #[test]
    fn every_frame_survives_the_round_trip_in_its_layout_and_every_varint_length(values in values()) {
        for (frame, frame_type, fields) in layouts(&values) {
            prop_assert_eq!(frame.frame_type(), frame_type, "{:?}", &frame);
            prop_assert_eq!(written(&frame), laid_out(frame_type, &fields, 1), "{:?}", &frame);
            for width in [1, 2, 4, 8] {
                decodes_to(&laid_out(frame_type, &fields, width), &frame);
            }
        }
    }

    #[test]
    fn every_truncation_of_every_frame_is_a_frame_encoding_error(values in values()) {
        for (_, frame_type, fields) in layouts(&values) {
            for width in [1, 8] {
                let bytes = laid_out(frame_type, &fields, width);
                for cut in 0..bytes.len() {
                    refuse(&bytes[..cut], ErrorCode::FRAME_ENCODING_ERROR);
                }
            }
        }
    }

    #[test]
    fn random_bytes_never_panic_and_every_frame_takes_at_least_a_byte(bytes in vec(any::<u8>(), 0..200)) {
        decode_all(&bytes);
    }

    #[test]
    fn random_bytes_after_a_known_type_never_panic(row in 0..table::TABLE.len(), bytes in vec(any::<u8>(), 0..64)) {
        let row = &table::TABLE[row];
        for frame_type in row.first..=row.last {
            decode_all(&[varint_of(frame_type, 1), bytes.clone()].concat());
        }
    }

    #[test]
    fn what_is_decoded_is_written_back_to_the_same_frame(row in 0..table::TABLE.len(), bytes in vec(0..70_u8, 0..64)) {
        let bytes = [varint_of(table::TABLE[row].first, 1), bytes].concat();
        if let Ok(frame) = Frame::decode(&mut Reader::new(&bytes)) {
            decodes_to(&written(&frame), &frame);
        }
    }
}

/// Decodes until the end or an error, iterating what can be iterated.
fn decode_all(bytes: &[u8]) {
    let mut reader = Reader::new(bytes);
    while !reader.is_empty() {
        let before = reader.remaining();
        let Ok(frame) = Frame::decode(&mut reader) else { break };
        assert!(reader.remaining() < before, "{frame:?} took nothing");
        if let Frame::Ack(ack) = &frame {
            let mut below = ack.largest.saturating_add(2);
            for range in ack.ranges.clone() {
                assert!(range.start() <= range.end() && range.end() + 1 < below, "{range:?} after {below}");
                below = *range.start();
            }
        }
        let _ = (frame.name(), frame.is_ack_eliciting(), frame.is_probing());
    }
}

#[test]
fn a_frame_type_in_a_longer_encoding_is_a_protocol_violation() {
    // attacks D17, RFC 9000 §12.4
    for row in &table::TABLE {
        for width in [2, 4, 8].into_iter().filter(|width| *width > varint::size(row.first)) {
            let bytes = [varint_of(row.first, width), vec![0; 64]].concat();
            refuse(&bytes, ErrorCode::PROTOCOL_VIOLATION);
        }
    }
}

#[test]
fn an_unknown_frame_type_is_a_frame_encoding_error() {
    // attacks D17, RFC 9000 §12.4. 0x15228c00 is PATH_ACK of an old draft (multipath MP-4).
    let unknown = (0x20..0x30).chain(0x32..0x3e).chain([0x40, 0x3e74, 0x3e7d, 0x1522_8c00, varint::MAX]);
    for frame_type in unknown {
        assert_eq!(table::spec(frame_type), None, "{frame_type:#x}");
        refuse(&[varint_of(frame_type, 1), vec![0; 64]].concat(), ErrorCode::FRAME_ENCODING_ERROR);
    }
}

#[test]
fn nothing_is_no_frame() {
    // attacks D18: the connection refuses a packet without frames; the decoder does not invent one.
    assert!(Frame::decode(&mut Reader::new(&[])).is_err());
}

#[test]
fn a_payload_is_a_sequence_of_frames() {
    let bytes = b"\x01\x00\x00\x00\x0a\x04\x02ab\x1e\x08\x08rest";
    let mut reader = Reader::new(bytes);
    let mut names = Vec::new();
    while !reader.is_empty() {
        names.push(Frame::decode(&mut reader).unwrap().name());
    }
    assert_eq!(names, ["PING", "PADDING", "STREAM", "HANDSHAKE_DONE", "STREAM"]);
}

/// RFC 9000 §12.4 table 3, RFC 9221 §4, multipath MP-70 and draft-ietf-quic-ack-frequency §10, written down once more: code, name, packets, marks N and P.
const RFC: [(u64, &str, &str, &str); 33] = [
    (0x00, "PADDING", "IH01", "NP"),
    (0x01, "PING", "IH01", ""),
    (0x02, "ACK", "IH_1", "N"),
    (0x04, "RESET_STREAM", "__01", ""),
    (0x05, "STOP_SENDING", "__01", ""),
    (0x06, "CRYPTO", "IH_1", ""),
    (0x07, "NEW_TOKEN", "___1", ""),
    (0x08, "STREAM", "__01", ""),
    (0x10, "MAX_DATA", "__01", ""),
    (0x11, "MAX_STREAM_DATA", "__01", ""),
    (0x12, "MAX_STREAMS", "__01", ""),
    (0x14, "DATA_BLOCKED", "__01", ""),
    (0x15, "STREAM_DATA_BLOCKED", "__01", ""),
    (0x16, "STREAMS_BLOCKED", "__01", ""),
    (0x18, "NEW_CONNECTION_ID", "__01", "P"),
    (0x19, "RETIRE_CONNECTION_ID", "__01", ""),
    (0x1a, "PATH_CHALLENGE", "__01", "P"),
    (0x1b, "PATH_RESPONSE", "___1", "P"),
    (0x1c, "CONNECTION_CLOSE", "IH01", "N"),
    (0x1d, "CONNECTION_CLOSE", "__01", "N"),
    (0x1e, "HANDSHAKE_DONE", "___1", ""),
    (0x1f, "IMMEDIATE_ACK", "___1", ""),
    (0x30, "DATAGRAM", "__01", ""),
    (0x3e, "PATH_ACK", "___1", "N"),
    (0xaf, "ACK_FREQUENCY", "___1", ""),
    (0x3e75, "PATH_ABANDON", "___1", ""),
    (0x3e76, "PATH_STATUS_BACKUP", "___1", ""),
    (0x3e77, "PATH_STATUS_AVAILABLE", "___1", ""),
    (0x3e78, "PATH_NEW_CONNECTION_ID", "___1", ""),
    (0x3e79, "PATH_RETIRE_CONNECTION_ID", "___1", ""),
    (0x3e7a, "MAX_PATH_ID", "___1", ""),
    (0x3e7b, "PATHS_BLOCKED", "___1", ""),
    (0x3e7c, "PATH_CIDS_BLOCKED", "___1", ""),
];

/// multipath MP-1, MP-2, MP-70, MP-73: codes and places of the multipath frames, too.
#[test]
fn every_frame_type_is_allowed_in_the_packets_of_table_3_and_in_no_others() {
    // attacks D19, F1, D20 (0x1d in Initial): 33 types in 4 packets.
    let mut cases = 0;
    for (frame_type, name, packets, _) in RFC {
        for (level, mark) in [
            (EncryptionLevel::Initial, 'I'),
            (EncryptionLevel::Handshake, 'H'),
            (EncryptionLevel::ZeroRtt, '0'),
            (EncryptionLevel::OneRtt, '1'),
        ] {
            assert_eq!(table::allowed(frame_type, level), packets.contains(mark), "{name} in {level:?}");
            cases += 1;
        }
    }
    assert_eq!(cases, 132);
    assert!(!table::allowed(0x20, EncryptionLevel::OneRtt), "an unknown type is allowed nowhere");
}

#[test]
fn the_table_has_the_names_and_marks_of_the_rfcs() {
    for ((frame_type, name, _, marks), row) in RFC.iter().zip(&table::TABLE) {
        assert_eq!((row.first, row.name), (*frame_type, *name));
        for code in row.first..=row.last {
            assert_eq!(table::spec(code), Some(row), "{code:#x}");
        }
        assert_eq!(row.ack_eliciting, !marks.contains('N'), "{name}");
        assert_eq!(row.probing, marks.contains('P'), "{name}");
        let extension = match *frame_type {
            0x1f | 0xaf => table::Extension::AckFrequency,
            0x3e.. => table::Extension::Multipath,
            _ => table::Extension::None,
        };
        assert_eq!(row.extension, extension, "{name}");
    }
    let flags = [(0x02, 0x03), (0x08, 0x0f), (0x12, 0x13), (0x16, 0x17), (0x30, 0x31), (0x3e, 0x3f)];
    for row in &table::TABLE {
        let last = flags.iter().find(|(first, _)| *first == row.first).map_or(row.first, |(_, last)| *last);
        assert_eq!(row.last, last, "{}", row.name);
    }
    assert_eq!(table::name(0x20), "UNKNOWN");
}

#[test]
fn frames_agree_with_the_table_about_acknowledging_and_probing() {
    let values = Values { a: 1, b: 2, c: 3, path: PathId(4), streams: 5, data: vec![6], cid: vec![7], token: [8; 16] };
    let mut frames: Vec<_> = layouts(&values).into_iter().map(|(frame, ..)| frame).collect();
    frames.push(Frame::Padding(Padding { len: 1 }));
    for frame in &frames {
        let row = table::spec(frame.frame_type()).unwrap();
        assert_eq!(frame.is_ack_eliciting(), row.ack_eliciting, "{frame:?}");
        assert_eq!(frame.is_probing(), row.probing, "{frame:?}");
        assert_eq!(frame.name(), row.name, "{frame:?}");
    }
    for row in &table::TABLE {
        assert!(frames.iter().any(|f| (row.first..=row.last).contains(&f.frame_type())), "{} is a frame", row.name);
    }
}
