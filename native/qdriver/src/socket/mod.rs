//! One UDP socket with everything the kernel offers for QUIC: GSO, GRO, ECN, destination addresses, large buffers.
//!
//! Decides which system call a burst takes and what its failure means. Called by `drive` and `relay`. Never blocks,
//! never keeps a burst (that is `drive::held`), never closes anything because of an error (attacks J7, J8).

pub mod bind;
pub mod errors;
mod kernel;
mod options;
pub mod parcel;
pub mod receive;
pub mod send;
pub mod verdict;

#[cfg(target_os = "linux")]
mod sendmmsg;

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use mio::{Interest, Registry, Token};
use qbase::FourTuple;
use quinn_udp::{RecvMeta, UdpSockRef, UdpSocketState};

pub use self::{
    bind::{BindError, BufferSizes, PortSharing, SocketConfig},
    errors::{Hearing, PortUnreachable},
    parcel::Parcel,
    receive::ReceiveArena,
    send::{Batching, Sent, Stop},
    verdict::Verdict,
};
use self::{kernel::Kernel, send::Sender};

/// A bound, non-blocking UDP socket.
#[derive(Debug)]
pub struct Socket {
    io: mio::net::UdpSocket,
    state: UdpSocketState,
    /// The bound address with its real port; its IP may be unspecified.
    local: SocketAddr,
    sender: Sender,
    buffers: BufferSizes,
    /// Time to live of datagrams that ask for none; `None`: the system did not say.
    hop_limit: Option<u8>,
    hearing: Hearing,
    #[cfg(test)]
    faults: kernel::Faults,
    #[cfg(test)]
    receive_faults: kernel::Faults,
}

impl Socket {
    /// Binds a socket as `config` says.
    ///
    /// # Errors
    /// The step that failed, the address and the system's error (attacks J11).
    pub fn bind(config: &SocketConfig) -> Result<Self, BindError> {
        let (socket, buffers) = bind::open(config)?;
        Self::from_bound(socket, buffers).map_err(|source| BindError::new(bind::Step::Configure, config, source))
    }

    fn from_bound(socket: socket2::Socket, buffers: BufferSizes) -> io::Result<Self> {
        let hop_limit = options::hop_limit(&socket);
        let io = mio::net::UdpSocket::from_std(socket.into());
        let state = UdpSocketState::new(UdpSockRef::from(&io))?;
        options::without_timestamps(&io);
        let local = io.local_addr()?;
        let sender = Sender::new(Batching::of_segments(state.max_gso_segments()));
        Ok(Self {
            io,
            state,
            local,
            sender,
            buffers,
            hop_limit,
            hearing: Hearing::Off,
            #[cfg(test)]
            faults: kernel::Faults::default(),
            #[cfg(test)]
            receive_faults: kernel::Faults::default(),
        })
    }

    /// The bound address with its real port; the IP is unspecified on a wildcard socket.
    #[must_use]
    pub const fn local(&self) -> SocketAddr {
        self.local
    }

    /// Kernel buffers as granted, bytes; smaller than asked when the system's limit is lower.
    #[must_use]
    pub const fn buffers(&self) -> BufferSizes {
        self.buffers
    }

    /// How bursts reach the kernel; changes once when GSO turns out not to work.
    #[must_use]
    pub const fn batching(&self) -> Batching {
        self.sender.batching()
    }

    /// Stops using GSO on this socket.
    pub const fn forbid_gso(&mut self) {
        self.sender.forbid_gso();
    }

