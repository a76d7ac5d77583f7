//! A connection begins over a relay and finds its direct path: nothing is lost, nothing stands still for long, and it comes back
//! (traversal T-85…T-102; issue measures).

use qbase::{frame::PathStatusKind, limits};
use qconnection::{
    Event, Multipath, TraversalNews,
    connection::{
        events::PathEventKind,
        traversal::{Plans, PunchRefused},
    },
};
use qsim::{Failure, world::NatKind};
use qtraversal::{
    budget::PortSearch,
    punch::strategy::{HELLO_TTL, KNOCK_TTL, Step, Then},
    traversal::Start,
};

use crate::net::{CLIENT, Cut, Net, OTHER_PORT, PORT, SERVER, Setup, ms, secs};

/// Pairs whose ends meet: cones, an ordered pair, one with a foretold port from a temporary socket.
const MEETING: [(NatKind, NatKind); 7] = [
    (NatKind::FullCone, NatKind::FullCone),
    (NatKind::AddressRestricted, NatKind::PortRestricted),
    (NatKind::PortRestricted, NatKind::PortRestricted),
    (NatKind::PortRestricted, NatKind::Linux),
    (NatKind::Linux, NatKind::Linux),
    (NatKind::Sequential, NatKind::PortRestricted),
    (NatKind::PortRestricted, NatKind::Sequential),
];

/// traversal T-87, T-99, T-102: the client opens a path over the hole, data goes there, the relayed path steps back.
#[test]
fn two_ends_behind_translators_begin_over_a_relay_and_meet_with_no_byte_lost() -> Result<(), Failure> {
    for (a, b) in MEETING {
        for seed in 0..1 {
            let mut net = Net::new(Setup::new(a, b, seed))?;
            assert!(net.direct(CLIENT).is_none() && net.relayed > 0, "it begins over the relay");
            net.send(CLIENT, 1_500_000)?;
            net.run_for(ms(50))?;
            net.announce_both()?;
            let began = net.now;
            net.run_until(secs(12), Net::is_direct).map_err(|failure| Failure::new(format!("{} x {} seed {seed}: {failure}", a.name(), b.name())))?;
            net.run_until(secs(20), |net| net.ends[SERVER].received == 1_500_000)?;
            assert!(net.longest_pause(SERVER, began) <= ms(300), "{} x {}: {:?}", a.name(), b.name(), net.longest_pause(SERVER, began));
            net.run_for(ms(500))?;
            for end in [CLIENT, SERVER] {
                let relayed = net.relayed_path(end).expect("kept for bad times");
                assert_eq!((relayed.status, relayed.peer_status), (PathStatusKind::Backup, Some(PathStatusKind::Backup)), "{end}");
                assert!(net.news(end).any(|(_, news)| matches!(news, TraversalNews::Hole { .. })), "{end}");
            }
            // Data keeps to the direct path from now on.
            let before = net.relayed;
            net.send(SERVER, 500_000)?;
            net.run_until(secs(20), |net| net.ends[CLIENT].received == 500_000)?;
            assert!(net.relayed - before < 20, "{} datagrams over the relay", net.relayed - before);
        }
    }
    Ok(())
}

/// The measure: p50 of the time to a direct path at most two round trips over the relay and 150 ms.
#[test]
fn cone_pairs_are_direct_within_two_round_trips_over_the_relay_and_150_ms() -> Result<(), Failure> {
    let cones = [NatKind::FullCone, NatKind::AddressRestricted, NatKind::PortRestricted];
    let mut times = Vec::new();
    for (a, b) in cones.into_iter().flat_map(|a| cones.map(|b| (a, b))) {
        for seed in 0..2 {
            let mut net = Net::new(Setup::new(a, b, seed))?;
            net.announce_both()?;
            let began = net.now;
            net.run_until(secs(10), |net| net.direct(CLIENT).is_some())?;
            times.push(net.now.saturating_since(began));
        }
    }
    times.sort_unstable();
    // Each end is 27.5 ms from the relay: a round trip over it is 110 ms.
    let relay = ms(4 * 12 + 4 * 15 + 2);
    assert!(times[times.len() / 2] <= relay * 2 + ms(150), "{times:?}");
    Ok(())
}

