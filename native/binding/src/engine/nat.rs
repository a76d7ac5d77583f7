//! What the endpoint does about NATs for JavaScript: relays that know its sockets.
//!
//! Decides nothing: the machine refuses what cannot be. Called by the commands.

use std::net::SocketAddr;

use qconnection::endpoint::pathways::{NoPathway, Registration};
use qdriver::Io;
use qtraversal::address::Unusable;

use super::Engine;
use crate::messages::{
    events::Event,
    nat::{NatEvent, Register, Unregister},
};

impl Engine {
    /// A relay knows a socket of ours; what cannot be is told.
    pub(super) fn register(&mut self, io: &mut Io<'_>, order: Register) {
        let Register { local, relay, outer } = order;
        let own = qtraversal::Endpoint::Agent { agent: relay, outer };
        let added = place_of(io, local, relay).and_then(|local| io.endpoint.add_registration(Registration { local, own }));
        if let Err(error) = added {
            let at_ms = self.out.at_ms(io.now);
            let event = NatEvent::RegisterRefused { at_ms, local: local.to_string(), relay: relay.to_string(), reason: error.to_string() };
            self.out.event(0, &Event::Nat(event));
        }
    }
}

/// A relay does not know a socket of ours any more.
pub(super) fn unregister(io: &mut Io<'_>, order: Unregister) {
    if let Ok(local) = place_of(io, order.local, order.relay) {
        io.endpoint.remove_registration(local, order.relay);
    }
}

/// The address of ours that datagrams of a relay come in at.
fn place_of(io: &mut Io<'_>, local: SocketAddr, relay: SocketAddr) -> Result<SocketAddr, NoPathway> {
    if !local.ip().is_unspecified() {
        return Ok(local);
    }
    let source = io.source_for(relay).ok_or(NoPathway::Unusable(Unusable::Unspecified))?;
    Ok(SocketAddr::new(source.ip(), local.port()))
}
