//! A link: two directions between two addresses, each with its own shape, queue, luck and counters.
//!
//! Decides the order of the steps a datagram goes through; the steps stand in the files beside this one. Called by
//! the network. Never holds bytes: it judges lengths and instants.
//!
//! ```text
//! offered -> cut? -> too long? -> lost? -> queue full? -> (waits for the rate) -> cut? -> copies -> delay -> arrives
//! ```

pub mod codel;
pub mod corrupt;
pub mod delay;
pub mod duplicate;
pub mod lane;
pub mod loss;
pub mod mtu;
pub mod rate;
pub mod reorder;
pub mod shape;
pub mod statistics;

pub use codel::CoDelLaw;
pub use lane::Lane;
pub use loss::LossModel;
pub use rate::{Queue, RateTrace};
pub use reorder::Reorder;
pub use shape::{EcnTreatment, LinkShape};
pub use statistics::LinkStatistics;

/// One way over a link. `A` is the address named first when the link was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LinkDirection {
    /// From the first address to the second.
    AToB = 0,
    /// From the second address to the first.
    BToA = 1,
}

impl LinkDirection {
    /// The name people and the TypeScript face use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AToB => "a-to-b",
            Self::BToA => "b-to-a",
        }
    }
}

/// Which ways of a link a change is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Directions {
    /// Both ways.
    #[default]
    Both,
    /// From the first address to the second.
    AToB,
    /// From the second address to the first.
    BToA,
}

impl Directions {
    /// The change is for this way.
    #[must_use]
    pub const fn covers(self, direction: LinkDirection) -> bool {
        matches!(
            (self, direction),
            (Self::Both, _) | (Self::AToB, LinkDirection::AToB) | (Self::BToA, LinkDirection::BToA)
        )
    }
}

impl From<LinkDirection> for Directions {
    fn from(direction: LinkDirection) -> Self {
        match direction {
            LinkDirection::AToB => Self::AToB,
            LinkDirection::BToA => Self::BToA,
        }
    }
}
