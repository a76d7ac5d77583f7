//! The TLS session of a connection: CRYPTO bytes in, CRYPTO bytes and keys out (RFC 9001 §4).
//!
//! Decides at which level the next bytes are read and that none of a lower level are left when keys change
//! (RFC 9001 §4.1.3; attacks B12), and how alerts become error codes (RFC 9001 §4.8). Called by the CRYPTO streams of
//! a connection, whose bytes are in order and bounded. Never sees packets.

mod alert;
mod message;
#[cfg(test)]
mod resumption;
#[cfg(test)]
mod tests;

use std::{collections::VecDeque, sync::Arc};

use qbase::{EncryptionLevel, ErrorCode, Role, TransportError, VERSION_2, limits::TICKET_MESSAGE};
use rustls::{
    pki_types::ServerName,
    quic::{ClientConnection, Connection, ServerConnection, Version},
};

use alert::{NO_APPLICATION_PROTOCOL, UNEXPECTED_MESSAGE};
use message::{CERTIFICATE_REQUEST, CLIENT_HELLO, ENCRYPTED_EXTENSIONS, NEW_SESSION_TICKET, message_len, starts_with_whole_message};

use crate::{
    error::{CertificateFault, TlsError},
    hello,
    key_update::OneRttKeys,
    keys::{Cipher, DirectionKeys, Keys},
    rustls::{Capture, Captured, ClientSetup, ClientTls, Judge, Randomness, ServerTls},
    tickets::ClientSlot,
};

/// New keys; bytes appended by [`Session::write`] before it belong to the level before.
#[derive(Debug)]
pub enum KeyChange {
    /// Handshake packets can be sent and read.
    Handshake(Keys),
    /// 1-RTT packets can be sent. A server reads them only when [`Session::is_handshaking`] is false
    /// (RFC 9001 §5.7).
    OneRtt(Box<OneRttKeys>),
}

/// What became of early data (RFC 9001 §4.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum EarlyStatus {
    /// There is none.
    #[default]
    None,
    /// A client offered it; the server has not answered.
    Sent,
    /// The server takes it.
    Accepted,
    /// The server refused it.
    Rejected,
}

/// What is left of TLS once a server has nothing more to say or to hear: some kilobytes less for each idle connection.
struct Outcome {
    alpn: Option<Vec<u8>>,
    server_name: Option<String>,
    certificates: Vec<Vec<u8>>,
    cipher: Option<Cipher>,
    early: EarlyStatus,
    is_resumed: bool,
}

/// The TLS library's state, or what it came to.
enum Tls {
    Running(Box<Connection>),
    Over(Box<Outcome>),
}

impl Tls {
    const fn running(&self) -> Option<&Connection> {
        match self {
            Self::Running(inner) => Some(inner),
            Self::Over(_) => None,
        }
    }
}

/// One end of a TLS handshake and what it agreed on.
pub struct Session {
    tls: Tls,
    role: Role,
    /// Where the next bytes must come from.
    read_level: EncryptionLevel,
    /// The beginning of a message that is not complete.
    partial: Vec<u8>,
    /// Produced and not yet taken by [`Session::write`].
    outbound: VecDeque<Outbound>,
    /// Handshake keys were made.
    has_handshake_keys: bool,
    /// The client read EncryptedExtensions: the parameters TLS shows are no longer remembered ones.
    has_extensions: bool,
    /// The client made early keys, or told the server so.
    offered_early: bool,
    /// Where the client's tickets go.
    tickets: Option<Arc<ClientSlot>>,
    certificate_fault: Option<CertificateFault>,
    /// Set by the first error; nothing is read after it.
    failure: Option<TransportError>,
    randomness: Randomness,
    /// Client whose QUIC version may change: its secrets.
    captured: Option<Arc<Captured>>,
    /// The version that keys are made for, if it is another than the session's.
    other_version: Option<u32>,
    /// The default check, if the application judges the peer.
    judge: Option<Judge>,
    /// Client: the name the server must have.
    asked_name: Option<ServerName<'static>>,
}

