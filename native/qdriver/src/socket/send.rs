//! Which system calls a burst takes, and what is remembered when one of them is refused (attacks J7, J9).
//!
//! One GSO call per burst while GSO works; otherwise all segments in one `sendmmsg`. When a GSO call is refused as
//! malformed, the segments go out one by one in the same call to us, and the socket never tries GSO again, because the
//! device said it cannot. When the single segments are refused the same way, the addresses were at fault and GSO stays.
//! Called by [`super::Socket::send`]. Knows the kernel only as an [`Outlet`], so every refusal can be played in a test.

use std::io;

use qbase::limits;

use super::{parcel::Parcel, verdict::Verdict};

/// Largest payload of one GSO call, bytes (attacks J9).
const MAX_CALL_BYTES: usize = limits::MAX_BURST_BYTES;

/// How bursts reach the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Batching {
    /// One call, one buffer; the kernel cuts it into segments.
    Gso,
    /// One call, one message per segment.
    Messages,
}

impl Batching {
    /// What a socket can do whose probe reported `segments` per GSO call.
    pub(super) const fn of_segments(segments: usize) -> Self {
        if segments > 1 { Self::Gso } else { Self::Messages }
    }
}

/// What became of a burst.
#[derive(Debug)]
pub struct Sent {
    /// Segments the kernel took, from the first on.
    pub taken: usize,
    /// Why the rest did not go; `None`: all went.
    pub stop: Option<Stop>,
}

/// Why the kernel took no more.
#[derive(Debug)]
pub enum Stop {
    /// Try again when the socket is writable.
    Full,
    /// Try again in 1 to 10 ms.
    NoBuffers,
    /// Larger than the MTU.
    TooLarge(io::Error),
    /// No way to this address now.
    Unreachable(io::Error),
    /// Anything else.
    Other(io::Error),
}

