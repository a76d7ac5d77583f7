//! Both halves of a port search: 800 open ports on one side, 300 sockets on the other (traversal T-90…T-92, T-95, T-96).
//!
//! Decides which port is knocked next, which socket probes next and how long a probe is kept. Called by a round, which sends.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    time::Duration,
};

use qbase::{Timestamp, limits};

use crate::random::Dice;

/// Ports of the peer's IP that are opened (traversal T-90).
pub const OPENED_PORTS: usize = 800;
/// Sockets that are tried (traversal T-90).
pub const SEARCH_SOCKETS: usize = 300;
/// Of the opened ports so many are the next ones after the peer's known port (traversal T-96).
pub const FORETOLD_PORTS: u16 = 32;
/// Ports that are drawn from; lower ones are given to nobody by a NAT.
const FIRST_PORT: u16 = 1_024;
/// Local ports of searching sockets (traversal T-90).
const LAST_LOCAL_PORT: u16 = 65_534;
/// Knocks that leave at once (traversal T-95).
pub const KNOCK_BURST: usize = 16;
/// A burst of 16 each 80 ms is 200/s (traversal T-95).
pub const KNOCK_INTERVAL: Duration = Duration::from_millis(80);
/// One probe each (traversal T-91).
const PROBE_INTERVAL: Duration = Duration::from_millis(20);
/// A probe is kept for two round trips and this (traversal T-92).
const PROBE_PATIENCE: Duration = Duration::from_millis(200);

/// One bit for each port.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Ports(Box<[u64]>);

impl Ports {
    fn new() -> Self {
        Self(vec![0; 1_024].into_boxed_slice())
    }

    /// False: it was in already.
    fn insert(&mut self, port: u16) -> bool {
        let bit = 1_u64 << (port % 64);
        match self.0.get_mut(usize::from(port / 64)) {
            Some(word) if *word & bit == 0 => {
                *word |= bit;
                true
            }
            _ => false,
        }
    }
}

/// The side that opens ports towards one IP. It survives a change of sides: what is open stays open.
#[derive(Debug)]
pub(super) struct Collision {
    /// The peer's address, as far as it is known.
    peer: SocketAddr,
    used: Ports,
    opened: usize,
}

impl Collision {
    pub(super) fn new(peer: SocketAddr) -> Self {
        Self { peer, used: Ports::new(), opened: 0 }
    }

    /// The peer whose ports are opened.
    pub(super) const fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// The next address to knock at; `None`: all are open. First the peer's next ports, then random ones, none twice.
    pub(super) fn next(&mut self, dice: &mut Dice) -> Option<SocketAddr> {
        if self.opened >= OPENED_PORTS {
            return None;
        }
        let foretold = u16::try_from(self.opened).ok().filter(|opened| *opened < FORETOLD_PORTS);
        let next = foretold.and_then(|opened| self.peer.port().checked_add(opened)?.checked_add(1));
        let mut port = next.unwrap_or_else(|| dice.port(FIRST_PORT, u16::MAX));
        // 800 of 64512: a free one is found soon; the bound is for a generator that is stuck.
        for _ in 0..1_000 {
            if self.used.insert(port) {
                break;
            }
            port = dice.port(FIRST_PORT, u16::MAX);
        }
        self.opened = self.opened.saturating_add(1);
        Some(SocketAddr::new(self.peer.ip(), port))
    }
}

/// A socket that has probed and waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Probing {
    pub(super) socket: u64,
    pub(super) probe: u64,
    pub(super) since: Timestamp,
}

/// What a search does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Move {
    /// Opens a socket at this local port and probes from it with this id.
    Probe { port: u16, probe: u64 },
    /// Waits until then: the oldest probe may still be answered.
    Wait(Timestamp),
    /// All were tried, and nothing came.
    Over,
}

/// The side that tries sockets.
#[derive(Debug)]
pub(super) struct Search {
    open: VecDeque<Probing>,
    /// Probes sent; the id of the last one (traversal T-93: the first is 1).
    probes: u64,
    keep: Duration,
}

impl Search {
    /// `rtt`: round trip over the connection.
    pub(super) fn new(rtt: Duration) -> Self {
        Self { open: VecDeque::new(), probes: 0, keep: rtt.saturating_mul(2).saturating_add(PROBE_PATIENCE) }
    }

    /// How long until the next probe: the pace of T-91, or slower where 60 sockets would not be kept long enough (T-92).
    pub(super) fn interval(&self) -> Duration {
        let open = u32::try_from(limits::SEARCH_SOCKETS_OPEN).unwrap_or(u32::MAX);
        PROBE_INTERVAL.max(self.keep.checked_div(open).unwrap_or_default())
    }