/// Bytes of one level and the keys that come after them.
struct Outbound {
    bytes: Vec<u8>,
    then: Option<KeyChange>,
}

impl Session {
    /// A client session. `server_name` is a DNS name (sent as SNI) or an IP address; `params` the encoded transport
    /// parameters; `version` the QUIC version of the first Initial packet. It makes a full handshake.
    ///
    /// # Errors
    /// The name is neither, or the version is not one of ours.
    pub fn client(tls: &ClientTls, server_name: &str, params: &[u8], version: u32) -> Result<Self, TlsError> {
        Self::new_client(tls.setup(None, version, Capture::No), tls, server_name, params, version)
    }

    /// The same with a ticket, if the store of the options has one under `key` (see [`ClientTls::session_key`]) for this
    /// version; tickets that the server gives are kept there.
    ///
    /// # Errors
    /// As [`Session::client`].
    pub fn resume(tls: &ClientTls, key: &str, server_name: &str, params: &[u8], version: u32) -> Result<Self, TlsError> {
        Self::new_client(tls.setup(Some(key), version, Capture::No), tls, server_name, params, version)
    }

    /// As [`Session::resume`], for a connection that may go over to a compatible version: until
    /// [`Session::keep_version`], [`Session::change_version`] can be called.
    ///
    /// # Errors
    /// See [`Session::client`].
    pub fn resume_compatible(
        tls: &ClientTls,
        key: &str,
        server_name: &str,
        params: &[u8],
        version: u32,
    ) -> Result<Self, TlsError> {
        Self::new_client(tls.setup(Some(key), version, Capture::Yes), tls, server_name, params, version)
    }

    /// The same without tickets.
    ///
    /// # Errors
    /// See [`Session::client`].
    pub fn client_compatible(tls: &ClientTls, server_name: &str, params: &[u8], version: u32) -> Result<Self, TlsError> {
        Self::new_client(tls.setup(None, version, Capture::Yes), tls, server_name, params, version)
    }

    fn new_client(
        setup: ClientSetup,
        tls: &ClientTls,
        server_name: &str,
        params: &[u8],
        version: u32,
    ) -> Result<Self, TlsError> {
        let name = ServerName::try_from(server_name.to_owned())
            .map_err(|_| TlsError::ServerName { name: server_name.to_owned() })?;
        let label = quic_version(version)?;
        let mut randomness = tls.randomness();
        let asked = name.clone();
        let inner = randomness
            .lend(|| ClientConnection::new(setup.config, label, name, params.to_vec()).map_err(TlsError::from))?;
        let mut session = Self::new(Connection::Client(inner), Role::Client, randomness);
        session.offered_early = session.early_keys().is_some();
        (session.tickets, session.captured) = (setup.tickets, setup.captured);
        (session.judge, session.asked_name) = (tls.judge(), Some(asked));
        Ok(session)
    }

    /// A client learned, before it read anything of the server, that the connection has this version: Handshake and 1-RTT
    /// keys are made for it (RFC 9369 §3.3.2), and tickets belong to it (§5). Initial keys and early data are not this
    /// session's concern.
    pub fn change_version(&mut self, version: u32) {
        if self.captured.is_some() && !self.has_handshake_keys {
            self.other_version = Some(version);
            if let Some(tickets) = &self.tickets {
                tickets.set_version(version);
            }
        }
    }

    /// The version of the session is that of the connection: its secrets need not be kept.
    pub fn keep_version(&mut self) {
        self.captured = None;
    }

    /// A server session; arguments as for [`Session::client`].
    ///
    /// # Errors
    /// The version is not one of ours.
    pub fn server(tls: &ServerTls, params: &[u8], version: u32) -> Result<Self, TlsError> {
        let label = quic_version(version)?;
        let config = tls.config(version, params);
        let mut randomness = tls.randomness();
        let inner = randomness.lend(|| ServerConnection::new(config, label, params.to_vec()).map_err(TlsError::from))?;
        let mut session = Self::new(Connection::Server(inner), Role::Server, randomness);
        session.judge = tls.judge();
        Ok(session)
    }

