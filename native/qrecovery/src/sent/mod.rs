//! Packets sent in one packet-number space: which are acknowledged, which are lost, what they carried.
//!
//! Decides the fate of every sent packet (RFC 9000 §13.1, §21.4; RFC 9002 §6.1) and hands its frame records back once
//! per fate. Called by the space and path parts of `qconnection`. Never decides how much may be sent, never measures
//! an RTT: it only tells the times to measure from.

mod outcome;
mod packet;
mod ring;
mod shared;
#[cfg(test)]
mod tests;

pub use outcome::{AckOutcome, Late, LossOutcome, NewestAcked};
pub use packet::SentPacket;
pub use ring::Frames;

use crate::RangeSet;
use packet::Totals;
use qbase::{Ecn, PacketNumber, Timestamp, TransportError, limits};
use ring::{Fate, Ring};
use std::{ops::RangeInclusive, time::Duration};

/// Sent packets of one packet-number space. `F` is the caller's record of one frame.
///
/// Every packet costs amortised O(1) from sending to its fate, and nothing is allocated once the rings have grown to
/// the window. Each packet is handed out at most once as acknowledged and at most once as lost, and as lost never
/// after it was acknowledged.
#[derive(Clone, Debug)]
pub struct SentPackets<F: Copy> {
    ring: Ring<F>,
    /// Everything before this position has its fate.
    cursor: u64,
    /// Numbers from the oldest record on that an ACK has covered, so that repeated ranges cost nothing.
    acked: RangeSet,
    /// Numbers never used, lowest forgotten first.
    skipped: RangeSet,
    next_number: PacketNumber,
    largest_acked: Option<PacketNumber>,
    /// Position of `largest_acked`.
    largest_acked_position: u64,
    bytes_in_flight: u64,
    outstanding: usize,
    ack_eliciting_in_flight: u64,
    ack_only: usize,
    last_ack_eliciting_sent_at: Option<Timestamp>,
    /// Numbers below were sent over another network path: they give no RTT sample.
    first_of_network: PacketNumber,
}

impl<F: Copy> Default for SentPackets<F> {
    fn default() -> Self {
        Self::new()
    }
}

