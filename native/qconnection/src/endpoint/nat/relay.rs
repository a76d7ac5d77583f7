//! A relay (agent) at the endpoint's border: what is for others is sent on as it came (traversal T-30…T-34, attacks G11).
//!
//! The rules are those of `qtraversal::relay`; here stands what they cannot know: which datagrams are ours (a known connection id wins,
//! T-12), who is not heard, and where a datagram waits for its turn to leave. A driver with sockets asks for whole GRO trains
//! ([`Endpoint::route_run`]) and sends them on without a copy; one that hands over datagram by datagram (simulator, carrier) gets
//! them back as bursts, from a queue with a bound. Never answers, never changes a byte, costs a comparison where there is no relay.

use super::super::Endpoint;
use crate::burst::Burst;
use qbase::{Ecn, FourTuple, PathId, StandIn, Timestamp, limits, packet};
use qevent::DropReason;
use qtraversal::{
    forward::ForwardHeader,
    relay::{Dropped, Relay, RelayConfig, Route, Run, is_marked},
};
use rand_core::RngCore;
use std::{collections::VecDeque, net::SocketAddr};

/// What becomes of the first datagrams of a train.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoutedRun {
    /// Bytes of the train that share this fate: whole datagrams, at least one.
    pub len: usize,
    /// Their fate.
    pub fate: RunFate,
}

/// What becomes of datagrams that came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunFate {
    /// They are for this endpoint: [`Endpoint::handle_datagram`], one by one.
    Take,
    /// They go on to this address as they are: from the socket they came by, with the mark they had and a time to live of
    /// [`limits::RELAY_HOP_LIMIT`]. What the socket does not take at once is dropped: [`Endpoint::on_unsent`].
    Forward(SocketAddr),
    /// They are dropped, and counted.
    Drop,
}

/// The relay that an endpoint is, if it is one.
#[derive(Debug, Default)]
pub(in crate::endpoint) struct Service(Option<Box<Post>>);

/// A relay's rules, and what waits to be sent on.
#[derive(Debug)]
struct Post {
    relay: Relay,
    waiting: VecDeque<Waiting>,
    /// Buffers for those that come next.
    spare: Vec<Vec<u8>>,
}

/// A datagram on its way through.
#[derive(Debug)]
struct Waiting {
    four_tuple: FourTuple,
    ecn: Ecn,
    bytes: Vec<u8>,
}

impl Endpoint {
    /// Is a relay from now on, with nobody registered, or is none (`None`). Registrations of a relay before are forgotten.
    pub fn serve_relay(&mut self, config: Option<RelayConfig>) {
        self.nat.relay.0 = config.map(|config| {
            let relay = Relay::new(config, self.random.next_u64());
            Box::new(Post { relay, waiting: VecDeque::new(), spare: Vec::new() })
        });
    }

    /// The relay that this endpoint is: who is registered, what was forwarded and dropped.
    pub fn relay(&mut self) -> Option<&mut Relay> {
        self.nat.relay.0.as_mut().map(|post| &mut post.relay)
    }

    /// The fate of the first datagrams of a received train (all `segment_len` bytes long but the last, which may be shorter).
    /// The caller asks again for what stands behind them.
    #[inline]
    pub fn route_run(&mut self, now: Timestamp, four_tuple: FourTuple, train: &[u8], segment_len: usize) -> RoutedRun {
        if self.nat.relay.0.is_none() {
            return RoutedRun { len: train.len(), fate: RunFate::Take };
        }
        let (run, fate) = self.route_first(now, four_tuple, train, segment_len);
        if fate != RunFate::Take {
            self.note_time(now);
            self.counters.datagrams_received = self.counters.datagrams_received.saturating_add(run.len() as u64);
            self.counters.bytes_received = self.counters.bytes_received.saturating_add(run.bytes.len() as u64);
            if let RunFate::Forward(_) = fate {
                self.counters.datagrams_sent = self.counters.datagrams_sent.saturating_add(run.len() as u64);
                self.counters.bytes_sent = self.counters.bytes_sent.saturating_add(run.bytes.len() as u64);
            }
        }
        RoutedRun { len: run.bytes.len(), fate }
    }

    /// The socket had no room for the last `datagrams` of a run that was to be sent on, `bytes` long together.
    pub fn on_unsent(&mut self, datagrams: usize, bytes: usize) {
        self.counters.datagrams_sent = self.counters.datagrams_sent.saturating_sub(datagrams as u64);
        self.counters.bytes_sent = self.counters.bytes_sent.saturating_sub(bytes as u64);
        if let Some(post) = &mut self.nat.relay.0 {
            post.relay.on_unsent(datagrams, bytes);
        }
    }

    /// A client asked our STUN server over `local` and was answered there: it keeps its registration alive (traversal T-33).
    pub(super) fn on_stun_exchange(&mut self, _local: SocketAddr, client: SocketAddr, now: Timestamp) {
        if let Some(relay) = self.relay() {
            // Where everybody may register and the table is full, this one is not forwarded to: it sees that by itself.
            relay.registrations_mut().on_keep_alive(client, now).unwrap_or_default();
        }
    }

