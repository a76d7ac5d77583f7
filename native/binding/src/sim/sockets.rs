//! Sockets of simulated hosts: who has bound which address, and what a host's system says to a burst.
//!
//! Called by the endpoints of a world through `qdriver`'s `Io`, as the kernel is on the I/O thread. Decides which port a
//! socket gets. Never keeps a datagram: links do.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Error, ErrorKind},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use qbase::{Ecn, FourTuple, Timestamp};
use qconnection::Endpoint as Machine;
use qdriver::{
    drive::{Departure, Network, Outside, RawError, RawTransmit, SendFailure, SocketFacts},
    socket::{Batching, BindError, SocketConfig, Stop, bind::Step},
};
use qsim::{
    SendError,
    wires::DEFAULT_TTL,
    world::{NodeId, World as Topology},
};

/// The port of endpoints that name none.
const DEFAULT_PORT: u16 = 4_433;
/// The first port that a socket without a wish gets.
const EPHEMERAL_PORT: u16 = 49_152;

/// What is bound on all hosts.
#[derive(Debug, Default)]
pub struct Sockets {
    /// Who gets what arrives.
    seats: BTreeMap<(NodeId, SocketAddr), usize>,
    /// What each seat has bound, in that order.
    bound: BTreeMap<usize, Vec<SocketFacts>>,
    /// Those that the machine of a seat wished for: for datagrams that name their port.
    temporary: BTreeSet<(usize, SocketAddr)>,
    /// By host and IP: the port to try first. One that was given back is not soon given again, as systems do it: translators
    /// still know it.
    next: BTreeMap<(NodeId, IpAddr), u16>,
}

impl Sockets {
    /// Who gets a datagram for `local` on this host.
    pub fn receiver(&self, host: NodeId, local: SocketAddr) -> Option<usize> {
        let any = SocketAddr::new(unspecified(local), local.port());
        self.seats.get(&(host, local)).or_else(|| self.seats.get(&(host, any))).copied()
    }

    /// All addresses of the host with one port: the default one, or the next that is free on all.
    pub fn default_addresses(&self, host: NodeId, addresses: &[IpAddr]) -> Vec<SocketAddr> {
        let with = |port: u16| addresses.iter().map(move |ip| SocketAddr::new(*ip, port));
        let port = (DEFAULT_PORT..=u16::MAX).find(|port| with(*port).all(|address| self.is_free(host, address)));
        with(port.unwrap_or(0)).collect()
    }

    /// Nothing of this seat is bound any more.
    pub fn leave(&mut self, seat: usize) {
        self.bound.remove(&seat);
        self.temporary.retain(|(owner, _)| *owner != seat);
        self.seats.retain(|_, owner| *owner != seat);
    }

    fn is_free(&self, host: NodeId, address: SocketAddr) -> bool {
        let any = SocketAddr::new(unspecified(address), address.port());
        if address == any {
            let mut ports = self.seats.keys().filter(|(owner, other)| *owner == host && other.is_ipv4() == address.is_ipv4());
            return ports.all(|(_, other)| other.port() != address.port());
        }
        !self.seats.contains_key(&(host, address)) && !self.seats.contains_key(&(host, any))
    }

    /// A free port for a socket that wishes for none; `None`: all are taken.
    fn ephemeral_port(&mut self, host: NodeId, ip: IpAddr) -> Option<u16> {
        let first = self.next.get(&(host, ip)).copied().unwrap_or(EPHEMERAL_PORT);
        let is_free = |port: &u16| self.is_free(host, SocketAddr::new(ip, *port));
        let port = (first..=u16::MAX).chain(EPHEMERAL_PORT..first).find(is_free)?;
        self.next.insert((host, ip), port.checked_add(1).unwrap_or(EPHEMERAL_PORT));
        Some(port)
    }

    fn of(&self, seat: usize) -> &[SocketFacts] {
        self.bound.get(&seat).map(Vec::as_slice).unwrap_or_default()
    }

    /// Those of the application.
    fn lasting(&self, seat: usize) -> impl Iterator<Item = &SocketFacts> {
        self.of(seat).iter().filter(move |facts| !self.temporary.contains(&(seat, facts.local)))
    }

