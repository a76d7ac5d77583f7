//! What the burst assembler makes, read again: equal segments, sizes, order of coalesced packets, padding, bounds
//! (burst B-2 to B-4, B-20, B-45, B-50).
//!
//! [`check`] is called for every burst of every target that drives an endpoint.

use std::time::Duration;

use bytes::Bytes;
use qbase::{
    ConnectionId, Direction, Ecn, FourTuple, Role, StreamId, Timestamp, VERSION_1,
    limits::{self, LOCAL_CID_LEN},
    packet::{FixedBit, PacketType, ProtectedHeader},
    frame::{Frame, PathStatusKind},
    Reader,
};
use qconnection::{Burst, ConnectionHandle, Endpoint, EndpointConfig, SendLimits, TransportConfig};
use qconnection::connection::SendDatagram;
use qcrypto::Keys;

use super::{food::Food, parsers::START};
use crate::{arena::{addresses, reverse}, ends::{self, NAME}, wire};

/// Largest UDP payload an endpoint sends by itself.
const LARGEST: usize = 1_472;

/// Panics if a burst is not as it must be.
pub(super) fn check(burst: &Burst, bytes: &[u8], sends: &SendLimits) {
    assert!(burst.len > 0 && burst.len <= limits::MAX_BURST_BYTES && burst.len <= bytes.len(), "{burst:?}");
    assert!(burst.segment_size > 0 && burst.segment_size <= LARGEST, "{burst:?}");
    assert!(burst.segments <= sends.max_segments.clamp(1, limits::MAX_SEGMENTS), "{burst:?} of {sends:?}");
    assert_eq!(burst.len.div_ceil(burst.segment_size), burst.segments, "{burst:?}");
}

/// Panics if a datagram of a connection is not as it must be.
pub(super) fn check_datagram(datagram: &[u8], from: Role, original: Option<ConnectionId>) {
    let (mut rest, mut above) = (datagram, None);
    while !rest.is_empty() {
        // Peers that allow it get packets whose fixed bit says nothing (RFC 9287 §3).
        let header = ProtectedHeader::parse_with(rest, LOCAL_CID_LEN, FixedBit::Ignored);
        let Ok(header) = header else { unreachable!("{header:?} behind {} bytes", datagram.len() - rest.len()) };
        let rank = match header.kind {
            PacketType::Initial => 0,
            PacketType::ZeroRtt => 1,
            PacketType::Handshake => 2,
            PacketType::OneRtt => 3,
            PacketType::Retry | PacketType::VersionNegotiation => return assert_eq!(rest.len(), datagram.len(), "a coalesced Retry"),
        };
        assert!(above.is_none_or(|above| rank > above), "{:?} stands at the wrong place", header.kind);
        above = Some(rank);
        let (packet, behind) = rest.split_at(header.end);
        if header.kind == PacketType::Initial && (from.is_client() || elicits(packet, &header, original)) {
            assert!(datagram.len() >= limits::MIN_INITIAL, "an Initial packet in {} bytes", datagram.len());
        }
        rest = behind;
    }
}

/// A server's Initial packet asks for an acknowledgement.
fn elicits(packet: &[u8], header: &ProtectedHeader, original: Option<ConnectionId>) -> bool {
    let Some(original) = original.filter(|_| header.version == VERSION_1) else { return false };
    let keys = Keys::initial(VERSION_1, &original, Role::Client);
    let Some((_, payload)) = wire::open_long(&keys, &mut packet.to_vec(), header.pn_offset, None) else { return false };
    let mut reader = Reader::new(&payload);
    while !reader.is_empty() {
        let frame = Frame::decode(&mut reader);
        let Ok(frame) = frame else { unreachable!("{frame:?} from a server") };
        if frame.is_ack_eliciting() {
            return true;
        }
    }
    false
}

/// Two honest ends, whatever their applications and the network between them do.
pub fn bursts(data: &[u8]) {
    let mut food = Food::new(data);
    let mut world = World::new(&mut food);
    while !food.is_empty() {
        world.act(&mut food);
        world.exchange();
    }
    // Everything comes to its end.
    for handle in [world.ends[0].handle, world.ends[1].handle].into_iter().flatten().take(1) {
        if let Some(connection) = world.ends[0].endpoint.connection_mut(handle) {
            connection.close(world.now, 1, b"");
        }
    }
    world.exchange();
    world.wait(Duration::from_secs(100));
    for end in &world.ends {
        let left = end.endpoint.statistics();
        assert_eq!((left.connections, left.routes, left.reset_tokens, left.pool_bytes_used, left.half_open), (0, 0, 0, 0, 0));
    }
}

struct End {
    role: Role,
    endpoint: Endpoint,
    handle: Option<ConnectionHandle>,
    sends: SendLimits,
    streams: Vec<StreamId>,
}

struct World {
    now: Timestamp,
    ends: [End; 2],
    original: Option<ConnectionId>,
    /// Datagrams that vanish from now on.
    drop: u8,
    buffer: Vec<u8>,
}

