//! The end: closing, draining, CONNECTION_CLOSE on every path (RFC 9000 §10, burst section 11).
//!
//! ```text
//!  Handshaking -> Open --our error / close()--> Closing --3 PTO--> Drained
//!        \___________\----peer's close, reset-----> Draining --3 PTO--> Drained
//!         \___________\---timeout-----------------------------------> Drained
//! ```
//! Called by the dispatch, the timers and the application. After the end only a count of packets is kept (attacks D21).

use super::{
    Connection,
    events::{CloseInfo, ClosedBy, EndpointAction, Event, Layer},
    input::Opened,
    qlog::Plain,
};
use crate::burst::{Burst, packet::{Head, Label, Protection, Purpose}};
use qbase::{
    Ecn, EncryptionLevel, ErrorCode, PathId, Reader, TransportError, Timestamp, Writer,
    frame::{self, CloseKind, ConnectionClose, Frame},
    limits::{MIN_INITIAL, MIN_SAMPLE, TAG_LEN},
    packet::short,
};
use qrecovery::buffer::pool::BufferPool;
use std::{borrow::Cow, collections::VecDeque};

/// Longest reason phrase we send or keep, bytes.
const MAX_REASON: usize = 1_024;
/// Longest acknowledgements beside a CONNECTION_CLOSE, bytes.
const LAST_ACKS: usize = 256;

/// Where the connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The handshake is not complete.
    Handshaking,
    /// Streams may be used.
    Open,
    /// We closed: packets are answered with CONNECTION_CLOSE, ever more rarely.
    Closing,
    /// The peer closed: nothing is sent.
    Draining,
    /// The handle is dead.
    Drained,
}

impl State {
    /// The name in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Handshaking => "handshaking",
            Self::Open => "open",
            Self::Closing => "closing",
            Self::Draining => "draining",
            Self::Drained => "closed",
        }
    }
}

/// An end without a CONNECTION_CLOSE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CloseCause {
    IdleTimeout,
    HandshakeTimeout,
    /// A stateless reset: the peer sends and reads nothing of this connection any more.
    Reset,
    /// No version in common.
    Version,
    /// Nobody listens at any address that was dialled.
    Refused,
    /// A space has no packet number left (RFC 9000 §12.3).
    Numbers,
}

/// The CONNECTION_CLOSE to send, and when to repeat it.
#[derive(Clone, Debug)]
pub(crate) struct Closing {
    layer: Layer,
    code: u64,
    frame_type: Option<u64>,
    reason: Cow<'static, [u8]>,
    /// Paths that still owe their first CONNECTION_CLOSE.
    owed: Vec<PathId>,
    /// Packets received since the close; the frame is repeated at 1, 2, 4, 8, … (burst B-91).
    packets: u64,
}

impl Connection {
    /// A rule was broken or we cannot go on: closes with this error.
    pub(crate) fn fail(&mut self, now: Timestamp, error: TransportError) {
        let reason = match error.reason {
            Cow::Borrowed(reason) => Cow::Borrowed(reason.as_bytes()),
            Cow::Owned(reason) => Cow::Owned(reason.into_bytes()),
        };
        self.start_closing(now, Layer::Transport, error.code.0, error.frame_type, reason);
    }

    /// The application closes the connection with its own code (RFC 9000 §10.2).
    pub fn close(&mut self, now: Timestamp, code: u64, reason: &[u8]) {
        let reason = reason.get(..reason.len().min(MAX_REASON)).unwrap_or_default();
        self.hung_up = true;
        self.start_closing(now, Layer::Application, code.min(qbase::varint::MAX), None, Cow::Owned(reason.to_vec()));
    }

    fn start_closing(&mut self, now: Timestamp, layer: Layer, code: u64, frame_type: Option<u64>, reason: Cow<'static, [u8]>) {
        if !matches!(self.state, State::Handshaking | State::Open) {
            return;
        }
        let owed = self.paths.iter().filter(|entry| entry.is_live()).map(|entry| entry.id).collect();
        let text = String::from_utf8_lossy(&reason).into_owned();
        self.closing = Some(Box::new(Closing { layer, code, frame_type, reason, owed, packets: 0 }));
        self.state = State::Closing;
        self.timers.close_deadline = Some(now + self.largest_pto().saturating_mul(3));
        self.end(CloseInfo { by: ClosedBy::Local, layer, code, frame_type, reason: text });
    }

