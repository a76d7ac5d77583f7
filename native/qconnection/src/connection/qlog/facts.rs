//! What changed about a connection since its log last spoke of it: version, keys, parameters, state, end
//! (draft-ietf-quic-qlog-quic-events, Connectivity and Security events).
//!
//! Called before and after packets, and when timers have run. Keys are told by their place, never by their bytes.

use super::{Log, paths};
use super::super::{
    Connection, State,
    events::{CloseInfo, ClosedBy, Layer},
};
use qbase::{PathId, Timestamp};
use qevent::qlog::{Json, frame::transport_error, parameters};

/// What the log said last.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    version: Option<u32>,
    /// Keys of Initial, Handshake, 0-RTT and 1-RTT packets.
    keys: [bool; 4],
    key_updates: u64,
    peer_parameters: bool,
    complete: bool,
    state: Option<&'static str>,
}

/// Secrets of each place in [`Seen::keys`].
const SECRETS: [&[&str]; 4] = [
    &["client_initial_secret", "server_initial_secret"],
    &["client_handshake_secret", "server_handshake_secret"],
    &["client_0rtt_secret"],
    &["client_1rtt_secret", "server_1rtt_secret"],
];

impl Connection {
    /// What every log begins with.
    pub(super) fn log_beginning(&self, log: &mut Log, now: Timestamp) {
        if let Some(network) = self.network(PathId::ZERO) {
            let four_tuple = network.four_tuple;
            log.out.event(now, None, "quic:connection_started", |json| {
                paths::end(json, "local", four_tuple.local, Some(self.cids.local));
                paths::end(json, "remote", four_tuple.remote, self.cids.remote);
            });
        }
        let mut ours = self.config.parameters();
        ours.initial_source_connection_id = Some(self.cids.local);
        ours.initial_max_data = self.reserved_window;
        if !self.role.is_client() {
            ours.original_destination_connection_id = Some(self.cids.original_dcid);
            ours.retry_source_connection_id = self.cids.retry;
        }
        log.out.event(now, None, "quic:parameters_set", |json| {
            json.key("initiator").text("local");
            parameters::members(json, &ours);
        });
        if let Some(network) = self.network(PathId::ZERO) {
            log.out.event(now, None, "quic:recovery_parameters_set", |json| {
                json.key("reordering_threshold").number(network.reordering.packet_threshold());
                json.key("timer_granularity").number(1);
                json.key("initial_rtt").millis(self.config.initial_rtt);
                json.key("max_datagram_size").number(u64::from(network.mtu()));
                json.key("initial_congestion_window").number(network.controller.window());
                json.key("congestion_control").text(network.controller.name());
            });
        }
    }

    /// Tells the log what changed.
    pub(in crate::connection) fn log_facts(&mut self, now: Timestamp) {
        let Some(mut log) = self.qlog.take() else { return };
        self.log_version(&mut log, now);
        self.log_keys(&mut log, now);
        self.log_handshake(&mut log, now);
        self.log_paths(&mut log, now);
        self.log_state(&mut log, now);
        self.qlog = Some(log);
    }

    fn log_version(&self, log: &mut Log, now: Timestamp) {
        if log.seen.version.replace(self.version) == Some(self.version) {
            return;
        }
        log.out.event(now, None, "quic:version_information", |json| {
            json.key(if self.role.is_client() { "client_versions" } else { "server_versions" }).list(|json| {
                self.versions.ours.iter().for_each(|version| json.hex(&version.to_be_bytes()));
            });
            json.key("chosen_version").hex(&self.version.to_be_bytes());
        });
    }

    fn log_keys(&self, log: &mut Log, now: Timestamp) {
        let early = self.early.as_ref().is_some_and(|early| early.keys.is_some());
        let keys = [self.initial.is_some(), self.handshake.is_some(), early, self.application.is_some()];
        let before = std::mem::replace(&mut log.seen.keys, keys);
        for ((had, has), secrets) in before.into_iter().zip(keys).zip(SECRETS) {
            if had == has {
                continue;
            }
            let name = if has { "quic:key_updated" } else { "quic:key_discarded" };
            for secret in secrets {
                log.out.event(now, None, name, |json| {
                    json.key("key_type").text(secret);
                    json.key("trigger").text("tls");
                });
            }
        }
        let updates = self.counters.key_updates;
        if std::mem::replace(&mut log.seen.key_updates, updates) == updates {
            return;
        }
        for secret in ["client_1rtt_secret", "server_1rtt_secret"] {
            log.out.event(now, None, "quic:key_updated", |json| {
                json.key("key_type").text(secret);
                json.key("key_phase").number(updates);
            });
        }
    }

