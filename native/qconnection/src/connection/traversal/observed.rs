//! OBSERVED_ADDRESS, both ways: each path's peer is told once how it is seen there, and anew when that changes
//! (draft-ietf-quic-address-discovery §3, §4; attacks G6).
//!
//! Called once a turn, by the burst sources and by the fate of packets. Never tells through a relay, where nobody is seen, and never
//! who did not ask. What the peer says is passed on as what it is, a hint.

use crate::{
    burst::{record::SentFrame, sources::Frames},
    connection::Connection,
};
use qbase::{PathId, StandIn, limits, param::AddressDiscovery};
use qtraversal::{TraversalFrame, frame::ObservedAddress};
use std::net::SocketAddr;

/// What is said and was heard, by path.
#[derive(Debug, Default)]
pub(super) struct Observed {
    /// Number of the newest frame of ours.
    seq: u64,
    told: Vec<Told>,
    /// Numbers of the newest frames of the peer.
    heard: Vec<(PathId, u64)>,
}

#[derive(Clone, Copy, Debug)]
struct Told {
    path: PathId,
    address: SocketAddr,
    seq: u64,
    owed: Owed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owed {
    Yes,
    No,
}

impl Observed {
    /// The frame of a path with this number is newer than those before.
    pub(super) fn is_news(&mut self, path: PathId, seq: u64) -> bool {
        match self.heard.iter_mut().find(|(known, _)| *known == path) {
            Some((_, newest)) if *newest >= seq => return false,
            Some((_, newest)) => *newest = seq,
            None => {
                // Paths end; the oldest is forgotten.
                if self.heard.len() >= limits::OPEN_PATHS {
                    self.heard.remove(0);
                }
                self.heard.push((path, seq));
            }
        }
        true
    }

    fn tell(&mut self, path: PathId, address: SocketAddr) {
        if self.told.iter().any(|told| told.path == path && told.address == address) {
            return;
        }
        self.told.retain(|told| told.path != path);
        let seq = self.seq;
        self.seq = seq.saturating_add(1);
        self.told.push(Told { path, address, seq, owed: Owed::Yes });
    }
}

impl Connection {
    /// Peers of new paths, and of paths that moved, are to be told.
    pub(super) fn mind_observations(&mut self) {
        let ours = AddressDiscovery::Both;
        let Some(part) = self.traversal.as_mut().filter(|_| self.handshake_complete && ours.may_observe(self.peer_parameters.address_discovery)) else { return };
        for entry in self.paths.iter().filter(|entry| entry.is_live()) {
            let Some(remote) = entry.network.as_deref().map(|network| network.four_tuple.remote) else { continue };
            if StandIn::of(remote).is_none() {
                part.observed.tell(entry.id, SocketAddr::new(remote.ip().to_canonical(), remote.port()));
            }
        }
        let Self { paths, .. } = self;
        part.observed.told.retain(|told| paths.get(told.path).is_some_and(|entry| entry.is_live()));
    }

    /// The peer is to be told what we see of it on this path.
    #[inline]
    pub(in crate::connection) fn owes_observation(&self, path: PathId) -> bool {
        self.traversal.as_ref().is_some_and(|part| part.observed.told.iter().any(|told| told.path == path && told.owed == Owed::Yes))
    }

    /// Writes the frame of this path.
    pub(crate) fn write_observation(&mut self, path: PathId, frames: &mut Frames<'_, '_>) {
        let Some(part) = &mut self.traversal else { return };
        let Some(told) = part.observed.told.iter_mut().find(|told| told.path == path && told.owed == Owed::Yes) else { return };
        let frame = TraversalFrame::ObservedAddress(ObservedAddress { seq: told.seq, address: told.address });
        let Ok(encoded) = part.profile.codec().encode(&frame) else { return };
        if frames.put(encoded.bytes().len(), SentFrame::Observed { path, seq: told.seq }, |writer| writer.bytes(encoded.bytes())) {
            told.owed = Owed::No;
        }
    }

    /// It was lost: it goes again on the same path, unless a newer one has.
    pub(in crate::connection) fn on_observation_lost(&mut self, path: PathId, seq: u64) {
        let told = self.traversal.as_mut().and_then(|part| part.observed.told.iter_mut().find(|told| told.path == path && told.seq == seq));
        if let Some(told) = told {
            told.owed = Owed::Yes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_observation_of_a_path_is_no_news_and_few_paths_are_remembered() {
        let mut observed = Observed::default();
        assert!(observed.is_news(PathId(0), 3));
        assert!(!observed.is_news(PathId(0), 3) && !observed.is_news(PathId(0), 2));
        assert!(observed.is_news(PathId(0), 4) && observed.is_news(PathId(1), 0));
        (2..100).for_each(|path| assert!(observed.is_news(PathId(path), 0)));
        assert_eq!(observed.heard.len(), limits::OPEN_PATHS);
    }

    #[test]
    fn a_path_is_told_once_and_anew_when_its_address_changes() {
        let mut observed = Observed::default();
        let at = |port| SocketAddr::from(([192, 0, 2, 1], port));
        for port in [1, 1, 2, 2] {
            observed.tell(PathId(0), at(port));
        }
        assert_eq!((observed.seq, observed.told.len()), (2, 1));
        assert_eq!(observed.told[0].address, at(2));
    }
}
