//! Requests of others to our STUN server (traversal T-42…T-44, RFC 8489 §6.3, RFC 5780 §6).
//!
//! Decides on which sockets and in which forms we are one. What is answered, to whom and how often is [`Server`]'s to say. Called
//! for every request that comes in on one of its sockets. Never answers on other sockets.

use super::{Endpoint, arrives_at};
use qbase::{FourTuple, Timestamp};
use qtraversal::stun::{Forms, Message, Server, ServerConfig, server::Ignored};
use rand_core::RngCore;
use std::net::SocketAddr;

/// Our STUN server.
#[derive(Debug)]
pub(super) struct Service {
    server: Server,
    sockets: Vec<SocketAddr>,
    forms: Forms,
    statistics: StunStatistics,
}

/// What our STUN server did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct StunStatistics {
    /// Requests that came.
    pub requests: u64,
    /// Those that were answered, by us or by a neighbour that we asked to.
    pub answered: u64,
    /// Those that were not, whatever the reason.
    pub ignored: u64,
    /// Of these: the asker, or all askers together, asked too often.
    pub over_rate: u64,
    /// Of these: a stranger named somebody else to be answered (traversal T-44).
    pub from_strangers: u64,
}

impl Service {
    pub(super) const fn forms(&self) -> Forms {
        self.forms
    }

    /// Datagrams for this address are for it to read.
    pub(super) fn is_at(&self, local: SocketAddr) -> bool {
        self.sockets.iter().any(|bound| arrives_at(*bound, local))
    }
}

impl Endpoint {
    /// Is a STUN server from now on, with these sockets and forms, or none any more. An unspecified IP in the configuration stands
    /// for every address of its socket.
    pub fn serve_stun(&mut self, config: Option<ServerConfig>, forms: Forms) {
        self.nat.server = config.map(|config| {
            let sockets = config.sockets.clone();
            let server = Server::new(config, self.random.next_u64());
            Box::new(Service { server, sockets, forms, statistics: StunStatistics::default() })
        });
        self.nat.settle();
    }

    /// What our STUN server did since it is one.
    #[must_use]
    pub fn stun_statistics(&self) -> Option<StunStatistics> {
        self.nat.server.as_ref().map(|service| service.statistics)
    }

    /// Whether a request was for our server, which then has answered it or not, as its rules say.
    pub(super) fn serve_request(&mut self, request: &Message, size: usize, four_tuple: FourTuple, now: Timestamp) -> bool {
        let FourTuple { local, remote } = four_tuple;
        let Some(service) = self.nat.server.as_mut().filter(|service| service.is_at(local) && service.forms.has(request.form)) else { return false };
        let statistics = &mut service.statistics;
        statistics.requests = statistics.requests.saturating_add(1);
        match service.server.on_message(request, size, local, remote, now) {
            Ok(reply) => {
                statistics.answered = statistics.answered.saturating_add(1);
                self.send_stun(reply.from, reply.to, &reply.message);
                if reply.from == local && reply.to == remote {
                    self.on_stun_exchange(local, remote, now);
                }
            }
            Err(reason) => {
                statistics.ignored = statistics.ignored.saturating_add(1);
                match reason {
                    Ignored::Rate => statistics.over_rate = statistics.over_rate.saturating_add(1),
                    Ignored::Stranger => statistics.from_strangers = statistics.from_strangers.saturating_add(1),
                    Ignored::NoRequest | Ignored::Address | Ignored::NoNeighbour | Ignored::Amplification => {}
                }
            }
        }
        true
    }
}
