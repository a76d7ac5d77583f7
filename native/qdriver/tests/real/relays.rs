//! Relays on real sockets: trains that go through without a copy, registrations that end, strangers and garbage (traversal V4,
//! T-32, T-33; attacks G11).

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::mpsc::{Sender, channel},
};

use qconnection::{Endpoint, EndpointConfig};
use qdriver::{Application, Driver, DriverConfig, DriverHandle, Io, drive::DriverStatistics, socket::SocketConfig};
use qtraversal::{
    address::Prefix,
    forward::ForwardHeader,
    relay::{Admission, Dropped, Drops, Forwarded, RelayConfig},
    stun::{Form, Forms, Message, ServerConfig, TransactionId},
};

use crate::common::{self, PATIENCE, Plan};

#[test]
fn two_endpoints_talk_through_a_relay() {
    let relay = Agent::start();
    let plan = Plan { relay: Some(relay.address), ..Plan::new(vec![10 << 20]) };
    let (identity, roots) = common::certificate();
    let (server, heard) = common::start_server(&plan, identity);
    let outcome = common::run_client(&plan, &server, roots, &heard);
    assert_eq!(outcome.received, 10 << 20);
    let seen = relay.look();
    assert!(seen.forwarded.bytes > 10 << 20, "{seen:?}");
    #[cfg(target_os = "linux")]
    assert!(seen.driver.datagrams_sent > 2 * seen.driver.send_calls, "trains leave as trains: {seen:?}");
}

#[test]
fn a_registration_that_ends_stops_forwarding() {
    let relay = Agent::start();
    let (alice, bob, stranger) = (client(), client(), client());
    relay.register(&alice);
    relay.register(&bob);
    let datagram = |to: &UdpSocket, text: &[u8]| forwarded(&stranger, relay.address, to, text);
    stranger.send_to(&datagram(&bob, b"first"), relay.address).expect("sent");
    assert_eq!(receive(&bob), datagram(&bob, b"first"), "byte for byte");
    let gone = local(&bob);
    relay.tell(move |io| io.endpoint.relay().expect("relay").registrations_mut().remove(gone));
    stranger.send_to(&datagram(&bob, b"second"), relay.address).expect("sent");
    // The relay reads one after the other: when this one is there, the other was dropped.
    stranger.send_to(&datagram(&alice, b"third"), relay.address).expect("sent");
    assert_eq!(receive(&alice), datagram(&alice, b"third"));
    bob.set_nonblocking(true).expect("option");
    assert!(bob.recv(&mut [0; 100]).is_err());
    let seen = relay.look();
    assert_eq!((seen.forwarded.datagrams, seen.drops.of(Dropped::NotRegistered)), (2, 1));
}

#[test]
fn attack_g11_a_relay_that_is_flooded_with_garbage_stays_a_relay() {
    let relay = Agent::start();
    let (bob, stranger) = (client(), client());
    relay.register(&bob);
    let mut state = 1_u32;
    let nowhere = client();
    for number in 0..20_000_u32 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let garbage = match number % 4 {
            0 => forwarded(&stranger, relay.address, &nowhere, b"for nobody"),
            1 => vec![0x60 | (state >> 27) as u8; (state >> 20) as usize % 1_400 + 1],
            2 => state.to_be_bytes().repeat(20),
            _ => vec![0xc3, 0, 0, 0, 1, 8, 1, 2, 3],
        };
        // A full socket drops some of it.
        let _ = stranger.send_to(&garbage, relay.address);
    }
    // Some of the last ones may stand before it, and what finds no room is lost: it is sent until it arrives.
    let datagram = forwarded(&stranger, relay.address, &bob, b"alive");
    bob.set_read_timeout(Some(std::time::Duration::from_millis(50))).expect("option");
    let mut buffer = [0; 2_000];
    let arrived = (0..2_000).find_map(|_| {
        stranger.send_to(&datagram, relay.address).ok()?;
        bob.recv(&mut buffer).ok()
    });
    assert_eq!(arrived.map(|len| buffer[..len].to_vec()), Some(datagram));
    let seen = relay.look();
    assert!(seen.drops.of(Dropped::NotRegistered) > 0, "{seen:?}");
    assert_eq!(seen.registrations, 1);
}

