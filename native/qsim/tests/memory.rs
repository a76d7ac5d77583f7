//! One memory for many connections: whose turn it is, what goes on without any, and what idle ones hold (mux R1 to R24).
//!
//! A server and its clients with nothing between them but a millisecond; some clients can be made deaf.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use qbase::{Direction, Ecn, ErrorCode, FourTuple, PathId, StreamId, Timestamp, frame::Fin};
use qconnection::{
    ClientConfig, Connection, ConnectionHandle, Endpoint, EndpointConfig, Event, SendLimits, TransportConfig,
    connection::{Polarity, events::ClosedBy},
    path::PathState,
    stream::StreamEvent,
};
use qevent::BlockReason;
use qsim::{Failure, LinkShape, Pair, PairConfig};

use crate::common;
use common::{
    crowd::{addresses, turned},
    delay,
    ends::{self, NAME, failure},
    evil::{
        arena::{Arena, Setup},
        stream,
    },
    ms, secs,
};

use Direction::{Bidirectional, Unidirectional};

/// A block of the pool.
const BLOCK: u64 = 16 * 1_024;
/// The smallest pool there is.
const SMALLEST: usize = 3 * 16 * 1_024;

/// mux R3, R10: with three buffers for fifty connections each gets its turn, none twice before another, and all come to
/// their end.
#[test]
fn fifty_connections_send_in_turn_through_the_smallest_pool() -> Result<(), Failure> {
    let mut house = House::new(SMALLEST, 50)?;
    let each = 10 * BLOCK;
    let streams = house.streams()?;
    let mut left: BTreeMap<ConnectionHandle, u64> = house.guests.iter().map(|guest| (*guest, each)).collect();
    let mut served: Vec<ConnectionHandle> = Vec::new();
    let mut ready: VecDeque<ConnectionHandle> = house.guests.iter().copied().collect();
    while left.values().any(|left| *left > 0) {
        while let Some(guest) = ready.pop_front() {
            let wanted = left.get(&guest).copied().unwrap_or_default();
            let stream = streams.get(&guest).copied().ok_or_else(|| failure("no stream"))?;
            let taken = house.write(guest, stream, wanted)?;
            assert!(house.server.statistics().pool_bytes_used <= SMALLEST as u64);
            if taken > 0 {
                served.push(guest);
            }
            left.insert(guest, wanted - taken);
        }
        house.step(ms(1));
        ready.extend(house.writable.drain(..).map(|(guest, _)| guest));
        assert!(house.now < Timestamp::from_millis(60_000), "{left:?}");
    }
    // The first had the whole pool before anybody waited.
    for round in served.get(1..).unwrap_or_default().chunks_exact(50).take(5) {
        let different: BTreeSet<_> = round.iter().collect();
        assert_eq!(different.len(), 50, "somebody was served twice before another once");
    }
    house.settle();
    assert_eq!(house.server.statistics().pool_bytes_used, 0);
    Ok(())
}

