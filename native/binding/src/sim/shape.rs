//! `NativeLinkShape`: qualities of links, checked here once more for what the lanes take for granted.

use std::time::Duration;

use qsim::{
    EcnTreatment, LinkShape, LossModel, Queue, Reorder,
    link::{CoDelLaw, RateTrace, loss::GilbertElliott},
};
use serde::Deserialize;

use crate::{error::NativeError, options::millis};

/// Qualities as they cross; what is absent is perfect.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Shape {
    delay_ms: Option<f64>,
    jitter_ms: Option<f64>,
    rate_bits_per_sec: Option<f64>,
    rate_trace: Option<Vec<RatePoint>>,
    queue: Option<QueueKind>,
    loss: Option<Loss>,
    duplicate: Option<f64>,
    corrupt: Option<f64>,
    reorder: Option<ReorderKind>,
    mtu_bytes: Option<usize>,
    ecn_mark: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RatePoint {
    at_ms: f64,
    bits_per_sec: f64,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum QueueKind {
    TailDrop {
        bytes: u64,
    },
    #[serde(rename_all = "camelCase")]
    CoDel {
        target_ms: Option<f64>,
        interval_ms: Option<f64>,
        bytes: Option<u64>,
    },
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Loss {
    Share(f64),
    Model(Model),
}

#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
enum Model {
    #[serde(rename_all = "camelCase")]
    GilbertElliott {
        good_to_bad: f64,
        bad_to_good: f64,
        loss_good: Option<f64>,
        loss_bad: Option<f64>,
    },
    List {
        drop: Vec<u64>,
    },
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReorderKind {
    probability: f64,
    by_ms: f64,
}

impl Shape {
    /// As the links take it.
    ///
    /// # Errors
    /// QB_OPTION_INVALID: a number out of its range.
    pub fn read(self) -> Result<LinkShape, NativeError> {
        let default = LinkShape::default();
        let time = |field: &str, value: Option<f64>| value.map_or(Ok(Duration::ZERO), |value| millis(field, value));
        Ok(LinkShape {
            delay: time("delayMs", self.delay_ms)?,
            jitter: time("jitterMs", self.jitter_ms)?,
            rate_bits_per_sec: self.rate_bits_per_sec.map(|rate| bits("rateBitsPerSec", rate)).transpose()?,
            rate_trace: self.rate_trace.map(trace).transpose()?,
            queue: self.queue.map_or(Ok(default.queue), queue)?,
            loss: self.loss.map_or(Ok(default.loss), loss)?,
            duplicate: share("duplicate", self.duplicate)?,
            corrupt: share("corrupt", self.corrupt)?,
            reorder: self.reorder.map(reorder).transpose()?,
            mtu: self.mtu_bytes.unwrap_or(default.mtu),
            ecn: if self.ecn_mark == Some(true) { EcnTreatment::Mark } else { EcnTreatment::Pass },
            ..LinkShape::default()
        })
    }
}

fn share(field: &str, value: Option<f64>) -> Result<f64, NativeError> {
    let value = value.unwrap_or(0.0);
    if (0.0..=1.0).contains(&value) { Ok(value) } else { Err(NativeError::option(field, "is not between 0 and 1")) }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be a whole number in range")]
fn bits(field: &str, value: f64) -> Result<u64, NativeError> {
    let value = value.round();
    if (0.0..=9e15).contains(&value) { Ok(value as u64) } else { Err(NativeError::option(field, "is not a rate")) }
}

fn trace(points: Vec<RatePoint>) -> Result<RateTrace, NativeError> {
    let mut read = Vec::with_capacity(points.len());
    for point in points {
        let at = millis("rateTrace", point.at_ms)?;
        if read.last().is_some_and(|(last, _)| *last >= at) {
            return Err(NativeError::option("rateTrace", "does not rise in atMs"));
        }
        read.push((at, bits("rateTrace", point.bits_per_sec)?));
    }
    RateTrace::new(&read).ok_or_else(|| NativeError::option("rateTrace", "has no points"))
}

fn queue(kind: QueueKind) -> Result<Queue, NativeError> {
    Ok(match kind {
        QueueKind::TailDrop { bytes } => Queue::TailDrop { bytes },
        QueueKind::CoDel { target_ms, interval_ms, bytes } => {
            let default = CoDelLaw::default();
            let time = |field: &str, value: Option<f64>, default| value.map_or(Ok(default), |value| millis(field, value));
            let target = time("queue.targetMs", target_ms, default.target)?;
            let interval = time("queue.intervalMs", interval_ms, default.interval)?;
            Queue::CoDel(CoDelLaw { target, interval, bytes })
        }
    })
}

fn loss(loss: Loss) -> Result<LossModel, NativeError> {
    Ok(match loss {
        Loss::Share(value) => LossModel::Independent(share("loss", Some(value))?),
        Loss::Model(Model::GilbertElliott { good_to_bad, bad_to_good, loss_good, loss_bad }) => {
            LossModel::GilbertElliott(GilbertElliott {
                good_to_bad: share("loss.goodToBad", Some(good_to_bad))?,
                bad_to_good: share("loss.badToGood", Some(bad_to_good))?,
                loss_good: share("loss.lossGood", loss_good)?,
                loss_bad: share("loss.lossBad", Some(loss_bad.unwrap_or(1.0)))?,
            })
        }
        Loss::Model(Model::List { drop }) => LossModel::list(drop),
    })
}

fn reorder(kind: ReorderKind) -> Result<Reorder, NativeError> {
    Ok(Reorder { probability: share("reorder.probability", Some(kind.probability))?, by: millis("reorder.byMs", kind.by_ms)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<LinkShape, NativeError> {
        serde_json::from_str::<Shape>(json)?.read()
    }

    #[test]
    fn nothing_said_is_a_perfect_link() {
        assert_eq!(read("{}").expect("shape"), LinkShape::default());
    }

    #[test]
    fn every_quality_reaches_the_link() {
        let shape = read(
            r#"{"delayMs":1.5,"jitterMs":2,"rateBitsPerSec":1e6,"queue":{"kind":"codel","targetMs":7},"loss":{"kind":"gilbert-elliott","goodToBad":0.1,"badToGood":0.2},
            "duplicate":0.1,"corrupt":0.2,"reorder":{"probability":0.3,"byMs":4},"mtuBytes":1300,"ecnMark":true}"#,
        );
        let shape = shape.expect("shape");
        assert_eq!((shape.delay, shape.jitter, shape.rate_bits_per_sec), (Duration::from_micros(1_500), Duration::from_millis(2), Some(1_000_000)));
        let law = CoDelLaw { target: Duration::from_millis(7), ..CoDelLaw::default() };
        assert_eq!((shape.queue, shape.duplicate, shape.corrupt, shape.mtu), (Queue::CoDel(law), 0.1, 0.2, 1_300));
        assert_eq!(shape.ecn, EcnTreatment::Mark);
        assert!(matches!(shape.loss, LossModel::GilbertElliott(GilbertElliott { loss_good: 0.0, loss_bad: 1.0, .. })));
        assert_eq!(read(r#"{"loss":{"kind":"list","drop":[3,1]}}"#).expect("shape").loss, LossModel::list([1, 3]));
        assert!(read(r#"{"rateTrace":[{"atMs":0,"bitsPerSec":5},{"atMs":10,"bitsPerSec":6}]}"#).expect("shape").rate_trace.is_some());
    }

    #[test]
    fn numbers_out_of_range_are_refused_by_name() {
        for (json, field) in [
            (r#"{"loss":1.5}"#, "loss"),
            (r#"{"delayMs":-1}"#, "delayMs"),
            (r#"{"rateBitsPerSec":-1}"#, "rateBitsPerSec"),
            (r#"{"rateTrace":[]}"#, "rateTrace"),
            (r#"{"rateTrace":[{"atMs":5,"bitsPerSec":5},{"atMs":5,"bitsPerSec":6}]}"#, "rateTrace"),
            (r#"{"reorder":{"probability":2,"byMs":1}}"#, "reorder.probability"),
        ] {
            assert_eq!(read(json).expect_err("refused").facts().field.as_deref(), Some(field), "{json}");
        }
    }
}
