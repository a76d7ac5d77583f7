//! The servers that a detection asks from the socket under test, and what they saw of it (traversal T-48, T-52).
//!
//! Decides whether a server that sees something else than those before means a changing mapping. Called by the detection.

use std::net::SocketAddr;

use super::infer::{self, Seen};
use crate::{
    address::check_address,
    nat::{Constancy, Mapping},
};

/// Servers asked from one socket.
pub(super) const MAX_TARGETS: usize = 4;
/// Rounds with a server that differs, and how many of them must (T-52).
const ROUNDS: u8 = 3;
const ROUNDS_NEEDED: u8 = 2;

/// A server of the list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    pub(super) server: SocketAddr,
    origin: Origin,
}

/// How a server is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// By name: its silence says something.
    Named,
    /// Only derived from another one's answer.
    Derived,
}

/// Servers, the first that answered first.
#[derive(Clone, Debug, Default)]
pub(super) struct Survey {
    targets: Vec<Target>,
    seen: Vec<Seen>,
    /// Rounds with the server in question, and those that differed.
    rounds: u8,
    differed: u8,
}

impl Survey {
    pub(super) fn target(&self, n: usize) -> Option<Target> {
        self.targets.get(n).copied()
    }

    pub(super) fn seen(&self) -> &[Seen] {
        &self.seen
    }

    /// Another server, if it can be asked and is not in the list, which has an end.
    pub(super) fn add(&mut self, server: SocketAddr, origin: Origin) {
        let known = self.targets.iter().any(|target| target.server == server);
        if !known && self.targets.len() < MAX_TARGETS && check_address(server).is_ok() {
            self.targets.push(Target { server, origin });
        }
    }

    pub(super) fn saw(&mut self, server: SocketAddr, mapped: SocketAddr) {
        self.seen.push(Seen { server, mapped });
    }

    /// The servers before saw an endpoint-independent mapping, and the `n`-th sees something else, or nothing although it is
    /// known to be there. Then it is asked again, and this was the first round.
    pub(super) fn differs(&mut self, n: usize) -> bool {
        let Some(target) = self.target(n) else { return false };
        let is_this = |seen: &Seen| seen.server == target.server;
        let before: Vec<Seen> = self.seen.iter().copied().filter(|seen| !is_this(seen)).collect();
        let is_other = match self.seen.iter().find(|seen| is_this(seen)) {
            Some(seen) => before.first().is_some_and(|first| first.mapped != seen.mapped),
            None => target.origin == Origin::Named,
        };
        (self.rounds, self.differed) = (1, 1);
        is_other && infer::mapping(None, &before) == Mapping::EndpointIndependent
    }

    /// Another round with the `n`-th server. Unknown: one more is needed. After the last one, what this server saw is forgotten:
    /// the constancy tells it, and the mapping is what the others saw.
    pub(super) fn round(&mut self, n: usize, mapped: Option<SocketAddr>) -> Constancy {
        self.rounds = self.rounds.saturating_add(1);
        if mapped != self.seen.first().map(|seen| seen.mapped) {
            self.differed = self.differed.saturating_add(1);
        }
        if self.rounds < ROUNDS && self.differed < ROUNDS_NEEDED {
            return Constancy::Unknown;
        }
        let this = self.target(n).map(|target| target.server);
        self.seen.retain(|seen| Some(seen.server) != this);
        if self.differed >= ROUNDS_NEEDED { Constancy::Changing } else { Constancy::Steady }
    }
}
