//! The receiving part of a stream: its bytes, its window, its end (RFC 9000 §3.2).
//!
//! Decides whether bytes of one stream are accepted and when its credit grows. Called by the verbs and the frames of the
//! stream room. Never knows of other streams, but charges the connection's window it is handed.

use super::{ReadError, ResetDelivery};
use qbase::{
    TransportError,
    frame::{self, Fin},
};
use qrecovery::{
    buffer::{BufferPool, RecvBuffer},
    flow::ReceiveWindow,
    stream::{Effect, RecvPhase, RecvState},
};

/// A receiving part.
#[derive(Debug)]
pub(super) struct RecvPart {
    pub state: RecvState,
    pub buffer: RecvBuffer,
    /// What MAX_STREAM_DATA allows the peer.
    pub window: ReceiveWindow,
    /// The application was told that there is something to read and has not found it empty since.
    pub told: bool,
    /// STOP_SENDING was lost and is owed again.
    pub stop_lost: bool,
    /// Counted among the streams whose window is used up by bytes that nobody reads.
    pub full: bool,
}

/// Whether the application must be told that it can read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tell {
    /// There is something to read where there was nothing.
    Readable,
    /// Nothing new.
    Nothing,
}

impl RecvPart {
    pub fn new(window: u64) -> Self {
        Self {
            state: RecvState::default(),
            buffer: RecvBuffer::new(),
            window: ReceiveWindow::new(window),
            told: false,
            stop_lost: false,
            full: false,
        }
    }

    /// Begins again for another stream, without a window.
    pub fn restart(&mut self) {
        self.buffer.restart();
        let buffer = std::mem::take(&mut self.buffer);
        *self = Self { buffer, ..Self::new(0) };
    }

    /// A STREAM frame; `end` is the offset behind its bytes.
    ///
    /// # Errors
    /// FLOW_CONTROL_ERROR beyond the stream's or the connection's window (attacks D5), FINAL_SIZE_ERROR (attacks D6),
    /// INTERNAL_ERROR for too many gaps (attacks L6) or without memory (mux R12).
    #[inline]
    pub fn on_stream(
        &mut self,
        frame: &frame::Stream<'_>,
        end: u64,
        connection: &mut ReceiveWindow,
        pool: &mut BufferPool,
    ) -> Result<Tell, TransportError> {
        let growth = self.state.growth(end);
        self.window.on_received(growth)?;
        connection.on_received(growth)?;
        self.state.on_stream(end, Fin::from(frame.fin))?;
        if self.state.is_discarding() {
            self.give_up_rest(connection);
            return Ok(Tell::Nothing);
        }
        self.buffer
            .write(frame.offset, frame.data, pool)
            .map_err(|error| TransportError::internal(error.reason()))?;
        if self.buffer.gaps() > 0 {
            self.window.note_hole();
            connection.note_hole();
        }
        if self.state.phase() == RecvPhase::SizeKnown && self.buffer.contiguous() == self.state.highest() {
            self.state.on_all_received();
        }
        if !self.told && self.has_news() {
            self.told = true;
            return Ok(Tell::Readable);
        }
        Ok(Tell::Nothing)
    }

    /// RESET_STREAM. [`Effect::Changed`]: the stream was reset by it.
    ///
    /// # Errors
    /// FLOW_CONTROL_ERROR, FINAL_SIZE_ERROR.
    pub fn on_reset(
        &mut self,
        frame: &frame::ResetStream,
        delivery: ResetDelivery,
        connection: &mut ReceiveWindow,
        pool: &mut BufferPool,
    ) -> Result<Effect, TransportError> {
        let growth = self.state.growth(frame.final_size);
        self.window.on_received(growth)?;
        connection.on_received(growth)?;
        let effect = self.state.on_reset(frame.code, frame.final_size)?;
        if effect.is_change() {
            match delivery {
                ResetDelivery::DropUnread => self.drop_bytes(connection, pool),
                ResetDelivery::ReadFirst => {
                    self.buffer.drop_ahead(pool);
                    self.give_up_rest(connection);
                }
            }
        }
        Ok(effect)
    }

    /// The application wants no more. [`Effect::Changed`]: it is news to this part.
    pub fn stop(&mut self, code: u64, connection: &mut ReceiveWindow, pool: &mut BufferPool) -> Effect {
        let effect = self.state.stop(code);
        if effect.is_change() {
            self.drop_bytes(connection, pool);
        }
        effect
    }

    /// Whether the application can read bytes; with [`ReadError::Finished`] it has them all.
    ///
    /// # Errors
    /// See [`ReadError`].
    #[inline]
    pub fn poll_read(&mut self) -> Result<(), ReadError> {
        if self.buffer.readable() > 0 {
            return Ok(());
        }
        self.told = false;
        if let Some(code) = self.state.reset_code() {
            self.state.on_reset_told();
            return Err(ReadError::Reset(code));
        }
        if let Some(code) = self.state.stop_code() {
            return Err(ReadError::Stopped(code));
        }
        self.state.on_all_read();
        if self.state.is_terminal() { Err(ReadError::Finished) } else { Err(ReadError::Blocked) }
    }

    /// The application took `len` bytes from the buffer.
    #[inline]
    pub fn on_taken(&mut self, len: u64, connection: &mut ReceiveWindow) {
        self.window.on_taken(len);
        connection.on_taken(len);
        if self.buffer.readable() == 0 {
            self.told = false;
        }
    }

    /// MAX_STREAM_DATA is worth sending: its limit.
    #[inline]
    pub fn window_update(&self) -> Option<u64> {
        if self.state.wants_credit() { self.window.update() } else { None }
    }

    /// The peer may send no more until the application reads what is here.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.window.received() == self.window.limit() && self.state.phase() == RecvPhase::Recv && self.buffer.readable() > 0
    }

    /// STOP_SENDING must be written, for the first time or again.
    pub fn owes_stop(&self) -> bool {
        self.state.owes_stop() || (self.stop_lost && self.state.on_stop_lost().is_change())
    }

    /// A call of read would not answer [`ReadError::Blocked`].
    pub fn has_news(&self) -> bool {
        self.buffer.readable() > 0 || matches!(self.state.phase(), RecvPhase::DataRecvd | RecvPhase::ResetRecvd)
    }

    /// Drops what is buffered; its credit, and that of bytes which are missing below the furthest one, goes back to the
    /// connection (mux R33, R34).
    fn drop_bytes(&mut self, connection: &mut ReceiveWindow, pool: &mut BufferPool) {
        self.buffer.clear(pool);
        self.give_up_rest(connection);
        self.told = false;
    }

    /// Nobody will read what was counted and not taken, but for what can be read now.
    fn give_up_rest(&mut self, connection: &mut ReceiveWindow) {
        let rest = self.window.held().saturating_sub(self.buffer.readable());
        self.window.on_taken(rest);
        connection.on_taken(rest);
    }
}
