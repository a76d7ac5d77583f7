//! One link: the socket that clients send to, their flows, and a line each way.
//!
//! Called by [`super::thread`]. Reads every socket within a budget; sends what the lines release.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use mio::{Registry, Token, event::Event};
use qbase::{Ecn, FourTuple, Timestamp};

use super::{
    LinkFacts, Way,
    capture::Capture,
    config::{LineConfig, LinkConfig},
    counters::LinkState,
    flow::{Flow, FlowId, Flows},
    line::Line,
    script::Running,
};
use crate::{
    clock::Clock,
    drive::SpawnError,
    socket::{BufferSizes, Parcel, ReceiveArena, Socket, SocketConfig, Stop, receive, receive::Message},
};

/// Messages read per socket and turn.
const READS_PER_TURN: usize = 64;
/// Tokens of one link: its listen socket, then its flows.
const TOKENS: usize = 1 << 16;
/// Rest after the kernel took nothing.
const REST: Duration = Duration::from_millis(1);

/// A link.
#[derive(Debug)]
pub(super) struct Link {
    /// Its place in the configuration.
    index: usize,
    target: SocketAddr,
    listen: Socket,
    /// The kernel may hold datagrams of clients.
    readable: bool,
    flows: Flows,
    lines: Lines,
    buffers: BufferSizes,
    /// Our address towards the target.
    source: IpAddr,
    capture: Option<Capture>,
    state: Arc<LinkState>,
}

/// Both directions.
#[derive(Debug)]
struct Lines {
    up: Line,
    down: Line,
}

impl Lines {
    fn get_mut(&mut self, way: Way) -> &mut Line {
        match way {
            Way::Up => &mut self.up,
            Way::Down => &mut self.down,
        }
    }
}

