//! The CRYPTO stream of one encryption level: TLS bytes both ways, in order (RFC 9000 §7.5, §19.6).
//!
//! Decides how many handshake bytes a peer may make us hold (attacks L4) and which of ours are still to be sent. Called
//! by the packet spaces. Never looks into the bytes, never flow-controls: CRYPTO has no credit, only a bound.

use crate::{
    RangeSet,
    buffer::{Copied, SendBuffer, SpareBlocks},
};
use qbase::{ErrorCode, TransportError, limits, varint};
use std::collections::VecDeque;

/// Bytes of a page: memory follows the bytes received in steps of this size.
const PAGE_LEN: usize = 1_024;

/// [`PAGE_LEN`] as an offset.
const PAGE: u64 = PAGE_LEN as u64;

/// TLS bytes of one level.
#[derive(Debug)]
pub struct CryptoStream {
    send: SendBuffer,
    spare: SpareBlocks,
    recv: Assembler,
}

impl CryptoStream {
    /// An empty stream that holds at most `limit` received bytes beyond those that were read.
    #[must_use]
    pub fn new(limit: u64) -> Self {
        Self { send: SendBuffer::new(), spare: SpareBlocks::new(0), recv: Assembler::new(limit) }
    }

    /// A stream with the bound of the Initial level (attacks L4).
    #[must_use]
    pub fn initial() -> Self {
        Self::new(limits::CRYPTO_BUFFER_INITIAL)
    }

    /// A stream with the bound of the Handshake and 1-RTT levels (attacks L4).
    #[must_use]
    pub fn later() -> Self {
        Self::new(limits::CRYPTO_BUFFER)
    }

    /// A CRYPTO frame came with `data` at `offset`.
    ///
    /// # Errors
    /// CRYPTO_BUFFER_EXCEEDED beyond the bound in bytes or gaps (RFC 9000 §7.5); FRAME_ENCODING_ERROR beyond 2^62-1.
    pub fn on_frame(&mut self, offset: u64, data: &[u8]) -> Result<(), TransportError> {
        self.recv.write(offset, data)
    }

    /// Takes the bytes that are there in order.
    #[must_use]
    pub fn take_readable(&mut self) -> Vec<u8> {
        self.recv.take()
    }

    /// Bytes were received that have not been read, in order or not. When the keys of the next level come, there must
    /// be none (RFC 9001 §4.1.3, attacks B12).
    #[must_use]
    pub fn has_unread(&self) -> bool {
        self.recv.contiguous > self.recv.read || !self.recv.ahead.is_empty()
    }

    /// Offset of the first byte that was not taken.
    #[must_use]
    pub const fn read_offset(&self) -> u64 {
        self.recv.read
    }

    /// Queues bytes of our TLS stack.
    pub fn write(&mut self, data: &[u8]) {
        self.send.write(data, &mut self.spare);
    }

    /// Bytes wait to be sent, for the first time or again.
    #[must_use]
    pub const fn has_pending(&self) -> bool {
        self.pending_bytes() > 0
    }

    /// Bytes that wait to be sent, for the first time or again.
    #[must_use]
    pub const fn pending_bytes(&self) -> u64 {
        self.send.unsent().saturating_add(self.send.lost_bytes())
    }

    /// Bytes were written that are not all acknowledged.
    #[must_use]
    pub const fn has_unacked(&self) -> bool {
        !self.send.is_all_acked()
    }

