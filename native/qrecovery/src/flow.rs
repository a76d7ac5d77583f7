//! Flow control: what we may send and what the peer may send (RFC 9000 §4.1), for a stream as for a connection.
//!
//! Decides when a limit is reached, broken, or worth raising (mux R21, R23). Called by the stream room. Never looks at
//! bytes or buffers and writes no frame: it says which limit a frame should carry.

use qbase::{ErrorCode, Timestamp, TransportError, varint};
use std::time::Duration;

/// How much we may send: the limit the peer gave, and what is used of it.
///
/// Only fresh bytes are charged; a retransmission costs nothing (burst B-47).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct SendCredit {
    /// Largest offset or sum the peer accepts, bytes.
    limit: u64,
    /// Bytes charged, never above `limit`.
    used: u64,
    blocked: Blocked,
}

/// Whether the peer was told that its limit stops us (mux R23).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
enum Blocked {
    /// The limit was not reached since it rose.
    #[default]
    No,
    /// It stops us; a frame is owed.
    Owed,
    /// It stops us; the frame is out.
    Told,
}

impl SendCredit {
    /// Credit up to `limit` bytes.
    #[must_use]
    pub const fn new(limit: u64) -> Self {
        Self { limit, used: 0, blocked: Blocked::No }
    }

    /// Bytes that may be sent.
    #[must_use]
    pub const fn available(&self) -> u64 {
        self.limit.saturating_sub(self.used)
    }

    /// Bytes charged so far.
    #[must_use]
    pub const fn used(&self) -> u64 {
        self.used
    }

    /// The limit the peer gave.
    #[must_use]
    pub const fn limit(&self) -> u64 {
        self.limit
    }

    /// Charges up to `bytes` and tells how many were granted.
    pub fn charge(&mut self, bytes: u64) -> u64 {
        let granted = bytes.min(self.available());
        self.used = self.used.saturating_add(granted);
        granted
    }

    /// Charges one beyond the limit: for what waits until the limit has risen.
    pub const fn overdraw(&mut self) {
        self.used = self.used.saturating_add(1);
    }

    /// More is wanted than is available: one DATA_BLOCKED or STREAM_DATA_BLOCKED is owed for this limit.
    pub fn on_blocked(&mut self) {
        if self.blocked == Blocked::No {
            self.blocked = Blocked::Owed;
        }
    }

    /// The limit that an owed DATA_BLOCKED or STREAM_DATA_BLOCKED names.
    #[must_use]
    pub fn blocked_frame(&self) -> Option<u64> {
        (self.blocked == Blocked::Owed).then_some(self.limit)
    }

    /// That frame was written.
    pub fn on_blocked_frame_sent(&mut self) {
        if self.blocked == Blocked::Owed {
            self.blocked = Blocked::Told;
        }
    }

    /// A frame that named `limit` was lost: owed again if that limit still stops us.
    pub fn on_blocked_frame_lost(&mut self, limit: u64) {
        if self.blocked == Blocked::Told && limit == self.limit {
            self.blocked = Blocked::Owed;
        }
    }

    /// MAX_DATA or MAX_STREAM_DATA came; `true` if it raised the limit. Smaller ones are ignored (attacks C13).
    pub fn on_limit(&mut self, limit: u64) -> bool {
        let rises = limit > self.limit;
        if rises {
            self.limit = limit;
            self.blocked = Blocked::No;
        }
        rises
    }

    /// 0-RTT was rejected: everything is sent again under new limits (burst B-48).
    pub const fn restart(&mut self, limit: u64) {
        *self = Self::new(limit);
    }

    /// The same for a count of things that exist already: what was charged stays, even beyond the new limit.
    pub const fn relimit(&mut self, limit: u64) {
        *self = Self { used: self.used, ..Self::new(limit) };
    }
}

/// How much the peer may send: the limit we gave, what came, and what the application took.
///
/// The limit rises only when bytes were taken, and then to a whole window beyond them, so that one frame is sent per
/// quarter of a window at most (mux R21). The window itself doubles when it is what slows the peer down: see
/// [`ReceiveWindow::tune`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiveWindow {
    /// Bytes the peer may be ahead of the application.
    window: u64,
    /// Largest limit given, bytes; never falls.
    limit: u64,
    /// Largest offset, or sum of them, received.
    received: u64,
    /// Bytes the application took or that were given up for it.
    taken: u64,
    announcement: Announcement,
    /// When the last update was written, and what was received and taken by then; `None` before the first.
    updated: Option<(Timestamp, u64, u64)>,
    /// The peer had used three quarters up while bytes before its last ones were missing.
    starved: bool,
}

