//! Streams beyond their limits, ends that change, gaps and empty frames without number (attacks D1 to D15, L6, L7).

use qbase::{
    Direction, ErrorCode, StreamId,
    frame::{self, Fin, Frame, table},
    limits,
};
use qconnection::TransportConfig;
use qsim::Failure;

use crate::common;
use common::{
    evil::{arena::{Arena, Setup}, stream, wire::Packet},
    secs,
};
use Direction::{Bidirectional, Unidirectional};

/// The first stream of each kind.
const CLIENT_BIDI: u64 = 0;
const SERVER_BIDI: u64 = 1;
const CLIENT_UNI: u64 = 2;
const SERVER_UNI: u64 = 3;

/// Windows of the server in these tests.
const STREAM_WINDOW: u64 = 64 * 1_024;
const CONNECTION_WINDOW: u64 = 128 * 1_024;

fn reset(stream: u64, final_size: u64) -> Frame<'static> {
    Frame::ResetStream(frame::ResetStream { stream: StreamId(stream), code: 1, final_size })
}

fn stop(stream: u64) -> Frame<'static> {
    Frame::StopSending(frame::StopSending { stream: StreamId(stream), code: 1 })
}

fn max_stream_data(stream: u64) -> Frame<'static> {
    Frame::MaxStreamData(frame::MaxStreamData { stream: StreamId(stream), maximum: 9 })
}

fn stream_blocked(stream: u64) -> Frame<'static> {
    Frame::StreamDataBlocked(frame::StreamDataBlocked { stream: StreamId(stream), limit: 9 })
}

/// What a series of packets, one frame each, leads to.
struct Case {
    name: &'static str,
    frames: Vec<Frame<'static>>,
    code: Option<ErrorCode>,
}

fn case(name: &'static str, frames: Vec<Frame<'static>>, code: Option<ErrorCode>) -> Case {
    Case { name, frames, code }
}

/// All frames but the last are taken; the last closes the connection with this code, or nothing does.
fn check(setup: &Setup, cases: &[Case]) -> Result<(), Failure> {
    for Case { name, frames, code } in cases {
        let mut arena = Arena::new(setup)?;
        for (number, frame) in frames.iter().enumerate() {
            assert_eq!(arena.close_code(), None, "{name}: before frame {number}");
            arena.say(std::slice::from_ref(frame))?;
        }
        let expected = code.map(|code| (code.0, frames.last().map_or(0, Frame::frame_type)));
        assert_eq!(arena.close_code(), expected, "{name}");
    }
    Ok(())
}

#[test]
fn attack_d5_one_byte_over_a_window_closes_the_connection_and_the_last_byte_within_does_not() -> Result<(), Failure> {
    const OVER: Option<ErrorCode> = Some(ErrorCode::FLOW_CONTROL_ERROR);
    let (first, second, third) = (CLIENT_UNI, CLIENT_UNI + 4, CLIENT_UNI + 8);
    let last = |id| stream(id, STREAM_WINDOW - 1, b"x", Fin::No);
    check(
        &Setup::default(),
        &[
            case("stream, exact", vec![last(first)], None),
            case("stream, over", vec![last(first), stream(first, STREAM_WINDOW, b"x", Fin::No)], OVER),
            case("stream, over with its FIN", vec![stream(first, STREAM_WINDOW, b"x", Fin::Yes)], OVER),
            case("stream, an empty frame far away", vec![stream(first, STREAM_WINDOW + 1, b"", Fin::Yes)], OVER),
            case("connection, exact", vec![last(first), last(second)], None),
            case("connection, over", vec![last(first), last(second), stream(third, 0, b"x", Fin::No)], OVER),
            case("stream, exact by RESET_STREAM", vec![reset(first, STREAM_WINDOW)], None),
            case("stream, over by RESET_STREAM", vec![reset(first, STREAM_WINDOW + 1)], OVER),
            case("connection, over by RESET_STREAM", vec![last(first), last(second), reset(third, 1)], OVER),
            case("the same bytes again cost nothing", vec![last(first), last(second), last(first)], None),
        ],
    )
}

