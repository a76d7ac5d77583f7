//! What the driver counts.

/// Counters of one driver since its start; each only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DriverStatistics {
    /// Turns of the loop.
    pub turns: u64,
    /// UDP datagrams read (each segment of a GRO train counts).
    pub datagrams_received: u64,
    /// Their payload bytes.
    pub bytes_received: u64,
    /// Messages read, trains counted once (attacks A23).
    pub messages_received: u64,
    /// Calls that asked for messages.
    pub receive_calls: u64,
    /// Empty datagrams, dropped (attacks A2).
    pub empty_datagrams: u64,
    /// Errors of receive calls, ignored (attacks J8).
    pub receive_errors: u64,
    /// UDP datagrams that the kernel took.
    pub datagrams_sent: u64,
    /// Their payload bytes.
    pub bytes_sent: u64,
    /// Bursts offered to the kernel.
    pub send_calls: u64,
    /// Bursts the kernel refused for good.
    pub send_errors: u64,
    /// Bursts kept because a socket was full or the system out of buffers.
    pub bursts_held: u64,
    /// Datagrams that are no QUIC and found no room for the application.
    pub raw_dropped: u64,
}
