//! Tickets and data before the handshake is complete (RFC 9001 §4.5, §4.6), as far as JavaScript is told of them.
//!
//! Decides nothing: the machine does. Called by the dial, which knows at once whether early data can be sent, and by the
//! visit.

use std::time::Duration;

use qcrypto::EarlyStatus;
use qdriver::Io;

use super::Engine;
use crate::messages::events::Event;

/// Longest that a first flight waits for what JavaScript writes at once.
const EARLY_PATIENCE: Duration = Duration::from_millis(250);

impl Engine {
    /// What became of early data. Streams may be used from the moment it is sent or accepted.
    pub(super) fn tell_early(&mut self, io: &mut Io<'_>, key: u32, status: EarlyStatus) {
        let status = match status {
            EarlyStatus::None => return,
            EarlyStatus::Sent => "sent",
            EarlyStatus::Accepted => "accepted",
            EarlyStatus::Rejected => "rejected",
        };
        self.tell_stream_limits(io, key);
        let at_ms = self.out.at_ms(io.now);
        let Some(connection) = self.table.get_mut(key) else { return };
        connection.sent_early |= status == "sent";
        let Some(machine) = io.endpoint.connection(connection.handle) else { return };
        if connection.server_name.is_none() {
            connection.server_name = machine.tls().server_name().map(str::to_owned);
        }
        let alpn = machine.alpn().map(|alpn| String::from_utf8_lossy(alpn).into_owned());
        let event = Event::Early { at_ms, status, alpn, server_name: connection.server_name.clone(), polarised: machine.is_polarised() };
        self.out.event(key, &event);
    }

    /// A server may send: streams and messages may be used from now on.
    pub(super) fn tell_half_rtt(&mut self, io: &mut Io<'_>, key: u32) {
        self.ask_for_first_plan(io, key);
        let at_ms = self.out.at_ms(io.now);
        let Some(connection) = self.table.get_mut(key) else { return };
        let Some(machine) = io.endpoint.connection(connection.handle) else { return };
        connection.half_rtt = true;
        if connection.server_name.is_none() {
            connection.server_name = machine.tls().server_name().map(str::to_owned);
        }
        let server_name = connection.server_name.clone();
        let alpn = machine.alpn().map(|alpn| String::from_utf8_lossy(alpn).into_owned());
        let polarised = machine.is_polarised();
        self.tell_stream_limits(io, key);
        self.out.event(key, &Event::HalfRtt { at_ms, alpn, server_name, polarised });
    }

    /// Early data can be sent since the connection was dialled.
    pub(super) fn tell_early_start(&mut self, io: &mut Io<'_>, key: u32) {
        let handle = self.table.get(key).map(|connection| connection.handle);
        let status = handle.and_then(|handle| io.endpoint.connection(handle)).map(qconnection::Connection::early_status);
        self.tell_early(io, key, status.unwrap_or_default());
    }

    /// JavaScript hears of early data a moment after the dial: the first flight waits for what it writes then, until its
    /// order `begin`.
    pub(super) fn hold_for_early_data(&mut self, io: &mut Io<'_>, key: u32) {
        let Some(connection) = self.table.get(key).filter(|connection| connection.sent_early) else { return };
        if let Some(machine) = io.endpoint.connection_mut(connection.handle) {
            machine.hold_first_flight(io.now + EARLY_PATIENCE);
        }
    }

    /// Tickets that came since this was asked last.
    pub(super) fn tell_tickets(&mut self, io: &Io<'_>, key: u32) {
        let at_ms = self.out.at_ms(io.now);
        let Some(connection) = self.table.get_mut(key) else { return };
        let Some(machine) = io.endpoint.connection(connection.handle) else { return };
        let received = machine.tls().tickets_received();
        let count = received.saturating_sub(connection.tickets_told);
        if count > 0 {
            connection.tickets_told = received;
            self.out.event(key, &Event::Tickets { at_ms, count });
        }
    }
}
