//! The detection of one socket's NAT: one question after the other (traversal §4, T-50 to T-52; RFC 5780 §4).
//!
//! ```text
//! First: who answers? ─ nobody: blocked
//!   └ Mapping: further servers (RFC 5780: the three other sockets of the server), unless nothing is mapped
//!       └ Again: a later one differs or is silent: two of three rounds make it "changing"
//!           └ Ports: fresh sockets ask the first server
//!               └ OtherAddress, OtherPort: the filter of the first fresh one, which nobody else was told of
//!                   └ AfterContact: it asks whose packet was filtered ─ Hairpin: two fresh sockets ask each other ─ Done
//! ```
//! The filter is not tried on the socket under test: it was sent from to everybody, and a packet that is filtered there can change
//! its mapping towards the sender (a Linux masquerade does that). Dquic 0.5 servers pass change requests on at the second server.

use std::net::SocketAddr;

use qbase::{Timestamp, limits};
use rand_core::RngCore;

use super::{
    Heard, Outgoing, ProbeStep, SocketNumber, TTL,
    hairpin::{End, Trial, TrialStep},
    config::{MAX_FRESH, ProbeConfig},
    infer::{self, Ports},
    survey::{Origin, Survey, Target},
};
use crate::{
    nat::{AfterContact, Behaviour, Constancy, Filtering, Hairpin, Mapping, Observation, PortAllocation, Question, Reach},
    stun::{Answer, Change, Class, Expect, Form, Message, Patience, Step, Transaction, TransactionId},
};

/// The fresh socket that the filter is tried on.
const FILTERED: SocketNumber = 1;

/// A detection on one socket.
#[derive(Clone, Debug)]
pub struct Detection {
    config: ProbeConfig,
    stage: Stage,
    question: Option<Asked>,
    behaviour: Behaviour,
    observations: Vec<Observation>,
    /// Servers asked from the socket under test, and what they saw.
    survey: Survey,
    /// The other address of the first server.
    other: Option<SocketAddr>,
    /// Mappings in the order of their making.
    ports: Vec<Ports>,
    /// Fresh sockets: own address, mapped address.
    fresh: Vec<Fresh>,
    /// Of hairpins, while it runs.
    trial: Option<Trial>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    First(usize),
    OtherAddress,
    OtherPort,
    AfterContact,
    Mapping(usize),
    Again(usize),
    Open(u8),
    Opening(u8),
    Ports(u8),
    Hairpin,
    Turning,
    Done,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    socket: SocketNumber,
    question: Question,
    transaction: Transaction,
}

#[derive(Clone, Copy, Debug)]
struct Fresh {
    local: Option<SocketAddr>,
    mapped: Option<SocketAddr>,
}

impl Detection {
    /// A detection that starts with the next [`Detection::poll`].
    #[must_use]
    pub fn new(mut config: ProbeConfig) -> Self {
        config.servers.truncate(super::survey::MAX_TARGETS);
        config.fresh_sockets = config.fresh_sockets.clamp(1, MAX_FRESH);
        let behaviour = Behaviour { local: config.local, ..Behaviour::default() };
        Self {
            config,
            stage: Stage::First(0),
            question: None,
            behaviour,
            observations: Vec::new(),
            survey: Survey::default(),
            other: None,
            ports: Vec::new(),
            fresh: Vec::new(),
            trial: None,
        }
    }

    /// What is known by now.
    #[must_use]
    pub const fn behaviour(&self) -> &Behaviour {
        &self.behaviour
    }

    /// Everything that was seen, in order.
    #[must_use]
    pub fn observations(&self) -> &[Observation] {
        &self.observations
    }