/// mux R11, R14, R15: five seconds without memory. The packet layer needs none: PING, ACK, PATH_CHALLENGE and PATH_RESPONSE,
/// MAX_DATA, RESET_STREAM and STOP_SENDING go as ever; the silence has a name and a duration, and nobody is woken for nothing.
#[test]
fn a_connection_without_memory_lives_and_says_what_it_waits_for() -> Result<(), Failure> {
    let mut house = House::new(SMALLEST, 2)?;
    let [hog, poor] = house.two()?;
    house.starve(hog)?;
    let stream = house.open(poor, Bidirectional)?;
    let doomed = house.open(poor, Unidirectional)?;
    assert_eq!(house.write(poor, stream, 1_000)?, 0, "there is no memory");
    house.step(ms(1));
    assert_eq!(house.server.statistics().waiting_for_memory, 2, "the hog would take more, too");
    house.writable.clear();
    let before = house.now;
    let now = house.now;
    house.server.connection_mut(poor).ok_or_else(|| failure("gone"))?.reset(doomed, 9).map_err(failure)?;
    let client = house.client_of(poor)?;
    // Bytes for the starved end, within its credit: they are kept, read and credited.
    let up = house.clients.connection_mut(client).and_then(|connection| connection.open(Unidirectional)).ok_or_else(|| failure("no stream"))?;
    let (mut sent, mut read) = (0_usize, 0_usize);
    let mut timers = 0;
    for round in 0..5_000_u64 {
        if round % 500 == 0 {
            house.server.connection_mut(poor).ok_or_else(|| failure("gone"))?.ping();
        }
        if let Some(connection) = house.clients.connection_mut(client) {
            sent += connection.write(up, &[5; 400]).map_err(failure)?;
        }
        timers += house.step(ms(1));
        let mut buffer = [0; 4_096];
        if let Some(connection) = house.server.connection_mut(poor) {
            while let Ok(len @ 1..) = connection.read(up, &mut buffer) {
                read += len;
            }
        }
    }
    assert!(sent - read <= 4_096 && read > 1_500_000, "{read} of {sent} bytes");
    assert_eq!(house.writable, [], "woken without memory");
    assert!(house.ended.is_empty());
    let connection = house.server.connection(poor).ok_or_else(|| failure("gone"))?;
    assert_eq!(connection.path(PathId::ZERO).map(|path| path.state), Some(PathState::Open));
    let cost = connection.blocks().cost(house.now, BlockReason::TxBuf);
    assert_eq!((cost.count, connection.waits_for_memory()), (1, true));
    assert!(cost.time >= house.now.saturating_since(before) - ms(2), "{cost:?}");
    let words = connection.explain(now).join("\n");
    assert!(words.contains("waiting for memory") && words.contains("TX_BUF"), "{words}");
    assert!(timers < 20_000, "{timers} timers");
    // The hog ends: its memory goes to the one who waits, in the same turn, once.
    house.close(hog);
    house.step(ms(1));
    assert_eq!(house.writable, [(poor, stream)]);
    assert_eq!(house.write(poor, stream, 1_000)?, 1_000);
    house.settle();
    let connection = house.server.connection(poor).ok_or_else(|| failure("gone"))?;
    assert_eq!((connection.blocks().cost(house.now, BlockReason::TxBuf).count, connection.waits_for_memory()), (1, false));
    Ok(())
}

/// mux R15: while it is blocked and nothing arrives, a connection is polled by its timers and by nothing else.
#[test]
fn a_blocked_connection_does_not_spin() -> Result<(), Failure> {
    let mut house = House::new(SMALLEST, 2)?;
    let [hog, poor] = house.two()?;
    house.settle();
    house.starve(hog)?;
    let stream = house.open(poor, Unidirectional)?;
    assert_eq!(house.write(poor, stream, 1_000)?, 0);
    house.step(ms(1));
    house.writable.clear();
    let until = house.now + secs(1);
    let mut wakes = 0;
    // Only the deaf one's probes are due; each is one wake-up of the endpoint.
    while let Some((at, name)) = house.server.next_timer().filter(|(at, _)| *at <= until) {
        house.now = house.now.max(at);
        house.server.on_timer(house.now);
        house.exchange();
        assert_ne!(name.name(), "buffers", "nothing came free");
        wakes += 1;
    }
    assert!(wakes <= 12, "{wakes} wake-ups in a second");
    assert_eq!(house.writable, []);
    Ok(())
}

/// mux R4: a connection that closes while it waits gives its place up at once, and what was kept for it goes on.
#[test]
fn one_who_closes_while_waiting_holds_nobody_up() -> Result<(), Failure> {
    let mut house = House::new(SMALLEST, 3)?;
    let [hog, first, second] = house.three()?;
    house.starve(hog)?;
    let streams = [house.open(first, Unidirectional)?, house.open(second, Unidirectional)?];
    for (guest, stream) in [first, second].into_iter().zip(streams) {
        assert_eq!(house.write(guest, stream, 1_000)?, 0);
    }
    house.step(ms(1));
    house.writable.clear();
    house.close(first);
    house.step(ms(1));
    assert_eq!(house.writable, []);
    house.close(hog);
    house.step(ms(1));
    assert_eq!(house.writable, [(second, streams[1])]);
    Ok(())
}

/// mux R3, R5: a block is kept for who was told, but not for ever; the next one gets it.
#[test]
fn a_block_that_is_offered_and_not_used_goes_to_the_next() -> Result<(), Failure> {
    let mut house = House::new(SMALLEST, 3)?;
    let [hog, first, second] = house.three()?;
    let held = house.starve(hog)?;
    let streams = [house.open(first, Unidirectional)?, house.open(second, Unidirectional)?];
    for (guest, stream) in [first, second].into_iter().zip(streams) {
        assert_eq!(house.write(guest, stream, 100_000)?, 0);
    }
    house.step(ms(1));
    house.writable.clear();
    // One block of the hog's comes back: the first is told and stays away.
    house.deaf.clear();
    house.settle();
    let told: Vec<_> = house.writable.iter().map(|(guest, _)| *guest).collect();
    assert_eq!((told, held), (vec![hog, first, second], SMALLEST as u64));
    assert_eq!(house.server.statistics().pool_bytes_used, 3 * BLOCK, "one block each");
    house.step(ms(1_100));
    assert_eq!(house.server.statistics().pool_bytes_used, 0);
    assert_eq!(house.write(second, streams[1], 100_000)?, SMALLEST as u64, "nobody waits any more");
    Ok(())
}

