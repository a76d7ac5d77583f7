//! What passes an address translator, where it goes on and under which addresses.
//!
//! Called by the world for each datagram that reaches a translator, and for the verbs of translators. What a mapping is
//! and who may answer is [`super::nat`]'s part.

use std::net::SocketAddr;

use qbase::{FourTuple, Timestamp};

use super::{
    NatOptions, NodeId, PortId, World,
    ports::{Port, Side},
};
use crate::{
    trace::Fate,
    wires::{Arrival, Header, LaneId},
};

impl World {
    /// Another kind of translator from now on; its mappings stay.
    pub fn set_nat(&mut self, nat: NodeId, options: NatOptions) {
        if let Some(nat) = self.nats.get_mut(&nat) {
            nat.set(options);
        }
    }

    /// Forgets all mappings of a translator; what is sent from now on gets other outside ports.
    pub fn rebind(&mut self, nat: NodeId) {
        if let Some(nat) = self.nats.get_mut(&nat) {
            nat.rebind();
        }
    }

    /// Inside addresses of a translator and what peers see of them.
    pub fn mappings(&self, now: Timestamp, nat: NodeId) -> impl Iterator<Item = (SocketAddr, SocketAddr)> {
        self.nats.get(&nat).into_iter().flat_map(move |nat| nat.mappings(now))
    }

    /// A datagram has come to a translator over this lane: it goes on, or ends here.
    pub(super) fn pass_nat(&mut self, lane: LaneId, arrival: Arrival) {
        match self.translate(arrival.at, lane, arrival.four_tuple) {
            Some((port, four_tuple)) => {
                self.offer(arrival.at, port, Header { four_tuple, ecn: arrival.ecn, ttl: arrival.ttl }, &arrival.bytes);
                self.recycle(arrival.bytes);
            }
            None => self.wires.refuse(arrival, Fate::Nat),
        }
    }

    /// Where a datagram goes on and how its receiver sees it.
    fn translate(&mut self, now: Timestamp, lane: LaneId, four_tuple: FourTuple) -> Option<(PortId, FourTuple)> {
        let FourTuple { local: destination, remote: source } = four_tuple;
        let (_, Port { node, side, .. }) = self.far_port(lane)?;
        let (node, side) = (*node, *side);
        let own = self.ports_of(node).find(|(_, port)| port.address == destination.ip()).map(|(_, port)| port.side);
        match (side, own) {
            (Side::Outside, Some(Side::Outside)) => {
                let inside = self.nats.get_mut(&node)?.enter(now, destination, source)?;
                Some((self.towards_inside(node, inside)?, FourTuple { local: inside, remote: source }))
            }
            (Side::Inside, Some(Side::Outside)) => {
                let nat = self.nats.get_mut(&node).filter(|nat| nat.hairpins())?;
                let seen = nat.leave(now, source, destination, destination.ip())?;
                let inside = nat.enter(now, destination, seen)?;
                Some((self.towards_inside(node, inside)?, FourTuple { local: inside, remote: seen }))
            }
            (Side::Inside, None) => {
                let id = self.next_port(node, destination.ip())?;
                let Port { side, address, .. } = *self.port(id)?;
                if side == Side::Inside {
                    return Some((id, four_tuple));
                }
                let seen = self.nats.get_mut(&node)?.leave(now, source, destination, address)?;
                Some((id, FourTuple { local: destination, remote: seen }))
            }
            _ => None,
        }
    }

