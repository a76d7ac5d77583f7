//! Socket options that no wrapper sets the way we need.
//!
//! Called while binding. What the kernel refuses here costs speed, never correctness.

use std::io;

use super::bind::BufferSizes;

/// Asks for `wanted` bytes on both sides and tells what was granted (attacks J10).
///
/// Where the administrator's limit is lower, a privileged process asks again with the option that may pass it.
pub(super) fn grow_buffers(socket: &socket2::Socket, wanted: BufferSizes) -> io::Result<BufferSizes> {
    socket.set_send_buffer_size(wanted.send)?;
    socket.set_recv_buffer_size(wanted.receive)?;
    let granted = granted(socket)?;
    #[cfg(target_os = "linux")]
    {
        if granted.send < wanted.send {
            linux::force(socket, libc::SO_SNDBUFFORCE, wanted.send);
        }
        if granted.receive < wanted.receive {
            linux::force(socket, libc::SO_RCVBUFFORCE, wanted.receive);
        }
        self::granted(socket)
    }
    #[cfg(not(target_os = "linux"))]
    Ok(granted)
}

fn granted(socket: &socket2::Socket) -> io::Result<BufferSizes> {
    Ok(BufferSizes {
        send: socket.send_buffer_size()? / KERNEL_FACTOR,
        receive: socket.recv_buffer_size()? / KERNEL_FACTOR,
    })
}

/// Linux doubles what is asked, for its own bookkeeping, and reports the double.
const KERNEL_FACTOR: usize = if cfg!(target_os = "linux") { 2 } else { 1 };

/// The time to live that the system gives datagrams of this socket; `None`: it does not say.
pub(super) fn hop_limit(socket: &socket2::Socket) -> Option<u8> {
    let is_ipv4 = socket.local_addr().is_ok_and(|address| address.is_ipv4());
    let limit = if is_ipv4 { socket.ttl_v4() } else { socket.unicast_hops_v6() };
    limit.ok().and_then(|limit| u8::try_from(limit).ok())
}

/// Ties the socket to one interface.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn bind_interface(socket: &socket2::Socket, interface: &str) -> io::Result<()> {
    socket.bind_device(Some(interface.as_bytes()))
}

/// Ties the socket to one interface: not offered on this system.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn bind_interface(_: &socket2::Socket, _: &str) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Undoes the receive timestamps that quinn-udp asks for: time is read once per batch (design rule "one clock read").
pub(super) fn without_timestamps(socket: &mio::net::UdpSocket) {
    #[cfg(target_os = "linux")]
    linux::set(socket, libc::SO_TIMESTAMPNS, 0);
    #[cfg(not(target_os = "linux"))]
    let _ = socket;
}

/// Sends without checksums, which the kernel refuses for GSO: a true "GSO does not work here".
#[cfg(all(test, target_os = "linux"))]
pub(super) fn without_checksums(socket: &mio::net::UdpSocket) {
    linux::set(socket, libc::SO_NO_CHECK, 1);
}

/// What the kernel does with datagrams longer than a link of their way, as `IP_MTU_DISCOVER` names it.
#[cfg(all(test, target_os = "linux"))]
pub(super) fn mtu_discovery(socket: &mio::net::UdpSocket, local: &std::net::SocketAddr) -> libc::c_int {
    if local.is_ipv4() {
        linux::get(socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER)
    } else {
        linux::get(socket, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER)
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::os::fd::AsRawFd;

    pub(super) fn force(socket: &socket2::Socket, option: libc::c_int, bytes: usize) {
        set(socket, option, libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX));
    }

    /// Sets an option of level `SOL_SOCKET`; a refusal is not reported because nothing depends on it.
    #[expect(unsafe_code, reason = "setsockopt for options that socket2 does not name")]
    pub(super) fn set(socket: &impl AsRawFd, option: libc::c_int, value: libc::c_int) {
        let length = libc::socklen_t::try_from(size_of_val(&value)).unwrap_or(0);
        // SAFETY: the pointer is to a live local of exactly `length` bytes, which the kernel only reads.
        unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, (&raw const value).cast(), length) };
    }

    #[cfg(test)]
    #[expect(unsafe_code, reason = "getsockopt for options that socket2 does not name")]
    pub(super) fn get(socket: &impl AsRawFd, level: libc::c_int, option: libc::c_int) -> libc::c_int {
        let mut value: libc::c_int = -1;
        let mut length = libc::socklen_t::try_from(size_of_val(&value)).unwrap_or(0);
        // SAFETY: both pointers are to live locals, and the kernel writes at most `length` bytes.
        unsafe { libc::getsockopt(socket.as_raw_fd(), level, option, (&raw mut value).cast(), &raw mut length) };
        value
    }
}
