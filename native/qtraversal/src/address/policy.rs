//! Who may be probed on a peer's word, and who may be told of a private address (attacks G2, G3; traversal T-79).
//!
//! Decides by addresses alone; volumes and rounds are bounded elsewhere. Called for each address a peer names and for each
//! address we would announce. Never sends.

use std::net::{IpAddr, SocketAddr};

use qbase::limits;

use super::{Scope, Unusable, check_address};

/// A network: addresses with the same first bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Prefix {
    /// An address of it.
    pub ip: IpAddr,
    /// Bits that count, 0 ..= 32 or 128; more mean all.
    pub bits: u8,
}

impl Prefix {
    /// `ip` is in the network.
    #[must_use]
    pub fn holds(&self, ip: IpAddr) -> bool {
        let same = |differing: u128, width: u8| {
            let shift = u32::from(width.saturating_sub(self.bits));
            differing.checked_shr(shift).unwrap_or(0) == 0
        };
        match (self.ip, ip) {
            (IpAddr::V4(net), IpAddr::V4(ip)) => same(u128::from(net.to_bits() ^ ip.to_bits()), 32),
            (IpAddr::V6(net), IpAddr::V6(ip)) => same(net.to_bits() ^ ip.to_bits(), 128),
            _ => false,
        }
    }
}

/// Why an address that a peer named is not probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refused {
    /// No address of a host.
    #[error("{0}")]
    Unusable(Unusable),
    /// A port below 1024, where services live.
    #[error("port below 1024")]
    SystemPort,
    /// Ours.
    #[error("one of our own addresses")]
    Own,
    /// This host, named over the network.
    #[error("loopback")]
    Loopback,
    /// Not reachable everywhere, and neither allowed nor of our own networks.
    #[error("not globally routable")]
    NotGlobal,
}

/// Which addresses a peer may make us probe. The default allows those that are globally routable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProbePolicy {
    /// Networks of our own interfaces: private addresses in them are the same site.
    own_networks: Vec<Prefix>,
    /// Networks the application allows; a loopback network allows loopback (tests, simulations).
    allowed: Vec<Prefix>,
    /// Addresses we listen on.
    own_addresses: Vec<SocketAddr>,
}

impl ProbePolicy {
    /// Adds a network of one of our interfaces; beyond [`limits::POLICY_ENTRIES`] it is left out.
    #[must_use]
    pub fn with_own_network(mut self, network: Prefix) -> Self {
        push_bounded(&mut self.own_networks, network);
        self
    }

    /// Adds a network the application allows; beyond [`limits::POLICY_ENTRIES`] it is left out.
    #[must_use]
    pub fn allowing(mut self, network: Prefix) -> Self {
        push_bounded(&mut self.allowed, network);
        self
    }

    /// Adds an address we listen on; beyond [`limits::POLICY_ENTRIES`] it is left out.
    #[must_use]
    pub fn with_own_address(mut self, address: SocketAddr) -> Self {
        push_bounded(&mut self.own_addresses, address);
        self
    }

    /// May a peer make us send to `target`?
    ///
    /// # Errors
    /// Why not (attacks G2).
    pub fn admits(&self, target: SocketAddr) -> Result<(), Refused> {
        check_address(target).map_err(Refused::Unusable)?;
        if self.own_addresses.contains(&target) {
            return Err(Refused::Own);
        }
        if target.port() < FIRST_USER_PORT {
            return Err(Refused::SystemPort);
        }
        let ip = target.ip();
        if self.allowed.iter().any(|network| network.holds(ip)) {
            return Ok(());
        }
        match Scope::of(ip) {
            Scope::Global => Ok(()),
            Scope::Loopback => Err(Refused::Loopback),
            Scope::Private if self.own_networks.iter().any(|network| network.holds(ip)) => Ok(()),
            _ => Err(Refused::NotGlobal),
        }
    }
}

/// Ports below are those of services (RFC 6335 §6).
const FIRST_USER_PORT: u16 = 1_024;

fn push_bounded<T>(list: &mut Vec<T>, item: T) {
    if list.len() < limits::POLICY_ENTRIES {
        list.push(item);
    }
}

/// Whom the application lets know our private addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Disclosure {
    /// Peers of the same site.
    #[default]
    SameSite,
    /// Every peer.
    Everyone,
    /// Nobody.
    Nobody,
}

impl Disclosure {
    /// May `address` be announced to a peer whose outer IP is `peer`, when ours is `ours` (traversal T-79)? Only private
    /// scopes are kept back; outer IPs not known yet show no site. Loopback and what is no host's address is never announced.
    #[must_use]
    pub fn may_announce(self, address: SocketAddr, ours: Option<IpAddr>, peer: Option<IpAddr>) -> bool {
        if check_address(address).is_err() {
            return false;
        }
        match Scope::of(address.ip()) {
            Scope::Loopback | Scope::Multicast => false,
            scope if scope.is_private() => match self {
                Self::Everyone => true,
                Self::Nobody => false,
                Self::SameSite => is_same_site(ours, peer),
            },
            _ => true,
        }
    }
}

/// Both ends are seen from outside under one IP address: they are behind the same NAT (traversal T-79).
#[must_use]
pub fn is_same_site(ours: Option<IpAddr>, peer: Option<IpAddr>) -> bool {
    ours.is_some() && ours == peer
}
