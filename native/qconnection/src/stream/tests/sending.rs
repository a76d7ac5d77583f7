//! What goes out, when, and again.

use super::*;
use bytes::Bytes;
use proptest::prelude::*;

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

/// What a test may do to two ends.
#[derive(Clone, Debug)]
enum Step {
    Open,
    Write(prop::sample::Index, u64),
    Finish(prop::sample::Index),
    Priority(prop::sample::Index, u8),
    Send(bool, usize),
    Arrive(prop::sample::Index),
    Lose(prop::sample::Index),
    Reinject(prop::sample::Index),
    Read(prop::sample::Index, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        1 => Just(Step::Open),
        4 => (index(), prop_oneof![0..50_u64, 0..6_000_u64]).prop_map(|(at, len)| Step::Write(at, len)),
        1 => index().prop_map(Step::Finish),
        1 => (index(), 0..9_u8).prop_map(|(at, urgency)| Step::Priority(at, urgency)),
        8 => (any::<bool>(), 30..1_400_usize).prop_map(|(client, room)| Step::Send(client, room)),
        6 => index().prop_map(Step::Arrive),
        3 => index().prop_map(Step::Lose),
        1 => index().prop_map(Step::Reinject),
        4 => (index(), 1..9_000_usize).prop_map(|(at, len)| Step::Read(at, len)),
    ]
}

/// Bytes of stream `at`: no two streams have the same.
fn content(at: usize, range: std::ops::Range<u64>) -> Vec<u8> {
    let start = at as u64 * 1_000_000;
    bytes_of(start + range.start..start + range.end)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]
    #[test]
    fn whatever_is_lost_late_or_twice_every_byte_arrives_in_order(steps in prop::collection::vec(step(), 1..250)) {
        let (mut client, mut server) = pair_of(|config| {
            config.stream_window = 5_000;
            config.connection_window = 12_000;
            config.send_buffer = 9_000;
            config.bidirectional = 4;
        });
        let mut written: Vec<(StreamId, u64, bool)> = Vec::new();
        let mut read: Vec<Vec<u8>> = Vec::new();
        let mut flying: Vec<(bool, Packet)> = Vec::new();
        for step in steps {
            match step {
                Step::Open => {
                    if let Some(id) = client.streams.open(BIDI) {
                        written.push((id, 0, false));
                        read.push(Vec::new());
                    }
                }
                Step::Write(index, len) if !written.is_empty() => {
                    let at = index.index(written.len());
                    let (id, offset, ended) = &mut written[at];
                    if !*ended {
                        *offset += client.streams.write(*id, &content(at, *offset..*offset + len)).unwrap() as u64;
                    }
                }
                Step::Finish(index) if !written.is_empty() => {
                    let at = index.index(written.len());
                    if !std::mem::replace(&mut written[at].2, true) {
                        client.streams.finish(written[at].0).unwrap();
                    }
                }
                Step::Priority(index, urgency) if !written.is_empty() => {
                    let id = written[index.index(written.len())].0;
                    let _ = client.streams.set_priority(id, urgency, if urgency % 2 == 0 { Incremental::Yes } else { Incremental::No });
                }
                Step::Send(from_client, room) => {
                    let end = if from_client { &mut client } else { &mut server };
                    flying.extend(end.packet_of(room).map(|packet| (from_client, packet)));
                }
                Step::Arrive(index) if !flying.is_empty() => {
                    let (from_client, packet) = flying.swap_remove(index.index(flying.len()));
                    let (from, to) = if from_client { (&mut client, &mut server) } else { (&mut server, &mut client) };
                    to.receive(&packet).unwrap();
                    from.acked(&packet);
                }
                Step::Lose(index) if !flying.is_empty() => {
                    let (from_client, packet) = flying.swap_remove(index.index(flying.len()));
                    if from_client { client.lost(&packet) } else { server.lost(&packet) }
                }
                Step::Reinject(index) if !flying.is_empty() => {
                    let (from_client, packet) = &flying[index.index(flying.len())];
                    let end = if *from_client { &mut client } else { &mut server };
                    packet.records.iter().for_each(|record| { end.streams.mark_for_reinjection(*record); });
                }
                Step::Read(index, len) if !read.is_empty() => {
                    let at = index.index(read.len());
                    let mut buffer = vec![0; len];
                    if let Ok(len) = server.streams.read(written[at].0, &mut buffer, &mut server.pool) {
                        read[at].extend_from_slice(&buffer[..len]);
                    }
                }
                _ => {}
            }
            check_sums(&mut client);
            check_sums(&mut server);
        }
        for (from_client, packet) in flying {
            let (from, to) = if from_client { (&mut client, &mut server) } else { (&mut server, &mut client) };
            to.receive(&packet).unwrap();
            from.acked(&packet);
        }
        // Everything that was accepted arrives in the end.
        for _ in 0..200 {
            settle(&mut client, &mut server);
            for (at, (id, _, _)) in written.iter().enumerate() {
                let (bytes, _) = server.read_all(*id);
                read[at].extend(bytes);
            }
        }
        for (at, (id, len, ended)) in written.iter().enumerate() {
            prop_assert_eq!(&read[at], &content(at, 0..*len));
            let closed = client.streams.summary(*id).is_none_or(|summary| summary == Summary::HalfLocal);
            prop_assert_eq!(closed, *ended, "{:?}", client.streams.summary(*id));
        }
        prop_assert_eq!(server.pool.used(), 0);
        prop_assert_eq!((client.streams.queued_bytes(), client.streams.retransmit_bytes()), (0, 0));
        prop_assert!(!client.streams.has_data() && !client.streams.blocked_by_credit());
    }
}

/// The sums over all streams are what the streams add up to.
pub fn check_sums(end: &mut End) {
    let streams = &mut end.streams;
    let (mut sums, mut fresh, mut again) = (Totals::default(), 0, 0);
    for (_, stream) in streams.map.iter_mut() {
        if let Some(part) = &stream.send {
            sums.unsent += part.buffer.unsent();
            sums.again += part.buffer.lost_bytes();
            sums.blocked += usize::from(part.waits_for_credit());
            fresh += usize::from(part.has_fresh());
            again += usize::from(part.has_again());
            assert_eq!((part.has_fresh(), part.has_again()), (part.fresh.waits, part.again.waits));
        }
        if let Some(part) = &stream.recv {
            sums.held += part.buffer.held();
            sums.gaps += part.buffer.gaps();
        }
    }
    let totals = streams.totals;
    assert_eq!((totals.unsent, totals.again, totals.blocked), (sums.unsent, sums.again, sums.blocked));
    assert_eq!((totals.held, totals.gaps), (sums.held, sums.gaps));
    assert_eq!((streams.schedule.has_fresh(), streams.schedule.has_again()), (fresh > 0, again > 0));
}
