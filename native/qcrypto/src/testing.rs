//! What tests of this crate share.

use std::time::Duration;

use qbase::VERSION_1;

use crate::{
    ClientTls, ClientTlsOptions, Identity, KeyChange, Provider, Roots, ServerTls, ServerTlsOptions, Session,
    development::{self, DevelopmentCertificate},
};
use qbase::{EncryptionLevel, TransportError};

/// 2026-01-01, when the certificates of tests are valid.
pub(crate) const UNIX_TIME: Duration = Duration::from_secs(1_767_225_600);
pub(crate) const CLIENT_PARAMETERS: &[u8] = b"client parameters";
pub(crate) const SERVER_PARAMETERS: &[u8] = b"server parameters";

/// The bytes of hex digits, white space skipped.
pub(crate) fn hex(digits: &str) -> Vec<u8> {
    let digits: Vec<u32> = digits.chars().filter_map(|c| c.to_digit(16)).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] << 4 | pair[1]).unwrap()).collect()
}

pub(crate) fn certificate(seed: u8, names: &[&str]) -> DevelopmentCertificate {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    development::seeded(&[seed; 32], &names, 14, UNIX_TIME).unwrap()
}

pub(crate) fn identity_of(certificate: &DevelopmentCertificate) -> Identity {
    Identity::from_pem(certificate.cert_pem.as_bytes(), certificate.key_pem.as_bytes()).unwrap()
}

pub(crate) fn provider(seed: u8) -> Provider {
    Provider::Seeded { seed: [seed; 32], unix_time: UNIX_TIME }
}

/// Options of a client and a server that understand each other under the name `localhost`.
pub(crate) fn options() -> (ClientTlsOptions, ServerTlsOptions) {
    let certificate = certificate(1, &["localhost", "127.0.0.1", "::1"]);
    let client = ClientTlsOptions {
        roots: Roots::Der(vec![certificate.cert_der.clone()]),
        alpn: vec![b"test".to_vec()],
        provider: provider(2),
        ..ClientTlsOptions::default()
    };
    let server = ServerTlsOptions {
        identity: Some(identity_of(&certificate)),
        alpn: vec![b"test".to_vec()],
        provider: provider(3),
        ..ServerTlsOptions::default()
    };
    (client, server)
}

pub(crate) fn sessions(client: &ClientTlsOptions, server: &ServerTlsOptions) -> (Session, Session) {
    sessions_to("localhost", client, server)
}

pub(crate) fn sessions_to(name: &str, client: &ClientTlsOptions, server: &ServerTlsOptions) -> (Session, Session) {
    let (client, server) = (ClientTls::new(client).unwrap(), ServerTls::new(server).unwrap());
    (
        Session::client(&client, name, CLIENT_PARAMETERS, VERSION_1).unwrap(),
        Session::server(&server, SERVER_PARAMETERS, VERSION_1).unwrap(),
    )
}

/// One end of a handshake in memory, as a connection would drive it.
pub(crate) struct End {
    pub(crate) session: Session,
    write_level: EncryptionLevel,
    pub(crate) changes: Vec<KeyChange>,
    /// All that was written, level by level.
    pub(crate) transcript: Vec<(EncryptionLevel, Vec<u8>)>,
}

impl End {
    pub(crate) fn new(session: Session) -> Self {
        Self { session, write_level: EncryptionLevel::Initial, changes: Vec::new(), transcript: Vec::new() }
    }

    /// Everything this end has to send now.
    pub(crate) fn drain(&mut self) -> Vec<(EncryptionLevel, Vec<u8>)> {
        let mut flight = Vec::new();
        loop {
            let mut bytes = Vec::new();
            let change = self.session.write(&mut bytes);
            if bytes.is_empty() && change.is_none() {
                self.transcript.extend(flight.clone());
                return flight;
            }
            if !bytes.is_empty() {
                flight.push((self.write_level, bytes));
            }
            if let Some(change) = change {
                self.write_level = match change {
                    KeyChange::Handshake(_) => EncryptionLevel::Handshake,
                    KeyChange::OneRtt(_) => EncryptionLevel::OneRtt,
                };
                self.changes.push(change);
            }
        }
    }
}

/// Runs a handshake to its end or to the first error of either side.
pub(crate) fn handshake(client: Session, server: Session) -> (End, End, Result<(), TransportError>) {
    handshake_in_pieces(client, server, usize::MAX)
}

/// The same with CRYPTO bytes handed over `piece` at a time.
pub(crate) fn handshake_in_pieces(
    client: Session,
    server: Session,
    piece: usize,
) -> (End, End, Result<(), TransportError>) {
    let (mut client, mut server) = (End::new(client), End::new(server));
    let mut result = Ok(());
    for _ in 0..8 {
        result = result.and(deliver(&mut client, &mut server, piece));
        result = result.and(deliver(&mut server, &mut client, piece));
    }
    (client, server, result)
}

fn deliver(from: &mut End, to: &mut End, piece: usize) -> Result<(), TransportError> {
    for (level, bytes) in from.drain() {
        for part in bytes.chunks(piece) {
            to.session.read(level, part)?;
        }
    }
    Ok(())
}
