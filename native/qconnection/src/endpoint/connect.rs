//! Connections of our own (RFC 9000 §7.2).
//!
//! Called by the application. Checks everything that can be wrong before a byte is sent.

use super::{Endpoint, route::Route};
use crate::{
    cid::CidShape,
    config::{ClientConfig, HandshakeMode},
    connection::{AddressProof, Birth, Candidate, Connection, Dial, HandshakeCids, Side},
    handle::ConnectionHandle,
};
use qbase::{FourTuple, PathId, Timestamp, limits, version};
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
    /// More address pairs than paths may be open.
    #[error("too many address pairs")]
    TooMany,
    /// TLS refuses the settings.
    #[error("TLS: {0}")]
    Tls(#[from] qcrypto::TlsError),
}

/// Whether packets can go between these addresses.
fn check(four_tuple: FourTuple) -> Result<(), ConnectError> {
    if !four_tuple.is_one_family() {
        return Err(ConnectError::MixedFamilies);
    }
    if four_tuple.remote.port() == 0 || four_tuple.remote.ip().is_unspecified() {
        return Err(ConnectError::BadRemote);
    }
    Ok(())
}

impl Endpoint {
    /// Starts a connection; events tell how it goes.
    ///
    /// # Errors
    /// The addresses or the TLS settings are unusable.
    pub fn connect(&mut self, now: Timestamp, config: &Arc<ClientConfig>, server_name: &str, four_tuple: FourTuple) -> Result<ConnectionHandle, ConnectError> {
        self.start(now, config, server_name, four_tuple)
    }

    /// Starts a connection over one of several address pairs, the best one first (multipath section N). What becomes of
    /// the others each says; the request of pair n (from 0) has the ticket n.
    ///
    /// # Errors
    /// An address or the TLS settings are unusable.
    pub fn connect_over(&mut self, now: Timestamp, config: &Arc<ClientConfig>, server_name: &str, candidates: &[Candidate]) -> Result<ConnectionHandle, ConnectError> {
        candidates.iter().try_for_each(|candidate| check(candidate.four_tuple))?;
        let (first, further) = candidates.split_first().ok_or(ConnectError::BadRemote)?;
        if further.len() > limits::OPEN_PATHS {
            return Err(ConnectError::TooMany);
        }
        let handle = self.start(now, config, server_name, first.four_tuple)?;
        let mut further = further;
        let rivals = candidates.get(..candidates.len().min(config.transport.max_candidates)).unwrap_or_default();
        if config.transport.handshake == HandshakeMode::Independent && rivals.len() > 1 {
            self.start_rivals(now, config, server_name, rivals, handle);
            further = candidates.get(rivals.len()..).unwrap_or_default();
        }
        let Some(connection) = self.slots.get_mut(handle) else { return Ok(handle) };
        connection.set_first_use(first.afterwards);
        for candidate in further {
            // What could be refused was asked above.
            let _ = connection.add_candidate(now, *candidate);
        }
        Ok(handle)
    }

    /// Starts one attempt.
    pub(super) fn start(&mut self, now: Timestamp, config: &Arc<ClientConfig>, server_name: &str, four_tuple: FourTuple) -> Result<ConnectionHandle, ConnectError> {
        check(four_tuple)?;
        let version = config.first_version.or_else(|| config.versions.first().copied());
        let version = version.filter(|version| version::is_spoken(*version) || version::is_reserved(*version));
        let version = version.ok_or(ConnectError::NoVersion)?;
        let local = self.new_cid();
        // Not ours, and of no server's shape: the server chooses another one for itself.
        let original_dcid = CidShape::default().draw(&mut self.random);
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
            shape: self.shape,
            reset_key: self.reset_key,
            now,
            window,
            polarities: Arc::clone(&self.polarities),
        };
        let mut connection = Box::new(Connection::new(birth));
        connection.adopt_local_cid(local);
        self.begin_log(now, &mut connection);
        self.routes.insert(local, Route { handle, path: PathId::ZERO, sequence: 0 });
        self.slots.insert(connection);
        self.dialled.push(handle);
        self.turns.mark(handle.index);
        Ok(handle)
    }
}
