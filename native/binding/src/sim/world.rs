//! A world that runs: endpoints on simulated hosts, one virtual clock, one order of events.
//!
//! ```text
//!   step ─▶ what arrives now ─▶ turns of who has something to do ─▶ … until nothing is left at this instant
//!        ─▶ JavaScript has something to read? back to it : on to the next instant
//! ```
//! Decides when an endpoint gets a turn. Called by the simulator's object on the JavaScript thread and, for single
//! endpoints, by theirs. Never reads a clock, never draws from the system: the same calls give the same datagrams.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use qbase::Timestamp;
use qconnection::Endpoint as Machine;
use qdriver::drive::Manual;
use qsim::{
    Clock, Random,
    wires::{Observation, Watch},
    world::{Delivery, NodeId, World as Topology},
};

use super::{seat::Bells, sockets::{Place, Sockets}};
use crate::{engine::Engine, lock::Lock, wake::Wake};

/// Turns at one instant after which an endpoint that only wants another one waits a little.
const TURNS_AT_ONCE: u32 = 64;
/// How long.
const PAUSE: Duration = Duration::from_micros(100);
/// Rounds at one instant after which something is wrong.
const MAX_ROUNDS: u32 = 1_000_000;
/// Rounds of one call: the event loop is not held longer.
const ROUNDS_PER_STEP: u32 = 20_000;

/// Why a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// The instant it was to reach.
    Reached = 0,
    /// JavaScript has something to read.
    News = 1,
    /// Nothing will ever happen by itself.
    Idle = 2,
    /// It was long enough for one call.
    Later = 3,
    /// Rounds at one instant without end.
    Livelock = 4,
}

/// What JavaScript waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waits {
    /// Time to pass.
    ForTime,
    /// Anything that endpoints do.
    ForEvents,
}

/// Whether JavaScript wants to hear of every datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watching {
    /// It does.
    Yes,
    /// It does not.
    No,
}

/// A chair at the table: one endpoint.
struct Chair {
    host: NodeId,
    wake: Arc<Wake>,
    /// `None`: it has ended.
    driver: Option<Manual<Machine, Engine>>,
    /// Somebody gave it something to do.
    stirred: bool,
    /// When it wants its next turn.
    next: Option<Timestamp>,
    last_turn: Timestamp,
    /// Turns at that instant.
    turns: u32,
}

/// Everything that is simulated together.
pub struct World {
    /// Hosts and links.
    pub topology: Topology,
    /// What is bound on the hosts.
    pub sockets: Sockets,
    /// Names and secrets of endpoints.
    pub random: Random,
    /// Key log lines of all endpoints, if anybody keeps them.
    pub keys: Option<Arc<Lock<Vec<String>>>>,
    /// Whether JavaScript wants to hear of every datagram.
    pub watching: Watching,
    /// Datagrams with their bytes, for exports.
    pub recorded: Option<Vec<Observation>>,
    /// Facts about datagrams that JavaScript has not taken.
    events: Vec<Observation>,
    chairs: Vec<Chair>,
    /// Seats that had something to do in the middle of a step.
    pub bells: Bells,
    now: Timestamp,
    /// The same, for clocks of endpoints, ns.
    shared_now: Arc<AtomicU64>,
    /// Rounds at this instant.
    rounds: u32,
}

