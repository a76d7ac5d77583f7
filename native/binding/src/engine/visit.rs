//! What happened to a connection since it was last looked at, as records.
//!
//! Called once per turn for the connections that something happened to. Decides the order of records: STREAMS before
//! `opened`, everything before `closed` (docs/design/ring, sections 2 and 5).

use qbase::{Direction, StreamId};
use qconnection::{ConnectionHandle, connection::events, stream::StreamEvent};
use qdriver::Io;

use super::{
    Engine,
    connection::{Connection, Phase},
    remote::Addresses,
    splice::Cut,
    stall::Expected,
    stream::{Allowance, Next, Stream},
};
use crate::{
    messages::events::Event,
    options::{to_hex, transport::TransportSettings},
    queue::layout::{Kind, Record},
};

/// Whether a connection was looked at to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Visited {
    /// All of it.
    Whole,
    /// Too much waits for JavaScript; the rest stays in the machine.
    Part,
}

impl Engine {
    /// Looks at every connection that something happened to, as long as JavaScript keeps up.
    pub(super) fn visit_active(&mut self, io: &mut Io<'_>) {
        while let Some(handle) = io.endpoint.active() {
            if self.is_full() || self.visit(io, handle) == Visited::Part {
                return;
            }
            io.endpoint.settle();
        }
    }

    /// Too much waits for JavaScript. An endpoint that ends tells everything.
    pub(super) fn is_full(&mut self) -> bool {
        self.ending == super::Ending::No && self.out.records.is_full()
    }

    fn visit(&mut self, io: &mut Io<'_>, handle: ConnectionHandle) -> Visited {
        let Some(key) = self.table.key(handle).or_else(|| self.greet(io, handle, None)) else {
            // A newcomer that nobody wants: it was closed, and its events are nobody's.
            while io.endpoint.poll_event_of(handle).is_some() {}
            return Visited::Whole;
        };
        while let Some(event) = io.endpoint.poll_event_of(handle) {
            if !matches!(event, events::Event::Handshake(_)) {
                self.tell_steps(io, key);
            }
            match event {
                events::Event::Drained => {
                    self.write_page(io, key);
                    self.table.remove(key);
                    return Visited::Whole;
                }
                events::Event::Closed(info) => self.tell_end(io, key, &info),
                event => self.tell(io, key, event),
            }
            if self.is_full() {
                return Visited::Part;
            }
        }
        self.tell_steps(io, key);
        self.retry_moves(io, key);
        self.look(io, key);
        Visited::Whole
    }

    /// A newcomer gets its key; `None`: there is none left, or nobody listens. `admitted`: the attempt it was, and the terms
    /// on which it was let in.
    pub(super) fn greet(&mut self, io: &mut Io<'_>, handle: ConnectionHandle, admitted: Option<(u64, TransportSettings)>) -> Option<u32> {
        let machine = io.endpoint.connection_mut(handle)?;
        let attempt = admitted.as_ref().map(|(attempt, _)| *attempt);
        let settings = admitted.map(|(_, settings)| settings).or_else(|| self.newcomers.clone());
        let Some((settings, key)) = settings.zip(self.link.next_key()) else {
            machine.close_transport(io.now, qbase::ErrorCode::CONNECTION_REFUSED, "no room for another connection");
            return None;
        };
        let mut connection = Connection::new(key, handle, to_hex(machine.original_dcid().as_bytes()), settings, self.link.pages.connection(key));
        connection.server_name = machine.tls().server_name().map(str::to_owned);
        let path = machine.paths().next().map(|path| path.four_tuple);
        let Addresses { local, remote } = path.map(|path| Addresses::of(io.endpoint, path)).unwrap_or_default();
        let event = Event::Connection {
            at_ms: self.out.at_ms(io.now),
            id: connection.id.clone(),
            remote,
            local,
            server_name: connection.server_name.clone(),
            attempt,
        };
        self.out.event(key, &event);
        self.table.insert(connection);
        Some(key)
    }

