//! Streams by the thousand: what they cost and what they leave (mux R16, R42, R43; attacks D10, L16, L17).

use super::*;

/// One small request and its answer, to the end of both.
fn exchange(client: &mut End, server: &mut End) -> StreamId {
    let id = client.streams.open(BIDI).unwrap();
    client.streams.write(id, b"request").unwrap();
    client.streams.finish(id).unwrap();
    deliver(client, server);
    assert_eq!(server.read_all(id), (b"request".to_vec(), ReadError::Finished));
    server.streams.write(id, b"answer").unwrap();
    server.streams.finish(id).unwrap();
    deliver(server, client);
    assert_eq!(client.read_all(id), (b"answer".to_vec(), ReadError::Finished));
    id
}

/// mux R42, R16; attacks L16. A million streams with `QB_LONG=1`.
#[test]
fn streams_one_after_another_leave_nothing() {
    let (mut client, mut server) = pair();
    let count = if std::env::var_os("QB_LONG").is_some() { 1_000_000 } else { 20_000 };
    for _ in 0..count {
        let id = exchange(&mut client, &mut server);
        assert_eq!((client.streams.summary(id), server.streams.summary(id)), (None, None));
        client.events();
        server.events();
    }
    for end in [&client, &server] {
        let statistics = end.streams.statistics();
        assert_eq!((statistics.open, statistics.events, statistics.held, end.pool.used()), (0, 0, 0, 0));
        assert!(statistics.closed_ranges <= 1);
        assert_eq!(statistics.closed, count);
        assert!(end.streams.control.len() + end.streams.schedule.tickets() + end.streams.room.len() < 100);
    }
}

/// mux R42: late frames of closed streams.
#[test]
fn late_frames_for_closed_streams_are_ignored() {
    let (mut client, mut server) = pair();
    let id = exchange(&mut client, &mut server);
    assert_eq!(server.stream(id, 0, b"request", Fin::Yes), Ok(()));
    for end in [&mut client, &mut server] {
        end.events();
        for frame in [
            Frame::ResetStream(frame::ResetStream { stream: id, code: 0, final_size: 7 }),
            Frame::StopSending(frame::StopSending { stream: id, code: 0 }),
            Frame::MaxStreamData(frame::MaxStreamData { stream: id, maximum: 1_000_000 }),
            Frame::StreamDataBlocked(frame::StreamDataBlocked { stream: id, limit: 1 }),
        ] {
            end.on_frame(frame).unwrap();
        }
        assert_eq!((end.streams.open_count(), end.events().len()), (0, 0));
        assert_eq!(end.streams.write(id, b"x"), Err(WriteError::Closed));
        assert_eq!(end.streams.read(id, &mut [0; 1], &mut end.pool), Err(ReadError::Closed));
        assert_eq!(end.streams.reset(id, 1), Err(StreamError::Closed));
    }
}

/// mux R43.
#[test]
fn a_place_is_given_back_only_when_the_application_knows_the_end() {
    let (mut client, mut server) = pair_of(|config| config.unidirectional = 1);
    let id = client.streams.open(UNI).unwrap();
    client.streams.write(id, b"hello").unwrap();
    client.streams.finish(id).unwrap();
    settle(&mut client, &mut server);
    assert_eq!(client.streams.open_count(), 0, "our side is done");
    assert!(!server.streams.has_control());
    server.streams.read(id, &mut [0; 5], &mut server.pool).unwrap();
    assert!(!server.streams.has_control(), "the end is not read");
    assert_eq!(server.read_all(id).1, ReadError::Finished);
    assert!(server.streams.has_control());
    settle(&mut client, &mut server);
    assert!(client.streams.open(UNI).is_some());
}

