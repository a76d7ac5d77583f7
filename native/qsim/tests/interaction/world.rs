//! Plays the operations of a scenario and asks for what must hold whatever they were.

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use bytes::Bytes;
use qbase::{ErrorCode, PathId, Role, StreamId};
use qconnection::{
    Connection, TransportConfig,
    connection::{SendDatagram, events::Layer},
};
use qsim::{
    Directions, Failure, LinkId, LinkShape, Pair, PairConfig,
    pair::CLIENT_PORT,
    traffic::{IncomingState, Outgoing, OutgoingState, Reading},
};

use super::operation::{Memory, Operation, Outside, PREFERRED, SPARE_ADDRESSES, Scenario};
use crate::common::{ms, secs};

/// Virtual time in which everything must be over once the links are good.
const TO_SETTLE: Duration = secs(120);
/// Virtual time after which nothing of a closed connection may be left.
const TO_FORGET: Duration = secs(100);

/// Whether a NAT gave the client another address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rebound {
    No,
    Yes,
}

struct World {
    pair: Pair,
    /// All links: those of the pair, and those of further addresses.
    links: Vec<LinkId>,
    /// Addresses of the client: those of the pair's links, and further ones.
    homes: Vec<SocketAddr>,
    server: TransportConfig,
    /// A NAT gave the client another address.
    rebound: Rebound,
    /// Streams somebody gave up, at either end: their bytes may be missing.
    given_up: BTreeSet<StreamId>,
}

/// Plays a scenario.
///
/// # Errors
/// A rule does not hold.
pub fn play(scenario: &Scenario) -> Result<(), Failure> {
    let mut world = World::new(&scenario.config)?;
    for operation in &scenario.operations {
        world.act(operation)?;
        world.pair.run_for(ms(1))?;
        world.check_end()?;
    }
    world.settle()?;
    world.forget()
}

impl World {
    /// The pair, with every address of the client joined to every one of the server.
    fn new(config: &PairConfig) -> Result<Self, Failure> {
        let mut pair = Pair::new(config.clone())?;
        let mut links = pair.links().to_vec();
        let ends = |role: Role| links.iter().map(|link| Pair::four_tuple(*link, role).local).collect::<Vec<SocketAddr>>();
        let (mut homes, mut servers) = (ends(Role::Client), ends(Role::Server));
        let own = homes.len();
        homes.extend((1..=SPARE_ADDRESSES).map(|number| SocketAddr::from(([10, 50, 0, number as u8], CLIENT_PORT))));
        servers.push(PREFERRED.into());
        for (at, home) in homes.iter().enumerate() {
            for (of, server) in servers.iter().enumerate().filter(|(of, _)| at >= own || *of != at) {
                let shape = config.links.get(at.min(of) % own).cloned().unwrap_or_default();
                links.push(pair.network_mut().link(home.ip(), server.ip(), &shape));
            }
        }
        Ok(Self { pair, links, homes, server: config.server.clone(), rebound: Rebound::No, given_up: BTreeSet::new() })
    }

    /// The connection ends, nothing is left of it, and the client dials again over links as they were at first.
    fn again(&mut self, memory: Memory) -> Result<(), Failure> {
        self.settle()?;
        self.forget()?;
        let server = match memory {
            Memory::LowerLimits => TransportConfig { stream_window: 3_000, connection_window: 6_000, bidirectional_streams: 1, ..self.server.clone() },
            Memory::Tickets | Memory::Nothing => self.server.clone(),
        };
        self.pair.set_server_transport(server);
        if let (Memory::Nothing, Some(sessions)) = (memory, &self.pair.tls().server.sessions) {
            sessions.clear();
        }
        self.given_up.clear();
        self.pair.redial()
    }

    /// A link by its number, counted round.
    fn link(&self, number: u32) -> LinkId {
        LinkId(number % self.links.len().max(1) as u32)
    }

