//! Waiting for sockets with the precision that pacing needs.
//!
//! mio rounds a wait up to whole milliseconds on Linux; a pacer at 1 Gbit/s wants 64 KiB every half millisecond
//! (burst B-18). Short waits therefore sleep in `ppoll` on the epoll descriptor, which counts nanoseconds, and only then
//! collect the events. Called by the driver's loop and by the relay. Never reads a socket.

use std::{io, time::Duration};

use mio::{Events, Poll, Registry, event::Event};

/// Readiness reports taken per wait.
const EVENTS: usize = 256;
/// Waits from this length on may be a millisecond late.
#[cfg(target_os = "linux")]
const PRECISE_BELOW: Duration = Duration::from_millis(100);
/// How late the kernel may fire a wait of the calling thread, nanoseconds.
#[cfg(target_os = "linux")]
const TIMER_SLACK_NANOS: libc::c_ulong = 1_000;

/// A selector over sockets and one wake-up bell.
#[derive(Debug)]
pub(crate) struct Poller {
    poll: Poll,
    events: Events,
}

impl Poller {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { poll: Poll::new()?, events: Events::with_capacity(EVENTS) })
    }

    pub(crate) fn registry(&self) -> &Registry {
        self.poll.registry()
    }

    /// Sleeps until something is ready or `timeout` (`None`: for ever) has passed; a signal ends the sleep early.
    pub(crate) fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.events.clear();
        let timeout = match self.sleep_precisely(timeout)? {
            Slept::Not => timeout,
            Slept::Ready => Some(Duration::ZERO),
            Slept::TimedOut => return Ok(()),
        };
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            result => result,
        }
    }

    /// What the last [`Self::wait`] reported.
    pub(crate) fn events(&self) -> impl Iterator<Item = &Event> {
        self.events.iter()
    }

    #[cfg(target_os = "linux")]
    fn sleep_precisely(&self, timeout: Option<Duration>) -> io::Result<Slept> {
        match timeout {
            Some(timeout) if !timeout.is_zero() && timeout < PRECISE_BELOW => linux::sleep(&self.poll, timeout),
            _ => Ok(Slept::Not),
        }
    }

    #[cfg(not(target_os = "linux"))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "the other systems' selectors count nanoseconds")]
    fn sleep_precisely(&self, _: Option<Duration>) -> io::Result<Slept> {
        Ok(Slept::Not)
    }
}

/// How a precise sleep went.
enum Slept {
    /// Not tried: the selector's own wait is good enough.
    Not,
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "Linux only"))]
    Ready,
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "Linux only"))]
    TimedOut,
}

/// Asks the kernel to fire this thread's timers on time rather than in groups (the default slack is 50 µs).
pub(crate) fn sharpen_timers() {
    #[cfg(target_os = "linux")]
    linux::sharpen_timers();
}

#[cfg(target_os = "linux")]
mod linux {
    use std::{io, os::fd::AsRawFd, ptr, time::Duration};

    use mio::Poll;

    use super::{Slept, TIMER_SLACK_NANOS};

    #[expect(unsafe_code, reason = "ppoll has no safe wrapper among our dependencies")]
    pub(super) fn sleep(poll: &Poll, timeout: Duration) -> io::Result<Slept> {
        let mut watched = libc::pollfd { fd: poll.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let timeout = libc::timespec {
            tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: timeout.subsec_nanos() as libc::c_long,
        };
        // SAFETY: both pointers are to live locals, the count is one, and no signal mask is passed.
        let ready = unsafe { libc::ppoll(&raw mut watched, 1, &raw const timeout, ptr::null()) };
        match ready {
            0 => Ok(Slept::TimedOut),
            1.. => Ok(Slept::Ready),
            _ => {
                let error = io::Error::last_os_error();
                if error.kind() == io::ErrorKind::Interrupted { Ok(Slept::Ready) } else { Err(error) }
            }
        }
    }

    #[expect(unsafe_code, reason = "prctl has no safe wrapper among our dependencies")]
    pub(super) fn sharpen_timers() {
        // SAFETY: PR_SET_TIMERSLACK takes one number and touches no memory of ours; failure changes nothing.
        unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, TIMER_SLACK_NANOS) };
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use mio::{Interest, Token};

    use super::*;

    const SOCKET: Token = Token(7);

    #[test]
    fn a_wait_shorter_than_a_millisecond_ends_without_events() {
        let mut poller = Poller::new().expect("poller");
        poller.wait(Some(Duration::from_micros(50))).expect("wait");
        assert_eq!(poller.events().count(), 0);
    }

    #[test]
    fn a_datagram_ends_a_short_and_a_long_wait() {
        for timeout in [Some(Duration::from_millis(50)), Some(Duration::from_secs(60)), None] {
            let (mut poller, receiver) = watched_socket();
            let sender = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
            sender.send_to(b"x", receiver.local_addr().expect("address")).expect("send");
            poller.wait(timeout).expect("wait");
            assert!(poller.events().any(|event| event.token() == SOCKET && event.is_readable()));
        }
    }

    #[test]
    fn an_edge_already_reported_does_not_end_the_next_short_wait() {
        let (mut poller, receiver) = watched_socket();
        let sender = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
        sender.send_to(b"x", receiver.local_addr().expect("address")).expect("send");
        poller.wait(Some(Duration::from_secs(60))).expect("wait");
        poller.wait(Some(Duration::from_micros(100))).expect("wait");
        assert_eq!(poller.events().count(), 0, "the caller remembers that bytes are left");
    }

    fn watched_socket() -> (Poller, mio::net::UdpSocket) {
        let poller = Poller::new().expect("poller");
        let mut socket = mio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0).into()).expect("bind");
        poller.registry().register(&mut socket, SOCKET, Interest::READABLE).expect("register");
        (poller, socket)
    }
}