#[test]
fn attack_d6_a_final_size_never_changes() -> Result<(), Failure> {
    const CHANGED: Option<ErrorCode> = Some(ErrorCode::FINAL_SIZE_ERROR);
    let ended = || stream(CLIENT_UNI, 0, b"12345", Fin::Yes);
    check(
        &Setup::default(),
        &[
            case("the same FIN again", vec![ended(), ended()], None),
            case("data after FIN", vec![ended(), stream(CLIENT_UNI, 5, b"6", Fin::No)], CHANGED),
            case("a later FIN", vec![ended(), stream(CLIENT_UNI, 5, b"6", Fin::Yes)], CHANGED),
            case("an earlier FIN", vec![ended(), stream(CLIENT_UNI, 0, b"1234", Fin::Yes)], CHANGED),
            case("FIN below what came", vec![stream(CLIENT_UNI, 9, b"x", Fin::No), ended()], CHANGED),
            case("RESET_STREAM above FIN", vec![ended(), reset(CLIENT_UNI, 6)], CHANGED),
            case("RESET_STREAM below FIN", vec![ended(), reset(CLIENT_UNI, 4)], CHANGED),
            case("RESET_STREAM at FIN", vec![ended(), reset(CLIENT_UNI, 5)], None),
            case("RESET_STREAM below what came", vec![stream(CLIENT_UNI, 9, b"x", Fin::No), reset(CLIENT_UNI, 3)], CHANGED),
        ],
    )
}

#[test]
fn attack_d7_the_first_bytes_at_an_offset_win() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::default())?;
    arena.say(&[stream(CLIENT_UNI, 2, b"cd", Fin::No)])?;
    arena.say(&[stream(CLIENT_UNI, 0, b"WXYZ__", Fin::Yes)])?;
    assert_eq!(arena.read(StreamId(CLIENT_UNI))?, b"WXcd__");
    assert_eq!(arena.close_code(), None);
    Ok(())
}

#[test]
fn attack_d8_stream_ids_over_the_limit_or_of_the_wrong_kind_close_the_connection() -> Result<(), Failure> {
    const LIMIT: Option<ErrorCode> = Some(ErrorCode::STREAM_LIMIT_ERROR);
    const STATE: Option<ErrorCode> = Some(ErrorCode::STREAM_STATE_ERROR);
    let last = |first| first + 4 * (limits::PEER_STREAMS - 1);
    let over = |first| first + 4 * limits::PEER_STREAMS;
    let mut cases = Vec::new();
    for first in [CLIENT_BIDI, CLIENT_UNI] {
        cases.extend([
            case("the last stream", vec![stream(last(first), 0, b"x", Fin::No)], None),
            case("STREAM over the limit", vec![stream(over(first), 0, b"x", Fin::No)], LIMIT),
            case("RESET_STREAM over the limit", vec![reset(over(first), 0)], LIMIT),
            case("STREAM_DATA_BLOCKED over the limit", vec![stream_blocked(over(first))], LIMIT),
        ]);
    }
    for (name, frame) in [
        ("STREAM on a stream we have not opened", stream(SERVER_BIDI, 0, b"x", Fin::No)),
        ("RESET_STREAM on it", reset(SERVER_BIDI, 0)),
        ("STOP_SENDING on it", stop(SERVER_BIDI)),
        ("MAX_STREAM_DATA on it", max_stream_data(SERVER_BIDI)),
        ("STREAM_DATA_BLOCKED on it", stream_blocked(SERVER_BIDI)),
        ("STOP_SENDING on a one-way stream we have not opened", stop(SERVER_UNI)),
        ("STREAM on a stream on which we only send", stream(SERVER_UNI, 0, b"x", Fin::No)),
        ("RESET_STREAM on it", reset(SERVER_UNI, 0)),
        ("STREAM_DATA_BLOCKED on it", stream_blocked(SERVER_UNI)),
        ("STOP_SENDING on a stream on which we only receive", stop(CLIENT_UNI)),
        ("MAX_STREAM_DATA on it", max_stream_data(CLIENT_UNI)),
    ] {
        cases.push(case(name, vec![frame], STATE));
    }
    cases.extend([
        case("STOP_SENDING over the limit", vec![stop(over(CLIENT_BIDI))], LIMIT),
        case("MAX_STREAM_DATA over the limit", vec![max_stream_data(over(CLIENT_BIDI))], LIMIT),
    ]);
    check(&Setup::default(), &cases)
}

