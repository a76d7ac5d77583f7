//! Tells a coupled controller what the other paths of the connection have (RFC 6356; attacks F22).
//!
//! Called before each acknowledgement and loss that a controller hears of. Does nothing for controllers that are not
//! coupled, and allocates nothing for those that are.

use super::Connection;
use crate::path::{Network, PathState};
use qbase::{PathId, limits::OPEN_PATHS};
use qcongestion::Subflow;
use std::time::Duration;

impl Connection {
    /// Before the controller of `path` hears of its packets.
    pub(super) fn couple(&mut self, path: PathId) {
        if self.config.congestion.coupling().is_none() {
            return;
        }
        let mut all = [Subflow::default(); OPEN_PATHS];
        let mut count = 0_usize;
        for entry in self.paths.iter().filter(|entry| entry.state == PathState::Open) {
            // A path that does not answer carries nothing that its siblings should make room for.
            let Some(network) = entry.network.as_deref().filter(|network| network.suspect_since.is_none()) else { continue };
            if let (Some(flow), Some(slot)) = (subflow(network), all.get_mut(count)) {
                *slot = flow;
                count = count.saturating_add(1);
            }
        }
        let all = all.get(..count).unwrap_or_default();
        if let Some(network) = self.network_mut(path)
            && let Some(own) = subflow(network)
        {
            network.controller.couple(&own, all);
        }
    }
}

fn subflow(network: &Network) -> Option<Subflow> {
    let rtt = network.rtt.first_sample_at().map_or(Duration::ZERO, |_| network.rtt.smoothed());
    network.controller.subflow(rtt)
}
