//! Two endpoints on I/O threads of their own: a client that sends patterned streams, a server that checks every byte.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        mpsc::{Receiver, Sender, channel},
    },
    time::Duration,
};

use qbase::{Direction, FourTuple, StreamId, frame::PathStatusKind};
use qconnection::{
    ClientConfig, ConnectionHandle, Endpoint, EndpointConfig, Event, PathView, ServerConfig, TransportConfig,
    connection::events::CloseInfo,
    endpoint::{nat::{NatNews, StunAsk, Ticket}, pathways::Registration},
    stream::{ReadError, StreamEvent},
};
use qcrypto::{
    ClientTls, ClientTlsOptions, Identity, Roots, ServerTls, ServerTlsOptions,
    development::{self, DevelopmentOptions, KeyKind},
};
use qtraversal::stun::{Form, Patience};
use qdriver::{Application, Driver, DriverConfig, DriverHandle, Io, drive::DriverStatistics, socket::SocketConfig};

/// Longest wait for something that will happen.
pub const PATIENCE: Duration = Duration::from_secs(120);
const ALPN: &[u8] = b"qdriver";
/// Streams of the client.
const KIND: Direction = Direction::Unidirectional;

/// What a run shall do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Bytes of each stream.
    pub streams: Vec<usize>,
    /// Where the client's paths begin; the first one connects.
    pub client: Vec<SocketAddr>,
    /// Where the client's paths lead, one each; `None`: to the server itself.
    pub via: Vec<Option<SocketAddr>>,
    /// The relay that both sides register with, and that their only path leads through.
    pub relay: Option<SocketAddr>,
    /// Where the server listens.
    pub server: SocketAddr,
    /// Segments per burst on both sides.
    pub max_segments: usize,
    /// Settings of both sides.
    pub transport: TransportConfig,
}

impl Plan {
    /// One path over loopback.
    pub fn new(streams: Vec<usize>) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        Self {
            streams,
            client: vec![any],
            via: vec![None],
            relay: None,
            server: any,
            max_segments: 64,
            transport: TransportConfig { initial_mtu: 1_452, ..TransportConfig::default() },
        }
    }
}

/// How a run went.
#[derive(Debug)]
pub struct Outcome {
    /// Bytes the server read, all checked against the pattern.
    pub received: u64,
    /// The client's paths when its last stream was acknowledged.
    pub paths: Vec<PathView>,
    /// Counters of the client's driver at that moment.
    pub client: DriverStatistics,
    /// Counters of the server's driver when the connection ended.
    pub server: DriverStatistics,
    /// How the server saw the end.
    pub closed: CloseInfo,
}

/// Starts a server; its news come out of the receiver.
pub fn start_server(plan: &Plan, identity: Identity) -> (DriverHandle, Receiver<Heard>) {
    let options = ServerTlsOptions { identity: Some(identity), alpn: vec![ALPN.to_vec()], ..Default::default() };
    let tls = ServerTls::new(&options).expect("server options");
    let mut endpoint = Endpoint::new(EndpointConfig::default(), [1; 32]);
    let transport = Arc::new(plan.transport.clone());
    endpoint.listen(Some(Arc::new(ServerConfig::new(tls, transport, 16))));
    let (tell, heard) = channel();
    let checker = Checker { registrar: Registrar::new(plan.relay), tell, streams: Vec::new(), received: 0 };
    (Driver::spawn(config(plan, &[plan.server]), endpoint, checker).expect("server"), heard)
}

/// Runs a plan to its end. `server` must be running already, so that relays can point to it.
pub fn run_client(plan: &Plan, server: &DriverHandle, roots: Roots, heard: &Receiver<Heard>) -> Outcome {
    let options = ClientTlsOptions { roots, alpn: vec![ALPN.to_vec()], ..Default::default() };
    let tls = ClientTls::new(&options).expect("client options");
    let transport = Arc::new(plan.transport.clone());
    let (tell, told) = channel();
    let writer = Writer {
        plan: plan.clone(),
        config: Arc::new(ClientConfig::new(tls, transport)),
        target: server.sockets()[0].local,
        registrar: Registrar::new(plan.relay),
        connection: None,
        todo: Vec::new(),
        finished: 0,
        tell,
    };
    let endpoint = Endpoint::new(EndpointConfig::default(), [2; 32]);
    let client = Driver::spawn(config(plan, &plan.client), endpoint, writer).expect("client");
    let (paths, client_statistics) = told.recv_timeout(PATIENCE).expect("all streams are acknowledged");
    client.join().expect("the client ends by itself");
    let end = heard.recv_timeout(PATIENCE).expect("the server hears of the end");
    Outcome {
        received: end.received,
        paths,
        client: client_statistics,
        server: end.statistics,
        closed: end.closed,
    }
}

