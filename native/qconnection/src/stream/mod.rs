//! The stream room: every stream of a connection, its bytes, its credit, its end (RFC 9000 §2 to §4).
//!
//! Decides what stream frames mean and which ones go out. Called by the application ([`verbs`](self)), by the dispatch
//! (`on_<frame>`), by the burst writer (`write_…`) and by loss recovery (`on_acked`, `on_lost`). Never knows packets,
//! paths or time, and never sends anything itself.
//!
//! | file | has |
//! |---|---|
//! | `verbs` | what the application may do |
//! | `input` | frames of the peer |
//! | `output`, `control` | frames to the peer: stream bytes, everything else |
//! | `fate` | acknowledged, lost, to be copied |
//! | `send`, `recv` | one part of one stream |
//! | `schedule`, `queue` | whose turn it is |
//! | `lanes`, `pins` | streams that keep to one path |
//! | `gate` | who asks, and which streams of the peer the application may know |
//! | `early` | 0-RTT: marks, and back to the start |
//! | `window` | how large receive windows are |
//! | `memory` | what the pool has for bytes to send |
//! | `map`, `limits` | which streams there are, and how many there may be |
//! | `events`, `statistics` | news for the application, numbers for everybody |

mod config;
mod control;
mod early;
mod events;
mod fate;
mod gate;
mod input;
mod lanes;
mod limits;
mod map;
mod memory;
mod output;
mod pins;
mod progress;
mod queue;
mod record;
mod recv;
mod schedule;
mod send;
mod statistics;
mod verbs;
mod window;

pub use config::{ResetDelivery, StreamsConfig};
pub use events::StreamEvent;
pub use gate::{Requester, ReverseError};
pub use lanes::{Asker, Takes};
pub use pins::{IfDead, PathChange};
pub use progress::SendProgress;
pub use record::StreamRecord;
pub use statistics::StreamStatistics;
pub use verbs::{Incremental, ReadError, StreamError, WriteError};

use events::Events;
use limits::{DIRECTIONS, LocalStreams, PeerStreams, PerDirection};
use map::{Key, Stream, StreamMap};
use memory::SendMemory;
use qbase::{Direction, Role, StreamId, param::TransportParameters};
use qrecovery::{
    buffer::{BufferPool, SpareBlocks},
    flow::{ReceiveWindow, SendCredit},
    stream::Summary,
};
use queue::Queue;
use recv::RecvPart;
use lanes::Lanes;
use schedule::Schedule;
use send::SendPart;

/// Full-sized blocks of send memory kept for reuse while bytes are on their way: 8 MiB, what the application may have
/// queued on all streams.
const SPARE_BLOCKS: usize = 512;

/// First limits of the peer for what we send on each kind of stream, bytes.
#[derive(Clone, Copy, Debug, Default)]
struct InitialCredit {
    /// Bidirectional streams that we opened.
    opened_by_us: u64,
    /// Bidirectional streams that the peer opened.
    opened_by_peer: u64,
    /// Unidirectional streams.
    unidirectional: u64,
}

/// Sums over all streams.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    /// Bytes never sent.
    unsent: u64,
    /// Bytes waiting to be sent again.
    again: u64,
    /// Bytes written and not acknowledged.
    unacked: u64,
    /// Bytes received and not read.
    held: u64,
    /// Gaps between them.
    gaps: usize,
    /// Streams that wait for stream credit.
    blocked: usize,
    /// Streams whose window is used up by bytes that nobody reads.
    full: usize,
}

/// All streams of a connection.
#[derive(Debug)]
pub struct Streams {
    // Set once.
    config: StreamsConfig,
    // The streams.
    map: StreamMap,
    peer: PerDirection<PeerStreams>,
    local: PerDirection<LocalStreams>,
    /// Who asks, and whether the peer's streams wait.
    ways: gate::Ways,
    // Sending.
    initial_credit: InitialCredit,
    credit: SendCredit,
    schedule: Lanes,
    spare: SpareBlocks,
    /// What the pool counts for send buffers.
    memory: SendMemory,
    /// Streams whose application waits for room in the connection's send buffer.
    room: Queue,
    // Receiving.
    window: ReceiveWindow,
    /// What the connection's window should become; settled by [`Streams::settle_window`].
    wanted_window: u64,
    /// MAX_DATA was sent since the window was settled.
    window_due: bool,
    /// The window should be larger, and the pool had no memory for it (mux R22).
    growth_waits: bool,
    /// More than one path carries data.
    several_paths: bool,
    /// Empty STREAM frames in a row that said nothing (attacks D13).
    useless: u32,
    /// The packet at hand is a 0-RTT packet.
    early: bool,
    /// Streams that wait for MAX_STREAMS after a rejection of 0-RTT.
    parked: usize,
    // Both ways.
    control: Queue,
    events: Events,
    totals: Totals,
    counters: StreamStatistics,
}

