//! The puncher's inputs: who starts, who yields, what ends a round (traversal T-80…T-84; attacks G5, G9, L22).
//!
//! Called by [`crate::Traversal`]. What happens inside a round is [`super::round`]'s part.

use super::*;

impl Puncher {
    /// Nothing runs. `seed` is for ports alone.
    #[must_use]
    pub fn new(role: Role, seed: u64) -> Self {
        Self {
            role,
            bounds: Bounds::default(),
            strategy: matrix::plan,
            rtt: DEFAULT_RTT,
            rounds: BTreeMap::new(),
            history: History::default(),
            echoes: Echoes::default(),
            reach: Reach::Relayed,
            out: VecDeque::new(),
            dice: Dice::new(seed),
            next_socket: 0,
            statistics: PunchStatistics::default(),
        }
    }

    /// Lower bounds from now on; higher ones change nothing.
    pub fn set_bounds(&mut self, bounds: Bounds) {
        let Bounds { rounds, running } = Bounds::default();
        self.bounds = Bounds { rounds: bounds.rounds.min(rounds), running: bounds.running.min(running) };
    }

    /// A direct path is there: no round is needed (attacks G9).
    #[must_use]
    pub fn has_direct_path(&self) -> bool {
        self.reach == Reach::Direct
    }

    /// A round of this pair runs.
    #[must_use]
    pub fn is_running(&self, id: PunchId) -> bool {
        self.rounds.contains_key(&id)
    }

    /// Another strategy for the rounds to come.
    pub fn set_strategy(&mut self, strategy: Strategy) {
        self.strategy = strategy;
    }

    /// The connection's smoothed round trip, over the relay as long as there is no better path.
    pub const fn set_rtt(&mut self, rtt: Duration) {
        self.rtt = rtt;
    }

    /// Rounds that run.
    #[must_use]
    pub fn running(&self) -> usize {
        self.rounds.len()
    }

    /// Counters.
    #[must_use]
    pub const fn statistics(&self) -> PunchStatistics {
        self.statistics
    }

    /// We begin (traversal T-80, T-83). A pair that runs or is done is left alone; without room (L22) it waits.
    pub fn start(&mut self, id: PunchId, means: &mut Means<'_>) {
        let is_over = matches!(self.history.get(id), Some(Past::Done));
        if self.reach == Reach::Direct || is_over || self.rounds.contains_key(&id) {
            return;
        }
        let (Some(local), Some(remote)) = (means.book.local(id.local_seq), means.book.remote(id.remote_seq)) else { return };
        if self.rounds.len() >= self.bounds.running || !self.history.begin_round(means.now, self.bounds.rounds) {
            return self.history.postpone(id, means.now);
        }
        let remote = PunchMeNow { id, address: remote.address, tier: remote.tier, nat_type: remote.nat_type, kind: remote.kind };
        self.begin(id, Side::Active, *local, remote, means);
    }

    /// PUNCH_ME_NOW came (traversal T-81, T-82).
    pub fn on_punch_me_now(&mut self, frame: PunchMeNow, means: &mut Means<'_>) {
        let id = frame.id.flipped();
        let tell = PunchMeNow { id, ..frame };
        let is_relayed = matches!(frame.kind, AddressKind::Relayed { .. });
        let known = means.book.local(id.local_seq).copied().filter(|local| local.address.is_ipv4() == frame.address.is_ipv4());
        let Some(local) = known else { return self.ignore() };
        let is_over = self.reach == Reach::Direct || self.history.get(id) == Some(Past::Done);
        if is_over || is_relayed || means.book.is_gone(id.remote_seq) || means.policy.admits(frame.address).is_err() {
            return self.ignore();
        }
        match self.rounds.get(&id).map(|round| round.side) {
            None => {
                if self.rounds.len() >= self.bounds.running || !self.history.begin_round(means.now, self.bounds.rounds) {
                    return self.ignore();
                }
                self.begin(id, Side::Passive, local, tell, means);
            }
            Some(Side::Active) if self.role == Role::Server => {
                // The peer's attempt is a round; without room for it ours ends and nothing more is sent.
                let has_room = self.history.begin_round(means.now, self.bounds.rounds);
                self.statistics.yielded = self.statistics.yielded.saturating_add(1);
                self.on_round(id, means, |round, fx| {
                    if has_room {
                        round.count_anew();
                    }
                    round.yield_to(tell, fx);
                    None
                });
                self.report(id, RoundState::Yielded);
                self.advance(id, means);
            }
            Some(_) => {
                self.on_round(id, means, |round, fx| {
                    round.on_tell(tell, fx.now);
                    None
                });
                self.advance(id, means);
            }
        }
    }

