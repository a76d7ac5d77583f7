//! One round of one punch: the steps of a plan, one after the other (traversal §7).
//!
//! ```text
//!   begin ──► ladder | waiting | learning | leasing ──► knocking | searching | asked ──► next step … ──► failed
//!     any of them ── HELLO or DONE ──► done           any of them ── PUNCH_ME_NOW, server ──► passive, from the start
//! ```
//! Decides what leaves when. Every probe passes the policy and the budget here. Called by the puncher with frames and timers.
//! Never sends: outputs are queued.

mod storm;

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use qbase::{Timestamp, limits};

use super::{
    Effects, Hole, Output, Probe, Reason, Side, Socket,
    search::{Collision, Search},
    strategy::{Context, Foretold, Otherwise, Pace, Plan, Signal, Step, Target, Then},
};
use crate::{
    NatType, TraversalFrame,
    book::LocalAddress,
    budget::{PortSearch, Ticket},
    frame::{PunchDone, PunchHello, PunchId, PunchMeNow},
};

/// How long a new socket's outer address is waited for.
const LEARN_WAIT: Duration = Duration::from_secs(1);
/// A round ends after this, whatever its plan (attacks G10).
const ROUND_LIMIT: Duration = Duration::from_secs(5);
/// The same where ports are searched (attacks G10).
const SEARCH_LIMIT: Duration = Duration::from_secs(30);
/// Steps begun at one instant, against plans without end.
const TURNS: usize = 256;

/// How a round ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Done(Hole),
    Failed(Reason),
}

/// What a round does just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    Nothing,
    Ladder { to: Target, times: u8, pace: Pace, ttl: u8, sent: u8, next_at: Timestamp },
    Waiting { signal: Signal, until: Timestamp, otherwise: Otherwise },
    Learning { socket: u64, tell: Foretold, until: Timestamp },
    Leasing { step: Step, ask_at: Timestamp },
    Knocking { next_at: Timestamp },
    Searching { next_at: Timestamp },
    Asked,
}

/// What follows a turn.
enum Turn {
    Again,
    Sleeps,
    Ends(End),
}

/// What a probe counts as.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Counts {
    /// One of the round's (attacks L22).
    AsProbe,
    /// One of a search's, which has its own bounds.
    AsSearch,
}

/// One round.
#[derive(Debug)]
pub(super) struct Round {
    pub(super) side: Side,
    pub(super) number: u8,
    /// Name of the plan.
    pub(super) plan: &'static str,
    /// Probes sent.
    pub(super) probes: u32,
    id: PunchId,
    steps: VecDeque<Step>,
    then: Then,
    doing: Doing,
    local: LocalAddress,
    /// What the peer said last; the numbers are as we see them.
    remote: PunchMeNow,
    /// Where HELLOs leave.
    socket: Socket,
    /// What the peer is told of it.
    told: (SocketAddr, NatType),
    /// PUNCH_ME_NOWs heard on this side.
    tells: u8,
    /// Addresses and how many HELLOs went there.
    targets: Vec<(SocketAddr, u8)>,
    /// Where the last HELLO outside of searches went.
    last_target: Option<SocketAddr>,
    collision: Option<Collision>,
    search: Option<Search>,
    ticket: Option<Ticket>,
    deadline: Timestamp,
}

impl Round {
    /// A round that has not begun; [`Round::advance`] does.
    pub(super) fn new(id: PunchId, side: Side, number: u8, local: LocalAddress, remote: PunchMeNow, fx: &mut Effects<'_>) -> Self {
        let mut round = Self {
            side,
            number,
            plan: "",
            probes: 0,
            id,
            steps: VecDeque::new(),
            then: Then::Fail,
            doing: Doing::Nothing,
            local,
            remote,
            socket: Socket::Bound(local.bind),
            told: (local.address, local.nat_type),
            tells: 0,
            targets: Vec::new(),
            last_target: None,
            collision: None,
            search: None,
            ticket: None,
            deadline: fx.now,
        };
        round.plan_anew(fx);
        round
    }

