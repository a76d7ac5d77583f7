//! What a scheduler of JavaScript's sees and answers: `NativeSchedulerView`, `NativePlan`, `NativePick`.
//!
//! Decides nothing but units: weights cross as they are given, the machine has them in thousandths.

use std::time::Duration;

use qbase::{PathId, StreamId, Timestamp, frame::PathStatusKind};
use qconnection::{
    PathView,
    path::{
        PathState,
        scheduler::{DEFAULT_WEIGHT, Demand, SchedulerPlan},
    },
};
use serde::{Deserialize, Serialize};

use super::PathUse;
use crate::options::millis;

/// A weight of JavaScript's as the machine has it; nonsense is the default.
#[must_use]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
pub fn weight(given: f64) -> u32 {
    let unit = f64::from(DEFAULT_WEIGHT);
    if given.is_finite() { (given * unit).round().clamp(1.0, 1_000.0 * unit) as u32 } else { DEFAULT_WEIGHT }
}

/// A weight of the machine's as JavaScript gave it.
#[must_use]
pub fn told_weight(weight: u32) -> f64 {
    f64::from(weight) / f64::from(DEFAULT_WEIGHT)
}

/// What a scheduler sees.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct View {
    pub now_ms: f64,
    pub paths: Vec<PathInView>,
    pub queued_bytes: u64,
    pub connection_credit_bytes: u64,
    pub retransmit_bytes: u64,
}

/// One path as a scheduler sees it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PathInView {
    pub id: u32,
    pub status: PathUse,
    pub peer_status: &'static str,
    pub suspect: bool,
    pub smoothed_rtt_ms: f64,
    pub rttvar_ms: f64,
    pub congestion_window_bytes: u64,
    pub bytes_in_flight: u64,
    pub room_bytes: u64,
    pub delivery_rate_bits_per_sec: f64,
    pub loss_rate: f64,
    pub weight: f64,
}

impl View {
    /// What is known now. Paths that cannot carry data are left out.
    pub fn of(now_ms: f64, paths: impl Iterator<Item = (PathView, u64)>, demand: Demand) -> Self {
        // Until the peer's address is proved there is only path 0.
        let is_usable = |path: &PathView| path.state == PathState::Open || (path.id == PathId::ZERO && path.state == PathState::Validating);
        Self {
            now_ms,
            paths: paths.filter(|(path, _)| is_usable(path)).map(|(path, room)| PathInView::of(&path, room)).collect(),
            queued_bytes: demand.queued,
            connection_credit_bytes: demand.credit,
            retransmit_bytes: demand.again,
        }
    }
}

impl PathInView {
    fn of(path: &PathView, room: u64) -> Self {
        let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
        let sent = path.counters.packets_sent.max(1) as f64;
        Self {
            id: path.id.0,
            status: path.status.into(),
            peer_status: peer_status(path.peer_status),
            suspect: path.suspect_since.is_some(),
            smoothed_rtt_ms: ms(path.smoothed_rtt),
            rttvar_ms: ms(path.rttvar),
            congestion_window_bytes: path.congestion_window,
            bytes_in_flight: path.bytes_in_flight,
            room_bytes: room,
            delivery_rate_bits_per_sec: delivery_rate(path),
            loss_rate: (path.counters.packets_lost as f64 / sent).min(1.0),
            weight: told_weight(path.weight),
        }
    }
}

/// What the peer said of a path, in a word.
#[must_use]
pub const fn peer_status(status: Option<PathStatusKind>) -> &'static str {
    match status {
        None => "unknown",
        Some(PathStatusKind::Available) => "available",
        Some(PathStatusKind::Backup) => "backup",
    }
}

/// Bits per second; until it is measured: window per round trip.
#[must_use]
pub fn delivery_rate(path: &PathView) -> f64 {
    let seconds = path.smoothed_rtt.as_secs_f64();
    let window_rate = if seconds > 0.0 { path.congestion_window as f64 * 8.0 / seconds } else { 0.0 };
    path.delivery_rate.map_or(window_rate, |rate| rate as f64 * 8.0)
}

/// What a scheduler planned; JavaScript has checked it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    order: Vec<u32>,
    #[serde(default)]
    weights: Vec<(u32, f64)>,
    #[serde(default)]
    duplicate_on: Vec<u32>,
    #[serde(default)]
    pins: Vec<(u64, u32)>,
    reinject_after_ms: Option<f64>,
    reason: String,
}

