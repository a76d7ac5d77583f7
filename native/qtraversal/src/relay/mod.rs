//! A relay (agent): where a forwarded datagram goes, if anywhere (traversal T-30 to T-34, attacks G11).
//!
//! Decides next hops by registrations, never by what a header claims alone. Called with whole receive batches; the caller sends
//! the same bytes on, so a relay sends at most what it got. Never answers a datagram, never changes one, never forwards to
//! itself, to who did not register, or, unless allowed, to where the Internet does not reach.

mod batch;
mod drops;
mod registrations;

pub use batch::{Run, is_marked};
pub use drops::{Dropped, Drops};
pub use registrations::{Admission, Full, Registrations};

use std::net::SocketAddr;

use qbase::{FourTuple, Timestamp, limits};

use crate::{
    address::{Endpoint, Prefix, check_address, is_globally_routable},
    forward::ForwardHeader,
    rate::{Key, Rates},
};

/// What a relay is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayConfig {
    /// Addresses at which others know this node as their agent; none: it is no agent (T-30).
    pub agent: Vec<SocketAddr>,
    /// This node's own outer addresses: datagrams for them are its own.
    pub outer: Vec<SocketAddr>,
    /// Networks forwarded to although the Internet does not reach them.
    pub allowed: Vec<Prefix>,
    /// Who registers.
    pub admission: Admission,
    /// Bytes per second from one source network, and to one destination.
    pub bytes_per_second: u64,
    /// Bytes of those at once.
    pub burst_bytes: u64,
}

impl Default for RelayConfig {
    /// No agent: everything is delivered or dropped.
    fn default() -> Self {
        Self {
            agent: Vec::new(),
            outer: Vec::new(),
            allowed: Vec::new(),
            admission: Admission::Authenticated,
            bytes_per_second: limits::RELAY_BYTES_PER_SECOND,
            burst_bytes: limits::RELAY_BURST_BYTES,
        }
    }
}

/// Where a datagram goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Route {
    /// It is for this node: strip the header, hand it to QUIC.
    Deliver,
    /// Send it on unchanged from the agent's socket, TTL 64 (T-32).
    Send(SocketAddr),
    /// Nowhere.
    Drop(Dropped),
}

/// A relay's rules and state.
#[derive(Debug)]
pub struct Relay {
    config: RelayConfig,
    registrations: Registrations,
    sources: Rates,
    destinations: Rates,
    drops: Drops,
    forwarded: Forwarded,
}

/// What was sent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Forwarded {
    /// Datagrams.
    pub datagrams: u64,
    /// Their bytes, headers included.
    pub bytes: u64,
}

impl Relay {
    /// A relay without registrations; `seed` hides who shares a rate with whom.
    #[must_use]
    pub fn new(mut config: RelayConfig, seed: u64) -> Self {
        config.agent.truncate(limits::RELAY_ADDRESSES);
        config.outer.truncate(limits::RELAY_ADDRESSES);
        config.allowed.truncate(limits::POLICY_ENTRIES);
        let rates = |seed| Rates::new(limits::RELAY_BUCKETS, config.bytes_per_second, config.burst_bytes, seed);
        Self {
            registrations: Registrations::new(config.admission),
            sources: rates(seed),
            destinations: rates(seed ^ u64::MAX),
            config,
            drops: Drops::default(),
            forwarded: Forwarded::default(),
        }
    }

    /// Who is registered.
    #[must_use]
    pub const fn registrations(&self) -> &Registrations {
        &self.registrations
    }

    /// Who is registered, to change it: a verdict on credentials, a keep-alive on the relay's socket, an end.
    pub fn registrations_mut(&mut self) -> &mut Registrations {
        &mut self.registrations
    }

    /// Datagrams dropped, by reason.
    #[must_use]
    pub const fn drops(&self) -> &Drops {
        &self.drops
    }

    /// Datagrams sent on.
    #[must_use]
    pub const fn forwarded(&self) -> Forwarded {
        self.forwarded
    }

    /// The fate of the datagrams of a run that came over `link` (`link.local`: where they arrived). Counts them, and takes from
    /// the rates what is sent on. Datagrams without a forward header are not for a relay: see
    /// [`classify`](crate::classify::classify).
    pub fn route(&mut self, now: Timestamp, link: FourTuple, run: &Run<'_>) -> Route {
        let route = run.header.map_or(Route::Drop(Dropped::NoHeader), |header| self.decide(now, link, &header, run));
        match route {
            Route::Deliver => {}
            Route::Drop(reason) => self.drop_run(reason, run),
            Route::Send(_) => {
                self.forwarded.datagrams = self.forwarded.datagrams.saturating_add(count(run.len()));
                self.forwarded.bytes = self.forwarded.bytes.saturating_add(count(run.bytes.len()));
            }
        }
        route
    }

