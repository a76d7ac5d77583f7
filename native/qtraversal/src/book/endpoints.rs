//! Paths that need no punch: every endpoint of ours meets every one of the peer's (traversal T-70, T-72, T-73, T-74).
//!
//! Decides which combinations are paths. Called when an endpoint is learned. Never opens one.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use qbase::limits;

use super::{AddressBook, AnnounceError, Bind, LocalAddress};
use crate::{
    Endpoint, Link, NatType, Pathway,
    frame::{AddAddress, AddressKind},
    nat::PortAllocation,
};

/// How an endpoint of the peer's became known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// By name or by hand.
    Given,
    /// The peer said it.
    Announced,
    /// By multicast on this interface: only sockets of that interface reach it.
    Neighbour {
        /// The interface, by the caller's number.
        device: u32,
    },
}

/// A path to open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Combination {
    /// From this socket.
    pub bind: Bind,
    /// What goes on the wire.
    pub link: Link,
    /// What it is known by.
    pub pathway: Pathway,
}

/// A socket of ours.
#[derive(Clone, Copy, Debug)]
struct Bound {
    address: SocketAddr,
    device: u32,
}

/// All endpoints of both ends.
#[derive(Debug, Default)]
pub(super) struct Endpoints {
    binds: BTreeMap<Bind, Bound>,
    local: Vec<(Bind, Endpoint)>,
    remote: Vec<(Endpoint, Source)>,
}

impl Endpoints {
    /// The path of two endpoints, if they make one (traversal T-72).
    fn combine(&self, (bind, local): (Bind, Endpoint), (remote, source): (Endpoint, Source)) -> Option<Combination> {
        let bound = self.binds.get(&bind)?;
        let is_near = match source {
            Source::Neighbour { device } => device == bound.device,
            Source::Given | Source::Announced => true,
        };
        // An end that is reached without a relay talks to a relayed one over its own relay, or by a punch.
        let is_same_form = local.is_relayed() == remote.is_relayed();
        let pathway = Pathway { local, remote };
        if !is_near || !is_same_form || local == remote || local.is_ipv4() != remote.is_ipv4() || pathway.check().is_err() {
            return None;
        }
        let link = Link { local: bound.address, remote: remote.next_hop() };
        (link.local.is_ipv4() == link.remote.is_ipv4()).then_some(Combination { bind, link, pathway })
    }
}

/// What became of an outer address that a relay or STUN server told us (traversal T-73, T-74).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Learned {
    /// Relayed paths to open at once.
    pub paths: Vec<Combination>,
    /// To be announced.
    pub announced: Option<AddAddress>,
    /// Why it is not announced, where it should be.
    pub refused: Option<AnnounceError>,
    /// The NAT changes its mappings: open a socket on the same interface, learn its outer address, and announce that one.
    pub needs_socket: Option<Bind>,
}

impl AddressBook {
    /// A socket of ours; its own address is a direct endpoint. The paths it makes possible.
    pub fn add_bind(&mut self, bind: Bind, address: SocketAddr, device: u32) -> Vec<Combination> {
        self.endpoints.binds.insert(bind, Bound { address, device });
        self.add_local_endpoint(bind, Endpoint::Direct(address))
    }

    /// A socket of ours is gone, with its endpoints. Its announced addresses are withdrawn one by one.
    pub fn remove_bind(&mut self, bind: Bind) {
        self.endpoints.binds.remove(&bind);
        self.endpoints.local.retain(|(of, _)| *of != bind);
    }

    /// An endpoint of ours; the paths it makes possible that were not before (traversal T-72).
    pub fn add_local_endpoint(&mut self, bind: Bind, endpoint: Endpoint) -> Vec<Combination> {
        let Endpoints { local, .. } = &mut self.endpoints;
        if local.contains(&(bind, endpoint)) || local.len() >= limits::TRAVERSAL_ENDPOINTS.saturating_mul(2) {
            return Vec::new();
        }
        local.push((bind, endpoint));
        let Endpoints { remote, .. } = &self.endpoints;
        remote.iter().filter_map(|remote| self.endpoints.combine((bind, endpoint), *remote)).collect()
    }

    /// An endpoint of the peer's; the paths it makes possible that were not before (traversal T-72). Beyond
    /// [`limits::TRAVERSAL_ENDPOINTS`] it is left out.
    pub fn add_remote_endpoint(&mut self, endpoint: Endpoint, source: Source) -> Vec<Combination> {
        let Endpoints { local, remote, .. } = &mut self.endpoints;
        if remote.iter().any(|(known, _)| *known == endpoint) || remote.len() >= limits::TRAVERSAL_ENDPOINTS {
            return Vec::new();
        }
        remote.push((endpoint, source));
        let local: Vec<_> = local.clone();
        local.into_iter().filter_map(|local| self.endpoints.combine(local, (endpoint, source))).collect()
    }

    /// An endpoint of the peer's is gone.
    pub fn remove_remote_endpoint(&mut self, endpoint: Endpoint) {
        self.endpoints.remote.retain(|(known, _)| *known != endpoint);
    }

    /// An agent sees this socket of ours as `outer`: a relayed endpoint at once, and an address to punch to if the NAT before
    /// it is known (traversal T-73); a NAT that changes its mappings asks for a socket of its own (traversal T-74), unless
    /// this one was made for that.
    pub fn on_outer(
        &mut self,
        bind: Bind,
        agent: SocketAddr,
        outer: SocketAddr,
        nat: Option<(NatType, PortAllocation)>,
        made: Made,
    ) -> Learned {
        let paths = self.add_local_endpoint(bind, Endpoint::Agent { agent, outer });
        let device = self.endpoints.binds.get(&bind).map_or(0, |bound| bound.device);
        let nothing = Learned { paths, announced: None, refused: None, needs_socket: None };
        match nat {
            None | Some((NatType::Blocked, _)) => nothing,
            Some((NatType::Dynamic, _)) if made == Made::ForTraffic => Learned { needs_socket: Some(bind), ..nothing },
            Some((nat_type, ports)) => {
                let kind = AddressKind::Mapped;
                let announced = self.announce(LocalAddress { bind, device, address: outer, tier: 0, nat_type, kind, ports });
                Learned { announced: announced.ok(), refused: announced.err(), ..nothing }
            }
        }
    }

    /// IPs that this end's agents and sockets stand for, for the question of one site (traversal T-79).
    pub fn outer_ips(&self) -> impl Iterator<Item = IpAddr> {
        self.endpoints.local.iter().map(|(_, endpoint)| endpoint.outer().ip())
    }
}

/// What a socket was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Made {
    /// It carries paths.
    ForTraffic,
    /// To be announced in place of another, whose mapping changes (traversal T-74).
    ForPunch,
}
