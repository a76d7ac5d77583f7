//! The handshake: TLS bytes in and out, keys, completion, confirmation (RFC 9001 §4, RFC 9000 §7).
//!
//! Called by the dispatch for CRYPTO frames and once at the start. Never writes packets: bytes wait in CRYPTO streams.

use super::{Application, Connection, State, StepKind, events::Event, verdict::Hold};
use crate::{path::PathState, space::HandshakeSpace};
use qbase::{EncryptionLevel, ErrorCode, PathId, TransportError, Timestamp, frame, limits};
use qcrypto::{KeyChange, Keys, key_update::AeadLimits};
use qrecovery::crypto_stream::CryptoStream;

impl Connection {
    /// Derives the Initial keys and, on a client, makes the ClientHello.
    pub(super) fn start_handshake(&mut self) {
        let keys = Keys::initial(self.version, &self.cids.initial_dcid(), self.role);
        self.initial = Some(Box::new(HandshakeSpace::new(EncryptionLevel::Initial, keys)));
        if self.role.is_client()
            && let Err(error) = self.pump_tls(Timestamp::ZERO)
        {
            self.fail(Timestamp::ZERO, error);
        }
        if self.role.is_client() {
            self.offer_early();
        }
    }

    /// Takes a CRYPTO frame and gives TLS what is contiguous. A level that is over brings nothing new (RFC 9001 §4.1.3).
    pub(super) fn on_crypto(&mut self, now: Timestamp, level: EncryptionLevel, frame: &frame::Crypto<'_>) -> Result<(), TransportError> {
        let reading = self.tls.read_level();
        let Some(crypto) = self.crypto_stream(level) else { return Ok(()) };
        if level < reading && frame.offset.saturating_add(frame.data.len() as u64) > crypto.read_offset() {
            return Err(TransportError::violation("new TLS bytes of a level that is over"));
        }
        crypto.on_frame(frame.offset, frame.data)?;
        let bytes = crypto.take_readable();
        self.on_server_crypto();
        let bytes = self.choose_version(level, bytes)?;
        if bytes.is_empty() {
            return Ok(());
        }
        self.tls.read(level, &bytes)?;
        if self.tls.read_level() > reading && self.crypto_stream(reading).is_some_and(|crypto| crypto.has_unread()) {
            return Err(TransportError::violation("TLS bytes behind a gap at a key change"));
        }
        self.pump_tls(now)
    }

    /// The CRYPTO stream of a level that still has keys.
    pub(crate) fn crypto_stream(&mut self, level: EncryptionLevel) -> Option<&mut CryptoStream> {
        match level {
            EncryptionLevel::Initial => self.initial.as_mut().map(|space| &mut space.crypto),
            EncryptionLevel::Handshake => self.handshake.as_mut().map(|space| &mut space.crypto),
            EncryptionLevel::OneRtt => self.application.as_mut().map(|application| &mut application.crypto),
            EncryptionLevel::ZeroRtt => None,
        }
    }

    /// Moves what TLS wants to say into the CRYPTO streams and installs the keys it derives.
    pub(super) fn pump_tls(&mut self, now: Timestamp) -> Result<(), TransportError> {
        if self.is_held() {
            return Ok(());
        }
        loop {
            let mut bytes = Vec::new();
            let change = self.tls.write(&mut bytes);
            if !bytes.is_empty() {
                let level = self.write_level;
                if let Some(crypto) = self.crypto_stream(level) {
                    crypto.write(&bytes);
                }
            }
            match change {
                Some(KeyChange::Handshake(keys)) => {
                    self.handshake = Some(Box::new(HandshakeSpace::new(EncryptionLevel::Handshake, keys)));
                    self.write_level = EncryptionLevel::Handshake;
                }
                Some(KeyChange::OneRtt(keys)) => {
                    let keys = match self.config.confidentiality_limit {
                        Some(confidentiality) => Box::new(keys.with_limits(AeadLimits { confidentiality, integrity: u64::MAX })),
                        None => keys,
                    };
                    self.application = Some(Application { keys, crypto: CryptoStream::new(limits::CRYPTO_BUFFER) });
                    self.write_level = EncryptionLevel::OneRtt;
                }
                None if bytes.is_empty() => break,
                None => {}
            }
        }
        self.read_peer_parameters()?;
        self.polarise();
        self.accept_early();
        self.begin_half_rtt();
        if !self.handshake_complete && !self.tls.is_handshaking() {
            self.on_handshake_complete(now)?;
        }
        Ok(())
    }

