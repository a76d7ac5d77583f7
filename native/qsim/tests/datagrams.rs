//! DATAGRAM frames over links: once or never, their fate, their limits, their place among streams and paths (RFC 9221;
//! attacks D16, L14; burst B-28).

use std::collections::BTreeSet;

use bytes::Bytes;
use qbase::{
    Direction, EncryptionLevel, ErrorCode, PathId, Role, Timestamp,
    frame::{Datagram, Frame, table},
    limits,
};
use qconnection::{
    Connection, Event, TransportConfig,
    connection::{
        DatagramError, SendDatagram,
        events::{DatagramFate, PathEventKind},
    },
};
use qsim::{Failure, LinkShape, LossModel, Pair, PairConfig, Queue};

use crate::common;
use common::{
    FIRST, SECOND,
    delay, evil::arena::{Arena, Setup}, forth, for_each_seed, ms, secs,
};

/// Shows 9221-5-1, 9221-5-2, 9221-5.2-3.
#[test]
fn messages_arrive_at_once_and_their_acknowledgement_is_told() -> Result<(), Failure> {
    let mut pair = confirmed(PairConfig::new(1, vec![delay(10)]))?;
    let start = pair.now();
    let ids: Vec<u64> = [0, 1, 1_000].iter().map(|len| send(&mut pair, Role::Client, vec![7; *len])).collect();
    assert_eq!(ids, [1, 2, 3]);
    pair.run_for(ms(60))?;
    assert_eq!(took(&mut pair, Role::Server).iter().map(Bytes::len).collect::<Vec<_>>(), [0, 1, 1_000]);
    let told = pair.server().first(|event| *event == Event::DatagramReceived);
    assert_eq!(told, Some(start + ms(10)), "one way is all it takes");
    assert_eq!(fates(&pair, Role::Client), [(1, DatagramFate::Acknowledged), (2, DatagramFate::Acknowledged), (3, DatagramFate::Acknowledged)]);
    Ok(())
}

/// Shows 9221-5.2-1.
#[test]
fn the_acknowledgement_of_a_lone_message_may_wait() -> Result<(), Failure> {
    let mut pair = confirmed(PairConfig::new(1, vec![delay(10)]))?;
    let start = pair.now();
    send(&mut pair, Role::Client, vec![1; 100]);
    pair.run_for(ms(100))?;
    let told = pair.client().first(|event| matches!(event, Event::DatagramFate { .. }));
    assert_eq!(told, Some(start + ms(20) + limits::MAX_ACK_DELAY));
    Ok(())
}

/// Shows 9221-5.2-2.
#[test]
fn under_loss_each_message_arrives_once_or_never_and_its_fate_is_told_once() -> Result<(), Failure> {
    for_each_seed(0..30, |seed| {
        let link = LinkShape { duplicate: 0.2, ..delay(15).losing(LossModel::Independent(0.2)) };
        let mut pair = confirmed(PairConfig::new(seed, vec![link]))?;
        let mut arrived = Vec::new();
        for number in 0..200_u32 {
            send(&mut pair, Role::Client, number.to_be_bytes().to_vec());
            pair.run_for(ms(5))?;
            arrived.extend(took(&mut pair, Role::Server));
        }
        pair.run_for(secs(10))?;
        arrived.extend(took(&mut pair, Role::Server));
        let distinct: BTreeSet<&Bytes> = arrived.iter().collect();
        assert_eq!(distinct.len(), arrived.len(), "none twice");
        assert!(arrived.len() > 100 && arrived.len() < 200, "{} of 200 arrived", arrived.len());
        let fates = fates(&pair, Role::Client);
        let told: BTreeSet<u64> = fates.iter().map(|(id, _)| *id).collect();
        assert_eq!((fates.len(), told.len()), (200, 200), "every fate once");
        let acknowledged = fates.iter().filter(|(_, fate)| *fate == DatagramFate::Acknowledged).count();
        assert!(acknowledged <= arrived.len() && acknowledged > 80, "{acknowledged} of {}", arrived.len());
        let statistics = messages(&pair, Role::Client);
        assert_eq!((statistics.sent, statistics.acknowledged + statistics.lost), (200, 200));
        Ok(())
    })
}

