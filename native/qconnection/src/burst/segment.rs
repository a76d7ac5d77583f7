//! One segment: open the packets, pad the last, seal all (burst section 4, B-50, B-51, B-80…B-88).
//!
//! Called by the burst writer for each segment. Packets are opened before any is sealed, because only then it is known
//! which one is last and takes the padding.

use super::{
    packet::{Head, Label, Protection, Purpose},
    pad,
    plan::{Levels, Padding},
    record::{PendingBurst, PendingPacket, Weight},
    sources::{Allow, Frames},
};
use crate::connection::{Connection, qlog::Plain};
use qbase::{
    ConnectionId, EncryptionLevel, FourTuple, PacketNumber, PathId, TransportError, Timestamp, Writer,
    limits::{MIN_SAMPLE, TAG_LEN},
};
use rand_core::RngCore;

/// Packets of one segment at most: Initial, 0-RTT, Handshake, 1-RTT.
const MAX_PACKETS: usize = 4;

/// A packet whose frames are written and whose protection is not.
#[derive(Clone, Copy, Debug)]
struct OpenPacket {
    head: Head,
    /// Where it starts in the segment.
    start: usize,
    /// Where its frames end, from `start`.
    frames_end: usize,
    weight: Weight,
    /// Where its frames start in the burst's list.
    first_frame: usize,
    frames: usize,
    padding: usize,
    /// The fixed bit is 0 (RFC 9287 §3.1).
    clear_fixed: bool,
}

/// What one segment became.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Segment {
    /// Its length; 0: nothing was written.
    pub(super) len: usize,
    /// Bytes of it that count in flight.
    pub(super) in_flight: usize,
    /// Ack-eliciting packets in it.
    pub(super) eliciting: u8,
}

/// How one segment is to be written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Order {
    pub(super) now: Timestamp,
    pub(super) path: PathId,
    pub(super) levels: Levels,
    pub(super) padding: Padding,
    /// Length later segments must have, or that this first one should reach (burst B-54).
    pub(super) goal: Option<usize>,
    /// Position in the burst.
    pub(super) index: u16,
    pub(super) allow: Allow,
    /// It goes elsewhere than its path.
    pub(super) aside: Option<Aside>,
}

/// Where a segment goes that does not go where its path is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Aside {
    pub(super) four_tuple: FourTuple,
    pub(super) dcid: ConnectionId,
}

/// Writes one segment into `window`.
pub(super) fn write(connection: &mut Connection, order: &Order, window: &mut [u8], pending: &mut PendingBurst) -> Result<Segment, TransportError> {
    let mut packets: [Option<OpenPacket>; MAX_PACKETS] = [None; MAX_PACKETS];
    let mut count = 0;
    let mut at = 0;
    for level in order.levels.iter() {
        let Some(rest) = window.get_mut(at..) else { break };
        if let Some(mut packet) = open(connection, order, level, rest, pending) {
            packet.start = at;
            at = at.saturating_add(packet.frames_end).saturating_add(TAG_LEN);
            if let Some(slot) = packets.get_mut(count) {
                *slot = Some(packet);
            }
            count = count.saturating_add(1);
        }
    }
    let full = window.len();
    // Of a burst that begins with an Initial packet, segments without one are not filled (burst B-54); a path MTU probe
    // proves only the size it has (burst B-56).
    let initial = packets.iter().flatten().any(|packet| packet.head.level == EncryptionLevel::Initial);
    let fills = initial || order.allow.mtu_probe.is_some();
    if let Some(Some(last)) = packets.get_mut(count.wrapping_sub(1)) {
        let fills = fills && order.padding == Padding::Full;
        let padding = if holds_path_frame(pending, last) || fills { order.padding } else { Padding::Sample };
        let bytes = pad_limit(connection, order, padding, pad::bytes(padding, at, full, order.goal));
        let end = last.start.saturating_add(last.frames_end);
        if let Some(space) = window.get_mut(end..end.saturating_add(bytes)) {
            space.fill(0);
            last.frames_end = last.frames_end.saturating_add(bytes);
            last.padding = last.padding.saturating_add(bytes);
            last.weight.in_flight |= bytes > 0 && order.aside.is_none();
            at = at.saturating_add(bytes);
        }
    }
    let mut segment = Segment { len: at, ..Segment::default() };
    for packet in packets.into_iter().flatten() {
        if connection.is_logged() {
            log(connection, order, &packet, window);
        }
        let size = seal(connection, &packet, window)?;
        connection.note_acks_sent(pending, packet.first_frame, packet.frames);
        segment.in_flight = segment.in_flight.saturating_add(if packet.weight.in_flight { size } else { 0 });
        segment.eliciting = segment.eliciting.saturating_add(u8::from(packet.weight.ack_eliciting));
        pending.packets.push(PendingPacket {
            space: packet.head.level.space(order.path),
            level: packet.head.level,
            number: packet.head.number,
            size: size as u16,
            segment: order.index,
            padding: packet.padding as u16,
            weight: packet.weight,
            frames: packet.frames as u16,
        });
    }
    if connection.is_logged() {
        connection.log_segment(order.path, window.get(..at).unwrap_or_default());
    }
    Ok(segment)
}

