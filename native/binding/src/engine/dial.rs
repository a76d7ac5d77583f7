//! Sockets and what is opened over them: connections of our own, and further paths.
//!
//! Decides which socket a path leaves by: the one that is bound to its own address, else one of its family, bound when
//! there is none yet; to a peer behind a relay by one that a relay knows. Failures reach JavaScript as the end of the connection or of the path.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use qbase::{FourTuple, Timestamp};
use qconnection::{
    Connection as Machine, Endpoint,
    connection::{Afterwards, Candidate, OpenPathError, PathTicket},
    endpoint::pathways::{NoPathway, Registration},
};
use qdriver::{Io, drive::SocketFacts};

use super::{Engine, connection::Connection, paths::leaves_by, remote::{remote_of, remote_text}};
use crate::{
    error::NativeError,
    failures::bind_failure,
    messages::{events::Event, nat::Remote, orders::PathSpec},
    options::connect::Dial,
};

impl Engine {
    /// Starts a connection; JavaScript knows its key.
    pub(super) fn dial(&mut self, io: &mut Io<'_>, key: u32, dial: Dial) {
        let page = self.link.pages.connection(key);
        let ways = self.ways(io, &dial);
        let handle = ways.as_ref().map_err(Clone::clone).and_then(|ways| {
            io.endpoint.connect_over(io.now, &dial.config, &dial.server_name, ways).map_err(|error| {
                let remote = ways.first().map(|pair| remote_text(io.endpoint, pair.four_tuple.remote)).unwrap_or_default();
                NativeError::new("QB_NO_PATH", format!("no connection to {remote}: {error}; check the address"))
            })
        });
        let handle = match handle {
            Ok(handle) => handle,
            Err(error) => return self.tell_stillborn(io.now, key, error),
        };
        let mut connection = Connection::new(key, handle, dial.id, dial.transport, page);
        connection.mode = dial.mode;
        connection.server_name = Some(dial.server_name);
        // The request of pair n has the ticket n.
        for (number, pair) in (0..).zip(ways.unwrap_or_default()) {
            if matches!(pair.afterwards, Afterwards::Path(_)) {
                connection.tickets.push((PathTicket(number), None));
            }
        }
        self.table.insert(connection);
        self.tell_early_start(io, key);
        self.hold_for_early_data(io, key);
    }

    /// The address pairs that the handshake may take: each path's to the best remote of its family,
    /// then those to the server's other addresses, which are for the handshake only.
    fn ways(&mut self, io: &mut Io<'_>, dial: &Dial) -> Result<Vec<Candidate>, NativeError> {
        let mut ways = Vec::new();
        let mut places = Vec::new();
        for spec in &dial.paths {
            places.push(ways.len());
            match self.way(io, spec, spec.remote.map(|remote| remote.0).or_else(|| remote_for(spec, &dial.remotes))) {
                Ok(four_tuple) => ways.push(Candidate { four_tuple, afterwards: Afterwards::Path(spec.terms()) }),
                Err(error) if ways.is_empty() => return Err(error),
                // The others do without it.
                Err(_) => {}
            }
        }
        for (spec, place) in dial.paths.iter().zip(places).filter(|(spec, _)| spec.remote.is_none()) {
            let first = remote_for(spec, &dial.remotes);
            let fits = |remote: &qtraversal::Endpoint| Some(*remote) != first && spec.local.is_none_or(|local| local.is_ipv4() == remote.is_ipv4());
            for remote in dial.remotes.iter().map(|remote| remote.0).filter(fits) {
                // An address that cannot be reached from here is none to try.
                if ways.len() < dial.config.transport.max_candidates
                    && let Ok(four_tuple) = self.way(io, spec, Some(remote))
                {
                    ways.push(Candidate { four_tuple, afterwards: Afterwards::InsteadOf(place) });
                }
            }
        }
        Ok(ways)
    }

