//! Stream bytes into packets (RFC 9000 §19.8; burst B-26, B-32, B-47).
//!
//! Decides how many bytes of which stream the next frame carries. Called by the burst writer for every 1-RTT (or 0-RTT)
//! packet. A byte is copied once: from the send buffer into the packet. Never looks at congestion or pacing: the writer
//! it is handed is as large as they allow.

use super::{
    Asker, Stream, StreamRecord, Streams,
    map::{Key, StreamMap},
    schedule::Turn,
    send::SendPart,
};
use qbase::{
    PathId, StreamId, Writer,
    frame::{self, Fin, stream::write_header},
    varint,
};
use qrecovery::{buffer::Copied, flow::SendCredit};
use std::ops::Range;

/// Room below which no STREAM frame is begun (burst B-26).
const MIN_ROOM: usize = 25;

/// Room from which on a copy that does not fit as a whole is cut.
const ROOM_TO_CUT: usize = 1_024;

/// How much of what waits fits into a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fit {
    /// Bytes of the stream.
    len: usize,
    /// The Length field; `None` when the frame fills the packet to its last byte.
    length: Option<usize>,
}

impl Fit {
    /// Of `available` bytes into `room`, behind a header of `head` bytes without Length.
    #[inline]
    fn new(room: usize, head: usize, available: u64) -> Option<Self> {
        let body = room.checked_sub(head)?;
        if available >= body as u64 {
            return Some(Self { len: body, length: None });
        }
        let available = usize::try_from(available).ok()?;
        let with_length = body.checked_sub(varint::size(available as u64))?;
        let len = available.min(with_length);
        Some(Self { len, length: Some(len) })
    }
}

impl Streams {
    /// Some stream byte or FIN may be sent now, wherever it may go.
    #[must_use]
    #[inline]
    pub fn has_data(&self) -> bool {
        self.schedule.has_again() || (self.schedule.has_fresh() && self.credit.available() > 0)
    }

    /// The same, of streams that any path may carry.
    #[must_use]
    #[inline]
    pub const fn has_shared(&self) -> bool {
        let shared = self.schedule.shared();
        shared.has_again() || (shared.has_fresh() && self.credit.available() > 0)
    }

    /// The same, of streams that keep to this path.
    #[must_use]
    #[inline]
    pub fn has_pinned(&self, path: PathId) -> bool {
        self.schedule.pinned(path).is_some_and(|own| own.has_again() || (own.has_fresh() && self.credit.available() > 0))
    }

    /// The smallest urgency of a stream with fresh bytes and credit for them, for such a packet.
    #[must_use]
    pub fn most_urgent(&self, asker: Asker) -> Option<u8> {
        self.schedule.most_urgent(asker).filter(|_| self.credit.available() > 0)
    }

    /// Fresh bytes that the connection's and the next stream's credit allow.
    pub(crate) fn credit_left(&mut self) -> u64 {
        let Self { schedule, map, .. } = self;
        let turn = schedule.of(None).turn(map);
        let stream = turn.and_then(|turn| sending(map, turn)).map_or(u64::MAX, |(_, part)| part.credit.available());
        stream.min(self.credit.available())
    }

    /// Stream bytes that went out, each counted once.
    pub(crate) const fn fresh_bytes_sent(&self) -> u64 {
        self.counters.bytes_sent
    }

    /// Stream bytes that were sent and not acknowledged.
    pub(crate) const fn outstanding(&self) -> u64 {
        self.totals.unacked.saturating_sub(self.totals.unsent).saturating_sub(self.totals.again)
    }

    /// Bytes wait that only flow control holds back, of one stream or of the connection.
    #[must_use]
    pub fn blocked_by_credit(&self) -> bool {
        self.waits_for_stream_credit() || self.waits_for_connection_credit()
    }

    /// Bytes of a stream wait that only the stream's credit holds back.
    #[must_use]
    #[inline]
    pub const fn waits_for_stream_credit(&self) -> bool {
        self.totals.blocked > 0
    }

    /// Bytes wait that only the connection's credit holds back.
    #[must_use]
    #[inline]
    pub fn waits_for_connection_credit(&self) -> bool {
        self.schedule.has_fresh() && self.credit.available() == 0
    }

