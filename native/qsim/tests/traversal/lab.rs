//! Two ends behind translators, joined by a channel that a relay would be, in virtual time.
//!
//! ```text
//!   end ── translator ══ net (8 routers) ══ translator ── end          a STUN server stands at the net
//!        └───────────── frames, with a delay, lost ones later ────────┘
//! ```
//! Drives the machines of `qtraversal` as a connection would: sockets, STUN, probes with their time to live. Decides nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use qbase::{Ecn, FourTuple, Timestamp};
use qsim::{
    LinkShape, LossModel, Random,
    world::{Addressing, NatKind, NodeId, Plug, Side, World},
};
use qtraversal::{
    NatType, Traversal, TraversalConfig, TraversalFrame,
    address::{Prefix, ProbePolicy},
    book::{Bind, LocalAddress},
    budget::{BudgetOptions, PortSearch, ProbeBudget},
    frame::{AddressKind, PunchDone, PunchHello, PunchId},
    nat::PortAllocation,
    punch::{Hole, Output, Probe, Role, RoundReport, Socket, matrix, strategy::Strategy},
    traversal::Start,
};

const BASE_PORT: u16 = 5_000;
const STUN_PORT: u16 = 3_478;
const START: Timestamp = Timestamp::from_millis(1_000);
/// How far the path between two translators is.
const ROUTERS: u8 = 8;

/// What is tried.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// Client's and server's translator.
    pub kinds: [NatKind; 2],
    pub seed: u64,
    pub search: PortSearch,
    /// One way over the relay.
    pub relay: Duration,
    /// One way without it.
    pub direct: Duration,
    /// Share of datagrams and frames that are lost.
    pub loss: f64,
    /// The server's address is known so much later than the client's; negative: earlier.
    pub lag_ms: i64,
    /// Who punches; `None`: both, as soon as they know an address.
    pub only: Option<Role>,
    /// Of both ends.
    pub strategy: Strategy,
    /// When it is given up.
    pub limit: Duration,
}

impl Setup {
    pub fn new(a: NatKind, b: NatKind, seed: u64) -> Self {
        Self {
            kinds: [a, b],
            seed,
            search: PortSearch::Off,
            relay: Duration::from_millis(40),
            direct: Duration::from_millis(25),
            loss: 0.0,
            lag_ms: 0,
            only: None,
            strategy: matrix::plan,
            limit: Duration::from_secs(10),
        }
    }
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// Datagrams pass both ways through a hole of the client's.
    pub works: bool,
    /// From the first announcement to the first hole.
    pub first_hole: Option<Duration>,
    /// News of rounds of client and server.
    pub rounds: [Vec<RoundReport>; 2],
    /// Most sockets open at once beside the first one, and those left at the end.
    pub sockets: [(usize, usize); 2],
    /// Most probes to one IP.
    pub probes: [usize; 2],
    /// Leases that are still out.
    pub leases: [usize; 2],
    /// Everything that happened, in order.
    pub log: Vec<String>,
}

/// The type that frames carry for a kind, and what is known of its ports.
pub fn classified(kind: NatKind) -> (NatType, PortAllocation) {
    match kind {
        NatKind::None | NatKind::FullCone => (NatType::FullCone, PortAllocation::Preserving),
        NatKind::AddressRestricted => (NatType::RestrictedCone, PortAllocation::Preserving),
        NatKind::PortRestricted => (NatType::RestrictedPort, PortAllocation::Preserving),
        NatKind::Linux => (NatType::Dynamic, PortAllocation::Preserving),
        NatKind::Symmetric | NatKind::AddressDependent => (NatType::Symmetric, PortAllocation::Random),
        NatKind::Sequential => (NatType::Symmetric, PortAllocation::Sequential { step: 1 }),
    }
}

struct End {
    host: NodeId,
    ip: IpAddr,
    traversal: Traversal,
    budget: ProbeBudget,
    ports: BTreeMap<u16, Socket>,
    made: BTreeMap<u64, u16>,
    most_made: usize,
    /// Requests for outer addresses: port, when again, how often still.
    asked: BTreeMap<Socket, (Timestamp, u8)>,
    outer: Option<SocketAddr>,
    hole: Option<Hole>,
    rounds: Vec<RoundReport>,
    probes: BTreeMap<IpAddr, usize>,
    announced: bool,
}

struct Lab {
    setup: Setup,
    world: World,
    ends: [End; 2],
    server: NodeId,
    stun: SocketAddr,
    random: Random,
    /// Frames under way: when, in which order, to whom.
    frames: BTreeMap<(Timestamp, u64), (usize, TraversalFrame)>,
    sequence: u64,
    now: Timestamp,
    works: bool,
    first_hole: Option<Timestamp>,
    log: Vec<String>,
}

