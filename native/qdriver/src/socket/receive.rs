//! Receive buffers: one batch of 32 messages of up to 64 KiB, each one datagram or a train of equal ones (GRO).
//!
//! Called by the driver's loop and the relay, which hand every datagram on as a slice of these buffers (no copy). Never
//! trusts what the kernel says about lengths further than the buffer reaches (attacks J8).

use std::{
    array, fmt, io,
    io::IoSliceMut,
    net::{IpAddr, SocketAddr, SocketAddrV6},
};

use qbase::Ecn;
use quinn_udp::{BATCH_SIZE, RecvMeta};

/// Bytes per message: the longest train that GRO builds.
pub const MESSAGE_BYTES: usize = 64 * 1_024;

/// Buffers of one batch, reused for ever. One per thread, whatever the number of sockets.
pub struct ReceiveArena {
    /// `BATCH_SIZE` messages of `MESSAGE_BYTES` each; pages are touched only as trains grow.
    bytes: Box<[u8]>,
    metas: [RecvMeta; BATCH_SIZE],
}

impl ReceiveArena {
    /// Messages per batch.
    pub const MESSAGES: usize = BATCH_SIZE;

    /// Empty buffers.
    #[must_use]
    pub fn new() -> Self {
        Self {
            bytes: vec![0; BATCH_SIZE.saturating_mul(MESSAGE_BYTES)].into_boxed_slice(),
            metas: array::from_fn(|_| RecvMeta::default()),
        }
    }

    /// Lets `receive` fill up to `messages` buffers; returns how many it filled.
    pub(super) fn fill(
        &mut self,
        messages: usize,
        receive: impl FnOnce(&mut [IoSliceMut<'_>], &mut [RecvMeta]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let mut chunks = self.bytes.chunks_exact_mut(MESSAGE_BYTES);
        let mut buffers: [IoSliceMut<'_>; BATCH_SIZE] =
            array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()));
        let wanted = messages.clamp(1, BATCH_SIZE);
        receive(buffers.get_mut(..wanted).unwrap_or_default(), &mut self.metas)
    }

    /// The first `count` messages of the last batch.
    pub fn messages(&mut self, count: usize) -> impl Iterator<Item = Message<'_>> {
        let buffers = self.bytes.chunks_exact_mut(MESSAGE_BYTES);
        self.metas.iter().zip(buffers).take(count).map(|(meta, buffer)| Message::new(meta, buffer))
    }
}

impl Default for ReceiveArena {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ReceiveArena {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReceiveArena").finish_non_exhaustive()
    }
}

/// One received message: datagrams of one sender to one of our addresses with one mark.
#[derive(Debug)]
pub struct Message<'a> {
    /// Addresses and sizes as the kernel told them.
    pub meta: &'a RecvMeta,
    /// ECN field of every datagram in it; "not ECT" where the system does not tell.
    pub ecn: Ecn,
    bytes: &'a mut [u8],
    stride: usize,
}

impl<'a> Message<'a> {
    fn new(meta: &'a RecvMeta, buffer: &'a mut [u8]) -> Self {
        let length = meta.len.min(buffer.len());
        let bytes = buffer.get_mut(..length).unwrap_or_default();
        let stride = if meta.stride == 0 { usize::MAX } else { meta.stride };
        Self { meta, ecn: meta.ecn.map_or(Ecn::NotEct, |ecn| Ecn::from_bits(ecn as u8)), bytes, stride }
    }

    /// Payload bytes of all its datagrams.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// It is one empty datagram (attacks A2).
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// All its bytes, and how many of them each datagram has but the last, which may be shorter.
    #[must_use]
    pub const fn into_train(self) -> (&'a mut [u8], usize) {
        (self.bytes, self.stride)
    }

    /// The datagrams in order of arrival; none for an empty one.
    pub fn datagrams(self) -> impl Iterator<Item = &'a mut [u8]> {
        self.bytes.chunks_mut(self.stride)
    }
}

/// A read of `count` messages, where `wanted` were asked for, emptied the socket.
///
/// `recvmmsg` stops early only when nothing is left; what arrives later is reported anew. Systems that read one message
/// per call say "nothing" in a call of its own.
pub(crate) const fn is_drained(count: usize, wanted: usize) -> bool {
    let reads_many = cfg!(any(target_os = "linux", target_os = "android", target_os = "freebsd"));
    count == 0 || (reads_many && count < wanted)
}

/// Our address that a datagram was sent to; link-local addresses keep their interface.
pub(super) fn local_address(ip: IpAddr, port: u16, interface: Option<u32>) -> SocketAddr {
    match ip {
        IpAddr::V6(ip) if ip.is_unicast_link_local() => SocketAddrV6::new(ip, port, 0, interface.unwrap_or(0)).into(),
        ip => SocketAddr::new(ip, port),
    }
}

/// The address without IPv6's flow label, which is no part of a four-tuple.
pub(super) const fn without_flow(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V6(mut address) => {
            address.set_flowinfo(0);
            SocketAddr::V6(address)
        }
        SocketAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attack_j8_a_train_with_a_short_last_datagram_is_split_right() {
        assert_eq!(split(2_500, 1_200), [1_200, 1_200, 100]);
    }

    #[test]
    fn a_message_without_segment_size_is_one_datagram() {
        assert_eq!(split(900, 0), [900]);
        assert_eq!(split(900, 900), [900]);
    }

    #[test]
    fn an_empty_datagram_yields_nothing() {
        assert_eq!(split(0, 0), [0; 0]);
    }

    #[test]
    fn attack_j8_a_length_beyond_the_buffer_is_cut() {
        assert_eq!(split(MESSAGE_BYTES * 2, 0), [MESSAGE_BYTES]);
    }

    fn split(length: usize, stride: usize) -> Vec<usize> {
        let mut arena = ReceiveArena::new();
        let filled = arena
            .fill(1, |_, metas| {
                metas[0].len = length;
                metas[0].stride = stride;
                Ok(1)
            })
            .expect("filled");
        arena.messages(filled).flat_map(Message::datagrams).map(|datagram| datagram.len()).collect()
    }
}
