//! What goes out, when, and again.

use super::*;
use bytes::Bytes;

/// Opens a stream with `len` bytes to send.
fn busy(end: &mut End, len: u64) -> StreamId {
    let id = end.streams.open(BIDI).unwrap();
    assert_eq!(end.streams.write(id, &bytes_of(0..len)), Ok(len as usize));
    id
}

/// Stream, offset, length and FIN of the STREAM frames of a packet.
fn data(packet: &Packet) -> Vec<(StreamId, u64, usize, bool)> {
    let parts = frames(packet).into_iter().filter_map(|frame| match frame {
        Frame::Stream(frame) => Some((frame.stream, frame.offset, frame.data.len(), frame.fin)),
        _ => None,
    });
    parts.collect()
}

#[test]
fn bytes_and_end_arrive_and_both_sides_know() {
    let (mut client, mut server) = pair();
    let id = busy(&mut client, 10_000);
    client.streams.finish(id).unwrap();
    settle(&mut client, &mut server);
    assert_eq!(server.events(), [StreamEvent::Opened(id), StreamEvent::Readable(id)]);
    assert_eq!(server.streams.accept(BIDI), Some(id));
    assert_eq!(server.read_all(id), (bytes_of(0..10_000), ReadError::Finished));
    assert_eq!(client.events(), [StreamEvent::Finished(id)]);
    assert_eq!(server.pool.used(), 0, "mux R16");
}

#[test]
fn bytes_are_read_in_place() {
    let (mut client, mut server) = pair();
    let id = busy(&mut client, 40_000);
    settle(&mut client, &mut server);
    let mut out = Vec::new();
    while let Ok(front) = server.streams.peek(id) {
        let len = front.len().min(7_000);
        out.extend_from_slice(&front[..len]);
        server.streams.consume(id, len, &mut server.pool);
    }
    assert_eq!(out, bytes_of(0..40_000));
    assert_eq!((server.streams.readable(id), server.pool.used()), (0, 0));
}

#[test]
fn one_busy_stream_fills_whole_packets_without_a_length() {
    let (mut client, _) = pair();
    let id = busy(&mut client, 60_000);
    let mut sent = 0;
    for _ in 0..10 {
        let packet = client.packet().unwrap();
        let [(stream, offset, len, _)] = data(&packet)[..] else { panic!("one frame") };
        assert_eq!((stream, offset, packet.bytes.len()), (id, sent, PACKET));
        assert_eq!(packet.bytes[0] & 0x02, 0, "LEN bit");
        assert!(len >= PACKET - 10);
        sent += len as u64;
    }
}

/// burst B-32.
#[test]
fn streams_take_turns_of_at_most_4096_bytes_across_packets() {
    let (mut client, _) = pair();
    let ids: Vec<StreamId> = (0..3).map(|_| busy(&mut client, 20_000)).collect();
    let mut turns: Vec<(StreamId, usize)> = Vec::new();
    while let Some(packet) = client.packet() {
        for (id, _, len, _) in data(&packet) {
            match turns.last_mut() {
                Some((last, bytes)) if *last == id => *bytes += len,
                _ => turns.push((id, len)),
            }
        }
    }
    assert_eq!(turns[..4].iter().map(|(id, _)| *id).collect::<Vec<_>>(), [ids[0], ids[1], ids[2], ids[0]]);
    let shared = turns.len() - 1;
    assert!(turns[..shared].iter().all(|(_, bytes)| *bytes <= 4_096 && *bytes > 2_000), "{turns:?}");
}

/// burst B-32.
#[test]
fn a_stream_that_is_alone_in_its_urgency_needs_no_turns() {
    let (mut client, _) = pair();
    let first = busy(&mut client, 20_000);
    let second = busy(&mut client, 20_000);
    client.streams.set_priority(first, 0, Incremental::Yes).unwrap();
    client.streams.set_priority(second, 7, Incremental::Yes).unwrap();
    let order: Vec<StreamId> = std::iter::from_fn(|| client.packet()).flat_map(|packet| data(&packet)).map(|part| part.0).collect();
    let switch = order.iter().position(|id| *id == second).unwrap();
    assert!(order[..switch].iter().all(|id| *id == first) && order[switch..].iter().all(|id| *id == second));
}

#[test]
fn streams_that_do_not_share_come_one_after_another() {
    let (mut client, _) = pair();
    let ids: Vec<StreamId> = (0..3).map(|_| busy(&mut client, 20_000)).collect();
    for id in &ids {
        client.streams.set_priority(*id, 3, Incremental::No).unwrap();
    }
    let mut order: Vec<StreamId> = std::iter::from_fn(|| client.packet()).flat_map(|packet| data(&packet)).map(|part| part.0).collect();
    order.dedup();
    assert_eq!(order, ids);
}

/// burst B-26.
#[test]
fn no_frame_is_begun_with_less_than_25_bytes_of_room() {
    let (mut client, _) = pair();
    busy(&mut client, 1_000);
    assert!(client.packet_of(24).is_none());
    assert_eq!(client.packet_of(25).unwrap().bytes.len(), 25);
}

