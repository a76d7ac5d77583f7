//! qlog: what a connection does, as JSON text sequences that qlog tools read (draft-ietf-quic-qlog-main-schema,
//! draft-ietf-quic-qlog-quic-events; RFC 7464).
//!
//! | file | job |
//! |---|---|
//! | `log` | one connection's log: header, records that wait, packets that wait for their socket |
//! | `packet` | headers of packets; packet_sent, packet_received, packet_dropped, packet_lost |
//! | `frame` | every frame as an object |
//! | `parameters` | transport parameters as parameters_set |
//! | `json` | JSON text |
//! | `checksum` | CRC-32C of datagrams |
//!
//! Written by `qconnection` while a log is wanted, read by polling. Never holds payload, keys or tokens (attacks I12), never
//! does I/O, and does not exist while nobody asked for it.

pub mod checksum;
pub mod frame;
pub mod json;
pub mod log;
pub mod packet;
pub mod parameters;

pub use json::Json;
pub use log::{BurstKind, Qlog, Written};
pub use packet::Header;
