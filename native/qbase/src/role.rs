//! Who is who: ends of a connection and ways of a stream.

/// An end of a connection (RFC 9000 §1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Sent the first Initial packet.
    Client,
    /// Answered it.
    Server,
}

impl Role {
    /// The other end.
    #[must_use]
    pub const fn peer(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }

    /// This is the client.
    #[must_use]
    pub const fn is_client(self) -> bool {
        matches!(self, Self::Client)
    }
}

/// The ways a stream carries bytes (RFC 9000 §2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// Both ends send.
    Bidirectional,
    /// Only the initiator sends.
    Unidirectional,
}
