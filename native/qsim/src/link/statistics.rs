//! Counters of one direction of a link. Every datagram ends in exactly one of them.
//!
//! `offered + duplicated = delivered + dropped() + waiting + in_flight` at every instant.

use crate::trace::Fate;

/// What became of the datagrams of one direction so far. All numbers are datagrams unless they say bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct LinkStatistics {
    /// Handed to the link.
    pub offered: u64,
    /// UDP payload handed to the link, bytes.
    pub offered_bytes: u64,
    /// Arrived, copies included.
    pub delivered: u64,
    /// UDP payload that arrived, bytes.
    pub delivered_bytes: u64,
    /// Dropped by the loss model.
    pub lost: u64,
    /// Dropped because the queue was full.
    pub queue_full: u64,
    /// Dropped because the link was cut.
    pub cut: u64,
    /// Dropped because they were too long.
    pub too_long: u64,
    /// Copies made.
    pub duplicated: u64,
    /// Sent on with changed bytes.
    pub corrupted: u64,
    /// Sent on without their tail.
    pub truncated: u64,
    /// Held back so that later ones overtake.
    pub reordered: u64,
    /// Marked CE.
    pub marked: u64,
    /// In the queue.
    pub waiting: u64,
    /// On the wire.
    pub in_flight: u64,
}

impl LinkStatistics {
    /// Datagrams that will never arrive.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.lost.saturating_add(self.queue_full).saturating_add(self.cut).saturating_add(self.too_long)
    }

    /// Counts one datagram with this end; a delivered one is on the wire from then on.
    pub(crate) const fn count(&mut self, fate: Fate) {
        let counter = match fate {
            Fate::Delivered => &mut self.in_flight,
            Fate::Loss => &mut self.lost,
            Fate::Queue => &mut self.queue_full,
            Fate::Cut => &mut self.cut,
            Fate::Mtu => &mut self.too_long,
            // The link has delivered it.
            Fate::Nat => return,
        };
        *counter = counter.saturating_add(1);
    }
}
