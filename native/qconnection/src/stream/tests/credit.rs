//! Flow control and stream counts, to the byte (RFC 9000 §4).

use super::*;

const ZEROS: [u8; 4_096] = [0; 4_096];

fn id(index: u64) -> StreamId {
    StreamId::new(Role::Client, BIDI, index)
}

/// Fills a stream up to `end` with frames of whatever length is needed.
fn fill(end: &mut End, id: StreamId, to: u64) -> Result<(), ErrorCode> {
    let mut offset = 0;
    while offset < to {
        let len = (to - offset).min(ZEROS.len() as u64);
        end.stream(id, offset, &ZEROS[..len as usize], Fin::No)?;
        offset += len;
    }
    Ok(())
}

/// attacks D5.
#[test]
fn the_stream_window_is_exact() {
    let (_, mut server) = pair();
    let window = server.streams.config.stream_window;
    assert_eq!(fill(&mut server, id(0), window), Ok(()));
    assert_eq!(server.stream(id(0), window, &[], Fin::Yes), Ok(()), "an end costs nothing");
    let (_, mut server) = pair();
    assert_eq!(server.stream(id(0), window, b"x", Fin::No), Err(ErrorCode::FLOW_CONTROL_ERROR));
    let (_, mut server) = pair();
    assert_eq!(server.stream(id(0), window + 1, &[], Fin::No), Err(ErrorCode::FLOW_CONTROL_ERROR), "an offset counts too");
}

/// attacks D5: many streams under their own windows.
#[test]
fn the_connection_window_is_exact_over_many_streams() {
    let (_, mut server) = pair();
    let share = server.streams.config.connection_window / 64;
    for index in 0..64 {
        assert_eq!(server.stream(id(index), share - 1, b"x", Fin::No), Ok(()), "one byte at the far end counts for all");
    }
    assert_eq!(server.stream(id(64), 0, b"x", Fin::No), Err(ErrorCode::FLOW_CONTROL_ERROR));
    assert_eq!(server.stream(id(0), 0, &ZEROS[..100], Fin::No), Ok(()), "bytes below the furthest cost nothing");
}

/// attacks D5: by final sizes.
#[test]
fn final_sizes_of_resets_are_charged_exactly() {
    let reset = |server: &mut End, index: u64, final_size: u64| {
        let frame = frame::ResetStream { stream: id(index), code: 0, final_size };
        server.on_frame(Frame::ResetStream(frame)).map_err(|error| error.code)
    };
    let (_, mut server) = pair();
    let window = server.streams.config.stream_window;
    assert_eq!(reset(&mut server, 0, window), Ok(()));
    assert_eq!(reset(&mut server, 1, window + 1), Err(ErrorCode::FLOW_CONTROL_ERROR));
    // The credit of a reset stream goes back but the peer has not been told: the limit still stands.
    let (_, mut server) = pair_of(|config| config.connection_window = config.stream_window * 2 - 1);
    assert_eq!((reset(&mut server, 0, window), reset(&mut server, 1, window - 1)), (Ok(()), Ok(())));
    assert_eq!(reset(&mut server, 2, 1), Err(ErrorCode::FLOW_CONTROL_ERROR));
}

#[test]
fn a_sender_stops_at_the_stream_limit_and_says_so_once() {
    let (mut client, mut server) = pair();
    let window = client.streams.config.stream_window;
    let id = client.streams.open(BIDI).unwrap();
    client.streams.write(id, &vec![1; 200_000]).unwrap();
    let blocked = |packets: &[Packet]| {
        packets.iter().flat_map(frames).filter(|frame| matches!(frame, Frame::StreamDataBlocked(_))).count()
    };
    let packets: Vec<Packet> = std::iter::from_fn(|| client.packet()).collect();
    packets.iter().for_each(|packet| server.receive(packet).unwrap());
    assert_eq!((server.streams.readable(id) as u64, blocked(&packets)), (window, 1), "mux R23");
    assert!(client.streams.blocked_by_credit() && !client.streams.has_data() && !client.streams.has_control());
    assert_eq!(server.read_all(id).0.len() as u64, window);
    deliver(&mut server, &mut client);
    assert!(client.streams.has_data() && !client.streams.blocked_by_credit());
    let packets: Vec<Packet> = std::iter::from_fn(|| client.packet()).collect();
    assert_eq!(blocked(&packets), 1, "the next limit, told once");
}