#[test]
fn a_lost_message_at_the_end_is_probed_for_and_not_repeated() -> Result<(), Failure> {
    let mut pair = confirmed(PairConfig::new(1, vec![delay(10)]))?;
    pair.cut(FIRST);
    send(&mut pair, Role::Client, vec![1; 500]);
    pair.run_for(ms(5))?;
    pair.restore(FIRST);
    let before = forth(&pair, FIRST);
    pair.run_for(secs(2))?;
    assert_eq!(fates(&pair, Role::Client), [(1, DatagramFate::Lost)]);
    assert!(took(&mut pair, Role::Server).is_empty());
    assert!(forth(&pair, FIRST) - before < 300, "probes carry no copy");
    Ok(())
}

/// Shows 9221-3-1, 9221-3-6, 9221-3-10.
#[test]
fn to_a_peer_that_takes_none_nothing_is_sent_and_the_other_way_still_works() -> Result<(), Failure> {
    let client = TransportConfig { max_datagram_frame: 0, ..TransportConfig::default() };
    let mut pair = Pair::new(PairConfig { client, ..PairConfig::new(1, vec![delay(10)]) })?;
    let early = pair.client_mut().connection_mut().map(|connection| offer(connection, Timestamp::ZERO, 10));
    assert_eq!(early, Some(Err(DatagramError::Refused)), "nothing is known of the peer yet");
    pair.run_until_confirmed(secs(1))?;
    pair.run_for(ms(30))?;
    let now = pair.now();
    let refused = pair.server_mut().connection_mut().map(|connection| (connection.max_datagram_size(), offer(connection, now, 0)));
    assert_eq!(refused, Some((0, Err(DatagramError::Refused))));
    send(&mut pair, Role::Client, vec![1; 100]);
    pair.run_for(ms(100))?;
    assert_eq!(took(&mut pair, Role::Server).len(), 1);
    Ok(())
}

/// Shows 9221-3-2.
#[test]
fn a_message_larger_than_the_peer_takes_or_a_packet_holds_is_refused() -> Result<(), Failure> {
    for (frame, largest) in [(300, 297), (65_535, 1_200 - 16 - 13 - 1)] {
        let server = TransportConfig { max_datagram_frame: frame, ..TransportConfig::default() };
        let mut pair = confirmed(PairConfig { server, ..PairConfig::new(1, vec![delay(10)]) })?;
        let now = pair.now();
        let Some(connection) = pair.client_mut().connection_mut() else { panic!("no connection") };
        assert_eq!(connection.max_datagram_size(), largest);
        assert_eq!(offer(connection, now, largest + 1), Err(DatagramError::TooLarge { size: largest + 1, limit: largest }));
        assert_eq!(offer(connection, now, largest), Ok(1));
        pair.run_for(ms(100))?;
        assert_eq!(took(&mut pair, Role::Server).first().map(Bytes::len), Some(largest), "the largest one arrives whole");
    }
    Ok(())
}

/// Shows 9221-3-5.
#[test]
fn by_default_any_message_that_fits_into_a_packet_is_taken() {
    assert_eq!(TransportConfig::default().parameters().max_datagram_frame_size, 65_535);
}

/// Shows 9221-3-3.
#[test]
fn attack_d16_a_message_that_was_not_offered_closes_the_connection() -> Result<(), Failure> {
    let setup = with_frame_limit(0);
    let mut arena = Arena::new(&setup)?;
    arena.say(&[Frame::Datagram(Datagram { data: b"" })])?;
    assert_eq!(arena.close_code(), Some((ErrorCode::PROTOCOL_VIOLATION.0, table::DATAGRAM_LEN)));
    Ok(())
}

/// Shows 9221-3-4.
#[test]
fn attack_d16_a_message_one_byte_larger_than_offered_closes_the_connection() -> Result<(), Failure> {
    let mut arena = Arena::new(&with_frame_limit(100))?;
    arena.say(&[Frame::Datagram(Datagram { data: &[1; 97] })])?;
    arena.send_bytes(EncryptionLevel::OneRtt, &[vec![0x30], vec![2; 99]].concat())?;
    assert_eq!(arena.close_code(), None, "100 bytes with type and length are as offered");
    assert_eq!(arena.connection_mut()?.receive_datagram().map(|data| data.len()), Some(97));
    arena.say(&[Frame::Datagram(Datagram { data: &[1; 98] })])?;
    assert_eq!(arena.close_code(), Some((ErrorCode::PROTOCOL_VIOLATION.0, table::DATAGRAM_LEN)));
    let mut arena = Arena::new(&with_frame_limit(100))?;
    arena.send_bytes(EncryptionLevel::OneRtt, &[vec![0x30], vec![2; 100]].concat())?;
    assert_eq!(arena.close_code(), Some((ErrorCode::PROTOCOL_VIOLATION.0, table::DATAGRAM_LEN)), "both types bear one name");
    Ok(())
}