    fn act(&mut self, operation: &Operation) -> Result<(), Failure> {
        let now = self.pair.now();
        match operation {
            Operation::Send(role, direction, len) => {
                self.pair.host_mut(*role).traffic_mut().send(*direction, *len);
            }
            Operation::Reset(role, any) => self.give_up(*role, *any, |connection, stream| connection.reset(stream, 7).unwrap_or_default()),
            Operation::Stop(role, any) => self.give_up(*role, *any, |connection, stream| connection.stop(stream, 8).unwrap_or_default()),
            Operation::Message(role, len) => self.with(*role, |connection| {
                let _ = connection.send_datagram(now, Bytes::from(vec![5; *len]), SendDatagram::default());
                while connection.receive_datagram().is_some() {}
            }),
            Operation::Read(role, reads) => {
                let reading = if *reads { Reading::Eager } else { Reading::Paused };
                self.pair.host_mut(*role).traffic_mut().set_reading(reading);
            }
            Operation::UpdateKey(role) => self.with(*role, |connection| {
                connection.update_key(now);
            }),
            Operation::Ping(role) => self.with(*role, Connection::ping),
            Operation::Schedule(role, scheduler) => self.with(*role, |connection| connection.set_scheduler(*scheduler)),
            Operation::Open(link) => drop(self.pair.open_path(LinkId(*link), qbase::frame::PathStatusKind::Available)),
            Operation::Migrate(any, home, when) => {
                let home = self.homes[home % self.homes.len()];
                self.with_path(Role::Client, *any, |connection, path| connection.migrate(now, path, home, *when).unwrap_or_default());
            }
            Operation::Rebind(home, outside) => {
                let at = home % self.homes.len();
                let inside = self.homes[at];
                let seen = match outside {
                    Outside::Port(port) => SocketAddr::new(inside.ip(), *port),
                    Outside::Host(number) => SocketAddr::from(([10, 77, at as u8, *number], 1_000)),
                };
                self.pair.network_mut().map(inside, seen);
                self.rebound = Rebound::Yes;
            }
            Operation::Again(memory) => return self.again(*memory),
            Operation::Abandon(role, any) => self.with_path(*role, *any, |connection, path| connection.abandon_path(now, path, 3).unwrap_or_default()),
            Operation::Status(role, any, status) => {
                self.with_path(*role, *any, |connection, path| connection.set_path_status(path, *status).unwrap_or_default());
            }
            Operation::Cut(link, directions) => {
                let link = self.link(*link);
                self.pair.network_mut().cut(now, link, *directions);
            },
            Operation::Restore(link) => {
                let link = self.link(*link);
                self.pair.network_mut().restore(now, link, Directions::Both);
            }
            Operation::Shape(link, shape) => {
                let link = self.link(*link);
                self.pair.network_mut().set(now, link, shape, Directions::Both);
            }
            Operation::Wait(time) => self.pair.run_for(*time)?,
            Operation::Close(role, code) => self.with(*role, |connection| connection.close(now, *code, b"done")),
        }
        Ok(())
    }

    fn with(&mut self, role: Role, act: impl FnOnce(&mut Connection)) {
        if let Some(connection) = self.pair.host_mut(role).connection_mut() {
            act(connection);
        }
    }

    fn with_path(&mut self, role: Role, any: usize, act: impl FnOnce(&mut Connection, PathId)) {
        self.with(role, |connection| {
            let paths: Vec<PathId> = connection.paths().map(|path| path.id).collect();
            if let Some(path) = paths.get(any % paths.len().max(1)) {
                act(connection, *path);
            }
        });
    }

    fn give_up(&mut self, role: Role, any: usize, act: impl FnOnce(&mut Connection, StreamId)) {
        let traffic = self.pair.host(role).traffic();
        let streams: Vec<StreamId> = traffic.all_outgoing().filter_map(|out| out.stream).chain(traffic.all_incoming().map(|(id, _)| id)).collect();
        if let Some(stream) = streams.get(any % streams.len().max(1)).copied() {
            self.given_up.insert(stream);
            self.with(role, |connection| act(connection, stream));
        }
    }

