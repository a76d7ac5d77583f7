//! Connections of our own (RFC 9000 §7.2).
//!
//! Called by the application. Checks everything that can be wrong before a byte is sent.

use super::{Endpoint, route::Route};
use crate::{
    config::ClientConfig,
    connection::{Birth, Connection, HandshakeCids},
    handle::ConnectionHandle,
};
use qbase::{FourTuple, PathId, Role, Timestamp, VERSION_1};
use qcrypto::Session;
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
        let local = self.new_cid();
        let original_dcid = self.new_cid();
        let mut parameters = config.transport.parameters();
        parameters.initial_source_connection_id = Some(local);
        let mut encoded = Vec::new();
        // A reserved parameter of the form 31 * N + 27 keeps peers tolerant (RFC 9000 §18.1).
        let grease = qbase::param::id::reserved(u64::from(original_dcid.as_bytes().first().copied().unwrap_or_default()));
        parameters.write(&mut encoded, Role::Client, Some(grease));
        let tls = Session::client(&config.tls, server_name, &encoded, VERSION_1)?;
        let handle = self.slots.reserve();
        let birth = Birth {
            handle,
            role: Role::Client,
            config: config.transport.clone(),
            tls,
            cids: HandshakeCids { original_dcid, local, remote: None },
            four_tuple,
            random: self.child_random(),
            reset_key: self.config.reset_key,
            now,
        };
        let mut connection = Box::new(Connection::new(birth));
        connection.adopt_local_cid(local);
        self.routes.insert(local, Route { handle, path: PathId::ZERO, sequence: 0 });
        self.slots.insert(connection);
        self.turns.mark(handle.index);
        Ok(handle)
    }
}
