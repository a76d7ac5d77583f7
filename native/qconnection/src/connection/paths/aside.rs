//! What leaves between other addresses than a path's own: challenges to them, and answers to challenges from them
//! (RFC 9000 §8.2.2, §9.1, §9.3.3; multipath MP-23).
//!
//! Called by the output before anything else, while some path knows such addresses. Never sends anything but probing
//! frames there, and never more than the address has paid for (attacks E10).

use crate::{
    burst::{self, Burst},
    connection::Connection,
    path::side::{Side, is_same_address},
};
use qbase::{ConnectionId, Ecn, FourTuple, PathId, Timestamp, limits::MIN_SAMPLE};

/// Credit below which nothing useful fits.
const LEAST: u64 = MIN_SAMPLE as u64 * 2;

impl Connection {
    /// The next segment to a further address of a path, if one is due and its credit allows one.
    pub(in crate::connection) fn poll_aside(&mut self, now: Timestamp, buffer: &mut [u8]) -> Option<Burst> {
        if !self.moves.has_sides || !self.handshake_complete {
            return None;
        }
        let mut has_sides = false;
        for at in 0..self.paths.len() {
            let Some(path) = self.paths.id_at(at) else { break };
            if !self.paths.get(path).is_some_and(|entry| entry.is_live()) {
                continue;
            }
            while let Some(four_tuple) = self.next_aside(path) {
                if let Some(burst) = self.write_to(now, path, four_tuple, buffer) {
                    return Some(burst);
                }
                // What cannot go now is asked for again, and answers that cannot are dropped.
                let Some(network) = self.network_mut(path) else { break };
                if network.responses.pop_for(four_tuple).is_none() {
                    break;
                }
            }
            has_sides |= self.network(path).is_some_and(|network| network.sides().next().is_some() || !network.responses.is_empty());
        }
        self.moves.has_sides = has_sides;
        None
    }

    /// Where something is to be sent.
    fn next_aside(&self, path: PathId) -> Option<FourTuple> {
        let network = self.network(path).filter(|network| !network.pending.open)?;
        let challenge = network.sides().find(|side| side.wants_challenge() && side.amplification.credit() >= LEAST && !self.is_stuck(path, side));
        challenge.map(|side| side.four_tuple).or_else(|| network.responses.next_beside(network.four_tuple))
    }

    /// There is no connection id of the peer for this address.
    fn is_stuck(&self, path: PathId, side: &Side) -> bool {
        self.paths.get(path).is_none_or(|entry| {
            side.cid.and_then(|cid| entry.remote_cids.cid_of(cid)).is_none() && entry.remote_cids.available() == 0
        })
    }

    fn write_to(&mut self, now: Timestamp, path: PathId, four_tuple: FourTuple, buffer: &mut [u8]) -> Option<Burst> {
        let dcid = self.cid_aside(path, four_tuple)?;
        let network = self.network(path)?;
        let side = network.sides().find(|side| side.four_tuple == four_tuple);
        let at_home = is_same_address(network.four_tuple.remote, four_tuple.remote);
        let credit = side.map(|side| &side.amplification).or(at_home.then_some(&network.amplification))?.credit();
        if credit < LEAST {
            return None;
        }
        match burst::aside::write(self, now, path, (four_tuple, dcid), credit, buffer) {
            Ok(0) => None,
            Ok(len) => {
                let burst = Burst { connection: Some(self.handle), path, four_tuple, ecn: Ecn::NotEct, hop_limit: None, len, segment_size: len, segments: 1 };
                Some(burst)
            }
            Err(error) => {
                self.fail(now, error);
                None
            }
        }
    }

    /// The connection id for packets to a further address; one is taken if it has none (RFC 9000 §9.5).
    fn cid_aside(&mut self, path: PathId, four_tuple: FourTuple) -> Option<ConnectionId> {
        let entry = self.paths.get_mut(path)?;
        let network = entry.network.as_deref_mut()?;
        let Some(side) = network.sides_mut().find(|side| side.four_tuple == four_tuple) else { return entry.remote_cids.active() };
        if let Some(cid) = side.cid.and_then(|cid| entry.remote_cids.cid_of(cid)) {
            return Some(cid);
        }
        let taken = entry.remote_cids.take_unused()?;
        side.cid = Some(taken.sequence);
        Some(taken.cid)
    }

    /// A socket refused to send between these addresses: they are of no use.
    pub(in crate::connection) fn on_aside_refused(&mut self, path: PathId, four_tuple: FourTuple) {
        if let Some(validation) = self
            .network_mut(path)
            .and_then(|network| network.sides_mut().find(|side| side.four_tuple == four_tuple))
            .and_then(|side| side.validation.as_mut())
        {
            validation.give_up();
        }
    }
}