/// Traffic falls back to the relay at once, and the ends meet again when they can (traversal T-99; multipath MP-83).
#[test]
fn a_direct_path_that_dies_leaves_its_traffic_to_the_relay_within_300_ms_and_is_punched_anew() -> Result<(), Failure> {
    for (a, b) in [(NatKind::PortRestricted, NatKind::PortRestricted), (NatKind::FullCone, NatKind::Linux)] {
        let mut net = Net::new(Setup::new(a, b, 7).with(|transport| transport.keep_alive = secs(5)))?;
        net.send(CLIENT, 6_000_000)?;
        net.run_for(ms(600))?;
        net.announce_both()?;
        net.run_until(secs(10), Net::is_direct)?;
        net.run_for(ms(700))?;
        net.cut = Cut::Straight;
        let cut = net.now;
        net.run_until(secs(30), |net| net.ends[SERVER].received == 6_000_000)?;
        assert!(net.longest_pause(SERVER, cut) <= ms(300), "{} x {}: {:?}", a.name(), b.name(), net.longest_pause(SERVER, cut));
        net.run_for(secs(12))?;
        assert!(net.direct(CLIENT).is_none());
        net.cut = Cut::Nothing;
        net.run_until(secs(90), Net::is_direct)?;
        let before = net.relayed;
        net.send(CLIENT, 200_000)?;
        net.run_until(secs(20), |net| net.ends[SERVER].received == 200_000)?;
        assert!(net.relayed - before < 20, "it is direct again");
    }
    Ok(())
}

/// traversal T-76, T-78: an end whose address changed withdraws it and announces another; the pair is punched at once.
#[test]
fn a_server_with_another_address_is_punched_anew() -> Result<(), Failure> {
    let mut net = Net::new(Setup::new(NatKind::PortRestricted, NatKind::PortRestricted, 3))?;
    net.announce(CLIENT, PORT)?;
    let first = net.announce(SERVER, PORT)?;
    net.run_until(secs(10), Net::is_direct)?;
    net.run_for(secs(1))?;
    net.learn(SERVER, OTHER_PORT);
    net.run_until(secs(2), |net| net.ends[SERVER].mapped.contains_key(&OTHER_PORT))?;
    // The old socket reaches nobody but the relay any more.
    let old = net.direct(SERVER).expect("direct").four_tuple;
    net.cut = Cut::OfServer(old.local.port());
    let now = net.now;
    net.connection_mut(SERVER)?.withdraw_address(now, first).map_err(evil::ends::failure)?;
    let second = net.announce(SERVER, OTHER_PORT)?;
    assert!(second > first, "numbers are never used twice");
    net.send(CLIENT, 2_000_000)?;
    net.run_until(secs(30), |net| net.direct(SERVER).is_some_and(|path| path.four_tuple.local.port() == OTHER_PORT))?;
    net.run_until(secs(20), |net| net.ends[SERVER].received == 2_000_000)?;
    Ok(())
}

/// traversal T-87 where multipath was not negotiated: the client's only path goes to the hole, and home again when it is silent.
#[test]
fn without_multipath_the_client_moves_to_the_hole_and_home_again() -> Result<(), Failure> {
    for (a, b) in [(NatKind::PortRestricted, NatKind::PortRestricted), (NatKind::Sequential, NatKind::PortRestricted)] {
        let mut net = Net::new(Setup::new(a, b, 5).with(|transport| {
            transport.multipath = Multipath::Off;
            transport.keep_alive = secs(5);
        }))?;
        net.send(CLIENT, 4_000_000)?;
        net.announce_both()?;
        net.run_until(secs(10), Net::is_direct)?;
        net.run_until(secs(20), |net| net.ends[SERVER].received > 2_000_000)?;
        assert_eq!(net.paths(CLIENT).len(), 1);
        net.cut = Cut::Straight;
        net.run_until(secs(30), |net| net.ends[SERVER].received == 4_000_000)?;
        assert!(net.direct(CLIENT).is_none());
        net.cut = Cut::Nothing;
        net.run_until(secs(90), Net::is_direct)?;
        net.send(SERVER, 300_000)?;
        net.run_until(secs(20), |net| net.ends[CLIENT].received == 300_000)?;
    }
    Ok(())
}

