//! Ends that come early: RESET_STREAM, STOP_SENDING, and all orders of their causes (mux R30 to R36).

use super::*;
use qrecovery::stream::SendPhase;

/// A pair with one open bidirectional stream on which both sent and read a few bytes.
fn talking() -> (End, End, StreamId) {
    let (mut client, mut server) = pair();
    let id = client.streams.open(BIDI).unwrap();
    client.streams.write(id, b"ping").unwrap();
    settle(&mut client, &mut server);
    server.read_all(id);
    server.streams.write(id, b"pong").unwrap();
    settle(&mut client, &mut server);
    client.read_all(id);
    client.events();
    server.events();
    (client, server, id)
}

/// RESET_STREAM and STOP_SENDING codes in a list of packets.
fn ends(packets: &[Packet]) -> (Vec<u64>, Vec<u64>) {
    let (mut resets, mut stops) = (Vec::new(), Vec::new());
    for frame in packets.iter().flat_map(frames) {
        match frame {
            Frame::ResetStream(frame) => resets.push(frame.code),
            Frame::StopSending(frame) => stops.push(frame.code),
            _ => {}
        }
    }
    (resets, stops)
}

/// A cause to end a stream early.
#[derive(Clone, Copy, Debug)]
enum Cause {
    /// The application resets what it sends.
    Application,
    /// The peer stops it.
    Peer,
    /// A layer above finds an error: it resets and stops.
    Parser,
}

/// mux R30, R31.
#[test]
fn three_causes_in_any_order_make_one_frame_of_each_kind_and_the_first_code_wins() {
    use Cause::{Application, Parser, Peer};
    let orders = [
        [Application, Peer, Parser],
        [Application, Parser, Peer],
        [Peer, Application, Parser],
        [Peer, Parser, Application],
        [Parser, Application, Peer],
        [Parser, Peer, Application],
    ];
    for order in orders {
        for sent_between in [false, true] {
            let (mut client, mut server, id) = talking();
            let mut packets = Vec::new();
            for cause in order {
                match cause {
                    Application => client.streams.reset(id, 1).unwrap(),
                    Peer => client.on_frame(Frame::StopSending(frame::StopSending { stream: id, code: 2 })).unwrap(),
                    Parser => {
                        client.streams.reset(id, 3).unwrap();
                        client.streams.stop(id, 3, &mut client.pool).unwrap();
                    }
                }
                if sent_between {
                    packets.extend(client.packet());
                } else {
                    assert_eq!(client.streams.summary(id), Some(Summary::Error));
                }
            }
            packets.extend(std::iter::from_fn(|| client.packet()));
            let first = match order[0] {
                Application => 1,
                Peer => 2,
                Parser => 3,
            };
            assert_eq!(ends(&packets), (vec![first], vec![3]), "{order:?}");
            assert_eq!(client.streams.summary(id), Some(Summary::Reset));
            let stopped = client.events().into_iter().filter(|event| matches!(event, StreamEvent::Stopped { .. })).count();
            assert_eq!(stopped, usize::from(matches!(order[0], Peer)), "told once, and only if it did not know");
            for packet in &packets {
                server.receive(packet).unwrap();
                client.acked(packet);
            }
            settle(&mut client, &mut server);
            assert_eq!(client.streams.summary(id), None, "the end state is the same: {order:?}");
            assert_eq!(server.events(), [
                StreamEvent::Reset { id, code: first },
                StreamEvent::Stopped { id, code: 3 },
            ]);
            assert_eq!(server.streams.open_count(), 0);
        }
    }
}

/// mux R35.
#[test]
fn owed_frames_that_are_lost_are_the_same_again_and_only_until_they_arrive() {
    let (mut client, mut server, id) = talking();
    client.streams.reset(id, 9).unwrap();
    client.streams.stop(id, 8, &mut client.pool).unwrap();
    let first = client.packet().unwrap();
    assert!(client.packet().is_none());
    client.lost(&first);
    let second = client.packet().unwrap();
    assert_eq!(frames(&second), frames(&first));
    client.lost(&first);
    let third = client.packet().unwrap();
    client.acked(&second);
    client.lost(&third);
    assert!(client.packet().is_none());
    server.receive(&second).unwrap();
    server.receive(&third).unwrap();
    settle(&mut client, &mut server);
    assert_eq!(client.streams.open_count(), 0);
}

