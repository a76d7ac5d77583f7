//! Shared-space mode: one application packet-number space over all paths (multipath section O; burst B-87, B-102, B-104).
//!
//! Called by the parts that number, protect, book and acknowledge application packets; where each path has a space of its own
//! they go their usual way. Paths, their ids and their frames are those of the IETF extension.

use super::{Connection, input::Opened};
use crate::{
    burst::{SentFrame, sources::Frames},
    path::{PathMode, Network},
    space::OneSpace,
};
use qbase::{
    EncryptionLevel, PacketNumber, PathId, SpaceId, Timestamp, TransportError,
    frame::ack::{self, Ack},
    limits,
    packet::number,
};
use qcongestion::{Arrived, Order, ack_policy::AckEliciting};
use qrecovery::received::{Receipt, ReceivedPackets};
use std::time::Duration;

/// Bytes of a packet number at least: while one packet is on its way over a slow path, hundreds may be sent over others.
const LEAST_NUMBER_LEN: usize = 2;

impl Connection {
    /// Both ends offered it: what path 0 sent and received becomes the space of all paths.
    pub(super) fn begin_one_space(&mut self) {
        if let Some(network) = self.network_mut(PathId::ZERO) {
            let one = OneSpace::begin(&mut network.space);
            self.one_space = Some(Box::new(one));
            self.path_mode = PathMode::SharedSpace;
        }
    }

    /// The path id in nonces and in what is known of key phases: one space has one row of nonces, that of RFC 9001.
    #[inline]
    pub(crate) const fn key_path(&self, path: PathId) -> PathId {
        if self.one_space.is_some() { PathId::ZERO } else { path }
    }

    /// Takes the next number for a packet on `path`, and says how many bytes it is sent with (RFC 9000 §17.1; burst B-87).
    pub(crate) fn take_number(&mut self, level: EncryptionLevel, path: PathId, skip_distance: u64) -> Option<(PacketNumber, usize)> {
        if is_application(level)
            && let Some(one) = &mut self.one_space
        {
            // Against what the path itself delivered: the peer reads it against what came over the path.
            let acked = self.paths.get(path)?.network.as_deref()?.space.sent.largest_acked();
            let number = one.take_number(skip_distance)?;
            return Some((number, number::encoded_len(number, acked).max(LEAST_NUMBER_LEN)));
        }
        let space = self.space_mut(level, path)?;
        let number = space.numbers.take(skip_distance)?;
        Some((number, number::encoded_len(number, space.sent.largest_acked())))
    }

    /// Gives back the number taken last, if its packet stayed empty (burst B-23).
    pub(crate) fn give_number_back(&mut self, level: EncryptionLevel, path: PathId, number: PacketNumber) {
        if is_application(level)
            && let Some(one) = &mut self.one_space
        {
            one.numbers.give_back(number);
        } else if let Some(space) = self.space_mut(level, path) {
            space.numbers.give_back(number);
        }
    }

    /// A packet was written and never left.
    pub(super) fn note_unsent(&mut self, space: SpaceId, number: PacketNumber) {
        if let (SpaceId::Application(_), Some(one)) = (space, &mut self.one_space) {
            one.on_unsent(number);
        }
    }

    /// The application packets of `path` have no numbers left.
    pub(super) fn is_out_of_numbers(&self, path: PathId) -> bool {
        match &self.one_space {
            Some(one) => one.numbers.is_used_up(),
            None => self.network(path).is_some_and(|network| network.space.numbers.is_used_up()),
        }
    }

    /// The lowest number that no application packet of path 0 has.
    pub(super) fn first_unused(&self) -> PacketNumber {
        let own = || self.network(PathId::ZERO).map_or(0, |network| network.space.numbers.unused());
        self.one_space.as_ref().map_or_else(own, |one| one.numbers.unused())
    }

    /// Application packets that came, as far as duplicates go.
    pub(super) fn received(&self, path: PathId) -> Option<&ReceivedPackets> {
        let own = &self.network(path)?.space.received;
        Some(self.one_space.as_ref().map_or(own, |one| one.received()))
    }

    /// What a truncated number of `len` bytes on `path` is read against; see [`OneSpace::base`].
    pub(super) fn number_base(&self, path: PathId, len: usize) -> Option<PacketNumber> {
        let own = self.network(path).and_then(|network| network.space.received.largest()).map(|largest| largest.number);
        self.one_space.as_ref().map_or(own, |one| one.base(own, len))
    }

