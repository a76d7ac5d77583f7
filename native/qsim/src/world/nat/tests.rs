//! What each kind of translator does, in the words of RFC 4787.

use super::*;

const START: Timestamp = Timestamp::from_millis(1_000);

fn nat(options: NatOptions) -> Nat {
    Nat::new(options, Random::new(1))
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("address")
}

fn own() -> IpAddr {
    address("198.18.1.1:0").ip()
}

/// The outside ports of one inside address towards these peers.
fn ports(nat: &mut Nat, peers: &[&str]) -> Vec<u16> {
    let inside = address("10.0.1.1:5000");
    peers.iter().map(|peer| nat.leave(START, inside, address(peer), own()).expect("passes").port()).collect()
}

#[test]
fn mappings_depend_on_what_they_are_said_to() {
    let peers = ["192.0.2.1:1", "192.0.2.1:2", "192.0.2.2:1"];
    for (mapping, expected) in [
        (Dependence::EndpointIndependent, vec![5_000, 5_000, 5_000]),
        (Dependence::Address, vec![5_000, 5_000, 5_001]),
        (Dependence::AddressPort, vec![5_000, 5_001, 5_002]),
    ] {
        assert_eq!(ports(&mut nat(NatOptions { mapping, ..NatOptions::default() }), &peers), expected, "{mapping:?}");
    }
}

#[test]
fn only_those_may_answer_whom_the_filter_knows() {
    for (filtering, expected) in [
        (Dependence::EndpointIndependent, [true, true, true]),
        (Dependence::Address, [true, true, false]),
        (Dependence::AddressPort, [true, false, false]),
    ] {
        let mut nat = nat(NatOptions { filtering, ..NatOptions::default() });
        ports(&mut nat, &["192.0.2.1:1"]);
        let outside = SocketAddr::new(own(), 5_000);
        let passes = ["192.0.2.1:1", "192.0.2.1:2", "192.0.2.2:1"].map(|peer| nat.enter(START, outside, address(peer)).is_some());
        assert_eq!(passes, expected, "{filtering:?}");
    }
}

#[test]
fn ports_are_kept_counted_drawn_or_of_one_parity() {
    let first = |ports| {
        let mut nat = nat(NatOptions { ports, mapping: Dependence::AddressPort, ..NatOptions::default() });
        self::ports(&mut nat, &["192.0.2.1:1", "192.0.2.1:2", "192.0.2.1:3"])
    };
    assert_eq!(first(PortChoice::Preserving), [5_000, 5_001, 5_002]);
    assert_eq!(first(PortChoice::Sequential), [1_024, 1_025, 1_026]);
    assert_eq!(first(PortChoice::Parity), [1_024, 1_026, 1_028]);
    let random = first(PortChoice::Random);
    assert!(random.windows(2).any(|pair| pair[1] != pair[0] + 1), "{random:?}");
    assert_eq!(random, first(PortChoice::Random), "the same seed");
}

#[test]
fn an_idle_mapping_is_forgotten_and_what_comes_in_does_not_keep_it() {
    let mut nat = nat(NatOptions { timeout: Duration::from_secs(30), ..NatOptions::default() });
    ports(&mut nat, &["192.0.2.1:1"]);
    let (outside, peer) = (SocketAddr::new(own(), 5_000), address("192.0.2.1:1"));
    assert!(nat.enter(START + Duration::from_secs(29), outside, peer).is_some());
    assert!(nat.enter(START + Duration::from_secs(30), outside, peer).is_none());
    assert_eq!(nat.mappings(START + Duration::from_secs(30)).count(), 0);
}

#[test]
fn after_a_rebind_ports_are_others() {
    let mut nat = nat(NatOptions::default());
    ports(&mut nat, &["192.0.2.1:1"]);
    nat.rebind();
    assert!(nat.enter(START, SocketAddr::new(own(), 5_000), address("192.0.2.1:1")).is_none());
    assert_eq!(ports(&mut nat, &["192.0.2.1:1"]), [5_001]);
}

