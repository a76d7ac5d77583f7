//! Answers without state: what waits for the socket, and how many may go out (attacks L1, L20).
//!
//! Called for Version Negotiation, Retry, stateless resets and refusals. Never decides what is answered.

use super::Endpoint;
use crate::burst::Burst;
use qbase::{Ecn, FourTuple, PathId, Timestamp, limits};
use qevent::DropReason;
use std::{net::IpAddr, time::Duration};

/// A datagram that belongs to no connection and waits to be sent.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) four_tuple: FourTuple,
    /// Time to live of the datagram; `None`: the socket's own.
    pub(super) hop_limit: Option<u8>,
    pub(super) bytes: Vec<u8>,
}

impl Answer {
    /// Its burst.
    pub(super) fn write(&self, buffer: &mut [u8]) -> Option<Burst> {
        let len = self.bytes.len();
        buffer.get_mut(..len)?.copy_from_slice(&self.bytes);
        let four_tuple = self.four_tuple;
        Some(Burst { connection: None, path: PathId::ZERO, four_tuple, ecn: Ecn::NotEct, hop_limit: self.hop_limit, len, segment_size: len, segments: 1 })
    }
}

/// Answers of one kind in the running second.
#[derive(Debug, Default)]
pub(super) struct Ration {
    since: Timestamp,
    sent: u32,
    /// How many each address got; never longer than the ration of the endpoint.
    by_address: Vec<(IpAddr, u32)>,
}

impl Ration {
    /// Takes one answer to this address out of the ration, if there is one left.
    pub(super) fn take(&mut self, now: Timestamp, address: IpAddr) -> bool {
        if now.saturating_since(self.since) >= Duration::from_secs(1) {
            self.since = now;
            self.sent = 0;
            self.by_address.clear();
        }
        if self.sent >= limits::STATELESS_ANSWERS_PER_SECOND {
            return false;
        }
        match self.by_address.iter_mut().find(|(known, _)| *known == address) {
            Some((_, sent)) if *sent >= limits::STATELESS_ANSWERS_PER_ADDRESS => return false,
            Some((_, sent)) => *sent = sent.saturating_add(1),
            None => self.by_address.push((address, 1)),
        }
        self.sent = self.sent.saturating_add(1);
        true
    }
}

impl Endpoint {
    /// Queues an answer, unless the socket is so far behind that nobody waits for it any more.
    pub(super) fn answer(&mut self, four_tuple: FourTuple, bytes: Vec<u8>) {
        if self.answers.len() >= limits::ANSWERS_WAITING {
            return self.drops.count(DropReason::QueueFull);
        }
        self.answers.push_back(Answer { four_tuple, hop_limit: None, bytes });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u32) -> IpAddr {
        std::net::Ipv4Addr::from_bits(number).into()
    }

    #[test]
    fn attack_l20_an_address_gets_five_answers_a_second() {
        let mut ration = Ration::default();
        let now = Timestamp::from_millis(5_000);
        let granted = (0..100).filter(|_| ration.take(now, address(1))).count();
        assert_eq!(granted, 5);
        assert!(ration.take(now, address(2)), "another address has its own share");
        assert!(!ration.take(Timestamp::from_millis(5_999), address(1)));
        assert!(ration.take(Timestamp::from_millis(6_000), address(1)));
    }

    #[test]
    fn attack_l20_an_endpoint_gives_a_hundred_answers_a_second_and_remembers_no_more_addresses() {
        let mut ration = Ration::default();
        let granted = (0..10_000).filter(|number| ration.take(Timestamp::from_millis(9), address(*number))).count();
        assert_eq!((granted, ration.by_address.len()), (100, 100));
    }
}
