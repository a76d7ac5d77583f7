//! Ways through relays: forward headers go on and off here, and each way has an address that stands for it (traversal T-2,
//! T-12, T-20…T-23; burst B-75…B-79).
//!
//! The machine sees datagrams without headers, between four-tuples; what it calls the remote address of such a way is a
//! [`StandIn`]. A number is given when a way is first seen or asked for. Strangers can make up as many ways as they like, so
//! there is a bound, at which those go that no connection uses; a way that comes back after that is a new address, which
//! connections prove as any other. Called by the endpoint for each datagram in and each burst out; sends and opens nothing.

use super::Endpoint;
use crate::{Connection, burst::Burst, endpoint::route::Seeded};
use qbase::{FourTuple, StandIn, limits};
use qevent::DropReason;
use qtraversal::{
    Pathway,
    address::Unusable,
    classify::{Datagram, FixedBit, Forward, Listening, classify},
    forward::{self, ForwardHeader, Stamp},
    stun::Forms,
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::SocketAddr,
};

/// What is looked for here: forward headers and nothing else. The caller judges the rest.
const FORWARDED: Listening = Listening { stun: Forms::NONE, forward: Forward::Accepted, fixed_bit: FixedBit::Required };

/// A socket of ours is known to a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registration {
    /// The socket's address, as datagrams report it.
    pub local: SocketAddr,
    /// Where peers reach us: the relay, and our address as it sees it.
    pub own: qtraversal::Endpoint,
}

/// Why there is no way to a peer behind a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoPathway {
    /// The peer is not behind a relay.
    #[error("the peer is not behind a relay")]
    Direct,
    /// We are not registered with any relay over this socket, so the peer could not answer.
    #[error("no relay knows the local address")]
    NotRegistered,
    /// The addresses cannot stand in one pathway.
    #[error("{0}")]
    Unusable(#[from] Unusable),
    /// All that there may be are in use.
    #[error("too many ways through relays")]
    TooMany,
}

/// One way: the socket it leaves from, and the two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Way {
    local: SocketAddr,
    pathway: Pathway,
}

/// A registration, and the names that it had.
#[derive(Debug)]
struct Known {
    registration: Registration,
    /// Our end under the outer addresses of before, the oldest first; at most [`limits::RELAY_FORMER_NAMES`].
    former: Vec<qtraversal::Endpoint>,
}

impl Known {
    const fn agent(&self) -> Option<SocketAddr> {
        self.registration.own.agent()
    }

    fn is(&self, local: SocketAddr, agent: Option<SocketAddr>) -> bool {
        self.registration.local == local && self.agent() == agent
    }

    /// Another name; the one before is remembered.
    fn move_to(&mut self, registration: Registration) {
        let before = std::mem::replace(&mut self.registration, registration).own;
        self.former.retain(|name| *name != before && *name != registration.own);
        if before != registration.own {
            self.former.push(before);
        }
        if self.former.len() > limits::RELAY_FORMER_NAMES {
            self.former.remove(0);
        }
    }
}

/// The ways there are.
#[derive(Debug)]
pub(super) struct Pathways {
    registrations: Vec<Known>,
    ways: BTreeMap<u32, Way>,
    numbers: HashMap<Way, u32, Seeded>,
    next: u32,
}

impl Pathways {
    pub(super) fn new(seed: u64) -> Self {
        Self { registrations: Vec::new(), ways: BTreeMap::new(), numbers: HashMap::with_hasher(Seeded(seed)), next: 0 }
    }

    /// The address that stands for a way, if it has one.
    fn find(&self, way: &Way) -> Option<FourTuple> {
        self.numbers.get(way).map(|number| way.four_tuple(*number))
    }

    fn is_full(&self) -> bool {
        self.ways.len() >= limits::PATHWAYS
    }

    /// Gives a way its number. The next one follows, so that an old number is not soon used for another way.
    fn add(&mut self, way: Way) -> FourTuple {
        while self.ways.contains_key(&self.next) {
            self.step();
        }
        let number = self.next;
        self.step();
        self.ways.insert(number, way);
        self.numbers.insert(way, number);
        way.four_tuple(number)
    }

    fn step(&mut self) {
        self.next = self.next.saturating_add(1).checked_rem(StandIn::NUMBERS).unwrap_or_default();
    }

    /// Forgets the ways whose number is not among `used`.
    fn keep(&mut self, used: &BTreeSet<u32>) {
        self.ways.retain(|number, _| used.contains(number));
        self.numbers.retain(|_, number| used.contains(number));
    }

