//! In steady state no packet costs an allocation: neither to send, nor to take in, nor to acknowledge. Nor does a small
//! stream.
//!
//! Two endpoints are driven by hand over a wire of preallocated buffers, so that every allocation that is counted is
//! the machine's own.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use qbase::{Direction, Ecn, FourTuple, StreamId, Timestamp, frame::PathStatusKind};
use qconnection::{Connection, ConnectionHandle, Endpoint, EndpointConfig, Event, Multipath, SendLimits, TransportConfig, stream::{ReadError, StreamEvent}};
use qsim::Failure;

mod common;
use common::ends::{self, NAME, failure};

/// Counts what each thread allocates.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    // A thread that is ending has no counter any more.
    let _ = ALLOCATIONS.try_with(|allocations| allocations.set(allocations.get() + 1));
}

#[expect(unsafe_code, reason = "an allocator is unsafe by its trait; this one counts and hands on")]
// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are handed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are handed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations() -> u64 {
    ALLOCATIONS.with(Cell::get)
}

/// One-way delay of the wire.
const DELAY: Duration = Duration::from_millis(5);
/// Datagrams on the wire at most.
const SLOTS: usize = 8_192;
/// Longest datagram.
const SLOT_BYTES: usize = 1_500;
/// Bytes the applications write and read at once.
const CHUNK: usize = 16 * 1_024;

/// Datagrams on their way to one end, in buffers made before the start.
struct Wire {
    bytes: Vec<u8>,
    slots: Vec<(Timestamp, FourTuple, usize)>,
    /// Slots taken out and put in since the start.
    taken: usize,
    put: usize,
}

impl Wire {
    fn new() -> Self {
        let nowhere = FourTuple { local: SocketAddr::from(([0, 0, 0, 0], 0)), remote: SocketAddr::from(([0, 0, 0, 0], 0)) };
        Self { bytes: vec![0; SLOTS * SLOT_BYTES], slots: vec![(Timestamp::ZERO, nowhere, 0); SLOTS], taken: 0, put: 0 }
    }

    fn send(&mut self, at: Timestamp, four_tuple: FourTuple, datagram: &[u8]) {
        let slot = self.put % SLOTS;
        let start = slot * SLOT_BYTES;
        let room = self.bytes.get_mut(start..start + datagram.len());
        if let (true, Some(room), Some(entry)) = (self.put - self.taken < SLOTS, room, self.slots.get_mut(slot)) {
            room.copy_from_slice(datagram);
            *entry = (at, four_tuple, datagram.len());
            self.put += 1;
        }
    }

    fn next(&self) -> Option<Timestamp> {
        if self.taken == self.put { None } else { self.slots.get(self.taken % SLOTS).map(|(at, ..)| *at) }
    }

    fn receive(&mut self, now: Timestamp) -> Option<(FourTuple, &mut [u8])> {
        let slot = self.taken % SLOTS;
        let (at, four_tuple, len) = *self.slots.get(slot)?;
        if self.taken == self.put || at > now {
            return None;
        }
        self.taken += 1;
        let start = slot * SLOT_BYTES;
        Some((four_tuple, self.bytes.get_mut(start..start + len)?))
    }
}

/// An endpoint and what its application does.
struct End {
    endpoint: Endpoint,
    handle: Option<ConnectionHandle>,
    inbox: Wire,
    stream: Option<StreamId>,
    moved: u64,
}

/// What the applications do for ever.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Work {
    /// The client sends on one stream, the server reads it.
    Bulk,
    /// The client asks on a new stream each time, the server answers with what it was asked.
    Requests,
}

/// Requests under way.
const IN_FLIGHT: usize = 32;
/// Bytes of a request and of its answer.
const REQUEST: usize = 100;

/// A client and a server at work.
struct World {
    work: Work,
    now: Timestamp,
    client: End,
    server: End,
    buffer: Vec<u8>,
    chunk: Vec<u8>,
}

fn link(number: u8) -> FourTuple {
    let address = |host: u8| SocketAddr::from(([10, 0, number, host], 4_433));
    FourTuple { local: address(1), remote: address(2) }
}

