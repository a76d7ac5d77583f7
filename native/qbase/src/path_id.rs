//! Path ids of the multipath extension (draft-ietf-quic-multipath-21 §1.1; multipath MP-15, MP-16).

use std::fmt;

/// A path id, 0 ..= 2^32-1. Single-path QUIC has only [`PathId::ZERO`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PathId(pub u32);

impl PathId {
    /// The path of the handshake.
    pub const ZERO: Self = Self(0);

    /// The id as it stands in frames; `None` above 2^32-1.
    #[must_use]
    pub fn from_wire(value: u64) -> Option<Self> {
        u32::try_from(value).ok().map(Self)
    }

    /// The id that follows; `None` after the last.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }
}

impl fmt::Debug for PathId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "path {}", self.0)
    }
}

impl fmt::Display for PathId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
