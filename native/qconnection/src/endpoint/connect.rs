//! Connections of our own (RFC 9000 §7.2).
//!
//! Called by the application. Checks everything that can be wrong before a byte is sent.

use super::{Endpoint, route::Route};
use crate::{
    config::ClientConfig,
    connection::{AddressProof, Birth, Connection, Dial, HandshakeCids, Side},
    handle::ConnectionHandle,
};
use qbase::{FourTuple, PathId, Timestamp, version};
use std::sync::Arc;

/// Why a connection cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Local and remote address are of different IP versions.
    #[error("local and remote address are of different families")]
    MixedFamilies,
    /// The remote port is 0 or its address unspecified.
    #[error("the remote address cannot be reached")]
    BadRemote,
    /// The first of the versions to offer is not spoken here, or there is none.
    #[error("no QUIC version to begin with")]
    NoVersion,
    /// TLS refuses the settings.
    #[error("TLS: {0}")]
    Tls(#[from] qcrypto::TlsError),
}

impl Endpoint {
    /// Starts a connection; events tell how it goes.
    ///
    /// # Errors
    /// The addresses or the TLS settings are unusable.
    pub fn connect(&mut self, now: Timestamp, config: &Arc<ClientConfig>, server_name: &str, four_tuple: FourTuple) -> Result<ConnectionHandle, ConnectError> {
        if !four_tuple.is_one_family() {
            return Err(ConnectError::MixedFamilies);
        }
        if four_tuple.remote.port() == 0 || four_tuple.remote.ip().is_unspecified() {
            return Err(ConnectError::BadRemote);
        }
        let version = config.first_version.or_else(|| config.versions.first().copied());
        let version = version.filter(|version| version::is_spoken(*version) || version::is_reserved(*version));
        let version = version.ok_or(ConnectError::NoVersion)?;
        let local = self.new_cid();
        let original_dcid = self.new_cid();
        let cids = HandshakeCids { original_dcid, retry: None, local, remote: None, preferred: None };
        let port = four_tuple.remote.port();
        let window = self.pool.reserve_window(config.transport.connection_window);
        let dial = Dial { config: Arc::clone(config), server_name: server_name.to_owned(), port, window };
        let tls = match dial.session(&cids, version) {
            Ok(tls) => tls,
            Err(error) => {
                self.pool.release_window(window);
                return Err(error.into());
            }
        };
        let handle = self.slots.reserve();
        let birth = Birth {
            handle,
            side: Side::Client(Box::new(dial)),
            version,
            tls,
            cids,
            four_tuple,
            address: AddressProof::Chosen,
            random: self.child_random(),
            reset_key: self.reset_key,
            now,
            window,
        };
        let mut connection = Box::new(Connection::new(birth));
        connection.adopt_local_cid(local);
        self.begin_log(now, &mut connection);
        self.routes.insert(local, Route { handle, path: PathId::ZERO, sequence: 0 });
        self.slots.insert(connection);
        self.turns.mark(handle.index);
        Ok(handle)
    }
}
