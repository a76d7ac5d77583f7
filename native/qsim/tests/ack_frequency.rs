//! Fewer acknowledgements where a window is large, and news in time all the same (draft-ietf-quic-ack-frequency).

use std::time::Duration;

use qbase::{
    Direction::Unidirectional,
    EncryptionLevel, ErrorCode, PathId,
    frame::{self, AckRanges, Fin, Frame},
    limits,
    param::TransportParameters,
};
use qconnection::{PathView, TransportConfig};
use qcongestion::Algorithm;
use qsim::{Failure, LinkDirection, LinkShape, Pair, PairConfig, Queue};

use crate::common;
use common::{
    FIRST, SECOND, delay,
    evil::{arena::{Arena, Setup}, stream},
    forth, ms, secs,
};

const RATE: u64 = 50_000_000;

/// A client that sends for ever over a bottleneck, and how much of it arrives: share of the rate, datagrams back per datagram
/// forth.
fn bulk(plain: TransportConfig, shape: LinkShape) -> Result<(f64, f64), Failure> {
    const MUCH: u64 = 1 << 26;
    let client = TransportConfig { send_buffer: MUCH as usize, connection_send_buffer: MUCH as usize, ..plain.clone() };
    let server = TransportConfig { stream_window: MUCH, connection_window: MUCH, ..plain };
    let mut pair = Pair::new(PairConfig { client, server, ..PairConfig::new(1, vec![shape]) })?;
    pair.client_mut().traffic_mut().send(Unidirectional, 1 << 40);
    pair.run_for(secs(2))?;
    let offered = |pair: &Pair, way| pair.network().statistics(FIRST, way).offered;
    let before = (pair.server().traffic().received(), offered(&pair, LinkDirection::AToB), offered(&pair, LinkDirection::BToA));
    pair.run_for(secs(4))?;
    let read = pair.server().traffic().received() - before.0;
    let sent = offered(&pair, LinkDirection::AToB) - before.1;
    let answered = offered(&pair, LinkDirection::BToA) - before.2;
    Ok((read as f64 * 8.0 / 4.0 / RATE as f64, answered as f64 / sent as f64))
}

fn bottleneck() -> LinkShape {
    LinkShape { queue: Queue::TailDrop { bytes: RATE / 8 / 25 }, ..delay(20) }.at_rate(RATE)
}

fn with(congestion: Algorithm) -> TransportConfig {
    TransportConfig { congestion, ..TransportConfig::default() }
}

fn without(congestion: Algorithm) -> TransportConfig {
    TransportConfig { ack_frequency: false, ..with(congestion) }
}

#[test]
fn a_bulk_transfer_is_as_fast_with_a_quarter_of_the_acknowledgements() -> Result<(), Failure> {
    for algorithm in Algorithm::ALL {
        let (share, few) = bulk(with(algorithm), bottleneck())?;
        let (plain, many) = bulk(without(algorithm), bottleneck())?;
        println!("{algorithm:?}: {:.1} % of the rate with {few:.3} acknowledgements a packet, {:.1} % with {many:.3}", share * 100.0, plain * 100.0);
        assert!(share > plain * 0.98 && share > 0.9, "{algorithm:?}: {share} of the rate, {plain} without");
        assert!(few < many / 4.0, "{algorithm:?}: {few} acknowledgements a packet, {many} without");
    }
    Ok(())
}

#[test]
fn random_losses_cost_no_more_with_fewer_acknowledgements() -> Result<(), Failure> {
    let (share, few) = bulk(with(Algorithm::Bbr3), bottleneck().with_loss(0.01))?;
    let (plain, many) = bulk(without(Algorithm::Bbr3), bottleneck().with_loss(0.01))?;
    assert!(share > plain * 0.95, "{share} of the rate, {plain} without");
    assert!(few < many, "{few} acknowledgements a packet, {many} without");
    Ok(())
}

