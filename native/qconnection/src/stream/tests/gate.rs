//! Who asks, and what waits at the gate (mux R50 to R52; reverse V2, V20 to V23).

use super::*;

const WRONG_WAY: u64 = 5;

/// A client and a server whose protocol has parts.
fn polarised() -> (End, End) {
    let (mut client, mut server) = pair();
    client.streams.polarise(WRONG_WAY);
    server.streams.polarise(WRONG_WAY);
    (client, server)
}

/// Both reversed, the client's gate still shut.
fn reversed() -> (End, End) {
    let (mut client, mut server) = polarised();
    client.streams.reverse().unwrap();
    server.streams.reverse().unwrap();
    (client, server)
}

fn of_server(direction: Direction, index: u64) -> StreamId {
    StreamId::new(Role::Server, direction, index)
}

fn of_client(direction: Direction, index: u64) -> StreamId {
    StreamId::new(Role::Client, direction, index)
}

/// mux R50; reverse V2.
#[test]
fn the_client_asks_until_the_one_reversal_and_roles_stay() {
    let (ordinary, _) = pair();
    assert_eq!((ordinary.streams.requester(), ordinary.streams.is_polarised()), (Requester::Local, false));
    let (mut client, mut server) = polarised();
    assert_eq!((client.streams.requester(), server.streams.requester()), (Requester::Local, Requester::Peer));
    for end in [&mut client, &mut server] {
        assert_eq!(end.streams.reverse(), Ok(()));
        assert_eq!(end.streams.reverse(), Err(ReverseError::Again));
    }
    assert_eq!((client.streams.requester(), server.streams.requester()), (Requester::Peer, Requester::Local));
    assert_eq!(server.streams.open(BIDI), Some(of_server(BIDI, 0)), "ids follow the role");
}

/// mux R50.
#[test]
fn an_ordinary_connection_is_not_reversed_and_has_no_gate() {
    let (mut client, mut server) = pair();
    assert_eq!(client.streams.reverse(), Err(ReverseError::Ordinary));
    server.streams.open(BIDI).unwrap();
    server.streams.write(of_server(BIDI, 0), b"at once").unwrap();
    settle(&mut client, &mut server);
    assert_eq!(client.events(), [StreamEvent::Opened(of_server(BIDI, 0)), StreamEvent::Readable(of_server(BIDI, 0))]);
}

/// reverse V1, V2.
#[test]
fn the_end_that_does_not_ask_opens_nothing() {
    let (mut client, mut server) = polarised();
    assert_eq!((server.streams.open(BIDI), server.streams.open(UNI)), (None, None));
    assert!(client.streams.open(BIDI).is_some());
    let (mut client, mut server) = reversed();
    assert_eq!((client.streams.open(BIDI), client.streams.open(UNI)), (None, None));
    assert!(server.streams.open(UNI).is_some());
    assert!(!client.streams.has_control(), "nobody is told that we are blocked");
}

/// reverse V20, V22, V23.
#[test]
fn streams_wait_at_the_gate_and_come_out_in_order_of_id_with_all_their_bytes() {
    let (mut client, mut server) = reversed();
    let ids: Vec<StreamId> = (0..5).map(|_| server.streams.open(BIDI).unwrap()).collect();
    let one_way = server.streams.open(UNI).unwrap();
    for id in ids.iter().rev().chain([&one_way]) {
        server.streams.write(*id, &bytes_of(0..3_000 + id.0)).unwrap();
        server.streams.finish(*id).unwrap();
    }
    settle(&mut client, &mut server);
    assert!(!client.streams.has_event() && client.events().is_empty());
    assert_eq!((client.streams.accept(BIDI), client.streams.statistics().at_gate), (None, 6));
    assert_eq!(client.read_all(ids[0]), (Vec::new(), ReadError::Closed), "not even by its number");
    assert_eq!(client.streams.stop(ids[0], 1, &mut client.pool), Err(StreamError::Closed));
    assert_eq!(client.streams.statistics().held, (0..5).map(|i| 3_000 + of_server(BIDI, i).0).sum::<u64>() + 3_000 + one_way.0);
    client.streams.open_gate();
    let all: Vec<StreamId> = ids.iter().copied().chain([one_way]).collect();
    let expected: Vec<StreamEvent> = all.iter().map(|id| StreamEvent::Opened(*id)).chain(all.iter().map(|id| StreamEvent::Readable(*id))).collect();
    assert_eq!(client.events(), expected);
    for id in all {
        assert_eq!(client.read_all(id), (bytes_of(0..3_000 + id.0), ReadError::Finished), "{id:?}");
    }
    assert_eq!(client.streams.statistics().at_gate, 0);
    client.streams.open_gate();
    assert!(client.events().is_empty(), "opened once");
}

