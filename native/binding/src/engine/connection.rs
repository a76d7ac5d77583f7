//! One connection as the engine keeps it for JavaScript.
//!
//! Decides nothing by itself: the other files of this room change it, this one holds it and finds it by key or handle.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use qbase::{StreamId, Timestamp};
use qconnection::{
    ConnectionHandle,
    connection::{HandshakeStep, PathTicket},
    stream::Streams,
};
use qevent::DropCounters;

use super::{datagrams::Messages, migrate::Move, plans::Planning, remote::Addresses, stall::Stall, stream::Stream};
use crate::{
    error::NativeError,
    messages::orders::CloseLayer,
    options::transport::TransportSettings,
    stats::ConnectionPage,
};

/// What the engine keeps of a connection until the machine has forgotten it.
#[derive(Debug)]
pub struct Connection {
    /// JavaScript's name for it.
    pub key: u32,
    /// The machine's name for it.
    pub handle: ConnectionHandle,
    /// Its name in logs, hex.
    pub id: String,
    /// How its handshake was begun.
    pub mode: &'static str,
    /// JavaScript was told of limits before the server's own were known.
    pub sent_early: bool,
    /// Tickets of the server that JavaScript knows of.
    pub tickets_told: u32,
    /// The name the client asked for.
    pub server_name: Option<String>,
    /// What JavaScript counts with.
    pub settings: TransportSettings,
    /// Streams that JavaScript has not released, by id.
    pub streams: HashMap<u64, Stream>,
    /// Streams for which the machine will tell of room.
    pub armed: usize,
    /// Bytes JavaScript wrote, on all streams.
    pub written: u64,
    /// Of those, bytes JavaScript knows to have left the send queues.
    pub told: u64,
    /// Bytes that TCP connections wrote, on all streams.
    pub spliced: u64,
    /// Streams that JavaScript knows it may open: bidirectional, unidirectional.
    pub limits: [u64; 2],
    /// The machine's and JavaScript's names of paths that were asked for; `None`: asked for by the options.
    pub tickets: Vec<(PathTicket, Option<u64>)>,
    /// Steps of the handshake that JavaScript does not know of.
    pub steps: Vec<HandshakeStep>,
    /// Moves of paths that JavaScript waits for.
    pub moves: Vec<Move>,
    /// Addresses of the paths JavaScript knows.
    paths: Vec<(u32, Addresses)>,
    /// Streams on which the peer has not said its last word.
    pub unfinished: u64,
    /// How long its bytes stood still.
    pub receiving: Stall,
    /// How long acknowledgements of ours stood still.
    pub sending: Stall,
    /// Messages of ours.
    pub messages: Messages,
    /// When its scheduler is asked.
    pub planning: Planning,
    /// Numbers to be read.
    pub page: Arc<ConnectionPage>,
    /// Drops that the endpoint's page has of it; `None`: there were none.
    pub drops: Option<Box<DropCounters>>,
    /// The numbers changed since they were written.
    pub stale: bool,
    /// Bits of `Trace`.
    pub trace: u8,
    /// Where it stands.
    pub phase: Phase,
    /// Pings under way: the machine's name and JavaScript's.
    pub pings: Vec<(u64, u64)>,
    /// It sends before its handshake is complete.
    pub half_rtt: bool,
    /// What we broke it with.
    pub broken: Option<NativeError>,
    /// Why JavaScript refused the peer.
    pub refused: Option<String>,
}

/// Where a connection stands.
#[derive(Debug)]
pub enum Phase {
    /// In use.
    Live,
    /// JavaScript wants it closed.
    Closing(Closing),
    /// JavaScript knows that it has ended.
    Ended,
}

/// How and when to close.
#[derive(Clone, Debug)]
pub struct Closing {
    /// At the latest.
    pub deadline: Timestamp,
    /// Whose code it is.
    pub layer: CloseLayer,
    /// The code.
    pub code: u64,
    /// In words.
    pub reason: String,
}

impl Connection {
    /// A connection that has just begun.
    #[must_use]
    pub fn new(key: u32, handle: ConnectionHandle, id: String, settings: TransportSettings, page: Arc<ConnectionPage>) -> Self {
        Self {
            key,
            handle,
            id,
            mode: "single",
            sent_early: false,
            tickets_told: 0,
            server_name: None,
            settings,
            streams: HashMap::new(),
            armed: 0,
            written: 0,
            told: 0,
            spliced: 0,
            limits: [0; 2],
            tickets: Vec::new(),
            steps: Vec::new(),
            moves: Vec::new(),
            paths: Vec::new(),
            unfinished: 0,
            receiving: Stall::default(),
            sending: Stall::default(),
            messages: Messages::default(),
            planning: Planning::default(),
            page,
            drops: None,
            stale: false,
            trace: 0,
            phase: Phase::Live,
            pings: Vec::new(),
            half_rtt: false,
            broken: None,
            refused: None,
        }
    }

