//! What JavaScript wants, in the order in which it said so.
//!
//! Called once per turn, before anything else. A command for what is gone does nothing (docs/design/ring, section 1).

use qbase::{Direction, ErrorCode, PathId, StreamId, Timestamp};
use qconnection::{connection::{PathTicket, Polarity, Verdict, traversal::Plans}, stream::{IfDead, Incremental}};
use qdriver::Io;

use super::{
    Engine,
    admission::set_admission,
    connection::{Closing, Connection, Phase},
    stream::{Room, Stream},
};
use crate::{
    error::NativeError,
    messages::{JsonCode, orders::{Answer, Order}, plans},
    options::{endpoint::block_list, millis},
    queue::commands::{Action, Command, Ending, Priority, StreamCommand},
};

/// Chunks below this are copied into the machine's blocks: a slice of an arena would keep all of it alive.
const SMALL_CHUNK: usize = 4_096;

impl Engine {
    /// Does everything that has come.
    pub(super) fn obey(&mut self, io: &mut Io<'_>) {
        let mut batch = self.commands.take();
        for command in batch.drain(..) {
            match command {
                Command::Stream(command) => self.obey_stream(io, command),
                Command::Datagram(command) => self.obey_datagram(io, command),
                Command::Raw(command) => self.send_raw(io, &command),
                Command::Connect(key, dial) => self.dial(io, key, *dial),
                Command::Listen(listen) => {
                    self.newcomers = Some(listen.transport);
                    io.endpoint.listen(Some(listen.config));
                }
                Command::Admit(attempt, verdict, terms) => self.admit(io, attempt, verdict, terms.map(|terms| *terms)),
                Command::Order(0, order) => self.obey_of_endpoint(io, *order),
                Command::Unlisten => {
                    self.newcomers = None;
                    io.endpoint.listen(None);
                }
                Command::Order(key, order) => self.obey_order(io, key, *order),
                Command::Question(key, question, answer) => answer.give(self.answer(io, key, question)),
                Command::Picker(key, picker) => {
                    let machine = self.table.get(key).and_then(|connection| io.endpoint.connection_mut(connection.handle));
                    if let Some(machine) = machine {
                        machine.set_picker(Some(picker));
                    }
                }
                Command::Splice(start) => self.start_splice(io, *start),
                Command::SpliceGo(id, bytes) => self.go_on_splice(id, bytes),
                Command::SpliceCut(id) => self.cut_splice(io, id),
                Command::Close => self.begin_ending(io),
            }
        }
        self.commands.give_back(batch);
    }

    fn obey_of_endpoint(&mut self, io: &mut Io<'_>, order: Order) {
        match order {
            Order::Admission { mode } => set_admission(io, mode),
            Order::Raw { to } => self.raw.listener = to,
            Order::Block { rules } => io.endpoint.block(block_list(&rules)),
            Order::Polarity { alpn, wrong_way } => polarise(io, alpn, wrong_way),
            order => self.obey_about_nats(io, order),
        }
    }

    fn obey_stream(&mut self, io: &mut Io<'_>, command: StreamCommand) {
        let Some(connection) = self.table.get_mut(command.key).filter(|connection| connection.is_live()) else { return };
        let Some(machine) = io.endpoint.connection_mut(connection.handle) else { return };
        let id = StreamId(command.stream);
        let result = match command.action {
            Action::Open(priority) => open(connection, machine, id, priority),
            Action::Write(bytes, ending) => return self.write(io, command.key, id, bytes, ending),
            // A part that has ended needs neither.
            Action::Reset(code) => {
                machine.reset(id, code).unwrap_or_default();
                Ok(())
            }
            Action::Stop(code) => {
                machine.stop(id, code).unwrap_or_default();
                connection.change(id.0, Stream::on_stopped_here);
                Ok(())
            }
            Action::Consumed(total) => {
                if let Some(stream) = connection.streams.get_mut(&id.0)
                    && stream.on_consumed(total)
                    && !stream.queued
                {
                    stream.queued = true;
                    self.ready.push_back((command.key, id.0));
                }
                Ok(())
            }
            Action::Release => {
                release(connection, machine, id);
                Ok(())
            }
            Action::Priority(priority) => {
                prioritize(machine, id, priority);
                Ok(())
            }
            Action::Pin(path) => {
                // JavaScript knew the path and the stream a moment ago: if one of them has gone, nothing is left to pin.
                machine.pin_stream(id, path.map(|path| (PathId(path), IfDead::Move))).unwrap_or_default();
                Ok(())
            }
        };
        if let Err(error) = result {
            self.fail(io, command.key, error);
        }
    }

