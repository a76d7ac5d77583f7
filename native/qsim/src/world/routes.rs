//! Shortest ways: which port of a router leads towards an address, counted in links.
//!
//! Recomputed for an address when it is asked for after a change: a new link, a new address, an interface down or up. A
//! cut wire is silent: nobody hears of it and nothing is routed around it. Ways of equal length: the older link wins.

use std::{
    collections::{BTreeMap, VecDeque},
    net::IpAddr,
};

use super::{
    NodeId, PortId, World,
    ports::{NodeKind, Port, Side},
};
use crate::network::Interface;

/// Ways to one address: of each node that has one, the links to go and the port to leave by.
type Ways = BTreeMap<NodeId, (u32, PortId)>;

/// What was computed since the last change.
#[derive(Debug, Default)]
pub(super) struct Routes {
    to: BTreeMap<IpAddr, Ways>,
}

impl Routes {
    /// Something changed.
    pub(super) fn forget(&mut self) {
        self.to.clear();
    }
}

impl World {
    /// The port by which a router sends towards `remote`.
    pub(super) fn next_port(&mut self, router: NodeId, remote: IpAddr) -> Option<PortId> {
        self.ways_to(remote).get(&router).map(|(_, port)| *port)
    }

    /// Links from a host to `remote` if it leaves by this port.
    pub(super) fn distance(&mut self, id: PortId, remote: IpAddr) -> Option<u32> {
        let lane = self.port(id)?.lane;
        let (_, Port { node, address, .. }) = self.far_port(lane)?;
        let (node, is_there) = (*node, *address == remote);
        if is_there || self.addresses(node).any(|address| address == remote) {
            return Some(u32::from(!is_there));
        }
        if self.kind(node) == Some(NodeKind::Host) {
            return None;
        }
        self.ways_to(remote).get(&node).map(|(links, _)| links.saturating_add(1))
    }

    fn ways_to(&mut self, remote: IpAddr) -> &Ways {
        if !self.routes.to.contains_key(&remote) {
            let ways = self.find_ways(remote);
            self.routes.to.insert(remote, ways);
        }
        self.routes.to.entry(remote).or_default()
    }

    /// The inside ports of a translator.
    pub(super) fn inside_of(&self, nat: NodeId) -> impl Iterator<Item = PortId> {
        self.ports_of(nat).filter(|(_, port)| port.side == Side::Inside).map(|(id, _)| id)
    }

    /// Walks from the owner of the address outwards, link by link; only routers are passed, and translators inwards.
    fn find_ways(&self, remote: IpAddr) -> Ways {
        let mut ways = Ways::new();
        let Some(index) = self.ports.iter().position(|port| port.address == remote) else { return ways };
        let goal = PortId(u32::try_from(index).unwrap_or(u32::MAX));
        let mut edge: VecDeque<(u32, PortId)> = VecDeque::from([(1, goal)]);
        if let Some(Port { node, side: Side::Outside, .. }) = self.port(goal)
            && self.kind(*node) == Some(NodeKind::Nat)
        {
            edge.extend(self.inside_of(*node).map(|inside| (1, inside)));
        }
        while let Some((links, id)) = edge.pop_front() {
            let Some(near) = self.port(id).filter(|port| port.interface == Interface::Up) else { continue };
            let Some((far_id, far)) = self.far_port(near.lane).filter(|(_, port)| port.interface == Interface::Up) else { continue };
            if self.kind(far.node) == Some(NodeKind::Host) || ways.contains_key(&far.node) {
                continue;
            }
            ways.insert(far.node, (links, far_id));
            // Nobody outside a translator knows a way to what is inside.
            let is_nat = self.kind(far.node) == Some(NodeKind::Nat);
            let onwards = self.ports_of(far.node).filter(|(next, port)| *next != far_id && (!is_nat || port.side == Side::Inside));
            edge.extend(onwards.map(|(next, _)| (links.saturating_add(1), next)));
        }
        ways
    }
}
