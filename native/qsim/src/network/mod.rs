//! All links of a world and the datagrams on them: who is joined to whom, and what arrives next.
//!
//! Called by the harness with every datagram a host sends. Events happen in the order of their instant, and in the
//! order they were caused where instants are equal. Never looks into a datagram.

mod mapping;
mod slots;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
    net::{IpAddr, SocketAddr},
};

use qbase::{Ecn, FourTuple, Timestamp};

use crate::{
    link::{
        Directions, Lane, LinkDirection, LinkShape, LinkStatistics, corrupt,
        lane::{Damage, LaneState, Verdict},
        rate::Mark,
    },
    random::Random,
    trace::{Fate, Trace},
};
use slots::{Datagram, Slots};

/// Name of a link: its place in the order of making, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u32);

/// A datagram that has arrived. Give `bytes` back with [`Network::recycle`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// When.
    pub at: Timestamp,
    /// As the receiver sees it: `local` is the destination.
    pub four_tuple: FourTuple,
    /// The mark it arrives with.
    pub ecn: Ecn,
    /// UDP payload.
    pub bytes: Vec<u8>,
    /// The link it came over.
    pub link: LinkId,
    /// Which way.
    pub direction: LinkDirection,
}

/// Why the operating system of a simulated host would refuse to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// No link joins these addresses.
    #[error("no link joins these addresses")]
    NoRoute,
    /// The interface with the local address is down.
    #[error("the interface is down")]
    InterfaceDown,
    /// The interface takes no datagram of this length.
    #[error("the datagram is too long for the interface")]
    TooLong,
}

/// State of a host's interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Interface {
    /// It sends and receives.
    Up,
    /// Sending fails; what is sent to it vanishes.
    Down,
}

/// All links and everything on them.
#[derive(Debug)]
pub struct Network {
    seed: u64,
    links: Vec<Link>,
    /// (source, destination) to link and direction.
    routes: BTreeMap<(IpAddr, IpAddr), LaneId>,
    /// What NATs make of addresses.
    mappings: mapping::Mappings,
    /// Addresses whose interface is down.
    down: BTreeSet<IpAddr>,
    slots: Slots,
    departures: BinaryHeap<Reverse<(Timestamp, u64, LaneId)>>,
    arrivals: BinaryHeap<Reverse<(Timestamp, u64, u32)>>,
    /// Number of the next event.
    sequence: u64,
    trace: Trace,
    /// Copies for a test that plays an observer.
    kept: Option<Vec<(FourTuple, Vec<u8>)>>,
}

/// One direction of one link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct LaneId {
    link: LinkId,
    direction: LinkDirection,
}

/// A link and the addresses at its ends.
#[derive(Debug)]
struct Link {
    a: IpAddr,
    b: IpAddr,
    a_to_b: Lane,
    b_to_a: Lane,
}

