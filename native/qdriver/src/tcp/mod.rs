//! TCP connections that an application hands to the I/O thread, so that their bytes need no other thread.
//!
//! Decides when the kernel may have something to read or to take (it reports edges), and what its answers mean. Called by the application
//! through [`Io::with_tcp`](crate::Io::with_tcp), and by the loop for the selector's reports. Never reads or writes by itself, and never
//! waits. A connection that is let go without having ended in order is reset, even where nobody lets it go but the process ends: what was
//! cut short must not look complete. Writing to a broken one raises no signal: whose process it is may have no handler for that.

use std::{
    collections::VecDeque,
    io::{self, ErrorKind, IoSlice, Read as _},
    net::Shutdown,
    time::Duration,
};

use mio::{Interest, Registry, Token, event::Event, net::TcpStream};
use socket2::SockRef;

/// Tokens of connections count up from here: UDP sockets have the small ones, the bell the largest.
const FIRST: usize = 1 << 24;
/// Where urgent bytes are told of, so are those at which reads stop.
#[cfg(any(target_os = "linux", target_os = "android"))]
const INTEREST: Interest = Interest::READABLE.add(Interest::WRITABLE).add(Interest::PRIORITY);
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const INTEREST: Interest = Interest::READABLE.add(Interest::WRITABLE);
/// EPIPE without SIGPIPE; Apple has an option of the socket instead.
#[cfg(all(unix, not(target_vendor = "apple")))]
const NO_SIGNAL: i32 = libc::MSG_NOSIGNAL;
#[cfg(not(all(unix, not(target_vendor = "apple"))))]
const NO_SIGNAL: i32 = 0;

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
    /// A short read is not the last one: the selector has told the end of what comes, or urgent bytes, at which reads stop (RFC 6093 §3) and
    /// of which it may not tell everywhere.
    stops_short: bool,
    /// The selector has told an error.
    failed: bool,
    in_news: bool,
}

/// From now on the connection is reset when it is closed, by whoever closes it.
///
/// # Errors
/// It is no connection.
pub fn reset_if_cut(stream: &std::net::TcpStream) -> io::Result<()> {
    SockRef::from(stream).set_linger(Some(Duration::ZERO))
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
    /// The selector refused it; it is reset then.
    pub fn adopt(&mut self, stream: std::net::TcpStream, tag: u32) -> io::Result<TcpPlace> {
        reset_if_cut(&stream)?;
        #[cfg(target_vendor = "apple")]
        SockRef::from(&stream).set_nosigpipe(true)?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        let slots = &mut self.connections.slots;
        let place = slots.iter().position(Option::is_none).unwrap_or(slots.len());
        self.registry.register(&mut stream, Token(FIRST.saturating_add(place)), INTEREST)?;
        let stops_short = cfg!(not(any(target_os = "linux", target_os = "android")));
        let connection = TcpConnection { stream, tag, readable: true, writable: true, stops_short, failed: false, in_news: false };
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
            // What is on its way goes on; one that refuses loses that, as everywhere else.
            SockRef::from(&connection.stream).set_linger(None).unwrap_or_default();
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
        connection.stops_short |= event.is_read_closed() || event.is_priority();
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
                    self.readable = count == buffer.len() || self.stops_short;
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
            let stream = &self.stream;
            match stream.try_io(|| SockRef::from(stream).send_vectored_with_flags(pieces, NO_SIGNAL)) {
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

#[cfg(test)]
mod tests;