    /// The peer closed (RFC 9000 §10.2.2).
    pub(super) fn on_connection_close(&mut self, now: Timestamp, close: &ConnectionClose<'_>) {
        if matches!(self.state, State::Draining | State::Drained) {
            return;
        }
        let was_closing = self.state == State::Closing;
        self.state = State::Draining;
        self.timers.close_deadline = Some(now + self.largest_pto().saturating_mul(3));
        if was_closing {
            return;
        }
        let (layer, frame_type) = match close.kind {
            CloseKind::Transport { frame_type } => (Layer::Transport, Some(frame_type)),
            CloseKind::Application => (Layer::Application, None),
        };
        let reason = close.reason.get(..close.reason.len().min(MAX_REASON)).unwrap_or_default();
        let reason = String::from_utf8_lossy(reason).into_owned();
        self.end(CloseInfo { by: ClosedBy::Peer, layer, code: close.code, frame_type, reason });
    }

    /// Ends without a word on the wire.
    pub(crate) fn close_silently(&mut self, now: Timestamp, cause: CloseCause) {
        let (by, reason) = match cause {
            CloseCause::IdleTimeout => (ClosedBy::IdleTimeout, "nothing was received for the idle timeout"),
            CloseCause::HandshakeTimeout => (ClosedBy::HandshakeTimeout, "the handshake was not complete in time"),
            CloseCause::Reset => (ClosedBy::Reset, "the peer has lost the connection"),
            CloseCause::Version => (ClosedBy::Version, "the server speaks no version that is offered"),
            CloseCause::Refused => (ClosedBy::Unreachable, "nobody listens there"),
            CloseCause::Numbers => (ClosedBy::Local, "the packet numbers are used up"),
        };
        if matches!(self.state, State::Handshaking | State::Open) {
            self.end(CloseInfo { by, layer: Layer::Transport, code: 0, frame_type: None, reason: reason.to_owned() });
        }
        if cause == CloseCause::Reset {
            // What is on its way still arrives, and must not be answered (RFC 9000 §10.3.1).
            self.state = State::Draining;
            self.timers.close_deadline = Some(now + self.largest_pto().saturating_mul(3));
        } else {
            self.drain_out();
        }
    }

    /// Tells the application once that it is over.
    fn end(&mut self, info: CloseInfo) {
        self.opens.clear();
        self.waiting.clear();
        self.log_end(&info);
        self.events.push_back(Event::Closed(Box::new(info)));
    }

    /// The last step: all connection ids go and the handle dies.
    pub(super) fn drain_out(&mut self) {
        if self.state == State::Drained {
            return;
        }
        self.state = State::Drained;
        let Self { paths, actions, .. } = self;
        for entry in paths.iter() {
            actions.extend(entry.local_cids.iter_active().map(EndpointAction::Unroute));
        }
        self.streams.close_all(&mut self.returned);
        self.datagrams.close();
        self.events.push_back(Event::Drained);
    }

    /// A packet came after the end and the application knows of it: only what answers the peer is kept (attacks D21).
    pub(super) fn shed(&mut self, pool: &mut BufferPool) {
        self.end_known = false;
        self.streams.close_all(pool);
        self.datagrams.close();
        self.waiting = VecDeque::new();
        for entry in self.paths.iter_mut() {
            if let Some(network) = entry.network.as_deref_mut() {
                network.space.sent.drain_all(|_, _| {});
                network.duplicates = crate::path::duplicates::Duplicates::default();
            }
        }
    }

    /// A packet came while closing: only the peer's own close matters, and sometimes ours is repeated.
    pub(super) fn on_packet_while_closing(&mut self, opened: &Opened, payload: &[u8]) -> Result<(), TransportError> {
        let mut reader = Reader::new(payload);
        while !reader.is_empty() {
            let Ok(frame) = Frame::decode(&mut reader) else { break };
            if let Frame::ConnectionClose(close) = frame {
                self.on_connection_close(opened.arrival.now, &close);
                return Ok(());
            }
        }
        if let Some(closing) = &mut self.closing {
            closing.packets = closing.packets.saturating_add(1);
            if closing.packets.is_power_of_two() && !closing.owed.contains(&opened.path) {
                closing.owed.push(opened.path);
            }
        }
        Ok(())
    }

