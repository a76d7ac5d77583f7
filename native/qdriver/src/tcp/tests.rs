//! Connections over loopback, watched by a selector of their own.

use std::{
    io::Write as _,
    net::{Ipv4Addr, TcpListener},
};

use super::*;
use crate::poller::Poller;

const LONG: Duration = Duration::from_secs(60);

struct Room {
    poller: Poller,
    connections: TcpConnections,
    place: TcpPlace,
    peer: std::net::TcpStream,
}

/// A connection: one end of it, and the other.
fn connected() -> (std::net::TcpStream, std::net::TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("listen");
    let peer = std::net::TcpStream::connect(listener.local_addr().expect("address")).expect("connect");
    peer.set_read_timeout(Some(LONG)).expect("patience");
    (listener.accept().expect("accept").0, peer)
}

impl Room {
    fn new() -> Self {
        let (ours, peer) = connected();
        let (poller, mut connections) = (Poller::new().expect("poller"), TcpConnections::default());
        let place = Tcp::new(&mut connections, poller.registry()).adopt(ours, 7).expect("adopt");
        Self { poller, connections, place, peer }
    }

    /// Waits until the selector has told something of it that `wanted` looks for.
    fn wait(&mut self, wanted: impl Fn(&TcpConnection) -> bool) {
        while !wanted(self.connection()) {
            self.poller.wait(Some(LONG)).expect("wait");
            assert!(self.poller.events().count() > 0, "nothing is told");
            for event in self.poller.events() {
                assert!(self.connections.note(event));
            }
        }
    }

    fn connection(&mut self) -> &mut TcpConnection {
        self.connections.slots[self.place.0].as_mut().expect("connection")
    }

    fn tcp(&mut self) -> Tcp<'_> {
        Tcp::new(&mut self.connections, self.poller.registry())
    }

    fn release(&mut self, end: TcpEnd) {
        let place = self.place;
        self.tcp().release(place, end);
    }

    /// RST, which the selector will tell.
    fn reset_by_peer(&mut self) {
        reset_if_cut(&self.peer).expect("linger");
        self.peer = connected().1;
    }

    /// Reads until there is nothing now, or the end.
    fn read_all(&mut self) -> (Vec<u8>, bool) {
        let (mut all, mut buffer) = (Vec::new(), [0; 64]);
        loop {
            match self.connection().read(&mut buffer) {
                TcpRead::Bytes(count) => all.extend_from_slice(&buffer[..count]),
                TcpRead::End => return (all, true),
                TcpRead::Nothing => return (all, false),
                TcpRead::Failed(error) => panic!("{error}"),
            }
        }
    }
}

#[test]
fn bytes_and_their_end_come_in_this_order_even_when_one_report_tells_both() {
    let mut room = Room::new();
    assert!(matches!(room.connection().read(&mut [0; 8]), TcpRead::Nothing));
    room.peer.write_all(b"last words").expect("write");
    room.peer.shutdown(Shutdown::Write).expect("shutdown");
    room.wait(|connection| connection.stops_short);
    assert_eq!(room.tcp().next_news(), Some(7));
    assert_eq!(room.tcp().next_news(), None, "once, however often the selector spoke");
    let mut buffer = [0; 64];
    assert!(matches!(room.connection().read(&mut buffer), TcpRead::Bytes(10)));
    assert!(matches!(room.connection().read(&mut buffer), TcpRead::End), "no further report follows");
}

#[test]
fn a_full_connection_tells_when_it_takes_more() {
    let mut room = Room::new();
    let block = vec![1; 65_536];
    let mut sent: usize = 0;
    while room.connection().is_writable() {
        sent += room.connection().write(&[IoSlice::new(&block), IoSlice::new(&block)]).expect("write");
    }
    assert_eq!(room.connection().write(&[IoSlice::new(&block)]).expect("write"), 0);
    let mut buffer = vec![0; 1 << 20];
    while sent > 0 {
        sent -= room.peer.read(&mut buffer).expect("read");
    }
    room.wait(TcpConnection::is_writable);
    assert!(room.connection().write(&[IoSlice::new(&block)]).expect("write") > 0);
}

#[test]
fn what_is_let_go_before_its_end_is_reset_and_the_rest_is_closed() {
    for (end, expected) in [(TcpEnd::Reset, Err(ErrorKind::ConnectionReset)), (TcpEnd::InOrder, Ok(0))] {
        let mut room = Room::new();
        room.release(end);
        assert_eq!(room.peer.read(&mut [0; 8]).map_err(|error| error.kind()), expected);
        let place = room.place;
        assert!(room.tcp().get(place).is_none());
    }
}

#[test]
fn a_reset_of_the_peer_is_told_once_though_nobody_reads() {
    let mut room = Room::new();
    room.reset_by_peer();
    room.wait(|connection| connection.failed);
    assert_eq!(room.connection().failure().map(|error| error.kind()), Some(ErrorKind::ConnectionReset));
    assert!(room.connection().failure().is_none());
}

/// Reads stop at an urgent byte, short of what lies behind it.
#[test]
fn bytes_behind_an_urgent_one_are_read_without_a_further_report() {
    let mut room = Room::new();
    room.peer.write_all(b"before").expect("write");
    SockRef::from(&room.peer).send_out_of_band(b"!").expect("urgent");
    room.peer.write_all(b"behind").expect("write");
    room.wait(|connection| connection.in_news);
    let mut all = room.read_all().0;
    while all.len() < 12 {
        room.wait(TcpConnection::is_readable);
        all.extend(room.read_all().0);
    }
    assert_eq!(all, b"beforebehind", "the urgent byte is nobody's");
}

