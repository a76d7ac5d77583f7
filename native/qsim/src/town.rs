//! Hosts with the real machine in a world of links, routers and translators: the harness of scenarios about NATs.
//!
//! ```text
//!   resident ── translator ══ net (router) ══ resident
//! ```
//! All keys, ids and luck come from one seed. A resident's socket is any port of its host's addresses. Called by tests. Time
//! passes only in [`Town::step`]; a run that fails says why, with the seed in front.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use qbase::{Ecn, FourTuple, Role, Timestamp};
use qconnection::{
    ClientConfig, SendLimits, ServerConfig, TransportConfig,
    connection::{Afterwards, Candidate},
};

use crate::{
    clock::Clock,
    failure::{Failure, Fault},
    host::{Host, Outlet, Writes},
    link::LinkShape,
    network::SendError,
    pair::{SERVER_NAME, TlsPair, TlsSetup},
    pattern::Pattern,
    random::Random,
    wires::DEFAULT_TTL,
    world::{Addressing, NatOptions, NodeId, Plug, Side, World},
};

/// Steps at one instant at most; more means that time stands still.
const MAX_SPIN: u32 = 100_000;

/// Who lives somewhere: a number, from 0.
pub type Resident = usize;

/// Hosts, what joins them, and the instant.
#[derive(Debug)]
pub struct Town {
    seed: u64,
    clock: Clock,
    world: World,
    /// The router in the middle.
    net: NodeId,
    residents: Vec<(NodeId, Host)>,
    random: Random,
    pattern: Pattern,
    tls: TlsPair,
    spin: u32,
}

/// One host's way out.
struct Door<'a> {
    world: &'a mut World,
    host: NodeId,
}

impl Outlet for Door<'_> {
    fn send(&mut self, now: Timestamp, four_tuple: FourTuple, ecn: Ecn, ttl: Option<u8>, bytes: &[u8]) -> Result<(), SendError> {
        self.world.send_with_ttl(now, self.host, four_tuple, ecn, ttl.unwrap_or(DEFAULT_TTL), bytes)
    }
}

impl Town {
    /// A router and nobody.
    ///
    /// # Errors
    /// The keys cannot be made.
    pub fn new(seed: u64) -> Result<Self, Failure> {
        let mut random = Random::labelled(seed, u64::MAX.wrapping_sub(2));
        let tls = TlsPair::new(&mut random, &TlsSetup::default()).map_err(|fault| Failure::new(format!("seed {seed}: {fault}")))?;
        let mut world = World::new(seed);
        let net = world.router();
        Ok(Self { seed, clock: Clock::new(), world, net, residents: Vec::new(), random, pattern: Pattern::new(seed), tls, spin: 0 })
    }

    /// A host with one link to the router in the middle, behind a translator if there is one.
    ///
    /// # Errors
    /// The world refuses.
    pub fn settle(&mut self, role: Role, link: &LinkShape, nat: Option<NatOptions>) -> Result<Resident, Failure> {
        let host = self.world.host();
        match nat {
            None => self.join(host, self.net, link)?,
            Some(options) => {
                let nat = self.world.nat(options);
                self.join(host, Plug { node: nat, side: Side::Inside }, &LinkShape::delayed(Duration::from_micros(100)))?;
                self.join(nat, self.net, link)?;
            }
        }
        self.residents.push((host, Host::new(role, self.random.seed(), SendLimits::default(), Writes::Asked)));
        Ok(self.residents.len().saturating_sub(1))
    }

    /// One more link from a resident to the router in the middle: another address.
    ///
    /// # Errors
    /// The world refuses.
    pub fn add_link(&mut self, resident: Resident, link: &LinkShape) -> Result<(), Failure> {
        let Some((host, _)) = self.residents.get(resident) else { return Ok(()) };
        self.join(*host, self.net, link)
    }

    fn join(&mut self, a: impl Into<Plug>, b: impl Into<Plug>, link: &LinkShape) -> Result<(), Failure> {
        let joined = self.world.link(self.clock.now(), a, b, link, Addressing::default());
        joined.map(|_| ()).map_err(|error| self.failure(&Fault::Setup(error.to_string())))
    }

    /// A socket of a resident: a port of the address at its n-th link.
    #[must_use]
    pub fn socket(&self, resident: Resident, link: usize, port: u16) -> SocketAddr {
        let address = self.residents.get(resident).and_then(|(host, _)| self.world.addresses(*host).nth(link));
        SocketAddr::new(address.unwrap_or(IpAddr::from([0, 0, 0, 0])), port)
    }

    /// Links, routers and translators.
    #[must_use]
    pub const fn world(&self) -> &World {
        &self.world
    }

    /// Links, routers and translators, to change at this instant.
    pub const fn world_mut(&mut self) -> &mut World {
        &mut self.world
    }

    /// The present instant.
    #[must_use]
    pub const fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// One of the hosts.
    #[must_use]
    pub fn host(&self, resident: Resident) -> &Host {
        &self.residents[resident].1
    }

    /// One of the hosts, to use.
    pub fn host_mut(&mut self, resident: Resident) -> &mut Host {
        &mut self.residents[resident].1
    }

