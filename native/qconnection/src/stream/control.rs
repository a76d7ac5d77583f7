//! The frames that are not bytes: limits, resets, stops, and being blocked (RFC 9000 §19.4, §19.5, §19.9 to §19.14).
//!
//! Decides which of them are owed and writes as many as fit. Called by the burst writer before stream bytes. Nothing is
//! queued per frame: what is owed follows from the state, so a peer cannot make the list long (attacks L15).

use super::{
    Stream, StreamRecord, Streams,
    limits::DIRECTIONS,
    map::Ticket,
    window::tune_stream,
};
use qbase::{Writer, frame, varint};
use qrecovery::flow::Tempo;

/// Whether everything owed was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    /// It was.
    Left,
    /// Something did not fit.
    None,
}

impl Streams {
    /// A control frame is owed.
    #[must_use]
    pub fn has_control(&self) -> bool {
        self.control.live() > 0
            || self.window.update().is_some()
            || self.credit.blocked_frame().is_some()
            || DIRECTIONS.into_iter().any(|direction| {
                self.peer.get(direction).update().is_some() || self.local.get(direction).credit.blocked_frame().is_some()
            })
    }

    /// How many control frames are owed: at most four for a live stream and six for the connection.
    #[must_use]
    pub fn control_waiting(&self) -> usize {
        let of_direction = |direction| {
            let places = usize::from(self.peer.get(direction).update().is_some());
            places.saturating_add(usize::from(self.local.get(direction).credit.blocked_frame().is_some()))
        };
        let places = DIRECTIONS.into_iter().map(of_direction).fold(0, usize::saturating_add);
        let limits = usize::from(self.window.update().is_some()).saturating_add(usize::from(self.credit.blocked_frame().is_some()));
        let of_stream = |stream: &Stream| {
            let sending = stream.send.as_ref().map_or(0, |part| usize::from(part.owes_reset()).saturating_add(usize::from(part.blocked_frame().is_some())));
            let receiving = stream.recv.as_ref().map_or(0, |part| usize::from(part.owes_stop()).saturating_add(usize::from(part.window_update().is_some())));
            sending.saturating_add(receiving)
        };
        let streams = self.map.iter().map(of_stream).fold(0, usize::saturating_add);
        streams.saturating_add(limits).saturating_add(places)
    }

    /// Writes the control frames that are owed, as many as fit, and hands out a record for each.
    pub fn write_control(&mut self, tempo: Tempo, writer: &mut Writer<'_>, on_record: &mut dyn FnMut(StreamRecord)) {
        if self.write_connection_control(tempo, writer, on_record) == Room::None {
            return;
        }
        while self.control.live() > 0 {
            let Some(ticket) = self.control.front() else { return };
            if self.write_stream_control(tempo, ticket, writer, on_record) == Room::None {
                return;
            }
            if let Some(stream) = self.map.by_ticket(ticket) {
                self.control.lose(&mut stream.control);
                stream.control.on_taken_out();
            }
            self.control.pop();
        }
    }

    /// Frames of the connection as a whole.
    fn write_connection_control(&mut self, tempo: Tempo, writer: &mut Writer<'_>, on_record: &mut dyn FnMut(StreamRecord)) -> Room {
        if let Some(maximum) = self.window.update() {
            let frame = frame::MaxData { maximum };
            if writer.remaining() < frame.size() {
                return Room::None;
            }
            frame.write(writer);
            self.window.on_update_sent(maximum);
            self.tune_connection(tempo);
            on_record(StreamRecord::MaxData { maximum });
        }
        if let Some(limit) = self.credit.blocked_frame() {
            let frame = frame::DataBlocked { limit };
            if writer.remaining() < frame.size() {
                return Room::None;
            }
            frame.write(writer);
            self.credit.on_blocked_frame_sent();
            on_record(StreamRecord::DataBlocked { limit });
        }
        for direction in DIRECTIONS {
            if let Some(maximum) = self.peer.get(direction).update() {
                let frame = frame::MaxStreams { direction, maximum };
                if writer.remaining() < frame.size() {
                    return Room::None;
                }
                frame.write(writer);
                self.peer.get_mut(direction).on_update_sent(maximum);
                on_record(StreamRecord::MaxStreams { direction, maximum });
            }
            let credit = &mut self.local.get_mut(direction).credit;
            if let Some(limit) = credit.blocked_frame() {
                let frame = frame::StreamsBlocked { direction, limit };
                if writer.remaining() < frame.size() {
                    return Room::None;
                }
                frame.write(writer);
                credit.on_blocked_frame_sent();
                on_record(StreamRecord::StreamsBlocked { direction, limit });
            }
        }
        Room::Left
    }

    /// Frames of one stream.
    fn write_stream_control(
        &mut self,
        tempo: Tempo,
        ticket: Ticket,
        writer: &mut Writer<'_>,
        on_record: &mut dyn FnMut(StreamRecord),
    ) -> Room {
        let most = self.config.max_stream_window.min(self.window.window());
        let Some(Stream { id, send, recv, parked, .. }) = self.map.by_ticket(ticket) else { return Room::Left };
        if *parked {
            // It waited here before its limit was taken back; when it is allowed again it asks again.
            return Room::Left;
        }
        let id = *id;
        if let Some(part) = send {
            if let (true, Some(abort)) = (part.owes_reset(), part.state.abort()) {
                let frame = frame::ResetStream { stream: id, code: abort.code, final_size: part.buffer.sent() };
                if writer.remaining() < frame.size() {
                    return Room::None;
                }
                frame.write(writer);
                part.state.on_reset_sent();
                part.reset_lost = false;
                on_record(StreamRecord::Reset(id));
            }
            if let Some(limit) = part.blocked_frame() {
                let frame = frame::StreamDataBlocked { stream: id, limit };
                if writer.remaining() < frame.size() {
                    return Room::None;
                }
                frame.write(writer);
                part.credit.on_blocked_frame_sent();
                part.state.on_sent(frame::Fin::No);
                on_record(StreamRecord::StreamDataBlocked { id, limit });
            }
        }
        let Some(part) = recv else { return Room::Left };
        if let (true, Some(code)) = (part.owes_stop(), part.state.stop_code()) {
            let frame = frame::StopSending { stream: id, code };
            if writer.remaining() < frame.size() {
                return Room::None;
            }
            frame.write(writer);
            part.state.on_stop_sent();
            part.stop_lost = false;
            on_record(StreamRecord::Stop(id));
        }
        if part.window_update().is_some() {
            if writer.remaining() < (frame::MaxStreamData { stream: id, maximum: varint::MAX }).size() {
                return Room::None;
            }
            tune_stream(&mut part.window, tempo, most);
            let maximum = part.window.next_limit();
            frame::MaxStreamData { stream: id, maximum }.write(writer);
            part.window.on_update_sent(maximum);
            self.totals.note_full(part);
            on_record(StreamRecord::MaxStreamData { id, maximum });
        }
        Room::Left
    }
}
