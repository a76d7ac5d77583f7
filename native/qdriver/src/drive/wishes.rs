//! Sockets that the machine wishes for are opened beside others, and closed again, without the application's doing
//! (traversal T-74, T-90, T-98).
//!
//! Called twice a turn: after the application and before bursts leave, so that a socket's first datagram goes in the same turn, and
//! after them, since connections wish while it is their turn to send. Then another turn follows at once.
//! Decides nothing: which sockets there are is the machine's business, and how they are opened [`Outside`]'s. Failure to open
//! one is told to the machine and to nobody else (attacks J11).

use qbase::Timestamp;

use super::{
    io::Outside,
    machine::{Machine, SocketWish},
};

/// Wishes of one call; a machine that has more gets another turn at once.
const WISHES_PER_CALL: usize = 64;

/// Whether there were any wishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Served {
    Nothing,
    /// The machine may have more to wish for or to send now.
    Something,
}

/// Opens and closes what the machine wants.
pub(super) fn serve<M: Machine>(machine: &mut M, outside: &mut dyn Outside<M>, now: Timestamp) -> Served {
    for number in 0..WISHES_PER_CALL {
        match machine.poll_socket_wish() {
            None if number == 0 => return Served::Nothing,
            None => return Served::Something,
            Some(SocketWish::Open { id, beside, port }) => {
                let local = outside.bind_beside(beside, port);
                machine.on_socket(id, local, now);
            }
            Some(SocketWish::Close { local }) => {
                outside.unbind(local, machine, now);
            }
        }
    }
    Served::Something
}

#[cfg(test)]
mod tests {
    use std::{
        collections::VecDeque,
        net::{SocketAddr, UdpSocket},
    };

    use mio::Poll;
    use qbase::{Ecn, FourTuple};

    use super::*;
    use crate::{
        drive::{Application, BELL, Departure, Io, Received, SendFailure, SocketId, kernel::Kernel, sockets::Sockets, turn::Loop},
        poller::Poller,
        socket::SocketConfig,
        tcp::TcpConnections,
        waker::Waker,
    };

    /// A machine that wishes for sockets and for nothing else.
    #[derive(Default)]
    struct Wisher {
        wishes: VecDeque<SocketWish>,
        told: Vec<(SocketId, Option<SocketAddr>)>,
        /// Comes to its mind when it may send.
        late: Option<SocketWish>,
    }

    /// An application without a wish.
    struct Nobody;

    impl Application<Wisher> for Nobody {
        fn on_turn(&mut self, _: &mut Io<'_, Wisher>) {}
    }

    impl Machine for Wisher {
        type Burst = ();

        fn handle_datagram(&mut self, _: Timestamp, _: FourTuple, _: Ecn, _: &mut [u8]) -> Received {
            Received::Quic
        }

        fn poll_transmit(&mut self, _: Timestamp, _: &mut [u8], _: usize) -> Option<()> {
            self.wishes.extend(self.late.take());
            None
        }

        fn departure((): &()) -> Departure {
            unreachable!("it sends nothing")
        }

        fn on_submitted(&mut self, (): &(), _: usize, _: Timestamp) {}

        fn on_send_error(&mut self, (): &(), _: SendFailure, _: Timestamp) {}

        fn poll_socket_wish(&mut self) -> Option<SocketWish> {
            self.wishes.pop_front()
        }

        fn on_socket(&mut self, id: SocketId, local: Option<SocketAddr>, _: Timestamp) {
            self.told.push((id, local));
        }

        fn next_timer(&self) -> Option<Timestamp> {
            None
        }

        fn on_timer(&mut self, _: Timestamp) {}
    }

    /// Sockets of a driver without its thread.
    struct Bench {
        poll: Poll,
        sockets: Sockets<()>,
        machine: Wisher,
        next: u64,
    }

    impl Bench {
        fn new(bound: &[&str]) -> (Self, Vec<SocketAddr>) {
            let poll = Poll::new().expect("selector");
            let mut sockets = Sockets::new(64);
            let mut bind = |text: &&str| sockets.bind(poll.registry(), &SocketConfig::new(address(text))).expect("bound").local;
            let bound = bound.iter().map(&mut bind).collect();
            (Self { poll, sockets, machine: Wisher::default(), next: 0 }, bound)
        }

        fn serve(&mut self) -> Served {
            let Self { poll, sockets, machine, .. } = self;
            serve(machine, &mut Kernel { sockets, registry: poll.registry(), tcp: &mut TcpConnections::default() }, Timestamp::ZERO)
        }

        fn open(&mut self, beside: SocketAddr, port: u16) -> Option<SocketAddr> {
            self.next += 1;
            let id = SocketId(self.next);
            self.machine.wishes.push_back(SocketWish::Open { id, beside, port });
            assert_eq!(self.serve(), Served::Something);
            let (told, local) = self.machine.told.pop().expect("told");
            assert_eq!(told, id);
            local
        }

        fn close(&mut self, local: SocketAddr) {
            self.machine.wishes.push_back(SocketWish::Close { local });
            assert_eq!(self.serve(), Served::Something);
        }

