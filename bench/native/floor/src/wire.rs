//! Sealing, and batches in and out of one socket.

use std::{
    array,
    cell::Cell,
    io::{ErrorKind, IoSliceMut, Result},
    net::{SocketAddr, UdpSocket},
    os::fd::AsFd,
};

use bench_common::settings::DATAGRAM_SIZE;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

/// Bytes of a segment.
pub const SEGMENT: usize = DATAGRAM_SIZE as usize;
/// Segments of a burst: what fits a UDP datagram of 64 KiB.
pub const SEGMENTS: usize = 44;
/// Bytes of a segment's number.
const NUMBER: usize = 8;
/// Bytes of a tag.
const TAG: usize = 16;
/// Bytes that one message may bring.
const MESSAGE: usize = 65_536;
/// Silence after which nothing more is expected, milliseconds.
const SILENCE_MS: u16 = 20;

/// One key for both sides.
pub struct Sealer {
    key: LessSafeKey,
    next: Cell<u64>,
}

impl Sealer {
    /// The same key everywhere: nothing is secret here.
    pub fn new() -> Self {
        // The length is right by construction.
        let key = UnboundKey::new(&AES_128_GCM, &[9; 16]).unwrap_or_else(|_| unreachable!("a key of 16 bytes"));
        Self { key: LessSafeKey::new(key), next: Cell::new(0) }
    }

    /// Numbers and seals a segment in place; returns its payload bytes.
    pub fn seal(&self, segment: &mut [u8]) -> usize {
        let number = self.next.replace(self.next.get() + 1);
        let (head, rest) = segment.split_at_mut(NUMBER);
        head.copy_from_slice(&number.to_be_bytes());
        let (body, tag) = rest.split_at_mut(rest.len() - TAG);
        if let Ok(made) = self.key.seal_in_place_separate_tag(nonce(head), Aad::from(&*head), body) {
            tag.copy_from_slice(made.as_ref());
        }
        body.len()
    }

    /// Opens a segment in place; its payload bytes if it is authentic.
    pub fn open(&self, segment: &mut [u8]) -> Option<usize> {
        let (head, rest) = segment.split_at_mut_checked(NUMBER)?;
        self.key.open_in_place(nonce(head), Aad::from(&*head), rest).ok().map(|body| body.len())
    }
}

fn nonce(number: &[u8]) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    nonce[NONCE_LEN - NUMBER..].copy_from_slice(number);
    Nonce::assume_unique_for_key(nonce)
}

/// A socket with batches.
pub struct Channel {
    socket: UdpSocket,
    state: UdpSocketState,
    buffers: Vec<Vec<u8>>,
}

impl Channel {
    /// Takes over a socket.
    pub fn new(socket: UdpSocket) -> Result<Self> {
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        Ok(Self { socket, state, buffers: vec![vec![0; MESSAGE]; BATCH_SIZE] })
    }

    /// Where it is.
    pub fn local_address(&self) -> Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Sends a burst; waits while the socket is full.
    pub fn send(&self, destination: SocketAddr, contents: &[u8], segment: usize) -> Result<()> {
        let segment_size = (contents.len() > segment).then_some(segment);
        let transmit = Transmit { destination, ecn: None, contents, segment_size, src_ip: None };
        loop {
            match self.state.try_send(UdpSockRef::from(&self.socket), &transmit) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.wait(PollFlags::POLLOUT).map(drop)?,
                other => return other,
            }
        }
    }

    /// Takes one batch, segment by segment; who sent it, or `None` after a silence.
    pub fn receive(&mut self, mut take: impl FnMut(&mut [u8])) -> Result<Option<SocketAddr>> {
        let mut metas = [RecvMeta::default(); BATCH_SIZE];
        let count = loop {
            let mut buffers = self.buffers.iter_mut();
            let mut slices: [IoSliceMut<'_>; BATCH_SIZE] =
                array::from_fn(|_| IoSliceMut::new(buffers.next().map_or(&mut [], |buffer| buffer)));
            match self.state.recv(UdpSockRef::from(&self.socket), &mut slices, &mut metas) {
                Ok(count) => break count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if !self.wait(PollFlags::POLLIN)? {
                        return Ok(None);
                    }
                }
                Err(error) => return Err(error),
            }
        };
        for (meta, buffer) in metas.iter().zip(&mut self.buffers).take(count) {
            buffer[..meta.len].chunks_mut(meta.stride.max(1)).for_each(&mut take);
        }
        Ok(metas.first().map(|meta| meta.addr))
    }

    /// Whether the socket is ready before the silence ends.
    fn wait(&self, flags: PollFlags) -> Result<bool> {
        Ok(poll(&mut [PollFd::new(self.socket.as_fd(), flags)], PollTimeout::from(SILENCE_MS))? > 0)
    }
}
