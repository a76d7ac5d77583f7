//! What happens to paths, as events with the facts after it.

use std::net::SocketAddr;

use qbase::{ErrorCode, PathId, Timestamp};
use qconnection::{
    Endpoint, PathView,
    connection::events::{Cause, OpenFailure, PathEvent, PathEventKind, WaitingFor},
    path::PathState,
};
use qdriver::Io;

use super::{Engine, remote::Addresses};
use crate::{
    error::NativeError,
    messages::{
        JsonCode, PathUse,
        events::{Event, PathChange, PathFacts},
        plans,
    },
};

impl Engine {
    /// The path that carried the handshake becomes known.
    pub(super) fn tell_first_path(&mut self, io: &Io<'_>, key: u32) {
        let Some(connection) = self.table.get(key) else { return };
        let Some(view) = io.endpoint.connection(connection.handle).and_then(|machine| machine.path(PathId::ZERO)) else { return };
        self.tell_facts(io, key, &view, "the handshake was complete on it", None);
    }

    /// JavaScript changed the status of a path.
    pub(super) fn tell_status(&mut self, io: &Io<'_>, key: u32, path: PathId, status: PathUse) {
        let Some(connection) = self.table.get(key) else { return };
        let Some(view) = io.endpoint.connection(connection.handle).and_then(|machine| machine.path(path)) else { return };
        let reason = "set by the application";
        let change = PathChange { kind: "status", by: Some("local"), reason, status: Some(status), ..PathChange::default() };
        self.tell_facts(io, key, &view, reason, Some(change));
    }

    /// One event of a path.
    pub(super) fn tell_path(&mut self, io: &Io<'_>, key: u32, event: &PathEvent) {
        let (now, at_ms) = (io.now, self.out.at_ms(io.now));
        let Some(connection) = self.table.get_mut(key) else { return };
        let ticket = connection.ticket(event.ticket);
        match event.kind {
            PathEventKind::Waiting(waiting) => {
                let waits_for = match waiting {
                    WaitingFor::Handshake => "handshake",
                    WaitingFor::PeerCids => "peer-cids",
                    WaitingFor::PathIdLimit => "path-id-limit",
                };
                let (path, reason) = (event.path.0, event.reason);
                return self.out.event(key, &Event::PathWaiting { at_ms, path, ticket, waits_for, reason });
            }
            PathEventKind::Failed(failure) => {
                connection.tickets.retain(|(own, _)| Some(own.0) != event.ticket);
                if let Some(ticket) = ticket {
                    let error = refusal(failure, event);
                    self.out.event(key, &Event::PathFailed { at_ms, ticket, error });
                }
                return;
            }
            _ => {}
        }
        let machine = io.endpoint.connection(connection.handle);
        let change = (!matches!(event.kind, PathEventKind::SpareProved(_))).then(|| change(event, io.endpoint));
        match machine.and_then(|machine| machine.path(event.path)) {
            Some(view) => self.tell_facts(io, key, &view, event.reason, change),
            None => self.tell_gone(key, now, event, change),
        }
        self.settle_moves(io, key, event);
    }

    fn tell_facts(&mut self, io: &Io<'_>, key: u32, view: &PathView, reason: &'static str, change: Option<PathChange>) {
        let at_ms = self.out.at_ms(io.now);
        let Some(connection) = self.table.get_mut(key) else { return };
        let Addresses { local, remote } = Addresses::of(io.endpoint, view.four_tuple);
        connection.remember(view.id.0, Addresses { local: local.clone(), remote: remote.clone() });
        let interface = io.sockets().find(|socket| leaves_by(socket.local, view.four_tuple.local)).and_then(|socket| socket.interface);
        let event = Event::Path {
            at_ms,
            path: view.id.0,
            local,
            remote,
            interface,
            ticket: connection.ticket(view.ticket),
            facts: PathFacts {
                state: state_name(view.state),
                suspect: view.suspect_since.is_some(),
                status: view.status.into(),
                peer_status: plans::peer_status(view.peer_status),
                reason,
                at_ms,
            },
            change,
        };
        self.out.event(key, &event);
    }

