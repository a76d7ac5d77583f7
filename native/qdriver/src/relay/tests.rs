//! Links between real sockets. Order, losses and counters are asserted, never how long something took. Floods stay below
//! what a receive buffer of the system's default size holds, so that a slow machine loses nothing.

use std::{
    net::{Ipv4Addr, UdpSocket},
    time::{Duration, Instant},
};

use qbase::Ecn;

use super::*;

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn datagrams_pass_both_ways_with_their_boundaries_and_order() {
    let world = World::new(vec![LineConfig::default()]);
    let client = world.client(0);
    let sizes = [1_200, 1_200, 700, 1, 1_452, 900, 900, 0, 33];
    for (number, size) in sizes.into_iter().enumerate() {
        client.send(&vec![number as u8; size]).expect("send");
    }
    let (arrived, from) = world.server_receives(sizes.len());
    let expected: Vec<_> = sizes.iter().enumerate().map(|(number, size)| vec![number as u8; *size]).collect();
    assert_eq!(arrived, expected);
    for datagram in &expected {
        world.server.send_to(datagram, from).expect("send");
    }
    assert_eq!(receive(&client, expected.len()), expected);
    let counters = world.settled(0, |counters| counters.down.datagrams_out == expected.len() as u64);
    assert_eq!(counters.up.bytes_in, sizes.iter().sum::<usize>() as u64);
    assert_eq!(counters.up.bytes_in, counters.up.bytes_out);
}