    fn write(&mut self, io: &mut Io<'_>, key: u32, id: StreamId, bytes: bytes::Bytes, ending: Ending) {
        let Some(connection) = self.table.get_mut(key) else { return };
        let Some(machine) = io.endpoint.connection_mut(connection.handle) else { return };
        let length = bytes.len();
        connection.written = connection.written.saturating_add(length as u64);
        // Bytes for a stream that is gone count as having left.
        let Some(stream) = connection.streams.get_mut(&id.0) else { return };
        stream.on_written(length as u64);
        let taken = if length < SMALL_CHUNK { machine.write(id, &bytes) } else { machine.write_chunk(id, bytes) };
        // A part that was reset or stopped takes no bytes: they count as having left, too.
        if taken.is_ok_and(|taken| taken < length) {
            return self.fail(io, key, NativeError::internal("more was written than the send buffers hold"));
        }
        if ending == Ending::Fin {
            // As above: nothing is left to end.
            machine.finish(id).unwrap_or_default();
        }
        let limit = connection.settings.send_buffer;
        match stream.watch_room(key, id, limit, machine.streams(), &mut self.out) {
            Room::Awaited => connection.arm(id.0),
            Room::Told => connection.disarm(id.0),
            Room::Plenty => {}
        }
    }

    /// An invariant between JavaScript and us is broken: the connection closes, and its end says why.
    pub(super) fn fail(&mut self, io: &mut Io<'_>, key: u32, error: NativeError) {
        let Some(connection) = self.table.get_mut(key) else { return };
        if let Some(machine) = io.endpoint.connection_mut(connection.handle) {
            machine.close_transport(io.now, ErrorCode::INTERNAL_ERROR, "internal error");
        }
        connection.broken.get_or_insert(error);
    }

