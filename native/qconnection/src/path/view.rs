//! A path as the application sees it: numbers copied out, nothing to change.
//!
//! Called by the binding and the simulator. Units stand in names and types.

use super::{EcnState, PathEntry, PathState, network::PathCounters};
use qbase::{FourTuple, PathId, Timestamp, frame::PathStatusKind};
use std::time::Duration;

/// Facts of one path in use.
#[derive(Clone, Copy, Debug)]
pub struct PathView {
    /// The id on the wire.
    pub id: PathId,
    /// Where it stands.
    pub state: PathState,
    /// Its addresses.
    pub four_tuple: FourTuple,
    /// Silent since (multipath MP-83).
    pub suspect_since: Option<Timestamp>,
    /// Our advice to the peer.
    pub status: PathStatusKind,
    /// The peer's advice to us.
    pub peer_status: Option<PathStatusKind>,
    /// Its share under the scheduler `weighted`.
    pub weight: u32,
    /// Latest RTT sample.
    pub latest_rtt: Duration,
    /// Smoothed RTT.
    pub smoothed_rtt: Duration,
    /// RTT variation.
    pub rttvar: Duration,
    /// Lowest RTT.
    pub min_rtt: Duration,
    /// PTOs in a row.
    pub pto_count: u32,
    /// Congestion window, bytes.
    pub congestion_window: u64,
    /// Slow start threshold, bytes.
    pub ssthresh: u64,
    /// Delivery rate measured while sending, bytes per second; `None` until measured.
    pub delivery_rate: Option<u64>,
    /// Rate at which packets leave, bytes per second: the controller's, or window per RTT (RFC 9002 §7.7).
    pub pacing_rate: u64,
    /// Bytes in flight.
    pub bytes_in_flight: u64,
    /// UDP payload of full packets, bytes.
    pub mtu: u16,
    /// Where the ECN test stands.
    pub ecn: EcnState,
    /// CE marks the peer reported.
    pub congestion_marks: u64,
    /// Bytes that may be sent before validation; `u64::MAX` afterwards.
    pub amplification_credit: u64,
    /// Totals.
    pub counters: PathCounters,
    /// The application's name for its request to open this path.
    pub ticket: Option<u64>,
}

impl PathView {
    /// The view of an entry in use; `None` for an unused id.
    #[must_use]
    pub fn of(entry: &PathEntry, bytes_in_flight: u64) -> Option<Self> {
        let network = entry.network.as_deref()?;
        Some(Self {
            id: entry.id,
            state: entry.state,
            four_tuple: network.four_tuple,
            suspect_since: network.suspect_since,
            status: entry.status.local,
            peer_status: entry.status.peer,
            weight: entry.weight,
            latest_rtt: network.rtt.latest(),
            smoothed_rtt: network.rtt.smoothed(),
            rttvar: network.rtt.rttvar(),
            min_rtt: network.rtt.min(),
            pto_count: network.pto_count,
            congestion_window: network.controller.window(),
            ssthresh: network.controller.ssthresh(),
            delivery_rate: network.delivery.rate(),
            pacing_rate: network.pacer.rate(network.controller.as_ref(), network.loop_rtt()),
            bytes_in_flight,
            mtu: network.mtu(),
            ecn: network.ecn.state(),
            congestion_marks: network.ecn.congestion_marks(),
            amplification_credit: network.amplification.credit(),
            counters: network.counters,
            ticket: entry.ticket,
        })
    }
}
