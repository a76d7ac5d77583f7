//! Where datagrams go, and what hosts hear when they cannot.

use std::time::Duration;

use super::*;

const MS: Duration = Duration::from_millis(1);
const START: Timestamp = Timestamp::from_millis(1_000);

/// Two hosts behind two routers with a short and a long way between these.
///
/// ```text
///   alice ═ left ═══════ right ═ bob
///             ╚═ detour ═╝
/// ```
struct Town {
    world: World,
    alice: NodeId,
    bob: NodeId,
    direct: LinkId,
}

fn town() -> Town {
    let mut world = World::new(1);
    let (alice, bob) = (world.host(), world.host());
    let [left, right, detour] = [(); 3].map(|()| world.router());
    let mut join = |a, b| world.link(START, a, b, &LinkShape::delayed(MS), Addressing::default()).expect("link");
    join(alice, left);
    join(right, bob);
    let direct = join(left, right);
    join(left, detour);
    join(detour, right);
    Town { world, alice, bob, direct }
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("address")
}

/// Sends a datagram from Alice to Bob; how many ms it takes, if it arrives.
fn travel(town: &mut Town, now: Timestamp) -> Option<u64> {
    let four_tuple = FourTuple { local: address("0.0.0.0:1"), remote: address("198.18.2.2:2") };
    town.world.send(now, town.alice, four_tuple, Ecn::Ect0, b"hello").expect("sent");
    for ms in 0..100 {
        if let Some(delivery) = town.world.pop_delivery(now + MS * ms) {
            assert_eq!((delivery.host, delivery.bytes.as_slice(), delivery.ecn), (town.bob, &b"hello"[..], Ecn::Ect0));
            assert_eq!(delivery.four_tuple, FourTuple { local: address("198.18.2.2:2"), remote: address("198.18.1.1:1") });
            return Some(u64::from(ms));
        }
    }
    None
}

#[test]
fn routers_take_the_shortest_way() {
    assert_eq!(travel(&mut town(), START), Some(3));
}

#[test]
fn a_router_whose_interface_is_down_is_passed_by_and_a_cut_wire_is_not() {
    let mut down = town();
    let [port, _] = down.world.ports(down.direct).expect("ports");
    down.world.set_interface(START, port, Interface::Down);
    assert_eq!(travel(&mut down, START), Some(4));
    down.world.set_interface(START, port, Interface::Up);
    assert_eq!(travel(&mut down, START + MS * 100), Some(3));
    let mut cut = town();
    cut.world.cut(START, cut.direct, Directions::Both);
    assert_eq!(travel(&mut cut, START), None);
    assert_eq!(cut.world.statistics(cut.direct, LinkDirection::AToB).cut, 1);
}

#[test]
fn a_new_link_is_used_at_once() {
    let mut town = town();
    let (alice, bob) = (town.alice, town.bob);
    town.world.link(START, alice, bob, &LinkShape::delayed(MS), Addressing::default()).expect("link");
    assert_eq!(town.world.addresses(alice).collect::<Vec<_>>(), ["198.18.1.1", "10.0.6.1"].map(|ip| ip.parse::<IpAddr>().expect("address")));
    assert_eq!(town.world.source_for(alice, address("10.0.6.2:1").ip()), Some(address("10.0.6.1:1").ip()));
    assert_eq!(town.world.source_for(alice, address("198.18.2.2:1").ip()), Some(address("10.0.6.1:1").ip()), "Bob is a neighbour");
}

#[test]
fn a_host_hears_at_once_what_its_own_interfaces_cannot_do() {
    let mut town = town();
    let send = |town: &mut Town, local: &str, remote: &str| {
        let four_tuple = FourTuple { local: address(local), remote: address(remote) };
        town.world.send(START, town.alice, four_tuple, Ecn::NotEct, b"x")
    };
    assert_eq!(send(&mut town, "198.18.1.1:1", "198.18.2.2:2"), Ok(()));
    assert_eq!(send(&mut town, "198.18.1.1:1", "192.0.2.1:2"), Ok(()), "the router drops it without a word");
    assert_eq!(send(&mut town, "198.18.1.9:1", "198.18.2.2:2"), Err(SendError::NoRoute), "not an address of ours");
    let [port, _] = town.world.ports(LinkId(0)).expect("ports");
    town.world.set_interface(START, port, Interface::Down);
    assert_eq!(send(&mut town, "198.18.1.1:1", "198.18.2.2:2"), Err(SendError::InterfaceDown));
    assert_eq!(send(&mut town, "0.0.0.0:1", "198.18.2.2:2"), Err(SendError::NoRoute));
}

#[test]
fn a_host_joined_to_a_host_reaches_nothing_behind_it() {
    let mut world = World::new(1);
    let hosts = [(); 3].map(|()| world.host());
    for pair in hosts.windows(2) {
        world.link(START, pair[0], pair[1], &LinkShape::default(), Addressing::default()).expect("link");
    }
    let four_tuple = FourTuple { local: address("10.0.1.1:1"), remote: address("10.0.2.2:2") };
    assert_eq!(world.send(START, hosts[0], four_tuple, Ecn::NotEct, b"x"), Err(SendError::NoRoute));
}

#[test]
fn a_renumbered_port_leaves_its_old_address_behind() {
    let mut town = town();
    let [_, port] = town.world.ports(LinkId(1)).expect("ports");
    assert_eq!(town.world.renumber(START, port, None), Ok(address("198.18.2.3:0").ip()));
    assert_eq!(travel(&mut town, START), None);
    assert_eq!(town.world.renumber(START, port, Some(address("198.18.2.2:0").ip())), Ok(address("198.18.2.2:0").ip()));
    assert_eq!(travel(&mut town, START + MS * 100), Some(3));
    assert_eq!(town.world.renumber(START, port, Some(address("198.18.1.1:0").ip())), Err(AttachError::InUse(address("198.18.1.1:0").ip())));
}

#[test]
fn links_that_cannot_be_are_refused() {
    let mut world = World::new(1);
    let (a, b) = (world.host(), world.host());
    let mut link = |a, b, first: Option<&str>, second: Option<&str>| {
        let parse = |text: &str| text.parse::<IpAddr>().expect("address");
        world.link(START, a, b, &LinkShape::default(), Addressing { a: first.map(parse), b: second.map(parse) })
    };
    assert_eq!(link(a, a, None, None), Err(AttachError::SameNode));
    assert_eq!(link(a, b, Some("10.1.1.1"), Some("fd00::1")), Err(AttachError::MixedFamilies));
    assert_eq!(link(a, b, Some("fd00::1"), None), Ok(LinkId(0)), "the other end lives beside it");
    assert_eq!(link(a, b, Some("fd00::2"), None), Err(AttachError::InUse("fd00::2".parse().expect("address"))));
}

#[test]
fn the_end_of_an_interface_is_deaf() {
    let mut town = town();
    let [_, port] = town.world.ports(LinkId(1)).expect("ports");
    town.world.set_interface(START, port, Interface::Down);
    assert_eq!(travel(&mut town, START), None);
}
