//! What a sent packet carried, remembered until its fate is known (RFC 9002 §2, RFC 9000 §13.3).
//!
//! Called by the burst writer (books), the acknowledgement and loss handling (settles). Never holds payload bytes.

use crate::{path::scheduler::Reason, stream::StreamRecord};
use qevent::EndedBy;
use qbase::{Ecn, EncryptionLevel, FourTuple, PacketNumber, PathId, SpaceId, Timestamp};

/// One frame of a sent packet, as far as its fate matters to somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SentFrame {
    /// A frame of the stream room: data, limits, resets.
    Stream(StreamRecord),
    /// Handshake bytes of a level.
    Crypto {
        /// Level of the CRYPTO stream.
        level: EncryptionLevel,
        /// First byte.
        offset: u64,
        /// Bytes.
        len: u32,
    },
    /// An acknowledgement of `space` up to `largest`: once it is acknowledged, older ranges need no repeat.
    Ack {
        /// The space it acknowledged.
        space: SpaceId,
        /// Largest number in it.
        largest: PacketNumber,
        /// How far below that its smallest number lies.
        span: u32,
        /// Packets of the space that had come by then, modulo 2^32; counted where all paths share one space.
        arrivals: u32,
    },
    /// DATAGRAM; never repeated (RFC 9221 §5).
    Datagram {
        /// The message's id.
        id: u64,
        /// The path that carries it.
        path: PathId,
    },
    /// PING whose answer the application waits for.
    Echo {
        /// The path it measures.
        path: PathId,
        /// When it was written.
        sent_at: Timestamp,
    },
    /// PING.
    Ping,
    /// IMMEDIATE_ACK; never repeated.
    ImmediateAck,
    /// ACK_FREQUENCY.
    AckFrequency {
        /// Its sequence number: only the newest is repeated.
        sequence: u64,
    },
    /// HANDSHAKE_DONE.
    HandshakeDone,
    /// NEW_TOKEN.
    NewToken {
        /// Which one.
        serial: u32,
    },
    /// (PATH_)NEW_CONNECTION_ID.
    NewCid {
        /// Path id it belongs to.
        path: PathId,
        /// Sequence number of the id.
        sequence: u64,
    },
    /// (PATH_)RETIRE_CONNECTION_ID.
    RetireCid {
        /// Path id it belongs to.
        path: PathId,
        /// Sequence number of the id.
        sequence: u64,
    },
    /// PING of a path MTU probe (burst B-56).
    MtuProbe {
        /// The path it probes.
        path: PathId,
        /// Its name in the search.
        id: u32,
    },
    /// PATH_CHALLENGE; its own timer repeats it, not loss.
    PathChallenge,
    /// PATH_RESPONSE; never repeated (RFC 9000 §8.2.2).
    PathResponse,
    /// PATH_ABANDON.
    PathAbandon(PathId),
    /// PATH_STATUS_AVAILABLE or PATH_STATUS_BACKUP.
    PathStatus {
        /// The path it speaks of.
        path: PathId,
        /// Its sequence number: only the newest is repeated (multipath MP-60).
        sequence: u64,
    },
    /// A reliable frame about NATs.
    Traversal {
        /// Its serial number, which is not on the wire.
        serial: u32,
        /// Its name.
        name: &'static str,
    },
    /// OBSERVED_ADDRESS; repeated on its path alone.
    Observed {
        /// The path it is about.
        path: PathId,
        /// Its sequence number: only the newest of the path is repeated.
        seq: u64,
    },
    /// MAX_PATH_ID.
    MaxPathId,
    /// PATHS_BLOCKED.
    PathsBlocked,
    /// PATH_CIDS_BLOCKED.
    PathCidsBlocked(PathId),
}

/// Whether a packet asks for an acknowledgement and counts in flight (RFC 9002 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Weight {
    /// Holds a frame other than ACK, PADDING and CONNECTION_CLOSE.
    pub ack_eliciting: bool,
    /// Ack-eliciting, or padded (burst B-55).
    pub in_flight: bool,
}

/// A packet that was written but not yet taken by a socket (burst B-7).
#[derive(Clone, Copy, Debug)]
pub struct PendingPacket {
    /// Space of its number.
    pub space: SpaceId,
    /// What protects it.
    pub level: EncryptionLevel,
    /// Its number.
    pub number: PacketNumber,
    /// Size on the wire, bytes.
    pub size: u16,
    /// Segment of the burst it lies in, from 0.
    pub segment: u16,
    /// PADDING in it, bytes.
    pub padding: u16,
    /// How it counts.
    pub weight: Weight,
    /// Frames it carries: so many follow in the burst's frame list.
    pub frames: u16,
}

/// A written burst that waits for its socket.
#[derive(Debug)]
pub struct PendingBurst {
    /// Packets in order.
    pub packets: Vec<PendingPacket>,
    /// Frames of all packets in order.
    pub frames: Vec<SentFrame>,
    /// Bytes of each segment but the last.
    pub segment_size: usize,
    /// Bytes of the whole burst.
    pub len: usize,
    /// When it was written.
    pub at: Timestamp,
    /// Mark of all its datagrams (burst B-57).
    pub ecn: Ecn,
    /// It is a path MTU probe: its loss is no congestion.
    pub mtu_probe: bool,
    /// It goes between these addresses of its path, which are not the path's own: it counts for nothing else.
    pub aside: Option<FourTuple>,
    /// It waits for `on_submitted`.
    pub open: bool,
    /// The scheduler's words.
    pub reason: Reason,
    /// Why it has no further segment.
    pub ended_by: EndedBy,
}

impl Default for PendingBurst {
    fn default() -> Self {
        Self {
            packets: Vec::new(),
            frames: Vec::new(),
            segment_size: 0,
            len: 0,
            at: Timestamp::ZERO,
            ecn: Ecn::NotEct,
            mtu_probe: false,
            aside: None,
            open: false,
            reason: Reason::OwnFrames,
            ended_by: EndedBy::Full,
        }
    }
}

impl PendingBurst {
    /// Empties the record for the next burst; keeps its memory.
    pub fn clear(&mut self) {
        self.packets.clear();
        self.frames.clear();
        self.len = 0;
        self.segment_size = 0;
        self.mtu_probe = false;
        self.aside = None;
        self.open = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One is kept for every frame in flight.
    #[test]
    fn the_record_of_a_frame_stays_small() {
        assert!(size_of::<SentFrame>() <= 32, "{} bytes", size_of::<SentFrame>());
    }
}
