//! The reassembly buffers, the send buffer and the set of ranges against plain models (attacks L4, L6, L7, D1, D2, D7).

use std::collections::BTreeSet;

use qbase::{ErrorCode, limits};
use qrecovery::{
    RangeSet,
    buffer::{BLOCK_LEN, BufferPool, Copied, RecvBuffer, RecvBufferError, SendBuffer, SpareBlocks},
    crypto_stream::CryptoStream,
};

use super::food::Food;

/// Bytes of a receive window that a target gives: more than two blocks.
const WINDOW: u64 = 160 * 1_024;

/// What stands at an offset.
fn byte_at(offset: u64) -> u8 {
    (offset.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u8
}

fn bytes_of(start: u64, len: usize) -> Vec<u8> {
    (start..).take(len).map(byte_at).collect()
}

/// Received bytes by the plainest means: a flag for every offset of the window.
#[derive(Default)]
struct Flags {
    got: Vec<bool>,
    read: usize,
}

impl Flags {
    fn add(&mut self, offset: u64, len: usize) -> u64 {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        if self.got.len() < start + len {
            self.got.resize(start + len, false);
        }
        let fresh = self.got[start..start + len].iter_mut().map(|got| u64::from(!std::mem::replace(got, true)));
        fresh.sum()
    }

    fn readable(&self) -> usize {
        self.got[self.read.min(self.got.len())..].iter().take_while(|got| **got).count()
    }

    fn gaps(&self) -> usize {
        let ahead = self.got.get(self.read + self.readable()..).unwrap_or_default();
        ahead.windows(2).filter(|pair| !pair[0] && pair[1]).count()
    }
}

/// Pieces of a stream in any order into the receive buffer; reads between.
pub fn recv_buffer(data: &[u8]) {
    let mut food = Food::new(data);
    let mut pool = BufferPool::new(1 << 20);
    let mut buffer = RecvBuffer::new();
    let mut model = Flags::default();
    let mut out = vec![0; 70_000];
    while !food.is_empty() {
        let choice = food.byte();
        if choice < 0xa0 {
            let near = model.read as u64 + model.readable() as u64;
            let offset = if choice & 1 == 0 { food.number() } else { near + food.number() } % (model.read as u64 + WINDOW);
            let offset = offset.saturating_sub(u64::from(choice & 2));
            let len = usize::from(food.short()) >> (choice >> 2 & 7);
            let len = len.min(usize::try_from(model.read as u64 + WINDOW - offset).unwrap_or_default());
            let fresh_below = offset.max(model.read as u64).min(offset + len as u64) - offset;
            let below = usize::try_from(fresh_below).unwrap_or_default();
            match buffer.write(offset, &bytes_of(offset, len), &mut pool) {
                Ok(fresh) => assert_eq!(fresh, model.add(offset + fresh_below, len - below)),
                Err(RecvBufferError::TooManyGaps) => {
                    model.add(offset + fresh_below, len - below);
                    assert!(model.gaps() > limits::STREAM_GAPS, "refused with {} gaps", model.gaps());
                    break;
                }
                Err(RecvBufferError::NoBlock) => unreachable!("the window is smaller than the pool"),
            }
        } else if choice < 0xe0 {
            let want = usize::from(food.short()).min(out.len());
            let got = buffer.read(&mut out[..want], &mut pool);
            assert_eq!(got, want.min(model.readable()));
            assert_eq!(out[..got], bytes_of(model.read as u64, got), "other bytes than those received");
            model.read += got;
        } else {
            let front = buffer.front();
            assert_eq!(front, bytes_of(model.read as u64, front.len()));
            assert!(front.len() <= model.readable() && front.is_empty() == (model.readable() == 0));
            let want = u64::from(food.short());
            buffer.consume(want, &mut pool);
            model.read += model.readable().min(usize::try_from(want).unwrap_or(usize::MAX));
        }
        assert_eq!(buffer.read_offset(), model.read as u64);
        assert_eq!(buffer.readable(), model.readable() as u64);
        assert_eq!(buffer.gaps(), model.gaps());
        let held = model.got[model.read.min(model.got.len())..].iter().filter(|got| **got).count();
        assert_eq!(buffer.held(), held as u64);
        let span = model.got.len().saturating_sub(model.read);
        assert!(buffer.memory() <= 2 * span + 2 * BLOCK_LEN + 64 * 1_024, "{} bytes of memory for {span}", buffer.memory());
    }
    buffer.clear(&mut pool);
    assert_eq!((pool.used(), pool.used_bytes()), (0, 0), "blocks are missing");
}

/// The same for CRYPTO bytes, both ways.
pub fn crypto_stream(data: &[u8]) {
    let mut food = Food::new(data);
    let limit = if food.byte() & 1 == 0 { limits::CRYPTO_BUFFER_INITIAL } else { limits::CRYPTO_BUFFER };
    let mut stream = CryptoStream::new(limit);
    let mut model = Flags::default();
    let (mut written, mut sent, mut acked) = (0_u64, 0_u64, BTreeSet::new());
    while !food.is_empty() {
        let choice = food.byte();
        match choice & 7 {
            0..=3 => {
                let near = model.read as u64 + model.readable() as u64;
                let offset = if choice & 8 == 0 { food.number() } else { near.saturating_add(food.number()) };
                let len = usize::from(food.short()) >> (choice >> 4);
                let beyond = offset.saturating_add(len as u64) > model.read as u64 + limit;
                match stream.on_frame(offset, &bytes_of(offset, len)) {
                    Ok(()) => {
                        assert!(!beyond, "more than the limit was taken");
                        let skip = (model.read as u64).saturating_sub(offset).min(len as u64);
                        model.add(offset + skip, len - usize::try_from(skip).unwrap_or_default());
                        assert!(model.gaps() <= limits::CRYPTO_GAPS);
                    }
                    Err(error) if error.code == ErrorCode::FRAME_ENCODING_ERROR => assert!(beyond && offset > 1 << 61),
                    Err(error) => {
                        assert_eq!(error.code, ErrorCode::CRYPTO_BUFFER_EXCEEDED);
                        if !beyond {
                            model.add(offset, len);
                            assert!(model.gaps() > limits::CRYPTO_GAPS, "refused with {} gaps", model.gaps());
                        }
                        break;
                    }
                }
            }
            4 => {
                let bytes = stream.take_readable();
                assert_eq!(bytes, bytes_of(model.read as u64, model.readable()));
                model.read += bytes.len();
            }
            5 => {
                let len = usize::from(food.byte());
                stream.write(&bytes_of(written, len));
                written += len as u64;
            }
            6 => {
                if let Some((offset, len)) = stream.next_range(usize::from(food.byte())) {
                    let mut out = vec![0; len];
                    stream.copy_range(offset, &mut out);
                    assert_eq!(out, bytes_of(offset, len), "other bytes are sent");
                    sent = sent.max(offset + len as u64);
                    assert!(len > 0 && sent <= written);
                }
            }
            _ => {
                let (offset, len) = (u64::from(food.short()), u64::from(food.byte()));
                if choice & 8 == 0 {
                    stream.on_acked(offset, len);
                    acked.extend((offset..offset + len).filter(|offset| *offset < sent));
                } else {
                    stream.on_lost(offset, len);
                }
            }
        }
        assert_eq!(stream.read_offset(), model.read as u64);
        assert_eq!(stream.has_unread(), model.got.len() > model.read && model.got[model.read..].iter().any(|got| *got));
        assert_eq!(stream.has_unacked(), acked.len() as u64 != written);
    }
}

/// A stream's bytes on their way out: written, sent, lost, acknowledged in any order.
pub fn send_buffer(data: &[u8]) {
    let mut food = Food::new(data);
    let mut spare = SpareBlocks::new(4);
    let mut buffer = SendBuffer::new();
    let (mut acked, mut lost) = (Marks::default(), Marks::default());
    while !food.is_empty() && buffer.written() < 40_000 {
        let choice = food.byte();
        match choice & 7 {
            0 => buffer.write(&bytes_of(buffer.written(), usize::from(food.short() & 0x3ff)), &mut spare),
            1 => {
                let chunk = bytes_of(buffer.written(), usize::from(food.short() & 0xfff));
                buffer.write_chunk(chunk.into(), &mut spare);
            }
            2 => {
                let max = u64::from(food.short() & 0xfff);
                let (sent, unsent) = (buffer.sent(), buffer.unsent());
                let range = buffer.take_fresh(max);
                assert_eq!(range, sent..sent + max.min(unsent));
                check_copy(&mut buffer, range.start, range.end, Copied::All);
            }
            3 => {
                let max = 1 + u64::from(food.short() & 0xfff);
                let taken = buffer.take_lost(max);
                assert_eq!(taken, lost.first().map(|first| first.start..first.end.min(first.start + max)));
                if let Some(range) = taken {
                    lost.unset(range.start, range.end);
                    check_copy(&mut buffer, range.start, range.end, Copied::All);
                }
            }
            4 | 5 => {
                let (start, end) = sent_range(&mut food, choice, buffer.sent());
                let fresh = buffer.on_acked(start..end, &mut spare);
                assert_eq!(fresh, acked.set(start, end));
                lost.unset(start, end);
            }
            6 => {
                let (start, end) = sent_range(&mut food, choice, buffer.sent());
                let added = buffer.on_lost(start..end);
                let again = (start..end).filter(|offset| !acked.has(*offset)).map(|offset| lost.set(offset, offset + 1));
                assert_eq!(added, again.sum::<u64>());
            }
            _ if choice == 0xff => {
                buffer.clear(&mut spare);
                assert_eq!((buffer.outstanding(), buffer.unsent(), buffer.lost_bytes()), (0, 0, 0));
                return;
            }
            _ => {
                let start = buffer.written().saturating_sub(u64::from(food.byte()));
                check_copy(&mut buffer, start, start + 300, Copied::Missing);
            }
        }
        assert_eq!(buffer.lost_bytes(), lost.count);
        assert_eq!(buffer.outstanding(), buffer.written() - acked.count);
        assert_eq!(buffer.acked_to(), acked.floor());
        assert_eq!(buffer.is_all_acked(), acked.count == buffer.written());
    }
}

fn sent_range(food: &mut Food<'_>, choice: u8, sent: u64) -> (u64, u64) {
    let start = u64::from(food.short()) >> (choice >> 6);
    let end = (start + u64::from(food.short() & 0xfff)).min(sent);
    (start.min(end), end)
}

/// A mark or none for every offset.
#[derive(Default)]
struct Marks {
    marks: Vec<bool>,
    count: u64,
    floor: usize,
}

impl Marks {
    fn set(&mut self, start: u64, end: u64) -> u64 {
        let changed = self.range(start, end).iter_mut().map(|mark| u64::from(!std::mem::replace(mark, true))).sum();
        self.count += changed;
        changed
    }

    fn unset(&mut self, start: u64, end: u64) {
        let changed: u64 = self.range(start, end).iter_mut().map(|mark| u64::from(std::mem::take(mark))).sum();
        self.count -= changed;
    }

    fn range(&mut self, start: u64, end: u64) -> &mut [bool] {
        let (start, end) = (usize::try_from(start).unwrap_or_default(), usize::try_from(end).unwrap_or_default());
        if self.marks.len() < end {
            self.marks.resize(end, false);
        }
        &mut self.marks[start..end]
    }

    fn has(&self, offset: u64) -> bool {
        usize::try_from(offset).is_ok_and(|offset| self.marks.get(offset) == Some(&true))
    }

    /// The first offset without a mark; marks below it are never taken away.
    fn floor(&mut self) -> u64 {
        while self.marks.get(self.floor) == Some(&true) {
            self.floor += 1;
        }
        self.floor as u64
    }

    fn first(&self) -> Option<std::ops::Range<u64>> {
        let start = self.marks.iter().position(|mark| *mark)?;
        let len = self.marks[start..].iter().take_while(|mark| **mark).count();
        Some(start as u64..(start + len) as u64)
    }
}

fn check_copy(buffer: &mut SendBuffer, start: u64, end: u64, expected: Copied) {
    if start >= end {
        return;
    }
    let mut out = vec![0; usize::try_from(end - start).unwrap_or_default()];
    assert_eq!(buffer.copy_range(start, &mut out), expected, "{start}..{end}");
    if expected == Copied::All {
        assert_eq!(out, bytes_of(start, out.len()), "other bytes at {start}");
    }
}

/// Numbers one by one.
#[derive(Default)]
struct RangeModel(BTreeSet<u64>);

impl RangeModel {
    fn insert(&mut self, start: u64, end: u64) -> u64 {
        (start..end).map(|value| u64::from(self.0.insert(value))).sum()
    }

    fn remove(&mut self, start: u64, end: u64) -> u64 {
        (start..end).map(|value| u64::from(self.0.remove(&value))).sum()
    }

    fn first(&self) -> Option<std::ops::Range<u64>> {
        let start = *self.0.first()?;
        let end = (start..).find(|value| !self.0.contains(value))?;
        Some(start..end)
    }

    fn runs(&self) -> usize {
        self.0.iter().filter(|value| value.checked_sub(1).is_none_or(|below| !self.0.contains(&below))).count()
    }
}

/// Ranges in and out of a set.
pub fn range_set(data: &[u8]) {
    let mut food = Food::new(data);
    let mut set = RangeSet::new();
    let mut model = RangeModel::default();
    while !food.is_empty() {
        let choice = food.byte();
        let start = u64::from(food.byte()) * if choice & 0x80 == 0 { 1 } else { 5 };
        let end = start + u64::from(food.byte() & 0x3f);
        match choice & 7 {
            0..=2 => assert_eq!(set.insert(start..end), model.insert(start, end)),
            3 => assert_eq!(set.remove(start..end), model.remove(start, end)),
            4 => {
                set.remove_below(start);
                model.0 = model.0.split_off(&start);
            }
            5 => {
                let first = model.first();
                assert_eq!(set.pop_min(), first);
                first.map(|range| model.remove(range.start, range.end));
            }
            6 => {
                let limit = usize::from(choice >> 3);
                let floor = set.trim_to(limit);
                assert_eq!(floor.is_some(), model.runs() > limit);
                while model.runs() > limit {
                    let Some(range) = model.first() else { break };
                    model.remove(range.start, range.end);
                    if model.runs() <= limit {
                        assert_eq!(floor, Some(range.end));
                    }
                }
            }
            _ => {
                let missing: u64 = set.missing(start..end).map(|range| range.end - range.start).sum();
                let present = (start..end).filter(|value| model.0.contains(value)).count() as u64;
                assert_eq!(missing, end - start - present);
                assert_eq!(set.overlap(start..end).map(|range| range.end - range.start).sum::<u64>(), present);
                assert_eq!(set.contains_all(start..end), present == end - start);
                assert_eq!(set.contains_any(start..end), present > 0);
                assert_eq!(set.contains(start), model.0.contains(&start));
            }
        }
        assert_eq!((set.count(), set.len()), (model.0.len() as u64, model.runs()));
        assert_eq!((set.min(), set.max()), (model.0.first().copied(), model.0.last().copied()));
    }
}
