//! One packet with one frame that goes anywhere: the probes of traversal (traversal T-85; attacks G7).
//!
//! Called by the connection's traversal part. The packet has a number of a path and is sealed with the present key, and that is all
//! it has to do with the path: it is in no record and no window, so that its loss is nobody's news.

use super::packet::{Head, Label, Protection, Purpose};
use crate::{
    burst::pad,
    connection::{Connection, qlog::Plain},
    path::scheduler::Reason,
};
use qbase::{ConnectionId, Ecn, EncryptionLevel, FourTuple, PathId, TransportError, Timestamp, Writer, limits::TAG_LEN, packet::short::Spin};
use qevent::EndedBy;
use rand_core::RngCore;

/// Writes the packet; returns its length, 0 if there are no numbers or no room. It waits for its socket like any burst of `path`.
///
/// # Errors
/// The packet cannot be sealed: the keys are used up.
pub(crate) fn write(
    connection: &mut Connection,
    now: Timestamp,
    path: PathId,
    (four_tuple, dcid): (FourTuple, ConnectionId),
    frame: &[u8],
    buffer: &mut [u8],
) -> Result<usize, TransportError> {
    let level = EncryptionLevel::OneRtt;
    let distance = 64 + u64::from(connection.random.next_u32() >> 20);
    let Some((number, number_len)) = connection.take_number(level, path, distance) else { return Ok(0) };
    let mut writer = Writer::new(buffer);
    let label = Label { level, path, dcid, scid: ConnectionId::EMPTY, number, number_len, spin: Spin::default() };
    let head = Head::write(connection, &label, &mut writer);
    writer.bytes(frame);
    writer.zeros(pad::sample(number_len, frame.len()));
    let (end, overflowed) = (writer.len(), writer.overflowed());
    let size = end.saturating_add(TAG_LEN);
    let Some(packet) = buffer.get_mut(..size).filter(|_| !overflowed) else {
        connection.give_number_back(level, path, number);
        return Ok(0);
    };
    if connection.is_logged() {
        connection.log_burst(path);
        connection.log_written(&Plain { path, segment: 0, level, number, bytes: packet.get(..end).unwrap_or_default(), header_len: head.len() });
    }
    head.protect(connection, Protection { purpose: Purpose::Any, clear_fixed: false }, packet)?;
    if connection.is_logged() {
        connection.log_segment(path, packet);
    }
    if let Some(space) = connection.space_mut(level, path) {
        space.sent.pass(number);
    }
    if let Some(network) = connection.network_mut(path) {
        let pending = &mut network.pending;
        pending.clear();
        (pending.at, pending.ecn, pending.aside) = (now, Ecn::NotEct, Some(four_tuple));
        (pending.len, pending.segment_size, pending.open) = (size, size, true);
        (pending.reason, pending.ended_by) = (Reason::OtherAddress, EndedBy::ShortSegment);
    }
    Ok(size)
}
