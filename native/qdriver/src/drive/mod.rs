//! The I/O thread: one per endpoint, owned by a handle, joined when the handle goes (attacks R5).
//!
//! ```text
//!   wait ─▶ read (≤ 64 messages a socket) ─▶ timers ─▶ held bursts ─▶ application ─▶ transmit ─▶ wait …
//! ```
//! Decides the order of work and its budgets. Called by `binding` and by Rust programs. No lock, no channel and no task
//! is involved: the application is called on this thread and shares with others what it likes.

mod endpoint;
mod failures;
mod intake;
mod io;
mod kernel;
pub mod machine;
pub mod manual;
mod outbox;
mod raw;
mod refusal;
mod sockets;
mod start;
mod stats;
mod turn;
mod wishes;

use std::{any::Any, io::Error, thread};

use mio::Token;
use qbase::limits;

pub use self::{
    io::{Application, Io, Outside, RawError, RawTransmit},
    machine::{Departure, Machine, Received, RoutedRun, RunFate, SendFailure, SocketId, SocketWish},
    manual::{Manual, Network, Outcome},
    raw::RawDatagram,
    sockets::SocketFacts,
    stats::DriverStatistics,
};
use self::{sockets::Sockets, turn::Loop};
use crate::{
    poller::Poller,
    socket::{BindError, SocketConfig},
    waker::Waker,
};

/// Token of the bell; sockets count up from zero.
const BELL: Token = Token(usize::MAX);

/// What a driver starts with.
#[derive(Clone, Debug)]
pub struct DriverConfig {
    /// Sockets bound before the thread starts; more can be bound later, by [`Io::bind`]. Port 0 in both families is one port.
    pub sockets: Vec<SocketConfig>,
    /// Segments of one GSO call at most, 1 ..= 64; 1 switches GSO off: whole bursts then leave by one `sendmmsg`.
    pub max_segments: usize,
    /// Name of the thread, for debuggers.
    pub thread_name: String,
}

impl Default for DriverConfig {
    fn default() -> Self {
        Self { sockets: Vec::new(), max_segments: limits::MAX_SEGMENTS, thread_name: "quicbraid".to_owned() }
    }
}

/// A driver did not start.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// One of its sockets could not be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The system gave no selector or no thread.
    #[error("cannot start the I/O thread: {0}")]
    System(#[from] Error),
}

/// A driver ended otherwise than by being stopped.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// The selector failed.
    #[error("the I/O thread lost its selector: {0}")]
    System(#[from] Error),
    /// The application or the machine panicked.
    #[error("the I/O thread panicked: {0}")]
    Panicked(String),
}

/// Starts I/O threads.
#[derive(Debug)]
pub struct Driver;

impl Driver {
    /// Binds the sockets of `config` and starts a thread that drives `machine` and calls `application` once per turn.
    ///
    /// # Errors
    /// A socket could not be bound, or the system gave no selector or thread.
    pub fn spawn<M: Machine, A: Application<M>>(
        config: DriverConfig,
        machine: M,
        application: A,
    ) -> Result<DriverHandle, SpawnError> {
        let poller = Poller::new()?;
        let waker = Waker::new(poller.registry(), BELL)?;
        let mut sockets = Sockets::new(config.max_segments);
        start::bind_all(&mut sockets, poller.registry(), &config.sockets)?;
        let facts = sockets.facts().collect();
        let body = Loop::new(machine, application, sockets, poller, waker.clone());
        let thread = thread::Builder::new().name(config.thread_name).spawn(move || body.run())?;
        Ok(DriverHandle { waker, sockets: facts, thread: Some(thread) })
    }
}

/// Owns an I/O thread. Dropping it stops the thread and waits for its end.
#[derive(Debug)]
pub struct DriverHandle {
    waker: Waker,
    sockets: Vec<SocketFacts>,
    thread: Option<thread::JoinHandle<Result<(), Error>>>,
}

impl DriverHandle {
    /// Wakes the thread from anywhere.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// The sockets bound at the start, in the order of the configuration.
    #[must_use]
    pub fn sockets(&self) -> &[SocketFacts] {
        &self.sockets
    }

    /// The thread has ended, by itself or not.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(thread::JoinHandle::is_finished)
    }

    /// Lets the thread take one more turn (whose bursts still go out) and waits for its end.
    ///
    /// # Errors
    /// The thread had ended by a failure or a panic.
    pub fn stop(mut self) -> Result<(), DriverError> {
        self.waker.stop();
        self.wait()
    }

    /// Waits until the application ends the thread by [`Io::stop`].
    ///
    /// # Errors
    /// The thread ended by a failure or a panic.
    pub fn join(mut self) -> Result<(), DriverError> {
        self.wait()
    }

    fn wait(&mut self) -> Result<(), DriverError> {
        match self.thread.take().map(thread::JoinHandle::join) {
            None | Some(Ok(Ok(()))) => Ok(()),
            Some(Ok(Err(error))) => Err(error.into()),
            Some(Err(panic)) => Err(DriverError::Panicked(words(panic.as_ref()))),
        }
    }
}

impl Drop for DriverHandle {
    fn drop(&mut self) {
        self.waker.stop();
        // Nobody is left to hear how it ended.
        self.wait().unwrap_or_default();
    }
}

/// What a panic said.
fn words(panic: &(dyn Any + Send)) -> String {
    let literal = panic.downcast_ref::<&str>().map(|&words| words.to_owned());
    literal.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without words".to_owned())
}

#[cfg(test)]
mod tests;
