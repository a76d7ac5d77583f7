//! The one event enum of the telemetry, and the instant beside it.
//!
//! Pushed into a [`Trace`](crate::Trace), read by qlog, metrics and TypeScript. Large contents are boxed, so that a full
//! sink stays small. Never a life-cycle event: those go to the application and are never dropped.

use qbase::Timestamp;

use crate::{
    AckRecord, BlockedRecord, BurstRecord, DropReason, KeyUpdateRecord, PathMetricsRecord, PathRecord, TraceMask,
};

/// Something that happened inside a connection.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A burst was handed to the socket.
    BurstSent(Box<BurstRecord>),
    /// A path had nothing it could send.
    BurstBlocked(BlockedRecord),
    /// An ACK of the peer was processed.
    AckReceived(Box<AckRecord>),
    /// A path changed.
    PathState(PathRecord),
    /// What recovery knows about a path changed.
    PathMetrics(Box<PathMetricsRecord>),
    /// Keys of 1-RTT packets changed.
    KeyUpdate(KeyUpdateRecord),
    /// A packet was dropped.
    PacketDropped {
        /// Why.
        reason: DropReason,
        /// Its length, bytes.
        bytes: u32,
    },
}

impl Event {
    /// The subscription it belongs to: exactly one bit.
    #[must_use]
    pub const fn mask(&self) -> TraceMask {
        match self {
            Self::BurstSent(_) | Self::BurstBlocked(_) => TraceMask::BURSTS,
            Self::AckReceived(_) => TraceMask::ACKS,
            Self::PathState(_) | Self::PathMetrics(_) => TraceMask::PATHS,
            Self::KeyUpdate(_) => TraceMask::KEYS,
            Self::PacketDropped { .. } => TraceMask::DROPS,
        }
    }

    /// Its name in records.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::BurstSent(_) => "burst",
            Self::BurstBlocked(_) => "blocked",
            Self::AckReceived(_) => "ack",
            Self::PathState(_) => "path",
            Self::PathMetrics(_) => "metrics",
            Self::KeyUpdate(_) => "key-update",
            Self::PacketDropped { .. } => "packet-dropped",
        }
    }
}

/// An event and when it happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// When.
    pub at: Timestamp,
    /// What.
    pub event: Event,
}
