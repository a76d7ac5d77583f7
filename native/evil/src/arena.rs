//! The server under attack, its time, the evil client, and an honest neighbour if the test wants one.
//!
//! Called by the tests of attacks. There is no network between: what one end sends, the other has at once.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use qbase::{
    ConnectionId, Direction, Ecn, EncryptionLevel, FourTuple, PathId, Role, StreamId, Timestamp, VERSION_1, Writer,
    frame::{self, CloseKind, Frame, ack},
    limits,
    param::TransportParameters,
};
use qconnection::{
    ClientConfig, Connection, ConnectionHandle, Endpoint, EndpointConfig, Event, SendLimits, TransportConfig, endpoint::pathways::Registration,
    path::PathMode,
};
use qtraversal::{
    Pathway,
    forward::{ForwardHeader, Stamp},
};
use qcrypto::Session;
use qsim::Failure;

use crate::{encode, ends::{self, NAME, failure}, own_cid, peer::Peer, wire::Packet};

/// How far the handshake goes before the attack begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The server has the first half of the ClientHello. Initial packets can be sent.
    Hello,
    /// The server's first flight is there; the client has not answered. Initial and Handshake packets can be sent.
    Flight,
    /// Both ends are done. 1-RTT packets can be sent.
    Confirmed,
}

/// What the arena is made of.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Settings of the server.
    pub server: TransportConfig,
    /// What the evil client declares; its connection id is filled in.
    pub parameters: TransportParameters,
    /// Where the attack begins.
    pub stage: Stage,
    /// The last word about what the evil client declares.
    pub change: fn(&mut TransportParameters),
    /// Memory of the server's endpoint for application bytes.
    pub pool_bytes: usize,
    /// How far its windows may add up beyond that, percent.
    pub overcommit_percent: u32,
    /// Least size of the server's certificates.
    pub chain_bytes: usize,
    /// How the evil client reaches the server.
    pub way: Way,
}

/// How the evil client reaches the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Way {
    /// From its address.
    #[default]
    Straight,
    /// Over a relay that knows both.
    Relayed,
}

/// The relay, if there is one.
pub const RELAY: ([u8; 4], u16) = ([203, 0, 113, 1], 4_434);

/// The pathway of the evil client over the relay.
fn pathway() -> Pathway {
    let agent = SocketAddr::from(RELAY);
    let end = |number: u8| qtraversal::Endpoint::Agent { agent, outer: SocketAddr::from(([203, 0, 113, 10 + number], 6_000)) };
    Pathway { local: end(1), remote: end(2) }
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            server: TransportConfig { stream_window: 64 * 1_024, connection_window: 128 * 1_024, ..TransportConfig::default() },
            parameters: TransportParameters {
                initial_max_path_id: Some(PathId(7)),
                ..ends::generous()
            },
            stage: Stage::Confirmed,
            change: |_| {},
            pool_bytes: EndpointConfig::default().pool_bytes,
            overcommit_percent: 100,
            chain_bytes: 0,
            way: Way::Straight,
        }
    }
}

impl Setup {
    /// The attack begins before the server has a whole ClientHello.
    pub fn before_the_hello() -> Self {
        Self { stage: Stage::Hello, ..Self::default() }
    }

    /// Without multipath.
    pub fn single_path() -> Self {
        let plain = Self::default();
        Self { parameters: TransportParameters { initial_max_path_id: None, ..plain.parameters }, ..plain }
    }

    /// The attack begins while the handshake is under way.
    pub fn during_handshake() -> Self {
        Self { stage: Stage::Flight, ..Self::default() }
    }
}

/// A datagram of the evil client as the relay passes it on.
fn in_header(datagram: &[u8]) -> Vec<u8> {
    let Ok(Some(stamp)) = Stamp::of(&pathway()) else { return datagram.to_vec() };
    let mut forwarded = vec![0; stamp.size()];
    forwarded.extend_from_slice(datagram);
    // It has the room that the stamp asked for.
    let _ = stamp.fill(&mut forwarded);
    forwarded
}

/// Steps without end are a failure of the machine.
const MAX_STEPS: usize = 100_000;

