//! Detections: what NAT stands before one of our sockets, and on request how long its mappings live (traversal T-50…T-53, T-46).
//!
//! ```text
//!   detecting ──done──▶ report            life skipped, no NAT, or servers that do not know RESPONSE-PORT
//!       └─────done──▶ measuring ──done──▶ report
//! ```
//! Decides nothing about NATs: [`Detection`] and [`LifeSearch`] do. Gives them sockets, bytes and time. A detection's sockets go
//! when it ends, however it ends.

use super::{Endpoint, NatNews, SocketOwner, Ticket, arrives_at};
use qbase::{FourTuple, Timestamp, limits};
use qtraversal::{
    nat::{Behaviour, Mapping, Observation, Question, Reach},
    probe::{Detection, Heard, LifeSearch, Outgoing, ProbeConfig, ProbeStep, SocketNumber, life::LifeConfig},
    stun::{Form, Forms, Message},
};
use rand_core::RngCore;
use std::net::SocketAddr;

/// Whether a detection measures how long mappings live, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Life {
    /// It does: minutes.
    Measured,
    /// It does not.
    #[default]
    Skipped,
}

/// The detections that run.
#[derive(Debug, Default)]
pub(super) struct Detections {
    all: Vec<Run>,
}

/// One detection.
#[derive(Debug)]
struct Run {
    ticket: Ticket,
    /// The socket under test, as it is bound.
    bound: SocketAddr,
    form: Form,
    life: Life,
    detection: Detection,
    /// Runs after the detection.
    search: Option<LifeSearch>,
    /// Observations of the one that runs which were told.
    told: usize,
    /// Its temporary sockets, by number; the one under test, number 0, is not among them.
    sockets: [Option<SocketAddr>; SOCKETS],
    due: Timestamp,
}

/// Sockets of one detection: the one under test and six fresh ones.
const SOCKETS: usize = 7;

/// What to do.
enum RunStep {
    Send { local: SocketAddr, to: SocketAddr, message: Message },
    Open { owner: SocketOwner, beside: SocketAddr },
    Close(SocketOwner),
    /// All of them.
    CloseAll(Ticket),
    Observed { ticket: Ticket, observation: Observation },
    Report { ticket: Ticket, local: SocketAddr, behaviour: Behaviour },
}

impl Detections {
    pub(super) fn due(&self) -> Option<Timestamp> {
        self.all.iter().map(|run| run.due).min()
    }

    /// What is spoken on this socket, or on any.
    pub(super) fn forms(&self, local: Option<SocketAddr>) -> Forms {
        let is_there = |run: &&Run| local.is_none_or(|local| run.number(local).is_some());
        self.all.iter().filter(is_there).fold(Forms::NONE, |forms, run| forms.with(run.form))
    }

    pub(super) fn cancel(&mut self, ticket: Ticket) {
        self.all.retain(|run| run.ticket != ticket);
    }

    /// Whether it was about one of these.
    pub(super) fn on_message(&mut self, message: &Message, four_tuple: FourTuple, now: Timestamp) -> bool {
        let FourTuple { local, remote } = four_tuple;
        self.all.iter_mut().any(|run| run.number(local).is_some_and(|socket| run.on_message(socket, message, remote, local, now)))
    }

    pub(super) fn on_socket(&mut self, ticket: Ticket, number: SocketNumber, local: Option<SocketAddr>, now: Timestamp) {
        let Some(run) = self.all.iter_mut().find(|run| run.ticket == ticket) else { return };
        if let Some(socket) = run.sockets.get_mut(usize::from(number)) {
            *socket = local;
        }
        match &mut run.search {
            Some(search) => search.on_opened(number, local),
            None => run.detection.on_opened(number, local),
        }
        run.due = now;
    }

    fn poll(&mut self, now: Timestamp, random: &mut dyn RngCore) -> Option<RunStep> {
        loop {
            let at = self.all.iter().position(|run| run.due <= now)?;
            let step = self.all.get_mut(at)?.poll(now, random);
            if matches!(step, Some(RunStep::Report { .. })) {
                self.all.remove(at);
            }
            if step.is_some() {
                return step;
            }
        }
    }
}

impl Run {
    /// Which of its sockets datagrams for this address arrive on.
    fn number(&self, local: SocketAddr) -> Option<SocketNumber> {
        if arrives_at(self.bound, local) {
            return Some(0);
        }
        let is_here = |socket: &Option<SocketAddr>| socket.is_some_and(|bound| arrives_at(bound, local));
        self.sockets.iter().position(is_here).and_then(|number| SocketNumber::try_from(number).ok())
    }

    fn address(&self, socket: SocketNumber) -> Option<SocketAddr> {
        if socket == 0 { Some(self.bound) } else { self.sockets.get(usize::from(socket)).copied().flatten() }
    }

    /// The address of the socket under test, as far as it is known.
    fn local(&self) -> SocketAddr {
        self.detection.behaviour().local.unwrap_or(self.bound)
    }

