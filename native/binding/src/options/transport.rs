//! `NativeTransport`: timers, windows, schedulers, multipath.

use std::{sync::Arc, time::Duration};

use qcongestion::algorithm::Algorithm;
use qconnection::{AckPath, Multipath, Scheduler, Spin, TransportConfig, path::scheduler::Deadline};
use serde::Deserialize;

use super::{millis, traversal::Traversal, unavailable};
use crate::error::NativeError;

/// What the reserved version is made of; any would do.
const RESERVED: u32 = 0x1020_3040;

/// Options as they cross.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Transport {
    multipath: Option<String>,
    max_paths: Option<u32>,
    scheduler: Option<SchedulerChoice>,
    congestion: Option<String>,
    failover: Option<Failover>,
    versions: Option<Vec<String>>,
    first_version: Option<String>,
    max_datagram_frame_bytes: Option<u64>,
    ack_frequency: Option<bool>,
    spin: Option<String>,
    grease_quic_bit: Option<bool>,
    disable_active_migration: Option<bool>,
    hystart: Option<bool>,
    ack_path: Option<String>,
    /// JavaScript plans: `plan` events come.
    #[serde(default)]
    plans: bool,
    traversal: Option<Traversal>,
    limits: Limits,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SchedulerChoice {
    name: String,
    /// `deadline`: copies at most, as a share of all bytes.
    max_extra_ratio: Option<f64>,
    /// `deadline`: when a packet is late, milliseconds.
    deadline_ms: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Failover {
    max_stall_ms: Option<f64>,
    abandon_after_ms: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Limits {
    handshake_timeout_ms: Option<f64>,
    idle_timeout_ms: Option<f64>,
    keep_alive_ms: Option<f64>,
    bidirectional_streams: Option<u64>,
    unidirectional_streams: Option<u64>,
    stream_window_bytes: Option<u64>,
    max_stream_window_bytes: Option<u64>,
    connection_window_bytes: Option<u64>,
    max_connection_window_bytes: Option<u64>,
    send_buffer_bytes: u64,
    connection_send_buffer_bytes: u64,
    max_ack_delay_ms: Option<f64>,
    initial_mtu_bytes: Option<u16>,
    max_mtu_bytes: Option<u16>,
}

/// What both the machine and the engine need to know.
#[derive(Clone, Debug)]
pub struct TransportSettings {
    /// Of the machine.
    pub config: Arc<TransportConfig>,
    /// Unsent bytes of a stream that JavaScript accepts.
    pub send_buffer: u64,
    /// Unsent bytes of all streams together that JavaScript accepts.
    pub connection_send_buffer: u64,
    /// Who plans which path carries data.
    pub planner: Planner,
}

/// Who plans which path carries data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planner {
    /// The scheduler of the options, alone.
    Machine,
    /// A function of JavaScript's, which is asked now and then.
    JavaScript,
}

impl Transport {
    /// The machine's settings; absent options are its defaults.
    ///
    /// # Errors
    /// A name or number the engine has not.
    pub fn settings(&self) -> Result<TransportSettings, NativeError> {
        let limits = &self.limits;
        let default = TransportConfig::default();
        let duration = |field: &str, value: Option<f64>, default: Duration| {
            value.map_or(Ok(default), |value| millis(field, value))
        };
        let failover = self.failover.as_ref();
        let initial_mtu = limits.initial_mtu_bytes.unwrap_or(default.initial_mtu);
        let config = TransportConfig {
            idle_timeout: duration("limits.idleTimeoutMs", limits.idle_timeout_ms, default.idle_timeout)?,
            handshake_timeout: duration("limits.handshakeTimeoutMs", limits.handshake_timeout_ms, default.handshake_timeout)?,
            max_ack_delay: duration("limits.maxAckDelayMs", limits.max_ack_delay_ms, default.max_ack_delay)?,
            keep_alive: duration("limits.keepAliveMs", limits.keep_alive_ms, default.keep_alive)?,
            max_stall: duration("failover.maxStallMs", failover.and_then(|of| of.max_stall_ms), default.max_stall)?,
            abandon_after: duration("failover.abandonAfterMs", failover.and_then(|of| of.abandon_after_ms), default.abandon_after)?,
            initial_mtu: limits.max_mtu_bytes.map_or(initial_mtu, |max| initial_mtu.min(max)),
            max_mtu: limits.max_mtu_bytes.unwrap_or(default.max_mtu),
            loopback_mtu: limits.max_mtu_bytes.unwrap_or(default.loopback_mtu),
            stream_window: window(limits.stream_window_bytes, limits.max_stream_window_bytes, default.stream_window),
            max_stream_window: limits.max_stream_window_bytes.unwrap_or(default.max_stream_window),
            connection_window: window(limits.connection_window_bytes, limits.max_connection_window_bytes, default.connection_window),
            max_connection_window: limits.max_connection_window_bytes.unwrap_or(default.max_connection_window),
            bidirectional_streams: limits.bidirectional_streams.unwrap_or(default.bidirectional_streams),
            unidirectional_streams: limits.unidirectional_streams.unwrap_or(default.unidirectional_streams),
            send_buffer: usize::try_from(limits.send_buffer_bytes).unwrap_or(usize::MAX),
            // JavaScript fills the first half, which it counts by itself; TCP connections joined to streams go into what is left up to there.
            connection_send_buffer: usize::try_from(limits.connection_send_buffer_bytes.saturating_mul(2)).unwrap_or(usize::MAX),
            max_datagram_frame: self.max_datagram_frame_bytes.unwrap_or(default.max_datagram_frame),
            congestion: self.algorithm()?,
            ack_frequency: self.ack_frequency.unwrap_or(default.ack_frequency),
            scheduler: self.scheduler()?,
            ack_path: self.ack_path()?,
            multipath: self.multipath()?,
            max_paths: self.max_paths.unwrap_or(default.max_paths),
            spin: self.spin()?,
            grease_quic_bit: self.grease_quic_bit.unwrap_or(default.grease_quic_bit),
            disable_active_migration: self.disable_active_migration.unwrap_or(default.disable_active_migration),
            hystart: self.hystart.unwrap_or(default.hystart),
            traversal: self.traversal.as_ref().map(Traversal::settings),
            ..default
        };
        Ok(TransportSettings {
            config: Arc::new(config),
            send_buffer: limits.send_buffer_bytes,
            connection_send_buffer: limits.connection_send_buffer_bytes,
            planner: if self.plans { Planner::JavaScript } else { Planner::Machine },
        })
    }

    /// QUIC versions in order of preference; absent, all that the engine speaks.
    ///
    /// # Errors
    /// A name the engine has not.
    pub fn versions(&self) -> Result<Vec<u32>, NativeError> {
        let Some(names) = &self.versions else { return Ok(qbase::version::SPOKEN.to_vec()) };
        names.iter().map(|name| version(name).ok_or_else(|| unavailable("versions"))).collect()
    }

    /// Version of a client's first Initial, if it is not the first of [`Self::versions`].
    ///
    /// # Errors
    /// A name the engine has not.
    pub fn first_version(&self) -> Result<Option<u32>, NativeError> {
        match self.first_version.as_deref() {
            None => Ok(None),
            Some("reserved") => Ok(Some(qbase::version::reserved(RESERVED))),
            Some(name) => version(name).map(Some).ok_or_else(|| unavailable("firstVersion")),
        }
    }

    fn algorithm(&self) -> Result<Algorithm, NativeError> {
        let Some(name) = self.congestion.as_deref() else { return Ok(Algorithm::default()) };
        let known = Algorithm::ALL.into_iter().find(|algorithm| algorithm.name() == name);
        known.ok_or_else(|| unavailable("congestion"))
    }

    fn scheduler(&self) -> Result<Scheduler, NativeError> {
        let Some(choice) = &self.scheduler else { return Ok(Scheduler::default()) };
        let scheduler = Scheduler::from_name(&choice.name).ok_or_else(|| unavailable("scheduler"))?;
        let Scheduler::Deadline(default) = scheduler else { return Ok(scheduler) };
        let extra_permille = choice.max_extra_ratio.map_or(default.extra_permille, |ratio| (ratio.clamp(0.0, 1.0) * 1_000.0).round() as u16);
        let late_after = choice.deadline_ms.map(|value| millis("scheduler.deadlineMs", value)).transpose()?;
        Ok(Scheduler::Deadline(Deadline { extra_permille, late_after }))
    }

    fn ack_path(&self) -> Result<AckPath, NativeError> {
        match self.ack_path.as_deref() {
            None | Some("same") => Ok(AckPath::Same),
            Some("fastest") => Ok(AckPath::Fastest),
            Some(_) => Err(unavailable("ackPath")),
        }
    }

    fn spin(&self) -> Result<Spin, NativeError> {
        match self.spin.as_deref() {
            None => Ok(Spin::default()),
            Some("off") => Ok(Spin::Off),
            Some("random") => Ok(Spin::Random),
            Some("on") => Ok(Spin::On),
            Some(_) => Err(unavailable("spin")),
        }
    }

    fn multipath(&self) -> Result<Multipath, NativeError> {
        match self.multipath.as_deref() {
            None | Some("auto") => Ok(Multipath::Auto),
            Some("off") => Ok(Multipath::Off),
            Some("require") => Ok(Multipath::Require),
            Some("shared-space") => Ok(Multipath::SharedSpace),
            Some(_) => Err(unavailable("multipath")),
        }
    }
}

/// A version by its name.
fn version(name: &str) -> Option<u32> {
    match name {
        "v1" => Some(qbase::VERSION_1),
        "v2" => Some(qbase::VERSION_2),
        _ => None,
    }
}

/// The first window: what was asked for, and never more than its maximum.
fn window(first: Option<u64>, max: Option<u64>, default: u64) -> u64 {
    max.map_or(first.unwrap_or(default), |max| first.unwrap_or(default).min(max))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: &str = r#""sendBufferBytes":262144,"connectionSendBufferBytes":8388608"#;

    fn settings(fields: &str, limits: &str) -> Result<TransportSettings, NativeError> {
        let json = format!(r#"{{{fields}"limits":{{{limits}{LIMITS}}}}}"#);
        serde_json::from_str::<Transport>(&json).expect("options").settings()
    }

    #[test]
    fn absent_options_are_the_defaults_of_the_engine() {
        let (config, default) = (settings("", "").expect("settings").config, TransportConfig::default());
        assert_eq!((config.idle_timeout, config.stream_window), (default.idle_timeout, default.stream_window));
        assert_eq!((config.scheduler, config.congestion), (default.scheduler, default.congestion));
        assert_eq!((config.multipath, config.max_paths), (default.multipath, default.max_paths));
    }

    #[test]
    fn given_options_reach_the_machine() {
        let fields = r#""multipath":"require","maxPaths":2,"scheduler":{"name":"round-robin"},"congestion":"newreno","ackFrequency":false,"failover":{"maxStallMs":100},"#;
        let marks = settings(r#""spin":"on","greaseQuicBit":false,"disableActiveMigration":true,"hystart":false,"#, "").expect("settings").config;
        assert_eq!((marks.spin, marks.grease_quic_bit, marks.disable_active_migration, marks.hystart), (Spin::On, false, true, false));
        let limits = r#""idleTimeoutMs":1500.5,"keepAliveMs":250,"streamWindowBytes":70000,"maxStreamWindowBytes":65536,"#;
        let config = settings(fields, limits).expect("settings").config;
        assert_eq!((config.multipath, config.max_paths, config.scheduler), (Multipath::Require, 2, Scheduler::RoundRobin));
        assert_eq!((config.congestion, config.stream_window, config.max_stream_window), (Algorithm::NewReno, 65_536, 65_536));
        assert_eq!((config.idle_timeout, config.keep_alive), (Duration::from_micros(1_500_500), Duration::from_millis(250)));
        assert_eq!((config.max_stall, config.ack_frequency), (Duration::from_millis(100), false));
    }

    #[test]
    fn every_way_to_use_several_paths_has_its_name() {
        for (name, multipath) in [("auto", Multipath::Auto), ("off", Multipath::Off), ("require", Multipath::Require), ("shared-space", Multipath::SharedSpace)] {
            assert_eq!(settings(&format!(r#""multipath":"{name}","#), "").expect("settings").config.multipath, multipath);
        }
    }

    #[test]
    fn traversal_is_off_unless_it_is_asked_for() {
        assert!(settings("", "").expect("settings").config.traversal.is_none());
        let fields = r#""traversal":{"profile":"braid","auto":true,"ownStrategy":false,"portSearch":false,"privateTargets":"same-site","stun":[],"stunForm":"rfc5780"},"#;
        assert!(settings(fields, "").expect("settings").config.traversal.is_some());
    }

    #[test]
    fn javascript_plans_where_it_says_so() {
        assert_eq!(settings("", "").expect("settings").planner, Planner::Machine);
        assert_eq!(settings(r#""plans":true,"#, "").expect("settings").planner, Planner::JavaScript);
    }

    #[test]
    fn every_scheduler_of_the_engine_has_its_name_and_parameters() {
        for scheduler in Scheduler::ALL {
            let fields = format!(r#""scheduler":{{"name":"{}"}},"#, scheduler.name());
            assert_eq!(settings(&fields, "").expect("settings").config.scheduler, scheduler);
        }
        let fields = r#""scheduler":{"name":"deadline","maxExtraRatio":0.1,"deadlineMs":40},"ackPath":"fastest","#;
        let config = settings(fields, "").expect("settings").config;
        let deadline = Deadline { extra_permille: 100, late_after: Some(Duration::from_millis(40)) };
        assert_eq!((config.scheduler, config.ack_path), (Scheduler::Deadline(deadline), AckPath::Fastest));
    }

    #[test]
    fn every_congestion_controller_of_the_engine_has_its_name() {
        for algorithm in Algorithm::ALL {
            let fields = format!(r#""congestion":"{}","#, algorithm.name());
            assert_eq!(settings(&fields, "").expect("settings").config.congestion, algorithm);
        }
    }

    #[test]
    fn what_the_engine_has_not_is_refused() {
        for (fields, limits, field) in [
            (r#""scheduler":{"name":"best"},"#, "", "scheduler"),
            (r#""congestion":"vegas","#, "", "congestion"),
            (r#""ackPath":"other","#, "", "ackPath"),
            (r#""multipath":"other","#, "", "multipath"),
            ("", r#""idleTimeoutMs":-1,"#, "limits.idleTimeoutMs"),
        ] {
            assert_eq!(settings(fields, limits).expect_err("refused").facts().field.as_deref(), Some(field));
        }
    }
}
