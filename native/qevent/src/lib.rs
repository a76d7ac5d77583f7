//! What the machine tells about itself: one event enum, one sink per connection, and the words both are written in.
//!
//! Decides names of signals, timers and drop reasons, and how many records wait. Written by `qconnection`; read by qlog,
//! metrics and TypeScript, which poll. Never formats, never does I/O, and costs a branch when nobody reads (burst
//! section 9, attacks R2).

#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

pub mod blocks;
pub mod drops;
pub mod event;
pub mod qlog;
pub mod record;
pub mod signals;
pub mod timer;
pub mod trace;

pub use blocks::{BlockCost, BlockReason, BlockReasons, Blocks, Holds};
pub use drops::{DropCounters, DropReason};
pub use event::{Event, Record};
pub use qlog::Qlog;
pub use record::{
    AckRecord, BlockedRecord, BurstRecord, EndedBy, Initiator, KeyUpdateRecord, PacketRecord, PathMetricsRecord, PathRecord,
    PathStage, SegmentRecord,
};
pub use signals::{SignalCounters, Signals};
pub use timer::TimerName;
pub use trace::{Trace, TraceMask};