/// When an update is written, and how long its round trip takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tempo {
    /// The instant.
    pub now: Timestamp,
    /// The least round trip of the longest path in use: queues, our own ones above all, are no reason for a large window.
    pub round_trip: Duration,
    /// Several paths carry data: what the quick ones bring waits for what the slow ones have in their queues.
    pub several_paths: bool,
}

/// Round trips shorter than this count as this long: between processes of one machine it is their turns on the
/// processor that take time, and 1 to 2 MiB are in flight at best (design §7.11).
const SHORTEST_ROUND_TRIP: Duration = Duration::from_micros(750);

/// Over several paths no window that is read stays smaller: a packet in the queue of a slow path holds up what the quick
/// ones bring meanwhile (attacks F19).
const SEVERAL_PATHS_WINDOW: u64 = 1_024 * 1_024;

/// The share of a window that must be taken before the peer is told: the rest must carry it over a round trip.
const UPDATE_SHARE: u64 = 4;

/// Whether the peer knows `limit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Announcement {
    /// It was told.
    Told,
    /// The frame that told it was lost.
    Lost,
}

impl ReceiveWindow {
    /// A window whose first limit the peer knows from our transport parameters.
    #[must_use]
    pub fn new(window: u64) -> Self {
        let window = window.min(varint::MAX);
        Self { window, limit: window, received: 0, taken: 0, announcement: Announcement::Told, updated: None, starved: false }
    }

    /// The peer sent `bytes` more than it had before: of a stream the rise of its largest offset or final size, of a
    /// connection the sum of these.
    ///
    /// # Errors
    /// FLOW_CONTROL_ERROR beyond the limit (RFC 9000 §4.1; attacks D5); nothing is counted then.
    pub fn on_received(&mut self, bytes: u64) -> Result<(), TransportError> {
        let received = self.received.saturating_add(bytes);
        if received > self.limit {
            return Err(TransportError::new(ErrorCode::FLOW_CONTROL_ERROR, "more bytes than flow control allows"));
        }
        self.received = received;
        Ok(())
    }

    /// The application took `bytes`, or nobody will (mux R33, R34): room for as many more.
    pub fn on_taken(&mut self, bytes: u64) {
        self.taken = self.taken.saturating_add(bytes).min(self.received);
    }

    /// The limit that MAX_DATA or MAX_STREAM_DATA should carry; `None` while the last one is good enough.
    #[must_use]
    pub fn update(&self) -> Option<u64> {
        let next = self.next_limit();
        let grown = next.saturating_sub(self.limit);
        let is_worth_it = grown > 0 && grown >= self.window.div_ceil(UPDATE_SHARE);
        (is_worth_it || self.announcement == Announcement::Lost).then_some(next)
    }

    /// Bytes came and others before them are missing.
    #[inline]
    pub const fn note_hole(&mut self) {
        if self.limit.saturating_sub(self.received) < self.window / 4 {
            self.starved = true;
        }
    }

    /// An update is about to be written: the window this one should have.
    ///
    /// It doubles when the peer seems to wait for updates rather than for the network, that is when a whole window is
    /// received and taken in less than two round trips, and the application keeps up, that is has taken at least half of what is
    /// here. A window of two bandwidth-delay products so keeps its size, and slow start never catches up with it.
    /// Over several paths it also doubles when the peer used it up while a hole waited for a slow path (attacks F19).
    pub fn tune(&mut self, tempo: Tempo) -> u64 {
        let before = self.updated.replace((tempo.now, self.received, self.taken));
        let keeps_up = self.held() <= self.window / 2;
        let least = if tempo.several_paths { SEVERAL_PATHS_WINDOW } else { 0 };
        let doubled = self.window.saturating_mul(2).max(least);
        let same = self.window.max(if keeps_up { least } else { 0 });
        if std::mem::take(&mut self.starved) && tempo.several_paths && keeps_up {
            return doubled;
        }
        let Some((at, received, taken)) = before else { return same };
        // Behind a hole that is filled much is taken at once, and a reader who wakes up takes what came long before.
        let moved = self.received.saturating_sub(received).min(self.taken.saturating_sub(taken));
        let nanos = |duration: Duration| duration.as_nanos();
        let elapsed = nanos(tempo.now.saturating_since(at)).saturating_mul(self.window.into());
        let two_round_trips = nanos(tempo.round_trip.max(SHORTEST_ROUND_TRIP)).saturating_mul(2);
        let is_quick = elapsed < two_round_trips.saturating_mul(moved.into());
        if is_quick && keeps_up { doubled } else { same }
    }

