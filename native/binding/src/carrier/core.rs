//! The machine of one endpoint over a carrier: time, datagrams and turns come in, bursts are asked for one by one.
//!
//! Between two bursts JavaScript runs, and may do what it likes: the outcome of a burst is told with the next question.
//! Decides nothing; never reads a clock.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use qbase::{Ecn, FourTuple, PathId, Timestamp};
use qconnection::Endpoint as Machine;
use qdriver::drive::{Manual, Outcome};

use super::ports::Ports;
use crate::{engine::Engine, wake::Wake};

/// A burst as JavaScript gets it; its bytes lie in a buffer of JavaScript's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaving {
    /// Addresses.
    pub four_tuple: FourTuple,
    /// Mark of every datagram.
    pub ecn: Ecn,
    /// Bytes in the buffer.
    pub len: usize,
    /// Bytes of every segment but the last.
    pub segment_size: usize,
    /// The path; `None`: an answer without a connection, or no QUIC.
    pub path: Option<PathId>,
}

/// An endpoint without a thread, a socket or a clock.
pub struct Core {
    /// `None`: it has not begun, or has ended.
    driver: Option<Manual<Machine, Engine>>,
    /// Its addresses.
    pub ports: Ports,
    wake: Arc<Wake>,
    now: Timestamp,
    /// The same for whoever looks at the endpoint's clock, ns.
    shared_now: Arc<AtomicU64>,
}

impl Core {
    /// Nothing that could take a turn yet.
    #[must_use]
    pub fn new(ports: Ports) -> Self {
        Self { driver: None, ports, wake: Arc::default(), now: Timestamp::ZERO, shared_now: Arc::default() }
    }

    /// The clock for those who look at it by themselves, ns.
    #[must_use]
    pub fn clock(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.shared_now)
    }

    /// The endpoint has been made.
    pub fn begin(&mut self, wake: Arc<Wake>, driver: Manual<Machine, Engine>) {
        self.wake = wake;
        self.driver = Some(driver);
    }

    /// Time is `now`; it never goes back.
    pub fn advance(&mut self, now: Timestamp) {
        if now > self.now {
            self.now = now;
            self.shared_now.store(now.as_nanos(), Ordering::Relaxed);
        }
    }

    /// A datagram has come; it is decrypted in place.
    pub fn receive(&mut self, local: Option<SocketAddr>, remote: SocketAddr, ecn: Ecn, datagram: &mut [u8]) {
        let local = local.filter(|local| local.is_ipv4() == remote.is_ipv4()).unwrap_or_else(|| self.ports.own(remote));
        if let Some(driver) = &mut self.driver {
            driver.receive(self.now, FourTuple { local, remote }, ecn, datagram);
        }
    }

    /// What is due, and the engine. Nothing is sent.
    pub fn work(&mut self) {
        if let Some(driver) = &mut self.driver {
            driver.work(self.now, &mut self.ports);
            if driver.is_stopped() {
                self.driver = None;
            }
        }
    }

    /// Records wait that JavaScript has not been told of.
    #[must_use]
    pub fn take_news(&self) -> bool {
        self.wake.take_noted()
    }

    /// Nothing will be sent or received any more.
    #[must_use]
    pub const fn has_ended(&self) -> bool {
        self.driver.is_none()
    }

    /// What became of the burst that was given out.
    pub fn settle(&mut self, outcome: Outcome) {
        if let Some(driver) = &mut self.driver {
            driver.settle(self.now, outcome);
        }
    }

    /// Writes the next burst to the front of `buffer`.
    pub fn next_burst(&mut self, buffer: &mut [u8]) -> Option<Leaving> {
        if let Some(raw) = self.ports.take_raw() {
            let len = copy(&raw.bytes, buffer);
            let four_tuple = FourTuple { local: raw.local, remote: raw.remote };
            return Some(Leaving { four_tuple, ecn: Ecn::NotEct, len, segment_size: len, path: None });
        }
        let (departure, bytes) = self.driver.as_mut()?.offer(self.now)?;
        let len = copy(bytes, buffer);
        Some(Leaving { four_tuple: departure.four_tuple, ecn: departure.ecn, len, segment_size: departure.segment_size, path: departure.path })
    }

    /// When the next turn is due; an instant that has passed means at once, `None`: when something happens.
    #[must_use]
    pub fn next_turn(&self) -> Option<Timestamp> {
        let driver = self.driver.as_ref()?;
        if self.ports.has_raw() { Some(Timestamp::ZERO) } else { driver.next_turn() }
    }

    /// Something has broken: the endpoint ends, and JavaScript hears these words.
    pub fn break_down(&mut self, words: String) {
        if let Some(mut driver) = self.driver.take() {
            driver.application_mut().break_down(words);
        }
    }

    /// The endpoint has ended.
    pub fn leave(&mut self) {
        self.driver = None;
    }
}

fn copy(bytes: &[u8], buffer: &mut [u8]) -> usize {
    let (to, from) = (buffer.len().min(bytes.len()), bytes.len().min(buffer.len()));
    if let (Some(to), Some(from)) = (buffer.get_mut(..to), bytes.get(..from)) {
        to.copy_from_slice(from);
    }
    from
}
