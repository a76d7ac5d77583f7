//! Probes: packets of one frame, straight from a chosen socket to a chosen address (traversal T-85, T-86, T-89, T-102; attacks G7).
//!
//! Decides on which path id such a packet is numbered and which connection id of the peer it carries. Called by the drive (new ones)
//! and by the output, before anything else. Never counts in a congestion window, never repeats, never uses an id twice after its
//! round.

use super::{Part, TraversalState};
use crate::{
    burst::{self, Burst},
    connection::Connection,
    path::{PathSet, PathState},
};
use qbase::{ConnectionId, Ecn, FourTuple, PathId, StandIn, Timestamp, limits};
use qtraversal::{frame::PunchId, punch::Probe};

/// Connection ids of the peer that probes of one pair carry.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) id: PunchId,
    path: PathId,
    /// Their numbers, and whether a probe carried them.
    cids: Vec<(u64, Carried)>,
    /// The round is over: they are given back then.
    pub(super) until: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Carried {
    No,
    Yes,
}

impl Part {
    pub(super) fn queue_probe(&mut self, probe: Probe) {
        let is_sendable = self.sockets.is_there(probe.from) && !StandIn::is_claimed(probe.to.ip());
        if is_sendable && self.probes.len() < limits::PROBES_WAITING {
            self.probes.push_back(probe);
        }
    }

    /// Takes spare connection ids for a round: all but one, which a path may need (traversal T-86).
    pub(super) fn keep_cids(&mut self, id: PunchId, paths: &mut PathSet) {
        let Some(path) = numbering_path(paths) else { return };
        let Some(entry) = paths.get_mut(path) else { return };
        self.kept.retain(|kept| kept.id != id || kept.until.is_some());
        let mut cids = Vec::new();
        while entry.remote_cids.available() > 1 {
            let Some(taken) = entry.remote_cids.take_unused() else { break };
            cids.push((taken.sequence, Carried::No));
        }
        if !cids.is_empty() {
            self.kept.push(Kept { id, path, cids, until: None });
        }
    }

    /// Ids of rounds that are over go: those that were seen are retired, the others are spare again (RFC 9000 §9.5).
    /// `true`: some went.
    pub(super) fn release_kept(&mut self, now: Timestamp, paths: &mut PathSet) -> bool {
        let before = self.kept.len();
        self.kept.retain(|kept| {
            if kept.until.is_none_or(|until| until > now) {
                return true;
            }
            if let Some(entry) = paths.get_mut(kept.path) {
                for (sequence, carried) in &kept.cids {
                    match carried {
                        Carried::Yes => entry.remote_cids.retire(*sequence),
                        Carried::No => entry.remote_cids.give_back(*sequence),
                    }
                }
            }
            false
        });
        self.kept.len() < before
    }

    /// The id for a probe on `path`: the n-th that was kept for the n-th destination, the last one for all further.
    fn cid_for(&mut self, probe: &Probe, path: PathId, paths: &PathSet) -> Option<ConnectionId> {
        let entry = paths.get(path)?;
        let kept = self.kept.iter_mut().find(|kept| kept.id == probe.id && kept.path == path);
        let kept = kept.and_then(|kept| {
            let last = kept.cids.len().checked_sub(1)?;
            let (sequence, carried) = kept.cids.get_mut(usize::from(probe.destination).min(last))?;
            *carried = Carried::Yes;
            entry.remote_cids.cid_of(*sequence)
        });
        kept.or_else(|| entry.remote_cids.active())
    }
}

/// The path id whose numbers probes have: the first that is open, proved and free (traversal T-102).
fn numbering_path(paths: &PathSet) -> Option<PathId> {
    let is_fit = |entry: &&crate::path::PathEntry| {
        let network = entry.network.as_deref();
        entry.state == PathState::Open && entry.remote_cids.active().is_some() && network.is_some_and(|network| network.amplification.is_validated() && !network.pending.open)
    };
    paths.iter().find(is_fit).map(|entry| entry.id)
}

impl Connection {
    /// The next probe, if one waits whose socket is open.
    #[inline]
    pub(in crate::connection) fn poll_probe(&mut self, now: Timestamp, buffer: &mut [u8]) -> Option<Burst> {
        if self.traversal.as_ref().is_none_or(|part| part.probes.is_empty()) {
            return None;
        }
        self.write_probe(now, buffer)
    }

    fn write_probe(&mut self, now: Timestamp, buffer: &mut [u8]) -> Option<Burst> {
        let path = numbering_path(&self.paths)?;
        let Self { traversal, paths, .. } = self;
        let part = traversal.as_mut().filter(|part| part.state == TraversalState::On)?;
        let at = part.probes.iter().position(|probe| part.sockets.local(probe.from).is_some())?;
        let probe = part.probes.remove(at)?;
        let local = part.sockets.local(probe.from)?;
        let four_tuple = FourTuple { local, remote: probe.to };
        let dcid = part.cid_for(&probe, path, paths)?;
        // What the machine makes, its profile can say.
        let encoded = part.profile.codec().encode(&probe.frame).ok()?;
        part.probes_sent = part.probes_sent.saturating_add(1);
        match burst::probe::write(self, now, path, (four_tuple, dcid), encoded.bytes(), buffer) {
            Ok(0) => None,
            Ok(len) => Some(Burst {
                connection: Some(self.handle),
                path,
                four_tuple,
                ecn: Ecn::NotEct,
                hop_limit: Some(probe.ttl),
                len,
                segment_size: len,
                segments: 1,
            }),
            Err(error) => {
                self.fail(now, error);
                None
            }
        }
    }
}
