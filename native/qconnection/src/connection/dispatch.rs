//! A payload in: is each frame allowed here, and which part owns it (RFC 9000 §12.4; multipath section J).
//!
//! Called by the input for every authentic packet. Routes only: the owners change state.

use super::{Connection, input::Opened};
use qbase::{EncryptionLevel, PathId, Reader, TransportError, Timestamp, frame::{self, Frame, table::{self, Extension}, traversal::may_begin}};
use qcongestion::ack_policy::AckEliciting;
use qrecovery::buffer::pool::BufferPool;

impl Connection {
    /// Takes all frames of a packet, then books the packet as received.
    pub(super) fn handle_payload(&mut self, opened: &Opened, payload: &[u8], pool: &mut BufferPool) -> Result<(), TransportError> {
        if opened.level != EncryptionLevel::ZeroRtt {
            return self.take_frames(opened, payload, pool);
        }
        self.streams.begin_early();
        let taken = self.take_frames(opened, payload, pool);
        self.streams.end_early();
        taken
    }

    fn take_frames(&mut self, opened: &Opened, payload: &[u8], pool: &mut BufferPool) -> Result<(), TransportError> {
        if payload.is_empty() {
            return Err(TransportError::violation("a packet without frames"));
        }
        let mut eliciting = AckEliciting::No;
        let mut probing = true;
        let mut reader = Reader::new(payload);
        while !reader.is_empty() {
            let before = reader.remaining();
            if self.traversal.is_some()
                && reader.peek().is_some_and(may_begin)
                && let Some((frame_type, frame)) = self.read_traversal(&mut reader)?
            {
                self.check_type(opened.level, frame_type).map_err(|error| error.by_frame(frame_type))?;
                eliciting = eliciting.max(if frame.is_ack_eliciting() { AckEliciting::Yes } else { AckEliciting::No });
                probing &= frame.is_probing();
                self.on_traversal_frame(opened, frame);
                continue;
            }
            let frame = Frame::decode(&mut reader)?;
            let frame_type = frame.frame_type();
            self.check_type(opened.level, frame_type).map_err(|error| error.by_frame(frame_type))?;
            eliciting = eliciting.max(match frame {
                Frame::ImmediateAck => AckEliciting::AtOnce,
                _ if frame.is_ack_eliciting() => AckEliciting::Yes,
                _ => AckEliciting::No,
            });
            probing &= frame.is_probing();
            if let Frame::Datagram(datagram) = &frame {
                self.on_datagram(opened.level, datagram, before.saturating_sub(reader.remaining())).map_err(|error| error.by_frame(frame_type))?;
                continue;
            }
            self.on_frame(opened, frame, pool).map_err(|error| if error.frame_type.is_none() { error.by_frame(frame_type) } else { error })?;
        }
        self.book_received(opened, eliciting);
        if opened.level == EncryptionLevel::OneRtt && !probing {
            self.on_non_probing(opened);
        }
        Ok(())
    }

    /// Whether a packet of this level may hold this type here (attacks D19).
    fn check_type(&self, level: EncryptionLevel, frame_type: u64) -> Result<(), TransportError> {
        let unknown = || TransportError::encoding("unknown frame type");
        let row = table::spec(frame_type).ok_or_else(unknown)?;
        if !row.allows(level) {
            return Err(TransportError::violation("frame not allowed in this packet type"));
        }
        match row.extension {
            Extension::Multipath if !self.path_mode.has_paths() => Err(TransportError::encoding("multipath was not negotiated")),
            // Where all paths share one space there is nothing it could name (multipath MP-104).
            _ if self.one_space.is_some() && matches!(frame_type, table::PATH_ACK | table::PATH_ACK_ECN) => {
                Err(TransportError::encoding("PATH_ACK where all paths share one space"))
            }
            Extension::TraversalBraid | Extension::TraversalDquic | Extension::AddressDiscovery if !self.speaks(row.extension) => {
                Err(TransportError::encoding("traversal was not negotiated"))
            }
            Extension::AckFrequency if !self.config.ack_frequency => Err(TransportError::encoding("we did not offer min_ack_delay")),
            _ => Ok(()),
        }
    }

