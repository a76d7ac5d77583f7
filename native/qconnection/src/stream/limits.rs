//! How many streams there may be (RFC 9000 §4.6), and which of them are gone.
//!
//! Decides whether a stream id of the peer is new, live, closed or too large, and when MAX_STREAMS is worth sending.
//! Called by the stream room. Keeps no entry per stream: ids that are neither live nor closed exist by their number
//! alone (attacks D11), closed ones are a set of ranges (mux R42, attacks L16).

use qbase::{Direction, ErrorCode, TransportError, stream_id::MAX_STREAM_COUNT};
use qrecovery::{RangeSet, flow::SendCredit};

/// One of something for each kind of stream.
#[derive(Clone, Debug, Default)]
pub(super) struct PerDirection<T> {
    pub bidirectional: T,
    pub unidirectional: T,
}

impl<T> PerDirection<T> {
    #[inline]
    pub const fn get(&self, direction: Direction) -> &T {
        match direction {
            Direction::Bidirectional => &self.bidirectional,
            Direction::Unidirectional => &self.unidirectional,
        }
    }

    #[inline]
    pub const fn get_mut(&mut self, direction: Direction) -> &mut T {
        match direction {
            Direction::Bidirectional => &mut self.bidirectional,
            Direction::Unidirectional => &mut self.unidirectional,
        }
    }
}

/// Both kinds, in the order their frames are written.
pub(super) const DIRECTIONS: [Direction; 2] = [Direction::Bidirectional, Direction::Unidirectional];

/// What an index of a peer's stream means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It exists and has not been closed.
    Open,
    /// It was closed; frames for it are late.
    Closed,
}

/// Streams of one kind that the peer opens.
///
/// ```text
/// 0 ... told / accepted ... opened ... allowed
///   the application knows   exists     may be opened
/// ```
#[derive(Clone, Debug)]
pub(super) struct PeerStreams {
    /// Streams at once.
    concurrent: u64,
    /// Streams the peer may open since the start: what MAX_STREAMS said last.
    allowed: u64,
    /// Streams that exist or existed: every lower index came with a higher one (RFC 9000 §3.2).
    opened: u64,
    /// Streams told to the application by events.
    told: u64,
    /// Streams the application accepted.
    accepted: u64,
    /// The application may know of streams below this index (`super::gate`).
    shown: u64,
    /// Indices of closed streams: one range, plus one per live stream among them.
    closed: RangeSet,
    /// How many were closed.
    closed_count: u64,
    /// The last MAX_STREAMS was lost.
    lost: bool,
}

impl PeerStreams {
    pub fn new(concurrent: u64) -> Self {
        let concurrent = concurrent.min(MAX_STREAM_COUNT);
        Self {
            concurrent,
            allowed: concurrent,
            opened: 0,
            told: 0,
            accepted: 0,
            shown: u64::MAX,
            closed: RangeSet::new(),
            closed_count: 0,
            lost: false,
        }
    }

    /// A frame named the stream with this index: it and all below exist from now on.
    ///
    /// # Errors
    /// STREAM_LIMIT_ERROR beyond what was allowed (attacks D8).
    pub fn on_frame(&mut self, index: u64) -> Result<Standing, TransportError> {
        if index >= self.allowed {
            return Err(TransportError::new(ErrorCode::STREAM_LIMIT_ERROR, "more streams than allowed"));
        }
        self.opened = self.opened.max(index.saturating_add(1));
        Ok(self.standing(index))
    }

    /// What an index below the limit is; [`Standing::Closed`] also for one that does not exist.
    pub fn standing(&self, index: u64) -> Standing {
        if index >= self.opened || self.closed.contains(index) { Standing::Closed } else { Standing::Open }
    }

    /// The stream has gone: its place may be given to another.
    pub fn on_closed(&mut self, index: u64) {
        if self.closed.insert_one(index) {
            self.closed_count = self.closed_count.saturating_add(1);
        }
    }

    /// The next stream the application has not been told of.
    pub fn next_untold(&mut self) -> Option<u64> {
        let index = self.told;
        self.has_untold().then(|| {
            self.told = index.saturating_add(1);
            index
        })
    }

    /// There are streams the application has not been told of.
    pub const fn has_untold(&self) -> bool {
        self.told < self.opened && self.told < self.shown
    }

    /// The next stream for a call of accept.
    pub fn accept(&mut self) -> Option<u64> {
        let index = self.accepted;
        (index < self.opened.min(self.shown)).then(|| {
            self.accepted = index.saturating_add(1);
            index
        })
    }

    /// The application may know of those that exist, and of no later one.
    pub const fn hide(&mut self) {
        self.shown = self.opened;
    }

    /// It may know of all.
    pub const fn show(&mut self) {
        self.shown = u64::MAX;
    }

    /// The application may know of streams below this index.
    #[inline]
    pub const fn shown(&self) -> u64 {
        self.shown
    }

    /// Streams that exist or existed and that it does not know of for that reason.
    pub const fn hidden(&self) -> u64 {
        self.opened.saturating_sub(self.shown)
    }

    /// So many may be open at once from now on; fewer than before change nothing.
    pub fn grant(&mut self, concurrent: u64) {
        self.concurrent = self.concurrent.max(concurrent.min(MAX_STREAM_COUNT));
    }

