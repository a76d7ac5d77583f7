//! The system's error of a send call in the machine's words: the one table of names (attacks J7, F21).
//!
//! Called by [`super::turn`] for what [`crate::socket::Verdict`] did not resolve. Decides nothing: whether a way works
//! is the verdict's part.

use std::io;

use super::machine::SendFailure;
use crate::socket::Stop;

/// Why nothing went; `None`: nothing is wrong with the way, the socket is only full.
pub(super) fn failure_of(stop: Option<&Stop>) -> Option<SendFailure> {
    match stop {
        Some(Stop::Full | Stop::NoBuffers) => None,
        Some(Stop::TooLarge(_)) => Some(SendFailure::TooLarge),
        Some(Stop::Unreachable(error) | Stop::Other(error)) => Some(named(error)),
        None => Some(SendFailure::Other),
    }
}

fn named(error: &io::Error) -> SendFailure {
    error.raw_os_error().and_then(by_number).unwrap_or_else(|| by_kind(error.kind()))
}

/// Numbers that have no kind, or share theirs with another.
#[cfg(unix)]
const fn by_number(errno: i32) -> Option<SendFailure> {
    Some(match errno {
        libc::EPERM => SendFailure::NotPermitted,
        libc::EACCES => SendFailure::AccessDenied,
        libc::EHOSTDOWN => SendFailure::HostUnreachable,
        libc::ENODEV | libc::ENXIO => SendFailure::NoDevice,
        libc::EBADF | libc::ENOTSOCK | libc::EPIPE => SendFailure::NoSocket,
        _ => return None,
    })
}

#[cfg(not(unix))]
const fn by_number(_: i32) -> Option<SendFailure> {
    None
}

/// By kind, on every system.
const fn by_kind(kind: io::ErrorKind) -> SendFailure {
    match kind {
        io::ErrorKind::NetworkUnreachable => SendFailure::Unreachable,
        io::ErrorKind::HostUnreachable => SendFailure::HostUnreachable,
        io::ErrorKind::NetworkDown => SendFailure::NetworkDown,
        io::ErrorKind::PermissionDenied => SendFailure::AccessDenied,
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => SendFailure::Refused,
        io::ErrorKind::AddrNotAvailable => SendFailure::AddressGone,
        io::ErrorKind::InvalidInput => SendFailure::Invalid,
        _ => SendFailure::Other,
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;

    #[test]
    fn each_error_of_a_way_keeps_its_name() {
        let table = [
            (libc::ENETUNREACH, "ENETUNREACH"),
            (libc::EHOSTUNREACH, "EHOSTUNREACH"),
            (libc::EHOSTDOWN, "EHOSTUNREACH"),
            (libc::ENETDOWN, "ENETDOWN"),
            (libc::EPERM, "EPERM"),
            (libc::EACCES, "EACCES"),
            (libc::ECONNREFUSED, "ECONNREFUSED"),
            (libc::EADDRNOTAVAIL, "EADDRNOTAVAIL"),
            (libc::EINVAL, "EINVAL"),
            (libc::ENODEV, "ENODEV"),
            (libc::EBADF, "EBADF"),
            (libc::EFAULT, "unknown"),
        ];
        for (errno, name) in table {
            for stop in [Stop::Unreachable, Stop::Other] {
                let stop = stop(io::Error::from_raw_os_error(errno));
                assert_eq!(failure_of(Some(&stop)).map(SendFailure::name), Some(name), "errno {errno}");
            }
        }
        assert_eq!(failure_of(Some(&Stop::Full)), None);
        assert_eq!(failure_of(Some(&Stop::TooLarge(io::ErrorKind::Other.into()))), Some(SendFailure::TooLarge));
    }
}