    /// What is to be done at `now`, and the sockets that are given up before.
    pub(super) fn advance(&mut self, now: Timestamp, dice: &mut Dice) -> (Option<u64>, Move) {
        let is_last = usize::try_from(self.probes).unwrap_or(usize::MAX) >= SEARCH_SOCKETS;
        let oldest = self.open.front().copied();
        if is_last {
            return match oldest.map(|oldest| oldest.since + self.keep) {
                Some(until) if until > now => (None, Move::Wait(until)),
                Some(_) => (self.open.pop_front().map(|probing| probing.socket), Move::Wait(now)),
                None => (None, Move::Over),
            };
        }
        let mut closed = None;
        if self.open.len() >= limits::SEARCH_SOCKETS_OPEN
            && let Some(oldest) = oldest
        {
            if oldest.since + self.keep > now {
                return (None, Move::Wait(oldest.since + self.keep));
            }
            self.open.pop_front();
            closed = Some(oldest.socket);
        }
        self.probes = self.probes.saturating_add(1);
        (closed, Move::Probe { port: dice.port(FIRST_PORT, LAST_LOCAL_PORT), probe: self.probes })
    }

    /// The socket of the probe is open and has sent.
    pub(super) fn opened(&mut self, socket: u64, probe: u64, now: Timestamp) {
        self.open.push_back(Probing { socket, probe, since: now });
    }

    /// The socket of a probe that is still open; `None`: a miss (traversal T-92).
    pub(super) fn claim(&self, probe: u64) -> Option<u64> {
        self.open.iter().find(|probing| probing.probe == probe).map(|probing| probing.socket)
    }

    /// The socket could not be opened, or is gone.
    pub(super) fn lost(&mut self, socket: u64) {
        self.open.retain(|probing| probing.socket != socket);
    }

    /// All sockets that are open.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = u64> {
        self.open.drain(..).map(|probing| probing.socket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_millis(1_000);

    /// traversal T-90, T-96.
    #[test]
    fn eight_hundred_different_ports_are_opened_and_the_next_ones_of_the_peer_come_first() {
        let mut dice = Dice::new(1);
        let mut collision = Collision::new(SocketAddr::from(([9, 9, 9, 9], 40_000)));
        let ports: Vec<u16> = std::iter::from_fn(|| collision.next(&mut dice)).map(|address| address.port()).collect();
        assert_eq!(ports.len(), 800);
        assert_eq!(ports[..32], (40_001..=40_032).collect::<Vec<_>>());
        assert!(ports.iter().all(|port| *port >= 1_024));
        let different: std::collections::BTreeSet<_> = ports.iter().collect();
        assert_eq!(different.len(), 800);
        let mut last = Collision::new(SocketAddr::from(([9, 9, 9, 9], u16::MAX)));
        assert_eq!(std::iter::from_fn(|| last.next(&mut dice)).count(), 800, "no port lies after the last one");
    }

    /// traversal T-91, T-92: at most 60 at a time, and each is kept for two round trips and 200 ms.
    #[test]
    fn a_search_keeps_every_probe_long_enough_and_never_has_more_than_sixty_sockets() {
        for rtt in [0, 100, 500, 2_000].map(Duration::from_millis) {
            let (mut search, mut dice, mut now) = (Search::new(rtt), Dice::new(1), START);
            let (mut open, mut probes) = (VecDeque::new(), 0);
            loop {
                let (closed, next) = search.advance(now, &mut dice);
                if let Some(closed) = closed {
                    let (socket, since): (u64, Timestamp) = open.pop_front().expect("the oldest");
                    assert_eq!(closed, socket);
                    assert!(now.saturating_since(since) >= rtt * 2 + PROBE_PATIENCE, "{rtt:?}");
                }
                match next {
                    Move::Probe { probe, port } => {
                        probes += 1;
                        assert_eq!(probe, probes);
                        assert!((1_024..=65_534).contains(&port));
                        search.opened(1_000 + probe, probe, now);
                        assert_eq!(search.claim(probe), Some(1_000 + probe));
                        open.push_back((1_000 + probe, now));
                        now += search.interval();
                    }
                    Move::Wait(until) => now = until,
                    Move::Over => break,
                }
                assert!(open.len() <= 60);
            }
            assert_eq!((probes, open.len()), (300, 0), "none is left");
            let seconds = now.saturating_since(START).as_secs();
            assert!(rtt > Duration::from_millis(500) || seconds <= 8, "{rtt:?} {seconds}");
        }
    }

    /// traversal T-92.
    #[test]
    fn an_answer_to_a_probe_that_was_given_up_is_a_miss() {
        let mut search = Search::new(Duration::ZERO);
        search.opened(7, 1, START);
        assert_eq!((search.claim(1), search.claim(2), search.claim(0)), (Some(7), None, None));
        search.lost(7);
        assert_eq!(search.claim(1), None);
    }
}
