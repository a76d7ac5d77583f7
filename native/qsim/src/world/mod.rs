//! Hosts, routers and address translators with several links each: where a datagram goes, hop by hop, until a host has it.
//!
//! ```text
//!   host ── port ══ link ══ port ── router ── port ══ link ══ port ── host
//! ```
//! Decides addresses, routes and what a host's system would say to its socket. Called by the simulator with every
//! datagram an endpoint sends, and for every one that arrives. What happens on a link is the [`Wires`]' business. Never
//! looks into a datagram.

mod nat;
mod ports;
mod routes;
#[cfg(test)]
mod tests;
mod translate;

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use qbase::{Ecn, FourTuple, Timestamp};

pub use self::{
    nat::{Dependence, Habit, NatKind, NatOptions, PortChoice, Refresh, RefreshScope},
    ports::{Addressing, AttachError, NodeId, Plug, PortId, Side},
};
use self::{
    nat::Nat,
    ports::{Node, NodeKind, Port},
    routes::Routes,
};
use crate::{
    link::{Directions, LinkDirection, LinkShape, LinkStatistics, lane::LaneState},
    network::{Interface, SendError},
    random::Random,
    trace::Trace,
    wires::{Arrival, DEFAULT_TTL, FarEnd, Header, LaneId, LinkId, Observation, Watch, Wires},
};

/// Time of day at the start of every world, since 1970: 2025-01-01.
pub const UNIX_TIME: Duration = Duration::from_secs(1_735_689_600);

/// A datagram that has reached a host. Give `bytes` back with [`World::recycle`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The host.
    pub host: NodeId,
    /// As its socket sees it: `local` is the destination.
    pub four_tuple: FourTuple,
    /// The mark it arrives with.
    pub ecn: Ecn,
    /// UDP payload.
    pub bytes: Vec<u8>,
}

/// Everything that is joined by links.
#[derive(Debug)]
pub struct World {
    wires: Wires,
    nodes: Vec<Node>,
    ports: Vec<Port>,
    /// The ports `a` and `b` of each link.
    joints: Vec<[PortId; 2]>,
    routes: Routes,
    nats: BTreeMap<NodeId, Nat>,
    /// Where the luck of translators comes from.
    seed: u64,
}

