//! What the application may do with streams (RFC 9000 §2.4).
//!
//! Called by the connection for its application. Nothing blocks: a verb that cannot go on says so, and an event tells
//! when it can. Bytes are copied once, from the caller into the send buffer or from the receive buffer to the caller.

use super::{Stream, StreamEvent, Streams, map::Key, recv::RecvPart, send::Ending, send::SendPart};
use bytes::Bytes;
use qbase::{Direction, StreamId};
use qrecovery::{
    buffer::BufferPool,
    stream::{Abort, Origin},
};

/// Why bytes cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The application has ended the stream.
    #[error("the stream was ended")]
    Ended,
    /// The application reset it with this code.
    #[error("the stream was reset with code {0}")]
    Reset(u64),
    /// The peer stopped it with this code.
    #[error("the peer stopped the stream with code {0}")]
    Stopped(u64),
    /// Only the peer sends on this stream.
    #[error("only the peer sends on this stream")]
    WrongWay,
    /// It has ended and left nothing, or never existed.
    #[error("there is no such stream")]
    Closed,
}

/// Why no bytes can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// None are here yet; an event tells when there are.
    #[error("nothing to read yet")]
    Blocked,
    /// All were read.
    #[error("the stream has been read to its end")]
    Finished,
    /// The peer reset the stream with this code.
    #[error("the peer reset the stream with code {0}")]
    Reset(u64),
    /// The application stopped it with this code.
    #[error("the stream was stopped with code {0}")]
    Stopped(u64),
    /// Only we send on this stream.
    #[error("only we send on this stream")]
    WrongWay,
    /// Its bytes are taken in any order, by [`Streams::read_unordered`].
    #[error("the stream is read in any order")]
    Unordered,
    /// It has ended and left nothing, or never existed.
    #[error("there is no such stream")]
    Closed,
}

/// Why a stream cannot be reset, stopped or given a priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// The stream has no part of this kind.
    #[error("the stream has no such direction")]
    WrongWay,
    /// It has ended and left nothing, or never existed.
    #[error("there is no such stream")]
    Closed,
}

/// How a stream shares with others of its urgency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Incremental {
    /// In turns.
    #[default]
    Yes,
    /// Its turn lasts until it has nothing more to send.
    No,
}

impl Streams {
    /// Opens a stream; `None` when the peer allows no more: STREAMS_BLOCKED tells it, and [`StreamEvent::Available`]
    /// comes when it allows more. `None` also where the other end asks (mux R50).
    pub fn open(&mut self, direction: Direction) -> Option<StreamId> {
        if !self.may_open() {
            return None;
        }
        let index = self.local.get_mut(direction).open()?;
        let id = StreamId::new(self.config.role, direction, index);
        self.create(id);
        Some(id)
    }

    /// The next stream the peer opened, in the order of ids.
    pub fn accept(&mut self, direction: Direction) -> Option<StreamId> {
        let index = self.peer.get_mut(direction).accept()?;
        Some(StreamId::new(self.config.role.peer(), direction, index))
    }