/// mux R16: a thousand idle connections hold no buffer, and after every echo nothing is in use.
#[test]
fn a_thousand_idle_connections_hold_no_buffer() -> Result<(), Failure> {
    let mut house = House::new(64 << 20, 1_000)?;
    house.settle();
    for round in 0..3 {
        for number in 0..1_000 {
            let (client, guest) = (house.dialled[number], house.guests[number]);
            let connection = house.clients.connection_mut(client).ok_or_else(|| failure("gone"))?;
            let stream = connection.open(Bidirectional).ok_or_else(|| failure("no stream"))?;
            connection.write(stream, &[round; 700]).map_err(failure)?;
            connection.finish(stream).map_err(failure)?;
            house.exchange();
            let mut request = [0; 1_000];
            let connection = house.server.connection_mut(guest).ok_or_else(|| failure("gone"))?;
            let len = connection.read(stream, &mut request).map_err(failure)?;
            connection.write(stream, &request[..len]).map_err(failure)?;
            connection.finish(stream).map_err(failure)?;
            house.exchange();
            let mut answer = [0; 1_000];
            let connection = house.clients.connection_mut(client).ok_or_else(|| failure("gone"))?;
            assert_eq!(connection.read(stream, &mut answer), Ok(700));
        }
        house.settle();
        for endpoint in [&house.server, &house.clients] {
            let statistics = endpoint.statistics();
            assert_eq!((statistics.connections, statistics.pool_bytes_used, statistics.waiting_for_memory), (1_000, 0, 0));
        }
    }
    Ok(())
}

/// mux R12, R20: with eight times as much credit as memory a peer that uses it meets INTERNAL_ERROR, counted; without
/// overcommit it never does.
#[test]
fn overcommit_ends_in_internal_error_and_never_in_lost_bytes() -> Result<(), Failure> {
    for (overcommit_percent, expected) in [(100, None), (800, Some(ErrorCode::INTERNAL_ERROR.0))] {
        let server = TransportConfig { stream_window: 256 * 1_024, connection_window: 256 * 1_024, ..TransportConfig::default() };
        let mut arena = Arena::new(&Setup { server, pool_bytes: SMALLEST, overcommit_percent, ..Setup::default() })?;
        let window = if overcommit_percent == 100 { BLOCK } else { 256 * 1_024 };
        for piece in 0..window / 1_024 {
            arena.say(&[stream(2, piece * 1_024, &[1; 1_024], Fin::No)])?;
        }
        assert_eq!(arena.close_code().map(|(code, _)| code), expected, "{overcommit_percent} %");
        assert_eq!(arena.server.statistics().overcommitted > 0, expected.is_some());
        assert!(arena.server.statistics().pool_bytes_used <= 2 * SMALLEST as u64);
    }
    Ok(())
}

/// mux R34: after a thousand streams that were reset with half of their windows unread the next one runs at the rate of the
/// link.
#[test]
fn ten_megabytes_at_full_rate_after_a_thousand_resets() -> Result<(), Failure> {
    let windows = || TransportConfig { stream_window: 32 * 1_024, ..TransportConfig::default() };
    let shape = LinkShape { queue: qsim::Queue::TailDrop { bytes: 500_000 }, ..delay(5) }.at_rate(100_000_000);
    let mut pair = Pair::new(PairConfig { client: windows(), server: windows(), ..PairConfig::new(1, vec![shape]) })?;
    pair.run_until(|pair| pair.client().connection().is_some_and(Connection::is_confirmed), secs(1))?;
    pair.server_mut().traffic_mut().set_reading(qsim::traffic::Reading::Paused);
    for _ in 0..20 {
        let mut streams = Vec::new();
        if let Some(connection) = pair.client_mut().connection_mut() {
            for _ in 0..50 {
                let stream = connection.open(Unidirectional).ok_or_else(|| failure("no stream"))?;
                streams.push(stream);
            }
        }
        // Half of each window, a few at a time: all together they would be the whole window of the connection.
        for few in streams.chunks(20) {
            for stream in few {
                pair.client_mut().connection_mut().map(|connection| connection.write(*stream, &[3; 16 * 1_024]));
            }
            pair.run_for(ms(60))?;
            for stream in few {
                pair.client_mut().connection_mut().map(|connection| connection.reset(*stream, 1));
            }
            pair.run_for(ms(30))?;
        }
    }
    pair.server_mut().traffic_mut().set_reading(qsim::traffic::Reading::Eager);
    let before = pair.elapsed();
    pair.client_mut().traffic_mut().send(Unidirectional, 10_000_000);
    pair.run_until_delivered(secs(10))?;
    let rate = 80e6 / (pair.elapsed() - before).as_secs_f64();
    assert!(rate >= 75e6, "{:.1} of 100 Mbit/s", rate / 1e6);
    Ok(())
}

