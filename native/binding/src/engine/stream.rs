//! One stream as the engine keeps it for JavaScript: how much was handed over, taken, written and told.
//!
//! Decides how much of a stream crosses at once (streams-over-ring S1), how far ahead of its consumer (S4), and when
//! JavaScript is told that bytes left the send queue (docs/design/ring, section 3).

use qbase::StreamId;
use qconnection::{
    Connection,
    stream::{ReadError, Streams},
};

use crate::{
    engine::outbox::Outbox,
    queue::layout::{AHEAD_BYTES, EARLY, FIN, Kind, OPENED, PIECE_BYTES, Record},
};

/// What the engine keeps of a stream until JavaScript releases it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stream {
    /// Bytes handed over.
    delivered: u64,
    /// Of those, bytes the consumer took.
    consumed: u64,
    /// Bytes JavaScript wrote.
    written: u64,
    /// Of those, bytes JavaScript knows to have left the send queue.
    told: u64,
    receiving: Receiving,
    /// It stands in the list of streams with bytes to hand over.
    pub queued: bool,
    /// The machine will say when half of the send buffer is free.
    pub armed: bool,
    /// Its bytes go to a TCP connection and not to JavaScript.
    pub splice: Option<u32>,
    /// Bytes that it wrote, behind those of JavaScript.
    pub spliced: u64,
}

/// Where the receiving part stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
enum Receiving {
    /// The peer opened the stream, and JavaScript does not know of it.
    Untold,
    /// Bytes may come.
    Open,
    /// FIN was handed over; the machine keeps the stream until it is released (mux R43).
    Read,
    /// Reset, stopped, or never there.
    #[default]
    Over,
}

/// How much may be handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowance {
    /// A piece, and no more than JavaScript may hold unread.
    Window,
    /// A piece, whatever JavaScript holds: the connection ends.
    Whole,
}

/// What follows after a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// More bytes are there.
    More,
    /// Nothing now: an event or CONSUMED goes on.
    Wait,
}

/// What JavaScript knows of the room in a send queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// There is at least half of it.
    Plenty,
    /// It was told of more.
    Told,
    /// The machine will say when there is more.
    Awaited,
}

impl Stream {
    /// A stream that JavaScript opened.
    #[must_use]
    pub fn opened_here(id: StreamId) -> Self {
        let both = id.direction() == qbase::Direction::Bidirectional;
        Self { receiving: if both { Receiving::Open } else { Receiving::Over }, ..Self::default() }
    }

    /// A stream that the peer opened.
    #[must_use]
    pub fn opened_by_peer() -> Self {
        Self { receiving: Receiving::Untold, ..Self::default() }
    }

    /// The consumer took `total` bytes. Answers whether the stream may have bytes that waited for it.
    pub fn on_consumed(&mut self, total: u64) -> bool {
        let waited = self.window() == 0;
        self.consumed = self.consumed.max(total.min(self.delivered));
        waited && self.receiving == Receiving::Open
    }

    /// Bytes handed over.
    #[must_use]
    pub const fn delivered(&self) -> u64 {
        self.delivered
    }

    /// The consumer took all bytes that were handed over.
    #[must_use]
    pub const fn is_consumed(&self) -> bool {
        self.consumed == self.delivered
    }

    /// All bytes up to FIN were taken, by a TCP connection. Answers whether JavaScript is to be told.
    pub const fn on_read_elsewhere(&mut self) -> bool {
        let is_open = matches!(self.receiving, Receiving::Open);
        if is_open {
            self.receiving = Receiving::Read;
        }
        is_open
    }

    /// JavaScript wants no more bytes.
    pub const fn on_stopped_here(&mut self) {
        self.receiving = Receiving::Over;
    }

    /// Bytes that may cross before the consumer takes some.
    const fn window(&self) -> u64 {
        AHEAD_BYTES.saturating_sub(self.delivered.saturating_sub(self.consumed))
    }

    /// The bytes that lie in the machine belong to nobody who reads them.
    #[must_use]
    pub const fn is_readable(&self) -> bool {
        matches!(self.receiving, Receiving::Open | Receiving::Untold)
    }