/// Runs it to its end.
pub fn run(setup: Setup) -> Outcome {
    let mut lab = Lab::new(setup);
    for end in 0..2 {
        lab.ask(end, Socket::Bound(Bind(0)));
    }
    let limit = START + setup.limit;
    while let Some(at) = lab.next_event().filter(|at| *at <= limit) {
        lab.now = lab.now.max(at);
        lab.step();
        if lab.works {
            break;
        }
    }
    lab.end()
}

impl Lab {
    fn new(setup: Setup) -> Self {
        let mut world = World::new(setup.seed);
        let (net, server) = (world.router(), world.host());
        world.set_hops(net, ROUTERS);
        let lossy = LinkShape { loss: LossModel::Independent(setup.loss / 2.0), ..LinkShape::delayed(setup.direct / 2) };
        let plain = LinkShape::delayed(Duration::from_micros(100));
        world.link(START, server, net, &LinkShape::delayed(Duration::from_millis(5)), Addressing::default()).expect("link");
        let hosts = setup.kinds.map(|kind| {
            let host = world.host();
            match kind.options() {
                None => world.link(START, host, net, &lossy, Addressing::default()).expect("link"),
                Some(options) => {
                    let nat = world.nat(options);
                    world.link(START, host, Plug { node: nat, side: Side::Inside }, &plain, Addressing::default()).expect("link");
                    world.link(START, nat, net, &lossy, Addressing::default()).expect("link")
                }
            };
            host
        });
        let stun = SocketAddr::new(world.addresses(server).next().expect("address"), STUN_PORT);
        let ends = [Role::Client, Role::Server].map(|role| {
            let host = hosts[role as usize];
            // The public addresses of worlds are none outside of them.
            let policy = ProbePolicy::default().allowing(Prefix { ip: IpAddr::from([198, 18, 0, 0]), bits: 15 });
            let start = if setup.only.is_none() { Start::Automatic } else { Start::ByHand };
            let seed = setup.seed.wrapping_mul(2).wrapping_add(role as u64);
            let mut traversal = Traversal::new(TraversalConfig { role, seed, policy, start, peer_keeps: 16 });
            let mut budget = ProbeBudget::new(BudgetOptions::new(setup.search));
            traversal.on_handshake_complete(START, &mut budget).expect("nothing waits");
            traversal.set_rtt(setup.relay * 2);
            traversal.puncher().set_strategy(setup.strategy);
            End {
                host,
                ip: world.addresses(host).next().expect("address"),
                traversal,
                budget,
                ports: BTreeMap::from([(BASE_PORT, Socket::Bound(Bind(0)))]),
                made: BTreeMap::new(),
                most_made: 0,
                asked: BTreeMap::new(),
                outer: None,
                hole: None,
                rounds: Vec::new(),
                probes: BTreeMap::new(),
                announced: false,
            }
        });
        let random = Random::labelled(setup.seed, 77);
        let (frames, log) = (BTreeMap::new(), Vec::new());
        Self { setup, world, ends, server, stun, random, frames, sequence: 0, now: START, works: false, first_hole: None, log }
    }

    fn next_event(&self) -> Option<Timestamp> {
        let timers = self.ends.iter().filter_map(|end| end.traversal.next_timer()).min();
        let asked = self.ends.iter().flat_map(|end| end.asked.values().map(|(at, _)| *at)).min();
        let frame = self.frames.keys().next().map(|(at, _)| *at);
        let announce = self.ends.iter().enumerate().filter(|(_, end)| end.outer.is_some() && !end.announced).map(|(end, _)| self.announces_at(end)).min();
        [self.world.next_event(), timers, asked, frame, announce].into_iter().flatten().min()
    }

    /// Both outer addresses are known by then.
    fn announces_at(&self, end: usize) -> Timestamp {
        let lag = if end == 1 { self.setup.lag_ms.max(0) } else { (-self.setup.lag_ms).max(0) };
        START + Duration::from_millis(3_000 + lag.unsigned_abs())
    }

