//! How large the datagrams of one network path may be, found out by probes (RFC 8899, RFC 9000 §14.3; burst B-56).
//!
//! ```text
//!   Idle --data waits--> Searching --nothing larger fits--> Resting --600 s later data waits--> Searching
//!                            ^                                 |
//!                            |____ large packets only vanish __|  (and back to 1200 bytes at once)
//! ```
//! RFC 8899's BASE is what the handshake proved, SEARCHING and SEARCH_COMPLETE are as above; its ERROR state is left out,
//! since a path that does not carry 1200 bytes carries no QUIC. A probe is tried three times per size, the largest size
//! first, then halves (within a host one large size first, and without it those of Ethernet); one is under way at a time, its loss is no congestion. Probes are sent only while data waits for the
//! window, so quiet and short connections never pay for them, and no timer runs. Called by the output, the
//! acknowledgements and the socket's answers. Never goes below 1200 bytes, whoever says so (attacks A24).

use crate::config::TransportConfig;
use qbase::{FourTuple, Timestamp, limits};
use std::time::Duration;

/// BASE_PLPMTU and MIN_PLPMTU (RFC 9000 §14.3).
pub const BASE: u16 = limits::MIN_INITIAL as u16;
/// Probes of one size before it counts as too large (MAX_PROBES, RFC 8899 §5.1.2).
const TRIES: u8 = 3;
/// The search ends when at most so many bytes are open.
const GRAIN: u16 = 16;
/// Time until a larger size is tried again (PMTU_RAISE_TIMER, RFC 8899 §5.1.1).
pub const RAISE_AFTER: Duration = Duration::from_secs(600);
/// Large packets lost, and only small ones answered since, that make a black hole (attacks E16).
const BLACK_HOLE: u64 = 3;
/// Rest after the second black hole within [`RAISE_AFTER`]; the first is looked into at once, since it may have been an outage.
const HOLE_REST: Duration = Duration::from_secs(60);
/// Largest UDP payload over Ethernet and IPv6; the option may ask for the 20 bytes more that IPv4 leaves.
const ETHERNET_V6: u16 = 1_452;
/// The same over IPv4.
const ETHERNET_V4: u16 = 1_472;

/// Which IP a path uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpVersion {
    /// IPv4, also mapped into IPv6.
    V4,
    /// IPv6.
    V6,
}

/// What decides which sizes a path between two addresses is likely to carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    ip: IpVersion,
    /// The remote address is one of the host's own.
    loopback: bool,
}

impl Reach {
    /// Of these addresses.
    #[must_use]
    pub fn of(four_tuple: FourTuple) -> Self {
        let remote = four_tuple.remote.ip().to_canonical();
        Self { ip: if remote.is_ipv4() { IpVersion::V4 } else { IpVersion::V6 }, loopback: remote.is_loopback() }
    }
}

/// Where the search stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It has not begun.
    Idle,
    /// A size is being tried.
    Searching,
    /// A search ended; it rests so long, counted from when data waits next.
    Ended(Duration),
    /// Nothing is tried before this instant.
    Resting(Timestamp),
}

/// A probe under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Probe {
    id: u32,
    size: u16,
}

/// The datagram size of one path, and the search for a larger one. All sizes are UDP payloads in bytes.
#[derive(Clone, Debug)]
pub struct MtuSearch {
    current: u16,
    /// Set once: size before anything is known, and the most the options allow.
    initial: u16,
    most: u16,
    /// Tried before anything else, if it is more than `most`; 0 once it did not fit.
    leap: u16,
    /// The most the peer accepts.
    peer: u16,
    phase: Phase,
    /// Sizes from here on do not fit, as far as this search knows.
    too_large: u16,
    /// The size being tried, and how often it was lost.
    size: u16,
    losses: u8,
    probe: Option<Probe>,
    next_id: u32,
    /// When the newest acknowledged packet above [`BASE`] was sent.
    large_acked_at: Timestamp,
    /// Packets above [`BASE`] sent since and lost.
    large_lost: u64,
    /// Black holes since the last whole search.
    holes: u32,
}