/// Draft §6.2: with the reordering threshold a loss is reported when the sender can act on it, not a delay later.
#[test]
fn a_loss_in_the_middle_is_repaired_within_two_round_trips() -> Result<(), Failure> {
    for ack_frequency in [false, true] {
        let plain = TransportConfig { ack_frequency, max_mtu: 1_200, ..TransportConfig::default() };
        let config = PairConfig { client: plain.clone(), server: plain, ..PairConfig::new(1, vec![delay(50).at_rate(RATE)]) };
        let mut pair = Pair::new(config)?;
        pair.client_mut().traffic_mut().send(Unidirectional, 40_000_000);
        pair.run_until(|pair| pair.server().traffic().received() > 8_000_000, secs(20))?;
        assert_eq!(ended_up_asking(&pair), ack_frequency);
        let now = pair.now();
        let lossy = LinkShape { delay: ms(50), ..LinkShape::default() }.at_rate(RATE).with_loss(1.0);
        pair.network_mut().set(now, FIRST, &lossy, qsim::Directions::AToB);
        pair.run_for(ms(2))?;
        let good = delay(50).at_rate(RATE);
        pair.set(FIRST, &good);
        let start = pair.now();
        pair.server_mut().traffic_mut().watch_stalls(start);
        pair.run_until_delivered(secs(60))?;
        // The hole is seen half a round trip after it was made, told, and filled another round trip later.
        let stall = pair.server().traffic().longest_stall();
        assert!(stall < ms(230), "{ack_frequency}: stalled for {stall:?}");
    }
    Ok(())
}

/// The server has a wish of the client, as far as its acknowledgements show.
fn ended_up_asking(pair: &Pair) -> bool {
    let statistics = |way| pair.network().statistics(FIRST, way).offered;
    statistics(LinkDirection::BToA) * 4 < statistics(LinkDirection::AToB)
}

#[test]
fn what_two_paths_acknowledge_goes_to_both_and_is_less_as_well() -> Result<(), Failure> {
    let mut acknowledgements = Vec::new();
    for ack_frequency in [true, false] {
        let plain = TransportConfig { ack_frequency, ..TransportConfig::default() };
        let shape = || LinkShape { queue: Queue::TailDrop { bytes: RATE / 8 / 25 }, ..delay(20) }.at_rate(RATE);
        let config = PairConfig { client: plain.clone(), server: plain, ..PairConfig::new(1, vec![shape(), shape()]) };
        let mut pair = Pair::new(config)?;
        pair.client_mut().traffic_mut().send(Unidirectional, 30_000_000);
        let took = pair.run_until_delivered(secs(30))?;
        let count = |way| pair.network().statistics(FIRST, way).offered + pair.network().statistics(SECOND, way).offered;
        acknowledgements.push((count(LinkDirection::BToA) as f64 / count(LinkDirection::AToB) as f64, took));
        for link in [FIRST, SECOND] {
            assert!(forth(&pair, link) > 8_000_000, "{}: {}", link.0, forth(&pair, link));
        }
    }
    let [(few, with), (many, without)] = acknowledgements[..] else { unreachable!() };
    assert!(few < many / 2.0, "{few} acknowledgements a packet, {many} without");
    assert!(with < without + without / 20, "{with:?}, {without:?} without");
    Ok(())
}

#[test]
fn an_end_without_the_extension_never_gets_its_frames() -> Result<(), Failure> {
    for (client, server) in [(true, false), (false, true), (true, true)] {
        let config = |ack_frequency| TransportConfig { ack_frequency, ..TransportConfig::default() };
        let pair = PairConfig { client: config(client), server: config(server), ..PairConfig::new(1, vec![delay(20).at_rate(RATE)]) };
        let mut pair = Pair::new(PairConfig { qlog: qsim::Writes::Always, ..pair })?;
        pair.client_mut().traffic_mut().send(Unidirectional, 4_000_000);
        pair.server_mut().traffic_mut().send(Unidirectional, 4_000_000);
        pair.run_until_delivered(secs(10))?;
        pair.cut(FIRST);
        pair.client_mut().traffic_mut().send(Unidirectional, 1_000);
        pair.run_for(secs(1))?;
        pair.restore(FIRST);
        pair.run_until_delivered(secs(10))?;
        pair.hang_up()?;
        for host in [pair.client(), pair.server()] {
            let text: String = host.logs().iter().map(|(_, log)| String::from_utf8_lossy(log)).collect();
            for frame in [r#""frame_type":"ack_frequency""#, r#""frame_type":"immediate_ack""#] {
                assert_eq!(text.contains(frame), client && server, "{client} {server}: {frame}");
            }
        }
    }
    Ok(())
}

// ---- one end alone ----

/// A wish of the evil client.
fn wish(sequence: u64, threshold: u64, micros: u64, reordering: u64) -> Frame<'static> {
    Frame::AckFrequency(frame::AckFrequency { sequence, threshold, max_ack_delay_micros: micros, reordering })
}