impl World {
    fn new(work: Work, paths: u8, multipath: Multipath) -> Result<Self, Failure> {
        let transport = TransportConfig { send_buffer: 1_024 * 1_024, multipath, ..TransportConfig::default() };
        let (client, server) = ends::configs(5, transport.clone(), transport)?;
        let end = |seed: u8| End {
            endpoint: Endpoint::new(EndpointConfig::default(), [seed; 32]),
            handle: None,
            inbox: Wire::new(),
            stream: None,
            moved: 0,
        };
        let mut world = Self {
            work,
            now: Timestamp::from_millis(1),
            client: end(1),
            server: end(2),
            buffer: vec![0; 65_535],
            chunk: vec![7; CHUNK],
        };
        world.server.endpoint.listen(Some(server));
        let handle = world.client.endpoint.connect(world.now, &Arc::clone(&client), NAME, link(1)).map_err(failure)?;
        world.client.handle = Some(handle);
        for number in 2..=paths {
            let connection = world.client.endpoint.connection_mut(handle).ok_or_else(|| failure("no connection"))?;
            connection.open_path(world.now, link(number), PathStatusKind::Available).map_err(failure)?;
        }
        Ok(world)
    }

    /// One instant: datagrams and timers, applications, bursts.
    fn step(&mut self) {
        let Self { client, server, buffer, chunk, .. } = self;
        let timers = [&client.endpoint, &server.endpoint].map(|endpoint| endpoint.next_timer().map(|(at, _)| at));
        let arrivals = [client.inbox.next(), server.inbox.next()];
        // At the very start nothing is under way and no timer is set: the first flight leaves at once.
        let next = timers.into_iter().chain(arrivals).flatten().min();
        self.now = self.now.max(next.unwrap_or(self.now));
        for end in [&mut *client, &mut *server] {
            while let Some((four_tuple, bytes)) = end.inbox.receive(self.now) {
                end.endpoint.handle_datagram(self.now, four_tuple, Ecn::NotEct, bytes);
            }
            end.endpoint.on_timer(self.now);
        }
        match self.work {
            Work::Bulk => {
                write_all(client, chunk);
                read_all(server, chunk);
            }
            Work::Requests => {
                ask(client, chunk);
                answer(server, chunk);
            }
        }
        transmit(client, &mut server.inbox, self.now, buffer);
        transmit(server, &mut client.inbox, self.now, buffer);
    }

    fn run(&mut self, until: impl Fn(&Self) -> bool) -> Result<(), Failure> {
        for _ in 0..2_000_000 {
            if until(self) {
                return Ok(());
            }
            self.step();
        }
        Err(failure(format!("it does not come true: {} bytes at {:?}", self.server.moved, self.now)))
    }

    fn packets(&self) -> u64 {
        let sent = |end: &End| {
            let connection = end.handle.and_then(|handle| end.endpoint.connection(handle));
            connection.map_or(0, |connection| connection.statistics().packets_sent)
        };
        sent(&self.client) + sent(&self.server)
    }
}

fn write_all(end: &mut End, chunk: &[u8]) {
    while end.endpoint.poll_event().is_some() {}
    let Some(connection) = end.handle.and_then(|handle| end.endpoint.connection_mut(handle)) else { return };
    if end.stream.is_none() {
        end.stream = connection.open(Direction::Unidirectional);
    }
    let Some(stream) = end.stream else { return };
    while let Ok(written @ 1..) = connection.write(stream, chunk) {
        end.moved += written as u64;
    }
}

fn read_all(end: &mut End, chunk: &mut [u8]) {
    while let Some((handle, event)) = end.endpoint.poll_event() {
        end.handle = Some(handle);
        if let Event::Stream(StreamEvent::Opened(stream)) = event {
            end.stream = Some(stream);
        }
    }
    let Some(stream) = end.stream else { return };
    let Some(connection) = end.handle.and_then(|handle| end.endpoint.connection_mut(handle)) else { return };
    while let Ok(read @ 1..) = connection.read(stream, chunk) {
        end.moved += read as u64;
    }
}

