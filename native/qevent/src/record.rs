//! What the events carry: bursts, silences, ACKs, paths, keys.
//!
//! Filled by `qconnection` only while somebody reads. Times are relative to nothing: the instant stands in
//! [`Record`](crate::Record). Never holds payload, keys or tokens.

use std::{borrow::Cow, ops::RangeInclusive, time::Duration};

use qbase::{Ecn, FourTuple, PacketNumber, PathId, SpaceId, Timestamp, frame::EcnCounts, packet::PacketType};

use crate::{Signals, TimerName};

/// One packet of a burst.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PacketRecord {
    /// Kind of the packet.
    pub kind: PacketType,
    /// Its packet number.
    pub number: PacketNumber,
    /// Its length with header and tag, bytes.
    pub bytes: u32,
    /// PADDING in it, bytes.
    pub padding_bytes: u32,
    /// It asks for an ACK.
    pub ack_eliciting: bool,
    /// It counts in flight.
    pub in_flight: bool,
    /// Names of its frames in order, e.g. `CRYPTO`; a run of PADDING counts as one.
    pub frames: Vec<&'static str>,
}

impl PacketRecord {
    /// The kind as the public interface names it.
    #[must_use]
    pub const fn type_name(&self) -> &'static str {
        match self.kind {
            PacketType::Initial => "initial",
            PacketType::ZeroRtt => "0rtt",
            PacketType::Handshake => "handshake",
            PacketType::OneRtt => "1rtt",
            PacketType::Retry => "retry",
            PacketType::VersionNegotiation => "version-negotiation",
        }
    }
}

/// One datagram of a burst.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentRecord {
    /// UDP payload, bytes, forward header included.
    pub bytes: u32,
    /// Forward header in front of it, bytes; 0 on direct paths.
    pub forward_header_bytes: u32,
    /// Its packets in order.
    pub packets: Vec<PacketRecord>,
}

/// Why a burst has no further segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndedBy {
    /// Segments or bytes of one send call are used up.
    Full,
    /// A segment was shorter than the first (burst B-14).
    ShortSegment,
    /// Nothing more could be loaded, for these reasons.
    Signals(Signals),
}

impl EndedBy {
    /// The words of the public interface: `full`, `short-segment` or the first signal.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::ShortSegment => "short-segment",
            Self::Signals(signals) => signals.names().next().unwrap_or("full"),
        }
    }
}

/// A burst that was handed to the socket (burst B-3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BurstRecord {
    /// The path it left on; `None` before there is one.
    pub path: Option<PathId>,
    /// Our address and the peer's.
    pub four_tuple: FourTuple,
    /// Length of every segment but the last, bytes.
    pub segment_bytes: u32,
    /// Its segments, those the socket did not take included.
    pub segments: Vec<SegmentRecord>,
    /// Length of all segments, bytes.
    pub bytes: u32,
    /// Mark of every segment.
    pub ecn: Ecn,
    /// Segments the socket took (burst B-7).
    pub submitted: u16,
    /// The scheduler's words.
    pub reason: Cow<'static, str>,
    /// Why it ended.
    pub ended_by: EndedBy,
}

/// A path that had nothing it could send (burst B-5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockedRecord {
    /// The path; `None` before there is one.
    pub path: Option<PathId>,
    /// What it waits for; never empty (burst B-70).
    pub signals: Signals,
    /// When time alone helps; `None` if it does not.
    pub wake_at: Option<Timestamp>,
    /// The timer that fires then.
    pub timer: Option<TimerName>,
}

/// An ACK of the peer that was processed.
#[derive(Clone, Debug, PartialEq)]
pub struct AckRecord {
    /// The space it acknowledges.
    pub space: SpaceId,
    /// Its ranges, highest first.
    pub ranges: Vec<RangeInclusive<PacketNumber>>,
    /// Its decoded delay.
    pub ack_delay: Duration,
    /// The path it arrived on.
    pub via: PathId,
    /// Packets it newly acknowledged.
    pub newly_acknowledged: u64,
    /// Packets declared lost because of it.
    pub lost: Vec<PacketNumber>,
    /// The RTT sample it gave, if any.
    pub rtt: Option<Duration>,
    /// ECN counts, if it has them.
    pub ecn: Option<EcnCounts>,
}

/// Who brought something about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Initiator {
    /// Our application or our machine.
    Local,
    /// The peer.
    Peer,
    /// A timer.
    Timer,
}

impl Initiator {
    /// The word of the public interface.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Peer => "peer",
            Self::Timer => "timer",
        }
    }
}

/// Where a path came to (multipath MP-86).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathStage {
    /// It is in use, or about to be.
    Opening,
    /// Its address is being validated.
    Validating,
    /// Data may flow.
    Validated,
    /// Silent for a probe timeout (multipath MP-83).
    Suspect,
    /// It answered again.
    Recovered,
    /// Its 4-tuple changed.
    Rebound,
    /// PATH_ABANDON was sent or received.
    Abandoning,
    /// It is forgotten.
    Abandoned,
}

impl PathStage {
    /// The word of the public interface.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Opening => "opening",
            Self::Validating => "validating",
            Self::Validated => "validated",
            Self::Suspect => "suspect",
            Self::Recovered => "recovered",
            Self::Rebound => "rebound",
            Self::Abandoning => "abandoning",
            Self::Abandoned => "abandoned",
        }
    }
}

/// A path changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathRecord {
    /// The path.
    pub path: PathId,
    /// Where it came to.
    pub stage: PathStage,
    /// Who brought it there.
    pub by: Initiator,
    /// In words: which code, which timer.
    pub reason: &'static str,
}

/// What recovery knows about a path (RFC 9002 names).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathMetricsRecord {
    /// The path.
    pub path: PathId,
    /// Newest sample.
    pub latest_rtt: Duration,
    /// Moving average.
    pub smoothed_rtt: Duration,
    /// Mean deviation.
    pub rttvar: Duration,
    /// Least sample.
    pub min_rtt: Duration,
    /// Probe timeouts in a row.
    pub pto_count: u32,
    /// Bytes that may be in flight.
    pub congestion_window: u64,
    /// Slow-start threshold, bytes; `u64::MAX` while there is none.
    pub ssthresh: u64,
    /// Bytes that are.
    pub bytes_in_flight: u64,
}

/// Keys of 1-RTT packets changed (RFC 9001 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyUpdateRecord {
    /// Who began it.
    pub by: Initiator,
    /// Updates so far, this one included.
    pub generation: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn end_of_a_burst_has_one_word() {
        assert_eq!(EndedBy::Full.name(), "full");
        assert_eq!(EndedBy::ShortSegment.name(), "short-segment");
        assert_eq!(EndedBy::Signals(Signals::WRITTEN | Signals::CREDIT).name(), "WRITTEN");
    }

    #[test]
    fn packet_kinds_have_the_public_names() {
        let names = [PacketType::Initial, PacketType::ZeroRtt, PacketType::Handshake, PacketType::OneRtt].map(|kind| {
            let packet =
                PacketRecord { kind, number: 0, bytes: 0, padding_bytes: 0, ack_eliciting: false, in_flight: false, frames: Vec::new() };
            packet.type_name()
        });
        assert_eq!(names, ["initial", "0rtt", "handshake", "1rtt"]);
    }
}
