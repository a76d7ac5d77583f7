//! TCP connections joined to streams on the I/O thread: bytes go from one to the other without a visit to JavaScript.
//!
//! ```text
//!   TCP ──read──▶ room in the send buffer? ──write──▶ stream         FIN: the stream ends          (inward)
//!   stream ──peek──▶ the kernel takes some ──consume──▶ TCP          end of the stream: FIN        (outward)
//! ```
//! Decides how much moves in a turn, and that credit follows what the kernel took. What ends mean (resets, stops, the end of a connection) is
//! JavaScript's to decide (`src/tunnel/spliced.ts`), which hears of each once and then cuts the TCP connection. A TCP connection that is let go
//! before both its directions have ended in order is reset, whoever lets it go. Called once per turn, after the events of the machine.

use std::{
    collections::{HashMap, VecDeque},
    io::IoSlice,
    sync::{Arc, atomic::{AtomicU64, Ordering}},
};

use qbase::StreamId;
use qconnection::{Connection as Machine, stream::ReadError};
use qdriver::{
    Io,
    tcp::{Tcp, TcpEnd, TcpPlace, TcpRead},
};

use super::{Engine, connection::Connection, outbox::Outbox};
use crate::queue::{commands::SpliceStart, layout::{FIN, Kind, Record}};

/// Bytes read of TCP at once.
const CHUNK: usize = 65_536;
/// Less room than this is waited for, or than half of a smaller buffer: reading drops is not worth a system call.
const LEAST_ROOM: usize = 16_384;
/// Bytes that one TCP connection moves in each direction in a turn: others wait, and so do datagrams.
const BYTES_PER_TURN: usize = 256 * 1_024;
/// Pieces written to TCP at once.
const PIECES: usize = 16;

/// What JavaScript is told of a splice; the small number of its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
enum News {
    /// It moves bytes; b: bytes of the stream that JavaScript has got, to be given back unless it has consumed all of them.
    Started = 1,
    /// TCP's end was passed on.
    InwardEnded = 2,
    /// The stream's end was passed on: the kernel took everything.
    OutwardEnded = 3,
    /// TCP is broken, or was reset.
    Failed = 4,
}

/// Bytes that a splice has moved; both threads look.
#[derive(Debug, Default)]
pub struct SpliceCounters {
    inward: AtomicU64,
    outward: AtomicU64,
}

impl SpliceCounters {
    /// From TCP to the stream, and from the stream to TCP.
    #[must_use]
    pub fn read(&self) -> [f64; 2] {
        [&self.inward, &self.outward].map(|cell| cell.load(Ordering::Relaxed) as f64)
    }
}

/// All splices of an endpoint.
#[derive(Debug, Default)]
pub struct Splices {
    by_id: HashMap<u32, Splice>,
    /// Those with something to do, each at most once.
    ready: VecDeque<u32>,
    /// Those that wait for room in the send buffer of their connection.
    crowded: Vec<u32>,
    scratch: Vec<u8>,
}

/// One TCP connection and its stream.
#[derive(Debug)]
struct Splice {
    key: u32,
    stream: StreamId,
    place: TcpPlace,
    counters: Arc<SpliceCounters>,
    inward: Inward,
    outward: Outward,
    /// Bytes that go out before those of the machine: given back by JavaScript, or left by a connection that has ended.
    held: VecDeque<u8>,
    queued: bool,
}

/// TCP to stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inward {
    Open,
    /// FIN was passed on.
    Ended,
    /// Nothing is passed on any more.
    Over,
}

/// Stream to TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outward {
    /// JavaScript gives back what it has got.
    Waiting,
    Open,
    /// What is held is all there is.
    Last,
    /// FIN was passed on.
    Ended,
    /// Nothing is passed on any more.
    Over,
}

/// What a turn left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    /// An event will tell of more.
    Nothing,
    /// There is more to do.
    More,
    /// There may be more when the machine has sent.
    Room,
    /// As `Room`, for the whole connection: it is looked at again in every turn.
    Crowd,
}

impl Splices {
    /// A splice has something to do.
    pub fn ready(&mut self, id: u32) {
        if let Some(splice) = self.by_id.get_mut(&id).filter(|splice| !splice.queued) {
            splice.queued = true;
            self.ready.push_back(id);
        }
    }

