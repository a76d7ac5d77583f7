//! How long an idle mapping lives: a binary search with fresh sockets (RFC 5780 §4.6, traversal T-46).
//!
//! Each trial opens a socket, has the server see it, is silent for a while, and asks from another socket that the server answer
//! to the first one's mapped port: what arrives shows that the mapping is still there, and asking did not keep it alive.
//! Silences double until one is too long, then the gap is halved. Called beside a detection, as it takes minutes. Works with
//! servers that know RESPONSE-PORT only; never disturbs the socket in use.

use std::{net::SocketAddr, time::Duration};

use qbase::{Timestamp, limits};
use rand_core::RngCore;

use super::{Heard, Outgoing, ProbeStep, SocketNumber, TTL};
use crate::{
    nat::{MappingLife, Observation, Question},
    stun::{Answer, Class, Expect, Form, Message, Patience, Step, Transaction, TransactionId},
};

/// What to search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LifeConfig {
    /// A server that speaks RFC 5780.
    pub server: SocketAddr,
    /// First silence.
    pub shortest: Duration,
    /// Longest silence tried.
    pub longest: Duration,
    /// The search ends when the life is known to this.
    pub precision: Duration,
}

impl LifeConfig {
    /// From 10 s to 5 min, to 5 s.
    #[must_use]
    pub const fn new(server: SocketAddr) -> Self {
        let [shortest, longest, precision] = [Duration::from_secs(10), Duration::from_secs(300), Duration::from_secs(5)];
        Self { server, shortest, longest, precision }
    }
}

/// The socket that asks for others.
const HELPER: SocketNumber = 0;
/// The socket that is silent.
const SILENT: SocketNumber = 1;
/// Trials at most: doubling and halving from 1 s to a day take fewer.
const MAX_TRIALS: u8 = 40;

/// A search. Its socket 0 only asks; socket 1 is opened and closed once a trial.
#[derive(Clone, Debug)]
pub struct LifeSearch {
    config: LifeConfig,
    stage: Stage,
    question: Option<Transaction>,
    life: MappingLife,
    silence: Duration,
    trials: u8,
    observations: Vec<Observation>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Open,
    Opening,
    /// The server shall see the socket.
    Mapping,
    /// Until then nothing is sent.
    Silence(SocketAddr, Timestamp),
    /// Is it still there?
    Asking,
    Close,
    Done,
}

/// Of a mapping after a silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Alive,
    Gone,
}

impl LifeSearch {
    /// A search that starts with the next [`LifeSearch::poll`].
    #[must_use]
    pub fn new(config: LifeConfig) -> Self {
        let silence = config.shortest.max(Duration::from_secs(1));
        Self {
            config,
            stage: Stage::Open,
            question: None,
            life: MappingLife::default(),
            silence,
            trials: 0,
            observations: Vec::new(),
        }
    }

    /// What is known by now.
    #[must_use]
    pub const fn life(&self) -> MappingLife {
        self.life
    }

    /// Everything that was seen, in order.
    #[must_use]
    pub fn observations(&self) -> &[Observation] {
        &self.observations
    }

    /// What to do now; ids are drawn from `random`.
    pub fn poll(&mut self, now: Timestamp, random: &mut dyn RngCore) -> ProbeStep {
        loop {
            if let Some(question) = &mut self.question {
                let socket = if self.stage == Stage::Asking { HELPER } else { SILENT };
                match question.poll(now) {
                    Step::Send(message) => {
                        return ProbeStep::Send(Outgoing { socket, to: self.config.server, ttl: TTL, message });
                    }
                    Step::Wait(due) => return ProbeStep::Wait(due),
                    Step::Silent => self.ended(None, now),
                }
                continue;
            }
            match self.stage {
                Stage::Open => {
                    self.stage = Stage::Opening;
                    return ProbeStep::Open(SILENT);
                }
                Stage::Opening => return ProbeStep::Wait(Timestamp::FAR_FUTURE),
                Stage::Mapping => {
                    let request = Message::request(Form::Rfc, TransactionId::random(random));
                    self.ask(request, Patience::FURTHER, now);
                }
                Stage::Silence(_, until) if now < until => return ProbeStep::Wait(until),
                Stage::Silence(mapped, _) => {
                    let request = Message::request(Form::Rfc, TransactionId::random(random));
                    let request = Message { response_port: Some(mapped.port()), ..request };
                    self.stage = Stage::Asking;
                    self.ask(request, Patience::FILTER, now);
                }
                // The question is over.
                Stage::Asking => self.stage = Stage::Close,
                Stage::Close => {
                    self.stage = if self.is_known() { Stage::Done } else { Stage::Open };
                    return ProbeStep::Close(SILENT);
                }
                Stage::Done => return ProbeStep::Done,
            }
        }
    }

