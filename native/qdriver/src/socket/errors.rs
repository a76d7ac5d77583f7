//! What the network says about datagrams that a socket sent: "nobody listens at that port" (ICMP, RFC 9000 §14.2.1).
//!
//! Systems keep such words from sockets that send to many; Linux has a queue for them (`IP_RECVERR`), which is asked for
//! while a connection waits for its first answer, and not otherwise: with it, a later call may report what an earlier
//! datagram met. Elsewhere there is nothing to hear, and a handshake with nobody ends by its timeout. Called by `drive`.
//! Never believes anything: anybody can write ICMP, and the quoted bytes are for the machine to judge (attacks A24).

use std::net::SocketAddr;

/// Bytes of a quoted datagram that are read: enough for a long header with both connection ids.
pub const QUOTED_BYTES: usize = 64;

/// Whether words about datagrams are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Hearing {
    /// They are dropped by the kernel.
    #[default]
    Off,
    /// They wait in a queue.
    On,
}

/// The host said that nobody listens at a port.
#[derive(Clone, Copy, Debug)]
pub struct PortUnreachable {
    /// Where the datagram went.
    pub remote: SocketAddr,
    quoted: [u8; QUOTED_BYTES],
    len: usize,
}

impl PortUnreachable {
    /// The beginning of the datagram's payload, as far as it came back.
    #[must_use]
    pub fn quoted(&self) -> &[u8] {
        self.quoted.get(..self.len).unwrap_or_default()
    }
}

#[cfg(target_os = "linux")]
pub(super) use linux::{hear, next};

/// Nothing to hear on this system.
#[cfg(not(target_os = "linux"))]
pub(super) fn hear(_: &mio::net::UdpSocket, _: SocketAddr, _: Hearing) {}

/// Nothing to hear on this system.
#[cfg(not(target_os = "linux"))]
pub(super) fn next(_: &mio::net::UdpSocket) -> Option<Option<PortUnreachable>> {
    None
}

