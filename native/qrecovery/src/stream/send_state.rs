//! The sending part of a stream (RFC 9000 §3.1), with the difference between a reset decided and a reset sent (mux §4).
//!
//! Decides whether STREAM frames may still go out and whether RESET_STREAM is owed. Called by the stream room for every
//! call, frame and fate that concerns a sending part. Never holds bytes.

use super::{Abort, Effect};
use qbase::frame::Fin;

/// States of a sending part (RFC 9000 §3.1).
///
/// ```text
///        o
///        v
///    Ready ------- RESET_STREAM -----.
///      | STREAM / STREAM_DATA_BLOCKED|
///      v                             |
///    Send -------- RESET_STREAM ---->|
///      | STREAM with FIN             |
///      v                             v
///    DataSent ---- RESET_STREAM --> ResetSent
///      | all acknowledged            | acknowledged
///      v                             v
///    DataRecvd                     ResetRecvd
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum SendPhase {
    /// Created, nothing sent.
    #[default]
    Ready,
    /// Sending.
    Send,
    /// Everything up to FIN was sent once.
    DataSent,
    /// The peer has everything. End state.
    DataRecvd,
    /// RESET_STREAM was sent.
    ResetSent,
    /// The peer has RESET_STREAM. End state.
    ResetRecvd,
}

/// A sending part.
#[derive(Clone, Copy, Debug, Default)]
pub struct SendState {
    phase: SendPhase,
    /// The reset that was decided first. While the phase is before `ResetSent`, its frame is owed (ERROR of mux §4).
    abort: Option<Abort>,
}

impl SendState {
    /// The state of RFC 9000 §3.1. While a reset is owed it is still the one before (mux §4).
    #[must_use]
    #[inline]
    pub const fn phase(&self) -> SendPhase {
        self.phase
    }

    /// The reset that ends or ended this part.
    #[must_use]
    pub const fn abort(&self) -> Option<Abort> {
        self.abort
    }

    /// The part may send stream bytes: no reset is decided and the end is not reached.
    #[must_use]
    #[inline]
    pub const fn is_live(&self) -> bool {
        self.abort.is_none() && matches!(self.phase, SendPhase::Ready | SendPhase::Send | SendPhase::DataSent)
    }

    /// ERROR of mux §4: RESET_STREAM is decided and was never sent.
    #[must_use]
    pub const fn owes_reset(&self) -> bool {
        self.abort.is_some() && matches!(self.phase, SendPhase::Ready | SendPhase::Send | SendPhase::DataSent)
    }

    /// Nothing will ever be sent again.
    #[must_use]
    pub const fn is_terminal(&self) -> bool {
        matches!(self.phase, SendPhase::DataRecvd | SendPhase::ResetRecvd)
    }

    /// STREAM or STREAM_DATA_BLOCKED went out.
    #[inline]
    pub const fn on_sent(&mut self, fin: Fin) {
        if self.is_live() {
            self.phase = match (self.phase, fin) {
                (_, Fin::Yes) | (SendPhase::DataSent, _) => SendPhase::DataSent,
                _ => SendPhase::Send,
            };
        }
    }

    /// Every byte and FIN are acknowledged.
    pub const fn on_all_acked(&mut self) -> Effect {
        if matches!(self.phase, SendPhase::DataSent) && self.abort.is_none() {
            self.phase = SendPhase::DataRecvd;
            return Effect::Changed;
        }
        Effect::Nothing
    }

    /// A reset is decided, by a call or by STOP_SENDING (RFC 9000 §3.5). The first one counts; in an end state and
    /// after a reset nothing changes (mux R30, R32).
    pub const fn reset(&mut self, abort: Abort) -> Effect {
        if !self.is_live() {
            return Effect::Nothing;
        }
        self.abort = Some(abort);
        Effect::Changed
    }

    /// RESET_STREAM went out: ERROR becomes RESET (mux R35).
    pub const fn on_reset_sent(&mut self) {
        if self.owes_reset() {
            self.phase = SendPhase::ResetSent;
        }
    }

    /// RESET_STREAM was acknowledged.
    pub const fn on_reset_acked(&mut self) {
        if matches!(self.phase, SendPhase::ResetSent) {
            self.phase = SendPhase::ResetRecvd;
        }
    }

    /// 0-RTT was rejected: the peer knows of nothing that was sent. A reset that was sent is owed again.
    pub const fn rewind(&mut self) {
        if matches!(self.phase, SendPhase::Send | SendPhase::DataSent | SendPhase::ResetSent) {
            self.phase = SendPhase::Ready;
        }
    }

    /// RESET_STREAM was lost: the same frame must go out again if the answer is [`Effect::Changed`].
    #[must_use]
    pub const fn on_reset_lost(&self) -> Effect {
        if matches!(self.phase, SendPhase::ResetSent) { Effect::Changed } else { Effect::Nothing }
    }
}
