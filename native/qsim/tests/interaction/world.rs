//! Plays the operations of a scenario and asks for what must hold whatever they were.

use std::{collections::BTreeSet, time::Duration};

use bytes::Bytes;
use qbase::{ErrorCode, PathId, Role, StreamId};
use qconnection::{
    Connection,
    connection::{SendDatagram, events::Layer},
};
use qsim::{
    Directions, Failure, LinkId, LinkShape, Pair,
    traffic::{IncomingState, Outgoing, OutgoingState, Reading},
};

use super::operation::{Operation, Scenario};
use crate::common::{ms, secs};

/// Virtual time in which everything must be over once the links are good.
const TO_SETTLE: Duration = secs(120);
/// Virtual time after which nothing of a closed connection may be left.
const TO_FORGET: Duration = secs(100);

struct World {
    pair: Pair,
    /// Streams somebody gave up, at either end: their bytes may be missing.
    given_up: BTreeSet<StreamId>,
}

/// Plays a scenario.
///
/// # Errors
/// A rule does not hold.
pub fn play(scenario: &Scenario) -> Result<(), Failure> {
    let mut world = World { pair: Pair::new(scenario.config.clone())?, given_up: BTreeSet::new() };
    for operation in &scenario.operations {
        world.act(operation)?;
        world.pair.run_for(ms(1))?;
        world.check_end()?;
    }
    world.settle()?;
    world.forget()
}

impl World {
    fn act(&mut self, operation: &Operation) -> Result<(), Failure> {
        let now = self.pair.now();
        match operation {
            Operation::Send(role, direction, len) => {
                self.pair.host_mut(*role).traffic_mut().send(*direction, *len);
            }
            Operation::Reset(role, any) => self.give_up(*role, *any, |connection, stream| connection.reset(stream, 7).unwrap_or_default()),
            Operation::Stop(role, any) => self.give_up(*role, *any, |connection, stream| connection.stop(stream, 8).unwrap_or_default()),
            Operation::Message(role, len) => self.with(*role, |connection| {
                let _ = connection.send_datagram(now, Bytes::from(vec![5; *len]), SendDatagram::default());
                while connection.receive_datagram().is_some() {}
            }),
            Operation::Read(role, reads) => {
                let reading = if *reads { Reading::Eager } else { Reading::Paused };
                self.pair.host_mut(*role).traffic_mut().set_reading(reading);
            }
            Operation::UpdateKey(role) => self.with(*role, |connection| {
                connection.update_key(now);
            }),
            Operation::Ping(role) => self.with(*role, Connection::ping),
            Operation::Schedule(role, scheduler) => self.with(*role, |connection| connection.set_scheduler(*scheduler)),
            Operation::Open(link) => drop(self.pair.open_path(LinkId(*link), qbase::frame::PathStatusKind::Available)),
            Operation::Abandon(role, any) => self.with_path(*role, *any, |connection, path| connection.abandon_path(now, path, 3).unwrap_or_default()),
            Operation::Status(role, any, status) => {
                self.with_path(*role, *any, |connection, path| connection.set_path_status(path, *status).unwrap_or_default());
            }
            Operation::Cut(link, directions) => self.pair.network_mut().cut(now, LinkId(*link), *directions),
            Operation::Restore(link) => self.pair.network_mut().restore(now, LinkId(*link), Directions::Both),
            Operation::Shape(link, shape) => self.pair.network_mut().set(now, LinkId(*link), shape, Directions::Both),
            Operation::Wait(time) => self.pair.run_for(*time)?,
            Operation::Close(role, code) => self.with(*role, |connection| connection.close(now, *code, b"done")),
        }
        Ok(())
    }

    fn with(&mut self, role: Role, act: impl FnOnce(&mut Connection)) {
        if let Some(connection) = self.pair.host_mut(role).connection_mut() {
            act(connection);
        }
    }

    fn with_path(&mut self, role: Role, any: usize, act: impl FnOnce(&mut Connection, PathId)) {
        self.with(role, |connection| {
            let paths: Vec<PathId> = connection.paths().map(|path| path.id).collect();
            if let Some(path) = paths.get(any % paths.len().max(1)) {
                act(connection, *path);
            }
        });
    }

