//! Many datagrams in one system call, for sockets without GSO (design rule: under 7 CPU-seconds a gigabyte without it).
//!
//! quinn-udp sends one message per call; here a burst's segments share one address and one set of control messages and
//! go out in one `sendmmsg`. It also carries what quinn-udp cannot say: a hop limit for these datagrams only
//! (traversal T-89). Called by [`super::kernel`]. Linux only.

use std::{
    io, mem,
    net::{IpAddr, SocketAddr},
    os::fd::{AsRawFd, RawFd},
    ptr,
};

use qbase::limits;

use super::parcel::Parcel;

/// Messages per call.
const MESSAGES: usize = limits::MAX_SEGMENTS;
/// Room for all control messages of one datagram: mark, hop limit, source address.
const CONTROL_BYTES: usize = 128;

/// Sends the first (at most 64) segments of `parcel`; tells how many the kernel took. Fails only if it took none.
pub(super) fn send(socket: &impl AsRawFd, parcel: &Parcel<'_>) -> io::Result<usize> {
    let address = socket2::SockAddr::from(parcel.remote);
    let mut control = Control::new();
    control.describe(parcel);

    let mut vectors = [libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 }; MESSAGES];
    let mut messages = [blank_message(); MESSAGES];
    let mut count = 0;
    for ((datagram, vector), message) in parcel.datagrams().zip(&mut vectors).zip(&mut messages) {
        vector.iov_base = datagram.as_ptr().cast_mut().cast();
        vector.iov_len = datagram.len();
        message.msg_hdr.msg_name = address.as_ptr().cast_mut().cast();
        message.msg_hdr.msg_namelen = address.len();
        message.msg_hdr.msg_iov = vector;
        message.msg_hdr.msg_iovlen = 1;
        message.msg_hdr.msg_control = control.bytes.as_mut_ptr().cast();
        message.msg_hdr.msg_controllen = control.length as _;
        count += 1;
    }
    let messages = messages.get_mut(..count).unwrap_or_default();
    call(socket.as_raw_fd(), messages)
}

/// The call itself, repeated when a signal interrupts it.
#[expect(unsafe_code, reason = "sendmmsg has no safe wrapper among our dependencies")]
fn call(socket: RawFd, messages: &mut [libc::mmsghdr]) -> io::Result<usize> {
    let count = libc::c_uint::try_from(messages.len()).unwrap_or(0);
    loop {
        // SAFETY: `messages` holds `count` headers whose name, vectors and control buffers are locals of `send` that
        // outlive the call; the kernel reads through them and writes only `msg_len`.
        let sent = unsafe { libc::sendmmsg(socket, messages.as_mut_ptr(), count, 0) };
        match usize::try_from(sent) {
            Ok(sent) => return Ok(sent),
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
}

#[expect(unsafe_code, reason = "msghdr has private padding on some systems, so it can only be zeroed")]
const fn blank_message() -> libc::mmsghdr {
    // SAFETY: all fields are integers and pointers, for which zero is a valid value.
    unsafe { mem::zeroed() }
}

/// Control messages (cmsg(3)): header, payload, padding, repeated.
#[repr(C, align(8))]
struct Control {
    bytes: [u8; CONTROL_BYTES],
    /// Bytes in use.
    length: usize,
}

impl Control {
    const fn new() -> Self {
        Self { bytes: [0; CONTROL_BYTES], length: 0 }
    }

    fn describe(&mut self, parcel: &Parcel<'_>) {
        let (level, mark, hops) = match parcel.remote {
            SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_TOS, libc::IP_TTL),
            SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_TCLASS, libc::IPV6_HOPLIMIT),
        };
        self.push(level, mark, libc::c_int::from(parcel.ecn as u8));
        if let Some(limit) = parcel.hop_limit {
            self.push(level, hops, libc::c_int::from(limit));
        }
        match parcel.source {
            None => {}
            Some(IpAddr::V4(source)) => {
                let source = libc::in_addr { s_addr: u32::from_ne_bytes(source.octets()) };
                let unset = libc::in_addr { s_addr: 0 };
                let info = libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: source, ipi_addr: unset };
                self.push(libc::IPPROTO_IP, libc::IP_PKTINFO, info);
            }
            Some(IpAddr::V6(source)) => {
                let source = libc::in6_addr { s6_addr: source.octets() };
                let info = libc::in6_pktinfo { ipi6_ifindex: 0, ipi6_addr: source };
                self.push(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info);
            }
        }
    }

    /// Appends one message; one that does not fit is left out (three always fit, see the test).
    #[expect(unsafe_code, reason = "control messages are laid out by hand")]
    fn push<T: Copy>(&mut self, level: libc::c_int, kind: libc::c_int, value: T) {
        let payload = libc::c_uint::try_from(size_of::<T>()).unwrap_or(0);
        // SAFETY: CMSG_SPACE and CMSG_LEN only compute.
        let (space, full, header) = unsafe {
            (libc::CMSG_SPACE(payload) as usize, libc::CMSG_LEN(payload) as usize, libc::CMSG_LEN(0) as usize)
        };
        if self.length.saturating_add(space) > CONTROL_BYTES {
            return;
        }
        // SAFETY: all fields are integers, for which zero is a valid value.
        let mut head: libc::cmsghdr = unsafe { mem::zeroed() };
        head.cmsg_len = full as _;
        head.cmsg_level = level;
        head.cmsg_type = kind;
        let start = self.bytes.as_mut_ptr().wrapping_add(self.length);
        // SAFETY: `length + space` bytes lie inside `bytes`; header and payload lie inside `space` by the definition of
        // CMSG_LEN; unaligned writes need no alignment.
        unsafe {
            ptr::write_unaligned(start.cast(), head);
            ptr::write_unaligned(start.wrapping_add(header).cast(), value);
        }
        self.length = self.length.saturating_add(space);
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv6Addr, UdpSocket};

    use qbase::Ecn;

    use super::*;

    #[test]
    fn mark_hop_limit_and_source_fit_together() {
        let mut control = Control::new();
        let mut parcel = parcel(&[], (Ipv6Addr::LOCALHOST, 1).into());
        control.describe(&parcel);
        let mark = control.length;
        parcel.hop_limit = Some(3);
        parcel.source = Some(Ipv6Addr::LOCALHOST.into());
        let mut control = Control::new();
        control.describe(&parcel);
        assert!(control.length > 2 * mark + size_of::<libc::in6_pktinfo>());
    }

    #[test]
    fn more_than_64_segments_take_a_second_call() {
        let receiver = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).expect("bind");
        let sender = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).expect("bind");
        let bytes = [7; 70 * 10];
        let parcel = parcel(&bytes, receiver.local_addr().expect("address"));
        assert_eq!(send(&sender, &parcel).expect("send"), 64);
        assert_eq!(send(&sender, &parcel.without(64)).expect("send"), 6);
    }

    #[test]
    fn an_error_before_the_first_datagram_is_told() {
        let sender = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).expect("bind");
        let bytes = vec![0; 70_000];
        let mut parcel = parcel(&bytes, sender.local_addr().expect("address"));
        parcel.segment_size = 0;
        let error = send(&sender, &parcel).expect_err("larger than any datagram");
        assert_eq!(error.raw_os_error(), Some(libc::EMSGSIZE));
    }

    fn parcel(bytes: &[u8], remote: SocketAddr) -> Parcel<'_> {
        Parcel { remote, source: None, ecn: Ecn::Ect0, hop_limit: None, segment_size: 10, bytes }
    }
}
