//! Path MTU discovery: larger datagrams where the path carries them, 1200 bytes where it does not (RFC 8899, RFC 9000 §14).

use qbase::{Direction::Unidirectional, PathId, Role, frame::{Frame, PathStatusKind}};
use qconnection::{
    Event, PathView, TransportConfig,
    connection::events::{PathEvent, PathEventKind},
};
use qsim::{
    Clock, Directions, Failure, Host, LinkDirection, LinkShape, Pair, PairConfig, Paths, Queue,
    script::{Action, When},
};

use crate::common;
use common::{
    FIRST, SECOND, delay,
    ends::failure,
    evil::arena::{Arena, Setup, addresses},
    for_each_seed, ms, secs,
};

/// A link that carries datagrams up to `mtu` bytes.
fn carrying(mtu: usize) -> LinkShape {
    LinkShape { mtu, queue: Queue::TailDrop { bytes: 4_000_000 }, ..delay(20).at_rate(50_000_000) }
}

fn view(pair: &Pair, path: u32) -> Result<PathView, Failure> {
    let connection = pair.client().connection().ok_or_else(|| failure("no connection"))?;
    connection.paths().find(|view| view.id == PathId(path)).ok_or_else(|| failure("no such path"))
}

/// Sizes the host's path 0 learned, in order.
fn sizes(host: &Host) -> Vec<u16> {
    let size = |event: &Event| match event {
        Event::Path(event) => match **event {
            PathEvent { path: PathId::ZERO, kind: PathEventKind::Mtu(size), .. } => Some(size),
            _ => None,
        },
        _ => None,
    };
    host.news().iter().filter_map(|(_, event)| size(event)).collect()
}

#[test]
fn a_bulk_transfer_sends_full_ethernet_packets_after_a_few_round_trips() -> Result<(), Failure> {
    let mut pair = Pair::new(PairConfig::new(1, vec![carrying(1_472)]))?;
    pair.run_until_confirmed(secs(1))?;
    pair.client_mut().traffic_mut().send(Unidirectional, 4_000_000);
    let found = pair.run_until(|pair| sizes(pair.client()) == [1_452], secs(5))?;
    assert!(found <= ms(4 * 40), "{found:?} with a round trip of 40 ms");
    pair.run_until_delivered(secs(5))?;
    Ok(())
}

/// Shows 8899-3-1, 8899-3-16, 8899-3-17, 9000-14.2-3, 9000-14.4-1.
#[test]
fn every_path_mtu_is_found_and_searching_costs_no_congestion_event() -> Result<(), Failure> {
    for mtu in [1_200, 1_212, 1_232, 1_252, 1_280, 1_350, 1_400, 1_420, 1_451, 1_452, 1_460] {
        let mut pair = Pair::new(PairConfig::new(1, vec![carrying(mtu)]))?;
        pair.client_mut().traffic_mut().send(Unidirectional, 20_000_000);
        pair.run_until_delivered(secs(20))?;
        let view = view(&pair, 0)?;
        let best = mtu.min(1_452) as u16;
        assert!(view.mtu <= best && best - view.mtu < 16, "{} on a path of {mtu}", view.mtu);
        assert_eq!((view.counters.packets_lost, view.pto_count), (0, 0), "path of {mtu}");
        let link = pair.network().statistics(FIRST, LinkDirection::AToB);
        assert!(link.too_long <= 18, "{} probes on a path of {mtu}", link.too_long);
    }
    Ok(())
}

#[test]
fn a_short_exchange_pays_for_no_probe() -> Result<(), Failure> {
    let mut pair = Pair::new(PairConfig::new(1, vec![carrying(1_300)]))?;
    pair.client_mut().traffic_mut().send(Unidirectional, 9_000);
    pair.run_until_delivered(secs(2))?;
    pair.run_for(secs(20))?;
    assert_eq!(pair.network().statistics(FIRST, LinkDirection::AToB).too_long, 0);
    Ok(())
}

/// attacks E16. Shows 8899-3-7, 8899-3-27.
#[test]
fn attack_e16_a_path_mtu_that_drops_mid_transfer_costs_three_ptos_at_most() -> Result<(), Failure> {
    for (mtu, from) in [(1_252, 1_452), (1_232, 1_452), (1_200, 1_452), (1_200, 1_300)] {
        let mut pair = Pair::new(PairConfig::new(1, vec![carrying(from)]))?;
        pair.client_mut().traffic_mut().send(Unidirectional, 25_000_000);
        pair.run_until(|pair| pair.server().traffic().received() > 2_000_000, secs(5))?;
        let before = view(&pair, 0)?;
        assert!(before.mtu > 1_252, "{}", before.mtu);
        pair.set(FIRST, &carrying(mtu));
        // What is on the wire still arrives; then nothing does until the sender has understood.
        pair.run_for(ms(25))?;
        let got = pair.server().traffic().received();
        let stall = pair.run_until(|pair| pair.server().traffic().received() > got + 20_000, secs(5))?;
        assert!(stall < ms(3 * 150), "{stall:?} from {from} to {mtu}");
        pair.run_until_delivered(secs(20))?;
        let after = view(&pair, 0)?;
        assert!(usize::from(after.mtu) <= mtu && mtu - usize::from(after.mtu) < 16, "{} of {mtu}", after.mtu);
    }
    Ok(())
}

