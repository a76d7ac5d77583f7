//! When to send, when to give up on a packet, when to acknowledge: recovery and congestion control of one path.
//!
//! Decides RTT estimates, loss and probe timeouts, congestion windows, pacing and the delay of ACKs (RFC 9002, RFC 9438,
//! RFC 9000 §13.2). Called by `qconnection`, one set of these per path (burst B-100). Never keeps records of packets,
//! never sends, never reads a clock.

// What a peer says moves every number here (attacks R1).
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

pub mod ack_delay;
pub mod ack_frequency;
pub mod ack_policy;
pub mod algorithm;
pub mod controller;
pub mod loss;
pub mod pacer;
pub mod pto;
pub mod rate;
pub mod rtt;

use std::time::Duration;

use qbase::Timestamp;

pub use ack_policy::{AckEliciting, AckFrequency, AckPolicy, Arrived, Order};
pub use algorithm::{Algorithm, Coupling, SlowStart, Subflow};
pub use controller::{Acked, AppLimited, Controller, Lost, Persistence, Phase};
pub use loss::{LossEpisode, PersistentCongestion, Reordering};
pub use pacer::Pacer;
pub use rtt::RttEstimator;

/// Nanoseconds of a duration, capped at `u64::MAX` (584 years).
pub(crate) fn nanos_of(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The instant `by` after `at`.
pub(crate) fn later(at: Timestamp, by: Duration) -> Timestamp {
    at + by
}
