//! Random operations over a link that loses, delays and reorders.

use super::*;
use proptest::prelude::*;

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
            sums.unacked += part.buffer.outstanding();
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
    assert_eq!(totals.unacked, sums.unacked);
    assert!(totals.unacked > 0 || streams.spare.is_empty());
    assert_eq!((totals.held, totals.gaps), (sums.held, sums.gaps));
    assert_eq!((streams.schedule.has_fresh(), streams.schedule.has_again()), (fresh > 0, again > 0));
}
