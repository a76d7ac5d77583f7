//! A second connection of the same pair: what the first one left behind is what it begins with.
//!
//! Called by tests of resumption and of settings that change while a server runs.

use std::{sync::Arc, time::Duration};

use qconnection::{ServerConfig, TransportConfig};

use super::{Pair, TlsPair};
use crate::failure::Failure;

/// Both ends have forgotten a closed connection after so long.
const FORGET: Duration = Duration::from_secs(60);

impl Pair {
    /// Runs until the handshake is confirmed and the client has tickets, then closes and waits until both ends forgot.
    ///
    /// # Errors
    /// A rule was broken, or it took too long.
    pub fn finish_first(&mut self) -> Result<(), Failure> {
        self.run_until_confirmed(FORGET)?;
        self.run_for(Duration::from_millis(500))?;
        self.hang_up()
    }

    /// The client closes, and both ends forget.
    ///
    /// # Errors
    /// A rule was broken, or it took too long.
    pub fn hang_up(&mut self) -> Result<(), Failure> {
        let now = self.now();
        if let Some(connection) = self.client_mut().connection_mut() {
            connection.close(now, 0, b"");
        }
        let gone = |pair: &Self| pair.client().endpoint().is_empty() && pair.server().endpoint().is_empty();
        self.run_until(gone, FORGET).map(|_| ())
    }

    /// The client dials again; both hosts begin with empty hands, but for the machine and its tickets.
    ///
    /// # Errors
    /// The machine refuses.
    pub fn redial(&mut self) -> Result<(), Failure> {
        self.client.start_over();
        self.server.start_over();
        self.connect().map_err(|fault| self.failure(&fault))
    }

    /// The TLS options in use.
    #[must_use]
    pub const fn tls(&self) -> &TlsPair {
        &self.tls
    }

    /// Other TLS options for connections from now on.
    ///
    /// # Errors
    /// They cannot be used.
    pub fn set_tls(&mut self, change: impl FnOnce(&mut TlsPair)) -> Result<(), Failure> {
        change(&mut self.tls);
        let (client, server) = (self.tls.client_tls(), self.tls.server_tls());
        let client = client.map_err(|fault| self.failure(&fault))?;
        let server = server.map_err(|fault| self.failure(&fault))?;
        self.dial = Arc::new(qconnection::ClientConfig { tls: client, ..(*self.dial).clone() });
        self.listening.tls = server;
        self.server.listen(self.listening.clone());
        Ok(())
    }

    /// Other transport settings of the server for connections from now on.
    pub fn set_server_transport(&mut self, transport: TransportConfig) {
        self.listening = ServerConfig { transport: Arc::new(transport), ..self.listening.clone() };
        self.server.listen(self.listening.clone());
    }
}
