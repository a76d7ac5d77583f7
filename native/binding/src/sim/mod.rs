//! Simulated worlds: endpoints without threads on hosts without sockets, in virtual time (docs/guide/simulator.md).
//!
//! | file | job |
//! |---|---|
//! | `object` | the class `NativeWorld` of `src/binding/world.ts` |
//! | `world` | the order of events |
//! | `sockets` | what endpoints see of their host |
//! | `seat` | an endpoint's hold on its world |
//! | `picker` | a scheduler of JavaScript's that is asked for every burst |
//! | `shape`, `nat` | qualities of links and address translators as they cross |
//!
//! The machine, the engine and the queues are those of real endpoints. Decides when they get their turns, nothing else.

mod nat;
mod object;
mod picker;
mod seat;
mod shape;
mod sockets;
mod world;

pub use self::{object::NativeWorld, picker::JsPicker, seat::{Seat, Turned}};