    /// Hands the next piece over: bytes, the end, the reset, or for a new stream the news of it.
    pub fn hand_over(&mut self, key: u32, id: StreamId, machine: &mut Connection, out: &mut Outbox, allowance: Allowance) -> Next {
        if !self.is_readable() || self.splice.is_some() {
            return Next::Wait;
        }
        let room = match allowance {
            Allowance::Window => usize::try_from(self.window()).unwrap_or(PIECE_BYTES).min(PIECE_BYTES),
            Allowance::Whole => PIECE_BYTES,
        };
        let piece = take_piece(id, machine, out, room);
        let flags = match self.receiving {
            Receiving::Untold if machine.is_early_stream(id) => OPENED | EARLY,
            Receiving::Untold => OPENED,
            _ => 0,
        };
        if let Outcome::Reset(code) = piece.outcome {
            // Bytes before a reset are dropped by the machine, so the piece is empty.
            self.receiving = Receiving::Over;
            out.push(Record::new(Kind::Reset, key).flags(flags).stream(id.0).code(code));
            return Next::Wait;
        }
        let fin = if piece.outcome == Outcome::Finished { FIN } else { 0 };
        if piece.bytes > 0 || flags | fin != 0 {
            let length = u32::try_from(piece.bytes).unwrap_or(u32::MAX);
            out.records.push(Record::new(Kind::Data, key).flags(flags | fin).length(length).stream(id.0));
        }
        self.delivered = self.delivered.saturating_add(piece.bytes as u64);
        self.receiving = match piece.outcome {
            Outcome::Finished => Receiving::Read,
            Outcome::Gone => Receiving::Over,
            _ => Receiving::Open,
        };
        if piece.outcome == Outcome::More && (allowance == Allowance::Whole || self.window() > 0) { Next::More } else { Next::Wait }
    }

    /// The peer reset the stream: the record of it, unless JavaScript knows of the end.
    pub fn on_reset(&mut self, key: u32, id: StreamId, code: u64, out: &mut Outbox) {
        if !self.is_readable() {
            return;
        }
        let flags = if self.receiving == Receiving::Untold { OPENED } else { 0 };
        self.receiving = Receiving::Over;
        out.push(Record::new(Kind::Reset, key).flags(flags).stream(id.0).code(code));
    }

    /// JavaScript wrote `bytes`.
    pub const fn on_written(&mut self, bytes: u64) {
        self.written = self.written.saturating_add(bytes);
    }

    /// Tells how many bytes left the send queue, if JavaScript may be waiting for that; else sees to it that the machine
    /// will say so. `limit`: bytes that JavaScript accepts beyond those.
    pub fn watch_room(&mut self, key: u32, id: StreamId, limit: u64, streams: &mut Streams, out: &mut Outbox) -> Room {
        let half = (limit / 2).max(1);
        if self.written.saturating_sub(self.told) < half {
            return Room::Plenty;
        }
        let Some(progress) = streams.send_progress(id) else { return Room::Plenty };
        let left = self.written.saturating_sub(progress.unsent);
        if left.saturating_sub(self.told) >= half {
            self.tell_room(key, id, left, progress.unacknowledged.saturating_sub(progress.unsent), out);
            return Room::Told;
        }
        streams.tell_room(id);
        Room::Awaited
    }

    /// The machine says that there is room.
    pub fn on_room(&mut self, key: u32, id: StreamId, streams: &Streams, out: &mut Outbox) {
        if let Some(progress) = streams.send_progress(id) {
            let left = self.written.saturating_sub(progress.unsent);
            self.tell_room(key, id, left, progress.unacknowledged.saturating_sub(progress.unsent), out);
        }
    }

    fn tell_room(&mut self, key: u32, id: StreamId, left: u64, unacknowledged: u64, out: &mut Outbox) {
        self.told = left;
        let unacknowledged = u32::try_from(unacknowledged).unwrap_or(u32::MAX);
        out.push(Record::new(Kind::Writable, key).stream(id.0).number(left).small(unacknowledged));
    }
}

/// What was taken out of the machine.
struct Piece {
    bytes: usize,
    outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// Bytes are left.
    More,
    /// All that is here was taken.
    Empty,
    /// All bytes up to FIN were taken.
    Finished,
    /// The peer reset the stream.
    Reset(u64),
    /// There is nothing to read on this stream.
    Gone,
}

/// Takes up to `room` bytes. The read that would find the end is left for the release of the stream.
fn take_piece(id: StreamId, machine: &mut Connection, out: &mut Outbox, room: usize) -> Piece {
    let mut bytes = 0_usize;
    loop {
        if machine.readable(id) == 0 {
            let outcome = if machine.stream_facts().is_read_to_end(id) { Outcome::Finished } else { nothing(id, machine) };
            return Piece { bytes, outcome };
        }
        let left = room.saturating_sub(bytes);
        if left == 0 {
            return Piece { bytes, outcome: Outcome::More };
        }
        let Ok(front) = machine.peek(id) else { return Piece { bytes, outcome: Outcome::Empty } };
        let front = front.get(..left.min(front.len())).unwrap_or_default();
        out.records.append(front);
        let taken = front.len();
        machine.consume(id, taken);
        bytes = bytes.saturating_add(taken);
    }
}

/// Why there is nothing to read; the machine will tell when there is something again.
fn nothing(id: StreamId, machine: &mut Connection) -> Outcome {
    match machine.peek(id) {
        Err(ReadError::Reset(code)) => Outcome::Reset(code),
        Err(ReadError::Finished) => Outcome::Finished,
        Err(ReadError::Blocked) | Ok(_) => Outcome::Empty,
        Err(ReadError::Stopped(_) | ReadError::WrongWay | ReadError::Unordered | ReadError::Closed) => Outcome::Gone,
    }
}
