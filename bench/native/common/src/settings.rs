//! Settings that every implementation gets alike.

use std::time::Duration;

/// The application protocol.
pub const ALPN: &[u8] = b"qb-bench";
/// The name that certificates are made for.
pub const SERVER_NAME: &str = "localhost";
/// UDP payload of full packets, bytes.
pub const DATAGRAM_SIZE: u16 = 1_452;
/// Receive window of a stream, bytes.
pub const STREAM_WINDOW: u32 = 1_024 * 1_024;
/// Receive window of a connection, bytes.
pub const CONNECTION_WINDOW: u32 = 4 * 1_024 * 1_024;
/// Bytes an application may write ahead of acknowledgements, per connection.
pub const SEND_BUFFER: u32 = 8 * 1_024 * 1_024;
/// Streams of one kind that may be open.
pub const MAX_STREAMS: u32 = 256;
/// Kernel buffer of a socket on each side, bytes.
pub const SOCKET_BUFFER: usize = 4 * 1_024 * 1_024;
/// Bytes of a write.
pub const CHUNK: usize = 65_536;
/// Bytes of a request and of its answer.
pub const REQUEST: usize = 100;
/// Connections without news end.
pub const IDLE: Duration = Duration::from_secs(10);