    /// How many of `wanted` bytes [`Streams::write`] would take now; fewer count as a write that was cut short.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub fn room(&mut self, id: StreamId, wanted: usize) -> Result<usize, WriteError> {
        self.admit_write(id, wanted).map(|(_, len)| len)
    }

    /// Copies bytes into the send buffer and answers how many were taken: fewer than offered when the buffer of the
    /// stream or of the connection is full. [`StreamEvent::Writable`] tells when half of it is free again.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub fn write(&mut self, id: StreamId, data: &[u8]) -> Result<usize, WriteError> {
        let (key, len) = self.admit_write(id, data.len())?;
        if let Some((part, spare)) = self.send_part(key) {
            part.buffer.write(data.get(..len).unwrap_or_default(), spare);
            self.on_written(key, len);
        }
        Ok(len)
    }

    /// Like [`Streams::write`] without the copy: the buffer shares the chunk's memory until it is acknowledged.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub fn write_chunk(&mut self, id: StreamId, mut chunk: Bytes) -> Result<usize, WriteError> {
        let (key, len) = self.admit_write(id, chunk.len())?;
        if let Some((part, spare)) = self.send_part(key) {
            chunk.truncate(len);
            part.buffer.write_chunk(chunk, spare);
            self.on_written(key, len);
        }
        Ok(len)
    }

    /// Ends the stream behind the bytes written. Once is enough; again changes nothing.
    ///
    /// # Errors
    /// See [`WriteError`]; never [`WriteError::Ended`].
    pub fn finish(&mut self, id: StreamId) -> Result<(), WriteError> {
        let key = self.writable_key(id)?;
        let Some((part, _)) = self.send_part(key) else { return Err(WriteError::WrongWay) };
        match part.writable() {
            Ok(()) => part.ending = Ending::Wanted,
            Err(WriteError::Ended) => return Ok(()),
            Err(error) => return Err(error),
        }
        self.settle(key);
        Ok(())
    }

    /// Ends our part at once with RESET_STREAM: bytes not yet acknowledged are dropped. After the end, after another
    /// reset or after STOP_SENDING it changes nothing (mux R30).
    ///
    /// # Errors
    /// See [`StreamError`].
    pub fn reset(&mut self, id: StreamId, code: u64) -> Result<(), StreamError> {
        let key = self.app_key(id).ok_or(StreamError::Closed)?;
        if self.map.get(key).is_none_or(|stream| stream.send.is_none()) {
            return Err(StreamError::WrongWay);
        }
        self.abort_sending(key, Abort { code, by: Origin::Local });
        Ok(())
    }

    /// Wants no more bytes: unread ones are dropped, later ones too, and STOP_SENDING asks the peer to stop (RFC 9000
    /// §3.5).
    ///
    /// # Errors
    /// See [`StreamError`].
    pub fn stop(&mut self, id: StreamId, code: u64, pool: &mut BufferPool) -> Result<(), StreamError> {
        let key = self.app_key(id).ok_or(StreamError::Closed)?;
        let Some(Stream { recv: Some(recv), .. }) = self.map.get_mut(key) else { return Err(StreamError::WrongWay) };
        let before = Held::of(recv);
        let effect = recv.stop(code, &mut self.window, pool);
        self.totals.on_held(before, Held::of(recv));
        self.totals.note_full(recv);
        if effect.is_change() {
            self.settle(key);
            self.close_if_ended(key);
        }
        Ok(())
    }

    /// Takes bytes in order into `out` and answers how many, at least one unless `out` is empty.
    ///
    /// [`ReadError::Finished`] and [`ReadError::Reset`] are the end of the part: once both parts have ended the stream
    /// is gone and later calls answer [`ReadError::Closed`]. Read until an error says so, or the stream stays.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn read(&mut self, id: StreamId, out: &mut [u8], pool: &mut BufferPool) -> Result<usize, ReadError> {
        let (key, recv) = self.ordered_part(id)?;
        let len = recv.buffer.read(out, pool);
        self.on_read(key, len);
        Ok(len)
    }

    /// Takes bytes that follow each other into `out`, the lowest that are here, and answers where they belong and how many
    /// they are. The first such call decides for the stream: what is missing before them holds nothing up, each byte
    /// comes once, and [`Streams::read`] and [`Streams::peek`] are over. The end is told as by [`Streams::read`].
    ///
    /// # Errors
    /// See [`ReadError`]; never [`ReadError::Unordered`].
    pub fn read_unordered(&mut self, id: StreamId, out: &mut [u8], pool: &mut BufferPool) -> Result<(u64, usize), ReadError> {
        let key = self.app_key(id).ok_or(ReadError::Closed)?;
        let Some(Stream { recv: Some(recv), .. }) = self.map.get_mut(key) else { return Err(ReadError::WrongWay) };
        if let Some((offset, len)) = recv.buffer.read_unordered(out, pool) {
            self.on_read(key, len);
            return Ok((offset, len));
        }
        if recv.buffer.readable() > 0 {
            return Ok((recv.buffer.read_offset(), 0));
        }
        let polled = recv.poll_read();
        self.close_if_ended(key);
        polled.map(|()| (0, 0))
    }

    /// The next bytes in order, where they lie: at least one, up to the end of a block. [`Streams::consume`] moves past
    /// them.
    ///
    /// # Errors
    /// As [`Streams::read`].
    pub fn peek(&mut self, id: StreamId) -> Result<&[u8], ReadError> {
        self.ordered_part(id).map(|(_, recv)| recv.buffer.front())
    }

    /// As [`Streams::peek`], with what lies in the blocks behind, block by block.
    ///
    /// # Errors
    /// As [`Streams::read`].
    pub fn peek_all(&mut self, id: StreamId) -> Result<impl Iterator<Item = &[u8]>, ReadError> {
        self.ordered_part(id).map(|(_, recv)| recv.buffer.fronts())
    }

    /// Moves past `len` bytes that [`Streams::peek`] showed; more than are readable counts as all of them.
    pub fn consume(&mut self, id: StreamId, len: usize, pool: &mut BufferPool) {
        let Some(key) = self.map.key(id) else { return };
        if let Some(Stream { recv: Some(recv), .. }) = self.map.get_mut(key)
            && !recv.buffer.is_unordered()
        {
            let len = (len as u64).min(recv.buffer.readable());
            recv.buffer.consume(len, pool);
            self.on_read(key, usize::try_from(len).unwrap_or(usize::MAX));
        }
    }

    /// Bytes that can be read now.
    #[must_use]
    pub fn readable(&self, id: StreamId) -> usize {
        let stream = self.map.key(id).and_then(|key| self.map.get(key));
        let readable = stream.and_then(|stream| stream.recv.as_ref()).map_or(0, |recv| recv.buffer.readable());
        usize::try_from(readable).unwrap_or(usize::MAX)
    }

    /// Changes when a stream's fresh bytes go out: `urgency` 0 first, 7 last (larger ones count as 7), and how it shares
    /// with others of the same urgency.
    ///
    /// # Errors
    /// See [`StreamError`].
    pub fn set_priority(&mut self, id: StreamId, urgency: u8, incremental: Incremental) -> Result<(), StreamError> {
        let key = self.app_key(id).ok_or(StreamError::Closed)?;
        let Some(stream) = self.map.get_mut(key) else { return Err(StreamError::Closed) };
        let ticket = stream.ticket(key);
        let part = stream.send.as_mut().ok_or(StreamError::WrongWay)?;
        part.incremental = incremental;
        self.schedule.set_urgency(ticket, part, urgency);
        Ok(())
    }

    /// Ends a sending part early, by a call or by STOP_SENDING. Answers whether that is news.
    pub(super) fn abort_sending(&mut self, key: Key, abort: Abort) -> bool {
        let Some(Stream { send: Some(part), .. }) = self.map.get_mut(key) else { return false };
        if !part.state.reset(abort).is_change() {
            return false;
        }
        self.totals.unsent = self.totals.unsent.saturating_sub(part.buffer.unsent());
        self.totals.again = self.totals.again.saturating_sub(part.buffer.lost_bytes());
        let dropped = part.buffer.outstanding();
        part.buffer.clear(&mut self.spare);
        part.wants_room = false;
        self.room.lose(&mut part.room);
        self.on_settled(dropped);
        self.settle(key);
        self.offer_room();
        true
    }

    /// The place of a stream the application names. One that exists only by its number is made now.
    pub(super) fn app_key(&mut self, id: StreamId) -> Option<Key> {
        if self.is_hidden(id) {
            return None;
        }
        if let Some(key) = self.map.key(id) {
            return Some(key);
        }
        let is_open = id.initiator() != self.config.role
            && self.peer.get(id.direction()).standing(id.index()) == super::limits::Standing::Open;
        is_open.then(|| self.create(id))
    }

    /// The place of a stream that has a sending part.
    fn writable_key(&mut self, id: StreamId) -> Result<Key, WriteError> {
        let key = self.app_key(id).ok_or(WriteError::Closed)?;
        match self.map.get(key) {
            Some(Stream { send: Some(_), .. }) => Ok(key),
            _ => Err(WriteError::WrongWay),
        }
    }

    /// A sending part, with the spare memory of the connection.
    fn send_part(&mut self, key: Key) -> Option<(&mut SendPart, &mut qrecovery::buffer::SpareBlocks)> {
        let part = self.map.get_mut(key)?.send.as_mut()?;
        Some((part, &mut self.spare))
    }

    /// How many of `wanted` bytes a stream may take now.
    fn admit_write(&mut self, id: StreamId, wanted: usize) -> Result<(Key, usize), WriteError> {
        let key = self.writable_key(id)?;
        let Some(stream) = self.map.get_mut(key) else { return Err(WriteError::Closed) };
        let ticket = stream.ticket(key);
        let part = stream.send.as_mut().ok_or(WriteError::WrongWay)?;
        part.writable()?;
        let of_stream = (self.config.send_buffer as u64).saturating_sub(part.buffer.unsent());
        let of_connection = (self.config.connection_send_buffer as u64).saturating_sub(self.totals.unsent);
        let of_pool = self.memory.room(self.totals.unacked);
        let room = usize::try_from(of_stream.min(of_connection).min(of_pool)).unwrap_or(usize::MAX);
        if wanted > room {
            part.wants_room = true;
            if of_connection.min(of_pool) < of_stream {
                self.room.add(ticket, &mut part.room);
            }
            if of_pool < of_stream.min(of_connection) {
                self.memory.note_short();
            }
        }
        Ok((key, wanted.min(room)))
    }

    /// `len` bytes were put into a send buffer.
    fn on_written(&mut self, key: Key, len: usize) {
        self.totals.unsent = self.totals.unsent.saturating_add(len as u64);
        self.totals.unacked = self.totals.unacked.saturating_add(len as u64);
        self.settle(key);
    }

    /// A receiving part with bytes to read in order.
    #[inline]
    fn ordered_part(&mut self, id: StreamId) -> Result<(Key, &mut RecvPart), ReadError> {
        let key = self.app_key(id).ok_or(ReadError::Closed)?;
        let polled = match self.map.get_mut(key) {
            Some(Stream { recv: Some(recv), .. }) if recv.buffer.is_unordered() => return Err(ReadError::Unordered),
            Some(Stream { recv: Some(recv), .. }) => recv.poll_read(),
            _ => Err(ReadError::WrongWay),
        };
        if let Err(error) = polled {
            self.close_if_ended(key);
            return Err(error);
        }
        self.map.get_mut(key).and_then(|stream| stream.recv.as_mut()).map(|recv| (key, recv)).ok_or(ReadError::Closed)
    }

    /// The application took `len` bytes.
    #[inline]
    fn on_read(&mut self, key: Key, len: usize) {
        let len = len as u64;
        self.totals.held = self.totals.held.saturating_sub(len);
        self.counters.bytes_read = self.counters.bytes_read.saturating_add(len);
        let Some(stream) = self.map.get_mut(key) else { return };
        let ticket = stream.ticket(key);
        if let Some(recv) = &mut stream.recv {
            recv.on_taken(len, &mut self.window);
            self.totals.note_full(recv);
            if recv.window_update().is_some() {
                self.control.add(ticket, &mut stream.control);
            }
        }
    }

    /// A stream sent fresh bytes: tells its application if it waits for room and there is plenty. Answers whether it did.
    #[inline]
    pub(super) fn offer_room_to(&mut self, key: Key) -> bool {
        let Some(Stream { id, send: Some(part), .. }) = self.map.get_mut(key) else { return false };
        if part.wants_room
            && !self.memory.is_short()
            && part.buffer.unsent() <= self.config.send_buffer as u64 / 2
            && self.totals.unsent < self.config.connection_send_buffer as u64
        {
            part.wants_room = false;
            self.room.lose(&mut part.room);
            self.events.push(StreamEvent::Writable(*id));
            return true;
        }
        false
    }

    /// The connection's send buffer has drained: tells those who wait for room in it, once there is plenty.
    #[inline]
    pub(super) fn offer_room(&mut self) {
        let is_full = self.totals.unsent > self.config.connection_send_buffer as u64 / 2;
        if self.room.live() == 0 || is_full || self.memory.is_short() {
            return;
        }
        while let Some(key) = self.take_room_seat() {
            self.offer_room_to(key);
        }
    }

    /// The first of those who wait for room leaves the queue.
    pub(super) fn take_room_seat(&mut self) -> Option<Key> {
        while let Some(ticket) = self.room.pop() {
            if let Some(part) = self.map.by_ticket(ticket).and_then(|stream| stream.send.as_mut()) {
                part.room.on_taken_out();
                if self.room.lose(&mut part.room) {
                    return Some(ticket.key);
                }
            }
        }
        None
    }
}

/// What a receiving part holds, to keep the sums.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    bytes: u64,
    gaps: usize,
}

impl Held {
    #[inline]
    pub fn of(recv: &RecvPart) -> Self {
        Self { bytes: recv.buffer.held(), gaps: recv.buffer.gaps() }
    }
}

impl super::Totals {
    /// Counts a stream whose window has filled up, or has room again.
    #[inline]
    pub(super) fn note_full(&mut self, recv: &mut RecvPart) {
        match (recv.full, recv.is_full()) {
            (false, true) => self.full = self.full.saturating_add(1),
            (true, false) => self.full = self.full.saturating_sub(1),
            _ => return,
        }
        recv.full = !recv.full;
    }

    /// A receiving part changed what it holds.
    #[inline]
    pub(super) const fn on_held(&mut self, before: Held, after: Held) {
        self.held = self.held.saturating_sub(before.bytes).saturating_add(after.bytes);
        self.gaps = self.gaps.saturating_sub(before.gaps).saturating_add(after.gaps);
    }
}
