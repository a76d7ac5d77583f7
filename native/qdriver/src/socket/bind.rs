//! Opening a socket: address, interface, port sharing, kernel buffers (attacks J10, J11).
//!
//! Called by [`super::Socket::bind`]. An error names the step, the address and the system's number; nothing is retried
//! and no other port is tried.

use std::{fmt, io, net::SocketAddr};

use socket2::{Domain, Protocol, Type};

use super::options;

/// Kernel buffer asked for on each side, bytes.
pub const BUFFER_BYTES: usize = 4 * 1_024 * 1_024;

/// What to bind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketConfig {
    /// Address and port; port 0: any free one; unspecified IP: every address of that family (IPv6 only for `::`).
    pub address: SocketAddr,
    /// Network interface every datagram must pass, by name; `None`: the routing table decides.
    pub interface: Option<String>,
    /// Whether other sockets may bind the same port.
    pub sharing: PortSharing,
    /// Kernel buffers to ask for.
    pub buffers: BufferSizes,
}

impl SocketConfig {
    /// A socket at `address` with everything else by default.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self { address, interface: None, sharing: PortSharing::Exclusive, buffers: BufferSizes::default() }
    }
}

/// Whether a port belongs to one socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum PortSharing {
    /// A second bind fails.
    #[default]
    Exclusive,
    /// `SO_REUSEPORT`: the kernel spreads peers over all sockets of the port.
    Shared,
}

/// Sizes of a socket's kernel buffers, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BufferSizes {
    /// `SO_SNDBUF`.
    pub send: usize,
    /// `SO_RCVBUF`.
    pub receive: usize,
}

impl Default for BufferSizes {
    fn default() -> Self {
        Self { send: BUFFER_BYTES, receive: BUFFER_BYTES }
    }
}

/// What was being done when binding failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Making the socket (descriptors may be used up).
    Open,
    /// Setting its options.
    Configure,
    /// Tying it to the interface.
    Interface,
    /// Taking the address.
    Bind,
}

impl Step {
    const fn words(self) -> &'static str {
        match self {
            Self::Open => "open a socket for",
            Self::Configure => "configure the socket for",
            Self::Interface => "use the interface for",
            Self::Bind => "bind",
        }
    }
}

/// A socket could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot {} {address}{}: {source}", step.words(), At(interface.as_deref()))]
pub struct BindError {
    /// What was being done.
    pub step: Step,
    /// The address asked for.
    pub address: SocketAddr,
    /// The interface asked for.
    pub interface: Option<String>,
    /// What the system said.
    pub source: io::Error,
}

impl BindError {
    pub(super) fn new(step: Step, config: &SocketConfig, source: io::Error) -> Self {
        Self { step, address: config.address, interface: config.interface.clone(), source }
    }

    /// The system's error number, if it was the system that refused.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        self.source.raw_os_error()
    }
}

impl From<BindError> for io::Error {
    fn from(error: BindError) -> Self {
        Self::new(error.source.kind(), error)
    }
}

/// " at eth0" or nothing.
struct At<'a>(Option<&'a str>);

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |interface| write!(f, " at {interface}"))
    }
}

/// Opens, configures and binds; also tells the kernel buffers that were granted.
pub(super) fn open(config: &SocketConfig) -> Result<(socket2::Socket, BufferSizes), BindError> {
    let failed = |step| move |source| BindError::new(step, config, source);
    let socket = socket2::Socket::new(Domain::for_address(config.address), Type::DGRAM, Some(Protocol::UDP))
        .map_err(failed(Step::Open))?;
    socket.set_nonblocking(true).map_err(failed(Step::Configure))?;
    if config.address.is_ipv6() {
        // `0.0.0.0:4433` and `[::]:4433` are two sockets of one endpoint; a dual-stack socket would take both.
        socket.set_only_v6(true).map_err(failed(Step::Configure))?;
    }
    if config.sharing == PortSharing::Shared {
        share_port(&socket).map_err(failed(Step::Configure))?;
    }
    if let Some(interface) = &config.interface {
        options::bind_interface(&socket, interface).map_err(failed(Step::Interface))?;
    }
    let granted = options::grow_buffers(&socket, config.buffers).map_err(failed(Step::Configure))?;
    socket.bind(&config.address.into()).map_err(failed(Step::Bind))?;
    Ok((socket, granted))
}

#[cfg(unix)]
fn share_port(socket: &socket2::Socket) -> io::Result<()> {
    socket.set_reuse_port(true)
}

#[cfg(not(unix))]
fn share_port(_: &socket2::Socket) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