    fn step(&mut self) {
        let now = self.now;
        while let Some(delivery) = self.world.pop_delivery(now) {
            self.deliver(delivery.host, delivery.four_tuple, &delivery.bytes);
        }
        while let Some(entry) = self.frames.first_entry().filter(|entry| entry.key().0 <= now) {
            let (end, frame) = entry.remove();
            self.log.push(format!("{now:?} {end} hears {frame:?}"));
            self.on_frame(end, frame, None);
        }
        for end in 0..2 {
            let due: Vec<Socket> = self.ends[end].asked.iter().filter(|(_, (at, _))| *at <= now).map(|(socket, _)| *socket).collect();
            due.into_iter().for_each(|socket| self.ask_again(end, socket));
            if self.ends[end].outer.is_some() && !self.ends[end].announced && self.announces_at(end) <= now {
                self.announce(end);
            }
            let End { traversal, budget, .. } = &mut self.ends[end];
            if traversal.next_timer().is_some_and(|at| at <= now) {
                traversal.on_timer(now, budget);
            }
            self.drain(end);
        }
    }

    fn announce(&mut self, end: usize) {
        let (nat_type, ports) = classified(self.setup.kinds[end]);
        let End { traversal, budget, outer, announced, .. } = &mut self.ends[end];
        let address = outer.expect("known");
        let local = LocalAddress { bind: Bind(0), device: 1, address, tier: 0, nat_type, kind: AddressKind::Mapped, ports };
        traversal.announce(local, self.now, budget).expect("announced");
        *announced = true;
    }

    fn on_frame(&mut self, end: usize, frame: TraversalFrame, hole: Option<Hole>) {
        let by_hand = self.setup.only.map(|role| role as usize) == Some(end) && matches!(frame, TraversalFrame::AddAddress(_));
        let End { traversal, budget, .. } = &mut self.ends[end];
        traversal.on_frame(&frame, hole, self.now, budget).expect("no violation");
        if by_hand {
            traversal.punch(PunchId { local_seq: 0, remote_seq: 0 }, self.now, budget);
        }
        self.drain(end);
    }

    fn drain(&mut self, end: usize) {
        while let Some(output) = self.ends[end].traversal.poll_output() {
            self.log.push(format!("{:?} {end} {output:?}", self.now));
            match output {
                Output::Frame(frame) => self.post(1 - end, frame),
                Output::Probe(probe) => self.probe(end, &probe),
                Output::Open { socket, port, .. } => self.open(end, socket, port),
                Output::LearnOuter { socket } => self.ask(end, Socket::Made(socket)),
                Output::Close { socket } => self.close(end, socket),
                Output::Established { hole, .. } => {
                    self.first_hole.get_or_insert(self.now);
                    self.ends[end].hole = Some(hole);
                    if end == 0 {
                        (0..5).for_each(|_| self.send(end, hole.from, hole.remote, 64, b"D"));
                    }
                }
                Output::Round(report) => self.ends[end].rounds.push(report),
                Output::ReserveCids { .. } | Output::WantsSteps { .. } => {}
            }
        }
    }

    /// A frame goes over the relay: reliably, so that a lost one comes later.
    fn post(&mut self, to: usize, frame: TraversalFrame) {
        let mut at = self.now + self.setup.relay;
        while self.random.chance(self.setup.loss) {
            at += self.setup.relay * 3;
        }
        self.sequence += 1;
        self.frames.insert((at, self.sequence), (to, frame));
    }

    fn open(&mut self, end: usize, socket: u64, port: u16) {
        let End { ports, made, most_made, .. } = &mut self.ends[end];
        let is_free = |port: &u16| *port != 0 && !ports.contains_key(port);
        let port = Some(port).filter(is_free).unwrap_or_else(|| (20_000..).find(|port| is_free(port)).expect("a free one"));
        ports.insert(port, Socket::Made(socket));
        made.insert(socket, port);
        *most_made = made.len().max(*most_made);
    }

    fn close(&mut self, end: usize, socket: u64) {
        let End { ports, made, asked, .. } = &mut self.ends[end];
        let port = made.remove(&socket).expect("open until now");
        ports.remove(&port);
        asked.remove(&Socket::Made(socket));
    }

    fn port_of(&self, end: usize, socket: Socket) -> Option<u16> {
        match socket {
            Socket::Bound(_) => Some(BASE_PORT),
            Socket::Made(number) => self.ends[end].made.get(&number).copied(),
        }
    }

    fn send(&mut self, end: usize, from: Socket, to: SocketAddr, ttl: u8, bytes: &[u8]) {
        let Some(port) = self.port_of(end, from) else { return };
        let End { host, ip, .. } = self.ends[end];
        let four_tuple = FourTuple { local: SocketAddr::new(ip, port), remote: to };
        self.world.send_with_ttl(self.now, host, four_tuple, Ecn::NotEct, ttl, bytes).expect("sent");
    }