/// mux R32.
#[test]
fn stop_sending_is_answered_by_a_reset_with_its_code() {
    let (mut client, mut server, id) = talking();
    client.streams.write(id, &[0; 5_000]).unwrap();
    client.streams.finish(id).unwrap();
    server.streams.stop(id, 0x77, &mut server.pool).unwrap();
    deliver(&mut server, &mut client);
    assert_eq!(client.events(), [StreamEvent::Stopped { id, code: 0x77 }]);
    assert_eq!(client.streams.write(id, b"x"), Err(WriteError::Stopped(0x77)));
    assert_eq!((client.streams.queued_bytes(), client.streams.has_data()), (0, false), "unsent bytes are dropped");
    let packets: Vec<Packet> = std::iter::from_fn(|| client.packet()).collect();
    assert_eq!(ends(&packets), (vec![0x77], vec![]));
    packets.iter().for_each(|packet| server.receive(packet).unwrap());
    assert_eq!(server.events(), [], "the application stopped it itself");
    assert_eq!(server.read_all(id).1, ReadError::Reset(0x77));
}

/// mux R32, attacks D14.
#[test]
fn stop_sending_after_everything_arrived_or_after_a_reset_is_nothing() {
    let stop = |end: &mut End, id| end.on_frame(Frame::StopSending(frame::StopSending { stream: id, code: 1 })).unwrap();
    let (mut client, mut server, id) = talking();
    client.streams.finish(id).unwrap();
    deliver(&mut client, &mut server);
    assert_eq!(client.events(), [StreamEvent::Finished(id)]);
    stop(&mut client, id);
    assert!(client.packet().is_none() && client.events().is_empty());
    let (mut client, _, id) = talking();
    client.streams.reset(id, 5).unwrap();
    let packet = client.packet().unwrap();
    stop(&mut client, id);
    stop(&mut client, id);
    assert!(client.packet().is_none() && client.events().is_empty());
    client.acked(&packet);
    stop(&mut client, id);
    assert!(client.packet().is_none());
}

/// attacks D14: FIN is on its way when STOP_SENDING comes.
#[test]
fn stop_sending_after_the_end_was_sent_still_resets() {
    let (mut client, mut server, id) = talking();
    client.streams.finish(id).unwrap();
    let end = client.packet().unwrap();
    client.on_frame(Frame::StopSending(frame::StopSending { stream: id, code: 4 })).unwrap();
    let reset = client.packet().unwrap();
    assert_eq!(ends(std::slice::from_ref(&reset)).0, [4]);
    client.acked(&end);
    assert_eq!(client.events(), [StreamEvent::Stopped { id, code: 4 }], "no end is told besides");
    server.receive(&end).unwrap();
    server.receive(&reset).unwrap();
    assert_eq!(server.read_all(id).1, ReadError::Finished, "every byte had arrived: the reset is withheld");
}

/// mux R33.
#[test]
fn a_reset_drops_unread_bytes_and_returns_the_credit_of_all_that_never_came() {
    let (mut client, mut server) = pair_of(|config| config.connection_window = 20_000);
    let id = client.streams.open(UNI).unwrap();
    client.streams.write(id, &[1; 15_000]).unwrap();
    let packets: Vec<Packet> = std::iter::from_fn(|| client.packet()).collect();
    server.receive(&packets[0]).unwrap();
    server.receive(&packets[3]).unwrap();
    client.streams.reset(id, 6).unwrap();
    deliver(&mut client, &mut server);
    assert_eq!(server.pool.used(), 0);
    assert_eq!(server.streams.statistics().held, 0);
    deliver(&mut server, &mut client);
    assert_eq!(client.streams.credit.limit(), 35_000, "the final size is given back");
    assert_eq!(server.events()[0], StreamEvent::Opened(id));
    assert_eq!(server.read_all(id).1, ReadError::Closed, "the event has told the end");
}

