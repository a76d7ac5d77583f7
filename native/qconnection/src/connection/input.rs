//! A datagram in: coalesced packets, keys, packet numbers, opened payloads (RFC 9000 §12.2, §12.3, RFC 9001 §5).
//!
//! Called by the endpoint for every datagram routed to the connection. A bad packet is dropped and counted; only a
//! frame that breaks a rule inside an authentic packet closes the connection.

use super::{Connection, State, WaitingPacket};
use crate::{
    config::Spin as SpinPolicy,
    endpoint::route::Route,
    path::{PathState, side::is_same_path},
    space::HandshakeSpace,
};
use qbase::{
    ConnectionId, Ecn, EncryptionLevel, FourTuple, PacketNumber, PathId, TransportError, Timestamp, limits,
    packet::{FixedBit, KeyPhase, PacketType, ProtectedHeader, Spin, number},
};
use qcrypto::{Generation, Incoming, OpenError};
use qevent::DropReason;
use qrecovery::{buffer::pool::BufferPool, received::Receipt};
use std::ops::Range;

/// PTOs in a row after which the back-off is long enough to be worth cutting short.
const BACKED_OFF: u32 = 3;

/// A datagram on its way through the input.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    /// When it came.
    pub(crate) now: Timestamp,
    /// Its addresses; `local` is where it arrived.
    pub(crate) four_tuple: FourTuple,
    /// Its mark.
    pub(crate) ecn: Ecn,
    /// Its UDP payload, bytes.
    pub(crate) size: usize,
    /// Which of our connection ids it carries.
    pub(crate) route: Route,
}

/// An authentic packet.
pub(super) struct Opened {
    pub(super) level: EncryptionLevel,
    pub(super) path: PathId,
    pub(super) number: PacketNumber,
    pub(super) arrival: Arrival,
    pub(super) generation: Generation,
}

/// Packet number, place of the plaintext in the packet, keys that opened it.
type Unsealed = (PacketNumber, Range<usize>, Generation);

/// Why a packet went no further.
pub(super) enum Stop {
    Drop(DropReason),
    Close(TransportError),
}

impl From<TransportError> for Stop {
    fn from(error: TransportError) -> Self {
        Self::Close(error)
    }
}

impl Connection {
    /// Takes one UDP payload; it is decrypted in place.
    pub(crate) fn handle_datagram(&mut self, arrival: Arrival, bytes: &mut [u8], pool: &mut BufferPool) {
        if self.is_logged() {
            self.log_arrival(Some(bytes));
        }
        self.take_datagram(arrival, bytes, pool);
        self.log_facts(arrival.now);
    }

