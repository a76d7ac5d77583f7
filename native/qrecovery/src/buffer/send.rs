//! The send buffer of a stream: bytes from the application until the peer has acknowledged them (RFC 9000 §13.3).
//!
//! Decides which bytes are fresh, which must be sent again and which can be forgotten. Called by the sending part of a
//! stream and by CRYPTO streams. Never decides how much may be sent: flow control and congestion come first. A byte can
//! be on its way several times; the first acknowledgement counts, and a loss of a byte already acknowledged is nothing.

use super::pool::BLOCK_LEN;
use crate::RangeSet;
use bytes::Bytes;
use std::{collections::VecDeque, ops::Range};

/// Chunks shorter than this are copied behind the last one instead of being kept as they are: a small chunk may hold a
/// large allocation alive.
const SMALL_CHUNK: usize = 512;

/// Smallest block a stream starts with, bytes.
const FIRST_BLOCK: usize = 64;

/// Blocks of [`BLOCK_LEN`] bytes that send buffers of one connection pass on to each other, so that a busy stream
/// allocates nothing.
#[derive(Debug)]
pub struct SpareBlocks {
    blocks: Vec<Vec<u8>>,
    /// Blocks kept at most.
    max: usize,
}

impl SpareBlocks {
    /// No blocks yet; at most `max` are kept.
    #[must_use]
    pub const fn new(max: usize) -> Self {
        Self { blocks: Vec::new(), max }
    }

    /// Frees the blocks kept, for quiet times.
    pub fn clear(&mut self) {
        self.blocks = Vec::new();
    }

    /// Blocks kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.blocks.len()
    }

    /// No blocks are kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// An empty block of full size.
    fn take(&mut self) -> Vec<u8> {
        self.blocks.pop().unwrap_or_else(|| Vec::with_capacity(BLOCK_LEN))
    }

    /// Keeps a block of full size for the next who needs one.
    fn give(&mut self, mut block: Vec<u8>) {
        if block.capacity() == BLOCK_LEN && self.blocks.len() < self.max {
            block.clear();
            self.blocks.push(block);
        }
    }
}

/// Where a chunk's bytes are.
#[derive(Debug)]
enum Memory {
    /// Copied from the application; the last chunk may grow up to its capacity.
    Owned(Vec<u8>),
    /// Handed over by the application.
    Shared(Bytes),
}

/// Bytes that lie together.
#[derive(Debug)]
struct Chunk {
    /// Offset of the first byte.
    start: u64,
    memory: Memory,
}

impl Chunk {
    #[inline]
    fn bytes(&self) -> &[u8] {
        match &self.memory {
            Memory::Owned(bytes) => bytes,
            Memory::Shared(bytes) => bytes,
        }
    }

    #[inline]
    fn end(&self) -> u64 {
        self.start.saturating_add(self.bytes().len() as u64)
    }
}

/// Written bytes of one stream that are not all acknowledged.
///
/// ```text
/// 0 ...... acked_to ............ sent ......... written
///   freed           in flight,         fresh
///                   acknowledged
///                   in parts, or lost
/// ```
#[derive(Debug, Default)]
pub struct SendBuffer {
    /// Chunks of the bytes from `acked_to` (or a little below) to `written`.
    chunks: VecDeque<Chunk>,
    /// Index of the chunk read last: the next read is mostly there or behind it.
    hint: usize,
    /// Everything below is acknowledged.
    acked_to: u64,
    /// Acknowledged beyond `acked_to`.
    acked: RangeSet,
    /// To be sent again; never acknowledged, never beyond `sent`.
    lost: RangeSet,
    /// Bytes in `lost`.
    lost_bytes: u64,
    /// Everything below was sent at least once.
    sent: u64,
    /// Everything below was written.
    written: u64,
}

impl SendBuffer {
    /// An empty buffer at offset 0; takes no memory.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Copies `data` behind what was written.
    pub fn write(&mut self, data: &[u8], spare: &mut SpareBlocks) {
        let mut rest = data;
        while !rest.is_empty() {
            let room = self.tail_room();
            if room == 0 {
                self.push_block(rest.len(), spare);
                continue;
            }
            let (head, behind) = rest.split_at_checked(room).unwrap_or((rest, &[]));
            if let Some(Chunk { memory: Memory::Owned(block), .. }) = self.chunks.back_mut() {
                block.extend_from_slice(head);
            }
            self.written = self.written.saturating_add(head.len() as u64);
            rest = behind;
        }
    }

