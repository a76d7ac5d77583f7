//! The receiving part of a stream (RFC 9000 §3.2): its final size (§4.5) and our STOP_SENDING (§3.5).
//!
//! Decides whether received bytes count, agree with the final size, and are still wanted. Called by the stream room for
//! every frame and call that concerns a receiving part. Never holds bytes and knows no limit: flow control comes first.

use super::Effect;
use qbase::{ErrorCode, TransportError, frame::Fin};

/// States of a receiving part (RFC 9000 §3.2).
///
/// ```text
///        o
///        v
///      Recv ------- RESET_STREAM -----.
///        | STREAM with FIN            |
///        v                            |
///    SizeKnown ---- RESET_STREAM ---->|
///        | all bytes received         v
///        v                       ResetRecvd
///    DataRecvd                        |
///        | all bytes read             | the application was told
///        v                            v
///    DataRead                     ResetRead
/// ```
/// RESET_STREAM in `DataRecvd` is withheld: every byte is here and will be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum RecvPhase {
    /// Receiving, the end is not known.
    #[default]
    Recv,
    /// The final size is known, bytes are missing.
    SizeKnown,
    /// Every byte is here.
    DataRecvd,
    /// The application has every byte, or wanted none. End state.
    DataRead,
    /// The peer has reset the stream.
    ResetRecvd,
    /// The application knows of the reset, or had stopped before. End state.
    ResetRead,
}

/// Our STOP_SENDING.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
enum Stop {
    /// Not wanted.
    #[default]
    No,
    /// Wanted, never sent (ERROR of mux §4).
    Owed,
    /// Sent, not acknowledged.
    Sent,
    /// The peer has it.
    Acked,
}

/// A receiving part.
#[derive(Clone, Copy, Debug, Default)]
pub struct RecvState {
    phase: RecvPhase,
    stop: Stop,
    /// Code of our STOP_SENDING.
    stop_code: u64,
    /// Code of the peer's RESET_STREAM.
    reset_code: u64,
    /// End of the furthest byte received, or the final size once known: what flow control counts (RFC 9000 §4.1).
    highest: u64,
}

impl RecvState {
    /// The state of RFC 9000 §3.2.
    #[must_use]
    #[inline]
    pub const fn phase(&self) -> RecvPhase {
        self.phase
    }

    /// What flow control counts for this stream: the furthest offset received, or the final size.
    #[must_use]
    #[inline]
    pub const fn highest(&self) -> u64 {
        self.highest
    }

    /// The final size, once a FIN or a RESET_STREAM told it.
    #[must_use]
    #[inline]
    pub const fn final_size(&self) -> Option<u64> {
        match self.phase {
            RecvPhase::Recv => None,
            _ => Some(self.highest),
        }
    }

    /// Nothing will ever happen again on this part.
    #[must_use]
    pub const fn is_terminal(&self) -> bool {
        matches!(self.phase, RecvPhase::DataRead | RecvPhase::ResetRead)
    }

    /// Bytes that arrive are counted and dropped (mux R34): we stopped, or the peer reset.
    #[must_use]
    #[inline]
    pub const fn is_discarding(&self) -> bool {
        !matches!(self.stop, Stop::No) || matches!(self.phase, RecvPhase::ResetRecvd | RecvPhase::ResetRead)
    }

    /// The peer may still use stream credit: MAX_STREAM_DATA makes sense.
    #[must_use]
    #[inline]
    pub const fn wants_credit(&self) -> bool {
        matches!(self.phase, RecvPhase::Recv)
    }

    /// The code of the peer's RESET_STREAM, in the reset states.
    #[must_use]
    pub const fn reset_code(&self) -> Option<u64> {
        match self.phase {
            RecvPhase::ResetRecvd | RecvPhase::ResetRead => Some(self.reset_code),
            _ => None,
        }
    }

    /// The code of our STOP_SENDING, if we stopped.
    #[must_use]
    pub const fn stop_code(&self) -> Option<u64> {
        match self.stop {
            Stop::No => None,
            _ => Some(self.stop_code),
        }
    }

    /// By how many bytes a STREAM frame that ends at `end` raises what flow control counts.
    #[must_use]
    #[inline]
    pub const fn growth(&self, end: u64) -> u64 {
        end.saturating_sub(self.highest)
    }

    /// A STREAM frame whose bytes end at `end`. The credit for [`RecvState::growth`] was checked before.
    ///
    /// # Errors
    /// FINAL_SIZE_ERROR when it contradicts the final size, or puts it below bytes already received (RFC 9000 §4.5).
    #[inline]
    pub fn on_stream(&mut self, end: u64, fin: Fin) -> Result<(), TransportError> {
        if self.phase == RecvPhase::Recv {
            if fin == Fin::Yes {
                self.learn_final_size(end, RecvPhase::SizeKnown)?;
                self.end_if_stopped();
                return Ok(());
            }
            self.highest = self.highest.max(end);
            return Ok(());
        }
        if end > self.highest || (fin == Fin::Yes && end != self.highest) {
            return Err(final_size_error("the final size changed"));
        }
        Ok(())
    }

