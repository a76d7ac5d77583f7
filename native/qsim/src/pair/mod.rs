//! Two hosts joined by links, the first with a connection to the second: the harness of most scenarios.
//!
//! Link n (from 1) joins `10.0.n.1` at the client with `10.0.n.2` at the server. All keys, ids and luck come from one
//! seed. Called by tests. Time passes only in [`Pair::step`]; a run that fails says why, with the seed in front.

mod again;
mod config;
mod identity;

pub use config::{PairConfig, Paths};
pub use identity::{TlsPair, TlsSetup, identity as server_identity};

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use qbase::{Ecn, FourTuple, Role, Timestamp, frame::PathStatusKind};
use qconnection::{
    ClientConfig, Connection, ServerConfig,
    connection::{Afterwards, Candidate, PathTicket, Polarity},
};

use crate::{
    clock::Clock,
    failure::{Failure, Fault},
    host::Host,
    link::{Directions, LinkDirection, LinkShape},
    network::{Arrival, LinkId, Network},
    pattern::Pattern,
    random::Random,
    script::{Action, Script, When},
};

/// Port of the client on every address.
pub const CLIENT_PORT: u16 = 51_000;
/// Port of the server on every address.
pub const SERVER_PORT: u16 = 4_433;
/// The server's name.
pub const SERVER_NAME: &str = "server";
/// The application protocol.
pub const ALPN: &[u8] = b"qsim";
/// Steps at one instant at most; more means that time stands still.
const MAX_SPIN: u32 = 10_000;

/// Two hosts, their links, and the instant.
#[derive(Debug)]
pub struct Pair {
    seed: u64,
    clock: Clock,
    network: Network,
    client: Host,
    server: Host,
    pattern: Pattern,
    script: Script,
    links: Vec<LinkId>,
    tls: TlsPair,
    /// How the client dials.
    dial: Arc<ClientConfig>,
    paths: Paths,
    /// How the server listens.
    listening: ServerConfig,
    /// Steps since time last moved.
    spin: u32,
    /// A host whose process gets no CPU until then, and what came for it meanwhile.
    stalled: Option<(Role, Timestamp)>,
    backlog: Vec<Arrival>,
}

impl Pair {
    /// Builds the world and dials over the first link; nothing is sent before the first step.
    ///
    /// # Errors
    /// The settings cannot be used.
    pub fn new(config: PairConfig) -> Result<Self, Failure> {
        let seed = config.seed;
        Self::build(config).map_err(|fault| Failure::new(format!("seed {seed}: {fault}")))
    }

    fn build(config: PairConfig) -> Result<Self, Fault> {
        let PairConfig { seed, links, client, server, limits, paths, tls, retry, client_versions, first_version, server_versions, token, wrong_way, qlog } = config;
        let mut random = Random::labelled(seed, u64::MAX.wrapping_sub(1));
        let mut network = Network::new(seed);
        let links: Vec<LinkId> = (1..)
            .zip(&links)
            .map(|(number, shape)| network.link(address(number, Role::Client), address(number, Role::Server), shape))
            .collect();
        let tls = TlsPair::new(&mut random, &tls)?;
        let listening = ServerConfig::new(tls.server_tls()?, Arc::new(server), 16);
        let listening = ServerConfig { retry, versions: server_versions, ..listening };
        let dial = ClientConfig::new(tls.client_tls()?, Arc::new(client));
        let dial = Arc::new(ClientConfig { versions: client_versions, first_version, token, ..dial });
        let mut pair = Self {
            seed,
            clock: Clock::new(),
            network,
            client: Host::new(Role::Client, random.seed(), limits, qlog),
            server: Host::new(Role::Server, random.seed(), limits, qlog),
            pattern: Pattern::new(seed),
            script: Script::default(),
            links,
            tls,
            dial,
            paths,
            listening,
            spin: 0,
            stalled: None,
            backlog: Vec::new(),
        };
        if let Some(wrong_way) = wrong_way {
            let polarity = || Polarity { alpn: ALPN.to_vec(), wrong_way };
            pair.client.endpoint_mut().polarise(polarity());
            pair.server.endpoint_mut().polarise(polarity());
        }
        pair.server.listen(pair.listening.clone());
        pair.connect()?;
        Ok(pair)
    }

