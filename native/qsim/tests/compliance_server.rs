//! MUSTs of RFC 9000 and RFC 9001 that a server keeps towards a client that may do anything (docs/compliance).

use std::collections::BTreeSet;

use qbase::{
    ConnectionId, Direction, Ecn, EncryptionLevel, ErrorCode, PathId, SpaceId,
    frame::{self, CloseKind, Fin, Frame, table},
    limits,
};
use qconnection::connection::SpaceState;
use qevent::DropReason;
use qsim::Failure;

mod common;
use common::{
    evil::{
        arena::{Arena, Setup, Stage},
        encode, new_cid, own_cid, stream,
        wire::Packet,
    },
    ms, secs,
};
use EncryptionLevel::{Handshake, Initial, OneRtt};

const ONE: PathId = PathId(1);

fn retire(path: Option<PathId>, sequence: u64) -> Frame<'static> {
    Frame::RetireConnectionId(frame::RetireConnectionId { path, sequence })
}

fn challenge(number: u8) -> Frame<'static> {
    Frame::PathChallenge(frame::PathChallenge { data: [number; 8] })
}

/// Challenges of the server among what was heard, with the size of their datagrams.
fn challenges(arena: &Arena) -> Vec<([u8; 8], usize)> {
    let of = |packet: &Packet| {
        let size = packet.datagram;
        let data = packet.frames().into_iter().filter_map(|frame| match frame {
            Frame::PathChallenge(challenge) => Some(challenge.data),
            _ => None,
        });
        data.map(|data| (data, size)).collect::<Vec<_>>()
    };
    arena.evil.heard.iter().flat_map(of).collect()
}

fn answer(data: [u8; 8]) -> Frame<'static> {
    Frame::PathResponse(frame::PathResponse { data })
}

/// Acknowledged ranges among what was heard, with the level of their packets.
fn acknowledged(arena: &Arena) -> Vec<(EncryptionLevel, std::ops::RangeInclusive<u64>)> {
    let of = |packet: &Packet| {
        let level = packet.level;
        let ranges = packet.frames().into_iter().flat_map(|frame| match frame {
            Frame::Ack(ack) => ack.ranges.collect(),
            _ => Vec::new(),
        });
        ranges.map(|range| (level, range)).collect::<Vec<_>>()
    };
    arena.evil.heard.iter().flat_map(of).collect()
}

fn drops(arena: &Arena, reason: DropReason) -> u64 {
    arena.connection().map_or(0, |connection| connection.drops().get(reason))
}

/// The server writes bytes on a stream of its own.
fn write(arena: &mut Arena, len: usize) -> Result<(), Failure> {
    let connection = arena.connection_mut()?;
    let stream = connection.open(Direction::Unidirectional).ok_or_else(|| Failure::new("no stream".to_owned()))?;
    connection.write(stream, &vec![7; len]).map_err(common::ends::failure)?;
    arena.pump()
}

/// Shows 9000-5.1-1, 9000-5.1-2, 9000-10.3.2-2, 9000-10.3.2-3 and
/// multipath-21-initial-max-path-id-transport-parameter-nego-3.
#[test]
fn connection_ids_are_random_and_never_repeat() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::default())?;
    let mut retired = BTreeSet::new();
    for _ in 0..20 {
        for (path, sequence) in arena.evil.ids.keys().copied().collect::<Vec<_>>() {
            if (path, sequence) != (PathId::ZERO, 0) && retired.insert((path, sequence)) {
                arena.say(&[retire(Some(path), sequence)])?;
            }
        }
        arena.ack()?;
        arena.wait(ms(20))?;
    }
    let ids: Vec<ConnectionId> = arena.evil.ids.values().copied().collect();
    assert!(ids.len() > 150, "{} ids", ids.len());
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "none twice");
    assert!(ids.iter().all(|id| id.len() == limits::LOCAL_CID_LEN));
    for bit in 0..8 * limits::LOCAL_CID_LEN {
        let set = ids.iter().filter(|id| id.as_bytes()[bit / 8] >> (bit % 8) & 1 == 1).count();
        assert!(set * 10 > ids.len() * 3 && set * 10 < ids.len() * 7, "bit {bit} is set in {set} of {}", ids.len());
    }
    Ok(())
}

