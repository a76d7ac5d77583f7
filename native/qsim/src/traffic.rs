//! An application that sends and checks patterns: the one every simulated host runs.
//!
//! Decides nothing about transport: it writes when there is room, reads what is there, and remembers when bytes came.
//! Called by its host once per turn in which something about streams changed.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use qbase::{Direction, Role, StreamId, Timestamp};
use qconnection::{
    Connection,
    stream::{ReadError, StreamEvent},
};

use crate::{failure::Fault, pattern::Pattern};

/// Streams of the peer whose order is remembered.
const MAX_TOLD: usize = 4_096;

/// Name of a transfer at its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransferId(pub usize);

/// Something to send: `len` bytes of the stream's pattern, then the end.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// The stream; `None` until there was credit to open it.
    pub stream: Option<StreamId>,
    /// Its kind.
    pub direction: Direction,
    /// Bytes in all.
    pub len: u64,
    /// Bytes the machine took.
    pub written: u64,
    /// Where it stands.
    pub state: OutgoingState,
}

/// Where a transfer stands at its sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutgoingState {
    /// Bytes or the end are still to be handed over.
    Writing,
    /// The machine has all of it.
    Finished,
    /// The peer's machine has all of it.
    Acknowledged,
    /// The machine refused.
    Failed(String),
}

/// What came in on one stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Incoming {
    /// Bytes read and found right.
    pub received: u64,
    /// Where it stands.
    pub state: IncomingState,
}

/// Where a stream stands at its receiver.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum IncomingState {
    /// More may come.
    #[default]
    Open,
    /// The end was read.
    Finished,
    /// It broke off: reset or closed.
    Failed(String),
}

/// Whether the application takes what is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reading {
    /// At once.
    #[default]
    Eager,
    /// Not at all: flow control must stop the sender.
    Paused,
}

/// All transfers of one host.
///
/// It goes by the machine's events alone: a stream is read only after news of it, until nothing is there, and written
/// again only when the machine says so. A missing event shows as a transfer that never ends.
#[derive(Clone, Debug, Default)]
pub struct Traffic {
    outgoing: Vec<Outgoing>,
    /// Which transfer goes out on which stream.
    senders: BTreeMap<StreamId, TransferId>,
    incoming: BTreeMap<StreamId, Incoming>,
    /// Streams that the peer opened, in the order in which that was told.
    told: Vec<StreamId>,
    /// Transfers without a stream, in the order they were asked for.
    unopened: VecDeque<TransferId>,
    /// Transfers that may hand over bytes.
    writable: BTreeSet<TransferId>,
    /// Streams with something to read.
    readable: BTreeSet<StreamId>,
    /// Streams that nobody reads.
    left: BTreeSet<StreamId>,
    reading: Reading,
    /// Bytes to send back, before the end, on every bidirectional stream the peer opens.
    reply: u64,
    received: u64,
    last_progress: Option<Timestamp>,
    longest_stall: Duration,
    buffer: Vec<u8>,
}

impl Traffic {
    /// Sends `len` bytes on a new stream as soon as one can be opened.
    pub fn send(&mut self, direction: Direction, len: u64) -> TransferId {
        let id = self.push(None, direction, len);
        self.unopened.push_back(id);
        id
    }

    /// Sends `len` bytes back on each bidirectional stream the peer opens from now on.
    pub const fn reply_with(&mut self, len: u64) {
        self.reply = len;
    }

    /// News of a stream.
    pub fn on_event(&mut self, event: StreamEvent) {
        match event {
            // accepted in the next pump
            StreamEvent::Opened(stream) if self.told.len() < MAX_TOLD => self.told.push(stream),
            // opened or tried again in the next pump, which looks at all of them
            StreamEvent::Opened(_) | StreamEvent::Available(_) | StreamEvent::Acknowledged(_) => {}
            StreamEvent::Readable(stream) => {
                self.readable.insert(stream);
            }
            StreamEvent::Writable(stream) => self.writable.extend(self.senders.get(&stream)),
            StreamEvent::Finished(stream) => self.set_outgoing(stream, OutgoingState::Acknowledged),
            StreamEvent::Stopped { id, code } => {
                self.set_outgoing(id, OutgoingState::Failed(format!("stopped: {code}")))
            }
            StreamEvent::Reset { id, code } => {
                self.incoming.entry(id).or_default().state = IncomingState::Failed(format!("reset: {code}"));
            }
        }
    }