    fn take_datagram(&mut self, arrival: Arrival, bytes: &mut [u8], pool: &mut BufferPool) {
        pool.absorb(&mut self.returned);
        if self.role.is_client() && !self.is_from_known_server(arrival.four_tuple) && !self.hears_strangers(bytes) {
            return self.drop_packet(arrival.now, None, bytes.len(), DropReason::Migration);
        }
        if self.refuses_caller(&arrival) {
            return self.drop_packet(arrival.now, None, bytes.len(), DropReason::Migration);
        }
        if self.streams.is_window_due() {
            self.settle_window(pool);
        }
        if self.end_known {
            self.shed(pool);
        }
        // Facts are never dropped: reading pauses until the application has taken some (attacks L26).
        if self.events.len() >= limits::EVENTS_WAITING {
            return self.drop_packet(arrival.now, None, bytes.len(), DropReason::EventsWaiting);
        }
        self.credit_datagram(&arrival, bytes.len());
        let size = bytes.len();
        let authentic_before = self.counters.packets_received;
        let mut rest = bytes;
        let mut first_dcid: Option<ConnectionId> = None;
        while !rest.is_empty() {
            if matches!(self.state, State::Draining | State::Drained) {
                return;
            }
            let header = match ProtectedHeader::parse_with(rest, self.shape.len(), self.fixed_bit()) {
                Ok(header) => header,
                Err(error) => {
                    // What follows the first packet may be anything, padding included; only a bad first packet counts.
                    if first_dcid.is_none() {
                        self.drop_packet(arrival.now, None, rest.len(), DropReason::from_packet_error(error));
                        self.look_for_reset(&arrival, rest);
                    }
                    break;
                }
            };
            let end = header.end.min(rest.len());
            let (packet, following) = rest.split_at_mut(end);
            rest = following;
            let is_first = first_dcid.is_none();
            // Packets of another connection in one datagram are ignored (RFC 9000 §12.2, attacks A6).
            if *first_dcid.get_or_insert(header.dcid) != header.dcid {
                if packet.first().is_some_and(|first| first & 0xc0 == 0) {
                    // Zeros behind the last packet are padding, not a header whose fixed bit is clear.
                    break;
                }
                self.drop_packet(arrival.now, Some(&header), packet.len(), DropReason::OtherConnection);
                continue;
            }
            if let Err(stop) = self.handle_packet(arrival, &header, packet, pool) {
                match stop {
                    Stop::Drop(reason) => {
                        self.drop_packet(arrival.now, Some(&header), packet.len(), reason);
                        if is_first && matches!(reason, DropReason::Undecryptable | DropReason::NoKeys) {
                            // The tag of a packet that fails to open is left as it was.
                            self.look_for_reset(&arrival, if rest.is_empty() { packet } else { rest });
                        }
                    }
                    Stop::Close(error) => {
                        self.fail(arrival.now, error);
                        return;
                    }
                }
            }
        }
        if self.counters.packets_received > authentic_before {
            self.counters.datagrams_received = self.counters.datagrams_received.saturating_add(1);
            self.counters.bytes_received = self.counters.bytes_received.saturating_add(size as u64);
            if let Some(network) = self.network_mut(arrival.route.path) {
                network.counters.bytes_received = network.counters.bytes_received.saturating_add(size as u64);
            }
        }
    }

    /// What the fixed bit of packets to us may be (RFC 9287 §3; attacks A9).
    pub(crate) fn fixed_bit(&self) -> FixedBit {
        if self.config.grease_quic_bit { FixedBit::Ignored } else { FixedBit::Required }
    }

    /// A datagram whose first packet cannot be read may be a stateless reset, by its end (RFC 9000 §10.3.1).
    fn look_for_reset(&mut self, arrival: &Arrival, end: &[u8]) {
        if let Some(token) = crate::endpoint::reset::token_of(end) {
            self.on_possible_reset(arrival.now, arrival.four_tuple.remote, &token);
        }
    }

    /// Credits the whole payload, once, to the address it came from (attacks B2; burst B-44).
    fn credit_datagram(&mut self, arrival: &Arrival, size: usize) {
        if let Some(network) = self.network_mut(arrival.route.path)
            && network.four_tuple.remote == arrival.four_tuple.remote
        {
            network.amplification.on_received(size as u64);
        } else if let Some(side) = self
            .network_mut(arrival.route.path)
            .and_then(|network| network.sides_mut().find(|side| is_same_path(side.four_tuple, arrival.four_tuple)))
        {
            side.amplification.on_received(size as u64);
        } else {
            self.credit_caller(arrival, size);
        }
    }

