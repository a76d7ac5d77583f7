//! Connection ids the peer issued for one path id (RFC 9000 §5.1.2; multipath MP-44, MP-49, MP-50).
//!
//! Decides which id packets carry, which ids must be given back, and when the peer broke a rule about them. Called by
//! the path part and the dispatch. Never knows which addresses an id was used on: rotation is asked for by the path.

#[cfg(test)]
mod tests;

use qbase::{ConnectionId, ErrorCode, ResetToken, TransportError, limits};
use qrecovery::RangeSet;
use std::collections::VecDeque;

/// An id the peer issued, as it can be taken for a second network path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TakenCid {
    /// Its number among the ids of the path id.
    pub sequence: u64,
    /// The id.
    pub cid: ConnectionId,
}

/// Whether packets carry an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// No packet carried it yet.
    Spare,
    /// It is the active one, or was taken.
    InUse,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    sequence: u64,
    cid: ConnectionId,
    /// `None` for the id of the handshake until a transport parameter brings it.
    token: Option<ResetToken>,
    usage: Use,
}

/// An id given back, until the peer has acknowledged that.
#[derive(Clone, Copy, Debug)]
struct Retirement {
    sequence: u64,
    notice: Notice,
}

/// Where the frame of a retirement is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Notice {
    Owed,
    Sent,
}

/// The ids the peer issued for one path id.
///
/// At most [`limits::REMOTE_CIDS_PER_PATH`] are held, which is our `active_connection_id_limit` (attacks L9), and at
/// most [`limits::RETIRE_CIDS_PER_PATH`] retirements are unacknowledged (attacks L10).
#[derive(Clone, Debug, Default)]
pub struct RemoteCids {
    held: Vec<Held>,
    /// Sequence number of the id that packets carry.
    active: Option<u64>,
    /// Sequence numbers received, so that repeated frames are recognised; the lowest are forgotten as "received".
    seen: RangeSet,
    /// Numbers below are forgotten.
    floor: u64,
    /// Largest Retire Prior To received.
    retire_prior_to: u64,
    retirements: VecDeque<Retirement>,
}