    /// The last word of a path that the machine has forgotten.
    fn tell_gone(&mut self, key: u32, now: Timestamp, event: &PathEvent, change: Option<PathChange>) {
        let at_ms = self.out.at_ms(now);
        let Some(connection) = self.table.get_mut(key) else { return };
        let facts = PathFacts {
            state: "abandoned",
            suspect: false,
            status: PathUse::Available,
            peer_status: "unknown",
            reason: event.reason,
            at_ms,
        };
        let ticket = connection.ticket(event.ticket);
        let Addresses { local, remote } = connection.take_addresses(event.path.0).unwrap_or_default();
        let event = Event::Path { at_ms, path: event.path.0, local, remote, interface: None, ticket, facts, change };
        self.out.event(key, &event);
    }
}

/// Whether a path from `local` leaves by the socket that is bound to `bound`; sockets on one port differ in their address.
pub(super) fn leaves_by(bound: SocketAddr, local: SocketAddr) -> bool {
    bound.port() == local.port() && bound.is_ipv4() == local.is_ipv4() && (bound.ip() == local.ip() || bound.ip().is_unspecified())
}

const fn state_name(state: PathState) -> &'static str {
    match state {
        PathState::Unused => "opening",
        PathState::Validating => "validating",
        PathState::Open => "open",
        PathState::Abandoning => "abandoning",
    }
}

/// What changed, in JavaScript's words.
fn change(event: &PathEvent, endpoint: &Endpoint) -> PathChange {
    let by = match event.by {
        Cause::Local => "local",
        Cause::Peer => "peer",
        Cause::Timer => "timer",
    };
    let at = |four_tuple| Addresses::of(endpoint, four_tuple);
    let plain = |kind| PathChange { kind, by: Some(by), reason: event.reason, ..PathChange::default() };
    match event.kind {
        PathEventKind::Opening(_) | PathEventKind::Waiting(_) => plain("opening"),
        PathEventKind::Validated => plain("validated"),
        PathEventKind::Suspect => plain("suspect"),
        PathEventKind::Recovered => plain("recovered"),
        PathEventKind::Abandoning(_) => plain("abandoning"),
        PathEventKind::Abandoned(_) | PathEventKind::Failed(_) => plain("abandoned"),
        PathEventKind::Status(status) => PathChange { status: Some(status.into()), ..plain("status") },
        PathEventKind::Rebound(four_tuple) => between(at(four_tuple), plain("rebound")),
        PathEventKind::Migrated(four_tuple) => between(at(four_tuple), plain("migrated")),
        // The path stays as it is.
        PathEventKind::MigrationFailed(four_tuple) => between(at(four_tuple), plain("migration-failed")),
        PathEventKind::Mtu(bytes) => PathChange { mtu_bytes: Some(bytes), ..plain("mtu") },
        // The path stays as it is; its facts are told once more, with the reason.
        PathEventKind::SpareProved(_) => PathChange::default(),
        PathEventKind::SendError(failure) => PathChange { errno: Some(failure.name()), ..plain("send-error") },
    }
}

/// A change that has to do with these addresses.
fn between(addresses: Addresses, change: PathChange) -> PathChange {
    PathChange { local: Some(addresses.local), remote: Some(addresses.remote), ..change }
}

/// Why a path was not opened.
fn refusal(failure: OpenFailure, event: &PathEvent) -> NativeError {
    let PathEvent { path, reason, .. } = event;
    match failure {
        OpenFailure::NoMultipath => NativeError::new("QB_PATH_LIMIT", "the peer did not negotiate multipath; use the path there is"),
        OpenFailure::Validation => {
            let message = format!("the peer did not answer on path {path} ({reason}); check that the addresses reach each other");
            NativeError::new("QB_PATH_VALIDATION", message).with(|facts| facts.path = Some(path.0))
        }
        OpenFailure::MigrationDisabled => {
            NativeError::new("QB_PATH_LIMIT", "the server takes no second address of this end; open paths to other addresses of the server")
        }
        OpenFailure::Abandoned => {
            let message = format!("path {path} ended while it was opened ({reason}); try again");
            NativeError::new("QB_PATH_ABANDONED", message).with(|facts| {
                facts.path = Some(path.0);
                facts.error_code = Some(JsonCode(ErrorCode::APPLICATION_ABANDON_PATH.0));
            })
        }
    }
}
