//! Who asks on this connection, and the gate before the peer's streams (mux R50 to R52; reverse V2, V20 to V23).
//!
//! ```text
//!  ordinary   the client asks; nothing is checked
//!  polarised  the client asks; a client's gate is shut ──reverse(), once──> reversed: the server asks, and what the client
//!                                   └─ open_gate() ─> open                  opens from then on is refused
//! ```
//! Decides which streams of the peer the application may know: those below a mark, which is infinite wherever there is
//! nothing to decide. Streams beyond it exist, are counted and hold their bytes like all others, within the credit that was
//! given (no queue beside it); what happened to them is told from their state when the mark moves. Called by the connection
//! for its application. Never looks at bytes, and never at anything below streams.

use super::{
    DIRECTIONS, Stream, StreamEvent, Streams,
    map::Key,
};
use qbase::{Direction, Role, StreamId};
use qrecovery::stream::{Abort, Origin, RecvPhase};

/// Which end asks: opens the streams that carry requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requester {
    /// This one.
    Local,
    /// The other one.
    Peer,
}

/// Why a connection is not reversed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReverseError {
    /// Its protocol knows of no such thing.
    #[error("connections of this protocol are not reversed")]
    Ordinary,
    /// It was reversed before.
    #[error("the connection is reversed already")]
    Again,
    /// It is not open: its handshake runs, or it is over.
    #[error("the connection is not open")]
    NotOpen,
}

/// Whether the ends of a connection have parts to play.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
enum Sense {
    /// Both may open what they like.
    #[default]
    Ordinary,
    /// The client asks; streams of the wrong way will be refused with this code.
    Polarised(u64),
    /// The server asks; they are refused with it.
    Reversed(u64),
}

/// Whether the peer's streams are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
enum Gate {
    /// As they come.
    #[default]
    Open,
    /// They wait.
    Shut,
}

/// What the stream room keeps of polarity.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ways {
    sense: Sense,
    gate: Gate,
}

impl Ways {
    /// Which end asks, seen from the end of this role.
    const fn requester(self, role: Role) -> Requester {
        let asks = match self.sense {
            Sense::Ordinary | Sense::Polarised(_) => Role::Client,
            Sense::Reversed(_) => Role::Server,
        };
        if asks.is_client() == role.is_client() { Requester::Local } else { Requester::Peer }
    }

    /// The code for what the peer opens; `None`: it may.
    fn refusal(self, role: Role) -> Option<u64> {
        match self.sense {
            Sense::Reversed(code) if self.requester(role) == Requester::Local => Some(code),
            _ => None,
        }
    }
}

impl Streams {
    /// The connection's protocol has parts: the client asks for now, and a client's gate is shut. Once; again changes nothing.
    pub fn polarise(&mut self, wrong_way: u64) {
        if self.ways.sense != Sense::Ordinary {
            return;
        }
        self.ways.sense = Sense::Polarised(wrong_way);
        if self.config.role.is_client() {
            self.ways.gate = Gate::Shut;
            self.hide();
        }
    }

    /// The ends change parts. What the end that asked until now opens from here on is refused.
    ///
    /// # Errors
    /// See [`ReverseError`]; never [`ReverseError::NotOpen`].
    pub fn reverse(&mut self) -> Result<(), ReverseError> {
        match self.ways.sense {
            Sense::Ordinary => return Err(ReverseError::Ordinary),
            Sense::Reversed(_) => return Err(ReverseError::Again),
            Sense::Polarised(code) => self.ways.sense = Sense::Reversed(code),
        }
        if self.ways.refusal(self.config.role).is_some() {
            self.hide();
        }
        Ok(())
    }

    /// The peer's streams are told from now on: those that waited in the order of ids, with all that happened to them.
    pub fn open_gate(&mut self) {
        if std::mem::take(&mut self.ways.gate) == Gate::Open || self.ways.refusal(self.config.role).is_some() {
            return;
        }
        let mut held: Vec<StreamId> = self.map.iter().map(|stream| stream.id).filter(|id| self.is_hidden(*id)).collect();
        held.sort_unstable_by_key(|id| (id.direction() == Direction::Unidirectional, id.index()));
        for direction in DIRECTIONS {
            self.peer.get_mut(direction).show();
        }
        for id in held {
            self.tell_what_happened(id);
        }
    }

    /// The peer may have `count` streams of a kind open at once from now on; fewer than before change nothing.
    pub fn grant(&mut self, direction: Direction, count: u64) {
        self.peer.get_mut(direction).grant(count);
    }

    /// Which end asks.
    #[must_use]
    pub const fn requester(&self) -> Requester {
        self.ways.requester(self.config.role)
    }

    /// The connection's protocol has parts.
    #[must_use]
    pub fn is_polarised(&self) -> bool {
        self.ways.sense != Sense::Ordinary
    }

    /// The gate is shut.
    #[must_use]
    pub fn is_gate_shut(&self) -> bool {
        self.ways.gate == Gate::Shut
    }

    /// Streams that wait at the gate, those included that exist only because a higher one was opened.
    #[must_use]
    pub fn held_streams(&self) -> u64 {
        let hidden = || DIRECTIONS.into_iter().map(|direction| self.peer.get(direction).hidden()).sum();
        if self.is_gate_shut() { hidden() } else { 0 }
    }

    /// This end may open streams.
    #[must_use]
    pub fn may_open(&self) -> bool {
        !self.is_polarised() || self.requester() == Requester::Local
    }

    /// The application knows nothing of this stream: it waits at the gate, or was refused.
    #[inline]
    pub(super) fn is_hidden(&self, id: StreamId) -> bool {
        id.index() >= self.peer.get(id.direction()).shown() && id.initiator() != self.config.role
    }

    /// The peer has just opened a stream: refuses it if that is the wrong way (mux R51).
    pub(super) fn refuse_wrong_way(&mut self, key: Key, id: StreamId) {
        if !self.is_hidden(id) {
            return;
        }
        let Some(code) = self.ways.refusal(self.config.role) else { return };
        self.counters.wrong_way = self.counters.wrong_way.saturating_add(1);
        if let Some(Stream { recv: Some(recv), .. }) = self.map.get_mut(key) {
            // Nothing of it is buffered, or counted, so far.
            recv.state.stop(code);
        }
        self.abort_sending(key, Abort { code, by: Origin::Local });
        self.settle(key);
    }

    /// News of a stream, unless the application must not know of it.
    #[inline]
    pub(super) fn tell(&mut self, id: StreamId, event: StreamEvent) {
        if !self.is_hidden(id) {
            self.events.push(event);
        }
    }

    /// The application knows of the peer's streams that exist, and of no other.
    fn hide(&mut self) {
        for direction in DIRECTIONS {
            self.peer.get_mut(direction).hide();
        }
    }

    /// A stream comes out of the gate: what would have been told meanwhile.
    fn tell_what_happened(&mut self, id: StreamId) {
        let Some(stream) = self.map.key(id).and_then(|key| self.map.get(key)) else { return };
        if let Some(recv) = &stream.recv {
            match recv.state.reset_code() {
                Some(code) if recv.buffer.readable() == 0 && recv.state.phase() == RecvPhase::ResetRecvd => self.events.push(StreamEvent::Reset { id, code }),
                _ if recv.has_news() => self.events.push(StreamEvent::Readable(id)),
                _ => {}
            }
        }
        let abort = stream.send.as_ref().and_then(|part| part.state.abort());
        if let Some(Abort { code, by: Origin::Peer }) = abort {
            self.events.push(StreamEvent::Stopped { id, code });
        }
    }
}