    fn obey_order(&mut self, io: &mut Io<'_>, key: u32, order: Order) {
        let now = io.now;
        let Some(connection) = self.table.get_mut(key).filter(|connection| connection.is_live()) else { return };
        let Some(machine) = io.endpoint.connection_mut(connection.handle) else { return };
        match order {
            Order::Close { layer, code, reason, drain_ms } => {
                if !matches!(connection.phase, Phase::Closing(_)) {
                    self.closing.push(key);
                }
                let deadline = deadline(now, drain_ms);
                connection.phase = Phase::Closing(Closing { deadline, layer, code: code.0, reason });
            }
            Order::OpenPath { ticket, spec } => self.open_path(io, key, Some(ticket), &spec),
            Order::CancelPath { ticket } => {
                let own = connection.tickets.iter().find(|(_, theirs)| *theirs == Some(ticket)).map(|(own, _)| *own);
                if let Some(PathTicket(own)) = own {
                    machine.cancel_open(PathTicket(own));
                    connection.tickets.retain(|(other, _)| other.0 != own);
                }
            }
            // JavaScript has checked that there is such a path, but it may have gone since: then there is nothing to do.
            Order::AbandonPath { path, code } => {
                machine.abandon_path(now, PathId(path), code.0).unwrap_or_default();
            }
            Order::PathStatus { path, status } => {
                machine.set_path_status(PathId(path), status.into()).unwrap_or_default();
                self.tell_status(io, key, PathId(path), status);
            }
            Order::MigratePath { ticket, path, spec } => self.migrate_path(io, key, ticket, path, &spec),
            Order::CancelMigration { path } => self.cancel_migration(io, key, path),
            Order::Begin => machine.release_first_flight(),
            Order::Verdict { answer: Answer::Accept, .. } => machine.verdict(now, Verdict::Accept),
            Order::Verdict { answer: Answer::Refuse, reason } => {
                connection.refused = Some(reason);
                machine.verdict(now, Verdict::Refuse);
            }
            Order::Ping { ticket, path } => self.ping(io, key, ticket, path.map(PathId)),
            Order::PathWeight { path, weight } => {
                machine.set_path_weight(PathId(path), plans::weight(weight)).unwrap_or_default();
                connection.planning.on_path_event();
                self.pages.mark(connection);
                self.look_at_plan(io, key);
            }
            Order::Plan { plan } => self.obey_plan(io, key, plan.map(|plan| *plan)),
            Order::Trace { mask } => {
                connection.trace = mask;
                machine.set_trace(super::trace::mask(mask));
            }
            // Of an address that is gone nothing is left to withdraw.
            Order::Withdraw { seq } => machine.withdraw_address(now, seq).unwrap_or_default(),
            Order::Punch { ticket, remote, own } => self.punch(io, key, ticket, remote, if own { Plans::Asked } else { Plans::Own }),
            Order::PunchCancel(pair) => machine.cancel_punch(now, pair.into()),
            Order::PunchSteps(steps) => {
                let (id, steps, then) = steps.feed();
                machine.feed_punch(now, id, steps, then);
            }
            // JavaScript has refused what cannot be; what is over meanwhile is not reversed any more.
            Order::Reverse => machine.reverse().unwrap_or_default(),
            Order::OpenGate => machine.open_gate(),
            Order::GrantStreams { direction, count } => machine.grant_streams(direction.into(), count),
            // To the endpoint.
            _ => {}
        }
    }
}

/// Connections with this protocol have parts to play from now on, or none.
fn polarise(io: &mut Io<'_>, alpn: String, wrong_way: Option<JsonCode>) {
    match wrong_way {
        Some(JsonCode(wrong_way)) => io.endpoint.polarise(Polarity { alpn: alpn.into_bytes(), wrong_way }),
        None => io.endpoint.forget_polarity(alpn.as_bytes()),
    }
}

/// A wait that cannot be read ends at once.
fn deadline(now: Timestamp, drain_ms: f64) -> Timestamp {
    now + millis("drainMs", drain_ms).unwrap_or_default()
}

/// Opens the stream that JavaScript counted.
fn open(
    connection: &mut Connection,
    machine: &mut qconnection::Connection,
    id: StreamId,
    priority: Priority,
) -> Result<(), NativeError> {
    let opened = if connection.sent_early { machine.open_parked(id.direction()) } else { machine.open(id.direction()) };
    if opened.is_none() && !matches!(machine.state(), qconnection::connection::State::Open) {
        // It is ending; JavaScript will hear.
        return Ok(());
    }
    if opened != Some(id) {
        return Err(NativeError::internal(format_args!("stream {} was opened here as {opened:?}", id.0)));
    }
    connection.add(id.0, Stream::opened_here(id));
    prioritize(machine, id, priority);
    if priority.acknowledged {
        machine.streams().tell_acknowledged(id);
    }
    Ok(())
}

/// JavaScript has no more use for the stream: what the machine kept of it goes (mux R43).
fn release(connection: &mut Connection, machine: &mut qconnection::Connection, id: StreamId) {
    if connection.remove(id.0).is_none() {
        return;
    }
    let receives = id.direction() == Direction::Bidirectional || id.initiator() != machine.role();
    if receives {
        // The read that finds the end; a part that has not ended was stopped.
        if let Ok(unread) = machine.peek(id).map(<[u8]>::len) {
            machine.consume(id, unread);
        }
    }
}

fn prioritize(machine: &mut qconnection::Connection, id: StreamId, priority: Priority) {
    let incremental = if priority.incremental { Incremental::Yes } else { Incremental::No };
    // A stream without a sending part has no turn to choose.
    machine.streams().set_priority(id, priority.urgency, incremental).unwrap_or_default();
}
