//! The receiving half of a key phase: chooses between previous, current and next key by phase bit and per-path packet
//! number, and sees peers that mix them up (RFC 9001 §6.2 to §6.5; multipath MP-34).

use std::ops::Range;

use qbase::{ErrorCode, PacketNumber, PathId, Timestamp, TransportError};

use super::{Generation, Incoming, OpenError, Opened};
use crate::{error::CryptoError, protect::PacketKey};

/// The keys we open with and what is known of the packets of their phases.
pub(super) struct ReceivePhase {
    current: PacketKey,
    /// Kept for delayed packets; `None` in the first phase and 3 PTO after an update.
    previous: Option<PacketKey>,
    /// When `previous` is dropped; `None` until a packet of the current phase came.
    pub(super) previous_until: Option<Timestamp>,
    /// A packet of the current phase came.
    begun: bool,
    /// We acknowledged a packet of the current phase, so the peer may begin the next.
    pub(super) acknowledged: bool,
    /// Per path, where the phases meet; empty without `previous`.
    borders: Vec<Border>,
    /// Packets that no key opened, over all paths and keys.
    pub(super) failures: u64,
    /// Keeps the ciphertext of a packet for a second trial, since the first destroys it.
    spare: Vec<u8>,
}

/// Where the numbers of two phases meet on one path.
struct Border {
    path: PathId,
    /// Largest number that the previous key opened.
    previous_largest: Option<PacketNumber>,
    /// Smallest number that the current key opened.
    current_lowest: Option<PacketNumber>,
}

impl ReceivePhase {
    pub(super) fn first(key: PacketKey) -> Self {
        Self {
            current: key,
            previous: None,
            previous_until: None,
            begun: true,
            acknowledged: true,
            borders: Vec::new(),
            failures: 0,
            spare: Vec::new(),
        }
    }

    /// `next` becomes current, current becomes previous.
    pub(super) fn rotate(&mut self, next: PacketKey) {
        self.previous = Some(std::mem::replace(&mut self.current, next));
        self.previous_until = None;
        self.begun = false;
        self.acknowledged = false;
        self.borders.clear();
    }

    /// Opens a packet whose phase bit is ours: one trial.
    #[inline]
    pub(super) fn open_current(
        &mut self,
        incoming: Incoming,
        packet: &mut [u8],
        header_len: usize,
    ) -> Result<Opened, OpenError> {
        let plaintext =
            self.current.open(incoming.path, incoming.number, packet, header_len).map_err(OpenError::Drop)?;
        let generation = if self.previous.is_some() {
            self.on_current_beside_previous(incoming).map_err(OpenError::Close)?
        } else {
            Generation::Current
        };
        Ok(Opened { plaintext, generation })
    }

    /// A packet of the current phase while the previous key is kept.
    #[cold]
    fn on_current_beside_previous(&mut self, incoming: Incoming) -> Result<Generation, TransportError> {
        let generation = if self.begun { Generation::Current } else { Generation::Fresh };
        self.on_current(incoming)?;
        Ok(generation)
    }

    /// Remembers a packet of the current phase.
    pub(super) fn on_current(&mut self, incoming: Incoming) -> Result<(), TransportError> {
        self.begun = true;
        let Some(border) = self.border_mut(incoming) else { return Ok(()) };
        if border.previous_largest.is_some_and(|largest| incoming.number < largest) {
            return Err(mixed_up());
        }
        let lowest = border.current_lowest.map_or(incoming.number, |lowest| lowest.min(incoming.number));
        border.current_lowest = Some(lowest);
        Ok(())
    }

    /// Remembers a packet of the previous phase.
    fn on_previous(&mut self, incoming: Incoming) -> Result<(), TransportError> {
        let Some(border) = self.border_mut(incoming) else { return Ok(()) };
        if border.current_lowest.is_some_and(|lowest| incoming.number > lowest) {
            return Err(mixed_up());
        }
        border.previous_largest = border.previous_largest.max(Some(incoming.number));
        Ok(())
    }

