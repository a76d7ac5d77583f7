//! Frames that close the connection, and floods that must not (attacks D).

use super::*;
use qbase::{frame::Stream as StreamFrame, limits, stream_id::MAX_STREAM_COUNT, varint};

fn id(initiator: Role, direction: Direction, index: u64) -> StreamId {
    StreamId::new(initiator, direction, index)
}

fn refused(end: &mut End, frame: Frame<'_>) -> Option<ErrorCode> {
    end.on_frame(frame).err().map(|error| error.code)
}

fn bytes(stream: StreamId) -> Frame<'static> {
    Frame::Stream(StreamFrame { stream, offset: 0, fin: false, data: b"x" })
}

fn reset(stream: StreamId) -> Frame<'static> {
    Frame::ResetStream(frame::ResetStream { stream, code: 1, final_size: 0 })
}

fn stop(stream: StreamId) -> Frame<'static> {
    Frame::StopSending(frame::StopSending { stream, code: 1 })
}

fn max_data(stream: StreamId) -> Frame<'static> {
    Frame::MaxStreamData(frame::MaxStreamData { stream, maximum: 1 })
}

fn blocked(stream: StreamId) -> Frame<'static> {
    Frame::StreamDataBlocked(frame::StreamDataBlocked { stream, limit: 1 })
}

/// attacks D4.
#[test]
fn an_end_beyond_the_largest_offset_is_an_encoding_error() {
    let (_, mut server) = pair();
    let frame = StreamFrame { stream: StreamId(0), offset: varint::MAX, fin: false, data: b"x" };
    assert_eq!(refused(&mut server, Frame::Stream(frame)), Some(ErrorCode::FRAME_ENCODING_ERROR));
}

/// attacks D8: every stream frame on every kind of stream, at the client.
#[test]
fn frames_may_only_name_streams_and_parts_that_can_be() {
    type Make = fn(StreamId) -> Frame<'static>;
    let to_receive: [Make; 3] = [bytes, reset, blocked];
    let to_send: [Make; 2] = [stop, max_data];
    let cases = [
        // Kind of stream, number, answer to frames for what we receive, answer to frames for what we send.
        (Role::Server, BIDI, 99, None, None),
        (Role::Server, BIDI, 100, Some(ErrorCode::STREAM_LIMIT_ERROR), Some(ErrorCode::STREAM_LIMIT_ERROR)),
        (Role::Server, UNI, 99, None, Some(ErrorCode::STREAM_STATE_ERROR)),
        (Role::Server, UNI, 100, Some(ErrorCode::STREAM_LIMIT_ERROR), Some(ErrorCode::STREAM_STATE_ERROR)),
        (Role::Client, BIDI, 0, None, None),
        (Role::Client, BIDI, 1, Some(ErrorCode::STREAM_STATE_ERROR), Some(ErrorCode::STREAM_STATE_ERROR)),
        (Role::Client, UNI, 0, Some(ErrorCode::STREAM_STATE_ERROR), None),
        (Role::Client, UNI, 1, Some(ErrorCode::STREAM_STATE_ERROR), Some(ErrorCode::STREAM_STATE_ERROR)),
    ];
    for (initiator, direction, index, receiving, sending) in cases {
        for (makes, answer) in [(&to_receive[..], receiving), (&to_send[..], sending)] {
            for make in makes {
                let (mut client, _) = pair();
                client.streams.open(BIDI).unwrap();
                client.streams.open(UNI).unwrap();
                let frame = make(id(initiator, direction, index));
                let text = format!("{frame:?}");
                assert_eq!(refused(&mut client, frame), answer, "{text}");
            }
        }
    }
}

/// attacks D8: the same on a stream that is live, where the quick way is taken.
#[test]
fn frames_for_the_other_way_of_a_live_stream_are_refused() {
    let (mut client, _) = pair();
    let theirs = id(Role::Server, UNI, 0);
    client.on_frame(bytes(theirs)).unwrap();
    assert_eq!(refused(&mut client, stop(theirs)), Some(ErrorCode::STREAM_STATE_ERROR));
    assert_eq!(refused(&mut client, max_data(theirs)), Some(ErrorCode::STREAM_STATE_ERROR));
    assert_eq!(client.streams.write(theirs, b"x"), Err(WriteError::WrongWay));
    let ours = client.streams.open(UNI).unwrap();
    assert_eq!(refused(&mut client, bytes(ours)), Some(ErrorCode::STREAM_STATE_ERROR));
    assert_eq!(client.read_all(ours).1, ReadError::WrongWay);
    assert_eq!(client.streams.stop(ours, 1, &mut BufferPool::default()), Err(StreamError::WrongWay));
    assert_eq!(client.streams.reset(theirs, 1), Err(StreamError::WrongWay));
}