/// multipath section O: one space over all paths changes nothing about holes.
#[test]
fn in_shared_space_mode_the_ends_meet_as_well() -> Result<(), Failure> {
    let mut net = Net::new(Setup::new(NatKind::PortRestricted, NatKind::AddressRestricted, 2).with(|transport| transport.multipath = Multipath::SharedSpace))?;
    net.send(CLIENT, 2_000_000)?;
    net.announce_both()?;
    net.run_until(secs(10), Net::is_direct)?;
    net.run_until(secs(20), |net| net.ends[SERVER].received == 2_000_000)
}

/// traversal T-98: no translator forgets a direct path, however little is said; its temporary socket lives as long.
#[test]
fn an_idle_direct_path_stays_open_through_translators_that_forget_and_its_socket_goes_with_it() -> Result<(), Failure> {
    let mut net = Net::new(Setup::new(NatKind::Sequential, NatKind::PortRestricted, 4))?;
    net.announce_both()?;
    net.run_until(secs(10), Net::is_direct)?;
    let path = net.direct(CLIENT).expect("direct");
    assert_ne!(path.four_tuple.local.port(), PORT, "a foretold port is that of a temporary socket");
    assert_eq!(net.ends[CLIENT].endpoint.temporary_sockets(), 1);
    net.run_for(secs(300))?;
    assert_eq!(net.direct(CLIENT).map(|path| path.id), Some(path.id), "{}", net.failure("lost"));
    let now = net.now;
    net.connection_mut(CLIENT)?.abandon_path(now, path.id, 0).map_err(evil::ends::failure)?;
    net.cut = Cut::Straight;
    net.run_for(secs(5))?;
    assert_eq!(net.ends[CLIENT].endpoint.temporary_sockets(), 0, "{}", net.failure("left"));
    Ok(())
}

/// traversal V9: REMOVE_ADDRESS ends a punch, and nothing more is said about it.
#[test]
fn a_withdrawn_address_ends_its_punch_and_nothing_follows() -> Result<(), Failure> {
    let mut net = Net::new(Setup::new(NatKind::PortRestricted, NatKind::PortRestricted, 6).with(|transport| transport.keep_alive = secs(5)))?;
    net.cut = Cut::Straight;
    net.announce(CLIENT, PORT)?;
    let seq = net.announce(SERVER, PORT)?;
    net.run_until(secs(2), |net| net.probes.len() >= 4)?;
    let now = net.now;
    net.connection_mut(SERVER)?.withdraw_address(now, seq).map_err(evil::ends::failure)?;
    net.run_for(ms(150))?;
    let sent = net.probes.len();
    net.run_for(secs(100))?;
    assert_eq!(net.probes.len(), sent, "{}", net.failure("probes after the withdrawal"));
    let view = net.connection(CLIENT).and_then(|connection| connection.traversal_view()).expect("on");
    assert_eq!((view.running, view.remote.len()), (0, 0));
    assert_eq!(net.ends[CLIENT].endpoint.temporary_sockets() + net.ends[SERVER].endpoint.temporary_sockets(), 0);
    Ok(())
}

