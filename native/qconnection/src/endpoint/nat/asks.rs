//! Single questions to STUN servers: which address do you see? (traversal T-45, RFC 8489 §6.2)
//!
//! Decides whom to ask next when one of several servers is silent. Called by the application ([`Endpoint::ask_stun`]) and for the
//! temporary sockets of punches ([`Endpoint::learn_outer`]). Never asks twice for one answer.

use super::{Endpoint, NatNews, SocketOwner, StunAsk, Ticket, arrives_at};
use qbase::{FourTuple, Timestamp, limits};
use qtraversal::stun::{Class, Expect, Form, Forms, Message, Patience, Step, Transaction, TransactionId};
use rand_core::RngCore;
use std::{net::SocketAddr, time::Duration};

/// The questions that wait for an answer.
#[derive(Debug, Default)]
pub(super) struct Asks {
    all: Vec<Ask>,
}

/// Who wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asker {
    Application(Ticket),
    /// A socket that a connection punches from.
    Punch(SocketOwner),
}

#[derive(Debug)]
struct Ask {
    asker: Asker,
    local: SocketAddr,
    form: Form,
    transaction: Transaction,
    /// Whom to ask if this one is silent; the next is the last.
    others: Vec<SocketAddr>,
    sent_at: Timestamp,
}

/// How a question ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ended {
    asker: Asker,
    answer: Option<Answered>,
    tries: u8,
}

/// What a message was to the questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Nothing.
    Foreign,
    /// A server will not say it; the next one is asked.
    Refused,
    /// The last word.
    Ended(Ended),
}

/// A server said it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Answered {
    local: SocketAddr,
    mapped: SocketAddr,
    from: SocketAddr,
    rtt: Duration,
}

/// What to do.
enum AskStep {
    Send { local: SocketAddr, to: SocketAddr, message: Message },
    Ended(Ended),
}

impl Asks {
    pub(super) fn due(&self) -> Option<Timestamp> {
        self.all.iter().map(|ask| ask.transaction.next_timer()).min()
    }

    /// What is spoken on this socket, or on any.
    pub(super) fn forms(&self, local: Option<SocketAddr>) -> Forms {
        let is_there = |ask: &&Ask| local.is_none_or(|local| arrives_at(ask.local, local));
        self.all.iter().filter(is_there).fold(Forms::NONE, |forms, ask| forms.with(ask.form))
    }

    pub(super) fn cancel(&mut self, ticket: Ticket) {
        self.all.retain(|ask| ask.asker != Asker::Application(ticket));
    }

    /// The socket is gone, and so is the wish to know how it is seen.
    pub(super) fn forget(&mut self, owner: SocketOwner) {
        self.all.retain(|ask| ask.asker != Asker::Punch(owner));
    }

    /// The application and punches have room of their own.
    fn has_room(&self, asker: Asker) -> bool {
        let (of_application, limit) = match asker {
            Asker::Application(_) => (true, limits::NAT_ASKS),
            Asker::Punch(_) => (false, limits::PUNCH_ASKS),
        };
        self.all.iter().filter(|ask| matches!(ask.asker, Asker::Application(_)) == of_application).count() < limit
    }

    /// An answer came.
    pub(super) fn on_message(&mut self, message: &Message, four_tuple: FourTuple, now: Timestamp, random: &mut dyn RngCore) -> Heard {
        let FourTuple { local, remote } = four_tuple;
        let answers = |ask: &Ask| arrives_at(ask.local, local) && ask.transaction.on_message(message, remote, now).is_some();
        let Some(at) = self.all.iter().position(answers) else { return Heard::Foreign };
        let Some(ask) = self.all.get_mut(at) else { return Heard::Foreign };
        let (asker, tries, rtt) = (ask.asker, ask.transaction.sent(), now.saturating_since(ask.sent_at));
        let mapped = message.mapped.filter(|_| message.class == Class::Success);
        if mapped.is_none() && ask.turn_to_next(now, random) {
            return Heard::Refused;
        }
        self.all.remove(at);
        let answer = mapped.map(|mapped| Answered { local, mapped, from: remote, rtt });
        Heard::Ended(Ended { asker, answer, tries })
    }