    /// The source address of what a seat sends between these addresses; the IP may be left to the host.
    fn source(&self, seat: usize, four_tuple: FourTuple) -> Option<SocketAddr> {
        let FourTuple { local, remote } = four_tuple;
        let fits = |facts: &&SocketFacts| {
            let bound = facts.local;
            let same_port = if local.port() == 0 { !self.temporary.contains(&(seat, bound)) } else { bound.port() == local.port() };
            let same_ip = local.ip().is_unspecified() || bound.ip().is_unspecified() || bound.ip() == local.ip();
            bound.is_ipv4() == remote.is_ipv4() && same_port && same_ip
        };
        let best = self.of(seat).iter().filter(fits).min_by_key(|facts| facts.local.ip() != local.ip())?.local;
        let ip = if local.ip().is_unspecified() { best.ip() } else { local.ip() };
        Some(SocketAddr::new(ip, best.port()))
    }
}

/// The wildcard of an address's family.
const fn unspecified(address: SocketAddr) -> IpAddr {
    if address.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) }
}

/// One endpoint's place in a world, for one turn.
pub struct Place<'a> {
    /// Where its datagrams go.
    pub topology: &'a mut Topology,
    /// Where its sockets are.
    pub sockets: &'a mut Sockets,
    /// The host.
    pub host: NodeId,
    /// The endpoint.
    pub seat: usize,
    /// The instant.
    pub now: Timestamp,
}

impl Place<'_> {
    /// Binds a socket.
    ///
    /// # Errors
    /// The address is not the host's, or in use.
    pub fn open(&mut self, config: &SocketConfig) -> Result<SocketFacts, BindError> {
        let mut address = config.address;
        let refuse = |kind: ErrorKind| BindError {
            step: Step::Bind,
            address: config.address,
            interface: config.interface.clone(),
            source: Error::from(kind),
        };
        if config.interface.is_some() {
            return Err(BindError { step: Step::Interface, ..refuse(ErrorKind::Unsupported) });
        }
        if !address.ip().is_unspecified() && self.topology.addresses(self.host).all(|own| own != address.ip()) {
            return Err(refuse(ErrorKind::AddrNotAvailable));
        }
        if address.port() == 0 {
            address.set_port(self.sockets.ephemeral_port(self.host, address.ip()).ok_or_else(|| refuse(ErrorKind::AddrInUse))?);
        } else if !self.sockets.is_free(self.host, address) {
            return Err(refuse(ErrorKind::AddrInUse));
        }
        let facts = SocketFacts { local: address, interface: None, wanted: config.buffers, granted: config.buffers, batching: Batching::Gso };
        self.sockets.seats.insert((self.host, address), self.seat);
        self.sockets.bound.entry(self.seat).or_default().push(facts.clone());
        Ok(facts)
    }

    /// One datagram onto its first link.
    fn put(&mut self, four_tuple: FourTuple, ecn: Ecn, hop_limit: Option<u8>, datagram: &[u8]) -> Result<(), SendFailure> {
        let ttl = hop_limit.unwrap_or(DEFAULT_TTL);
        self.topology.send_with_ttl(self.now, self.host, four_tuple, ecn, ttl, datagram).map_err(|error| match error {
            SendError::TooLong => SendFailure::TooLarge,
            SendError::InterfaceDown => SendFailure::NetworkDown,
            SendError::NoRoute => SendFailure::Unreachable,
        })
    }
}

impl Outside<Machine> for Place<'_> {
    fn bind(&mut self, config: &SocketConfig) -> Result<SocketFacts, BindError> {
        self.open(config)
    }

    fn bind_beside(&mut self, beside: SocketAddr, port: u16) -> Option<SocketAddr> {
        let named = self.sockets.source(self.seat, FourTuple { local: beside, remote: beside })?;
        let wanted = [port, 0].map(|port| SocketConfig::new(SocketAddr::new(named.ip(), port)));
        let facts = wanted.iter().find_map(|config| self.open(config).ok())?;
        self.sockets.temporary.insert((self.seat, facts.local));
        Some(facts.local)
    }

    fn unbind(&mut self, local: SocketAddr, _machine: &mut Machine, _now: Timestamp) -> bool {
        self.sockets.temporary.remove(&(self.seat, local));
        if let Some(bound) = self.sockets.bound.get_mut(&self.seat) {
            bound.retain(|facts| facts.local != local);
        }
        self.sockets.seats.remove(&(self.host, local)).is_some()
    }

    fn sockets(&self) -> Box<dyn Iterator<Item = SocketFacts> + '_> {
        Box::new(self.sockets.lasting(self.seat).cloned())
    }

    /// A host has a socket on each of its addresses: the one with the shortest way is taken.
    fn source_for(&mut self, remote: SocketAddr) -> Option<SocketAddr> {
        let ip = self.topology.source_for(self.host, remote.ip())?;
        self.sockets.lasting(self.seat).map(|facts| facts.local).find(|local| local.ip() == ip)
    }

    fn send_raw(&mut self, transmit: &RawTransmit<'_>) -> Result<(), RawError> {
        let four_tuple = FourTuple { local: transmit.local, remote: transmit.remote };
        let local = self.sockets.source(self.seat, four_tuple).ok_or(RawError::NoSocket)?;
        let refused = |_| RawError::Refused(Stop::Unreachable(Error::from(ErrorKind::NetworkUnreachable)));
        self.put(FourTuple { local, ..four_tuple }, Ecn::NotEct, None, transmit.bytes).map_err(refused)
    }
}