    fn new(inner: Connection, role: Role, randomness: Randomness) -> Self {
        Self {
            tls: Tls::Running(Box::new(inner)),
            role,
            read_level: EncryptionLevel::Initial,
            partial: Vec::new(),
            outbound: VecDeque::new(),
            has_handshake_keys: false,
            has_extensions: false,
            offered_early: false,
            tickets: None,
            certificate_fault: None,
            failure: None,
            randomness,
            captured: None,
            other_version: None,
            judge: None,
            asked_name: None,
        }
    }

    /// Takes the next CRYPTO bytes of `level`. Ask [`Session::write`] afterwards.
    ///
    /// # Errors
    /// CRYPTO_ERROR with the alert that TLS raised; PROTOCOL_VIOLATION for bytes of another level than TLS is reading,
    /// or left over when keys change. The same error comes again on every later call.
    pub fn read(&mut self, level: EncryptionLevel, bytes: &[u8]) -> Result<(), TransportError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let result = self.read_messages(level, bytes);
        if let Err(error) = &result {
            self.failure = Some(error.clone());
        }
        result
    }

    /// Appends CRYPTO bytes to send to `out` and tells which keys follow them. Call until `out` stays as it was and
    /// no keys come.
    pub fn write(&mut self, out: &mut Vec<u8>) -> Option<KeyChange> {
        if self.outbound.is_empty() {
            self.pump();
        }
        while let Some(outbound) = self.outbound.pop_front() {
            out.extend_from_slice(&outbound.bytes);
            if outbound.then.is_some() {
                return outbound.then;
            }
        }
        None
    }

    /// A server whose handshake is complete, and all it wanted to send taken: TLS itself is over, since no message of a
    /// client is allowed any more (RFC 9001 §4.4, §6). What it agreed on can be asked as before, except for parameters,
    /// keys of early data and the default check.
    pub fn conclude(&mut self) {
        if self.role == Role::Client || self.is_handshaking() || !self.outbound.is_empty() {
            return;
        }
        self.outbound = VecDeque::new();
        self.judge = None;
        self.tls = Tls::Over(Box::new(Outcome {
            alpn: self.alpn().map(<[u8]>::to_vec),
            server_name: self.server_name().map(str::to_owned),
            certificates: self.peer_certificates(),
            cipher: self.cipher(),
            early: self.early_status(),
            is_resumed: self.is_resumed(),
        }));
    }

    /// The handshake is not complete (RFC 9001 §4.1.1).
    #[must_use]
    pub fn is_handshaking(&self) -> bool {
        self.tls.running().is_some_and(|inner| inner.is_handshaking())
    }

    /// The level of the bytes that [`Session::read`] waits for.
    #[must_use]
    pub const fn read_level(&self) -> EncryptionLevel {
        self.read_level
    }

    /// The peer's encoded transport parameters; to be trusted only when the handshake is complete.
    #[must_use]
    pub fn peer_parameters(&self) -> Option<&[u8]> {
        let known = self.role == Role::Server || self.has_extensions;
        self.tls.running()?.quic_transport_parameters().filter(|_| known)
    }

    /// Client: the server's encoded transport parameters of the connection that brought the ticket in use, until the new
    /// ones are known.
    #[must_use]
    pub fn remembered_parameters(&self) -> Option<&[u8]> {
        let remembered = self.role == Role::Client && !self.has_extensions;
        self.tls.running()?.quic_transport_parameters().filter(|_| remembered)
    }

    /// Keys of 0-RTT packets: a client's to seal, from the start; a server's to open, once it has read the ClientHello
    /// and takes early data.
    #[must_use]
    pub fn early_keys(&self) -> Option<DirectionKeys> {
        self.tls.running()?.zero_rtt_keys().map(DirectionKeys::from)
    }

    /// What became of early data.
    #[must_use]
    pub fn early_status(&self) -> EarlyStatus {
        let inner = match &self.tls {
            Tls::Running(inner) => inner.as_ref(),
            Tls::Over(outcome) => return outcome.early,
        };
        match inner {
            Connection::Client(_) if !self.offered_early => EarlyStatus::None,
            Connection::Client(_) if !self.has_extensions => EarlyStatus::Sent,
            Connection::Client(client) if client.is_early_data_accepted() => EarlyStatus::Accepted,
            Connection::Client(_) => EarlyStatus::Rejected,
            Connection::Server(server) if server.zero_rtt_keys().is_some() => EarlyStatus::Accepted,
            Connection::Server(_) if self.offered_early && self.has_handshake_keys => EarlyStatus::Rejected,
            Connection::Server(_) => EarlyStatus::None,
        }
    }

    /// A ticket stood for the certificates. Known to a server with its first flight, to a client once it has read it.
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        match &self.tls {
            Tls::Running(inner) => inner.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
            Tls::Over(outcome) => outcome.is_resumed,
        }
    }

    /// Client: tickets that came and were kept.
    #[must_use]
    pub fn tickets_received(&self) -> u32 {
        self.tickets.as_ref().map_or(0, |slot| slot.received())
    }

    /// The protocol both ends agreed on.
    #[must_use]
    pub fn alpn(&self) -> Option<&[u8]> {
        match &self.tls {
            Tls::Running(inner) => inner.alpn_protocol(),
            Tls::Over(outcome) => outcome.alpn.as_deref(),
        }
    }

    /// Server: the name that the client asked for; `None` if it sent none.
    #[must_use]
    pub fn server_name(&self) -> Option<&str> {
        match &self.tls {
            Tls::Running(inner) => match inner.as_ref() {
                Connection::Server(server) => server.server_name(),
                Connection::Client(_) => None,
            },
            Tls::Over(outcome) => outcome.server_name.as_deref(),
        }
    }

    /// The peer's certificates in DER, leaf first; empty if it showed none.
    #[must_use]
    pub fn peer_certificates(&self) -> Vec<Vec<u8>> {
        match &self.tls {
            Tls::Running(inner) => inner.peer_certificates().unwrap_or_default().iter().map(|der| der.to_vec()).collect(),
            Tls::Over(outcome) => outcome.certificates.clone(),
        }
    }

    /// Why the default check would refuse the peer's certificates, for an application that judges itself
    /// (`Verify::Ask`); `None`: it would accept, or nobody judges.
    #[must_use]
    pub fn default_fault(&self) -> Option<String> {
        let chain = self.tls.running()?.peer_certificates().unwrap_or_default();
        self.judge.as_ref().and_then(|judge| judge.fault(chain, self.asked_name.as_ref()))
    }

    /// The cipher both ends agreed on; `None` before it is chosen.
    #[must_use]
    pub fn cipher(&self) -> Option<Cipher> {
        match &self.tls {
            Tls::Running(inner) => inner.negotiated_cipher_suite().and_then(|suite| Cipher::of_suite(suite.suite())),
            Tls::Over(outcome) => outcome.cipher,
        }
    }

    /// The name of [`Session::cipher`] in the TLS registry; empty before it is chosen.
    #[must_use]
    pub fn cipher_name(&self) -> &'static str {
        self.cipher().map(Cipher::name).unwrap_or_default()
    }

    /// Why the peer's certificate was refused here, if that ended the handshake.
    #[must_use]
    pub const fn certificate_fault(&self) -> Option<CertificateFault> {
        self.certificate_fault
    }

    fn read_messages(&mut self, level: EncryptionLevel, bytes: &[u8]) -> Result<(), TransportError> {
        if bytes.is_empty() {
            return Ok(());
        }
        if level != self.read_level {
            return Err(TransportError::violation("TLS bytes of a level that is not being read"));
        }
        let joined;
        let mut rest = bytes;
        if !self.partial.is_empty() {
            self.partial.extend_from_slice(bytes);
            if !starts_with_whole_message(&self.partial)? {
                return Ok(());
            }
            joined = std::mem::take(&mut self.partial);
            rest = &joined;
        }
        while starts_with_whole_message(rest)? {
            let Some((message, after)) = message_len(rest).and_then(|len| rest.split_at_checked(len)) else { break };
            self.read_message(message)?;
            rest = after;
            self.on_progress(if rest.is_empty() { Leftover::None } else { Leftover::Some })?;
        }
        self.partial.extend_from_slice(rest);
        Ok(())
    }

    /// Hands one whole message to TLS, and takes what it answers.
    fn read_message(&mut self, message: &[u8]) -> Result<(), TransportError> {
        let kind = message.first().copied();
        let from_server = self.role == Role::Client;
        if from_server && kind == Some(NEW_SESSION_TICKET) && !self.is_handshaking() && message.len() > TICKET_MESSAGE {
            // A ticket that long is not worth its memory (attacks B25).
            return Ok(());
        }
        if self.read_level == EncryptionLevel::OneRtt && kind == Some(CERTIFICATE_REQUEST) {
            // RFC 9001 §4.4 wants this code, not the alert that TLS would raise.
            return Err(TransportError::violation("a certificate was asked for after the handshake"));
        }
        if self.role == Role::Server && kind == Some(CLIENT_HELLO) {
            self.offered_early |= hello::offers_early_data(message);
        }
        let Tls::Running(inner) = &mut self.tls else {
            return Err(TransportError::new(ErrorCode::crypto(UNEXPECTED_MESSAGE), "a TLS message of a client after the handshake"));
        };
        let result = self.randomness.lend(|| inner.read_hs(message));
        if let Err(error) = result {
            self.certificate_fault = CertificateFault::of(&error);
            return Err(alert::transport_error(&error, inner.alert().map(u8::from), self.role));
        }
        self.has_extensions |= from_server && kind == Some(ENCRYPTED_EXTENSIONS);
        self.pump();
        Ok(())
    }

    /// Moves the read level on when TLS has new keys.
    fn on_progress(&mut self, leftover: Leftover) -> Result<(), TransportError> {
        let next = match self.read_level {
            EncryptionLevel::Initial if self.has_handshake_keys => EncryptionLevel::Handshake,
            EncryptionLevel::Handshake if !self.is_handshaking() => EncryptionLevel::OneRtt,
            _ => return Ok(()),
        };
        if leftover == Leftover::Some {
            return Err(TransportError::violation("TLS bytes left over at a key change"));
        }
        if next == EncryptionLevel::OneRtt && self.alpn().is_none() {
            return Err(TransportError::new(ErrorCode::crypto(NO_APPLICATION_PROTOCOL), "no common ALPN"));
        }
        self.read_level = next;
        Ok(())
    }

    /// Takes everything that TLS has to send, and its keys.
    fn pump(&mut self) {
        loop {
            let Tls::Running(inner) = &mut self.tls else { return };
            let mut bytes = Vec::new();
            let change = inner.write_hs(&mut bytes);
            if bytes.is_empty() && change.is_none() {
                return;
            }
            let then = change.map(|change| match change {
                rustls::quic::KeyChange::Handshake { keys } => {
                    self.has_handshake_keys = true;
                    KeyChange::Handshake(self.in_other_version(Captured::handshake_keys).unwrap_or_else(|| keys.into()))
                }
                rustls::quic::KeyChange::OneRtt { keys, next } => {
                    let other = self.in_other_version(Captured::one_rtt_keys);
                    self.captured = None;
                    KeyChange::OneRtt(Box::new(match other {
                        Some(keys) => keys,
                        None => OneRttKeys::new(keys.into(), self.role, Box::new(next)),
                    }))
                }
            });
            self.outbound.push_back(Outbound { bytes, then });
        }
    }

    /// Keys of the version the connection changed to, if it did.
    fn in_other_version<T>(&self, keys: fn(&Captured, Cipher, u32) -> Option<T>) -> Option<T> {
        keys(self.captured.as_ref()?, self.cipher()?, self.other_version?)
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("role", &self.role)
            .field("read_level", &self.read_level)
            .field("cipher", &self.cipher())
            .finish_non_exhaustive()
    }
}

/// Whether bytes are left behind a message.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Leftover {
    None,
    Some,
}

fn quic_version(version: u32) -> Result<Version, TlsError> {
    match version {
        qbase::VERSION_1 => Ok(Version::V1),
        VERSION_2 => Ok(Version::V2),
        _ => Err(TlsError::Version { version }),
    }
}