/// attacks D10, L17.
#[test]
fn rapid_resets_get_no_place_before_the_application_has_seen_them() {
    let (_, mut server) = pair();
    let reset = |server: &mut End, index| {
        let stream = StreamId::new(Role::Client, UNI, index);
        let frame = frame::ResetStream { stream, code: 1, final_size: 0 };
        server.on_frame(Frame::ResetStream(frame)).map_err(|error| error.code)
    };
    for index in 0..100 {
        reset(&mut server, index).unwrap();
        reset(&mut server, index).unwrap();
    }
    assert_eq!(reset(&mut server, 100), Err(ErrorCode::STREAM_LIMIT_ERROR));
    assert!(!server.streams.has_control(), "nothing is given before the application took the events");
    assert_eq!(server.streams.statistics().events, 100, "one event a stream; openings are only counted");
    assert_eq!(server.events().len(), 200);
    assert_eq!((server.streams.open_count(), server.streams.statistics().closed_ranges), (0, 1));
    let packet = server.packet().unwrap();
    assert_eq!(frames(&packet), [Frame::MaxStreams(frame::MaxStreams { direction: UNI, maximum: 200 })]);
    for index in 100..200 {
        assert_eq!(reset(&mut server, index), Ok(()));
    }
    assert_eq!(reset(&mut server, 200), Err(ErrorCode::STREAM_LIMIT_ERROR), "twice the limit in one round trip at most");
}

/// attacks D10: open, reset and stop; answers are owed and held back by a peer without credit.
#[test]
fn queues_do_not_grow_with_streams_that_are_gone() {
    let (_, mut server) = pair_of(|config| config.connection_window = 0);
    // One stream waits for credit for ever, so the queues are never empty.
    server.stream(StreamId(0), 0, b"", Fin::Yes).unwrap();
    server.streams.write(StreamId(0), b"answer").unwrap();
    for index in 1..20_000 {
        let id = StreamId::new(Role::Client, BIDI, index);
        server.on_frame(Frame::Stream(frame::Stream { stream: id, offset: 0, fin: true, data: b"" })).unwrap();
        assert_eq!(server.read_all(id).1, ReadError::Finished);
        server.streams.write(id, b"answer").unwrap();
        server.on_frame(Frame::StopSending(frame::StopSending { stream: id, code: 0 })).unwrap();
        let packet = server.packet().unwrap();
        server.acked(&packet);
        server.events();
    }
    assert_eq!(server.streams.open_count(), 1);
    assert!(server.streams.schedule.tickets() < 100, "{}", server.streams.schedule.tickets());
    assert!(server.streams.control.len() < 100);
}

#[test]
fn ten_thousand_streams_at_once_all_end() {
    let (mut client, mut server) = pair_of(|config| {
        config.bidirectional = 10_000;
        config.connection_window = 4 * 1_024 * 1_024;
    });
    let ids: Vec<StreamId> = (0..10_000).map(|_| client.streams.open(BIDI).unwrap()).collect();
    for id in &ids {
        client.streams.write(*id, &[5; 100]).unwrap();
        client.streams.finish(*id).unwrap();
    }
    settle(&mut client, &mut server);
    for id in ids.iter().rev() {
        assert_eq!(server.read_all(*id), (vec![5; 100], ReadError::Finished));
        server.streams.finish(*id).unwrap();
    }
    settle(&mut client, &mut server);
    assert_eq!(client.events().len(), 20_000, "every stream is finished and readable");
    for id in &ids {
        assert_eq!(client.read_all(*id).1, ReadError::Finished);
    }
    assert_eq!((client.streams.open_count(), server.streams.open_count(), server.pool.used()), (0, 0, 0));
}

/// attacks L15.
#[test]
fn owed_frames_do_not_pile_up() {
    let (mut client, mut server) = pair();
    let id = client.streams.open(BIDI).unwrap();
    client.streams.write(id, &[0; 1_000]).unwrap();
    deliver(&mut client, &mut server);
    for code in 0..10_000 {
        client.streams.reset(id, code).unwrap();
        client.streams.stop(id, code, &mut client.pool).unwrap();
        client.streams.open(UNI);
    }
    let packets: Vec<Packet> = std::iter::from_fn(|| client.packet()).collect();
    assert_eq!(packets.len(), 1);
    assert_eq!(frames(&packets[0]).len(), 3, "one reset, one stop, one STREAMS_BLOCKED");
}

/// Shows 9000-2.1-1.
#[test]
fn no_stream_id_is_given_twice() {
    let (mut client, mut server) = pair();
    let mut given = std::collections::BTreeSet::new();
    for round in 0..1_000 {
        assert!(given.insert(exchange(&mut client, &mut server)), "round {round}");
        let other = client.streams.open(UNI).unwrap();
        assert!(given.insert(other), "round {round}: {other:?}");
        client.streams.reset(other, 1).unwrap();
        settle(&mut client, &mut server);
        server.events();
        client.events();
    }
}
