//! How a simulated run fails: in words, with everything needed to repeat and understand it.
//!
//! Called by the harness. Printed whole by a failing test, whether with `unwrap` or `?`.

use std::fmt;

/// Seed, virtual time, reason, both ends' own words, links and last datagrams.
#[derive(Clone, PartialEq, Eq)]
pub struct Failure(String);

impl Failure {
    /// A failure that says this.
    #[must_use]
    pub const fn new(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The same as `Display`, so that `unwrap` shows lines and not escapes.
impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Failure {}

/// Why a run stopped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Two ends, no timer, no datagram.
    #[error("nothing can ever happen: no datagram is under way and no timer is set")]
    Stuck,
    /// The condition did not come true in time.
    #[error("the condition did not come true within {0:?} of virtual time")]
    Limit(std::time::Duration),
    /// Steps without virtual time passing.
    #[error("time stands still: {0}")]
    Livelock(String),
    /// Bytes that were never sent arrived, or at the wrong place.
    #[error("{0}")]
    Mismatch(String),
    /// A burst broke a rule that every burst keeps.
    #[error("malformed burst: {0}")]
    Burst(String),
    /// The world could not be built.
    #[error("{0}")]
    Setup(String),
}