impl World {
    fn new(food: &mut Food<'_>) -> Self {
        let transport = |choice: u8| TransportConfig {
            initial_mtu: [1_200, 1_201, 1_280, 1_452][usize::from(choice & 3)],
            stream_window: [1_000, 20_000, 100_000, 1_000_000][usize::from(choice >> 2 & 3)],
            connection_window: [2_000, 30_000, 200_000, 4_000_000][usize::from(choice >> 4 & 3)],
            congestion: if choice & 0x40 == 0 { qcongestion::algorithm::Algorithm::Cubic } else { qcongestion::algorithm::Algorithm::Bbr3 },
            ..TransportConfig::default()
        };
        let (client, server) = (transport(food.byte()), transport(food.byte()));
        let (client, server) = ends::configs(1, client, server).unwrap_or_else(|failure| unreachable!("{failure}"));
        let end = |role, seed, choice: u8| End {
            role,
            endpoint: Endpoint::new(EndpointConfig::default(), [seed; 32]),
            handle: None,
            sends: SendLimits { max_segments: [1, 2, 7, 64][usize::from(choice & 3)] },
            streams: Vec::new(),
        };
        let choice = food.byte();
        let mut ends = [end(Role::Client, 4, choice), end(Role::Server, 3, choice >> 2)];
        ends[1].endpoint.listen(Some(server));
        ends[0].handle = ends[0].endpoint.connect(START, &client, NAME, reverse(addresses(1))).ok();
        let drop = choice >> 4;
        let mut world = Self { now: START, ends, original: None, drop, buffer: vec![0; 65_535] };
        world.exchange();
        world
    }

    /// One thing that the food says.
    fn act(&mut self, food: &mut Food<'_>) {
        let choice = food.byte();
        let now = self.now;
        let end = &mut self.ends[usize::from(choice >> 7)];
        let pick = usize::from(choice >> 4 & 7);
        let stream = end.streams.get(pick % end.streams.len().max(1)).copied().unwrap_or(StreamId(0));
        let connection = end.handle.and_then(|handle| end.endpoint.connection_mut(handle));
        let Some(connection) = connection else { return self.wait(Duration::from_millis(u64::from(choice))) };
        match choice & 0xf {
            0 | 1 => {
                let direction = if choice & 1 == 0 { Direction::Bidirectional } else { Direction::Unidirectional };
                end.streams.extend(connection.open(direction));
            }
            2..=4 => {
                let len = usize::from(food.short());
                let _ = connection.write(stream, &vec![7; len]);
            }
            5 => drop(connection.finish(stream)),
            6 => drop(connection.reset(stream, 9)),
            7 => drop(connection.stop(stream, 9)),
            8 => {
                let mut out = vec![0; usize::from(food.short())];
                let _ = connection.read(stream, &mut out);
            }
            9 => {
                let len = usize::from(food.short()) % 1_500;
                let _ = connection.send_datagram(now, Bytes::from(vec![8; len]), SendDatagram::default());
                while connection.receive_datagram().is_some() {}
            }
            10 => drop(connection.update_key(now)),
            11 => connection.ping(),
            12 => end.sends.max_segments = usize::from(food.byte() & 0x3f) + 1,
            13 => self.drop = food.byte() & 0xf,
            14 => {
                let number = 2 + (choice >> 4 & 3);
                let _ = connection.open_path(now, reverse(addresses(number)), PathStatusKind::Available);
            }
            _ => self.wait(Duration::from_micros(food.number() % 40_000_000)),
        }
    }

    /// Lets both ends send all they want; each has at once what the other sent.
    fn exchange(&mut self) {
        for turn in 0..100_000_usize {
            let (from, to) = if turn % 2 == 0 { (0, 1) } else { (1, 0) };
            let before = turn;
            let mut quiet = !self.send(from, to);
            if quiet {
                quiet = !self.send(to, from);
            }
            if quiet {
                return;
            }
            assert!(before < 99_999, "the ends never stop to send");
        }
    }

    /// One burst; `false` if there is none.
    fn send(&mut self, from: usize, to: usize) -> bool {
        let now = self.now;
        let [client, server] = &mut self.ends;
        let (from, to) = if from < to { (client, server) } else { (server, client) };
        while let Some((handle, event)) = from.endpoint.poll_event() {
            from.handle.get_or_insert(handle);
            if let qconnection::Event::Stream(qconnection::stream::StreamEvent::Opened(_)) = event
                && let Some(connection) = from.endpoint.connection_mut(handle)
            {
                for direction in [Direction::Bidirectional, Direction::Unidirectional] {
                    while let Some(stream) = connection.accept(direction) {
                        from.streams.push(stream);
                    }
                }
            }
        }
        let Some(burst) = from.endpoint.poll_transmit(now, &mut self.buffer, &from.sends) else { return false };
        check(&burst, &self.buffer, &from.sends);
        if self.original.is_none() {
            self.original = ProtectedHeader::parse(&self.buffer[..burst.len], LOCAL_CID_LEN).ok().map(|header| header.dcid);
        }
        from.endpoint.on_submitted(&burst, burst.segments, now);
        let seen: FourTuple = reverse(burst.four_tuple);
        let is_answer = burst.connection.is_none();
        for datagram in self.buffer[..burst.len].chunks_mut(burst.segment_size) {
            // An answer without a connection is a Retry, a list of versions, a refusal or a reset that looks like any packet.
            if !is_answer {
                check_datagram(datagram, from.role, self.original);
            }
            if self.drop > 0 {
                self.drop -= 1;
                continue;
            }
            to.endpoint.handle_datagram(now, seen, Ecn::NotEct, datagram);
        }
        true
    }

    /// Lets time pass, and everything happen that is due.
    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        for _ in 0..100_000 {
            let timer = |end: &End| end.endpoint.next_timer().map(|(at, _)| at);
            let next = Timestamp::earliest(timer(&self.ends[0]), timer(&self.ends[1]));
            let Some(at) = next.filter(|at| *at <= end) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(at);
            let now = self.now;
            self.ends.iter_mut().for_each(|end| end.endpoint.on_timer(now));
            self.exchange();
        }
        unreachable!("time stands still");
    }
}
