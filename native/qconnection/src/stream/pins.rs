//! Streams that keep to one path (burst B-101).
//!
//! ```text
//!  Free --pin--> Kept --path suspected, IfDead::Move--> Away --path answers--> Kept
//!    ^____________/ \___ path gone __________________________/ \___ path gone ___> Free
//! ```
//! Called by the application's verbs and by what happens to paths. Never chooses a path.

use super::{Stream, StreamError, Streams, map::Key};
use qbase::{PathId, StreamId};

/// What a pinned stream does while its path does not answer. When the path is gone for good, it goes over the others
/// in any case: path ids are not used again, and no byte may be left behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IfDead {
    /// It goes over the others until the path answers again.
    #[default]
    Move,
    /// It waits for the path.
    Wait,
}

/// Where a stream's bytes go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Standing {
    /// Where the scheduler sends data.
    #[default]
    Free,
    /// On this path only.
    Kept(PathId, IfDead),
    /// Where the scheduler sends data, until this path answers again.
    Away(PathId),
}

impl Standing {
    /// The path the stream is pinned to.
    const fn path(self) -> Option<PathId> {
        match self {
            Self::Free => None,
            Self::Kept(path, _) | Self::Away(path) => Some(path),
        }
    }
}

/// What became of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathChange {
    /// It does not answer.
    Suspect,
    /// It answers again.
    Answers,
    /// It is gone.
    Gone,
}

impl Streams {
    /// Keeps a stream's bytes on one path, or frees it. Bytes under way stay where they are.
    ///
    /// # Errors
    /// The stream has no sending part, or is closed.
    pub fn pin(&mut self, id: StreamId, pin: Option<(PathId, IfDead)>) -> Result<(), StreamError> {
        let key = self.app_key(id).ok_or(StreamError::Closed)?;
        let stream = self.map.get(key).ok_or(StreamError::Closed)?;
        if stream.send.is_none() {
            return Err(StreamError::WrongWay);
        }
        let standing = match pin {
            Some((path, if_dead)) => {
                self.schedule.open(path);
                Standing::Kept(path, if_dead)
            }
            None => Standing::Free,
        };
        self.stand(key, standing);
        Ok(())
    }

    /// The path a stream is pinned to.
    #[must_use]
    pub fn pinned_to(&self, id: StreamId) -> Option<PathId> {
        let stream = self.map.get(self.map.key(id)?)?;
        stream.send.as_ref()?.standing.path()
    }

    /// The bytes of this stream may not go over other paths than their own.
    pub(crate) fn is_kept(&self, id: StreamId) -> bool {
        self.schedule.is_any()
            && self.map.key(id).and_then(|key| self.map.get(key)).and_then(|stream| stream.send.as_ref()).is_some_and(|part| part.lane().is_some())
    }

    /// Something happened to a path that streams may be pinned to.
    pub(crate) fn on_path_change(&mut self, path: PathId, change: PathChange) {
        if !self.schedule.is_any() {
            return;
        }
        let concerned = |stream: &Stream| stream.send.as_ref().is_some_and(|part| part.standing.path() == Some(path));
        let keys: Vec<Key> = self.map.iter_mut().filter(|(_, stream)| concerned(stream)).map(|(key, _)| key).collect();
        for key in keys {
            let standing = self.map.get(key).and_then(|stream| stream.send.as_ref()).map(|part| part.standing);
            let next = match (standing, change) {
                (_, PathChange::Gone) => Standing::Free,
                (Some(Standing::Kept(path, IfDead::Move)), PathChange::Suspect) => Standing::Away(path),
                (Some(Standing::Away(path)), PathChange::Answers) => Standing::Kept(path, IfDead::Move),
                _ => continue,
            };
            self.stand(key, next);
        }
        if change == PathChange::Gone {
            self.schedule.close(path);
        }
    }

    fn stand(&mut self, key: Key, standing: Standing) {
        let Some(stream) = self.map.get_mut(key) else { return };
        let ticket = stream.ticket(key);
        let Some(part) = &mut stream.send else { return };
        if part.standing != standing {
            self.schedule.move_to(ticket, part, standing);
            self.settle(key);
        }
    }
}