#[test]
fn attack_d16_a_length_beyond_the_packet_is_an_encoding_error() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::default())?;
    arena.send_bytes(EncryptionLevel::OneRtt, &[0x31, 0x05, 1, 2, 3])?;
    assert_eq!(arena.close_code().map(|(code, _)| code), Some(ErrorCode::FRAME_ENCODING_ERROR.0));
    Ok(())
}

#[test]
fn attack_d16_l14_a_flood_that_nobody_reads_costs_64_kib_and_the_oldest() -> Result<(), Failure> {
    let mut arena = Arena::new(&Setup::default())?;
    for number in 0..1_000_u32 {
        let data = [number.to_be_bytes().as_slice(), &[0; 1_000]].concat();
        arena.say(&[Frame::Datagram(Datagram { data: &data })])?;
    }
    let statistics = arena.connection()?.statistics().messages;
    assert_eq!((statistics.waiting, statistics.received, statistics.dropped), (64, 1_000, 936));
    assert!(statistics.waiting_bytes <= limits::DATAGRAM_BYTES_QUEUED);
    let oldest = arena.connection_mut()?.receive_datagram();
    assert_eq!(oldest.and_then(|data| data.get(..4).map(<[u8]>::to_vec)), Some(936_u32.to_be_bytes().to_vec()));
    assert_eq!(arena.close_code(), None);
    Ok(())
}

/// Shows 9221-5-3, 9221-6-1.
#[test]
fn messages_are_taken_from_protected_application_packets_only() -> Result<(), Failure> {
    for level in [EncryptionLevel::Initial, EncryptionLevel::Handshake] {
        let mut arena = Arena::new(&Setup::during_handshake())?;
        arena.send(level, &[Frame::Datagram(Datagram { data: b"x" })])?;
        assert_eq!(arena.close_code(), Some((ErrorCode::PROTOCOL_VIOLATION.0, table::DATAGRAM_LEN)), "{level:?}");
    }
    for frame_type in [table::DATAGRAM, table::DATAGRAM_LEN] {
        let levels = [EncryptionLevel::Initial, EncryptionLevel::ZeroRtt, EncryptionLevel::Handshake, EncryptionLevel::OneRtt];
        assert_eq!(levels.map(|level| table::allowed(frame_type, level)), [false, true, false, true]);
    }
    Ok(())
}

/// Shows 9221-5.4-1.
#[test]
fn messages_wait_for_the_congestion_window_and_too_many_are_given_up() -> Result<(), Failure> {
    let mut pair = confirmed(PairConfig::new(1, vec![delay(50)]))?;
    for _ in 0..100 {
        send(&mut pair, Role::Client, vec![1; 1_000]);
    }
    assert_eq!(messages(&pair, Role::Client).queued, 64, "64 wait");
    let before = forth(&pair, FIRST);
    pair.run_for(ms(70))?;
    let first_flight = forth(&pair, FIRST) - before;
    assert!(first_flight < 15_000, "{first_flight} bytes in the first round trip");
    assert!(messages(&pair, Role::Client).queued > 30);
    pair.run_for(secs(2))?;
    let statistics = messages(&pair, Role::Client);
    assert_eq!((statistics.abandoned, statistics.acknowledged, statistics.queued), (36, 64, 0));
    assert_eq!(took(&mut pair, Role::Server).len(), 64);
    Ok(())
}

#[test]
fn a_message_that_is_too_old_is_given_up_in_time() -> Result<(), Failure> {
    let mut pair = confirmed(PairConfig::new(1, vec![delay(50)]))?;
    for _ in 0..40 {
        send(&mut pair, Role::Client, vec![1; 1_000]);
    }
    let expires = pair.now() + ms(30);
    let order = SendDatagram { expires: Some(expires), ..SendDatagram::default() };
    let now = pair.now();
    let id = pair.client_mut().connection_mut().map(|connection| connection.send_datagram(now, Bytes::from_static(b"old"), order));
    pair.run_for(secs(2))?;
    let id = id.and_then(Result::ok).unwrap_or_default();
    assert!(fates(&pair, Role::Client).contains(&(id, DatagramFate::Abandoned)));
    let told = pair.client().first(|event| *event == Event::DatagramFate { id, fate: DatagramFate::Abandoned, path: None });
    assert_eq!(told, Some(expires), "its timer told");
    assert_eq!(took(&mut pair, Role::Server).len(), 40);
    Ok(())
}

