//! The sockets of the I/O thread as the application sees them.
//!
//! Called through [`super::Io`]. Decides nothing: everything is the kernel's word.

use std::net::SocketAddr;

use mio::Registry;
use qbase::{Ecn, FourTuple, Timestamp};

use super::{
    io::{Outside, RawError, RawTransmit},
    machine::Machine,
    sockets::{SocketFacts, Sockets},
};
use crate::{
    socket::{BindError, Parcel, SocketConfig},
    tcp::{Tcp, TcpConnections},
};

/// Real sockets and the selector that watches them.
pub(super) struct Kernel<'a, B> {
    pub(super) sockets: &'a mut Sockets<B>,
    pub(super) registry: &'a Registry,
    pub(super) tcp: &'a mut TcpConnections,
}

impl<M: Machine> Outside<M> for Kernel<'_, M::Burst> {
    fn bind(&mut self, config: &SocketConfig) -> Result<SocketFacts, BindError> {
        self.sockets.bind(self.registry, config)
    }

    fn bind_beside(&mut self, beside: SocketAddr, port: u16) -> Option<SocketAddr> {
        self.sockets.bind_beside(self.registry, beside, port).map(|facts| facts.local)
    }

    fn unbind(&mut self, local: SocketAddr, machine: &mut M, now: Timestamp) -> bool {
        let Some(held) = self.sockets.unbind(self.registry, local) else { return false };
        for held in held {
            machine.on_submitted(&held.burst, 0, now);
        }
        true
    }

    fn tcp(&mut self) -> Option<Tcp<'_>> {
        Some(Tcp::new(self.tcp, self.registry))
    }

    fn sockets(&self) -> Box<dyn Iterator<Item = SocketFacts> + '_> {
        Box::new(self.sockets.facts())
    }

    /// A socket of the wildcard address leaves the choice to the kernel.
    fn source_for(&mut self, _remote: SocketAddr) -> Option<SocketAddr> {
        None
    }

    fn send_raw(&mut self, transmit: &RawTransmit<'_>) -> Result<(), RawError> {
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
}
