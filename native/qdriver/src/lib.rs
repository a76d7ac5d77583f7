//! The machine's hands: UDP sockets, the clock, one thread per endpoint, and a link emulator for demonstrations.
//!
//! Decides when to read, when to wake and how a burst reaches the kernel. The machine it drives ([`drive::Machine`])
//! never blocks and never sees a clock; everything that does lives here. Called by `binding` and by programs in Rust.
//! Never looks into a packet and never makes a protocol decision.
//!
//! | room | job |
//! |---|---|
//! | [`socket`] | bind, receive batches, send bursts, judge errors |
//! | [`drive`] | the I/O thread: wait, read, timers, application, transmit |
//! | [`tcp`] | TCP connections that an application hands to the thread |
//! | [`waker`] | wake the I/O thread from other threads, once per nap |
//! | [`relay`] | user-space links with rate, delay, queue, loss and cuts |

pub mod clock;
pub mod drive;
mod poller;
pub mod relay;
pub mod socket;
pub mod tcp;
pub mod waker;

pub use clock::Clock;
pub use drive::{Application, Driver, DriverConfig, DriverHandle, Io};
pub use waker::Waker;