/// reverse V20.
#[test]
fn streams_of_our_own_go_on_while_the_gate_is_shut() {
    let (mut client, mut server) = polarised();
    let control = client.streams.open(BIDI).unwrap();
    client.streams.write(control, b"hello").unwrap();
    settle(&mut client, &mut server);
    server.streams.write(control, b"welcome").unwrap();
    server.streams.reverse().unwrap();
    let asked = server.streams.open(BIDI).unwrap();
    server.streams.write(asked, b"request").unwrap();
    settle(&mut client, &mut server);
    assert_eq!(client.events(), [StreamEvent::Readable(control)]);
    assert_eq!(client.read_all(control), (b"welcome".to_vec(), ReadError::Blocked));
}

/// reverse V20, V23.
#[test]
fn resets_and_stops_before_the_gate_are_told_behind_it() {
    let (mut client, mut server) = reversed();
    let ids: Vec<StreamId> = (0..4).map(|_| server.streams.open(BIDI).unwrap()).collect();
    for id in &ids {
        server.streams.write(*id, b"request").unwrap();
    }
    settle(&mut client, &mut server);
    server.streams.reset(ids[1], 11).unwrap();
    server.streams.stop(ids[2], 12, &mut server.pool).unwrap();
    server.streams.reset(ids[3], 13).unwrap();
    server.streams.stop(ids[3], 14, &mut server.pool).unwrap();
    settle(&mut client, &mut server);
    assert!(client.events().is_empty());
    assert_eq!(client.streams.open_count(), 4, "a stream stays until the application knows of its end (mux R43)");
    client.streams.open_gate();
    let opened = ids.iter().map(|id| StreamEvent::Opened(*id));
    let rest = [
        StreamEvent::Readable(ids[0]),
        StreamEvent::Reset { id: ids[1], code: 11 },
        StreamEvent::Readable(ids[2]),
        StreamEvent::Stopped { id: ids[2], code: 12 },
        StreamEvent::Reset { id: ids[3], code: 13 },
        StreamEvent::Stopped { id: ids[3], code: 14 },
    ];
    assert_eq!(client.events(), opened.chain(rest).collect::<Vec<_>>());
    assert_eq!(client.read_all(ids[2]).0, b"request");
    settle(&mut client, &mut server);
    assert_eq!(client.streams.open_count(), 3, "the one that ended both ways has gone");
}

/// attacks H7. reverse V22: no queue beside it.
#[test]
fn attack_h7_the_gate_holds_what_was_granted_and_one_more_closes_the_connection() {
    let mut client = config(Role::Client);
    (client.bidirectional, client.unidirectional) = (3, 2);
    let mut client = End::new(client, &config(Role::Server));
    client.streams.polarise(WRONG_WAY);
    for index in 0..3 {
        client.stream(of_server(BIDI, index), 0, &[1; 40_000], Fin::No).unwrap();
    }
    client.stream(of_server(UNI, 1), 0, b"", Fin::Yes).unwrap();
    assert_eq!(client.streams.statistics().at_gate, 5);
    assert!(client.streams.statistics().events == 0 && client.events().is_empty());
    assert_eq!(client.stream(of_server(BIDI, 0), 40_000, &[1; 30_000], Fin::No), Err(ErrorCode::FLOW_CONTROL_ERROR));
    assert_eq!(client.stream(of_server(BIDI, 3), 0, b"x", Fin::No), Err(ErrorCode::STREAM_LIMIT_ERROR));
    assert_eq!(client.stream(of_server(UNI, 2), 0, b"x", Fin::No), Err(ErrorCode::STREAM_LIMIT_ERROR));
}

/// attacks H7. reverse V22.
#[test]
fn attack_h7_without_credit_the_first_stream_is_one_too_many_until_some_is_granted() {
    let mut own = config(Role::Client);
    (own.bidirectional, own.unidirectional) = (0, 0);
    let mut client = End::new(own.clone(), &config(Role::Server));
    let mut server = End::new(config(Role::Server), &own);
    client.streams.polarise(WRONG_WAY);
    assert_eq!(client.stream(of_server(BIDI, 0), 0, b"x", Fin::No), Err(ErrorCode::STREAM_LIMIT_ERROR));
    assert_eq!(server.streams.open(BIDI), None);
    client.streams.grant(BIDI, 2);
    client.streams.grant(BIDI, 1);
    let packet = client.packet().unwrap();
    let maximum = frames(&packet).iter().find_map(|frame| match frame {
        Frame::MaxStreams(frame) => Some((frame.direction, frame.maximum)),
        _ => None,
    });
    assert_eq!(maximum, Some((BIDI, 2)), "never lowered");
    server.receive(&packet).unwrap();
    assert!(server.streams.open(BIDI).is_some() && server.streams.open(BIDI).is_some());
    assert_eq!((server.streams.open(BIDI), server.streams.open(UNI)), (None, None));
    client.streams.open_gate();
    for index in 0..2 {
        client.stream(of_server(BIDI, index), 0, b"", Fin::Yes).unwrap();
        assert_eq!(client.read_all(of_server(BIDI, index)).1, ReadError::Finished);
        client.streams.finish(of_server(BIDI, index)).unwrap();
        server.streams.finish(of_server(BIDI, index)).unwrap();
    }
    settle(&mut client, &mut server);
    assert!(server.streams.open(BIDI).is_some(), "places of streams that ended come back");
}