/// Shows 9000-5.1.1-2.
#[test]
fn an_issued_id_is_taken_until_the_peer_retires_it() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::single_path())?;
    let spare = arena.evil.ids.get(&(PathId::ZERO, 1)).copied().ok_or_else(|| Failure::new("no spare id".to_owned()))?;
    let send = |arena: &mut Arena| {
        let before = arena.connection()?.statistics().packets_received;
        let packet = arena.evil.seal(OneRtt, PathId::ZERO, Some(spare), 0, &encode(&[Frame::Ping]))?;
        arena.deliver(packet)?;
        Ok::<_, Failure>(arena.connection()?.statistics().packets_received - before)
    };
    assert_eq!(send(&mut arena)?, 1);
    arena.wait(secs(20))?;
    assert_eq!(send(&mut arena)?, 1, "however long ago it was issued");
    arena.say(&[retire(None, 1)])?;
    assert_eq!(send(&mut arena)?, 0, "retired");
    Ok(())
}

/// Shows 9000-8.1-3.
#[test]
fn every_byte_of_a_datagram_counts_as_credit() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::during_handshake())?;
    let credit = |arena: &Arena| arena.connection().ok().and_then(|connection| connection.path(PathId::ZERO)).map_or(0, |path| path.amplification_credit);
    let before = credit(&arena);
    let mut forged = arena.evil.seal(Initial, PathId::ZERO, None, 0, &encode(&[Frame::Ping]))?;
    forged.reverse();
    forged.splice(.., [&[0x40][..], arena.evil.remote.unwrap_or_default().as_bytes(), &forged.clone(), &[0; 1_000]].concat());
    let len = forged.len() as u64;
    arena.inject(forged, arena.evil.four_tuple);
    assert_eq!(credit(&arena), before + 3 * len, "a datagram of the connection that nobody can open");
    let half = arena.evil.seal(Initial, PathId::ZERO, None, 0, &encode(&[Frame::Padding(frame::Padding { len: 30 })]))?;
    arena.inject(half, arena.evil.four_tuple);
    assert_eq!(credit(&arena), before + 3 * (len + 1_200), "the bytes behind a short packet");
    Ok(())
}

/// Shows 9000-8.2.1-5, 9000-8.2.1-6, 9000-8.2.3-1 and multipath-21-path-initiation-and-validation-path-initiation-6.
#[test]
fn a_path_proved_by_small_datagrams_is_challenged_again_in_a_full_one() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::default())?;
    arena.say(&[new_cid(Some(ONE), 0, 0), new_cid(Some(ONE), 1, 0)])?;
    arena.forget_heard();
    arena.say_on(ONE, &[Frame::Ping])?;
    let [(first, small)] = challenges(&arena)[..] else { return Err(Failure::new("not one challenge".to_owned())) };
    assert!(small < limits::MIN_INITIAL, "{small} bytes: the credit allows no more");
    arena.forget_heard();
    arena.say_on(ONE, &[answer(first)])?;
    let [(second, full)] = challenges(&arena)[..] else { return Err(Failure::new("no second challenge".to_owned())) };
    assert!(second != first && full >= limits::MIN_INITIAL, "{full} bytes");
    Ok(())
}

/// Shows 9000-8.2.2-6.
#[test]
fn a_response_to_an_unproved_address_stays_within_its_credit() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::default())?;
    arena.say(&[new_cid(Some(ONE), 0, 0)])?;
    arena.forget_heard();
    let packet = arena.evil.seal(OneRtt, ONE, None, 0, &encode(&[challenge(9)]))?;
    let received = packet.len();
    arena.deliver(packet)?;
    let answered = arena.count(|frame| matches!(frame, Frame::PathResponse(response) if response.data == [9; 8]));
    assert_eq!(answered, 1);
    let sent: usize = arena.evil.heard.iter().filter(|packet| packet.path == ONE).map(|packet| packet.datagram).sum();
    assert!(sent <= 3 * received, "{sent} bytes for {received}");
    Ok(())
}

/// Shows 9000-8.2.1-4.
#[test]
fn every_challenge_has_random_data_of_its_own() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::default())?;
    for path in 1..=limits::INITIAL_MAX_PATH_ID {
        arena.say(&[new_cid(Some(PathId(path)), 0, 0)])?;
        arena.say_on(PathId(path), &[Frame::Ping])?;
        let asked = challenges(&arena);
        if let Some((data, _)) = asked.last() {
            arena.say_on(PathId(path), &[answer(*data)])?;
        }
    }
    let asked: Vec<[u8; 8]> = challenges(&arena).into_iter().map(|(data, _)| data).collect();
    assert!(asked.len() >= 10, "{}", asked.len());
    for (at, one) in asked.iter().enumerate() {
        for other in asked.iter().skip(at + 1) {
            assert!(one.iter().zip(other).filter(|(a, b)| a != b).count() >= 5, "{one:02x?} {other:02x?}");
        }
    }
    Ok(())
}

