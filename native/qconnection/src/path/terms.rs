//! On which terms a path is asked for.
//!
//! Made by the application with its request; kept until the path begins. Decides nothing.

use super::scheduler::DEFAULT_WEIGHT;
use qbase::frame::PathStatusKind;

/// How a path is to be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathTerms {
    /// Advice to both ends (multipath MP-57).
    pub status: PathStatusKind,
    /// Its share under the scheduler `weighted`, against those of other paths; 0 counts as 1.
    pub weight: u32,
}

impl PathTerms {
    /// A path like all others.
    pub const AVAILABLE: Self = Self { status: PathStatusKind::Available, weight: DEFAULT_WEIGHT };
}

impl From<PathStatusKind> for PathTerms {
    fn from(status: PathStatusKind) -> Self {
        Self { status, ..Self::AVAILABLE }
    }
}
