//! Connection ids we issued for one path id (RFC 9000 §5.1.1; multipath MP-44, MP-47).
//!
//! Decides how many the peer still lacks, which NEW_CONNECTION_ID frames are owed, and what a RETIRE_CONNECTION_ID
//! means. Called by the path part and the dispatch. Never makes ids or tokens.

use qbase::{ConnectionId, ResetToken, TransportError, limits};
use std::collections::VecDeque;

/// An id to be announced with NEW_CONNECTION_ID or PATH_NEW_CONNECTION_ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Issued {
    /// Its number among the ids of the path id.
    pub sequence: u64,
    /// The id.
    pub cid: ConnectionId,
    /// Token that belongs to it.
    pub token: ResetToken,
}

/// What the peer knows of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Notice {
    /// Its frame was never written.
    Unsent,
    /// Its frame is on its way.
    Sent,
    /// Its frame was lost and is owed again.
    Lost,
    /// The peer knows the id.
    Arrived,
}

/// Whether packets to an id are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Active,
    /// Retired by the peer; kept until the fate of its frame is known.
    Retired,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    issued: Issued,
    notice: Notice,
    usage: Use,
}

/// The ids we issued for one path id.
///
/// At most [`limits::REMOTE_CIDS_PER_PATH`] are active, and at most as many have a frame whose arrival is unknown.
/// The second bound paces replacements by round trips: a peer that retires every id at once, even unseen, gets no more
/// than that many new ones per RTT (attacks E5).
#[derive(Clone, Debug, Default)]
pub struct LocalCids {
    /// Rising sequence; short, because of the two bounds.
    entries: VecDeque<Entry>,
    next_sequence: u64,
    /// Retire Prior To of the frames written from now on.
    retire_prior_to: u64,
}

impl LocalCids {
    /// A path id for which nothing was issued.
    #[must_use]
    pub const fn new() -> Self {
        Self { entries: VecDeque::new(), next_sequence: 0, retire_prior_to: 0 }
    }

    /// Adds an id and owes the frame that tells the peer. Returns its sequence number.
    pub fn issue(&mut self, cid: ConnectionId, token: ResetToken) -> u64 {
        self.add(cid, token, Notice::Unsent)
    }

    /// Adds an id that the peer learns without a frame: the handshake's SCID, then that of `preferred_address`
    /// (multipath MP-44). Returns its sequence number.
    pub fn issue_known(&mut self, cid: ConnectionId, token: ResetToken) -> u64 {
        self.add(cid, token, Notice::Arrived)
    }

    /// Exchanges an id whose frame was never written. `false`: it was.
    pub fn replace(&mut self, sequence: u64, cid: ConnectionId, token: ResetToken) -> bool {
        let Some(entry) = self.entry_mut(sequence).filter(|entry| entry.notice == Notice::Unsent) else { return false };
        entry.issued = Issued { sequence, cid, token };
        true
    }

    /// How many more ids may be issued so that the peer holds `limit`, its `active_connection_id_limit`, or as many as
    /// its path needs. Asked again when a frame arrived or an id was retired.
    #[must_use]
    pub fn want(&self, limit: u64) -> usize {
        let most = limits::REMOTE_CIDS_PER_PATH;
        let unknown = self.entries.iter().filter(|entry| entry.notice != Notice::Arrived).count() as u64;
        let kept = self.entries.iter().filter(|entry| entry.usage == Use::Active && entry.issued.sequence >= self.retire_prior_to);
        let lacking = limit.min(most).saturating_sub(kept.count() as u64);
        usize::try_from(lacking.min(most.saturating_sub(unknown))).unwrap_or(usize::MAX)
    }

    /// Asks the peer to give back every id it has, as soon as it got others: [`Self::want`] tells how many. `false`, and
    /// nothing changes, while the peer has not answered an earlier request (RFC 9000 §5.1.2).
    pub fn renew(&mut self) -> bool {
        let is_answered = !self.entries.iter().any(|entry| entry.usage == Use::Active && entry.issued.sequence < self.retire_prior_to);
        if is_answered {
            self.retire_prior_to = self.next_sequence;
        }
        is_answered
    }

    /// Retire Prior To for the frame of this id: no larger than its number (RFC 9000 §19.15).
    #[must_use]
    pub const fn retire_prior_to(&self, sequence: u64) -> u64 {
        if self.retire_prior_to < sequence { self.retire_prior_to } else { sequence }
    }

    /// Ids that the peer may use.
    #[must_use]
    pub fn active_count(&self) -> usize {
        self.iter_active().count()
    }

