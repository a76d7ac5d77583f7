//! Paths: one set keyed by path id; an entry holds everything that belongs to one path (multipath sections C, F, H, I).

pub mod ack_ways;
pub mod amplify;
pub mod duplicates;
pub mod ecn;
pub mod entry;
pub mod measured;
pub mod mode;
pub mod mtu;
pub mod network;
pub mod scheduler;
pub mod set;
pub mod side;
pub mod spin;
pub mod status;
pub mod terms;
pub mod unmeasured;
pub mod validate;
pub mod view;

pub use ecn::EcnState;
pub use entry::{PathEntry, PathState};
pub use mode::PathMode;
pub use network::Network;
pub use set::PathSet;
pub use terms::PathTerms;
pub use view::PathView;