impl World {
    /// Nothing yet.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            topology: Topology::new(seed),
            sockets: Sockets::default(),
            // Far from the labels of lanes.
            random: Random::labelled(seed, u64::MAX),
            keys: None,
            watching: Watching::No,
            recorded: None,
            events: Vec::new(),
            chairs: Vec::new(),
            bells: Bells::default(),
            now: Clock::START,
            shared_now: Arc::new(AtomicU64::new(Clock::START.as_nanos())),
            rounds: 0,
        }
    }

    /// The present instant.
    #[must_use]
    pub const fn now(&self) -> Timestamp {
        self.now
    }

    /// The clock for those who look at it by themselves, ns.
    #[must_use]
    pub fn clock(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.shared_now)
    }

    /// The number of the next seat.
    #[must_use]
    pub fn next_seat(&self) -> usize {
        self.chairs.len()
    }

    /// The view of a seat on its host.
    pub fn place(&mut self, host: NodeId, seat: usize) -> Place<'_> {
        Place { topology: &mut self.topology, sockets: &mut self.sockets, host, seat, now: self.now }
    }

    /// An endpoint takes the next seat.
    pub fn sit(&mut self, host: NodeId, wake: Arc<Wake>, driver: Manual<Machine, Engine>) {
        self.chairs.push(Chair { host, wake, driver: Some(driver), stirred: true, next: None, last_turn: Timestamp::ZERO, turns: 0 });
    }

    /// A seat has something to do now.
    pub fn stir(&mut self, seat: usize) {
        if let Some(chair) = self.chairs.get_mut(seat) {
            chair.stirred = true;
        }
    }

    /// A seat takes a turn in the middle of JavaScript's: somebody waits for an answer.
    pub fn turn_now(&mut self, seat: usize) {
        self.stir(seat);
        self.turn(seat);
    }

    /// A seat is given up, with its sockets.
    pub fn leave(&mut self, seat: usize) {
        self.sockets.leave(seat);
        if let Some(chair) = self.chairs.get_mut(seat) {
            chair.driver = None;
            chair.next = None;
        }
    }

    /// Every endpoint of a host ends without a word to anybody outside.
    pub fn crash(&mut self, host: NodeId, words: &str) {
        for seat in 0..self.chairs.len() {
            let Some(chair) = self.chairs.get_mut(seat).filter(|chair| chair.host == host) else { continue };
            if let Some(driver) = &mut chair.driver {
                driver.application_mut().break_down(words.to_owned());
            }
            self.leave(seat);
        }
    }

    /// Goes on until `until`, or until JavaScript has something to do. If nothing happens before, an idle world stays where
    /// it is, unless somebody waits for the instant itself.
    pub fn step(&mut self, until: Timestamp, waits: Waits) -> Pause {
        for _ in 0..ROUNDS_PER_STEP {
            self.rounds = self.rounds.saturating_add(1);
            if self.rounds > MAX_ROUNDS {
                return Pause::Livelock;
            }
            if self.deliver() | self.take_turns() {
                continue;
            }
            self.collect();
            if !self.events.is_empty() || self.chairs.iter().any(|chair| chair.wake.is_noted()) {
                return Pause::News;
            }
            let next = Timestamp::earliest(self.topology.next_event(), self.next_turn());
            match next {
                Some(next) if next <= until => self.advance(next),
                None if waits == Waits::ForEvents => return Pause::Idle,
                _ => {
                    self.advance(until);
                    return Pause::Reached;
                }
            }
        }
        Pause::Later
    }

    /// Chooses what is kept of every datagram from now on.
    pub fn observe(&mut self) {
        self.topology.watch(match (&self.recorded, self.watching) {
            (Some(_), _) => Watch::Bytes,
            (None, Watching::Yes) => Watch::Facts,
            (None, Watching::No) => Watch::Off,
        });
    }

    /// Facts about datagrams since this was asked last.
    pub fn take_events(&mut self) -> Vec<Observation> {
        std::mem::take(&mut self.events)
    }

    /// Puts what the links told where it is wanted.
    pub fn collect(&mut self) {
        if !self.topology.has_observed() {
            return;
        }
        let observed = self.topology.take_observed();
        if self.watching == Watching::Yes {
            self.events.extend(observed.iter().map(|seen| Observation { bytes: Vec::new(), ..*seen }));
        }
        if let Some(recorded) = &mut self.recorded {
            recorded.extend(observed);
        }
    }

    /// A seat whose JavaScript should be called, each once.
    pub fn take_woken(&mut self) -> Option<usize> {
        self.chairs.iter().position(|chair| chair.wake.take_noted())
    }

    fn advance(&mut self, to: Timestamp) {
        if to > self.now {
            self.now = to;
            self.rounds = 0;
            self.shared_now.store(to.as_nanos(), Ordering::Relaxed);
        }
    }

    /// Hands over what has arrived; whether there was anything.
    fn deliver(&mut self) -> bool {
        let mut any = false;
        while let Some(Delivery { host, four_tuple, ecn, mut bytes }) = self.topology.pop_delivery(self.now) {
            let seat = self.sockets.receiver(host, four_tuple.local);
            if let Some(chair) = seat.and_then(|seat| self.chairs.get_mut(seat))
                && let Some(driver) = &mut chair.driver
            {
                driver.receive(self.now, four_tuple, ecn, &mut bytes);
                chair.stirred = true;
                any = true;
            }
            self.topology.recycle(bytes);
        }
        any
    }

    /// Everyone who has something to do takes a turn, in the order of seats; whether anybody had.
    fn take_turns(&mut self) -> bool {
        let mut any = false;
        for seat in self.bells.take() {
            self.stir(seat);
        }
        for seat in 0..self.chairs.len() {
            let is_due = |chair: &Chair| chair.stirred || chair.next.is_some_and(|at| at <= self.now);
            if self.chairs.get(seat).is_some_and(is_due) {
                any |= self.turn(seat);
            }
        }
        any
    }

    /// One turn; `false`: the seat is empty.
    fn turn(&mut self, seat: usize) -> bool {
        let Self { topology, sockets, chairs, now, .. } = self;
        let now = *now;
        let Some(chair) = chairs.get_mut(seat) else { return false };
        chair.next = None;
        let stirred = std::mem::take(&mut chair.stirred);
        let Some(driver) = &mut chair.driver else { return false };
        driver.turn(now, &mut Place { topology, sockets, host: chair.host, seat, now });
        chair.turns = if stirred || chair.last_turn < now { 0 } else { chair.turns.saturating_add(1) };
        chair.last_turn = now;
        // Whoever polls for the end of something that takes time would poll for ever at one instant.
        let earliest = if chair.turns < TURNS_AT_ONCE { now } else { now + PAUSE };
        chair.next = driver.next_turn().map(|at| at.max(earliest));
        if driver.is_stopped() {
            self.leave(seat);
        }
        true
    }

    fn next_turn(&self) -> Option<Timestamp> {
        self.chairs.iter().filter_map(|chair| chair.next).min()
    }
}
