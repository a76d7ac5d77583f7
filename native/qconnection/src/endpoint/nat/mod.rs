//! The endpoint's own services about NATs: it asks STUN servers and is one, keeps mappings open, finds out what a NAT does, and
//! opens sockets for that and for punches (traversal T-42…T-53, T-74, T-98).
//!
//! | file | job |
//! |---|---|
//! | `asks` | single questions to STUN servers, for the application and for punches |
//! | `keeper` | mappings kept open |
//! | `detection` | what a NAT does, and how long its mappings live |
//! | `server` | requests of others answered |
//! | `relay` | datagrams of others passed on |
//! | `sockets` | sockets that are there for a while: wished for here, opened by the driver |
//!
//! Called by the application and by connections with what they want, by the driver with datagrams, time and sockets. Decides
//! which STUN datagram is whose (traversal T-11, T-42); what nobody here asked for is left to the application. While nothing of
//! this is in use it costs a datagram one comparison. Never opens a socket, never sends past the endpoint's queue of answers.

mod asks;
mod detection;
mod keeper;
mod relay;
mod server;
mod sockets;
#[cfg(test)]
mod tests;

pub use detection::Life;
pub use relay::{RoutedRun, RunFate};
pub use server::StunStatistics;
pub use sockets::{SocketId, SocketOwner, SocketWish};

use super::{Endpoint, Received};
use asks::Heard;
use qbase::{FourTuple, Timestamp, limits};
use qevent::DropReason;
use qtraversal::{
    classify::{Datagram, FixedBit, Forward, Listening, classify},
    nat::{Behaviour, Observation},
    stun::{Class, Form, Forms, MAX_MESSAGE, MappingEvent, Message, Patience},
};
use std::{collections::VecDeque, net::SocketAddr, time::Duration};

/// The application's name for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// One question: how does this server see that socket?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StunAsk {
    /// Names the answer.
    pub ticket: Ticket,
    /// The bound address of the socket that asks; its IP may be unspecified.
    pub local: SocketAddr,
    /// Who is asked.
    pub server: SocketAddr,
    /// How it speaks.
    pub form: Form,
    /// How often, and for how long.
    pub patience: Patience,
}

/// What the services tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NatNews {
    /// A server answered a question.
    Answer {
        /// Of the question.
        ticket: Ticket,
        /// Where the answer came in; concrete even on a socket of the wildcard address.
        local: SocketAddr,
        /// The socket as the server sees it. A hint until a path over it is validated (attacks G6).
        mapped: SocketAddr,
        /// Who answered.
        from: SocketAddr,
        /// Since the last request.
        rtt: Duration,
        /// Requests sent.
        tries: u8,
    },
    /// Nobody answered a question in time, or the server refused, or there were [`limits::NAT_ASKS`] already (no tries then).
    Silence {
        /// Of the question.
        ticket: Ticket,
        /// Requests sent.
        tries: u8,
    },
    /// Something was seen in a detection.
    Observed {
        /// Of the detection.
        ticket: Ticket,
        /// What.
        observation: Observation,
    },
    /// A detection is over.
    Report {
        /// Of the detection.
        ticket: Ticket,
        /// What the NAT does; `None`: no server answered, or there were [`limits::NAT_DETECTIONS`] already.
        report: Option<Box<Behaviour>>,
    },
    /// Something happened to a mapping that is kept open.
    Mapping {
        /// Of the keeper.
        ticket: Ticket,
        /// Where the server's answers come in.
        local: SocketAddr,
        /// What.
        event: MappingEvent,
    },
}

/// All services and what they know.
#[derive(Debug, Default)]
pub(super) struct Nat {
    /// Forms of STUN that anything here speaks on any socket.
    forms: Forms,
    asks: asks::Asks,
    keepers: keeper::Keepers,
    detections: detection::Detections,
    server: Option<Box<server::Service>>,
    relay: relay::Service,
    sockets: sockets::Sockets,
    news: VecDeque<NatNews>,
    /// When something of this is due.
    timer: Option<Timestamp>,
}

impl Nat {
    /// Something to tell. An application that does not listen misses the oldest.
    fn tell(&mut self, news: NatNews) {
        if self.news.len() >= limits::NAT_NEWS {
            self.news.pop_front();
        }
        self.news.push_back(news);
    }

    /// When [`Endpoint::run_nat`] has something to do.
    pub(super) const fn next_timer(&self) -> Option<Timestamp> {
        self.timer
    }

    /// Something began or ended.
    fn settle(&mut self) {
        self.timer = [self.asks.due(), self.keepers.due(), self.detections.due()].into_iter().flatten().min();
        let all = self.asks.forms(None).union(self.keepers.forms(None)).union(self.detections.forms(None));
        self.forms = self.server.iter().fold(all, |all, server| all.union(server.forms()));
    }

