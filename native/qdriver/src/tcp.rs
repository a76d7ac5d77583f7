//! TCP connections that an application hands to the I/O thread, so that their bytes need no other thread.
//!
//! Decides when the kernel may have something to read or to take (it reports edges), and what its answers mean. Called by the application
//! through [`Io::with_tcp`](crate::Io::with_tcp), and by the loop for the selector's reports. Never reads or writes by itself, and never
//! waits. A connection that is let go without having ended in order is reset: what was cut short must not look complete.

use std::{
    collections::VecDeque,
    io::{self, ErrorKind, IoSlice, Read as _, Write as _},
    net::Shutdown,
    time::Duration,
};

use mio::{Interest, Registry, Token, event::Event, net::TcpStream};
use socket2::SockRef;

/// Tokens of connections count up from here: UDP sockets have the small ones, the bell the largest.
const FIRST: usize = 1 << 24;

/// Connections of one thread.
#[derive(Debug, Default)]
pub(crate) struct TcpConnections {
    /// By token.
    slots: Vec<Option<TcpConnection>>,
    /// Places of connections that the selector spoke of since they were asked for, each at most once.
    news: VecDeque<usize>,
}

/// One connection.
#[derive(Debug)]
pub struct TcpConnection {
    stream: TcpStream,
    /// The application's name for it.
    tag: u32,
    /// The kernel may have bytes, or the end.
    readable: bool,
    /// The kernel may take bytes.
    writable: bool,
    /// The selector has told the end of what comes: a short read is not the last one.
    ending: bool,
    /// The selector has told an error.
    failed: bool,
    in_news: bool,
    parting: Parting,
}

/// How a connection is let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Parting {
    /// Its end was not passed on: RST.
    Reset,
    /// Both directions have ended.
    InOrder,
}

/// What a read brought.
#[derive(Debug)]
pub enum TcpRead {
    /// So many bytes.
    Bytes(usize),
    /// The peer sends no more.
    End,
    /// Nothing yet; [`Tcp::next_news`] tells when.
    Nothing,
    /// It is broken, or was reset.
    Failed(io::Error),
}

/// The connections of a thread, in the hands of its application.
#[derive(Debug)]
pub struct Tcp<'a> {
    connections: &'a mut TcpConnections,
    registry: &'a Registry,
}

impl<'a> Tcp<'a> {
    pub(crate) const fn new(connections: &'a mut TcpConnections, registry: &'a Registry) -> Self {
        Self { connections, registry }
    }

    /// Takes a connected TCP socket over, under a name of the application's that [`Self::next_news`] repeats; answers its place.
    ///
    /// # Errors
    /// The selector refused it; it is closed then.
    pub fn adopt(&mut self, stream: std::net::TcpStream, tag: u32) -> io::Result<TcpPlace> {
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        let slots = &mut self.connections.slots;
        let place = slots.iter().position(Option::is_none).unwrap_or(slots.len());
        self.registry.register(&mut stream, Token(FIRST.saturating_add(place)), Interest::READABLE | Interest::WRITABLE)?;
        let connection =
            TcpConnection { stream, tag, readable: true, writable: true, ending: false, failed: false, in_news: false, parting: Parting::Reset };
        match slots.get_mut(place) {
            Some(slot) => *slot = Some(connection),
            None => slots.push(Some(connection)),
        }
        Ok(TcpPlace(place))
    }

    /// A connection; `None`: it was let go.
    pub fn get(&mut self, place: TcpPlace) -> Option<&mut TcpConnection> {
        self.connections.slots.get_mut(place.0)?.as_mut()
    }

    /// Lets a connection go: closed if both its directions have ended in order, else reset.
    pub fn release(&mut self, place: TcpPlace, both: TcpEnd) {
        let Some(mut connection) = self.connections.slots.get_mut(place.0).and_then(Option::take) else { return };
        // Closing the descriptor ends its reports too.
        self.registry.deregister(&mut connection.stream).unwrap_or_default();
        if both == TcpEnd::InOrder {
            connection.parting = Parting::InOrder;
        }
    }

    /// The name of a connection that the selector had something to tell of.
    pub fn next_news(&mut self) -> Option<u32> {
        while let Some(place) = self.connections.news.pop_front() {
            // What was let go has no news.
            if let Some(connection) = self.get(TcpPlace(place)) {
                connection.in_news = false;
                return Some(connection.tag);
            }
        }
        None
    }
}

/// Where a connection stands in its thread's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpPlace(usize);

