//! All links of a world and the datagrams on them, without any idea of who is joined to whom.
//!
//! Called by the networks, which know addresses. Events happen in the order of their instant, and in the order they were
//! caused where instants are equal. Never looks into a datagram.

mod slots;

use std::{cmp::Reverse, collections::BinaryHeap};

use qbase::{Ecn, FourTuple, Timestamp};

use self::slots::{Datagram, Slots};
use crate::{
    link::{
        Directions, Lane, LinkDirection, LinkShape, LinkStatistics, corrupt,
        lane::{Damage, LaneState, Verdict},
        rate::Mark,
    },
    random::Random,
    trace::{Fate, Trace, TraceEvent},
};

/// Name of a link: its place in the order of making, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u32);

/// One direction of one link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LaneId {
    /// The link.
    pub link: LinkId,
    /// Which way.
    pub direction: LinkDirection,
}

/// A datagram that has arrived. Give `bytes` back with [`Wires::recycle`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// When.
    pub at: Timestamp,
    /// As the receiver sees it: `local` is the destination.
    pub four_tuple: FourTuple,
    /// The mark it arrives with.
    pub ecn: Ecn,
    /// Routers it may still pass.
    pub ttl: u8,
    /// UDP payload.
    pub bytes: Vec<u8>,
    /// The link it came over.
    pub link: LinkId,
    /// Which way.
    pub direction: LinkDirection,
}

/// What stands around a UDP payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// As the receiver will see it: `local` is the destination.
    pub four_tuple: FourTuple,
    /// The mark it starts with.
    pub ecn: Ecn,
    /// Routers it may still pass.
    pub ttl: u8,
}

/// Time to live of a datagram that its sender says nothing about.
pub const DEFAULT_TTL: u8 = 64;

/// Whether the far end of a wire takes anything in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FarEnd {
    /// It does.
    Listens,
    /// Its interface is down: what is sent to it vanishes.
    Deaf,
}

/// What an observer of all wires keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Watch {
    /// Nothing.
    #[default]
    Off,
    /// What became of each datagram.
    Facts,
    /// Its bytes, too.
    Bytes,
}

/// What became of one datagram on one link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// When, where and what.
    pub event: TraceEvent,
    /// As the receiver sees it.
    pub four_tuple: FourTuple,
    /// Its mark.
    pub ecn: Ecn,
    /// UDP payload; empty unless [`Watch::Bytes`].
    pub bytes: Vec<u8>,
}

/// All links and everything on them.
#[derive(Debug)]
pub struct Wires {
    seed: u64,
    links: Vec<Lanes>,
    slots: Slots,
    departures: BinaryHeap<Reverse<(Timestamp, u64, LaneId)>>,
    arrivals: BinaryHeap<Reverse<(Timestamp, u64, u32)>>,
    /// Number of the next event.
    sequence: u64,
    trace: Trace,
    watch: Watch,
    observed: Vec<Observation>,
}

/// Both directions of a link.
#[derive(Debug)]
struct Lanes {
    a_to_b: Lane,
    b_to_a: Lane,
}

impl Lanes {
    const fn lane(&self, direction: LinkDirection) -> &Lane {
        match direction {
            LinkDirection::AToB => &self.a_to_b,
            LinkDirection::BToA => &self.b_to_a,
        }
    }

    const fn lane_mut(&mut self, direction: LinkDirection) -> &mut Lane {
        match direction {
            LinkDirection::AToB => &mut self.a_to_b,
            LinkDirection::BToA => &mut self.b_to_a,
        }
    }
}

