//! A client's first flight over several address pairs: which pair gets what, and when (multipath MP-87…MP-90, MP-94;
//! burst B-110, B-111).
//!
//! | mode | first flight | repetitions |
//! |---|---|---|
//! | `single` | the first pair | one pair at each PTO, round robin |
//! | `stagger` | copies, a pair more at each interval | copies to all that started |
//! | `race` | copies to all at once | copies to all |
//! | `shared` | packets of its own for each pair | packets of its own for each pair |
//! | `independent` | the endpoint makes a connection of each pair | – |
//!
//! Copies are byte-identical, so that no packet number protects two contents. Never sends to a pair once another answered.

use super::{Copy, Lock, StepKind};
use crate::{burst::Burst, config::HandshakeMode, connection::Connection, endpoint::SendFailure};
use bytes::Bytes;
use qbase::{Ecn, EncryptionLevel, PacketNumber, PathId, Timestamp, limits};

impl Connection {
    /// Keeps a datagram of the first flight, and owes copies to the pairs that have started.
    pub(in crate::connection) fn note_first_flight(&mut self, now: Timestamp, path: PathId, bytes: &[u8], segment_size: usize) {
        self.tell_first_attempt(now);
        let ecn = self.network(path).map_or(Ecn::NotEct, |network| network.pending.ecn);
        let Some(candidates) = self.candidates.as_deref_mut().filter(|candidates| candidates.lock == Lock::Open) else { return };
        if candidates.mode == HandshakeMode::Shared {
            // The load of this pair is on its way.
            candidates.loads.pop_front();
            return;
        }
        if !candidates.copies() || candidates.list.len() < 2 {
            return;
        }
        let is_first = candidates.flight.is_empty();
        for datagram in bytes.chunks(segment_size.max(1)) {
            let bytes = Bytes::copy_from_slice(datagram);
            for (attempt, entry) in candidates.list.iter().enumerate() {
                if attempt != candidates.current && entry.facts.is_trying() {
                    candidates.owed.push_back(Copy { attempt, ecn, bytes: bytes.clone() });
                }
            }
            if candidates.flight.len() < limits::FIRST_FLIGHT {
                candidates.flight.push((ecn, bytes));
            }
        }
        if is_first {
            let further = candidates.list.len();
            match candidates.mode {
                HandshakeMode::Stagger(interval) => candidates.next_at = Some(now + interval),
                _ => (1..further).for_each(|attempt| self.start_copies(now, attempt, "all pairs start at once")),
            }
        }
    }

    /// A further pair starts: it gets the first flight as it was.
    fn start_copies(&mut self, now: Timestamp, attempt: usize, reason: &'static str) {
        let Some(candidates) = self.candidates.as_deref_mut() else { return };
        if !candidates.list.get(attempt).is_some_and(|entry| entry.facts.is_waiting()) {
            return;
        }
        let copies = candidates.flight.iter().map(|(ecn, bytes)| Copy { attempt, ecn: *ecn, bytes: bytes.clone() });
        candidates.owed.extend(copies);
        self.tell_step(now, attempt, StepKind::Started, reason);
    }

    /// A pair was added when the first flight was on its way.
    pub(super) fn start_late(&mut self, now: Timestamp, attempt: usize) {
        let Some(candidates) = self.candidates.as_deref_mut() else { return };
        match candidates.mode {
            HandshakeMode::Race => self.start_copies(now, attempt, "added during the handshake"),
            HandshakeMode::Stagger(interval) => candidates.next_at = candidates.next_at.or(Some(now + interval)),
            HandshakeMode::Single | HandshakeMode::Shared | HandshakeMode::Independent => {}
        }
    }

    /// `stagger`: starts the next pair when its time has come and nobody has answered.
    pub(in crate::connection) fn on_stagger_timer(&mut self, now: Timestamp) {
        let Some(candidates) = self.candidates.as_deref_mut() else { return };
        if candidates.next_at.is_none_or(|at| at > now) {
            return;
        }
        candidates.next_at = None;
        let HandshakeMode::Stagger(interval) = candidates.mode else { return };
        let mut waiting = candidates.list.iter().enumerate().filter(|(_, entry)| entry.facts.is_waiting()).map(|(at, _)| at);
        let (next, more) = (waiting.next(), waiting.next().is_some());
        candidates.next_at = more.then(|| now + interval);
        if let Some(next) = next {
            self.start_copies(now, next, "nobody has answered for the interval");
        }
    }

    /// The next copy of the first flight, if one waits.
    pub(in crate::connection) fn poll_copy(&mut self, buffer: &mut [u8]) -> Option<Burst> {
        let busy = self.network(PathId::ZERO)?.pending.open;
        let candidates = self.candidates.as_deref_mut().filter(|_| !busy)?;
        let copy = candidates.owed.pop_front()?;
        let four_tuple = candidates.list.get(copy.attempt)?.four_tuple;
        let (ecn, len) = (copy.ecn, copy.bytes.len());
        buffer.get_mut(..len)?.copy_from_slice(&copy.bytes);
        candidates.copying = Some(copy);
        Some(Burst { connection: Some(self.handle), path: PathId::ZERO, four_tuple, ecn, hop_limit: None, len, segment_size: len, segments: 1 })
    }

    /// The burst that was handed out last, if it was a copy. Asked once, when the socket has answered.
    fn take_copy(&mut self, path: PathId) -> Option<Copy> {
        if path != PathId::ZERO {
            return None;
        }
        self.candidates.as_deref_mut()?.copying.take()
    }

