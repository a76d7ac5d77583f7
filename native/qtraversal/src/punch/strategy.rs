//! What is done in which order: strategies as values (traversal §7, T-88, T-96).
//!
//! A strategy is a function from a [`Context`] to a [`Plan`], a list of [`Step`]s; [`super::matrix`] is the one of the
//! specification. A plan may also be open: its maker is then asked for each further step, which is how strategies written in
//! TypeScript run. Called when a round starts and when the server yields. Budgets and policies hold for every plan alike.

use std::{net::SocketAddr, time::Duration};

use super::{Role, Side, search::{OPENED_PORTS, SEARCH_SOCKETS}};
use crate::{
    book::LocalAddress,
    budget::{Need, PortSearch},
    frame::PunchMeNow,
    nat::PortAllocation,
};

/// Time to live of a HELLO that shall arrive (traversal T-88).
pub const HELLO_TTL: u8 = 64;
/// Time to live of a HELLO that shall open our NAT and die before the far one (traversal T-88).
pub const KNOCK_TTL: u8 = 5;
/// First wait of the ladder; each further one is twice as long (traversal T-88).
const LADDER_WAIT: Duration = Duration::from_millis(100);
/// Sends of the ladder (traversal T-88).
const LADDER_SENDS: u8 = 5;

/// All that a strategy may look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// Client or server.
    pub role: Role,
    /// Did we begin?
    pub side: Side,
    /// Our address; its `ports` tell whether the next outside port can be foretold.
    pub local: LocalAddress,
    /// The peer's address, its NAT and the pair of numbers as we see it.
    pub remote: PunchMeNow,
    /// Round trip over the connection, which is over the relay as long as there is no better path.
    pub rtt: Duration,
    /// Which attempt at this pair; 1 is the first.
    pub round: u8,
    /// Whether many ports may be tried.
    pub search: PortSearch,
}

impl Context {
    /// `least`, or longer where the connection is slower: time for a question and an answer.
    #[must_use]
    pub fn patience(&self, least: Duration) -> Duration {
        least.max(self.rtt.saturating_mul(2).saturating_add(Duration::from_millis(200)))
    }

    /// How far apart our NAT's outside ports are, if that was seen.
    #[must_use]
    pub const fn port_step(&self) -> Option<i32> {
        match self.local.ports {
            PortAllocation::Sequential { step } => Some(step),
            _ => None,
        }
    }
}

/// Where HELLOs go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// To the address the peer named last for this pair. If it names another one, the step starts again.
    Peer,
    /// To this port of the same IP.
    Port(u16),
    /// Here; refused unless it is an IP that the peer named.
    Address(SocketAddr),
}

/// How HELLOs follow each other; after the last one its wait passes, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pace {
    /// Without waiting.
    AtOnce,
    /// This far apart.
    Every(Duration),
    /// First this far apart, then twice, and so on.
    Doubling(Duration),
}

impl Pace {
    /// The wait after the n-th send, from 0.
    #[must_use]
    pub fn wait(self, sent: u8) -> Duration {
        match self {
            Self::AtOnce => Duration::ZERO,
            Self::Every(wait) => wait,
            Self::Doubling(first) => first.saturating_mul(1_u32.checked_shl(u32::from(sent)).unwrap_or(u32::MAX)),
        }
    }
}

/// What ends a wait early. HELLO and DONE end the whole round in every step, with success.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Signal {
    /// The peer's PUNCH_ME_NOW; one that came earlier in the round counts.
    Tell,
    /// A HELLO.
    Hello,
    /// A DONE.
    Done,
    /// Either.
    Any,
}

/// What follows a wait that ended in silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Otherwise {
    /// The next step.
    GoOn,
    /// The round fails.
    Fail,
}

/// Which address of a new socket is told to the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Foretold {
    /// The one a server sees.
    Learned,
    /// The one after it, that many ports further: our NAT will give it to the peer. The peer is told that the address behaves
    /// like a port-restricted one, which is true for this one peer.
    Next {
        /// Ports between two mappings.
        step: i32,
    },
}

/// One thing to do. Steps run in order; the round ends with the first HELLO or DONE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Sends HELLOs from the round's socket.
    Hello {
        /// Where.
        to: Target,
        /// How many.
        times: u8,
        /// How far apart.
        pace: Pace,
        /// Time to live.
        ttl: u8,
    },
    /// Sends PUNCH_ME_NOW over the connection.
    Tell,
    /// Waits.
    Wait {
        /// For this.
        signal: Signal,
        /// At most so long.
        at_most: Duration,
        /// And then?
        otherwise: Otherwise,
    },
    /// Opens a socket beside the round's one, lets a server tell its outer address, and goes on from it.
    NewSocket {
        /// What the peer is told of it.
        tell: Foretold,
    },
    /// Opens 800 ports of the peer's IP for us, by knocks (traversal T-90, T-95, T-96). Needs leave.
    Collision,
    /// Tries 300 sockets of ours towards the peer (traversal T-90…T-93). Needs leave.
    PortSearch,
}

impl Step {
    /// The ladder of T-88 to the peer.
    #[must_use]
    pub const fn ladder() -> Self {
        Self::Hello { to: Target::Peer, times: LADDER_SENDS, pace: Pace::Doubling(LADDER_WAIT), ttl: HELLO_TTL }
    }

    /// The ladder without its first rung, after [`Step::hello`]: five in all (attacks G1).
    #[must_use]
    pub const fn rest_of_ladder() -> Self {
        Self::Hello { to: Target::Peer, times: LADDER_SENDS - 1, pace: Pace::Doubling(LADDER_WAIT), ttl: HELLO_TTL }
    }

    /// One HELLO to the peer.
    #[must_use]
    pub const fn hello(ttl: u8) -> Self {
        Self::Hello { to: Target::Peer, times: 1, pace: Pace::AtOnce, ttl }
    }

    /// What must be leased for it, from this address.
    #[must_use]
    pub const fn need(self, local: &LocalAddress) -> Option<Need> {
        let (sockets, ports) = match self {
            Self::Collision => (0, OPENED_PORTS),
            Self::PortSearch => (SEARCH_SOCKETS, SEARCH_SOCKETS),
            _ => return None,
        };
        Some(Need { device: local.device, is_ipv4: local.address.is_ipv4(), sockets, ports })
    }
}

/// What comes after the last step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Then {
    /// The round fails.
    #[default]
    Fail,
    /// Its maker is asked for more.
    Ask,
}

/// Steps with a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// For people and tests.
    pub name: &'static str,
    /// In order; beyond [`qbase::limits::PUNCH_STEPS`] they are left out.
    pub steps: Vec<Step>,
    /// After the last one.
    pub then: Then,
}

impl Plan {
    /// A plan that fails after its last step.
    #[must_use]
    pub fn new(name: &'static str, steps: impl Into<Vec<Step>>) -> Self {
        Self { name, steps: steps.into(), then: Then::Fail }
    }

    /// No attempt.
    #[must_use]
    pub const fn none() -> Self {
        Self { name: "none", steps: Vec::new(), then: Then::Fail }
    }

    /// Its maker is asked for every step.
    #[must_use]
    pub const fn asked() -> Self {
        Self { name: "asked", steps: Vec::new(), then: Then::Ask }
    }
}

/// Makes plans.
pub type Strategy = fn(&Context) -> Plan;