#[test]
fn messages_pass_streams_of_the_same_urgency_and_wait_for_more_urgent_ones() -> Result<(), Failure> {
    for (urgency, first) in [(0, true), (3, true), (4, false)] {
        let link = LinkShape { queue: Queue::TailDrop { bytes: 1_000_000 }, ..delay(20) }.at_rate(10_000_000);
        let mut pair = confirmed(PairConfig::new(1, vec![link]))?;
        pair.client_mut().traffic_mut().send(Direction::Unidirectional, 200_000);
        pair.run_for(ms(50))?;
        let now = pair.now();
        let order = SendDatagram { urgency, ..SendDatagram::default() };
        let sent = pair.client_mut().connection_mut().map(|connection| connection.send_datagram(now, Bytes::from_static(b"hi"), order));
        assert_eq!(sent, Some(Ok(1)));
        pair.run_until(|pair| pair.server().first(|event| *event == Event::DatagramReceived).is_some(), secs(5))?;
        let received = pair.server().traffic().received();
        assert!(if first { received < 120_000 } else { received > 180_000 }, "urgency {urgency}: {received} bytes before it");
    }
    Ok(())
}

#[test]
fn messages_and_stream_bytes_share_packets() -> Result<(), Failure> {
    let mut pair = confirmed(PairConfig::new(1, vec![delay(10)]))?;
    let before = sent_packets(&pair);
    pair.client_mut().traffic_mut().send(Direction::Unidirectional, 100);
    for _ in 0..5 {
        send(&mut pair, Role::Client, vec![1; 100]);
    }
    pair.run_for(ms(5))?;
    assert_eq!(sent_packets(&pair) - before, 1);
    Ok(())
}

#[test]
fn a_pinned_message_leaves_on_its_path_even_if_another_is_quicker() -> Result<(), Failure> {
    let mut pair = confirmed(PairConfig::new(1, vec![delay(5), delay(40)]))?;
    pair.run_until(has_two_paths, secs(2))?;
    pair.run_for(secs(1))?;
    let (first, second) = (forth(&pair, FIRST), forth(&pair, SECOND));
    let now = pair.now();
    let order = SendDatagram { path: Some(PathId(1)), ..SendDatagram::default() };
    for _ in 0..10 {
        let sent = pair.client_mut().connection_mut().map(|connection| connection.send_datagram(now, Bytes::from(vec![1; 1_000]), order));
        assert!(matches!(sent, Some(Ok(_))));
    }
    pair.run_for(ms(300))?;
    assert_eq!(took(&mut pair, Role::Server).len(), 10);
    let (first, second) = (forth(&pair, FIRST) - first, forth(&pair, SECOND) - second);
    assert!(first < 500 && second > 10_000, "{first} and {second} bytes");
    let unknown = SendDatagram { path: Some(PathId(5)), ..SendDatagram::default() };
    let refused = pair.client_mut().connection_mut().map(|connection| connection.send_datagram(now, Bytes::new(), unknown));
    assert_eq!(refused, Some(Err(DatagramError::UnknownPath)));
    Ok(())
}

#[test]
fn when_a_path_dies_its_messages_are_lost_or_given_up_and_none_is_copied() -> Result<(), Failure> {
    let mut pair = confirmed(PairConfig::new(1, vec![delay(20), delay(20)]))?;
    pair.run_until(has_two_paths, secs(2))?;
    pair.run_for(secs(1))?;
    pair.cut(SECOND);
    let now = pair.now();
    let order = SendDatagram { path: Some(PathId(1)), ..SendDatagram::default() };
    for _ in 0..60 {
        let sent = pair.client_mut().connection_mut().map(|connection| connection.send_datagram(now, Bytes::from(vec![1; 1_000]), order));
        assert!(matches!(sent, Some(Ok(_))));
    }
    pair.run_for(ms(10))?;
    let statistics = messages(&pair, Role::Client);
    assert!(statistics.sent > 0 && statistics.queued > 0, "{statistics:?}");
    let first = forth(&pair, FIRST);
    pair.run_for(secs(1))?;
    assert!(forth(&pair, FIRST) - first < 2_000, "suspicion copies no message");
    let now = pair.now();
    if let Some(connection) = pair.client_mut().connection_mut() {
        connection.abandon_path(now, PathId(1), ErrorCode::APPLICATION_ABANDON_PATH.0).unwrap();
    }
    pair.run_for(secs(1))?;
    let statistics = messages(&pair, Role::Client);
    assert_eq!((statistics.lost + statistics.abandoned, statistics.queued), (60, 0), "{statistics:?}");
    assert!(took(&mut pair, Role::Server).is_empty());
    Ok(())
}

