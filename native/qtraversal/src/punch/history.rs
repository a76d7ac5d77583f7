//! What became of punches that are over, and how many rounds there were lately (traversal T-83, T-67; attacks L22).
//!
//! Called by the puncher. Never starts a round.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use qbase::{Timestamp, limits};

use crate::frame::PunchId;

/// First wait before a failed pair is tried again; each further one is twice as long (traversal T-83).
const RETRY_WAIT: Duration = Duration::from_secs(30);
/// Further rounds of a failed pair (traversal T-83).
const RETRIES: u8 = 3;

/// How a pair ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Past {
    /// It works: nothing is tried again until its path is lost.
    Done,
    /// It did not.
    Failed {
        /// Rounds that failed.
        rounds: u8,
        /// When we try again; `None`: not by ourselves.
        retry_at: Option<Timestamp>,
    },
}

/// All pairs that are over.
#[derive(Debug, Default)]
pub(super) struct History {
    pairs: BTreeMap<PunchId, Past>,
    /// When rounds began, within the window.
    rounds: VecDeque<Timestamp>,
}

/// Whether we try a failed pair again by ourselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Retry {
    /// After a while.
    Later,
    /// Only when the peer does.
    No,
}

impl History {
    pub(super) fn get(&self, id: PunchId) -> Option<Past> {
        self.pairs.get(&id).copied()
    }

    /// The number of the next round of this pair; 1 is the first.
    pub(super) fn next_round(&self, id: PunchId) -> u8 {
        match self.pairs.get(&id) {
            Some(Past::Failed { rounds, .. }) => rounds.saturating_add(1),
            _ => 1,
        }
    }

    pub(super) fn done(&mut self, id: PunchId) {
        self.put(id, Past::Done);
    }

    pub(super) fn failed(&mut self, id: PunchId, retry: Retry, now: Timestamp) {
        let rounds = self.next_round(id);
        let wait = RETRY_WAIT.saturating_mul(1 << rounds.saturating_sub(1).min(RETRIES));
        let retry_at = (retry == Retry::Later && rounds <= RETRIES).then(|| now + wait);
        self.put(id, Past::Failed { rounds, retry_at });
    }

    /// A round of ours had no room: it is tried when there is, and counts as no round.
    pub(super) fn postpone(&mut self, id: PunchId, now: Timestamp) {
        let rounds = self.next_round(id).saturating_sub(1);
        let at = self.rounds.front().map_or(now, |first| *first + limits::TRAVERSAL_WINDOW);
        self.put(id, Past::Failed { rounds, retry_at: Some(at.max(now + Duration::from_secs(1))) });
    }

    pub(super) fn forget(&mut self, is_meant: impl Fn(PunchId) -> bool) {
        self.pairs.retain(|id, _| !is_meant(*id));
    }

    /// No path works any more: what worked may be tried again.
    pub(super) fn forget_successes(&mut self) {
        self.pairs.retain(|_, past| *past != Past::Done);
    }

    pub(super) fn next_retry(&self) -> Option<Timestamp> {
        self.pairs.values().filter_map(|past| if let Past::Failed { retry_at, .. } = past { *retry_at } else { None }).min()
    }

    /// A pair whose time has come; it waits no longer.
    pub(super) fn pop_retry(&mut self, now: Timestamp) -> Option<PunchId> {
        let is_due = |past: &Past| matches!(past, Past::Failed { retry_at: Some(at), .. } if *at <= now);
        let (id, past) = self.pairs.iter_mut().find(|(_, past)| is_due(past))?;
        if let Past::Failed { retry_at, .. } = past {
            *retry_at = None;
        }
        Some(*id)
    }

    /// A round begins, if L22 lets it.
    pub(super) fn begin_round(&mut self, now: Timestamp, at_most: usize) -> bool {
        while self.rounds.front().is_some_and(|first| now.saturating_since(*first) >= limits::TRAVERSAL_WINDOW) {
            self.rounds.pop_front();
        }
        let has_room = self.rounds.len() < at_most;
        if has_room {
            self.rounds.push_back(now);
        }
        has_room
    }

    fn put(&mut self, id: PunchId, past: Past) {
        if self.pairs.len() >= limits::PUNCH_HISTORY && !self.pairs.contains_key(&id) {
            self.pairs.pop_first();
        }
        self.pairs.insert(id, past);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_millis(1_000);
    const ID: PunchId = PunchId { local_seq: 1, remote_seq: 2 };

    /// traversal T-83.
    #[test]
    fn a_failed_pair_is_tried_three_times_more_after_30_60_and_120_seconds() {
        let (mut history, mut now, mut waits) = (History::default(), START, Vec::new());
        for round in 1..=4 {
            assert_eq!(history.next_round(ID), round);
            history.failed(ID, Retry::Later, now);
            let Some(at) = history.next_retry() else { break };
            assert_eq!(history.pop_retry(at - Duration::from_millis(1)), None);
            assert_eq!(history.pop_retry(at), Some(ID));
            assert_eq!(history.pop_retry(at), None, "once");
            waits.push(at.saturating_since(now).as_secs());
            now = at;
        }
        assert_eq!(waits, [30, 60, 120]);
        assert_eq!(history.next_retry(), None);
        history.forget(|id| id == ID);
        assert_eq!((history.get(ID), history.next_round(ID)), (None, 1));
    }

    /// attacks L22.
    #[test]
    fn five_rounds_begin_within_a_minute_and_the_sixth_waits() {
        let mut history = History::default();
        let began = (0..10).filter(|_| history.begin_round(START, limits::PUNCH_ROUNDS)).count();
        assert_eq!(began, limits::PUNCH_ROUNDS);
        history.postpone(ID, START);
        assert_eq!(history.next_retry(), Some(START + limits::TRAVERSAL_WINDOW));
        assert_eq!(history.next_round(ID), 1, "it was none");
        assert!(history.begin_round(START + limits::TRAVERSAL_WINDOW, limits::PUNCH_ROUNDS));
    }

    /// attacks R2.
    #[test]
    fn no_more_pairs_are_remembered_than_there_is_room_for() {
        let mut history = History::default();
        for remote_seq in 0..1_000 {
            history.done(PunchId { remote_seq, ..ID });
        }
        assert_eq!(history.pairs.len(), limits::PUNCH_HISTORY);
        assert_eq!(history.get(PunchId { remote_seq: 999, ..ID }), Some(Past::Done));
        history.forget_successes();
        assert_eq!(history.pairs.len(), 0);
    }
}