/// The largest numbers of the ACKs for a path that came back since the last call.
fn acked(arena: &mut Arena, path: u32) -> Vec<u64> {
    let of = |packet: &common::evil::wire::Packet| -> Vec<u64> {
        let largest = |frame: Frame<'_>| match frame {
            Frame::Ack(ack) if ack.path.unwrap_or_default() == PathId(path) => Some(ack.largest),
            _ => None,
        };
        packet.frames().into_iter().filter_map(largest).collect()
    };
    let list = arena.evil.heard.iter().flat_map(of).collect();
    arena.forget_heard();
    list
}

/// A server that was asked, with everything acknowledged so far.
fn asked(setup: &Setup, wish: Frame<'_>) -> Result<Arena, Failure> {
    let mut arena = Arena::new(setup)?;
    arena.ack()?;
    arena.say(&[wish])?;
    arena.wait(ms(200))?;
    arena.forget_heard();
    Ok(arena)
}

#[test]
fn a_receiver_waits_for_as_many_packets_as_it_was_asked_to() -> Result<(), Failure> {
    let mut arena = asked(&Setup::default(), wish(0, 4, 20_000, 3))?;
    for number in 1..=10_u32 {
        arena.say(&[Frame::Ping])?;
        assert_eq!(acked(&mut arena, 0).len(), usize::from(number % 5 == 0), "packet {number}");
    }
    arena.say(&[Frame::Ping])?;
    arena.wait(ms(19))?;
    assert!(acked(&mut arena, 0).is_empty(), "not before the delay is over");
    arena.wait(ms(2))?;
    assert_eq!(acked(&mut arena, 0).len(), 1);
    Ok(())
}

#[test]
fn a_wish_counts_for_all_paths_and_for_those_opened_later() -> Result<(), Failure> {
    let mut arena = asked(&Setup::default(), wish(0, 4, 20_000, 3))?;
    arena.say_on(PathId(1), &[Frame::Ping])?;
    arena.wait(ms(200))?;
    arena.forget_heard();
    for number in 1..=10_u32 {
        arena.say_on(PathId(1), &[Frame::Ping])?;
        let expected = usize::from(number % 5 == 0);
        assert_eq!(acked(&mut arena, 1).len(), expected, "packet {number} of a path that was opened after the wish");
    }
    arena.ack()?;
    arena.say(&[wish(1, 1, 20_000, 1)])?;
    arena.say_on(PathId(1), &[Frame::ImmediateAck])?;
    arena.wait(ms(30))?;
    arena.forget_heard();
    for number in 1..=6_u32 {
        arena.say_on(PathId(1), &[Frame::Ping])?;
        assert_eq!(acked(&mut arena, 1).len(), usize::from(number % 2 == 0), "packet {number}");
    }
    Ok(())
}

#[test]
fn obsolete_wishes_are_ignored() -> Result<(), Failure> {
    let mut arena = asked(&Setup::default(), wish(7, 4, 20_000, 3))?;
    for old in [0, 6, 7] {
        arena.say(&[wish(old, 0, 1_000, 1)])?;
        arena.wait(ms(30))?;
        arena.forget_heard();
        let answers = (0..4).map(|_| {
            arena.say(&[Frame::Ping])?;
            Ok(acked(&mut arena, 0).len())
        });
        assert_eq!(answers.collect::<Result<Vec<_>, Failure>>()?, [0, 0, 0, 0], "{old}");
        arena.wait(ms(30))?;
        arena.forget_heard();
    }
    arena.say(&[wish(8, 0, 1_000, 1)])?;
    arena.say(&[Frame::Ping])?;
    assert!(!acked(&mut arena, 0).is_empty(), "a newer one counts");
    Ok(())
}

#[test]
fn a_wish_for_an_ack_is_answered_at_once_on_the_path_it_came_on() -> Result<(), Failure> {
    let mut arena = asked(&Setup::default(), wish(0, 20, 20_000, 3))?;
    arena.say_on(PathId(1), &[Frame::Ping])?;
    arena.say(&[Frame::Ping])?;
    arena.forget_heard();
    arena.say(&[Frame::ImmediateAck])?;
    assert_eq!(acked(&mut arena, 0).len(), 1);
    arena.say_on(PathId(1), &[Frame::Ping, Frame::ImmediateAck])?;
    assert_eq!(acked(&mut arena, 1).len(), 1);
    Ok(())
}

