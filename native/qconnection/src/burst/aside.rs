//! One segment between other addresses than its path's own: challenges and responses (RFC 9000 §8.2, §9.1).
//!
//! Called by the connection's path part. The packet has a number of its path, the connection id of that address, at least
//! 1200 bytes where the credit allows them, and nothing but probing frames.

use super::{
    plan::{Levels, Padding},
    segment::{self, Aside, Order},
    sources::Allow,
};
use crate::{connection::Connection, path::scheduler::Reason};
use qbase::{ConnectionId, Ecn, FourTuple, PathId, TransportError, Timestamp, limits};
use qevent::EndedBy;

/// Writes the segment, in at most `credit` bytes; returns its length, 0 if there was nothing to write.
///
/// # Errors
/// The packet cannot be sealed: the keys are used up.
pub(crate) fn write(
    connection: &mut Connection,
    now: Timestamp,
    path: PathId,
    (four_tuple, dcid): (FourTuple, ConnectionId),
    credit: u64,
    buffer: &mut [u8],
) -> Result<usize, TransportError> {
    let Some(network) = connection.network_mut(path) else { return Ok(0) };
    let mut pending = std::mem::take(&mut network.pending);
    pending.clear();
    (pending.at, pending.ecn, pending.aside) = (now, Ecn::NotEct, Some(four_tuple));
    (pending.reason, pending.ended_by) = (Reason::OtherAddress, EndedBy::ShortSegment);
    let window = usize::try_from(credit).map_or(limits::MIN_INITIAL, |credit| credit.min(limits::MIN_INITIAL)).min(buffer.len());
    let order = Order {
        now,
        path,
        levels: Levels { one_rtt: true, ..Levels::default() },
        padding: Padding::AtLeast(limits::MIN_INITIAL),
        goal: None,
        index: 0,
        allow: Allow { in_flight: false, probe: false, data: false, bundle: false, acks: false, control: false, mtu_probe: None },
        aside: Some(Aside { four_tuple, dcid }),
    };
    let written = segment::write(connection, &order, buffer.get_mut(..window).unwrap_or_default(), &mut pending);
    let len = written.as_ref().map_or(0, |segment| segment.len);
    (pending.len, pending.segment_size, pending.open) = (len, len, len > 0);
    if let Some(network) = connection.network_mut(path) {
        network.pending = pending;
    }
    written.map(|segment| segment.len)
}
