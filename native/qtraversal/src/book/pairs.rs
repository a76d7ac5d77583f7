//! Which of our addresses a punch starts from (traversal T-64, T-75, T-77).
//!
//! Called when either end has a new address. Never starts anything.

use super::{AddressBook, LocalAddress};
use crate::{
    NatType,
    frame::{AddAddress, AddressKind, PunchId},
};

/// The order of T-75: what reaches most comes first; `None`: nothing is punched from it.
const fn rank(nat_type: NatType) -> Option<u8> {
    Some(match nat_type {
        NatType::FullCone => 0,
        NatType::RestrictedCone => 1,
        NatType::RestrictedPort => 2,
        NatType::Dynamic => 3,
        NatType::Symmetric => 4,
        NatType::Blocked => return None,
    })
}

/// One tier and family, two different addresses, no relay on either side.
fn fits(local: &LocalAddress, remote: &AddAddress) -> bool {
    let is_relayed = |kind| matches!(kind, AddressKind::Relayed { .. });
    local.tier == remote.tier
        && local.address.is_ipv4() == remote.address.is_ipv4()
        && local.address != remote.address
        && rank(local.nat_type).is_some()
        && rank(remote.nat_type).is_some()
        && !is_relayed(local.kind)
        && !is_relayed(remote.kind)
}

impl AddressBook {
    /// The punch for an address of the peer's, from the best of ours; the newest among equals (traversal T-75).
    #[must_use]
    pub fn pair_for_remote(&self, remote_seq: u64) -> Option<PunchId> {
        let remote = self.remote(remote_seq)?;
        let fitting = self.locals().rev().filter(|(_, local)| fits(local, remote));
        // Of equal ones the first is kept: the newest.
        let (local_seq, _) = fitting.min_by_key(|(_, local)| rank(local.nat_type))?;
        Some(PunchId { local_seq, remote_seq })
    }

    /// The punches for a new address of ours: with each of the peer's addresses that it fits (traversal T-77).
    pub fn pairs_for_local(&self, local_seq: u64) -> impl Iterator<Item = PunchId> {
        let local = self.local(local_seq);
        self.remotes()
            .filter(move |remote| local.is_some_and(|local| fits(local, remote)))
            .map(move |remote| PunchId { local_seq, remote_seq: remote.seq })
    }
}
