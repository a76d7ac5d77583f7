//! One direction of a link: when each datagram leaves, and where its bytes wait meanwhile.
//!
//! A datagram is sent on the line when the one before it is (rate), travels (delay) and is released on a grid shared by
//! all lines. Datagrams of one flow that are released together stand next to each other in memory, so that a release is
//! one GSO call, not one call per datagram. Nothing is allocated per datagram: bytes stand in chunks that are reused.
//! Called by [`super::link`] (in) and [`super::thread`] (out). Never sends.

use std::{collections::VecDeque, time::Duration};

use qbase::{Ecn, Timestamp, limits};

mod faults;

use self::faults::{Fate, Faulty};
use super::{config::LineConfig, counters::LineCounters, flow::FlowId};

/// Bytes of one chunk; more than a train's.
const CHUNK_BYTES: usize = 128 * 1_024;
/// Bytes on one line at most, whatever its rate and delay.
const LINE_BYTES: usize = 256 * 1_024 * 1_024;
/// Chunks kept for reuse.
const SPARE_CHUNKS: usize = 64;

/// A direction of a link.
#[derive(Debug)]
pub(super) struct Line {
    config: LineConfig,
    /// Releases happen at multiples of this, nanoseconds.
    grid: u64,
    faulty: Faulty,
    /// When the line has sent everything it took.
    free_at: Timestamp,
    /// Release of the newest datagram; later ones are not released earlier.
    newest: Timestamp,
    trains: VecDeque<Train>,
    chunks: VecDeque<Chunk>,
    /// Number of the first chunk in `chunks`.
    first_chunk: u64,
    spare: Vec<Vec<u8>>,
    /// Bytes in `trains`.
    held: usize,
    pub(super) counters: LineCounters,
}

/// Equal datagrams of one flow, released together; the last may be shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Train {
    pub(super) flow: FlowId,
    pub(super) ecn: Ecn,
    pub(super) release: Timestamp,
    /// Bytes of every datagram but the last.
    pub(super) datagram_size: usize,
    pub(super) datagrams: usize,
    chunk: u64,
    start: usize,
    pub(super) len: usize,
}

/// Bytes of neighbouring trains.
#[derive(Debug)]
struct Chunk {
    bytes: Vec<u8>,
    /// Trains in it that did not leave yet.
    trains: usize,
}

impl Line {
    pub(super) fn new(config: LineConfig, granularity: Duration, seed: u64) -> Self {
        Self {
            config,
            grid: u64::try_from(granularity.as_nanos()).unwrap_or(u64::MAX).max(1),
            faulty: Faulty::new(seed),
            free_at: Timestamp::ZERO,
            newest: Timestamp::ZERO,
            trains: VecDeque::new(),
            chunks: VecDeque::new(),
            first_chunk: 0,
            spare: Vec::new(),
            held: 0,
            counters: LineCounters::default(),
        }
    }

    /// Changes the line for what arrives from now on.
    pub(super) const fn reshape(&mut self, config: LineConfig) {
        self.config = config;
    }

    /// Datagrams wait for the grid rather than passing at once.
    pub(super) const fn is_paced(&self) -> bool {
        self.config.bits_per_second.is_some() || !self.config.delay.is_zero()
    }

    /// A datagram arrives at the line.
    pub(super) fn push(&mut self, now: Timestamp, flow: FlowId, ecn: Ecn, datagram: &[u8]) {
        self.counters.datagrams_in = self.counters.datagrams_in.saturating_add(1);
        self.counters.bytes_in = self.counters.bytes_in.saturating_add(datagram.len() as u64);
        let fate = self.faulty.fate(&self.config, self.counters.datagrams_in, datagram.len());
        if fate == Fate::Lost {
            self.counters.lost = self.counters.lost.saturating_add(1);
            return;
        }
        let Some(release) = self.admit(now, datagram.len()) else {
            self.counters.overflowed = self.counters.overflowed.saturating_add(1);
            return;
        };
        self.store(flow, ecn, release, datagram);
        if let Fate::Corrupted { at, mask } = fate {
            self.counters.corrupted = self.counters.corrupted.saturating_add(1);
            self.flip(datagram.len().saturating_sub(at), mask);
        }
    }

    /// Flips bits of the newest datagram, `from_end` bytes before its end.
    fn flip(&mut self, from_end: usize, mask: u8) {
        let Some(chunk) = self.chunks.back_mut() else { return };
        let place = chunk.bytes.len().checked_sub(from_end);
        if let Some(byte) = place.and_then(|place| chunk.bytes.get_mut(place)) {
            *byte ^= mask;
        }
    }

    /// Datagrams arrive while the link is cut.
    pub(super) fn push_into_the_void(&mut self, datagrams: usize, bytes: usize) {
        self.counters.datagrams_in = self.counters.datagrams_in.saturating_add(datagrams as u64);
        self.counters.bytes_in = self.counters.bytes_in.saturating_add(bytes as u64);
        self.counters.cut = self.counters.cut.saturating_add(datagrams as u64);
    }

    /// When a datagram that arrives now is released; `None`: the queue is full.
    fn admit(&mut self, now: Timestamp, len: usize) -> Option<Timestamp> {
        if self.held.saturating_add(len) > LINE_BYTES {
            return None;
        }
        let start = self.free_at.max(now);
        if let Some(rate) = self.config.bits_per_second {
            let waiting = bytes_in(self.free_at.saturating_since(now), rate);
            // An idle line takes a datagram of any size.
            if waiting > 0 && waiting.saturating_add(len as u64) > self.config.queue_bytes {
                return None;
            }
            self.free_at = start + time_for(len, rate);
        } else {
            self.free_at = start;
        }
        let due = self.free_at + self.config.delay;
        let release = if due == now { now } else { self.on_grid(due) };
        self.newest = release.max(self.newest);
        Some(self.newest)
    }