#[test]
fn two_small_streams_share_a_packet_and_only_a_full_packet_ends_without_length() {
    let (mut client, mut server) = pair();
    let (a, b) = (busy(&mut client, 100), busy(&mut client, 200));
    client.streams.finish(a).unwrap();
    let packet = client.packet().unwrap();
    assert_eq!(data(&packet), [(a, 0, 100, true), (b, 0, 200, false)]);
    server.receive(&packet).unwrap();
    assert_eq!((server.streams.readable(a), server.streams.readable(b)), (100, 200));
}

/// burst B-47.
#[test]
fn lost_bytes_go_first_and_cost_no_credit() {
    let (mut client, mut server) = pair_of(|config| config.connection_window = 3_000);
    let id = busy(&mut client, 10_000);
    let packets: Vec<Packet> = std::iter::from_fn(|| client.packet()).collect();
    assert!(client.streams.blocked_by_credit() && !client.streams.has_data());
    packets.iter().for_each(|packet| client.lost(packet));
    assert_eq!(client.streams.retransmit_bytes(), 3_000);
    assert!(client.streams.has_data());
    settle(&mut client, &mut server);
    assert_eq!(server.read_all(id), (bytes_of(0..3_000), ReadError::Blocked));
    settle(&mut client, &mut server);
    assert_eq!(server.read_all(id).0, bytes_of(3_000..6_000));
}

#[test]
fn a_lost_end_is_sent_again_alone_or_with_the_bytes_before_it() {
    let (mut client, mut server) = pair();
    let id = busy(&mut client, 100);
    let bytes = client.packet().unwrap();
    client.streams.finish(id).unwrap();
    let end = client.packet().unwrap();
    assert_eq!(data(&end), [(id, 100, 0, true)]);
    client.lost(&end);
    let end = client.packet().unwrap();
    assert_eq!(data(&end), [(id, 100, 0, true)]);
    client.lost(&end);
    client.lost(&bytes);
    let both = client.packet().unwrap();
    assert_eq!(data(&both), [(id, 0, 100, true)]);
    assert!(client.packet().is_none());
    server.receive(&both).unwrap();
    client.acked(&both);
    assert_eq!(client.events(), [StreamEvent::Finished(id)]);
    assert_eq!(server.read_all(id), (bytes_of(0..100), ReadError::Finished));
}

#[test]
fn an_empty_stream_is_an_end_alone() {
    let (mut client, mut server) = pair();
    let id = client.streams.open(UNI).unwrap();
    client.streams.finish(id).unwrap();
    client.streams.finish(id).unwrap();
    assert_eq!(deliver(&mut client, &mut server), 1);
    assert_eq!(server.read_all(id), (Vec::new(), ReadError::Finished));
    assert_eq!((client.streams.open_count(), server.streams.open_count()), (0, 0));
}

/// multipath MP-83.
#[test]
fn a_copy_for_another_path_is_dropped_when_the_first_arrives() {
    let (mut client, mut server) = pair();
    let id = busy(&mut client, 2_000);
    client.streams.finish(id).unwrap();
    let packets: Vec<Packet> = std::iter::from_fn(|| client.packet()).collect();
    let marked: u64 = packets.iter().flat_map(|packet| &packet.records).map(|record| client.streams.mark_for_reinjection(*record)).sum();
    assert_eq!((marked, client.streams.retransmit_bytes()), (2_000, 2_000));
    client.acked(&packets[0]);
    let left = client.streams.retransmit_bytes();
    assert!(left < 1_000);
    let copy = client.packet().unwrap();
    assert_eq!(data(&copy).iter().map(|part| part.2 as u64).sum::<u64>(), left);
    client.acked(&packets[1]);
    assert!(!client.streams.has_data());
    assert_eq!(client.events(), [StreamEvent::Finished(id)]);
    client.acked(&copy);
    client.lost(&copy);
    assert!(client.packet().is_none() && client.events().is_empty());
    server.receive(&copy).unwrap();
}

#[test]
fn a_copy_of_a_packet_is_written_as_long_as_it_is_of_use() {
    let (mut client, mut server) = pair();
    let id = busy(&mut client, 1_000);
    client.streams.finish(id).unwrap();
    let first = client.packet().unwrap();
    let copy = |client: &mut End, room: usize| {
        let mut buffer = vec![0; room];
        let mut writer = Writer::new(&mut buffer);
        let mut records = Vec::new();
        let done = client.streams.write_copy(&mut writer, first.records[0], &mut |record| records.push(record));
        let len = writer.len();
        (done, Packet { bytes: buffer[..len].to_vec(), records })
    };
    assert!(!copy(&mut client, 500).0, "no room");
    let (done, second) = copy(&mut client, PACKET);
    assert!(done);
    assert_eq!(data(&second), data(&first));
    server.receive(&second).unwrap();
    client.acked(&second);
    let (done, none) = copy(&mut client, PACKET);
    assert!(done && none.bytes.is_empty());
    assert_eq!(server.read_all(id), (bytes_of(0..1_000), ReadError::Finished));
}

