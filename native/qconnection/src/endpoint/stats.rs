//! Totals of an endpoint.

use super::Endpoint;
use crate::burst::Burst;
use qevent::DropCounters;

/// What the endpoint counts.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) datagrams_received: u64,
    pub(super) datagrams_sent: u64,
    pub(super) bytes_received: u64,
    pub(super) bytes_sent: u64,
    pub(super) accepted: u64,
    pub(super) version_negotiations: u64,
    pub(super) retries: u64,
    pub(super) resets: u64,
    pub(super) refused: u64,
    /// Accepted connections whose handshake is not complete (attacks L2).
    pub(super) half_open: usize,
}

impl Counters {
    pub(super) fn on_sent(&mut self, burst: &Burst, segments: usize) {
        let bytes = burst.len.min(burst.segment_size.saturating_mul(segments)) as u64;
        self.datagrams_sent = self.datagrams_sent.saturating_add(segments.min(burst.segments) as u64);
        self.bytes_sent = self.bytes_sent.saturating_add(bytes);
    }
}

/// Totals as the application sees them.
#[derive(Clone, Debug)]
pub struct EndpointStatistics {
    /// Datagrams received, whatever they were.
    pub datagrams_received: u64,
    /// Datagrams the sockets took.
    pub datagrams_sent: u64,
    /// UDP payload bytes received.
    pub bytes_received: u64,
    /// UDP payload bytes the sockets took.
    pub bytes_sent: u64,
    /// Connections alive.
    pub connections: u64,
    /// Accepted ones whose handshake is not complete, and attempts that wait for the application's word.
    pub half_open: u64,
    /// Connections ever accepted.
    pub accepted: u64,
    /// Version Negotiation packets made.
    pub version_negotiations: u64,
    /// Retry packets made.
    pub retries: u64,
    /// Stateless resets made.
    pub resets: u64,
    /// Clients refused with CONNECTION_CLOSE, for want of room or for a bad token.
    pub refused: u64,
    /// Reset tokens of peers in the table.
    pub reset_tokens: u64,
    /// Datagrams with 0-RTT packets that wait for their connection (attacks L1).
    pub waiting_datagrams: u64,
    /// Connection ids in the routing table.
    pub routes: u64,
    /// Datagrams dropped before they reached a connection, by reason.
    pub drops: DropCounters,
    /// Bytes of the pool in use, received and to be sent.
    pub pool_bytes_used: u64,
    /// Bytes of receive windows that connections hold (mux R20).
    pub windows_reserved: u64,
    /// Connections that wait for memory to send with, or for a larger window (mux R2, R22).
    pub waiting_for_memory: u64,
    /// Connections closed because credit was granted without memory behind it (mux R20).
    pub overcommitted: u64,
}

impl Endpoint {
    /// Totals so far.
    #[must_use]
    pub fn statistics(&self) -> EndpointStatistics {
        let counters = &self.counters;
        EndpointStatistics {
            datagrams_received: counters.datagrams_received,
            datagrams_sent: counters.datagrams_sent,
            bytes_received: counters.bytes_received,
            bytes_sent: counters.bytes_sent,
            connections: self.slots.len() as u64,
            half_open: self.half_open() as u64,
            accepted: counters.accepted,
            version_negotiations: counters.version_negotiations,
            retries: counters.retries,
            resets: counters.resets,
            refused: counters.refused,
            reset_tokens: self.reset_tokens.len() as u64,
            waiting_datagrams: self.early.len() as u64,
            routes: self.routes.len() as u64,
            drops: self.drops.clone(),
            pool_bytes_used: (self.pool.used_bytes() as u64).saturating_add(self.pool.sending()),
            windows_reserved: self.pool.windows(),
            waiting_for_memory: self.pool.waiting().saturating_add(self.pool.growing()) as u64,
            overcommitted: self.pool.refused(),
        }
    }
}