    /// A frame with this limit was written.
    pub fn on_update_sent(&mut self, limit: u64) {
        self.limit = self.limit.max(limit);
        self.announcement = Announcement::Told;
    }

    /// A frame with this limit was lost: the newest limit is owed, unless a newer frame is on its way.
    pub fn on_update_lost(&mut self, limit: u64) {
        if limit == self.limit {
            self.announcement = Announcement::Lost;
        }
    }

    /// Changes the window, as autotuning and a full pool do. Limits already given stay (mux R22).
    pub fn set_window(&mut self, window: u64) {
        self.window = window.min(varint::MAX);
    }

    /// The window, bytes.
    #[must_use]
    pub const fn window(&self) -> u64 {
        self.window
    }

    /// Largest limit given to the peer.
    #[must_use]
    pub const fn limit(&self) -> u64 {
        self.limit
    }

    /// Bytes counted against the limit.
    #[must_use]
    pub const fn received(&self) -> u64 {
        self.received
    }

    /// Bytes the peer may still send plus those the application has not taken: what memory must be there for.
    #[must_use]
    pub const fn promised(&self) -> u64 {
        self.limit.saturating_sub(self.taken)
    }

    /// Bytes received and not yet taken.
    #[must_use]
    pub const fn held(&self) -> u64 {
        self.received.saturating_sub(self.taken)
    }