    fn give_up(&mut self, role: Role, any: usize, act: impl FnOnce(&mut Connection, StreamId)) {
        let traffic = self.pair.host(role).traffic();
        let streams: Vec<StreamId> = traffic.all_outgoing().filter_map(|out| out.stream).chain(traffic.all_incoming().map(|(id, _)| id)).collect();
        if let Some(stream) = streams.get(any % streams.len().max(1)).copied() {
            self.given_up.insert(stream);
            self.with(role, |connection| act(connection, stream));
        }
    }

    /// If a connection ended, it was for a reason that an honest peer can give.
    fn check_end(&self) -> Result<(), Failure> {
        for role in [Role::Client, Role::Server] {
            let Some(info) = self.pair.host(role).ended() else { continue };
            // An application that closes during the handshake does not show its code (RFC 9000 §10.2.3).
            let allowed = [ErrorCode::NO_ERROR.0, ErrorCode::NO_VIABLE_PATH.0, ErrorCode::APPLICATION_ERROR.0];
            if info.layer == Layer::Transport && !allowed.contains(&info.code) {
                return Err(self.failure(&format!("the {role:?} ended with {info:?}")));
            }
        }
        Ok(())
    }

    /// The links are good again: within bounded time every byte is there, or its stream or connection has ended at both ends.
    fn settle(&mut self) -> Result<(), Failure> {
        let now = self.pair.now();
        for link in self.pair.links().to_vec() {
            self.pair.network_mut().restore(now, link, Directions::Both);
            self.pair.network_mut().set(now, link, &LinkShape::delayed(ms(10)), Directions::Both);
        }
        for role in [Role::Client, Role::Server] {
            self.pair.host_mut(role).traffic_mut().set_reading(Reading::Eager);
        }
        let given_up = self.given_up.clone();
        self.pair.run_until(|pair| has_ended(pair) || is_settled(pair, &given_up), TO_SETTLE)?;
        self.check_end()
    }

    /// A connection that was closed leaves nothing, at either end.
    fn forget(&mut self) -> Result<(), Failure> {
        let now = self.pair.now();
        self.with(Role::Client, |connection| connection.close(now, 0, b""));
        self.pair.run_for(TO_FORGET)?;
        self.check_end()?;
        for role in [Role::Client, Role::Server] {
            let left = self.pair.host(role).endpoint().statistics();
            let counts = [left.connections, left.routes, left.reset_tokens, left.pool_bytes_used, left.half_open];
            if counts != [0; 5] {
                let names = "connections, routes, reset tokens, bytes of the pool, half-open";
                return Err(self.failure(&format!("the {role:?} keeps {counts:?} ({names})")));
            }
        }
        Ok(())
    }

    fn failure(&self, text: &str) -> Failure {
        self.pair.failure(&qsim::Fault::Setup(text.to_owned()))
    }
}

/// Both ends know that the connection is over.
fn has_ended(pair: &Pair) -> bool {
    [Role::Client, Role::Server].into_iter().all(|role| pair.host(role).ended().is_some() || pair.host(role).connection().is_none())
}

/// Every transfer is through, or given up and forgotten by both machines.
fn is_settled(pair: &Pair, given_up: &BTreeSet<StreamId>) -> bool {
    let through = |role: Role| {
        let peer = pair.host(role.peer()).traffic();
        pair.host(role).traffic().all_outgoing().all(|out| is_through(out, peer, given_up))
    };
    let streams = |role: Role| pair.host(role).connection().map_or(0, |connection| connection.stream_facts().open_count());
    through(Role::Client) && through(Role::Server) && streams(Role::Client) == 0 && streams(Role::Server) == 0
}

fn is_through(out: &Outgoing, peer: &qsim::traffic::Traffic, given_up: &BTreeSet<StreamId>) -> bool {
    let Some(stream) = out.stream else { return false };
    if given_up.contains(&stream) {
        return true;
    }
    let incoming = peer.incoming(stream);
    let whole = incoming.is_some_and(|incoming| incoming.state == IncomingState::Finished && incoming.received == out.len);
    out.state == OutgoingState::Acknowledged && whole
}
