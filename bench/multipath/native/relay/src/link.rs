//! One link on a thread of its own: two sockets, a line each way.
//!
//! The thread sleeps in `ppoll`, whose timer this kernel rounds to tens of microseconds once the thread's slack is small.

use std::{
    io::{self, ErrorKind},
    net::{SocketAddr, UdpSocket},
    os::fd::AsFd,
    sync::mpsc::Receiver,
    time::{Duration, Instant},
};

use nix::{
    poll::{PollFd, PollFlags, ppoll},
    sys::{prctl::set_timerslack, time::TimeSpec},
};

use crate::line::{Line, Shape};

/// Datagrams read from a socket before the other one has its turn.
const READS: usize = 64;
/// Slack of the thread's timers, nanoseconds.
const SLACK: u64 = 1_000;
/// Longest sleep: orders are looked at as often.
const NAP: Duration = Duration::from_millis(5);

/// What the owner asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Lose everything, both ways.
    Cut,
    /// Carry again.
    Restore,
}

/// A link.
pub struct Link {
    near: UdpSocket,
    far: UdpSocket,
    target: SocketAddr,
    /// Who sent last.
    client: Option<SocketAddr>,
    up: Line,
    down: Line,
    is_cut: bool,
    orders: Receiver<Order>,
}

impl Link {
    /// Joins a socket of the clients' side with one of the server's.
    ///
    /// # Errors
    /// A socket cannot be made non-blocking.
    pub fn new(near: UdpSocket, far: UdpSocket, target: SocketAddr, shape: Shape, seed: u64, orders: Receiver<Order>) -> io::Result<Self> {
        near.set_nonblocking(true)?;
        far.set_nonblocking(true)?;
        let (up, down) = (Line::new(shape, seed), Line::new(shape, !seed));
        Ok(Self { near, far, target, client: None, up, down, is_cut: false, orders })
    }

    /// Carries until the process ends.
    pub fn run(&mut self) {
        // Without it releases come later by fifty microseconds.
        set_timerslack(SLACK).unwrap_or_default();
        let mut buffer = vec![0; 65_536];
        loop {
            self.wait();
            for order in self.orders.try_iter() {
                self.is_cut = order == Order::Cut;
            }
            let now = Instant::now();
            self.read(now, &mut buffer);
            if self.is_cut {
                self.up.clear();
                self.down.clear();
            }
            // Nobody hears of a datagram that the kernel refuses: it is as good as lost on the line.
            self.up.release(now, |bytes| drop(self.far.send_to(bytes, self.target)));
            if let Some(client) = self.client {
                self.down.release(now, |bytes| drop(self.near.send_to(bytes, client)));
            }
        }
    }

    fn wait(&self) {
        let now = Instant::now();
        let due = [self.up.due(), self.down.due()].into_iter().flatten().min();
        let nap = due.map_or(NAP, |at| at.saturating_duration_since(now).min(NAP));
        let mut waits = [PollFd::new(self.near.as_fd(), PollFlags::POLLIN), PollFd::new(self.far.as_fd(), PollFlags::POLLIN)];
        ppoll(&mut waits, Some(TimeSpec::from_duration(nap)), None).unwrap_or_default();
    }

    fn read(&mut self, now: Instant, buffer: &mut [u8]) {
        for _ in 0..READS {
            match self.near.recv_from(buffer) {
                Ok((length, client)) => {
                    self.client = Some(client);
                    self.up.push(now, &buffer[..length]);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => {}
            }
        }
        for _ in 0..READS {
            match self.far.recv_from(buffer) {
                Ok((length, _)) => self.down.push(now, &buffer[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => {}
            }
        }
    }
}
