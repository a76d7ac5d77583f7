//! Who the ends of a pair are: keys and certificates out of the seed.
//!
//! Called once for each pair. Never draws from the system: the same seed signs with the same key.

use std::time::Duration;

use qcrypto::{ClientTls, ClientTlsOptions, Identity, Pin, Provider, ServerTls, ServerTlsOptions, development};

use super::{ALPN, SERVER_NAME};
use crate::{failure::Fault, random::Random};

/// Time of day in every world: 2025-01-01.
const UNIX_TIME: Duration = Duration::from_secs(1_735_689_600);

/// TLS settings of both ends: an Ed25519 identity that the client trusts by its pin.
pub(super) fn tls(random: &mut Random) -> Result<(ClientTls, ServerTls), Fault> {
    fn setup(error: impl std::fmt::Display) -> Fault {
        Fault::Setup(error.to_string())
    }
    let certificate = development::seeded(&random.seed(), &[SERVER_NAME.to_owned()], 365, UNIX_TIME).map_err(setup)?;
    let identity =
        Identity::from_pem(certificate.cert_pem.as_bytes(), certificate.key_pem.as_bytes()).map_err(setup)?;
    let provider = Provider::Seeded { seed: random.seed(), unix_time: UNIX_TIME };
    let client = ClientTls::new(&ClientTlsOptions {
        pins: vec![Pin::of_certificate(&certificate.cert_der)],
        alpn: vec![ALPN.to_vec()],
        provider: provider.clone(),
        ..ClientTlsOptions::default()
    });
    let server = ServerTls::new(&ServerTlsOptions {
        identity: Some(identity),
        alpn: vec![ALPN.to_vec()],
        provider,
        ..ServerTlsOptions::default()
    });
    Ok((client.map_err(setup)?, server.map_err(setup)?))
}
