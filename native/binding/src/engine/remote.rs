//! How remote addresses are told: those of ways through relays as `RELAY-OUTER` (traversal T-1, T-2).
//!
//! Inside of the endpoint such a way has an address that stands for it ([`StandIn`]), which means nothing outside. Called by
//! whatever tells an address.

use std::net::SocketAddr;

use qbase::{FourTuple, StandIn};
use qconnection::Endpoint;

/// The two addresses of a path as JavaScript reads them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// Ours.
    pub local: String,
    /// The peer's.
    pub remote: String,
}

impl Addresses {
    /// Of a path of a connection.
    #[must_use]
    pub fn of(endpoint: &Endpoint, four_tuple: FourTuple) -> Self {
        Self { local: four_tuple.local.to_string(), remote: remote_text(endpoint, four_tuple.remote) }
    }
}

/// Where a remote address leads; `None`: through a relay, by a way that is forgotten.
pub(super) fn remote_of(endpoint: &Endpoint, remote: SocketAddr) -> Option<qtraversal::Endpoint> {
    if StandIn::of(remote).is_none() {
        return Some(remote.into());
    }
    endpoint.pathway_of(FourTuple { local: remote, remote }).map(|pathway| pathway.remote)
}

/// A remote address in JavaScript's words; empty where nothing is known of it any more.
pub(super) fn remote_text(endpoint: &Endpoint, remote: SocketAddr) -> String {
    remote_of(endpoint, remote).map(|remote| remote.to_string()).unwrap_or_default()
}

/// A line for people, with the words for the addresses that stand for something.
pub(super) fn with_remotes(endpoint: &Endpoint, line: &str) -> String {
    let word = |word: &str| {
        let bare = word.trim_end_matches([',', ':', ';']);
        let address = bare.parse::<SocketAddr>().ok().filter(|address| StandIn::of(*address).is_some());
        address.map_or_else(|| word.to_owned(), |address| word.replace(bare, &remote_text(endpoint, address)))
    };
    line.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use qconnection::{EndpointConfig, endpoint::pathways::Registration};

    #[test]
    fn a_way_through_a_relay_is_told_by_relay_and_outer_address() {
        let address = |text: &str| text.parse::<SocketAddr>().expect("address");
        let mut endpoint = Endpoint::new(EndpointConfig::default(), [7; 32]);
        let (local, agent) = (address("10.0.0.2:4433"), address("192.0.2.1:4434"));
        let own = qtraversal::Endpoint::Agent { agent, outer: address("198.51.100.7:6000") };
        endpoint.add_registration(Registration { local, own }).expect("registered");
        let peer = qtraversal::Endpoint::Agent { agent, outer: address("203.0.113.9:7000") };
        let way = endpoint.pathway_to(local, peer).expect("way");
        assert!(StandIn::of(way.remote).is_some());
        let told = Addresses::of(&endpoint, way);
        assert_eq!((told.local.as_str(), told.remote.as_str()), ("10.0.0.2:4433", "192.0.2.1:4434-203.0.113.9:7000"));
        let line = with_remotes(&endpoint, &format!("path 0 {way:?} open:  rtt"));
        assert_eq!(line, "path 0 10.0.0.2:4433 -> 192.0.2.1:4434-203.0.113.9:7000 open:  rtt");
        assert!(with_remotes(&endpoint, &format!("waiting to open {way:?}: for ids")).contains("-203.0.113.9:7000: for"));
        assert_eq!(remote_text(&endpoint, agent), "192.0.2.1:4434");
        let forgotten = StandIn { number: 77, header: 26 }.address(agent);
        assert_eq!((remote_of(&endpoint, forgotten), remote_text(&endpoint, forgotten)), (None, String::new()));
    }
}