/// Server and client, one after the other.
pub fn run(plan: &Plan) -> Outcome {
    let (identity, roots) = certificate();
    let (server, heard) = start_server(plan, identity);
    let outcome = run_client(plan, &server, roots, &heard);
    server.stop().expect("the server ends when told");
    outcome
}

/// A fresh identity and the trust in it.
pub fn certificate() -> (Identity, Roots) {
    let unix_time = std::fs::metadata(env!("CARGO_MANIFEST_DIR")).and_then(|facts| facts.accessed()).ok();
    let unix_time = unix_time.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok()).unwrap_or_default();
    let options =
        DevelopmentOptions { names: vec!["server".to_owned()], kind: KeyKind::P256, days: 3_650, unix_time };
    let certificate = development::self_signed(&options).expect("certificate");
    let identity = Identity::from_pem(certificate.cert_pem.as_bytes(), certificate.key_pem.as_bytes());
    (identity.expect("identity"), Roots::Pem(certificate.cert_pem))
}

fn config(plan: &Plan, addresses: &[SocketAddr]) -> DriverConfig {
    let sockets = addresses.iter().map(|address| SocketConfig::new(*address)).collect();
    DriverConfig { sockets, max_segments: plan.max_segments, ..DriverConfig::default() }
}

/// The byte at `offset` of every stream with this id.
fn byte(stream: StreamId, offset: u64) -> u8 {
    (offset ^ (offset >> 8) ^ stream.0) as u8
}

/// The client.
struct Writer {
    plan: Plan,
    config: Arc<ClientConfig>,
    target: SocketAddr,
    registrar: Registrar,
    connection: Option<ConnectionHandle>,
    /// Streams with the bytes written and the bytes wanted.
    todo: Vec<(StreamId, u64, u64)>,
    finished: usize,
    tell: Sender<(Vec<PathView>, DriverStatistics)>,
}

impl Application for Writer {
    fn on_turn(&mut self, io: &mut Io<'_>) {
        if !self.registrar.is_done(io) {
            return;
        }
        let Some(handle) = self.connection else { return self.connect(io) };
        while let Some((_, event)) = io.endpoint.poll_event() {
            match event {
                Event::HandshakeComplete => self.open(io),
                Event::Stream(StreamEvent::Finished(_)) => self.finished += 1,
                Event::Closed(info) => assert_eq!(self.finished, self.plan.streams.len(), "closed early: {info:?}"),
                Event::Drained => io.stop(),
                _ => {}
            }
        }
        let statistics = *io.statistics();
        let Some(connection) = io.endpoint.connection_mut(handle) else { return };
        for (stream, written, wanted) in &mut self.todo {
            while written < wanted {
                let bytes: Vec<u8> =
                    (*written..*wanted).take(65_536).map(|offset| byte(*stream, offset)).collect();
                match connection.write(*stream, &bytes).expect("writable") {
                    0 => break,
                    count => *written += count as u64,
                }
            }
            if written == wanted {
                connection.finish(*stream).expect("writable");
            }
        }
        self.todo.retain(|(_, written, wanted)| written < wanted);
        if self.finished == self.plan.streams.len() {
            self.tell.send((connection.paths().collect(), statistics)).unwrap_or_default();
            connection.close(io.now, 7, b"done");
        }
    }
}