/// traversal V11.
#[test]
fn one_seed_is_one_history_of_punches() -> Result<(), Failure> {
    let run = |seed| -> Result<_, Failure> {
        let mut net = Net::new(Setup::new(NatKind::PortRestricted, NatKind::Sequential, seed))?;
        net.send(CLIENT, 1_000_000)?;
        net.announce_both()?;
        net.run_until(secs(10), Net::is_direct)?;
        net.run_until(secs(20), |net| net.ends[SERVER].received == 1_000_000)?;
        Ok((net.world.trace().hex(), net.probes, net.now))
    };
    let (first, second, other) = (run(1)?, run(1)?, run(2)?);
    assert_eq!(first, second);
    assert_ne!(first.0, other.0);
    Ok(())
}

/// Where nothing helps the connection stays on its relay, unbroken (attacks G10).
#[test]
fn ends_that_cannot_meet_stay_on_the_relay_unbroken() -> Result<(), Failure> {
    let mut net = Net::new(Setup::new(NatKind::Symmetric, NatKind::Symmetric, 1))?;
    net.announce_both()?;
    net.send(CLIENT, 1_000_000)?;
    net.run_until(secs(20), |net| net.ends[SERVER].received == 1_000_000)?;
    net.run_for(secs(25))?;
    assert!(!net.is_direct() && net.connection(CLIENT).is_some_and(|connection| connection.is_confirmed()));
    let closed = |end: usize| net.ends[end].events.iter().any(|(_, event)| matches!(event, Event::Closed(_)));
    assert!(!closed(CLIENT) && !closed(SERVER));
    Ok(())
}

/// draft-ietf-quic-address-discovery §4: on the direct path each end hears how it is seen; over the relay nobody is seen.
#[test]
fn each_end_hears_how_it_is_seen_on_its_direct_path() -> Result<(), Failure> {
    let mut net = Net::new(Setup::new(NatKind::PortRestricted, NatKind::FullCone, 9))?;
    net.run_for(secs(1))?;
    let observed = |net: &Net, end: usize| -> Vec<_> {
        net.news(end).filter_map(|(_, news)| if let TraversalNews::Observed { path, address } = news { Some((*path, *address)) } else { None }).collect()
    };
    assert!(observed(&net, CLIENT).is_empty() && observed(&net, SERVER).is_empty());
    net.announce_both()?;
    net.run_until(secs(10), Net::is_direct)?;
    net.run_for(secs(1))?;
    for end in [CLIENT, SERVER] {
        let path = net.direct(end).expect("direct").id;
        assert_eq!(observed(&net, end), [(path, net.ends[end].mapped[&PORT])], "{end}");
    }
    Ok(())
}

/// What other tests of this room say of paths.
#[test]
fn the_application_hears_of_each_step_in_its_order() -> Result<(), Failure> {
    let mut net = Net::new(Setup::new(NatKind::PortRestricted, NatKind::PortRestricted, 1))?;
    net.announce_both()?;
    net.run_until(secs(10), Net::is_direct)?;
    let steps: Vec<&str> = net.ends[CLIENT].events.iter().filter_map(|(_, event)| match event {
        Event::Traversal(news) => Some(match &**news {
            TraversalNews::State { .. } => "state",
            TraversalNews::Address { .. } => "address",
            TraversalNews::Round(_) => "round",
            TraversalNews::Hole { .. } => "hole",
            _ => return None,
        }),
        Event::Path(path) => match path.kind {
            PathEventKind::Opening(_) => Some("opening"),
            PathEventKind::Validated => Some("validated"),
            _ => None,
        },
        _ => None,
    }).collect();
    let mut last = 0;
    for step in ["state", "address", "round", "hole", "opening", "validated"] {
        let at = steps.iter().position(|known| *known == step).unwrap_or_else(|| panic!("no {step} in {steps:?}"));
        assert!(at >= last, "{steps:?}");
        last = at;
    }
    Ok(())
}

