//! STUN and what needs it, on real sockets: questions to our own server, detection with temporary sockets (traversal T-42, T-50…T-53).

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::mpsc::{Receiver, Sender, channel},
};

use qconnection::{
    Endpoint, EndpointConfig,
    endpoint::nat::{Life, NatNews, StunAsk, Ticket},
};
use qdriver::{Application, Driver, DriverConfig, DriverHandle, Io, socket::SocketConfig};
use qtraversal::{
    nat::{Filtering, Mapping, PortAllocation, Question},
    probe::ProbeConfig,
    stun::{Form, Forms, Patience, ServerConfig},
};

use crate::common::PATIENCE;

/// Two IPs of this machine.
const IPS: [Ipv4Addr; 2] = [Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 2)];

type Todo = Box<dyn FnOnce(&mut Io<'_>) + Send>;

/// Does something once, then tells the news and how many sockets the application has.
struct Program {
    todo: Option<Todo>,
    tell: Sender<(NatNews, usize)>,
}

impl Application for Program {
    fn on_turn(&mut self, io: &mut Io<'_>) {
        if let Some(todo) = self.todo.take() {
            todo(io);
        }
        while let Some(news) = io.endpoint.poll_nat_news() {
            self.tell.send((news, io.sockets().count())).unwrap_or_default();
        }
    }
}

fn start(endpoint: Endpoint, sockets: &[SocketAddr], todo: Option<Todo>) -> Option<(DriverHandle, Receiver<(NatNews, usize)>)> {
    let (tell, told) = channel();
    let sockets = sockets.iter().copied().map(SocketConfig::new).collect();
    let handle = Driver::spawn(DriverConfig { sockets, ..DriverConfig::default() }, endpoint, Program { todo, tell }).ok()?;
    Some((handle, told))
}

/// A port that is free on both IPs at this moment.
fn port_of_both() -> u16 {
    let of_both = |_| {
        let one = UdpSocket::bind((IPS[0], 0)).ok()?;
        let port = one.local_addr().ok()?.port();
        UdpSocket::bind((IPS[1], port)).ok().map(|_| port)
    };
    (0..1_000).find_map(of_both).expect("a free port")
}

/// A server with the four sockets of RFC 5780 §6; the first one is asked.
fn server() -> (DriverHandle, [SocketAddr; 4]) {
    let try_once = |_| {
        let ports = [port_of_both(), port_of_both()];
        let sockets = [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(ip, port): (usize, usize)| SocketAddr::from((IPS[ip], ports[port])));
        let mut endpoint = Endpoint::new(EndpointConfig::default(), [1; 32]);
        endpoint.serve_stun(Some(ServerConfig { sockets: sockets.to_vec(), neighbours: Vec::new() }), Forms::ALL);
        start(endpoint, &sockets, None).map(|(handle, _)| (handle, sockets))
    };
    // Another program may take a port first.
    (0..100).find_map(try_once).expect("a server")
}

/// The end of a client that does this with its first socket.
fn client(local: &str, todo: impl FnOnce(&mut Endpoint, SocketAddr, qbase::Timestamp) + Send + 'static) -> (DriverHandle, Receiver<(NatNews, usize)>) {
    let endpoint = Endpoint::new(EndpointConfig::default(), [2; 32]);
    let todo: Todo = Box::new(move |io| {
        let local = io.sockets().next().expect("a socket").local;
        todo(io.endpoint, local, io.now);
    });
    start(endpoint, &[local.parse().expect("address")], Some(todo)).expect("a client")
}

#[test]
fn our_server_answers_over_loopback_in_every_form() {
    let (server, sockets) = server();
    let (client, told) = client("0.0.0.0:0", move |endpoint, local, now| {
        for (number, form) in [Form::Rfc, Form::Dquic07, Form::Dquic05].into_iter().enumerate() {
            for (index, server) in sockets.into_iter().enumerate() {
                let ticket = Ticket((number * 4 + index) as u64);
                endpoint.ask_stun(StunAsk { ticket, local, server, form, patience: Patience::STANDARD }, now);
            }
        }
    });
    let port = client.sockets()[0].local.port();
    for _ in 0..12 {
        let (news, _) = told.recv_timeout(PATIENCE).expect("an answer");
        let NatNews::Answer { ticket, local, mapped, from, .. } = news else { panic!("{news:?}") };
        assert_eq!(from, sockets[(ticket.0 % 4) as usize]);
        assert_eq!((local, local.port()), (mapped, port), "nothing is translated, and the concrete address is told");
        assert!(!local.ip().is_unspecified());
    }
    client.stop().expect("clean end");
    server.stop().expect("clean end");
}

/// traversal T-53: with the fresh sockets that a detection needs, none of which the application sees.
#[test]
fn a_detection_over_loopback_finds_no_nat_and_leaves_no_socket() {
    let (server, sockets) = server();
    for local in ["127.0.0.1:0", "0.0.0.0:0"] {
        let (client, told) = client(local, move |endpoint, local, now| {
            let patient = Patience::Steady { sends: 100, every: std::time::Duration::from_millis(500) };
            let config = ProbeConfig { mapping: patient, filter: patient, ..ProbeConfig::new(vec![sockets[0]], Form::Rfc, None) };
            endpoint.detect_nat(Ticket(1), local, config, Life::Skipped, now);
        });
        let mut questions = Vec::new();
        let report = loop {
            let (news, count) = told.recv_timeout(PATIENCE).expect("news");
            assert_eq!(count, 1, "temporary sockets are not the application's");
            match news {
                NatNews::Observed { observation, .. } => questions.push((observation.socket, observation.question)),
                NatNews::Report { report, .. } => break report.expect("a server answers"),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!((report.mapping, report.filtering, report.ports), (Mapping::None, Filtering::EndpointIndependent, PortAllocation::Preserving));
        assert_eq!(report.outer, report.local);
        assert!(questions.contains(&(1, Question::Mapping)) && questions.contains(&(1, Question::FromOtherAddress)), "{questions:?}");
        client.stop().expect("clean end");
    }
    server.stop().expect("clean end");
}
