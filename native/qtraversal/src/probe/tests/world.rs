//! A world of one host behind a NAT of any kind, and STUN servers, in virtual time.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use qbase::Timestamp;
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};

use super::super::{detection::*, life::*, *};
use crate::{
    address::tests::address,
    nat::*,
    stun::{Server, ServerConfig},
};

const DELAY: Duration = Duration::from_millis(20);
const PUBLIC: &str = "198.51.100.1:1";
const HOST: &str = "10.0.0.2:0";

/// How ports are given in the test's NAT.
#[derive(Clone, Copy, Debug)]
pub(super) enum Give {
    Same,
    Step(i32),
    Random,
    Parity,
}

/// A NAT with free choice of everything.
pub(super) struct Nat {
    pub(super) mapping: Mapping,
    pub(super) filtering: Filtering,
    pub(super) give: Give,
    pub(super) hairpin: Hairpin,
    pub(super) life: Duration,
    /// A mapping that looks endpoint-independent changes after so many servers.
    pub(super) changes_after: usize,
    pub(super) blocked: bool,
    /// A filtered packet changes the mapping towards its sender.
    pub(super) linux: bool,
    pub(super) came_first: BTreeSet<(SocketAddr, SocketAddr)>,
    pub(super) maps: Vec<Map>,
    pub(super) next: u16,
}

pub(super) struct Map {
    inside: SocketAddr,
    key: (Option<IpAddr>, Option<u16>, bool),
    outside: SocketAddr,
    peers: BTreeSet<SocketAddr>,
    used: Timestamp,
}

impl Nat {
    pub(super) fn new(mapping: Mapping, filtering: Filtering) -> Self {
        let life = Duration::from_secs(60);
        let (give, hairpin) = (Give::Random, Hairpin::None);
        Self { mapping, filtering, give, hairpin, life, changes_after: usize::MAX, blocked: false, linux: false, came_first: BTreeSet::new(), maps: Vec::new(), next: 20_000 }
    }

    fn out(&mut self, inside: SocketAddr, to: SocketAddr, now: Timestamp, random: &mut dyn RngCore) -> SocketAddr {
        self.maps.retain(|map| now.saturating_since(map.used) <= self.life);
        let servers: BTreeSet<_> =
            self.maps.iter().filter(|map| map.inside == inside).flat_map(|map| map.peers.iter().copied()).chain([to]).collect();
        let late = servers.len() > self.changes_after && self.maps.iter().any(|map| map.inside == inside && !map.peers.contains(&to));
        let key = match self.mapping {
            Mapping::AddressDependent => (Some(to.ip()), None, false),
            Mapping::AddressAndPortDependent => (Some(to.ip()), Some(to.port()), false),
            _ => (None, None, late),
        };
        let own = (Some(to.ip()), Some(to.port()), true);
        let spoilt = |map: &Map| map.inside == inside && map.key == key && self.came_first.contains(&(to, map.outside));
        let key = if self.linux && self.maps.iter().any(spoilt) { own } else { key };
        if let Some(map) = self.maps.iter_mut().find(|map| map.inside == inside && map.key == key) {
            map.peers.insert(to);
            map.used = now;
            return map.outside;
        }
        let outside = if self.mapping == Mapping::None { inside } else { self.give(inside.port(), random) };
        self.maps.push(Map { inside, key, outside, peers: BTreeSet::from([to]), used: now });
        outside
    }

    fn give(&mut self, inside: u16, random: &mut dyn RngCore) -> SocketAddr {
        let ip = address(PUBLIC).ip();
        for _ in 0..100 {
            let port = match self.give {
                Give::Same if self.maps.iter().all(|map| map.outside.port() != inside) => inside,
                Give::Step(step) => {
                    self.next = (i32::from(self.next) + step) as u16;
                    self.next
                }
                Give::Parity => (random.next_u32() as u16 | 1024) & !1 | inside & 1,
                Give::Same | Give::Random => random.next_u32() as u16 | 1024,
            };
            if self.maps.iter().all(|map| map.outside.port() != port) {
                return SocketAddr::new(ip, port);
            }
        }
        panic!("no port");
    }

    fn inward(&mut self, from: SocketAddr, outside: SocketAddr, now: Timestamp) -> Option<SocketAddr> {
        let map = self.maps.iter().find(|map| map.outside == outside && now.saturating_since(map.used) <= self.life)?;
        let open = match self.filtering {
            Filtering::AddressDependent => map.peers.iter().any(|peer| peer.ip() == from.ip()),
            Filtering::AddressAndPortDependent => map.peers.contains(&from),
            _ => true,
        };
        let inside = open.then_some(map.inside);
        if !open {
            self.came_first.insert((from, outside));
        }
        inside
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Server,
    Host,
}

/// Time, datagram number, place, from, to; messages by number.
type Flight = Reverse<(Timestamp, usize, Place, SocketAddr, SocketAddr)>;

pub(super) struct World {
    nat: Nat,
    servers: Vec<(BTreeSet<SocketAddr>, Server)>,
    /// Percent.
    loss: u32,
    random: ChaCha8Rng,
    flights: BinaryHeap<Flight>,
    messages: Vec<Message>,
    pub(super) sockets: BTreeMap<SocketNumber, SocketAddr>,
    now: Timestamp,
}

impl World {
    pub(super) fn new(nat: Nat, servers: Vec<ServerConfig>, loss: u32, seed: u64) -> Self {
        let servers = servers.into_iter().map(|config| (config.sockets.iter().copied().collect(), Server::new(config, 1))).collect();
        let own = if nat.mapping == Mapping::None { PUBLIC } else { HOST };
        let sockets = BTreeMap::from([(0, SocketAddr::new(address(own).ip(), 40_000))]);
        let random = ChaCha8Rng::seed_from_u64(seed);
        Self {
            nat,
            servers,
            loss,
            random,
            flights: BinaryHeap::new(),
            messages: Vec::new(),
            sockets,
            now: Timestamp::from_millis(1_000),
        }
    }

