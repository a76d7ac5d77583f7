//! One turn of the machine: what happened goes in, what it wants goes to the parts that do it (`qtraversal::punch`).
//!
//! Called by the endpoint before the connection sends, with the endpoint's budget. Decides nothing about punches; decides that
//! nothing leaves before the handshake is complete, and that everything is given back at the end.

use super::{AddressChange, AddressSide, Input, Part, Plans, TraversalNews, TraversalState};
use crate::connection::{Connection, State, events::EndpointAction};
use qbase::{Timestamp, TransportError};
use qtraversal::{
    TraversalFrame,
    budget::ProbeBudget,
    punch::{
        Output, RoundState, matrix,
        strategy::{Context, Plan, Strategy},
    },
};
use std::time::Duration;

/// How long connection ids of a round are kept after it: DONE is repeated for a while (traversal T-87).
const AFTERMATH: Duration = Duration::from_secs(1);

/// The maker of plans as the machine knows it.
pub(super) const fn strategy_of(plans: Plans) -> Strategy {
    match plans {
        Plans::Own => matrix::plan,
        Plans::Asked => asked,
    }
}

fn asked(_: &Context) -> Plan {
    Plan::asked()
}

impl Connection {
    /// Lets the machine act on what happened, and on time. The budget is the endpoint's.
    pub(crate) fn drive_traversal(&mut self, now: Timestamp, budget: &mut ProbeBudget) {
        let Some(mut part) = self.traversal.take() else { return };
        let told = self.events.len();
        if let Some(settings) = &self.config.traversal {
            budget.set_options(settings.budget());
        }
        let outcome = match (self.state, part.state) {
            (State::Handshaking | State::Open, TraversalState::On) => {
                self.note_traversal_facts(now, &mut part, budget);
                self.take_traversal_inputs(now, &mut part, budget)
            }
            (State::Handshaking | State::Open, _) => Ok(()),
            _ => {
                self.end_traversal(now, &mut part, budget);
                Ok(())
            }
        };
        if part.machine.next_timer().is_some_and(|at| at <= now) {
            part.machine.on_timer(now, budget);
        }
        if part.state == TraversalState::On {
            self.do_traversal_outputs(now, &mut part);
        }
        let is_released = part.release_kept(now, &mut self.paths);
        self.traversal = Some(part);
        if is_released {
            self.announce_reset_tokens();
        }
        self.mind_holes(now);
        self.mind_observations();
        self.set_traversal_alarm(now);
        if let Err(error) = outcome {
            self.fail(now, error);
        }
        // The application has had its turn before this one, and hears of what happened here in another one at once.
        if let Some(part) = self.traversal.as_mut().filter(|_| self.events.len() > told) {
            part.news_since.get_or_insert(now);
        }
    }

    /// When to be woken if nothing happens.
    fn set_traversal_alarm(&mut self, now: Timestamp) {
        let heartbeat = self.next_heartbeat(now);
        let Some(part) = &mut self.traversal else { return };
        let is_on = part.state == TraversalState::On;
        let kept = part.kept.iter().filter_map(|kept| kept.until).min();
        part.wake_at = [part.machine.next_timer(), kept, part.holes.next_timer(), heartbeat].into_iter().flatten().min().filter(|_| is_on);
    }

    /// Round trip and reach, as the paths are now (attacks G9; traversal T-99).
    fn note_traversal_facts(&mut self, now: Timestamp, part: &mut Part, budget: &mut ProbeBudget) {
        let measured = self.paths.iter().filter_map(|entry| entry.network.as_deref()).filter(|network| network.rtt.first_sample_at().is_some());
        if let Some(rtt) = measured.map(|network| network.rtt.smoothed()).max() {
            part.machine.set_rtt(rtt);
        }
        if !matches!(part.inputs.front(), Some(Input::Complete)) {
            self.note_reach(now, part, budget);
        }
    }

    fn take_traversal_inputs(&mut self, now: Timestamp, part: &mut Part, budget: &mut ProbeBudget) -> Result<(), TransportError> {
        while let Some(input) = part.inputs.pop_front() {
            match input {
                Input::Complete => {
                    // A path that is direct from the start needs no punch: that is known before early frames count.
                    self.note_reach(now, part, budget);
                    part.machine.on_handshake_complete(now, budget)?;
                }
                Input::Frame(frame, hole) => self.take_traversal_frame(now, part, (&frame, hole), budget)?,
                Input::Announced(seq) => part.machine.pair_local(seq, now, budget),
                Input::Withdraw(seq) => {
                    // What could be refused was asked when the application said it.
                    let _ = part.machine.withdraw(seq, now, budget);
                    part.forget(|id| id.local_seq == seq);
                }
                Input::Punch(id, plans) => {
                    let usual = self.config.traversal.as_ref().map(|settings| settings.plans).unwrap_or_default();
                    part.machine.puncher().set_strategy(strategy_of(plans));
                    part.machine.punch(id, now, budget);
                    part.machine.puncher().set_strategy(strategy_of(usual));
                }
                Input::Cancel(id) => part.machine.cancel(id, now, budget),
                Input::Feed(id, steps, then) => part.machine.feed(id, steps, then, now, budget),
                Input::Outer(socket, outer) => part.machine.on_outer(socket, outer, now, budget),
            }
        }
        Ok(())
    }

