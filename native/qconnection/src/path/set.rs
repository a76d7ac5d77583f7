//! The one map keyed by path id, with the limits of both ends (multipath sections C, F, G).
//!
//! Called by every part of the connection that names a path. A lookup returns an `Option`; nothing panics on an id that
//! is gone. Abandoned ids stay known for ever as a range set, because ids are never reused (multipath MP-16, attacks F5).

use super::{PathEntry, PathState};
use qbase::{PathId, limits};
use qrecovery::range_set::RangeSet;

/// All path ids of a connection that are neither unknown nor forgotten.
#[derive(Debug)]
pub struct PathSet {
    /// Sorted by id. At most the ids between the first forgotten and the limit: L11 plus the unused ones.
    entries: Vec<PathEntry>,
    /// Ids that ended and are forgotten.
    forgotten: RangeSet,
    /// Highest id we accept: our `initial_max_path_id` or MAX_PATH_ID. `None`: multipath is not negotiated.
    pub local_maximum: Option<PathId>,
    /// Highest id the peer accepts.
    pub peer_maximum: Option<PathId>,
    /// MAX_PATH_ID waits to be sent.
    pub maximum_owed: bool,
    /// PATHS_BLOCKED waits to be sent.
    pub blocked_owed: bool,
}

/// What is known about an id that a frame names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// It has an entry.
    Here,
    /// It ended and its state is gone: such frames are ignored (multipath MP-71).
    Forgotten,
    /// It lies above our own limit: PROTOCOL_VIOLATION (multipath MP-71).
    AboveLimit,
    /// It is allowed and nothing was done with it yet.
    Fresh,
}

impl Default for PathSet {
    fn default() -> Self {
        Self::new()
    }
}

impl PathSet {
    /// A set with path id 0, unused.
    #[must_use]
    pub fn new() -> Self {
        Self {
            entries: vec![PathEntry::new(PathId::ZERO)],
            forgotten: RangeSet::new(),
            local_maximum: None,
            peer_maximum: None,
            maximum_owed: false,
            blocked_owed: false,
        }
    }

    /// The entry of `id`.
    #[must_use]
    #[inline]
    pub fn get(&self, id: PathId) -> Option<&PathEntry> {
        self.position(id).and_then(|at| self.entries.get(at))
    }

    /// The entry of `id`, to change.
    #[must_use]
    #[inline]
    pub fn get_mut(&mut self, id: PathId) -> Option<&mut PathEntry> {
        self.position(id).and_then(|at| self.entries.get_mut(at))
    }

    /// Entries in order of id. Ids are dense at the front, so the first guess is usually right.
    #[inline]
    fn position(&self, id: PathId) -> Option<usize> {
        let guess = id.0 as usize;
        if self.entries.get(guess).is_some_and(|entry| entry.id == id) {
            return Some(guess);
        }
        self.entries.binary_search_by_key(&id, |entry| entry.id).ok()
    }

    /// The entry of `id`, made if it is allowed and was never used.
    pub fn get_or_create(&mut self, id: PathId) -> Option<&mut PathEntry> {
        if self.known(id) == Known::Fresh
            && let Err(at) = self.entries.binary_search_by_key(&id, |entry| entry.id)
        {
            self.entries.insert(at, PathEntry::new(id));
        }
        self.get_mut(id)
    }

    /// What is known about an id from a frame.
    #[must_use]
    pub fn known(&self, id: PathId) -> Known {
        if self.position(id).is_some() {
            Known::Here
        } else if self.forgotten.contains(u64::from(id.0)) {
            Known::Forgotten
        } else if self.local_maximum.is_none_or(|maximum| id > maximum) {
            Known::AboveLimit
        } else {
            Known::Fresh
        }
    }

    /// All entries, by rising id.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &PathEntry> + Clone {
        self.entries.iter()
    }

    /// All entries, by rising id, to change.
    pub fn iter_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut PathEntry> {
        self.entries.iter_mut()
    }

    /// Ids of all entries, by rising id.
    pub fn ids(&self) -> impl Iterator<Item = PathId> + '_ {
        self.entries.iter().map(|entry| entry.id)
    }

    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// No path id is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The `at`-th entry's id, for loops that change the set.
    #[must_use]
    pub fn id_at(&self, at: usize) -> Option<PathId> {
        self.entries.get(at).map(|entry| entry.id)
    }

    /// Paths in use: validating or open.
    #[must_use]
    pub fn live_count(&self) -> usize {
        self.entries.iter().filter(|entry| entry.is_live()).count()
    }

    /// Validated paths.
    #[must_use]
    pub fn open_count(&self) -> usize {
        self.entries.iter().filter(|entry| entry.state == PathState::Open).count()
    }

    /// Highest id both ends accept.
    #[must_use]
    pub fn usable_maximum(&self) -> Option<PathId> {
        Some(self.local_maximum?.min(self.peer_maximum?))
    }

    /// Forgets an abandoned path id and, so that as many paths as before can be open, raises our limit by one
    /// (multipath MP-56, MP-84).
    pub fn forget(&mut self, id: PathId) -> Option<PathEntry> {
        let at = self.position(id)?;
        let entry = self.entries.remove(at);
        self.forgotten.insert_one(u64::from(id.0));
        if let Some(next) = self.local_maximum.and_then(PathId::next) {
            self.local_maximum = Some(next);
            self.maximum_owed = true;
        }
        Some(entry)
    }

    /// Accepts `more` ids than before; says so if multipath is on (multipath MP-53).
    pub fn raise_local_maximum(&mut self, more: u32) {
        if let Some(maximum) = &mut self.local_maximum {
            *maximum = PathId(maximum.0.saturating_add(more));
            self.maximum_owed = true;
        }
    }

    /// The peer's limit, from its parameter or MAX_PATH_ID: only ever rises (multipath MP-53).
    pub fn on_peer_maximum(&mut self, maximum: PathId) -> bool {
        let raised = self.peer_maximum.is_none_or(|known| maximum > known);
        if raised {
            self.peer_maximum = Some(maximum);
        }
        raised
    }

    /// The lowest unused id for which the peer gave a connection id (multipath MP-19, MP-47).
    #[must_use]
    pub fn next_openable(&self) -> Option<PathId> {
        let maximum = self.usable_maximum()?;
        self.entries
            .iter()
            .find(|entry| entry.state == PathState::Unused && entry.id != PathId::ZERO && entry.id <= maximum && entry.remote_cids.active().is_some())
            .map(|entry| entry.id)
    }

    /// No more paths may be opened at once (attacks L11).
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.live_count() >= limits::OPEN_PATHS
    }
}
