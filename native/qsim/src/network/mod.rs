//! Links between addresses: who is joined to whom, and what arrives next.
//!
//! Called by the harness with every datagram a host sends. What happens to it on the way is the [`Wires`]' business.
//! Never looks into a datagram.

mod mapping;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use qbase::{Ecn, FourTuple, Timestamp};

pub use crate::wires::{Arrival, LinkId};
use crate::{
    host::Outlet,
    link::{Directions, LinkDirection, LinkShape, LinkStatistics, lane::LaneState},
    trace::Trace,
    wires::{DEFAULT_TTL, FarEnd, Header, LaneId, Wires},
};

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

/// All links, the addresses at their ends, and everything on them.
#[derive(Debug)]
pub struct Network {
    wires: Wires,
    /// The addresses of each link.
    ends: Vec<(IpAddr, IpAddr)>,
    /// (source, destination) to link and direction.
    routes: BTreeMap<(IpAddr, IpAddr), LaneId>,
    /// What NATs make of addresses.
    mappings: mapping::Mappings,
    /// Addresses whose interface is down.
    down: BTreeSet<IpAddr>,
    /// Copies for a test that plays an observer.
    kept: Option<Vec<(FourTuple, Vec<u8>)>>,
}

/// Datagrams kept at most.
const MAX_KEPT: usize = 1_000;

impl Network {
    /// A network without links; everything random on it comes from the seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            wires: Wires::new(seed),
            ends: Vec::new(),
            routes: BTreeMap::new(),
            mappings: mapping::Mappings::default(),
            down: BTreeSet::new(),
            kept: None,
        }
    }

    /// Joins two addresses; both ways have the shape. A later link between the same two takes the place of the
    /// earlier one for datagrams sent from then on.
    pub fn link(&mut self, a: IpAddr, b: IpAddr, shape: &LinkShape) -> LinkId {
        let id = self.wires.add(Timestamp::ZERO, shape);
        self.ends.push((a, b));
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
        self.wires.depart_until(now);
        let four_tuple = self.source_for(four_tuple).ok_or(SendError::NoRoute)?;
        if self.down.contains(&four_tuple.local.ip()) {
            return Err(SendError::InterfaceDown);
        }
        let Some(destination) = self.mappings.reached(four_tuple.remote) else { return Ok(()) };
        let ends = (four_tuple.local.ip(), destination.ip());
        let lane_id = *self.routes.get(&ends).ok_or(SendError::NoRoute)?;
        if self.wires.shape(lane_id).is_some_and(|shape| bytes.len() > shape.interface_mtu) {
            return Err(SendError::TooLong);
        }
        let received = FourTuple { local: destination, remote: self.mappings.seen(four_tuple.local) };
        if let Some(kept) = self.kept.as_mut().filter(|kept| kept.len() < MAX_KEPT) {
            kept.push((received, bytes.to_vec()));
        }
        let far_end = if self.down.contains(&ends.1) { FarEnd::Deaf } else { FarEnd::Listens };
        self.wires.offer(now, lane_id, far_end, Header { four_tuple: received, ecn, ttl: DEFAULT_TTL }, bytes);
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
        let sources = self.ends.iter().filter_map(|(a, b)| match remote {
            remote if remote == *b => Some(*a),
            remote if remote == *a => Some(*b),
            _ => None,
        });
        let source = sources.into_iter().find(|source| !self.down.contains(source))?;
        Some(FourTuple { local: SocketAddr::new(source, four_tuple.local.port()), ..four_tuple })
    }

    /// When something happens next: an arrival, or a datagram that leaves a queue. Call [`Self::pop_arrival`] then.
    #[must_use]
    pub fn next_event(&self) -> Option<Timestamp> {
        self.wires.next_event()
    }

    /// The next datagram that has arrived by `now`.
    pub fn pop_arrival(&mut self, now: Timestamp) -> Option<Arrival> {
        self.wires.pop_arrival(now)
    }

    /// Takes the buffer of an arrival back for the next datagram.
    pub fn recycle(&mut self, bytes: Vec<u8>) {
        self.wires.recycle(bytes);
    }

    /// New qualities from `now` on.
    pub fn set(&mut self, now: Timestamp, link: LinkId, shape: &LinkShape, directions: Directions) {
        self.wires.set(now, link, shape, directions);
    }

    /// Cuts the wire: from `now` on everything sent vanishes without a word.
    pub fn cut(&mut self, now: Timestamp, link: LinkId, directions: Directions) {
        self.wires.set_state(now, link, directions, LaneState::Cut);
    }

    /// Undoes [`Self::cut`].
    pub fn restore(&mut self, now: Timestamp, link: LinkId, directions: Directions) {
        self.wires.set_state(now, link, directions, LaneState::Up);
    }

    /// Takes the interface with this address down, or up again.
    pub fn set_interface(&mut self, now: Timestamp, address: IpAddr, interface: Interface) {
        self.wires.depart_until(now);
        match interface {
            Interface::Up => self.down.remove(&address),
            Interface::Down => self.down.insert(address),
        };
    }

    /// The qualities of one way; `None` for a link that does not exist.
    #[must_use]
    pub fn shape(&self, link: LinkId, direction: LinkDirection) -> Option<&LinkShape> {
        self.wires.shape(LaneId { link, direction })
    }

    /// Nothing is cut.
    #[must_use]
    pub fn is_up(&self, link: LinkId) -> bool {
        self.wires.is_up(link)
    }

    /// Counters of one way; all zero for a link that does not exist.
    #[must_use]
    pub fn statistics(&self, link: LinkId, direction: LinkDirection) -> LinkStatistics {
        self.wires.statistics(LaneId { link, direction })
    }

    /// Bytes in the queue of one way.
    #[must_use]
    pub fn queued_bytes(&self, link: LinkId, direction: LinkDirection) -> u64 {
        self.wires.queued_bytes(LaneId { link, direction })
    }

    /// Fingerprint and last events.
    #[must_use]
    pub const fn trace(&self) -> &Trace {
        self.wires.trace()
    }
}

/// Links have no routers that could take from a time to live.
impl Outlet for Network {
    fn send(&mut self, now: Timestamp, four_tuple: FourTuple, ecn: Ecn, _: Option<u8>, bytes: &[u8]) -> Result<(), SendError> {
        Self::send(self, now, four_tuple, ecn, bytes)
    }
}