/// SIGPIPE ends a process that has no handler for it, and whose process this is nobody knows.
#[cfg(unix)]
#[test]
fn writing_to_a_broken_connection_raises_no_signal() {
    let mut room = Room::new();
    room.connection().end().expect("shutdown");
    let pending = pending_while(libc::SIGPIPE, || {
        assert_eq!(room.connection().write(&[IoSlice::new(b"x")]).map_err(|error| error.kind()), Err(ErrorKind::BrokenPipe));
    });
    assert!(!pending);
}

/// Whether the signal waits for this thread after `act`; it is kept off meanwhile, and waits even where it is ignored.
#[cfg(unix)]
#[expect(unsafe_code, reason = "signals have no safe wrapper among our dependencies")]
fn pending_while(signal: libc::c_int, act: impl FnOnce()) -> bool {
    // SAFETY: all pointers are to live locals; only this thread's mask changes.
    unsafe {
        let (mut set, mut waiting) = (std::mem::zeroed(), std::mem::zeroed());
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, signal);
        assert_eq!(libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()), 0);
        act();
        assert_eq!(libc::sigpending(&raw mut waiting), 0);
        let is_waiting = libc::sigismember(&raw const waiting, signal) == 1;
        let mut taken = 0;
        if is_waiting {
            libc::sigwait(&raw const set, &raw mut taken);
        }
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut());
        is_waiting
    }
}

#[test]
fn a_connection_that_is_on_its_way_here_is_reset_when_nobody_takes_it() {
    let (ours, mut peer) = connected();
    reset_if_cut(&ours).expect("linger");
    drop(ours);
    assert_eq!(peer.read(&mut [0; 8]).map_err(|error| error.kind()), Err(ErrorKind::ConnectionReset));
}

#[test]
fn what_the_kernel_took_before_an_end_in_order_arrives() {
    let mut room = Room::new();
    let block = vec![7; 65_536];
    let mut sent = 0;
    while room.connection().is_writable() {
        sent += room.connection().write(&[IoSlice::new(&block)]).expect("write");
    }
    room.connection().end().expect("shutdown");
    room.release(TcpEnd::InOrder);
    let mut all = Vec::new();
    room.peer.read_to_end(&mut all).expect("in order");
    assert_eq!(all.len(), sent);
}

#[test]
fn a_read_into_nothing_loses_nothing() {
    let mut room = Room::new();
    room.peer.write_all(b"abc").expect("write");
    room.wait(|connection| connection.in_news);
    assert!(matches!(room.connection().read(&mut []), TcpRead::Nothing));
    assert!(room.connection().is_readable());
    assert_eq!(room.read_all(), (b"abc".to_vec(), false));
    assert_eq!(room.connection().write(&[]).expect("write"), 0);
    assert_eq!(room.connection().write(&[IoSlice::new(b"")]).expect("write"), 0);
    assert!(room.connection().is_writable());
}

#[test]
fn the_end_is_read_once_and_the_other_direction_goes_on() {
    let mut room = Room::new();
    room.peer.write_all(b"question").expect("write");
    room.peer.shutdown(Shutdown::Write).expect("shutdown");
    room.wait(|connection| connection.stops_short);
    assert_eq!(room.read_all(), (b"question".to_vec(), true));
    assert!(matches!(room.connection().read(&mut [0; 8]), TcpRead::Nothing));
    assert_eq!(room.connection().write(&[IoSlice::new(b"ans"), IoSlice::new(b"wer")]).expect("write"), 6);
    room.connection().end().expect("shutdown");
    let mut answer = Vec::new();
    room.peer.read_to_end(&mut answer).expect("read");
    assert_eq!(answer, b"answer");
    assert!(room.connection().failure().is_none());
}

/// A closed connection reports no more, and so cannot keep the loop busy.
#[test]
fn a_reset_and_both_ends_are_reported_once_and_not_again() {
    let mut room = Room::new();
    room.reset_by_peer();
    room.wait(|connection| connection.failed);
    room.connection().failure();
    for _ in 0..3 {
        room.poller.wait(Some(Duration::from_micros(100))).expect("wait");
        assert_eq!(room.poller.events().count(), 0);
    }
}

#[test]
fn a_place_is_used_again_and_has_no_news_of_the_connection_before() {
    let mut room = Room::new();
    room.peer.write_all(b"x").expect("write");
    room.wait(|connection| connection.in_news);
    room.release(TcpEnd::Reset);
    let (ours, mut peer) = connected();
    let next = room.tcp().adopt(ours, 8).expect("adopt");
    assert_eq!(next, room.place);
    let first = room.tcp().next_news();
    assert!(first.is_none() || first == Some(8), "never the name of the one before: {first:?}");
    peer.write_all(b"y").expect("write");
    room.wait(|connection| connection.in_news);
    assert_eq!(room.tcp().next_news(), Some(8));
    assert_eq!(room.read_all(), (b"y".to_vec(), false));
    let places = room.connections.slots.len();
    assert_eq!(places, 1, "one after another they take one place");
}

#[test]
fn letting_go_closes_the_descriptor() {
    let mut room = Room::new();
    for _ in 0..2_000 {
        room.release(TcpEnd::Reset);
        let (ours, peer) = connected();
        room.place = room.tcp().adopt(ours, 7).expect("adopt");
        room.peer = peer;
    }
    let descriptors = SockRef::from(&room.connection().stream);
    assert!(raw(&descriptors) < 1_000, "numbers are used again");
}

#[cfg(unix)]
fn raw(socket: &socket2::Socket) -> i64 {
    use std::os::fd::AsRawFd as _;
    i64::from(socket.as_raw_fd())
}

#[cfg(not(unix))]
fn raw(_: &socket2::Socket) -> i64 {
    0
}
