//! What the programs of `test/peers` share: command line, transfer protocol, TLS files, report.
//!
//! Decides what a row transfers and how it is checked. Called by every `*-peer` program. Never opens a socket.
//!
//! The protocol, over ALPN `qb-peer`, one bidirectional stream a transfer, opened by the client:
//!
//! | direction | client sends | server sends |
//! |---|---|---|
//! | up | count (8 bytes, big-endian), `U`, count patterned bytes, FIN | SHA-256 of those bytes (32 bytes), FIN |
//! | down | count (8 bytes, big-endian), `D`, FIN | count patterned bytes, FIN |

pub mod options;
pub mod pattern;
pub mod protocol;
pub mod report;
pub mod tls;

/// The application protocol of all programs.
pub const ALPN: &[u8] = b"qb-peer";
/// The name that certificates are made for.
pub const SERVER_NAME: &str = "localhost";
/// Windows of streams, the same for all programs, bytes.
pub const STREAM_WINDOW: u32 = 1_024 * 1_024;
/// UDP payload of full packets, bytes: what ours sends too.
pub const DATAGRAM_SIZE: u16 = 1_452;
