//! What one path holds up is copied to another on which it arrives sooner.
//!
//! | copies | when | how much |
//! |---|---|---|
//! | idle capacity | nothing fresh can be sent: the application or the peer's credit is the limit | all that arrives sooner as a copy |
//! | scheduler `deadline` | at any time | what is overdue, within its share of all bytes; with idle capacity what arrives sooner, too |
//! | a plan's `reinject_after` | at any time | what is older |
//!
//! Called by the output before it chooses a path. Only a connection with several open paths and room on one that answers
//! copies anything; an acknowledgement of the original drops a copy that was not sent yet (multipath MP-78, MP-83; attacks
//! F19). Streams that keep to their path are never copied.

use super::Connection;
use crate::{burst::SentFrame, path::{Network, PathState, scheduler::Scheduler}};
use qbase::{PathId, Timestamp};
use std::time::Duration;

/// Packets copied when a path falls silent: more than any window holds.
const MOST: usize = 1 << 16;
/// Packets copied from one path at once.
const BATCH: usize = 32;
/// Packets of one path looked at, at once.
const LOOKED_AT: usize = 256;
/// Of the budget of `deadline` so much
const KEPT: u64 = 3;
/// of so much is not spent while fresh data waits.
const OF: u64 = 4;
/// Time between two looks, and the least age of what counts as overdue.
const LEAST_AGE: Duration = Duration::from_millis(5);
/// So much sooner a copy must arrive to be worth its bytes.
const LEAST_GAIN: Duration = Duration::from_millis(5);

/// Where copies go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Quick {
    /// When a copy sent now arrives.
    arrives_at: Timestamp,
    /// Its smoothed round trip.
    rtt: Duration,
    path: PathId,
    /// Bytes its window leaves.
    room: u64,
}

/// What may be copied now.
#[derive(Clone, Copy, Debug)]
struct Order {
    /// Whether what arrives sooner as a copy is worth it.
    idle: Idle,
    /// A packet this old is overdue; `None`: when its acknowledgement is.
    late_after: Option<Duration>,
    /// Bytes at most.
    budget: u64,
}

/// Whether the paths have nothing better to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Idle {
    /// Fresh data waits.
    No,
    /// Fresh data waits for the peer's credit.
    Blocked,
    /// The application has no more.
    Done,
}

impl Connection {
    /// Copies what other paths hold up. Sets when to look again.
    pub(super) fn reinject_stale(&mut self, now: Timestamp) {
        self.reinject_at = None;
        if !self.path_mode.has_paths() || self.paths.open_count() < 2 || self.streams.unacked_bytes() == 0 {
            return;
        }
        let Some(order) = self.reinjection() else { return };
        let Some(mut quick) = self.quickest_with_room(now) else { return };
        let Some(network) = self.network_mut(quick.path) else { return };
        let mtu = u64::from(network.mtu());
        let paced = network.paced(now, mtu);
        if paced < mtu {
            // A copy that the pacer holds back would go on any path that has room, its own too.
            self.reinject_at = Some(network.pacer.next_at(now, mtu));
            return;
        }
        quick.room = quick.room.min(paced);
        for at in 0..self.paths.len() {
            let Some(path) = self.paths.id_at(at) else { return };
            if path != quick.path {
                let order = Order { budget: order.budget.min(quick.room), ..order };
                self.reinject_from(now, path, quick, order);
            }
        }
    }

    /// Copies all that a silent path holds up and that was not copied before; answers the stream bytes (multipath MP-83).
    pub(super) fn reinject_all(&mut self, path: PathId) -> u64 {
        let mut found = std::mem::take(&mut self.settled);
        found.clear();
        if let Some(network) = self.network_mut(path) {
            let (below, range) = (network.overdue_below, network.copied.clone());
            network.space.sent.for_oldest_unacked(MOST, |packet, frames| {
                let is_copied = packet.number < below || range.contains(&packet.number);
                found.extend(frames.filter(|frame| !is_copied || !matches!(frame, SentFrame::Stream(_))));
            });
            network.overdue_below = network.space.sent.next_number();
        }
        let mut bytes = 0_u64;
        for frame in found.drain(..) {
            match frame {
                SentFrame::Stream(record) => bytes = bytes.saturating_add(self.streams.mark_for_reinjection(record)),
                // A message is never copied, and what is only late is not lost (RFC 9221 §5).
                SentFrame::Datagram { .. } => {}
                other => self.on_frame_lost(other),
            }
        }
        self.settled = found;
        bytes
    }

    /// What the scheduler wants copied; `None`: nothing.
    fn reinjection(&self) -> Option<Order> {
        let idle = match self.streams.has_shared() {
            true => Idle::No,
            false if self.streams.queued_bytes() > 0 => Idle::Blocked,
            false => Idle::Done,
        };
        if let Some(late_after) = self.scheduling.plan().and_then(|plan| plan.reinject_after) {
            return Some(Order { idle: Idle::No, late_after: Some(late_after), budget: u64::MAX });
        }
        match self.config.scheduler {
            // Nowhere while the primary path lives.
            Scheduler::Backup => None,
            // Copies are everywhere already; those that did not arrive either are overdue.
            Scheduler::Redundant => (idle == Idle::Done).then_some(Order { idle, late_after: None, budget: u64::MAX }),
            Scheduler::Deadline(deadline) => {
                let all = deadline.budget(self.streams.fresh_bytes_sent(), self.counters.bytes_reinjected);
                // While fresh data fills the paths a copy only takes its place: most of the budget is for the end.
                let kept = if idle == Idle::No { deadline.budget(self.streams.fresh_bytes_sent(), 0).saturating_mul(KEPT) / OF } else { 0 };
                let budget = all.saturating_sub(kept);
                (budget > 0 && self.streams.retransmit_bytes() == 0).then_some(Order { idle, late_after: deadline.late_after, budget })
            }
            _ => (idle != Idle::No).then_some(Order { idle, late_after: None, budget: u64::MAX }),
        }
    }