#[test]
fn a_copy_that_fits_no_packet_of_the_other_path_is_cut() {
    let (mut client, mut server) = pair();
    let id = busy(&mut client, 1_180);
    let first = client.packet().unwrap();
    let mut buffer = vec![0; 1_100];
    let mut writer = Writer::new(&mut buffer);
    let mut records = Vec::new();
    assert!(client.streams.write_copy(&mut writer, first.records[0], &mut |record| records.push(record)));
    let copy = Packet { bytes: writer.written().to_vec(), records };
    server.receive(&copy).unwrap();
    settle(&mut client, &mut server);
    assert_eq!(server.read_all(id).0, bytes_of(0..1_180));
}

#[test]
fn a_full_buffer_takes_what_fits_and_tells_when_half_is_free() {
    let (mut client, mut server) = pair_of(|config| config.send_buffer = 10_000);
    let id = client.streams.open(BIDI).unwrap();
    assert_eq!(client.streams.write(id, &bytes_of(0..8_000)), Ok(8_000));
    assert_eq!(client.streams.write_chunk(id, Bytes::from(bytes_of(8_000..12_000))), Ok(2_000));
    assert_eq!(client.streams.write(id, b"x"), Ok(0));
    for _ in 0..4 {
        server.receive(&client.packet().unwrap()).unwrap();
        assert_eq!(client.events(), []);
    }
    server.receive(&client.packet().unwrap()).unwrap();
    assert_eq!(client.events(), [StreamEvent::Writable(id)]);
    assert_eq!(client.events(), [], "once");
    assert_eq!(server.read_all(id).0[..5_000], bytes_of(0..5_000));
}

/// Shows reverse V47.
#[test]
fn the_first_acknowledgement_is_told_once_to_who_asked() {
    let (mut client, mut server) = pair();
    let ids: Vec<StreamId> = (0..2).map(|_| client.streams.open(BIDI).unwrap()).collect();
    client.streams.tell_acknowledged(ids[0]);
    for part in [0..100, 100..200] {
        for id in &ids {
            assert_eq!(client.streams.write(*id, &bytes_of(part.clone())), Ok(100));
        }
        assert_eq!(client.events(), []);
        settle(&mut client, &mut server);
        let expected = if part.start == 0 { vec![StreamEvent::Acknowledged(ids[0])] } else { Vec::new() };
        assert_eq!(client.events(), expected);
    }
}

#[test]
fn the_buffer_of_the_connection_bounds_all_streams_and_every_waiter_is_told() {
    let (mut client, mut server) = pair_of(|config| config.connection_send_buffer = 10_000);
    let ids: Vec<StreamId> = (0..5).map(|_| client.streams.open(BIDI).unwrap()).collect();
    assert_eq!(client.streams.write(ids[0], &[0; 10_000]), Ok(10_000));
    for id in &ids[1..] {
        assert_eq!(client.streams.write(*id, b"hello"), Ok(0));
    }
    settle(&mut client, &mut server);
    let told = client.events();
    assert_eq!(told, ids[1..].iter().map(|id| StreamEvent::Writable(*id)).collect::<Vec<_>>());
}

#[test]
fn a_stream_with_lower_credit_for_bytes_still_ends() {
    let (mut client, mut server) = pair_of(|config| config.stream_window = 100);
    let id = busy(&mut client, 100);
    settle(&mut client, &mut server);
    client.streams.finish(id).unwrap();
    assert_eq!(data(&client.packet().unwrap()), [(id, 100, 0, true)]);
}

#[test]
fn priorities_of_streams_that_wait_for_credit_are_kept() {
    let (mut client, mut server) = pair_of(|config| config.connection_window = 1_000);
    let (a, b) = (busy(&mut client, 2_000), busy(&mut client, 2_000));
    settle(&mut client, &mut server);
    client.streams.set_priority(b, 0, Incremental::Yes).unwrap();
    assert_eq!(server.read_all(a).0.len(), 1_000);
    deliver(&mut server, &mut client);
    assert_eq!(data(&client.packet().unwrap())[0].0, b);
}

/// Shows 9000-4.5-2.
#[test]
fn nothing_is_written_behind_the_end() {
    let (mut client, mut server) = pair();
    let id = busy(&mut client, 3_000);
    client.streams.finish(id).unwrap();
    assert_eq!(client.streams.write(id, b"more"), Err(WriteError::Ended));
    let packets: Vec<Packet> = std::iter::from_fn(|| client.packet()).collect();
    assert_eq!(client.streams.write(id, b"more"), Err(WriteError::Ended));
    packets.iter().for_each(|packet| client.lost(packet));
    let again: Vec<Packet> = std::iter::from_fn(|| client.packet()).collect();
    for packet in packets.iter().chain(&again) {
        assert!(data(packet).iter().all(|(_, offset, len, _)| offset + *len as u64 <= 3_000), "{:?}", data(packet));
        server.receive(packet).unwrap();
    }
    assert_eq!(server.read_all(id), (bytes_of(0..3_000), ReadError::Finished));
}