    fn context(&self, fx: &Effects<'_>) -> Context {
        Context {
            role: fx.role,
            side: self.side,
            local: self.local,
            remote: self.remote,
            rtt: fx.rtt,
            round: self.number,
            search: fx.budget.search(),
        }
    }

    fn plan_anew(&mut self, fx: &mut Effects<'_>) {
        let Plan { name, steps, then } = (fx.strategy)(&self.context(fx));
        let searches = steps.iter().any(|step| matches!(step, Step::Collision | Step::PortSearch)) || then == Then::Ask;
        let may_search = fx.budget.search() == PortSearch::Allowed;
        self.deadline = fx.now + if searches && may_search { SEARCH_LIMIT } else { ROUND_LIMIT };
        (self.plan, self.then, self.doing) = (name, then, Doing::Nothing);
        self.steps = steps.into_iter().take(limits::PUNCH_STEPS).collect();
    }

    /// More steps of an open plan; `then`: whether to ask again after them.
    pub(super) fn feed(&mut self, steps: impl IntoIterator<Item = Step>, then: Then) {
        let room = limits::PUNCH_STEPS.saturating_sub(self.steps.len());
        self.steps.extend(steps.into_iter().take(room));
        self.then = then;
        if self.doing == Doing::Asked {
            self.doing = Doing::Nothing;
        }
    }

    /// The server yields (traversal T-82): the peer's attempt counts, ours ends. A socket whose outer address is known, ports
    /// that are open and a lease are kept.
    pub(super) fn yield_to(&mut self, tell: PunchMeNow, fx: &mut Effects<'_>) {
        if let Doing::Learning { socket, .. } = self.doing {
            fx.out.push_back(Output::Close { socket });
        }
        (self.side, self.remote, self.tells) = (Side::Passive, tell, 0);
        self.plan_anew(fx);
    }

    /// The peer's attempt counts as a round of its own: its probes are counted from 0.
    pub(super) fn count_anew(&mut self) {
        self.targets.clear();
    }

    /// PUNCH_ME_NOW that does not change sides: its address is the one that counts.
    pub(super) fn on_tell(&mut self, tell: PunchMeNow, now: Timestamp) {
        let is_other = tell.address != self.remote.address;
        (self.remote, self.tells) = (tell, self.tells.saturating_add(1));
        match &mut self.doing {
            Doing::Ladder { to: Target::Peer, sent, next_at, .. } if is_other => (*sent, *next_at) = (0, now),
            Doing::Waiting { signal: Signal::Tell, .. } => self.doing = Doing::Nothing,
            _ => {}
        }
    }

    /// PUNCH_DONE, straight on a link or over the connection; `None`: a miss, or an answer to nothing.
    pub(super) fn on_done(&self, done: PunchDone, hole: Option<Hole>) -> Option<End> {
        if done.probe != 0 {
            let socket = Socket::Made(self.search.as_ref()?.claim(done.probe)?);
            let remote = hole.map_or(self.remote.address, |hole| hole.remote);
            return Some(End::Done(Hole { from: socket, remote }));
        }
        let guess = || self.last_target.map(|remote| Hole { from: self.socket, remote });
        hole.or_else(guess).map(End::Done)
    }

    /// A server told the outer address of a socket we asked for; `None`: none did, or there is no socket.
    pub(super) fn on_outer(&mut self, socket: u64, outer: Option<SocketAddr>) -> Option<End> {
        if outer.is_none()
            && let Some(search) = &mut self.search
        {
            search.lost(socket);
        }
        let Doing::Learning { socket: awaited, tell, .. } = self.doing else { return None };
        if awaited != socket {
            return None;
        }
        let told = outer.and_then(|outer| match tell {
            Foretold::Learned => Some((outer, self.local.nat_type)),
            Foretold::Next { step } => {
                let port = i32::from(outer.port()).checked_add(step)?;
                Some((SocketAddr::new(outer.ip(), u16::try_from(port).ok()?), NatType::RestrictedPort))
            }
        });
        let Some(told) = told else { return Some(End::Failed(Reason::NoSocket)) };
        (self.socket, self.told, self.doing) = (Socket::Made(socket), told, Doing::Nothing);
        None
    }

