//! Damaged, repeated, invented datagrams: dropped and counted, never fatal (attacks sections A, B, J2; rule R1).

use qbase::{Direction, FourTuple, Role};
use qconnection::Connection;
use qsim::{Failure, LinkDirection, LinkShape, Pair, PairConfig, Random};

use crate::common;
use common::{FIRST, SECOND, delay, for_each_seed, ms, secs};

use Direction::{Bidirectional, Unidirectional};

#[test]
fn corrupted_and_truncated_datagrams_cost_time_only() -> Result<(), Failure> {
    for_each_seed(0..100, |seed| {
        let share = |step: u64| (seed / step % 5) as f64 * 0.05;
        let shape = LinkShape { corrupt: share(1), truncate: share(5), ..delay(10) };
        let mut pair = Pair::new(PairConfig::new(seed, vec![shape]))?;
        pair.client_mut().traffic_mut().send(Bidirectional, 60_000);
        pair.server_mut().traffic_mut().reply_with(60_000);
        pair.run_until_delivered(secs(120)).map(|_| ())
    })
}

#[test]
fn every_datagram_twice_changes_nothing() -> Result<(), Failure> {
    let shape = LinkShape { duplicate: 1.0, ..delay(10) };
    let mut pair = Pair::new(PairConfig::new(1, vec![shape.clone(), shape]))?;
    pair.client_mut().traffic_mut().send(Unidirectional, 500_000);
    pair.server_mut().traffic_mut().send(Unidirectional, 500_000);
    pair.run_until_delivered(secs(20)).map(|_| ())
}

#[test]
fn random_bytes_never_end_a_connection_at_any_stage() -> Result<(), Failure> {
    for_each_seed(0..100, |seed| {
        let mut random = Random::labelled(seed, 1);
        let mut pair = Pair::new(PairConfig::new(seed, vec![delay(10), delay(15)]))?;
        pair.client_mut().traffic_mut().send(Bidirectional, 200_000);
        pair.server_mut().traffic_mut().reply_with(200_000);
        for _ in 0..300 {
            for role in [Role::Client, Role::Server] {
                let link = if random.chance(0.5) { FIRST } else { SECOND };
                let mut bytes = invent(&mut random);
                pair.inject(role, link, &mut bytes);
            }
            pair.step()?;
        }
        pair.run_until_delivered(secs(60)).map(|_| ())
    })
}

#[test]
fn bytes_with_the_look_of_quic_leave_no_state_at_the_server() -> Result<(), Failure> {
    let mut random = Random::new(7);
    let mut pair = Pair::new(PairConfig::new(1, vec![delay(10)]))?;
    pair.run_until_confirmed(secs(1))?;
    let stranger = |port| FourTuple {
        local: Pair::four_tuple(FIRST, Role::Server).local,
        remote: ([203, 0, 113, 7], port).into(),
    };
    for port in 1..5_000 {
        let mut bytes = invent(&mut random);
        pair.inject_from(Role::Server, stranger(port), &mut bytes);
    }
    pair.run_for(ms(100))?;
    assert_eq!(pair.server().endpoint().len(), 1, "only authentic Initial packets make connections");
    assert!(pair.is_confirmed());
    Ok(())
}

#[test]
fn damaged_copies_of_real_datagrams_are_dropped_and_counted() -> Result<(), Failure> {
    let shape = LinkShape { duplicate: 0.5, corrupt: 0.2, ..delay(10) };
    let mut pair = Pair::new(PairConfig::new(3, vec![shape]))?;
    pair.client_mut().traffic_mut().send(Unidirectional, 300_000);
    pair.run_until_delivered(secs(60))?;
    let connection = pair.server().connection();
    let (received, drops) =
        connection.map_or((0, 0), |connection| (connection.statistics().packets_received, connection.drops().total()));
    assert!(received > 0);
    let damaged = pair.network().statistics(FIRST, LinkDirection::AToB).corrupted;
    assert!(drops >= damaged / 2, "{drops} drops have a reason that is counted, {damaged} datagrams were damaged");
    Ok(())
}

#[test]
fn copies_from_a_wrong_address_do_not_move_the_connection() -> Result<(), Failure> {
    let mut random = Random::new(9);
    let mut pair = Pair::new(PairConfig::new(1, vec![delay(10)]))?;
    pair.client_mut().traffic_mut().send(Unidirectional, 300_000);
    pair.run_until_confirmed(secs(1))?;
    let before = addresses(pair.server().connection());
    for port in 1..500 {
        let mut bytes = invent(&mut random);
        let remote = ([203, 0, 113, 9], port).into();
        let four_tuple = FourTuple { remote, ..Pair::four_tuple(FIRST, Role::Server) };
        pair.inject_from(Role::Server, four_tuple, &mut bytes);
    }
    pair.run_until_delivered(secs(10))?;
    assert_eq!(addresses(pair.server().connection()), before);
    Ok(())
}

// ---- helpers ----

/// Random bytes; most begin like a QUIC packet.
fn invent(random: &mut Random) -> Vec<u8> {
    let len = match random.below(4) {
        0 => random.below(30),
        1 => 1_200,
        _ => 1 + random.below(1_472),
    };
    let mut bytes = vec![0; usize::try_from(len).unwrap_or_default()];
    random.fill(&mut bytes);
    let form = random.below(5);
    if let Some(first) = bytes.first_mut() {
        match form {
            0 => {}
            1 => *first = 0x40 | *first & 0x3f,
            2 => *first = 0xc0 | *first & 0x0f,
            _ => *first = 0xc0 | *first & 0x3f,
        }
    }
    if form >= 2
        && let Some(version) = bytes.get_mut(1..5)
    {
        version.copy_from_slice(&qbase::VERSION_1.to_be_bytes());
        let lens = [8, 8, 0, 20, 21, 255];
        if let Some(len) = bytes.get_mut(5) {
            *len = lens[usize::try_from(random.below(6)).unwrap_or_default()];
        }
    }
    bytes
}

fn addresses(connection: Option<&Connection>) -> Vec<FourTuple> {
    connection.map(|connection| connection.paths().map(|path| path.four_tuple).collect()).unwrap_or_default()
}