    /// The peer sends no more, or the stream's sending part is over: JavaScript decides what follows.
    pub fn on_cut(&mut self, id: u32, direction: Cut) {
        let Some(splice) = self.by_id.get_mut(&id) else { return };
        match direction {
            Cut::Sending => splice.inward = Inward::Over,
            Cut::Receiving => splice.outward = Outward::Over,
        }
    }
}

/// A part of a stream that has ended otherwise than in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// STOP_SENDING came.
    Sending,
    /// RESET_STREAM came.
    Receiving,
}

impl Engine {
    /// Joins a TCP connection and a stream. What JavaScript has got of the stream and not consumed comes back first.
    pub(super) fn start_splice(&mut self, io: &mut Io<'_>, start: SpliceStart) {
        let SpliceStart { id, key, stream, tcp, counters } = start;
        let (_, connections) = io.with_tcp();
        let Some(Ok(place)) = connections.map(|mut connections| connections.adopt(tcp, id)) else { return self.tell_splice(id, News::Failed, 0) };
        let entry = self.table.get_mut(key).filter(|connection| connection.is_live()).and_then(|connection| connection.streams.get_mut(&stream));
        let delivered = entry.map(|entry| {
            entry.splice = Some(id);
            (entry.delivered(), entry.is_consumed())
        });
        // Of a stream that is gone JavaScript hears by itself.
        let (delivered, outward) = match delivered {
            Some((delivered, true)) => (delivered, Outward::Open),
            Some((delivered, false)) => (delivered, Outward::Waiting),
            None => (0, Outward::Over),
        };
        let inward = if outward == Outward::Over { Inward::Over } else { Inward::Open };
        let splice = Splice { key, stream: StreamId(stream), place, counters, inward, outward, held: VecDeque::new(), queued: false };
        self.splices.by_id.insert(id, splice);
        self.tell_splice(id, News::Started, delivered);
        self.splices.ready(id);
    }

    /// JavaScript gives back what it had got.
    pub(super) fn go_on_splice(&mut self, id: u32, bytes: Vec<u8>) {
        let Some(splice) = self.splices.by_id.get_mut(&id).filter(|splice| splice.outward == Outward::Waiting || splice.outward == Outward::Last) else { return };
        let mut held = VecDeque::from(bytes);
        held.append(&mut splice.held);
        splice.held = held;
        if splice.outward == Outward::Waiting {
            splice.outward = Outward::Open;
        }
        self.splices.ready(id);
    }

    /// JavaScript has no more use for a splice: what has not ended is reset.
    pub(super) fn cut_splice(&mut self, io: &mut Io<'_>, id: u32) {
        let Some(splice) = self.splices.by_id.remove(&id) else { return };
        if let (_, Some(mut tcp)) = io.with_tcp() {
            tcp.release(splice.place, TcpEnd::Reset);
        }
        if let Some(stream) = self.table.get_mut(splice.key).and_then(|connection| connection.streams.get_mut(&splice.stream.0)) {
            stream.splice = None;
        }
    }

    /// The connection of these splices has ended: what is complete goes out whole, the rest is JavaScript's to cut.
    pub(super) fn part_splices(&mut self, io: &mut Io<'_>, key: u32) {
        let Some(connection) = self.table.get_mut(key) else { return };
        let Some(machine) = io.endpoint.connection_mut(connection.handle) else { return };
        for (id, splice) in self.splices.by_id.iter_mut().filter(|(_, splice)| splice.key == key) {
            splice.inward = if splice.inward == Inward::Open { Inward::Over } else { splice.inward };
            let is_open = matches!(splice.outward, Outward::Open | Outward::Waiting);
            if !is_open || !machine.stream_facts().is_complete(splice.stream) {
                splice.outward = if is_open { Outward::Over } else { splice.outward };
                continue;
            }
            while let Ok(front) = machine.peek(splice.stream) {
                let taken = front.len();
                splice.held.extend(front);
                machine.consume(splice.stream, taken);
                if machine.stream_facts().is_read_to_end(splice.stream) || taken == 0 {
                    break;
                }
            }
            finish_receiving(key, splice.stream, connection, &mut self.out);
            splice.outward = Outward::Last;
            if !splice.queued {
                splice.queued = true;
                self.splices.ready.push_back(*id);
            }
        }
    }