#[test]
fn a_sender_stops_at_the_connection_limit_and_says_so_once() {
    let (mut client, mut server) = pair();
    let ids: Vec<StreamId> = (0..8).map(|_| client.streams.open(BIDI).unwrap()).collect();
    for id in &ids {
        client.streams.write(*id, &vec![1; 60_000]).unwrap();
    }
    settle(&mut client, &mut server);
    let window = server.streams.config.connection_window;
    assert_eq!(server.streams.statistics().held, window);
    assert_eq!(server.streams.statistics().blocked_received, 1);
    assert!(client.streams.blocked_by_credit() && !client.streams.has_data());
    for id in &ids {
        server.read_all(*id);
    }
    settle(&mut client, &mut server);
    assert_eq!(client.streams.queued_bytes(), 0);
}

/// mux R21.
#[test]
fn limits_rise_by_a_quarter_of_a_window_at_a_time() {
    let (mut client, mut server) = pair();
    let id = client.streams.open(BIDI).unwrap();
    let total = 4_u64 * 1_024 * 1_024;
    let (mut written, mut read) = (0, 0);
    let (mut stream_updates, mut connection_updates) = (0, 0);
    while read < total {
        written += client.streams.write(id, &vec![0; (total - written).min(65_536) as usize]).unwrap() as u64;
        deliver(&mut client, &mut server);
        read += server.read_all(id).0.len() as u64;
        while let Some(packet) = server.packet() {
            for frame in frames(&packet) {
                stream_updates += u64::from(matches!(frame, Frame::MaxStreamData(_)));
                connection_updates += u64::from(matches!(frame, Frame::MaxData(_)));
            }
            client.receive(&packet).unwrap();
        }
    }
    assert!(stream_updates <= total / (server.streams.config.stream_window / 4), "{stream_updates}");
    assert!(connection_updates <= total / (server.streams.config.connection_window / 4), "{connection_updates}");
}

#[test]
fn a_lost_limit_is_told_again() {
    let (mut client, mut server) = pair();
    let id = client.streams.open(BIDI).unwrap();
    client.streams.write(id, &vec![1; 200_000]).unwrap();
    deliver(&mut client, &mut server);
    server.read_all(id);
    let update = server.packet().unwrap();
    assert!(server.packet().is_none());
    server.lost(&update);
    assert!(server.streams.has_control());
    assert_eq!(frames(&server.packet().unwrap()), frames(&update));
}

#[test]
fn no_stream_limit_is_sent_once_the_end_is_known() {
    let (mut client, mut server) = pair();
    let id = client.streams.open(UNI).unwrap();
    client.streams.write(id, &vec![1; 60_000]).unwrap();
    client.streams.finish(id).unwrap();
    deliver(&mut client, &mut server);
    server.read_all(id);
    while let Some(packet) = server.packet() {
        assert!(frames(&packet).iter().all(|frame| !matches!(frame, Frame::MaxStreamData(_))));
    }
}

#[test]
fn limits_of_the_handshake_reach_streams_that_were_opened_before() {
    let (mut client, _) = pair();
    let mut remembered = parameters(&config(Role::Server));
    remembered.initial_max_data = 10;
    remembered.initial_max_stream_data_bidi_remote = 10;
    client.streams = Streams::new(config(Role::Client));
    assert_eq!(client.streams.open(BIDI), None, "nothing is known of the peer");
    client.streams.on_peer_parameters(&remembered);
    assert_eq!(client.events(), [StreamEvent::Available(BIDI)]);
    let id = client.streams.open(BIDI).unwrap();
    client.streams.write(id, &[0; 100]).unwrap();
    client.packet().unwrap();
    assert!(!client.streams.has_data());
    client.streams.on_peer_parameters(&parameters(&config(Role::Server)));
    assert!(client.streams.has_data());
}