    /// When to call [`Round::advance`] again.
    pub(super) fn wakes_at(&self) -> Timestamp {
        let at = match self.doing {
            Doing::Nothing => Timestamp::ZERO,
            Doing::Ladder { next_at, .. } | Doing::Knocking { next_at } | Doing::Searching { next_at } => next_at,
            Doing::Waiting { until, .. } | Doing::Learning { until, .. } => until,
            Doing::Leasing { ask_at, .. } => ask_at,
            Doing::Asked => self.deadline,
        };
        at.min(self.deadline)
    }

    /// Does all that is due.
    pub(super) fn advance(&mut self, fx: &mut Effects<'_>) -> Option<End> {
        if fx.now >= self.deadline {
            return Some(End::Failed(Reason::Silence));
        }
        for _ in 0..TURNS {
            match self.turn(fx) {
                Turn::Again => {}
                Turn::Sleeps => return None,
                Turn::Ends(end) => return Some(end),
            }
        }
        Some(End::Failed(Reason::Strategy))
    }

    /// The round is over: everything it holds is given back; the socket of the hole stays.
    pub(super) fn release(&mut self, kept: Option<Socket>, fx: &mut Effects<'_>) {
        let learning = if let Doing::Learning { socket, .. } = self.doing { Some(socket) } else { None };
        let own = if let Socket::Made(socket) = self.socket { Some(socket) } else { None };
        let searching = self.search.iter_mut().flat_map(Search::drain);
        let sockets = learning.into_iter().chain(own).chain(searching).filter(|socket| kept != Some(Socket::Made(*socket)));
        fx.out.extend(sockets.map(|socket| Output::Close { socket }));
        if let Some(ticket) = self.ticket.take() {
            fx.budget.give_back(ticket, fx.now);
        }
    }

    fn turn(&mut self, fx: &mut Effects<'_>) -> Turn {
        match self.doing {
            Doing::Nothing => self.begin(fx),
            Doing::Ladder { next_at: at, .. } | Doing::Knocking { next_at: at } | Doing::Searching { next_at: at } if fx.now < at => Turn::Sleeps,
            Doing::Waiting { until: at, .. } | Doing::Learning { until: at, .. } | Doing::Leasing { ask_at: at, .. } if fx.now < at => Turn::Sleeps,
            Doing::Ladder { to, times, pace, ttl, sent, .. } => self.climb(fx, (to, times, pace, ttl), sent),
            Doing::Waiting { otherwise: Otherwise::GoOn, .. } => self.next_step(),
            Doing::Waiting { .. } => Turn::Ends(End::Failed(Reason::Silence)),
            Doing::Learning { .. } => Turn::Ends(End::Failed(Reason::NoSocket)),
            Doing::Leasing { step, .. } => self.lease(fx, step),
            Doing::Knocking { .. } => self.knock(fx),
            Doing::Searching { .. } => self.search(fx),
            Doing::Asked => Turn::Sleeps,
        }
    }

    const fn next_step(&mut self) -> Turn {
        self.doing = Doing::Nothing;
        Turn::Again
    }

