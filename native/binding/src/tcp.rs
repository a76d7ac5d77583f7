//! TCP connections of JavaScript's, taken over by their descriptors.
//!
//! Decides whether a descriptor is a connected TCP socket. Called by `endpoint`. The descriptor is duplicated: JavaScript closes its own. From
//! then on the connection is reset by whoever holds it last, unless it ends in order: it may be let go before anybody else has looked at it.

use std::{io, net::TcpStream};

/// A second hold of a connection; where descriptors are not numbers of files there is none.
///
/// # Errors
/// It is no connected TCP socket, or the process has no descriptor left.
#[cfg(unix)]
pub fn duplicate(descriptor: i32) -> io::Result<TcpStream> {
    use std::os::fd::BorrowedFd;

    use qdriver::tcp::reset_if_cut;

    if descriptor < 0 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    #[expect(unsafe_code, reason = "Node tells a descriptor as a number")]
    // SAFETY: not negative, and borrowed for this call only, during which no JavaScript runs that could close it. A number that is none of
    // an open file makes duplicating fail.
    let borrowed = unsafe { BorrowedFd::borrow_raw(descriptor) };
    let stream = TcpStream::from(borrowed.try_clone_to_owned()?);
    stream.peer_addr()?;
    reset_if_cut(&stream)?;
    Ok(stream)
}

/// See above.
///
/// # Errors
/// Always.
#[cfg(not(unix))]
pub fn duplicate(_descriptor: i32) -> io::Result<TcpStream> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(all(test, unix))]
mod tests {
    use std::{
        fs::File,
        io::{ErrorKind, Read as _},
        net::{Ipv4Addr, TcpListener},
        os::{fd::AsRawFd, unix::net::UnixStream},
    };

    use super::*;

    /// attacks I9.
    #[test]
    fn only_connected_tcp_sockets_are_taken_over() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("listen");
        let connected = TcpStream::connect(listener.local_addr().expect("address")).expect("connect");
        assert!(duplicate(connected.as_raw_fd()).is_ok_and(|second| second.peer_addr().ok() == connected.peer_addr().ok()));
        let (pipe, _other) = UnixStream::pair().expect("pair");
        let file = File::open("/dev/null").expect("file");
        for descriptor in [-1, i32::MAX, listener.as_raw_fd(), pipe.as_raw_fd(), file.as_raw_fd()] {
            assert!(duplicate(descriptor).is_err(), "{descriptor}");
        }
    }

    #[test]
    fn a_connection_that_is_let_go_before_it_is_joined_is_reset_and_not_ended() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("listen");
        let mut far = TcpStream::connect(listener.local_addr().expect("address")).expect("connect");
        let (near, _) = listener.accept().expect("accept");
        let second = duplicate(near.as_raw_fd()).expect("second hold");
        drop(near);
        drop(second);
        assert_eq!(far.read(&mut [0; 8]).map_err(|error| error.kind()), Err(ErrorKind::ConnectionReset));
    }
}
