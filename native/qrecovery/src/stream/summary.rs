//! One word for a whole stream (mux §4), derived from the states of its parts.
//!
//! Called by statistics, `explain()` and the stream room when it asks whether a stream can be freed. Never stored: two
//! records of one state would have to agree.

use super::{RecvPhase, RecvState, SendPhase, SendState};

/// The summary of a stream (mux §4, R36).
///
/// ```text
/// IDLE -> OPEN -> HALF_LOCAL / HALF_REMOTE -> CLOSED
///   \______\__________\______> ERROR -> RESET ---^
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Summary {
    /// The id is known; nothing was sent or received.
    Idle,
    /// Both parts are live.
    Open,
    /// Our FIN is out and not all is acknowledged.
    HalfLocal,
    /// Their FIN is in and not all is read.
    HalfRemote,
    /// A reset or a stop is decided, its frame not sent.
    Error,
    /// The owed frames were sent; no further one is made.
    Reset,
    /// Every part has ended.
    Closed,
}

impl Summary {
    /// The summary of a stream with these parts; a one-way stream has one of them.
    #[must_use]
    pub fn of(send: Option<&SendState>, recv: Option<&RecvState>) -> Self {
        let send_ended = send.is_none_or(SendState::is_terminal);
        let recv_ended = recv.is_none_or(RecvState::is_terminal);
        if send_ended && recv_ended {
            return Self::Closed;
        }
        if send.is_some_and(SendState::owes_reset) || recv.is_some_and(RecvState::owes_stop) {
            return Self::Error;
        }
        if send.is_some_and(|send| send.abort().is_some()) || recv.is_some_and(RecvState::has_stopped) {
            return Self::Reset;
        }
        if send.is_some_and(|send| send.phase() == SendPhase::DataSent) {
            return Self::HalfLocal;
        }
        if recv.is_some_and(|recv| recv.phase() != RecvPhase::Recv) {
            return Self::HalfRemote;
        }
        if send.is_some_and(|send| send.phase() == SendPhase::DataRecvd) {
            return Self::HalfLocal;
        }
        let untouched = send.is_none_or(|send| send.phase() == SendPhase::Ready)
            && recv.is_none_or(|recv| recv.highest() == 0);
        if untouched { Self::Idle } else { Self::Open }
    }
}