    /// PUNCH_HELLO came on this 4-tuple (traversal T-84, T-87).
    pub fn on_hello(&mut self, frame: PunchHello, hole: Hole, means: &mut Means<'_>) {
        let id = frame.id.flipped();
        if means.book.local(id.local_seq).is_none() || means.book.is_gone(id.remote_seq) {
            return self.ignore();
        }
        self.echoes.on_hello(frame, hole, means.now, means.budget, &mut self.out);
        if self.rounds.contains_key(&id) {
            self.conclude(id, End::Done(hole), means);
        } else if self.history.get(id) != Some(Past::Done) {
            self.history.done(id);
            self.out.push_back(Output::Established { id, hole });
        }
    }

    /// PUNCH_DONE came: straight on this 4-tuple, or over the connection.
    pub fn on_done(&mut self, frame: PunchDone, hole: Option<Hole>, means: &mut Means<'_>) {
        let id = frame.id.flipped();
        let end = self.rounds.get(&id).and_then(|round| round.on_done(PunchDone { id, ..frame }, hole));
        if let Some(end) = end {
            self.conclude(id, end, means);
        }
    }

    /// What a STUN server says of a socket we asked for; `None`: nothing, or there is no such socket.
    pub fn on_outer(&mut self, socket: u64, outer: Option<SocketAddr>, means: &mut Means<'_>) {
        let ids: Vec<PunchId> = self.rounds.keys().copied().collect();
        for id in ids {
            self.on_round(id, means, |round, _| round.on_outer(socket, outer));
            self.advance(id, means);
        }
    }

    /// More steps for an open plan, and whether to ask again after them.
    pub fn feed(&mut self, id: PunchId, steps: impl IntoIterator<Item = Step>, then: Then, means: &mut Means<'_>) {
        if let Some(round) = self.rounds.get_mut(&id) {
            round.feed(steps, then);
        }
        self.advance(id, means);
    }

    /// Ends a round of this pair; it is not tried again by ourselves.
    pub fn cancel(&mut self, id: PunchId, means: &mut Means<'_>) {
        self.conclude(id, End::Failed(Reason::Cancelled), means);
    }

    /// Everything about these pairs ends and is forgotten; nothing more is said about them (traversal T-76, V9).
    pub fn forget(&mut self, is_meant: impl Fn(PunchId) -> bool, means: &mut Means<'_>) {
        for id in self.rounds.keys().copied().filter(|id| is_meant(*id)).collect::<Vec<_>>() {
            self.conclude(id, End::Failed(Reason::Cancelled), means);
        }
        self.history.forget(&is_meant);
        self.echoes.forget(&is_meant);
        self.out.retain(|output| match output {
            Output::Frame(TraversalFrame::PunchMeNow(PunchMeNow { id, .. }) | TraversalFrame::PunchDone(PunchDone { id, .. })) => !is_meant(*id),
            Output::Probe(Probe { id, .. }) | Output::WantsSteps { id, .. } => !is_meant(*id),
            _ => true,
        });
    }

    /// A direct path is validated: no round is needed (attacks G9).
    pub fn on_direct_path(&mut self, means: &mut Means<'_>) {
        self.reach = Reach::Direct;
        for id in self.rounds.keys().copied().collect::<Vec<_>>() {
            self.conclude(id, End::Failed(Reason::NotNeeded), means);
        }
    }

    /// The last direct path is lost: what worked once may be tried again. Start the pairs anew.
    pub fn on_direct_lost(&mut self) {
        self.reach = Reach::Relayed;
        self.history.forget_successes();
    }

