//! What the benchmark programs share: settings, command line, processor time, report.
//!
//! | case | one operation | client | server |
//! |---|---|---|---|
//! | `bulk` | a byte | writes on all its streams until the time is up, then FIN | reads to FIN, answers each stream with its count (8 bytes, big-endian) |
//! | `handshakes` | a connection | connects, reads, closes, `in_flight` at once | one unidirectional stream of one byte when the handshake is complete |
//! | `streams` | a request | opens a stream, sends 100 bytes, reads 100, `in_flight` at once | answers 100 bytes with 100 |
//!
//! Called by every `bench-*` program. Never opens a socket itself.

pub mod options;
pub mod report;
pub mod settings;
pub mod sockets;
pub mod tls;