    /// Takes `chunk` over behind what was written, without a copy unless it is small.
    pub fn write_chunk(&mut self, chunk: Bytes, spare: &mut SpareBlocks) {
        if chunk.len() < SMALL_CHUNK {
            return self.write(&chunk, spare);
        }
        let start = self.written;
        self.written = start.saturating_add(chunk.len() as u64);
        self.chunks.push_back(Chunk { start, memory: Memory::Shared(chunk) });
    }

    /// Takes the next bytes to send again, lowest first, at most `max`.
    pub fn take_lost(&mut self, max: u64) -> Option<Range<u64>> {
        let first = self.lost.first()?;
        let range = first.start..first.end.min(first.start.saturating_add(max));
        self.lost_bytes = self.lost_bytes.saturating_sub(self.lost.remove(range.clone()));
        Some(range)
    }

    /// The next bytes to send again, if any, without taking them.
    #[must_use]
    #[inline]
    pub fn first_lost(&self) -> Option<Range<u64>> {
        self.lost.first()
    }

    /// Takes the next fresh bytes, at most `max`; they count as sent.
    #[inline]
    pub fn take_fresh(&mut self, max: u64) -> Range<u64> {
        let start = self.sent;
        self.sent = start.saturating_add(max).min(self.written);
        start..self.sent
    }

    /// Copies the bytes from `offset` on into `out`: one copy, or one more for every border of chunks. Answers whether
    /// all of them were there: bytes that are acknowledged or not written are not.
    #[must_use]
    #[inline]
    pub fn copy_range(&mut self, offset: u64, out: &mut [u8]) -> Copied {
        let Some(mut index) = self.chunk_at(offset) else { return Copied::Missing };
        let (mut offset, mut out) = (offset, out);
        while let Some(chunk) = self.chunks.get(index) {
            let from = usize::try_from(offset.saturating_sub(chunk.start)).unwrap_or(usize::MAX);
            let bytes = chunk.bytes().get(from..).unwrap_or_default();
            let len = bytes.len().min(out.len());
            let (Some(source), Some((to, rest))) = (bytes.get(..len), out.split_at_mut_checked(len)) else { break };
            to.copy_from_slice(source);
            self.hint = index;
            if rest.is_empty() {
                return Copied::All;
            }
            offset = offset.saturating_add(len as u64);
            out = rest;
            index = index.saturating_add(1);
        }
        Copied::Missing
    }

    /// A range was acknowledged; answers how many of its bytes were not before. Copies of it that wait to be sent
    /// again are dropped (multipath MP-83).
    pub fn on_acked(&mut self, range: Range<u64>, spare: &mut SpareBlocks) -> u64 {
        let range = range.start.max(self.acked_to)..range.end.min(self.sent);
        if range.is_empty() {
            return 0;
        }
        if !self.lost.is_empty() {
            self.lost_bytes = self.lost_bytes.saturating_sub(self.lost.remove(range.clone()));
        }
        if range.start > self.acked_to {
            return self.acked.insert(range);
        }
        let known: u64 = self.acked.overlap(range.clone()).map(|known| known.end.saturating_sub(known.start)).sum();
        self.acked_to = range.end;
        self.acked.remove_below(range.end);
        if self.acked.min() == Some(range.end)
            && let Some(joined) = self.acked.pop_min()
        {
            self.acked_to = joined.end;
        }
        self.free_acked(spare);
        range.end.saturating_sub(range.start).saturating_sub(known)
    }

    /// A range was lost, or shall be sent on another path too: what of it is not acknowledged is to be sent again.
    /// Answers how many bytes were added to those that wait.
    pub fn on_lost(&mut self, range: Range<u64>) -> u64 {
        let range = range.start.max(self.acked_to)..range.end.min(self.sent);
        if range.is_empty() {
            return 0;
        }
        let added = self.acked.missing(range).map(|part| self.lost.insert(part)).sum();
        self.lost_bytes = self.lost_bytes.saturating_add(added);
        added
    }

    /// Forgets every byte: the stream was reset. The offsets stay as they are.
    pub fn clear(&mut self, spare: &mut SpareBlocks) {
        for chunk in self.chunks.drain(..) {
            if let Memory::Owned(block) = chunk.memory {
                spare.give(block);
            }
        }
        self.written = self.sent;
        self.acked_to = self.sent;
        self.acked = RangeSet::new();
        self.lost = RangeSet::new();
        self.lost_bytes = 0;
    }

