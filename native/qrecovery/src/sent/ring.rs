//! The two rings behind [`SentPackets`](super::SentPackets): packets by position, and the frames of all of them.
//!
//! Decides where a record lies and when its memory is reused; both rings move only at their ends, so a steady flow of
//! packets allocates nothing. Called by `sent`. Never judges a packet.

use super::SentPacket;
use std::{
    collections::{VecDeque, vec_deque},
    iter::Copied,
};

/// Frame records of one packet, in the order they were written.
#[derive(Clone, Debug)]
pub struct Frames<'a, F: Copy>(Copied<vec_deque::Iter<'a, F>>);

impl<F: Copy> Iterator for Frames<'_, F> {
    type Item = F;

    fn next(&mut self) -> Option<F> {
        self.0.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl<F: Copy> ExactSizeIterator for Frames<'_, F> {}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Neither acknowledged nor lost.
    Outstanding,
    /// Acknowledged, in time or late.
    Acked,
    /// Declared lost; its acknowledgement may still come.
    Lost,
}

/// A packet, its fate and where its frames are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    pub packet: SentPacket,
    pub fate: Fate,
    /// Index of its first frame, counted from the first frame ever pushed.
    frames_from: u64,
    /// How many frames it has.
    frames: u32,
}

/// Records and frames, oldest first.
#[derive(Clone, Debug)]
pub(super) struct Ring<F: Copy> {
    records: VecDeque<Record>,
    frames: VecDeque<F>,
    /// Position of `records.front()`: records taken off the front since the start.
    first_position: u64,
    /// Frames taken off the front since the start.
    first_frame: u64,
}

impl<F: Copy> Ring<F> {
    pub const fn new() -> Self {
        Self { records: VecDeque::new(), frames: VecDeque::new(), first_position: 0, first_frame: 0 }
    }

    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Position of the oldest record.
    pub const fn start(&self) -> u64 {
        self.first_position
    }

    /// Position that the next record will have.
    pub fn end(&self) -> u64 {
        self.first_position.saturating_add(self.records.len() as u64)
    }

    pub fn front(&self) -> Option<&Record> {
        self.records.front()
    }

    pub fn back(&self) -> Option<&Record> {
        self.records.back()
    }

    pub fn push(&mut self, packet: SentPacket, frames: &[F]) {
        self.records.push_back(Record {
            packet,
            fate: Fate::Outstanding,
            frames_from: self.first_frame.saturating_add(self.frames.len() as u64),
            frames: u32::try_from(frames.len()).unwrap_or(u32::MAX),
        });
        self.frames.extend(frames);
    }

    pub fn pop_front(&mut self) -> Option<Record> {
        let record = self.records.pop_front()?;
        self.first_position = self.first_position.saturating_add(1);
        self.first_frame = self.first_frame.saturating_add(u64::from(record.frames));
        for _ in 0..record.frames {
            self.frames.pop_front();
        }
        Some(record)
    }

    pub fn pop_back(&mut self) -> Option<Record> {
        let record = self.records.pop_back()?;
        self.frames.truncate(self.frames.len().saturating_sub(record.frames as usize));
        Some(record)
    }

    /// Drops everything; positions go on.
    pub fn clear(&mut self) {
        self.first_position = self.end();
        self.first_frame = self.first_frame.saturating_add(self.frames.len() as u64);
        self.records.clear();
        self.frames.clear();
    }

    /// Gives memory back that the records do not use.
    pub fn shrink(&mut self) {
        self.records.shrink_to_fit();
        self.frames.shrink_to_fit();
    }

    /// Bytes of memory behind both rings.
    pub fn memory(&self) -> usize {
        let records = self.records.capacity().saturating_mul(size_of::<Record>());
        records.saturating_add(self.frames.capacity().saturating_mul(size_of::<F>()))
    }

    /// Position of the first record whose number is at least `number`; O(1) when few numbers were skipped.
    pub fn position_of(&self, number: u64) -> u64 {
        let distance = self.records.front().map_or(0, |oldest| number.saturating_sub(oldest.packet.number));
        // Numbers rise by at least one per record, so the index is at most `distance`: search downwards from there.
        let mut high = usize::try_from(distance).unwrap_or(usize::MAX).min(self.records.len());
        let mut step = 1;
        let mut low = high;
        while low > 0 {
            low = low.saturating_sub(step);
            if self.records.get(low).is_none_or(|record| record.packet.number < number) {
                break;
            }
            high = low;
            step = step.saturating_mul(2);
        }
        let mut candidates = low..high;
        while !candidates.is_empty() {
            let middle = candidates.start.midpoint(candidates.end);
            if self.records.get(middle).is_some_and(|record| record.packet.number < number) {
                candidates.start = middle.saturating_add(1);
            } else {
                candidates.end = middle;
            }
        }
        self.first_position.saturating_add(candidates.start as u64)
    }

    /// Record at a position.
    pub fn get(&self, position: u64) -> Option<&Record> {
        self.records.get(self.index(position)?)
    }

    /// Records from a position on, to be changed, each with its frames.
    pub fn walk(&mut self, position: u64) -> impl Iterator<Item = (&mut Record, Frames<'_, F>)> {
        let from = self.index(position).unwrap_or(0).min(self.records.len());
        let (frames, first_frame) = (&self.frames, self.first_frame);
        self.records.range_mut(from..).map(move |record| {
            let start = usize::try_from(record.frames_from.saturating_sub(first_frame)).unwrap_or(usize::MAX);
            let start = start.min(frames.len());
            let end = start.saturating_add(record.frames as usize).min(frames.len());
            (record, Frames(frames.range(start..end).copied()))
        })
    }

    fn index(&self, position: u64) -> Option<usize> {
        usize::try_from(position.checked_sub(self.first_position)?).ok()
    }
}
