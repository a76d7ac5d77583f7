//! 1-RTT keys over their generations: which key seals, which key opens, when to move on (RFC 9001 §6; multipath MP-32
//! to MP-34; attacks A21, B23, B24).
//!
//! ```text
//!            initiate_update / the peer's first packet of the next phase
//!   current ───────────────────────────────────────────────────────────▶ next becomes current
//!      └─ receive key kept as previous until 3 PTO after the first packet of the new phase ─▶ dropped
//! ```
//!
//! Called by the burst writer and the input of a connection for every 1-RTT packet. One phase per connection, not per
//! path; packet numbers are compared per path, AEAD limits count over all paths. Never reads a clock: the caller says
//! when 3 PTO have passed.

mod receive;
mod send;
mod source;
#[cfg(test)]
mod tests;
mod verdict;

use std::time::Duration;

use qbase::{ErrorCode, PacketNumber, PathId, Role, Timestamp, TransportError, packet::KeyPhase};

use crate::{
    error::CryptoError,
    keys::{Cipher, Keys, Secret},
    protect::HeaderKey,
};
use receive::ReceivePhase;
use send::SendPhase;
use source::BareSecrets;
pub(crate) use source::{KeySource, PacketKeys};
pub use verdict::{Generation, Incoming, OpenError, Opened, UpdateRefused};

/// AEAD limits (RFC 9001 §6.6), each summed over all paths (multipath MP-33).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AeadLimits {
    /// Packets sealed with one key at most.
    pub confidentiality: u64,
    /// Packets of the connection that fail to open: this many close it.
    pub integrity: u64,
}

/// Packets of every key that only [`OneRttKeys::seal_close`] may use, so that AEAD_LIMIT_REACHED can be said.
pub const CLOSE_RESERVE: u64 = 8;

/// The 1-RTT keys of a connection.
pub struct OneRttKeys {
    /// Ours; never updated (RFC 9001 §6.1).
    local_header: HeaderKey,
    /// The peer's.
    remote_header: HeaderKey,
    role: Role,
    /// Where the keys after `next` come from.
    source: Box<dyn KeySource>,
    /// Made ahead, so that a flipped phase bit costs no key derivation (RFC 9001 §6.3).
    next: PacketKeys,
    phase: KeyPhase,
    /// Updates so far, by either end.
    updates: u64,
    send: SendPhase,
    receive: ReceivePhase,
    limits: AeadLimits,
    /// See [`OneRttKeys::on_confirmed`].
    confirmed: bool,
}

impl OneRttKeys {
    pub(crate) fn new(first: Keys, role: Role, mut source: Box<dyn KeySource>) -> Self {
        let limits = AeadLimits {
            confidentiality: first.local.packet.confidentiality_limit(),
            integrity: first.remote.packet.integrity_limit(),
        };
        Self {
            local_header: first.local.header,
            remote_header: first.remote.header,
            role,
            next: source.next(),
            source,
            phase: KeyPhase::Zero,
            updates: 0,
            send: SendPhase::first(first.local.packet),
            receive: ReceivePhase::first(first.remote.packet),
            limits,
            confirmed: false,
        }
    }

    /// Keys from bare traffic secrets.
    #[must_use]
    pub fn from_secrets(cipher: Cipher, version: u32, role: Role, local: &[u8], remote: &[u8]) -> Self {
        let (local, remote) = (Secret::new(cipher, version, local), Secret::new(cipher, version, remote));
        let first = Keys { local: local.keys(), remote: remote.keys() };
        Self::new(first, role, Box::new(BareSecrets { local: local.next(), remote: remote.next() }))
    }

    /// The same keys with lower limits, for tests; a limit is never raised.
    #[must_use]
    pub fn with_limits(mut self, limits: AeadLimits) -> Self {
        self.limits.confidentiality = self.limits.confidentiality.min(limits.confidentiality);
        self.limits.integrity = self.limits.integrity.min(limits.integrity);
        self
    }

    /// The Key Phase bit of the next packet.
    #[must_use]
    #[inline]
    pub const fn seal_phase(&self) -> KeyPhase {
        self.phase
    }

    /// Key updates so far, by either end.
    #[must_use]
    pub const fn updates(&self) -> u64 {
        self.updates
    }

    /// Protects the headers that we send; `HeaderKey::protect`.
    #[must_use]
    #[inline]
    pub const fn local_header(&self) -> &HeaderKey {
        &self.local_header
    }

    /// Unprotects the headers that we receive; `HeaderKey::unprotect`.
    #[must_use]
    #[inline]
    pub const fn remote_header(&self) -> &HeaderKey {
        &self.remote_header
    }

