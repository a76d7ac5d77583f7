//! What changed about the paths of a connection since its log last spoke of them: addresses, connection ids, validation,
//! recovery, congestion, ECN, MTU, timers (draft-ietf-quic-qlog-quic-events, Connectivity and Recovery events).
//!
//! Called with the other facts. Every path is a tuple of qlog: path 0 has the empty name, others their path id.

use super::{Log, super::{Connection, events::{Cause, PathEvent, PathEventKind}}};
use crate::path::{Network, ecn::EcnState};
use qbase::{ConnectionId, FourTuple, PathId, StandIn, Timestamp};
use qcongestion::controller::Phase;
use qevent::qlog::Json;
use std::{net::SocketAddr, time::Duration};

/// What the log said last of a path.
#[derive(Clone, Copy, Debug)]
pub(super) struct PathSeen {
    path: PathId,
    four_tuple: Option<FourTuple>,
    remote_cid: Option<ConnectionId>,
    mtu: Option<u16>,
    ecn: Option<EcnState>,
    phase: Option<Phase>,
    metrics: Metrics,
    loss_at: Option<Timestamp>,
    pto_at: Option<Timestamp>,
}

/// What recovery knows (RFC 9002); `None`: not told, or nothing known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Metrics {
    min_rtt: Option<Duration>,
    smoothed_rtt: Option<Duration>,
    latest_rtt: Option<Duration>,
    rtt_variance: Option<Duration>,
    pto_count: Option<u64>,
    congestion_window: Option<u64>,
    bytes_in_flight: Option<u64>,
    ssthresh: Option<u64>,
    /// Bits per second.
    pacing_rate: Option<u64>,
}

impl Metrics {
    fn of(network: &Network, bytes_in_flight: u64) -> Self {
        let rtt = |value: Duration| network.rtt.first_sample_at().map(|_| value);
        let ssthresh = network.controller.ssthresh();
        Self {
            min_rtt: rtt(network.rtt.min()),
            smoothed_rtt: rtt(network.rtt.smoothed()),
            latest_rtt: rtt(network.rtt.latest()),
            rtt_variance: rtt(network.rtt.rttvar()),
            pto_count: Some(u64::from(network.pto_count)),
            congestion_window: Some(network.controller.window()),
            bytes_in_flight: Some(bytes_in_flight),
            ssthresh: (ssthresh != u64::MAX).then_some(ssthresh),
            pacing_rate: network.controller.pacing_rate().map(|bytes| bytes.saturating_mul(8)),
        }
    }

    /// The members that differ from what was told.
    fn write(&self, json: &mut Json, told: &Self) {
        let times = [
            ("min_rtt", self.min_rtt, told.min_rtt),
            ("smoothed_rtt", self.smoothed_rtt, told.smoothed_rtt),
            ("latest_rtt", self.latest_rtt, told.latest_rtt),
            ("rtt_variance", self.rtt_variance, told.rtt_variance),
        ];
        for (name, time, told) in times {
            if let Some(time) = time.filter(|_| time != told) {
                json.key(name).millis(time);
            }
        }
        let numbers = [
            ("pto_count", self.pto_count, told.pto_count),
            ("congestion_window", self.congestion_window, told.congestion_window),
            ("bytes_in_flight", self.bytes_in_flight, told.bytes_in_flight),
            ("ssthresh", self.ssthresh, told.ssthresh),
            ("pacing_rate", self.pacing_rate, told.pacing_rate),
        ];
        for (name, number, told) in numbers {
            if let Some(number) = number.filter(|_| number != told) {
                json.key(name).number(number);
            }
        }
    }
}

impl Connection {
    /// News of paths, then each path in use, then paths that are gone.
    pub(super) fn log_paths(&self, log: &mut Log, now: Timestamp) {
        for event in std::mem::take(&mut log.news) {
            news(log, now, &event);
        }
        for entry in self.paths.iter() {
            let Some(network) = entry.network.as_deref() else { continue };
            let at = log.paths.iter().position(|seen| seen.path == entry.id);
            let mut seen = at.and_then(|at| log.paths.get(at).copied()).unwrap_or(PathSeen::new(entry.id));
            let remote_cid = entry.remote_cids.active();
            network_facts(log, now, &mut seen, network, remote_cid);
            recovery_facts(log, now, &mut seen, network, self.bytes_in_flight(entry.id));
            let (loss_at, pto_at) = self.loss_timers(entry.id, network);
            timer(log, now, entry.id, "loss_timeout", &mut seen.loss_at, loss_at);
            timer(log, now, entry.id, "pto", &mut seen.pto_at, pto_at);
            match at.and_then(|at| log.paths.get_mut(at)) {
                Some(place) => *place = seen,
                None => log.paths.push(seen),
            }
        }
        while let Some(at) = log.paths.iter().position(|seen| self.network(seen.path).is_none()) {
            let gone = log.paths.swap_remove(at).path;
            log.out.event(now, Some(gone), "quic:tuple_assigned", |json| json.key("tuple_id").text(&tuple(gone)));
        }
    }