impl Streams {
    /// No streams, and no credit for any before the peer's transport parameters are known.
    #[must_use]
    pub fn new(config: StreamsConfig) -> Self {
        Self {
            map: StreamMap::default(),
            peer: PerDirection {
                bidirectional: PeerStreams::new(config.bidirectional),
                unidirectional: PeerStreams::new(config.unidirectional),
            },
            local: PerDirection::default(),
            ways: gate::Ways::default(),
            initial_credit: InitialCredit::default(),
            credit: SendCredit::default(),
            schedule: Lanes::with(Schedule::new()),
            spare: SpareBlocks::new(SPARE_BLOCKS),
            memory: SendMemory::default(),
            room: Queue::default(),
            window: ReceiveWindow::new(config.connection_window),
            wanted_window: config.connection_window,
            window_due: false,
            growth_waits: false,
            several_paths: false,
            useless: 0,
            early: false,
            parked: 0,
            control: Queue::default(),
            events: Events::default(),
            totals: Totals::default(),
            counters: StreamStatistics::default(),
            config,
        }
    }

    /// The peer's limits, from its transport parameters or remembered ones (RFC 9000 §7.4.1). Limits only grow.
    pub fn on_peer_parameters(&mut self, parameters: &TransportParameters) {
        self.initial_credit = InitialCredit::new(parameters);
        self.credit.on_limit(parameters.initial_max_data);
        for (direction, limit) in
            DIRECTIONS.into_iter().zip([parameters.initial_max_streams_bidi, parameters.initial_max_streams_uni])
        {
            self.on_stream_limit(direction, limit);
        }
        let initial = self.initial_credit;
        let role = self.config.role;
        let keys: Vec<Key> = self.map.iter_mut().map(|(key, _)| key).collect();
        for key in keys {
            if let Some(Stream { id, send: Some(part), .. }) = self.map.get_mut(key) {
                part.credit.on_limit(initial.of(*id, role));
                self.settle(key);
            }
        }
    }

    /// The next news for the application.
    pub fn poll_event(&mut self) -> Option<StreamEvent> {
        for direction in DIRECTIONS {
            if let Some(index) = self.peer.get_mut(direction).next_untold() {
                return Some(StreamEvent::Opened(StreamId::new(self.config.role.peer(), direction, index)));
            }
        }
        loop {
            let event = self.events.pop()?;
            match event {
                StreamEvent::Readable(id) if !self.has_news(id) => {}
                StreamEvent::Reset { id, .. } if !self.tell_reset(id) => {}
                _ => return Some(event),
            }
        }
    }

    /// There is news for the application.
    #[must_use]
    pub fn has_event(&self) -> bool {
        self.events.len() > 0 || DIRECTIONS.into_iter().any(|direction| self.peer.get(direction).has_untold())
    }

    /// Live streams. Those that exist only because a higher one was opened are not counted.
    #[must_use]
    pub fn open_count(&self) -> usize {
        self.map.len()
    }

    /// The summary of a live stream (mux §4); `None` if it is closed or does not exist.
    #[must_use]
    pub fn summary(&self, id: StreamId) -> Option<Summary> {
        self.map.get(self.map.key(id)?).map(Stream::summary)
    }

    /// Bytes the application wrote that were never sent.
    #[must_use]
    pub const fn queued_bytes(&self) -> u64 {
        self.totals.unsent
    }

    /// Bytes the application wrote that are not acknowledged.
    #[must_use]
    pub const fn unacked_bytes(&self) -> u64 {
        self.totals.unacked
    }

    /// Bytes that wait to be sent again.
    #[must_use]
    pub const fn retransmit_bytes(&self) -> u64 {
        self.totals.again
    }

    /// The connection has ended: every stream goes, every block returns to the pool (mux R44, R45). No stream events
    /// follow; the connection's own event says why.
    pub fn close_all(&mut self, pool: &mut BufferPool) {
        self.open_gate();
        for (_, stream) in self.map.iter_mut() {
            if let Some(recv) = &mut stream.recv {
                recv.buffer.clear(pool);
            }
        }
        let config = self.config.clone();
        let (counters, peer, local, window, ways) = (self.counters, self.peer.clone(), self.local.clone(), self.window, self.ways);
        let mut memory = std::mem::take(&mut self.memory);
        memory.forget();
        *self = Self::new(config);
        self.memory = memory;
        self.counters = counters;
        self.window = window;
        self.peer = peer;
        self.local = local;
        self.ways = ways;
        for direction in DIRECTIONS {
            while self.peer.get_mut(direction).next_untold().is_some() {}
            self.local.get_mut(direction).credit.restart(0);
        }
    }

    /// Makes the state of a stream that has just begun to exist.
    fn create(&mut self, id: StreamId) -> Key {
        let role = self.config.role;
        let both = id.direction() == Direction::Bidirectional;
        let ours = id.initiator() == role;
        let (credit, window) = (self.initial_credit.of(id, role), self.config.stream_window);
        let (key, stream) = self.map.begin(id);
        match (&mut stream.send, both || ours) {
            (Some(part), true) => part.credit = SendCredit::new(credit),
            (part, wanted) => *part = wanted.then(|| SendPart::new(credit)),
        }
        match (&mut stream.recv, both || !ours) {
            (Some(part), true) => part.window = ReceiveWindow::new(window),
            (part, wanted) => *part = wanted.then(|| RecvPart::new(window)),
        }
        (stream.early, stream.parked) = (self.early, false);
        key
    }