    /// If a connection ended, it was for a reason that an honest peer can give.
    fn check_end(&self) -> Result<(), Failure> {
        for role in [Role::Client, Role::Server] {
            let Some(info) = self.pair.host(role).ended() else { continue };
            // An application that closes during the handshake does not show its code (RFC 9000 §10.2.3).
            let allowed = [ErrorCode::NO_ERROR.0, ErrorCode::NO_VIABLE_PATH.0, ErrorCode::APPLICATION_ERROR.0];
            // A Retry's token is good for the address it was given to (RFC 9000 §8.1.4).
            let moved = self.rebound == Rebound::Yes && info.code == ErrorCode::INVALID_TOKEN.0;
            if info.layer == Layer::Transport && !allowed.contains(&info.code) && !moved {
                return Err(self.failure(&format!("the {role:?} ended with {info:?}")));
            }
        }
        Ok(())
    }

    /// The links are good again: within bounded time every byte is there, or its stream or connection has ended at both ends.
    fn settle(&mut self) -> Result<(), Failure> {
        let now = self.pair.now();
        for link in self.links.clone() {
            self.pair.network_mut().restore(now, link, Directions::Both);
            self.pair.network_mut().set(now, link, &LinkShape::delayed(ms(10)), Directions::Both);
        }
        for role in [Role::Client, Role::Server] {
            self.pair.host_mut(role).traffic_mut().set_reading(Reading::Eager);
        }
        let given_up = self.given_up.clone();
        self.pair.run_until(|pair| has_ended(pair) || is_settled(pair, &given_up), TO_SETTLE)?;
        self.check_end()
    }

    /// A connection that was closed leaves nothing, at either end.
    fn forget(&mut self) -> Result<(), Failure> {
        let now = self.pair.now();
        self.with(Role::Client, |connection| connection.close(now, 0, b""));
        self.pair.run_for(TO_FORGET)?;
        self.check_end()?;
        for role in [Role::Client, Role::Server] {
            let left = self.pair.host(role).endpoint().statistics();
            let counts = [left.connections, left.routes, left.reset_tokens, left.pool_bytes_used, left.half_open];
            if counts != [0; 5] {
                let names = "connections, routes, reset tokens, bytes of the pool, half-open";
                return Err(self.failure(&format!("the {role:?} keeps {counts:?} ({names})")));
            }
        }
        Ok(())
    }

    fn failure(&self, text: &str) -> Failure {
        self.pair.failure(&qsim::Fault::Setup(text.to_owned()))
    }
}

/// Both ends know that the connection is over.
fn has_ended(pair: &Pair) -> bool {
    [Role::Client, Role::Server].into_iter().all(|role| pair.host(role).ended().is_some() || pair.host(role).connection().is_none())
}

/// Every transfer is through, or given up and forgotten by both machines.
fn is_settled(pair: &Pair, given_up: &BTreeSet<StreamId>) -> bool {
    let through = |role: Role| {
        let peer = pair.host(role.peer()).traffic();
        pair.host(role).traffic().all_outgoing().all(|out| is_through(out, peer, given_up))
    };
    let streams = |role: Role| pair.host(role).connection().map_or(0, |connection| connection.stream_facts().open_count());
    through(Role::Client) && through(Role::Server) && streams(Role::Client) == 0 && streams(Role::Server) == 0
}

fn is_through(out: &Outgoing, peer: &qsim::traffic::Traffic, given_up: &BTreeSet<StreamId>) -> bool {
    let Some(stream) = out.stream else { return false };
    if given_up.contains(&stream) {
        return true;
    }
    let incoming = peer.incoming(stream);
    let whole = incoming.is_some_and(|incoming| incoming.state == IncomingState::Finished && incoming.received == out.len);
    out.state == OutgoingState::Acknowledged && whole
}