    /// When the loss timer of a path fires and when its PTO, in whatever space.
    fn loss_timers(&self, path: PathId, network: &Network) -> (Option<Timestamp>, Option<Timestamp>) {
        let live = self.paths.get(path).is_some_and(|entry| entry.is_live());
        let handshake = [&self.initial, &self.handshake].into_iter().flatten().filter(|_| path == PathId::ZERO).filter_map(|space| space.space.loss_time).min();
        let loss_at = Timestamp::earliest(network.space.loss_time.filter(|_| live), handshake);
        (loss_at, self.pto_at(path).filter(|_| live).map(|(at, _)| at))
    }
}

impl PathSeen {
    fn new(path: PathId) -> Self {
        Self { path, four_tuple: None, remote_cid: None, mtu: None, ecn: None, phase: None, metrics: Metrics::default(), loss_at: None, pto_at: None }
    }
}

/// Addresses, connection id, MTU, ECN.
fn network_facts(log: &mut Log, now: Timestamp, seen: &mut PathSeen, network: &Network, remote_cid: Option<ConnectionId>) {
    let path = seen.path;
    if seen.four_tuple.replace(network.four_tuple) != Some(network.four_tuple) {
        log.out.event(now, Some(path), "quic:tuple_assigned", |json| {
            json.key("tuple_id").text(&tuple(path));
            end(json, "tuple_remote", network.four_tuple.remote, remote_cid);
            end(json, "tuple_local", network.four_tuple.local, None);
        });
    }
    let old = std::mem::replace(&mut seen.remote_cid, remote_cid);
    if let Some(new) = remote_cid.filter(|_| old != remote_cid) {
        log.out.event(now, Some(path), "quic:connection_id_updated", |json| {
            json.key("initiator").text("remote");
            if let Some(old) = old {
                json.key("old").hex(old.as_bytes());
            }
            json.key("new").hex(new.as_bytes());
        });
    }
    let mtu = network.mtu();
    let old = seen.mtu.replace(mtu);
    if old.is_some_and(|old| old != mtu) {
        log.out.event(now, Some(path), "quic:mtu_updated", |json| {
            json.key("old").number(u64::from(old.unwrap_or_default()));
            json.key("new").number(u64::from(mtu));
        });
    }
    let ecn = network.ecn.state();
    let old = seen.ecn.replace(ecn);
    if old != Some(ecn) {
        log.out.event(now, Some(path), "quic:ecn_state_updated", |json| {
            if let Some(old) = old {
                json.key("old").text(ecn_name(old));
            }
            json.key("new").text(ecn_name(ecn));
        });
    }
}

/// RTT, windows, phase of the controller.
fn recovery_facts(log: &mut Log, now: Timestamp, seen: &mut PathSeen, network: &Network, bytes_in_flight: u64) {
    let path = seen.path;
    let metrics = Metrics::of(network, bytes_in_flight);
    let told = std::mem::replace(&mut seen.metrics, metrics);
    if told != metrics {
        log.out.event(now, Some(path), "quic:recovery_metrics_updated", |json| metrics.write(json, &told));
    }
    let phase = network.controller.phase();
    let old = seen.phase.replace(phase);
    if old != Some(phase) {
        log.out.event(now, Some(path), "quic:congestion_state_updated", |json| {
            if let Some(old) = old {
                json.key("old").text(phase_name(old));
            }
            json.key("new").text(phase_name(phase));
        });
    }
}