    /// After anything that changed what a stream wants to send: puts it into the queues it belongs to, and out of the
    /// others.
    fn settle(&mut self, key: Key) {
        let Some(stream) = self.map.get_mut(key) else { return };
        let ticket = stream.ticket(key);
        if stream.parked {
            return self.keep_parked(key);
        }
        let mut owes = false;
        if let Some(part) = &mut stream.send {
            if part.has_fresh() {
                self.schedule.add_fresh(ticket, part);
            } else {
                self.schedule.drop_fresh(part);
            }
            if part.has_again() {
                self.schedule.add_again(ticket, part);
            } else {
                self.schedule.drop_again(part);
            }
            self.totals.note_blocked(part);
            owes = part.owes_reset() || part.blocked_frame().is_some();
        }
        if let Some(recv) = &stream.recv {
            owes |= recv.owes_stop() || recv.window_update().is_some();
        }
        if owes {
            self.control.add(ticket, &mut stream.control);
        } else {
            self.control.lose(&mut stream.control);
        }
        self.note_connection_blocked();
    }

    /// Owes DATA_BLOCKED if only the connection's credit holds fresh bytes back.
    #[inline]
    fn note_connection_blocked(&mut self) {
        if self.credit.available() == 0 && self.schedule.has_fresh() {
            self.credit.on_blocked();
        }
    }

    /// Frees a stream whose parts have all ended (mux R40 to R43).
    fn close_if_ended(&mut self, key: Key) {
        let Some(stream) = self.map.get_mut(key).filter(|stream| stream.summary() == Summary::Closed) else { return };
        let id = stream.id;
        self.control.lose(&mut stream.control);
        let mut place = None;
        if let Some(part) = &mut stream.send {
            place = Some((part.lane(), part.urgency));
            self.schedule.leave(part);
            self.room.lose(&mut part.room);
            part.restart(&mut self.spare);
        }
        if let Some(part) = &mut stream.recv {
            part.restart();
        }
        self.map.end(key);
        if let Some((lane, urgency)) = place {
            self.schedule.sweep(lane, urgency, &self.map);
            self.room.sweep(|ticket| self.map.is_live(ticket));
        }
        self.control.sweep(|ticket| self.map.is_live(ticket));
        if id.initiator() != self.config.role {
            self.peer.get_mut(id.direction()).on_closed(id.index());
        }
        self.counters.closed = self.counters.closed.saturating_add(1);
    }

    /// A read would find something.
    fn has_news(&self, id: StreamId) -> bool {
        let stream = self.map.key(id).and_then(|key| self.map.get(key));
        stream.and_then(|stream| stream.recv.as_ref()).is_some_and(RecvPart::has_news)
    }

    /// The application is about to be told that the peer reset a stream; `false` if it knows from a read, or has
    /// stopped the stream meanwhile (mux R31).
    fn tell_reset(&mut self, id: StreamId) -> bool {
        let Some(key) = self.map.key(id) else { return false };
        let Some(Stream { recv: Some(recv), .. }) = self.map.get_mut(key) else { return false };
        let is_news = !recv.state.is_terminal();
        recv.state.on_reset_told();
        self.close_if_ended(key);
        is_news
    }
}

impl InitialCredit {
    const fn new(parameters: &TransportParameters) -> Self {
        Self {
            opened_by_us: parameters.initial_max_stream_data_bidi_remote,
            opened_by_peer: parameters.initial_max_stream_data_bidi_local,
            unidirectional: parameters.initial_max_stream_data_uni,
        }
    }

    /// The first limit for what we send on a stream.
    fn of(self, id: StreamId, role: Role) -> u64 {
        match id.direction() {
            Direction::Unidirectional => self.unidirectional,
            Direction::Bidirectional if id.initiator() == role => self.opened_by_us,
            Direction::Bidirectional => self.opened_by_peer,
        }
    }
}

impl Totals {
    /// Counts a stream that has begun to wait for stream credit, or has stopped waiting; owes STREAM_DATA_BLOCKED for
    /// the former (mux R23).
    #[inline]
    fn note_blocked(&mut self, part: &mut SendPart) {
        let waits = part.waits_for_credit();
        if waits == part.is_blocked {
            return;
        }
        part.is_blocked = waits;
        if waits {
            part.credit.on_blocked();
            self.blocked = self.blocked.saturating_add(1);
        } else {
            self.blocked = self.blocked.saturating_sub(1);
        }
    }
}

impl Stream {
    fn summary(&self) -> Summary {
        let send = self.send.as_ref().map(|part| &part.state);
        Summary::of(send, self.recv.as_ref().map(|part| &part.state))
    }
}

#[cfg(test)]
mod tests;
