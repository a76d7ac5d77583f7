//! Why the bytes of a frame cannot be one: small while decoding, a [`TransportError`] at the edge.
//!
//! Called by every frame's `read`. Never leaves the frame room.

use crate::{TransportError, UnexpectedEnd};

/// What is wrong with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Malformed {
    /// The packet ends inside the frame: FRAME_ENCODING_ERROR.
    Truncated,
    /// A value is out of range: FRAME_ENCODING_ERROR.
    Encoding(&'static str),
    /// A rule with its own code is broken: PROTOCOL_VIOLATION.
    Violation(&'static str),
}

impl Malformed {
    /// The error that closes the connection.
    #[cold]
    pub(super) const fn in_frame(self, frame_type: u64) -> TransportError {
        match self {
            Self::Truncated => TransportError::encoding("the packet ends inside a frame"),
            Self::Encoding(reason) => TransportError::encoding(reason),
            Self::Violation(reason) => TransportError::violation(reason),
        }
        .by_frame(frame_type)
    }
}

impl From<UnexpectedEnd> for Malformed {
    fn from(_: UnexpectedEnd) -> Self {
        Self::Truncated
    }
}