/// A timer of a path was set, moved, or ended.
fn timer(log: &mut Log, now: Timestamp, path: PathId, name: &str, seen: &mut Option<Timestamp>, at: Option<Timestamp>) {
    let old = std::mem::replace(seen, at);
    if old == at {
        return;
    }
    let mut tell = |what: &str, delta: Option<Duration>| {
        log.out.event(now, Some(path), "quic:timer_updated", |json| {
            json.key("timer_type").text(name);
            json.key("timer_id").number(u64::from(path.0));
            json.key("event_type").text(what);
            if let Some(delta) = delta {
                json.key("delta").millis(delta);
            }
        });
    };
    if old.is_some_and(|old| old <= now) {
        tell("expired", None);
    } else if old.is_some() && at.is_none() {
        tell("cancelled", None);
    }
    if let Some(at) = at {
        tell("set", Some(at.saturating_since(now)));
    }
}

/// What happened to a path, in the states of the schema where it has one, else in words.
fn news(log: &mut Log, now: Timestamp, event: &PathEvent) {
    let path = event.path;
    let state = match event.kind {
        PathEventKind::Opening(_) => Some("probing_started"),
        PathEventKind::Validated => Some("probing_successful"),
        PathEventKind::Failed(_) => Some("probing_abandoned"),
        PathEventKind::Rebound(_) => Some("migration_started"),
        // Of a peer's move only its answer tells whether it is complete.
        PathEventKind::Migrated(_) if event.by == Cause::Peer => Some("migration_started"),
        PathEventKind::Migrated(_) => Some("migration_complete"),
        PathEventKind::MigrationFailed(_) => Some("migration_abandoned"),
        // Stands in mtu_updated.
        PathEventKind::Mtu(_) => return,
        _ => None,
    };
    let initiator = match event.by {
        Cause::Local => "local",
        Cause::Peer => "remote",
        Cause::Timer => "timer",
    };
    match state {
        Some(state) => log.out.event(now, Some(path), "quic:migration_state_updated", |json| {
            json.key("new").text(state);
            json.key("tuple_id").text(&tuple(path));
            json.key("initiator").text(initiator);
            json.key("reason").text(event.reason);
        }),
        None => log.out.event(now, Some(path), "loglevel:info", |json| {
            json.key("message").text(&format!("path {}: {:?}, {} ({initiator})", path.0, event.kind, event.reason));
        }),
    }
}

/// The name of a path's tuple.
fn tuple(path: PathId) -> String {
    if path == PathId::ZERO { String::new() } else { path.0.to_string() }
}

/// An address under `key`, with the connection id that packets to it carry. One that stands for a way through a relay means
/// nothing to a reader and is left out.
pub(super) fn end(json: &mut Json, key: &str, address: SocketAddr, cid: Option<ConnectionId>) {
    json.key(key).object(|json| {
        if StandIn::of(address).is_none() {
            let (ip, port) = if address.is_ipv4() { ("ip_v4", "port_v4") } else { ("ip_v6", "port_v6") };
            json.key(ip).text(&address.ip().to_string());
            json.key(port).number(u64::from(address.port()));
        }
        if let Some(cid) = cid {
            json.key("connection_ids").list(|json| json.hex(cid.as_bytes()));
        }
    });
}

const fn ecn_name(state: EcnState) -> &'static str {
    match state {
        EcnState::Testing => "testing",
        EcnState::Unknown => "unknown",
        EcnState::Capable => "capable",
        EcnState::Failed => "failed",
    }
}

const fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::SlowStart => "slow_start",
        Phase::Recovery => "recovery",
        Phase::CongestionAvoidance => "congestion_avoidance",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changed_is_told() {
        let told = Metrics { pto_count: Some(0), bytes_in_flight: Some(10), ..Metrics::default() };
        let metrics = Metrics { bytes_in_flight: Some(20), min_rtt: Some(Duration::from_micros(1_500)), ..told };
        let mut json = Json::default();
        json.object(|json| metrics.write(json, &told));
        assert_eq!(String::from_utf8(json.into_bytes()).expect("UTF-8"), r#"{"min_rtt":1.5,"bytes_in_flight":20}"#);
    }

    #[test]
    fn addresses_that_stand_for_ways_through_relays_are_left_out() {
        let host = SocketAddr::from(([192, 0, 2, 1], 443));
        let written = |address| {
            let mut json = Json::default();
            json.object(|json| end(json, "remote", address, None));
            String::from_utf8(json.into_bytes()).expect("UTF-8")
        };
        assert_eq!(written(host), r#"{"remote":{"ip_v4":"192.0.2.1","port_v4":443}}"#);
        assert_eq!(written(StandIn { number: 1, header: 26 }.address(host)), r#"{"remote":{}}"#);
    }
}
