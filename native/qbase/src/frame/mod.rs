//! Frames: what a packet's payload is made of (RFC 9000 §12.4, §19; RFC 9221; draft-ietf-quic-multipath-21 §4;
//! draft-ietf-quic-ack-frequency §4, §5).
//!
//! Decides how every frame is read and written and which type means what; each frame has a file, [`table`] has all types.
//! Called by the connection: [`Frame::decode`] in a loop over a decrypted payload, the `write` functions while it builds
//! packets. Never allocates, never keeps state, never knows what was negotiated or in which packet a frame came:
//! see [`table::spec`] for these two questions.

pub mod ack;
mod ack_frequency;
mod blocked;
mod connection_close;
mod connection_id;
mod credit;
pub mod crypto;
pub mod datagram;
mod malformed;
mod new_token;
mod padding;
mod path_abandon;
mod path_limit;
mod path_status;
mod path_validation;
mod reset_stream;
mod stop_sending;
pub mod stream;
pub mod table;
pub mod traversal;

pub use ack::{Ack, AckRanges, EcnCounts};
pub use ack_frequency::AckFrequency;
pub use blocked::{DataBlocked, StreamDataBlocked, StreamsBlocked};
pub use connection_close::{CloseKind, ConnectionClose};
pub use connection_id::{NewConnectionId, RetireConnectionId};
pub use credit::{MaxData, MaxStreamData, MaxStreams};
pub use crypto::Crypto;
pub use datagram::Datagram;
pub use new_token::NewToken;
pub use padding::Padding;
pub use path_abandon::PathAbandon;
pub use path_limit::{MaxPathId, PathCidsBlocked, PathsBlocked};
pub use path_status::{PathStatus, PathStatusKind};
pub use path_validation::{PathChallenge, PathResponse};
pub use reset_stream::ResetStream;
pub use stop_sending::StopSending;
pub use stream::{Fin, Stream};

use crate::{Direction, PathId, Reader, TransportError, Writer, stream_id::MAX_STREAM_COUNT, varint};
use malformed::Malformed;