    /// The client dials over the first link and asks for the others.
    fn connect(&mut self) -> Result<(), Fault> {
        let links = if self.paths == Paths::All { self.links.len() } else { 1 };
        let afterwards = Afterwards::Path(PathStatusKind::Available.into());
        let candidates: Vec<Candidate> = self
            .links
            .iter()
            .take(links)
            .map(|link| Candidate { four_tuple: Self::four_tuple(*link, Role::Client), afterwards })
            .collect();
        self.client.connect(self.clock.now(), &self.dial, SERVER_NAME, &candidates)
    }

    /// The addresses of a link as one end sees them.
    #[must_use]
    pub fn four_tuple(link: LinkId, role: Role) -> FourTuple {
        let number = u8::try_from(link.0.saturating_add(1)).unwrap_or(u8::MAX);
        let end = |role: Role| {
            let port = if role.is_client() { CLIENT_PORT } else { SERVER_PORT };
            SocketAddr::new(address(number, role), port)
        };
        FourTuple { local: end(role), remote: end(role.peer()) }
    }

    /// The client asks for a path over this link.
    ///
    /// # Errors
    /// The machine refuses.
    pub fn open_path(&mut self, link: LinkId, status: PathStatusKind) -> Result<PathTicket, Failure> {
        self.open(link, status).map_err(|fault| self.failure(&fault))
    }

    fn open(&mut self, link: LinkId, status: PathStatusKind) -> Result<PathTicket, Fault> {
        let now = self.clock.now();
        let connection =
            self.client.connection_mut().ok_or_else(|| Fault::Setup("the client has no connection".to_owned()))?;
        let opened = connection.open_path(now, Self::four_tuple(link, Role::Client), status);
        opened.map_err(|error| Fault::Setup(format!("open path: {error}")))
    }