/// RFC 4787 §4.1 and §5: each of the nine combinations does what its two words say, whichever ports it gives.
#[test]
fn all_nine_combinations_follow_the_definitions_with_every_choice_of_ports() {
    // Is the mapping towards the first peer used for another port of its host, and for another host?
    let mappings =
        [(Dependence::EndpointIndependent, [true, true]), (Dependence::Address, [true, false]), (Dependence::AddressPort, [false, false])];
    // Who may send to the mapping: the peer, another port of its host, another host?
    let filters = [
        (Dependence::EndpointIndependent, [true, true, true]),
        (Dependence::Address, [true, true, false]),
        (Dependence::AddressPort, [true, false, false]),
    ];
    let choices = [PortChoice::Preserving, PortChoice::Sequential, PortChoice::Random, PortChoice::Parity];
    for ((mapping, reused), (filtering, let_in)) in mappings.into_iter().flat_map(|row| filters.map(|filter| (row, filter))) {
        for choice in choices {
            let options = NatOptions { mapping, filtering, ports: choice, ..NatOptions::default() };
            let mut nat = nat(options);
            let first = ports(&mut nat, &["192.0.2.1:1"]);
            let outside = SocketAddr::new(own(), first[0]);
            let passes = ["192.0.2.1:1", "192.0.2.1:2", "192.0.2.2:1"].map(|peer| nat.enter(START, outside, address(peer)).is_some());
            assert_eq!(passes, let_in, "{options:?}");
            let others = ports(&mut nat, &["192.0.2.1:2", "192.0.2.2:1"]);
            assert_eq!([others[0] == first[0], others[1] == first[0]], reused, "{options:?}");
        }
    }
}

/// The reference table: what a server with two addresses and ports sees of each kind (RFC 5780 §4.3, §4.4).
#[test]
fn the_kinds_of_the_reference_table_look_as_their_names_say() {
    use Dependence::{Address, AddressPort, EndpointIndependent};
    for (kind, mapping, filtering, keeps_port) in [
        (NatKind::FullCone, EndpointIndependent, EndpointIndependent, true),
        (NatKind::AddressRestricted, EndpointIndependent, Address, true),
        (NatKind::PortRestricted, EndpointIndependent, AddressPort, true),
        (NatKind::Symmetric, AddressPort, AddressPort, false),
        (NatKind::Linux, EndpointIndependent, AddressPort, true),
        (NatKind::AddressDependent, Address, AddressPort, false),
        (NatKind::Sequential, AddressPort, AddressPort, false),
    ] {
        let mut nat = nat(kind.options().expect("a translator"));
        let seen = ports(&mut nat, &["192.0.2.1:1", "192.0.2.1:2", "192.0.2.2:1", "192.0.2.2:2"]);
        let looks = match [seen[1] == seen[0], seen[2] == seen[0]] {
            [true, true] => EndpointIndependent,
            [true, false] => Address,
            _ => AddressPort,
        };
        assert_eq!(looks, mapping, "{}: {seen:?}", kind.name());
        assert_eq!(seen[0] == 5_000, keeps_port, "{}: {seen:?}", kind.name());
        let outside = SocketAddr::new(own(), seen[0]);
        // Nobody was sent anything at these.
        let lets_in = match ["192.0.2.1:3", "192.0.2.3:1"].map(|peer| nat.enter(START, outside, address(peer)).is_some()) {
            [true, true] => EndpointIndependent,
            [true, false] => Address,
            _ => AddressPort,
        };
        assert_eq!(lets_in, filtering, "{}", kind.name());
    }
    assert_eq!(NatKind::None.options(), None);
    assert!(NatKind::ALL.into_iter().all(|kind| NatKind::named(kind.name()) == Some(kind)));
    assert_eq!(NatKind::named("cone"), None);
}

/// RFC 4787 §4.2.1, §4.2.2: a port of the low range stays low, and parity is that of the inside port.
#[test]
fn outside_ports_are_of_the_range_of_the_inside_one_and_of_its_parity() {
    let peers = ["192.0.2.1:1", "192.0.2.1:2", "192.0.2.1:3"].map(address);
    for ports in [PortChoice::Preserving, PortChoice::Sequential, PortChoice::Random, PortChoice::Parity] {
        let mut nat = nat(NatOptions { ports, mapping: Dependence::AddressPort, ..NatOptions::default() });
        for inside in [1, 1_023, 1_024, 5_001, 65_535] {
            for peer in peers {
                let outside = nat.leave(START, SocketAddr::new(own(), inside), peer, own()).expect("passes").port();
                assert_eq!(outside < 1_024, inside < 1_024, "{ports:?} {inside} {outside}");
                assert!(ports != PortChoice::Parity || outside % 2 == inside % 2, "{inside} {outside}");
            }
        }
    }
}

/// RFC 4787 §4.3: outbound refresh always, inbound refresh where it is chosen.
#[test]
fn what_comes_in_keeps_a_mapping_where_that_is_chosen() {
    for (refresh, linux, survives) in [(Refresh::Outbound, Habit::No, false), (Refresh::Both, Habit::No, true), (Refresh::Outbound, Habit::Yes, true)] {
        let mut nat = nat(NatOptions { timeout: Duration::from_secs(30), refresh, linux, ..NatOptions::default() });
        ports(&mut nat, &["192.0.2.1:1"]);
        let (outside, peer) = (SocketAddr::new(own(), 5_000), address("192.0.2.1:1"));
        assert!(nat.enter(START + Duration::from_secs(20), outside, peer).is_some());
        assert_eq!(nat.enter(START + Duration::from_secs(40), outside, peer).is_some(), survives, "{refresh:?} {linux:?}");
        assert!(nat.enter(START + Duration::from_secs(71), outside, peer).is_none());
    }
}

