//! What the application may do, once per turn of a driver.
//!
//! Called by [`super::turn`] and [`super::manual`] after reading and timers, before anything is sent, so that what the
//! application writes leaves in the same turn. Where the sockets are, in the kernel or in a simulated host, stands behind
//! [`Outside`]: one application runs on every driver. Nothing here blocks.

use std::{fmt, net::SocketAddr};

use qbase::Timestamp;
use qconnection::Endpoint;

use super::{
    machine::Machine,
    raw::{RawDatagram, RawInbox},
    sockets::SocketFacts,
    stats::DriverStatistics,
};
use crate::{
    socket::{BindError, SocketConfig, Stop},
    tcp::Tcp,
};

/// The program's side of the I/O thread.
pub trait Application<M: Machine = Endpoint>: Send + 'static {
    /// Called once per turn: take events, give commands. Must not block: sockets and timers wait meanwhile.
    fn on_turn(&mut self, io: &mut Io<'_, M>);
}

/// What lies outside of a driver: the sockets of its machine.
pub trait Outside<M: Machine> {
    /// As [`Io::bind`].
    ///
    /// # Errors
    /// The step that failed, the address and the system's error.
    fn bind(&mut self, config: &SocketConfig) -> Result<SocketFacts, BindError>;

    /// Binds a temporary socket on the IP and interface of the socket that sends from `beside`, with this port or, if it cannot be
    /// had, any other; its address. `None`: there is no such socket, or the system has none to give. Temporary sockets send
    /// nothing that names no local port, and are not among [`Self::sockets`].
    fn bind_beside(&mut self, _beside: SocketAddr, _port: u16) -> Option<SocketAddr> {
        None
    }

    /// Closes the socket bound to `local`; `false`: there is none. Bursts that waited for it are cancelled in `machine`.
    fn unbind(&mut self, local: SocketAddr, machine: &mut M, now: Timestamp) -> bool;

    /// As [`Io::with_tcp`].
    fn tcp(&mut self) -> Option<Tcp<'_>> {
        None
    }

    /// All sockets.
    fn sockets(&self) -> Box<dyn Iterator<Item = SocketFacts> + '_>;

    /// As [`Io::source_for`].
    fn source_for(&mut self, remote: SocketAddr) -> Option<SocketAddr>;

    /// As [`Io::send_raw`].
    ///
    /// # Errors
    /// No socket fits, or it refused.
    fn send_raw(&mut self, transmit: &RawTransmit<'_>) -> Result<(), RawError>;
}

/// A driver as the application sees it during one turn.
pub struct Io<'a, M: Machine = Endpoint> {
    /// The machine.
    pub endpoint: &'a mut M,
    /// The instant of this turn.
    pub now: Timestamp,
    pub(super) outside: &'a mut dyn Outside<M>,
    pub(super) raw: &'a RawInbox,
    pub(super) statistics: &'a DriverStatistics,
    pub(super) wishes: &'a mut Wishes,
}

/// What the application asked of the loop.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wishes {
    /// Take a turn at this instant at the latest.
    pub(super) wake_at: Option<Timestamp>,
    /// End after this turn.
    pub(super) stop: bool,
}

impl<M: Machine> Io<'_, M> {
    /// Binds one more socket and tells its real address.
    ///
    /// # Errors
    /// The step that failed, the address and the system's error; everything else goes on (attacks J11).
    pub fn bind(&mut self, config: &SocketConfig) -> Result<SocketFacts, BindError> {
        self.outside.bind(config)
    }

    /// Closes the socket bound to `local`; `false`: there is none. Bursts that waited for it are cancelled.
    pub fn unbind(&mut self, local: SocketAddr) -> bool {
        self.outside.unbind(local, self.endpoint, self.now)
    }

    /// All sockets.
    pub fn sockets(&self) -> impl Iterator<Item = SocketFacts> {
        self.outside.sockets()
    }

    /// The socket that the routing table prefers for this remote; `None`: any that fits will do.
    #[must_use]
    pub fn source_for(&mut self, remote: SocketAddr) -> Option<SocketAddr> {
        self.outside.source_for(remote)
    }

    /// Datagrams of this turn that are no QUIC, 256 at most.
    pub fn raw(&self) -> impl Iterator<Item = RawDatagram<'_>> {
        self.raw.datagrams()
    }

    /// Sends one datagram past the machine, at once or not at all.
    ///
    /// # Errors
    /// No socket fits, or the kernel refused.
    pub fn send_raw(&mut self, transmit: &RawTransmit<'_>) -> Result<(), RawError> {
        self.outside.send_raw(transmit)
    }

    /// Asks for a turn at `at` at the latest; replaces an earlier wish, holds for one turn.
    pub const fn wake_at(&mut self, at: Timestamp) {
        self.wishes.wake_at = Some(at);
    }

    /// The machine, and the TCP connections of this thread beside it; `None`: this driver has no thread of its own.
    pub fn with_tcp(&mut self) -> (&mut M, Option<Tcp<'_>>) {
        (self.endpoint, self.outside.tcp())
    }

    /// Counters of the driver.
    #[must_use]
    pub const fn statistics(&self) -> &DriverStatistics {
        self.statistics
    }

    /// Ends the driver after this turn; what the machine has to send now still goes out.
    pub const fn stop(&mut self) {
        self.wishes.stop = true;
    }
}

impl<M: Machine> fmt::Debug for Io<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Io").field("now", &self.now).field("wishes", &self.wishes).finish_non_exhaustive()
    }
}

/// One datagram that is no QUIC.
#[derive(Clone, Copy, Debug)]
pub struct RawTransmit<'a> {
    /// Where from; unspecified IP or port 0: the first socket that fits.
    pub local: SocketAddr,
    /// Where to.
    pub remote: SocketAddr,
    /// Time to live of this datagram; `None`: the system's default.
    pub hop_limit: Option<u8>,
    /// Its payload.
    pub bytes: &'a [u8],
}

/// A raw datagram did not go.
#[derive(Debug)]
pub enum RawError {
    /// No socket is bound that could send it.
    NoSocket,
    /// The kernel took it not.
    Refused(Stop),
}
