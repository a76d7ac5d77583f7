//! Addresses of traversal: endpoints that may lie behind an agent, and pairs of them (traversal T-1, T-2, T-4).
//!
//! Decides what names a path and where its datagrams go. `wire` has the bytes, `text` the written form, `scope` who may be
//! reached, `policy` who may be probed and told. Called by every other room of this crate. Never resolves names.

pub mod policy;
pub mod scope;
mod text;
pub mod wire;

pub use policy::{Disclosure, Prefix, ProbePolicy, Refused};
pub use scope::{Scope, is_globally_routable};
pub use text::ParseError;

use std::net::{IpAddr, SocketAddr};

/// What really goes on the wire: our socket's address and the next hop's (traversal T-2).
pub type Link = qbase::FourTuple;

/// Where one end of a pathway is (traversal T-1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Endpoint {
    /// Reached by sending to this address.
    Direct(SocketAddr),
    /// Reached through a relay.
    Agent {
        /// The relay and STUN server, a public address.
        agent: SocketAddr,
        /// The end's address as the agent sees it: the end is known by it.
        outer: SocketAddr,
    },
}

/// Why an address or a pair cannot be used (traversal T-4, attacks G2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Unusable {
    /// Port 0.
    #[error("port 0")]
    PortZero,
    /// 0.0.0.0 or ::.
    #[error("unspecified address")]
    Unspecified,
    /// A group, not a host.
    #[error("multicast address")]
    Multicast,
    /// 255.255.255.255.
    #[error("broadcast address")]
    Broadcast,
    /// An IPv4 address written as an IPv6 one (::ffff:0:0/96).
    #[error("IPv4-mapped address")]
    Mapped,
    /// Addresses of one pathway are of two families.
    #[error("addresses of two families")]
    Families,
    /// A loopback address beside one that is none.
    #[error("loopback beside another host")]
    Loopback,
}

impl Endpoint {
    /// Where a datagram to this endpoint is sent: the address itself, or the agent's.
    #[must_use]
    pub const fn next_hop(&self) -> SocketAddr {
        match *self {
            Self::Direct(address) => address,
            Self::Agent { agent, .. } => agent,
        }
    }

    /// The address that the world outside of this end's own network knows it by.
    #[must_use]
    pub const fn outer(&self) -> SocketAddr {
        match *self {
            Self::Direct(address) => address,
            Self::Agent { outer, .. } => outer,
        }
    }

    /// The agent, if there is one.
    #[must_use]
    pub const fn agent(&self) -> Option<SocketAddr> {
        match *self {
            Self::Direct(_) => None,
            Self::Agent { agent, .. } => Some(agent),
        }
    }

    /// A relay stands before it.
    #[must_use]
    pub const fn is_relayed(&self) -> bool {
        matches!(self, Self::Agent { .. })
    }

    /// The family of its (first) address. An endpoint over two families fails [`Endpoint::check`].
    #[must_use]
    pub const fn is_ipv4(&self) -> bool {
        self.next_hop().is_ipv4()
    }

    /// May it be used at all?
    ///
    /// # Errors
    /// What is wrong with one of its addresses, or with the two together (traversal T-4).
    pub fn check(&self) -> Result<(), Unusable> {
        check_address(self.next_hop())?;
        if let Self::Agent { agent, outer } = *self {
            check_address(outer)?;
            check_pair(agent, outer)?;
        }
        Ok(())
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self::Direct(address)
    }
}

/// The identity of a path: which of our endpoints talks to which of the peer's (traversal T-2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pathway {
    /// Our end.
    pub local: Endpoint,
    /// The peer's end.
    pub remote: Endpoint,
}

impl Pathway {
    /// The pathway of two ends that reach each other without a relay.
    #[must_use]
    pub const fn direct(local: SocketAddr, remote: SocketAddr) -> Self {
        Self { local: Endpoint::Direct(local), remote: Endpoint::Direct(remote) }
    }

    /// As the other end sees it (traversal T-22).
    #[must_use]
    pub const fn flipped(self) -> Self {
        Self { local: self.remote, remote: self.local }
    }

    /// Datagrams on it carry a forward header: the remote end is behind an agent (traversal T-20).
    #[must_use]
    pub const fn is_forwarded(&self) -> bool {
        self.remote.is_relayed()
    }

    /// One of the ends is behind an agent.
    #[must_use]
    pub const fn is_relayed(&self) -> bool {
        self.local.is_relayed() || self.remote.is_relayed()
    }

    /// Both ends have IPv4 addresses, if all are of one family.
    #[must_use]
    pub const fn is_ipv4(&self) -> bool {
        self.local.is_ipv4()
    }

    /// What goes on the wire when `bound` is the local socket's address (traversal T-2).
    #[must_use]
    pub const fn link(&self, bound: SocketAddr) -> Link {
        Link { local: bound, remote: self.remote.next_hop() }
    }

    /// May it be used at all? One family, and loopback only with loopback (traversal T-4, burst B-79a).
    ///
    /// # Errors
    /// What is wrong with an address or with the pair.
    pub fn check(&self) -> Result<(), Unusable> {
        self.local.check()?;
        self.remote.check()?;
        check_pair(self.local.next_hop(), self.remote.next_hop())
    }
}

/// Is this the address of one host that can be sent to (traversal T-4)?
///
/// # Errors
/// Why not.
pub fn check_address(address: SocketAddr) -> Result<(), Unusable> {
    if address.port() == 0 {
        return Err(Unusable::PortZero);
    }
    let ip = address.ip();
    match ip {
        _ if ip.is_unspecified() => Err(Unusable::Unspecified),
        _ if ip.is_multicast() => Err(Unusable::Multicast),
        IpAddr::V4(ip) if ip.is_broadcast() => Err(Unusable::Broadcast),
        IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some() => Err(Unusable::Mapped),
        _ => Ok(()),
    }
}

/// May these two stand in one pathway?
///
/// # Errors
/// Two families, or loopback beside another host.
pub fn check_pair(a: SocketAddr, b: SocketAddr) -> Result<(), Unusable> {
    if a.is_ipv4() != b.is_ipv4() {
        return Err(Unusable::Families);
    }
    if a.ip().is_loopback() != b.ip().is_loopback() {
        return Err(Unusable::Loopback);
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests;
