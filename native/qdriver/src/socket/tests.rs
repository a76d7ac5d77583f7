//! Sockets against the real kernel, over loopback.

use std::{
    collections::VecDeque,
    net::{Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use qbase::Ecn;

use super::{receive::Message, *};
use crate::poller::Poller;

const TOKEN: Token = Token(0);

#[test]
fn a_burst_arrives_as_the_same_datagrams_with_and_without_gso() {
    for address in [any_v4(), any_v6()] {
        let bytes = pattern(20 * 1_200 + 17);
        let mut with = Pair::new(address);
        let arrived_with = with.exchange(&bytes, 1_200);
        let mut without = Pair::new(address);
        without.sender.forbid_gso();
        let arrived_without = without.exchange(&bytes, 1_200);
        let expected: Vec<_> = bytes.chunks(1_200).map(<[u8]>::to_vec).collect();
        assert_eq!(arrived_with, expected);
        assert_eq!(arrived_without, expected);
    }
}

#[test]
fn a_burst_of_64_segments_fits_one_send() {
    let mut pair = Pair::new(any_v4());
    let bytes = pattern(64 * 1_000);
    assert_eq!(pair.exchange(&bytes, 1_000).len(), 64);
}

#[cfg(target_os = "linux")]
#[test]
fn attack_j9_a_kernel_that_refuses_gso_gets_single_segments_in_the_same_call() {
    let mut pair = Pair::new(any_v4());
    assert_eq!(pair.sender.batching(), Batching::Gso);
    pair.sender.refuse_gso_in_kernel();
    let bytes = pattern(5 * 1_200);
    assert_eq!(pair.exchange(&bytes, 1_200).concat(), bytes);
    assert_eq!(pair.sender.batching(), Batching::Messages);
    assert_eq!(pair.exchange(&bytes, 1_200).concat(), bytes);
}

/// Don't Fragment is set and the kernel's own idea of the path MTU limits nothing.
///
/// Shows 9000-14-2, 9000-14-3, 8899-3-3 and 8899-4.5-1.
#[cfg(target_os = "linux")]
#[test]
fn no_datagram_is_ever_fragmented() {
    const { assert!(libc::IP_PMTUDISC_PROBE == libc::IPV6_PMTUDISC_PROBE) };
    for address in [any_v4(), any_v6(), (Ipv4Addr::UNSPECIFIED, 0).into()] {
        assert_eq!(bind(address).mtu_discovery(), libc::IP_PMTUDISC_PROBE, "{address}");
    }
}

#[test]
fn the_ecn_mark_arrives_with_and_without_gso() {
    for address in [any_v4(), any_v6()] {
        for batching in [Batching::Gso, Batching::Messages] {
            for mark in [Ecn::NotEct, Ecn::Ect0, Ecn::Ect1, Ecn::Ce] {
                let mut pair = Pair::new(address);
                if batching == Batching::Messages {
                    pair.sender.forbid_gso();
                }
                let parcel = Parcel { ecn: mark, ..pair.parcel(&[1; 2_400], 1_200) };
                assert_eq!(pair.sender.send(&parcel).taken, 2);
                let marks = pair.receive(2, |_, message| vec![message.ecn; message.datagrams().count()]);
                assert_eq!(marks, [mark, mark]);
            }
        }
    }
}

#[test]
fn an_ecn_mark_survives_a_refused_source_address() {
    let mut pair = Pair::new(any_v4());
    let strange = Parcel { source: Some(Ipv4Addr::new(192, 0, 2, 99).into()), ..pair.parcel(&[1; 10], 10) };
    let mut wildcard = bind((Ipv4Addr::UNSPECIFIED, 0).into());
    assert!(matches!(wildcard.send(&strange), Sent { taken: 0, stop: Some(Stop::Unreachable(_)) }));
    assert_eq!(wildcard.send(&Parcel { source: None, ecn: Ecn::Ect0, ..strange }).taken, 1);
    assert_eq!(pair.receive(1, |_, message| vec![message.ecn]), [Ecn::Ect0]);
    assert_eq!(wildcard.batching(), Batching::Gso);
}

#[test]
fn a_wildcard_socket_knows_the_address_a_datagram_was_sent_to() {
    let receiver = bind((Ipv4Addr::UNSPECIFIED, 0).into());
    let mut pair = Pair { receiver, sender: bind(any_v4()), poller: None, arena: ReceiveArena::new() };
    for target in [Ipv4Addr::new(127, 0, 0, 1), Ipv4Addr::new(127, 0, 0, 7)] {
        let remote = SocketAddr::new(target.into(), pair.receiver.local().port());
        let parcel = Parcel { remote, ..pair.parcel(b"x", 1) };
        assert_eq!(pair.sender.send(&parcel).taken, 1);
        let expected = FourTuple { local: remote, remote: pair.sender.local() };
        assert_eq!(pair.receive(1, |socket, message| vec![socket.four_tuple(message.meta)]), [expected]);
    }
}

#[test]
fn a_wildcard_socket_sends_from_the_address_it_is_told() {
    for batching in [Batching::Gso, Batching::Messages] {
        let mut pair = Pair { sender: bind((Ipv4Addr::UNSPECIFIED, 0).into()), ..Pair::new(any_v4()) };
        if batching == Batching::Messages {
            pair.sender.forbid_gso();
        }
        let source = IpAddr::from(Ipv4Addr::new(127, 0, 0, 9));
        let parcel = Parcel { source: Some(source), ..pair.parcel(&[0; 30], 10) };
        assert_eq!(pair.sender.send(&parcel).taken, 3);
        let remotes = pair.receive(3, |socket, message| {
            let remote = socket.four_tuple(message.meta).remote.ip();
            vec![remote; message.datagrams().count()]
        });
        assert_eq!(remotes, [source; 3]);
    }
}

#[test]
fn a_hop_limit_is_for_its_datagrams_only() {
    for address in [any_v4(), any_v6()] {
        let mut pair = Pair::new(address);
        let parcel = Parcel { hop_limit: Some(1), ..pair.parcel(b"near", 4) };
        assert_eq!(pair.sender.send(&parcel).taken, 1);
        assert_eq!(pair.exchange(b"far", 3), [b"near".to_vec(), b"far".to_vec()]);
    }
}

#[test]
fn an_empty_datagram_counts_as_a_message_and_holds_nothing() {
    let mut pair = Pair::new(any_v4());
    assert_eq!(pair.sender.send(&pair.parcel(&[], 0)).taken, 1);
    assert_eq!(pair.receive(1, |_, message| vec![message.is_empty()]), [true]);
}

#[test]
fn a_datagram_larger_than_any_is_too_large() {
    let mut pair = Pair::new(any_v4());
    let bytes = vec![0; 65_508];
    let sent = pair.sender.send(&pair.parcel(&bytes, 0));
    assert!(matches!(sent, Sent { taken: 0, stop: Some(Stop::TooLarge(_)) }));
}

#[test]
fn a_busy_port_is_told_with_address_and_number() {
    let first = bind(any_v4());
    let error = Socket::bind(&SocketConfig::new(first.local())).expect_err("taken");
    assert_eq!((error.step, error.address), (bind::Step::Bind, first.local()));
    #[cfg(unix)]
    assert_eq!(error.errno(), Some(libc::EADDRINUSE));
    assert!(error.to_string().contains(&first.local().to_string()));
}

#[test]
fn an_address_that_is_not_ours_is_told() {
    let address = (Ipv4Addr::new(203, 0, 113, 1), 0).into();
    let error = Socket::bind(&SocketConfig::new(address)).expect_err("not ours");
    #[cfg(unix)]
    assert_eq!(error.errno(), Some(libc::EADDRNOTAVAIL));
    assert_eq!(error.address, address);
}

#[cfg(target_os = "linux")]
#[test]
fn an_unknown_interface_is_told() {
    let config = SocketConfig { interface: Some("nonesuch0".into()), ..SocketConfig::new(any_v4()) };
    let error = Socket::bind(&config).expect_err("no such interface");
    assert_eq!((error.step, error.errno()), (bind::Step::Interface, Some(libc::ENODEV)));
}

#[cfg(unix)]
#[test]
fn a_shared_port_takes_two_sockets() {
    let shared = |address| SocketConfig { sharing: PortSharing::Shared, ..SocketConfig::new(address) };
    let first = Socket::bind(&shared(any_v4())).expect("bind");
    let second = Socket::bind(&shared(first.local())).expect("bind");
    assert_eq!(first.local(), second.local());
}

#[test]
fn one_port_serves_both_families() {
    let v4 = bind((Ipv4Addr::UNSPECIFIED, 0).into());
    let v6 = Socket::bind(&SocketConfig::new((Ipv6Addr::UNSPECIFIED, v4.local().port()).into()));
    // Another process may own the IPv6 port; what must not happen is a clash with our own IPv4 socket.
    assert!(v6.is_ok() || v6.is_err_and(|error| error.step == bind::Step::Bind));
}

#[test]
fn attack_j10_tiny_kernel_buffers_are_reported_and_still_carry_datagrams() {
    let buffers = BufferSizes { send: 4_096, receive: 4_096 };
    let config = SocketConfig { buffers, ..SocketConfig::new(any_v4()) };
    let receiver = Socket::bind(&config).expect("bind");
    assert!(receiver.buffers().receive < 64 * 1_024);
    let mut pair = Pair { receiver, sender: bind(any_v4()), poller: None, arena: ReceiveArena::new() };
    assert_eq!(pair.exchange(b"small", 5), [b"small".to_vec()]);
}

#[test]
fn attack_j10_a_tiny_send_buffer_still_takes_the_longest_burst() {
    let buffers = BufferSizes { send: 4_096, ..BufferSizes::default() };
    for batching in [Batching::Gso, Batching::Messages] {
        let sender = Socket::bind(&SocketConfig { buffers, ..SocketConfig::new(any_v4()) }).expect("bind");
        let mut pair = Pair { sender, ..Pair::new(any_v4()) };
        if batching == Batching::Messages {
            pair.sender.forbid_gso();
        }
        let bytes = pattern(45 * 1_452);
        assert_eq!(pair.exchange(&bytes, 1_452).concat(), bytes);
    }
}

fn any_v4() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

fn any_v6() -> SocketAddr {
    (Ipv6Addr::LOCALHOST, 0).into()
}

fn bind(address: SocketAddr) -> Socket {
    Socket::bind(&SocketConfig::new(address)).expect("bind")
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index / 1_000 + index) as u8).collect()
}