/// mux R45: what a connection was made of is gone when it is: nothing of the pool, no timer, no place in a line, no route.
#[test]
fn a_connection_that_is_gone_has_let_go_of_everything() -> Result<(), Failure> {
    let mut house = House::new(SMALLEST, 3)?;
    let [hog, first, second] = house.three()?;
    house.starve(hog)?;
    for guest in [first, second] {
        let stream = house.open(guest, Unidirectional)?;
        assert_eq!(house.write(guest, stream, 100_000)?, 0);
    }
    for guest in [second, hog, first] {
        house.close(guest);
        house.step(ms(1));
    }
    for _ in 0..40 {
        house.step(ms(1_000));
    }
    for endpoint in [&house.server, &house.clients] {
        let left = endpoint.statistics();
        assert_eq!((left.connections, left.routes, left.reset_tokens, left.half_open), (0, 0, 0, 0));
        assert_eq!((left.pool_bytes_used, left.windows_reserved, left.waiting_for_memory), (0, 0, 0));
        assert_eq!(endpoint.next_timer(), None);
    }
    Ok(())
}

// ---- helpers ----

/// A server with some memory, and its clients.
pub struct House {
    pub now: Timestamp,
    pub server: Endpoint,
    pub clients: Endpoint,
    /// The clients' handles, and the server's for the same connections.
    pub dialled: Vec<ConnectionHandle>,
    pub guests: Vec<ConnectionHandle>,
    /// Clients that hear nothing.
    pub deaf: BTreeSet<FourTuple>,
    /// Streams of the server that may be written again, in the order of the news.
    pub writable: Vec<(ConnectionHandle, StreamId)>,
    pub ended: Vec<(ConnectionHandle, ClosedBy)>,
    buffer: Vec<u8>,
}

impl House {
    /// `guests` clients are connected, and the pool of the server has so many bytes.
    pub fn new(pool_bytes: usize, guests: u16) -> Result<Self, Failure> {
        Self::with(guests, EndpointConfig { pool_bytes, ..EndpointConfig::default() }, EndpointConfig::default(), None)
    }

    /// With these endpoints; where the protocol has parts, this is the code for streams of the wrong way.
    pub fn with(guests: u16, server_end: EndpointConfig, client_end: EndpointConfig, wrong_way: Option<u64>) -> Result<Self, Failure> {
        let (client, server) = ends::configs(1, TransportConfig::default(), TransportConfig { stream_window: 64 * 1_024, ..TransportConfig::default() })?;
        let client: Arc<ClientConfig> = client;
        let mut house = Self {
            now: Timestamp::from_millis(1_000),
            server: Endpoint::new(server_end, [3; 32]),
            clients: Endpoint::new(client_end, [4; 32]),
            dialled: Vec::new(),
            guests: Vec::new(),
            deaf: BTreeSet::new(),
            writable: Vec::new(),
            ended: Vec::new(),
            buffer: vec![0; 65_535],
        };
        for endpoint in [&mut house.server, &mut house.clients] {
            if let Some(wrong_way) = wrong_way {
                endpoint.polarise(Polarity { alpn: b"qsim".to_vec(), wrong_way });
            }
        }
        house.server.listen(Some(server));
        for number in 0..guests {
            let dialled = house.clients.connect(house.now, &client, NAME, addresses(number)).map_err(failure)?;
            house.dialled.push(dialled);
            house.exchange();
            let known: BTreeSet<_> = house.guests.iter().copied().collect();
            let fresh = house.server.handles().find(|handle| !known.contains(handle));
            house.guests.push(fresh.ok_or_else(|| failure("not accepted"))?);
        }
        house.settle();
        assert_eq!(house.server.statistics().half_open, 0);
        Ok(house)
    }

    pub fn two(&self) -> Result<[ConnectionHandle; 2], Failure> {
        self.guests.clone().try_into().map_err(|_| failure("two guests"))
    }

    pub fn three(&self) -> Result<[ConnectionHandle; 3], Failure> {
        self.guests.clone().try_into().map_err(|_| failure("three guests"))
    }

