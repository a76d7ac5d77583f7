//! Writes a planned burst: segments of one size into one buffer (burst section 3, B-4, B-14, B-15, B-17).
//!
//! Called by the output with a plan. Books the packets in the path's pending burst; nothing counts as sent yet.

use super::{
    limits::Budget,
    plan::{Padding, Plan},
    segment::{self, Order},
    sources::Allow,
};
use crate::connection::Connection;
use qevent::{EndedBy, Signals};
use qbase::{PathId, TransportError, Timestamp, limits::{MIN_SAMPLE, MAX_BURST_BYTES}};

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Bytes in the buffer.
    pub len: usize,
    /// Bytes of every segment but the last.
    pub segment_size: usize,
    /// Segments.
    pub segments: usize,
    /// Why it has no further segment.
    pub ended_by: EndedBy,
}

impl Default for Written {
    fn default() -> Self {
        Self { len: 0, segment_size: 0, segments: 0, ended_by: EndedBy::Full }
    }
}

/// Writes the burst of `path` into `buffer`.
///
/// # Errors
/// A packet cannot be sealed: the keys are used up.
pub(crate) fn write(
    connection: &mut Connection,
    now: Timestamp,
    path: PathId,
    plan: &Plan,
    mut budget: Budget,
    allow: Allow,
    buffer: &mut [u8],
) -> Result<Written, TransportError> {
    let Some(network) = connection.network_mut(path) else { return Ok(Written::default()) };
    let reserve = network.four_tuple.reserve();
    let mut pending = std::mem::take(&mut network.pending);
    pending.clear();
    pending.at = now;
    connection.log_burst(path);
    let mut written = Written::default();
    let mut failure = None;
    while written.segments < plan.max_segments {
        let window = budget.window(if written.segments == 0 { plan.window } else { written.segment_size });
        // Forward headers are put between the segments when all are written (burst B-77).
        let headers = reserve.saturating_mul(written.segments.saturating_add(1));
        let end = MAX_BURST_BYTES.min(buffer.len()).saturating_sub(headers);
        let room = buffer.get_mut(written.len..end).unwrap_or_default();
        if window < MIN_SAMPLE * 2 || room.len() < window {
            written.ended_by = if room.len() < window { EndedBy::Full } else { EndedBy::Signals(Signals::CREDIT) };
            break;
        }
        let in_flight = budget.allows_in_flight(window);
        let first = written.segments == 0;
        // Only a segment that more data will follow is worth topping up (burst B-54).
        let goal = if first { connection.has_payload(path, allow).then_some(window) } else { Some(written.segment_size) };
        let order = Order {
            now,
            path,
            levels: plan.levels,
            padding: if first || plan.padding == Padding::Full { plan.padding } else { Padding::Sample },
            goal,
            index: written.segments as u16,
            allow: Allow { in_flight, probe: budget.probes > 0, ..allow },
            aside: None,
        };
        let segment = match segment::write(connection, &order, room.get_mut(..window).unwrap_or_default(), &mut pending) {
            Ok(segment) => segment,
            Err(error) => {
                failure = Some(error);
                break;
            }
        };
        if segment.len == 0 {
            written.ended_by = EndedBy::Signals(if in_flight { Signals::WRITTEN } else { Signals::CONGESTION });
            break;
        }
        budget.spend(segment.len, segment.in_flight, segment.eliciting);
        written.len = written.len.saturating_add(segment.len);
        written.segments = written.segments.saturating_add(1);
        if first {
            written.segment_size = segment.len;
        }
        if segment.len < window {
            written.ended_by = EndedBy::ShortSegment;
            break;
        }
    }
    pending.len = written.len;
    pending.segment_size = written.segment_size;
    pending.mtu_probe = allow.mtu_probe.is_some();
    pending.open = written.segments > 0;
    if let Some(network) = connection.network_mut(path) {
        network.pending = pending;
    }
    failure.map_or(Ok(written), Err)
}
