//! The congestion controllers one can choose, one file each.
//!
//! Called by paths when they are made. Never chooses: the connection's options do.

mod bbr3;
mod coupled;
mod cubic;
mod hystart;
mod leap;
mod newreno;
mod reno;
mod window;

pub use bbr3::Bbr3;
pub use coupled::{Coupled, Coupling, Subflow};
pub use cubic::Cubic;
pub use hystart::SlowStart;
pub use newreno::NewReno;

use crate::Controller;

/// Names of the controllers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Algorithm {
    /// RFC 9002 §7.
    NewReno,
    /// RFC 9438.
    #[default]
    Cubic,
    /// draft-ietf-ccwg-bbr.
    Bbr3,
    /// RFC 6356: the paths of a connection together are one flow.
    Lia,
    /// draft-khalili-mptcp-congestion-control.
    Olia,
    /// draft-walid-mptcp-congestion-control.
    Balia,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::NewReno, Self::Cubic, Self::Bbr3, Self::Lia, Self::Olia, Self::Balia];
    /// Those whose paths know nothing of each other.
    pub const UNCOUPLED: [Self; 3] = [Self::NewReno, Self::Cubic, Self::Bbr3];

    /// Name as in options.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NewReno => "newreno",
            Self::Cubic => "cubic",
            Self::Bbr3 => "bbr3",
            Self::Lia => "lia",
            Self::Olia => "olia",
            Self::Balia => "balia",
        }
    }

    /// How it couples the paths of a connection, if it does.
    #[must_use]
    pub const fn coupling(self) -> Option<Coupling> {
        match self {
            Self::NewReno | Self::Cubic | Self::Bbr3 => None,
            Self::Lia => Some(Coupling::Lia),
            Self::Olia => Some(Coupling::Olia),
            Self::Balia => Some(Coupling::Balia),
        }
    }
}

/// A new controller for a path whose datagrams have at most `mtu` bytes. BBR has a slow start of its own.
#[must_use]
pub fn build(algorithm: Algorithm, slow_start: SlowStart, mtu: u64) -> Box<dyn Controller> {
    match algorithm {
        Algorithm::NewReno => Box::new(NewReno::new(mtu, slow_start)),
        Algorithm::Cubic => Box::new(Cubic::new(mtu, slow_start)),
        Algorithm::Bbr3 => Box::new(Bbr3::new(mtu)),
        Algorithm::Lia => Box::new(Coupled::new(Coupling::Lia, mtu, slow_start)),
        Algorithm::Olia => Box::new(Coupled::new(Coupling::Olia, mtu, slow_start)),
        Algorithm::Balia => Box::new(Coupled::new(Coupling::Balia, mtu, slow_start)),
    }
}

#[cfg(test)]
mod link;
#[cfg(test)]
mod scenarios;
#[cfg(test)]
mod tests;
