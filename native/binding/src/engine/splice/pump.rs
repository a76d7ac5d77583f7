//! The bytes of splices, in turns.
//!
//! Decides how much moves in a turn, who comes first where room is short, and that credit follows what the kernel took. Called once per turn,
//! after the events of the machine. Never decides what an end means.

use std::{collections::VecDeque, io::IoSlice, sync::atomic::Ordering};

use qconnection::{Connection as Machine, stream::ReadError};
use qdriver::{
    Io,
    tcp::{Tcp, TcpEnd, TcpRead},
};

use super::{Inward, News, Outward, Splice, Splices, finish_receiving};
use crate::engine::{Engine, connection::Connection, outbox::Outbox};

/// Bytes read of TCP at once.
const CHUNK: usize = 65_536;
/// Less room than this is waited for, or than half of a smaller buffer: reading drops is not worth a system call.
const LEAST_ROOM: usize = 16_384;
/// Bytes that one TCP connection moves in each direction in a turn: others wait.
const BYTES_PER_TURN: usize = 256 * 1_024;
/// Bytes that all TCP connections together move in a turn: then timers are due, and datagrams that came meanwhile.
const BYTES_OF_ALL_PER_TURN: usize = 2 * 1_024 * 1_024;
/// Pieces written to TCP at once.
const PIECES: usize = 16;

/// What a turn left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    /// An event will tell of more.
    Nothing,
    /// There is more to do.
    More,
    /// There may be more when the machine has sent.
    Room,
    /// As `Room`, for the whole connection: whether there is any is looked at in every turn.
    Crowd,
}

impl Engine {
    /// Moves bytes, each splice in its turn and within its budget, and all of them within theirs.
    pub(in crate::engine) fn pump(&mut self, io: &mut Io<'_>) {
        if self.splices.by_id.is_empty() {
            return;
        }
        self.end_crowd(io);
        if let (_, Some(mut tcp)) = io.with_tcp() {
            while let Some(id) = tcp.next_news() {
                self.splices.ready(id);
            }
        }
        self.splices.moved = 0;
        for _ in 0..self.splices.ready.len() {
            if self.splices.moved >= BYTES_OF_ALL_PER_TURN {
                return self.want_turn(io.now);
            }
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

    /// Who waited for room that has come is ready, before those who had some in the last turn: one that always has more would leave the others
    /// none. The others are left alone: a connection that is touched in every turn would ask for the next.
    fn end_crowd(&mut self, io: &Io<'_>) {
        let Splices { by_id, ready, crowded, .. } = &mut self.splices;
        for id in crowded.iter().rev() {
            let Some(splice) = by_id.get_mut(id).filter(|splice| !splice.queued) else { continue };
            let connection = self.table.get(splice.key).filter(|connection| connection.is_live());
            let both = connection.and_then(|connection| Some((io.endpoint.connection(connection.handle)?, connection)));
            if both.is_none_or(|(machine, connection)| room_of_all(machine, connection).is_some()) {
                splice.queued = true;
                ready.push_front(*id);
            }
        }
        crowded.retain(|id| by_id.get(id).is_some_and(|splice| !splice.queued));
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
        let out = pump_out(splice, &mut tcp, &mut both, &mut self.out, &mut self.splices.moved).unwrap_or(Progress::Failed);
        let into = match both {
            Some((machine, connection)) if out != Progress::Failed => pump_in(splice, &mut tcp, machine, connection, &mut self.splices.scratch, &mut self.splices.moved),
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

/// What JavaScript may write at any time keeps its place: splices take of a connection's buffers only up to its limit. `None`: too little is
/// left.
fn room_of_all(machine: &Machine, connection: &Connection) -> Option<u64> {
    let limit = connection.settings.connection_send_buffer;
    let free = limit.saturating_sub(machine.stream_facts().queued_bytes());
    (free >= (LEAST_ROOM as u64).min(limit / 2)).then_some(free)
}

/// From TCP to the stream.
fn pump_in(splice: &mut Splice, tcp: &mut Tcp<'_>, machine: &mut Machine, connection: &mut Connection, scratch: &mut Vec<u8>, all: &mut usize) -> Progress {
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
        let Some(free) = room_of_all(machine, connection) else { return if moved > 0 { Progress::More } else { Progress::Crowd } };
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
                connection.on_spliced(splice.stream.0, count as u64);
                splice.counters.inward.fetch_add(count as u64, Ordering::Relaxed);
                moved = moved.saturating_add(count);
                *all = all.saturating_add(count);
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
fn pump_out(splice: &mut Splice, tcp: &mut Tcp<'_>, both: &mut Option<(&mut Machine, &mut Connection)>, out: &mut Outbox, all: &mut usize) -> std::io::Result<Progress> {
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
        *all = all.saturating_add(taken);
    }
    // It may have been much, and is needed once.
    splice.held = VecDeque::new();
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
        *all = all.saturating_add(taken);
    }
}

/// FIN to TCP: everything was written.
fn end(splice: &mut Splice, tcp: &mut Tcp<'_>) -> std::io::Result<Progress> {
    let Some(socket) = tcp.get(splice.place) else { return Ok(Progress::Idle) };
    socket.end()?;
    splice.outward = Outward::Ended;
    Ok(Progress::Ended)
}