    pub fn client_of(&self, guest: ConnectionHandle) -> Result<ConnectionHandle, Failure> {
        let at = self.guests.iter().position(|other| *other == guest);
        at.and_then(|at| self.dialled.get(at)).copied().ok_or_else(|| failure("no such guest"))
    }

    pub fn open(&mut self, guest: ConnectionHandle, direction: Direction) -> Result<StreamId, Failure> {
        let connection = self.server.connection_mut(guest).ok_or_else(|| failure("gone"))?;
        connection.open(direction).ok_or_else(|| failure("no stream"))
    }

    /// One stream of the server to each guest.
    pub fn streams(&mut self) -> Result<BTreeMap<ConnectionHandle, StreamId>, Failure> {
        self.guests.clone().into_iter().map(|guest| self.open(guest, Unidirectional).map(|stream| (guest, stream))).collect()
    }

    pub fn write(&mut self, guest: ConnectionHandle, stream: StreamId, len: u64) -> Result<u64, Failure> {
        let connection = self.server.connection_mut(guest).ok_or_else(|| failure("gone"))?;
        Ok(connection.write(stream, &vec![7; len as usize]).map_err(failure)? as u64)
    }

    /// The guest becomes deaf, and what the server writes for it takes all memory there is. Answers how much.
    pub fn starve(&mut self, guest: ConnectionHandle) -> Result<u64, Failure> {
        let four_tuple = self.server.connection(guest).and_then(|connection| connection.path(PathId::ZERO)).map(|path| path.four_tuple);
        self.deaf.extend(four_tuple);
        let stream = self.open(guest, Unidirectional)?;
        self.write(guest, stream, 1 << 20)
    }

    pub fn close(&mut self, guest: ConnectionHandle) {
        let now = self.now;
        if let Some(connection) = self.server.connection_mut(guest) {
            connection.close(now, 0, b"");
        }
    }

    /// Time passes; answers how many timers fired.
    pub fn step(&mut self, time: Duration) -> usize {
        let until = self.now + time;
        let mut timers = 0;
        loop {
            self.exchange();
            let next = [&self.server, &self.clients].into_iter().filter_map(|endpoint| endpoint.next_timer()).map(|(at, _)| at).min();
            let Some(at) = next.filter(|at| *at <= until) else { break };
            self.now = self.now.max(at);
            timers += 1;
            assert!(timers < 100_000, "time stands still");
            self.server.on_timer(self.now);
            self.clients.on_timer(self.now);
        }
        self.now = until;
        timers
    }

    /// Time passes until everything is acknowledged that will be.
    pub fn settle(&mut self) {
        self.step(ms(200));
    }

    /// What both ends have to send arrives at once, and they say what happened.
    pub fn exchange(&mut self) {
        loop {
            let mut silent = true;
            while let Some(burst) = self.clients.poll_transmit(self.now, &mut self.buffer, &SendLimits::default()) {
                silent = false;
                self.clients.on_submitted(&burst, burst.segments, self.now);
                for datagram in self.buffer.get_mut(..burst.len).unwrap_or_default().chunks_mut(burst.segment_size.max(1)) {
                    self.server.handle_datagram(self.now, turned(burst.four_tuple), Ecn::NotEct, datagram);
                }
            }
            while let Some(burst) = self.server.poll_transmit(self.now, &mut self.buffer, &SendLimits::default()) {
                silent = false;
                self.server.on_submitted(&burst, burst.segments, self.now);
                if self.deaf.contains(&burst.four_tuple) {
                    continue;
                }
                for datagram in self.buffer.get_mut(..burst.len).unwrap_or_default().chunks_mut(burst.segment_size.max(1)) {
                    self.clients.handle_datagram(self.now, turned(burst.four_tuple), Ecn::NotEct, datagram);
                }
            }
            self.hear();
            if silent {
                return;
            }
        }
    }

    pub fn hear(&mut self) {
        while let Some((handle, event)) = self.server.poll_event() {
            match event {
                Event::Stream(StreamEvent::Writable(stream)) => self.writable.push((handle, stream)),
                Event::Closed(info) => self.ended.push((handle, info.by)),
                _ => {}
            }
        }
        // Clients take what comes.
        while let Some((handle, event)) = self.clients.poll_event() {
            if let Event::Stream(StreamEvent::Readable(stream)) = event
                && stream.direction() == Unidirectional
                && let Some(connection) = self.clients.connection_mut(handle)
            {
                let mut buffer = [0; 16_384];
                while let Ok(1..) = connection.read(stream, &mut buffer) {}
            }
        }
    }
}