/// RFC 4787 §4.3: refreshed per mapping, or per session.
#[test]
fn sending_to_one_peer_keeps_leave_for_the_others_only_with_the_wide_scope() {
    for (scope, survives) in [(RefreshScope::Mapping, true), (RefreshScope::Session, false)] {
        let mut nat = nat(NatOptions { timeout: Duration::from_secs(30), scope, ..NatOptions::default() });
        let [a, b] = ["192.0.2.1:1", "192.0.2.2:1"].map(address);
        let inside = address("10.0.1.1:5000");
        nat.leave(START, inside, a, own()).expect("passes");
        nat.leave(START + Duration::from_secs(20), inside, b, own()).expect("passes");
        let outside = SocketAddr::new(own(), 5_000);
        assert_eq!(nat.enter(START + Duration::from_secs(40), outside, a).is_some(), survives, "{scope:?}");
        assert!(nat.enter(START + Duration::from_secs(40), outside, b).is_some());
    }
}

/// RFC 4787 §8 calls this non-deterministic: what the mapping is depends on who sent first.
#[test]
fn as_on_linux_a_peer_that_came_first_is_given_another_port() {
    let mut plain = nat(NatOptions::default());
    let mut linux = nat(NatOptions { linux: Habit::Yes, ..NatOptions::default() });
    for (nat, is_plain) in [(&mut plain, true), (&mut linux, false)] {
        ports(nat, &["192.0.2.1:1"]);
        assert!(nat.enter(START, SocketAddr::new(own(), 5_000), address("192.0.2.2:1")).is_none());
        let seen = ports(nat, &["192.0.2.1:1", "192.0.2.2:1", "192.0.2.2:1", "192.0.2.3:1"]);
        assert_eq!((seen[0], seen[1] == 5_000, seen[1] == seen[2], seen[3]), (5_000, is_plain, true, 5_000), "{seen:?}");
    }
}

#[test]
fn what_a_peer_began_with_the_tracker_is_forgotten_when_it_is_silent_for_long() {
    let options = NatOptions { timeout: Duration::from_secs(30), ..NatKind::Linux.options().expect("a translator") };
    let (outside, inside, peer) = (SocketAddr::new(own(), 5_000), address("10.0.1.1:5000"), address("192.0.2.2:1"));
    for (again, kept) in [(20, false), (45, true)] {
        let mut nat = nat(options);
        for seconds in [0, 20, again] {
            nat.enter(START + Duration::from_secs(seconds), outside, peer);
        }
        let port = nat.leave(START + Duration::from_secs(55), inside, peer, own()).expect("passes").port();
        assert_eq!(port == 5_000, !kept, "{again}");
    }
}

#[test]
fn a_tracker_gives_one_outside_port_to_two_hosts_as_long_as_their_peers_differ() {
    let mut nat = nat(NatKind::Linux.options().expect("a translator"));
    let [first, second] = ["10.0.1.1:5000", "10.0.2.1:5000"].map(address);
    let [a, b] = ["192.0.2.1:1", "192.0.2.2:1"].map(address);
    let mut leave = |inside, peer| nat.leave(START, inside, peer, own()).expect("passes");
    let shared = SocketAddr::new(own(), 5_000);
    assert_eq!((leave(first, a), leave(second, b)), (shared, shared));
    assert_ne!(leave(second, a), shared, "that flow exists");
    assert_eq!(nat.enter(START, shared, a), Some(first));
    assert_eq!(nat.enter(START, shared, b), Some(second));
    assert_eq!(nat.mappings(START).filter(|(_, outside)| *outside == shared).count(), 2);
}

#[test]
fn the_same_seed_gives_the_same_ports() {
    let draw = |kind: NatKind, seed| {
        let mut nat = Nat::new(kind.options().expect("a translator"), Random::new(seed));
        ports(&mut nat, &["192.0.2.1:1", "192.0.2.1:2", "192.0.2.2:1"])
    };
    for kind in NatKind::ALL.into_iter().filter(|kind| kind.options().is_some()) {
        assert_eq!(draw(kind, 7), draw(kind, 7), "{}", kind.name());
    }
    assert_ne!(draw(NatKind::Symmetric, 7), draw(NatKind::Symmetric, 8));
}

#[test]
fn a_blocking_one_lets_nothing_pass() {
    let mut nat = nat(NatOptions { blocked: Habit::Yes, ..NatOptions::default() });
    assert_eq!(nat.leave(START, address("10.0.1.1:5"), address("192.0.2.1:1"), own()), None);
    assert_eq!(nat.enter(START, SocketAddr::new(own(), 5), address("192.0.2.1:1")), None);
}