    /// What is spoken on the socket where datagrams for this address arrive (traversal T-42).
    fn forms_at(&self, local: SocketAddr) -> Forms {
        let all = self.asks.forms(Some(local)).union(self.keepers.forms(Some(local))).union(self.detections.forms(Some(local)));
        let served = self.server.iter().filter(|server| server.is_at(local));
        served.fold(all, |all, server| all.union(server.forms()))
    }
}

/// STUN messages that wait for the socket.
const STUN_WAITING: usize = limits::ANSWERS_WAITING / 2;

/// Datagrams for `local` arrive on the socket bound to `bound`.
fn arrives_at(bound: SocketAddr, local: SocketAddr) -> bool {
    bound.port() == local.port() && bound.is_ipv4() == local.is_ipv4() && (bound.ip() == local.ip() || bound.ip().is_unspecified())
}

impl Endpoint {
    /// The next thing that the services have to tell.
    pub fn poll_nat_news(&mut self) -> Option<NatNews> {
        self.nat.news.pop_front()
    }

    /// Ends whatever has this ticket. Of a mapping that was kept open [`MappingEvent::Closed`] is told, of others nothing.
    pub fn cancel_nat(&mut self, ticket: Ticket, now: Timestamp) {
        self.nat.asks.cancel(ticket);
        self.nat.keepers.close(ticket, now);
        self.nat.detections.cancel(ticket);
        self.close_detection(ticket);
        self.run_nat(now);
    }

    /// A datagram may be STUN that something here waits for. `None`: it is not, and the caller takes it for what else it may be.
    /// STUN that comes to a client or a server here but that nobody asked for is the application's (traversal T-11, T-42).
    #[inline]
    pub(super) fn take_stun(&mut self, now: Timestamp, four_tuple: FourTuple, bytes: &[u8]) -> Option<Received> {
        if self.nat.forms == Forms::NONE {
            return None;
        }
        // By its head alone: QUIC goes on here, at the price of a few comparisons.
        self.nat.forms.recognize(bytes)?;
        self.take_stun_of(now, four_tuple, bytes)
    }

    fn take_stun_of(&mut self, now: Timestamp, four_tuple: FourTuple, bytes: &[u8]) -> Option<Received> {
        let stun = self.nat.forms_at(four_tuple.local);
        let listening = Listening { stun, forward: Forward::Ignored, fixed_bit: FixedBit::Greased };
        let Datagram::Stun { form, message: bytes } = classify(bytes, listening, |bytes| self.route_of(bytes).is_some()) else { return None };
        let Ok(message) = Message::decode(form, bytes) else { return Some(Received::NotQuic) };
        let is_taken = match message.class {
            Class::Success | Class::Error => self.take_answer(now, four_tuple, &message),
            // Of a detection that sends to itself, or for our server.
            Class::Request => {
                let is_taken = self.nat.detections.on_message(&message, four_tuple, now);
                is_taken || self.serve_request(&message, bytes.len(), four_tuple, now)
            }
            Class::Indication => false,
        };
        if is_taken {
            self.run_nat(now);
        }
        Some(if is_taken { Received::Nat } else { Received::NotQuic })
    }

    /// Whether somebody here had asked for it.
    fn take_answer(&mut self, now: Timestamp, four_tuple: FourTuple, message: &Message) -> bool {
        match self.nat.asks.on_message(message, four_tuple, now, &mut self.random) {
            Heard::Ended(ended) => self.on_ask_ended(ended, now),
            Heard::Refused => {}
            Heard::Foreign => {
                return self.nat.keepers.on_message(message, four_tuple, now) || self.nat.detections.on_message(message, four_tuple, now);
            }
        }
        true
    }

    /// Does what is due, if anything is.
    pub(super) fn run_nat(&mut self, now: Timestamp) {
        self.run_asks(now);
        self.run_keepers(now);
        self.run_detections(now);
        self.nat.settle();
    }

    /// A STUN message leaves by the socket `local`.
    fn send_stun(&mut self, local: SocketAddr, to: SocketAddr, message: &Message) {
        let mut buffer = [0; MAX_MESSAGE];
        // A form that has no word for something was never asked to say it.
        let Some(bytes) = message.encode(&mut buffer).ok().and_then(|len| buffer.get(..len)) else { return };
        // Half of the queue is for those who ask for connections, however many ask what they look like.
        if self.answers.len() >= STUN_WAITING {
            return self.drops.count(DropReason::QueueFull);
        }
        self.answer(FourTuple { local, remote: to }, bytes.to_vec());
    }
}
