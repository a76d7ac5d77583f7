//! What streams tell the application, in the order it happened.
//!
//! Called by every part of the stream room with news; drained by the connection once per turn. Streams the peer opened
//! are not queued: they are counted, so that a peer cannot fill the queue by opening (attacks D10, D11), and they come
//! before anything else that happens to them. The rest is bounded by live streams and by what the application does.

use qbase::{Direction, StreamId};
use std::collections::VecDeque;

/// News of a stream. Its tag is a whole word, so that an event is moved as words: packed tighter, every step of its way
/// to the application would wait for the bytes of the step before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum StreamEvent {
    /// The peer opened a stream.
    Opened(StreamId),
    /// There is something to read, or the end, where there was nothing. Comes again after a read found nothing.
    Readable(StreamId),
    /// There is room again after a write was cut short.
    Writable(StreamId),
    /// The peer has the first bytes, if that was asked for.
    Acknowledged(StreamId),
    /// The peer has every byte and FIN.
    Finished(StreamId),
    /// STOP_SENDING: the peer wants no more bytes; RESET_STREAM goes back with the same code.
    Stopped {
        /// The stream.
        id: StreamId,
        /// The peer's application error code.
        code: u64,
    },
    /// RESET_STREAM: no more bytes come, unread ones are dropped.
    Reset {
        /// The stream.
        id: StreamId,
        /// The peer's application error code.
        code: u64,
    },
    /// The peer allows more streams, after an open was refused.
    Available(Direction),
}

/// The queue of news.
#[derive(Debug, Default)]
pub(super) struct Events {
    queue: VecDeque<StreamEvent>,
}

impl Events {
    #[inline]
    pub fn push(&mut self, event: StreamEvent) {
        self.queue.push_back(event);
    }

    #[inline]
    pub fn pop(&mut self) -> Option<StreamEvent> {
        self.queue.pop_front()
    }

    pub fn len(&self) -> usize {
        self.queue.len()
    }
}