    /// Takes the next piece of at most `max` bytes for a CRYPTO frame, lost bytes first: its offset and length.
    pub fn next_range(&mut self, max: usize) -> Option<(u64, usize)> {
        if max == 0 || !self.has_pending() {
            return None;
        }
        let range = self.send.take_lost(max as u64).unwrap_or_else(|| self.send.take_fresh(max as u64));
        Some((range.start, usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX)))
    }

    /// Copies the bytes from `offset` on into `out`, which has the length of a piece taken before.
    pub fn copy_range(&mut self, offset: u64, out: &mut [u8]) {
        let copied = self.send.copy_range(offset, out);
        debug_assert!(copied == Copied::All || out.is_empty(), "CRYPTO bytes vanished");
    }

    /// The packet with this piece was acknowledged.
    pub fn on_acked(&mut self, offset: u64, len: u64) {
        self.send.on_acked(offset..offset.saturating_add(len), &mut self.spare);
    }

    /// The packet with this piece was lost, or its bytes shall be sent again by a probe (RFC 9002 §6.2.4).
    pub fn on_lost(&mut self, offset: u64, len: u64) {
        self.send.on_lost(offset..offset.saturating_add(len));
    }

    /// Everything sent and not acknowledged shall be sent again: after a Retry (RFC 9000 §17.2.5.2).
    pub fn send_again(&mut self) {
        self.send.on_lost(0..self.send.sent());
    }

    /// Bytes of memory behind the stream.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.send.memory().saturating_add(self.recv.memory())
    }
}

/// Received bytes in pages: unlike the receive buffer of a stream it needs no pool, and one byte costs one small page.
#[derive(Debug)]
struct Assembler {
    /// Pages by position; the front one is number `first`. `None` where no byte lies.
    pages: VecDeque<Option<Box<[u8; PAGE_LEN]>>>,
    /// Offset of the front page divided by [`PAGE_LEN`]: that of `read`.
    first: u64,
    /// Everything below was taken by TLS.
    read: u64,
    /// Everything below was received.
    contiguous: u64,
    /// What was received beyond `contiguous`.
    ahead: RangeSet,
    /// Bytes held beyond `read` at most.
    limit: u64,
}

impl Assembler {
    const fn new(limit: u64) -> Self {
        Self { pages: VecDeque::new(), first: 0, read: 0, contiguous: 0, ahead: RangeSet::new(), limit }
    }

    fn write(&mut self, offset: u64, data: &[u8]) -> Result<(), TransportError> {
        let end = offset.saturating_add(data.len() as u64);
        if end > varint::MAX {
            return Err(TransportError::encoding("CRYPTO ends beyond 2^62-1"));
        }
        if end > self.read.saturating_add(self.limit) {
            return Err(exceeded("more CRYPTO bytes than we buffer"));
        }
        let start = offset.max(self.contiguous);
        if start >= end {
            return Ok(());
        }
        for part in self.ahead.missing(start..end) {
            let skip = usize::try_from(part.start.saturating_sub(offset)).unwrap_or(usize::MAX);
            let len = usize::try_from(part.end.saturating_sub(part.start)).unwrap_or(usize::MAX);
            let bytes = data.get(skip..).and_then(|rest| rest.get(..len)).unwrap_or_default();
            place(&mut self.pages, self.first, part.start, bytes);
        }
        self.ahead.insert(start..end);
        if self.ahead.min() == Some(self.contiguous)
            && let Some(joined) = self.ahead.pop_min()
        {
            self.contiguous = joined.end;
        }
        if self.ahead.len() > limits::CRYPTO_GAPS {
            return Err(exceeded("more CRYPTO gaps than we buffer"));
        }
        Ok(())
    }

    fn take(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        while self.read < self.contiguous {
            let start = (self.read % PAGE) as usize;
            let end = (start as u64).saturating_add(self.contiguous.saturating_sub(self.read)).min(PAGE) as usize;
            if let Some(Some(page)) = self.pages.front() {
                out.extend_from_slice(page.get(start..end).unwrap_or_default());
            }
            self.read = self.read.saturating_add(end.saturating_sub(start) as u64);
            if self.read / PAGE > self.first {
                self.pages.pop_front();
                self.first = self.first.saturating_add(1);
            }
        }
        if self.ahead.is_empty() {
            self.pages = VecDeque::new();
        }
        out
    }