/// traversal T-90…T-97: where the application allows it, ports are searched; probes keep their bound, sockets are closed again.
#[test]
fn with_leave_a_symmetric_and_a_port_restricted_end_meet_by_a_port_search() -> Result<(), Failure> {
    let mut met = 0;
    for seed in 0..3 {
        let mut net = Net::new(Setup::new(NatKind::Symmetric, NatKind::PortRestricted, seed).with(|transport| {
            if let Some(traversal) = &mut transport.traversal {
                traversal.search = PortSearch::Allowed;
            }
        }))?;
        net.announce_both()?;
        met += u32::from(net.run_until(secs(28), Net::is_direct).is_ok());
        for end in [CLIENT, SERVER] {
            let sent = net.probes.iter().filter(|probe| probe.end == end).count();
            assert!(sent > limits::PROBES_PER_ROUND && sent <= limits::SEARCH_PROBES_PER_ADDRESS, "{sent}");
        }
        assert!(net.probes.iter().any(|probe| probe.ttl == KNOCK_TTL) && net.probes.iter().all(|probe| [KNOCK_TTL, HELLO_TTL].contains(&probe.ttl)), "traversal T-88");
        net.run_for(secs(2))?;
        assert!(net.ends[CLIENT].endpoint.temporary_sockets() <= 1, "{}", net.ends[CLIENT].endpoint.temporary_sockets());
    }
    assert!(met >= 2, "{met} of 3");
    Ok(())
}

/// traversal T-86: probes carry connection ids of their own, which no path had.
#[test]
fn the_first_probe_of_either_end_carries_an_id_that_no_path_carried() -> Result<(), Failure> {
    let mut net = Net::new(Setup::new(NatKind::PortRestricted, NatKind::PortRestricted, 8))?;
    net.run_for(ms(500))?;
    let on_paths: Vec<_> = net.ends.iter().map(|end| end.dcids.clone()).collect();
    net.announce_both()?;
    net.run_until(secs(10), Net::is_direct)?;
    for (end, used) in on_paths.into_iter().enumerate() {
        let probe = net.probes.iter().find(|probe| probe.end == end).expect("it probed");
        assert!(!used.is_empty() && !used.contains(&probe.dcid), "{end}");
        assert!(!net.ends[end].dcids.contains(&probe.dcid), "{end}: nor did one after it");
    }
    Ok(())
}

/// traversal T-101: a plan whose every step the application is asked for.
#[test]
fn an_application_makes_the_plan_step_by_step() -> Result<(), Failure> {
    let mut net = Net::new(Setup::new(NatKind::PortRestricted, NatKind::PortRestricted, 2).with(|transport| {
        if let Some(traversal) = &mut transport.traversal {
            (traversal.plans, traversal.start) = (Plans::Asked, Start::ByHand);
        }
    }))?;
    net.announce_both()?;
    net.run_for(ms(500))?;
    let now = net.now;
    let id = net.connection_mut(CLIENT)?.punch(now, 0, Plans::Asked).map_err(evil::ends::failure)?;
    net.turn_once()?;
    assert_eq!(net.connection_mut(CLIENT)?.punch(now, 0, Plans::Asked), Err(PunchRefused::Running));
    assert_eq!(net.connection_mut(CLIENT)?.punch(now, 7, Plans::Own), Err(PunchRefused::NoPair));
    let asked = |net: &Net, end: usize| net.news(end).filter(|(_, news)| matches!(news, TraversalNews::WantsSteps { .. })).count();
    net.run_until(secs(1), |net| asked(net, CLIENT) == 1)?;
    net.connection_mut(CLIENT)?.feed_punch(now, id, vec![Step::Tell, Step::ladder()], Then::Fail);
    net.run_until(secs(2), |net| asked(net, SERVER) == 1)?;
    let now = net.now;
    net.connection_mut(SERVER)?.feed_punch(now, id.flipped(), vec![Step::ladder()], Then::Ask);
    net.run_until(secs(5), Net::is_direct)?;
    assert_eq!(net.connection_mut(CLIENT)?.punch(now, 0, Plans::Own), Err(PunchRefused::Direct));
    Ok(())
}
