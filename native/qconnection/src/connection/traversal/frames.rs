//! Frames about NATs, inwards: which are read at all, and which packets of strangers are heard (traversal T-60, T-67, T-87, T-102;
//! attacks G8).
//!
//! Called by the dispatch for types of four bytes, and by the input for packets from addresses no path is at. Frames wait here for
//! the connection's turn. Never answers.

use super::{Input, TraversalNews, TraversalState};
use crate::connection::{Connection, input::Opened};
use qbase::{
    FourTuple, Reader, StandIn, TransportError,
    frame::{table::Extension, traversal as types},
    varint,
};
use qtraversal::{TraversalFrame, frame::ProfileKind};

impl Connection {
    /// Frames of this extension are spoken here (traversal T-60). Those of early data come before the handshake is complete.
    pub(in crate::connection) fn speaks(&self, extension: Extension) -> bool {
        let Some(part) = self.traversal.as_ref().filter(|part| part.state != TraversalState::Off) else { return false };
        match extension {
            Extension::TraversalBraid => part.profile == ProfileKind::Braid && self.peer_parameters.traversal.is_some(),
            Extension::TraversalDquic => part.profile == ProfileKind::Dquic,
            _ => true,
        }
    }

    /// Takes one frame of traversal or address discovery, with its type; `None`: the next frame is none.
    pub(in crate::connection) fn read_traversal(&self, reader: &mut Reader<'_>) -> Result<Option<(u64, TraversalFrame)>, TransportError> {
        let Some(part) = &self.traversal else { return Ok(None) };
        let mut ahead = *reader;
        let Ok(frame_type) = ahead.varint() else { return Ok(None) };
        if types::spec(frame_type).is_none() || varint::size(frame_type) != 4 {
            return Ok(None);
        }
        let frame = part.profile.codec().read(frame_type, &mut ahead);
        *reader = ahead;
        match frame {
            Ok(frame) => Ok(Some((frame_type, frame))),
            // Whether the profile is spoken is asked first: then it is a type like any unknown one.
            Err(_) if !self.speaks(types::spec(frame_type).map_or(Extension::None, |row| row.extension)) => {
                Err(TransportError::encoding("traversal was not negotiated").by_frame(frame_type))
            }
            Err(error) => Err(error.to_transport_error(frame_type)),
        }
    }

    /// A frame of an authentic packet.
    pub(in crate::connection) fn on_traversal_frame(&mut self, opened: &Opened, frame: TraversalFrame) {
        let seen = opened.arrival.four_tuple;
        let is_stray = StandIn::of(seen.remote).is_none() && !self.is_on_some_path(seen);
        let Some(part) = &mut self.traversal else { return };
        if let TraversalFrame::ObservedAddress(observed) = frame {
            if part.observed.is_news(opened.path, observed.seq) {
                self.traversal_event(TraversalNews::Observed { path: opened.path, address: observed.address });
            }
            return;
        }
        let hole = if is_stray { part.sockets.hole(seen) } else { None };
        part.push(Input::Frame(frame, hole));
    }

    /// These are the addresses of a path in use, or of one that is about to be.
    pub(super) fn is_on_some_path(&self, seen: FourTuple) -> bool {
        self.paths.iter().any(|entry| entry.is_live() && self.known_addresses(entry.id, seen).is_some())
    }

    /// A client hears strangers' short headers once traversal is on; what is in them decides (traversal T-102).
    pub(in crate::connection) fn hears_strangers(&self, datagram: &[u8]) -> bool {
        self.traversal.as_ref().is_some_and(|part| part.state == TraversalState::On) && datagram.first().is_some_and(|first| first & 0x80 == 0)
    }

    /// A packet from an address that no path of ours is at, which a client would not hear (RFC 9000 §9).
    pub(in crate::connection) fn is_stranger(&self, seen: FourTuple) -> bool {
        self.traversal.is_some() && self.role.is_client() && !self.is_from_known_server(seen)
    }

    /// A packet that holds nothing but PUNCH_HELLO, PUNCH_DONE and PADDING moves no path and opens none: it may come from anywhere,
    /// whatever is said about migration (traversal T-102; attacks G8).
    pub(in crate::connection) fn is_punch(&self, payload: &[u8]) -> bool {
        if self.traversal.is_none() {
            return false;
        }
        let mut reader = Reader::new(payload);
        let mut punches = false;
        while let Some(first) = reader.peek() {
            if first == 0 {
                let _ = reader.u8();
                continue;
            }
            match self.read_traversal(&mut reader) {
                Ok(Some((_, TraversalFrame::PunchHello(_) | TraversalFrame::PunchDone(_)))) => punches = true,
                _ => return false,
            }
        }
        punches
    }
}
