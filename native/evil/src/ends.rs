//! Settings of two ends that trust each other, for tests that drive endpoints by hand.
//!
//! Called by the tests of allocations and attacks. Never draws from the system: all keys come from the seed.

use std::{sync::Arc, time::Duration};

use qbase::param::TransportParameters;
use qcrypto::{ClientTls, ClientTlsOptions, Identity, Pin, Provider, ServerTls, ServerTlsOptions, development};
use qconnection::{ClientConfig, ServerConfig, TransportConfig};
use qsim::Failure;

/// The server's name.
pub const NAME: &str = "server";
/// Time of day in every world: 2025-01-01.
const UNIX_TIME: Duration = Duration::from_secs(1_735_689_600);

/// TLS settings of both ends.
///
/// # Errors
/// The certificate cannot be made.
pub fn tls(seed: u8) -> Result<(ClientTls, ServerTls), Failure> {
    tls_of_chain(seed, 0)
}

/// As [`tls`], with a chain of more than so many bytes.
///
/// # Errors
/// The certificate cannot be made.
pub fn tls_of_chain(seed: u8, bytes: usize) -> Result<(ClientTls, ServerTls), Failure> {
    let certificate = development::seeded(&[seed; 32], &[NAME.to_owned()], 365, UNIX_TIME).map_err(failure)?;
    let copies = bytes.checked_div(certificate.cert_der.len()).unwrap_or_default().saturating_add(1);
    let identity =
        Identity::from_pem(certificate.cert_pem.repeat(copies).as_bytes(), certificate.key_pem.as_bytes()).map_err(failure)?;
    let provider = Provider::Seeded { seed: [seed.wrapping_add(1); 32], unix_time: UNIX_TIME };
    let client = ClientTls::new(&ClientTlsOptions {
        pins: vec![Pin::of_certificate(&certificate.cert_der)],
        alpn: vec![b"qsim".to_vec()],
        provider: provider.clone(),
        ..ClientTlsOptions::default()
    });
    let server = ServerTls::new(&ServerTlsOptions {
        identity: Some(identity),
        alpn: vec![b"qsim".to_vec()],
        provider,
        ..ServerTlsOptions::default()
    });
    Ok((client.map_err(failure)?, server.map_err(failure)?))
}

/// Settings of both ends with these transports.
///
/// # Errors
/// See [`tls`].
pub fn configs(
    seed: u8,
    client: TransportConfig,
    server: TransportConfig,
) -> Result<(Arc<ClientConfig>, Arc<ServerConfig>), Failure> {
    configs_of_chain(seed, 0, client, server)
}

/// As [`configs`], and the server's certificates take more than so many bytes.
///
/// # Errors
/// See [`tls`].
pub fn configs_of_chain(seed: u8, bytes: usize, client: TransportConfig, server: TransportConfig) -> Result<(Arc<ClientConfig>, Arc<ServerConfig>), Failure> {
    let (client_tls, server_tls) = tls_of_chain(seed, bytes)?;
    let client = ClientConfig::new(client_tls, Arc::new(client));
    Ok((Arc::new(client), Arc::new(ServerConfig::new(server_tls, Arc::new(server), 2_048))))
}

/// What an evil end declares: limits that nothing here reaches.
#[must_use]
pub fn generous() -> TransportParameters {
    TransportParameters {
        max_idle_timeout: Duration::from_secs(30),
        initial_max_data: 1 << 30,
        initial_max_stream_data_bidi_local: 1 << 30,
        initial_max_stream_data_bidi_remote: 1 << 30,
        initial_max_stream_data_uni: 1 << 30,
        initial_max_streams_bidi: 100,
        initial_max_streams_uni: 100,
        active_connection_id_limit: 4,
        ..TransportParameters::default()
    }
}

/// A failure that says what an error says.
pub fn failure(error: impl std::fmt::Display) -> Failure {
    Failure::new(error.to_string())
}
