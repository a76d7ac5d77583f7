//! The end of connections: ours, the peer's, and what JavaScript is told of it (docs/design/ring, section 5).

use qbase::{ErrorCode, Timestamp};
use qconnection::{
    Connection as Machine, Endpoint,
    connection::events::{CloseInfo, ClosedBy, Event, Layer},
};
use qdriver::Io;

use super::{
    Engine,
    connection::{Closing, Phase},
    remote::remote_text,
};
use crate::{
    error::NativeError,
    messages::{JsonCode, events, orders::CloseLayer},
};

impl Engine {
    /// Closes connections that JavaScript wants closed, when what was written is acknowledged or time is up.
    pub(super) fn close_quiet_connections(&mut self, io: &mut Io<'_>) {
        let waiting = std::mem::take(&mut self.closing);
        for key in waiting {
            let Some(connection) = self.table.get(key) else { continue };
            let Phase::Closing(closing) = &connection.phase else { continue };
            let Some(machine) = io.endpoint.connection_mut(connection.handle) else { continue };
            if closing.deadline > io.now && !machine.stream_facts().is_quiet() {
                let deadline = closing.deadline;
                self.closing.push(key);
                self.want_turn(deadline);
                continue;
            }
            close(machine, io.now, closing);
        }
    }

    /// Closes a connection because its endpoint closes.
    pub(super) fn close_now(&mut self, io: &mut Io<'_>, key: u32) {
        let Some(connection) = self.table.get_mut(key).filter(|connection| connection.is_live()) else { return };
        let Some(machine) = io.endpoint.connection_mut(connection.handle) else { return };
        let closing = match &connection.phase {
            Phase::Closing(closing) => closing.clone(),
            _ => Closing { deadline: io.now, layer: CloseLayer::Application, code: 0, reason: String::new() },
        };
        close(machine, io.now, &closing);
        connection.phase = Phase::Closing(closing);
    }

    /// The last record of a connection: what its streams have to tell, and complete ones whole, come before it. Nothing
    /// is put off: the machine may forget the connection next.
    pub(super) fn tell_end(&mut self, io: &mut Io<'_>, key: u32, info: &CloseInfo) {
        let Some(handle) = self.table.get(key).filter(|connection| connection.is_live()).map(|connection| connection.handle) else {
            return;
        };
        while let Some(event) = io.endpoint.connection_mut(handle).and_then(|machine| machine.streams().poll_event()) {
            self.tell(io, key, Event::Stream(event));
        }
        self.fill_complete(io, key);
        self.part_splices(io, key);
        self.write_page(io, key);
        let Some(connection) = self.table.get_mut(key) else { return };
        let is_ours = matches!(connection.phase, Phase::Closing(_)) && info.by == ClosedBy::Local;
        let refused = connection.refused.take();
        let error = match (connection.broken.take(), io.endpoint.connection(connection.handle)) {
            (Some(error), _) => Some(error),
            (None, Some(machine)) if info.code == BAD_CERTIFICATE && info.by == ClosedBy::Local && refused.is_some() => {
                fault(info, machine, io.endpoint).map(|error| error.with(|facts| unjudged(facts, &refused.unwrap_or_default())))
            }
            (None, Some(machine)) if !is_ours => fault(info, machine, io.endpoint),
            _ => None,
        };
        connection.phase = Phase::Ended;
        connection.streams.clear();
        let at_ms = self.out.at_ms(io.now);
        self.out.event(key, &events::Event::Closed { at_ms, info: described(info, error) });
    }

    /// A connection that could not even begin.
    pub(super) fn tell_stillborn(&mut self, now: Timestamp, key: u32, error: NativeError) {
        let info = events::CloseInfo {
            by: "local",
            layer: "transport",
            error_code: JsonCode(0),
            code_name: "NO_ERROR".to_owned(),
            reason: error.facts().message.clone(),
            path: None,
            error: Some(error),
        };
        let at_ms = self.out.at_ms(now);
        self.out.event(key, &events::Event::Closed { at_ms, info });
    }
}

/// The code with which a peer is refused that JavaScript does not accept.
const BAD_CERTIFICATE: u64 = 0x12a;

/// The error of a peer that JavaScript refused.
fn unjudged(facts: &mut crate::error::Facts, reason: &str) {
    facts.code = "QB_TLS_CERTIFICATE";
    facts.message = format!("the peer's certificate was refused here by `verify`: {reason}");
}

fn close(machine: &mut Machine, now: Timestamp, closing: &Closing) {
    match closing.layer {
        CloseLayer::Application => machine.close(now, closing.code, closing.reason.as_bytes()),
        CloseLayer::Transport => machine.close_transport(now, ErrorCode(closing.code), &closing.reason),
    }
}

const fn by(info: &CloseInfo) -> &'static str {
    match info.by {
        ClosedBy::Local => "local",
        ClosedBy::Peer | ClosedBy::Version | ClosedBy::Unreachable => "peer",
        ClosedBy::IdleTimeout | ClosedBy::HandshakeTimeout => "timeout",
        ClosedBy::Reset => "reset",
    }
}

const fn layer(info: &CloseInfo) -> &'static str {
    match info.layer {
        Layer::Transport => "transport",
        Layer::Application => "application",
    }
}

/// The name of a code: the registered one, an alert's, or the number.
fn code_name(info: &CloseInfo) -> String {
    match (info.layer, info.code) {
        (Layer::Transport, code @ 0x100..=0x1ff) => format!("CRYPTO_ERROR ({})", alert_name(code & 0xff)),
        (Layer::Transport, code) => ErrorCode(code).name().map_or_else(|| format!("0x{code:x}"), str::to_owned),
        (Layer::Application, code) => format!("0x{code:x}"),
    }
}