    /// Books a received application packet (burst B-102). A hole may be a packet of another path, so
    /// only a packet that its own path overtook is out of order.
    pub(super) fn book_in_one_space(&mut self, opened: &Opened, ack_eliciting: AckEliciting) {
        let now = opened.arrival.now;
        let (Some(one), Some(entry)) = (&mut self.one_space, self.paths.get_mut(opened.path)) else { return };
        let Some(network) = entry.network.as_deref_mut() else { return };
        let ecn = qbase::Ecn::NotEct;
        if one.on_packet(opened.number, now).is_duplicate() {
            return;
        }
        let order = match network.space.received.note_of_path(opened.number, now) {
            Receipt::Late => Order::Late,
            _ => Order::Next,
        };
        let packet = Arrived { number: opened.number, ack_eliciting, order, ecn, smoothed_rtt: network.rtt.smoothed() };
        network.space.acks.on_packet(now, &packet, |_| None);
    }

    /// Writes what `of` has to acknowledge: from the largest number that came over it downwards, whatever path the rest came
    /// over (burst B-102). At most half of the packet, so that data find room; numbers left out stay to be reported.
    pub(crate) fn write_shared_ack(&mut self, now: Timestamp, of: PathId, frames: &mut Frames<'_, '_>) {
        let (Some(one), Some(entry)) = (&self.one_space, self.paths.get_mut(of)) else { return };
        let Some(network) = entry.network.as_deref_mut().filter(|network| network.space.acks.pending()) else { return };
        let Some(largest) = network.space.received.largest() else { return };
        let delay = now.saturating_since(largest.received_at).as_micros() as u64 >> limits::ACK_DELAY_EXPONENT;
        let room = frames.writer.remaining().div_ceil(2);
        if let Some(written) = ack::write(frames.writer, None, one.received().ranges_from(largest.number), delay, None, room) {
            let span = u32::try_from(written.largest.saturating_sub(written.smallest)).unwrap_or(u32::MAX);
            frames.list.push(SentFrame::Ack { space: SpaceId::Application(of), largest: written.largest, span, arrivals: one.arrivals() });
            network.space.acks.on_ack_sent(now, written.largest);
        }
    }

    /// The peer has seen an ACK frame of ours; `false`: there are spaces of their own, and the caller knows which.
    pub(super) fn on_shared_report_acked(&mut self, largest: PacketNumber, span: u32, arrivals: u32) -> bool {
        let Some(one) = &mut self.one_space else { return false };
        one.on_report_acked(largest.saturating_sub(span.into())..=largest, arrivals);
        true
    }

    /// ACK: its numbers may have gone over any path (burst B-102; multipath MP-104, MP-105).
    pub(super) fn on_shared_ack(&mut self, opened: &Opened, ack: &Ack<'_>, delay: Duration) -> Result<(), TransportError> {
        let Some(one) = &mut self.one_space else { return Ok(()) };
        one.check_ack(ack.ranges.clone())?;
        self.measure_late(opened, ack.largest, delay);
        for at in 0..self.paths.len() {
            let Some(path) = self.paths.id_at(at) else { break };
            if self.network(path).is_some() {
                self.apply_ack(opened, path, ack, delay)?;
            }
        }
        Ok(())
    }

    /// The ACK of a path names a packet of it that another path's ACK was quicker to acknowledge: a sample all the same.
    fn measure_late(&mut self, opened: &Opened, largest: PacketNumber, delay: Duration) {
        let (confirmed, max_ack_delay) = (self.confirmed, self.peer_max_ack_delay());
        let now = opened.arrival.now;
        let Some(network) = self.network_mut(opened.path) else { return };
        let Some(sent_at) = network.unmeasured.take(largest) else { return };
        let sample = now.saturating_since(sent_at);
        network.rtt.on_sample(now, sample, if confirmed { delay.min(max_ack_delay) } else { delay });
        network.unmeasured.on_sample(sample);
    }
}

/// Packets (number, send time) of a path were acknowledged first by an ACK of another path.
pub(super) fn keep_unmeasured(network: &mut Network, packets: &mut [(PacketNumber, Timestamp)]) {
    packets.sort_unstable_by_key(|(number, _)| *number);
    for (number, sent_at) in packets {
        network.unmeasured.keep(*number, *sent_at);
    }
}

const fn is_application(level: EncryptionLevel) -> bool {
    matches!(level, EncryptionLevel::ZeroRtt | EncryptionLevel::OneRtt)
}
