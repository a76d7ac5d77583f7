//! Records on their way to JavaScript (docs/design/ring, section 2).
//!
//! ```text
//!   I/O thread                         shared, one lock              JavaScript thread
//!   Writer { batch } -- publish() -->  { records, rope, pending } -- drain() --> Reader { records, rope }
//! ```
//! Decides when JavaScript is called: only when `pending` goes from false to true, which happens and is taken back
//! under the lock, so that no wake is lost. What waits is counted without the lock, so that the engine stops taking bytes
//! and events out of the machine while JavaScript is busy (attacks L26). Never knows what a record means.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use super::{
    layout::{DRAIN_MORE, Record, WORDS},
    rope::{Rope, Spare},
};
use crate::lock::{Lock, lock};

/// Payload bytes that wait before the engine takes no more out of the machine.
const WAITING_BYTES: usize = 4 * 1_024 * 1_024;
/// Records that wait before the engine takes no more out of the machine (attacks L26).
const WAITING_RECORDS: usize = 1_024;
/// What a drain can answer at most, so that its flag stays apart.
const DRAIN_RECORDS: usize = 0xffff;

/// Both ends of a queue.
#[must_use]
pub fn channel() -> (Writer, Reader) {
    let shared = Arc::new(Shared::default());
    let writer = Writer { shared: Arc::clone(&shared), batch: Batch::default(), spare: Spare::default() };
    (writer, Reader { shared, batch: Batch::default(), at: 0, spare: Spare::default() })
}

#[derive(Debug, Default)]
struct Shared {
    state: Lock<State>,
    /// Records that JavaScript has not drained.
    records: AtomicUsize,
    /// Their payload bytes.
    bytes: AtomicUsize,
    /// The engine waits for JavaScript to drain.
    stalled: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    batch: Batch,
    /// JavaScript was called, or is draining.
    pending: bool,
    /// Blocks on their way back.
    spare: Spare,
}

/// Records and the payload bytes of all of them.
#[derive(Debug, Default)]
struct Batch {
    records: Vec<Record>,
    rope: Rope,
    /// Bytes in the rope.
    bytes: usize,
}

/// Whether JavaScript has to be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// It knows already, or there is nothing to know.
    No,
    /// Call it.
    Yes,
}

/// The I/O thread's end.
#[derive(Debug)]
pub struct Writer {
    shared: Arc<Shared>,
    batch: Batch,
    spare: Spare,
}

impl Writer {
    /// Appends bytes of the payload of the next record.
    pub fn append(&mut self, bytes: &[u8]) {
        self.batch.bytes = self.batch.bytes.saturating_add(bytes.len());
        self.batch.rope.append(bytes, &mut self.spare);
    }

    /// Appends a record; its payload was appended before. Bytes of a stream join those before them.
    pub fn push(&mut self, record: Record) {
        if !join(&mut self.batch.records, record) {
            self.batch.records.push(record);
        }
    }

    /// So much waits that nothing more should be taken out of the machine. Then [`Reader::drain`] tells when it is less.
    pub fn is_full(&mut self) -> bool {
        if !self.exceeds(1) {
            return false;
        }
        self.shared.stalled.store(true, Ordering::SeqCst);
        // The reader may have drained between the two looks, and seen the flag down.
        if self.exceeds(2) {
            return true;
        }
        self.shared.stalled.store(false, Ordering::SeqCst);
        false
    }

    /// More waits than the bounds divided by `part`.
    fn exceeds(&self, part: usize) -> bool {
        let records = self.shared.records.load(Ordering::SeqCst).saturating_add(self.batch.records.len());
        let bytes = self.shared.bytes.load(Ordering::SeqCst).saturating_add(self.batch.bytes);
        records > WAITING_RECORDS / part || bytes > WAITING_BYTES / part
    }

    /// Payload bytes that JavaScript has not drained, published or not.
    #[must_use]
    pub fn waiting_bytes(&self) -> usize {
        self.shared.bytes.load(Ordering::SeqCst).saturating_add(self.batch.bytes)
    }