/// Shows 9000-7.2-5 and 9000-7.2-6.
#[test]
fn the_server_answers_to_the_source_id_of_the_first_initial() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::during_handshake())?;
    let (own, stranger) = (own_cid(PathId::ZERO, 0), own_cid(PathId::ZERO, 77));
    let remote = arena.evil.remote.unwrap_or_default();
    let packet = arena.evil.seal_from(Initial, PathId::ZERO, (remote, stranger), 0, &encode(&[Frame::Ping]))?;
    arena.deliver(packet)?;
    assert_eq!(drops(&arena, DropReason::OtherConnection), 1);
    let received = arena.connection()?.space(SpaceId::Initial).map(|space| space.received);
    assert_eq!(received, Some(vec![0..=0]), "only the first one was taken");
    arena.wait(secs(3))?;
    arena.send_flight()?;
    assert!(arena.connection()?.is_confirmed());
    assert!(arena.evil.heard.len() > 3 && arena.evil.heard.iter().all(|packet| packet.dcid == own));
    Ok(())
}

/// Shows 9000-7.3-1, 9000-7.3-2 and 9000-7.3-3.
#[test]
fn wrong_connection_ids_in_the_clients_parameters_close_the_connection() -> Result<(), Failure> {
    let changes: [fn(&mut qbase::param::TransportParameters); 3] = [
        |parameters| parameters.initial_source_connection_id = None,
        |parameters| parameters.initial_source_connection_id = Some(own_cid(PathId::ZERO, 5)),
        |parameters| parameters.initial_source_connection_id = Some(ConnectionId::EMPTY),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let arena = Arena::new(&Setup { stage: Stage::Flight, change, ..Setup::default() })?;
        assert_eq!(arena.close_code().map(|(code, _)| code), Some(ErrorCode::TRANSPORT_PARAMETER_ERROR.0), "case {number}");
    }
    Ok(())
}

/// Shows 9000-10.2.1-7.
#[test]
fn a_close_before_validation_keeps_to_three_times_what_came() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::during_handshake())?;
    let now = arena.now;
    arena.connection_mut()?.close(now, 0, b"no");
    arena.pump()?;
    for _ in 0..300 {
        let packet = arena.evil.seal(OneRtt, PathId::ZERO, None, 0, &encode(&[Frame::Ping]))?;
        arena.deliver(packet)?;
        let packet = arena.evil.seal(Initial, PathId::ZERO, None, 0, &encode(&[Frame::Ping]))?;
        arena.deliver(packet)?;
        let statistics = arena.server.statistics();
        assert!(statistics.bytes_sent <= 3 * statistics.bytes_received, "{statistics:?}");
    }
    assert!(arena.count(|frame| matches!(frame, Frame::ConnectionClose(_))) > 2, "it is repeated");
    Ok(())
}

/// Shows 9000-10.2.2-1 and 9000-10.2.2-3.
#[test]
fn a_draining_end_sends_nothing_more() -> Result<(), Failure> {
    for kind in [CloseKind::Application, CloseKind::Transport { frame_type: 0 }] {
        let mut arena = Arena::new(&Setup::default())?;
        write(&mut arena, 5_000)?;
        let close = frame::ConnectionClose { kind, code: 0, reason: b"" };
        arena.say(&[Frame::Ping, Frame::ConnectionClose(close)])?;
        let sent = arena.server.statistics().bytes_sent;
        for _ in 0..10 {
            arena.say(&[Frame::Ping, challenge(1)])?;
            arena.wait(ms(5))?;
        }
        arena.wait(secs(20))?;
        assert_eq!(arena.server.statistics().bytes_sent, sent, "{kind:?}");
    }
    Ok(())
}

/// Shows 9000-10.2.3-1.
#[test]
fn after_confirmation_a_close_travels_in_1rtt_packets_only() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::default())?;
    arena.forget_heard();
    arena.say(&[Frame::HandshakeDone])?;
    assert!(!arena.evil.heard.is_empty() && arena.evil.heard.iter().all(|packet| packet.level == OneRtt));
    assert!(arena.close_code().is_some());
    Ok(())
}

