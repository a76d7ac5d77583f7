//! Counters and gauges of the stream room: every container a peer can make grow has a gauge here (attacks R2).
//!
//! Called by the connection's statistics. Never decides anything.

use super::{Streams, limits::DIRECTIONS};

/// Counters and gauges of the stream room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamStatistics {
    /// Streams we opened.
    pub opened_local: u64,
    /// Streams the peer opened, implied ones included.
    pub opened_peer: u64,
    /// Streams that ended and left nothing.
    pub closed: u64,
    /// Stream bytes written into packets for the first time.
    pub bytes_sent: u64,
    /// Stream bytes written into packets again.
    pub bytes_sent_again: u64,
    /// Bytes the peer sent as flow control counts them.
    pub bytes_received: u64,
    /// Bytes the application took.
    pub bytes_read: u64,
    /// RESET_STREAM frames that ended a stream of the peer.
    pub resets_received: u64,
    /// STOP_SENDING frames that ended a stream of ours.
    pub stops_received: u64,
    /// DATA_BLOCKED, STREAM_DATA_BLOCKED and STREAMS_BLOCKED frames received; counted, not trusted (mux R23).
    pub blocked_received: u64,
    /// Streams of the peer that were refused since it is not the peer who asks (mux R51).
    pub wrong_way: u64,
    /// Gauge: streams of the peer that wait at the gate (reverse V22).
    pub at_gate: u64,
    /// Gauge: live streams.
    pub open: usize,
    /// Gauge: bytes received and not read.
    pub held: u64,
    /// Gauge: gaps between them (attacks L6).
    pub gaps: usize,
    /// Gauge: ranges of closed stream ids kept (attacks L16).
    pub closed_ranges: usize,
    /// Gauge: events the application has not taken.
    pub events: usize,
    /// Gauge: bytes waiting to be sent for the first time.
    pub queued: u64,
    /// Gauge: bytes waiting to be sent again.
    pub queued_again: u64,
    /// Gauge: the connection's receive window, bytes.
    pub receive_window: u64,
}

impl Streams {
    /// Counters since the start, and gauges as they are.
    #[must_use]
    pub fn statistics(&self) -> StreamStatistics {
        StreamStatistics {
            opened_local: DIRECTIONS.into_iter().map(|direction| self.local.get(direction).opened()).sum(),
            opened_peer: DIRECTIONS.into_iter().map(|direction| self.peer.get(direction).opened()).sum(),
            bytes_received: self.window.received(),
            at_gate: self.held_streams(),
            open: self.map.len(),
            held: self.totals.held,
            gaps: self.totals.gaps,
            closed_ranges: DIRECTIONS.into_iter().map(|direction| self.peer.get(direction).closed_ranges()).sum(),
            events: self.events.len(),
            queued: self.totals.unsent,
            queued_again: self.totals.again,
            receive_window: self.window.window(),
            ..self.counters
        }
    }
}
