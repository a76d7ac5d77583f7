//! Further network paths of one path id (RFC 9000 §9; multipath MP-27): the address it left, and one it may go to.
//!
//! ```text
//!  candidate --it moves--> the path's own address --it moves on--> left --proved or given up--> forgotten
//!                                   ^_______ not proved in time ____/
//! ```
//! Holds what belongs to such an address alone: credit, validation, the connection id used there. Called by the
//! connection's path part. At most two beside the path's own, and only one of all may be unproved besides it
//! (attacks L12). Never decides to move.

use super::{amplify::Amplification, measured::Measured, validate::Validation};
use qbase::{FourTuple, Timestamp};
use std::net::SocketAddr;

/// Why a path knows a second address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The path was here, and was proved to be; it comes back if its new address is not (RFC 9000 §9.3.2).
    Left {
        /// The new address is proved: late packets may come until this instant, then it is forgotten.
        until: Option<Timestamp>,
    },
    /// The peer looks around from here (RFC 9000 §9.1); forgotten at this instant if it does not move.
    Probed {
        /// When.
        until: Timestamp,
    },
    /// A server's own preferred address: the path goes there when the client has moved and is proved to be there
    /// (RFC 9000 §9.6.2).
    AwaitsClient,
    /// The path goes there as soon as the peer answers: asked for by the application.
    Move,
    /// The same, because the server prefers this address (RFC 9000 §9.6.1).
    Preferred,
    /// The path may go there later, if the peer answers: multipath was not negotiated (multipath MP-95).
    Spare,
}

/// One further network path.
#[derive(Debug)]
pub struct Side {
    /// Its addresses.
    pub four_tuple: FourTuple,
    /// What may be sent there.
    pub amplification: Amplification,
    /// The challenge under way.
    pub validation: Option<Validation>,
    /// Sequence number of the peer's connection id for packets there; `None` until there is one.
    pub cid: Option<u64>,
    /// Why it is there.
    pub purpose: Purpose,
    /// The peer has answered a challenge there.
    pub proved: bool,
    /// What was measured there, if the path has other measurements since.
    pub measured: Option<Measured>,
}

impl Side {
    /// An address of which nothing is known yet.
    #[must_use]
    pub const fn new(four_tuple: FourTuple, amplification: Amplification, purpose: Purpose) -> Self {
        Self { four_tuple, amplification, validation: None, cid: None, purpose, proved: false, measured: None }
    }

    /// A challenge should go out.
    #[must_use]
    pub fn wants_challenge(&self) -> bool {
        self.validation.as_ref().is_some_and(|validation| validation.wants_challenge())
    }

    /// When it needs attention.
    #[must_use]
    pub fn next_timer(&self) -> Option<Timestamp> {
        let until = match self.purpose {
            Purpose::Probed { until } => Some(until),
            Purpose::Left { until } => until,
            _ => None,
        };
        Timestamp::earliest(self.validation.as_ref().and_then(Validation::next_timer), until)
    }
}

/// One address and port, whatever flow label or scope the socket reports.
#[must_use]
pub fn is_same_address(one: SocketAddr, other: SocketAddr) -> bool {
    one.port() == other.port() && one.ip().to_canonical() == other.ip().to_canonical()
}

/// Both ends agree; a local address that is not known yet agrees with every one.
#[must_use]
pub fn is_same_path(known: FourTuple, seen: FourTuple) -> bool {
    is_same_address(known.remote, seen.remote)
        && (known.local.ip().is_unspecified() || is_same_address(known.local, seen.local))
}

/// Between two address pairs only ports differ: most likely the same network behind another mapping (RFC 9000 §9.4).
#[must_use]
pub fn differs_by_port_only(one: FourTuple, other: FourTuple) -> bool {
    one.remote.ip().to_canonical() == other.remote.ip().to_canonical() && one.local.ip().to_canonical() == other.local.ip().to_canonical()
}
