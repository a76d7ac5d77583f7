//! What the peer announced: kept within bounds, and held to its word (traversal T-67, T-71, T-76; attacks G2, G4, L21).
//!
//! Called by the address book for each ADD_ADDRESS and REMOVE_ADDRESS. Never pairs.

use std::collections::{BTreeMap, VecDeque};

use qbase::{ErrorCode, Timestamp, TransportError, limits};

use super::AddressBook;
use crate::{
    address::ProbePolicy,
    frame::{AddAddress, AddressKind, RemoveAddress},
};

/// What an ADD_ADDRESS came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// It is new and kept: pair it.
    Kept,
    /// It was said before, or is removed already.
    Known,
    /// Beyond the bounds of L21, or no address we would ever send to.
    Ignored,
}

/// Counters of announcements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RemoteStatistics {
    /// Kept.
    pub kept: u64,
    /// Beyond L21.
    pub beyond: u64,
    /// Refused by the probe policy (attacks G2).
    pub refused: u64,
}

/// The peer's addresses.
#[derive(Debug, Default)]
pub(super) struct Remotes {
    live: BTreeMap<u64, AddAddress>,
    /// Removed ones: a late copy of their announcement must not bring them back. `None`: removed before it was announced.
    gone: BTreeMap<u64, Option<AddAddress>>,
    /// All below that are not live are gone.
    floor: u64,
    /// When new ones were taken, within the window.
    taken: VecDeque<Timestamp>,
    statistics: RemoteStatistics,
}

impl Remotes {
    pub(super) fn get(&self, seq: u64) -> Option<&AddAddress> {
        self.live.get(&seq)
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &AddAddress> {
        self.live.values()
    }

    pub(super) const fn statistics(&self) -> RemoteStatistics {
        self.statistics
    }

    pub(super) fn is_gone(&self, seq: u64) -> bool {
        !self.live.contains_key(&seq) && (seq < self.floor || self.gone.contains_key(&seq))
    }

    fn on_add(&mut self, frame: &AddAddress, policy: &ProbePolicy, now: Timestamp) -> Result<News, TransportError> {
        if let Some(known) = self.live.get(&frame.seq).or_else(|| self.gone.get(&frame.seq)?.as_ref()) {
            return if known == frame { Ok(News::Known) } else { Err(reused()) };
        }
        if self.is_gone(frame.seq) {
            if let Some(gone) = self.gone.get_mut(&frame.seq) {
                *gone = Some(*frame);
            }
            return Ok(News::Known);
        }
        let is_direct = !matches!(frame.kind, AddressKind::Relayed { .. });
        if is_direct && policy.admits(frame.address).is_err() {
            self.statistics.refused = self.statistics.refused.saturating_add(1);
            return Ok(News::Ignored);
        }
        while self.taken.front().is_some_and(|taken| now.saturating_since(*taken) >= limits::TRAVERSAL_WINDOW) {
            self.taken.pop_front();
        }
        if self.live.len() >= limits::TRAVERSAL_ADDRESSES || self.taken.len() >= limits::TRAVERSAL_NEW_ADDRESSES {
            self.statistics.beyond = self.statistics.beyond.saturating_add(1);
            return Ok(News::Ignored);
        }
        self.taken.push_back(now);
        self.live.insert(frame.seq, *frame);
        self.statistics.kept = self.statistics.kept.saturating_add(1);
        Ok(News::Kept)
    }

    fn on_remove(&mut self, seq: u64) -> Option<AddAddress> {
        let removed = self.live.remove(&seq);
        if seq >= self.floor && !self.gone.contains_key(&seq) {
            self.gone.insert(seq, removed);
        }
        if self.gone.len() > limits::TRAVERSAL_GONE
            && let Some((oldest, _)) = self.gone.pop_first()
        {
            self.floor = self.floor.max(oldest.saturating_add(1));
        }
        removed
    }
}

/// attacks G4.
fn reused() -> TransportError {
    TransportError::new(ErrorCode::PROTOCOL_VIOLATION, "address sequence number reused with other content")
}

impl AddressBook {
    /// The peer announced an address.
    ///
    /// # Errors
    /// PROTOCOL_VIOLATION: the number was used for other content (attacks G4).
    pub fn on_add_address(&mut self, frame: &AddAddress, policy: &ProbePolicy, now: Timestamp) -> Result<News, TransportError> {
        self.remote.on_add(frame, policy, now)
    }

    /// The peer withdrew an address: what it was, if it was kept. Punches to it end, and what is known of them is forgotten
    /// (traversal T-76).
    pub fn on_remove_address(&mut self, frame: RemoveAddress) -> Option<AddAddress> {
        self.remote.on_remove(frame.seq)
    }

    /// The peer withdrew this number.
    #[must_use]
    pub fn is_gone(&self, remote_seq: u64) -> bool {
        self.remote.is_gone(remote_seq)
    }
}
