//! Where streams are: from a stream id to its state in a few instructions, for one stream as for ten thousand.
//!
//! Decides nothing about QUIC. Called by every verb and frame of the stream room. Never iterated in hash order: streams
//! lie in places of a table, the index only finds them. A place keeps what its last stream left for the next one: many
//! small streams one after another neither allocate nor move.

use super::{queue::Seat, recv::RecvPart, send::SendPart};
use qbase::StreamId;

/// Place of a live stream. It is used again after the stream has gone: see [`Ticket`].
pub(super) type Key = usize;

/// A place together with the stream that was there, for queues that outlive streams: ids are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    pub id: StreamId,
    pub key: Key,
}

impl Stream {
    /// The stream's ticket at its place.
    pub const fn ticket(&self, key: Key) -> Ticket {
        Ticket { id: self.id, key }
    }
}

/// A live stream.
#[derive(Debug)]
pub(super) struct Stream {
    pub id: StreamId,
    /// What we send; `None` if only the peer does.
    pub send: Option<SendPart>,
    /// What the peer sends; `None` if only we do.
    pub recv: Option<RecvPart>,
    /// Its place among the streams that owe a control frame.
    pub control: Seat,
    /// Bytes of it came or went in 0-RTT packets: they may be a replay.
    pub early: bool,
    /// 0-RTT was rejected and the peer allows fewer streams now: nothing of it is sent until it allows more.
    pub parked: bool,
}

/// The live streams of a connection.
#[derive(Debug, Default)]
pub(super) struct StreamMap {
    places: Vec<Stream>,
    /// Places without a stream, used last first.
    free: Vec<Key>,
    index: IdIndex,
}

/// Places kept when the last stream has gone.
const KEPT_PLACES: usize = 64;

/// The id in a place without a stream.
const NOBODY: StreamId = StreamId(VACANT);

impl StreamMap {
    /// The place of a live stream.
    #[inline]
    pub fn key(&self, id: StreamId) -> Option<Key> {
        self.index.get(id.0)
    }

    #[inline]
    pub fn get(&self, key: Key) -> Option<&Stream> {
        self.places.get(key).filter(|stream| stream.id != NOBODY)
    }

    #[inline]
    pub fn get_mut(&mut self, key: Key) -> Option<&mut Stream> {
        self.places.get_mut(key).filter(|stream| stream.id != NOBODY)
    }

    /// The stream a ticket was made for, if it still lives.
    #[inline]
    pub fn by_ticket(&mut self, ticket: Ticket) -> Option<&mut Stream> {
        self.places.get_mut(ticket.key).filter(|stream| stream.id == ticket.id)
    }

    /// The stream a ticket was made for lives.
    pub fn is_live(&self, ticket: Ticket) -> bool {
        self.places.get(ticket.key).is_some_and(|stream| stream.id == ticket.id)
    }

    /// Gives a stream a place. Its parts are whatever the last stream there had, begun again, or none.
    pub fn begin(&mut self, id: StreamId) -> (Key, &mut Stream) {
        let key = self.free.pop().unwrap_or_else(|| {
            self.places.push(Stream { id: NOBODY, send: None, recv: None, control: Seat::default(), early: false, parked: false });
            self.places.len().saturating_sub(1)
        });
        self.index.insert(id.0, key);
        #[expect(clippy::indexing_slicing, reason = "free places are places, and a place is never taken away while it is free")]
        let stream = &mut self.places[key];
        stream.id = id;
        (key, stream)
    }

    /// The stream at a place has gone; its parts have begun again.
    pub fn end(&mut self, key: Key) {
        let Some(stream) = self.get_mut(key) else { return };
        let id = std::mem::replace(&mut stream.id, NOBODY);
        stream.control = Seat::default();
        self.index.remove(id.0);
        self.free.push(key);
        if self.len() == 0 && self.places.len() > KEPT_PLACES {
            self.places.truncate(KEPT_PLACES);
            self.places.shrink_to_fit();
            self.free = (0..KEPT_PLACES).rev().collect();
        }
    }

    pub fn len(&self) -> usize {
        self.places.len().saturating_sub(self.free.len())
    }

    /// All live streams, to look at.
    pub fn iter(&self) -> impl Iterator<Item = &Stream> {
        self.places.iter().filter(|stream| stream.id != NOBODY)
    }

    /// All live streams, in the order of their places.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Key, &mut Stream)> {
        self.places.iter_mut().enumerate().filter(|(_, stream)| stream.id != NOBODY)
    }
}

/// An open-addressed table from stream ids to places: linear probing, deletion by shifting back, at most half full.
#[derive(Debug, Default)]
struct IdIndex {
    /// A power of two of entries, or none.
    entries: Vec<Entry>,
    len: usize,
}

/// An entry of the table.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// [`VACANT`] or a stream id.
    id: u64,
    key: Key,
}