    /// A datagram leaves a resident's host past its machine; one that has nowhere to go is lost.
    pub fn post(&mut self, resident: Resident, four_tuple: FourTuple, bytes: &[u8]) {
        let (now, Some((host, _))) = (self.clock.now(), self.residents.get(resident)) else { return };
        self.world.send(now, *host, four_tuple, Ecn::NotEct, bytes).unwrap_or_default();
    }

    /// A resident accepts connections.
    ///
    /// # Errors
    /// The settings cannot be used.
    pub fn listen(&mut self, resident: Resident, transport: TransportConfig) -> Result<(), Failure> {
        let tls = self.tls.server_tls().map_err(|fault| self.failure(&fault))?;
        self.host_mut(resident).listen(ServerConfig::new(tls, Arc::new(transport), 16));
        Ok(())
    }

    /// A resident dials.
    ///
    /// # Errors
    /// The machine refuses.
    pub fn dial(&mut self, resident: Resident, transport: TransportConfig, four_tuple: FourTuple) -> Result<(), Failure> {
        let tls = self.tls.client_tls().map_err(|fault| self.failure(&fault))?;
        let config = Arc::new(ClientConfig::new(tls, Arc::new(transport)));
        let now = self.clock.now();
        let candidate = Candidate { four_tuple, afterwards: Afterwards::Nothing };
        let dialled = self.host_mut(resident).connect(now, &config, SERVER_NAME, &[candidate]);
        dialled.map_err(|fault| self.failure(&fault))
    }

    /// SHA-256 (hexadecimal) over every datagram so far and its fate.
    #[must_use]
    pub fn trace_hash(&self) -> String {
        self.world.trace().hex()
    }

    /// The next thing that can happen; the present instant when somebody used a host since its last turn.
    #[must_use]
    pub fn next_event(&self) -> Option<Timestamp> {
        if self.residents.iter().any(|(_, host)| host.is_stirred()) {
            return Some(self.clock.now());
        }
        let timers = self.residents.iter().filter_map(|(_, host)| host.next_timer().map(|(at, _)| at)).min();
        Timestamp::earliest(timers, self.world.next_event())
    }

    /// Goes to the next instant at which something happens, and lets all of it happen.
    ///
    /// # Errors
    /// Nothing can happen, time stands still, or a rule was broken.
    pub fn step(&mut self) -> Result<(), Failure> {
        let Some(at) = self.next_event() else { return Err(self.failure(&Fault::Stuck)) };
        self.spin = if at > self.clock.now() { 0 } else { self.spin.saturating_add(1) };
        if self.spin > MAX_SPIN {
            return Err(self.failure(&Fault::Livelock("residents never rest".to_owned())));
        }
        self.clock.advance_to(at);
        let now = self.clock.now();
        while let Some(mut delivery) = self.world.pop_delivery(now) {
            if let Some((_, host)) = self.residents.iter_mut().find(|(node, _)| *node == delivery.host) {
                host.receive(now, delivery.four_tuple, delivery.ecn, &mut delivery.bytes);
            }
            self.world.recycle(delivery.bytes);
        }
        let Self { world, residents, pattern, .. } = self;
        let mut turns = residents.iter_mut().map(|(node, host)| host.turn(now, pattern, &mut Door { world, host: *node }));
        let turned = turns.try_for_each(|turn| turn);
        turned.map_err(|fault| self.failure(&fault))
    }

    /// Goes on until the condition holds. Returns the virtual time this took.
    ///
    /// # Errors
    /// It did not within `limit` of virtual time, nothing can happen any more, or a rule was broken.
    pub fn run_until(&mut self, condition: impl Fn(&Self) -> bool, limit: Duration) -> Result<Duration, Failure> {
        let start = self.clock.now();
        while !condition(self) {
            if self.next_event().is_some_and(|at| at > start + limit) {
                return Err(self.failure(&Fault::Limit(limit)));
            }
            self.step()?;
        }
        Ok(self.clock.now().saturating_since(start))
    }

    /// Lets this much virtual time pass.
    ///
    /// # Errors
    /// A rule was broken.
    pub fn run_for(&mut self, time: Duration) -> Result<(), Failure> {
        let end = self.clock.now() + time;
        while self.next_event().is_some_and(|at| at <= end) {
            self.step()?;
        }
        self.clock.advance_to(end);
        Ok(())
    }

    /// What a failing run says.
    #[must_use]
    pub fn failure(&self, fault: &Fault) -> Failure {
        let now = self.clock.now();
        let mut lines = vec![format!("seed {}, {:?} of virtual time: {fault}", self.seed, self.clock.elapsed())];
        for (number, (_, host)) in self.residents.iter().enumerate() {
            lines.push(format!("--- resident {number}"));
            lines.extend(host.explain(now));
            lines.extend(host.nat_news().iter().rev().take(SHOWN_NEWS).map(|(at, news)| format!("{at:?} {news:?}")));
        }
        lines.push("--- last datagrams".to_owned());
        lines.extend(self.world.trace().last().map(|event| format!("{event:?}")));
        Failure::new(lines.join("\n"))
    }
}

/// News about NATs shown in a failure message, a resident.
const SHOWN_NEWS: usize = 12;
