//! The endpoint as a relay: who is forwarded to (traversal T-30…T-34).
//!
//! Decides nothing: [`Relay`] does. Called by the application with what it is configured and with verdicts on credentials.

use super::Endpoint;
use qbase::Timestamp;
use qtraversal::relay::{Relay, RelayConfig};
use rand_core::RngCore;
use std::net::SocketAddr;

/// The relay, if we are one.
#[derive(Debug, Default)]
pub(super) struct Service {
    relay: Option<Box<Relay>>,
}

impl Endpoint {
    /// Is a relay from now on, or none any more.
    pub fn serve_relay(&mut self, config: Option<RelayConfig>) {
        self.nat.relay.relay = config.map(|config| Box::new(Relay::new(config, self.random.next_u64())));
    }

    /// The relay, to register clients and to look at.
    pub fn relay(&mut self) -> Option<&mut Relay> {
        self.nat.relay.relay.as_deref_mut()
    }

    /// A client asked our STUN server over `local` and was answered there: it keeps its registration alive (traversal T-33).
    pub(super) fn on_stun_exchange(&mut self, _local: SocketAddr, client: SocketAddr, now: Timestamp) {
        if let Some(relay) = self.relay() {
            // There is room, or it was registered with nobody.
            let _ = relay.registrations_mut().on_keep_alive(client, now);
        }
    }
}