impl MtuSearch {
    /// A new path between these addresses. The forward header of a way through a relay stands outside of the datagram, so
    /// the largest is smaller there and the first is the same (burst B-76).
    #[must_use]
    pub fn between(config: &TransportConfig, four_tuple: FourTuple) -> Self {
        let reach = Reach::of(four_tuple);
        let leap = if reach.loopback { config.loopback_mtu } else { 0 };
        let reserve = u16::try_from(four_tuple.reserve()).unwrap_or_default();
        Self { leap, ..Self::new(config.initial_mtu, config.max_mtu, reach.ip) }.with_reserve(reserve)
    }

    /// A new path that starts with `initial` bytes and may go up to `most`.
    #[must_use]
    pub fn new(initial: u16, most: u16, ip: IpVersion) -> Self {
        let initial = initial.max(BASE);
        let most = if ip == IpVersion::V6 && (ETHERNET_V6..=ETHERNET_V4).contains(&most) { ETHERNET_V6 } else { most };
        Self {
            current: initial,
            initial,
            most: most.max(initial),
            leap: 0,
            peer: u16::MAX,
            phase: Phase::Idle,
            too_large: u16::MAX,
            size: 0,
            losses: 0,
            probe: None,
            next_id: 0,
            large_acked_at: Timestamp::ZERO,
            large_lost: 0,
            holes: 0,
        }
    }

    /// The same where `reserve` bytes go in front of each datagram and are not counted here.
    #[must_use]
    pub fn with_reserve(mut self, reserve: u16) -> Self {
        self.most = self.most.saturating_sub(reserve).max(BASE);
        self.initial = self.initial.min(self.most);
        self.current = self.initial;
        self
    }

    /// UDP payload of full packets, bytes.
    #[must_use]
    pub const fn current(&self) -> u16 {
        self.current
    }

    /// The path goes over another network and is judged by this search from now on: a probe under way tells nothing any
    /// more, nor does the loss of what was sent before.
    pub fn continue_from(&mut self, before: &Self, now: Timestamp) {
        (self.peer, self.next_id, self.probe) = (before.peer, before.next_id, None);
        (self.large_acked_at, self.large_lost) = (now, 0);
        self.current = self.current.min(self.peer);
    }

    /// The peer's `max_udp_payload_size`, at least 1200 bytes (RFC 9000 §18.2). Returns the size if it changed.
    pub fn on_peer_limit(&mut self, limit: u64) -> Option<u16> {
        self.peer = u16::try_from(limit).unwrap_or(u16::MAX).max(BASE);
        self.set(self.current.min(self.peer))
    }

    /// Data waits for the window or the pacer: larger packets would help.
    pub fn on_data_waits(&mut self, now: Timestamp) {
        match self.phase {
            Phase::Searching => return,
            Phase::Ended(rest) => {
                self.phase = Phase::Resting(now + rest);
                return;
            }
            Phase::Resting(until) if now < until => return,
            Phase::Resting(_) => self.holes = 0,
            Phase::Idle => {}
        }
        self.search_below(self.ceiling().saturating_add(1));
    }

    /// The size to probe now, if one should be.
    #[must_use]
    pub fn wants_probe(&self) -> Option<u16> {
        (self.phase == Phase::Searching && self.probe.is_none()).then_some(self.size)
    }

    /// A probe of the wanted size was written; its name.
    pub fn on_probe_written(&mut self) -> u32 {
        let id = self.next_id;
        self.next_id = id.wrapping_add(1);
        self.probe = Some(Probe { id, size: self.size });
        id
    }

    /// A written probe never left.
    pub fn on_probe_cancelled(&mut self, id: u32) {
        self.take_probe(id);
    }

    /// A probe arrived. Returns the size if it changed.
    pub fn on_probe_acked(&mut self, id: u32) -> Option<u16> {
        let probe = self.take_probe(id)?;
        let changed = self.set(self.current.max(probe.size));
        self.large_lost = 0;
        self.next_size();
        changed
    }