impl Network<Machine> for Place<'_> {
    fn send(&mut self, _now: Timestamp, departure: &Departure, bytes: &[u8]) -> Result<(), SendFailure> {
        let Departure { four_tuple, ecn, hop_limit, segment_size, .. } = *departure;
        let local = self.sockets.source(self.seat, four_tuple).ok_or(SendFailure::Unreachable)?;
        // As with GSO, a burst is refused as a whole: what refuses its first datagram refuses all.
        for datagram in bytes.chunks(segment_size.max(1)) {
            self.put(FourTuple { local, ..four_tuple }, ecn, hop_limit, datagram)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use qsim::{LinkShape, world::Addressing};

    use super::*;

    /// traversal T-74: as a driver's, they are for datagrams that name them, and go with their endpoint.
    #[test]
    fn temporary_sockets_of_a_seat_are_closed_with_it_and_are_nobody_elses_to_see() {
        let mut topology = Topology::new(1);
        let [host, other] = [topology.host(), topology.host()];
        topology.link(Timestamp::ZERO, host, other, &LinkShape::default(), Addressing::default()).expect("link");
        let ip = topology.addresses(host).next().expect("address");
        let remote = SocketAddr::new(topology.addresses(other).next().expect("address"), 9);
        let mut sockets = Sockets::default();
        let mut place = Place { topology: &mut topology, sockets: &mut sockets, host, seat: 3, now: Timestamp::ZERO };
        let bound = place.open(&SocketConfig::new(SocketAddr::new(ip, 4_433))).expect("bound").local;
        let temporary = place.bind_beside(bound, 4_433).expect("another port");
        assert!(temporary.ip() == ip && temporary.port() != 4_433);
        assert_eq!(place.bind_beside(bound, 7_000), Some(SocketAddr::new(ip, 7_000)));
        assert_eq!(place.bind_beside(SocketAddr::new(ip, 1), 0), None, "beside nothing");
        assert_eq!(place.sockets().map(|facts| facts.local).collect::<Vec<_>>(), [bound]);
        assert_eq!(place.source_for(remote), Some(bound));
        let source = |sockets: &Sockets, port| sockets.source(3, FourTuple { local: SocketAddr::new(ip, port), remote });
        assert_eq!(source(&sockets, 0), Some(bound));
        assert_eq!(source(&sockets, temporary.port()), Some(temporary));
        assert_eq!(sockets.receiver(host, temporary), Some(3));
        sockets.leave(3);
        assert_eq!((sockets.receiver(host, temporary), sockets.temporary.len()), (None, 0));
    }

    /// traversal T-96: a port that comes back at once would have the mappings of its last owner, and foretold ports be wrong.
    #[test]
    fn a_port_that_was_given_back_is_given_again_last() {
        let mut topology = Topology::new(1);
        let [host, other] = [topology.host(), topology.host()];
        topology.link(Timestamp::ZERO, host, other, &LinkShape::default(), Addressing::default()).expect("link");
        let ip = topology.addresses(host).next().expect("address");
        let mut sockets = Sockets::default();
        let ports: Vec<_> = (0..3).map(|seat| {
            let mut place = Place { topology: &mut topology, sockets: &mut sockets, host, seat, now: Timestamp::ZERO };
            let port = place.open(&SocketConfig::new(SocketAddr::new(ip, 0))).expect("a port").local.port();
            sockets.leave(seat);
            port
        }).collect();
        assert_eq!(ports, [EPHEMERAL_PORT, EPHEMERAL_PORT + 1, EPHEMERAL_PORT + 2]);
        sockets.next.insert((host, ip), u16::MAX);
        assert_eq!([(); 2].map(|()| sockets.ephemeral_port(host, ip)), [Some(u16::MAX), Some(EPHEMERAL_PORT)], "from the end to the beginning");
    }
}
