//! When to send, when to give up on a packet, when to acknowledge: recovery and congestion control of one path.
//!
//! Decides RTT estimates, loss and probe timeouts, congestion windows, pacing and the delay of ACKs (RFC 9002, RFC 9438,
//! RFC 9000 §13.2). Called by `qconnection`, one set of these per path (burst B-100). Never keeps records of packets,
//! never sends, never reads a clock.

pub mod ack_delay;
pub mod ack_policy;
pub mod algorithm;
pub mod controller;
pub mod loss;
pub mod pacer;
pub mod pto;
pub mod rtt;

pub use ack_policy::{AckEliciting, AckPolicy, CongestionMark, Order};
pub use algorithm::Algorithm;
pub use controller::{Acked, AppLimited, Controller, Lost, Persistence, Phase};
pub use loss::PersistentCongestion;
pub use pacer::Pacer;
pub use rtt::RttEstimator;

/// Nanoseconds of a duration, capped at `u64::MAX` (584 years).
pub(crate) fn nanos_of(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
