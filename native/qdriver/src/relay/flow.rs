//! One client behind a link: its address, and the socket that stands for it towards the target.
//!
//! As a NAT does, every client address gets a port of its own; the target tells clients apart by it. Called by
//! [`super::link`]. When there are too many, the client silent for longest loses its port.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use qbase::{FourTuple, Timestamp};

use crate::socket::{BindError, BufferSizes, Socket, SocketConfig};

/// Sockets of a client that are kept after a rebinding; the oldest goes.
const RETIRED: usize = 16;

/// A flow's place; places are used again, generations are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FlowId {
    pub(super) slot: usize,
    generation: u64,
}

#[cfg(test)]
impl FlowId {
    pub(super) const fn for_tests(slot: usize) -> Self {
        Self { slot, generation: 0 }
    }

    pub(super) const fn slot(self) -> usize {
        self.slot
    }
}

/// A client's flow.
#[derive(Debug)]
pub(super) struct Flow {
    /// The client, and our address it sends to.
    pub(super) client: FourTuple,
    /// Our socket towards the target.
    pub(super) upstream: Socket,
    /// The kernel may hold datagrams of the target.
    pub(super) readable: bool,
    /// Sockets that stood for it before. They stay open, unread, so that nobody is told that they are gone.
    retired: Vec<Socket>,
    last_heard: Timestamp,
    generation: u64,
}

impl Flow {
    /// Another socket stands for the client from now on.
    fn replace(&mut self, upstream: Socket) {
        if self.retired.len() >= RETIRED {
            self.retired.remove(0);
        }
        self.retired.push(std::mem::replace(&mut self.upstream, upstream));
        self.readable = false;
    }
}

/// A socket towards the target.
fn upstream(source: IpAddr, buffers: BufferSizes) -> Result<Socket, BindError> {
    Socket::bind(&SocketConfig { buffers, ..SocketConfig::new(SocketAddr::new(source, 0)) })
}

/// The clients of one link.
#[derive(Debug)]
pub(super) struct Flows {
    slots: Vec<Option<Flow>>,
    by_client: BTreeMap<SocketAddr, usize>,
    limit: usize,
    generations: u64,
}

impl Flows {
    pub(super) const fn new(limit: usize) -> Self {
        Self { slots: Vec::new(), by_client: BTreeMap::new(), limit, generations: 0 }
    }

    /// The flow of a client that was just heard.
    pub(super) fn find(&mut self, now: Timestamp, client: FourTuple) -> Option<FlowId> {
        let slot = *self.by_client.get(&client.remote)?;
        let flow = self.slots.get_mut(slot)?.as_mut()?;
        flow.last_heard = now;
        flow.client = client;
        Some(FlowId { slot, generation: flow.generation })
    }

    /// A new flow for a client, on a socket of the target's family. The client silent for longest may lose its own.
    pub(super) fn open(
        &mut self,
        now: Timestamp,
        client: FourTuple,
        source: IpAddr,
        buffers: BufferSizes,
    ) -> Result<FlowId, BindError> {
        let upstream = upstream(source, buffers)?;
        let slot = self.free_slot();
        self.generations = self.generations.saturating_add(1);
        let generation = self.generations;
        let flow = Flow { client, upstream, readable: false, retired: Vec::new(), last_heard: now, generation };
        self.by_client.insert(client.remote, slot);
        match self.slots.get_mut(slot) {
            Some(free) => *free = Some(flow),
            None => self.slots.push(Some(flow)),
        }
        Ok(FlowId { slot, generation })
    }

    fn free_slot(&mut self) -> usize {
        if self.by_client.len() < self.limit.max(1) {
            return self.slots.iter().position(Option::is_none).unwrap_or(self.slots.len());
        }
        let silent = self
            .slots
            .iter()
            .enumerate()
            .filter_map(|(slot, flow)| Some((flow.as_ref()?.last_heard, slot)))
            .min()
            .map_or(0, |(_, slot)| slot);
        if let Some(flow) = self.slots.get_mut(silent).and_then(Option::take) {
            self.by_client.remove(&flow.client.remote);
        }
        silent
    }

    /// The flow, if it still is the one meant.
    pub(super) fn get_mut(&mut self, id: FlowId) -> Option<&mut Flow> {
        self.slots.get_mut(id.slot)?.as_mut().filter(|flow| flow.generation == id.generation)
    }

    /// The flow in a slot, whoever it is.
    pub(super) fn at(&mut self, slot: usize) -> Option<(FlowId, &mut Flow)> {
        let flow = self.slots.get_mut(slot)?.as_mut()?;
        Some((FlowId { slot, generation: flow.generation }, flow))
    }

    /// Another port for every client; answers the flows, whose sockets want to be registered. Who gets none keeps its own.
    pub(super) fn rebind(&mut self, source: IpAddr, buffers: BufferSizes) -> Vec<(usize, &mut Socket)> {
        let replaced = self.slots.iter_mut().enumerate().filter_map(|(slot, flow)| {
            let flow = flow.as_mut()?;
            flow.replace(upstream(source, buffers).ok()?);
            Some((slot, &mut flow.upstream))
        });
        replaced.collect()
    }

    /// Slots in use or free.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn has_readable(&self) -> bool {
        self.slots.iter().flatten().any(|flow| flow.readable)
    }
}