/// Shows 9000-10.2.3-6, 9000-10.2.3-7 and 9000-12.5-3.
#[test]
fn a_close_of_the_application_is_hidden_until_there_are_1rtt_keys() -> Result<(), Failure> {
    for (setup, hidden) in [(Setup::during_handshake(), true), (Setup::default(), false)] {
        let mut arena = Arena::new(&setup)?;
        let now = arena.now;
        arena.forget_heard();
        arena.connection_mut()?.close(now, 0x77, b"secret");
        arena.pump()?;
        let mut closes = 0;
        for packet in &arena.evil.heard {
            for frame in packet.frames() {
                let Frame::ConnectionClose(close) = frame else { continue };
                closes += 1;
                let expected = if packet.level == OneRtt {
                    (CloseKind::Application, 0x77, &b"secret"[..])
                } else {
                    (CloseKind::Transport { frame_type: 0 }, ErrorCode::APPLICATION_ERROR.0, &b""[..])
                };
                assert_eq!((close.kind, close.code, close.reason), expected, "{:?}", packet.level);
                assert_eq!(packet.level != OneRtt, hidden);
            }
        }
        assert!(closes > 0);
    }
    Ok(())
}

/// Shows 9000-12.2-6 and 9000-12.2-7.
#[test]
fn a_coalesced_packet_that_does_not_open_leaves_the_others_alone() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::during_handshake())?;
    let before = arena.connection()?.statistics().packets_received;
    arena.forget_heard();
    let mut datagram = Vec::new();
    for number in 0..3 {
        let mut packet = arena.evil.seal(Handshake, PathId::ZERO, None, 0, &encode(&[Frame::Ping]))?;
        if let (1, Some(last)) = (number, packet.last_mut()) {
            *last ^= 1;
        }
        datagram.extend(packet);
    }
    arena.deliver(datagram)?;
    assert_eq!(arena.connection()?.statistics().packets_received - before, 2);
    assert_eq!(drops(&arena, DropReason::Undecryptable), 1);
    let ranges = acknowledged(&arena);
    assert!(ranges.contains(&(Handshake, 0..=0)) && ranges.contains(&(Handshake, 2..=2)), "{ranges:?}");
    assert!(ranges.iter().all(|(_, range)| !range.contains(&1)), "{ranges:?}");
    Ok(())
}

/// Shows 9000-12.3-1, 9000-12.3-2 and 8899-4.1-3.
#[test]
fn packet_numbers_only_rise_in_every_space() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::during_handshake())?;
    arena.wait(secs(2))?;
    arena.send_flight()?;
    for round in 0..20 {
        write(&mut arena, 20_000)?;
        arena.wait(ms(40))?;
        if round % 3 == 0 {
            arena.ack()?;
        }
    }
    let mut last = std::collections::BTreeMap::new();
    for packet in &arena.evil.heard {
        let space = packet.level.space(packet.path);
        let before = last.insert(space, packet.number);
        assert!(before.is_none_or(|before| before < packet.number), "{space:?}: {before:?}, then {}", packet.number);
    }
    assert!(last.len() == 3 && arena.evil.heard.len() > 100, "{last:?}");
    Ok(())
}

/// Shows 9000-12.3-5 and 9001-9.5-1.
#[test]
fn a_forged_packet_with_a_used_number_is_not_told_from_any_other() -> Result<(), Failure> {
    for (setup, level) in
        [(Setup::during_handshake(), Initial), (Setup::during_handshake(), Handshake), (Setup::default(), OneRtt)]
    {
        let mut arena = Arena::new(&setup)?;
        let packet = arena.evil.seal(level, PathId::ZERO, None, 0, &encode(&[Frame::Padding(frame::Padding { len: 40 })]))?;
        arena.deliver(packet.clone())?;
        let mut forged = packet.clone();
        // Behind the header's sample, so that the number still reads as the one that was used.
        if let Some(last) = forged.last_mut() {
            *last ^= 1;
        }
        arena.deliver(forged)?;
        let counts = (drops(&arena, DropReason::Undecryptable), drops(&arena, DropReason::Duplicate));
        assert_eq!(counts, (1, 0), "{level:?}");
        arena.deliver(packet)?;
        let counts = (drops(&arena, DropReason::Undecryptable), drops(&arena, DropReason::Duplicate));
        assert_eq!(counts, (1, 1), "{level:?}");
    }
    Ok(())
}