    /// Moves bytes, each splice in its turn and within its budget.
    pub(super) fn pump(&mut self, io: &mut Io<'_>) {
        if self.splices.by_id.is_empty() {
            return;
        }
        if let (_, Some(mut tcp)) = io.with_tcp() {
            while let Some(id) = tcp.next_news() {
                self.splices.ready(id);
            }
        }
        let crowded = std::mem::take(&mut self.splices.crowded);
        for id in crowded {
            self.splices.ready(id);
        }
        for _ in 0..self.splices.ready.len() {
            let Some(id) = self.splices.ready.pop_front() else { return };
            match self.pump_one(io, id) {
                Left::Nothing => {}
                Left::More => {
                    self.splices.ready(id);
                    self.want_turn(io.now);
                }
                Left::Room => self.want_turn(io.now),
                Left::Crowd => self.splices.crowded.push(id),
            }
        }
    }

    fn pump_one(&mut self, io: &mut Io<'_>, id: u32) -> Left {
        let Some(splice) = self.splices.by_id.get_mut(&id) else { return Left::Nothing };
        splice.queued = false;
        let (endpoint, Some(mut tcp)) = io.with_tcp() else { return Left::Nothing };
        let handle = self.table.get(splice.key).filter(|connection| connection.is_live()).map(|connection| connection.handle);
        let mut both = handle.and_then(|handle| endpoint.connection_mut(handle)).zip(self.table.get_mut(splice.key));
        let failure = tcp.get(splice.place).and_then(|connection| connection.failure());
        let is_through = splice.inward != Inward::Open && splice.outward == Outward::Ended;
        if failure.is_some() && !is_through {
            return self.fail_splice(id);
        }
        let out = pump_out(splice, &mut tcp, &mut both, &mut self.out).unwrap_or(Progress::Failed);
        let into = match both {
            Some((machine, connection)) if out != Progress::Failed => pump_in(splice, &mut tcp, machine, connection, &mut self.splices.scratch),
            _ => Progress::Idle,
        };
        if splice.inward == Inward::Ended && splice.outward == Outward::Ended {
            tcp.release(splice.place, TcpEnd::InOrder);
            self.splices.by_id.remove(&id);
        }
        if out == Progress::Failed || into == Progress::Failed {
            return self.fail_splice(id);
        }
        if out == Progress::Ended {
            self.tell_splice(id, News::OutwardEnded, 0);
        }
        if into == Progress::Ended {
            self.tell_splice(id, News::InwardEnded, 0);
        }
        match (out, into) {
            (Progress::More, _) | (_, Progress::More) => Left::More,
            (_, Progress::Room) => Left::Room,
            (_, Progress::Crowd) => Left::Crowd,
            _ => Left::Nothing,
        }
    }

    /// TCP is broken: JavaScript tells the peer, and cuts.
    fn fail_splice(&mut self, id: u32) -> Left {
        if let Some(splice) = self.splices.by_id.get_mut(&id) {
            (splice.inward, splice.outward) = (Inward::Over, Outward::Over);
            self.tell_splice(id, News::Failed, 0);
        }
        Left::Nothing
    }

    fn tell_splice(&mut self, id: u32, news: News, number: u64) {
        self.out.push(Record::new(Kind::Splice, 0).small(news as u32).stream(u64::from(id)).number(number));
    }
}

/// How one direction fared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// Nothing to do before an event.
    Idle,
    /// The budget is spent.
    More,
    /// The send buffer is full, and bytes of this turn wait in it.
    Room,
    /// The connection's send buffers are.
    Crowd,
    /// The end was passed on.
    Ended,
    Failed,
}