    /// RESET_STREAM. [`Effect::Changed`]: unread bytes must be dropped, and the application told unless it had stopped
    /// (then the part has ended).
    ///
    /// # Errors
    /// FINAL_SIZE_ERROR as for [`RecvState::on_stream`].
    pub fn on_reset(&mut self, code: u64, final_size: u64) -> Result<Effect, TransportError> {
        match self.phase {
            RecvPhase::Recv => self.learn_final_size(final_size, RecvPhase::ResetRecvd)?,
            _ if final_size != self.highest => return Err(final_size_error("the final size changed")),
            RecvPhase::SizeKnown => self.phase = RecvPhase::ResetRecvd,
            _ => return Ok(Effect::Nothing),
        }
        self.reset_code = code;
        if self.stop != Stop::No {
            self.phase = RecvPhase::ResetRead;
        }
        Ok(Effect::Changed)
    }

    /// Every byte up to the final size is here.
    #[inline]
    pub const fn on_all_received(&mut self) {
        if matches!((self.phase, self.stop), (RecvPhase::SizeKnown, Stop::No)) {
            self.phase = RecvPhase::DataRecvd;
        }
    }

    /// The application has read everything and knows it.
    pub const fn on_all_read(&mut self) {
        if matches!(self.phase, RecvPhase::DataRecvd) {
            self.phase = RecvPhase::DataRead;
        }
    }

    /// The application knows of the reset.
    pub const fn on_reset_told(&mut self) {
        if matches!(self.phase, RecvPhase::ResetRecvd) {
            self.phase = RecvPhase::ResetRead;
        }
    }

    /// The application wants no more bytes. [`Effect::Changed`]: unread bytes must be dropped; STOP_SENDING is owed
    /// while bytes may still come (RFC 9000 §3.5), otherwise the part has ended.
    pub const fn stop(&mut self, code: u64) -> Effect {
        if !matches!(self.stop, Stop::No) || self.is_terminal() {
            return Effect::Nothing;
        }
        self.stop_code = code;
        self.stop = Stop::Owed;
        self.phase = match self.phase {
            RecvPhase::DataRecvd => RecvPhase::DataRead,
            RecvPhase::ResetRecvd => RecvPhase::ResetRead,
            phase => phase,
        };
        Effect::Changed
    }

    /// ERROR of mux §4: STOP_SENDING is decided, still of use, and was never sent.
    #[must_use]
    pub const fn owes_stop(&self) -> bool {
        matches!(self.stop, Stop::Owed) && !self.is_terminal()
    }

    /// STOP_SENDING went out and the peer's end has not come.
    #[must_use]
    pub const fn has_stopped(&self) -> bool {
        matches!(self.stop, Stop::Sent | Stop::Acked) && !self.is_terminal()
    }

    /// STOP_SENDING went out.
    pub const fn on_stop_sent(&mut self) {
        if matches!(self.stop, Stop::Owed) {
            self.stop = Stop::Sent;
        }
    }

    /// STOP_SENDING was acknowledged.
    pub const fn on_stop_acked(&mut self) {
        if matches!(self.stop, Stop::Sent) {
            self.stop = Stop::Acked;
            self.end_if_stopped();
        }
    }

    /// STOP_SENDING was lost: the same frame must go out again if the answer is [`Effect::Changed`].
    #[must_use]
    pub const fn on_stop_lost(&self) -> Effect {
        if matches!(self.stop, Stop::Sent) && !self.is_terminal() { Effect::Changed } else { Effect::Nothing }
    }

    /// A stopped part has ended once the peer knows of it and we know the final size: what is missing is not wanted.
    const fn end_if_stopped(&mut self) {
        if matches!((self.phase, self.stop), (RecvPhase::SizeKnown, Stop::Acked)) {
            self.phase = RecvPhase::DataRead;
        }
    }

    /// Sets the final size, unless bytes beyond it were received.
    fn learn_final_size(&mut self, size: u64, phase: RecvPhase) -> Result<(), TransportError> {
        if size < self.highest {
            return Err(final_size_error("the final size is below bytes received"));
        }
        self.highest = size;
        self.phase = phase;
        Ok(())
    }
}

/// FINAL_SIZE_ERROR (RFC 9000 §4.5).
const fn final_size_error(reason: &'static str) -> TransportError {
    TransportError::new(ErrorCode::FINAL_SIZE_ERROR, reason)
}
