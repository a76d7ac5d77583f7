//! Failures of sockets and threads as errors of the public contract.

use std::io;

use qdriver::{drive::SpawnError, socket::BindError};

use crate::error::NativeError;

/// A socket could not be bound: QB_BIND_FAILED with the address and the name of the system's error.
#[must_use]
pub fn bind_failure(error: &BindError) -> NativeError {
    let name = errno_name(&error.source);
    NativeError::new("QB_BIND_FAILED", format!("{error} ({name}); choose another address, or free this one"))
}

/// An I/O thread did not start.
#[must_use]
pub fn spawn_failure(error: &SpawnError) -> NativeError {
    match error {
        SpawnError::Bind(error) => bind_failure(error),
        SpawnError::System(error) => {
            let name = errno_name(error);
            NativeError::new("QB_BIND_FAILED", format!("the I/O thread could not be started: {error} ({name})"))
        }
    }
}

/// The name of a system error as C programs know it.
fn errno_name(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "EADDRINUSE",
        io::ErrorKind::AddrNotAvailable => "EADDRNOTAVAIL",
        io::ErrorKind::InvalidInput => "EINVAL",
        io::ErrorKind::Unsupported => "EAFNOSUPPORT",
        io::ErrorKind::NetworkUnreachable => "ENETUNREACH",
        io::ErrorKind::OutOfMemory => "ENOMEM",
        io::ErrorKind::PermissionDenied => match error.raw_os_error() {
            Some(1) => "EPERM",
            _ => "EACCES",
        },
        _ => match error.raw_os_error() {
            Some(19) => "ENODEV",
            Some(23) => "ENFILE",
            Some(24) => "EMFILE",
            _ => "unknown",
        },
    }
}

#[cfg(test)]
mod tests {
    use qdriver::socket::{Socket, SocketConfig};

    use super::*;

    #[test]
    fn a_taken_address_is_named_with_its_error() {
        let first = Socket::bind(&SocketConfig::new("127.0.0.1:0".parse().expect("address"))).expect("bind");
        let error = Socket::bind(&SocketConfig::new(first.local())).expect_err("taken");
        let error = bind_failure(&error);
        let error = error.facts();
        assert_eq!(error.code, "QB_BIND_FAILED");
        assert!(error.message.contains("EADDRINUSE") && error.message.contains("127.0.0.1"), "{}", error.message);
    }
}