/// A frame; what it borrows lies in the packet it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// PADDING, a whole run.
    Padding(Padding),
    /// PING (RFC 9000 §19.2).
    Ping,
    /// ACK, PATH_ACK.
    Ack(Ack<'a>),
    /// RESET_STREAM.
    ResetStream(ResetStream),
    /// STOP_SENDING.
    StopSending(StopSending),
    /// CRYPTO.
    Crypto(Crypto<'a>),
    /// NEW_TOKEN.
    NewToken(NewToken<'a>),
    /// STREAM.
    Stream(Stream<'a>),
    /// MAX_DATA.
    MaxData(MaxData),
    /// MAX_STREAM_DATA.
    MaxStreamData(MaxStreamData),
    /// MAX_STREAMS.
    MaxStreams(MaxStreams),
    /// DATA_BLOCKED.
    DataBlocked(DataBlocked),
    /// STREAM_DATA_BLOCKED.
    StreamDataBlocked(StreamDataBlocked),
    /// STREAMS_BLOCKED.
    StreamsBlocked(StreamsBlocked),
    /// NEW_CONNECTION_ID, PATH_NEW_CONNECTION_ID.
    NewConnectionId(NewConnectionId),
    /// RETIRE_CONNECTION_ID, PATH_RETIRE_CONNECTION_ID.
    RetireConnectionId(RetireConnectionId),
    /// PATH_CHALLENGE.
    PathChallenge(PathChallenge),
    /// PATH_RESPONSE.
    PathResponse(PathResponse),
    /// CONNECTION_CLOSE of either kind.
    ConnectionClose(ConnectionClose<'a>),
    /// HANDSHAKE_DONE (RFC 9000 §19.20).
    HandshakeDone,
    /// DATAGRAM.
    Datagram(Datagram<'a>),
    /// PATH_ABANDON.
    PathAbandon(PathAbandon),
    /// PATH_STATUS_AVAILABLE, PATH_STATUS_BACKUP.
    PathStatus(PathStatus),
    /// MAX_PATH_ID.
    MaxPathId(MaxPathId),
    /// PATHS_BLOCKED.
    PathsBlocked(PathsBlocked),
    /// PATH_CIDS_BLOCKED.
    PathCidsBlocked(PathCidsBlocked),
    /// ACK_FREQUENCY.
    AckFrequency(AckFrequency),
    /// IMMEDIATE_ACK (draft-ietf-quic-ack-frequency §5).
    ImmediateAck,
}

impl<'a> Frame<'a> {
    /// Takes one frame; the reader holds (the rest of) a packet's payload. Call until the reader is empty.
    ///
    /// A run of PADDING is one frame. A payload without any frame is the caller's to refuse (attacks D18).
    ///
    /// # Errors
    /// PROTOCOL_VIOLATION for a type in a longer encoding than needed (attacks D17) and for a path id above 2^32-1;
    /// FRAME_ENCODING_ERROR for unknown types, truncated frames and values out of range.
    #[inline]
    pub fn decode(reader: &mut Reader<'a>) -> Result<Self, TransportError> {
        let start = *reader;
        let first = u64::from(reader.u8().map_err(|_| TransportError::encoding("no frame"))?);
        let decoded = match first {
            table::STREAM..=table::STREAM_LAST => Stream::read(reader, first).map(Self::Stream),
            table::ACK | table::ACK_ECN | table::PATH_ACK | table::PATH_ACK_ECN => {
                Ack::read(reader, first).map(Self::Ack)
            }
            table::PADDING => Ok(Self::Padding(Padding::read(reader, 1))),
            0x40.. => {
                *reader = start;
                return Self::decode_long_type(reader);
            }
            _ => Self::decode_short_type(reader, first),
        };
        decoded.map_err(|malformed| malformed.in_frame(first))
    }

    /// Frames whose type takes one byte, but for the frequent ones.
    fn decode_short_type(reader: &mut Reader<'a>, frame_type: u64) -> Result<Self, Malformed> {
        Ok(match frame_type {
            table::PING => Self::Ping,
            table::IMMEDIATE_ACK => Self::ImmediateAck,
            table::RESET_STREAM => Self::ResetStream(ResetStream::read(reader)?),
            table::STOP_SENDING => Self::StopSending(StopSending::read(reader)?),
            table::CRYPTO => Self::Crypto(Crypto::read(reader)?),
            table::NEW_TOKEN => Self::NewToken(NewToken::read(reader)?),
            table::MAX_DATA => Self::MaxData(MaxData::read(reader)?),
            table::MAX_STREAM_DATA => Self::MaxStreamData(MaxStreamData::read(reader)?),
            table::MAX_STREAMS_BIDI => Self::MaxStreams(MaxStreams::read(reader, Direction::Bidirectional)?),
            table::MAX_STREAMS_UNI => Self::MaxStreams(MaxStreams::read(reader, Direction::Unidirectional)?),
            table::DATA_BLOCKED => Self::DataBlocked(DataBlocked::read(reader)?),
            table::STREAM_DATA_BLOCKED => Self::StreamDataBlocked(StreamDataBlocked::read(reader)?),
            table::STREAMS_BLOCKED_BIDI => {
                Self::StreamsBlocked(StreamsBlocked::read(reader, Direction::Bidirectional)?)
            }
            table::STREAMS_BLOCKED_UNI => {
                Self::StreamsBlocked(StreamsBlocked::read(reader, Direction::Unidirectional)?)
            }
            table::NEW_CONNECTION_ID => Self::NewConnectionId(NewConnectionId::read(reader, None)?),
            table::RETIRE_CONNECTION_ID => Self::RetireConnectionId(RetireConnectionId::read(reader, None)?),
            table::PATH_CHALLENGE => Self::PathChallenge(PathChallenge::read(reader)?),
            table::PATH_RESPONSE => Self::PathResponse(PathResponse::read(reader)?),
            table::CONNECTION_CLOSE => Self::ConnectionClose(ConnectionClose::read_transport(reader)?),
            table::CONNECTION_CLOSE_APPLICATION => Self::ConnectionClose(ConnectionClose::read_application(reader)?),
            table::HANDSHAKE_DONE => Self::HandshakeDone,
            table::DATAGRAM | table::DATAGRAM_LEN => Self::Datagram(Datagram::read(reader, frame_type)?),
            _ => return Err(UNKNOWN),
        })
    }

    /// Frames whose type takes two bytes or more: those of the extensions.
    fn decode_long_type(reader: &mut Reader<'a>) -> Result<Self, TransportError> {
        let before = reader.remaining();
        let cut_short = |_| TransportError::encoding("the packet ends inside a frame type");
        let frame_type = reader.varint().map_err(cut_short)?;
        if before.saturating_sub(reader.remaining()) != varint::size(frame_type) {
            return Err(Malformed::Violation("the frame type is not in its shortest encoding").in_frame(frame_type));
        }
        Self::decode_extension(reader, frame_type).map_err(|malformed| malformed.in_frame(frame_type))
    }

    fn decode_extension(reader: &mut Reader<'a>, frame_type: u64) -> Result<Self, Malformed> {
        Ok(match frame_type {
            table::ACK_FREQUENCY => Self::AckFrequency(AckFrequency::read(reader)?),
            table::PATH_ABANDON => Self::PathAbandon(PathAbandon::read(reader)?),
            table::PATH_STATUS_BACKUP => Self::PathStatus(PathStatus::read(reader, PathStatusKind::Backup)?),
            table::PATH_STATUS_AVAILABLE => Self::PathStatus(PathStatus::read(reader, PathStatusKind::Available)?),
            table::PATH_NEW_CONNECTION_ID => {
                let path = path_id(reader)?;
                Self::NewConnectionId(NewConnectionId::read(reader, Some(path))?)
            }
            table::PATH_RETIRE_CONNECTION_ID => {
                let path = path_id(reader)?;
                Self::RetireConnectionId(RetireConnectionId::read(reader, Some(path))?)
            }
            table::MAX_PATH_ID => Self::MaxPathId(MaxPathId::read(reader)?),
            table::PATHS_BLOCKED => Self::PathsBlocked(PathsBlocked::read(reader)?),
            table::PATH_CIDS_BLOCKED => Self::PathCidsBlocked(PathCidsBlocked::read(reader)?),
            _ => return Err(UNKNOWN),
        })
    }

    /// The type code that [`Frame::write`] uses. A received frame may have had other flags (a STREAM without length).
    #[must_use]
    pub fn frame_type(&self) -> u64 {
        match self {
            Self::Padding(_) => table::PADDING,
            Self::Ping => table::PING,
            Self::Ack(frame) => frame.frame_type(),
            Self::ResetStream(_) => table::RESET_STREAM,
            Self::StopSending(_) => table::STOP_SENDING,
            Self::Crypto(_) => table::CRYPTO,
            Self::NewToken(_) => table::NEW_TOKEN,
            Self::Stream(frame) => frame.frame_type(),
            Self::MaxData(_) => table::MAX_DATA,
            Self::MaxStreamData(_) => table::MAX_STREAM_DATA,
            Self::MaxStreams(frame) => frame.frame_type(),
            Self::DataBlocked(_) => table::DATA_BLOCKED,
            Self::StreamDataBlocked(_) => table::STREAM_DATA_BLOCKED,
            Self::StreamsBlocked(frame) => frame.frame_type(),
            Self::NewConnectionId(frame) => frame.frame_type(),
            Self::RetireConnectionId(frame) => frame.frame_type(),
            Self::PathChallenge(_) => table::PATH_CHALLENGE,
            Self::PathResponse(_) => table::PATH_RESPONSE,
            Self::ConnectionClose(frame) => frame.frame_type(),
            Self::HandshakeDone => table::HANDSHAKE_DONE,
            Self::Datagram(_) => table::DATAGRAM_LEN,
            Self::PathAbandon(_) => table::PATH_ABANDON,
            Self::PathStatus(frame) => frame.frame_type(),
            Self::MaxPathId(_) => table::MAX_PATH_ID,
            Self::PathsBlocked(_) => table::PATHS_BLOCKED,
            Self::PathCidsBlocked(_) => table::PATH_CIDS_BLOCKED,
            Self::AckFrequency(_) => table::ACK_FREQUENCY,
            Self::ImmediateAck => table::IMMEDIATE_ACK,
        }
    }

    /// The name as the RFC spells it, such as `"CRYPTO"`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        table::name(self.frame_type())
    }

    /// A packet with this frame must be acknowledged (RFC 9000 §13.2).
    #[must_use]
    #[inline]
    pub const fn is_ack_eliciting(&self) -> bool {
        !matches!(self, Self::Padding(_) | Self::Ack(_) | Self::ConnectionClose(_))
    }

    /// The frame may probe a new network path (RFC 9000 §9.1); no multipath frame does (multipath MP-73).
    #[must_use]
    #[inline]
    pub const fn is_probing(&self) -> bool {
        match self {
            Self::Padding(_) | Self::PathChallenge(_) | Self::PathResponse(_) => true,
            Self::NewConnectionId(frame) => frame.path.is_none(),
            _ => false,
        }
    }

    /// Bytes [`Frame::write`] needs.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Self::Padding(frame) => frame.size(),
            Self::Ping | Self::HandshakeDone | Self::ImmediateAck => 1,
            Self::Ack(frame) => frame.size(),
            Self::ResetStream(frame) => frame.size(),
            Self::StopSending(frame) => frame.size(),
            Self::Crypto(frame) => frame.size(),
            Self::NewToken(frame) => frame.size(),
            Self::Stream(frame) => frame.size(),
            Self::MaxData(frame) => frame.size(),
            Self::MaxStreamData(frame) => frame.size(),
            Self::MaxStreams(frame) => frame.size(),
            Self::DataBlocked(frame) => frame.size(),
            Self::StreamDataBlocked(frame) => frame.size(),
            Self::StreamsBlocked(frame) => frame.size(),
            Self::NewConnectionId(frame) => frame.size(),
            Self::RetireConnectionId(frame) => frame.size(),
            Self::PathChallenge(frame) => frame.size(),
            Self::PathResponse(frame) => frame.size(),
            Self::ConnectionClose(frame) => frame.size(),
            Self::Datagram(frame) => frame.size(),
            Self::PathAbandon(frame) => frame.size(),
            Self::PathStatus(frame) => frame.size(),
            Self::MaxPathId(frame) => frame.size(),
            Self::PathsBlocked(frame) => frame.size(),
            Self::PathCidsBlocked(frame) => frame.size(),
            Self::AckFrequency(frame) => frame.size(),
        }
    }

    /// Writes the frame, every number in its shortest encoding, data with a length.
    pub fn write(&self, writer: &mut Writer<'_>) {
        match self {
            Self::Padding(frame) => frame.write(writer),
            Self::Ping => writer.varint(table::PING),
            Self::Ack(frame) => frame.write(writer),
            Self::ResetStream(frame) => frame.write(writer),
            Self::StopSending(frame) => frame.write(writer),
            Self::Crypto(frame) => frame.write(writer),
            Self::NewToken(frame) => frame.write(writer),
            Self::Stream(frame) => frame.write(writer),
            Self::MaxData(frame) => frame.write(writer),
            Self::MaxStreamData(frame) => frame.write(writer),
            Self::MaxStreams(frame) => frame.write(writer),
            Self::DataBlocked(frame) => frame.write(writer),
            Self::StreamDataBlocked(frame) => frame.write(writer),
            Self::StreamsBlocked(frame) => frame.write(writer),
            Self::NewConnectionId(frame) => frame.write(writer),
            Self::RetireConnectionId(frame) => frame.write(writer),
            Self::PathChallenge(frame) => frame.write(writer),
            Self::PathResponse(frame) => frame.write(writer),
            Self::ConnectionClose(frame) => frame.write(writer),
            Self::HandshakeDone => writer.varint(table::HANDSHAKE_DONE),
            Self::Datagram(frame) => frame.write(writer),
            Self::PathAbandon(frame) => frame.write(writer),
            Self::PathStatus(frame) => frame.write(writer),
            Self::MaxPathId(frame) => frame.write(writer),
            Self::PathsBlocked(frame) => frame.write(writer),
            Self::PathCidsBlocked(frame) => frame.write(writer),
            Self::AckFrequency(frame) => frame.write(writer),
            Self::ImmediateAck => writer.varint(table::IMMEDIATE_ACK),
        }
    }
}

/// A type nobody negotiated (RFC 9000 §12.4).
const UNKNOWN: Malformed = Malformed::Encoding("unknown frame type");

/// Reads a path id. Above 2^32-1 it is above any limit we can have announced (multipath MP-53, MP-71).
#[inline]
fn path_id(reader: &mut Reader<'_>) -> Result<PathId, Malformed> {
    PathId::from_wire(reader.varint()?).ok_or(Malformed::Violation("the path id is above 2^32-1"))
}

/// Reads a number of streams (attacks D9).
fn stream_count(reader: &mut Reader<'_>) -> Result<u64, Malformed> {
    let count = reader.varint()?;
    if count > MAX_STREAM_COUNT { Err(Malformed::Encoding("more than 2^60 streams")) } else { Ok(count) }
}

/// Data must end at or before 2^62-1 (RFC 9000 §19.6, §19.8; attacks D4).
#[inline]
const fn check_end(offset: u64, data: &[u8]) -> Result<(), Malformed> {
    // An offset is below 2^62 and a slice below 2^63: the sum cannot wrap.
    if offset.saturating_add(data.len() as u64) > varint::MAX {
        return Err(Malformed::Encoding("data reaches beyond 2^62-1"));
    }
    Ok(())
}

/// Bytes of the path id in a frame that has one.
fn path_size(path: Option<PathId>) -> usize {
    path.map_or(0, |path| varint::size(path.0.into()))
}

/// Writes the path id of a frame that has one.
fn write_path(writer: &mut Writer<'_>, path: Option<PathId>) {
    if let Some(path) = path {
        writer.varint(path.0.into());
    }
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
