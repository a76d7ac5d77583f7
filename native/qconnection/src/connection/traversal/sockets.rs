//! Which of our sockets is which: those of the connection by a number, temporary ones by the machine's (traversal T-3, T-98).
//!
//! Called by the drive and for each packet of a stranger. The endpoint opens and closes sockets; here is who has which address.

use qbase::{limits, FourTuple};
use qtraversal::{book::Bind, punch::{Hole, Socket}};
use std::{collections::BTreeMap, net::SocketAddr};

/// Sockets of one connection.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    /// Bound addresses, by number.
    bound: Vec<SocketAddr>,
    made: BTreeMap<u64, Made>,
}

/// A temporary socket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Made {
    /// Its address; `None`: it is being opened.
    pub(super) local: Option<SocketAddr>,
    /// A server is to be asked for its outer address when it is open.
    pub(super) wants_outer: bool,
}

impl Sockets {
    /// The number of a bound socket; `None`: there are too many.
    pub(super) fn bind(&mut self, local: SocketAddr) -> Option<Bind> {
        let at = self.bound.iter().position(|bound| is_at(*bound, local)).or_else(|| {
            let has_room = self.bound.len() < limits::TRAVERSAL_BINDS;
            has_room.then(|| {
                self.bound.push(local);
                self.bound.len().saturating_sub(1)
            })
        })?;
        u32::try_from(at).ok().map(Bind)
    }

    /// Which interface a bound socket is on, by a number: as many as there are IPs.
    pub(super) fn device(&self, local: SocketAddr) -> u32 {
        let at = self.bound.iter().position(|bound| bound.ip() == local.ip());
        at.and_then(|at| u32::try_from(at).ok()).unwrap_or(u32::MAX)
    }

    /// The address of a bound socket.
    pub(super) fn bound(&self, bind: Bind) -> Option<SocketAddr> {
        self.bound.get(usize::try_from(bind.0).ok()?).copied()
    }

    pub(super) fn local(&self, socket: Socket) -> Option<SocketAddr> {
        match socket {
            Socket::Bound(bind) => self.bound(bind),
            Socket::Made(number) => self.made.get(&number)?.local,
        }
    }

    /// There is such a socket, or there will be.
    pub(super) fn is_there(&self, socket: Socket) -> bool {
        match socket {
            Socket::Bound(bind) => self.bound(bind).is_some(),
            Socket::Made(number) => self.made.contains_key(&number),
        }
    }

    /// The 4-tuple of a packet as the machine names it.
    pub(super) fn hole(&mut self, seen: FourTuple) -> Option<Hole> {
        let made = self.made.iter().find(|(_, made)| made.local.is_some_and(|local| is_at(local, seen.local)));
        let from = match made {
            Some((number, _)) => Socket::Made(*number),
            None => Socket::Bound(self.bind(seen.local)?),
        };
        Some(Hole { from, remote: seen.remote })
    }

    pub(super) fn make(&mut self, number: u64) {
        self.made.insert(number, Made { local: None, wants_outer: false });
    }

    pub(super) fn made(&mut self, number: u64) -> Option<&mut Made> {
        self.made.get_mut(&number)
    }

    /// `true`: there was one.
    pub(super) fn unmake(&mut self, number: u64) -> bool {
        self.made.remove(&number).is_some()
    }

    /// Numbers of all temporary sockets.
    pub(super) fn numbers(&self) -> Vec<u64> {
        self.made.keys().copied().collect()
    }
}

/// Datagrams for `local` arrive on the socket bound to `bound`.
fn is_at(bound: SocketAddr, local: SocketAddr) -> bool {
    bound.port() == local.port() && (bound.ip().to_canonical() == local.ip().to_canonical() || bound.ip().is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    /// attacks R2: packets of strangers make no more than so many.
    #[test]
    fn bound_sockets_are_numbered_once_and_bounded() {
        let mut sockets = Sockets::default();
        assert_eq!(sockets.bind(at("0.0.0.0:4433")), Some(Bind(0)));
        assert_eq!(sockets.bind(at("192.0.2.1:4433")), Some(Bind(0)), "the wildcard's");
        for number in 1..limits::TRAVERSAL_BINDS as u32 {
            assert_eq!(sockets.bind(at(&format!("192.0.2.1:{}", 10_000 + number))), Some(Bind(number)));
        }
        assert_eq!(sockets.bind(at("192.0.2.9:5")), None, "one past the bound");
        assert_eq!(sockets.device(at("192.0.2.1:1")), 1);
    }

    #[test]
    fn a_packet_at_a_temporary_socket_is_its_own() {
        let mut sockets = Sockets::default();
        sockets.make(7);
        let seen = FourTuple { local: at("192.0.2.1:9000"), remote: at("198.51.100.1:5000") };
        assert_eq!(sockets.hole(seen).unwrap().from, Socket::Bound(Bind(0)), "not open yet");
        sockets.made(7).unwrap().local = Some(at("192.0.2.1:9000"));
        assert_eq!(sockets.hole(seen), Some(Hole { from: Socket::Made(7), remote: seen.remote }));
        assert!(sockets.unmake(7) && !sockets.unmake(7));
    }
}
