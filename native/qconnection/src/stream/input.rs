//! Stream frames of the peer (RFC 9000 §19.4, §19.5, §19.8 to §19.14).
//!
//! Decides whether a frame may name its stream at all (attacks D8), and hands it to the part it concerns. Called by the
//! dispatch for every such frame. Late frames for closed streams are nothing (mux R42).

use super::{
    Stream, StreamEvent, Streams,
    limits::Standing,
    map::Key,
    recv::Tell,
    verbs::Held,
};
use qbase::{Direction, ErrorCode, StreamId, TransportError, frame, limits, stream_id::MAX_STREAM_COUNT, varint};
use qrecovery::{
    buffer::BufferPool,
    stream::{Abort, Origin},
};

/// Which part of a stream a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// What the peer sends: STREAM, RESET_STREAM, STREAM_DATA_BLOCKED.
    Receiving,
    /// What we send: STOP_SENDING, MAX_STREAM_DATA.
    Sending,
}

/// What a frame's stream id led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// A stream that was there.
    Live(Key),
    /// A stream that exists since this frame.
    New(Key),
    /// A stream that has gone.
    Gone,
}

impl Streams {
    /// STREAM.
    ///
    /// # Errors
    /// FRAME_ENCODING_ERROR, STREAM_STATE_ERROR, STREAM_LIMIT_ERROR, FLOW_CONTROL_ERROR, FINAL_SIZE_ERROR as RFC 9000
    /// §4 and §19.8 say; INTERNAL_ERROR over the bounds of attacks L6; PROTOCOL_VIOLATION for a flood of empty frames.
    pub fn on_stream(&mut self, frame: &frame::Stream<'_>, pool: &mut BufferPool) -> Result<(), TransportError> {
        let end = frame.offset.saturating_add(frame.data.len() as u64);
        if end > varint::MAX {
            return Err(TransportError::encoding("STREAM ends beyond 2^62-1"));
        }
        let found = self.find(frame.stream, Part::Receiving)?;
        if frame.data.is_empty() && !frame.fin {
            self.on_empty(found, end)?;
        } else {
            self.useless = 0;
        }
        let (Found::Live(key) | Found::New(key)) = found else { return Ok(()) };
        let Some(stream) = self.map.get_mut(key) else { return Ok(()) };
        let ticket = stream.ticket(key);
        stream.early |= self.early;
        let Some(recv) = &mut stream.recv else { return Err(wrong_part()) };
        let before = Held::of(recv);
        let tell = recv.on_stream(frame, end, &mut self.window, pool)?;
        self.totals.on_held(before, Held::of(recv));
        self.totals.note_full(recv);
        let widens = self.several_paths && recv.buffer.gaps() > 0;
        if tell == Tell::Readable {
            self.tell(frame.stream, StreamEvent::Readable(frame.stream));
        }
        if widens {
            self.widen(key);
        }
        let Some(Stream { recv: Some(recv), control, .. }) = self.map.get_mut(key) else { return Ok(()) };
        if recv.state.is_discarding() {
            if recv.window_update().is_some() {
                self.control.add(ticket, control);
            }
            self.close_if_ended(key);
        }
        let allowed = (self.totals.held / limits::BYTES_PER_GAP).saturating_add(limits::CONNECTION_GAPS as u64);
        if self.totals.gaps as u64 > allowed {
            return Err(TransportError::internal("gaps"));
        }
        Ok(())
    }

    /// RESET_STREAM.
    ///
    /// # Errors
    /// As for STREAM.
    pub fn on_reset_stream(&mut self, frame: &frame::ResetStream, pool: &mut BufferPool) -> Result<(), TransportError> {
        let (Found::Live(key) | Found::New(key)) = self.find(frame.stream, Part::Receiving)? else { return Ok(()) };
        let Some(Stream { recv: Some(recv), .. }) = self.map.get_mut(key) else { return Err(wrong_part()) };
        let before = Held::of(recv);
        let effect = recv.on_reset(frame, self.config.reset_delivery, &mut self.window, pool)?;
        self.totals.on_held(before, Held::of(recv));
        self.totals.note_full(recv);
        if effect.is_change() {
            self.counters.resets_received = self.counters.resets_received.saturating_add(1);
            // What is there is read first, and the read that finds no more tells the reset.
            if !recv.state.is_terminal() && recv.buffer.readable() == 0 {
                self.tell(frame.stream, StreamEvent::Reset { id: frame.stream, code: frame.code });
            }
            self.settle(key);
            self.close_if_ended(key);
        }
        Ok(())
    }

    /// STOP_SENDING: our part is reset with the same code, unless it has ended or is being reset (mux R32).
    ///
    /// # Errors
    /// STREAM_STATE_ERROR for a stream on which we do not send or that we have not opened, STREAM_LIMIT_ERROR.
    pub fn on_stop_sending(&mut self, frame: &frame::StopSending) -> Result<(), TransportError> {
        let (Found::Live(key) | Found::New(key)) = self.find(frame.stream, Part::Sending)? else { return Ok(()) };
        if self.map.get(key).is_none_or(|stream| stream.send.is_none()) {
            return Err(wrong_part());
        }
        if self.abort_sending(key, Abort { code: frame.code, by: Origin::Peer }) {
            self.counters.stops_received = self.counters.stops_received.saturating_add(1);
            self.tell(frame.stream, StreamEvent::Stopped { id: frame.stream, code: frame.code });
        }
        Ok(())
    }