    /// The peer has used up a window, of a stream or of the connection, and the application has not read what is there.
    #[must_use]
    #[inline]
    pub const fn is_unread(&self) -> bool {
        self.totals.full > 0 || (self.totals.held > 0 && self.window.received() == self.window.limit())
    }

    /// Fills a packet with STREAM frames that may go on its path, those that need no credit first, and hands out a record for each. Answers
    /// whether it wrote any.
    ///
    /// A frame that fills the writer to its last byte has no Length: nothing may follow it in the packet.
    pub fn write_data(&mut self, asker: Asker, writer: &mut Writer<'_>, on_record: &mut dyn FnMut(StreamRecord)) -> bool {
        let before = writer.len();
        while writer.remaining() >= MIN_ROOM {
            let written = if self.schedule.has_again_for(asker) {
                self.write_again(asker, writer, on_record)
            } else if self.schedule.has_fresh_for(asker) && self.credit.available() > 0 {
                self.write_fresh(asker, writer, on_record)
            } else {
                break;
            };
            if written.is_none() {
                break;
            }
        }
        self.note_connection_blocked();
        writer.len() > before
    }

    /// Writes a copy of bytes that another packet carries, as far as they are not acknowledged (scheduler `redundant`).
    /// Answers `false` if it needs more room than the packet has left; then it is to be tried in the next one.
    pub fn write_copy(
        &mut self,
        writer: &mut Writer<'_>,
        record: StreamRecord,
        on_record: &mut dyn FnMut(StreamRecord),
    ) -> bool {
        let StreamRecord::Data { id, offset, len, fin } = record else { return true };
        let Some(key) = self.map.key(id) else { return true };
        let Some(Stream { send: Some(part), .. }) = self.map.get_mut(key) else { return true };
        let end = offset.saturating_add(u64::from(len));
        let start = offset.max(part.buffer.acked_to());
        let is_over = !part.state.is_live() || start > end || (start == end && !fin);
        if is_over {
            return true;
        }
        let head = frame::Stream::header_size(id, start, None);
        let wanted = end.saturating_sub(start);
        let Some(fit) = Fit::new(writer.remaining(), head, wanted) else { return false };
        let is_cut = (fit.len as u64) < wanted;
        if is_cut && writer.remaining() < ROOM_TO_CUT {
            return false;
        }
        let sent_to = start.saturating_add(fit.len as u64);
        on_record(put(part, id, start..sent_to, fit.length, writer));
        self.counters.bytes_sent_again = self.counters.bytes_sent_again.saturating_add(fit.len as u64);
        if is_cut {
            let rest = u32::try_from(end.saturating_sub(sent_to)).unwrap_or(u32::MAX);
            self.mark_for_reinjection(StreamRecord::Data { id, offset: sent_to, len: rest, fin });
        }
        true
    }

    /// A frame of lost bytes, or a FIN alone; `None` if it did not fit.
    fn write_again(&mut self, asker: Asker, writer: &mut Writer<'_>, on_record: &mut dyn FnMut(StreamRecord)) -> Option<()> {
        let turn = self.schedule.turn_again(asker, &mut self.map)?;
        let (id, part) = sending(&mut self.map, turn)?;
        let waits = part.buffer.first_lost();
        let at = waits.as_ref().map_or_else(|| part.buffer.written(), |lost| lost.start);
        let available = waits.map_or(0, |lost| lost.end.saturating_sub(lost.start)).min(turn.budget);
        let fit = Fit::new(writer.remaining(), frame::Stream::header_size(id, at, None), available)?;
        let range = if available == 0 { at..at } else { part.buffer.take_lost(fit.len as u64)? };
        let len = range.end.saturating_sub(range.start);
        on_record(put(part, id, range, fit.length, writer));
        self.totals.again = self.totals.again.saturating_sub(len);
        self.counters.bytes_sent_again = self.counters.bytes_sent_again.saturating_add(len);
        if !part.has_again() {
            self.schedule.drop_again(part);
        }
        Some(())
    }