    /// The border of a path. All that a path without one has opened are packets of the previous phase.
    fn border_mut(&mut self, incoming: Incoming) -> Option<&mut Border> {
        match self.borders.iter().position(|border| border.path == incoming.path) {
            Some(at) => self.borders.get_mut(at),
            None => {
                self.borders.push(Border {
                    path: incoming.path,
                    previous_largest: incoming.largest,
                    current_lowest: None,
                });
                self.borders.last_mut()
            }
        }
    }

    /// Opens a packet of the other phase bit with the previous key or with `next`; where the number leaves both
    /// possible, with the likelier one first.
    pub(super) fn open_other(
        &mut self,
        next: &PacketKey,
        incoming: Incoming,
        packet: &mut [u8],
        header_len: usize,
    ) -> Result<(Range<usize>, Generation), OpenError> {
        let (first, second) = self.trials(incoming);
        if second.is_some() {
            self.save(packet, header_len);
        }
        let opened = self.try_key(first, next, incoming, packet, header_len);
        let (plaintext, generation) = match (opened, second) {
            (Ok(plaintext), _) => (plaintext, first),
            (Err(error), None) => return Err(OpenError::Drop(error)),
            (Err(_), Some(second)) => {
                self.restore(packet, header_len);
                let opened = self.try_key(second, next, incoming, packet, header_len);
                (opened.map_err(OpenError::Drop)?, second)
            }
        };
        if generation == Generation::Previous {
            self.on_previous(incoming).map_err(OpenError::Close)?;
        }
        Ok((plaintext, generation))
    }

    /// Which keys to try on a packet of the other phase bit.
    fn trials(&self, incoming: Incoming) -> (Generation, Option<Generation>) {
        let border = self.borders.iter().find(|border| border.path == incoming.path);
        match border.and_then(|border| border.current_lowest) {
            _ if self.previous.is_none() => (Generation::Fresh, None),
            // We began this phase: the peer cannot begin another before it has answered.
            _ if !self.begun => (Generation::Previous, None),
            Some(lowest) if incoming.number < lowest => (Generation::Previous, None),
            // The second trial catches a peer that went back to old keys.
            Some(_) => (Generation::Fresh, Some(Generation::Previous)),
            None => (Generation::Previous, Some(Generation::Fresh)),
        }
    }

    fn try_key(
        &self,
        generation: Generation,
        next: &PacketKey,
        incoming: Incoming,
        packet: &mut [u8],
        header_len: usize,
    ) -> Result<Range<usize>, CryptoError> {
        let key = match (generation, &self.previous) {
            (Generation::Previous, Some(previous)) => previous,
            (Generation::Current, _) => &self.current,
            _ => next,
        };
        key.open(incoming.path, incoming.number, packet, header_len)
    }

    fn save(&mut self, packet: &[u8], header_len: usize) {
        self.spare.clear();
        self.spare.extend_from_slice(packet.get(header_len..).unwrap_or_default());
    }

    fn restore(&self, packet: &mut [u8], header_len: usize) {
        if let Some(body) = packet.get_mut(header_len..)
            && body.len() == self.spare.len()
        {
            body.copy_from_slice(&self.spare);
        }
    }

    #[inline]
    pub(super) const fn awaits_ack_sent(&self) -> bool {
        self.begun && !self.acknowledged
    }

    #[inline]
    pub(super) fn on_ack_sent(&mut self, path: PathId, largest: PacketNumber) {
        if !self.awaits_ack_sent() {
            return;
        }
        let covers =
            |border: &Border| border.path == path && border.current_lowest.is_some_and(|lowest| largest >= lowest);
        // Without the previous key there are no borders: 3 PTO after the update every acknowledgment covers it.
        self.acknowledged = self.previous.is_none() || self.borders.iter().any(covers);
    }

    /// Sets the time once per update; later calls change nothing.
    pub(super) fn keep_previous_until(&mut self, until: Timestamp) {
        if self.previous.is_some() && self.begun && self.previous_until.is_none() {
            self.previous_until = Some(until);
        }
    }

    pub(super) fn drop_previous(&mut self) {
        self.previous = None;
        self.previous_until = None;
        self.borders = Vec::new();
        self.spare = Vec::new();
    }
}

/// RFC 9001 §6.4.
fn mixed_up() -> TransportError {
    TransportError::new(ErrorCode::KEY_UPDATE_ERROR, "old keys on a newer packet number than new keys")
}
