//! What became of frames (RFC 9000 §13.3).
//!
//! Called by loss recovery for every record of a packet that was acknowledged or declared lost, and by the path room to
//! have data copied onto another path. Never decides when something is lost.

use super::{Stream, StreamEvent, StreamRecord, Streams, map::Key};
use qbase::{StreamId, frame::Fin};
use std::ops::Range;

impl Streams {
    /// The packet with this frame was acknowledged.
    pub fn on_acked(&mut self, record: StreamRecord) {
        match record {
            StreamRecord::Data { id, offset, len, fin } => self.on_data_acked(id, range(offset, len), fin.into()),
            StreamRecord::Reset(id) => self.on_part(id, |stream| {
                if let Some(part) = &mut stream.send {
                    part.state.on_reset_acked();
                    part.reset_lost = false;
                }
            }),
            StreamRecord::Stop(id) => self.on_part(id, |stream| {
                if let Some(part) = &mut stream.recv {
                    part.state.on_stop_acked();
                    part.stop_lost = false;
                }
            }),
            StreamRecord::MaxData { .. }
            | StreamRecord::MaxStreamData { .. }
            | StreamRecord::MaxStreams { .. }
            | StreamRecord::DataBlocked { .. }
            | StreamRecord::StreamDataBlocked { .. }
            | StreamRecord::StreamsBlocked { .. } => {}
        }
    }

    /// The packet with this frame was lost, or never left. What still matters is owed again; bytes that were
    /// acknowledged meanwhile are not.
    pub fn on_lost(&mut self, record: StreamRecord) {
        match record {
            StreamRecord::Data { id, offset, len, fin } => {
                self.on_data_lost(id, range(offset, len), fin.into());
            }
            StreamRecord::MaxData { maximum } => self.window.on_update_lost(maximum),
            StreamRecord::MaxStreams { direction, maximum } => self.peer.get_mut(direction).on_update_lost(maximum),
            StreamRecord::DataBlocked { limit } => self.credit.on_blocked_frame_lost(limit),
            StreamRecord::StreamsBlocked { direction, limit } => {
                self.local.get_mut(direction).credit.on_blocked_frame_lost(limit);
            }
            StreamRecord::MaxStreamData { id, maximum } => self.on_part(id, |stream| {
                if let Some(part) = &mut stream.recv {
                    part.window.on_update_lost(maximum);
                }
            }),
            StreamRecord::StreamDataBlocked { id, limit } => self.on_part(id, |stream| {
                if let Some(part) = &mut stream.send {
                    part.credit.on_blocked_frame_lost(limit);
                }
            }),
            StreamRecord::Reset(id) => self.on_part(id, |stream| {
                if let Some(part) = &mut stream.send {
                    part.reset_lost = part.state.on_reset_lost().is_change();
                }
            }),
            StreamRecord::Stop(id) => self.on_part(id, |stream| {
                if let Some(part) = &mut stream.recv {
                    part.stop_lost = part.state.on_stop_lost().is_change();
                }
            }),
        }
    }

    /// Puts a copy of a frame that was sent and is not acknowledged into the queues, for another path (multipath
    /// MP-83). If the first is acknowledged before the copy is sent, there is no copy. Answers the stream bytes that
    /// now wait because of it.
    pub fn mark_for_reinjection(&mut self, record: StreamRecord) -> u64 {
        if let StreamRecord::Data { id, offset, len, fin } = record {
            return self.on_data_lost(id, range(offset, len), fin.into());
        }
        self.on_lost(record);
        0
    }

    /// As [`Self::mark_for_reinjection`], unless the stream keeps to its path.
    pub fn copy_elsewhere(&mut self, record: StreamRecord) -> u64 {
        match record {
            StreamRecord::Data { id, .. } if self.is_kept(id) => 0,
            StreamRecord::Data { .. } => self.mark_for_reinjection(record),
            _ => 0,
        }
    }

    fn on_data_acked(&mut self, id: StreamId, range: Range<u64>, fin: Fin) {
        let Some(key) = self.map.key(id) else { return };
        let Some(Stream { send: Some(part), .. }) = self.map.get_mut(key) else { return };
        let waiting = part.buffer.lost_bytes();
        let (bytes, effect) = part.on_acked(range, fin, &mut self.spare);
        if part.wants_word && bytes > 0 {
            part.wants_word = false;
            self.events.push(StreamEvent::Acknowledged(id));
        }
        self.totals.again = self.totals.again.saturating_sub(waiting.saturating_sub(part.buffer.lost_bytes()));
        if part.again.waits && !part.has_again() {
            self.schedule.drop_again(part);
        }
        self.on_settled(bytes);
        if effect.is_change() {
            self.events.push(StreamEvent::Finished(id));
            self.close_if_ended(key);
        }
    }

    /// So many bytes need no memory any more, acknowledged or dropped. With the last one the spare memory goes too: a
    /// quiet connection holds none.
    pub(super) fn on_settled(&mut self, bytes: u64) {
        self.totals.unacked = self.totals.unacked.saturating_sub(bytes);
        if self.totals.unacked == 0 {
            self.spare.clear();
        }
    }

    fn on_data_lost(&mut self, id: StreamId, range: Range<u64>, fin: Fin) -> u64 {
        let Some(key) = self.map.key(id) else { return 0 };
        let Some(stream) = self.map.get_mut(key) else { return 0 };
        let ticket = stream.ticket(key);
        let Some(part) = &mut stream.send else { return 0 };
        let added = part.on_lost(range, fin);
        self.totals.again = self.totals.again.saturating_add(added);
        if part.has_again() {
            self.schedule.add_again(ticket, part);
        }
        added
    }

    /// Changes a live stream and does what follows from it.
    fn on_part(&mut self, id: StreamId, change: impl FnOnce(&mut Stream)) {
        let Some(key): Option<Key> = self.map.key(id) else { return };
        if let Some(stream) = self.map.get_mut(key) {
            change(stream);
        }
        self.settle(key);
        self.close_if_ended(key);
    }
}

/// The bytes of a record.
const fn range(offset: u64, len: u32) -> Range<u64> {
    offset..offset.saturating_add(len as u64)
}