    /// Server: 1-RTT keys are there and the application wants to use them before the client has shown that it is
    /// (0.5-RTT; burst B-27). Not while its word on the client is wanted.
    fn begin_half_rtt(&mut self) {
        let is_free = self.hold == Hold::Off || self.tls.is_resumed();
        let may = !self.role.is_client() && self.config.half_rtt && is_free && self.application.is_some() && self.counters.has_peer_parameters;
        if !may || self.half_rtt || self.handshake_complete {
            return;
        }
        self.half_rtt = true;
        if let Some(entry) = self.paths.get_mut(PathId::ZERO) {
            entry.state = PathState::Open;
        }
        self.events.push_back(Event::HalfRtt);
    }

    /// Data may go out under 1-RTT keys.
    pub(crate) const fn sends_data(&self) -> bool {
        self.handshake_complete || self.half_rtt
    }

    /// TLS is finished on this side (RFC 9001 §4.1.1).
    fn on_handshake_complete(&mut self, now: Timestamp) -> Result<(), TransportError> {
        if !self.counters.has_peer_parameters {
            return Err(TransportError::new(ErrorCode::crypto(0x6d), "no transport parameters"));
        }
        self.negotiate_multipath()?;
        self.settle_early(now)?;
        self.handshake_complete = true;
        self.tell_current_step(now, StepKind::TlsFinished, "the server's Finished is good");
        self.counters.handshake_completed_at = Some(now);
        self.timers.on_handshake_complete();
        if self.state == State::Handshaking {
            self.state = State::Open;
        }
        if let Some(entry) = self.paths.get_mut(PathId::ZERO) {
            entry.state = PathState::Open;
        }
        self.events.push_back(Event::HandshakeComplete);
        self.begin_traversal();
        if !self.role.is_client() {
            self.control.handshake_done = true;
            self.want_token(now, PathId::ZERO);
            self.confirm(now);
            self.challenge_unproved_address(now);
            self.tls.conclude();
        }
        self.issue_cids();
        Ok(())
    }

    /// The handshake is confirmed (RFC 9001 §4.1.2): Handshake keys go (§4.9.2).
    pub(super) fn confirm(&mut self, now: Timestamp) {
        if self.confirmed {
            return;
        }
        self.confirmed = true;
        self.forget_callers();
        self.end_candidates();
        self.discard(EncryptionLevel::Initial);
        self.discard(EncryptionLevel::Handshake);
        if let Some(application) = &mut self.application {
            application.keys.on_confirmed();
        }
        if let Some(network) = self.network_mut(PathId::ZERO) {
            network.ecn.on_confirmed();
        }
        self.events.push_back(Event::Confirmed);
        self.allow_moves(now);
        self.start_waiting_opens(now);
    }

    /// HANDSHAKE_DONE (RFC 9000 §19.20).
    pub(super) fn on_handshake_done(&mut self, now: Timestamp) -> Result<(), TransportError> {
        if !self.role.is_client() {
            return Err(TransportError::violation("HANDSHAKE_DONE from a client"));
        }
        if self.handshake_complete {
            self.confirm(now);
        }
        Ok(())
    }

    /// Drops the keys and the records of a level (RFC 9001 §4.9, RFC 9002 §6.4); the PTO starts afresh.
    pub(super) fn discard(&mut self, level: EncryptionLevel) {
        let dropped = match level {
            EncryptionLevel::Initial => {
                self.versions.settle();
                self.initial.take()
            }
            EncryptionLevel::Handshake => self.handshake.take(),
            _ => None,
        };
        if dropped.is_some()
            && let Some(network) = self.network_mut(PathId::ZERO)
        {
            network.pto_count = 0;
        }
    }
}
