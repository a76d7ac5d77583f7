//! DATAGRAM frames that wait, in both directions (RFC 9221): bytes that are sent once and delivered at once or never.
//!
//! Decides which message goes into the next packet, which one is given up, and what the application hears of its fate.
//! Called by the application's verbs, the burst writer, the dispatch and loss recovery. Never sends anything twice,
//! never waits for memory and never looks at congestion: the writer it is handed is as large as that allows.

mod receive;
mod send;

pub use receive::{Earliness, ReceiveQueue};
pub use send::{Carrier, SendOrder, SendQueue};

/// What became of a message that was handed to [`SendQueue::push`]; told once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The peer's transport has it; whether its application read it nobody knows (RFC 9221 §5.2).
    Acknowledged,
    /// The packet that carried it is believed lost. It is not sent again.
    Lost,
    /// It never left: too old, too many behind it, too large for what the path carries now, or its path has gone.
    Abandoned,
}

/// Counters and gauges of both queues (attacks L14).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DatagramStatistics {
    /// Messages written into packets that a socket took.
    pub sent: u64,
    /// Messages the peer acknowledged.
    pub acknowledged: u64,
    /// Messages believed lost.
    pub lost: u64,
    /// Messages that never left.
    pub abandoned: u64,
    /// Messages of the peer.
    pub received: u64,
    /// Messages of the peer that were dropped because the application was slow.
    pub dropped: u64,
    /// Gauge: messages waiting to be sent.
    pub queued: usize,
    /// Gauge: bytes of them.
    pub queued_bytes: usize,
    /// Gauge: messages waiting for the application.
    pub waiting: usize,
    /// Gauge: bytes of them.
    pub waiting_bytes: usize,
}
