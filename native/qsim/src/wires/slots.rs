//! The datagrams on all links, each under a small number, in buffers that are used again.
//!
//! Called by the wires alone. Decides nothing.

use qbase::{Ecn, FourTuple, Timestamp};

use super::LaneId;
use crate::trace::{Fate, TraceEvent};

/// A datagram between its sender and its receiver.
#[derive(Clone, Debug)]
pub(super) struct Datagram {
    /// Where it travels.
    pub(super) lane: LaneId,
    /// As the receiver sees it.
    pub(super) four_tuple: FourTuple,
    /// Its mark so far.
    pub(super) ecn: Ecn,
    /// Routers it may still pass.
    pub(super) ttl: u8,
    /// UDP payload.
    pub(super) bytes: Vec<u8>,
}

impl Datagram {
    /// What the trace remembers of it.
    pub(super) const fn event(&self, at: Timestamp, fate: Fate, arrives_at: Option<Timestamp>) -> TraceEvent {
        let LaneId { link, direction } = self.lane;
        TraceEvent { at, link, direction, len: self.bytes.len(), fate, arrives_at }
    }
}

/// The datagrams under way, by a small number each, and buffers for more.
#[derive(Debug, Default)]
pub(super) struct Slots {
    slots: Vec<Option<Datagram>>,
    free: Vec<u32>,
    buffers: Vec<Vec<u8>>,
}

impl Slots {
    /// Stores a datagram with a copy of these bytes.
    pub(super) fn put(&mut self, mut datagram: Datagram, bytes: &[u8]) -> u32 {
        let mut buffer = self.buffers.pop().unwrap_or_default();
        buffer.clear();
        buffer.extend_from_slice(bytes);
        datagram.bytes = buffer;
        let token = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len().saturating_sub(1)).unwrap_or(u32::MAX)
        });
        if let Some(slot) = self.slot(token) {
            *slot = Some(datagram);
        }
        token
    }

    /// Stores the same datagram once more.
    pub(super) fn copy(&mut self, token: u32) -> Option<u32> {
        let original = self.get(token)?.clone();
        let bytes = original.bytes.clone();
        Some(self.put(original, &bytes))
    }

    /// The datagram says CE from now on.
    pub(super) fn mark(&mut self, token: u32) {
        if let Some(datagram) = self.get_mut(token) {
            datagram.ecn = Ecn::Ce;
        }
    }

    pub(super) fn get(&self, token: u32) -> Option<&Datagram> {
        self.slots.get(usize::try_from(token).ok()?)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, token: u32) -> Option<&mut Datagram> {
        self.slot(token)?.as_mut()
    }

    /// The datagram leaves; its number becomes free.
    pub(super) fn take(&mut self, token: u32) -> Option<Datagram> {
        let datagram = self.slot(token)?.take()?;
        self.free.push(token);
        Some(datagram)
    }

    /// A buffer for the next datagram.
    pub(super) fn recycle(&mut self, bytes: Vec<u8>) {
        self.buffers.push(bytes);
    }

    fn slot(&mut self, token: u32) -> Option<&mut Option<Datagram>> {
        self.slots.get_mut(usize::try_from(token).ok()?)
    }
}