    fn towards_inside(&mut self, nat: NodeId, inside: SocketAddr) -> Option<PortId> {
        let id = self.next_port(nat, inside.ip())?;
        self.port(id).is_some_and(|port| port.side == Side::Inside).then_some(id)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use qbase::Ecn;

    use super::*;
    use crate::{
        link::LinkShape,
        world::{Addressing, Habit, Plug},
    };

    const START: Timestamp = Timestamp::from_millis(1_000);

    /// Two hosts behind one translator, a server outside.
    struct Home {
        world: World,
        hosts: [NodeId; 2],
        server: NodeId,
        nat: NodeId,
    }

    fn home(options: NatOptions) -> Home {
        let mut world = World::new(1);
        let hosts = [world.host(), world.host()];
        let (nat, net, server) = (world.nat(options), world.router(), world.host());
        let mut join = |a: Plug, b: Plug| world.link(START, a, b, &LinkShape::default(), Addressing::default()).expect("link");
        let inside = Plug { node: nat, side: Side::Inside };
        for host in hosts {
            join(host.into(), inside);
        }
        join(nat.into(), net.into());
        join(server.into(), net.into());
        Home { world, hosts, server, nat }
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("address")
    }

    /// Sends a datagram; who gets it and from whom it seems to come.
    fn send(home: &mut Home, host: NodeId, from: &str, to: SocketAddr) -> Option<(NodeId, SocketAddr)> {
        let four_tuple = FourTuple { local: address(from), remote: to };
        home.world.send(START, host, four_tuple, Ecn::NotEct, b"x").expect("sent");
        home.world.pop_delivery(START).map(|delivery| (delivery.host, delivery.four_tuple.remote))
    }

    #[test]
    fn what_leaves_has_the_outside_address_and_the_answer_finds_its_way_back() {
        let mut home = home(NatOptions::default());
        let (hosts, server) = (home.hosts, home.server);
        let seen = send(&mut home, hosts[0], "10.0.1.1:5000", address("198.18.4.1:443"));
        assert_eq!(seen, Some((server, address("198.18.3.1:5000"))));
        let answer = send(&mut home, server, "198.18.4.1:443", address("198.18.3.1:5000"));
        assert_eq!(answer, Some((hosts[0], address("198.18.4.1:443"))));
        assert_eq!(home.world.mappings(START, home.nat).collect::<Vec<_>>(), [(address("10.0.1.1:5000"), address("198.18.3.1:5000"))]);
        assert_eq!(send(&mut home, server, "198.18.4.1:444", address("198.18.3.1:5000")), None, "the filter");
        assert_eq!(send(&mut home, server, "198.18.4.1:443", address("10.0.1.1:5000")), None, "inside addresses lead nowhere");
    }

    #[test]
    fn inside_hosts_reach_each_other_directly_and_by_a_hairpin_if_there_is_one() {
        for (hairpin, expected) in [(Habit::No, false), (Habit::Yes, true)] {
            let mut home = home(NatOptions { hairpin, filtering: crate::world::Dependence::EndpointIndependent, ..NatOptions::default() });
            let hosts = home.hosts;
            let direct = send(&mut home, hosts[0], "10.0.1.1:5000", address("10.0.2.1:6000"));
            assert_eq!(direct, Some((hosts[1], address("10.0.1.1:5000"))));
            send(&mut home, hosts[1], "10.0.2.1:6000", address("198.18.4.1:443"));
            let hairpin = send(&mut home, hosts[0], "10.0.1.1:5000", address("198.18.3.1:6000"));
            assert_eq!(hairpin, expected.then_some((hosts[1], address("198.18.3.1:5000"))));
        }
    }

    #[test]
    fn translators_behind_translators_pass_what_leaves() {
        let mut world = World::new(1);
        let (host, server) = (world.host(), world.host());
        let [inner, outer] = [(); 2].map(|()| world.nat(NatOptions::default()));
        let inside = |node| Plug { node, side: Side::Inside };
        let shape = LinkShape::delayed(Duration::from_millis(1));
        world.link(START, host, inside(inner), &shape, Addressing::default()).expect("link");
        world.link(START, inner, inside(outer), &shape, Addressing::default()).expect("link");
        world.link(START, outer, server, &shape, Addressing::default()).expect("link");
        let four_tuple = FourTuple { local: address("10.0.1.1:7"), remote: address("198.18.3.2:8") };
        world.send(START, host, four_tuple, Ecn::NotEct, b"x").expect("sent");
        let later = START + Duration::from_millis(3);
        let delivery = [1, 2, 3].into_iter().find_map(|ms| world.pop_delivery(START + Duration::from_millis(ms))).expect("arrives");
        assert_eq!((delivery.host, delivery.four_tuple.remote), (server, address("198.18.3.1:7")));
        let answer = FourTuple { local: address("198.18.3.2:8"), remote: address("198.18.3.1:7") };
        world.send(later, server, answer, Ecn::NotEct, b"y").expect("sent");
        let back = [1, 2, 3].into_iter().find_map(|ms| world.pop_delivery(later + Duration::from_millis(ms))).expect("arrives");
        assert_eq!(back.host, host);
    }

    /// Two homes behind one provider's translator; the ports are `[host, host]`.
    fn provider(hairpin: Habit) -> (World, [NodeId; 2]) {
        let mut world = World::new(1);
        let hosts = [world.host(), world.host()];
        let homes = [(); 2].map(|()| world.nat(NatOptions::default()));
        let provider = world.nat(NatOptions { hairpin, filtering: crate::world::Dependence::EndpointIndependent, ..NatOptions::default() });
        let net = world.router();
        let mut join = |a: Plug, b: Plug| world.link(START, a, b, &LinkShape::default(), Addressing::default()).expect("link");
        let inside = |node| Plug { node, side: Side::Inside };
        for (host, home) in hosts.into_iter().zip(homes) {
            join(host.into(), inside(home));
            join(home.into(), inside(provider));
        }
        join(provider.into(), net.into());
        let server = world.host();
        world.link(START, net, server, &LinkShape::default(), Addressing::default()).expect("link");
        (world, hosts)
    }

    /// RFC 4787 §6: the hairpin of the outermost translator joins homes behind it, seen by its outside address.
    #[test]
    fn homes_behind_one_provider_meet_by_the_hairpin_of_its_translator() {
        for (hairpin, expected) in [(Habit::No, None), (Habit::Yes, Some(address("198.18.5.1:5000")))] {
            let (mut world, hosts) = provider(hairpin);
            let mut send = |host: usize, from: &str, to: &str| {
                let four_tuple = FourTuple { local: address(from), remote: address(to) };
                world.send(START, hosts[host], four_tuple, Ecn::NotEct, b"x").expect("sent");
                world.pop_delivery(START).map(|delivery| (delivery.host, delivery.four_tuple.remote))
            };
            assert!(send(0, "10.0.1.1:5000", "198.18.6.2:443").is_some(), "the server");
            assert!(send(1, "10.0.3.1:6000", "198.18.6.2:443").is_some(), "the server");
            // Opens the filter of the first home; that of the second is still shut.
            assert_eq!(send(0, "10.0.1.1:5000", "198.18.5.1:6000"), None);
            let met = send(1, "10.0.3.1:6000", "198.18.5.1:5000");
            assert_eq!(met.map(|(host, _)| host), expected.map(|_| hosts[0]));
            let back = send(0, "10.0.1.1:5000", "198.18.5.1:6000");
            assert_eq!(back, expected.map(|seen| (hosts[1], seen)));
        }
    }

    /// traversal T-88: a knock opens the sender's own translator and dies before the far one.
    #[test]
    fn a_datagram_of_short_life_opens_the_near_translator_and_never_reaches_the_far_one() {
        let mut world = World::new(1);
        let hosts = [world.host(), world.host()];
        let homes = [(); 2].map(|()| world.nat(NatOptions::default()));
        let net = world.router();
        world.set_hops(net, 6);
        for (host, home) in hosts.into_iter().zip(homes) {
            world.link(START, host, Plug { node: home, side: Side::Inside }, &LinkShape::default(), Addressing::default()).expect("link");
            world.link(START, home, net, &LinkShape::default(), Addressing::default()).expect("link");
        }
        let mut send = |host: usize, from: &str, to: &str, ttl| {
            let four_tuple = FourTuple { local: address(from), remote: address(to) };
            world.send_with_ttl(START, hosts[host], four_tuple, Ecn::NotEct, ttl, b"x").expect("sent");
            world.pop_delivery(START).map(|delivery| delivery.host)
        };
        assert_eq!(send(0, "10.0.1.1:5000", "198.18.4.1:6000", 5), None);
        assert_eq!(send(1, "10.0.3.1:6000", "198.18.2.1:5000", 8), None, "one too few");
        assert_eq!(send(1, "10.0.3.1:6000", "198.18.2.1:5000", 9), Some(hosts[0]), "translator, six routers, translator");
    }
}
