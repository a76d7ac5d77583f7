//! What a program says at its end: one line of JSON.

use serde_json::{Value, json};
use std::{
    io::{Write, stdout},
    process::ExitCode,
    time::Instant,
};

/// One path of the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathReport {
    /// Its id on the wire.
    pub id: u32,
    /// The client's address on it, where known.
    pub address: String,
    /// UDP payload sent on it, bytes.
    pub sent: u64,
    /// UDP payload received on it, bytes.
    pub received: u64,
    /// STREAM frames sent and received on it, where the library counts them.
    pub stream_frames: Option<u64>,
    /// It seemed silent for a while, where the library looks for that.
    pub suspected: bool,
    /// It was given up, by us or the peer.
    pub abandoned: bool,
}

/// What was done.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Patterned bytes from client to server.
    pub up: u64,
    /// Patterned bytes from server to client.
    pub down: u64,
    /// Multipath was negotiated; `None`: the library cannot tell or has none.
    pub multipath: Option<bool>,
    /// Key updates, where the library counts them.
    pub key_updates: Option<u64>,
    /// The paths that were in use, where known.
    pub paths: Vec<PathReport>,
}

/// Tells the runner the port: the one line before the report.
pub fn listening(addresses: &[std::net::SocketAddr]) {
    let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    print(&json!({ "listening": addresses }));
}

/// Tells the runner that half of the first transfer is through.
pub fn middle() {
    print(&json!({ "middle": true }));
}

/// Prints the report and decides the exit code.
#[must_use]
pub fn finish(implementation: &str, role: &str, started: Instant, outcome: Result<Report, String>) -> ExitCode {
    let (report, error) = match outcome {
        Ok(report) => (report, None),
        Err(error) => (Report::default(), Some(error)),
    };
    let paths: Vec<Value> = report.paths.iter().map(PathReport::json).collect();
    let code = if error.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    print(&json!({
        "ok": error.is_none(),
        "error": error,
        "implementation": implementation,
        "role": role,
        "ms": u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        "up": report.up,
        "down": report.down,
        "multipath": report.multipath,
        "keyUpdates": report.key_updates,
        "paths": paths,
    }));
    code
}

impl PathReport {
    fn json(&self) -> Value {
        json!({
            "id": self.id,
            "address": self.address,
            "sent": self.sent,
            "received": self.received,
            "streamFrames": self.stream_frames,
            "suspected": self.suspected,
            "abandoned": self.abandoned,
        })
    }
}

/// A reader that went away takes the line with it; nobody is left to be told.
fn print(line: &Value) {
    let mut out = stdout().lock();
    if writeln!(out, "{line}").is_ok() {
        out.flush().unwrap_or_default();
    }
}