    /// Takes one packet out of a datagram.
    fn handle_packet(&mut self, arrival: Arrival, header: &ProtectedHeader, packet: &mut [u8], pool: &mut BufferPool) -> Result<(), Stop> {
        let level = match header.kind {
            PacketType::OneRtt => EncryptionLevel::OneRtt,
            PacketType::Initial => EncryptionLevel::Initial,
            PacketType::Handshake => EncryptionLevel::Handshake,
            PacketType::Retry => {
                self.on_retry(&arrival, header, packet)?;
                self.log_received_unprotected(arrival.now, header, packet);
                return Ok(());
            }
            PacketType::VersionNegotiation => {
                self.on_version_negotiation(&arrival, packet)?;
                self.log_received_unprotected(arrival.now, header, packet);
                return Ok(());
            }
            PacketType::ZeroRtt if !self.role.is_client() => EncryptionLevel::ZeroRtt,
            // A client never opens 0-RTT packets (RFC 9001 §5.6).
            PacketType::ZeroRtt => return Err(Stop::Drop(DropReason::NoKeys)),
        };
        if level == EncryptionLevel::Initial {
            self.check_initial(&arrival, header)?;
        }
        if self.must_wait_for_keys(level) {
            return Err(self.keep_for_later(arrival, packet));
        }
        if level != EncryptionLevel::OneRtt {
            self.check_version(level, header.version)?;
        }
        let path = if level == EncryptionLevel::OneRtt { arrival.route.path } else { PathId::ZERO };
        let opened = self.open_packet(arrival.now, level, path, header, packet);
        if level == EncryptionLevel::Initial && matches!(opened, Err(Stop::Drop(DropReason::Duplicate))) {
            self.note_copy_from(&arrival);
        }
        let (number, payload, generation) = opened?;
        let is_refused = level == EncryptionLevel::OneRtt && (self.refuses_move(&arrival, path) || self.is_stranger(arrival.four_tuple));
        if is_refused && !self.is_punch(packet.get(payload.clone()).unwrap_or_default()) {
            return Err(Stop::Drop(DropReason::Migration));
        }
        let opened = Opened { level, path, number, arrival, generation };
        self.on_authentic(&opened, header)?;
        if self.is_logged() {
            self.log_received(&opened, header, packet, payload.clone());
        }
        let payload = packet.get(payload).unwrap_or_default();
        if self.state == State::Closing {
            return self.on_packet_while_closing(&opened, payload).map_err(Stop::Close);
        }
        self.handle_payload(&opened, payload, pool)?;
        self.log_facts(arrival.now);
        Ok(())
    }

    /// A client's Initial comes in a datagram of at least 1200 bytes (RFC 9000 §14.1), a server's without a token (§17.2.2).
    const fn check_initial(&self, arrival: &Arrival, header: &ProtectedHeader) -> Result<(), Stop> {
        if !self.role.is_client() && arrival.size < limits::MIN_INITIAL {
            return Err(Stop::Drop(DropReason::ShortInitial));
        }
        if self.role.is_client() && header.token.start < header.token.end {
            return Err(Stop::Drop(DropReason::MalformedHeader));
        }
        Ok(())
    }

    /// Keys of this level will come, but are not there yet (RFC 9001 §5.7: no 1-RTT before completion either).
    fn must_wait_for_keys(&self, level: EncryptionLevel) -> bool {
        match level {
            EncryptionLevel::Handshake => self.handshake.is_none() && !self.handshake_complete,
            // Nothing of the application's before it is known that this attempt stays (multipath MP-91).
            EncryptionLevel::OneRtt => !self.handshake_complete || self.is_rival(),
            // Until the ClientHello is read; then there are keys, or 0-RTT is refused.
            EncryptionLevel::ZeroRtt => self.handshake.is_none() && !self.handshake_complete,
            EncryptionLevel::Initial => false,
        }
    }

    /// Keeps a packet until its keys exist (attacks L3, B21).
    fn keep_for_later(&mut self, arrival: Arrival, packet: &[u8]) -> Stop {
        let bytes: usize = self.waiting.iter().map(|waiting| waiting.bytes.len()).sum();
        if self.waiting.len() >= limits::UNDECRYPTABLE_PACKETS || bytes.saturating_add(packet.len()) > limits::UNDECRYPTABLE_BYTES {
            return Stop::Drop(DropReason::UndecryptableLimit);
        }
        self.waiting.push_back(WaitingPacket { four_tuple: arrival.four_tuple, ecn: arrival.ecn, bytes: packet.to_vec() });
        Stop::Drop(DropReason::KeptForKeys)
    }

