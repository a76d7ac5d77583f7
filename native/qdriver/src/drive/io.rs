//! What the application may do on the I/O thread, once per turn.
//!
//! Called by [`super::turn`] after reading and timers, before anything is sent, so that what the application writes
//! leaves in the same turn. Nothing here blocks.

use std::net::SocketAddr;

use mio::Registry;
use qbase::{Ecn, FourTuple, Timestamp};
use qconnection::Endpoint;

use super::{
    machine::Machine,
    raw::{RawDatagram, RawInbox},
    sockets::{SocketFacts, Sockets},
    stats::DriverStatistics,
};
use crate::{
    socket::{BindError, Parcel, SocketConfig, Stop},
    waker::Waker,
};

/// The program's side of the I/O thread.
pub trait Application<M: Machine = Endpoint>: Send + 'static {
    /// Called once per turn: take events, give commands. Must not block: sockets and timers wait meanwhile.
    fn on_turn(&mut self, io: &mut Io<'_, M>);
}

/// The I/O thread as the application sees it during one turn.
#[derive(Debug)]
pub struct Io<'a, M: Machine = Endpoint> {
    /// The machine.
    pub endpoint: &'a mut M,
    /// The instant of this turn.
    pub now: Timestamp,
    pub(super) sockets: &'a mut Sockets<M::Burst>,
    pub(super) registry: &'a Registry,
    pub(super) raw: &'a RawInbox,
    pub(super) waker: &'a Waker,
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
        self.sockets.bind(self.registry, config)
    }

    /// Closes the socket bound to `local`; `false`: there is none. Bursts that waited for it are cancelled.
    pub fn unbind(&mut self, local: SocketAddr) -> bool {
        let Some(held) = self.sockets.unbind(self.registry, local) else { return false };
        for held in held {
            self.endpoint.on_submitted(&held.burst, 0, self.now);
        }
        true
    }

    /// All sockets.
    pub fn sockets(&self) -> impl Iterator<Item = SocketFacts> {
        self.sockets.facts()
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
        let four_tuple = FourTuple { local: transmit.local, remote: transmit.remote };
        let entry = self.sockets.find(four_tuple).ok_or(RawError::NoSocket)?;
        let parcel = Parcel {
            remote: transmit.remote,
            source: Some(transmit.local.ip()),
            ecn: Ecn::NotEct,
            hop_limit: transmit.hop_limit,
            segment_size: 0,
            bytes: transmit.bytes,
        };
        entry.socket.send(&parcel).stop.map_or(Ok(()), |stop| Err(RawError::Refused(stop)))
    }

    /// Asks for a turn at `at` at the latest; replaces an earlier wish, holds for one turn.
    pub const fn wake_at(&mut self, at: Timestamp) {
        self.wishes.wake_at = Some(at);
    }

    /// A waker of this thread, to give to others.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Counters of the driver.
    #[must_use]
    pub const fn statistics(&self) -> &DriverStatistics {
        self.statistics
    }

    /// Ends the thread after this turn; what the machine has to send now still goes out.
    pub const fn stop(&mut self) {
        self.wishes.stop = true;
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
