//! Waking the I/O thread from another thread: as many calls as you like, one system call per nap (attacks R5).
//!
//! Called by every thread that queued something for the I/O thread. Never blocks and never fails visibly.

mod gate;

use std::{
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use mio::{Registry, Token};

pub(crate) use self::gate::Gate;

/// Wakes one I/O thread. Clones wake the same thread; outliving the thread is harmless.
#[derive(Clone)]
pub struct Waker {
    shared: Arc<Shared>,
}

struct Shared {
    gate: Gate,
    bell: mio::Waker,
    stop: AtomicBool,
}

impl Waker {
    /// A waker whose bell is heard by the selector behind `registry` under `token`.
    pub(crate) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        let bell = mio::Waker::new(registry, token)?;
        let shared = Shared { gate: Gate::new(), bell, stop: AtomicBool::new(false) };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Makes the thread begin a turn that sees everything this thread wrote before the call.
    ///
    /// One atomic operation while the thread is busy or already called; a system call only when it naps.
    pub fn wake(&self) {
        if self.shared.gate.call().must_ring() {
            // A bell that fails, which an eventfd does not, delays the turn to the next datagram or timer.
            self.shared.bell.wake().unwrap_or_default();
        }
    }

    /// Asks the thread to end after its next turn.
    pub(crate) fn stop(&self) {
        self.shared.stop.store(true, Ordering::Release);
        self.wake();
    }

    /// The thread was asked to end.
    pub(crate) fn is_stopped(&self) -> bool {
        self.shared.stop.load(Ordering::Acquire)
    }

    /// The napping side of the protocol.
    pub(crate) fn gate(&self) -> &Gate {
        &self.shared.gate
    }
}

impl fmt::Debug for Waker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waker").finish_non_exhaustive()
    }
}
