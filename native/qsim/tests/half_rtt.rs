//! What goes out before the handshake is complete: a server's data (0.5-RTT, burst B-27) and a client's messages (0-RTT,
//! RFC 9221 §3).

use bytes::Bytes;
use qbase::{Direction::Unidirectional, Role};
use qconnection::{
    Connection, Event, TransportConfig,
    connection::{
        DatagramError, Earliness, SendDatagram, Verdict,
        events::{DatagramFate, EarlyStatus},
    },
};
use qsim::{Failure, Pair, PairConfig, pair::TlsSetup};

use crate::common;
use common::{FIRST, delay, ms, secs};

fn half() -> TransportConfig {
    TransportConfig { half_rtt: true, ..TransportConfig::default() }
}

/// A server that sends this much as soon as it may.
fn sending(server: TransportConfig, bytes: u64) -> Result<Pair, Failure> {
    let mut pair = Pair::new(PairConfig { server, ..PairConfig::new(1, vec![delay(10)]) })?;
    pair.server_mut().traffic_mut().send(Unidirectional, bytes);
    Ok(pair)
}

#[test]
fn a_server_that_may_answers_a_round_trip_earlier() -> Result<(), Failure> {
    for (server, time) in [(TransportConfig::default(), ms(40)), (half(), ms(20))] {
        let mut pair = sending(server, 500)?;
        assert_eq!(pair.run_until_delivered(secs(1))?, time);
        pair.run_until_confirmed(secs(1))?;
    }
    Ok(())
}

/// attacks B2: the credit of an address that is not proved holds for data, too.
#[test]
fn attack_b2_data_before_the_handshake_is_complete_stays_within_three_times_what_came() -> Result<(), Failure> {
    let mut pair = sending(half(), 500_000)?;
    pair.run_for(ms(11))?;
    pair.cut(FIRST);
    pair.run_for(secs(5))?;
    let server = pair.server().sent();
    assert!(server.bytes > 2 * server.received_bytes && server.bytes <= 3 * server.received_bytes, "{server:?}");
    Ok(())
}

#[test]
fn a_server_that_asks_its_application_first_sends_nothing() -> Result<(), Failure> {
    let mut pair = sending(TransportConfig { hold_for_verdict: true, ..half() }, 500)?;
    pair.run_for(secs(2))?;
    assert_eq!(pair.client().traffic().received(), 0);
    let now = pair.now();
    pair.server_mut().connection_mut().into_iter().for_each(|connection| connection.verdict(now, Verdict::Accept));
    pair.run_until_delivered(secs(1)).map(|_| ())
}

#[test]
fn lost_early_answers_are_sent_again() -> Result<(), Failure> {
    for seed in 0..30 {
        let shape = delay(10).losing(qsim::LossModel::Independent(0.3));
        let mut pair = Pair::new(PairConfig { server: half(), ..PairConfig::new(seed, vec![shape]) })?;
        pair.server_mut().traffic_mut().send(Unidirectional, 20_000);
        pair.run_until_delivered(secs(60))?;
    }
    Ok(())
}

/// A pair whose client has a ticket with early keys; the second connection has not begun.
fn ready() -> Result<Pair, Failure> {
    let tls = TlsSetup { early_data: true, ..TlsSetup::default() };
    let mut pair = Pair::new(PairConfig { tls, ..PairConfig::new(1, vec![delay(10)]) })?;
    pair.finish_first()?;
    Ok(pair)
}

fn send(pair: &mut Pair, len: usize) -> Result<u64, DatagramError> {
    let now = pair.now();
    let connection = pair.client_mut().connection_mut().ok_or(DatagramError::Closed)?;
    connection.send_datagram(now, Bytes::from(vec![7; len]), SendDatagram::default())
}

fn took(pair: &mut Pair) -> Vec<(usize, Earliness)> {
    let Some(connection) = pair.server_mut().connection_mut() else { return Vec::new() };
    std::iter::from_fn(|| connection.receive_marked_datagram()).map(|(data, earliness)| (data.len(), earliness)).collect()
}

