//! The packet burst assembler: plan, write, book (burst sections 2 to 5, 10, 15).
//!
//! ```text
//!  limits -> plan (pure) -> Blocked(signals)
//!                 \-> write: segment = Initial + Handshake + 1-RTT, pad the last, seal all -> pending -> on_submitted / cancel
//! ```
//! Called by `connection/output`. Never touches a socket and never decides which path sends.

pub(crate) mod acknowledge;
pub(crate) mod aside;
pub mod limits;
pub(crate) mod packet;
pub mod pad;
pub mod plan;
pub(crate) mod probe;
pub mod record;
pub mod segment;
pub mod sources;
pub mod write;

pub use plan::{Plan, Planned, Situation, plan};
pub use record::SentFrame;

use crate::handle::ConnectionHandle;
use qbase::{Ecn, FourTuple, PathId};

/// One GSO send: `segments` datagrams to one four-tuple, all of `segment_size` bytes but the last, which may be shorter
/// (burst B-3, B-4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Burst {
    /// The connection that must hear of the outcome; `None` for answers without state (Version Negotiation).
    pub connection: Option<ConnectionHandle>,
    /// The path it leaves on.
    pub path: PathId,
    /// Where it goes.
    pub four_tuple: FourTuple,
    /// Mark of every datagram.
    pub ecn: Ecn,
    /// Time to live (hop limit) of these datagrams only; `None`: the socket's own (traversal T-89).
    pub hop_limit: Option<u8>,
    /// Bytes in the buffer.
    pub len: usize,
    /// Bytes of every segment but the last.
    pub segment_size: usize,
    /// Datagrams.
    pub segments: usize,
}

/// What the driver's sockets can take in one call (burst B-2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendLimits {
    /// Segments per burst, 1 without GSO.
    pub max_segments: usize,
}

impl Default for SendLimits {
    fn default() -> Self {
        Self { max_segments: qbase::limits::MAX_SEGMENTS }
    }
}