    /// A probe was lost, for whatever reason (RFC 8899 §3).
    pub fn on_probe_lost(&mut self, id: u32) {
        let Some(probe) = self.take_probe(id) else { return };
        self.losses = self.losses.saturating_add(1);
        if self.losses >= TRIES {
            self.too_large = probe.size;
            self.go_down(probe.size);
        }
    }

    /// The socket refused a datagram of this size as too large: the interface carries less. Returns the size if it changed.
    pub fn on_refused(&mut self, size: u16) -> Option<u16> {
        self.probe = None;
        if size <= BASE {
            return None;
        }
        let changed = if size <= self.current { self.set(BASE) } else { None };
        let was = self.most;
        // What the interface does not carry need not be probed again and again.
        self.most = self.most.min(size.saturating_sub(1)).max(BASE);
        self.initial = self.initial.min(self.most);
        self.too_large = size;
        self.phase = Phase::Searching;
        if size > was { self.go_down(size) } else { self.next_size() }
        changed
    }

    /// A packet above 1200 bytes that was sent then is acknowledged.
    pub fn on_large_acked(&mut self, sent_at: Timestamp) {
        if sent_at >= self.large_acked_at {
            self.large_acked_at = sent_at;
            self.large_lost = 0;
        }
    }

    /// Since when lost packets above 1200 bytes count: packets sent earlier were followed by one that arrived.
    #[must_use]
    pub const fn large_acked_at(&self) -> Timestamp {
        self.large_acked_at
    }

    /// So many packets above 1200 bytes, sent after [`Self::large_acked_at`], are lost while smaller ones are answered.
    /// Returns the size if it changed: the path has become a black hole for larger packets (RFC 8899 §4.3).
    pub fn on_large_lost(&mut self, packets: u64) -> Option<u16> {
        self.large_lost = self.large_lost.saturating_add(packets);
        if self.large_lost < BLACK_HOLE || self.current == BASE {
            return None;
        }
        let before = self.current;
        self.holes = self.holes.saturating_add(1);
        self.large_lost = 0;
        self.probe = None;
        let changed = self.set(BASE);
        if self.holes == 1 {
            self.search_below(before.saturating_add(1));
        } else {
            self.phase = Phase::Ended(HOLE_REST);
        }
        changed
    }

    /// The largest size worth trying.
    fn ceiling(&self) -> u16 {
        self.most.max(self.leap).min(self.peer)
    }

    /// Starts a search for the largest size below `too_large`; it is the first to be tried.
    fn search_below(&mut self, too_large: u16) {
        self.too_large = too_large.min(self.ceiling().saturating_add(1));
        self.size = self.too_large.saturating_sub(1);
        self.losses = 0;
        self.phase = Phase::Searching;
        if self.size <= self.current {
            self.phase = Phase::Ended(RAISE_AFTER);
        }
    }

    /// A size does not fit. Beyond the usual ones there was only one to try.
    fn go_down(&mut self, size: u16) {
        if size > self.most {
            self.leap = 0;
            self.search_below(self.most.saturating_add(1));
        } else {
            self.next_size();
        }
    }

    /// Halves what is open, or ends the search.
    fn next_size(&mut self) {
        let open = self.too_large.saturating_sub(self.current);
        self.losses = 0;
        if self.phase != Phase::Searching || open <= GRAIN || self.current >= self.ceiling() {
            self.phase = Phase::Ended(RAISE_AFTER);
        } else {
            self.size = self.current.saturating_add(open / 2);
        }
    }

    fn set(&mut self, size: u16) -> Option<u16> {
        let changed = size != self.current;
        self.current = size;
        changed.then_some(size)
    }