#[test]
fn a_wish_that_cannot_be_granted_is_a_violation() -> Result<(), Failure> {
    let least = u64::try_from(limits::MIN_ACK_DELAY.as_micros()).unwrap_or(u64::MAX);
    for (micros, taken) in [(least - 1, false), (least, true), ((1 << 14) * 1_000 - 1, true), ((1 << 14) * 1_000, false), (u64::MAX >> 2, false)] {
        let mut arena = Arena::new(&Setup::default())?;
        arena.say(&[wish(0, u64::MAX >> 2, micros, u64::MAX >> 2)])?;
        let expected = (!taken).then_some((ErrorCode::PROTOCOL_VIOLATION.0, frame::table::ACK_FREQUENCY));
        assert_eq!(arena.close_code(), expected, "{micros}");
    }
    Ok(())
}

#[test]
fn frames_of_an_extension_that_was_not_offered_are_unknown() -> Result<(), Failure> {
    let plain = Setup::default();
    let setup = Setup { server: TransportConfig { ack_frequency: false, ..plain.server.clone() }, ..plain };
    for frame in [wish(0, 1, 5_000, 1), Frame::ImmediateAck] {
        let mut arena = Arena::new(&setup)?;
        arena.say(std::slice::from_ref(&frame))?;
        assert_eq!(arena.close_code(), Some((ErrorCode::FRAME_ENCODING_ERROR.0, frame.frame_type())));
    }
    Ok(())
}

#[test]
fn a_least_delay_above_the_longest_is_a_transport_parameter_error() -> Result<(), Failure> {
    let with = |micros: u64| {
        let plain = Setup::during_handshake();
        let parameters = TransportParameters { min_ack_delay: Some(Duration::from_micros(micros)), ..plain.parameters.clone() };
        let mut arena = Arena::new(&Setup { parameters, ..plain })?;
        arena.send_flight()?;
        Ok::<_, Failure>(arena.close_code().map(|(code, _)| code))
    };
    assert_eq!(with(25_000)?, None);
    assert_eq!(with(25_001)?, Some(ErrorCode::TRANSPORT_PARAMETER_ERROR.0));
    Ok(())
}

// ---- a sender alone ----

/// An evil client that takes wishes, delays them as it says, and to which the server sends on one stream.
fn taking(micros: u64) -> Setup {
    let plain = Setup::single_path();
    let parameters = TransportParameters { min_ack_delay: Some(Duration::from_micros(micros)), ..plain.parameters };
    Setup { parameters, ..plain }
}

fn path(arena: &Arena) -> Result<PathView, Failure> {
    arena.connection()?.path(PathId::ZERO).ok_or_else(|| Failure::new("no path".to_owned()))
}

/// The wishes that came since the last call.
fn wishes(arena: &mut Arena) -> Vec<frame::AckFrequency> {
    let of = |packet: &common::evil::wire::Packet| -> Vec<frame::AckFrequency> {
        packet.frames().into_iter().filter_map(|frame| if let Frame::AckFrequency(wish) = frame { Some(wish) } else { None }).collect()
    };
    let list = arena.evil.heard.iter().flat_map(of).collect();
    arena.forget_heard();
    list
}

/// Rounds of 20 ms in which the server sends as much as it may and all of it is acknowledged.
fn rounds(arena: &mut Arena, count: usize) -> Result<Vec<frame::AckFrequency>, Failure> {
    let mut list = Vec::new();
    for _ in 0..count {
        common::write(arena, 30_000)?;
        arena.wait(ms(20))?;
        arena.ack()?;
        list.extend(wishes(arena));
    }
    Ok(list)
}

#[test]
fn a_sender_asks_once_its_window_is_large_and_seldom_again() -> Result<(), Failure> {
    let mut arena = Arena::new(&taking(1_000))?;
    let list = rounds(&mut arena, 40)?;
    assert!(!list.is_empty() && list.len() < 12, "{list:?}");
    assert!(list.windows(2).all(|pair| pair[0].sequence < pair[1].sequence), "{list:?}");
    let last = list.last().copied().ok_or_else(|| Failure::new("no wish".to_owned()))?;
    assert!(last.threshold > 1 && last.threshold <= 32 && last.reordering == 3, "{last:?}");
    assert!((5_000..=25_000).contains(&last.max_ack_delay_micros), "{last:?}");
    Ok(())
}

