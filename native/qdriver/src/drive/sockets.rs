//! The sockets of one driver: which one a burst leaves by, which ones have something to read.
//!
//! Called by [`super::turn`] and, for binding, by [`super::io`]. A socket is found by its address; paths that name no
//! address leave by the first socket that fits.

use std::net::SocketAddr;

use mio::{Registry, Token};
use qbase::{FourTuple, Timestamp};

use super::outbox::{Held, Outbox};
use crate::socket::{Batching, BindError, BufferSizes, Hearing, PortSharing, Socket, SocketConfig, WatchWritable, bind::Step};

/// All sockets, by slot; a slot's number is the socket's token.
#[derive(Debug)]
pub(super) struct Sockets<B> {
    slots: Vec<Option<Entry<B>>>,
    max_segments: usize,
}

/// One socket and what waits for it.
#[derive(Debug)]
pub(super) struct Entry<B> {
    pub(super) socket: Socket,
    pub(super) outbox: Outbox<B>,
    /// The kernel may hold datagrams that we did not read.
    pub(super) readable: bool,
    /// The network may have said something about what was sent.
    pub(super) words: bool,
    /// The selector was asked to report room.
    watching: WatchWritable,
    token: Token,
    wanted: BufferSizes,
    interface: Option<String>,
    tenure: Tenure,
}

/// Whose a socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tenure {
    /// The application's.
    Lasting,
    /// The machine's, which closes it: for datagrams that name its port.
    Temporary,
}

/// Kernel buffers of temporary sockets, bytes: there may be hundreds.
const TEMPORARY_BUFFERS: usize = 256 * 1_024;

/// What a program may know about a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketFacts {
    /// The bound address with its real port.
    pub local: SocketAddr,
    /// Network interface that every datagram passes; `None`: the routing table decides.
    pub interface: Option<String>,
    /// Kernel buffers asked for, bytes.
    pub wanted: BufferSizes,
    /// Kernel buffers granted, bytes; less than wanted: the system's limit is lower.
    pub granted: BufferSizes,
    /// How bursts reach the kernel.
    pub batching: Batching,
}

impl<B> Sockets<B> {
    pub(super) fn new(max_segments: usize) -> Self {
        Self { slots: Vec::new(), max_segments: max_segments.clamp(1, qbase::limits::MAX_SEGMENTS) }
    }

    /// Segments per burst: without GSO the sockets split a burst themselves, so that one call still takes it whole.
    pub(super) const fn max_segments(&self) -> usize {
        if self.max_segments == 1 { qbase::limits::MAX_SEGMENTS } else { self.max_segments }
    }

    pub(super) fn bind(&mut self, registry: &Registry, config: &SocketConfig) -> Result<SocketFacts, BindError> {
        self.adopt(registry, config, Socket::bind(config)?)
    }

    /// Binds a temporary socket where the one that sends from `beside` is, with this port or any other.
    pub(super) fn bind_beside(&mut self, registry: &Registry, beside: SocketAddr, port: u16) -> Option<SocketFacts> {
        let named = self.find(FourTuple { local: beside, remote: beside })?;
        let (mut address, interface) = (named.socket.local(), named.interface.clone());
        // A socket of the wildcard address has many IPs: the one that is meant.
        if !beside.ip().is_unspecified() {
            address = beside;
        }
        let buffers = BufferSizes { send: TEMPORARY_BUFFERS, receive: TEMPORARY_BUFFERS };
        let config = |port| {
            let mut address = address;
            address.set_port(port);
            SocketConfig { address, interface: interface.clone(), sharing: PortSharing::Exclusive, buffers }
        };
        let wanted = Some(port).filter(|port| *port != 0).and_then(|port| Socket::bind(&config(port)).ok());
        let socket = wanted.or_else(|| Socket::bind(&config(0)).ok())?;
        self.take(registry, &config(port), socket, Tenure::Temporary).ok()
    }

