//! The real outlet: quinn-udp for GSO calls, our own `sendmmsg` where there is no GSO, a plain loop elsewhere.
//!
//! Called by [`super::Socket::send`]. Decides nothing about errors; that is [`super::send`].

use std::io;

use qbase::Ecn;
use quinn_udp::{EcnCodepoint, Transmit, UdpSockRef, UdpSocketState};

use super::{parcel::Parcel, send::Outlet};

/// One socket for the time of one send.
pub(super) struct Kernel<'a> {
    pub(super) io: &'a mio::net::UdpSocket,
    pub(super) state: &'a mut UdpSocketState,
    #[cfg(test)]
    pub(super) faults: &'a mut Faults,
}

/// Error numbers to answer with before the kernel is asked.
#[cfg(test)]
#[derive(Debug, Default)]
pub(super) struct Faults(std::collections::VecDeque<i32>);

#[cfg(test)]
impl Faults {
    pub(super) fn extend(&mut self, errnos: &[i32]) {
        self.0.extend(errnos);
    }

    pub(super) fn next(&mut self) -> io::Result<()> {
        match self.0.pop_front() {
            None | Some(0) => Ok(()),
            Some(errno) => Err(io::Error::from_raw_os_error(errno)),
        }
    }
}

impl Outlet for Kernel<'_> {
    fn send_gso(&mut self, parcel: &Parcel<'_>) -> io::Result<()> {
        #[cfg(test)]
        self.faults.next()?;
        self.state.try_send(UdpSockRef::from(self.io), &transmit(parcel, parcel.bytes))
    }

    #[cfg(target_os = "linux")]
    fn send_messages(&mut self, parcel: &Parcel<'_>) -> io::Result<usize> {
        #[cfg(test)]
        self.faults.next()?;
        super::sendmmsg::send(self.io, parcel)
    }

    #[cfg(not(target_os = "linux"))]
    fn send_messages(&mut self, parcel: &Parcel<'_>) -> io::Result<usize> {
        #[cfg(test)]
        self.faults.next()?;
        let before = portable::set_hop_limit(self.io, parcel)?;
        let result = portable::send_each(self.io, self.state, parcel);
        portable::restore_hop_limit(self.io, before)?;
        result
    }

    fn trusts_gso(&self) -> bool {
        self.state.max_gso_segments() > 1
    }

    fn forgive(&mut self) {
        // The library remembers any EINVAL as "no GSO, no IPv4 ECN marks"; a fresh state asks the kernel anew.
        if let Ok(fresh) = UdpSocketState::new(UdpSockRef::from(self.io)) {
            super::options::without_timestamps(self.io);
            *self.state = fresh;
        }
    }
}

fn transmit<'a>(parcel: &Parcel<'_>, contents: &'a [u8]) -> Transmit<'a> {
    Transmit {
        destination: parcel.remote,
        ecn: codepoint(parcel.ecn),
        contents,
        segment_size: (parcel.segment_size > 0).then_some(parcel.segment_size),
        src_ip: parcel.source,
    }
}

const fn codepoint(ecn: Ecn) -> Option<EcnCodepoint> {
    match ecn {
        Ecn::NotEct => None,
        Ecn::Ect1 => Some(EcnCodepoint::Ect1),
        Ecn::Ect0 => Some(EcnCodepoint::Ect0),
        Ecn::Ce => Some(EcnCodepoint::Ce),
    }
}

/// Systems without `sendmmsg`: one call per datagram, the hop limit as an option of the whole socket for that while.
#[cfg(not(target_os = "linux"))]
mod portable {
    use std::io;

    use quinn_udp::{UdpSockRef, UdpSocketState};
    use socket2::SockRef;

    use super::{Parcel, transmit};

    pub(super) fn send_each(
        socket: &mio::net::UdpSocket,
        state: &UdpSocketState,
        parcel: &Parcel<'_>,
    ) -> io::Result<usize> {
        let mut taken = 0;
        for datagram in parcel.datagrams() {
            let mut single = transmit(parcel, datagram);
            single.segment_size = None;
            match state.try_send(UdpSockRef::from(socket), &single) {
                Ok(()) => taken += 1,
                Err(error) if taken == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(taken)
    }

    /// Sets the parcel's hop limit; returns what to restore.
    pub(super) fn set_hop_limit(socket: &mio::net::UdpSocket, parcel: &Parcel<'_>) -> io::Result<Option<HopLimit>> {
        let Some(limit) = parcel.hop_limit else { return Ok(None) };
        let socket = SockRef::from(socket);
        if parcel.remote.is_ipv4() {
            let before = HopLimit::V4(socket.ttl_v4()?);
            socket.set_ttl_v4(limit.into())?;
            Ok(Some(before))
        } else {
            let before = HopLimit::V6(socket.unicast_hops_v6()?);
            socket.set_unicast_hops_v6(limit.into())?;
            Ok(Some(before))
        }
    }

    pub(super) fn restore_hop_limit(socket: &mio::net::UdpSocket, before: Option<HopLimit>) -> io::Result<()> {
        let socket = SockRef::from(socket);
        match before {
            None => Ok(()),
            Some(HopLimit::V4(limit)) => socket.set_ttl_v4(limit),
            Some(HopLimit::V6(limit)) => socket.set_unicast_hops_v6(limit),
        }
    }

    /// A socket's own hop limit.
    pub(super) enum HopLimit {
        V4(u32),
        V6(u32),
    }
}