/// attacks D9.
#[test]
fn stream_counts_above_2_60_are_encoding_errors() {
    let (mut client, _) = pair();
    let max = |maximum| Frame::MaxStreams(frame::MaxStreams { direction: UNI, maximum });
    let blocked = |limit| Frame::StreamsBlocked(frame::StreamsBlocked { direction: UNI, limit });
    assert_eq!(refused(&mut client, max(MAX_STREAM_COUNT)), None);
    assert_eq!(refused(&mut client, max(MAX_STREAM_COUNT + 1)), Some(ErrorCode::FRAME_ENCODING_ERROR));
    assert_eq!(refused(&mut client, blocked(MAX_STREAM_COUNT)), None);
    assert_eq!(refused(&mut client, blocked(MAX_STREAM_COUNT + 1)), Some(ErrorCode::FRAME_ENCODING_ERROR));
}

/// attacks D6.
#[test]
fn final_sizes_do_not_change() {
    let fin = |end| Frame::Stream(StreamFrame { stream: StreamId(0), offset: end, fin: true, data: b"" });
    let data = |offset| Frame::Stream(StreamFrame { stream: StreamId(0), offset, fin: false, data: b"xxxxx" });
    let reset = |final_size| Frame::ResetStream(frame::ResetStream { stream: StreamId(0), code: 0, final_size });
    let cases: [&[Frame<'_>]; 7] = [
        &[fin(5), fin(6)],
        &[fin(5), data(1)],
        &[data(0), fin(4)],
        &[data(0), reset(4)],
        &[fin(5), reset(6)],
        &[reset(5), reset(6)],
        &[reset(5), data(1)],
    ];
    for case in cases {
        let (_, mut server) = pair();
        let (last, before) = case.split_last().unwrap();
        for frame in before {
            assert_eq!(refused(&mut server, frame.clone()), None, "{case:?}");
        }
        assert_eq!(refused(&mut server, last.clone()), Some(ErrorCode::FINAL_SIZE_ERROR), "{case:?}");
    }
}

/// attacks D7.
#[test]
fn other_bytes_at_the_same_offset_are_ignored() {
    let (_, mut server) = pair();
    server.stream(StreamId(0), 3, b"DEF", Fin::No).unwrap();
    server.stream(StreamId(0), 0, b"abcdefghi", Fin::Yes).unwrap();
    assert_eq!(server.read_all(StreamId(0)), (b"abcDEFghi".to_vec(), ReadError::Finished));
}

/// attacks D1, L6.
#[test]
fn bytes_at_every_second_offset_close_the_connection() {
    let (_, mut server) = pair();
    let error = (0_u64..).find_map(|i| {
        let frame = StreamFrame { stream: StreamId(0), offset: 2 * i + 1, fin: false, data: b"x" };
        server.on_frame(Frame::Stream(frame)).err()
    });
    assert_eq!(error, Some(TransportError::internal("gaps")));
    assert!(server.streams.statistics().gaps <= limits::STREAM_GAPS + 2);
}

/// attacks D1, L6: spread over streams, none of which is over its own bound.
#[test]
fn the_gaps_of_all_streams_together_are_bounded() {
    let (_, mut server) = pair();
    let error = (0_u64..).find_map(|i| {
        let (stream, offset) = (StreamId((i % 100) * 4), 2 * (i / 100) + 1);
        server.on_frame(Frame::Stream(StreamFrame { stream, offset, fin: false, data: b"x" })).err()
    });
    assert_eq!(error, Some(TransportError::internal("gaps")));
    let statistics = server.streams.statistics();
    assert_eq!(statistics.gaps as u64, limits::CONNECTION_GAPS as u64 + statistics.held / limits::BYTES_PER_GAP + 1);
}

/// attacks D1, the honest twin: an overflowing socket buffer at full speed.
#[test]
fn every_second_packet_of_a_full_window_lost_never_closes_the_connection() {
    let (mut client, mut server) = pair_of(|config| {
        config.stream_window = 4 * 1_024 * 1_024;
        config.connection_window = 4 * 1_024 * 1_024;
        config.send_buffer = 8 * 1_024 * 1_024;
    });
    let id = client.streams.open(BIDI).unwrap();
    let total = 4 * 1_024 * 1_024;
    assert_eq!(client.streams.write(id, &bytes_of(0..total)), Ok(total as usize));
    let packets: Vec<Packet> = std::iter::from_fn(|| client.packet()).collect();
    for (at, packet) in packets.iter().enumerate() {
        if at % 2 == 1 {
            server.receive(packet).unwrap();
            client.acked(packet);
        }
    }
    assert!(server.streams.statistics().gaps > 1_500);
    packets.iter().step_by(2).for_each(|packet| client.lost(packet));
    settle(&mut client, &mut server);
    assert_eq!(server.read_all(id).0, bytes_of(0..total));
    assert_eq!(server.streams.statistics().gaps, 0);
}

/// attacks D2: the order of fragments does not make them dear.
#[test]
fn a_hundred_thousand_fragments_in_the_worst_order_are_taken_in() {
    for order in ["forward", "backward", "inside out", "twice"] {
        let (_, mut server) = pair_of(|config| {
            config.stream_window = 4 * 1_024 * 1_024;
            config.connection_window = config.stream_window;
        });
        let count = 100_000_u64;
        for i in 0..count {
            let at = match order {
                "forward" => i,
                "backward" => count - 1 - i,
                "inside out" if i % 2 == 0 => count / 2 + i / 2,
                "inside out" => count / 2 - 1 - i / 2,
                _ => i / 2,
            };
            server.stream(StreamId(0), at * 40, &[7; 40], Fin::No).unwrap();
        }
        let expected = if order == "twice" { count / 2 } else { count } * 40;
        assert_eq!(server.streams.readable(StreamId(0)) as u64, expected, "{order}");
    }
}

/// attacks D13.
#[test]
fn a_thousand_empty_frames_in_a_row_are_borne_and_no_more() {
    let empty = |offset| Frame::Stream(StreamFrame { stream: StreamId(0), offset, fin: false, data: b"" });
    let (_, mut server) = pair();
    for _ in 0..=limits::USELESS_STREAM_FRAMES {
        assert_eq!(refused(&mut server, empty(0)), None, "the first one opens the stream");
    }
    assert_eq!(refused(&mut server, empty(0)), Some(ErrorCode::PROTOCOL_VIOLATION));
    let (_, mut server) = pair();
    for round in 0..5_u64 {
        for _ in 0..limits::USELESS_STREAM_FRAMES {
            assert_eq!(refused(&mut server, empty(0)), None);
        }
        server.stream(StreamId(0), round, b"x", Fin::No).unwrap();
    }
    for offset in 5..5_000 {
        assert_eq!(refused(&mut server, empty(offset + 1)), None, "an offset that advances is of use");
    }
}

/// attacks D11.
#[test]
fn the_highest_stream_first_opens_all_below() {
    let (_, mut server) = pair();
    server.stream(id(Role::Client, BIDI, 99), 0, b"x", Fin::No).unwrap();
    assert_eq!(server.streams.open_count(), 1, "the others exist by their number alone");
    let opened: Vec<StreamEvent> = (0..100).map(|index| StreamEvent::Opened(id(Role::Client, BIDI, index))).collect();
    let events = server.events();
    assert_eq!(events[..100], opened);
    assert_eq!(events[100..], [StreamEvent::Readable(id(Role::Client, BIDI, 99))]);
    assert_eq!(server.streams.accept(BIDI), Some(id(Role::Client, BIDI, 0)));
    assert_eq!(server.read_all(id(Role::Client, BIDI, 7)).1, ReadError::Blocked);
    assert_eq!(server.streams.write(id(Role::Client, BIDI, 8), b"hello"), Ok(5));
    assert_eq!(server.streams.write(id(Role::Client, BIDI, 100), b"hello"), Err(WriteError::Closed));
}