    /// The ids that the peer may use, oldest first.
    pub fn iter_active(&self) -> impl Iterator<Item = ConnectionId> + '_ {
        self.entries.iter().filter(|entry| entry.usage == Use::Active).map(|entry| entry.issued.cid)
    }

    /// The sequence number that the next id will get.
    #[must_use]
    pub const fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    /// The oldest id whose frame is owed; [`Self::on_written`] moves on to the next.
    #[must_use]
    pub fn next_pending(&self) -> Option<Issued> {
        self.entries.iter().find(|entry| matches!(entry.notice, Notice::Unsent | Notice::Lost)).map(|entry| entry.issued)
    }

    /// How many frames are owed.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.entries.iter().filter(|entry| matches!(entry.notice, Notice::Unsent | Notice::Lost)).count()
    }

    /// A frame is owed.
    #[must_use]
    pub fn has_pending(&self) -> bool {
        self.next_pending().is_some()
    }

    /// The frame of this id was written into a packet.
    pub fn on_written(&mut self, sequence: u64) {
        if let Some(entry) = self.entry_mut(sequence) {
            entry.notice = Notice::Sent;
        }
    }

    /// The frame of this id arrived.
    pub fn on_acked(&mut self, sequence: u64) {
        if let Some(entry) = self.entry_mut(sequence) {
            entry.notice = Notice::Arrived;
        }
        self.forget_retired();
    }

    /// The frame of this id was lost or never left; it is owed again unless the id has arrived or is retired.
    pub fn on_lost(&mut self, sequence: u64) {
        if let Some(entry) = self.entry_mut(sequence)
            && entry.notice == Notice::Sent
        {
            entry.notice = Notice::Lost;
        }
        self.forget_retired();
    }

    /// RETIRE_CONNECTION_ID or PATH_RETIRE_CONNECTION_ID came, in a packet addressed to our id `carried_by` of this
    /// path id (`None`: to an id of another). Returns the id to stop routing; `None` for a repeated frame.
    ///
    /// # Errors
    /// PROTOCOL_VIOLATION for an id that was never sent to the peer, or the one that carried the frame
    /// (RFC 9000 §19.16; attacks E4).
    pub fn on_retire(&mut self, sequence: u64, carried_by: Option<u64>) -> Result<Option<ConnectionId>, TransportError> {
        let unsent = |entry: &Entry| entry.issued.sequence == sequence && entry.notice == Notice::Unsent;
        if sequence >= self.next_sequence || self.entries.iter().any(unsent) {
            return Err(TransportError::violation("retired a connection id that was not issued"));
        }
        if carried_by == Some(sequence) {
            return Err(TransportError::violation("retired the connection id of the packet itself"));
        }
        let Some(entry) = self.entry_mut(sequence).filter(|entry| entry.usage == Use::Active) else { return Ok(None) };
        entry.usage = Use::Retired;
        let cid = entry.issued.cid;
        self.forget_retired();
        Ok(Some(cid))
    }

    fn add(&mut self, cid: ConnectionId, token: ResetToken, notice: Notice) -> u64 {
        let issued = Issued { sequence: self.next_sequence, cid, token };
        // A path that is not used has one id for good, and each connection has several such paths.
        self.entries.reserve_exact(usize::from(self.entries.is_empty()));
        self.entries.push_back(Entry { issued, notice, usage: Use::Active });
        self.next_sequence = self.next_sequence.saturating_add(1);
        issued.sequence
    }

    fn entry_mut(&mut self, sequence: u64) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| entry.issued.sequence == sequence)
    }

    /// A retired id stays only while its frame is on the way.
    fn forget_retired(&mut self) {
        self.entries.retain(|entry| entry.usage == Use::Active || entry.notice == Notice::Sent);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use qbase::ErrorCode;

    #[test]
    fn sequence_numbers_rise_by_one_from_zero() {
        let mut cids = LocalCids::new();
        assert_eq!((issue(&mut cids, 7), issue(&mut cids, 8), cids.next_sequence()), (0, 1, 2));
        assert_eq!(cids.iter_active().collect::<Vec<_>>(), vec![cid(7), cid(8)]);
    }

    #[test]
    fn the_handshake_id_needs_no_frame() {
        let mut cids = LocalCids::new();
        assert_eq!(cids.issue_known(cid(1), token(1)), 0);
        assert!(!cids.has_pending());
        assert_eq!(cids.on_retire(0, None), Ok(Some(cid(1))));
    }

    #[test]
    fn the_peer_is_given_as_many_as_it_takes_but_at_most_four() {
        let mut cids = LocalCids::new();
        assert_eq!((cids.want(2), cids.want(8)), (2, 4));
        cids.issue_known(cid(0), token(0));
        assert_eq!((cids.want(2), cids.want(8)), (1, 3));
        for byte in 1..4 {
            issue(&mut cids, byte);
        }
        assert_eq!(cids.want(u64::MAX), 0);
    }

    #[test]
    fn only_an_id_that_the_peer_cannot_know_is_exchanged() {
        let mut cids = LocalCids::new();
        cids.issue_known(cid(0), token(0));
        issue(&mut cids, 1);
        assert!(cids.replace(1, cid(9), token(9)));
        assert_eq!(cids.next_pending().map(|issued| (issued.sequence, issued.cid, issued.token)), Some((1, cid(9), token(9))));
        cids.on_written(1);
        assert!(!cids.replace(1, cid(8), token(8)) && !cids.replace(0, cid(8), token(8)) && !cids.replace(7, cid(8), token(8)));
        assert_eq!(cids.iter_active().collect::<Vec<_>>(), vec![cid(0), cid(9)]);
    }

    #[test]
    fn frames_are_owed_until_they_arrive() {
        let mut cids = LocalCids::new();
        issue(&mut cids, 1);
        issue(&mut cids, 2);
        assert_eq!(cids.next_pending(), Some(Issued { sequence: 0, cid: cid(1), token: token(1) }));
        cids.on_written(0);
        cids.on_written(1);
        assert_eq!(cids.next_pending(), None);
        cids.on_lost(0);
        assert_eq!(cids.next_pending().map(|issued| issued.sequence), Some(0));
        cids.on_written(0);
        cids.on_acked(0);
        cids.on_lost(0);
        assert!(!cids.has_pending(), "what arrived is not sent again");
    }

    /// Shows 9000-5.1.1-5 and 9000-5.1.2-8.
    #[test]
    fn ids_are_asked_back_once_others_are_on_their_way() {
        let mut cids = LocalCids::new();
        cids.issue_known(cid(0), token(0));
        issue(&mut cids, 1);
        cids.on_written(1);
        cids.on_acked(1);
        assert_eq!(cids.want(2), 0);
        assert!(cids.renew());
        assert_eq!(cids.want(2), 2, "beyond the limit, since the frames ask for the others");
        assert_eq!((issue(&mut cids, 2), issue(&mut cids, 3), cids.want(2)), (2, 3, 0));
        assert_eq!((cids.retire_prior_to(2), cids.retire_prior_to(3), cids.retire_prior_to(1)), (2, 2, 1));
        assert!(!cids.renew(), "the first request is not answered");
        assert!(cids.on_retire(0, None).is_ok() && cids.on_retire(1, None).is_ok());
        assert!(cids.renew());
    }

    #[test]
    fn a_retired_id_is_not_announced_again() {
        let mut cids = LocalCids::new();
        issue(&mut cids, 1);
        cids.on_written(0);
        assert_eq!(cids.on_retire(0, None), Ok(Some(cid(1))));
        cids.on_lost(0);
        assert!(!cids.has_pending());
        assert_eq!(cids.active_count(), 0);
    }

    #[test]
    fn a_repeated_retirement_does_nothing() {
        let mut cids = LocalCids::new();
        cids.issue_known(cid(1), token(1));
        assert_eq!(cids.on_retire(0, None), Ok(Some(cid(1))));
        assert_eq!(cids.on_retire(0, None), Ok(None));
    }

    #[test]
    fn attack_e4_retiring_an_id_that_was_not_issued_is_a_violation() {
        let mut cids = LocalCids::new();
        cids.issue_known(cid(1), token(1));
        assert_eq!(violation(cids.on_retire(1, None)), ErrorCode::PROTOCOL_VIOLATION);
        issue(&mut cids, 2);
        assert_eq!(violation(cids.on_retire(1, None)), ErrorCode::PROTOCOL_VIOLATION, "issued, but its frame never left");
        cids.on_written(1);
        assert_eq!(cids.on_retire(1, None), Ok(Some(cid(2))));
    }

    #[test]
    fn attack_e4_retiring_the_id_that_carries_the_frame_is_a_violation() {
        let mut cids = LocalCids::new();
        cids.issue_known(cid(1), token(1));
        cids.issue_known(cid(2), token(2));
        assert_eq!(violation(cids.on_retire(1, Some(1))), ErrorCode::PROTOCOL_VIOLATION);
        assert_eq!(cids.on_retire(1, Some(0)), Ok(Some(cid(2))));
    }

    #[test]
    fn attack_e5_a_peer_that_retires_everything_unseen_gets_four_ids_per_round_trip() {
        let mut cids = LocalCids::new();
        for round in 0..100 {
            let mut issued = 0;
            // Within one round trip nothing is acknowledged, however much the peer retires.
            for _ in 0..50 {
                while cids.want(4) > 0 {
                    let sequence = issue(&mut cids, 1);
                    cids.on_written(sequence);
                    assert!(cids.on_retire(sequence, None).is_ok());
                    issued += 1;
                }
            }
            assert_eq!(issued, 4, "round {round}");
            assert!(cids.entries.len() <= 4);
            let newest = cids.next_sequence();
            (newest - 4..newest).for_each(|sequence| cids.on_acked(sequence));
        }
    }

    fn cid(byte: u8) -> ConnectionId {
        ConnectionId::new(&[byte; 8]).unwrap()
    }

    fn token(byte: u8) -> ResetToken {
        ResetToken([byte; 16])
    }

    fn issue(cids: &mut LocalCids, byte: u8) -> u64 {
        cids.issue(cid(byte), token(byte))
    }

    fn violation(result: Result<Option<ConnectionId>, TransportError>) -> ErrorCode {
        result.unwrap_err().code
    }
}
