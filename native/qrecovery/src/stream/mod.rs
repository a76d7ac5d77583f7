//! Stream states: the two machines of RFC 9000 §3 and the one summary above them (mux §4).
//!
//! Decides which frames a part of a stream may still send and when it has ended. Called by the stream room. Never holds
//! bytes, never writes frames: it says that one is owed and is told when it went out, arrived, or was lost.

pub mod recv_state;
pub mod send_state;
pub mod summary;

pub use recv_state::{RecvPhase, RecvState};
pub use send_state::{SendPhase, SendState};
pub use summary::Summary;

/// Who decided that a part of a stream ends early (mux R31).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Our application, or a layer above us that found an error.
    Local,
    /// A frame of the peer.
    Peer,
}

/// An early end: the first one decided is the one that counts (mux R30).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abort {
    /// Application error code (RFC 9000 §20.2).
    pub code: u64,
    /// Who decided it.
    pub by: Origin,
}

/// Whether a call or a frame changed anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It is news: a frame is owed, or the application must be told.
    Changed,
    /// It came too late or says what is known.
    Nothing,
}

impl Effect {
    /// Something changed.
    #[must_use]
    #[inline]
    pub const fn is_change(self) -> bool {
        matches!(self, Self::Changed)
    }
}

#[cfg(test)]
mod tests;