// ---- helpers ----

/// What is to be done on the relay's thread.
type Command = Box<dyn FnOnce(&mut Io<'_>) + Send>;

/// A relay on a thread of its own that admits anyone who asks by STUN, on loopback.
struct Agent {
    address: SocketAddr,
    handle: DriverHandle,
    commands: Sender<Command>,
}

/// What a relay counted.
#[derive(Debug)]
struct Seen {
    forwarded: Forwarded,
    drops: Drops,
    registrations: usize,
    driver: DriverStatistics,
}

impl Agent {
    fn start() -> Self {
        let (commands, todo) = channel::<Command>();
        let application = Obey(todo);
        let config = DriverConfig { sockets: vec![SocketConfig::new((Ipv4Addr::LOCALHOST, 0).into())], ..DriverConfig::default() };
        let handle = Driver::spawn(config, Endpoint::new(EndpointConfig::default(), [9; 32]), application).expect("relay");
        let address = handle.sockets()[0].local;
        let agent = Self { address, handle, commands };
        agent.tell(move |io| {
            let loopback = Prefix { ip: Ipv4Addr::LOCALHOST.into(), bits: 8 };
            io.endpoint.serve_relay(Some(RelayConfig {
                agent: vec![address],
                allowed: vec![loopback],
                admission: Admission::Anyone,
                bytes_per_second: 1_000_000_000_000,
                burst_bytes: 1_000_000_000_000,
                ..RelayConfig::default()
            }));
            io.endpoint.serve_stun(Some(ServerConfig { sockets: vec![address], neighbours: Vec::new() }), Forms::ALL);
        });
        agent
    }

    /// Done when this returns.
    fn tell<T: Send + 'static>(&self, what: impl FnOnce(&mut Io<'_>) -> T + Send + 'static) -> T {
        let (done, told) = channel();
        self.commands.send(Box::new(move |io| done.send(what(io)).unwrap_or_default())).expect("the relay runs");
        self.handle.waker().wake();
        told.recv_timeout(PATIENCE).expect("the relay does what it is told")
    }

    fn look(&self) -> Seen {
        self.tell(|io| {
            let driver = *io.statistics();
            let relay = io.endpoint.relay().expect("relay");
            Seen { forwarded: relay.forwarded(), drops: *relay.drops(), registrations: relay.registrations().len(), driver }
        })
    }

    /// Asks it by STUN how it sees a socket, and with that registers.
    fn register(&self, socket: &UdpSocket) {
        let mut buffer = [0; 1_500];
        let request = Message::request(Form::Rfc, TransactionId::from_bytes([7; 16]));
        let len = request.encode(&mut buffer).expect("encoded");
        socket.send_to(&buffer[..len], self.address).expect("sent");
        let answer = receive(socket);
        let answer = Message::decode(Form::Rfc, &answer).expect("an answer");
        assert_eq!(answer.mapped, Some(local(socket)));
    }
}

/// The relay's application.
struct Obey(std::sync::mpsc::Receiver<Command>);

impl Application for Obey {
    fn on_turn(&mut self, io: &mut Io<'_>) {
        while let Ok(command) = self.0.try_recv() {
            command(io);
        }
    }
}

fn client() -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
    socket.set_read_timeout(Some(PATIENCE)).expect("option");
    socket
}

fn local(socket: &UdpSocket) -> SocketAddr {
    socket.local_addr().expect("address")
}

fn receive(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = vec![0; 2_000];
    let len = socket.recv(&mut buffer).expect("datagram");
    buffer.truncate(len);
    buffer
}

fn forwarded(from: &UdpSocket, agent: SocketAddr, to: &UdpSocket, quic: &[u8]) -> Vec<u8> {
    let destination = qtraversal::Endpoint::Agent { agent, outer: local(to) };
    let stamp = ForwardHeader { source: local(from).into(), destination }.stamp().expect("one family");
    let mut bytes = vec![0; stamp.size()];
    bytes.extend_from_slice(quic);
    stamp.fill(&mut bytes).expect("room");
    bytes
}
