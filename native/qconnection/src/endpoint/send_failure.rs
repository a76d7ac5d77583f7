//! Why a socket refused a burst, in the words of the operating system.
//!
//! Told by the driver or the simulator through [`Endpoint::on_send_error`](super::Endpoint::on_send_error). Only
//! `TooLarge` changes what the machine does; the others are for people (event `send-error`).

/// Why a socket refused a burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendFailure {
    /// No route: ENETUNREACH.
    Unreachable,
    /// The next hop or the host does not answer: EHOSTUNREACH, EHOSTDOWN.
    HostUnreachable,
    /// The interface is down: ENETDOWN.
    NetworkDown,
    /// A firewall of this host: EPERM.
    NotPermitted,
    /// Not allowed to this program, or a broadcast address: EACCES.
    AccessDenied,
    /// An earlier datagram met a closed port: ECONNREFUSED.
    Refused,
    /// Our address is none of this host's: EADDRNOTAVAIL.
    AddressGone,
    /// The kernel cannot send between these addresses: EINVAL.
    Invalid,
    /// The device has gone: ENODEV, ENXIO.
    NoDevice,
    /// There is no socket for these addresses, or it is broken: EBADF, ENOTSOCK, EPIPE.
    NoSocket,
    /// EMSGSIZE.
    TooLarge,
    /// Any other.
    Other,
}

impl SendFailure {
    /// The name that C programs know.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unreachable => "ENETUNREACH",
            Self::HostUnreachable => "EHOSTUNREACH",
            Self::NetworkDown => "ENETDOWN",
            Self::NotPermitted => "EPERM",
            Self::AccessDenied => "EACCES",
            Self::Refused => "ECONNREFUSED",
            Self::AddressGone => "EADDRNOTAVAIL",
            Self::Invalid => "EINVAL",
            Self::NoDevice => "ENODEV",
            Self::NoSocket => "EBADF",
            Self::TooLarge => "EMSGSIZE",
            Self::Other => "unknown",
        }
    }
}