    /// JavaScript has not been told of its end.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        !matches!(self.phase, Phase::Ended)
    }

    /// Its streams and messages may be used: the handshake is complete, or data may go out before.
    #[must_use]
    pub fn is_usable(&self, machine: &qconnection::Connection) -> bool {
        machine.is_handshake_complete() || self.half_rtt || machine.early_status() == qcrypto::EarlyStatus::Sent
    }

    /// JavaScript may be waiting for room in a send queue, so that it should hear soon when bytes left one.
    #[must_use]
    pub const fn waits_for_room(&self) -> bool {
        let limit = self.settings.connection_send_buffer;
        self.armed > 0 || self.messages.wait_for_room() || self.written.saturating_sub(self.told) >= limit - limit / 4
    }

    /// Of the bytes that JavaScript wrote, those that left the send queues. What TCP connections wrote does not count.
    #[must_use]
    pub fn left(&self, streams: &Streams) -> u64 {
        let spliced = self.streams.iter().filter(|(_, stream)| stream.spliced > 0);
        // They lie behind what JavaScript wrote to the stream before.
        let theirs: u64 = spliced.filter_map(|(id, stream)| streams.send_progress(StreamId(*id)).map(|progress| progress.unsent.min(stream.spliced))).sum();
        self.written.saturating_sub(streams.queued_bytes().saturating_sub(theirs))
    }

    /// A TCP connection wrote `bytes` to a stream.
    pub fn on_spliced(&mut self, stream: u64, bytes: u64) {
        self.spliced = self.spliced.saturating_add(bytes);
        if let Some(entry) = self.streams.get_mut(&stream) {
            entry.spliced = entry.spliced.saturating_add(bytes);
        }
    }

    /// The machine will tell of room for a stream.
    pub fn arm(&mut self, stream: u64) {
        if let Some(entry) = self.streams.get_mut(&stream).filter(|entry| !entry.armed) {
            entry.armed = true;
            self.armed = self.armed.saturating_add(1);
        }
    }

    /// The machine has told of room for a stream, or never will.
    pub fn disarm(&mut self, stream: u64) {
        if let Some(entry) = self.streams.get_mut(&stream).filter(|entry| entry.armed) {
            entry.armed = false;
            self.armed = self.armed.saturating_sub(1);
        }
    }

    /// A stream begins.
    pub fn add(&mut self, id: u64, stream: Stream) {
        self.unfinished = self.unfinished.saturating_add(u64::from(stream.is_readable()));
        self.streams.insert(id, stream);
    }

    /// Changes a stream, and counts whether its receiving part ends by that.
    pub fn change<T>(&mut self, id: u64, change: impl FnOnce(&mut Stream) -> T) -> Option<T> {
        let stream = self.streams.get_mut(&id)?;
        let before = stream.is_readable();
        let result = change(stream);
        if before && !stream.is_readable() {
            self.unfinished = self.unfinished.saturating_sub(1);
        }
        Some(result)
    }

    /// JavaScript has let go of a stream.
    pub fn remove(&mut self, stream: u64) -> Option<Stream> {
        let entry = self.streams.remove(&stream)?;
        self.unfinished = self.unfinished.saturating_sub(u64::from(entry.is_readable()));
        if entry.armed {
            self.armed = self.armed.saturating_sub(1);
        }
        Some(entry)
    }

    /// Keeps the addresses of a path, for the word of its end.
    pub fn remember(&mut self, path: u32, addresses: Addresses) {
        match self.paths.iter_mut().find(|(other, _)| *other == path) {
            Some((_, known)) => *known = addresses,
            None => self.paths.push((path, addresses)),
        }
    }

    /// The last addresses of a path that has gone.
    pub fn take_addresses(&mut self, path: u32) -> Option<Addresses> {
        let at = self.paths.iter().position(|(other, _)| *other == path)?;
        Some(self.paths.swap_remove(at).1)
    }

    /// JavaScript's name for a path that was asked for.
    #[must_use]
    pub fn ticket(&self, ticket: Option<u64>) -> Option<u64> {
        let ticket = ticket?;
        self.tickets.iter().find(|(own, _)| own.0 == ticket).and_then(|(_, theirs)| *theirs)
    }
}

/// All connections, found by key or by handle.
#[derive(Debug, Default)]
pub struct Table {
    connections: BTreeMap<u32, Connection>,
    keys: HashMap<ConnectionHandle, u32>,
}

impl Table {
    /// Adds a connection.
    pub fn insert(&mut self, connection: Connection) {
        self.keys.insert(connection.handle, connection.key);
        self.connections.insert(connection.key, connection);
    }

    /// The key of a machine's connection.
    #[must_use]
    pub fn key(&self, handle: ConnectionHandle) -> Option<u32> {
        self.keys.get(&handle).copied()
    }

    /// A connection by key.
    #[must_use]
    pub fn get(&self, key: u32) -> Option<&Connection> {
        self.connections.get(&key)
    }

    /// A connection by key, to change.
    pub fn get_mut(&mut self, key: u32) -> Option<&mut Connection> {
        self.connections.get_mut(&key)
    }

    /// The machine has forgotten a connection.
    pub fn remove(&mut self, key: u32) {
        if let Some(connection) = self.connections.remove(&key) {
            self.keys.remove(&connection.handle);
        }
    }

    /// All keys, in order.
    pub fn keys(&self) -> impl Iterator<Item = u32> + '_ {
        self.connections.keys().copied()
    }
}
