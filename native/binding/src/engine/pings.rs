//! Round-trip times that JavaScript asks for.
//!
//! Decides nothing: it keeps JavaScript's names of pings under way. Called by the commands and by the visit.

use std::time::Duration;

use qbase::PathId;
use qconnection::connection::PingError;
use qdriver::Io;

use super::Engine;
use crate::{error::NativeError, messages::events::Event};

impl Engine {
    /// Sends a PING on a path, or on all.
    pub(super) fn ping(&mut self, io: &mut Io<'_>, key: u32, ticket: u64, path: Option<PathId>) {
        let at_ms = self.out.at_ms(io.now);
        let Some(connection) = self.table.get_mut(key) else { return };
        let Some(machine) = io.endpoint.connection_mut(connection.handle) else { return };
        match machine.ping_path(io.now, path) {
            Ok(id) => connection.pings.push((id, ticket)),
            Err(error) => {
                let (code, hint) = match error {
                    PingError::UnknownPath => ("QB_PATH_UNKNOWN", "connection.paths lists those there are"),
                    PingError::TooMany => ("QB_PATH_LIMIT", "wait for an answer"),
                    PingError::Closed => ("QB_CONNECTION_CLOSED", "open a new connection"),
                };
                let error = NativeError::new(code, format!("{error}; {hint}")).with(|facts| facts.path = path.map(|path| path.0));
                self.out.event(key, &Event::PingFailed { at_ms, ticket, error });
            }
        }
    }

    /// The first answer to a ping.
    pub(super) fn tell_pong(&mut self, key: u32, id: u64, path: PathId, rtt: Duration, at_ms: f64) {
        let Some(connection) = self.table.get_mut(key) else { return };
        let Some(at) = connection.pings.iter().position(|(own, _)| *own == id) else { return };
        let (_, ticket) = connection.pings.swap_remove(at);
        self.out.event(key, &Event::Pong { at_ms, ticket, path: path.0, rtt_ms: rtt.as_secs_f64() * 1e3 });
    }
}
