//! Remembers every path of a connection, so that its counters are still there when it is gone.

use peer_common::report::PathReport;
use qconnection::{
    Connection,
    connection::events::{PathEvent, PathEventKind},
    path::PathState,
};

/// The paths seen so far, by id.
#[derive(Default)]
pub struct PathLog {
    seen: Vec<PathReport>,
}

impl PathLog {
    /// Takes the counters of all paths in use.
    pub fn update(&mut self, connection: &Connection) {
        let is_client = connection.role().is_client();
        for view in connection.paths().filter(|view| view.state != PathState::Unused) {
            let client = if is_client { view.four_tuple.local } else { view.four_tuple.remote };
            let entry = self.entry(view.id.0);
            entry.address = client.ip().to_string();
            entry.sent = view.counters.bytes_sent;
            entry.received = view.counters.bytes_received;
        }
    }

    /// Marks paths that are given up, or seem silent.
    pub fn on_event(&mut self, event: &PathEvent) {
        match event.kind {
            PathEventKind::Abandoning(_) | PathEventKind::Abandoned(_) => self.entry(event.path.0).abandoned = true,
            PathEventKind::Suspect => self.entry(event.path.0).suspected = true,
            _ => {}
        }
    }

    /// Number of paths that data may flow on.
    pub fn open(connection: &Connection) -> usize {
        connection.paths().filter(|view| view.state == PathState::Open).count()
    }

    /// All of them.
    pub fn reports(&self) -> Vec<PathReport> {
        self.seen.clone()
    }

    fn entry(&mut self, id: u32) -> &mut PathReport {
        let index = self.seen.iter().position(|path| path.id == id).unwrap_or_else(|| {
            let path = PathReport {
                id,
                address: String::new(),
                sent: 0,
                received: 0,
                stream_frames: None,
                suspected: false,
                abandoned: false,
            };
            self.seen.push(path);
            self.seen.len() - 1
        });
        &mut self.seen[index]
    }
}
