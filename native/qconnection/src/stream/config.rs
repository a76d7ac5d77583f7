//! What a connection allows its streams.
//!
//! Called by the connection when it begins. Never changes afterwards.

use qbase::Role;

/// What a connection allows its streams. All of it is told to the peer in transport parameters or kept on this side.
#[derive(Clone, Debug)]
pub struct StreamsConfig {
    /// Which end we are.
    pub role: Role,
    /// Bidirectional streams the peer may have open at once (attacks L16).
    pub bidirectional: u64,
    /// Unidirectional streams the peer may have open at once.
    pub unidirectional: u64,
    /// First receive window of each stream, bytes.
    pub stream_window: u64,
    /// What it may grow to; never beyond the connection's.
    pub max_stream_window: u64,
    /// First receive window of all streams together, bytes.
    pub connection_window: u64,
    /// What it may grow to, if the endpoint has the memory.
    pub max_connection_window: u64,
    /// Bytes a stream takes from the application before they are sent.
    pub send_buffer: usize,
    /// The same over all streams.
    pub connection_send_buffer: usize,
    /// What becomes of bytes that were not read when the peer resets their stream.
    pub reset_delivery: ResetDelivery,
}

/// What becomes of bytes that were not read when the peer resets their stream (mux R33; RFC 9000 §3.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResetDelivery {
    /// They are dropped, and the reset is told at once.
    #[default]
    DropUnread,
    /// Those in order can be read first; the read that finds no more tells the reset.
    ReadFirst,
}