/// Keeps requests under way and counts the answers.
fn ask(end: &mut End, chunk: &mut [u8]) {
    while let Some((handle, event)) = end.endpoint.poll_event() {
        if let Event::Stream(StreamEvent::Readable(stream)) = event
            && let Some(connection) = end.endpoint.connection_mut(handle)
        {
            end.moved += u64::from(take_all(connection, stream, chunk));
        }
    }
    let Some(connection) = end.handle.and_then(|handle| end.endpoint.connection_mut(handle)) else { return };
    while connection.streams().open_count() < IN_FLIGHT
        && let Some(stream) = connection.open(Direction::Bidirectional)
    {
        send(connection, stream);
    }
}

/// Answers every request that came whole.
fn answer(end: &mut End, chunk: &mut [u8]) {
    while let Some((handle, event)) = end.endpoint.poll_event() {
        if let Event::Stream(StreamEvent::Readable(stream)) = event
            && let Some(connection) = end.endpoint.connection_mut(handle)
            && take_all(connection, stream, chunk)
        {
            send(connection, stream);
        }
    }
}

fn send(connection: &mut Connection, stream: StreamId) {
    assert_eq!(connection.write(stream, &[7; REQUEST]), Ok(REQUEST));
    assert_eq!(connection.finish(stream), Ok(()));
}

/// Reads what is there; whether that was the end.
fn take_all(connection: &mut Connection, stream: StreamId, chunk: &mut [u8]) -> bool {
    while let Ok(1..) = connection.read(stream, chunk) {}
    connection.read(stream, chunk) != Err(ReadError::Blocked)
}

fn transmit(end: &mut End, wire: &mut Wire, now: Timestamp, buffer: &mut [u8]) {
    while let Some(burst) = end.endpoint.poll_transmit(now, buffer, &SendLimits::default()) {
        let four_tuple = FourTuple { local: burst.four_tuple.remote, remote: burst.four_tuple.local };
        for datagram in buffer.get(..burst.len).unwrap_or_default().chunks(burst.segment_size) {
            wire.send(now + DELAY, four_tuple, datagram);
        }
        end.endpoint.on_submitted(&burst, burst.segments, now);
    }
}

/// Warms up, then counts allocations over this many packets.
fn allocations_of_a_bulk_transfer(paths: u8, multipath: Multipath, packets: u64) -> Result<(u64, u64), Failure> {
    let mut world = World::new(Work::Bulk, paths, multipath)?;
    world.run(|world| world.packets() >= 40_000)?;
    let used = world.client.handle.and_then(|handle| world.client.endpoint.connection(handle));
    assert_eq!(used.map(|connection| connection.statistics().paths), Some(u64::from(paths)));
    let (from_packets, from) = (world.packets(), allocations());
    assert!(from > 100, "{from} allocations to warm up: the counter does not count");
    world.run(|world| world.packets() >= from_packets + packets)?;
    Ok((world.packets() - from_packets, allocations() - from))
}

#[test]
fn a_bulk_transfer_over_one_path_allocates_nothing_per_packet() -> Result<(), Failure> {
    let (packets, allocations) = allocations_of_a_bulk_transfer(1, Multipath::Auto, 20_000)?;
    assert!(allocations <= packets / 1_000, "{allocations} allocations for {packets} packets");
    Ok(())
}

#[test]
fn a_bulk_transfer_over_two_paths_allocates_nothing_per_packet() -> Result<(), Failure> {
    let (packets, allocations) = allocations_of_a_bulk_transfer(2, Multipath::Auto, 20_000)?;
    assert!(allocations <= packets / 1_000, "{allocations} allocations for {packets} packets");
    Ok(())
}

/// multipath section O
#[test]
fn nor_do_two_paths_that_share_one_packet_number_space() -> Result<(), Failure> {
    let (packets, allocations) = allocations_of_a_bulk_transfer(2, Multipath::SharedSpace, 20_000)?;
    assert!(allocations <= packets / 1_000, "{allocations} allocations for {packets} packets");
    Ok(())
}

#[test]
fn small_streams_one_after_another_allocate_nothing() -> Result<(), Failure> {
    let mut world = World::new(Work::Requests, 1, Multipath::Auto)?;
    world.run(|world| world.client.moved >= 2_000)?;
    let (from_streams, from) = (world.client.moved, allocations());
    world.run(|world| world.client.moved >= from_streams + 20_000)?;
    let (streams, allocations) = (world.client.moved - from_streams, allocations() - from);
    assert!(allocations <= streams / 1_000, "{allocations} allocations for {streams} streams");
    Ok(())
}