    fn memory(&self) -> usize {
        let pages = self.pages.iter().flatten().count().saturating_mul(PAGE_LEN);
        let places = self.pages.capacity().saturating_mul(size_of::<Option<Box<[u8; PAGE_LEN]>>>());
        pages.saturating_add(places).saturating_add(self.ahead.memory())
    }
}

/// Copies `data` to where `offset` lies, making pages where there are none.
fn place(pages: &mut VecDeque<Option<Box<[u8; PAGE_LEN]>>>, first: u64, offset: u64, data: &[u8]) {
    let (mut offset, mut data) = (offset, data);
    while !data.is_empty() {
        let index = usize::try_from((offset / PAGE).saturating_sub(first)).unwrap_or(usize::MAX);
        while pages.len() <= index {
            pages.push_back(None);
        }
        let start = (offset % PAGE) as usize;
        let len = data.len().min(PAGE_LEN.saturating_sub(start));
        let (head, rest) = data.split_at_checked(len).unwrap_or((data, &[]));
        let page = pages.get_mut(index).map(|page| page.get_or_insert_with(|| Box::new([0; PAGE_LEN])));
        if let Some(to) = page.and_then(|page| page.get_mut(start..start.saturating_add(len))) {
            to.copy_from_slice(head);
        }
        offset = offset.saturating_add(len as u64);
        data = rest;
    }
}