impl Link {
    pub(super) fn bind(
        registry: &Registry,
        index: usize,
        config: LinkConfig,
        granularity: Duration,
    ) -> Result<Self, SpawnError> {
        let LinkConfig { listen, target, up, down, seed, clients, buffers, source, capture } = config;
        let capture = capture.as_ref().map(Capture::create).transpose()?;
        let mut listen = Socket::bind(&SocketConfig { buffers, ..SocketConfig::new(listen) })?;
        listen.register(registry, Token(index.saturating_mul(TOKENS)))?;
        let lines = Lines {
            up: Line::new(up, granularity, seed),
            down: Line::new(down, granularity, !seed),
        };
        Ok(Self {
            index,
            target,
            listen,
            readable: false,
            flows: Flows::new(clients.min(TOKENS.saturating_sub(1))),
            lines,
            buffers,
            source: source.unwrap_or(if target.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() }),
            capture,
            state: Arc::default(),
        })
    }

    pub(super) fn facts(&self) -> LinkFacts {
        LinkFacts { listen: self.listen.local(), target: self.target }
    }

    pub(super) fn state(&self) -> Arc<LinkState> {
        Arc::clone(&self.state)
    }

    pub(super) fn reshape(&mut self, way: Way, line: LineConfig) {
        self.lines.get_mut(way).reshape(line);
    }

    /// Other ports towards the target for all clients, and another address if one is named.
    pub(super) fn rebind(&mut self, registry: &Registry, source: Option<IpAddr>) {
        self.source = source.unwrap_or(self.source);
        for (slot, socket) in self.flows.rebind(self.source, self.buffers) {
            // A socket that cannot be registered hears nothing: as good as a lost path.
            socket.register(registry, token(self.index, slot)).unwrap_or_default();
        }
    }

    /// Captures are whole in their files.
    pub(super) fn flush(&mut self) {
        if let Some(Capture { client, target }) = &mut self.capture {
            client.flush();
            target.flush();
        }
    }

    /// Every datagram waits on a line for the next release anyway.
    pub(super) fn is_paced(&self) -> bool {
        self.lines.up.is_paced() && self.lines.down.is_paced()
    }

    /// Marks the socket that an event speaks of, if it is one of this link.
    pub(super) fn note(&mut self, event: &Event) {
        let Some(place) = event.token().0.checked_sub(self.index.saturating_mul(TOKENS)) else { return };
        match place.checked_sub(1) {
            None => self.readable = true,
            Some(slot) if place < TOKENS => {
                if let Some((_, flow)) = self.flows.at(slot) {
                    flow.readable = true;
                }
            }
            Some(_) => {}
        }
    }

    pub(super) fn has_readable(&self) -> bool {
        self.readable || self.flows.has_readable()
    }

    /// When a line releases next.
    pub(super) fn due(&self) -> Option<Timestamp> {
        Timestamp::earliest(self.lines.up.due(), self.lines.down.due())
    }

    /// Takes in what clients and the target sent; returns how many messages that were.
    pub(super) fn read(&mut self, registry: &Registry, arena: &mut ReceiveArena, clock: &Clock) -> usize {
        let mut total = 0;
        while self.readable && total < READS_PER_TURN {
            let Ok(count) = self.listen.receive(arena, ReceiveArena::MESSAGES) else { break };
            total = total.saturating_add(count);
            self.readable = !receive::is_drained(count, ReceiveArena::MESSAGES);
            let now = clock.now();
            for message in arena.messages(count) {
                let client = self.listen.four_tuple(message.meta);
                let Ok(flow) = self.flow_of(registry, now, client) else { continue };
                let watch = |ecn, datagram: &[u8]| {
                    if let Some(Capture { client: file, .. }) = &mut self.capture {
                        file.record(now, client.remote, client.local, ecn, datagram);
                    }
                };
                take_in(&mut self.lines.up, &self.state, now, flow, message, watch);
            }
        }
        for slot in 0..self.flows.len() {
            total = total.saturating_add(self.read_flow(slot, arena, clock));
        }
        total
    }

    fn flow_of(&mut self, registry: &Registry, now: Timestamp, client: FourTuple) -> io::Result<FlowId> {
        if let Some(flow) = self.flows.find(now, client) {
            return Ok(flow);
        }
        let id = self.flows.open(now, client, self.source, self.buffers)?;
        if let Some(flow) = self.flows.get_mut(id) {
            flow.upstream.register(registry, token(self.index, id.slot))?;
        }
        Ok(id)
    }

    fn read_flow(&mut self, slot: usize, arena: &mut ReceiveArena, clock: &Clock) -> usize {
        let Some((id, flow)) = self.flows.at(slot) else { return 0 };
        let mut total = 0;
        while flow.readable && total < READS_PER_TURN {
            let Ok(count) = flow.upstream.receive(arena, ReceiveArena::MESSAGES) else { break };
            total = total.saturating_add(count);
            flow.readable = !receive::is_drained(count, ReceiveArena::MESSAGES);
            let now = clock.now();
            for message in arena.messages(count) {
                // The upstream socket is open to the world; only the target speaks through it.
                if message.meta.addr.port() != self.target.port() || message.meta.addr.ip() != self.target.ip() {
                    continue;
                }
                let watch = |ecn, datagram: &[u8]| {
                    if let Some(Capture { target: file, .. }) = &mut self.capture {
                        file.record(now, self.target, flow.upstream.local(), ecn, datagram);
                    }
                };
                take_in(&mut self.lines.down, &self.state, now, id, message, watch);
            }
        }
        total
    }

    /// Sends what a line releases by `now`, up to the next step of the script; `true`: a step is due.
    pub(super) fn release(&mut self, way: Way, now: Timestamp, script: &mut Running) -> bool {
        let line = self.lines.get_mut(way);
        while let Some((train, bytes)) = line.front(now) {
            if self.state.is_cut() {
                line.counters.cut = line.counters.cut.saturating_add(train.datagrams as u64);
                line.remove(train.datagrams);
                continue;
            }
            let allowed = script.allowance(way).map_or(train.datagrams, |bytes| {
                let datagrams = bytes.div_ceil(train.datagram_size.max(1) as u64).max(1);
                usize::try_from(datagrams).unwrap_or(usize::MAX).min(train.datagrams)
            });
            let bytes = bytes.get(..allowed.saturating_mul(train.datagram_size)).unwrap_or(bytes);
            let Some(flow) = self.flows.get_mut(train.flow) else {
                line.counters.refused = line.counters.refused.saturating_add(train.datagrams as u64);
                line.remove(train.datagrams);
                continue;
            };
            let parcel = Parcel {
                remote: self.target,
                source: None,
                ecn: train.ecn,
                hop_limit: None,
                segment_size: train.datagram_size,
                bytes,
            };
            let sent = match way {
                Way::Up => flow.upstream.send(&parcel),
                Way::Down => {
                    let FourTuple { local, remote } = flow.client;
                    self.listen.send(&Parcel { remote, source: Some(local.ip()), ..parcel })
                }
            };
            if let Some(capture) = &mut self.capture {
                let passed = bytes.chunks(train.datagram_size.max(1)).take(sent.taken);
                record(capture, way, flow, self.target, (now, train.ecn), passed);
            }
            line.counters.send_calls = line.counters.send_calls.saturating_add(1);
            line.counters.datagrams_out = line.counters.datagrams_out.saturating_add(sent.taken as u64);
            let passed = line.remove(sent.taken) as u64;
            line.counters.bytes_out = line.counters.bytes_out.saturating_add(passed);
            script.on_passed(way, passed);
            match sent.stop {
                None => {}
                Some(Stop::Full | Stop::NoBuffers) => {
                    line.postpone(now + REST);
                    return false;
                }
                Some(_) => {
                    let refused = allowed.saturating_sub(sent.taken);
                    line.counters.refused = line.counters.refused.saturating_add(refused as u64);
                    line.remove(refused);
                }
            }
            if script.allowance(way) == Some(0) {
                return true;
            }
        }
        false
    }

    /// Lets others read the counters.
    pub(super) fn publish(&self) {
        self.state.publish(Way::Up, &self.lines.up.counters);
        self.state.publish(Way::Down, &self.lines.down.counters);
    }
}

/// A socket's token within its link.
const fn token(link: usize, slot: usize) -> Token {
    Token(link.saturating_mul(TOKENS).saturating_add(slot).saturating_add(1))
}

/// What left a line, on the side where it arrived.
fn record<'a>(
    capture: &mut Capture,
    way: Way,
    flow: &Flow,
    target: SocketAddr,
    (now, ecn): (Timestamp, Ecn),
    passed: impl Iterator<Item = &'a [u8]>,
) {
    let (file, from, to) = match way {
        Way::Up => (&mut capture.target, flow.upstream.local(), target),
        Way::Down => (&mut capture.client, flow.client.local, flow.client.remote),
    };
    for datagram in passed {
        file.record(now, from, to, ecn, datagram);
    }
}

/// The datagrams of a message to their line, or into the void of a cut link; `watch` sees each.
fn take_in(
    line: &mut Line,
    state: &LinkState,
    now: Timestamp,
    flow: FlowId,
    message: Message<'_>,
    mut watch: impl FnMut(Ecn, &[u8]),
) {
    let ecn = message.ecn;
    let is_cut = state.is_cut();
    let mut pass = |datagram: &[u8]| {
        watch(ecn, datagram);
        if is_cut {
            line.push_into_the_void(1, datagram.len());
        } else {
            line.push(now, flow, ecn, datagram);
        }
    };
    if message.is_empty() {
        pass(&[]);
    } else {
        message.datagrams().for_each(|datagram| pass(datagram));
    }
}
