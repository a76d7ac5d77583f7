//! Facts of a connection for those who show them, and the close that carries a transport code.
//!
//! Called by the binding. Looks and changes nothing, but for [`Connection::close_transport`].

use super::Connection;
use crate::{space::{OneSpace, Space}, stream::Streams};
use qbase::{ErrorCode, PacketNumber, SpaceId, Timestamp, TransportError};
use qevent::Signals;
use std::ops::RangeInclusive;

/// Whether packets of a space can be sent and read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpaceState {
    /// Its keys are not there yet.
    WaitingForKeys,
    /// It is in use.
    Open,
    /// Its keys are gone (RFC 9001 §4.9).
    Discarded,
}

/// What was sent, received and acknowledged in a space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpaceView {
    /// Whether it is in use.
    pub state: SpaceState,
    /// The highest number we sent.
    pub largest_sent: Option<PacketNumber>,
    /// The highest number the peer acknowledged.
    pub largest_acknowledged: Option<PacketNumber>,
    /// The highest number the peer sent.
    pub largest_received: Option<PacketNumber>,
    /// Received ranges that are kept, highest first.
    pub received: Vec<RangeInclusive<PacketNumber>>,
}

impl SpaceView {
    /// A space without packets.
    const fn empty(state: SpaceState) -> Self {
        Self { state, largest_sent: None, largest_acknowledged: None, largest_received: None, received: Vec::new() }
    }

    fn of(space: &Space) -> Self {
        Self {
            state: SpaceState::Open,
            largest_sent: space.sent.next_number().checked_sub(1),
            largest_acknowledged: space.sent.largest_acked(),
            largest_received: space.received.largest().map(|largest| largest.number),
            received: space.received.ranges().collect(),
        }
    }

    /// The one space of all paths.
    fn of_all(one: &OneSpace) -> Self {
        Self {
            state: SpaceState::Open,
            largest_sent: one.numbers.unused().checked_sub(1),
            largest_acknowledged: one.largest_acked(),
            largest_received: one.received().largest().map(|largest| largest.number),
            received: one.received().ranges().collect(),
        }
    }
}

impl Connection {
    /// The streams, to look at.
    #[must_use]
    pub const fn stream_facts(&self) -> &Streams {
        &self.streams
    }

    /// What was sent, received and acknowledged in a space; `None`: there is no such path. Where all paths share one
    /// application space, each gives that one.
    #[must_use]
    pub fn space(&self, space: SpaceId) -> Option<SpaceView> {
        let handshake = |space: Option<&crate::space::HandshakeSpace>, before: SpaceState| {
            Some(space.map_or(SpaceView::empty(before), |space| SpaceView::of(&space.space)))
        };
        let gone = if self.confirmed { SpaceState::Discarded } else { SpaceState::WaitingForKeys };
        match space {
            SpaceId::Initial => handshake(self.initial.as_deref(), SpaceState::Discarded),
            SpaceId::Handshake => handshake(self.handshake.as_deref(), gone),
            SpaceId::Application(path) => {
                let own = SpaceView::of(&self.network(path)?.space);
                let space = self.one_space.as_ref().map_or(own, |one| SpaceView::of_all(one));
                let state = if self.application.is_some() { SpaceState::Open } else { SpaceState::WaitingForKeys };
                Some(SpaceView { state, ..space })
            }
        }
    }

    /// Closes with a code of the transport: the application refuses the connection as such.
    pub fn close_transport(&mut self, now: Timestamp, code: ErrorCode, reason: &str) {
        self.hung_up = true;
        self.fail(now, TransportError { code, frame_type: None, reason: reason.to_owned().into() });
    }

    /// Why the last turn of the output sent nothing more.
    #[must_use]
    pub const fn blocked(&self) -> Signals {
        self.blocked
    }
}
