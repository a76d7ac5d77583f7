//! Hole punching: rounds that open a way through both NATs, steered by frames over the connection (traversal §7).
//!
//! Decides who sends what when, for all pairs of addresses of one connection. Sans-IO: frames, outer addresses and timers go
//! in, [`Output`]s come out. Never opens a path: a hole is a 4-tuple on which a HELLO or DONE came through.
//!
//! # How a connection drives it
//! [`crate::Traversal`] holds the puncher and the address book; the connection holds that as one of its parts.
//! - *Frames in.* `connection/dispatch` reads traversal frames with the negotiated profile ([`crate::Profile::read`]), in
//!   1-RTT packets after the handshake is complete or kept by the part until then (attacks G1, B19), and calls
//!   [`crate::Traversal::on_frame`]. A packet from a 4-tuple that is no open path gives its [`Hole`]; others `None`.
//! - *Outputs.* After each input the connection drains [`crate::Traversal::poll_output`]. [`Output::Frame`] goes into the
//!   queue of reliable control frames. [`Output::Probe`] becomes one packet with one frame, built at once with the current
//!   1-RTT key, outside of every path's congestion control and without a retransmission record (traversal T-85; attacks G7),
//!   with the TTL as control message (T-89). [`Output::Open`], [`Output::LearnOuter`] and [`Output::Close`] go to the driver,
//!   which answers [`crate::Traversal::on_outer`] with what a STUN server saw, or `None`.
//! - *Connection ids* (T-86). [`Output::ReserveCids`] asks for unused CIDs of the peer; [`Probe::destination`] numbers the
//!   destinations of a round, and the connection uses the n-th reserved CID for the n-th, the last one for all further. What is
//!   left is given back with [`Output::Round`].
//! - *Paths* (T-87, T-102). [`Output::Established`] names a hole. In the shared-space mode a packet on it has opened a path
//!   already, amplification-limited until PATH_CHALLENGE is answered. In the IETF mode HELLO is a probing frame in a packet of
//!   an existing path id and opens none: the QUIC client alone opens a new path id over the hole, whichever side punched; the
//!   server keeps the socket. When a direct path is validated, the connection calls [`crate::Traversal::on_direct_path`] and
//!   makes relayed paths backup (T-99); when the last one is lost, [`crate::Traversal::on_direct_lost`].
//! - *Time.* [`crate::Traversal::next_timer`] is one more timer of the connection. The budget belongs to the endpoint and is
//!   lent for each call.

mod echo;
mod history;
pub mod matrix;
mod round;
mod search;
pub mod strategy;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    time::Duration,
};

use qbase::{Timestamp, limits};

use self::{
    echo::Echoes,
    history::{History, Past, Retry},
    round::{End, Round},
    strategy::{Context, Step, Strategy, Then},
};
use crate::{
    TraversalFrame,
    address::ProbePolicy,
    book::{AddressBook, Bind},
    budget::ProbeBudget,
    frame::{AddressKind, PunchDone, PunchHello, PunchId, PunchMeNow},
    random::Dice,
};

/// Which end of the connection we are; it breaks ties (traversal T-82).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Opened the connection.
    Client,
    /// Accepted it.
    Server,
}

/// Who began a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// We did.
    Active,
    /// The peer did, by PUNCH_ME_NOW.
    Passive,
}

/// A local socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Socket {
    /// One of the connection's.
    Bound(Bind),
    /// Made for a punch, by the number in [`Output::Open`].
    Made(u64),
}

/// A way through both NATs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hole {
    /// Our socket.
    pub from: Socket,
    /// The peer, as we see it.
    pub remote: SocketAddr,
}

/// One packet with one frame, straight on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The pair it is about, as we see it.
    pub id: PunchId,
    /// Our socket.
    pub from: Socket,
    /// Where it goes.
    pub to: SocketAddr,
    /// Time to live.
    pub ttl: u8,
    /// PUNCH_HELLO or PUNCH_DONE.
    pub frame: TraversalFrame,
    /// Which destination of the round, from 0: one connection id each, as far as they go (traversal T-86).
    pub destination: u16,
}

/// Why a round failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Reason {
    /// Nothing came through.
    #[error("nothing came through")]
    Silence,
    /// Between these two NATs nothing is tried.
    #[error("nothing to try between these NATs")]
    NoStrategy,
    /// The strategy went in circles.
    #[error("the strategy has no end")]
    Strategy,
    /// It needs a port search, which the application does not allow.
    #[error("port search is not allowed")]
    NotAllowed,
    /// As much was probed as may be.
    #[error("probe budget is spent")]
    Budget,
    /// The policy does not let us probe this address.
    #[error("address must not be probed")]
    Refused,
    /// A socket could not be opened, or nobody told its outer address.
    #[error("no socket, or no outer address")]
    NoSocket,
    /// An address of the pair is gone, or the application wants no more.
    #[error("cancelled")]
    Cancelled,
    /// There is a direct path (attacks G9).
    #[error("a direct path exists")]
    NotNeeded,
}