    /// Seals a packet whose header carries [`OneRttKeys::seal_phase`]; layout as for [`crate::PacketKey::seal`].
    ///
    /// # Errors
    /// AEAD_LIMIT_REACHED when the key is used up but for the reserve; INTERNAL_ERROR if the packet has no room for a
    /// tag.
    #[inline]
    pub fn seal(
        &mut self,
        path: PathId,
        number: PacketNumber,
        packet: &mut [u8],
        header_len: usize,
    ) -> Result<(), TransportError> {
        let limit = self.usable();
        self.send.seal(path, number, packet, header_len, limit)
    }

    /// Packets of one key that are not kept back for CONNECTION_CLOSE.
    #[inline]
    const fn usable(&self) -> u64 {
        self.limits.confidentiality.saturating_sub(CLOSE_RESERVE)
    }

    /// Seals a packet with CONNECTION_CLOSE: may use the reserve.
    ///
    /// # Errors
    /// As [`OneRttKeys::seal`], when the reserve is used up as well.
    pub fn seal_close(
        &mut self,
        path: PathId,
        number: PacketNumber,
        packet: &mut [u8],
        header_len: usize,
    ) -> Result<(), TransportError> {
        self.send.seal(path, number, packet, header_len, self.limits.confidentiality)
    }

    /// Opens a packet, and answers a key update of the peer: after [`Generation::Fresh`] everything is sealed with new
    /// keys. At most two AEAD trials; two only while an update is under way.
    ///
    /// # Errors
    /// [`OpenError::Drop`] if no key fits; [`OpenError::Close`] with KEY_UPDATE_ERROR when the peer updated too early,
    /// twice without an acknowledgment, or mixed up packet numbers of two phases, and with AEAD_LIMIT_REACHED at the
    /// integrity limit.
    #[inline]
    pub fn open(&mut self, incoming: Incoming, packet: &mut [u8], header_len: usize) -> Result<Opened, OpenError> {
        let opened = if incoming.phase == self.phase {
            self.receive.open_current(incoming, packet, header_len)
        } else {
            self.open_other_phase(incoming, packet, header_len)
        };
        if matches!(opened, Err(OpenError::Drop(CryptoError::Open))) {
            self.on_open_failures(1).map_err(OpenError::Close)?;
        }
        opened
    }

    /// Counts packets that failed to open at other levels or before these keys existed.
    ///
    /// # Errors
    /// AEAD_LIMIT_REACHED at the integrity limit.
    pub fn on_open_failures(&mut self, count: u64) -> Result<(), TransportError> {
        self.receive.failures = self.receive.failures.saturating_add(count);
        if self.receive.failures >= self.limits.integrity {
            return Err(TransportError::new(ErrorCode::AEAD_LIMIT_REACHED, "too many packets are not authentic"));
        }
        Ok(())
    }

    /// Packets that failed to open so far.
    #[must_use]
    pub const fn open_failures(&self) -> u64 {
        self.receive.failures
    }

    /// Packets sealed with the current key.
    #[must_use]
    pub const fn sealed(&self) -> u64 {
        self.send.sealed
    }

    /// The other phase bit: a delayed packet of the previous phase or the first of the next.
    #[cold]
    fn open_other_phase(
        &mut self,
        incoming: Incoming,
        packet: &mut [u8],
        header_len: usize,
    ) -> Result<Opened, OpenError> {
        let (opened, key) = self.receive.open_other(&self.next.remote, incoming, packet, header_len)?;
        if key == Generation::Fresh {
            self.check_peer_update(incoming).map_err(OpenError::Close)?;
            self.rotate();
            self.receive.on_current(incoming).map_err(OpenError::Close)?;
        }
        Ok(Opened { plaintext: opened, generation: key })
    }

    /// May the peer have begun this phase with this packet?
    fn check_peer_update(&self, incoming: Incoming) -> Result<(), TransportError> {
        let refuse = |reason| Err(TransportError::new(ErrorCode::KEY_UPDATE_ERROR, reason));
        if self.role == Role::Server && !self.confirmed {
            return refuse("key update before the handshake was confirmed");
        }
        if !self.receive.acknowledged {
            return refuse("second key update before the first was acknowledged");
        }
        if incoming.largest.is_some_and(|largest| incoming.number <= largest) {
            return refuse("new keys on an old packet number");
        }
        Ok(())
    }

