//! The application's verbs: streams, paths, keys. None of them blocks (design §3.1).
//!
//! Called by the driver's application on the thread that owns the endpoint.

use super::{Afterwards, Candidate, Connection, State, events::Cause, paths::PendingOpen};
use crate::{
    path::{PathState, PathTerms, PathView, scheduler::Scheduler},
    stream::{ReadError, StreamError, WriteError},
};
use bytes::Bytes;
use qbase::{ConnectionId, Direction, FourTuple, PathId, Role, StreamId, Timestamp, frame::PathStatusKind, limits};

/// The application's name for its request to open a path; path events repeat it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PathTicket(pub u64);

/// Why a path cannot be opened or changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenPathError {
    /// Only the client opens paths (multipath MP-19).
    #[error("only the client opens paths")]
    ServerRole,
    /// Local and remote address are of different IP versions (burst B-79a).
    #[error("local and remote address are of different families")]
    MixedFamilies,
    /// The peer did not negotiate multipath.
    #[error("multipath was not negotiated")]
    NoMultipath,
    /// As many requests wait as paths may be open.
    #[error("too many paths are waiting to be opened")]
    TooMany,
    /// The connection is over.
    #[error("the connection is closed")]
    Closed,
    /// There is no such path in use.
    #[error("there is no such path")]
    Unknown,
    /// It is the only path: close the connection instead.
    #[error("the last path cannot be abandoned")]
    LastPath,
}

impl Connection {
    /// Opens a stream; `None` without credit of the peer (an event tells when there is some) or before completion, unless
    /// early data or 0.5-RTT data is sent.
    pub fn open(&mut self, direction: Direction) -> Option<StreamId> {
        let early = self.state == State::Handshaking && self.sends_early();
        let half = self.state == State::Handshaking && self.half_rtt;
        if self.state != State::Open && !early && !half {
            return None;
        }
        self.streams.open(direction)
    }

    /// As [`Connection::open`], for an application that was told to send early data and counts ids by itself: between the
    /// end of 0-RTT and the server's own limits, and beyond lower ones, the stream waits. `None`: the connection is over.
    pub fn open_parked(&mut self, direction: Direction) -> Option<StreamId> {
        let may = matches!(self.state, State::Handshaking | State::Open) && self.streams.may_open();
        may.then(|| self.streams.open_parked(direction))
    }

    /// The next stream the peer opened.
    pub fn accept(&mut self, direction: Direction) -> Option<StreamId> {
        self.streams.accept(direction)
    }

    /// How many of `wanted` bytes a stream's send buffer has room for; fewer: an event tells when half of it is free.
    ///
    /// # Errors
    /// The stream cannot be written.
    pub fn room(&mut self, stream: StreamId, wanted: usize) -> Result<usize, WriteError> {
        self.streams.room(stream, wanted)
    }

    /// Copies bytes into a stream's send buffer; returns how many were taken.
    ///
    /// # Errors
    /// The stream cannot be written.
    pub fn write(&mut self, stream: StreamId, bytes: &[u8]) -> Result<usize, WriteError> {
        self.streams.write(stream, bytes)
    }

    /// Takes a chunk into a stream's send buffer without copying; returns how many bytes of it were taken.
    ///
    /// # Errors
    /// The stream cannot be written.
    pub fn write_chunk(&mut self, stream: StreamId, chunk: Bytes) -> Result<usize, WriteError> {
        self.streams.write_chunk(stream, chunk)
    }

    /// Ends a stream after the bytes written so far.
    ///
    /// # Errors
    /// The stream cannot be written.
    pub fn finish(&mut self, stream: StreamId) -> Result<(), WriteError> {
        self.streams.finish(stream)
    }

    /// RESET_STREAM: what was not sent is dropped.
    ///
    /// # Errors
    /// There is no such sending part.
    pub fn reset(&mut self, stream: StreamId, code: u64) -> Result<(), StreamError> {
        self.streams.reset(stream, code)
    }

    /// STOP_SENDING: what arrives from now on is dropped.
    ///
    /// # Errors
    /// There is no such receiving part.
    pub fn stop(&mut self, stream: StreamId, code: u64) -> Result<(), StreamError> {
        self.streams.stop(stream, code, &mut self.returned)
    }

    /// Copies received bytes out of a stream.
    ///
    /// # Errors
    /// Nothing is there yet, the stream ended, or it was reset.
    pub fn read(&mut self, stream: StreamId, buffer: &mut [u8]) -> Result<usize, ReadError> {
        self.streams.read(stream, buffer, &mut self.returned)
    }

    /// Copies received bytes out of a stream whatever is missing before them; answers their offset and how many they are.
    /// The stream is read this way from then on.
    ///
    /// # Errors
    /// As [`Connection::read`].
    pub fn read_unordered(&mut self, stream: StreamId, buffer: &mut [u8]) -> Result<(u64, usize), ReadError> {
        self.streams.read_unordered(stream, buffer, &mut self.returned)
    }

    /// The next received bytes of a stream, in place; [`Connection::consume`] moves past them.
    ///
    /// # Errors
    /// As [`Connection::read`].
    pub fn peek(&mut self, stream: StreamId) -> Result<&[u8], ReadError> {
        self.streams.peek(stream)
    }

    /// As [`Connection::peek`], in as many pieces as they lie in.
    ///
    /// # Errors
    /// As [`Connection::read`].
    pub fn peek_all(&mut self, stream: StreamId) -> Result<impl Iterator<Item = &[u8]>, ReadError> {
        self.streams.peek_all(stream)
    }