impl From<Plan> for SchedulerPlan {
    fn from(plan: Plan) -> Self {
        let paths = |list: Vec<u32>| list.into_iter().map(PathId).collect();
        Self {
            order: paths(plan.order),
            weights: plan.weights.into_iter().map(|(path, given)| (PathId(path), weight(given))).collect(),
            duplicate_on: paths(plan.duplicate_on),
            pins: plan.pins.into_iter().map(|(stream, path)| (StreamId(stream), PathId(path))).collect(),
            // A time that is none is left out.
            reinject_after: plan.reinject_after_ms.and_then(|value| millis("reinjectAfterMs", value).ok()),
            reason: plan.reason,
        }
    }
}

/// What a scheduler picked for one burst; JavaScript has checked it.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
pub enum Pick {
    /// This path.
    Path {
        /// Which.
        path: u32,
        /// Paths that get copies.
        #[serde(default)]
        duplicate_on: Vec<u32>,
        /// In words.
        reason: String,
    },
    /// None for so long.
    Wait {
        /// How long, at most.
        wait_ms: f64,
        /// In words.
        reason: String,
    },
    /// It could not choose.
    Fallback {
        /// Why, in words.
        fallback: String,
    },
}

impl Pick {
    /// As the machine takes it, with the words and the paths that get copies.
    #[must_use]
    pub fn decided(self, now: Timestamp) -> (qconnection::path::scheduler::Pick, String, Vec<PathId>) {
        use qconnection::path::scheduler::Pick as Decided;
        match self {
            Self::Path { path, duplicate_on, reason } => (Decided::Send(PathId(path)), reason, duplicate_on.into_iter().map(PathId).collect()),
            Self::Wait { wait_ms, reason } => (Decided::Wait(now + millis("waitMs", wait_ms).unwrap_or_default()), reason, Vec::new()),
            Self::Fallback { fallback } => (Decided::Fallback, fallback, Vec::new()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_are_read_as_javascript_writes_them() {
        let json = r#"{"order":[1,0],"weights":[[1,0.5],[0,2]],"duplicateOn":[0],"pins":[[4,1]],"reinjectAfterMs":2.5,"reason":"why not"}"#;
        let plan: SchedulerPlan = serde_json::from_str::<Plan>(json).expect("plan").into();
        assert_eq!((plan.order, plan.weights), (vec![PathId(1), PathId(0)], vec![(PathId(1), 500), (PathId(0), 2_000)]));
        assert_eq!((plan.duplicate_on, plan.pins), (vec![PathId(0)], vec![(StreamId(4), PathId(1))]));
        assert_eq!((plan.reinject_after, plan.reason.as_str()), (Some(Duration::from_micros(2_500)), "why not"));
        let least: SchedulerPlan = serde_json::from_str::<Plan>(r#"{"order":[],"reason":""}"#).expect("plan").into();
        assert_eq!(least, SchedulerPlan::default());
    }

    #[test]
    fn picks_are_read_as_javascript_writes_them() {
        use qconnection::path::scheduler::Pick as Decided;
        let read = |json: &str| serde_json::from_str::<Pick>(json).expect("pick").decided(Timestamp::from_millis(10));
        assert_eq!(read(r#"{"path":3,"duplicateOn":[1],"reason":"a"}"#), (Decided::Send(PathId(3)), "a".to_owned(), vec![PathId(1)]));
        assert_eq!(read(r#"{"waitMs":5,"reason":"b"}"#), (Decided::Wait(Timestamp::from_millis(15)), "b".to_owned(), Vec::new()));
        assert_eq!(read(r#"{"fallback":"it threw"}"#), (Decided::Fallback, "it threw".to_owned(), Vec::new()));
        assert!(serde_json::from_str::<Pick>(r#"{"reason":"neither"}"#).is_err());
    }

    #[test]
    fn weights_are_thousandths_within_bounds() {
        assert_eq!([weight(1.0), weight(0.0), weight(-3.0), weight(1e9), weight(f64::NAN)], [1_000, 1, 1, 1_000_000, 1_000]);
        assert!((told_weight(weight(2.5)) - 2.5).abs() < 1e-9);
    }
}
