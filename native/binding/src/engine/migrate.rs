//! Moves of paths that JavaScript asked for (RFC 9000 §9): which socket a path goes to, and what came of it.
//!
//! A move waits for a connection id of the server to spare as long as JavaScript does. Called by the commands, by the visit
//! and with every event of a path. The machine decides whether a path may move; nothing here does.

use std::net::SocketAddr;

use qbase::PathId;
use qconnection::connection::{
    MigrateError, Migration,
    events::{PathEvent, PathEventKind},
};
use qdriver::{Io, drive::SocketFacts};

use super::{Engine, dial::any_address, remote::remote_of};
use crate::{
    error::NativeError,
    failures::bind_failure,
    messages::{events::Event, orders::PathSpec},
};

/// One move that JavaScript waits for.
#[derive(Debug)]
pub struct Move {
    /// JavaScript's name for it.
    ticket: u64,
    path: PathId,
    /// Where it goes.
    local: SocketAddr,
    /// The machine has begun; else it lacks a connection id.
    begun: bool,
}

impl Engine {
    /// JavaScript wants a path moved. A move of the same path that was under way is given up.
    pub(super) fn migrate_path(&mut self, io: &mut Io<'_>, key: u32, ticket: u64, path: u32, spec: &PathSpec) {
        self.cancel_migration(io, key, path);
        let path = PathId(path);
        let began = self.place_for(io, key, path, spec).and_then(|local| self.begin_move(io, key, path, local).map(|begun| (local, begun)));
        match began {
            Ok((local, begun)) => {
                if let Some(connection) = self.table.get_mut(key) {
                    connection.moves.push(Move { ticket, path, local, begun });
                }
            }
            Err(error) => self.tell_migrated(io, key, ticket, Some(error)),
        }
    }

    /// JavaScript waits no more: the path stays where it is.
    pub(super) fn cancel_migration(&mut self, io: &mut Io<'_>, key: u32, path: u32) {
        let Some(connection) = self.table.get_mut(key) else { return };
        let asked = connection.moves.len();
        let mut given_up = Vec::new();
        connection.moves.retain(|of| {
            let stays = of.path.0 != path;
            if !stays {
                given_up.push(of.ticket);
            }
            stays
        });
        if connection.moves.len() < asked
            && let Some(machine) = io.endpoint.connection_mut(connection.handle)
        {
            machine.cancel_migration(PathId(path));
        }
        for ticket in given_up {
            let error = NativeError::new("QB_PATH_VALIDATION", format!("the move of path {path} was given up for another; await one before the next"));
            self.tell_migrated(io, key, ticket, Some(error));
        }
    }

    /// Moves that lacked a connection id try again.
    pub(super) fn retry_moves(&mut self, io: &mut Io<'_>, key: u32) {
        let waiting = |connection: &super::connection::Connection| connection.moves.iter().position(|of| !of.begun);
        let Some(at) = self.table.get(key).and_then(waiting) else { return };
        let Some((ticket, path, local)) = self.table.get(key).and_then(|connection| connection.moves.get(at)).map(|of| (of.ticket, of.path, of.local)) else { return };
        let result = self.begin_move(io, key, path, local);
        let Some(connection) = self.table.get_mut(key) else { return };
        match result {
            Ok(begun) => {
                if let Some(of) = connection.moves.get_mut(at) {
                    of.begun = begun;
                }
            }
            Err(error) => {
                connection.moves.remove(at);
                self.tell_migrated(io, key, ticket, Some(error));
            }
        }
    }

    /// Whether the event of a path ends a move of it. Called after the facts were told.
    pub(super) fn settle_moves(&mut self, io: &Io<'_>, key: u32, event: &PathEvent) {
        let Some(connection) = self.table.get_mut(key) else { return };
        let path = event.path;
        let at = |local: Option<SocketAddr>| {
            connection.moves.iter().position(|of| of.path == path && local.is_none_or(|local| local == of.local))
        };
        let (found, error) = match event.kind {
            PathEventKind::Migrated(four_tuple) => (at(Some(four_tuple.local)), None),
            PathEventKind::MigrationFailed(four_tuple) => {
                let message = format!("path {path} stays where it is: the server did not answer at {} ({})", four_tuple.local, event.reason);
                (at(Some(four_tuple.local)), Some(NativeError::new("QB_PATH_VALIDATION", message)))
            }
            PathEventKind::Abandoning(_) | PathEventKind::Abandoned(_) => {
                let message = format!("path {path} ended before it had moved ({})", event.reason);
                (at(None), Some(NativeError::new("QB_PATH_ABANDONED", message)))
            }
            _ => return,
        };
        let Some(found) = found else { return };
        let ticket = connection.moves.remove(found).ticket;
        self.tell_migrated(io, key, ticket, error.map(|error| error.with(|facts| facts.path = Some(path.0))));
    }