/// attacks E16
#[test]
fn attack_e16_probes_lost_with_everything_else_only_take_longer() -> Result<(), Failure> {
    for_each_seed(0..24, |seed| {
        let mtu = [1_200, 1_252, 1_372, 1_452][seed as usize % 4];
        let shape = carrying(mtu).with_loss([0.01, 0.05, 0.2][seed as usize % 3]);
        let mut pair = Pair::new(PairConfig::new(seed, vec![shape]))?;
        pair.client_mut().traffic_mut().send(Unidirectional, 400_000);
        pair.server_mut().traffic_mut().send(Unidirectional, 200_000);
        pair.run_until_delivered(secs(200))?;
        assert!(usize::from(view(&pair, 0)?.mtu) <= mtu, "seed {seed}");
        Ok(())
    })
}

#[test]
fn an_outage_costs_the_larger_size_for_a_moment_only() -> Result<(), Failure> {
    let mut pair = Pair::new(PairConfig::new(1, vec![carrying(1_452)]))?;
    pair.client_mut().traffic_mut().send(Unidirectional, 8_000_000);
    pair.run_until(|pair| pair.server().traffic().received() > 1_000_000, secs(5))?;
    pair.cut(FIRST);
    pair.run_for(secs(1))?;
    pair.restore(FIRST);
    pair.run_until_delivered(secs(10))?;
    assert_eq!(view(&pair, 0)?.mtu, 1_452);
    Ok(())
}

/// Shows 9000-14.2-6.
#[test]
fn each_path_has_a_size_of_its_own_and_no_path_is_suspected_for_a_probe() -> Result<(), Failure> {
    let mut pair = Pair::new(PairConfig::new(1, vec![carrying(1_452), carrying(1_280)]))?;
    pair.client_mut().traffic_mut().send(Unidirectional, 20_000_000);
    pair.run_until_delivered(secs(20))?;
    let (first, second) = (view(&pair, 0)?, view(&pair, 1)?);
    assert_eq!(first.mtu, 1_452);
    assert!((1_265..=1_280).contains(&second.mtu), "{}", second.mtu);
    let suspected = |event: &Event| matches!(event, Event::Path(event) if event.kind == PathEventKind::Suspect);
    assert_eq!(pair.client().first(suspected), None);
    Ok(())
}

#[test]
fn a_path_that_carries_more_ten_minutes_later_is_found_out() -> Result<(), Failure> {
    let client = TransportConfig { keep_alive: secs(10), ..TransportConfig::default() };
    let mut pair = Pair::new(PairConfig { client, ..PairConfig::new(1, vec![carrying(1_300)]) })?;
    pair.client_mut().traffic_mut().send(Unidirectional, 4_000_000);
    pair.run_until_delivered(secs(10))?;
    pair.set(FIRST, &carrying(1_472));
    pair.client_mut().traffic_mut().send(Unidirectional, 4_000_000);
    pair.run_until_delivered(secs(10))?;
    assert!(view(&pair, 0)?.mtu <= 1_300, "not before its time");
    pair.run_for(secs(600))?;
    pair.client_mut().traffic_mut().send(Unidirectional, 4_000_000);
    pair.run_until_delivered(secs(10))?;
    assert_eq!(view(&pair, 0)?.mtu, 1_452);
    Ok(())
}

#[test]
fn an_interface_that_refuses_large_datagrams_gets_smaller_ones_at_once() -> Result<(), Failure> {
    for initial_mtu in [1_200, 1_452] {
        let shape = LinkShape { interface_mtu: 1_400, ..carrying(1_472) };
        let client = TransportConfig { initial_mtu, ..TransportConfig::default() };
        let mut pair = Pair::new(PairConfig { client, ..PairConfig::new(1, vec![shape]) })?;
        let confirmed = pair.run_until_confirmed(secs(1))?;
        assert!(confirmed < ms(90), "{confirmed:?}");
        pair.client_mut().traffic_mut().send(Unidirectional, 8_000_000);
        pair.run_until_delivered(secs(10))?;
        let view = view(&pair, 0)?;
        assert!((1_385..=1_400).contains(&view.mtu), "{} from {initial_mtu}", view.mtu);
        assert_eq!((view.counters.packets_lost, view.counters.send_errors), (0, 0));
    }
    Ok(())
}