    /// A forward datagram that came from `from` is for us, by this way (traversal T-22, T-30).
    fn arrival(&self, from: FourTuple, header: &ForwardHeader) -> Option<Way> {
        let known = self.registrations.iter().find(|known| known.is(from.local, Some(from.remote)))?;
        let own = known.registration.own;
        let way = |local| Way { local: from.local, pathway: Pathway { local, remote: header.source } };
        let local = match header.destination {
            qtraversal::Endpoint::Direct(address) => (address == from.local).then_some(header.destination)?,
            // Who dialled us under a name of before knows us by it, and must be answered under it; behind our own dials we have the new one.
            former if known.former.contains(&former) => {
                let is_renamed = !self.numbers.contains_key(&way(former)) && self.numbers.contains_key(&way(own));
                if is_renamed { own } else { former }
            }
            // The relay has reached us, so the peer may know another outer address of ours: the way is the same.
            qtraversal::Endpoint::Agent { agent, .. } => (agent == from.remote).then_some(own)?,
        };
        let way = way(local);
        let is_usable = way.pathway.remote.is_relayed() && way.pathway.check().is_ok();
        is_usable.then_some(way)
    }

    /// Our end of some ways is known under another address from now on, but for those among `kept`: they stay what they are, as
    /// behind a NAT that changes its mapping, and the peers notice.
    fn rename(&mut self, local: SocketAddr, before: qtraversal::Endpoint, after: qtraversal::Endpoint, kept: &BTreeSet<u32>) {
        let is_meant = |number: &u32, way: &Way| way.local == local && way.pathway.local == before && !kept.contains(number);
        for (number, way) in self.ways.iter_mut().filter(|(number, way)| is_meant(number, way)) {
            self.numbers.remove(way);
            way.pathway.local = after;
            self.numbers.insert(*way, *number);
        }
    }
}

impl Way {
    fn four_tuple(&self, number: u32) -> FourTuple {
        let header = u8::try_from(forward::reserve(&self.pathway)).unwrap_or_default();
        FourTuple { local: self.local, remote: StandIn { number, header }.address(self.pathway.remote.next_hop()) }
    }
}

impl Endpoint {
    /// A relay knows a socket of ours from now on, or knows it under another address: ways of connections that dialled us keep the
    /// name by which the peer knows us, all others have the new one (traversal T-36). Forward datagrams are taken from relays that
    /// know us, and from nobody else (attacks G11).
    ///
    /// # Errors
    /// There are [`limits::RELAYS`] already.
    pub fn add_registration(&mut self, registration: Registration) -> Result<(), NoPathway> {
        registration.own.check()?;
        if !registration.own.is_relayed() {
            return Err(NoPathway::Direct);
        }
        let is_full = self.pathways.registrations.len() >= limits::RELAYS;
        let Registration { local, own } = registration;
        match self.pathways.registrations.iter_mut().find(|known| known.is(local, own.agent())) {
            Some(known) if known.registration == registration => {}
            Some(known) => {
                let before = known.registration.own;
                known.move_to(registration);
                let dialled = self.numbers_in_use(|connection| !connection.role().is_client());
                self.pathways.rename(local, before, own, &dialled);
            }
            None if is_full => return Err(NoPathway::TooMany),
            None => self.pathways.registrations.push(Known { registration, former: Vec::new() }),
        }
        Ok(())
    }

    /// The numbers of the ways of such connections.
    fn numbers_in_use(&self, is_meant: impl Fn(&Connection) -> bool) -> BTreeSet<u32> {
        let used = self.slots.iter().filter(|connection| is_meant(connection)).flat_map(|connection| connection.four_tuples());
        used.filter_map(|four_tuple| StandIn::of(four_tuple.remote).map(|stand_in| stand_in.number)).collect()
    }

    /// The relay does not know this socket any more.
    pub fn remove_registration(&mut self, local: SocketAddr, relay: SocketAddr) {
        self.pathways.registrations.retain(|known| !known.is(local, Some(relay)));
    }

    /// Where peers reach us through relays.
    pub fn registrations(&self) -> impl Iterator<Item = &Registration> {
        self.pathways.registrations.iter().map(|known| &known.registration)
    }

