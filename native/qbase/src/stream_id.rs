//! Stream ids (RFC 9000 §2.1).
//!
//! | low bits | stream |
//! |---|---|
//! | 0x0 | client-initiated, bidirectional |
//! | 0x1 | server-initiated, bidirectional |
//! | 0x2 | client-initiated, unidirectional |
//! | 0x3 | server-initiated, unidirectional |

use crate::{Direction, Role};
use std::fmt;

/// Most streams of one kind a connection can ever have (RFC 9000 §4.6): 2^60.
pub const MAX_STREAM_COUNT: u64 = 1 << 60;

/// A stream id, 0 ..= 2^62-1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

impl StreamId {
    /// The `index`-th stream (from 0) of its kind.
    #[must_use]
    pub const fn new(initiator: Role, direction: Direction, index: u64) -> Self {
        let low =
            matches!(initiator, Role::Server) as u64 | (matches!(direction, Direction::Unidirectional) as u64) << 1;
        Self(index << 2 | low)
    }

    /// Who opened the stream.
    #[must_use]
    pub const fn initiator(self) -> Role {
        if self.0 & 1 == 0 { Role::Client } else { Role::Server }
    }

    /// Which ways it carries bytes.
    #[must_use]
    pub const fn direction(self) -> Direction {
        if self.0 & 2 == 0 { Direction::Bidirectional } else { Direction::Unidirectional }
    }

    /// Position among the streams of its kind, from 0.
    #[must_use]
    pub const fn index(self) -> u64 {
        self.0 >> 2
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stream {}", self.0)
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
