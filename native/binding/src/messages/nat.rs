//! What crosses about NATs: one Rust type for each of `src/binding/nat-messages.ts` that concerns the endpoint.

use std::{fmt, net::SocketAddr};

use serde::{Deserialize, Serialize};

/// An address of a peer, which may lie behind a relay: `ip:port` or `RELAY-OUTER` (traversal T-1).
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "&str")]
pub struct Remote(pub qtraversal::Endpoint);

impl TryFrom<&str> for Remote {
    type Error = String;

    fn try_from(text: &str) -> Result<Self, String> {
        text.parse().map(Self).map_err(|error| format!("{text:?} is {error}"))
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// The order `register`: a relay knows a socket of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Register {
    /// The socket's address, as datagrams of the relay come in there.
    pub local: SocketAddr,
    /// The relay's.
    pub relay: SocketAddr,
    /// Ours, as the relay sees it.
    pub outer: SocketAddr,
}

/// The order `unregister`: it does not any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Unregister {
    /// The socket's address, as it was registered.
    pub local: SocketAddr,
    /// The relay's.
    pub relay: SocketAddr,
}

/// Payload of an EVENT record of the endpoint.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum NatEvent {
    /// A `register` that does nothing.
    RegisterRefused { at_ms: f64, local: String, relay: String, reason: String },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::orders::Order;

    #[test]
    fn orders_to_the_endpoint_are_read_as_javascript_writes_them() {
        let address = |text: &str| text.parse::<SocketAddr>().expect("address");
        let (local, relay) = (address("10.0.0.2:4433"), address("192.0.2.1:4434"));
        let register = r#"{"do":"register","local":"10.0.0.2:4433","relay":"192.0.2.1:4434","outer":"198.51.100.7:6000"}"#;
        let outer = address("198.51.100.7:6000");
        assert!(matches!(serde_json::from_str(register), Ok(Order::Register(order)) if order == Register { local, relay, outer }));
        let unregister = r#"{"do":"unregister","local":"10.0.0.2:4433","relay":"192.0.2.1:4434"}"#;
        assert!(matches!(serde_json::from_str(unregister), Ok(Order::Unregister(order)) if order == Unregister { local, relay }));
    }

    /// traversal T-1.
    #[test]
    fn an_address_of_a_peer_may_lie_behind_a_relay() {
        let direct: Remote = serde_json::from_str(r#""[2001:db8::1]:443""#).expect("address");
        assert_eq!(direct.0.agent(), None);
        let relayed: Remote = serde_json::from_str(r#""192.0.2.1:4434-198.51.100.7:6000""#).expect("address");
        assert_eq!((relayed.0.next_hop().port(), relayed.0.outer().port(), relayed.0.to_string().as_str()), (4_434, 6_000, "192.0.2.1:4434-198.51.100.7:6000"));
        for nonsense in ["", "192.0.2.1", "192.0.2.1:1-", "-192.0.2.1:1", "192.0.2.1:1-198.51.100.7:1-203.0.113.1:1"] {
            let error = serde_json::from_str::<Remote>(&format!("{nonsense:?}")).expect_err("refused");
            assert!(error.to_string().contains("`agent-outer`") && error.to_string().contains(nonsense), "{error}");
        }
    }
}
