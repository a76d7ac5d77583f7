//! 0-RTT packets that overtook their client's first Initial (RFC 9000 §5.2.2; attacks L1, L3).
//!
//! Decides how many are kept, and for how long. Called for 0-RTT packets with an unknown DCID, and when a connection for
//! that DCID begins. Nothing in them is authentic yet: they are bytes with an address, and no answer is ever sent to them.

use qbase::{ConnectionId, Ecn, FourTuple, Timestamp, limits};
use qevent::DropReason;
use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

/// How long a first Initial may be late.
const PATIENCE: Duration = Duration::from_secs(1);

/// A datagram that waits for its connection.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) four_tuple: FourTuple,
    pub(super) ecn: Ecn,
    pub(super) bytes: Vec<u8>,
}

/// Datagrams by the DCID they were sent to, within [`limits::WAITING_DATAGRAMS`] and [`limits::WAITING_BYTES`]; of one
/// DCID within [`limits::UNDECRYPTABLE_PACKETS`] and [`limits::UNDECRYPTABLE_BYTES`].
#[derive(Debug, Default)]
pub(super) struct EarlyDatagrams {
    by_dcid: BTreeMap<ConnectionId, Vec<Waiting>>,
    /// DCIDs in the order of their first datagram, with the instant at which they are given up.
    order: VecDeque<(Timestamp, ConnectionId)>,
    datagrams: usize,
    bytes: usize,
}

impl EarlyDatagrams {
    /// Keeps a datagram if there is room; the reason is counted either way.
    pub(super) fn keep(&mut self, now: Timestamp, dcid: ConnectionId, four_tuple: FourTuple, ecn: Ecn, bytes: &[u8]) -> DropReason {
        self.expire(now);
        let kept = self.by_dcid.get(&dcid).map_or(&[][..], Vec::as_slice);
        let held: usize = kept.iter().map(|waiting| waiting.bytes.len()).sum();
        let is_full = kept.len() >= limits::UNDECRYPTABLE_PACKETS
            || held.saturating_add(bytes.len()) > limits::UNDECRYPTABLE_BYTES
            || self.datagrams >= limits::WAITING_DATAGRAMS
            || self.bytes.saturating_add(bytes.len()) > limits::WAITING_BYTES;
        if is_full {
            return DropReason::UndecryptableLimit;
        }
        if kept.is_empty() {
            self.order.push_back((now + PATIENCE, dcid));
        }
        self.datagrams = self.datagrams.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes.len());
        self.by_dcid.entry(dcid).or_default().push(Waiting { four_tuple, ecn, bytes: bytes.to_vec() });
        DropReason::KeptForKeys
    }

    /// Takes what waits for a connection that begins.
    pub(super) fn take(&mut self, dcid: &ConnectionId) -> Vec<Waiting> {
        let Some(taken) = self.by_dcid.remove(dcid) else { return Vec::new() };
        self.order.retain(|(_, waiting)| waiting != dcid);
        self.datagrams = self.datagrams.saturating_sub(taken.len());
        self.bytes = self.bytes.saturating_sub(taken.iter().map(|waiting| waiting.bytes.len()).sum());
        taken
    }

    /// Gives up what has waited too long.
    pub(super) fn expire(&mut self, now: Timestamp) {
        while let Some((at, dcid)) = self.order.front().copied()
            && at <= now
        {
            self.take(&dcid);
        }
    }

    /// When something is given up next.
    pub(super) fn next_timer(&self) -> Option<Timestamp> {
        self.order.front().map(|(at, _)| *at)
    }

    /// Datagrams that wait, for the gauge.
    pub(super) const fn len(&self) -> usize {
        self.datagrams
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    const NOW: Timestamp = Timestamp::from_millis(5);

    fn keep(waiting: &mut EarlyDatagrams, number: u64, len: usize) -> DropReason {
        let address = SocketAddr::from(([192, 0, 2, 1], 1));
        let dcid = ConnectionId::new(&number.to_be_bytes()).unwrap();
        waiting.keep(NOW, dcid, FourTuple { local: address, remote: address }, Ecn::NotEct, &vec![0; len])
    }

    /// attacks L3.
    #[test]
    fn one_client_gets_sixteen_packets_and_24_kib() {
        let mut waiting = EarlyDatagrams::default();
        for _ in 0..limits::UNDECRYPTABLE_PACKETS {
            assert_eq!(keep(&mut waiting, 1, 1_200), DropReason::KeptForKeys);
        }
        assert_eq!(keep(&mut waiting, 1, 1_200), DropReason::UndecryptableLimit);
        assert_eq!(keep(&mut waiting, 2, limits::UNDECRYPTABLE_BYTES), DropReason::KeptForKeys);
        assert_eq!(keep(&mut waiting, 2, 1), DropReason::UndecryptableLimit);
        assert_eq!(waiting.take(&ConnectionId::new(&1_u64.to_be_bytes()).unwrap()).len(), limits::UNDECRYPTABLE_PACKETS);
        assert_eq!(waiting.len(), 1);
    }

    /// attacks L1.
    #[test]
    fn attack_l1_all_clients_together_get_1024_datagrams_and_1_5_mib_for_a_second() {
        let mut waiting = EarlyDatagrams::default();
        for number in 0..limits::WAITING_DATAGRAMS as u64 {
            assert_eq!(keep(&mut waiting, number, 1_200), DropReason::KeptForKeys);
        }
        assert_eq!(keep(&mut waiting, u64::MAX, 1_200), DropReason::UndecryptableLimit);
        assert_eq!(waiting.next_timer(), Some(NOW + PATIENCE));
        waiting.expire(NOW + PATIENCE);
        assert_eq!((waiting.len(), waiting.bytes, waiting.next_timer()), (0, 0, None), "attacks R5");
        let large = limits::UNDECRYPTABLE_BYTES;
        let fits = (0..).take_while(|number| keep(&mut waiting, *number, large) == DropReason::KeptForKeys).count();
        assert_eq!(fits, limits::WAITING_BYTES / large);
    }
}