    fn on_message(&mut self, socket: SocketNumber, message: &Message, from: SocketAddr, local: SocketAddr, now: Timestamp) -> bool {
        let heard = match &mut self.search {
            Some(search) => search.on_message(socket, message, from, now),
            None => self.detection.on_message_at(socket, message, from, local, now),
        };
        if heard == Heard::Ours {
            self.due = now;
        }
        heard == Heard::Ours
    }

    /// A step, or nothing before [`Self::due`].
    fn poll(&mut self, now: Timestamp, random: &mut dyn RngCore) -> Option<RunStep> {
        let ticket = self.ticket;
        // Every turn of the loop returns, or leaves out one datagram of a socket that is not there.
        loop {
            let step = match &mut self.search {
                Some(search) => search.poll(now, random),
                None => self.detection.poll(now, random),
            };
            if let ProbeStep::Wait(_) | ProbeStep::Done = step
                && let Some(observation) = self.next_observation()
            {
                return Some(RunStep::Observed { ticket, observation });
            }
            return Some(match step {
                ProbeStep::Send(Outgoing { socket, to, message, .. }) => match self.address(socket) {
                    Some(local) => RunStep::Send { local, to, message },
                    None => continue,
                },
                ProbeStep::Open(number) => RunStep::Open { owner: SocketOwner::Detection { ticket, number }, beside: self.local() },
                ProbeStep::Close(number) => {
                    if let Some(socket) = self.sockets.get_mut(usize::from(number)) {
                        *socket = None;
                    }
                    RunStep::Close(SocketOwner::Detection { ticket, number })
                }
                ProbeStep::Wait(due) => {
                    self.due = due;
                    return None;
                }
                ProbeStep::Done => match self.life_config().filter(|_| self.search.is_none()) {
                    Some(config) => {
                        self.search = Some(LifeSearch::new(config));
                        self.told = 0;
                        self.sockets = [None; SOCKETS];
                        RunStep::CloseAll(ticket)
                    }
                    None => {
                        let life = self.search.as_ref().map(LifeSearch::life).unwrap_or_default();
                        let behaviour = Behaviour { life, ..self.detection.behaviour().clone() };
                        RunStep::Report { ticket, local: self.local(), behaviour }
                    }
                },
            });
        }
    }

    fn next_observation(&mut self) -> Option<Observation> {
        let all = self.search.as_ref().map_or_else(|| self.detection.observations(), LifeSearch::observations);
        let next = all.get(self.told).copied()?;
        self.told = self.told.saturating_add(1);
        Some(next)
    }

    /// How to measure the life of mappings, if that is wanted and there are any.
    fn life_config(&self) -> Option<LifeConfig> {
        let behaviour = self.detection.behaviour();
        let has_nat = behaviour.reach == Reach::Open && behaviour.mapping != Mapping::None;
        let mut answered = self.detection.observations().iter().filter(|seen| seen.question == Question::Mapping && seen.mapped.is_some());
        let server = answered.next()?.server;
        (self.life == Life::Measured && self.form == Form::Rfc && has_nat).then(|| LifeConfig::new(server))
    }
}

impl Endpoint {
    /// Finds out what NAT stands before one of our sockets; [`NatNews::Observed`] as it goes, and one [`NatNews::Report`]. Beyond
    /// [`limits::NAT_DETECTIONS`] at once the report is empty.
    pub fn detect_nat(&mut self, ticket: Ticket, local: SocketAddr, mut config: ProbeConfig, life: Life, now: Timestamp) {
        if self.nat.detections.all.len() >= limits::NAT_DETECTIONS {
            return self.nat.tell(NatNews::Report { ticket, report: None });
        }
        config.local = config.local.or(Some(local)).filter(|local| !local.ip().is_unspecified());
        let (form, detection) = (config.form, Detection::new(config));
        let run = Run { ticket, bound: local, form, life, detection, search: None, told: 0, sockets: [None; SOCKETS], due: now };
        self.nat.detections.all.push(run);
        self.run_nat(now);
    }

    /// Asks what is to be asked now.
    pub(super) fn run_detections(&mut self, now: Timestamp) {
        while let Some(step) = self.nat.detections.poll(now, &mut self.random) {
            match step {
                RunStep::Send { local, to, message } => self.send_stun(local, to, &message),
                RunStep::Open { owner, beside } => self.open_socket(owner, beside, 0, now),
                RunStep::Close(owner) => self.close_socket(owner),
                RunStep::CloseAll(ticket) => self.close_detection(ticket),
                RunStep::Observed { ticket, observation } => self.nat.tell(NatNews::Observed { ticket, observation }),
                RunStep::Report { ticket, local, behaviour } => {
                    self.close_detection(ticket);
                    self.nat.keepers.learned(local, behaviour.life, now);
                    let report = (behaviour.reach == Reach::Open).then(|| Box::new(behaviour));
                    self.nat.tell(NatNews::Report { ticket, report });
                }
            }
        }
    }

    pub(super) fn close_detection(&mut self, ticket: Ticket) {
        self.close_sockets(|owner| matches!(owner, SocketOwner::Detection { ticket: own, .. } if *own == ticket));
    }
}