    /// Reads, or stops to.
    pub const fn set_reading(&mut self, reading: Reading) {
        self.reading = reading;
    }

    /// A transfer of this host.
    #[must_use]
    pub fn outgoing(&self, id: TransferId) -> Option<&Outgoing> {
        self.outgoing.get(id.0)
    }

    /// All transfers of this host, in the order they were asked for.
    pub fn all_outgoing(&self) -> impl Iterator<Item = &Outgoing> {
        self.outgoing.iter()
    }

    /// What came in on a stream.
    #[must_use]
    pub fn incoming(&self, stream: StreamId) -> Option<&Incoming> {
        self.incoming.get(&stream)
    }

    /// What came in on every stream.
    pub fn all_incoming(&self) -> impl Iterator<Item = (StreamId, &Incoming)> {
        self.incoming.iter().map(|(stream, incoming)| (*stream, incoming))
    }

    /// Nobody reads this stream.
    pub fn leave_unread(&mut self, stream: StreamId) {
        self.left.insert(stream);
    }

    /// Streams that the peer opened, in the order in which that was told; the first thousands of them.
    #[must_use]
    pub fn told(&self) -> &[StreamId] {
        &self.told
    }

    /// Bytes read on all streams.
    #[must_use]
    pub const fn received(&self) -> u64 {
        self.received
    }

    /// Longest time between two readings since [`Self::watch_stalls`].
    #[must_use]
    pub const fn longest_stall(&self) -> Duration {
        self.longest_stall
    }

    /// Forgets stalls before `now`.
    pub const fn watch_stalls(&mut self, now: Timestamp) {
        self.last_progress = Some(now);
        self.longest_stall = Duration::ZERO;
    }

    /// All that `peer` wanted to send was read here to its end.
    #[must_use]
    pub fn has_all_of(&self, peer: &Self) -> bool {
        peer.outgoing.iter().all(|outgoing| self.has(outgoing))
    }

    /// A transfer of the peer was read here to its end.
    #[must_use]
    pub fn has(&self, outgoing: &Outgoing) -> bool {
        let incoming = outgoing.stream.and_then(|stream| self.incoming.get(&stream));
        incoming.is_some_and(|incoming| incoming.state == IncomingState::Finished && incoming.received == outgoing.len)
    }

    /// Reads and writes what can be read and written.
    ///
    /// # Errors
    /// A byte is not the one that was sent.
    pub fn pump(&mut self, world: &Pattern, connection: &mut Connection, now: Timestamp) -> Result<(), Fault> {
        self.accept(connection);
        if self.reading == Reading::Eager {
            self.read_all(world, connection, now)?;
        }
        self.open_all(connection);
        let role = connection.role();
        while let Some(id) = self.writable.pop_first() {
            if let Some(outgoing) = self.outgoing.get_mut(id.0).filter(|out| out.state == OutgoingState::Writing) {
                outgoing.pump(role, world, connection);
            }
        }
        Ok(())
    }

    fn push(&mut self, stream: Option<StreamId>, direction: Direction, len: u64) -> TransferId {
        self.outgoing.push(Outgoing { stream, direction, len, written: 0, state: OutgoingState::Writing });
        TransferId(self.outgoing.len().saturating_sub(1))
    }

    fn set_outgoing(&mut self, stream: StreamId, state: OutgoingState) {
        let outgoing = self.senders.get(&stream).and_then(|id| self.outgoing.get_mut(id.0));
        if let Some(outgoing) = outgoing {
            outgoing.state = state;
        }
    }

    /// Takes every stream the peer opened.
    fn accept(&mut self, connection: &mut Connection) {
        for direction in [Direction::Bidirectional, Direction::Unidirectional] {
            while let Some(stream) = connection.accept(direction) {
                self.incoming.entry(stream).or_default();
                // The peer gets credit for another stream only after both ends of this one are through.
                if direction == Direction::Bidirectional {
                    let id = self.push(Some(stream), direction, self.reply);
                    self.senders.insert(stream, id);
                    self.writable.insert(id);
                }
            }
        }
    }