#[test]
fn attack_d11_the_highest_stream_first_makes_no_state_for_those_below() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::default())?;
    for first in [CLIENT_BIDI, CLIENT_UNI] {
        arena.say(&[stream(first + 4 * (limits::PEER_STREAMS - 1), 0, b"x", Fin::No)])?;
    }
    let statistics = arena.connection()?.stream_facts().statistics();
    assert_eq!((statistics.opened_peer, statistics.open), (2 * limits::PEER_STREAMS, 2));
    Ok(())
}

#[test]
fn attack_d1_bytes_at_every_second_offset_end_at_the_bound_of_gaps() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::default())?;
    let mut sent = 0;
    while arena.close_code().is_none() && sent < 5_000 {
        arena.say(&[stream(CLIENT_UNI, 2 * sent + 1, b"x", Fin::No)])?;
        sent += 1;
        let statistics = arena.connection()?.stream_facts().statistics();
        assert!(statistics.gaps as u64 <= limits::STREAM_GAPS as u64 + statistics.held / limits::BYTES_PER_GAP + 1);
        let memory = arena.server.statistics().pool_bytes_used;
        assert!(memory <= 2 * STREAM_WINDOW, "{memory} bytes behind a window of {STREAM_WINDOW}");
    }
    assert_eq!(arena.close_code(), Some((ErrorCode::INTERNAL_ERROR.0, table::STREAM | 0x06)));
    assert!((limits::STREAM_GAPS as u64..limits::STREAM_GAPS as u64 + 10).contains(&sent), "{sent} frames");
    assert!(arena.close_reason().contains("gaps"), "{}", arena.close_reason());
    Ok(())
}

#[test]
fn attack_d1_gaps_over_many_streams_end_at_the_bound_of_the_connection() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::default())?;
    let mut sent = 0;
    while arena.close_code().is_none() && sent < 50_000 {
        let id = CLIENT_UNI + 4 * (sent % limits::PEER_STREAMS);
        arena.say(&[stream(id, 2 * (sent / limits::PEER_STREAMS) + 1, b"x", Fin::No)])?;
        sent += 1;
    }
    assert_eq!(arena.close_code().map(|(code, _)| code), Some(ErrorCode::INTERNAL_ERROR.0));
    assert!((limits::CONNECTION_GAPS as u64..limits::CONNECTION_GAPS as u64 + 40).contains(&sent), "{sent} frames");
    Ok(())
}

#[test]
fn attack_d1_an_honest_peer_whose_every_second_packet_is_late_is_never_closed() -> Result<(), Failure> {
    const WINDOW: u64 = 4 * 1_024 * 1_024;
    const PIECE: u64 = 1_150;
    let server = TransportConfig { stream_window: WINDOW, connection_window: WINDOW, ..TransportConfig::default() };
    let mut arena = Arena::new(&Setup { server, ..Setup::default() })?;
    let data = vec![5; usize::try_from(PIECE).unwrap()];
    let pieces = WINDOW / PIECE;
    for late in [1, 0] {
        for piece in (late..pieces).step_by(2) {
            arena.say(&[stream(CLIENT_UNI, piece * PIECE, &data, Fin::No)])?;
        }
        assert_eq!(arena.close_code(), None);
        if late == 1 {
            let gaps = arena.connection()?.stream_facts().statistics().gaps as u64;
            assert!(gaps >= pieces / 2 - 1, "{gaps} gaps are many more than a stream may have without bytes");
        }
    }
    assert_eq!(arena.read(StreamId(CLIENT_UNI))?.len() as u64, pieces * PIECE);
    Ok(())
}

