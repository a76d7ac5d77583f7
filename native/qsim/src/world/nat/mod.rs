//! Address translators: what a NAT makes of the datagrams between the hosts inside and the world outside (RFC 4787).
//!
//! Decides which outside address an inside one has towards a peer, and which peers may answer. Called by the world for
//! each datagram that reaches a translator. Never forwards by itself and never looks into a datagram.

mod options;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use qbase::Timestamp;

pub use self::options::{Dependence, Habit, NatKind, NatOptions, PortChoice, Refresh, RefreshScope};
use crate::random::Random;

/// First port of the upper range: an outside port is of the same range as the inside one (RFC 4787 §4.2.1).
const FIRST_PORT: u16 = 1_024;

/// One inside address and what peers see of it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mapping {
    inside: SocketAddr,
    /// The peers it is for.
    key: Key,
    outside: SocketAddr,
    /// When something refreshed it last.
    used: Timestamp,
    /// Who was sent something, and when that was refreshed last.
    peers: BTreeMap<SocketAddr, Timestamp>,
}

impl Mapping {
    /// Leave to answer, as the filter sees it.
    fn lets_in(&self, peer: SocketAddr, options: &NatOptions, now: Timestamp) -> bool {
        let lives = |refreshed: &Timestamp| options.scope == RefreshScope::Mapping || is_recent(*refreshed, options.timeout, now);
        let filtering = if options.linux == Habit::Yes { Dependence::AddressPort } else { options.filtering };
        match filtering {
            Dependence::EndpointIndependent => true,
            Dependence::Address => self.peers.iter().any(|(known, refreshed)| known.ip() == peer.ip() && lives(refreshed)),
            Dependence::AddressPort => self.peers.get(&peer).is_some_and(lives),
        }
    }
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
    /// Flows that a peer began with an outside port, and when it sent last; kept by a tracker alone.
    early: BTreeMap<(u16, SocketAddr), Timestamp>,
    /// Outside ports from before a rebind: not given again.
    spent: BTreeSet<u16>,
    last_port: u16,
    random: Random,
}

impl Nat {
    pub(super) fn new(options: NatOptions, random: Random) -> Self {
        let (early, spent) = (BTreeMap::new(), BTreeSet::new());
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

    /// Inside addresses and what peers see of them, each pair once, the oldest first.
    pub(super) fn mappings(&self, now: Timestamp) -> impl Iterator<Item = (SocketAddr, SocketAddr)> {
        let timeout = self.options.timeout;
        let alive = self.mappings.iter().filter(move |mapping| is_recent(mapping.used, timeout, now));
        let mut seen = BTreeSet::new();
        alive.map(|mapping| (mapping.inside, mapping.outside)).filter(move |pair| seen.insert(*pair))
    }

    /// The source that a datagram from `inside` to `peer` has outside, at this address of ours; `None`: it does not pass.
    pub(super) fn leave(&mut self, now: Timestamp, inside: SocketAddr, peer: SocketAddr, own: IpAddr) -> Option<SocketAddr> {
        if self.options.blocked == Habit::Yes {
            return None;
        }
        let timeout = self.options.timeout;
        self.mappings.retain(|mapping| is_recent(mapping.used, timeout, now));
        let key = match self.options.linux {
            Habit::Yes => Key::Peer(peer),
            Habit::No => Key::of(self.options.mapping, peer),
        };
        let own_mappings = |mapping: &Mapping| mapping.inside == inside && mapping.outside.ip() == own;
        // What has begun keeps its mapping, whatever the options have become since.
        let flow = self.mappings.iter().position(|mapping| own_mappings(mapping) && mapping.peers.contains_key(&peer));
        let found = flow.or_else(|| self.mappings.iter().position(|mapping| own_mappings(mapping) && mapping.key == key));
        let index = match found {
            Some(index) => index,
            None => {
                self.early.retain(|_, seen| is_recent(*seen, timeout, now));
                let outside = SocketAddr::new(own, self.choose_port(inside.port(), own, peer)?);
                self.mappings.push(Mapping { inside, key, outside, used: now, peers: BTreeMap::new() });
                self.mappings.len().saturating_sub(1)
            }
        };
        let mapping = self.mappings.get_mut(index)?;
        mapping.used = now;
        mapping.peers.insert(peer, now);
        Some(mapping.outside)
    }

    /// The inside address that a datagram from `peer` to our `outside` goes to; `None`: it does not pass.
    pub(super) fn enter(&mut self, now: Timestamp, outside: SocketAddr, peer: SocketAddr) -> Option<SocketAddr> {
        let Self { options, mappings, early, .. } = self;
        if options.blocked == Habit::Yes {
            return None;
        }
        let is_ours = |mapping: &Mapping| mapping.outside == outside && is_recent(mapping.used, options.timeout, now);
        let Some(mapping) = mappings.iter_mut().find(|mapping| is_ours(mapping) && mapping.lets_in(peer, options, now)) else {
            if options.linux == Habit::Yes {
                early.insert((outside.port(), peer), now);
            }
            return None;
        };
        if options.refresh == Refresh::Both || options.linux == Habit::Yes {
            mapping.used = now;
            if let Some(refreshed) = mapping.peers.get_mut(&peer) {
                *refreshed = now;
            }
        }
        Some(mapping.inside)
    }

    fn choose_port(&mut self, inside: u16, own: IpAddr, peer: SocketAddr) -> Option<u16> {
        let Self { options, mappings, early, spent, last_port, random } = self;
        let is_tracker = options.linux == Habit::Yes;
        let is_taken = |port: u16| {
            let outside = SocketAddr::new(own, port);
            let clashes = |mapping: &Mapping| mapping.outside == outside && (!is_tracker || mapping.peers.contains_key(&peer));
            mappings.iter().any(clashes) || (is_tracker && early.contains_key(&(port, peer)))
        };
        let is_free = |port: &u16| !spent.contains(port) && !is_taken(*port);
        if options.ports == PortChoice::Preserving && is_free(&inside) {
            return Some(inside);
        }
        let (start, end) = if inside < FIRST_PORT { (1, FIRST_PORT.saturating_sub(1)) } else { (FIRST_PORT, u16::MAX) };
        let first = match options.ports {
            PortChoice::Preserving if !is_tracker => inside.max(start),
            PortChoice::Preserving | PortChoice::Random => {
                let range = u64::from(end.saturating_sub(start)).saturating_add(1);
                start.saturating_add(u16::try_from(random.below(range)).unwrap_or(0))
            }
            PortChoice::Sequential | PortChoice::Parity => (*last_port).clamp(start, end),
        };
        let parity = options.ports == PortChoice::Parity;
        let after = (first..=end).chain(start..first);
        let port = after.filter(|port| !parity || port % 2 == inside % 2).find(is_free)?;
        *last_port = port.checked_add(1).unwrap_or(FIRST_PORT);
        Some(port)
    }
}

fn is_recent(refreshed: Timestamp, timeout: Duration, now: Timestamp) -> bool {
    now.saturating_since(refreshed) < timeout
}
