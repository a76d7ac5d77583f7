//! Who the ends of a pair are: keys and certificates out of the seed.
//!
//! Called once for each pair. Never draws from the system: the same seed signs with the same key.

use std::time::Duration;

use qcrypto::{
    Cipher, ClientSessions, ClientTls, ClientTlsOptions, Identity, KeyLog, Pin, Provider, Resumption, ServerSessions,
    ServerTls, ServerTlsOptions, development,
};

use super::{ALPN, SERVER_NAME};
use crate::{failure::Fault, random::Random};

/// Time of day in every world: 2025-01-01.
const UNIX_TIME: Duration = Duration::from_secs(1_735_689_600);

/// What a test asks of TLS.
#[derive(Clone, Default)]
pub struct TlsSetup {
    /// Ciphers of both ends, in order of preference; empty means all.
    pub ciphers: Vec<Cipher>,
    /// Both ends use early data.
    pub early_data: bool,
    /// Whether the server gives tickets.
    pub resumption: Resumption,
    /// Copies of the certificate that the server shows beside it: a long chain takes more than the first credit.
    pub extra_certificates: usize,
    /// Takes the secrets of both ends.
    pub keylog: Option<KeyLog>,
}

impl std::fmt::Debug for TlsSetup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsSetup").field("early_data", &self.early_data).finish_non_exhaustive()
    }
}

/// The options both ends were made of; a test may change them for what comes next.
#[derive(Clone, Debug)]
pub struct TlsPair {
    /// Of the client.
    pub client: ClientTlsOptions,
    /// Of the server.
    pub server: ServerTlsOptions,
}

impl TlsPair {
    /// TLS settings of both ends: an Ed25519 identity that the client trusts by its pin, and stores for tickets.
    pub(crate) fn new(random: &mut Random, setup: &TlsSetup) -> Result<Self, Fault> {
        let (identity, pin) = identity_of_chain(&random.seed(), setup.extra_certificates)?;
        let provider = Provider::Seeded { seed: random.seed(), unix_time: UNIX_TIME };
        let client = ClientTlsOptions {
            pins: vec![pin],
            alpn: vec![ALPN.to_vec()],
            ciphers: setup.ciphers.clone(),
            provider: provider.clone(),
            sessions: Some(ClientSessions::new()),
            early_data: setup.early_data,
            keylog: setup.keylog.clone(),
            ..ClientTlsOptions::default()
        };
        let server = ServerTlsOptions {
            identity: Some(identity),
            alpn: vec![ALPN.to_vec()],
            ciphers: setup.ciphers.clone(),
            provider,
            resumption: setup.resumption,
            sessions: Some(ServerSessions::new()),
            early_data: setup.early_data,
            keylog: setup.keylog.clone(),
            ..ServerTlsOptions::default()
        };
        Ok(Self { client, server })
    }

    /// The client's, checked.
    pub(crate) fn client_tls(&self) -> Result<ClientTls, Fault> {
        ClientTls::new(&self.client).map_err(setup)
    }

    /// The server's, checked.
    pub(crate) fn server_tls(&self) -> Result<ServerTls, Fault> {
        ServerTls::new(&self.server).map_err(setup)
    }
}

/// An Ed25519 identity for the server's name out of a seed, and its pin.
///
/// # Errors
/// The certificate cannot be made.
pub fn identity(seed: &[u8; 32]) -> Result<(Identity, Pin), Fault> {
    identity_of_chain(seed, 0)
}

fn identity_of_chain(seed: &[u8; 32], extra: usize) -> Result<(Identity, Pin), Fault> {
    let certificate = development::seeded(seed, &[SERVER_NAME.to_owned()], 365, UNIX_TIME).map_err(setup)?;
    let identity =
        Identity::from_pem(certificate.cert_pem.repeat(extra.saturating_add(1)).as_bytes(), certificate.key_pem.as_bytes()).map_err(setup)?;
    Ok((identity, Pin::of_certificate(&certificate.cert_der)))
}

fn setup(error: impl std::fmt::Display) -> Fault {
    Fault::Setup(error.to_string())
}
