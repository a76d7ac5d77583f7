//! Streams whose bytes are taken in any order.

use super::*;

fn take(end: &mut End, id: StreamId) -> Result<(u64, usize), ReadError> {
    end.streams.read_unordered(id, &mut [0; 5_000], &mut end.pool)
}

fn peer_stream() -> StreamId {
    StreamId::new(Role::Client, UNI, 0)
}

#[test]
fn bytes_behind_a_hole_are_read_and_the_end_comes_when_all_was_taken() {
    let (_, mut server) = pair();
    let id = peer_stream();
    server.stream(id, 2_000, &[2; 1_000], Fin::Yes).unwrap();
    assert_eq!(server.events(), [StreamEvent::Opened(id)], "in order there is nothing to read");
    assert_eq!(take(&mut server, id), Ok((2_000, 1_000)));
    assert_eq!(take(&mut server, id), Err(ReadError::Blocked));
    server.stream(id, 1_000, &[1; 1_500], Fin::No).unwrap();
    assert_eq!(server.events(), [StreamEvent::Readable(id)], "from then on every byte is news");
    assert_eq!(take(&mut server, id), Ok((1_000, 1_000)));
    server.stream(id, 0, &[0; 1_000], Fin::No).unwrap();
    assert_eq!(take(&mut server, id), Ok((0, 1_000)));
    assert_eq!(take(&mut server, id), Err(ReadError::Finished));
    assert_eq!((server.streams.open_count(), server.pool.used()), (0, 0));
}

#[test]
fn once_unordered_a_stream_stays_unordered() {
    let (_, mut server) = pair();
    let id = peer_stream();
    server.stream(id, 0, b"abc", Fin::No).unwrap();
    assert_eq!(server.streams.read(id, &mut [0; 1], &mut server.pool), Ok(1), "a stream may begin in order");
    assert_eq!(take(&mut server, id), Ok((1, 2)));
    server.stream(id, 3, b"de", Fin::No).unwrap();
    assert_eq!(server.streams.read(id, &mut [0; 9], &mut server.pool), Err(ReadError::Unordered));
    assert_eq!(server.streams.peek(id), Err(ReadError::Unordered));
    server.streams.consume(id, 1, &mut server.pool);
    assert_eq!(take(&mut server, id), Ok((3, 2)));
}

#[test]
fn bytes_taken_out_of_order_are_credited_once_and_no_more_than_came() {
    let (_, mut server) = pair();
    let id = peer_stream();
    let window = server.streams.config.stream_window;
    let half = window / 2;
    for offset in (half..window).step_by(1_024) {
        server.stream(id, offset, &[1; 1_024], Fin::No).unwrap();
        take(&mut server, id).unwrap();
    }
    assert_eq!(server.streams.statistics().held, 0);
    let mut limits = Vec::new();
    while let Some(packet) = server.packet() {
        limits.extend(frames(&packet).iter().filter_map(|frame| if let Frame::MaxStreamData(max) = frame { Some(max.maximum) } else { None }));
    }
    assert_eq!(limits, [half + window], "the hole is not credited");
    assert_eq!(server.stream(id, half + window, b"x", Fin::No), Err(ErrorCode::FLOW_CONTROL_ERROR));
}

#[test]
fn a_reset_of_an_unordered_stream_drops_and_tells_as_any_other() {
    let (_, mut server) = pair();
    let id = peer_stream();
    server.stream(id, 1_000, &[1; 3_000], Fin::No).unwrap();
    assert_eq!(server.streams.read_unordered(id, &mut [0; 100], &mut server.pool), Ok((1_000, 100)));
    server.on_frame(Frame::ResetStream(frame::ResetStream { stream: id, code: 9, final_size: 5_000 })).unwrap();
    assert_eq!((server.streams.statistics().held, server.pool.used()), (0, 0));
    assert_eq!(take(&mut server, id), Err(ReadError::Reset(9)));
}

#[test]
fn the_next_stream_in_the_place_of_an_unordered_one_is_read_in_order() {
    let (_, mut server) = pair();
    for index in 0..200 {
        let id = StreamId::new(Role::Client, UNI, index);
        server.stream(id, 0, b"abc", Fin::Yes).unwrap();
        if index % 2 == 0 {
            assert_eq!(take(&mut server, id), Ok((0, 3)));
            assert_eq!(take(&mut server, id), Err(ReadError::Finished));
        } else {
            assert_eq!(server.read_all(id), (b"abc".to_vec(), ReadError::Finished));
        }
        while server.packet().is_some() {}
    }
    assert_eq!((server.streams.open_count(), server.pool.used()), (0, 0));
}