/// Shows 9000-13.1-1.
#[test]
fn a_packet_whose_frames_are_refused_is_not_acknowledged() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::default())?;
    arena.ack()?;
    arena.wait(secs(1))?;
    arena.forget_heard();
    *arena.evil.next_number(SpaceId::Application(PathId::ZERO)) += 50;
    let number = *arena.evil.next_number(SpaceId::Application(PathId::ZERO));
    arena.say(&[Frame::Ping, stream(2, 0, b"taken", Fin::No), Frame::HandshakeDone])?;
    arena.wait(secs(5))?;
    assert!(arena.close_code().is_some());
    let ranges = acknowledged(&arena);
    assert!(ranges.iter().all(|(_, range)| !range.contains(&number)), "{number} in {ranges:?}");
    Ok(())
}

/// Shows 9000-13.2.1-1, 9000-13.2.1-2 and 9000-13.2.5-1.
#[test]
fn a_lone_ping_is_acknowledged_within_the_announced_delay_and_says_how_long_it_waited() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::during_handshake())?;
    arena.forget_heard();
    arena.send(Handshake, &[Frame::Ping])?;
    assert_eq!(acknowledged(&arena), [(Handshake, 0..=0)], "at once in the handshake");

    let mut arena = Arena::new(&Setup::default())?;
    arena.ack()?;
    arena.wait(secs(1))?;
    arena.forget_heard();
    let number = *arena.evil.next_number(SpaceId::Application(PathId::ZERO));
    arena.say(&[Frame::Ping])?;
    arena.wait(limits::MAX_ACK_DELAY)?;
    assert!(acknowledged(&arena).iter().any(|(_, range)| range.contains(&number)), "{:?}", acknowledged(&arena));
    let delays: Vec<u64> = arena.evil.heard.iter().flat_map(Packet::frames).filter_map(|frame| match frame {
        Frame::Ack(ack) => Some(ack.delay << limits::ACK_DELAY_EXPONENT),
        _ => None,
    }).collect();
    assert_eq!(delays, [25_000], "microseconds");
    Ok(())
}

/// Shows 9000-13.2.1-4 and 9000-13.2.1-7.
#[test]
fn packets_that_ask_for_nothing_get_no_answer_even_with_gaps() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::default())?;
    arena.ack()?;
    arena.wait(secs(1))?;
    arena.ack()?;
    arena.wait(secs(1))?;
    arena.forget_heard();
    for _ in 0..50 {
        *arena.evil.next_number(SpaceId::Application(PathId::ZERO)) += 3;
        arena.say(&[Frame::Padding(frame::Padding { len: 20 })])?;
        arena.ack()?;
        arena.wait(ms(100))?;
    }
    let heard: Vec<_> = arena.evil.heard.iter().map(Packet::frames).collect();
    assert!(heard.is_empty(), "{heard:?}");
    Ok(())
}

/// Shows 9000-13.2.6-1, 9000-13.2.6-2 and 9000-17.2.3-4.
#[test]
fn acknowledgements_stay_in_their_space() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::during_handshake())?;
    let application = SpaceId::Application(PathId::ZERO);
    for (space, first) in [(SpaceId::Initial, 100), (SpaceId::Handshake, 1_000), (application, 10_000)] {
        *arena.evil.next_number(space) += first;
    }
    arena.send(Initial, &[Frame::Ping])?;
    arena.send(Handshake, &[Frame::Ping])?;
    arena.send_flight()?;
    arena.say(&[Frame::Ping])?;
    arena.say(&[Frame::Ping])?;
    arena.wait(secs(1))?;
    let ranges = acknowledged(&arena);
    for (level, own) in [(Initial, 0..1_000), (Handshake, 1_000..10_000), (OneRtt, 10_000..20_000)] {
        let mut of_level = ranges.iter().filter(|(of, _)| *of == level).map(|(_, range)| range).peekable();
        assert!(of_level.peek().is_some(), "{level:?}");
        assert!(of_level.all(|range| own.contains(range.start()) && own.contains(range.end())), "{level:?}: {ranges:?}");
    }
    Ok(())
}

