//! Connection id → connection, path id and sequence number (RFC 9000 §5.2; multipath MP-18).
//!
//! Called for every datagram, so the id used last is remembered. Ids of a client's first packets are chosen by strangers:
//! the table's hash is keyed with the endpoint's seed. The table is never iterated.

use crate::handle::ConnectionHandle;
use qbase::{ConnectionId, PathId};
use std::{
    collections::HashMap,
    hash::{BuildHasher, DefaultHasher, Hasher},
};

/// Where packets with one of our connection ids belong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The connection.
    pub handle: ConnectionHandle,
    /// The path id the connection id was issued for.
    pub path: PathId,
    /// Its sequence number; [`ORIGINAL`] for the client's own choice of its first DCID.
    pub sequence: u64,
}

/// Sequence number of a route that was never issued: the client's first DCID.
pub const ORIGINAL: u64 = u64::MAX;

/// SipHash keyed by the endpoint's seed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seeded(pub(super) u64);

impl BuildHasher for Seeded {
    type Hasher = DefaultHasher;

    fn build_hasher(&self) -> DefaultHasher {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.0);
        hasher
    }
}

/// The table.
#[derive(Debug)]
pub(super) struct Routes {
    table: HashMap<ConnectionId, Route, Seeded>,
    last: Option<(ConnectionId, Route)>,
}

impl Routes {
    pub(super) fn new(seed: u64) -> Self {
        Self { table: HashMap::with_hasher(Seeded(seed)), last: None }
    }

    pub(super) fn find(&mut self, dcid: &[u8]) -> Option<Route> {
        if let Some((cid, route)) = &self.last
            && cid.as_bytes() == dcid
        {
            return Some(*route);
        }
        let cid = ConnectionId::new(dcid)?;
        let route = *self.table.get(&cid)?;
        self.last = Some((cid, route));
        Some(route)
    }

    pub(super) fn insert(&mut self, cid: ConnectionId, route: Route) {
        self.table.insert(cid, route);
        self.last = None;
    }

    /// Removes an id if it still belongs to this connection.
    pub(super) fn remove(&mut self, cid: &ConnectionId, handle: ConnectionHandle) {
        if self.table.get(cid).is_some_and(|route| route.handle == handle) {
            self.table.remove(cid);
            self.last = None;
        }
    }

    /// An id of the connection `before` belongs to another slot now.
    pub(super) fn rename(&mut self, cid: &ConnectionId, before: ConnectionHandle, route: Route) {
        if let Some(known) = self.table.get_mut(cid).filter(|known| known.handle == before) {
            *known = route;
            self.last = None;
        }
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removed_id_is_not_found_by_the_shortcut_either() {
        let mut routes = Routes::new(7);
        let cid = ConnectionId::new(&[1; 8]).expect("eight bytes");
        let handle = ConnectionHandle { index: 0, generation: 0 };
        routes.insert(cid, Route { handle, path: PathId(2), sequence: 1 });
        assert_eq!(routes.find(&[1; 8]).map(|route| route.path), Some(PathId(2)));
        routes.remove(&cid, ConnectionHandle { index: 0, generation: 1 });
        assert!(routes.find(&[1; 8]).is_some(), "another connection's handle removes nothing");
        routes.remove(&cid, handle);
        assert_eq!(routes.find(&[1; 8]), None);
        assert_eq!(routes.len(), 0);
    }
}