fn described(info: &CloseInfo, error: Option<NativeError>) -> events::CloseInfo {
    events::CloseInfo {
        by: by(info),
        layer: layer(info),
        error_code: JsonCode(info.code),
        code_name: code_name(info),
        reason: info.reason.clone(),
        path: None,
        error,
    }
}

/// Why a connection ended; `None`: in order.
fn fault(info: &CloseInfo, machine: &Machine, endpoint: &Endpoint) -> Option<NativeError> {
    let name = code_name(info);
    let said = if info.reason.is_empty() { String::new() } else { format!(": {}", info.reason) };
    let remote = machine.paths().next().map(|path| remote_text(endpoint, path.four_tuple.remote)).unwrap_or_default();
    let who = if info.by == ClosedBy::Local { "this side" } else { "the peer" };
    let (code, message) = match (info.by, info.layer, info.code) {
        (ClosedBy::IdleTimeout, ..) => ("QB_IDLE_TIMEOUT", format!("nothing came from {remote} for the idle timeout; limits.keepAliveMs keeps a quiet connection, limits.idleTimeoutMs waits longer")),
        (ClosedBy::HandshakeTimeout, ..) => {
            let sent = machine.statistics().datagrams_sent;
            let got = machine.statistics().datagrams_received;
            ("QB_CONNECT_TIMEOUT", format!("no complete handshake with {remote} in time ({sent} datagrams sent, {got} received); check the address and the network, or raise limits.handshakeTimeoutMs"))
        }
        (ClosedBy::Unreachable, ..) => ("QB_CONNECT_REFUSED", format!("nobody listens at {remote} (ICMP: port unreachable); check the address and whether the server runs")),
        (ClosedBy::Version, ..) => ("QB_VERSION", format!("{remote} speaks no version of QUIC that is offered here; see the option versions")),
        (ClosedBy::Reset, ..) => ("QB_STATELESS_RESET", format!("{remote} has forgotten the connection (stateless reset); open a new one")),
        (_, Layer::Application, 0) => return None,
        (_, Layer::Application, code) => ("QB_APPLICATION_CLOSED", format!("the peer closed the connection with code 0x{code:x}{said}; the code is the application's")),
        (_, Layer::Transport, 0x2) => ("QB_CONNECT_REFUSED", format!("{remote} refused the connection (CONNECTION_REFUSED{said}); try again later or elsewhere")),
        (_, Layer::Transport, 0x10) => ("QB_NO_PATH", format!("the last path was lost{said}; open a new connection")),
        (ClosedBy::Local, Layer::Transport, 0x0) if info.reason.contains("multipath") => {
            ("QB_MULTIPATH_REFUSED", "the peer does not offer multipath; multipath: 'auto' connects without it".to_owned())
        }
        (_, Layer::Transport, 0x0) => return None,
        (_, Layer::Transport, 0x100..=0x1ff) => tls_fault(info, machine),
        _ => ("QB_TRANSPORT_CLOSED", format!("{who} closed the connection with {name}{said}; this is a bug of one of both ends")),
    };
    Some(NativeError::new(code, message).with(|facts| {
        facts.error_code = Some(JsonCode(info.code));
        facts.code_name = Some(name);
        facts.by = Some(by(info));
        facts.layer = Some(layer(info));
    }))
}

/// Why TLS ended the handshake.
fn tls_fault(info: &CloseInfo, machine: &Machine) -> (&'static str, String) {
    let alert = info.code & 0xff;
    if info.by == ClosedBy::Local
        && let Some(fault) = machine.tls().certificate_fault()
    {
        let hint = "pass `ca` or `pins` that fit it";
        return ("QB_TLS_CERTIFICATE", format!("the peer's certificate was refused here: {} ({}); {hint}", fault.name(), info.reason));
    }
    match alert {
        120 => ("QB_TLS_ALPN", format!("no common application protocol ({}); `alpn` of both sides must share a name", info.reason)),
        112 => ("QB_TLS_NAME", format!("the server has no certificate for that name ({}); set `serverName`", info.reason)),
        116 => ("QB_TLS_CLIENT_CERTIFICATE", "the server demands a certificate; pass `cert` and `key`".to_owned()),
        _ => {
            let who = if info.by == ClosedBy::Local { "sent" } else { "received" };
            ("QB_TLS_ALERT", format!("TLS alert {} was {who} ({}); see the other side's log", alert_name(alert), info.reason))
        }
    }
}

/// The name of a TLS alert (RFC 8446 §6).
const fn alert_name(alert: u64) -> &'static str {
    match alert {
        10 => "unexpected_message",
        20 => "bad_record_mac",
        40 => "handshake_failure",
        42 => "bad_certificate",
        43 => "unsupported_certificate",
        44 => "certificate_revoked",
        45 => "certificate_expired",
        46 => "certificate_unknown",
        47 => "illegal_parameter",
        48 => "unknown_ca",
        49 => "access_denied",
        50 => "decode_error",
        51 => "decrypt_error",
        70 => "protocol_version",
        71 => "insufficient_security",
        80 => "internal_error",
        90 => "user_canceled",
        109 => "missing_extension",
        110 => "unsupported_extension",
        112 => "unrecognized_name",
        115 => "unknown_psk_identity",
        116 => "certificate_required",
        120 => "no_application_protocol",
        _ => "unknown",
    }
}
