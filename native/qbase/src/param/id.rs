//! Ids of the transport parameters (RFC 9000 §18.2, RFC 9221 §3, RFC 9287 §3, multipath MP-1, MP-98,
//! draft-ietf-quic-ack-frequency §3, traversal T-100, draft-ietf-quic-address-discovery §3).
//!
//! Called by reading and writing. Never holds values.

/// Destination id of the client's first Initial.
pub const ORIGINAL_DESTINATION_CONNECTION_ID: u64 = 0x00;
/// Idle timeout, milliseconds.
pub const MAX_IDLE_TIMEOUT: u64 = 0x01;
/// Reset token of the handshake's connection id.
pub const STATELESS_RESET_TOKEN: u64 = 0x02;
/// Largest UDP payload.
pub const MAX_UDP_PAYLOAD_SIZE: u64 = 0x03;
/// Credit of the connection.
pub const INITIAL_MAX_DATA: u64 = 0x04;
/// Credit of bidirectional streams the sender opens.
pub const INITIAL_MAX_STREAM_DATA_BIDI_LOCAL: u64 = 0x05;
/// Credit of bidirectional streams the receiver opens.
pub const INITIAL_MAX_STREAM_DATA_BIDI_REMOTE: u64 = 0x06;
/// Credit of unidirectional streams.
pub const INITIAL_MAX_STREAM_DATA_UNI: u64 = 0x07;
/// Bidirectional streams.
pub const INITIAL_MAX_STREAMS_BIDI: u64 = 0x08;
/// Unidirectional streams.
pub const INITIAL_MAX_STREAMS_UNI: u64 = 0x09;
/// Exponent of ACK Delay.
pub const ACK_DELAY_EXPONENT: u64 = 0x0a;
/// Longest delay of acknowledgements, milliseconds.
pub const MAX_ACK_DELAY: u64 = 0x0b;
/// No migration, a flag.
pub const DISABLE_ACTIVE_MIGRATION: u64 = 0x0c;
/// Another address of the server.
pub const PREFERRED_ADDRESS: u64 = 0x0d;
/// Connection ids kept.
pub const ACTIVE_CONNECTION_ID_LIMIT: u64 = 0x0e;
/// Source id of the first Initial.
pub const INITIAL_SOURCE_CONNECTION_ID: u64 = 0x0f;
/// Source id of the Retry.
pub const RETRY_SOURCE_CONNECTION_ID: u64 = 0x10;
/// Versions chosen and available.
pub const VERSION_INFORMATION: u64 = 0x11;
/// Largest DATAGRAM frame.
pub const MAX_DATAGRAM_FRAME_SIZE: u64 = 0x20;
/// Largest path id.
pub const INITIAL_MAX_PATH_ID: u64 = 0x3e;
/// Least delay of acknowledgements that may be asked for, microseconds.
pub const MIN_ACK_DELAY: u64 = 0xff04_de1b;
/// Largest path id in shared-space mode: ours alone, a number drawn once (multipath MP-98).
pub const SHARED_SPACE_MAX_PATH_ID: u64 = 0x2c7e_91d0_b35a_64f1;
/// Traversal in profile `braid`: ours alone, a number drawn once (traversal T-100).
pub const TRAVERSAL: u64 = 0x1d3b_7c52_e9a4_6f08;
/// Address discovery (draft-ietf-quic-address-discovery §3).
pub const ADDRESS_DISCOVERY: u64 = 0x9f81_a176;
/// The fixed bit is free, a flag.
pub const GREASE_QUIC_BIT: u64 = 0x2ab2;

/// The `n`-th id reserved to be ignored (RFC 9000 §18.1): 31 n + 27, kept within a varint.
#[must_use]
pub const fn reserved(n: u64) -> u64 {
    (n % (1 << 56)).saturating_mul(31).saturating_add(27)
}