    /// Bytes written and never sent.
    #[must_use]
    #[inline]
    pub const fn unsent(&self) -> u64 {
        self.written.saturating_sub(self.sent)
    }

    /// Bytes that wait to be sent again.
    #[must_use]
    #[inline]
    pub const fn lost_bytes(&self) -> u64 {
        self.lost_bytes
    }

    /// Offset of the next fresh byte: what was charged to flow control.
    #[must_use]
    #[inline]
    pub const fn sent(&self) -> u64 {
        self.sent
    }

    /// Offset behind the last byte written.
    #[must_use]
    #[inline]
    pub const fn written(&self) -> u64 {
        self.written
    }

    /// Everything below is acknowledged.
    #[must_use]
    #[inline]
    pub const fn acked_to(&self) -> u64 {
        self.acked_to
    }

    /// Everything written is acknowledged.
    #[must_use]
    #[inline]
    pub const fn is_all_acked(&self) -> bool {
        self.acked_to == self.written
    }

    /// Bytes of memory behind the buffer.
    #[must_use]
    pub fn memory(&self) -> usize {
        let chunks: usize = self
            .chunks
            .iter()
            .map(|chunk| match &chunk.memory {
                Memory::Owned(block) => block.capacity(),
                Memory::Shared(bytes) => bytes.len(),
            })
            .sum();
        let records = self.chunks.capacity().saturating_mul(size_of::<Chunk>());
        chunks.saturating_add(records).saturating_add(self.acked.memory()).saturating_add(self.lost.memory())
    }

    /// Bytes the last chunk can still take.
    #[inline]
    fn tail_room(&self) -> usize {
        match self.chunks.back() {
            Some(Chunk { memory: Memory::Owned(block), .. }) => block.capacity().saturating_sub(block.len()),
            _ => 0,
        }
    }

    /// Opens a block for `wanted` bytes: small at first, full-sized once the stream has shown that it is busy.
    fn push_block(&mut self, wanted: usize, spare: &mut SpareBlocks) {
        let buffered = usize::try_from(self.written.saturating_sub(self.acked_to)).unwrap_or(usize::MAX);
        let size = wanted.max(buffered).clamp(FIRST_BLOCK, BLOCK_LEN).next_power_of_two();
        let block = if size >= BLOCK_LEN { spare.take() } else { Vec::with_capacity(size) };
        self.chunks.push_back(Chunk { start: self.written, memory: Memory::Owned(block) });
    }

    /// Index of the chunk that holds the byte at `offset`.
    #[inline]
    fn chunk_at(&self, offset: u64) -> Option<usize> {
        let holds = |index: usize| {
            self.chunks.get(index).is_some_and(|chunk| chunk.start <= offset && offset < chunk.end())
        };
        if holds(self.hint) {
            return Some(self.hint);
        }
        let next = self.hint.saturating_add(1);
        if holds(next) {
            return Some(next);
        }
        let index = self.chunks.partition_point(|chunk| chunk.end() <= offset);
        holds(index).then_some(index)
    }

    /// Frees the chunks whose bytes are all acknowledged.
    fn free_acked(&mut self, spare: &mut SpareBlocks) {
        while let Some(first) = self.chunks.front() {
            if first.end() > self.acked_to {
                return;
            }
            if let Some(Chunk { memory: Memory::Owned(block), .. }) = self.chunks.pop_front() {
                spare.give(block);
            }
            self.hint = self.hint.saturating_sub(1);
        }
    }
}