#[test]
fn a_slow_line_keeps_order_and_joins_datagrams_into_bursts() {
    let line = LineConfig {
        bits_per_second: Some(100_000_000),
        delay: Duration::from_millis(3),
        ..LineConfig::default()
    };
    let world = World::new(vec![line]);
    let client = world.client(0);
    for number in 0..60_u32 {
        let mut datagram = vec![0; 1_200];
        datagram[..4].copy_from_slice(&number.to_be_bytes());
        client.send(&datagram).expect("send");
    }
    let (arrived, _) = world.server_receives(60);
    let order = arrived.iter().map(|bytes| u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
    assert_eq!(order.collect::<Vec<_>>(), (0..60).collect::<Vec<_>>());
    let counters = world.settled(0, |counters| counters.up.datagrams_out == 60);
    assert!(counters.up.send_calls < 40, "{counters:?}");
}

#[test]
fn a_short_queue_overflows_and_every_datagram_is_accounted_for() {
    let line = LineConfig { bits_per_second: Some(1_000_000), queue_bytes: 5_000, ..LineConfig::default() };
    let world = World::new(vec![line]);
    let client = world.client(0);
    for _ in 0..50 {
        client.send(&[0; 1_000]).expect("send");
    }
    let counters = world.settled(0, |counters| counters.up.datagrams_out + counters.up.overflowed == 50);
    assert!(counters.up.overflowed > 0);
    assert_eq!(world.server_receives(counters.up.datagrams_out as usize).0.len() as u64, counters.up.datagrams_out);
}

#[test]
fn losses_follow_the_seed() {
    let lost = || {
        let world = World::new(vec![LineConfig { loss: 0.3, ..LineConfig::default() }]);
        let client = world.client(0);
        for _ in 0..150 {
            client.send(b"x").expect("send");
        }
        world.settled(0, |counters| counters.up.datagrams_in == 150).up.lost
    };
    let first = lost();
    assert_eq!(first, lost());
    assert!((25..65).contains(&first), "{first}");
}

#[test]
fn a_cut_link_loses_everything_both_ways_until_it_is_mended() {
    let world = World::new(vec![LineConfig::default()]);
    let client = world.client(0);
    client.send(b"before").expect("send");
    let (_, from) = world.server_receives(1);
    world.relay.cut(0);
    assert!(world.relay.is_cut(0));
    client.send(b"lost").expect("send");
    world.server.send_to(b"lost", from).expect("send");
    world.settled(0, |counters| counters.up.cut == 1 && counters.down.cut == 1);
    world.relay.restore(0);
    client.send(b"after").expect("send");
    world.server.send_to(b"after", from).expect("send");
    assert_eq!(world.server_receives(1).0, [b"after".to_vec()]);
    assert_eq!(receive(&client, 1), [b"after".to_vec()]);
}

#[test]
fn what_is_on_its_way_when_the_link_is_cut_is_lost() {
    let world = World::new(vec![LineConfig { delay: Duration::from_millis(400), ..LineConfig::default() }]);
    let client = world.client(0);
    client.send(b"on its way").expect("send");
    world.settled(0, |counters| counters.up.datagrams_in == 1);
    world.relay.cut(0);
    let counters = world.settled(0, |counters| counters.up.cut == 1);
    assert_eq!(counters.up.datagrams_out, 0);
}

#[test]
fn a_script_cuts_at_the_datagram_that_reaches_the_count_and_mends_by_what_others_carry() {
    let cut = Step { at_bytes: 10_000, link: 0, act: Act::Cut };
    let mend = Step { at_bytes: 14_000, link: 0, act: Act::Restore };
    let script = Script { counted: Counted::Up, steps: vec![cut, mend] };
    let world = World::with_script(vec![LineConfig::default(); 2], script);
    let (first, second) = (world.client(0), world.client(1));
    for _ in 0..25 {
        first.send(&[1; 1_000]).expect("send");
    }
    let counters = world.settled(0, |counters| counters.up.datagrams_out + counters.up.cut == 25);
    assert_eq!((counters.up.datagrams_out, counters.up.cut), (10, 15));
    assert!(world.relay.is_cut(0));
    for _ in 0..4 {
        second.send(&[2; 1_000]).expect("send");
    }
    world.settled(1, |counters| counters.up.datagrams_out == 4);
    wait_until(|| !world.relay.is_cut(0));
    first.send(&[3; 1_000]).expect("send");
    let (arrived, _) = world.server_receives(15);
    let kinds: Vec<_> = arrived.iter().map(|bytes| bytes[0]).collect();
    assert_eq!(kinds, [vec![1; 10], vec![2; 4], vec![3]].concat());
}

#[test]
fn a_script_given_later_counts_from_its_own_zero() {
    let world = World::new(vec![LineConfig::default()]);
    let client = world.client(0);
    client.send(&[1; 1_000]).expect("send");
    world.server_receives(1);
    let cut = Step { at_bytes: 2_000, link: 0, act: Act::Cut };
    world.relay.run_script(Script { counted: Counted::Both, steps: vec![cut] });
    // The command is obeyed before the datagrams that come after it are read.
    for _ in 0..5 {
        client.send(&[2; 1_000]).expect("send");
    }
    let counters = world.settled(0, |counters| counters.up.datagrams_in == 6 && counters.up.cut == 3);
    assert_eq!(counters.up.datagrams_out, 3);
}

#[test]
fn every_client_has_a_port_of_its_own_and_the_most_silent_makes_room() {
    let world = World::new(vec![LineConfig::default()]);
    let clients: Vec<_> = (0..3).map(|_| world.client(0)).collect();
    let mut ports = Vec::new();
    for (number, client) in clients.iter().enumerate() {
        client.send(&[number as u8]).expect("send");
        let (arrived, from) = world.server_receives(1);
        assert_eq!(arrived, [vec![number as u8]]);
        ports.push(from);
    }
    assert_ne!(ports[0], ports[1]);
    // Two clients at once: the third took the place of the first.
    world.server.send_to(b"to the second", ports[1]).expect("send");
    assert_eq!(receive(&clients[1], 1), [b"to the second".to_vec()]);
    clients[0].send(b"back").expect("send");
    assert_ne!(world.server_receives(1).1, ports[0]);
}

#[test]
fn a_line_can_be_reshaped_while_it_runs() {
    let world = World::new(vec![LineConfig::default()]);
    let client = world.client(0);
    world.relay.reshape(0, Way::Up, LineConfig { loss: 1.0, ..LineConfig::default() });
    client.send(b"x").expect("send");
    world.settled(0, |counters| counters.up.lost == 1);
}

#[test]
fn a_rebound_client_comes_from_another_port_and_address() {
    let world = World::new(vec![LineConfig::default()]);
    let client = world.client(0);
    client.send(b"before").expect("send");
    let (_, before) = world.server_receives(1);
    world.relay.rebind(0, Some(Ipv4Addr::new(127, 0, 0, 9).into()));
    // The thread obeys before it reads what came after the call.
    client.send(b"after").expect("send");
    let (_, after) = world.server_receives(1);
    assert_eq!(after.ip(), Ipv4Addr::new(127, 0, 0, 9));
    assert_ne!(after.port(), before.port());
    world.server.send_to(b"to nobody", before).expect("send");
    world.server.send_to(b"answer", after).expect("send");
    assert_eq!(receive(&client, 1), [b"answer"]);
}

#[test]
fn captures_hold_what_was_sent_and_what_arrived() {
    let folder = std::env::temp_dir().join(format!("quicbraid-relay-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("folder");
    let files = CaptureFiles { client: folder.join("client.pcap"), target: folder.join("target.pcap") };
    let server = UdpSocket::bind(any()).expect("bind");
    let target = server.local_addr().expect("address");
    let up = LineConfig { drop_list: 1, ..LineConfig::default() };
    let link = LinkConfig { capture: Some(files.clone()), up, ..LinkConfig::new(any(), target) };
    let relay = Relay::spawn(RelayConfig::new(vec![link])).expect("relay");
    let client = UdpSocket::bind(any()).expect("bind");
    client.connect(relay.links()[0].listen).expect("connect");
    client.send(b"lost").expect("send");
    client.send(b"arrives").expect("send");
    server.set_read_timeout(Some(PATIENCE)).expect("timeout");
    let mut buffer = [0; 64];
    assert_eq!(server.recv(&mut buffer).expect("datagram"), 7);
    relay.stop().expect("clean end");
    let read = |file| std::fs::read(file).expect("capture");
    let (before, after) = (read(&files.client), read(&files.target));
    assert!(before.ends_with(b"arrives") && before.windows(4).any(|bytes| bytes == b"lost"));
    assert_eq!(after.len(), 24 + 16 + 28 + 7);
    std::fs::remove_dir_all(&folder).expect("removed");
}

#[test]
fn marks_pass_a_link() {
    let world = World::new(vec![LineConfig::default()]);
    let mut sender = crate::socket::Socket::bind(&crate::socket::SocketConfig::new(any())).expect("bind");
    let mut receiver = crate::socket::Socket::bind(&crate::socket::SocketConfig::new(any())).expect("bind");
    let relay = Relay::spawn(RelayConfig::new(vec![LinkConfig::new(any(), receiver.local())])).expect("relay");
    drop(world);
    let parcel = crate::socket::Parcel {
        remote: relay.links()[0].listen,
        source: None,
        ecn: Ecn::Ce,
        hop_limit: None,
        segment_size: 10,
        bytes: &[0; 30],
    };
    assert_eq!(sender.send(&parcel).taken, 3);
    let mut arena = crate::socket::ReceiveArena::new();
    let mut marks = Vec::new();
    wait_until(|| {
        let count = receiver.receive(&mut arena, 32).expect("receive");
        for message in arena.messages(count) {
            let ecn = message.ecn;
            marks.extend(message.datagrams().map(|_| ecn));
        }
        marks.len() == 3
    });
    assert_eq!(marks, [Ecn::Ce; 3]);
}

#[test]
fn stopping_a_relay_joins_its_thread() {
    let world = World::new(vec![LineConfig::default()]);
    let listen = world.relay.links()[0].listen;
    world.relay.stop().expect("clean end");
    UdpSocket::bind(listen).expect("the port is free again");
}

fn any() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

/// A server behind links of two clients each.
struct World {
    relay: Relay,
    server: UdpSocket,
}

impl World {
    fn new(lines: Vec<LineConfig>) -> Self {
        Self::with_script(lines, Script::default())
    }

    fn with_script(lines: Vec<LineConfig>, script: Script) -> Self {
        let server = UdpSocket::bind(any()).expect("bind");
        server.set_read_timeout(Some(PATIENCE)).expect("timeout");
        let target = server.local_addr().expect("address");
        let link = |line| LinkConfig { clients: 2, ..LinkConfig::new(any(), target).with_lines(line) };
        let config = RelayConfig { script, ..RelayConfig::new(lines.into_iter().map(link).collect()) };
        Self { relay: Relay::spawn(config).expect("relay"), server }
    }

    fn client(&self, link: usize) -> UdpSocket {
        let client = UdpSocket::bind(any()).expect("bind");
        client.connect(self.relay.links()[link].listen).expect("connect");
        client
    }

    /// The next datagrams at the server, and where the last came from.
    fn server_receives(&self, count: usize) -> (Vec<Vec<u8>>, SocketAddr) {
        let mut buffer = vec![0; 65_536];
        let mut from = any();
        let datagrams = (0..count).map(|_| {
            let (length, address) = self.server.recv_from(&mut buffer).expect("datagram");
            from = address;
            buffer[..length].to_vec()
        });
        (datagrams.collect(), from)
    }

    /// Waits until the counters of a link satisfy `enough`.
    fn settled(&self, link: usize, enough: impl Fn(&LinkCounters) -> bool) -> LinkCounters {
        wait_until(|| enough(&self.relay.counters(link)));
        self.relay.counters(link)
    }
}

fn receive(socket: &UdpSocket, count: usize) -> Vec<Vec<u8>> {
    socket.set_read_timeout(Some(PATIENCE)).expect("timeout");
    let mut buffer = vec![0; 65_536];
    let datagrams = (0..count).map(|_| {
        let length = socket.recv(&mut buffer).expect("datagram");
        buffer[..length].to_vec()
    });
    datagrams.collect()
}

/// Waits for something that another thread will bring about.
#[expect(clippy::disallowed_methods, reason = "a test that waits for a thread gives up some day")]
fn wait_until(mut happened: impl FnMut() -> bool) {
    let start = Instant::now();
    while !happened() {
        assert!(start.elapsed() < PATIENCE, "it never happened");
        std::thread::yield_now();
    }
}
