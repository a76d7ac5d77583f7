//! What a congestion controller is to the rest of the machine (RFC 9002 §7).
//!
//! Implemented by `algorithm/`; driven by the path that owns it: one call per burst, per ACK frame, per loss event.
//! Never counts bytes in flight (the path does), never sees packets.

use std::{fmt::Debug, time::Duration};

use qbase::Timestamp;

use crate::{RttEstimator, algorithm::Subflow};

/// Largest congestion window, bytes: 100 ms at 10 Gbit/s. Bounds the records a path keeps (attacks L13).
pub const MAX_WINDOW: u64 = 128 * 1_024 * 1_024;
/// Smallest `max_datagram_size` windows are computed with (RFC 9002 §B.2).
pub const MIN_MTU: u64 = 1_200;

/// Congestion window of a new path, bytes (RFC 9002 §7.2).
#[must_use]
pub fn initial_window(mtu: u64) -> u64 {
    let mtu = mtu.max(MIN_MTU);
    mtu.saturating_mul(10).min(mtu.saturating_mul(2).max(14_720))
}

/// Least congestion window, bytes (kMinimumWindow, RFC 9002 §7.2).
#[must_use]
pub fn minimum_window(mtu: u64) -> u64 {
    mtu.max(MIN_MTU).saturating_mul(2)
}

/// Whether the sender could have sent more than it did (RFC 9002 §7.8).
///
/// `Yes` when sending last stopped because there was nothing to send or flow control forbade it; `No` when the window or
/// the pacer stopped it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppLimited {
    /// The window was not used up: an ACK says nothing about a larger one.
    Yes,
    /// The window or the pacer held us back.
    No,
}

/// Whether losses established persistent congestion (RFC 9002 §7.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persistence {
    /// An ordinary loss.
    None,
    /// Everything over a long time was lost: start again from the minimum window.
    Established,
}

/// Where a controller stands (RFC 9002 §7.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Below the threshold: the window grows by what is acknowledged.
    SlowStart,
    /// Since a congestion event, until a packet sent after it is acknowledged.
    Recovery,
    /// At or above the threshold: the window probes for more.
    CongestionAvoidance,
}

impl Phase {
    /// The phase in words for people and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SlowStart => "slow-start",
            Self::Recovery => "recovery",
            Self::CongestionAvoidance => "congestion-avoidance",
        }
    }
}

/// What one ACK frame newly acknowledged.
#[derive(Clone, Copy, Debug)]
pub struct Acked {
    /// Bytes of the newly acknowledged packets that were in flight.
    pub bytes: u64,
    /// When the newest of them was sent.
    pub newest_sent_at: Timestamp,
    /// Bytes still in flight on the path.
    pub bytes_in_flight: u64,
    /// Whether the window was in use.
    pub app_limited: AppLimited,
    /// The RTT sample this frame gave, not adjusted for the peer's delay; `None` if it gave none (RFC 9002 §5.1).
    pub rtt_sample: Option<Duration>,
}

/// What one event declared lost. PMTU probes are not among it (burst B-56).
#[derive(Clone, Copy, Debug)]
pub struct Lost {
    /// Bytes of the lost packets that were in flight.
    pub bytes: u64,
    /// When the newest of them was sent.
    pub newest_sent_at: Timestamp,
    /// Whether the losses established persistent congestion.
    pub persistent: Persistence,
}

/// A congestion controller of one path.
pub trait Controller: Send + Debug {
    /// In-flight packets of `bytes` were handed to the socket; `bytes_in_flight` counts them already. Once per burst.
    fn on_sent(&mut self, now: Timestamp, bytes: u64, bytes_in_flight: u64);
    /// An ACK frame newly acknowledged in-flight packets. Once per frame, after [`RttEstimator::on_sample`].
    fn on_acked(&mut self, now: Timestamp, acked: &Acked, rtt: &RttEstimator);
    /// In-flight packets were declared lost. Once per ACK frame or loss timer.
    fn on_lost(&mut self, now: Timestamp, lost: &Lost);
    /// Packets of `bytes` that had been declared lost were acknowledged after all. Before [`on_acked`](Self::on_acked).
    fn on_late(&mut self, _now: Timestamp, _bytes: u64) {}
    /// All packets whose loss started the newest recovery period, or was found in it, have been acknowledged after all:
    /// the period had no cause (RFC 9438 §4.9.2). Does nothing after a mark or persistent congestion.
    fn on_spurious_loss(&mut self, now: Timestamp);
    /// Acknowledgements come over another way from now on: round trips before and after say nothing of each other.
    fn on_way_back(&mut self) {}
    /// There is nothing to send although window and pacer would let it go, with `bytes_in_flight` on their way.
    fn on_app_limited(&mut self, _bytes_in_flight: u64) {}
    /// The peer's CE count grew; `sent_at` is when the largest packet acknowledged by that frame was sent (RFC 9002 §B.7).
    fn on_ecn_ce(&mut self, now: Timestamp, sent_at: Timestamp);
    /// Sending starts again after silence longer than a probe timeout: the window shrinks to at most that of a new path
    /// (RFC 5681 §4.1), the threshold stays. For callers that send without a pacer; paced ones may leave it out.
    fn on_idle_restart(&mut self, now: Timestamp);
    /// Starts afresh: Retry (RFC 9002 §6.3) or another network (RFC 9000 §9.4). The MTU stays.
    fn reset(&mut self);
    /// The largest datagram of the path changed to `mtu` bytes (RFC 9002 §7.2).
    fn on_mtu(&mut self, mtu: u64);
    /// What the controllers of the connection's other paths need to know, with the path's smoothed round trip; `None`:
    /// this one is not coupled.
    fn subflow(&self, _rtt: Duration) -> Option<Subflow> {
        None
    }
    /// What the paths of the connection are, this one among them. Before [`on_acked`](Self::on_acked) and
    /// [`on_lost`](Self::on_lost), if [`subflow`](Self::subflow) answers something.
    fn couple(&mut self, _own: &Subflow, _all: &[Subflow]) {}
    /// Bytes that may be in flight; at least two datagrams.
    fn window(&self) -> u64;
    /// Bytes per second at which packets are to leave; `None`: as fast as spreads the window over a round trip.
    fn pacing_rate(&self) -> Option<u64> {
        None
    }
    /// Slow-start threshold, bytes; `u64::MAX` before the first congestion event.
    fn ssthresh(&self) -> u64;
    /// Where the controller stands.
    fn phase(&self) -> Phase;
    /// Name as in options, e.g. `cubic`.
    fn name(&self) -> &'static str;
}