/// Shows 9000-14-4 and 9000-14.1-4.
#[test]
fn a_server_drops_initial_packets_in_small_datagrams_and_lives() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::during_handshake())?;
    let (now, four_tuple) = (arena.now, arena.evil.four_tuple);
    let before = arena.connection()?.space(SpaceId::Initial).map(|space| space.received);
    let mut small = arena.evil.seal(Initial, PathId::ZERO, None, 0, &encode(&[Frame::Ping]))?;
    small.resize(limits::MIN_INITIAL - 1, 0);
    arena.server.handle_datagram(now, four_tuple, Ecn::NotEct, &mut small.clone());
    arena.pump()?;
    assert_eq!(drops(&arena, DropReason::ShortInitial), 1);
    assert_eq!(arena.connection()?.space(SpaceId::Initial).map(|space| space.received), before, "not taken");
    let accepted = arena.server.statistics().accepted;
    for byte in small.iter_mut().skip(6).take(8) {
        *byte ^= 0xff;
    }
    arena.server.handle_datagram(now, four_tuple, Ecn::NotEct, &mut small);
    assert_eq!((arena.server.statistics().accepted, arena.server.len()), (accepted, 1), "nor does one begin a connection");
    arena.send_flight()?;
    assert!(arena.connection()?.is_confirmed(), "the handshake goes on");
    Ok(())
}

/// Shows 9000-19.20-1 and 9001-4.1.2-1.
#[test]
fn a_server_says_handshake_done_as_soon_as_it_is_and_not_before() -> Result<(), Failure> {
    let done = |arena: &Arena| arena.count(|frame| matches!(frame, Frame::HandshakeDone));
    let mut arena = Arena::new(&Setup::during_handshake())?;
    arena.wait(secs(2))?;
    assert_eq!(done(&arena), 0);
    arena.send_flight()?;
    assert_eq!(done(&arena), 1, "at the same instant");
    Ok(())
}

/// Shows 9000-19.21-1 and multipath-21-connection-lifecycle-and-packet-protection-1.
#[test]
fn without_multipath_no_multipath_frame_is_sent() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::single_path())?;
    arena.say(&[new_cid(None, 1, 0), new_cid(None, 2, 1), retire(None, 1)])?;
    for _ in 0..5 {
        write(&mut arena, 3_000)?;
        arena.say(&[challenge(1), stream(2, 0, b"x", Fin::No)])?;
        arena.ack()?;
        arena.wait(ms(100))?;
    }
    assert!(arena.evil.heard.len() > 10);
    assert_eq!(arena.count(|frame| table::is_multipath(frame.frame_type())), 0);
    assert_eq!(arena.close_code(), None);
    Ok(())
}

/// Shows 9001-4.9.1-2 and 9001-4.9.2-1.
#[test]
fn keys_of_the_handshake_go_when_they_are_not_needed_any_more() -> Result<(), Failure> {
    let state = |arena: &Arena, space| arena.connection().ok().and_then(|connection| connection.space(space)).map(|space| space.state);
    let mut arena = Arena::new(&Setup::during_handshake())?;
    assert_eq!(state(&arena, SpaceId::Initial), Some(SpaceState::Open));
    arena.send(Handshake, &[Frame::Ping])?;
    assert_eq!(state(&arena, SpaceId::Initial), Some(SpaceState::Discarded));
    arena.send(Initial, &[Frame::Ping])?;
    assert_eq!(drops(&arena, DropReason::NoKeys), 1);
    assert_eq!(state(&arena, SpaceId::Handshake), Some(SpaceState::Open));
    arena.send_flight()?;
    assert_eq!(state(&arena, SpaceId::Handshake), Some(SpaceState::Discarded));
    arena.forget_heard();
    arena.send(Handshake, &[Frame::Ping])?;
    assert_eq!(drops(&arena, DropReason::NoKeys), 2);
    arena.wait(secs(3))?;
    assert!(arena.evil.heard.iter().all(|packet| packet.level == OneRtt));
    Ok(())
}

/// Shows 9001-4.1.3-1 and 9001-4.1.3-2.
#[test]
fn new_handshake_bytes_at_a_level_that_is_over_are_a_violation() -> Result<(), Failure> {
    let crypto = |offset, data| Frame::Crypto(frame::Crypto { offset, data });
    let mut arena = Arena::new(&Setup::during_handshake())?;
    arena.send(Initial, &[crypto(0, b"\x01\x00"), crypto(40, b"again")])?;
    assert_eq!(arena.close_code(), None, "old bytes are no news");
    arena.send(Initial, &[crypto(3_000, b"new")])?;
    assert_eq!(arena.close_code(), Some((ErrorCode::PROTOCOL_VIOLATION.0, table::CRYPTO)));
    Ok(())
}

