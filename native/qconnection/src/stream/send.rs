//! The sending part of a stream: its bytes, its credit, its end (RFC 9000 §3.1).
//!
//! Decides what of one stream may go out. Called by the verbs, the frames and the output of the stream room. Never
//! knows of other streams: queues and sums over streams are kept by its callers.

use super::{Incremental, WriteError, pins::Standing, queue::Seat};
use qbase::{PathId, frame::Fin};
use qrecovery::{
    buffer::{SendBuffer, SpareBlocks},
    flow::SendCredit,
    stream::{Effect, Origin, SendPhase, SendState},
};

/// Where the end of the stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// The application may write more.
    Open,
    /// The application has ended the stream; FIN was never sent.
    Wanted,
    /// FIN is on its way.
    Sent,
    /// FIN was lost, or shall be copied.
    Lost,
    /// The peer has FIN.
    Acked,
}

/// A sending part.
#[derive(Debug)]
pub(super) struct SendPart {
    pub state: SendState,
    pub buffer: SendBuffer,
    /// What MAX_STREAM_DATA allows.
    pub credit: SendCredit,
    pub ending: Ending,
    /// Where its bytes go.
    pub standing: Standing,
    /// 0 is first, 7 is last.
    pub urgency: u8,
    pub incremental: Incremental,
    /// Its place among the streams with fresh bytes and credit for them.
    pub fresh: Seat,
    /// Its place among the streams with something that needs no credit.
    pub again: Seat,
    /// Its place among the streams that wait for room in the connection's send buffer.
    pub room: Seat,
    /// Counted among the streams that wait for stream credit.
    pub is_blocked: bool,
    /// A write was cut short: the application waits for room.
    pub wants_room: bool,
    /// The application wants to hear when the first of its bytes is acknowledged.
    pub wants_word: bool,
    /// RESET_STREAM was lost and is owed again.
    pub reset_lost: bool,
}

/// Urgency of a stream whose application said nothing.
const DEFAULT_URGENCY: u8 = 3;

impl SendPart {
    pub fn new(credit: u64) -> Self {
        Self {
            state: SendState::default(),
            buffer: SendBuffer::new(),
            credit: SendCredit::new(credit),
            ending: Ending::Open,
            standing: Standing::Free,
            urgency: DEFAULT_URGENCY,
            incremental: Incremental::Yes,
            fresh: Seat::default(),
            again: Seat::default(),
            room: Seat::default(),
            is_blocked: false,
            wants_room: false,
            wants_word: false,
            reset_lost: false,
        }
    }

    /// The path its bytes keep to.
    #[inline]
    pub const fn lane(&self) -> Option<PathId> {
        match self.standing {
            Standing::Kept(path, _) => Some(path),
            Standing::Free | Standing::Away(_) => None,
        }
    }

    /// Begins again for another stream, without credit.
    pub fn restart(&mut self, spare: &mut SpareBlocks) {
        self.buffer.restart(spare);
        let buffer = std::mem::take(&mut self.buffer);
        *self = Self { buffer, ..Self::new(0) };
    }

    /// Whether the application may write.
    ///
    /// # Errors
    /// It has ended, the peer stopped it, or we reset it.
    #[inline]
    pub fn writable(&self) -> Result<(), WriteError> {
        match self.state.abort() {
            Some(abort) if abort.by == Origin::Peer => Err(WriteError::Stopped(abort.code)),
            Some(abort) => Err(WriteError::Reset(abort.code)),
            None if self.ending != Ending::Open => Err(WriteError::Ended),
            None => Ok(()),
        }
    }

    /// Fresh bytes may be sent as far as this stream is concerned.
    #[inline]
    pub fn has_fresh(&self) -> bool {
        self.state.is_live() && self.buffer.unsent() > 0 && self.credit.available() > 0
    }

    /// Something waits that needs no credit: lost bytes, a lost FIN, or a FIN without bytes.
    #[inline]
    pub fn has_again(&self) -> bool {
        self.state.is_live() && (self.buffer.lost_bytes() > 0 || self.has_bare_fin())
    }

    /// FIN must go out and no fresh byte is left to carry it.
    #[inline]
    pub fn has_bare_fin(&self) -> bool {
        match self.ending {
            Ending::Wanted => self.buffer.unsent() == 0,
            Ending::Lost => true,
            Ending::Open | Ending::Sent | Ending::Acked => false,
        }
    }

    /// Fresh bytes wait for stream credit.
    #[inline]
    pub fn waits_for_credit(&self) -> bool {
        self.state.is_live() && self.buffer.unsent() > 0 && self.credit.available() == 0
    }

    /// The limit that an owed STREAM_DATA_BLOCKED names.
    pub fn blocked_frame(&self) -> Option<u64> {
        if self.waits_for_credit() { self.credit.blocked_frame() } else { None }
    }

    /// RESET_STREAM must be written, for the first time or again.
    pub const fn owes_reset(&self) -> bool {
        self.state.owes_reset() || self.reset_lost
    }

    /// FIN for a frame whose bytes end at `end`.
    #[inline]
    pub fn fin_at(&self, end: u64) -> Fin {
        Fin::from(self.ending != Ending::Open && end == self.buffer.written())
    }

    /// A STREAM frame was written.
    #[inline]
    pub fn on_sent(&mut self, fin: Fin) {
        self.state.on_sent(fin);
        if fin == Fin::Yes && self.ending != Ending::Acked {
            self.ending = Ending::Sent;
        }
    }

    /// 0-RTT was rejected: everything is fresh again, under this limit (burst B-48).
    pub fn rewind(&mut self, limit: u64) {
        self.buffer.rewind();
        self.state.rewind();
        self.credit.restart(limit);
        self.reset_lost = false;
        if matches!(self.ending, Ending::Sent | Ending::Lost) {
            self.ending = Ending::Wanted;
        }
    }

    /// A range, with FIN or not, was acknowledged; answers how many of its bytes were not before, and whether the peer
    /// has everything now.
    pub fn on_acked(&mut self, range: std::ops::Range<u64>, fin: Fin, spare: &mut SpareBlocks) -> (u64, Effect) {
        if !self.state.is_live() {
            return (0, Effect::Nothing);
        }
        let bytes = self.buffer.on_acked(range, spare);
        if fin == Fin::Yes {
            self.ending = Ending::Acked;
        }
        if self.ending == Ending::Acked && self.buffer.is_all_acked() {
            return (bytes, self.state.on_all_acked());
        }
        (bytes, Effect::Nothing)
    }

    /// A range, with FIN or not, was lost or shall be copied; answers how many bytes wait to be sent again because of
    /// it.
    pub fn on_lost(&mut self, range: std::ops::Range<u64>, fin: Fin) -> u64 {
        if !self.state.is_live() || self.state.phase() == SendPhase::Ready {
            return 0;
        }
        if fin == Fin::Yes && self.ending == Ending::Sent {
            self.ending = Ending::Lost;
        }
        self.buffer.on_lost(range)
    }
}