    fn tell_migrated(&mut self, io: &Io<'_>, key: u32, ticket: u64, error: Option<NativeError>) {
        let at_ms = self.out.at_ms(io.now);
        self.out.event(key, &Event::PathMigrated { at_ms, ticket, error });
    }

    /// `false`: the server has given no connection id to spare yet.
    fn begin_move(&mut self, io: &mut Io<'_>, key: u32, path: PathId, local: SocketAddr) -> Result<bool, NativeError> {
        let handle = self.table.get(key).ok_or_else(NativeError::connection_closed)?.handle;
        let machine = io.endpoint.connection_mut(handle).ok_or_else(NativeError::connection_closed)?;
        match machine.migrate(io.now, path, local, Migration::WhenProved) {
            Ok(()) => Ok(true),
            Err(MigrateError::NoConnectionId) => Ok(false),
            Err(error) => Err(refusal(error, path)),
        }
    }

    /// The socket that a path goes to: another one than it has, bound when there is none.
    fn place_for(&mut self, io: &mut Io<'_>, key: u32, path: PathId, spec: &PathSpec) -> Result<SocketAddr, NativeError> {
        let handle = self.table.get(key).ok_or_else(NativeError::connection_closed)?.handle;
        let own = io.endpoint.connection(handle).and_then(|machine| machine.path(path)).map(|view| view.four_tuple);
        let own = own.ok_or_else(|| refusal(MigrateError::UnknownPath, path))?;
        let remote = remote_of(io.endpoint, own.remote);
        if remote.is_none_or(|remote| remote.is_relayed()) {
            let message = format!("path {path} leads through a relay, which knows this end by one socket; register the other one and open a path from there");
            return Err(NativeError::new("QB_PATH_LIMIT", message).with(|facts| facts.path = Some(path.0)));
        }
        if spec.remote.is_some_and(|named| Some(named.0) != remote) {
            let message = format!("a client moves to another address of its own, path {path} stays with {}; leave remote out", own.remote);
            return Err(NativeError::new("QB_OPTION_INVALID", message).with(|facts| facts.field = Some("spec.remote".to_owned())));
        }
        let wanted = spec.local.unwrap_or_else(|| any_address(own.remote));
        if wanted.is_ipv4() != own.remote.is_ipv4() {
            return Err(refusal(MigrateError::BadAddress, path));
        }
        let is_own = |bound: SocketAddr| bound.port() == own.local.port() && (bound.ip() == own.local.ip() || bound.ip().is_unspecified() || own.local.ip().is_unspecified());
        let serves = |facts: &SocketFacts| {
            let fits = match spec.local {
                Some(local) => facts.local.ip() == local.ip() && (local.port() == 0 || facts.local.port() == local.port()),
                None => facts.local.is_ipv4() == own.remote.is_ipv4(),
            };
            fits && (!is_own(facts.local) || wanted.port() != 0)
        };
        let bound = if spec.interface.is_some() { None } else { io.sockets().find(serves).map(|facts| facts.local) };
        if let Some(local) = bound {
            return Ok(local);
        }
        let facts = io.bind(&self.sockets.socket(wanted, spec.interface.clone())).map_err(|error| bind_failure(&error))?;
        self.tell_bound(io.now, &facts, "a path moves to it");
        self.link.set_local(io.sockets().map(|facts| facts.local.to_string()).collect());
        Ok(facts.local)
    }
}

/// Why the machine does not move a path.
fn refusal(error: MigrateError, path: PathId) -> NativeError {
    let (code, hint) = match error {
        MigrateError::Role => ("QB_PATH_ROLE", "move it at the other end"),
        MigrateError::Handshake => ("QB_PATH_VALIDATION", "await connection.confirmed"),
        MigrateError::Disabled => ("QB_PATH_LIMIT", "open a new connection from the other address"),
        MigrateError::UnknownPath => ("QB_PATH_ABANDONED", "connection.paths lists those there are"),
        MigrateError::NoConnectionId => ("QB_PATH_LIMIT", "try again later"),
        MigrateError::BadAddress => ("QB_OPTION_INVALID", "name another local address of the path's family"),
    };
    let named = NativeError::new(code, format!("path {path}: {error}; {hint}"));
    named.with(|facts| {
        facts.path = Some(path.0);
        if error == MigrateError::BadAddress {
            facts.field = Some("spec.local".to_owned());
        }
    })
}
