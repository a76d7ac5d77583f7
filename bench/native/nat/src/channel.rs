//! Batches in and out of one socket: recvmmsg with receive offload, one call with segmentation offload.

use std::{
    array,
    io::{ErrorKind, IoSliceMut, Result},
    net::{SocketAddr, UdpSocket},
    os::fd::AsFd,
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use quinn_udp::{BATCH_SIZE, EcnCodepoint, RecvMeta, Transmit, UdpSockRef, UdpSocketState};

/// Bytes that one message may bring.
const MESSAGE: usize = 65_536;
/// Silence after which nothing more is expected, milliseconds.
const SILENCE_MS: u16 = 20;

/// A socket with batches.
pub struct Channel {
    outlet: Outlet,
    buffers: Vec<Vec<u8>>,
}

/// Its way out.
pub struct Outlet {
    socket: UdpSocket,
    state: UdpSocketState,
}

/// What came in one message: datagrams of one length, the last may be shorter.
pub struct Train<'a> {
    /// Who sent them.
    pub from: SocketAddr,
    /// All of them.
    pub bytes: &'a [u8],
    /// Bytes of each but the last.
    pub segment: usize,
    /// Their mark.
    pub ecn: Option<EcnCodepoint>,
}

impl Channel {
    /// Takes over a socket.
    pub fn new(socket: UdpSocket) -> Result<Self> {
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        Ok(Self { outlet: Outlet { socket, state }, buffers: vec![vec![0; MESSAGE]; BATCH_SIZE] })
    }

    /// Where it is.
    pub fn local_address(&self) -> Result<SocketAddr> {
        self.outlet.socket.local_addr()
    }

    /// Sends a burst; waits while the socket is full.
    pub fn send(&self, to: SocketAddr, bytes: &[u8], segment: usize) -> Result<()> {
        while !self.outlet.try_send(to, &Train { from: to, bytes, segment, ecn: None })? {
            self.wait(PollFlags::POLLOUT)?;
        }
        Ok(())
    }

    /// Takes one batch, train by train; false after a silence.
    pub fn receive(&mut self, mut take: impl FnMut(&Outlet, Train<'_>) -> Result<()>) -> Result<bool> {
        let mut metas = [RecvMeta::default(); BATCH_SIZE];
        let count = loop {
            let mut buffers = self.buffers.iter_mut();
            let mut slices: [IoSliceMut<'_>; BATCH_SIZE] =
                array::from_fn(|_| IoSliceMut::new(buffers.next().map_or(&mut [], |buffer| buffer)));
            match self.outlet.state.recv(UdpSockRef::from(&self.outlet.socket), &mut slices, &mut metas) {
                Ok(count) => break count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if !self.wait(PollFlags::POLLIN)? {
                        return Ok(false);
                    }
                }
                Err(error) => return Err(error),
            }
        };
        for (meta, buffer) in metas.iter().zip(&self.buffers).take(count) {
            take(&self.outlet, Train { from: meta.addr, bytes: &buffer[..meta.len], segment: meta.stride.max(1), ecn: meta.ecn })?;
        }
        Ok(true)
    }

    /// Whether the socket is ready before the silence ends.
    fn wait(&self, flags: PollFlags) -> Result<bool> {
        Ok(poll(&mut [PollFd::new(self.outlet.socket.as_fd(), flags)], PollTimeout::from(SILENCE_MS))? > 0)
    }
}

impl Outlet {
    /// Sends a train on in one call; false: there is no room.
    pub fn try_send(&self, to: SocketAddr, train: &Train<'_>) -> Result<bool> {
        let segment_size = (train.bytes.len() > train.segment).then_some(train.segment);
        let transmit = Transmit { destination: to, ecn: train.ecn, contents: train.bytes, segment_size, src_ip: None };
        match self.state.try_send(UdpSockRef::from(&self.socket), &transmit) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl Train<'_> {
    /// Datagrams in it.
    pub fn len(&self) -> usize {
        self.bytes.len().div_ceil(self.segment)
    }
}