    /// A frame of fresh bytes, charged to the stream and to the connection; `None` if it did not fit.
    fn write_fresh(&mut self, asker: Asker, writer: &mut Writer<'_>, on_record: &mut dyn FnMut(StreamRecord)) -> Option<()> {
        let turn = self.schedule.turn(asker, &mut self.map)?;
        let (id, part) = sending(&mut self.map, turn)?;
        let available = fresh_bytes(part, &self.credit).min(turn.budget);
        let head = frame::Stream::header_size(id, part.buffer.sent(), None);
        let fit = Fit::new(writer.remaining(), head, available)?;
        let range = part.buffer.take_fresh(fit.len as u64);
        let len = range.end.saturating_sub(range.start);
        part.credit.charge(len);
        self.credit.charge(len);
        self.totals.unsent = self.totals.unsent.saturating_sub(len);
        self.counters.bytes_sent = self.counters.bytes_sent.saturating_add(len);
        on_record(put(part, id, range, fit.length, writer));
        self.schedule.on_turn(turn, len, part);
        let wants_room = part.wants_room;
        if self.early {
            self.mark_early(turn.ticket.key);
        }
        self.after_fresh(turn.ticket.key);
        if wants_room {
            self.offer_room_to(turn.ticket.key);
        }
        self.offer_room();
        Some(())
    }

    /// The stream may have run out of stream credit.
    #[inline]
    fn after_fresh(&mut self, key: Key) {
        let Some(stream) = self.map.get_mut(key) else { return };
        let ticket = stream.ticket(key);
        let Some(part) = &mut stream.send else { return };
        if part.waits_for_credit() {
            self.totals.note_blocked(part);
            if part.blocked_frame().is_some() {
                self.control.add(ticket, &mut stream.control);
            }
        }
    }
}

/// The sending part whose turn it is.
#[inline]
fn sending(map: &mut StreamMap, turn: Turn) -> Option<(StreamId, &mut SendPart)> {
    let stream = map.by_ticket(turn.ticket)?;
    Some((stream.id, stream.send.as_mut()?))
}

/// Fresh bytes that both credits allow.
#[inline]
fn fresh_bytes(part: &SendPart, connection: &SendCredit) -> u64 {
    part.buffer.unsent().min(part.credit.available()).min(connection.available())
}

/// Writes a STREAM frame with the bytes of `range`, which fit, and FIN if they reach the end.
#[inline]
fn put(
    part: &mut SendPart,
    id: StreamId,
    range: Range<u64>,
    length: Option<usize>,
    writer: &mut Writer<'_>,
) -> StreamRecord {
    let fin = part.fin_at(range.end);
    let len = range.end.saturating_sub(range.start);
    write_header(writer, id, range.start, fin, length);
    if len > 0 {
        let slot = writer.reserve(usize::try_from(len).unwrap_or(usize::MAX));
        let copied = slot.map(|slot| part.buffer.copy_range(range.start, slot));
        debug_assert_eq!(copied, Some(Copied::All), "bytes to send have vanished");
    }
    part.on_sent(fin);
    StreamRecord::Data { id, offset: range.start, len: u32::try_from(len).unwrap_or(u32::MAX), fin: fin == Fin::Yes }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_that_fills_the_packet_has_no_length() {
        assert_eq!(Fit::new(100, 10, 90), Some(Fit { len: 90, length: None }));
        assert_eq!(Fit::new(100, 10, 5_000), Some(Fit { len: 90, length: None }));
    }

    #[test]
    fn a_frame_that_leaves_room_has_one() {
        assert_eq!(Fit::new(100, 10, 50), Some(Fit { len: 50, length: Some(50) }));
        assert_eq!(Fit::new(100, 10, 0), Some(Fit { len: 0, length: Some(0) }));
    }

    #[test]
    fn a_length_that_would_not_fit_costs_a_byte_of_data() {
        assert_eq!(Fit::new(60, 10, 49), Some(Fit { len: 49, length: Some(49) }));
        assert_eq!(Fit::new(111, 10, 100), Some(Fit { len: 99, length: Some(99) }));
        assert_eq!(Fit::new(9, 10, 100), None);
    }
}