#[test]
fn attack_d2_reverse_order_and_overlaps_are_taken_in_any_number() -> Result<(), Failure> {
    let server = TransportConfig { stream_window: 1 << 20, connection_window: 1 << 20, ..TransportConfig::default() };
    let mut arena = Arena::new(&Setup { server, ..Setup::default() })?;
    let data = [7; 300];
    for piece in (0..2_000_u64).rev() {
        arena.say(&[stream(CLIENT_UNI, piece * 150, &data, Fin::No)])?;
    }
    assert_eq!(arena.close_code(), None);
    assert_eq!(arena.read(StreamId(CLIENT_UNI))?.len(), 1_999 * 150 + 300);
    assert_eq!(arena.connection()?.stream_facts().statistics().gaps, 0);
    Ok(())
}

#[test]
fn attack_l7_one_byte_on_each_stream_holds_little_memory() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::default())?;
    for index in 0..limits::PEER_STREAMS {
        arena.say(&[stream(CLIENT_UNI + 4 * index, 0, b"x", Fin::No)])?;
        arena.say(&[stream(CLIENT_BIDI + 4 * index, 0, b"x", Fin::No)])?;
    }
    let memory = arena.server.statistics().pool_bytes_used;
    assert!(memory <= 2 * CONNECTION_WINDOW, "{memory} bytes for 200 bytes");
    Ok(())
}

#[test]
fn attack_d13_a_thousand_useless_frames_in_a_row_are_borne_and_not_one_more() -> Result<(), Failure> {
    let empty = || stream(CLIENT_UNI, 0, b"", Fin::No);
    let mut arena = Arena::new(&Setup::default())?;
    arena.say(&[stream(CLIENT_UNI, 0, b"x", Fin::No)])?;
    for _ in 0..limits::USELESS_STREAM_FRAMES {
        arena.say(&[empty()])?;
    }
    assert_eq!(arena.close_code(), None);
    arena.say(&[stream(CLIENT_UNI, 1, b"y", Fin::No)])?;
    let many: Vec<Frame<'_>> = (0..100).map(|_| empty()).collect();
    for _ in 0..limits::USELESS_STREAM_FRAMES / 100 {
        arena.say(&many)?;
    }
    assert_eq!(arena.close_code(), None, "bytes that count begin a new row");
    arena.say(&[empty()])?;
    assert_eq!(arena.close_code(), Some((ErrorCode::PROTOCOL_VIOLATION.0, empty().frame_type())));
    Ok(())
}

#[test]
fn attack_d10_streams_opened_and_reset_at_once_leave_nothing_and_get_no_credit_before_they_are_seen() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::default())?;
    let mut allowed = limits::PEER_STREAMS;
    let mut next = 0;
    for round in 0..50 {
        let before = next;
        while next < allowed {
            arena.say(&[stream(CLIENT_UNI + 4 * next, 0, b"x", Fin::No), reset(CLIENT_UNI + 4 * next, 1)])?;
            next += 1;
        }
        assert!(next - before <= 2 * limits::PEER_STREAMS, "round {round}");
        arena.ack()?;
        for event in std::mem::take(&mut arena.events) {
            drop(event);
        }
        arena.wait(secs(1))?;
        let told = arena.evil.heard.iter().flat_map(Packet::frames).filter_map(|frame| match frame {
            Frame::MaxStreams(max) if max.direction == Unidirectional => Some(max.maximum),
            _ => None,
        });
        allowed = told.max().unwrap_or_default().max(allowed);
        arena.ack()?;
        arena.forget_heard();
    }
    let statistics = arena.connection()?.stream_facts().statistics();
    assert!(next > 1_000, "{next} streams: the limit goes on");
    assert_eq!((statistics.open, statistics.held, statistics.events), (0, 0, 0));
    assert!(statistics.closed_ranges <= 2);
    assert_eq!(arena.server.statistics().pool_bytes_used, 0);
    Ok(())
}

