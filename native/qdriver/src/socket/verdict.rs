//! What an error of a send call means for the burst it refused: the one table (attacks J7, A24, F21).
//!
//! Called by [`super::send`]. No entry closes a connection; the strongest one says that this way is unreachable now.

use std::io;

/// What to do about a refused send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The socket's buffer is full: wait until it is writable.
    Full,
    /// The system is out of buffers: try again in 1 to 10 ms.
    NoBuffers,
    /// A signal came in between: call again at once.
    Interrupted,
    /// The kernel does not like the call itself: GSO that the device cannot do, or a source address that is gone.
    Malformed,
    /// An earlier datagram met a closed port (forgeable, says nothing about this one): call again once.
    Refused,
    /// The datagram is larger than the path's or interface's MTU.
    TooLarge,
    /// No route, no interface, no permission, no socket: this way does not work now.
    Unreachable,
    /// Anything else.
    Other,
}

impl Verdict {
    /// The verdict on `error`.
    #[must_use]
    pub fn of(error: &io::Error) -> Self {
        if quinn_udp::is_msg_size_err(error) {
            return Self::TooLarge;
        }
        error.raw_os_error().and_then(Self::of_errno).unwrap_or_else(|| Self::of_kind(error.kind()))
    }

    /// By number, where numbers say more than kinds.
    #[cfg(unix)]
    fn of_errno(errno: i32) -> Option<Self> {
        Some(match errno {
            libc::ENOBUFS | libc::ENOMEM => Self::NoBuffers,
            libc::EINVAL | libc::EIO => Self::Malformed,
            libc::ENETDOWN
            | libc::ENETUNREACH
            | libc::EHOSTDOWN
            | libc::EHOSTUNREACH
            | libc::ENODEV
            | libc::ENXIO
            | libc::EADDRNOTAVAIL
            | libc::EPERM
            | libc::EACCES
            | libc::EBADF
            | libc::ENOTSOCK
            | libc::EPIPE => Self::Unreachable,
            _ => return None,
        })
    }

    #[cfg(not(unix))]
    const fn of_errno(_: i32) -> Option<Self> {
        None
    }

    /// By kind, on every system.
    fn of_kind(kind: io::ErrorKind) -> Self {
        match kind {
            io::ErrorKind::WouldBlock => Self::Full,
            io::ErrorKind::Interrupted => Self::Interrupted,
            io::ErrorKind::OutOfMemory => Self::NoBuffers,
            io::ErrorKind::InvalidInput => Self::Malformed,
            io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => Self::Refused,
            io::ErrorKind::NetworkDown
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::AddrNotAvailable
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::BrokenPipe => Self::Unreachable,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;

    #[test]
    fn attack_j7_every_error_of_the_attack_table_has_its_verdict() {
        let table = [
            (libc::EAGAIN, Verdict::Full),
            (libc::EWOULDBLOCK, Verdict::Full),
            (libc::ENOBUFS, Verdict::NoBuffers),
            (libc::ENOMEM, Verdict::NoBuffers),
            (libc::EINTR, Verdict::Interrupted),
            (libc::EMSGSIZE, Verdict::TooLarge),
            (libc::ECONNREFUSED, Verdict::Refused),
            (libc::ENETUNREACH, Verdict::Unreachable),
            (libc::EHOSTUNREACH, Verdict::Unreachable),
            (libc::ENETDOWN, Verdict::Unreachable),
            (libc::EPERM, Verdict::Unreachable),
            (libc::EACCES, Verdict::Unreachable),
            (libc::EADDRNOTAVAIL, Verdict::Unreachable),
            (libc::EBADF, Verdict::Unreachable),
            (libc::EINVAL, Verdict::Malformed),
            (libc::EIO, Verdict::Malformed),
            (libc::EFAULT, Verdict::Other),
        ];
        for (errno, verdict) in table {
            assert_eq!(Verdict::of(&io::Error::from_raw_os_error(errno)), verdict, "errno {errno}");
        }
    }
}