    /// Takes the packets that waited, once keys came. Called by the endpoint after each datagram.
    pub(crate) fn retry_waiting(&mut self, now: Timestamp, pool: &mut BufferPool) {
        self.log_arrival(None);
        self.take_waiting(now, pool);
        self.log_facts(now);
    }

    fn take_waiting(&mut self, now: Timestamp, pool: &mut BufferPool) {
        for _ in 0..self.waiting.len() {
            let Some(mut waiting) = self.waiting.pop_front() else { return };
            let Ok(header) = ProtectedHeader::parse_with(&waiting.bytes, self.shape.len(), self.fixed_bit()) else { continue };
            let level = header.kind.level().unwrap_or(EncryptionLevel::Handshake);
            if self.must_wait_for_keys(level) {
                self.waiting.push_back(waiting);
                continue;
            }
            let route = Route { handle: self.handle, path: PathId::ZERO, sequence: 0 };
            let arrival = Arrival { now, four_tuple: waiting.four_tuple, ecn: waiting.ecn, size: waiting.bytes.len(), route };
            match self.handle_packet(arrival, &header, &mut waiting.bytes, pool) {
                Ok(()) => {}
                Err(Stop::Drop(reason)) => self.drop_packet(now, Some(&header), waiting.bytes.len(), reason),
                Err(Stop::Close(error)) => return self.fail(now, error),
            }
        }
    }

    /// Removes both protections: packet number and the payload's place in the packet.
    fn open_packet(
        &mut self,
        now: Timestamp,
        level: EncryptionLevel,
        path: PathId,
        header: &ProtectedHeader,
        packet: &mut [u8],
    ) -> Result<Unsealed, Stop> {
        match level {
            EncryptionLevel::OneRtt => self.open_one_rtt(now, path, header, packet),
            _ => self.open_long(level, header, packet),
        }
    }

    fn open_one_rtt(&mut self, now: Timestamp, path: PathId, header: &ProtectedHeader, packet: &mut [u8]) -> Result<Unsealed, Stop> {
        let Some(application) = &self.application else { return Err(Stop::Drop(DropReason::NoKeys)) };
        let Some(number_len) = application.keys.remote_header().unprotect(packet, header.pn_offset) else {
            return Err(Stop::Drop(DropReason::TooShort));
        };
        let number = read_number(packet, header.pn_offset, number_len, self.number_base(path, number_len));
        let received = self.received(path);
        let is_duplicate = received.is_some_and(|received| received.is_duplicate(number));
        let largest = received.and_then(|received| received.largest()).map(|largest| largest.number);
        let first = packet.first().copied().unwrap_or_default();
        let incoming = Incoming { path: self.key_path(path), number, phase: KeyPhase::of(first), largest };
        let Some(application) = &mut self.application else { return Err(Stop::Drop(DropReason::NoKeys)) };
        let opened = match application.keys.open(incoming, packet, header.pn_offset.saturating_add(number_len)) {
            Ok(opened) => opened,
            Err(OpenError::Drop(_)) => return Err(Stop::Drop(DropReason::Undecryptable)),
            Err(OpenError::Close(error)) => return Err(Stop::Close(error)),
        };
        // Only now: what a forger may guess about numbers must not show in the time we take (RFC 9001 §9.5).
        if is_duplicate {
            return Err(Stop::Drop(DropReason::Duplicate));
        }
        if first & 0x18 != 0 {
            return Err(Stop::Close(TransportError::violation("reserved bits of a short header are set")));
        }
        if self.config.spin == SpinPolicy::On {
            let role = self.role;
            if let Some(network) = self.network_mut(path) {
                network.spin.on_received(role, number, Spin::of(first));
            }
        }
        if opened.generation == Generation::Fresh {
            self.on_keys_updated(now);
        }
        Ok((number, opened.plaintext, opened.generation))
    }

