//! Logs of all connections in qlog, piece by piece, the last words of dead ones included.
//!
//! Called by the application once per turn of the driver. Asks only connections that something happened to. At most
//! [`limits::QLOG_ENDED`] logs of dead connections wait, then the oldest go (attacks R2). Never opens a file.

use super::Endpoint;
use crate::{connection::Connection, handle::ConnectionHandle};
use qbase::{ConnectionId, Role, Timestamp, limits};
use std::{collections::VecDeque, time::Duration};

/// Bytes of one piece, about: the record that reaches it is the last.
const PIECE: usize = 64 * 1_024;

/// What waits of the logs of dead connections.
#[derive(Debug)]
pub(super) struct Logs {
    unix_at_zero: Duration,
    ended: VecDeque<LogPiece>,
}

impl Logs {
    pub(super) const fn new(unix_at_zero: Duration) -> Self {
        Self { unix_at_zero, ended: VecDeque::new() }
    }
}

/// Records of one connection's log, in order and whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPiece {
    /// The connection; dead if this is the last piece.
    pub handle: ConnectionHandle,
    /// The id that names the log: the destination of the client's first Initial packet.
    pub odcid: ConnectionId,
    /// Whose view it is.
    pub role: Role,
    /// JSON texts, each behind 0x1e and before a line feed (RFC 7464). Empty only in a last piece.
    pub records: Vec<u8>,
    /// Whether more may follow.
    pub end: LogEnd,
}

/// Whether a log goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogEnd {
    /// It may.
    Open,
    /// This was its last piece.
    Last,
}

impl Endpoint {
    /// The next piece of a log, if connections write any ([`EndpointConfig::qlog`](crate::EndpointConfig::qlog)).
    pub fn poll_qlog(&mut self) -> Option<LogPiece> {
        if let Some(piece) = self.logs.as_mut()?.ended.pop_front() {
            return Some(piece);
        }
        while let Some(index) = self.turns.writer() {
            let mut records = Vec::new();
            if let Some(connection) = self.slots.at(index)
                && let Some((odcid, role)) = connection.qlog_name()
            {
                let more = connection.poll_qlog(&mut records, PIECE);
                let handle = connection.handle();
                if !more {
                    self.turns.read();
                }
                if !records.is_empty() {
                    return Some(LogPiece { handle, odcid, role, records, end: LogEnd::Open });
                }
            } else {
                self.turns.read();
            }
        }
        None
    }

    /// A new connection writes a log, if any does.
    pub(super) fn begin_log(&self, now: Timestamp, connection: &mut Connection) {
        if let Some(logs) = &self.logs {
            connection.enable_qlog(now, "quicbraid", logs.unix_at_zero);
        }
    }

    /// A connection is forgotten; what its log still holds is kept.
    pub(super) fn keep_log(&mut self, handle: ConnectionHandle, connection: &mut Connection) {
        let Some(logs) = &mut self.logs else { return };
        let Some(mut log) = connection.take_qlog() else { return };
        let mut records = Vec::new();
        log.poll(&mut records, usize::MAX);
        if logs.ended.len() >= limits::QLOG_ENDED {
            logs.ended.pop_front();
        }
        logs.ended.push_back(LogPiece { handle, odcid: log.odcid(), role: log.role(), records, end: LogEnd::Last });
    }
}
