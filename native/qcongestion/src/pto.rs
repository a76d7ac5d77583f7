//! Probe timeout: how long to wait for an ACK before asking again (RFC 9002 §6.2).
//!
//! Called by the loss timer of a path. Never decides which space probes, what a probe holds, or when a path is given up.

use std::time::Duration;

use crate::RttEstimator;

/// Back-off ends here, unless a single timeout is longer: with every packet lost, one probe per this time (attacks C11).
pub const MAX_INTERVAL: Duration = Duration::from_secs(10);

/// Doublings after which any timeout has reached [`MAX_INTERVAL`]; also keeps the shift in range.
const MAX_DOUBLINGS: u32 = 20;

/// Time from the last ack-eliciting packet to the next probe after `pto_count` probe timeouts in a row (RFC 9002
/// §6.2.1). `max_ack_delay` is zero for Initial and Handshake packets.
#[must_use]
pub fn interval(rtt: &RttEstimator, max_ack_delay: Duration, pto_count: u32) -> Duration {
    let single = rtt.pto_base().saturating_add(max_ack_delay);
    let backed_off = single.saturating_mul(1 << pto_count.min(MAX_DOUBLINGS));
    backed_off.min(MAX_INTERVAL.max(single))
}