/// attacks A24. Shows 9000-14.2.1-1.
#[test]
fn attack_a24_an_interface_that_claims_to_carry_less_than_1200_bytes_neither_closes_nor_shrinks_anything() -> Result<(), Failure> {
    let mut pair = Pair::new(PairConfig::new(1, vec![carrying(1_452)]))?;
    pair.client_mut().traffic_mut().send(Unidirectional, 4_000_000);
    pair.run_until(|pair| pair.server().traffic().received() > 1_000_000, secs(5))?;
    pair.set(FIRST, &LinkShape { interface_mtu: 576, ..carrying(1_452) });
    pair.run_for(secs(2))?;
    assert_eq!(view(&pair, 0)?.mtu, 1_200);
    pair.set(FIRST, &carrying(1_452));
    pair.run_until_delivered(secs(10))?;
    Ok(())
}

#[test]
fn the_first_datagrams_shrink_to_1200_bytes_where_larger_ones_vanish() -> Result<(), Failure> {
    let client = TransportConfig { initial_mtu: 1_452, ..TransportConfig::default() };
    let server = TransportConfig { initial_mtu: 1_452, ..TransportConfig::default() };
    let mut pair = Pair::new(PairConfig { client, server, ..PairConfig::new(1, vec![carrying(1_252)]) })?;
    pair.run_until_confirmed(secs(8))?;
    pair.client_mut().traffic_mut().send(Unidirectional, 300_000);
    pair.server_mut().traffic_mut().send(Unidirectional, 300_000);
    pair.run_until_delivered(secs(8))?;
    Ok(())
}

#[test]
fn a_path_opened_later_starts_small_and_finds_its_size() -> Result<(), Failure> {
    let config = PairConfig { paths: Paths::First, ..PairConfig::new(1, vec![carrying(1_452), carrying(1_400)]) };
    let mut pair = Pair::new(config)?;
    pair.client_mut().traffic_mut().send(Unidirectional, 2_000_000);
    pair.run_until_delivered(secs(5))?;
    pair.open_path(SECOND, PathStatusKind::Available)?;
    pair.plan(When::At(Clock::START + secs(30)), Action::Set(FIRST, Box::new(carrying(1_452)), Directions::Both));
    pair.run_until(|pair| view(pair, 1).is_ok(), secs(5))?;
    assert_eq!(view(&pair, 1)?.mtu, 1_200);
    pair.client_mut().traffic_mut().send(Unidirectional, 20_000_000);
    pair.run_until_delivered(secs(20))?;
    assert!((1_385..=1_400).contains(&view(&pair, 1)?.mtu));
    Ok(())
}

/// A server that has raised its datagrams to what the evil client accepts, and data to go on with.
fn raised(limit: u64) -> Result<Arena, Failure> {
    let mut setup = Setup::single_path();
    setup.parameters.max_udp_payload_size = limit;
    let mut arena = Arena::new(&setup)?;
    let stream = arena.connection_mut()?.open(Unidirectional).ok_or_else(|| failure("no credit"))?;
    for _ in 0..12 {
        arena.connection_mut()?.write(stream, &[7; 60_000]).map_err(failure)?;
        arena.pump()?;
        arena.ack()?;
        arena.wait(ms(20))?;
    }
    Ok(arena)
}

#[test]
fn nothing_larger_than_the_peer_accepts_is_sent_not_even_a_probe() -> Result<(), Failure> {
    for limit in [1_200, 1_300, 65_527] {
        let arena = raised(limit)?;
        let largest = arena.evil.heard.iter().map(|packet| packet.datagram).max().unwrap_or_default();
        assert_eq!(largest as u64, limit.min(1_452));
    }
    Ok(())
}

#[test]
fn a_peer_that_moves_gets_1200_bytes_until_the_new_path_has_proved_more() -> Result<(), Failure> {
    let mut arena = raised(65_527)?;
    let mtu = |arena: &Arena| Ok::<_, Failure>(arena.connection()?.paths().next().map(|view| view.mtu));
    assert_eq!(mtu(&arena)?, Some(1_452));
    arena.evil.four_tuple = addresses(9);
    arena.say(&[Frame::Ping])?;
    assert_eq!(mtu(&arena)?, Some(1_200));
    Ok(())
}

#[test]
fn the_option_switches_the_search_off() -> Result<(), Failure> {
    let client = TransportConfig { max_mtu: 1_200, ..TransportConfig::default() };
    let mut pair = Pair::new(PairConfig { client, ..PairConfig::new(1, vec![carrying(1_300)]) })?;
    pair.client_mut().traffic_mut().send(Unidirectional, 2_000_000);
    pair.run_until_delivered(secs(5))?;
    assert_eq!(view(&pair, 0)?.mtu, 1_200);
    assert_eq!(pair.network().statistics(FIRST, LinkDirection::AToB).too_long, 0);
    assert_eq!(pair.host(Role::Client).sent().refused, 0);
    Ok(())
}