/// Whether a copy was complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copied {
    /// Every byte asked for.
    All,
    /// Some bytes are not in the buffer.
    Missing,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn byte_at(offset: u64) -> u8 {
        (offset.wrapping_mul(0x9e37_79b9) >> 11) as u8
    }

    fn bytes_of(range: Range<u64>) -> Vec<u8> {
        range.map(byte_at).collect()
    }

    fn spare() -> SpareBlocks {
        SpareBlocks::new(4)
    }

    /// A buffer with `sent` bytes on their way and `fresh` behind them.
    fn buffer_of(sent: u64, fresh: u64, spare: &mut SpareBlocks) -> SendBuffer {
        let mut buffer = SendBuffer::new();
        buffer.write(&bytes_of(0..sent + fresh), spare);
        buffer.take_fresh(sent);
        buffer
    }

    #[test]
    fn a_lost_range_is_sent_again_lowest_first_in_pieces() {
        let mut spare = spare();
        let mut buffer = buffer_of(5_000, 0, &mut spare);
        assert_eq!(buffer.on_lost(3_000..4_000), 1_000);
        assert_eq!(buffer.on_lost(0..1_000), 1_000);
        assert_eq!(buffer.take_lost(700), Some(0..700));
        assert_eq!(buffer.take_lost(700), Some(700..1_000));
        assert_eq!(buffer.take_lost(700), Some(3_000..3_700));
        assert_eq!(buffer.lost_bytes(), 300);
    }

    /// multipath MP-83.
    #[test]
    fn an_acknowledgement_drops_the_copy_that_waits() {
        let mut spare = spare();
        let mut buffer = buffer_of(3_000, 0, &mut spare);
        buffer.on_lost(0..3_000);
        assert_eq!(buffer.on_acked(1_000..2_000, &mut spare), 1_000);
        assert_eq!(buffer.lost_bytes(), 2_000);
        assert_eq!(buffer.take_lost(9_999), Some(0..1_000));
        assert_eq!(buffer.take_lost(9_999), Some(2_000..3_000));
    }

    #[test]
    fn a_loss_after_the_acknowledgement_is_nothing() {
        let mut spare = spare();
        let mut buffer = buffer_of(3_000, 0, &mut spare);
        buffer.on_acked(1_000..2_000, &mut spare);
        assert_eq!(buffer.on_lost(500..2_500), 1_000);
        buffer.on_acked(0..1_000, &mut spare);
        assert_eq!(buffer.take_lost(9_999), Some(2_000..2_500));
        assert_eq!(buffer.take_lost(9_999), None);
    }

    #[test]
    fn a_busy_stream_uses_the_same_blocks_again() {
        let mut spare = spare();
        let mut buffer = buffer_of(4 * BLOCK_LEN as u64, 0, &mut spare);
        buffer.on_acked(0..2 * BLOCK_LEN as u64, &mut spare);
        assert_eq!(spare.len(), 2);
        buffer.write(&bytes_of(0..2 * BLOCK_LEN as u64), &mut spare);
        assert_eq!(spare.len(), 0);
    }

    #[test]
    fn a_small_stream_takes_little_memory() {
        let mut spare = spare();
        let mut buffer = SendBuffer::new();
        buffer.write(&[1; 100], &mut spare);
        assert!(buffer.memory() < 1_024, "{}", buffer.memory());
    }

    #[test]
    fn a_large_chunk_is_taken_over_without_a_copy_and_a_small_one_is_copied() {
        let mut spare = spare();
        let mut buffer = SendBuffer::new();
        let large = Bytes::from(bytes_of(0..2_000));
        buffer.write_chunk(large.clone(), &mut spare);
        buffer.write_chunk(Bytes::from(bytes_of(2_000..2_100)), &mut spare);
        buffer.write_chunk(Bytes::from(bytes_of(2_100..2_120)), &mut spare);
        assert_eq!(buffer.chunks.len(), 2);
        assert_eq!(buffer.chunks[0].bytes().as_ptr(), large.as_ptr());
        let mut out = vec![0; 2_120];
        assert_eq!(buffer.copy_range(0, &mut out), Copied::All);
        assert_eq!(out, bytes_of(0..2_120));
    }

    #[test]
    fn bytes_that_are_gone_or_not_written_cannot_be_copied() {
        let mut spare = spare();
        let mut buffer = buffer_of(100, 0, &mut spare);
        assert_eq!(buffer.copy_range(50, &mut [0; 51]), Copied::Missing);
        buffer.on_acked(0..100, &mut spare);
        assert_eq!(buffer.copy_range(0, &mut [0; 1]), Copied::Missing);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Write(u64),
        Chunk(u64),
        Send(u64),
        SendAgain(u64),
        Ack(prop::sample::Index),
        Lose(prop::sample::Index),
        AckAny(u64, u64),
        LoseAny(u64, u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let len = || prop_oneof![0..50_u64, 0..3_000_u64, 16_000..40_000_u64];
        prop_oneof![
            3 => len().prop_map(Step::Write),
            1 => len().prop_map(Step::Chunk),
            4 => (0..2_000_u64).prop_map(Step::Send),
            2 => (1..2_000_u64).prop_map(Step::SendAgain),
            3 => any::<prop::sample::Index>().prop_map(Step::Ack),
            3 => any::<prop::sample::Index>().prop_map(Step::Lose),
            1 => (0..20_000_u64, 0..3_000_u64).prop_map(|(start, len)| Step::AckAny(start, len)),
            1 => (0..20_000_u64, 0..3_000_u64).prop_map(|(start, len)| Step::LoseAny(start, len)),
        ]
    }

    /// What a byte of the model is.
    #[derive(Clone, Copy, PartialEq, Debug)]
    enum Fate {
        Fresh,
        Sent,
        Lost,
        Acked,
    }

    proptest! {
        #[test]
        fn behaves_like_a_fate_for_every_byte(steps in prop::collection::vec(step(), 1..120)) {
            let mut spare = spare();
            let mut buffer = SendBuffer::new();
            let mut model: Vec<Fate> = Vec::new();
            let mut packets: Vec<Range<u64>> = Vec::new();
            for step in steps {
                let written = model.len() as u64;
                let fates = |model: &mut Vec<Fate>, range: Range<u64>, from: &[Fate], to: Fate| {
                    let end = (range.end as usize).min(model.len());
                    let slots = model.get_mut(range.start as usize..end).unwrap_or_default();
                    slots.iter_mut().filter(|fate| from.contains(fate)).map(|fate| *fate = to).count() as u64
                };
                match step {
                    Step::Write(len) => {
                        buffer.write(&bytes_of(written..written + len), &mut spare);
                        model.extend(std::iter::repeat_n(Fate::Fresh, len as usize));
                    }
                    Step::Chunk(len) => {
                        buffer.write_chunk(Bytes::from(bytes_of(written..written + len)), &mut spare);
                        model.extend(std::iter::repeat_n(Fate::Fresh, len as usize));
                    }
                    Step::Send(max) => {
                        let range = buffer.take_fresh(max);
                        prop_assert_eq!(fates(&mut model, range.clone(), &[Fate::Fresh], Fate::Sent), range.end - range.start);
                        let mut out = vec![0; (range.end - range.start) as usize];
                        prop_assert!(out.is_empty() || buffer.copy_range(range.start, &mut out) == Copied::All);
                        prop_assert_eq!(out, bytes_of(range.clone()));
                        packets.push(range);
                    }
                    Step::SendAgain(max) => {
                        let first = model.iter().position(|fate| *fate == Fate::Lost).map(|at| at as u64);
                        let range = buffer.take_lost(max);
                        prop_assert_eq!(range.as_ref().map(|range| range.start), first);
                        if let Some(range) = range {
                            prop_assert_eq!(fates(&mut model, range.clone(), &[Fate::Lost], Fate::Sent), range.end - range.start);
                            let mut out = vec![0; (range.end - range.start) as usize];
                            prop_assert_eq!(buffer.copy_range(range.start, &mut out), Copied::All);
                            prop_assert_eq!(out, bytes_of(range.clone()));
                            packets.push(range);
                        }
                    }
                    Step::Ack(_) | Step::Lose(_) if packets.is_empty() => {}
                    Step::Ack(index) => {
                        let range = packets.swap_remove(index.index(packets.len()));
                        let fresh = fates(&mut model, range.clone(), &[Fate::Sent, Fate::Lost], Fate::Acked);
                        prop_assert_eq!(buffer.on_acked(range, &mut spare), fresh);
                    }
                    Step::Lose(index) => {
                        let range = packets.swap_remove(index.index(packets.len()));
                        let lost = fates(&mut model, range.clone(), &[Fate::Sent], Fate::Lost);
                        prop_assert_eq!(buffer.on_lost(range), lost);
                    }
                    Step::AckAny(start, len) => {
                        let fresh = fates(&mut model, start..start + len, &[Fate::Sent, Fate::Lost], Fate::Acked);
                        prop_assert_eq!(buffer.on_acked(start..start + len, &mut spare), fresh);
                    }
                    Step::LoseAny(start, len) => {
                        let lost = fates(&mut model, start..start + len, &[Fate::Sent], Fate::Lost);
                        prop_assert_eq!(buffer.on_lost(start..start + len), lost);
                    }
                }
                let count = |wanted: Fate| model.iter().filter(|fate| **fate == wanted).count() as u64;
                prop_assert_eq!(buffer.lost_bytes(), count(Fate::Lost));
                prop_assert_eq!(buffer.unsent(), count(Fate::Fresh));
                prop_assert_eq!(buffer.is_all_acked(), count(Fate::Acked) == model.len() as u64);
                prop_assert_eq!(buffer.acked_to(), model.iter().take_while(|fate| **fate == Fate::Acked).count() as u64);
            }
        }
    }
}
