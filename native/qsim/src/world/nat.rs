//! Address translators: what a NAT makes of the datagrams between the hosts inside and the world outside (RFC 4787).
//!
//! Decides which outside address an inside one has towards a peer, and which peers may answer. Called by the world for
//! each datagram that reaches a translator. Never forwards by itself and never looks into a datagram.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use qbase::Timestamp;

use crate::random::Random;

/// First port that is given out; lower ones are only kept, never chosen.
const FIRST_PORT: u16 = 1_024;

/// On what a mapping, or leave to answer, depends (RFC 4787 §4.1, §5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dependence {
    /// On nothing: one for all peers.
    #[default]
    EndpointIndependent,
    /// On the peer's address.
    Address,
    /// On the peer's address and port.
    AddressPort,
}

/// Which outside port an inside one gets (RFC 4787 §4.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PortChoice {
    /// The same if it is free.
    #[default]
    Preserving,
    /// The one after the last.
    Sequential,
    /// Any.
    Random,
    /// The next that is even where the inside one is.
    Parity,
}

/// Something a translator does or does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Habit {
    /// It does.
    Yes,
    /// It does not.
    #[default]
    No,
}

/// What a translator is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NatOptions {
    /// On what mappings depend.
    pub mapping: Dependence,
    /// On what leave to answer depends.
    pub filtering: Dependence,
    /// Which ports it gives.
    pub ports: PortChoice,
    /// Inside hosts reach each other by their outside addresses (RFC 4787 §6).
    pub hairpin: Habit,
    /// How long a mapping lives that nothing leaves by.
    pub timeout: Duration,
    /// A peer whose datagram came before ours is given another outside port, as the connection tracker of Linux does it.
    pub linux: Habit,
    /// Nothing passes.
    pub blocked: Habit,
}

impl Default for NatOptions {
    fn default() -> Self {
        Self {
            mapping: Dependence::EndpointIndependent,
            filtering: Dependence::AddressPort,
            ports: PortChoice::Preserving,
            hairpin: Habit::No,
            timeout: Duration::from_secs(120),
            linux: Habit::No,
            blocked: Habit::No,
        }
    }
}

/// One inside address and what peers see of it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mapping {
    inside: SocketAddr,
    /// The peers it is for.
    key: Key,
    outside: SocketAddr,
    /// When something left by it last.
    used: Timestamp,
    /// Who was sent something.
    peers: BTreeSet<SocketAddr>,
}

/// The peers of a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    All,
    Host(IpAddr),
    Peer(SocketAddr),
}

impl Key {
    const fn of(dependence: Dependence, peer: SocketAddr) -> Self {
        match dependence {
            Dependence::EndpointIndependent => Self::All,
            Dependence::Address => Self::Host(peer.ip()),
            Dependence::AddressPort => Self::Peer(peer),
        }
    }
}

/// One translator.
#[derive(Debug)]
pub(super) struct Nat {
    options: NatOptions,
    mappings: Vec<Mapping>,
    /// Peers that sent to an outside port before anything was sent to them.
    early: BTreeSet<(u16, SocketAddr)>,
    /// Outside ports from before a rebind: not given again.
    spent: BTreeSet<u16>,
    last_port: u16,
    random: Random,
}

impl Nat {
    pub(super) fn new(options: NatOptions, random: Random) -> Self {
        let (early, spent) = (BTreeSet::new(), BTreeSet::new());
        Self { options, mappings: Vec::new(), early, spent, last_port: FIRST_PORT, random }
    }

    pub(super) const fn set(&mut self, options: NatOptions) {
        self.options = options;
    }

    pub(super) fn hairpins(&self) -> bool {
        self.options.hairpin == Habit::Yes
    }

    /// Forgets all mappings; what is sent from now on gets other outside ports.
    pub(super) fn rebind(&mut self) {
        self.spent.extend(self.mappings.drain(..).map(|mapping| mapping.outside.port()));
        self.early.clear();
    }

    /// Inside addresses and what peers see of them, the oldest first.
    pub(super) fn mappings(&self, now: Timestamp) -> impl Iterator<Item = (SocketAddr, SocketAddr)> {
        let timeout = self.options.timeout;
        self.mappings.iter().filter(move |mapping| is_alive(mapping, timeout, now)).map(|mapping| (mapping.inside, mapping.outside))
    }