    /// The socket asked for is there; `None`: it could not be opened.
    pub fn on_opened(&mut self, socket: SocketNumber, local: Option<SocketAddr>) {
        if self.stage == Stage::Opening && socket == SILENT {
            self.stage = if local.is_some() { Stage::Mapping } else { Stage::Done };
        }
    }

    /// A STUN message came in on one of the sockets.
    pub fn on_message(&mut self, socket: SocketNumber, message: &Message, from: SocketAddr, now: Timestamp) -> Heard {
        let Some(answer) = self.question.and_then(|question| question.on_message(message, from, now)) else { return Heard::Foreign };
        // Refusals come to who asked; an answer anywhere else than on the silent socket shows nothing.
        if socket == SILENT || answer.message.class == Class::Error {
            self.ended(Some(answer), now);
        }
        Heard::Ours
    }

    fn ask(&mut self, request: Message, patience: Patience, now: Timestamp) {
        self.question = Some(Transaction::new(request, self.config.server, Expect::Asked, patience, now));
    }

    fn ended(&mut self, answer: Option<Answer>, now: Timestamp) {
        let Some(question) = self.question.take() else { return };
        let success = answer.filter(|answer| answer.message.class == Class::Success);
        let mapped = success.and_then(|answer| answer.message.mapped);
        match self.stage {
            Stage::Mapping => {
                // No server, no search.
                self.stage = mapped.map_or(Stage::Done, |mapped| Stage::Silence(mapped, now + self.silence));
            }
            Stage::Asking if answer.is_some() && success.is_none() => self.stage = Stage::Done, // It cannot do that.
            Stage::Asking => {
                if self.observations.len() < limits::NAT_OBSERVATIONS {
                    self.observations.push(Observation {
                        at: now,
                        socket: SILENT,
                        server: self.config.server,
                        question: Question::Life(self.silence),
                        sent: question.sent(),
                        from: answer.map(|answer| answer.from),
                        mapped,
                        rtt: answer.and_then(|answer| answer.round_trip),
                    });
                }
                self.learned(if success.is_some() { Fate::Alive } else { Fate::Gone });
                self.stage = Stage::Close;
            }
            _ => {}
        }
    }

    /// It was (not) there after the silence: the next silence.
    fn learned(&mut self, fate: Fate) {
        self.trials = self.trials.saturating_add(1);
        match fate {
            Fate::Alive => self.life.at_least = self.life.at_least.max(self.silence),
            Fate::Gone => self.life.below = Some(self.life.below.map_or(self.silence, |below| below.min(self.silence))),
        }
        self.silence = match self.life.below {
            None => self.silence.saturating_mul(2).min(self.config.longest),
            Some(below) => {
                let gap = below.saturating_sub(self.life.at_least);
                self.life.at_least.saturating_add(gap.checked_div(2).unwrap_or_default())
            }
        };
    }

    fn is_known(&self) -> bool {
        let gap = self.life.below.map(|below| below.saturating_sub(self.life.at_least));
        self.trials >= MAX_TRIALS
            || self.life.at_least >= self.config.longest
            || gap.is_some_and(|gap| gap <= self.config.precision.max(Duration::from_millis(100)))
    }
}
