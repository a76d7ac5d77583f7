//! Mappings kept open: what they are, how long they live, what becomes of them (traversal T-46, T-47).

use std::{net::SocketAddr, time::Duration};

use qbase::Timestamp;
use qconnection::endpoint::nat::{Life, NatNews, Ticket};
use qsim::{
    Directions, Failure, LinkId,
    world::{NatKind, NatOptions, NodeId, PortChoice},
};
use qtraversal::{
    probe::ProbeConfig,
    stun::{Form, MappingEvent},
};

use crate::common::{
    secs,
    stun::{Asking, PORT},
};

/// The ticket of the keeper.
const KEEPER: u64 = 1;

fn keep(asking: &mut Asking) {
    let (now, local, server) = (asking.town.now(), asking.local(), asking.sockets[0]);
    asking.town.host_mut(asking.client).endpoint_mut().keep_mapping(Ticket(KEEPER), local, server, Form::Rfc, now);
}

fn events(asking: &Asking) -> Vec<(Timestamp, MappingEvent)> {
    let all = asking.town.host(asking.client).nat_news().iter();
    let event = |(at, news): &(Timestamp, NatNews)| match news {
        NatNews::Mapping { event, .. } => Some((*at, *event)),
        _ => None,
    };
    all.filter_map(event).collect()
}

fn requests(asking: &Asking) -> u64 {
    asking.town.host(asking.server).endpoint().stun_statistics().expect("a server").requests
}

/// One outside port after another, and mappings of this life.
fn mortal(seconds: u64) -> NatOptions {
    NatOptions { ports: PortChoice::Random, timeout: secs(seconds), ..NatOptions::default() }
}

/// traversal T-46: 15 s after each answer, so 20 requests in 5 minutes.
#[test]
fn a_mapping_is_told_once_and_kept() -> Result<(), Failure> {
    let mut asking = Asking::new(1, Some(mortal(30)), 0.0)?;
    keep(&mut asking);
    asking.town.run_for(secs(301))?;
    let events = events(&asking);
    let [(_, MappingEvent::Upsert(mapped))] = events[..] else { panic!("{events:?}") };
    assert_ne!(mapped, asking.local());
    assert_eq!(requests(&asking), 20);
    Ok(())
}

/// traversal T-46: a mapping that changed in a silence makes the next silences half as long.
#[test]
fn a_mapping_that_dies_early_is_told_anew_and_kept_from_then_on() -> Result<(), Failure> {
    let mut asking = Asking::new(1, Some(mortal(10)), 0.0)?;
    keep(&mut asking);
    asking.town.run_for(secs(300))?;
    let events = events(&asking);
    let [(first, MappingEvent::Upsert(before)), (second, MappingEvent::Upsert(after))] = events[..] else { panic!("{events:?}") };
    assert_ne!(before, after);
    assert_eq!(second.saturating_since(first).as_secs(), 15);
    Ok(())
}

/// traversal T-47.
#[test]
fn a_translator_that_forgets_is_noticed_at_the_next_exchange() -> Result<(), Failure> {
    let mut asking = Asking::new(1, Some(mortal(120)), 0.0)?;
    keep(&mut asking);
    asking.town.run_for(secs(20))?;
    // Server, client, then its translator.
    asking.town.world_mut().rebind(NodeId(3));
    asking.town.run_for(secs(15))?;
    let events = events(&asking);
    assert!(matches!(events[..], [(_, MappingEvent::Upsert(before)), (_, MappingEvent::Upsert(after))] if before != after), "{events:?}");
    Ok(())
}

/// traversal T-46, T-47: 3 tries of 300 ms, then again after a second.
#[test]
fn a_server_that_falls_silent_is_told_and_so_is_its_return() -> Result<(), Failure> {
    let mut asking = Asking::new(1, None, 0.0)?;
    keep(&mut asking);
    asking.town.run_for(secs(1))?;
    let (now, link) = (asking.town.now(), LinkId(2));
    asking.town.world_mut().cut(now, link, Directions::Both);
    asking.town.run_for(secs(30))?;
    let now = asking.town.now();
    asking.town.world_mut().restore(now, link, Directions::Both);
    asking.town.run_for(secs(3))?;
    let events = events(&asking);
    let local = asking.local();
    let [(_, MappingEvent::Upsert(first)), (gone, MappingEvent::Remove(removed)), (back, MappingEvent::Upsert(again))] = events[..] else {
        panic!("{events:?}")
    };
    assert_eq!([first, removed, again], [local; 3]);
    assert!(back.saturating_since(gone) < secs(20) && back > now && back < now + secs(3));
    Ok(())
}

/// traversal T-46, RFC 5780 §4.6: the life of mappings is measured with other sockets, and then mappings are kept open at 80 % of it.
#[test]
fn a_keeper_learns_how_long_mappings_live() -> Result<(), Failure> {
    let mut asking = Asking::new(1, Some(NatOptions { timeout: secs(60), ..NatKind::PortRestricted.options().expect("one") }), 0.0)?;
    keep(&mut asking);
    let (now, local) = (asking.town.now(), SocketAddr::new(asking.local().ip(), PORT + 1));
    let config = ProbeConfig::new(vec![asking.sockets[0]], Form::Rfc, None);
    asking.town.host_mut(asking.client).endpoint_mut().detect_nat(Ticket(7), local, config, Life::Measured, now);
    let client = asking.client;
    let reported = |news: &NatNews| matches!(news, NatNews::Report { .. });
    asking.town.run_until(|town| town.host(client).nat_news().iter().any(|(_, news)| reported(news)), secs(3_600))?;
    let Some(NatNews::Report { report: Some(report), .. }) = asking.news(7).last() else { panic!("a report") };
    let life = report.life;
    let below = life.below.expect("they die");
    assert!(life.at_least <= secs(60) && below >= secs(60) && below - life.at_least <= secs(5), "{life:?}");
    // The keeper asks that often from here on, and what it keeps is still there.
    let before = requests(&asking);
    asking.town.run_for(secs(480))?;
    let interval = life.at_least.as_secs_f64() * 0.8;
    let expected = 480.0 / interval;
    let asked = (requests(&asking) - before) as f64;
    assert!((asked - expected).abs() <= 1.0, "{asked} instead of {expected}");
    assert_eq!(events(&asking).len(), 1);
    let host = asking.town.host(client);
    assert_eq!((host.temporary_sockets().len(), host.endpoint().temporary_sockets()), (0, 0));
    Ok(())
}

/// A detection that is given up leaves no socket.
#[test]
fn a_detection_that_is_cancelled_closes_its_sockets() -> Result<(), Failure> {
    for after in [0, 50, 200, 500, 1_000, 2_000, 60_000] {
        let mut asking = Asking::new(1, NatKind::PortRestricted.options(), 0.0)?;
        let (now, local) = (asking.town.now(), asking.local());
        let config = ProbeConfig::new(vec![asking.sockets[0]], Form::Rfc, None);
        asking.town.host_mut(asking.client).endpoint_mut().detect_nat(Ticket(7), local, config, Life::Measured, now);
        asking.town.run_for(Duration::from_millis(after))?;
        let now = asking.town.now();
        asking.town.host_mut(asking.client).endpoint_mut().cancel_nat(Ticket(7), now);
        asking.town.run_for(secs(1))?;
        let host = asking.town.host(asking.client);
        assert_eq!((host.temporary_sockets().len(), host.endpoint().temporary_sockets(), host.next_timer()), (0, 0, None), "{after}");
        assert!(asking.news(7).all(|news| matches!(news, NatNews::Observed { .. })));
    }
    Ok(())
}