    /// When to call [`Puncher::on_timer`].
    #[must_use]
    pub fn next_timer(&self) -> Option<Timestamp> {
        let rounds = self.rounds.values().map(Round::wakes_at).min();
        let retry = self.history.next_retry().filter(|_| self.reach == Reach::Relayed);
        [rounds, retry, self.echoes.next_at()].into_iter().flatten().min()
    }

    /// Does all that is due.
    pub fn on_timer(&mut self, means: &mut Means<'_>) {
        self.echoes.advance(means.now, means.budget, &mut self.out);
        let due: Vec<PunchId> = self.rounds.iter().filter(|(_, round)| round.wakes_at() <= means.now).map(|(id, _)| *id).collect();
        for id in due {
            self.advance(id, means);
        }
        for _ in 0..limits::PUNCHES_RUNNING {
            let Some(id) = self.history.pop_retry(means.now).filter(|_| self.reach == Reach::Relayed) else { break };
            self.start(id, means);
        }
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// Something else to do, after all that waits.
    pub(crate) fn push(&mut self, output: Output) {
        self.out.push_back(output);
    }

    fn ignore(&mut self) {
        self.statistics.ignored = self.statistics.ignored.saturating_add(1);
    }

    fn begin(&mut self, id: PunchId, side: Side, local: crate::book::LocalAddress, remote: PunchMeNow, means: &mut Means<'_>) {
        let number = self.history.next_round(id);
        self.statistics.rounds = self.statistics.rounds.saturating_add(1);
        let (mut fx, _) = self.effects(means);
        let round = Round::new(id, side, number, local, remote, &mut fx);
        self.rounds.insert(id, round);
        self.report(id, RoundState::Started);
        self.advance(id, means);
    }

    fn report(&mut self, id: PunchId, state: RoundState) {
        if let Some(round) = self.rounds.get(&id) {
            let Round { side, number, plan, probes, .. } = *round;
            self.out.push_back(Output::Round(RoundReport { id, state, side, number, plan, probes }));
        }
    }

    fn advance(&mut self, id: PunchId, means: &mut Means<'_>) {
        self.on_round(id, means, Round::advance);
    }

    /// Lets a round act, and ends it if that is what came of it.
    fn on_round(&mut self, id: PunchId, means: &mut Means<'_>, act: impl FnOnce(&mut Round, &mut Effects<'_>) -> Option<End>) {
        let (mut fx, rounds) = self.effects(means);
        let end = rounds.get_mut(&id).and_then(|round| act(round, &mut fx));
        if let Some(end) = end {
            self.conclude(id, end, means);
        }
    }

    fn conclude(&mut self, id: PunchId, end: End, means: &mut Means<'_>) {
        let state = match end {
            End::Done(_) => RoundState::Done,
            End::Failed(reason) => RoundState::Failed(reason),
        };
        self.report(id, state);
        let (mut fx, rounds) = self.effects(means);
        let Some(mut round) = rounds.remove(&id) else { return };
        let kept = if let End::Done(hole) = end { Some(hole.from) } else { None };
        round.release(kept, &mut fx);
        match end {
            End::Done(hole) => {
                self.history.done(id);
                self.out.push_back(Output::Established { id, hole });
            }
            End::Failed(Reason::NotNeeded) => {}
            End::Failed(reason) => {
                let may_change = !matches!(reason, Reason::NoStrategy | Reason::NotAllowed | Reason::Refused | Reason::Cancelled);
                let retry = if may_change && round.side == Side::Active { Retry::Later } else { Retry::No };
                self.history.failed(id, retry, means.now);
            }
        }
    }

    fn effects<'a>(&'a mut self, means: &'a mut Means<'_>) -> (Effects<'a>, &'a mut BTreeMap<PunchId, Round>) {
        let Self { role, strategy, rtt, rounds, out, dice, next_socket, .. } = self;
        let Means { now, policy, budget, .. } = means;
        let fx = Effects { now: *now, role: *role, rtt: *rtt, strategy: *strategy, policy, budget, dice, out, next_socket };
        (fx, rounds)
    }
}

/// Round trip before one is measured (RFC 9002 §6.2.2).
const DEFAULT_RTT: Duration = Duration::from_millis(333);