        fn leaves_by(&mut self, local: &str, remote: &str) -> Option<SocketAddr> {
            let four_tuple = FourTuple { local: address(local), remote: address(remote) };
            self.sockets.find(four_tuple).map(|entry| entry.socket.local())
        }
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("address")
    }

    /// traversal T-74.
    #[test]
    fn a_temporary_socket_has_the_ip_of_the_one_it_stands_beside() {
        let (mut bench, bound) = Bench::new(&["127.0.0.2:0", "0.0.0.0:0", "[::1]:0"]);
        for beside in [bound[0], bound[2]] {
            let local = bench.open(beside, 0).expect("opened");
            assert!(local.ip() == beside.ip() && local.port() != beside.port());
        }
        let of_wildcard = bench.open(SocketAddr::new(address("127.0.0.3:0").ip(), bound[1].port()), 0).expect("opened");
        assert_eq!(of_wildcard.ip(), address("127.0.0.3:0").ip(), "the address that is meant");
        assert!(bench.open(bound[1], 0).expect("opened").ip().is_unspecified());
    }

    #[test]
    fn a_port_that_is_taken_becomes_any_other() {
        let (mut bench, bound) = Bench::new(&["127.0.0.78:0"]);
        // Other programs may take the port first, but not every time.
        let gets_its_wish = (0..20).any(|_| {
            let holder = UdpSocket::bind("127.0.0.78:0").expect("holder");
            let taken = holder.local_addr().expect("address").port();
            let local = bench.open(bound[0], taken).expect("opened");
            assert!(local.port() != taken && local.port() != 0);
            drop(holder);
            bench.open(bound[0], taken).map(|local| local.port()) == Some(taken)
        });
        assert!(gets_its_wish);
    }

    #[test]
    fn a_temporary_socket_sends_only_what_names_its_port_and_is_nobody_elses_to_see() {
        let (mut bench, bound) = Bench::new(&["127.0.0.9:0"]);
        let temporary = bench.open(bound[0], 0).expect("opened");
        let peer = "127.0.0.1:9";
        assert_eq!(bench.leaves_by("0.0.0.0:0", peer), Some(bound[0]));
        assert_eq!(bench.leaves_by("127.0.0.9:0", peer), Some(bound[0]));
        assert_eq!(bench.leaves_by(&temporary.to_string(), peer), Some(temporary));
        assert_eq!(bench.sockets.facts().map(|facts| facts.local).collect::<Vec<_>>(), bound);
        // Even where there is no other.
        bench.close(bound[0]);
        assert_eq!(bench.leaves_by("0.0.0.0:0", peer), None);
        assert_eq!(bench.leaves_by(&temporary.to_string(), peer), Some(temporary));
    }

    /// attacks J11: what cannot be bound is told, and costs nothing else.
    #[test]
    fn attack_j11_a_socket_that_cannot_be_opened_is_told_and_leaves_nothing() {
        let (mut bench, bound) = Bench::new(&["127.0.0.1:0", "0.0.0.0:0"]);
        assert_eq!(bench.open(address("127.0.0.1:1"), 0), None, "beside nothing");
        assert_eq!(bench.open(SocketAddr::new(address("192.0.2.1:0").ip(), bound[1].port()), 0), None, "an address of somebody else");
        assert_eq!(bench.sockets.count(), 2);
    }

    /// traversal T-94, attacks R5.
    #[test]
    fn a_thousand_temporary_sockets_leave_none_behind() {
        let (mut bench, bound) = Bench::new(&["127.0.0.1:0"]);
        for _ in 0..1_000 {
            let local = bench.open(bound[0], 0).expect("opened");
            bench.close(local);
        }
        assert_eq!((bench.sockets.count(), bench.sockets.len()), (1, 2));
    }

    /// traversal T-74: connections wish while it is their turn to send.
    #[test]
    fn a_wish_made_while_bursts_leave_is_granted_in_the_same_turn() {
        let poller = Poller::new().expect("poller");
        let waker = Waker::new(poller.registry(), BELL).expect("waker");
        let mut sockets = Sockets::new(64);
        let beside = sockets.bind(poller.registry(), &SocketConfig::new(address("127.0.0.1:0"))).expect("bound").local;
        let late = Some(SocketWish::Open { id: SocketId(1), beside, port: 0 });
        let mut inner = Loop::new(Wisher { late, ..Wisher::default() }, Nobody, sockets, poller, waker);
        inner.turn();
        let (machine, sockets, _) = inner.parts();
        assert_eq!((machine.told.len(), sockets.count()), (1, 2));
    }

    #[test]
    fn many_wishes_take_several_calls() {
        let (mut bench, bound) = Bench::new(&["127.0.0.1:0"]);
        for id in 0..100 {
            bench.machine.wishes.push_back(SocketWish::Open { id: SocketId(id), beside: bound[0], port: 0 });
        }
        assert_eq!((bench.serve(), bench.machine.told.len()), (Served::Something, WISHES_PER_CALL));
        assert_eq!((bench.serve(), bench.machine.told.len()), (Served::Something, 100));
        assert_eq!(bench.serve(), Served::Nothing);
        assert_eq!(bench.sockets.count(), 101);
    }
}
