//! Received messages until the application takes them (RFC 9221 §5.2, §5.3; attacks L14).
//!
//! Called by the dispatch and the application's verbs. When it is full the oldest message is dropped and counted: the
//! newest one is worth most to those who use messages.

use bytes::{BufMut, Bytes, BytesMut};
use qbase::limits::{DATAGRAM_BYTES_QUEUED, DATAGRAMS_QUEUED};
use std::collections::VecDeque;

/// Memory is taken in pieces of this many bytes, which several messages share; a piece whose messages are all gone is
/// used again.
const PIECE: usize = 16 * 1_024;

/// Whether a message may be a replay (RFC 9001 §9.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Earliness {
    /// It came in a 0-RTT packet: somebody may have sent it again.
    Early,
    /// It came under 1-RTT keys: once.
    #[default]
    Ordinary,
}

/// The queue.
#[derive(Debug, Default)]
pub struct ReceiveQueue {
    queue: VecDeque<(Bytes, Earliness)>,
    bytes: usize,
    piece: BytesMut,
    received: u64,
    dropped: u64,
    /// The application was told that something waits and has not found the queue empty since.
    told: bool,
    /// It must be told.
    news: bool,
}

impl ReceiveQueue {
    /// Keeps a message.
    pub fn push(&mut self, data: &[u8], earliness: Earliness) {
        self.received = self.received.saturating_add(1);
        if self.piece.capacity() < data.len() {
            self.piece.reserve(data.len().max(PIECE));
        }
        self.piece.put_slice(data);
        self.bytes = self.bytes.saturating_add(data.len());
        self.queue.push_back((self.piece.split().freeze(), earliness));
        while self.queue.len() > DATAGRAMS_QUEUED || self.bytes > DATAGRAM_BYTES_QUEUED {
            if self.take().is_none() {
                break;
            }
            self.dropped = self.dropped.saturating_add(1);
        }
        self.news |= !std::mem::replace(&mut self.told, true);
    }

    /// The oldest message; `None` when none waits: the next one is told again.
    pub fn pop(&mut self) -> Option<(Bytes, Earliness)> {
        let oldest = self.take();
        self.told = oldest.is_some();
        oldest
    }

    /// Whether the application must be told that something waits; answers `true` once.
    pub fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.news)
    }

    /// Drops everything.
    pub fn clear(&mut self) {
        self.queue = VecDeque::new();
        self.bytes = 0;
        self.piece = BytesMut::new();
        self.news = false;
    }

    /// Messages that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// None waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Bytes of those that wait.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Messages received, and those of them that were dropped.
    #[must_use]
    pub const fn totals(&self) -> (u64, u64) {
        (self.received, self.dropped)
    }

    fn take(&mut self) -> Option<(Bytes, Earliness)> {
        let oldest = self.queue.pop_front()?;
        self.bytes = self.bytes.saturating_sub(oldest.0.len());
        Some(oldest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pop(queue: &mut ReceiveQueue) -> Option<Bytes> {
        queue.pop().map(|(data, _)| data)
    }

    #[test]
    fn a_message_of_early_data_stays_known_as_that() {
        let mut queue = ReceiveQueue::default();
        queue.push(b"early", Earliness::Early);
        queue.push(b"later", Earliness::Ordinary);
        let marks = std::iter::from_fn(|| queue.pop()).map(|(_, earliness)| earliness);
        assert_eq!(marks.collect::<Vec<_>>(), [Earliness::Early, Earliness::Ordinary]);
    }

    #[test]
    fn messages_come_out_in_order_and_empty_ones_count() {
        let mut queue = ReceiveQueue::default();
        for data in [b"one".as_slice(), b"", b"three"] {
            queue.push(data, Earliness::Ordinary);
        }
        assert!(queue.take_news());
        assert!(!queue.take_news(), "told once");
        assert_eq!(std::iter::from_fn(|| pop(&mut queue)).collect::<Vec<_>>(), ["one", "", "three"]);
        queue.push(b"four", Earliness::Ordinary);
        assert!(queue.take_news(), "it was found empty");
    }

    /// Shows 9221-5.3-1.
    #[test]
    fn attack_l14_the_receive_queue_keeps_64_messages_and_drops_the_oldest() {
        let mut queue = ReceiveQueue::default();
        for number in 0..64_u8 {
            queue.push(&[number], Earliness::Ordinary);
        }
        assert_eq!((queue.len(), queue.totals()), (64, (64, 0)));
        queue.push(&[64], Earliness::Ordinary);
        assert_eq!((queue.len(), queue.totals()), (64, (65, 1)));
        assert_eq!(pop(&mut queue).as_deref(), Some([1].as_slice()));
    }

    #[test]
    fn attack_l14_the_receive_queue_keeps_64_kib_and_no_byte_more() {
        let mut queue = ReceiveQueue::default();
        queue.push(&[1; 40_000], Earliness::Ordinary);
        queue.push(&[2; 25_536], Earliness::Ordinary);
        assert_eq!((queue.bytes(), queue.len()), (64 * 1_024, 2));
        queue.push(&[3; 1], Earliness::Ordinary);
        assert_eq!((queue.bytes(), queue.totals().1), (25_537, 1));
        queue.push(&[4; 65_536], Earliness::Ordinary);
        assert_eq!((queue.bytes(), queue.len()), (65_536, 1), "one as large as the queue has it for itself");
        queue.push(&[5; 65_537], Earliness::Ordinary);
        assert!(queue.is_empty(), "larger than the queue: nothing is kept");
    }

    #[test]
    fn memory_of_messages_that_are_gone_is_used_again() {
        let mut queue = ReceiveQueue::default();
        queue.push(&[7; 1_000], Earliness::Ordinary);
        let first = pop(&mut queue).map(|data| data.as_ptr());
        for round in 0..100 {
            queue.push(&[round; 1_000], Earliness::Ordinary);
            pop(&mut queue);
        }
        let spread = queue.piece.capacity();
        assert!(first.is_some() && spread <= PIECE, "{spread} bytes of memory");
    }
}