    /// The socket took the last burst, or none of it. `true`: it was a copy, and all is done.
    pub(in crate::connection) fn on_copy_submitted(&mut self, now: Timestamp, path: PathId, segments: usize) -> bool {
        let Some(copy) = self.take_copy(path) else { return false };
        match self.candidates.as_deref_mut() {
            Some(candidates) if segments == 0 => candidates.owed.push_front(copy),
            _ => self.note_copy_sent(now, copy.attempt, copy.bytes.len()),
        }
        true
    }

    /// The socket refused the last burst. `true`: it was a copy, and all is done.
    pub(in crate::connection) fn on_copy_refused(&mut self, now: Timestamp, path: PathId, failure: SendFailure) -> bool {
        let Some(copy) = self.take_copy(path) else { return false };
        self.on_attempt_refused(now, copy.attempt, failure);
        true
    }

    /// A socket refused the first flight of the pair in use.
    pub(in crate::connection) fn on_first_flight_refused(&mut self, now: Timestamp, failure: SendFailure) {
        if let Some(current) = self.candidates.as_deref().map(|candidates| candidates.current) {
            self.on_attempt_refused(now, current, failure);
        }
    }

    /// `shared`: the next burst goes to the pair whose load is due, with the whole first flight (burst B-111).
    pub(in crate::connection) fn aim_load(&mut self, now: Timestamp) {
        if self.network(PathId::ZERO).is_none_or(|network| network.pending.open) {
            return;
        }
        let Some(candidates) = self.candidates.as_deref_mut() else { return };
        if candidates.lock != Lock::Open || candidates.mode != HandshakeMode::Shared {
            return;
        }
        let Some(next) = candidates.loads.front().copied() else { return };
        let is_new = candidates.list.get(next).is_some_and(|entry| entry.facts.is_waiting());
        self.aim(next);
        if let Some(initial) = &mut self.initial {
            initial.crypto.send_again();
            // One packet for each pair, whatever the window says of those that were sent before.
            initial.space.probes_owed = u8::from(!is_new);
        }
        if is_new {
            self.tell_step(now, next, StepKind::Started, "all pairs start at once");
        }
    }

    /// Path 0 sends to this pair from now on.
    pub(super) fn aim(&mut self, attempt: usize) {
        let Some(candidates) = self.candidates.as_deref_mut() else { return };
        let Some(four_tuple) = candidates.list.get(attempt).map(|entry| entry.four_tuple) else { return };
        candidates.current = attempt;
        let config = std::sync::Arc::clone(&self.config);
        if let Some(network) = self.network_mut(PathId::ZERO) {
            network.aim(&config, four_tuple);
        }
    }

    /// The first flight stays unanswered (multipath MP-87, MP-89, B-115): `single` repeats it over the next pair, round
    /// robin, `shared` over each; with copies nothing changes. The token of a Retry is bound to one address.
    pub(in crate::connection) fn on_first_flight_unanswered(&mut self, now: Timestamp) {
        if self.cids.retry.is_some() {
            return;
        }
        let Some(candidates) = self.candidates.as_deref_mut().filter(|candidates| candidates.lock == Lock::Open) else { return };
        match candidates.mode {
            HandshakeMode::Single => {
                let usable = |at: &usize| candidates.list.get(*at).is_some_and(|entry| !entry.facts.has_failed());
                let len = candidates.list.len();
                let next = (1..len).filter_map(|step| candidates.current.saturating_add(step).checked_rem(len)).find(usable);
                if let Some(next) = next {
                    self.try_instead(now, next, "the one before did not answer");
                }
            }
            HandshakeMode::Shared => {
                let all = candidates.list.iter().enumerate().filter(|(_, entry)| !entry.facts.has_failed()).map(|(at, _)| at);
                candidates.loads = all.collect();
            }
            HandshakeMode::Stagger(_) | HandshakeMode::Race | HandshakeMode::Independent => {}
        }
    }

    /// Path 0 goes over to this pair.
    pub(super) fn try_instead(&mut self, now: Timestamp, next: usize, reason: &'static str) {
        let is_new = self.candidates.as_deref().and_then(|candidates| candidates.list.get(next)).is_some_and(|entry| entry.facts.is_waiting());
        self.aim(next);
        if is_new {
            self.tell_step(now, next, StepKind::Started, reason);
        }
    }

    /// `shared`: remembers which pair a packet went to.
    pub(in crate::connection) fn note_way(&mut self, level: EncryptionLevel, number: PacketNumber) {
        let Some(candidates) = self.candidates.as_deref_mut() else { return };
        if candidates.lock == Lock::Open && candidates.mode == HandshakeMode::Shared {
            let current = candidates.current;
            candidates.ways.push((level, number, current));
        }
    }

    /// A socket refused what was meant for a pair: it is of no use, and the next one need not wait for it.
    pub(super) fn on_attempt_refused(&mut self, now: Timestamp, attempt: usize, failure: SendFailure) {
        if failure == SendFailure::TooLarge {
            return;
        }
        let Some(candidates) = self.candidates.as_deref_mut().filter(|candidates| candidates.lock == Lock::Open) else { return };
        if candidates.list.get(attempt).is_none_or(|entry| entry.facts.has_failed()) {
            return;
        }
        candidates.owed.retain(|copy| copy.attempt != attempt);
        candidates.loads.retain(|load| *load != attempt);
        if candidates.next_at.is_some() {
            candidates.next_at = Some(now);
        }
        let is_single = candidates.mode == HandshakeMode::Single && candidates.current == attempt;
        let reason = if failure == SendFailure::Refused { "nobody listens at the port" } else { "a socket refused to send" };
        self.tell_step(now, attempt, StepKind::Failed, reason);
        self.on_stagger_timer(now);
        if is_single && !self.has_received() {
            self.on_first_flight_unanswered(now);
            self.offer_again(EncryptionLevel::Initial, PathId::ZERO, limits::FIRST_FLIGHT);
        }
    }
}
