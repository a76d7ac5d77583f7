//! Data of other paths that is to be copied onto this one (scheduler `redundant`, plans; burst B-101).
//!
//! Called by the burst sources. Bounded: a path that cannot keep up copies the newest data.

use crate::stream::StreamRecord;
use qbase::StreamId;
use std::collections::VecDeque;

/// Records kept at most: about one window of full packets.
pub const CAPACITY: usize = 8_192;

/// Records to copy, oldest first.
#[derive(Debug, Default)]
pub struct Duplicates {
    records: VecDeque<StreamRecord>,
}

impl Duplicates {
    /// Adds the data of a packet that another path carried, of those streams that `may_go` here; beyond [`CAPACITY`] the
    /// oldest goes.
    pub fn extend_bounded(&mut self, frames: &[crate::burst::SentFrame], may_go: impl Fn(StreamId) -> bool) {
        for frame in frames {
            if let crate::burst::SentFrame::Stream(record @ StreamRecord::Data { id, .. }) = frame
                && may_go(*id)
            {
                if self.records.len() >= CAPACITY {
                    self.records.pop_front();
                }
                self.records.push_back(*record);
            }
        }
    }

    /// The next record.
    #[must_use]
    pub fn front(&self) -> Option<StreamRecord> {
        self.records.front().copied()
    }

    /// The next record was copied or is no longer needed.
    pub fn pop(&mut self) {
        self.records.pop_front();
    }

    /// Nothing is to be copied.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }
}
