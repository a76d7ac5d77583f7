//! Retry: a client must show that it hears us before anything is kept for it (RFC 9000 §8.1.2, §17.2.5; attacks L2, B1).
//!
//! Called by the accept step. Keeps no state: everything stands in the token. Not rationed, since a ration would lock
//! honest clients out of a flood; a Retry is always smaller than the Initial that it answers.

use super::{Endpoint, EndpointNews};
use crate::config::RetryPolicy;
use qbase::{FourTuple, Timestamp, Writer, limits, packet::{ProtectedHeader, retry}};

/// Bytes of the longest Retry we make.
const MAX_RETRY: usize = 512;

impl Endpoint {
    /// A client without a proof of its address must come again with a token.
    pub(super) fn must_retry(&self, policy: RetryPolicy) -> bool {
        match policy {
            RetryPolicy::Always => true,
            RetryPolicy::Auto => self.half_open() >= limits::HALF_OPEN_BEFORE_RETRY,
            RetryPolicy::Never => false,
        }
    }

    /// Answers an Initial with Retry, in its own version (RFC 9369 §4.1).
    pub(super) fn answer_with_retry(&mut self, now: Timestamp, four_tuple: FourTuple, header: &ProtectedHeader) {
        let scid = self.new_cid();
        let token = self.tokens.for_retry(now, &mut self.random, header.version, four_tuple, &header.dcid, &scid);
        let Some(token) = token else { return };
        let mut buffer = vec![0; MAX_RETRY];
        let mut writer = Writer::new(&mut buffer);
        retry::write(&mut writer, header.version, &header.scid, &scid, &token);
        let tag = qcrypto::retry_tag(header.version, &header.dcid, writer.written());
        writer.bytes(&tag);
        if writer.overflowed() {
            return;
        }
        let len = writer.len();
        buffer.truncate(len);
        self.counters.retries = self.counters.retries.saturating_add(1);
        self.admission.tell(EndpointNews::Retried { remote: four_tuple.remote });
        self.answer(four_tuple, buffer);
    }
}