    fn open_long(&mut self, level: EncryptionLevel, header: &ProtectedHeader, packet: &mut [u8]) -> Result<Unsealed, Stop> {
        let keyed = match level {
            EncryptionLevel::Initial => self.initial.as_deref().map(HandshakeSpace::reader),
            EncryptionLevel::ZeroRtt => self.early_reader(),
            _ => self.handshake.as_deref().map(HandshakeSpace::reader),
        };
        let Some((keys, received)) = keyed else { return Err(Stop::Drop(DropReason::NoKeys)) };
        let other = || self.versions.other_keys(header.version).map(|keys| &keys.remote);
        let keys = if header.version == self.version { Some(keys) } else { other() };
        let Some(keys) = keys else { return Err(Stop::Drop(DropReason::UnknownVersion)) };
        let Some(number_len) = keys.header.unprotect(packet, header.pn_offset) else {
            return Err(Stop::Drop(DropReason::TooShort));
        };
        let largest = match level {
            EncryptionLevel::ZeroRtt => self.number_base(PathId::ZERO, number_len),
            _ => received.largest().map(|largest| largest.number),
        };
        let number = read_number(packet, header.pn_offset, number_len, largest);
        let is_duplicate = received.is_duplicate(number);
        let header_len = header.pn_offset.saturating_add(number_len);
        let Ok(payload) = keys.packet.open(PathId::ZERO, number, packet, header_len) else {
            // They count towards the connection's integrity limit (RFC 9001 §6.6).
            if let Some(application) = &mut self.application {
                application.keys.on_open_failures(1)?;
            }
            return Err(Stop::Drop(DropReason::Undecryptable));
        };
        if is_duplicate {
            return Err(Stop::Drop(DropReason::Duplicate));
        }
        if packet.first().is_some_and(|first| first & 0x0c != 0) {
            return Err(Stop::Close(TransportError::violation("reserved bits of a long header are set")));
        }
        Ok((number, payload, Generation::Current))
    }

    /// Books an authentic packet before its frames are looked at.
    fn on_authentic(&mut self, opened: &Opened, header: &ProtectedHeader) -> Result<(), Stop> {
        let now = opened.arrival.now;
        self.counters.packets_received = self.counters.packets_received.saturating_add(1);
        match opened.level {
            EncryptionLevel::Initial => {
                self.on_other_version(header.version);
                self.lock_candidate(opened);
                self.learn_peer_cid(header.scid)?;
                self.follow_client(opened);
            }
            EncryptionLevel::Handshake => {
                self.lock_candidate(opened);
                self.learn_peer_cid(header.scid)?;
                self.follow_client(opened);
                self.on_first_handshake_packet(now);
            }
            _ => {
                self.ensure_path_in_use(opened)?;
                if !self.confirmed {
                    self.lock_candidate(opened);
                }
            }
        }
        self.timers.on_authentic_packet(now);
        self.hear_again(opened);
        if let Some(network) = self.network_mut(opened.path) {
            network.counters.packets_received = network.counters.packets_received.saturating_add(1);
            network.counters.last_received_at = Some(now);
            let local = opened.arrival.four_tuple.local;
            if network.four_tuple.local.ip().is_unspecified() && network.four_tuple.local.port() == local.port() {
                network.four_tuple.local = opened.arrival.four_tuple.local;
            }
        }
        Ok(())
    }

    /// A peer that was silent for several PTOs is heard again: what waits for its answer is probed at once, not when
    /// the backed-off PTO would come (attacks F18).
    fn hear_again(&mut self, opened: &Opened) {
        if opened.level != EncryptionLevel::OneRtt {
            return;
        }
        let max_ack_delay = self.peer_max_ack_delay();
        let now = opened.arrival.now;
        for at in 0..self.paths.len() {
            let Some(path) = self.paths.id_at(at) else { return };
            let Some(network) = self.network_mut(path) else { continue };
            let silence = now.saturating_since(network.pto_fired_at);
            if network.pto_count >= BACKED_OFF && silence >= network.pto(max_ack_delay) && network.space.is_waiting_for_ack() {
                network.pto_fired_at = now;
                network.space.probes_owed = 2;
                self.offer_again(EncryptionLevel::OneRtt, path, 2);
            }
        }
    }

