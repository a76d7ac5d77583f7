//! The fingerprint of a run: SHA-256 over what became of every datagram, and the last of those facts for people.
//!
//! Two runs with equal fingerprints sent the same bytes at the same instants and lost the same ones. Called by the
//! network for each datagram whose fate is known. Decides nothing.

use std::{collections::VecDeque, fmt};

use qbase::{Ecn, Timestamp};
use sha2::{Digest, Sha256};

use crate::{link::LinkDirection, network::LinkId};

/// What became of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// On the wire; it will arrive.
    Delivered,
    /// Dropped by the loss model.
    Loss,
    /// Dropped because the queue was full.
    Queue,
    /// Dropped because the link is cut.
    Cut,
    /// Dropped because it is longer than the link carries.
    Mtu,
    /// It has arrived at an address translator that lets it not pass.
    Nat,
}

impl Fate {
    /// The name people and the TypeScript face use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Loss => "loss",
            Self::Queue => "queue",
            Self::Cut => "cut",
            Self::Mtu => "mtu",
            Self::Nat => "nat",
        }
    }
}

/// One datagram on one link: when, where, how long, and what became of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TraceEvent {
    /// When the fate was known: at the entrance for drops there, when it left the queue otherwise.
    pub at: Timestamp,
    /// The link.
    pub link: LinkId,
    /// Which way the datagram went.
    pub direction: LinkDirection,
    /// UDP payload, bytes.
    pub len: usize,
    /// What became of it.
    pub fate: Fate,
    /// When it arrives; `None` unless [`Fate::Delivered`].
    pub arrives_at: Option<Timestamp>,
}

impl fmt::Debug for TraceEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, link, direction, len, fate, .. } = self;
        write!(f, "{at:?} link {} {} {len} bytes {}", link.0, direction.name(), fate.name())?;
        self.arrives_at.map_or(Ok(()), |arrival| write!(f, ", arrives {arrival:?}"))
    }
}

/// The running hash over all datagrams so far, and the last few events.
#[derive(Clone, Debug)]
pub struct Trace {
    hash: Sha256,
    events: u64,
    last: VecDeque<TraceEvent>,
}

impl Trace {
    /// Events kept for failure messages.
    pub const KEPT: usize = 32;

    /// A trace of nothing.
    #[must_use]
    pub fn new() -> Self {
        Self { hash: Sha256::new(), events: 0, last: VecDeque::with_capacity(Self::KEPT) }
    }

    /// Adds one datagram: the event, its ECN mark and its bytes as they arrive.
    pub fn record(&mut self, event: TraceEvent, ecn: Ecn, bytes: &[u8]) {
        let mut head = [0; 28];
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let fields = [
            &event.at.as_nanos().to_be_bytes()[..],
            &event.arrives_at.map_or(0, Timestamp::as_nanos).to_be_bytes()[..],
            &event.link.0.to_be_bytes()[..],
            &len.to_be_bytes()[..],
            &[event.direction as u8, event.fate as u8, ecn as u8][..],
        ];
        for (to, from) in head.iter_mut().zip(fields.into_iter().flatten()) {
            *to = *from;
        }
        self.hash.update(head);
        self.hash.update(bytes);
        self.events = self.events.saturating_add(1);
        if self.last.len() == Self::KEPT {
            self.last.pop_front();
        }
        self.last.push_back(event);
    }

    /// SHA-256 over everything so far.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        self.hash.clone().finalize().into()
    }

    /// [`Self::hash`] in lower-case hexadecimal.
    #[must_use]
    pub fn hex(&self) -> String {
        self.hash().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Datagrams recorded so far.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.events
    }

    /// Nothing was recorded.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.events == 0
    }

    /// The last [`Self::KEPT`] events, oldest first.
    pub fn last(&self) -> impl Iterator<Item = &TraceEvent> {
        self.last.iter()
    }
}

impl Default for Trace {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(at: u64) -> TraceEvent {
        TraceEvent {
            at: Timestamp::from_nanos(at),
            link: LinkId(1),
            direction: LinkDirection::AToB,
            len: 2,
            fate: Fate::Delivered,
            arrives_at: Some(Timestamp::from_nanos(at + 5)),
        }
    }

    fn hash_of(event: TraceEvent, ecn: Ecn, bytes: &[u8]) -> [u8; 32] {
        let mut trace = Trace::new();
        trace.record(event, ecn, bytes);
        trace.hash()
    }

    #[test]
    fn every_field_changes_the_hash() {
        let plain = hash_of(event(1), Ecn::NotEct, &[1, 2]);
        assert_eq!(plain, hash_of(event(1), Ecn::NotEct, &[1, 2]));
        let others = [
            hash_of(event(2), Ecn::NotEct, &[1, 2]),
            hash_of(TraceEvent { arrives_at: None, ..event(1) }, Ecn::NotEct, &[1, 2]),
            hash_of(TraceEvent { link: LinkId(2), ..event(1) }, Ecn::NotEct, &[1, 2]),
            hash_of(TraceEvent { direction: LinkDirection::BToA, ..event(1) }, Ecn::NotEct, &[1, 2]),
            hash_of(TraceEvent { fate: Fate::Loss, ..event(1) }, Ecn::NotEct, &[1, 2]),
            hash_of(event(1), Ecn::Ce, &[1, 2]),
            hash_of(event(1), Ecn::NotEct, &[1, 3]),
            hash_of(event(1), Ecn::NotEct, &[1]),
        ];
        assert!(others.iter().all(|other| *other != plain));
    }

    #[test]
    fn only_the_last_events_are_kept() {
        let mut trace = Trace::new();
        for at in 0..100 {
            trace.record(event(at), Ecn::NotEct, &[]);
        }
        assert_eq!(trace.len(), 100);
        assert_eq!(trace.last().count(), Trace::KEPT);
        assert_eq!(trace.last().last().map(|event| event.at.as_nanos()), Some(99));
    }
}