    /// MAX_DATA.
    ///
    /// # Errors
    /// None; the signature is that of all frames.
    pub fn on_max_data(&mut self, frame: &frame::MaxData) -> Result<(), TransportError> {
        self.credit.on_limit(frame.maximum);
        Ok(())
    }

    /// MAX_STREAM_DATA.
    ///
    /// # Errors
    /// As for STOP_SENDING.
    pub fn on_max_stream_data(&mut self, frame: &frame::MaxStreamData) -> Result<(), TransportError> {
        let (Found::Live(key) | Found::New(key)) = self.find(frame.stream, Part::Sending)? else { return Ok(()) };
        let Some(Stream { send: Some(part), .. }) = self.map.get_mut(key) else { return Err(wrong_part()) };
        if part.credit.on_limit(frame.maximum) {
            self.settle(key);
        }
        Ok(())
    }

    /// MAX_STREAMS.
    ///
    /// # Errors
    /// FRAME_ENCODING_ERROR above 2^60 (attacks D9).
    pub fn on_max_streams(&mut self, frame: &frame::MaxStreams) -> Result<(), TransportError> {
        if frame.maximum > MAX_STREAM_COUNT {
            return Err(TransportError::encoding("MAX_STREAMS above 2^60"));
        }
        self.on_stream_limit(frame.direction, frame.maximum);
        Ok(())
    }

    /// DATA_BLOCKED: counted, not trusted (mux R23).
    ///
    /// # Errors
    /// None; the signature is that of all frames.
    pub fn on_data_blocked(&mut self, _: &frame::DataBlocked) -> Result<(), TransportError> {
        self.counters.blocked_received = self.counters.blocked_received.saturating_add(1);
        Ok(())
    }

    /// STREAM_DATA_BLOCKED: counted; it may be the first frame of its stream.
    ///
    /// # Errors
    /// STREAM_STATE_ERROR for a stream on which the peer does not send or that we have not opened,
    /// STREAM_LIMIT_ERROR.
    pub fn on_stream_data_blocked(&mut self, frame: &frame::StreamDataBlocked) -> Result<(), TransportError> {
        self.counters.blocked_received = self.counters.blocked_received.saturating_add(1);
        self.find(frame.stream, Part::Receiving).map(|_| ())
    }

    /// STREAMS_BLOCKED: counted, not trusted.
    ///
    /// # Errors
    /// FRAME_ENCODING_ERROR above 2^60 (attacks D9).
    pub fn on_streams_blocked(&mut self, frame: &frame::StreamsBlocked) -> Result<(), TransportError> {
        if frame.limit > MAX_STREAM_COUNT {
            return Err(TransportError::encoding("STREAMS_BLOCKED above 2^60"));
        }
        self.counters.blocked_received = self.counters.blocked_received.saturating_add(1);
        Ok(())
    }

    /// The peer allows so many streams of this kind.
    pub(super) fn on_stream_limit(&mut self, direction: Direction, limit: u64) {
        if self.local.get_mut(direction).on_limit(limit.min(MAX_STREAM_COUNT)) {
            self.events.push(StreamEvent::Available(direction));
        }
        if self.parked > 0 {
            self.unpark();
        }
    }

    /// The stream a frame names, made if the frame may make it.
    #[inline]
    fn find(&mut self, id: StreamId, part: Part) -> Result<Found, TransportError> {
        if let Some(key) = self.map.key(id) {
            let stream = self.map.get(key);
            let has_part = match part {
                Part::Receiving => stream.is_some_and(|stream| stream.recv.is_some()),
                Part::Sending => stream.is_some_and(|stream| stream.send.is_some()),
            };
            return if has_part { Ok(Found::Live(key)) } else { Err(wrong_part()) };
        }
        self.find_not_live(id, part)
    }

    /// A stream id that is not in the map: closed, not yet used, or wrong.
    fn find_not_live(&mut self, id: StreamId, part: Part) -> Result<Found, TransportError> {
        let ours = id.initiator() == self.config.role;
        let one_way = id.direction() == Direction::Unidirectional;
        if one_way && ours != (part == Part::Sending) {
            return Err(wrong_part());
        }
        if ours {
            return if id.index() < self.local.get(id.direction()).opened() {
                Ok(Found::Gone)
            } else {
                Err(TransportError::new(ErrorCode::STREAM_STATE_ERROR, "a stream of ours that we have not opened"))
            };
        }
        match self.peer.get_mut(id.direction()).on_frame(id.index())? {
            Standing::Closed => Ok(Found::Gone),
            Standing::Open => {
                let key = self.create(id);
                self.refuse_wrong_way(key, id);
                Ok(Found::New(key))
            }
        }
    }

    /// A STREAM frame without bytes and without FIN: too many in a row that open nothing and move nothing close the
    /// connection (attacks D13).
    fn on_empty(&mut self, found: Found, end: u64) -> Result<(), TransportError> {
        let is_useful = match found {
            Found::New(_) => true,
            Found::Live(key) => {
                let recv = self.map.get(key).and_then(|stream| stream.recv.as_ref());
                recv.is_some_and(|recv| recv.state.growth(end) > 0)
            }
            Found::Gone => false,
        };
        self.useless = if is_useful { 0 } else { self.useless.saturating_add(1) };
        if self.useless > limits::USELESS_STREAM_FRAMES {
            return Err(TransportError::violation("a flood of empty STREAM frames"));
        }
        Ok(())
    }
}

/// A frame for a part that its stream does not have (RFC 9000 §19).
const fn wrong_part() -> TransportError {
    TransportError::new(ErrorCode::STREAM_STATE_ERROR, "a frame for the other way of a one-way stream")
}