    /// Opens a stream for each transfer that has none, as far as the peer allows.
    fn open_all(&mut self, connection: &mut Connection) {
        let Self { outgoing, senders, unopened, writable, .. } = self;
        let mut refused = BTreeSet::new();
        unopened.retain(|id| {
            let Some(outgoing) = outgoing.get_mut(id.0) else { return false };
            if refused.contains(&outgoing.direction) {
                return true;
            }
            let Some(stream) = connection.open(outgoing.direction) else {
                refused.insert(outgoing.direction);
                return true;
            };
            outgoing.stream = Some(stream);
            senders.insert(stream, *id);
            writable.insert(*id);
            false
        });
    }

    /// Empties every stream of which there was news.
    fn read_all(&mut self, world: &Pattern, connection: &mut Connection, now: Timestamp) -> Result<(), Fault> {
        let before = self.received;
        self.buffer.resize(READ_SIZE, 0);
        while let Some(stream) = self.readable.pop_first() {
            if self.left.contains(&stream) {
                continue;
            }
            let incoming = self.incoming.entry(stream).or_default();
            while incoming.state == IncomingState::Open {
                let taken = match stream.direction() {
                    Direction::Bidirectional => incoming.read(stream, world, connection, &mut self.buffer)?,
                    Direction::Unidirectional => incoming.peek(stream, world, connection)?,
                };
                if taken == 0 {
                    break;
                }
                self.received = self.received.saturating_add(taken);
            }
        }
        if self.received > before {
            let since = self.last_progress.unwrap_or(now);
            self.longest_stall = self.longest_stall.max(now.saturating_since(since));
            self.last_progress = Some(now);
        }
        Ok(())
    }
}

/// Bytes read at once from a bidirectional stream. Odd, so that reads end inside of everything.
const READ_SIZE: usize = 9_973;

impl Outgoing {
    /// Hands over as much as the machine takes.
    fn pump(&mut self, role: Role, world: &Pattern, connection: &mut Connection) {
        let Some(stream) = self.stream else { return };
        while self.written < self.len {
            let left = self.len.saturating_sub(self.written);
            let chunk = world.chunk(role, stream, self.written);
            let chunk = usize::try_from(left).ok().and_then(|left| chunk.get(..left)).unwrap_or(chunk);
            match connection.write(stream, chunk) {
                Ok(0) => return,
                Ok(taken) => self.written = self.written.saturating_add(taken as u64),
                Err(error) => {
                    self.state = OutgoingState::Failed(format!("{error:?}"));
                    return;
                }
            }
        }
        self.state = match connection.finish(stream) {
            Ok(()) => OutgoingState::Finished,
            Err(error) => OutgoingState::Failed(format!("{error:?}")),
        };
    }
}

impl Incoming {
    /// Copies bytes out. Returns how many; 0 when nothing is there.
    fn read(
        &mut self,
        stream: StreamId,
        world: &Pattern,
        connection: &mut Connection,
        buffer: &mut [u8],
    ) -> Result<u64, Fault> {
        let sender = connection.role().peer();
        match connection.read(stream, buffer) {
            Ok(taken) => self.check(sender, stream, world, buffer.get(..taken).unwrap_or_default()),
            Err(error) => Ok(self.stop(&error)),
        }
    }

    /// Looks at bytes in place and moves past them. Returns how many; 0 when nothing is there.
    fn peek(&mut self, stream: StreamId, world: &Pattern, connection: &mut Connection) -> Result<u64, Fault> {
        let sender = connection.role().peer();
        let taken = match connection.peek(stream) {
            Ok(bytes) => self.check(sender, stream, world, bytes)?,
            Err(error) => return Ok(self.stop(&error)),
        };
        connection.consume(stream, usize::try_from(taken).unwrap_or(usize::MAX));
        Ok(taken)
    }

    fn check(&mut self, sender: Role, stream: StreamId, world: &Pattern, bytes: &[u8]) -> Result<u64, Fault> {
        if let Some(wrong) = world.first_wrong(sender, stream, self.received, bytes) {
            let (from, len) = (self.received, bytes.len());
            return Err(Fault::Mismatch(format!("{stream:?}: wrong byte at {wrong}, read {len} bytes from {from} on")));
        }
        self.received = self.received.saturating_add(bytes.len() as u64);
        Ok(bytes.len() as u64)
    }

    /// Nothing more is to be read, for now or for ever.
    fn stop(&mut self, error: &ReadError) -> u64 {
        self.state = match error {
            ReadError::Blocked => IncomingState::Open,
            ReadError::Finished => IncomingState::Finished,
            error => IncomingState::Failed(format!("{error:?}")),
        };
        0
    }
}
