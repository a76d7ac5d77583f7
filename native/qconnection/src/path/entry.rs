//! One path id: its connection ids, its status and, once it is used, its network state.
//!
//! ```text
//!  Unused --open / first packet--> Validating --PATH_RESPONSE--> Open
//!     \________________________________\__________________________\--PATH_ABANDON--> Abandoning --3 PTO--> forgotten
//! ```
//! draft-ietf-quic-multipath-21 §3; called by the set and the connection. Never sends anything itself.

use super::{Network, scheduler::DEFAULT_WEIGHT, status::Status};
use crate::cid::{local::LocalCids, remote::RemoteCids};
use qbase::{PathId, Timestamp};

/// Where a path id stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PathState {
    /// Connection ids may be there, no packet was sent or received.
    Unused,
    /// In use, the peer's address is not proved yet.
    Validating,
    /// Validated: data may flow.
    Open,
    /// PATH_ABANDON was sent or received; kept to acknowledge stragglers (multipath MP-64).
    Abandoning,
}

impl PathState {
    /// The name in events and traces.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unused => "unused",
            Self::Validating => "validating",
            Self::Open => "open",
            Self::Abandoning => "abandoning",
        }
    }
}

/// The end of a path: who said it and whether both know.
#[derive(Clone, Copy, Debug)]
pub struct Abandon {
    /// Code of the first PATH_ABANDON, ours or the peer's.
    pub code: u64,
    /// Our frame waits to be sent (again).
    pub owed: bool,
    /// The peer's frame arrived.
    pub received: bool,
    /// When the rest is forgotten: 3 PTO after the later of the two frames.
    pub forget_at: Timestamp,
}

/// Everything that belongs to one path id.
#[derive(Debug)]
pub struct PathEntry {
    /// The id.
    pub id: PathId,
    /// Where it stands.
    pub state: PathState,
    /// Ids we gave the peer for this path.
    pub local_cids: LocalCids,
    /// Ids the peer gave us for this path.
    pub remote_cids: RemoteCids,
    /// Which way each end prefers.
    pub status: Status,
    /// State of the network behind it; `None` while unused, so that spare ids cost little (attacks F6).
    pub network: Option<Box<Network>>,
    /// Its share under the scheduler `weighted`; at least 1.
    pub weight: u32,
    /// How it ends.
    pub abandon: Option<Abandon>,
    /// The application's name for its request to open this path.
    pub ticket: Option<u64>,
}

impl PathEntry {
    /// An unused path id.
    #[must_use]
    pub fn new(id: PathId) -> Self {
        Self {
            id,
            state: PathState::Unused,
            local_cids: LocalCids::new(),
            remote_cids: RemoteCids::new(),
            status: Status::default(),
            network: None,
            weight: DEFAULT_WEIGHT,
            abandon: None,
            ticket: None,
        }
    }

    /// Packets may be sent on it: in use and not abandoned.
    #[must_use]
    pub fn is_live(&self) -> bool {
        matches!(self.state, PathState::Validating | PathState::Open)
    }
}
