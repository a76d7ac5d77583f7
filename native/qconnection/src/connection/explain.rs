//! Why nothing, or this, happens now: in words (design §3.7).
//!
//! Called by people's tools and by failing tests. Changes nothing.

use super::Connection;
use qbase::Timestamp;

impl Connection {
    /// Lines that tell what the connection and each path are doing and waiting for.
    #[must_use]
    pub fn explain(&self, now: Timestamp) -> Vec<String> {
        let timer = self.next_timer().map_or_else(
            || "no timer".to_owned(),
            |(at, name)| format!("next timer {} in {:.3} ms", name.name(), at.saturating_since(now).as_secs_f64() * 1e3),
        );
        let mut lines = vec![format!(
            "{} {:?} {}, multipath {}, last silence: {:?}, {timer}",
            self.cids.original_dcid,
            self.role,
            self.state.name(),
            if self.multipath { "ietf" } else { "none" },
            self.blocked,
        )];
        lines.push(format!(
            "streams: {} open, {} bytes queued, {} to repeat{}",
            self.streams.open_count(),
            self.streams.queued_bytes(),
            self.streams.retransmit_bytes(),
            if self.streams.blocked_by_credit() { ", waiting for the peer's credit" } else { "" },
        ));
        for path in self.paths() {
            lines.push(format!(
                "path {} {:?} {}: rtt {:.3} ms, {} of {} bytes in flight, pto {} in a row, credit {}{}",
                path.id,
                path.four_tuple,
                path.state.name(),
                path.smoothed_rtt.as_secs_f64() * 1e3,
                path.bytes_in_flight,
                path.congestion_window,
                path.pto_count,
                if path.amplification_credit == u64::MAX { "unlimited".to_owned() } else { path.amplification_credit.to_string() },
                if path.suspect_since.is_some() { ", suspect" } else { "" },
            ));
        }
        for open in &self.opens {
            lines.push(format!("waiting to open {:?}: {:?}", open.four_tuple, open.told));
        }
        lines
    }
}