    /// Takes a socket that was bound as `config` says.
    pub(super) fn adopt(&mut self, registry: &Registry, config: &SocketConfig, socket: Socket) -> Result<SocketFacts, BindError> {
        self.take(registry, config, socket, Tenure::Lasting)
    }

    fn take(&mut self, registry: &Registry, config: &SocketConfig, mut socket: Socket, tenure: Tenure) -> Result<SocketFacts, BindError> {
        if self.max_segments == 1 {
            socket.forbid_gso();
        }
        let free = self.slots.iter().position(Option::is_none);
        let slot = free.unwrap_or(self.slots.len());
        let token = Token(slot);
        socket.register(registry, token).map_err(|source| BindError {
            step: Step::Configure,
            address: config.address,
            interface: config.interface.clone(),
            source,
        })?;
        let entry = Entry {
            socket,
            outbox: Outbox::new(),
            readable: false,
            words: false,
            watching: WatchWritable::No,
            token,
            wanted: config.buffers,
            interface: config.interface.clone(),
            tenure,
        };
        let facts = entry.facts();
        match self.slots.get_mut(slot) {
            Some(free) => *free = Some(entry),
            None => self.slots.push(Some(entry)),
        }
        Ok(facts)
    }

    /// Closes the socket bound to `local`; returns the bursts that waited for it, `None` if there is no such socket.
    pub(super) fn unbind(&mut self, registry: &Registry, local: SocketAddr) -> Option<impl Iterator<Item = Held<B>>> {
        let slot = self.slots.iter_mut().find(|slot| slot.as_ref().is_some_and(|entry| entry.socket.local() == local))?;
        let mut entry = slot.take()?;
        // Closing the descriptor ends its reports too.
        entry.socket.deregister(registry).unwrap_or_default();
        Some(entry.outbox.into_bursts())
    }

    /// Of the application's sockets.
    pub(super) fn facts(&self) -> impl Iterator<Item = SocketFacts> {
        self.iter().filter(|entry| entry.tenure == Tenure::Lasting).map(Entry::facts)
    }

    /// How many there are, the temporary ones included.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.iter().count()
    }

    /// Slots in use or free; sockets are visited by number so that the loop can start anywhere.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn get_mut(&mut self, slot: usize) -> Option<&mut Entry<B>> {
        self.slots.get_mut(slot)?.as_mut()
    }

    fn iter(&self) -> impl Iterator<Item = &Entry<B>> {
        self.slots.iter().flatten()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Entry<B>> {
        self.slots.iter_mut().flatten()
    }

    /// The socket that a datagram between these addresses leaves by.
    pub(super) fn find(&mut self, four_tuple: FourTuple) -> Option<&mut Entry<B>> {
        let best = self
            .slots
            .iter()
            .enumerate()
            .filter_map(|(slot, entry)| Some((entry.as_ref()?.fit(four_tuple)?, slot)))
            .min()?;
        self.get_mut(best.1)
    }

    /// A socket holds as many bursts as it may: make no more.
    pub(super) fn is_congested(&self) -> bool {
        self.iter().any(|entry| entry.outbox.is_full())
    }

    pub(super) fn has_readable(&self) -> bool {
        self.iter().any(|entry| entry.readable || entry.words)
    }

    /// Chooses for all sockets whether the network's words about what was sent are heard.
    pub(super) fn hear(&mut self, hearing: Hearing) {
        for entry in self.iter_mut() {
            entry.socket.hear(hearing);
        }
    }

    /// When a socket wants to try again.
    pub(super) fn due(&self) -> Option<Timestamp> {
        self.iter().filter_map(|entry| entry.outbox.due()).min()
    }
}

impl<B> Entry<B> {
    /// How well it fits. What names no local port does not leave from a socket that may be gone tomorrow.
    fn fit(&self, four_tuple: FourTuple) -> Option<Fit> {
        let is_named = self.tenure == Tenure::Lasting || four_tuple.local.port() != 0;
        fit(self.socket.local(), four_tuple).filter(|_| is_named)
    }

