//! The congestion controllers one can choose, one file each.
//!
//! Called by paths when they are made. Never chooses: the connection's options do.

mod cubic;
mod newreno;
mod window;

pub use cubic::Cubic;
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
    /// Name as in options.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NewReno => "newreno",
            Self::Cubic => "cubic",
        }
    }
}

/// A new controller for a path whose datagrams have at most `mtu` bytes.
#[must_use]
pub fn build(algorithm: Algorithm, mtu: u64) -> Box<dyn Controller> {
    match algorithm {
        Algorithm::NewReno => Box::new(NewReno::new(mtu)),
        Algorithm::Cubic => Box::new(Cubic::new(mtu)),
    }
}

#[cfg(test)]
mod tests;