/// mux R33, `deliverBeforeReset`: what is there in order is read first, and the credit of the rest comes back at once.
#[test]
fn by_option_what_is_there_is_read_before_the_reset_is_told() {
    let (mut client, mut server) = pair_of(|config| {
        config.connection_window = 50_000;
        config.reset_delivery = ResetDelivery::ReadFirst;
    });
    let id = client.streams.open(UNI).unwrap();
    client.streams.write(id, &bytes_of(0..40_000)).unwrap();
    let packets: Vec<Packet> = std::iter::from_fn(|| client.packet()).collect();
    packets[..3].iter().for_each(|packet| server.receive(packet).unwrap());
    server.receive(packets.last().unwrap()).unwrap();
    let readable = server.streams.readable(id);
    client.streams.reset(id, 6).unwrap();
    deliver(&mut client, &mut server);
    assert_eq!((server.streams.readable(id), server.streams.statistics().held), (readable, readable as u64));
    assert_eq!(server.pool.used(), 1, "what lay behind the hole is gone");
    assert_eq!(server.streams.window.held(), readable as u64, "the rest counts as taken");
    assert_eq!(server.events(), [StreamEvent::Opened(id), StreamEvent::Readable(id)]);
    server.receive(&packets[4]).unwrap();
    assert_eq!(server.streams.readable(id), readable, "late bytes are dropped");
    assert_eq!(server.read_all(id), (bytes_of(0..readable as u64), ReadError::Reset(6)));
    assert_eq!((server.streams.window.held(), server.pool.used(), server.streams.open_count()), (0, 0, 0));
    deliver(&mut server, &mut client);
    assert_eq!(client.streams.credit.limit(), 90_000, "the final size is given back once");
}

#[test]
fn a_reset_is_told_by_a_read_if_no_event_was_taken() {
    let (mut client, mut server) = pair();
    let id = client.streams.open(UNI).unwrap();
    client.streams.write(id, b"hello").unwrap();
    deliver(&mut client, &mut server);
    client.streams.reset(id, 6).unwrap();
    deliver(&mut client, &mut server);
    assert_eq!(server.streams.accept(UNI), Some(id));
    assert_eq!(server.read_all(id), (Vec::new(), ReadError::Reset(6)));
    assert_eq!((server.read_all(id).1, server.streams.open_count()), (ReadError::Closed, 0));
    assert_eq!(server.events(), [StreamEvent::Opened(id)], "mux R31: told once");
}

/// mux R33 and style §5: what the application has stopped, it need not hear of.
#[test]
fn a_reset_that_crosses_a_stop_is_not_told() {
    let (mut client, mut server, id) = talking();
    client.streams.reset(id, 6).unwrap();
    deliver(&mut client, &mut server);
    server.streams.stop(id, 7, &mut server.pool).unwrap();
    assert_eq!(server.events(), []);
    assert!(server.packet().is_none(), "STOP_SENDING after RESET_STREAM is of no use");
}

/// mux R34.
#[test]
fn bytes_that_come_after_a_stop_are_counted_dropped_and_credited() {
    let (mut client, mut server) = pair_of(|config| config.connection_window = 20_000);
    let id = client.streams.open(UNI).unwrap();
    client.streams.write(id, &[1; 18_000]).unwrap();
    let packets: Vec<Packet> = std::iter::from_fn(|| client.packet()).collect();
    server.receive(&packets[0]).unwrap();
    server.streams.stop(id, 1, &mut server.pool).unwrap();
    packets[1..].iter().rev().for_each(|packet| server.receive(packet).unwrap());
    assert_eq!((server.pool.used(), server.streams.statistics().held), (0, 0));
    assert_eq!(server.streams.window.update(), Some(38_000));
    assert_eq!(server.read_all(id).1, ReadError::Stopped(1));
}