    /// The limit a frame would carry now, worth it or not.
    #[must_use]
    pub fn next_limit(&self) -> u64 {
        self.taken.saturating_add(self.window).min(varint::MAX).max(self.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn credit_is_granted_up_to_the_limit_and_no_further() {
        let mut credit = SendCredit::new(100);
        assert_eq!((credit.charge(60), credit.charge(60), credit.charge(60)), (60, 40, 0));
        assert!(credit.on_limit(150));
        assert_eq!(credit.charge(60), 50);
    }

    #[test]
    fn attack_c13_smaller_or_equal_limits_are_ignored() {
        let mut credit = SendCredit::new(100);
        assert!(!credit.on_limit(100));
        assert!(!credit.on_limit(7));
        assert_eq!(credit.available(), 100);
    }

    #[test]
    fn mux_r23_being_blocked_is_told_once_per_limit() {
        let mut credit = SendCredit::new(10);
        credit.charge(10);
        credit.on_blocked();
        assert_eq!(credit.blocked_frame(), Some(10));
        credit.on_blocked_frame_sent();
        credit.on_blocked();
        assert_eq!(credit.blocked_frame(), None);
        credit.on_blocked_frame_lost(10);
        assert_eq!(credit.blocked_frame(), Some(10));
        credit.on_limit(20);
        assert_eq!(credit.blocked_frame(), None);
        credit.charge(10);
        credit.on_blocked();
        assert_eq!(credit.blocked_frame(), Some(20));
        credit.on_blocked_frame_sent();
        credit.on_blocked_frame_lost(10);
        assert_eq!(credit.blocked_frame(), None, "a lost frame about an old limit is no news");
    }

    #[test]
    fn attack_d5_one_byte_above_the_limit_is_a_flow_control_error() {
        let mut window = ReceiveWindow::new(100);
        assert_eq!(window.on_received(100), Ok(()));
        assert_eq!(window.on_received(1).unwrap_err().code, ErrorCode::FLOW_CONTROL_ERROR);
        assert_eq!(window.on_received(u64::MAX).unwrap_err().code, ErrorCode::FLOW_CONTROL_ERROR);
        assert_eq!(window.received(), 100);
    }

    #[test]
    fn mux_r21_the_limit_rises_when_a_quarter_of_a_window_was_taken() {
        let mut window = ReceiveWindow::new(100);
        window.on_received(100).unwrap();
        assert_eq!(window.update(), None, "received is not taken");
        window.on_taken(24);
        assert_eq!(window.update(), None);
        window.on_taken(1);
        assert_eq!(window.update(), Some(125));
        window.on_update_sent(125);
        assert_eq!(window.update(), None);
        assert_eq!(window.held(), 75);
    }

    #[test]
    fn a_lost_update_is_repeated_with_the_newest_limit_unless_a_newer_one_went_out() {
        let mut window = ReceiveWindow::new(100);
        window.on_received(100).unwrap();
        window.on_taken(50);
        window.on_update_sent(150);
        window.on_taken(10);
        window.on_update_lost(150);
        assert_eq!(window.update(), Some(160));
        window.on_update_sent(160);
        window.on_update_lost(150);
        assert_eq!(window.update(), None);
    }

    /// A window of 1 MiB; `take` bytes are taken every `every` microseconds, each time an update is written.
    fn tuned(take: u64, every: u64, round_trip: u64, held: u64) -> u64 {
        let mut window = ReceiveWindow::new(1 << 20);
        let mut now = Timestamp::ZERO;
        let mut wanted = window.window();
        for _ in 0..3 {
            let _ = window.on_received(take + if window.received() == 0 { held } else { 0 });
            window.on_taken(take);
            window.on_update_sent(window.taken + (1 << 20));
            wanted = window.tune(Tempo { now, round_trip: Duration::from_millis(round_trip), several_paths: false });
            now += Duration::from_micros(every);
        }
        wanted
    }

    #[test]
    fn a_window_that_is_taken_in_less_than_two_round_trips_should_double() {
        const QUARTER: u64 = 1 << 18;
        assert_eq!(tuned(QUARTER, 19_999, 40, 0), 2 << 20, "a window in just under 80 ms");
        assert_eq!(tuned(QUARTER, 20_000, 40, 0), 1 << 20);
        assert_eq!(tuned(2 * QUARTER, 39_999, 40, 0), 2 << 20, "however much one update is for");
        assert_eq!(tuned(QUARTER, 19_999, 40, 600_000), 1 << 20, "the application does not keep up");
        assert_eq!(tuned(QUARTER, 374, 0, 0), 2 << 20, "no round trip counts less than 750 microseconds");
        assert_eq!(tuned(QUARTER, 375, 0, 0), 1 << 20);
    }

    /// attacks F19.
    #[test]
    fn a_window_used_up_behind_a_hole_should_double_where_several_paths_make_holes() {
        const WINDOW: u64 = 4 << 20;
        for (several_paths, left, expected) in [(true, WINDOW / 4 - 1, 2 * WINDOW), (false, 1, WINDOW), (true, WINDOW / 4, WINDOW)] {
            let mut window = ReceiveWindow::new(WINDOW);
            window.on_received(WINDOW - left).unwrap();
            window.note_hole();
            window.on_taken(WINDOW - left);
            let tempo = Tempo { now: Timestamp::ZERO, round_trip: Duration::ZERO, several_paths };
            assert_eq!((window.tune(tempo), window.tune(tempo)), (expected, WINDOW), "{left} bytes left");
        }
    }

    /// attacks F19.
    #[test]
    fn over_several_paths_a_window_that_is_read_becomes_a_mebibyte_at_least() {
        for (several_paths, taken, expected) in [(true, 60_000, 1 << 20), (true, 10_000, 100_000), (false, 60_000, 100_000)] {
            let mut window = ReceiveWindow::new(100_000);
            window.on_received(80_000).unwrap();
            window.on_taken(taken);
            let tempo = Tempo { now: Timestamp::ZERO, round_trip: Duration::ZERO, several_paths };
            assert_eq!(window.tune(tempo), expected, "{taken} bytes taken");
        }
    }

    #[test]
    fn the_first_update_measures_nothing() {
        let mut window = ReceiveWindow::new(100);
        window.on_received(100).unwrap();
        window.on_taken(100);
        assert_eq!(window.tune(Tempo { now: Timestamp::from_millis(5), round_trip: Duration::from_secs(9), several_paths: false }), 100);
    }

    #[test]
    fn a_smaller_window_never_takes_a_limit_back() {
        let mut window = ReceiveWindow::new(100);
        window.set_window(10);
        window.on_received(50).unwrap();
        window.on_taken(50);
        assert_eq!((window.update(), window.limit()), (None, 100));
        window.on_received(50).unwrap();
        window.on_taken(50);
        assert_eq!(window.update(), Some(110));
    }

    proptest! {
        #[test]
        fn mux_r21_updates_are_at_least_a_quarter_of_a_window_apart_and_the_peer_never_starves(
            window in 1u64..10_000, reads in proptest::collection::vec(1u64..500, 1..300),
        ) {
            let mut flow = ReceiveWindow::new(window);
            let (mut updates, mut taken) = (0, 0);
            for read in reads {
                let room = flow.limit() - flow.received();
                prop_assert!(room > 0 || flow.held() > 0, "nothing to take and nothing allowed");
                flow.on_received(room).unwrap();
                let read = read.min(flow.held());
                flow.on_taken(read);
                taken += read;
                if let Some(limit) = flow.update() {
                    prop_assert!(limit <= taken + window);
                    flow.on_update_sent(limit);
                    updates += 1;
                }
            }
            prop_assert!(updates <= taken / window.div_ceil(4), "{} updates for {} bytes", updates, taken);
        }
    }
}