    /// One event, other than the end.
    pub(super) fn tell(&mut self, io: &mut Io<'_>, key: u32, event: events::Event) {
        let at_ms = self.out.at_ms(io.now);
        let Some(connection) = self.table.get_mut(key).filter(|connection| connection.is_live()) else { return };
        match event {
            events::Event::Handshake(step) => connection.steps.push(step),
            events::Event::HandshakeComplete => self.tell_opened(io, key),
            events::Event::Confirmed => self.out.event(key, &Event::Confirmed { at_ms }),
            events::Event::KeyUpdated => self.out.event(key, &Event::KeyUpdate { at_ms }),
            events::Event::Path(path) => {
                connection.planning.on_path_event();
                self.tell_path(io, key, &path);
            }
            events::Event::Stream(StreamEvent::Opened(id)) => {
                connection.add(id.0, Stream::opened_by_peer());
                self.hand_over(io, key, id);
            }
            events::Event::Stream(StreamEvent::Readable(id)) => {
                let splice = connection.streams.get(&id.0).and_then(|stream| stream.splice);
                if let Some(splice) = splice {
                    self.splices.ready(splice);
                } else if let Some(stream) = connection.streams.get_mut(&id.0)
                    && !stream.queued
                {
                    stream.queued = true;
                    self.ready.push_back((key, id.0));
                }
            }
            events::Event::Stream(StreamEvent::Writable(id)) => {
                connection.disarm(id.0);
                let machine = io.endpoint.connection(connection.handle);
                if let Some(splice) = connection.streams.get(&id.0).and_then(|stream| stream.splice) {
                    self.splices.ready(splice);
                } else if let (Some(stream), Some(machine)) = (connection.streams.get_mut(&id.0), machine) {
                    stream.on_room(key, id, machine.stream_facts(), &mut self.out);
                }
            }
            events::Event::Stream(StreamEvent::Acknowledged(id)) => {
                let machine = io.endpoint.connection(connection.handle);
                if let (Some(stream), Some(machine)) = (connection.streams.get_mut(&id.0), machine) {
                    stream.on_room(key, id, machine.stream_facts(), &mut self.out);
                }
            }
            events::Event::Stream(StreamEvent::Finished(id)) => self.tell_sent(key, id, Record::new(Kind::Finished, key)),
            events::Event::Stream(StreamEvent::Stopped { id, code }) => {
                self.cut(key, id, Cut::Sending);
                self.tell_sent(key, id, Record::new(Kind::Stopped, key).code(code));
            }
            events::Event::Stream(StreamEvent::Reset { id, code }) => {
                self.cut(key, id, Cut::Receiving);
                let Some(connection) = self.table.get_mut(key) else { return };
                let out = &mut self.out;
                connection.change(id.0, |stream| stream.on_reset(key, id, code, out));
            }
            // JavaScript counts its streams; the limits are told by `look`.
            events::Event::Stream(StreamEvent::Available(_)) | events::Event::Closed(_) | events::Event::Drained => {}
            events::Event::DatagramReceived => self.tell_messages(io, key),
            events::Event::DatagramFate { id, fate, path } => self.tell_fate(key, id, fate, path),
            events::Event::HalfRtt => self.tell_half_rtt(io, key),
            events::Event::Pong { id, path, rtt } => self.tell_pong(key, id, path, rtt, at_ms),
            events::Event::NewToken(token) => self.out.event(key, &Event::Token { at_ms, bytes: to_hex(&token) }),
            events::Event::EarlyData(status) => self.tell_early(io, key, status),
            events::Event::Traversal(news) => self.tell_traversal(io, key, &news),
            events::Event::VerdictWanted { chain } => self.ask_for_verdict(io, key, &chain),
        }
    }

    /// A part of a stream has ended that a TCP connection used.
    fn cut(&mut self, key: u32, id: StreamId, cut: Cut) {
        let stream = self.table.get(key).and_then(|connection| connection.streams.get(&id.0));
        if let Some(splice) = stream.and_then(|stream| stream.splice) {
            self.splices.on_cut(splice, cut);
        }
    }

    /// A sending part has ended.
    fn tell_sent(&mut self, key: u32, id: StreamId, record: Record) {
        let Some(connection) = self.table.get_mut(key) else { return };
        connection.disarm(id.0);
        if connection.streams.contains_key(&id.0) {
            self.out.push(record.stream(id.0));
        }
    }

    /// Hands a piece of a stream over; what is left waits for its turn.
    pub(super) fn hand_over(&mut self, io: &mut Io<'_>, key: u32, id: StreamId) {
        let Some(connection) = self.table.get_mut(key) else { return };
        let Some(machine) = io.endpoint.connection_mut(connection.handle) else { return };
        let out = &mut self.out;
        let next = connection.change(id.0, |stream| stream.hand_over(key, id, machine, out, Allowance::Window));
        if next == Some(Next::More)
            && let Some(stream) = connection.streams.get_mut(&id.0)
            && !stream.queued
        {
            stream.queued = true;
            self.ready.push_back((key, id.0));
        }
    }

    /// What has no event: limits of streams, room in the send queues, traces, numbers.
    fn look(&mut self, io: &mut Io<'_>, key: u32) {
        self.tell_stream_limits(io, key);
        self.tell_tickets(io, key);
        let Some(connection) = self.table.get_mut(key) else { return };
        self.pages.mark(connection);
        if !connection.is_live() {
            return;
        }
        let Some(machine) = io.endpoint.connection(connection.handle) else { return };
        let size = if connection.is_usable(machine) { machine.max_datagram_size() } else { 0 };
        connection.messages.tell_room(key, size, machine, &mut self.out);
        let streams = machine.stream_facts();
        let acknowledged = connection.written.saturating_add(connection.spliced).saturating_sub(streams.unacked_bytes());
        connection.sending.look(io.now, acknowledged, Expected::of(streams.unacked_bytes()));
        connection.receiving.look(io.now, streams.received_bytes(), Expected::of(connection.unfinished));
        let quarter = (connection.settings.connection_send_buffer / 4).max(1);
        let left = if connection.written.saturating_sub(connection.told) < quarter { connection.told } else { connection.left(streams) };
        if left.saturating_sub(connection.told) >= quarter {
            connection.told = left;
            self.out.push(Record::new(Kind::ConnectionWritable, key).number(left));
        }
        if connection.trace != 0 {
            self.tell_trace(io, key);
        }
        self.look_at_plan(io, key);
        if self.table.get(key).is_some_and(Connection::waits_for_room) {
            // What leaves the queues in this turn should be told at once, not when the next datagram comes.
            self.want_turn(io.now);
        }
    }

    /// Streams that JavaScript may open, if there are more than it knows of.
    pub(super) fn tell_stream_limits(&mut self, io: &Io<'_>, key: u32) {
        let Some(connection) = self.table.get_mut(key) else { return };
        let Some(machine) = io.endpoint.connection(connection.handle) else { return };
        if !connection.is_usable(machine) || matches!(connection.phase, Phase::Ended) {
            return;
        }
        for (word, direction) in (0..).zip([Direction::Bidirectional, Direction::Unidirectional]) {
            let limit = machine.stream_facts().open_limit(direction);
            if let Some(known) = connection.limits.get_mut(word as usize).filter(|known| **known < limit) {
                *known = limit;
                self.out.push(Record::new(Kind::Streams, key).small(word).number(limit));
            }
        }
    }
}
