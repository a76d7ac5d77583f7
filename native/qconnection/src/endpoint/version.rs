//! Version Negotiation: answering versions that are not accepted (RFC 9000 §5.2.2, §6.1, §17.2.1; RFC 9368 §2.1).
//!
//! Called for long headers of other versions than the server's. Answers are rationed and never larger than the question
//! (attacks A11, A12, L20).

use super::Endpoint;
use qbase::{FourTuple, Timestamp, Writer, limits, packet::version_negotiation, version};
use qevent::DropReason;
use rand_core::RngCore;

impl Endpoint {
    /// Answers a datagram of another version with the versions accepted here.
    pub(super) fn answer_version(&mut self, now: Timestamp, four_tuple: FourTuple, bytes: &[u8]) {
        self.drops.count(DropReason::UnknownVersion);
        let Some(invariant) = qbase::packet::InvariantHeader::parse(bytes) else { return };
        let Some(server) = self.server.clone() else { return };
        // Version 0 is Version Negotiation itself; short questions get no answer.
        if invariant.version == 0 || bytes.len() < limits::MIN_INITIAL {
            return;
        }
        if !self.rations.versions.take(now, four_tuple.remote.ip()) {
            return self.drops.count(DropReason::AnswerLimit);
        }
        let random = self.random.next_u32();
        // A reserved version keeps clients tolerant; it stands anywhere in the list.
        let mut versions = server.versions.clone();
        let at = usize::try_from(random >> 16).unwrap_or_default().checked_rem(versions.len().saturating_add(1)).unwrap_or_default();
        versions.insert(at, version::reserved(random));
        let mut buffer = vec![0; limits::MIN_INITIAL];
        let mut writer = Writer::new(&mut buffer);
        version_negotiation::write(&mut writer, random as u8, invariant.scid, invariant.dcid, &versions);
        let len = writer.len();
        buffer.truncate(len);
        self.counters.version_negotiations = self.counters.version_negotiations.saturating_add(1);
        self.answer(four_tuple, buffer);
    }
}
