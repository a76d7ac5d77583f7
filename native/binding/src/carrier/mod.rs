//! Endpoints over carriers of JavaScript's: no thread, no socket, no clock (docs/guide/carriers.md).
//!
//! | file | job |
//! |---|---|
//! | `object` | the class `NativeCarrier` of `src/binding/native.ts` |
//! | `core` | the machine in JavaScript's hands: datagrams and turns in, bursts out |
//! | `ports` | addresses, and raw datagrams on their way out |
//! | `seat` | the endpoint's hold on it |
//!
//! The machine, the engine and the queues are those of endpoints with sockets. JavaScript decides when turns are taken
//! (`src/endpoint/carrier.ts`); nothing here calls it but a scheduler that is asked for a burst.

mod core;
mod object;
mod ports;
mod seat;

pub use self::{object::NativeCarrier, seat::Seat};
