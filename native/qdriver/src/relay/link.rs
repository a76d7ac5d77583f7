//! One link: the socket that clients send to, their flows, and a line each way.
//!
//! Called by [`super::thread`]. Reads every socket within a budget; sends what the lines release.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use mio::{Registry, Token, event::Event};
use qbase::{FourTuple, Timestamp};

use super::{
    LinkFacts, Way,
    config::{LineConfig, LinkConfig},
    counters::LinkState,
    flow::{FlowId, Flows},
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
        let LinkConfig { listen, target, up, down, seed, clients, buffers } = config;
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
                take_in(&mut self.lines.up, &self.state, now, flow, message);
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
        let id = self.flows.open(now, client, self.target, self.buffers)?;
        let token = self.index.saturating_mul(TOKENS).saturating_add(id.slot).saturating_add(1);
        if let Some(flow) = self.flows.get_mut(id) {
            flow.upstream.register(registry, Token(token))?;
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
                take_in(&mut self.lines.down, &self.state, now, id, message);
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

/// The datagrams of a message to their line, or into the void of a cut link.
fn take_in(line: &mut Line, state: &LinkState, now: Timestamp, flow: FlowId, message: Message<'_>) {
    let ecn = message.ecn;
    if state.is_cut() {
        let len = message.len();
        line.push_into_the_void(message.datagrams().count().max(1), len);
    } else if message.is_empty() {
        line.push(now, flow, ecn, &[]);
    } else {
        for datagram in message.datagrams() {
            line.push(now, flow, ecn, datagram);
        }
    }
}