/// Two sockets, the second one sends to the first.
struct Pair {
    receiver: Socket,
    sender: Socket,
    poller: Option<Poller>,
    arena: ReceiveArena,
}

impl Pair {
    fn new(address: SocketAddr) -> Self {
        Self { receiver: bind(address), sender: bind(address), poller: None, arena: ReceiveArena::new() }
    }

    fn parcel<'a>(&self, bytes: &'a [u8], segment_size: usize) -> Parcel<'a> {
        let remote = self.receiver.local();
        Parcel { remote, source: None, ecn: Ecn::NotEct, hop_limit: None, segment_size, bytes }
    }

    /// Sends a burst and returns every datagram that waits afterwards, at least as many as were sent.
    fn exchange(&mut self, bytes: &[u8], segment_size: usize) -> Vec<Vec<u8>> {
        let parcel = self.parcel(bytes, segment_size);
        let sent = self.sender.send(&parcel);
        assert!(sent.stop.is_none(), "{sent:?}");
        assert_eq!(sent.taken, parcel.segments());
        self.receive(parcel.segments(), |_, message| message.datagrams().map(|datagram| datagram.to_vec()).collect())
    }

    /// Waits until `count` items were made of the messages that arrive.
    fn receive<T>(&mut self, count: usize, mut make: impl FnMut(&Socket, Message<'_>) -> Vec<T>) -> Vec<T> {
        let Self { receiver, poller, arena, .. } = self;
        let poller = poller.get_or_insert_with(|| {
            let poller = Poller::new().expect("poller");
            receiver.register(poller.registry(), TOKEN).expect("register");
            poller
        });
        let mut items = VecDeque::new();
        loop {
            let messages = receiver.receive(arena, ReceiveArena::MESSAGES).expect("receive");
            for message in arena.messages(messages) {
                items.extend(make(receiver, message));
            }
            if items.len() >= count {
                return items.into();
            }
            if messages == 0 {
                poller.wait(Some(Duration::from_secs(60))).expect("wait");
            }
        }
    }
}


