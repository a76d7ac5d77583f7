//! Idle capacity helps a slow path: data that a path holds up is copied to a quicker one that has nothing to send.
//!
//! Called by the output before it chooses a path. Only a connection with several open paths, nothing fresh to send (the
//! application or the peer's credit is the limit) and room on a path that answers copies anything; an acknowledgement
//! of the original drops a copy that was not sent yet (multipath MP-78, MP-83; attacks F19).

use super::Connection;
use crate::{burst::SentFrame, path::{PathState, schedule::Scheduler}};
use qbase::{PathId, Timestamp};
use std::time::Duration;

/// Packets copied from one path at once.
const BATCH: usize = 32;
/// Data younger than this is never copied.
const LEAST_AGE: Duration = Duration::from_millis(5);

impl Connection {
    /// Copies what slower paths hold up. Sets when to look again.
    pub(super) fn reinject_stale(&mut self, now: Timestamp) {
        self.reinject_at = None;
        // The redundant scheduler has copies everywhere already.
        let redundant = self.config.scheduler == Scheduler::Redundant;
        if redundant || !self.multipath || self.paths.open_count() < 2 || self.streams.has_data() || self.streams.unacked_bytes() == 0 {
            return;
        }
        let Some((quick, patience)) = self.quickest_with_room() else { return };
        for at in 0..self.paths.len() {
            let Some(path) = self.paths.id_at(at) else { return };
            if path != quick {
                self.reinject_from(now, path, patience);
            }
        }
    }

    /// The quickest answering path with room for a packet, and how old data elsewhere may get: one and a half of its
    /// round trips.
    fn quickest_with_room(&self) -> Option<(PathId, Duration)> {
        self.paths
            .iter()
            .filter(|entry| entry.state == PathState::Open && !entry.status.is_backup())
            .filter_map(|entry| entry.network.as_deref().map(|network| (entry.id, network)))
            .filter(|(path, network)| {
                let room = network.window_room(self.bytes_in_flight(*path)) >= u64::from(network.mtu());
                room && network.suspect_since.is_none() && network.pto_count == 0 && network.rtt.first_sample_at().is_some()
            })
            .map(|(path, network)| (network.rtt.smoothed(), path))
            .min()
            .map(|(rtt, path)| (path, rtt.saturating_mul(3).checked_div(2).unwrap_or(rtt).max(LEAST_AGE)))
    }

    fn reinject_from(&mut self, now: Timestamp, path: PathId, patience: Duration) {
        let mut stale = std::mem::take(&mut self.settled);
        stale.clear();
        let mut again = None;
        if let Some(network) = self.network_mut(path) {
            let mut copied_below = network.copied_below;
            network.space.sent.for_oldest_unacked(BATCH.saturating_mul(2), |packet, frames| {
                if packet.number < copied_below || again.is_some() {
                    return;
                }
                if packet.sent_at + patience > now || stale.len() >= BATCH {
                    again = Some(packet.sent_at + patience);
                    return;
                }
                copied_below = packet.number.saturating_add(1);
                stale.extend(frames);
            });
            network.copied_below = copied_below;
        }
        let mut bytes = 0_u64;
        for frame in stale.drain(..) {
            if let SentFrame::Stream(record) = frame {
                bytes = bytes.saturating_add(self.streams.mark_for_reinjection(record));
            }
        }
        self.settled = stale;
        self.counters.bytes_reinjected = self.counters.bytes_reinjected.saturating_add(bytes);
        if let Some(network) = self.network_mut(path) {
            network.counters.bytes_reinjected = network.counters.bytes_reinjected.saturating_add(bytes);
        }
        self.reinject_at = Timestamp::earliest(self.reinject_at, again.map(|at| at.max(now + LEAST_AGE)));
    }
}