#[test]
fn a_sender_asks_for_no_less_than_the_least_delay() -> Result<(), Failure> {
    let mut arena = Arena::new(&taking(24_000))?;
    let list = rounds(&mut arena, 30)?;
    assert!(!list.is_empty() && list.iter().all(|wish| wish.max_ack_delay_micros >= 24_000), "{list:?}");
    Ok(())
}

#[test]
fn a_lost_wish_is_told_again_under_a_new_number() -> Result<(), Failure> {
    let mut arena = Arena::new(&taking(1_000))?;
    let mut list = Vec::new();
    let mut lost = None;
    for _ in 0..60 {
        common::write(&mut arena, 30_000)?;
        arena.wait(ms(20))?;
        if let Some(number) = lost {
            arena.evil.numbers.entry(PathId::ZERO).or_default().remove(&number);
        }
        arena.ack()?;
        let holder = arena.evil.heard.iter().find(|packet| packet.frames().iter().any(|frame| matches!(frame, Frame::AckFrequency(_))));
        lost = lost.or(holder.map(|packet| packet.number));
        list.extend(wishes(&mut arena));
        if list.len() > 1 {
            break;
        }
    }
    assert!(lost.is_some() && list.len() > 1 && list[1].sequence > list[0].sequence, "{list:?}");
    Ok(())
}

/// Draft §7: the delay that is asked for counts for PTOs as long as the peer may go by it.
#[test]
fn a_longer_delay_that_was_asked_for_makes_the_pto_longer() -> Result<(), Failure> {
    let mut arena = Arena::new(&taking(1_000))?;
    let mut list = Vec::new();
    for _ in 0..40 {
        common::write(&mut arena, 30_000)?;
        arena.wait(ms(380))?;
        arena.ack()?;
        list.extend(wishes(&mut arena));
    }
    let longest = list.last().map_or(0, |wish| wish.max_ack_delay_micros);
    assert!(longest > 25_000, "{list:?}");
    arena.wait(secs(1))?;
    arena.ack()?;
    let before = path(&arena)?;
    common::write(&mut arena, 500)?;
    let sent = arena.now;
    let ptos = arena.connection()?.statistics().ptos;
    while arena.connection()?.statistics().ptos == ptos {
        arena.wait(ms(1))?;
    }
    let waited = arena.now.saturating_since(sent);
    let least = before.smoothed_rtt + before.rttvar * 4 + Duration::from_micros(longest);
    assert!(waited >= least && waited < least + ms(2), "{waited:?}, asked for {least:?}");
    Ok(())
}

#[test]
fn probes_ask_for_an_acknowledgement_at_once() -> Result<(), Failure> {
    let mut arena = Arena::new(&taking(1_000))?;
    arena.ack()?;
    common::write(&mut arena, 500)?;
    arena.forget_heard();
    arena.wait(secs(2))?;
    let probes = |frame: &Frame<'_>| matches!(frame, Frame::ImmediateAck);
    assert!(arena.evil.heard.len() >= 2, "probes of a PTO");
    assert!(arena.evil.heard.iter().all(|packet| packet.level == EncryptionLevel::OneRtt && packet.frames().iter().any(probes)));
    Ok(())
}

/// The evil client claims a delay that it may take only because it was asked to.
#[test]
fn a_delay_that_was_asked_for_is_taken_off_samples() -> Result<(), Failure> {
    let mut arena = Arena::new(&taking(1_000))?;
    let mut list = Vec::new();
    for _ in 0..40 {
        common::write(&mut arena, 30_000)?;
        arena.wait(ms(380))?;
        arena.ack()?;
        list.extend(wishes(&mut arena));
    }
    let longest = list.last().map_or(0, |wish| wish.max_ack_delay_micros);
    arena.wait(secs(1))?;
    arena.ack()?;
    let before = path(&arena)?;
    arena.say(&[stream(0, 0, b"answer", Fin::No), Frame::PathChallenge(frame::PathChallenge { data: [1; 8] })])?;
    let number = arena.evil.numbers.get(&PathId::ZERO).and_then(|numbers| numbers.last().copied()).unwrap_or_default();
    arena.wait(before.smoothed_rtt + Duration::from_micros(longest))?;
    let delay = longest >> 3;
    let ack = frame::Ack { path: None, largest: number, delay, ranges: AckRanges::one(&(number..=number)), ecn: None };
    arena.say(&[Frame::Ack(ack)])?;
    let after = path(&arena)?.smoothed_rtt;
    assert!(after <= before.smoothed_rtt + ms(1), "{after:?} after {:?}", before.smoothed_rtt);
    Ok(())
}