impl<F: Copy> SentPackets<F> {
    /// A space in which nothing was sent.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            ring: Ring::new(),
            cursor: 0,
            acked: RangeSet::new(),
            skipped: RangeSet::new(),
            next_number: 0,
            largest_acked: None,
            largest_acked_position: 0,
            bytes_in_flight: 0,
            outstanding: 0,
            ack_eliciting_in_flight: 0,
            ack_only: 0,
            last_ack_eliciting_sent_at: None,
            first_of_network: 0,
        }
    }

    /// Remembers a packet that was sent. Numbers rise; those left out count as skipped (attacks C2).
    ///
    /// Of packets that are not in flight only the oldest 31 and the newest without a fate are kept (attacks L13).
    pub fn push(&mut self, packet: SentPacket, frames: &[F]) {
        debug_assert!(packet.number >= self.next_number, "packet numbers rise");
        if packet.number < self.next_number {
            return;
        }
        if packet.number > self.next_number {
            self.skipped.insert(self.next_number..packet.number);
            self.skipped.trim_to(SKIPPED_RANGES);
        }
        self.next_number = packet.number.saturating_add(1);
        if packet.arms_pto() {
            self.last_ack_eliciting_sent_at = Some(packet.sent_at);
        }
        if packet.is_ack_only() && self.ack_only >= limits::ACK_ONLY_RECORDS && !self.make_room_for_ack_only() {
            return;
        }
        self.count_in(&packet);
        self.ring.push(packet, frames);
    }

    /// A packet leaves that is in no record: its fate is nobody's news, and the peer may acknowledge it.
    pub fn pass(&mut self, number: PacketNumber) {
        if number > self.next_number {
            self.skipped.insert(self.next_number..number);
            self.skipped.trim_to(SKIPPED_RANGES);
        }
        self.next_number = self.next_number.max(number.saturating_add(1));
    }

    /// Applies the ranges of one ACK frame, in any order, and hands out each newly acknowledged packet.
    ///
    /// Call [`Self::detect_lost`] next: packets before the newest acknowledged one may have become lost.
    ///
    /// # Errors
    /// PROTOCOL_VIOLATION for a number that was never sent or was skipped (attacks C1, C2; RFC 9000 §13.1). Ranges
    /// before the bad one have been applied.
    pub fn on_ack(
        &mut self,
        ranges: impl IntoIterator<Item = RangeInclusive<PacketNumber>>,
        mut on_acked: impl FnMut(&SentPacket, Frames<'_, F>),
    ) -> Result<AckOutcome, TransportError> {
        let mut outcome = AckOutcome::default();
        let mut largest = None;
        for range in ranges {
            if *range.end() >= self.next_number {
                return Err(TransportError::violation("acknowledged a packet that was never sent"));
            }
            if self.skipped.contains_any(*range.start()..range.end().saturating_add(1)) {
                return Err(TransportError::violation("acknowledged a packet number that was skipped"));
            }
            largest = largest.max(Some(*range.end()));
            self.ack_range(&range, &mut outcome, &mut on_acked);
        }
        if self.largest_acked < largest {
            self.largest_acked = largest;
            outcome.raises_largest = true;
            self.largest_acked_position = largest.map_or(0, |number| self.ring.position_of(number));
        }
        let newest = outcome.largest_newly.filter(|newest| {
            Some(newest.number) == largest && outcome.any_ack_eliciting && newest.number >= self.first_of_network
        });
        outcome.rtt_from = newest.map(|newest| newest.sent_at);
        self.forget_resolved();
        Ok(outcome)
    }

    /// Declares packets lost that are `packet_threshold` positions or `loss_delay` older than the newest acknowledged
    /// one, and hands them out in the order they were sent (RFC 9002 §6.1; burst B-104: positions of this space, so
    /// skipped numbers do not count).
    pub fn detect_lost(
        &mut self,
        now: Timestamp,
        loss_delay: Duration,
        packet_threshold: u64,
        mut on_lost: impl FnMut(&SentPacket, Frames<'_, F>),
    ) -> LossOutcome {
        let mut outcome = LossOutcome::default();
        let Some(largest_acked) = self.largest_acked else { return outcome };
        let last_lost_position = self.largest_acked_position.checked_sub(packet_threshold);
        let mut position = self.cursor;
        let mut totals = Totals::default();
        for (record, frames) in self.ring.walk(self.cursor) {
            if record.fate == Fate::Outstanding {
                let packet = &record.packet;
                let lost_at = packet.lost_at(loss_delay);
                let by_threshold = last_lost_position.is_some_and(|last| position <= last);
                if packet.number >= largest_acked {
                    break;
                }
                if !by_threshold && lost_at > now {
                    outcome.next_loss_time = Some(lost_at);
                    break;
                }
                record.fate = Fate::Lost;
                outcome.packets = outcome.packets.saturating_add(u64::from(!packet.mtu_probe));
                if packet.in_flight {
                    outcome.bytes = outcome.bytes.saturating_add(u64::from(packet.size));
                    outcome.in_flight = outcome.in_flight.saturating_add(1);
                    outcome.oldest_sent_at = outcome.oldest_sent_at.or(Some(packet.sent_at));
                    outcome.newest_sent_at = Some(packet.sent_at);
                }
                totals.add(packet);
                on_lost(packet, frames);
            }
            position = position.saturating_add(1);
        }
        self.cursor = position;
        self.take_out(&totals);
        self.forget_resolved();
        outcome
    }

    /// Hands out the oldest ack-eliciting packets without a fate, at most `most`, and leaves them outstanding: their
    /// frames can be sent again by a probe (RFC 9002 §6.2.4) or over other paths (multipath MP-83).
    pub fn for_oldest_unacked(&mut self, most: usize, mut each: impl FnMut(&SentPacket, Frames<'_, F>)) {
        let outstanding = self.ring.walk(self.cursor).filter(|(record, _)| record.fate == Fate::Outstanding);
        let eliciting = outstanding.filter(|(record, _)| record.packet.arms_pto());
        eliciting.take(most).for_each(|(record, frames)| each(&record.packet, frames));
    }

    /// The same of the newest `among` packets, oldest first.
    pub fn for_newest_unacked(&mut self, among: usize, mut each: impl FnMut(&SentPacket, Frames<'_, F>)) {
        let from = self.cursor.max(self.ring.end().saturating_sub(among as u64));
        let outstanding = self.ring.walk(from).filter(|(record, _)| record.fate == Fate::Outstanding && record.packet.arms_pto());
        outstanding.for_each(|(record, frames)| each(&record.packet, frames));
    }

    /// Hands out every packet without a fate and forgets all records: the space or its path is gone
    /// (RFC 9001 §4.9; multipath MP-43), or 0-RTT was rejected. Later ACKs of these numbers are ignored.
    pub fn drain_all(&mut self, mut each: impl FnMut(&SentPacket, Frames<'_, F>)) {
        for (record, frames) in self.ring.walk(self.cursor) {
            if record.fate == Fate::Outstanding {
                each(&record.packet, frames);
            }
        }
        self.ring.clear();
        self.cursor = self.ring.start();
        self.acked.clear();
        (self.bytes_in_flight, self.outstanding, self.ack_eliciting_in_flight, self.ack_only) = (0, 0, 0, 0);
    }

    /// Hands out the packets without a fate that `gone` chooses, and counts them neither as lost nor as in flight any more:
    /// they went another way than the one that is used (burst B-115). Later ACKs of them are ignored.
    pub fn withdraw(&mut self, mut gone: impl FnMut(PacketNumber) -> bool, mut each: impl FnMut(&SentPacket, Frames<'_, F>)) {
        let mut totals = Totals::default();
        for (record, frames) in self.ring.walk(self.cursor) {
            if record.fate == Fate::Outstanding && gone(record.packet.number) {
                record.fate = Fate::Acked;
                totals.add(&record.packet);
                each(&record.packet, frames);
            }
        }
        self.take_out(&totals);
        self.forget_resolved();
    }

    /// The way that is used got copies of the packets without a fate, the first of them `at` this instant: what was sent
    /// before counts from then, for round trips as for losses (multipath MP-88).
    pub fn on_copies_answered(&mut self, at: Timestamp) {
        for (record, _) in self.ring.walk(self.cursor).filter(|(record, _)| record.fate == Fate::Outstanding) {
            record.packet.sent_at = record.packet.sent_at.max(at);
        }
    }

    /// The path moved to another network path: packets sent so far stay recoverable, but they are not in flight, give no
    /// RTT sample and tell nothing about marks any more (RFC 9000 §9.4, §13.4.2; multipath MP-27).
    pub fn on_network_change(&mut self) {
        for (record, _) in self.ring.walk(self.cursor).filter(|(record, _)| record.fate == Fate::Outstanding) {
            let before = usize::from(record.packet.is_ack_only());
            record.packet.in_flight = false;
            record.packet.ecn = Ecn::NotEct;
            let after = usize::from(record.packet.is_ack_only());
            self.ack_only = self.ack_only.saturating_sub(before).saturating_add(after);
        }
        self.bytes_in_flight = 0;
        self.first_of_network = self.next_number;
    }

    /// Gives unused memory back; for a connection that fell idle.
    pub fn shrink(&mut self) {
        self.ring.shrink();
    }

    /// Bytes of packets in flight without a fate.
    #[must_use]
    pub const fn bytes_in_flight(&self) -> u64 {
        self.bytes_in_flight
    }

    /// Ack-eliciting packets without a fate; the PTO timer runs while there are any (RFC 9002 §6.2.1).
    #[must_use]
    pub const fn ack_eliciting_in_flight(&self) -> u64 {
        self.ack_eliciting_in_flight
    }

    /// When the last ack-eliciting packet was sent.
    #[must_use]
    pub const fn last_ack_eliciting_sent_at(&self) -> Option<Timestamp> {
        self.last_ack_eliciting_sent_at
    }

    /// Largest number the peer has acknowledged.
    #[must_use]
    pub const fn largest_acked(&self) -> Option<PacketNumber> {
        self.largest_acked
    }

    /// The lowest number that may be pushed next.
    #[must_use]
    pub const fn next_number(&self) -> PacketNumber {
        self.next_number
    }

    /// Records held, for the gauge of attacks L13.
    #[must_use]
    pub fn records(&self) -> usize {
        self.ring.len()
    }

    /// Bytes of memory held.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.ring.memory().saturating_add(self.acked.memory()).saturating_add(self.skipped.memory())
    }

    /// Applies one valid range.
    fn ack_range(
        &mut self,
        range: &RangeInclusive<PacketNumber>,
        outcome: &mut AckOutcome,
        on_acked: &mut impl FnMut(&SentPacket, Frames<'_, F>),
    ) {
        let Some(oldest) = self.ring.front() else { return };
        let range = (*range.start()).max(oldest.packet.number)..range.end().saturating_add(1);
        if self.acked.contains_all(range.clone()) {
            return;
        }
        let largest_acked = self.largest_acked_position;
        let mut totals = Totals::default();
        for part in self.acked.missing(range.clone()) {
            let from = self.ring.position_of(part.start);
            for (position, (record, frames)) in (from..).zip(self.ring.walk(from)) {
                if record.packet.number >= part.end {
                    break;
                }
                match record.fate {
                    Fate::Outstanding => {
                        totals.add(&record.packet);
                        outcome.bytes_acked = outcome.bytes_acked.saturating_add(record.packet.in_flight_bytes());
                    }
                    Fate::Lost => outcome.add_late(&record.packet, largest_acked.saturating_sub(position)),
                    Fate::Acked => continue,
                }
                record.fate = Fate::Acked;
                outcome.add(&record.packet);
                on_acked(&record.packet, frames);
            }
        }
        self.acked.insert(range);
        self.take_out(&totals);
    }

    /// Moves the cursor over packets with a fate, and drops records from the front that can tell nothing more.
    ///
    /// A lost packet stays while the ring is at most twice as long as its outstanding part (attacks L13): its late
    /// acknowledgement shows that the loss was spurious.
    fn forget_resolved(&mut self) {
        while self.ring.get(self.cursor).is_some_and(|record| record.fate != Fate::Outstanding) {
            self.cursor = self.cursor.saturating_add(1);
        }
        let most = self.outstanding.max(LINGERING_RECORDS).saturating_mul(2);
        let from = self.ring.start();
        while let Some(oldest) = self.ring.front().filter(|_| self.ring.start() < self.cursor) {
            if oldest.fate == Fate::Lost && self.ring.len() <= most {
                break;
            }
            self.ring.pop_front();
        }
        match self.ring.front() {
            None => self.acked.clear(),
            Some(oldest) if from < self.ring.start() => self.acked.remove_below(oldest.packet.number),
            Some(_) => {}
        }
    }

    /// Drops one record of an ACK-only packet, from an end of the ring; `false` if neither end has one.
    fn make_room_for_ack_only(&mut self) -> bool {
        let disposable = |record: &&ring::Record| record.fate == Fate::Outstanding && record.packet.is_ack_only();
        let dropped = if self.ring.front().is_some_and(|record| disposable(&record)) {
            self.ring.pop_front()
        } else if self.ring.back().is_some_and(|record| disposable(&record)) {
            self.ring.pop_back()
        } else {
            None
        };
        let Some(record) = dropped else { return false };
        let mut totals = Totals::default();
        totals.add(&record.packet);
        self.take_out(&totals);
        self.cursor = self.cursor.clamp(self.ring.start(), self.ring.end());
        true
    }

    fn count_in(&mut self, packet: &SentPacket) {
        self.outstanding = self.outstanding.saturating_add(1);
        self.bytes_in_flight = self.bytes_in_flight.saturating_add(packet.in_flight_bytes());
        self.ack_eliciting_in_flight = self.ack_eliciting_in_flight.saturating_add(u64::from(packet.arms_pto()));
        self.ack_only = self.ack_only.saturating_add(usize::from(packet.is_ack_only()));
    }

    fn take_out(&mut self, totals: &Totals) {
        self.outstanding = self.outstanding.saturating_sub(totals.packets);
        self.bytes_in_flight = self.bytes_in_flight.saturating_sub(totals.bytes);
        self.ack_eliciting_in_flight = self.ack_eliciting_in_flight.saturating_sub(totals.ack_eliciting);
        self.ack_only = self.ack_only.saturating_sub(totals.ack_only);
    }
}

/// Gaps in the packet numbers that are remembered after their neighbours' records are gone.
const SKIPPED_RANGES: usize = 64;

/// Twice this many records may stay behind a lost packet even when fewer are outstanding.
const LINGERING_RECORDS: usize = 64;