    fn on_grid(&self, due: Timestamp) -> Timestamp {
        Timestamp::from_nanos(due.as_nanos().div_ceil(self.grid).saturating_mul(self.grid))
    }

    /// Keeps the bytes, in the last train if they fit there.
    fn store(&mut self, flow: FlowId, ecn: Ecn, release: Timestamp, datagram: &[u8]) {
        let chunk_number = self.chunk_with_room(datagram.len());
        let Some(chunk) = self.chunks.back_mut() else { return };
        let start = chunk.bytes.len();
        chunk.bytes.extend_from_slice(datagram);
        self.held = self.held.saturating_add(datagram.len());
        if let Some(train) = self.trains.back_mut()
            && train.chunk == chunk_number
            && train.takes(flow, ecn, release, datagram.len())
        {
            train.datagrams = train.datagrams.saturating_add(1);
            train.len = train.len.saturating_add(datagram.len());
            return;
        }
        chunk.trains = chunk.trains.saturating_add(1);
        let (datagram_size, len) = (datagram.len(), datagram.len());
        self.trains.push_back(Train {
            flow,
            ecn,
            release,
            datagram_size,
            datagrams: 1,
            chunk: chunk_number,
            start,
            len,
        });
    }

    /// Makes the last chunk one with room for `len` bytes; returns its number.
    fn chunk_with_room(&mut self, len: usize) -> u64 {
        let fits = self.chunks.back().is_some_and(|chunk| chunk.bytes.len().saturating_add(len) <= CHUNK_BYTES);
        if !fits {
            let bytes = self.spare.pop().unwrap_or_else(|| Vec::with_capacity(CHUNK_BYTES));
            self.chunks.push_back(Chunk { bytes, trains: 0 });
        }
        self.first_chunk.saturating_add(self.chunks.len() as u64).saturating_sub(1)
    }

    /// When the next train is released.
    pub(super) fn due(&self) -> Option<Timestamp> {
        self.trains.front().map(|train| train.release)
    }

    /// The next train to be released by `now`, with its bytes.
    pub(super) fn front(&self, now: Timestamp) -> Option<(Train, &[u8])> {
        let train = *self.trains.front().filter(|train| train.release <= now)?;
        Some((train, self.bytes_of(&train)))
    }

    fn bytes_of(&self, train: &Train) -> &[u8] {
        let index = usize::try_from(train.chunk.saturating_sub(self.first_chunk)).unwrap_or(usize::MAX);
        let chunk = self.chunks.get(index).map_or(&[][..], |chunk| &chunk.bytes);
        chunk.get(train.start..train.start.saturating_add(train.len)).unwrap_or_default()
    }

    /// The first `datagrams` of the front train are gone, one way or the other; returns their bytes.
    pub(super) fn remove(&mut self, datagrams: usize) -> usize {
        let Some(train) = self.trains.front_mut() else { return 0 };
        let bytes = datagrams.saturating_mul(train.datagram_size).min(train.len);
        let is_rest_left = datagrams < train.datagrams;
        train.datagrams = train.datagrams.saturating_sub(datagrams);
        train.start = train.start.saturating_add(bytes);
        train.len = train.len.saturating_sub(bytes);
        self.held = self.held.saturating_sub(bytes);
        if !is_rest_left {
            let chunk = train.chunk;
            self.trains.pop_front();
            self.leave_chunk(chunk);
        }
        bytes
    }

    /// A train left its chunk; empty chunks at the front are spare.
    fn leave_chunk(&mut self, number: u64) {
        let index = usize::try_from(number.saturating_sub(self.first_chunk)).unwrap_or(usize::MAX);
        if let Some(chunk) = self.chunks.get_mut(index) {
            chunk.trains = chunk.trains.saturating_sub(1);
        }
        while self.chunks.front().is_some_and(|chunk| chunk.trains == 0)
            && let Some(mut chunk) = self.chunks.pop_front()
        {
            self.first_chunk = self.first_chunk.saturating_add(1);
            if self.spare.len() < SPARE_CHUNKS {
                chunk.bytes.clear();
                self.spare.push(chunk.bytes);
            }
        }
    }

    /// Releases the front train again a little later: the kernel took nothing.
    pub(super) fn postpone(&mut self, until: Timestamp) {
        if let Some(train) = self.trains.front_mut() {
            train.release = until;
        }
    }
}

impl Train {
    /// Whether one more datagram can stand behind the others in one GSO call.
    fn takes(&self, flow: FlowId, ecn: Ecn, release: Timestamp, len: usize) -> bool {
        let is_full_so_far = self.len == self.datagrams.saturating_mul(self.datagram_size);
        self.flow == flow
            && self.ecn == ecn
            && self.release == release
            && is_full_so_far
            && len > 0
            && len <= self.datagram_size
            && self.datagrams < limits::MAX_SEGMENTS
            && self.len.saturating_add(len) <= limits::MAX_BURST_BYTES
    }
}

/// Time that `len` bytes take at `rate` bits per second.
fn time_for(len: usize, rate: u64) -> Duration {
    let nanos = (len as u128).saturating_mul(8_000_000_000) / u128::from(rate.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// Bytes that leave within `time` at `rate` bits per second.
fn bytes_in(time: Duration, rate: u64) -> u64 {
    let bytes = time.as_nanos().saturating_mul(u128::from(rate)) / 8_000_000_000;
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
