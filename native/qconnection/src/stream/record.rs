//! What the stream room wrote into a packet, to be told its fate (style §5).
//!
//! Called by the burst writer (keeps it with the packet) and handed back once the packet is acknowledged or lost. Never
//! holds bytes: ranges of streams stay in their send buffers.

use qbase::{Direction, StreamId};

/// One frame of the stream room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamRecord {
    /// STREAM: `len` bytes from `offset` on.
    Data {
        /// The stream.
        id: StreamId,
        /// Offset of the first byte.
        offset: u64,
        /// Bytes.
        len: u32,
        /// With FIN.
        fin: bool,
    },
    /// MAX_DATA.
    MaxData {
        /// The limit it gave.
        maximum: u64,
    },
    /// MAX_STREAM_DATA.
    MaxStreamData {
        /// The stream.
        id: StreamId,
        /// The limit it gave.
        maximum: u64,
    },
    /// MAX_STREAMS.
    MaxStreams {
        /// The kind of streams.
        direction: Direction,
        /// The limit it gave.
        maximum: u64,
    },
    /// RESET_STREAM.
    Reset(StreamId),
    /// STOP_SENDING.
    Stop(StreamId),
    /// DATA_BLOCKED.
    DataBlocked {
        /// The limit it named.
        limit: u64,
    },
    /// STREAM_DATA_BLOCKED.
    StreamDataBlocked {
        /// The stream.
        id: StreamId,
        /// The limit it named.
        limit: u64,
    },
    /// STREAMS_BLOCKED.
    StreamsBlocked {
        /// The kind of streams.
        direction: Direction,
        /// The limit it named.
        limit: u64,
    },
}

const _: () = assert!(size_of::<StreamRecord>() <= 32, "records are kept per frame of every packet in flight");
