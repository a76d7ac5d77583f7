//! Stateless resets, both ways (RFC 9000 §10.3; attacks A15 to A18, K2).
//!
//! Sends one for a short header that no connection knows, and finds the connection that a received one is meant for.
//! The table is keyed by a hash that only this endpoint can compute, so that the time of a look-up tells nothing about a
//! token; whether the token is in use towards that address is asked of the connection, in constant time.

use super::{Endpoint, route::Seeded};
use crate::handle::ConnectionHandle;
use qbase::{FourTuple, ResetToken, Timestamp};
use qevent::DropReason;
use rand_core::RngCore;
use std::{collections::HashMap, hash::BuildHasher};

/// Datagrams below this many bytes cannot be packets of ours and are not answered (RFC 9000 §10.3.3).
const MIN_TRIGGER: usize = 22;
/// Shortest reset (RFC 9000 §10.3).
const MIN_RESET: usize = 21;
/// From this size on a reset looks like any short packet, whatever the length of connection ids.
const GOOD_RESET: usize = 42;
/// Resets are at most so much longer than they need to be.
const SPREAD: usize = 32;

/// Which connection a reset token belongs to.
#[derive(Debug)]
pub(super) struct ResetTokens {
    hash: Seeded,
    table: HashMap<u64, ConnectionHandle, Seeded>,
}

impl ResetTokens {
    pub(super) fn new(seed: u64) -> Self {
        Self { hash: Seeded(seed), table: HashMap::with_hasher(Seeded(seed.rotate_left(32))) }
    }

    pub(super) fn insert(&mut self, token: &ResetToken, handle: ConnectionHandle) {
        self.table.insert(self.hash.hash_one(token.0), handle);
    }

    /// Forgets a token if it still belongs to this connection.
    pub(super) fn remove(&mut self, token: &ResetToken, handle: ConnectionHandle) {
        let name = self.hash.hash_one(token.0);
        if self.table.get(&name) == Some(&handle) {
            self.table.remove(&name);
        }
    }

    fn find(&self, token: &ResetToken) -> Option<ConnectionHandle> {
        if self.table.is_empty() { None } else { self.table.get(&self.hash.hash_one(token.0)).copied() }
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }
}

/// The place where a reset has its token: the last 16 bytes.
pub(crate) fn token_of(datagram: &[u8]) -> Option<ResetToken> {
    if datagram.len() < MIN_RESET {
        return None;
    }
    datagram.last_chunk().copied().map(ResetToken)
}

impl Endpoint {
    /// The reset token of an id: whoever lost a connection can make it again from the secret.
    #[must_use]
    pub fn reset_token(&self, cid: &qbase::ConnectionId) -> ResetToken {
        qcrypto::reset_token(&self.reset_key, cid)
    }

    /// A datagram that belongs to no connection is the end of one, if it ends in a token in use (RFC 9000 §10.3.1).
    pub(super) fn take_reset(&mut self, now: Timestamp, four_tuple: FourTuple, bytes: &[u8]) -> bool {
        let Some(token) = token_of(bytes) else { return false };
        let Some(handle) = self.reset_tokens.find(&token) else { return false };
        let Some(connection) = self.slots.get_mut(handle) else { return false };
        if !connection.on_possible_reset(now, four_tuple.remote, &token) {
            return false;
        }
        self.turns.mark(handle.index);
        self.run_actions(handle);
        true
    }

    /// Tells the sender of a short header that its connection is unknown here (RFC 9000 §10.3).
    pub(super) fn answer_with_reset(&mut self, now: Timestamp, four_tuple: FourTuple, bytes: &[u8]) {
        self.drops.count(DropReason::UnknownConnection);
        let dcid = qbase::packet::destination_cid(bytes, self.shape.len()).and_then(qbase::ConnectionId::new);
        let Some(dcid) = dcid.filter(|_| bytes.len() >= MIN_TRIGGER) else { return };
        if !self.rations.resets.take(now, four_tuple.remote.ip()) {
            return self.drops.count(DropReason::AnswerLimit);
        }
        // Always smaller than what it answers, or two endpoints could go on for ever.
        let longest = bytes.len().saturating_sub(1);
        let spread = longest.saturating_sub(GOOD_RESET).min(SPREAD);
        let extra = usize::try_from(self.random.next_u32()).unwrap_or_default().checked_rem(spread.saturating_add(1)).unwrap_or_default();
        let len = longest.min(GOOD_RESET.saturating_add(extra));
        let mut reset = vec![0; len];
        self.random.fill_bytes(&mut reset);
        if let Some(first) = reset.first_mut() {
            *first = 0x40 | *first & 0x3f;
        }
        if let Some(tail) = reset.last_chunk_mut::<16>() {
            *tail = qcrypto::reset_token(&self.reset_key, &dcid).0;
        }
        self.counters.resets = self.counters.resets.saturating_add(1);
        self.answer(four_tuple, reset);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_leads_to_the_connection_that_named_it_last() {
        let mut tokens = ResetTokens::new(9);
        let (first, second) = (ConnectionHandle { index: 0, generation: 0 }, ConnectionHandle { index: 1, generation: 0 });
        let token = ResetToken([3; 16]);
        tokens.insert(&token, first);
        assert_eq!(tokens.find(&token), Some(first));
        assert_eq!(tokens.find(&ResetToken([4; 16])), None);
        tokens.insert(&token, second);
        tokens.remove(&token, first);
        assert_eq!(tokens.find(&token), Some(second), "another connection's end changes nothing");
        tokens.remove(&token, second);
        assert_eq!(tokens.len(), 0);
    }

    #[test]
    fn datagrams_below_21_bytes_hold_no_token() {
        assert_eq!(token_of(&[7; 20]), None);
        assert_eq!(token_of(&[7; 21]), Some(ResetToken([7; 16])));
    }
}
