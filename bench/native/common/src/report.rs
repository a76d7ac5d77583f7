//! Processor time, and what a program says at its end.

use std::{
    io::{Read, Write, stdin, stdout},
    net::SocketAddr,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use nix::sys::resource::{UsageWho, getrusage};
use serde_json::{Value, json};

/// What was measured on one side.
#[derive(Clone, Copy, Debug, Default)]
pub struct Report {
    /// Bytes of the application; 0 on servers.
    pub bytes: u64,
    /// Operations done; 0 on servers and for bulk.
    pub operations: u64,
    /// Time on the client's clock.
    pub elapsed: Duration,
    /// Processor time, user and system.
    pub cpu: Duration,
    /// Bursts handed to the kernel with at least one full packet, where known.
    pub bursts: u64,
    /// Segments in them.
    pub segments: u64,
    /// Packets declared lost, where known.
    pub lost: u64,
}

/// Measures from its making on.
#[derive(Clone, Copy, Debug)]
pub struct Meter {
    started: Instant,
    cpu: Duration,
}

impl Meter {
    /// Starts.
    #[must_use]
    pub fn start() -> Self {
        Self { started: Instant::now(), cpu: processor_time() }
    }

    /// Time since the start.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// A report with both times.
    #[must_use]
    pub fn report(&self) -> Report {
        let cpu = processor_time().saturating_sub(self.cpu);
        Report { elapsed: self.started.elapsed(), cpu, ..Report::default() }
    }
}

/// Processor time of this process so far; zero if the system does not tell.
fn processor_time() -> Duration {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else { return Duration::ZERO };
    let micros = |seconds: i64, micros: i64| seconds.saturating_mul(1_000_000).saturating_add(micros).unsigned_abs();
    let (user, system) = (usage.user_time(), usage.system_time());
    Duration::from_micros(micros(user.tv_sec(), user.tv_usec()) + micros(system.tv_sec(), system.tv_usec()))
}

/// Tells the runner where a server is.
pub fn listening(address: SocketAddr) {
    print(&json!({ "listening": address.to_string() }));
}

/// Waits on a thread of its own until the runner closes our stdin, then calls `then`.
pub fn when_told(then: impl FnOnce() + Send + 'static) {
    thread::spawn(move || {
        // Both the end and an error mean that nobody is there.
        stdin().lock().read_to_end(&mut Vec::new()).unwrap_or_default();
        then();
    });
}

/// Waits here until the runner closes our stdin.
pub fn wait_until_told() {
    let (told, end) = mpsc::channel();
    when_told(move || told.send(()).unwrap_or_default());
    // An error would mean that the other thread is gone, which is an end as well.
    end.recv().unwrap_or_default();
}

/// True once the runner has closed our stdin.
#[must_use]
pub fn told_flag() -> Arc<AtomicBool> {
    let told = Arc::new(AtomicBool::new(false));
    let setter = Arc::clone(&told);
    when_told(move || setter.store(true, Ordering::Relaxed));
    told
}

/// Prints the report and decides the exit code.
#[must_use]
pub fn finish(outcome: Result<Report, String>) -> ExitCode {
    match outcome {
        Ok(report) => {
            print(&report.json());
            ExitCode::SUCCESS
        }
        Err(error) => {
            print(&json!({ "error": error }));
            ExitCode::FAILURE
        }
    }
}

impl Report {
    fn json(&self) -> Value {
        json!({
            "bytes": self.bytes,
            "operations": self.operations,
            "seconds": self.elapsed.as_secs_f64(),
            "cpu": self.cpu.as_secs_f64(),
            "bursts": self.bursts,
            "segments": self.segments,
            "lost": self.lost,
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
