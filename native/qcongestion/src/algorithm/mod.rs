//! The congestion controllers one can choose, one file each.
//!
//! Called by paths when they are made. Never chooses: the connection's options do.

mod bbr3;
mod cubic;
mod hystart;
mod newreno;
mod window;

pub use bbr3::Bbr3;
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
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::NewReno, Self::Cubic, Self::Bbr3];

    /// Name as in options.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NewReno => "newreno",
            Self::Cubic => "cubic",
            Self::Bbr3 => "bbr3",
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
    }
}

#[cfg(test)]
mod link;
#[cfg(test)]
mod scenarios;
#[cfg(test)]
mod tests;
