//! A STUN server: says who asks, from which of its addresses it is asked to (traversal T-43, T-44; RFC 8489 §6.3, RFC 5780 §6).
//!
//! Decides who is answered, from where and with what, and how much at most. Called with every request of the sockets it serves.
//! Never answers a response or what cannot be read, never sends more than three times the bytes it got (IP and UDP heads
//! counted), never to a third party on a stranger's word: a response address counts from neighbours only.

use std::net::SocketAddr;

use qbase::{Timestamp, limits};

use super::{Change, Class, Form, MAX_MESSAGE, Message};
use crate::{
    address::check_address,
    rate::{Key, Rates},
};

/// What a server is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerConfig {
    /// Our sockets' addresses as clients see them: one, or all four of two IPs and two ports (RFC 5780 §6). An unspecified IP stands
    /// for every address of that socket.
    pub sockets: Vec<SocketAddr>,
    /// Other servers, which answer in our place from theirs, and whose response addresses we honour (T-43, T-44).
    pub neighbours: Vec<SocketAddr>,
}

/// One datagram to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// From which of our sockets.
    pub from: SocketAddr,
    /// To whom.
    pub to: SocketAddr,
    /// What.
    pub message: Message,
}

/// Why a message got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ignored {
    /// It is no request.
    NoRequest,
    /// It came in on an address that is none of ours, or from one that cannot be sent to.
    Address,
    /// Its source asks too often, or all together do.
    Rate,
    /// A response address from a stranger (T-44).
    Stranger,
    /// We have no such address and no such neighbour (T-43).
    NoNeighbour,
    /// The answer would be more than three times as long.
    Amplification,
}

/// A STUN server over its sockets.
#[derive(Debug)]
pub struct Server {
    config: ServerConfig,
    sources: Rates,
    all: Rates,
}

/// IP and UDP heads: a datagram is longer on the wire than its payload.
const HEADS_V4: usize = 28;
const HEADS_V6: usize = 48;
/// Ports that RESPONSE-PORT may name begin here: nobody's service is asked to read our answers.
const FIRST_USER_PORT: u16 = 1_024;
const BAD_REQUEST: u16 = 400;
const UNKNOWN_ATTRIBUTE: u16 = 420;

impl Server {
    /// A server; `seed` hides which sources share a rate.
    #[must_use]
    pub fn new(mut config: ServerConfig, seed: u64) -> Self {
        config.sockets.truncate(limits::STUN_SOCKETS);
        config.neighbours.truncate(limits::STUN_NEIGHBOURS);
        let per_source = (limits::STUN_PER_SOURCE, limits::STUN_BURST_PER_SOURCE);
        Self {
            config,
            sources: Rates::new(limits::STUN_SOURCES, per_source.0, per_source.1, seed),
            all: Rates::new(1, limits::STUN_PER_SECOND, limits::STUN_PER_SECOND, seed),
        }
    }

    /// Answers a message that came in on our socket `local` from `from`, `size` bytes long.
    ///
    /// # Errors
    /// Why there is no answer.
    pub fn on_message(
        &mut self,
        message: &Message,
        size: usize,
        local: SocketAddr,
        from: SocketAddr,
        now: Timestamp,
    ) -> Result<Reply, Ignored> {
        if message.class != Class::Request {
            return Err(Ignored::NoRequest);
        }
        if self.socket(Change::Nothing, local).is_none() || check_address(from).is_err() || from.is_ipv4() != local.is_ipv4() {
            return Err(Ignored::Address);
        }
        if !self.sources.take(Key::Network(from.ip()), 1, now) || !self.all.take(Key::Everyone, 1, now) {
            return Err(Ignored::Rate);
        }
        let reply = match message.form {
            Form::Rfc => self.standard(message, local, from)?,
            Form::Dquic05 | Form::Dquic07 => self.disguised(message, local, from)?,
        };
        let mut buffer = [0; MAX_MESSAGE];
        let answer = reply.message.encode(&mut buffer).map_err(|_| Ignored::Amplification)?;
        let heads = if from.is_ipv4() { HEADS_V4 } else { HEADS_V6 };
        let bound = size.saturating_add(heads).saturating_mul(AMPLIFICATION);
        if answer.saturating_add(heads) > bound {
            return Err(Ignored::Amplification);
        }
        Ok(reply)
    }

    fn standard(&self, request: &Message, local: SocketAddr, from: SocketAddr) -> Result<Reply, Ignored> {
        let refuse = |error| Ok(Reply { from: local, to: from, message: request.refusal(error) });
        if !request.unknown.is_empty() {
            return refuse(UNKNOWN_ATTRIBUTE);
        }
        let to = match request.response_port {
            Some(port) if port < FIRST_USER_PORT => return refuse(BAD_REQUEST),
            Some(port) => SocketAddr::new(from.ip(), port),
            None => from,
        };
        let change = request.change.unwrap_or(Change::Nothing);
        // A server without the addresses drops, as T-43 has it: an error from the wrong place tells a filter test nothing.
        let origin = self.socket(change, local).ok_or(Ignored::NoNeighbour)?;
        let other = self.socket(Change::Both, local);
        let message = Message { mapped: Some(from), origin: Some(origin), other, ..request.success() };
        Ok(Reply { from: origin, to, message })
    }

    fn disguised(&self, request: &Message, local: SocketAddr, from: SocketAddr) -> Result<Reply, Ignored> {
        let asker = match request.response_address {
            Some(_) if !self.config.neighbours.contains(&from) => return Err(Ignored::Stranger),
            Some(address) if check_address(address).is_err() || address.is_ipv4() != local.is_ipv4() => {
                return Err(Ignored::Address);
            }
            Some(address) => address,
            None => from,
        };
        let change = request.change.unwrap_or(Change::Nothing);
        if let Some(origin) = self.socket(change, local) {
            let other = self.socket(Change::Both, local).or_else(|| self.neighbour(Change::Both, local));
            let message = Message { mapped: Some(asker), origin: Some(origin), other, ..request.success() };
            return Ok(Reply { from: origin, to: asker, message });
        }
        if request.response_address.is_some() {
            return Err(Ignored::NoNeighbour); // Passed on once already.
        }
        let neighbour = self.neighbour(change, local).ok_or(Ignored::NoNeighbour)?;
        let message = Message { change: None, response_address: Some(asker), ..*request };
        Ok(Reply { from: local, to: neighbour, message })
    }

    fn socket(&self, change: Change, local: SocketAddr) -> Option<SocketAddr> {
        let all = self.config.sockets.iter().filter(|address| address.is_ipv4() == local.is_ipv4());
        let concrete = |address: &SocketAddr| if address.ip().is_unspecified() { SocketAddr::new(local.ip(), address.port()) } else { *address };
        all.map(concrete).find(|address| related(change, local, *address))
    }

    fn neighbour(&self, change: Change, local: SocketAddr) -> Option<SocketAddr> {
        self.config.neighbours.iter().copied().find(|address| related(change, local, *address))
    }
}

/// Bytes sent per byte received.
const AMPLIFICATION: usize = 3;

fn related(change: Change, local: SocketAddr, other: SocketAddr) -> bool {
    local.is_ipv4() == other.is_ipv4() && change.fits(local, other)
}