    fn facts(&self) -> SocketFacts {
        SocketFacts {
            local: self.socket.local(),
            interface: self.interface.clone(),
            wanted: self.wanted,
            granted: self.socket.buffers(),
            batching: self.socket.batching(),
        }
    }

    /// Brings the selector's reports in line with what waits.
    pub(super) fn watch(&mut self, registry: &Registry) {
        let wanted = if self.outbox.wants_writable() { WatchWritable::Yes } else { WatchWritable::No };
        if wanted != self.watching && self.socket.watch_writable(registry, self.token, wanted).is_ok() {
            self.watching = wanted;
        }
    }
}

/// How well a socket bound to `bound` fits; smaller is better, `None` not at all.
fn fit(bound: SocketAddr, four_tuple: FourTuple) -> Option<Fit> {
    let FourTuple { local, remote } = four_tuple;
    if bound.is_ipv4() != remote.is_ipv4() {
        return None;
    }
    let wildcard = bound.ip().is_unspecified();
    let same_ip = bound.ip() == local.ip() && scope(bound) == scope(local);
    match (local.port(), local.ip().is_unspecified()) {
        (0, true) => Some(Fit::Any),
        (0, false) if bound.ip() == local.ip() => Some(Fit::SamePlace),
        (0, false) if wildcard => Some(Fit::Any),
        (port, _) if port != bound.port() => None,
        (_, _) if same_ip => Some(Fit::Exact),
        (_, true) => Some(Fit::SamePlace),
        (_, false) if bound.ip() == local.ip() => Some(Fit::SamePlace),
        (_, false) if wildcard => Some(Fit::Any),
        _ => None,
    }
}

/// How well a socket fits a four-tuple.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    /// Its address is the one named.
    Exact,
    /// It agrees in what the four-tuple names.
    SamePlace,
    /// It can send from there.
    Any,
}

/// Interface of a link-local address, else zero.
const fn scope(address: SocketAddr) -> u32 {
    match address {
        SocketAddr::V4(_) => 0,
        SocketAddr::V6(address) => address.scope_id(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_leaves_by_the_socket_that_its_local_address_names() {
        let bound = ["10.0.0.1:4433", "0.0.0.0:4433", "0.0.0.0:5000", "[::]:4433", "10.0.0.2:6000"];
        let cases = [
            ("10.0.0.1:4433", "192.0.2.1:1", Some("10.0.0.1:4433")),
            ("10.0.0.9:4433", "192.0.2.1:1", Some("0.0.0.0:4433")),
            ("0.0.0.0:4433", "192.0.2.1:1", Some("0.0.0.0:4433")),
            ("0.0.0.0:6000", "192.0.2.1:1", Some("10.0.0.2:6000")),
            ("0.0.0.0:0", "192.0.2.1:1", Some("10.0.0.1:4433")),
            ("10.0.0.2:0", "192.0.2.1:1", Some("10.0.0.2:6000")),
            ("10.0.0.7:0", "192.0.2.1:1", Some("0.0.0.0:4433")),
            ("[::]:0", "[2001:db8::1]:1", Some("[::]:4433")),
            ("[fd00::1]:4433", "[2001:db8::1]:1", Some("[::]:4433")),
            ("10.0.0.3:6000", "192.0.2.1:1", None),
            ("0.0.0.0:9", "192.0.2.1:1", None),
            ("[::]:5000", "[2001:db8::1]:1", None),
        ];
        for (local, remote, expected) in cases {
            let four_tuple = FourTuple { local: parse(local), remote: parse(remote) };
            let found = bound
                .iter()
                .enumerate()
                .filter_map(|(slot, bound)| Some((fit(parse(bound), four_tuple)?, slot)))
                .min()
                .map(|(_, slot)| bound[slot]);
            assert_eq!(found, expected, "{four_tuple:?}");
        }
    }

    fn parse(address: &str) -> SocketAddr {
        address.parse().expect("address")
    }
}
