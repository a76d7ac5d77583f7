//! The address book of one connection: which addresses each end has, who announced what, and what may be paired with what
//! (traversal T-70…T-79; attacks G2, G4, L21).
//!
//! Decides which announcements are kept, which are violations, and the two ways addresses meet: endpoints become paths at
//! once ([`endpoints`]), punch addresses become punches ([`pairs`]). Called for each address frame, for each address learned
//! or lost. Never punches and never sends: frames to send are returned.

mod endpoints;
mod pairs;
mod remote;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, net::{IpAddr, SocketAddr}};

use qbase::limits;

pub use self::endpoints::{Combination, Learned, Made, Source};
pub use self::remote::{News, RemoteStatistics};
use self::{endpoints::Endpoints, remote::Remotes};
use crate::{
    NatType,
    address::Disclosure,
    frame::{AddAddress, AddressKind, RemoveAddress},
    nat::PortAllocation,
};

/// A local socket, by the caller's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bind(pub u32);

/// An address of ours that may be announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalAddress {
    /// The socket behind it.
    pub bind: Bind,
    /// Which interface the socket is on, by the caller's number.
    pub device: u32,
    /// As the peer shall use it.
    pub address: SocketAddr,
    /// Group: only addresses of one tier are paired (traversal T-64).
    pub tier: u64,
    /// The NAT before it.
    pub nat_type: NatType,
    /// What it is.
    pub kind: AddressKind,
    /// How that NAT gives ports, if that was seen: a constant step can be predicted (traversal T-96).
    pub ports: PortAllocation,
}

/// Why an address is not announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum AnnounceError {
    /// The socket has announced it already (traversal T-71).
    #[error("announced already")]
    Duplicate,
    /// Of private scope, and the peer is not of our site (traversal T-79); or no address of a host.
    #[error("not for this peer")]
    Private,
    /// As many are announced as the peer keeps.
    #[error("as many addresses as the peer keeps are announced")]
    Full,
    /// There is no such address.
    #[error("no such address")]
    Unknown,
}

/// How private addresses are treated (traversal T-79).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Site {
    /// Whom private addresses are told.
    pub disclosure: Disclosure,
    /// Our IP as seen from outside.
    pub ours: Option<IpAddr>,
    /// The peer's.
    pub peer: Option<IpAddr>,
}

/// Both ends' addresses.
#[derive(Debug)]
pub struct AddressBook {
    /// Ours, by sequence number.
    local: BTreeMap<u64, LocalAddress>,
    /// Never given twice (traversal T-71).
    next_seq: u64,
    /// Addresses the peer keeps of ours.
    peer_keeps: usize,
    site: Site,
    remote: Remotes,
    endpoints: Endpoints,
}

impl Default for AddressBook {
    fn default() -> Self {
        Self::new(limits::TRAVERSAL_ADDRESSES)
    }
}

impl AddressBook {
    /// Nothing known; `peer_keeps`: how many of our addresses the peer said it keeps.
    #[must_use]
    pub fn new(peer_keeps: usize) -> Self {
        Self {
            local: BTreeMap::new(),
            next_seq: 0,
            peer_keeps: peer_keeps.min(limits::TRAVERSAL_ADDRESSES),
            site: Site::default(),
            remote: Remotes::default(),
            endpoints: Endpoints::default(),
        }
    }

    /// How many of our addresses the peer said it keeps.
    pub const fn set_peer_keeps(&mut self, peer_keeps: usize) {
        self.peer_keeps = if peer_keeps < limits::TRAVERSAL_ADDRESSES { peer_keeps } else { limits::TRAVERSAL_ADDRESSES };
    }

    /// How private addresses are treated from now on.
    pub const fn set_site(&mut self, site: Site) {
        self.site = site;
    }

    /// Gives an address of ours its number. The frame is to be sent.
    ///
    /// # Errors
    /// It must not be told, or nobody would keep it.
    pub fn announce(&mut self, address: LocalAddress) -> Result<AddAddress, AnnounceError> {
        if !self.site.disclosure.may_announce(address.address, self.site.ours, self.site.peer) {
            return Err(AnnounceError::Private);
        }
        if self.local.values().any(|known| known.bind == address.bind && known.address == address.address) {
            return Err(AnnounceError::Duplicate);
        }
        if self.local.len() >= self.peer_keeps {
            return Err(AnnounceError::Full);
        }
        let seq = self.next_seq;
        self.next_seq = seq.saturating_add(1);
        self.local.insert(seq, address);
        let LocalAddress { address, tier, nat_type, kind, .. } = address;
        Ok(AddAddress { seq, address, tier, nat_type, kind })
    }

    /// An address of ours is gone. The frame is to be sent, and punches from the address end.
    ///
    /// # Errors
    /// It was not announced.
    pub fn withdraw(&mut self, seq: u64) -> Result<RemoveAddress, AnnounceError> {
        self.local.remove(&seq).map(|_| RemoveAddress { seq }).ok_or(AnnounceError::Unknown)
    }

    /// The NAT before an address of ours is of another type: withdrawn and announced under a new number (traversal T-78).
    ///
    /// # Errors
    /// It was not announced.
    pub fn change_nat(&mut self, seq: u64, nat_type: NatType, ports: PortAllocation) -> Result<(RemoveAddress, AddAddress), AnnounceError> {
        let old = *self.local.get(&seq).ok_or(AnnounceError::Unknown)?;
        let removed = self.withdraw(seq)?;
        let added = self.announce(LocalAddress { nat_type, ports, ..old })?;
        Ok((removed, added))
    }

    /// An address of ours.
    #[must_use]
    pub fn local(&self, seq: u64) -> Option<&LocalAddress> {
        self.local.get(&seq)
    }

    /// Ours, the oldest first.
    pub fn locals(&self) -> impl DoubleEndedIterator<Item = (u64, &LocalAddress)> {
        self.local.iter().map(|(seq, address)| (*seq, address))
    }

    /// An address of the peer's.
    #[must_use]
    pub fn remote(&self, seq: u64) -> Option<&AddAddress> {
        self.remote.get(seq)
    }

    /// The peer's, the oldest first.
    pub fn remotes(&self) -> impl DoubleEndedIterator<Item = &AddAddress> {
        self.remote.iter()
    }

    /// What was kept and what not.
    #[must_use]
    pub const fn statistics(&self) -> RemoteStatistics {
        self.remote.statistics()
    }
}