    /// Moves both directions to the next keys.
    fn rotate(&mut self) {
        let next = std::mem::replace(&mut self.next, self.source.next());
        self.phase = self.phase.next();
        self.updates = self.updates.saturating_add(1);
        self.send = SendPhase::after_update(next.local);
        self.receive.rotate(next.remote);
    }

    /// The handshake is confirmed: key updates may begin (RFC 9001 §6.1).
    ///
    /// A client calls it when HANDSHAKE_DONE came; a server when HANDSHAKE_DONE, or an ACK in a 1-RTT packet, is first
    /// sent, for the client cannot be confirmed earlier. A client takes updates of its server before that, since
    /// HANDSHAKE_DONE may be late.
    pub fn on_confirmed(&mut self) {
        self.confirmed = true;
    }

    /// Begins a key update on request; the packets from here on carry the new phase.
    ///
    /// # Errors
    /// An update is not permitted yet.
    pub fn initiate_update(&mut self, now: Timestamp) -> Result<(), UpdateRefused> {
        if !self.confirmed {
            return Err(UpdateRefused::Unconfirmed);
        }
        self.send.check_update(now)?;
        self.rotate();
        Ok(())
    }

    /// The current key nears its confidentiality limit and an update is permitted: call
    /// [`OneRttKeys::update_if_due`]. Cheap enough for once a burst.
    #[must_use]
    #[inline]
    pub fn should_update(&self, now: Timestamp) -> bool {
        let limit = self.usable();
        if self.send.sealed < limit / 2 {
            return false;
        }
        match self.send.check_update(now) {
            Ok(()) => self.confirmed,
            // Courtesy ends where the key does.
            Err(UpdateRefused::TooSoon { .. }) => self.confirmed && self.send.sealed >= limit.saturating_sub(limit / 8),
            Err(_) => false,
        }
    }

    /// Begins a key update if [`OneRttKeys::should_update`]; tells whether it did.
    pub fn update_if_due(&mut self, now: Timestamp) -> bool {
        let due = self.should_update(now);
        if due {
            self.rotate();
        }
        due
    }

    /// An ACK or PATH_ACK arrived: `largest` of `path` is acknowledged, in a packet that keys of `carried` opened. When
    /// it covers a packet of the current phase, that phase's update is complete and the next may begin after 3 `pto`
    /// (the largest of all paths).
    ///
    /// # Errors
    /// KEY_UPDATE_ERROR when the peer acknowledges new keys under old ones (RFC 9001 §6.2).
    #[inline]
    pub fn on_ack_received(
        &mut self,
        path: PathId,
        largest: PacketNumber,
        carried: Generation,
        now: Timestamp,
        pto: Duration,
    ) -> Result<(), TransportError> {
        if self.send.is_acknowledged() || !self.send.covers(path, largest) {
            return Ok(());
        }
        if carried == Generation::Previous {
            return Err(TransportError::new(ErrorCode::KEY_UPDATE_ERROR, "new keys acknowledged under old keys"));
        }
        self.send.on_acknowledged(now + pto.saturating_mul(3));
        Ok(())
    }

    /// A packet was sealed whose ACK or PATH_ACK covers `largest` of `path`: once it covers a packet of the peer's
    /// current phase, the peer may update again.
    #[inline]
    pub fn on_ack_sent(&mut self, path: PathId, largest: PacketNumber) {
        self.receive.on_ack_sent(path, largest);
    }

    /// [`OneRttKeys::on_ack_sent`] would change something: the peer's newest update is not acknowledged.
    #[must_use]
    #[inline]
    pub const fn awaits_ack_sent(&self) -> bool {
        self.receive.awaits_ack_sent()
    }

    /// How long to keep the previous receive key: call after [`Generation::Fresh`] with `now` + 3 × the largest PTO of
    /// all paths (RFC 9001 §6.5, multipath MP-34).
    pub fn keep_previous_until(&mut self, until: Timestamp) {
        self.receive.keep_previous_until(until);
    }

    /// When the previous receive key is to be dropped; `None` if there is none or nobody said.
    #[must_use]
    pub const fn next_timer(&self) -> Option<Timestamp> {
        self.receive.previous_until
    }

    /// Drops the previous receive key when its time has come.
    pub fn on_timer(&mut self, now: Timestamp) {
        if self.receive.previous_until.is_some_and(|until| until <= now) {
            self.receive.drop_previous();
        }
    }
}

impl std::fmt::Debug for OneRttKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OneRttKeys")
            .field("phase", &self.phase)
            .field("updates", &self.updates)
            .field("sealed", &self.send.sealed)
            .field("failures", &self.receive.failures)
            .finish_non_exhaustive()
    }
}