/// mux R51; reverse V2. The other check is `bit_zero_of_an_id_is_checked_against_the_role_whoever_asks`.
#[test]
fn a_stream_of_the_wrong_way_is_stopped_and_reset_and_never_told() {
    let (mut client, mut server) = polarised();
    let control = client.streams.open(BIDI).unwrap();
    client.streams.write(control, b"hello").unwrap();
    settle(&mut client, &mut server);
    server.events();
    server.read_all(control);
    server.streams.reverse().unwrap();
    // The client knows nothing of the reversal.
    let (wrong, one_way) = (client.streams.open(BIDI).unwrap(), client.streams.open(UNI).unwrap());
    client.streams.write(wrong, &[1; 20_000]).unwrap();
    client.streams.write(one_way, &[2; 10_000]).unwrap();
    client.streams.write(control, b"more").unwrap();
    settle(&mut client, &mut server);
    assert_eq!(server.events(), [StreamEvent::Readable(control)]);
    assert_eq!(server.streams.accept(BIDI), Some(control), "it was there before");
    assert_eq!((server.streams.accept(BIDI), server.streams.accept(UNI)), (None, None));
    let told = client.events();
    assert!(told.contains(&StreamEvent::Stopped { id: wrong, code: WRONG_WAY }), "{told:?}");
    assert!(told.contains(&StreamEvent::Reset { id: wrong, code: WRONG_WAY }), "{told:?}");
    assert!(told.contains(&StreamEvent::Stopped { id: one_way, code: WRONG_WAY }), "{told:?}");
    let facts = server.streams.statistics();
    assert_eq!((facts.wrong_way, facts.at_gate, facts.held, facts.open), (2, 0, 4, 1));
    assert_eq!(client.streams.reverse(), Ok(()));
}

/// mux R51.
#[test]
fn a_thousand_streams_of_the_wrong_way_leave_nothing_and_the_connection_lives() {
    let (mut client, mut server) = polarised();
    server.streams.reverse().unwrap();
    for _ in 0..1_000 {
        let id = client.streams.open(BIDI).unwrap();
        client.streams.write(id, &[1; 5_000]).unwrap();
        settle(&mut client, &mut server);
        client.events();
    }
    let facts = server.streams.statistics();
    assert_eq!((facts.wrong_way, facts.open, facts.held, facts.events, facts.closed_ranges), (1_000, 0, 0, 0, 1));
    let asked = server.streams.open(BIDI).unwrap();
    server.streams.write(asked, b"still here").unwrap();
    client.streams.open_gate();
    settle(&mut client, &mut server);
    assert_eq!(client.read_all(asked).0, b"still here");
}

/// mux R51.
#[test]
fn bit_zero_of_an_id_is_checked_against_the_role_whoever_asks() {
    for (mut client, mut server) in [polarised(), reversed()] {
        assert_eq!(server.stream(of_server(BIDI, 7), 0, b"x", Fin::No), Err(ErrorCode::STREAM_STATE_ERROR));
        assert_eq!(client.stream(of_client(BIDI, 7), 0, b"x", Fin::No), Err(ErrorCode::STREAM_STATE_ERROR));
        let wrong = server.stream(of_client(BIDI, 7), 0, b"x", Fin::No);
        assert_eq!(wrong, Ok(()), "the other check is no error of the connection");
    }
}

/// mux R52: one part at each place of its life, the other at each of its.
#[test]
fn neither_part_of_a_stream_at_the_gate_blocks_the_other() {
    let (mut client, mut server) = reversed();
    let id = server.streams.open(BIDI).unwrap();
    server.streams.write(id, b"request").unwrap();
    settle(&mut client, &mut server);
    server.streams.reset(id, 1).unwrap();
    settle(&mut client, &mut server);
    client.streams.open_gate();
    client.events();
    assert_eq!(client.streams.write(id, b"an answer to what was taken back"), Ok(32));
    client.streams.finish(id).unwrap();
    settle(&mut client, &mut server);
    assert_eq!(server.read_all(id), (b"an answer to what was taken back".to_vec(), ReadError::Finished));
    assert_eq!((client.streams.open_count(), server.streams.open_count()), (0, 0));
}

#[test]
fn a_connection_that_ends_with_the_gate_shut_leaves_no_event() {
    let (mut client, mut server) = reversed();
    let id = server.streams.open(BIDI).unwrap();
    server.streams.write(id, b"request").unwrap();
    settle(&mut client, &mut server);
    client.streams.close_all(&mut client.pool);
    assert!(!client.streams.has_event() && client.events().is_empty());
    client.streams.open_gate();
    assert!(client.events().is_empty());
}