impl Wires {
    /// No links; everything random on them will come from the seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            links: Vec::new(),
            slots: Slots::default(),
            departures: BinaryHeap::new(),
            arrivals: BinaryHeap::new(),
            sequence: 0,
            trace: Trace::new(),
            watch: Watch::Off,
            observed: Vec::new(),
        }
    }

    /// One more link; both ways have the shape from `now` on.
    pub fn add(&mut self, now: Timestamp, shape: &LinkShape) -> LinkId {
        let id = LinkId(u32::try_from(self.links.len()).unwrap_or(u32::MAX));
        let lane = |direction: LinkDirection| {
            let label = u64::from(id.0).wrapping_mul(2).wrapping_add(direction as u64);
            Lane::new(now, shape.clone(), Random::labelled(self.seed, label))
        };
        self.links.push(Lanes { a_to_b: lane(LinkDirection::AToB), b_to_a: lane(LinkDirection::BToA) });
        id
    }

    /// A datagram stands at the entrance of a lane.
    pub fn offer(&mut self, now: Timestamp, lane_id: LaneId, far_end: FarEnd, header: Header, bytes: &[u8]) {
        let Header { four_tuple, ecn, ttl } = header;
        let token = self.slots.put(Datagram { lane: lane_id, four_tuple, ecn, ttl, bytes: Vec::new() }, bytes);
        let verdict = match (self.lane_mut(lane_id), far_end) {
            (None, _) => Verdict::Dropped(Fate::Cut),
            (Some(lane), FarEnd::Deaf) => lane.refuse(bytes.len()),
            (Some(lane), FarEnd::Listens) => lane.offer(now, token, bytes.len(), ecn),
        };
        match verdict {
            Verdict::Through => self.launch(now, token),
            Verdict::Waits { mark, leaves_at } => {
                if mark == Mark::CongestionExperienced {
                    self.slots.mark(token);
                }
                self.schedule_departure(lane_id, leaves_at);
            }
            Verdict::Dropped(fate) => self.drop_datagram(now, token, fate),
        }
    }

    /// When something happens next: an arrival, or a datagram that leaves a queue. Call [`Self::pop_arrival`] then.
    #[must_use]
    pub fn next_event(&self) -> Option<Timestamp> {
        let departure = self.departures.peek().map(|Reverse((at, ..))| *at);
        let arrival = self.arrivals.peek().map(|Reverse((at, ..))| *at);
        Timestamp::earliest(departure, arrival)
    }

    /// The next datagram that has arrived by `now`.
    pub fn pop_arrival(&mut self, now: Timestamp) -> Option<Arrival> {
        self.depart_until(now);
        let Reverse((at, ..)) = self.arrivals.peek()?;
        if *at > now {
            return None;
        }
        let Reverse((at, _, token)) = self.arrivals.pop()?;
        let Datagram { lane: lane_id, four_tuple, ecn, ttl, bytes } = self.slots.take(token)?;
        if let Some(lane) = self.lane_mut(lane_id) {
            lane.arrived(bytes.len());
        }
        Some(Arrival { at, four_tuple, ecn, ttl, bytes, link: lane_id.link, direction: lane_id.direction })
    }

    /// What has arrived goes no further, for this reason.
    pub fn refuse(&mut self, arrival: Arrival, fate: Fate) {
        let Arrival { at, four_tuple, ecn, ttl, bytes, link, direction } = arrival;
        let datagram = Datagram { lane: LaneId { link, direction }, four_tuple, ecn, ttl, bytes };
        let event = datagram.event(at, fate, None);
        Self::record(&mut self.trace, self.watch, &mut self.observed, event, &datagram);
        self.slots.recycle(datagram.bytes);
    }

    /// Takes the buffer of an arrival back for the next datagram.
    pub fn recycle(&mut self, bytes: Vec<u8>) {
        self.slots.recycle(bytes);
    }

    /// New qualities from `now` on.
    pub fn set(&mut self, now: Timestamp, link: LinkId, shape: &LinkShape, directions: Directions) {
        self.depart_until(now);
        for lane_id in Self::lanes(link, directions) {
            let leaves_at = self.lane_mut(lane_id).and_then(|lane| lane.set(shape.clone(), now));
            self.drop_refused(now, lane_id);
            self.schedule_departure(lane_id, leaves_at);
        }
    }

    /// Cuts the wire, or mends it: into a cut everything sent vanishes without a word.
    pub fn set_state(&mut self, now: Timestamp, link: LinkId, directions: Directions, state: LaneState) {
        self.depart_until(now);
        for lane_id in Self::lanes(link, directions) {
            if let Some(lane) = self.lane_mut(lane_id) {
                lane.set_state(state);
            }
        }
    }

    /// The qualities of one way; `None` for a link that does not exist.
    #[must_use]
    pub fn shape(&self, id: LaneId) -> Option<&LinkShape> {
        self.lane(id).map(Lane::shape)
    }

    /// Nothing is cut.
    #[must_use]
    pub fn is_up(&self, link: LinkId) -> bool {
        Self::lanes(link, Directions::Both)
            .all(|lane| self.lane(lane).is_some_and(|lane| lane.state() == LaneState::Up))
    }

    /// Counters of one way; all zero for a link that does not exist.
    #[must_use]
    pub fn statistics(&self, id: LaneId) -> LinkStatistics {
        self.lane(id).map(Lane::statistics).copied().unwrap_or_default()
    }

    /// Bytes in the queue of one way.
    #[must_use]
    pub fn queued_bytes(&self, id: LaneId) -> u64 {
        self.lane(id).map_or(0, Lane::queued_bytes)
    }

    /// Fingerprint and last events.
    #[must_use]
    pub const fn trace(&self) -> &Trace {
        &self.trace
    }

    /// What is kept from now on of every datagram whose fate is known.
    pub const fn watch(&mut self, watch: Watch) {
        self.watch = watch;
    }

    /// What became of datagrams since this was asked last, oldest first.
    pub fn take_observed(&mut self) -> Vec<Observation> {
        std::mem::take(&mut self.observed)
    }

    /// Something was observed that nobody has taken.
    #[must_use]
    pub const fn has_observed(&self) -> bool {
        !self.observed.is_empty()
    }

    /// Lets everything leave its queue that does so by `now`, each at its own instant.
    pub fn depart_until(&mut self, now: Timestamp) {
        while let Some(Reverse((at, _, lane_id))) = self.departures.peek().copied() {
            if at > now {
                return;
            }
            self.departures.pop();
            let Some(lane) = self.lane_mut(lane_id) else { continue };
            let (head, next) = lane.depart(at);
            self.drop_refused(at, lane_id);
            self.schedule_departure(lane_id, next);
            if let Some(token) = head {
                self.launch(at, token);
            }
        }
    }

    fn lanes(link: LinkId, directions: Directions) -> impl Iterator<Item = LaneId> {
        [LinkDirection::AToB, LinkDirection::BToA]
            .into_iter()
            .filter(move |direction| directions.covers(*direction))
            .map(move |direction| LaneId { link, direction })
    }

    fn lane(&self, id: LaneId) -> Option<&Lane> {
        self.links.get(usize::try_from(id.link.0).ok()?).map(|link| link.lane(id.direction))
    }

    fn lane_mut(&mut self, id: LaneId) -> Option<&mut Lane> {
        self.links.get_mut(usize::try_from(id.link.0).ok()?).map(|link| link.lane_mut(id.direction))
    }

    const fn next_sequence(&mut self) -> u64 {
        self.sequence = self.sequence.saturating_add(1);
        self.sequence
    }

    fn schedule_departure(&mut self, lane: LaneId, leaves_at: Option<Timestamp>) {
        if let Some(at) = leaves_at {
            let sequence = self.next_sequence();
            self.departures.push(Reverse((at, sequence, lane)));
        }
    }

    /// What the queue gave up when its next head was chosen is gone.
    fn drop_refused(&mut self, now: Timestamp, lane_id: LaneId) {
        while let Some(token) = self.lane_mut(lane_id).and_then(Lane::take_refused) {
            self.drop_datagram(now, token, Fate::Queue);
        }
    }

    /// A datagram reaches the wire.
    fn launch(&mut self, now: Timestamp, token: u32) {
        let Some(lane_id) = self.slots.get(token).map(|datagram| datagram.lane) else { return };
        let copies = match self.lane_mut(lane_id).map_or(Err(Fate::Cut), Lane::launch) {
            Ok(copies) => copies,
            Err(fate) => return self.drop_datagram(now, token, fate),
        };
        for _ in 1..copies {
            if let Some(copy) = self.slots.copy(token) {
                self.fly(now, lane_id, copy);
            }
        }
        self.fly(now, lane_id, token);
    }

    /// One copy travels.
    fn fly(&mut self, now: Timestamp, lane_id: LaneId, token: u32) {
        let sequence = self.next_sequence();
        let Self { links, slots, .. } = self;
        let Some(datagram) = slots.get_mut(token) else { return };
        let Some(link) = usize::try_from(lane_id.link.0).ok().and_then(|index| links.get_mut(index)) else { return };
        let lane = link.lane_mut(lane_id.direction);
        let flight = lane.fly(now);
        match flight.damage {
            Damage::None => {}
            Damage::Corrupt => corrupt::corrupt(&mut datagram.bytes, lane.random()),
            Damage::Truncate => corrupt::truncate(&mut datagram.bytes, lane.random()),
        }
        datagram.ecn = lane.ecn_after(datagram.ecn);
        let event = datagram.event(now, Fate::Delivered, Some(flight.arrives_at));
        Self::record(&mut self.trace, self.watch, &mut self.observed, event, datagram);
        self.arrivals.push(Reverse((flight.arrives_at, sequence, token)));
    }

    fn drop_datagram(&mut self, now: Timestamp, token: u32, fate: Fate) {
        if let Some(datagram) = self.slots.take(token) {
            let event = datagram.event(now, fate, None);
            Self::record(&mut self.trace, self.watch, &mut self.observed, event, &datagram);
            self.slots.recycle(datagram.bytes);
        }
    }

    fn record(trace: &mut Trace, watch: Watch, observed: &mut Vec<Observation>, event: TraceEvent, datagram: &Datagram) {
        trace.record(event, datagram.ecn, &datagram.bytes);
        if watch == Watch::Off {
            return;
        }
        let bytes = if watch == Watch::Bytes { datagram.bytes.clone() } else { Vec::new() };
        observed.push(Observation { event, four_tuple: datagram.four_tuple, ecn: datagram.ecn, bytes });
    }
}
