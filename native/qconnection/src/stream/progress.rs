//! How far the bytes of streams have come, for an application that counts them itself.
//!
//! Called by the binding, whose other half accepts bytes without asking. Changes nothing but who is told of room.

use super::{Stream, Streams};
use qbase::{Direction, StreamId};
use qrecovery::stream::RecvPhase;

/// Where the bytes of a sending part are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendProgress {
    /// Written and never sent.
    pub unsent: u64,
    /// Written and not acknowledged, the unsent ones included.
    pub unacknowledged: u64,
}

impl Streams {
    /// Where the bytes of a stream's sending part are; `None`: there is no such part any more.
    #[must_use]
    pub fn send_progress(&self, id: StreamId) -> Option<SendProgress> {
        let part = self.map.get(self.map.key(id)?)?.send.as_ref()?;
        Some(SendProgress { unsent: part.buffer.unsent(), unacknowledged: part.buffer.outstanding() })
    }

    /// Asks for [`super::StreamEvent::Writable`] when at most half of the stream's send buffer is unsent, as if a write
    /// had been cut short.
    pub fn tell_room(&mut self, id: StreamId) {
        let Some(key) = self.map.key(id) else { return };
        if let Some(Stream { send: Some(part), .. }) = self.map.get_mut(key) {
            part.wants_room = true;
        }
    }

    /// Asks for [`super::StreamEvent::Acknowledged`], once, when the peer has acknowledged bytes of a stream (reverse
    /// V47).
    pub fn tell_acknowledged(&mut self, id: StreamId) {
        let Some(key) = self.map.key(id) else { return };
        if let Some(Stream { send: Some(part), .. }) = self.map.get_mut(key) {
            part.wants_word = true;
        }
    }

    /// Streams of one kind that the peer allows us to open since the start.
    #[must_use]
    pub const fn open_limit(&self, direction: Direction) -> u64 {
        self.local.get(direction).credit.limit()
    }

    /// Bytes of the peer on all streams, as flow control counts them.
    #[must_use]
    pub const fn received_bytes(&self) -> u64 {
        self.window.received()
    }

    /// Every byte up to FIN was read, and the stream waits for the read that says so: until then its place is not given
    /// to another (mux R43).
    #[must_use]
    pub fn is_read_to_end(&self, id: StreamId) -> bool {
        let part = self.map.key(id).and_then(|key| self.map.get(key)).and_then(|stream| stream.recv.as_ref());
        part.is_some_and(|part| part.buffer.readable() == 0 && part.state.phase() == RecvPhase::DataRecvd)
    }

    /// Every byte up to FIN has arrived, read or not.
    #[must_use]
    pub fn is_complete(&self, id: StreamId) -> bool {
        let part = self.map.key(id).and_then(|key| self.map.get(key)).and_then(|stream| stream.recv.as_ref());
        part.is_some_and(|part| part.state.phase() == RecvPhase::DataRecvd)
    }

    /// Nothing written waits to be sent, again or for the first time, or to be acknowledged.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.totals.unacked == 0 && !self.schedule.has_fresh() && !self.schedule.has_again()
    }
}