    /// The peer's SCID becomes the DCID of path 0, once (RFC 9000 §7.2; burst B-81). Another SCID later is dropped.
    fn learn_peer_cid(&mut self, scid: ConnectionId) -> Result<(), Stop> {
        match self.cids.remote {
            Some(known) if known == scid => Ok(()),
            Some(_) => Err(Stop::Drop(DropReason::OtherConnection)),
            None => {
                self.cids.remote = Some(scid);
                self.dial = None;
                if let Some(entry) = self.paths.get_mut(PathId::ZERO) {
                    entry.remote_cids.set_handshake(scid);
                }
                Ok(())
            }
        }
    }

    /// A Handshake packet proves the client's address and that it has Handshake keys (RFC 9000 §8.1, RFC 9001 §4.9.1).
    fn on_first_handshake_packet(&mut self, now: Timestamp) {
        if let Some(handshake) = &mut self.handshake
            && handshake.first_received.is_none()
        {
            handshake.first_received = Some(now);
            if !self.role.is_client() {
                self.discard(EncryptionLevel::Initial);
                self.prove_answered_address();
            }
        }
    }

    /// A 1-RTT packet on an unused path id opens it, if we take it (multipath MP-21).
    fn ensure_path_in_use(&mut self, opened: &Opened) -> Result<(), Stop> {
        let state = self.paths.get(opened.path).map(|entry| entry.state);
        match state {
            Some(PathState::Unused) => {
                if self.role.is_client() || !self.path_mode.has_paths() || self.paths.is_full() {
                    return Err(Stop::Drop(DropReason::UnknownPath));
                }
                self.accept_path(opened);
                Ok(())
            }
            Some(_) => Ok(()),
            None => Err(Stop::Drop(DropReason::UnknownPath)),
        }
    }

    /// Remembers the number of a packet whose frames were all taken, and when it wants an acknowledgement.
    pub(super) fn book_received(&mut self, opened: &Opened, ack_eliciting: qcongestion::ack_policy::AckEliciting) {
        use qcongestion::{Order, ack_policy::AckEliciting};
        let now = opened.arrival.now;
        let ecn = opened.arrival.ecn;
        let smoothed_rtt = self.network(opened.path).map_or(std::time::Duration::ZERO, |network| network.rtt.smoothed());
        let ack_eliciting = if self.waits_for_carrier(opened) { AckEliciting::No } else { ack_eliciting };
        if self.one_space.is_some() && matches!(opened.level, EncryptionLevel::ZeroRtt | EncryptionLevel::OneRtt) {
            return self.book_in_one_space(opened, ack_eliciting);
        }
        let Some(space) = self.space_mut(opened.level, opened.path) else { return };
        let order = match space.received.on_packet(opened.number, now, ecn) {
            Receipt::Next => Order::Next,
            Receipt::Gap => Order::Gap,
            Receipt::Late => Order::Late,
            Receipt::Duplicate => return,
        };
        let packet = qcongestion::Arrived { number: opened.number, ack_eliciting, order, ecn, smoothed_rtt };
        let crate::space::Space { acks, received, .. } = space;
        acks.on_packet(now, &packet, |range| received.first_missing(range));
        if opened.level == EncryptionLevel::Initial && ack_eliciting == qcongestion::ack_policy::AckEliciting::Yes {
            self.hurry_handshake(now);
        }
    }
}

/// Decodes the packet number behind a header whose protection is removed (RFC 9000 §17.1, appendix A.3).
fn read_number(packet: &[u8], offset: usize, len: usize, largest: Option<PacketNumber>) -> PacketNumber {
    number::decode(number::read(packet, offset, len).unwrap_or_default(), len, largest)
}
