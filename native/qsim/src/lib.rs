//! The laboratory: a virtual clock, seeded links between addresses, and two hosts with the real machine on them.
//!
//! Decides when a datagram arrives, or why it does not; everything random comes from one seed, so the same seed and
//! the same program give the same datagrams at the same instants. Called by the tests of the machine and by the
//! TypeScript simulator. Never reads a clock, never sleeps, never opens a socket.

pub mod clock;
pub mod link;
pub mod network;
pub mod random;
pub mod trace;

pub use clock::Clock;
pub use link::{Directions, EcnTreatment, LinkDirection, LinkShape, LinkStatistics, LossModel, Queue, Reorder};
pub use network::{Arrival, Interface, LinkId, Network, SendError};
pub use random::Random;
pub use trace::{Fate, Trace, TraceEvent};
