//! What a node is attached with: ports, their addresses, and which addresses a new link gets.
//!
//! Called by the world. Decides nothing about routes.

use std::{
    iter,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use crate::{network::Interface, wires::LaneId};

/// Name of a host or router: its place in the order of making, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u32);

/// Name of a node's attachment to a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortId(pub u32);

/// Addresses of a new link's ends; `None`: the world's choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Addressing {
    /// At `a`.
    pub a: Option<IpAddr>,
    /// At `b`.
    pub b: Option<IpAddr>,
}

/// Why nodes cannot be joined so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttachError {
    /// Both ends are one node.
    #[error("a link joins two different nodes")]
    SameNode,
    /// The address belongs to a port, or is none.
    #[error("the address {0} is in use or none")]
    InUse(IpAddr),
    /// One end is IPv4, the other IPv6.
    #[error("both ends of a link have addresses of one family")]
    MixedFamilies,
    /// No address is left beside this one.
    #[error("no address is left beside {0}")]
    Full(IpAddr),
    /// The port does not exist.
    #[error("there is no such port")]
    NoSuchPort,
}

/// Which side of an address translator a port is on; of other nodes all ports are outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Its hosts are not seen from outside.
    Inside,
    /// What the world sees.
    Outside,
}

/// What a link is attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plug {
    /// The host, router or translator.
    pub node: NodeId,
    /// Of a translator.
    pub side: Side,
}

impl From<NodeId> for Plug {
    fn from(node: NodeId) -> Self {
        Self { node, side: Side::Outside }
    }
}

/// What a node does with datagrams for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NodeKind {
    /// Drops them.
    Host,
    /// Sends them on.
    Router,
    /// Sends them on under other addresses.
    Nat,
}

/// A host or router.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) kind: NodeKind,
    /// What passing it costs a datagram of its time to live.
    pub(super) hops: u8,
    /// In the order of their links.
    pub(super) ports: Vec<PortId>,
}

/// One end of a link.
#[derive(Debug)]
pub(super) struct Port {
    pub(super) node: NodeId,
    pub(super) side: Side,
    /// What leaves by it goes this way.
    pub(super) lane: LaneId,
    pub(super) address: IpAddr,
    pub(super) interface: Interface,
}

/// Where a link's own addresses come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Realm {
    /// 10.0.0.0/8.
    Private,
    /// 198.18.0.0/15, which counts as globally routable here.
    Public,
}

impl From<bool> for Realm {
    fn from(is_public: bool) -> Self {
        if is_public { Self::Public } else { Self::Private }
    }
}

/// The addresses of the n-th link, from 1, where none are given.
pub(super) fn addresses(number: usize, realm: Realm, given: Addressing) -> [IpAddr; 2] {
    let Addressing { a, b } = given;
    // The other end of a given address lives beside it.
    let pair = match (a, b) {
        (Some(a), Some(b)) => return [a, b],
        (Some(a), None) => return [a, beside(a).next().unwrap_or(a)],
        (None, Some(b)) => return [beside(b).next().unwrap_or(b), b],
        (None, None) => number,
    };
    let [.., high, low] = u32::try_from(pair).unwrap_or(u32::MAX).to_be_bytes();
    [1, 2].map(|last| {
        IpAddr::V4(match realm {
            Realm::Private => Ipv4Addr::new(10, high, low, last),
            Realm::Public => Ipv4Addr::new(198, 18 | (high & 1), low, last),
        })
    })
}

/// The addresses after this one in its network (of 8 bits), around and back to it.
pub(super) fn beside(address: IpAddr) -> impl Iterator<Item = IpAddr> {
    let mut last = match address {
        IpAddr::V4(address) => address.octets()[3],
        IpAddr::V6(address) => address.octets()[15],
    };
    let next = move || {
        last = if last >= 254 { 1 } else { last.saturating_add(1) };
        Some(match address {
            IpAddr::V4(address) => {
                let [a, b, c, _] = address.octets();
                IpAddr::V4(Ipv4Addr::new(a, b, c, last))
            }
            IpAddr::V6(address) => {
                let prefix = address.to_bits() & !0xff;
                IpAddr::V6(Ipv6Addr::from_bits(prefix | u128::from(last)))
            }
        })
    };
    iter::from_fn(next).take(253)
}