    /// One segment with CONNECTION_CLOSE for a path that owes it (burst B-90, B-92).
    pub(super) fn poll_close(&mut self, now: Timestamp, buffer: &mut [u8]) -> Option<Burst> {
        let closing = self.closing.as_mut()?;
        let path = closing.owed.pop()?;
        let closing = closing.clone();
        let network = self.network(path)?;
        let (four_tuple, mtu) = (network.four_tuple, usize::from(network.datagram()));
        let window = usize::try_from(network.amplification.credit()).map_or(mtu, |credit| credit.min(mtu)).min(buffer.len());
        let window = buffer.get_mut(..window)?;
        let levels = [EncryptionLevel::Initial, EncryptionLevel::Handshake, EncryptionLevel::OneRtt];
        let has_keys = |level| match level {
            EncryptionLevel::Initial => path == PathId::ZERO && self.initial.is_some(),
            EncryptionLevel::Handshake => path == PathId::ZERO && self.handshake.is_some(),
            _ => self.application.is_some() && self.handshake_complete,
        };
        let present: Vec<EncryptionLevel> = levels.into_iter().filter(|level| has_keys(*level)).collect();
        let (mut at, mut packets) = (0, 0_u64);
        self.log_burst(path);
        for (index, level) in present.iter().enumerate() {
            let pad = present.len().saturating_sub(1) == index && present.first() == Some(&EncryptionLevel::Initial);
            let rest = window.get_mut(at..)?;
            let fill = if pad { MIN_INITIAL.saturating_sub(at) } else { 0 };
            if let Some(size) = self.close_packet(now, path, *level, &closing, rest, fill) {
                (at, packets) = (at.saturating_add(size), packets.saturating_add(1));
            }
        }
        if at == 0 {
            return None;
        }
        self.counters.packets_sent = self.counters.packets_sent.saturating_add(packets);
        if let Some(network) = self.network_mut(path) {
            network.counters.packets_sent = network.counters.packets_sent.saturating_add(packets);
            network.pending.clear();
            // Bytes and credit are counted when the socket has taken it, as with every burst.
            (network.pending.at, network.pending.len, network.pending.segment_size) = (now, at, at);
        }
        if self.is_logged() {
            self.log_segment(path, window.get(..at).unwrap_or_default());
        }
        Some(Burst { connection: Some(self.handle), path, four_tuple, ecn: Ecn::NotEct, hop_limit: None, len: at, segment_size: at, segments: 1 })
    }

    /// Writes one packet with CONNECTION_CLOSE, padded so that it has at least `fill` bytes; returns its size. If the application closes, what
    /// has arrived is said first: the peer's would take it for lost, and ask again elsewhere (reverse V47).
    fn close_packet(&mut self, now: Timestamp, path: PathId, level: EncryptionLevel, closing: &Closing, room: &mut [u8], fill: usize) -> Option<usize> {
        let (dcid, scid) = self.header_cids(level, path)?;
        let end = room.len().checked_sub(TAG_LEN).filter(|end| *end > MIN_SAMPLE * 2)?;
        let (number, number_len) = self.take_number(level, path, 1 << 20)?;
        let mut writer = Writer::new(room.get_mut(..end)?);
        let head = Head::write(self, &Label { level, path, dcid, scid, number, number_len, spin: short::Spin::default() }, &mut writer);
        let frame = close_frame(closing, level);
        if frame.kind == CloseKind::Application {
            let mut acks = [0; LAST_ACKS];
            let spare = writer.remaining().saturating_sub(frame.size()).min(LAST_ACKS);
            let mut last = Writer::new(acks.get_mut(..spare)?);
            self.write_last_acks(now, path, &mut last);
            let len = last.len();
            writer.bytes(acks.get(..len)?);
        }
        let room_for_reason = writer.remaining().saturating_sub(frame.size().saturating_sub(frame.reason.len()));
        let reason = frame.reason.get(..frame.reason.len().min(room_for_reason)).unwrap_or_default();
        frame::ConnectionClose { reason, ..frame }.write(&mut writer);
        let least = fill.saturating_sub(TAG_LEN).max(head.len().saturating_add(MIN_SAMPLE));
        writer.zeros(least.saturating_sub(writer.len()).min(writer.remaining()));
        let size = writer.len().saturating_add(TAG_LEN);
        let packet = room.get_mut(..size)?;
        if self.is_logged() {
            let bytes = packet.get(..size.saturating_sub(TAG_LEN)).unwrap_or_default();
            self.log_written(&Plain { path, segment: 0, level, number, bytes, header_len: head.len() });
        }
        head.protect(self, Protection { purpose: Purpose::Close, clear_fixed: false }, packet).ok()?;
        Some(size)
    }
}

/// The frame of a level: an application's close is hidden from anyone without 1-RTT keys (RFC 9000 §10.2.3).
fn close_frame(closing: &Closing, level: EncryptionLevel) -> ConnectionClose<'_> {
    match closing.layer {
        Layer::Application if level == EncryptionLevel::OneRtt => {
            ConnectionClose { kind: CloseKind::Application, code: closing.code, reason: &closing.reason }
        }
        Layer::Application => {
            ConnectionClose { kind: CloseKind::Transport { frame_type: 0 }, code: ErrorCode::APPLICATION_ERROR.0, reason: &[] }
        }
        Layer::Transport => ConnectionClose {
            kind: CloseKind::Transport { frame_type: closing.frame_type.unwrap_or(0) },
            code: closing.code,
            reason: &closing.reason,
        },
    }
}