#[test]
fn the_limit_of_streams_is_kept_told_once_and_raised() {
    let (mut client, mut server) = pair_of(|config| config.bidirectional = 2);
    let ids = [client.streams.open(BIDI).unwrap(), client.streams.open(BIDI).unwrap()];
    assert_eq!((client.streams.open(BIDI), client.streams.open(BIDI)), (None, None));
    let packet = client.packet().unwrap();
    assert_eq!(frames(&packet), [Frame::StreamsBlocked(frame::StreamsBlocked { direction: BIDI, limit: 2 })]);
    server.receive(&packet).unwrap();
    for id in ids {
        client.streams.finish(id).unwrap();
        settle(&mut client, &mut server);
        server.streams.finish(id).unwrap();
        assert_eq!(server.read_all(id).1, ReadError::Finished);
        settle(&mut client, &mut server);
        assert_eq!(client.read_all(id).1, ReadError::Finished);
    }
    assert!(client.events().contains(&StreamEvent::Available(BIDI)));
    assert!(client.streams.open(BIDI).is_some());
}

/// attacks D15, L7.
#[test]
fn streams_nobody_reads_hold_no_more_than_their_windows_and_closing_frees_all() {
    let (mut client, mut server) = pair();
    for _ in 0..100 {
        let id = client.streams.open(BIDI).unwrap();
        client.streams.write(id, &vec![1; 100_000]).unwrap();
    }
    settle(&mut client, &mut server);
    let held = server.pool.used() as u64 * qrecovery::buffer::BLOCK_LEN as u64;
    assert_eq!(server.streams.statistics().held, server.streams.config.connection_window);
    assert!(held <= 2 * server.streams.config.connection_window + 100 * qrecovery::buffer::BLOCK_LEN as u64);
    server.streams.close_all(&mut server.pool);
    assert_eq!((server.pool.used(), server.streams.open_count(), server.events().len()), (0, 0, 0));
    assert_eq!(server.streams.open(BIDI), None);
}

/// Shows 9000-4.4-1.
#[test]
fn a_reset_of_one_way_leaves_the_credit_of_the_other() {
    let (mut client, mut server) = pair();
    let id = client.streams.open(BIDI).unwrap();
    client.streams.write(id, b"a question").unwrap();
    settle(&mut client, &mut server);
    client.streams.reset(id, 1).unwrap();
    settle(&mut client, &mut server);
    let window = client.streams.config.stream_window;
    let total = 3 * window;
    let (mut written, mut read) = (0, 0);
    while read < total {
        written += server.streams.write(id, &vec![0; (total - written).min(65_536) as usize]).unwrap() as u64;
        deliver(&mut server, &mut client);
        assert!(client.streams.readable(id) as u64 <= window);
        read += client.read_all(id).0.len() as u64;
        deliver(&mut client, &mut server);
    }
    assert_eq!(client.stream(id, total + window, b"x", Fin::No), Err(ErrorCode::FLOW_CONTROL_ERROR));
}

/// mux R24: a stream that nobody reads takes of the connection's credit what its own window holds, and others go on; when
/// such streams have all of it, the connection says that it is not read.
#[test]
fn streams_that_nobody_reads_hold_their_own_windows_and_no_more() {
    let (mut client, mut server) = pair();
    let (stream, connection) = (server.streams.config.stream_window, server.streams.config.connection_window);
    let slow: Vec<StreamId> = (1..connection / stream).map(|_| client.streams.open(UNI).unwrap()).collect();
    for id in &slow {
        client.streams.write(*id, &vec![1; 2 * stream as usize]).unwrap();
    }
    settle(&mut client, &mut server);
    assert_eq!(server.streams.statistics().held, slow.len() as u64 * stream);
    assert!(server.streams.is_unread() && client.streams.waits_for_stream_credit());
    let quick = client.streams.open(UNI).unwrap();
    let (mut written, mut read) = (0, 0);
    while read < 20 * connection {
        written += client.streams.write(quick, &bytes_of(written..written + 10_000)).unwrap() as u64;
        settle(&mut client, &mut server);
        let bytes = server.read_all(quick).0;
        assert!(!bytes.is_empty(), "held up by the slow ones after {read} bytes");
        assert_eq!(bytes, bytes_of(read..read + bytes.len() as u64));
        read += bytes.len() as u64;
    }
    // The last part of the credit goes to one that is not read either.
    client.streams.write(quick, &vec![1; 2 * stream as usize]).unwrap();
    settle(&mut client, &mut server);
    assert!(client.streams.waits_for_connection_credit() || client.streams.waits_for_stream_credit());
    for _ in 0..4 {
        for id in slow.iter().chain([&quick]) {
            server.read_all(*id);
        }
        settle(&mut client, &mut server);
    }
    assert_eq!((server.streams.statistics().held, server.streams.is_unread(), client.streams.blocked_by_credit()), (0, false, false));
}