    /// Nothing more will be asked.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.stage == Stage::Done
    }

    /// What to do now; ids are drawn from `random`.
    pub fn poll(&mut self, now: Timestamp, random: &mut dyn RngCore) -> ProbeStep {
        // Every turn of the loop asks, moves the stage on, or returns.
        loop {
            if let Some(asked) = &mut self.question {
                match asked.transaction.poll(now) {
                    Step::Send(message) => {
                        let (socket, to) = (asked.socket, asked.transaction.server());
                        return ProbeStep::Send(Outgoing { socket, to, ttl: TTL, message });
                    }
                    Step::Wait(due) => return ProbeStep::Wait(due),
                    Step::Silent => self.ended(None, now),
                }
            } else if let Some(step) = self.next(now, random) {
                return step;
            }
        }
    }

    /// The socket asked for is there, with this address; `None`: it could not be opened.
    pub fn on_opened(&mut self, socket: SocketNumber, local: Option<SocketAddr>) {
        let Stage::Opening(number) = self.stage else { return };
        if socket != number {
            return;
        }
        self.stage = match local {
            Some(_) => {
                self.fresh.push(Fresh { local, mapped: None });
                Stage::Ports(number)
            }
            None => Stage::OtherAddress,
        };
    }

    /// A STUN message came in on one of the sockets. Strangers' messages change nothing.
    pub fn on_message(&mut self, socket: SocketNumber, message: &Message, from: SocketAddr, now: Timestamp) -> Heard {
        if let Some(trial) = self.trial {
            let Some(hairpin) = trial.on_message(socket, message, from) else { return Heard::Foreign };
            self.turned(&trial, Some(from), hairpin, now);
            return Heard::Ours;
        }
        let Some(answer) = self.answer(socket, message, from, now) else { return Heard::Foreign };
        self.ended(Some(answer), now);
        Heard::Ours
    }

    /// The same, on a socket of the wildcard address: the answer shows which address it has towards the server.
    pub fn on_message_at(&mut self, socket: SocketNumber, message: &Message, from: SocketAddr, at: SocketAddr, now: Timestamp) -> Heard {
        if socket == 0 && self.config.local.is_none() && self.answer(socket, message, from, now).is_some() {
            self.config.local = Some(at);
            self.behaviour.local = Some(at);
        }
        self.on_message(socket, message, from, now)
    }

    /// The message as an answer to the question.
    fn answer(&self, socket: SocketNumber, message: &Message, from: SocketAddr, now: Timestamp) -> Option<Answer> {
        let asked = self.question.filter(|asked| asked.socket == socket)?;
        asked.transaction.on_message(message, from, now)
    }

    /// The next question of the stage; a step for the caller, or nothing when the loop shall look again.
    fn next(&mut self, now: Timestamp, random: &mut dyn RngCore) -> Option<ProbeStep> {
        match self.stage {
            Stage::First(n) => match self.config.servers.get(n).copied() {
                Some(server) => self.ask(0, Question::Mapping, self.request(random), server, self.config.mapping, now),
                None => {
                    self.behaviour.reach = if n == 0 { Reach::Unknown } else { Reach::Blocked };
                    self.stage = Stage::Done;
                }
            },
            Stage::OtherAddress => self.ask_filter(Question::FromOtherAddress, Change::Both, now, random),
            Stage::OtherPort => self.ask_filter(Question::FromOtherPort, Change::Port, now, random),
            Stage::Mapping(n) => match self.survey.target(n) {
                Some(target) => self.ask_further(0, Question::Mapping, target.server, now, random),
                None => self.conclude(),
            },
            Stage::Again(n) => match self.survey.target(n) {
                Some(target) => self.ask_further(0, Question::Mapping, target.server, now, random),
                None => self.stage = Stage::Open(1),
            },
            Stage::Open(n) if n > self.fresh_sockets() => self.stage = Stage::OtherAddress,
            Stage::Open(n) => {
                self.stage = Stage::Opening(n);
                return Some(ProbeStep::Open(n));
            }
            Stage::Opening(_) => return Some(ProbeStep::Wait(Timestamp::FAR_FUTURE)),
            Stage::Ports(n) => match self.survey.target(0) {
                Some(target) => self.ask_further(n, Question::Mapping, target.server, now, random),
                None => self.stage = Stage::Hairpin,
            },
            Stage::AfterContact => match self.other {
                Some(other) => self.ask_further(FILTERED, Question::MappingAfterContact, other, now, random),
                None => self.stage = Stage::Hairpin,
            },
            Stage::Hairpin => self.begin_hairpin(now, random),
            Stage::Turning => match self.trial.as_mut().map(|trial| trial.poll(now)) {
                Some(TrialStep::Send(outgoing)) => return Some(ProbeStep::Send(outgoing)),
                Some(TrialStep::Wait(due)) => return Some(ProbeStep::Wait(due)),
                Some(TrialStep::Silent) => {
                    if let Some(trial) = self.trial {
                        self.turned(&trial, None, Hairpin::None, now);
                    }
                }
                None => self.stage = Stage::Done,
            },
            Stage::Done => return Some(ProbeStep::Done),
        }
        None
    }

    fn request(&self, random: &mut dyn RngCore) -> Message {
        Message::request(self.config.form, TransactionId::random(random))
    }

    /// Asks; the answer must come from where a change request wants it.
    fn ask(&mut self, socket: SocketNumber, question: Question, request: Message, server: SocketAddr, patience: Patience, now: Timestamp) {
        let expect = request.change.map_or(Expect::Asked, Expect::Changed);
        let transaction = Transaction::new(request, server, expect, patience, now);
        self.question = Some(Asked { socket, question, transaction });
    }

    fn ask_further(&mut self, socket: SocketNumber, question: Question, server: SocketAddr, now: Timestamp, random: &mut dyn RngCore) {
        self.ask(socket, question, self.request(random), server, Patience::FURTHER, now);
    }

    fn ask_filter(&mut self, question: Question, change: Change, now: Timestamp, random: &mut dyn RngCore) {
        let (Some(target), Some(_), Some(_)) = (self.filter_target(), self.other, self.filtered_mapping()) else {
            self.stage = Stage::Hairpin;
            return;
        };
        let request = Message { change: Some(change), ..self.request(random) };
        self.ask(FILTERED, question, request, target.server, self.config.filter, now);
    }

    /// Whom to ask about the filter: dquic 0.5 has it at the second server.
    fn filter_target(&self) -> Option<Target> {
        let n = usize::from(self.config.form == Form::Dquic05 && self.behaviour.mapping != Mapping::None);
        self.survey.target(n)
    }

    /// The mapping of the socket that the filter is tried on.
    fn filtered_mapping(&self) -> Option<SocketAddr> {
        self.fresh.first().and_then(|fresh| fresh.mapped)
    }

    /// Without a NAT there is nothing to learn but the filter.
    fn fresh_sockets(&self) -> u8 {
        if self.behaviour.mapping == Mapping::None { FILTERED } else { self.config.fresh_sockets }
    }

    /// The question is answered, or nobody did in time.
    fn ended(&mut self, answer: Option<Answer>, now: Timestamp) {
        let Some(asked) = self.question.take() else { return };
        let success = answer.filter(|answer| answer.message.class == Class::Success);
        let mapped = success.and_then(|answer| answer.message.mapped);
        let server = asked.transaction.server();
        self.observe(Observation {
            at: now,
            socket: asked.socket,
            server,
            question: asked.question,
            sent: asked.transaction.sent(),
            from: answer.map(|answer| answer.from),
            mapped,
            rtt: answer.and_then(|answer| answer.round_trip),
        });
        match self.stage {
            Stage::First(n) => match success {
                Some(answer) => self.first(server, &answer.message),
                None => self.stage = Stage::First(n.saturating_add(1)),
            },
            Stage::OtherAddress => match (answer, success) {
                (_, Some(_)) => self.filtered(Filtering::EndpointIndependent),
                (None, None) => self.stage = Stage::OtherPort,
                (Some(_), None) => self.filtered(Filtering::Unknown), // It refuses to do that.
            },
            Stage::OtherPort => self.filtered(match (answer, success) {
                (_, Some(_)) => Filtering::AddressDependent,
                (None, None) => Filtering::AddressAndPortDependent,
                (Some(_), None) => Filtering::Unknown,
            }),
            Stage::Mapping(n) => self.mapped(n, server, success.map(|answer| answer.message)),
            Stage::Again(n) => self.again(n, mapped),
            Stage::AfterContact => {
                self.behaviour.after_contact = match mapped {
                    None => AfterContact::Unknown,
                    Some(_) if mapped == self.filtered_mapping() => AfterContact::Keeps,
                    Some(_) => AfterContact::Changes,
                };
                self.stage = Stage::Hairpin;
            }
            Stage::Ports(n) => {
                if let (Some(fresh), Some(mapped)) = (self.fresh.last_mut(), mapped) {
                    fresh.mapped = Some(mapped);
                    if let Some(local) = fresh.local {
                        self.ports.push(Ports { inside: local.port(), outside: mapped.port() });
                    }
                }
                self.stage = Stage::Open(n.saturating_add(1));
            }
            Stage::Open(_) | Stage::Opening(_) | Stage::Hairpin | Stage::Turning | Stage::Done => {}
        }
    }

    /// The first server that answers: now it is known whom else to ask.
    fn first(&mut self, server: SocketAddr, answer: &Message) {
        self.behaviour.reach = Reach::Open;
        self.behaviour.outer = answer.mapped;
        if let Some(mapped) = answer.mapped {
            self.survey.saw(server, mapped);
            if let Some(local) = self.config.local {
                self.ports.push(Ports { inside: local.port(), outside: mapped.port() });
                if local == mapped {
                    self.behaviour.mapping = Mapping::None;
                }
            }
        }
        self.survey.add(server, Origin::Named);
        for server in self.config.servers.clone() {
            self.survey.add(server, Origin::Named);
        }
        self.other = answer.other;
        if let Some(other) = answer.other {
            if self.config.form == Form::Rfc {
                self.survey.add(other, Origin::Named);
                self.survey.add(SocketAddr::new(other.ip(), server.port()), Origin::Derived);
                self.survey.add(SocketAddr::new(server.ip(), other.port()), Origin::Derived);
            } else {
                self.survey.add(other, Origin::Named);
            }
        }
        self.stage = if self.behaviour.mapping == Mapping::None { Stage::Open(1) } else { Stage::Mapping(1) };
    }

    fn filtered(&mut self, filtering: Filtering) {
        self.behaviour.filtering = filtering;
        let is_closed = matches!(filtering, Filtering::AddressDependent | Filtering::AddressAndPortDependent);
        let is_one_mapping = self.behaviour.mapping == Mapping::EndpointIndependent;
        // With dquic 0.5 it was another server's packet that came.
        let can_tell = is_closed && is_one_mapping && self.config.form != Form::Dquic05;
        self.stage = if can_tell { Stage::AfterContact } else { Stage::Hairpin };
    }

    /// A further server answered, or not.
    fn mapped(&mut self, n: usize, server: SocketAddr, answer: Option<Message>) {
        if let Some(mapped) = answer.and_then(|message| message.mapped) {
            self.survey.saw(server, mapped);
        }
        if let Some(other) = answer.and_then(|message| message.other)
            && self.config.form != Form::Rfc
        {
            self.survey.add(other, Origin::Named);
        }
        let next = n.saturating_add(1);
        self.stage = Stage::Mapping(next);
        if self.survey.differs(n) {
            self.stage = Stage::Again(n);
        }
    }

    /// One more round with the server that differs (T-52).
    fn again(&mut self, n: usize, mapped: Option<SocketAddr>) {
        self.behaviour.constancy = self.survey.round(n, mapped);
        match self.behaviour.constancy {
            Constancy::Unknown => {}
            Constancy::Changing => self.conclude(),
            Constancy::Steady => self.stage = Stage::Mapping(n.saturating_add(1)),
        }
    }

    fn conclude(&mut self) {
        if self.behaviour.mapping != Mapping::None {
            self.behaviour.mapping = infer::mapping(self.config.local, self.survey.seen());
            if self.behaviour.mapping == Mapping::EndpointIndependent
                && self.behaviour.constancy == Constancy::Unknown
                && self.survey.seen().len() >= 3
            {
                self.behaviour.constancy = Constancy::Steady;
            }
        }
        self.stage = Stage::Open(1);
    }

    fn begin_hairpin(&mut self, now: Timestamp, random: &mut dyn RngCore) {
        if self.behaviour.mapping == Mapping::None {
            self.behaviour.ports = PortAllocation::Preserving;
            self.stage = Stage::Done;
            return;
        }
        self.behaviour.ports = infer::ports(&self.ports);
        let mut ends = self.fresh.iter().zip(1_u8..).filter_map(|(fresh, socket)| Some(End { socket, mapped: fresh.mapped? }));
        self.trial = match (ends.next(), ends.next()) {
            (Some(first), Some(second)) => Some(Trial::new(self.config.form, [first, second], random, now)),
            _ => None,
        };
        self.stage = Stage::Turning;
    }

    fn turned(&mut self, trial: &Trial, from: Option<SocketAddr>, hairpin: Hairpin, now: Timestamp) {
        self.behaviour.hairpin = hairpin;
        let server = trial.target();
        let sent = trial.sent();
        self.observe(Observation { at: now, socket: 1, server, question: Question::Hairpin, sent, from, mapped: from, rtt: None });
        self.trial = None;
        self.stage = Stage::Done;
    }

    fn observe(&mut self, observation: Observation) {
        if self.observations.len() < limits::NAT_OBSERVATIONS {
            self.observations.push(observation);
        }
    }
}
