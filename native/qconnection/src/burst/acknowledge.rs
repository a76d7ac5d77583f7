//! Acknowledgements: which path carries them, and what else gets a copy (multipath MP-37, MP-82; burst section 4).
//!
//! An acknowledgement goes back on the path of its packets while that answers, so that no path depends on another. The
//! sender of a slow path learns sooner what became of its packets if a copy goes on a much quicker one as well: its window
//! opens a round trip of both ways mixed, not of the slow one. Copies are thinned out ([`AckCopies`]).
//!
//! Called by the frame sources and by the output, which asks what is due. Never sends anything that is ack-eliciting.

use super::{record::{SentFrame, Weight}, sources::{Allow, Frames}};
use crate::{
    config::AckPath,
    connection::Connection,
    path::{Network, PathEntry, PathState},
    space::Space,
};
use qbase::{
    PathId, SpaceId, Timestamp, Writer,
    frame::{EcnCounts, ack},
    limits,
};
use std::time::Duration;

/// Anti-amplification credit that a packet with an ACK needs at least, bytes.
const ACK_CREDIT: u64 = 64;
/// A path is much quicker if its round trip is at most one part in so many of the other's.
const MUCH_QUICKER: u32 = 2;
/// Time that a copy must gain at least.
const LEAST_GAIN: Duration = Duration::from_millis(10);
/// Copies of a path at the start, one for each acknowledgement: those of its first flights.
const COPIED_AT_ONCE: u16 = 64;
/// Copies in a round trip of the path afterwards.
const COPIES_PER_ROUND: u32 = 16;

/// Copies of the acknowledgements of one path on a much quicker one.
#[derive(Clone, Copy, Debug, Default)]
pub struct AckCopies {
    /// The last acknowledgement gets one, which has not left yet.
    owed: bool,
    /// Copies so far, up to [`COPIED_AT_ONCE`].
    sent: u16,
    /// When the last one left.
    sent_at: Option<Timestamp>,
}

impl AckCopies {
    /// An acknowledgement of a path of this round trip was written.
    fn on_ack(&mut self, now: Timestamp, round_trip: Duration) {
        let spacing = round_trip.checked_div(COPIES_PER_ROUND).unwrap_or_default();
        self.owed |= self.sent < COPIED_AT_ONCE || self.sent_at.is_none_or(|at| now.saturating_since(at) >= spacing);
    }

    /// A copy waits for a packet.
    pub(crate) const fn is_owed(self) -> bool {
        self.owed
    }

    fn on_copied(&mut self, now: Timestamp) {
        *self = Self { owed: false, sent: self.sent.saturating_add(1).min(COPIED_AT_ONCE), sent_at: Some(now) };
    }
}

impl Connection {
    /// Acknowledgements that travel on `path`: its own, those of paths that cannot carry theirs (multipath MP-82), and
    /// copies.
    pub(super) fn write_acks(&mut self, now: Timestamp, path: PathId, allow: Allow, frames: &mut Frames<'_, '_>) {
        for at in 0..self.paths.len() {
            let Some(of) = self.paths.id_at(at) else { return };
            if of != path && self.copies_ack_on(of) == Some(path) {
                self.write_ack_copy(now, of, frames);
            }
            let wanted = self.network(of).is_some_and(|network| {
                let acks = &network.space.acks;
                acks.due(now) || ((allow.bundle || allow.probe) && allow.in_flight && acks.pending())
            });
            if !wanted || self.ack_carrier(of) != Some(path) {
                continue;
            }
            if self.one_space.is_some() {
                self.write_shared_ack(now, of, frames);
                continue;
            }
            let wire = self.path_mode.has_paths().then_some(of);
            let Some(network) = self.network_mut(of) else { continue };
            // One packet alone is no flight: whoever sent it has no window to open.
            let is_flight = network.space.acks.waiting() > 1;
            write_ack(&mut network.space, SpaceId::Application(of), wire, now, frames);
            if is_flight && of == path && let Some(round_trip) = self.copying_pays(of) && let Some(network) = self.network_mut(of) {
                network.ack_copies.on_ack(now, round_trip);
            }
        }
    }

    /// What has arrived and was not said so far, for the packet that ends the connection on `path`: nobody will ask again (RFC 9000 §13.2.1).
    pub(crate) fn write_last_acks(&mut self, now: Timestamp, path: PathId, writer: &mut Writer<'_>) {
        let allow = Allow { in_flight: true, probe: false, data: false, bundle: true, acks: true, control: false, mtu_probe: None };
        self.write_acks(now, path, allow, &mut Frames { writer, list: &mut Vec::new(), weight: Weight::default() });
    }

    /// Writes again what the last acknowledgement of a path told.
    fn write_ack_copy(&mut self, now: Timestamp, of: PathId, frames: &mut Frames<'_, '_>) {
        let Some(network) = self.network_mut(of) else { return };
        network.ack_copies.on_copied(now);
        if let Some(largest) = put_ack(&network.space, SpaceId::Application(of), Some(of), now, frames) {
            frames.list.push(SentFrame::Ack { space: SpaceId::Application(of), largest, span: 0, arrivals: 0 });
        }
    }

    /// Where a copy of the last acknowledgement of `path` goes, if one is owed.
    pub(crate) fn copies_ack_on(&self, path: PathId) -> Option<PathId> {
        let is_owed = self.network(path).is_some_and(|network| network.ack_copies.is_owed());
        if is_owed { self.much_quicker(path).map(|(quick, _)| quick) } else { None }
    }