    fn way(&mut self, io: &mut Io<'_>, spec: &PathSpec, remote: Option<qtraversal::Endpoint>) -> Result<FourTuple, NativeError> {
        let remote = remote.ok_or_else(|| NativeError::new("QB_NO_PATH", "no address of the server has the family of the first path; name another local address"))?;
        match remote {
            qtraversal::Endpoint::Direct(remote) => Ok(FourTuple { local: self.local_for(io, spec, remote)?, remote }),
            qtraversal::Endpoint::Agent { .. } => way_over_relay(io, spec, remote),
        }
    }

    /// Opens a further path; it waits in the machine until it can be.
    pub(super) fn open_path(&mut self, io: &mut Io<'_>, key: u32, ticket: Option<u64>, spec: &PathSpec) {
        let result = self.try_open_path(io, key, ticket, spec);
        if let (Err(error), Some(ticket)) = (result, ticket) {
            let at_ms = self.out.at_ms(io.now);
            self.out.event(key, &Event::PathFailed { at_ms, ticket, error });
        }
    }

    fn try_open_path(&mut self, io: &mut Io<'_>, key: u32, ticket: Option<u64>, spec: &PathSpec) -> Result<(), NativeError> {
        let gone = || NativeError::connection_closed();
        let handle = self.table.get(key).ok_or_else(gone)?.handle;
        let machine = io.endpoint.connection(handle).ok_or_else(gone)?;
        let remote = spec.remote.map(|remote| remote.0).or_else(|| usual_remote(io.endpoint, machine)).ok_or_else(gone)?;
        let four_tuple = self.way(io, spec, Some(remote))?;
        let connection = self.table.get_mut(key).ok_or_else(gone)?;
        let machine = io.endpoint.connection_mut(handle).ok_or_else(gone)?;
        let own = machine.open_path(io.now, four_tuple, spec.terms()).map_err(refusal)?;
        connection.tickets.push((own, ticket));
        Ok(())
    }

    /// The local address of a path: of its own socket if it names one, else "whatever the socket picks".
    fn local_for(&mut self, io: &mut Io<'_>, spec: &PathSpec, remote: SocketAddr) -> Result<SocketAddr, NativeError> {
        let any = any_address(remote);
        let wanted = spec.local.unwrap_or(any);
        if wanted.is_ipv4() != remote.is_ipv4() {
            return Err(NativeError::new("QB_NO_PATH", format!("{wanted} and {remote} are of different families; use addresses of one")));
        }
        let preferred = io.source_for(remote);
        let serves = |facts: &SocketFacts| {
            let place = match spec.local.or(preferred) {
                Some(local) => facts.local.ip() == local.ip() && (local.port() == 0 || facts.local.port() == local.port()),
                None => facts.local.is_ipv4() == remote.is_ipv4(),
            };
            place && facts.interface == spec.interface
        };
        let bound = io.sockets().find(serves).map(|facts| facts.local);
        if let Some(local) = bound {
            return Ok(local);
        }
        let facts = io.bind(&self.sockets.socket(wanted, spec.interface.clone())).map_err(|error| bind_failure(&error))?;
        self.tell_bound(io.now, &facts, "a path needs it");
        self.link.set_local(io.sockets().map(|facts| facts.local.to_string()).collect());
        Ok(facts.local)
    }

    /// A socket was bound.
    pub(super) fn tell_bound(&mut self, now: Timestamp, facts: &SocketFacts, reason: &'static str) {
        let (at_ms, local) = (self.out.at_ms(now), facts.local.to_string());
        self.out.event(0, &Event::Bound { at_ms, local: local.clone(), reason });
        for (wanted, got) in [(facts.wanted.send, facts.granted.send), (facts.wanted.receive, facts.granted.receive)] {
            if got < wanted {
                self.out.event(0, &Event::BufferClamped { at_ms, local: local.clone(), wanted_bytes: wanted, got_bytes: got });
            }
        }
    }
}

/// The first remote that a path can reach from the address it names.
fn remote_for(spec: &PathSpec, remotes: &[Remote]) -> Option<qtraversal::Endpoint> {
    remotes.iter().map(|remote| remote.0).find(|remote| spec.local.is_none_or(|local| local.is_ipv4() == remote.is_ipv4()))
}