    /// Counts a run that somebody else decided to drop.
    pub fn drop_run(&mut self, reason: Dropped, run: &Run<'_>) {
        self.drops.add(reason, count(run.len()));
    }

    /// There was no room for the last `datagrams` of a run that was to be sent on, `bytes` long together.
    pub fn on_unsent(&mut self, datagrams: usize, bytes: usize) {
        self.forwarded.datagrams = self.forwarded.datagrams.saturating_sub(count(datagrams));
        self.forwarded.bytes = self.forwarded.bytes.saturating_sub(count(bytes));
        self.drops.add(Dropped::NoRoom, count(datagrams));
    }

    fn decide(&mut self, now: Timestamp, link: FourTuple, header: &ForwardHeader, run: &Run<'_>) -> Route {
        match self.next_hop(now, link, header) {
            Ok(None) => Route::Deliver,
            Err(reason) => Route::Drop(reason),
            Ok(Some(_)) if run.longest() > limits::RELAY_DATAGRAM => Route::Drop(Dropped::TooLong),
            Ok(Some(target)) => {
                let bytes = count(run.bytes.len());
                if !self.sources.take(Key::Network(link.remote.ip()), bytes, now) {
                    Route::Drop(Dropped::SourceRate)
                } else if !self.destinations.take(Key::Socket(target), bytes, now) {
                    Route::Drop(Dropped::DestinationRate)
                } else {
                    Route::Send(target)
                }
            }
        }
    }

    /// Where to, by T-30, T-31, T-33 and T-34; `None`: to ourselves.
    fn next_hop(&self, now: Timestamp, link: FourTuple, header: &ForwardHeader) -> Result<Option<SocketAddr>, Dropped> {
        let is_agent = !self.config.agent.is_empty();
        let target = match header.destination {
            Endpoint::Direct(_) if !is_agent => return Ok(None),
            Endpoint::Agent { outer, .. } if self.config.outer.contains(&outer) => return Ok(None),
            _ if !is_agent => return Err(Dropped::NoAgent),
            Endpoint::Direct(target) => {
                self.check_client(now, link.remote, header)?;
                target
            }
            Endpoint::Agent { agent, outer } if self.config.agent.contains(&agent) => {
                self.check_no_loop(link, header)?;
                let at = self.registrations.current(outer);
                self.registrations.check(at, now)?;
                at
            }
            Endpoint::Agent { agent, .. } => {
                self.check_client(now, link.remote, header)?;
                agent
            }
        };
        self.check_target(target, link)?;
        Ok(Some(target))
    }

    /// Comes from a registered client that names itself as the source (T-31), by the address it has or had (T-36).
    fn check_client(&self, now: Timestamp, link_source: SocketAddr, header: &ForwardHeader) -> Result<(), Dropped> {
        if self.registrations.current(header.source.outer()) != link_source {
            return Err(Dropped::Spoofed);
        }
        self.registrations.check(link_source, now)
    }

    /// Who names us as its agent stands directly before us (T-34). A NAT may have given it another port since, and it may have moved (T-36).
    fn check_no_loop(&self, link: FourTuple, header: &ForwardHeader) -> Result<(), Dropped> {
        let names_us = header.source.agent().is_some_and(|agent| self.config.agent.contains(&agent));
        let is_own = link.remote == link.local || self.config.agent.contains(&link.remote);
        let outer = header.source.outer();
        let stands_there = outer.ip() == link.remote.ip() || self.registrations.current(outer) == link.remote;
        if is_own || names_us && !stands_there {
            return Err(Dropped::Loop);
        }
        Ok(())
    }

    fn check_target(&self, target: SocketAddr, link: FourTuple) -> Result<(), Dropped> {
        check_address(target).map_err(|_| Dropped::Unusable)?;
        if target.is_ipv4() != link.remote.is_ipv4() {
            return Err(Dropped::Unusable);
        }
        // Two relays that are clients of each other would hand it to and fro for ever.
        if target == link.remote {
            return Err(Dropped::Loop);
        }
        // Behind a NAT of one address to one, an agent's socket has another address than the agent.
        if target == link.local || self.config.agent.contains(&target) || self.config.outer.contains(&target) {
            return Err(Dropped::Own);
        }
        if !is_globally_routable(target.ip()) && !self.config.allowed.iter().any(|network| network.holds(target.ip())) {
            return Err(Dropped::NotGlobal);
        }
        Ok(())
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