    /// The answering path with room for a packet on which a copy would arrive first.
    fn quickest_with_room(&self, now: Timestamp) -> Option<Quick> {
        self.paths
            .iter()
            .filter(|entry| entry.state == PathState::Open && !entry.status.is_backup())
            .filter_map(|entry| entry.network.as_deref().map(|network| (entry.id, network)))
            .filter(|(_, network)| network.suspect_since.is_none() && network.pto_count == 0 && network.rtt.first_sample_at().is_some())
            .map(|(path, network)| {
                let room = network.window_room(self.bytes_in_flight(path));
                Quick { arrives_at: now + self.one_way(path), rtt: network.rtt.smoothed(), path, room }
            })
            .filter(|quick| self.network(quick.path).is_some_and(|network| quick.room >= u64::from(network.mtu())))
            .min()
    }

    fn reinject_from(&mut self, now: Timestamp, path: PathId, quick: Quick, order: Order) {
        let mut found = std::mem::take(&mut self.settled);
        found.clear();
        let mut again = None;
        let one_way = self.one_way(path);
        if let Some(network) = self.network_mut(path) {
            again = late(network, now, (quick, one_way), order, &mut found);
            if order.idle == Idle::Done && found.is_empty() {
                young(network, (quick, one_way), order, &mut found);
            }
        }
        let mut bytes = 0_u64;
        for frame in found.drain(..) {
            if let SentFrame::Stream(record) = frame {
                bytes = bytes.saturating_add(self.streams.copy_elsewhere(record));
            }
        }
        self.settled = found;
        self.counters.bytes_reinjected = self.counters.bytes_reinjected.saturating_add(bytes);
        if let Some(network) = self.network_mut(path) {
            network.counters.bytes_reinjected = network.counters.bytes_reinjected.saturating_add(bytes);
        }
        self.reinject_at = Timestamp::earliest(self.reinject_at, again.map(|at| at.max(now + LEAST_AGE)));
    }
}

/// Frames of packets that are overdue and, while credit is the limit, of those that arrive sooner as copies: oldest first,
/// since what is read first opens the window. Answers when the next one will be overdue.
fn late(network: &mut Network, now: Timestamp, (quick, one_way): (Quick, Duration), order: Order, found: &mut Vec<SentFrame>) -> Option<Timestamp> {
    let usual = || {
        let usual = network.rtt.smoothed().saturating_add(network.rtt.rttvar().saturating_mul(4));
        usual.max(quick.rtt.saturating_mul(3).checked_div(2).unwrap_or_default())
    };
    let late_after = order.late_after.unwrap_or_else(usual).max(LEAST_AGE);
    let (mut judged_below, mut overdue_below) = (network.copied_below, network.overdue_below);
    let (mut left, mut packets, mut again) = (order.budget, BATCH, None);
    network.space.sent.for_oldest_unacked(LOOKED_AT, |packet, frames| {
        if packets == 0 || packet.number < overdue_below {
            return;
        }
        let is_overdue = packet.sent_at + late_after <= now;
        let is_judged = packet.number < judged_below || order.idle != Idle::Blocked;
        let arrives_sooner = !is_judged && packet.sent_at + one_way > quick.arrives_at + LEAST_GAIN;
        if is_overdue || arrives_sooner {
            let size = u64::from(packet.size);
            packets = if left < size { 0 } else { packets.saturating_sub(1) };
            if packets == 0 {
                again = Some(now);
                return;
            }
            left = left.saturating_sub(size);
            found.extend(frames);
        }
        if is_overdue {
            overdue_below = packet.number.saturating_add(1);
        } else {
            again = Timestamp::earliest(again, Some(packet.sent_at + late_after));
        }
        if order.idle == Idle::Blocked {
            judged_below = judged_below.max(packet.number.saturating_add(1));
        }
    });
    (network.copied_below, network.overdue_below) = (judged_below, overdue_below);
    again
}

/// Frames of packets that arrive sooner as copies, when nothing else is left to send: the newest first, which would come
/// last, until what is old arrives by itself as soon.
fn young(network: &mut Network, (quick, one_way): (Quick, Duration), order: Order, found: &mut Vec<SentFrame>) {
    let next = network.space.sent.next_number();
    if network.copied.end < next {
        network.copied = next..next;
    }
    let packets = (order.budget.checked_div(u64::from(network.mtu())).unwrap_or(0)).min(BATCH as u64);
    let from = network.space.sent.number_before(network.copied.start, packets).max(network.copied_below);
    let range = from..network.copied.start;
    network.space.sent.for_newest_unacked(LOOKED_AT, |packet, frames| {
        if range.contains(&packet.number) && packet.sent_at + one_way > quick.arrives_at + LEAST_GAIN {
            found.extend(frames);
        }
    });
    if !found.is_empty() {
        network.copied.start = from;
    }
}
