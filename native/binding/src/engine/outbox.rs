//! Records as the engine makes them: words, JSON, bytes of streams.
//!
//! Called by every file of this room. Decides which records may wait for a fuller batch (bytes of streams) and which
//! may not (everything else, streams-over-ring S2).

use std::io::Write;

use qbase::{FourTuple, Timestamp};
use serde::Serialize;

use crate::{
    messages::events::Event,
    queue::{
        layout::{EVENT_BYTES, Kind, Record},
        records::Writer,
    },
};

/// Where records go.
#[derive(Debug)]
pub struct Outbox {
    /// The queue to JavaScript.
    pub records: Writer,
    /// Something waits that is no stream byte.
    pub urgent: bool,
    /// Records that were too long to cross.
    pub lost: u64,
    /// The endpoint's clock is this far ahead of the driver's, ms.
    offset_ms: f64,
    /// JSON under way; kept for its memory.
    text: Vec<u8>,
}

impl Outbox {
    /// Nothing to tell yet.
    #[must_use]
    pub const fn new(records: Writer) -> Self {
        Self { records, urgent: false, lost: 0, offset_ms: 0.0, text: Vec::new() }
    }

    /// The driver's `now` is `at_ms` on the clock that JavaScript reads.
    pub fn set_clock(&mut self, now: Timestamp, at_ms: f64) {
        self.offset_ms = at_ms - now.as_millis_f64();
    }

    /// An instant on the clock that JavaScript reads.
    #[must_use]
    pub fn at_ms(&self, at: Timestamp) -> f64 {
        at.as_millis_f64() + self.offset_ms
    }

    /// A record without payload that JavaScript should see soon.
    pub fn push(&mut self, record: Record) {
        self.urgent = true;
        self.records.push(record);
    }

    /// An event of a connection (0: of the endpoint).
    pub fn event(&mut self, key: u32, event: &Event) {
        self.json(Kind::Event, key, event);
    }

    /// A record whose payload is JSON. One that is too long is counted as lost.
    pub fn json(&mut self, kind: Kind, key: u32, value: &impl Serialize) {
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        if serde_json::to_writer(&mut text, value).is_ok() && text.len() <= EVENT_BYTES {
            self.payload(kind, key, &text);
        } else {
            self.lost = self.lost.saturating_add(1);
        }
        self.text = text;
    }

    /// A record with these bytes as its payload.
    pub fn payload(&mut self, kind: Kind, key: u32, bytes: &[u8]) {
        self.flagged(kind, key, 0, bytes);
    }

    /// A datagram that is no QUIC: `remote LF local LF`, then its bytes.
    pub fn raw(&mut self, at: Timestamp, four_tuple: FourTuple, bytes: &[u8]) {
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        if writeln!(text, "{}\n{}", four_tuple.remote, four_tuple.local).is_ok() {
            self.records.append(&text);
            self.records.append(bytes);
            let [head, length] = [text.len(), text.len().saturating_add(bytes.len())].map(|len| u32::try_from(len).unwrap_or(u32::MAX));
            self.push(Record::new(Kind::Raw, 0).small(head).length(length).instant(self.at_ms(at)));
        }
        self.text = text;
    }

    /// As [`Self::payload`], with flags.
    pub fn flagged(&mut self, kind: Kind, key: u32, flags: u32, bytes: &[u8]) {
        self.records.append(bytes);
        self.push(Record::new(kind, key).flags(flags).length(u32::try_from(bytes.len()).unwrap_or(u32::MAX)));
    }
}
