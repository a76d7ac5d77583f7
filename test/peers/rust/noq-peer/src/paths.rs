//! Remembers every path of a connection, so that its counters are still there when it is gone.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use noq::{Connection, Path, PathEvent, PathId, Side};
use peer_common::report::PathReport;
use tokio_stream::StreamExt;

use crate::MAX_PATHS;

/// The paths seen so far.
#[derive(Clone, Default)]
pub struct Paths {
    seen: Arc<Mutex<Vec<Seen>>>,
}

struct Seen {
    path: Path,
    address: String,
    abandoned: bool,
}

impl Paths {
    /// Watches a connection from now on. Must be called on a tokio runtime.
    pub fn watch(connection: &Connection) -> Self {
        let paths = Self::default();
        let mut events = connection.path_events();
        // Quick peers open paths before anybody watches.
        for id in 0..MAX_PATHS {
            paths.add(connection, PathId::from(id));
        }
        let (watched, weak) = (paths.clone(), connection.weak_handle());
        tokio::spawn(async move {
            while let Some(event) = events.next().await {
                match event {
                    Ok(PathEvent::Established { id, .. }) => {
                        let Some(connection) = weak.upgrade() else { return };
                        watched.add(&connection, id);
                    }
                    Ok(PathEvent::Abandoned { id, .. }) => watched.on_abandoned(id),
                    _ => {}
                }
            }
        });
        paths
    }

    /// Facts of all of them.
    pub fn reports(&self) -> Vec<PathReport> {
        self.lock().iter().map(Seen::report).collect()
    }

    fn add(&self, connection: &Connection, id: PathId) {
        let mut seen = self.lock();
        if seen.iter().any(|seen| seen.path.id() == id) {
            return;
        }
        if let Some(path) = connection.path(id) {
            let address = client_address(connection, &path).map(|ip| ip.to_string()).unwrap_or_default();
            seen.push(Seen { path, address, abandoned: false });
        }
    }

    fn on_abandoned(&self, id: PathId) {
        for seen in self.lock().iter_mut().filter(|seen| seen.path.id() == id) {
            seen.abandoned = true;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn report(&self) -> PathReport {
        let stats = self.path.stats();
        PathReport {
            // The library shows an id only in words.
            id: self.path.id().to_string().parse().unwrap_or(u32::MAX),
            address: self.address.clone(),
            sent: stats.udp_tx.bytes,
            received: stats.udp_rx.bytes,
            abandoned: self.abandoned,
        }
    }
}

/// The client's address on a path; it does not know its own when the system chose it.
fn client_address(connection: &Connection, path: &Path) -> Option<IpAddr> {
    match connection.side() {
        Side::Client => path.local_ip().ok().flatten(),
        Side::Server => path.remote_address().ok().map(|address| address.ip()),
    }
}
