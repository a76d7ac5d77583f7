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
const SEVERAL_PATHS_WINDOW: u64 = 2 * 1_024 * 1_024;

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

    /// Over several paths bytes came and others before them are missing: the window this one should have now, since what
    /// the quick paths bring fills it long before the application can take anything. `None`: it is large enough, or
    /// hardly used yet.
    #[inline]
    #[must_use]
    pub const fn behind_hole(&self) -> Option<u64> {
        let left = self.limit.saturating_sub(self.received);
        if self.window < SEVERAL_PATHS_WINDOW {
            if self.window.saturating_sub(left) >= self.window / UPDATE_SHARE { Some(SEVERAL_PATHS_WINDOW) } else { None }
        } else if left < self.window / UPDATE_SHARE {
            Some(self.window.saturating_mul(2))
        } else {
            None
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
mod tests;
