//! A handshake over one of several address pairs (multipath MP-87, MP-92, MP-96).
//!
//! Called by the PTO (client: try the next pair), by the first answer (client: stay with its pair) and by the packets of
//! a client (server: answer where it is heard, credit counted per address). Over when the handshake is confirmed.

use super::{Connection, input::{Arrival, Opened}};
use crate::path::amplify::Amplification;
use qbase::{FourTuple, PathId};

/// Addresses of one client remembered beside the one that is answered.
const OTHER_ADDRESSES: usize = 4;

/// An address that a client's packets came from.
#[derive(Debug)]
pub(crate) struct OtherAddress {
    four_tuple: FourTuple,
    amplification: Amplification,
}

impl Connection {
    /// The first flight stays unanswered: its repetition goes over the next address pair that was asked for, round robin
    /// (multipath MP-87). The pair tried before takes its place in the queue.
    pub(super) fn try_next_candidate(&mut self) {
        let Some(mut next) = self.opens.pop_front() else { return };
        if let Some(network) = self.network_mut(PathId::ZERO) {
            std::mem::swap(&mut network.four_tuple, &mut next.four_tuple);
        }
        self.opens.push_back(next);
    }

    /// The pair that brought the first authentic answer is the handshake's (multipath MP-92).
    pub(super) fn lock_candidate(&mut self, opened: &Opened) {
        if !self.role.is_client() || self.cids.remote.is_some() {
            return;
        }
        let answered = opened.arrival.four_tuple;
        let Some(open) = self.opens.iter_mut().find(|open| open.four_tuple == answered) else { return };
        if let Some(network) = self.paths.get_mut(PathId::ZERO).and_then(|entry| entry.network.as_deref_mut()) {
            std::mem::swap(&mut network.four_tuple, &mut open.four_tuple);
        }
    }

    /// A new packet of a client's handshake came from another address: the answer goes there, within what that address
    /// may get (multipath MP-92, MP-96). Once an address is validated the handshake stays with it (RFC 9000 §9).
    pub(super) fn follow_client(&mut self, opened: &Opened) {
        let arrival = opened.arrival;
        if self.role.is_client() || self.handshake_complete {
            return;
        }
        let Some(network) = self.paths.get_mut(PathId::ZERO).and_then(|entry| entry.network.as_deref_mut()) else { return };
        if network.four_tuple.remote == arrival.four_tuple.remote || network.amplification.is_validated() {
            return;
        }
        let known = self.other_addresses.iter().position(|other| other.four_tuple.remote == arrival.four_tuple.remote);
        let mut next = match known {
            Some(at) => self.other_addresses.swap_remove(at),
            None if self.other_addresses.len() >= OTHER_ADDRESSES => return,
            None => {
                let mut amplification = Amplification::limited();
                amplification.on_received(arrival.size as u64);
                OtherAddress { four_tuple: arrival.four_tuple, amplification }
            }
        };
        std::mem::swap(&mut network.four_tuple, &mut next.four_tuple);
        std::mem::swap(&mut network.amplification, &mut next.amplification);
        self.other_addresses.push(next);
    }

    /// Credits a datagram to the address it came from, if that is remembered (multipath MP-96).
    pub(super) fn credit_other_address(&mut self, arrival: &Arrival, size: usize) {
        if let Some(other) = self.other_addresses.iter_mut().find(|other| other.four_tuple.remote == arrival.four_tuple.remote) {
            other.amplification.on_received(size as u64);
        }
    }
}
