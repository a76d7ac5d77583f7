//! Totals of a connection, and the trace of its bursts.
//!
//! Called by the input, the output and the losses (count), the binding (reads). Counters saturate.

use super::Connection;
use crate::burst::record::PendingBurst;
use qbase::{SpaceId, Timestamp};
use std::time::Duration;

/// Totals the parts count.
#[derive(Debug)]
pub(crate) struct Counters {
    pub(crate) started_at: Timestamp,
    pub(crate) handshake_completed_at: Option<Timestamp>,
    pub(crate) has_peer_parameters: bool,
    pub(crate) tickets: u64,
    pub(crate) bytes_received: u64,
    pub(crate) bytes_sent: u64,
    pub(crate) datagrams_received: u64,
    pub(crate) datagrams_sent: u64,
    pub(crate) packets_received: u64,
    pub(crate) packets_sent: u64,
    pub(crate) packets_lost: u64,
    pub(crate) packets_spuriously_lost: u64,
    pub(crate) bytes_reinjected: u64,
    pub(crate) bursts: u64,
    pub(crate) coalesced: u64,
    pub(crate) cancelled_segments: u64,
    pub(crate) handshake_datagrams_sent: u64,
    pub(crate) ptos: u64,
    pub(crate) key_updates: u64,
}

impl Counters {
    pub(crate) const fn new(now: Timestamp) -> Self {
        Self {
            started_at: now,
            handshake_completed_at: None,
            has_peer_parameters: false,
            tickets: 0,
            bytes_received: 0,
            bytes_sent: 0,
            datagrams_received: 0,
            datagrams_sent: 0,
            packets_received: 0,
            packets_sent: 0,
            packets_lost: 0,
            packets_spuriously_lost: 0,
            bytes_reinjected: 0,
            bursts: 0,
            coalesced: 0,
            cancelled_segments: 0,
            handshake_datagrams_sent: 0,
            ptos: 0,
            key_updates: 0,
        }
    }

    /// When the connection began.
    pub(super) const fn started_at(&self) -> Timestamp {
        self.started_at
    }

    /// A name for a request of the application.
    pub(super) const fn next_ticket(&mut self) -> u64 {
        self.tickets = self.tickets.saturating_add(1);
        self.tickets
    }

    /// The socket took a copy of a datagram that was counted before.
    pub(super) const fn on_copy_sent(&mut self, bytes: usize) {
        self.bursts = self.bursts.saturating_add(1);
        self.datagrams_sent = self.datagrams_sent.saturating_add(1);
        self.handshake_datagrams_sent = self.handshake_datagrams_sent.saturating_add(1);
        self.bytes_sent = self.bytes_sent.saturating_add(bytes as u64);
    }

    /// The socket took the first `segments` of a burst.
    pub(super) fn on_sent(&mut self, pending: &PendingBurst, segments: usize) {
        if segments == 0 {
            return;
        }
        let total = pending.len.div_ceil(pending.segment_size.max(1));
        self.cancelled_segments = self.cancelled_segments.saturating_add(total.saturating_sub(segments) as u64);
        self.bursts = self.bursts.saturating_add(1);
        self.datagrams_sent = self.datagrams_sent.saturating_add(segments as u64);
        self.bytes_sent = self.bytes_sent.saturating_add(pending.len.min(pending.segment_size.saturating_mul(segments)) as u64);
        let mut last = u16::MAX;
        let mut counted = u16::MAX;
        let mut handshake = u16::MAX;
        for packet in pending.packets.iter().filter(|packet| usize::from(packet.segment) < segments) {
            self.packets_sent = self.packets_sent.saturating_add(1);
            if packet.segment == last && counted != last {
                self.coalesced = self.coalesced.saturating_add(1);
                counted = last;
            }
            if !matches!(packet.space, SpaceId::Application(_)) && handshake != packet.segment {
                self.handshake_datagrams_sent = self.handshake_datagrams_sent.saturating_add(1);
                handshake = packet.segment;
            }
            last = packet.segment;
        }
    }
}

/// Totals as the application sees them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Statistics {
    /// UDP payload bytes sent.
    pub bytes_sent: u64,
    /// UDP payload bytes of datagrams with an authentic packet.
    pub bytes_received: u64,
    /// Datagrams sent.
    pub datagrams_sent: u64,
    /// Datagrams with an authentic packet.
    pub datagrams_received: u64,
    /// Packets sent.
    pub packets_sent: u64,
    /// Authentic packets.
    pub packets_received: u64,
    /// Packets declared lost.
    pub packets_lost: u64,
    /// Lost packets whose acknowledgement came after all.
    pub packets_spuriously_lost: u64,
    /// Stream bytes copied from silent paths to others.
    pub bytes_reinjected: u64,
    /// Bytes in flight on all paths.
    pub bytes_in_flight: u64,
    /// Bursts sent.
    pub bursts: u64,
    /// Segments sent.
    pub segments: u64,
    /// Segments with more than one packet, sent.
    pub coalesced: u64,
    /// Segments that a socket did not take.
    pub cancelled_segments: u64,
    /// Datagrams with Initial or Handshake packets, sent.
    pub handshake_datagrams_sent: u64,
    /// Paths in use.
    pub paths: u64,
    /// PTOs.
    pub ptos: u64,
    /// Key updates.
    pub key_updates: u64,
    /// From the start to the handshake's completion.
    pub handshake_time: Option<Duration>,
    /// Gauge: control frames of all kinds that wait to be sent (attacks L15).
    pub control_waiting: usize,
    /// Gauge: events the application has not taken, those of streams included (attacks L26).
    pub events_waiting: usize,
    /// DATAGRAM frames, both ways.
    pub messages: qrecovery::datagram::DatagramStatistics,
}

impl Connection {
    /// Totals of the connection so far.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        let counters = &self.counters;
        Statistics {
            bytes_sent: counters.bytes_sent,
            bytes_received: counters.bytes_received,
            datagrams_sent: counters.datagrams_sent,
            datagrams_received: counters.datagrams_received,
            packets_sent: counters.packets_sent,
            packets_received: counters.packets_received,
            packets_lost: counters.packets_lost,
            packets_spuriously_lost: counters.packets_spuriously_lost,
            bytes_reinjected: counters.bytes_reinjected,
            bytes_in_flight: self.paths.ids().map(|path| self.bytes_in_flight(path)).sum(),
            bursts: counters.bursts,
            segments: counters.datagrams_sent,
            coalesced: counters.coalesced,
            cancelled_segments: counters.cancelled_segments,
            handshake_datagrams_sent: counters.handshake_datagrams_sent,
            paths: self.paths.live_count() as u64,
            ptos: counters.ptos,
            key_updates: counters.key_updates,
            handshake_time: counters.handshake_completed_at.map(|at| at.saturating_since(counters.started_at)),
            control_waiting: self.control_waiting(),
            events_waiting: self.events.len().saturating_add(self.streams.statistics().events),
            messages: self.datagrams.statistics(),
        }
    }

    /// Packets of the connection that were dropped, by reason.
    #[must_use]
    pub const fn drops(&self) -> &qevent::DropCounters {
        &self.drops
    }
}