    /// Bound to all addresses of its family.
    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        self.local.ip().is_unspecified()
    }

    /// What to ask for to get this time to live: nothing where it is the default, so that one call still takes a train.
    #[must_use]
    pub fn unless_default(&self, hop_limit: u8) -> Option<u8> {
        (self.hop_limit != Some(hop_limit)).then_some(hop_limit)
    }

    /// Sends as much of `parcel` as the kernel takes in this moment.
    pub fn send(&mut self, parcel: &Parcel<'_>) -> Sent {
        let parcel = Parcel { source: parcel.source.and_then(|source| self.source_to_state(source)), ..*parcel };
        let mut kernel = Kernel {
            io: &self.io,
            state: &mut self.state,
            #[cfg(test)]
            faults: &mut self.faults,
        };
        let sent = self.sender.send(&mut kernel, &parcel);
        if self.hearing == Hearing::On && sent.taken == 0 && matches!(sent.stop, Some(Stop::Unreachable(_) | Stop::TooLarge(_) | Stop::Other(_))) {
            // It may be what an earlier datagram met, elsewhere: such a report is given once.
            return self.sender.send(&mut kernel, &parcel);
        }
        sent
    }

    /// Chooses whether the network's words about what was sent are kept for [`Self::next_word`].
    pub fn hear(&mut self, hearing: Hearing) {
        if self.hearing != hearing {
            self.hearing = hearing;
            errors::hear(&self.io, self.local, hearing);
        }
    }

    /// The oldest word that waits; inner `None`: one about something else than a closed port.
    #[must_use]
    pub fn next_word(&self) -> Option<Option<PortUnreachable>> {
        if self.hearing == Hearing::On { errors::next(&self.io) } else { None }
    }

    /// Takes up to `messages` waiting messages into `arena`; zero when nothing waits.
    ///
    /// # Errors
    /// Whatever the system reports for the socket, pending ICMP errors included; the socket stays usable (attacks J8).
    pub fn receive(&mut self, arena: &mut ReceiveArena, messages: usize) -> io::Result<usize> {
        #[cfg(test)]
        self.receive_faults.next()?;
        arena.fill(messages, |buffers, metas| match self.state.recv(UdpSockRef::from(&self.io), buffers, metas) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            result => result,
        })
    }

    /// Between which addresses a received message travelled, as seen by us.
    #[must_use]
    pub fn four_tuple(&self, meta: &RecvMeta) -> FourTuple {
        let local = match meta.dst_ip {
            Some(ip) if self.is_wildcard() => receive::local_address(ip, self.local.port(), meta.interface_index),
            _ => self.local,
        };
        FourTuple { local, remote: receive::without_flow(meta.addr) }
    }

    /// Reports readability of this socket under `token`.
    ///
    /// # Errors
    /// The selector is full or the descriptor is gone.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut self.io, token, Interest::READABLE)
    }

    /// Reports writability too, or no longer. Costs nothing while no send was refused: it is off then.
    ///
    /// # Errors
    /// The descriptor is gone.
    pub fn watch_writable(&mut self, registry: &Registry, token: Token, watch: WatchWritable) -> io::Result<()> {
        let interest = match watch {
            WatchWritable::Yes => Interest::READABLE | Interest::WRITABLE,
            WatchWritable::No => Interest::READABLE,
        };
        registry.reregister(&mut self.io, token, interest)
    }

    /// Ends the reports.
    ///
    /// # Errors
    /// The descriptor is gone.
    pub fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        registry.deregister(&mut self.io)
    }

    /// The source address has to be said only where the kernel has a choice.
    fn source_to_state(&self, source: IpAddr) -> Option<IpAddr> {
        (self.is_wildcard() && !source.is_unspecified() && source.is_ipv4() == self.local.is_ipv4()).then_some(source)
    }

    /// Makes the next send calls fail with these error numbers, in order (0: no failure), before the kernel is asked.
    #[cfg(test)]
    pub(crate) fn inject(&mut self, errnos: &[i32]) {
        self.faults.extend(errnos);
    }

    /// The same for receive calls.
    #[cfg(test)]
    pub(crate) fn inject_receive(&mut self, errnos: &[i32]) {
        self.receive_faults.extend(errnos);
    }

    #[cfg(all(test, target_os = "linux"))]
    pub(crate) fn refuse_gso_in_kernel(&self) {
        options::without_checksums(&self.io);
    }

    #[cfg(all(test, target_os = "linux"))]
    pub(crate) fn mtu_discovery(&self) -> libc::c_int {
        options::mtu_discovery(&self.io, &self.local)
    }
}

/// Whether the loop wants to hear that a socket takes datagrams again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchWritable {
    /// A burst waits for room.
    Yes,
    /// Nothing waits.
    No,
}

#[cfg(test)]
mod tests;