    fn poll(&mut self, now: Timestamp, random: &mut dyn RngCore) -> Option<AskStep> {
        loop {
            let at = self.all.iter().position(|ask| ask.transaction.next_timer() <= now)?;
            let ask = self.all.get_mut(at)?;
            match ask.transaction.poll(now) {
                Step::Send(message) => {
                    ask.sent_at = now;
                    return Some(AskStep::Send { local: ask.local, to: ask.transaction.server(), message });
                }
                Step::Wait(_) => return None,
                Step::Silent if ask.turn_to_next(now, random) => {}
                Step::Silent => {
                    let ask = self.all.remove(at);
                    return Some(AskStep::Ended(Ended { asker: ask.asker, answer: None, tries: ask.transaction.sent() }));
                }
            }
        }
    }
}

impl Ask {
    /// Asks the next server of the list; `false`: there is none.
    fn turn_to_next(&mut self, now: Timestamp, random: &mut dyn RngCore) -> bool {
        let Some(server) = self.others.pop() else { return false };
        self.transaction = question(self.form, server, Patience::SHORT, now, random);
        true
    }
}

fn question(form: Form, server: SocketAddr, patience: Patience, now: Timestamp, random: &mut dyn RngCore) -> Transaction {
    Transaction::new(Message::request(form, TransactionId::random(random)), server, Expect::Asked, patience, now)
}

impl Endpoint {
    /// Asks a STUN server how it sees one of our sockets; [`NatNews::Answer`] or [`NatNews::Silence`] follows.
    pub fn ask_stun(&mut self, ask: StunAsk, now: Timestamp) {
        let StunAsk { ticket, local, server, form, patience } = ask;
        let asker = Asker::Application(ticket);
        if !self.nat.asks.has_room(asker) {
            return self.nat.tell(NatNews::Silence { ticket, tries: 0 });
        }
        let transaction = question(form, server, patience, now, &mut self.random);
        self.nat.asks.all.push(Ask { asker, local, form, transaction, others: Vec::new(), sent_at: now });
        self.run_nat(now);
    }

    /// Asks these servers, one after the other, how they see the socket of a punch, until one answers; the connection is told.
    pub(crate) fn learn_outer(&mut self, owner: SocketOwner, servers: &[SocketAddr], form: Form, now: Timestamp) {
        let asker = Asker::Punch(owner);
        let mut others: Vec<SocketAddr> = servers.iter().copied().take(limits::NAT_SERVERS).collect();
        others.reverse();
        let (Some(local), Some(first), true) = (self.nat.sockets.local(owner), others.pop(), self.nat.asks.has_room(asker)) else {
            return self.tell_outer(owner, None, now);
        };
        let transaction = question(form, first, Patience::SHORT, now, &mut self.random);
        self.nat.asks.all.push(Ask { asker, local, form, transaction, others, sent_at: now });
        self.run_nat(now);
    }

    /// Asks what is to be asked now.
    pub(super) fn run_asks(&mut self, now: Timestamp) {
        while let Some(step) = self.nat.asks.poll(now, &mut self.random) {
            match step {
                AskStep::Send { local, to, message } => self.send_stun(local, to, &message),
                AskStep::Ended(ended) => self.on_ask_ended(ended, now),
            }
        }
    }

    pub(super) fn on_ask_ended(&mut self, ended: Ended, now: Timestamp) {
        let Ended { asker, answer, tries } = ended;
        match (asker, answer) {
            (Asker::Application(ticket), Some(Answered { local, mapped, from, rtt })) => {
                self.nat.tell(NatNews::Answer { ticket, local, mapped, from, rtt, tries });
            }
            (Asker::Application(ticket), None) => self.nat.tell(NatNews::Silence { ticket, tries }),
            (Asker::Punch(owner), answer) => self.tell_outer(owner, answer.map(|answer| answer.mapped), now),
        }
    }
}