    /// The way from our socket `local` to a peer behind a relay, as a four-tuple to connect or to open a path with. It
    /// begins at the relay that is the peer's, if that one knows us, else at the first that does.
    ///
    /// # Errors
    /// There is no such way.
    pub fn pathway_to(&mut self, local: SocketAddr, remote: qtraversal::Endpoint) -> Result<FourTuple, NoPathway> {
        if !remote.is_relayed() {
            return Err(NoPathway::Direct);
        }
        let is_mine = |known: &&Registration| known.local == local && known.own.is_ipv4() == remote.is_ipv4();
        let all = || self.registrations();
        let shared = all().filter(is_mine).find(|known| known.own.agent() == remote.agent());
        let own = shared.or_else(|| all().find(is_mine)).ok_or(NoPathway::NotRegistered)?.own;
        let pathway = Pathway { local: own, remote };
        pathway.check()?;
        self.stand_in(Way { local, pathway }).ok_or(NoPathway::TooMany)
    }

    /// The two ends of a way, if `four_tuple` stands for one.
    #[must_use]
    pub fn pathway_of(&self, four_tuple: FourTuple) -> Option<Pathway> {
        let stand_in = StandIn::of(four_tuple.remote)?;
        self.pathways.ways.get(&stand_in.number).map(|way| way.pathway)
    }

    /// No relay knows us: forwarded datagrams are not for us.
    pub(super) const fn pathways_are_closed(&self) -> bool {
        self.pathways.registrations.is_empty()
    }

    /// Ways that are remembered.
    #[must_use]
    pub fn pathways(&self) -> usize {
        self.pathways.ways.len()
    }

    /// Takes the forward header off a datagram that has one and is for us: the way it came by, and the header's length.
    /// `None`: it is none, and the caller takes it for what else it may be (traversal T-11, T-12).
    pub(super) fn take_header(&mut self, four_tuple: FourTuple, bytes: &[u8]) -> Option<Result<(FourTuple, usize), DropReason>> {
        if self.pathways.registrations.is_empty() {
            return None;
        }
        let Datagram::Forward(stripped) = classify(bytes, FORWARDED, |bytes| self.route_of(bytes).is_some()) else { return None };
        let Some(way) = self.pathways.arrival(four_tuple, &stripped.header) else { return Some(Err(DropReason::Misrouted)) };
        // Who is not heard is not heard through a relay either.
        if self.blocked.has(way.pathway.remote.outer().ip()) {
            return Some(Err(DropReason::Blocked));
        }
        let header = bytes.len().saturating_sub(stripped.quic.len());
        Some(self.stand_in(way).map(|four_tuple| (four_tuple, header)).ok_or(DropReason::PathwayLimit))
    }

    fn stand_in(&mut self, way: Way) -> Option<FourTuple> {
        if let Some(known) = self.pathways.find(&way) {
            return Some(known);
        }
        if self.pathways.is_full() {
            let used = self.numbers_in_use(|_| true);
            self.pathways.keep(&used);
        }
        (!self.pathways.is_full()).then(|| self.pathways.add(way))
    }

    /// Writes the forward headers of a burst between its segments and names where it really goes. `None`: the way is
    /// forgotten, nothing can be sent.
    #[inline]
    pub(super) fn put_headers(&self, burst: Burst, buffer: &mut [u8]) -> Option<Burst> {
        match burst.four_tuple.reserve() {
            0 => Some(burst),
            reserve => self.put_headers_of(burst, reserve, buffer),
        }
    }

    fn put_headers_of(&self, mut burst: Burst, reserve: usize, buffer: &mut [u8]) -> Option<Burst> {
        let pathway = self.pathway_of(burst.four_tuple)?;
        let stamp = Stamp::of(&pathway).ok().flatten()?;
        let size = burst.segment_size.max(1);
        // From the last to the first: each moves to where the ones before it do not reach.
        for index in (0..burst.segments).rev() {
            let from = index.saturating_mul(size);
            let to = from.saturating_add(index.saturating_add(1).saturating_mul(reserve));
            let len = size.min(burst.len.saturating_sub(from));
            if to.saturating_add(len) > buffer.len() {
                return None;
            }
            buffer.copy_within(from..from.saturating_add(len), to);
        }
        burst.len = burst.len.saturating_add(reserve.saturating_mul(burst.segments));
        burst.segment_size = burst.segment_size.saturating_add(reserve);
        burst.four_tuple.remote = pathway.remote.next_hop();
        stamp.fill_burst(buffer.get_mut(..burst.len)?, burst.segment_size).ok()?;
        Some(burst)
    }
}