impl RemoteCids {
    /// A path id for which nothing was received.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            held: Vec::new(),
            active: None,
            seen: RangeSet::new(),
            floor: 0,
            retire_prior_to: 0,
            retirements: VecDeque::new(),
        }
    }

    /// The id of the handshake, sequence 0 of path id 0; a client replaces its own first choice by the server's SCID
    /// (RFC 9000 §7.2; burst B-81). An empty id means that the peer wants none.
    pub fn set_handshake(&mut self, cid: ConnectionId) {
        self.held.retain(|held| held.sequence != 0);
        self.hold(0, cid, None);
    }

    /// The token for the handshake's id, from the server's transport parameters.
    pub fn set_handshake_token(&mut self, token: ResetToken) {
        if let Some(held) = self.held.iter_mut().find(|held| held.sequence == 0) {
            held.token = Some(token);
        }
    }

    /// NEW_CONNECTION_ID or PATH_NEW_CONNECTION_ID came. `preferred_address` brings sequence 1 the same way.
    ///
    /// # Errors
    /// FRAME_ENCODING_ERROR for a Retire Prior To above the sequence or an empty id (attacks E2); PROTOCOL_VIOLATION
    /// where the peer wants no ids, for one sequence with two ids or tokens, or one id with two sequences (attacks E2,
    /// multipath MP-49); CONNECTION_ID_LIMIT_ERROR above the limit (attacks E3) or when the peer makes us retire ids
    /// faster than it acknowledges it (attacks E1).
    pub fn on_new(
        &mut self,
        sequence: u64,
        retire_prior_to: u64,
        cid: ConnectionId,
        token: ResetToken,
    ) -> Result<(), TransportError> {
        if retire_prior_to > sequence {
            return Err(TransportError::encoding("retire prior to is above the sequence number"));
        }
        if cid.is_empty() {
            return Err(TransportError::encoding("the connection id is empty"));
        }
        self.check_consistent(sequence, cid, token)?;
        self.retire_before(retire_prior_to);
        if sequence < self.floor || !self.seen.insert_one(sequence) {
            return self.check_limits();
        }
        self.floor = self.floor.max(self.seen.trim_to(limits::RETIRE_CIDS_PER_PATH).unwrap_or_default());
        if sequence < self.retire_prior_to {
            self.owe_retirement(sequence);
        } else {
            self.hold(sequence, cid, Some(token));
        }
        self.check_limits()
    }

    /// The id that packets carry now; `None` while the peer has given none (burst B-83).
    #[must_use]
    pub fn active(&self) -> Option<ConnectionId> {
        self.cid_of(self.active?)
    }

    /// Goes over to the lowest spare id and gives the active one back. `None`, and nothing changes, if there is no
    /// spare or the peer still owes too many acknowledgements of retirements.
    pub fn rotate(&mut self) -> Option<ConnectionId> {
        if self.retirements.len() >= limits::RETIRE_CIDS_PER_PATH {
            return None;
        }
        let next = self.take_unused()?;
        if let Some(old) = self.active.replace(next.sequence) {
            self.retire(old);
        }
        Some(next.cid)
    }

    /// Takes the lowest spare id for a second network path of this path id, which must not share one with the first
    /// (RFC 9000 §9.5). It ends with [`Self::promote`] or [`Self::retire`].
    pub fn take_unused(&mut self) -> Option<TakenCid> {
        let spare = self.held.iter_mut().find(|held| held.usage == Use::Spare)?;
        spare.usage = Use::InUse;
        Some(TakenCid { sequence: spare.sequence, cid: spare.cid })
    }

    /// The number of the id that packets carry now.
    #[must_use]
    pub const fn active_sequence(&self) -> Option<u64> {
        self.active
    }

    /// Packets carry this taken id from now on, and the one they carried is not given back: it belongs to a network path
    /// that may come back. With `None`, or an id that was retired meanwhile, they wait for the next id that comes.
    pub fn switch_to(&mut self, sequence: Option<u64>) {
        self.active = sequence.filter(|&sequence| self.cid_of(sequence).is_some());
        self.choose_active();
    }

    /// The peer wants no connection ids: its packets carry none.
    #[must_use]
    pub fn is_empty_id(&self) -> bool {
        self.active().is_some_and(|cid| cid.is_empty())
    }

    /// A taken id, unless it was retired meanwhile.
    #[must_use]
    pub fn cid_of(&self, sequence: u64) -> Option<ConnectionId> {
        self.held.iter().find(|held| held.sequence == sequence).map(|held| held.cid)
    }

    /// The network path that uses the taken id won: it becomes the active one, the old one is given back.
    pub fn promote(&mut self, sequence: u64) {
        if self.cid_of(sequence).is_some()
            && let Some(old) = self.active.replace(sequence)
            && old != sequence
        {
            self.retire(old);
        }
    }

    /// Gives an id back: RETIRE_CONNECTION_ID is owed. If it was the active one, the lowest spare takes its place.
    pub fn retire(&mut self, sequence: u64) {
        let before = self.held.len();
        self.held.retain(|held| held.sequence != sequence);
        if self.held.len() < before {
            self.owe_retirement(sequence);
        }
        self.choose_active();
    }

    /// A taken id that no packet carried is spare again.
    pub fn give_back(&mut self, sequence: u64) {
        if self.active != Some(sequence)
            && let Some(held) = self.held.iter_mut().find(|held| held.sequence == sequence)
        {
            held.usage = Use::Spare;
        }
    }

    /// PATH_ABANDON was sent: every id counts as retired, without frames (multipath MP-63).
    pub fn retire_all(&mut self) {
        self.held.clear();
        self.retirements.clear();
        self.active = None;
    }

    /// Ids in reserve.
    #[must_use]
    pub fn available(&self) -> usize {
        self.held.iter().filter(|held| held.usage == Use::Spare).count()
    }

    /// This path id holds the id: another must not (multipath MP-46).
    #[must_use]
    pub fn holds(&self, cid: &ConnectionId) -> bool {
        self.held.iter().any(|held| held.cid == *cid)
    }

    /// The sequence number that the peer should issue next, for PATH_CIDS_BLOCKED (multipath MP-52).
    #[must_use]
    pub fn next_sequence(&self) -> u64 {
        self.seen.max().map_or(0, |largest| largest.saturating_add(1))
    }

    /// The reset tokens of all ids held.
    pub fn tokens(&self) -> impl Iterator<Item = ResetToken> + '_ {
        self.held.iter().filter_map(|held| held.token)
    }

    /// The last 16 bytes of an undecryptable datagram are the token of an id in use (RFC 9000 §10.3.1). Ask only for
    /// path ids on which packets were sent; spare and retired ids never count (attacks A17, multipath MP-68).
    #[must_use]
    pub fn is_reset_token(&self, token: &ResetToken) -> bool {
        let in_use = self.held.iter().filter(|held| held.usage == Use::InUse);
        // No short cut: the time must not tell how far the comparison came.
        in_use.fold(false, |found, held| found | (held.token.as_ref() == Some(token)))
    }

    /// The oldest id whose RETIRE_CONNECTION_ID is owed.
    #[must_use]
    pub fn next_retirement(&self) -> Option<u64> {
        self.retirements.iter().find(|retirement| retirement.notice == Notice::Owed).map(|retirement| retirement.sequence)
    }

    /// How many RETIRE_CONNECTION_ID are owed.
    #[must_use]
    pub fn retirements(&self) -> usize {
        self.retirements.iter().filter(|retirement| retirement.notice == Notice::Owed).count()
    }

    /// A RETIRE_CONNECTION_ID is owed.
    #[must_use]
    pub fn has_retirements(&self) -> bool {
        self.next_retirement().is_some()
    }

    /// Its frame was written into a packet.
    pub fn on_retirement_written(&mut self, sequence: u64) {
        self.set_notice(sequence, Notice::Sent);
    }

    /// Its frame was lost or never left.
    pub fn on_retire_lost(&mut self, sequence: u64) {
        self.set_notice(sequence, Notice::Owed);
    }

    /// Its frame arrived.
    pub fn on_retire_acked(&mut self, sequence: u64) {
        self.retirements.retain(|retirement| retirement.sequence != sequence);
    }

    /// One sequence, one id, one token; and the peer must want ids at all.
    fn check_consistent(&self, sequence: u64, cid: ConnectionId, token: ResetToken) -> Result<(), TransportError> {
        for held in &self.held {
            if held.cid.is_empty() {
                return Err(TransportError::violation("a new connection id from a peer that uses empty ones"));
            }
            if (held.sequence == sequence) != (held.cid == cid) {
                return Err(TransportError::violation("one connection id with two sequence numbers, or two with one"));
            }
            if held.sequence == sequence && held.token.is_some_and(|known| known != token) {
                return Err(TransportError::violation("one connection id with two reset tokens"));
            }
        }
        Ok(())
    }

    /// Gives back everything below a Retire Prior To, if it is news.
    fn retire_before(&mut self, retire_prior_to: u64) {
        if retire_prior_to <= self.retire_prior_to {
            return;
        }
        self.retire_prior_to = retire_prior_to;
        let Self { held, retirements, .. } = self;
        held.retain(|held| {
            let keep = held.sequence >= retire_prior_to;
            if !keep {
                retirements.push_back(Retirement { sequence: held.sequence, notice: Notice::Owed });
            }
            keep
        });
        self.choose_active();
    }

    fn hold(&mut self, sequence: u64, cid: ConnectionId, token: Option<ResetToken>) {
        self.seen.insert_one(sequence);
        let at = self.held.partition_point(|held| held.sequence < sequence);
        // As for our own ids: a path that is not used has one.
        self.held.reserve_exact(usize::from(self.held.is_empty()));
        self.held.insert(at, Held { sequence, cid, token, usage: Use::Spare });
        self.choose_active();
    }

    /// Makes sure that an id that is held is the active one.
    fn choose_active(&mut self) {
        let active = self.active.filter(|&sequence| self.cid_of(sequence).is_some());
        self.active = active.or_else(|| self.held.iter().find(|held| held.usage == Use::Spare).map(|held| held.sequence));
        if let Some(held) = self.held.iter_mut().find(|held| Some(held.sequence) == self.active) {
            held.usage = Use::InUse;
        }
    }

    fn owe_retirement(&mut self, sequence: u64) {
        self.retirements.push_back(Retirement { sequence, notice: Notice::Owed });
    }

    fn set_notice(&mut self, sequence: u64, notice: Notice) {
        if let Some(retirement) = self.retirements.iter_mut().find(|retirement| retirement.sequence == sequence) {
            retirement.notice = notice;
        }
    }

    fn check_limits(&self) -> Result<(), TransportError> {
        let limit = |reason| Err(TransportError::new(ErrorCode::CONNECTION_ID_LIMIT_ERROR, reason));
        if self.held.len() as u64 > limits::REMOTE_CIDS_PER_PATH {
            return limit("more connection ids than active_connection_id_limit");
        }
        if self.retirements.len() > limits::RETIRE_CIDS_PER_PATH {
            return limit("more retirements than the peer acknowledges");
        }
        Ok(())
    }
}