    fn on_frame(&mut self, opened: &Opened, frame: Frame<'_>, pool: &mut BufferPool) -> Result<(), TransportError> {
        let now = opened.arrival.now;
        match frame {
            // IMMEDIATE_ACK counts when its packet is booked.
            Frame::Padding(_) | Frame::Ping | Frame::ImmediateAck => Ok(()),
            Frame::Stream(stream) => self.streams.on_stream(&stream, pool),
            Frame::Ack(ack) => self.on_ack(opened, &ack),
            Frame::Crypto(crypto) => self.on_crypto(now, opened.level, &crypto),
            Frame::ResetStream(reset) => self.streams.on_reset_stream(&reset, pool),
            Frame::StopSending(stop) => self.streams.on_stop_sending(&stop),
            Frame::MaxData(max) => self.streams.on_max_data(&max),
            Frame::MaxStreamData(max) => self.streams.on_max_stream_data(&max),
            Frame::MaxStreams(max) => self.streams.on_max_streams(&max),
            Frame::DataBlocked(blocked) => self.streams.on_data_blocked(&blocked),
            Frame::StreamDataBlocked(blocked) => self.streams.on_stream_data_blocked(&blocked),
            Frame::StreamsBlocked(blocked) => self.streams.on_streams_blocked(&blocked),
            Frame::NewToken(new) => self.on_new_token(&new),
            Frame::ConnectionClose(close) => {
                self.on_connection_close(now, &close);
                Ok(())
            }
            Frame::HandshakeDone => self.on_handshake_done(now),
            // Taken before: its size on the wire matters.
            Frame::Datagram(_) => Ok(()),
            Frame::AckFrequency(wish) => self.on_ack_frequency(wish),
            path_frame => self.on_path_frame(opened, path_frame, now),
        }
    }

    /// Frames about paths and connection ids.
    fn on_path_frame(&mut self, opened: &Opened, frame: Frame<'_>, now: Timestamp) -> Result<(), TransportError> {
        match frame {
            Frame::NewConnectionId(new) => self.on_new_connection_id(now, &new),
            Frame::RetireConnectionId(retire) => self.on_retire_connection_id(opened, &retire),
            Frame::PathChallenge(challenge) => {
                self.on_path_challenge(opened, challenge.data);
                Ok(())
            }
            Frame::PathResponse(response) => {
                self.on_path_response(now, response.data);
                Ok(())
            }
            Frame::PathAbandon(abandon) => self.on_path_abandon(now, abandon),
            Frame::PathStatus(status) => self.on_path_status(status),
            Frame::MaxPathId(maximum) => self.on_max_path_id(now, maximum.maximum),
            Frame::PathsBlocked(blocked) => self.check_path_limit(blocked.maximum),
            Frame::PathCidsBlocked(blocked) => self.on_path_cids_blocked(blocked),
            _ => Ok(()),
        }
    }

    /// A frame names a path id above our limit (multipath MP-71).
    pub(super) fn check_path_limit(&self, path: PathId) -> Result<(), TransportError> {
        if self.paths.local_maximum.is_none_or(|maximum| path > maximum) && path != PathId::ZERO {
            return Err(TransportError::violation("path id above our limit"));
        }
        Ok(())
    }

    /// PATH_CIDS_BLOCKED is informational; only impossible numbers are errors (multipath MP-52).
    fn on_path_cids_blocked(&mut self, blocked: frame::PathCidsBlocked) -> Result<(), TransportError> {
        self.check_path_limit(blocked.path)?;
        if let Some(entry) = self.paths.get(blocked.path)
            && blocked.next_sequence > entry.local_cids.next_sequence()
        {
            return Err(TransportError::violation("PATH_CIDS_BLOCKED names a number we did not reach"));
        }
        Ok(())
    }
}
