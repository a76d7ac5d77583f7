//! Packets received in one packet-number space: which are new, and what an ACK frame should say about them.
//!
//! Decides whether a packet is processed at all (RFC 9000 §12.3) and which numbers are worth reporting (§13.2.3,
//! §13.2.4). Called once per decrypted packet and by the ACK source of a burst. Never decides when an ACK is due.

mod shared;
#[cfg(test)]
mod tests;

use crate::RangeSet;
use qbase::{Ecn, PacketNumber, Timestamp, frame::EcnCounts};
use std::ops::{Range, RangeInclusive};

/// How a packet's number stands to those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// New, and the number after the largest (or the first of the space).
    Next,
    /// New, and numbers between it and the largest are missing.
    Gap,
    /// New, and below the largest: it came late.
    Late,
    /// Seen before, or too old to tell. It must not be processed.
    Duplicate,
}

impl Receipt {
    /// The packet must not be processed.
    #[must_use]
    pub const fn is_duplicate(self) -> bool {
        matches!(self, Self::Duplicate)
    }
}

/// The packet with the largest number received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Largest {
    /// Its number.
    pub number: PacketNumber,
    /// When it arrived: ACK Delay counts from here (RFC 9000 §13.2.5).
    pub received_at: Timestamp,
}

/// Received packets of one packet-number space.
///
/// Two sets of at most `limit` ranges each (attacks L5): what was seen, which grows a hole with every packet the peer
/// lost, and what is still worth reporting, which shrinks when the peer has seen an ACK. A packet below the oldest
/// range kept counts as seen, so none is ever processed twice.
#[derive(Clone, Debug)]
pub struct ReceivedPackets {
    seen: RangeSet,
    /// Numbers below count as seen.
    floor: PacketNumber,
    to_report: RangeSet,
    limit: usize,
    largest: Option<Largest>,
    ecn: EcnCounts,
}

impl ReceivedPackets {
    /// A space that keeps this many ranges: [`ACK_RANGES`](qbase::limits::ACK_RANGES) for application data,
    /// [`ACK_RANGES_HANDSHAKE`](qbase::limits::ACK_RANGES_HANDSHAKE) for the others.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self {
            seen: RangeSet::new(),
            floor: 0,
            to_report: RangeSet::new(),
            limit,
            largest: None,
            ecn: EcnCounts { ect0: 0, ect1: 0, ce: 0 },
        }
    }

    /// A packet was decrypted; call before its frames are processed. Counts its ECN mark unless it is a duplicate
    /// (RFC 9000 §13.4.1).
    pub fn on_packet(&mut self, number: PacketNumber, now: Timestamp, ecn: Ecn) -> Receipt {
        if number < self.floor || !self.seen.insert_one(number) {
            return Receipt::Duplicate;
        }
        if let Some(floor) = self.seen.trim_to(self.limit) {
            self.floor = floor;
        }
        self.to_report.insert_one(number);
        self.to_report.trim_to(self.limit);
        let counter = match ecn {
            Ecn::NotEct => None,
            Ecn::Ect0 => Some(&mut self.ecn.ect0),
            Ecn::Ect1 => Some(&mut self.ecn.ect1),
            Ecn::Ce => Some(&mut self.ecn.ce),
        };
        if let Some(counter) = counter {
            *counter = counter.saturating_add(1);
        }
        let before = self.largest.map(|largest| largest.number);
        if before.is_some_and(|before| number < before) {
            return Receipt::Late;
        }
        self.largest = Some(Largest { number, received_at: now });
        match before {
            Some(before) if number > before.saturating_add(1) => Receipt::Gap,
            _ => Receipt::Next,
        }
    }

    /// The number was seen, or is too old to tell.
    #[must_use]
    pub fn is_duplicate(&self, number: PacketNumber) -> bool {
        number < self.floor || self.seen.contains(number)
    }

    /// The lowest number of `range` that did not come; those too old to tell count as come.
    #[must_use]
    pub fn first_missing(&self, range: Range<PacketNumber>) -> Option<PacketNumber> {
        let from = range.start.max(self.floor);
        if from >= range.end {
            return None;
        }
        self.seen.missing(from..range.end).next().map(|part| part.start)
    }

    /// The peer has seen an ACK frame of ours whose largest number was `largest`: what lies at or below it needs no
    /// report any more (RFC 9000 §13.2.4). The largest number received always stays (§13.2.3).
    pub fn on_ack_of_ack(&mut self, largest: PacketNumber) {
        let newest = self.largest.map_or(0, |newest| newest.number);
        self.to_report.remove_below(largest.saturating_add(1).min(newest));
    }

    /// What an ACK frame should report, highest range first. Empty only if nothing was received.
    pub fn ranges(&self) -> impl ExactSizeIterator<Item = RangeInclusive<PacketNumber>> + Clone + '_ {
        self.to_report.iter().rev().map(|range| range.start..=range.end.saturating_sub(1))
    }

    /// The packet with the largest number; its number is the base of truncated ones (RFC 9000 §17.1).
    #[must_use]
    pub const fn largest(&self) -> Option<Largest> {
        self.largest
    }

    /// Packets received with each ECN mark since the start.
    #[must_use]
    pub const fn ecn(&self) -> EcnCounts {
        self.ecn
    }

    /// Ranges held at most, in either set; the gauge of attacks L5.
    #[must_use]
    pub fn held_ranges(&self) -> usize {
        self.seen.len().max(self.to_report.len())
    }
}