    fn fly(&mut self, place: Place, from: SocketAddr, to: SocketAddr, message: Message) {
        if self.random.next_u32() % 100 >= self.loss {
            self.messages.push(message);
            self.flights.push(Reverse((self.now + DELAY, self.messages.len() - 1, place, from, to)));
        }
    }

    fn send(&mut self, outgoing: Outgoing) {
        assert_eq!(outgoing.ttl, TTL);
        let inside = self.sockets[&outgoing.socket];
        if self.nat.blocked {
            return;
        }
        let outside = self.nat.out(inside, outgoing.to, self.now, &mut self.random);
        if self.nat.mapping != Mapping::None && outgoing.to.ip() == outside.ip() {
            let source = if self.nat.hairpin == Hairpin::Internal { inside } else { outside };
            if matches!(self.nat.hairpin, Hairpin::External | Hairpin::Internal) {
                self.fly(Place::Host, source, outgoing.to, outgoing.message);
            }
            return;
        }
        self.fly(Place::Server, outside, outgoing.to, outgoing.message);
    }

    fn open(&mut self, socket: SocketNumber) -> SocketAddr {
        let port = 30_000 + (self.random.next_u32() % 20_000) as u16;
        let local = SocketAddr::new(self.sockets[&0].ip(), port);
        self.sockets.insert(socket, local);
        local
    }

    /// Delivers what arrives up to `until`; returns what arrived first at a socket of ours.
    fn pass(&mut self, until: Timestamp) -> Option<(SocketNumber, Message, SocketAddr)> {
        while let Some(Reverse((at, n, place, from, to))) = self.flights.peek().copied() {
            if at > until {
                break;
            }
            self.flights.pop();
            self.now = at;
            let message = self.messages[n];
            match place {
                Place::Server => {
                    let Some((_, server)) = self.servers.iter_mut().find(|(sockets, _)| sockets.contains(&to)) else { continue };
                    let mut buffer = [0; 200];
                    let size = message.encode(&mut buffer).unwrap();
                    if let Ok(reply) = server.on_message(&message, size, to, from, at) {
                        let to_server = self.servers.iter().any(|(sockets, _)| sockets.contains(&reply.to));
                        let place = if to_server { Place::Server } else { Place::Host };
                        self.fly(place, reply.from, reply.to, reply.message);
                    }
                }
                Place::Host => {
                    let inside = self.nat.inward(from, to, at);
                    let socket = self.sockets.iter().find(|(_, local)| Some(**local) == inside).map(|(socket, _)| *socket);
                    if let Some(socket) = socket {
                        return Some((socket, message, from));
                    }
                }
            }
        }
        self.now = self.now.max(until.min(Timestamp::from_millis(u64::MAX / 2_000_000)));
        None
    }

    pub(super) fn detect(&mut self, mut detection: Detection) -> Detection {
        let mut random = ChaCha8Rng::seed_from_u64(99);
        for _ in 0..10_000 {
            match detection.poll(self.now, &mut random) {
                ProbeStep::Send(outgoing) => self.send(outgoing),
                ProbeStep::Open(socket) => {
                    let local = self.open(socket);
                    detection.on_opened(socket, Some(local));
                }
                ProbeStep::Close(socket) => drop(self.sockets.remove(&socket)),
                ProbeStep::Wait(due) => {
                    if let Some((socket, message, from)) = self.pass(due) {
                        detection.on_message(socket, &message, from, self.now);
                    }
                }
                ProbeStep::Done => return detection,
            }
        }
        panic!("the detection does not end: {detection:?}");
    }

    pub(super) fn search(&mut self, mut search: LifeSearch) -> LifeSearch {
        let mut random = ChaCha8Rng::seed_from_u64(98);
        for _ in 0..10_000 {
            match search.poll(self.now, &mut random) {
                ProbeStep::Send(outgoing) => self.send(outgoing),
                ProbeStep::Open(socket) => {
                    let local = self.open(socket);
                    search.on_opened(socket, Some(local));
                }
                ProbeStep::Close(socket) => drop(self.sockets.remove(&socket)),
                ProbeStep::Wait(due) => {
                    if let Some((socket, message, from)) = self.pass(due) {
                        search.on_message(socket, &message, from, self.now);
                    }
                }
                ProbeStep::Done => return search,
            }
        }
        panic!("the search does not end: {search:?}");
    }
}