/// The log reads a packet while it can be read.
fn log(connection: &mut Connection, order: &Order, packet: &OpenPacket, window: &[u8]) {
    let end = packet.start.saturating_add(packet.frames_end);
    connection.log_written(&Plain {
        path: order.path,
        segment: order.index,
        level: packet.head.level,
        number: packet.head.number,
        bytes: window.get(packet.start..end).unwrap_or_default(),
        header_len: packet.head.len(),
    });
}

/// A server's Initial that only acknowledges need not be padded when the credit is short (RFC 9000 §14.1, burst B-50).
fn pad_limit(connection: &Connection, order: &Order, padding: Padding, bytes: usize) -> usize {
    let ack_only = padding == Padding::Full && !order.allow.in_flight && !connection.role.is_client();
    if ack_only { 0 } else { bytes }
}

/// The packet carries PATH_CHALLENGE or PATH_RESPONSE.
fn holds_path_frame(pending: &PendingBurst, packet: &OpenPacket) -> bool {
    use super::SentFrame::{PathChallenge, PathResponse};
    pending.frames.iter().rev().take(packet.frames).any(|frame| matches!(frame, PathChallenge | PathResponse))
}

/// Opens a packet: header and frames. `None` if no source had anything: no number is consumed (burst B-23).
fn open(connection: &mut Connection, order: &Order, level: EncryptionLevel, room: &mut [u8], pending: &mut PendingBurst) -> Option<OpenPacket> {
    if room.len() < MIN_SAMPLE * 2 {
        return None;
    }
    let (dcid, scid) = match order.aside {
        Some(aside) => (aside.dcid, ConnectionId::EMPTY),
        None => connection.header_cids(level, order.path)?,
    };
    let Numbered { number, number_len, coin } = take_number(connection, level, order.path)?;
    let end = room.len().saturating_sub(TAG_LEN);
    let mut writer = Writer::new(room.get_mut(..end)?);
    let spin = if level == EncryptionLevel::OneRtt { connection.spin(order.path) } else { Default::default() };
    let head = Head::write(connection, &Label { level, path: order.path, dcid, scid, number, number_len, spin }, &mut writer);
    let frames_before = pending.frames.len();
    let mut frames = Frames { writer: &mut writer, list: &mut pending.frames, weight: Weight::default() };
    match order.aside {
        Some(aside) => connection.write_aside(order.now, order.path, aside.four_tuple, &mut frames),
        None => connection.write_frames(order.now, level, order.path, order.allow, &mut frames),
    }
    let weight = frames.weight;
    let written = writer.len().saturating_sub(head.len());
    if written == 0 {
        connection.give_number_back(level, order.path, number);
        return None;
    }
    let padding = pad::sample(number_len, written);
    writer.zeros(padding);
    Some(OpenPacket {
        head,
        start: 0,
        frames_end: writer.len(),
        weight,
        first_frame: frames_before,
        frames: pending.frames.len().saturating_sub(frames_before),
        padding,
        clear_fixed: coin && connection.clears_fixed_bit(),
    })
}

/// The number of a packet, the bytes it is sent with, and a bit of luck.
struct Numbered {
    number: PacketNumber,
    number_len: usize,
    coin: bool,
}

/// Takes the next number of a space and the bytes it is sent with (RFC 9000 §17.1; burst B-87).
fn take_number(connection: &mut Connection, level: EncryptionLevel, path: PathId) -> Option<Numbered> {
    // The distance grows with the connection, as attacks C2 asks: first within 256, then at packet-count scale.
    let luck = connection.random.next_u32();
    let distance = 64 + u64::from(luck >> 20);
    let (number, number_len) = connection.take_number(level, path, distance)?;
    Some(Numbered { number, number_len, coin: luck & 1 == 1 })
}

/// Protects a packet in place; returns its size.
fn seal(connection: &mut Connection, open: &OpenPacket, window: &mut [u8]) -> Result<usize, TransportError> {
    let size = open.frames_end.saturating_add(TAG_LEN);
    let bytes = window.get_mut(open.start..open.start.saturating_add(size));
    let bytes = bytes.ok_or_else(|| TransportError::internal("a packet left its segment"))?;
    open.head.protect(connection, Protection { purpose: Purpose::Any, clear_fixed: open.clear_fixed }, bytes)?;
    Ok(size)
}
