//! The laboratory: a virtual clock, seeded links between addresses, and two hosts with the real machine on them.
//!
//! Decides when a datagram arrives, or why it does not; everything random comes from one seed, so the same seed and
//! the same program give the same datagrams at the same instants. Called by the tests of the machine and by the
//! TypeScript simulator. Never reads a clock, never sleeps, never opens a socket.
//!
//! | room | job |
//! |---|---|
//! | [`clock`], [`random`] | virtual time, seeded numbers |
//! | [`link`], [`wires`] | what happens to a datagram between the two ends of a link |
//! | [`network`] | links between addresses |
//! | [`trace`], [`pcap`] | fingerprint of a run, and all of it for other tools |
//! | [`host`], [`traffic`], [`pattern`] | the machine with an application that moves recognisable bytes |
//! | [`log`] | qlogs of the hosts |
//! | [`world`] | hosts and routers with several links: what the TypeScript simulator is made of |
//! | [`town`] | any number of hosts with the machine in such a world, behind translators or not |
//! | [`measure`] | downloads over several paths, in numbers |
//! | [`pair`], [`script`], [`failure`] | two hosts, what happens to their links, and how a failing run explains itself |

pub mod clock;
pub mod failure;
pub mod host;
pub mod link;
pub mod log;
pub mod measure;
pub mod network;
pub mod pair;
pub mod pattern;
pub mod pcap;
pub mod random;
pub mod script;
pub mod town;
pub mod trace;
pub mod traffic;
pub mod wires;
pub mod world;

pub use clock::Clock;
pub use failure::{Failure, Fault};
pub use host::{Host, Restart, Writes};
pub use link::{Directions, EcnTreatment, LinkDirection, LinkShape, LinkStatistics, LossModel, Queue, Reorder};
pub use network::{Arrival, Interface, LinkId, Network, SendError};
pub use pair::{Pair, PairConfig, Paths};
pub use random::Random;
pub use town::Town;
pub use trace::{Fate, Trace, TraceEvent};
