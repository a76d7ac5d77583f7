//! The congestion controllers one can choose, one file each.
//!
//! Called by paths when they are made. Never chooses: the connection's options do.

mod cubic;
mod hystart;
mod newreno;
mod window;

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
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::NewReno, Self::Cubic];

    /// Name as in options.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NewReno => "newreno",
            Self::Cubic => "cubic",
        }
    }
}

/// A new controller for a path whose datagrams have at most `mtu` bytes. BBR has a slow start of its own.
#[must_use]
pub fn build(algorithm: Algorithm, slow_start: SlowStart, mtu: u64) -> Box<dyn Controller> {
    match algorithm {
        Algorithm::NewReno => Box::new(NewReno::new(mtu, slow_start)),
        Algorithm::Cubic => Box::new(Cubic::new(mtu, slow_start)),
    }
}

#[cfg(test)]
mod link;
#[cfg(test)]
mod scenarios;
#[cfg(test)]
mod tests;
