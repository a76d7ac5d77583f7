//! Version Negotiation: answering unknown versions (RFC 9000 §5.2.2, §6.1, §17.2.1).
//!
//! Called for long headers of versions we do not speak. Answers are rationed and never larger than the question
//! (attacks A11, L20).

use super::Endpoint;
use crate::burst::Burst;
use qbase::{Ecn, FourTuple, PathId, Timestamp, VERSION_1, Writer, limits, packet::version_negotiation};
use qevent::DropReason;
use rand_core::RngCore;
use std::time::Duration;

/// A Version Negotiation packet that waits to be sent.
#[derive(Debug)]
pub(super) struct Answer {
    four_tuple: FourTuple,
    bytes: Vec<u8>,
}

/// Answers allowed in the running second (attacks L20).
#[derive(Debug)]
pub(super) struct AnswerBudget {
    since: Timestamp,
    left: u32,
}

impl AnswerBudget {
    pub(super) const fn new() -> Self {
        Self { since: Timestamp::ZERO, left: limits::STATELESS_ANSWERS_PER_SECOND }
    }

    fn take(&mut self, now: Timestamp) -> bool {
        if now.saturating_since(self.since) >= Duration::from_secs(1) {
            self.since = now;
            self.left = limits::STATELESS_ANSWERS_PER_SECOND;
        }
        let allowed = self.left > 0;
        self.left = self.left.saturating_sub(1);
        allowed
    }
}

impl Endpoint {
    /// Answers a datagram of an unknown version with the versions we speak.
    pub(super) fn answer_version(&mut self, now: Timestamp, four_tuple: FourTuple, bytes: &[u8]) {
        self.drops.count(DropReason::UnknownVersion);
        let Some(invariant) = qbase::packet::InvariantHeader::parse(bytes) else { return };
        // Version 0 is Version Negotiation itself; short questions get no answer.
        if self.server.is_none() || invariant.version == 0 || bytes.len() < limits::MIN_INITIAL || !self.answer_budget.take(now) {
            return;
        }
        let random = self.random.next_u32();
        // A reserved version keeps clients tolerant (RFC 9000 §15: 0x?a?a?a?a).
        let reserved = random & 0xf0f0_f0f0 | 0x0a0a_0a0a;
        let mut buffer = vec![0; limits::MIN_INITIAL];
        let mut writer = Writer::new(&mut buffer);
        version_negotiation::write(&mut writer, random as u8, invariant.scid, invariant.dcid, &[VERSION_1, reserved]);
        let len = writer.len();
        buffer.truncate(len);
        self.counters.version_negotiations = self.counters.version_negotiations.saturating_add(1);
        self.answers.push_back(Answer { four_tuple, bytes: buffer });
    }
}

/// The burst of an answer.
pub(super) fn write(answer: &Answer, buffer: &mut [u8]) -> Option<Burst> {
    let len = answer.bytes.len();
    buffer.get_mut(..len)?.copy_from_slice(&answer.bytes);
    Some(Burst { connection: None, path: PathId::ZERO, four_tuple: answer.four_tuple, ecn: Ecn::NotEct, len, segment_size: len, segments: 1 })
}