/// The kernel's side of a socket, as far as sending needs it.
pub(super) trait Outlet {
    /// The whole parcel in one message, cut by the kernel; all or nothing.
    fn send_gso(&mut self, parcel: &Parcel<'_>) -> io::Result<()>;

    /// As many segments as the kernel takes, one message each. Fails only if it took none.
    fn send_messages(&mut self, parcel: &Parcel<'_>) -> io::Result<usize>;

    /// GSO calls are believed to work.
    fn trusts_gso(&self) -> bool;

    /// Forgets refusals that turned out not to be about GSO.
    fn forgive(&mut self);
}

/// The memory of one socket about what works.
#[derive(Debug)]
pub(super) struct Sender {
    batching: Batching,
}

impl Sender {
    pub(super) const fn new(batching: Batching) -> Self {
        Self { batching }
    }

    pub(super) const fn batching(&self) -> Batching {
        self.batching
    }

    pub(super) const fn forbid_gso(&mut self) {
        self.batching = Batching::Messages;
    }

    pub(super) fn send(&mut self, outlet: &mut impl Outlet, parcel: &Parcel<'_>) -> Sent {
        if self.batching == Batching::Messages || !fits_one_call(parcel) {
            return send_singly(outlet, parcel);
        }
        match outlet.send_gso(parcel) {
            Ok(()) => {
                if !outlet.trusts_gso() {
                    // It went out, but without its ECN mark, and so would all others: our own calls keep the mark.
                    self.batching = Batching::Messages;
                }
                Sent { taken: parcel.segments(), stop: None }
            }
            Err(error) => match Verdict::of(&error) {
                Verdict::Malformed => self.find_the_fault(outlet, parcel),
                Verdict::Interrupted | Verdict::Refused => send_singly(outlet, parcel),
                verdict => Sent { taken: 0, stop: Some(stop(verdict, error)) },
            },
        }
    }

    /// A GSO call was refused as malformed: single segments tell whether GSO or the addresses are at fault.
    fn find_the_fault(&mut self, outlet: &mut impl Outlet, parcel: &Parcel<'_>) -> Sent {
        let sent = send_singly(outlet, parcel);
        if sent.taken > 0 {
            self.batching = Batching::Messages;
        } else {
            outlet.forgive();
        }
        sent
    }
}

/// The kernel's own bounds on a GSO call; a parcel beyond them goes out as messages.
const fn fits_one_call(parcel: &Parcel<'_>) -> bool {
    parcel.hop_limit.is_none() && parcel.bytes.len() <= MAX_CALL_BYTES && parcel.segments() <= limits::MAX_SEGMENTS
}

/// One message per segment until all went or one is refused.
fn send_singly(outlet: &mut impl Outlet, parcel: &Parcel<'_>) -> Sent {
    let segments = parcel.segments();
    let mut taken = 0;
    let mut second_chance = true;
    while taken < segments {
        match outlet.send_messages(&parcel.without(taken)) {
            Ok(count) => taken = taken.saturating_add(count.max(1)).min(segments),
            Err(error) => match Verdict::of(&error) {
                Verdict::Interrupted => {}
                // The error belonged to an earlier datagram and is gone with this call.
                Verdict::Refused if second_chance => second_chance = false,
                verdict => return Sent { taken, stop: Some(stop(verdict, error)) },
            },
        }
    }
    Sent { taken, stop: None }
}

fn stop(verdict: Verdict, error: io::Error) -> Stop {
    match verdict {
        Verdict::Full => Stop::Full,
        Verdict::NoBuffers => Stop::NoBuffers,
        Verdict::TooLarge => Stop::TooLarge(error),
        // Not malformed by us (segments went singly): a source address that left the host looks like this.
        Verdict::Unreachable | Verdict::Malformed => Stop::Unreachable(error),
        Verdict::Refused | Verdict::Interrupted | Verdict::Other => Stop::Other(error),
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::{collections::VecDeque, net::Ipv4Addr};

    use qbase::Ecn;

    use super::*;

    #[test]
    fn a_burst_takes_one_gso_call() {
        let mut outlet = Scripted::new([Ok(20)], []);
        let sent = Sender::new(Batching::Gso).send(&mut outlet, &burst(&[0; 20_000]));
        assert_eq!((sent.taken, sent.stop.is_none(), outlet.calls), (20, true, 1));
    }

    #[test]
    fn attack_j7_a_gso_call_refused_by_the_device_goes_singly_at_once_and_for_ever() {
        for errno in [libc::EIO, libc::EINVAL] {
            let mut outlet = Scripted::new([Err(errno)], [Ok(20), Ok(20)]);
            let mut sender = Sender::new(Batching::Gso);
            let sent = sender.send(&mut outlet, &burst(&[0; 20_000]));
            assert_eq!((sent.taken, sent.stop.is_none()), (20, true));
            assert_eq!(sender.batching(), Batching::Messages);
            assert_eq!(sender.send(&mut outlet, &burst(&[0; 20_000])).taken, 20);
            assert_eq!(outlet.gso_calls, 1);
        }
    }

    #[test]
    fn a_source_address_that_is_gone_does_not_cost_the_socket_its_gso() {
        let mut outlet = Scripted::new([Err(libc::EINVAL), Ok(2)], [Err(libc::EINVAL)]);
        let mut sender = Sender::new(Batching::Gso);
        let sent = sender.send(&mut outlet, &burst(&[0; 2_000]));
        assert!(matches!(sent, Sent { taken: 0, stop: Some(Stop::Unreachable(_)) }));
        assert!(outlet.forgiven);
        assert_eq!(sender.send(&mut outlet, &burst(&[0; 2_000])).taken, 2);
        assert_eq!(sender.batching(), Batching::Gso);
    }

    #[test]
    fn a_socket_that_takes_10_of_20_segments_says_so() {
        let mut outlet = Scripted::new([], [Ok(10), Err(libc::EAGAIN)]);
        let sent = Sender::new(Batching::Messages).send(&mut outlet, &burst(&[0; 20_000]));
        assert!(matches!(sent, Sent { taken: 10, stop: Some(Stop::Full) }));
    }

    #[test]
    fn an_interrupted_call_is_repeated() {
        let mut outlet = Scripted::new([], [Err(libc::EINTR), Ok(1), Err(libc::EINTR), Ok(1)]);
        let sent = Sender::new(Batching::Messages).send(&mut outlet, &burst(&[0; 2_000]));
        assert_eq!((sent.taken, sent.stop.is_none()), (2, true));
    }

    #[test]
    fn a_port_unreachable_of_an_earlier_datagram_costs_one_more_call() {
        let mut outlet = Scripted::new([Err(libc::ECONNREFUSED)], [Ok(2)]);
        assert_eq!(Sender::new(Batching::Gso).send(&mut outlet, &burst(&[0; 2_000])).taken, 2);
        let mut outlet = Scripted::new([], [Err(libc::ECONNREFUSED), Err(libc::ECONNREFUSED)]);
        let sent = Sender::new(Batching::Messages).send(&mut outlet, &burst(&[0; 2_000]));
        assert!(matches!(sent, Sent { taken: 0, stop: Some(Stop::Other(_)) }));
    }

    #[test]
    fn attack_j7_refusals_say_what_to_wait_for() {
        type Expected = fn(&Stop) -> bool;
        let cases: [(i32, Expected); 6] = [
            (libc::EAGAIN, |stop| matches!(stop, Stop::Full)),
            (libc::ENOBUFS, |stop| matches!(stop, Stop::NoBuffers)),
            (libc::EMSGSIZE, |stop| matches!(stop, Stop::TooLarge(_))),
            (libc::ENETUNREACH, |stop| matches!(stop, Stop::Unreachable(_))),
            (libc::EPERM, |stop| matches!(stop, Stop::Unreachable(_))),
            (libc::EFAULT, |stop| matches!(stop, Stop::Other(_))),
        ];
        for (errno, expected) in cases {
            let sent = Sender::new(Batching::Gso).send(&mut Scripted::new([Err(errno)], []), &burst(&[0; 2_000]));
            assert_eq!(sent.taken, 0);
            assert!(sent.stop.as_ref().is_some_and(expected), "errno {errno}: {sent:?}");
        }
    }

    #[test]
    fn attack_j9_a_burst_beyond_the_kernels_bounds_is_never_one_gso_call() {
        let bytes = vec![0; 66 * 100];
        let mut too_many = burst(&bytes);
        too_many.segment_size = 100;
        let mut outlet = Scripted::new([], [Ok(64), Ok(2)]);
        assert_eq!(Sender::new(Batching::Gso).send(&mut outlet, &too_many).taken, 66);
        assert_eq!(outlet.gso_calls, 0);
    }

    #[test]
    fn a_library_that_lost_trust_in_gso_is_not_asked_again() {
        let mut outlet = Scripted::new([Ok(1)], [Ok(1)]);
        outlet.trusted = false;
        let mut sender = Sender::new(Batching::Gso);
        assert_eq!(sender.send(&mut outlet, &burst(&[0; 900])).taken, 1);
        assert_eq!(sender.batching(), Batching::Messages);
    }

    /// A kernel that answers from two lists: segments taken or an error number.
    struct Scripted {
        gso: VecDeque<Result<usize, i32>>,
        messages: VecDeque<Result<usize, i32>>,
        calls: usize,
        gso_calls: usize,
        trusted: bool,
        forgiven: bool,
    }

    impl Scripted {
        fn new<const G: usize, const M: usize>(
            gso: [Result<usize, i32>; G],
            messages: [Result<usize, i32>; M],
        ) -> Self {
            Self { gso: gso.into(), messages: messages.into(), calls: 0, gso_calls: 0, trusted: true, forgiven: false }
        }
    }

    impl Outlet for Scripted {
        fn send_gso(&mut self, parcel: &Parcel<'_>) -> io::Result<()> {
            self.calls += 1;
            self.gso_calls += 1;
            let answer = self.gso.pop_front().expect("no further GSO call");
            answer.map(|count| assert_eq!(count, parcel.segments())).map_err(io::Error::from_raw_os_error)
        }

        fn send_messages(&mut self, _: &Parcel<'_>) -> io::Result<usize> {
            self.calls += 1;
            self.messages.pop_front().expect("no further message call").map_err(io::Error::from_raw_os_error)
        }

        fn trusts_gso(&self) -> bool {
            self.trusted
        }

        fn forgive(&mut self) {
            self.forgiven = true;
        }
    }

    fn burst(bytes: &[u8]) -> Parcel<'_> {
        let remote = (Ipv4Addr::LOCALHOST, 1).into();
        Parcel { remote, source: None, ecn: Ecn::NotEct, hop_limit: None, segment_size: 1_000, bytes }
    }
}