    /// Sends one datagram on, or drops it; `Take`: it is for us.
    pub(in crate::endpoint) fn relay_datagram(&mut self, now: Timestamp, four_tuple: FourTuple, ecn: Ecn, bytes: &[u8]) -> RunFate {
        if self.nat.relay.0.is_none() || !is_marked(bytes) {
            return RunFate::Take;
        }
        let (_, fate) = self.route_first(now, four_tuple, bytes, bytes.len());
        if let (RunFate::Forward(remote), Some(post)) = (fate, &mut self.nat.relay.0) {
            post.push(FourTuple { local: four_tuple.local, remote }, ecn, bytes);
        }
        fate
    }

    /// The next datagram that waits to be sent on.
    pub(in crate::endpoint) fn poll_relayed(&mut self, buffer: &mut [u8]) -> Option<Burst> {
        self.nat.relay.0.as_mut()?.pop(buffer)
    }

    fn route_first<'a>(&mut self, now: Timestamp, link: FourTuple, train: &'a [u8], segment_len: usize) -> (Run<'a>, RunFate) {
        let Some(run) = Run::first(train, segment_len) else {
            return (Run { bytes: train, segment_len, header: None }, RunFate::Take);
        };
        let Some(header) = run.header else { return (unmarked(train, run), RunFate::Take) };
        if self.is_ours(link, &run, &header) {
            return (run, RunFate::Take);
        }
        let refused = self.unfit(&header);
        let Some(post) = &mut self.nat.relay.0 else { return (run, RunFate::Take) };
        if let Some(reason) = refused {
            post.relay.drop_run(reason, &run);
            return (run, RunFate::Drop);
        }
        let fate = match post.relay.route(now, link, &run) {
            Route::Send(target) => RunFate::Forward(target),
            Route::Drop(_) => RunFate::Drop,
            // Behind no relay, nobody forwards to us, and what claims so is not answered (traversal T-34).
            Route::Deliver if self.pathways_are_closed() => {
                self.drops.count(DropReason::Misrouted);
                RunFate::Drop
            }
            Route::Deliver => RunFate::Take,
        };
        (run, fate)
    }

    /// Why addresses like these are not forwarded to or from, whoever is registered: not heard, or standing for ways of ours.
    fn unfit(&self, header: &ForwardHeader) -> Option<Dropped> {
        let ForwardHeader { source, destination } = header;
        [source.next_hop(), source.outer(), destination.next_hop(), destination.outer()].into_iter().find_map(|end| {
            if self.blocked.has(end.ip()) {
                return Some(Dropped::Blocked);
            }
            StandIn::is_claimed(end.ip()).then_some(Dropped::Unusable)
        })
    }

    /// Datagrams that are not the relay's to judge: of a connection (traversal T-12), or from who is not heard.
    fn is_ours(&mut self, link: FourTuple, run: &Run<'_>, header: &ForwardHeader) -> bool {
        if self.blocked.has(link.remote.ip()) || StandIn::is_claimed(link.remote.ip()) {
            return true;
        }
        // All of a run have the bytes of the header, and with them this connection id, in common; where ids are longer than
        // headers, each datagram is looked at.
        let is_shared = self.shape.len() < header.size();
        let mut datagrams = run.bytes.chunks(run.segment_len.max(1)).take(if is_shared { 1 } else { usize::MAX });
        let len = self.shape.len();
        datagrams.any(|bytes| packet::destination_cid(bytes, len).is_some_and(|dcid| self.routes.find(dcid).is_some()))
    }
}

impl Post {
    fn push(&mut self, four_tuple: FourTuple, ecn: Ecn, datagram: &[u8]) {
        if self.waiting.len() >= limits::RELAY_WAITING {
            return self.relay.on_unsent(1, datagram.len());
        }
        let mut bytes = self.spare.pop().unwrap_or_default();
        bytes.clear();
        bytes.extend_from_slice(datagram);
        self.waiting.push_back(Waiting { four_tuple, ecn, bytes });
    }

    fn pop(&mut self, buffer: &mut [u8]) -> Option<Burst> {
        let Waiting { four_tuple, ecn, bytes } = self.waiting.pop_front()?;
        let len = bytes.len();
        buffer.get_mut(..len)?.copy_from_slice(&bytes);
        if self.spare.len() < SPARE_BUFFERS {
            self.spare.push(bytes);
        }
        Some(Burst { connection: None, path: PathId::ZERO, four_tuple, ecn, hop_limit: Some(limits::RELAY_HOP_LIMIT), len, segment_size: len, segments: 1 })
    }
}

/// Buffers kept for later datagrams.
const SPARE_BUFFERS: usize = 64;

/// The datagrams at the front of a train that do not look forwarded; `first`, which is not, at least.
fn unmarked<'a>(train: &'a [u8], first: Run<'a>) -> Run<'a> {
    let others = train.chunks(first.segment_len.max(1)).skip(1).take_while(|datagram| !is_marked(datagram));
    let len = others.fold(first.bytes.len(), |len, datagram| len.saturating_add(datagram.len()));
    Run { bytes: train.get(..len).unwrap_or(first.bytes), ..first }
}
