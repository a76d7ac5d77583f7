//! Remembers every path of a connection, so that its counters are still there when it is gone.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use noq::{Connection, Path, PathEvent, PathId, PathStatus, Side};
use peer_common::report::PathReport;
use tokio_stream::StreamExt;

/// Ids looked at when the watch begins.
const FIRST_IDS: u32 = 8;

/// The paths seen so far.
#[derive(Clone, Default)]
pub struct Paths {
    seen: Arc<Mutex<Vec<Seen>>>,
}

struct Seen {
    id: PathId,
    /// `None`: it was gone before anybody could look.
    path: Option<Path>,
    address: String,
    abandoned: bool,
}

impl Paths {
    /// Watches a connection from now on. Must be called on a tokio runtime.
    pub fn watch(connection: &Connection) -> Self {
        let paths = Self::default();
        let mut events = connection.path_events();
        // Quick peers open paths before anybody watches.
        for id in 0..FIRST_IDS {
            paths.add(connection, PathId::from(id));
        }
        let (watched, weak) = (paths.clone(), connection.weak_handle());
        tokio::spawn(async move {
            let mut advice = BTreeMap::new();
            while let Some(event) = events.next().await {
                match event {
                    Ok(PathEvent::Established { id, .. }) => {
                        let Some(connection) = weak.upgrade() else { return };
                        watched.add(&connection, id);
                        follow(&connection, &mut advice, id);
                    }
                    Ok(PathEvent::Abandoned { id, .. }) => watched.on_abandoned(id),
                    // The library leaves it to its users whether the peer's advice is followed.
                    Ok(PathEvent::RemoteStatus { id, status, .. }) => {
                        let Some(connection) = weak.upgrade() else { return };
                        advice.insert(id, status);
                        follow(&connection, &mut advice, id);
                    }
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
        if seen.iter().any(|seen| seen.id == id) {
            return;
        }
        if let Some(path) = connection.path(id) {
            let address = client_address(connection, &path).map(|ip| ip.to_string()).unwrap_or_default();
            seen.push(Seen { id, path: Some(path), address, abandoned: false });
        }
    }

    fn on_abandoned(&self, id: PathId) {
        let mut seen = self.lock();
        match seen.iter_mut().find(|seen| seen.id == id) {
            Some(path) => path.abandoned = true,
            None => seen.push(Seen { id, path: None, address: String::new(), abandoned: true }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn report(&self) -> PathReport {
        let stats = self.path.as_ref().map(Path::stats).unwrap_or_default();
        PathReport {
            // The library shows an id only in words.
            id: self.id.to_string().parse().unwrap_or(u32::MAX),
            address: self.address.clone(),
            sent: stats.udp_tx.bytes,
            received: stats.udp_rx.bytes,
            stream_frames: Some(stats.frame_tx.stream + stats.frame_rx.stream),
            suspected: false,
            abandoned: self.abandoned,
        }
    }
}

/// Does as the peer advises as soon as there is such a path: advice may come before its first packet.
fn follow(connection: &Connection, advice: &mut BTreeMap<PathId, PathStatus>, id: PathId) {
    if let (Some(path), Some(status)) = (connection.path(id), advice.get(&id).copied())
        && path.set_status(status).is_ok()
    {
        advice.remove(&id);
    }
}

/// The client's address on a path; it does not know its own when the system chose it.
fn client_address(connection: &Connection, path: &Path) -> Option<IpAddr> {
    match connection.side() {
        Side::Client => path.local_ip().ok().flatten(),
        Side::Server => path.remote_address().ok().map(|address| address.ip()),
    }
}