#[cfg(target_os = "linux")]
mod linux {
    use std::{
        mem,
        net::{Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
        os::fd::AsRawFd,
        ptr,
    };

    use super::{Hearing, PortUnreachable, QUOTED_BYTES};

    /// Room for the one control message of an error: its header, what went wrong, who said so.
    const CONTROL_BYTES: usize = 256;
    /// ICMP (RFC 792): destination unreachable, port unreachable.
    const PORT_V4: (u8, u8) = (3, 3);
    /// ICMPv6 (RFC 4443 §3.1): destination unreachable, port unreachable.
    const PORT_V6: (u8, u8) = (1, 4);

    /// Asks for the queue, or empties and closes it.
    #[expect(unsafe_code, reason = "setsockopt for options that socket2 does not name")]
    pub(in super::super) fn hear(socket: &mio::net::UdpSocket, local: SocketAddr, hearing: Hearing) {
        let (level, option) = if local.is_ipv4() { (libc::IPPROTO_IP, libc::IP_RECVERR) } else { (libc::IPPROTO_IPV6, libc::IPV6_RECVERR) };
        let value = libc::c_int::from(hearing == Hearing::On);
        let length = libc::socklen_t::try_from(size_of_val(&value)).unwrap_or(0);
        // SAFETY: the pointer is to a live local of exactly `length` bytes, which the kernel only reads.
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), length) };
        if hearing == Hearing::Off {
            // What was reported last would be the answer to the next call.
            socket.take_error().unwrap_or_default();
        }
    }

    /// The oldest word in the queue; inner `None`: it is about something else.
    #[expect(unsafe_code, reason = "recvmsg of the error queue has no safe wrapper among our dependencies")]
    pub(in super::super) fn next(socket: &mio::net::UdpSocket) -> Option<Option<PortUnreachable>> {
        let mut quoted = [0; QUOTED_BYTES];
        let mut control = Control([0; CONTROL_BYTES]);
        // SAFETY: all fields are integers, for which zero is a valid value.
        let mut name: libc::sockaddr_storage = unsafe { mem::zeroed() };
        let mut vector = libc::iovec { iov_base: quoted.as_mut_ptr().cast(), iov_len: quoted.len() };
        // SAFETY: all fields are integers and pointers, for which zero is a valid value.
        let mut message: libc::msghdr = unsafe { mem::zeroed() };
        message.msg_name = (&raw mut name).cast();
        message.msg_namelen = libc::socklen_t::try_from(size_of_val(&name)).unwrap_or(0);
        message.msg_iov = &raw mut vector;
        message.msg_iovlen = 1;
        message.msg_control = control.0.as_mut_ptr().cast();
        message.msg_controllen = CONTROL_BYTES as _;
        // SAFETY: name, vector and control buffer are live locals of the lengths that the header tells.
        let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT) };
        let len = usize::try_from(length).ok()?.min(QUOTED_BYTES);
        let about_port = says_port_unreachable(&message);
        let remote = address(&name).filter(|_| about_port);
        Some(remote.map(|remote| PortUnreachable { remote, quoted, len }))
    }

    /// Control messages have to be aligned.
    #[repr(C, align(8))]
    struct Control([u8; CONTROL_BYTES]);

    #[expect(unsafe_code, reason = "control messages are laid out by hand")]
    fn says_port_unreachable(message: &libc::msghdr) -> bool {
        // SAFETY: the kernel filled the control buffer of this header as its length says; CMSG_* stay inside of it.
        let mut header = unsafe { libc::CMSG_FIRSTHDR(message) };
        while !header.is_null() {
            // SAFETY: not null, so it points to a whole header inside of the buffer.
            let (level, kind) = unsafe { ((*header).cmsg_level, (*header).cmsg_type) };
            let is_error = (level, kind) == (libc::IPPROTO_IP, libc::IP_RECVERR) || (level, kind) == (libc::IPPROTO_IPV6, libc::IPV6_RECVERR);
            if is_error {
                // SAFETY: a message of this kind begins with this structure, which need not be aligned for this read.
                let error: libc::sock_extended_err = unsafe { ptr::read_unaligned(libc::CMSG_DATA(header).cast()) };
                let said = (error.ee_type, error.ee_code);
                return (error.ee_origin == libc::SO_EE_ORIGIN_ICMP && said == PORT_V4) || (error.ee_origin == libc::SO_EE_ORIGIN_ICMP6 && said == PORT_V6);
            }
            // SAFETY: both belong together, see above.
            header = unsafe { libc::CMSG_NXTHDR(message, header) };
        }
        false
    }

    /// The address as the kernel wrote it.
    #[expect(unsafe_code, reason = "socket addresses are unions in C")]
    fn address(name: &libc::sockaddr_storage) -> Option<SocketAddr> {
        match libc::c_int::from(name.ss_family) {
            libc::AF_INET => {
                // SAFETY: the family says that this structure was written, and the storage has room and alignment for it.
                let v4: libc::sockaddr_in = unsafe { ptr::read((&raw const *name).cast()) };
                Some(SocketAddrV4::new(u32::from_be(v4.sin_addr.s_addr).into(), u16::from_be(v4.sin_port)).into())
            }
            libc::AF_INET6 => {
                // SAFETY: as above.
                let v6: libc::sockaddr_in6 = unsafe { ptr::read((&raw const *name).cast()) };
                Some(SocketAddrV6::new(Ipv6Addr::from(v6.sin6_addr.s6_addr), u16::from_be(v6.sin6_port), 0, v6.sin6_scope_id).into())
            }
            _ => None,
        }
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::{net::UdpSocket, time::Duration};

    use qbase::Ecn;

    use super::*;
    use crate::socket::{Parcel, Socket, SocketConfig};

    /// An address of this host where nobody listens.
    fn closed(host: &str) -> SocketAddr {
        UdpSocket::bind((host, 0)).expect("bind").local_addr().expect("address")
    }

    fn send(socket: &mut Socket, remote: SocketAddr, bytes: &[u8]) -> usize {
        socket.send(&Parcel { remote, source: None, ecn: Ecn::NotEct, hop_limit: None, segment_size: bytes.len(), bytes }).taken
    }

    /// On loopback the word is there when the send call returns.
    fn first_word(socket: &Socket) -> PortUnreachable {
        socket.next_word().flatten().expect("a word")
    }

    #[test]
    fn a_closed_port_is_told_with_its_address_and_what_was_sent_there() {
        for host in ["127.0.0.1", "::1"] {
            let mut socket = Socket::bind(&SocketConfig::new(SocketAddr::new(host.parse().expect("address"), 0))).expect("bind");
            socket.hear(Hearing::On);
            let remote = closed(host);
            let bytes: Vec<u8> = (0..200).collect();
            assert_eq!(send(&mut socket, remote, &bytes), 1);
            let word = first_word(&socket);
            assert_eq!((word.remote, word.quoted()), (remote, &bytes[..QUOTED_BYTES]));
            assert!(socket.next_word().is_none());
        }
    }

    /// attacks J8, A24: what an earlier datagram met is no reason not to send a later one elsewhere.
    #[test]
    fn attack_j8_a_word_about_one_address_does_not_stop_what_goes_to_another() {
        let listener = UdpSocket::bind("127.0.0.1:0").expect("bind");
        let mut socket = Socket::bind(&SocketConfig::new("127.0.0.1:0".parse().expect("address"))).expect("bind");
        socket.hear(Hearing::On);
        for _ in 0..20 {
            send(&mut socket, closed("127.0.0.1"), b"nobody");
            assert_eq!(send(&mut socket, listener.local_addr().expect("address"), b"somebody"), 1);
        }
        socket.hear(Hearing::Off);
        assert!(socket.next_word().is_none(), "what waited is gone");
        assert_eq!(send(&mut socket, listener.local_addr().expect("address"), b"last"), 1);
        listener.set_read_timeout(Some(Duration::from_secs(60))).expect("timeout");
        let mut buffer = [0; 16];
        for _ in 0..20 {
            assert_eq!(listener.recv(&mut buffer).expect("datagram"), 8);
        }
        assert_eq!(listener.recv(&mut buffer).expect("datagram"), 4);
    }

    #[test]
    fn without_asking_nothing_is_heard() {
        let mut socket = Socket::bind(&SocketConfig::new("127.0.0.1:0".parse().expect("address"))).expect("bind");
        send(&mut socket, closed("127.0.0.1"), b"x");
        send(&mut socket, closed("127.0.0.1"), b"x");
        assert!(socket.next_word().is_none());
    }
}