    fn probe(&mut self, end: usize, probe: &Probe) {
        let (kind, id, number) = match probe.frame {
            TraversalFrame::PunchHello(PunchHello { id, probe }) => (b'H', id, probe),
            TraversalFrame::PunchDone(PunchDone { id, probe }) => (b'O', id, probe),
            _ => panic!("no probe: {probe:?}"),
        };
        let mut bytes = vec![kind];
        [id.local_seq, id.remote_seq, number].into_iter().for_each(|value| bytes.extend(value.to_be_bytes()));
        *self.ends[end].probes.entry(probe.to.ip()).or_default() += 1;
        self.send(end, probe.from, probe.to, probe.ttl, &bytes);
    }

    /// Asks the STUN server what it sees of a socket.
    fn ask(&mut self, end: usize, socket: Socket) {
        self.ends[end].asked.insert(socket, (self.now, 5));
        self.ask_again(end, socket);
    }

    fn ask_again(&mut self, end: usize, socket: Socket) {
        let Some((at, left)) = self.ends[end].asked.get_mut(&socket) else { return };
        if *left == 0 {
            self.ends[end].asked.remove(&socket);
            return;
        }
        (*at, *left) = (self.now + Duration::from_millis(200), *left - 1);
        self.send(end, socket, self.stun, 64, b"S");
    }

    fn deliver(&mut self, host: NodeId, four_tuple: FourTuple, bytes: &[u8]) {
        let FourTuple { local, remote } = four_tuple;
        if host == self.server {
            let answer = format!("R{remote}");
            self.world.send(self.now, host, FourTuple { local: self.stun, remote }, Ecn::NotEct, answer.as_bytes()).expect("sent");
            return;
        }
        let end = usize::from(host == self.ends[1].host);
        let Some(socket) = self.ends[end].ports.get(&local.port()).copied() else { return };
        let hole = Hole { from: socket, remote };
        match bytes {
            [b'R', text @ ..] if self.ends[end].asked.remove(&socket).is_some() => {
                let outer = std::str::from_utf8(text).expect("text").parse().expect("address");
                let End { traversal, budget, outer: known, .. } = &mut self.ends[end];
                match socket {
                    Socket::Bound(_) => *known = Some(outer),
                    Socket::Made(number) => traversal.on_outer(number, Some(outer), self.now, budget),
                }
                self.drain(end);
            }
            [kind @ (b'H' | b'O'), rest @ ..] => {
                let value = |index: usize| u64::from_be_bytes(rest[index * 8..index * 8 + 8].try_into().expect("eight"));
                let (id, probe) = (PunchId { local_seq: value(0), remote_seq: value(1) }, value(2));
                let frame = match kind {
                    b'H' => TraversalFrame::PunchHello(PunchHello { id, probe }),
                    _ => TraversalFrame::PunchDone(PunchDone { id, probe }),
                };
                self.log.push(format!("{:?} {end} gets {frame:?} on {hole:?}", self.now));
                self.on_frame(end, frame, Some(hole));
            }
            b"D" => self.send(end, socket, remote, 64, b"d"),
            b"d" => self.works = true,
            _ => {}
        }
    }

    fn end(mut self) -> Outcome {
        let first_hole = self.first_hole.map(|at| at.saturating_since(self.announces_at(0).min(self.announces_at(1))));
        let mut left = [0; 2];
        let mut leases = [0; 2];
        for end in 0..2 {
            let won = self.ends[end].hole.map(|hole| hole.from);
            let End { traversal, budget, .. } = &mut self.ends[end];
            traversal.close(self.now, budget);
            self.drain(end);
            let kept: BTreeSet<Socket> = self.ends[end].made.keys().map(|number| Socket::Made(*number)).filter(|made| Some(*made) != won).collect();
            left[end] = kept.len();
            let End { budget, .. } = &mut self.ends[end];
            let later = self.now + Duration::from_secs(61);
            let probe = budget.ask(qtraversal::budget::Need { device: 9, is_ipv4: true, sockets: 1, ports: 1 }).expect("room");
            budget.give_back(probe, later);
            leases[end] = budget.leases().0 + budget.leases().1;
        }
        Outcome {
            works: self.works,
            first_hole,
            rounds: self.ends.each_mut().map(|end| std::mem::take(&mut end.rounds)),
            sockets: [0, 1].map(|end: usize| (self.ends[end].most_made, left[end])),
            probes: self.ends.each_ref().map(|end| end.probes.values().copied().max().unwrap_or(0)),
            leases,
            log: self.log,
        }
    }
}
