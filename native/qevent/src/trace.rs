//! The sink of one connection: what is subscribed, and the records that wait to be read.
//!
//! Written by `qconnection`, which asks [`Trace::enabled`] before it gathers anything; read by polling. At most
//! [`LIMIT`] records wait, then the oldest go and are counted. Never blocks, never grows while nobody subscribed.

use std::{collections::VecDeque, ops::BitOr};

use qbase::Timestamp;

use crate::{Event, Record};

/// Records that wait at most.
pub const LIMIT: usize = 1_024;

/// A set of subscriptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct TraceMask(u8);

impl TraceMask {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// Bursts and why there was none.
    pub const BURSTS: Self = Self(1 << 0);
    /// ACKs of the peer.
    pub const ACKS: Self = Self(1 << 1);
    /// States and metrics of paths.
    pub const PATHS: Self = Self(1 << 2);
    /// Dropped packets.
    pub const DROPS: Self = Self(1 << 3);
    /// Key updates.
    pub const KEYS: Self = Self(1 << 4);
    /// Everything.
    pub const ALL: Self = Self(0b1_1111);

    /// The set with these bits; bits without a name are left out.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits & Self::ALL.0)
    }

    /// The set as bits.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// What is in one set or the other.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Something is in both sets.
    #[must_use]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl BitOr for TraceMask {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        self.union(other)
    }
}

/// The telemetry sink of one connection.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    mask: TraceMask,
    /// Oldest first, at most [`LIMIT`].
    records: VecDeque<Record>,
    dropped: u64,
}

impl Trace {
    /// A sink that nobody reads.
    #[must_use]
    pub const fn new() -> Self {
        Self { mask: TraceMask::NONE, records: VecDeque::new(), dropped: 0 }
    }

    /// Chooses what is recorded from here on. Waiting records of other subscriptions go.
    pub fn set_mask(&mut self, mask: TraceMask) {
        self.mask = mask;
        if mask == TraceMask::NONE {
            self.records = VecDeque::new();
        } else {
            self.records.retain(|record| mask.intersects(record.event.mask()));
        }
    }

    /// What is recorded.
    #[must_use]
    pub const fn mask(&self) -> TraceMask {
        self.mask
    }

    /// Whether anything of `mask` is recorded. Ask before gathering what an event carries.
    #[inline]
    #[must_use]
    pub const fn enabled(&self, mask: TraceMask) -> bool {
        self.mask.intersects(mask)
    }

    /// Records an event, if its kind is subscribed. When full the oldest record goes and is counted.
    pub fn push(&mut self, at: Timestamp, event: Event) {
        if !self.enabled(event.mask()) {
            return;
        }
        if self.records.len() >= LIMIT {
            self.records.pop_front();
            self.dropped = self.dropped.saturating_add(1);
        }
        self.records.push_back(Record { at, event });
    }

    /// Records the event that `gather` makes, if `mask` is subscribed; else `gather` is not called.
    #[inline]
    pub fn push_with(&mut self, mask: TraceMask, at: Timestamp, gather: impl FnOnce() -> Event) {
        if self.enabled(mask) {
            self.push(at, gather());
        }
    }

    /// Takes the oldest record.
    pub fn poll(&mut self) -> Option<Record> {
        self.records.pop_front()
    }

    /// Records that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// No record waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Records that went unread since the start.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use qbase::PathId;

    use super::*;
    use crate::{BlockedRecord, DropReason, Initiator, KeyUpdateRecord, PathRecord, PathStage, Signals};

    fn dropped(bytes: u32) -> Event {
        Event::PacketDropped { reason: DropReason::Duplicate, bytes }
    }

    fn blocked() -> Event {
        Event::BurstBlocked(BlockedRecord { path: Some(PathId::ZERO), signals: Signals::WRITTEN, wake_at: None, timer: None })
    }

    const fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn nothing_is_recorded_without_a_subscription() {
        let mut trace = Trace::new();
        trace.push(at(1), dropped(1));
        trace.push_with(TraceMask::ALL, at(2), || panic!("nobody reads this"));
        assert!(!trace.enabled(TraceMask::ALL));
        assert_eq!((trace.poll(), trace.dropped()), (None, 0));
    }

    #[test]
    fn records_come_out_in_order_with_their_times() {
        let mut trace = Trace::new();
        trace.set_mask(TraceMask::BURSTS | TraceMask::DROPS);
        trace.push(at(1), dropped(1));
        trace.push_with(TraceMask::BURSTS, at(2), blocked);
        assert_eq!(trace.poll(), Some(Record { at: at(1), event: dropped(1) }));
        assert_eq!(trace.poll(), Some(Record { at: at(2), event: blocked() }));
        assert_eq!(trace.poll(), None);
    }

    #[test]
    fn only_subscribed_kinds_are_recorded() {
        let mut trace = Trace::new();
        trace.set_mask(TraceMask::DROPS);
        trace.push(at(1), blocked());
        trace.push(at(2), dropped(1));
        assert_eq!(trace.len(), 1);
        assert!(trace.enabled(TraceMask::DROPS) && trace.enabled(TraceMask::ALL) && !trace.enabled(TraceMask::BURSTS));
    }

    #[test]
    fn oldest_records_go_first_and_are_counted() {
        let mut trace = Trace::new();
        trace.set_mask(TraceMask::ALL);
        for bytes in 0..LIMIT as u32 + 10 {
            trace.push(at(1), dropped(bytes));
        }
        assert_eq!((trace.len(), trace.dropped()), (LIMIT, 10));
        assert_eq!(trace.poll().map(|record| record.event), Some(dropped(10)));
    }

    #[test]
    fn ended_subscription_takes_its_records_along() {
        let mut trace = Trace::new();
        trace.set_mask(TraceMask::ALL);
        trace.push(at(1), dropped(1));
        trace.push(at(2), blocked());
        trace.set_mask(TraceMask::BURSTS);
        assert_eq!(trace.len(), 1);
        trace.set_mask(TraceMask::NONE);
        assert!(trace.is_empty());
        assert_eq!(trace.dropped(), 0);
    }

    #[test]
    fn every_subscription_has_its_own_bit() {
        let bits = [TraceMask::BURSTS, TraceMask::ACKS, TraceMask::PATHS, TraceMask::DROPS, TraceMask::KEYS];
        assert_eq!(bits.iter().map(|mask| mask.bits().count_ones()).sum::<u32>(), 5);
        assert_eq!(bits.into_iter().fold(TraceMask::NONE, TraceMask::union), TraceMask::ALL);
        assert_eq!(TraceMask::from_bits(u8::MAX), TraceMask::ALL);
    }

    #[test]
    fn events_belong_to_one_subscription_each() {
        let path = PathRecord { path: PathId::ZERO, stage: PathStage::Opening, by: Initiator::Local, reason: "test" };
        let events = [
            (dropped(1), TraceMask::DROPS),
            (blocked(), TraceMask::BURSTS),
            (Event::PathState(path), TraceMask::PATHS),
            (Event::KeyUpdate(KeyUpdateRecord { by: Initiator::Peer, generation: 1 }), TraceMask::KEYS),
        ];
        for (event, mask) in events {
            assert_eq!(event.mask(), mask, "{}", event.name());
        }
    }

    #[test]
    fn full_sink_stays_small() {
        assert!(size_of::<Record>() <= 56, "{}", size_of::<Record>());
        assert!(size_of::<Trace>() <= 56, "{}", size_of::<Trace>());
    }
}