/// No stream id is that large.
const VACANT: u64 = u64::MAX;

/// Entries of the first table.
const FIRST_TABLE: usize = 16;

/// 2^64 divided by the golden ratio: spreads ids that follow each other.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

impl IdIndex {
    #[inline]
    fn get(&self, id: u64) -> Option<Key> {
        let mut at = self.home(id);
        loop {
            let entry = self.entries.get(at)?;
            if entry.id == id {
                return Some(entry.key);
            }
            if entry.id == VACANT {
                return None;
            }
            at = self.after(at);
        }
    }

    fn insert(&mut self, id: u64, key: Key) {
        if self.len.saturating_mul(2) >= self.entries.len() {
            self.grow();
        }
        self.len = self.len.saturating_add(1);
        self.place(Entry { id, key });
    }

    fn remove(&mut self, id: u64) {
        let mut hole = self.home(id);
        while let Some(entry) = self.entries.get(hole) {
            if entry.id == id {
                break;
            }
            if entry.id == VACANT {
                return;
            }
            hole = self.after(hole);
        }
        // Entries behind the hole move into it unless that would put them before their home.
        let mut at = self.after(hole);
        while let Some(entry) = self.entries.get(at).copied().filter(|entry| entry.id != VACANT) {
            let from_home = self.distance(self.home(entry.id), at);
            if from_home >= self.distance(hole, at) {
                self.set(hole, entry);
                hole = at;
            }
            at = self.after(at);
        }
        self.set(hole, Entry { id: VACANT, key: 0 });
        self.len = self.len.saturating_sub(1);
    }

    fn grow(&mut self) {
        let size = self.entries.len().saturating_mul(2).max(FIRST_TABLE);
        let old = std::mem::replace(&mut self.entries, vec![Entry { id: VACANT, key: 0 }; size]);
        old.into_iter().filter(|entry| entry.id != VACANT).for_each(|entry| self.place(entry));
    }

    /// Puts an entry at the first vacant place from its home on.
    fn place(&mut self, entry: Entry) {
        let mut at = self.home(entry.id);
        while self.entries.get(at).is_some_and(|entry| entry.id != VACANT) {
            at = self.after(at);
        }
        self.set(at, entry);
    }

    fn set(&mut self, at: usize, entry: Entry) {
        if let Some(slot) = self.entries.get_mut(at) {
            *slot = entry;
        }
    }

    /// Where the search for an id begins: the high bits of its product, as many as the table has.
    #[inline]
    fn home(&self, id: u64) -> usize {
        let spread = id.wrapping_mul(SPREAD) >> 32;
        (spread as usize) & self.mask()
    }

    #[inline]
    fn after(&self, at: usize) -> usize {
        at.wrapping_add(1) & self.mask()
    }

    /// Steps from one place forward to another.
    fn distance(&self, from: usize, to: usize) -> usize {
        to.wrapping_sub(from) & self.mask()
    }

    #[inline]
    fn mask(&self) -> usize {
        self.entries.len().wrapping_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn an_empty_index_finds_nothing_and_takes_no_memory() {
        let mut index = IdIndex::default();
        assert_eq!(index.get(0), None);
        index.remove(0);
        assert_eq!(index.entries.capacity(), 0);
    }

    #[test]
    fn a_million_streams_one_after_another_leave_a_small_table() {
        let mut index = IdIndex::default();
        for id in (0..4_000_000).step_by(4) {
            index.insert(id, 1);
            index.remove(id);
        }
        assert_eq!((index.len, index.entries.len()), (0, FIRST_TABLE));
    }

    #[test]
    fn ids_that_follow_each_other_are_found_in_few_steps() {
        let mut index = IdIndex::default();
        (0..10_000).for_each(|i| index.insert(i * 4, i as usize));
        let steps: usize = (0..10_000_u64)
            .map(|i| {
                let at = (0..).scan(index.home(i * 4), |at, _| Some(std::mem::replace(at, index.after(*at))));
                at.take_while(|at| index.entries[*at].id != i * 4).count()
            })
            .sum();
        assert!(steps < 10_000, "{steps} extra steps for 10,000 look-ups");
    }

    proptest! {
        #[test]
        fn behaves_like_a_sorted_map(steps in prop::collection::vec((0..200_u64, any::<bool>()), 1..400)) {
            let mut index = IdIndex::default();
            let mut model = BTreeMap::new();
            for (key, (id, insert)) in steps.into_iter().enumerate() {
                if insert && !model.contains_key(&id) {
                    index.insert(id, key);
                    model.insert(id, key);
                } else {
                    index.remove(id);
                    model.remove(&id);
                }
                prop_assert_eq!(index.len, model.len());
                for id in 0..200 {
                    prop_assert_eq!(index.get(id), model.get(&id).copied());
                }
            }
        }
    }
}