    fn log_handshake(&self, log: &mut Log, now: Timestamp) {
        if self.counters.has_peer_parameters && !std::mem::replace(&mut log.seen.peer_parameters, true) {
            log.out.event(now, None, "quic:parameters_set", |json| {
                json.key("initiator").text("remote");
                parameters::members(json, &self.peer_parameters);
            });
        }
        if self.handshake_complete && !std::mem::replace(&mut log.seen.complete, true) {
            if let Some(alpn) = self.tls.alpn() {
                log.out.event(now, None, "quic:alpn_information", |json| {
                    json.key("chosen_alpn").object(|json| match std::str::from_utf8(alpn) {
                        Ok(text) => json.key("string_value").text(text),
                        Err(_) => json.key("byte_value").hex(alpn),
                    });
                });
            }
            log.out.event(now, None, "quic:parameters_set", |json| {
                json.key("initiator").text(if self.role.is_client() { "remote" } else { "local" });
                json.key("tls_cipher").text(self.tls.cipher_name());
            });
            let old = log.seen.state.replace("handshake_complete");
            state(log, now, old, "handshake_complete");
        }
    }

    fn log_state(&self, log: &mut Log, now: Timestamp) {
        let name = match self.state {
            State::Closing => "closing",
            State::Draining => "draining",
            State::Drained => "closed",
            State::Handshaking | State::Open if self.confirmed => "handshake_confirmed",
            State::Handshaking | State::Open if self.handshake_complete => "handshake_complete",
            State::Handshaking | State::Open if self.handshake.is_some() => "handshake_started",
            State::Handshaking | State::Open => "attempted",
        };
        if let Some(info) = log.closed.take() {
            log.out.event(now, None, "quic:connection_closed", |json| closed(json, &info));
        }
        let old = log.seen.state.replace(name);
        if old != Some(name) {
            state(log, now, old, name);
        }
    }
}

fn state(log: &mut Log, now: Timestamp, old: Option<&str>, new: &str) {
    log.out.event(now, None, "quic:connection_state_updated", |json| {
        if let Some(old) = old {
            json.key("old").text(old);
        }
        json.key("new").text(new);
    });
}

/// Members of `connection_closed`.
fn closed(json: &mut Json, info: &CloseInfo) {
    let initiator = match info.by {
        ClosedBy::Peer | ClosedBy::Reset => "remote",
        ClosedBy::Local | ClosedBy::IdleTimeout | ClosedBy::HandshakeTimeout | ClosedBy::Version | ClosedBy::Unreachable => "local",
    };
    json.key("initiator").text(initiator);
    let told = matches!(info.by, ClosedBy::Local | ClosedBy::Peer);
    match info.layer {
        Layer::Transport if told => transport_error(json, "connection_error", info.code),
        Layer::Application if told => {
            json.key("application_error").text("unknown");
            json.key("error_code").number(info.code);
        }
        Layer::Transport | Layer::Application => {}
    }
    if !info.reason.is_empty() {
        json.key("reason").text(&info.reason);
    }
    json.key("trigger").text(match info.by {
        ClosedBy::IdleTimeout => "idle_timeout",
        ClosedBy::HandshakeTimeout | ClosedBy::Unreachable => "aborted",
        ClosedBy::Reset => "stateless_reset",
        ClosedBy::Version => "version_mismatch",
        ClosedBy::Local | ClosedBy::Peer if info.layer == Layer::Application => "application",
        ClosedBy::Local | ClosedBy::Peer if info.code == qbase::ErrorCode::NO_ERROR.0 => "unspecified",
        ClosedBy::Local | ClosedBy::Peer => "error",
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(by: ClosedBy, layer: Layer, code: u64, reason: &str) -> String {
        let mut json = Json::default();
        json.object(|json| closed(json, &CloseInfo { by, layer, code, frame_type: None, reason: reason.to_owned() }));
        String::from_utf8(json.into_bytes()).expect("UTF-8")
    }

    #[test]
    fn ends_are_told_in_the_words_of_the_schema() {
        let cases = [
            (written(ClosedBy::IdleTimeout, Layer::Transport, 0, "silence"), r#"{"initiator":"local","reason":"silence","trigger":"idle_timeout"}"#),
            (written(ClosedBy::Reset, Layer::Transport, 0, ""), r#"{"initiator":"remote","trigger":"stateless_reset"}"#),
            (written(ClosedBy::Peer, Layer::Application, 7, ""), r#"{"initiator":"remote","application_error":"unknown","error_code":7,"trigger":"application"}"#),
            (written(ClosedBy::Local, Layer::Transport, 3, "x"), r#"{"initiator":"local","connection_error":"flow_control_error","reason":"x","trigger":"error"}"#),
            (written(ClosedBy::Peer, Layer::Transport, 0x128, ""), r#"{"initiator":"remote","connection_error":"crypto_error_0x128","trigger":"error"}"#),
        ];
        for (text, expected) in cases {
            assert_eq!(text, expected);
        }
    }
}