/// Shows 9001-4.1.3-3.
#[test]
fn handshake_bytes_behind_a_gap_at_a_key_change_are_a_violation() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::before_the_hello())?;
    let (offset, rest) = arena.rest_of_hello.clone();
    let beyond = offset + rest.len() as u64 + 10;
    arena.send(Initial, &[Frame::Crypto(frame::Crypto { offset: beyond, data: b"too early" })])?;
    assert_eq!(arena.close_code(), None, "the hello might be longer");
    arena.send(Initial, &[Frame::Crypto(frame::Crypto { offset, data: &rest })])?;
    assert_eq!(arena.close_code(), Some((ErrorCode::PROTOCOL_VIOLATION.0, table::CRYPTO)));
    Ok(())
}

/// Shows multipath-21-issuing-new-connection-ids-4.
#[test]
fn ids_are_issued_only_for_path_ids_the_peer_allows() -> Result<(), Failure> {
    let mut setup = Setup::default();
    setup.parameters.initial_max_path_id = Some(PathId(2));
    let mut arena = Arena::new(&setup)?;
    arena.wait(secs(1))?;
    let highest = |arena: &Arena| arena.evil.ids.keys().map(|(path, _)| *path).max();
    assert_eq!(highest(&arena), Some(PathId(2)));
    arena.say(&[Frame::MaxPathId(frame::MaxPathId { maximum: PathId(4) })])?;
    assert_eq!(highest(&arena), Some(PathId(4)));
    Ok(())
}

/// Shows 9000-19.16-2.
#[test]
fn an_id_is_retired_in_packets_to_another_one() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::single_path())?;
    arena.forget_heard();
    arena.say(&[new_cid(None, 1, 1)])?;
    arena.wait(secs(1))?;
    let of = |packet: &&Packet| packet.frames().iter().any(|frame| matches!(frame, Frame::RetireConnectionId(retire) if retire.sequence == 0));
    let to: Vec<ConnectionId> = arena.evil.heard.iter().filter(of).map(|packet| packet.dcid).collect();
    assert!(!to.is_empty() && to.iter().all(|dcid| *dcid == own_cid(PathId::ZERO, 1)), "{to:?}");
    Ok(())
}

/// Shows multipath-21-path-initiation-and-validation-path-initiation-8.
#[test]
fn a_path_that_cannot_be_validated_is_abandoned_in_words() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::default())?;
    arena.say(&[new_cid(Some(ONE), 0, 0)])?;
    arena.say_on(ONE, &[Frame::Ping])?;
    for _ in 0..20 {
        arena.ack()?;
        arena.wait(ms(500))?;
    }
    let abandoned = arena.count(|frame| matches!(frame, Frame::PathAbandon(abandon) if abandon.path == ONE));
    assert!(abandoned >= 1);
    assert_eq!(arena.close_code(), None);
    Ok(())
}

/// A datagram of a version that nobody speaks, and what the endpoint sends in answer.
fn answers_to(arena: &mut Arena, datagram: &[u8]) -> Vec<Vec<u8>> {
    let (now, mut buffer) = (arena.now, vec![0; 65_535]);
    arena.server.handle_datagram(now, common::evil::arena::addresses(40), Ecn::NotEct, &mut datagram.to_vec());
    let mut answers = Vec::new();
    while let Some(burst) = arena.server.poll_transmit(now, &mut buffer, &qconnection::SendLimits::default()) {
        arena.server.on_submitted(&burst, burst.segments, now);
        answers.push(buffer.get(..burst.len).unwrap_or_default().to_vec());
    }
    answers
}

/// Shows 9000-5.2.2-3, 9000-17.2.1-3, 9000-17.2.1-4, 9000-17.2.1-5, 9000-17.2.1-6, 9000-17.2.1-7 and
/// 9368-incompatible-version-negotiation-incompat-vn-1.
#[test]
fn an_unknown_version_gets_one_answer_with_its_ids_exchanged() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::default())?;
    for (dcid, scid) in [(8, 8), (20, 0), (255, 255)] {
        let (dcid, scid) = (vec![0xdd; dcid], vec![0x55; scid]);
        let header = |version: u32| {
            let lens = [u8::try_from(dcid.len()).unwrap_or_default(), u8::try_from(scid.len()).unwrap_or_default()];
            [&[0xc0][..], &version.to_be_bytes(), &lens[..1], &dcid, &lens[1..], &scid].concat()
        };
        let mut datagram = header(0x1a2a_3a4a);
        // Several packets of that version in one datagram are still one question.
        datagram.extend(header(0x1a2a_3a4a));
        datagram.resize(limits::MIN_INITIAL, 0);
        let answers = answers_to(&mut arena, &datagram);
        let [answer] = &answers[..] else { return Err(Failure::new(format!("{} answers", answers.len()))) };
        let read = qbase::packet::version_negotiation::parse(answer).map_err(common::ends::failure)?;
        assert_eq!((read.dcid, read.scid), (&scid[..], &dcid[..]));
        assert_eq!(answer.get(1..5), Some(&[0; 4][..]));
        assert!(read.versions().any(|version| version == qbase::VERSION_1), "what we speak");
        assert!(answer.len() <= datagram.len());
        datagram.pop();
        assert!(answers_to(&mut arena, &datagram).is_empty(), "too short a question");
    }
    Ok(())
}

