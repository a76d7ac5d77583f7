//! What NAT stands before a socket: asks STUN servers and draws conclusions (traversal T-50 to T-52, RFC 5780 §4).
//!
//! Decides whom to ask what and when there is enough to say. `detection` does the asking, `infer` draws the conclusions, `life`
//! measures how long a mapping lives. Called by who owns the sockets: it sends what [`ProbeStep::Send`] says, opens what
//! [`ProbeStep::Open`] asks for and hands in STUN messages. Never opens, sends or waits itself; raw observations are kept.

mod config;
mod detection;
mod hairpin;
pub mod infer;
pub mod life;
mod survey;

pub use config::ProbeConfig;
pub use detection::Detection;
pub use life::LifeSearch;

use std::net::SocketAddr;

use qbase::Timestamp;

use crate::stun::Message;

/// Number of a detection's socket; 0 is the one under test (traversal T-50), others are asked for by [`ProbeStep::Open`].
pub type SocketNumber = u8;

/// TTL of ordinary datagrams (traversal T-88).
pub const TTL: u8 = 64;

/// A datagram to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// From this socket.
    pub socket: SocketNumber,
    /// To this address.
    pub to: SocketAddr,
    /// With this TTL or hop limit.
    pub ttl: u8,
    /// [`Message::encode`] has the bytes.
    pub message: Message,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "returned, never stored")]
pub enum ProbeStep {
    /// Send this and ask again.
    Send(Outgoing),
    /// Open another socket on the same interface, any port, say so with `on_opened`, and ask again.
    Open(SocketNumber),
    /// Close that socket and ask again.
    Close(SocketNumber),
    /// Nothing before this instant, or before something comes in.
    Wait(Timestamp),
    /// It is over.
    Done,
}

/// What a message was to a detection or a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It belonged to it.
    Ours,
    /// It changed nothing.
    Foreign,
}

#[cfg(test)]
mod tests;