    /// The round trip of `path`, if another is so much quicker that it carries copies of the acknowledgements.
    fn copying_pays(&self, path: PathId) -> Option<Duration> {
        if !self.path_mode.has_paths() || self.one_space.is_some() || self.config.ack_path != AckPath::Same || self.paths.open_count() < 2 {
            return None;
        }
        self.much_quicker(path).map(|(_, round_trip)| round_trip)
    }

    /// The quickest path that answers, if it is much quicker than `path`; and the round trip of that.
    fn much_quicker(&self, path: PathId) -> Option<(PathId, Duration)> {
        let round_trip = self.round_trip(path)?;
        let usable = self.paths.iter().filter(|entry| entry.id != path && entry.state == PathState::Open && entry.remote_cids.active().is_some());
        let healthy = usable.filter(|entry| entry.network.as_deref().is_some_and(|network| network.suspect_since.is_none() && network.pto_count == 0));
        let (quick, least) = healthy.filter_map(|entry| Some((entry.id, self.round_trip(entry.id)?))).min_by_key(|(_, least)| *least)?;
        let pays = least.saturating_mul(MUCH_QUICKER) <= round_trip && least.saturating_add(LEAST_GAIN) <= round_trip;
        pays.then_some((quick, round_trip))
    }

    /// The least round trip of a path there and back, if it was measured. Of samples whose acknowledgements came over
    /// another path the way back is taken off, and the way there counted twice.
    pub(crate) fn round_trip(&self, path: PathId) -> Option<Duration> {
        let network = self.network(path).filter(|network| network.rtt.first_sample_at().is_some())?;
        let least = network.rtt.min();
        let other = network.acked_via.filter(|via| *via != path).and_then(|via| self.network(via));
        Some(other.map_or(least, |other| least.saturating_sub(other.rtt.min().checked_div(2).unwrap_or_default()).saturating_mul(2)))
    }

    /// Time a packet sent now is likely to take to the peer: what a round trip takes now, without the way back, which is half
    /// of the least one of the path that carries the acknowledgements. All of what the present ones take longer counts,
    /// since it is our own queue that grows.
    pub(crate) fn one_way(&self, path: PathId) -> Duration {
        let Some(network) = self.network(path) else { return Duration::ZERO };
        let other = network.acked_via.filter(|via| *via != path).and_then(|via| self.network(via));
        let back = other.unwrap_or(network).rtt.min().checked_div(2).unwrap_or_default();
        network.rtt.smoothed().max(network.rtt.latest()).saturating_sub(back)
    }

    /// The path that carries the acknowledgements of `path`: itself while it answers, unless the quickest shall (multipath
    /// MP-37), else the quickest healthy one, else the one that something arrived on last: it works at least one way
    /// (multipath MP-82). `None`: no path has both a connection id of the peer and credit.
    pub(crate) fn ack_carrier(&self, path: PathId) -> Option<PathId> {
        let carriers = || {
            let usable = self.paths.iter().filter(|entry| entry.is_live() && (entry.id == path || entry.state == PathState::Open));
            let addressed = usable.filter(|entry| entry.remote_cids.active().is_some());
            let networks = addressed.filter_map(|entry: &PathEntry| Some((entry.id, entry.network.as_deref()?)));
            networks.filter(|(_, network)| network.amplification.credit() >= ACK_CREDIT)
        };
        let works = carriers().any(|(id, network)| id == path && network.suspect_since.is_none());
        if works && self.config.ack_path == AckPath::Same {
            return Some(path);
        }
        let healthy = carriers().filter(|(_, network)| network.suspect_since.is_none() && network.pto_count == 0);
        // By the least round trip: it does not change with every queue, so the choice is stable (multipath MP-37).
        let unmeasured = |network: &Network| network.rtt.first_sample_at().is_none();
        let quickest = healthy.min_by_key(|(id, network)| (unmeasured(network), network.rtt.min(), *id));
        quickest.or_else(|| carriers().max_by_key(|(_, network)| network.counters.last_received_at)).map(|(id, _)| id)
    }
}

/// Writes an acknowledgement of everything a space received, if there is anything to acknowledge.
pub(super) fn write_ack(space: &mut Space, id: SpaceId, wire: Option<PathId>, now: Timestamp, frames: &mut Frames<'_, '_>) {
    if !space.acks.pending() {
        return;
    }
    if let Some(largest) = put_ack(space, id, wire, now, frames) {
        frames.list.push(SentFrame::Ack { space: id, largest, span: 0, arrivals: 0 });
        space.acks.on_ack_sent(now, largest);
    }
}

/// Writes the frame, if it fits; answers the largest number in it.
fn put_ack(space: &Space, id: SpaceId, wire: Option<PathId>, now: Timestamp, frames: &mut Frames<'_, '_>) -> Option<qbase::PacketNumber> {
    let largest = space.received.largest()?;
    let delay = match id {
        SpaceId::Application(_) => now.saturating_since(largest.received_at).as_micros() as u64 >> limits::ACK_DELAY_EXPONENT,
        SpaceId::Initial | SpaceId::Handshake => 0,
    };
    let ecn = Some(space.received.ecn()).filter(|ecn| *ecn != EcnCounts::default());
    let room = frames.writer.remaining();
    ack::write(frames.writer, wire, space.received.ranges(), delay, ecn, room).map(|written| written.largest)
}
