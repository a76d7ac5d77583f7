//! Why nothing, or this, happens now: in words (design §3.7).
//!
//! Called by people's tools and by failing tests. Changes nothing.

use super::Connection;
use crate::path::scheduler::{Decision, Reason};
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
            self.path_mode.name(),
            self.blocked,
        )];
        lines.push(format!(
            "streams: {} open, {} bytes queued, {} to repeat{}",
            self.streams.open_count(),
            self.streams.queued_bytes(),
            self.streams.retransmit_bytes(),
            if self.streams.blocked_by_credit() { ", waiting for the peer's credit" } else { "" },
        ));
        lines.extend(self.explain_polarity());
        let costs = self.blocks.costs(now).filter(|(_, cost)| cost.count > 0);
        let costs: Vec<String> = costs.map(|(reason, cost)| format!("{} {} times {:.3} ms", reason.name(), cost.count, cost.time.as_secs_f64() * 1e3)).collect();
        lines.push(format!(
            "buffers: {} bytes{}, blocked now by {:?}; so far {}",
            self.buffered_bytes(),
            if self.waits_for_memory() { ", waiting for memory" } else { "" },
            self.blocks.now(),
            if costs.is_empty() { "never".to_owned() } else { costs.join(", ") },
        ));
        let words = |reason: Reason| reason.words(self.scheduling.outside.words());
        lines.push(format!(
            "scheduler {}{}: {}{}",
            self.scheduling.name(self.config.scheduler),
            self.scheduling.outside.words().filter(|words| !words.is_empty()).map_or_else(String::new, |words| format!(" ({words})")),
            match self.scheduling.decision {
                Decision::Send(choice) => format!("last path {}, {}", choice.path.0, words(choice.reason)),
                Decision::Wait(reason) => format!("waits, {}", words(reason)),
                Decision::Full => "no path has room, or nothing was to be sent".to_owned(),
            },
            self.scheduling.ask_at.map_or_else(String::new, |at| format!(", asked again in {:.3} ms", at.saturating_since(now).as_secs_f64() * 1e3)),
        ));
        for path in self.paths() {
            lines.push(format!(
                "path {} {:?} {}: rtt {:.3} ms, {} of {} bytes in flight, pto {} in a row, credit {}{}{}",
                path.id,
                path.four_tuple,
                path.state.name(),
                path.smoothed_rtt.as_secs_f64() * 1e3,
                path.bytes_in_flight,
                path.congestion_window,
                path.pto_count,
                if path.amplification_credit == u64::MAX { "unlimited".to_owned() } else { path.amplification_credit.to_string() },
                if path.suspect_since.is_some() { ", suspect" } else { "" },
                self.last_choice(path.id).map_or_else(String::new, |(at, words)| {
                    format!(", last data {:.3} ms ago: {words}", now.saturating_since(at).as_secs_f64() * 1e3)
                }),
            ));
        }
        for open in &self.opens {
            lines.push(format!("waiting to open {:?}: {:?}", open.four_tuple, open.told));
        }
        lines
    }
}