    /// A frame counts; the application hears of addresses that come and go.
    fn take_traversal_frame(
        &mut self,
        now: Timestamp,
        part: &mut Part,
        (frame, hole): (&TraversalFrame, Option<qtraversal::punch::Hole>),
        budget: &mut ProbeBudget,
    ) -> Result<(), TransportError> {
        let seq = match *frame {
            TraversalFrame::AddAddress(add) => Some(add.seq),
            TraversalFrame::RemoveAddress(remove) => Some(remove.seq),
            _ => None,
        };
        let known = |part: &Part| seq.and_then(|seq| part.machine.addresses().remote(seq).copied());
        let before = known(part);
        part.machine.on_frame(frame, hole, now, budget)?;
        if let TraversalFrame::RemoveAddress(remove) = *frame {
            part.forget(|id| id.remote_seq == remove.seq);
        }
        let (change, address) = match (before, known(part)) {
            (None, Some(address)) => (AddressChange::Added, address),
            (Some(address), None) => (AddressChange::Removed, address),
            _ => return Ok(()),
        };
        self.traversal_event(TraversalNews::Address { side: AddressSide::Remote, change, address });
        Ok(())
    }

    /// The connection ends: what the machine holds goes back (traversal T-94, T-98).
    fn end_traversal(&mut self, now: Timestamp, part: &mut Part, budget: &mut ProbeBudget) {
        if part.state == TraversalState::Off {
            return;
        }
        part.state = TraversalState::Off;
        part.machine.close(now, budget);
        while part.machine.poll_output().is_some() {}
        part.inputs.clear();
        part.probes.clear();
        part.kept.clear();
        for socket in part.sockets.numbers() {
            part.sockets.unmake(socket);
            self.actions.push_back(EndpointAction::CloseSocket { socket });
        }
    }

    fn do_traversal_outputs(&mut self, now: Timestamp, part: &mut Part) {
        while let Some(output) = part.machine.poll_output() {
            match output {
                Output::Frame(frame) => part.letters.push(frame),
                Output::Probe(probe) => part.queue_probe(probe),
                Output::ReserveCids { id } => part.keep_cids(id, &mut self.paths),
                Output::Open { socket, beside, port } => {
                    part.sockets.make(socket);
                    match part.sockets.bound(beside) {
                        Some(beside) => self.actions.push_back(EndpointAction::OpenSocket { socket, beside, port }),
                        None => part.push(Input::Outer(socket, None)),
                    }
                }
                Output::LearnOuter { socket } => self.learn_outer(part, socket),
                Output::Close { socket } => {
                    if part.sockets.unmake(socket) {
                        part.probes.retain(|probe| probe.from != qtraversal::punch::Socket::Made(socket));
                        self.actions.push_back(EndpointAction::CloseSocket { socket });
                    }
                }
                Output::Established { id, hole } => self.on_hole(now, part, id, hole),
                Output::Round(report) => {
                    if matches!(report.state, RoundState::Done | RoundState::Failed(_)) {
                        part.kept.iter_mut().filter(|kept| kept.id == report.id).for_each(|kept| kept.until = Some(now + AFTERMATH));
                    }
                    self.traversal_event(TraversalNews::Round(report));
                }
                Output::WantsSteps { id, context } => self.traversal_event(TraversalNews::WantsSteps { id, context: Box::new(context) }),
            }
        }
    }

    fn learn_outer(&mut self, part: &mut Part, socket: u64) {
        let Some(made) = part.sockets.made(socket) else { return };
        if made.local.is_none() {
            made.wants_outer = true;
            return;
        }
        self.actions.push_back(EndpointAction::LearnOuter { socket });
    }

    /// A temporary socket is open with this address, or will not be.
    pub(crate) fn on_punch_socket(&mut self, socket: u64, local: Option<std::net::SocketAddr>, _now: Timestamp) {
        let Some(part) = &mut self.traversal else { return };
        let Some(made) = part.sockets.made(socket) else {
            // Nobody wants it any more.
            return self.actions.push_back(EndpointAction::CloseSocket { socket });
        };
        made.local = local;
        if local.is_none() {
            part.sockets.unmake(socket);
            part.push(Input::Outer(socket, None));
        } else if std::mem::take(&mut made.wants_outer) {
            self.actions.push_back(EndpointAction::LearnOuter { socket });
        }
    }

    /// A server sees a temporary socket so; `None`: no server answered.
    pub(crate) fn on_outer(&mut self, socket: u64, outer: Option<std::net::SocketAddr>, _now: Timestamp) {
        if let Some(part) = &mut self.traversal {
            part.push(Input::Outer(socket, outer));
        }
    }
}

impl Part {
    /// Nothing more is said about these pairs (traversal V9).
    fn forget(&mut self, is_meant: impl Fn(qtraversal::frame::PunchId) -> bool) {
        self.letters.forget(&is_meant);
        self.probes.retain(|probe| !is_meant(probe.id));
    }
}