    fn begin(&mut self, fx: &mut Effects<'_>) -> Turn {
        let Some(step) = self.steps.pop_front() else {
            return match self.then {
                Then::Fail => Turn::Ends(End::Failed(if self.plan == Plan::none().name { Reason::NoStrategy } else { Reason::Silence })),
                Then::Ask => {
                    fx.out.push_back(Output::WantsSteps { id: self.id, context: self.context(fx) });
                    self.doing = Doing::Asked;
                    Turn::Sleeps
                }
            };
        };
        self.doing = match step {
            Step::Hello { to, times, pace, ttl } => Doing::Ladder { to, times, pace, ttl, sent: 0, next_at: fx.now },
            Step::Tell => {
                let (address, nat_type) = self.told;
                let tell = PunchMeNow { id: self.id, address, tier: self.local.tier, nat_type, kind: self.local.kind };
                fx.out.push_back(Output::Frame(TraversalFrame::PunchMeNow(tell)));
                Doing::Nothing
            }
            Step::Wait { signal: Signal::Tell, .. } if self.tells > 0 => Doing::Nothing,
            Step::Wait { signal, at_most, otherwise } => Doing::Waiting { signal, until: fx.now + at_most, otherwise },
            Step::NewSocket { tell } => {
                if let Socket::Made(socket) = self.socket {
                    fx.out.push_back(Output::Close { socket });
                    self.socket = Socket::Bound(self.local.bind);
                }
                let socket = fx.new_socket(self.local.bind, 0);
                fx.out.push_back(Output::LearnOuter { socket });
                let patience = LEARN_WAIT.max(fx.rtt.saturating_mul(2));
                Doing::Learning { socket, tell, until: fx.now + patience }
            }
            Step::Collision | Step::PortSearch if fx.budget.search() == PortSearch::Off => return Turn::Ends(End::Failed(Reason::NotAllowed)),
            Step::Collision | Step::PortSearch => Doing::Leasing { step, ask_at: fx.now },
        };
        Turn::Again
    }

    fn climb(&mut self, fx: &mut Effects<'_>, ladder: (Target, u8, Pace, u8), sent: u8) -> Turn {
        let (to, times, pace, ttl) = ladder;
        if sent >= times {
            return self.next_step();
        }
        let peer = self.remote.address;
        let target = match to {
            Target::Peer => peer,
            Target::Port(port) => SocketAddr::new(peer.ip(), port),
            Target::Address(address) if address.ip() == peer.ip() => address,
            Target::Address(_) => return Turn::Ends(End::Failed(Reason::Refused)),
        };
        if let Err(reason) = self.send(fx, self.socket, target, ttl, 0, Counts::AsProbe) {
            return Turn::Ends(End::Failed(reason));
        }
        self.last_target = Some(target);
        self.doing = Doing::Ladder { to, times, pace, ttl, sent: sent.saturating_add(1), next_at: fx.now + pace.wait(sent) };
        Turn::Again
    }

    /// One HELLO, if the policy, the round's bounds and the budget let it.
    fn send(&mut self, fx: &mut Effects<'_>, from: Socket, to: SocketAddr, ttl: u8, probe: u64, counts: Counts) -> Result<(), Reason> {
        fx.policy.admits(to).map_err(|_| Reason::Refused)?;
        let known = self.targets.iter().position(|(target, _)| *target == to);
        if counts == Counts::AsProbe {
            let sent = self.targets.iter().fold(0_usize, |sum, (_, sent)| sum.saturating_add(usize::from(*sent)));
            let here = known.and_then(|index| self.targets.get(index)).map_or(0, |(_, sent)| *sent);
            if sent >= limits::PROBES_PER_ROUND || here >= limits::PROBES_PER_TARGET {
                return Ok(());
            }
        }
        fx.budget.spend(to, fx.now).map_err(|_| Reason::Budget)?;
        let destination = match (known, counts) {
            (Some(index), _) => index,
            (None, Counts::AsSearch) => self.targets.len(),
            (None, Counts::AsProbe) => {
                self.targets.push((to, 0));
                self.targets.len().saturating_sub(1)
            }
        };
        if counts == Counts::AsProbe
            && let Some((_, sent)) = self.targets.get_mut(destination)
        {
            *sent = sent.saturating_add(1);
        }
        if self.probes == 0 {
            fx.out.push_back(Output::ReserveCids { id: self.id });
        }
        self.probes = self.probes.saturating_add(1);
        let frame = TraversalFrame::PunchHello(PunchHello { id: self.id, probe });
        let destination = u16::try_from(destination).unwrap_or(u16::MAX);
        fx.out.push_back(Output::Probe(Probe { id: self.id, from, to, ttl, frame, destination }));
        Ok(())
    }
}