/// The honest neighbour.
struct Honest {
    endpoint: Endpoint,
    handle: ConnectionHandle,
    four_tuple: FourTuple,
}

/// A server, an evil client, perhaps an honest one.
pub struct Arena {
    /// The present instant.
    pub now: Timestamp,
    /// The server's endpoint.
    pub server: Endpoint,
    /// The evil client.
    pub evil: Peer,
    handle: ConnectionHandle,
    /// Events of the server's side of the evil connection.
    pub events: Vec<Event>,
    /// At [`Stage::Hello`]: offset and bytes of the half that was not sent.
    pub rest_of_hello: (u64, Vec<u8>),
    /// The server's application takes no events.
    pub is_deaf: bool,
    /// UDP payload that the server sent to each address, bytes.
    pub sent_to: BTreeMap<SocketAddr, u64>,
    /// Datagrams of the server that named their time to live: when, between which addresses, bytes. The evil client does not get them.
    pub probes: Vec<(Timestamp, FourTuple, usize)>,
    way: Way,
    honest: Option<Honest>,
    client: Arc<ClientConfig>,
    buffer: Vec<u8>,
}

/// Addresses of client `number` as the server sees them.
pub fn addresses(number: u8) -> FourTuple {
    let client = SocketAddr::from(([198, 51, 100, number], 51_000));
    FourTuple { local: SocketAddr::from(([192, 0, 2, 1], 4_433)), remote: client }
}

impl Arena {
    /// A server and an evil client, at the stage the setup names.
    ///
    /// # Errors
    /// The handshake fails.
    pub fn new(setup: &Setup) -> Result<Self, Failure> {
        let (client, server) = ends::configs_of_chain(1, setup.chain_bytes, TransportConfig::default(), setup.server.clone())?;
        let mut endpoint = Endpoint::new(EndpointConfig { pool_bytes: setup.pool_bytes, overcommit_percent: setup.overcommit_percent, ..EndpointConfig::default() }, [3; 32]);
        endpoint.listen(Some(server));
        if setup.way == Way::Relayed {
            let registration = Registration { local: addresses(1).local, own: pathway().remote };
            endpoint.add_registration(registration).map_err(failure)?;
        }
        let original = ConnectionId::new(b"original").unwrap_or_default();
        let mut parameters = setup.parameters.clone();
        parameters.initial_source_connection_id = Some(own_cid(PathId::ZERO, 0));
        (setup.change)(&mut parameters);
        let mut encoded = Vec::new();
        parameters.write(&mut encoded, Role::Client, None);
        let tls = Session::client(&client.tls, NAME, &encoded, VERSION_1).map_err(failure)?;
        let mut arena = Self {
            now: Timestamp::from_millis(1_000),
            server: endpoint,
            evil: Peer::new(tls, addresses(1), original),
            handle: ConnectionHandle { index: u32::MAX, generation: 0 },
            events: Vec::new(),
            rest_of_hello: (0, Vec::new()),
            is_deaf: false,
            sent_to: BTreeMap::new(),
            probes: Vec::new(),
            way: setup.way,
            honest: None,
            client,
            buffer: vec![0; 65_535],
        };
        if setup.stage == Stage::Hello {
            arena.send_half_hello()?;
        } else {
            arena.send_flight()?;
        }
        arena.handle = arena.server.handles().next().ok_or_else(|| failure("the server took no connection"))?;
        if setup.stage == Stage::Confirmed {
            arena.send_flight()?;
            if !arena.evil.is_complete() || !arena.connection()?.is_confirmed() {
                return Err(failure("the handshake was not completed"));
            }
            arena.evil.shares_space = arena.connection()?.path_mode() == PathMode::SharedSpace;
            arena.ack()?;
        }
        Ok(arena)
    }

    /// Sends what the evil client's TLS has to say, honestly.
    ///
    /// # Errors
    /// The server's answer makes no sense.
    pub fn send_flight(&mut self) -> Result<(), Failure> {
        for (level, offset, data) in self.evil.take_flight() {
            let frame = Frame::Crypto(frame::Crypto { offset, data: &data });
            self.send(level, &[frame])?;
        }
        Ok(())
    }