impl World {
    /// Nothing yet; everything random comes from the seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { wires: Wires::new(seed), nodes: Vec::new(), ports: Vec::new(), joints: Vec::new(), routes: Routes::default(), nats: BTreeMap::new(), seed }
    }

    /// A host: datagrams end here.
    pub fn host(&mut self) -> NodeId {
        self.add(NodeKind::Host)
    }

    /// A router: it forwards between its links.
    pub fn router(&mut self) -> NodeId {
        self.add(NodeKind::Router)
    }

    /// An address translator: it forwards between its inside and its outside under other addresses.
    pub fn nat(&mut self, options: NatOptions) -> NodeId {
        let id = self.add(NodeKind::Nat);
        // Behind the labels of lanes, which are small, and before those of endpoints.
        let random = Random::labelled(self.seed, (1 << 40) | u64::from(id.0));
        self.nats.insert(id, Nat::new(options, random));
        id
    }

    /// As many routers one after the other as this one stands for (1 at the start): what passing it costs a datagram of
    /// its time to live.
    pub fn set_hops(&mut self, node: NodeId, hops: u8) {
        if let Some(node) = self.node_mut(node) {
            node.hops = hops;
        }
    }

    /// Joins two nodes. Addresses that are not given are 10.0.n.1 and 10.0.n.2 for the n-th link, 198.18.n.1 and
    /// 198.18.n.2 if one end is a router or the outside of a translator.
    ///
    /// # Errors
    /// The ends are one node, or an address is in use or of another family than the other one.
    pub fn link(
        &mut self,
        now: Timestamp,
        a: impl Into<Plug>,
        b: impl Into<Plug>,
        shape: &LinkShape,
        addressing: Addressing,
    ) -> Result<LinkId, AttachError> {
        let (a, b) = (a.into(), b.into());
        if a.node == b.node {
            return Err(AttachError::SameNode);
        }
        let number = self.joints.len().saturating_add(1);
        let is_public = [a, b].iter().any(|plug| match self.kind(plug.node) {
            Some(NodeKind::Router) => true,
            Some(NodeKind::Nat) => plug.side == Side::Outside,
            _ => false,
        });
        let addresses = ports::addresses(number, is_public.into(), addressing);
        if addresses[0].is_ipv4() != addresses[1].is_ipv4() {
            return Err(AttachError::MixedFamilies);
        }
        for address in addresses {
            self.check_free(address)?;
        }
        let link = self.wires.add(now, shape);
        let joint = [(a, LinkDirection::AToB), (b, LinkDirection::BToA)]
            .map(|(plug, outgoing)| (plug, LaneId { link, direction: outgoing }));
        let mut made = [PortId(0); 2];
        for ((port, (Plug { node, side }, lane)), address) in made.iter_mut().zip(joint).zip(addresses) {
            *port = PortId(u32::try_from(self.ports.len()).unwrap_or(u32::MAX));
            self.ports.push(Port { node, side, lane, address, interface: Interface::Up });
            if let Some(node) = self.node_mut(node) {
                node.ports.push(*port);
            }
        }
        self.joints.push(made);
        self.routes.forget();
        Ok(link)
    }

    /// The ports at the ends `a` and `b` of a link.
    #[must_use]
    pub fn ports(&self, link: LinkId) -> Option<[PortId; 2]> {
        self.joints.get(usize::try_from(link.0).ok()?).copied()
    }

    /// The address of a port.
    #[must_use]
    pub fn address(&self, port: PortId) -> Option<IpAddr> {
        self.port(port).map(|port| port.address)
    }

    /// The addresses of a node, in the order of its links.
    pub fn addresses(&self, node: NodeId) -> impl Iterator<Item = IpAddr> {
        self.ports_of(node).map(|(_, port)| port.address)
    }

    /// The addresses of a node and whether their interfaces are up, in the order of its links.
    pub fn interfaces(&self, node: NodeId) -> impl Iterator<Item = (IpAddr, Interface)> {
        self.ports_of(node).map(|(_, port)| (port.address, port.interface))
    }

    /// Takes a port down, or up again; routes follow at once.
    pub fn set_interface(&mut self, now: Timestamp, id: PortId, interface: Interface) {
        self.wires.depart_until(now);
        if let Some(port) = self.port_mut(id) {
            port.interface = interface;
            self.routes.forget();
        }
    }

    /// Gives a port a new address: that one, or the next free one beside the old. The old one leads nowhere.
    ///
    /// # Errors
    /// The address is in use, or there is no such port.
    pub fn renumber(&mut self, now: Timestamp, id: PortId, address: Option<IpAddr>) -> Result<IpAddr, AttachError> {
        self.wires.depart_until(now);
        let old = self.address(id).ok_or(AttachError::NoSuchPort)?;
        let address = match address {
            Some(address) if address.is_ipv4() != old.is_ipv4() => return Err(AttachError::MixedFamilies),
            Some(address) => self.check_free(address).map(|()| address)?,
            None => ports::beside(old).find(|address| self.check_free(*address).is_ok()).ok_or(AttachError::Full(old))?,
        };
        if let Some(port) = self.port_mut(id) {
            port.address = address;
        }
        self.routes.forget();
        Ok(address)
    }

    /// A host sends a datagram; `four_tuple.local` is its source, and the port with that address is where it leaves. An
    /// unspecified source is filled in as [`Self::source_for`] says.
    ///
    /// # Errors
    /// What the host's system would say at once; everything later is silent.
    pub fn send(
        &mut self,
        now: Timestamp,
        host: NodeId,
        four_tuple: FourTuple,
        ecn: Ecn,
        bytes: &[u8],
    ) -> Result<(), SendError> {
        self.send_with_ttl(now, host, four_tuple, ecn, DEFAULT_TTL, bytes)
    }

    /// As [`Self::send`]; the datagram vanishes at the router or translator that would be one too many.
    ///
    /// # Errors
    /// What the host's system would say at once; everything later is silent.
    pub fn send_with_ttl(
        &mut self,
        now: Timestamp,
        host: NodeId,
        four_tuple: FourTuple,
        ecn: Ecn,
        ttl: u8,
        bytes: &[u8],
    ) -> Result<(), SendError> {
        self.wires.depart_until(now);
        let mut source = four_tuple.local;
        if source.ip().is_unspecified() {
            source.set_ip(self.source_for(host, four_tuple.remote.ip()).ok_or(SendError::NoRoute)?);
        }
        let found = self.ports_of(host).find(|(_, port)| port.address == source.ip());
        let (id, interface) = found.map(|(id, port)| (id, port.interface)).ok_or(SendError::NoRoute)?;
        if interface == Interface::Down {
            return Err(SendError::InterfaceDown);
        }
        if !self.is_reachable(id, four_tuple.remote.ip()) {
            return Err(SendError::NoRoute);
        }
        self.offer(now, id, Header { four_tuple: FourTuple { local: four_tuple.remote, remote: source }, ecn, ttl }, bytes);
        Ok(())
    }

    /// The address a host's system would choose to send from: that of its working port with the shortest way to `remote`.
    pub fn source_for(&mut self, host: NodeId, remote: IpAddr) -> Option<IpAddr> {
        let ports: Vec<(PortId, IpAddr)> = self
            .ports_of(host)
            .filter(|(_, port)| port.interface == Interface::Up && port.address.is_ipv4() == remote.is_ipv4())
            .map(|(id, port)| (id, port.address))
            .collect();
        let best = ports.iter().min_by_key(|(id, _)| self.distance(*id, remote).unwrap_or(u32::MAX))?;
        Some(best.1)
    }

    /// When something happens next. Call [`Self::pop_delivery`] then.
    #[must_use]
    pub fn next_event(&self) -> Option<Timestamp> {
        self.wires.next_event()
    }

    /// The next datagram that has reached a host by `now`; those that reach routers go on.
    pub fn pop_delivery(&mut self, now: Timestamp) -> Option<Delivery> {
        loop {
            let mut arrival = self.wires.pop_arrival(now)?;
            let lane = LaneId { link: arrival.link, direction: arrival.direction };
            let Some(node) = self.far_port(lane).map(|(_, port)| port.node) else { continue };
            let ttl = arrival.ttl.saturating_sub(self.node(node).map_or(1, |node| node.hops));
            if self.kind(node) == Some(NodeKind::Nat) {
                arrival.ttl = ttl;
                self.pass_nat(lane, arrival);
                continue;
            }
            let is_own = self.addresses(node).any(|address| address == arrival.four_tuple.local.ip());
            if is_own && self.kind(node) == Some(NodeKind::Host) {
                let Some((_, Port { interface: Interface::Up, .. })) = self.far_port(lane) else { continue };
                let FourTuple { local, remote } = arrival.four_tuple;
                return Some(Delivery { host: node, four_tuple: FourTuple { local, remote }, ecn: arrival.ecn, bytes: arrival.bytes });
            }
            if self.kind(node) == Some(NodeKind::Router)
                && !is_own
                && let Some(port) = self.next_port(node, arrival.four_tuple.local.ip())
            {
                let Arrival { four_tuple, ecn, .. } = arrival;
                self.offer(arrival.at, port, Header { four_tuple, ecn, ttl }, &arrival.bytes);
            }
            self.wires.recycle(arrival.bytes);
        }
    }

    /// Takes the buffer of a delivery back for the next datagram.
    pub fn recycle(&mut self, bytes: Vec<u8>) {
        self.wires.recycle(bytes);
    }

    /// New qualities from `now` on.
    pub fn set(&mut self, now: Timestamp, link: LinkId, shape: &LinkShape, directions: Directions) {
        self.wires.set(now, link, shape, directions);
    }

    /// From `now` on everything sent vanishes without a word. Routers do not hear of it.
    pub fn cut(&mut self, now: Timestamp, link: LinkId, directions: Directions) {
        self.wires.set_state(now, link, directions, LaneState::Cut);
    }

    /// Undoes [`Self::cut`].
    pub fn restore(&mut self, now: Timestamp, link: LinkId, directions: Directions) {
        self.wires.set_state(now, link, directions, LaneState::Up);
    }

    /// Nothing is cut, and both interfaces are up.
    #[must_use]
    pub fn is_up(&self, link: LinkId) -> bool {
        let is_up = |id| self.port(id).is_some_and(|port| port.interface == Interface::Up);
        self.wires.is_up(link) && self.ports(link).is_some_and(|ports| ports.into_iter().all(is_up))
    }

    /// Counters of one way; all zero for a link that does not exist.
    #[must_use]
    pub fn statistics(&self, link: LinkId, direction: LinkDirection) -> LinkStatistics {
        self.wires.statistics(LaneId { link, direction })
    }

    /// Fingerprint and last events.
    #[must_use]
    pub const fn trace(&self) -> &Trace {
        self.wires.trace()
    }

    /// What is kept from now on of every datagram on a link.
    pub const fn watch(&mut self, watch: Watch) {
        self.wires.watch(watch);
    }

    /// What became of datagrams since this was asked last, oldest first.
    pub fn take_observed(&mut self) -> Vec<Observation> {
        self.wires.take_observed()
    }

    /// Something was observed that nobody has taken.
    #[must_use]
    pub const fn has_observed(&self) -> bool {
        self.wires.has_observed()
    }

    fn add(&mut self, kind: NodeKind) -> NodeId {
        let id = NodeId(u32::try_from(self.nodes.len()).unwrap_or(u32::MAX));
        self.nodes.push(Node { kind, hops: 1, ports: Vec::new() });
        id
    }

    /// Puts a datagram that may still live on the link behind a port.
    fn offer(&mut self, now: Timestamp, id: PortId, header: Header, bytes: &[u8]) {
        if header.ttl == 0 {
            return;
        }
        let Some(lane) = self.port(id).map(|port| port.lane) else { return };
        let far_end = match self.far_port(lane) {
            Some((_, Port { interface: Interface::Up, .. })) => FarEnd::Listens,
            _ => FarEnd::Deaf,
        };
        self.wires.offer(now, lane, far_end, header, bytes);
    }

    /// The port a lane leads to.
    fn far_port(&self, lane: LaneId) -> Option<(PortId, &Port)> {
        let [a, b] = self.ports(lane.link)?;
        let id = if lane.direction == LinkDirection::AToB { b } else { a };
        Some((id, self.port(id)?))
    }

    /// The way behind a host's port may lead to `remote`: its neighbour is the destination, or forwards.
    fn is_reachable(&self, id: PortId, remote: IpAddr) -> bool {
        let neighbour = self.port(id).and_then(|port| self.far_port(port.lane)).map(|(_, port)| port.node);
        neighbour.is_some_and(|node| {
            self.kind(node) != Some(NodeKind::Host) || self.addresses(node).any(|address| address == remote)
        })
    }

    fn check_free(&self, address: IpAddr) -> Result<(), AttachError> {
        let is_taken = self.ports.iter().any(|port| port.address == address);
        if is_taken || address.is_unspecified() { Err(AttachError::InUse(SocketAddr::new(address, 0).ip())) } else { Ok(()) }
    }

    fn kind(&self, id: NodeId) -> Option<NodeKind> {
        self.node(id).map(|node| node.kind)
    }

    fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(usize::try_from(id.0).ok()?)
    }

    fn node_mut(&mut self, id: NodeId) -> Option<&mut Node> {
        self.nodes.get_mut(usize::try_from(id.0).ok()?)
    }

    fn port(&self, id: PortId) -> Option<&Port> {
        self.ports.get(usize::try_from(id.0).ok()?)
    }

    fn port_mut(&mut self, id: PortId) -> Option<&mut Port> {
        self.ports.get_mut(usize::try_from(id.0).ok()?)
    }

    fn ports_of(&self, node: NodeId) -> impl Iterator<Item = (PortId, &Port)> {
        let ids = self.node(node).map(|node| node.ports.as_slice()).unwrap_or_default();
        ids.iter().filter_map(|id| Some((*id, self.port(*id)?)))
    }
}