/// How a connection is let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpEnd {
    /// Both directions have ended.
    InOrder,
    /// RST.
    Reset,
}

impl TcpConnections {
    /// Marks the connection that an event speaks of; `false`: it speaks of something else.
    pub(crate) fn note(&mut self, event: &Event) -> bool {
        let Some(place) = event.token().0.checked_sub(FIRST).filter(|_| event.token().0 != usize::MAX) else { return false };
        // What was let go has no news.
        let Some(Some(connection)) = self.slots.get_mut(place) else { return true };
        connection.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
        connection.writable |= event.is_writable();
        connection.ending |= event.is_read_closed();
        connection.failed |= event.is_error();
        if !connection.in_news {
            connection.in_news = true;
            self.news.push_back(place);
        }
        true
    }
}

impl TcpConnection {
    /// The kernel may have something to read.
    #[must_use]
    pub const fn is_readable(&self) -> bool {
        self.readable
    }

    /// The kernel may take something.
    #[must_use]
    pub const fn is_writable(&self) -> bool {
        self.writable
    }

    /// What broke it, told once.
    pub fn failure(&mut self) -> Option<io::Error> {
        if !std::mem::take(&mut self.failed) {
            return None;
        }
        self.stream.take_error().unwrap_or_else(Some)
    }

    /// Takes what is there.
    pub fn read(&mut self, buffer: &mut [u8]) -> TcpRead {
        if !self.readable || buffer.is_empty() {
            return TcpRead::Nothing;
        }
        loop {
            match self.stream.read(buffer) {
                Ok(0) => {
                    self.readable = false;
                    return TcpRead::End;
                }
                Ok(count) => {
                    self.readable = count == buffer.len() || self.ending;
                    return TcpRead::Bytes(count);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.readable = false;
                    return TcpRead::Nothing;
                }
                Err(error) => {
                    self.readable = false;
                    return TcpRead::Failed(error);
                }
            }
        }
    }

    /// Hands bytes to the kernel and answers how many it took; fewer than offered: it tells when it takes more.
    ///
    /// # Errors
    /// It is broken, or was reset.
    pub fn write(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let offered: usize = pieces.iter().map(|piece| piece.len()).sum();
        if !self.writable || offered == 0 {
            return Ok(0);
        }
        loop {
            match self.stream.write_vectored(pieces) {
                Ok(count) => {
                    self.writable = count == offered;
                    return Ok(count);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.writable = false;
                    return Ok(0);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// FIN behind what was written.
    ///
    /// # Errors
    /// It is broken, or was reset.
    pub fn end(&mut self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }
}

impl Drop for TcpConnection {
    fn drop(&mut self) {
        if self.parting == Parting::Reset {
            // One that refuses is closed, which is all that is left.
            SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;
    use crate::poller::Poller;

    const LONG: Duration = Duration::from_secs(60);

    struct Room {
        poller: Poller,
        connections: TcpConnections,
        place: TcpPlace,
        peer: std::net::TcpStream,
    }

    impl Room {
        fn new() -> Self {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("listen");
            let peer = std::net::TcpStream::connect(listener.local_addr().expect("address")).expect("connect");
            let (ours, _) = listener.accept().expect("accept");
            let (poller, mut connections) = (Poller::new().expect("poller"), TcpConnections::default());
            let place = Tcp::new(&mut connections, poller.registry()).adopt(ours, 7).expect("adopt");
            Self { poller, connections, place, peer }
        }

        /// Waits until the selector has told something of it that `wanted` looks for.
        fn wait(&mut self, wanted: impl Fn(&TcpConnection) -> bool) {
            while !wanted(self.connection()) {
                self.poller.wait(Some(LONG)).expect("wait");
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
    }

    #[test]
    fn bytes_and_their_end_come_in_this_order_even_when_one_report_tells_both() {
        let mut room = Room::new();
        assert!(matches!(room.connection().read(&mut [0; 8]), TcpRead::Nothing));
        room.peer.write_all(b"last words").expect("write");
        room.peer.shutdown(Shutdown::Write).expect("shutdown");
        room.wait(|connection| connection.ending);
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
        SockRef::from(&room.peer).set_linger(Some(Duration::ZERO)).expect("linger");
        let other = std::net::TcpStream::connect(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("listen").local_addr().expect("address"));
        drop(std::mem::replace(&mut room.peer, other.expect("connect")));
        room.wait(|connection| connection.failed);
        assert_eq!(room.connection().failure().map(|error| error.kind()), Some(ErrorKind::ConnectionReset));
        assert!(room.connection().failure().is_none());
    }
}