    /// JavaScript has not drained everything.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.batch.records.is_empty() || self.shared.records.load(Ordering::SeqCst) > 0
    }

    /// Hands the batch over. Its first bytes join the last ones that nobody has drained, if they are of the same stream.
    pub fn publish(&mut self) {
        let Some(first) = self.batch.records.first().copied() else { return };
        let mut state = lock(&self.shared.state);
        self.spare.take_all(&mut state.spare);
        let joined = usize::from(join(&mut state.batch.records, first));
        // Counted before the reader can see them.
        self.shared.records.fetch_add(self.batch.records.len().saturating_sub(joined), Ordering::SeqCst);
        self.shared.bytes.fetch_add(self.batch.bytes, Ordering::SeqCst);
        if state.batch.records.is_empty() {
            std::mem::swap(&mut state.batch, &mut self.batch);
        } else {
            state.batch.records.extend(self.batch.records.drain(..).skip(joined));
            state.batch.rope.append_rope(&mut self.batch.rope, &mut self.spare);
            state.batch.bytes = state.batch.bytes.saturating_add(self.batch.bytes);
        }
        drop(state);
        self.batch.bytes = 0;
    }

    /// Whether JavaScript must be called for what was published; from now on it counts as called.
    #[must_use]
    pub fn claim_wake(&self) -> Wake {
        let mut state = lock(&self.shared.state);
        if state.pending || state.batch.records.is_empty() {
            return Wake::No;
        }
        state.pending = true;
        Wake::Yes
    }
}

/// Lets a record go on in the last one; `false`: it is one of its own.
fn join(records: &mut [Record], next: Record) -> bool {
    let Some((last, joined)) = records.last_mut().and_then(|last| last.joined(next).map(|joined| (last, joined))) else { return false };
    *last = joined;
    true
}

/// What a drain did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// For JavaScript: number of records, and [`DRAIN_MORE`] if some are left.
    pub answer: u32,
    /// The engine waited for this: wake the I/O thread.
    pub resume: bool,
}

/// The JavaScript thread's end.
#[derive(Debug)]
pub struct Reader {
    shared: Arc<Shared>,
    batch: Batch,
    /// Records of the batch that were drained.
    at: usize,
    spare: Spare,
}

/// A record can never be handed over: no DATA, and longer than the whole staging buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

impl Reader {
    /// Fills `records` (8 words each) and their payload bytes into `staging`, as many as fit.
    ///
    /// # Errors
    /// The first record does not fit and cannot be split.
    pub fn drain(&mut self, records: &mut [u32], staging: &mut [u8]) -> Result<Drained, TooLong> {
        let (slots, _) = records.as_chunks_mut::<WORDS>();
        let (mut count, mut used) = (0, 0);
        let mut more = true;
        for slot in slots.iter_mut().take(DRAIN_RECORDS) {
            let Some(&record) = self.front() else {
                more = false;
                break;
            };
            let room = staging.len().saturating_sub(used);
            let (record, rest) = match record.payload_len() {
                length if length <= room => (record, None),
                _ if count > 0 => break,
                _ if record.is_data() && room > 0 => {
                    let (first, rest) = record.split(u32::try_from(room).unwrap_or(u32::MAX));
                    (first, Some(rest))
                }
                _ => return Err(TooLong),
            };
            let end = used.saturating_add(record.payload_len());
            if let Some(space) = staging.get_mut(used..end) {
                self.batch.rope.read(space, &mut self.spare);
            }
            self.step(rest);
            *slot = record.0;
            (count, used) = (count + 1, end);
        }
        // A full list may be an exact fit.
        let more = more && self.front().is_some();
        let done = self.shared.bytes.fetch_sub(used, Ordering::SeqCst).saturating_sub(used);
        let is_low = done <= WAITING_BYTES / 2 && self.shared.records.load(Ordering::SeqCst) <= WAITING_RECORDS / 2;
        let resume = is_low && self.shared.stalled.swap(false, Ordering::SeqCst);
        let flag = if more { DRAIN_MORE } else { 0 };
        Ok(Drained { answer: u32::try_from(count).unwrap_or(0) | flag, resume })
    }

    /// The next record. `None`: there is none, and the next one published will wake JavaScript.
    fn front(&mut self) -> Option<&Record> {
        if self.at >= self.batch.records.len() {
            self.batch.records.clear();
            self.at = 0;
            let mut state = lock(&self.shared.state);
            state.spare.take_all(&mut self.spare);
            if state.batch.records.is_empty() {
                state.pending = false;
                return None;
            }
            std::mem::swap(&mut state.batch, &mut self.batch);
        }
        self.batch.records.get(self.at)
    }

    /// Moves past the front record, or puts what is left of it in its place.
    fn step(&mut self, rest: Option<Record>) {
        match (rest, self.batch.records.get_mut(self.at)) {
            (Some(rest), Some(front)) => *front = rest,
            _ => {
                self.at += 1;
                self.shared.records.fetch_sub(1, Ordering::SeqCst);
            }
        }
    }
}

#[cfg(test)]
mod tests;