#[test]
fn the_scheduler_spreads_messages_and_a_dead_path_holds_up_none_of_the_new_ones() -> Result<(), Failure> {
    let mut pair = confirmed(PairConfig::new(1, vec![delay(5), delay(15)]))?;
    pair.run_until(has_two_paths, secs(2))?;
    pair.run_for(secs(1))?;
    pair.cut(FIRST);
    let mut arrived = 0;
    for _ in 0..200 {
        send(&mut pair, Role::Client, vec![9; 200]);
        pair.run_for(ms(10))?;
        arrived += took(&mut pair, Role::Server).len();
    }
    assert!(arrived > 150, "{arrived} of 200 arrived after the quicker path fell silent");
    Ok(())
}

#[test]
fn same_seed_same_messages_same_bytes() -> Result<(), Failure> {
    let run = || -> Result<String, Failure> {
        let mut pair = confirmed(PairConfig::new(9, vec![delay(5).with_loss(0.1)]))?;
        for _ in 0..50 {
            send(&mut pair, Role::Client, vec![9; 800]);
            pair.run_for(ms(3))?;
        }
        Ok(pair.trace_hash())
    };
    assert_eq!(run()?, run()?);
    Ok(())
}

// ---- helpers ----

fn confirmed(config: PairConfig) -> Result<Pair, Failure> {
    let mut pair = Pair::new(config)?;
    pair.run_until_confirmed(secs(9))?;
    pair.run_for(ms(200))?;
    Ok(pair)
}

fn offer(connection: &mut Connection, now: Timestamp, len: usize) -> Result<u64, DatagramError> {
    connection.send_datagram(now, Bytes::from(vec![0x3c; len]), SendDatagram::default())
}

/// Sends a message; 0 if it was refused.
fn send(pair: &mut Pair, role: Role, data: Vec<u8>) -> u64 {
    let now = pair.now();
    let sent = pair.host_mut(role).connection_mut().map(|connection| connection.send_datagram(now, Bytes::from(data), SendDatagram::default()));
    sent.and_then(Result::ok).unwrap_or_default()
}

fn took(pair: &mut Pair, role: Role) -> Vec<Bytes> {
    let mut messages = Vec::new();
    if let Some(connection) = pair.host_mut(role).connection_mut() {
        messages.extend(std::iter::from_fn(|| connection.receive_datagram()));
    }
    messages
}

fn fates(pair: &Pair, role: Role) -> Vec<(u64, DatagramFate)> {
    let of = |event: &Event| match event {
        Event::DatagramFate { id, fate, .. } => Some((*id, *fate)),
        _ => None,
    };
    pair.host(role).news().iter().filter_map(|(_, event)| of(event)).collect()
}

fn messages(pair: &Pair, role: Role) -> qconnection::connection::DatagramStatistics {
    pair.host(role).connection().map(|connection| connection.statistics().messages).unwrap_or_default()
}

fn sent_packets(pair: &Pair) -> u64 {
    pair.client().connection().map_or(0, |connection| connection.statistics().packets_sent)
}

fn has_two_paths(pair: &Pair) -> bool {
    let validated = |role| {
        let news = pair.host(role).news();
        news.iter().any(|(_, event)| matches!(event, Event::Path(event) if event.kind == PathEventKind::Validated && event.path == PathId(1)))
    };
    validated(Role::Client) && validated(Role::Server)
}

fn with_frame_limit(max_datagram_frame: u64) -> Setup {
    let plain = Setup::default();
    Setup { server: TransportConfig { max_datagram_frame, ..plain.server }, ..plain }
}

