//! rustls configurations: the case's ciphers, the key log of SSLKEYLOGFILE, early data.

use std::{error::Error, sync::Arc};

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::{
    CipherSuite, ClientConfig, DigitallySignedStruct, KeyLogFile, ServerConfig, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    quic::Suite,
    version::TLS13,
};

use crate::environment::Environment;

type Failure = Box<dyn Error + Send + Sync>;

/// A server's configuration.
///
/// # Errors
/// Certificate or key are missing or unreadable.
pub fn server(environment: &Environment) -> Result<QuicServerConfig, Failure> {
    let chain = CertificateDer::pem_file_iter(environment.certs.join("cert.pem"))?.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(environment.certs.join("priv.key"))?;
    let mut config = ServerConfig::builder_with_provider(provider(&environment.case))
        .with_protocol_versions(&[&TLS13])?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"hq-interop".to_vec()];
    config.max_early_data_size = u32::MAX;
    config.key_log = Arc::new(KeyLogFile::new());
    Ok(QuicServerConfig::with_initial(Arc::new(config), initial_suite()?)?)
}

/// A client's configuration. Nothing is verified: the runner's chains are its own, and in one case longer than verifiers go.
///
/// # Errors
/// Never, with the suites of ring.
pub fn client(environment: &Environment) -> Result<QuicClientConfig, Failure> {
    let mut config = ClientConfig::builder_with_provider(provider(&environment.case))
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"hq-interop".to_vec()];
    config.enable_early_data = environment.case == "zerortt";
    config.key_log = Arc::new(KeyLogFile::new());
    Ok(QuicClientConfig::with_initial(Arc::new(config), initial_suite()?)?)
}

/// Initial packets are always of AES-128-GCM, whatever the case allows.
fn initial_suite() -> Result<Suite, Failure> {
    let suite = ring::cipher_suite::TLS13_AES_128_GCM_SHA256.tls13().and_then(|suite| suite.quic_suite());
    suite.ok_or_else(|| "no suite for Initial packets".into())
}

fn provider(case: &str) -> Arc<CryptoProvider> {
    let mut provider = ring::default_provider();
    if case == "chacha20" {
        provider.cipher_suites.retain(|suite| suite.suite() == CipherSuite::TLS13_CHACHA20_POLY1305_SHA256);
    }
    Arc::new(provider)
}

/// Trusts everybody.
#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