/// CRYPTO_BUFFER_EXCEEDED (RFC 9000 §7.5).
const fn exceeded(reason: &'static str) -> TransportError {
    TransportError::new(ErrorCode::CRYPTO_BUFFER_EXCEEDED, reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn byte_at(offset: u64) -> u8 {
        (offset.wrapping_mul(0x9e37_79b9) >> 11) as u8
    }

    fn bytes_of(range: std::ops::Range<u64>) -> Vec<u8> {
        range.map(byte_at).collect()
    }

    fn receive(stream: &mut CryptoStream, offset: u64, data: &[u8]) -> Result<(), ErrorCode> {
        stream.on_frame(offset, data).map_err(|error| error.code)
    }

    /// attacks B10, L4.
    #[test]
    fn bytes_up_to_the_bound_are_kept_and_one_more_closes() {
        for (mut stream, limit) in
            [(CryptoStream::initial(), limits::CRYPTO_BUFFER_INITIAL), (CryptoStream::later(), limits::CRYPTO_BUFFER)]
        {
            assert_eq!(receive(&mut stream, 0, &bytes_of(0..limit)), Ok(()));
            assert_eq!(receive(&mut stream, limit, b"x"), Err(ErrorCode::CRYPTO_BUFFER_EXCEEDED));
            assert_eq!(stream.take_readable(), bytes_of(0..limit));
            assert_eq!(receive(&mut stream, limit, b"x"), Ok(()), "the bound moves with what was read");
        }
    }

    /// attacks B10.
    #[test]
    fn an_end_beyond_the_largest_offset_is_an_encoding_error() {
        let mut stream = CryptoStream::later();
        assert_eq!(receive(&mut stream, varint::MAX, b"x"), Err(ErrorCode::FRAME_ENCODING_ERROR));
        assert_eq!(receive(&mut stream, varint::MAX - 1, b"x"), Err(ErrorCode::CRYPTO_BUFFER_EXCEEDED));
    }

    /// attacks B10, L4.
    #[test]
    fn sparse_bytes_cost_one_page_each_and_end_at_the_gap_bound() {
        let mut stream = CryptoStream::later();
        assert_eq!(receive(&mut stream, 60_000, b"x"), Ok(()));
        assert!(stream.memory() < 4 * PAGE_LEN, "{}", stream.memory());
        for gap in 1..limits::CRYPTO_GAPS as u64 {
            assert_eq!(receive(&mut stream, gap * 2, b"x"), Ok(()));
        }
        assert_eq!(receive(&mut stream, 40_000, b"x"), Err(ErrorCode::CRYPTO_BUFFER_EXCEEDED));
    }

    /// attacks B10: a flood after the handshake is read and leaves nothing.
    #[test]
    fn what_was_read_leaves_no_memory() {
        let mut stream = CryptoStream::later();
        for offset in (0..1_024 * 1_024).step_by(1_000) {
            assert_eq!(receive(&mut stream, offset, &bytes_of(offset..offset + 1_000)), Ok(()));
            assert_eq!(stream.take_readable().len(), 1_000);
        }
        assert!(stream.memory() < PAGE_LEN);
        assert!(!stream.has_unread());
    }

    #[test]
    fn unread_bytes_are_told_in_order_or_not() {
        let mut stream = CryptoStream::initial();
        receive(&mut stream, 5, b"later").unwrap();
        assert!(stream.has_unread());
        receive(&mut stream, 0, b"first").unwrap();
        assert_eq!(stream.take_readable(), b"firstlater");
        assert!(!stream.has_unread());
    }

    #[test]
    fn lost_pieces_are_sent_again_until_everything_is_acknowledged() {
        let mut stream = CryptoStream::later();
        stream.write(&bytes_of(0..3_000));
        let mut received = vec![0; 3_000];
        let mut pieces = send_all(&mut stream, 1_000, &mut received);
        assert_eq!(pieces, vec![(0, 1_000), (1_000, 1_000), (2_000, 1_000)]);
        let (offset, len) = pieces.remove(0);
        stream.on_acked(offset, len as u64);
        received.fill(0);
        pieces.into_iter().for_each(|(offset, len)| stream.on_lost(offset, len as u64));
        let pieces = send_all(&mut stream, 700, &mut received);
        assert_eq!(received[1_000..], bytes_of(1_000..3_000));
        assert!(stream.has_unacked());
        pieces.into_iter().for_each(|(offset, len)| stream.on_acked(offset, len as u64));
        assert!(!stream.has_unacked() && !stream.has_pending());
    }

    #[test]
    fn without_room_or_bytes_there_is_no_piece() {
        let mut stream = CryptoStream::later();
        assert_eq!(stream.next_range(100), None);
        stream.write(b"hello");
        assert_eq!(stream.next_range(0), None);
        assert_eq!((stream.pending_bytes(), stream.next_range(100)), (5, Some((0, 5))));
        stream.send_again();
        assert_eq!(stream.next_range(100), Some((0, 5)));
    }

    /// Sends everything that waits in pieces of at most `max` bytes and puts it where it belongs.
    fn send_all(stream: &mut CryptoStream, max: usize, received: &mut [u8]) -> Vec<(u64, usize)> {
        let mut pieces = Vec::new();
        while let Some((offset, len)) = stream.next_range(max) {
            stream.copy_range(offset, &mut received[offset as usize..][..len]);
            pieces.push((offset, len));
        }
        pieces
    }

    proptest! {
        /// attacks B11: a hello in any split and order is read as it was written.
        #[test]
        fn attack_b11_any_split_in_any_order_is_read_in_order(
            cuts in prop::collection::btree_set(0..4_000_u64, 0..40),
            order in prop::collection::vec(any::<prop::sample::Index>(), 60),
        ) {
            let mut borders: Vec<u64> = std::iter::once(0).chain(cuts).chain(std::iter::once(4_000)).collect();
            borders.dedup();
            let mut pieces: Vec<(u64, u64)> = borders.windows(2).map(|pair| (pair[0], pair[1])).collect();
            let mut stream = CryptoStream::initial();
            let mut out = Vec::new();
            for index in order {
                if !pieces.is_empty() {
                    let (start, end) = pieces.swap_remove(index.index(pieces.len()));
                    // Every piece overlaps the one before.
                    let start = start.saturating_sub(7);
                    prop_assert_eq!(receive(&mut stream, start, &bytes_of(start..end)), Ok(()));
                    out.extend(stream.take_readable());
                }
            }
            prop_assert_eq!(out, bytes_of(0..4_000));
            prop_assert!(!stream.has_unread());
        }
    }
}
