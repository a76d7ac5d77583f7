//! What the default check says of a peer, for an application that judges itself (`Verify::Ask`).
//!
//! Decides nothing: the application does, with this opinion in its hand. Called once, when TLS is done and the peer has
//! proved its key. Pins were checked while TLS ran.

use std::{fmt, sync::Arc};

use rustls::{
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    pki_types::{CertificateDer, ServerName},
    server::danger::ClientCertVerifier,
    time_provider::TimeProvider,
};

use crate::error::CertificateFault;

/// Which check is asked.
pub(super) enum Law {
    /// Chain, name and time of a server.
    Servers(Arc<WebPkiServerVerifier>),
    /// Chain and time of a client.
    Clients(Arc<dyn ClientCertVerifier>),
    /// A pin alone is trust, and one fits.
    Pins,
    /// There are neither anchors nor pins: everybody is a stranger.
    Nobody,
}

/// The default check and its clock. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Judge {
    law: Arc<Law>,
    time: Arc<dyn TimeProvider>,
}

impl Judge {
    pub(super) fn new(law: Law, time: Arc<dyn TimeProvider>) -> Self {
        Self { law: Arc::new(law), time }
    }

    /// Why the default check would refuse this chain, leaf first; `None`: it would accept. `name` is the one asked for.
    pub(crate) fn fault(&self, chain: &[CertificateDer<'_>], name: Option<&ServerName<'_>>) -> Option<String> {
        let Some((leaf, intermediates)) = chain.split_first() else {
            return Some(CertificateFault::Missing.name().to_owned());
        };
        let Some(now) = self.time.current_time() else { return Some("the time is not known".to_owned()) };
        let verdict = match (&*self.law, name) {
            (Law::Pins, _) => return None,
            (Law::Nobody, _) => return Some("nobody to trust: neither trust anchors nor pins".to_owned()),
            (Law::Servers(chain), Some(name)) => chain.verify_server_cert(leaf, intermediates, name, &[], now).map(drop),
            (Law::Servers(_), None) => return Some("the name asked for is not known".to_owned()),
            (Law::Clients(chain), _) => chain.verify_client_cert(leaf, intermediates, now).map(drop),
        };
        verdict.err().map(|error| match CertificateFault::of(&error) {
            Some(fault) => format!("{} ({error})", fault.name()),
            None => error.to_string(),
        })
    }
}

impl fmt::Debug for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Judge(..)")
    }
}
