//! The qlogs of a host: kept for tests, and written to files for people.
//!
//! Called by the host after each turn. With the environment variable `QSIM_QLOG` every scenario writes its logs into that
//! folder when it ends, a failing one too: `<thread>-<number>-<odcid>_<role>.sqlog`, where cargo names the thread of a
//! test after the test. Otherwise nothing is written, and nothing is logged unless the settings ask for it.

use std::{
    fmt::Write as _,
    fs,
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
};

use qconnection::Endpoint;

/// Names the folder for logs of all scenarios.
pub const VARIABLE: &str = "QSIM_QLOG";

/// Logs so far in this process: several scenarios of a test have the same ids.
static COUNT: AtomicU64 = AtomicU64::new(0);

/// Logs by name, in the order of their connections.
#[derive(Debug, Default)]
pub struct Logs {
    kept: Vec<(String, Vec<u8>)>,
    folder: Option<PathBuf>,
}

impl Logs {
    /// No logs yet; they go to the folder of the environment, if it names one.
    #[must_use]
    pub fn from_environment() -> Self {
        Self { kept: Vec::new(), folder: std::env::var_os(VARIABLE).map(PathBuf::from) }
    }

    /// Somebody reads files.
    #[must_use]
    pub const fn has_folder(&self) -> bool {
        self.folder.is_some()
    }

    /// Takes what waits in the machine.
    pub fn take(&mut self, endpoint: &mut Endpoint) {
        while let Some(piece) = endpoint.poll_qlog() {
            let mut name = String::new();
            for byte in piece.odcid.as_bytes() {
                // A string takes everything.
                let _ = write!(name, "{byte:02x}");
            }
            name.push_str(if piece.role.is_client() { "_client" } else { "_server" });
            match self.kept.iter_mut().find(|(kept, _)| *kept == name) {
                Some((_, records)) => records.extend(piece.records),
                None => self.kept.push((name, piece.records)),
            }
        }
    }

    /// All logs: `<odcid>_<role>` and their records.
    #[must_use]
    pub fn all(&self) -> &[(String, Vec<u8>)] {
        &self.kept
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        let Some(folder) = &self.folder else { return };
        let thread = std::thread::current();
        let test = thread.name().unwrap_or("qsim").replace("::", "-");
        for (name, records) in &self.kept {
            let number = COUNT.fetch_add(1, Ordering::Relaxed);
            // Logging never fails a test.
            drop(fs::create_dir_all(folder).and_then(|()| fs::write(folder.join(format!("{test}-{number}-{name}.sqlog")), records)));
        }
    }
}
