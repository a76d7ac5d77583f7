//! The application's wishes about paths: which stream keeps to which, and what share each has (burst B-101).
//!
//! Called by the application's thread. What a plan from outside pins stands in `outside`.

use super::Connection;
use crate::stream::{IfDead, StreamError};
use qbase::{PathId, StreamId};

/// Why a stream cannot be pinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PinError {
    /// The path is not in use.
    #[error("there is no such path")]
    UnknownPath,
    /// The stream cannot be written.
    #[error(transparent)]
    Stream(#[from] StreamError),
}

impl Connection {
    /// Keeps a stream's bytes on one path while that lives, or frees it. [`IfDead`] says what happens while the path does
    /// not answer; when it is gone for good the stream goes over the others. Copies of bytes under way elsewhere stay there.
    ///
    /// # Errors
    /// The path is not in use, or the stream has no sending part or is closed.
    pub fn pin_stream(&mut self, stream: StreamId, pin: Option<(PathId, IfDead)>) -> Result<(), PinError> {
        if let Some((path, _)) = pin
            && !self.paths.get(path).is_some_and(|entry| entry.is_live())
        {
            return Err(PinError::UnknownPath);
        }
        self.scheduling.outside.forget_pin(stream);
        Ok(self.streams.pin(stream, pin)?)
    }

    /// The share of a path under the scheduler `weighted`, against those of other paths: a path of which nothing was said has
    /// [`DEFAULT_WEIGHT`](crate::path::scheduler::DEFAULT_WEIGHT). 0 counts as 1.
    ///
    /// # Errors
    /// The path is not in use.
    pub fn set_path_weight(&mut self, path: PathId, weight: u32) -> Result<(), PinError> {
        let entry = self.paths.get_mut(path).filter(|entry| entry.is_live()).ok_or(PinError::UnknownPath)?;
        entry.weight = weight.max(1);
        self.restart_shares();
        Ok(())
    }
}