/// mux R34.
#[test]
fn a_thousand_resets_with_half_a_window_unread_leave_full_credit_for_the_next_stream() {
    let (mut client, mut server) = pair();
    let half = client.streams.config.stream_window / 2;
    for round in 0..1_000_u64 {
        let id = client.streams.open(UNI).unwrap();
        client.streams.write(id, &vec![1; half as usize]).unwrap();
        settle(&mut client, &mut server);
        match round % 3 {
            0 => client.streams.reset(id, round).unwrap(),
            1 => server.streams.stop(id, round, &mut server.pool).unwrap(),
            _ => {
                client.streams.reset(id, round).unwrap();
                server.streams.stop(id, round, &mut server.pool).unwrap();
            }
        }
        settle(&mut client, &mut server);
        server.events();
        client.events();
    }
    assert_eq!((client.streams.open_count(), server.streams.open_count(), server.pool.used()), (0, 0, 0));
    let id = client.streams.open(UNI).unwrap();
    let total = 10_000_000;
    let (mut written, mut read) = (0_u64, Vec::new());
    while (read.len() as u64) < total {
        let len = (total - written).min(65_536);
        written += client.streams.write(id, &bytes_of(written..written + len)).unwrap() as u64;
        settle(&mut client, &mut server);
        assert!(server.streams.readable(id) > 0, "never starved");
        read.extend(server.read_all(id).0);
    }
    assert_eq!(read, bytes_of(0..total));
}

/// mux R36, R41: RESET is a state of its own until the acknowledgement.
#[test]
fn a_stream_is_not_freed_before_its_reset_arrived() {
    let (mut client, mut server, id) = talking();
    server.streams.finish(id).unwrap();
    deliver(&mut server, &mut client);
    assert_eq!(client.read_all(id).1, ReadError::Finished);
    client.streams.reset(id, 1).unwrap();
    assert_eq!(client.streams.summary(id), Some(Summary::Error));
    let packet = client.packet().unwrap();
    assert_eq!(client.streams.summary(id), Some(Summary::Reset));
    client.acked(&packet);
    assert_eq!(client.streams.summary(id), None);
}

#[test]
fn the_final_size_of_a_reset_is_what_was_sent() {
    let (mut client, _) = pair();
    let id = client.streams.open(BIDI).unwrap();
    client.streams.write(id, &[0; 10_000]).unwrap();
    client.packet().unwrap();
    client.streams.reset(id, 1).unwrap();
    let sent = client.streams.statistics().bytes_sent;
    let packet = client.packet().unwrap();
    assert_eq!(frames(&packet), [Frame::ResetStream(frame::ResetStream { stream: id, code: 1, final_size: sent })]);
    let state = client.streams.map.get(client.streams.map.key(id).unwrap()).unwrap().send.as_ref().unwrap().state;
    assert_eq!(state.phase(), SendPhase::ResetSent);
    assert_eq!(client.streams.write(id, b"x"), Err(WriteError::Reset(1)));
    assert_eq!(client.streams.finish(id), Err(WriteError::Reset(1)));
}

/// Shows 9000-3.5-2: in the state Ready.
#[test]
fn stop_sending_before_the_first_byte_is_answered_by_a_reset() {
    let (mut client, _) = pair();
    let id = client.streams.open(BIDI).unwrap();
    client.on_frame(Frame::StopSending(frame::StopSending { stream: id, code: 5 })).unwrap();
    let packet = client.packet().unwrap();
    assert_eq!(frames(&packet), [Frame::ResetStream(frame::ResetStream { stream: id, code: 5, final_size: 0 })]);
}

/// Shows 9000-3.3-2: neither lost bytes nor a stream that waits for credit come back.
#[test]
fn nothing_but_the_reset_is_sent_after_a_reset() {
    let (mut client, _) = pair();
    let id = client.streams.open(BIDI).unwrap();
    client.streams.write(id, &vec![1; 200_000]).unwrap();
    let mut packets: Vec<Packet> = std::iter::from_fn(|| client.packet()).collect();
    let blocked = packets.iter().flat_map(frames).any(|frame| matches!(frame, Frame::StreamDataBlocked(_)));
    assert!(blocked && client.streams.blocked_by_credit());
    client.streams.reset(id, 3).unwrap();
    packets.iter().for_each(|packet| client.lost(packet));
    client.on_frame(Frame::MaxStreamData(frame::MaxStreamData { stream: id, maximum: 1 << 20 })).unwrap();
    packets.extend(std::iter::from_fn(|| client.packet()));
    let after: Vec<Frame<'_>> = packets.iter().skip_while(|packet| ends(std::slice::from_ref(packet)).0.is_empty()).flat_map(frames).collect();
    assert!(matches!(after[..], [Frame::ResetStream(_)]), "{after:?}");
    assert!(!client.streams.has_data());
}
