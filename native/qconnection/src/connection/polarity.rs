//! Which connections have parts to play, and when the parts change (mux R50, R51; reverse V2, V20, V22).
//!
//! The parts themselves, the gate and the refusals are the stream room's (`stream::gate`): what is here are the connection's
//! protocol, by which it is told, and its verbs. Called by the handshake as soon as TLS has agreed on a protocol, which is
//! before the first stream of a server can come, and by the application.

use super::{Connection, State};
use crate::stream::{Requester, ReverseError};
use qbase::Direction;

/// A protocol whose connections are polarised: the client asks, until the connection is reversed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Polarity {
    /// The protocol's name in TLS.
    pub alpn: Vec<u8>,
    /// Application error code for streams of the wrong way, 0 ..= 2^62-1.
    pub wrong_way: u64,
}

impl Connection {
    /// The protocol may be known: from now on its rules hold.
    pub(super) fn polarise(&mut self) {
        if self.polarities.is_empty() {
            return;
        }
        let Some(alpn) = self.tls.alpn() else { return };
        if let Some(polarity) = self.polarities.iter().find(|polarity| polarity.alpn == alpn) {
            self.streams.polarise(polarity.wrong_way);
        }
    }

    /// Which end asks.
    #[must_use]
    pub const fn requester(&self) -> Requester {
        self.streams.requester()
    }

    /// Its protocol has parts.
    #[must_use]
    pub fn is_polarised(&self) -> bool {
        self.streams.is_polarised()
    }

    /// The ends change parts, once: from now on the server asks. What a client opens later is refused, by its own end and by
    /// the server's.
    ///
    /// # Errors
    /// See [`ReverseError`].
    pub fn reverse(&mut self) -> Result<(), ReverseError> {
        if self.state != State::Open {
            return Err(ReverseError::NotOpen);
        }
        self.streams.reverse()
    }

    /// The peer's streams that waited at the gate come out, in the order of ids, and all later ones as they come.
    pub fn open_gate(&mut self) {
        self.streams.open_gate();
    }

    /// In words; `None`: nobody has a part.
    pub(super) fn explain_polarity(&self) -> Option<String> {
        let facts = self.streams.statistics();
        let asks = if self.requester() == Requester::Local { "this end asks" } else { "the peer asks" };
        let gate = if self.streams.is_gate_shut() { "shut" } else { "open" };
        let (held, refused) = (facts.at_gate, facts.wrong_way);
        self.is_polarised().then(|| format!("polarity: {asks}, gate {gate} with {held} streams before it, {refused} streams of the wrong way refused"))
    }

    /// The peer may have `count` streams of a kind open at once from now on (MAX_STREAMS); fewer than before change nothing.
    pub fn grant_streams(&mut self, direction: Direction, count: u64) {
        self.streams.grant(direction, count);
    }
}