    /// The limit that MAX_STREAMS should carry; `None` while the last one is good enough: several places are given at
    /// once unless the peer is about to run out.
    ///
    /// A place comes free only when the application has read the stream to its end or knows of its reset (mux R43), so
    /// it knows the stream. The peer can use a place a round trip later at the earliest: no more than twice
    /// `concurrent` streams begin in one (attacks L17).
    pub fn update(&self) -> Option<u64> {
        let next = self.closed_count.saturating_add(self.concurrent).min(MAX_STREAM_COUNT);
        let grown = next.saturating_sub(self.allowed);
        let left = self.allowed.saturating_sub(self.opened);
        let is_worth_it = grown >= (self.concurrent / 8).max(1) || left <= self.concurrent / 4;
        ((grown > 0 && is_worth_it) || self.lost).then_some(next.max(self.allowed))
    }

    pub fn on_update_sent(&mut self, maximum: u64) {
        self.allowed = self.allowed.max(maximum);
        self.lost = false;
    }

    pub fn on_update_lost(&mut self, maximum: u64) {
        self.lost |= maximum == self.allowed;
    }

    /// Streams that exist or existed.
    pub const fn opened(&self) -> u64 {
        self.opened
    }

    /// Ranges kept of closed streams, for the gauge.
    pub fn closed_ranges(&self) -> usize {
        self.closed.len()
    }
}

/// Streams of one kind that we open.
#[derive(Clone, Debug, Default)]
pub(super) struct LocalStreams {
    /// Streams the peer allows and those we opened; also owes STREAMS_BLOCKED, once per limit (mux R23).
    pub credit: SendCredit,
    /// The application wanted one more than allowed: it is told when there is room.
    wanted: bool,
}

impl LocalStreams {
    /// The index of a new stream; `None` when the peer allows no more.
    pub fn open(&mut self) -> Option<u64> {
        let index = self.credit.used();
        if self.credit.charge(1) == 1 {
            return Some(index);
        }
        self.credit.on_blocked();
        self.wanted = true;
        None
    }

    /// The index of a new stream, allowed or not.
    pub fn open_beyond(&mut self) -> u64 {
        let index = self.credit.used();
        self.credit.overdraw();
        index
    }

    /// MAX_STREAMS or a transport parameter; `true` if the application waits for it.
    pub fn on_limit(&mut self, limit: u64) -> bool {
        self.credit.on_limit(limit) && std::mem::take(&mut self.wanted)
    }

    /// Streams opened.
    pub const fn opened(&self) -> u64 {
        self.credit.used()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// attacks D11.
    #[test]
    fn the_highest_index_first_opens_all_below_without_memory_for_each() {
        let mut peer = PeerStreams::new(100);
        assert_eq!(peer.on_frame(99), Ok(Standing::Open));
        assert_eq!(peer.on_frame(0), Ok(Standing::Open));
        assert_eq!(peer.on_frame(100).unwrap_err().code, ErrorCode::STREAM_LIMIT_ERROR);
        assert_eq!(std::iter::from_fn(|| peer.accept()).count(), 100);
        assert_eq!(peer.closed.memory(), 0);
    }

    #[test]
    fn places_are_given_back_in_groups_unless_the_peer_runs_out() {
        let mut peer = PeerStreams::new(100);
        peer.on_frame(20).unwrap();
        for index in 0..12 {
            assert_eq!(peer.update(), None);
            peer.on_closed(index);
        }
        assert_eq!(peer.update(), Some(112));
        peer.on_update_sent(112);
        peer.on_frame(111).unwrap();
        assert_eq!(peer.update(), None, "nothing closed, nothing given");
        peer.on_closed(50);
        assert_eq!(peer.update(), Some(113), "the peer has no place left: each one counts");
    }

    #[test]
    fn a_lost_limit_is_repeated_with_the_newest_value() {
        let mut peer = PeerStreams::new(8);
        peer.on_frame(7).unwrap();
        peer.on_closed(3);
        peer.on_update_sent(peer.update().unwrap());
        peer.on_update_lost(9);
        assert_eq!(peer.update(), Some(9));
        peer.on_closed(4);
        peer.on_update_sent(10);
        peer.on_update_lost(9);
        assert_eq!(peer.update(), None);
    }

    /// mux R42.
    #[test]
    fn closed_streams_are_ranges_and_closing_twice_counts_once() {
        let mut peer = PeerStreams::new(100);
        for index in 0..100_000 {
            assert_eq!(peer.on_frame(index), Ok(Standing::Open));
            peer.on_closed(index);
            peer.on_closed(index);
            if let Some(maximum) = peer.update() {
                peer.on_update_sent(maximum);
            }
            assert_eq!(peer.on_frame(index), Ok(Standing::Closed));
        }
        assert_eq!((peer.closed_ranges(), peer.closed_count), (1, 100_000));
    }

    #[test]
    fn wanting_a_stream_too_many_is_told_once_and_answered() {
        let mut local = LocalStreams::default();
        assert!(!local.on_limit(1), "nobody waits");
        assert_eq!((local.open(), local.open(), local.open()), (Some(0), None, None));
        assert_eq!(local.credit.blocked_frame(), Some(1));
        assert!(!local.on_limit(1));
        assert!(local.on_limit(2));
        assert_eq!((local.open(), local.opened()), (Some(1), 2));
    }
}