    /// Sends the first half of the ClientHello and keeps the rest.
    fn send_half_hello(&mut self) -> Result<(), Failure> {
        for (level, offset, data) in self.evil.take_flight() {
            let (half, rest) = data.split_at(data.len() / 2);
            self.send(level, &[Frame::Crypto(frame::Crypto { offset, data: half })])?;
            self.rest_of_hello = (offset + half.len() as u64, rest.to_vec());
        }
        Ok(())
    }

    /// Sends frames in one packet, and hears the answer.
    ///
    /// # Errors
    /// The packet cannot be made, or the answer makes no sense.
    pub fn send(&mut self, level: EncryptionLevel, frames: &[Frame<'_>]) -> Result<(), Failure> {
        self.send_bytes(level, &encode(frames))
    }

    /// Sends frames in a 1-RTT packet on path 0, and hears the answer.
    ///
    /// # Errors
    /// See [`Self::send`].
    pub fn say(&mut self, frames: &[Frame<'_>]) -> Result<(), Failure> {
        self.send(EncryptionLevel::OneRtt, frames)
    }

    /// Sends frames in a 1-RTT packet on any path.
    ///
    /// # Errors
    /// See [`Self::send`].
    pub fn say_on(&mut self, path: PathId, frames: &[Frame<'_>]) -> Result<(), Failure> {
        let packet = self.evil.seal(EncryptionLevel::OneRtt, path, None, 0, &encode(frames))?;
        self.deliver(packet)
    }

    /// Sends any bytes as the payload of a packet, and hears the answer.
    ///
    /// # Errors
    /// See [`Self::send`].
    pub fn send_bytes(&mut self, level: EncryptionLevel, payload: &[u8]) -> Result<(), Failure> {
        let packet = self.evil.seal(level, PathId::ZERO, None, 0, payload)?;
        self.deliver(packet)
    }

    /// Hands a datagram to the server, Initial packets filled up with bytes that are no packet, and hears the answer.
    ///
    /// # Errors
    /// The answer makes no sense.
    pub fn deliver(&mut self, packet: Vec<u8>) -> Result<(), Failure> {
        self.inject(packet, self.evil.four_tuple);
        self.pump()
    }

    /// Hands a datagram to the server as if another client had sent it; no answer yet.
    pub fn inject_from(&mut self, number: u8, packet: Vec<u8>) {
        self.inject(packet, addresses(number));
    }

    /// Hands a datagram to the server and does not let it answer yet.
    pub fn inject(&mut self, mut packet: Vec<u8>, four_tuple: FourTuple) {
        if packet.first().is_some_and(|first| first & 0xf0 == 0xc0) {
            packet.resize(packet.len().max(limits::MIN_INITIAL), 0);
        }
        if self.way == Way::Relayed && four_tuple == self.evil.four_tuple {
            let four_tuple = FourTuple { remote: SocketAddr::from(RELAY), ..four_tuple };
            let mut forwarded = in_header(&packet);
            self.server.handle_datagram(self.now, four_tuple, Ecn::NotEct, &mut forwarded);
            return;
        }
        self.server.handle_datagram(self.now, four_tuple, Ecn::NotEct, &mut packet);
    }

    /// Lets the server send all it wants, and the honest neighbour too.
    ///
    /// # Errors
    /// The server never stops, or its packets make no sense.
    pub fn pump(&mut self) -> Result<(), Failure> {
        for _ in 0..MAX_STEPS {
            self.hear_events();
            let Some(burst) = self.server.poll_transmit(self.now, &mut self.buffer, &SendLimits::default()) else {
                if self.pump_honest() {
                    continue;
                }
                return Ok(());
            };
            let mut bytes = self.buffer.get(..burst.len).unwrap_or_default().to_vec();
            let sent = self.sent_to.entry(burst.four_tuple.remote).or_default();
            *sent = sent.saturating_add(burst.len as u64);
            self.server.on_submitted(&burst, burst.segments, self.now);
            if burst.hop_limit.is_some() {
                self.probes.push((self.now, burst.four_tuple, burst.len));
                continue;
            }
            for datagram in bytes.chunks_mut(burst.segment_size.max(1)) {
                let header = ForwardHeader::strip(datagram).map_or(0, |stripped| datagram.len().saturating_sub(stripped.quic.len()));
                let datagram = if self.way == Way::Relayed { datagram.get_mut(header..).unwrap_or_default() } else { datagram };
                match &mut self.honest {
                    Some(honest) if honest.four_tuple.remote == burst.four_tuple.remote => {
                        honest.endpoint.handle_datagram(self.now, reverse(honest.four_tuple), Ecn::NotEct, datagram);
                    }
                    _ => self.evil.hear(datagram)?,
                }
            }
        }
        Err(failure("the server never stops to send"))
    }

    /// The same; returns how many datagrams went between these addresses.
    ///
    /// # Errors
    /// See [`Self::pump`].
    pub fn pump_to(&mut self, four_tuple: FourTuple) -> Result<usize, Failure> {
        let mut count = 0;
        while let Some(burst) = self.server.poll_transmit(self.now, &mut self.buffer, &SendLimits::default()) {
            count += if burst.four_tuple == four_tuple { burst.segments } else { 0 };
            let mut bytes = self.buffer.get(..burst.len).unwrap_or_default().to_vec();
            self.server.on_submitted(&burst, burst.segments, self.now);
            for datagram in bytes.chunks_mut(burst.segment_size.max(1)) {
                self.evil.hear(datagram)?;
            }
        }
        self.hear_events();
        Ok(count)
    }

    fn hear_events(&mut self) {
        if self.is_deaf {
            return;
        }
        while let Some((handle, event)) = self.server.poll_event() {
            if handle == self.handle || self.handle.index == u32::MAX {
                self.events.push(event);
            }
        }
    }

    /// Lets time pass, and everything happen that is due.
    ///
    /// # Errors
    /// See [`Self::pump`].
    pub fn wait(&mut self, time: Duration) -> Result<(), Failure> {
        let end = self.now + time;
        for _ in 0..MAX_STEPS {
            let theirs = self.honest.as_ref().and_then(|honest| honest.endpoint.next_timer()).map(|(at, _)| at);
            let ours = self.server.next_timer().map(|(at, _)| at);
            let Some(at) = Timestamp::earliest(ours, theirs).filter(|at| *at <= end) else {
                self.now = end;
                return Ok(());
            };
            self.now = self.now.max(at);
            self.server.on_timer(self.now);
            if let Some(honest) = &mut self.honest {
                honest.endpoint.on_timer(self.now);
            }
            self.pump()?;
        }
        Err(failure("time stands still"))
    }

    /// Acknowledges every 1-RTT packet heard so far, on all paths.
    ///
    /// # Errors
    /// See [`Self::send`].
    pub fn ack(&mut self) -> Result<(), Failure> {
        let names_path = self.connection()?.path_mode() == PathMode::Ietf;
        let mut payload = vec![0; 1_000];
        let mut writer = Writer::new(&mut payload);
        for (path, numbers) in &self.evil.numbers {
            let mut ranges: Vec<std::ops::RangeInclusive<u64>> = Vec::new();
            for number in numbers.iter().rev() {
                match ranges.last_mut() {
                    Some(range) if *range.start() == number + 1 => *range = *number..=*range.end(),
                    _ => ranges.push(*number..=*number),
                }
            }
            let room = writer.remaining();
            ack::write(&mut writer, names_path.then_some(*path), ranges.into_iter(), 0, None, room);
        }
        let len = writer.len();
        payload.truncate(len);
        self.send_bytes(EncryptionLevel::OneRtt, &payload)
    }

    /// The server's side of the evil connection.
    ///
    /// # Errors
    /// It is gone.
    pub fn connection(&self) -> Result<&Connection, Failure> {
        self.server.connection(self.handle).ok_or_else(|| failure("the connection is gone"))
    }

    /// The same, to use.
    ///
    /// # Errors
    /// It is gone.
    pub fn connection_mut(&mut self) -> Result<&mut Connection, Failure> {
        self.server.connection_mut(self.handle).ok_or_else(|| failure("the connection is gone"))
    }

    /// The CONNECTION_CLOSE of the transport that the evil client heard: code and frame type.
    pub fn close_code(&self) -> Option<(u64, u64)> {
        self.evil.heard.iter().flat_map(Packet::frames).find_map(|frame| match frame {
            Frame::ConnectionClose(close) => match close.kind {
                CloseKind::Transport { frame_type } => Some((close.code, frame_type)),
                CloseKind::Application => None,
            },
            _ => None,
        })
    }

    /// The words of that CONNECTION_CLOSE.
    pub fn close_reason(&self) -> String {
        let reason = self.evil.heard.iter().flat_map(Packet::frames).find_map(|frame| match frame {
            Frame::ConnectionClose(close) => Some(String::from_utf8_lossy(close.reason).into_owned()),
            _ => None,
        });
        reason.unwrap_or_default()
    }

    /// How many frames the evil client heard that fit.
    pub fn count(&self, fits: impl Fn(&Frame<'_>) -> bool) -> usize {
        self.evil.heard.iter().flat_map(Packet::frames).filter(fits).count()
    }

    /// Forgets what was heard.
    pub fn forget_heard(&mut self) {
        self.evil.heard.clear();
    }

    /// Reads what the evil client sent on a stream, as the server's application would; returns the bytes.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn read(&mut self, stream: StreamId) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        let mut buffer = [0; 4_096];
        while let Ok(count @ 1..) = self.connection_mut()?.read(stream, &mut buffer) {
            bytes.extend_from_slice(buffer.get(..count).unwrap_or_default());
        }
        self.pump()?;
        Ok(bytes)
    }

    /// An honest client connects to the same endpoint.
    ///
    /// # Errors
    /// It cannot.
    pub fn add_honest(&mut self) -> Result<(), Failure> {
        let mut endpoint = Endpoint::new(EndpointConfig::default(), [4; 32]);
        let four_tuple = addresses(2);
        let handle = endpoint.connect(self.now, &self.client, NAME, reverse(four_tuple)).map_err(failure)?;
        self.honest = Some(Honest { endpoint, handle, four_tuple });
        self.pump()
    }

    /// The honest client sends so many bytes on a new stream; the server reads what has come of them.
    ///
    /// # Errors
    /// The connection has ended, or bytes are missing after a second.
    pub fn honest_sends(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let gone = || failure("the honest connection has ended");
        let honest = self.honest.as_mut().ok_or_else(gone)?;
        let connection = honest.endpoint.connection_mut(honest.handle).ok_or_else(gone)?;
        let stream = connection.open(Direction::Unidirectional).ok_or_else(gone)?;
        connection.write(stream, bytes).map_err(failure)?;
        connection.finish(stream).map_err(failure)?;
        let mut got = Vec::new();
        for _ in 0..100 {
            self.pump()?;
            self.wait(Duration::from_millis(10))?;
            let own = self.handle;
            let handle = self.server.handles().find(|handle| *handle != own).ok_or_else(gone)?;
            let connection = self.server.connection_mut(handle).ok_or_else(gone)?;
            let mut buffer = [0; 4_096];
            while let Ok(count @ 1..) = connection.read(stream, &mut buffer) {
                got.extend_from_slice(buffer.get(..count).unwrap_or_default());
            }
            if got.len() >= bytes.len() {
                return if got == bytes { Ok(()) } else { Err(failure("the honest connection got wrong bytes")) };
            }
        }
        Err(failure(format!("{} of {} bytes of the honest connection arrived", got.len(), bytes.len())))
    }

    fn pump_honest(&mut self) -> bool {
        let Some(honest) = &mut self.honest else { return false };
        while honest.endpoint.poll_event().is_some() {}
        let Some(burst) = honest.endpoint.poll_transmit(self.now, &mut self.buffer, &SendLimits::default()) else {
            return false;
        };
        honest.endpoint.on_submitted(&burst, burst.segments, self.now);
        let four_tuple = honest.four_tuple;
        for datagram in self.buffer.get_mut(..burst.len).unwrap_or_default().chunks_mut(burst.segment_size.max(1)) {
            self.server.handle_datagram(self.now, four_tuple, Ecn::NotEct, datagram);
        }
        true
    }
}

/// The addresses of the other end.
pub fn reverse(four_tuple: FourTuple) -> FourTuple {
    FourTuple { local: four_tuple.remote, remote: four_tuple.local }
}