impl Link {
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

/// Datagrams kept at most.
const MAX_KEPT: usize = 1_000;

impl Network {
    /// A network without links; everything random on it comes from the seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            links: Vec::new(),
            routes: BTreeMap::new(),
            mappings: mapping::Mappings::default(),
            down: BTreeSet::new(),
            slots: Slots::default(),
            departures: BinaryHeap::new(),
            arrivals: BinaryHeap::new(),
            sequence: 0,
            trace: Trace::new(),
            kept: None,
        }
    }

    /// Joins two addresses; both ways have the shape. A later link between the same two takes the place of the
    /// earlier one for datagrams sent from then on.
    pub fn link(&mut self, a: IpAddr, b: IpAddr, shape: &LinkShape) -> LinkId {
        let id = LinkId(u32::try_from(self.links.len()).unwrap_or(u32::MAX));
        let random = |direction: LinkDirection| {
            Random::labelled(self.seed, u64::from(id.0).wrapping_mul(2).wrapping_add(direction as u64))
        };
        let a_to_b = Lane::new(shape.clone(), random(LinkDirection::AToB));
        let b_to_a = Lane::new(shape.clone(), random(LinkDirection::BToA));
        self.links.push(Link { a, b, a_to_b, b_to_a });
        self.routes.insert((a, b), LaneId { link: id, direction: LinkDirection::AToB });
        self.routes.insert((b, a), LaneId { link: id, direction: LinkDirection::BToA });
        id
    }

    /// A host sends a datagram; `four_tuple.local` is its source. An unspecified source is filled in as
    /// [`Self::source_for`] says.
    ///
    /// # Errors
    /// What the host's operating system would say at once; everything later is silent.
    pub fn send(&mut self, now: Timestamp, four_tuple: FourTuple, ecn: Ecn, bytes: &[u8]) -> Result<(), SendError> {
        self.depart_until(now);
        let four_tuple = self.source_for(four_tuple).ok_or(SendError::NoRoute)?;
        if self.down.contains(&four_tuple.local.ip()) {
            return Err(SendError::InterfaceDown);
        }
        let Some(destination) = self.mappings.reached(four_tuple.remote) else { return Ok(()) };
        let ends = (four_tuple.local.ip(), destination.ip());
        let lane_id = *self.routes.get(&ends).ok_or(SendError::NoRoute)?;
        if self.lane_mut(lane_id).is_some_and(|lane| bytes.len() > lane.shape().interface_mtu) {
            return Err(SendError::TooLong);
        }
        let received = FourTuple { local: destination, remote: self.mappings.seen(four_tuple.local) };
        if let Some(kept) = self.kept.as_mut().filter(|kept| kept.len() < MAX_KEPT) {
            kept.push((received, bytes.to_vec()));
        }
        let token = self.slots.put(Datagram { lane: lane_id, four_tuple: received, ecn, bytes: Vec::new() }, bytes);
        let deaf = self.down.contains(&ends.1);
        let Some(lane) = self.lane_mut(lane_id) else { return Err(SendError::NoRoute) };
        let verdict = if deaf { lane.refuse(bytes.len()) } else { lane.offer(now, token, bytes.len(), ecn) };
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
        Ok(())
    }

    /// A NAT in front of a host gives one of its addresses this outside address from now on; the one before leads nowhere.
    pub fn map(&mut self, inside: SocketAddr, outside: SocketAddr) {
        self.mappings.set(inside, outside);
    }

    /// Keeps a copy of the datagrams sent from now on, as an observer could.
    pub fn keep_payloads(&mut self) {
        self.kept = Some(Vec::new());
    }

    /// The copies, oldest first, with addresses as the receiver sees them.
    #[must_use]
    pub fn kept(&self) -> &[(FourTuple, Vec<u8>)] {
        self.kept.as_deref().unwrap_or_default()
    }

    /// The four-tuple with its source filled in: an unspecified address becomes that of the first link to the
    /// destination whose interface is up, as a routing table would choose. `None`: there is no such link.
    #[must_use]
    pub fn source_for(&self, four_tuple: FourTuple) -> Option<FourTuple> {
        if !four_tuple.local.ip().is_unspecified() {
            return Some(four_tuple);
        }
        let remote = four_tuple.remote.ip();
        let sources = self.links.iter().filter_map(|link| match remote {
            remote if remote == link.b => Some(link.a),
            remote if remote == link.a => Some(link.b),
            _ => None,
        });
        let source = sources.into_iter().find(|source| !self.down.contains(source))?;
        Some(FourTuple { local: SocketAddr::new(source, four_tuple.local.port()), ..four_tuple })
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
        let Datagram { lane: lane_id, four_tuple, ecn, bytes } = self.slots.take(token)?;
        if let Some(lane) = self.lane_mut(lane_id) {
            lane.arrived(bytes.len());
        }
        Some(Arrival { at, four_tuple, ecn, bytes, link: lane_id.link, direction: lane_id.direction })
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
            self.schedule_departure(lane_id, leaves_at);
        }
    }

    /// Cuts the wire: from `now` on everything sent vanishes without a word.
    pub fn cut(&mut self, now: Timestamp, link: LinkId, directions: Directions) {
        self.set_state(now, link, directions, LaneState::Cut);
    }

    /// Undoes [`Self::cut`].
    pub fn restore(&mut self, now: Timestamp, link: LinkId, directions: Directions) {
        self.set_state(now, link, directions, LaneState::Up);
    }

    /// Takes the interface with this address down, or up again.
    pub fn set_interface(&mut self, now: Timestamp, address: IpAddr, interface: Interface) {
        self.depart_until(now);
        match interface {
            Interface::Up => self.down.remove(&address),
            Interface::Down => self.down.insert(address),
        };
    }

    /// The qualities of one way; `None` for a link that does not exist.
    #[must_use]
    pub fn shape(&self, link: LinkId, direction: LinkDirection) -> Option<&LinkShape> {
        self.lane(LaneId { link, direction }).map(Lane::shape)
    }

    /// Nothing is cut.
    #[must_use]
    pub fn is_up(&self, link: LinkId) -> bool {
        Self::lanes(link, Directions::Both)
            .all(|lane| self.lane(lane).is_some_and(|lane| lane.state() == LaneState::Up))
    }

    /// Counters of one way; all zero for a link that does not exist.
    #[must_use]
    pub fn statistics(&self, link: LinkId, direction: LinkDirection) -> LinkStatistics {
        self.lane(LaneId { link, direction }).map(Lane::statistics).copied().unwrap_or_default()
    }

    /// Bytes in the queue of one way.
    #[must_use]
    pub fn queued_bytes(&self, link: LinkId, direction: LinkDirection) -> u64 {
        self.lane(LaneId { link, direction }).map_or(0, Lane::queued_bytes)
    }

    /// Fingerprint and last events.
    #[must_use]
    pub const fn trace(&self) -> &Trace {
        &self.trace
    }

    fn lanes(link: LinkId, directions: Directions) -> impl Iterator<Item = LaneId> {
        [LinkDirection::AToB, LinkDirection::BToA]
            .into_iter()
            .filter(move |direction| directions.covers(*direction))
            .map(move |direction| LaneId { link, direction })
    }

    fn link_at(&self, id: LinkId) -> Option<&Link> {
        self.links.get(usize::try_from(id.0).ok()?)
    }

    fn lane(&self, id: LaneId) -> Option<&Lane> {
        self.link_at(id.link).map(|link| link.lane(id.direction))
    }

    fn lane_mut(&mut self, id: LaneId) -> Option<&mut Lane> {
        self.links.get_mut(usize::try_from(id.link.0).ok()?).map(|link| link.lane_mut(id.direction))
    }

    fn set_state(&mut self, now: Timestamp, link: LinkId, directions: Directions, state: LaneState) {
        self.depart_until(now);
        for lane_id in Self::lanes(link, directions) {
            if let Some(lane) = self.lane_mut(lane_id) {
                lane.set_state(state);
            }
        }
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

    /// Lets everything leave its queue that does so by `now`, each at its own instant.
    fn depart_until(&mut self, now: Timestamp) {
        while let Some(Reverse((at, _, lane_id))) = self.departures.peek().copied() {
            if at > now {
                return;
            }
            self.departures.pop();
            let Some(lane) = self.lane_mut(lane_id) else { continue };
            let (head, next) = lane.depart(at);
            self.schedule_departure(lane_id, next);
            if let Some(token) = head {
                self.launch(at, token);
            }
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
        let Self { links, slots, trace, .. } = self;
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
        trace.record(datagram.event(now, Fate::Delivered, Some(flight.arrives_at)), datagram.ecn, &datagram.bytes);
        self.arrivals.push(Reverse((flight.arrives_at, sequence, token)));
    }

    fn drop_datagram(&mut self, now: Timestamp, token: u32, fate: Fate) {
        if let Some(datagram) = self.slots.take(token) {
            self.trace.record(datagram.event(now, fate, None), datagram.ecn, &datagram.bytes);
            self.slots.recycle(datagram.bytes);
        }
    }
}