/// How a round stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RoundState {
    /// It began.
    Started,
    /// The server follows the client's attempt (traversal T-82).
    Yielded,
    /// A HELLO or DONE came through.
    Done,
    /// It did not.
    Failed(Reason),
}

/// News of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoundReport {
    /// The pair, as we see it.
    pub id: PunchId,
    /// How it stands.
    pub state: RoundState,
    /// Who began.
    pub side: Side,
    /// Which attempt at the pair, from 1.
    pub number: u8,
    /// Name of the plan.
    pub plan: &'static str,
    /// Probes sent in it.
    pub probes: u32,
}

/// What the connection is to do.
#[derive(Clone, Debug)]
pub enum Output {
    /// Sends this frame reliably.
    Frame(TraversalFrame),
    /// Sends this packet.
    Probe(Probe),
    /// Keeps connection ids of the peer for probes of this pair.
    ReserveCids {
        /// The pair.
        id: PunchId,
    },
    /// Opens a socket on the interface of another one.
    Open {
        /// Its number from now on.
        socket: u64,
        /// The other one.
        beside: Bind,
        /// Local port; 0: any. One that is taken: any.
        port: u16,
    },
    /// Asks a STUN server for the outer address of a socket.
    LearnOuter {
        /// Which.
        socket: u64,
    },
    /// Closes a socket.
    Close {
        /// Which.
        socket: u64,
    },
    /// There is a hole; its socket lives as long as its path (traversal T-98).
    Established {
        /// The pair.
        id: PunchId,
        /// The hole.
        hole: Hole,
    },
    /// For people; connection ids that were reserved for a round that ended are free.
    Round(RoundReport),
    /// An open plan has no more steps: answer with [`Puncher::feed`].
    WantsSteps {
        /// The pair.
        id: PunchId,
        /// What the strategy may look at.
        context: Context,
    },
}

/// What a connection lends for each call.
#[derive(Debug)]
pub struct Means<'a> {
    /// The time.
    pub now: Timestamp,
    /// Who has which addresses.
    pub book: &'a AddressBook,
    /// Who may be probed.
    pub policy: &'a ProbePolicy,
    /// How much.
    pub budget: &'a mut ProbeBudget,
}

/// What a round works with.
pub(super) struct Effects<'a> {
    pub(super) now: Timestamp,
    pub(super) role: Role,
    pub(super) rtt: Duration,
    pub(super) strategy: Strategy,
    pub(super) policy: &'a ProbePolicy,
    pub(super) budget: &'a mut ProbeBudget,
    pub(super) dice: &'a mut Dice,
    pub(super) out: &'a mut VecDeque<Output>,
    pub(super) next_socket: &'a mut u64,
}

impl Effects<'_> {
    /// A number for a socket, and the wish to open it.
    pub(super) fn new_socket(&mut self, beside: Bind, port: u16) -> u64 {
        let socket = *self.next_socket;
        *self.next_socket = socket.saturating_add(1);
        self.out.push_back(Output::Open { socket, beside, port });
        socket
    }
}

/// Counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PunchStatistics {
    /// Rounds begun, on either side.
    pub rounds: u64,
    /// Frames beyond the bounds of L22, or about addresses that are not known or must not be probed.
    pub ignored: u64,
    /// Times the server yielded (traversal T-82).
    pub yielded: u64,
}

/// Bounds of one connection; those of traversal T-67 are the highest there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Rounds that begin within 60 s.
    pub rounds: usize,
    /// Punches that run at once.
    pub running: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { rounds: limits::PUNCH_ROUNDS, running: limits::PUNCHES_RUNNING }
    }
}

/// All punches of one connection.
#[derive(Debug)]
pub struct Puncher {
    role: Role,
    bounds: Bounds,
    strategy: Strategy,
    rtt: Duration,
    rounds: BTreeMap<PunchId, Round>,
    history: History,
    echoes: Echoes,
    reach: Reach,
    out: VecDeque<Output>,
    dice: Dice,
    next_socket: u64,
    statistics: PunchStatistics,
}

/// Whether punching is needed (attacks G9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    Relayed,
    Direct,
}

mod machine;