impl Writer {
    fn connect(&mut self, io: &mut Io<'_>) {
        let four_tuple = self.path(io, 0);
        self.connection = Some(io.endpoint.connect(io.now, &self.config, "server", four_tuple).expect("connect"));
        for index in 1..self.plan.client.len() {
            let four_tuple = self.path(io, index);
            let connection = self.connection.and_then(|handle| io.endpoint.connection_mut(handle)).expect("connection");
            connection.open_path(io.now, four_tuple, PathStatusKind::Available).expect("path");
        }
    }

    fn path(&self, io: &mut Io<'_>, index: usize) -> FourTuple {
        let local = io.sockets().nth(index).expect("socket").local;
        if let Some(agent) = self.plan.relay {
            return io.endpoint.pathway_to(local, qtraversal::Endpoint::Agent { agent, outer: self.target }).expect("way");
        }
        FourTuple { local, remote: self.plan.via[index].unwrap_or(self.target) }
    }

    fn open(&mut self, io: &mut Io<'_>) {
        let connection = self.connection.and_then(|handle| io.endpoint.connection_mut(handle)).expect("connection");
        for len in &self.plan.streams {
            self.todo.push((connection.open(KIND).expect("credit"), 0, *len as u64));
        }
    }
}

/// What a server has to say at the end of a connection.
#[derive(Debug)]
pub struct Heard {
    received: u64,
    statistics: DriverStatistics,
    closed: CloseInfo,
}

/// Makes an endpoint known to a relay that admits anyone: by STUN, which tells it how it is seen there.
struct Registrar {
    relay: Option<SocketAddr>,
    asked: Asked,
}

#[derive(PartialEq, Eq)]
enum Asked {
    No,
    Yes,
}

impl Registrar {
    const fn new(relay: Option<SocketAddr>) -> Self {
        Self { relay, asked: Asked::No }
    }

    /// The relay knows us, or there is none to know us.
    fn is_done(&mut self, io: &mut Io<'_>) -> bool {
        let Some(agent) = self.relay else { return true };
        if io.endpoint.registrations().next().is_some() {
            return true;
        }
        let local = io.sockets().next().expect("socket").local;
        if self.asked == Asked::No {
            self.asked = Asked::Yes;
            let ask = StunAsk { ticket: Ticket(1), local, server: agent, form: Form::Rfc, patience: Patience::SHORT };
            io.endpoint.ask_stun(ask, io.now);
        }
        while let Some(news) = io.endpoint.poll_nat_news() {
            // A busy machine may be silent for a while.
            let NatNews::Answer { mapped, .. } = news else {
                self.asked = Asked::No;
                continue;
            };
            let own = qtraversal::Endpoint::Agent { agent, outer: mapped };
            io.endpoint.add_registration(Registration { local, own }).expect("registered");
            return true;
        }
        false
    }
}

/// The server.
struct Checker {
    registrar: Registrar,
    tell: Sender<Heard>,
    /// Streams that may have bytes, with the bytes read.
    streams: Vec<(ConnectionHandle, StreamId, u64)>,
    received: u64,
}

impl Application for Checker {
    fn on_turn(&mut self, io: &mut Io<'_>) {
        if !self.registrar.is_done(io) {
            return;
        }
        let statistics = *io.statistics();
        while let Some((handle, event)) = io.endpoint.poll_event() {
            match event {
                Event::Stream(StreamEvent::Opened(id)) => self.streams.push((handle, id, 0)),
                Event::Closed(closed) => {
                    self.tell.send(Heard { received: self.received, statistics, closed: *closed }).unwrap_or_default();
                }
                _ => {}
            }
        }
        let received = &mut self.received;
        self.streams.retain_mut(|(handle, id, offset)| {
            let Some(connection) = io.endpoint.connection_mut(*handle) else { return false };
            loop {
                match connection.peek(*id) {
                    Ok(bytes) => {
                        let wrong = bytes.iter().zip(*offset..).position(|(found, at)| *found != byte(*id, at));
                        assert_eq!(wrong, None, "stream {id:?} from {offset}");
                        let count = bytes.len();
                        connection.consume(*id, count);
                        *offset += count as u64;
                        *received += count as u64;
                    }
                    Err(ReadError::Blocked) => return true,
                    Err(_) => return false,
                }
            }
        });
    }
}