    /// The source that a datagram from `inside` to `peer` has outside, at this address of ours; `None`: it does not pass.
    pub(super) fn leave(&mut self, now: Timestamp, inside: SocketAddr, peer: SocketAddr, own: IpAddr) -> Option<SocketAddr> {
        if self.options.blocked == Habit::Yes {
            return None;
        }
        let timeout = self.options.timeout;
        self.mappings.retain(|mapping| is_alive(mapping, timeout, now));
        let mut key = Key::of(self.options.mapping, peer);
        let find = |mappings: &[Mapping], key| {
            mappings.iter().position(|mapping| mapping.inside == inside && mapping.key == key && mapping.outside.ip() == own)
        };
        // A flow that was given a port of its own keeps it.
        let mut found = find(&self.mappings, Key::Peer(peer)).or_else(|| find(&self.mappings, key));
        let usual = found.and_then(|index| self.mappings.get(index)).map(|mapping| mapping.outside.port());
        let is_early = self.options.linux == Habit::Yes && self.early.contains(&(usual.unwrap_or(inside.port()), peer));
        if is_early && found.and_then(|index| self.mappings.get(index)).is_none_or(|mapping| !mapping.peers.contains(&peer)) {
            (key, found) = (Key::Peer(peer), None);
            self.spent.insert(usual.unwrap_or(inside.port()));
        }
        let index = match found {
            Some(index) => index,
            None => {
                let outside = SocketAddr::new(own, self.choose_port(inside.port(), own)?);
                self.mappings.push(Mapping { inside, key, outside, used: now, peers: BTreeSet::new() });
                self.mappings.len().saturating_sub(1)
            }
        };
        let mapping = self.mappings.get_mut(index)?;
        mapping.used = now;
        mapping.peers.insert(peer);
        Some(mapping.outside)
    }

    /// The inside address that a datagram from `peer` to our `outside` goes to; `None`: it does not pass.
    pub(super) fn enter(&mut self, now: Timestamp, outside: SocketAddr, peer: SocketAddr) -> Option<SocketAddr> {
        if self.options.blocked == Habit::Yes {
            return None;
        }
        let (timeout, filtering) = (self.options.timeout, self.options.filtering);
        let alive = self.mappings.iter().filter(|mapping| mapping.outside == outside && is_alive(mapping, timeout, now));
        let found = alive.into_iter().find(|mapping| match filtering {
            Dependence::EndpointIndependent => true,
            Dependence::Address => mapping.peers.iter().any(|known| known.ip() == peer.ip()),
            Dependence::AddressPort => mapping.peers.contains(&peer),
        });
        if found.is_none() {
            self.early.insert((outside.port(), peer));
        }
        found.map(|mapping| mapping.inside)
    }

    fn choose_port(&mut self, inside: u16, own: IpAddr) -> Option<u16> {
        let range = u16::MAX.saturating_sub(FIRST_PORT);
        let taken: BTreeSet<u16> = self.mappings.iter().filter(|mapping| mapping.outside.ip() == own).map(|mapping| mapping.outside.port()).collect();
        let is_free = |port: &u16| !taken.contains(port) && !self.spent.contains(port);
        if self.options.ports == PortChoice::Preserving && is_free(&inside) {
            return Some(inside);
        }
        let first = match self.options.ports {
            PortChoice::Random => FIRST_PORT.saturating_add(u16::try_from(self.random.below(u64::from(range))).unwrap_or(0)),
            PortChoice::Preserving => inside.max(FIRST_PORT),
            PortChoice::Sequential | PortChoice::Parity => self.last_port,
        };
        let parity = self.options.ports == PortChoice::Parity;
        let after = (first..=u16::MAX).chain(FIRST_PORT..first);
        let port = after.filter(|port| !parity || port % 2 == inside % 2).find(is_free)?;
        self.last_port = port.checked_add(1).unwrap_or(FIRST_PORT);
        Some(port)
    }
}

fn is_alive(mapping: &Mapping, timeout: Duration, now: Timestamp) -> bool {
    now.saturating_since(mapping.used) < timeout
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn as_on_linux_a_peer_that_came_first_is_given_another_port() {
        let mut plain = nat(NatOptions::default());
        let mut linux = nat(NatOptions { linux: Habit::Yes, ..NatOptions::default() });
        for (nat, expected) in [(&mut plain, [5_000, 5_000, 5_000]), (&mut linux, [5_000, 5_001, 5_001])] {
            ports(nat, &["192.0.2.1:1"]);
            assert!(nat.enter(START, SocketAddr::new(own(), 5_000), address("192.0.2.2:1")).is_none());
            assert_eq!(ports(nat, &["192.0.2.1:1", "192.0.2.2:1", "192.0.2.2:1"]), expected);
        }
    }

    #[test]
    fn a_blocking_one_lets_nothing_pass() {
        let mut nat = nat(NatOptions { blocked: Habit::Yes, ..NatOptions::default() });
        assert_eq!(nat.leave(START, address("10.0.1.1:5"), address("192.0.2.1:1"), own()), None);
        assert_eq!(nat.enter(START, SocketAddr::new(own(), 5), address("192.0.2.1:1")), None);
    }
}
