//! MUSTs of RFC 9000 and RFC 9001 that a server keeps towards a client that may do anything (docs/compliance).

use qbase::{
    ConnectionId, Direction, Ecn, EncryptionLevel, ErrorCode, PathId, SpaceId,
    frame::{self, Fin, Frame, table},
    limits,
};
use qconnection::connection::SpaceState;
use qevent::DropReason;
use qsim::Failure;

use crate::common;
use common::{
    evil::{arena::{Arena, Setup, Stage}, encode, own_cid, stream, wire::Packet},
    ms, secs,
};
use EncryptionLevel::{Handshake, Initial, OneRtt};

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
