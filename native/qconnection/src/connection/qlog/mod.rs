//! The log of a connection in qlog: what it says of packets, and what it says last of everything else.
//!
//! | file | job |
//! |---|---|
//! | `packets` | packets as they are written, opened, dropped and lost |
//! | `facts` | what changed about the connection since the log last spoke of it |
//! | `paths` | the same for each path |
//!
//! Called by the input, the output, the losses and the timers, each behind one test of [`Connection::is_logged`]. Facts are
//! found by comparing with what the log said last, so that no part of the connection knows of the log. Changes nothing but
//! the log.

mod facts;
mod packets;
mod paths;

use super::{
    Connection, StepKind,
    events::{CloseInfo, PathEvent},
};
pub(crate) use packets::Plain;

use facts::Seen;
use paths::PathSeen;
use qbase::{ConnectionId, FourTuple, Role, Timestamp, limits};
use qevent::Qlog;
use std::time::Duration;

/// A log and what it said last.
#[derive(Debug)]
pub(crate) struct Log {
    out: Qlog,
    seen: Seen,
    /// One for each path in use.
    paths: Vec<PathSeen>,
    /// News of paths that the log has yet to tell.
    news: Vec<PathEvent>,
    /// How the connection ended, until the log tells it.
    closed: Option<CloseInfo>,
    /// Checksum of the datagram whose packets are being taken; `None` for packets that waited for their keys.
    arriving: Option<u32>,
}

impl Connection {
    /// Writes a qlog from now on, under this title. `unix_at_zero` is the time since 1970 at [`Timestamp::ZERO`]; zero:
    /// the log has no time of day. Without a reader at most [`limits::QLOG_BYTES`] wait, the newest.
    pub fn enable_qlog(&mut self, now: Timestamp, title: &str, unix_at_zero: Duration) {
        if self.is_logged() {
            return;
        }
        let out = Qlog::new(self.role, self.cids.original_dcid, now, title, unix_at_zero);
        let mut log = Box::new(Log { out, seen: Seen::default(), paths: Vec::new(), news: Vec::new(), closed: None, arriving: None });
        self.log_beginning(&mut log, now);
        self.qlog = Some(log);
        self.log_facts(now);
    }

    /// A log is written.
    #[inline]
    pub(crate) const fn is_logged(&self) -> bool {
        self.qlog.is_some()
    }

    /// Moves records of the log to the end of `out`, whole ones, until it holds `most` bytes or more. Returns whether
    /// more wait.
    pub fn poll_qlog(&mut self, out: &mut Vec<u8>, most: usize) -> bool {
        let Some(log) = &mut self.qlog else { return false };
        log.out.poll(out, most);
        !log.out.is_empty()
    }

    /// The id that names the log and the end it belongs to; `None` if there is none.
    #[must_use]
    pub fn qlog_name(&self) -> Option<(ConnectionId, Role)> {
        self.qlog.as_ref().map(|log| (log.out.odcid(), log.out.role()))
    }

    /// Records of the log that were dropped because nobody took them.
    #[must_use]
    pub fn qlog_dropped(&self) -> u64 {
        self.qlog.as_ref().map_or(0, |log| log.out.dropped())
    }

    /// The connection is about to be forgotten: its log tells the end and gives away all it has.
    pub(crate) fn take_qlog(&mut self) -> Option<Qlog> {
        let newest = self.qlog.as_ref()?.out.newest();
        self.log_facts(newest);
        self.qlog.take().map(|log| log.out)
    }

    /// Something happened to a path; the log tells it with the next facts.
    pub(super) fn log_path_event(&mut self, event: &PathEvent) {
        if let Some(log) = self.qlog.as_mut().filter(|log| log.news.len() < limits::EVENTS_WAITING) {
            log.news.push(event.clone());
        }
    }

    /// A step of the handshake with one of its address pairs (multipath MP-97). The schema has no event for it.
    pub(super) fn log_step(&mut self, now: Timestamp, attempt: usize, four_tuple: FourTuple, kind: StepKind, reason: &str) {
        let Some(log) = &mut self.qlog else { return };
        log.out.event(now, None, "loglevel:info", |json| {
            let FourTuple { local, remote } = four_tuple;
            let remote = if four_tuple.reserve() > 0 { "a peer behind a relay".to_owned() } else { remote.to_string() };
            let detail = match kind {
                StepKind::Flight { datagrams, bytes, .. } => format!(" {datagrams} datagrams, {bytes} bytes"),
                _ => String::new(),
            };
            json.key("message").text(&format!("handshake attempt {attempt} ({local} to {remote}): {}{detail}; {reason}", kind.name()));
        });
    }

    /// The connection ended; the log tells it with the next facts.
    pub(super) fn log_end(&mut self, info: &CloseInfo) {
        if let Some(log) = &mut self.qlog {
            log.closed = Some(info.clone());
        }
    }
}
