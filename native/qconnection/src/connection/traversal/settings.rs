//! What an application says about NATs, and what it hears (traversal §5…§8; api 2.8).
//!
//! Words only. Called by the application; the connection's traversal part acts on them.

use qbase::{FourTuple, PathId};
use qtraversal::{
    NatType,
    address::{Disclosure, ProbePolicy},
    book::LocalAddress,
    budget::PortSearch,
    frame::{AddAddress, AddressKind, ProfileKind, PunchId},
    nat::PortAllocation,
    punch::{RoundReport, strategy::Context},
    stun::Form,
    traversal::Start,
};
use std::net::SocketAddr;

/// How a connection gets through NATs. Profile `braid` needs a peer that says the same; `dquic` is taken at the application's
/// word (traversal T-60).
#[derive(Clone, Debug)]
pub struct TraversalSettings {
    /// How it is spoken.
    pub profile: ProfileKind,
    /// Who begins.
    pub start: Start,
    /// Who makes plans.
    pub plans: Plans,
    /// Who may be probed on the peer's word (attacks G2).
    pub policy: ProbePolicy,
    /// Who is told our private addresses (traversal T-79).
    pub disclosure: Disclosure,
    /// Whether many ports of one host may be tried (traversal T-97).
    pub search: PortSearch,
    /// Probes to one IP within 60 s, if fewer than traversal T-97 allows.
    pub probes_per_60s: Option<usize>,
    /// Rounds that begin within 60 s, if fewer than attacks L22 allows.
    pub rounds_per_60s: Option<usize>,
    /// Who is asked for the outer addresses of temporary sockets, best first.
    pub stun: Vec<SocketAddr>,
    /// How they are asked.
    pub stun_form: Form,
}

impl Default for TraversalSettings {
    fn default() -> Self {
        Self {
            profile: ProfileKind::default(),
            start: Start::default(),
            plans: Plans::default(),
            policy: ProbePolicy::default(),
            disclosure: Disclosure::default(),
            search: PortSearch::default(),
            probes_per_60s: None,
            rounds_per_60s: None,
            stun: Vec::new(),
            stun_form: Form::Rfc,
        }
    }
}

/// Who makes the plans of rounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Plans {
    /// The matrix of traversal §7.
    #[default]
    Own,
    /// The application is asked for each step: [`TraversalNews::WantsSteps`].
    Asked,
}

/// An address of ours that the peer may punch to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnnouncedAddress {
    /// As the peer shall use it.
    pub address: SocketAddr,
    /// What it is; a relayed one names its relay.
    pub kind: AddressKind,
    /// Group: only addresses of one tier are paired (traversal T-64).
    pub tier: u64,
    /// The NAT before it.
    pub nat_type: NatType,
    /// How that NAT gives ports.
    pub ports: PortAllocation,
}

/// Why an address is not announced or withdrawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnnounceError {
    /// It is announced already (traversal T-71).
    #[error("announced already")]
    Duplicate,
    /// It is not for this peer (traversal T-79), or no address of a host.
    #[error("not for this peer")]
    Private,
    /// The peer keeps no more.
    #[error("as many addresses as the peer keeps are announced")]
    Full,
    /// Traversal is not spoken on this connection.
    #[error("traversal is off")]
    Off,
    /// There is no such address.
    #[error("no such address")]
    Unknown,
}

impl From<qtraversal::book::AnnounceError> for AnnounceError {
    fn from(error: qtraversal::book::AnnounceError) -> Self {
        use qtraversal::book::AnnounceError as Book;
        match error {
            Book::Duplicate => Self::Duplicate,
            Book::Private => Self::Private,
            Book::Full => Self::Full,
            Book::Unknown => Self::Unknown,
        }
    }
}

/// Why there is no punch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PunchRefused {
    /// No address of ours fits the peer's.
    #[error("no address of ours fits")]
    NoPair,
    /// Traversal is not spoken, or not yet.
    #[error("traversal is off")]
    Off,
    /// It runs.
    #[error("it runs already")]
    Running,
    /// There is a direct path (attacks G9).
    #[error("a direct path exists")]
    Direct,
}

/// Whether traversal is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum TraversalState {
    /// It is not.
    #[default]
    Off,
    /// The handshake runs.
    Negotiating,
    /// It is.
    On,
}

/// How traversal stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraversalView {
    /// Our addresses, by their numbers.
    pub local: Vec<(u64, LocalAddress)>,
    /// The peer's.
    pub remote: Vec<AddAddress>,
    /// Rounds that run.
    pub running: usize,
    /// Probes sent since the start.
    pub probes_sent: u64,
}

/// Whose address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressSide {
    /// Ours.
    Local,
    /// The peer's.
    Remote,
}

/// What became of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressChange {
    /// It is announced.
    Added,
    /// It is withdrawn.
    Removed,
}

/// News of a connection's way through NATs.
#[derive(Clone, Debug, PartialEq)]
pub enum TraversalNews {
    /// Negotiated, or not; told once, with the end of the handshake.
    State {
        /// On or off.
        state: TraversalState,
        /// How it is spoken.
        profile: Option<ProfileKind>,
        /// In words.
        reason: &'static str,
    },
    /// An address of either end.
    Address {
        /// Whose.
        side: AddressSide,
        /// What became of it.
        change: AddressChange,
        /// The address and its number.
        address: AddAddress,
    },
    /// A round.
    Round(RoundReport),
    /// A HELLO or DONE came through. A client opens a path there by itself.
    Hole {
        /// The pair, as we see it.
        id: PunchId,
        /// Our socket and the peer, as we see them.
        four_tuple: FourTuple,
    },
    /// A plan has no more steps: [`super::super::Connection::feed_punch`].
    WantsSteps {
        /// The pair.
        id: PunchId,
        /// What the strategy may look at.
        context: Box<Context>,
    },
    /// The peer tells how it sees us. A hint: it may be a lie (attacks G6).
    Observed {
        /// The path it is about.
        path: PathId,
        /// Our address, as the peer sees it.
        address: SocketAddr,
    },
}