fn fates(pair: &Pair) -> Vec<(u64, DatagramFate, Option<u32>)> {
    let fate = |event: &Event| match event {
        Event::DatagramFate { id, fate, path } => Some((*id, *fate, path.map(|path| path.0))),
        _ => None,
    };
    pair.client().news().iter().filter_map(|(_, event)| fate(event)).collect()
}

/// Shows 9221-3-1.
#[test]
fn messages_of_early_data_arrive_with_the_first_flight_and_are_marked() -> Result<(), Failure> {
    let mut pair = ready()?;
    pair.redial()?;
    let largest = pair.client().connection().map_or(0, Connection::max_datagram_size);
    assert!((1_100..1_200).contains(&largest), "{largest}: it fits into a 0-RTT packet");
    assert_eq!((send(&mut pair, 100), send(&mut pair, largest)), (Ok(1), Ok(2)));
    assert_eq!(send(&mut pair, largest + 1), Err(DatagramError::TooLarge { size: largest + 1, limit: largest }));
    pair.run_for(ms(11))?;
    assert!(!pair.server().connection().is_some_and(Connection::is_handshake_complete));
    assert_eq!(took(&mut pair), [(100, Earliness::Early), (largest, Earliness::Early)]);
    pair.run_until_confirmed(secs(1))?;
    assert_eq!(send(&mut pair, 9), Ok(3));
    pair.run_for(ms(100))?;
    assert_eq!(took(&mut pair), [(9, Earliness::Ordinary)]);
    assert_eq!(fates(&pair).iter().filter(|(_, fate, path)| *fate == DatagramFate::Acknowledged && *path == Some(0)).count(), 3);
    Ok(())
}

#[test]
fn messages_of_early_data_that_is_refused_are_lost_not_repeated() -> Result<(), Failure> {
    let mut pair = ready()?;
    pair.set_server_transport(TransportConfig { bidirectional_streams: 1, ..TransportConfig::default() });
    pair.redial()?;
    assert_eq!(send(&mut pair, 100), Ok(1));
    pair.run_until_confirmed(secs(1))?;
    let status = |pair: &Pair, role: Role| pair.host(role).connection().map(Connection::early_status);
    assert_eq!((status(&pair, Role::Client), status(&pair, Role::Server)), (Some(EarlyStatus::Rejected), Some(EarlyStatus::Rejected)));
    assert!(pair.server().first(|event| *event == Event::EarlyData(EarlyStatus::Rejected)).is_some());
    pair.run_for(ms(100))?;
    assert_eq!((took(&mut pair), fates(&pair)), (Vec::new(), vec![(1, DatagramFate::Lost, Some(0))]));
    Ok(())
}

#[test]
fn nothing_goes_to_a_server_that_takes_messages_no_longer() -> Result<(), Failure> {
    let mut pair = ready()?;
    pair.set_server_transport(TransportConfig { max_datagram_frame: 0, ..TransportConfig::default() });
    pair.redial()?;
    for _ in 0..20 {
        assert!(send(&mut pair, 0).is_ok() && send(&mut pair, 1_000).is_ok());
    }
    pair.run_until_confirmed(secs(1))?;
    pair.run_for(ms(200))?;
    assert!(pair.client().ended().is_none() && pair.server().ended().is_none(), "no rule was broken");
    assert_eq!((took(&mut pair), send(&mut pair, 1)), (Vec::new(), Err(DatagramError::Refused)));
    Ok(())
}

#[test]
fn without_a_ticket_messages_wait_for_the_servers_word() -> Result<(), Failure> {
    let mut pair = Pair::new(PairConfig::new(1, vec![delay(10)]))?;
    assert_eq!(send(&mut pair, 1), Err(DatagramError::Refused));
    pair.run_until_confirmed(secs(1))?;
    assert!(send(&mut pair, 1).is_ok());
    assert_eq!(pair.server().connection().map(Connection::early_status), Some(EarlyStatus::None));
    Ok(())
}