/// From TCP to the stream.
fn pump_in(splice: &mut Splice, tcp: &mut Tcp<'_>, machine: &mut Machine, connection: &mut Connection, scratch: &mut Vec<u8>) -> Progress {
    if splice.inward != Inward::Open {
        return Progress::Idle;
    }
    let Some(socket) = tcp.get(splice.place) else { return Progress::Failed };
    scratch.resize(CHUNK, 0);
    let mut moved: usize = 0;
    while socket.is_readable() {
        if moved >= BYTES_PER_TURN {
            return Progress::More;
        }
        // What JavaScript may write at any time keeps its place: splices take of a connection's buffers only up to its limit.
        let limit = connection.settings.connection_send_buffer;
        let free = limit.saturating_sub(machine.stream_facts().queued_bytes());
        if free < (LEAST_ROOM as u64).min(limit / 2) {
            return if moved > 0 { Progress::More } else { Progress::Crowd };
        }
        // Of a part that was stopped or reset an event tells.
        let Ok(room) = machine.room(splice.stream, CHUNK) else { return Progress::Idle };
        let least = LEAST_ROOM.min(usize::try_from(connection.settings.send_buffer / 2).unwrap_or(LEAST_ROOM));
        if room < least {
            connection.arm(splice.stream.0);
            return if moved > 0 { Progress::Room } else { Progress::Idle };
        }
        let room = room.min(usize::try_from(free).unwrap_or(room));
        match socket.read(scratch.get_mut(..room).unwrap_or_default()) {
            TcpRead::Bytes(count) => {
                machine.write(splice.stream, scratch.get(..count).unwrap_or_default()).unwrap_or_default();
                connection.spliced = connection.spliced.saturating_add(count as u64);
                splice.counters.inward.fetch_add(count as u64, Ordering::Relaxed);
                moved = moved.saturating_add(count);
            }
            TcpRead::End => {
                machine.finish(splice.stream).unwrap_or_default();
                splice.inward = Inward::Ended;
                return Progress::Ended;
            }
            TcpRead::Nothing => return Progress::Idle,
            TcpRead::Failed(_) => return Progress::Failed,
        }
    }
    Progress::Idle
}

/// From the stream to TCP.
///
/// # Errors
/// TCP is broken.
fn pump_out(splice: &mut Splice, tcp: &mut Tcp<'_>, both: &mut Option<(&mut Machine, &mut Connection)>, out: &mut Outbox) -> std::io::Result<Progress> {
    if !matches!(splice.outward, Outward::Open | Outward::Last) {
        return Ok(Progress::Idle);
    }
    let Some(socket) = tcp.get(splice.place) else { return Ok(Progress::Idle) };
    while !splice.held.is_empty() {
        let (front, back) = splice.held.as_slices();
        let taken = socket.write(&[IoSlice::new(front), IoSlice::new(back)])?;
        if taken == 0 {
            return Ok(Progress::Idle);
        }
        splice.held.drain(..taken);
        splice.counters.outward.fetch_add(taken as u64, Ordering::Relaxed);
    }
    let mut moved: usize = 0;
    loop {
        let Some((machine, connection)) = both.as_mut().filter(|_| splice.outward == Outward::Open) else {
            break if splice.outward == Outward::Last { end(splice, tcp) } else { Ok(Progress::Idle) };
        };
        if machine.stream_facts().is_read_to_end(splice.stream) {
            finish_receiving(splice.key, splice.stream, connection, out);
            break end(splice, tcp);
        }
        if !socket.is_writable() {
            break Ok(Progress::Idle);
        }
        if moved >= BYTES_PER_TURN {
            break Ok(Progress::More);
        }
        let mut pieces = [IoSlice::new(&[]); PIECES];
        match machine.peek_all(splice.stream) {
            Ok(fronts) => pieces.iter_mut().zip(fronts).for_each(|(piece, front)| *piece = IoSlice::new(front)),
            Err(ReadError::Finished) => {
                finish_receiving(splice.key, splice.stream, connection, out);
                break end(splice, tcp);
            }
            // Of a reset an event tells.
            Err(_) => break Ok(Progress::Idle),
        }
        let taken = socket.write(&pieces)?;
        machine.consume(splice.stream, taken);
        splice.counters.outward.fetch_add(taken as u64, Ordering::Relaxed);
        moved = moved.saturating_add(taken);
    }
}

/// FIN to TCP: everything was written.
fn end(splice: &mut Splice, tcp: &mut Tcp<'_>) -> std::io::Result<Progress> {
    let Some(socket) = tcp.get(splice.place) else { return Ok(Progress::Idle) };
    socket.end()?;
    splice.outward = Outward::Ended;
    Ok(Progress::Ended)
}

/// JavaScript's half of the stream ends, too.
fn finish_receiving(key: u32, id: StreamId, connection: &mut Connection, out: &mut Outbox) {
    if connection.change(id.0, super::stream::Stream::on_read_elsewhere) == Some(true) {
        out.push(Record::new(Kind::Data, key).flags(FIN).stream(id.0));
    }
}