/// Shows 9000-6.1-1 and 9368-incompatible-version-negotiation-incompat-vn-6.
#[test]
fn version_negotiation_is_never_answered_by_a_server() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::default())?;
    for versions in [&[qbase::VERSION_1][..], &[0x1a2a_3a4a, 0x0a0a_0a0a]] {
        let mut buffer = vec![0; limits::MIN_INITIAL];
        let mut writer = qbase::Writer::new(&mut buffer);
        qbase::packet::version_negotiation::write(&mut writer, 7, &[0xdd; 8], &[0x55; 8], versions);
        assert!(answers_to(&mut arena, &buffer).is_empty());
    }
    assert_eq!(arena.server.len(), 1);
    Ok(())
}

/// Shows 9000-9-4, 9000-9.3-1, 9000-9.3-2, 9000-9.3-3 and 9000-9.4-2.
#[test]
fn a_newer_packet_from_another_address_moves_the_path_and_is_validated() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::single_path())?;
    let path = |arena: &Arena| arena.connection().ok().and_then(|connection| connection.path(PathId::ZERO)).ok_or_else(|| Failure::new("no path".to_owned()));
    arena.say(&[new_cid(None, 1, 0), new_cid(None, 2, 0)])?;
    for _ in 0..30 {
        write(&mut arena, 10_000)?;
        arena.wait(ms(10))?;
        arena.ack()?;
    }
    arena.wait(ms(50))?;
    arena.ack()?;
    assert!(path(&arena)?.smoothed_rtt < ms(100));
    arena.forget_heard();

    let elsewhere = common::evil::arena::addresses(9);
    arena.evil.four_tuple = elsewhere;
    let before = arena.server.statistics();
    let packet = arena.evil.seal(OneRtt, PathId::ZERO, None, 0, &encode(&[Frame::Ping]))?;
    let received = packet.len() as u64;
    arena.deliver(packet)?;
    assert_eq!(path(&arena)?.four_tuple.remote, elsewhere.remote, "what follows goes there");
    let [(data, _)] = challenges(&arena)[..] else { return Err(Failure::new("not one challenge".to_owned())) };
    write(&mut arena, 50_000)?;
    arena.wait(ms(200))?;
    let sent = arena.server.statistics().bytes_sent - before.bytes_sent;
    assert!(sent <= 3 * received, "{sent} bytes to an unproved address for {received}");

    arena.say(&[answer(data)])?;
    assert_eq!(path(&arena)?.smoothed_rtt, limits::INITIAL_RTT, "nothing is known of the new network");
    let fresh = path(&arena)?;
    assert!(fresh.congestion_window <= 10 * u64::from(fresh.mtu), "{fresh:?}");
    Ok(())
}

/// Shows 9001-6.6-4.
#[test]
fn a_connection_whose_keys_are_used_up_ends_and_only_resets_follow() -> Result<(), Failure> {
    let mut setup = Setup::single_path();
    setup.server.confidentiality_limit = Some(60);
    let mut arena = Arena::new(&setup)?;
    // The client acknowledges nothing, so that no second update is possible.
    for number in 0..2_000_u32 {
        if arena.close_code().is_some() {
            break;
        }
        arena.say(&[Frame::Ping, challenge(number.to_le_bytes()[0])])?;
        arena.wait(ms(30))?;
    }
    assert_eq!(arena.close_code().map(|(code, _)| code), Some(ErrorCode::AEAD_LIMIT_REACHED.0));
    arena.wait(secs(30))?;
    assert!(arena.server.is_empty());
    let before = arena.server.statistics();
    let packet = arena.evil.seal(OneRtt, PathId::ZERO, None, 0, &encode(&[Frame::Padding(frame::Padding { len: 80 })]))?;
    arena.deliver(packet)?;
    let after = arena.server.statistics();
    assert_eq!((after.resets - before.resets, after.bytes_sent > before.bytes_sent), (1, true));
    Ok(())
}