    /// Moves past bytes seen by [`Connection::peek`]; the peer gets credit for them.
    pub fn consume(&mut self, stream: StreamId, len: usize) {
        self.streams.consume(stream, len, &mut self.returned);
    }

    /// Bytes of a stream that can be read now.
    #[must_use]
    pub fn readable(&self, stream: StreamId) -> usize {
        self.streams.readable(stream)
    }

    /// The streams of the connection, for verbs that have no short form here.
    pub fn streams(&mut self) -> &mut crate::stream::Streams {
        &mut self.streams
    }

    /// Asks for another path. It opens when the handshake is confirmed and ids and limits allow (multipath MP-81);
    /// path events with the ticket tell what happens. A status alone is a path with the weight of all others.
    ///
    /// # Errors
    /// The request can never be fulfilled.
    pub fn open_path(&mut self, now: Timestamp, four_tuple: FourTuple, terms: impl Into<PathTerms>) -> Result<PathTicket, OpenPathError> {
        if !self.role.is_client() {
            return Err(OpenPathError::ServerRole);
        }
        if !matches!(self.state, State::Handshaking | State::Open) {
            return Err(OpenPathError::Closed);
        }
        if !four_tuple.is_one_family() {
            return Err(OpenPathError::MixedFamilies);
        }
        if self.confirmed && !self.path_mode.has_paths() {
            return Err(OpenPathError::NoMultipath);
        }
        if self.opens.len() >= limits::OPEN_PATHS {
            return Err(OpenPathError::TooMany);
        }
        let (ticket, terms) = (self.counters.next_ticket(), terms.into());
        self.note_candidate(now, ticket, Candidate { four_tuple, afterwards: Afterwards::Path(terms) });
        self.opens.push_back(PendingOpen { ticket, four_tuple, terms, told: None });
        self.start_waiting_opens(now);
        Ok(PathTicket(ticket))
    }

    /// Abandons a path with this PATH_ABANDON code (multipath MP-62).
    ///
    /// # Errors
    /// There is no such path, or it is the last.
    pub fn abandon_path(&mut self, now: Timestamp, path: PathId, code: u64) -> Result<(), OpenPathError> {
        let entry = self.paths.get(path).ok_or(OpenPathError::Unknown)?;
        if !entry.is_live() {
            return Err(OpenPathError::Unknown);
        }
        if !self.path_mode.has_paths() || self.paths.live_count() < 2 {
            return Err(OpenPathError::LastPath);
        }
        self.begin_abandon(now, path, code.min(qbase::varint::MAX), Cause::Local, "asked for by the application");
        Ok(())
    }

    /// Gives up a request to open a path that still waits.
    pub fn cancel_open(&mut self, ticket: PathTicket) {
        self.opens.retain(|open| open.ticket != ticket.0);
        self.forget_candidate_of(ticket.0);
    }

    /// Tells both ends how to use a path (multipath MP-57).
    ///
    /// # Errors
    /// There is no such path in use.
    pub fn set_path_status(&mut self, path: PathId, status: PathStatusKind) -> Result<(), OpenPathError> {
        let entry = self.paths.get_mut(path).filter(|entry| entry.state != PathState::Abandoning).ok_or(OpenPathError::Unknown)?;
        entry.status.set_local(status);
        if path == PathId::ZERO {
            self.set_first_status(status);
        }
        Ok(())
    }

    /// Chooses another scheduler for what is sent from now on.
    pub fn set_scheduler(&mut self, scheduler: Scheduler) {
        if self.config.scheduler != scheduler {
            let mut config = (*self.config).clone();
            config.scheduler = scheduler;
            self.config = std::sync::Arc::new(config);
        }
    }

    /// Begins a key update; `false` if one is under way or the handshake is not confirmed (RFC 9001 §6.1).
    pub fn update_key(&mut self, now: Timestamp) -> bool {
        let started = self.application.as_mut().is_some_and(|application| application.keys.initiate_update(now).is_ok());
        if started {
            self.on_keys_updated(now);
        }
        started
    }

    /// Asks the peer for an acknowledgement.
    pub fn ping(&mut self) {
        self.control.ping = true;
    }

    /// All paths in use.
    pub fn paths(&self) -> impl Iterator<Item = PathView> + '_ {
        self.paths.iter().filter_map(|entry| PathView::of(entry, self.bytes_in_flight(entry.id)))
    }

    /// One path in use.
    #[must_use]
    pub fn path(&self, path: PathId) -> Option<PathView> {
        PathView::of(self.paths.get(path)?, self.bytes_in_flight(path))
    }

    /// Where the connection stands.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// Which end this is.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.role
    }

    /// DCID of the client's first packet: the name in logs.
    #[must_use]
    pub const fn original_dcid(&self) -> ConnectionId {
        self.cids.original_dcid
    }

    /// The negotiated application protocol.
    #[must_use]
    pub fn alpn(&self) -> Option<&[u8]> {
        self.tls.alpn()
    }

    /// The TLS session, for facts about the peer.
    #[must_use]
    pub const fn tls(&self) -> &qcrypto::Session {
        &self.tls
    }

    /// The handshake is complete.
    #[must_use]
    pub const fn is_handshake_complete(&self) -> bool {
        self.handshake_complete
    }

    /// The handshake is confirmed.
    #[must_use]
    pub const fn is_confirmed(&self) -> bool {
        self.confirmed
    }
}