/// Where a path leads that names no remote: to where another of the connection leads, directly if one does.
fn usual_remote(endpoint: &Endpoint, machine: &Machine) -> Option<qtraversal::Endpoint> {
    let mut remotes: Vec<_> = machine.paths().filter_map(|path| remote_of(endpoint, path.four_tuple.remote)).collect();
    remotes.sort_by_key(qtraversal::Endpoint::is_relayed);
    remotes.first().copied()
}

/// The way to a peer behind a relay, from a socket that a relay knows: the peer's own relay if that one does.
fn way_over_relay(io: &mut Io<'_>, spec: &PathSpec, remote: qtraversal::Endpoint) -> Result<FourTuple, NativeError> {
    let leaves_from = |local: SocketAddr| {
        let is_named = spec.local.is_none_or(|named| (named.ip().is_unspecified() || named.ip() == local.ip()) && (named.port() == 0 || named.port() == local.port()));
        is_named && (spec.interface.is_none() || io.sockets().any(|socket| leaves_by(socket.local, local) && socket.interface == spec.interface))
    };
    let fits = |known: &&Registration| known.own.is_ipv4() == remote.is_ipv4() && leaves_from(known.local);
    let shared = io.endpoint.registrations().filter(fits).find(|known| known.own.agent() == remote.agent());
    let local = shared.or_else(|| io.endpoint.registrations().find(fits)).map(|known| known.local);
    let way = local.ok_or(NoPathway::NotRegistered).and_then(|local| io.endpoint.pathway_to(local, remote));
    way.map_err(|error| {
        let what = match error {
            NoPathway::NotRegistered => "a socket of this endpoint must be registered with a relay of that family first, so that the peer can answer (registerRelay)",
            NoPathway::TooMany => "close connections over relays",
            NoPathway::Unusable(_) | NoPathway::Direct => "name it RELAY-OUTER with two public addresses of one family",
        };
        NativeError::new("QB_NO_PATH", format!("no way to {remote}: {error}; {what}")).with(|facts| {
            facts.field = Some("remote".to_owned());
            facts.value = Some(remote.to_string().into());
        })
    })
}

/// Every address of a remote's family, any port.
pub(super) const fn any_address(remote: SocketAddr) -> SocketAddr {
    let ip = if remote.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    SocketAddr::new(ip, 0)
}

/// Why the machine does not open a path.
fn refusal(error: OpenPathError) -> NativeError {
    let (code, hint) = match error {
        OpenPathError::ServerRole => ("QB_PATH_ROLE", "open it at the other end"),
        OpenPathError::NoMultipath | OpenPathError::TooMany => ("QB_PATH_LIMIT", "use the paths there are"),
        OpenPathError::LastPath => ("QB_PATH_LAST", "close() ends the connection"),
        OpenPathError::Unknown => ("QB_PATH_UNKNOWN", "connection.paths lists those there are"),
        OpenPathError::MixedFamilies => ("QB_OPTION_INVALID", "use addresses of one family"),
        OpenPathError::Closed => ("QB_CONNECTION_CLOSED", "open a new connection"),
    };
    NativeError::new(code, format!("{error}; {hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("address")
    }

    #[test]
    fn a_path_goes_to_the_first_remote_of_its_family() {
        let remotes = ["[::1]:1", "127.0.0.1:1"].map(|text| Remote(text.parse().expect("address")));
        let from = |local: Option<&str>| remote_for(&PathSpec { local: local.map(address), ..PathSpec::default() }, &remotes);
        assert_eq!(from(None), Some(remotes[0].0));
        assert_eq!(from(Some("127.0.0.2:0")), Some(remotes[1].0));
        assert_eq!(from(Some("[::1]:0")), Some(remotes[0].0));
    }

    #[test]
    fn any_address_has_the_family_of_the_remote() {
        assert_eq!(any_address(address("192.0.2.1:4433")), address("0.0.0.0:0"));
        assert_eq!(any_address(address("[2001:db8::1]:4433")), address("[::]:0"));
    }
}