#[test]
fn attack_d9_stream_counts_up_to_2_60_are_taken() -> Result<(), Failure> {
    check(
        &Setup::default(),
        &[
            case(
                "MAX_STREAMS",
                vec![Frame::MaxStreams(frame::MaxStreams { direction: Bidirectional, maximum: 1 << 60 })],
                None,
            ),
            case(
                "STREAMS_BLOCKED",
                vec![Frame::StreamsBlocked(frame::StreamsBlocked { direction: Unidirectional, limit: 1 << 60 })],
                None,
            ),
        ],
    )
}

#[test]
fn attack_c13_floods_of_credit_and_blocked_frames_leave_no_state() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::default())?;
    arena.say(&[stream(CLIENT_BIDI, 0, b"x", Fin::No)])?;
    arena.ack()?;
    arena.forget_heard();
    for round in (0..2_000_u64).rev() {
        arena.say(&[
            Frame::MaxData(frame::MaxData { maximum: round }),
            Frame::MaxStreamData(frame::MaxStreamData { stream: StreamId(CLIENT_BIDI), maximum: round }),
            Frame::MaxStreams(frame::MaxStreams { direction: Bidirectional, maximum: round % 100 }),
            Frame::DataBlocked(frame::DataBlocked { limit: round }),
            stream_blocked(CLIENT_BIDI),
            Frame::StreamsBlocked(frame::StreamsBlocked { direction: Bidirectional, limit: round }),
        ])?;
    }
    assert_eq!(arena.close_code(), None);
    let answers = arena.count(|frame| !matches!(frame, Frame::Ack(_) | Frame::Padding(_) | Frame::Ping));
    assert!(answers <= 4, "{answers} frames in answer");
    let stream = arena.connection_mut()?.open(Bidirectional);
    assert!(stream.is_some(), "decreasing limits were ignored");
    Ok(())
}

#[test]
fn attack_d14_stop_sending_twice_and_after_the_end_changes_nothing() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::default())?;
    arena.say(&[stream(CLIENT_BIDI, 0, b"x", Fin::Yes)])?;
    arena.read(StreamId(CLIENT_BIDI))?;
    for _ in 0..3 {
        arena.say(&[stop(CLIENT_BIDI)])?;
    }
    arena.ack()?;
    arena.say(&[stop(CLIENT_BIDI), reset(CLIENT_BIDI, 1), max_stream_data(CLIENT_BIDI)])?;
    assert_eq!(arena.close_code(), None);
    assert_eq!(arena.count(|frame| matches!(frame, Frame::ResetStream(_))), 1);
    assert_eq!(arena.connection()?.stream_facts().statistics().open, 0);
    Ok(())
}

#[test]
fn attack_d15_streams_that_nobody_reads_get_no_more_credit() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::default())?;
    let data = [1; 1_024];
    for offset in (0..STREAM_WINDOW).step_by(1_024) {
        arena.say(&[stream(CLIENT_UNI, offset, &data, Fin::No)])?;
        arena.say(&[stream(CLIENT_BIDI, offset, &data, Fin::No)])?;
    }
    assert_eq!(arena.count(|frame| matches!(frame, Frame::MaxData(_) | Frame::MaxStreamData(_))), 0);
    let memory = arena.server.statistics().pool_bytes_used;
    assert!(memory <= 2 * CONNECTION_WINDOW, "{memory}");
    Ok(())
}
