//! TCP connections joined to streams on the I/O thread: bytes go from one to the other without a visit to JavaScript.
//!
//! ```text
//!   TCP ──read──▶ room in the send buffer? ──write──▶ stream         FIN: the stream ends          (inward)
//!   stream ──peek──▶ the kernel takes some ──consume──▶ TCP          end of the stream: FIN        (outward)
//! ```
//! Decides when a splice begins and how it ends; `pump` moves its bytes. What ends mean (resets, stops, the end of a connection) is
//! JavaScript's to decide (`src/tunnel/spliced.ts`), which hears of each once and then cuts the TCP connection. A TCP connection that is let go
//! before both its directions have ended in order is reset, whoever lets it go. Called by commands, and at the end of a connection.

mod pump;

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, atomic::{AtomicU64, Ordering}},
};

use qbase::StreamId;
use qdriver::{
    Io,
    tcp::{TcpEnd, TcpPlace},
};

use super::{Engine, connection::Connection, outbox::Outbox};
use crate::queue::{commands::SpliceStart, layout::{FIN, Kind, Record}};

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
    /// Where bytes of TCP are read to.
    scratch: Vec<u8>,
    /// Bytes that all of them have moved in this turn.
    moved: usize,
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
    /// It does, and behind that what is held is all there is.
    WaitingLast,
    Open,
    /// What is held is all there is.
    Last,
    /// FIN was passed on.
    Ended,
    /// Nothing is passed on any more.
    Over,
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
        let Some(splice) = self.splices.by_id.get_mut(&id) else { return };
        splice.outward = match splice.outward {
            Outward::Waiting => Outward::Open,
            Outward::WaitingLast => Outward::Last,
            _ => return,
        };
        let mut held = VecDeque::from(bytes);
        held.append(&mut splice.held);
        splice.held = held;
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
            splice.outward = if splice.outward == Outward::Waiting { Outward::WaitingLast } else { Outward::Last };
            if !splice.queued {
                splice.queued = true;
                self.splices.ready.push_back(*id);
            }
        }
    }

    fn tell_splice(&mut self, id: u32, news: News, number: u64) {
        self.out.push(Record::new(Kind::Splice, 0).small(news as u32).stream(u64::from(id)).number(number));
    }
}

/// JavaScript's half of the stream ends, too.
fn finish_receiving(key: u32, id: StreamId, connection: &mut Connection, out: &mut Outbox) {
    if connection.change(id.0, super::stream::Stream::on_read_elsewhere) == Some(true) {
        out.push(Record::new(Kind::Data, key).flags(FIN).stream(id.0));
    }
}
