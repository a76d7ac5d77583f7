//! Frames that wait to be sent, or for their acknowledgement (traversal T-66, T-76).
//!
//! Called by the drive (new ones), the burst sources and the fate of packets. Holds [`limits::TRAVERSAL_FRAMES`] at most: beyond, the
//! oldest PUNCH_DONE goes, which is sent straight as well. Never repeats what is withdrawn.

use super::TraversalState;
use crate::{
    burst::{record::SentFrame, sources::Frames},
    connection::Connection,
};
use qbase::limits;
use qtraversal::{TraversalFrame, frame::PunchId};
use std::collections::{BTreeMap, VecDeque};

/// Frames by their serial numbers, which are not on the wire.
#[derive(Debug, Default)]
pub(super) struct Letters {
    serial: u32,
    waiting: VecDeque<(u32, TraversalFrame)>,
    sent: BTreeMap<u32, TraversalFrame>,
}

impl Letters {
    pub(super) fn push(&mut self, frame: TraversalFrame) {
        if self.waiting.len().saturating_add(self.sent.len()) >= limits::TRAVERSAL_FRAMES && !self.make_room() {
            return;
        }
        self.serial = self.serial.wrapping_add(1);
        self.waiting.push_back((self.serial, frame));
    }

    /// A PUNCH_DONE goes.
    fn make_room(&mut self) -> bool {
        let is_done = |frame: &TraversalFrame| matches!(frame, TraversalFrame::PunchDone(_));
        if let Some(serial) = self.sent.iter().find(|(_, frame)| is_done(frame)).map(|(serial, _)| *serial) {
            return self.sent.remove(&serial).is_some();
        }
        let at = self.waiting.iter().position(|(_, frame)| is_done(frame));
        at.and_then(|at| self.waiting.remove(at)).is_some()
    }

    /// The one to send next.
    pub(super) fn next(&self) -> Option<(u32, TraversalFrame)> {
        self.waiting.front().copied()
    }

    /// How many wait to be sent.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// It stands in a packet, or has no bytes.
    pub(super) fn on_written(&mut self, serial: u32) {
        if self.waiting.front().is_some_and(|(first, _)| *first == serial)
            && let Some((_, frame)) = self.waiting.pop_front()
        {
            self.sent.insert(serial, frame);
        }
    }

    pub(super) fn on_acked(&mut self, serial: u32) {
        self.sent.remove(&serial);
    }

    pub(super) fn on_lost(&mut self, serial: u32) {
        if let Some(frame) = self.sent.remove(&serial) {
            self.waiting.push_back((serial, frame));
        }
    }

    /// Nothing more is said about these pairs, neither for the first time nor again (traversal V9).
    pub(super) fn forget(&mut self, is_meant: impl Fn(PunchId) -> bool) {
        let stays = |frame: &TraversalFrame| match frame {
            TraversalFrame::PunchMeNow(tell) => !is_meant(tell.id),
            TraversalFrame::PunchDone(done) => !is_meant(done.id),
            _ => true,
        };
        self.waiting.retain(|(_, frame)| stays(frame));
        self.sent.retain(|_, frame| stays(frame));
    }
}

impl Connection {
    /// Writes frames that wait.
    pub(crate) fn write_letters(&mut self, frames: &mut Frames<'_, '_>) {
        let Some(part) = self.traversal.as_mut().filter(|part| part.state == TraversalState::On) else { return };
        while let Some((serial, frame)) = part.letters.next() {
            // What a profile cannot say is not said.
            let Ok(encoded) = part.profile.codec().encode(&frame) else {
                part.letters.on_written(serial);
                part.letters.on_acked(serial);
                continue;
            };
            if !frames.put(encoded.bytes().len(), SentFrame::Traversal { serial, name: frame.name() }, |writer| writer.bytes(encoded.bytes())) {
                return;
            }
            part.letters.on_written(serial);
        }
    }

    pub(in crate::connection) fn on_letter_acked(&mut self, serial: u32) {
        if let Some(part) = &mut self.traversal {
            part.letters.on_acked(serial);
        }
    }

    pub(in crate::connection) fn on_letter_lost(&mut self, serial: u32) {
        if let Some(part) = &mut self.traversal {
            part.letters.on_lost(serial);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use qtraversal::frame::{PunchDone, RemoveAddress};

    fn done(local_seq: u64) -> TraversalFrame {
        TraversalFrame::PunchDone(PunchDone { id: PunchId { local_seq, remote_seq: 0 }, probe: 0 })
    }

    /// attacks R2: the limit and one past it.
    #[test]
    fn no_more_frames_wait_than_there_is_room_for_and_done_gives_way() {
        let mut letters = Letters::default();
        for seq in 0..limits::TRAVERSAL_FRAMES as u64 {
            letters.push(if seq == 3 { done(seq) } else { TraversalFrame::RemoveAddress(RemoveAddress { seq }) });
        }
        assert_eq!(letters.len(), limits::TRAVERSAL_FRAMES);
        letters.push(done(99));
        assert_eq!(letters.len(), limits::TRAVERSAL_FRAMES);
        assert_eq!(letters.waiting.back().map(|(_, frame)| *frame), Some(done(99)));
        letters.push(TraversalFrame::RemoveAddress(RemoveAddress { seq: 77 }));
        letters.push(TraversalFrame::RemoveAddress(RemoveAddress { seq: 78 }));
        assert_eq!(letters.len(), limits::TRAVERSAL_FRAMES, "one past the bound");
    }

    /// traversal V9, T-66.
    #[test]
    fn a_lost_frame_is_sent_again_unless_its_pair_is_forgotten() {
        let mut letters = Letters::default();
        (0..2).for_each(|seq| letters.push(done(seq)));
        while let Some((serial, _)) = letters.next() {
            letters.on_written(serial);
        }
        letters.forget(|id| id.local_seq == 0);
        (1..=2).for_each(|serial| letters.on_lost(serial));
        assert_eq!(letters.next().map(|(_, frame)| frame), Some(done(1)));
        assert_eq!(letters.len(), 1);
        letters.on_written(2);
        letters.on_acked(2);
        letters.on_lost(2);
        assert_eq!(letters.next(), None, "it arrived");
    }
}