    fn take_probe(&mut self, id: u32) -> Option<Probe> {
        self.probe.take_if(|probe| probe.id == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000);

    fn later(seconds: u64) -> Timestamp {
        NOW + Duration::from_secs(seconds)
    }

    /// A search from 1200 bytes that has begun.
    fn begun(most: u16) -> MtuSearch {
        let mut search = MtuSearch::new(BASE, most, IpVersion::V4);
        search.on_data_waits(NOW);
        search
    }

    /// Probes a path that carries `limit` bytes until the search rests; returns the sizes tried.
    fn probe(search: &mut MtuSearch, limit: u16) -> Vec<u16> {
        let mut tried = Vec::new();
        while let Some(size) = search.wants_probe() {
            let id = search.on_probe_written();
            tried.push(size);
            if size <= limit {
                search.on_probe_acked(id);
            } else {
                search.on_probe_lost(id);
            }
            assert!(tried.len() < 60, "{tried:?}");
        }
        tried
    }

    /// Within a host one large size is tried, and where something else carries the datagrams those of Ethernet follow at once.
    #[test]
    fn loopback_is_tried_with_one_large_size_and_then_as_ethernet() {
        let config = TransportConfig::default();
        let search = |remote: &str| {
            let four_tuple = FourTuple { local: "[::]:9".parse().expect("an address"), remote: remote.parse().expect("an address") };
            let mut search = MtuSearch::between(&config, four_tuple);
            search.on_data_waits(NOW);
            search
        };
        let large = limits::LOOPBACK_MTU;
        for remote in ["127.0.0.1:1", "[::1]:1", "[::ffff:127.0.0.9]:1"] {
            assert_eq!(probe(&mut search(remote), u16::MAX), [large]);
            let mut narrow = search(remote);
            assert_eq!(probe(&mut narrow, 1_452), [large, large, large, 1_452]);
            assert_eq!(narrow.current(), 1_452);
            let mut refused = search(remote);
            refused.on_refused(large);
            assert_eq!(probe(&mut refused, 1_452), [1_452]);
        }
        assert_eq!(probe(&mut search("192.0.2.1:1"), u16::MAX), [1_452]);
        let mut small_peer = search("127.0.0.1:1");
        small_peer.on_peer_limit(1_500);
        small_peer.phase = Phase::Idle;
        small_peer.on_data_waits(NOW);
        assert_eq!(probe(&mut small_peer, u16::MAX), [1_500]);
    }

    /// Shows 8899-5.3.2-1.
    #[test]
    fn the_largest_size_is_tried_first_and_ends_the_search() {
        let mut search = begun(1_452);
        assert_eq!(probe(&mut search, 1_452), [1_452]);
        assert_eq!(search.current(), 1_452);
    }

    /// Shows 8899-3-1, 9000-14.3-1.
    #[test]
    fn every_path_mtu_is_found_to_within_16_bytes_and_never_exceeded() {
        for limit in 1_200..=1_500 {
            let mut search = begun(1_452);
            let tried = probe(&mut search, limit);
            let best = limit.min(1_452);
            assert!(search.current() <= best && best - search.current() < GRAIN, "{} of {limit}", search.current());
            assert!(tried.len() <= 18, "{limit}: {tried:?}");
        }
    }

    /// Shows 8899-3-7.
    #[test]
    fn two_lost_probes_are_no_verdict() {
        let mut search = begun(1_452);
        for _ in 0..2 {
            let id = search.on_probe_written();
            search.on_probe_lost(id);
        }
        assert_eq!(search.wants_probe(), Some(1_452));
    }

    #[test]
    fn one_probe_is_under_way_at_a_time() {
        let mut search = begun(1_452);
        let id = search.on_probe_written();
        assert_eq!(search.wants_probe(), None);
        search.on_probe_cancelled(id);
        assert_eq!(search.wants_probe(), Some(1_452));
    }

    /// Shows 8899-3-28, 8899-3-29, 8899-4.1-3.
    #[test]
    fn late_and_repeated_answers_count_for_their_own_probe_only() {
        let mut search = begun(1_452);
        let first = search.on_probe_written();
        search.on_probe_lost(first);
        let second = search.on_probe_written();
        assert_eq!(search.on_probe_acked(first), None);
        assert_eq!(search.on_probe_acked(second), Some(1_452));
        assert_eq!(search.on_probe_acked(second), None);
        search.on_probe_lost(second);
        assert_eq!(search.current(), 1_452);
    }

    #[test]
    fn a_larger_size_is_tried_again_after_600_seconds_if_data_waits() {
        let mut search = begun(1_452);
        probe(&mut search, 1_300);
        let found = search.current();
        search.on_data_waits(NOW);
        search.on_data_waits(later(599));
        assert_eq!(search.wants_probe(), None);
        search.on_data_waits(later(600));
        assert_eq!(probe(&mut search, 1_452), [1_452]);
        assert!(found < search.current());
    }

    /// attacks E16. Shows 8899-4.3-1.
    #[test]
    fn attack_e16_three_lost_large_packets_are_a_black_hole_and_one_that_arrives_is_none() {
        let mut search = begun(1_452);
        probe(&mut search, 1_452);
        assert_eq!(search.on_large_lost(2), None);
        search.on_large_acked(later(1));
        assert_eq!(search.on_large_lost(2), None);
        assert_eq!(search.on_large_lost(1), Some(BASE));
        assert_eq!(search.wants_probe(), Some(1_452), "the first time it may have been an outage");
        probe(&mut search, 1_452);
        assert_eq!(search.on_large_lost(3), Some(BASE));
        search.on_data_waits(later(4));
        assert_eq!(search.wants_probe(), None, "the second time it is not");
        search.on_data_waits(later(63));
        assert_eq!(search.wants_probe(), None);
        search.on_data_waits(later(64));
        assert!(search.wants_probe().is_some());
    }

    /// attacks A24. Shows 8899-3-12, 8899-4.6.2-1, 9000-14.2.1-1, 9000-14.2.1-6.
    #[test]
    fn attack_a24_no_refusal_goes_below_1200_bytes_or_raises_anything() {
        for size in [0, 68, 576, 1_199, 1_200] {
            let mut search = begun(1_452);
            assert_eq!((search.on_refused(size), search.current()), (None, BASE), "{size}");
        }
        let mut search = MtuSearch::new(1_452, 1_452, IpVersion::V4);
        assert_eq!(search.on_refused(1_452), Some(BASE));
        assert_eq!(search.on_refused(1_200), None);
        assert_eq!(search.on_refused(9_000), None);
        assert_eq!(search.current(), BASE);
    }

    #[test]
    fn an_interface_that_refuses_a_probe_is_asked_for_less_at_once() {
        let mut search = begun(9_000);
        assert_eq!(search.wants_probe(), Some(9_000));
        search.on_probe_written();
        assert_eq!(search.on_refused(9_000), None);
        assert!(search.wants_probe().is_some_and(|size| size < 9_000));
    }

    #[test]
    fn the_peers_limit_is_kept() {
        let mut search = MtuSearch::new(1_452, 1_452, IpVersion::V4);
        assert_eq!(search.on_peer_limit(1_300), Some(1_300));
        search.on_data_waits(NOW);
        assert_eq!(search.wants_probe(), None);
        let mut search = begun(1_452);
        search.on_peer_limit(1_400);
        let before = search;
        let mut search = MtuSearch::new(BASE, 1_452, IpVersion::V4);
        search.continue_from(&before, NOW);
        search.on_data_waits(NOW);
        assert_eq!(search.wants_probe(), Some(1_400));
        assert_eq!(search.on_peer_limit(20), None, "nobody may ask for less than 1200 bytes");
    }

    #[test]
    fn ipv6_over_ethernet_is_not_asked_for_what_only_ipv4_carries() {
        let mut search = MtuSearch::new(BASE, 1_472, IpVersion::V6);
        search.on_data_waits(NOW);
        assert_eq!(search.wants_probe(), Some(1_452));
        assert_eq!(begun(1_472).wants_probe(), Some(1_472));
    }

    #[test]
    fn another_network_starts_from_the_beginning() {
        let mut search = begun(1_452);
        let id = search.on_probe_written();
        let before = search;
        let mut search = MtuSearch::new(BASE, 1_452, IpVersion::V4);
        search.continue_from(&before, NOW);
        assert_eq!(search.on_probe_acked(id), None);
        assert_eq!(search.current(), BASE);
        search.on_data_waits(NOW);
        assert_eq!(search.wants_probe(), Some(1_452));
    }
}