    /// The present instant.
    #[must_use]
    pub const fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Virtual time since the start.
    #[must_use]
    pub const fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }

    /// The seed of this world.
    #[must_use]
    pub const fn seed(&self) -> u64 {
        self.seed
    }

    /// The links, in the order of the settings.
    #[must_use]
    pub fn links(&self) -> &[LinkId] {
        &self.links
    }

    /// The links and what is on them.
    #[must_use]
    pub const fn network(&self) -> &Network {
        &self.network
    }

    /// The links, to change at this instant.
    pub const fn network_mut(&mut self) -> &mut Network {
        &mut self.network
    }

    /// One end.
    #[must_use]
    pub const fn host(&self, role: Role) -> &Host {
        match role {
            Role::Client => &self.client,
            Role::Server => &self.server,
        }
    }

    /// One end, to use.
    pub const fn host_mut(&mut self, role: Role) -> &mut Host {
        match role {
            Role::Client => &mut self.client,
            Role::Server => &mut self.server,
        }
    }

    /// The end that dialled.
    #[must_use]
    pub const fn client(&self) -> &Host {
        &self.client
    }

    /// The end that dialled, to use.
    pub const fn client_mut(&mut self) -> &mut Host {
        &mut self.client
    }

    /// The end that answered.
    #[must_use]
    pub const fn server(&self) -> &Host {
        &self.server
    }

    /// The end that answered, to use.
    pub const fn server_mut(&mut self) -> &mut Host {
        &mut self.server
    }

    /// SHA-256 (hexadecimal) over every datagram so far and its fate.
    #[must_use]
    pub fn trace_hash(&self) -> String {
        self.network.trace().hex()
    }

    /// Something happens later.
    pub fn plan(&mut self, when: When, action: Action) {
        self.script.add(when, action);
    }

    /// Everything sent over this link vanishes from now on, both ways.
    pub fn cut(&mut self, link: LinkId) {
        self.network.cut(self.clock.now(), link, Directions::Both);
    }

    /// Undoes [`Self::cut`].
    pub fn restore(&mut self, link: LinkId) {
        self.network.restore(self.clock.now(), link, Directions::Both);
    }

    /// The process of one end gets no CPU for so long: datagrams wait in its sockets, and its timers are late.
    pub fn stall(&mut self, role: Role, time: Duration) {
        self.stalled = Some((role, self.clock.now() + time));
    }

    /// Another shape for both ways of a link, from now on.
    pub fn set(&mut self, link: LinkId, shape: &LinkShape) {
        self.network.set(self.clock.now(), link, shape, Directions::Both);
    }

    /// UDP payload that arrived over a link, bytes.
    #[must_use]
    pub fn carried(&self, link: LinkId, direction: LinkDirection) -> u64 {
        self.network.statistics(link, direction).delivered_bytes
    }

    /// Hands a datagram to one end as if it had come over this link; the peer did not send it.
    pub fn inject(&mut self, role: Role, link: LinkId, bytes: &mut [u8]) {
        self.inject_from(role, Self::four_tuple(link, role), bytes);
    }

    /// The same from any address.
    pub fn inject_from(&mut self, role: Role, four_tuple: FourTuple, bytes: &mut [u8]) {
        let now = self.clock.now();
        let host = self.host_mut(role);
        host.receive(now, four_tuple, Ecn::NotEct, bytes);
        host.endpoint_mut();
    }

    /// Both ends are past the handshake and the client knows that the server knows.
    #[must_use]
    pub fn is_confirmed(&self) -> bool {
        let confirmed = |host: &Host| host.connection().is_some_and(Connection::is_confirmed);
        confirmed(&self.client) && confirmed(&self.server)
    }

    /// Everything either application wanted to send has been read at the other end.
    #[must_use]
    pub fn is_all_delivered(&self) -> bool {
        let (client, server) = (self.client.traffic(), self.server.traffic());
        server.has_all_of(client) && client.has_all_of(server)
    }

    /// Goes on until the condition holds; it is asked after each step. Returns the virtual time this took.
    ///
    /// # Errors
    /// It did not within `limit` of virtual time, nothing can happen any more, or a rule was broken.
    pub fn run_until(&mut self, condition: impl Fn(&Self) -> bool, limit: Duration) -> Result<Duration, Failure> {
        let start = self.clock.now();
        let end = start + limit;
        while !condition(self) {
            if self.next_event().is_some_and(|at| at > end) {
                self.clock.advance_to(end);
                return Err(self.failure(&Fault::Limit(limit)));
            }
            self.step()?;
        }
        Ok(self.clock.now().saturating_since(start))
    }

    /// Goes on until the handshake is confirmed at both ends.
    ///
    /// # Errors
    /// As [`Self::run_until`].
    pub fn run_until_confirmed(&mut self, limit: Duration) -> Result<Duration, Failure> {
        self.run_until(Self::is_confirmed, limit)
    }

    /// Goes on until every transfer is through.
    ///
    /// # Errors
    /// As [`Self::run_until`].
    pub fn run_until_delivered(&mut self, limit: Duration) -> Result<Duration, Failure> {
        self.run_until(Self::is_all_delivered, limit)
    }

    /// Lets this much virtual time pass, whether something happens or not.
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

    /// The next thing that can happen; the present instant when somebody used a host since its last turn.
    #[must_use]
    pub fn next_event(&self) -> Option<Timestamp> {
        let awake = |host: &&Host| self.stalled.is_none_or(|(role, _)| role != host.role());
        if [&self.client, &self.server].iter().filter(|host| awake(host)).any(|host| host.is_stirred()) {
            return Some(self.clock.now());
        }
        let timer = |host: &Host| if awake(&host) { host.next_timer().map(|(at, _)| at) } else { self.stalled.map(|(_, until)| until) };
        let timers = Timestamp::earliest(timer(&self.client), timer(&self.server));
        Timestamp::earliest(timers, Timestamp::earliest(self.network.next_event(), self.script.next()))
    }

    /// Goes to the next instant at which something happens, and lets all of it happen.
    ///
    /// # Errors
    /// Nothing can happen, time stands still, or a rule was broken.
    pub fn step(&mut self) -> Result<(), Failure> {
        let Some(at) = self.next_event() else { return Err(self.failure(&Fault::Stuck)) };
        if at > self.clock.now() {
            self.spin = 0;
        }
        self.clock.advance_to(at);
        let now = self.clock.now();
        self.act(now);
        self.deliver(now);
        self.poll_hosts()?;
        self.act(now);
        self.spin = self.spin.saturating_add(1);
        if self.spin > MAX_SPIN {
            let timers = (self.client.next_timer(), self.server.next_timer());
            return Err(self.failure(&Fault::Livelock(format!("next timers {timers:?}"))));
        }
        Ok(())
    }

    /// Script entries that are due.
    fn act(&mut self, now: Timestamp) {
        let (client, server) = (self.client.traffic().received(), self.server.traffic().received());
        let received = |role: Role| if role.is_client() { client } else { server };
        for action in self.script.take_due(now, received) {
            action.act(now, &mut self.network);
        }
    }

    /// Hands over what has arrived.
    fn deliver(&mut self, now: Timestamp) {
        self.stalled = self.stalled.filter(|(_, until)| now < *until);
        let mut late = std::mem::take(&mut self.backlog).into_iter();
        while let Some(mut arrival) = late.next().or_else(|| self.network.pop_arrival(now)) {
            let role = match arrival.direction {
                LinkDirection::AToB => Role::Server,
                LinkDirection::BToA => Role::Client,
            };
            if self.stalled.is_some_and(|(stalled, _)| stalled == role) {
                self.backlog.push(arrival);
                continue;
            }
            self.host_mut(role).receive(now, arrival.four_tuple, arrival.ecn, &mut arrival.bytes);
            self.network.recycle(arrival.bytes);
        }
    }

    /// A turn for both ends.
    fn poll_hosts(&mut self) -> Result<(), Failure> {
        let now = self.clock.now();
        let Self { client, server, network, pattern, stalled, .. } = self;
        let awake = |host: &Host| stalled.is_none_or(|(role, _)| role != host.role());
        let turns = [client, server].into_iter().filter(|host| awake(host)).try_for_each(|host| host.turn(now, pattern, network));
        turns.map_err(|fault| self.failure(&fault))
    }

    /// What a failing run says.
    #[must_use]
    pub fn failure(&self, fault: &Fault) -> Failure {
        let now = self.clock.now();
        let mut lines = vec![format!("seed {}, {:?} of virtual time: {fault}", self.seed, self.clock.elapsed())];
        for host in [&self.client, &self.server] {
            lines.push(format!("--- {:?}", host.role()));
            lines.extend(host.explain(now));
        }
        lines.push("--- links".to_owned());
        for link in &self.links {
            for direction in [LinkDirection::AToB, LinkDirection::BToA] {
                let statistics = self.network.statistics(*link, direction);
                lines.push(format!("link {} {}: {statistics:?}", link.0, direction.name()));
            }
        }
        lines.push("--- last datagrams".to_owned());
        lines.extend(self.network.trace().last().map(|event| format!("{event:?}")));
        Failure::new(lines.join("\n"))
    }
}

/// Address of one end of link `number`, from 1.
fn address(number: u8, role: Role) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, number, if role.is_client() { 1 } else { 2 }))
}
